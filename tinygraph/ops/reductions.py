"""Reductions: many entries to one. Their gradients spread one number back over the entries it came from.

What NumPy's functions take beside an axis, such as `where` and `initial`, is at the end, written with other ops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import TWINS, Node
from ..op import Primitive
from .accumulation import CumProd, earlier, later
from .selection import Keep


class Sum(Primitive):
    """y = sum of x over axes;   dx = dy, repeated along them"""
    formula = "sum(x, axis, keepdims)"

    def forward(self, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        return np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)  # type: ignore[call-overload]

    def backward(self, grad: Any, y: Any, x: Any, *,
                 axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        return spread(restored(grad, axis, keepdims), x.shape)


class Prod(Primitive):
    """y = product of x over axes;   dx_i = dy times the product of all other entries"""
    formula = "prod(x, axis, keepdims)"

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.multiply.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        rows = gathered(x, axis)
        others = CumProd.apply(earlier(rows, 1), axis=-1) * CumProd.apply(later(rows, 1), axis=-1, reverse=True)
        return restored(grad, axis, keepdims) * scattered(others, x.shape, axis)


class Mean(Primitive):
    """y = mean of x over axes, n entries each;   dx = dy / n, repeated along them"""
    formula = "mean(x, axis, keepdims)"

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.mean(x, axis=axis, keepdims=keepdims)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        n = x.size // max(y.size, 1)
        return spread(restored(grad * (1 / max(n, 1)), axis, keepdims), x.shape)


class Var(Primitive):
    """y = Σ |x - m|² / (n - ddof) over axes, where m is the mean of n entries;   dx = 2 dy (x - m) / (n - ddof)

    Only entries where `where` holds count; it is True, for all, or an array. For complex x - m the gradient has the
    conjugate.
    """

    def forward(self, x: Any, where: Any, *, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
        return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims, where=where)

    def backward(self, grad: Any, y: Any, x: Any, where: Any, *,
                 axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
        share = 2 * restored(grad, axis, keepdims) / _freedom(x, where, axis, ddof, grad.dtype)
        return share * _deviations(x, where, axis), None


class Std(Primitive):
    """y = √var x;   dx = dy (x - m) / (n - ddof) / y, and 0 where all entries are the same

    `Var` says what m, n and `where` are.
    """

    def forward(self, x: Any, where: Any, *, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
        return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims, where=where)

    def backward(self, grad: Any, y: Any, x: Any, where: Any, *,
                 axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
        if not x.size:
            return x, None
        grad, y = (restored(z, axis, keepdims) for z in (grad, y))
        largest = np.max(masked(x, where, -np.inf), axis=axis, keepdims=True)
        same = np.min(masked(x, where, np.inf), axis=axis, keepdims=True) == largest
        share = Keep.apply(grad, np.logical_not(same)) / np.where(same, 1, y)
        return share / _freedom(x, where, axis, ddof, grad.dtype) * _deviations(x, where, axis), None


class Max(Primitive):
    """y = largest x over axes;   dy goes to the k entries that are the largest, dy / k each"""
    formula = "max_over(x, axis, keepdims)"
    selecting = True

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.maximum.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return _shared(grad, y, x, axis, keepdims)


class Min(Primitive):
    """y = smallest x over axes;   dy goes to the k entries that are the smallest, dy / k each"""
    formula = "min_over(x, axis, keepdims)"
    selecting = True

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.minimum.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return _shared(grad, y, x, axis, keepdims)


class NanMax(Primitive):
    """y = largest x over axes that is not NaN;   dy goes to the k entries that are the largest, dy / k each"""
    selecting = True

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.nanmax(x, axis=axis, keepdims=keepdims)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return _shared(grad, y, x, axis, keepdims)


class NanMin(Primitive):
    """y = smallest x over axes that is not NaN;   dy goes to the k entries that are the smallest, dy / k each"""
    selecting = True

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.nanmin(x, axis=axis, keepdims=keepdims)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return _shared(grad, y, x, axis, keepdims)


# -------------------------------------------------------------------------------------------------- steps of the rules

def spread(x: Any, shape: tuple[int, ...]) -> Any:
    """np.broadcast_to, without its overhead for a single number."""
    if x.ndim or isinstance(x, Node):
        return np.broadcast_to(x, shape)
    return np.ndarray(shape, x.dtype, np.asarray(x), strides=(0,) * len(shape))


def restored(y: Any, axis: Any, keepdims: bool) -> Any:
    """What a reduction of an array returned, with the axes that it dropped, of length 1, if it needs them to broadcast
    with that array."""
    return y if keepdims or not y.ndim else np.expand_dims(y, axis)


def gathered(x: Any, axis: Any) -> Any:
    """x with the axes that are reduced as one, the last."""
    order, kept = _order(x.ndim, axis)
    x = x if order == [*range(x.ndim)] else np.transpose(x, order)
    return np.reshape(x, (*x.shape[:kept], math.prod(x.shape[kept:])))


def scattered(rows: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """The inverse of `gathered`, for an array of this shape."""
    order, _ = _order(len(shape), axis)
    x = np.reshape(rows, tuple(shape[i] for i in order))
    return x if order == [*range(len(shape))] else np.transpose(x, sorted(range(len(shape)), key=order.__getitem__))


def _order(ndim: int, axis: Any) -> tuple[list[int], int]:
    """The axes, those that are reduced last, and how many are kept."""
    reduced = reduced_axes(ndim, axis)
    kept = [i for i in range(ndim) if i not in reduced]
    return [*kept, *reduced], len(kept)


def reduced_axes(ndim: int, axis: Any) -> list[int]:
    """The axes that a reduction reduces, in rising order; NumPy's own errors for those that are not there."""
    if axis is None:
        return list(range(ndim))
    return sorted(np.lib.array_utils.normalize_axis_tuple(axis, ndim))


