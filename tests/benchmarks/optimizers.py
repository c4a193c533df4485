"""The step of an optimizer alone, without loss and gradients, for the parameters of the documents' networks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import optim

from .report import Bar, Report
from .timing import Times, ratio, ratio_of_best, round_robin

NETWORKS: list[tuple[list[int], type]] = [([2, 10, 2], np.float64), ([784, 256, 128, 10], np.float32)]
# Of each: the class here, PyTorch's, and the options of both.
OPTIMIZERS: dict[str, tuple[Any, str, dict[str, float]]] = {
    "SGD": (optim.SGD, "SGD", {"lr": 1e-3}),
    "SGD, momentum": (optim.SGD, "SGD", {"lr": 1e-3, "momentum": 0.9}),
    "RMSProp": (optim.RMSProp, "RMSprop", {"lr": 1e-3}),
    "Adam": (optim.Adam, "Adam", {"lr": 1e-3}),
    "AdamW": (optim.AdamW, "AdamW", {"lr": 1e-3, "weight_decay": 0.01}),
}


def run() -> Report:
    rows, bars, seconds = [], [], {}
    for units, dtype in NETWORKS:
        for name in OPTIMIZERS:
            times = round_robin(contenders(units, dtype, name), seconds=4)
            title = f"{units}, {np.dtype(dtype)}: {name}"
            seconds[title] = times
            rows.append([title, f"{np.median(times['tinygraph']) * 1e6:.0f}",
                         *[cell(times, rival) for rival in ("PyTorch", "PyTorch, fused", "NumPy")]])
            if name == "Adam" and "PyTorch" in times:
                bars.append(Bar(f"step of {title}, beside PyTorch", ratio(times, "tinygraph", "PyTorch"), 1))
    method = ("Microseconds of processor time of `optimizer.step()` with the gradients in place: median over the "
              "rounds, in which the contenders took turns; in brackets how many times as long as tinygraph (median of "
              "the rounds' ratios, ratio of the best times). PyTorch is `torch.optim` as it comes, and with "
              "`fused=True`; NumPy is Adam written out in place for this one network, with nothing checked. Before, "
              "three steps of each gave the same parameters.")
    return Report("The step of an optimizer, eager", method,
                  ["parameters", "tinygraph", "PyTorch", "PyTorch, fused", "NumPy"], rows, bars, {"seconds": seconds})


def cell(times: Times, rival: str) -> str:
    if rival not in times:
        return ""
    return (f"{np.median(times[rival]) * 1e6:.0f} ({ratio(times, rival, 'tinygraph'):.2f}, "
            f"{ratio_of_best(times, rival, 'tinygraph'):.2f})")


def contenders(units: list[int], dtype: type, name: str) -> dict[str, Callable[[], object]]:
    """Steps of all whose engine is installed, after three that gave the same parameters."""
    ours, torch_name, options = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    shapes = [shape for a, b in pairwise(units) for shape in ((a, b), (b,))]
    start, grads = ([rng.normal(size=shape).astype(dtype) for shape in shapes] for _ in range(2))
    parameters = [tg.Parameter(p) for p in start]
    optimizer = ours(parameters, **options)

    def step() -> None:
        for p, grad in zip(parameters, grads, strict=True):
            p._grad = grad  # as backprop leaves it, without a copy
        optimizer.step()

    made: dict[str, tuple[Callable[[], object], Callable[[], list[np.ndarray]]]] = {
        "tinygraph": (step, lambda: [p.value for p in parameters])}
    if importlib.util.find_spec("torch"):
        made["PyTorch"] = with_torch(torch_name, start, grads, options)
        if torch_name != "RMSprop":  # which has no fused form
            made["PyTorch, fused"] = with_torch(torch_name, start, grads, {**options, "fused": True})
    if name == "Adam":
        made["NumPy"] = written_out(start, grads)
    for move, _ in made.values():
        for _ in range(3):
            move()
    tolerance = 1e-10 if dtype is np.float64 else 1e-5
    for rival, (_, found) in made.items():
        for p, expected in zip(found(), made["tinygraph"][1](), strict=True):
            np.testing.assert_allclose(p, expected, tolerance, tolerance, err_msg=rival)
    return {rival: move for rival, (move, _) in made.items()}


def with_torch(name: str, start: list[np.ndarray], grads: list[np.ndarray], options: dict[str, Any]) -> Any:
    import torch

    torch.set_num_threads(1)
    parameters = [torch.tensor(p, requires_grad=True) for p in start]
    for p, grad in zip(parameters, grads, strict=True):
        p.grad = torch.tensor(grad)
    return getattr(torch.optim, name)(parameters, **options).step, lambda: [p.detach().numpy() for p in parameters]


def written_out(start: list[np.ndarray], grads: list[np.ndarray]) -> Any:
    parameters = [p.copy() for p in start]
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in start]
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        root = (1 - 0.999**t) ** 0.5
        rate, eps = 1e-3 * root / (1 - 0.9**t), 1e-8 * root
        for p, g, (m, s) in zip(parameters, grads, moments, strict=True):
            m *= 0.9
            m += 0.1 * g
            s *= 0.999
            s += 0.001 * np.square(g)
            change = np.sqrt(s)
            change += eps
            np.divide(m, change, out=change)
            change *= rate
            p -= change

    return step, lambda: parameters
