"""Metrics: how good outputs are, as sums that add up over batches and a last formula.

Most metrics are means over samples. Those that are not, such as R2, add up other sums. A function of one's own,
`f(outputs, targets) -> number`, is taken as the mean over the batch that it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .batches import count

Sums = np.ndarray


class Metric(NamedTuple):
    """`finish` of the sum, over all batches, of `sums(outputs, targets, weights)`; weights: one a sample, or None."""

    name: str
    sums: Callable[[Any, Any, Any], Sums]
    finish: Callable[[Sums], float]
    greater_is_better: bool = False


def mean_of(name: str, each: Callable[[Any, Any], Any], greater_is_better: bool = False) -> Metric:
    """The mean over samples of what `each(outputs, targets)` gives, one number or one row of numbers a sample."""
    def sums(outputs: Any, targets: Any, weights: Any) -> Sums:
        values = np.asarray(each(outputs, targets))
        values = values.reshape(len(values), -1).mean(axis=1)
        return np.array([values.sum(), len(values)] if weights is None else [values @ weights, weights.sum()])

    return Metric(name, sums, mean, greater_is_better)


def mean(sums: Sums) -> float:
    return float(sums[0] / sums[1])


def of_batches(name: str, function: Callable[..., Any], greater_is_better: bool = False) -> Metric:
    """The mean over batches of what `function(outputs, targets)` gives, with `weights=` if there are some; each batch
    counts as much as it has samples, or weights."""
    def sums(outputs: Any, targets: Any, weights: Any) -> Sums:
        if weights is None:
            n = float(count(targets))
            return np.array([float(function(outputs, targets)) * n, n])
        n = float(weights.sum())
        return np.array([float(function(outputs, targets, weights=weights)) * n, n])

    return Metric(name, sums, mean, greater_is_better)


def hits(outputs: np.ndarray, targets: np.ndarray) -> Any:
    """Whether the largest of the outputs along the last axis is the target; of one output, whether its sign tells.

    targets: labels of the shape of the outputs without the last axis; or, like the outputs, 0 or 1 for each logit.
    """
    if targets.shape == outputs.shape:
        return ((outputs > 0) == (targets > 0.5)) & ~np.isnan(outputs)
    _need_classes("accuracy", outputs, targets)
    return outputs.argmax(axis=-1) == targets


def hits_among(k: int) -> Callable[[np.ndarray, np.ndarray], Any]:
    def hits(outputs: np.ndarray, targets: np.ndarray) -> Any:
        """Whether fewer than k classes have a larger output than the target's."""
        _need_classes(f"top_{k}_accuracy", outputs, targets)
        of_target = np.take_along_axis(outputs, targets[..., None].astype(np.intp), -1)
        return (~(outputs <= of_target)).sum(axis=-1) < k  # of NaN none is right

    return hits


def _need_classes(name: str, outputs: np.ndarray, targets: np.ndarray) -> None:
    if targets.shape != outputs.shape[:-1] or outputs.shape[-1] < 2:
        raise ValueError(f"{name} takes outputs (..., classes) of two classes or more and labels (...), got "
                         f"{outputs.shape} and {targets.shape}")


def _alike(name: str, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if outputs.shape != targets.shape:
        raise ValueError(f"{name} takes outputs and targets of the same shape, got {outputs.shape} and {targets.shape}")
    return outputs - targets


def _absolute(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.abs(_alike("mean_absolute_error", outputs, targets))


def _squared(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.square(_alike("mean_squared_error", outputs, targets))


def _r2_sums(outputs: np.ndarray, targets: np.ndarray, weights: Any) -> Sums:
    """The weights, the targets, their squares and those of the errors, added up: a column an output."""
    errors = _alike("r2", outputs, targets).reshape(len(targets), -1).astype(float)
    y = targets.reshape(errors.shape).astype(float)
    w = np.ones(len(y)) if weights is None else weights
    return np.stack([w @ np.ones_like(y), w @ y, w @ (y * y), w @ (errors * errors)])


def _r2(sums: Sums) -> float:
    """1 - (sum of squared errors) / (sum of squared distances from the mean), the mean over outputs."""
    n, y, squares, errors = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(1 - errors / (squares - y * y / n)))


METRICS = {
    "accuracy": mean_of("accuracy", hits, greater_is_better=True),
    "mean_absolute_error": mean_of("mean_absolute_error", _absolute),
    "mean_squared_error": mean_of("mean_squared_error", _squared),
    "r2": Metric("r2", _r2_sums, _r2, greater_is_better=True),
}


def metric_of(given: Any) -> Metric:
    """A metric by name, or a function f(outputs, targets) -> number, of which smaller is better unless it has an
    attribute `greater_is_better`."""
    if isinstance(given, Metric):
        return given
    if isinstance(given, str):
        if given in METRICS:
            return METRICS[given]
        if found := re.fullmatch(r"top_([1-9]\d*)_accuracy", given):
            return mean_of(given, hits_among(int(found[1])), greater_is_better=True)
        raise ValueError(f"no metric is called {given!r}: choose {', '.join(METRICS)} or top_K_accuracy, K a number, "
                         "or give a function of outputs and targets")
    if not callable(given):
        raise TypeError(f"a metric is a name or a function of outputs and targets, not {type(given).__name__}")
    name = getattr(given, "__name__", type(given).__name__)
    return of_batches(name, given, getattr(given, "greater_is_better", False))
