"""Every op against oracles: the derivative of its reference by complex step and by central differences, of its own rule
by complex step, and, for a fused op, of its expansion; at first, second and third order.

The checks are functions of a `Problem`, one call of one op. They run over the registry in `cases`, and Hypothesis
runs some of them over random shapes and values. At the end ops with planted bugs show that each check can fail.
"""

from types import FunctionType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygraph as tg
from tinygraph import ops
from tinygraph.ops.special import OPS as SPECIAL
from tinygraph.recording import Variable

from .cases import CASES, RANDOM, Case, is_float
from .cases.registry import anywhere, nonzero
from .cases.special import COMPLEX_VALUED
from .oracles import along, complex_step, differences, gradient, weighted

SMOOTH = [case for case in CASES if not case.flat]
FLAT = [case for case in CASES if case.flat]
FUSED = [case for case in SMOOTH if not issubclass(case.op, tg.Primitive)]
SEVERAL = [case for case in SMOOTH if sum(map(is_float, case.arrays())) > 1]
TOLERANCE = {"d": 1e-9, "f": 2e-5, "e": 1e-2}  # by type code, relative to the largest entry


class Problem:
    """One call of an op: its inputs, a random cotangent for its value and random tangents for its floating inputs."""

    def __init__(self, case: Case, inputs: Any = None, seed: int = 0) -> None:
        self.case = case
        self.inputs = case.arrays() if inputs is None else inputs
        self.wrt = [i for i, x in enumerate(self.inputs) if is_float(x)]
        self.primals = [self.inputs[i] for i in self.wrt]
        self.blank = case.op.__new__(case.op)  # a node that was never built: for methods that must not look at it
        self.value = np.asarray(self.forward(*self.primals)[0])
        self.oracle = complex_step if case.stepped else differences
        self.rng = np.random.default_rng(seed)
        self.cotangent = self.like(self.value)

    def like(self, x: np.ndarray) -> np.ndarray:
        """Random numbers of the shape and dtype of x."""
        return np.asarray(self.rng.uniform(0.5, 1.5, x.shape) * self.rng.choice([-1, 1], x.shape), x.dtype)

    def tangents(self) -> list[np.ndarray]:
        return [self.like(x) for x in self.primals]

    @property
    def tolerance(self) -> float:
        """What the coarsest type of the problem allows: nothing, if there are no floats."""
        return max((TOLERANCE[x.dtype.char] for x in [self.value, *self.primals] if is_float(x)), default=0)

    def close(self, actual: Any, expected: Any) -> None:
        """Assert that two arrays, or two lists of arrays, agree."""
        if isinstance(expected, list | tuple):
            assert len(actual) == len(expected)
            for a, e in zip(actual, expected, strict=True):
                self.close(a, e)
            return
        assert np.shape(actual) == np.shape(expected)
        assert np.isfinite(expected).all()  # or it would be no oracle
        scale = 1 + np.max(np.abs(expected), initial=0)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=self.tolerance * scale)

    def given(self, primals: Any) -> list[Any]:
        """All inputs, with these in the place of the floating ones."""
        inputs = list(self.inputs)
        for i, x in zip(self.wrt, primals, strict=True):
            inputs[i] = x
        return inputs

    def op(self, *primals: Any) -> Any:
        """The node."""
        return self.case.op(*self.given(primals), **self.case.options)

    def reference(self, *primals: Any) -> Any:
        return self.case.reference(*self.given(primals), **self.case.options)

    def expansion(self, *primals: Any) -> Any:
        """The node that the op's forward makes of primitives."""
        result = self.blank.expand(*self.given(primals), **self.case.options)
        return result[0] if isinstance(result, tuple) else result

    def forward(self, *primals: Any) -> tuple[Any, ...]:
        """The output and what is kept, of the op's forward on arrays."""
        result = self.blank.forward(*self.given(primals), **self.case.options)
        return result if isinstance(result, tuple) else (result,)

    def rule(self, cotangent: Any, *primals: Any, op: Any = None) -> list[Any]:
        """What the op's backward returns on arrays, before the tape gets hold of it."""
        value, *kept = self.forward(*primals)
        op = self.blank if op is None else op
        parts = op.backward(cotangent, value, *self.given(primals), *kept, **self.case.options)
        parts = parts if isinstance(parts, tuple) else (parts,)
        return [parts[i]() if isinstance(parts[i], FunctionType) else parts[i] for i in self.wrt]

    def pull(self, cotangent: Any) -> list[np.ndarray]:
        """The engine's gradients."""
        return list(tg.vjp(self.op, *self.primals)[1](cotangent))


def inner(xs: Any, ys: Any) -> Any:
    """The sum of all products, of arrays or of nodes. Broadcasts, and so undoes broadcasting in xs."""
    return sum(np.sum(x * y) for x, y in zip(xs, ys, strict=True))


# -------------------------------------------------------------------------------------------------------------- checks

