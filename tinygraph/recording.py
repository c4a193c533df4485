"""Recording: one call of a function on fresh variables, with the tape of it and the way back.

This is what the transforms of `calculus` have in common. Arguments and results are numbers, arrays or structures of
them (see `structure`); here they become lists of variables and one output. Several results are joined to one vector,
so that there is one node for a sweep to start from.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .batching import RULES
from .node import MAPPING, TRACE, Node, Value, describe, plain_array
from .op import Primitive
from .ops.joining import Concatenate
from .ops.shaping import Identity, Reshape
from .structure import filled, is_structure, leaves, mapped, spread
from .tape import Tape, as_value

Function = Callable[..., Any]
Argnums = int | str | Sequence[int | str]

_NUMERIC = (Node, np.ndarray, np.generic, float, complex, int)


class Variable(Primitive):
    """What a transform differentiates by: its argument, as a node of its own. A source while the transform runs."""

    __slots__ = ("source",)
    source: bool

    def forward(self, x: Any) -> Any:
        return x

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad


RULES[Variable] = RULES[Identity]


class Record:
    """One call of a function: its value, and the way back from it. `name` is that of the transform, for errors.

    `traced` says whether results must be nodes: an argument was one, or the function used one from outside that is a
    source of gradients for somebody else.
    """

    def __init__(self, name: str, f: Function, args: Sequence[Any], options: dict[str, Any], argnums: Argnums,
                 aux: bool = False) -> None:
        self.name = name
        self.single = isinstance(argnums, str) or not isinstance(argnums, Iterable)
        given, keywords = list(args), dict(options)
        which: Any = [argnums] if self.single else argnums
        places = [_place(name, f, args, keywords, i) for i in which]
        entered: dict[Any, tuple[Any, list[tuple[Any, Variable]]]] = {}
        for place in dict.fromkeys(places):
            holder: Any = keywords if isinstance(place, str) else given
            argument = holder[place]
            path = place if isinstance(place, str) else f"args[{place}]"
            pairs = [(x, _variable(name, at, x)) for at, x in leaves(argument, path)]
            entered[place] = argument, pairs
            holder[place] = filled(argument, [variable for _, variable in pairs])
        self.arguments = [entered[place][0] for place in places]
        self.leaves = [x for place in places for x, _ in entered[place][1]]
        self.variables = [variable for place in places for _, variable in entered[place][1]]
        result = f(*given, **keywords)
        if aux:
            if not (isinstance(result, tuple) and len(result) == 2):
                raise TypeError(f"{name}: with has_aux=True the function must return a pair (value, more), got "
                                f"{type(result).__name__}")
            result, aux_result = result
        self.result = result
        self.outputs = [_output(name, at, x) for at, x in leaves(result)]
        self.output = joined(self.outputs) if is_structure(result) else self.outputs[0]
        self.tape = Tape(self.output, until=[variable for variable in self.variables if variable.inputs])
        own = set(self.variables)
        self.traced = (TRACE.get() is not None or any(isinstance(x, Node) for x in self.leaves)
                       or any(node.source and node not in own for node in self.tape.nodes))
        self.kind = float if all(type(x) in (float, complex) for x in self.leaves) else np.ndarray
        self.value = filled(result, map(self._own, self.outputs))
        self.aux = mapped(lambda x: self._own(x) if isinstance(x, Value) else x, aux_result) if aux else None

    def _own(self, node: Value) -> Any:
        """A node of the function, as the caller gets it."""
        return node if self.traced else plain(np.array(node._value), self.kind)

    def gradients(self, cotangent: Any = None) -> list[Any]:
        """The gradient by each leaf of the arguments: a node if traced, otherwise an array, or a float for a float."""
        traced = self.traced or isinstance(cotangent, Node)
        grads = self.sweep(cotangent) if traced else self.tape.backprop(self.variables, cotangent)
        return grads if traced else [plain(g, type(x)) for g, x in zip(grads, self.leaves, strict=True)]

    def sweep(self, cotangent: Any) -> list[Node]:
        """The gradients as nodes. They are a graph of somebody else's, in which these variables are constants."""
        for variable in self.variables:
            variable.source = False
            variable.needs_grad = bool(variable.inputs) and variable.inputs[0].needs_grad
        return self.tape.backprop(self.variables, cotangent, traced=True)

    def check_analytic(self) -> None:
        """TypeError if the output is complex and what it pulls back is not linear in complex cotangents, so that a
        single number for each pair of entries would not say it all."""
        if self.output.dtype.kind != "c":
            return
        if all(x.dtype.kind == "c" for x in self.variables):
            if TRACE.get() is not None or MAPPING.get() is not None:  # it cannot be told without values
                return
            c = generic(self.output)
            pairs = zip(*(self.tape.backprop(self.variables, turn * c) for turn in (1, 1j)), strict=True)
            if all(np.allclose(1j * one, other, equal_nan=True) for one, other in pairs):
                return
        raise TypeError(f"{self.name}: the function returns complex numbers and is not analytic (in complex "
                        "arguments): take np.real and np.imag of the result, which have derivatives each")

    def pack(self, results: Iterable[Any]) -> Any:
        """Something for each leaf of the arguments, as a structure for each argument: a tuple of them if asked so."""
        remaining = iter(results)
        packed = [filled(argument, remaining) for argument in self.arguments]
        return packed[0] if self.single else tuple(packed)

    def split(self, array: Any, axis: int = 0) -> list[Any]:
        """The piece of each output, in its shape, of what has the entries of the joined output along an axis."""
        if not is_structure(self.result):
            return [array]
        ends = np.cumsum([output.size for output in self.outputs]).tolist()
        before = (slice(None),) * axis
        pieces = [array[(*before, slice(end - output.size, end))]
                  for output, end in zip(self.outputs, ends, strict=True)]
        return [np.reshape(piece, (*piece.shape[:axis], *output.shape, *piece.shape[axis + 1:]))
                for piece, output in zip(pieces, self.outputs, strict=True)]

    def cotangent(self, given: Any) -> Any:
        """What the caller gave for the result, as one for the joined output."""
        if not is_structure(self.result):
            return given
        parts = spread(given, self.result, "the cotangent", "the result")
        for i, (part, output) in enumerate(zip(parts, self.outputs, strict=True)):
            if np.shape(part) != output.shape:
                raise ValueError(f"{self.name}: leaf {i} of the cotangent has shape {np.shape(part)}, that of the "
                                 f"result {output.shape}")
        return np.concatenate([np.reshape(part, -1) for part in parts]) if parts else np.zeros(0)


