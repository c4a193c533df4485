"""Passes: functions from a program to a better one that computes the same.

A pass is a table of small rules and one walk over the instructions (`rewriting`): for each, the rules of its op say
what to compute instead, or nothing. Every walk takes linear time; `optimized` repeats the passes until nothing changes.

What they keep: shapes and dtypes, which numbers are weak (a Python number, whose type yields to that of arrays), NaN
and infinities. What may differ from the program as traced, besides rounding: the sign of a zero (in ReLU, sums of one
term, products of an inner dimension 1, differences that are negated, entries added into zeros), and an overflow in
between that a merged factor no longer meets (`(x * 1e10) * 1e-10`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from .. import ops
from ..recording import Variable
from . import buffers
from .canonical import canonical
from .guards import drop_guards
from .program import Instruction, Program, Var, evaluated, frozen, ordered
from .rewriting import Rewriter, Rules
from .simplification import simplify
from .sparsity import skip_zeros


def drop_dead(program: Program) -> Program:
    """Without the instructions and constants that no result depends on."""
    instructions = ordered(program.instructions, program.results)
    read = {x for i in instructions for x in i.vars} | set(program.results)
    constants = {x: array for x, array in program.constants.items() if x in read}
    if len(instructions) == len(program.instructions) and len(constants) == len(program.constants):
        return program
    return program.with_(instructions=instructions, constants=constants)


_COMMUTATIVE = {ops.Add, ops.Multiply, ops.Equal, ops.NotEqual, ops.BitwiseAnd, ops.BitwiseOr, ops.BitwiseXor}
_LARGE = 1 << 20  # bytes; larger constants are the same only if they are one array


def merge_equal(program: Program) -> Program:
    """With each thing computed once: the same op of the same operands, in either order where it commutes, and one
    constant for equal ones."""
    seen: dict[Any, Var] = {}
    rules = Rules()

    def merged(r: Rewriter, i: Instruction) -> Any:
        operands = [id(x) if isinstance(x, Var) else repr(x) for x in (same.get(x, x) for x in i.inputs)]
        if i.op in _COMMUTATIVE:
            operands.sort(key=str)
        options = tuple((name, frozen(value)) for name, value in sorted(i.options.items())) if i.options else ()
        known = seen.setdefault((i.op, *operands, options), i.output)
        if known is not i.output:
            return known
        return None if not same or all(x not in same for x in i.inputs) else Instruction(
            i.op, tuple(same.get(x, x) for x in i.inputs), i.options, i.output)

    same: dict[Any, Var] = {}
    arrays: dict[Any, Var] = {}
    for var, array in program.constants.items():
        content = array.tobytes() if array.nbytes <= _LARGE else id(array)
        if (known := arrays.setdefault((array.shape, array.dtype.str, content), var)) is not var:
            same[var] = known
    for i in program.instructions:
        rules.found.setdefault(i.op, [merged])
    return Rewriter(program, rules).run()


_SMALL = 4096  # bytes


def fold_constants(program: Program) -> Program:
    """With what depends on constants alone computed now, unless the result is large and its origin is not, and Python
    numbers in the place of constants of one value where no type changes."""
    rules = Rules()
    for op in {i.op for i in program.instructions}:
        rules.found[op] = [_evaluate, *([_as_number] if op.elementwise else [])]
    return Rewriter(program, rules).run()


def _evaluate(r: Rewriter, i: Instruction) -> Any:
    if i.output.weak or any(isinstance(x, Var) and x not in r.constants for x in i.inputs):
        return None
    viewed = i.op in (ops.BroadcastTo, ops.Index, ops.Reshape, ops.Transpose, ops.Windows)  # a large copy is no gain
    if i.output.nbytes > max(_SMALL, 0 if viewed else 4 * sum(x.nbytes for x in i.vars)):
        return None
    try:
        with np.errstate(all="ignore"):
            result = evaluated(i, [r.constants.get(x, x) for x in i.inputs])
    except (ValueError, IndexError):  # labels out of range, say: an error of the call
        return None
    return r.constant(np.array(result, i.output.dtype, order="C"))


def _as_number(r: Rewriter, i: Instruction) -> Any:
    first = 1 if i.op is ops.Where else 0
    if i.op is ops.Keep or len(i.inputs) - first != 2:
        return None
    for k in (first, first + 1):
        x, other = i.inputs[k], i.inputs[2 * first + 1 - k]
        if not isinstance(x, Var) or not isinstance(other, Var) or other.weak or (number := r.number(x)) is None:
            continue
        rest = [y.shape for j, y in enumerate(i.inputs) if j != k and isinstance(y, Var)]
        if np.promote_types(x.dtype, other.dtype) == other.dtype and np.broadcast_shapes(*rest) == i.output.shape:
            return Instruction(i.op, (*i.inputs[:k], number, *i.inputs[k + 1:]), i.options, i.output)
    return None


# Whatever simplifies keeps to the canonical form, so that once is enough.
PASSES = (canonical, drop_dead, merge_equal, fold_constants, drop_guards, simplify, skip_zeros)
_ROUNDS = 20


def optimized(program: Program) -> Program:
    """The program after all passes, repeated until nothing changes."""
    for _, improved in improvements(program):
        program = improved
    return program


def improvements(program: Program) -> Iterator[tuple[str, Program]]:
    """The passes that did something, one after the other: the name, and the program after it."""
    for k in range(_ROUNDS):
        start = program
        for improve in PASSES if k == 0 else PASSES[1:]:
            before, program = program, improve(program)
            if program is not before:
                yield improve.__name__ + (f" ({k + 1})" if k else ""), program
        if program is start:
            break


# What only shows memory that is there already.
_VIEWS = (ops.Identity, ops.StopGradient, Variable, ops.InRange, ops.Reshape, ops.ExpandDims, ops.Squeeze,
          ops.Transpose, ops.SwapAxes, ops.BroadcastTo, ops.Windows)


def explained(program: Program) -> str:
    """A table of what each pass does to a program: how many instructions are left, how many bytes all that lies between
    inputs and results would take, and how many bytes and arrays of that are needed at one time at most."""
    table: list[tuple[str, ...]] = [("pass", "instructions", "bytes between", "bytes at once", "arrays at once")]
    for name, after in [("traced", program), *improvements(program)]:
        mine, intervals = _lifetimes(after)
        events = sorted(event for x, (start, end) in intervals.items() for event in (
            (start, 1, x.nbytes), (end + 1, -1, -x.nbytes)))  # what is no longer needed goes first
        counts, sizes = ([0, *accumulate(event[k] for event in events)] for k in (1, 2))
        numbers = len(after.instructions), sum(x.nbytes for x in mine), max(sizes), max(counts)
        table.append((name, *[f"{n:,}" for n in numbers]))
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    return "\n".join(f"{row[0]:<{widths[0]}}" + "".join(f"  {text:>{width}}" for text, width in
                     zip(row[1:], widths[1:], strict=True)) for row in table)


def _lifetimes(program: Program) -> tuple[list[Var], Mapping[Any, buffers.Interval]]:
    """What lies between inputs and results in memory of its own, and from which instruction to which it is needed."""
    root: dict[Var, Var] = {}  # whose memory a view shows
    mine: list[Var] = []
    steps = []
    for i in program.instructions:
        x = i.inputs[0] if i.inputs else None
        view = i.op in _VIEWS or (i.op is ops.Index and len(i.inputs) == 1)
        if view and isinstance(x, Var):
            root[i.output] = root.get(x, x)
        else:
            mine.append(i.output)
        steps.append(buffers.Step(i.output, [root.get(y, y) for y in i.vars]))
    given = {root.get(x, x) for x in program.results}
    mine = [x for x in mine if x not in given]
    found = buffers.lifetimes(steps, {i.output: i.output for i in program.instructions})
    return mine, {x: found[x] for x in mine}
