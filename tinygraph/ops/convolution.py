"""Convolution and pooling over the last two axes of images.

All of it rests on one linear primitive, `Windows`, which shows the windows of an image side by side, and on its
adjoint, `FoldWindows`, which adds windows back where they came from. A convolution is then a product of matrices, and
pooling the largest entry, or the mean, of each window.

A convolution is linear in its images and in its kernels. With its two adjoints, `ConvTranspose2D` and `ConvKernels2D`,
it makes a family of three in which the rules of each are the other two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from ..op import Op, Primitive
from .joining import Pad
from .selection import Keep


class Windows(Primitive):
    """y[..., i, j, u, v] = x[..., i sh + u dh, j sw + v dw];   dx is dy with its windows added back (`FoldWindows`)

    x (..., H, W) to y (..., oh, ow, kh, kw), a view: one window of `shape` (kh, kw) at every `stride` (sh, sw), as many
    as fit. Its entries are `dilation` (dh, dw) apart, so that it spans (kh - 1) dh + 1 of H.
    """
    selecting = True  # of a stride larger than the window, and of a rest at the end, some entries are left

    def forward(self, x: Any, *, shape: tuple[int, int], stride: tuple[int, int],
                dilation: tuple[int, int] = (1, 1)) -> Any:
        size, (sh, sw), (dh, dw) = _count(x.shape, shape, stride, dilation), stride, dilation
        *before, down, right = x.strides
        return np.lib.stride_tricks.as_strided(x, (*x.shape[:-2], *size, *shape),
                                               (*before, sh * down, sw * right, dh * down, dw * right), writeable=False)

    def backward(self, grad: Any, y: Any, x: Any, *, shape: tuple[int, int], stride: tuple[int, int],
                 dilation: tuple[int, int] = (1, 1)) -> Any:
        return FoldWindows.apply(grad, shape=x.shape[-2:], stride=stride, dilation=dilation)


class FoldWindows(Primitive):
    """y[..., i sh + u dh, j sw + v dw] = sum of x[..., i, j, u, v] over all windows there;   dx is the windows of dy

    x (..., oh, ow, kh, kw) to y (..., H, W), where `shape` is (H, W), with 0 where no window is.
    """
    selecting = True

    def forward(self, x: Any, *, shape: tuple[int, ...], stride: tuple[int, int],
                dilation: tuple[int, int] = (1, 1)) -> Any:
        *before, oh, ow, kh, kw = x.shape
        if len(shape) != 2 or (oh, ow) != _count(shape, (kh, kw), stride, dilation):
            raise ValueError(f"{oh} x {ow} windows of {kh} x {kw} do not make an image of {shape}, stride {stride}")
        x = x.transpose(-2, -1, *range(x.ndim - 2))
        down, across = _steps(kh, oh, stride[0], dilation[0]), _steps(kw, ow, stride[1], dilation[1])
        y = np.zeros((*before, *shape), x.dtype)
        apart = all(_span(k, d) <= s for k, d, s in zip((kh, kw), dilation, stride, strict=True))  # no two overlap
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

    def backward(self, grad: Any, y: Any, x: Any, *, shape: tuple[int, int], stride: tuple[int, int],
                 dilation: tuple[int, int] = (1, 1)) -> Any:
        return Windows.apply(grad, shape=x.shape[-2:], stride=stride, dilation=dilation)


# --------------------------------------------------------------------------------------------------------- convolution

class Conv2D(Op):
    """Y_n = W C_n, with C_n the windows of the padded image x_n as columns;   dx: ConvTranspose2D, dW: ConvKernels2D

    x (n, c, H, W) and W (o, c, kh, kw) to Y (n, o, oh, ow): o kernels go over images of c channels, without being
    flipped, at every `stride`, after `padding` by zeros on both sides, their entries `dilation` apart. Each of these is
    an integer, or a pair for height and width. The padding "same" gives oh = H / sh, rounded up: it is split evenly,
    an odd one more at the end; "valid" is none. For a bias, add an array of shape (o, 1, 1).

    groups: the first o / groups kernels go over the first c / groups channels, and so on: W is (o, c / groups, kh, kw).
    """
    formula = """
        correlate(x, W, stride, padding)
        dx = correlate_by_x(dY, x, W, stride, padding)
        dW = correlate_by_W(dY, x, W, stride, padding)
    """

    def forward(self, x: Any, W: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
        _check_groups(groups)
        if x.ndim != 4 or W.ndim != 4 or x.shape[1] != W.shape[1] * groups or W.shape[0] % groups:
            among, per = (f" in {groups} groups", f" / {groups}") if groups != 1 else ("", "")
            raise ValueError(f"images of shape {x.shape} do not fit kernels of shape {W.shape}{among}: give (n, c, "
                             f"height, width) and (o, c{per}, height, width) with the same number c of channels"
                             f"{among and f', and c and o multiples of {groups}'}")
        plan = _layout(x.shape, W.shape[2:], stride, padding, dilation, groups)
        oh, ow = plan.counts
        return _stacked(lambda x: np.reshape(_rows(W, plan) @ _columns(x, plan), (len(x), W.shape[0], oh, ow)),
                        x, _size_of_columns(x.shape[1], plan))

    def backward(self, dY: Any, Y: Any, x: Any, W: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                 groups: int = 1) -> Any:
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return (lambda: ConvTranspose2D.apply(dY, W, shape=x.shape[2:], **how),
                lambda: ConvKernels2D.apply(x, dY, shape=W.shape[2:], **how))


class ConvTranspose2D(Op):
    """x_n = the columns Wᵀ Y_n added back to images, without the padding;   dY: Conv2D, dW: ConvKernels2D

    The adjoint of `Conv2D` in its images: Y (n, o, oh, ow) and W (o, c / groups, kh, kw) to x (n, c, H, W), where
    `shape` is (H, W), and the other options are those of the convolution that makes (oh, ow) of it.
    """

    def forward(self, Y: Any, W: Any, *, shape: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                groups: int = 1) -> Any:
        _check_groups(groups)
        plan = _layout(shape, W.shape[2:], stride, padding, dilation, groups)
        if Y.ndim != 4 or W.ndim != 4 or Y.shape[1] != W.shape[0] or Y.shape[2:] != plan.counts or W.shape[0] % groups:
            raise ValueError(f"values of shape {Y.shape} do not fit kernels of shape {W.shape} and images of {shape}: "
                             f"give (n, o, {plan.counts[0]}, {plan.counts[1]}) and (o, c, height, width)"
                             f"{f', and o a multiple of {groups}' if groups != 1 else ''}")
        c = W.shape[1] * groups

        def images(Y: Any) -> Any:
            columns = np.swapaxes(_rows(W, plan), -2, -1) @ _flat(Y, plan)
            columns = np.reshape(columns, (len(Y), c, *plan.window, *plan.counts))
            return _folded(np.transpose(columns, _EXCHANGE), plan)

        return _stacked(images, Y, _size_of_columns(c, plan))

    def backward(self, dx: Any, x: Any, Y: Any, W: Any, *, shape: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Any:
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return lambda: Conv2D.apply(dx, W, **how), lambda: ConvKernels2D.apply(dx, Y, shape=W.shape[2:], **how)


class ConvKernels2D(Op):
    """W = Σ Y_n C_nᵀ, with C_n the windows of the padded image x_n as columns;   dx: ConvTranspose2D, dY: Conv2D

    The adjoint of `Conv2D` in its kernels: x (n, c, H, W) and Y (n, o, oh, ow) to W (o, c / groups, kh, kw), where
    `shape` is (kh, kw), and the other options are those of the convolution.
    """

    def forward(self, x: Any, Y: Any, *, shape: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                groups: int = 1) -> Any:
        _check_groups(groups)
        plan = _layout(x.shape, shape, stride, padding, dilation, groups)
        if x.ndim != 4 or Y.shape != (*x.shape[:1], *Y.shape[1:2], *plan.counts) or (
                x.shape[1] % groups or Y.shape[1] % groups):
            raise ValueError(f"images of shape {x.shape} and values of shape {Y.shape} do not fit: give (n, c, height, "
                             f"width) and (n, o, {plan.counts[0]}, {plan.counts[1]})"
                             f"{f', c and o multiples of {groups}' if groups != 1 else ''}")

        def product(x: Any, Y: Any) -> Any:  # the columns are made anew: that costs less than to keep them
            return np.sum(_columns(x, plan) @ np.swapaxes(_flat(Y, plan), -2, -1), axis=0)

        parts = [slice(None)]
        if x.__class__ is Y.__class__ is np.ndarray:
            parts = _parts(len(x), _size_of_columns(x.shape[1], plan))
        total = reduce(np.add, [product(x[part], Y[part]) for part in parts])
        return np.reshape(np.swapaxes(total, -2, -1), (Y.shape[1], x.shape[1] // groups, *plan.window))

    def backward(self, dW: Any, W: Any, x: Any, Y: Any, *, shape: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Any:
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return lambda: ConvTranspose2D.apply(Y, dW, shape=x.shape[2:], **how), lambda: Conv2D.apply(x, dW, **how)


# ------------------------------------------------------------------------------------------------------------- pooling

class MaxPool2D(Op):
    """y = largest entry of each window;   dy goes to the k entries of its window that are the largest, dy / k each

    x (..., H, W) to y (..., oh, ow). Windows of `size` at every `stride` (an integer, or a pair for height and width),
    side by side unless a stride is given; entries at the end that do not fill a window are left out. `padding`, less
    than the size, lets windows begin before the image and end behind it, where nothing is: never a largest entry.
    """
    selecting = True

    def forward(self, x: Any, *, size: Any, stride: Any = None, padding: Any = 0) -> Any:
        plan = _pooling(x, size, stride, padding)
        (kh, kw), (sh, sw), (oh, ow) = plan.window, plan.stride, plan.counts
        x = _padded(x, plan, -np.inf)
        y = reduce(np.maximum, [x[..., rows, :] for rows in _steps(kh, oh, sh)])
        return reduce(np.maximum, [y[..., columns] for columns in _steps(kw, ow, sw)])

    def expand(self, x: Any, *, size: Any, stride: Any = None, padding: Any = 0) -> Any:
        plan = _pooling(x, size, stride, padding)
        return np.max(_windows(_padded(x, plan, -np.inf), plan), axis=(-2, -1))

    def backward(self, grad: Any, y: Any, x: Any, *, size: Any, stride: Any = None, padding: Any = 0) -> Any:
        plan = _pooling(x, size, stride, padding)
        first = (-2, -1, *range(x.ndim))  # places in a window before places of windows
        chosen = _equal(np.transpose(_windows(_padded(x, plan, -np.inf), plan), first), y)
        if _pads(plan):  # a window of -inf alone
            inside = np.ones(plan.size, bool)
            chosen = chosen & np.transpose(_windows(_padded(inside, plan), plan)[(None,) * (x.ndim - 2)], first)
        parts = Keep.apply(grad / np.sum(chosen, axis=(0, 1), dtype=grad.dtype), chosen)
        return _folded(np.transpose(parts, (*range(2, x.ndim + 2), 0, 1)), plan)


class AveragePool2D(Op):
    """y = mean of each window;   each entry of a window of k gets dy / k from it

    x (..., H, W) to y (..., oh, ow), with the options of `MaxPool2D`; but here padding is by zeros, which count.
    """
    selecting = True

    def forward(self, x: Any, *, size: Any, stride: Any = None, padding: Any = 0) -> Any:
        plan = _pooling(x, size, stride, padding)
        (kh, kw), (sh, sw), (oh, ow) = plan.window, plan.stride, plan.counts
        x = _padded(x, plan)
        y = reduce(np.add, [x[..., rows, :] for rows in _steps(kh, oh, sh)])
        return reduce(np.add, [y[..., columns] for columns in _steps(kw, ow, sw)]) * (1 / (kh * kw))

    def expand(self, x: Any, *, size: Any, stride: Any = None, padding: Any = 0) -> Any:
        plan = _pooling(x, size, stride, padding)
        return np.mean(_windows(_padded(x, plan), plan), axis=(-2, -1))

    def backward(self, grad: Any, y: Any, x: Any, *, size: Any, stride: Any = None, padding: Any = 0) -> Any:
        plan = _pooling(x, size, stride, padding)
        kh, kw = plan.window
        shared = np.expand_dims(grad * (1 / (kh * kw)), (-2, -1))
        return _folded(np.broadcast_to(shared, (*y.shape, kh, kw)), plan)


# ------------------------------------------------------------------------------------------------- where windows are

# (n, c, oh, ow, kh, kw) to (n, c, kh, kw, oh, ow), and back.
_EXCHANGE = (0, 1, 4, 5, 2, 3)

# Entries of columns: measured; from a quarter of it to four times as many there is little difference.
_AT_ONCE = 1 << 19


class _Layout(NamedTuple):
    """Where the windows of a convolution or a pooling are, in height and width."""

    size: tuple[int, int]  # of the image
    window: tuple[int, int]
    stride: tuple[int, int]
    margins: tuple[tuple[int, int], tuple[int, int]]  # the padding before and after
    dilation: tuple[int, int]
    groups: int
    counts: tuple[int, int]  # of windows


def _layout(shape: Any, window: Any, stride: Any, padding: Any, dilation: Any = 1, groups: int = 1) -> _Layout:
    """For images of a shape, of which the last two axes count."""
    window, stride, dilation = _pair(window), _pair(stride), _pair(dilation)
    size = tuple(shape[-2:])
    margins = _margins(padding, size, window, stride, dilation)
    padded = (*shape[:-2], *[n + before + after for n, (before, after) in zip(size, margins, strict=False)])
    return _Layout(size, window, stride, margins, dilation, groups, _count(padded, window, stride, dilation))


def _pooling(x: Any, size: Any, stride: Any, padding: Any) -> _Layout:
    plan = _layout(x.shape, size, size if stride is None else stride, padding)
    if any(max(pair) >= n for pair, n in zip(plan.margins, plan.window, strict=True)):
        raise ValueError(f"a padding of {padding} lets windows of {size} see nothing: give one that is less")
    return plan


def _check_groups(groups: Any) -> None:
    if not isinstance(groups, int | np.integer) or groups < 1:
        raise ValueError(f"groups is an integer >= 1, not {groups!r}")


def _margins(padding: Any, size: Any, window: Any, stride: Any, dilation: Any) -> Any:
    """How much is added before and after, in height and in width."""
    if padding == "same":
        missing = [max((-(-n // s) - 1) * s + _span(k, d) - n, 0)
                   for n, k, s, d in zip(size, window, stride, dilation, strict=False)]
        return tuple((each // 2, each - each // 2) for each in missing)
    ph, pw = (0, 0) if padding == "valid" else _pair(padding, 0, ", 'same' or 'valid'")
    return (ph, ph), (pw, pw)


def _pads(plan: _Layout) -> bool:
    return any(map(any, plan.margins))


def _padded(x: Any, plan: _Layout, value: float = 0) -> Any:
    if not _pads(plan):
        return x
    width = (*[(0, 0)] * (x.ndim - 2), *plan.margins)
    return np.pad(x, width, constant_values=value) if value else Pad.apply(x, width=width)


def _windows(x: Any, plan: _Layout) -> Any:
    return Windows.apply(x, shape=plan.window, stride=plan.stride, dilation=plan.dilation)


def _folded(windows: Any, plan: _Layout) -> Any:
    """The images that windows (..., oh, ow, kh, kw) add up to, without their padding."""
    (top, bottom), (left, right) = plan.margins
    H, W = plan.size
    images = FoldWindows.apply(windows, shape=(H + top + bottom, W + left + right), stride=plan.stride,
                               dilation=plan.dilation)
    return images[..., top:top + H, left:left + W] if _pads(plan) else images


def _columns(x: Any, plan: _Layout) -> Any:
    """The windows of padded images, (n, c kh kw, oh ow)."""
    return _flat(np.transpose(_windows(_padded(x, plan), plan), _EXCHANGE), plan)


def _flat(x: Any, plan: _Layout) -> Any:
    """(n, c, ..., oh, ow) to (n, c ..., oh ow), or of several groups to (n, groups, c ... / groups, oh ow)."""
    rows, places = math.prod(x.shape[1:-2]), x.shape[-2] * x.shape[-1]
    return np.reshape(x, (len(x), *_split(rows, plan.groups), places))


def _rows(W: Any, plan: _Layout) -> Any:
    """Kernels as the rows of a matrix, (o, c kh kw), or of one matrix for each group."""
    return np.reshape(W, (*_split(len(W), plan.groups), W.shape[1] * W.shape[2] * W.shape[3]))


def _split(n: int, groups: int) -> tuple[int, ...]:
    return (n,) if groups == 1 else (groups, n // groups)


def _stacked(function: Callable[[Any], Any], x: Any, entries: int) -> Any:
    """`function` of all samples; of arrays it is called with a few at a time, whose columns have so many entries each.

    So the columns, kh kw times as large as the images, never are all in memory, which also is faster.
    """
    if x.__class__ is not np.ndarray or len(parts := _parts(len(x), entries)) == 1:
        return function(x)
    first = function(x[parts[0]])
    if first.__class__ is not np.ndarray:
        return function(x)
    result = np.empty((len(x), *first.shape[1:]), first.dtype)
    result[parts[0]] = first
    for part in parts[1:]:
        result[part] = function(x[part])
    return result


def _parts(n: int, entries: int) -> list[slice]:
    step = max(1, _AT_ONCE // max(entries, 1))
    return [slice(start, start + step) for start in range(0, max(n, 1), step)]


def _size_of_columns(c: int, plan: _Layout) -> int:
    return c * math.prod(plan.window) * math.prod(plan.counts)



def _equal(a: Any, b: Any) -> Any:
    """a == b, arrays in the order of their axes: three times as fast as along windows, which are a few entries long."""
    return np.equal(a, b, order="C") if a.__class__ is b.__class__ is np.ndarray else a == b


def _pair(value: Any, least: int = 1, also: str = "") -> tuple[int, int]:
    """(height, width) of an option that is either that or one integer for both."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n >= least for n in pair):
        raise ValueError(f"expected an integer >= {least} or a pair of them{also}, got {value!r}")
    return int(pair[0]), int(pair[1])


def _span(window: int, dilation: int) -> int:
    """From the first to the last entry of a window."""
    return (window - 1) * dilation + 1


def _count(shape: tuple[int, ...], window: Any, stride: Any, dilation: Any = (1, 1)) -> tuple[int, int]:
    """How many windows fit below and beside each other into the last two axes of a shape."""
    (kh, kw), (sh, sw), (dh, dw) = _pair(window), _pair(stride), _pair(dilation)
    height, width = _span(kh, dh), _span(kw, dw)
    if len(shape) < 2 or shape[-2] < height or shape[-1] < width:
        raise ValueError(f"a window of {height} x {width} does not fit into the last two axes of {shape}")
    return (shape[-2] - height) // sh + 1, (shape[-1] - width) // sw + 1


def _steps(size: int, count: int, stride: int, dilation: int = 1) -> list[slice]:
    """Where the first, second, ... entries of all windows along one axis are."""
    return [slice(u, u + stride * (count - 1) + 1, stride) for u in range(0, size * dilation, dilation)]
