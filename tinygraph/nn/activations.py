"""Activations: layers without parameters that work entry by entry (softmax: along an axis).

What the derivative is at a kink is in docs/conventions.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from .module import Module


def output(y: Any) -> Any:
    """What an op that keeps something gives on arrays: its output alone."""
    return y[0] if isinstance(y, tuple) else y


class ReLU(Module):
    """max(0, x)."""

    def __call__(self, x: Any) -> Any:
        return ops.ReLU.apply(x)


class LeakyReLU(Module):
    """x where x > 0, slope x elsewhere."""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def __call__(self, x: Any) -> Any:
        return ops.LeakyReLU.apply(x, slope=self.slope)


class ELU(Module):
    """x where x > 0, alpha (exp(x) - 1) elsewhere (Clevert et al., 2016)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def __call__(self, x: Any) -> Any:
        return ops.ELU.apply(x, alpha=self.alpha)


class GELU(Module):
    """x Φ(x), Φ the normal distribution (Hendrycks and Gimpel, 2016).

    approximate: with tanh in its place (their equation 2), which is faster and off by up to 5e-4.
    """

    def __init__(self, approximate: bool = False) -> None:
        self.approximate = approximate

    def __call__(self, x: Any) -> Any:
        return output(ops.GELU.apply(x) if self.approximate else ops.ErfGELU.apply(x))


class SiLU(Module):
    """x sigmoid(x), also called swish."""

    def __call__(self, x: Any) -> Any:
        return output(ops.SiLU.apply(x))


class Softplus(Module):
    """log(1 + exp(x)), without overflow."""

    def __call__(self, x: Any) -> Any:
        return ops.Softplus.apply(x)


class Tanh(Module):
    """tanh x."""

    def __call__(self, x: Any) -> Any:
        return np.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), without overflow."""

    def __call__(self, x: Any) -> Any:
        return ops.Sigmoid.apply(x)


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
