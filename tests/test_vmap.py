"""vmap: against a loop over the entries of the batch, alone and with the other transforms around it and inside it."""

import collections
import itertools
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import structure

from .test_batching import FUNCTIONS
from .test_calculus import NOT_TAKEN, functions

rng = np.random.default_rng(11)
X, Y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
W = rng.normal(size=(4, 3))
V = np.array([1.0, 0.5, -2.0])


def close(actual: Any, expected: Any, rtol: float = 1e-12) -> None:
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * (1 + np.max(np.abs(expected), initial=0)))


def alike(a: Any, b: Any, rtol: float = 1e-12) -> None:
    """Whether two structures have the same leaves."""
    assert [path for path, _ in structure.leaves(a)] == [path for path, _ in structure.leaves(b)]
    for (_, x), (_, y) in zip(structure.leaves(a), structure.leaves(b), strict=True):
        close(x, y, rtol)


def in_a_loop(f: Any, *batches: Any) -> Any:
    """f of one entry after the other."""
    results = [f(*entry) for entry in zip(*batches, strict=True)]
    columns = [[leaf for _, leaf in structure.leaves(result)] for result in results]
    return structure.filled(results[0], [np.stack(column) for column in zip(*columns, strict=True)])


# ------------------------------------------------------------------------------------------------- against a loop

NESTED = {name: case for name, case in FUNCTIONS.items() if name != "a rule that is not for nodes"}


@pytest.mark.parametrize(("f", "xs"), [(f, xs) for f, *xs in NESTED.values()], ids=NESTED)
def test_values_and_derivatives_are_those_of_the_entries(f, xs):
    """The value; the gradient of each entry; the gradient through the batch; and both twice."""
    every = range(len(xs))
    batches = [np.stack([x, 0.5 * x, -x + 0.1]) for x in xs]
    weights = np.cos(np.arange(100.0))

    def loss(*xs):
        y = np.reshape(f(*xs), -1)
        return np.sum(y * y * weights[:y.size])

    def slope(*xs):
        return sum(np.sum(g * np.cos(g)) for g in tg.grad(loss, every)(*xs))

    def total(f):
        return lambda *xs: np.sum(f(*xs) * weights[:3])

    value = tg.vmap(lambda *xs: f(*xs) * 1.0)(*batches)
    close(value, in_a_loop(lambda *xs: tg.vjp(f, *xs)[0], *batches))
    for g in (loss, slope):
        expected = in_a_loop(tg.grad(g, every), *batches)
        alike(tg.vmap(tg.grad(g, every))(*batches), expected, 1e-11)
        through = tg.grad(total(tg.vmap(g)), every)(*batches)
        alike(through, tuple(E * weights[:3].reshape(3, *[1] * (E.ndim - 1)) for E in expected), 1e-11)


@given(functions, st.integers(1, 4))
def test_random_functions(f, n):
    batch, other = X[:n], Y[:n]
    close(tg.vmap(f)(batch), in_a_loop(f, batch), 1e-11)
    close(tg.vmap(tg.jacobian(f))(batch), in_a_loop(tg.jacobian(f), batch), 1e-11)
    close(tg.vmap(lambda x, v: tg.jvp(f, (x,), (v,))[1])(batch, other),
          in_a_loop(lambda x, v: tg.jvp(f, (x,), (v,))[1], batch, other), 1e-11)
    J = tg.jacobian(tg.vmap(f))(batch)
    for i in range(n):
        close(J[i, :, i], tg.jacobian(f)(batch[i]), 1e-11)
        close(np.delete(J[i], i, axis=1), np.zeros((3, n - 1, 3)))


