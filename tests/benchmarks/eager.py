"""Derivatives as they come, nothing compiled: five functions, beside HIPS autograd, PyTorch and JAX.

In Rosenbrock's function, its Hessian and the loop the arrays are small, and what is measured is the engines' overhead;
in the inverse and the chain it is LAPACK and memory. JAX stands there twice, as it is and with `jax.jit`, which is not
eager.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tinygraph as tg

from .contest import difference
from .report import Bar, Report
from .timing import Times, ratio, ratio_of_best, round_robin

OURS, RIVAL = "tinygraph", "HIPS autograd"
SECONDS = 6  # how long the contenders of a task take turns
OVERHEAD, LEVEL = 0.5, 1.0  # times HIPS autograd: where Python's overhead dominates, and where it does not


@dataclass
class Task:
    """One number made of an array, in the functions of a module like NumPy; and what is asked of it."""

    name: str
    f: Callable[[Any, Any], Any]
    x: np.ndarray
    limit: float
    hessian: bool = False


def rosenbrock(m: Any, x: Any) -> Any:
    return m.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def inverse(m: Any, A: Any) -> Any:
    return m.sum(m.linalg.inv(A))


def chain(m: Any, x: Any) -> Any:
    return m.sum(m.tanh(m.sin(x) * x + 0.5) / (x * x + 1))


def loop(m: Any, x: Any) -> Any:
    y = x
    for _ in range(500):
        y = m.sin(y) * x
    return m.sum(y)


def loop_in_jax(m: Any, x: Any) -> Any:
    """The same for `jax.jit`, which fails on a thousand ops one after the other."""
    import jax

    return m.sum(jax.lax.fori_loop(0, 500, lambda i, y: m.sin(y) * x, x))


def tasks() -> list[Task]:
    rng = np.random.default_rng(0)
    return [
        Task("Rosenbrock, 1,000 numbers: value and gradient", rosenbrock, rng.uniform(-1.5, 1.5, 1000), OVERHEAD),
        Task("Rosenbrock, 100 numbers: Hessian", rosenbrock, rng.uniform(-1.5, 1.5, 100), OVERHEAD, hessian=True),
        Task("inverse of 100 x 100: value and gradient", inverse, rng.standard_normal((100, 100)) + 20 * np.eye(100),
             LEVEL),
        Task("elementwise, 10^6 numbers: value and gradient", chain, rng.standard_normal(10**6), LEVEL),
        Task("loop of 1,000 ops on 8 numbers: value and gradient", loop, rng.uniform(0.9, 1.1, 8), OVERHEAD),
    ]


def tinygraph(task: Task) -> Callable[[], Any]:
    f = partial(task.f, np)
    return partial(tg.hessian(f) if task.hessian else tg.value_and_grad(f), task.x)


def autograd(task: Task) -> Callable[[], Any]:
    import autograd.numpy as anp
    from autograd import hessian, value_and_grad

    f = partial(task.f, anp)
    return partial(hessian(f) if task.hessian else value_and_grad(f), task.x)


def torch(task: Task) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(1)
    f = partial(task.f, torch)

    def value_and_gradient() -> Any:
        x = torch.from_numpy(task.x).requires_grad_()
        value = f(x)
        return value.detach(), torch.autograd.grad(value, x)[0]

    if task.hessian:
        return partial(torch.func.hessian(f), torch.from_numpy(task.x))
    return value_and_gradient


def jax(task: Task, jit: bool) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    f = partial(loop_in_jax if jit and task.f is loop else task.f, jnp)
    function = jax.hessian(f) if task.hessian else jax.value_and_grad(f)
    function, x = jax.jit(function) if jit else function, jnp.asarray(task.x)
    return lambda: jax.block_until_ready(function(x))


ENGINES: dict[str, tuple[str, Callable[[Task], Callable[[], Any]]]] = {
    OURS: ("numpy", tinygraph),
    RIVAL: ("autograd", autograd),
    "PyTorch": ("torch", torch),
    "JAX": ("jax", partial(jax, jit=False)),
    "JAX, jit": ("jax", partial(jax, jit=True)),
}


def run() -> Report:
    rows, found, numbers = [], [], {}
    for task in tasks():
        contenders = {name: make(task) for name, (module, make) in ENGINES.items() if importlib.util.find_spec(module)}
        check(task, contenders)
        times = round_robin(contenders, SECONDS)
        rows.append([task.name, *[cell(times, name) for name in ENGINES]])
        numbers[task.name] = times
        if RIVAL in times:
            found.append(Bar(f"{task.name}, beside {RIVAL}", ratio(times, OURS, RIVAL), task.limit))
    method = ("Microseconds of processor time of a call, from the array to the derivatives: median over the rounds, in "
              f"which the contenders took turns; in brackets how many times as long as {OURS} (median of the rounds' "
              "ratios, ratio of the best times). Before, all gave the same numbers. The first call of `jax.jit`, which "
              "compiles, is not timed; its loop is a `lax.fori_loop`.")
    return Report("Eager derivatives", method, ["task", *ENGINES], rows, found, {"seconds": numbers})


def check(task: Task, contenders: dict[str, Callable[[], Any]]) -> None:
    """RuntimeError if one does not give the numbers of the others."""
    results = {name: arrays(contender()) for name, contender in contenders.items()}
    for name, found in results.items():
        if wrong := difference(found, results[OURS], 1e-10):
            raise RuntimeError(f"{task.name}: {name} gives {wrong}")


def arrays(result: Any) -> list[np.ndarray]:
    return [np.asarray(x) for x in (result if isinstance(result, tuple) else [result])]


def cell(times: Times, name: str) -> str:
    if name not in times:
        return "-"
    text = f"{np.median(times[name]) * 1e6:,.0f}"
    return text if name == OURS else f"{text} ({ratio(times, name, OURS):.2f}, {ratio_of_best(times, name, OURS):.2f})"
