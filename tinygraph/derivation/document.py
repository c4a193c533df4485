"""The document: what `tg.derive` returns, as text, LaTeX, Markdown and HTML, and the check of its equations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from ..node import Node, Value
from ..tape import as_value
from ..testing.numeric import Probe
from ..testing.report import Entry, Report
from .equations import Equation, Network
from .expression import Apply, Expression, Symbol, evaluate, letters_of
from .notation import BIG, LOSS, Latex, MathML, Style, Text, shown
from .program import Source, updates

TITLES = {"forward": "Forward pass", "backward": "Backward pass", "update": "Update"}
DIGITS = {np.dtype(np.float16): 2e-2, np.dtype(np.float32): 2e-5}  # relative, of the largest entry; float64: 1e-10


def derive(loss: Node, *, names: Mapping[str, Any] | None = None, optimizer: Any = None) -> Derivation:
    """The equations of a network, forward and backward, as the one who derives them by hand writes them down.

    loss: a node of one element that depends on parameters.
    names: what to call nodes and data, such as {"X": X, "t": t}: a name and a node, or the array that was given to
        the network. A model may stand there too: its states are then called by their paths. Parameters with a name of
        their own keep it, and what has no name gets a letter.
    optimizer: its step is added as the equations that update the parameters.

    `print` it, or look at it in a notebook; `.latex()`, `.markdown()` and `.html()` are texts, `.equations` the list,
    and `.check()` evaluates each. TypeError if the loss is no node, ValueError if it is not one real number or depends
    on no parameter.

    >>> import numpy as np, tinygraph as tg
    >>> w = tg.Parameter(np.array([1.0, 2.0]), name="w")
    >>> print(tg.derive((w * w).sum()).text(shapes=False, rules=False))
    Forward pass
    (1)  P1 = w²
    (2)  L = Σ P1
    Backward pass
    (3)  ∂L/∂P1 = 1
    (4)  ∇w = 2 ∂L/∂P1 ⊙ w
    """
    return Derivation(Network(loss, names or {}), optimizer)


class Derivation:
    """What `derive` returns: `equations`, in the order in which they are used."""

    def __init__(self, network: Network, optimizer: Any = None) -> None:
        found = [*network.equations]
        if optimizer is not None:
            found += updates(network, optimizer)
        self.equations: list[Equation] = [e for part in TITLES for e in found if e.part == part]
        for n, equation in enumerate(self.equations, 1):
            equation.number = n
        self._network, self._optimizer = network, optimizer

    @cached_property
    def _source(self) -> Source:
        return Source(self._network, self._optimizer)

    @property
    def source(self) -> str:
        """The NumPy source that `tg.compile` makes of all equations together: loss, gradients, and the step."""
        return self._source.text

    # -------------------------------------------------------------------------------------------------------- formats

    def _parts(self) -> Iterator[tuple[str, list[Equation]]]:
        for part, title in TITLES.items():
            if equations := [e for e in self.equations if e.part == part]:
                yield title, equations

    def text(self, *, shapes: bool = True, rules: bool = True, source: bool = False) -> str:
        """Plain text.

        shapes: under each letter its shape.
        rules: below each gradient the step of the chain rule that it is, and the rule of the op that is used.
        source: below each equation the generated lines that compute it.
        """
        style, lines = Text(shapes), []
        margin = len(str(len(self.equations))) + 4
        for title, equations in self._parts():
            lines += [title]
            for e in equations:
                inner = [line.rstrip() for row in _rows(e, style) for line in row if line.strip()]
                if rules and e.uses:
                    inner += [f"    {_chain(e, Text(False))[0].strip()}   {'; '.join(_rules(e))}"]
                if source:
                    inner += [f"    >>> {line}" for line in self._source.of(e)]
                lines += [f"({e.number})".ljust(margin) + inner[0], *[" " * margin + line for line in inner[1:]]]
        return "\n".join(lines)

    def latex(self, *, shapes: bool = True, rules: bool = True, source: bool = False) -> str:
        """A fragment for an article that uses amsmath: displayed equations with their numbers. See `text`."""
        style, lines = Latex(shapes), []
        for title, equations in self._parts():
            lines += [rf"\paragraph{{{title}.}}"]
            for e in equations:
                lines += [r"\begin{equation}", f"{_latex(e, style)} " + rf"\tag{{{e.number}}}", r"\end{equation}"]
                if rules and e.uses:
                    names = ", ".join(rf"\texttt{{{op.__name__}}}" for op in e.ops)
                    lines += [rf"\noindent by ${_chain(e, Latex(False))}$, {names}."]
                if source and (code := self._source.of(e)):
                    lines += [r"\begin{verbatim}", *code, r"\end{verbatim}"]
        return "\n".join(lines) + "\n"

    def markdown(self, *, shapes: bool = True, rules: bool = True, source: bool = False) -> str:
        """Markdown with LaTeX between dollar signs. See `text`."""
        style, lines = Latex(shapes), []
        for title, equations in self._parts():
            lines += [f"### {title}", ""]
            for e in equations:
                lines += ["$$", f"{_latex(e, style)} " + rf"\tag{{{e.number}}}", "$$", ""]
                if rules and e.uses:
                    said = "; ".join(rule.partition(": ")[0] for rule in _rules(e))
                    lines += [f"by ${_chain(e, Latex(False))}$, `{said}`", ""]
                if source and (code := self._source.of(e)):
                    lines += ["```python", *code, "```", ""]
        return "\n".join(lines)

    def html(self, *, shapes: bool = True, rules: bool = True, source: bool = False) -> str:
        """A page of its own, in MathML, which browsers draw without any help. See `text`."""
        return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Derivation</title>\n'
                f'<meta name="viewport" content="width=device-width">\n<style>{PAGE_STYLE}</style>\n</head>\n<body>\n'
                f"{self._fragment(shapes, rules, source)}\n</body>\n</html>\n")

    def _fragment(self, shapes: bool, rules: bool, source: bool) -> str:
        style, lines = MathML(shapes), [f'<div class="derivation"><style>{STYLE}</style>']
        for title, equations in self._parts():
            lines += [f"<h2>{title}</h2>", "<ol>"]
            for e in equations:
                lines += [f'<li value="{e.number}">{_mathml(e, style)}']
                if rules and e.uses:
                    chain = f"<math>{_chain(e, MathML(False))}</math>"
                    lines += [f"<p>{chain} <span>{escape('; '.join(_rules(e)))}</span></p>"]
                if source and (code := self._source.of(e)):
                    lines += [f"<pre>{escape(chr(10).join(code))}</pre>"]
                lines += ["</li>"]
            lines += ["</ol>"]
        return "\n".join([*lines, "</div>"])

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self._fragment(True, True, False)

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _repr_latex_(self) -> str:
        rows = [rf"{_aligned(e, Latex(True))} && ({e.number})" for e in self.equations]
        return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"

    # ------------------------------------------------------------------------------------------------- of one node

    @property
    def letters(self) -> dict[Any, str]:
        """What nodes are called in the equations; arrays that are no nodes by their id. Not all have a letter."""
        return {key: x.name for key, x in self._network.letters.items() if isinstance(x, Symbol)}

    def of(self, node: Node) -> tuple[list[Equation], list[Equation]]:
        """The equations that say what an op computes, and those of the gradients by its inputs."""
        network = self._network
        steps = [network.steps[x] for x in network.inside.get(as_value(node), [as_value(node)]) if x in network.steps]
        inputs = {network.letters.get(x) for step in steps for x in step.inputs if isinstance(x, Value)}
        wanted: set[Any] = {x for step in steps for x in step.definitions.values()}
        for step in steps:
            while step.term:
                step = step.users[0][0]
            wanted.add(network.letters[step.node])
        return ([e for e in self.equations if e.part == "forward" and e.left in wanted],
                [e for e in self.equations if e.part == "backward" and e.left.by in inputs])

    @staticmethod
    def mathml(equation: Equation) -> str:
        """One equation as MathML, with shapes: an element for each of its lines."""
        return _mathml(equation, MathML(True))

    # ---------------------------------------------------------------------------------------------------------- check

    def check(self) -> Report:
        """Evaluate each equation: its right side from the letters on it, against what the engine computed; and each
        gradient against numerical derivatives of the forward equations that its letter is in."""
        report = Report("derivation")
        forward = [e for e in self.equations if e.part == "forward"]
        gradients = {e.left.by: e.left for e in self.equations if e.part == "backward"}
        users: dict[Symbol, list[Equation]] = {}
        for e in forward:
            for x in letters_of(e.right):
                users.setdefault(x, []).append(e)
        for e in self.equations:
            name = f"({e.number}) {_left(e)}"
            _compare(report, name, np.asarray(e.left.value), evaluate(e.right))
            if e.part == "backward" and e.left.by is not None:
                _differences(report, name, e.left.by, e.left, users, gradients)
        return report


def _left(e: Equation) -> str:
    return Text(False).letter(e.left)[0] if e.left.by is None else Text(False).derivative(e.left)[0]


def _compare(report: Report, name: str, left: np.ndarray, right: Any) -> None:
    right = np.asarray(right)
    left, right = (x.astype(float) if x.dtype.kind == "b" else x for x in (left, right))
    try:
        right = np.broadcast_to(right, left.shape) if right.size != left.size else np.reshape(right, left.shape)
    except ValueError:
        report.add("both sides", "wrong", name, f"the left side has shape {left.shape}, the right {right.shape}")
        return
    with np.errstate(all="ignore"):
        equal = (left == right) | (np.isnan(left) & np.isnan(right))
        size = np.max(np.abs(left), initial=0, where=np.isfinite(left))
        off = np.max(np.where(equal, 0, np.abs(left - right)), initial=0)
    allowed = DIGITS.get(left.dtype, 1e-10) * size
    report.add("both sides", "ok" if off <= allowed else "wrong", name, f"differ by {off:.2g} at most")


def _differences(report: Report, name: str, x: Symbol, grad: Symbol, users: dict[Symbol, list[Equation]],
                 gradients: dict[Symbol | None, Symbol]) -> None:
    """⟨∂L/∂x, v⟩ for a direction v, against the slope along v of Σ ⟨∂L/∂u, u(x)⟩ over the letters u made of x."""
    value = np.asarray(x.value)
    if value.dtype.kind != "f" or not value.size:
        return
    rng = np.random.default_rng(0)
    v = rng.uniform(0.5, 1, value.shape) * rng.choice([-1, 1], value.shape)

    affected: dict[Equation, None] = dict.fromkeys(users.get(x, []))
    for e in (found := list(affected)):
        if e.left not in gradients and e.left.name != LOSS:  # a definition: what is made of it depends on x, too
            found += [other for other in users.get(e.left, []) if other not in affected]
            affected.update(dict.fromkeys(found))
    ordered = sorted(affected, key=lambda e: e.number)

    scale = float(np.max(np.abs(value), initial=0, where=np.isfinite(value))) or 1.0

    def f(far: Any) -> Any:  # from 1, so that also a letter whose entries are 0 shows how much is lost to rounding
        total, known = 0.0, {x: value + (far - 1) * scale * v}
        for e in ordered:
            u = evaluate(e.right, known)
            if e.left in gradients or e.left.name == LOSS:
                weight = gradients[e.left].value if e.left in gradients else np.ones(())
                total = total + np.sum(np.where(weight == 0, 0, u) * weight)
            else:
                known[e.left] = u
        return total

    claimed = scale * float(np.sum(np.asarray(grad.value, float) * v))
    low, high, error = Probe(f, [np.ones(())]).slopes([np.ones(())]).weighted(np.ones(1))
    error += (DIGITS.get(value.dtype, 0) + 1e-9) * scale * float(np.sum(np.abs(np.asarray(grad.value, float) * v)))
    if not np.isfinite([low, high, error]).all():
        status = "undecided"
    elif low - error <= claimed <= high + error:
        status = "kink" if low != high else "ok"
    else:
        status = "wrong"
    report.add("differences", status, name, f"{claimed:.6g}", [Entry((), claimed, low, high, error, status)])


# --------------------------------------------------------------------------------------------------------------- pieces

LONG = 10  # signs and functions, from which on the terms of a sum are written below each other


def _rows(e: Equation, style: Style, align: Any = None) -> list[Any]:
    """An equation in the lines that it takes. align: what stands before the place that they have in common."""
    before = [] if align is None else [align]
    first, *others = _terms(e.right) if e.right.size > LONG else [e.right]
    sign = style.sign("←" if e.part == "update" else "=")
    rows = [style.row(shown(e.left, style), *before, sign, shown(first, style))]
    indent = style.word("    ") if isinstance(style, Text) else style.sign("")
    return rows + [style.row(*before, indent, style.sign("+"), shown(x, style, BIG)) for x in others]


def _terms(x: Expression) -> list[Expression]:
    return [z for y in x.arguments for z in _terms(y)] if isinstance(x, Apply) and x.head == "+" else [x]


def _aligned(e: Equation, style: Latex) -> str:
    return " \\\\\n".join(_rows(e, style, "&"))


def _mathml(e: Equation, style: MathML) -> str:
    return "<br>".join(f'<math displaystyle="true">{row}</math>' for row in _rows(e, style))


def _latex(e: Equation, style: Latex) -> str:
    rows = _rows(e, style)
    return rf"\begin{{split}} {_aligned(e, style)} \end{{split}}" if len(rows) > 1 else f"  {rows[0]}"


def _chain(e: Equation, style: Style) -> Any:
    """The step of the chain rule that an equation of the backward pass is: a term for each letter made of this one."""
    assert e.left.by is not None
    terms: list[Any] = []
    for through in dict.fromkeys(u for u, _ in e.uses):
        terms += [style.sign("+")] * bool(terms)
        if through.name != LOSS:
            terms += [style.partial(_LOSS, through), style.sign("·")]
        terms += [style.partial(through, e.left.by)]
    return style.row(*terms)


def _rules(e: Equation) -> list[str]:
    """The rules that an equation uses, as the docstrings of the ops put them."""
    lines = []
    for op in e.ops:
        said = [" ".join(part.split()) for part in (op.__doc__ or "").split("\n\n")]
        rule = next((part for part in said if part.startswith("d")), said[0].partition("; ")[2])
        lines.append(f"{op.__name__}: {rule}" if rule else op.__name__)
    return lines


_LOSS = Symbol(LOSS, np.zeros(()))

STYLE = """
.derivation ol { list-style: none; padding: 0; }
.derivation li { margin: 0.7em 0; padding-left: 3.2em; position: relative; overflow-x: auto; min-height: 1.7em; }
.derivation li::before { content: "(" attr(value) ")"; position: absolute; left: 0; opacity: 0.75; }
.derivation .shape { font-size: 0.62em; opacity: 0.8; }
.derivation p { margin: 0.25em 0 0; font-size: 0.85em; opacity: 0.85; }
.derivation p span { margin-left: 1em; }
.derivation pre { margin: 0.35em 0 0; font-size: 0.85em; overflow-x: auto; }
.derivation h2 { font-size: 1.15em; }
"""
PAGE_STYLE = """
:root { color-scheme: light dark; }
body { font: 100%/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
"""
