"""Batching: a graph for a batch of values against a loop over them, and Jacobians against a loop over their rows.

The loops are here and know nothing of the rules: each entry of a batch is computed by itself, each row of a Jacobian is
a sweep of its own. The examples are those of `cases`, which has some for each op.
"""

import math
import warnings
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import calculus, ops, recording
from tinygraph.batching import RULES, _one_by_one, batched
from tinygraph.node import twin_of
from tinygraph.op import Elementwise, Primitive
from tinygraph.ops.selection import ARRAY

from .cases import CASES, RANDOM, Case, is_float
from .cases.basic import index_case
from .test_calculus import functions, rosenbrock, vectors


def close(actual: Any, expected: Any, rtol: float = 1e-11) -> None:
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * (1 + np.max(np.abs(expected), initial=0)))


def as_node(x: Any) -> Any:
    return x if isinstance(x, tg.Node) else tg.constant(x)


# -------------------------------------------------------------------------------------- an op, against a loop over it

class Problem:
    """A case as a function of a batch of some of its inputs, which are the pieces of one vector of floats.

    Indices and masks, which are always the same in a case, are turned around in every other entry of the batch.
    """

    def __init__(self, case: Case, chosen: list[int], n: int = 3) -> None:
        drawn = [case.arrays(seed=i) for i in range(n)]
        for inputs in drawn[1::2]:
            inputs[:] = [np.flip(x) if isinstance(x, np.ndarray) and not is_float(x) else x for x in inputs]
        self.case, self.chosen, self.inputs = case, chosen, drawn[0]
        batch = [np.concatenate([np.ravel(inputs[i]).astype(float) for i in chosen]) for inputs in drawn]
        rest = [x for i, x in enumerate(self.inputs) if i not in chosen and is_float(x)]
        self.primals = [np.stack(batch), *rest]

    def op(self, vector: Any, rest: Any) -> Any:
        inputs, others, start = list(self.inputs), iter(rest), 0
        for i, x in enumerate(inputs):
            if i in self.chosen:
                inputs[i] = np.reshape(vector[start:start + x.size], x.shape).astype(x.dtype)
                start += x.size
            elif is_float(x):
                inputs[i] = next(others)
        return self.case.op(*inputs, **self.case.options)

    def at_once(self, batch: Any, *rest: Any) -> Any:
        variable = tg.constant(self.primals[0][0])
        return batched([self.op(variable, rest)], variable, as_node(batch))[0]

    def in_a_loop(self, batch: Any, *rest: Any) -> Any:
        return np.stack([self.op(row, rest) for row in as_node(batch)])


def orders(f: Any, xs: list[np.ndarray], flat: bool = False) -> list[Any]:
    """The value, the gradient g of <c, f> by all arguments, and that of <g, u>."""
    value = f(*xs).value
    if flat:
        return [value]
    rng = np.random.default_rng(0)
    every = range(len(xs))
    c, *us = (rng.uniform(-1, 1, x.shape).astype(x.dtype) for x in (value, *xs))
    slope = tg.grad(lambda *xs: np.sum(f(*xs) * c), every)
    return [value, *slope(*xs), *tg.grad(lambda *xs: sum(np.sum(g * u) for g, u in zip(slope(*xs), us, strict=True)),
                                         every)(*xs)]


def check(case: Case, n: int = 3) -> None:
    """Each array by itself, and all of them."""
    arrays = [i for i, x in enumerate(case.arrays()) if isinstance(x, np.ndarray)]
    for chosen in [[i] for i in arrays] + [arrays] * (len(arrays) > 1):
        problem = Problem(case, chosen, n)
        with np.errstate(invalid="ignore"):  # of NaN that is cast to a boolean
            found = orders(problem.at_once, problem.primals, case.flat)
            expected = orders(problem.in_a_loop, problem.primals, case.flat)
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == b.dtype
            close(a, b, 1e-4 if b.dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_op(case):
    check(case)


@pytest.mark.parametrize("op", RANDOM, ids=lambda op: op.__name__)
@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data())
def test_random_cases_of_an_op(op, data):
    check(data.draw(st.one_of(RANDOM[op])), data.draw(st.integers(1, 3)))


