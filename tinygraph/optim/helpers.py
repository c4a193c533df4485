"""What goes with an optimizer: clipped gradients, averaged weights, and L-BFGS, which sees all data at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..node import Node, Parameter, State
from ..states import Borrowed, states


def _parameters(thing: Any, caller: str) -> dict[str, Parameter]:
    found = {path: p for path, p in states(thing).items() if isinstance(p, Parameter)}
    if not found:
        raise ValueError(f"{caller}: there is no parameter in what it was given, {type(thing).__name__}")
    return found


def clip_by_value(parameters: Any, limit: float) -> None:
    """Cut each entry of each gradient off at -limit and limit.

    parameters: a model, or anything that holds parameters, after `backprop` and before `step`.
    """
    for p in _parameters(parameters, "clip_by_value").values():
        if p.grad is not None:
            p.grad = np.clip(p.grad, -limit, limit)


def clip_by_norm(parameters: Any, limit: float) -> Any:
    """Scale all gradients by one factor, so that the root of the sum of all their squares is at most `limit`.

    Returns that root before: an array of one number, a node in a compiled step (Pascanu et al., 2013).
    """
    found = [p for p in _parameters(parameters, "clip_by_norm").values() if p.grad is not None]
    total: Any = sum(np.sum(np.square(p.grad)) for p in found)
    norm = np.sqrt(total)
    factor: Any = np.where(norm > limit, limit / np.where(norm > limit, norm, 1), 1)
    for p in found:
        p.grad = p.grad * (factor.astype(p.dtype) if isinstance(factor, Node) else float(factor))
    return norm


class Average:
    """The exponential moving average of a model's parameters: after each step a ← decay a + (1 - decay) p.

    >>> import numpy as np, tinygraph as tg
    >>> w = tg.Parameter(np.zeros(2))
    >>> average = tg.optim.Average(w, decay=0.9)
    >>> w.value = np.ones(2)
    >>> average.update()
    >>> with average.applied():
    ...     print(w.value)
    [0.1 0.1]
    >>> w.value
    array([1., 1.])
    """

    def __init__(self, parameters: Any, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"Average: decay must lie in [0, 1), not {decay!r}")
        self.decay = decay
        self._parameters = Borrowed(_parameters(parameters, "Average"))
        self.averages = {path: State(p.value) for path, p in self._parameters.thing.items()}

    def update(self) -> None:
        """Take the parameters of now into the average; in a compiled step, too."""
        for path, average in self.averages.items():
            average.assign(self.decay * average.value + (1 - self.decay) * self._parameters.thing[path].value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the parameters are the averages; afterwards they are what they were."""
        before = {path: p.value for path, p in self._parameters.thing.items()}
        try:
            for path, p in self._parameters.thing.items():
                p.value = self.averages[path].value
            yield
        finally:
            for path, p in self._parameters.thing.items():
                p.value = before[path]


def lbfgs(loss: Callable[[], Node], parameters: Any, *, max_iterations: int = 100, tolerance: float = 1e-5,
          memory: int = 10, callback: Callable[[float], Any] | None = None) -> Any:
    """Minimise by L-BFGS, which goes far with few parameters, all data in each step and no rate to choose.

    loss: a function without arguments that returns the loss as a node, for the parameters of the moment.
    parameters: a model, or anything that holds parameters; they are given the best values found, also if `loss` or
        `callback` raises, or someone presses Ctrl-C.
    tolerance: it ends when no entry of the gradient is larger.
    memory: how many past steps describe the curvature.
    callback: called after each iteration with the smallest loss so far.

    Returns SciPy's `OptimizeResult` of `scipy.optimize.minimize(method="L-BFGS-B")`.
    """
    from scipy.optimize import minimize

    found = list(_parameters(parameters, "lbfgs").values())
    ends = np.cumsum([p.size for p in found])
    best: list[Any] = [np.inf, _joined(p.value for p in found)]

    def put(x: np.ndarray) -> None:
        for p, part in zip(found, np.split(x, ends[:-1]), strict=True):
            p.value = part.reshape(p.shape).astype(p.dtype)

    def evaluated(x: np.ndarray) -> tuple[float, np.ndarray]:
        put(x)
        node = loss()
        if not isinstance(node, Node):
            raise TypeError(f"lbfgs: the loss must be a node, not {type(node).__name__}")
        node.backprop()
        for p in found:
            if p.grad is None:
                raise RuntimeError("lbfgs: a parameter has no gradient: give it only what the loss depends on")
        value = float(node.value)
        if value < best[0]:
            best[:] = value, x.copy()
        return value, _joined(p.grad for p in found)

    try:
        return minimize(evaluated, best[1], jac=True, method="L-BFGS-B",
                        callback=None if callback is None else lambda x: callback(best[0]),
                        options={"maxiter": max_iterations, "gtol": tolerance, "maxcor": memory, "ftol": 0})
    finally:
        put(best[1])


def _joined(arrays: Any) -> np.ndarray:
    return np.concatenate([np.ravel(array).astype(np.float64) for array in arrays])