def check_value(problem: Problem) -> None:
    """The node's value is the reference's, and exactly what forward returns on arrays; its dtype is the inputs'."""
    node = problem.op(*problem.primals)
    expected = np.asarray(problem.reference(*problem.primals))
    problem.close(node.value, expected)
    np.testing.assert_array_equal(node.value, problem.value, strict=True)
    floats = [x.dtype for x in problem.primals]
    assert node.dtype == (problem.case.result or np.result_type(*floats))
    assert not node.value.flags.writeable


def check_gradient(problem: Problem) -> None:
    """Reverse mode against both oracles."""
    loss = weighted(problem.reference, problem.cotangent)
    actual = problem.pull(problem.cotangent)
    problem.close(actual, gradient(problem.oracle, loss, problem.primals))
    problem.close(actual, gradient(differences, loss, problem.primals))


def check_tangent(problem: Problem) -> None:
    """Forward mode against both oracles, and against reverse mode: <c, J v> = <Jᵀ c, v>."""
    tangents = problem.tangents()
    value, actual = tg.jvp(problem.op, problem.primals, tangents)
    problem.close(value, problem.value)
    problem.close(actual, problem.oracle(problem.reference, problem.primals, tangents))
    problem.close(actual, differences(problem.reference, problem.primals, tangents))
    problem.close(np.sum(actual * problem.cotangent), inner(problem.pull(problem.cotangent), tangents))


def second_order(problem: Problem, f: Any, tangents: Any) -> list[np.ndarray]:
    """The derivative of <Jᵀ c, v> by the inputs and by c: a backprop through a traced backprop of the node f makes."""
    primals, cotangent = [tg.Parameter(x) for x in problem.primals], tg.Parameter(problem.cotangent)
    grads = tg.backprop(f(*primals), wrt=primals, grad=cotangent, traced=True)
    return tg.backprop(inner(grads, tangents), wrt=[*primals, cotangent])


def check_second(problem: Problem) -> None:
    """Second order against both oracles on the reference, and against complex step on the op's own rule."""
    tangents, c, primals = problem.tangents(), problem.cotangent, problem.primals
    *actual, by_cotangent = second_order(problem, problem.op, tangents)
    problem.close(by_cotangent, problem.oracle(problem.reference, primals, tangents))
    if not problem.case.stepped:  # differences of differences are no oracle: of the rule, then, which was checked
        problem.close(actual, gradient(differences, lambda *xs: inner(problem.rule(c, *xs), tangents), primals))
        return
    slope = along(complex_step, weighted(problem.reference, c), tangents)
    problem.close(actual, gradient(differences, slope, primals))
    if problem.case.analytic and problem.case.op.rule is not None:
        problem.close(actual, gradient(complex_step, lambda *xs: inner(problem.rule(c, *xs), tangents), primals))


def third_order(problem: Problem, f: Any, u: Any, v: Any) -> list[np.ndarray]:
    """The gradient of the second derivative of <c, f> along u and v: three nested transforms."""
    everything = range(len(problem.primals))
    slope = tg.grad(weighted(f, problem.cotangent), everything)
    curvature = tg.grad(lambda *xs: inner(slope(*xs), u), everything)
    return list(tg.grad(lambda *xs: inner(curvature(*xs), v), everything)(*problem.primals))


def check_third(problem: Problem) -> None:
    """Third order along three random directions."""
    u, v, w = (problem.tangents() for _ in range(3))
    actual = inner(third_order(problem, problem.op, u, v), w)
    if problem.case.stepped:
        slope = along(complex_step, weighted(problem.reference, problem.cotangent), u)
        expected = differences(along(differences, slope, v), problem.primals, w)
    else:  # of what was checked, one order below
        def curvature(*xs: Any) -> Any:
            return inner(second_order(Problem(problem.case, problem.given(xs)), problem.op, u)[:-1], v)
        expected = differences(curvature, problem.primals, w)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=max(1e-6, problem.tolerance * (1 + abs(expected))))


def check_linear(problem: Problem) -> None:
    """The gradient is linear in the incoming gradient."""
    c, d = problem.cotangent, problem.like(problem.value)
    both = [2 * a - 3 * b for a, b in zip(problem.pull(c), problem.pull(d), strict=True)]
    problem.close(problem.pull(2 * c - 3 * d), both)
    problem.close(problem.pull(0 * c), [np.zeros_like(x) for x in problem.primals])


def check_pure(problem: Problem) -> None:
    """Neither direction writes into what it is given, and backward depends on nothing else, not even on the node."""
    c = problem.cotangent
    held = [x for x in [*problem.inputs, c] if isinstance(x, np.ndarray)]
    before = [x.tobytes() for x in held]
    node = problem.op(*problem.primals)
    value = node.value.tobytes()
    first = problem.rule(c, *problem.primals, op=node)
    problem.rule(3 * c + 1, *problem.primals)
    again = problem.rule(c, *problem.primals)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    pull = tg.vjp(problem.op, *problem.primals)[1]
    first, _, again = pull(c), pull(3 * c + 1), pull(c)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    assert [x.tobytes() for x in held] == before
    assert node.value.tobytes() == value


