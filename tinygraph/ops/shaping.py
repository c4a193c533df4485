"""Shaping: the same entries in another shape, order or type, or several arrays joined."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..node import TWINS, Node
from ..op import Primitive


class Identity(Primitive, twin=np.copy):
    """y = x, as a node of its own;   dx = dy"""

    def forward(self, x: Any) -> Any:
        return x

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad


class StopGradient(Primitive):
    """y = x, through which no gradient flows"""
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


def _astype(x: Node, dtype: Any) -> Node:
    dtype = np.dtype(dtype)
    return (Cast if dtype.kind in "fc" else CastToInteger)(x, dtype=dtype)


TWINS[np.ndarray.astype] = _astype


class Reshape(Primitive):
    """y = x in another shape;   dx = dy in the shape of x"""

    def forward(self, x: Any, *, shape: Any) -> Any:
        return np.reshape(x, shape)

    def backward(self, grad: Any, y: Any, x: Any, *, shape: Any) -> Any:
        return np.reshape(grad, x.shape)


def _reshape(a: Any, shape: Any, **options: Any) -> Node:
    _refuse("np.reshape", options)
    return Reshape(a, shape=shape)


def _ravel(a: Any, **options: Any) -> Node:
    _refuse("np.ravel", options)
    return Reshape(a, shape=-1)


def _refuse(name: str, options: Any) -> None:
    if options:
        raise NotImplementedError(f"{name} on nodes takes no {', '.join(options)}=")


TWINS[np.reshape], TWINS[np.ravel] = _reshape, _ravel


class Transpose(Primitive, twin=np.transpose):
    """y = x with its axes in another order;   dx = dy with them back in place"""

    def forward(self, x: Any, *, axes: Any = None) -> Any:
        return np.transpose(x, axes)

    def backward(self, grad: Any, y: Any, x: Any, *, axes: Any = None) -> Any:
        return np.transpose(grad, None if axes is None else np.argsort([axis % x.ndim for axis in axes]).tolist())


class SwapAxes(Primitive, twin=np.swapaxes):
    """y = x with two axes exchanged;   dx = dy with them exchanged back"""

    def forward(self, x: Any, *, axis1: int, axis2: int) -> Any:
        return np.swapaxes(x, axis1, axis2)

    def backward(self, grad: Any, y: Any, x: Any, *, axis1: int, axis2: int) -> Any:
        return np.swapaxes(grad, axis1, axis2)


class ExpandDims(Primitive, twin=np.expand_dims):
    """y = x with new axes of length 1;   dx = dy without them"""

    def forward(self, x: Any, *, axis: Any) -> Any:
        return np.expand_dims(x, axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any) -> Any:
        return np.reshape(grad, x.shape)


class Squeeze(Primitive, twin=np.squeeze):
    """y = x without axes of length 1;   dx = dy with them"""

    def forward(self, x: Any, *, axis: Any = None) -> Any:
        return np.squeeze(x, axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None) -> Any:
        return np.reshape(grad, x.shape)


class BroadcastTo(Primitive, twin=np.broadcast_to):
    """y = x repeated to fill a shape;   dx = dy, summed over the repetitions by the tape"""
    broadcasts = True

    def forward(self, array: Any, *, shape: Any) -> Any:
        return np.broadcast_to(array, shape)

    def backward(self, grad: Any, y: Any, array: Any, *, shape: Any) -> Any:
        return grad


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


def _pad(array: Any, pad_width: Any, mode: Any = "constant", *, constant_values: Any = 0, **options: Any) -> Node:
    if mode != "constant" or options or isinstance(pad_width, dict) or np.any(constant_values):
        raise NotImplementedError("np.pad on nodes pads with zeros alone, by an integer or pairs of them: write "
                                  "np.concatenate for anything else")
    width = np.broadcast_to(pad_width, (array.ndim, 2))
    if width.dtype.kind not in "iu":
        raise TypeError(f"np.pad takes integers to pad by, got {width.dtype}")
    return Pad(array, width=tuple(map(tuple, width.tolist())))


TWINS[np.pad] = _pad


class Concatenate(Primitive):
    """y = the arrays one after another along an axis;   each gets its piece of dy"""

    def forward(self, *arrays: Any, axis: int) -> Any:
        return np.concatenate(arrays, axis)

    def backward(self, grad: Any, y: Any, *arrays: Any, axis: int) -> Any:
        ends = np.cumsum([array.shape[axis] for array in arrays])
        before = (slice(None),) * (axis % y.ndim)
        return tuple(grad[(*before, slice(end - array.shape[axis], end))]
                     for array, end in zip(arrays, ends.tolist(), strict=True))


def _concatenate(arrays: Any, axis: int | None = 0, **options: Any) -> Node:
    _refuse("np.concatenate", options)
    if axis is None:
        return Concatenate(*(np.ravel(array) for array in arrays), axis=0)
    return Concatenate(*arrays, axis=axis)


def _stack(arrays: Any, axis: int = 0, **options: Any) -> Node:
    _refuse("np.stack", options)
    return Concatenate(*(np.expand_dims(array, axis) for array in arrays), axis=axis)


TWINS[np.concatenate], TWINS[np.stack] = _concatenate, _stack


# ------------------------------------------------------------------------------- questions, answered without a node

def _query(function: Any, read: str) -> Any:
    def answer(*args: Any, **options: Any) -> Any:
        args = tuple(getattr(x, read) if isinstance(x, Node) else x for x in args)
        return function(*args, **{k: getattr(x, read) if isinstance(x, Node) else x for k, x in options.items()})
    return answer


_function: Any
for _function in (np.shape, np.ndim, np.size, np.result_type, np.zeros_like, np.ones_like, np.empty_like, np.full_like):
    TWINS[_function] = _query(_function, "_value")  # about shape and type alone: may be asked in code that is traced
for _function in (np.allclose, np.array_equal, np.isclose):
    TWINS[_function] = _query(_function, "value")
