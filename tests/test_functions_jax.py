"""Calls of functions beside JAX, which shares nothing with this package: values and gradients, over the same registry.

Whatever JAX has under the same name, and can be called as the registry does, is compared; the usual run takes every
sixth of those calls, the deep one all.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import settings

import tinygraph as tg

from .functions import CALLS, Call
from .test_functions import Problem, outputs

jax = pytest.importorskip("jax")

DEEP = settings.default.max_examples > 1000
MODULES = {"numpy": "numpy", "numpy.linalg": "numpy.linalg", "numpy.fft": "numpy.fft", "scipy.linalg": "scipy.linalg",
           "tinygraph.scipy.linalg": "scipy.linalg", "tinygraph.scipy.special": "scipy.special"}


def counterpart(function: Any) -> Any:
    """What JAX calls a function, or None."""
    if isinstance(function, np.ufunc):
        found = getattr(jax.numpy, function.__name__, None)
        return found or getattr(jax.scipy.special, function.__name__, None)
    module: Any = jax
    for name in MODULES.get(getattr(function, "__module__", ""), "").split("."):
        module = getattr(module, name, None)
    return getattr(module, getattr(function, "__name__", ""), None)


def differentiable(call: Call) -> bool:
    return call.jax is True and call.order > 1 and not call.flat and not call.dynamic and counterpart(call.function)


COMPARED = [call for call in CALLS if differentiable(call)][::1 if DEEP else 6]


def in_jax(problem: Problem) -> Any:
    """Value and gradients by JAX, or None if it does not take this call."""
    theirs = counterpart(problem.call.function)

    def loss(*xs: Any) -> Any:
        found = outputs(problem.call(*problem.given(xs), function=theirs))
        terms = [jax.numpy.sum(y * w) for y, w in zip(found, problem.weights, strict=True) if w is not None]
        return sum(jax.numpy.real(term) for term in terms), found

    try:
        (_, found), grads = jax.value_and_grad(loss, tuple(range(len(problem.primals))), has_aux=True)(*problem.primals)
    except (TypeError, ValueError, NotImplementedError, AttributeError, KeyError, IndexError):
        return None
    same = all(np.shape(y) == e.shape for y, e in zip(found, problem.expected, strict=True))
    return ([np.asarray(y) for y in found], list(grads)) if same else None


@pytest.mark.parametrize("part", range(8))
def test_values_and_gradients(part):
    compared = 0
    for call in COMPARED[part::8]:
        problem = Problem(call)
        if (theirs := in_jax(problem)) is None:
            continue
        compared += 1
        values, grads = theirs
        for ours, y in zip(problem.expected, values, strict=True):
            np.testing.assert_allclose(y, ours, rtol=1e-8, atol=1e-8, err_msg=call.name)
        ours = tg.grad(problem.loss, range(len(problem.primals)))(*problem.primals)
        for a, b in zip(ours, grads, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7 * (1 + np.abs(a).max(initial=0)), err_msg=call.name)
    assert compared >= 0.6 * len(COMPARED[part::8]), "JAX takes most of these calls"
