"""Checks: is this the gradient of that function, and does the rule behave?

`check_gradients` takes a function and, if you have one, the backward that you derived by hand; `check_op` takes an op.
Both call what they are given, on copies, many times: at the point, at points beside it, at others that they look for.
They return a `Report`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..calculus import jvp, vjp
from ..node import Node, State, Value, plain_array
from ..op import Op
from ..recording import parameter_names
from ..structure import filled, leaves, spread
from ..tape import backprop
from .diagnosis import diagnosed
from .examples import example
from .numeric import JITTERS, Probe
from .report import Entry, Report, Verdict
from .values import Claim, judged

Rule = Callable[..., Sequence[Any]]


class Subject:
    """A function, its rule, and the leaves of its arguments, of which those of floats are differentiated by.

    rule: (grad_output, *inputs) -> one gradient for each input, of its form. A state among the leaves is handed over as
    it is, with other values; `restore` gives it back the one that it had.
    """

    def __init__(self, name: str, function: Callable[..., Any], rule: Rule | None, arguments: Sequence[Any],
                 names: Sequence[str] | None = None) -> None:
        self.name, self.function, self.own_rule, self.arguments = name, function, rule, arguments
        names = names or _names(function, len(arguments))
        found = [(path, leaf) for argument, start in zip(arguments, names, strict=True)
                 for path, leaf in leaves(argument, start)]
        self.inputs = [x if isinstance(x, State) else plain_array(x) for _, x in found]
        self.names = [path for path, _ in found]
        self.wrt = [i for i, x in enumerate(self.inputs) if x.dtype.kind == "f"]
        if not self.wrt:
            raise TypeError(f"{name}: no input of floats, and so nothing to differentiate by")
        self.states = {x: x.current() for x in self.inputs if isinstance(x, State)}

    def restore(self) -> None:
        for state, version in self.states.items():
            state._version = version

    def given(self, xs: Sequence[Any]) -> list[Any]:
        """The arguments, fresh copies, with `xs` in the place of the leaves of floats."""
        found = [x if isinstance(x, State) else x.copy() for x in self.inputs]
        for i, x in zip(self.wrt, xs, strict=True):
            state = found[i]
            if isinstance(state, State):
                state.assign(np.array(x))
            else:
                found[i] = x
        rest = iter(found)
        return [filled(argument, [next(rest) for _ in leaves(argument)]) for argument in self.arguments]

    def call(self, *xs: Any) -> np.ndarray:
        """The function's value as an array, at other values of the leaves of floats."""
        result = self.function(*self.given(xs))
        return np.asarray(_plain(result))

    @property
    def primals(self) -> list[np.ndarray]:
        return [np.array(self.states[x]._value if isinstance(x, State) else x) for x in
                [self.inputs[i] for i in self.wrt]]

    def rule(self, cotangent: np.ndarray, *xs: np.ndarray) -> list[Any]:
        """What the rule returns for the leaves of floats."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            if self.own_rule is None:
                return self._by_the_engine(cotangent, xs)
            found = self.own_rule(cotangent, *self.given(xs))
        found = list(found) if isinstance(found, tuple | list) else [found]
        if len(found) != len(self.arguments):
            raise TypeError(f"{len(found)} gradients for {len(self.arguments)} inputs")
        flat = [g for x, argument in zip(found, self.arguments, strict=True)
                for g in (spread(x, argument, "a gradient", "its input", whole=x is None))]
        return [flat[i]() if callable(flat[i]) else flat[i] for i in self.wrt]

    def _by_the_engine(self, cotangent: np.ndarray, xs: Sequence[np.ndarray]) -> list[Any]:
        if not self.states:
            found = vjp(lambda *nodes: self.function(*self.given(nodes)), *xs)[1](cotangent)
            return [_plain(g) for g in found]
        given = [x if isinstance(self.inputs[i], State) else Value(x, needs_grad=True)
                 for i, x in zip(self.wrt, xs, strict=True)]
        result = self.function(*self.given(given))
        sources = [self.inputs[i] if isinstance(self.inputs[i], State) else node
                   for i, node in zip(self.wrt, given, strict=True)]
        return backprop(result, wrt=sources, grad=cotangent)


def _plain(x: Any) -> Any:
    """The array: a derivative of a function that has parameters within it is a node."""
    return x.value if isinstance(x, Node) else x


def _names(function: Callable[..., Any], count: int) -> list[str]:
    """What the function calls its arguments, if it says so."""
    found = parameter_names(function)
    plain = isinstance(function, np.ufunc) or len(found) < count
    return [f"input {i}" for i in range(count)] if plain else found[:count]


def check_gradients(function: Callable[..., Any], *inputs: Any, gradient: Rule | None = None, order: int = 1,
                    beyond: bool = True) -> Report:
    """Whether the gradient of `function` is right at `inputs`, and at others that are looked for.

    function: of arrays, in plain NumPy or on nodes; returns an array or a number.
    inputs: arrays and numbers, nested lists, tuples and dicts of them, and parameters (the function gets them as they
        are, with other values); those of floats are differentiated by. What is float32 or float16 is checked with a
        reference in float64.
    gradient: the backward that you derived, `gradient(grad_output, *inputs)`, which returns one array for each input
        (None where there is none). Without it the engine's own gradient is checked.
    order: 2 to check second derivatives, too (of the engine's gradient).
    beyond: whether to look for other inputs (signs, zeros, ties, sizes) at which it fails.

    The report is true if all is well. TypeError if no input is of floats; an error of `function` at `inputs` passes
    through.

    >>> import numpy as np
    >>> from tinygraph.testing import check_gradients
    >>> bool(check_gradients(np.tanh, np.array([0.5, -1.0]), gradient=lambda g, x: [g * (1 - np.tanh(x) ** 2)]))
    True
    >>> print(check_gradients(np.tanh, np.array([0.5, -1.0]), gradient=lambda g, x: [2 * g * (1 - np.tanh(x) ** 2)]))
    tanh: ... wrong
      note: input 0: yours is 2 times the gradient
      ...
    """
    name = getattr(function, "__name__", type(function).__name__)
    subject = Subject(name, function, gradient, inputs)
    report = Report(name)
    try:
        _check(report, subject, order)
        if beyond and report.ok:
            _search(report, subject)
    finally:
        subject.restore()
    return report


def check_op(op: type[Op], *inputs: Any, **options: Any) -> Report:
    """Whether an op keeps what it claims: its rule beside numerical derivatives, at first and second order; beside the
    derivative of its own expansion; linear, the same each time, nothing written into; in float32; on strided arrays.

    inputs: arrays and numbers; without any, inputs are looked for that the op accepts. options: those of the op.
    TypeError if none are found, or if no input is of floats.

    >>> import tinygraph as tg
    >>> bool(tg.testing.check_op(tg.ops.Tanh))
    True
    """
    if not callable(getattr(op, "forward", None)) or not issubclass(op, Op):
        raise TypeError(f"check_op takes the class of an op, got {op!r}; for a function use check_gradients")
    report = Report(op.__name__)
    if not op.differentiable:
        report.add("no gradient flows through it", "ok")
        return report
    given = inputs or example(op, options)
    names = op.signature[0] if op.n_inputs else [f"input {i}" for i in range(len(given))]
    subject = Subject(op.__name__, lambda *xs: op(*xs, **options), None, given, names)
    _check(report, subject, 2)
    if report.ok:
        _check_expansion(report, subject, op, options)
        _check_layout(report, subject)
        _check_precision(report, subject)
        _search(report, subject)
    return report


def _check_expansion(report: Report, subject: Subject, op: type[Op], options: dict[str, Any]) -> None:
    """The rule of an op that expands is a claim about its expansion."""
    if not op.traceable or op.rule is None:
        return
    blank, primals = op.__new__(op), subject.primals

    def expansion(*nodes: Any) -> Any:
        result = blank.expand(*subject.given(nodes), **options)
        return result[0] if isinstance(result, tuple) else result

    cotangent = _cotangent(subject.call(*primals))
    with np.errstate(all="ignore"):
        rule = subject.rule(cotangent, *primals)
        derived = vjp(expansion, *primals)[1](cotangent)
    for k, i in enumerate(subject.wrt):
        off = np.abs(rule[k].astype(float) - derived[k]) > 1e-6 * (np.abs(derived[k]) + 1e-3 * _size(derived[k]))
        report.add("the rule is the derivative of the expansion", "wrong" if off.any() else "ok", subject.names[i],
                   f"first off at {tuple(map(int, np.argwhere(off)[0]))}" if off.any() and off.ndim else "")


def _check_layout(report: Report, subject: Subject) -> None:
    """Strided, reversed and read-only inputs are as good as others."""
    primals = subject.primals
    cotangent = _cotangent(subject.call(*primals))
    plain = subject.rule(cotangent, *primals)
    strided = [np.repeat(x, 2, -1)[..., ::2] if x.ndim else x.copy() for x in primals]
    turned = [x.T.copy().T for x in primals]
    for layout in (strided, turned):
        for x in layout:
            x.flags.writeable = False
        found = subject.rule(cotangent, *layout)
        size = [1e-9 * _size(g) if g.dtype.itemsize > 4 else 1e-4 * _size(g) for g in plain]
        if not all(np.allclose(a, b, 1e-9, s, equal_nan=True) for a, b, s in zip(found, plain, size, strict=True)):
            report.add("strided and read-only inputs", "wrong", detail="another gradient than for contiguous ones")
            return
    report.add("strided and read-only inputs", "ok")


def _check_precision(report: Report, subject: Subject) -> None:
    """float32 stays float32, with the right values."""
    narrow = Subject(subject.name, subject.function, None,
                     [x.astype(np.float32) if x.dtype == np.float64 else x for x in map(np.asarray, subject.inputs)],
                     subject.names)
    inner = Report(subject.name)
    try:
        _check_narrow(inner, narrow)
    except TypeError as error:
        inner.add("float32", "wrong", detail=str(error))
    report.verdicts += [Verdict(f"float32: {v.claim}", v.status, v.input, v.detail, v.entries)
                        for v in inner.failures] or [Verdict("float32", "ok")]


def _check_narrow(report: Report, subject: Subject) -> None:
    primals = subject.primals
    value = subject.call(*primals)
    if value.dtype != np.float32:
        report.add("dtype of the value", "wrong", detail=f"{value.dtype} for inputs of float32")
        return
    cotangent = _cotangent(value)
    grads = subject.rule(cotangent.copy(), *primals)
    claim = _claim(subject, primals, cotangent, grads)
    for k, i in enumerate(subject.wrt):
        status, entries = judged(claim, k)
        report.add("values", status, subject.names[i], "", entries)


def _check(report: Report, subject: Subject, order: int) -> None:
    primals = subject.primals
    value = subject.call(*primals)
    if value.dtype.kind not in "f":
        raise TypeError(f"{subject.name} returned {value.dtype}; only floats have a gradient")
    cotangent = _cotangent(value)
    try:
        grads = subject.rule(cotangent.copy(), *[x.copy() for x in primals])
    except Exception as error:
        report.add("backward runs", "wrong", detail=f"{type(error).__name__}: {error}")
        return
    if not _check_types(report, subject, primals, grads):
        return
    claim = _claim(subject, primals, cotangent, grads)
    wrong = _judge(report, "values", subject, claim)
    if wrong:
        report.diagnosis += diagnosed(subject, claim, cotangent, wrong)
    _check_behaviour(report, subject, primals, value, cotangent, grads)
    if subject.own_rule is None and not subject.states:
        _check_forward(report, subject, primals, cotangent, grads)
    if order > 1 and not wrong and not subject.states:
        _check_second(report, subject, primals, cotangent)


def _judge(report: Report, text: str, subject: Subject, claim: Claim) -> list[int]:
    """Add a verdict on each gradient; the numbers of those that are wrong."""
    wrong = []
    for k, i in enumerate(subject.wrt):
        status, entries = judged(claim, k)
        grad = claim.grads[k]
        report.add(text, status, subject.names[i], _counted(status, entries, grad.size), entries, grad.shape)
        if status == "wrong":
            wrong.append(k)
    return wrong


def _counted(status: str, entries: Sequence[Entry], size: int) -> str:
    if status == "ok":
        return f"{size} {'entry' if size == 1 else 'entries'}"
    return f"{len(entries)} shown of {size}" if len(entries) < size else ""


def _cotangent(value: np.ndarray) -> np.ndarray:
    """A gradient to start from, of no special values, in which each output counts on its own scale."""
    rng = np.random.default_rng(0)
    size = np.abs(value.astype(float))
    largest = size.max(initial=0, where=np.isfinite(size)) or 1.0
    scale = np.where(np.isfinite(size), np.clip(size, 1e-3 * largest, None), 1) if value.ndim else np.ones(())
    weights = rng.uniform(0.5, 1.5, value.shape) * rng.choice([-1, 1], value.shape) / (scale / largest)
    return np.asarray(weights, value.dtype)


def _claim(subject: Subject, primals: Sequence[np.ndarray], cotangent: np.ndarray, grads: Sequence[Any]) -> Claim:
    """The gradients beside a reference in float64, with what the rule loses to rounding."""
    probe = Probe(subject.call, primals)
    full = [np.zeros_like(x) if g is None else np.asarray(g) for g, x in zip(grads, primals, strict=True)]
    near, far = (_spread(subject, primals, cotangent, full, ulps) for ulps in (1, 16))
    # Rounding grows with the change; what a tie or a kink does when it is moved does not.
    noise = [np.where((b > 3 * a) | (a <= 1e-6 * np.abs(g.astype(float))), 4 * a, 0)
             for a, b, g in zip(near, far, full, strict=True)]
    return Claim(probe, cotangent.astype(float).ravel(), [g.astype(float) for g in full], noise,
                 [np.result_type(x, cotangent) if x.dtype.itemsize >= cotangent.dtype.itemsize else x.dtype
                  for x in primals], composed=subject.own_rule is None)


def _spread(subject: Subject, primals: Sequence[np.ndarray], cotangent: np.ndarray, grads: Sequence[np.ndarray],
            ulps: int) -> list[np.ndarray]:
    """By how much the rule's gradients change when the last digits of the inputs do."""
    noise, rng = [np.zeros(x.shape) for x in primals], np.random.default_rng(3)
    for _ in range(JITTERS):
        moved = [np.asarray(x * (1 + ulps * rng.choice([-1, 1], x.shape) * np.finfo(x.dtype).eps), x.dtype)
                 for x in primals]
        try:
            others = subject.rule(cotangent.copy(), *moved)
        except Exception:  # beyond an edge of its domain
            continue
        for n, g, other in zip(noise, grads, others, strict=True):
            if other is not None and np.shape(other) == n.shape:
                with np.errstate(all="ignore"):
                    np.fmax(n, np.abs(np.asarray(other, float) - g), out=n, where=np.isfinite(g))
    return [np.where(np.isfinite(n), n, 0) for n in noise]


def _size(g: np.ndarray) -> float:
    return float(np.max(np.abs(g), initial=0, where=np.isfinite(g)))


def _check_types(report: Report, subject: Subject, primals: Sequence[np.ndarray], grads: Sequence[Any]) -> bool:
    """Exact shape and dtype; None is left to the values: it means zero."""
    good = True
    for k, i in enumerate(subject.wrt):
        x, g = primals[k], grads[k]
        if g is None:
            continue
        shape, dtype = np.shape(g), np.asarray(g).dtype
        if shape != x.shape:
            hint = ": not summed over the axes along which it was broadcast" if _broadcasts(x.shape, shape) else ""
            hint = ": transposed" if not hint and shape == x.shape[::-1] else hint
            report.add("shape", "wrong", subject.names[i], f"{shape} for an input of {x.shape}{hint}")
            good = False
        elif dtype != x.dtype:
            report.add("dtype", "wrong", subject.names[i], f"{dtype} for an input of {x.dtype}")
    return good


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    try:
        return small != large and np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def _check_behaviour(report: Report, subject: Subject, primals: Sequence[np.ndarray], value: np.ndarray,
                     cotangent: np.ndarray, grads: Sequence[Any]) -> None:
    """Linear in the incoming gradient, the same each time, and nothing written into."""
    def filled(found: Sequence[Any]) -> list[np.ndarray]:
        return [np.zeros(x.shape, x.dtype) if g is None else np.array(g) for g, x in zip(found, primals, strict=True)]

    grads = filled(grads)
    given, c = [x.copy() for x in primals], cotangent.copy()
    again = filled(subject.rule(c, *given))
    for k, i in enumerate(subject.wrt):
        if given[k].tobytes() != primals[k].tobytes():
            report.add("inputs are not modified", "wrong", subject.names[i], "backward writes into it")
    if c.tobytes() != cotangent.tobytes():
        report.add("the incoming gradient is not modified", "wrong", detail="backward writes into it")
    # At another point in between, so that what is cached is another.
    rng = np.random.default_rng(4)
    other = [np.asarray(x * rng.uniform(0.9, 1.1, x.shape), x.dtype) for x in primals]
    try:
        beside = filled(subject.rule(cotangent.copy(), *[x.copy() for x in other]))
        claim = _claim(subject, other, cotangent, beside)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):  # the neighbourhood need not belong to the domain
        beside = []
    for k, g in enumerate(beside):
        if np.array_equal(g, grads[k]) and judged(claim, k, few=1)[0] == "wrong":
            report.add("another gradient at other inputs", "wrong", subject.names[subject.wrt[k]],
                       "at inputs beside these the gradient of an earlier call is returned: is it kept?")
    third = filled(subject.rule(cotangent.copy(), *[x.copy() for x in primals]))
    same = all(np.array_equal(a, b, equal_nan=True) for found in (again, third)
               for a, b in zip(grads, found, strict=True))
    report.add("the same each time", "ok" if same else "wrong",
               detail="" if same else "another gradient in a second call, or after one at other inputs")
    second = np.asarray(rng.uniform(-1, 1, cotangent.shape) * _size(cotangent), cotangent.dtype)
    mixed = filled(subject.rule(np.asarray(2 * cotangent - 3 * second, cotangent.dtype), *[x.copy() for x in primals]))
    alone = filled(subject.rule(second.copy(), *[x.copy() for x in primals]))
    unit = 256 * float(np.finfo(cotangent.dtype).eps)
    for k, i in enumerate(subject.wrt):
        with np.errstate(all="ignore"):
            expected = 2 * grads[k].astype(float) - 3 * alone[k]
            size = np.abs(2 * grads[k].astype(float)) + np.abs(3 * alone[k].astype(float))
            # What rounding is of, where all cancels.
            natural = max(_size(cotangent), _size(second)) * _size(value) / min(_size(primals[k]) or 1, 1)
            off = np.abs(mixed[k] - expected) > unit * (size + NEAR * _size(size) + natural)
        off &= np.isfinite(expected)
        if off.any():
            report.add("linear in the incoming gradient", "wrong", subject.names[i],
                       "the gradient for 2a - 3b is not twice that for a less three times that for b")
            return
    report.add("linear in the incoming gradient", "ok")


