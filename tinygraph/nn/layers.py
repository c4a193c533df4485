"""Layers that are one matrix product or none, and what puts layers together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import ops
from ..node import Parameter
from .module import Module


class Linear(Module):
    """y = x W + b for x (..., n_inputs), W (n_inputs, n_outputs) and b (n_outputs,).

    W starts at normal numbers of variance 2 / n_inputs (He et al., 2015), b at zero.
    """

    def __init__(self, n_inputs: int, n_outputs: int, *, rng: np.random.Generator | int,
                 dtype: Any = np.float64) -> None:
        rng = np.random.default_rng(rng)
        self.W = Parameter((rng.standard_normal((n_inputs, n_outputs)) * np.sqrt(2 / n_inputs)).astype(dtype))
        self.b = Parameter(np.zeros(n_outputs, dtype))

    def __call__(self, x: Any) -> Any:
        return ops.AddBias.apply(x @ self.W, self.b)


class ReLU(Module):
    """max(0, x), entry by entry."""

    def __call__(self, x: Any) -> Any:
        return ops.ReLU.apply(x)


class Sequential(Module):
    """Layers, or any functions, one after the other."""

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        self.layers = list(layers)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __iter__(self) -> Iterator[Callable[[Any], Any]]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: int) -> Callable[[Any], Any]:
        return self.layers[i]
