"""The tape and the sweep: order, what may be asked for, whose memory a gradient is, what is freed and when, and that a
branch not taken contributes nothing. At the end random graphs, beside the naive engine of `naive.py`.
"""

import contextlib
import gc
import inspect
import itertools
import operator
import sys
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import tinygraph as tg

from . import naive

# --------------------------------------------------------------------------------------------------------------- graphs


class Softmax(tg.Op):
    """With a rule and a kept value."""

    def forward(self, x):
        e = np.exp(x - np.max(x))
        return e / np.sum(e), e

    def backward(self, grad, y, x, e):
        p = e / np.sum(e)
        return p * (grad - np.sum(grad * p))


class Energy(tg.Op):
    """Without a rule."""

    def forward(self, x, y):
        return np.sum(x * x * np.exp(y))


class Largest(tg.Op):
    """Of any number of inputs."""

    def forward(self, *xs):
        best = xs[0]
        for x in xs[1:]:
            best = np.maximum(best, x)
        return best

    def backward(self, grad, y, *xs):
        return tuple(lambda x=x: grad * (x == y) for x in xs)


def everything(w, x):
    """A loss of w (3, 3) and x (3,) in which every kind of op stands: shared nodes, views, broadcasting, both ways of
    selecting, a kept value, an op without a rule, one of any number of inputs, integers and constants."""
    h = np.tanh(w @ x + 0.5) * x
    rows = np.stack([h, x[::-1], np.broadcast_to(x.sum(), (3,))])
    y = np.where(rows > 0.2, rows * rows, np.sqrt(np.abs(rows) + 1)) @ w.T.reshape(9)[:3]
    labels = np.array([2, 0, 1])
    z = tg.ops.AddBias(w[[0, 0, 2]], x) + w[:, 1:2]
    return (Energy(Softmax(y), y[0]) + tg.ops.LogSoftmaxNLL(z, labels) + Largest(h, x, y).mean() + tg.ops.ReLU(y).max()
            + np.copy(y).sum() + y.astype(np.float32).sum() + np.concatenate([h, y * 1]).min())


def arguments():
    rng = np.random.default_rng(3)
    return rng.normal(size=(3, 3)), rng.normal(size=3)


def everything_with_parameters():
    w, x = (tg.Parameter(array, name) for array, name in zip(arguments(), "wx", strict=True))
    return everything(w, x), w, x


def chain(x, length):
    for _ in range(length):
        x = x + 1.0
    return x


# ---------------------------------------------------------------------------------------------------------------- order

def test_every_node_once_and_inputs_first():
    loss, *_ = everything_with_parameters()
    nodes = list(tg.Tape(loss))
    assert len(set(nodes)) == len(nodes) == len(tg.Tape(loss))
    assert nodes[-1] is loss
    position = {node: i for i, node in enumerate(nodes)}
    for node in nodes:
        for other in node.inputs:
            assert not isinstance(other, tg.Node) or position[other] < position[node]
    assert sum(node.shape == (3, 3) and not node.inputs for node in nodes) == 1  # w, used five times


def test_a_tape_of_several_outputs():
    x = tg.constant(2.0)
    a = x * 3
    b = a + 1
    c = x - 1
    assert list(tg.Tape(c, a, b, a)) == [x, a, b, c]
    assert list(tg.Tape(x)) == [x]


def test_a_tape_stops_where_it_is_told_to():
    x = tg.constant(2.0)
    a = x * 3
    b = a + 1
    assert list(tg.Tape(b, until=[a])) == [a, b]


def test_the_size_of_a_tape_is_linear_in_a_ladder_of_diamonds():
    x = y = tg.Parameter(1.0)
    for _ in range(200):
        y = y * 0.5 + y * 0.5  # 2 ** 200 paths
    assert len(tg.Tape(y)) == 601
    y.backprop()
    assert x.grad == 1


def test_a_diamond_and_a_shared_input():
    x = tg.Parameter(3.0)
    y = x * x
    (y * y + y * x).backprop()  # x⁴ + x³
    assert x.grad == 4 * 27 + 3 * 9


def test_print_shows_one_line_a_node():
    x = tg.Parameter(np.ones((2, 3)), "X")
    loss = np.max(np.sum(np.where(x > 0, x * 2.0, np.zeros(3)), axis=0, keepdims=True))
    assert str(tg.Tape(loss)) == "\n".join([
        "%0  Parameter X                     (2, 3)  float64",
        "%1  Greater(%0, 0)                  (2, 3)  bool",
        "%2  Multiply(%0, 2.0)               (2, 3)  float64",
        "%3  Where(%1, %2, array(3,))        (2, 3)  float64",
        "%4  Sum(%3, axis=0, keepdims=True)  (1, 3)  float64",
        "%5  Max(%4)                         ()      float64",
    ])


@contextlib.contextmanager
def little_recursion():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 60)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def test_a_deep_chain_needs_no_recursion():
    x = tg.Parameter(1.0)
    with little_recursion():
        y = chain(x, 200_000)
        assert len(tg.Tape(y)) == 200_001
        y.backprop()
        del y
    assert x.grad == 1


