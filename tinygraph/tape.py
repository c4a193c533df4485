"""The tape: a graph as a sorted list, and backprop as one walk over it from the end.

`Tape(*outputs)` holds every node that the outputs depend on, inputs first, in the order in which they were built: the
serial number that a node gets when it is built is its place. `sweep` starts at an output with its gradient and goes
back in that order. It asks each op for the gradients of its inputs, undoes broadcasting, adds up what meets at a shared
node, and drops each gradient as soon as it is spent. Traced, the same walk is done on nodes, and the gradients are a
graph like any other. This module knows the contract of ops and no op.

One rule of the walk is about branches that were not taken. In `where(x > 0, sqrt(x), x)` at x = 0 the square root gets
the gradient 0 and multiplies it by infinity: NaN, though the branch contributes nothing. So below an op that selects,
where an elementwise op is handed exactly 0 and answers NaN, the NaN is replaced by 0, there and only there.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from types import FunctionType
from typing import Any

import numpy as np

from .definition import wrong_count
from .node import TRACE, TWINS, WATCHER, Node, Parameter, State, Value, Version, describe, plain_array
from .op import Op, run_traced
from .printing import table

_by_serial = operator.attrgetter("serial")


class Tape:
    """The nodes that `outputs` depend on, inputs first. `until`: nodes whose own inputs are left out."""

    def __init__(self, *outputs: Node, until: Iterable[Node] = ()) -> None:
        self.outputs = tuple([as_value(node) for node in outputs])
        self.until = set(until)
        self.leaves: list[Value] = []  # what is not computed from other nodes of this tape
        self.nodes = nodes = list(dict.fromkeys(self.outputs))
        seen = set(nodes)
        for node in nodes:  # the list grows while it is walked
            if not node.inputs or (self.until and node in self.until):
                self.leaves.append(node)
                continue
            for x in node.inputs:
                if isinstance(x, Value) and x not in seen:
                    seen.add(x)
                    nodes.append(x)
        nodes.sort(key=_by_serial)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Value]:
        return iter(self.nodes)

    def __str__(self) -> str:
        """A table, one line a node: its number, how it is made of others, its shape and dtype."""
        return table(self.nodes)

    def backprop(self, wrt: Sequence[Value], grad: Any = None, *, traced: bool = False) -> list[Any]:
        """Gradients of the (single) output by each node of `wrt`, in that order; zeros where nothing depends on it.

        grad: what to multiply by, of the output's shape; may be left out for an output of one element.
        traced: compute on nodes and return nodes. Otherwise arrays, writable and sharing memory with nothing.
        """
        (output,) = self.outputs
        found = sweep(output, _seed(output, grad, traced), traced, self.path_to(wrt), wrt)
        if traced:
            grads = [found.get(node, np.zeros_like(node._value)) for node in wrt]
            return [grad if isinstance(grad, Node) else Value(grad) for grad in grads]
        own: dict[Value, np.ndarray] = {}
        return [own[node].copy() if node in own else own.setdefault(node, _own(found, node)) for node in wrt]

    def path_to(self, wrt: Sequence[Value]) -> set[Value] | None:
        """The nodes that depend on one of `wrt`; None if those are just the nodes that want a gradient."""
        wanted = set(wrt)
        if not self.until and wanted == {leaf for leaf in self.leaves if leaf.needs_grad}:
            return None
        for node in self.nodes:
            for x in node.inputs:
                if isinstance(x, Value) and x in wanted:
                    if node.differentiable and node.dtype.kind in "fc":
                        wanted.add(node)
                    break
        return wanted


def sweep(output: Value, seed: Any, traced: bool = False, wanted: set[Value] | None = None,
          wrt: Sequence[Value] = (), branch: bool = False, guarded: bool = False) -> dict[Value, Any]:
    """The walk from `output` to the start of its tape. Returns the gradients of the leaves, and of the ops in `wrt`.

    It goes from node to node in falling serial number, to those alone that a gradient has reached, and so needs no list
    of them. wanted: the nodes to go to (None: those that want a gradient). branch: the output is below a selecting op.

    An unguarded walk loses no NaN on the way, unless an op selects it away. So on arrays the first walk does not look
    for those that are made on branches not taken; a second, guarded one replaces them if a NaN arrives. On nodes each
    walk is guarded.
    """
    if not _is_wanted(output, wanted):
        return {}
    guarded = guarded or traced or WATCHER.get() is not None
    found, suspect = _walk(output, seed, traced, wanted, wrt, branch, guarded)
    return _walk(output, seed, traced, wanted, wrt, branch, True)[0] if suspect else found


def _walk(output: Value, seed: Any, traced: bool, wanted: set[Value] | None, wrt: Sequence[Value], branch: bool,
          guarded: bool) -> tuple[dict[Value, Any], bool]:
    """One walk of `sweep`, and whether it must be done again, guarded: a NaN may come from a branch not taken."""
    cotangents: dict[Value, Any] = {output: seed}
    reached = [(-output.serial, output)] if output.inputs else []  # a heap: the latest node comes first
    kept: dict[Value, Any] = {}  # gradients of ops asked for; those of leaves simply stay in `cotangents`
    inner = {node for node in wrt if node.inputs}
    owned: set[Value] = set()  # whose cotangent is an array made here, so that more can be added in place
    below: set[Value] = {output} if branch else set()  # nodes below an op that selects
    silent: list[Value] = []  # nodes that a rule said None to: zero, so nothing flows on
    watcher = WATCHER.get()
    general = guarded or wanted is not None
    selected = False  # whether a selecting op was met
    quiet: Any = None  # entered below it: what was not taken may well be singular
    suspect = False

    def add(node: Op, x: Value, part: Any) -> None:
        """Add what `node` contributes to the gradient of its input `x`, with x's shape and dtype."""
        if part is None:
            silent.append(x)
            return
        if not isinstance(part, Node | np.ndarray | np.generic) or part.shape != x.shape or part.dtype != x.dtype:
            part = fitted(node, x, part)
        old = cotangents.get(x)
        if old is None:
            cotangents[x] = part
            if x.inputs:
                heappush(reached, (-x.serial, x))
        elif x in owned:
            np.add(old, part, out=old)
        else:
            cotangents[x] = total = old + part
            if total.__class__ is np.ndarray:
                owned.add(x)
        if watcher is not None:
            watcher.swept(x, node, part, cotangents[x])

    try:
        while reached:
            node: Any = heappop(reached)[1]
            grad = cotangents.pop(node)
            if not guarded and (selected or not node.calm):
                selected = selected or node.selecting
                if selected and quiet is None and (node.elementwise or node.rule is None):
                    quiet = np.errstate(all="ignore")
                    quiet.__enter__()
            if node.plain and not general:
                node.push(grad, cotangents, reached, add)
                continue
            if inner and node in inner:
                kept[node] = grad
            if watcher is not None:
                watcher.sweeping(node)
            if branch := guarded and (node.selecting or node in below):
                below.update(x for x in node.inputs if isinstance(x, Value))
            if node.adds_in_place and not traced:
                if _is_wanted(x := node.inputs[0], wanted):
                    _add_in_place(node, grad, x, cotangents, owned, add)
                    if watcher is not None:
                        node.add_to(part := np.zeros(x.shape, x.dtype), grad)
                        watcher.swept(x, node, part, cotangents[x])
                continue
            if branch and node.elementwise:
                parts = _taken(node, grad, traced, wanted)
            else:
                parts = _parts(node, grad, traced, wanted, branch, guarded)
            if len(parts) != len(node.inputs):
                raise wrong_count(node, parts)
            for x, part in zip(node.inputs, parts, strict=True):
                if _is_wanted(x, wanted):
                    if isinstance(part, FunctionType):
                        part = run_traced(node, part) if traced else part()
                    add(node, x, part)
        suspect = quiet is not None and any(map(_has_nan, [*cotangents.values(), *kept.values()]))
    finally:
        if quiet is not None:
            quiet.__exit__(None, None, None)
    for leaf in Tape(*silent).leaves if silent else ():
        if leaf.needs_grad:
            cotangents.setdefault(leaf, np.zeros_like(leaf._value))
    return (cotangents | kept if kept else cotangents), suspect


