"""Tracing: a Python function, run once on outlines, becomes a `Program`.

While a `Trace` is active, states stand for its nodes and their assignments are recorded, backprop runs on nodes, and no
value can be read. What the function returned and assigned is then lowered: fused ops expand by running their own
forward on nodes, until only primitives are left. Whatever did not depend on an argument or a state was computed on the
way, and is a constant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..node import TRACE, WATCHER, Node, Parameter, State, Value, Version, describe, next_serial, plain_array
from ..op import Op, run_traced
from ..tape import Tape, as_value
from .outline import Outline, regular
from .program import Instruction, Program, Var

_ACTIVATIONS = {"ReLU", "Tanh", "GELU", "Softmax", "Maximum", "Expit"}


class Trace:
    """What happened while a function was traced: the states it read and assigned, the gradients it set."""

    def __init__(self) -> None:
        self.first = next_serial()
        self.states: dict[State, Version] = {}  # as read first
        self.latest: dict[State, Version] = {}  # as read now
        self.assigned: dict[Version, Value] = {}  # what a version made by an assignment stands for
        self.grads: dict[Parameter, Value | None] = {}
        self.returned: set[Value] = set()
        self.gradient_of: dict[Value, Value] = {}  # for names
        self.called: dict[Value, str] = {}  # names that somebody gave

    @contextmanager
    def active(self) -> Iterator[None]:
        tokens = TRACE.set(self), WATCHER.set(self)
        try:
            with np.errstate(all="ignore"):  # the entries of outlines mean nothing
                yield
        finally:
            TRACE.reset(tokens[0])
            WATCHER.reset(tokens[1])

    # --------------------------------------------------------------------------------- what states ask while it is on

    def read(self, state: State) -> Version:
        if state not in self.latest:
            version = state._version
            if version.serial > self.first:
                raise ValueError(f"{type(state).__name__} {state.name or ''} {version._value.shape} was made inside a "
                                 "function that tg.compile traces: make it outside, so that it outlives the call")
            self.states[state] = self._version(state, version._value)
        return self.latest[state]

    def write(self, state: State, value: Any) -> None:
        old = self.read(state)
        dtype = value.dtype if isinstance(value, Node) else plain_array(value).dtype
        if not np.can_cast(dtype, old.dtype, "same_kind"):
            raise TypeError(f"{describe(state)} cannot take a value of dtype {dtype}")
        node = as_value(value) if isinstance(value, Node) else Value(np.array(plain_array(value), old.dtype))
        if node.dtype != old.dtype or getattr(node._value, "weak", False):
            node = as_value(node.astype(old.dtype))
        self.assigned[self._version(state, old._value)] = node

    def _version(self, state: State, value: np.ndarray) -> Version:
        version = Version(state, Outline(value.shape, value.dtype), isinstance(state, Parameter))
        self.latest[state] = version
        return version

    def grad(self, parameter: Parameter) -> Value | None:
        if parameter not in self.grads:
            raise ValueError(f"{describe(parameter)}: .grad was read before a backprop set it, in a function that "
                             "tg.compile traces: what an earlier call left is not part of the program")
        return self.grads[parameter]

    def set_grad(self, parameter: Parameter, grad: Any) -> None:
        self.grads[parameter] = grad if grad is None else as_value(grad) if isinstance(grad, Node) else Value(grad)

    # ----------------------------------------------------------------------------- what ops say as they are made

    def built(self, op: Op) -> None:
        """An op on an outline has an outline, whatever its forward did."""
        if isinstance(op._value, Outline):
            return
        if any(isinstance(getattr(x, "_value", None), Outline) for x in op.inputs):
            op._value = Outline(op._value.shape, op._value.dtype)

    def retried(self, op: Op, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
        """What a forward returns that fails on zeros, from entries that harm no function of linear algebra."""
        values = [x._value if isinstance(x, Value) else x for x in inputs]
        if not any(isinstance(x, Outline) for x in values):
            raise ValueError("none of these inputs is an outline")
        return op.forward(*map(regular, values), **options)

    def swept(self, node: Value, source: Op, part: Any, total: Any) -> None:
        if isinstance(total, Value):
            self.gradient_of[total] = node

    def sweeping(self, node: Op) -> None: ...

    # --------------------------------------------------------------------------------------------------- the program

    def program(self, name: str, arguments: Sequence[Value], names: Sequence[str], results: Sequence[Value],
                states: Sequence[State]) -> Program:
        """The program that computes `results` from `arguments`, and the new values of assigned states."""
        lowering = _Lowering(self)
        inputs = [lowering.enter(node, name) for node, name in zip(arguments, names, strict=True)]
        entered = [lowering.enter(self.states[state], self.called.get(self.states[state], state.name or ""))
                   for state in states]
        updates = [(var, self.latest[state]) for var, state in zip(entered, states, strict=True)
                   if self.latest[state] is not self.states[state]]
        for node in Tape(*results, *[self.assigned.get(node, node) for _, node in updates]):
            lowering.name(node)
        with self.active():
            outputs = tuple(lowering.lower(node) for node in results)
            changed = tuple((var, lowering.lower(node)) for var, node in updates)
        lowering.instructions.sort(key=lambda pair: pair[0])
        return Program(name, tuple(inputs), tuple(entered), lowering.constants,
                       tuple(instruction for _, instruction in lowering.instructions), outputs, changed)


class _Lowering:
    """From the nodes of a trace to the variables and instructions of a program."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.vars: dict[Any, Var] = {}
        self.names: dict[Value, str] = dict(trace.called)
        self.constants: dict[Var, np.ndarray] = {}
        self.arrays: dict[int, tuple[Any, Var]] = {}  # plain arrays by id, kept alive
        self.expanded: dict[Value, Value] = {}
        self.place: dict[Value, tuple[int, ...]] = {}  # where the nodes of an expansion belong
        self.instructions: list[tuple[tuple[int, ...], Instruction]] = []

    def enter(self, node: Value, name: str) -> Var:
        """The variable of an argument or a state."""
        value = node._value
        self.names[node] = name
        var = self.vars[node] = Var(value.shape, value.dtype, name, getattr(value, "weak", False))
        return var

    def lower(self, result: Value) -> Var:
        """The variable of a node, after the instructions that compute it."""
        todo: list[Any] = [result]
        while todo:
            node = todo[-1]
            if node in self.vars:
                todo.pop()
                continue
            missing = [x for x in self._needs(node) if x not in self.vars]
            if missing:
                todo += missing
                continue
            todo.pop()
            self._emit(node)
        return self.vars[result]

    def _needs(self, node: Any) -> list[Any]:
        if not isinstance(node._value, Outline):
            return []
        if node in self.trace.assigned:
            return [self.trace.assigned[node]]
        if not isinstance(node, Op):
            raise ValueError(f"{describe(node)} belongs to another call of tg.compile: a function that is traced can "
                             "use its arguments, states, arrays, and what it makes of them")
        if not node.traceable:
            return [x for x in node.inputs if isinstance(x, Value)]
        if node not in self.expanded:
            first = next_serial()
            result = run_traced(node, node.expand, *node.inputs, **getattr(node, "options", {}))
            output = result[0] if node.n_kept else result
            self.expanded[node] = output = output if isinstance(output, Value) else Value(output)
            if output.serial > first:
                self.names.setdefault(output, self.names.get(node, ""))
            self._settle(output, first, self.place.get(node, (node.serial,)))
        return [self.expanded[node]]

    def _settle(self, output: Value, first: int, place: tuple[int, ...]) -> None:
        """Give the nodes of an expansion their place in the order of the whole: that of the op they expand."""
        todo = [output]
        while todo:
            node = todo.pop()
            if node.serial > first and node not in self.place:
                self.place[node] = (*place, node.serial)
                todo += [x for x in node.inputs if isinstance(x, Value)]

    def _emit(self, node: Any) -> None:
        value = node._value
        if not isinstance(value, Outline):
            self.vars[node] = self._constant(value)
        elif node in self.trace.assigned:
            self.vars[node] = self.vars[self.trace.assigned[node]]
        elif node in self.expanded:
            self.vars[node] = self.vars[self.expanded[node]]
        else:
            inputs = tuple(self.vars[x] if isinstance(x, Value)
                           else x if isinstance(x, int | float | complex) and not isinstance(x, np.generic)
                           else self._constant(x) for x in node.inputs)
            output = self.vars[node] = Var(value.shape, value.dtype, self.name(node), value.weak)
            instruction = Instruction(type(node), inputs, getattr(node, "options", {}), output)
            self.instructions.append((self.place.get(node, (node.serial,)), instruction))

    def _constant(self, value: Any) -> Var:
        if id(value) not in self.arrays:
            array = np.array(plain_array(value))  # as it is now
            var = Var(array.shape, array.dtype)
            self.arrays[id(value)] = value, var
            self.constants[var] = array
        return self.arrays[id(value)][1]

    def name(self, node: Any) -> str:
        """What a person would call a node: Z1 = W1 A0, A1 = f(Z1), dZ1 the gradient by it."""
        if node not in self.names:
            name = ""
            if (target := self.trace.gradient_of.get(node)) is not None:
                name = self.names.get(target, "")
                name = "d" + name if name else ""
            elif isinstance(node, Op):
                known = [self.names.get(x, "") for x in node.inputs if isinstance(x, Value)]
                kind = type(node).__name__
                found = [m for m in (re.fullmatch(r"([WwZ])(\w*)", x) for x in known) if m]
                if found and (kind in ("MatMul", "AddBias", "Conv2D") or (kind == "Add" and found[0][1] == "Z")):
                    name = "Z" + found[0][2]
                elif found and kind in _ACTIVATIONS:
                    name = "A" + found[0][2]
                elif kind == "LogSoftmaxNLL":
                    name = "loss"
            self.names[node] = name
        return self.names[node]
