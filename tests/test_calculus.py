"""The transforms: what they take and return, how they nest, and their numbers against closed forms and oracles.

Numbers come from formulas, from scipy, or from complex step on plain NumPy (see `oracles`), never from the engine. The
last parts differentiate the documents' loss three times, and state laws of calculus for random functions.
"""

import collections
import itertools
import math
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import structure
from tinygraph.ops import AddBias, LogSoftmaxNLL, MatMul, ReLU

from .oracles import along, complex_step, differences, gradient

X = np.array([0.3, -1.2, 2.0])
V = np.array([1.0, 0.5, -2.0])
M = np.array([[1.0, 2.0], [-0.5, 0.3]])


def close(actual: Any, expected: Any, rtol: float = 1e-12) -> None:
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * (1 + np.max(np.abs(expected), initial=0)))


def cubes(x: Any) -> Any:
    """One number, with the gradient 3 x² and the diagonal Hessian 6 x."""
    return np.sum(x * x * x)


def pair_jvp(f: Any) -> Any:
    """Forward mode as a function of one number: its derivative."""
    return lambda x: tg.jvp(f, (x,), (1.0,))[1]


def pair_vjp(f: Any) -> Any:
    return lambda x: tg.vjp(f, x)[1](1.0)[0]


DERIVATIVES = {"grad": tg.grad, "vjp": pair_vjp, "jvp": pair_jvp, "jacobian": tg.jacobian}

# Every transform as a function (f, x) -> all that it returns, for f from arrays like x to one number.
TRANSFORMS = {
    "grad": lambda f, x: [tg.grad(f)(x)],
    "value_and_grad": lambda f, x: [*tg.value_and_grad(f)(x)],
    "vjp": lambda f, x: [(pair := tg.vjp(f, x))[0], *pair[1](np.ones_like(x, shape=()))],
    "jvp": lambda f, x: [*tg.jvp(f, (x,), (np.ones_like(x),))],
    "jacobian": lambda f, x: [tg.jacobian(f)(x)],
    "hessian": lambda f, x: [tg.hessian(f)(x)],
    "hvp": lambda f, x: [tg.hvp(f)(x, np.ones_like(x))],
}
each_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)


# ----------------------------------------------------------------------------------------------------------- arguments

def three(x: Any, y: Any, z: Any) -> Any:
    return np.sum(x * y * y * z)


THREE = (2.0, 3.0, 5.0)
SLOPES = (45.0, 60.0, 18.0)


@pytest.mark.parametrize("number", [int, np.int64, np.uint8])
@pytest.mark.parametrize("i", range(3))
def test_an_argument_by_its_number(i, number):
    assert tg.grad(three, number(i))(*THREE) == SLOPES[i]
    assert tg.jacobian(three, number(i))(*THREE) == SLOPES[i]
    assert tg.value_and_grad(three, number(i))(*THREE) == (90.0, SLOPES[i])


@pytest.mark.parametrize("i", range(-3, 0))
def test_an_argument_counted_from_the_end(i):
    assert tg.grad(three, i)(*THREE) == SLOPES[i]
    assert tg.hessian(three, i)(*THREE) == (0, 20, 0)[i]


@pytest.mark.parametrize("argnums", [(0, 2), [2, 0], (1,), (), (-1, 0), (np.int64(1), -3), range(3), np.arange(2),
                                     (1, 1)])
def test_several_arguments_give_a_tuple_in_their_order(argnums):
    expected = tuple(SLOPES[i] for i in argnums)
    assert tg.grad(three, argnums)(*THREE) == expected
    assert tg.jacobian(three, argnums)(*THREE) == expected
    assert tg.value_and_grad(three, argnums)(*THREE) == (90.0, expected)


@pytest.mark.parametrize("argnums", [3, -4, (0, 3), 100])
@pytest.mark.parametrize("transform", [tg.grad, tg.value_and_grad, tg.jacobian])
def test_an_argument_that_is_not_there_is_refused(transform, argnums):
    with pytest.raises(TypeError, match=rf"{transform.__name__.split('_')[-1]}: argnums=.*3 arguments"):
        transform(three, argnums)(*THREE)


@pytest.mark.parametrize("argnums", [1.0, None, (0, 1.0)])
def test_the_number_of_an_argument_is_an_integer(argnums):
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        tg.grad(three, argnums)(*THREE)


def test_what_is_not_differentiated_is_passed_on_untouched():
    marker = object()

    def f(x, n, *rest, power, note=None):
        assert n == 3
        assert type(n) is int
        assert rest == (marker, None, "words")
        assert note is marker
        return np.sum(x**n) ** power

    given = (X, 3, marker, None, "words")
    close(tg.grad(f)(*given, power=1, note=marker), 3 * X**2)
    close(tg.value_and_grad(f)(*given, power=2, note=marker)[1], 6 * X**2 * cubes(X))
    close(tg.jacobian(f)(*given, power=1, note=marker), 3 * X**2)
    close(tg.hessian(f)(*given, power=1, note=marker), np.diag(6 * X))


@each_transform
@pytest.mark.parametrize("x", [3, True, np.arange(3), np.array([True, False]), np.int8(1)], ids=repr)
def test_integers_and_booleans_are_refused(transform, x):
    with pytest.raises(TypeError, match=r"args\[0\] .*has no derivative: give floats"):
        transform(cubes, x)


def test_the_refusal_names_the_argument():
    for argnums in 1, -2, (0, 1):
        with pytest.raises(TypeError, match=r"grad: args\[1\] "):
            tg.grad(three, argnums)(2.0, 3, 5.0)
    with pytest.raises(TypeError, match=r"grad: y "):
        tg.grad(three, "y")(2.0, y=3, z=5.0)
    with pytest.raises(TypeError, match=r"vjp: args\[2\] "):
        tg.vjp(three, 2.0, 3.0, 5)
    with pytest.raises(TypeError, match=r"jvp: args\[1\] "):
        tg.jvp(three, (2.0, 3, 5.0), THREE)


@each_transform
@pytest.mark.parametrize("x", [[1.0, 2.0], (1.0,), "1.0", None, {}], ids=repr)
def test_what_is_no_number_is_refused(transform, x):
    with pytest.raises(TypeError):
        transform(cubes, x)


def test_a_masked_array_is_refused():
    with pytest.raises(TypeError, match="mask"):
        tg.grad(cubes)(np.ma.masked_array([1.0, 2.0], mask=[True, False]))


# ------------------------------------------------------------------------------------------------- names, structures

@pytest.mark.parametrize("i", range(3))
def test_an_argument_by_its_name(i):
    name, rest = "xyz"[i], dict(zip("xyz", THREE, strict=True))
    assert tg.grad(three, name)(*THREE) == SLOPES[i]
    assert tg.grad(three, name)(**rest) == SLOPES[i]
    assert tg.value_and_grad(three, (name, 0))(THREE[0], y=THREE[1], z=THREE[2]) == (90.0, (SLOPES[i], SLOPES[0]))
    assert tg.jacobian(three, name)(*THREE) == SLOPES[i]
    assert tg.hessian(three, name)(*THREE) == (0, 20, 0)[i]
    assert tg.hessian(three, name)(*THREE[:2], z=THREE[2]) == (0, 20, 0)[i]
    assert tg.grad(tg.grad(three, name), "y")(*THREE) == (30, 20, 12)[i]


def test_an_argument_that_was_left_at_its_default():
    def f(x, rate=3.0, *, power=2.0, **more):
        return rate * x**power + more.get("shift", 0.0)

    assert tg.grad(f, "rate")(2.0) == 4
    assert tg.grad(f, ("rate", "x", "shift"))(2.0, shift=1.0) == (4, 12, 1)
    close(tg.grad(f, "power")(2.0), 12 * math.log(2))


@pytest.mark.parametrize(("name", "message"), [("w", "has no argument of that name"), ("z", "called without that"),
                                               ("rest", "called without that")])
def test_a_name_that_is_not_there_is_refused(name, message):
    def f(x, z, *rest):
        return x

    with pytest.raises(TypeError, match=rf"grad: argnums='{name}', but the function .*{message}"):
        tg.grad(lambda x: tg.grad(f, name)(x))(2.0)


