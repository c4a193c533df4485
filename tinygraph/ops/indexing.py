"""Indexing: entries written at an index of a copy, and taken, chosen or joined by numbers and conditions.

`x.at[i].set(v)` and its like stand for `x[i] = v`, which a node, whose value never changes, cannot do.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..definition import counterpart
from ..node import TWINS, Node, constant, describe
from ..op import Op, Primitive
from .selection import Index, Keep, ScatterAdd, add_at, assembled, taken_apart, whole


class AddAt(Op):
    """y = x with v added at an index;   dx = dy,   dv = dy[index]"""
    broadcasts = True

    def forward(self, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        y = np.array(x)
        add_at(y, assembled(index, arrays), v, arrays)
        return y

    def expand(self, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        shape = Index.apply(x, *arrays, index=index).shape
        v = np.broadcast_to(v, shape) if np.shape(v) != shape else v
        return x + ScatterAdd.apply(v.astype(x.dtype), *arrays, shape=x.shape, index=index)

    def backward(self, grad: Any, y: Any, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        return grad, lambda: _with_axes(Index.apply(grad, *arrays, index=index), v), *[None] * len(arrays)


class SetAt(Primitive):
    """y = x with v written at an index;   dx = dy with 0 there,   dv = dy[index]

    Of entries written to one place the last one stays, and gets the gradient.
    """
    selecting = True
    broadcasts = True

    def forward(self, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        y = np.array(x)
        arrays = tuple([np.asarray(array, order="C") for array in arrays])  # NumPy takes them in the order of memory
        y[whole(assembled(index, arrays))] = np.asarray(v, order="C")
        return y

    def backward(self, grad: Any, y: Any, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        def dv() -> Any:
            part = Index.apply(grad, *arrays, index=index)
            if any(array.dtype != bool for array in arrays):  # a place may be named twice
                part = Keep.apply(part, LastAt.apply(*arrays, shape=x.shape, index=index))
            return _with_axes(part, v)

        return lambda: SetAt.apply(grad, 0, *arrays, index=index), dv, *[None] * len(arrays)


class LastAt(Primitive):
    """Whether an entry of x[index], for x of a shape, is the last one of its place"""
    differentiable = False

    def forward(self, *arrays: Any, shape: tuple[int, ...], index: Any) -> Any:
        at = assembled(index, arrays)
        places = np.arange(np.prod(shape, dtype=int)).reshape(shape)[at]
        last = np.zeros(np.prod(shape, dtype=int), int)
        numbers = np.arange(places.size).reshape(places.shape)
        last[places] = numbers
        return last[places] == numbers


class MaxAt(Primitive):
    """y = x, or v at an index where that is larger;   k equal ones share dy, dy / k each"""
    selecting = True
    broadcasts = True

    def forward(self, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        y = np.array(x)
        np.maximum.at(y, assembled(index, arrays), v)
        return y

    def backward(self, grad: Any, y: Any, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        return _shared_at(grad, y, x, v, arrays, index)


class MinAt(Primitive):
    """y = x, or v at an index where that is smaller;   k equal ones share dy, dy / k each"""
    selecting = True
    broadcasts = True

    def forward(self, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        y = np.array(x)
        np.minimum.at(y, assembled(index, arrays), v)
        return y

    def backward(self, grad: Any, y: Any, x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        return _shared_at(grad, y, x, v, arrays, index)


def _shared_at(grad: Any, y: Any, x: Any, v: Any, arrays: Any, index: Any) -> Any:
    kept, won = x == y, v == Index.apply(y, *arrays, index=index)
    count = kept.astype(grad.dtype) + ScatterAdd.apply(won.astype(grad.dtype), *arrays, shape=x.shape, index=index)
    share = grad / np.where(count == 0, 1, count).astype(grad.dtype)
    return (lambda: Keep.apply(share, kept),
            lambda: _with_axes(Keep.apply(Index.apply(share, *arrays, index=index), won), v), *[None] * len(arrays))


def _with_axes(part: Any, v: Any) -> Any:
    """As many axes as v, which NumPy lets have more of length 1 than what it is written to."""
    extra = np.ndim(v) - np.ndim(part)
    return np.reshape(part, (1,) * extra + np.shape(part)) if extra > 0 else part


# ---------------------------------------------------------------------------------------------------------------- x.at

class At:
    """`x.at`, of which `x.at[index]` is an `Update`."""

    __slots__ = ("_x",)

    def __init__(self, x: Node) -> None:
        self._x = x

    def __getitem__(self, index: Any) -> Update:
        return Update(self._x, index)

    def __repr__(self) -> str:
        return f"<at of {describe(self._x)}>"


class Update:
    """`x.at[index]`: its methods return x with the entries at the index changed, as a new node of the same dtype.

    `values` broadcasts to the shape of `x[index]`; gradients flow to x and to values. If an array of numbers names a
    place several times, each time counts: `add` adds all of them up, and of those that are `set` the last one stays.

    Each call copies x, so a loop that writes n entries one by one takes n² steps: collect them in a list, and join them
    with `tg.array` or `np.stack`.

    >>> import numpy as np, tinygraph as tg
    >>> x = tg.constant(np.zeros(3))
    >>> x.at[1].set(5.0).value
    array([0., 5., 0.])
    >>> x.at[np.array([0, 0, 2])].add(1.0).value
    array([2., 0., 1.])
    """

    __slots__ = ("_arrays", "_index", "_structure", "_x")

    def __init__(self, x: Node, index: Any) -> None:
        self._x, self._index = x, index
        self._structure, self._arrays = taken_apart(index)

    def set(self, values: Any) -> Node:
        return self._made(SetAt, values)

    def add(self, values: Any) -> Node:
        return self._made(AddAt, values)

    def subtract(self, values: Any) -> Node:
        return self._made(AddAt, np.negative(values))

    def multiply(self, values: Any) -> Node:
        return self._each(np.multiply, values)

    def divide(self, values: Any) -> Node:
        return self._each(np.divide, values)

    def power(self, values: Any) -> Node:
        return self._each(np.power, values)

    def max(self, values: Any) -> Node:
        return self._made(MaxAt, values)

    def min(self, values: Any) -> Node:
        return self._made(MinAt, values)

    def _made(self, op: Callable[..., Any], values: Any) -> Node:
        dtype = values.dtype if isinstance(values, Node) else np.asarray(values).dtype
        if not np.can_cast(dtype, self._x.dtype, "same_kind"):
            raise TypeError(f"{describe(self._x)} cannot take values of dtype {dtype}")
        found: Node = op(self._x, values, *self._arrays, index=self._structure)
        return found

    def _each(self, function: Callable[..., Any], values: Any) -> Node:
        """What the entries become; those that the index names several times, one time after the other."""
        x = self._x
        if all(_is_mask(array) for array in self._arrays):
            return self.set(function(x[self._index], values))
        arrays = [array.value if isinstance(array, Node) else np.asarray(array) for array in self._arrays]
        places = np.arange(x.size).reshape(x.shape)[assembled(self._structure, arrays)]
        order = np.argsort(places, axis=None, kind="stable")
        counts = np.unique(places, return_counts=True)[1]
        if counts.max(initial=0) < 2:
            return self.set(function(x[self._index], values))
        times = np.empty(places.size, int)  # which time its place is named
        times[order] = np.arange(places.size) - np.repeat(np.cumsum(counts) - counts, counts)
        flat: Any
        flat, values, places = np.ravel(x), np.ravel(np.broadcast_to(values, places.shape)), places.ravel()
        for time in range(counts.max()):
            now = np.flatnonzero(times == time)
            flat = flat.at[places[now]].set(function(flat[places[now]], values[now]))
        return TWINS[np.reshape](flat, x.shape)


def _is_mask(array: Any) -> bool:
    return bool((array if hasattr(array, "dtype") else np.asarray(array)).dtype == np.dtype(bool))


TWINS[operator.setitem] = At


# --------------------------------------------------------------------------------------------------- taken by numbers

@counterpart(np.take)
def _take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    if out is not None:
        raise TypeError("np.take cannot write a node into an array: leave out= away")
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"np.take takes mode='raise', 'wrap' or 'clip', not {mode!r}")
    if axis is None:
        a, axis = np.ravel(a), 0
    axis = normalize_axis_index(axis, np.ndim(a))
    indices = indices if isinstance(indices, Node) else np.asarray(indices, None if np.size(indices) else int)
    if indices.dtype == bool:
        indices = indices.astype(int)
    n = np.shape(a)[axis]
    if mode == "wrap":
        indices = indices % n
    if mode == "clip":
        indices = np.minimum(np.maximum(indices, 0), n - 1)
    return _indexed(a, (*[slice(None)] * axis, indices))


def _indexed(a: Any, index: Any) -> Any:
    """a[index], also where the index alone holds a node, which NumPy does not know."""
    return TWINS[operator.getitem](a, index)


@counterpart(np.take_along_axis)
def _take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    if axis is None:
        if np.ndim(indices) != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        arr, axis = np.ravel(arr), 0
    ndim = np.ndim(arr)
    axis = normalize_axis_index(axis, ndim)
    if np.ndim(indices) != ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    shapes = [[-1 if i == j else 1 for j in range(ndim)] for i in range(ndim)]
    grid = [np.arange(n).reshape(shape) for n, shape in zip(np.shape(arr), shapes, strict=True)]
    return _indexed(arr, (*grid[:axis], indices, *grid[axis + 1:]))


@counterpart(np.choose)
def _choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    if out is not None:
        raise TypeError("np.choose cannot write a node into an array: leave out= away")
    choices = list(choices)
    shape = np.broadcast_shapes(np.shape(a), *map(np.shape, choices))
    stacked = np.stack([np.broadcast_to(x, shape) for x in choices])
    numbers = np.broadcast_to(a, shape)
    if mode == "wrap":
        numbers = numbers % len(choices)
    if mode == "clip":
        numbers = np.minimum(np.maximum(numbers, 0), len(choices) - 1)
    return np.take_along_axis(stacked, np.expand_dims(numbers, 0), 0)[0]


# ------------------------------------------------------------------------------------------------ taken by conditions

@counterpart(np.compress)
def _compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    if np.ndim(condition) != 1:
        raise ValueError("np.compress takes a condition of one axis")
    return np.take(a, np.flatnonzero(condition), axis, out)


@counterpart(np.extract)
def _extract(condition: Any, arr: Any) -> Any:
    return np.take(np.ravel(arr), np.flatnonzero(condition))


@counterpart(np.select)
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError("np.select takes as many choices as conditions, at least one")
    dtype = np.result_type(*choicelist, default)
    result = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        if not _is_mask(condition):
            raise TypeError("np.select takes conditions that are boolean")
        result = np.where(condition, choice, result)
    return result if result.dtype == dtype else result.astype(dtype)


@counterpart(np.piecewise)
def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """As NumPy, a function gets those entries of x alone for which its condition holds."""
    if isinstance(condlist, bool | Node) or (np.ndim(condlist[0]) == 0 and np.ndim(x) > 0):
        condlist = [condlist]
    conditions = [np.broadcast_to(c, np.shape(x)) for c in condlist]
    if len(funclist) == len(conditions) + 1:
        rest = conditions[0]
        for condition in conditions[1:]:
            rest = rest | condition
        conditions.append(np.logical_not(rest))
    if len(funclist) != len(conditions):
        raise ValueError(f"np.piecewise takes {len(conditions)} functions, or one more, for so many conditions")
    y: Any = constant(np.zeros_like(x))
    for condition, function in zip(conditions, funclist, strict=True):
        if not callable(function):
            y = y.at[condition].set(function)
        elif (entries := _indexed(x, condition)).size:
            y = y.at[condition].set(function(entries, *args, **kw))
    return y


# -------------------------------------------------------------------------------------------- arrays as sets of numbers

@counterpart(np.union1d)
def _union1d(ar1: Any, ar2: Any) -> Any:
    return np.unique(np.concatenate([np.ravel(ar1), np.ravel(ar2)]))


@counterpart(np.intersect1d)
def _intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """The entries of `ar1` that are in `ar2`."""
    _, first, second = np.intersect1d(_plain(ar1), _plain(ar2), assume_unique, return_indices=True)
    common = np.ravel(ar1)[first].astype(np.result_type(ar1, ar2))
    return (common, first, second) if return_indices else common


@counterpart(np.setdiff1d)
def _setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    ar1 = np.ravel(ar1) if assume_unique else np.unique(ar1)
    return ar1[np.isin(_plain(ar1), _plain(ar2), invert=True)]


@counterpart(np.setxor1d)
def _setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    parts = [np.ravel(x) if assume_unique else np.unique(x) for x in (ar1, ar2)]
    every = np.concatenate(parts)
    order = np.argsort(_plain(every), kind="stable")
    values = _plain(every)[order]
    new = np.concatenate([[True], values[1:] != values[:-1], [True]])
    return every[order[new[1:] & new[:-1]]]


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Node) else np.asarray(x)
