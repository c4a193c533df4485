"""Equations: from a loss to the equations of its forward and backward pass.

Every node of the tape gets a letter, but for those that are only a term of another: in Z = W A + b the product has
none, since its gradient is that of Z. The rule of each op is run on nodes that stand for letters (its inputs, its
output, what it kept, the gradient by its output), and the graph that comes back is the right side of an equation. Where
the op carries a formula, that is read instead. An op without a rule is replaced by its expansion.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from types import FunctionType
from typing import Any

import numpy as np

from .. import ops
from ..node import Node, State, Value, Version, describe, next_serial
from ..op import Op, run_traced
from ..states import states
from ..tape import Tape, as_value, fitted
from .expression import (
    HEADS,
    Apply,
    Constant,
    Expression,
    Symbol,
    alike,
    apply,
    evaluate,
    is_transpose,
    names_of,
    of_node,
    read,
    read_gradient,
    statements,
    written,
)
from .notation import LOSS, is_silent, split_name

LARGEST = 20  # signs and functions on one right side: beyond that it says less than a name
TERM = 8  # and in a term that goes without a letter

_LINEAR = (ops.MatMul, ops.Conv2D, ops.SparseMatMul)
_LETTERS: dict[type[Op], str] = {
    ops.Exp: "E", ops.Sum: "S", ops.Mean: "M", ops.Max: "M", ops.Min: "M", ops.Softmax: "P", ops.Divide: "R",
    ops.Subtract: "D", ops.Multiply: "P", ops.MatMul: "P", ops.Index: "V", ops.Square: "Q", ops.Power: "Q",
}


@dataclass(eq=False)
class Equation:
    """`left = right`. part: "forward", "backward" or "update". uses: for a gradient, the letters through which the
    loss depends on this one, and the op in whose rule each term is found."""

    part: str
    left: Symbol
    right: Expression
    uses: list[tuple[Symbol, type[Op]]] = field(default_factory=list)
    ops: list[type[Op]] = field(default_factory=list)
    number: int = 0


@dataclass(eq=False)
class _Step:
    """An op of the graph, and what its rule made of letters: stand-ins for its inputs, output and gradient."""

    node: Any
    inputs: list[Any]
    stand_ins: list[Any] = field(default_factory=list)
    output: Any = None
    kept: list[Any] = field(default_factory=list)
    grad: Any = None
    parts: dict[int, Any] = field(default_factory=dict)  # by number of the input
    passes: set[int] = field(default_factory=set)  # inputs that get the gradient as it is
    users: list[tuple[_Step, int]] = field(default_factory=list)
    term: bool = False  # it has no letter of its own
    expression: Expression | None = None
    definitions: dict[str, Symbol] = field(default_factory=dict)
    scope: dict[str, Any] = field(default_factory=dict)  # what the names in its formula mean


class Network:
    """A graph on its way to equations: `equations` is what comes of it, `letters` what each node is called.

    data: the letters of plain arrays and constants. parameters: the letter of each, and that of its gradient.
    versions: those of the parameters that the loss used.
    """

    def __init__(self, loss: Any, names: Mapping[str, Any]) -> None:
        self.loss = _checked(loss)
        self.outputs: dict[Value, Value] = {}  # of ops that are replaced by their expansion
        self.inside: dict[Value, list[Value]] = {}
        self.nodes = self._graph()
        self.active = self._active()
        parameters = [x for x in self.nodes if isinstance(x, Version) and x in self.active]
        if not parameters:
            raise ValueError(f"{describe(self.loss)} depends on no Parameter: there is nothing to derive it by")
        self.gradients = self._gradients()
        self.steps: dict[Value, _Step] = {
            x: _Step(x, [self._resolved(y) for y in x.inputs]) for x in self.nodes if isinstance(x, Op)}
        self.letters: dict[Any, Expression] = {}
        self.taken: set[tuple[str, str]] = set()
        for step in self.steps.values():
            if step.node in self.active:
                self._run_rule(step)
            for k, x in enumerate(step.inputs):
                if isinstance(x, Value) and x in self.steps:
                    self.steps[x].users.append((step, k))
        self.names = self._given(names)
        self._name_leaves()
        self.equations: list[Equation] = []
        self.grads: dict[Symbol, Symbol] = {}
        self._forward()
        self._backward()
        self.data = {key: x for key, x in self.letters.items()
                     if isinstance(x, Symbol) and x.role == "data" and not isinstance(key, Op | Version)}
        self.moments: dict[State, Symbol] = {}  # the letters of other states, of an optimizer
        self.parameters: dict[State, tuple[Symbol, Symbol]] = {}
        self.versions: dict[State, Version] = {}
        for x in parameters:
            letter, state = self.letters[x], x.state()
            if isinstance(letter, Symbol) and state is not None:
                self.parameters[state] = letter, self.grads[letter]
                self.versions[state] = x

    def rebuilt(self, data: Mapping[Any, Any], states: Mapping[Any, State], called: dict[Any, str],
                name: Callable[[Symbol], str]) -> Value:
        """The same graph on other data. states: of the versions that it used. called: gets the name of each node."""
        new: dict[Value, Any] = {}
        for x in self.nodes:
            if x in data:
                new[x] = data[x]
            elif isinstance(x, Op):
                inputs = [new[self._resolved(y)] if isinstance(y, Value) else data.get(id(y), y) for y in x.inputs]
                new[x] = type(x)(*inputs, **getattr(x, "options", {}))
            else:
                new[x] = states[x].current() if x in states else x
            step = self.steps.get(x)
            while step is not None and step.term and self._weights(step):  # the product in a layer is called as that
                step = step.users[0][0]
            letter = self.letters[x if step is None else step.node]
            if isinstance(letter, Symbol) and not isinstance(new[x], np.ndarray):
                called[new[x]] = name(letter)
        loss: Value = new[self._resolved(self.loss)]
        return loss

    # ----------------------------------------------------------------------------------------------------- the graph

    def _graph(self) -> list[Value]:
        """All nodes, inputs first, in the order in which they were made, with expansions in place of ops without a
        rule."""
        place: dict[Value, tuple[int, ...]] = {}  # the serial numbers of the ops whose expansion it is in, then its own
        todo: list[tuple[Value, tuple[tuple[int, tuple[int, ...]], ...]]] = [(self.loss, ())]
        while todo:
            node, within = todo.pop()  # within: for each expansion around, where its nodes start, and the op's place
            if node in place:
                continue
            while within and node.serial < within[-1][0]:
                within = within[:-1]
            place[node] = own = (*(within[-1][1] if within else ()), node.serial)
            if isinstance(node, Op) and node.needs_grad and node.rule is None and not _covers(type(node)):
                start = next_serial()
                output = run_traced(node, node.expand, *node.inputs, **getattr(node, "options", {}))
                output = output[0] if node.n_kept else output
                self.outputs[node] = output = output if isinstance(output, Value) else Value(output)
                self.inside[node] = [x for x in Tape(output, until=[x for x in node.inputs if isinstance(x, Value)])
                                     if x.serial > start]
                todo.append((output, (*within, (start, own))))
                continue
            todo += [(x, within) for x in node.inputs if isinstance(x, Value)]
        return sorted((x for x in place if x not in self.outputs), key=place.__getitem__)

    def _resolved(self, x: Any) -> Any:
        while isinstance(x, Value) and x in self.outputs:
            x = self.outputs[x]
        return x

    def _active(self) -> set[Value]:
        """The nodes through which the loss depends on a parameter."""
        dependent: set[Value] = set()
        for x in self.nodes:
            if isinstance(x, Version):
                if x.needs_grad:  # a parameter's, if that still exists or not
                    dependent.add(x)
            elif isinstance(x, Op) and x.needs_grad and any(
                    isinstance(y, Value) and self._resolved(y) in dependent for y in x.inputs):
                dependent.add(x)
        active = {self._resolved(self.loss)} & dependent
        for x in reversed(self.nodes):
            if x in active:
                active.update(z for y in x.inputs if isinstance(y, Value) and (z := self._resolved(y)) in dependent)
        return active

    def _gradients(self) -> dict[Value, Any]:
        """What the engine says: the derivative of the loss by each node."""
        wrt = [x for x in Tape(self.loss) if x in self.active or x in self.outputs]
        found = dict(zip(wrt, Tape(self.loss).backprop(wrt), strict=True))
        for node, output in self.outputs.items():  # outer ones come before those inside
            inner = [x for x in self.inside[node] if x in self.active or x in self.outputs]
            tape = Tape(output, until=[x for x in node.inputs if isinstance(x, Value)])
            found.update(zip(inner, tape.backprop(inner, found[node]), strict=True))
            found.setdefault(self._resolved(output), found[node])
        return found

    # ------------------------------------------------------------------------------------------------------ the rules

    def _run_rule(self, step: _Step) -> None:
        """Run an op's rule on stand-ins for letters."""
        node, op = step.node, type(step.node)
        step.stand_ins = [Value(x._value, needs_grad=True) if isinstance(x, Value) else Value(x)
                          if isinstance(x, np.ndarray) else x for x in step.inputs]
        step.output, step.grad = Value(node._value), Value(np.asarray(self.gradients[node]))
        step.kept = [Value(x) if isinstance(x, np.ndarray | np.generic) else x
                     for x in (node.kept if op.n_kept else ())]
        wanted = {k for k, x in enumerate(step.inputs) if isinstance(x, Value) and x in self.active}
        inputs, output, _ = names_of(op)
        said = statements(op)[1] if op.formula else {}
        by_formula = {k for k in wanted if said and inputs[k] in said}
        step.passes = {k for k in by_formula if ast.unparse(said[inputs[k]]) == "d" + output}
        if not wanted - by_formula:
            return
        assert op.rule is not None
        with np.errstate(all="ignore"):
            parts = run_traced(node, node.rule, step.grad, step.output, *step.stand_ins, *step.kept,
                               **getattr(node, "options", {}))
            parts = parts if isinstance(parts, tuple) else (parts,)
            for k in sorted(wanted - by_formula):
                part = run_traced(node, parts[k]) if isinstance(parts[k], FunctionType) else parts[k]
                if part is None:
                    continue
                part = fitted(node, step.inputs[k], part)
                value = part._value if isinstance(part, Value) else part
                if np.isnan(value).any() and (step.grad._value == 0).any():  # a branch that was not taken: see `tape`
                    part = np.where(np.isnan(part) & (step.grad == 0), 0, part)
                step.parts[k] = part
                if part is step.grad:
                    step.passes.add(k)

    # -------------------------------------------------------------------------------------------------------- letters

    def _given(self, names: Mapping[str, Any]) -> dict[Any, str]:
        """The names that the caller gave, by node; for plain arrays, by id."""
        found: dict[Any, str] = {}
        versions = {state: x for x in self.nodes if isinstance(x, Version) and (state := x.state()) is not None}
        for name, thing in names.items():
            if not isinstance(thing, Node | np.ndarray | np.generic | list | float | int):
                inner = states(thing)
                if not inner:
                    raise TypeError(f"names[{name!r}] is a {type(thing).__name__}: give a node, an array, or a model")
                found.update((versions[state], ".".join(filter(None, [name, path])))
                             for path, state in inner.items() if state in versions)
                continue
            if isinstance(thing, State):
                keys: list[Any] = [versions[thing]] if thing in versions else []
            elif isinstance(thing, Node):
                keys = [x for x in self.nodes if x is self._resolved(thing)]
            else:
                keys = [x if isinstance(x, Value) else id(x) for x in self._arrays() if _same(x, thing)]
            if not keys:
                raise ValueError(f"names[{name!r}], of shape {np.shape(thing)}, is not in the graph of this loss (it "
                                 "may hold another array, made of this one)")
            found.update(dict.fromkeys(keys, name))
        return found

    def _arrays(self) -> Iterable[Any]:
        """What is neither an op nor a state: constants and plain arrays."""
        for x in self.nodes:
            if type(x) is Value:
                yield x
            for y in x.inputs:
                if isinstance(y, np.ndarray):
                    yield y

    def letter(self, wanted: str, value: Any, role: str = "") -> Symbol:
        """A letter that no other one looks like."""
        base, index = split_name(wanted)
        n = 1
        while (base, index) in self.taken:
            n += 1
            base, index = (base, str(n)) if split_name(wanted)[1] == "" else (base + "'", index)
        self.taken.add((base, index))
        name = f"{base}{index}" if index.isdigit() and "." not in wanted else wanted if n == 1 else f"{base}_{index}"
        return Symbol(name, value, role=role)

    def _name_leaves(self) -> None:
        """Letters for parameters, data and what the caller named. Parameters that have no name, or one name together,
        are numbered by layer."""
        self.taken.add((LOSS, ""))
        used = [x for x in self.nodes if isinstance(x, Version)]
        own = {x: self.names.get(x) or (state.name if (state := x.state()) is not None else "") or "" for x in used}
        counts = Counter(own.values())
        for x in used:
            if own[x] and counts[own[x]] == 1:
                self.letters[x] = self.letter(own[x], x._value, "parameter" if x in self.active else "data")
        layer = 0
        for step in self.steps.values():
            linear = isinstance(step.node, _LINEAR)
            inputs = [x for x in step.inputs if isinstance(x, Version)]
            layer += bool(linear and inputs)
            for x in inputs:
                if x not in self.letters and (linear or isinstance(step.node, ops.AddBias | ops.Add)):
                    letter = own[x] or ("W" if linear else "b")
                    self.letters[x] = self.letter(f"{letter}{max(layer, 1)}", x._value, "parameter")
        for x in used:
            if x not in self.letters:
                letter = own[x] or ("theta" if x in self.active else "s")
                self.letters[x] = self.letter(letter + self._next(letter), x._value,
                                              "parameter" if x in self.active else "data")
        indices = {x if isinstance(x, Value) else id(x) for step in self.steps.values()
                   if "index" in getattr(step.node, "options", {}) for x in step.inputs[1:]}
        known: dict[Any, Expression] = {}  # an array that was given twice has one letter
        for x in self._arrays():
            key = x if isinstance(x, Value) else id(x)
            value = x._value if isinstance(x, Value) else x
            if key in self.letters:
                continue
            if key in self.names:
                same = known.get((self.names[key], np.shape(value)))
                self.letters[key] = same or self.letter(self.names[key], value, "data")
                known[self.names[key], np.shape(value)] = self.letters[key]
            elif isinstance(value, np.ndarray) and value.size > 1 and not (value == value.flat[0]).all():
                letter = "i" if key in indices else "t" if value.dtype.kind in "iub" else "X"
                self.letters[key] = self.letter(letter, value, "data")

    def _name(self, step: _Step) -> str:
        """What a person calls the result of an op: Z of a linear layer, A of what follows on it, or by its kind."""
        node = step.node
        if node in self.names:
            return self.names[node]
        if weights := self._weights(step):
            index = split_name(getattr(self.letters[weights[0]], "name", ""))[1]
            if index.isdigit() and ("Z", index) not in self.taken:
                return f"Z{index}"
            return "Z" + self._next("Z")
        before = [self.letters.get(x) for x in step.inputs if isinstance(x, Value)]
        if len(before) == len(step.inputs) == 1 and isinstance(before[0], Symbol) and type(node) not in _LETTERS:
            letter, index = split_name(before[0].name)
            if letter == "Z" and ("A", index) not in self.taken and node.shape == np.shape(before[0].value):
                return f"A{index}"
        letter = _LETTERS.get(type(node), "U" if node.ndim else "s")
        return letter + self._next(letter)

    def _weights(self, step: _Step) -> list[Version]:
        """The parameters by which a linear layer multiplies: a product with one, or a sum of such and a bias."""
        if isinstance(step.node, _LINEAR):
            return [x for x in step.inputs if isinstance(x, Version)]
        if not isinstance(step.node, ops.AddBias | ops.Add):
            return []
        found = []
        for x in step.inputs:
            inner = self._weights(self.steps[x]) if isinstance(x, Value) and x in self.steps and (
                len(self.steps[x].users) == 1) else []
            if not inner and not isinstance(x, Version):
                return []
            found += inner
        return found

    def _next(self, letter: str) -> str:
        n = 1
        while (letter, str(n)) in self.taken:
            n += 1
        return str(n)

    # -------------------------------------------------------------------------------------------------------- forward

    def _forward(self) -> None:
        for x in self.nodes:
            if x in self.letters:
                continue
            if x not in self.steps:
                self.letters[x] = Constant(x._value)
                continue
            step = self.steps[x]
            step.expression = self._written(step)
            step.term = self._is_term(step)
            if step.term:
                self.letters[x] = step.expression
                continue
            last = x is self._resolved(self.loss)
            symbol = Symbol(LOSS, x._value) if last else self.letter(self._name(step), x._value)
            self.letters[x] = symbol
            self.equations.append(Equation("forward", symbol, step.expression, ops=_group_ops(self, step)))

    def _argument(self, x: Any) -> Expression:
        key = x if isinstance(x, Value) else id(x)
        return self.letters.get(key) or Constant(x)

    def _define(self, step: _Step, name: str, right: Expression) -> Expression:
        """A letter for a definition in a formula; with its own equation, unless that is a number."""
        if name not in step.definitions:
            value = right.value if isinstance(right, Constant) else evaluate(right)
            symbol = step.definitions[name] = self.letter(name, value)
            self.equations.append(Equation("forward", symbol, right))
        return step.definitions[name]

    def _written(self, step: _Step) -> Expression:
        """The right side of the op's forward equation. What it defines on the way gets its equations first."""
        node, op = step.node, type(step.node)
        arguments, options = [self._argument(x) for x in step.inputs], getattr(node, "options", {})
        if op.formula:
            right, step.scope = read(op, arguments, options, lambda name, x: self._define(step, name, x))
            return right
        by_name = written(op, arguments, options)
        if not op.traceable or node not in self.active or op.n_inputs is None:
            return by_name
        stand_ins = [Value(x._value) if isinstance(x, Value) else Value(x) if isinstance(x, np.ndarray) else x
                     for x in step.inputs]
        letters = {z if isinstance(z, Value) else id(z): a for z, a in zip(stand_ins, arguments, strict=True)}
        results = run_traced(node, node.expand, *stand_ins, **options)
        output, kept = (results[0], list(results[1:])) if op.n_kept else (results, [])
        order = sorted(range(len(kept)), key=lambda i: kept[i].serial if isinstance(kept[i], Value) else -1)
        if max(of_node(x, letters).size for x in [output, *kept]) > LARGEST:
            step.kept = []
            return by_name
        for i in order:
            name = names_of(op)[2][i]
            symbol = self._define(step, name, of_node(kept[i], letters))
            if isinstance(kept[i], Value):
                letters[kept[i]] = symbol
        return of_node(output, letters)

    def _is_term(self, step: _Step) -> bool:
        """Whether the op needs no letter: one op uses it, and hands its gradient on as it is (or there is none)."""
        assert step.expression is not None
        if (step.node is self._resolved(self.loss) or step.node in self.names or len(step.users) != 1
                or step.expression.size > TERM or step.definitions):
            return False
        user, k = step.users[0]
        right = step.expression
        if is_silent(right) or is_transpose(right):
            return True
        if isinstance(right, Symbol) and np.asarray(right.value).dtype == step.node.dtype:
            return True
        if (self._weights(step) and not self._weights(user)) or self._name(step).startswith("A") or (
                type(step.node).selecting and not isinstance(step.node, ops.Index)):
            return False  # what a layer computes has a letter, and what is chosen by a condition
        return k in user.passes if step.node in self.active else step.node.size == 1 or step.node.dtype.kind == "b"

    # ------------------------------------------------------------------------------------------------------- backward

    def _backward(self) -> None:
        terms: dict[Value, list[tuple[Expression, Symbol, type[Op]]]] = {}
        remaining = dict.fromkeys(self.active, 0)
        for step in self.steps.values():
            for x in step.inputs:
                if step.node in self.active and isinstance(x, Value) and x in self.active:
                    remaining[x] += 1
        for x in reversed(self.nodes):
            if x not in self.steps or x not in self.active or self.steps[x].term:
                continue
            symbol = self.letters[x]
            assert isinstance(symbol, Symbol)
            seed: Expression = Constant(1.0)
            if symbol.name != LOSS:
                seed = self._gradient_equation(x, symbol, terms.get(x, []))
            reached: list[Value] = []
            self._contributions(self.steps[x], seed, symbol, terms, remaining, reached)
            for leaf in dict.fromkeys(reached):
                if leaf not in self.steps and not remaining[leaf]:
                    letter = self.letters[leaf]
                    assert isinstance(letter, Symbol)
                    self._gradient_equation(leaf, letter, terms.get(leaf, []))

    def _contributions(self, step: _Step, seed: Expression, through: Symbol, terms: Any, remaining: dict[Value, int],
                       reached: list[Value]) -> None:
        """What an op, with the terms that it is made of, sends to the letters on its right side."""
        for k, x in enumerate(step.inputs):
            if not isinstance(x, Value) or x not in self.active:
                continue
            remaining[x] -= 1
            part = self._part(step, k, seed)
            if x in self.steps and self.steps[x].term:
                if part is not None:
                    self._contributions(self.steps[x], part, through, terms, remaining, reached)
                continue
            reached.append(x)
            if part is not None:
                terms.setdefault(x, []).append((part, through, type(step.node)))

    def _part(self, step: _Step, k: int, seed: Expression) -> Expression | None:
        """The term that an op contributes to the gradient by its k-th input."""
        op: Any = type(step.node)
        arguments = [self._argument(x) for x in step.inputs]
        inputs, _, kept = names_of(op)
        if k in step.passes:
            return seed
        if k not in step.parts:
            if not op.formula or inputs[k] not in statements(op)[1]:
                return None
            return read_gradient(op, inputs[k], step.scope, self.letters[step.node], seed)
        letters: dict[Any, Expression] = {step.grad: seed, step.output: self.letters[step.node]}
        defined = True
        for name, x in zip(kept, step.kept, strict=False):
            if name in step.definitions and isinstance(x, Value):
                letters[x] = step.definitions[name]
            else:
                defined = False
        for x, a in zip(step.stand_ins, arguments, strict=True):
            letters[x if isinstance(x, Value) else id(x)] = a
        found = of_node(step.parts[k], letters)
        if found.size <= LARGEST and (defined or not op.n_kept) and len(step.kept) == op.n_kept:
            return found
        return Apply("pull", (seed, *arguments), {"of": step.node, "k": k, "by": self._argument(step.inputs[k]),
                                                  "output": self.letters[step.node]})

    def _gradient_equation(self, x: Value, symbol: Symbol, terms: list[tuple[Expression, Symbol, type[Op]]]) -> Symbol:
        """∂L/∂x: the sum of what its uses contribute."""
        counts: dict[Expression, int] = {}  # x ⊙ x has two terms that are the same
        for part, _, _ in terms:
            first = next((other for other in counts if alike(other, part)), part)
            counts[first] = counts.get(first, 0) + 1
        first, *others = [apply("*", Constant(n), x) for x, n in counts.items()] or [Constant(0.0)]
        right = reduce(lambda a, b: apply("+", a, b), others, first)
        left = self.grads[symbol] = Symbol("d" + symbol.name, self.gradients[x], by=symbol)
        self.equations.append(Equation("backward", left, right, [(u, op) for _, u, op in terms],
                                       list(dict.fromkeys(op for _, _, op in terms))))
        return left