def _shared(grad: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    chosen = x == restored(y, axis, keepdims)
    share = restored(grad, axis, keepdims) / np.sum(chosen, axis=axis, dtype=grad.dtype, keepdims=True)
    return Keep.apply(np.broadcast_to(share, x.shape), chosen)


def count(x: Any, where: Any, axis: Any) -> Any:
    """How many entries a reduction of x takes together: a number, or, with a mask, an array with all axes."""
    if where is True:
        return math.prod(x.shape[i] for i in reduced_axes(x.ndim, axis))
    return np.sum(np.broadcast_to(where, x.shape), axis=axis, keepdims=True)


def _freedom(x: Any, where: Any, axis: Any, ddof: float, dtype: Any) -> Any:
    n = count(x, where, axis)
    return max(n - ddof, 0) if where is True else np.maximum(n - ddof, 0).astype(dtype)


def _deviations(x: Any, where: Any, axis: Any) -> Any:
    d = masked(x - np.mean(x, axis=axis, keepdims=True, where=where), where)
    return np.conjugate(d) if d.dtype.kind == "c" else d


def masked(x: Any, where: Any, other: Any = 0) -> Any:
    """x where the mask holds, a number elsewhere."""
    if where is True:
        return x
    where = np.broadcast_to(where, x.shape)
    return np.where(where, x, other) if other else Keep.apply(x, where)


# ------------------------------------------------------------------------------------------------ NumPy's functions

@counterpart(np.sum)
def _sum(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None,
         where: Any = True) -> Any:
    y = Sum(masked(array(a), where), axis=axis, dtype=dtype, keepdims=keepdims)
    return y if initial is None else y + array(initial).astype(y.dtype)


@counterpart(np.prod)
def _prod(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None,
          where: Any = True) -> Any:
    y = Prod(masked(cast(array(a), dtype), where, 1), axis=axis, keepdims=keepdims)
    return y if initial is None else y * array(initial).astype(y.dtype)


@counterpart(np.mean)
def _mean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, where: Any = True) -> Any:
    a = cast(array(a), dtype)
    y = Mean(masked(a, where), axis=axis, keepdims=keepdims)
    if where is True:
        return y
    share = np.reshape(count(a, True, axis) / count(a, where, axis), y.shape)
    return y * share.astype(y.dtype)


