"""Losses: what a network's outputs and the targets give, one number, the mean over the samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean of -log softmax(logits)[label], for logits (n, classes) and integer labels (n,)."""
    loss = ops.LogSoftmaxNLL.apply(logits, labels)
    return loss[0] if isinstance(loss, tuple) else loss  # on arrays an op returns what it keeps, too


def mean_squared_error(outputs: Any, targets: Any) -> Any:
    """The mean of (outputs - targets)², of the same shape."""
    return np.mean(np.square(outputs - targets))