def test_names_of_ops_and_of_what_other_transforms_made():
    assert tg.grad(lambda x, y: tg.ops.Multiply(x, y), "y")(2.0, y=3.0) == 2
    assert tg.grad(tg.grad(tg.value_and_grad(three, "x"), "y", True), "z", True)(*THREE)[0] == 12


Layer = collections.namedtuple("Layer", "weight shift")
NETWORK = {"layers": [Layer(M, np.array([0.1, -0.2])), Layer(M.T * 2, np.zeros(2))], "scale": (0.5, [np.float32(3)])}


def network(p, x):
    for layer in p["layers"]:
        x = np.tanh(layer.weight @ x + layer.shift)
    return p["scale"][0] * np.sum(x) * p["scale"][1][0]


def flat_leaves(x):
    return [leaf for _, leaf in structure.leaves(x)]


def same_form(a: Any, b: Any) -> None:
    """Whether two structures are of the same kinds and have leaves of the same shapes, types and dtypes."""
    assert [path for path, _ in structure.leaves(a)] == [path for path, _ in structure.leaves(b)]
    assert repr(structure.mapped(np.shape, a)) == repr(structure.mapped(np.shape, b))
    for x, y in zip(flat_leaves(a), flat_leaves(b), strict=True):
        assert np.result_type(x) == np.result_type(y)
        assert (type(x) is float) == (type(y) is float)


def test_a_structure_of_arrays_has_a_gradient_of_the_same_form():
    x = np.array([0.3, -0.8])
    value, (by_p, by_x) = tg.value_and_grad(network, ("p", 1))(NETWORK, x)
    close(value, network(NETWORK, x), 1e-7)
    same_form(by_p, NETWORK)
    assert type(by_p["layers"][0]) is Layer
    *leaves, = flat_leaves(NETWORK)

    def by_leaves(*leaves):
        return network(structure.filled(NETWORK, leaves[:-1]), leaves[-1])

    expected = tg.grad(by_leaves, range(len(leaves) + 1))(*leaves, x)
    for a, b in zip([*flat_leaves(by_p), by_x], expected, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in itertools.combinations([x for x in [*flat_leaves(by_p), by_x] if np.ndim(x)], 2):
        assert not np.shares_memory(a, b)


def test_second_derivatives_by_a_structure():
    p, x = {"a": X, "b": [2.0]}, 3.0

    def f(p, x):
        return np.sum(p["a"] ** 3) * p["b"][0] ** 2 * x

    H = tg.hessian(f)(p, x)
    close(H["a"]["a"], np.diag(6 * X) * 12)
    close(H["a"]["b"][0], 3 * X**2 * 12)
    close(H["b"][0]["a"], 3 * X**2 * 12)
    close(H["b"][0]["b"][0], 6 * cubes(X))
    both = tg.hessian(f, (0, "x"))(p, x)
    close(both[0]["a"][1], 3 * X**2 * 4)
    close(both[1][0]["a"], 3 * X**2 * 4)
    close(both[0]["a"][0]["a"], H["a"]["a"])
    assert both[1][1] == 0
    product = tg.hvp(f)(p, {"b": [5.0], "a": V}, x)
    assert list(product) == ["a", "b"]
    close(product["a"], H["a"]["a"] @ V + H["a"]["b"][0] * 5)
    close(product["b"][0], H["b"][0]["a"] @ V + H["b"][0]["b"][0] * 5)
    forward = tg.jvp(tg.grad(f), (p, x), ({"a": V, "b": [5.0]}, 0.0))[1]
    for a, b in zip(flat_leaves(forward), flat_leaves(product), strict=True):
        close(a, b)


def test_functions_that_return_structures():
    def f(x, y):
        return {"sum": x + y, "parts": (np.sum(x * y), [x[:2] * 2.0, 1.5])}

    value, pull = tg.vjp(f, X, V)
    np.testing.assert_array_equal(value["parts"][1][0], X[:2] * 2)
    assert value["parts"][1][1].shape == ()
    by_x, by_y = pull({"parts": (10.0, (np.array([1.0, 2.0]), 7.0)), "sum": V})
    close(by_x, V + 10 * V + np.array([2, 4, 0]))
    close(by_y, V + 10 * X)
    value, tangent = tg.jvp(f, (X, V), (V, X))
    same_form(value, tangent)
    close(tangent["sum"], X + V)
    close(tangent["parts"][0], V @ V + X @ X)
    close(tangent["parts"][1][0], 2 * V[:2])
    assert tangent["parts"][1][1] == 0
    J = tg.jacobian(f, (0, "y"))(X, V)
    close(J["sum"][0], np.eye(3))
    close(J["parts"][0][1], X)
    close(J["parts"][1][0][0], 2 * np.eye(2, 3))
    np.testing.assert_array_equal(J["parts"][1][1][0], np.zeros(3))
    close(tg.grad(lambda x: np.sum(tg.jacobian(f)(x, V)["parts"][0] * x))(X), V)
    assert repr(tg.jacobian(lambda x, y: {"a": x * y, "b": [x]}, (0, 1))(2.0, 3.0)) == (
        "{'a': (3.0, 2.0), 'b': [(1.0, 0.0)]}")  # floats for floats
    assert repr(tg.hessian(lambda x, y: x * x * y, ("x", 1))(3.0, 5.0)) == "((10.0, 6.0), (6.0, 0.0))"
    assert tg.jacobian(lambda x: ())(X) == ()
    assert tg.jvp(lambda x: {}, (X,), (V,)) == ({}, {})
    assert tg.vjp(lambda x: [], 2.0)[1]([]) == (0.0,)
    assert tg.vjp(lambda x: (x, [x * x]), 2.0) [0] == (2.0, [4.0])


def test_results_of_several_dtypes():
    x = X.astype(np.float32)

    def f(x):
        return x * x, np.sum(x.astype(float)) * 2.0

    assert [y.dtype for y in tg.jvp(f, (x,), (x,))[1]] == [np.float32, np.float64]
    assert tg.vjp(f, x)[1]((x, 1.0))[0].dtype == np.float32
    assert [y.dtype for y in tg.vjp(f, x)[0]] == [np.float32, np.float64]


def test_structures_nest_with_transforms_inside():
    def energy(p):
        return p["k"] * np.sum(p["x"] ** 4)

    def f(p):
        return np.sum(tg.grad(energy)(p)["x"] * V) + tg.grad(energy)(p)["k"]

    p = {"x": X, "k": 2.0}
    slope = tg.grad(f)(p)
    close(slope["x"], 12 * 2 * X**2 * V + 4 * X**3)
    close(slope["k"], np.sum(4 * X**3 * V))
    w = tg.Parameter(X)
    result = tg.grad(lambda p: np.sum(p["a"] * w))({"a": V})["a"]
    assert isinstance(result, tg.Node)


@pytest.mark.parametrize(("argument", "message"), [
    ({"w": [X, 3]}, r"args\[0\]\['w'\]\[1\] .*has no derivative: give floats"),
    ({"w": [X, np.arange(2)]}, r"args\[0\]\['w'\]\[1\] .*has no derivative: give floats"),
    ({"w": [X, None]}, r"args\[0\]\['w'\]\[1\] must be a number or an array, got NoneType"),
    ([Layer(X, "s")], r"args\[0\]\[0\].shift must be a number or an array, got str"),
    ((X, (True,)), r"args\[0\]\[1\]\[0\] .*has no derivative")], ids=str)
def test_a_leaf_that_has_no_derivative_is_named(argument, message):
    for transform in (tg.grad, tg.jacobian, tg.hessian):
        with pytest.raises(TypeError, match=rf"(grad|jacobian): {message}"):
            transform(lambda p: 1.0)(argument)
    with pytest.raises(TypeError, match=r"jvp: args\[1\]\['w'\]"):
        tg.jvp(lambda x, p: x, (X, {"w": 1}), (X, {"w": 1.0}))
    with pytest.raises(TypeError, match=r"grad: p\['w'\]"):
        tg.grad(lambda x, p: x, "p")(X, p={"w": 1})
    with pytest.raises(TypeError, match=r"got NoneType for result\['a'\]\[0\]"):
        tg.jacobian(lambda x: {"a": [None]})(X)
    with pytest.raises(TypeError, match=r"for result\[1\]; only floats"):
        tg.vjp(lambda x: (x, x > 0), X)


def test_structures_that_do_not_fit_are_refused():
    p = {"a": X, "b": [1.0, 2.0]}
    for wrong, message in [({"a": X}, r"tangent 0 must be like its primal, a dict with the keys 'a', 'b'"),
                           ({"a": X, "b": [1.0]}, r"tangent 0\['b'\] must be like its primal\['b'\], a list of 2"),
                           ({"a": [X], "b": [1.0, 2.0]}, r"tangent 0\['a'\] must be like its primal\['a'\]"),
                           (X, "tangent 0 must be like its primal")]:
        with pytest.raises(TypeError, match=f"jvp: {message}"):
            tg.jvp(lambda p: p["b"][0], (p,), (wrong,))
    with pytest.raises(ValueError, match=r"tangent 0\['b'\]\[1\] has shape \(3,\)"):
        tg.jvp(lambda p: p["b"][0], (p,), ({"a": X, "b": [1.0, X]},))
    with pytest.raises(TypeError, match="hvp: the vector must be like the point"):
        tg.hvp(lambda p: p["b"][0])(p, X)
    _, pull = tg.vjp(lambda x: [x, np.sum(x)], X)
    with pytest.raises(TypeError, match="the cotangent must be like the result, a list of 2"):
        pull(X)
    with pytest.raises(ValueError, match=r"leaf 1 of the cotangent has shape \(3,\), that of the result \(\)"):
        pull([X, X])


def test_what_is_returned_beside_the_number():
    seen = {}

    def f(x, w):
        y = x * w
        seen["y"] = y
        return np.sum(y * y), {"y": y, "count": y.size, "positive": np.sum(y > 0), "note": "words"}

    value, grads = tg.value_and_grad(f, (0, 1), has_aux=True)(X, V)
    number, more = value
    close(number, np.sum((X * V) ** 2))
    assert type(more["y"]) is np.ndarray
    np.testing.assert_array_equal(more["y"], X * V)
    assert more["y"].flags.writeable
    assert (more["count"], more["positive"], more["note"]) == (3, np.sum(X * V > 0), "words")
    close(grads[1], 2 * X * X * V)
    slope, more = tg.grad(f, has_aux=True)(X, V)
    close(slope, grads[0])
    assert isinstance(tg.grad(f, has_aux=True)(tg.constant(X), V)[1]["y"], tg.Node)
    assert tg.grad(lambda x: (x * x, x), has_aux=True)(3.0) == (6.0, 3.0)
    assert tg.grad(tg.grad(lambda x: (x * x * x, x), has_aux=True), has_aux=True)(3.0) == (18.0, 3.0)
    with pytest.raises(TypeError, match=r"must return a pair \(value, more\), got Sum"):
        tg.grad(cubes, has_aux=True)(X)


def test_elementwise_grad():
    close(tg.elementwise_grad(np.sin)(X), np.cos(X))
    close(tg.elementwise_grad(tg.elementwise_grad(np.sin))(X), -np.sin(X))
    assert tg.elementwise_grad(lambda x: x**3)(2.0) == 12.0
    assert type(tg.elementwise_grad(lambda x: x**3)(2.0)) is float
    by_x, by_y = tg.elementwise_grad(lambda x, y: x * y**2, ("x", "y"))(X, V)
    close(by_x, V**2)
    close(by_y, 2 * X * V)
    assert tg.elementwise_grad(np.exp)(X.astype(np.float32)).dtype == np.float32
    nested = tg.elementwise_grad(lambda x: np.where(x > 0, x**4, 0.0))
    for expected in (4 * X**3, 12 * X**2, 24 * X):
        close(nested(X), np.where(X > 0, expected, 0))
        nested = tg.elementwise_grad(nested)
    for f in (np.sum, lambda x: x[:, None], lambda x: x[:2], lambda x: (x, x)):
        with pytest.raises(ValueError, match=r"elementwise_grad: the function returned shape .* does not work entry"):
            tg.elementwise_grad(f)(X)


def test_what_a_transform_makes_has_the_name_of_the_function():
    for transform in (tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian, tg.hvp, tg.elementwise_grad):
        assert transform(cubes).__name__ == "cubes"
        assert transform(tg.ops.ReLU).__name__ == "ReLU"
        assert callable(transform(np.sin))


# ------------------------------------------------------------------------------------------------------------- results

@each_transform
def test_floats_in_floats_out(transform):
    results = transform(lambda x: x**3, 2.0)
    assert [type(result) for result in results] == [float] * len(results)
    assert results[-1] == 12
    assert results[0] == (8 if len(results) == 2 else 12)


@each_transform
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)], ids=str)
def test_arrays_in_arrays_of_their_type_out(transform, dtype, shape):
    results = transform(cubes, np.full(shape, 0.5, dtype))
    for result in results:
        assert type(result) is np.ndarray
        assert result.dtype == dtype
    assert results[-1].shape in ((), shape, shape + shape)


