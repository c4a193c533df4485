"""Optimizers: how parameters move, given their gradients, eagerly and in steps that `tg.compile` traces.

All that an optimizer remembers is a `State`: its moments, the number of steps, its rates. So `states(optimizer)` finds
it, a checkpoint keeps it, and a compiled step neither forgets it nor is traced anew when a rate changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..node import Node, Parameter, State, describe
from ..states import Borrowed, states
from .schedules import Schedule

Rate = float | Schedule


class Group:
    """Parameters that move by the same options, each with the moments that the optimizer keeps for it."""

    def __init__(self, optimizer: str, parameters: dict[str, Parameter], lr: Rate | None, options: dict[str, float],
                 moments: Iterable[str]) -> None:
        self._parameters = Borrowed(parameters)
        self.options = options
        self.moments = {name: [State(np.zeros_like(p.value)) for p in parameters.values()] for name in moments}
        self._optimizer = optimizer
        self._schedule = lr if callable(lr) else None
        self._rate = State(np.float64(_above(optimizer, "lr", lr))) if lr is not None and not callable(lr) else None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters, each by its path."""
        found: dict[str, Parameter] = self._parameters.thing
        return found

    @property
    def lr(self) -> Any:
        """The learning rate: a number, a schedule, or None for that of the optimizer. Assign a number to change it."""
        return self._schedule if self._rate is None else float(self._rate.value)

    @lr.setter
    def lr(self, lr: float) -> None:
        if self._rate is None or callable(lr):
            raise TypeError(f"{self._optimizer}: only a number can be changed, to another number: what is compiled "
                            "would not notice more; make a new optimizer")
        self._rate.value = np.float64(_above(self._optimizer, "lr", lr))

    def rate(self, t: Any) -> Any:
        """The rate at step t, or None."""
        return self._schedule(t) if self._schedule else None if self._rate is None else self._rate.value


