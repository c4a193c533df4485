"""Optimizers: how parameters move, given their gradients, eagerly and in steps that `tg.compile` traces.

All that an optimizer remembers is a `State`: its moments, the number of steps, its rates. So `states(optimizer)` finds
it, a checkpoint keeps it, and a compiled step neither forgets it nor is traced anew when a rate changes. This module
knows no layer, no loss and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypedDict, Unpack

import numpy as np

from ..compile.exclusive import is_exclusive
from ..node import TRACE, Node, Parameter, State, describe
from ..states import Borrowed, states
from .clipping import clipped_by_norm, clipped_by_value
from .schedules import Schedule

# Arrays that are larger are gone through in parts of so many numbers, whose intermediate results stay in the cache.
BLOCK = 1 << 15


class Common(TypedDict, total=False):
    """The options of all optimizers: see `Optimizer`."""

    weight_decay: float
    l1: float
    l2: float
    clip_value: float | None
    clip_norm: float | None


class Rated:
    """What has a learning rate: a number, kept in a state, or a schedule."""

    learning_rate: State | Schedule | None

    @property
    def lr(self) -> Any:
        """The learning rate. Assign a number to change it, between compiled steps too.

        A schedule stays: what is compiled would not notice another.
        """
        rate = self.learning_rate
        return float(rate.value) if isinstance(rate, State) else rate

    @lr.setter
    def lr(self, lr: float) -> None:
        if not isinstance(self.learning_rate, State) or callable(lr):
            raise TypeError("lr can only be changed from a number to another number: what is compiled would not "
                            "notice more; make a new optimizer")
        self.learning_rate.value = np.float64(number("lr", lr))

    def rate(self, t: Any) -> Any:
        """The rate of step t = 0, 1, ..., or None."""
        rate = self.learning_rate
        return rate.value if isinstance(rate, State) else rate and rate(t)


def _kept(lr: Any) -> State | Schedule:
    return lr if callable(lr) else State(np.float64(number("lr", lr)))


class Group(Rated):
    """Parameters that move by the same options, each with the moments that the optimizer keeps for it.

    lr: None if it is that of the optimizer.
    """

    def __init__(self, parameters: dict[str, Parameter], lr: Any, options: dict[str, Any],
                 moments: Iterable[str]) -> None:
        self._parameters = Borrowed(parameters)  # they are states of the model
        self.moments = {name: [State(np.zeros_like(p.value)) for p in parameters.values()] for name in moments}
        self.options = options
        self.learning_rate = None if lr is None else _kept(lr)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """By their paths in what the optimizer was given."""
        found: dict[str, Parameter] = self._parameters.thing
        return found


class Optimizer(Rated):
    """What all optimizers have in common; use one of those below.

    parameters: a model, or anything that holds parameters; or a list of groups, dicts with "parameters" and the options
        that are different for them, such as `{"parameters": model.head, "lr": 1e-4}`. What an earlier group holds is
        no part of a later one.
    lr: the learning rate: a number, or a schedule, a function of the number of steps so far.
    weight_decay: parameters shrink by the factor 1 - lr * weight_decay in each step, apart from the gradient
        (Loshchilov and Hutter, 2019).
    l1, l2: add l1 Σ|p| and l2/2 Σp² to the loss, that is l1 sign(p) and l2 p to the gradient. (PyTorch calls l2
        `weight_decay`, but for AdamW.)
    clip_value, clip_norm: what is done to the gradients of the loss first, if given; see `clip_by_value` and
        `clip_by_norm`.

    ValueError for an option outside its domain, or if there is no parameter; TypeError for complex parameters.
    """

    moments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parameters: Any, lr: float | Schedule, options: dict[str, float], weight_decay: float = 0.0,
                 l1: float = 0.0, l2: float = 0.0, clip_value: float | None = None,
                 clip_norm: float | None = None) -> None:
        options = {**options, "weight_decay": weight_decay, "l1": l1, "l2": l2}
        self.groups: list[Group] = []
        seen: set[Parameter] = set()
        for entry in _entries(parameters):
            if "parameters" not in entry or entry.keys() - {"parameters", "lr", *options}:
                raise ValueError(f"a group is a dict with 'parameters' and some of {', '.join(['lr', *options])}; "
                                 f"this one has {', '.join(map(repr, entry))}")
            found = {path: p for path, p in states(entry["parameters"]).items()
                     if isinstance(p, Parameter) and p not in seen}
            for path, p in found.items():
                if p.dtype.kind == "c":
                    raise TypeError(f"{describe(p)} ({path}) is complex: an optimizer moves real parameters; keep the "
                                    "real and the imaginary part in two")
            seen.update(found.values())
            given = {name: _checked(name, entry.get(name, value)) for name, value in options.items()}
            self.groups.append(Group(found, entry.get("lr"), given, self.moments))
        if not seen:
            raise ValueError(f"{type(self).__name__}: there is no parameter in what it was given, "
                             f"{type(parameters).__name__}")
        self.learning_rate = _kept(lr)
        self.clip_value = None if clip_value is None else number("clip_value", clip_value)
        self.clip_norm = None if clip_norm is None else number("clip_norm", clip_norm)
        self.count = State(np.int64(0))

    def step(self) -> None:
        """Move each parameter by its gradient, which `loss.backprop()` has set; the gradient is None afterwards.

        RuntimeError, before anything has changed, if a parameter has no gradient.
        """
        grads = self._gradients()
        if self.clip_value is not None:
            grads = clipped_by_value(grads, self.clip_value)
        if self.clip_norm is not None:
            grads, _ = clipped_by_norm(grads, self.clip_norm)
        t = self.count.value if TRACE.get() else int(self.count.value)
        rate, rest = self.rate(t), iter(grads)
        for group in self.groups:
            lr = group.rate(t)
            lr = rate if lr is None else lr
            scalars = self.scalars(lr, t + 1.0, group.options)
            if decay := group.options["weight_decay"]:
                scalars += (1 - lr * decay,)
            for p, *kept in zip(group.parameters.values(), *group.moments.values(), strict=True):
                self._move([p, *kept], next(rest), scalars, group.options)
                p.grad = None
        self.finish(t + 1.0)
        self.count.value = t + 1

    def _gradients(self) -> list[Any]:
        grads = []
        for group in self.groups:
            for path, p in group.parameters.items():
                grad = p.grad
                if grad is None:
                    raise RuntimeError(f"{type(self).__name__}: {describe(p)} ({path}) has no gradient: call "
                                       "loss.backprop() before each step, and give the optimizer only what the loss "
                                       "depends on")
                if grad.shape != p.shape:  # assigned in a function that is traced
                    raise ValueError(f"{type(self).__name__}: {describe(p)} ({path}) has a gradient of shape "
                                     f"{grad.shape}")
                grads.append(grad)
        return grads

    def _move(self, moving: list[State], grad: Any, scalars: Iterable[Any], o: dict[str, float]) -> None:
        """Give a parameter and its moments their new values: in place, unless someone else holds the old ones."""
        if TRACE.get():
            value, *moments = [state.value for state in moving]
            scalars = [x.astype(grad.dtype) if isinstance(x, Node) else float(x) for x in scalars]
            value, change, *moments = self._update(grad, value, moments, scalars, o)
            for state, new in zip(moving, [value - change, *moments], strict=True):
                state.assign(new)
            return
        scalars = [float(x) for x in scalars]  # which leave the dtype of arrays as it is
        target = _writable(moving[0], np.empty_like)
        kept = [_writable(state, np.copy) for state in moving[1:]]
        old = moving[0]._version._value  # not before: who holds it here would count
        if grad.size <= BLOCK:
            self._write(grad, old, target, kept, scalars, o)
        else:
            grad, value, flat, *moments = [x.ravel() for x in (grad, old, target, *kept)]
            for start in range(0, grad.size, BLOCK):
                part = slice(start, start + BLOCK)
                self._write(grad[part], value[part], flat[part], [x[part] for x in moments], scalars, o)
        for state, new in zip(moving, (target, *kept), strict=True):
            if state._version._value is not new:
                state.assign(new)

    def _write(self, grad: Any, value: Any, target: Any, kept: list[Any], scalars: list[Any],
               o: dict[str, float]) -> None:
        """Write the new value into `target`, which may be the old one, and the new moments over the old ones."""
        value, change, *moments = self._update(grad, value, kept, scalars, o)
        np.subtract(value, change, out=target)
        for old, new in zip(kept, moments, strict=True):
            if old is not new:
                np.copyto(old, new)

    def _update(self, grad: Any, value: Any, moments: list[Any], scalars: list[Any], o: dict[str, float]) -> Any:
        """The value of a parameter after its decay, what to subtract from that, and its new moments."""
        if o["l2"]:
            grad = grad + o["l2"] * value
        if o["l1"]:
            grad = grad + o["l1"] * np.sign(value)
        if o["weight_decay"]:
            *scalars, factor = scalars
            value = value * factor
        return value, *self.update(grad, *moments, *scalars, o)

    def scalars(self, lr: Any, t: Any, o: dict[str, float]) -> tuple[Any, ...]:
        """The numbers that `update` needs, the same for all parameters of a group, in step t = 1, 2, ..."""
        return (lr,)

    def update(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        """What to subtract from a parameter, and its new moments; args: its moments, the scalars, the options.

        All are arrays, or nodes; the moments, and nothing else, may be changed in place.
        """
        raise NotImplementedError

    def finish(self, t: Any) -> None:
        """What else changes in step t, once all parameters have moved."""


def _writable(state: State, new: Callable[..., np.ndarray]) -> np.ndarray:
    """The array of a state if nobody else holds it, else a new one."""
    if state._version._value.flags.writeable and is_exclusive(state):
        own: np.ndarray = state._version._value
        return own
    return new(state._version._value, order="C")


def _entries(parameters: Any) -> list[Mapping[str, Any]]:
    if isinstance(parameters, Mapping) and "parameters" in parameters:  # one group
        return [parameters]
    if isinstance(parameters, Iterable) and not (isinstance(parameters, Mapping | Node)
                                                 or hasattr(parameters, "__dict__")):
        parameters = list(parameters)  # of a generator, too
        if parameters and all(isinstance(x, Mapping) for x in parameters):
            return parameters
    return [{"parameters": parameters}]


def number(name: str, value: Any, above: bool = False) -> float:
    """ValueError unless it is a finite number >= 0, or above it."""
    try:
        if 0 < value < np.inf or (value == 0 and not above):
            return float(value)
    except TypeError:
        pass
    raise ValueError(f"{name} must be a number {'above' if above else '>='} 0, not {value!r}")


def _checked(name: str, value: Any) -> Any:
    """An option, in its domain; below 1 if it says how much of a moment is kept."""
    if isinstance(value, bool):
        return value
    if name in ("momentum", "beta1", "beta2", "decay") and not (isinstance(value, float | int) and 0 <= value < 1):
        raise ValueError(f"{name} must be a number in [0, 1), not {value!r}")
    return number(name, value)


def _mixed(beta: float, kept: Any, new: Any) -> Any:
    """β kept + (1 - β) new, in place if it is an array."""
    kept *= beta
    kept += (1 - beta) * new
    return kept


class SGD(Optimizer):
    """p ← p - lr g; with momentum μ: v ← μ v + g, p ← p - lr v; nesterov: p ← p - lr (g + μ v).

    The other arguments are those of `Optimizer`; so for all classes here.
    """

    def __init__(self, parameters: Any, lr: float | Schedule = 0.01, *, momentum: float = 0.0, nesterov: bool = False,
                 **common: Unpack[Common]) -> None:
        if nesterov and not momentum:
            raise ValueError("nesterov=True is a form of momentum: give momentum= too")
        self.moments = ("velocity",) if momentum else ()  # type: ignore[misc]
        super().__init__(parameters, lr, {"momentum": momentum, "nesterov": nesterov}, **common)
        _all_or_none(self)

    def update(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        *velocity, lr, o = args
        if not velocity:
            return (lr * grad,)
        v = velocity[0]
        v *= o["momentum"]
        v += grad
        return lr * (grad + o["momentum"] * v if o["nesterov"] else v), v


class RMSProp(Optimizer):
    """s ← α s + (1 - α) g²,  v ← μ v + g / (√s + ε),  p ← p - lr v (Tieleman and Hinton, 2012).

    decay: α. momentum: μ.
    """

    def __init__(self, parameters: Any, lr: float | Schedule = 0.01, *, decay: float = 0.99, eps: float = 1e-8,
                 momentum: float = 0.0, **common: Unpack[Common]) -> None:
        self.moments = ("square", "velocity") if momentum else ("square",)  # type: ignore[misc]
        super().__init__(parameters, lr, {"decay": decay, "eps": eps, "momentum": momentum}, **common)
        _all_or_none(self)

    def update(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        s, *velocity, lr, o = args
        s = _mixed(o["decay"], s, np.square(grad))
        root = np.sqrt(s)
        root += o["eps"]
        change = grad / root
        if not velocity:
            return lr * change, s
        v = velocity[0]
        v *= o["momentum"]
        v += change
        return lr * v, s, v


def _all_or_none(optimizer: Optimizer) -> None:
    if len({bool(group.options["momentum"]) for group in optimizer.groups}) > 1:
        raise ValueError(f"{type(optimizer).__name__}: either all groups have momentum, or none")


class Adagrad(Optimizer):
    """s ← s + g²,  p ← p - lr g / (√s + ε) (Duchi et al., 2011)."""

    moments = ("square",)

    def __init__(self, parameters: Any, lr: float | Schedule = 0.01, *, eps: float = 1e-10,
                 **common: Unpack[Common]) -> None:
        super().__init__(parameters, lr, {"eps": eps}, **common)

    def update(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        s, lr, o = args
        s += np.square(grad)
        root = np.sqrt(s)
        root += o["eps"]
        return lr * grad / root, s


class Adam(Optimizer):
    """m ← β₁ m + (1 - β₁) g,  s ← β₂ s + (1 - β₂) g²,  p ← p - lr m̂ / (√ŝ + ε) (Kingma and Ba, 2015).

    m̂ = m / (1 - β₁ᵗ) and ŝ = s / (1 - β₂ᵗ) after t steps.
    """

    moments = ("mean", "square")

    def __init__(self, parameters: Any, lr: float | Schedule = 1e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, **common: Unpack[Common]) -> None:
        super().__init__(parameters, lr, {"beta1": beta1, "beta2": beta2, "eps": eps}, **common)

    def scalars(self, lr: Any, t: Any, o: dict[str, float]) -> tuple[Any, ...]:
        root = np.sqrt(1 - o["beta2"] ** t)
        return lr * root / (1 - o["beta1"] ** t), o["eps"] * root

    def update(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        m, s, rate, eps, o = args
        m = _mixed(o["beta1"], m, grad)
        s = _mixed(o["beta2"], s, np.square(grad))
        root = np.sqrt(s)
        root += eps
        change = rate * m
        change /= root
        return change, m, s


class AdamW(Adam):
    """Adam with a decoupled weight decay of 0.01 unless said (Loshchilov and Hutter, 2019)."""

    def __init__(self, parameters: Any, lr: float | Schedule = 1e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, **common: Unpack[Common]) -> None:
        common.setdefault("weight_decay", 0.01)
        super().__init__(parameters, lr, beta1=beta1, beta2=beta2, eps=eps, **common)


class Adamax(Optimizer):
    """m ← β₁ m + (1 - β₁) g,  u ← max(β₂ u, |g| + ε),  p ← p - lr m̂ / u (Kingma and Ba, 2015, section 7.1)."""

    moments = ("mean", "largest")

    def __init__(self, parameters: Any, lr: float | Schedule = 2e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, **common: Unpack[Common]) -> None:
        super().__init__(parameters, lr, {"beta1": beta1, "beta2": beta2, "eps": eps}, **common)

    def scalars(self, lr: Any, t: Any, o: dict[str, float]) -> tuple[Any, ...]:
        return (lr / (1 - o["beta1"] ** t),)

    def update(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        m, u, rate, o = args
        m = _mixed(o["beta1"], m, grad)
        u = np.maximum(o["beta2"] * u, np.abs(grad) + o["eps"])
        return rate * m / u, m, u


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, β₁ growing from half its value at the pace ψ (Dozat, 2016).

    μₜ = β₁ (1 - 0.96^(tψ)/2),  M = Π μ,  p ← p - lr ((1 - μₜ)/(1 - M) g + μₜ₊₁/(1 - M μₜ₊₁) m) / (√ŝ + ε)

    pace: ψ (PyTorch's momentum_decay).
    """

    moments = ("mean", "square")

    def __init__(self, parameters: Any, lr: float | Schedule = 2e-3, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-8, pace: float = 4e-3, **common: Unpack[Common]) -> None:
        super().__init__(parameters, lr, {"beta2": beta2, "eps": eps}, **common)
        self.beta1, self.pace = _checked("beta1", beta1), _checked("pace", pace)
        self.product = State(np.float64(1))

    def scalars(self, lr: Any, t: Any, o: dict[str, float]) -> tuple[Any, ...]:
        now, after = self._momentum(t), self._momentum(t + 1)
        product, root = self.product.value * now, np.sqrt(1 - o["beta2"] ** t)
        return lr * root * (1 - now) / (1 - product), lr * root * after / (1 - product * after), o["eps"] * root

    def update(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        m, s, of_grad, of_mean, eps, o = args
        m = _mixed(self.beta1, m, grad)
        s = _mixed(o["beta2"], s, np.square(grad))
        root = np.sqrt(s)
        root += eps
        change = of_grad * grad
        change += of_mean * m
        return change / root, m, s

    def finish(self, t: Any) -> None:
        self.product.value = self.product.value * self._momentum(t)

    def _momentum(self, t: Any) -> Any:
        return self.beta1 * (1 - 0.5 * 0.96 ** (t * self.pace))


class Lion(Optimizer):
    """p ← p - lr sign(β₁ m + (1 - β₁) g),  then m ← β₂ m + (1 - β₂) g (Chen et al., 2023)."""

    moments = ("mean",)

    def __init__(self, parameters: Any, lr: float | Schedule = 1e-4, *, beta1: float = 0.9, beta2: float = 0.99,
                 **common: Unpack[Common]) -> None:
        super().__init__(parameters, lr, {"beta1": beta1, "beta2": beta2}, **common)

    def update(self, grad: Any, *args: Any) -> tuple[Any, ...]:
        m, lr, o = args
        return lr * np.sign(o["beta1"] * m + (1 - o["beta1"]) * grad), _mixed(o["beta2"], m, grad)
