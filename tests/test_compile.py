"""Tracing and the decorator: what a traced function may do, what is refused and in which words, what is cached, what
becomes of states, and that compiled is eager by other means, on both targets. Nothing here stands in for a target.

`run` (from the tests of the passes) executes a program as it was traced and asserts for each variable that its shape
and dtype are what NumPy makes of real arrays.
"""

import collections
import copy
import gc
import inspect
import itertools
import math
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import ops
from tinygraph.compile import native_target
from tinygraph.compile.formulas import FORMULAS, REDUCERS, SCANS, SPECIAL
from tinygraph.compile.loops import RULES
from tinygraph.compile.passes import optimized
from tinygraph.op import Primitive
from tinygraph.ops.selection import ARRAY
from tinygraph.ops.special import OPS

from .cases import CASES, RANDOM, Case, is_float
from .test_conventions import POINTS, Row, evaluate, expected, named, units, zero
from .test_conventions import given as given_by
from .test_passes import run

pytestmark = pytest.mark.usefixtures("private_cache")

TARGETS = ["numpy", "native"]
TOLERANCE = {"d": 1e-11, "f": 2e-5, "e": 2e-2}  # by type code, relative to the largest entry
DEEP = settings.default.max_examples // 50  # 1, or 40 in the deep profile
AS_DRAWN = [Phase.explicit, Phase.reuse, Phase.generate]  # shrinking would build a thousand libraries


@pytest.fixture(params=TARGETS)
def target(request: Any) -> str:
    return request.param


def close(actual: Any, expected: Any, scale: float = 1.0) -> None:
    """Assert that two results have the same structure, shapes and dtypes, and nearly the same numbers."""
    actual, expected = (x.value if isinstance(x, tg.Node) else x for x in (actual, expected))
    if isinstance(expected, tuple | list):
        assert type(actual) is type(expected)
        for a, e in zip(actual, expected, strict=True):
            close(a, e, scale)
    elif isinstance(expected, dict):
        assert type(actual) is type(expected)
        assert list(actual) == list(expected)
        close(list(actual.values()), list(expected.values()), scale)
    elif isinstance(expected, str | None | bool):
        assert actual == expected
    else:
        a, e = np.asarray(actual), np.asarray(expected)
        assert (a.shape, a.dtype) == (e.shape, e.dtype)
        largest = np.abs(e[np.isfinite(e)]).max(initial=0)
        np.testing.assert_allclose(a, e, rtol=0, atol=TOLERANCE.get(e.dtype.char, 0) * scale * (1 + largest))


def by_op(cases: list[Case]) -> list[Any]:
    """The cases of each op, as the parameters of a test."""
    groups: dict[type, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.op, []).append(case)
    return [pytest.param(group, id=op.__name__) for op, group in groups.items()]


# ------------------------------------------------------------------------------------------------------------- outlines

def value_and_gradients(case: Case) -> Callable[..., Any]:
    """The function of a case's inputs that returns its value, and its gradients for some cotangent."""
    wrt = [i for i, x in enumerate(case.arrays()) if is_float(x)]

    def f(*inputs: Any) -> Any:
        def value(*floats: Any) -> Any:
            given = list(inputs)
            for i, x in zip(wrt, floats, strict=True):
                given[i] = x
            return case.op(*given, **case.options)

        floats = [inputs[i] for i in wrt]
        if case.flat:
            return [value(*floats)]
        y, pull = tg.vjp(value, *floats)
        return [y, *pull(np.linspace(-1, 1, y.size).reshape(y.shape).astype(y.dtype))]
    return f


def check_trace(f: Callable[..., Any], *args: Any) -> None:
    """Each step of the program is what it says it is, and the results are those of eager."""
    program = tg.compile(f).trace(*args)
    args_given = [x for x in args if not isinstance(x, bool)]  # those are part of the signature
    given = [x if var.weak else np.asarray(x) for x, var in zip(args_given, program.inputs, strict=True)]
    with np.errstate(all="ignore"):
        close(run(program, given, [])[0], f(*args), 10)


def in_dtype(cases: Sequence[Case], dtype: Any) -> list[Case]:
    """The cases that work in a dtype."""
    return [case for case in cases if case.half or dtype != np.float16]


def masks(case: Case) -> bool:
    """Whether an index has a mask, so that the shape of the result depends on the value of an input."""
    return ARRAY in case.options.get("index", ()) and any(x.dtype == bool for x in case.arrays()[1:])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("cases", by_op(CASES))
def test_outlines_have_the_shapes_and_dtypes_of_numpy(cases, dtype):
    for case in in_dtype(cases, dtype):
        inputs, f = case.arrays(dtype), value_and_gradients(case)
        floats = [i for i, x in enumerate(inputs) if is_float(x)]

        def of_floats(*given, f=f, inputs=inputs, floats=floats):
            """The other inputs, labels and masks and numbers, from outside."""
            all_ = list(inputs)
            for i, x in zip(floats, given, strict=True):
                all_[i] = x
            return f(*all_)

        check_trace(of_floats, *[inputs[i] for i in floats])
        if not masks(case):
            check_trace(f, *inputs)


@pytest.mark.parametrize("op", [pytest.param(op, id=op.__name__) for op in RANDOM])
@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data())
def test_outlines_of_random_cases(op, data):
    case = data.draw(st.one_of(RANDOM[op]))
    inputs = case.arrays(data.draw(st.sampled_from([np.float16] * case.half + [np.float32, np.float64])))
    if not masks(case):
        check_trace(value_and_gradients(case), *inputs)


PAIRS = [np.bool_, np.int8, np.uint8, np.int32, np.int64, np.uint64, np.float16, np.float32, np.float64, np.complex128]


@pytest.mark.parametrize("f", [np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.less, np.equal,
                               lambda a, b: np.where(a == b, a, b), lambda a, b: np.concatenate([a, b]),
                               lambda a, b: a @ b], ids=[
                                   "add", "subtract", "multiply", "divide", "power", "maximum", "less", "equal",
                                   "where", "concatenate", "matmul"])
def test_dtypes_are_promoted_as_numpy_does(f):
    """Of two arrays, of an array and a Python number from outside, and of an array and one that is an argument."""
    numbers = [(1, "i"), (1.5, "f")]
    for a in PAIRS:
        array = np.ones(3, a)
        others = [np.ones(3, b) for b in PAIRS]
        if isinstance(f, np.ufunc):
            others += [x for x, kind in numbers if not (a is np.uint64 and kind == "f")]
        for b in others:
            try:
                wanted = f(array, b)
            except TypeError:  # as NumPy says of negative booleans
                continue
            if type(b) in (int, float):
                program = tg.compile(lambda x, b=b: f(x, b)).trace(array)
                assert (program.outputs[0].shape, program.outputs[0].dtype) == (wanted.shape, wanted.dtype), (a, b)
            program = tg.compile(f).trace(array, b)
            assert (program.outputs[0].shape, program.outputs[0].dtype) == (wanted.shape, wanted.dtype), (a, b)


# ---------------------------------------------------------------------------------------------- numbers, which are weak

def weak_steps(w, x, rate, t, betas, schedule):
    """Expressions of numbers, as optimizers write them."""
    first, second = betas
    correction = 1 - first**t
    step = -schedule["rate"] / correction * (rate * 2 + 1 / (1 + second)) ** 0.5
    w = w + step * x
    w = w * (1 - rate * schedule["decay"][0]) - abs(-rate) * x / 7
    return w, step, rate**t, t * 2 - 1, -t


def weak_arguments(dtype):
    x = np.linspace(-1, 1, 5, dtype=dtype)
    return np.ones(5, dtype), x, 0.1, 3, (0.9, 0.999), {"rate": 0.01, "decay": [0.05]}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_python_numbers_are_weak(dtype, target):
    args = weak_arguments(dtype)
    compiled = tg.compile(weak_steps, target=target)
    for _ in range(3):
        result = compiled(*args)
        close(result, weak_steps(*args))
        assert result[0].dtype == dtype
        assert [type(x) for x in result[1:]] == [float, float, int, int]
    assert all(x.weak or x.dtype == dtype for x in compiled.program.variables())


def test_nothing_in_a_float32_step_is_wide(target):
    w = tg.Parameter(np.ones((3, 2), np.float32), "w")
    v = tg.State(np.zeros((3, 2), np.float32), "v")
    t = tg.State(np.array(0, np.float32), "t")

    def step(x, labels, rate, beta=0.9):
        loss = ops.LogSoftmaxNLL(ops.GELU(x @ w), labels) + 0.5 * rate * np.mean(w**2) + np.sum(np.maximum(w, 0.25))
        loss.backprop()
        t.value = t.value + 1
        v.value = beta * v.value + (1 - beta) * w.grad
        w.value = w.value - rate * 2 * v.value / (1 - beta**t.value)
        return loss

    compiled = tg.compile(step, target=target)
    for beta in ({}, {"beta": 0.5}):
        loss = compiled(np.ones((4, 3), np.float32), np.array([0, 1, 1, 0]), 0.1, **beta)
        assert loss.dtype == w.value.dtype == v.value.dtype == np.float32
        assert {x.dtype for x in compiled.program.variables() if x.dtype.kind == "f" and not x.weak} == {
            np.dtype(np.float32)}


def test_numpy_scalars_are_strong(target):
    def f(x, scale):
        return x * scale + scale

    x = np.ones(3, np.float32)
    for scale in (np.float64(0.1), np.array(0.1), np.float32(0.1), np.int64(3), 0.1, 3):
        compiled = tg.compile(f, target=target)
        for _ in range(2):
            close(compiled(x, scale), f(x, scale))
        outside = tg.compile(lambda x, scale=scale: f(x, scale), target=target)
        close(outside(x), f(x, scale))


def test_a_numpy_function_of_a_number_is_an_array_of_its_own(target):
    def f(x, rate):
        return x * np.exp(rate), x * np.square(rate), x * rate**2, x * np.sqrt(np.abs(rate))

    x = np.ones(3, np.float32)
    compiled = tg.compile(f, target=target)
    for _ in range(2):
        close(compiled(x, 0.5), f(x, 0.5))


