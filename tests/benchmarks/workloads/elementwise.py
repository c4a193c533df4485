"""Value and gradient of sum(tanh(x) exp(-x²) + log1p(exp(x)) sin(x)): no matrix in sight, only functions of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import Maker, Work, arrays
from .engines import TINYGRAPH, pytensor_function, tinygraph_compiled


@dataclass
class Problem:
    x: np.ndarray
    dtype: str = "float64"

    @classmethod
    def random(cls, n: int) -> Problem:
        return cls(np.random.default_rng(0).standard_normal(n))


def total(x: Any, xp: Any) -> Any:
    """The function, written with the module `xp` that plays NumPy."""
    return xp.sum(xp.tanh(x) * xp.exp(-x * x) + xp.log1p(xp.exp(x)) * xp.sin(x))


def result(returned: Any) -> list[np.ndarray]:
    return arrays(*returned)


def by_hand(problem: Problem, threads: int, block: int = 8192) -> Work:
    """In blocks whose temporaries stay in the cache, and for which malloc need not ask the system for memory: with
    temporaries as long as x it takes more than twice as long."""
    x = problem.x

    def call() -> Any:
        value, grad = 0.0, np.empty_like(x)
        for start in range(0, len(x), block):
            a, d = x[start:start + block], grad[start:start + block]
            tanh, bell, exp, sin = np.tanh(a), np.exp(-a * a), np.exp(a), np.sin(a)
            soft = np.log1p(exp)
            value += tanh.dot(bell) + soft.dot(sin)
            np.multiply(1 - tanh * (tanh + 2 * a), bell, out=d)  # of tanh(x) exp(-x²)
            exp /= 1 + exp
            d += exp * sin
            d += soft * np.cos(a)
        return value, grad

    return Work(call, result)


def torch_eager(problem: Problem, threads: int) -> Work:
    import torch

    x = torch.tensor(problem.x, requires_grad=True)

    def call() -> Any:
        value = total(x, torch)
        return value.detach(), torch.autograd.grad(value, x)[0]

    return Work(call, result)


def torch_compiled(problem: Problem, threads: int) -> Work:
    import torch

    x = torch.tensor(problem.x)
    function = torch.compile(torch.func.grad_and_value(partial(total, xp=torch)))
    return Work(lambda: function(x), lambda returned: result(returned[::-1]))


def jax(problem: Problem, threads: int) -> Work:
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(problem.x)
    function = jax.jit(jax.value_and_grad(partial(total, xp=jnp)))
    return Work(lambda: jax.block_until_ready(function(x)), result)


def pytensor(problem: Problem, threads: int) -> Work:
    import pytensor
    import pytensor.tensor as pt

    x = pt.vector("x", dtype=problem.dtype)
    value = total(x, pt)
    function = pytensor_function([x], [value, pytensor.grad(value, x)])
    return Work(lambda: function(problem.x), result)


def autograd(problem: Problem, threads: int) -> Work:
    import autograd.numpy as anp
    from autograd import value_and_grad

    function = value_and_grad(partial(total, xp=anp))
    return Work(lambda: function(problem.x), result)


def mygrad(problem: Problem, threads: int) -> Work:
    import mygrad

    def call() -> Any:
        x = mygrad.tensor(problem.x, copy=False)
        value = total(x, mygrad)
        value.backward()
        return value.data, x.grad

    return Work(call, result)


def tinygraph(name: str, problem: Problem, threads: int) -> Work:
    import tinygraph as tg

    function = tinygraph_compiled(name, threads)(tg.value_and_grad(partial(total, xp=np)))
    return Work(lambda: function(problem.x), result)


CONTENDERS: dict[str, Maker] = {
    "by hand": by_hand,
    "PyTorch": torch_eager,
    "torch.compile": torch_compiled,
    "JAX": jax,
    "PyTensor": pytensor,
    "HIPS autograd": autograd,
    "MyGrad": mygrad,
    **{name: partial(tinygraph, name) for name in TINYGRAPH},
}
