"""The ops of the documents' network that are more than one NumPy function: fused, each with a rule derived by hand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..op import Op
from .selection import Keep
from .shaping import StopGradient


class AddBias(Op):
    """Y = Z + b, the bias repeated for every sample;   dZ = dY,   db = sum of dY over the samples

    Z (m, n) with samples in columns takes b (m, 1); Z (..., m) with samples along the first axes takes b (m,).
    """

    def forward(self, Z: Any, b: Any) -> Any:
        Y = Z + b
        if b.shape != (Z.shape[-1:] if Z.ndim != 2 or b.ndim != 2 else (Z.shape[0], 1)) or not Z.ndim:
            raise ValueError(f"a bias of shape {b.shape} does not fit values of shape {Z.shape}: give (m, 1) for "
                             "values (m, n) with samples in columns, (m,) for values (..., m) with samples in rows")
        return Y

    def backward(self, dY: Any, Y: Any, Z: Any, b: Any) -> Any:
        if b.ndim == 2 and dY.__class__ is np.ndarray:
            return dY, lambda: dY.dot(_filled(dY.shape[1], 1, dY.dtype)[:, None])  # BLAS sums rows twice as fast
        if b.ndim == 2:
            return dY, lambda: np.add.reduce(dY, axis=1, keepdims=True)
        return dY, lambda: np.add.reduce(dY, axis=tuple(range(dY.ndim - 1)))


class ReLU(Op):
    """y = max(0, x);   dx = dy where x > 0, and 0 elsewhere, at 0 too"""
    selecting = True

    def forward(self, x: Any) -> Any:
        x = np.asarray(x)
        zeros = np.zeros(x.shape, x.dtype)
        return np.maximum(x, zeros, out=zeros)  # up to twice as fast as np.maximum(x, 0.0)

    def expand(self, x: Any) -> Any:  # a function of x alone: np.maximum would call 0 a tie
        return np.where(x <= 0, 0, x)

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return Keep.apply(grad, y > 0)


class LogSoftmaxNLL(Op):
    """L = mean of -z_k + log Σ exp z_j over the n samples, k the label;   dZ = (softmax(Z) - T) / n

    Z: logits; `axis` is the axis of the classes (-1 unless said; the documents' columns are axis=0).
    t: integer labels, of the shape of Z without that axis. T is 1 at each sample's label and 0 elsewhere.
    The largest logit is subtracted first (log-sum-exp), so no exponential overflows.
    """

    def forward(self, Z: Any, t: Any, *, axis: int = -1) -> Any:
        if not Z.ndim:
            raise ValueError("logits need an axis of classes")
        t = np.asarray(t) if isinstance(t, int) else t
        along = axis % Z.ndim
        before, classes, after = Z.shape[:along], Z.shape[along], Z.shape[along + 1:]
        if t.dtype.kind not in "iu":
            raise TypeError(f"labels must be integers, got {t.dtype}")
        if t.shape != before + after or not t.size:
            raise ValueError(f"labels of shape {t.shape} do not fit logits of shape {Z.shape}, classes on axis {axis}")
        T = t.reshape(*before, 1, *after) == np.arange(classes).reshape(-1, *[1] * len(after))
        Z = Z - StopGradient.apply(np.maximum.reduce(Z, axis=axis, keepdims=True))
        z = Z[T]  # of each sample the logit of its label, in some order
        if z.size != t.size:
            raise ValueError(f"labels must lie in [0, {classes}), got {t.min().item()} to {t.max().item()}")
        E = np.exp(Z)
        S = np.add.reduce(E, axis=axis, keepdims=True)
        share = _filled(t.size, 1 / t.size, S.dtype)  # of each sample in the mean
        return np.log(S).ravel().dot(share) - z.dot(share), T, E, S

    def backward(self, dL: Any, L: Any, Z: Any, t: Any, T: Any, E: Any, S: Any, *, axis: int = -1) -> Any:
        return (E / S - T) * (dL * (1 / S.size)), None


def _filled(n: int, value: float, dtype: Any) -> np.ndarray:
    """An array full of one number, kept for the next step if it is small."""
    return _small(n, value, dtype) if n <= 4096 else np.full(n, value, dtype)


@lru_cache(8)
def _small(n: int, value: float, dtype: Any) -> np.ndarray:
    array = np.full(n, value, dtype)
    array.flags.writeable = False
    return array
