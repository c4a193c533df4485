"""L-BFGS, by SciPy, for a model: all data in each step, and no rate to choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..node import Node, Parameter
from ..states import states


def lbfgs(loss: Callable[[], Node], parameters: Any, *, max_iterations: int = 100, tolerance: float = 1e-5,
          memory: int = 10, callback: Callable[[float], Any] | None = None) -> Any:
    """Minimise by L-BFGS (Liu and Nocedal, 1989), which goes far with few parameters and all data in each step.

    loss: a function without arguments that returns the loss as a node, for the parameters of the moment.
    parameters: a model, or anything that holds parameters; they are given the best values found, also if `loss` or
        `callback` raises, or someone presses Ctrl-C.
    tolerance: it ends when no entry of the gradient is larger, or when the loss falls by less than 2e-9 of itself.
    memory: how many past steps describe the curvature.
    callback: called after each iteration with the smallest loss so far.

    Returns SciPy's `OptimizeResult` of `scipy.optimize.minimize(method="L-BFGS-B")`, whose `x` is all parameters in one
    vector. ValueError if the loss or a gradient is not finite where it starts; further on, such places are avoided.
    """
    from scipy.optimize import minimize

    found = {path: p for path, p in states(parameters).items() if isinstance(p, Parameter)}
    if not found:
        raise ValueError(f"lbfgs: there is no parameter in what it was given, {type(parameters).__name__}")
    ends = np.cumsum([p.size for p in found.values()])
    best_loss, best = np.inf, _joined(p.value for p in found.values())

    def put(x: np.ndarray) -> None:
        for p, part in zip(found.values(), np.split(x, ends[:-1]), strict=True):
            p.value = part.reshape(p.shape)

    def evaluated(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best_loss, best
        put(x)
        node = loss()
        if not isinstance(node, Node):
            raise TypeError(f"lbfgs: the loss must be a node, not {type(node).__name__}")
        for p in found.values():
            p.grad = None
        node.backprop()
        for path, p in found.items():
            if p.grad is None:
                raise RuntimeError(f"lbfgs: {path} has no gradient: give it only what the loss depends on")
        value, slope = float(node.value), _joined(p.grad for p in found.values())
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            if best_loss == np.inf:
                raise ValueError(f"lbfgs: the loss ({value}) or its gradient is not finite where it starts: inside "
                                 "tg.detect_nan() the op that makes it is named")
            return np.inf, np.zeros_like(slope)  # the line search goes back
        if value < best_loss:
            best_loss, best = value, x.copy()
        return value, slope

    try:
        return minimize(evaluated, best, jac=True, method="L-BFGS-B",
                        callback=None if callback is None else lambda x: callback(best_loss),
                        options={"maxiter": max_iterations, "gtol": tolerance, "maxcor": memory})
    finally:
        put(best)
        for p in found.values():
            p.grad = None


def _joined(arrays: Iterable[Any]) -> np.ndarray:
    return np.concatenate([np.ravel(array).astype(np.float64) for array in arrays])