TRANSFORMED = {
    "grad": lambda f: tg.grad(f),
    "value_and_grad": tg.value_and_grad,
    "vjp": lambda f: lambda x: tg.vjp(f, x)[1](2.0)[0],
    "jvp": lambda f: lambda x: tg.jvp(f, (x,), (V * x,)),
    "jacobian": tg.jacobian,
    "hessian": tg.hessian,
    "hvp": lambda f: lambda x: tg.hvp(f)(x, V),
    "elementwise_grad": lambda f: tg.elementwise_grad(lambda x: f(x) * x),
    "grad of grad": lambda f: lambda x: tg.grad(lambda x: np.sum(tg.grad(f)(x) * V))(x),
    "vmap": lambda f: tg.vmap(lambda number: f(number * V)),
    "jacobian of vmap": lambda f: tg.jacobian(tg.vmap(lambda number: f(number * V))),
    "vmap of hessian": lambda f: tg.vmap(tg.hessian(lambda number: f(number * V))),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_each_transform_inside(name):
    def f(x):
        return np.sum(np.tanh(W @ x) ** 2) + np.max(x) * np.sum(np.where(x > 0, np.sqrt(np.abs(x)), x * x))

    transformed = TRANSFORMED[name](f)
    alike(tg.vmap(transformed)(X), in_a_loop(transformed, X), 1e-11)
    twice = tg.vmap(tg.vmap(transformed))(np.stack([X, Y]))
    alike(twice, in_a_loop(lambda x: in_a_loop(transformed, x), [X, Y]), 1e-11)
    if name != "jvp":
        alike(tg.compile(tg.vmap(transformed), target="numpy")(X), in_a_loop(transformed, X), 1e-11)


def test_nested_to_three():
    def f(x, y, z):
        return x * y**2 * z**3

    a, b, c = np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]), np.array([1.5, -1.0, 2.0, 0.3])
    table = tg.vmap(tg.vmap(tg.vmap(f, (None, None, 0)), (None, 0, None)), (0, None, None))
    close(table(a, b, c), np.einsum("i,j,k->ijk", a, b**2, c**3))
    mixed = tg.vmap(tg.vmap(tg.vmap(tg.grad(tg.grad(f, 1), 2), (None, None, 0)), (None, 0, None)), (0, None, None))
    close(mixed(a, b, c), np.einsum("i,j,k->ijk", a, 2 * b, 3 * c**2))
    close(tg.grad(lambda a: np.sum(table(a, b, c)))(a), np.full(2, np.sum(b**2) * np.sum(c**3)))


def test_inside_other_transforms():
    """The sum over the batch of x² times its weight, with vmap in the middle of a nest."""
    def f(w, x):
        return np.sum(tg.vmap(tg.grad(lambda x: w * x**3))(x))  # 3 w x²

    x = np.array([1.0, 2.0, -3.0])
    assert tg.grad(f)(2.0, x) == 3 * np.sum(x**2)
    close(tg.grad(f, 1)(2.0, x), 12 * x)
    close(tg.jvp(lambda x: tg.grad(f, 1)(2.0, x), (x,), (x,))[1], 12 * x)
    close(tg.hessian(f, 1)(2.0, x), np.diag(np.full(3, 12.0)))
    close(tg.grad(lambda w: tg.jvp(lambda x: f(w, x), (x,), (x,))[1])(2.0), 6 * np.sum(x**2))
    assert tg.grad(tg.grad(lambda w: f(w**2, x)))(2.0) == 6 * np.sum(x**2)


CONFUSIONS = {
    "closure over the outer variable": (lambda D, d: D(lambda x: x * d(lambda y: x + y)(1.0))(1.0), 1),
    "product with the outer variable": (lambda D, d: D(lambda x: x * d(lambda y: x * y)(2.0))(3.0), 6),
    "at the outer variable": (lambda D, d: D(lambda x: d(lambda y: x * y * y)(x))(3.0), 12),
    "one name for both": (lambda D, d: D(lambda x: x * d(lambda x: x * x)(x))(3.0), 12),
    "inner value used twice": (lambda D, d: D(lambda x: (lambda s: s * s * x)(d(lambda y: x * y)(x)))(2.0), 12),
    "outer derivative inside": (lambda D, d: D(lambda x: d(lambda y: y * D(lambda z: x * y * z)(y))(x))(3.0), 12),
}


def mapped_derivative(derivative: Any) -> Any:
    """A derivative, taken at two points at once, of which the first is the one that was asked for."""
    return lambda f: lambda x: tg.vmap(derivative(f))(np.stack([x, x * 2 + 1.0]))[0]


