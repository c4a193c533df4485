"""Activations: functions of each entry by itself, fused, each with a rule derived by hand.

Forwards are written without a branch for each entry, which would cost more than all the rest, and without an overflow
at either end. What a derivative is at a kink is in docs/conventions.md. ReLU and the tanh form of GELU are in `neural`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import Op
from .neural import bounded
from .selection import Keep


class LeakyReLU(Op):
    """y = x where x > 0, slope x elsewhere;   dx = dy where x > 0, slope dy elsewhere, at 0 too"""

    def forward(self, x: Any, *, slope: float = 0.01) -> Any:
        return np.maximum(x, 0) + slope * np.minimum(x, 0)

    def expand(self, x: Any, *, slope: float = 0.01) -> Any:
        return np.where(x > 0, x, slope * x)

    def backward(self, grad: Any, y: Any, x: Any, *, slope: float = 0.01) -> Any:
        return Keep.apply(grad, x > 0) + slope * Keep.apply(grad, x <= 0)


class ELU(Op):
    """y = x where x > 0, α (exp x - 1) elsewhere;   dx = dy where x > 0, dy α exp x elsewhere, at 0 too"""

    def forward(self, x: Any, *, alpha: float = 1.0) -> Any:
        return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))

    def expand(self, x: Any, *, alpha: float = 1.0) -> Any:
        return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x)))

    def backward(self, grad: Any, y: Any, x: Any, *, alpha: float = 1.0) -> Any:
        below = np.exp(np.minimum(x, 0)) if grad.__class__ is np.ndarray else np.exp(np.where(x > 0, 0, x))
        return Keep.apply(grad, x > 0) + alpha * Keep.apply(grad * below, x <= 0)


class Sigmoid(Op):
    """y = 1 / (1 + exp(-x));   dx = dy y (1 - y)"""
    formula = """
        1 / (1 + exp(-x))
        dx = dy * y * (1 - y)
    """

    def forward(self, x: Any) -> Any:
        small = np.exp(-np.abs(x))
        return np.maximum(small, x >= 0) / (1 + small)  # exp x or 1, over 1 + exp -|x|

    def expand(self, x: Any) -> Any:
        from scipy.special import expit

        return expit(x)

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * (y * Sigmoid.apply(-x))


class SiLU(Op):
    """y = x s,   s = 1 / (1 + exp(-x));   dx = dy s (1 + x (1 - s))"""
    formula = """
        s = 1 / (1 + exp(-x))
        x * s
        dx = dy * s * (1 + x * (1 - s))
    """

    def forward(self, x: Any) -> Any:
        s = Sigmoid.apply(x)
        return bounded(x, -1000) * s, s  # 0 at -inf, and not NaN

    def backward(self, grad: Any, y: Any, x: Any, s: Any) -> Any:
        return grad * (s * (1 + bounded(x, -1000, 1000) * (1 - s)))


class ErfGELU(Op):
    """y = x Φ(x),   Φ the normal distribution;   dx = dy (Φ(x) + x exp(-x²/2) / √(2π))

    Hendrycks & Gimpel (2016), eq. 1. `GELU` is their approximation by tanh.
    """

    def forward(self, x: Any) -> Any:
        from scipy.special import ndtr

        share = ndtr(x)
        if share.dtype != x.dtype:  # SciPy knows no float16
            share = share.astype(x.dtype)
        return bounded(x, -40) * share, share  # 0 at -inf, and not NaN

    def backward(self, grad: Any, y: Any, x: Any, share: Any) -> Any:
        z = bounded(x, -40, 40)
        return grad * (share + z * np.exp(-0.5 * z * z) * _DENSITY)


_DENSITY = 1 / math.sqrt(2 * math.pi)


class Softplus(Op):
    """y = log(1 + exp x);   dx = dy / (1 + exp(-x))"""
    formula = """
        log(1 + exp(x))
        dx = dy / (1 + exp(-x))
    """

    def forward(self, x: Any) -> Any:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def expand(self, x: Any) -> Any:
        return np.logaddexp(x, 0)

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad * Sigmoid.apply(x)


class LogisticNLL(Op):
    """y = -t log p - (1 - t) log(1 - p) with p = 1 / (1 + exp(-x)), entry by entry;   dx = dy (p - t),   dt = -dy x

    x: logits; t, of the shape of x: the probabilities of the class 1, from 0 to 1.
    """
    formula = """
        log(1 + exp(x)) - t * x
        dx = dy * (1 / (1 + exp(-x)) - t)
        dt = -dy * x
    """

    def forward(self, x: Any, t: Any) -> Any:  # of each term the digits that matter are kept, however large x is
        if x.shape != t.shape:
            raise ValueError(f"logits of shape {x.shape} and targets of shape {t.shape} must have one shape")
        return np.maximum(x, 0) * (1 - t) - np.minimum(x, 0) * t + np.log1p(np.exp(-np.abs(x)))

    def expand(self, x: Any, t: Any) -> Any:
        return (1 - t) * Softplus.apply(x) + t * Softplus.apply(-x)

    def backward(self, grad: Any, y: Any, x: Any, t: Any) -> Any:
        return grad * ((1 - t) * Sigmoid.apply(x) - t * Sigmoid.apply(-x)), lambda: -grad * x
