"""Every function of NumPy and SciPy that nodes know, against the function itself on arrays.

Values are compared, shapes and dtypes too; derivatives of first and second order in reverse and forward mode with
differences of the function on arrays, and with complex step where the function is analytic. Of complex inputs the real
and the imaginary part are varied: the gradient of a real number by z = x + iy is its derivative by x minus i times that
by y. The checks run over the registry in `functions`; at the end planted bugs show that each can fail.
"""

import importlib
import operator
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.node import TWINS, SparseOperand, twin_of

from .functions import CALLS, Call
from .oracles import complex_step, differences

SMOOTH = [call for call in CALLS if not call.flat and call.order]
TOLERANCE = {"d": 2e-8, "D": 2e-8, "f": 2e-4, "F": 2e-4}  # of derivatives, by type code
ROUNDING = {"d": 1e-12, "D": 1e-12, "f": 1e-5, "F": 1e-5}  # of values


def named(calls: Any) -> Any:
    return pytest.mark.parametrize("call", calls, ids=lambda call: call.name)


def outputs(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def inexact(x: Any) -> bool:
    return not isinstance(x, int | float) and x.dtype.kind in "fc"


class Problem:
    """A call, its inputs, random weights for its results, and random tangents for its floating inputs."""

    def __init__(self, call: Call, dtype: Any = np.float64, inputs: Any = None) -> None:
        self.call = call
        self.inputs = call.arrays(dtype) if inputs is None else inputs
        self.wrt = [i for i, x in enumerate(self.inputs) if inexact(x)]
        self.primals = [self.inputs[i] for i in self.wrt]
        self.expected = [np.asarray(y) for y in outputs(call(*self.inputs))]
        self.rng = np.random.default_rng(0)
        self.weights = [self.like(y) if inexact(y) else None for y in self.expected]
        self.tangents = [self.like(x) for x in self.primals]
        floats = [x.dtype.char for x in [*self.expected, *self.primals] if inexact(x)]
        self.tolerance = max(map(TOLERANCE.__getitem__, floats), default=0)

    def like(self, x: np.ndarray) -> np.ndarray:
        parts = [self.rng.uniform(0.5, 1.5, x.shape) * self.rng.choice([-1, 1], x.shape) for _ in range(2)]
        return np.asarray(parts[0] + 1j * parts[1] if x.dtype.kind == "c" else parts[0], x.dtype)

    def given(self, primals: Any) -> list[Any]:
        inputs = list(self.inputs)
        for i, x in zip(self.wrt, primals, strict=True):
            inputs[i] = x
        return inputs

    def results(self, *primals: Any) -> list[Any]:
        return outputs(self.call(*self.given(primals)))

    def loss(self, *primals: Any) -> Any:
        """One real number that depends on all results; of arrays and of nodes."""
        terms = [np.sum(y * w) for y, w in zip(self.results(*primals), self.weights, strict=True) if w is not None]
        return sum(np.real(term) if term.dtype.kind == "c" else term for term in terms)

    def grads(self, *primals: Any) -> Any:
        return tg.grad(self.loss, range(len(self.primals)))(*primals)

    def slope(self, *primals: Any) -> Any:
        """The derivative of the loss along the tangents, by the engine's gradients."""
        return along(self.grads(*primals), self.tangents)

    def close(self, actual: Any, expected: Any) -> None:
        if isinstance(expected, list | tuple):
            assert len(actual) == len(expected)
            for a, e in zip(actual, expected, strict=True):
                self.close(a, e)
            return
        assert np.shape(actual) == np.shape(expected)
        assert np.isfinite(expected).all()  # or it would be no oracle
        scale = 1 + np.max(np.abs(expected), initial=0)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=self.tolerance * scale)


def along(grads: Any, tangents: Any) -> Any:
    """What a real number changes by along the tangents: Re of the sum of gradient times tangent."""
    total = sum(np.sum(g * v) for g, v in zip(grads, tangents, strict=True))
    return np.real(total) if total.dtype.kind == "c" else total


