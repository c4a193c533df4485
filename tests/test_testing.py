"""The checkers are checked: planted bugs are found and named, correct rules at difficult points pass.

The cases are in `gradient_cases.py`. The deep profile of Hypothesis runs all planted bugs, the usual one every seventh.
"""

import functools
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

import tinygraph as tg
from tinygraph import byhand, classifier, ops
from tinygraph.testing import GradientError, check_gradients, check_op, compare
from tinygraph.testing.numeric import Probe

from . import gradient_cases
from .gradient_cases import RIGHT, uniform

DEEP = settings.default.max_examples > 1000
NAMES = [case.name for case in gradient_cases.planted()]
FIRSTS = {name.split(": ")[1].split(",")[0]: name for name in reversed(NAMES)}
PLANTED = NAMES if DEEP else sorted({*NAMES[::7], *FIRSTS.values()})
CORRECT = {case.name: case for case in gradient_cases.correct()}


@functools.cache
def fresh() -> dict[str, Any]:
    return {case.name: case for case in gradient_cases.planted()}


def report_of(case: Any) -> tg.testing.Report:
    with np.errstate(all="ignore"):
        return check_gradients(case.function, *case.inputs, gradient=case.rule, beyond=case.beyond)


def test_there_are_enough_cases():
    assert len(fresh()) == len(gradient_cases.planted()) >= 1000
    assert len(CORRECT) >= 200
    assert {name.split(": ")[1].split(",")[0] for name in PLANTED} == set(gradient_cases.MISTAKES)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name):
    report = report_of(fresh()[name])
    assert not report
    assert any(verdict.status == "wrong" for verdict in report.verdicts)
    with pytest.raises(GradientError):
        report.raise_if_failed()


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_rule_passes(name):
    report = report_of(CORRECT[name])
    assert report, str(report)
    assert report.raise_if_failed() is report


# ------------------------------------------------------------------------------------------------------------ numerics

POINTS = [
    (np.sin, 1.0, np.cos(1.0), 1e-14), (lambda x: np.exp(x.real), 1.0, np.e, 1e-10), (np.log, 1e-8, 1e8, 1e-14),
    (np.log, 1e-30, 1e30, 1e-13), (lambda x: np.log(x.real), 1e-8, 1e8, 1e-9),
    (lambda x: np.tanh(x.real), 300.0, 0.0, 1e-12),
    (lambda x: x.real**1.5, 0.0, 0.0, 1e-10), (lambda x: x * abs(x), 0.0, 0.0, 2e-10), (np.floor, 1.5, 0.0, 1e-12),
    (lambda x: np.floor(x.real), 1.999999, 0.0, 1e-7), (lambda x: x.real.astype(np.float32), 1.0, 1.0, 1e-4),
    (lambda x: (x.real + 1e3) - 1e3, 0.3, 1.0, 1e-6), (lambda x: 1e-6 * np.sin(x.real), 1.0, 1e-6 * np.cos(1), 1e-15),
]


@pytest.mark.parametrize(("f", "x", "slope", "bar"), POINTS)
def test_a_numerical_derivative_is_within_its_error_bar_which_is_small(f, x, slope, bar):
    found = Probe(f, [np.array([x])]).slopes([np.ones(1)])
    assert abs(found.right[0] - slope) <= found.error[0] + 1e-300
    assert found.error[0] <= bar * max(1, abs(slope))
    assert not found.kink[0]


@pytest.mark.parametrize(("f", "x", "left", "right"), [
    (np.abs, 0.0, -1, 1), (lambda x: np.maximum(x, 0), 0.0, 0, 1), (lambda x: np.minimum(x, 2), 2.0, 1, 0),
    (lambda x: np.where(x < 1, x, 3 * x - 2), 1.0, 1, 3)])
def test_a_kink_has_two_slopes(f, x, left, right):
    found = Probe(f, [np.array([x])]).slopes([np.ones(1)])
    assert found.kink[0]
    np.testing.assert_allclose([found.left[0], found.right[0]], [left, right], atol=1e-9)


@pytest.mark.parametrize(("f", "x"), [(np.sqrt, 0.0), (np.cbrt, 0.0)])
def test_a_slope_without_end(f, x):
    found = Probe(f, [np.array([x])]).slopes([np.ones(1)])
    assert found.endless[0]
    assert found.right[0] == np.inf


# ------------------------------------------------------------------------------------------------------------ verdicts

