"""The NumPy target: its source computes what the program does, writes where it may, and needs NumPy alone.

Most tests run twice: as it is, and with buffers for everything, however small, so that small arrays meet what is
written for large ones.
"""

import ast
import builtins
import gc
import keyword
import linecache
import subprocess
import sys
import threading
import traceback
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import ops
from tinygraph.compile import buffers, numpy_plan, numpy_target, numpy_text
from tinygraph.compile.passes import optimized
from tinygraph.compile.program import Program, evaluated, is_numpy
from tinygraph.op import Elementwise, Primitive
from tinygraph.ops.selection import ARRAY

from .cases import CASES, Case, is_float
from .test_passes import programs, run, values_for

LATE = {f"tinygraph.ops.{family}" for family in ops.FAMILIES_OF_SCIPY}  # run as they are, like somebody's own
TOLERANCE = {"d": 1e-11, "f": 2e-5, "e": 2e-2}  # by type code, relative to the largest entry


@pytest.fixture(params=["as it is", "all in buffers"])
def thresholds(request: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "all in buffers":
            for module, name in [(numpy_plan, "SMALL"), (numpy_target, "SMALL"), (numpy_text, "FEW")]:
                patch.setattr(module, name, 0)
        yield


def compiled(f: Callable[..., Any], **options: Any) -> Any:
    return tg.compile(f, target="numpy", **options)


def close(actual: Any, expected: Any, scale: float = 1.0) -> None:
    """Assert that two results have the same structure, shapes and dtypes, and nearly the same numbers."""
    if isinstance(expected, tuple | list):
        assert type(actual) is type(expected)
        for a, e in zip(actual, expected, strict=True):
            close(a, e, scale)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        close(list(actual.values()), list(expected.values()), scale)
    else:
        a, e = np.asarray(actual), np.asarray(expected)
        assert (a.shape, a.dtype) == (e.shape, e.dtype)
        largest = float(np.abs(e[np.isfinite(e)]).max(initial=0))
        np.testing.assert_allclose(a, e, rtol=0, atol=TOLERANCE.get(e.dtype.char, 0) * scale * (1 + largest))


def arrays_of(results: Any) -> list[np.ndarray]:
    return [x for x in results if isinstance(x, np.ndarray)]


def assert_written_well(source: str) -> None:
    """It is Python, its lines are short, and its names are its own."""
    tree = ast.parse(source)
    assert max(map(len, source.splitlines())) <= 120
    assert not [line for line in source.splitlines() if line != line.rstrip()]
    names = [node.arg if isinstance(node, ast.arg) else node.id for node in ast.walk(tree)
             if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))]
    assert not {"np", "constants", *keyword.kwlist, *dir(builtins)} & set(names) - {"constants"}


def assert_runs(program: Program, inputs: list[Any], states: list[np.ndarray], target: Any = None) -> None:
    """Called twice, the source gives what the program does; writes into updated states and nothing else; and returns
    arrays that share memory with nothing."""
    expected, largest = run(program, inputs, states)
    executable = numpy_target.build(target or program)
    assert_written_well(executable.source)
    given = [np.array(x) if isinstance(x, np.ndarray) else x for x in inputs]
    updated = dict(program.updates)
    seen: list[np.ndarray] = [*arrays_of(given), *program.constants.values()]
    for _ in range(2):
        held = [np.array(x) for x in states]
        with np.errstate(all="ignore"):
            outputs = executable.run(given, held)
        written = [x for x, state in zip(held, program.states, strict=True) if state in updated]
        order = [state for state in program.states if state in updated]
        new = dict(zip(order, written, strict=True))
        got = [*outputs, *[new[state] for state, _ in program.updates]]
        for a, b, x in zip(expected, got, program.results, strict=True):
            if x.weak:
                assert type(a) is type(b)
            else:
                assert isinstance(b, np.ndarray)
                assert (b.shape, b.dtype) == (x.shape, x.dtype)
            tolerance = 0 if x.dtype.kind not in "fc" else 1e-12 if x.weak else (
                largest * (1e-5 if x.dtype == np.float32 else 1e-12))
            np.testing.assert_allclose(b, a, rtol=0, atol=tolerance, equal_nan=True, err_msg=executable.source)
        for before, after, state in zip(states, held, program.states, strict=True):
            if state not in updated:
                np.testing.assert_array_equal(before, after)
        for before, after in zip(inputs, given, strict=True):
            np.testing.assert_array_equal(before, after)
        arrays = arrays_of(outputs)
        others = [*seen, *held]
        for n, array in enumerate(arrays):
            assert not any(np.shares_memory(array, x) for x in [*arrays[:n], *others]), executable.source
        seen += arrays


