"""The ops of neural networks that are more than one NumPy function: fused, each with a rule derived by hand."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..op import Op
from .selection import InRange, Keep
from .shaping import StopGradient


class AddBias(Op):
    """Y = Z + b, the bias repeated for every sample;   dZ = dY,   db = sum of dY over the samples

    Z (m, n) with samples in columns takes b (m, 1); Z (..., m) with samples along the first axes takes b (m,).
    """
    formula = """
        Z + b
        dZ = dY
        db = sum_over_samples(dY, b)
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
    formula = """
        relu(x)
        dx = dy * [x > 0]
    """
    selecting = True

    def forward(self, x: Any) -> Any:
        x = np.asarray(x)
        zeros = np.zeros(x.shape, x.dtype)
        return np.maximum(x, zeros, out=zeros)  # up to twice as fast as np.maximum(x, 0.0)

    def expand(self, x: Any) -> Any:  # a function of x alone: np.maximum would call 0 a tie
        return np.where(x <= 0, 0, x)

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return Keep.apply(grad, y > 0)


class GELU(Op):
    """y = x h,   h = ½ (1 + tanh u),   u = √(2/π) (x + 0.044715 x³);   dx = dy (h + 2 x h (1 - h) u')

    This is the tanh form of Hendrycks & Gimpel (2016), eq. 2, which differs from x Φ(x) by up to 5e-4.
    """
    formula = """
        u = sqrt(2 / pi) * (x + 0.044715 * x ** 3)
        h = (1 + tanh(u)) / 2
        x * h
        dx = dy * (h + 2 * x * h * (1 - h) * (sqrt(2 / pi) * (1 + 3 * 0.044715 * x ** 2)))
    """

    def forward(self, x: Any) -> Any:
        z = bounded(x, -10, 10)
        h = 0.5 + 0.5 * np.tanh(z * (_GELU + 0.044715 * _GELU * z * z))
        return bounded(x, -10) * h, h  # 0 at -inf, and not NaN

    def backward(self, grad: Any, y: Any, x: Any, h: Any) -> Any:
        z = bounded(x, -10, 10)
        slope = _GELU + 3 * 0.044715 * _GELU * z * z
        return grad * (h + 2 * z * h * (1 - h) * slope)


_GELU = math.sqrt(2 / math.pi)


def bounded(x: Any, low: float, high: float = np.inf) -> Any:
    """x, cut off where a function has come to its limit to the last digit, and a power of x would overflow."""
    if x.__class__ is np.ndarray:
        return np.clip(x, low, high)
    x = np.maximum(x, low)
    return x if high == np.inf else np.minimum(x, high)


class Softmax(Op):
    """y = exp x / Σ exp x along an axis;   dx = y (dy - Σ dy y)

    The largest entry is subtracted first, so no exponential overflows. Entries of -inf, a mask, get 0 and send back 0.
    """
    formula = "softmax(x, axis)"

    def forward(self, x: Any, *, axis: int = -1) -> Any:
        E = np.exp(x - StopGradient.apply(np.maximum.reduce(x, axis=axis, keepdims=True)))
        return E / np.add.reduce(E, axis=axis, keepdims=True)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: int = -1) -> Any:
        return y * (grad - np.add.reduce(grad * y, axis=axis, keepdims=True))


class LayerNorm(Op):
    """y = x̂ gain + bias,   x̂ = r (x - mean x),   r = 1 / √(mean (x - mean x)² + eps)

    dx = r (ĝ - mean ĝ - x̂ mean (ĝ x̂)) with ĝ = dy gain;   dgain = Σ dy x̂ and dbias = Σ dy over the samples

    x (..., m), gain (m,) and bias (m,): the means go over the last axis, the sums over all others.
    """
    formula = """
        m = mean(x, axis=-1, keepdims=True)
        r = 1 / sqrt(mean((x - m) ** 2, axis=-1, keepdims=True) + eps)
        normal = (x - m) * r
        normal * gain + bias
    """

    def forward(self, x: Any, gain: Any, bias: Any, *, eps: float = 1e-5) -> Any:
        if not x.ndim or not gain.shape == bias.shape == x.shape[-1:]:
            raise ValueError(f"a gain of shape {gain.shape} and a bias of shape {bias.shape} do not fit values of "
                             f"shape {x.shape}: give (m,) and (m,) for values (..., m)")
        centred = x - np.mean(x, axis=-1, keepdims=True)
        r = 1 / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + eps)
        normal = centred * r
        return normal * gain + bias, normal, r

    def backward(self, grad: Any, y: Any, x: Any, gain: Any, bias: Any, normal: Any, r: Any, *,
                 eps: float = 1e-5) -> Any:
        samples = tuple(range(x.ndim - 1))

        def dx() -> Any:
            g = grad * gain
            along = np.mean(g * normal, axis=-1, keepdims=True)
            return r * (g - np.mean(g, axis=-1, keepdims=True) - normal * along)

        return dx, lambda: np.add.reduce(grad * normal, axis=samples), lambda: np.add.reduce(grad, axis=samples)


