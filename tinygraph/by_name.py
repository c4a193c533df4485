"""What the estimators and the command line call by name: activations, optimizers, schedules, and networks made of them.

Whoever composes a network in Python needs nothing of this: it is `tinygraph.nn` and `tinygraph.optim`, by their usual
names.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from . import nn, optim

__all__ = ["ACTIVATIONS", "OPTIMIZERS", "SCHEDULES", "groups", "multilayer"]

ACTIVATIONS: dict[str, Callable[[], Any]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU,
    "softplus": nn.Softplus, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "hardtanh": nn.Hardtanh,
}  # fmt: skip

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": optim.SGD, "momentum": partial(optim.SGD, momentum=0.9),
    "nesterov": partial(optim.SGD, momentum=0.9, nesterov=True), "rmsprop": optim.RMSProp, "adagrad": optim.Adagrad,
    "adam": optim.Adam, "adamw": optim.AdamW, "adamax": optim.Adamax, "nadam": optim.NAdam, "lion": optim.Lion,
}  # fmt: skip

# (rate, steps of the whole run) -> the rate, or the rate as a function of the step
SCHEDULES: dict[str, Callable[[float, int], Any]] = {
    "constant": lambda lr, steps: lr,
    "step": lambda lr, steps: optim.Step(lr, -(-steps // 3)),  # a tenth after each third
    "exponential": lambda lr, steps: optim.Exponential(lr, 0.01 ** (1 / steps)),  # to a hundredth
    "cosine": lambda lr, steps: optim.Cosine(lr, steps),
    "one_cycle": lambda lr, steps: optim.OneCycle(lr, max(steps, 4)),
    "warm_up": lambda lr, steps: optim.WarmUp(lr, max(steps // 10, 1)),
}


def multilayer(
    n_inputs: int, hidden: Iterable[int], n_outputs: int, *, activation: Callable[[], Any], dropout: float,
    batch_norm: bool, rng: np.random.Generator, dtype: Any = np.float64,
) -> list[Any]:  # fmt: skip
    """The layers of a fully connected network; hidden ones are normalised, active and dropped out, as it is wanted."""
    layers: list[Any] = []
    for size in hidden:
        layers.append(nn.Linear(n_inputs, size, rng=rng, dtype=dtype))
        layers += [nn.BatchNorm(size, dtype=dtype)] if batch_norm else []
        layers.append(activation())
        layers += [nn.Dropout(dropout, rng=rng)] if dropout else []
        n_inputs = size
    return [*layers, nn.Linear(n_inputs, n_outputs, rng=rng, dtype=dtype)]


def groups(network: Any, **options: float) -> list[dict[str, Any]]:
    """The parameters in two groups: matrices and kernels, with these options, and the rest, such as biases, without."""
    weights = [p for p in nn.parameters(network).values() if p.ndim > 1]
    return [{"parameters": weights, **options}, {"parameters": network, **dict.fromkeys(options, 0.0)}]