def is_exact_enough(program: Program, inputs: list[Any], states: list[np.ndarray]) -> bool:
    """Whether no product of matrices meets infinity or NaN, of which BLAS may skip some times 0."""
    tame = True

    def step(i: Any, arguments: list[Any]) -> Any:
        nonlocal tame
        tame = tame and (i.op is not ops.MatMul or all(np.isfinite(x).all() for x in arguments))
        return evaluated(i, arguments)

    with np.errstate(all="ignore"):
        program.call(inputs, states, step)
    return tame


# ----------------------------------------------------------------------------------------------------------- every op

def test_every_primitive_of_networks_has_a_form():
    """Others may be called as they are."""
    for op in (getattr(ops, name) for name in ops.__all__):
        if not op.traceable and op.__module__.endswith((".neural", ".selection", ".convolution")):
            assert op in numpy_text.FORMS or (issubclass(op, Elementwise) and is_numpy(op.forward)), op


def value_and_gradients(case: Case) -> Callable[..., Any]:
    """The function of a case's inputs that returns its value, and its gradients for some cotangent."""
    wrt = [] if case.flat else [i for i, x in enumerate(case.arrays()) if is_float(x)]

    def f(*inputs: Any) -> Any:
        def value(*floats: Any) -> Any:
            given = dict(zip(wrt, floats, strict=True))
            return case.op(*[given.get(i, x) for i, x in enumerate(inputs)], **case.options)

        if not wrt:
            return value()
        y, pull = tg.vjp(value, *[inputs[i] for i in wrt])
        return [y, *pull(np.linspace(-1, 1, y.size).reshape(y.shape).astype(y.dtype))]
    return f


# Special functions are called alike; these are representative.
SAMPLE = {ops.Expit, ops.Betainc, ops.ErfcRatio, ops.Polygamma, ops.AiryA, ops.Rgamma, ops.EvalHermite}


@pytest.mark.usefixtures("thresholds")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", sorted({case.op for case in CASES if case.stepped or case.op in SAMPLE},
                                      key=lambda op: op.__name__))
def test_every_case_and_its_gradient(op, dtype):
    for case in CASES:
        if case.op is not op or any(x.dtype == bool for x in case.arrays()[1:] if "index" in case.options):
            continue  # the shape of what a mask takes depends on values
        inputs = case.arrays(dtype)
        traced = compiled(value_and_gradients(case)).trace(*inputs)
        given = [x for x in inputs if not isinstance(x, bool)]  # those are part of the signature
        given = [x if var.weak else np.asarray(x) for x, var in zip(given, traced.inputs, strict=True)]
        for program in (traced, optimized(traced)):
            executable = numpy_target.build(program)
            assert_written_well(executable.source)
            with np.errstate(all="ignore"):
                close(executable.run(given, []), traced.run(given)[0], 10)


@pytest.mark.usefixtures("thresholds")
@pytest.mark.parametrize("improve", [lambda program: program, lambda program: optimized(program)],
                         ids=["as traced", "optimized"])
@settings(max_examples=4 * settings.default.max_examples)
@given(program=programs(), seed=st.integers(0, 2**20))
def test_random_programs(improve, program, seed):
    inputs, states = values_for(program, seed)
    assume(is_exact_enough(program, inputs, states))
    assert_runs(program, inputs, states, improve(program))


@pytest.mark.usefixtures("thresholds")
def test_expressions_have_the_parentheses_that_they_need():
    rng = np.random.default_rng(0)
    x, y, z = rng.normal(size=(3, 20)) + 3
    a, b, c = rng.random((3, 20)) < 0.5
    n = rng.integers(0, 9, 20)
    for f, given_ in [
        (lambda x, y, z: x - (y - z), (x, y, z)), (lambda x, y, z: (x - y) - z, (x, y, z)),
        (lambda x, y, z: x / (y / z), (x, y, z)), (lambda x, y, z: x / (y * z), (x, y, z)),
        (lambda x, y, z: (x + y) * (z - x), (x, y, z)), (lambda x, y, z: -(x - y) * z, (x, y, z)),
        (lambda x, y, z: 1.5 - (x - (2.5 - y)) / (z - -0.5), (x, y, z)), (lambda x, y: -(-x - -y), (x, y)),
        (lambda x, y, z: (x < y) == (y < z), (x, y, z)), (lambda x, y, z: (x < y) & (y < z) | (x > z), (x, y, z)),
        (lambda a, b, c: a & (b | c), (a, b, c)), (lambda a, b, c: (a ^ b) & (b ^ c) | a, (a, b, c)),
        (lambda a, b, c: ~(a & b) ^ ~c, (a, b, c)), (lambda n: (n << 2) + 1 >> 1, (n,)),
        (lambda n: n >> (n - (n - 1)), (n,)), (lambda x, y: (x - y).reshape(4, 5).T - (y - x).reshape(5, 4), (x, y)),
    ]:
        close(compiled(f)(*given_), f(*given_))