@st.composite
def mixed_indices(draw: Any) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """A shape, and an index of slices, integers, new axes, an ellipsis, and arrays here and there."""
    shape = (2,) * draw(st.integers(1, 4))
    result = tuple(draw(st.lists(st.integers(1, 2), max_size=2)))
    places = st.integers(-2, 1)
    parts: list[Any] = draw(st.lists(
        st.just(slice(None)) | places | hnp.arrays(int, result, elements=places) | st.just(slice(None, None, -1)),
        min_size=1, max_size=len(shape)))
    for extra in draw(st.lists(st.sampled_from([None, None, Ellipsis]), max_size=2, unique_by=id)):
        parts.insert(draw(st.integers(0, len(parts))), extra)
    return shape, tuple(parts)


@pytest.mark.parametrize("adjoint", [False, True], ids=["Index", "ScatterAdd"])
@given(mixed_indices())
def test_where_numpy_puts_the_axes_of_index_arrays(adjoint, drawn):
    check(index_case(*drawn, adjoint))


_ALL, _A, _B = slice(None), np.array([1, 0]), np.array([0, 0])
_MASK = np.array([[True, False], [False, True]])


@pytest.mark.parametrize("index", [
    (True,), (False,), (_ALL, True, 0), (True, _ALL, _A), (0, _ALL, True), (_A, None, _B), (_ALL, np.array(1), None),
    (np.array(1), None, _A), (..., _A), (..., _A, _ALL), (None, ..., _A, 0), (_ALL, _A, _ALL, _B), (..., _A, _ALL, _B),
    (_ALL, 0, ..., _A), (_ALL, _A[:, None], _B), (_MASK, _ALL, _A), (_ALL, _MASK, _ALL), (_A, _ALL, _MASK)], ids=str)
def test_unusual_indices(index):
    check(index_case((2, 2, 2, 2), index))
    check(index_case((2, 2, 2, 2), index, adjoint=True))


@pytest.mark.parametrize("axis", [0, -1, (), None])
def test_a_reduction_of_a_number(axis):
    variable, batch = tg.constant(2.0), tg.constant(np.array([1.0, 3.0]))
    (y,) = batched([np.sum(variable, axis=axis)], variable, batch)
    np.testing.assert_array_equal(y.value, batch.value)


def test_no_gradient_flows_through_what_stops_it():
    def f(batch):
        variable = tg.constant(2.0)
        return np.sum(batched([ops.StopGradient(variable) * variable], variable, as_node(batch))[0])

    np.testing.assert_array_equal(tg.grad(f)(np.array([1.0, 3.0])), [1, 3])


def built_in(base: Any) -> set[Any]:
    """The ops of the package, of all families."""
    found = {op for op in base.__subclasses__() if op.__module__.startswith("tinygraph.ops.")} | (
        set(base.__subclasses__()) & {Elementwise, Primitive})
    return {op for op in found if hasattr(op, "forward")}.union(*map(built_in, found))


def test_every_primitive_has_a_rule():
    """What has none goes through one entry after the other, and is right as well: these alone do."""
    twin_of(None)  # has the families that are imported late imported
    without = [op for op in built_in(tg.Op) if not op.traceable and op.batch is None and not issubclass(op, Elementwise)
               and RULES.get(op, _one_by_one) is _one_by_one]
    assert {op.__name__ for op in without} == {"LastAt", "LeastSquares"}
    assert recording.Variable in RULES


# -------------------------------------------------------------------------------------------------------- ops of users

class Scaled(tg.Op):
    """Fused: it is expanded. Keeps what its forward makes on the way."""

    def forward(self, x, *, factor):
        y = factor * np.sin(x)
        return np.sum(y, axis=-1), y

    def backward(self, grad, total, x, y, *, factor):
        return np.expand_dims(grad, -1) * factor * np.cos(x)


class Twice(tg.Op):
    """A fused op made of one."""

    def forward(self, x):
        return Scaled.apply(x, factor=2.0) if isinstance(x, tg.Node) else Scaled.forward(self, x, factor=2.0)[0]


class Sinh(Elementwise):
    """An elementwise primitive."""

    def forward(self, x):
        return np.sinh(x)

    def backward(self, grad, y, x):
        return grad * np.exp(x) / 2 + grad * np.exp(-x) / 2


