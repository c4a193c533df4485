"""The optimizers and learning-rate schedules that the command line knows by name."""

from collections.abc import Callable
from typing import Any

from .. import optim

__all__ = ["OPTIMIZERS", "RATES", "SCHEDULES", "make"]

OPTIMIZERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "sgd": (optim.SGD, {}),
    "momentum": (optim.SGD, {"momentum": 0.9}),
    "nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (optim.RMSProp, {}),
    "adagrad": (optim.Adagrad, {}),
    "adam": (optim.Adam, {}),
    "adamw": (optim.AdamW, {}),
    "adamax": (optim.Adamax, {}),
    "nadam": (optim.NAdam, {}),
    "lion": (optim.Lion, {}),
}
RATES = {"sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.01, "lion": 1e-4}  # of the others 0.001

# (rate, steps of the whole run) -> the rate as a function of the step
SCHEDULES: dict[str, Callable[[float, int], Any]] = {
    "constant": lambda lr, steps: lr,
    "step": lambda lr, steps: optim.Step(lr, -(-steps // 3)),
    "exponential": lambda lr, steps: optim.Exponential(lr, 0.01 ** (1 / steps)),
    "cosine": optim.Cosine,
    "one-cycle": optim.OneCycle,
    "warm-up": lambda lr, steps: optim.WarmUp(lr, max(1, steps // 10)),
}


def make(network: Any, settings: dict[str, Any], steps: int) -> Any:
    """The optimizer that the settings say, for a run of so many steps."""
    kind, options = OPTIMIZERS[settings["optimizer"]]
    rate = SCHEDULES[settings["schedule"]](settings["lr"], steps)
    return kind(network, rate, weight_decay=settings["weight_decay"], **options)