def check_memory(problem: Problem) -> None:
    """A gradient has its input's shape and dtype, is writable, and shares memory with nothing."""
    primals = [tg.Parameter(x) for x in problem.primals]
    node = problem.op(*primals)
    grads = tg.backprop(node, wrt=primals, grad=problem.cotangent) + problem.pull(problem.cotangent)
    others = [*problem.inputs, *(x.value for x in primals), node.value, problem.cotangent, *getattr(node, "kept", ())]
    for i, grad in enumerate(grads):
        x = problem.primals[i % len(primals)]
        assert (type(grad), grad.shape, grad.dtype) == (np.ndarray, x.shape, x.dtype)
        assert grad.flags.writeable
        for other in others + grads[:i]:
            assert not np.shares_memory(grad, other)


def check_layout(problem: Problem) -> None:
    """Transposed, reversed, strided, repeated and read-only inputs and cotangents are as good as contiguous ones."""
    for layout in (transposed, reversed_, strided, repeated, read_only):
        other = Problem(problem.case, [layout(x) if isinstance(x, np.ndarray) else x for x in problem.inputs])
        plain = Problem(problem.case, [x.copy() if isinstance(x, np.ndarray) else x for x in other.inputs])
        assert other.value.dtype == plain.value.dtype
        problem.close(other.op(*other.primals).value, plain.value)
        problem.close(other.pull(layout(other.cotangent)), plain.pull(layout(other.cotangent).copy()))


def transposed(x: np.ndarray) -> np.ndarray:
    return x.T.copy().T


def reversed_(x: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(x).copy())


def strided(x: np.ndarray) -> np.ndarray:
    return np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x


def repeated(x: np.ndarray) -> np.ndarray:
    """The first row again and again, with a stride of zero; only of floats, for an index has a meaning."""
    return np.broadcast_to(x[:1], x.shape) if x.size and x.ndim and is_float(x) else x


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def check_precision(problem: Problem, dtype: Any) -> None:
    """float32 and float16 stay what they are: the value, what the rule returns, each node of a traced backprop."""
    narrow = Problem(problem.case, problem.case.arrays(dtype))
    wide = Problem(problem.case, [x.astype(float) if is_float(x) else x for x in narrow.inputs])
    check_value(narrow)
    actual = narrow.pull(narrow.cotangent)
    loss = weighted(wide.reference, narrow.cotangent.astype(float))
    narrow.close(actual, gradient(problem.oracle, loss, wide.primals))
    assert {grad.dtype for grad in actual} == {np.dtype(dtype)}
    tangents = narrow.tangents()
    narrow.close(second_order(narrow, narrow.op, tangents), second_order(wide, wide.op, tangents))
    if problem.case.result is None:  # no wider dtype was asked for
        primals = [tg.Parameter(x) for x in narrow.primals]
        grads = tg.backprop(narrow.op(*primals), wrt=primals, grad=narrow.cotangent, traced=True)
        second = tg.backprop(inner(grads, tangents), wrt=primals, traced=True)
        met = [*narrow.rule(narrow.cotangent, *narrow.primals), *(node.value for node in tg.Tape(*grads, *second))]
        assert {x.dtype for x in met if is_float(x)} == {np.dtype(dtype)}


def check_float32(problem: Problem) -> None:
    check_precision(problem, np.float32)


def check_float16(problem: Problem) -> None:
    if problem.case.half:
        check_precision(problem, np.float16)


def check_expansion(problem: Problem) -> None:
    """The rule of a fused op and the derivative of its expansion, at first, second and third order."""
    expansion, u, v = problem.expansion, problem.tangents(), problem.tangents()
    problem.close(expansion(*map(tg.constant, problem.primals)).value, problem.value)
    problem.close(problem.pull(problem.cotangent), list(tg.vjp(expansion, *problem.primals)[1](problem.cotangent)))
    problem.close(second_order(problem, problem.op, u), second_order(problem, expansion, u))
    problem.close(third_order(problem, problem.op, u, v), third_order(problem, expansion, u, v))


def check_alone(problem: Problem) -> None:
    """An input that alone is a variable gets the same derivatives, whether the others are arrays or constant nodes."""
    tangents = problem.tangents()
    for i, first in enumerate(problem.pull(problem.cotangent)):
        only = [v if j == i else np.zeros_like(v) for j, v in enumerate(tangents)]
        second = second_order(problem, problem.op, only)[i]
        for wrap in (np.copy, tg.constant):
            x, others = tg.Parameter(problem.primals[i]), [wrap(x) for x in problem.primals]
            node = problem.op(*others[:i], x, *others[i + 1:])
            np.testing.assert_array_equal(tg.backprop(node, wrt=x, grad=problem.cotangent), first, strict=True)
            grad = tg.backprop(node, wrt=x, grad=problem.cotangent, traced=True)
            problem.close(tg.backprop(np.sum(grad * tangents[i]), wrt=x), second)