@each_transform
def test_a_numpy_scalar_is_a_0d_array(transform):
    for result in transform(cubes, np.float32(2)):
        assert type(result) is np.ndarray
        assert result.dtype == np.float32
        assert result.shape == ()


def test_each_gradient_has_the_type_of_its_argument():
    given = 2.0, np.float32(3), np.full(3, 5.0), np.full(2, 7, np.float16)
    value, grads = tg.value_and_grad(lambda a, b, c, d: a * b * np.sum(c) * np.sum(d), range(4))(*given)
    assert value == 1260
    assert type(value) is np.ndarray  # a float only if all that is differentiated by is
    assert [np.shape(g) for g in grads] == [(), (), (3,), (2,)]
    assert [type(g) for g in grads] == [float, np.ndarray, np.ndarray, np.ndarray]
    assert [g.dtype for g in grads[1:]] == [np.float32, np.float64, np.float16]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cotangents_and_tangents_take_the_type_of_what_they_go_with(dtype):
    x = X.astype(dtype)
    for like in (np.float64, np.float32, int):
        seed = np.array([1, 2, 3], like)
        (by_x,) = tg.vjp(np.sin, x)[1](seed)
        value, tangent = tg.jvp(np.sin, (x,), (seed,))
        assert by_x.dtype == value.dtype == tangent.dtype == dtype
        close(by_x, np.cos(x) * seed, 1e-6)
        close(tangent, np.cos(x) * seed, 1e-6)


def test_shapes_of_jacobians_and_hessians():
    x, y = np.ones((2, 3)), np.ones(4)

    def f(x, y):
        return np.sum(x, axis=0)[:, None] * y * y

    by_x, by_y = tg.jacobian(f, (0, 1))(x, y)
    assert by_x.shape == (3, 4, 2, 3)
    assert by_y.shape == (3, 4, 4)
    close(by_x, np.einsum("ik,j,a->ijak", np.eye(3), y * y, np.ones(2)))
    assert tg.hessian(f, 1)(x, y).shape == (3, 4, 4, 4)
    assert tg.jacobian(lambda x: x * y)(2.0).shape == (4,)
    assert tg.jacobian(lambda x: x * y)(np.array([2.0])).shape == (4, 1)


@pytest.mark.parametrize("f", [lambda x: 3.0, lambda x: np.float64(3), lambda x: np.array(3.0),
                               lambda x: tg.constant(3.0), lambda x: tg.Parameter(3.0),
                               lambda x: np.zeros_like(x).sum() + 3.0, lambda x: tg.ops.StopGradient(np.sum(x)) * 2.0,
                               lambda x: tg.ops.StopGradient(np.sum(x)), lambda x: np.sign(np.sum(x))],
                         ids=["float", "scalar", "array", "constant", "parameter", "zeros_like", "stopped",
                              "stopped last", "sign"])
def test_a_function_that_does_not_depend_on_its_argument_has_derivative_zero(f):
    def array(x):
        return x.value if isinstance(x, tg.Node) else x

    for x in (X, X.astype(np.float32), np.zeros((2, 0))):
        for name in ("grad", "jacobian", "hvp"):
            zeros = array(TRANSFORMS[name](f, x)[0])
            np.testing.assert_array_equal(zeros, np.zeros_like(x), strict=True)
    assert array(tg.jvp(f, (X,), (V,))[1]) == 0
    np.testing.assert_array_equal(array(tg.vjp(f, X)[1](1.0)[0]), np.zeros(3), strict=True)
    np.testing.assert_array_equal(array(tg.hessian(f)(X)), np.zeros((3, 3)), strict=True)


