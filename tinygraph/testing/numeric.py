"""Numerical derivatives that know how wrong they may be.

`Probe` holds a function of arrays at a point and answers: what is its derivative along a direction, for every entry of
its value, with an error bar? It sweeps the step over many orders of magnitude, one side at a time, extrapolates
(Richardson), and trusts the finest stretch of steps whose answers agree. What the function itself loses to rounding is
measured, not guessed: by calling it at points that differ in their last digits. Where both sides agree, the function is
smooth; where they do not, both slopes are told; where the slope grows without end, that is told too. A function that
is analytic in code is differentiated by complex step, whose bar is a few units in the last place.

This module knows functions and arrays, and nothing of gradients, rules and nodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Sequence[np.ndarray]

RATIO = 4.0  # from one step to the next finer one
FINEST = 2.0**-40  # of the entry's own size: the last step
JITTERS = 3  # points nearby at which noise is measured
NEARBY = np.array([-64, -45, -32, -20, -9, 7, 18, 30, 47, 64])  # and others on a line, in units in the last place
EPS = float(np.finfo(float).eps)


@dataclass
class Slopes:
    """Derivatives along one direction, an entry for every output: each value is right up to its error.

    left, right: the slopes on both sides; where the function has no kink, both are the derivative. kink: where they
    differ. endless: where the slope grows beyond all bounds (then left and right have the sign of that).
    The error is infinite where nothing could be found out.
    """

    left: np.ndarray
    right: np.ndarray
    error: np.ndarray
    kink: np.ndarray
    endless: np.ndarray

    def weighted(self, weights: np.ndarray) -> tuple[float, float, float]:
        """The least and the largest value of the weighted sum of derivatives, and its error."""
        with np.errstate(invalid="ignore"):
            parts = np.stack([self.left * weights, self.right * weights])
        parts[:, weights == 0] = 0
        error = np.where(weights == 0, 0, self.error * np.abs(weights))
        return float(parts.min(0).sum()), float(parts.max(0).sum()), float(error.sum())


class Probe:
    """A function of arrays of float64, at a point."""

    def __init__(self, f: Callable[..., Any], xs: Arrays) -> None:
        self.xs = [np.array(x, float) for x in xs]
        self.f = f
        self.value = self(*self.xs)
        rng = np.random.default_rng(0)  # points that differ from this one in the last digits
        self.near = [[x * (1 + rng.choice([-2, -1, 1, 2], x.shape) * EPS) for x in self.xs] for _ in range(JITTERS)]
        self.noise = self._noise()
        self.analytic = self._is_analytic()

    def __call__(self, *xs: Any) -> np.ndarray:
        """The value as a flat array; NaN where the function cannot be evaluated."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                y = np.asarray(self.f(*[x.copy() for x in xs]))
            except (ArithmeticError, ValueError, np.linalg.LinAlgError):
                if not hasattr(self, "value"):
                    raise
                return np.full(self.value.size, np.nan)
        if y.dtype.kind == "c" and all(x.dtype.kind != "c" for x in xs):  # a square root of a negative number, say
            return np.full(y.size, np.nan)
        return y.ravel() if y.dtype.kind == "c" else y.ravel().astype(float)

    def at(self, directions: Arrays, t: Any) -> np.ndarray:
        return self(*[x + t * v for x, v in zip(self.xs, directions, strict=True)])

    # ------------------------------------------------------------------------------------------------------- noise

    def _noise(self) -> np.ndarray:
        """By how much a value may be off: what it changes by when the last digits of the inputs do.

        A function that loses digits of its input (it adds 1e8, it computes in float32) is a staircase: nothing changes
        until a step is reached. So where nothing does, larger changes are tried; a value that is then the same at two
        points, and another one farther on, is a stair, and its height is noise.
        """
        with np.errstate(all="ignore"):
            spread = np.max([np.abs(self(*xs) - self.value) for xs in self.near], axis=0)
            rng = np.random.default_rng(2)
            signs = [rng.choice([-1, 1], x.shape) for x in self.xs]

            def nearby(change: float, zeros: float = 0) -> np.ndarray:
                return self(*[x + np.where(x != 0, x * change, zeros * change * min(1.0, _largest(x))) * u
                              for x, u in zip(self.xs, signs, strict=True)])

            line = np.array([nearby(t * EPS) for t in NEARBY]) - self.value
            slope = NEARBY @ line / (NEARBY @ NEARBY)
            spread = np.fmax(spread, np.abs(line - NEARBY[:, None] * slope).max(0))
            change, still = 64 * EPS, spread == 0
            while still.any() and change < 1e-4:
                change *= 2
                one, two, far = (nearby(c * change, 1) for c in (1, 1.01, 4.1))
                moved = still & (one != self.value)
                stair = moved & (one == two) & (far != one)
                spread = np.where(stair, np.abs(one - self.value), spread)
                still &= ~stair & ~(moved & (one != two))
        return np.where(np.isfinite(self.value), 2 * spread + 2 * EPS * np.abs(self.value), 0)

    # ------------------------------------------------------------------------------------------------ complex step

    def _is_analytic(self) -> bool:
        """Whether the code computes on complex numbers what it does on real ones: then an imaginary step gives its
        derivative, and a real one the same up to its error."""
        rng = np.random.default_rng(1)
        directions = [s * rng.uniform(0.5, 1, s.shape) * rng.choice([-1, 1], s.shape) for s in map(_scale, self.xs)]
        try:
            h = 1e-20 * self._own(directions)
            stepped = self.at(directions, 1j * h)
        except (TypeError, NotImplementedError):  # not for complex numbers
            return False
        if stepped.dtype.kind != "c" or stepped.size != self.value.size:
            return False
        with np.errstate(all="ignore"):
            if not (np.abs(stepped.real - self.value) <= self.noise + 1e-300).all():
                return False
            slope = stepped.imag / h
            if not np.allclose(self.at(directions, 1e-10j * h).imag / (1e-10 * h), slope, 1e-13, 0):
                return False
            found = self._swept(directions)
        sure = np.isfinite(found.error) & ~found.kink
        return bool(sure.all() and (np.abs(slope - found.right) <= 2 * found.error + 1e-12 * np.abs(slope)).all())

    def _stepped(self, directions: Arrays) -> Slopes:
        h = 1e-20 * self._own(directions)
        with np.errstate(all="ignore"):
            slope = self.at(directions, 1j * h).imag / h
            near = [self(*[x + 1j * h * v for x, v in zip(xs, directions, strict=True)]).imag / h
                    for xs in self.near[:2]]
            error = 4 * np.max([np.abs(other - slope) for other in near], axis=0) + 8 * EPS * np.abs(slope)
        no = np.zeros(slope.shape, bool)
        return Slopes(slope, slope, np.where(np.isfinite(slope), error, np.inf), no, no)

    def _own(self, directions: Arrays) -> float:
        """The step at which an entry moves by its own size (by 1, if it is 0): the smallest of those that move."""
        found = [float(np.min(np.where(x != 0, np.abs(x), 1)[v != 0] / np.abs(v[v != 0])))
                 for x, v in zip(self.xs, directions, strict=True) if (v != 0).any()]
        return min(found, default=1.0)

    # ------------------------------------------------------------------------------------------------- differences

    def slopes(self, directions: Arrays) -> Slopes:
        """The derivatives along a direction, an array for each input."""
        if self.analytic:
            found = self._stepped(directions)
            if np.isfinite(found.error).all():
                return found
        return self._swept(directions)

    def _swept(self, directions: Arrays) -> Slopes:
        steps = self._steps(directions)
        with np.errstate(all="ignore"):
            ahead = np.array([self.at(directions, h) for h in steps])
            behind = np.array([self.at(directions, -h) for h in steps])
            h, noise = steps[:, None], self.noise / steps[:, None]
            right, right_error = _settled((ahead - self.value) / h, noise, 1)
            left, left_error = _settled((self.value - behind) / h, noise, 1)
            middle, middle_error = _settled((ahead - behind) / (2 * h), noise, 2)
            differ = np.abs(right - left) > 3 * (right_error + left_error)
            # One side alone: the edge of the domain.
            only_right, only_left = ~np.isfinite(left_error), ~np.isfinite(right_error)
            left, right = np.where(only_right, right, left), np.where(only_left, left, right)
            smooth = ~differ & np.isfinite(middle_error)
            # Seen from both sides, with a bar that both sides allow.
            between = np.abs(middle - (left + right) / 2) <= 3 * (right_error + left_error + middle_error)
            smooth &= between
            error = np.where(smooth, middle_error, np.fmax(np.where(only_left, left_error, right_error),
                                                           np.where(only_right, right_error, left_error)))
            left, right = np.where(smooth, middle, left), np.where(smooth, middle, right)
            kink = differ & ~only_left & ~only_right
            up, down = _endless((ahead - self.value) / h, noise), _endless((self.value - behind) / h, noise)
            endless = (up != 0) | (down != 0)
            right, left = np.where(up != 0, up * np.inf, right), np.where(down != 0, down * np.inf, left)
            right = np.where(endless & (up == 0) & ~np.isfinite(right_error), left, right)
            left = np.where(endless & (down == 0) & ~np.isfinite(left_error), right, left)
            error = np.where(endless, 0, error)
        return Slopes(left, right, error, kink & ~endless, endless)

    def _steps(self, directions: Arrays) -> np.ndarray:
        """From a fraction of the arrays' size to a tiny one of the smallest entry that moves."""
        largest = max((float(np.max(np.abs(v))) for v in directions if v.size), default=1.0)
        own = self._own(directions)
        top = 0.25 * max(own, min(1.0, max(map(_largest, self.xs), default=1.0)) / largest)
        # At 0 nothing is lost by adding a tiny step.
        at_zero = all((x[v != 0] == 0).all() for x, v in zip(self.xs, directions, strict=True))
        count = int(np.ceil(np.log(top / (own * (FINEST**2 if at_zero else FINEST))) / np.log(RATIO)))
        return top * RATIO ** -np.arange(min(max(count, 8), 40))