def derivative_of_mapped(derivative: Any) -> Any:
    return lambda f: derivative(lambda x: tg.vmap(f)(np.stack([x, x * 2 + 1.0]))[0])


OPERATORS = {"grad": tg.grad, "jvp": lambda f: lambda x: tg.jvp(f, (x,), (np.ones_like(x),))[1],
             "vjp": lambda f: lambda x: tg.vjp(f, x)[1](1.0)[0]}
OPERATORS |= {**{f"vmap of {name}": mapped_derivative(d) for name, d in OPERATORS.items()},
              **{f"{name} of vmap": derivative_of_mapped(d) for name, d in OPERATORS.items()}}


@pytest.mark.parametrize(("outer", "inner"), [pair for pair in itertools.product(OPERATORS, repeat=2)
                                              if "vmap" in "".join(pair)])
@pytest.mark.parametrize("case", CONFUSIONS)
def test_levels_are_kept_apart(case, outer, inner):
    """The examples of perturbation confusion, with a batch of points in the inner, the outer or both derivatives."""
    derivative, expected = CONFUSIONS[case]
    close(derivative(OPERATORS[outer], OPERATORS[inner]), np.array(float(expected)))


def test_vjp_called_later():
    """A pull made for one entry, inside and outside of the mapped function."""
    result = tg.vmap(lambda x, c: tg.vjp(np.sin, x)[1](c)[0])(X, Y)
    close(result, np.cos(X) * Y)
    _, pull = tg.vjp(np.sin, X[0])
    close(tg.vmap(lambda c: pull(c)[0])(Y), np.cos(X[0]) * Y)
    value, pull = tg.vjp(tg.vmap(lambda x: x @ x), X)
    close(value, np.sum(X * X, axis=1))
    close(pull(np.arange(5.0))[0], 2 * X * np.arange(5.0)[:, None])


def test_threads_do_not_meet():
    """Each thread has its own batch, entries and levels."""
    found: dict[int, Any] = {}
    start = threading.Barrier(8)

    def work(k: int) -> None:
        start.wait()
        for _ in range(5):
            found[k] = tg.vmap(lambda x: x * tg.grad(lambda y: np.sum(np.sin(k * y) * x))(x))(X)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(8):
        close(found[k], X * k * np.cos(k * X) * X)


# ----------------------------------------------------------------------------------------------- axes and structures

@pytest.mark.parametrize("source", range(-3, 3))
@pytest.mark.parametrize("destination", range(-2, 2))
def test_axes(source, destination):
    batch = rng.normal(size=(2, 3, 4))
    f = tg.vmap(lambda x: x[0] * 2.0, in_axes=source, out_axes=destination)
    expected = np.stack([2 * entry[0] for entry in np.moveaxis(batch, source, 0)], axis=destination)
    close(f(batch), expected)
    close(f(tg.constant(batch)).value, expected)
    by_entry = np.zeros_like(np.moveaxis(batch, source, 0))
    by_entry[:, 0] = 2 * np.moveaxis(expected, destination, 0)
    close(tg.grad(lambda x: np.sum(f(x) * expected))(batch), np.moveaxis(by_entry, 0, source))


Pair = collections.namedtuple("Pair", "a b")


def test_structures():
    params = {"layers": [Pair(W, np.zeros(4)), Pair(rng.normal(size=(2, 4)), np.ones(2))], "scale": 2.0}

    def network(p, x):
        for layer in p["layers"]:
            x = np.tanh(layer.a @ x + layer.b)
        return {"out": x * p["scale"], "more": (np.sum(x), [x[:1]])}

    expected = in_a_loop(lambda x: network(params, x), X)
    alike(tg.vmap(network, (None, 0))(params, X), expected)
    alike(tg.vmap(network, [None, 1])(params, X.T), expected)
    alike(tg.vmap(lambda x, p: network(p, x), (0, {"layers": None, "scale": None}))(X, params), expected)
    moved = tg.vmap(network, (None, 0), {"out": 1, "more": (0, -1)})(params, X)
    close(moved["out"], expected["out"].T)
    close(moved["more"][1][0], expected["more"][1][0].T)
    scales = {**params, "scale": np.arange(5.0)}
    alike(tg.vmap(network, ({"layers": None, "scale": 0}, 0))(scales, X),
          in_a_loop(lambda s, x: network({**params, "scale": s}, x), np.arange(5.0), X))
    grads = tg.vmap(tg.grad(lambda p, x: np.sum(network(p, x)["out"])), (None, 0))(params, X)
    alike(grads, in_a_loop(lambda x: tg.grad(lambda p, x: np.sum(network(p, x)["out"]))(params, x), X))
    assert type(grads["layers"][0]) is Pair