@pytest.mark.usefixtures("thresholds")
def test_what_is_used_twice_is_not_written_over():
    v, x = tg.State(np.arange(300.0), "v"), np.linspace(1, 2, 300)

    @compiled
    def decayed(x):
        slower = 0.5 * v.value
        v.value = slower + x
        return slower * x

    close(decayed(x), 0.5 * np.arange(300.0) * x)
    close(v.value, 0.5 * np.arange(300.0) + x)

    def scattered(x, i):
        part = ops.ScatterAdd.apply(x, shape=(600,), index=(slice(0, 600, 2),))
        rows = ops.ScatterAdd.apply(x, i, shape=(600,), index=(ARRAY,))
        return np.exp(part) + part, rows * rows + rows, part + rows

    i = np.arange(300) // 2
    close(compiled(scattered)(x, i), scattered(x, i))


class Twice(Primitive):
    """An op of somebody's own, for which there is no form, and whose result may be a view of its input."""

    def forward(self, x, *, view=False, factors=(2.0,)):
        return x if view else x * factors[0]

    def backward(self, grad, y, x, *, view=False, factors=(2.0,)):
        return Twice.apply(grad, view=view, factors=factors)


@pytest.mark.usefixtures("thresholds")
def test_an_op_of_somebodys_own_is_called(tmp_path):
    state = tg.State(np.arange(600.0), "state")

    @compiled
    def f(x):
        before = Twice(state, view=True)
        y = Twice(Twice(x, view=True) + 1, factors=(3.0, 4.0))
        state.value = state.value + y
        return before, np.exp(Twice(x, view=True)), y

    x = np.linspace(-1, 1, 600)
    before, exponential, y = f(x)
    close(before, np.arange(600.0))
    close(exponential, np.exp(x))
    close(y, 3 * (x + 1))
    close(state.value, np.arange(600.0) + 3 * (x + 1))
    with pytest.raises(ValueError, match="Twice: NumPy alone does not have this op"):
        f.export(tmp_path / "f.py")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(700,), (30, 40), (2, 3, 130)])
def test_keep_drops_what_is_not_finite(dtype, shape):
    rng = np.random.default_rng(0)
    x, mask = rng.choice([np.nan, np.inf, -0.0, 1.5], shape).astype(dtype), rng.random(shape) < 0.5
    for f in (lambda x, m: ops.Keep(x, m), lambda x, m: 1 * ops.Keep(x * 2, m) + 0):
        got = compiled(f)(x, mask)
        close(got, f(tg.constant(x), mask).value)
        assert np.isfinite(got[~mask]).all()


def test_labels_of_every_type_are_checked():
    for dtype in (np.int8, np.uint8, np.int16, np.int64, np.uint64):
        for n in (3, 100, 127, 128, 200):
            f = compiled(lambda t, n=n: ops.InRange(t, n=n) + 0)
            top = min(n - 1, np.iinfo(dtype).max)
            close(f(np.array([0, top], dtype)), np.array([0, top], dtype))
            bad = [k for k in (-1, -128, n) if np.iinfo(dtype).min <= k <= np.iinfo(dtype).max]
            for k in bad:
                with pytest.raises(ValueError, match=rf"labels must lie in \[0, {n}\), got {min(0, k)} to {max(0, k)}"):
                    f(np.array([0, k], dtype))


# ----------------------------------------------------------------------------------------------------------- networks

def network(units: list[int], dtype: Any, activation: Callable[[Any], Any], rule: str, seed: int) -> Any:
    """(step, parameters and states): a training step on samples in columns."""
    rng = np.random.default_rng(seed)
    shapes = [shape for a, b in pairwise(units) for shape in ((b, a), (b, 1))]
    parameters = [tg.Parameter(rng.normal(size=shape).astype(dtype), name) for shape, name in
                  zip(shapes, [f"{letter}{n // 2 + 1}" for n, letter in enumerate("Wb" * len(units))], strict=False)]
    moments = [tg.State(np.zeros(p.shape, dtype), f"m_{p.name}") for p in parameters]
    count = tg.State(np.zeros((), dtype), "count")

    def step(X, t, lr):
        A = X
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = activation(ops.AddBias(ops.MatMul(W, A), b))
        loss = ops.LogSoftmaxNLL(ops.AddBias(ops.MatMul(parameters[-2], A), parameters[-1]), t, axis=0)
        loss.backprop()
        if rule == "momentum":
            count.value = count.value + 1
        for p, m in zip(parameters, moments, strict=True):
            if rule == "momentum":
                m.value = 0.9 * m.value + p.grad
                p.value = p.value - lr / count.value * m.value
            elif rule == "sgd":
                p.value = p.value - lr * p.grad
        return [loss, *[p.grad for p in parameters]]

    return step, [*parameters, *moments, count]