NEAR = 1e-2  # of the largest entry: what cancels in sums over outputs leaves rounding of that size


def _check_forward(report: Report, subject: Subject, primals: Sequence[np.ndarray], cotangent: np.ndarray,
                   grads: Sequence[Any]) -> None:
    """<c, J v> = <Jᵀ c, v>: forward mode is derived from the reverse mode, and this checks the derivation alone."""
    rng = np.random.default_rng(5)
    tangents = [np.asarray(rng.uniform(-1, 1, x.shape), x.dtype) for x in primals]
    claim = "forward mode agrees with reverse mode (no independent oracle)"
    with np.errstate(all="ignore"):
        try:
            tangent = _plain(jvp(lambda *nodes: subject.function(*subject.given(nodes)), primals, tangents)[1])
        except (NotImplementedError, TypeError) as error:
            report.add(claim, "undecided", detail=str(error))
            return
        parts = [np.sum(np.asarray(g, float) * v) for g, v in zip(grads, tangents, strict=True)]
        left, right = float(np.sum(np.asarray(tangent, float) * cotangent)), float(sum(parts))
        size = float(np.sum(np.abs(np.asarray(tangent, float) * cotangent))) + sum(map(abs, map(float, parts)))
    if not np.isfinite(left + right):
        return
    good = abs(left - right) <= 512 * float(np.finfo(cotangent.dtype).eps) * size * max(1.0, cotangent.size**0.5)
    report.add(claim, "ok" if good else "wrong", detail="" if good else f"{left:.10g} and {right:.10g}")


