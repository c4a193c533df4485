"""Mapping: a function of one sample becomes a function of a batch of them.

`vmap` runs the function once, on nodes that have the shape and dtype of one entry of the batch and no value (an
`Outline` stands for it), and then computes the graph that came out for all entries at once (see `batching`). That is
an ordinary graph: it can be differentiated, mapped again and compiled.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .batching import follow
from .compile.outline import Outline
from .node import MAPPING, TRACE, WATCHER, Node, Value, next_serial, plain_array
from .op import Op
from .ops.shaping import BroadcastTo, Transpose
from .recording import Function, Variable
from .structure import filled, leaves, spread
from .tape import Tape, as_value


def vmap(f: Function, in_axes: Any = 0, out_axes: Any = 0) -> Function:
    """The function of a batch that is f of each entry, computed for all entries at once.

    in_axes: along which axis of the arguments the entries lie, None for an argument that is the same for all of them.
        One for all positional arguments, or a tuple with one for each; where an argument is a structure of arrays, one
        for all of them or a structure like it. Keyword arguments are the same for all.
    out_axes: along which axis of the result they shall lie; None for a result that is the same for all. One for all
        arrays of the result, or a structure like it.

    f runs once, on nodes of the shape of one entry. They have no value, since each entry has its own: a choice by value
    is written with np.where (TypeError if a value is read). A `Stream` draws other numbers for each entry.

    >>> import numpy as np, tinygraph as tg
    >>> points, center = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]), np.array([1.0, 1.0])
    >>> tg.vmap(lambda x, y: np.sum((x - y) ** 2), in_axes=(0, None))(points, center)
    array([ 1.,  5., 25.])
    >>> tg.vmap(tg.grad(lambda x: np.sum(x * x)))(points)
    array([[ 0.,  2.],
           [ 4.,  6.],
           [ 8., 10.]])
    """
    @functools.wraps(f, updated=())
    def vmap_f(*args: Any, **options: Any) -> Any:
        given = list(leaves(args, "args"))
        axes = spread(_as_tuple(in_axes), args, "vmap: in_axes", "args", whole=True)
        batches = [None if axis is None else _batch(path, x, axis) for (path, x), axis in zip(given, axes, strict=True)]
        n = _length(given, axes, batches)
        mapping = _Mapping(n)
        entries = [x if batch is None else mapping.entry(batch)
                   for (_, x), batch in zip(given, batches, strict=True)]
        with mapping.active():
            result = f(*filled(args, entries), **options)
        outputs = [_output(path, x) for path, x in leaves(result)]
        out = spread(out_axes, result, "vmap: out_axes", "the result", whole=True)
        tape = Tape(*outputs, until=mapping.entries)
        seen = [*tape.nodes, *mapping.entries.values()]  # random numbers may be entries of an outer batch
        traced = (TRACE.get() is not None or any(isinstance(x, Node) for _, x in given)
                  or any(node.source and node not in mapping.entries for node in seen))
        found = mapping.computed(tape, forget=not traced)
        results: list[Any] = [_result(node, found.get(node), n, axis) for node, axis in zip(outputs, out, strict=True)]
        if not traced:
            arrays = [node._value for node in results]
            del results, found, batches, mapping, tape
            results = [_own(arrays) for _ in outputs]
        return filled(result, results)

    return vmap_f


class _Mapping:
    """One call of a mapped function: what stands for an entry of each batch, while the function runs. It is the
    watcher then, so that an op on what has no value has none."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.entries: dict[Value, Value] = {}
        self.outer = MAPPING.get()

    def entry(self, batch: Value) -> Variable:
        """A node for one entry of a batch, whichever."""
        variable = Variable.__new__(Variable)
        variable._value = Outline(batch.shape[1:], batch.dtype)
        variable.inputs, variable.needs_grad, variable.serial, variable.source = (), False, next_serial(), True
        self.entries[variable] = batch
        return variable

    @contextmanager
    def active(self) -> Iterator[None]:
        tokens = MAPPING.set(self), WATCHER.set(self if TRACE.get() is None else WATCHER.get())
        try:
            with np.errstate(all="ignore"):  # nothing is computed yet
                yield
        finally:
            MAPPING.reset(tokens[0])
            WATCHER.reset(tokens[1])

    def drawn(self, draw: Callable[[int], Node]) -> Node:
        """An entry of the random numbers that `draw` draws for a batch of a length."""
        token = MAPPING.set(self.outer)
        try:
            return self.entry(as_value(draw(self.n)))
        finally:
            MAPPING.reset(token)

    def computed(self, tape: Tape, forget: bool) -> dict[Value, Value]:
        """What the nodes of the function are for the whole batch; those that do not depend on it are left out."""
        found = dict(self.entries)
        if self.n:
            selecting = any(isinstance(node, Op) and (node.selecting or node.rule is None) for node in tape.nodes)
            with np.errstate(all="ignore" if selecting else None):  # what was not taken may well be singular
                follow(tape, found, forget)
            return found
        for node in tape:
            if any(isinstance(x, Value) and x in found for x in node.inputs):
                found.setdefault(node, Value(np.zeros((0, *node.shape), node.dtype)))
        return found

    # ------------------------------------------------------------------------------------- what a watcher is told

    def built(self, op: Op) -> None:
        if not isinstance(op._value, Outline) and any(
                isinstance(getattr(x, "_value", None), Outline) for x in op.inputs):
            op._value = Outline(op._value.shape, op._value.dtype)

    def swept(self, node: Value, source: Op, part: Any, total: Any) -> None: ...

    def sweeping(self, node: Op) -> None: ...


