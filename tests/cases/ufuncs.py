"""Cases of the other universal functions."""

import math
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tinygraph import ops

from .registry import (
    Case,
    Domain,
    add,
    add_random,
    anywhere,
    entry_by_entry,
    even,
    given,
    integers_below,
    integral,
    is_less,
    nonzero,
    odd,
    pointwise,
    positive,
    some_nan,
    truth,
)


def within_one(u: np.ndarray) -> np.ndarray:
    return 1.6 * u - 0.8


def above_one(u: np.ndarray) -> np.ndarray:
    return 1.4 + 2 * u


def off_whole(u: np.ndarray) -> np.ndarray:
    """Numbers that keep their distance from integers."""
    return np.round(4 * u) - 2 + 0.3 + 0.4 * u


def dividends(u: np.ndarray) -> np.ndarray:
    """Quotients by `divisors` keep their distance from integers."""
    return np.where(u < 0.5, -5.4, 5.0) + 0.6 * u


def divisors(u: np.ndarray) -> np.ndarray:
    return 2 + 0.2 * u


def third(i: int) -> Domain:
    """On a lattice, so that it keeps its distance from the values of the other two thirds."""
    return lambda u: 3 * even(u) + 0.4 * i


def narrow_integers(n: int) -> Domain:
    """So narrow that float16 stays what it is beside them."""
    return integers_below(n, np.int8)


def larger(a: Any, b: Any) -> Any:
    return np.where(is_less(a, b), b, a)


def smaller(a: Any, b: Any) -> Any:
    return np.where(is_less(b, a), b, a)


# Identities rather than the function itself, so that forward and reference can disagree.
pointwise(ops.Fabs, lambda x: np.where(is_less(0, x), x, -x), nonzero, analytic=False)
pointwise(ops.CopySign, lambda a, b: np.where(is_less(0, a) == is_less(0, b), a, -a), nonzero, nonzero, analytic=False)
pointwise(ops.CopySign, lambda a, b: np.where(is_less(0, a), -a, a), nonzero, given(-2.0), analytic=False, note="weak")
pointwise(ops.Cbrt, lambda x: np.exp(np.log(x) / 3), positive, analytic=False)
pointwise(ops.Reciprocal, lambda x: np.exp(-np.log(x)), positive)
for op, whole in [(ops.Remainder, np.floor), (ops.Fmod, np.trunc)]:
    def remainder(a: Any, b: Any, whole: Any = whole) -> Any:
        return a - b * whole(np.real(a) / np.real(b))

    pointwise(op, remainder, dividends, divisors, analytic=False)
    pointwise(op, remainder, lambda u: 1.5 * off_whole(u), given(-1.5), analytic=False, note="weak")
    pointwise(op, remainder, given(-7.5), lambda u: 0.1 + divisors(u), analytic=False, note="by the divisor")
for op, first in [(ops.FMax, lambda a, b: is_less(b, a) | np.isnan(b)),
                  (ops.FMin, lambda a, b: is_less(a, b) | np.isnan(b))]:
    pointwise(op, lambda a, b, first=first: np.where(first(a, b), a, b), even, odd)
    pointwise(op, lambda a, b, first=first: np.where(first(a, b), a, b), nonzero, given(math.nan), analytic=False,
              note="NaN")
pointwise(ops.Clip, lambda x, a, b: smaller(larger(x, a), b), even, given(-0.9), given(0.7), note="weak")
pointwise(ops.Clip, lambda x, a, b: smaller(larger(x, a), b), third(0), third(1), third(2))

