"""A chain of up to a million ops, y = y * c on vectors of 8: what one op costs to build, to differentiate, to free.

The arithmetic is next to nothing, so this is the cost of the graph itself, and whether it stays linear in the length.
"""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import numpy as np

import tinygraph as tg

from .report import Bar, Report

ROUNDS = {10_000: 10, 100_000: 3, 1_000_000: 2}
FACTORS = 1 + 1e-7 * np.arange(-4, 4)  # near 1, so that a million of them multiply to something finite
PHASES = ("build", "backprop", "free")

# A contender makes the graph of the sum of a chain of n ops, and a function that returns its gradient.
Contender = Callable[[int], Callable[[], np.ndarray]]


def bare(n: int) -> Callable[[], np.ndarray]:
    """The NumPy calls alone, and a list that holds the values as a graph does."""
    values = [np.ones(8)]
    for _ in range(n):
        values.append(values[-1] * FACTORS)
    values.append(np.add.reduce(values[-1]))

    def backprop() -> np.ndarray:
        grad = np.ones(8)
        for _ in range(len(values) - 2):
            grad = grad * FACTORS
        return grad

    return backprop


def tinygraph(n: int) -> Callable[[], np.ndarray]:
    x = tg.Parameter(np.ones(8))
    y: Any = x
    for _ in range(n):
        y = y * FACTORS
    loss = y.sum()

    def backprop() -> Any:
        loss.backprop()
        return x.grad

    return backprop


def torch(n: int) -> Callable[[], np.ndarray]:
    import torch

    torch.set_num_threads(1)
    factors = torch.from_numpy(FACTORS)
    x = torch.ones(8, dtype=torch.float64, requires_grad=True)
    y = x
    for _ in range(n):
        y = y * factors
    loss = y.sum()

    def backprop() -> Any:
        return torch.autograd.grad(loss, x)[0].numpy()

    return backprop


def autograd(n: int) -> Callable[[], np.ndarray]:
    import autograd.numpy as anp
    from autograd.core import make_vjp
    from autograd.extend import vspace

    def chain(x: Any) -> Any:
        for _ in range(n):
            x = x * FACTORS
        return anp.sum(x)

    vjp, total = make_vjp(chain, np.ones(8))
    return lambda: vjp(vspace(total).ones())


CONTENDERS: dict[str, tuple[str, Contender]] = {
    "bare NumPy": ("numpy", bare),
    "tinygraph": ("numpy", tinygraph),
    "PyTorch": ("torch", torch),
    "HIPS autograd": ("autograd", autograd),
}


def run() -> Report:
    makers = {name: make for name, (module, make) in CONTENDERS.items() if importlib.util.find_spec(module)}
    for make in makers.values():
        measure(make, 100)
    gc.collect()
    gc.freeze()  # imported modules are not what a collection here should walk
    costs = {(n, collector, name): [] for n in ROUNDS for collector in ("off", "on") for name in makers}
    for n, rounds in ROUNDS.items():
        for _ in range(rounds):
            for name, make in makers.items():
                costs[n, "off", name].append(without_collector(make, n))
                costs[n, "on", name].append(measure(make, n))
    return report(costs)


def without_collector(make: Contender, n: int) -> list[float]:
    """As `measure`, with reference counts alone; RuntimeError if they leave objects behind."""
    gc.collect()
    before = len(gc.get_objects())
    gc.disable()
    try:
        found = measure(make, n)
        left = len(gc.get_objects()) - before
    finally:
        gc.enable()
    if left > 100:  # a constant few are the measurement's own
        raise RuntimeError(f"{make.__name__}({n}) left {left} objects that only the garbage collector frees")
    return found


def measure(make: Contender, n: int) -> list[float]:
    """Microseconds of processor time an op to build, to backprop, to free; AssertionError if the gradient is wrong."""
    times = [process_time()]
    backprop = make(n)
    times.append(process_time())
    grad = backprop()
    times.append(process_time())
    del backprop
    times.append(process_time())
    np.testing.assert_allclose(grad, FACTORS**n, 1e-9)
    return list(np.diff(times) / n * 1e6)


def report(costs: dict[tuple[int, str, str], list[list[float]]]) -> Report:
    together = {key: median(map(sum, found)) for key, found in costs.items()}
    rows = []
    for (n, collector, name), found in costs.items():
        if collector == "off":
            phases = [median(column) for column in zip(*found, strict=True)]
            cells = [*phases, together[n, "off", name], together[n, "on", name]]
            rows.append([f"{name}, 10^{len(str(n)) - 1}", *[f"{cell:.2f}" for cell in cells]])
    rounds = ", ".join(f"{rounds} rounds at {n:,}" for n, rounds in ROUNDS.items())
    method = (f"Microseconds of processor time an op, medians of {rounds}, contenders taking turns; the phases with "
              "the garbage collector off. Each gradient is checked, and that reference counts alone freed everything. "
              "Bare NumPy is the same multiplications and a list.")
    numbers = {f"{n} {collector} {name}": found for (n, collector, name), found in costs.items()}
    return Report("A chain of y = y * c on vectors of 8", method,
                  ["engine, length", *PHASES, "together", "together, collector on"], rows, bars(together),
                  {"microseconds": numbers})


def bars(together: dict[tuple[int, str, str], float]) -> list[Bar]:
    """Beside the fastest peer, collector off and on, and one op in a long chain beside one in a short chain."""
    longest, shortest, found = max(ROUNDS), min(ROUNDS), []
    for collector in ("off", "on"):
        costs = {name: cost for (n, c, name), cost in together.items() if (n, c) == (longest, collector)}
        peers = {name: cost for name, cost in costs.items() if name not in ("bare NumPy", "tinygraph")}
        if peers:
            fastest = min(peers, key=lambda name: peers[name])
            found.append(Bar(f"chain of 10^6 beside {fastest}, collector {collector}",
                             costs["tinygraph"] / peers[fastest], 1))
    growth = together[longest, "off", "tinygraph"] / together[shortest, "off", "tinygraph"]
    found.append(Bar("an op in a chain of 10^6 beside one of 10^4 (linear: about 1)", growth, 1.5))
    return found
