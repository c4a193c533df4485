"""Layers that are one matrix product, one lookup or less, and containers that put layers together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, overload

import numpy as np

from .. import ops
from ..node import Node, Parameter, constant
from ..random import Stream
from .initializers import Initializer, drawn, he_normal, standard_normal
from .module import Module

Seed = np.random.Generator | int
Layer = Callable[[Any], Any]


def check_sizes(layer: str, **sizes: Any) -> None:
    """ValueError if one of these is not an integer above 0."""
    for name, size in sizes.items():
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{layer}: {name} must be an integer above 0, not {size!r}")


def entries(table: Any, ids: Any) -> Any:
    """table[ids]. Of an array by a node too, which NumPy alone cannot do."""
    return (constant(table) if isinstance(ids, Node) and not isinstance(table, Node) else table)[ids]


class Linear(Module):
    """y = x W + b, for x (..., n_inputs), with the parameters W (n_inputs, n_outputs) and b (n_outputs,).

    n_inputs, n_outputs: the sizes of the last axis of x and of y.
    rng: a generator, from which W is drawn, or a seed.
    bias: False for no b.
    initializer: of W; b starts at 0.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> nn.Linear(3, 2, rng=0)(np.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(self, n_inputs: int, n_outputs: int, *, rng: Seed, bias: bool = True,
                 initializer: Initializer = he_normal, dtype: Any = np.float64) -> None:
        check_sizes("Linear", n_inputs=n_inputs, n_outputs=n_outputs)
        self.W = drawn(initializer, rng, (n_inputs, n_outputs), n_inputs, n_outputs, dtype)
        self.b = Parameter(np.zeros(n_outputs, dtype), name="b") if bias else None

    def __call__(self, x: Any) -> Any:
        if x.shape[-1:] != self.W.shape[:1]:
            raise ValueError(f"Linear: takes values (..., {self.W.shape[0]}), but got the shape {x.shape}")
        y = x @ self.W
        return y if self.b is None else ops.AddBias.apply(y, self.b)


class Embedding(Module):
    """Row `i` of a table for each integer i: (...) becomes (..., size), with the parameter W (count, size).

    count: of rows; ids must lie in [0, count), ValueError otherwise.
    size: of a row.
    initializer: of W, by default normal numbers of variance 1.
    """

    def __init__(self, count: int, size: int, *, rng: Seed, initializer: Initializer = standard_normal,
                 dtype: Any = np.float64) -> None:
        check_sizes("Embedding", count=count, size=size)
        self.W = drawn(initializer, rng, (count, size), count, size, dtype)

    def __call__(self, ids: Any) -> Any:
        ids = ids if isinstance(ids, Node) else np.asarray(ids)
        if ids.dtype.kind not in "iu":
            raise TypeError(f"Embedding: ids are integers, not {ids.dtype}")
        return entries(self.W, ops.InRange.apply(ids, n=self.W.shape[0]))


class Dropout(Module):
    """In training each entry is 0 with probability `rate`, and divided by 1 - rate otherwise; in inference nothing is.

    rate: in [0, 1) (Srivastava et al., 2014).
    rng: a generator, or a seed, of the stream from which it draws.
    """

    training = True

    def __init__(self, rate: float, *, rng: Seed) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: the rate must lie in [0, 1), not {rate}")
        self.rate = rate
        self.stream = Stream(int(np.random.default_rng(rng).integers(2**63)))

    def __call__(self, x: Any) -> Any:
        if not self.training or not self.rate:
            return x
        u = self.stream.random(x.shape, np.float64 if x.dtype == np.float64 else np.float32)
        return np.where(u < self.rate, 0, x * (1 / (1 - self.rate)))


class Flatten(Module):
    """(n, ...) becomes (n, m): all axes but the first are made one."""

    def __call__(self, x: Any) -> Any:
        return x.reshape(len(x), math.prod(x.shape[1:]))


def _checked(container: str, layers: tuple[Any, ...]) -> list[Layer]:
    """The layers as a list. TypeError for what cannot be called on an array."""
    for i, layer in enumerate(layers):
        if isinstance(layer, type) and issubclass(layer, Module):
            raise TypeError(f"{container}: layer {i} is the class {layer.__name__}: write {layer.__name__}(...)")
        if not callable(layer):
            hint = f": write {container}(*layers)" if isinstance(layer, list | tuple) else ""
            raise TypeError(f"{container}: layer {i} is a {type(layer).__name__}, which cannot be called{hint}")
    return list(layers)


def _through(layers: list[Layer], x: Any) -> Any:
    """x after one layer and the next. An error says in a note which layer raised it."""
    for i, layer in enumerate(layers):
        try:
            x = layer(x)
        except Exception as error:
            error.add_note(f"in layer {i}: {getattr(layer, '__name__', type(layer).__name__)}")
            raise
    return x


class Sequential(Module):
    """Layers, one after the other: each gets what the one before it returned. Any function of an array is a layer."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = _checked("Sequential", layers)

    def __call__(self, x: Any) -> Any:
        return _through(self.layers, x)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, i: int) -> Layer: ...

    @overload
    def __getitem__(self, i: slice) -> Sequential: ...

    def __getitem__(self, i: int | slice) -> Any:
        return Sequential(*self.layers[i]) if isinstance(i, slice) else self.layers[i]


class Residual(Module):
    """y = x + f(x), with f these layers one after the other; or y = shortcut(x) + f(x).

    shortcut: a layer, for an f that changes the shape.
    """

    def __init__(self, *layers: Layer, shortcut: Layer | None = None) -> None:
        self.layers = _checked("Residual", layers)
        self.shortcut = shortcut

    def __call__(self, x: Any) -> Any:
        y = _through(self.layers, x)
        start = x if self.shortcut is None else self.shortcut(x)
        if y.shape != start.shape:
            raise ValueError(f"Residual: cannot add {y.shape} to {start.shape}: give a shortcut that returns {y.shape}")
        return start + y


class Parallel(Module):
    """The outputs of several layers of the same input, joined along `axis` (the last unless said)."""

    def __init__(self, *layers: Layer, axis: int = -1) -> None:
        self.layers = _checked("Parallel", layers)
        self.axis = axis

    def __call__(self, x: Any) -> Any:
        return np.concatenate([layer(x) for layer in self.layers], axis=self.axis)