def gradient(f: Any, xs: Any) -> list[np.ndarray]:
    """The gradient of a real number, by differences, entry by entry; of complex entries both parts are varied."""
    grads = [np.zeros_like(x) for x in xs]
    for i, grad in enumerate(grads):
        for entry in np.ndindex(grad.shape):
            for part in (1, 1j) if grad.dtype.kind == "c" else (1,):
                units = [np.zeros_like(x) for x in xs]
                units[i][entry] = part
                change = differences(f, xs, units)
                grad[entry] += change if part == 1 else -1j * change
    return grads


# -------------------------------------------------------------------------------------------------------------- checks

def check_value(problem: Problem) -> None:
    """Value, shape and dtype are those of the function on arrays; nodes in, nodes out, or plain answers to queries."""
    nodes = [tg.constant(x) if inexact(x) else x for x in problem.inputs]
    found = outputs(problem.call(*nodes))
    assert len(found) == len(problem.expected)
    for y, expected in zip(found, problem.expected, strict=True):
        if problem.call.order:
            assert isinstance(y, tg.Node)
        value = np.asarray(y.value if isinstance(y, tg.Node) else y)
        assert (value.shape, value.dtype) == (expected.shape, expected.dtype)
        if not inexact(expected):
            np.testing.assert_array_equal(value, expected)
            continue
        scale = 1 + np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
        np.testing.assert_allclose(value, expected, rtol=0, atol=ROUNDING[expected.dtype.char] * scale)


def check_gradient(problem: Problem) -> None:
    """Reverse mode against differences, and against complex step."""
    grads = problem.grads(*problem.primals)
    for g, x in zip(grads, problem.primals, strict=True):
        assert (type(g), g.shape, g.dtype, g.flags.writeable) == (np.ndarray, x.shape, x.dtype, True)
        assert not any(np.shares_memory(g, other) for other in problem.primals)
    problem.close(list(grads), gradient(problem.loss, problem.primals))
    if problem.call.analytic and all(x.dtype.kind == "f" for x in [*problem.primals, *problem.expected]):
        along_tangents = complex_step(lambda *xs: sum(np.sum(y * w) for y, w in zip(
            problem.results(*xs), problem.weights, strict=True)), problem.primals, problem.tangents)
        problem.close(along(grads, problem.tangents), along_tangents)


def check_forward(problem: Problem) -> None:
    """Forward mode of each result against differences."""
    for k, w in enumerate(problem.weights):
        if w is not None:
            value, tangent = tg.jvp(lambda *xs, k=k: problem.results(*xs)[k], problem.primals, problem.tangents)
            problem.close(value, problem.expected[k])
            problem.close(tangent, differences(lambda *xs, k=k: np.asarray(problem.results(*xs)[k]), problem.primals,
                                               problem.tangents))


def check_second(problem: Problem) -> None:
    """The gradient of the derivative along a direction against differences of it."""
    if problem.call.order > 1:
        actual = tg.grad(problem.slope, range(len(problem.primals)))(*problem.primals)
        problem.close(list(actual), gradient(problem.slope, problem.primals))


def check_layout(problem: Problem) -> None:
    """Transposed, strided and read-only inputs are as good as contiguous ones, and nothing is written into."""
    grads = problem.grads(*problem.primals)
    for layout in (lambda x: x.T.copy().T, lambda x: np.repeat(x, 2, -1)[..., ::2] if x.ndim else x.copy()):
        other = Problem(problem.call, inputs=[layout(x) if isinstance(x, np.ndarray) else x for x in problem.inputs])
        for x in other.inputs:
            if isinstance(x, np.ndarray):
                x.flags.writeable = False
        problem.close(list(other.grads(*other.primals)), list(grads))


def check_float32(problem: Problem) -> None:
    if not problem.call.narrow:
        return
    narrow = Problem(problem.call, np.float32)
    wide = Problem(problem.call, inputs=[x.astype(np.result_type(x, float)) if inexact(x) else x
                                         for x in narrow.inputs])
    check_value(narrow)
    grads = narrow.grads(*narrow.primals)
    assert [g.dtype for g in grads] == [x.dtype for x in narrow.primals]
    wide.weights = [None if w is None else w.astype(y.dtype)
                    for w, y in zip(narrow.weights, wide.expected, strict=True)]
    narrow.close(list(grads), list(wide.grads(*wide.primals)))