def test_a_deep_chain_of_other_ops_needs_no_recursion():
    x = tg.Parameter(np.ones(2))
    y = x
    with little_recursion():
        for _ in range(2000):
            y = tg.ops.ReLU(np.tanh(y[::-1]) + y)
        assert len(str(tg.Tape(y)).splitlines()) == 8001
        (grad,) = tg.backprop(y.sum() * 1e-3, wrt=[x], traced=True)
        assert tg.backprop(grad.sum(), wrt=x).shape == (2,)
        del y, grad


def test_a_chain_of_derived_ops_takes_linear_time():
    """Deriving a backward must not look at the whole history of its inputs."""
    class Product(tg.Op):
        def forward(self, x, z):
            return x * z

    visited = 0

    class Counting(tg.Op):
        """Counts how often it is traced."""

        def forward(self, z):
            nonlocal visited
            visited += 1
            return z * 1.0

    p = y = tg.Parameter(np.ones(2))
    z = tg.constant(np.ones(2))
    for _ in range(50):
        z = Counting(z)
        y = Product(y, z)
    np.testing.assert_array_equal(tg.backprop(y.sum(), wrt=p), [1, 1])
    assert visited == 50


# ---------------------------------------------------------------------------------------------------- what is asked for

def test_one_node_or_a_list_of_nodes():
    x, y = tg.Parameter(2.0), tg.Parameter(5.0)
    loss = x * y
    single = tg.backprop(loss, wrt=x)
    assert type(single) is np.ndarray
    assert single == 5
    assert tg.backprop(loss, wrt=[y, x]) == [2, 5]
    assert tg.backprop(loss, wrt=(y,)) == [2]
    assert tg.backprop(loss, wrt=[]) == []
    assert tg.backprop(loss, wrt=iter([x])) == [5]
    assert x.grad is y.grad is None


def test_intermediate_nodes_and_what_depends_on_them():
    x = tg.Parameter(np.array([1.0, 2.0]))
    y = x * x
    z = y * 3
    loss = (z * y).sum()  # 3 x⁴
    for nodes in ([x, y, z, loss], [loss, z, x, y], [y, x], [z]):
        expected = {x: 12 * x.value**3, y: 6 * y.value, z: y.value, loss: np.array(1.0)}
        for node, grad in zip(nodes, tg.backprop(loss, wrt=nodes), strict=True):
            np.testing.assert_array_equal(grad, expected[node], strict=True)
        for node, grad in zip(nodes, tg.backprop(loss, wrt=nodes, traced=True), strict=True):
            np.testing.assert_array_equal(grad.value, expected[node], strict=True)


def test_duplicates_get_an_array_each():
    x = tg.Parameter(np.ones(2))
    y = x * 3
    first, second, third, fourth = tg.backprop(y.sum(), wrt=[x, y, x, y])
    first[:] = third[:] = 0
    np.testing.assert_array_equal(second, [1, 1])
    np.testing.assert_array_equal(fourth, [1, 1])
    np.testing.assert_array_equal(tg.backprop(y.sum(), wrt=[x, x]), [[3, 3], [3, 3]])


@pytest.mark.parametrize("traced", [False, True], ids=["arrays", "traced"])
def test_what_the_loss_does_not_depend_on_gets_zeros(traced):
    x, other = tg.Parameter(np.ones(2)), tg.Parameter(np.ones((2, 3), np.float32))
    side = x * 2
    for node in (other, side, tg.constant(np.ones(3)), x > 0.5):
        if node.dtype == bool:
            with pytest.raises(TypeError, match=r"wrt\[0\], Greater \(2,\) bool, has no gradient"):
                tg.backprop((x * x).sum(), wrt=[node], traced=traced)
            continue
        grad = tg.backprop((x * x).sum(), wrt=node, traced=traced)
        assert isinstance(grad, tg.Node) is traced
        np.testing.assert_array_equal(grad.value if traced else grad, np.zeros(node.shape, node.dtype), strict=True)


def test_a_constant_may_be_asked_for():
    c = tg.constant(3.0)
    assert tg.backprop(c * c, wrt=c) == 6
    second = tg.backprop(tg.backprop(c**3, wrt=c, traced=True), wrt=c)
    assert second == 18


def test_through_a_comparison_no_gradient_flows():
    p = tg.Parameter(np.array([1.0, 3.0]))
    loss = (np.where(p > 2, 1.0, 0.0) * p).sum()
    loss.backprop()
    np.testing.assert_array_equal(p.grad, [0, 1])
    np.testing.assert_array_equal(tg.backprop(np.where(p > 2, 1.0, 0.0).sum(), wrt=p), [0, 0])


def test_traced_gradients_are_a_graph():
    x = tg.Parameter(np.array([1.0, 2.0]))
    loss = (x**4).sum()
    (first,) = tg.backprop(loss, wrt=[x], traced=True)
    (second,) = tg.backprop(first.sum(), wrt=[x], traced=True)
    (third,) = tg.backprop(second.sum(), wrt=[x], traced=True)
    np.testing.assert_array_equal(first.value, 4 * x.value**3)
    np.testing.assert_array_equal(second.value, 12 * x.value**2)
    np.testing.assert_array_equal(third.value, 24 * x.value)
    assert x.grad is None
    (first * first).sum().backprop()  # a loss that contains a gradient: 16 x⁶
    np.testing.assert_array_equal(x.grad, 96 * x.value**5)
    assert {type(node).__name__ for node in tg.Tape(first)} >= {"Version", "Power", "Multiply"}


