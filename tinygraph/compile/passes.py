"""Passes: functions from a program to a better one that computes the same.

A pass is a table of small rules and one walk over the instructions (`Rewriter`): for each, the rules of its op say what
to compute instead, or nothing. Every walk takes linear time; `optimized` repeats the passes until nothing changes.

What they keep: shapes and dtypes, which numbers are weak (a Python number, whose type yields to that of arrays), NaN
and infinities. What may differ from the program as traced, besides rounding: the sign of a zero (in ReLU, sums of one
term, products of an inner dimension 1, differences that are negated, entries added into zeros), and an overflow in
between that a merged factor no longer meets (`(x * 1e10) * 1e-10`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import and_
from typing import Any

import numpy as np

from ..calculus import Variable
from ..op import Elementwise, Op
from ..ops import (
    Absolute,
    Add,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    BroadcastTo,
    Cast,
    CastToInteger,
    Concatenate,
    Cos,
    Divide,
    Equal,
    Exp,
    ExpandDims,
    Expm1,
    FoldWindows,
    Greater,
    GreaterEqual,
    Identity,
    Index,
    Invert,
    IsNan,
    Keep,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    MatMul,
    Max,
    Maximum,
    Mean,
    Min,
    Minimum,
    Multiply,
    Negative,
    NotEqual,
    Pad,
    Power,
    Reshape,
    ScatterAdd,
    Sign,
    Sin,
    Sqrt,
    Square,
    Squeeze,
    StopGradient,
    Subtract,
    Sum,
    SwapAxes,
    Tanh,
    Transpose,
    Where,
    Windows,
)
from ..ops.selection import ARRAY
from .outline import Outline
from .program import Instruction, Operand, Program, Var, evaluated, frozen, ordered

Shape = tuple[int, ...]
Rule = Callable[["Rewriter", Instruction], "Var | Instruction | None"]

_BOOL = np.dtype(bool)


class Rules:
    """A table: for an op, the rules that may apply to it, those for all elementwise ops last.

    A rule returns None (nothing to do), another instruction for the same output, or the variable that replaces the
    output.
    """

    def __init__(self, *tables: Rules) -> None:
        self.table: dict[type[Op], list[Rule]] = {}
        self.found: dict[type[Op], list[Rule]] = {}
        for rules in tables:
            for op, known in rules.table.items():
                self.table.setdefault(op, []).extend(known)

    def on(self, *ops: type[Op]) -> Callable[[Rule], Rule]:
        """Register the function below as a rule for these ops."""
        def register(rule: Rule) -> Rule:
            for op in ops:
                self.table.setdefault(op, []).append(rule)
            return rule
        return register

    def of(self, op: type[Op]) -> list[Rule]:
        if op not in self.found:
            self.found[op] = [*self.table.get(op, ()), *(self.table.get(Elementwise, ()) if op.elementwise else ())]
        return self.found[op]


class Rewriter:
    """One walk over a program, and what rules may ask and do on the way: they see operands already rewritten."""

    def __init__(self, program: Program, rules: Rules) -> None:
        self.program, self.rules = program, rules
        self.constants = dict(program.constants)
        self.uses = program.uses()  # never too low; too high for what was replaced in this walk
        self.made: dict[Var, Instruction] = {}  # the new program so far
        self.replaced: dict[Var, Var] = {}
        self.names: dict[Var, str] = {}
        self.numbers: dict[Var, Any] = {}
        self.pieces: dict[Var, tuple[int, int]] = {}  # sums of pieces in zeros: their axis, total length
        self.changed = False

    def run(self) -> Program:
        """The program rewritten, or the very same if no rule applied."""
        for i in self.program.instructions:
            if self.replaced:
                i = i if all(x not in self.replaced for x in i.inputs) else Instruction(
                    i.op, tuple(self.replaced.get(x, x) for x in i.inputs), i.options, i.output)
            new = self.put(i)
            if new is not i.output:
                self.replaced[i.output] = new
                self.uses[new] += self.uses[i.output]
                if i.output.name and not new.name and new in self.made:
                    self.names.setdefault(new, i.output.name)
        if not self.changed:
            return self.program
        named = {var: Var(var.shape, var.dtype, name, var.weak) for var, name in self.names.items()}

        def final(var: Any) -> Any:
            var = self.replaced.get(var, var)
            return named.get(var, var)

        instructions = self.made.values() if not named else [
            Instruction(i.op, tuple(named.get(x, x) for x in i.inputs), i.options, final(i.output))
            for i in self.made.values()]
        return self.program.with_(constants=self.constants, instructions=tuple(instructions),
                                  outputs=tuple(map(final, self.program.outputs)),
                                  updates=tuple((state, final(new)) for state, new in self.program.updates))

    # ------------------------------------------------------------------------------------------------ what rules ask

    def maker(self, x: Operand, *ops: type[Op]) -> Instruction | None:
        """The instruction that makes `x`, if it is of one of these ops."""
        i = self.made.get(x)
        return i if i is not None and i.op in ops else None

    def once(self, x: Var) -> bool:
        """Whether `x` is read once only."""
        return self.uses[x] <= 1

    def number(self, x: Operand) -> Any:
        """The Python number that every entry of `x` is known to be, or None."""
        if not isinstance(x, Var):
            return x
        while (i := self.maker(x, BroadcastTo, Reshape)) is not None:
            x = i.inputs[0]
        if x not in self.constants:
            return None
        if x not in self.numbers:
            self.numbers[x] = _uniform(self.constants[x])
        return self.numbers[x]

    # -------------------------------------------------------------------------------------------------- what rules do

    def put(self, i: Instruction) -> Var:
        """Add an instruction, after the rules had their say; the variable that holds its result."""
        fired = True
        while fired:
            fired = False
            for rule in self.rules.of(i.op):
                new = rule(self, i)
                if new is None:
                    continue
                self.changed = True
                if isinstance(new, Var):
                    return self._fitted(new, i)
                i, fired = new, True
                self._count(i)
                break
        self.made[i.output] = i
        return i.output

    def emit(self, op: type[Op], *inputs: Operand, **options: Any) -> Var:
        """The result of an op, whose shape and dtype NumPy itself tells (see `outline`)."""
        outlines = [Outline(x.shape, x.dtype, x.weak) if isinstance(x, Var) else x for x in inputs]
        with np.errstate(all="ignore"):
            result = op.apply(*outlines, **options)
        return self._emit(op, inputs, options, result.shape, result.dtype, getattr(result, "weak", False))

    def constant(self, array: np.ndarray) -> Var:
        var = Var(array.shape, array.dtype)
        self.constants[var] = array
        self.uses[var] = 0
        return var

    def cast(self, x: Var, dtype: np.dtype[Any]) -> Var:
        """`x` in a dtype, and strong."""
        return x if x.dtype == dtype and not x.weak else self._emit(Cast, (x,), {"dtype": dtype}, x.shape, dtype)

    def strong(self, x: Operand) -> Var:
        """`x`, of which only arrays have a type of their own, as an array."""
        return self.cast(x, x.dtype) if isinstance(x, Var) else self.constant(np.asarray(x))

    def reshape(self, x: Var, shape: Shape) -> Var:
        x = self.strong(x)
        return x if x.shape == shape else self._emit(Reshape, (x,), {"shape": shape}, shape, x.dtype)

    def transpose(self, x: Var, axes: Sequence[int]) -> Var:
        return self._emit(Transpose, (x,), {"axes": tuple(axes)}, tuple(x.shape[axis] for axis in axes), x.dtype)

    def swap(self, x: Var) -> Var:
        """`x` with its last two axes exchanged."""
        return self.transpose(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])

    def broadcast(self, x: Var, shape: Shape) -> Var:
        x = self.strong(x)
        if math.prod(shape) == x.size:
            return self.reshape(x, shape)
        return self._emit(BroadcastTo, (x,), {"shape": shape}, shape, x.dtype)

    def filled(self, value: Any, like: Var) -> Var:
        """An array of the shape and dtype of `like`, full of one number."""
        return self.broadcast(self.constant(np.asarray(value, like.dtype)), like.shape)

    def reduce(self, op: type[Op], x: Var, axes: Iterable[int], shape: Shape) -> Var:
        """The reduction of `x` over axes, in the shape that is wanted."""
        axes = tuple(axes)
        keepdims = shape == _reduced_shape(x.shape, axes, True)
        reduced = _reduced_shape(x.shape, axes, keepdims)
        return self.reshape(self._emit(op, (x,), {"axis": axes, "keepdims": keepdims}, reduced, x.dtype), shape)

    def _emit(self, op: type[Op], inputs: tuple[Operand, ...], options: dict[str, Any], shape: Shape,
              dtype: np.dtype[Any], weak: bool = False) -> Var:
        output = Var(shape, dtype, weak=weak)
        self.uses[output] = 0
        i = Instruction(op, inputs, options, output)
        self._count(i)
        return self.put(i)

    def _count(self, i: Instruction) -> None:
        for x in i.vars:
            self.uses[x] += 1

    def _fitted(self, new: Var, old: Instruction) -> Var:
        """What replaces an output must be of its kind; a weak one is made strong."""
        kind = old.output
        if new.shape != kind.shape or new.dtype != kind.dtype or (kind.weak and not new.weak):
            raise AssertionError(f"a rule for {old.op.__name__} made {new.shape} {new.dtype} of "
                                 f"{kind.shape} {kind.dtype}")
        if new.weak == kind.weak:
            return new
        return self.put(Instruction(Cast, (new,), {"dtype": kind.dtype}, kind))


def _reduced_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    return tuple(1 if axis in axes else n for axis, n in enumerate(shape) if keepdims or axis not in axes)


def became(i: Instruction, op: type[Op], inputs: tuple[Operand, ...], options: dict[str, Any]) -> Instruction | None:
    """The instruction with another content, or None if it is that already."""
    if i.op is op and i.options == options and all(a is b for a, b in zip(i.inputs, inputs, strict=True)):
        return None
    return Instruction(op, inputs, options, i.output)


# ------------------------------------------------------------------------------------------------------ canonical form
# Few forms, so that targets are small and equal things look equal.

CANONICAL = Rules()


@CANONICAL.on(Identity, StopGradient, Variable)
def _same(r: Rewriter, i: Instruction) -> Any:
    return i.inputs[0]


@CANONICAL.on(Reshape, ExpandDims, Squeeze)
def _reshape(r: Rewriter, i: Instruction) -> Any:
    x = r.strong(i.inputs[0])
    if (source := r.maker(x, Reshape)) is not None:
        x = source.inputs[0]
    return x if x.shape == i.output.shape else became(i, Reshape, (x,), {"shape": i.output.shape})


@CANONICAL.on(Transpose, SwapAxes)
def _transpose(r: Rewriter, i: Instruction) -> Any:
    x = r.strong(i.inputs[0])
    axes = list(range(x.ndim))
    if i.op is SwapAxes:
        a, b = i.options["axis1"], i.options["axis2"]
        axes[a], axes[b] = axes[b], axes[a]
    elif (given := i.options.get("axes")) is None:
        axes.reverse()
    else:
        axes = [axis % x.ndim for axis in given]
    if (source := r.maker(x, Transpose)) is not None:
        x = source.inputs[0]
        axes = [source.options["axes"][axis] for axis in axes]
    if x.size == 0 or (moved := [axis for axis in axes if x.shape[axis] != 1]) == sorted(moved):
        return r.reshape(x, i.output.shape)
    return became(i, Transpose, (x,), {"axes": tuple(axes)})


@CANONICAL.on(BroadcastTo)
def _broadcast(r: Rewriter, i: Instruction) -> Any:
    x, shape = r.strong(i.inputs[0]), i.output.shape
    if (source := r.maker(x, BroadcastTo)) is not None:
        x = source.inputs[0]
    if (source := r.maker(x, Reshape)) is not None and _pads(source) and source.inputs[0].ndim <= len(shape):
        x = source.inputs[0]
    if x.size == i.output.size:
        return r.reshape(x, shape)
    return became(i, BroadcastTo, (x,), {"shape": shape})


def _pads(i: Instruction) -> bool:
    """Whether shapes differ by leading axes of length 1 alone, which broadcasting does not see."""
    a, b = i.inputs[0].shape, i.output.shape
    n = min(len(a), len(b))
    return a[len(a) - n:] == b[len(b) - n:] and all(k == 1 for k in (*a[:len(a) - n], *b[:len(b) - n]))


@CANONICAL.on(Cast, CastToInteger)
def _cast(r: Rewriter, i: Instruction) -> Any:
    x, dtype = i.inputs[0], i.output.dtype
    if (source := r.maker(x, Cast)) is not None and _lossless(source.inputs[0].dtype, x.dtype):
        x = source.inputs[0]
    if x.dtype == dtype and not x.weak:
        return x
    if dtype == _BOOL:
        return Instruction(NotEqual, (x, 0), {}, i.output)
    if not isinstance(i.options["dtype"], np.dtype):
        return Instruction(Cast, (x,), {"dtype": dtype}, i.output)
    return became(i, Cast, (x,), {"dtype": dtype})


def _lossless(a: np.dtype[Any], b: np.dtype[Any]) -> bool:
    return np.can_cast(a, b, "safe") and not (a.kind in "iu" and a.itemsize == 8 and b.kind in "fc")


@CANONICAL.on(Index, ScatterAdd)
def _concrete(r: Rewriter, i: Instruction) -> Any:
    """Without arrays: one slice of three numbers an axis, and a Reshape for all else. True and False are arrays."""
    x, index, output = r.strong(i.inputs[0]), i.options["index"], i.output
    if any(isinstance(part, bool | np.bool) for part in index):
        arrays = iter(i.inputs[1:])
        inputs = [r.constant(np.array(part)) if part is not ARRAY else next(arrays)
                  for part in index if part is ARRAY or isinstance(part, bool | np.bool)]
        parts = tuple(ARRAY if isinstance(part, bool | np.bool) else part for part in index)
        return Instruction(i.op, (x, *inputs), {**i.options, "index": parts}, output)
    if len(i.inputs) > 1:
        return None
    shape = x.shape if i.op is Index else i.options["shape"]
    slices = _slices(index, shape)
    sliced = tuple(len(_range(part, n)) for part, n in zip(slices, shape, strict=True))
    if i.op is ScatterAdd:
        if x.size != math.prod(sliced):
            part = np.broadcast_to(0, shape)[index]
            x = r.broadcast(x, part.shape)
        return became(i, ScatterAdd, (r.reshape(x, sliced),), {"shape": shape, "index": slices})
    if (source := r.maker(x, Index)) is not None and len(source.inputs) == 1:
        inner, x = source.options["index"], source.inputs[0]
        slices = tuple(_slice(_range(a, n)[b]) for a, n, b in zip(inner, x.shape, slices, strict=True))
    if sliced == x.shape and all(part.step == 1 for part in slices):
        return r.reshape(x, output.shape)
    if sliced == output.shape:
        return became(i, Index, (x,), {"index": slices})
    return r.reshape(r._emit(Index, (x,), {"index": slices}, sliced, x.dtype), output.shape)


def _slices(index: tuple[Any, ...], shape: Shape) -> tuple[slice, ...]:
    """One slice an axis that takes what the index takes."""
    missing = len(shape) - sum(part is not None and part is not Ellipsis for part in index)
    rest = [slice(None)] * missing
    parts: list[Any] = []
    for part in index:
        parts += rest if part is Ellipsis else [] if part is None else [part]
    if Ellipsis not in index:
        parts += rest
    return tuple(_slice(range(n)[part] if isinstance(part, slice) else range(n)[int(part) % n:][:1])
                 for part, n in zip(parts, shape, strict=True))


def _slice(taken: range) -> slice:
    """The slice of numbers that takes these; its stop is None where one below 0 is meant."""
    if len(taken) < 2:
        return slice(taken[0], taken[0] + 1, 1) if taken else slice(0, 0, 1)
    stop = taken[-1] + (1 if taken.step > 0 else -1)
    return slice(taken.start, stop if stop >= 0 else None, taken.step)


def _range(part: slice, n: int) -> range:
    return range(n)[part]


@CANONICAL.on(Sum, Max, Min, Mean)
def _reduction(r: Rewriter, i: Instruction) -> Any:
    x, output = r.strong(i.inputs[0]), i.output
    axis, keepdims = i.options.get("axis"), bool(i.options.get("keepdims"))
    given = range(x.ndim) if axis is None else axis if isinstance(axis, Iterable) else [axis]
    axes = tuple(sorted(a % x.ndim for a in given))
    n = math.prod(x.shape[a] for a in axes)
    if i.op is Mean:  # as NumPy does it
        x = r.cast(x, np.dtype("f4" if x.dtype == np.float16 else "f8" if x.dtype.kind in "biu" else x.dtype))
        if n != 1:
            x = r.emit(Divide, r.reduce(Sum, x, axes, output.shape), n)
        return r.reshape(r.cast(x, output.dtype), output.shape)
    x = r.cast(x, output.dtype)
    if all(x.shape[a] == 1 for a in axes):
        return r.reshape(x, output.shape)
    return became(i, i.op, (x,), {"axis": axes, "keepdims": keepdims})


@CANONICAL.on(Square)
def _square(r: Rewriter, i: Instruction) -> Any:
    if i.output.dtype.kind not in "fiu":
        return None
    x = r.cast(i.inputs[0], i.output.dtype)
    return Instruction(Multiply, (x, x), {}, i.output)


@CANONICAL.on(Power)
def _power(r: Rewriter, i: Instruction) -> Any:
    """Powers by the numbers below as products. NumPy itself takes the square root for the power 0.5."""
    x, p = i.inputs
    if not isinstance(x, Var) or isinstance(p, Var) or p not in (-1, 0.5, 1, 2, 3) or i.output.dtype.kind not in "fiu":
        return None
    if not i.output.weak:
        x = r.cast(x, i.output.dtype)
    elif x.dtype != i.output.dtype:
        return None
    if p == 1:
        return x
    if p == 2:
        return Instruction(Multiply, (x, x), {}, i.output)
    if p == 3:
        return Instruction(Multiply, (r.emit(Multiply, x, x), x), {}, i.output)
    if i.output.dtype.kind != "f" or i.output.weak:
        return None
    return Instruction(Divide, (1.0, x), {}, i.output) if p == -1 else Instruction(Sqrt, (x,), {}, i.output)


@CANONICAL.on(LogicalAnd, LogicalOr)
def _logical(r: Rewriter, i: Instruction) -> Any:
    inputs = tuple(_truth(r, x) for x in i.inputs)
    return Instruction(BitwiseAnd if i.op is LogicalAnd else BitwiseOr, inputs, {}, i.output)


@CANONICAL.on(LogicalNot)
def _logical_not(r: Rewriter, i: Instruction) -> Any:
    x = i.inputs[0]
    return Instruction(Equal, (x, 0), {}, i.output) if x.dtype != _BOOL else None


@CANONICAL.on(Invert)
def _invert(r: Rewriter, i: Instruction) -> Any:
    return Instruction(LogicalNot, i.inputs, {}, i.output) if i.inputs[0].dtype == _BOOL else None


_ON_TRUTH: dict[type[Op], type[Op]] = {Add: BitwiseOr, Multiply: BitwiseAnd, Maximum: BitwiseOr, Minimum: BitwiseAnd,
                                       NotEqual: BitwiseXor}


@CANONICAL.on(*_ON_TRUTH)
def _on_truth(r: Rewriter, i: Instruction) -> Any:
    if all(x.dtype == _BOOL and not x.weak if isinstance(x, Var) else x is True or x is False for x in i.inputs):
        return Instruction(_ON_TRUTH[i.op], i.inputs, {}, i.output)
    return None


@CANONICAL.on(Keep)
def _mask(r: Rewriter, i: Instruction) -> Any:
    return became(i, Keep, (r.cast(i.inputs[0], i.output.dtype), _truth(r, i.inputs[1])), {})


@CANONICAL.on(Where)
def _condition(r: Rewriter, i: Instruction) -> Any:
    return became(i, Where, (_truth(r, i.inputs[0]), *i.inputs[1:]), {})


def _truth(r: Rewriter, x: Operand) -> Operand:
    if not isinstance(x, Var):
        return bool(x)
    return x if x.dtype == _BOOL and not x.weak else r.emit(NotEqual, x, 0)


@CANONICAL.on(MatMul)
def _matmul(r: Rewriter, i: Instruction) -> Any:
    """Two axes at least, and one dtype."""
    A, B = (r.cast(x, i.output.dtype) for x in i.inputs)
    if A.ndim > 1 and B.ndim > 1:
        return became(i, MatMul, (A, B), {})
    A = r.reshape(A, (1, *A.shape)) if A.ndim == 1 else A
    B = r.reshape(B, (*B.shape, 1)) if B.ndim == 1 else B
    return r.reshape(r.emit(MatMul, A, B), i.output.shape)


@CANONICAL.on(Concatenate)
def _concatenate(r: Rewriter, i: Instruction) -> Any:
    """Of one dtype, and nothing empty."""
    axis = i.options["axis"] % i.output.ndim
    parts = tuple(r.cast(r.strong(x), i.output.dtype) for x in i.inputs if not isinstance(x, Var) or x.shape[axis])
    if len(parts) < 2:
        return parts[0] if parts else r.cast(r.strong(i.inputs[0]), i.output.dtype)
    if len(parts) < len(i.inputs):
        return Instruction(Concatenate, parts, {"axis": axis}, i.output)
    return became(i, Concatenate, parts, {"axis": axis})


@CANONICAL.on(Pad)
def _pad(r: Rewriter, i: Instruction) -> Any:
    width = tuple((int(before), int(after)) for before, after in i.options["width"])
    x = r.strong(i.inputs[0])
    return x if x.shape == i.output.shape else became(i, Pad, (x,), {"width": width})


@CANONICAL.on(Windows, FoldWindows)
def _windows(r: Rewriter, i: Instruction) -> Any:
    """Windows of one entry, side by side, are the entries."""
    shape = i.options["shape"] if i.op is Windows else i.inputs[0].shape[-2:]
    one = tuple(shape) == (1, 1) and tuple(i.options["stride"]) == (1, 1)
    return r.reshape(i.inputs[0], i.output.shape) if one else None


@CANONICAL.on(Elementwise)
def _numbers(r: Rewriter, i: Instruction) -> Any:
    """Among floats a whole Python number is a float, too."""
    first = 1 if i.op is Where else 0
    whole = [k >= first and isinstance(x, int) and abs(x) <= 2**53 for k, x in enumerate(i.inputs)]
    if i.op is Keep or not any(whole) or all(
            not isinstance(x, Var) or x.dtype.kind != "f" or x.weak for x in i.inputs):
        return None
    inputs = tuple(float(x) if k else x for x, k in zip(i.inputs, whole, strict=True))
    return Instruction(i.op, inputs, i.options, i.output)


@CANONICAL.on(Elementwise)
def _absorb(r: Rewriter, i: Instruction) -> Any:
    """Elementwise ops broadcast anyway; what is repeated in all operands is computed once and repeated then."""
    inputs = tuple(_unrepeated(r, x, i.output) for x in i.inputs)
    if all(a is b for a, b in zip(inputs, i.inputs, strict=True)):
        return None
    shape = np.broadcast_shapes(*(x.shape for x in inputs if isinstance(x, Var)))
    if shape == i.output.shape:
        return Instruction(i.op, inputs, i.options, i.output)
    return r.broadcast(r._emit(i.op, inputs, dict(i.options), shape, i.output.dtype), i.output.shape)


def _unrepeated(r: Rewriter, x: Operand, output: Var) -> Operand:
    while (source := r.maker(x, BroadcastTo, Reshape)) is not None and source.inputs[0].ndim <= output.ndim and (
            source.op is BroadcastTo or _pads(source)):
        x = source.inputs[0]
    return x


def canonical(program: Program) -> Program:
    """With fewer forms: what only renames an array is gone, and each op that remains is written in one way."""
    return Rewriter(program, CANONICAL).run()


# ---------------------------------------------------------------------------------------------- dead, equal, constant

def drop_dead(program: Program) -> Program:
    """Without the instructions and constants that no result depends on."""
    instructions = ordered(program.instructions, program.results)
    read = {x for i in instructions for x in i.vars} | set(program.results)
    constants = {x: array for x, array in program.constants.items() if x in read}
    if len(instructions) == len(program.instructions) and len(constants) == len(program.constants):
        return program
    return program.with_(instructions=instructions, constants=constants)


_COMMUTATIVE = {Add, Multiply, Equal, NotEqual, BitwiseAnd, BitwiseOr, BitwiseXor}
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
    views = i.op in (BroadcastTo, Index, Reshape, Transpose, Windows)  # another copy of a large array is no gain
    if i.output.nbytes > max(_SMALL, 0 if views else 4 * sum(x.nbytes for x in i.vars)):
        return None
    try:
        with np.errstate(all="ignore"):
            result = evaluated(i, [r.constants.get(x, x) for x in i.inputs])
    except ValueError:  # labels out of range, say: an error of the call
        return None
    return r.constant(np.array(result, i.output.dtype, order="C"))


def _as_number(r: Rewriter, i: Instruction) -> Any:
    first = 1 if i.op is Where else 0
    if i.op is Keep or len(i.inputs) - first != 2:
        return None
    for k in (first, first + 1):
        x, other = i.inputs[k], i.inputs[2 * first + 1 - k]
        if not isinstance(x, Var) or not isinstance(other, Var) or other.weak or (number := r.number(x)) is None:
            continue
        rest = [y.shape for j, y in enumerate(i.inputs) if j != k and isinstance(y, Var)]
        if np.promote_types(x.dtype, other.dtype) == other.dtype and np.broadcast_shapes(*rest) == i.output.shape:
            return Instruction(i.op, (*i.inputs[:k], number, *i.inputs[k + 1:]), i.options, i.output)
    return None


def _uniform(array: np.ndarray) -> Any:
    """The Python number that all entries of an array are, to the bit, or None."""
    if not array.size or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        return None
    first = array.flat[0]
    if array.size > 1:
        if not all(array.flat[k] == first for k in range(1, min(array.size, 8))):
            return None
        whole = array[tuple(slice(1) if step == 0 else slice(None) for step in array.strides)]
        if not np.all(whole == first) or (first == 0 and np.any(np.signbit(whole) != np.signbit(first))):
            return None
    return first.item()


# ------------------------------------------------------------------------------------------------------ simplification

SIMPLE = Rules()
_MERGED = {np.dtype(np.float32), np.dtype(np.float64)}  # where factors are merged: within rounding


def _is_float(x: Operand) -> bool:
    return isinstance(x, Var) and x.dtype.kind == "f"


def _pairs(i: Instruction) -> list[tuple[Operand, Operand]]:
    a, b = i.inputs
    return [(a, b), (b, a)]


@SIMPLE.on(Negative)
def _negative(r: Rewriter, i: Instruction) -> Any:
    """-(-x) is x, -(a - b) is b - a, -(x c) is x (-c)."""
    x = i.inputs[0]
    if (source := r.maker(x, Negative)) is not None:
        return source.inputs[0]
    if (source := r.maker(x, Subtract)) is not None and r.once(x) and _is_float(x):
        return Instruction(Subtract, source.inputs[::-1], {}, i.output)
    if (source := r.maker(x, Multiply)) is not None and r.once(x) and _is_float(x):
        for y, c in _pairs(source):
            if not isinstance(c, Var):
                return Instruction(Multiply, (y, -c), {}, i.output)
    return None


@SIMPLE.on(Multiply)
def _multiply(r: Rewriter, i: Instruction) -> Any:
    """x 1 is x, x (-1) is -x, (x a) b is x (a b), (-x) y is -(x y)."""
    for x, c in _pairs(i):
        if isinstance(c, Var):
            if (source := r.maker(x, Negative)) is not None and _is_float(x) and x.size == i.output.size:
                return Instruction(Negative, (r.emit(Multiply, source.inputs[0], c),), {}, i.output)
        elif c == 1:
            return x if x.weak else r.cast(x, i.output.dtype)
        elif c == -1 and x.dtype == i.output.dtype and x.dtype.kind in "fi":
            return Instruction(Negative, (x,), {}, i.output)
        elif (merged := _merged(r, i.output, x, c)) is not None:
            return merged
    return None


@SIMPLE.on(Divide)
def _divide(r: Rewriter, i: Instruction) -> Any:
    """x / 1 is x, (x a) / b is x (a / b), (-x) / y is -(x / y); dividing by a power of 2 is multiplying."""
    x, c = i.inputs
    if isinstance(c, Var):
        for k, y in enumerate(i.inputs):
            if (source := r.maker(y, Negative)) is not None and _is_float(y) and y.size == i.output.size:
                quotient = r.emit(Divide, source.inputs[0], c) if k == 0 else r.emit(Divide, x, source.inputs[0])
                return Instruction(Negative, (quotient,), {}, i.output)
        return None
    if c == 1:
        return x if x.weak and i.output.weak else r.cast(x, i.output.dtype)
    if i.output.dtype not in _MERGED or x.dtype != i.output.dtype or x.weak or not _is_mild(c):
        return None
    if abs(math.frexp(c)[0]) == 0.5:
        return Instruction(Multiply, (x, 1 / c), {}, i.output)
    return _merged(r, i.output, x, c, True)


def _merged(r: Rewriter, output: Var, x: Var, c: Any, divide: bool = False) -> Instruction | None:
    """x c, or x / c, with c merged into the factor, the divisor or the sign that x has already."""
    source = r.maker(x, Multiply, Divide, Negative)
    if source is None or output.dtype not in _MERGED or x.dtype != output.dtype or x.weak:
        return None
    if source.op is Negative:
        return Instruction(Divide if divide else Multiply, (source.inputs[0], -c), {}, output)
    a, b = source.inputs
    y, k = (b, a) if isinstance(b, Var) else (a, b)
    if isinstance(k, Var) or not _is_mild(c) or not _is_mild(k) or y.dtype != output.dtype or y.weak:
        return None
    factor = k / c if divide else k * c
    if source.op is Multiply:
        return Instruction(Multiply, (y, factor), {}, output)
    if y is b:
        return Instruction(Divide, (factor, y), {}, output)
    return Instruction(Divide, (y, k * c), {}, output) if divide else Instruction(Multiply, (y, c / k), {}, output)


def _is_mild(c: Any) -> bool:
    """Whether products and quotients of such numbers are far from the ends of float32."""
    return not isinstance(c, complex) and 1e-15 < abs(c) < 1e15


@SIMPLE.on(Add)
def _add(r: Rewriter, i: Instruction) -> Any:
    """a + (-b) is a - b, x + 0 is x where that is so for -0.0 too."""
    for x, y in _pairs(i):
        if (source := r.maker(y, Negative)) is not None and _is_float(y) and y.dtype == i.output.dtype:
            return Instruction(Subtract, (x, source.inputs[0]), {}, i.output)
        if not isinstance(y, Var) and y == 0 and x.dtype == i.output.dtype and (
                x.dtype.kind in "iu" or math.copysign(1, y) < 0):
            return x
    return None


@SIMPLE.on(Add)
def _joined(r: Rewriter, i: Instruction) -> Any:
    """Pieces added into zeros, side by side along one axis until it is full: a concatenation."""
    first, second = (r.pieces.get(x) or _piece(r, x) for x in i.inputs)
    if first is None or second is None or first[0] != second[0]:
        return None
    axis, length = first[0], first[1] + second[1]
    if length < i.output.shape[axis]:
        r.pieces[i.output] = axis, length
    if length != i.output.shape[axis]:
        return None
    pieces: list[tuple[int, Var]] = []
    todo = list(i.inputs)
    while todo:
        made = r.made[todo.pop()]
        if made.op is Add:
            todo += made.inputs
        else:
            pieces.append((made.options["index"][axis].start, made.inputs[0]))
    pieces.sort(key=lambda piece: piece[0])
    ends = [start + x.shape[axis] for start, x in pieces]
    if [start for start, _ in pieces] != [0, *ends[:-1]]:
        return None
    return Instruction(Concatenate, tuple(x for _, x in pieces), {"axis": axis}, i.output)


def _piece(r: Rewriter, x: Operand) -> tuple[int, int] | None:
    """The axis and the length of a piece added into zeros that spans all other axes."""
    source = r.maker(x, ScatterAdd)
    if source is None or len(source.inputs) > 1:
        return None
    y, shape = source.inputs[0], source.output.shape
    cut = [axis for axis, n in enumerate(shape) if y.shape[axis] != n]
    if len(cut) != 1 or any(part.step != 1 for part in source.options["index"]):
        return None
    return cut[0], y.shape[cut[0]]


@SIMPLE.on(Subtract)
def _subtract(r: Rewriter, i: Instruction) -> Any:
    """a - (-b) is a + b, x - 0 is x."""
    x, y = i.inputs
    if (source := r.maker(y, Negative)) is not None and _is_float(y) and y.dtype == i.output.dtype:
        return Instruction(Add, (x, source.inputs[0]), {}, i.output)
    if not isinstance(y, Var | complex) and y == 0 and math.copysign(1, y) > 0 and x.dtype == i.output.dtype:
        return x
    return None


_OPPOSITE: dict[type[Op], type[Op]] = {Less: GreaterEqual, GreaterEqual: Less, Greater: LessEqual, LessEqual: Greater,
                                       Equal: NotEqual, NotEqual: Equal}


@SIMPLE.on(LogicalNot)
def _not(r: Rewriter, i: Instruction) -> Any:
    """Not not x is x; of a comparison the opposite, where NaN does not make both false."""
    if (source := r.maker(i.inputs[0], LogicalNot)) is not None:
        return source.inputs[0]
    source = r.maker(i.inputs[0], *_OPPOSITE)
    if source is not None and (source.op in (Equal, NotEqual) or all(
            x.dtype.kind in "biu" if isinstance(x, Var) else isinstance(x, int) for x in source.inputs)):
        return Instruction(_OPPOSITE[source.op], source.inputs, {}, i.output)
    return None


@SIMPLE.on(Equal, NotEqual)
def _is_true(r: Rewriter, i: Instruction) -> Any:
    """A mask as a number, compared with 0, is the mask."""
    source = r.maker(i.inputs[0], Cast)
    if source is None or source.inputs[0].dtype != _BOOL or source.inputs[0].weak or not _is_number(i.inputs[1], 0):
        return None
    mask = source.inputs[0]
    return mask if i.op is NotEqual else Instruction(LogicalNot, (mask,), {}, i.output)


@SIMPLE.on(BitwiseAnd, BitwiseOr)
def _and_or(r: Rewriter, i: Instruction) -> Any:
    """With True, with False, and with itself."""
    if i.output.dtype != _BOOL:
        return None
    for x, y in _pairs(i):
        if x is y:
            return x
        if isinstance(x, Var) and (known := r.number(y)) is not None:
            return r.filled(known, i.output) if known == (i.op is BitwiseOr) else r.broadcast(x, i.output.shape)
    return None


@SIMPLE.on(Where)
def _where(r: Rewriter, i: Instruction) -> Any:
    """The branch that is known, or the same; max(x, c) as ReLU writes it; x or 0 as Keep."""
    condition, a, b = i.inputs
    if (known := r.number(condition)) is not None or a is b:
        chosen = a if known or known is None else b
        if not isinstance(chosen, Var):
            return r.filled(chosen, i.output)
        return r.broadcast(r.cast(chosen, i.output.dtype), i.output.shape)
    if (source := r.maker(condition, LogicalNot)) is not None:
        return Instruction(Where, (source.inputs[0], b, a), {}, i.output)
    source = r.maker(condition, Less, LessEqual, Greater, GreaterEqual)
    if source is not None and isinstance(b, Var) and not isinstance(a, Var) and b.dtype == i.output.dtype and (
            source.inputs[0] is b and source.inputs[1] == a and b.shape == i.output.shape):
        return Instruction(Maximum if source.op in (Less, LessEqual) else Minimum, (b, a), {}, i.output)
    if isinstance(a, Var) and not a.weak and a.dtype == i.output.dtype and _is_zero(b):
        return Instruction(Keep, (a, condition), {}, i.output)
    return None


def _is_zero(x: Operand) -> bool:
    return not isinstance(x, Var | complex) and x == 0 and math.copysign(1, x) > 0


@SIMPLE.on(Keep)
def _keep(r: Rewriter, i: Instruction) -> Any:
    """All, nothing, the same again; of a number, the mask itself times it."""
    x, mask = i.inputs
    if (known := r.number(mask)) is not None:
        return r.broadcast(x, i.output.shape) if known else r.filled(0, i.output)
    if (source := r.maker(x, Keep)) is not None and source.inputs[1] is mask and x.shape == i.output.shape:
        return x
    if (product := r.maker(x, Multiply)) is not None and x.shape == i.output.shape:
        for a, b in _pairs(product):  # the mask times b, where the mask holds
            source = r.maker(a, Cast)
            if source is not None and source.inputs[0] is mask and isinstance(b, Var) and b.dtype == x.dtype and (
                    not b.weak):
                return Instruction(Keep, (b, mask), {}, i.output)
    if i.output.dtype.kind != "f" or (number := r.number(x)) is None or not 0 <= number < math.inf:
        return None
    if number == 0:
        return r.filled(0, i.output)
    ones = r.broadcast(r.cast(mask, i.output.dtype), i.output.shape)
    return ones if number == 1 else r.emit(Multiply, ones, number)


@SIMPLE.on(Reshape, Transpose, Index)
def _moved_number(r: Rewriter, i: Instruction) -> Any:
    """One number repeated has no order."""
    source = r.maker(i.inputs[0], BroadcastTo)
    if source is None or source.inputs[0].size != 1 or len(i.inputs) > 1:
        return None
    return r.broadcast(r.reshape(source.inputs[0], ()), i.output.shape)


@SIMPLE.on(Reshape)
def _reshaped_reduction(r: Rewriter, i: Instruction) -> Any:
    """A reduction gives the shape that is wanted by itself, if its axes only have to be kept or dropped."""
    x = i.inputs[0]
    source = r.maker(x, Sum, Max, Min)
    if source is None or not r.once(x):
        return None
    y, axes, keepdims = source.inputs[0], source.options["axis"], not source.options["keepdims"]
    if i.output.shape != _reduced_shape(y.shape, axes, keepdims):
        return None
    return Instruction(source.op, (y,), {"axis": axes, "keepdims": keepdims}, i.output)


@SIMPLE.on(Cast)
def _cast_repeated(r: Rewriter, i: Instruction) -> Any:
    source = r.maker(i.inputs[0], BroadcastTo)
    return None if source is None else r.broadcast(r.cast(source.inputs[0], i.output.dtype), i.output.shape)


@SIMPLE.on(ScatterAdd)
def _scatter(r: Rewriter, i: Instruction) -> Any:
    """Everywhere, it is the array."""
    return i.inputs[0] if len(i.inputs) == 1 and i.inputs[0].shape == i.output.shape and all(
        part.step == 1 for part in i.options["index"]) else None


@SIMPLE.on(Index)
def _index(r: Rewriter, i: Instruction) -> Any:
    """What was added into zeros, taken out again."""
    source = r.maker(i.inputs[0], ScatterAdd)
    return source.inputs[0] if source is not None and len(i.inputs) == len(source.inputs) == 1 and (
        source.options["index"] == i.options["index"]) else None


@SIMPLE.on(Index)
def _index_first(r: Rewriter, i: Instruction) -> Any:
    """Axes of length 1 are added or dropped after taking entries, so that one index can follow another."""
    source = r.maker(i.inputs[0], Reshape)
    if source is None or len(i.inputs) > 1 or not i.output.size:
        return None
    x, y = source.inputs[0], source.output
    parts = iter([part for part, n in zip(i.options["index"], y.shape, strict=True) if n != 1])
    if [n for n in x.shape if n != 1] != [n for n in y.shape if n != 1]:
        return None
    index = tuple(slice(0, 1, 1) if n == 1 else next(parts) for n in x.shape)
    return r.reshape(r.emit(Index, x, index=index), i.output.shape)


@SIMPLE.on(Transpose)
def _transposed_product(r: Rewriter, i: Instruction) -> Any:
    """(A B)ᵀ = Bᵀ Aᵀ"""
    x, n = i.inputs[0], i.output.ndim
    source = r.maker(x, MatMul)
    if source is None or not r.once(x) or i.options["axes"] != (*range(n - 2), n - 1, n - 2):
        return None
    A, B = source.inputs
    return Instruction(MatMul, (r.swap(B), r.swap(A)), {}, i.output)


@SIMPLE.on(MatMul)
def _product(r: Rewriter, i: Instruction) -> Any:
    """An outer product is a product; repeated matrices need no copies; many rows times one matrix are one product."""
    A, B = _unrepeated_matrix(r, i.inputs[0]), _unrepeated_matrix(r, i.inputs[1])
    if A is not i.inputs[0] or B is not i.inputs[1]:
        return r.broadcast(r.emit(MatMul, A, B), i.output.shape)
    if A.shape[-1] == 1 and i.output.dtype.kind in "fiu":
        return Instruction(Multiply, (A, B), {}, i.output)
    if A.ndim > 2 and math.prod(B.shape[:-2]) == 1 and _contiguous(r, A):
        rows = r.reshape(A, (math.prod(A.shape[:-1]), A.shape[-1]))
        return r.reshape(r.emit(MatMul, rows, r.reshape(B, B.shape[-2:])), i.output.shape)
    if B.ndim > 2 and i.output.ndim > 2 and math.prod(i.output.shape[:-2]) == 1:
        return r.reshape(r.emit(MatMul, r.reshape(A, A.shape[-2:]), r.reshape(B, B.shape[-2:])), i.output.shape)
    return None


def _unrepeated_matrix(r: Rewriter, A: Var) -> Var:
    source = r.maker(A, BroadcastTo)
    x = A if source is None else source.inputs[0]
    return x if x.ndim > 1 and x.shape[-2:] == A.shape[-2:] else A


def _contiguous(r: Rewriter, x: Var) -> bool:
    """Whether `x` is laid out in the order of its axes, so that a Reshape copies nothing (more)."""
    while (source := r.maker(x, Reshape)) is not None:
        before, x = x, source.inputs[0]
        if [n for n in before.shape if n != 1] != [n for n in x.shape if n != 1]:
            return True
    return r.maker(x, Transpose, BroadcastTo, Index, Windows) is None


@SIMPLE.on(Sum)
def _sum_of_products(r: Rewriter, i: Instruction) -> Any:
    """Σ Aₙᵀ Bₙ over all n is Aᵀ B of the matrices one below the other."""
    x, axes = i.inputs[0], i.options["axis"]
    product = r.maker(x, MatMul)
    if product is None or not r.once(x) or axes != tuple(range(x.ndim - 2)) or not axes:
        return None
    A, B = product.inputs
    source = r.maker(A, Transpose)
    if source is None or source.options["axes"] != (*axes, x.ndim - 1, x.ndim - 2) or A.shape[:-2] != B.shape[:-2] or (
            not _contiguous(r, source.inputs[0]) or not _contiguous(r, B)):
        return None
    rows = r.reshape(source.inputs[0], (math.prod(B.shape[:-1]), A.shape[-2]))
    return r.reshape(r.emit(MatMul, r.swap(rows), r.reshape(B, (rows.shape[0], B.shape[-1]))), i.output.shape)


@SIMPLE.on(Sum, Max, Min)
def _reduced(r: Rewriter, i: Instruction) -> Any:
    """Of what was repeated, reshaped, transposed, reduced or negated: the reduction of what it was before."""
    x, axes, shape = i.inputs[0], i.options["axis"], i.output.shape
    source = r.maker(x, BroadcastTo, Reshape, Transpose, Negative, i.op)
    if source is None:
        return None
    y = source.inputs[0]
    if source.op is BroadcastTo:
        before = (*[1] * (x.ndim - y.ndim), *y.shape)
        repeated = [a for a in axes if before[a] != x.shape[a]]
        n = math.prod(x.shape[a] for a in repeated)
        if not repeated or n == 0 or i.output.dtype.kind not in "fiu":
            return None
        y = r.broadcast(y, tuple(1 if a in repeated else k for a, k in enumerate(x.shape)))
        total = r.reduce(i.op, y, axes, shape)
        return r.emit(Multiply, total, float(n) if i.output.dtype.kind == "f" else n) if i.op is Sum else total
    if source.op is Reshape:
        return r.reduce(i.op, y, range(y.ndim), shape) if len(axes) == x.ndim else None
    if source.op is Transpose:
        order = source.options["axes"]
        rest = [order[a] for a in range(x.ndim) if a not in axes]
        total = r.reduce(i.op, y, sorted(order[a] for a in axes), tuple(y.shape[a] for a in sorted(rest)))
        return r.reshape(r.transpose(total, [sorted(rest).index(a) for a in rest]), shape)
    if not r.once(x):
        return None
    if source.op is Negative:
        if i.op is not Sum or not _is_float(x):
            return None
        return Instruction(Negative, (r.reduce(Sum, y, axes, shape),), {}, i.output)
    inner = source.options["axis"]
    kept = range(y.ndim) if source.options["keepdims"] else [a for a in range(y.ndim) if a not in inner]
    return r.reduce(i.op, y, sorted({*inner, *[kept[a] for a in axes]}), shape)


SIMPLER = Rules(CANONICAL, SIMPLE)


def simplify(program: Program) -> Program:
    """With what algebra makes shorter, in canonical form."""
    return Rewriter(program, SIMPLER).run()


# ---------------------------------------------------------------------------------------------------------- NaN guards
# Below an op that selects, a traced backprop writes where(isnan(p) & (g == 0), 0, p) for what a rule made of a gradient
# g (see `tape`), since p may be 0 * inf. Often it cannot be; and if it can, p is mostly 0 or NaN wherever g is 0.

_NO_NAN, _FINITE, _NONZERO, _NIL, _ZERO = 1, 3, 4, 8, 11  # facts of entries, as bits; nil: 0 or NaN
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

    @rules.on(IsNan)
    def never(r: Rewriter, i: Instruction) -> Any:
        return r.filled(False, i.output) if fact(i.inputs[0]) & _NO_NAN else None

    @rules.on(Where)
    def guard(r: Rewriter, i: Instruction) -> Any:
        p, g = _guarded(r, i)
        if g is None:
            return None
        given = _implied(r, g)
        mask = r.constants.get(g) if g.dtype == _BOOL else None

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
        elsewhere = r.emit(NotEqual, g, 0) if mask is None else r.emit(LogicalNot, g)
        return Instruction(Keep, (p, elsewhere), {}, i.output)

    return Rewriter(program, rules).run()


def _guarded(r: Rewriter, i: Instruction) -> tuple[Any, Any]:
    """(p, g) of a guard, or p and the constant mask that g = 0 became; (None, None) of anything else."""
    condition = r.maker(i.inputs[0], BitwiseAnd) if i.op is Where and _is_number(i.inputs[1], 0) else None
    for x, y in _pairs(condition) if condition is not None else ():
        nan, zero = r.maker(x, IsNan), r.maker(y, Equal)
        if nan is None or nan.inputs[0] is not i.inputs[2]:
            continue
        if zero is not None and _is_number(zero.inputs[1], 0):
            return i.inputs[2], zero.inputs[0]
        if y in r.constants:
            return i.inputs[2], y
    return None, None


def _is_number(x: Operand, number: float) -> bool:
    return not isinstance(x, Var) and x == number


def _in_place(i: Instruction) -> bool:
    """Whether entries stay where they are, as broadcasting sees it."""
    return i.op.elementwise or i.op in (BroadcastTo, Cast) or (i.op is Reshape and _pads(i))


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
    elif i.op in (Negative, Absolute, BroadcastTo, Reshape, Transpose, Index, Windows, Max, Min):
        known = a
    elif i.op in (Keep, Pad, ScatterAdd) and len(facts) < 3:
        known = a & ~_NONZERO
    elif i.op in (Maximum, Minimum, Where, Concatenate):
        known = reduce(and_, facts[1:] if i.op is Where else facts)
    elif i.op is Cast:
        x = i.inputs[0].dtype
        widened = _lossless(x, i.output.dtype) or (x.kind in "biu" and i.output.dtype.itemsize > 2)
        known = a if widened else a & (_NIL | _NO_NAN)
    elif i.op in (Add, Subtract):  # the sum of finite numbers may be infinite
        known = both & _NIL | (both & _NO_NAN if either & _FINITE == _FINITE else 0)
    elif i.op is Multiply:
        known = either & _NIL | (_NO_NAN if both & _FINITE == _FINITE else 0)
    elif i.op is Divide:
        known = a & _NIL | (_NO_NAN if a & _FINITE == _FINITE and b & _NO_NAN and b & _NONZERO else 0)
    elif i.op in (Tanh, Sign, Sin, Expm1, Sqrt):
        known = a & _NIL | (_FINITE if i.op in (Tanh, Sign) and a & _NO_NAN else 0)
    elif i.op is Exp:
        known = a & _NO_NAN
    if i.op in (Sin, Cos) and a & _FINITE == _FINITE:
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
        if i.op in (Negative, BroadcastTo) or (i.op is Reshape and _pads(i)):
            todo.append((i.inputs[0], fact, depth - 1))
        elif i.op in (Multiply, Add, Subtract):  # inf times, plus or minus anything is infinite or NaN
            todo += [(y, _FINITE, depth - 1) for y in i.vars]
        elif i.op is Divide and isinstance(i.inputs[0], Var):
            todo.append((i.inputs[0], _FINITE, depth - 1))
    return given


# ------------------------------------------------------------------------------------------------------------ together

PASSES = (canonical, drop_dead, merge_equal, fold_constants, drop_guards, simplify)
_ROUNDS = 20


def optimized(program: Program) -> tuple[Program, str]:
    """The program after all passes, repeated until nothing changes, and a table of what each did in each round."""
    rows = [("traced", *_size(program))]
    for k in range(_ROUNDS):
        start = program
        for improve in PASSES:
            before, program = program, improve(program)
            if program is not before:
                rows.append((improve.__name__ + (f" ({k + 1})" if k else ""), *_size(program)))
        if program is start:
            break
    table = [("pass", "instructions", "variables", "bytes between"),
             *[(row[0], *[f"{n:,}" for n in row[1:]]) for row in rows]]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    return program, "\n".join(f"{row[0]:<{widths[0]}}" + "".join(f"  {text:>{width}}" for text, width in
                              zip(row[1:], widths[1:], strict=True)) for row in table)


def _size(program: Program) -> tuple[int, int, int]:
    return (len(program.instructions), sum(1 for _ in program.variables()),
            sum(i.output.nbytes for i in program.instructions))
