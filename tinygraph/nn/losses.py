"""Losses: one number that says how far a network's outputs are from the targets, the mean over the samples.

Each is a function (outputs, targets, *, weights=None). With weights, one number >= 0 for each sample, it is the
weighted mean Σ w l / Σ w. On nodes the result is a node, on arrays an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..node import Node
from .activations import output
from .layers import entries


def cross_entropy(logits: Any, labels: Any, *, class_weights: Any = None, label_smoothing: float = 0.0,
                  weights: Any = None) -> Any:
    """The mean of -log softmax(logits)[label], for logits (n, classes) and integer labels (n,).

    More axes may stand before that of the classes, in both.

    class_weights: (classes,), the weight of a sample by its label; the mean is the weighted one, as in PyTorch.
    label_smoothing: in [0, 1]; the share of a sample that is spread evenly over all classes (Szegedy et al., 2016).
    weights: like labels, the weight of each sample.

    ValueError for labels that are no classes or do not fit, TypeError for labels that are not integers.
    """
    labels = _array(labels)
    if not labels.size:
        raise ValueError(f"cross_entropy: no samples: the shape is {logits.shape}")
    if class_weights is None and weights is None and not label_smoothing:
        return output(ops.LogSoftmaxNLL.apply(logits, labels))
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must lie in [0, 1], not {label_smoothing}")
    classes = logits.shape[-1]
    labels = _checked_labels(labels, logits.shape[:-1], classes, logits, "cross_entropy")
    of_class = np.ones(classes) if class_weights is None else class_weights
    of_class = _checked_weights(of_class, (classes,), logits.dtype, "cross_entropy", "class_weights", "class")
    of_sample, found = entries(of_class, labels), _log_softmax(logits)
    picked = -of_sample * np.take_along_axis(found, labels[..., None], axis=-1)[..., 0]
    if label_smoothing:
        picked = (1 - label_smoothing) * picked - label_smoothing / classes * (found @ of_class)
    if weights is not None:
        weights = _checked_weights(weights, labels.shape, logits.dtype, "cross_entropy")
        picked, of_sample = weights * picked, weights * of_sample
    total = np.sum(of_sample)
    if not isinstance(total, Node) and not total:
        raise ValueError("cross_entropy: all samples have weight 0, so they have no mean")
    return np.sum(picked) / total


def binary_cross_entropy(logits: Any, targets: Any, *, weights: Any = None) -> Any:
    """The mean of -t log p - (1 - t) log(1 - p) with p = sigmoid(logit), without overflow.

    logits and targets have one shape; targets lie in [0, 1].
    """
    targets = _like(logits, targets, "binary_cross_entropy")
    if isinstance(targets, np.ndarray) and targets.size and not 0 <= targets.min() <= targets.max() <= 1:
        raise ValueError(f"binary_cross_entropy: targets must lie in [0, 1], got {targets.min()} to {targets.max()}")
    return _mean(ops.LogisticNLL.apply(logits, targets), weights, "binary_cross_entropy")


def mean_squared_error(outputs: Any, targets: Any, *, weights: Any = None) -> Any:
    """The mean of (outputs - targets)², both of one shape, over all axes."""
    targets = _like(outputs, targets, "mean_squared_error")
    return _mean(np.square(outputs - targets), weights, "mean_squared_error")


def mean_absolute_error(outputs: Any, targets: Any, *, weights: Any = None) -> Any:
    """The mean of |outputs - targets|, both of one shape, over all axes."""
    targets = _like(outputs, targets, "mean_absolute_error")
    return _mean(np.abs(outputs - targets), weights, "mean_absolute_error")


def huber(outputs: Any, targets: Any, *, delta: float = 1.0, weights: Any = None) -> Any:
    """The mean of e²/2 where |e| <= delta, else of delta (|e| - delta/2), with e = outputs - targets (Huber, 1964)."""
    if not delta > 0:
        raise ValueError(f"huber: delta must be above 0, not {delta}")
    e = outputs - _like(outputs, targets, "huber")
    size = np.abs(e)
    return _mean(np.where(size <= delta, 0.5 * np.square(e), delta * (size - 0.5 * delta)), weights, "huber")


def hinge(outputs: Any, labels: Any, *, weights: Any = None) -> Any:
    """The mean of max(0, 1 - margin).

    Labels are the numbers of classes. outputs (n,) tell class 1 (above 0) from class 0: the margin is the output, or
    less it. outputs (n, classes) have the margin of the label's over the largest other one (Crammer and Singer, 2001).
    """
    labels = _array(labels)
    if outputs.ndim == 1:
        labels = _checked_labels(labels, outputs.shape, 2, outputs, "hinge")
        margin = outputs * (2 * labels.astype(outputs.dtype) - 1)
    else:
        if outputs.ndim != 2 or outputs.shape[1] < 2:
            raise ValueError(f"hinge: outputs are (n,) or (n, classes) with two classes or more, not {outputs.shape}")
        one_hot = _one_hot(labels, outputs, "hinge")
        margin = np.sum(np.where(one_hot, outputs, 0), axis=1) - np.max(np.where(one_hot, -np.inf, outputs), axis=1)
    return _mean(ops.ReLU.apply(1 - margin), weights, "hinge")


def kl_divergence(logits: Any, targets: Any, *, weights: Any = None) -> Any:
    """The mean over samples of Σ t log(t / p) over the last axis, with p = softmax(logits).

    logits and targets have one shape; a sample's targets are probabilities: at least 0, of sum 1.
    """
    from scipy.special import xlogy

    targets = _like(logits, targets, "kl_divergence")
    log_p = np.where(targets != 0, _log_softmax(logits), 0)  # 0 times the -inf of a masked logit is 0 here
    return _mean(np.sum(xlogy(targets, targets).astype(logits.dtype) - targets * log_p, axis=-1), weights,
                 "kl_divergence")


def _log_softmax(x: Any) -> Any:
    """log softmax x along the last axis, of steps that every target of `tg.compile` has."""
    x = x - ops.StopGradient.apply(np.max(x, axis=-1, keepdims=True))
    return x - np.log(np.sum(np.exp(x), axis=-1, keepdims=True))


def _array(x: Any) -> Any:
    return x if isinstance(x, Node) else np.asarray(x)


def _one_hot(labels: Any, outputs: Any, loss: str) -> Any:
    """The mask, like the outputs (..., classes), that holds at the label of each sample."""
    labels = _checked_labels(labels, outputs.shape[:-1], outputs.shape[-1], outputs, loss)
    return labels[..., None] == np.arange(outputs.shape[-1])


def _checked_labels(labels: Any, shape: tuple[int, ...], classes: int, outputs: Any, loss: str) -> Any:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{loss}: labels must be integers, not {labels.dtype}")
    if labels.shape != shape:
        raise ValueError(f"{loss}: labels of shape {labels.shape} do not fit outputs of shape {outputs.shape}")
    return ops.InRange.apply(labels, n=classes)


def _like(outputs: Any, targets: Any, loss: str) -> Any:
    """The targets, of the dtype of the outputs: the network decides how many digits count."""
    targets = _array(targets)
    if targets.shape != outputs.shape:
        raise ValueError(f"{loss}: outputs of shape {outputs.shape} and targets of shape {targets.shape} must have one "
                         "shape: reshape one of them")
    if outputs.dtype.kind != "f" or targets.dtype.kind not in "biuf":
        raise TypeError(f"{loss}: takes real outputs and targets, not {outputs.dtype} and {targets.dtype}")
    return targets.astype(outputs.dtype)


def _checked_weights(weights: Any, shape: tuple[int, ...], dtype: Any, loss: str, name: str = "weights",
                     what: str = "sample") -> Any:
    weights = _array(weights).astype(dtype)
    if weights.shape != shape:
        raise ValueError(f"{loss}: {name} must have shape {shape}, one number for each {what}, not {weights.shape}")
    if isinstance(weights, np.ndarray) and (weights.min() < 0 or not weights.any()):
        raise ValueError(f"{loss}: {name} must be numbers >= 0, and not all 0: they are {weights.min()} to "
                         f"{weights.max()}")
    return weights


def _mean(losses: Any, weights: Any, loss: str) -> Any:
    """The mean over samples, which are along the first axis, of the means over all other axes."""
    if not losses.size:
        raise ValueError(f"{loss}: no samples: the shape is {losses.shape}")
    if weights is None:
        return np.mean(losses)
    weights = _checked_weights(weights, losses.shape[:1], losses.dtype, loss)
    return np.sum(weights * np.mean(losses, axis=tuple(range(1, losses.ndim)))) / np.sum(weights)
