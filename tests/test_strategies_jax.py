"""Random graphs in the engine and in JAX: the same value and the same gradients, of first and second order."""

import numpy as np
import pytest
from hypothesis import given, settings

import tinygraph as tg
from tinygraph.testing import strategies

jax = pytest.importorskip("jax")


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * (1 + np.max(np.abs(b), initial=0)))


@given(graph=strategies.graphs(smooth=True, max_steps=5))
@settings(max_examples=25)
def test_random_graphs(graph):
    everything = tuple(range(len(graph.inputs)))
    theirs = graph.using(jax.numpy)
    value, grads = tg.value_and_grad(graph, everything)(*graph.inputs)
    expected, expected_grads = jax.value_and_grad(theirs, everything)(*graph.inputs)
    close(value, expected)
    for g, e in zip(grads, expected_grads, strict=True):
        close(g, e)
    ones = [np.ones_like(x) for x in graph.inputs]

    def along(gradients):
        return lambda *xs: sum((g * v).sum() for g, v in zip(gradients(*xs), ones, strict=True))

    second = tg.grad(along(tg.grad(graph, everything)), everything)(*graph.inputs)
    for h, e in zip(second, jax.grad(along(jax.grad(theirs, everything)), everything)(*graph.inputs), strict=True):
        close(h, e)