def test_a_gradient_may_be_traced_with_respect_to_a_node_that_it_does_not_contain():
    x = tg.Parameter(2.0)
    slope = tg.backprop(x * 3, wrt=x, traced=True)
    assert slope.item() == 3
    assert tg.backprop(slope * x, wrt=x) == 3
    assert tg.backprop(slope, wrt=x) == 0


def test_grad_is_what_to_multiply_by():
    x = tg.Parameter(np.array([1.0, 2.0], np.float32))
    y = x * x
    seed = np.array([10.0, 1.0])
    np.testing.assert_array_equal(tg.backprop(y, wrt=x, grad=seed), np.array([20, 4], np.float32), strict=True)
    np.testing.assert_array_equal(tg.backprop(y, wrt=x, grad=[1, 0]), np.array([2, 0], np.float32), strict=True)
    np.testing.assert_array_equal(tg.backprop(y, wrt=y, grad=seed), seed.astype(np.float32), strict=True)
    y.backprop(seed)
    np.testing.assert_array_equal(x.grad, [20, 4])
    assert tg.backprop(y[0], wrt=x, grad=3.0)[0] == 6
    v = tg.Parameter(seed.astype(np.float32))
    product = tg.backprop(y, wrt=x, grad=v, traced=True)  # linear in v: its derivative by v takes a tangent forward
    np.testing.assert_array_equal(tg.backprop(product.sum(), wrt=v), 2 * x.value)


def test_a_loss_of_one_element_may_have_axes():
    x = tg.Parameter(np.array([[3.0]]))
    (x * x).backprop()
    np.testing.assert_array_equal(x.grad, np.array([[6.0]]), strict=True)


def test_accumulation_is_asked_for():
    x = tg.Parameter(np.array([1.0, 2.0]))
    for expected in (2, 2):
        (x * 2).sum().backprop()
        np.testing.assert_array_equal(x.grad, [expected] * 2)
    before = x.grad
    for expected in (5, 8):
        (x * 3).sum().backprop(accumulate=True)
        np.testing.assert_array_equal(x.grad, [expected] * 2)
    np.testing.assert_array_equal(before, [2, 2])  # somebody may hold it
    x.grad = None
    tg.backprop((x * 3).sum(), accumulate=True)
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_an_accumulated_gradient_of_a_number_is_an_array():
    x = tg.Parameter(np.float32(1.0))
    for expected in (3, 6, 9):
        (x * 3).backprop(accumulate=True)
        assert type(x.grad) is np.ndarray
        np.testing.assert_array_equal(x.grad, np.array(expected, np.float32), strict=True)


@pytest.mark.parametrize(("call", "kind", "sentence"), [
    (lambda x: (x * 2).backprop(), ValueError, r"starts from one number, but this is Multiply \(2,\) float64.*grad="),
    (lambda x: (x * 2).backprop(np.ones(3)), ValueError, r"grad= has shape \(3,\), but the output is Multiply \(2,\)"),
    (lambda x: (x > 0).sum().backprop(), TypeError, r"Sum \(\) int64 has no gradient"),
    (lambda x: tg.backprop(x.sum(), traced=True), ValueError, "say with wrt= which gradients"),
    (lambda x: tg.backprop(x.sum(), wrt=x, accumulate=True), ValueError, r"accumulate= is about \.grad"),
    (lambda x: tg.constant(1.0).backprop(), ValueError, r"constant \(\) float64 depends on no Parameter"),
    (lambda x: tg.backprop(x.sum(), wrt=x.value), TypeError, "expected a node, got "),
    (lambda x: tg.backprop(x.sum(), wrt=[x, 1.0]), TypeError, "expected a node, got float"),
    (lambda x: tg.backprop(x.sum(), wrt=[x, tg.constant(1)]), TypeError, r"wrt\[1\], constant \(\) int64, has no"),
    (lambda x: tg.backprop(1.0, wrt=x), TypeError, "expected a node, got float"),
    (lambda x: tg.backprop(x, wrt=x, grad=x), TypeError, r"grad= is a node: ask for traced=True, or give grad\.value"),
    (lambda x: tg.backprop(x, wrt=x, grad="text"), TypeError, "expected numbers"),
    (lambda x: tg.Tape(x, 1.0), TypeError, "expected a node, got float"),
], ids=str.split("vector seed integers traced accumulate constant array number counter loss node text tape"))
def test_what_cannot_be_asked_for(call, kind, sentence):
    x = tg.Parameter(np.ones(2))
    with pytest.raises(kind, match=sentence):
        call(x)
    assert x.grad is None


# --------------------------------------------------------------------------------------------------- whose memory it is

def parameters(*shapes):
    return [tg.Parameter(np.arange(1.0, 1 + np.prod(shape)).reshape(shape)) for shape in shapes]