def test_an_argument_that_is_ignored_beside_one_that_is_not():
    by_x, by_y = tg.grad(lambda x, y: np.sum(y), (0, 1))(X, np.ones((2, 2)))
    np.testing.assert_array_equal(by_x, np.zeros(3), strict=True)
    np.testing.assert_array_equal(by_y, np.ones((2, 2)), strict=True)


def test_empty_arrays():
    empty = np.zeros((2, 0))
    for transform in TRANSFORMS.values():
        results = transform(cubes, empty)
        assert results[-1].size == 0 or results[-1] == 0
    assert tg.jacobian(lambda x: 2 * x)(np.zeros(0)).shape == (0, 0)
    J = tg.jacobian(lambda x: x[:0])(np.ones(2, np.float32))
    assert J.shape == (0, 2)
    assert J.dtype == np.float32


@pytest.mark.parametrize("f", [np.sin, lambda x: x[:0], lambda x: np.ones(2)], ids=["sin", "empty", "constant"])
def test_grad_of_an_array_is_refused_and_says_what_to_use(f):
    for transform in (tg.grad, tg.value_and_grad):
        with pytest.raises(ValueError, match=r"one number, got shape .*jacobian, or vjp"):
            transform(f)(X)
    with pytest.raises(ValueError, match="one number"):
        tg.hvp(f)(X, V)


def test_grad_of_an_array_of_one_entry_is_its_gradient():
    value, grad = tg.value_and_grad(lambda x: np.sum(x * x, axis=0, keepdims=True))(X)
    assert value.shape == (1,)
    close(grad, 2 * X)


@each_transform
@pytest.mark.parametrize("f", [lambda x: 3, lambda x: np.sum(x > 0), lambda x: x > 0, lambda x: np.sum(x).astype(int),
                               lambda x: True, lambda x: np.argmax(x)],
                         ids=["int", "count", "comparison", "astype", "bool", "argmax"])
def test_integer_results_are_refused(transform, f):
    with pytest.raises(TypeError, match=r"the function returned .* only floats have a derivative"):
        transform(f, X)


@each_transform
@pytest.mark.parametrize("result", [None, "1", (1.0, None), {"loss": ["1"]}, {1.0}], ids=repr)
def test_results_that_are_no_arrays_are_refused(transform, result):
    with pytest.raises(TypeError, match=r"must return a number or an array, got (NoneType|str|set)"):
        transform(lambda x: result, X)


@pytest.mark.parametrize("transform", [tg.grad, tg.value_and_grad, lambda f: lambda x: tg.hvp(f)(x, V)])
@pytest.mark.parametrize("result", [(1.0, 2.0), [1.0], {"loss": 1.0}], ids=repr)
def test_grad_of_several_results_is_refused_and_says_what_to_use(transform, result):
    with pytest.raises(TypeError, match=rf"one number, got {type(result).__name__}: use jacobian or vjp, or has_aux"):
        transform(lambda x: result)(X)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        tg.vjp(np.sin, X)[1](np.ones(2))
    with pytest.raises(ValueError, match=r"shape \(\)"):
        tg.vjp(np.sin, X)[1](1.0)
    with pytest.raises(ValueError, match=r"tangent 0 has shape \(\), its primal \(3,\)"):
        tg.jvp(np.sin, (X,), (1.0,))
    with pytest.raises(ValueError, match=r"tangent 1 has shape \(3, 1\), its primal \(3,\)"):
        tg.jvp(np.add, (X, X), (X, X[:, None]))
    with pytest.raises(ValueError, match="2 primals and 1 tangents"):
        tg.jvp(np.add, (X, X), (X,))
    with pytest.raises(ValueError, match="0 primals"):
        tg.jvp(lambda: 1.0, (), ())
    with pytest.raises(ValueError, match=r"the vector has shape \(2,\), the point \(3,\)"):
        tg.hvp(cubes)(X, np.ones(2))


def test_an_error_in_the_function_passes_through_and_leaves_nothing_behind():
    def f(x):
        tg.grad(np.sin)(x)
        raise KeyError("mine")

    for transform in TRANSFORMS.values():
        with pytest.raises(KeyError, match="mine"):
            transform(f, 2.0)
    assert tg.grad(lambda x: x * x)(3.0) == 6


# ------------------------------------------------------------------------------------------------------ memory, purity

SHIFT = np.array([1.0, 2.0, 3.0])
ALIASING = {
    "identity": lambda x: x,
    "reshape": lambda x: np.reshape(x, (3, 1)),
    "slice": lambda x: x[::-1],
    "transpose": lambda x: x.T,
    "broadcast": lambda x: np.broadcast_to(x, (2, 3)),
    "add": lambda x: x + SHIFT,
    "constant": lambda x: SHIFT,
    "multiply": lambda x: x * SHIFT,
    "exp": np.exp,
}


@pytest.mark.parametrize("f", ALIASING.values(), ids=ALIASING)
def test_results_are_the_callers_own(f):
    """Writable, sharing memory with nothing that was given or returned; what is written into them changes nothing."""
    def everything():
        x, v = X.copy(), V.copy()
        value, pull = tg.vjp(f, x)
        c = np.ones_like(value)
        results = [value, *pull(c), *pull(c), *tg.jvp(f, (x,), (v,)), tg.jacobian(f)(x), tg.hessian(f)(x),
                   *tg.value_and_grad(lambda x: np.sum(f(x)))(x), tg.hvp(lambda x: np.sum(f(x)))(x, v),
                   *tg.grad(lambda x, y: np.sum(f(x) + f(y)), (0, 1, 0))(x, x)]
        for a, b in itertools.combinations([*results, x, v, c, SHIFT], 2):
            assert not np.shares_memory(a, b)
        return results, pull, c

    results, pull, c = everything()
    expected = [result.copy() for result in results]
    for result in results:
        result[...] = np.nan
    np.testing.assert_array_equal(pull(c)[0], expected[1])
    for result, again in zip(expected, everything()[0], strict=True):
        np.testing.assert_array_equal(result, again)
    np.testing.assert_array_equal(SHIFT, [1, 2, 3])


@each_transform
def test_arguments_may_be_read_only_or_strided_and_are_not_written_into(transform):
    x = np.arange(12.0)
    given = [x, x[::2], x[::-1], x.reshape(3, 4).T, np.broadcast_to(x[:3], (2, 3)), x[5:5]]
    for array in given:
        array = array.view()
        array.flags.writeable = False
        for strided, contiguous in zip(transform(cubes, array), transform(cubes, array.copy("C")), strict=True):
            np.testing.assert_array_equal(strided, contiguous, strict=True)
    np.testing.assert_array_equal(x, np.arange(12.0))


def test_the_function_is_called_once():
    for name, transform in TRANSFORMS.items():
        calls = []

        def f(x, calls=calls):
            calls.append(x)
            return cubes(x)

        transform(f, X)
        assert len(calls) == 1, name
        assert isinstance(calls[0], tg.Node)


# ------------------------------------------------------------------------------------------------------------- nesting

# A function, its first four derivatives, and where.
TOWERS = {
    "sin": (np.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin], 0.7),
    "exp": (lambda x: np.exp(2 * x), [lambda x, k=k: 2**k * np.exp(2 * x) for k in range(1, 5)], 0.3),
    "log": (np.log, [lambda x, k=k: (-1) ** (k + 1) * math.factorial(k - 1) / x**k for k in range(1, 5)], 1.7),
    "inverse": (lambda x: 1 / x, [lambda x, k=k: math.factorial(k) / x * (-1 / x) ** k for k in range(1, 5)], 0.8),
    "sqrt": (np.sqrt, [lambda x, k=k: math.prod(0.5 - j for j in range(k)) * x ** (0.5 - k) for k in range(1, 5)], 2.3),
    "power": (lambda x: x**5, [lambda x, k=k: math.perm(5, k) * x ** (5 - k) for k in range(1, 5)], -1.5),
    "tanh": (np.tanh, [lambda x: 1 - np.tanh(x) ** 2,
                       lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
                       lambda x: (6 * np.tanh(x) ** 2 - 2) * (1 - np.tanh(x) ** 2),
                       lambda x: (16 * np.tanh(x) - 24 * np.tanh(x) ** 3) * (1 - np.tanh(x) ** 2)], 0.4),
    "products": (lambda x: x * np.sin(x) * x, [
        lambda x: 2 * x * np.sin(x) + x**2 * np.cos(x),
        lambda x: (2 - x**2) * np.sin(x) + 4 * x * np.cos(x),
        lambda x: (6 - x**2) * np.cos(x) - 6 * x * np.sin(x),
        lambda x: (x**2 - 12) * np.sin(x) - 8 * x * np.cos(x)], 1.1),
}


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize("order", range(1, 5))
def test_derivatives_to_order_four(name, order):
    f, derivatives, x = TOWERS[name]
    for transforms in (["grad"] * 4, ["jvp"] * 4, ["jvp", "grad"] * 2, ["vjp", "jacobian"] * 2):
        nested = f
        for transform in transforms[:order]:
            nested = DERIVATIVES[transform](nested)
        close(nested(x), derivatives[order - 1](x), 1e-13)
        assert type(nested(x)) is float


