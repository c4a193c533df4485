"""Initial values of parameters: functions `initializer(rng, shape, fan_in, fan_out)`, which return float64 arrays.

fan_in and fan_out are how many inputs each output is a sum over, and how many outputs each input goes to: for a linear
layer its sizes, for a convolution these times the places of its kernel. A function of yours with these arguments does
as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..node import Parameter

Initializer = Callable[[np.random.Generator, tuple[int, ...], int, int], np.ndarray]


def drawn(initializer: Initializer, rng: np.random.Generator | int, shape: tuple[int, ...], fan_in: int, fan_out: int,
          dtype: Any, name: str = "W") -> Parameter:
    """A parameter of that shape and dtype with the values of an initializer. ValueError if it gives another shape."""
    values = np.asarray(initializer(np.random.default_rng(rng), shape, fan_in, fan_out))
    if values.shape != shape:
        raise ValueError(f"the initializer of {name} must return an array of shape {shape}, not {values.shape}")
    return Parameter(values.astype(dtype), name=name)


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Normal numbers of variance 1, whatever the sizes: for embeddings."""
    return rng.standard_normal(shape)


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Normal numbers of variance 2 / fan_in, which keep the size of signals through ReLU (He et al., 2015)."""
    return rng.standard_normal(shape) * math.sqrt(2 / fan_in)


def he_uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Uniform numbers of variance 2 / fan_in (He et al., 2015)."""
    return _uniform(rng, shape, 2 / fan_in)


def glorot_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Normal numbers of variance 2 / (fan_in + fan_out), for tanh and the like (Glorot and Bengio, 2010)."""
    return rng.standard_normal(shape) * math.sqrt(2 / (fan_in + fan_out))


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Uniform numbers of variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    return _uniform(rng, shape, 2 / (fan_in + fan_out))


def lecun_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Normal numbers of variance 1 / fan_in (LeCun et al., 1998)."""
    return rng.standard_normal(shape) * math.sqrt(1 / fan_in)


def lecun_uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Uniform numbers of variance 1 / fan_in (LeCun et al., 1998)."""
    return _uniform(rng, shape, 1 / fan_in)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> np.ndarray:
    limit = math.sqrt(3 * variance)
    return rng.uniform(-limit, limit, shape)


def orthogonal(gain: float = 1.0) -> Initializer:
    """`gain` times a matrix with orthonormal rows or columns, drawn evenly (Saxe et al., 2014).

    An array of more axes is such a matrix of its first axis by all others.
    """
    def initializer(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        rows, columns = shape[0], math.prod(shape[1:])
        Q, R = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        Q *= np.sign(np.diag(R))  # without it the distribution would depend on how QR chooses signs
        return gain * (Q if rows >= columns else Q.T).reshape(shape)

    return initializer


def truncated_normal(standard_deviation: float) -> Initializer:
    """Normal numbers of mean 0, drawn again while they are more than two standard deviations off.

    standard_deviation: of the normal numbers before that, as in JAX and PyTorch; afterwards it is 0.88 of it.
    """
    def initializer(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        values = rng.standard_normal(shape)
        while (far := np.abs(values) > 2).any():
            values[far] = rng.standard_normal(np.count_nonzero(far))
        return values * standard_deviation

    return initializer


def constant(value: float) -> Initializer:
    """That number everywhere."""
    return lambda rng, shape, fan_in, fan_out: np.full(shape, float(value))
