"""Recurrent layers: RNN, LSTM and GRU over sequences (n, length, features).

Each is a loop over the places of a sequence, written down as the formulas are: backpropagation through time is the
sweep over its nodes. The gates of a place are columns side by side of W, U and b, in PyTorch's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..node import Parameter
from .initializers import glorot_uniform, orthogonal
from .layers import Seed, check_sizes
from .module import Module


class _Recurrent(Module):
    """What the three share: layers, directions, and the loop. A kind says its number of gates, and its `_step`."""

    n_gates: int

    def __init__(self, n_inputs: int, n_units: int, *, rng: Seed, layers: int = 1, bidirectional: bool = False,
                 dtype: Any = np.float64) -> None:
        check_sizes(type(self).__name__, n_inputs=n_inputs, n_units=n_units, layers=layers)
        rng = np.random.default_rng(rng)
        self.n_inputs, self.n_units, self.bidirectional = n_inputs, n_units, bidirectional
        self.cells = []
        for _ in range(layers):
            self.cells.append([_Cell(n_inputs, n_units, self.n_gates, rng, dtype) for _ in range(1 + bidirectional)])
            n_inputs = n_units * (1 + bidirectional)

    def _run(self, x: Any, starts: list[Any]) -> tuple[Any, list[Any]]:
        """The outputs for x, and the last state of each layer and direction, for the states that these start with."""
        if x.ndim != 3 or x.shape[2] != self.n_inputs or not x.shape[1]:
            raise ValueError(f"{type(self).__name__}: takes sequences (n, length, {self.n_inputs}), but got the shape "
                             f"{x.shape}")
        h = np.swapaxes(x, 0, 1)  # the places first
        last: list[Any] = []
        for cells in self.cells:
            outputs = []
            for cell, direction in zip(cells, (1, -1), strict=False):
                state, steps = starts[len(last)], []
                for z in (h @ cell.W + cell.b)[::direction]:
                    state = self._step(cell, z, state)
                    steps.append(state[0])
                outputs.append(np.stack(steps[::direction]))
                last.append(state)
            h = np.concatenate(outputs, axis=-1) if self.bidirectional else outputs[0]
        return np.swapaxes(h, 0, 1), last

    def _starts(self, x: Any, *parts: Any) -> list[Any]:
        """For each layer and direction what it starts with: a tuple of arrays (n, units), or None for zeros."""
        count = len(self.cells) * (1 + self.bidirectional)
        if parts[0] is None:
            return [None] * count
        for part in parts:
            if part.shape != (count, len(x), self.n_units):
                raise ValueError(f"{type(self).__name__}: takes a state ({count}, {len(x)}, {self.n_units}) for values "
                                 f"of shape {x.shape}, but got the shape {part.shape}")
        return [tuple(part[i] for part in parts) for i in range(count)]

    def _step(self, cell: Any, z: Any, state: Any) -> tuple[Any, ...]:
        """The state after a place with x W + b = z."""
        raise NotImplementedError


class _Cell:
    """One layer in one direction: W (inputs, gates times units), U (units, gates times units), b, and d of a GRU."""

    d: Parameter

    def __init__(self, n_inputs: int, n_units: int, n_gates: int, rng: np.random.Generator, dtype: Any) -> None:
        def beside(initializer: Any, rows: int) -> np.ndarray:
            return np.hstack([initializer(rng, (rows, n_units), rows, n_units) for _ in range(n_gates)]).astype(dtype)

        self.W = Parameter(beside(glorot_uniform, n_inputs), name="W")
        self.U = Parameter(beside(orthogonal(), n_units), name="U")
        self.b = Parameter(np.zeros(n_gates * n_units, dtype), name="b")


class RNN(_Recurrent):
    """h_t = tanh(x_t W + b + h_{t-1} U) (Elman, 1990).

    Called with sequences (n, length, n_inputs) and maybe a state to begin with (zeros if none is given), it returns the
    outputs of the last layer (n, length, n_units) and the last state h of all layers (layers, n, n_units). With
    `bidirectional`, each layer runs from both ends: the outputs are (n, length, 2 n_units), forward first, and the
    state is (2 layers, n, n_units), with both directions of a layer side by side, as in PyTorch.

    Of each layer and direction W (its inputs, n_units) starts evenly distributed (Glorot and Bengio, 2010), U (n_units,
    n_units) orthogonal, and b (n_units,) at 0.

    layers: how many, each of which takes the outputs of the one before.
    rng: a generator, from which W and U are drawn, or a seed.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> outputs, h = nn.RNN(3, 8, layers=2, rng=0)(np.ones((5, 10, 3)))
    >>> outputs.shape, h.shape
    ((5, 10, 8), (2, 5, 8))
    """

    n_gates = 1

    def __call__(self, x: Any, h: Any = None) -> tuple[Any, Any]:
        outputs, last = self._run(x, self._starts(x, h))
        return outputs, np.stack([h for h, in last])

    def _step(self, cell: Any, z: Any, state: Any) -> tuple[Any, ...]:
        return (np.tanh(z if state is None else z + state[0] @ cell.U),)


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; with the forget gate of Gers et al., 2000).

    i, f, o = σ(x_t W + b + h_{t-1} U), g = tanh of the same; c_t = f c_{t-1} + i g; h_t = o tanh c_t. The columns of W,
    U and b are those of i, f, g, o. The arguments are those of `RNN`, but the state is a pair (h, c); b is 1 for the
    forget gate at the start, so that the state is kept at first (Gers et al., 2000), and 0 for the others.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> outputs, (h, c) = nn.LSTM(3, 8, bidirectional=True, rng=0)(np.ones((5, 10, 3)))
    >>> outputs.shape, h.shape, c.shape
    ((5, 10, 16), (2, 5, 8), (2, 5, 8))
    """

    n_gates = 4

    def __init__(self, n_inputs: int, n_units: int, *, rng: Seed, layers: int = 1, bidirectional: bool = False,
                 dtype: Any = np.float64) -> None:
        super().__init__(n_inputs, n_units, rng=rng, layers=layers, bidirectional=bidirectional, dtype=dtype)
        for cells in self.cells:
            for cell in cells:
                cell.b.value = np.repeat([0, 1, 0, 0], n_units).astype(dtype)

    def __call__(self, x: Any, state: tuple[Any, Any] | None = None) -> tuple[Any, tuple[Any, Any]]:
        outputs, last = self._run(x, self._starts(x, *((None, None) if state is None else state)))
        return outputs, (np.stack([h for h, _ in last]), np.stack([c for _, c in last]))

    def _step(self, cell: Any, z: Any, state: Any) -> tuple[Any, ...]:
        m = self.n_units
        z = z if state is None else z + state[0] @ cell.U
        s = _sigmoid(z)
        c = s[:, :m] * np.tanh(z[:, 2 * m:3 * m])
        if state is not None:
            c = s[:, m:2 * m] * state[1] + c
        return s[:, 3 * m:] * np.tanh(c), c


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al., 2014), in the form of PyTorch and cuDNN.

    r, z = σ(x_t W + b + h_{t-1} U); n = tanh(x_t W + b + r (h_{t-1} U + d)); h_t = (1 - z) n + z h_{t-1}. The columns
    of W, U and b are those of r, z, n; d (n_units,) is one more parameter of each layer and direction, and starts at 0.
    The arguments are those of `RNN`.
    """

    n_gates = 3

    def __init__(self, n_inputs: int, n_units: int, *, rng: Seed, layers: int = 1, bidirectional: bool = False,
                 dtype: Any = np.float64) -> None:
        super().__init__(n_inputs, n_units, rng=rng, layers=layers, bidirectional=bidirectional, dtype=dtype)
        for cells in self.cells:
            for cell in cells:
                cell.d = Parameter(np.zeros(n_units, dtype), name="d")

    __call__ = RNN.__call__

    def _step(self, cell: Any, z: Any, state: Any) -> tuple[Any, ...]:
        m = self.n_units
        if state is None:
            s = _sigmoid(z[:, :2 * m])
            return ((1 - s[:, m:]) * np.tanh(z[:, 2 * m:] + s[:, :m] * cell.d),)
        h, u = state[0], state[0] @ cell.U
        s = _sigmoid(z[:, :2 * m] + u[:, :2 * m])
        n = np.tanh(z[:, 2 * m:] + s[:, :m] * (u[:, 2 * m:] + cell.d))
        return (n + s[:, m:] * (h - n),)


def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), of functions that compile to native code."""
    return 0.5 * np.tanh(0.5 * x) + 0.5