@pytest.mark.usefixtures("thresholds")
@given(units=st.lists(st.integers(1, 40), min_size=2, max_size=4), n=st.integers(1, 60), seed=st.integers(0, 99),
       dtype=st.sampled_from([np.float32, np.float64]), rule=st.sampled_from(["sgd", "momentum", "none"]),
       activation=st.sampled_from([ops.ReLU, np.tanh, ops.GELU, lambda x: np.maximum(x, 0.1 * x)]))
def test_training_is_that_of_eager(units, n, seed, dtype, rule, activation):
    rng = np.random.default_rng(seed)
    eager, theirs = network(units, dtype, activation, rule, seed)
    step, ours = network(units, dtype, activation, rule, seed)
    step = compiled(step)
    for size in (n, n, n + 1, n):  # the signature changes on the way
        X, t = rng.normal(size=(size, units[0])).astype(dtype).T, rng.integers(0, units[-1], size)
        expected = [x.value if isinstance(x, tg.Node) else x for x in eager(X, t, 0.1)]
        close(step(X, t, 0.1), expected, 100)
        for a, b in zip(ours, theirs, strict=True):
            close(a.value, b.value, 100)
    assert_written_well(step.source)


@pytest.mark.usefixtures("thresholds")
@given(n=st.integers(0, 5), m=st.integers(1, 5), seed=st.integers(0, 99),
       dtype=st.sampled_from([np.float32, np.float64]))
def test_second_order_is_that_of_eager(n, m, seed, dtype):
    rng = np.random.default_rng(seed)
    A, x, v = (rng.normal(size=shape).astype(dtype) for shape in ((n, m), (m,), (m,)))

    def f(x, A):
        h = np.tanh(A @ x)
        return np.sum(h * h) + np.sum(np.log1p(np.exp(x))) * np.max(x)

    close(compiled(tg.hvp(f))(x, v, A), tg.hvp(f)(x, v, A), 100)
    close(compiled(tg.hessian(f))(x, A), tg.hessian(f)(x, A), 100)


@pytest.mark.usefixtures("thresholds")
@given(st.data())
def test_structures_of_arguments_and_strides(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    n = data.draw(st.integers(0, 30))
    base = rng.normal(size=(2 * n, 40))
    x = data.draw(st.sampled_from([base[::2], base[n:], np.asfortranarray(base[:n]), base[:n, ::-1], base[::-2]]))
    more = {"y": [x.T, 2.5], "z": (np.float32(0.5), x[:1] if n else np.zeros((1, 40)))}

    def f(x, more):
        (yT, weak), (scalar, row) = more["y"], more["z"]
        return {"sum": [yT.T + x * weak, np.sum(x * row)], "scalar": scalar * weak}

    close(compiled(f)(x, more), f(x, more), 10)
    close(compiled(f)(x, more=more), f(x, more), 10)


# ------------------------------------------------------------------------------------------------------------- states

@pytest.mark.usefixtures("thresholds")
@pytest.mark.parametrize("early", [False, True], ids=["updates last", "updates first"])
def test_a_bad_label_changes_nothing(early):
    step, states = network([2, 30, 3], np.float64, ops.ReLU, "momentum", 0)

    @compiled
    def both(X, t, t_2, lr):
        if early:
            states[0].value = states[0].value * 2
        results = step(X, t, lr)
        return results, ops.LogSoftmaxNLL(states[0] @ X, t_2, axis=0)

    X, t, bad = np.ones((2, 50)), np.zeros(50, int), np.full(50, 30)
    both(X, t, t, 0.1)
    before = [np.array(state.value) for state in states]
    for arguments in ((X, t, bad, 0.1), (X, bad, t, 0.1), (X, t, -bad, 0.1)):
        with pytest.raises(ValueError, match="labels must lie in"):
            both(*arguments)
        for state, value in zip(states, before, strict=True):
            assert np.array_equal(state.value, value)
    both(X, t, t, 0.1)  # the workspace is as good as before
    assert not np.array_equal(states[0].value, before[0])


@pytest.mark.usefixtures("thresholds")
@pytest.mark.parametrize("shape", [(), (3,), (40, 40)])
def test_states_are_exchanged(shape):
    values = [np.full(shape, float(k)) for k in range(3)]
    a, b, c = (tg.State(value, name) for value, name in zip(values, "abc", strict=True))

    @compiled
    def swap(x):
        a.value, b.value = b.value, a.value
        return a.value * x

    @compiled
    def rotate():
        a.value, b.value, c.value = b.value, c.value + 0, a.value
        return a, b

    close(swap(10.0), values[1] * 10)
    close([a.value, b.value], [values[1], values[0]])
    first, second = rotate()
    close([first, second], [values[0], values[2]])
    close([a.value, b.value, c.value], [values[0], values[2], values[1]])
    assert not any(np.shares_memory(x, state._value) for x in (first, second) for state in (a, b, c))


@pytest.mark.usefixtures("thresholds")
def test_new_values_that_depend_on_each_others_old_ones():
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(20, 20)) for _ in range(3)]
    a, b, c = (tg.State(value) for value in values)

    def update():
        a.value, b.value, c.value = a.value + b.value.T, b.value - a.value @ c.value, c.value.T * a.value[::-1]
        return np.sum(a.value * c.value)

    result = compiled(update)()
    A, B, C = values
    new = [A + B.T, B - A @ C, C.T * A[::-1]]
    close([a.value, b.value, c.value], new)
    close(result, np.asarray(np.sum(new[0] * new[2])), 100)