class Cumulated(Primitive):
    """A primitive without a rule."""

    def forward(self, x):
        return np.cumsum(x)

    def backward(self, grad, y, x):
        return Cumulated.apply(grad[::-1])[::-1]


class SafeRoot(tg.Op):
    """Its gradient comes from its expansion, which selects."""

    def forward(self, x):
        return np.where(x > 0, np.sqrt(x), 2 * x)


class FromC(tg.Op):
    """Its forward and its backward are not for nodes."""

    def forward(self, x):
        return np.array([math.exp(number) for number in np.asarray(x)])

    def backward(self, grad, y, x):
        return np.array([g * math.exp(number) for g, number in zip(grad, x, strict=True)])


@pytest.mark.parametrize("op", [lambda x: Scaled(x, factor=3.0), Twice, Sinh, Cumulated],
                         ids=["Scaled", "Twice", "Sinh", "Cumulated"])
def test_ops_of_users(op):
    rng = np.random.default_rng(0)
    x, batch = rng.normal(size=4), rng.normal(size=(3, 4))

    def at_once(batch):
        variable = tg.constant(x)
        return batched([op(variable) * 2], variable, as_node(batch))[0]

    def in_a_loop(batch):
        return np.stack([op(row) * 2 for row in as_node(batch)])

    for a, b in zip(orders(at_once, [batch]), orders(in_a_loop, [batch]), strict=True):
        close(a, b)


def test_an_op_that_cannot_be_traced_is_applied_to_one_entry_after_the_other():
    variable, batch = tg.constant(np.ones(2)), np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    (y,) = batched([FromC(variable)], variable, tg.constant(batch))
    close(y.value, np.exp(batch))


# ------------------------------------------------------------------------------------------------------- whole graphs

def test_outputs_keep_their_order_and_those_that_do_not_depend_on_the_variable_are_themselves():
    x, other = tg.constant(np.array([1.0, 2.0])), tg.constant(np.array([5.0, 7.0]))
    batch = tg.constant(np.arange(6.0).reshape(3, 2))
    apart = other * 2
    total, same, stopped, again, untouched = batched([np.sum(x * other), x, x > 1, np.sum(x * other), apart], x, batch)
    np.testing.assert_array_equal(total.value, batch.value @ other.value)
    np.testing.assert_array_equal(again.value, total.value)
    assert same is batch
    np.testing.assert_array_equal(stopped.value, batch.value > 1)
    assert untouched is apart
    assert batched([], x, batch) == []


def test_what_the_variable_was_made_of_does_not_matter():
    x = tg.constant(2.0)
    middle = x * 3
    (y,) = batched([middle * x], middle, tg.constant(np.array([1.0, 10.0])))
    np.testing.assert_array_equal(y.value, [2, 20])


def test_a_node_outside_the_batch_is_differentiated_through_it():
    p, x = tg.Parameter(np.array([1.0, 2.0])), tg.constant(np.zeros(2))
    (y,) = batched([np.sum(p * p * x)], x, tg.constant(np.array([[1.0, 2.0], [3.0, 4.0]])))
    y.sum().backprop()
    np.testing.assert_array_equal(p.grad, [8, 24])


def test_what_is_no_batch_is_refused():
    x = tg.constant(np.zeros(2))
    for shape in ((2,), (3, 3), (0, 2), (3, 1, 2), ()):
        with pytest.raises(ValueError, match="no batch of values"):
            batched([x * 2], x, tg.constant(np.zeros(shape)))


def test_a_long_chain():
    x = tg.constant(np.zeros(2))
    y = x
    for _ in range(20_000):
        y = y + 1
    (z,) = batched([y], x, tg.constant(np.array([[0.0, 1.0]])))
    np.testing.assert_array_equal(z.value, [[20_000, 20_001]])


@pytest.mark.parametrize(("a", "b", "chosen"), [
    ((4, 3), (3, 2), 0), ((4, 3), (3,), 0), ((3,), (3, 2), 0), ((3,), (3,), 0), ((5, 4, 3), (3, 2), 0),
    ((5, 4, 3), (3,), 0), ((4, 3), (3, 2), 1), ((4, 3), (3,), 1), ((3,), (3,), 1), ((5, 4, 3), (3,), 1),
    ((4, 3), (5, 3, 2), 1)], ids=str)