@pytest.mark.parametrize("f", [lambda x: x * x, tg.grad(lambda x: x * np.sin(x)), tg.grad(lambda x: x * x),
                               tg.hessian(lambda x: x**3), tg.value_and_grad(lambda x: 2 / x)],
                         ids=["value", "of two", "of a square", "hessian", "both"])
def test_a_function_of_a_number_returns_numbers(f, target):
    compiled = tg.compile(f, target=target)
    for _ in range(2):
        result, wanted = compiled(1.5), f(1.5)
        close(result, wanted)
        assert [type(x) for x in np.atleast_1d(np.array(result, object))] == [
            type(x) for x in np.atleast_1d(np.array(wanted, object))]


# ------------------------------------------------------------------------------------------------------------- refusals

def line_of(f: Callable[..., Any]) -> int:
    """Where the source of a function says `# here`."""
    lines, first = inspect.getsourcelines(f)
    return next(first + n for n, line in enumerate(lines) if "# here" in line)


def an_if(x):
    y = x * 2
    if y > 0:  # here
        return y
    return -y


def a_while(x):
    while x < 10:  # here
        x = x * 2
    return x


def a_conditional_expression(x):
    return (
        x if x > 0  # here
        else -x)


def an_assertion(x):
    assert x > 0  # here
    return x


def an_and(x):
    return x > 0 and x < 2  # here


def a_chained_comparison(x):
    return 0 < x < 1  # here


def the_builtin_max(x):
    return max(x, 2 * x)  # here


def a_membership(x):
    return x in [1.0, 2.0]  # here


def a_float(x):
    return float(x)  # here


def an_int(x):
    return int(x)  # here


def a_complex(x):
    return complex(x)  # here


def a_bool(x):
    return bool(x)  # here


def an_item(x):
    return (x + 1).item()  # here


def a_value(x):
    return (x + 1).value  # here


def of_math(x):
    return math.exp(x)  # here


def formatted(x):
    return f"{x:.3f}"  # here


def printed(x):
    return repr(x)  # here


def all_close(x):
    return np.allclose(x, 1.0)  # here


def a_slice(x):
    return np.arange(3.0).reshape(x.astype(int), 1)  # here


def in_a_library(x):
    def halve(y):
        return y / 2 if y > 1 else y  # here

    return halve(x)


@pytest.mark.parametrize("f", [
    an_if, a_while, a_conditional_expression, an_assertion, an_and, a_chained_comparison, the_builtin_max, a_membership,
    a_float, an_int, a_complex, a_bool, an_item, a_value, of_math, formatted, printed,
    all_close, in_a_library], ids=lambda f: f.__name__)
def test_a_value_that_is_not_known_yet(f):
    """The error names the line of the user, and says what to write."""
    for x in (2.0, np.array(2.0), np.float32(2)):
        compiled = tg.compile(f)
        for _ in range(2):
            with pytest.raises(TypeError, match=r"np\.where") as caught:
                compiled(x)
            message = str(caught.value)
            assert f"{__file__}:{line_of(f)}: " in message
            assert "bool, str or None" in message


def test_what_depends_on_no_argument_is_known():
    scale = tg.constant(2.0)

    def f(x):
        if scale > 1 and scale.item() > 1 and len(x) == 3 and x.shape == (3,) and x.dtype == float and np.ndim(x) == 1:
            return x * float(scale)
        return x

    np.testing.assert_array_equal(tg.compile(f)(np.ones(3)), 2 * np.ones(3))


def test_the_value_of_a_state_is_not_known_either():
    count = tg.State(0.0, "count")

    def f():
        if count.value > 3:  # here
            count.value = 0.0

    with pytest.raises(TypeError, match=rf"test_compile\.py:{line_of(f)}"):
        tg.compile(f)()


def taken(x, mask):
    return x[mask]  # here


def taken_by_comparison(x, mask):
    return np.mean(x[x > 0])  # here


def taken_twice(x, mask):
    return np.sum(x.reshape(1, 3)[:, mask])  # here


def where_it_holds(x, mask):
    return np.where(x > 0)  # here


def nonzero(x, mask):
    return np.nonzero(x)  # here


@pytest.mark.parametrize("f", [taken, taken_by_comparison, taken_twice], ids=lambda f: f.__name__)
def test_a_shape_that_depends_on_values(f, target):
    x = np.array([1.0, -2.0, 3.0])
    with pytest.raises(TypeError, match=rf"test_compile\.py:{line_of(f)}"):
        tg.compile(f, target=target)(x, x > 0)


@pytest.mark.parametrize("f", [where_it_holds, nonzero], ids=lambda f: f.__name__)
def test_functions_whose_result_depends_on_values_have_no_counterpart(f):
    with pytest.raises((TypeError, NotImplementedError)):
        tg.compile(f)(np.array([1.0, -2.0, 3.0]), np.ones(3, bool))


def test_a_mask_from_outside_is_a_constant():
    x, mask = np.array([1.0, -2.0, 3.0]), np.array([True, False, True])
    f = tg.grad(lambda x: np.mean(x[mask] ** 2))
    np.testing.assert_array_equal(tg.compile(f, target="auto")(x), f(x))


def test_a_node_stored_into_an_array():
    def store(x):
        array = np.zeros(3)
        array[0] = x
        return array

    def convert(x):
        return np.asarray(x)

    for f in (store, convert):
        with pytest.raises((TypeError, ValueError)):
            tg.compile(f)(2.0)


def test_a_state_made_inside():
    for kind in (tg.State, tg.Parameter):
        def f(x, kind=kind):
            moment = kind(np.zeros(3), "moment")
            moment.value = moment.value + x
            return moment * 2

        with pytest.raises((TypeError, ValueError), match=r"moment .*was made inside .*make it outside"):
            tg.compile(f)(np.ones(3))


def test_a_gradient_read_before_backprop_set_it():
    p = tg.Parameter(np.ones(3), "weights")
    np.sum(p * p).backprop()
    for f in (lambda x: p.grad * x, lambda x: np.sum(p * x).backprop(accumulate=True)):
        with pytest.raises(ValueError, match=r"weights .*\.grad was read before a backprop"):
            tg.compile(f)(np.ones(3))
    np.testing.assert_array_equal(p.grad, 2 * np.ones(3))


def test_a_node_of_another_trace():
    kept, p = [], tg.Parameter(np.ones(3))

    def keep(x):
        kept.append(x * 2)
        return x

    def grow(x):
        p.value = kept[0]

    tg.compile(keep)(np.ones(3))
    for f in (lambda x: kept[0] * x, lambda x: [kept[0]], grow):
        with pytest.raises(ValueError, match="belongs to another call"):
            tg.compile(f)(np.ones(3))
    with pytest.raises(TypeError, match="not known"):
        kept[0].value
    np.testing.assert_array_equal(p.value, np.ones(3))


@pytest.mark.parametrize("argument", [
    object(), {1, 2}, b"bytes", range(3), (i for i in range(3)), [np.ones(2), {1}], {"a": object()}, len,
    np.array(["text"]), np.array([object()]), np.array(["2020-01-01"], "M8[D]"), np.ma.array([1.0, 2.0], mask=[1, 0])],
    ids=["object", "set", "bytes", "range", "generator", "nested", "dict", "builtin", "text", "objects", "dates",
         "masked"])
def test_arguments_of_other_types(argument):
    with pytest.raises(TypeError, match=r"an argument of type|expected numbers|masked arrays"):
        tg.compile(lambda x: x)(argument)


def test_masked_arrays_are_refused_where_plain_ones_were_taken(target):
    compiled = tg.compile(lambda x: x * 2, target=target)
    compiled(np.ones(2))
    with pytest.raises(TypeError, match="masked"):
        compiled(np.ma.array([1.0, 2.0], mask=[1, 0]))


