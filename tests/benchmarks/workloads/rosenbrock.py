"""Rosenbrock's function, the sum of 100 (x_{i+1} - x_i²)² + (1 - x_i)²: its Hessian; value and gradient for SciPy.

SciPy calls a function with a float64 array and wants a float and a float64 array back, so there the conversions are
part of the work: every call is from NumPy to NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from . import Maker, Work, arrays
from .engines import TINYGRAPH, pytensor_function, tinygraph_compiled


@dataclass
class Problem:
    """The point, and a second one, so that no call gets the array of the call before."""

    x: np.ndarray
    other: np.ndarray
    dtype: str = "float64"

    @classmethod
    def random(cls, n: int) -> Problem:
        rng = np.random.default_rng(0)
        return cls(rng.uniform(-1.5, 1.5, n), rng.uniform(-1.5, 1.5, n))


def rosenbrock(x: Any) -> Any:
    """In the operators that all arrays and nodes have."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


# The Hessian


def hessian_of(x: Any, function: Callable[[Any], Any]) -> Work:
    return Work(lambda: function(x), lambda returned: arrays(returned))


def hessian_by_hand(problem: Problem, threads: int) -> Work:
    n = len(problem.x)

    def hessian(x: np.ndarray) -> np.ndarray:
        H = np.zeros(n * n)
        head = x[:-1]
        beside = -400 * head
        H[1::n + 1] = H[n::n + 1] = beside
        H[::n + 1] = 200
        main = H[:-1:n + 1]
        main += (2 - 400 * x[1:]) - 3 * beside * head
        H[0] -= 200
        return H.reshape(n, n)

    return hessian_of(problem.x, hessian)


def hessian_torch(problem: Problem, threads: int, compiled: bool) -> Work:
    import torch

    function = torch.func.hessian(rosenbrock)
    return hessian_of(torch.tensor(problem.x), torch.compile(function) if compiled else function)


def hessian_jax(problem: Problem, threads: int) -> Work:
    import jax
    import jax.numpy as jnp

    function = jax.jit(jax.hessian(rosenbrock))
    return hessian_of(jnp.asarray(problem.x), lambda x: function(x).block_until_ready())


def hessian_pytensor(problem: Problem, threads: int) -> Work:
    """Vectorised: with a loop, its default, it takes far longer."""
    import pytensor
    import pytensor.tensor as pt

    x = pt.tensor("x", dtype=problem.dtype, shape=problem.x.shape)
    gradient = pytensor.grad(rosenbrock(x), x)
    return hessian_of(problem.x, pytensor_function([x], pytensor.gradient.jacobian(gradient, x, vectorize=True)))


def hessian_autograd(problem: Problem, threads: int) -> Work:
    import autograd.numpy as anp
    from autograd import hessian

    return hessian_of(problem.x, hessian(lambda x: anp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)))


def hessian_tinygraph(name: str, problem: Problem, threads: int) -> Work:
    import tinygraph as tg

    return hessian_of(problem.x, tinygraph_compiled(name, threads)(tg.hessian(rosenbrock)))


HESSIAN: dict[str, Maker] = {
    "by hand": hessian_by_hand,
    "PyTorch": partial(hessian_torch, compiled=False),
    "torch.compile": partial(hessian_torch, compiled=True),
    "JAX": hessian_jax,
    "PyTensor": hessian_pytensor,
    "HIPS autograd": hessian_autograd,
    **{name: partial(hessian_tinygraph, name) for name in TINYGRAPH},
}


# Value and gradient, as SciPy calls it


def for_scipy(problem: Problem, function: Callable[[np.ndarray], tuple[float, np.ndarray]]) -> Work:
    points = cycle([problem.other, problem.x])

    def result(returned: Any) -> list[np.ndarray]:
        value, gradient = function(problem.x)
        if type(value) is not float or type(gradient) is not np.ndarray:
            raise TypeError(f"SciPy wants a float and an array, not {type(value)} and {type(gradient)}")
        return arrays(value, gradient)

    return Work(lambda: function(next(points)), result)


def scipy_by_hand(problem: Problem, threads: int) -> Work:
    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        head = x[:-1]
        a = x[1:] - head * head
        b = 1 - head
        grad = np.empty_like(x)
        grad[-1] = 0
        np.multiply(head, a, out=grad[:-1])
        grad[:-1] *= -400
        value = 100 * a.dot(a) + b.dot(b)
        b *= 2
        grad[:-1] -= b
        a *= 200
        grad[1:] += a
        return float(value), grad

    return for_scipy(problem, function)


def scipy_torch(problem: Problem, threads: int) -> Work:
    import torch

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        tensor = torch.from_numpy(x).requires_grad_()
        value = rosenbrock(tensor)
        return value.item(), torch.autograd.grad(value, tensor)[0].numpy()

    return for_scipy(problem, function)


def scipy_torch_compiled(problem: Problem, threads: int) -> Work:
    import torch

    gradient_and_value = torch.compile(torch.func.grad_and_value(rosenbrock))

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        gradient, value = gradient_and_value(torch.from_numpy(x))
        return value.item(), gradient.numpy()

    return for_scipy(problem, function)


def scipy_jax(problem: Problem, threads: int) -> Work:
    import jax

    value_and_gradient = jax.jit(jax.value_and_grad(rosenbrock))

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(x)
        return float(value), np.asarray(gradient)

    return for_scipy(problem, function)


def scipy_pytensor(problem: Problem, threads: int) -> Work:
    import pytensor
    import pytensor.tensor as pt

    x = pt.tensor("x", dtype=problem.dtype, shape=problem.x.shape)
    value = rosenbrock(x)
    compiled = pytensor_function([x], [value, pytensor.grad(value, x)])

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = compiled(x)
        return float(value), gradient

    return for_scipy(problem, function)


def scipy_autograd(problem: Problem, threads: int) -> Work:
    import autograd.numpy as anp
    from autograd import value_and_grad

    compiled = value_and_grad(lambda x: anp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = compiled(x)
        return float(value), gradient

    return for_scipy(problem, function)


def scipy_mygrad(problem: Problem, threads: int) -> Work:
    import mygrad

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        tensor = mygrad.tensor(x, copy=False)
        value = rosenbrock(tensor)
        value.backward()
        return value.item(), tensor.grad

    return for_scipy(problem, function)


def scipy_tinygraph(name: str, problem: Problem, threads: int) -> Work:
    import tinygraph as tg

    compiled = tinygraph_compiled(name, threads)(tg.value_and_grad(rosenbrock))

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = compiled(x)
        return float(value), gradient

    return for_scipy(problem, function)


SCIPY: dict[str, Maker] = {
    "by hand": scipy_by_hand,
    "PyTorch": scipy_torch,
    "torch.compile": scipy_torch_compiled,
    "JAX": scipy_jax,
    "PyTensor": scipy_pytensor,
    "HIPS autograd": scipy_autograd,
    "MyGrad": scipy_mygrad,
    **{name: partial(scipy_tinygraph, name) for name in TINYGRAPH},
}