def test_a_product_with_one_batched_factor_is_one_product_of_matrices(a, b, chosen):
    factors = [tg.constant(np.ones(a)), tg.constant(np.ones(b))]
    x = factors[chosen]
    (y,) = batched([np.matmul(*factors)], x, tg.constant(np.ones((7, *x.shape))))
    assert all(factor.ndim <= 2 for node in tg.Tape(y) if isinstance(node, ops.MatMul) for factor in node.inputs)


# ---------------------------------------------------------------------------- Jacobians, against a loop over their rows

@pytest.fixture
def always(monkeypatch):
    """Batched, however few rows there are."""
    monkeypatch.setattr(calculus, "_FEW", 1)


def by_rows(f: Any, *xs: Any) -> tuple[Any, ...]:
    """The Jacobians by all arguments: a sweep for each entry of the output."""
    value, pull = tg.vjp(f, *xs)
    rows = [pull(unit) for unit in np.eye(value.size, dtype=value.dtype).reshape(value.size, *value.shape)]
    return tuple(np.reshape([row[i] for row in rows], (*value.shape, *np.shape(x))) for i, x in enumerate(xs))


rng = np.random.default_rng(3)
W1, W2, IMAGE, KERNELS = (rng.normal(size=shape) for shape in [(6, 4), (5, 6), (1, 2, 5, 5), (3, 2, 3, 3)])
SAMPLES, LABELS = rng.normal(size=(4, 3)), np.array([0, 2, 1, 1])
COLUMN = rng.normal(size=(4, 1))

# Functions of arrays, with more than eight entries, and their arguments.
FUNCTIONS = {
    "network": (lambda W1, W2, x: np.tanh(W2 @ np.tanh(W1 @ x)), W1, W2, SAMPLES),
    "one sample": (lambda W1, x: tg.ops.ReLU(W1 @ x) * W1[:, :1], W1, COLUMN),
    "rows": (lambda x, W1, W2: np.tanh(x @ W1.T) @ W2.T, SAMPLES.T, W1, W2),
    "gradient of the loss": (lambda W1, x: tg.grad(lambda W: tg.ops.LogSoftmaxNLL(W @ x, LABELS[:3], axis=0))(W1),
                             W1, SAMPLES),
    "softmax": (lambda x: tg.ops.Softmax(x, axis=0) * np.max(x, axis=1, keepdims=True), SAMPLES),
    "layer norm": (lambda x, gain: tg.ops.LayerNorm(x, gain, gain * 2), SAMPLES, np.array([0.5, 1.0, 2.0])),
    "convolution": (lambda x, W: tg.ops.MaxPool2D(tg.ops.Conv2D(x, W, padding=1), size=2), IMAGE, KERNELS),
    "einsum": (lambda a, b: np.einsum("ij,kj->ik", a, b) * np.einsum("ij,ij->", a, a), SAMPLES, W1[:, :3]),
    "indices": (lambda x: x[[0, 0, 2, 3]][:, None, ::-1] * np.sum(x[LABELS, LABELS[::-1]]), rng.normal(size=(4, 3))),
    "selections": (lambda x: np.where(x > 0, np.exp(x), np.minimum(x, -1.0)) + np.abs(x) ** 1.5, SAMPLES),
    "pieces": (lambda x, y: np.concatenate([x * y[:1, :1], np.pad(y, 1)[1:7, 2:5] / 2], axis=1), W2.T, W1),
    "linear": (lambda x: W1 @ x, SAMPLES),
    "the argument": (lambda x: x, SAMPLES),
    "by one number": (lambda x, y: np.sin(x * y), np.array(0.3), W1),
    "without the second": (lambda x, y: np.exp(x), SAMPLES, W1),
    "a constant": (lambda x: np.ones(10), COLUMN),
    "an empty argument": (lambda x: np.sum(x) * np.ones(10), np.zeros((2, 0))),
    "ops of users": (lambda x: Cumulated(np.reshape(Sinh(x), -1)) * np.mean(Twice(x)), SAMPLES),
    "a rule that is not for nodes": (lambda x: FromC(np.reshape(x, -1)), SAMPLES),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("f", "xs"), [(f, xs) for f, *xs in FUNCTIONS.values()], ids=FUNCTIONS)