def check_jacobian(problem: Problem) -> None:
    """All rows at once, by batching, are what they are one by one."""
    for k, w in enumerate(problem.weights):
        if w is None or w.dtype.kind == "c" or any(x.dtype.kind == "c" for x in problem.primals):
            continue
        value, pull = tg.vjp(lambda *xs, k=k: problem.results(*xs)[k], *problem.primals)
        rows = [pull(unit) for unit in np.eye(value.size, dtype=w.dtype).reshape((value.size, *value.shape))]
        together = tg.jacobian(lambda *xs, k=k: problem.results(*xs)[k], range(len(problem.primals)))(*problem.primals)
        for J, x, column in zip(together, problem.primals, zip(*rows, strict=True) if rows else [()] * 9, strict=False):
            problem.close(J, np.array(column).reshape((*value.shape, *x.shape)))


def check_compiled(problem: Problem) -> None:
    """Compiled to NumPy source it gives the same gradients."""
    if problem.call.dynamic:
        return
    compiled = tg.compile(lambda *xs: problem.grads(*xs), target="numpy")
    problem.close(list(compiled(*problem.primals)), list(problem.grads(*problem.primals)))


def check_mapped(problem: Problem) -> None:
    """Mapped over a batch: values, gradients of the entries, and the gradient through the batch."""
    if problem.call.dynamic or not problem.primals:
        return
    others = problem.call.arrays(seed=1)
    entries = [problem.primals, [others[i] for i in problem.wrt]]
    batches = [np.stack(xs) for xs in zip(*entries, strict=True)]
    every = range(len(batches))
    values = tg.vmap(lambda *xs: tuple(problem.results(*xs)))(*batches)
    for y, *expected in zip(values, *[[plain(y) for y in problem.results(*xs)] for xs in entries], strict=True):
        problem.close(y, np.stack(expected))
    expected = [np.stack(grads) for grads in zip(*[problem.grads(*xs) for xs in entries], strict=True)]
    problem.close(list(tg.vmap(tg.grad(problem.loss, every))(*batches)), expected)
    problem.close(list(tg.grad(lambda *xs: np.sum(tg.vmap(problem.loss)(*xs)), every)(*batches)), expected)


def plain(y: Any) -> Any:
    return y.value if isinstance(y, tg.Node) else y


CHECKS = [check_value, check_gradient, check_forward, check_second, check_layout, check_float32, check_jacobian,
          check_compiled, check_mapped]


@pytest.mark.parametrize("check", CHECKS)
@named(SMOOTH)
def test_function(call, check):
    check(Problem(call))


@named([call for call in CALLS if call.flat or not call.order])
def test_function_without_gradient(call):
    """Its value, and a gradient of zero beside which others are what they are."""
    problem = Problem(call)
    check_value(problem)
    if problem.primals and any(w is not None for w in problem.weights):
        def f(*xs: Any) -> Any:
            return problem.loss(*xs) + sum(np.real(np.sum(x)) for x in xs)
        problem.close(list(tg.grad(f, range(len(problem.primals)))(*problem.primals)),
                      [np.ones_like(x) for x in problem.primals])


NOT_FUNCTIONS = {operator.getitem, tg.Node.backprop, np.ndarray.astype, np.result_type, np.ufunc,
                 SparseOperand}  # tested elsewhere
NOT_FUNCTIONS |= {f for f, twin in TWINS.items() if twin.__module__ == "tinygraph.ops.queries"}  # in test_numpy


def test_no_function_is_left_out():
    """What nodes know is an op, tested as such, or is called by this registry."""
    importlib.import_module("tinygraph.ops")
    twin_of(None)  # has the families that are imported late imported
    known = {call.function for call in CALLS} | NOT_FUNCTIONS
    missing = [function for function, twin in TWINS.items() if function not in known and not (
        isinstance(twin, type) or isinstance(getattr(tg.ops, twin.__qualname__, None), type))]
    assert not missing