HARMLESS = {  # losses whose rules pass their gradient on as it is, or as a view of it
    "identity": lambda x, y: np.copy(x),
    "sum": lambda x, y: x.sum(),
    "sum of two": lambda x, y: x + y,
    "the same twice": lambda x, y: x + x,
    "a chain": lambda x, y: np.copy(np.copy(x)) + y,
    "reshape": lambda x, y: x.reshape(9) + y.reshape(9),
    "transpose": lambda x, y: x.T + y,
    "swapaxes": lambda x, y: np.swapaxes(x, 0, 1) + y.T,
    "slices": lambda x, y: x[1:, ::-1] + y[:2],
    "row by row": lambda x, y: x[0] + y[1] + x[2],
    "an index": lambda x, y: x[[0, 0, 1]] + y,
    "new axis": lambda x, y: x[None] + y[:, None],
    "broadcast": lambda x, y: np.broadcast_to(x, (2, 3, 3)) + y,
    "concatenate": lambda x, y: np.concatenate([x, y, x]),
    "stack": lambda x, y: np.stack([x, y]),
    "expand": lambda x, y: np.expand_dims(x, 1),
    "mean": lambda x, y: x.mean(0) + y.mean(1),
    "max": lambda x, y: x.max(axis=0) + y.min(),
    "bias": lambda x, y: tg.ops.AddBias(x, y[0]),
    "branches": lambda x, y: np.where(x > 4, x, y),
    "selection": lambda x, y: np.maximum(x, y),
    "clamp": lambda x, y: tg.ops.ReLU(x) + tg.ops.ReLU(y),
    "cast": lambda x, y: x.astype(np.float64) + y,
    "difference": lambda x, y: x - y,
    "matmul": lambda x, y: x @ y,
    "nothing": lambda x, y: x,
}


@pytest.mark.parametrize("f", HARMLESS.values(), ids=HARMLESS)
def test_a_gradient_is_writable_and_shares_memory_with_nothing(f):
    x, y = parameters((3, 3), (3, 3))
    z = x * 1.0
    output = f(z, y)
    seed = np.ones(output.shape)
    sweeps = [tg.backprop(output, wrt=nodes, grad=seed) for nodes in ([x, y], [z, y, output, x], [x, x, z])]
    output.backprop(seed)
    grads = [*itertools.chain(*sweeps), *[p.grad for p in (x, y) if p.grad is not None]]
    arrays = [seed, *[np.asarray(node.value) for node in tg.Tape(output)]]
    for grad in grads:
        assert type(grad) is np.ndarray
        assert grad.flags.writeable
        assert not any(np.shares_memory(grad, array) for array in arrays)
        assert 0 not in grad.strides  # nor do its entries share any with each other
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(grads, 2))


def test_the_gradient_of_a_number_is_an_array_too():
    x = tg.Parameter(2.0)
    y = x * x
    for grad in (*tg.backprop(y, wrt=[x, y]), tg.backprop(x, wrt=x)):
        assert type(grad) is np.ndarray
        assert grad.shape == ()
        grad[...] = 5
    y.backprop()
    x.grad[...] = 7


def test_a_sweep_changes_nothing_and_can_be_repeated():
    w, x = arguments()
    given = [w, x, w[::-1], np.asfortranarray(w)]
    before = [array.copy() for array in given]
    a, b = tg.Parameter(w), tg.constant(x)
    loss = everything(a, b) + (a * given[2]).sum() + (b @ given[3]).sum()
    tape = tg.Tape(loss)
    values = [node.value.copy() for node in tape]

    def sweeps():
        first = tg.backprop(loss, wrt=[a, b])
        traced = tg.backprop(loss, wrt=[a, b], traced=True)
        second = tg.backprop((traced[0] * traced[0]).sum(), wrt=[a, b])
        loss.backprop()
        return [*first, *[node.value.copy() for node in traced], *second, a.grad]

    for one, two in zip(sweeps(), sweeps(), strict=True):
        np.testing.assert_array_equal(one, two, strict=True)
    for array, copy in zip([*given, *[node.value for node in tape]], [*before, *values], strict=True):
        np.testing.assert_array_equal(array, copy, strict=True)


def test_a_gradient_that_a_rule_hands_out_is_not_added_to_in_place():
    """The rule returns an array that it keeps; more gradients of the same input arrive afterwards."""
    held = np.ones(3)

    class Holder(tg.Op):
        def forward(self, x):
            return x * 1

        def backward(self, grad, y, x):
            return held

    x = tg.Parameter(np.ones(3))
    y = x * 1
    (Holder(y) + Holder(y) + y + y[0] + Holder(y)).sum().backprop()
    np.testing.assert_array_equal(held, 1)
    np.testing.assert_array_equal(x.grad, [7, 4, 4])
    assert not np.shares_memory(x.grad, held)


def test_the_seed_is_not_written_to():
    x = tg.Parameter(np.ones(3))
    seed = np.arange(3.0)
    y = x * 1
    for output in (y + y, y + y[0], y + x, y):
        tg.backprop(output, wrt=[x, y], grad=seed)
        np.testing.assert_array_equal(seed, [0, 1, 2])


# -------------------------------------------------------------------------------------------------- what is freed, when