def check_same_node(problem: Problem) -> None:
    """One node in the place of every input gets the sum of their gradients."""
    x = np.abs(problem.primals[-1]) + 0.4
    def f(x: Any) -> Any:
        return problem.op(*[x] * len(problem.primals))
    def reference(x: Any) -> Any:
        return problem.reference(*[x] * len(problem.primals))
    loss = weighted(reference, problem.cotangent)
    problem.close(list(tg.vjp(f, x)[1](problem.cotangent)), gradient(problem.oracle, loss, [x]))


def check_mixed_precision(problem: Problem) -> None:
    """float32 beside float64: each input gets a gradient of its own dtype."""
    dtypes = [np.float32, np.float64, np.float32, np.float64][:len(problem.primals)]
    mixed = Problem(problem.case, problem.given([x.astype(d) for x, d in zip(problem.primals, dtypes, strict=True)]))
    wide = Problem(problem.case, problem.given([x.astype(float) for x in mixed.primals]))
    assert mixed.op(*mixed.primals).dtype == np.float64
    assert [grad.dtype for grad in mixed.pull(mixed.cotangent)] == dtypes
    mixed.close(mixed.pull(mixed.cotangent), wide.pull(mixed.cotangent))
    second = second_order(mixed, mixed.op, mixed.primals)
    assert [grad.dtype for grad in second] == [*dtypes, np.float64]


def check_numbers(problem: Problem) -> None:
    """A Python float gets a float, a NumPy number a 0-d array of its dtype."""
    expected = problem.pull(problem.cotangent)
    value, pull = tg.vjp(problem.op, *(float(x) for x in problem.primals))
    assert {type(x) for x in [value, *pull(1.0)]} == {float}
    problem.close([np.array(x) * problem.cotangent for x in pull(1.0)], expected)
    grads = tg.vjp(problem.op, *(np.float32(x) for x in problem.primals))[1](np.float32(1))
    assert {(type(x), x.shape, x.dtype) for x in grads} == {(np.ndarray, (), np.dtype(np.float32))}


def check_flat(problem: Problem) -> None:
    """An op that no gradient flows through: functions of it have the gradient of what is beside it."""
    assert not problem.op(*map(tg.Parameter, problem.primals)).needs_grad
    if not problem.primals:  # of booleans
        return
    def f(*xs: Any) -> Any:
        return sum(np.sum(x) for x in xs) + np.sum(problem.op(*xs) * 2.5)
    grads, tangents = tg.grad(f, range(len(problem.primals)))(*problem.primals), problem.tangents()
    problem.close(grads, [np.ones_like(x) for x in problem.primals])
    problem.close(tg.jvp(f, problem.primals, tangents)[1], sum(map(np.sum, tangents)))


CHECKS = [check_value, check_gradient, check_tangent, check_second, check_third, check_linear, check_pure, check_memory,
          check_layout, check_float32, check_float16, check_alone]


# ------------------------------------------------------------------------------------------------- over the registry

def named(items: Any) -> Any:
    return pytest.mark.parametrize("case", items, ids=lambda case: case.name)


COMPLEX = ("tinygraph.ops.complex_numbers", "tinygraph.ops.fourier")
LAPACK = ("tinygraph.ops.decompositions", "tinygraph.ops.linear_systems", "tinygraph.ops.matrix_functions")


def every_op(base: Any = tg.Op) -> set[type[tg.Op]]:
    """The ops that the package defines, wherever; but not `Variable`, which every transform wraps around its inputs,
    nor those that are tested elsewhere: of the compiler's programs, of random numbers, checkpoints; and by
    `test_functions` what LAPACK computes, which knows no float16 and no complex step, and what has to do with complex
    numbers."""
    elsewhere = ("tinygraph.compile.", "tinygraph.random", "tinygraph.control", *LAPACK, *COMPLEX)
    found = {op for op in base.__subclasses__() if op.__module__.startswith("tinygraph.") and op is not Variable
             and not op.__module__.startswith(elsewhere) and op not in COMPLEX_VALUED}
    return {op for op in found if hasattr(op, "forward")}.union(*map(every_op, found))


def test_no_op_is_left_out():
    mine = {name for name in ops.__all__ if not getattr(ops, name).__module__.startswith((*LAPACK, *COMPLEX))}
    mine |= {name for name, op in SPECIAL.items() if op not in COMPLEX_VALUED}
    assert {op.__name__ for op in every_op() if op.__module__.startswith("tinygraph.ops.")} == mine
    assert {case.op for case in CASES} == every_op()
    assert set(RANDOM) == {op for op in every_op() if op.differentiable and SPECIAL.get(op.__name__) is not op}
    assert {case.op for case in FLAT} == {op for op in every_op() if not op.differentiable}


