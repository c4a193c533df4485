"""Activations: layers without parameters that work entry by entry (softmax: along an axis).

What the derivative is at a kink is in docs/conventions.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from .module import Module


class ReLU(Module):
    """max(0, x)."""

    def __call__(self, x: Any) -> Any:
        return ops.ReLU.apply(x)


class LeakyReLU(Module):
    """x where x > 0, slope x elsewhere."""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def __call__(self, x: Any) -> Any:
        return np.where(x > 0, x, self.slope * x)


class ELU(Module):
    """x where x > 0, alpha (exp(x) - 1) elsewhere (Clevert et al., 2016)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def __call__(self, x: Any) -> Any:
        return np.where(x > 0, x, self.alpha * np.expm1(np.where(x > 0, 0, x)))


class GELU(Module):
    """x Φ(x), Φ the normal distribution (Hendrycks and Gimpel, 2016).

    approximate: with tanh in its place (their equation 2), which is faster and off by up to 5e-4.
    """

    def __init__(self, approximate: bool = False) -> None:
        self.approximate = approximate

    def __call__(self, x: Any) -> Any:
        if self.approximate:
            y = ops.GELU.apply(x)
            return y[0] if isinstance(y, tuple) else y
        from scipy.special import ndtr

        return _low(x, -40) * ndtr(np.clip(x, -40, 40))


class SiLU(Module):
    """x sigmoid(x), also called swish."""

    def __call__(self, x: Any) -> Any:
        from scipy.special import expit

        return _low(x, -750) * expit(x)


def _low(x: Any, bound: float) -> Any:
    """x, or `bound` where it is below that, and its factor is 0: so at -inf the product is 0, and not NaN."""
    return np.where(x > bound, x, bound)


class Softplus(Module):
    """log(1 + exp(x)), without overflow."""

    def __call__(self, x: Any) -> Any:
        return np.logaddexp(x, 0)


class Tanh(Module):
    """tanh x."""

    def __call__(self, x: Any) -> Any:
        return np.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), without overflow."""

    def __call__(self, x: Any) -> Any:
        from scipy.special import expit

        return expit(x)


class Softmax(Module):
    """exp x / Σ exp x along `axis`. (`cross_entropy` takes logits, without this before it.)"""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def __call__(self, x: Any) -> Any:
        return ops.Softmax.apply(x, axis=self.axis)


class Hardtanh(Module):
    """x, cut off below `low` and above `high`."""

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        if not low < high:
            raise ValueError(f"Hardtanh needs low < high, not {low} and {high}")
        self.low, self.high = low, high

    def __call__(self, x: Any) -> Any:
        return np.clip(x, self.low, self.high)