def _group_ops(derivation: Network, step: _Step) -> list[type[Op]]:
    """The ops that an equation is made of: the one that has the letter, then its terms."""
    found = [type(step.node)]
    for x in step.inputs:
        if isinstance(x, Value) and x in derivation.steps and derivation.steps[x].term:
            found += _group_ops(derivation, derivation.steps[x])
    return found


def _pull(grad: Any, *inputs: Any, of: Op, k: int, by: Any, output: Any) -> Any:
    """The rule of one op, where its gradient is too long to write out."""
    leaves = [Value(np.asarray(x, dtype=getattr(y, "dtype", None)), needs_grad=True) if isinstance(y, Value) else y
              for x, y in zip(inputs, of.inputs, strict=True)]
    node = type(of)(*leaves, **getattr(of, "options", {}))
    return Tape(node).backprop([leaves[k]], np.broadcast_to(grad, node.shape))[0]


HEADS["pull"] = _pull


def _covers(op: Any) -> bool:
    """Whether the formula of an op without a rule says all its gradients."""
    return bool(op.formula) and set(op.signature[0]) == set(statements(op)[1])


def _same(x: Any, thing: Any) -> bool:
    """Whether an array of the graph is the one that the caller holds, or a copy that the graph made of it."""
    mine = x._value if isinstance(x, Value) else x
    if mine is thing:
        return True
    theirs = np.asarray(thing)
    return (isinstance(mine, np.ndarray | np.generic) and mine.size == theirs.size and mine.size > 0
            and np.array_equal(np.ravel(mine), np.ravel(theirs)))


def _checked(loss: Any) -> Value:
    """The loss as a node of one element, or an error."""
    if not isinstance(loss, Node):
        raise TypeError(f"derive takes the loss as a node, got {type(loss).__name__}: build it with Parameters")
    if isinstance(loss, State):
        raise ValueError(f"{describe(loss)} is computed from nothing: there is nothing to derive")
    value = as_value(loss)
    if value.size != 1 or value.dtype.kind != "f":
        raise ValueError(f"derive starts from one real number, but this is {describe(value)}: reduce it (.sum(), "
                         ".mean()) to the loss that you minimize")
    return value