def test_options_that_are_wrong():
    def f(x, n):
        return x

    with pytest.raises(ValueError, match=r"static=\['k'\].*no argument"):
        tg.compile(f, static=["n", "k"])
    with pytest.raises(ValueError, match=r"'jax'.*'auto', 'numpy', 'native'"):
        tg.compile(f, target="jax")
    for options in ({"threads": 0}, {"cache_size": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            tg.compile(f, **options)
    with pytest.raises(TypeError, match="takes a function, got int"):
        tg.compile(3)


def test_calls_that_the_function_would_refuse():
    compiled = tg.compile(lambda x, y: x + y)
    for args, options in [((1.0,), {}), ((1.0, 2.0, 3.0), {}), ((1.0,), {"z": 1.0})]:
        for _ in range(2):
            with pytest.raises(TypeError, match="argument"):
                compiled(*args, **options)
    assert compiled(1.0, 2.0) == 3.0


def test_questions_before_the_first_call():
    compiled = tg.compile(lambda x: x)
    for ask in (lambda: compiled.program, lambda: compiled.source, compiled.explain, lambda: compiled.export("x.py")):
        with pytest.raises(RuntimeError, match="has not been called yet"):
            ask()


def test_after_an_error_all_is_as_before(target):
    p = tg.Parameter(np.ones(3))

    def f(x, wrong):
        p.value = p.value + x
        if wrong:
            raise KeyError("planted")
        return np.sum(p)

    compiled = tg.compile(f, target=target)
    with pytest.raises(KeyError, match="planted"):
        compiled(np.ones(3), True)
    assert isinstance(p.value, np.ndarray)  # no trace is on
    np.testing.assert_array_equal(p.value, np.ones(3))
    assert compiled(np.ones(3), False) == 6
    with pytest.raises(KeyError):
        compiled(np.ones(3), True)
    assert compiled(np.ones(3), False) == 9
    np.testing.assert_array_equal(p.value, 3 * np.ones(3))


# -------------------------------------------------------------------------------------------------------------- caching

class Counted:
    """A function that counts how often its Python code runs."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f, self.count = f, 0
        self.__signature__ = inspect.signature(f)

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.count += 1
        return self.f(*args, **options)


def doubled(x: Any) -> Any:
    """Every array and number in nested containers times two; what else there is."""
    if isinstance(x, list | tuple):
        parts = [doubled(part) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    if isinstance(x, dict):
        return {key: doubled(part) for key, part in x.items()}
    return x if x is None or isinstance(x, str | bool) else 2 * x


Pair = collections.namedtuple("Pair", "left right")


def test_one_trace_for_each_signature(target):
    f = Counted(doubled)
    compiled = tg.compile(f, target=target)
    signatures = [
        [np.ones(3), np.zeros(3), np.arange(6.0)[::2], np.arange(3.0)[::-1], np.broadcast_to(2.0, 3)],
        [np.ones((3, 1)), np.asfortranarray(np.ones((3, 1)))],
        [np.ones(4)], [np.ones(3, np.float32)], [np.ones(3, int)], [np.ones(3, bool)],
        [np.float64(1), np.array(2.0)], [np.float32(1)], [1.0, 2.0, math.inf], [1, 2], [True], [False], [None], ["a"],
        ["b"], [[1.0], [2.0]], [(1.0,)], [[1.0, 2.0]], [[np.ones(2), 1.0]], [[np.ones(3), 1.0]],
        [{"a": 1.0}, {"a": 2.0}], [{"b": 1.0}], [Pair(np.ones(2), 1.0), Pair(np.zeros(2), 2.0)],
        [(np.ones(2), 1.0)], [{"a": [np.ones(1), (None, "a")]}], [{"a": [np.ones(1), (None, "b")]}], [[]], [()],
    ]
    compiled.cache_size = len(signatures)
    for _ in range(2):  # the second time round nothing is traced
        for values in signatures:
            for x in values:
                close(compiled(x), doubled(x))
                close(compiled(x), doubled(x))
    assert f.count == len(signatures)


def test_static_arguments(target):
    f = Counted(lambda x, n, mode="sum": sum([x] * n) if mode == "sum" else x**n)
    compiled = tg.compile(f, target=target, static=("n", "mode"))
    x = np.arange(3.0)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x, n=3), 3 * x)
        np.testing.assert_array_equal(compiled(x, n=2), 2 * x)
        np.testing.assert_array_equal(compiled(x, n=2, mode="power"), x**2)
    assert f.count == 3


def test_static_arguments_by_position(target):
    compiled = tg.compile(lambda x, n: x * n, target=target, static="n")
    x = np.arange(3.0)
    for n in (3, 3, 3, 2, 2, 3):
        np.testing.assert_array_equal(compiled(x, n), n * x)


def test_static_arguments_are_plain_values_of_any_kind():
    def f(x, axis, table, kind, scale):
        assert type(axis) is tuple
        assert isinstance(table, np.ndarray)
        return kind(np.sum(x, axis=axis) * table[0].item() * scale)

    f = Counted(f)
    compiled = tg.compile(f, static=("axis", "table", "kind", "scale"))
    x = np.arange(6.0).reshape(2, 3)
    for _ in range(2):
        for axis, table, kind, scale in [((0,), [2.0], np.exp, 1), ((1,), [2.0], np.exp, 1), ((0,), [3.0], np.exp, 1),
                                         ((0,), [2.0], np.sin, 1), ((0,), [2.0], np.exp, 1.0),
                                         ((0,), [2.0], np.exp, True)]:
            args = x, axis, np.array(table), kind, scale
            np.testing.assert_allclose(compiled(*args), f.f(*args))
    assert f.count == 6


def test_a_static_minus_zero_is_not_zero(target):
    compiled = tg.compile(lambda x, scale: x * scale, target=target, static="scale")
    for scale in (0.0, -0.0, 0.0):
        assert np.signbit(compiled(np.ones(2), scale=scale)).all() == bool(np.signbit(scale))


def test_keyword_arguments(target):
    f = Counted(lambda x, y=2.0, *, z=3.0: x * 100 + y * 10 + z)
    compiled = tg.compile(f, target=target)
    for _ in range(2):
        assert compiled(1.0) == 123
        assert compiled(1.0, y=5.0) == 153
        assert compiled(1.0, z=5.0, y=4.0) == compiled(1.0, y=4.0, z=5.0) == 145
        assert compiled(y=4.0, x=2.0) == 243
        assert compiled(1.0, 7.0) == 173
    assert f.count == 5


def test_the_cache_is_bounded(target):
    f = Counted(lambda x: x * 2)
    compiled = tg.compile(f, target=target, cache_size=2)

    def call(n):
        np.testing.assert_array_equal(compiled(np.ones(n)), 2 * np.ones(n))

    for n, traces in [(1, 1), (2, 2), (1, 2), (3, 3), (1, 3), (2, 4), (1, 4), (3, 5)]:
        call(n)
        assert f.count == traces
        assert len(compiled.entries) <= 2


def test_what_is_dropped_is_freed(target):
    compiled = tg.compile(lambda x: x * 2, target=target, cache_size=1)
    compiled(np.ones(1))
    entry = weakref.ref(compiled.last)
    compiled(np.ones(2))
    gc.collect()
    assert entry() is None
    compiled = weakref.ref(compiled)
    gc.collect()
    assert compiled() is None


def test_parameters_and_states_as_arguments(target):
    f = Counted(lambda w, x: np.sum(w["w"] * x) + w["b"][0])
    compiled = tg.compile(f, target=target)
    models = [{"w": tg.Parameter(np.full(3, k)), "b": [tg.State(np.array(k))]} for k in (1.0, 2.0)]
    for _ in range(2):
        for model, k in zip(models, (1, 2), strict=True):
            assert compiled(model, np.ones(3)) == 4 * k
    assert f.count == 2  # a program reads the states that it was traced with
    models[0]["w"].value = np.zeros(3)
    assert compiled(models[0], np.ones(3)) == 1
    assert f.count == 2


def test_an_updated_state_as_an_argument(target):
    def step(w, x, rate):
        loss = np.sum((w - x) ** 2)
        loss.backprop()
        w.value = w.value - rate * w.grad
        return loss

    compiled = tg.compile(step, target=target)
    for w in (tg.Parameter(np.zeros(3)), tg.Parameter(np.zeros(3)), tg.Parameter(np.zeros(3, np.float32))):
        x = np.ones(3, w.dtype)
        for _ in range(3):
            compiled(w, x, 0.25)
        np.testing.assert_allclose(w.value, np.full(3, 1 - 0.5**3))


def test_results_keep_their_structure(target):
    state, table = tg.State(np.full(2, 5.0)), np.arange(3.0)

    def f(x):
        return {"list": [x, [x + 1, None]], "pair": Pair(x * 2, "text"), "state": state, "table": table, "int": 3,
                "true": True, "scalar": np.float32(2), "node": tg.constant(2.0), "empty": (), "again": x}

    compiled, x = tg.compile(f, target=target), np.ones(2)
    for _ in range(3):
        result = compiled(x)
        close(result, f(x))
        assert type(result["int"]) is int
        assert type(result["scalar"]) is np.float32
        arrays = [result["list"][0], result["list"][1][0], result["pair"].left, result["state"], result["table"],
                  result["node"], result["again"]]
        for i, array in enumerate(arrays):
            assert type(array) is np.ndarray
            assert array.flags.writeable
            assert not any(np.shares_memory(array, other) for other in [*arrays[:i], x, table, state.value])
            array[...] = -1  # whose it is
        np.testing.assert_array_equal(table, np.arange(3.0))


def test_a_function_may_return_nothing(target):
    s = tg.State(1.0)

    def f(x):
        s.value = s.value * x

    compiled = tg.compile(f, target=target)
    for _ in range(3):
        assert compiled(2.0) is None
    assert s.value == 8


def test_arrays_from_outside_are_constants_and_reported(target):
    table, mask = np.random.default_rng(0).normal(size=(10, 3)), np.arange(3) > 0

    def f(x):
        return np.where(mask, x @ table, 0.0)

    compiled, x = tg.compile(f, target=target), np.ones(10)
    close(compiled(x), f(x))
    assert f"2 constants, {table.nbytes + mask.nbytes} bytes" in compiled.explain()
    assert f"target {target}" in compiled.explain()
    assert [array.nbytes for array in compiled.trace(x).constants.values()] == [table.nbytes, mask.nbytes]


def test_constants_are_what_they_were_when_the_function_was_traced(target):
    tables = [np.arange(3.0), np.ones(20), np.eye(5)]

    def f(x):
        return [x * np.sum(np.exp(table)) + table for table in tables]

    compiled = tg.compile(f, target=target)
    wanted = f(2.0)
    close(compiled(2.0), wanted)
    for table in tables:
        table[...] = 7
    close(compiled(2.0), wanted)


def test_the_table_of_explain_has_each_step(target):
    compiled = tg.compile(tg.grad(lambda x: np.sum(np.exp(x) * np.exp(x) + 0 * x)), target=target)
    compiled(np.ones(3))
    assert "traced" in compiled.explain()
    assert "merge_equal" in compiled.explain()
    assert len(compiled.program.instructions) < len(compiled.trace(np.ones(3)).instructions)
    assert str(compiled.program) in str(compiled.program)
    assert ("import numpy" if target == "numpy" else "#include") in compiled.source


def test_tracing_alone_runs_nothing(target):
    s = tg.State(np.zeros(2))

    def f(x):
        s.value = s.value + x
        return s * 1

    program = tg.compile(f, target=target).trace(np.ones(2))
    assert [x.shape for x in program.outputs] == [(2,)]
    assert len(program.updates) == 1
    np.testing.assert_array_equal(s.value, 0)


def test_what_a_decorated_function_looks_like():
    @tg.compile(target="numpy", static="n")
    def scaled(x, n=2):
        """Times n."""
        return x * n

    assert scaled.__name__ == "scaled"
    assert scaled.__doc__ == "Times n."
    assert list(inspect.signature(scaled).parameters) == ["x", "n"]
    assert scaled(3.0) == 6


@pytest.mark.parametrize("f", [np.sin, np.add, lambda *xs: sum(xs), max, Counted(lambda x, y: x * y)],
                         ids=["sin", "add", "variadic", "builtin", "object"])
def test_callables_of_every_kind(f, target):
    compiled = tg.compile(f, target=target)
    args = (np.ones(3), np.arange(3.0)) if f is not np.sin else (np.ones(3),)
    if f is max:
        with pytest.raises(TypeError, match="not known"):
            compiled(*args)
    else:
        close(compiled(*args), f(*args))


def test_names_that_mean_something_elsewhere(target):
    """In C and in Python, as argument, state and function."""
    states = [tg.State(np.full(2, 1.0), name) for name in ("for", "int", "p", "w", "a b-c", "σ", "x", "x", "np", "1",
                                                           "", None, "numpy", "exp", "main", "workspace", "None")]

    def größe(double, static, σ, restrict, exp, p):
        for s in states:
            s.value = s.value * np.exp(double)
        return double + static + σ + restrict + exp + p

    args = [np.full(2, float(k)) for k in range(6)]
    compiled = tg.compile(größe, target=target)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(*args), 15)
    for s in states:
        np.testing.assert_array_equal(s.value, 1)


def test_auto_takes_what_there_is():
    for x, kind in [(np.ones(3), "native"), (np.ones(3, np.float32), "native"), (np.ones(3, np.float16), "numpy"),
                    (np.ones(3) * 1j, "numpy"), (np.ones(3, ">f8"), "numpy")]:
        compiled = tg.compile(lambda x: np.sum(np.exp(x) * x))
        close(compiled(x), np.sum(np.exp(x) * x))
        assert f"target {kind}" in compiled.explain()
        compiled = tg.compile(lambda x: np.exp(x), target="native")
        if kind == "numpy":
            with pytest.raises(native_target.Unavailable, match="target=\"numpy\""):
                compiled(x)


# --------------------------------------------------------------------------------------------------------------- states

class Net:
    """Two layers, some steps of an optimizer, and all that changes on the way."""

    def __init__(self, dtype: Any = np.float64, optimizer: str = "sgd") -> None:
        rng = np.random.default_rng(5)
        self.W = tg.Parameter(rng.normal(size=(4, 3)).astype(dtype), "W")
        self.b = tg.Parameter(np.zeros(3, dtype), "b")
        self.V = tg.Parameter(rng.normal(size=(3, 2)).astype(dtype), "V")
        self.parameters = [self.W, self.b, self.V]
        self.moments = [tg.State(np.zeros(p.shape, dtype)) for p in self.parameters]
        self.squares = [tg.State(np.zeros(p.shape, dtype)) for p in self.parameters]
        self.count = tg.State(0)
        self.optimizer = optimizer

    def loss(self, x: Any, labels: Any) -> Any:
        return ops.LogSoftmaxNLL(np.tanh(x @ self.W + self.b) @ self.V, labels)

    def step(self, x: Any, labels: Any, rate: Any) -> Any:
        loss = self.loss(x, labels)
        loss.backprop()
        self.count.value = self.count.value + 1
        for p, m, s in zip(self.parameters, self.moments, self.squares, strict=True):
            if self.optimizer == "sgd":
                p.value = p.value - rate * p.grad
            elif self.optimizer == "decay":
                p.value = p.value * (1 - rate * 0.01) - rate * p.grad
            elif self.optimizer == "momentum":
                m.value = 0.9 * m.value + p.grad
                p.value = p.value - rate * m.value
            elif self.optimizer == "nesterov":
                m.value = 0.9 * m.value - rate * p.grad
                p.value = p.value + 0.9 * m.value - rate * p.grad
            else:
                t = self.count.value
                m.value = 0.9 * m.value + 0.1 * p.grad
                s.value = 0.99 * s.value + 0.01 * p.grad**2
                root = np.sqrt(s.value / (1 - 0.99**t)) + 1e-2
                p.value = p.value - (rate * (m.value / (1 - 0.9**t)) / root).astype(p.dtype)
        return loss

    @property
    def states(self) -> list[tg.State]:
        return [*self.parameters, *self.moments, *self.squares, self.count]

    @property
    def values(self) -> list[np.ndarray]:
        return [np.array(s.value) for s in self.states]


def data(dtype: Any = np.float64, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(n, 4)).astype(dtype), rng.integers(0, 2, n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", ["sgd", "decay", "momentum", "nesterov", "adam"])
def test_a_training_run(optimizer, dtype, target):
    """Eager and compiled, with a rate that changes and batches of two sizes."""
    eager, net = Net(dtype, optimizer), Net(dtype, optimizer)
    compiled = tg.compile(net.step, target=target)
    for n, rate in [(6, 0.5), (6, 0.25), (4, 0.125), (6, 0.1), (4, 1)]:
        close(compiled(*data(dtype, n), rate), eager.step(*data(dtype, n), rate), 10)
        close(net.values, eager.values, 10)
    assert net.count.value == 5
    assert net.count.dtype == np.array(0).dtype


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_eager_and_compiled_steps_take_turns(optimizer, target):
    eager, net = Net(np.float64, optimizer), Net(np.float64, optimizer)
    x, labels = data()
    compiled = tg.compile(net.step, target=target)
    for step in (compiled, net.step, net.step, compiled, compiled, net.step, compiled):
        close(step(x, labels, 0.5), eager.step(x, labels, 0.5))
        close(net.values, eager.values)
    net.W.value = eager.W.value = np.ones((4, 3))
    close(compiled(x, labels, 0.5), eager.step(x, labels, 0.5))
    close(net.values, eager.values)


def test_updates_come_last(target):
    a, b = tg.State(np.array([1.0, 2.0])), tg.State(np.array([10.0, 20.0]))

    def f(x):
        before = a * 1
        a.value = a.value + x
        between = a.value + b.value
        b.value = between * 2
        a.value = a.value * 10
        return before, between, a * 1, b.value + 0

    compiled = tg.compile(f, target=target)
    before, between, after, new = compiled(np.ones(2))
    np.testing.assert_array_equal(before, [1, 2])
    np.testing.assert_array_equal(between, [12, 23])
    np.testing.assert_array_equal(after, [20, 30])
    np.testing.assert_array_equal(new, [24, 46])
    np.testing.assert_array_equal(a.value, [20, 30])
    np.testing.assert_array_equal(b.value, [24, 46])


def swap(a, b, c):
    a.value, b.value = b.value, a.value


def rotate(a, b, c):
    a.value, b.value, c.value = b.value, c.value, a.value


def reverse(a, b, c):
    a.value = a.value[::-1]
    b.value = b.value[::-1] * 2
    c.value = np.stack([a.value, b.value]).sum(axis=0)[::-1]


def copies(a, b, c):
    a.value = b.value
    c.value = a.value


def crossed(a, b, c):
    a.value, b.value = b.value + c.value[::-1], a.value - c.value
    c.value = c.value


def shifted(a, b, c):
    old = a.value
    a.value = np.concatenate([old[1:], b.value[:1]])
    b.value = np.concatenate([b.value[1:], old[:1]])


def twice(a, b, c):
    for _ in range(2):
        a.value = a.value + b.value
        b.value = a.value * b.value
    c.value = np.ones(3)


@pytest.mark.parametrize("f", [swap, rotate, reverse, copies, crossed, shifted, twice], ids=lambda f: f.__name__)
def test_states_that_become_each_other(f, target):
    for n in (3, 100) if f is not twice else (3,):
        start = [np.arange(1.0, n + 1) * k for k in (1, 10, 100)]
        eager, states = [tg.State(x) for x in start], [tg.State(x) for x in start]
        compiled = tg.compile(lambda states=states: f(*states), target=target)
        for _ in range(3):
            f(*eager)
            compiled()
            for s, e in zip(states, eager, strict=True):
                np.testing.assert_array_equal(s.value, e.value)
                assert s.value.flags.writeable is False
                assert not any(np.shares_memory(s.value, other.value) for other in states if other is not s)


def test_a_state_of_every_dtype(target):
    for dtype in (np.float32, np.float64, np.int64, np.int32, np.uint8, bool):
        s = tg.State(np.zeros(3, dtype))

        def f(x, s=s):
            s.value = (s.value | x) if s.dtype == bool else s.value + x

        compiled = tg.compile(f, target=target)
        for _ in range(3):
            compiled(np.array([0, 1, 1], dtype))
        np.testing.assert_array_equal(s.value, np.array([0, 3, 3]).astype(dtype), strict=True)


def test_a_state_takes_what_it_would_take_eagerly(target):
    narrow, shape = tg.State(np.zeros(3, np.float32)), tg.State(np.zeros((2, 2)))

    def f(x):
        narrow.value = x
        read = narrow.value * 1
        narrow.value = narrow.value * np.float64(3)
        shape.value = np.array([[1, 2], [3, 4]])
        return read, narrow.value * 1

    compiled, tenth = tg.compile(f, target=target), np.full(3, 0.1, np.float32)
    tripled = (tenth * np.float64(3)).astype(np.float32)
    close(compiled(np.full(3, 0.1)), (tenth, tripled))
    np.testing.assert_array_equal(narrow.value, tripled, strict=True)
    np.testing.assert_array_equal(shape.value, [[1.0, 2], [3, 4]], strict=True)
    for wrong, error in [(np.ones(4), ValueError), (np.ones(3) * 1j, TypeError)]:
        with pytest.raises(error, match="cannot take a value"):
            compiled(wrong)


@pytest.mark.parametrize("array", [np.ones(2), np.ones((5, 1))], ids=["short", "column"])
def test_an_array_of_another_shape_is_not_assigned(array, target):
    s = tg.State(np.zeros(5))

    def add(x):
        s.value = s.value + x

    compiled = tg.compile(add, target=target)
    compiled(np.ones(5))
    with pytest.raises(ValueError, match="cannot take a value of shape"):
        s.assign(array)
    with pytest.raises(ValueError, match="cannot take a value of shape"):
        tg.compile(lambda x: s.assign(x), target=target)(array)
    np.testing.assert_array_equal(s.value, np.ones(5))


def test_an_array_of_another_dtype_is_traced_anew(target):
    s = tg.State(np.zeros(5))

    def add(x):
        s.value = s.value + x

    compiled = tg.compile(add, target=target)
    compiled(np.ones(5))
    s.assign(np.full(5, 2, np.float32))
    compiled(np.ones(5))
    np.testing.assert_array_equal(s.value, np.full(5, 3))
    assert s.dtype == np.float32
    with pytest.raises(TypeError, match="cannot take a value of dtype complex128"):
        tg.compile(lambda x: s.assign(x), target=target)(np.ones(5, complex))


def test_two_backprops_in_one_function(target):
    def f(p, x):
        np.sum(p * p * x).backprop()
        first = p.grad
        np.sum(p * x).backprop()
        second = p.grad
        np.sum(p**3).backprop(accumulate=True)
        p.value = p.value - 0.1 * (first + second + p.grad)
        return first, second, p.grad

    eager, p, x = tg.Parameter(np.arange(3.0)), tg.Parameter(np.arange(3.0)), np.arange(3.0, 6)
    compiled = tg.compile(f, target=target)
    for _ in range(3):
        close(compiled(p, x), f(eager, x))
        close(p.value, eager.value)


def test_gradients_afterwards(target):
    """Set where the function leaves the parameter alone, None where it updates it, untouched where none was asked."""
    alone, updated, other = (tg.Parameter(np.arange(1.0, 4), name) for name in "abc")
    other.grad = np.full(3, 7.0)
    alone.grad = updated.grad = np.full(3, 8.0)

    def f(x):
        np.sum(alone * updated * x).backprop()
        updated.value = updated.value - updated.grad
        return alone.grad, np.sum(other)

    compiled = tg.compile(f, target=target)
    grads = []
    for _ in range(3):
        wanted = updated.value * np.arange(3.0)
        result, _ = compiled(np.arange(3.0))
        np.testing.assert_array_equal(alone.grad, wanted)
        np.testing.assert_array_equal(result, wanted)
        assert updated.grad is None
        np.testing.assert_array_equal(other.grad, np.full(3, 7.0))
        grads.append(alone.grad)
        assert alone.grad.flags.writeable
        assert not any(np.shares_memory(alone.grad, x) for x in [*grads[:-1], alone.value, updated.value])
    np.testing.assert_array_equal(grads[0], [0, 2, 6])  # a gradient that is held stays


def test_a_gradient_may_be_set_and_cleared(target):
    p, q = tg.Parameter(np.ones(2)), tg.Parameter(np.ones(2))

    def f(x):
        np.sum(p * q * x).backprop()
        p.grad = p.grad / np.sqrt(np.sum(p.grad**2))
        q.grad = None
        return p.grad

    compiled = tg.compile(f, target=target)
    q.grad = np.ones(2)
    for _ in range(2):
        close(compiled(np.array([3.0, 4.0])), np.array([0.6, 0.8]))
        close(p.grad, np.array([0.6, 0.8]))
        assert q.grad is None


def test_accumulated_gradients(target):
    p = tg.Parameter(np.ones(2))

    def f(x):
        p.grad = np.full(2, 100.0)
        np.sum(p * x).backprop(accumulate=True)
        np.sum(p * p).backprop(accumulate=True)

    tg.compile(f, target=target)(np.array([3.0, 4.0]))
    np.testing.assert_array_equal(p.grad, [105, 106])


def test_a_mixture_of_values_is_an_error_as_eagerly():
    p = tg.Parameter(np.ones(2), "weights")

    def f(x):
        loss = np.sum(p * x)
        p.value = p.value + 1
        (loss + np.sum(p)).backprop()

    for call in (f, tg.compile(f)):
        with pytest.raises(ValueError, match=r"weights .*new value between two uses"):
            call(np.ones(2))


@pytest.mark.parametrize("hold", [
    lambda p: p.value, lambda p: p.value[1:], lambda p: p.value.T, lambda p: memoryview(p.value),
    lambda p: p.value.reshape(3, 2).ravel(), lambda p: p._version, lambda p: p * 1, lambda p: np.sum(p * p),
    lambda p: p[0], lambda p: copy.copy(p), lambda p: copy.deepcopy(p), lambda p: pickle.loads(pickle.dumps(p)),
    lambda p: tg.State(p.value), lambda p: tg.constant(p.value), lambda p: tg.Tape(np.sum(p)),
    lambda p: np.lib.stride_tricks.as_strided(p.value, (2,), (8,)), lambda p: p.value.__array_interface__ and p.value],
    ids=["view", "part", "transpose", "buffer", "ravel", "version", "node", "loss", "item", "copy", "deepcopy",
         "pickle", "state", "constant", "tape", "strided", "interface"])
def test_what_is_held_does_not_change(hold, target):
    def numbers(held: Any) -> np.ndarray:
        if isinstance(held, tg.Tape):
            return np.array(held.outputs[0].value)
        return np.array(held.value if isinstance(held, tg.Node) else held)

    p = tg.Parameter(np.arange(6.0).reshape(2, 3))

    def f(x):
        p.value = p.value * x

    compiled = tg.compile(f, target=target)
    compiled(2.0)
    for _ in range(2):
        held = hold(p)
        before, value = numbers(held).copy(), p.value.copy()
        compiled(2.0)
        compiled(2.0)
        np.testing.assert_array_equal(numbers(held), before)
        np.testing.assert_array_equal(p.value, 4 * value)
        del held
        compiled(0.25)


def test_an_old_graph_keeps_its_values(target):
    p = tg.Parameter(np.arange(3.0))
    compiled = tg.compile(lambda: setattr(p, "value", p.value + 1), target=target)
    for _ in range(3):
        old, loss = p.value.copy(), np.sum(p * p)
        compiled()
        loss.backprop()
        np.testing.assert_array_equal(p.grad, 2 * old)
        np.testing.assert_array_equal(p.value, old + 1)


def test_an_array_that_was_assigned_is_not_written_into(target):
    s = tg.State(np.zeros((2, 3)))

    def f():
        s.value = s.value + 1

    compiled = tg.compile(f, target=target)
    compiled()
    for array in (np.zeros((2, 3)), np.zeros((3, 2)).T, np.zeros((2, 3), order="F"),
                  np.frombuffer(bytes(48)).reshape(2, 3)):
        s.assign(array)
        for _ in range(3):
            compiled()
        np.testing.assert_array_equal(s.value, 3)
        np.testing.assert_array_equal(array, 0)
    whole, flat, buffer = np.zeros((4, 3)), np.zeros(6), bytearray(48)
    for make in (lambda: whole[1:3], lambda: whole[::2], lambda: flat.reshape(2, 3), lambda: flat.reshape(3, 2).T,
                 lambda: np.frombuffer(buffer).reshape(2, 3), lambda: np.asarray(memoryview(whole))[:2]):
        s.assign(make())  # nobody holds the array, but somebody its memory
        for _ in range(3):
            compiled()
        np.testing.assert_array_equal(s.value, 3)
        assert not any([whole.any(), flat.any(), *buffer])


def bad_labels(net: Any, target: str, **options: Any) -> Callable[..., Any]:
    def f(x, labels):
        net.count.value = net.count.value + 1
        loss = net.loss(x, labels)
        loss.backprop()
        net.W.value = net.W.value - net.W.grad
        net.moments[1].value = net.b.grad
        return loss

    return tg.compile(f, target=target, **options)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_an_error_leaves_every_state_as_it_was(first, verify, target):
    net = Net()
    x, labels = data()
    for p in net.parameters:
        p.grad = np.full(p.shape, 7.0)
    compiled = bad_labels(net, target, verify=verify)
    if not first:
        for _ in range(2):
            compiled(x, labels)
    values, grads = net.values, [p.grad for p in net.parameters]
    for wrong in (2, -1, 10**12):
        with pytest.raises(ValueError, match="labels must lie in"):
            compiled(x, np.where(np.arange(len(labels)) == 3, wrong, labels))
        for s, value in zip(net.states, values, strict=True):
            np.testing.assert_array_equal(s.value, value)
        assert all(p.grad is g for p, g in zip(net.parameters, grads, strict=True))
    eager = Net()
    eager_step = bad_labels(eager, target).f
    for _ in range(1 if first else 3):
        wanted = eager_step(x, labels)
    close(compiled(x, labels), wanted)
    close(net.values, eager.values)


def test_an_overflow_that_is_an_error_leaves_every_state_as_it_was(target):
    a, b = tg.State(np.ones(3)), tg.State(np.full(3, 1e300))

    def f(x):
        a.value = a.value + x
        b.value = b.value * x

    compiled = tg.compile(f, target=target)
    compiled(np.ones(3))
    with np.errstate(all="raise"):
        try:
            compiled(np.full(3, 1e300))
        except FloatingPointError:
            np.testing.assert_array_equal(a.value, 2)
            np.testing.assert_array_equal(b.value, 1e300)
        else:
            np.testing.assert_array_equal(a.value, 1e300)
            np.testing.assert_array_equal(b.value, np.inf)


def test_parameters_that_come_from_a_file(target):
    """A pickled array has a dtype object of its own."""
    net = Net()
    net.W = pickle.loads(pickle.dumps(net.W))
    net.parameters[0] = net.W
    x, labels = pickle.loads(pickle.dumps(data()))
    eager, compiled = Net(), tg.compile(net.step, target=target)
    for _ in range(3):
        close(compiled(x, labels, 0.1), eager.step(x, labels, 0.1))
    close(net.values, eager.values)


# --------------------------------------------------------------------------------------------------------------- verify

class Wrong(tg.Op):
    """What it is traced as is not what it computes."""

    def forward(self, x):
        return x * 2

    def expand(self, x):
        return x * 3

    def backward(self, grad, y, x):
        return grad * (2.0 if isinstance(grad, np.ndarray | np.generic) else 3.0)


def wrong_result(p, s, x):
    return {"a": x, "b": [Wrong(x * p)]}


def wrong_state(p, s, x):
    s.value = Wrong.apply(s.value) + x
    return x


def wrong_gradient(p, s, x):
    np.sum(Wrong(p * x)).backprop()


def wrong_in_one_entry(p, s, x):
    return np.where(np.arange(3) == 2, Wrong(x), x)


@pytest.mark.parametrize(("f", "name"), [(wrong_result, "the result"), (wrong_state, r"State total \(3,\)"),
                                         (wrong_gradient, r"the gradient of Parameter weights"),
                                         (wrong_in_one_entry, "the result")])
def test_verify_finds_a_difference(f, name, target):
    p, s = tg.Parameter(np.ones(3), "weights"), tg.State(np.ones(3), "total")
    compiled = tg.compile(f, target=target, verify=True)
    for _ in range(2):
        with pytest.raises(AssertionError, match=rf"{f.__name__}: {name}.* differs"):
            compiled(p, s, np.ones(3))
    tg.compile(f, target=target)(p, s, np.ones(3))  # nobody asked


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_verify_passes_what_is_right(optimizer, target):
    eager, net = Net(np.float32, optimizer), Net(np.float32, optimizer)
    compiled = tg.compile(net.step, target=target, verify=True)
    x, labels = data(np.float32)
    for _ in range(3):
        close(compiled(x, labels, 0.1), eager.step(x, labels, 0.1), 10)
        close(net.values, eager.values, 10)
    assert net.count.value == 3


def test_verify_compares_structures_nan_and_numbers(target):
    def f(x, n):
        return {"nan": np.log(x), "list": [n, None, "text", x > 0], "number": n * 2, "none": ()}

    compiled = tg.compile(f, target=target, verify=True)
    with np.errstate(all="ignore"):
        result = compiled(np.array([-1.0, 0.0, np.inf]), 3)
        close(result, f(np.array([-1.0, 0.0, np.inf]), 3))


# ----------------------------------------------------------------------------------------------------------- transforms

def smooth(x, y):
    return np.sum(np.tanh(x @ y) ** 2) + np.sum(x**3) * np.mean(np.exp(y))


def vector(x):
    return np.sin(x[1:]) * x[:-1] ** 2


def kinks(x):
    return np.sum(np.where(x > 0, np.sqrt(x) * np.log(x), x * x) + np.maximum(x, 1.0) + np.max(x) * ops.ReLU(x))


MATRIX, OTHER, VECTOR = np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(1, 2, 12).reshape(3, 4), np.linspace(-1, 2, 7)

TRANSFORMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "grad": (tg.grad(smooth), (MATRIX, OTHER)),
    "grad by both": (tg.grad(smooth, (0, 1)), (MATRIX, OTHER)),
    "value and grad": (tg.value_and_grad(smooth, argnums=1), (MATRIX, OTHER)),
    "vjp": (lambda x, c: tg.vjp(vector, x)[1](c), (VECTOR, np.arange(6.0))),
    "jvp": (lambda x, v: tg.jvp(vector, (x,), (v,)), (VECTOR, np.arange(7.0))),
    "jacobian": (tg.jacobian(vector), (VECTOR,)),
    "jacobian by both": (tg.jacobian(lambda x, y: x @ y, (0, 1)), (MATRIX, OTHER)),
    "hessian": (tg.hessian(lambda x: smooth(x, OTHER)), (MATRIX,)),
    "hvp": (tg.hvp(smooth), (MATRIX, np.ones((2, 3)), OTHER)),
    "a branch not taken": (tg.grad(kinks), (VECTOR,)),
    "a branch not taken, twice": (tg.hessian(kinks), (VECTOR,)),
    "third": (tg.grad(lambda x: np.sum(tg.hvp(smooth)(x, x, OTHER))), (MATRIX,)),
    "grad of jvp": (tg.grad(lambda x: np.sum(tg.jvp(vector, (x,), (x * x,))[1])), (VECTOR,)),
    "of a number": (tg.value_and_grad(lambda x: np.sin(x) * x), (np.array(0.5),)),
    "backprop with wrt": (lambda x: tg.backprop(np.sum(np.exp(x)), wrt=x) if isinstance(x, tg.Node) else np.exp(x),
                          (VECTOR,)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_compile(name, target):
    f, args = TRANSFORMS[name]
    compiled = tg.compile(f, target=target)
    with np.errstate(all="ignore"):
        for _ in range(2):
            close(compiled(*args), f(*args), 10)
            args = tuple(np.asarray(x[::-1] if x.ndim else x * 2) for x in args)
        if name != "of a number":
            narrow = tuple(x.astype(np.float32) for x in args)
            close(compiled(*narrow), f(*narrow), 100)


@pytest.mark.parametrize("name", ["grad", "hessian", "jvp", "jacobian", "value and grad"])
def test_compiled_functions_inside_transforms(name, target):
    transform: Any = {"grad": tg.grad, "hessian": tg.hessian, "jacobian": tg.jacobian,
                      "value and grad": tg.value_and_grad,
                      "jvp": lambda f: lambda x: tg.jvp(f, (x,), (np.ones_like(x),))}[name]

    def f(x, power=2):
        return np.sum(np.sin(x) * x**power)

    compiled = tg.compile(f, target=target)
    compiled(VECTOR)
    close(transform(compiled)(VECTOR), transform(f)(VECTOR))
    close(transform(lambda x: compiled(x, power=3))(VECTOR), transform(lambda x: f(x, 3))(VECTOR))
    close(tg.compile(transform(compiled), target=target)(VECTOR), transform(f)(VECTOR))
    close(compiled(VECTOR), f(VECTOR))


def test_compiled_functions_of_nodes_are_part_of_the_graph(target):
    p = tg.Parameter(np.arange(3.0))
    compiled = tg.compile(lambda x, scale: np.sum(x * x) * scale, target=target)
    compiled(np.ones(3), 2.0)
    loss = compiled(p * 1, 2.0) + compiled([p * 3][0], 1.0)
    loss.backprop()
    np.testing.assert_array_equal(p.grad, (4 + 18) * np.arange(3.0))


def test_compiled_functions_inside_compiled_functions(target):
    inner = tg.compile(lambda x: np.tanh(x) * 2, target=target)
    outer = tg.compile(lambda x: inner(x * 3) + inner(x), target=target)
    x = np.arange(3.0)
    for _ in range(2):
        close(outer(x), np.tanh(3 * x) * 2 + np.tanh(x) * 2)
        close(inner(x), np.tanh(x) * 2)
    assert outer.program.instructions


def test_recursion(target):
    def power(x, n):
        return x if n == 1 else x * compiled(x, n=n - 1)

    compiled = tg.compile(power, target=target, static="n")
    for n in (3, 3, 1, 2):
        np.testing.assert_array_equal(compiled(np.arange(3.0), n=n), np.arange(3.0) ** n)


def called_before(f, target):
    """With a short way to call it."""
    compiled = tg.compile(f, target=target)
    for _ in range(2):
        compiled(0.0)
        compiled(np.zeros(2))
    return compiled


@pytest.mark.parametrize("wrapped", [lambda f, target: f, lambda f, target: tg.compile(f, target=target),
                                     called_before], ids=["eager", "compiled", "called before"])
def test_a_compiled_step_inside_a_compiled_step(wrapped, target):
    p = tg.Parameter(np.ones(2))

    def step(x):
        loss = np.sum(p * p * x)
        loss.backprop()
        p.value = p.value - 0.25 * p.grad
        return loss

    inner = wrapped(step, target)
    outer = tg.compile(lambda: inner(1.0) + inner(np.ones(2)), target=target)
    for n in range(3):
        close(outer(), np.asarray(2 * (1 + 0.25) * 0.25 ** (2 * n)))
        np.testing.assert_allclose(p.value, 0.25 ** (n + 1))


class Triangular(Primitive):
    """A primitive that calls a library, which refuses the zeros that tracing has."""

    def forward(self, L, b):
        return scipy.linalg.solve_triangular(L, b, lower=True)

    def backward(self, grad, y, L, b):
        db = np.linalg.inv(L).T @ grad
        return -db[:, None] * y, db


class Smoothed(Primitive):
    def forward(self, x):
        return scipy.ndimage.gaussian_filter1d(x, 1.0)

    def backward(self, grad, y, x):
        return Smoothed.apply(grad)


def test_an_op_that_calls_a_library_is_no_constant():
    rng = np.random.default_rng(0)
    L, b = np.tril(rng.normal(size=(4, 4))) + 4 * np.eye(4), rng.normal(size=4)
    for f, args in ((lambda L, b: np.sum(Triangular(L, b) ** 2), (L, b)), (lambda x: np.sum(Smoothed(x) ** 2), (b,))):
        for g in (f, tg.grad(f)):
            compiled = tg.compile(g, target="auto")
            close(compiled(*args), g(*args))
            close(compiled(*[2 * x for x in args]), g(*[2 * x for x in args]))
            assert "target numpy" in compiled.explain()
            with pytest.raises(NotImplementedError, match=r"(Triangular|Smoothed) has no native form: use target"):
                tg.compile(g, target="native")(*args)
    with pytest.raises(ValueError, match=r"Triangular\("):  # what fails for its shapes still says so
        tg.compile(lambda b: Triangular(b, b))(np.ones((3, 2)))


# --------------------------------------------------------------------------------------------------- eager and compiled

@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("cases", by_op(CASES))
def test_every_op_by_numpy(cases, dtype):
    for case in in_dtype(cases, dtype):
        check_case([case], "numpy", dtype)


@pytest.mark.parametrize("cases", by_op(CASES)[::1 if DEEP > 1 else 3])
def test_every_op_natively(cases):
    """All calls of an op are one program: what cannot be native by itself is left out. Every op in the deep profile."""
    for dtype in (np.float32, np.float64):
        native = [case for case in cases if has_native_form(case, dtype)]
        if native:
            check_case(native, "native", dtype)
        left = {case.op for case in cases} - {case.op for case in native}
        assert not left & NATIVE, "of every op that has a native form something is native"


NATIVE = ({*FORMULAS, *RULES, *REDUCERS, *SCANS, ops.MatMul, ops.FoldWindows, ops.Conv2D, ops.LayerNorm, ops.Softmax}
          - {ops.Index, ops.ScatterAdd, ops.CumMax, ops.CumMin} | {OPS[name] for name in SPECIAL})


def has_native_form(case: Case, dtype: Any) -> bool:
    program = tg.compile(of_floats(case, dtype)).trace(*floats_of(case, dtype))
    try:
        native_target.build(optimized(program))
    except native_target.Unavailable:
        return False
    return True


def floats_of(case: Case, dtype: Any) -> list[np.ndarray]:
    return [x for x in case.arrays(dtype) if is_float(x)]


def of_floats(case: Case, dtype: Any) -> Callable[..., Any]:
    """Value and gradients as a function of the floating inputs: masks and labels come from outside."""
    f, inputs = value_and_gradients(case), case.arrays(dtype)

    def of(*floats: Any) -> Any:
        given = iter(floats)
        return f(*[next(given) if is_float(x) else x for x in inputs])
    return of


def check_case(cases: Sequence[Case], target: str, dtype: Any) -> None:
    functions, args = [of_floats(case, dtype) for case in cases], [floats_of(case, dtype) for case in cases]

    def f(args: Any) -> Any:
        return [function(*x) for function, x in zip(functions, args, strict=True)]

    with np.errstate(all="ignore"):
        for result, wanted, case in zip(tg.compile(f, target=target)(args), f(args), cases, strict=True):
            try:
                close(result, wanted, 10)
            except AssertionError as error:
                raise AssertionError(case.name) from error


# The table of conventions: compiled, a row holds up to rounding.

def compiled_grad(f: Any, xs: list[Any], n: int) -> Any:
    return tg.grad(f, range(n)), xs


def compiled_backprop(f: Any, xs: list[Any], n: int) -> Any:
    parameters = [tg.Parameter(x) for x in xs]

    def g() -> Any:
        f(*parameters).backprop()
        return tuple([p.grad for p in parameters])
    return g, []


def compiled_jvp(f: Any, xs: list[Any], n: int) -> Any:
    """Along each unit vector."""
    def g(*xs: Any) -> Any:
        return [[tg.jvp(f, xs, [unit if j == i else zero(y) for j, y in enumerate(given)])[1] for unit in units(x)]
                for i, x in enumerate(given)]

    given = [np.asarray(x) for x in xs]
    return g, given


def compiled_hessian(f: Any, xs: list[Any], n: int) -> Any:
    return (lambda x: (tg.hessian(f)(x),)), xs


def row_function(row: Row, way: Callable[..., Any]) -> tuple[Callable[..., Any], list[Any]]:
    xs = given_by(row["at"])
    return way(evaluate(row["function"], "x, y"[:3 * len(xs) - 2]), xs, len(xs))


def check_row(row: Row, result: Any, way: Any) -> None:
    xs = given_by(row["at"])
    tolerance = evaluate(row["tolerance"]) if row.get("tolerance") else 0
    wanted = [evaluate(row["second derivative"])] if way is compiled_hessian else expected(row["gradient"], xs)
    for x, actual, value in zip(xs, result, wanted, strict=True):
        actual = np.reshape(actual, np.shape(x) * (1 + (way is compiled_hessian)))
        assert actual.dtype == np.result_type(x)
        assert np.shape(actual) == np.shape(value)
        np.testing.assert_allclose(actual, value, rtol=2e-14, atol=tolerance)


WAYS = [compiled_grad, compiled_backprop, compiled_jvp, compiled_hessian]


def rows_of(way: Any) -> list[Row]:
    return [row for row in POINTS if way is not compiled_hessian or row.get("second derivative")]


@pytest.mark.parametrize(("row", "way"), [pytest.param(row, way, id=f"{named(row)}-{way.__name__}")
                                          for way in WAYS for row in rows_of(way)])
def test_conventions_by_numpy(row, way):
    f, args = row_function(row, way)
    with np.errstate(all="ignore"):
        check_row(row, tg.compile(f, target="numpy")(*args), way)


@pytest.mark.parametrize("way", WAYS)
def test_conventions_natively(way):
    """All rows of the tables in one program, apart from those with an op that has no native form."""
    rows, functions, given = [], [], []
    with np.errstate(all="ignore"):
        for row in rows_of(way):
            f, args = row_function(row, way)
            try:
                native_target.build(optimized(tg.compile(f).trace(*args)))
            except native_target.Unavailable:
                continue
            rows.append(row)
            functions.append(f)
            given.append(args)
    assert len(rows) > 0.6 * len(rows_of(way))
    compiled = tg.compile(lambda given: [f(*args) for f, args in zip(functions, given, strict=True)], target="native")
    failures = []
    for row, result in zip(rows, compiled(given), strict=True):
        try:
            check_row(row, result, way)
        except AssertionError as error:
            failures.append(f"{named(row)}: {error}")
    assert not failures, "\n".join(failures)


# Inputs of every kind.

@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (1, 1), (2, 3), (3, 0, 2)])
def test_shapes_with_nothing_in_them_and_none(shape, target):
    def f(x, y):
        z = np.exp(x) * y - x / (1 + y * y)
        return z, np.sum(z), np.sum(z, axis=tuple(range(z.ndim))), np.where(x > 0, z, 1.0), z.reshape(-1), z.T, z[...]

    def g(x, y):
        return tg.value_and_grad(lambda x, y: np.sum(np.tanh(x * y) * f(x, y)[0]), (0, 1))(x, y)

    compiled = tg.compile(lambda x, y: (f(x, y), g(x, y)), target=target)
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        x, y = rng.normal(size=(2, *shape)).astype(dtype)
        x, y = np.asarray(x), np.asarray(y)
        for _ in range(2):
            close(compiled(x, y), (f(x, y), g(x, y)), 10)


def layouts(x: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays with the entries of x (4, 6), laid out in every way."""
    wide = np.zeros((8, 12), x.dtype)
    wide[::2, ::2] = x
    apart = wide[::2, ::2]
    frozen = x.copy()
    frozen.flags.writeable = False
    memory = np.frombuffer(b"x" + x.tobytes(), x.dtype, offset=1).reshape(x.shape)  # not aligned
    swapped = x.astype(x.dtype.newbyteorder())

    class Sub(np.ndarray):
        pass

    return {"plain": x, "strided": apart, "fortran": np.asfortranarray(x), "frozen": frozen, "unaligned": memory,
            "reversed": x[::-1, ::-1].copy()[::-1, ::-1], "swapped": swapped, "subclass": x.view(Sub),
            "a part": np.concatenate([x, x], axis=1)[:, :6]}


@pytest.mark.parametrize("kind", list(layouts(np.ones((4, 6)))))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layouts_of_inputs(kind, dtype, target):
    def f(x, v):
        return np.sum(np.tanh(x @ x.T)[1:, [0, 0]] * np.max(x)) + np.mean(x[::2] ** 2) + np.sum(x * v)

    x = np.linspace(-1, 1, 24, dtype=dtype).reshape(4, 6)
    array = layouts(x)[kind]
    np.testing.assert_array_equal(array, x)
    both = tg.value_and_grad(f)
    if kind == "swapped" and target == "native":
        target = "auto"
    compiled = tg.compile(both, target=target)
    v = np.arange(6, dtype=dtype)
    for first in (x, array):  # the one that it was traced with, and not
        compiled(first, v)
        for other in (array, x, array):
            wanted = both(x, v)
            for result, value in zip(compiled(other, v), wanted, strict=True):
                close(np.asarray(result, dtype), np.asarray(value), 10)
    np.testing.assert_array_equal(array, x)


def test_one_array_as_two_arguments(target):
    s = tg.State(np.ones(4))

    def f(x, y):
        s.value = s.value + x * y
        return x * 2, y

    compiled, x = tg.compile(f, target=target), np.arange(4.0)
    for _ in range(3):
        two, same = compiled(x, x)
        np.testing.assert_array_equal(two, 2 * x)
        np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(s.value, 1 + 3 * x * x)
    compiled(s.value, s.value)  # what is read is what was there before
    np.testing.assert_array_equal(s.value, (1 + 3 * x * x) + (1 + 3 * x * x) ** 2)


# Random functions. What has a kink is made of inputs alone, so that rounding takes no other branch.

class Function:
    """A function of two arrays (2, 3) and (3,), drawn step by step."""

    def __init__(self, steps: list[tuple[int, int, int]]) -> None:
        self.steps = steps

    def __call__(self, x: Any, y: Any) -> Any:
        values = [x, np.tanh(x) * y, y * x - 0.5]
        exact = [x, x * 0 + y, x + 0 * y, -x]
        for kind, i, j in self.steps:
            a, b, e = values[i % len(values)], values[j % len(values)], exact[i % len(exact)]
            k = exact[j % len(exact)]
            values.append(STEPS[kind % len(STEPS)](a, b, e, k))
        return values[-1] + values[len(values) // 2] * 0.5

    def __repr__(self) -> str:
        return f"Function({self.steps})"


STEPS: list[Callable[[Any, Any, Any, Any], Any]] = [
    lambda a, b, e, k: a + b,
    lambda a, b, e, k: a * np.tanh(b),
    lambda a, b, e, k: a - 0.3 * b,
    lambda a, b, e, k: a / (1.5 + b * b),
    lambda a, b, e, k: np.exp(np.tanh(a)) * b,
    lambda a, b, e, k: np.log1p(a * a) + np.sqrt(1 + b * b),
    lambda a, b, e, k: np.sin(a) + np.cos(b) * np.expm1(-np.abs(np.tanh(a))),
    lambda a, b, e, k: np.where(e > k, a, b * b),
    lambda a, b, e, k: np.maximum(e, k) * b,
    lambda a, b, e, k: np.minimum(e * 2, 1.0) + ops.ReLU(k) * a,
    lambda a, b, e, k: a + np.sum(b, axis=0, keepdims=True),
    lambda a, b, e, k: a * np.mean(b, axis=1, keepdims=True),
    lambda a, b, e, k: a[::-1] + b[:, ::-1],
    lambda a, b, e, k: a[[0, 0]] * b[:, [2, 0, 2]],
    lambda a, b, e, k: np.pad(a[:, 1:], ((0, 0), (1, 0))) + b[1],
    lambda a, b, e, k: np.concatenate([a[1:], b[:1]]),
    lambda a, b, e, k: (a @ b.T) @ (b + 1) * 0.2,
    lambda a, b, e, k: (a.T @ np.tanh(b)) [:2],
    lambda a, b, e, k: np.tanh(a).reshape(3, 2).T + b,
    lambda a, b, e, k: ops.Softmax(np.tanh(a) * 2) * b,
    lambda a, b, e, k: ops.LayerNorm(np.tanh(a) + np.arange(3, dtype=a.dtype), b[0], b[1]),
    lambda a, b, e, k: ops.GELU(np.tanh(a)) - b,
    lambda a, b, e, k: np.max(e, axis=1, keepdims=True) * np.tanh(a) + np.min(k) * b,
    lambda a, b, e, k: np.where((e >= 0) & ~(k < 0.5), np.sqrt(np.abs(e)) * a, b),
    lambda a, b, e, k: (a * np.array([1, -2, 3])).astype(a.dtype) + 2 * (b != 0),
    lambda a, b, e, k: np.einsum("ij,kj->ik", a, np.tanh(b)) @ a,
    lambda a, b, e, k: np.broadcast_to(a[0], (2, 3)) * b ** 2,
    lambda a, b, e, k: np.stack([a[0], b[1]]) - np.squeeze(a[:1], 0),
]

functions = st.lists(st.tuples(*[st.integers(0, 2**10)] * 3), min_size=1, max_size=8).map(Function)


def bounded(f: Function) -> Callable[[Any, Any], Any]:
    return lambda x, y: np.sum(np.tanh(0.1 * f(x, y)) * np.linspace(-1, 1, 6).reshape(2, 3).astype(x.dtype))


def points(seed: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Some of them integers, so that there are ties and zeros."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 3)), rng.normal(size=3)
    if seed % 2:
        x, y = np.round(x), np.round(y)
    return x.astype(dtype), y.astype(dtype)


def check_functions(fs: list[Function], target: str, dtype: Any, seed: int) -> None:
    """Value, gradient and a product with the Hessian, of several functions in one program."""
    def all_of(x: Any, y: Any) -> Any:
        results = []
        for f in map(bounded, fs):
            results += [f(x, y), tg.grad(f, (0, 1))(x, y), tg.hvp(f)(x, x, y)]
        return results

    compiled = tg.compile(all_of, target=target)
    with np.errstate(all="ignore"):
        for k in (seed, seed + 1):
            x, y = points(k, dtype)
            if dtype == np.float64:
                close(compiled(x, y), all_of(x, y), 1e4)
            else:  # numbers of float64 made of those of float32 are no more exact
                close(*(as_dtype(f(x, y), dtype) for f in (compiled, all_of)), 1e3)


def as_dtype(results: Any, dtype: Any) -> Any:
    return [as_dtype(x, dtype) for x in results] if isinstance(results, list | tuple) else np.asarray(
        results.value if isinstance(results, tg.Node) else results, dtype)


@settings(max_examples=40 * DEEP)
@given(f=functions, seed=st.integers(0, 100), dtype=st.sampled_from([np.float64, np.float32]))
def test_random_functions_by_numpy(f, seed, dtype):
    check_functions([f], "numpy", dtype, seed)


@settings(max_examples=5 * DEEP, phases=AS_DRAWN)
@given(fs=st.lists(functions, min_size=2, max_size=3), seed=st.integers(0, 100),
       dtype=st.sampled_from([np.float64, np.float32]))
def test_random_functions_natively(fs, seed, dtype):
    check_functions(fs, "native", dtype, seed)


@st.composite
def networks(draw: Any) -> Any:
    """A function that makes a network and its training step: layers, activations, loss and optimizer are drawn."""
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    activation = draw(st.sampled_from([ops.ReLU, np.tanh, ops.GELU, np.sin, lambda x: np.maximum(x, 0.1 * x)]))
    norm, columns = draw(st.booleans()), draw(st.booleans())
    squares, optimizer = draw(st.booleans()), draw(st.sampled_from(["sgd", "momentum", "adam"]))
    n, seed = draw(st.sampled_from([1, 2, 5, 40])), draw(st.integers(0, 1000))

    def make() -> tuple[Callable[..., Any], list[tg.State], tuple[Any, ...]]:
        rng = np.random.default_rng(seed)
        layers = []
        for a, b in itertools.pairwise(widths):
            W, bias = rng.normal(size=(b, a) if columns else (a, b)), rng.normal(size=(b, 1) if columns else b)
            layers.append((tg.Parameter(W.astype(dtype)), tg.Parameter(bias.astype(dtype))))
        gain, shift = (tg.Parameter(rng.normal(size=widths[0]).astype(dtype)) for _ in range(2))
        parameters = [p for layer in layers for p in layer] + [gain, shift] * norm
        moments = [(tg.State(np.zeros(p.shape, dtype)), tg.State(np.zeros(p.shape, dtype))) for p in parameters]

        def step(x: Any, t: Any, rate: Any) -> Any:
            h = x
            if norm:
                h = ops.LayerNorm(h.T, gain, shift, eps=0.1).T if columns else ops.LayerNorm(h, gain, shift, eps=0.1)
            for W, bias in layers:
                h = activation(ops.AddBias(W @ h if columns else h @ W, bias))
            if squares:
                loss = np.mean((h - np.expand_dims(t, 0 if columns else 1).astype(h.dtype)) ** 2)
            else:
                loss = ops.LogSoftmaxNLL(h, t, axis=0 if columns else -1)
            loss.backprop()
            for p, (m, s) in zip(parameters, moments, strict=True):
                if optimizer == "sgd":
                    p.value = p.value - rate * p.grad
                    continue
                m.value = 0.9 * m.value + p.grad
                if optimizer == "adam":
                    s.value = 0.9 * s.value + 0.1 * p.grad * p.grad
                    p.value = p.value - rate * m.value / (np.sqrt(s.value) + 0.1)
                else:
                    p.value = p.value - rate * m.value
            return loss, h

        x = rng.normal(size=(widths[0], n) if columns else (n, widths[0])).astype(dtype)
        labels = rng.integers(0, widths[-1], n)
        return step, [*parameters, *[s for pair in moments for s in pair]], (x, labels, 0.05)

    return make


def check_network(make: Any, target: str) -> None:
    eager, eager_states, args = make()
    step, states, _ = make()
    compiled = tg.compile(step, target=target)
    with np.errstate(all="ignore"):
        for _ in range(3):
            close(compiled(*args), eager(*args), 300)
            close([s.value for s in states], [s.value for s in eager_states], 300)


@settings(max_examples=25 * DEEP)
@given(make=networks())
def test_random_networks_by_numpy(make):
    check_network(make, "numpy")


@settings(max_examples=12 * DEEP, phases=AS_DRAWN)
@given(make=networks())
def test_random_networks_natively(make):
    check_network(make, "native")


# -------------------------------------------------------------------------------------------------------------- threads

def together(*functions: Callable[[], Any]) -> list[Any]:
    """What functions return that start at the same time, each in a thread of its own, which take turns often."""
    barrier, interval = threading.Barrier(len(functions)), sys.getswitchinterval()

    def started(f: Callable[[], Any]) -> Any:
        barrier.wait()
        return f()

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(functions)) as pool:
            return [future.result() for future in [pool.submit(started, f) for f in functions]]
    finally:
        sys.setswitchinterval(interval)


def test_threads_that_compile_different_functions(target):
    def work(k: int) -> Callable[[], Any]:
        def run() -> Any:
            net, eager = Net(np.float64, "momentum"), Net(np.float64, "momentum")
            compiled = tg.compile(net.step, target=target)
            for n in (5, 6):
                close(compiled(*data(n=n), 0.1 * k), eager.step(*data(n=n), 0.1 * k))
            hessian = tg.hessian(lambda x: np.sum(np.sin(x) ** k))
            close(tg.compile(hessian, target=target)(VECTOR), hessian(VECTOR))
            close(net.values, eager.values)
            return k
        return run

    assert together(*map(work, range(1, 5))) == [1, 2, 3, 4]


def test_threads_that_share_a_function(target):
    compiled = tg.compile(tg.value_and_grad(lambda x, scale: np.sum(np.exp(x) * scale)), target=target)

    def work(k: int) -> Callable[[], Any]:
        def run() -> int:
            for n in range(60):
                x = np.full(1 + (n + k) % 3, 0.1 * k)
                value, grad = compiled(x, 2.0)
                np.testing.assert_allclose(grad, 2 * np.exp(x))
                np.testing.assert_allclose(value, 2 * np.exp(x).sum())
            return k
        return run

    assert together(*map(work, range(4))) == [0, 1, 2, 3]


def test_threads_that_take_each_others_place_in_the_cache():
    states = [tg.State(np.ones(2)) for _ in range(3)]  # comparing them is code in Python, in which threads take turns
    compiled = tg.compile(lambda s, x: s * x, target="numpy", cache_size=1)

    def work(state: tg.State) -> Callable[[], Any]:
        def run() -> bool:
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                if not (compiled(state, np.ones(2)) == 1).all():
                    return False
            return True
        return run

    assert all(together(*map(work, states)))


def test_threads_that_call_with_more_and_with_fewer_arguments(target):
    """The short way of the one is not tried with the arguments of the other."""
    compiled = tg.compile(lambda x, y=2.0: x * y, target=target)

    def work(*args: Any) -> Callable[[], Any]:
        def run() -> int:
            return sum(float(compiled(*args)) for _ in range(3000))
        return run

    compiled(1.0), compiled(1.0, 3.0)
    assert together(work(1.0), work(1.0, 3.0), work(1.0), work(1.0, 3.0)) == [6000, 9000, 6000, 9000]


def test_tracing_in_one_thread_is_nothing_to_another():
    """While a function is traced, states of another thread have values, and its backprop is eager."""
    inside, outside, p = threading.Event(), threading.Event(), tg.Parameter(np.ones(2))

    def f(x):
        inside.set()
        assert outside.wait(10)
        return x * 2

    def eager():
        assert inside.wait(10)
        np.sum(p * p).backprop()
        p.value = p.value + p.grad
        outside.set()
        return p.value

    result, value = together(lambda: tg.compile(f)(np.ones(2)), eager)
    np.testing.assert_array_equal(result, [2, 2])
    np.testing.assert_array_equal(value, [3, 3])
