"""Tracing and the decorator: what a traced function may do, what is refused and in which words, what is cached, what
becomes of states, and that compiled is eager with other means, on both targets. No target is replaced by a stand-in.
"""

import collections
import contextlib
import gc
import inspect
import itertools
import math
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import ops
from tinygraph.compile import native_target, numpy_target
from tinygraph.compile.passes import optimized
from tinygraph.compile.program import Program
from tinygraph.ops.selection import ARRAY

from .cases import CASES, RANDOM, Case, is_float
from .test_conventions import POINTS, evaluate, expected, named, same, units, zero
from .test_conventions import given as given_by
from .test_passes import run

pytestmark = pytest.mark.usefixtures("private_cache")

TARGETS = ["numpy", "native"]
TOLERANCE = {"d": 1e-11, "f": 2e-5, "e": 2e-2}  # by type code, relative to the largest entry


@pytest.fixture(params=TARGETS)
def target(request: Any) -> str:
    return request.param


def close(actual: Any, expected: Any, scale: float = 1.0) -> None:
    """Assert that two results have the same structure, types, shapes and dtypes, and nearly the same numbers."""
    if isinstance(expected, tuple | list):
        assert type(actual) is type(expected)
        for a, e in zip(actual, expected, strict=True):
            close(a, e, scale)
        return
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        close(list(actual.values()), list(expected.values()), scale)
        return
    actual = actual.value if isinstance(actual, tg.Node) else actual
    expected = expected.value if isinstance(expected, tg.Node) else expected
    if isinstance(expected, str | None | bool):
        assert actual == expected
        return
    assert np.shape(actual) == np.shape(expected)
    assert np.asarray(actual).dtype == np.asarray(expected).dtype
    finite = np.abs(np.asarray(expected)[np.isfinite(expected)])
    tolerance = TOLERANCE.get(np.asarray(expected).dtype.char, 0) * scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * (1 + finite.max(initial=0)))


def counting(f: Callable[..., Any]) -> tuple[Callable[..., Any], list[int]]:
    """f, and a list that grows by an entry each time its Python code runs."""
    calls: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        return f(*args, **options)

    counted.__signature__ = inspect.signature(f)  # type: ignore[attr-defined]
    return counted, calls


def by_op(cases: list[Case]) -> list[Any]:
    """The cases of each op, as the parameters of a test."""
    groups: dict[type, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.op, []).append(case)
    return [pytest.param(group, id=op.__name__) for op, group in groups.items()]


def by_value(case: Case) -> bool:
    """Whether the shape of the result depends on the value of an input: a mask takes out as many entries as it does."""
    return case.op in (ops.Index, ops.ScatterAdd) and any(
        part is ARRAY and np.asarray(x).dtype == bool
        for part, x in zip([p for p in case.options["index"] if p is ARRAY], case.arrays()[1:], strict=True))


# -------------------------------------------------------------------------------------------------------------- outlines
# `run` executes a program as it was traced, before any pass, and asserts for each variable that its shape and dtype are
# what NumPy makes of real arrays.

def forward_and_gradient(case: Case) -> Callable[..., Any]:
    """The value of a case, and its gradients for a cotangent that is not the same everywhere."""
    def f(*inputs: Any) -> Any:
        wrt = [i for i, x in enumerate(inputs) if x.dtype.kind == "f" and not getattr(x._value, "weak", False)] \
            if isinstance(inputs[0], tg.Node) else [i for i, x in enumerate(inputs) if is_float(x)]
        if case.flat or not wrt:
            return case.op.apply(*inputs, **case.options)

        def value(*floats: Any) -> Any:
            given = list(inputs)
            for i, x in zip(wrt, floats, strict=True):
                given[i] = x
            return case.op(*given, **case.options)

        y, pull = tg.vjp(value, *[inputs[i] for i in wrt])
        weights = np.linspace(-1, 1, y.size).reshape(y.shape).astype(y.dtype)
        return [y, *pull(weights)]
    return f


def check_trace(case: Case, inputs: list[Any]) -> None:
    """Each step of the traced program has the shape and dtype that it says, and the results are those of eager."""
    f = forward_and_gradient(case)
    program = tg.compile(f, target="numpy").trace(*inputs)
    got, _ = run(program, [x if var.weak else np.asarray(x) for x, var in zip(inputs, program.inputs, strict=True)], [])
    with np.errstate(all="ignore"):
        eager = f(*map(np.asarray, inputs)) if not any(type(x) in (int, float) for x in inputs) else \
            f(*[tg.constant(x) if isinstance(x, np.ndarray) else x for x in inputs]) if case.flat else \
            forward_with_numbers(case, inputs)
    close([np.asarray(x) for x in got], [np.asarray(getattr(x, "value", x)) for x in
                                         (eager if isinstance(eager, list) else [eager])], 10)


def forward_with_numbers(case: Case, inputs: list[Any]) -> Any:
    """As `forward_and_gradient`, for inputs of which some are Python numbers, which have no dtype to ask for."""
    wrt = [i for i, x in enumerate(inputs) if is_float(x)]

    def value(*floats: Any) -> Any:
        given = list(inputs)
        for i, x in zip(wrt, floats, strict=True):
            given[i] = x
        return case.op(*given, **case.options)

    y, pull = tg.vjp(value, *[inputs[i] for i in wrt])
    return [y, *pull(np.linspace(-1, 1, y.size).reshape(y.shape).astype(y.dtype))]