@pytest.mark.parametrize("op", sorted(every_op(), key=lambda op: op.__name__), ids=lambda op: op.__name__)
def test_no_option_is_left_out(op):
    assert op.option_names == {name for case in CASES if case.op is op for name in case.options}


@pytest.mark.parametrize("check", CHECKS)
@named(SMOOTH)
def test_op(case, check):
    check(Problem(case))


@named(FUSED)
def test_rule_of_a_fused_op_is_the_derivative_of_its_expansion(case):
    check_expansion(Problem(case))


OF_ITS_FIRST_INPUT = {ops.AddAt, ops.MaxAt, ops.MinAt, ops.SetAt}  # is the dtype of such an op


@named([case for case in SEVERAL if case.op not in OF_ITS_FIRST_INPUT])
def test_inputs_of_different_precision(case):
    check_mixed_precision(Problem(case))


@named([case for case in SEVERAL if len({shape for domain, shape in case.inputs if is_float(domain(np.ones(1)))}) == 1])
def test_one_node_in_every_place(case):
    check_same_node(Problem(case))


@named([case for case in SMOOTH if case.result is None and all(shape == () for _, shape in case.inputs)])
def test_numbers(case):
    problem = Problem(case)
    if problem.value.shape == ():
        check_numbers(problem)


@pytest.mark.parametrize("check", [check_value, check_flat])
@named(FLAT)
def test_op_without_gradient(case, check):
    check(Problem(case))


@pytest.mark.parametrize("op", RANDOM, ids=lambda op: op.__name__)
@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data(), seed=st.integers(0, 2 ** 32))
def test_op_on_random_shapes_and_values(op, data, seed):
    case = data.draw(st.one_of(RANDOM[op]))
    units = [data.draw(hnp.arrays(float, shape, elements=st.floats(0, 1, width=32))) for _, shape in case.inputs]
    problem = Problem(case, case.from_units(units), seed)
    for check in (check_value, check_gradient, check_tangent, check_second, check_memory):
        check(problem)


@pytest.mark.parametrize("op", sorted(every_op(), key=lambda op: op.__name__), ids=lambda op: op.__name__)
def test_apply_on_arrays_is_forward(op):
    problem = Problem(next(case for case in CASES if case.op is op))
    result = op.apply(*problem.inputs, **problem.case.options)
    np.testing.assert_array_equal(result[0] if isinstance(result, tuple) else result, problem.value)


# -------------------------------------------------------------------------------------- what single ops promise beyond

def test_mean_of_nothing_is_nan_with_numpys_warning_and_an_empty_gradient():
    x = tg.Parameter(np.zeros((0, 3)))
    with pytest.warns(RuntimeWarning):
        loss = x.mean()
    assert np.isnan(loss.value)
    assert tg.backprop(loss, wrt=x).shape == (0, 3)


@pytest.mark.parametrize("largest", [ops.Max, ops.Min])
def test_max_of_nothing_is_numpys_error(largest):
    with pytest.raises(ValueError, match=rf"{largest.__name__}.*zero-size"):
        largest(tg.Parameter(np.zeros((0, 3))))


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_an_index_adds_its_gradient_beside_other_uses(order):
    """Index adds in place into what may be the caller's cotangent or another op's gradient."""
    weights = np.array([1.0, 10.0, 100.0])
    uses = [lambda x: x, lambda x: x[[0, 0, 1]], lambda x: x[::-1]]
    p = tg.Parameter(np.array([2.0, 3.0, 4.0]))
    x = p * 1.0
    first, second, third = (uses[i](x) for i in order)
    grad = tg.backprop(first + second + third, wrt=p, grad=weights)
    np.testing.assert_array_equal(grad, [1 + 11 + 100, 10 + 100 + 10, 100 + 0 + 1])
    np.testing.assert_array_equal(weights, [1, 10, 100])


@pytest.mark.parametrize("repeats", [1, 1000])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_selection_drops_what_is_not_finite(dtype, repeats):
    """Whatever way is taken: small or large, in memory order or not, with a mask that repeats."""
    bad = np.tile(np.array([[np.nan], [np.inf], [-np.inf], [-5.0], [5.0]], dtype), repeats)
    mask = np.array([[False], [False], [False], [True], [True]])
    x, expected = tg.Parameter(bad), np.where(mask, bad, 0)
    for node in (ops.Keep(x, mask), ops.Keep(x, np.tile(mask, repeats)), np.where(mask, x, 0),
                 ops.Keep(x[::-1], mask[::-1])[::-1], ops.Keep(x.T, mask.T).T):
        np.testing.assert_array_equal(node.value, expected, strict=True)
        np.testing.assert_array_equal(tg.backprop(node, wrt=x, grad=bad), expected, strict=True)


