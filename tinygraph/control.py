"""Control: functions that say how a derivative is to be taken, without changing a value.

`stop_gradient` takes none, `custom` takes one that was written by hand, and `checkpoint` computes again in the sweep
what it would otherwise have kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from .compile.outline import Outline
from .mapping import as_node, vmap
from .node import WATCHER, Node, Value, next_serial
from .op import Op
from .ops.shaping import StopGradient
from .recording import Function, Variable, joined
from .structure import filled, leaves, mapped


def stop_gradient(x: Any) -> Any:
    """x, an array or a structure of arrays, as a constant for all derivatives.

    >>> import tinygraph as tg
    >>> tg.grad(lambda x: x * tg.stop_gradient(x))(3.0)
    3.0
    """
    return mapped(lambda leaf: StopGradient(leaf) if isinstance(leaf, Node) else leaf, x)


# ------------------------------------------------------------------------------------------------------- custom rules

def custom(backward: Function) -> Callable[[Function], Function]:
    """Decorates a function of arrays whose gradient is what `backward` says.

    backward: (grad, output, *inputs) to one gradient per positional argument of the function: a value like the
        argument, a function without arguments that returns it, or None for zero. Keyword arguments of the function are
        options, which both get. Written with NumPy functions on arrays, it is differentiated, mapped and compiled like
        the rest; forward mode takes it to be linear in `grad`.

    >>> import numpy as np, tinygraph as tg
    >>> @tg.custom(lambda grad, y, x: grad)
    ... def rounded(x):
    ...     return np.round(x)
    >>> tg.value_and_grad(lambda x: rounded(x) ** 2)(2.7)
    (9.0, 6.0)
    """
    if not callable(backward):
        raise TypeError(f"tg.custom takes the backward of the function, as in @tg.custom(backward), not {backward!r}")

    def decorate(f: Function) -> Function:
        _agree(f, backward)
        op = _op_class(getattr(f, "__name__", type(f).__name__))

        @functools.wraps(f, updated=())
        def custom_f(*args: Any, **options: Any) -> Any:
            if any(isinstance(x, Node) for x in options.values()):
                raise TypeError(f"{op.__name__}: a node is given by keyword, where no gradient can be: give it by its "
                                "position")
            if not any(isinstance(x, Node) for x in args):
                return f(*args, **options)
            return op(*args, call=_Call(functools.partial(f, **options), functools.partial(backward, **options)))

        return custom_f

    return decorate


class _Call(NamedTuple):
    """The two functions of a custom op, with its options."""

    forward: Function
    backward: Function

    def __repr__(self) -> str:
        return "custom"


class Custom(Op):
    """What the ops of custom functions have in common."""

    __slots__ = ()

    def batch(self, *inputs: Any) -> Any:
        """The op for a batch: both functions are mapped, for the rule need not be the derivative of the function."""
        call = self.options["call"]
        axes = tuple([None if x is y else 0 for x, y in zip(inputs, self.inputs, strict=True)])

        def backward(grad: Any, y: Any, *xs: Any) -> Any:
            found = call.backward(grad, y, *xs)
            return tuple([np.zeros_like(x) if part is None or not _wants(x) else part() if callable(part) else part
                          for x, part in zip(xs, found if isinstance(found, tuple) else (found,), strict=True)])

        def batched_backward(grad: Any, y: Any, *xs: Any) -> Any:
            parts = vmap(backward, (0, 0, *axes))(grad, y, *xs)
            return tuple([part if axis == 0 else np.sum(part, axis=0) for axis, part in zip(axes, parts, strict=True)])

        try:
            return type(self)(*inputs, call=_Call(vmap(call.forward, axes), batched_backward))
        except (TypeError, NotImplementedError, AttributeError):  # the function is not for nodes
            return NotImplemented


def _op_class(name: str) -> type[Op]:
    class Function(Custom):
        __slots__ = ()

        def forward(self, *inputs: Any, call: _Call) -> Any:
            if any(isinstance(x, Outline) for x in inputs):  # a node with one does not mind being an index
                with suppress(TypeError, NotImplementedError, AttributeError):
                    return getattr(y := call.forward(*[as_node(x) for x in inputs]), "_value", y)
            return call.forward(*inputs)

        def backward(self, grad: Any, y: Any, *inputs: Any, call: _Call) -> Any:
            return call.backward(grad, y, *inputs)

    Function.__name__ = Function.__qualname__ = name
    return Function


def _wants(x: Any) -> bool:
    return np.result_type(x).kind in "fc"


def _agree(f: Function, backward: Function) -> None:
    """TypeError if backward cannot take what f takes, as far as their signatures tell."""
    import inspect

    try:
        inputs, rule = inspect.signature(f).parameters.values(), inspect.signature(backward)
    except (TypeError, ValueError):
        return
    names = [p.name for p in inputs if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    options = [p.name for p in inputs if p.kind is p.KEYWORD_ONLY]
    try:
        rule.bind(None, None, *names, **dict.fromkeys(options))
    except TypeError as error:
        if not any(p.kind is p.VAR_POSITIONAL for p in inputs):
            raise TypeError(f"tg.custom: backward{rule} must take (grad, output, {', '.join([*names, *options])}): "
                            f"{error}") from None


# -------------------------------------------------------------------------------------------------------- checkpoints

def checkpoint(f: Function) -> Function:
    """f, of which nothing is kept for the gradient but what goes in: in the sweep the rest is computed again.

    The gradient costs one more run of what f computed, and the memory of one such part of a program at a time. f itself
    runs once: random numbers, parameters and branches are those of that run. A compiled program decides by itself what
    to keep.

    >>> import numpy as np, tinygraph as tg
    >>> layer = tg.checkpoint(lambda w, x: np.tanh(w * np.sin(x)))
    >>> tg.grad(lambda w: layer(w, layer(w, 0.5)))(0.0)
    0.0
    """
    @functools.wraps(f, updated=())
    def checkpoint_f(*args: Any, **options: Any) -> Any:
        first = next_serial()
        result = f(*args, **options)
        found = [x for _, x in leaves(result)]
        made = [x for x in found if isinstance(x, Op) and x.inputs and x.serial > first]
        if not made:
            return result
        again = _again(made[0] if len(made) == 1 else joined(made), first)
        ends = np.cumsum([x.size for x in made]).tolist()
        parts = iter([again] if len(made) == 1 else [
            np.reshape(again[end - x.size:end], x.shape).astype(x.dtype) for x, end in zip(made, ends, strict=True)])
        known = set(made)
        return filled(result, [next(parts) if isinstance(x, Value) and x in known else x for x in found])

    return checkpoint_f


class Checkpoint(Op):
    """y = f(x, ...), of which the steps are known and no value is kept"""

    __slots__ = ()

    def forward(self, *inputs: Any, steps: _Steps) -> Any:
        return steps(inputs)


class _Steps:
    """How a node is computed from others: one op after the other, and where each finds its inputs."""

    def __init__(self, nodes: Sequence[Op], sources: Sequence[Value]) -> None:
        places = {node: i for i, node in enumerate([*sources, *nodes])}
        self.steps = [(type(node), [(places[x], None) if isinstance(x, Value) else (None, x) for x in node.inputs],
                       getattr(node, "options", {})) for node in nodes]

    def __repr__(self) -> str:
        return f"{len(self.steps)} steps"

    def __call__(self, values: Sequence[Any]) -> Any:
        found = list(values)
        for op, inputs, options in self.steps:
            arguments = [constant if place is None else found[place] for place, constant in inputs]
            result = arguments[0] if op is Variable else op.apply(*arguments, **options)
            found.append(result[0] if isinstance(result, tuple) else result)
        return found[-1]


def _again(output: Value, first: int) -> Node:
    """The node `output`, without the nodes made after the serial number `first` that it was computed from."""
    nodes: list[Any] = [output]
    sources: list[Value] = []
    seen = {output}
    for node in nodes:  # the list grows while it is walked
        for x in node.inputs:
            if isinstance(x, Value) and x not in seen:
                seen.add(x)
                (nodes if isinstance(x, Op) and x.inputs and x.serial > first else sources).append(x)
    nodes.sort(key=lambda node: node.serial)
    op = Checkpoint.__new__(Checkpoint)
    op._value, op.inputs, op.needs_grad, op.serial = output._value, tuple(sources), output.needs_grad, next_serial()
    op.options = {"steps": _Steps(nodes, sources)}
    if (watcher := WATCHER.get()) is not None:
        watcher.built(op)
    return op
