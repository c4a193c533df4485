"""Comparisons, logic, rounding: ops that are constant by pieces and so have no gradient; and the parts of a number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import TWINS, Node
from ..op import Elementwise, Primitive
from .selection import Keep


class Less(Elementwise):
    formula = "x0 < x1"
    forward = np.less
    differentiable = False


class LessEqual(Elementwise):
    formula = "x0 <= x1"
    forward = np.less_equal
    differentiable = False


class Greater(Elementwise):
    formula = "x0 > x1"
    forward = np.greater
    differentiable = False


class GreaterEqual(Elementwise):
    formula = "x0 >= x1"
    forward = np.greater_equal
    differentiable = False


class Equal(Elementwise):
    formula = "x0 == x1"
    forward = np.equal
    differentiable = False


class NotEqual(Elementwise):
    formula = "x0 != x1"
    forward = np.not_equal
    differentiable = False


class LogicalAnd(Elementwise):
    formula = "x0 and x1"
    forward = np.logical_and
    differentiable = False


class LogicalOr(Elementwise):
    formula = "x0 or x1"
    forward = np.logical_or
    differentiable = False


class LogicalNot(Elementwise):
    formula = "not x0"
    forward = np.logical_not
    differentiable = False


class BitwiseAnd(Elementwise):
    formula = "x0 & x1"
    forward = np.bitwise_and
    differentiable = False


class BitwiseOr(Elementwise):
    formula = "x0 | x1"
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
    formula = "~x0"
    forward = np.invert
    differentiable = False


class IsNan(Elementwise):
    forward = np.isnan
    differentiable = False


class Sign(Elementwise):
    forward = np.sign
    differentiable = False


class LogicalXor(Elementwise):
    forward = np.logical_xor
    differentiable = False


class BitwiseCount(Elementwise):
    forward = np.bitwise_count
    differentiable = False


class Gcd(Elementwise):
    forward = np.gcd
    differentiable = False


class Lcm(Elementwise):
    forward = np.lcm
    differentiable = False


class IsFinite(Elementwise):
    forward = np.isfinite
    differentiable = False


class IsInf(Elementwise):
    forward = np.isinf
    differentiable = False


class SignBit(Elementwise):
    forward = np.signbit
    differentiable = False


class Spacing(Elementwise):
    forward = np.spacing
    differentiable = False


class FloorDivide(Elementwise):
    forward = np.floor_divide
    differentiable = False


class Floor(Elementwise):
    forward = np.floor
    differentiable = False


class Ceil(Elementwise):
    forward = np.ceil
    differentiable = False


class Trunc(Elementwise):
    forward = np.trunc
    differentiable = False


class Rint(Elementwise):
    forward = np.rint
    differentiable = False


class Round(Elementwise, twin=np.round):
    differentiable = False

    def forward(self, a: Any, *, decimals: int = 0) -> Any:
        return np.round(a, decimals)


TWINS[np.around] = TWINS[np.round]


@counterpart(np.fix)
def _fix(x: Any) -> Node:
    return np.trunc(x)


def _sign(x: Node) -> Any:
    """Of a complex number the one of length 1 in its direction."""
    if x.dtype.kind != "c":
        return Sign(x)
    length = np.abs(x)
    return np.where(length == 0, 0, x / np.where(length == 0, 1, length))


TWINS[np.sign] = _sign


# ------------------------------------------------------------------------------------- what else is made of such pieces

class Heaviside(Elementwise):
    """y = 0 left of x = 0, 1 right of it, and h at it;   x gets nothing, dh = dy where x = 0"""
    forward = np.heaviside
    selecting = True

    def backward(self, grad: Any, y: Any, x: Any, h: Any) -> Any:
        return None, lambda: Keep.apply(grad, x == 0)


class NextAfter(Elementwise):
    """y = the float after a in the direction of b;   da = dy, and b gets nothing"""
    forward = np.nextafter

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return grad, None


class Fraction(Elementwise):
    """y = x without its whole part;   dx = dy"""

    def forward(self, x: Any) -> Any:
        return np.modf(x)[0]

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad


class LdExp(Elementwise):
    """y = x 2ᵏ with integers k;   dx = dy 2ᵏ"""
    forward = np.ldexp

    def backward(self, grad: Any, y: Any, x: Any, k: Any) -> Any:
        return np.ldexp(grad, k), None


class Mantissa(Elementwise):
    """y = x / 2ᵏ, from 1/2 to 1 in size;   dx = dy / 2ᵏ"""

    def forward(self, x: Any) -> Any:
        return np.frexp(x)[0]

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return np.ldexp(grad, -Exponent.apply(x))


class Exponent(Elementwise):
    """y = the k of x / 2ᵏ, which is from 1/2 to 1 in size"""
    differentiable = False

    def forward(self, x: Any) -> Any:
        return np.frexp(x)[1]


class Unwrap(Primitive, twin=np.unwrap):
    """y = p plus whole periods, so that it has no large jumps along an axis;   dp = dy"""

    def forward(self, p: Any, *, discont: Any = None, axis: int = -1, period: float = 2 * math.pi) -> Any:
        return np.unwrap(p, discont, axis, period=period)

    def backward(self, grad: Any, y: Any, p: Any, *,
                 discont: Any = None, axis: int = -1, period: float = 2 * math.pi) -> Any:
        return grad


TWINS[np.frexp] = lambda x: (Mantissa(x), Exponent(x))
TWINS[np.modf] = lambda x: (Fraction(x), np.trunc(x.astype(np.modf.resolve_dtypes((x.dtype, None, None))[0])))
TWINS[np.divmod] = lambda a, b: (np.floor_divide(a, b), np.remainder(a, b))
