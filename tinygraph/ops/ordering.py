"""Ordering: sorted entries, which come from where a stable sort takes them, and questions about the order.

Questions (where is the largest entry? how many are not zero?) have plain answers, as from NumPy, but nodes without
gradient where the values must not be looked at: in code that is traced.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import MAPPING, TRACE, TRACING, TWINS, Node
from ..op import Primitive


class Sort(Primitive):
    """y = x in rising order along an axis;   each entry gets the dy of its place"""

    def forward(self, x: Any, *, axis: int) -> Any:
        return np.sort(x, axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: int) -> Any:
        return Reorder.apply(grad, ArgSort.apply(x, axis=axis), axis=axis, inverse=True)


class Partition(Primitive):
    """y = x in an order in which the entries at the places `kth` are those of a sort, no larger ones are before and no
    smaller ones after them;   each entry gets the dy of its place"""

    def forward(self, x: Any, *, kth: Any, axis: int) -> Any:
        return np.partition(x, kth, axis)

    def backward(self, grad: Any, y: Any, x: Any, *, kth: Any, axis: int) -> Any:
        by_rank = Reorder.apply(grad, ArgSort.apply(y, axis=axis), axis=axis)
        return Reorder.apply(by_rank, ArgSort.apply(x, axis=axis), axis=axis, inverse=True)


class Reorder(Primitive):
    """y_i = x_order(i) along an axis, or the inverse, y_order(i) = x_i;   dx is the other of the two, of dy"""

    def forward(self, x: Any, order: Any, *, axis: int, inverse: bool = False) -> Any:
        if not inverse:
            return np.take_along_axis(x, order, axis)
        x, order = np.asarray(x), np.asarray(order)
        y = np.empty_like(x)
        np.put_along_axis(y, order, x, axis)
        return y

    def backward(self, grad: Any, y: Any, x: Any, order: Any, *, axis: int, inverse: bool = False) -> Any:
        return Reorder.apply(grad, order, axis=axis, inverse=not inverse), None


# ------------------------------------------------------------------ piecewise constant: nodes without gradient

class ArgSort(Primitive):
    """Where a stable sort along an axis takes the entries from"""
    differentiable = False

    def forward(self, x: Any, *, axis: int) -> Any:
        return np.argsort(x, axis, kind="stable")


class ArgRank(Primitive):
    """Where a stable sort along the last axis takes the entries of some ranks from

    ranks: integers (k,), or (..., k) for each row of x (..., n). A row with NaN has its first NaN at every rank. With
    `skip_nan` NaN is larger than all else.
    """
    differentiable = False

    def forward(self, x: Any, ranks: Any, *, skip_nan: bool = False) -> Any:
        x, ranks = np.asarray(x), np.asarray(ranks)
        last = x.shape[-1] - 1
        every = np.sort(x, -1) if ranks.ndim > 1 else np.partition(x, np.unique([*ranks, last]), -1)
        y = np.take_along_axis(every, np.broadcast_to(ranks, (*x.shape[:-1], ranks.shape[-1])), -1)
        if not skip_nan and x.dtype.kind == "f":
            y = np.where(np.isnan(every[..., -1:]), np.nan, y)
        places = np.empty(y.shape, np.intp)
        for k in range(y.shape[-1]):
            places[..., k] = _place(x, y[..., k:k + 1], ranks[..., k])
        return places


def _place(x: np.ndarray, y: np.ndarray, rank: Any) -> Any:
    """Where in each row of x the entry of a rank is, whose value is y."""
    nan = np.isnan(y)
    same = np.where(nan, np.isnan(x), x == y) if nan.any() else x == y
    nth = np.where(nan[..., 0], 0, rank - np.count_nonzero(x < y, -1))  # of those that are the same
    count = np.count_nonzero(same, -1)
    first = (np.cumsum(count) - np.ravel(count)).reshape(count.shape)
    return np.nonzero(same)[-1][first + nth]


class ArgMax(Primitive):
    """Where the largest entry is, the first of them"""
    differentiable = False

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.argmax(x, axis, keepdims=keepdims)


class ArgMin(Primitive):
    """Where the smallest entry is, the first of them"""
    differentiable = False

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.argmin(x, axis, keepdims=keepdims)


class SearchSorted(Primitive):
    """Where entries v belong in a, which is sorted"""
    differentiable = False

    def forward(self, a: Any, v: Any, *, side: str = "left") -> Any:
        return np.asarray(np.searchsorted(a, v, side))  # type: ignore[call-overload]


# ------------------------------------------------------------------------------------------------ NumPy's functions

@counterpart(np.sort)
def _sort(a: Any, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Any:
    return Sort(np.reshape(a, -1), axis=0) if axis is None else Sort(a, axis=axis)


@counterpart(np.partition)
def _partition(a: Any, kth: Any, axis: int | None = -1, kind: Any = None) -> Any:
    kth = tuple(kth) if isinstance(kth, list | np.ndarray) and np.ndim(kth) else kth
    return Partition(np.reshape(a, -1), kth=kth, axis=0) if axis is None else Partition(a, kth=kth, axis=axis)


@counterpart(np.unique)
def _unique(ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
            axis: Any = None, *, equal_nan: bool = True) -> Any:
    """The values are those of the first entries that have them; the other results are plain."""
    wanted: Any = {"return_inverse": return_inverse, "return_counts": return_counts, "axis": axis}
    _, index, *others = np.unique(plain(ar), return_index=True, equal_nan=equal_nan, **wanted)
    x = np.reshape(ar, -1) if axis is None else ar
    y = x[(*(slice(None),) * (0 if axis is None else axis % x.ndim), index)]
    results = [y, *[index] * return_index, *others]
    return tuple(results) if len(results) > 1 else y


@counterpart(np.unique_values)
def _unique_values(x: Any) -> Any:
    return np.unique(x, equal_nan=False)


def _uniques(function: Any) -> None:
    """The counterpart of a function that returns a named tuple, of which the first are the values."""
    def call(x: Any) -> Any:
        return function(plain(x))._replace(values=np.unique(x, equal_nan=False))

    TWINS[function] = call


_function: Any
for _function in (np.unique_all, np.unique_counts, np.unique_inverse):
    _uniques(_function)


# ----------------------------------------------------------------------------------- questions, with plain answers

def looking() -> bool:
    """Whether values may be looked at: not while code is traced, for which they are still to come."""
    return not TRACING.get() and TRACE.get() is None and MAPPING.get() is None


def plain(x: Any) -> Any:
    """A node's array, also within tuples and lists."""
    if isinstance(x, tuple | list):
        return type(x)(map(plain, x))
    return x.value if isinstance(x, Node) else x


