"""Selection: ops that take some entries and leave others, by a mask or by an index.

Below them a branch that was not taken contributes nothing (see `tape`). The adjoint of taking entries out is adding
them back where they came from: `ScatterAdd`, in which repeated indices add up.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..node import TWINS, Node
from ..op import Elementwise, Primitive

_BOOL = np.dtype(bool)
_BITS = {np.dtype(np.float16): np.uint16, np.dtype(np.float32): np.uint32, np.dtype(np.float64): np.uint64}


class Keep(Elementwise):
    """y = x where the mask holds, 0 elsewhere, also for infinite and NaN entries;   dx = dy where the mask holds

    As np.where(mask, x, 0), but without its branch for each entry: the bits of a float times 1 or 0 are the float or 0.
    """
    formula = "keep(x, mask)"
    selecting = True

    def forward(self, x: Any, mask: Any) -> Any:
        if x.size > 250 and mask.__class__ is np.ndarray and mask.dtype is _BOOL and x.dtype in _BITS:
            y = np.empty(np.broadcast_shapes(x.shape, mask.shape), x.dtype)
            np.multiply(x.view(_BITS[x.dtype]), mask, out=y.view(_BITS[x.dtype]))
            return y
        return np.where(mask, x, 0.0 if x.dtype.kind == "f" else 0)

    def backward(self, grad: Any, y: Any, x: Any, mask: Any) -> Any:
        return Keep.apply(grad, mask), None


class Where(Elementwise):
    """y = a where the condition holds, b elsewhere;   each gets dy where it was taken, and 0 elsewhere"""
    formula = "a if condition else b"
    selecting = True

    def forward(self, condition: Any, a: Any, b: Any) -> Any:
        return np.where(condition, a, b)

    def backward(self, grad: Any, y: Any, condition: Any, a: Any, b: Any) -> Any:
        return (None, lambda: Keep.apply(grad, condition),
                lambda: Keep.apply(grad, np.logical_not(condition)))


def _where(condition: Any, *branches: Any) -> Any:
    return Where(condition, *branches) if branches else np.nonzero(condition)


TWINS[np.where] = _where


class Index(Primitive):
    """y = x[index];   dx is dy added into zeros at the index

    The arrays of the index are inputs; its structure (slices, integers, None, ...) is an option in which `ARRAY` marks
    their places. Write `node[index]`.
    """
    selecting = True
    adds_in_place = True

    def forward(self, x: Any, *arrays: Any, index: Any) -> Any:
        y = x[assembled(index, arrays) if arrays else index]
        return y if y.base is None else y.copy() if y.size * 8 < x.size else y

    def backward(self, grad: Any, y: Any, x: Any, *arrays: Any, index: Any) -> Any:
        return ScatterAdd.apply(grad, *arrays, shape=x.shape, index=index), *[None] * len(arrays)

    def add_to(self, total: np.ndarray, grad: Any) -> None:
        """Add this op's gradient into the gradient of its input, in place."""
        if len(self.inputs) == 1:  # slices and integers
            total[self.options["index"]] += grad
            return
        arrays = [x._value if isinstance(x, Node) else x for x in self.inputs[1:]]
        add_at(total, assembled(self.options["index"], arrays), grad, arrays)


class ScatterAdd(Primitive):
    """y = zeros of a shape with x added at an index;   dx = dy[index]"""
    selecting = True

    def forward(self, x: Any, *arrays: Any, shape: tuple[int, ...], index: Any) -> Any:
        y = np.zeros(shape, x.dtype)
        add_at(y, assembled(index, arrays), x, arrays)
        return y

    def backward(self, grad: Any, y: Any, x: Any, *arrays: Any, shape: tuple[int, ...], index: Any) -> Any:
        return Index.apply(grad, *arrays, index=index), *[None] * len(arrays)


class InRange(Primitive):
    """y = x, integers from 0 to n - 1;   ValueError if one of them is not"""
    differentiable = False

    def forward(self, x: Any, *, n: int) -> Any:
        x = np.asarray(x)
        if x.size and not 0 <= x.min() <= x.max() < n:
            raise ValueError(f"labels must lie in [0, {n}), got {x.min()} to {x.max()}")
        return x


class _Array:
    def __repr__(self) -> str:
        return "array"


ARRAY = _Array()


def taken_apart(index: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """The structure of an index, in which `ARRAY` marks the places of arrays, and those."""
    parts: list[Any] = []
    arrays: list[Any] = []
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, slice) or part is None or part is Ellipsis or isinstance(part, int | np.integer | np.bool):
            parts.append(part)
        else:
            parts.append(ARRAY)
            arrays.append(np.zeros(np.shape(part), int) if isinstance(part, list) and not np.size(part) else part)
    return tuple(parts), arrays


def _getitem(x: Node, index: Any) -> Index:
    structure, arrays = taken_apart(index)
    return Index(x, *arrays, index=structure)


TWINS[operator.getitem] = _getitem


def assembled(index: tuple[Any, ...], arrays: Any) -> tuple[Any, ...]:
    remaining = map(_index_array, arrays)
    return tuple(next(remaining) if part is ARRAY else part for part in index)


def _index_array(array: Any) -> Any:
    """An array as an index. While tg.compile traces, which entries a mask takes is not known, nor how many."""
    if hasattr(array, "refuse"):
        return array.refuse() if array.dtype == bool else array.view(np.ndarray)
    return array


def add_at(total: np.ndarray, index: tuple[Any, ...], part: Any, arrays: Any) -> None:
    """total[index] += part, with repeated indices adding up."""
    if len(index) == 1 and isinstance(index[0], np.ndarray) and _are_many_rows(total, index[0], part):
        _add_rows(total, index[0].ravel(), part.reshape(index[0].size, -1))
    elif any(np.asarray(array).dtype != bool for array in arrays):
        np.add.at(total, index, part)
    else:  # slices, integers and masks name an entry once
        total[whole(index)] += part


def _are_many_rows(total: np.ndarray, ids: np.ndarray, part: Any) -> bool:
    return (ids.size >= 256 and ids.dtype.kind in "iu" and total.ndim > 1 and part.dtype == total.dtype
            and total.dtype in (np.float32, np.float64) and part.shape == ids.shape + total.shape[1:])


def _add_rows(total: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
    """total[ids] += rows, as a product with a sparse matrix of ones: ten to twenty times as fast as np.add.at."""
    from scipy.sparse import csc_matrix

    count = len(total)
    if not -count <= ids.min() <= ids.max() < count:
        raise IndexError(f"indices from {ids.min()} to {ids.max()} do not fit an axis of size {count}")
    chosen = csc_matrix((np.ones(ids.size, rows.dtype), ids % count, np.arange(ids.size + 1)), shape=(count, ids.size))
    total += (chosen @ rows).reshape(total.shape)


def whole(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same index for what is always an array, never a scalar."""
    return index if any(part is Ellipsis for part in index) else (*index, ...)
