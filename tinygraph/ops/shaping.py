"""Shaping: the same entries in another shape, order or type. What joins arrays is in `joining`."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..definition import counterpart
from ..node import TWINS, Node, describe
from ..op import Op, Primitive
from .selection import Keep, ScatterAdd


class Identity(Primitive, twin=np.copy):
    """y = x, as a node of its own;   dx = dy"""
    formula = "same(x)"

    def forward(self, x: Any) -> Any:
        return x

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad


class StopGradient(Primitive):
    """y = x, through which no gradient flows"""
    formula = "stop(x)"
    differentiable = False

    def forward(self, x: Any) -> Any:
        return x


class Cast(Primitive):
    """y = x in another dtype of floats, or its real part;   dx = dy in the dtype of x, or its real part"""

    def forward(self, x: Any, *, dtype: Any) -> Any:
        return np.asarray(x).astype(dtype)

    def backward(self, grad: Any, y: Any, x: Any, *, dtype: Any) -> Any:
        return (grad if x.dtype.kind == "c" else np.real(grad)).astype(x.dtype)


class CastToInteger(Primitive):
    """y = x in a dtype of integers or booleans, without gradient"""
    differentiable = False

    def forward(self, x: Any, *, dtype: Any) -> Any:
        return np.asarray(x).astype(dtype)


def cast(x: Any, dtype: Any) -> Any:
    """x in a dtype, where NumPy casts without being told to: what would lose a gradient is refused."""
    if not isinstance(x, Node):
        return np.asarray(x, dtype)
    if x.dtype == dtype:
        return x
    if not np.can_cast(x.dtype, dtype, "same_kind"):
        raise TypeError(f"{describe(x)} would be cast to {np.dtype(dtype)}: write node.astype if that is meant")
    return x.astype(dtype)


def _astype(x: Node, dtype: Any, *, copy: bool = True, device: Any = None) -> Node:
    dtype = np.dtype(dtype)
    return (Cast if dtype.kind in "fc" else CastToInteger)(x, dtype=dtype)


TWINS[np.ndarray.astype] = TWINS[np.astype] = _astype


class Reshape(Primitive):
    """y = x in another shape;   dx = dy in the shape of x"""
    formula = "reshape(x, shape)"

    def forward(self, x: Any, *, shape: Any) -> Any:
        return np.reshape(x, shape)

    def backward(self, grad: Any, y: Any, x: Any, *, shape: Any) -> Any:
        return np.reshape(grad, x.shape)


def _reshape(a: Any, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    shape = newshape if shape is None else shape  # as it was called before NumPy 2.1
    if _in_columns("np.reshape", order):
        shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
        return np.transpose(Reshape(np.transpose(a), shape=shape[::-1]))
    return Reshape(a, shape=shape)


def _ravel(a: Any, order: str = "C") -> Any:
    return Reshape(np.transpose(a) if _in_columns("np.ravel", order) else a, shape=-1)


def _in_columns(name: str, order: str) -> bool:
    if order not in ("C", "F"):
        raise NotImplementedError(f"{name} on nodes takes order='C' or 'F', which say what comes out, not {order!r}, "
                                  "which asks how an array lies in memory")
    return order == "F"


TWINS[np.reshape], TWINS[np.ravel] = _reshape, _ravel


class Transpose(Primitive, twin=np.transpose):
    """y = x with its axes in another order;   dx = dy with them back in place"""
    formula = "T(x, axes)"

    def forward(self, x: Any, *, axes: Any = None) -> Any:
        return np.transpose(x, axes)

    def backward(self, grad: Any, y: Any, x: Any, *, axes: Any = None) -> Any:
        return np.transpose(grad, None if axes is None else np.argsort([axis % x.ndim for axis in axes]).tolist())


class SwapAxes(Primitive, twin=np.swapaxes):
    """y = x with two axes exchanged;   dx = dy with them exchanged back"""
    formula = "swap(x, axis1, axis2)"

    def forward(self, x: Any, *, axis1: int, axis2: int) -> Any:
        return np.swapaxes(x, axis1, axis2)

    def backward(self, grad: Any, y: Any, x: Any, *, axis1: int, axis2: int) -> Any:
        return np.swapaxes(grad, axis1, axis2)


class ExpandDims(Primitive, twin=np.expand_dims):
    """y = x with new axes of length 1;   dx = dy without them"""
    formula = "expand(x, axis)"

    def forward(self, x: Any, *, axis: Any) -> Any:
        return np.expand_dims(x, axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any) -> Any:
        return np.reshape(grad, x.shape)


class Squeeze(Primitive, twin=np.squeeze):
    """y = x without axes of length 1;   dx = dy with them"""
    formula = "squeeze(x, axis)"

    def forward(self, x: Any, *, axis: Any = None) -> Any:
        return np.squeeze(x, axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None) -> Any:
        return np.reshape(grad, x.shape)


class BroadcastTo(Primitive, twin=np.broadcast_to):
    """y = x repeated to fill a shape;   dx = dy, summed over the repetitions by the tape"""
    formula = "repeat(array, shape)"
    broadcasts = True

    def forward(self, array: Any, *, shape: Any) -> Any:
        return np.broadcast_to(array, shape)

    def backward(self, grad: Any, y: Any, array: Any, *, shape: Any) -> Any:
        return grad


class Flip(Op, twin=np.flip):
    """y = x with the order of its entries reversed along axes;   dx = dy with it reversed again"""

    def forward(self, m: Any, *, axis: Any = None) -> Any:
        return np.flip(m, axis)

    def expand(self, m: Any, *, axis: Any = None) -> Any:
        axes = range(m.ndim) if axis is None else normalize_axis_tuple(axis, m.ndim)
        return m[tuple([slice(None, None, -1 if i in axes else None) for i in range(m.ndim)])]

    def backward(self, grad: Any, y: Any, m: Any, *, axis: Any = None) -> Any:
        return np.flip(grad, axis)


class Roll(Op):
    """y = x with its entries shifted along axes, those from the end to the start;   dx = dy, shifted back"""

    def forward(self, a: Any, *, shift: Any, axis: Any = None) -> Any:
        return np.roll(a, shift, axis)

    def expand(self, a: Any, *, shift: Any, axis: Any = None) -> Any:
        if axis is None:
            return np.reshape(np.roll(np.ravel(a), shift, 0), a.shape)
        for n, i in np.broadcast(shift, axis):
            before = (slice(None),) * normalize_axis_index(i, a.ndim)
            start = -n % max(a.shape[i], 1)
            a = np.concatenate([a[(*before, slice(start, None))], a[(*before, slice(0, start))]], i)
        return a

    def backward(self, grad: Any, y: Any, a: Any, *, shift: Any, axis: Any = None) -> Any:
        return Roll.apply(grad, shift=tuple([-n for n in shift]) if isinstance(shift, tuple) else -shift, axis=axis)


@counterpart(np.roll)
def _roll(a: Any, shift: Any, axis: Any = None) -> Any:
    shift = tuple(map(operator.index, shift)) if np.ndim(shift) else operator.index(shift)
    return Roll(a, shift=shift, axis=tuple(axis) if np.ndim(axis) else axis)


# --------------------------------------------------------------------------------------------- axes, in other words

@counterpart(np.moveaxis)
def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    ndim = np.ndim(a)
    source = normalize_axis_tuple(source, ndim, "source")
    destination = normalize_axis_tuple(destination, ndim, "destination")
    if len(source) != len(destination):
        raise ValueError("np.moveaxis takes as many destinations as sources")
    order = [axis for axis in range(ndim) if axis not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        order.insert(place, axis)
    return np.transpose(a, order)


@counterpart(np.rollaxis)
def _rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    ndim = np.ndim(a)
    axis = normalize_axis_index(axis, ndim)
    start = normalize_axis_index(start, ndim + 1) if start >= 0 else start + ndim
    order = [i for i in range(ndim) if i != axis]
    order.insert(start - (axis < start), axis)
    return np.transpose(a, order)


@counterpart(np.matrix_transpose)
def _matrix_transpose(x: Any, /) -> Any:
    if np.ndim(x) < 2:
        raise ValueError(f"np.matrix_transpose takes a matrix, or several of them, not an array of {np.ndim(x)} axes")
    return np.swapaxes(x, -1, -2)


@counterpart(np.fliplr)
def _fliplr(m: Any) -> Any:
    if np.ndim(m) < 2:
        raise ValueError("np.fliplr takes an array of two axes or more")
    return np.flip(m, 1)


@counterpart(np.flipud)
def _flipud(m: Any) -> Any:
    if np.ndim(m) < 1:
        raise ValueError("np.flipud takes an array of one axis or more")
    return np.flip(m, 0)


@counterpart(np.rot90)
def _rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    first, second = normalize_axis_tuple(axes, np.ndim(m))
    k %= 4
    if k % 2:
        m = np.swapaxes(np.flip(m, second) if k == 1 else m, first, second)
        return m if k == 1 else np.flip(m, second)
    return np.flip(m, (first, second)) if k else np.copy(m)


def _at_least(ndim: int, function: Any) -> Any:
    def single(x: Any) -> Any:
        shape = np.shape(x)
        if len(shape) >= ndim:
            return x
        if ndim == 3 and len(shape) > 0:
            return np.expand_dims(x, 2 if len(shape) == 2 else (0, 2))
        return np.expand_dims(x, tuple(range(ndim - len(shape))))

    def several(*arys: Any) -> Any:
        found = tuple(single(x) if isinstance(x, Node) else function(x) for x in arys)
        return found[0] if len(found) == 1 else found

    return several


for _n, _f in enumerate((np.atleast_1d, np.atleast_2d, np.atleast_3d), 1):
    counterpart(_f)(_at_least(_n, _f))


@counterpart(np.broadcast_arrays)
def _broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple(np.broadcast_to(x, shape) for x in args)


@counterpart(np.meshgrid)
def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        raise ValueError(f"np.meshgrid takes indexing='xy' or 'ij', not {indexing!r}")
    places = [*range(len(xi))]
    if indexing == "xy":
        places[:2] = places[:2][::-1]
    grids = [np.reshape(x, [-1 if i == p else 1 for i in range(len(xi))]) for x, p in zip(xi, places, strict=True)]
    return tuple(grids) if sparse else _broadcast_arrays(*grids)


@counterpart(np.lib.stride_tricks.sliding_window_view)
def _sliding_window_view(x: Any, window_shape: Any, axis: Any = None) -> Any:
    lengths = tuple(window_shape) if np.ndim(window_shape) else (window_shape,)
    axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim, allow_duplicate=True)
    if len(lengths) != len(axes):
        raise ValueError("sliding_window_view takes as many lengths as axes")
    for k, i in zip(lengths, axes, strict=True):
        if not 0 <= k <= x.shape[i]:
            raise ValueError(f"sliding_window_view: no window of length {k} fits an axis of length {x.shape[i]}")
        places = np.arange(x.shape[i] - k + 1)[:, None] + np.arange(k)
        x = np.moveaxis(np.take(x, places, i), i + 1, -1)
    return x


# ------------------------------------------------------------------------------------------------------- diagonals

@counterpart(np.diagonal)
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    if np.ndim(a) < 2:
        raise ValueError("np.diagonal takes an array of two axes or more")
    if normalize_axis_index(axis1, np.ndim(a)) == normalize_axis_index(axis2, np.ndim(a)):
        raise ValueError("axis1 and axis2 cannot be the same")
    a = np.moveaxis(a, (axis1, axis2), (-2, -1))
    *rest, m, n = np.shape(a)
    return np.reshape(a, (*rest, m * n))[..., _every(m, n, operator.index(offset))]


def _every(m: int, n: int, k: int) -> slice:
    """Where the k-th diagonal of a matrix (m, n) lies, if its rows are one after the other."""
    count = max(min(m, n - k) if k >= 0 else min(m + k, n), 0)
    start = k if k >= 0 else -k * n
    return slice(start, start + (count - 1) * (n + 1) + 1, n + 1) if count else slice(0, 0)


@counterpart(np.diag)
def _diag(v: Any, k: int = 0) -> Any:
    if np.ndim(v) == 2:
        return np.diagonal(v, k)
    if np.ndim(v) != 1:
        raise ValueError("np.diag takes a matrix or a vector")
    n = len(v) + abs(operator.index(k))
    return np.reshape(ScatterAdd(v, shape=(n * n,), index=(_every(n, n, k),)), (n, n))


@counterpart(np.diagflat)
def _diagflat(v: Any, k: int = 0) -> Any:
    return np.diag(np.ravel(v), k)


@counterpart(np.trace)
def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@counterpart(np.tril)
def _tril(m: Any, k: int = 0) -> Any:
    return Keep.apply(m, _below(np.shape(m), k))


@counterpart(np.triu)
def _triu(m: Any, k: int = 0) -> Any:
    return Keep.apply(m, ~_below(np.shape(m), k - 1))


def _below(shape: tuple[int, ...], k: int) -> Any:
    """Where a matrix of a shape lies on or below its k-th diagonal."""
    rows, columns = shape[-2:] if len(shape) > 1 else shape * 2
    return np.tri(rows, columns, k, bool)