@pytest.mark.usefixtures("thresholds")
def test_who_holds_a_value_keeps_it():
    state = tg.State(np.arange(400.0), "state")

    @compiled
    def step(x):
        state.value = state.value - x * state.value
        return np.sum(state.value)

    step(0.5)
    held, graph = state.value, state * 2
    array = state._version._value
    assert np.shares_memory(held, array)
    step(0.5)
    close(held, np.arange(400.0) / 2)
    close(graph.value, np.arange(400.0))
    close(state.value, np.arange(400.0) / 4)
    del held, graph, array
    address = state._version._value.ctypes.data
    step(0.5)
    assert state._version._value.ctypes.data == address, "nobody else holds it: written in place"


@pytest.mark.usefixtures("thresholds")
def test_results_are_arrays_of_their_own():
    state, other = tg.State(np.arange(600.0).reshape(20, 30), "state"), tg.State(np.ones((20, 30)), "other")
    closed_over = np.full((20, 30), 3.0)

    @compiled
    def f(x, weak):
        y = np.exp(x)
        state.value = state.value + y
        ones = np.broadcast_to(np.sum(x), (20, 30))
        return (x, x, x.T, x[1:], state, state.value.reshape(-1), other, other.value[0], y, y.T, y.reshape(2, 300), y,
                np.asarray(closed_over) + 0 * x, tg.constant(closed_over), ones, ones, ones.T, weak, weak * 2,
                np.sum(x), x.reshape(600).reshape(20, 30))

    x = np.linspace(0, 1, 600).reshape(20, 30)
    earlier: list[np.ndarray] = [x, closed_over]
    for _ in range(3):
        results = f(x, 2)
        arrays = arrays_of(results)
        assert [type(r) for r in results if not isinstance(r, np.ndarray)] == [int, int]
        assert all(r.flags.writeable for r in arrays)
        everything = [*earlier, state._value, other._value]
        for n, array in enumerate(arrays):
            assert not any(np.shares_memory(array, known) for known in [*arrays[:n], *everything])
        earlier += arrays
    assert np.array_equal(earlier[2], x)
    close(results[4], np.arange(600.0).reshape(20, 30) + 3 * np.exp(x))


def test_two_threads_never_share_buffers():
    f = compiled(lambda x, y: np.sum(np.tanh(np.exp(x) * y + x) * np.sin(y), axis=0))
    rng = np.random.default_rng(0)
    cases = [(rng.normal(size=(60, 70)), rng.normal(size=(60, 70))) for _ in range(8)]
    expected = [np.sum(np.tanh(np.exp(x) * y + x) * np.sin(y), axis=0) for x, y in cases]
    start = threading.Barrier(4)

    def work(k: int) -> bool:
        start.wait()  # the first call compiles, in all of them at once
        return all(np.allclose(f(*cases[n % 8]), expected[n % 8], rtol=1e-12) for n in range(k, k + 200))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert 1 <= len(f.last.executable.workspaces) <= 4