def _check_second(report: Report, subject: Subject, primals: Sequence[np.ndarray], cotangent: np.ndarray) -> None:
    """The derivative of the gradient along a direction, beside differences of the gradient."""
    rng = np.random.default_rng(6)
    tangents = [np.asarray(rng.uniform(-1, 1, x.shape), x.dtype) for x in primals]

    def slope(*xs: Any) -> Any:
        grads = vjp(lambda *nodes: subject.function(*subject.given(nodes)), *xs)[1](cotangent.astype(float))
        return sum(np.sum(g * v) for g, v in zip(grads, tangents, strict=True))

    second = Subject(subject.name, slope, None, [x.astype(float) for x in primals])
    try:
        grads = second.rule(np.ones(()), *second.primals)
        claim = _claim(second, second.primals, np.ones(()), grads)
    except (NotImplementedError, TypeError) as error:
        report.add("second derivatives", "undecided", detail=str(error))
        return
    _judge(report, "second derivatives", subject, claim)


def _search(report: Report, subject: Subject) -> None:
    """Other inputs: signs, zeros, ties, large and small ones. The first at which values are wrong is made small."""
    for what, xs in _elsewhere(subject.primals, subject.own_rule is None):
        if (bad := _fails_at(subject, xs)) is not None:
            xs = _shrunk(subject, xs)
            status, entries, k = _fails_at(subject, xs) or bad
            arrays = ", ".join(np.array2string(x, precision=4, separator=", ", threshold=12) for x in xs)
            report.add("values elsewhere", status, subject.names[subject.wrt[k]], f"with {what}, at {arrays}", entries,
                       xs[k].shape)
            report.diagnosis.append(f"right at the given inputs, wrong with {what}")
            return
    report.add("values elsewhere", "ok")