@pytest.mark.parametrize("choose", [np.max, np.min])
def test_ties_share_evenly(choose):
    x = np.array([[2.0, 2.0, 2.0], [2.0, 7.0, 7.0], [-3.0, -3.0, -4.0]])
    for sign in (1, -1):
        rows = tg.grad(lambda x, sign=sign: np.sum(choose(sign * x, axis=1) * [1.0, 10.0, 100.0]))(x)
        chosen = sign * x == choose(sign * x, axis=1)[:, None]
        weights = np.array([[1.0], [10.0], [100.0]])
        np.testing.assert_allclose(rows, sign * weights * chosen / chosen.sum(axis=1)[:, None], rtol=1e-15)


@pytest.mark.parametrize(("z", "b"), [((3,), (2, 3)), ((2, 3), (4,)), ((2, 1), (1, 3)), ((), (1,)), ((1, 3), (0, 1)),
                                      ((3, 3, 2), (3, 1)), ((2, 3), ())])
def test_a_bias_that_does_not_fit(z, b):
    with pytest.raises(ValueError, match="AddBias") as caught:
        ops.AddBias(tg.Parameter(np.ones(z)), tg.Parameter(np.ones(b)))
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------- LogSoftmaxNLL, by hand once more

def softmax(Z: Any, axis: int) -> Any:
    E = np.exp(Z - Z.real.max(axis=axis, keepdims=True))
    return E / E.sum(axis=axis, keepdims=True)


def one_hot(t: np.ndarray, n: int, axis: int) -> np.ndarray:
    return np.moveaxis(np.eye(n)[t], -1, axis)


NLL = [case for case in CASES if case.op is ops.LogSoftmaxNLL]


@named(NLL)
def test_log_softmax_nll_by_complex_step_of_the_next_lower_derivative(case):
    """The gradient (P - T) / n and its derivative along U, P (U - sum of P U) / n, are written out by hand."""
    Z, t = case.arrays()
    axis, n = case.options.get("axis", -1), t.size
    problem = Problem(case)
    U, V = problem.like(Z), problem.like(Z)

    def first(Z: Any) -> Any:
        return (softmax(Z, axis) - one_hot(t, Z.shape[axis], axis)) / n

    def second(Z: Any) -> Any:
        P = softmax(Z, axis)
        return P * (U - (P * U).sum(axis=axis, keepdims=True)) / n

    loss = tg.grad(problem.op)
    along_U = tg.grad(lambda Z: np.sum(loss(Z) * U))
    along_V = tg.grad(lambda Z: np.sum(along_U(Z) * V))
    problem.close(loss(Z), first(Z))
    problem.close(along_U(Z), second(Z))
    problem.close(along_U(Z), gradient(complex_step, weighted(first, U), [Z])[0])
    problem.close(along_V(Z), gradient(complex_step, weighted(second, V), [Z])[0])


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("t", [[0, 0], [1, 1], [1, 0], [2, 1]])
@pytest.mark.parametrize(("largest", "dtype"), [(1e4, np.float64), (8e307, np.float64), (1e4, np.float32),
                                                (1.5e38, np.float32), (3e4, np.float16)])
def test_log_softmax_nll_of_large_logits(largest, dtype, t, axis):
    """The loss is the distance to the largest logit, and the gradient softmax minus one-hot, to the last digit."""
    Z, t = np.array([[largest, -largest, 0], [-largest, largest, largest]], dtype), np.array(t)
    expected = (np.array([[1, 0, 0], [0, 0.5, 0.5]], dtype) - one_hot(t, 3, -1).astype(dtype)) / 2
    distance = Z.max(axis=1) / 2 - Z[[0, 1], t] / 2
    z = tg.Parameter(Z if axis == -1 else Z.T)
    loss = ops.LogSoftmaxNLL(z, t, axis=axis)
    traced = tg.backprop(loss, wrt=z, traced=True)
    second = tg.backprop(np.sum(traced * traced), wrt=z)
    assert loss.dtype == dtype
    np.testing.assert_allclose(loss.value, distance.sum(), rtol=1e-3, atol=1)
    for grad in (tg.backprop(loss, wrt=z), traced.value):
        np.testing.assert_array_equal(grad if axis == -1 else grad.T, expected, strict=True)
    assert np.isfinite(second).all()


@pytest.mark.parametrize("labels", [
    [0, 1, 3], [0, 1, -1], [0, 1], [0, 1, 2, 0], [[0], [1], [2]], [[0, 1, 2]], 0, [0.0, 1.0, 2.0], [True, False, True],
    ["a", "b", "c"], [], None, [0, 1, 2 ** 40], [None, 0, 1], np.array([0, 1, 3], np.uint8)], ids=repr)