def test_a_jacobian_is_its_rows(f, xs, dtype):
    xs = [x.astype(dtype) for x in xs]
    expected = by_rows(f, *xs)
    found = tg.jacobian(f, range(len(xs)))(*xs)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert a.flags.writeable
        assert not any(np.shares_memory(a, other) for other in [*xs, *(J for J in found if J is not a)])
        close(a, b, 1e-12 if dtype is np.float64 else 1e-4)


TWICE = {name: (f, *xs) for name, (f, *xs) in FUNCTIONS.items() if name not in ("a rule that is not for nodes",)}


@pytest.mark.parametrize(("f", "x"), [(f, xs) for f, *xs in TWICE.values()], ids=TWICE)
def test_a_hessian_is_its_rows(f, x):
    """Of a function of one number, whose gradient has many entries; and by nodes, in a graph."""
    first, *rest = x

    def loss(x):
        y = f(x, *rest)
        return np.sum(y * y * np.cos(np.arange(y.size).reshape(y.shape)))

    (expected,) = by_rows(tg.grad(loss), first)
    close(tg.hessian(loss)(first), expected)
    if first.size:
        close(tg.hessian(loss)(tg.constant(first)).value, expected)


@given(functions, vectors)
def test_jacobians_of_random_functions(f, x):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calculus, "_FEW", 1)
        close(tg.jacobian(f)(x), by_rows(f, x)[0])
        close(tg.hessian(f)(x), by_rows(lambda x: tg.jacobian(f)(x), x)[0])
        third = tg.jacobian(tg.jacobian(tg.jacobian(f)))(x)
        close(third, np.swapaxes(third, 1, 2), 1e-10)
        close(third, np.swapaxes(third, 2, 3), 1e-10)


def test_derivatives_of_a_jacobian():
    """By a parameter from outside, and by the argument."""
    p = tg.Parameter(W1)
    J = tg.jacobian(lambda x: np.tanh(p @ x))(COLUMN)
    assert isinstance(J, tg.Node)
    np.sum(J * J).backprop()
    slope = tg.grad(lambda W: sum(np.sum(row * row) for row in (
        tg.vjp(lambda x: np.tanh(W @ x), COLUMN)[1](unit[:, None])[0] for unit in np.eye(6))))(W1)
    close(p.grad, slope)
    close(tg.jacobian(tg.jacobian(lambda x: np.tanh(W1 @ x)))(COLUMN),
          by_rows(lambda x: tg.jacobian(lambda x: np.tanh(W1 @ x))(x), COLUMN)[0])


def test_the_hessian_of_rosenbrock():
    x = np.random.default_rng(0).uniform(-1.5, 1.5, 100)
    close(tg.hessian(rosenbrock)(x), scipy.optimize.rosen_hess(x))


def test_rows_in_several_goes(monkeypatch):
    f, *xs = FUNCTIONS["network"]
    whole, calls = tg.jacobian(f, (0, 2, 0))(*xs), []

    def counted(outputs, variable, replacement):
        calls.append(len(replacement))
        return batched(outputs, variable, replacement)

    monkeypatch.setattr(calculus, "batched", counted)
    monkeypatch.setattr(calculus, "_CHUNK", 7 * sum(node.value.nbytes for node in tg.Tape(f(*map(tg.constant, xs)))))
    for a, b in zip(tg.jacobian(f, (0, 2, 0))(*xs), whole, strict=True):
        np.testing.assert_array_equal(a, b)
    assert sum(calls) == 15
    assert len(calls) > 1


def test_types_of_numbers():
    weights = np.linspace(1, 2, 12)
    J = tg.jacobian(lambda t: np.sin(t * weights))(0.5)
    assert type(J) is np.ndarray
    close(J, np.cos(0.5 * weights) * weights)
    z = weights * (1 - 0.5j)
    J = tg.jacobian(lambda z: np.exp(z) * z)(z)
    assert J.dtype == complex
    close(J.real, np.diag(np.exp(z) * (1 + z)).real)
    close(J.imag, np.diag(np.exp(z) * (1 + z)).imag)
    swapped = weights.astype(">f8")
    J = tg.jacobian(lambda x: x * x + x)(swapped)
    assert J.dtype == swapped.dtype
    close(J, np.diag(2 * weights + 1))
    close(tg.jacobian(lambda x: np.abs(x * z))(weights), np.diag(np.abs(z)))


