"""Averaged weights: an optimizer that also keeps the exponential moving average of what it moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..node import Parameter, State
from .optimizers import Optimizer


class Average:
    """An optimizer that takes the parameters into an average after each step: a ← decay a + (1 - decay) p.

    It has `step` and `lr` as the optimizer that it is given, so it can stand wherever that can, in `tg.training.fit`
    and in compiled steps too; checkpoints keep the average with the rest.

    decay: in [0, 1); about the last 1 / (1 - decay) steps count.

    >>> import numpy as np, tinygraph as tg
    >>> w = tg.Parameter(np.zeros(2))
    >>> optimizer = tg.optim.Average(tg.optim.SGD(w, lr=0.5), decay=0.9)
    >>> np.sum((w - 1) ** 2).backprop()
    >>> optimizer.step()
    >>> with optimizer.applied():
    ...     print(w.value)
    [0.1 0.1]
    >>> w.value
    array([1., 1.])
    """

    def __init__(self, optimizer: Optimizer, decay: float = 0.999) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Average: give it an optimizer, not {type(optimizer).__name__}")
        if not 0 <= decay < 1:
            raise ValueError(f"Average: decay must lie in [0, 1), not {decay!r}")
        self.optimizer, self.decay = optimizer, decay
        self.averages = [State(p.value) for p in self._parameters()]

    @property
    def lr(self) -> Any:
        """The learning rate of the optimizer."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self.optimizer.lr = lr

    def step(self) -> None:
        """A step of the optimizer; then the average follows."""
        self.optimizer.step()
        for average, p in zip(self.averages, self._parameters(), strict=True):
            average.value = self.decay * average.value + (1 - self.decay) * p.value

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the parameters are the averages; afterwards they are what they were before."""
        parameters = self._parameters()
        before = [p.value for p in parameters]
        try:
            for p, average in zip(parameters, self.averages, strict=True):
                p.assign(average.value)
            yield
        finally:
            for p, value in zip(parameters, before, strict=True):
                p.assign(value)

    def _parameters(self) -> list[Parameter]:
        return [p for group in self.optimizer.groups for p in group.parameters.values()]
