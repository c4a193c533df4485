"""Reductions: many entries to one. Their gradients spread one number back over the entries it came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..node import TWINS
from ..op import Primitive
from .selection import Keep


class Sum(Primitive, twin=np.sum):
    """y = sum of x over axes;   dx = dy, repeated along them"""

    def forward(self, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        return np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)  # type: ignore[call-overload]

    def backward(self, grad: Any, y: Any, x: Any, *,
                 axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        return np.broadcast_to(restored(grad, x.ndim, axis, keepdims), x.shape)


class Mean(Primitive, twin=np.mean):
    """y = mean of x over axes, n entries each;   dx = dy / n, repeated along them"""

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.mean(x, axis=axis, keepdims=keepdims)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        n = x.size // max(y.size, 1)
        return np.broadcast_to(restored(grad, x.ndim, axis, keepdims) * (1 / max(n, 1)), x.shape)


class Max(Primitive, twin=np.max):
    """y = largest x over axes;   dy goes to the k entries that are the largest, dy / k each"""
    selecting = True

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.maximum.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return _shared(grad, y, x, axis, keepdims)


class Min(Primitive, twin=np.min):
    """y = smallest x over axes;   dy goes to the k entries that are the smallest, dy / k each"""
    selecting = True

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return np.minimum.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return _shared(grad, y, x, axis, keepdims)


TWINS[np.amax], TWINS[np.amin] = TWINS[np.max], TWINS[np.min]


def restored(y: Any, ndim: int, axis: Any, keepdims: bool) -> Any:
    """What a reduction of an array of `ndim` axes returned, with the axes it dropped put back with length 1."""
    if keepdims or not ndim:
        return y
    return np.expand_dims(y, tuple(range(ndim)) if axis is None else axis)


def _shared(grad: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    chosen = x == restored(y, x.ndim, axis, keepdims)
    share = restored(grad, x.ndim, axis, keepdims) / np.sum(chosen, axis=axis, dtype=grad.dtype, keepdims=True)
    return Keep.apply(np.broadcast_to(share, x.shape), chosen)
