"""Stepping: `tg.step_through`, a page in which a reader walks through the forward pass and then through backprop.

All is recorded when the page is made: the values that the nodes hold, and one sweep of the engine (see `record`). The
page is one file of HTML; its script (`steps.js`) only chooses what is seen. This module writes what each step says.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import textwrap
from collections.abc import Mapping
from functools import cached_property
from html import escape
from importlib.resources import files
from types import FunctionType
from typing import Any

import numpy as np

from ..derivation import Derivation, derive
from ..files import write_atomically
from ..node import Node, Value
from ..op import Op
from ..pages import heat_map, page
from .graph import Graph, Shown
from .record import Part, Record
from .svg import Picture

MOST = 1000  # nodes in a page


def step_through(loss: Node, *, names: Mapping[str, Any] | None = None, fold: int = 8) -> Steps:
    """A page that goes through a graph, one node at a time: forward, and then backward.

    loss: a node of one element that depends on parameters.
    names, fold: as for `draw`, whose picture the page shows, the current node marked in it.

    Each step shows the op, its rule as a formula and as source, the values that it was given and what came out of it;
    on the way back the gradients, which of them wait to be used, and what is added up where several meet. Buttons, a
    slider, a list and the keys ← → Home End lead from step to step. What is shown was recorded from one sweep of the
    engine when the page was made; `.grad` of no parameter is set.

    The page shows itself in a notebook; `.save("step.html")` writes one file that needs no network, `.html` is its
    text. ValueError for a loss that is not one number, depends on no parameter or has more than 1,000 nodes.

    >>> import numpy as np, tinygraph as tg
    >>> w = tg.Parameter(np.array([1.0, 2.0]), name="w")
    >>> tg.step_through((w * w).sum())
    <page of 6 steps through L: Sum>
    """
    record = Record(loss)
    if len(record.tape) > MOST:
        raise ValueError(f"this graph has {len(record.tape):,} nodes, and nobody steps through more than {MOST:,}: "
                         "take a smaller network or fewer repetitions")
    try:
        derivation = derive(loss, names=names)
    except (TypeError, NotImplementedError, AttributeError):  # an op of the user's that runs on arrays alone
        derivation = None
    letters = {} if derivation is None else {x if isinstance(x, int) else id(x): name
                                             for x, name in derivation.letters.items()}
    return Steps(Graph([loss], names or {}, fold, letters), record, derivation)


class Steps:
    """What `step_through` returns. html: the page."""

    def __init__(self, graph: Graph, record: Record, derivation: Derivation | None) -> None:
        self.graph, self.record, self.derivation = graph, record, derivation
        self.place = {shown: i for i, shown in enumerate(graph.boxes)}
        self.figures: dict[str, str] = {}  # by key, the heat maps
        self.rules: dict[str, dict[str, str]] = {}  # by the name of an op
        self.steps = [self._start(), *(self._forward(node) for node in graph.tape if node.inputs)]
        alive: dict[Value, None] = {}
        for node in record.order:
            self.steps.append(self._backward(node, alive))
        self.steps.append(self._end())

    @cached_property
    def html(self) -> str:
        picture = Picture(self.graph, {})
        title = f"Step through {self._title(self.graph.tape.outputs[0])}"
        data = {"steps": self.steps, "rules": self.rules}
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        figures = "\n".join(f'<template id="{key}">{figure}</template>' for key, figure in self.figures.items())
        body = _file("steps.html").format(title=escape(title), picture=picture.svg(), figures=figures, data=text,
                                          script=_file("steps.js"), last=len(self.steps) - 1)
        return page(title, body, _file("steps.css"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, which must end in .html."""
        if not os.fspath(path).lower().endswith((".html", ".htm")):
            raise ValueError(f"a page is saved as .html, not as {os.fspath(path)!r}")
        write_atomically(path, self.html.encode())

    def _repr_html_(self) -> str:
        return (f'<iframe srcdoc="{escape(self.html)}" title="Step through the graph" '
                'style="width: 100%; height: 44rem; border: 1px solid #888"></iframe>')

    def __repr__(self) -> str:
        return f"<page of {len(self.steps)} steps through {self._title(self.graph.tape.outputs[0])}>"

    # -------------------------------------------------------------------------------------------------------- steps

    def _start(self) -> dict[str, Any]:
        items = []
        for shown in self.graph.boxes:
            if shown.kind not in ("op", "variable") and not shown.folded:
                items.append(self._item(shown.name or shown.title, self._value(shown.nodes[0]), shown.kind))
        return {"phase": "start", "title": "What is given", "box": -1,
                "text": f"Parameters and data: {len(items)} arrays. The forward pass comes first.",
                "sections": [{"heading": "Parameters and data", "items": items}]}

    def _forward(self, node: Any) -> dict[str, Any]:
        inputs = [self._item(self._name(x), self._value(x)) for x in node.inputs]
        output = self._item(self._name(node), self._value(node))
        given = _listed([self._name(x) for x in node.inputs])
        return {"phase": "forward", "title": self._title(node), "box": self.place[self.graph.box_of[node]],
                "rule": self._rule(node), "equations": self._equations(node, 0),
                "text": f"{type(node).__name__} of {given} gives {self._said('an array', node._value)}.",
                "sections": [{"heading": "Inputs", "items": inputs}, {"heading": "Output", "items": [output]}]}

    def _backward(self, node: Op, alive: dict[Value, None]) -> dict[str, Any]:
        record, sent = self.record, self.record.sent[node]
        alive.pop(node, None)
        here = [self._item("∂L/∂" + self._name(node), self._grad(node), "the start: 1")]
        if came := record.came.get(node):
            here = self._sum(node)
        items, told = [], []
        for part in sent:
            x = part.target
            alive[x] = None
            count = len(record.came[x])
            note = f"{_ordinal(part.came + 1)} of {count} that are added up" if count > 1 else ""
            items.append(self._item("∂L/∂" + self._name(x), self._part(part), note))
            told.append(f"{self._name(x)} ({note})" if note else self._name(x))
        targets = {part.target for part in sent}
        silent = [self._name(x) for x in node.inputs if not (isinstance(x, Value) and x in targets)]
        says = f"Sends gradients to {_listed(told)}." if told else "Sends no gradient."
        sections = [{"heading": f"Gradient by its output{f', a sum of {len(came)}' if came and len(came) > 1 else ''}",
                     "items": here},
                    {"heading": "Sent to its inputs", "items": items,
                     "note": f"No gradient is wanted by {_listed(silent)}." if silent else ""},
                    {"heading": "What the rule used", "folded": True,
                     "items": [self._item(self._name(x), self._value(x)) for x in node.inputs]
                     + [self._item(self._name(node), self._value(node))]}]
        return {"phase": "backward", "title": self._title(node), "box": self.place[self.graph.box_of[node]],
                "rule": self._rule(node), "equations": self._equations(node, 1), "sections": sections,
                "text": f"{type(node).__name__} gets {self._said('a gradient', record.grads[node])}. {says}",
                "alive": [[self.place[self.graph.box_of[x]], self._name(x)] for x in alive]}

    def _end(self) -> dict[str, Any]:
        leaves = [x for x in self.graph.tape.leaves if x in self.record.grads]
        leaves.sort(key=self.graph.number.__getitem__)
        items = [item for x in leaves for item in self._sum(x)]
        return {"phase": "end", "title": "The gradients", "box": -1, "sections": [{"heading": "", "items": items}],
                "text": f"Backprop is done: {len(leaves)} {'gradient' if len(leaves) == 1 else 'gradients'}.",
                "alive": [[self.place[self.graph.box_of[x]], self._name(x)] for x in leaves]}

    def _sum(self, x: Value) -> list[dict[str, Any]]:
        """The gradient by a node; if it is a sum, its terms first."""
        came, label = self.record.came.get(x, []), "∂L/∂" + self._name(x)
        if len(came) < 2:
            return [self._item(label, self._grad(x), "the start: 1" if not came else "")]
        items = [self._item(f"from {self._name(part.source)}", self._part(part), sign="+" if part.came else "")
                 for part in came[:8]]
        if len(came) > 8:
            items.append({"label": f"… and {len(came) - 8} more", "sign": "+"})
        return [*items, self._item(label, self._grad(x), "the sum", sign="=")]

    # ------------------------------------------------------------------------------------------------------- pieces

    @staticmethod
    def _item(label: str, figure: str, note: str = "", sign: str = "") -> dict[str, Any]:
        return {"label": label, "figure": figure, "note": note, "sign": sign}

    def _figure(self, key: str, array: Any, name: str) -> str:
        if key not in self.figures:
            self.figures[key] = heat_map(array, name)
        return key

    def _value(self, x: Any) -> str:
        if isinstance(x, Value):
            return self._figure(f"v{self.graph.number[x]}", x._value, self._name(x))
        return self._figure(f"a{id(x)}" if np.ndim(x) else f"n{x!r}", x, self._name(x))

    def _grad(self, x: Value) -> str:
        return self._figure(f"g{self.graph.number[x]}", self.record.grads[x], f"gradient by {self._name(x)}")

    def _part(self, part: Part) -> str:
        if len(self.record.came[part.target]) == 1:
            return self._grad(part.target)
        return self._figure(f"p{self.graph.number[part.source]}-{part.sent}", part.array,
                            f"part of the gradient by {self._name(part.target)}")

    def _equations(self, node: Any, which: int) -> list[str]:
        keys = []
        for equation in self.derivation.of(node)[which] if self.derivation is not None else ():
            keys.append(key := f"e{equation.number}")
            self.figures.setdefault(key, f'<div class="equation">{Derivation.mathml(equation)}</div>')
        return keys

    def _title(self, node: Any) -> str:
        name, kind = self._name(node), type(node).__name__
        return name if name.startswith(f"{kind} %") else f"{name}: {kind}"

    def _name(self, x: Any) -> str:
        """What a step calls a node: its name, or the op and its number."""
        if not isinstance(x, Value):
            return self.graph.names.get(id(x)) or ("data" if np.ndim(x) else f"{x:.6g}")
        if not x.inputs:
            shown: Shown = self.graph.box_of[x]
            return self.graph.name_of(x) or f"{shown.kind} %{self.graph.number[x]}"
        return self.graph.names.get(id(x)) or f"{type(x).__name__} %{self.graph.number[x]}"

    @staticmethod
    def _said(what: str, array: Any) -> str:
        if not np.ndim(array):
            return f"{array:.4g}"
        return f"{what} of shape {np.shape(array)}"

    def _rule(self, node: Any) -> str:
        cls = type(node)
        name = cls.__qualname__
        if name not in self.rules:
            said = (inspect.getdoc(cls) or "") if "__doc__" in vars(cls) else ""
            first, *rest = said.split("\n\n")
            formulas = "\n".join([first, *(text for text in rest if re.match(r"d\w+ = ", text))])
            notes = [" ".join(text.split()) for text in rest if not re.match(r"d\w+ = ", text)]
            forward = getattr(cls, "forward", None)
            backward = getattr(cls, "rule", None)
            self.rules[name] = {
                "formula": formulas, "notes": " ".join(notes),
                "forward": _source(forward, "forward"),
                "backward": _source(backward, "backward") if backward else
                "# no backward is written: the rule comes from the ops that forward is made of"}
        return name


def _source(function: Any, name: str) -> str:
    if not isinstance(function, FunctionType):
        module = "scipy.special" if "scipy" in type(function).__module__ else "np"
        return f"{name} = {module}.{getattr(function, '__name__', function)}"
    try:
        return textwrap.dedent(inspect.getsource(function)).rstrip()
    except OSError:
        return f"# the source of {name} is not at hand"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _ordinal(n: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth")
    return words[n - 1] if n <= len(words) else f"number {n}"


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
