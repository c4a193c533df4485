"""Arithmetic: ops that work entry by entry, each of them a NumPy ufunc and its derivative.

Where mathematics leaves a choice (ties, kinks, 0**0) the rule follows the table of conventions in the docs.
"""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import TWINS
from ..op import Elementwise
from .selection import Keep


class Add(Elementwise):
    """y = a + b;   da = dy,   db = dy"""
    formula = "a + b"
    forward = np.add

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return grad, grad


class Subtract(Elementwise):
    """y = a - b;   da = dy,   db = -dy"""
    formula = "a - b"
    forward = np.subtract

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return grad, lambda: -grad


class Multiply(Elementwise):
    """y = a b;   da = dy b,   db = dy a"""
    formula = "a * b"
    forward = np.multiply

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: grad * b, lambda: grad * a


class Divide(Elementwise):
    """y = a / b;   da = dy / b,   db = -dy y / b"""
    formula = "a / b"
    forward = np.divide

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: grad / b, lambda: -grad * y / b


class Negative(Elementwise):
    """y = -x;   dx = -dy"""
    formula = "-x"
    forward = np.negative

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return -grad


class Absolute(Elementwise):
    """y = |x|;   dx = dy sign(x), of complex numbers dy conj(x) / y, which is 0 at 0"""
    formula = "abs(x)"
    forward = np.absolute

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        if x.dtype.kind == "c":
            return grad * (np.conj(x) / np.where(y == 0, 1, y))
        return grad * np.sign(x)


class Fabs(Elementwise):
    """y = |x| of real numbers, as floats;   dx = dy sign(x), which is 0 at 0"""
    formula = "abs(x)"
    forward = np.fabs

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * np.sign(x)


class CopySign(Elementwise):
    """y = |a| with the sign of b;   da = dy sign(a) sign(b), which is 0 at a = 0, and b gets nothing"""
    forward = np.copysign

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: grad * np.sign(a) * np.copysign(np.sign(a), b), None


class Square(Elementwise):
    """y = x²;   dx = 2 x dy"""
    formula = "x ** 2"
    forward = np.square

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return 2 * grad * x


class Sqrt(Elementwise):
    """y = √x;   dx = dy / (2 y), which is infinite at 0"""
    formula = "sqrt(x)"
    forward = np.sqrt

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return 0.5 * grad / y


class Cbrt(Elementwise):
    """y = the cube root of x;   dx = dy / (3 y²), which is infinite at 0"""
    forward = np.cbrt

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / (3 * y * y)


class Reciprocal(Elementwise):
    """y = 1 / x;   dx = -dy y²"""
    formula = "1 / x"
    forward = np.reciprocal

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return -grad * y * y


class Power(Elementwise):
    """y = xᵖ;   dx = dy p xᵖ⁻¹ (0 where x = p = 0),   dp = dy y log x (0 where x = 0 and p >= 0)"""
    formula = "x ** p"
    forward = np.power

    def backward(self, grad: Any, y: Any, x: Any, p: Any) -> Any:
        def dx() -> Any:
            if not isinstance(p, int | float | complex):
                signed = p.astype(int) if p.dtype.kind == "u" else p  # 0 - 1 is -1
                return grad * (p * x ** np.where((x == 0) & (p == 0), 1, signed - 1))
            if p == 2:
                return 2 * grad * x
            if p == 0:
                return grad * np.zeros_like(x)
            return grad if p == 1 else grad * (p * x ** (p - 1))

        def dp() -> Any:
            if isinstance(x, int | float | complex):
                return grad * y * _log(x, y.dtype.kind == "c")
            if y.dtype.kind != "c":
                return grad * y * np.log(np.where((x == 0) & (p >= 0), 1, x))
            return grad * y * np.log(np.where((x == 0) & (np.real(p) >= 0), 1, x.astype(y.dtype)))

        return dx, dp


def _log(x: Any, as_complex: bool) -> Any:
    """The logarithm of a Python number as one, which stays weak; 0 for that of 0."""
    if x == 0:
        return 0.0
    return cmath.log(x) if as_complex else math.log(x) if x > 0 else math.nan


class Remainder(Elementwise):
    """y = a - b floor(a / b), with the sign of b;   da = dy,   db = -dy floor(a / b)"""
    forward = np.remainder

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return grad, lambda: -grad * np.floor_divide(a, b)


class Fmod(Elementwise):
    """y = a - b trunc(a / b), with the sign of a;   da = dy,   db = -dy trunc(a / b)"""
    forward = np.fmod

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return grad, lambda: -grad * np.rint((a - y) / b)  # the quotient itself may be rounded up to the next integer


class Maximum(Elementwise):
    """y = max(a, b);   the larger input gets dy, at a tie each gets half"""
    formula = "max(a, b)"
    forward = np.maximum
    selecting = True

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: _winner(grad, a > b, a == b), lambda: _winner(grad, a < b, a == b)


class Minimum(Elementwise):
    """y = min(a, b);   the smaller input gets dy, at a tie each gets half"""
    formula = "min(a, b)"
    forward = np.minimum
    selecting = True

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: _winner(grad, a < b, a == b), lambda: _winner(grad, a > b, a == b)


class FMax(Elementwise):
    """y = max(a, b), or that which is no NaN;   it gets dy, at a tie each gets half"""
    forward = np.fmax
    selecting = True

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return (lambda: _winner(grad, (a > b) | np.isnan(b), a == b),
                lambda: _winner(grad, (a < b) | np.isnan(a), a == b))


class FMin(Elementwise):
    """y = min(a, b), or that which is no NaN;   it gets dy, at a tie each gets half"""
    forward = np.fmin
    selecting = True

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return (lambda: _winner(grad, (a < b) | np.isnan(b), a == b),
                lambda: _winner(grad, (a > b) | np.isnan(a), a == b))


def _winner(grad: Any, wins: Any, ties: Any) -> Any:
    return Keep.apply(grad, wins) + Keep.apply(0.5 * grad, ties)


class Clip(Elementwise):
    """y = x, at least the lower and at most the upper bound;   dx = dy between them, otherwise the bound gets dy

    At a bound dx is 0, as between bounds in the wrong order. Where x is NaN so is dx.
    """
    formula = """
        min(max(x, lower), upper)
        dx = keep(dy, lower < x and x < upper)
        dlower = keep(dy, x <= lower and lower < upper)
        dupper = keep(dy, x >= upper or lower >= upper)
    """
    selecting = True

    def forward(self, x: Any, lower: Any, upper: Any) -> Any:
        return np.clip(x, lower, upper)

    def backward(self, grad: Any, y: Any, x: Any, lower: Any, upper: Any) -> Any:
        return (lambda: Keep.apply(grad, ~((x <= lower) | (x >= upper))) * np.where(x == x, 1, x),
                lambda: Keep.apply(grad, (x <= lower) & (lower < upper)),
                lambda: Keep.apply(grad, (x >= upper) | (lower >= upper)))


@counterpart(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    dtype = np.result_type(a)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    return Clip(a, (limits.min if limits else -math.inf) if low is None else low,
                (limits.max if limits else math.inf) if high is None else high)


TWINS[np._core.umath.clip] = Clip  # type: ignore[attr-defined]  # what array.clip(node) calls
