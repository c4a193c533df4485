"""Joining: several arrays side by side, one array several times, or one with something around it; and in pieces again.

`array` is what stands for `np.array` where a list holds nodes, which NumPy would have to make objects of.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..definition import counterpart
from ..node import Node
from ..op import Op, Primitive
from .shaping import cast


class Concatenate(Primitive):
    """y = the arrays one after another along an axis;   each gets its piece of dy"""

    def forward(self, *arrays: Any, axis: int) -> Any:
        return np.concatenate(arrays, axis)

    def backward(self, grad: Any, y: Any, *arrays: Any, axis: int) -> Any:
        ends = np.cumsum([array.shape[axis] for array in arrays])
        before = (slice(None),) * (axis % y.ndim)
        return tuple([lambda part=(*before, slice(end - array.shape[axis], end)): grad[part]
                      for array, end in zip(arrays, ends.tolist(), strict=True)])


class Stack(Op):
    """y = arrays of one shape, side by side along a new axis;   each gets its layer of dy"""

    def forward(self, *arrays: Any, axis: int) -> Any:
        return np.stack(arrays, axis)

    def expand(self, *arrays: Any, axis: int) -> Any:
        return np.concatenate([np.expand_dims(array, axis) for array in arrays], axis)

    def backward(self, grad: Any, y: Any, *arrays: Any, axis: int) -> Any:
        before = (slice(None),) * (axis % y.ndim)
        return tuple([lambda i=i: grad[(*before, i)] for i in range(len(arrays))])


class Pad(Primitive):
    """y = x with zeros around it;   dx = dy without them

    `width` is a pair (before, after) for each axis.
    """

    def forward(self, x: Any, *, width: tuple[tuple[int, int], ...]) -> Any:
        if len(width) != x.ndim or min((n for pair in width for n in pair), default=0) < 0:
            raise ValueError(f"width={width} must have two counts for each of {x.ndim} axes")
        y = np.zeros([before + n + after for n, (before, after) in zip(x.shape, width, strict=True)], x.dtype)
        y[(*_within(x.shape, width), ...)] = x
        return y

    def backward(self, grad: Any, y: Any, x: Any, *, width: tuple[tuple[int, int], ...]) -> Any:
        return grad[_within(x.shape, width)]


def _within(shape: tuple[int, ...], width: tuple[tuple[int, int], ...]) -> Any:
    return tuple(slice(before, before + n) for n, (before, _) in zip(shape, width, strict=True))


# --------------------------------------------------------------------------------------------------------- side by side

def array(values: Any, dtype: npt.DTypeLike | None = None) -> Any:
    """What `np.array` is for numbers, for nested lists and tuples that hold nodes: a node, to which they are joined.

    Without a node in `values` it is an array. A Python number takes the type of the nodes and arrays beside it.
    ValueError if the lists are not of one shape.

    >>> import numpy as np, tinygraph as tg
    >>> tg.grad(lambda t: np.sum(tg.array([[np.cos(t), 0.0], [0.0, t]])))(0.0)
    1.0
    """
    if isinstance(values, Node):
        return values if dtype is None else cast(values, dtype)
    if not isinstance(values, list | tuple) or not _holds_node(values):
        return np.array(values, dtype)
    dtype = np.result_type(*_leaves(values)) if dtype is None else np.dtype(dtype)
    return _joined(values, dtype)


def _joined(values: Any, dtype: Any) -> Any:
    if not isinstance(values, list | tuple):
        return cast(values, dtype)
    parts = [_joined(value, dtype) for value in values]
    if len({part.shape for part in parts}) > 1:
        raise ValueError(f"tg.array: the entries of a list have shapes {', '.join(str(p.shape) for p in parts)}")
    return np.stack(parts) if parts else np.zeros(0, dtype)


def _holds_node(values: Any) -> bool:
    return any(isinstance(x, Node) or (isinstance(x, list | tuple) and _holds_node(x)) for x in values)


def _leaves(values: Any) -> list[Any]:
    """The types that decide the type of the result: Python numbers stay weak."""
    if isinstance(values, list | tuple):
        return list(dict.fromkeys(leaf for value in values for leaf in _leaves(value)))
    return [values.dtype if hasattr(values, "dtype") else values]


@counterpart(np.concatenate)
def _concatenate(arrays: Any, axis: int | None = 0, out: Any = None, *, dtype: Any = None) -> Any:
    _refuse_out("np.concatenate", out)
    arrays = [x if dtype is None else cast(x, dtype) for x in arrays]
    if axis is None:
        return Concatenate(*(np.ravel(x) for x in arrays), axis=0)
    return Concatenate(*arrays, axis=operator.index(axis))


@counterpart(np.stack)
def _stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None) -> Any:
    _refuse_out("np.stack", out)
    return Stack(*(x if dtype is None else cast(x, dtype) for x in arrays), axis=operator.index(axis))


def _refuse_out(name: str, out: Any) -> None:
    if out is not None:
        raise TypeError(f"{name} cannot write a node into an array: leave out= away")


@counterpart(np.vstack)
def _vstack(tup: Any, *, dtype: Any = None) -> Any:
    return np.concatenate([np.atleast_2d(x) for x in tup], 0, dtype=dtype)


@counterpart(np.hstack)
def _hstack(tup: Any, *, dtype: Any = None) -> Any:
    arrays = [np.atleast_1d(x) for x in tup]
    return np.concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1, dtype=dtype)


@counterpart(np.dstack)
def _dstack(tup: Any) -> Any:
    return np.concatenate([np.atleast_3d(x) for x in tup], 2)


@counterpart(np.column_stack)
def _column_stack(tup: Any) -> Any:
    return np.concatenate([x if np.ndim(x) > 1 else np.reshape(x, (-1, 1)) for x in tup], 1)


@counterpart(np.block)
def _block(arrays: Any) -> Any:
    depth = _depth(arrays)
    return _blocks(arrays, depth, max(depth, *[np.ndim(x) for x in _entries(arrays)]))


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(x) for x in arrays}
    if len(depths) != 1:
        raise ValueError("np.block takes lists that are nested equally deep, and none that is empty")
    return 1 + depths.pop()


def _entries(arrays: Any) -> list[Any]:
    return [x for each in arrays for x in _entries(each)] if isinstance(arrays, list) else [arrays]


def _blocks(arrays: Any, depth: int, ndim: int) -> Any:
    if depth:
        return np.concatenate([_blocks(x, depth - 1, ndim) for x in arrays], -depth)
    return np.copy(arrays) if np.ndim(arrays) == ndim else np.expand_dims(arrays, tuple(range(ndim - np.ndim(arrays))))


@counterpart(np.append)
def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    return np.concatenate([arr, values] if axis is not None else [np.ravel(arr), np.ravel(values)], axis or 0)


@counterpart(np.insert)
def _insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """Old and new entries side by side, in the order that np.insert gives to their numbers."""
    if axis is None:
        arr, axis = np.ravel(arr), 0
    axis = normalize_axis_index(axis, np.ndim(arr))
    values = values if isinstance(values, Node) else np.asarray(values)
    values = np.reshape(values, (1,) * (np.ndim(arr) - values.ndim) + values.shape)
    shape, n = list(np.shape(arr)), np.shape(arr)[axis]
    if np.ndim(obj) == 0 and not isinstance(obj, slice):
        values = np.moveaxis(values, 0, axis)
    count = np.insert(np.arange(n), obj, -1).size - n
    shape[axis] = count = values.shape[axis] if count == 1 else count
    order = np.insert(np.arange(n), obj, np.arange(n, n + count))
    dtype = arr.dtype if hasattr(arr, "dtype") else np.asarray(arr).dtype
    return np.take(np.concatenate([arr, np.broadcast_to(cast(values, dtype), shape)], axis), order, axis)


@counterpart(np.delete)
def _delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    if axis is None:
        arr, axis = np.ravel(arr), 0
    return np.take(arr, np.delete(np.arange(np.shape(arr)[axis]), obj), axis)


# ---------------------------------------------------------------------------------------------------------- in pieces

@counterpart(np.array_split)
def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    axis = normalize_axis_index(axis, np.ndim(ary))
    n = np.shape(ary)[axis]
    if np.ndim(indices_or_sections):
        bounds = [0, *map(operator.index, indices_or_sections), n]
    else:
        sections = operator.index(indices_or_sections)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.")
        few, more = divmod(n, sections)
        bounds = [i * few + min(i, more) for i in range(sections + 1)]
    return [ary[(slice(None),) * axis + (slice(*bounds[i:i + 2]),)] for i in range(len(bounds) - 1)]


@counterpart(np.split)
def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    n = np.shape(ary)[axis]
    if np.ndim(indices_or_sections) == 0 and n % indices_or_sections:
        raise ValueError(f"np.split: an axis of {n} entries does not come in {indices_or_sections} equal parts")
    return np.array_split(ary, indices_or_sections, axis)


def _split_along(name: str, function: Any, least: int) -> None:
    @counterpart(function)
    def split(ary: Any, indices_or_sections: Any) -> Any:
        if np.ndim(ary) < least:
            raise ValueError(f"np.{name} takes an array of {least} axes or more")
        return np.split(ary, indices_or_sections, {"vsplit": 0, "dsplit": 2}.get(name, min(np.ndim(ary) - 1, 1)))


_split_along("hsplit", np.hsplit, 1)
_split_along("vsplit", np.vsplit, 2)
_split_along("dsplit", np.dsplit, 3)


def _unstack(x: Any, /, *, axis: int = 0) -> Any:
    axis = normalize_axis_index(axis, np.ndim(x))
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(np.shape(x)[axis]))


if hasattr(np, "unstack"):  # since NumPy 2.1
    counterpart(np.unstack)(_unstack)


@counterpart(np.trim_zeros)
def _trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    if not set(trim.lower()) <= {"f", "b"}:
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    axes = range(filt.ndim) if axis is None else normalize_axis_tuple(axis, filt.ndim)
    found = np.nonzero(filt.value)
    bounds = [(at.min(), at.max() + 1) if at.size else (0, 0) for at in found]
    return filt[tuple([slice(first if "f" in trim.lower() or not found[0].size else None,
                             last if "b" in trim.lower() or not found[0].size else None) if axis in axes
                       else slice(None) for axis, (first, last) in enumerate(bounds)])]


@counterpart(np.apply_along_axis)
def _apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    axis = normalize_axis_index(axis, arr.ndim)
    rows = np.moveaxis(arr, axis, -1)
    outer = rows.shape[:-1]
    results = [func1d(rows[place], *args, **kwargs) for place in np.ndindex(outer)]
    if not results:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    joined = array(results)
    ndim = joined.ndim - 1
    order = [*range(axis), *range(len(outer), len(outer) + ndim), *range(axis, len(outer))]
    return np.transpose(np.reshape(joined, (*outer, *joined.shape[1:])), order)


@counterpart(np.apply_over_axes)
def _apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    for axis in [axes] if np.ndim(axes) == 0 else axes:
        result = func(a, axis)
        a = result if result.ndim == a.ndim else np.expand_dims(result, axis)
    return a


# ------------------------------------------------------------------------------------------------------ several times

@counterpart(np.tile)
def _tile(A: Any, reps: Any) -> Any:
    reps = tuple(map(operator.index, reps)) if np.ndim(reps) else (operator.index(reps),)
    ndim = max(len(reps), np.ndim(A))
    reps, shape = (1,) * (ndim - len(reps)) + reps, (1,) * (ndim - np.ndim(A)) + np.shape(A)
    spread = np.reshape(A, [n for length in shape for n in (1, length)])
    filled = np.broadcast_to(spread, [n for pair in zip(reps, shape, strict=True) for n in pair])
    return np.reshape(filled, [r * n for r, n in zip(reps, shape, strict=True)])


@counterpart(np.repeat)
def _repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    if axis is None:
        a, axis = np.ravel(a), 0
    axis = normalize_axis_index(axis, np.ndim(a))
    shape = list(np.shape(a))
    repeats = np.asarray(repeats.value if isinstance(repeats, Node) else repeats)
    if repeats.size != 1:
        return np.take(a, np.repeat(np.arange(shape[axis]), repeats), axis)
    spread = np.expand_dims(a, axis + 1)
    filled = np.broadcast_to(spread, [*shape[:axis + 1], repeats.item(), *shape[axis + 1:]])
    return np.reshape(filled, [*shape[:axis], shape[axis] * repeats.item(), *shape[axis + 1:]])


@counterpart(np.resize)
def _resize(a: Any, new_shape: Any) -> Any:
    shape = tuple(new_shape) if np.ndim(new_shape) else (new_shape,)
    size, n = int(np.prod(shape, dtype=int)), np.size(a)
    if min(shape, default=0) < 0:
        raise ValueError("all elements of `new_shape` must be non-negative")
    if not n:
        return np.reshape(np.concatenate([np.ravel(a), np.zeros(size, a.dtype)]), shape)
    return np.reshape(np.tile(np.ravel(a), -(-size // n))[:size], shape)


# ------------------------------------------------------------------------------------------------- something around it

@counterpart(np.pad)
def _pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    width = _width(np.ndim(array), pad_width)
    if not isinstance(mode, str) or mode not in _MODES:
        raise NotImplementedError(f"np.pad on nodes does not pad with {mode!r}: write np.concatenate")
    if unknown := options.keys() - {_MODES[mode]}:
        raise ValueError(f"np.pad with mode={mode!r} takes no {', '.join(unknown)}=")
    if mode == "constant":
        values = options.get("constant_values", 0)
        if isinstance(values, Node) or np.any(values):
            return _surrounded(array, width, _pairs(values, len(width)), lambda value, edge, distance: value)
        return Pad(array, width=width)
    if mode in ("maximum", "mean", "median", "minimum"):
        statistic = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}[mode]
        return _with_statistics(array, width, statistic, options.get("stat_length"))
    if mode == "linear_ramp":
        if array.dtype.kind not in "fc":
            raise NotImplementedError("np.pad on nodes pads integers with no linear ramp, which would be rounded")
        return _surrounded(array, width, _pairs(options.get("end_values", 0), len(width)), _ramp)
    for axis, pair in enumerate(width):
        array = _mirrored(array, axis, pair, mode, options.get("reflect_type", "even")) if any(pair) else array
    return np.copy(array)


# What np.pad knows to pad with, and the option that says more.
_MODES = {"constant": "constant_values", "linear_ramp": "end_values", "edge": "", "wrap": "", "reflect": "reflect_type",
          "symmetric": "reflect_type", "maximum": "stat_length", "mean": "stat_length", "median": "stat_length",
          "minimum": "stat_length"}


def _width(ndim: int, pad_width: Any) -> tuple[tuple[int, int], ...]:
    """The pair (before, after) of each axis, from all that np.pad understands."""
    if isinstance(pad_width, dict):
        given = {normalize_axis_index(axis, ndim): pair for axis, pair in pad_width.items()}
        pad_width = [np.broadcast_to(given.get(axis, 0), 2) for axis in range(ndim)] if ndim else 0
    width = np.broadcast_to(pad_width, (ndim, 2))
    if width.dtype.kind not in "iu":
        raise TypeError(f"np.pad takes integers to pad by, got {width.dtype}")
    if (width < 0).any():
        raise ValueError("np.pad takes no negative numbers to pad by")
    return tuple(map(tuple, width.tolist()))


def _pairs(values: Any, ndim: int) -> Any:
    return np.broadcast_to(values, (ndim, 2))


def _surrounded(x: Any, width: Any, values: Any, part: Any) -> Any:
    """Axis by axis, what `part` makes of the value for a side, of the entries at the edge and their distances to it."""
    for axis, counts in enumerate(width):
        sides = []
        for side, count in enumerate(counts):
            shape = [*x.shape[:axis], count, *x.shape[axis + 1:]]
            distance = np.arange(1, count + 1)[::1 if side else -1].reshape([-1] + [1] * (x.ndim - axis - 1))
            edge = x[(*[slice(None)] * axis, slice(-1, None) if side else slice(0, 1))]
            filling = part(cast(values[axis, side], x.dtype), edge, distance / max(count, 1))
            sides.append(np.broadcast_to(filling, shape))
        x = np.concatenate([sides[0], x, sides[1]], axis)
    return x


def _ramp(end: Any, edge: Any, distance: Any) -> Any:
    return end * distance.astype(edge.dtype) + edge * (1 - distance).astype(edge.dtype)


def _with_statistics(x: Any, width: Any, statistic: Any, lengths: Any) -> Any:
    """Axis by axis, the statistic of the entries next to the edge, or of all."""
    lengths = _pairs(np.array(lengths, object) if lengths is None else lengths, x.ndim)
    if x.dtype.kind not in "fc" and statistic in (np.mean, np.median):
        raise NotImplementedError("np.pad on nodes pads integers with no mean or median, which would be rounded")
    for axis, counts in enumerate(width):
        n, before = x.shape[axis], (slice(None),) * axis
        first, last = (n if length is None else min(int(length), n) for length in lengths[axis])
        sides = [np.broadcast_to(statistic(x[(*before, part)], axis=axis, keepdims=True),
                                 [*x.shape[:axis], count, *x.shape[axis + 1:]]) if count else None
                 for part, count in ((slice(0, first), counts[0]), (slice(n - last, n), counts[1]))]
        x = np.concatenate([part for part in (sides[0], x, sides[1]) if part is not None], axis)
    return x


def _mirrored(x: Any, axis: int, counts: tuple[int, int], mode: str, kind: str) -> Any:
    """One axis continued by its own entries; mirrored oddly, a point reflection at each end, by a line through them."""
    n = x.shape[axis]
    if not n:
        raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
    if kind not in ("even", "odd"):
        raise ValueError(f"np.pad takes reflect_type='even' or 'odd', not {kind!r}")
    if kind == "even" or mode not in ("reflect", "symmetric") or n == 1:
        return np.take(x, np.pad(np.arange(n), counts, mode), axis)  # type: ignore[call-overload]
    half = n - 1 if mode == "reflect" else n  # x runs forward for `half` places, then back, each time one step further
    turns, place = np.divmod(np.arange(-counts[0], n + counts[1]), 2 * half)
    back = place >= n
    entries = np.take(x, np.where(back, 2 * half - (mode == "symmetric") - place, place), axis)
    shape = [-1] + [1] * (x.ndim - axis - 1)
    sign, first, last = (a.reshape(shape).astype(x.dtype) for a in (1 - 2 * back, -2 * turns, 2 * turns + 2 * back))
    return sign * entries + first * np.take(x, [0], axis) + last * np.take(x, [n - 1], axis)