@pytest.mark.parametrize("transforms", list(itertools.product(["grad", "jvp"], repeat=4)), ids=" ".join)
def test_every_order_of_forward_and_reverse(transforms):
    nested = TOWERS["products"][0]
    for transform in transforms:
        nested = DERIVATIVES[transform](nested)
    close(nested(1.1), TOWERS["products"][1][3](1.1), 1e-13)


def test_a_tensor_of_fourth_derivatives():
    def fifth_power(x):
        return np.sum(V * x) ** 5

    expected = 120 * (V @ X) * np.einsum("i,j,k,l->ijkl", V, V, V, V)
    close(tg.hessian(tg.hessian(fifth_power))(X), expected)
    close(tg.jacobian(tg.jacobian(tg.hessian(fifth_power)))(X), expected)


@pytest.mark.parametrize("f", [lambda x: M @ np.sin(x), lambda x: np.sin(x) @ M, lambda x: np.dot(M, x),
                               lambda x: M @ x @ M, lambda x: x @ x], ids=["left", "right", "dot", "both", "x"])
def test_products_with_a_plain_matrix_are_differentiated_twice(f):
    x = np.array([[0.3, -1.0], [0.7, 2.0]])
    H = tg.hessian(lambda x: np.sum(np.exp(f(x))))(x)
    for v in np.eye(4).reshape(4, 2, 2):
        expected = differences(along(complex_step, lambda x: np.sum(np.exp(f(x))), [v]), [x], [v])
        close(np.sum(H * v * v[..., None, None]), expected, 1e-9)


def test_mixed_partial_derivatives():
    def f(x, y):
        return x**3 * y**4

    expected = 3 * 4.0 * 2**2 * 3**3
    assert tg.grad(tg.grad(f, 0), 1)(2.0, 3.0) == expected
    assert tg.grad(tg.grad(f, 1), 0)(2.0, 3.0) == expected
    assert tg.jacobian(lambda *xy: np.stack(tg.grad(f, (0, 1))(*xy)), (0, 1))(2.0, 3.0)[1][0] == expected
    assert tg.hessian(f)(2.0, 3.0) == 6 * 2 * 81
    assert tg.hessian(f, 1)(2.0, 3.0) == 8 * 12 * 9
    assert tg.hvp(f)(2.0, 0.5, 3.0) == 6 * 81


def test_four_ways_to_a_hessian_vector_product():
    def f(x):
        return np.sum(np.sin(x) * x[::-1])

    n = len(X)
    reverse = np.eye(n)[::-1]
    H = np.diag(-np.sin(X) * X[::-1]) + np.cos(X)[:, None] * reverse + reverse * np.cos(X)
    close(tg.hessian(f)(X), H)
    close(tg.hvp(f)(X, V), H @ V)
    close(tg.jvp(tg.grad(f), (X,), (V,))[1], H @ V)
    close(tg.grad(lambda x: tg.jvp(f, (x,), (V,))[1])(X), H @ V)
    close(tg.vjp(tg.grad(f), X)[1](V)[0], H @ V)
    close(tg.jvp(lambda x: tg.jvp(f, (x,), (V,))[1], (X,), (X,))[1], X @ H @ V)


def test_hvp_is_differentiated_by_the_point_and_by_the_vector():
    close(tg.jacobian(lambda x: tg.hvp(cubes)(x, V))(X), np.diag(6 * V))
    close(tg.jacobian(lambda v: tg.hvp(cubes)(X, v))(V), np.diag(6 * X))
    close(tg.grad(lambda x: np.sum(tg.hvp(cubes)(x, x)))(X), 12 * X)
    assert tg.grad(lambda v: tg.hvp(lambda x: x**3)(2.0, v))(tg.constant(1.0)).item() == 12


class Root(tg.Op):
    """An op whose gradient comes from its expansion."""

    def forward(self, x):
        return np.sqrt(x)


NOT_TAKEN = {
    "sqrt": np.sqrt,
    "log": np.log,
    "derived": Root,
    "inverse": lambda x: 1 / x,
    "power": lambda x: x**2.5,
    "product": lambda x: np.sqrt(x) * np.log(x),
    "nested": lambda x: np.where(x > 1, x, np.log(x)),
    "essential": lambda x: np.exp(1 / x) / x,
}


@pytest.mark.parametrize("transforms", [["grad"] * 4, ["jvp"] * 3, ["jvp", "grad"] * 2, ["grad", "jvp"]], ids=" ".join)
@pytest.mark.parametrize("name", NOT_TAKEN)
def test_a_branch_that_was_not_taken_stays_out_at_every_order(name, transforms):
    g = NOT_TAKEN[name]
    nested = [lambda x: np.where(x > 0, g(x), x**3)]
    for transform in transforms:
        nested.append(DERIVATIVES[transform](nested[-1]))
    with np.errstate(all="ignore"):
        assert [f(0.0) for f in nested[1:]] == [0, 0, 6, 0][:len(transforms)]
        assert [f(-1.0) for f in nested[1:]] == [3, -6, 6, 0][:len(transforms)]


@pytest.mark.parametrize("name", TOWERS)
def test_a_branch_that_was_taken_counts_to_order_four(name):
    f, derivatives, x = TOWERS[name]
    nested = [lambda y: np.where(y == x, f(y), y)]
    for derivative in derivatives:
        nested.append(tg.grad(nested[-1]))
        close(nested[-1](x), derivative(x), 1e-13)


def test_a_slope_of_zero_is_not_taken_for_a_branch():
    """(√x - 1)² / 2 has the slope 0 at 1, where its second derivative is 1/4 and its third -3/8."""
    nested = [lambda x: np.where(x > 0, (np.sqrt(x) - 1) ** 2 / 2, x)]
    for expected in (0, 1 / 4, -3 / 8, 15 / 16):
        nested.append(tg.grad(nested[-1]))
        assert nested[-1](1.0) == expected


def test_a_newton_iteration_is_differentiated():
    """The root of x² = a by Newton's method on the derivative of a function, as a function of a."""
    def root(a):
        x = 1.0
        for _ in range(6):
            slope = tg.grad(lambda x: x**3 / 3 - a * x)
            x = x - slope(x) / tg.grad(slope)(x)
        return x

    close(root(2.0), math.sqrt(2))
    close(tg.grad(root)(2.0), 0.5 / math.sqrt(2))
    close(pair_jvp(root)(2.0), 0.5 / math.sqrt(2))
    close(tg.hessian(root)(2.0), -0.25 / 2**1.5)


# ---------------------------------------------------------------------------------------------- perturbation confusion