pointwise(ops.Exp2, lambda x: np.exp(x * np.log(2)), anywhere, analytic=False)
pointwise(ops.Log2, lambda x: np.log(x) / np.log(2), positive, analytic=False)
pointwise(ops.Log10, lambda x: np.log(x) / np.log(10), positive)
pointwise(ops.LogAddExp, lambda a, b: np.log(np.exp(a) + np.exp(b)), anywhere, anywhere, analytic=False)
pointwise(ops.LogAddExp, lambda a, b: np.log(np.exp(a) + np.exp(b)), given(0.0), anywhere, analytic=False, note="weak")
pointwise(ops.LogAddExp2, lambda a, b: np.log(2**a + 2**b) / np.log(2), anywhere, anywhere, analytic=False)
pointwise(ops.Tan, lambda x: np.sin(x) / np.cos(x), within_one)
pointwise(ops.ArcSin, lambda x: np.arctan(x / np.sqrt(1 - x * x)), within_one)
pointwise(ops.ArcCos, lambda x: np.pi / 2 - np.arctan(x / np.sqrt(1 - x * x)), within_one)
pointwise(ops.ArcTan, lambda x: np.arcsin(x / np.sqrt(1 + x * x)), anywhere)
pointwise(ops.ArcTan2, lambda a, b: np.arctan(a / b) + np.pi * is_less(b, 0) * np.where(is_less(a, 0), -1, 1),
          nonzero, nonzero, analytic=False)
pointwise(ops.ArcTan2, lambda a, b: np.pi / 2 - np.arctan(b / a), given(2), anywhere, analytic=False, note="weak")
pointwise(ops.Hypot, lambda a, b: np.sqrt(a * a + b * b), nonzero, nonzero, analytic=False)
pointwise(ops.Hypot, lambda a, b: np.sqrt(a * a + b * b), anywhere, given(1.5), analytic=False, note="weak")
pointwise(ops.Sinh, lambda x: (np.exp(x) - np.exp(-x)) / 2, anywhere)
pointwise(ops.Cosh, lambda x: (np.exp(x) + np.exp(-x)) / 2, anywhere)
pointwise(ops.ArcSinh, lambda x: np.log(x + np.sqrt(x * x + 1)), anywhere, analytic=False)
pointwise(ops.ArcCosh, lambda x: np.log(x + np.sqrt(x * x - 1)), above_one)
pointwise(ops.ArcTanh, lambda x: (np.log1p(x) - np.log1p(-x)) / 2, within_one)
pointwise(ops.Degrees, lambda x: x * 180 / np.pi, anywhere, analytic=False)
pointwise(ops.Radians, lambda x: x / 180 * np.pi, anywhere, analytic=False)
for order in (0, 1, 2):
    pointwise(ops.Sinc, lambda x, order=0: sinc_derivative(x, order), nonzero, options={"order": order})
pointwise(ops.Sinc, lambda x, order=0: sinc_derivative(x, order), lambda u: 12 * u - 6.1, options={"order": 1},
          note="wide")


def sinc_derivative(x: Any, order: int) -> Any:
    """Calculus by hand, good away from 0."""
    t = np.pi * x
    if order == 0:
        return np.sin(t) / t
    if order == 1:
        return np.pi * (np.cos(t) / t - np.sin(t) / t**2)
    return np.pi**2 * (-np.sin(t) / t - 2 * np.cos(t) / t**2 + 2 * np.sin(t) / t**3)


def halved(x: Any) -> Any:
    """Until its real part is below 1 in size, or doubled until it is not below 1/2."""
    for _ in range(8):
        x = np.where(np.abs(np.real(x)) >= 1, x / 2, x)
        x = np.where(np.abs(np.real(x)) < 0.5, 2 * x, x)
    return x


def off_powers(u: np.ndarray) -> np.ndarray:
    """Far enough from 1/2, 1, 2, ... that differences do not cross one."""
    return np.where(u < 0.5, -2.9 - u, 1.2 + 0.6 * u)


pointwise(ops.Heaviside, lambda x, h: np.where(np.real(x) == 0, h, np.where(is_less(0, x), 1, 0)), odd, anywhere,
          analytic=False)