def _settled(quotients: np.ndarray, noise: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """The limit of difference quotients for steps that shrink, row by row, and its error.

    order: the power of the step in the error's first term, and by how much the powers grow (1: one-sided, 2: central).
    Every stretch of three rows is extrapolated twice; what the extrapolations differ by, and the noise, is its error.
    From the finest stretch on, coarser ones are believed as long as they agree with all finer ones.
    """
    k = RATIO ** (order * np.arange(1, 3))
    first = quotients[1:] - quotients[:-1]
    once = quotients[1:] + first / (k[0] - 1)
    value = once[1:] + (once[1:] - once[:-1]) / (k[1] - 1)
    error = (np.abs(value - once[1:]) + np.abs(once[1:] - once[:-1]) / k[1]
             + 3 * noise[2:] + 4 * EPS * np.abs(value))
    # Slower than the powers that are extrapolated, as |x|^1.5 is: what is left is a geometric series.
    pace = np.abs(first[1:] / first[:-1])
    slow = (pace > 1.5 / k[0]) & (np.abs(first[1:]) > 6 * noise[2:])
    error = np.where(slow, error + 2 * np.abs(first[1:]) * np.where(pace < 0.9, pace / (1 - pace), np.inf), error)
    error = np.where(np.isfinite(value) & np.isfinite(error), error, np.inf)
    best, best_error = value[-1].copy(), error[-1].copy()
    low, high = best - best_error, best + best_error
    low, high = np.where(np.isfinite(best_error), low, -np.inf), np.where(np.isfinite(best_error), high, np.inf)
    open_ = np.ones(best.shape, bool)
    for v, e in zip(value[-2::-1], error[-2::-1], strict=True):
        open_ &= ~(np.isfinite(e) & ((v - e > high) | (v + e < low)))
        open_ &= np.isfinite(e) | ~np.isfinite(best_error)  # beyond the edge of the domain nothing is believed
        better = open_ & (e < best_error)
        best, best_error = np.where(better, v, best), np.where(better, e, best_error)
        inside = open_ & np.isfinite(e)
        low, high = np.where(inside, np.fmax(low, v - e), low), np.where(inside, np.fmin(high, v + e), high)
    return best, best_error


def _endless(quotients: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Where quotients grow with every finer step, by more than noise: the sign of that, 0 elsewhere."""
    size = np.abs(quotients)
    clear = noise < 0.01 * size
    pace = size[1:] / size[:-1]
    growing = (pace > 1.1) & (pace < 0.98 * RATIO) & clear[1:] & clear[:-1]  # a jump grows as the step shrinks
    growing &= np.sign(quotients[1:]) == np.sign(quotients[:-1])
    fine = np.cumprod(clear[::-1] == 0, axis=0)[::-1].astype(bool)[1:]  # noisy from here to the finest
    enough = (growing & np.cumprod((growing | fine)[::-1], axis=0)[::-1].astype(bool)).sum(0) >= 8
    sign = np.sign(np.where(np.isfinite(quotients), quotients, 0)[-1])
    return np.where(enough & np.isfinite(quotients).any(0), sign, 0)


def _scale(x: np.ndarray) -> np.ndarray:
    """The size of each entry, or that of the array where it is 0."""
    return np.where(x != 0, np.abs(x), min(1.0, _largest(x)) or 1.0)


def _largest(x: np.ndarray) -> float:
    return float(np.max(np.abs(x), initial=0)) or 1.0