# Each takes two derivative operators, `outer` D and `inner` d, and is given beside its value. A system that cannot tell
# the levels of a nest apart gets them wrong; the first is the example of Siskind and Pearlmutter (2005), which gives 2.
CONFUSIONS = {
    "closure over the outer variable": (lambda D, d: D(lambda x: x * d(lambda y: x + y)(1.0))(1.0), 1),
    "product with the outer variable": (lambda D, d: D(lambda x: x * d(lambda y: x * y)(2.0))(3.0), 6),
    "at a constant point": (lambda D, d: D(lambda x: d(lambda y: x * y)(1.0))(3.0), 1),
    "at the outer variable": (lambda D, d: D(lambda x: d(lambda y: x * y * y)(x))(3.0), 12),
    "one name for both": (lambda D, d: D(lambda x: x * d(lambda x: x * x)(x))(3.0), 12),
    "same function at both levels": (lambda D, d: D(d(lambda x: x * x * x))(3.0), 18),
    "inner variable not used": (lambda D, d: D(lambda x: x + d(lambda y: x * x)(x))(3.0), 1),
    "outer variable not used": (lambda D, d: D(lambda x: d(lambda y: y * y)(2.0))(3.0), 0),
    "shift": (lambda D, d: D(lambda x: d(lambda u: np.exp(x + u))(0.0))(1.0), math.e),
    "shift of a shift": (lambda D, d: (lambda shift: shift(shift(np.sin, d), D)(1.0))(
        lambda f, d: lambda x: d(lambda u: f(x + u))(0.0)), -math.sin(1)),
    "inner value used twice": (lambda D, d: D(lambda x: (lambda s: s * s * x)(d(lambda y: x * y)(x)))(2.0), 12),
    "two inner ones side by side": (
        lambda D, d: D(lambda x: d(lambda y: x * y * y)(x) * d(lambda z: x + z)(x))(3.0), 12),
    "three levels": (lambda D, d: D(lambda x: d(lambda y: d(lambda z: x * y**2 * z**3)(x * y))(2 * x))(1.0), 576),
    "three levels, each a sum": (lambda D, d: D(lambda x: x * d(lambda y: y * d(lambda z: x + y + z)(y))(x))(2.0), 1),
    "outer derivative inside": (lambda D, d: D(lambda x: d(lambda y: y * D(lambda z: x * y * z)(y))(x))(3.0), 12),
}


@pytest.mark.parametrize("inner", DERIVATIVES)
@pytest.mark.parametrize("outer", DERIVATIVES)
@pytest.mark.parametrize("case", CONFUSIONS)
def test_levels_are_kept_apart(case, outer, inner):
    derivative, expected = CONFUSIONS[case]
    result = derivative(DERIVATIVES[outer], DERIVATIVES[inner])
    assert type(result) is float
    close(result, expected, 1e-15)


def test_vjp_called_later():
    x = X.copy()
    value, pull = tg.vjp(np.sin, x)
    first = pull(V)[0]
    tg.grad(lambda x: np.sum(np.exp(x)))(x)
    np.testing.assert_array_equal(pull(V)[0], first)
    close(first, np.cos(X) * V)
    value[...] = 0
    close(pull(2 * V)[0], 2 * first)


def test_vjp_called_inside_another_transform():
    _, pull = tg.vjp(np.sin, X)
    result = tg.grad(lambda c: np.sum(pull(c)[0] ** 2))(V)
    assert type(result) is np.ndarray
    close(result, 2 * np.cos(X) ** 2 * V)
    close(tg.jvp(lambda c: pull(c)[0], (V,), (X,))[1], np.cos(X) * X)
    close(pull(V)[0], np.cos(X) * V)


def test_vjp_at_the_variable_of_another_transform():
    def f(x):
        value, pull = tg.vjp(lambda u: u**3, x)
        by_cotangent = tg.grad(lambda c: pull(c)[0] * x)(x)  # 3 x² x, whatever c
        return by_cotangent + value
    assert tg.grad(f)(2.0) == 12 * 4
    assert pair_jvp(f)(2.0) == 12 * 4


def test_vjp_that_outlives_the_transform_it_was_made_in():
    made = []

    def f(x):
        made.append(tg.vjp(lambda y: x * y * y, 2.0)[1])
        return x * 1.0

    tg.grad(f)(3.0)
    assert float(made[0](1.0)[0]) == 12
    assert tg.grad(lambda c: made[0](c)[0])(1.0) == 12  # the x of f is nobody's variable any more


def test_jvp_along_the_variable_of_another_transform():
    assert tg.grad(lambda v: tg.jvp(np.sin, (1.0,), (v,))[1])(1.0) == math.cos(1)
    close(tg.grad(lambda x: np.sum(tg.jvp(np.sin, (x,), (x,))[1]))(X), np.cos(X) - X * np.sin(X))
    close(tg.jvp(lambda x: tg.jvp(np.sin, (x,), (x,))[1], (X,), (V,))[1], (np.cos(X) - X * np.sin(X)) * V)
    close(tg.grad(lambda v: np.sum(tg.jvp(lambda x: x * v, (v,), (v,))[1]))(X), 2 * X)


def test_the_value_beside_a_derivative_is_differentiated_too():
    def f(x):
        value, slope = tg.value_and_grad(lambda y: x * y**3)(x)  # x⁴ and 3 x³
        return value * slope

    def g(x):
        value, slope = tg.jvp(lambda y: x * y**3, (x,), (x,))  # x⁴ and 3 x⁴
        return value * slope

    assert tg.grad(f)(2.0) == pair_jvp(f)(2.0) == 21 * 2**6
    assert tg.grad(g)(2.0) == pair_jvp(g)(2.0) == 24 * 2**7


@pytest.mark.parametrize("name", DERIVATIVES)
def test_at_a_constant_node_the_result_is_a_node(name):
    result = DERIVATIVES[name](lambda x: x * x)(tg.constant(3.0))
    assert isinstance(result, tg.Node)
    assert result.item() == 6


def test_a_closure_over_a_variable_inside_a_transform_at_a_constant():
    assert tg.grad(lambda x: tg.grad(lambda y: x * y)(1.0))(tg.constant(3.0)).item() == 1
    assert tg.grad(lambda x: tg.grad(lambda y: x * y)(tg.constant(1.0)))(3.0) == 1


def test_constants_and_states_from_outside_leave_results_plain():
    for outside in (tg.constant(X), tg.State(X), X):
        result = tg.grad(lambda x, outside=outside: np.sum(outside * x * x))(V)
        assert type(result) is np.ndarray
        close(result, 2 * X * V)


# ---------------------------------------------------------------------------------------------------------- parameters

def test_at_a_parameter_the_result_is_a_node_and_its_gradient_stays_alone():
    p = tg.Parameter(X)
    slope = tg.grad(cubes)(p)
    assert isinstance(slope, tg.Node)
    assert p.grad is None
    np.sum(slope * V).backprop()
    close(p.grad, 6 * X * V)


def test_through_a_parameter_from_outside():
    p = tg.Parameter(X)
    for result in (tg.grad(lambda x: np.sum(p * p * x))(V), tg.jvp(lambda x: p * p * x, (V,), (np.ones(3),))[1],
                   tg.vjp(lambda x: p * p * x, V)[1](np.ones(3))[0], tg.jacobian(lambda x: np.sum(p * p * x))(V)):
        assert isinstance(result, tg.Node)
        np.sum(result).backprop()
        close(p.grad, 2 * X)
        p.grad = None


def test_gradient_penalty():
    """A loss that contains the gradient of a network by its input: (|dy/dx| - 1)², averaged over the samples."""
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(6, 3))
    weights = rng.normal(size=(3, 4)), rng.normal(size=4)

    def by_formula(W, w):
        slopes = ((1 - np.tanh(samples @ W) ** 2) * w) @ W.T
        return np.mean((np.sqrt(np.sum(slopes * slopes, axis=1)) - 1) ** 2)

    W, w = map(tg.Parameter, weights)
    slopes = tg.grad(lambda x: np.sum(np.tanh(x @ W) @ w))(samples)
    loss = np.mean((np.sqrt(np.sum(slopes**2, axis=1)) - 1) ** 2)
    close(loss.item(), by_formula(*weights))
    loss.backprop()
    for parameter, expected in zip((W, w), gradient(complex_step, by_formula, weights), strict=True):
        assert type(parameter.grad) is np.ndarray
        close(parameter.grad, expected)


def test_a_step_of_descent_is_differentiated():
    """The gradient, by the rate and by where it starts, of what a step of gradient descent leads to."""
    def after_a_step(x, rate):
        return cubes(x - rate * tg.grad(cubes)(x))

    def by_formula(x, rate):
        return np.sum((x - rate * 3 * x**2) ** 3)

    rate = np.array(0.1)
    by_x, by_rate = tg.grad(after_a_step, (0, 1))(X, rate)
    expected = gradient(complex_step, by_formula, (X, rate))
    close(by_x, expected[0])
    close(by_rate, expected[1])