@pytest.mark.parametrize("axis", [-1, 0])
def test_wrong_labels_are_one_clear_error(labels, axis):
    Z = tg.Parameter(np.zeros((3, 3)))
    with pytest.raises((ValueError, TypeError)) as caught:
        ops.LogSoftmaxNLL(Z, labels, axis=axis)
    assert "\n" not in str(caught.value)
    assert any(word in str(caught.value) for word in ("labels", "numbers"))


@pytest.mark.parametrize(("shape", "labels", "axis"), [
    ((0, 3), (0,), -1), ((3, 0), (3,), -1), ((3, 0), (0,), 0), ((), (), -1), ((3, 3), (3,), 2), ((3, 3), (3,), -3)])
def test_logits_that_leave_nothing_to_average_or_no_axis(shape, labels, axis):
    with pytest.raises((ValueError, TypeError), match="LogSoftmaxNLL"):
        ops.LogSoftmaxNLL(tg.Parameter(np.zeros(shape)), np.zeros(labels, int), axis=axis)


def test_labels_in_any_form():
    Z = tg.Parameter(np.arange(6.0).reshape(2, 3))
    expected = ops.LogSoftmaxNLL(Z, np.array([2, 0]))
    for labels in ([2, 0], (2, 0), tg.constant([2, 0]), tg.State(np.array([2, 0])), np.array([2, 0], np.int8)):
        loss = ops.LogSoftmaxNLL(Z, labels)
        assert loss.value == expected.value
        np.testing.assert_array_equal(tg.backprop(loss, wrt=Z), tg.backprop(expected, wrt=Z))
    row = tg.Parameter(np.arange(3.0))
    assert ops.LogSoftmaxNLL(row, 2).value == ops.LogSoftmaxNLL(row, np.array(2)).value


# -------------------------------------------------------------------------------- planted bugs: each check can fail

class Sound(tg.Op):
    """y = (exp x + a)², an op as users write them: options, and a value kept for the rule."""
    def forward(self, x, *, a):
        e = np.exp(x)
        return (e + a) ** 2, e

    def backward(self, grad, y, x, e, *, a):
        return 2 * grad * (e + a) * e


class SignFlipped(tg.Elementwise):
    def forward(self, x):
        return np.cos(x)

    def backward(self, grad, y, x):
        return grad * np.sin(x)


class FactorDropped(tg.Elementwise):
    def forward(self, x):
        return np.square(x)

    def backward(self, grad, y, x):
        return grad * x


class MaskMissing(tg.Op):
    def forward(self, x):
        return np.where(x > 0, x, 0)

    def backward(self, grad, y, x):
        return grad


class NotTransposed(tg.Op):
    def forward(self, A, B):
        return A @ B

    def backward(self, dC, C, A, B):
        return dC @ B, A @ dC


class BiasNotSummed(tg.Op):
    def forward(self, Z, b):
        return Z + b

    def backward(self, dY, Y, Z, b):
        return dY, dY[:, :1]


class BakedIn(tg.Op):
    """What it keeps reaches the traced rule as a number."""
    def forward(self, x):
        e = np.exp(x)
        return e * e, e

    def backward(self, grad, y, x, e):
        return 2 * grad * (e._value if isinstance(e, tg.Node) else e) ** 2


class SavedOnSelf(tg.Op):
    def forward(self, x):
        self.slope = np.cos(x)
        return np.sin(x)

    def backward(self, grad, y, x):
        return grad * self.slope


class WrongFromThirdOrderOn(tg.Op):
    """y = x³; its rule is right to first order in the distance from where it is traced."""
    def forward(self, x):
        return x * x * x

    def backward(self, grad, y, x):
        here = ops.StopGradient.apply(x)
        return 3 * grad * (2 * x * here - here * here)


class NotLinear(tg.Elementwise):
    def forward(self, x):
        return np.sin(x)

    def backward(self, grad, y, x):
        return grad * np.cos(x) * np.abs(grad)


class WritesIntoGradient(tg.Elementwise):
    def forward(self, x):
        return np.square(x)

    def backward(self, grad, y, x):
        if isinstance(grad, np.ndarray):
            grad *= 2
            return grad * x
        return 2 * grad * x


class WritesIntoInput(tg.Elementwise):
    def forward(self, x):
        return np.negative(x, out=x) if isinstance(x, np.ndarray) else -x

    def backward(self, grad, y, x):
        return -grad


class Remembers(tg.Elementwise):
    calls = 1

    def forward(self, x):
        return np.sin(x)

    def backward(self, grad, y, x):
        Remembers.calls += 1
        return grad * np.cos(x) * Remembers.calls


class ReadsMemoryOrder(tg.Elementwise):
    def forward(self, x):
        return 2 * (x.ravel(order="K").reshape(x.shape) if isinstance(x, np.ndarray) else x)

    def backward(self, grad, y, x):
        return 2 * grad


class Widens(tg.Elementwise):
    def forward(self, x):
        return np.square(x)

    def backward(self, grad, y, x):
        return np.float64(2) * grad * x


