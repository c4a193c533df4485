"""Oracles: derivatives computed without the engine, from values of a function alone.

A direction has a tangent for each argument. `complex_step` is exact to the last digits for functions that are analytic
and written for complex numbers; `differences` needs nothing but a smooth function, and gives some ten digits.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Arrays = Sequence[np.ndarray]
Directional = Callable[[Callable[..., Any], Arrays, Arrays], Any]


def complex_step(f: Callable[..., Any], xs: Arrays, vs: Arrays) -> Any:
    """The derivative of f at xs along vs: f(x + ihv) = f(x) + ih f'(x) v + O(h²), and h² vanishes."""
    h = 1e-30
    return np.imag(f(*(x + 1j * h * v for x, v in zip(xs, vs, strict=True)))) / h


def differences(f: Callable[..., Any], xs: Arrays, vs: Arrays) -> Any:
    """The same by central differences: with steps halved three times, then Richardson's extrapolation to step 0."""
    def central(h: float) -> Any:
        ahead, behind = (f(*(x + s * v for x, v in zip(xs, vs, strict=True))) for s in (h, -h))
        return (ahead - behind) / (2 * h)

    row = [central(h) for h in (1 / 32, 1 / 64, 1 / 128, 1 / 256)]
    for power in (4, 16, 64):
        row = [better + (better - worse) / (power - 1) for worse, better in itertools.pairwise(row)]
    return row[0]


def gradient(directional: Directional, f: Callable[..., Any], xs: Arrays) -> list[np.ndarray]:
    """The gradient of f, which returns one number: its derivative along the unit vector of every entry."""
    grads = [np.zeros_like(x) for x in xs]
    for i, grad in enumerate(grads):
        for entry in np.ndindex(grad.shape):
            units = [np.zeros_like(x) for x in xs]
            units[i][entry] = 1
            grad[entry] = directional(f, xs, units)
    return grads


def weighted(f: Callable[..., Any], weights: Any) -> Callable[..., Any]:
    """x -> the sum of f(x) times the weights: one number, whatever the shape of f. For arrays and for nodes."""
    return lambda *xs: np.sum(f(*xs) * weights)


def along(directional: Directional, f: Callable[..., Any], vs: Arrays) -> Callable[..., Any]:
    """x -> the derivative of f at x along vs, a function to be differentiated again."""
    return lambda *xs: directional(f, xs, vs)
