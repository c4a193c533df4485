"""Schedules: learning rates as functions of the number of steps so far.

They are written with NumPy, so they run on a number and, in a compiled step, on a node. Any function of yours that does
is a schedule too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..node import State

Schedule = Callable[[Any], Any]


def _positive(name: str, **values: float) -> None:
    for key, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}: {key} must be above 0, not {value!r}")


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr, times `factor` after each `every` steps."""
    _positive("step_decay", every=every, factor=factor)
    return lambda t: lr * float(factor) ** np.floor_divide(t, every)


def multi_step(lr: float, milestones: list[int], factor: float = 0.1) -> Schedule:
    """lr, times `factor` at each of these steps."""
    _positive("multi_step", factor=factor)
    return lambda t: lr * float(factor) ** sum(np.where(t >= milestone, 1, 0) for milestone in milestones)


def exponential(lr: float, factor: float) -> Schedule:
    """lr times `factor` to the power of the number of steps."""
    _positive("exponential", factor=factor)
    return lambda t: lr * float(factor) ** t


def cosine(lr: float, steps: int, minimum: float = 0.0) -> Schedule:
    """From lr down to `minimum` along half a wave of `steps` steps, where it stays (Loshchilov and Hutter, 2017)."""
    _positive("cosine", steps=steps)
    return lambda t: minimum + (lr - minimum) * 0.5 * (1 + np.cos(math.pi / steps * np.where(t < steps, t, steps)))


def cosine_restarts(lr: float, steps: int, growth: int = 1, minimum: float = 0.0) -> Schedule:
    """`cosine`, started anew after `steps` steps, then after `growth` times as many, and so on (SGDR, 2017)."""
    _positive("cosine_restarts", steps=steps, growth=growth)

    def schedule(t: Any) -> Any:
        if growth == 1:
            return wave(np.remainder(t, steps) / steps)
        # The n-th wave starts at steps (growth**n - 1) / (growth - 1).
        n = np.floor(np.log1p(t * ((growth - 1) / steps)) / math.log(growth) + 1e-9)
        length = steps * float(growth) ** n
        return wave((t - (length - steps) / (growth - 1)) / length)

    def wave(part: Any) -> Any:
        return minimum + (lr - minimum) * 0.5 * (1 + np.cos(math.pi * part))

    return schedule


def one_cycle(peak: float, steps: int, rise: float = 0.3, start: float = 25.0, end: float = 1e4) -> Schedule:
    """Up to `peak` in the share `rise` of the steps, then down to almost 0, along cosines (Smith and Topin, 2018).

    It starts at peak / start and ends at peak / start / end, as in PyTorch.
    """
    _positive("one_cycle", steps=steps, start=start, end=end)
    if not (0 < rise < 1 and rise * steps > 1):
        raise ValueError(f"one_cycle: rise must lie in (0, 1) and give the rate a step to rise in, not {rise!r}")
    first, top, last = peak / start, rise * steps - 1, steps - 1

    def schedule(t: Any) -> Any:
        t = np.where(t < last, t, last)
        rising, falling = t / top, (t - top) / (last - top)
        return np.where(t <= top, between(first, peak, rising), between(peak, first / end, falling))

    def between(a: float, b: float, part: Any) -> Any:
        return b + (a - b) * 0.5 * (1 + np.cos(math.pi * part))

    return schedule


def warm_up(lr: float | Schedule, steps: int, start: float = 0.0) -> Schedule:
    """Along a line from `start` times the rate to the rate, in `steps` steps; then that rate or schedule begins."""
    _positive("warm_up", steps=steps)
    after = lr if callable(lr) else lambda t: lr

    def schedule(t: Any) -> Any:
        begun = np.where(t < steps, t, steps)
        return after(t - begun) * (start + (1 - start) * begun / steps)

    return schedule


class Plateau:
    """A rate that is multiplied by `factor` when a metric has not fallen for more than `patience` observations.

    Hand the metric to `observe`, for example after each epoch. What it remembers is in states.

    minimum: below which the rate does not go.
    threshold: the share by which the metric must fall to count.
    """

    def __init__(self, lr: float, factor: float = 0.1, patience: int = 10, minimum: float = 0.0,
                 threshold: float = 1e-4) -> None:
        _positive("Plateau", lr=lr, factor=factor)
        if factor >= 1:
            raise ValueError(f"Plateau: factor must be below 1, not {factor!r}")
        self.factor, self.patience, self.minimum, self.threshold = factor, patience, minimum, threshold
        self.rate = State(np.float64(lr))
        self.best, self.waited = State(np.float64(np.inf)), State(np.int64(0))

    def __call__(self, t: Any) -> Any:
        return self.rate.value

    def observe(self, metric: float) -> None:
        """A new value of the metric, the smaller the better."""
        best = float(self.best.value)
        if best == np.inf or metric < best - self.threshold * abs(best):
            self.best.value, self.waited.value = np.float64(metric), np.int64(0)
            return
        self.waited.value = self.waited.value + 1
        if self.waited.value > self.patience:
            self.rate.value = np.float64(max(self.rate.value * self.factor, self.minimum))
            self.waited.value = np.int64(0)
