"""Batching: a graph once more, for many values of one of its nodes at a time.

`batched` takes nodes that were computed from a variable and computes them from a node with one more axis in front, the
batch. Each op on the way has a rule in `RULES` that says how such an axis goes through: which op, on nodes that have
it, does for each entry of the batch what the op did for one. A fused op is expanded, and an op without a rule, a user's
own primitive, is applied to one entry after the other. What comes out is a graph like any other. This module knows the
ops and nothing of derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .node import TRACE, WATCHER, Node, Value, describe
from .op import Elementwise, Op, run_traced
from .ops.accumulation import CumLogAddExp, CumMax, CumMin, CumProd, CumSum, Recurrence
from .ops.activations import ELU, ErfGELU, LeakyReLU, Sigmoid, SiLU, Softplus
from .ops.convolution import FoldWindows, MaxPool2D, Windows
from .ops.decompositions import QR, SVD, Cholesky, Eig, Eigh, Marked, OverGaps, TieMeans
from .ops.discrete import Unwrap
from .ops.fourier import FFT, IFFT, IRFFT, RFFT
from .ops.indexing import LastAt, MaxAt, MinAt, SetAt
from .ops.joining import Concatenate, Pad
from .ops.linear_algebra import MatMul
from .ops.linear_systems import Cofactors, Det, Inv, LeastSquares, MatrixRank, Pinv, SLogDet, Solve
from .ops.neural import GELU, ReLU, Softmax
from .ops.norms import Norm
from .ops.ordering import ArgMax, ArgMin, ArgRank, ArgSort, Partition, Reorder, SearchSorted, Sort
from .ops.products import Cross
from .ops.reductions import Max, Mean, Min, NanMax, NanMin, Prod, Std, Sum, Var
from .ops.selection import ARRAY, Index, InRange, ScatterAdd, assembled
from .ops.sequences import Convolve, Interp
from .ops.shaping import (
    BroadcastTo,
    Cast,
    CastToInteger,
    ExpandDims,
    Identity,
    Reshape,
    Squeeze,
    StopGradient,
    SwapAxes,
    Transpose,
)
from .tape import Tape, as_value


def batched(outputs: Sequence[Node], variable: Value, replacement: Node) -> list[Value]:
    """The nodes `outputs`, computed from `replacement`, a node (n, *variable.shape), in the place of `variable`.

    Each gets the shape (n, *output.shape): entry i is what the output would be with replacement[i] as the variable.
    An output that does not depend on the variable is returned as it is, without the axis. n must be at least 1.

    >>> import numpy as np, tinygraph as tg
    >>> x = tg.constant(np.array([1.0, 2.0]))
    >>> (y,) = batched([np.sum(x * x)], x, tg.constant(np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])))
    >>> y.value
    array([ 1., 13., 41.])
    """
    if replacement.shape[:1] in ((), (0,)) or replacement.shape[1:] != variable.shape:
        raise ValueError(f"{describe(replacement)} is no batch of values of {describe(variable)}")
    found = {variable: as_value(replacement)}
    follow(Tape(*outputs, until=found), found)
    return [found.get(node, node) for node in map(as_value, outputs)]


def follow(tape: Tape, found: dict[Value, Value], forget: bool = False) -> None:
    """Enter the nodes of the tape that depend on those in `found` into it, each with its counterpart.

    forget: drop what is not needed any more, as code on arrays would, so that no gradient can follow.
    """
    last: dict[Value, Any] = {x: node for node in tape for x in node.inputs if isinstance(x, Value)} if forget else {}
    last |= dict.fromkeys(tape.outputs)
    for node in tape:
        inputs = [found[x] if isinstance(x, Value) and x in found else x for x in node.inputs]
        if node in found or all(x is y for x, y in zip(inputs, node.inputs, strict=True)):
            continue
        assert isinstance(node, Op)
        result = _counterpart(node, inputs, found)
        if result is not None:
            found[node] = result
        if forget:
            if result is not None:
                result.inputs = ()
            for x in node.inputs:
                if isinstance(x, Value) and last[x] is node:
                    found.pop(x, None)


def _counterpart(node: Op, inputs: Sequence[Any], found: dict[Value, Value]) -> Any:
    """What computes for the batch what an op did for one; None if that does not depend on the entry after all."""
    rule = RULES.get(type(node)) or type(node).batch or (_elementwise if isinstance(node, Elementwise) else None)
    if rule is None and node.traceable:
        try:
            result = _expanded(node)
        except (TypeError, NotImplementedError, AttributeError):  # its forward is not for nodes
            pass
        else:
            if isinstance(result, Value):
                follow(Tape(result, until=[x for x in node.inputs if isinstance(x, Value)]), found)
            return found.get(result)
    result = NotImplemented if rule is None else rule(node, *inputs)
    return _one_by_one(node, *inputs) if result is NotImplemented else result


def _expanded(op: Op) -> Any:
    """What a fused op is made of, unseen: its value is known, or is that of no entry of the batch."""
    token = WATCHER.set(TRACE.get())
    try:
        with np.errstate(all="ignore"):
            result = run_traced(op, op.expand, *op.inputs, **_options(op))
    finally:
        WATCHER.reset(token)
    return result[0] if op.n_kept else result


# ------------------------------------------------------------------------------------------------------------ the rules
# A rule gets an op and what its inputs become: with the axis of the batch, or, if they do not depend on the variable,
# the very same objects.

Rule = Callable[..., Any]


def _same(op: Op, *inputs: Any) -> Any:
    """Ops that do not mind more axes in front."""
    return type(op)(*inputs, **_options(op))


def _elementwise(op: Op, *inputs: Any) -> Any:
    return type(op)(*[x if x is y else _lifted(x, op.ndim) for x, y in zip(inputs, op.inputs, strict=True)],
                    **_options(op))


def _reshape(op: Op, x: Node) -> Any:
    return _shaped(x, (len(x), *op.shape))


def _along_axes(op: Op, x: Node) -> Any:
    """Reductions, and what else has an `axis`."""
    axis = _options(op).get("axis", op.signature[1]["axis"])
    axis = tuple(range(1, x.ndim)) if axis is None or x.ndim == 1 else _shifted(axis)
    return type(op)(x, **{**_options(op), "axis": axis})


def _transpose(op: Op, x: Node) -> Any:
    axes = _options(op).get("axes")
    return Transpose(x, axes=(0, *[i % op.ndim + 1 for i in (range(op.ndim)[::-1] if axes is None else axes)]))


def _swap_axes(op: Op, x: Node) -> Any:
    return SwapAxes(x, axis1=_shifted(op.options["axis1"]), axis2=_shifted(op.options["axis2"]))


def _broadcast_to(op: Op, x: Node) -> Any:
    return BroadcastTo(_lifted(x, op.ndim), shape=(len(x), *op.shape))


def _concatenate(op: Op, *arrays: Any) -> Any:
    n = _count(op, arrays)
    return Concatenate(*[_repeated(n, x, y) for x, y in zip(arrays, op.inputs, strict=True)],
                       axis=op.options["axis"] % op.ndim + 1)


def _pad(op: Op, x: Node) -> Any:
    return Pad(x, width=((0, 0), *op.options["width"]))


def _matmul(op: Op, A: Any, B: Any) -> Any:
    """Where one factor alone is batched, the batch joins its rows or columns, and it stays one product of matrices."""
    a, b = op.inputs
    in_a, in_b = A is not a, B is not b
    if not in_b and b.ndim <= 2:
        return _shaped(_rows(A) @ B, (len(A), *op.shape))
    if not in_a and b.ndim == 1:
        return _shaped(B @ _rows(A).T, (len(B), *op.shape))
    if not in_a and a.ndim == 2:  # C = A B is Cᵀ = Bᵀ Aᵀ
        B = SwapAxes(B, axis1=-1, axis2=-2)
        return SwapAxes(_shaped(_rows(B) @ A.T, (*B.shape[:-1], len(a))), axis1=-1, axis2=-2)
    A = _shaped(A, (*A.shape[:-1], 1, len(a))) if a.ndim == 1 else A
    B = _shaped(B, (*B.shape, 1)) if b.ndim == 1 else B
    ndim = max(a.ndim, b.ndim, 2)
    C = (_lifted(A, ndim) if in_a else A) @ (_lifted(B, ndim) if in_b else B)
    return _shaped(C, (len(C), *op.shape))


def _solve(op: Op, A: Any, B: Any) -> Any:
    (a, b), alone = op.inputs, B is op.inputs[1]
    ndim = max(a.ndim, b.ndim, 2)
    B = B if b.ndim > 1 else np.expand_dims(B, -1)  # of two axes it would be a matrix
    X = Solve(A if A is a else _lifted(A, ndim), B if alone else _lifted(B, ndim))
    return _shaped(X, (len(X), *op.shape))


def _all_repeated(op: Op, *inputs: Any) -> Any:
    """Ops of several inputs with the same axes in front, and what axis they have in their options."""
    n, options = _count(op, inputs), _options(op)
    axis = {"axis": _shifted(options["axis"])} if "axis" in options else {}
    return type(op)(*[_repeated(n, x, y) for x, y in zip(inputs, op.inputs, strict=True)], **options | axis)


def _index(op: Op, x: Any, *arrays: Any) -> Any:
    n = _count(op, (x, *arrays))
    if _by_batched_masks(op, arrays):
        return _one_by_one(op, x, *arrays)
    index, parts, order = _indexed(op, arrays, n, op.ndim)
    return _reordered(Index(_repeated(n, x, op.inputs[0]), *parts, index=index), order)


def _scatter_add(op: Op, x: Any, *arrays: Any) -> Any:
    n, own = _count(op, (x, *arrays)), op.inputs[0]
    if _by_batched_masks(op, arrays):
        return _one_by_one(op, x, *arrays)
    index, parts, order = _indexed(op, arrays, n, np.ndim(own))
    x = _reordered(_repeated(n, x, own), sorted(order, key=order.__getitem__))
    return ScatterAdd(x, *parts, shape=(n, *op.shape), index=index)


def _among(op: Op, x: Any, where: Any) -> Any:
    """Reductions of the entries where a mask holds."""
    own, mask = op.inputs
    n, ndim = _count(op, (x, where)), np.ndim(own)
    where = where if where is mask else _lifted(where, ndim)
    x = _repeated(n, x, own)
    axis = _options(op).get("axis")
    axis = tuple(range(1, x.ndim)) if axis is None or not ndim else _shifted(axis)
    return type(op)(x, where, **{**_options(op), "axis": axis})


def _arg_extreme(op: Op, x: Node) -> Any:
    axis = _options(op).get("axis")
    if axis is None:
        return _shaped(type(op)(_shaped(x, (len(x), math.prod(x.shape[1:]))), axis=1), (len(x), *op.shape))
    return type(op)(x, **{**_options(op), "axis": _shifted(axis)})


def _arg_rank(op: Op, x: Any, ranks: Any) -> Any:
    own, single = op.inputs
    x = _repeated(_count(op, (x, ranks)), x, own)
    return ArgRank(x, ranks if ranks is single else _lifted(ranks, np.ndim(own)), **_options(op))


def _search_sorted(op: Op, a: Any, v: Any) -> Any:
    return _same(op, a, v) if a is op.inputs[0] else _one_by_one(op, a, v)


def _update(op: Op, x: Any, v: Any, *arrays: Any) -> Any:
    n, (own, w, *_) = _count(op, (x, v, *arrays)), op.inputs
    if _by_batched_masks(op, arrays, 2):
        return _one_by_one(op, x, v, *arrays)
    values = [each._value if isinstance(each, Value) else each for each in op.inputs[2:]]
    ndim = np.ndim(np.broadcast_to(0, np.shape(own))[assembled(op.options["index"], values)])
    index, parts, order = _indexed(op, arrays, n, ndim, 2)
    if np.ndim(w) or v is not w:  # a number goes anywhere
        row: Any = np.reshape(v, (1, *np.shape(v))) if v is w else v
        row = _shaped(row, (len(row), *np.shape(w)[max(np.ndim(w) - ndim, 0):]))  # NumPy allows more axes of length 1
        v = _lifted(row, ndim)
        v = _reordered(v, sorted(order, key=order.__getitem__))
    return type(op)(_repeated(n, x, own), v, *parts, index=index)


def _convolve(op: Op, a: Any, v: Any) -> Any:
    """As a product of matrices: the windows of a, padded if all shifts count, times v reversed."""
    (m, n), k = map(len, op.inputs), len(op)
    if op.options["mode"] == "full":
        a = np.pad(a, [(0, 0)] * (a.ndim - 1) + [(n - 1, n - 1)])
    elif n > m:
        a, v, n = v, a, m
    windows = a[..., np.arange(k)[:, None] + np.arange(n)]
    return np.matmul(windows, np.expand_dims(v[..., ::-1], -1))[..., 0]


def _interp(op: Op, x: Any, xp: Any, fp: Any) -> Any:
    return (_same if xp is op.inputs[1] and fp is op.inputs[2] else _one_by_one)(op, x, xp, fp)


def _one_by_one(op: Op, *inputs: Any) -> Any:
    """Each entry of the batch by itself: right for every op, and slow."""
    return np.stack([type(op)(*[x if x is y else x[i] for x, y in zip(inputs, op.inputs, strict=True)], **_options(op))
                     for i in range(_count(op, inputs))])


RULES: dict[type[Op], Rule] = {
    **dict.fromkeys([Cast, CastToInteger, FoldWindows, InRange, MaxPool2D, StopGradient, Windows], _same),
    **dict.fromkeys([ELU, ErfGELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus], _same),
    **dict.fromkeys([ExpandDims, Reshape, Squeeze], _reshape),
    **dict.fromkeys([Cholesky, Det, Eig, Eigh, Inv, MatrixRank, Pinv, QR, SLogDet, SVD], _same),
    **dict.fromkeys([Cofactors, Marked, Recurrence, Reorder, TieMeans], _all_repeated),
    LeastSquares: _one_by_one,
    OverGaps: _elementwise,
    Solve: _solve,
    **dict.fromkeys([ArgSort, CumLogAddExp, CumMax, CumMin, CumProd, CumSum, Max, Mean, Min, NanMax, NanMin, Norm,
                     Partition, Prod, Softmax, Sort, Sum], _along_axes),
    **dict.fromkeys([Std, Var], _among),
    **dict.fromkeys([ArgMax, ArgMin], _arg_extreme),
    ArgRank: _arg_rank,
    SearchSorted: _search_sorted,
    **dict.fromkeys([FFT, IFFT, IRFFT, RFFT, Unwrap], _along_axes),
    BroadcastTo: _broadcast_to,
    Concatenate: _concatenate,
    Convolve: _convolve,
    Cross: _elementwise,
    Identity: lambda op, x: x,
    Index: _index,
    MatMul: _matmul,
    LastAt: _one_by_one,
    Interp: _interp,
    **dict.fromkeys([MaxAt, MinAt, SetAt], _update),
    Pad: _pad,
    ScatterAdd: _scatter_add,
    SwapAxes: _swap_axes,
    Transpose: _transpose,
}


# -------------------------------------------------------------------------------------------------- steps of the rules

def _options(op: Op) -> dict[str, Any]:
    return getattr(op, "options", {})


def _count(op: Op, inputs: Sequence[Any]) -> int:
    """The length of the batch."""
    return next(len(x) for x, y in zip(inputs, op.inputs, strict=True) if x is not y)


def _shaped(x: Any, shape: tuple[int, ...]) -> Any:
    return x if x.shape == shape else Reshape(x, shape=shape)


def _reordered(x: Any, axes: Sequence[int]) -> Any:
    return x if list(axes) == [*range(x.ndim)] else Transpose(x, axes=axes)


def _lifted(x: Node, ndim: int) -> Any:
    """A batch of arrays of fewer axes as one of arrays of `ndim` axes, which broadcast like them."""
    return x if x.ndim > ndim else Reshape(x, shape=(len(x), *[1] * (ndim + 1 - x.ndim), *x.shape[1:]))


def _repeated(n: int, x: Any, own: Any) -> Any:
    """What an input becomes, as a batch even where it is none: there the same is in each place."""
    return BroadcastTo(x, shape=(n, *np.shape(x))) if x is own else x


def _shifted(axis: Any) -> Any:
    """An axis, or several, after one more has come in front."""
    return tuple(map(_shifted, axis)) if isinstance(axis, tuple) else axis + (axis >= 0)


def _rows(x: Any) -> Any:
    """All axes but the last as one."""
    return _shaped(x, (math.prod(x.shape[:-1]), x.shape[-1])) if x.ndim > 2 else x


def _by_batched_masks(op: Op, arrays: Sequence[Any], first: int = 1) -> bool:
    """Whether a mask is another one for each entry of the batch, and so takes out entries in other places."""
    return any(x is not y and x.dtype == bool for x, y in zip(arrays, op.inputs[first:], strict=True))


def _indexed(op: Op, arrays: Sequence[Any], n: int, ndim: int,
             first: int = 1) -> tuple[tuple[Any, ...], Sequence[Any], list[int]]:
    """The index and the arrays for a batch of n, and the order of axes that makes a batch of what NumPy returns.

    One entry has `ndim` axes; the arrays are the op's inputs from number `first` on. NumPy puts the axes of the arrays
    first where other parts of the index separate them.
    """
    index, own, axes = op.options["index"], op.inputs[first:], [*range(ndim + 1)]
    places = [p for p, part in enumerate(index) if not (part is None or part is Ellipsis or isinstance(part, slice))]
    widths = [1 if x.dtype == bool else x.ndim for x in own]
    widths += [1 for p in places if isinstance(index[p], bool | np.bool)]
    if not widths:  # slices and integers
        return (slice(None), *index), arrays, axes
    width, separate = max(widths), places[-1] - places[0] >= len(places)
    if all(x is y for x, y in zip(arrays, own, strict=True)):
        return (slice(None), *index), arrays, [width, *axes[:width], *axes[width + 1:]] if separate else axes
    entries = np.arange(n).reshape(n, *[1] * width)  # each takes from its own entry of the batch
    arrays = [entries, *[x if x is y else _lifted(x, width) for x, y in zip(arrays, own, strict=True)]]
    before = 0 if separate else places[0]  # the number of axes in front of those of the arrays
    if Ellipsis in index[:before]:
        before = ndim - width - (len(index) - 1 - places[-1])
    first, last = 1 + width, 1 + width + before
    return (ARRAY, *index), arrays, [0, *axes[first:last], *axes[1:first], *axes[last:]]
