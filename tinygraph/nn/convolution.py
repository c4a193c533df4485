"""Layers of convolution and pooling, over images (n, channels, height, width) and signals (n, channels, length).

A layer holds the parameters and says what does not fit; the arithmetic is in `ops/convolution.py`, where a signal is an
image of height 1. Sizes, strides and the like are an integer, or for images a pair for height and width.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .. import ops
from ..node import Parameter
from .initializers import Initializer, drawn, he_normal
from .layers import Seed, check_sizes
from .module import Module

Sizes = int | tuple[int, int]
Padding = int | str | tuple[int, int]


class _Convolution(Module):
    """What the convolutions share: W and b, and signals as images of height 1."""

    n_axes = 2
    transposed = False

    def __init__(self, n_inputs: int, n_outputs: int, size: Sizes, *, rng: Seed, stride: Sizes = 1,
                 padding: Padding = 0, output_padding: Sizes = 0, dilation: Sizes = 1, groups: int = 1,
                 bias: bool = True, initializer: Initializer = he_normal, dtype: Any = np.float64) -> None:
        name = type(self).__name__
        check_sizes(name, n_inputs=n_inputs, n_outputs=n_outputs, groups=groups)
        if n_inputs % groups or n_outputs % groups:
            raise ValueError(f"{name}: n_inputs={n_inputs} and n_outputs={n_outputs} must be multiples of "
                             f"groups={groups}")
        self.n_inputs, self.groups = n_inputs, groups
        self.size = _sizes(name, "size", size, self.n_axes)
        self.stride = _sizes(name, "stride", stride, self.n_axes)
        self.dilation = _sizes(name, "dilation", dilation, self.n_axes)
        self.padding = padding if padding in ("same", "valid") else _sizes(name, "padding", padding, self.n_axes, 0)
        self.output_padding = _sizes(name, "output_padding", output_padding, self.n_axes, 0)
        if any(more >= step for more, step in zip(self.output_padding, self.stride, strict=True) if more):
            raise ValueError(f"{name}: output_padding={output_padding} must be less than stride={stride}")
        if padding == "same" and any(self.output_padding):
            raise ValueError(f'{name}: padding="same" leaves nothing for output_padding={output_padding} to choose')
        rows, columns = (n_inputs, n_outputs) if self.transposed else (n_outputs, n_inputs)
        places = math.prod(self.size)
        self.W = drawn(initializer, rng, (rows, columns // groups, *self.size[2 - self.n_axes:]),
                       n_inputs // groups * places, n_outputs // groups * places, dtype)
        self.b = Parameter(np.zeros(n_outputs, dtype), name="b") if bias else None

    def __call__(self, x: Any) -> Any:
        _check(self, x, self.n_axes, self.n_inputs)
        W = self.W
        if self.n_axes == 1:
            x, W = _as_images(x), _as_images(W)
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        y = (ops.ConvTranspose2D.apply(x, W, shape=self._shape(x), **options) if self.transposed
             else ops.Conv2D.apply(x, W, **options))
        if self.b is not None:
            y = y + np.reshape(self.b, (len(self.b), 1, 1))
        return y if self.n_axes == 2 else _as_signals(y)

    def _shape(self, x: Any) -> tuple[int, ...]:
        """Height and width of what a transposed convolution returns."""
        if self.padding == "same":
            return tuple(n * s for n, s in zip(x.shape[2:], self.stride, strict=True))
        padding = (0, 0) if self.padding == "valid" else self.padding
        shape = tuple((n - 1) * s + (k - 1) * d + 1 + more - 2 * int(p) for n, s, k, d, more, p in zip(
            x.shape[2:], self.stride, self.size, self.dilation, self.output_padding, padding, strict=True))
        if min(shape) < 1:
            raise ValueError(f"{type(self).__name__}: padding={self.padding} leaves nothing of values of shape "
                             f"{x.shape}")
        return shape


class Conv2d(_Convolution):
    """Each of n_outputs kernels goes over images (n, n_inputs, height, width): its products, summed, plus b.

    W is (n_outputs, n_inputs / groups, kernel height, kernel width), b (n_outputs,), as in PyTorch; kernels are not
    flipped.

    size: of the kernels.
    stride: from one place of a kernel to the next.
    padding: how many zeros are put on each side; "same" for as many as make the output as large as the images (divided
        by the stride and rounded up), "valid" for none.
    dilation: from one entry of a kernel to the next.
    groups: the channels and the kernels are divided into so many groups, each of which sees only its own; with
        groups=n_inputs the convolution is depthwise.
    rng: a generator, from which W is drawn, or a seed.
    bias: False for no b.
    initializer: of W; b starts at 0.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> nn.Conv2d(3, 8, 3, padding="same", rng=0)(np.ones((5, 3, 28, 28))).shape
    (5, 8, 28, 28)
    """

    def __init__(self, n_inputs: int, n_outputs: int, size: Sizes, *, rng: Seed, stride: Sizes = 1,
                 padding: Padding = 0, dilation: Sizes = 1, groups: int = 1, bias: bool = True,
                 initializer: Initializer = he_normal, dtype: Any = np.float64) -> None:
        super().__init__(n_inputs, n_outputs, size, rng=rng, stride=stride, padding=padding, dilation=dilation,
                         groups=groups, bias=bias, initializer=initializer, dtype=dtype)


class Conv1d(Conv2d):
    """`Conv2d` over signals (n, n_inputs, length), with W (n_outputs, n_inputs / groups, size).

    Sequences (n, length, features) have their channels last: give np.swapaxes(x, 1, 2).

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> nn.Conv1d(3, 8, 5, stride=2, padding=2, rng=0)(np.ones((4, 3, 20))).shape
    (4, 8, 10)
    """

    n_axes = 1


class ConvTranspose2d(_Convolution):
    """The adjoint of a `Conv2d` from n_outputs to n_inputs channels: each entry adds a kernel, times it, to the output.

    (n, n_inputs, height, width) becomes (n, n_outputs, ...), larger by the stride: (height - 1) stride - 2 padding +
    (size - 1) dilation + 1 + output_padding. W is (n_inputs, n_outputs / groups, kernel height, kernel width), b
    (n_outputs,), as in PyTorch.

    padding: what the convolution would add is cut off here; "same" makes height times stride.
    output_padding: rows and columns more at the end, less than the stride: a convolution makes the same shape of
        several, and this says which of them is wanted.

    The other arguments are those of `Conv2d`.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, rng=0)(np.ones((5, 8, 14, 14))).shape
    (5, 3, 28, 28)
    """

    transposed = True


class ConvTranspose1d(ConvTranspose2d):
    """`ConvTranspose2d` over signals (n, n_inputs, length), with W (n_inputs, n_outputs / groups, size)."""

    n_axes = 1


class _Pooling(Module):
    """What poolings over windows share."""

    n_axes = 2
    op: Any

    def __init__(self, size: Sizes, *, stride: Sizes | None = None, padding: Padding = 0) -> None:
        name = type(self).__name__
        self.size = _sizes(name, "size", size, self.n_axes)
        self.stride = self.size if stride is None else _sizes(name, "stride", stride, self.n_axes)
        self.padding = padding if padding in ("same", "valid") else _sizes(name, "padding", padding, self.n_axes, 0)

    def __call__(self, x: Any) -> Any:
        _check(self, x, self.n_axes)
        y = self.op.apply(x if self.n_axes == 2 else _as_images(x), size=self.size, stride=self.stride,
                          padding=self.padding)
        return y if self.n_axes == 2 else _as_signals(y)


class MaxPool2d(_Pooling):
    """The largest entry of each window of images (n, channels, height, width).

    size: of the windows. Entries at the end that do not fill a window are left out.
    stride: from one window to the next; by default they stand side by side.
    padding: how far windows reach beyond each side, less than the size; nothing there is ever the largest. Or "same",
        for height divided by stride, rounded up, or "valid" for 0.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> nn.MaxPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """

    op = ops.MaxPool2D


class MaxPool1d(MaxPool2d):
    """The largest entry of each window of signals (n, channels, length), with the arguments of `MaxPool2d`."""

    n_axes = 1


class AveragePool2d(_Pooling):
    """The mean of each window of images (n, channels, height, width), with the arguments of `MaxPool2d`.

    Padding is by zeros, and they count, as is PyTorch's default.
    """

    op = ops.AveragePool2D


class AveragePool1d(AveragePool2d):
    """The mean of each window of signals (n, channels, length), with the arguments of `AveragePool2d`."""

    n_axes = 1


class _AdaptivePooling(Module):
    """What adaptive poolings share: window i of m goes from ⌊i n / m⌋ to ⌈(i + 1) n / m⌉, as in PyTorch."""

    n_axes = 2

    def __init__(self, counts: Sizes) -> None:
        self.counts = _sizes(type(self).__name__, "counts", counts, self.n_axes)

    def __call__(self, x: Any) -> Any:
        _check(self, x, self.n_axes)
        if self.n_axes == 1:
            x = _as_images(x)
        if any(count > n for count, n in zip(self.counts, x.shape[2:], strict=True)):
            raise ValueError(f"{type(self).__name__}: {self.counts[2 - self.n_axes:]} windows are more than values of "
                             f"shape {x.shape} have places")
        y = self._pooled(x)
        return y if self.n_axes == 2 else _as_signals(y)

    def _evenly(self, x: Any) -> tuple[int, int] | None:
        """The size of the windows, if all are of the same and stand side by side."""
        (H, W), (oh, ow) = x.shape[2:], self.counts
        return None if H % oh or W % ow else (H // oh, W // ow)

    def _pooled(self, x: Any) -> Any:
        raise NotImplementedError


class AdaptiveAveragePool2d(_AdaptivePooling):
    """The means of as many windows of images (n, channels, height, width) as `counts` says, of whatever size fits.

    counts: of the output's height and width. AdaptiveAveragePool2d(1) is the mean of each channel.
    """

    def _pooled(self, x: Any) -> Any:
        if (size := self._evenly(x)) is not None:
            return ops.AveragePool2D.apply(x, size=size)
        rows, columns = (_shares(n, count).astype(x.dtype) for n, count in zip(x.shape[2:], self.counts, strict=True))
        return rows @ x @ columns.T


class AdaptiveAveragePool1d(AdaptiveAveragePool2d):
    """The means of as many windows of signals (n, channels, length) as `counts` says."""

    n_axes = 1


class AdaptiveMaxPool2d(_AdaptivePooling):
    """The largest entries of as many windows of images (n, channels, height, width) as `counts` says.

    counts: of the output's height and width.
    """

    def _pooled(self, x: Any) -> Any:
        if (size := self._evenly(x)) is not None:
            return ops.MaxPool2D.apply(x, size=size)
        rows, columns = (_places(n, count) for n, count in zip(x.shape[2:], self.counts, strict=True))
        there = (rows < x.shape[2])[:, None, :, None] & (columns < x.shape[3])[:, None, :]
        windows = x[:, :, np.minimum(rows, x.shape[2] - 1)[:, None, :, None],
                    np.minimum(columns, x.shape[3] - 1)[:, None, :]]
        return np.max(np.where(there, windows, -np.inf), axis=(-2, -1))


class AdaptiveMaxPool1d(AdaptiveMaxPool2d):
    """The largest entries of as many windows of signals (n, channels, length) as `counts` says."""

    n_axes = 1


@lru_cache(64)
def _places(n: int, count: int) -> np.ndarray:
    """Of each adaptive window the places that it sees (count, longest), filled up with n."""
    spans = [range(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
    longest = max(map(len, spans))
    return np.array([[*span, *[n] * (longest - len(span))] for span in spans])


@lru_cache(64)
def _shares(n: int, count: int) -> np.ndarray:
    """The matrix (count, n) that takes the mean of each adaptive window."""
    sees = (_places(n, count)[:, :, None] == np.arange(n)).any(1)
    return sees / sees.sum(axis=1, keepdims=True)


def _check(layer: Any, x: Any, n_axes: int, channels: int | None = None) -> None:
    if x.ndim != n_axes + 2 or channels not in (None, x.shape[1]):
        form = f"(n, {channels or 'channels'}, {'height, width' if n_axes == 2 else 'length'})"
        raise ValueError(f"{type(layer).__name__}: takes values {form}, but got the shape {x.shape}")


def _sizes(layer: str, name: str, value: Any, n_axes: int, least: int = 1) -> tuple[int, int]:
    """One integer, or for images two, as a pair for height and width; of a signal the height is the least there is."""
    pair = value if isinstance(value, tuple | list) and n_axes == 2 else (value, value)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n >= least for n in pair):
        also = " or a pair of them" if n_axes == 2 else ""
        strings = ", 'same' or 'valid'" if name == "padding" else ""
        raise ValueError(f"{layer}: {name} must be an integer >= {least}{also}{strings}, not {value!r}")
    return (int(pair[0]), int(pair[1])) if n_axes == 2 else (least, int(value))


def _as_images(x: Any) -> Any:
    """(n, channels, length) as (n, channels, 1, length)."""
    return np.reshape(x, (*x.shape[:2], 1, x.shape[2]))


def _as_signals(x: Any) -> Any:
    return np.reshape(x, (*x.shape[:2], x.shape[3]))