def backprop(loss: Node, wrt: Any = None, grad: Any = None, *, traced: bool = False, accumulate: bool = False) -> Any:
    """One backward sweep from `loss`, a node of one element unless `grad` (of its shape) says what to multiply by.

    Without `wrt`, sets `.grad` of every `Parameter` that a gradient can flow to (`accumulate=True`: adds to it).
    With `wrt`, a node or a sequence of nodes, sets nothing and returns the gradient of each, as an array like its
    value, or as a node with `traced=True`, ready to be differentiated again.

    >>> import numpy as np, tinygraph as tg
    >>> x = tg.Parameter(np.array([1., 2.]))
    >>> tg.backprop((x * x).sum(), wrt=x)
    array([2., 4.])
    """
    if wrt is None:
        if traced:
            raise ValueError("backprop(traced=True) returns nodes: say with wrt= which gradients")
        output, traced = as_value(loss), TRACE.get() is not None
        found = sweep(output, _seed(output, grad, traced), traced)
        parameters = {state: leaf for state, leaf in _versions(found).items() if isinstance(state, Parameter)}
        if not parameters:
            raise ValueError(f"{describe(loss)} depends on no Parameter (that still exists); say with wrt= what to "
                             "differentiate by")
        for parameter, version in parameters.items():
            if traced:
                parameter.grad = parameter.grad + found[version] if accumulate else found[version]
                continue
            array, old = _own(found, version), parameter._grad
            parameter._grad = array if old is None or not accumulate else np.asarray(old + array)
        return None
    if accumulate:
        raise ValueError("accumulate= is about .grad, which backprop with wrt= does not set: add the results yourself")
    tape = Tape(loss)
    nodes = [wrt] if isinstance(wrt, Node) else list(wrt)
    asked = {node for node in nodes if isinstance(node, State)}
    versions = _versions(leaf for leaf in tape.leaves if isinstance(leaf, Version) and leaf.state() in asked)
    leaves = [versions.get(node, node.current()) if isinstance(node, State) else as_value(node) for node in nodes]
    for i, leaf in enumerate(leaves):
        if leaf.dtype.kind not in "fc":
            raise TypeError(f"wrt[{i}], {describe(leaf)}, has no gradient: it is not of floats")
    grads = tape.backprop(leaves, grad, traced=traced or TRACE.get() is not None)
    return grads[0] if isinstance(wrt, Node) else grads


