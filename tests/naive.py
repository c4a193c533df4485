"""An engine to test the engine against, as different from it as can be: forward mode, no graph, no backward rules.

A `Dual` carries a value and its derivative along a direction chosen beforehand, a dual of duals the second derivative
too: in Dual(Dual(x, v), Dual(w, 0)) that is where the 0 stands. All of calculus here is: sums and products (the product
rule in `__mul__`), linear functions (`linear`), and the derivative of a few functions of one number (`entrywise`).

Below it are functions of images as their definitions read, number by number.
"""

from types import SimpleNamespace

import numpy as np


class Dual:
    """x + ε dx, with ε² = 0. Both parts have the same shape; they are arrays, or duals themselves."""

    __array_ufunc__ = None  # NumPy's arrays leave it to us what to do with them

    def __init__(self, x, dx):
        self.x, self.dx = x, dx

    def __add__(self, other):
        other = lifted(other, self)
        return Dual(self.x + other.x, self.dx + other.dx)

    def __mul__(self, other):
        other = lifted(other, self)
        return Dual(self.x * other.x, self.dx * other.x + self.x * other.dx)

    def __matmul__(self, other):
        return Dual(self.x @ other.x, self.dx @ other.x + self.x @ other.dx)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other):
        return self + -1.0 * other

    def __rsub__(self, other):
        return -1.0 * self + other

    def __neg__(self):
        return -1.0 * self

    def __truediv__(self, other):
        return self * reciprocal(lifted(other, self))

    def __pow__(self, n):
        return self if n == 1 else self * self ** (n - 1)

    def __getitem__(self, index):
        return linear(lambda x: x[index])(self)

    @property
    def T(self):
        return linear(np.transpose)(self)


def variable(x, v, w):
    """x, to be differentiated along v and then along w."""
    return Dual(Dual(x, v), Dual(w, np.zeros_like(x)))


def parts(y):
    """Of a dual of duals: the value, the derivatives along v and along w, and the second derivative."""
    return y.x.x, y.x.dx, y.dx.x, y.dx.dx


def lifted(x, like):
    """x as a dual, as deep as `like`: a constant, whose derivative is 0."""
    return x if isinstance(x, Dual) or not isinstance(like, Dual) else Dual(lifted(x, like.x), 0.0 * lifted(x, like.x))


def value(x):
    """The array at the bottom of a dual."""
    return value(x.x) if isinstance(x, Dual) else x


def linear(f):
    """A linear function of arrays, for duals: the derivative goes the same way as the value."""
    return lambda x: Dual(linear(f)(x.x), linear(f)(x.dx)) if isinstance(x, Dual) else f(x)


def entrywise(f, slope):
    """A function of one number and its derivative, for duals."""
    return lambda x: Dual(entrywise(f, slope)(x.x), slope(x.x) * x.dx) if isinstance(x, Dual) else f(x)


sin = entrywise(np.sin, lambda x: cos(x))
cos = entrywise(np.cos, lambda x: -1.0 * sin(x))
exp = entrywise(np.exp, lambda x: exp(x))
tanh = entrywise(np.tanh, lambda x: 1.0 - tanh(x) * tanh(x))
reciprocal = entrywise(np.reciprocal, lambda x: -1.0 * reciprocal(x) * reciprocal(x))
sqrt = entrywise(np.sqrt, lambda x: 0.5 * reciprocal(sqrt(x)))
log = entrywise(np.log, lambda x: reciprocal(x))


def total(x, axis=None):
    return linear(lambda x: np.sum(x, axis))(x)


def mean(x, axis=None):
    return linear(lambda x: np.mean(x, axis))(x)


def concatenate(xs, axis):
    if not isinstance(xs[0], Dual):
        return np.concatenate(xs, axis)
    return Dual(concatenate([x.x for x in xs], axis), concatenate([x.dx for x in xs], axis))


# What the source of a random graph asks of NumPy.
NAMESPACE = SimpleNamespace(sin=sin, cos=cos, exp=exp, log=log, tanh=tanh, sqrt=sqrt, sum=total, mean=mean,
                            concatenate=concatenate)


def maximum(a, b):
    """The larger one; at a tie the mean of both."""
    weight = 0.5 * (1.0 + np.sign(value(a) - value(b)))
    return weight * a + (1.0 - weight) * b


# -------------------------------------------------------------------------------------------- images, number by number

def places(x, window, stride, dilation=(1, 1)):
    """How many windows fit, down and across, and an iterator over where they are and which part of `x` they see."""
    (height, width), (down, across), (dh, dw) = window, stride, dilation
    height, width = (height - 1) * dh + 1, (width - 1) * dw + 1
    size = (x.shape[-2] - height) // down + 1, (x.shape[-1] - width) // across + 1
    return size, (((i, j), x[..., i * down:i * down + height:dh, j * across:j * across + width:dw])
                  for i in range(size[0]) for j in range(size[1]))