@counterpart(np.argsort)
def _argsort(a: Any, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Any:
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    return np.argsort(plain(a), axis, kind="stable") if looking() else ArgSort(a, axis=axis)


@counterpart(np.argmax)
def _argmax(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.argmax(plain(a), axis, keepdims=keepdims) if looking() else ArgMax(a, axis=axis, keepdims=keepdims)


@counterpart(np.argmin)
def _argmin(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.argmin(plain(a), axis, keepdims=keepdims) if looking() else ArgMin(a, axis=axis, keepdims=keepdims)


@counterpart(np.nanargmax)
def _nanargmax(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    if looking():
        return np.nanargmax(plain(a), axis, keepdims=keepdims)
    return ArgMax(np.where(np.isnan(a), -np.inf, a), axis=axis, keepdims=keepdims)


@counterpart(np.nanargmin)
def _nanargmin(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    if looking():
        return np.nanargmin(plain(a), axis, keepdims=keepdims)
    return ArgMin(np.where(np.isnan(a), np.inf, a), axis=axis, keepdims=keepdims)


@counterpart(np.any)
def _any(a: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True) -> Any:
    if looking():
        return np.any(plain(a), axis, keepdims=keepdims, where=plain(where))
    return np.max(np.logical_and(a, where), axis, keepdims=keepdims)


@counterpart(np.all)
def _all(a: Any, axis: Any = None, keepdims: bool = False, *, where: Any = True) -> Any:
    if looking():
        return np.all(plain(a), axis, keepdims=keepdims, where=plain(where))
    return np.min(np.logical_or(a, np.logical_not(where)), axis, keepdims=keepdims)


@counterpart(np.count_nonzero)
def _count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    if looking():
        return np.count_nonzero(plain(a), axis, keepdims=keepdims)
    return np.sum(np.not_equal(a, 0), axis, keepdims=keepdims)


@counterpart(np.searchsorted)
def _searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    if looking() or sorter is not None:
        return np.searchsorted(plain(a), plain(v), side, plain(sorter))
    return SearchSorted(a, v, side=side)


def _query(function: Any) -> Any:
    def answer(*args: Any, **options: Any) -> Any:
        if options.get("out") is not None:
            raise TypeError(f"np.{function.__name__} of a node does not write into an array: leave out= away")
        if isinstance(options.get("weights"), Node):
            raise NotImplementedError(f"np.{function.__name__} on nodes takes no node as weights=")
        return function(*map(plain, args), **{name: plain(x) for name, x in options.items()})

    return answer


for _function in (np.argpartition, np.lexsort, np.digitize, np.histogram_bin_edges, np.histogram2d, np.histogramdd):
    TWINS[_function] = _query(_function)
