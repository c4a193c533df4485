"""Guards against NaN, dropped where no NaN can be.

Below an op that selects, a traced backprop writes where(isnan(p) & (g == 0), 0, p) for what a rule made of a gradient g
(see `tape`), since p may be 0 * inf. Often it cannot be; and if it can, p is mostly 0 or NaN wherever g is 0, so that
one comparison is enough.
"""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any

import numpy as np

from .. import ops
from .program import Instruction, Operand, Program, Var
from .rewriting import BOOL, Rewriter, Rules, is_number, lossless, only_pads, pairs

_NO_NAN, _FINITE, _NONZERO, _NIL, _ZERO = 1, 3, 4, 8, 11  # facts of entries, as bits; nil: 0 or NaN
_SAME = (ops.Negative, ops.Absolute, ops.BroadcastTo, ops.Reshape, ops.Transpose, ops.Index, ops.Windows, ops.Max,
         ops.Min)  # what is known of all entries is known of all that these make of them
_DEPTH = 8  # how far back from a guard reasons are looked for


def drop_guards(program: Program) -> Program:
    """Without the guards against NaN where none can be, and with shorter ones elsewhere."""
    facts = {x: _FINITE if x.dtype.kind in "biu" else 0 for x in (*program.inputs, *program.states)}
    facts |= {x: _of_array(array) for x, array in program.constants.items()}

    def fact(x: Operand) -> int:
        return facts.get(x, 0) if isinstance(x, Var) else _of_array(np.asarray(x))

    for i in program.instructions:
        facts[i.output] = _derived(i, [fact(x) for x in i.inputs])
    rules = Rules()

    @rules.on(ops.IsNan)
    def never(r: Rewriter, i: Instruction) -> Any:
        return r.filled(False, i.output) if fact(i.inputs[0]) & _NO_NAN else None

    @rules.on(ops.Where)
    def guard(r: Rewriter, i: Instruction) -> Any:
        p, g = _guarded(r, i)
        if g is None:
            return None
        given = _implied(r, g)
        mask = r.constants.get(g) if g.dtype == BOOL else None

        def where_zero(x: Operand, depth: int) -> int:
            """What is known of entries of `x` where the entry of g is 0."""
            known = fact(x) | given.get(x, 0)
            if mask is not None and x in r.constants:
                array, there = np.broadcast_arrays(r.constants[x], mask)
                known |= _of_array(array[there])
            source = r.made.get(x)
            if not depth or source is None or not _in_place(source):
                return known
            if _guarded(r, source)[1] is g:
                known |= _NO_NAN
            return known | _derived(source, [where_zero(y, depth - 1) for y in source.inputs])

        known = where_zero(p, _DEPTH)
        if known & _NO_NAN:
            return r.broadcast(p, i.output.shape)
        if not known & _NIL:
            return None
        elsewhere = r.emit(ops.NotEqual, g, 0) if mask is None else r.emit(ops.LogicalNot, g)
        return Instruction(ops.Keep, (p, elsewhere), {}, i.output)

    return Rewriter(program, rules).run()


def _guarded(r: Rewriter, i: Instruction) -> tuple[Any, Any]:
    """(p, g) of a guard, or p and the constant mask that g = 0 became; (None, None) of anything else."""
    condition = r.maker(i.inputs[0], ops.BitwiseAnd) if i.op is ops.Where and is_number(i.inputs[1], 0) else None
    for x, y in pairs(condition) if condition is not None else ():
        nan, zero = r.maker(x, ops.IsNan), r.maker(y, ops.Equal)
        if nan is None or nan.inputs[0] is not i.inputs[2]:
            continue
        if zero is not None and is_number(zero.inputs[1], 0):
            return i.inputs[2], zero.inputs[0]
        if y in r.constants:
            return i.inputs[2], y
    return None, None


def _in_place(i: Instruction) -> bool:
    """Whether entries stay where they are, as broadcasting sees it."""
    return i.op.elementwise or i.op in (ops.BroadcastTo, ops.Cast) or (i.op is ops.Reshape and only_pads(i))


def _of_array(array: np.ndarray) -> int:
    if array.dtype.kind not in "biuf":
        return 0
    fact = _FINITE if np.isfinite(array).all() else 0 if np.isnan(array).any() else _NO_NAN
    return fact | (_NONZERO if np.all(array != 0) else 0) | (_NIL if not np.any((array != 0) & (array == array)) else 0)


def _derived(i: Instruction, facts: list[int]) -> int:
    """What is known of entries of a result, by what is known of those of the operands."""
    a, b = facts[0], facts[-1]
    both, either = a & b, a | b
    known = 0
    if i.output.dtype.kind in "biu":
        known = _FINITE
    elif i.op in _SAME:
        known = a
    elif i.op is ops.Keep or (i.op in (ops.Pad, ops.ScatterAdd) and len(facts) == 1):
        known = a & ~_NONZERO
    elif i.op in (ops.Maximum, ops.Minimum, ops.Where, ops.Concatenate):
        known = reduce(and_, facts[1:] if i.op is ops.Where else facts)
    elif i.op is ops.Cast:
        x = i.inputs[0].dtype
        widened = lossless(x, i.output.dtype) or (x.kind in "biu" and i.output.dtype.itemsize > 2)
        known = a if widened else a & (_NIL | _NO_NAN)
    elif i.op in (ops.Add, ops.Subtract):  # the sum of finite numbers may be infinite
        known = both & _NIL | (both & _NO_NAN if either & _FINITE == _FINITE else 0)
    elif i.op is ops.Multiply:
        known = either & _NIL | (_NO_NAN if both & _FINITE == _FINITE else 0)
    elif i.op is ops.Divide:
        known = a & _NIL | (_NO_NAN if a & _FINITE == _FINITE and b & _NO_NAN and b & _NONZERO else 0)
    elif i.op in (ops.Tanh, ops.Sign, ops.Sin, ops.Expm1, ops.Sqrt):
        known = a & _NIL | (_FINITE if i.op in (ops.Tanh, ops.Sign) and a & _NO_NAN else 0)
    elif i.op is ops.Exp:
        known = a & _NO_NAN
    if i.op in (ops.Sin, ops.Cos) and a & _FINITE == _FINITE:
        known |= _FINITE
    return known | _ZERO if known & _NIL and known & _NO_NAN else known


def _implied(r: Rewriter, g: Var) -> dict[Var, int]:
    """What g = 0 says of the operands it was made of."""
    given: dict[Var, int] = {}
    todo = [(g, _ZERO, _DEPTH)]
    while todo:
        x, fact, depth = todo.pop()
        given[x] = given.get(x, 0) | fact
        i = r.made.get(x)
        if i is None or not depth:
            continue
        if i.op in (ops.Negative, ops.BroadcastTo) or (i.op is ops.Reshape and only_pads(i)):
            todo.append((i.inputs[0], fact, depth - 1))
        elif i.op in (ops.Multiply, ops.Add, ops.Subtract):  # inf times, plus or minus anything is infinite or NaN
            todo += [(y, _FINITE, depth - 1) for y in i.vars]
        elif i.op is ops.Divide and isinstance(i.inputs[0], Var):
            todo.append((i.inputs[0], _FINITE, depth - 1))
    return given