class Optimizer:
    """What all optimizers have in common; use one of those below.

    parameters: a model, or anything that holds parameters; or a list of groups, dicts with "parameters" and the options
        that are different for them, such as `{"parameters": model.head, "lr": 1e-4}`.
    lr: the learning rate: a number, or a schedule, a function of the number of steps so far.
    weight_decay: the share lr * weight_decay by which parameters shrink in each step, apart from the gradient
        (Loshchilov and Hutter, 2019).
    l1, l2: add l1 Σ|p| and l2/2 Σp² to the loss, that is l1 sign(p) and l2 p to the gradient. (PyTorch calls l2
        `weight_decay`, but for AdamW.)

    ValueError for an option outside its domain, or if there is no parameter.
    """

    moments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parameters: Any, lr: Rate, weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0,
                 **options: float) -> None:
        name = type(self).__name__
        options = {"weight_decay": weight_decay, "l1": l1, "l2": l2, **options}
        self.count = State(np.int64(0))
        self.groups: list[Group] = []
        seen: set[Parameter] = set()
        for entry in _entries(parameters):
            unknown = entry.keys() - {"parameters", "lr", *options}
            if "parameters" not in entry or unknown:
                raise ValueError(f"{name}: a group is a dict with 'parameters' and some of "
                                 f"{', '.join(['lr', *options])}; this one has {', '.join(map(repr, entry))}")
            found = {path: p for path, p in states(entry["parameters"]).items()
                     if isinstance(p, Parameter) and p not in seen}
            seen.update(found.values())
            given = {**options, **{key: entry[key] for key in options.keys() & entry.keys()}}
            for key, value in given.items():
                check_option(name, key, value)
            self.groups.append(Group(name, found, entry.get("lr"), given, self.moments))
        if not seen:
            raise ValueError(f"{name}: there is no parameter in what it was given, {type(parameters).__name__}")
        self._base = Group(name, {}, lr, {}, ())

    @property
    def lr(self) -> Any:
        """The learning rate of all groups that have none of their own: a number or a schedule. Assign a number."""
        return self._base.lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._base.lr = lr

    def step(self) -> None:
        """Move each parameter by its gradient, which `loss.backprop()` has set.

        RuntimeError, before anything has changed, if a parameter has none.
        """
        for group in self.groups:
            for path, p in group.parameters.items():
                if p.grad is None:
                    raise RuntimeError(f"{type(self).__name__}: {describe(p)} ({path}) has no gradient: call "
                                       "loss.backprop() first, and give the optimizer only what the loss depends on")
        t = self.count.value
        for group in self.groups:
            lr = group.rate(t)
            lr = self._base.rate(t) if lr is None else lr
            scalars = self.scalars(lr, t + 1.0, group.options)
            for i, p in enumerate(group.parameters.values()):
                self._move(p, {name: kept[i] for name, kept in group.moments.items()}, lr, scalars, group.options)
        self.finish(t + 1.0)
        self.count.value = t + 1

    def _move(self, p: Parameter, kept: dict[str, State], lr: Any, scalars: Any, options: dict[str, float]) -> None:
        grad, value = p.grad, p.value
        if options["l2"]:
            grad = grad + options["l2"] * value
        if options["l1"]:
            grad = grad + options["l1"] * np.sign(value)
        if options["weight_decay"]:
            value = value * weak(1 - lr * options["weight_decay"], value)
        moments = {name: state.value for name, state in kept.items()}
        change, moved = self.update(grad, moments, [weak(x, grad) for x in scalars], options)
        for name, state in kept.items():
            state.assign(moved[name])
        p.assign(value - change)

    def scalars(self, lr: Any, t: Any, o: dict[str, float]) -> tuple[Any, ...]:
        """The numbers that `update` needs, the same for all parameters of a group, in step t = 1, 2, ..."""
        return (lr,)

    def update(self, grad: Any, moments: dict[str, Any], scalars: list[Any], o: dict[str, float]) -> Any:
        """What to subtract from a parameter, and its new moments; o are the options."""
        raise NotImplementedError

    def finish(self, t: Any) -> None:
        """What else changes in step t, once all parameters have moved."""


def weak(x: Any, like: Any) -> Any:
    """A number that leaves the dtype of the arrays beside it as it is."""
    return x.astype(like.dtype) if isinstance(x, Node) else float(x)


def _entries(parameters: Any) -> list[Mapping[str, Any]]:
    if isinstance(parameters, list | tuple) and parameters and all(isinstance(x, Mapping) for x in parameters):
        return list(parameters)
    if isinstance(parameters, Iterator):
        parameters = list(parameters)
    return [{"parameters": parameters}]


def _above(optimizer: str, name: str, value: Any) -> float:
    try:
        if 0 <= value < np.inf:
            return float(value)
    except TypeError:
        pass
    raise ValueError(f"{optimizer}: {name} must be a number >= 0, not {value!r}")


_BELOW_ONE = {"momentum", "beta1", "beta2", "decay"}


def check_option(optimizer: str, name: str, value: Any) -> None:
    """ValueError unless it is a number >= 0, and below 1 if it says how much of a moment is kept."""
    if isinstance(value, bool):
        return
    _above(optimizer, name, value)
    if name in _BELOW_ONE and not value < 1:
        raise ValueError(f"{optimizer}: {name} must lie in [0, 1), not {value!r}")


class SGD(Optimizer):
    """p ← p - lr g; with momentum μ: v ← μ v + g, p ← p - lr v (nesterov: p ← p - lr (g + μ v))."""

    def __init__(self, parameters: Any, lr: Rate = 0.01, *, momentum: float = 0.0, nesterov: bool = False,
                 weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0) -> None:
        self.moments = ("velocity",) if momentum else ()  # type: ignore[misc]
        super().__init__(parameters, lr, weight_decay, l1, l2, momentum=momentum, nesterov=nesterov)
        if any(bool(group.options["momentum"]) != bool(momentum) for group in self.groups):
            raise ValueError("SGD: either all groups have momentum, or none")

    def update(self, grad: Any, moments: dict[str, Any], scalars: list[Any], o: dict[str, float]) -> Any:
        (lr,) = scalars
        if not moments:
            return lr * grad, {}
        v = o["momentum"] * moments["velocity"] + grad
        return lr * (grad + o["momentum"] * v if o["nesterov"] else v), {"velocity": v}


