"""Elementary functions: exponentials and logarithms, functions of angles and their inverses, entry by entry.

Analytic ones serve complex numbers by the same rule. Where mathematics leaves a choice the rule follows the table of
conventions in the docs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import TWINS
from ..op import Elementwise
from .selection import Keep


class Exp(Elementwise):
    """y = exp x;   dx = dy y"""
    formula = "exp(x)"
    forward = np.exp

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * y


class Exp2(Elementwise):
    """y = 2ˣ;   dx = dy y log 2"""
    forward = np.exp2

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * y * math.log(2)


class Expm1(Elementwise):
    """y = exp x - 1;   dx = dy exp x"""
    formula = "exp(x) - 1"
    forward = np.expm1

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * np.exp(x)


class Log(Elementwise):
    """y = log x;   dx = dy / x"""
    formula = "log(x)"
    forward = np.log

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / x


class Log2(Elementwise):
    """y = log₂ x;   dx = dy / (x log 2)"""
    forward = np.log2

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / (x * math.log(2))


class Log10(Elementwise):
    """y = log₁₀ x;   dx = dy / (x log 10)"""
    forward = np.log10

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / (x * math.log(10))


class Log1p(Elementwise):
    """y = log(1 + x);   dx = dy / (1 + x)"""
    formula = "log(1 + x)"
    forward = np.log1p

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / (1 + x)


class LogAddExp(Elementwise):
    """y = log(exp a + exp b);   da = dy exp(a - y),   db = dy exp(b - y),   0 where both are -inf"""
    formula = """
        logaddexp(a, b)
        da = dy * exp(a - y)
        db = dy * exp(b - y)
    """
    forward = np.logaddexp

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return (lambda: grad * _share(np.exp, np.logaddexp, y, a, b),
                lambda: grad * _share(np.exp, np.logaddexp, y, b, a))


class LogAddExp2(Elementwise):
    """y = log₂(2ᵃ + 2ᵇ);   da = dy 2^(a - y),   db = dy 2^(b - y),   0 where both are -inf"""
    forward = np.logaddexp2

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return (lambda: grad * _share(np.exp2, np.logaddexp2, y, a, b),
                lambda: grad * _share(np.exp2, np.logaddexp2, y, b, a))


def _share(power: Any, log_add: Any, y: Any, a: Any, b: Any) -> Any:
    """exp a / (exp a + exp b) = 1 / (1 + exp(b - a)), to full precision on both sides; alike infinities are equal."""
    with np.errstate(invalid="ignore"):  # only these differences are no number
        ahead = np.where((a == b) & np.isinf(a), 0.0, b - a)
    return Keep.apply(power(-log_add(0.0, ahead)), y != -math.inf)


class Sin(Elementwise):
    """y = sin x;   dx = dy cos x"""
    formula = "sin(x)"
    forward = np.sin

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * np.cos(x)


class Cos(Elementwise):
    """y = cos x;   dx = -dy sin x"""
    formula = "cos(x)"
    forward = np.cos

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return -grad * np.sin(x)


class Tan(Elementwise):
    """y = tan x;   dx = dy (1 + y²)"""
    formula = "tan(x)"
    forward = np.tan

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * (1 + y * y)


class ArcSin(Elementwise):
    """y = arcsin x;   dx = dy / √(1 - x²), which is infinite at ±1"""
    forward = np.arcsin

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / np.sqrt((1 - x) * (1 + x))


class ArcCos(Elementwise):
    """y = arccos x;   dx = -dy / √(1 - x²), which is infinite at ±1"""
    forward = np.arccos

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return -grad / np.sqrt((1 - x) * (1 + x))


class ArcTan(Elementwise):
    """y = arctan x;   dx = dy / (1 + x²)"""
    forward = np.arctan

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / (1 + x * x)


class ArcTan2(Elementwise):
    """y = the angle of the point (b, a);   da = dy b / (a² + b²),   db = -dy a / (a² + b²),   0 at the origin"""
    forward = np.arctan2

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: grad * _inverted(b, a), lambda: -grad * _inverted(a, b)


def _inverted(a: Any, b: Any) -> Any:
    """a / (a² + b²), also where the squares are too large or too small; 0 at the origin and at infinity."""
    r = np.hypot(a, b)
    inside = (r != 0) & (r != math.inf)
    r = np.where(inside, r, 1)
    return Keep.apply(a / r, inside) / r


class Hypot(Elementwise):
    """y = √(a² + b²);   da = dy a / y,   db = dy b / y,   0 at the origin"""
    forward = np.hypot

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: grad * (a / np.where(y == 0, 1, y)), lambda: grad * (b / np.where(y == 0, 1, y))


class Sinh(Elementwise):
    """y = sinh x;   dx = dy cosh x"""
    formula = "sinh(x)"
    forward = np.sinh

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * np.cosh(x)


class Cosh(Elementwise):
    """y = cosh x;   dx = dy sinh x"""
    formula = "cosh(x)"
    forward = np.cosh

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * np.sinh(x)


class Tanh(Elementwise):
    """y = tanh x;   dx = dy (1 - y²)"""
    formula = "tanh(x)"
    forward = np.tanh

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * (1 - y * y)


class ArcSinh(Elementwise):
    """y = arsinh x;   dx = dy / √(x² + 1)"""
    forward = np.arcsinh

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / (np.sqrt(x * x + 1) if x.dtype.kind == "c" else np.hypot(x, 1.0))


class ArcCosh(Elementwise):
    """y = arcosh x;   dx = dy / √(x² - 1), which is infinite at 1"""
    forward = np.arccosh

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / (np.sqrt(x - 1) * np.sqrt(x + 1))


class ArcTanh(Elementwise):
    """y = artanh x;   dx = dy / (1 - x²), which is infinite at ±1"""
    forward = np.arctanh

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / ((1 - x) * (1 + x))


class Degrees(Elementwise):
    """y = 180 x / π;   dx = 180 dy / π"""
    forward = np.degrees

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * (180 / math.pi)


class Radians(Elementwise):
    """y = π x / 180;   dx = π dy / 180"""
    forward = np.radians

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * (math.pi / 180)


TWINS[np.rad2deg], TWINS[np.deg2rad] = Degrees, Radians


class Sinc(Elementwise, twin=np.sinc):
    """y = sin πx / πx, which is 1 at 0, or its derivative of an order;   dx = dy times the next derivative"""

    def forward(self, x: Any, *, order: int = 0) -> Any:
        if not order:
            return np.sinc(x)
        if np.result_type(x) == np.float16:
            return Sinc.apply(x.astype(np.float32), order=order).astype(x.dtype)
        return np.pi**order * _sinc(np.pi * x, order)

    def backward(self, grad: Any, y: Any, x: Any, *, order: int = 0) -> Any:
        return grad * Sinc.apply(x, order=order + 1)


def _sinc(t: Any, order: int) -> Any:
    """The derivative of sin t / t of an order from 1 on: by its series near 0, elsewhere from that of one order less.

    t f = sin t, differentiated n times, is t f⁽ⁿ⁾ + n f⁽ⁿ⁻¹⁾ = sin⁽ⁿ⁾ t. The series is Σ (-1)ᵏ t²ᵏ / (2k + 1)!.
    """
    near = np.abs(t) <= order + 1
    s, u = np.where(near, t, 0), np.where(near, 1, t)
    first = (order + 1) // 2
    series = np.zeros_like(s)
    for k in reversed(range(first, first + 12 + 3 * order)):
        series = series * s * s + (-1)**k * math.perm(2 * k, order) / math.factorial(2 * k + 1)
    if order % 2:
        series = series * s
    sin, cos = np.sin(u), np.cos(u)
    f = sin / u
    for n in range(1, order + 1):
        f = ((sin, cos, -sin, -cos)[n % 4] - n * f) / u
    return np.where(near, series, f)


@counterpart(np.i0)
def _i0(x: Any) -> Any:
    from scipy import special

    return special.i0(x)