def test_the_second_call_needs_no_new_memory():
    step, _ = network([100, 200, 10], np.float64, ops.ReLU, "sgd", 0)
    quiet = compiled(lambda X, t: step(X, t, 0.1)[0])
    X, t = np.ones((100, 500)), np.zeros(500, int)
    quiet(X, t)
    quiet(X, t)
    shared, alone = quiet.last.executable.memory
    assert shared < 0.7 * alone
    tracemalloc.start()
    try:
        quiet(X, t)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.05 * shared


# ---------------------------------------------------------------------------------------------------- the short way in

def test_calls_of_other_signatures_take_the_long_way():
    f = compiled(lambda x, weak, flag: x * weak if flag else x + weak)
    x = np.ones((2, 3))
    f(x, 2.0, True)
    quick = f.last.short[1]
    close(quick(x, 3.0, True), 3 * x)
    for other in [(x[0], 2.0, True), (x.astype("f4"), 2.0, True), (x, 2, True), (x, np.float64(2), True),
                  (x, 2.0, False), (x.tolist(), 2.0, True), (x.astype(">f8"), 2.0, None)]:
        assert quick(*other) is NotImplemented
        if not isinstance(other[0], list):
            a, weak, flag = other
            close(f(*other), a * weak if flag else a + weak)
    close(f(x, 4.0, True), 4 * x)


def test_a_state_that_was_replaced_is_not_taken_for_the_old_one():
    state = tg.State(np.ones(3))
    f = compiled(lambda x: x * state)
    close(f(2.0), np.full(3, 2.0))
    state.assign(np.ones(3, np.float32))
    close(f(2.0), np.full(3, 2.0, np.float32))
    state.assign(np.full(3, 4.0))
    close(f(2.0), np.full(3, 8.0))


# ------------------------------------------------------------------------------------------------------------- source

def documents_step() -> Any:
    step, states = network([2, 10, 2], np.float64, ops.ReLU, "sgd", 0)
    rng = np.random.default_rng(1)
    function = compiled(lambda X, t, lr: step(X, t, lr)[0])
    function.__name__ = "step"
    X, t = rng.normal(size=(2, 100)), rng.integers(0, 2, 100)
    function(X, t, 0.1)
    return function, states, (X, t, 0.1)


def test_the_source_reads_like_the_documents():
    source = documents_step()[0].source
    for line in ["def step(X, t, lr, W1, b1, W2, b2, *, workspace=None):", "# Z1 = W1 X + b1, (10, 100)",
                 "W1.dot(X, out=Z1)", "Z1 += b1", "dW2 = dZ2.dot(A1.T)", "# dA1 = W2ᵀ dZ2, (10, 100)",
                 "W1 -= lr * dW1", "return loss"]:
        assert line in source, line
    order = [source.index(f" {name}") for name in ("Z1 +=", "A1 =", "Z2 =", "loss =", "dZ2 =", "dW2 =", "dZ1 =",
                                                   "dW1 =", "W1 -=")]
    assert order == sorted(order)


@pytest.mark.parametrize("names", [
    ["np", "lambda", "α β", "1x", "", "a.b.c", "a_b_c"], ["ﬁ", "fi", "workspace", "constants", "step", "match"],
    ["print", "new_workspace", "keep", "zeros", "ones", "classes", "row", "column"],
    ["x" * 200, "x" * 201, "x" * 39 + "é", "É"],
    ["__debug__", "None", "self", "_", "__", "out", "E"], ["W" * 30 + str(k) for k in range(40)]])
def test_names_are_valid_and_different(names):
    states = [tg.State(np.full((3, 300), 1.0 + k), name or None) for k, name in enumerate(names)]

    @compiled
    def step(np_, lr):
        total = np.maximum(sum((np.tanh(s.value) for s in states), np_), 0)
        for s in states:
            s.value = s.value - lr * total
        return np.sum(ops.Keep(total, total > 3))

    total = np.maximum(sum(np.tanh(np.full((3, 300), 1.0 + k)) for k in range(len(names))), 0)
    close(step(np.zeros((3, 300)), 0.5), np.asarray(total[total > 3].sum()), 100)
    assert_written_well(step.source)
    for k, s in enumerate(states):
        close(s.value, 1.0 + k - 0.5 * total)


def test_a_traceback_shows_the_line():
    function, _, (X, t, lr) = documents_step()
    with pytest.raises(ValueError, match="labels") as caught:
        function(X, t + 2, lr)
    text = "".join(traceback.format_exception(caught.value))
    assert "raise ValueError(f\"labels must lie in [0, 2), got {t.min()} to {t.max()}\")" in text
    assert "in step" in text