def test_what_is_the_same_for_all():
    """It is passed on as it is, of whatever type; so are keyword arguments."""
    marker = object()

    def f(x, other, words, *, note, power=1.0):
        assert (other, words, note) == (marker, ["words", None], marker)
        return x**power

    close(tg.vmap(f, (0, None, None))(X, marker, ["words", None], note=marker, power=3.0), X**3)
    close(tg.vmap(lambda x: 3.0)(X), np.full(5, 3.0))
    close(tg.vmap(lambda x: V)(X), np.tile(V, (5, 1)))
    close(tg.vmap(lambda x: (x, V), out_axes=(0, None))(X)[1], V)
    assert tg.vmap(lambda x: ())(X) == ()
    close(tg.vmap(lambda x, y: y * 2, (0, None), None)(X, V), 2 * V)


MISTAKES = {
    "number": (lambda: tg.vmap(np.sin)(2.0), ValueError,
               r"vmap: args\[0\] has shape \(\) and so no axis 0 .*in_axes=None"),
    "axis": (lambda: tg.vmap(np.sin, 2)(X), ValueError, r"args\[0\] has shape \(5, 3\) and so no axis 2"),
    "negative axis": (lambda: tg.vmap(np.sin, -3)(X), ValueError, r"no axis -3"),
    "none in a structure": (lambda: tg.vmap(lambda p: p["w"])({"w": X, "n": None}), TypeError,
     r"args\[0\]\['n'\] must be an array, got NoneType: say in_axes=None"),
    "lengths": (lambda: tg.vmap(np.add)(X, X.T), ValueError,
     r"different lengths: args\[0\] has 5 along axis 0, args\[1\] has 3 along axis 0"),
    "all None": (lambda: tg.vmap(np.sin, None)(X), ValueError, "nothing to map over"),
    "no arguments": (lambda: tg.vmap(lambda: 1.0)(), ValueError, "nothing to map over"),
    "too few": (lambda: tg.vmap(np.add, (0,))(X, X), TypeError,
                r"in_axes must be like args, a tuple of 2, but it is a tuple of 1"),
    "structure": (lambda: tg.vmap(np.sin, ({"w": 0},))(X), TypeError,
                  r"in_axes\[0\] must be like args\[0\], a ndarray"),
    "float": (lambda: tg.vmap(np.sin, 0.5)(X), TypeError, "cannot be interpreted as an integer"),
    "out": (lambda: tg.vmap(np.sin, 0, 2)(X), ValueError,
            "a result of 2 axes, that of the batch among them, has no axis 2"),
    "out None": (lambda: tg.vmap(np.sin, 0, None)(X), ValueError,
                 r"out_axes=None .* this one, of shape \(3,\), depends"),
    "out structure": (lambda: tg.vmap(np.sin, 0, (0, 0))(X), TypeError, "out_axes must be like the result"),
    "result None": (lambda: tg.vmap(lambda x: None)(X), TypeError, "must return numbers or arrays, got NoneType"),
    "result string": (lambda: tg.vmap(lambda x: {"a": [x, "s"]})(X), TypeError, r"got str for result\['a'\]\[1\]"),
}


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(call, error, message):
    with pytest.raises(error, match=message):
        call()


READS = [
    lambda x: x if np.sum(x) > 0 else -x, lambda x: float(x[0]), lambda x: x.value, lambda x: x[0].item(),
    lambda x: max(x[0], x[1]), lambda x: x[x > 0], lambda x: x[int(x[0])], lambda x: abs(complex(x[0])),
    lambda x: np.allclose(x, x), lambda x: tg.grad(lambda y: y * float(y))(x[0])]


