"""Simplification: what algebra makes shorter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..op import Op
from .canonical import CANONICAL
from .program import Instruction, Operand, Program, Var
from .rewriting import BOOL, Rewriter, Rules, is_number, pairs, reduced_shape

SIMPLE = Rules()
_MERGED = {np.dtype(np.float32), np.dtype(np.float64)}  # where factors are merged: within rounding


def _is_float(x: Operand) -> bool:
    return isinstance(x, Var) and x.dtype.kind == "f"


@SIMPLE.on(ops.Negative)
def _negative(r: Rewriter, i: Instruction) -> Any:
    """-(-x) is x, -(a - b) is b - a, -(x c) is x (-c)."""
    x = i.inputs[0]
    if (source := r.maker(x, ops.Negative)) is not None:
        return source.inputs[0]
    if (source := r.maker(x, ops.Subtract)) is not None and r.once(x) and _is_float(x):
        return Instruction(ops.Subtract, source.inputs[::-1], {}, i.output)
    if (source := r.maker(x, ops.Multiply)) is not None and r.once(x) and _is_float(x):
        for y, c in pairs(source):
            if not isinstance(c, Var):
                return Instruction(ops.Multiply, (y, -c), {}, i.output)
    return None


@SIMPLE.on(ops.Multiply)
def _multiply(r: Rewriter, i: Instruction) -> Any:
    """x 1 is x, x (-1) is -x, (x a) b is x (a b), (-x) y is -(x y)."""
    for x, c in pairs(i):
        if isinstance(c, Var):
            if (source := r.maker(x, ops.Negative)) is not None and _is_float(x) and x.size == i.output.size:
                return Instruction(ops.Negative, (r.emit(ops.Multiply, source.inputs[0], c),), {}, i.output)
        elif c == 1:
            return _times_one(r, x, i.output)
        elif c == -1 and x.dtype == i.output.dtype and x.dtype.kind in "fi":
            return Instruction(ops.Negative, (x,), {}, i.output)
        elif (merged := _merged(r, i.output, x, c)) is not None:
            return merged
    return None


@SIMPLE.on(ops.Divide)
def _divide(r: Rewriter, i: Instruction) -> Any:
    """x / 1 is x, (x a) / b is x (a / b), (-x) / y is -(x / y); dividing by a power of 2 is multiplying."""
    x, c = i.inputs
    if isinstance(c, Var):
        for k, y in enumerate(i.inputs):
            if (source := r.maker(y, ops.Negative)) is not None and _is_float(y) and y.size == i.output.size:
                signless = (source.inputs[0], c) if k == 0 else (x, source.inputs[0])
                return Instruction(ops.Negative, (r.emit(ops.Divide, *signless),), {}, i.output)
        return None
    if c == 1:
        return _times_one(r, x, i.output)
    if i.output.dtype not in _MERGED or x.dtype != i.output.dtype or x.weak or not _is_mild(c):
        return None
    if abs(math.frexp(c)[0]) == 0.5:
        return Instruction(ops.Multiply, (x, 1 / c), {}, i.output)
    return _merged(r, i.output, x, c, True)


def _times_one(r: Rewriter, x: Var, output: Var) -> Var | None:
    """x in the dtype of the output; a Python number that becomes another kind of number is left alone."""
    if output.weak:
        return x if x.dtype == output.dtype else None
    return r.cast(x, output.dtype)


def _merged(r: Rewriter, output: Var, x: Var, c: Any, divide: bool = False) -> Instruction | None:
    """x c, or x / c, with c merged into the factor, the divisor or the sign that x has already."""
    source = r.maker(x, ops.Multiply, ops.Divide, ops.Negative)
    if source is None or output.dtype not in _MERGED or x.dtype != output.dtype or x.weak:
        return None
    if source.op is ops.Negative:
        return Instruction(ops.Divide if divide else ops.Multiply, (source.inputs[0], -c), {}, output)
    a, b = source.inputs
    y, k = (b, a) if isinstance(b, Var) else (a, b)
    if isinstance(k, Var) or not _is_mild(c) or not _is_mild(k) or y.dtype != output.dtype or y.weak:
        return None
    factor = k / c if divide else k * c
    if source.op is ops.Multiply:
        return Instruction(ops.Multiply, (y, factor), {}, output)
    if y is b:
        return Instruction(ops.Divide, (factor, y), {}, output)
    if divide:
        return Instruction(ops.Divide, (y, k * c), {}, output)
    return Instruction(ops.Multiply, (y, c / k), {}, output)


def _is_mild(c: Any) -> bool:
    """Whether products and quotients of such numbers are far from the ends of float32."""
    return not isinstance(c, complex) and 1e-15 < abs(c) < 1e15


@SIMPLE.on(ops.Add)
def _add(r: Rewriter, i: Instruction) -> Any:
    """a + (-b) is a - b, x + 0 is x where that is so for -0.0 too."""
    for x, y in pairs(i):
        if (source := r.maker(y, ops.Negative)) is not None and _is_float(y) and y.dtype == i.output.dtype:
            return Instruction(ops.Subtract, (x, source.inputs[0]), {}, i.output)
        if not isinstance(y, Var | complex) and y == 0 and x.dtype == i.output.dtype and (
                x.dtype.kind in "iu" or math.copysign(1, y) < 0):
            return x
    return None


@SIMPLE.on(ops.Add)
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
        if made.op is ops.Add:
            todo += made.inputs
        else:
            pieces.append((made.options["index"][axis].start, made.inputs[0]))
    pieces.sort(key=lambda piece: piece[0])
    ends = [start + x.shape[axis] for start, x in pieces]
    if [start for start, _ in pieces] != [0, *ends[:-1]]:
        return None
    return Instruction(ops.Concatenate, tuple(x for _, x in pieces), {"axis": axis}, i.output)


def _piece(r: Rewriter, x: Operand) -> tuple[int, int] | None:
    """The axis and the length of a piece added into zeros that spans all other axes."""
    source = r.maker(x, ops.ScatterAdd)
    if source is None or len(source.inputs) > 1:
        return None
    y, shape = source.inputs[0], source.output.shape
    cut = [axis for axis, n in enumerate(shape) if y.shape[axis] != n]
    if len(cut) != 1 or any(part.step != 1 for part in source.options["index"]):
        return None
    return cut[0], y.shape[cut[0]]


@SIMPLE.on(ops.Subtract)
def _subtract(r: Rewriter, i: Instruction) -> Any:
    """a - (-b) is a + b, x - 0 is x."""
    x, y = i.inputs
    if (source := r.maker(y, ops.Negative)) is not None and _is_float(y) and y.dtype == i.output.dtype:
        return Instruction(ops.Add, (x, source.inputs[0]), {}, i.output)
    if not isinstance(y, Var | complex) and y == 0 and math.copysign(1, y) > 0 and x.dtype == i.output.dtype:
        return x
    return None


_OPPOSITE: dict[type[Op], type[Op]] = {
    ops.Less: ops.GreaterEqual, ops.GreaterEqual: ops.Less, ops.Greater: ops.LessEqual, ops.LessEqual: ops.Greater,
    ops.Equal: ops.NotEqual, ops.NotEqual: ops.Equal}


@SIMPLE.on(ops.LogicalNot)
def _not(r: Rewriter, i: Instruction) -> Any:
    """Not not x is x; of a comparison the opposite, where NaN does not make both false."""
    if (source := r.maker(i.inputs[0], ops.LogicalNot)) is not None:
        return source.inputs[0]
    source = r.maker(i.inputs[0], *_OPPOSITE)
    if source is not None and (source.op in (ops.Equal, ops.NotEqual) or all(
            x.dtype.kind in "biu" if isinstance(x, Var) else isinstance(x, int) for x in source.inputs)):
        return Instruction(_OPPOSITE[source.op], source.inputs, {}, i.output)
    return None


@SIMPLE.on(ops.Equal, ops.NotEqual)
def _is_true(r: Rewriter, i: Instruction) -> Any:
    """A mask as a number, compared with 0, is the mask; a sign says nothing of being 0."""
    if not is_number(i.inputs[1], 0):
        return None
    if (source := r.maker(i.inputs[0], ops.Negative)) is not None:
        return Instruction(i.op, (source.inputs[0], i.inputs[1]), {}, i.output)
    source = r.maker(i.inputs[0], ops.Cast)
    if source is None or source.inputs[0].dtype != BOOL or source.inputs[0].weak:
        return None
    mask = source.inputs[0]
    return mask if i.op is ops.NotEqual else Instruction(ops.LogicalNot, (mask,), {}, i.output)


@SIMPLE.on(ops.BitwiseAnd, ops.BitwiseOr)
def _and_or(r: Rewriter, i: Instruction) -> Any:
    """With True, with False, and with itself."""
    if i.output.dtype != BOOL:
        return None
    for x, y in pairs(i):
        if x is y:
            return x
        if isinstance(x, Var) and (known := r.number(y)) is not None:
            return r.filled(known, i.output) if known == (i.op is ops.BitwiseOr) else r.broadcast(x, i.output.shape)
    return None


@SIMPLE.on(ops.Where)
def _where(r: Rewriter, i: Instruction) -> Any:
    """The branch that is known, or the same; max(x, c) as ReLU writes it; x or 0 as Keep."""
    condition, a, b = i.inputs
    if (known := r.number(condition)) is not None or a is b:
        chosen = a if known or known is None else b
        if not isinstance(chosen, Var):
            return r.filled(chosen, i.output)
        return r.broadcast(r.cast(chosen, i.output.dtype), i.output.shape)
    if (source := r.maker(condition, ops.LogicalNot)) is not None:
        return Instruction(ops.Where, (source.inputs[0], b, a), {}, i.output)
    source = r.maker(condition, ops.Less, ops.LessEqual, ops.Greater, ops.GreaterEqual)
    if source is not None and isinstance(b, Var) and not isinstance(a, Var) and b.dtype == i.output.dtype and (
            source.inputs[0] is b and source.inputs[1] == a and b.shape == i.output.shape):
        return Instruction(ops.Maximum if source.op in (ops.Less, ops.LessEqual) else ops.Minimum, (b, a), {}, i.output)
    if isinstance(a, Var) and not a.weak and a.dtype == i.output.dtype and _is_zero(b):
        return Instruction(ops.BitwiseAnd if a.dtype == BOOL else ops.Keep, (a, condition), {}, i.output)
    return None


def _is_zero(x: Operand) -> bool:
    return not isinstance(x, Var | complex) and x == 0 and math.copysign(1, x) > 0


@SIMPLE.on(ops.Keep)
def _keep(r: Rewriter, i: Instruction) -> Any:
    """All, nothing, the same again; of a number, the mask itself times it."""
    x, mask = i.inputs
    if (known := r.number(mask)) is not None:
        return r.broadcast(x, i.output.shape) if known else r.filled(0, i.output)
    if (source := r.maker(x, ops.Keep)) is not None and source.inputs[1] is mask and x.shape == i.output.shape:
        return x
    if (product := r.maker(x, ops.Multiply)) is not None and x.shape == i.output.shape:
        for a, b in pairs(product):  # the mask times b, where the mask holds
            source = r.maker(a, ops.Cast)
            if source is not None and source.inputs[0] is mask and isinstance(b, Var) and b.dtype == x.dtype and (
                    not b.weak):
                return Instruction(ops.Keep, (b, mask), {}, i.output)
    if i.output.dtype.kind != "f" or (number := r.number(x)) is None or not 0 <= number < math.inf:
        return None
    if number == 0:
        return r.filled(0, i.output)
    ones = r.broadcast(r.cast(mask, i.output.dtype), i.output.shape)
    return ones if number == 1 else r.emit(ops.Multiply, ones, number)


@SIMPLE.on(ops.Reshape, ops.Transpose, ops.Index)
def _moved_number(r: Rewriter, i: Instruction) -> Any:
    """One number repeated has no order."""
    source = r.maker(i.inputs[0], ops.BroadcastTo)
    if source is None or source.inputs[0].size != 1 or len(i.inputs) > 1:
        return None
    return r.broadcast(r.reshape(source.inputs[0], ()), i.output.shape)


@SIMPLE.on(ops.Reshape)
def _reshaped_reduction(r: Rewriter, i: Instruction) -> Any:
    """A reduction gives the shape that is wanted by itself, if its axes only have to be kept or dropped."""
    x = i.inputs[0]
    source = r.maker(x, ops.Sum, ops.Max, ops.Min)
    if source is None or not r.once(x):
        return None
    y, axes, keepdims = source.inputs[0], source.options["axis"], not source.options["keepdims"]
    if i.output.shape != reduced_shape(y.shape, axes, keepdims):
        return None
    return Instruction(source.op, (y,), {"axis": axes, "keepdims": keepdims}, i.output)


@SIMPLE.on(ops.Cast)
def _cast_repeated(r: Rewriter, i: Instruction) -> Any:
    source = r.maker(i.inputs[0], ops.BroadcastTo)
    return None if source is None else r.broadcast(r.cast(source.inputs[0], i.output.dtype), i.output.shape)


@SIMPLE.on(ops.ScatterAdd)
def _scatter(r: Rewriter, i: Instruction) -> Any:
    """Everywhere, it is the array."""
    return i.inputs[0] if len(i.inputs) == 1 and i.inputs[0].shape == i.output.shape and all(
        part.step == 1 for part in i.options["index"]) else None


@SIMPLE.on(ops.Index)
def _index(r: Rewriter, i: Instruction) -> Any:
    """What was added into zeros, taken out again."""
    source = r.maker(i.inputs[0], ops.ScatterAdd)
    return source.inputs[0] if source is not None and len(i.inputs) == len(source.inputs) == 1 and (
        source.options["index"] == i.options["index"]) else None


@SIMPLE.on(ops.Index)
def _index_first(r: Rewriter, i: Instruction) -> Any:
    """Axes of length 1 are added or dropped after taking entries, so that one index can follow another."""
    source = r.maker(i.inputs[0], ops.Reshape)
    if source is None or len(i.inputs) > 1 or not i.output.size:
        return None
    x, y = source.inputs[0], source.output
    parts = iter([part for part, n in zip(i.options["index"], y.shape, strict=True) if n != 1])
    if [n for n in x.shape if n != 1] != [n for n in y.shape if n != 1]:
        return None
    index = tuple(slice(0, 1, 1) if n == 1 else next(parts) for n in x.shape)
    return r.reshape(r.emit(ops.Index, x, index=index), i.output.shape)


@SIMPLE.on(ops.Transpose)
def _transposed_product(r: Rewriter, i: Instruction) -> Any:
    """(A B)ᵀ = Bᵀ Aᵀ"""
    x, n = i.inputs[0], i.output.ndim
    source = r.maker(x, ops.MatMul)
    if source is None or not r.once(x) or i.options["axes"] != (*range(n - 2), n - 1, n - 2):
        return None
    A, B = source.inputs
    return Instruction(ops.MatMul, (r.swap(B), r.swap(A)), {}, i.output)


@SIMPLE.on(ops.MatMul)
def _product(r: Rewriter, i: Instruction) -> Any:
    """An outer product is a product; repeated matrices need no copies; many rows times one matrix are one product."""
    A, B = _unrepeated_matrix(r, i.inputs[0]), _unrepeated_matrix(r, i.inputs[1])
    if A is not i.inputs[0] or B is not i.inputs[1]:
        return r.broadcast(r.emit(ops.MatMul, A, B), i.output.shape)
    if A.shape[-1] == 1 and i.output.dtype.kind in "fiu":
        return Instruction(ops.Multiply, (A, B), {}, i.output)
    if A.ndim > 2 and math.prod(B.shape[:-2]) == 1 and _contiguous(r, A):
        rows = r.reshape(A, (math.prod(A.shape[:-1]), A.shape[-1]))
        return r.reshape(r.emit(ops.MatMul, rows, r.reshape(B, B.shape[-2:])), i.output.shape)
    if B.ndim > 2 and i.output.ndim > 2 and math.prod(i.output.shape[:-2]) == 1:
        return r.reshape(r.emit(ops.MatMul, r.reshape(A, A.shape[-2:]), r.reshape(B, B.shape[-2:])), i.output.shape)
    return None


def _unrepeated_matrix(r: Rewriter, A: Var) -> Var:
    source = r.maker(A, ops.BroadcastTo)
    x = A if source is None else source.inputs[0]
    return x if x.ndim > 1 and x.shape[-2:] == A.shape[-2:] else A


def _contiguous(r: Rewriter, x: Var) -> bool:
    """Whether `x` is laid out in the order of its axes, so that a Reshape copies nothing (more)."""
    while (source := r.maker(x, ops.Reshape)) is not None:
        before, x = x, source.inputs[0]
        if [n for n in before.shape if n != 1] != [n for n in x.shape if n != 1]:
            return True
    return r.maker(x, ops.Transpose, ops.BroadcastTo, ops.Index, ops.Windows) is None


@SIMPLE.on(ops.Sum)
def _sum_of_products(r: Rewriter, i: Instruction) -> Any:
    """Σ Aₙᵀ Bₙ over all n is Aᵀ B of the matrices one below the other."""
    x, axes = i.inputs[0], i.options["axis"]
    product = r.maker(x, ops.MatMul)
    if product is None or not r.once(x) or axes != tuple(range(x.ndim - 2)) or not axes:
        return None
    A, B = product.inputs
    source = r.maker(A, ops.Transpose)
    if source is None or source.options["axes"] != (*axes, x.ndim - 1, x.ndim - 2) or A.shape[:-2] != B.shape[:-2] or (
            not _contiguous(r, source.inputs[0]) or not _contiguous(r, B)):
        return None
    rows = r.reshape(source.inputs[0], (math.prod(B.shape[:-1]), A.shape[-2]))
    return r.reshape(r.emit(ops.MatMul, r.swap(rows), r.reshape(B, (rows.shape[0], B.shape[-1]))), i.output.shape)


@SIMPLE.on(ops.Sum, ops.Max, ops.Min)
def _reduced(r: Rewriter, i: Instruction) -> Any:
    """Of what was repeated, reshaped, transposed, reduced or negated: the reduction of what it was before."""
    x, axes, shape = i.inputs[0], i.options["axis"], i.output.shape
    source = r.maker(x, ops.BroadcastTo, ops.Reshape, ops.Transpose, ops.Negative, i.op)
    if source is None:
        return None
    y = source.inputs[0]
    if source.op is ops.BroadcastTo:
        before = (*[1] * (x.ndim - y.ndim), *y.shape)
        repeated = [a for a in axes if before[a] != x.shape[a]]
        n = math.prod(x.shape[a] for a in repeated)
        if not repeated or n == 0 or i.output.dtype.kind not in "fiu":
            return None
        y = r.broadcast(y, tuple(1 if a in repeated else k for a, k in enumerate(x.shape)))
        total = r.reduce(i.op, y, axes, shape)
        return r.emit(ops.Multiply, total, float(n) if i.output.dtype.kind == "f" else n) if i.op is ops.Sum else total
    if source.op is ops.Reshape:
        return r.reduce(i.op, y, range(y.ndim), shape) if len(axes) == x.ndim else None
    if source.op is ops.Transpose:
        order = source.options["axes"]
        rest = [order[a] for a in range(x.ndim) if a not in axes]
        total = r.reduce(i.op, y, sorted(order[a] for a in axes), tuple(y.shape[a] for a in sorted(rest)))
        return r.reshape(r.transpose(total, [sorted(rest).index(a) for a in rest]), shape)
    if not r.once(x):
        return None
    if source.op is ops.Negative:
        if i.op is not ops.Sum or not _is_float(x):
            return None
        return Instruction(ops.Negative, (r.reduce(ops.Sum, y, axes, shape),), {}, i.output)
    inner = source.options["axis"]
    kept = range(y.ndim) if source.options["keepdims"] else [a for a in range(y.ndim) if a not in inner]
    return r.reduce(i.op, y, sorted({*inner, *[kept[a] for a in axes]}), shape)


SIMPLER = Rules(CANONICAL, SIMPLE)


def simplify(program: Program) -> Program:
    """With what algebra makes shorter, in canonical form."""
    return Rewriter(program, SIMPLER).run()