class Normalize(Op):
    """y = x̂ gain + bias,   x̂ = r (x - mean x),   r = 1 / √(mean (x - mean x)² + eps), means over the axes `over`

    dx = r (ĝ - mean ĝ - x̂ mean (ĝ x̂)) with ĝ = dy gain;   dgain = Σ dy x̂ and dbias = Σ dy

    x (n, groups, features, places) and gain and bias (groups, features): over is (0, 3) for batch normalisation, where
    each feature has a mean, and (2, 3) for group normalisation, where each sample and group has one. Kept are x - mean,
    r, the mean and the variance.
    """

    def forward(self, x: Any, gain: Any, bias: Any, *, over: tuple[int, ...], eps: float = 1e-5) -> Any:
        if x.ndim != 4 or not gain.shape == bias.shape == x.shape[1:3]:
            raise ValueError(f"a gain of shape {gain.shape} and a bias of shape {bias.shape} do not fit values of "
                             f"shape {x.shape}: give (g, f) and (g, f) for values (n, g, f, places)")
        count = math.prod(x.shape[i] for i in over)
        mean = _summed(_summed(x, (3,)), over) / count
        centred = x - mean
        variance = _summed(_products(centred, centred), over) / count
        r = 1 / np.sqrt(variance + eps)
        return centred * (r * gain[..., None]) + bias[..., None], centred, r, mean, variance

    def backward(self, grad: Any, y: Any, x: Any, gain: Any, bias: Any, centred: Any, r: Any, mean: Any, variance: Any,
                 *, over: tuple[int, ...], eps: float = 1e-5) -> Any:
        sums, products = _summed(grad, (3,)), _products(grad, centred)  # over the places

        def dx() -> Any:
            scale, share = gain[..., None], 1 / math.prod(x.shape[i] for i in over)
            around = _summed(sums * scale, over) * (r * share)
            along = _summed(products * scale, over) * (r * r * r * share)
            return grad * (r * scale) - (centred * along + around)

        return dx, lambda: np.add.reduce(products * r, axis=(0, 3)), lambda: np.add.reduce(sums, axis=(0, 3))


def _summed(x: Any, over: tuple[int, ...]) -> Any:
    return np.add.reduce(x, axis=over, keepdims=True)


def _products(a: Any, b: Any) -> Any:
    """The sums of a b over the last axis, which is kept."""
    if a.__class__ is np.ndarray and b.__class__ is np.ndarray:
        return np.einsum("ngfp,ngfp->ngf", a, b)[..., None]
    return _summed(a * b, (3,))


class LogSoftmaxNLL(Op):
    """L = mean of -z_k + log Σ exp z_j over the n samples, k the label;   dZ = (softmax(Z) - T) / n

    Z: logits; `axis` is the axis of the classes (-1 unless said; the documents' columns are axis=0).
    t: integer labels, of the shape of Z without that axis. T is 1 at each sample's label and 0 elsewhere.
    The largest logit is subtracted first (log-sum-exp), so no exponential overflows.
    """
    formula = """
        n = size(t)
        T = one_hot(t, Z, axis)
        sum(logsumexp(Z, axis) - sum(T * Z, axis)) / n
        dZ = dL * ((softmax(Z, axis) - T) / n)
    """

    def forward(self, Z: Any, t: Any, *, axis: int = -1) -> Any:
        if Z.__class__ is not np.ndarray:
            return self.expand(Z, t, axis=axis)
        T = _one_hot(Z, t, axis)
        Z = Z - np.maximum.reduce(Z, axis=axis, keepdims=True)
        z = Z[T]  # of each sample the logit of its label, in some order
        n = Z.size // Z.shape[axis]
        if z.size != n:
            InRange.apply(t, n=Z.shape[axis])
        E = np.exp(Z)
        S = np.add.reduce(E, axis=axis, keepdims=True)
        share = _filled(n, 1 / n, S.dtype)  # of each sample in the mean
        return np.log(S).ravel().dot(share) - z.dot(share), T, E, S

    def expand(self, Z: Any, t: Any, *, axis: int = -1) -> Any:
        T = _one_hot(Z, t, axis, checked=True)
        Z = Z - StopGradient.apply(np.maximum.reduce(Z, axis=axis, keepdims=True))
        z = np.add.reduce(Keep.apply(Z, T), axis=axis, keepdims=True)
        E = np.exp(Z)
        S = np.add.reduce(E, axis=axis, keepdims=True)
        return np.add.reduce((np.log(S) - z) * (1 / S.size), axis=None), T, E, S

    def backward(self, dL: Any, L: Any, Z: Any, t: Any, T: Any, E: Any, S: Any, *, axis: int = -1) -> Any:
        return (E / S - T) * (dL * (1 / S.size)), None


def _one_hot(Z: Any, t: Any, axis: int, checked: bool = False) -> Any:
    """The mask that holds at the label of each sample. checked: a label that no class has is an error."""
    if not Z.ndim:
        raise ValueError("logits need an axis of classes")
    t = np.asarray(t) if isinstance(t, int) else t
    along = axis % Z.ndim
    before, classes, after = Z.shape[:along], Z.shape[along], Z.shape[along + 1:]
    if t.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {t.dtype}")
    if t.shape != before + after or not t.size:
        raise ValueError(f"labels of shape {t.shape} do not fit logits of shape {Z.shape}, classes on axis {axis}")
    t = InRange.apply(t, n=classes) if checked else t
    return t.reshape(*before, 1, *after) == np.arange(classes).reshape(-1, *[1] * len(after))


def _filled(n: int, value: float, dtype: Any) -> np.ndarray:
    """An array full of one number, kept for the next step if it is small."""
    return _small(n, value, dtype) if n <= 4096 else np.full(n, value, dtype)


@lru_cache(8)
def _small(n: int, value: float, dtype: Any) -> np.ndarray:
    array = np.full(n, value, dtype)
    array.flags.writeable = False
    return array