@contextlib.contextmanager
def no_garbage_collector():
    """Within it what is counted is new: what other tests left is set aside, or counting would take seconds."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


def count_nodes():
    return sum(isinstance(thing, tg.Node) for thing in gc.get_objects())


@pytest.mark.parametrize("use", [
    lambda w, x: everything(w, x),
    lambda w, x: everything(w, x).backprop(),
    lambda w, x: tg.backprop(everything(w, x), wrt=[x, w]),
    lambda w, x: tg.backprop(everything(w, x), wrt=[x, w], traced=True),
    lambda w, x: tg.backprop(tg.backprop(everything(w, x), wrt=w, traced=True).sum(), wrt=x),
    lambda w, x: str(tg.Tape(everything(w, x))),
    lambda w, x: tg.grad(everything)(w.value, x.value),
    lambda w, x: tg.grad(lambda x: tg.grad(everything)(w, x).sum())(x.value),
    lambda w, x: tg.jvp(everything, (w.value, x.value), (w.value, x.value)),
    lambda w, x: tg.vjp(everything, w.value, x.value)[1](1.0),
    lambda w, x: chain(x, 10_000),
], ids=["forward", "backprop", "wrt", "traced", "second order", "print", "grad", "mixed", "jvp", "vjp", "chain"])
def test_reference_counts_alone_free_a_graph(use):
    with no_garbage_collector():
        w, x = (tg.Parameter(array) for array in arguments())
        before = count_nodes()
        use(w, x)
        assert count_nodes() == before
        del w, x
        assert count_nodes() == before - 4  # two parameters and the version of each


def test_an_assignment_frees_the_old_value():
    with no_garbage_collector():
        p = tg.Parameter(np.ones(3))
        before = count_nodes()
        for _ in range(10):
            (p * p).sum().backprop()
            p.value = p.value - 0.1 * p.grad
        assert count_nodes() == before


def test_a_graph_does_not_keep_its_parameters_alive():
    """The edges point from a node to its inputs; a version knows its state weakly."""
    p = tg.Parameter(np.ones(3))
    alive = weakref.ref(p)
    loss = (p * p).sum()
    del p
    assert alive() is None
    with pytest.raises(ValueError, match="depends on no Parameter"):
        loss.backprop()


@contextlib.contextmanager
def traced_memory():
    """Yields a function that says how many bytes are in use, and at most were since it was last called."""
    gc.collect()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]

        def used():
            now, peak = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            return now - start, peak - start

        yield used
    finally:
        tracemalloc.stop()


def test_memory_returns_to_where_it_was():
    p = tg.Parameter(np.ones((100, 100)))

    def step():
        y = p
        for _ in range(20):
            y = np.tanh(y @ p) + y
        y.sum().backprop()

    with no_garbage_collector(), traced_memory() as used:
        step()  # what is made only once is made
        before, _ = used()
        step()
        after, peak = used()
    assert peak - before > 40 * p.value.nbytes  # the test measures what it means to
    assert after - before < 5_000  # the gradient replaced another one


@pytest.mark.parametrize("wrt", [False, True], ids=["backprop", "wrt"])
def test_backprop_holds_one_layer_of_gradients_at_a_time(wrt):
    layers, width, batch = 12, 32, 2000
    rng = np.random.default_rng(0)
    weights = [tg.Parameter(rng.normal(size=(width, width))) for _ in range(layers)]
    biases = [tg.Parameter(np.zeros((width, 1))) for _ in range(layers)]
    z = np.ones((width, batch))
    activation = z.nbytes
    with no_garbage_collector(), traced_memory() as used:
        for w, b in zip(weights, biases, strict=True):
            z = tg.ops.ReLU(tg.ops.AddBias(w @ z, b))
        loss = z.mean()
        forward, _ = used()
        if wrt:
            tg.backprop(loss, wrt=weights + biases)
        else:
            loss.backprop()
        _, peak = used()
        del loss, z
        after, _ = used()
    own = layers * (width * width + width) * 8
    assert forward > 3 * layers * activation  # the test measures what it means to
    assert peak - forward < own + 3 * activation + 50_000  # one layer has three nodes
    assert after < own + 50_000


def test_indexing_in_a_loop_does_not_hold_an_array_of_zeros_each():
    n = 2000
    x = tg.Parameter(np.arange(float(n)))
    with no_garbage_collector(), traced_memory() as used:
        loss = 0.0
        for i in range(n):
            loss = loss + x[i] * i
        forward, _ = used()
        loss.backprop()
        _, peak = used()
    np.testing.assert_array_equal(x.grad, np.arange(n))
    assert peak - forward < n * n * 8 / 20


def test_indexing_makes_one_array_of_zeros_for_all():
    x = tg.Parameter(np.zeros(1_000_000))
    with no_garbage_collector(), traced_memory() as used:
        loss = sum(x[i] for i in range(5))
        forward, _ = used()
        loss.backprop()
        _, peak = used()
    np.testing.assert_array_equal(x.grad[:6], [1, 1, 1, 1, 1, 0])
    assert peak - forward < 2.5 * x.value.nbytes  # and one more to move it; adding arrays of zeros takes three


def test_slices_in_a_loop_cost_no_array_of_zeros_each():
    n, width = 1000, 8
    x = tg.Parameter(np.ones((n, width)))
    with no_garbage_collector(), traced_memory() as used:
        rows = [row * row for row in x]
        loss = np.stack(rows).sum() + x[::2].sum() + x[[0, 0]].sum()
        forward, _ = used()
        loss.backprop()
        _, peak = used()
    expected = np.full((n, width), 2.0)
    expected[::2] += 1
    expected[0] += 2
    np.testing.assert_array_equal(x.grad, expected)
    assert peak - forward < n * x.value.nbytes / 20


# ------------------------------------------------------------------------------------------ branches that are not taken

class OwnSqrt(tg.Op):
    """A square root whose backward is derived."""

    def forward(self, x):
        return np.sqrt(x)


class OwnLog(tg.Op):
    """A logarithm with a rule of its own: not a primitive, but elementwise, as it says."""

    elementwise = True

    def forward(self, x):
        return np.log(x)

    def backward(self, grad, y, x):
        return grad / x


def nth(transform, f, order):
    for _ in range(order):
        f = transform(f)
    return f


def forward_mode(f):
    return lambda x: tg.jvp(f, (x,), (1.0,))[1]


NOT_TAKEN = {  # a function, a point, and its first three derivatives there
    "sqrt": (lambda x: np.where(x > 0, np.sqrt(x), x), 0.0, [1, 0, 0]),
    "sqrt outside": (lambda x: np.where(x > 0, np.sqrt(x), x * x), -1.0, [-2, 2, 0]),
    "log": (lambda x: np.where(x > 0, np.log(x), x), 0.0, [1, 0, 0]),
    "log outside": (lambda x: np.where(x > 0, np.log(x), x), -1.0, [1, 0, 0]),
    "log1p": (lambda x: np.where(x > -1, np.log1p(x), x), -1.0, [1, 0, 0]),
    "divide": (lambda x: np.where(x != 0, 1 / x, 3 * x), 0.0, [3, 0, 0]),
    "sinc": (lambda x: np.where(x != 0, np.sin(x) / x, 1.0), 0.0, [0, 0, 0]),
    "power 1/2": (lambda x: np.where(x > 0, x**0.5, x), 0.0, [1, 0, 0]),
    "power 3/2": (lambda x: np.where(x > 0, x**1.5, x), 0.0, [1, 0, 0]),
    "power 5/2": (lambda x: np.where(x > 0, x**2.5, x), 0.0, [1, 0, 0]),
    "power -1": (lambda x: np.where(x > 0, x**-1.0, x), 0.0, [1, 0, 0]),
    "power of x": (lambda x: np.where(x > 0, x**x, x), 0.0, [1, 0, 0]),
    "power of x outside": (lambda x: np.where(x > 0, x**x, x), -0.5, [1, 0, 0]),
    "exp": (lambda x: np.where(x < 10, np.exp(x), x), 1000.0, [1, 0, 0]),
    "nested": (lambda x: np.where(x > 0, np.sqrt(np.log(x)), x), 0.0, [1, 0, 0]),
    "both sides": (lambda x: np.where(x == 0, 5 * x, np.where(x > 0, np.sqrt(x), np.log(-x))), 0.0, [5, 0, 0]),
    "scaled": (lambda x: 2 * np.where(x > 0, 3 * np.sqrt(x) + 1, x), 0.0, [2, 0, 0]),
    "maximum": (lambda x: np.maximum(np.sqrt(x), x + 1), 0.0, [1, 0, 0]),
    "minimum": (lambda x: np.minimum(np.sqrt(x), x - 1), 0.0, [1, 0, 0]),
    "max": (lambda x: np.max(np.stack([np.sqrt(x), x + 1])), 0.0, [1, 0, 0]),
    "min": (lambda x: np.stack([np.log(x + 1), x * x - 5]).min(), 0.0, [0, 2, 0]),
    "index": (lambda x: np.sqrt(np.stack([x, x + 4]))[1], 0.0, [1 / 4, -1 / 32, 3 / 256]),
    "mask": (lambda x: np.sqrt(np.stack([x, x + 4]))[np.array([False, True])].sum(), 0.0, [1 / 4, -1 / 32, 3 / 256]),
    "ReLU": (lambda x: tg.ops.ReLU(np.sqrt(x) - 1) + x, 0.0, [1, 0, 0]),
    "with a rule": (lambda x: np.where(x > 0, OwnLog(x), x), 0.0, [1, 0, 0]),
    "derived": (lambda x: np.where(x > 0, OwnSqrt(x), x), 0.0, [1, 0, 0]),
    "derived and nested": (lambda x: np.where(x > 0, OwnSqrt(OwnSqrt(x)), x), 0.0, [1, 0, 0]),
    "derived below maximum": (lambda x: np.maximum(OwnSqrt(x), x + 1), 0.0, [1, 0, 0]),
    "a zero that is no branch": (lambda x: np.where(x > 0, (np.sqrt(x) - 1) ** 2 / 2, x), 1.0, [0, 1 / 4, -3 / 8]),
    "the same, derived": (lambda x: np.where(x > 0, (OwnSqrt(x) - 1) ** 2 / 2, x), 1.0, [0, 1 / 4, -3 / 8]),
    "taken": (lambda x: np.where(x > 0, np.sqrt(x), x), 4.0, [1 / 4, -1 / 32, 3 / 256]),
}


@pytest.mark.parametrize("mode", [tg.grad, forward_mode], ids=["reverse", "forward"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("f", "x", "expected"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_a_branch_not_taken_contributes_nothing(f, x, expected, order, mode):
    with np.errstate(all="ignore"):  # the branch is computed all the same
        assert nth(mode, f, order)(x) == pytest.approx(expected[order - 1], rel=1e-12, abs=1e-300)


def test_entries_not_taken_contribute_nothing():
    x = np.array([-1.0, 0.0, 4.0])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(tg.grad(lambda x: np.where(x > 0, np.sqrt(x), x).sum())(x), [1, 1, 0.25])
        np.testing.assert_array_equal(tg.grad(lambda x: np.sqrt(x)[x > 0].sum())(x), [0, 0, 0.25])
        np.testing.assert_array_equal(tg.grad(lambda x: np.sqrt(x)[2])(x), [0, 0, 0.25])
        hessian = tg.hessian(lambda x: np.where(x > 0, np.sqrt(x), x * x).sum())(x)
        np.testing.assert_array_equal(hessian, np.diag([2, 2, -1 / 32]))
        p = tg.Parameter(x)
        np.where(p > 0, OwnLog(p), p).sum().backprop()
        np.testing.assert_array_equal(p.grad, [1, 1, 0.25])


@pytest.mark.parametrize("mode", [tg.grad, forward_mode], ids=["reverse", "forward"])
@pytest.mark.parametrize(("f", "x"), [
    (lambda x: np.sqrt(x) * 0, 0.0),
    (lambda x: np.where(x >= 0, np.sqrt(x) - np.sqrt(x), x), 0.0),
    (lambda x: np.where(x > 0, np.sqrt(x), x), np.nan),
    (lambda x: np.where(x < 0, np.sqrt(x), x), -1.0),
    (lambda x: np.maximum(np.sqrt(x) - np.sqrt(x), -5), 0.0),
    (lambda x: np.sqrt(np.stack([x, x + 1]))[0], -1.0),
], ids=["nothing selects", "infinity less infinity", "nan input", "taken", "maximum", "index"])
def test_a_genuine_nan_still_shows(f, x, mode):
    with np.errstate(all="ignore"):
        derivative = mode(f)(x)
    if np.isnan(x):  # the other branch is taken, with slope 1
        assert derivative == 1
    else:
        assert np.isnan(derivative)


def test_a_branch_not_taken_warns_of_nothing_in_the_sweep():
    """The forward pass warns as NumPy does; the sweep adds no warnings of its own (here a warning is an error)."""
    p = tg.Parameter(np.array([-1.0, 0.0, 4.0]))
    with np.errstate(all="ignore"):
        loss = np.where(p > 0, np.log(p) + 1 / p, p).sum()
    loss.backprop()
    np.testing.assert_array_equal(p.grad, [1, 1, 1 / 4 - 1 / 16])


# -------------------------------------------------------------------------------------------------------------- threads

def test_two_threads_sweep_the_same_graph():
    loss, w, x = everything_with_parameters()
    expected = tg.backprop(loss, wrt=[w, x])
    interval = sys.getswitchinterval()
    barrier = threading.Barrier(2)

    def sweep(_):
        barrier.wait()
        return [tg.backprop(loss, wrt=[w, x]) for _ in range(100)]

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(2) as pool:
            results = list(itertools.chain(*pool.map(sweep, range(2))))
    finally:
        sys.setswitchinterval(interval)
    for grads in results:
        for grad, true in zip(grads, expected, strict=True):
            np.testing.assert_array_equal(grad, true)
    arrays = list(itertools.chain(*results))
    assert len({array.__array_interface__["data"][0] for array in arrays}) == len(arrays)


def test_a_rule_that_is_traced_in_one_thread_does_not_disturb_another():
    """Reading a number is refused while a rule is traced, in the thread that traces it."""
    inside, done = threading.Event(), threading.Event()

    class Slow(tg.Op):
        def forward(self, x):
            if isinstance(x, tg.Node):
                inside.set()
                assert done.wait(10)
            return x * x

    with ThreadPoolExecutor(1) as pool:
        grad = pool.submit(tg.grad(Slow), 3.0)
        assert inside.wait(10)
        assert float(tg.constant(2.0)) == 2
        done.set()
        assert grad.result() == 6


# -------------------------------------------------------------------------------------------------------- random graphs

UNARY = {
    "sin": (np.sin, naive.sin),
    "tanh": (np.tanh, naive.tanh),
    "exp": (lambda x: np.exp(np.sin(x)), lambda x: naive.exp(naive.sin(x))),
    "sqrt": (lambda x: np.sqrt(x * x + 1), lambda x: naive.sqrt(x * x + 1.0)),
    "reciprocal": (lambda x: 1 / (x**2 + 2), lambda x: naive.reciprocal(x * x + 2.0)),
    "ReLU": (lambda x: tg.ops.ReLU(x), lambda x: x * (naive.value(x) > 0)),
    "abs": (lambda x: abs(x), lambda x: x * np.sign(naive.value(x))),
    "where": (lambda x: np.where(x > 0.5, x * x, 3 * x), lambda x: x * x * (naive.value(x) > 0.5)
              + 3.0 * x * (naive.value(x) <= 0.5)),
}
LINEAR = {  # the same for both
    "sum": lambda x: x.sum(),
    "sum over the last": lambda x: x.sum(axis=-1, keepdims=True) if x.ndim else x,
    "mean": lambda x: x.mean(axis=0) if x.ndim else x,
    "transpose": lambda x: x.T,
    "reshape": lambda x: x.reshape(-1),
    "reverse": lambda x: x[::-1] if x.ndim else x,
    "last row": lambda x: x[-1] if x.ndim else x,
    "repeated rows": lambda x: x[np.array([0, 0, -1])] if x.ndim else x,
    "new axis": lambda x: np.expand_dims(x, 0) if x.ndim < 3 else x,
    "broadcast": lambda x: np.broadcast_to(x, (2, *x.shape)) if x.ndim < 3 else x,
}
BINARY = {
    "add": (operator.add, operator.add),
    "subtract": (operator.sub, operator.sub),
    "multiply": (operator.mul, operator.mul),
    "divide": (lambda x, y: x / (y * y + 1), lambda x, y: x * naive.reciprocal(y * y + 1.0)),
    "maximum": (np.maximum, naive.maximum),
}
LEAVES = [(), (3,), (2, 3), (2, 1)]
WHICH = st.integers(0, 1000)  # which of the nodes there are so far


class RandomGraph(RuleBasedStateMachine):
    """Grows a graph in both engines at once; whenever asked, the derivatives of its sum agree.

    Each node is a pair: a node of ours, and a naive dual of duals, which knows the derivatives along the directions of
    the parameters from the beginning.
    """

    @initialize(seed=st.integers(0, 2**32 - 1))
    def leaves(self, seed):
        rng = np.random.default_rng(seed)
        self.parameters, self.directions, self.pairs = [], [], []
        for shape in LEAVES:
            x, v, w = (np.asarray(rng.uniform(-1.5, 1.5, shape)) for _ in range(3))
            self.parameters.append(tg.Parameter(x))
            self.directions.append((v, w))
            self.pairs.append((self.parameters[-1], naive.variable(x, v, w)))

    def pick(self, which):
        return self.pairs[which % len(self.pairs)]

    def grow(self, node, dual):
        if np.max(np.abs(node.value)) < 1e3 and node.size < 200:
            self.pairs.append((node, dual))

    @rule(name=st.sampled_from(list(UNARY)), which=WHICH)
    def unary(self, name, which):
        node, dual = self.pick(which)
        ours, theirs = UNARY[name]
        self.grow(ours(node), theirs(dual))

    @rule(name=st.sampled_from(list(LINEAR)), which=WHICH)
    def linear(self, name, which):
        node, dual = self.pick(which)
        self.grow(LINEAR[name](node), naive.linear(LINEAR[name])(dual))

    @rule(name=st.sampled_from(list(BINARY)), which=WHICH, other=WHICH)
    def binary(self, name, which, other):
        (a, x), (b, y) = self.pick(which), self.pick(other)
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            b, y = b.sum(), naive.linear(np.sum)(y)
        ours, theirs = BINARY[name]
        self.grow(ours(a, b), theirs(x, y))

    @rule(which=WHICH, number=st.sampled_from([2, -0.5, np.float64(3.0), np.array([1.0, -2.0, 0.5])]))
    def number(self, which, number):
        node, dual = self.pick(which)
        if np.ndim(number) and node.ndim and node.shape[-1] not in (1, 3):
            number = 1.5
        self.grow(number * node - number, number * dual - number)

    @rule(which=WHICH)
    def gram(self, which):
        node, dual = self.pick(which)
        if node.ndim == 2:
            self.grow(node @ node.T, dual @ naive.linear(np.transpose)(dual))

    @invariant()
    def derivatives_agree(self):
        if not hasattr(self, "pairs"):
            return
        node, dual = self.pairs[-1]
        weights = np.cos(np.arange(node.size)).reshape(node.shape)  # a plain sum might hide a wrong order of entries
        loss = (node * weights).sum()
        value, along_v, along_w, along_both = (np.sum(part * weights) for part in naive.parts(dual))
        close(loss.item(), value, node.value)
        grads = tg.backprop(loss, wrt=self.parameters)
        for direction, expected in enumerate((along_v, along_w)):
            terms = [grad * d[direction] for grad, d in zip(grads, self.directions, strict=True)]
            close(sum(map(np.sum, terms)), expected, *terms)
        traced = tg.backprop(loss, wrt=self.parameters, traced=True)
        for grad, node in zip(grads, traced, strict=True):
            np.testing.assert_allclose(node.value, grad, rtol=1e-10, atol=1e-10 * (1 + np.max(np.abs(grad))))
        slope = sum((node * v).sum() for node, (v, _) in zip(traced, self.directions, strict=True))
        terms = [grad * w for grad, (_, w) in
                 zip(tg.backprop(slope, wrt=self.parameters), self.directions, strict=True)]
        close(sum(map(np.sum, terms)), along_both, *terms)


def close(actual, expected, *terms):
    """Assert that two sums of these terms agree but for rounding."""
    assert abs(actual - expected) <= 1e-9 * (1 + sum(np.sum(np.abs(term)) for term in terms))


RandomGraph.TestCase.settings = settings(max_examples=settings.default.max_examples, stateful_step_count=15)
TestRandomGraph = RandomGraph.TestCase


def test_a_state_that_changed_is_an_error_only_for_who_asks_for_it():
    x, c = tg.Parameter(np.array(2.0), name="x"), tg.State(np.array(1.0), name="c")
    y = x * c
    c.value = np.array(3.0)
    y = y * c
    assert tg.backprop(y, wrt=x) == 3.0
    with pytest.raises(ValueError, match="State c"):
        tg.backprop(y, wrt=c)


def test_an_op_with_an_integer_output_wants_no_gradient():
    class Whole(tg.Op):
        def forward(self, x):
            return np.floor(x).astype(int)

        def backward(self, grad, y, x):
            return grad * 1

    assert not Whole(tg.Parameter(np.array([1.5]))).needs_grad


def test_a_gradient_has_the_byte_order_of_its_input():
    x = np.ones(3, ">f8")
    assert tg.grad(lambda x: (x + x).sum())(x).dtype == x.dtype