class RMSProp(Optimizer):
    """s ← α s + (1 - α) g²,  v ← μ v + g / (√s + ε),  p ← p - lr v (Tieleman and Hinton, 2012)."""

    def __init__(self, parameters: Any, lr: Rate = 0.01, *, decay: float = 0.99, eps: float = 1e-8,
                 momentum: float = 0.0, weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0) -> None:
        self.moments = ("square", "velocity") if momentum else ("square",)  # type: ignore[misc]
        super().__init__(parameters, lr, weight_decay, l1, l2, decay=decay, eps=eps, momentum=momentum)
        if any(bool(group.options["momentum"]) != bool(momentum) for group in self.groups):
            raise ValueError("RMSProp: either all groups have momentum, or none")

    def update(self, grad: Any, moments: dict[str, Any], scalars: list[Any], o: dict[str, float]) -> Any:
        s = o["decay"] * moments["square"] + (1 - o["decay"]) * np.square(grad)
        v = grad / (np.sqrt(s) + o["eps"])
        if "velocity" not in moments:
            return scalars[0] * v, {"square": s}
        v = o["momentum"] * moments["velocity"] + v
        return scalars[0] * v, {"square": s, "velocity": v}


class Adagrad(Optimizer):
    """s ← s + g²,  p ← p - lr g / (√s + ε) (Duchi et al., 2011)."""

    moments = ("square",)

    def __init__(self, parameters: Any, lr: Rate = 0.01, *, eps: float = 1e-10, weight_decay: float = 0.0,
                 l1: float = 0.0, l2: float = 0.0) -> None:
        super().__init__(parameters, lr, weight_decay, l1, l2, eps=eps)

    def update(self, grad: Any, moments: dict[str, Any], scalars: list[Any], o: dict[str, float]) -> Any:
        s = moments["square"] + np.square(grad)
        return scalars[0] * grad / (np.sqrt(s) + o["eps"]), {"square": s}


class Adam(Optimizer):
    """m ← β₁ m + (1 - β₁) g,  s ← β₂ s + (1 - β₂) g²,  p ← p - lr m̂ / (√ŝ + ε) (Kingma and Ba, 2015).

    m̂ = m / (1 - β₁ᵗ) and ŝ = s / (1 - β₂ᵗ) after t steps.
    """

    moments = ("mean", "square")

    def __init__(self, parameters: Any, lr: Rate = 1e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0) -> None:
        super().__init__(parameters, lr, weight_decay, l1, l2, beta1=beta1, beta2=beta2, eps=eps)

    def scalars(self, lr: Any, t: Any, o: dict[str, float]) -> tuple[Any, ...]:
        return lr / (1 - o["beta1"] ** t), np.sqrt(1 - o["beta2"] ** t)

    def update(self, grad: Any, moments: dict[str, Any], scalars: list[Any], o: dict[str, float]) -> Any:
        m = o["beta1"] * moments["mean"] + (1 - o["beta1"]) * grad
        s = o["beta2"] * moments["square"] + (1 - o["beta2"]) * np.square(grad)
        rate, root = scalars
        return rate * m / (np.sqrt(s) / root + o["eps"]), {"mean": m, "square": s}


class AdamW(Adam):
    """Adam with a decoupled weight decay of 0.01 unless said (Loshchilov and Hutter, 2019)."""

    def __init__(self, parameters: Any, lr: Rate = 1e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, weight_decay: float = 0.01, l1: float = 0.0, l2: float = 0.0) -> None:
        super().__init__(parameters, lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay, l1=l1, l2=l2)