def test_lines_are_forgotten_with_the_function():
    function = documents_step()[0]
    name = function.last.executable.function.__wrapped__.__code__.co_filename
    assert linecache.getline(name, 1)
    del function
    gc.collect()
    assert not linecache.getline(name, 1)
    assert name in numpy_target._UNUSED["step"]


def test_a_program_that_is_freed_while_linecache_looks_through_its_entries(monkeypatch):
    """As a traceback does at any time, and the garbage collector too."""
    function = documents_step()[0]
    filename = function.last.executable.function.__wrapped__.__code__.co_filename

    class Entries(dict):
        def keys(self):
            nonlocal function
            names = [*super().keys()]
            function = None
            gc.collect()
            return names

    monkeypatch.setattr(linecache, "cache", Entries({filename: linecache.cache[filename]}))
    linecache.checkcache()
    assert not linecache.cache[filename][2]


def test_numbers_stay_numbers_and_types_stay_types():
    f = compiled(lambda x, a, n: (x * (a / n), a - n, -a * 2, n * 3 + 1, x ** n, abs(n), np.exp(a), a / 0.5))
    for dtype in (np.float32, np.float64):
        x = np.ones(3, dtype)
        results = f(x, 0.25, -3)
        assert [type(r) for r in results] == [np.ndarray, float, float, int, np.ndarray, int, np.ndarray, float]
        assert results[0].dtype == results[4].dtype == dtype
        close(list(results[:2]), [x * (0.25 / -3), 3.25])
        assert results[2:4] == (-0.5, -8)
    g = compiled(lambda a: (a / (a - a), np.sqrt(-a) * 2))
    assert g(1.0)[0] == np.inf  # without a warning, in the middle of which an update could end
    assert np.isnan(g(1.0)[1])


def test_constants_of_every_kind_are_written(tmp_path):
    rng = np.random.default_rng(0)
    constants = [np.arange(12).reshape(3, 4), np.arange(4.0), np.full((3, 4), -0.0), np.full((3, 4), np.nan),
                 np.array([[1], [2], [-3]], np.int8), np.array([0.0, -0.0, 0.0, 0.0]), np.zeros((2, 0, 3, 4)),
                 np.array([True, False, True, False]),
                 np.array([np.inf, -np.inf, np.nan, -0.0]), rng.normal(size=(3, 4)), rng.normal(size=(3, 4)) + 1j,
                 np.array([1e-320, 0.1, 1e300, 3.0], np.float64), rng.normal(size=(3, 4)).astype(np.float16),
                 rng.integers(0, 9, (3, 4), np.uint8), np.array(0.1, np.float32), np.full((3, 4), 0.1, np.float32),
                 rng.normal(size=(2000, 3, 4))[::2], np.array([1j, 2, 3, 4])]

    def f(x):
        return [x * c for c in constants]

    x = np.ones((3, 4))
    g = compiled(f)
    with np.errstate(invalid="ignore"):
        for a, b in zip(g(x), f(x), strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b, equal_nan=True)
            assert np.array_equal(np.signbit(a.real), np.signbit(b.real)) or np.isnan(a).any()
    g.export(tmp_path / "f.py")
    module = loaded(tmp_path / "f.py")
    for a, b in zip(module["f"](x), f(x), strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b, equal_nan=True)


# ------------------------------------------------------------------------------------------------------------- export

def loaded(path: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "loaded"}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
    return namespace


ALONE = """
import sys
sys.modules["tinygraph"] = None  # importing it raises
sys.path.insert(0, {folder!r})
import numpy as np, step
given = np.load({file!r})
arrays = [given[name] for name in given.files]
arrays[2] = float(arrays[2])
losses = [step.step(*arrays) for _ in range(3)]
workspace = step.new_workspace()
losses += [step.step(*arrays, workspace=workspace) for _ in range(2)]
np.savez({file!r}, np.array(losses), *arrays[3:])
assert not [name for name in sys.modules if name.startswith(("tinygraph.", "scipy"))]
"""


