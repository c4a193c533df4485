"""Normalisation: layers that give their inputs mean 0 and variance 1, over the batch, over features, or over groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..control import stop_gradient
from ..node import TRACE, Parameter, State
from .activations import output
from .layers import check_sizes
from .module import Module


def _scale_and_shift(size: int, dtype: Any) -> tuple[Parameter, Parameter]:
    return Parameter(np.ones(size, dtype), name="gain"), Parameter(np.zeros(size, dtype), name="bias")


class BatchNorm(Module):
    """y = gain (x - mean) / √(variance + eps) + bias, over all axes but that of the features (Ioffe and Szegedy, 2015).

    In training mean and variance are those of the batch, and the states `mean` and `variance` move towards them; in
    inference they are these states. The parameters are gain and bias, (n_features,).

    n_features: the size of that axis.
    axis: of the features, 1 unless said: x is (n, n_features), (n, n_features, height, width) and so on.
    momentum: how far the states move in a step, 0.1 unless said. As in PyTorch, the variance that they see is that of
        n - 1 in the denominator.
    """

    training = True

    def __init__(self, n_features: int, *, axis: int = 1, eps: float = 1e-5, momentum: float = 0.1,
                 dtype: Any = np.float64) -> None:
        check_sizes("BatchNorm", n_features=n_features)
        if not 0 <= momentum <= 1:
            raise ValueError(f"BatchNorm: momentum must lie in [0, 1], not {momentum}")
        self.axis, self.eps, self.momentum = axis, eps, momentum
        self.gain, self.bias = _scale_and_shift(n_features, dtype)
        self.mean = State(np.zeros(n_features, dtype), name="mean")
        self.variance = State(np.ones(n_features, dtype), name="variance")

    def __call__(self, x: Any) -> Any:
        axis, size = self.axis, self.gain.shape[0]
        if not -x.ndim <= axis < x.ndim or x.shape[axis] != size:
            raise ValueError(f"BatchNorm: takes {size} features on axis {axis}, but got values of shape {x.shape}")
        axis %= x.ndim
        along = (size,) + (1,) * (x.ndim - axis - 1)
        if not self.training:
            scale = self.gain / np.sqrt(self.variance + self.eps)
            return x * scale.reshape(along) + (self.bias - self.mean * scale).reshape(along)
        count = x.size // size
        if count < 2:
            raise ValueError(f"BatchNorm: training needs two values of each feature or more, not the shape {x.shape}")
        view = x.reshape(math.prod(x.shape[:axis]), 1, size, math.prod(x.shape[axis + 1:]))
        y = ops.Normalize.apply(view, self.gain.reshape(1, size), self.bias.reshape(1, size), over=(0, 3), eps=self.eps)
        if TRACE.get() is not None:
            seen = stop_gradient(view)
            mean, variance = np.mean(seen, axis=(0, 1, 3)), np.var(seen, axis=(0, 1, 3))
        else:
            mean, variance = (a.reshape(size) for a in (y[3:] if isinstance(y, tuple) else y.kept[2:]))
        for state, value in (self.mean, mean), (self.variance, variance * (count / (count - 1))):
            state.value = state.value + self.momentum * (value - state.value)
        return output(y).reshape(x.shape)


class LayerNorm(Module):
    """y = gain (x - mean) / √(variance + eps) + bias, over the last axis (Ba et al., 2016), for x (..., n_features)."""

    def __init__(self, n_features: int, *, eps: float = 1e-5, dtype: Any = np.float64) -> None:
        check_sizes("LayerNorm", n_features=n_features)
        self.eps = eps
        self.gain, self.bias = _scale_and_shift(n_features, dtype)

    def __call__(self, x: Any) -> Any:
        return output(ops.LayerNorm.apply(x, self.gain, self.bias, eps=self.eps))


class RMSNorm(Module):
    """y = gain x / √(mean of x² + eps), over the last axis (Zhang and Sennrich, 2019), for x (..., n_features)."""

    def __init__(self, n_features: int, *, eps: float = 1e-6, dtype: Any = np.float64) -> None:
        check_sizes("RMSNorm", n_features=n_features)
        self.eps = eps
        self.gain = Parameter(np.ones(n_features, dtype), name="gain")

    def __call__(self, x: Any) -> Any:
        if x.shape[-1:] != self.gain.shape:
            raise ValueError(f"RMSNorm: takes values (..., {self.gain.shape[0]}), but got the shape {x.shape}")
        return x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + self.eps) * self.gain


class GroupNorm(Module):
    """y = gain (x - mean) / √(variance + eps) + bias, of each sample over groups of features (Wu and He, 2018).

    For x (n, n_features, ...): mean and variance go over a group of features and all axes after them.

    n_groups: must divide n_features; with as many groups as features it is instance normalisation.
    """

    def __init__(self, n_groups: int, n_features: int, *, eps: float = 1e-5, dtype: Any = np.float64) -> None:
        check_sizes("GroupNorm", n_groups=n_groups, n_features=n_features)
        if n_features % n_groups:
            raise ValueError(f"GroupNorm: {n_features} features cannot be put into {n_groups} groups of one size")
        self.n_groups, self.eps = n_groups, eps
        self.gain, self.bias = _scale_and_shift(n_features, dtype)

    def __call__(self, x: Any) -> Any:
        size = self.gain.shape[0]
        if x.ndim < 2 or x.shape[1] != size:
            raise ValueError(f"GroupNorm: takes values (n, {size}, ...), but got the shape {x.shape}")
        by_group = self.n_groups, size // self.n_groups
        view = x.reshape(len(x), *by_group, math.prod(x.shape[2:]))
        gain, bias = self.gain.reshape(by_group), self.bias.reshape(by_group)
        return output(ops.Normalize.apply(view, gain, bias, over=(2, 3), eps=self.eps)).reshape(x.shape)