def _versions(leaves: Iterable[Value]) -> dict[State, Version]:
    """The states that a graph used and the version of each; one that changed between two uses is an error."""
    versions: dict[State, Version] = {}
    for leaf in leaves:
        if isinstance(leaf, Version) and (state := leaf.state()) is not None:
            if state in versions:
                raise ValueError(f"{describe(state)} got a new value between two uses in this graph, so its gradient "
                                 "would be a mixture: run the whole forward pass again")
            versions[state] = leaf
    return versions


def as_value(node: Any) -> Value:
    """The graph node behind a node: a state's current version, anything else itself."""
    if isinstance(node, State):
        return node.current()
    if not isinstance(node, Value):
        raise TypeError(f"expected a node, got {type(node).__name__}")
    return node


TWINS[Node.backprop] = lambda node, grad, accumulate: backprop(node, grad=grad, accumulate=accumulate)


# ------------------------------------------------------------------------------------------------ steps of the walk

def _seed(output: Value, grad: Any, traced: bool) -> Any:
    """The gradient to start from: ones, or what was given, with the output's shape and dtype."""
    value = output._value
    if value.dtype.kind not in "fc":
        raise TypeError(f"{describe(output)} has no gradient: it is not of floats")
    if grad is None:
        if value.dtype.kind == "c":
            raise TypeError(f"{describe(output)} is complex, and only a real number has a gradient: take np.real, "
                            "np.imag or np.abs of it; or give what to multiply by (grad= of backprop, or vjp)")
        if value.size != 1:
            raise ValueError(f"backprop starts from one number, but this is {describe(output)}: reduce it "
                             "(.sum(), .mean()) or give grad= of its shape")
        grad = np.ones_like(value) if value.ndim else value.dtype.type(1)
    elif isinstance(grad, Node):
        if not traced:
            raise TypeError("grad= is a node: ask for traced=True, or give grad.value")
        grad = as_value(grad)
    else:
        grad = plain_array(grad)
    if grad.shape != value.shape:
        raise ValueError(f"grad= has shape {grad.shape}, but the output is {describe(output)}")
    if grad.dtype != value.dtype:
        if grad.dtype.kind == "c" != value.dtype.kind:
            raise TypeError(f"grad= is complex, but the output is {describe(output)}")
        grad = grad.astype(value.dtype)
    return Value(grad) if traced and not isinstance(grad, Node) else grad


def _add_in_place(node: Any, grad: Any, x: Value, cotangents: dict[Value, Any], owned: set[Value], add: Any) -> None:
    """Let an op add to entries of the gradient of `x`: one array for all such ops, instead of one of zeros for each."""
    if x not in owned:
        if x in cotangents:
            cotangents[x] = np.array(cotangents[x])
        else:
            add(node, x, np.zeros(x.shape, x.dtype))
        owned.add(x)
    node.add_to(cotangents[x], grad)