def test_an_export_needs_numpy_alone(tmp_path):
    function, states, (X, t, lr) = documents_step()
    path, file = tmp_path / "step.py", str(tmp_path / "arrays.npz")
    function.export(path)
    assert [p.name for p in tmp_path.iterdir()] == ["step.py"]
    text = path.read_text(encoding="utf-8")
    assert "tinygraph" not in "".join(line for line in text.splitlines() if "import" in line)
    parameters = [np.array(state.value) for state in states[:4]]
    np.savez(file, X, t, np.array(lr), *parameters)
    command = [sys.executable, "-I", "-W", "error"]
    subprocess.run([*command, "-c", ALONE.format(folder=str(tmp_path), file=file)], check=True, cwd=tmp_path)
    losses = [function(X, t, lr) for _ in range(5)]
    with np.load(file) as found:
        theirs, *arrays = (found[name] for name in found.files)
    close(theirs, np.array(losses))
    for array, state in zip(arrays, states, strict=False):
        close(array, state.value)
    script = subprocess.run([*command, str(path)], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert float(script.stdout) > 0


def test_exports_are_the_same_each_time(tmp_path):
    texts = []
    for name in ("a.py", "b.py"):
        function = documents_step()[0]
        function.export(tmp_path / name)
        function.export(tmp_path / name)
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    assert function.source in texts[0]
    assert_written_well(texts[0])


def test_every_kind_of_argument_has_an_example(tmp_path):
    state = tg.State(np.array(1.0, np.float32), "s")

    @compiled
    def f(a, b, c, d, e):
        state.value = state.value + 1
        return a + b, c + d, e, state.value

    f(np.float32(1), 2, np.ones((2, 3), np.float32), np.arange(3), np.array([True]))
    f.export(tmp_path / "f.py")
    subprocess.run([sys.executable, "-I", "-W", "error", str(tmp_path / "f.py")], check=True, capture_output=True)


def test_a_failed_export_leaves_nothing(tmp_path):
    function = documents_step()[0]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        function.export(tmp_path / "folder")
    with pytest.raises(OSError, match="nowhere"):
        function.export(tmp_path / "nowhere" / "step.py")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_explain_tells_the_memory_of_a_call():
    function = documents_step()[0]
    shared, alone = function.last.executable.memory
    assert f"workspace of {shared:,} bytes, {alone:,} if no two results shared memory" in function.explain()


# ------------------------------------------------------------------------------------------------------------ buffers

@st.composite
def steps(draw: Any) -> list[buffers.Step]:
    """Straight-line code over values 0, 1, 2, ..."""
    found: list[buffers.Step] = []
    for n in range(draw(st.integers(1, 30))):
        reads = draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True)) if n else []
        found.append(buffers.Step(n, reads, draw(st.permutations(reads))[:2]))
    return found


@given(steps=steps(), data=st.data(), many=st.sampled_from([0, 500]))
def test_memory_is_handed_on_only_when_nobody_needs_it(steps, data, many):
    count = len(steps)
    kinds = {n: data.draw(st.integers(0, 2)) for n in range(count)}
    sizes = {n: data.draw(st.sampled_from([0, 1, 64, 100, 4096])) for n in range(count)}
    held = data.draw(st.sets(st.integers(0, count - 1)))
    owner = buffers.owners(steps, kinds, held)
    intervals = buffers.lifetimes(steps, owner, held)
    pooled = buffers.pooled(kinds, intervals)
    place = {n: pooled[owner[n]] for n in range(count)}
    assert all(kinds[place[n]] == kinds[n] for n in range(count))
    memory: dict[Any, int] = {}  # who was written there last
    for n, step in enumerate(steps):
        for x in step.reads:
            assert memory[place[x]] == x, "what is read is still there"
        if any(place[x] == place[n] for x in step.reads):
            assert any(place[x] == place[n] for x in step.overwrites)
        memory[place[n]] = n
    assert all(memory[place[x]] == x for x in held)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffers, "MANY", many)
        offsets, total = buffers.arena(sizes, intervals)
    owners = [x for x in intervals if sizes[x]]
    for x in owners:
        assert offsets[x] % 64 == 0
        assert offsets[x] + sizes[x] <= total
        for y in owners:
            (a, b), (c, d) = intervals[x], intervals[y]
            if x != y and a <= d and c <= b:
                assert offsets[x] + sizes[x] <= offsets[y] or offsets[y] + sizes[y] <= offsets[x]
    rounded = {x: -(-sizes[x] // 64) * 64 for x in owners}
    together = [sum(rounded[x] for x in owners if intervals[x][0] <= n <= intervals[x][1]) for n in range(count + 1)]
    assert max(together, default=0) <= total <= sum(rounded.values())


@pytest.mark.parametrize("count", [100, 1000])
def test_an_arena_fits_what_comes_and_goes_into_the_largest_at_once(count):
    intervals = {n: (n, n + 3) for n in range(count)}
    offsets, total = buffers.arena(dict.fromkeys(range(count), 128), intervals)
    assert total == 4 * 128
    assert len(set(offsets.values())) == 4