# ------------------------------------------------------------------------------------ singular points, what is said

SINGULAR = {
    "not taken": lambda x: np.where(x > 0, np.sqrt(x), x * x),
    "logarithm not taken": lambda x: np.where(x > 0, np.log(x), x) * x[::-1],
    "two deep": lambda x: np.where(x > 0, np.sqrt(x) * np.log(x) / x, 0.0),
    "taken out": lambda x: np.sqrt(x)[2:] + np.sum(np.log(x)[3:]),
    "root of a maximum": lambda x: np.sqrt(np.maximum(x, 0.0)),
    "root": lambda x: np.sqrt(np.abs(x)),
    "times zero": lambda x: np.sqrt(x) * 0,
    "a zero that is no branch": lambda x: np.where(x > 0, (np.sqrt(x) - 1) ** 2 / 2, x),
    "derived": lambda x: SafeRoot(x) * x,
    "pulled apart": lambda x: np.where(x > 0, Scaled(np.sqrt(x), factor=2.0) * x, x),
}
POINT = np.array([-1.0, 0.0, 1.0, 4.0, 2.0])


@pytest.mark.parametrize("f", SINGULAR.values(), ids=SINGULAR)
def test_singular_points(always, f):
    with np.errstate(all="ignore"):
        expected, second = by_rows(f, POINT)[0], by_rows(lambda x: tg.jacobian(f)(x), POINT)[0]
        np.testing.assert_allclose(tg.jacobian(f)(POINT), expected, rtol=1e-12)
        np.testing.assert_allclose(tg.jacobian(f)(tg.constant(POINT)).value, expected, rtol=1e-12)
        np.testing.assert_allclose(tg.hessian(f)(POINT), second, rtol=1e-12)
        compiled = tg.compile(tg.jacobian(f), target="numpy"), tg.compile(tg.hessian(f), target="numpy")
        np.testing.assert_allclose(compiled[0](POINT), expected, rtol=1e-12)
        np.testing.assert_allclose(compiled[1](POINT), second, rtol=1e-12)