def plain(array: np.ndarray, kind: type) -> Any:
    """An array for the caller to keep, as a Python number if such came in."""
    return array.item() if kind in (float, complex) and not array.ndim else array


def joined(outputs: Sequence[Value]) -> Value:
    """All entries of several nodes, one after another, in one of one axis."""
    return Concatenate(*[Reshape(x, shape=(x.size,)) for x in outputs], axis=0) if outputs else Value(np.zeros(0))


def generic(output: Value) -> np.ndarray:
    """A cotangent without zeros, whose entries do not cancel: any would do for a sweep that is linear in it, but the
    rule on branches not taken looks for exact zeros."""
    return (1 + np.arange(math.prod(output.shape)) * 0.6180339887 % 1).reshape(output.shape).astype(output.dtype)


def _place(name: str, f: Function, args: Sequence[Any], keywords: dict[str, Any], which: int | str) -> int | str:
    """Where an argument is among those given: its index, or the name of a keyword. One that was left at its default
    enters `keywords`."""
    if isinstance(which, str):
        if which in keywords:
            return which
        parameters = _parameters(f)
        if which not in parameters:
            raise TypeError(f"{name}: argnums={which!r}, but the function has no argument of that name")
        positional = [key for key, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if which in positional[:len(args)]:
            return positional.index(which)
        if (default := parameters[which].default) is parameters[which].empty:
            raise TypeError(f"{name}: argnums={which!r}, but the function was called without that argument")
        keywords[which] = default
        return which
    i = operator.index(which)
    if not -len(args) <= i < len(args):
        raise TypeError(f"{name}: argnums={i}, but the function was called with {len(args)} arguments")
    return i % len(args)


def parameter_names(f: Function) -> list[str]:
    """The names of the arguments that may be given by position; none if f does not say."""
    return [name for name, p in _parameters(f).items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _parameters(f: Function) -> Any:
    import inspect  # takes as long to import as this whole package

    try:
        return inspect.signature(f).parameters
    except (TypeError, ValueError):
        return {}


def _variable(name: str, path: str, x: Any) -> Variable:
    """A fresh variable for an argument, or a leaf of one."""
    if not isinstance(x, _NUMERIC):
        raise TypeError(f"{name}: {path} must be a number or an array, got {type(x).__name__}")
    variable = Variable(x if isinstance(x, Node) else plain_array(x))
    if variable.dtype.kind not in "fc":
        raise TypeError(f"{name}: {path} ({describe(variable)}) has no derivative: give floats")
    if not isinstance(x, Node):
        variable.inputs = ()
    variable.source = variable.needs_grad = True
    return variable


def _output(name: str, path: str, x: Any) -> Value:
    """What a function returned, or a leaf of it, as a node."""
    if not isinstance(x, Node):
        if not isinstance(x, _NUMERIC):
            raise TypeError(f"{name}: the function must return a number or an array, got {type(x).__name__}"
                            + (f" for result{path}" if path else ""))
        x = Value(x)
    if x.dtype.kind not in "fc":
        raise TypeError(f"{name}: the function returned {describe(x)}{f' for result{path}' if path else ''}; only "
                        "floats have a derivative")
    return as_value(x)