# --------------------------------------------------------------------------------------------------------------- scipy

def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_rosenbrock(n):
    rng = np.random.default_rng(n)
    for x, v in rng.normal(size=(5, 2, n)):
        value, slope = tg.value_and_grad(rosenbrock)(x)
        close(value, scipy.optimize.rosen(x))
        close(slope, scipy.optimize.rosen_der(x))
        close(tg.hessian(rosenbrock)(x), scipy.optimize.rosen_hess(x))
        close(tg.hvp(rosenbrock)(x, v), scipy.optimize.rosen_hess_prod(x, v))


def valley(x: Any, depth: float) -> Any:
    """Rosenbrock's function with another steepness: two arguments, as scipy passes them with args=."""
    return np.sum(depth * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize(("method", "second"), [
    ("BFGS", {}), ("CG", {}), ("L-BFGS-B", {}), ("SLSQP", {}),
    ("Newton-CG", {"hess": tg.hessian(valley)}), ("Newton-CG", {"hessp": tg.hvp(valley)}),
    ("trust-exact", {"hess": tg.hessian(valley)}), ("trust-krylov", {"hessp": tg.hvp(valley)}),
    ("trust-ncg", {"hessp": tg.hvp(valley)})], ids=lambda x: x if isinstance(x, str) else "".join(x) or "jac")
def test_scipy_minimizes_with_the_transforms(method, second):
    start = np.array([-1.2, 1.0, 0.5])
    found = scipy.optimize.minimize(valley, start, args=(30.0,), method=method, jac=tg.grad(valley), **second)
    assert found.success
    close(found.x, np.ones(3), 1e-4)
    both = tg.value_and_grad(valley)
    together = scipy.optimize.minimize(both, start, args=(30.0,), method=method, jac=True, **second)
    np.testing.assert_array_equal(together.x, found.x)


def test_scipy_solves_equations_with_the_jacobian():
    def f(x):
        return np.stack([x[0] ** 2 + x[1] ** 2 - 4, np.exp(x[0]) + x[1] - 1])

    found = scipy.optimize.root(f, np.array([1.0, -1.5]), jac=tg.jacobian(f))
    assert found.success
    close(f(found.x), np.zeros(2), 1e-8)


# ------------------------------------------------------------------------------------- the documents' loss, three times

rng = np.random.default_rng(5)
SAMPLES = rng.normal(size=(3, 6))
LABELS = np.array([0, 2, 1, 1, 0, 2])
# W¹, b¹, W², b² of a [3, 4, 3] network, samples in columns.
WEIGHTS = [rng.normal(size=shape) for shape in [(4, 3), (4, 1), (3, 4), (3, 1)]]
DIRECTIONS = [[0.1 * rng.normal(size=w.shape) for w in WEIGHTS] for _ in range(2)]


def documents_loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    A = ReLU(AddBias(MatMul(W1, SAMPLES), b1))
    return LogSoftmaxNLL(AddBias(MatMul(W2, A), b2), LABELS, axis=0)


def expanded(op: Any, *inputs: Any, **options: Any) -> Any:
    """What the op's forward makes of primitives, so that no rule derived by hand takes part."""
    result = op.expand(None, *inputs, **options)
    return result[0] if isinstance(result, tuple) else result


def expanded_loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    A = expanded(ReLU, expanded(AddBias, W1 @ SAMPLES, b1))
    return expanded(LogSoftmaxNLL, expanded(AddBias, W2 @ A, b2), LABELS, axis=0)


def plain_loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    """The loss in plain NumPy, right on complex numbers."""
    Z1 = W1 @ SAMPLES + b1
    Z2 = W2 @ np.where(Z1.real > 0, Z1, 0) + b2
    return np.mean(np.log(np.sum(np.exp(Z2), axis=0)) - Z2[LABELS, np.arange(LABELS.size)])


def hand_gradient(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    """The documents' backward pass in plain NumPy, right on complex numbers; the four gradients in one vector."""
    Z1 = W1 @ SAMPLES + b1
    A = np.where(Z1.real > 0, Z1, 0)
    E = np.exp(W2 @ A + b2)
    dZ2 = (E / np.sum(E, axis=0) - np.eye(3)[:, LABELS]) / LABELS.size
    dZ1 = np.where(Z1.real > 0, W2.T @ dZ2, 0)
    return flat([dZ1 @ SAMPLES.T, dZ1.sum(axis=1), dZ2 @ A.T, dZ2.sum(axis=1)])


def flat(arrays: Any) -> Any:
    return np.concatenate([np.ravel(array) for array in arrays])


def inner(xs: Any, ys: Any) -> Any:
    return sum(np.sum(x * y) for x, y in zip(xs, ys, strict=True))


def derivative(loss: Any, order: int) -> Any:
    """The gradient of the loss, or of its first or second derivative along fixed directions."""
    def slope(*w: Any) -> Any:
        return tg.vjp(loss, *w)[1](1.0)  # unlike grad, this is for complex numbers, too

    return slope if order == 1 else derivative(lambda *w: inner(slope(*w), DIRECTIONS[order - 2]), order - 1)


def test_the_loss_is_far_from_its_kinks():
    """Else differences would step over one."""
    assert np.abs(WEIGHTS[0] @ SAMPLES + WEIGHTS[1]).min() > 0.03


def test_first_derivative_of_the_loss():
    grads = derivative(documents_loss, 1)(*WEIGHTS)
    close(tg.value_and_grad(documents_loss)(*WEIGHTS)[0], plain_loss(*WEIGHTS))
    close(flat(grads), hand_gradient(*WEIGHTS))
    close(flat(grads), flat(gradient(complex_step, plain_loss, WEIGHTS)))


def test_second_derivative_of_the_loss():
    expected = complex_step(hand_gradient, WEIGHTS, DIRECTIONS[0])
    close(flat(derivative(documents_loss, 2)(*WEIGHTS)), expected)
    forward = tg.jvp(lambda *w: flat(tg.grad(documents_loss, range(4))(*w)), WEIGHTS, DIRECTIONS[0])
    close(forward[1], expected)


def test_third_derivative_of_the_loss():
    """Differences of a complex step on the gradient by hand, and a complex step on the engine's second derivative."""
    u, v = DIRECTIONS
    actual = flat(derivative(documents_loss, 3)(*WEIGHTS))
    close(actual, differences(along(complex_step, hand_gradient, u), WEIGHTS, v), 1e-10)
    close(actual, complex_step(lambda *w: flat(derivative(documents_loss, 2)(*w)), WEIGHTS, v))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_loss_and_its_expansion_have_the_same_derivatives(order):
    close(flat(derivative(documents_loss, order)(*WEIGHTS)), flat(derivative(expanded_loss, order)(*WEIGHTS)))


@pytest.mark.parametrize("i", range(4))
def test_the_whole_hessian_of_the_loss(i):
    H = tg.hessian(documents_loss, i)(*WEIGHTS)
    n = WEIGHTS[i].size
    close(H, tg.hessian(expanded_loss, i)(*WEIGHTS))
    H = H.reshape(n, n)
    close(H, H.T)
    start = sum(w.size for w in WEIGHTS[:i])
    for column, unit in zip(H.T, np.eye(n), strict=True):
        along_unit = [np.zeros_like(w) for w in WEIGHTS]
        along_unit[i] = unit.reshape(WEIGHTS[i].shape)
        close(column, complex_step(hand_gradient, WEIGHTS, along_unit)[start:start + n])


# ------------------------------------------------------------------------------------------ laws, for random functions

MATRIX = np.array([[0.5, -1.0, 0.2], [0.3, 0.8, -0.4], [-0.7, 0.1, 0.6]])
STAGES = [
    np.sin,
    np.tanh,
    lambda x: MATRIX @ x,
    lambda x: x * x[::-1],
    lambda x: np.log(1 + x * x),
    lambda x: x / np.sqrt(1 + np.sum(x * x)),
    lambda x: np.exp(-x * x),
    lambda x: np.where(x > 0.1, x * x * x, np.sin(x)),
    lambda x: np.concatenate([x[1:] * x[0], x[:1]]),
    lambda x: x[np.array([0, 0, 2])] - np.mean(x),
    lambda x: np.cos(np.reshape(x, (3, 1)) * x).sum(axis=0),
]


def composed(stages: Any) -> Any:
    def f(x):
        for i in stages:
            x = STAGES[i](x)
        return x
    return f


functions = st.lists(st.integers(0, len(STAGES) - 1), min_size=1, max_size=4).map(composed)
# Coarse numbers: far from the kink at 0.1 and from where the last digits are lost.
vectors = hnp.arrays(float, 3, elements=st.integers(-8, 8).map(lambda i: i / 4))
numbers = st.integers(-8, 8).map(lambda i: i / 4)


@given(functions, vectors, vectors)
def test_forward_and_reverse_agree_with_complex_step(f, x, v):
    J = np.stack([complex_step(f, [x], [unit]) for unit in np.eye(3)], axis=1)
    close(tg.jacobian(f)(x), J, 1e-10)
    close(tg.jvp(f, (x,), (v,))[1], J @ v, 1e-10)
    close(tg.vjp(f, x)[1](v)[0], v @ J, 1e-10)
    close(tg.grad(lambda x: np.sum(v * f(x)))(x), v @ J, 1e-10)


@given(functions, vectors, vectors, vectors, numbers, numbers)
def test_vjp_and_jvp_are_linear_and_each_others_transpose(f, x, c, d, a, b):
    value, pull = tg.vjp(f, x)
    close(pull(a * c + b * d)[0], a * pull(c)[0] + b * pull(d)[0], 1e-11)
    push = tg.jvp(f, (x,), (a * c + b * d,))[1]
    close(push, a * tg.jvp(f, (x,), (c,))[1] + b * tg.jvp(f, (x,), (d,))[1], 1e-11)
    same, tangent = tg.jvp(f, (x,), (d,))
    np.testing.assert_array_equal(same, value)
    close(c @ tangent, pull(c)[0] @ d, 1e-11)


@given(functions, functions, vectors)
def test_chain_rule(f, g, x):
    close(tg.jacobian(lambda x: f(g(x)))(x), tg.jacobian(f)(g(x)) @ tg.jacobian(g)(x), 1e-11)


@given(functions, functions, vectors, numbers, numbers)
def test_sums_and_products(f, g, x, a, b):
    close(tg.jacobian(lambda x: a * f(x) + b * g(x))(x), a * tg.jacobian(f)(x) + b * tg.jacobian(g)(x), 1e-11)
    product = f(x)[:, None] * tg.jacobian(g)(x) + g(x)[:, None] * tg.jacobian(f)(x)
    close(tg.jacobian(lambda x: f(x) * g(x))(x), product, 1e-11)


@given(functions, vectors, vectors, vectors)
def test_hessians_are_symmetric_and_each_way_to_them_agrees(f, x, c, v):
    def loss(x):
        return np.sum(c * f(x))

    H = tg.hessian(loss)(x)
    scale = 1e-10 * max(1, np.abs(tg.hessian(f)(x)).max())
    close(H, H.T, scale)
    close(H, np.tensordot(c, tg.hessian(f)(x), 1), scale)
    close(tg.hvp(loss)(x, v), H @ v, scale)
    close(tg.jvp(tg.grad(loss), (x,), (v,))[1], H @ v, scale)
    close(tg.grad(lambda x: np.sum(c * tg.jvp(f, (x,), (v,))[1]))(x), H @ v, scale)


@pytest.mark.parametrize("signs", [[1.0, -1.0], [1.0, 1.0]])
def test_forward_mode_sees_an_infinite_slope_through_a_selection(signs):
    def f(v):
        return np.where(v >= 0, np.array(signs) * np.sqrt(v), 0.0)

    with np.errstate(divide="ignore"):
        _, tangent = tg.jvp(f, [np.array(0.0)], [np.array(1.0)])
    np.testing.assert_array_equal(tangent, np.array(signs) * np.inf)


Z = np.array([0.3 + 0.7j, -1.2 + 0.4j, 0.9 - 2.0j])


def test_the_gradient_by_a_complex_number():
    """It is the derivative by the real part minus i times that by the imaginary part, also along a path of nodes."""
    def loss(z: Any) -> Any:
        return np.sum(np.abs(np.exp(z) * np.conj(z) - 1) ** 2)

    def parts(x: Any, y: Any) -> Any:
        return loss(x + 1j * y)

    value, grad = tg.value_and_grad(loss)(Z)
    by_x, by_y = tg.grad(parts, (0, 1))(Z.real, Z.imag)
    assert (value.dtype, grad.dtype, by_x.dtype) == (float, complex, float)
    close(grad, by_x - 1j * by_y)
    close(grad, 2 * np.conj(np.exp(Z) * np.conj(Z) - 1) * np.exp(Z) * np.conj(Z)
          + 2 * np.conj(np.conj(np.exp(Z) * np.conj(Z) - 1) * np.exp(Z)))
    step = 1e-3 * Z - 1j * 1e-3  # downhill is against the conjugate of the gradient
    assert loss(Z - 1e-3 * np.conj(grad)) < loss(Z)
    close(tg.jvp(loss, [Z], [step])[1], np.real(np.sum(grad * step)))
    close(tg.hvp(loss)(Z, step), tg.jvp(tg.grad(loss), [Z], [step])[1])


def test_a_python_complex_number_gets_one():
    value, grad = tg.value_and_grad(lambda z: np.abs(z))(3 + 4j)
    assert (type(value), type(grad), value) == (float, complex, 5.0)
    close(grad, 0.6 - 0.8j)
    close(tg.jvp(np.exp, [1j], [2.0 + 0j])[1], 2 * np.exp(1j))


def test_a_complex_result_has_no_gradient():
    for x in (2.0, 2.0 + 1j, Z):
        with pytest.raises(TypeError, match=r"is complex.* take np\.real"):
            tg.grad(lambda x: np.sum(x * (1 + 1j)))(x)
    with pytest.raises(TypeError, match="is complex"):
        (tg.Parameter(2.0) * 1j).backprop()
    with pytest.raises(TypeError, match="grad= is complex"):
        tg.backprop(tg.Parameter(2.0) * 3.0, wrt=[], grad=1j)


def test_a_cotangent_of_a_complex_result():
    """It pulls back the gradient of the real part of the product."""
    c = np.array([2 - 1j, 1j, 0.5])
    for f in (np.exp, np.conj, lambda z: z * np.abs(z), lambda z: z / (1 + np.real(z) ** 2)):
        close(tg.vjp(f, Z)[1](c)[0], tg.grad(lambda z, f=f: np.real(np.sum(f(z) * c)))(Z))
    close(tg.vjp(lambda x: x * Z, Z.real)[1](c)[0], np.real(Z * c))
    p = tg.Parameter(Z)
    (p * p).backprop(c)
    close(p.grad, 2 * Z * c)


def test_the_jacobian_of_complex_numbers():
    close(tg.jacobian(np.exp)(Z), np.diag(np.exp(Z)))
    close(tg.jacobian(np.abs)(Z), np.diag(np.conj(Z) / np.abs(Z)))
    for f, x in ((np.conj, Z), (lambda z: z * np.abs(z), Z), (lambda x: x * Z, Z.real)):
        if x.dtype == complex:
            with pytest.raises(TypeError, match=r"not analytic.*np\.real"):
                tg.jacobian(f)(x)
        with pytest.raises(TypeError, match="not analytic"):
            tg.elementwise_grad(f)(x)
    with pytest.raises(TypeError, match="not analytic"):
        tg.jacobian(lambda x, z: x * z, (0, 1))(Z.real, Z)
    close(tg.jacobian(lambda x: x * Z)(Z.real), np.diag(Z))
    close(tg.jacobian(lambda x: np.exp(1j * x))(0.5), 1j * np.exp(0.5j))
    close(tg.elementwise_grad(np.exp)(Z), np.exp(Z))
    close(tg.vmap(tg.jacobian(lambda z: z * z))(Z), 2 * Z)
    _, tangent = tg.jvp(lambda z: (np.exp(z), np.abs(z)), [Z], [1j * Z])
    close(tangent[0], 1j * Z * np.exp(Z))
    close(tangent[1], 0 * np.abs(Z))
    with pytest.raises(TypeError, match="not analytic"):
        tg.hessian(lambda z: np.sum(np.abs(z) ** 2))(Z)
