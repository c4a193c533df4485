"""The NumPy target: source that reads like a person's, runs as it stands, and shares no memory it should not share.

That it computes the right numbers is tested beside the native target, in test_compile.py.
"""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import classifier
from tinygraph.compile.numpy_target import build
from tinygraph.compile.passes import optimized
from tinygraph.op import Primitive

from .cases import CASES
from .test_passes import assert_same, programs, values_for


def network(units=(2, 10, 2), n=50, seed=0):
    """A training step of the documents' network, its model and its data."""
    rng = np.random.default_rng(seed)
    model = classifier.NNClassifier(units, rng=seed)

    def step(X, t, lr):
        loss = model.loss_node(X, t)
        loss.backprop()
        for p in model.parameters:
            p.value = p.value - lr * p.grad
        return loss

    return step, model, rng.normal(size=(units[0], n)), rng.integers(0, units[-1], n)


@given(programs(), st.integers(0, 2**20))
def test_random_programs(program, seed):
    """The source computes what the program computes, and writes into no input."""
    inputs, states = values_for(program, seed)
    executable = build(optimized(program)[0])
    given_, own = [np.array(x) for x in inputs], [np.array(x) for x in states]
    with np.errstate(all="ignore"):
        outputs = executable.run(inputs, own)
        expected = program.run(inputs, states)
    for x, before in zip(inputs, given_, strict=True):
        np.testing.assert_array_equal(x, before)
    updated = [own[program.states.index(state)] for state, _ in program.updates]
    for var, a, b in zip(program.results, [*outputs, *updated], [*expected[0], *expected[1]], strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape) == (var.dtype, var.shape)
    for i, a in enumerate(outputs):
        for b in [*inputs, *own, *outputs[:i], *executable.constants]:
            assert not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.shares_memory(a, b))
    assert all(len(line) <= 120 for line in executable.source.splitlines())


def test_optimized_programs_are_the_same():
    """The check that the random programs above are compared with is the one of the passes."""
    step, _, X, t = network()
    program = tg.compile(step, target="numpy").trace(X, t, 0.1)
    states = [np.random.default_rng(1).normal(size=x.shape) for x in program.states]
    assert_same(program, optimized(program)[0], [X, t, 0.1], states)


def test_the_source_has_the_names_of_the_model():
    step, _, X, t = network()
    compiled = tg.compile(step, target="numpy")
    compiled(X, t, 0.1)
    for part in ("W1.dot(X", "Z1 += b1", "# A1 = max(Z1, 0)", "dZ2.dot(A1.T)", "W1 -= lr * dW1", "return loss"):
        assert part in compiled.source


def test_two_traces_print_the_same():
    sources = []
    for _ in range(2):
        step, _, X, t = network()
        compiled = tg.compile(step, target="numpy")
        compiled(X, t, 0.1)
        sources.append(compiled.source)
    assert sources[0] == sources[1]


@pytest.mark.parametrize("units", [(2, 10, 2), (20, 30, 10)])
def test_an_exported_module_needs_numpy_alone(units, tmp_path):
    step, model, X, t = network(units)
    start = [np.array(p.value) for p in model.parameters]
    compiled = tg.compile(step, target="numpy")
    loss = compiled(X, t, 0.1)
    compiled.export(tmp_path / "step.py")
    np.savez(tmp_path / "data.npz", X=X, t=t, **{p.name: a for p, a in zip(model.parameters, start, strict=True)})
    names = ", ".join(p.name for p in model.parameters)
    (tmp_path / "use.py").write_text(f"""
import sys
sys.path.insert(0, {os.fspath(tmp_path)!r})
sys.modules["tinygraph"] = None  # importing it fails
import numpy as np
from step import step
data = np.load({os.fspath(tmp_path / "data.npz")!r})
X, t, {names} = (data[name].copy() for name in ["X", "t", *{[p.name for p in model.parameters]!r}])
loss = step(X, t, 0.1, {names})
print(float(loss).hex(), *[float(a.sum()).hex() for a in ({names})])
""")
    done = subprocess.run([sys.executable, "-I", tmp_path / "use.py"], capture_output=True, text=True, check=True)
    found = [float.fromhex(x) for x in done.stdout.split()]
    np.testing.assert_allclose(found, [loss, *[p.value.sum() for p in model.parameters]], rtol=1e-12)
    assert subprocess.run([sys.executable, tmp_path / "step.py"], capture_output=True, check=True).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["data.npz", "step.py", "use.py"]


def test_an_op_of_a_user_runs_and_is_not_exported(tmp_path):
    class Triple(Primitive):
        def forward(self, x):
            return 3 * x

        def backward(self, grad, y, x):
            return 3 * grad

    compiled = tg.compile(tg.value_and_grad(lambda x: np.sum(Triple(x) * x)), target="numpy")
    value, slope = compiled(np.array([1.0, 2.0]))
    assert value == 15
    np.testing.assert_array_equal(slope, [6.0, 12.0])
    with pytest.raises(ValueError, match="Triple"):
        compiled.export(tmp_path / "step.py")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.op.__name__}-{n}") for n, case in enumerate(CASES)
                                  if not any("array" in repr(value) for value in case.options.values())])
def test_every_op_is_written_in_numpy(case):
    """None is left to its own forward, which could not be exported."""
    inputs = case.arrays(np.float64)
    compiled = tg.compile(lambda *x: case.op(*x, **case.options), target="numpy")
    compiled(*inputs)
    assert not compiled.last.executable.objects


def test_threads_do_not_share_workspaces():
    """The same function at once in four threads, large enough to be interrupted."""
    compiled = tg.compile(tg.value_and_grad(lambda x, k: np.sum(np.tanh(x * k) ** 2)), target="numpy")
    x = np.linspace(-1, 1, 20_000)
    wanted = {k: compiled(x, k) for k in (0.5, 1.0, 2.0, 3.0)}
    wrong = []

    def work(k):
        for _ in range(100):
            value, slope = compiled(x, k)
            if value != wanted[k][0] or not np.array_equal(slope, wanted[k][1]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_labels_are_checked_before_anything_is_written():
    step, model, X, t = network()
    compiled = tg.compile(step, target="numpy")
    compiled(X, t, 0.1)
    before = [np.array(p.value) for p in model.parameters]
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got 0 to 7"):
        compiled(X, np.where(np.arange(len(t)) == 3, 7, t), 0.1)
    for p, array in zip(model.parameters, before, strict=True):
        np.testing.assert_array_equal(p.value, array)


def test_tracebacks_show_the_line():
    compiled = tg.compile(lambda x: np.linalg.norm(x) if x is None else np.sqrt(x), target="numpy")
    compiled(np.ones(3))
    import linecache

    filename = compiled.last.executable.function.__wrapped__.__code__.co_filename
    assert "np.sqrt" in "".join(linecache.getlines(filename))