def test_a_kink_has_a_verdict_of_its_own():
    report = check_gradients(lambda x: np.maximum(x, 0), np.array([0.0, 1.0]), gradient=lambda g, x: [g * (x > 0)])
    assert report.verdicts[0].status == "kink"
    assert "[0] not differentiable here" in str(report)
    beyond = check_gradients(lambda x: np.maximum(x, 0), np.array([0.0, 1.0]),
                             gradient=lambda g, x: [g * np.where(x == 0, 1.5, x > 0)])
    assert not beyond
    assert "does not lie in" in str(beyond)


def test_a_tie_is_looked_at_along_all_of_it():
    """Each entry of a tie may get everything, but not both."""
    tie = np.array([1.0, 1.0, 0.0])
    assert check_gradients(np.max, tie, gradient=lambda g, x: [g * np.array([1.0, 0, 0])], beyond=False)
    assert not check_gradients(np.max, tie, gradient=lambda g, x: [g * np.array([1.0, 1, 0])], beyond=False)


def test_what_cannot_be_decided_is_no_pass():
    rng = np.random.default_rng(0)
    report = check_gradients(lambda x: x.real + 1e-3 * rng.normal(size=x.shape), np.ones(2), gradient=lambda g, x: [g])
    assert not report


def test_the_first_wrong_entry_of_many_is_found():
    def rule(g, x):
        d = g * np.cos(x)
        d[17, 40] *= 1 + 5e-4
        return [d]

    report = check_gradients(np.sin, uniform(50, 50), gradient=rule)
    (entry,) = report.failures[0].entries
    assert entry.index == (17, 40)
    assert entry.yours / entry.low == pytest.approx(1.0005)


@pytest.mark.parametrize(("mistake", "words"), [
    ("twice", "2 times the gradient"), ("opposite", "opposite sign"), ("by n", "4 is the length of axis 0"),
    ("without incoming", "is it left out?"), ("zero", "yours is zero"), ("one entry", "1 of 20 entries"),
    ("one sign", "wrong with other signs"), ("reversed", "opposite order")])
def test_the_diagnosis_names_the_mistake(mistake, words):
    report = report_of(fresh()[f"sin: {mistake}"])
    assert words in "\n".join(report.diagnosis), str(report)


@pytest.mark.parametrize(("name", "words"), [
    ("matrix product: second missing", "yours is zero"), ("square product: transposed", "transpose"),
    ("square product: swapped", "gradient of input 1"), ("bias: unsummed", "not summed")])
def test_the_diagnosis_of_two_inputs(name, words):
    assert words in str(report_of(fresh()[name]))


def test_a_forgotten_mask_is_named():
    report = check_gradients(lambda x: np.maximum(x, 0), np.array([1.0, -2.0, 3.0]), gradient=lambda g, x: [g])
    assert "is a mask missing?" in str(report)


def test_what_behaves_badly_is_named():
    assert "input 0" in str(report_of(fresh()["sin: overwrites input"]))
    assert "the incoming gradient is not modified" in str(report_of(fresh()["sin: overwrites incoming"]))
    assert "the gradient of an earlier call" in str(report_of(fresh()["sin: stale"]))
    assert "linear in the incoming gradient" in str(report_of(fresh()["sin: squared incoming"]))
    wide = check_gradients(np.sin, np.ones(3, np.float32), gradient=lambda g, x: [g.astype(float) * np.cos(x)])
    assert "float64 for an input of float32" in str(wide)
    short = check_gradients(np.multiply, np.ones(2), np.ones(2), gradient=lambda g, x, y: [g * y])
    assert "1 gradients for 2 inputs" in str(short)


def test_the_engine_itself():
    labels = np.array([0, 2, 1])
    assert check_gradients(lambda z: ops.LogSoftmaxNLL(z, labels), uniform(3, 4), order=2)
    assert check_gradients(lambda x, w: np.tanh(x @ w).sum(), uniform(3, 4), uniform(4, 2), order=2)
    assert check_gradients(lambda x: np.where(x > 0, np.sqrt(np.abs(x)), x), uniform(3, 4), order=2)


