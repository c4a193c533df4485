"""Arithmetic: ops that work entry by entry, each of them a NumPy ufunc and its derivative.

Where mathematics leaves a choice (ties, kinks, 0**0) the rule follows the table of conventions in the docs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import Elementwise
from .selection import Keep


class Add(Elementwise):
    """y = a + b;   da = dy,   db = dy"""
    forward = np.add

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return grad, grad


class Subtract(Elementwise):
    """y = a - b;   da = dy,   db = -dy"""
    forward = np.subtract

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return grad, lambda: -grad


class Multiply(Elementwise):
    """y = a b;   da = dy b,   db = dy a"""
    forward = np.multiply

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: grad * b, lambda: grad * a


class Divide(Elementwise):
    """y = a / b;   da = dy / b,   db = -dy y / b"""
    forward = np.divide

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: grad / b, lambda: -grad * y / b


class Negative(Elementwise):
    """y = -x;   dx = -dy"""
    forward = np.negative

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return -grad


class Absolute(Elementwise):
    """y = |x|;   dx = dy sign(x), which is 0 at 0"""
    forward = np.absolute

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        if x.dtype.kind == "c":
            raise NotImplementedError("the absolute value of complex numbers has no gradient yet: it is not analytic")
        return grad * np.sign(x)


class Square(Elementwise):
    """y = x²;   dx = 2 x dy"""
    forward = np.square

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return 2 * grad * x


class Sqrt(Elementwise):
    """y = √x;   dx = dy / (2 y), which is infinite at 0"""
    forward = np.sqrt

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return 0.5 * grad / y


class Power(Elementwise):
    """y = xᵖ;   dx = dy p xᵖ⁻¹ (0 where x = p = 0),   dp = dy y log x (0 where x = 0 and p >= 0)"""
    forward = np.power

    def backward(self, grad: Any, y: Any, x: Any, p: Any) -> Any:
        def dx() -> Any:
            if not isinstance(p, int | float):
                signed = p.astype(int) if p.dtype.kind == "u" else p  # 0 - 1 is -1
                return grad * (p * x ** np.where((x == 0) & (p == 0), 1, signed - 1))
            if p == 2:
                return 2 * grad * x
            if p == 0:
                return grad * np.zeros_like(x)
            return grad if p == 1 else grad * (p * x ** (p - 1))

        def dp() -> Any:
            if not isinstance(x, int | float):
                return grad * y * np.log(np.where((x == 0) & (p >= 0), 1, x))
            return grad * y * (math.log(x) if x > 0 else 0.0 if x == 0 else math.nan)  # a Python number stays weak

        return dx, dp


class Exp(Elementwise):
    """y = exp x;   dx = dy y"""
    forward = np.exp

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * y


class Expm1(Elementwise):
    """y = exp x - 1;   dx = dy exp x"""
    forward = np.expm1

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * np.exp(x)


class Log(Elementwise):
    """y = log x;   dx = dy / x"""
    forward = np.log

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / x


class Log1p(Elementwise):
    """y = log(1 + x);   dx = dy / (1 + x)"""
    forward = np.log1p

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad / (1 + x)


class Sin(Elementwise):
    """y = sin x;   dx = dy cos x"""
    forward = np.sin

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * np.cos(x)


class Cos(Elementwise):
    """y = cos x;   dx = -dy sin x"""
    forward = np.cos

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return -grad * np.sin(x)


class Tanh(Elementwise):
    """y = tanh x;   dx = dy (1 - y²)"""
    forward = np.tanh

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * (1 - y * y)


class Maximum(Elementwise):
    """y = max(a, b);   the larger input gets dy, at a tie each gets half"""
    forward = np.maximum
    selecting = True

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: _winner(grad, a > b, a == b), lambda: _winner(grad, a < b, a == b)


class Minimum(Elementwise):
    """y = min(a, b);   the smaller input gets dy, at a tie each gets half"""
    forward = np.minimum
    selecting = True

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: _winner(grad, a < b, a == b), lambda: _winner(grad, a > b, a == b)


def _winner(grad: Any, wins: Any, ties: Any) -> Any:
    return Keep.apply(grad, wins) + Keep.apply(0.5 * grad, ties)


# ------------------------------------------------------------------ piecewise constant: nodes without gradient

class Less(Elementwise):
    forward = np.less
    differentiable = False


class LessEqual(Elementwise):
    forward = np.less_equal
    differentiable = False


class Greater(Elementwise):
    forward = np.greater
    differentiable = False


class GreaterEqual(Elementwise):
    forward = np.greater_equal
    differentiable = False


class Equal(Elementwise):
    forward = np.equal
    differentiable = False


class NotEqual(Elementwise):
    forward = np.not_equal
    differentiable = False


class LogicalAnd(Elementwise):
    forward = np.logical_and
    differentiable = False


class LogicalOr(Elementwise):
    forward = np.logical_or
    differentiable = False


class LogicalNot(Elementwise):
    forward = np.logical_not
    differentiable = False


class BitwiseAnd(Elementwise):
    forward = np.bitwise_and
    differentiable = False


class BitwiseOr(Elementwise):
    forward = np.bitwise_or
    differentiable = False


class BitwiseXor(Elementwise):
    forward = np.bitwise_xor
    differentiable = False


class LeftShift(Elementwise):
    forward = np.left_shift
    differentiable = False


class RightShift(Elementwise):
    forward = np.right_shift
    differentiable = False


class Invert(Elementwise):
    forward = np.invert
    differentiable = False


class IsNan(Elementwise):
    forward = np.isnan
    differentiable = False


class Sign(Elementwise):
    forward = np.sign
    differentiable = False