@pytest.mark.parametrize("read", READS, ids=map(str, range(len(READS))))
def test_a_value_that_is_read_is_an_error_that_names_the_line(read):
    with pytest.raises(TypeError, match=r"the value of .* is not known while tg\.vmap runs the function once"):
        tg.vmap(read)(X)
    with pytest.raises(TypeError, match=r"while tg\.vmap"):
        tg.vmap(tg.vmap(lambda x: read(x * V)))(X)
    close(tg.vmap(np.sin)(X), np.sin(X))  # nothing is left behind


def test_backprop_of_an_entry_is_refused():
    p = tg.Parameter(V)

    def f(x):
        np.sum(p * x).backprop()
        return x

    with pytest.raises(TypeError, match=r"not known while tg\.vmap"):
        tg.vmap(f)(X)
    assert p.grad is None
    state = tg.State(V)

    def g(x):
        state.value = x
        return x

    with pytest.raises(TypeError):
        tg.vmap(g)(X)
    np.testing.assert_array_equal(state.value, V)


# ------------------------------------------------------------------------------------------------------------- results

@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64, np.int32, bool])
def test_types(dtype):
    x = (np.arange(6).reshape(3, 2) - 2).astype(dtype)
    result = tg.vmap(lambda x: x[::-1])(x)
    np.testing.assert_array_equal(result, x[:, ::-1], strict=True)
    if np.dtype(dtype).kind == "f":
        assert tg.vmap(lambda x: np.sum(x * 2.0 + 1))(x).dtype == dtype
        assert tg.vmap(tg.grad(lambda x: np.sum(x * 2.0)))(x).dtype == dtype
    np.testing.assert_array_equal(tg.vmap(lambda x: x[0] > x[1])(x.real), x[:, 0].real > x[:, 1].real, strict=True)


def test_entries_by_integers():
    """Labels and indices are arguments like others."""
    labels = np.array([0, 2, 1, 1, 0])
    close(tg.vmap(lambda x, k: x[k])(X, labels), X[np.arange(5), labels])
    loss = tg.vmap(tg.grad(lambda x, k: tg.ops.LogSoftmaxNLL(x[None], k[None], axis=1)))(X, labels)
    close(loss, np.exp(X) / np.sum(np.exp(X), axis=1, keepdims=True) - np.eye(3)[labels])


def test_where_the_largest_entry_is():
    np.testing.assert_array_equal(tg.vmap(np.argmax)(X), np.argmax(X, axis=1))
    close(tg.vmap(lambda x: x[np.argsort(x)])(X), np.sort(X, axis=1))


def test_an_empty_batch():
    for f, shape in ((np.sin, (0, 3)), (lambda x: x @ W.T, (0, 4)), (lambda x: V, (0, 3)), (np.sum, (0,))):
        result = tg.vmap(f)(np.zeros((0, 3), np.float32))
        assert result.shape == shape
    assert tg.vmap(np.sum)(np.zeros((0, 3), np.float32)).dtype == np.float32
    assert tg.vmap(tg.hessian(np.sum), out_axes=1)(np.zeros((0, 3))).shape == (3, 0, 3)


def test_results_are_the_callers_own():
    x = X.copy()
    f = tg.vmap(lambda x: (x, x * 1.0, np.reshape(x, (3, 1)), V, x[::-1], x + 0, np.sum(x), np.broadcast_to(x, (2, 3))))
    results = f(x)
    for a, b in itertools.combinations([*results, x, V], 2):
        assert not np.shares_memory(a, b)
    expected = [result.copy() for result in results]
    for result in results:
        assert result.flags.writeable
        result[...] = np.nan
    for result, again in zip(expected, f(x), strict=True):
        np.testing.assert_array_equal(result, again)
    np.testing.assert_array_equal(x, X)
    once = tg.vmap(lambda x: (lambda y: (y, y, y * 1.0))(x * 2))(x)
    assert not np.shares_memory(once[0], once[1])


