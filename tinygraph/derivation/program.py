"""What an optimizer does, as equations, and the lines of generated source behind each equation.

Both are read off a trace of `tg.compile`: the step of an optimizer assigns to states while it is traced, and the
program of loss, gradients and step knows which of its statements lead to which letter.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..classifier import SGD
from ..compile.decorator import compile
from ..compile.numpy_target import Writer
from ..compile.passes import optimized
from ..compile.trace import Trace
from ..node import TRACE, Parameter, State, Value, Version
from ..states import states
from ..tape import Tape
from .equations import Equation, Network
from .expression import Constant, Expression, Symbol, evaluate, letters_of, of_node
from .notation import LOSS


def updates(network: Network, optimizer: Any) -> list[Equation]:
    """The equations of one step of an optimizer, from the gradients of the loss."""
    letters: dict[Any, Expression] = {}
    rate = Value(np.asarray(float(optimizer.lr) if isinstance(optimizer, SGD) else 0.0))
    letters[rate] = network.letter("alpha", rate._value, "data") if isinstance(optimizer, SGD) else Constant(0.0)
    trace, owners = Trace(), {}
    with trace.active():
        for parameter, (_, grad) in network.parameters.items():
            node = Value(np.asarray(grad.value))
            letters[node], owners[node] = grad, parameter
            trace.set_grad(parameter, node)  # type: ignore[arg-type]
        _step(optimizer, network, rate)
    if not trace.assigned:
        raise TypeError(f"optimizer is a {type(optimizer).__name__} whose step() assigns to no state: there is nothing "
                        "to write down")
    after = _stepped(network, optimizer, list(trace.states))
    assigned = _sources_first(trace.assigned)
    named = _names(network, optimizer, assigned, owners)
    for state, version in trace.states.items():
        if state not in network.parameters:
            network.moments[state] = network.letter(named.get(state, "s"), state._version._value, "data")
        letters[version] = network.moments[state] if state in network.moments else network.parameters[state][0]
    found, before = [], {}
    for version, node in assigned.items():
        owner = version.state()
        assert owner is not None
        first = letters[trace.states[owner]]
        assert isinstance(first, Symbol)
        right = of_node(node, letters)
        last = trace.latest[owner] is version
        left = Symbol(first.name, after[owner] if last else evaluate(right), role=first.role)
        letters[version] = letters[node] = left
        before[left] = first
        found.append(Equation("update", left, right))
    return _ordered(found, before)


def _sources_first(assigned: dict[Version, Value]) -> dict[Version, Value]:
    """What is assigned to each state, in an order in which those come first whose new values others are made of."""
    below = {version: set(Tape(node)) for version, node in assigned.items()}
    ordered: dict[Version, Value] = {}

    def visit(version: Version) -> None:
        for other, node in assigned.items():
            if other is not version and other not in ordered and (
                    node in below[version] or other in below[version]) and assigned[version] not in below[other]:
                visit(other)
        ordered.setdefault(version, assigned[version])

    for version in assigned:
        visit(version)
    return ordered


def _ordered(equations: list[Equation], before: dict[Symbol, Symbol]) -> list[Equation]:
    """The assignments in an order in which a letter means what it has been given last: who needs the old value of a
    state comes before it gets the new one."""
    ordered = [*equations]
    for e in equations:
        here = ordered.index(e)
        late = [i for i, other in enumerate(ordered) if i > here and before[e.left] in letters_of(other.right)]
        if late and not any(e.left in letters_of(other.right) for other in ordered[here:late[-1] + 1]):
            ordered.insert(late[-1], ordered.pop(here))
    return ordered


def _step(optimizer: Any, network: Network, rate: Any) -> None:
    """One step, while a trace is on. rate: for the documents' optimizer, which computes on plain arrays."""
    if not isinstance(optimizer, SGD):
        optimizer.step()
        return
    for parameter in optimizer.model.parameters:
        if parameter in network.parameters:
            parameter.value = parameter.value - rate * parameter.grad


def _stepped(network: Network, optimizer: Any, used: list[State]) -> dict[State, np.ndarray]:
    """What the states are after a real step, which is then taken back."""
    before = {state: state._version for state in [*states(optimizer).values(), *network.parameters, *used]}
    grads = {parameter: parameter._grad for parameter in before if isinstance(parameter, Parameter)}
    try:
        for parameter, (_, grad) in network.parameters.items():
            parameter._version = network.versions[parameter]
            parameter._grad = np.array(grad.value)  # type: ignore[attr-defined]
        optimizer.step()
        return {state: np.array(state._version._value) for state in before}
    finally:
        for state, version in before.items():
            state._version = version
        for parameter, old in grads.items():
            parameter._grad = old


_LETTERS = {"mean": "m", "square": "v", "learning_rate": "alpha", "rate": "alpha", "lr": "alpha"}  # as in papers


def _names(network: Network, optimizer: Any, assigned: dict[Version, Value],
           owners: dict[Any, State]) -> dict[State, str]:
    """What the states of an optimizer are called: their own name, or the last word of their path. Those that are made
    of the gradient of one parameter alone get its name as an index: m_W."""
    indices: dict[State, str] = {}
    for version, node in assigned.items():
        used = {owners[x] for x in Tape(node) if x in owners}
        state = version.state()
        if len(used) == 1 and state is not None:
            indices[state] = network.parameters[used.pop()][0].name
    names = {}
    for path, state in states(optimizer).items():
        words = [word.strip("_") for word in path.split(".") if not word.isdigit()]
        name = state.name or (_LETTERS.get(words[-1], words[-1]) if words else "s")
        names[state] = f"{name}_{indices[state]}" if state in indices and not state.name else name
    return names


# --------------------------------------------------------------------------------------------------------------- source

class Source:
    """The NumPy source of loss and gradients (and of a step), and the lines of it that compute each letter."""

    def __init__(self, network: Network, optimizer: Any = None) -> None:
        data = network.data
        used = {x: (Parameter if x.needs_grad else State)(x._value) if (state := x.state()) is None else state
                for x in network.nodes if isinstance(x, Version)}

        def step(*arrays: Any) -> Any:
            loss = network.rebuilt(dict(zip(data, arrays, strict=True)), used, TRACE.get().called, identifier)
            loss.backprop()
            if optimizer is not None:
                TRACE.get().called.update((state.current(), identifier(x)) for state, x in network.moments.items())
                _step(optimizer, network, optimizer.lr if isinstance(optimizer, SGD) else None)
            return loss

        compiled = compile(step, target="numpy")
        compiled.names = [identifier(x) for x in data.values()]
        writer = Writer(optimized(compiled.trace(*[np.asarray(x.value) for x in data.values()])))
        self.text = writer.source
        self.lines = writer.lines

    def of(self, e: Equation) -> list[str]:
        """The statements that an equation has become; none if others compute it on the way."""
        if e.part == "update":
            return self.lines.get("new " + identifier(e.left), [])
        name = identifier(e.left.by) if e.left.by is not None else identifier(e.left)
        return self.lines.get("d" + name if e.left.by is not None else name, [])


def identifier(x: Symbol) -> str:
    """A letter as a name of Python."""
    return "loss" if x.name == LOSS else re.sub(r"\W", "_", x.name)
