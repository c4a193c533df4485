"""The public strategies: what they draw is what they say, and the engine is right on it."""

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import ops
from tinygraph.testing import strategies

from . import naive
from .oracles import complex_step, differences, gradient

OPS = [ops.Tanh, ops.Log, ops.MatMul, ops.Power, ops.LogSoftmaxNLL, ops.LayerNorm, ops.Where, ops.Conv2D]


@given(x=strategies.arrays((2, 3), np.float32, -1, 1, kinks=(0,), margin=0.25))
def test_arrays_keep_to_their_range_and_their_margin(x):
    assert (x.shape, x.dtype) == ((2, 3), np.float32)
    assert ((np.abs(x) >= 0.25) & (np.abs(x) <= 1)).all()


@given(xs=strategies.broadcastable(3))
def test_broadcastable(xs):
    np.broadcast(*xs)


@given(t=strategies.labels(3, 4))
def test_labels(t):
    assert t.dtype == np.int64
    assert set(t.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
@given(data=st.data())
@settings(max_examples=10)
def test_inputs_for_an_op_are_accepted(op, data):
    node = op(*data.draw(strategies.inputs_for(op)))
    assert np.isfinite(node.value).all()


def test_an_op_that_accepts_nothing_is_an_error():
    class Never(tg.Op):
        def forward(self, x):
            raise ValueError("never")

    with pytest.raises(TypeError, match="no inputs were found that Never accepts"):
        strategies.inputs_for(Never)


@given(graph=strategies.graphs(smooth=True))
def test_gradients_of_random_graphs(graph):
    """The engine beside complex step, and at second order beside differences of its own gradient."""
    everything = range(len(graph.inputs))
    grads = tg.grad(graph, everything)(*graph.inputs)
    for g, expected in zip(grads, gradient(complex_step, graph, graph.inputs), strict=True):
        np.testing.assert_allclose(g, expected, rtol=1e-9, atol=1e-9 * (1 + np.abs(expected).max(initial=0)))
    ones = [np.ones_like(x) for x in graph.inputs]

    def slope(*xs):
        return sum(np.sum(g) for g in tg.grad(graph, everything)(*xs))

    second = tg.grad(slope, everything)(*graph.inputs)
    along = sum(np.sum(h) for h in second)
    np.testing.assert_allclose(along, differences(slope, graph.inputs, ones), rtol=1e-5, atol=1e-5 * (1 + abs(along)))


@given(graph=strategies.graphs(smooth=True, max_steps=12), seed=st.integers(0, 2**32 - 1))
def test_random_graphs_in_a_naive_engine(graph, seed):
    rng = np.random.default_rng(seed)
    tangents = [np.asarray(rng.normal(size=x.shape)) for x in graph.inputs]
    expected = graph.using(naive.NAMESPACE)(*map(naive.Dual, graph.inputs, tangents))
    value, tangent = tg.jvp(graph, graph.inputs, tangents)
    scale = 1 + abs(expected.dx)
    np.testing.assert_allclose(value, expected.x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(tangent, expected.dx, rtol=0, atol=1e-8 * scale)
    grads = tg.grad(graph, range(len(graph.inputs)))(*graph.inputs)
    along = sum(np.sum(g * v) for g, v in zip(grads, tangents, strict=True))
    np.testing.assert_allclose(along, expected.dx, rtol=0, atol=1e-8 * scale)


@given(graph=strategies.graphs())
@settings(max_examples=30)
def test_random_graphs_with_kinks_are_the_same_by_every_way(graph):
    everything = range(len(graph.inputs))
    value, grads = tg.value_and_grad(graph, everything)(*graph.inputs)
    np.testing.assert_allclose(value, graph(*graph.inputs))
    compiled = tg.compile(tg.value_and_grad(graph, everything), target="numpy")(*graph.inputs)
    np.testing.assert_allclose(compiled[0], value)
    for a, b in zip(compiled[1], grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@given(graph=strategies.expressions())
@settings(max_examples=20)
def test_what_a_graph_prints_rebuilds_it(graph):
    scope = {"np": np}
    exec(repr(graph).replace("\nf(", "\nresult = f("), scope)
    np.testing.assert_array_equal(scope["result"], graph(*graph.inputs))


@given(network=strategies.networks())
@settings(max_examples=30)
def test_gradients_of_random_networks(network):
    arrays = [p.value.copy() for p in network.parameters]
    network.loss().backprop()

    def loss(*values):
        A = network.X
        for i, name in enumerate([*network.activations, "identity"]):
            A = strategies.ACTIVATIONS[name](A @ values[2 * i] + values[2 * i + 1])
        A = A - np.max(A, -1, keepdims=True)
        chosen = A[np.arange(len(network.t)), network.t]
        return np.mean(np.log(np.sum(np.exp(A), -1)) - chosen)

    np.testing.assert_allclose(network.loss().value, loss(*arrays))
    directions = [np.random.default_rng(0).normal(size=x.shape) for x in arrays]
    slope = sum(np.sum(p.grad * v) for p, v in zip(network.parameters, directions, strict=True))
    h = 1e-6
    ahead, behind = (loss(*[x + s * v for x, v in zip(arrays, directions, strict=True)]) for s in (h, -h))
    assert abs((ahead - behind) / (2 * h) - slope) < 1e-4 * (1 + abs(slope))


def test_graphs_shrink_to_few_lines():
    found = find(strategies.graphs(), lambda graph: "tanh" in graph.source and len(graph.inputs) == 1,
                 settings=settings(database=None, derandomize=True, max_examples=500))
    assert len(found.lines) <= 3
    assert found.inputs[0].size == 1
