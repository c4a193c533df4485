"""What can be done with a network: list its parameters, make it one of plain arrays, give it another dtype.

A layer is any class with `__call__`, a network is plain Python, and the functions here take either, since they look
through attributes (see `states`). `Module` is a base class for those who like to write them as methods.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar

from ..node import Parameter, State
from ..states import parts, states

Model = TypeVar("Model")


def parameters(model: Any) -> dict[str, Parameter]:
    """The parameters of a model, each by its path, such as `layers.0.W`."""
    return {path: state for path, state in states(model).items() if isinstance(state, Parameter)}


def inference(model: Model) -> Model:
    """The model as it is for new data: a copy that holds plain arrays, whose layers know that they do not train.

    Called on arrays it is NumPy alone: no node is made and nothing is kept. Each attribute `training` is False in it:
    dropout keeps all, batch normalisation takes its running statistics. It shares the arrays of now: make a new one
    after the next step.
    """
    def changed(part: Any) -> None:
        if hasattr(part, "training"):
            part.training = False

    return _rebuilt(model, lambda state: state.value, changed)


def astype(model: Model, dtype: Any) -> Model:
    """A copy of the model whose states of floats are of that dtype, as new parameters and states."""
    def new(state: State) -> State:
        result = copy(state)
        if state.dtype.kind in "fc":
            result.assign(state.value.astype(dtype))
        return result

    return _rebuilt(model, new)


def _rebuilt(model: Model, new: Callable[[State], Any], changed: Callable[[Any], None] = lambda part: None) -> Model:
    """A copy of the model with `new(state)` for each state. What neither holds one nor trains is shared, not copied."""
    memo: dict[int, Any] = {}
    copied = _holders(model)

    def build(part: Any) -> Any:
        if id(part) not in memo and id(part) in copied:
            if isinstance(part, State):
                memo[id(part)] = new(part)
            elif isinstance(part, tuple):
                values = [build(x) for x in part]
                memo[id(part)] = type(part)(*values) if hasattr(part, "_fields") else type(part)(values)
            else:
                memo[id(part)] = result = copy(part)
                built = {key: build(x) for key, x in parts(part)}
                if isinstance(part, list):
                    result[:] = built.values()
                else:
                    (result if isinstance(part, dict) else vars(result)).update(built)
                    changed(result)
        return memo.get(id(part), part)

    result: Model = build(model)
    return result


def _holders(model: Any) -> set[int]:
    """The ids of the parts of a model that hold a state or have an attribute `training`, at any depth."""
    holders: dict[int, list[int]] = {}
    found, seen, open_ = [], {id(model): model}, [model]
    while open_:
        part = open_.pop()
        if isinstance(part, State) or hasattr(part, "training"):
            found.append(id(part))
        for _, child in parts(part):
            holders.setdefault(id(child), []).append(id(part))
            if id(child) not in seen:
                seen[id(child)] = child
                open_.append(child)
    result = set(found)
    while found:
        for holder in holders.get(found.pop(), []):
            if holder not in result:
                result.add(holder)
                found.append(holder)
    return result


class Module:
    """A base class for layers and networks that adds methods, and nothing else: what they do is in `tinygraph.nn`."""

    def __call__(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__: write what it computes there")

    def parameters(self) -> dict[str, Parameter]:
        """The parameters, each by its path, such as `layers.0.W`."""
        return parameters(self)

    def inference(self: Model) -> Model:
        """The model as it is for new data: a copy that holds plain arrays (see `tinygraph.nn.inference`)."""
        return inference(self)

    def astype(self: Model, dtype: Any) -> Model:
        """A copy of the model whose states of floats are of that dtype."""
        return astype(self, dtype)
