"""Comparison: gradients that somebody derived by hand beside those of the composed graph.

What they differ by is a table, a row for each parameter. A parameter whose gradient differs is explained: the backprop
of the graph is done again with one mistake in it (a mask forgotten, a matrix not transposed, a sum over the batch left
out, a step taken too early), and the mistake that gives just the numbers that were handed in is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..node import Node, Parameter, Value
from ..op import Op
from ..tape import Tape, as_value, backprop, fitted
from .report import Report

Grads = dict[Value, np.ndarray]
TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4, np.dtype(np.float16): 3e-2}
CLOSE = 1e-5  # of the norm: numbers that a mistake explains


@dataclass(frozen=True)
class Row:
    """What the gradient of one parameter differs by.

    absolute: the largest difference; relative: that, by the largest entry; ulps: the largest difference in units in
    the last place of the entry; worst: where the largest difference is.
    """

    name: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    ulps: float
    worst: tuple[int, ...]
    status: str


class Comparison(Report):
    """A report with a table: `rows`, one for each parameter, counted from the loss."""

    rows: list[Row]

    def __str__(self) -> str:
        head = ["parameter", "shape", "largest difference", "relative", "ulps", "worst entry", "verdict"]
        cells = [[row.name, str(row.shape), f"{row.absolute:.3g}", f"{row.relative:.2g}", f"{row.ulps:.3g}",
                  str(list(row.worst)) if row.worst else "", row.status if row.status == "ok" else row.status.upper()]
                 for row in self.rows]
        widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in [head, *cells]]
        details = [f"  {v.input}: {v.detail}" for v in self.verdicts if v.detail]
        return "\n".join([f"{self.subject}: {'all is well' if self.ok else 'gradients differ'}",
                          *[f"  note: {text}" for text in self.diagnosis], *[f"  {line}" for line in table], *details])

    __repr__ = __str__


def compare(loss: Node, gradients: Any) -> Comparison:
    """Gradients derived by hand beside those of the composed `loss`, a row for each parameter.

    gradients: a dictionary from a parameter, or its name, to an array; or a model by hand, whose `layers` have arrays
    `dW` and `db` (those of `tinygraph.byhand`), for parameters named W1, b1, W2, ...
    Raises ValueError for a gradient of no parameter of the loss, and for a parameter that has none.

    >>> import numpy as np, tinygraph as tg
    >>> W = tg.Parameter(np.array([[1.0, 2.0]]), name="W")
    >>> loss = np.sum(np.tanh(W @ np.array([[0.1], [0.2]])))
    >>> bool(tg.testing.compare(loss, {"W": (1 - np.tanh(0.5) ** 2) * np.array([[0.1, 0.2]])}))
    True
    """
    output = as_value(loss)
    tape = Tape(output)
    parameters = dict(_parameters(tape))
    if not parameters:
        raise ValueError("the loss depends on no parameter that still exists: keep the model until it is compared")
    given = _given(gradients, parameters)
    report = Comparison(f"{len(parameters)} parameters")
    report.rows = []
    truths = dict(zip(parameters, backprop(output, wrt=list(parameters.values())), strict=True))
    wrong: list[str] = []
    for name, truth in truths.items():
        row, detail = _row(name, truth, given[name])
        report.rows.append(row)
        report.add("values", row.status, name, detail)
        if row.status != "ok":
            wrong.append(name)
    if wrong:
        report.diagnosis.append(f"counted from the loss, {wrong[0]} is the first that differs")
        found = _explained(tape, output, parameters, truths, given, wrong)
        report.diagnosis += found
    return report


def _parameters(tape: Tape) -> Iterator[tuple[str, Parameter]]:
    """The parameters of a graph by name, those used last first: in the order in which gradients reach them."""
    last: dict[Value, int] = {}
    for n, node in enumerate(tape):
        last.update({x: n for x in node.inputs if isinstance(x, Value)})
    leaves = sorted((leaf for leaf in tape.leaves if leaf.source), key=lambda leaf: -last.get(leaf, len(tape)))
    for i, leaf in enumerate(leaves):
        state = leaf.state()  # type: ignore[attr-defined]
        if state is not None:
            yield state.name or f"parameter {i}", state


def _given(gradients: Any, parameters: dict[str, Parameter]) -> dict[str, Any]:
    if not isinstance(gradients, Mapping):
        layers = getattr(gradients, "layers", None)
        if layers is None:
            raise TypeError("compare takes a dictionary from parameters (or their names) to arrays, or a model whose "
                            f"layers have dW and db, got {type(gradients).__name__}")
        gradients = {f"{kind}{n}": getattr(layer, f"d{kind}") for n, layer in enumerate(layers, 1) for kind in "Wb"}
    names = {id(parameter): name for name, parameter in parameters.items()}
    given = {names.get(id(key), key): value for key, value in gradients.items()}
    if missing := [name for name in parameters if given.get(name) is None]:
        raise ValueError(f"no gradient was given for {', '.join(missing)}")
    if unknown := [str(name) for name in given if name not in parameters]:
        raise ValueError(f"the loss has no parameter {', '.join(unknown)}: it has {', '.join(parameters)}")
    return given


def _row(name: str, truth: np.ndarray, given: Any) -> tuple[Row, str]:
    yours = np.asarray(given)
    if yours.shape != truth.shape:
        return Row(name, truth.shape, np.inf, np.inf, np.inf, (), "wrong"), (
            f"a gradient of shape {yours.shape} for a parameter of {truth.shape}" + _shape_hint(yours, truth))
    with np.errstate(all="ignore"):
        off = np.abs(yours.astype(float) - truth)
        off = np.where(np.isnan(off), np.inf, off)
        ulps = off / np.spacing(np.maximum(np.abs(truth), np.finfo(truth.dtype).tiny)).astype(float)
    if not off.size:
        return Row(name, truth.shape, 0, 0, 0, (), "ok"), ""
    largest = float(np.abs(truth).max()) or 1.0
    worst = tuple(int(i) for i in np.unravel_index(off.argmax(), off.shape))
    relative = float(off.max()) / largest
    status = "ok" if relative <= TOLERANCE.get(truth.dtype, 1e-9) else "wrong"
    detail = "" if status == "ok" else f"at {list(worst)} yours {yours[worst]:.8g}, the engine's {truth[worst]:.8g}"
    return Row(name, truth.shape, float(off.max()), relative, float(ulps.max()), worst, status), detail


def _shape_hint(yours: np.ndarray, truth: np.ndarray) -> str:
    if yours.shape == truth.shape[::-1]:
        return ": transposed"
    if truth.ndim == yours.ndim and all(m in (1, n) for m, n in zip(truth.shape, yours.shape, strict=True)):
        return ": not summed over the batch"
    return ""


# ---------------------------------------------------------------------------------------------------------- mistakes

def _explained(tape: Tape, output: Value, parameters: dict[str, Parameter], truths: dict[str, np.ndarray],
               given: dict[str, Any], wrong: list[str]) -> list[str]:
    """Sentences about the parameters that differ: the mistakes that give just those numbers."""
    notes: list[str] = []
    left = [name for name in wrong if np.shape(given[name]) == truths[name].shape]
    said: dict[str, list[str]] = {}
    for name in [name for name in wrong if name not in left]:
        said.setdefault(_shape_hint(np.asarray(given[name]), truths[name])[2:] or "of another shape", []).append(name)
    if bad := [name for name in left if not np.isfinite(given[name]).all()]:
        hint = "; the engine's is: does an exponential overflow? Softmax needs its shift by the maximum"
        finite = all(np.isfinite(truths[name]).all() for name in bad)
        notes.append(f"{', '.join(bad)}: not finite{hint * finite}")
        left = [name for name in left if name not in bad]
    for name, factor in [(name, _factor(np.asarray(given[name], float), truths[name])) for name in left]:
        if factor is not None:
            said.setdefault(_named_factor(factor, tape), []).append(name)
            left = [other for other in left if other != name]
    notes += [f"{', '.join(names)}: {text}" for text, names in said.items()]
    versions = {name: parameter.current() for name, parameter in parameters.items()}
    for text, change in _mistakes(tape):
        if not left:
            return notes
        grads = _swept(tape, output, change)
        matched = [name for name in left if versions[name] in grads
                   and _same(np.asarray(given[name], float), grads[versions[name]])]
        if matched:
            notes.append(f"{', '.join(matched)}: {text}")
            left = [name for name in left if name not in matched]
    if left and (step := _step_taken(output, parameters, truths, given, left)) is not None:
        notes.append(f"{', '.join(left)}: as after an update, W - {step:.3g} dW: is the gradient taken too late?")
        left = []
    return [*notes, *[f"{name}: no single mistake that is known gives these numbers" for name in left]]


def _factor(yours: np.ndarray, truth: np.ndarray) -> float | None:
    size = float(np.sum(truth * truth))
    factor = float(np.sum(yours * truth)) / size if size else 1.0
    return factor if abs(factor - 1) > CLOSE and _same(yours, factor * truth) else None


def _named_factor(factor: float, tape: Tape) -> str:
    if abs(factor + 1) < CLOSE:
        return "the opposite sign"
    if abs(factor) < CLOSE:
        return "zero"
    for n in sorted({n for node in tape for n in node.shape if n > 1}):
        if abs(factor / n - 1) < CLOSE:
            return f"{n} times the engine's; {n} is a length in this graph: is a factor 1/n (a mean) forgotten?"
        if abs(factor * n - 1) < CLOSE:
            return f"1/{n} of the engine's; {n} is a length in this graph: is it divided by n once too often?"
    return f"{factor:.6g} times the engine's"


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.linalg.norm(np.ravel(a - b)) <= CLOSE * np.linalg.norm(np.ravel(b)))


Change = dict[Value, Callable[[np.ndarray], Any]]


def _mistakes(tape: Tape) -> Iterator[tuple[str, Change]]:
    """Backprops with one mistake each, latest node first, and what they say. Then with the same one everywhere."""
    kinds: dict[str, Change] = {}
    for node in reversed(tape.nodes):
        if not isinstance(node, Op) or not node.needs_grad:
            continue
        for text, rule in _slips(node):
            kinds.setdefault(text, {})[node] = rule
            yield f"{text} ({type(node).__name__} {node.shape})", {node: rule}
    for text, change in kinds.items():
        if len(change) > 1:
            yield f"{text} (in each of {len(change)} places)", change


def _slips(node: Op) -> Iterator[tuple[str, Callable[[np.ndarray], Any]]]:
    name, wanting = type(node).__name__, [x for x in node.inputs if isinstance(x, Value) and x.needs_grad]
    if (node.elementwise or node.traceable) and any(x.shape == node.shape for x in wanting) and len(node.inputs) == 1:
        what = "its mask is forgotten" if node.selecting or name == "ReLU" else "its derivative is left out"
        yield f"as if the gradient went through {name} unchanged: {what}", lambda grad: (grad,)
    if name == "ReLU":
        yield "as if ReLU's mask were x >= 0 or the other way round", lambda grad: (grad * (node._value == 0),)
    if name == "MatMul" and node.ndim == 2:
        A, B = (x._value if isinstance(x, Value) else np.asarray(x) for x in node.inputs)
        if A.ndim == 2 and A.shape[0] == A.shape[1]:
            yield "as if a matrix were not transposed in the gradient by the input", lambda grad: (grad @ B.T, A @ grad)
        if B.ndim == 2 and B.shape[0] == B.shape[1]:
            yield "as if a matrix were not transposed in the gradient by the input", lambda grad: (grad @ B, A.T @ grad)


def _swept(tape: Tape, output: Value, change: Change) -> Grads:
    """Backprop on arrays, with other rules at some nodes."""
    grads: Grads = {output: np.ones(output.shape, output.dtype)}
    for node in reversed(tape.nodes):
        if not isinstance(node, Op) or node not in grads or node.rule is None:
            continue
        with np.errstate(all="ignore"):
            parts = change[node](grads[node]) if node in change else node.pull(grads[node])
            for x, part in zip(node.inputs, parts if isinstance(parts, tuple) else (parts,), strict=True):
                if isinstance(x, Value) and x.needs_grad and part is not None:
                    part = fitted(node, x, part() if callable(part) else part)
                    grads[x] = grads[x] + part if x in grads else part
    return grads


def _step_taken(output: Value, parameters: dict[str, Parameter], truths: dict[str, np.ndarray], given: dict[str, Any],
                left: list[str]) -> float | None:
    """The rate of an update after which the gradient is what was given, to first order: g - rate H g."""
    nodes = list(parameters.values())
    try:
        grads = backprop(output, wrt=nodes, traced=True)
        along = sum(np.sum(g * truths[name]) for g, name in zip(grads, parameters, strict=True))
        change = dict(zip(parameters, backprop(along, wrt=nodes), strict=True))
    except (NotImplementedError, TypeError, ValueError):
        return None
    d = np.concatenate([np.ravel(given[name] - truths[name]) for name in left])
    h = np.concatenate([np.ravel(change[name]) for name in left])
    size = float(h @ h)
    rate = -float(d @ h) / size if size else 0.0
    close = np.linalg.norm(d + rate * h) < 0.2 * np.linalg.norm(d)
    return rate if rate > 0 and close else None