def _elsewhere(primals: Sequence[np.ndarray], broadcast: bool) -> list[tuple[str, list[np.ndarray]]]:
    rng = np.random.default_rng(7)
    def every(f: Callable[[np.ndarray], Any]) -> list[np.ndarray]:
        return [np.asarray(f(x), x.dtype) for x in primals]
    found = [("other signs", every(lambda x: x * rng.choice([-1, 1], x.shape))),
             ("all negative", every(lambda x: -np.abs(x))), ("all positive", every(np.abs)),
             ("zeros", every(lambda x: np.where(rng.random(x.shape) < 0.5, 0, x))),
             ("zeros alone", every(np.zeros_like)), ("ties", every(np.round)),
             ("large numbers", every(lambda x: x * 30)), ("small numbers", every(lambda x: x * 1e-4)),
             ("random numbers", every(lambda x: rng.uniform(-3, 3, x.shape)))]
    for k, x in enumerate(primals):
        for axis in range(x.ndim if broadcast and len(primals) > 1 else 0):
            cut = [y[(slice(None),) * axis + (slice(1),)] if i == k else y for i, y in enumerate(primals)]
            found.append(("one input broadcast", [y.copy() for y in cut]))
    return found


def _fails_at(subject: Subject, xs: Sequence[np.ndarray]) -> tuple[str, list[Entry], int] | None:
    """What is wrong at these inputs, if they belong to the function's domain and something is."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = subject.call(*[x.astype(float) for x in xs])
        except Exception:  # not of the domain
            return None
        if not np.isfinite(value).all() or value.dtype.kind != "f":
            return None
        cotangent = _cotangent(subject.call(*[x.copy() for x in xs]))
        try:
            grads = subject.rule(cotangent.copy(), *[x.copy() for x in xs])
        except (ArithmeticError, ValueError, np.linalg.LinAlgError):  # not of the rule's domain
            return None
        if any(g is not None and np.shape(g) != x.shape for g, x in zip(grads, xs, strict=True)):
            return "wrong", [], 0
        claim = _claim(subject, xs, cotangent, grads)
        for k in range(len(xs)):
            status, entries = judged(claim, k, few=1)
            # A rule that has no number at a singular point says so itself; and where several kinks meet, as they do at
            # round inputs, what one chooses at each need not lie between the slopes of all.
            entries = [entry for entry in entries if entry.status == "wrong" and np.isfinite(entry.yours)
                       and entry.low == entry.high]
            if status == "wrong" and entries:
                return status, entries, k
    return None


def _shrunk(subject: Subject, xs: list[np.ndarray]) -> list[np.ndarray]:
    """Simpler inputs at which it still fails: rounder numbers, fewer that are not zero."""
    for simpler in (np.sign, np.round):
        trial = [np.asarray(simpler(x), x.dtype) for x in xs]
        if _fails_at(subject, trial) is not None:
            xs = trial
            break
    for k, x in enumerate(xs):
        for j in range(min(x.size, 16)):
            trial = [y.copy() for y in xs]
            trial[k].flat[j] = 0
            if x.flat[j] != 0 and _fails_at(subject, trial) is not None:
                xs = trial
    return xs
