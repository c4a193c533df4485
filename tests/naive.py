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

def places(x, window, stride):
    """How many windows fit, down and across, and an iterator over where they are and which part of `x` they see."""
    (height, width), (down, across) = window, stride
    size = (x.shape[-2] - height) // down + 1, (x.shape[-1] - width) // across + 1
    return size, (((i, j), x[..., i * down:i * down + height, j * across:j * across + width])
                  for i in range(size[0]) for j in range(size[1]))


def pair(option):
    return option if isinstance(option, tuple) else (option, option)


def convolution(x, W, stride=1, padding=0):
    """Each number of the result is the sum of a window times a kernel."""
    up, left = pair(padding)
    padded = np.zeros((*x.shape[:2], x.shape[2] + 2 * up, x.shape[3] + 2 * left), x.dtype)
    padded[:, :, up:up + x.shape[2], left:left + x.shape[3]] = x
    size, windows = places(padded, W.shape[2:], pair(stride))
    y = np.zeros((len(x), len(W), *size), np.result_type(x, W))
    for (i, j), window in windows:
        for n, image in enumerate(window):
            for o, kernel in enumerate(W):
                y[n, o, i, j] = (image * kernel).sum()
    return y


def max_pool(x, size, stride=None):
    """Each number of the result is the largest one of a window, by its real part."""
    size, windows = places(x, pair(size), pair(stride or size))
    y = np.zeros((*x.shape[:-2], *size), x.dtype)
    for (i, j), seen in windows:
        for lead in np.ndindex(x.shape[:-2]):
            y[(*lead, i, j)] = max(seen[lead].ravel(), key=np.real)
    return y


def fold(x, shape, stride):
    """Each number of x is added to its place in an image of zeros."""
    y = np.zeros((*x.shape[:-4], *shape), x.dtype)
    for *lead, i, j, u, v in np.ndindex(x.shape):
        y[(*lead, i * stride[0] + u, j * stride[1] + v)] += x[(*lead, i, j, u, v)]
    return y