class Adamax(Optimizer):
    """m ← β₁ m + (1 - β₁) g,  u ← max(β₂ u, |g| + ε),  p ← p - lr m̂ / u (Kingma and Ba, 2015, section 7.1)."""

    moments = ("mean", "largest")

    def __init__(self, parameters: Any, lr: Rate = 2e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0) -> None:
        super().__init__(parameters, lr, weight_decay, l1, l2, beta1=beta1, beta2=beta2, eps=eps)

    def scalars(self, lr: Any, t: Any, o: dict[str, float]) -> tuple[Any, ...]:
        return (lr / (1 - o["beta1"] ** t),)

    def update(self, grad: Any, moments: dict[str, Any], scalars: list[Any], o: dict[str, float]) -> Any:
        m = o["beta1"] * moments["mean"] + (1 - o["beta1"]) * grad
        u = np.maximum(o["beta2"] * moments["largest"], np.abs(grad) + o["eps"])
        return scalars[0] * m / u, {"mean": m, "largest": u}


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, β₁ growing from half its value at the pace ψ (Dozat, 2016).

    μₜ = β₁ (1 - 0.96^(tψ)/2),  M = Π μ,  p ← p - lr ((1 - μₜ)/(1 - M) g + μₜ₊₁/(1 - M μₜ₊₁) m) / (√ŝ + ε)
    """

    moments = ("mean", "square")

    def __init__(self, parameters: Any, lr: Rate = 2e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, pace: float = 4e-3, weight_decay: float = 0.0, l1: float = 0.0,
                 l2: float = 0.0) -> None:
        super().__init__(parameters, lr, weight_decay, l1, l2, beta2=beta2, eps=eps)
        check_option("NAdam", "beta1", beta1)
        check_option("NAdam", "pace", pace)
        self.beta1, self.pace = beta1, pace
        self.product = State(np.float64(1))

    def scalars(self, lr: Any, t: Any, o: dict[str, float]) -> tuple[Any, ...]:
        now, after = self._momentum(t), self._momentum(t + 1)
        product = self.product.value * now
        return (lr * (1 - now) / (1 - product), lr * after / (1 - product * after), np.sqrt(1 - o["beta2"] ** t))

    def update(self, grad: Any, moments: dict[str, Any], scalars: list[Any], o: dict[str, float]) -> Any:
        m = self.beta1 * moments["mean"] + (1 - self.beta1) * grad
        s = o["beta2"] * moments["square"] + (1 - o["beta2"]) * np.square(grad)
        of_grad, of_mean, root = scalars
        return (of_grad * grad + of_mean * m) / (np.sqrt(s) / root + o["eps"]), {"mean": m, "square": s}

    def finish(self, t: Any) -> None:
        self.product.value = self.product.value * self._momentum(t)

    def _momentum(self, t: Any) -> Any:
        return self.beta1 * (1 - 0.5 * 0.96 ** (t * self.pace))


class Lion(Optimizer):
    """p ← p - lr sign(β₁ m + (1 - β₁) g),  then m ← β₂ m + (1 - β₂) g (Chen et al., 2023)."""

    moments = ("mean",)

    def __init__(self, parameters: Any, lr: Rate = 1e-4, *, beta1: float = 0.9, beta2: float = 0.99,
                 weight_decay: float = 0.0, l1: float = 0.0, l2: float = 0.0) -> None:
        super().__init__(parameters, lr, weight_decay, l1, l2, beta1=beta1, beta2=beta2)

    def update(self, grad: Any, moments: dict[str, Any], scalars: list[Any], o: dict[str, float]) -> Any:
        m = moments["mean"]
        change = scalars[0] * np.sign(o["beta1"] * m + (1 - o["beta1"]) * grad)
        return change, {"mean": o["beta2"] * m + (1 - o["beta2"]) * grad}
