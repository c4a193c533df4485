"""Convolution and pooling over the last two axes of images.

All of it rests on one linear primitive, `Windows`, which shows the windows of an image side by side, and on its
adjoint, `FoldWindows`, which adds windows back where they came from. A convolution is then a product of matrices, and
pooling the largest entry of each window.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from ..op import Op, Primitive
from .joining import Pad
from .selection import Keep


class Windows(Primitive):
    """y[..., i, j, u, v] = x[..., i sh + u, j sw + v];   dx is dy with its windows added back (`FoldWindows`)

    x (..., H, W) to y (..., oh, ow, kh, kw), a view: one window of `shape` (kh, kw) at every `stride` (sh, sw), as many
    as fit, so oh = (H - kh) // sh + 1.
    """
    selecting = True  # of a stride larger than the window, and of a rest at the end, some entries are left

    def forward(self, x: Any, *, shape: tuple[int, int], stride: tuple[int, int]) -> Any:
        size, (sh, sw) = _count(x.shape, shape, stride), stride
        *before, down, right = x.strides
        return np.lib.stride_tricks.as_strided(x, (*x.shape[:-2], *size, *shape),
                                               (*before, sh * down, sw * right, down, right), writeable=False)

    def backward(self, grad: Any, y: Any, x: Any, *, shape: tuple[int, int], stride: tuple[int, int]) -> Any:
        return FoldWindows.apply(grad, shape=x.shape[-2:], stride=stride)


class FoldWindows(Primitive):
    """y[..., i sh + u, j sw + v] = sum of x[..., i, j, u, v] over all windows there;   dx is the windows of dy

    x (..., oh, ow, kh, kw) to y (..., H, W), where `shape` is (H, W), with 0 where no window is.
    """
    selecting = True

    def forward(self, x: Any, *, shape: tuple[int, ...], stride: tuple[int, int]) -> Any:
        *before, oh, ow, kh, kw = x.shape
        if len(shape) != 2 or (oh, ow) != _count(shape, (kh, kw), stride):
            raise ValueError(f"{oh} x {ow} windows of {kh} x {kw} do not make an image of {shape}, stride {stride}")
        x = x.transpose(-2, -1, *range(x.ndim - 2))
        down, across = _steps(kh, oh, stride[0]), _steps(kw, ow, stride[1])
        y = np.zeros((*before, *shape), x.dtype)
        apart = kh <= stride[0] and kw <= stride[1]  # no two windows overlap
        if stride[0] == 1 < kh:  # rows of windows follow each other in memory: add whole images of them first
            images = np.zeros((kw, *before, shape[0], ow), x.dtype)
            for u, rows in enumerate(down):
                images[..., rows, :] += x[u]
            x, down = images[None], [slice(None)]
        for u, rows in enumerate(down):
            for v, columns in enumerate(across):
                if apart:
                    y[..., rows, columns] = x[u, v]
                else:
                    y[..., rows, columns] += x[u, v]
        return y

    def backward(self, grad: Any, y: Any, x: Any, *, shape: tuple[int, int], stride: tuple[int, int]) -> Any:
        return Windows.apply(grad, shape=x.shape[-2:], stride=stride)


class Conv2D(Op):
    """Y_n = W C_n, with C_n the windows of the padded image x_n as columns;   dW = Σ dY_n C_nᵀ,   dC_n = Wᵀ dY_n

    x (n, c, H, W) and W (o, c, kh, kw) to Y (n, o, oh, ow): o kernels go over images of c channels, without being
    flipped, at every `stride`, after `padding` by zeros on both sides (an integer, or a pair for height and width).
    dx is dC folded back and cut to the size of x. For a bias, add an array of shape (o, 1, 1).
    """
    formula = """
        correlate(x, W, stride, padding)
        dx = correlate_by_x(dY, x, W, stride, padding)
        dW = correlate_by_W(dY, x, W, stride, padding)
    """

    def forward(self, x: Any, W: Any, *, stride: Any = (1, 1), padding: Any = (0, 0)) -> Any:
        if x.ndim != 4 or W.ndim != 4 or x.shape[1] != W.shape[1]:
            raise ValueError(f"images of shape {x.shape} do not fit kernels of shape {W.shape}: give (n, c, height, "
                             "width) and (o, c, height, width) with the same number c of channels")
        C, shape = _columns(x, W, stride, padding)
        return np.reshape(_rows(W) @ C, (x.shape[0], W.shape[0], *shape))

    def backward(self, grad: Any, Y: Any, x: Any, W: Any, *, stride: Any = (1, 1), padding: Any = (0, 0)) -> Any:
        dY = np.reshape(grad, (*grad.shape[:2], grad.shape[2] * grad.shape[3]))

        def dx() -> Any:
            (n, c, *size), (ph, pw) = x.shape, _pair(padding, 0)
            dC = np.reshape(np.swapaxes(_rows(W), 0, 1) @ dY, (n, c, *W.shape[2:], *grad.shape[2:]))
            padded = FoldWindows.apply(np.transpose(dC, _EXCHANGE), stride=_pair(stride),
                                       shape=(size[0] + 2 * ph, size[1] + 2 * pw))
            return padded[:, :, ph:ph + size[0], pw:pw + size[1]] if ph or pw else padded

        def dW() -> Any:  # the columns are made anew: that costs less than to keep an array kh kw times as large as x
            C, _ = _columns(x, W, stride, padding)
            return np.reshape(np.swapaxes(np.sum(C @ np.swapaxes(dY, 1, 2), axis=0), 0, 1), W.shape)

        return dx, dW


class MaxPool2D(Op):
    """y = largest entry of each window;   dy goes to the k entries of its window that are the largest, dy / k each

    x (..., H, W) to y (..., oh, ow). Windows of `size` at every `stride` (an integer, or a pair for height and width),
    side by side unless a stride is given; entries at the end that do not fill a window are left out.
    """
    selecting = True

    def forward(self, x: Any, *, size: Any, stride: Any = None) -> Any:
        (kh, kw), (sh, sw) = size, stride = _window(size, stride)
        oh, ow = _count(x.shape, size, stride)
        y = reduce(np.maximum, [x[..., rows, :] for rows in _steps(kh, oh, sh)])
        return reduce(np.maximum, [y[..., columns] for columns in _steps(kw, ow, sw)])

    def expand(self, x: Any, *, size: Any, stride: Any = None) -> Any:
        size, stride = _window(size, stride)
        return np.max(Windows.apply(x, shape=size, stride=stride), axis=(-2, -1))

    def backward(self, grad: Any, y: Any, x: Any, *, size: Any, stride: Any = None) -> Any:
        size, stride = _window(size, stride)
        windows = np.transpose(Windows.apply(x, shape=size, stride=stride), (-2, -1, *range(x.ndim)))
        chosen = _equal(windows, y)
        parts = Keep.apply(grad / np.sum(chosen, axis=(0, 1), dtype=grad.dtype), chosen)
        return FoldWindows.apply(np.transpose(parts, (*range(2, x.ndim + 2), 0, 1)), shape=x.shape[-2:], stride=stride)


# (n, c, oh, ow, kh, kw) to (n, c, kh, kw, oh, ow), and back.
_EXCHANGE = (0, 1, 4, 5, 2, 3)


def _columns(x: Any, W: Any, stride: Any, padding: Any) -> tuple[Any, tuple[int, int]]:
    """The windows of padded images, (n, c kh kw, oh ow), and (oh, ow)."""
    (ph, pw), (_, c, kh, kw) = _pair(padding, 0), W.shape
    if ph or pw:
        x = Pad.apply(x, width=((0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = Windows.apply(x, shape=(kh, kw), stride=_pair(stride))
    n, _, oh, ow, _, _ = windows.shape
    return np.reshape(np.transpose(windows, _EXCHANGE), (n, c * kh * kw, oh * ow)), (oh, ow)


def _rows(W: Any) -> Any:
    """Kernels as the rows of a matrix, (o, c kh kw)."""
    o, c, kh, kw = W.shape
    return np.reshape(W, (o, c * kh * kw))


def _equal(a: Any, b: Any) -> Any:
    """a == b, arrays in the order of their axes: three times as fast as along windows, which are a few entries long."""
    return np.equal(a, b, order="C") if a.__class__ is b.__class__ is np.ndarray else a == b


def _window(size: Any, stride: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    return _pair(size), _pair(size if stride is None else stride)


def _pair(value: Any, least: int = 1) -> tuple[int, int]:
    """(height, width) of an option that is either that or one integer for both."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n >= least for n in pair):
        raise ValueError(f"expected an integer >= {least} or a pair of them, got {value!r}")
    return int(pair[0]), int(pair[1])


def _count(shape: tuple[int, ...], window: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """How many windows fit below and beside each other into the last two axes of a shape."""
    (kh, kw), (sh, sw) = _pair(window), _pair(stride)
    if len(shape) < 2 or shape[-2] < kh or shape[-1] < kw:
        raise ValueError(f"a window of {kh} x {kw} does not fit into the last two axes of {shape}")
    return (shape[-2] - kh) // sh + 1, (shape[-1] - kw) // sw + 1


def _steps(size: int, count: int, stride: int) -> list[slice]:
    """Where the first, second, ... entries of all windows along one axis are."""
    return [slice(u, u + stride * (count - 1) + 1, stride) for u in range(size)]
