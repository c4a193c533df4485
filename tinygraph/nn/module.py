"""What can be done with a network: list its parameters, make it one of plain arrays, give it another dtype.

A layer is any class with `__call__`, a network is plain Python, and the functions here take either, since they look
through attributes (see `states`). `Module` is a base class for those who like to write them as methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..node import Parameter, State
from ..states import objects, parts, states
from ..structure import mapped

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


def _rebuilt(model: Model, new: Callable[[State], Any], changed: Callable[[Any], None] = lambda part: None,
             wanted: Callable[[Any], bool] = lambda part: hasattr(part, "training")) -> Model:
    """A copy of the model with `new(state)` for each state; each object that was copied is handed to `changed`.

    What neither holds a state nor an object that is wanted is shared, not copied.
    """
    memo: dict[int, Any] = {}
    copied = _holders(model, wanted)

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
                elif isinstance(part, dict):
                    result.update(built)
                else:
                    own = getattr(result, "__dict__", {})
                    for name, x in built.items():
                        if name in own:
                            own[name] = x
                        else:  # a slot, of an object that may be frozen
                            object.__setattr__(result, name, x)
                    changed(result)
        return memo.get(id(part), part)

    result: Model = build(model)
    return result


def _holders(model: Any, wanted: Callable[[Any], bool]) -> set[int]:
    """The ids of the parts of a model that hold a state or what is wanted, at any depth, and of these."""
    holders: dict[int, list[int]] = {}
    found, seen, open_ = [], {id(model): model}, [model]
    while open_:
        part = open_.pop()
        if isinstance(part, State) or wanted(part):
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


class Row(NamedTuple):
    """One call of a layer: its path in the model, its class, the shape it returned, and how many numbers it holds.

    If it returned a list, tuple or dict, `shape` is one of shapes.
    """

    path: str
    layer: str
    shape: Any
    n_parameters: int  # of its own, without those of layers within it
    n_states: int  # other states of its own: running means and the like
    depth: int


class Summary:
    """The table of `summary`: `rows` in the order of the calls; print it, or let a notebook show it."""

    def __init__(self, rows: list[Row], n_parameters: int, n_states: int) -> None:
        self.rows, self.n_parameters, self.n_states = rows, n_parameters, n_states

    def cells(self) -> list[tuple[str, str, str, str]]:
        return [("  " * row.depth + (row.path or "(model)"), row.layer, str(row.shape), f"{row.n_parameters:,}")
                for row in self.rows]

    def total(self) -> str:
        states = f", and {self.n_states:,} numbers in other states" if self.n_states else ""
        return f"{self.n_parameters:,} parameters{states}"

    def __str__(self) -> str:
        table = [("name", "layer", "output", "parameters"), *self.cells()]
        widths = [max(len(line[i]) for line in table) for i in range(4)]
        lines = ["  ".join([*(text.ljust(n) for text, n in zip(line[:3], widths[:3], strict=True)),
                            line[3].rjust(widths[3])]) for line in table]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:], rule, self.total()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from html import escape

        cells = [("name", "layer", "output", "parameters"), *self.cells()]
        rows = ["<tr>" + "".join(f'<td style="white-space: pre; text-align: {"right" if i == 3 else "left"}">'
                                 f"{escape(text)}</td>" for i, text in enumerate(line)) + "</tr>" for line in cells]
        return f"<table>{''.join(rows)}</table><p>{self.total()}</p>"


def summary(model: Any, *inputs: Any) -> Summary:
    """What a model consists of: its layers in the order of their calls, the shapes that they return, parameter counts.

    inputs: arrays that the model takes. It is called on them once, as for inference; nothing of it is changed. Layers
        are the objects with a `__call__` that are found as `states` finds states; a function is none.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> print(nn.summary(nn.Sequential(nn.Linear(4, 3, rng=0), nn.ReLU()), np.zeros((8, 4))))
    name        layer       output  parameters
    ------------------------------------------
    (model)     Sequential  (8, 3)           0
      layers.0  Linear      (8, 3)          15
      layers.1  ReLU        (8, 3)           0
    ------------------------------------------
    15 parameters
    """
    rows: list[Row | None] = []
    depth = 0
    originals = objects(model)
    own: dict[str, list[State]] = {path: [] for path, part in originals.items() if not path or _is_layer(part)}
    for path, state in states(model).items():  # each belongs to the innermost layer
        own[max((layer for layer in own if not layer or path.startswith(layer + ".")), key=len)].append(state)

    def recorded(path: str, layer: Any) -> Any:
        """A class like the layer's, whose calls are rows of the table."""
        def call(self: Any, *args: Any, **options: Any) -> Any:
            nonlocal depth
            place = len(rows)
            rows.append(None)
            depth += 1
            y = type(layer).__call__(self, *args, **options)
            depth -= 1
            rows[place] = Row(path, type(layer).__name__, mapped(np.shape, y), *_counts(own.pop(path, [])), depth)
            return y

        return type(type(layer).__name__, (type(layer),), {"__call__": call, "__slots__": ()})

    copied = _rebuilt(model, lambda state: state.value, wanted=_is_layer)
    for (path, layer), part in zip(originals.items(), objects(copied).values(), strict=True):
        if hasattr(part, "training"):
            part.training = False
        if _is_layer(part):
            part.__class__ = recorded(path, layer)
    copied(*inputs)
    return Summary([row for row in rows if row is not None], *_counts(states(model).values()))


def _is_layer(part: Any) -> bool:
    """Whether it has a `__call__` that is written in Python: its class can then be extended."""
    return isinstance(type(part).__call__, FunctionType)


def _counts(found: Iterable[State]) -> tuple[int, int]:
    """How many numbers are in parameters, and in other states."""
    sizes = [(isinstance(state, Parameter), state.size) for state in found]
    return sum(size for trained, size in sizes if trained), sum(size for trained, size in sizes if not trained)


class Module:
    """A base class for layers and networks that adds methods, and nothing else: what they do is in `tinygraph.nn`."""

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__: write what it computes there")

    def parameters(self) -> dict[str, Parameter]:
        """The parameters, each by its path, such as `layers.0.W`."""
        return parameters(self)

    def summary(self, *inputs: Any) -> Summary:
        """The layers in the order of their calls, the shapes that they return, parameter counts; print it.

        inputs: arrays that the model takes.
        """
        return summary(self, *inputs)

    def inference(self: Model) -> Model:
        """The model as it is for new data: a copy that holds plain arrays (see `tinygraph.nn.inference`)."""
        return inference(self)

    def astype(self: Model, dtype: Any) -> Model:
        """A copy of the model whose states of floats are of that dtype."""
        return astype(self, dtype)
