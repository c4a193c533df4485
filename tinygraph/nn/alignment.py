"""Connectionist temporal classification: the loss of a sequence of labels whose places in the input are not known."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..node import Node
from .losses import _mean


def ctc(logits: Any, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0,
        weights: Any = None) -> Any:
    """The mean over the samples of -log p(labels), p summed over all alignments (Graves et al., 2006).

    An alignment gives each place of the input a label or a blank; it stands for the labels that are left when repeated
    ones are made one and blanks are dropped. A sample that has more labels than places for them (a repeated label needs
    a blank before it) has none: its loss is inf, and its gradient 0. (PyTorch, unless it sums, divides each loss by the
    number of labels.)

    logits: (n, length, classes); the blank is a class.
    targets: integers (n, labels) in [0, classes), not blank; what is behind the labels of a sample does not count.
    input_lengths, target_lengths: integers (n,): how many places and labels each sample has.
    weights: one for each sample, for a weighted mean.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> round(float(nn.ctc(np.zeros((1, 2, 2)), np.array([[1]]), np.array([2]), np.array([1]))), 4)  # 3 of 4 alignments
    0.2877
    """
    given = {"targets": targets, "input_lengths": input_lengths, "target_lengths": target_lengths}
    targets, places, counts = (x if isinstance(x, Node) else np.asarray(x) for x in given.values())
    for name, x in zip(given, (targets, places, counts), strict=True):
        if x.dtype.kind not in "iu":
            raise TypeError(f"ctc: {name} must be integers, not {x.dtype}")
    if logits.ndim != 3 or targets.ndim != 2 or {targets.shape[:1], places.shape, counts.shape} != {logits.shape[:1]}:
        raise ValueError(f"ctc: takes logits (n, length, classes), targets (n, labels) and lengths (n,), but got the "
                         f"shapes {logits.shape}, {targets.shape}, {places.shape} and {counts.shape}")
    (n, length, classes), most = logits.shape, targets.shape[1]
    if not 0 <= blank < classes:
        raise ValueError(f"ctc: the blank must lie in [0, {classes}), not be {blank}")
    inside = np.arange(most) < counts[:, None]
    _check(targets, inside, places, counts, length, blank)

    # The labels with blanks between and around them; a place may follow the one before, or the last but one if between
    # them is a blank that is not needed.
    labels = ops.InRange.apply(np.where(inside, targets, blank), n=classes)
    none = np.full((n, most), blank)
    labels = np.reshape(np.stack([none, labels], axis=2), (n, 2 * most))
    labels = np.concatenate([labels, none[:, :1]], axis=1)
    skips = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])

    Z = logits - ops.StopGradient.apply(np.max(logits, axis=2, keepdims=True))
    log_p = Z - np.log(np.sum(np.exp(Z), axis=2, keepdims=True))  # of functions that compile to native code
    emitted = np.swapaxes(np.take_along_axis(log_p, labels[:, None], axis=2), 0, 1)  # (length, n, 2 labels + 1)
    nothing = np.full((n, 2), -np.inf, logits.dtype)
    begins = np.where(np.arange(2 * most + 1) < 2, emitted[0], nothing[:, :1])
    alphas = [begins]
    for log_e in emitted[1:]:  # alpha: the log of the sum over all alignments up to here
        alpha = alphas[-1]
        after = np.logaddexp(alpha, np.concatenate([nothing[:, :1], alpha[:, :-1]], axis=1))
        jumped = np.concatenate([nothing, np.where(skips, alpha[:, :-2], -np.inf)], axis=1)
        alphas.append(np.logaddexp(after, jumped) + log_e)
    samples = np.arange(n)
    last = np.stack(alphas)[places - 1, samples]
    before = np.where(counts > 0, last[samples, np.maximum(2 * counts - 1, 0)], -np.inf)
    return _mean(-np.logaddexp(last[samples, 2 * counts], before), weights, "ctc")


def _check(targets: Any, inside: Any, places: Any, counts: Any, length: int, blank: int) -> None:
    """What can be seen where values are known."""
    for name, x, low, high in (("input_lengths", places, 1, length), ("target_lengths", counts, 0, targets.shape[1])):
        if isinstance(x, np.ndarray) and x.size and not low <= x.min() <= x.max() <= high:
            raise ValueError(f"ctc: {name} must lie in [{low}, {high}], got {x.min()} to {x.max()}")
    if isinstance(targets, np.ndarray) and isinstance(inside, np.ndarray) and (targets == blank)[inside].any():
        raise ValueError(f"ctc: {blank} is the blank, and cannot be among the targets")