@counterpart(np.var)
def _var(a: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = True,
         mean: Any = None, correction: Any = None) -> Any:
    a, ddof = cast(array(a), dtype), _one_of(ddof, correction)
    if mean is None:
        return Var(a, where, axis=axis, ddof=ddof, keepdims=keepdims)
    d = np.abs(a - mean)
    y = np.sum(d * d, axis=axis, keepdims=True, where=where)
    y = y / _freedom(a, where, axis, ddof, y.dtype)
    return y if keepdims else np.squeeze(y, tuple(reduced_axes(a.ndim, axis)))


@counterpart(np.std)
def _std(a: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = True,
         mean: Any = None, correction: Any = None) -> Any:
    if mean is None:
        return Std(cast(array(a), dtype), where, axis=axis, ddof=_one_of(ddof, correction), keepdims=keepdims)
    y = np.var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return np.where(y == 0, 0, np.sqrt(np.where(y == 0, 1, y)))


def _one_of(ddof: float, correction: Any) -> float:
    if correction is None:
        return ddof
    if ddof:
        raise ValueError("ddof and correction are the same: give one of them")
    return correction


@counterpart(np.max, np.amax)
def _max(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    if initial is None and where is True:
        return Max(a, axis=axis, keepdims=keepdims)
    return _from(Max, a, axis, keepdims, initial, where)


@counterpart(np.min, np.amin)
def _min(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    if initial is None and where is True:
        return Min(a, axis=axis, keepdims=keepdims)
    return _from(Min, a, axis, keepdims, initial, where)


@counterpart(np.nanmax)
def _nanmax(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    if initial is None and where is True:
        return NanMax(a, axis=axis, keepdims=keepdims)
    return _from(NanMax, a, axis, keepdims, initial, where)


@counterpart(np.nanmin)
def _nanmin(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    if initial is None and where is True:
        return NanMin(a, axis=axis, keepdims=keepdims)
    return _from(NanMin, a, axis, keepdims, initial, where)


def _from(op: Any, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    """The largest or smallest entry where a mask holds, and of `initial`, which is one entry more."""
    if initial is None:
        raise ValueError(f"{op.__name__} with where= needs initial=: there may be nothing to take")
    a = array(a)
    rows = gathered(masked(a, where, _bound(op, a.dtype)), axis)
    first = np.broadcast_to(array(initial).astype(a.dtype), (*rows.shape[:-1], 1))
    y = op(np.concatenate([first, rows], axis=-1), axis=-1)
    return np.expand_dims(y, tuple(reduced_axes(a.ndim, axis))) if keepdims else y


def _bound(op: Any, dtype: Any) -> Any:
    """What no entry is beyond."""
    if dtype.kind == "f":
        return -np.inf if op in (Max, NanMax) else np.inf
    if dtype.kind in "iu":
        return getattr(np.iinfo(dtype), "min" if op in (Max, NanMax) else "max")
    raise NotImplementedError(f"{op.__name__} of {dtype} takes no where=")


@counterpart(np.ptp)
def _ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.subtract(np.max(a, axis, keepdims=keepdims), np.min(a, axis, keepdims=keepdims))


def array(x: Any) -> Any:
    """A node as it is, all else as an array."""
    return x if isinstance(x, Node) else np.asarray(x)


def cast(x: Any, dtype: Any) -> Any:
    return x if dtype is None or x.dtype == dtype else x.astype(dtype)


def _logsumexp(array: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None, where: Any = True) -> Any:
    """`logaddexp.reduce`, as one op."""
    from .special import LogSumExp  # needs SciPy

    y = LogSumExp(masked(array, where, -np.inf), axis=axis, keepdims=keepdims)
    return y if initial is None else np.logaddexp(y, initial)


TWINS[np.logaddexp.reduce] = _logsumexp


def _reduce(function: Any) -> Any:
    """`ufunc.reduce(array, axis, ...)`."""
    return lambda array, axis=0, **options: TWINS[function](array, axis=axis, **options)


for _ufunc, _function in {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min,
                          np.fmax: np.nanmax, np.fmin: np.nanmin}.items():
    TWINS[_ufunc.reduce] = _reduce(_function)
