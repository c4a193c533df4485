"""The canonical form: what only renames an array is gone, and each op that remains is written in one way.

Few forms, so that targets are small and equal things look equal. `simplification` keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import ops
from ..op import Elementwise, Op
from ..ops.selection import ARRAY
from ..recording import Variable
from .program import Instruction, Operand, Program, Var, is_numpy
from .rewriting import BOOL, Rewriter, Rules, Shape, became, lossless, only_pads, reduced_shape

CANONICAL = Rules()


@CANONICAL.on(ops.Identity, ops.StopGradient, Variable)
def _same(r: Rewriter, i: Instruction) -> Any:
    return i.inputs[0]


@CANONICAL.on(ops.Reshape, ops.ExpandDims, ops.Squeeze)
def _reshape(r: Rewriter, i: Instruction) -> Any:
    x = r.strong(i.inputs[0])
    if (source := r.maker(x, ops.Reshape)) is not None:
        x = source.inputs[0]
    return x if x.shape == i.output.shape else became(i, ops.Reshape, (x,), {"shape": i.output.shape})


@CANONICAL.on(ops.Transpose, ops.SwapAxes)
def _transpose(r: Rewriter, i: Instruction) -> Any:
    x = r.strong(i.inputs[0])
    axes = list(range(x.ndim))
    if i.op is ops.SwapAxes:
        a, b = i.options["axis1"], i.options["axis2"]
        axes[a], axes[b] = axes[b], axes[a]
    elif (given := i.options.get("axes")) is None:
        axes.reverse()
    else:
        axes = [axis % x.ndim for axis in given]
    if (source := r.maker(x, ops.Transpose)) is not None:
        x = source.inputs[0]
        axes = [source.options["axes"][axis] for axis in axes]
    if x.size == 0 or (moved := [axis for axis in axes if x.shape[axis] != 1]) == sorted(moved):
        return r.reshape(x, i.output.shape)
    return became(i, ops.Transpose, (x,), {"axes": tuple(axes)})


@CANONICAL.on(ops.BroadcastTo)
def _broadcast(r: Rewriter, i: Instruction) -> Any:
    x, shape = r.strong(i.inputs[0]), i.output.shape
    if (source := r.maker(x, ops.BroadcastTo)) is not None:
        x = source.inputs[0]
    if (source := r.maker(x, ops.Reshape)) is not None and only_pads(source) and source.inputs[0].ndim <= len(shape):
        x = source.inputs[0]
    if x.size == i.output.size:
        return r.reshape(x, shape)
    return became(i, ops.BroadcastTo, (x,), {"shape": shape})


@CANONICAL.on(ops.Cast, ops.CastToInteger)
def _cast(r: Rewriter, i: Instruction) -> Any:
    x, dtype = i.inputs[0], i.output.dtype
    if (source := r.maker(x, ops.Cast)) is not None and lossless(source.inputs[0].dtype, x.dtype):
        x = source.inputs[0]
    if x.dtype == dtype and not x.weak:
        return x
    if dtype == BOOL:
        return Instruction(ops.NotEqual, (x, 0), {}, i.output)
    return became(i, ops.Cast, (x,), {"dtype": dtype})


@CANONICAL.on(ops.Index, ops.ScatterAdd)
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
    shape = x.shape if i.op is ops.Index else i.options["shape"]
    slices = _slices(index, shape)
    sliced = tuple(len(_range(part, n)) for part, n in zip(slices, shape, strict=True))
    if i.op is ops.ScatterAdd:
        if x.size != math.prod(sliced):
            part = np.broadcast_to(0, shape)[index]
            x = r.broadcast(x, part.shape)
        return became(i, ops.ScatterAdd, (r.reshape(x, sliced),), {"shape": shape, "index": slices})
    if (source := r.maker(x, ops.Index)) is not None and len(source.inputs) == 1:
        inner, x = source.options["index"], source.inputs[0]
        slices = tuple(_slice(_range(a, n)[b]) for a, n, b in zip(inner, x.shape, slices, strict=True))
    if sliced == x.shape and all(part.step == 1 for part in slices):
        return r.reshape(x, output.shape)
    if sliced == output.shape:
        return became(i, ops.Index, (x,), {"index": slices})
    return r.reshape(r.make(ops.Index, (x,), {"index": slices}, sliced, x.dtype), output.shape)


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


@CANONICAL.on(ops.Var, ops.Std)
def _variance(r: Rewriter, i: Instruction) -> Any:
    """As NumPy does it: from the deviations from the mean."""
    (x, where), output = i.inputs, i.output
    axis, ddof = i.options.get("axis"), i.options.get("ddof", 0)
    if where is not True or output.dtype not in (np.float32, np.float64) or x.dtype.kind == "c" or not x.size:
        return None
    x = r.cast(r.strong(x), output.dtype)
    given = range(x.ndim) if axis is None else axis if isinstance(axis, Iterable) else [axis]
    axes = tuple(sorted(a % x.ndim for a in given))
    n = math.prod(x.shape[a] for a in axes)
    if n <= ddof:
        return None
    mean = r.emit(ops.Divide, r.reduce(ops.Sum, x, axes, reduced_shape(x.shape, axes, True)), n)
    d = r.emit(ops.Subtract, x, mean)
    variance = r.emit(ops.Divide, r.reduce(ops.Sum, r.emit(ops.Multiply, d, d), axes, output.shape), n - ddof)
    return variance if i.op is ops.Var else r.emit(ops.Sqrt, variance)


@CANONICAL.on(ops.Conjugate, ops.Real)
def _real_already(r: Rewriter, i: Instruction) -> Any:
    x = r.strong(i.inputs[0])
    return x if x.dtype.kind != "c" and x.dtype == i.output.dtype else None


@CANONICAL.on(ops.Sum, ops.Prod, ops.Max, ops.Min, ops.Mean)
def _reduction(r: Rewriter, i: Instruction) -> Any:
    x, output = r.strong(i.inputs[0]), i.output
    axis, keepdims = i.options.get("axis"), bool(i.options.get("keepdims"))
    given = range(x.ndim) if axis is None else axis if isinstance(axis, Iterable) else [axis]
    axes = tuple(sorted(a % x.ndim for a in given))
    n = math.prod(x.shape[a] for a in axes)
    if i.op is ops.Mean:  # as NumPy does it
        x = r.cast(x, np.dtype("f4" if x.dtype == np.float16 else "f8" if x.dtype.kind in "biu" else x.dtype))
        if n != 1:
            x = r.emit(ops.Divide, r.reduce(ops.Sum, x, axes, output.shape), n)
        return r.reshape(r.cast(x, output.dtype), output.shape)
    x = r.cast(x, output.dtype)
    if all(x.shape[a] == 1 for a in axes):
        return r.reshape(x, output.shape)
    return became(i, i.op, (x,), {"axis": axes, "keepdims": keepdims})


@CANONICAL.on(ops.Square)
def _square(r: Rewriter, i: Instruction) -> Any:
    if i.output.dtype.kind not in "fiu":
        return None
    x = r.cast(i.inputs[0], i.output.dtype)
    return Instruction(ops.Multiply, (x, x), {}, i.output)


@CANONICAL.on(ops.Power)
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
        return Instruction(ops.Multiply, (x, x), {}, i.output)
    if p == 3:
        return Instruction(ops.Multiply, (r.emit(ops.Multiply, x, x), x), {}, i.output)
    if i.output.dtype.kind != "f" or i.output.weak:
        return None
    return Instruction(ops.Divide, (1.0, x), {}, i.output) if p == -1 else Instruction(ops.Sqrt, (x,), {}, i.output)


@CANONICAL.on(ops.LogicalAnd, ops.LogicalOr)
def _logical(r: Rewriter, i: Instruction) -> Any:
    inputs = tuple(_truth(r, x) for x in i.inputs)
    return Instruction(ops.BitwiseAnd if i.op is ops.LogicalAnd else ops.BitwiseOr, inputs, {}, i.output)


@CANONICAL.on(ops.LogicalNot)
def _logical_not(r: Rewriter, i: Instruction) -> Any:
    x = i.inputs[0]
    return Instruction(ops.Equal, (x, 0), {}, i.output) if x.dtype != BOOL else None


@CANONICAL.on(ops.Invert)
def _invert(r: Rewriter, i: Instruction) -> Any:
    return Instruction(ops.LogicalNot, i.inputs, {}, i.output) if i.inputs[0].dtype == BOOL else None


_ON_TRUTH: dict[type[Op], type[Op]] = {
    ops.Add: ops.BitwiseOr, ops.Maximum: ops.BitwiseOr, ops.Multiply: ops.BitwiseAnd, ops.Minimum: ops.BitwiseAnd,
    ops.NotEqual: ops.BitwiseXor}


@CANONICAL.on(*_ON_TRUTH)
def _on_truth(r: Rewriter, i: Instruction) -> Any:
    if all(x.dtype == BOOL and not x.weak if isinstance(x, Var) else x is True or x is False for x in i.inputs):
        return Instruction(_ON_TRUTH[i.op], i.inputs, {}, i.output)
    return None


@CANONICAL.on(ops.Keep)
def _mask(r: Rewriter, i: Instruction) -> Any:
    return became(i, ops.Keep, (r.cast(i.inputs[0], i.output.dtype), _truth(r, i.inputs[1])), {})


@CANONICAL.on(ops.Where)
def _condition(r: Rewriter, i: Instruction) -> Any:
    return became(i, ops.Where, (_truth(r, i.inputs[0]), *i.inputs[1:]), {})


def _truth(r: Rewriter, x: Operand) -> Operand:
    if not isinstance(x, Var):
        return bool(x)
    return x if x.dtype == BOOL and not x.weak else r.emit(ops.NotEqual, x, 0)


@CANONICAL.on(ops.MatMul)
def _matmul(r: Rewriter, i: Instruction) -> Any:
    """Two axes at least, and one dtype."""
    A, B = (r.cast(x, i.output.dtype) for x in i.inputs)
    if A.ndim > 1 and B.ndim > 1:
        return became(i, ops.MatMul, (A, B), {})
    A = r.reshape(A, (1, *A.shape)) if A.ndim == 1 else A
    B = r.reshape(B, (*B.shape, 1)) if B.ndim == 1 else B
    return r.reshape(r.emit(ops.MatMul, A, B), i.output.shape)


@CANONICAL.on(ops.Concatenate)
def _concatenate(r: Rewriter, i: Instruction) -> Any:
    """Of one dtype, and nothing empty."""
    axis = i.options["axis"] % i.output.ndim
    parts = tuple(r.cast(r.strong(x), i.output.dtype) for x in i.inputs if not isinstance(x, Var) or x.shape[axis])
    if len(parts) < 2:
        return parts[0] if parts else r.cast(r.strong(i.inputs[0]), i.output.dtype)
    if len(parts) < len(i.inputs):
        return Instruction(ops.Concatenate, parts, {"axis": axis}, i.output)
    return became(i, ops.Concatenate, parts, {"axis": axis})


@CANONICAL.on(ops.Pad)
def _pad(r: Rewriter, i: Instruction) -> Any:
    width = tuple((int(before), int(after)) for before, after in i.options["width"])
    x = r.strong(i.inputs[0])
    return x if x.shape == i.output.shape else became(i, ops.Pad, (x,), {"width": width})


@CANONICAL.on(ops.Windows, ops.FoldWindows)
def _windows(r: Rewriter, i: Instruction) -> Any:
    """Windows of one entry, side by side, are the entries."""
    shape = i.options["shape"] if i.op is ops.Windows else i.inputs[0].shape[-2:]
    one = tuple(shape) == (1, 1) and tuple(i.options["stride"]) == (1, 1)
    return r.reshape(i.inputs[0], i.output.shape) if one else None


@CANONICAL.on(Elementwise)
def _numbers(r: Rewriter, i: Instruction) -> Any:
    """Among floats a whole Python number is a float, too; but ufuncs that are not of NumPy may see it otherwise."""
    if i.op is not ops.Where and not is_numpy(i.op.forward):
        return None
    first = 1 if i.op is ops.Where else 0
    whole = [k >= first and isinstance(x, int) and abs(x) <= 2**53 for k, x in enumerate(i.inputs)]
    if i.op in (ops.Keep, ops.LdExp) or not any(whole) or all(
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
    return r.broadcast(r.make(i.op, inputs, dict(i.options), shape, i.output.dtype), i.output.shape)


def _unrepeated(r: Rewriter, x: Operand, output: Var) -> Operand:
    while (source := r.maker(x, ops.BroadcastTo, ops.Reshape)) is not None and (
            source.op is ops.BroadcastTo or only_pads(source)) and source.inputs[0].ndim <= output.ndim:
        x = source.inputs[0]
    return x


def canonical(program: Program) -> Program:
    """With fewer forms: what only renames an array is gone, and each op that remains is written in one way."""
    return Rewriter(program, CANONICAL).run()
