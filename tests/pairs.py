"""A naive engine for random graphs: forward mode on pairs of a value and its derivative along a direction.

It shares nothing with the engine: no graph, no rules of backprop, no protocols of NumPy. A graph's source runs with
`Namespace` in the place of NumPy.
"""

import numpy as np


class Pair:
    """x + ε dx, with ε² = 0, both arrays of one shape."""

    __array_ufunc__ = None

    def __init__(self, x, dx):
        self.x, self.dx = x, np.broadcast_to(dx, np.shape(x))

    def __add__(self, other):
        other = pair(other)
        return Pair(self.x + other.x, self.dx + other.dx)

    def __mul__(self, other):
        other = pair(other)
        return Pair(self.x * other.x, self.dx * other.x + self.x * other.dx)

    def __truediv__(self, other):
        other = pair(other)
        return Pair(self.x / other.x, self.dx / other.x - self.x * other.dx / other.x**2)

    def __matmul__(self, other):
        return Pair(self.x @ other.x, self.dx @ other.x + self.x @ other.dx)

    def __pow__(self, n):
        return Pair(self.x**n, n * self.x ** (n - 1) * self.dx)

    def __neg__(self):
        return Pair(-self.x, -self.dx)

    def __sub__(self, other):
        return self + -pair(other)

    def __getitem__(self, index):
        return Pair(self.x[index], self.dx[index])

    def __gt__(self, other):
        return self.x > pair(other).x

    __radd__, __rmul__ = __add__, __mul__

    @property
    def T(self):
        return Pair(self.x.T, self.dx.T)


def pair(x):
    return x if isinstance(x, Pair) else Pair(np.asarray(x, float), 0.0)


def entrywise(f, slope):
    return lambda a: Pair(f(a.x), slope(a.x) * a.dx)


class Namespace:
    """What the source of a graph asks of NumPy."""

    tanh = entrywise(np.tanh, lambda x: 1 / np.cosh(x) ** 2)
    sin = entrywise(np.sin, np.cos)
    cos = entrywise(np.cos, lambda x: -np.sin(x))
    exp = entrywise(np.exp, np.exp)
    log = entrywise(np.log, lambda x: 1 / x)
    sqrt = entrywise(np.sqrt, lambda x: 0.5 / np.sqrt(x))

    @staticmethod
    def sum(a, axis=None):
        return Pair(a.x.sum(axis), a.dx.sum(axis))

    @staticmethod
    def mean(a, axis=None):
        return Pair(a.x.mean(axis), a.dx.mean(axis))

    @staticmethod
    def concatenate(parts, axis):
        return Pair(np.concatenate([p.x for p in parts], axis), np.concatenate([p.dx for p in parts], axis))