pointwise(ops.Heaviside, lambda x, h: np.where(np.real(x) == 0, h, np.where(is_less(0, x), 1, 0)), given(0), anywhere,
          analytic=False, note="at 0")
pointwise(ops.NextAfter, lambda a, b: a + 0 * b, anywhere, anywhere, analytic=False)
pointwise(ops.Fraction, lambda x: x - np.trunc(np.real(x)), off_whole, analytic=False)
pointwise(ops.LdExp, lambda x, k: x * 2.0**k, anywhere, narrow_integers(4), analytic=False)
pointwise(ops.Mantissa, halved, off_powers, analytic=False)

for op, function in [(ops.IsFinite, math.isfinite), (ops.IsInf, math.isinf)]:
    pointwise(op, entry_by_entry(function), some_nan, flat=True, result=bool)
pointwise(ops.SignBit, entry_by_entry(lambda x: math.copysign(1, x) < 0), integral, flat=True, result=bool)
pointwise(ops.LogicalXor, entry_by_entry(lambda a, b: bool(a) != bool(b)), integral, truth, flat=True, result=bool)
pointwise(ops.BitwiseCount, entry_by_entry(lambda a: bin(a).count("1"), np.uint8), integers_below(40), flat=True,
          result=np.uint8)
pointwise(ops.Gcd, entry_by_entry(math.gcd, int), integers_below(40), integers_below(9), flat=True, result=np.int64)
pointwise(ops.Lcm, entry_by_entry(math.lcm, int), integers_below(40), integers_below(9), flat=True, result=np.int64)
pointwise(ops.Exponent, entry_by_entry(lambda x: math.frexp(x)[1], np.int32), anywhere, flat=True, result=np.int32)
pointwise(ops.FloorDivide, entry_by_entry(lambda a, b: a // b, float), integral, nonzero, flat=True)
for op, function in [(ops.Floor, math.floor), (ops.Ceil, math.ceil), (ops.Trunc, math.trunc), (ops.Rint, round)]:
    pointwise(op, entry_by_entry(function, float), anywhere, flat=True)
pointwise(ops.Spacing, entry_by_entry(math.ulp, float), positive, flat=True)
pointwise(ops.Round, lambda a, decimals=0: entry_by_entry(lambda x: round(x, decimals), float)(a), anywhere, flat=True,
          options={"decimals": 1})


# ----------------------------------------------------------------------------------------------------- jumps taken out

def twos(u: np.ndarray) -> np.ndarray:
    """Multiples of 2, nearly: differences keep their distance from π and 2.5 and the like."""
    return 2 * np.round(4 * u) + 0.2 * u


def unwrapped(p: Any, discont: Any = None, axis: int = -1, period: float = 2 * np.pi) -> Any:
    """Each entry is shifted by whole periods to where it is nearest to the one before it, if it is far from that."""
    rows = [np.array(row) for row in np.moveaxis(p, axis, 0)]
    for i in range(1, len(rows)):
        step, plain = rows[i] - rows[i - 1], p.take(i, axis) - p.take(i - 1, axis)
        far = np.abs(np.real(plain)) >= max(period / 2 if discont is None else discont, period / 2)
        shifted = step - period * np.round(np.real(step) / period)
        rows[i] = rows[i - 1] + np.where(far, shifted, plain)
    return np.stack(rows, axis) if rows else p


for shape, options in [((5,), {}), ((2, 4), {}), ((4, 2), {"axis": 0}), ((2, 5), {"period": 5.0}),
                       ((5,), {"discont": 5.0}), ((2, 0), {}), ((1,), {})]:
    add(ops.Unwrap, unwrapped, (twos, shape), analytic=False, **options)
add_random(ops.Unwrap, hnp.array_shapes(max_dims=3, max_side=4).flatmap(
    lambda shape: st.integers(-len(shape), len(shape) - 1).map(
        lambda axis: Case(ops.Unwrap, unwrapped, [(twos, shape)], {"axis": axis}, analytic=False))))