def _parts(node: Op, grad: Any, traced: bool, wanted: set[Value] | None, branch: bool,
           guarded: bool) -> tuple[Any, ...]:
    """The contributions of any op: of its rule on arrays or on nodes, or of its expansion if it has no rule."""
    if node.rule is not None:
        parts = node.pull_traced(grad) if traced else node.pull(grad)
        return parts if isinstance(parts, tuple) else (parts,)
    asked = [_is_wanted(x, wanted) for x in node.inputs]
    inputs = [x if traced or not isinstance(x, Value) else x._value for x in node.inputs]
    inputs = [(np.copy(x) if traced else Value(x, needs_grad=True)) if a else x
              for x, a in zip(inputs, asked, strict=True)]
    variables = [x for x, a in zip(inputs, asked, strict=True) if a]
    output = run_traced(node, node.expand, *inputs, **getattr(node, "options", {}))
    if not isinstance(output, Value):  # a constant
        return (None,) * len(inputs)
    path = Tape(output, until=variables).path_to(variables)
    found = sweep(output, grad, traced, path, variables, branch, guarded)
    return tuple(found.get(x) if a else None for x, a in zip(inputs, asked, strict=True))


def _taken(node: Op, grad: Any, traced: bool, wanted: set[Value] | None) -> tuple[Any, ...]:
    """The contributions of an elementwise op below a selecting one: a NaN made of a gradient of exactly 0 is 0.

    On nodes that is written into the graph even if no NaN is there yet: it may come with the next derivative, or with
    other numbers.
    """
    token = WATCHER.set(TRACE.get())  # what was not taken may well be singular: no detector and no NumPy need say so
    try:
        with np.errstate(all="ignore"):
            parts = list(_parts(node, grad, traced, wanted, True, True))
            for i, (x, part) in enumerate(zip(node.inputs, parts, strict=False)):
                if part is None or not _is_wanted(x, wanted):
                    continue
                if isinstance(part, FunctionType):
                    part = run_traced(node, part) if traced else part()
                if traced:  # what has no value yet may be 0
                    safe = not (hasattr(grad._value, "refuse") or (grad._value == 0).any())
                else:
                    safe = not _has_nan(part)
                parts[i] = part if safe else np.where(np.isnan(part) & (grad == 0), 0, part)
            return tuple(parts)
    finally:
        WATCHER.reset(token)


def _has_nan(array: Any) -> bool:
    flat = array.ravel()
    square = flat.dot(flat)  # NaN if any entry is: the cheapest test
    return bool(square != square) and bool(np.isnan(flat).any())


def _is_wanted(x: Any, wanted: set[Value] | None) -> bool:
    return isinstance(x, Value) and (x.needs_grad if wanted is None else x in wanted)


def fitted(node: Op, x: Value, part: Any) -> Any:
    """`part` with the shape and dtype of the input `x` it belongs to, or an error that names the op."""
    if not isinstance(part, Node | np.ndarray | np.generic):
        try:
            part = plain_array(part)
        except TypeError as error:
            raise TypeError(f"backward of {describe(node)}, for its input {describe(x)}: {error}") from None
    shape = x.shape
    if part.shape != shape:
        extra = part.ndim - len(shape)
        kept = part.shape[max(extra, 0):]
        if not node.broadcasts or extra < 0 or any(n not in (1, m) for n, m in zip(shape, kept, strict=True)):
            raise ValueError(f"backward of {describe(node)} returned a gradient of shape {part.shape} "
                             f"for its input {describe(x)}")
        axes = (*range(extra), *[i + extra for i, n in enumerate(shape) if n == 1 and kept[i] != 1])
        part = np.add.reduce(part, axis=axes, keepdims=True)
        if extra:
            part = part.reshape(shape)
    if part.dtype != x.dtype:
        if part.dtype.kind == "c" and x.dtype.kind != "c":
            part = np.real(part)
        part = part.astype(x.dtype)
    return part


def _count_alone() -> int:
    grad = np.zeros(1)
    return sys.getrefcount(grad)


_ALONE = _count_alone()  # the count of an array that one local variable holds and nobody else


def _own(table: dict[Value, Any], node: Value) -> np.ndarray:
    """Take a gradient out of the table, as a writable array that shares memory with nothing: a copy if in doubt."""
    if node not in table:
        return np.zeros_like(node._value, shape=node.shape)
    grad = table.pop(node)
    if hasattr(grad, "refuse"):
        grad.refuse()
    if grad.dtype != node.dtype:  # adding made another byte order of it
        return grad.astype(node.dtype)
    if grad.__class__ is np.ndarray and grad.base is None and sys.getrefcount(grad) <= _ALONE and grad.flags.writeable:
        return grad
    return np.array(grad)
