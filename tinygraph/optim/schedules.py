"""Schedules: learning rates as functions of the number of steps so far, t = 0, 1, ...

They are written with NumPy, so they run on a number and, in a compiled step, on a node. Any function of yours that does
is a schedule too. All lengths are in steps: an epoch has `len(X) / batch_size` of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..node import State

Schedule = Callable[[Any], Any]


def _positive(schedule: Any, *names: str) -> None:
    for name in names:
        value = getattr(schedule, name)
        if not (isinstance(value, float | int | np.number) and 0 < value < math.inf):
            raise ValueError(f"{type(schedule).__name__}: {name} must be a number above 0, not {value!r}")


def _wave(start: float, end: float, part: Any) -> Any:
    """From start to end along half a cosine, while `part` goes from 0 to 1."""
    return end + (start - end) * 0.5 * (1 + np.cos(math.pi * part))


@dataclass(frozen=True)
class Step:
    """lr, times `factor` after each `every` steps."""

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _positive(self, "lr", "every", "factor")

    def __call__(self, t: Any) -> Any:
        return self.lr * float(self.factor) ** np.floor_divide(t, self.every)


@dataclass(frozen=True)
class MultiStep:
    """lr, times `factor` at each of these steps."""

    lr: float
    milestones: Sequence[int]
    factor: float = 0.1

    def __post_init__(self) -> None:
        _positive(self, "lr", "factor")

    def __call__(self, t: Any) -> Any:
        return self.lr * float(self.factor) ** sum(np.where(t >= milestone, 1, 0) for milestone in self.milestones)


@dataclass(frozen=True)
class Exponential:
    """lr times `factor` to the power of t."""

    lr: float
    factor: float

    def __post_init__(self) -> None:
        _positive(self, "lr", "factor")

    def __call__(self, t: Any) -> Any:
        return self.lr * float(self.factor) ** t


@dataclass(frozen=True)
class Cosine:
    """From lr down to `minimum` along half a wave of `steps` steps, where it stays (Loshchilov and Hutter, 2017)."""

    lr: float
    steps: int
    minimum: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "lr", "steps")

    def __call__(self, t: Any) -> Any:
        return _wave(self.lr, self.minimum, np.minimum(t, self.steps) / self.steps)


@dataclass(frozen=True)
class CosineRestarts:
    """`Cosine`, started anew after `steps` steps, then after `growth` times as many, and so on (SGDR, 2017)."""

    lr: float
    steps: int
    growth: int = 1
    minimum: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "lr", "steps")
        if self.growth < 1 or self.growth != int(self.growth):
            raise ValueError(f"CosineRestarts: growth must be an integer of 1 or more, not {self.growth!r}")

    def __call__(self, t: Any) -> Any:
        if self.growth == 1:
            return _wave(self.lr, self.minimum, np.remainder(t, self.steps) / self.steps)
        # Wave n begins at steps (growth**n - 1) / (growth - 1), a whole number, as t is: t + 1/2 lies in the same wave,
        # and leaves the logarithm room for its rounding.
        n = np.floor(np.log1p((t + 0.5) * ((self.growth - 1) / self.steps)) / math.log(self.growth))
        length = self.steps * float(self.growth) ** n
        return _wave(self.lr, self.minimum, (t - (length - self.steps) / (self.growth - 1)) / length)


@dataclass(frozen=True)
class OneCycle:
    """Up to `lr` in the share `rise` of the steps, then down to almost 0, along cosines (Smith and Topin, 2018).

    It starts at lr / start and ends at lr / start / end, as in PyTorch.
    """

    lr: float
    steps: int
    rise: float = 0.3
    start: float = 25.0
    end: float = 1e4

    def __post_init__(self) -> None:
        _positive(self, "lr", "steps", "start", "end")
        if not (0 < self.rise < 1 and self.rise * self.steps > 1):
            raise ValueError("OneCycle: rise must lie in (0, 1) and give the rate a step to rise in; it is "
                             f"{self.rise!r} of {self.steps}")

    def __call__(self, t: Any) -> Any:
        first, top, last = self.lr / self.start, self.rise * self.steps - 1, self.steps - 1
        t = np.minimum(t, last)
        rising, falling = _wave(first, self.lr, t / top), _wave(self.lr, first / self.end, (t - top) / (last - top))
        return np.where(t <= top, rising, falling)


@dataclass(frozen=True)
class WarmUp:
    """Along a line from `start` times the rate to the rate, in `steps` steps; then that rate or schedule begins.

    lr: a number, or the schedule that follows, whose t then counts from 0.
    """

    lr: float | Schedule
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "steps", *([] if callable(self.lr) else ["lr"]))
        if not 0 <= self.start <= 1:
            raise ValueError(f"WarmUp: start must lie in [0, 1], not {self.start!r}")

    def __call__(self, t: Any) -> Any:
        begun = np.minimum(t, self.steps)
        return (self.lr(t - begun) if callable(self.lr) else self.lr) * (
            self.start + (1 - self.start) * begun / self.steps)


class Plateau:
    """A rate that is multiplied by `factor` when a metric has not fallen for more than `patience` observations.

    Hand the metric to `observe`, for example after each epoch; of one that should grow, its negative. What it remembers
    is in states.

    minimum: below which the rate does not go.
    threshold: the share by which the metric must fall to count.
    """

    def __init__(self, lr: float, factor: float = 0.1, patience: int = 10, minimum: float = 0.0,
                 threshold: float = 1e-4) -> None:
        self.lr, self.factor, self.patience, self.minimum, self.threshold = lr, factor, patience, minimum, threshold
        _positive(self, "lr", "factor")
        if factor >= 1:
            raise ValueError(f"Plateau: factor must be below 1, not {factor!r}")
        self.rate = State(np.float64(lr))
        self.best, self.waited = State(np.float64(np.inf)), State(np.int64(0))

    def __repr__(self) -> str:
        return (f"Plateau(lr={self.lr}, factor={self.factor}, patience={self.patience}, minimum={self.minimum}, "
                f"threshold={self.threshold})")

    def __call__(self, t: Any) -> Any:
        return self.rate.value

    def observe(self, metric: float) -> None:
        """A new value of the metric, the smaller the better; NaN counts as no better."""
        best = float(self.best.value)
        if metric < best - self.threshold * abs(best) or (best == math.inf and metric < best):
            self.best.value, self.waited.value = np.float64(metric), np.int64(0)
            return
        self.waited.value = self.waited.value + 1
        if self.waited.value > self.patience:
            self.rate.value = np.float64(max(self.rate.value * self.factor, self.minimum))
            self.waited.value = np.int64(0)