class WrongValue(tg.Elementwise):
    def forward(self, x):
        return np.sin(x) + 1

    def backward(self, grad, y, x):
        return grad * np.cos(x)


class StraightThrough(tg.Elementwise):
    """A rounding that claims to have no gradient, and has one."""
    def forward(self, x):
        return np.sign(x)

    def backward(self, grad, y, x):
        return grad


class NeedsCompany(tg.Elementwise):
    """Its gradients are right only if each of its inputs is a node."""
    def forward(self, a, b):
        return a * b

    def backward(self, grad, y, a, b):
        sign = -1 if any(isinstance(x, np.ndarray) for x in getattr(self, "inputs", ())) else 1
        return sign * grad * b, sign * grad * a


class Leaky(Problem):
    """An engine that hands out what it was given."""
    def pull(self, cotangent: Any) -> list[np.ndarray]:
        return [cotangent]


def fails(check: Any, problem: Problem) -> bool:
    try:
        check(problem)
    except (AssertionError, ValueError):  # ValueError: an array is read-only
        return True
    return False


SQUARE = [(nonzero, (2, 2))]
FROM_SECOND_ORDER_ON = {check_second, check_third, check_expansion}
FROM_FIRST_ORDER_ON = {check_gradient, check_tangent, check_second, check_float32, check_float16, check_expansion}
PLANTED: list[tuple[Case, set[Any]]] = [
    (Case(Sound, lambda x, a: (np.exp(x) + a) ** 2, SQUARE, {"a": 1.5}), set()),
    (Case(SignFlipped, np.cos, SQUARE), {*FROM_FIRST_ORDER_ON, check_third}),
    (Case(FactorDropped, lambda x: x * x, SQUARE), FROM_FIRST_ORDER_ON),
    (Case(MaskMissing, lambda x: x * (x.real > 0), SQUARE), FROM_FIRST_ORDER_ON),
    (Case(NotTransposed, lambda A, B: A @ B, SQUARE * 2), FROM_FIRST_ORDER_ON),
    (Case(BiasNotSummed, lambda Z, b: Z + b, [*SQUARE, (anywhere, (2, 1))]), FROM_FIRST_ORDER_ON),
    (Case(BakedIn, lambda x: np.exp(2 * x), SQUARE), FROM_SECOND_ORDER_ON),
    (Case(SavedOnSelf, np.sin, SQUARE), FROM_SECOND_ORDER_ON),
    (Case(WrongFromThirdOrderOn, lambda x: x * x * x, SQUARE), {check_third, check_expansion}),
    (Case(NotLinear, np.sin, SQUARE), {*FROM_FIRST_ORDER_ON, check_third, check_linear}),
    (Case(WritesIntoGradient, lambda x: x * x, SQUARE),
     {*FROM_FIRST_ORDER_ON, check_linear, check_pure, check_layout, check_alone} - {check_tangent}),
    (Case(WritesIntoInput, lambda x: -x, SQUARE),
     {check_value, check_pure, check_layout, check_float32, check_float16, check_expansion,
      check_second, check_memory, check_alone}),  # a parameter's array refuses to be written into
    (Case(Remembers, np.sin, SQUARE),
     {*FROM_FIRST_ORDER_ON, check_third, check_linear, check_pure, check_layout, check_alone}),
    (Case(ReadsMemoryOrder, lambda x: 2 * x, SQUARE), {check_layout}),
    (Case(Widens, lambda x: x * x, SQUARE), {check_float32, check_float16}),
    (Case(WrongValue, np.sin, SQUARE), {check_value, check_float32, check_float16}),
    (Case(NeedsCompany, lambda a, b: a * b, SQUARE * 2), {check_alone, check_pure}),
]


@pytest.mark.parametrize(("case", "expected"), PLANTED, ids=[case.op.__name__ for case, _ in PLANTED])
def test_planted_bugs_are_found_by_just_the_checks_that_look_for_them(case, expected):
    found = {check for check in [*CHECKS, check_expansion] if fails(check, Problem(case))}
    assert {check.__name__ for check in found} == {check.__name__ for check in expected}


def test_a_leak_and_a_gradient_out_of_nothing_are_found():
    assert fails(check_memory, Leaky(Case(ops.Negative, lambda x: -x, SQUARE)))
    assert fails(check_flat, Problem(Case(StraightThrough, np.sign, SQUARE, flat=True)))


def test_every_check_has_a_bug_that_it_finds():
    assert set().union(*(found for _, found in PLANTED)) == {*CHECKS, check_expansion}


def test_integer_logits_are_not_rounded_away():
    Z, t = np.array([[1, 2], [5, 4]]), np.array([0, 1])
    np.testing.assert_allclose(ops.LogSoftmaxNLL(Z, t, axis=0).item(), ops.LogSoftmaxNLL(Z * 1.0, t, axis=0).item())