def pair(option):
    return option if isinstance(option, tuple) else (option, option)


def margins(padding, size, window, stride, dilation=(1, 1)):
    """What comes before and after, down and across. "same": as many windows as strides begin in the image."""
    if padding != "same":
        return [(n, n) for n in pair(padding)]
    result = []
    for n, k, s, d in zip(size, window, stride, dilation, strict=True):
        last = len(range(0, n, s)) * s - s + (k - 1) * d  # where the last window ends, if the first starts at 0
        more = max(last + 1 - n, 0)
        result.append((more // 2, (more + 1) // 2))
    return result


def surrounded(x, sides, value=0):
    (up, down), (left, right) = sides
    y = np.full((*x.shape[:-2], x.shape[-2] + up + down, x.shape[-1] + left + right), value, x.dtype)
    y[..., up:up + x.shape[-2], left:left + x.shape[-1]] = x
    return y


def convolution(x, W, stride=1, padding=0, dilation=1, groups=1):
    """Each number of the result is the sum of a window times a kernel."""
    stride, dilation = pair(stride), pair(dilation)
    padded = surrounded(x, margins(padding, x.shape[2:], W.shape[2:], stride, dilation))
    size, windows = places(padded, W.shape[2:], stride, dilation)
    y = np.zeros((len(x), len(W), *size), np.result_type(x, W))
    channels, kernels = W.shape[1], len(W) // groups
    for (i, j), window in windows:
        for n, image in enumerate(window):
            for o, kernel in enumerate(W):
                first = o // kernels * channels
                y[n, o, i, j] = (image[first:first + channels] * kernel).sum()
    return y


def convolution_transposed(Y, W, shape, stride=1, padding=0, dilation=1, groups=1):
    """Each number is multiplied by a kernel and added where the kernel is."""
    stride, dilation = pair(stride), pair(dilation)
    sides = margins(padding, shape, W.shape[2:], stride, dilation)
    (up, down), (left, right) = sides
    x = np.zeros((len(Y), W.shape[1] * groups, shape[0] + up + down, shape[1] + left + right), np.result_type(Y, W))
    channels, kernels = W.shape[1], len(W) // groups
    for n, o, i, j in np.ndindex(Y.shape):
        for c, u, v in np.ndindex(W.shape[1:]):
            place = i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]
            x[(n, o // kernels * channels + c, *place)] += Y[n, o, i, j] * W[o, c, u, v]
    return x[:, :, up:up + shape[0], left:left + shape[1]]


def convolution_kernels(x, Y, shape, stride=1, padding=0, dilation=1, groups=1):
    """Each kernel is the sum of the windows, each times what stands at its place."""
    stride, dilation = pair(stride), pair(dilation)
    padded = surrounded(x, margins(padding, x.shape[2:], shape, stride, dilation))
    channels, kernels = x.shape[1] // groups, Y.shape[1] // groups
    W = np.zeros((Y.shape[1], channels, *shape), np.result_type(x, Y))
    for (i, j), window in places(padded, shape, stride, dilation)[1]:
        for n, image in enumerate(window):
            for o in range(len(W)):
                first = o // kernels * channels
                W[o] += image[first:first + channels] * Y[n, o, i, j]
    return W


def max_pool(x, size, stride=None, padding=0):
    """Each number of the result is the largest one of a window, by its real part."""
    size, stride = pair(size), pair(stride or size)
    x = surrounded(x, margins(padding, x.shape[-2:], size, stride), -np.inf)
    size, windows = places(x, size, stride)
    y = np.zeros((*x.shape[:-2], *size), x.dtype)
    for (i, j), seen in windows:
        for lead in np.ndindex(x.shape[:-2]):
            y[(*lead, i, j)] = max(seen[lead].ravel(), key=np.real)
    return y


def average_pool(x, size, stride=None, padding=0):
    size, stride = pair(size), pair(stride or size)
    x = surrounded(x, margins(padding, x.shape[-2:], size, stride))
    size, windows = places(x, size, stride)
    y = np.zeros((*x.shape[:-2], *size), x.dtype)
    for (i, j), seen in windows:
        for lead in np.ndindex(x.shape[:-2]):
            y[(*lead, i, j)] = sum(seen[lead].ravel()) / seen[lead].size
    return y


def fold(x, shape, stride, dilation=(1, 1)):
    """Each number of x is added to its place in an image of zeros."""
    y = np.zeros((*x.shape[:-4], *shape), x.dtype)
    for *lead, i, j, u, v in np.ndindex(x.shape):
        y[(*lead, i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1])] += x[(*lead, i, j, u, v)]
    return y