def _as_tuple(in_axes: Any) -> Any:
    return tuple(in_axes) if isinstance(in_axes, list) else in_axes


def _batch(path: str, x: Any, axis: Any) -> Value:
    """An argument, or a leaf of one, as a node with the axis of the batch in front."""
    if not isinstance(x, Node | np.ndarray | np.generic | float | complex | int):
        raise TypeError(f"vmap: {path} must be an array, got {type(x).__name__}: say in_axes=None for what is the same "
                        "for all entries")
    node = as_value(x) if isinstance(x, Node) else as_node(x)
    axis = operator.index(axis)
    if not -node.ndim <= axis < node.ndim:
        raise ValueError(f"vmap: {path} has shape {node.shape} and so no axis {axis} for the entries of a batch: say "
                         "in_axes=None for what is the same for all entries")
    return _moved(node, axis, 0)


def as_node(x: Any) -> Value:
    """A node for an array, or for the outline of one, which an op's forward may be given."""
    if not isinstance(x, Outline):
        return Value(plain_array(x))
    node = Value.__new__(Value)
    node._value, node.inputs, node.needs_grad, node.serial = x, (), False, next_serial()
    return node


def _length(given: list[Any], axes: list[Any], batches: list[Value | None]) -> int:
    """The number of entries."""
    lengths = [(f"{path} has {len(batch)} along axis {axis}", len(batch))
               for (path, _), axis, batch in zip(given, axes, batches, strict=True) if batch is not None]
    if not lengths:
        raise ValueError("vmap: there is nothing to map over: no argument with an axis in in_axes")
    for text, n in lengths[1:]:
        if n != lengths[0][1]:
            raise ValueError(f"vmap: batches of different lengths: {lengths[0][0]}, {text}")
    return lengths[0][1]


def _output(path: str, x: Any) -> Value:
    if isinstance(x, Node):
        return as_value(x)
    if not isinstance(x, np.ndarray | np.generic | float | complex | int):
        raise TypeError(f"vmap: the function must return numbers or arrays, got {type(x).__name__}"
                        + (f" for result{path}" if path else ""))
    return Value(x)


def _result(node: Value, batch: Value | None, n: int, axis: int | None) -> Value:
    """A result for the whole batch, with the axis of the batch in its place."""
    if axis is None:
        if batch is not None:
            raise ValueError("vmap: out_axes=None is for a result that is the same for all entries, but this one, of "
                             f"shape {node.shape}, depends on the batch")
        return node
    if batch is None:
        batch = BroadcastTo(node, shape=(n, *node.shape))
    axis = operator.index(axis)
    if not -batch.ndim <= axis < batch.ndim:
        raise ValueError(f"vmap: a result of {batch.ndim} axes, that of the batch among them, has no axis {axis}")
    return _moved(batch, 0, axis)


def _own(arrays: list[np.ndarray]) -> np.ndarray:
    """The first of the arrays, taken out of the list: as it is if nobody else holds it or what it is a view of."""
    alone = _references(arrays) == _ALONE[arrays[0].base is not None]
    array = arrays.pop(0)
    return array if alone and array.flags.c_contiguous and array.flags.writeable else np.array(array)


def _references(arrays: list[np.ndarray]) -> tuple[int, int]:
    array, base = arrays[0], arrays[0].base
    return sys.getrefcount(array), sys.getrefcount(base) if isinstance(base, np.ndarray) else 0


_ALONE = _references([np.zeros(2)]), _references([np.zeros(2).reshape(1, 2)])


def _moved(x: Value, source: int, destination: int) -> Value:
    """The node with one axis in another place."""
    axes = [*range(x.ndim)]
    axes.insert(destination % x.ndim, axes.pop(source))
    return x if axes == sorted(axes) else Transpose(x, axes=tuple(axes))