def test_structures_and_models():
    model = {"W": uniform(3, 4), "b": [uniform(3, 1), 0.5]}

    def loss(model, X):
        return np.mean(np.tanh(model["W"] @ X + model["b"][0]) * model["b"][1])

    def by_hand(grad, model, X):
        Y, s = np.tanh(model["W"] @ X + model["b"][0]), model["b"][1]
        dZ = grad * s * (1 - Y * Y) / Y.size
        return {"W": dZ @ X.T, "b": [dZ.sum(1, keepdims=True), grad * Y.mean()]}, None

    X = uniform(4, 5)
    assert check_gradients(loss, model, X.astype(int) + 2, gradient=by_hand)
    report = check_gradients(loss, model, X)
    assert report
    assert [v.input for v in report.verdicts if v.claim == "values"] == [
        "model['W']", "model['b'][0]", "model['b'][1]", "X"]
    wrong = check_gradients(loss, model, X.astype(int) + 2, gradient=lambda g, m, X: (
        {**by_hand(g, m, X)[0], "W": 2 * by_hand(g, m, X)[0]["W"]}, None))
    assert "model['W']: yours is 2 times the gradient" in str(wrong)

    before = [p.value.copy() for p in NET.parameters]
    labels = np.array([0, 2, 1, 1, 0])
    assert check_gradients(lambda X, *parameters: NET.loss_node(X, labels), X, *NET.parameters)
    for parameter, value in zip(NET.parameters, before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_reports_print_and_become_html():
    report = report_of(fresh()["sin: twice"])
    lines = str(report).splitlines()
    assert lines[0] == "sin: 1 wrong"
    assert "and 8 more" in str(report) or "and 16 more" in str(report) or "more" in str(report)
    assert "<table>" in report._repr_html_()
    assert repr(report) == str(report)


def test_nothing_to_differentiate_by_is_an_error():
    with pytest.raises(TypeError, match="no input of floats"):
        check_gradients(np.sum, np.arange(3))
    with pytest.raises(TypeError, match="only floats"):
        check_gradients(lambda x: x > 0, np.ones(3))
    with pytest.raises(TypeError, match="takes the class of an op"):
        check_op(np.sin)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- ops

OPTIONS: dict[str, dict[str, Any]] = {
    "BroadcastTo": {"shape": (2, 3, 4)}, "Concatenate": {"axis": 0},
    "Reshape": {"shape": -1}, "Einsum": {"subscripts": "ij,ij->i"}, "ExpandDims": {"axis": 0},
    "SwapAxes": {"axis1": 0, "axis2": 1}, "Pad": {"width": ((1, 0), (0, 2))}, "MaxPool2D": {"size": 2},
    "Windows": {"shape": (2, 2), "stride": (1, 1)},
}
SOME = ["Add", "Multiply", "Divide", "Exp", "Log", "Sqrt", "Tanh", "Absolute", "Maximum", "Where", "Sum", "Mean", "Max",
        "MatMul", "AddBias", "ReLU", "LogSoftmaxNLL", "Softmax", "GELU", "LayerNorm", "Conv2D", *OPTIONS]


@pytest.mark.parametrize("name", SOME)
def test_ops_of_the_package(name):
    report = check_op(getattr(ops, name), **OPTIONS.get(name, {}))
    assert report, str(report)


def test_an_op_is_looked_at_from_all_sides():
    class Wrong(tg.Op):
        def forward(self, x):
            return np.tanh(x) * 2.0

        def backward(self, grad, y, x):
            return grad * (2.0 - y * y)

    report = check_op(Wrong)
    assert not report
    assert "values" in {v.claim for v in report.failures}

    class Widens(tg.Op):
        def forward(self, x):
            return x * x

        def backward(self, grad, y, x):
            return 2 * grad * x * np.where(grad == np.float32(0), 1, 1 + 1e-3 * (x.dtype == np.float32))

    assert any(v.claim.startswith("float32") for v in check_op(Widens).failures)

    class NoSecond(tg.Op):
        def forward(self, x):
            return np.sin(x)

        def backward(self, grad, y, x):
            return grad * tg.constant(np.cos(x.value if isinstance(x, tg.Node) else x)).value

    assert "second derivatives" in {v.claim for v in check_op(NoSecond).failures}


def mutants() -> list[tuple[str, Any]]:
    """Each rule of elementwise ops and some others, with a sign flipped, a factor, a term dropped."""
    found = []
    for name in ("Multiply", "Divide", "Exp", "Log", "Sqrt", "Square", "Sin", "Cos", "Tanh", "Power", "MatMul",
                 "Softmax", "GELU", "LayerNorm", "LogSoftmaxNLL", "AddBias", "Mean", "Maximum"):
        op = getattr(ops, name)
        for kind in ("opposite", "twice", "first None", "shifted"):
            found.append((f"{name}, {kind}", (op, kind)))
    return found


def mutant(op: Any, kind: str) -> Any:
    """A new op with the same forward and another rule."""
    rule = op.rule

    def changed(parts: Any) -> Any:
        parts = list(parts) if isinstance(parts, tuple) else [parts]
        k = next(k for k, part in enumerate(parts) if part is not None)
        first = parts[k]() if callable(parts[k]) else parts[k]
        parts[k] = {"opposite": lambda: -first, "twice": lambda: 2 * first, "first None": lambda: None,
                    "shifted": lambda: first + first * first}[kind]()
        return tuple(parts) if len(parts) > 1 else parts[0]

    names = list(inspect.signature(rule).parameters)
    positional = [n for n, p in inspect.signature(rule).parameters.items() if p.kind == p.POSITIONAL_OR_KEYWORD]
    options = [n for n in names if n not in positional]
    head = ", ".join(positional + (["*"] + [f"{n}={op.signature[1][n]!r}" for n in options] if options else []))
    call = ", ".join(positional + [f"{n}={n}" for n in options])
    scope = {"rule": rule, "changed": changed}
    exec(f"def backward({head}): return changed(rule({call}))", scope)
    forward = op.__dict__["forward"]
    if isinstance(forward, np.ufunc):
        body = {"forward": eval(f"lambda self, {', '.join(positional[3:])}: f({', '.join(positional[3:])})",
                                {"f": forward})}
    else:
        body = {"forward": forward}
    base = tg.op.Elementwise if op.elementwise and not op.traceable else tg.op.Primitive if not op.traceable else tg.Op
    extra: dict[str, Any] = {"selecting": True} if op.selecting else {}
    if "expand" in op.__dict__:
        extra["expand"] = op.__dict__["expand"]
    if op.broadcasts and not op.elementwise:
        extra["broadcasts"] = True
    return type("Mutant" + op.__name__, (base,), {**body, **extra, "backward": scope["backward"], "__slots__": ()})


@pytest.mark.parametrize(("op", "kind"), [pytest.param(*m, id=name) for name, m in mutants()])
def test_a_mutated_rule_is_caught(op, kind):
    assert not check_op(mutant(op, kind))


# ------------------------------------------------------------------------------------------------- beside the engine

NET = classifier.NNClassifier((4, 6, 6, 3), 0)


def network(mistake: str = "") -> tuple[tg.Node, dict[str, np.ndarray]]:
    """The documents' network, and its gradients by hand with a mistake."""
    rng = np.random.default_rng(0)
    X, t, n = rng.normal(size=(4, 16)), rng.integers(0, 3, 16), 16
    loss = NET.loss_node(X, t)
    layers = byhand.NNClassifier((4, 6, 6, 3), 0).layers
    Ws, bs = [layer.W for layer in layers], [layer.b for layer in layers]
    if mistake == "after the update":
        first = network()[1]
        Ws = [W - 0.05 * first[f"W{i}"] for i, W in enumerate(Ws, 1)]
        bs = [b - 0.05 * first[f"b{i}"] for i, b in enumerate(bs, 1)]
    A, Z = [X], []
    for W, b in zip(Ws, bs, strict=True):
        Z.append(W @ A[-1] + b)
        A.append(np.maximum(Z[-1], 0))
    with np.errstate(all="ignore"):
        E = np.exp(Z[-1] * (1e3 if mistake == "no shift" else 1) - (0 if mistake == "no shift" else Z[-1].max(0)))
        dZ = E / E.sum(0)
    dZ[t, np.arange(n)] -= 1
    dZ /= 1 if mistake == "no 1/n" else n
    grads = {}
    for i in (3, 2, 1):
        grads[f"W{i}"], grads[f"b{i}"] = dZ @ A[i - 1].T, dZ if mistake == "no sum" else dZ.sum(1, keepdims=True)
        if i > 1:
            W = Ws[i - 1]
            dZ = (W if mistake == "no transpose" and W.shape[0] == W.shape[1] else W.T) @ dZ
            dZ = dZ if mistake == "no mask" else dZ * (Z[i - 2] > 0)
    return loss, grads


def test_right_gradients_beside_the_engine():
    loss, grads = network()
    report = compare(loss, grads)
    assert report
    assert [row.name for row in report.rows] == ["b3", "W3", "b2", "W2", "b1", "W1"]
    assert all(row.ulps < 100 for row in report.rows if row.absolute > 1e-15)
    assert "all is well" in str(report)


@pytest.mark.parametrize(("mistake", "first", "words"), [
    ("no 1/n", "b3", "is a factor 1/n (a mean) forgotten?"), ("no mask", "b2", "its mask is forgotten"),
    ("no transpose", "b1", "not transposed"), ("no sum", "b3", "not summed over the batch"),
    ("no shift", "b3", "Softmax needs its shift"), ("after the update", "b3", "is the gradient taken too late?")])
def test_classic_mistakes_are_found_and_named(mistake, first, words):
    report = compare(*network(mistake))
    assert not report
    assert f"{first} is the first that differs" in report.diagnosis[0]
    assert words in "\n".join(report.diagnosis)


def test_a_model_by_hand_is_taken_as_it_is():
    rng = np.random.default_rng(0)
    X, t = rng.normal(size=(4, 16)), rng.integers(0, 3, 16)
    model = byhand.NNClassifier((4, 6, 3), 0)
    model.loss(X, t)
    model.backward()
    net = classifier.NNClassifier((4, 6, 3), 0)
    loss = net.loss_node(X, t)
    assert compare(loss, model)
    del net
    with pytest.raises(ValueError, match="keep the model"):
        compare(loss, model)


def test_gradients_that_do_not_belong_are_refused():
    loss, grads = network()
    with pytest.raises(ValueError, match="no gradient was given for W1"):
        compare(loss, {name: g for name, g in grads.items() if name != "W1"})
    with pytest.raises(ValueError, match="has no parameter W9"):
        compare(loss, {**grads, "W9": np.ones(2)})
    with pytest.raises(TypeError, match="takes a dictionary"):
        compare(loss, [1])


def test_every_right_rule_is_right():
    """The planted bugs are made of these."""
    assert all(case.name in CORRECT or f"{case.name}, float64" in CORRECT for case in RIGHT)


# --------------------------------------------------------------------------------- whole modules, files and the shell

FILE = '''
import numpy as np
import tinygraph as tg

class Good(tg.Op):
    def forward(self, x): return np.sin(x)
    def backward(self, grad, y, x): return grad * np.cos(x)

class Powers(tg.Op):
    def forward(self, x, *, p): return x ** p
    def backward(self, grad, y, x, *, p): return grad * p * x ** (p - 1)

class Bad(tg.Op):
    def forward(self, x): return np.sin(x)
    def backward(self, grad, y, x): return grad * np.sin(x)

def loss(W, x): return np.sum(np.tanh(W @ x))

def by_hand(grad, W, x):
    y = np.tanh(W @ x)
    d = grad * (1 - y * y)
    return d @ x.T, W.T @ d

def example(): return [np.ones((2, 3)), np.full((3, 1), 0.1)]

def strange(x): return "no number"
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ops_of_a_user.py"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.mark.parametrize(("arguments", "code", "words"), [
    ([":Good"], 0, "Good: all is well"), ([":Bad"], 1, "Bad: 1 wrong"), ([":loss"], 0, "loss: all is well"),
    ([":loss", "--gradient", "by_hand", "--inputs", "example"], 0, "loss: all is well"),
    ([":loss", "--order", "2"], 0, "second derivatives"), ([":nothing"], 2, "has no nothing"),
    ([":strange"], 2, "no inputs were found"), ([""], 2, "no inputs were found that Powers accepts")])
def test_the_command(file, capsys, arguments, code, words):
    from tinygraph.cli import main

    assert main(["check", f"{file}{arguments[0]}", *arguments[1:]]) == code
    said = capsys.readouterr()
    assert words in said.out + said.err


def test_the_command_of_a_file_that_is_not_there(capsys):
    from tinygraph.cli import main

    assert main(["check", "not_there.py:f"]) == 2
    assert "not_there.py" in capsys.readouterr().err
    assert main(["check", "not_there:f"]) == 2
    assert "not_there" in capsys.readouterr().err


def test_one_line_checks_all_ops_of_a_module(file, pytester_like):
    passed, failed, text = pytester_like(f"""
from tinygraph.testing import ops_of
test_ops = ops_of({str(file)!r}, Powers={{"p": 3}})
""")
    assert (passed, failed) == (2, 1)
    assert "WRONG  values" in text
    assert "def test_ops" not in text  # the reader sees the report, not our code


@pytest.fixture
def pytester_like(tmp_path):
    """Runs a test file in a pytest of its own: passed, failed, and what it printed."""
    import re
    import subprocess
    import sys

    def run(text: str) -> tuple[int, int, str]:
        (tmp_path / "test_user.py").write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_user.py"],
                              cwd=tmp_path, capture_output=True, text=True, timeout=120,
                              env={**os.environ, "PYTHONPATH": str(Path(tg.__file__).parents[1])})
        def count(word: str) -> int:
            found = re.search(rf"(\d+) {word}", done.stdout)
            return int(found[1]) if found else 0
        return count("passed"), count("failed"), done.stdout
    return run