def test_at_nodes_and_through_parameters():
    p = tg.Parameter(V)
    for f, x in ((tg.vmap(lambda x: np.sum(p * p * x)), X), (tg.vmap(lambda q, x: np.sum(q * q * x), (None, 0)), None)):
        result = f(X) if x is not None else f(p, X)
        assert isinstance(result, tg.Node)
        result.sum().backprop()
        close(p.grad, 2 * V * X.sum(axis=0))
        p.grad = None
    rows = tg.Parameter(X)
    tg.vmap(lambda x: x @ x)(rows).sum().backprop()
    close(rows.grad, 2 * X)
    assert type(tg.vmap(lambda x: x * tg.constant(V))(X)) is np.ndarray
    assert isinstance(tg.vmap(lambda x: x * 2)(tg.constant(X)), tg.Node)
    assert isinstance(tg.vmap(lambda x, y: x * y, (0, None))(X, tg.constant(V)), tg.Node)


def test_random_numbers_of_each_entry():
    def dropped(stream):
        return tg.vmap(lambda x: x * (stream.random((3,)) < 0.5) + stream.standard_normal())

    drawn = dropped(tg.Stream(3))(X)
    stream = tg.Stream(3)
    keep = stream.random((5, 3)).value < 0.5
    close(drawn, X * keep + stream.standard_normal((5,)).value[:, None])
    first, again = tg.Stream(1), tg.Stream(1)
    nested = tg.vmap(tg.vmap(lambda x: x + first.random()))(X)
    close(nested, X + again.random((5, 3)).value)
    assert first.value[1] == again.value[1]
    mixed = tg.vmap(lambda x: x[:2] + tg.vmap(lambda y: y + first.random())(np.zeros(2)))(X)
    close(mixed, X[:, :2] + again.random((5, 2)).value)
    eager, compiled = tg.Stream(5), tg.Stream(5)
    program = tg.compile(dropped(compiled), target="numpy")
    for _ in range(2):
        close(program(X), dropped(eager)(X))


# --------------------------------------------------------------------------------------------------- singular points

@pytest.mark.parametrize("name", NOT_TAKEN)
def test_a_branch_that_was_not_taken_stays_out(name):
    """For each entry by itself, whichever branch others take; and silently."""
    g = NOT_TAKEN[name]
    f = [lambda x: np.where(x > 0, g(x), x**3)]
    x = np.array([1.3, 0.0, -1.0, 2.0, 0.0])
    for _ in range(3):
        f.append(tg.grad(f[-1]))
        with np.errstate(all="ignore"):
            expected = in_a_loop(f[-1], x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            close(tg.vmap(f[-1])(x), expected)
        through = tg.grad(lambda x: np.sum(tg.vmap(f[-2])(x)))
        with np.errstate(all="ignore"):
            close(through(x), expected)
            close(tg.compile(tg.vmap(f[-1]), target="numpy")(x), expected)


def test_numpys_warnings_stay_where_nothing_selects():
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        tg.vmap(np.log)(np.array([0.0, 1.0]))
    with warnings.catch_warnings():  # but not of the run that computes nothing
        warnings.simplefilter("error")
        close(tg.vmap(lambda x: 1 / x + np.log(x))(np.array([1.0, 2.0])), np.array([1, 0.5 + np.log(2)]))


def test_detectors_see_the_batch():
    with tg.detect_nan():
        close(tg.vmap(np.log)(np.array([1.0, 2.0])), np.log([1, 2]))
        with pytest.raises(FloatingPointError, match="the value of Log"):
            tg.vmap(np.log)(np.array([0.0, 1.0]))


def test_the_program_does_not_grow_with_the_batch():
    f = tg.compile(tg.vmap(tg.hessian(lambda x: np.sum(np.sin(x) * x))))
    few, many = (f.trace(np.zeros((n, 4))) for n in (2, 50))
    assert len(few.instructions) == len(many.instructions) < 60


def test_what_is_not_needed_any_more_is_dropped():
    """As in code on arrays, no more than a few arrays live at a time."""
    import tracemalloc

    def f(x):
        for _ in range(40):
            x = np.sin(x)
        return x

    x = np.ones((20, 10_000))
    tg.vmap(f)(x[:1])
    tracemalloc.start()
    tg.vmap(f)(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * x.nbytes