def test_a_branch_not_taken_stays_silent(always):
    x = np.array([0.0, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(tg.jacobian(lambda x: np.where(x > 0, np.sqrt(x), x))(x), [[1, 0], [0, 0.25]])


def test_numpys_warnings_are_those_of_the_rows(always):
    def said(function):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function()
        return {str(warning.message) for warning in caught}

    x = np.array([0.0, 4.0])
    assert said(lambda: tg.jacobian(np.sqrt)(x)) == said(lambda: by_rows(np.sqrt, x)) != set()


def test_a_detector_sees_each_sweep(always):
    with tg.detect_nan(), pytest.raises(FloatingPointError, match=r"the gradient that Sqrt .* sends to its input"):
        tg.jacobian(np.sqrt)(np.array([1.0, 0.0]))
    x = np.array([1.0, 2.0])

    def overwrite(y):
        z = y * x
        x[0] = 3
        return z

    with tg.detect_changes(), pytest.raises(RuntimeError, match="overwritten"):
        tg.jacobian(overwrite)(x.copy())


# ------------------------------------------------------------------------------------------------------------ compiled

@pytest.mark.parametrize(("f", "xs"), [(f, xs) for f, *xs in TWICE.values()], ids=TWICE)
def test_compiled(f, xs):
    compiled = tg.compile(tg.jacobian(f, range(len(xs))), target="numpy")
    for a, b in zip(compiled(*xs), tg.jacobian(f, range(len(xs)))(*xs), strict=True):
        close(a, b)

    def loss(x):
        return np.sum(f(x, *xs[1:]) ** 2)

    close(tg.compile(tg.hessian(loss), target="numpy")(xs[0]), tg.hessian(loss)(xs[0]))


def test_the_program_does_not_grow_with_the_number_of_rows():
    few, many = (tg.compile(tg.hessian(rosenbrock)).trace(np.zeros(n)) for n in (3, 100))
    assert len(few.instructions) == len(many.instructions) < 80
    assert not any(i.op.__name__ in ("MatMul", "Concatenate") for i in many.instructions)
    assert not any(ARRAY in i.options.get("index", ()) for i in many.instructions)


# ------------------------------------------------------------------------------------------------------------- columns

@pytest.fixture
def columns(monkeypatch):
    """Jacobians by their columns, however many there are; the fixture is the list of those that were."""
    seen = []
    by_columns = calculus._batched_columns
    monkeypatch.setattr(calculus, "_has_few_columns", lambda record: sum(x.size for x in record.variables) > 0)
    monkeypatch.setattr(calculus, "_batched_columns", lambda record: seen.append(record) or by_columns(record))
    return seen


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("f", "xs"), [(f, xs) for f, *xs in FUNCTIONS.values()], ids=FUNCTIONS)
def test_a_jacobian_by_its_columns(columns, f, xs, dtype):
    xs = [x.astype(dtype) for x in xs]
    found = tg.jacobian(f, range(len(xs)))(*xs)
    assert len(columns) == (sum(x.size for x in xs) > 0)
    for a, b in zip(found, by_rows(f, *xs), strict=True):
        assert a.dtype == dtype
        assert a.flags.writeable
        assert not any(np.shares_memory(a, other) for other in [*xs, *(J for J in found if J is not a)])
        close(a, b, 1e-12 if dtype is np.float64 else 1e-4)


@pytest.mark.parametrize(("f", "x"), [(f, xs) for f, *xs in TWICE.values()], ids=TWICE)
def test_a_hessian_by_its_columns(columns, f, x):
    first, *rest = x

    def loss(x):
        y = f(x, *rest)
        return np.sum(y * y * np.cos(np.arange(y.size).reshape(y.shape)))

    (expected,) = by_rows(tg.grad(loss), first)
    close(tg.hessian(loss)(first), expected)
    if first.size:
        close(tg.hessian(loss)(tg.constant(first)).value, expected)
        close(tg.compile(tg.hessian(loss), target="numpy")(first), expected)


@pytest.mark.parametrize("f", SINGULAR.values(), ids=SINGULAR)
def test_singular_points_by_columns(columns, f):
    """The same as by rows, also where forward mode has a NaN, of a tangent of zero where the slope is infinite."""
    with np.errstate(all="ignore"):
        expected = by_rows(f, POINT)[0]
        np.testing.assert_allclose(tg.jacobian(f)(POINT), expected, rtol=1e-12)
        assert len(columns) == 1
        for found in tg.jacobian(f)(tg.constant(POINT)).value, tg.compile(tg.jacobian(f), target="numpy")(POINT):
            specified = ~np.isnan(expected) & ~np.isnan(found) if len(columns) > 1 else np.s_[:]
            np.testing.assert_allclose(found[specified], expected[specified], rtol=1e-12)


def test_few_columns_and_many_rows_are_computed_by_columns(monkeypatch):
    A = rng.normal(size=(1000, 3))
    made = []
    by_columns = calculus._batched_columns
    monkeypatch.setattr(calculus, "_batched_columns", lambda record: made.append(record) or by_columns(record))
    for x, p in ((np.array([0.3, -1.0, 0.5]), {"shift": 0.5, "slope": np.array(2.0)}),):
        J, by_p = tg.jacobian(lambda x, p: np.tanh(A @ x * p["slope"] + p["shift"]), (0, 1))(x, p)
        assert len(made) == 1
        slope = 1 - np.tanh(A @ x * 2 + 0.5) ** 2
        close(J, slope[:, None] * A * 2)
        close(by_p["shift"], slope)
        close(by_p["slope"], slope * (A @ x))
    tg.jacobian(lambda x: A[:5] @ x)(x)
    tg.jacobian(lambda x: A.T @ x)(np.ones(1000))
    tg.jacobian(lambda x: np.tanh(A[:100, :1] @ np.ones(1) * x))(np.ones(100))
    assert len(made) == 1


def test_complex_values_by_real_arguments():
    """Rows would be real: the gradient of the real part alone."""
    t = np.array([0.3, 1.0, -0.5])
    J = tg.jacobian(lambda t: np.exp(t * (1 + 2j)))(t)
    assert J.dtype == complex
    expected = np.diag((1 + 2j) * np.exp(t * (1 + 2j)))
    close(J.real, expected.real)
    close(J.imag, expected.imag)
