"""Clipped gradients: no entry, or no sum of squares, above a limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..node import Node, Parameter
from ..states import states


def clip_by_value(parameters: Any, limit: float) -> None:
    """Cut each entry of each gradient off at -limit and limit.

    parameters: a model, or anything that holds parameters, after `backprop` and before `step`. In training by
        `tg.training.fit`, use the option clip_value of the optimizer.
    """
    found = _with_gradients(parameters, limit)
    for p, grad in zip(found, clipped_by_value([p.grad for p in found], limit), strict=True):
        p.grad = grad


def clip_by_norm(parameters: Any, limit: float) -> Any:
    """Scale all gradients by one factor, so that the root of the sum of all their squares is at most `limit`.

    Returns that root before: a number, a node in a compiled step (Pascanu et al., 2013). The option clip_norm of an
    optimizer does the same.
    """
    found = _with_gradients(parameters, limit)
    grads, norm = clipped_by_norm([p.grad for p in found], limit)
    for p, grad in zip(found, grads, strict=True):
        p.grad = grad
    return norm


def clipped_by_value(grads: list[Any], limit: float) -> list[Any]:
    return [np.clip(grad, -limit, limit) for grad in grads]


def clipped_by_norm(grads: list[Any], limit: float) -> tuple[list[Any], Any]:
    """The gradients, scaled, and their norm before; it is summed in float64, where squares of float32 have room."""
    squares = [np.sum(np.square(grad.astype(np.float64))) for grad in grads]
    norm = np.sqrt(sum(squares[1:], squares[0]))
    above = norm > limit  # not so for NaN, which stays
    factor: Any = np.where(above, limit / np.where(above, norm, 1.0), 1.0)
    return [grad * (factor.astype(grad.dtype) if isinstance(factor, Node) else float(factor)) for grad in grads], norm


def _with_gradients(parameters: Any, limit: float) -> list[Parameter]:
    if not limit > 0:
        raise ValueError(f"the limit of a gradient must be above 0, not {limit!r}")
    found = [p for p in states(parameters).values() if isinstance(p, Parameter) and p.grad is not None]
    if not found:
        raise ValueError("there is no parameter with a gradient in what is to be clipped, "
                         f"{type(parameters).__name__}: clip after loss.backprop() and before the step")
    return found
