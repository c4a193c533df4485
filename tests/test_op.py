"""The contract of an op: what its forward and backward are called with, what they may return, what follows from them,
and that a mistake is an error which names the op: when the class is defined if the definition shows it, otherwise when
the rule is called.
"""

import inspect
import math
import re
import traceback

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.node import TWINS

X = np.array([0.3, -1.2, 2.0])


def derivatives(f, order):
    """The functions f', f'' ... of a function of one number."""
    result = []
    for _ in range(order):
        f = tg.grad(f)
        result.append(f)
    return result


@pytest.fixture
def cbrt(monkeypatch):
    """np.cbrt without a counterpart, and as it was before once the test is over."""
    monkeypatch.setitem(TWINS, np.cbrt, None)
    del TWINS[np.cbrt]
    return np.cbrt


# ------------------------------------------------------------------------------------------------- forward and backward

class Cube(tg.Op):
    """y = x³;   dx = 3 x² dy"""

    def forward(self, x):
        return x**3

    def backward(self, grad, y, x):
        return 3 * grad * x * x


class Softplus(tg.Op):
    """No backward: it is derived."""

    def forward(self, x):
        return np.log1p(np.exp(x))


class Softmax(tg.Op):
    """Keeps two of its intermediate values, one of them more than the mathematics needs."""

    def forward(self, x, *, temperature=1.0):
        e = np.exp(x / temperature)
        s = np.sum(e)
        return e / s, e, s

    def backward(self, grad, y, x, e, s, *, temperature=1.0):
        return e / s * (grad - np.sum(grad * e) / s) / temperature


class Hypot(tg.Op):
    """Two inputs and no backward."""

    def forward(self, a, b):
        return np.sqrt(a * a + b * b)


class Largest(tg.Op):
    """Any number of inputs."""

    def forward(self, *xs):
        best = xs[0]
        for x in xs[1:]:
            best = np.maximum(best, x)
        return best

    def backward(self, grad, y, *xs):
        return tuple(grad * (x == y) for x in xs)


def test_an_op_is_the_node():
    node = Cube(tg.constant(X))
    assert isinstance(node, Cube)
    assert isinstance(node, tg.Node)
    np.testing.assert_array_equal(node.value, X**3)
    assert [type(x).__name__ for x in node.inputs] == ["Value"]
    assert repr(node).startswith("<Cube (3,) float64")


def test_a_rule_is_used_and_differentiated_again():
    assert [f(2.0) for f in derivatives(Cube, 3)] == [12.0, 12.0, 6.0]


def test_a_backward_is_derived_from_the_expansion():
    s = 1 / (1 + np.exp(-0.7))
    first, second, third = derivatives(Softplus, 3)
    np.testing.assert_allclose(first(0.7), s)
    np.testing.assert_allclose(second(0.7), s * (1 - s))
    np.testing.assert_allclose(third(0.7), s * (1 - s) * (1 - 2 * s))
    p = tg.Parameter(X.astype(np.float32))
    Softplus(p).sum().backprop()
    assert p.grad.dtype == np.float32
    np.testing.assert_allclose(p.grad, 1 / (1 + np.exp(-X)), rtol=1e-6)


def test_a_derived_backward_has_as_many_inputs_as_are_asked_for():
    a, b = tg.Parameter(3.0), tg.Parameter(4.0)
    np.testing.assert_allclose(tg.backprop(Hypot(a, b), wrt=[b, a]), [0.8, 0.6])
    np.testing.assert_allclose(tg.backprop(Hypot(a, 4.0), wrt=a), 0.6)
    assert tg.backprop(Hypot(a, a), wrt=a) == pytest.approx(math.sqrt(2))
    np.testing.assert_allclose(tg.hessian(lambda x: Hypot(x[0], x[1]))(np.array([3.0, 4.0])),
                               np.array([[16, -12], [-12, 9]]) / 125)


def test_a_derived_op_may_be_made_of_derived_ops():
    class Both(tg.Op):
        def forward(self, a, b):
            return Softplus.apply(Hypot.apply(a, b))

    r, s = 5.0, 1 / (1 + math.exp(-5))
    first, second = derivatives(lambda a: Both(a, 4.0), 2)
    assert first(3.0) == pytest.approx(s * 3 / r)
    assert second(3.0) == pytest.approx(s * (1 - s) * (3 / r) ** 2 + s * 16 / r**3)


def test_an_expansion_without_the_input_has_no_gradient():
    class Nothing(tg.Op):
        def forward(self, x):
            return np.zeros_like(x)

    assert tg.grad(lambda x: Nothing(x) * x)(1.0) == 0
    np.testing.assert_array_equal(tg.grad(lambda x: Nothing(x).sum())(X), np.zeros(3))


def test_an_expansion_may_return_its_input():
    class Same(tg.Op):
        def forward(self, x):
            return x

    assert [f(3.0) for f in derivatives(lambda x: Same(x) * x, 2)] == [6, 2]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_kept_values_are_traced_again(temperature):
    """On arrays the rule sees e and s as numbers. If it did so when traced, their dependence on x would be lost."""
    weights = np.array([1.0, -2.0, 0.5])

    def fused(x):
        return np.sum(Softmax(x, temperature=temperature) * weights)

    def primitives(x):
        e = np.exp(x / temperature)
        return np.sum(e / np.sum(e) * weights)

    np.testing.assert_allclose(tg.grad(fused)(X), tg.grad(primitives)(X), rtol=1e-12)
    np.testing.assert_allclose(tg.hessian(fused)(X), tg.hessian(primitives)(X), rtol=1e-12)
    third = [tg.jacobian(tg.hessian(f))(X) for f in (fused, primitives)]
    np.testing.assert_allclose(*third, rtol=1e-10, atol=1e-14)


def test_options_have_defaults_and_reach_both_halves():
    class Scale(tg.Op):
        def forward(self, x, *, by=3, twice=False):
            return x * by * (2 if twice else 1)

        def backward(self, grad, y, x, *, by=3, twice=False):
            return grad * by * (2 if twice else 1)

    assert tg.grad(Scale)(1.0) == 3
    assert tg.grad(lambda x: Scale(x, by=5))(1.0) == 5
    assert tg.grad(lambda x: Scale(x, twice=True, by=5))(1.0) == 10
    with pytest.raises(TypeError, match=r"Scale.*unexpected keyword argument 'bx'"):
        Scale(tg.constant(1.0), bx=5)
    with pytest.raises(TypeError, match="positional argument"):
        Scale(tg.constant(1.0), 5)


def test_any_number_of_inputs():
    a, b, c = (tg.Parameter(np.array(x)) for x in ([1.0, 5.0], [4.0, 2.0], [3.0, 3.0]))
    loss = Largest(a, b, np.array([0.0, 9.0]), c).sum()
    assert loss.item() == 13
    for grad, expected in zip(tg.backprop(loss, wrt=[a, b, c]), ([0, 0], [1, 0], [0, 0]), strict=True):
        np.testing.assert_array_equal(grad, expected)
    assert tg.grad(Largest)(2.0) == 1
    with pytest.raises(TypeError, match=r"Largest\.?.*"):
        Largest(tg.constant(1.0), unknown=1)


def test_the_number_of_inputs_is_checked():
    with pytest.raises(TypeError, match=r"Hypot.*missing 1 required positional argument: 'b'|Hypot.*'x1'"):
        Hypot(tg.constant(1.0))
    with pytest.raises(TypeError, match=r"Hypot.*positional arguments"):
        Hypot(1.0, 2.0, 3.0)


def test_thunks_are_called_only_for_gradients_that_are_needed():
    called = []

    class Product(tg.Op):
        def forward(self, a, b):
            return a * b

        def backward(self, grad, y, a, b):
            def da():
                called.append("a")
                return grad * b

            def db():
                called.append("b")
                return grad * a

            return da, db

    a, b = tg.Parameter(2.0), tg.Parameter(3.0)

    def calls(make, **options):
        called.clear()
        loss = make()
        if options:
            tg.backprop(loss, **options)
        else:
            loss.backprop()
        return "".join(called)

    assert calls(lambda: Product(a, b)) == "ab"
    assert calls(lambda: Product(a, 3.0)) == "a"
    assert calls(lambda: Product(tg.constant(2.0), b)) == "b"
    assert calls(lambda: Product(a, b), wrt=b) == "b"
    assert calls(lambda: Product(a, b), wrt=a, traced=True) == "a"
    assert calls(lambda: Product(a * 1, b * 1), wrt=a) == "a"
    assert calls(lambda: Product(a, b) * 0 + b, wrt=b) == "b"
    assert (a.grad, b.grad) == (3.0, 2.0)


def test_none_is_no_gradient():
    class Pick(tg.Op):
        def forward(self, a, b, c):
            return a + 0 * b + c

        def backward(self, grad, y, a, b, c):
            return grad, None, lambda: None

    a, b, c = tg.Parameter(np.ones(2)), tg.Parameter(np.ones(2, np.float32)), tg.Parameter(np.ones(2))
    Pick(a, b, c).sum().backprop()
    np.testing.assert_array_equal(a.grad, [1, 1])
    np.testing.assert_array_equal(b.grad, np.zeros(2, np.float32), strict=True)
    np.testing.assert_array_equal(c.grad, [0, 0])
    traced = tg.backprop(Pick(a, b, c).sum(), wrt=[b, c], traced=True)
    np.testing.assert_array_equal(traced[0].value, np.zeros(2, np.float32), strict=True)


@pytest.mark.parametrize("wrap", [lambda g: g, lambda g: (g,), lambda g: lambda: g, lambda g: (lambda: g,)],
                         ids=["value", "tuple", "thunk", "tuple of a thunk"])
def test_the_gradient_of_a_single_input_comes_in_four_forms(wrap):
    class Twice(tg.Op):
        def forward(self, x):
            return 2 * x

        def backward(self, grad, y, x):
            return wrap(2 * grad)

    p = tg.Parameter(X)
    Twice(p).sum().backprop()
    np.testing.assert_array_equal(p.grad, [2, 2, 2])
    assert tg.grad(tg.grad(lambda x: Twice(x) ** 2))(3.0) == 8


def test_what_is_no_node_passes_through_untouched():
    seen = []

    class Watch(tg.Op):
        def forward(self, x, a, b, c, d):
            seen.append((a, b, c, d))
            return x * a

        def backward(self, grad, y, x, a, b, c, d):
            seen.append((a, b, c, d))
            return grad * a, None, None, None, None

    given = (2, 1.5, np.float32(3), np.arange(3))
    p = tg.Parameter(X.astype(np.float32))
    node = Watch(p, *given)
    assert node.dtype == np.float32
    node.sum().backprop()
    assert len(seen) == 2
    for values in (*seen, node.inputs[1:]):
        assert all(value is x for value, x in zip(values, given, strict=True))


def test_lists_become_arrays():
    np.testing.assert_array_equal(Hypot([3.0, 5.0], [4.0, 12.0]).value, [5, 13])


def test_apply_is_forward_on_arrays_and_the_op_on_nodes():
    result = Cube.apply(X)
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, X**3)
    assert isinstance(Cube.apply(tg.constant(X)), Cube)


def test_expand_is_what_is_traced():
    class Erf(tg.Op):
        """Its forward calls a C library; near 0 the expansion is the series."""

        def forward(self, x):
            return np.float64(math.erf(x))

        def expand(self, x):
            return 2 / math.sqrt(math.pi) * (x - x**3 / 3 + x**5 / 10 - x**7 / 42)

    first, second = derivatives(Erf, 2)
    assert Erf(tg.constant(0.1)).item() == math.erf(0.1)
    assert first(0.1) == pytest.approx(2 / math.sqrt(math.pi) * math.exp(-0.01), rel=1e-7)
    assert second(0.1) == pytest.approx(-0.4 / math.sqrt(math.pi) * math.exp(-0.01), rel=1e-5)


def test_kept_values_come_from_expand_when_traced():
    class Squared(tg.Op):
        def forward(self, x):
            return np.float64(float(x) ** 2), np.float64(2 * float(x))

        def expand(self, x):
            return x * x, 2 * x

        def backward(self, grad, y, x, slope):
            return grad * slope

    assert [f(3.0) for f in derivatives(lambda x: Squared(x) * x, 3)] == [27, 18, 6]


def test_a_c_library_with_a_rule_of_numpy_functions_is_differentiable_to_any_order():
    class Erf(tg.Op):
        def forward(self, x):
            return np.vectorize(math.erf, otypes=[float])(x)

        def backward(self, grad, y, x):
            return grad * (2 / math.sqrt(math.pi)) * np.exp(-x * x)

    slope = 2 / math.sqrt(math.pi) * math.exp(-0.25)
    np.testing.assert_allclose([f(0.5) for f in derivatives(Erf, 3)], [slope, -slope, -slope], rtol=1e-12)


def test_a_c_library_whose_values_are_kept_says_so_at_second_order():
    class Exponential(tg.Op):
        def forward(self, x):
            y = np.vectorize(math.exp, otypes=[float])(x)
            return y, y

        def backward(self, grad, y, x, kept):
            return grad * kept

    assert tg.grad(Exponential)(1.0) == math.e
    with pytest.raises((TypeError, NotImplementedError), match=r"Exponential cannot be traced.*second derivative"):
        tg.grad(tg.grad(Exponential))(1.0)


def test_a_rule_that_calls_a_c_library_says_so_at_second_order():
    class Exponential(tg.Op):
        def forward(self, x):
            return np.exp(x)

        def backward(self, grad, y, x):
            return grad * math.exp(x)

    assert tg.grad(Exponential)(1.0) == math.e
    with pytest.raises(TypeError, match=r"Exponential cannot be traced.*was read as a number \(by math"):
        tg.grad(tg.grad(Exponential))(1.0)


@pytest.mark.parametrize("read", [math.exp, float, int, complex, lambda x: x.item(), "{:.3f}".format],
                         ids=["math", "float", "int", "complex", "item", "format"])
def test_reading_a_number_in_an_expansion_is_refused(read):
    class Reader(tg.Op):
        def forward(self, x):
            read(x)
            return x * x

    node = Reader(tg.Parameter(2.0))  # nothing is wrong with the value
    assert node.item() == 4
    with pytest.raises(TypeError, match=r"Reader cannot be traced.*read as a number"):
        node.backprop()
    assert float(tg.constant(2.0)) == 2  # and outside of the rule numbers can be read again


def test_reading_a_number_in_a_thunk_is_refused():
    class Exponential(tg.Op):
        def forward(self, x):
            return np.exp(x)

        def backward(self, grad, y, x):
            return lambda: grad * math.exp(x)

    with pytest.raises(TypeError, match="Exponential cannot be traced"):
        tg.grad(tg.grad(Exponential))(1.0)


def test_a_branch_on_a_value_may_be_traced():
    class Relay(tg.Op):
        def forward(self, x):
            return x * x if x > 0 else -x

    assert [f(3.0) for f in derivatives(Relay, 2)] == [6, 2]
    assert tg.grad(Relay)(-3.0) == -1


# -------------------------------------------------------------------------------------------- what a rule may hand back

def returning(gradient):
    """An op y = x whose rule returns what it is told to."""
    class Rule(tg.Op):
        def forward(self, x):
            return x * 1

        def backward(self, grad, y, x):
            return gradient(grad)

    return Rule


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("wide", [np.float64, np.int64])
def test_gradients_take_the_type_of_their_input(dtype, wide):
    p = tg.Parameter(np.ones(2, dtype))
    returning(lambda grad: np.full(2, 3, wide))(p).sum().backprop()
    np.testing.assert_array_equal(p.grad, np.full(2, 3, dtype), strict=True)


@pytest.mark.parametrize("below", [lambda p: p, lambda p: p * 1, lambda p: tg.ops.ReLU(p)], ids=["leaf", "op", "fused"])
@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2.0)], ids=repr)
def test_a_rule_may_return_a_number_for_a_number(below, value):
    p = tg.Parameter(1.0)
    returning(lambda grad: value)(below(p)).backprop()
    np.testing.assert_array_equal(p.grad, np.array(2.0), strict=True)


@pytest.mark.parametrize("traced", [False, True], ids=["arrays", "traced"])
def test_a_rule_may_return_a_list(traced):
    p = tg.Parameter(np.ones(2))
    grad = tg.backprop(returning(lambda grad: [1.0, 2.0])(p).sum(), wrt=p, traced=traced)
    np.testing.assert_array_equal(grad.value if traced else grad, [1.0, 2.0], strict=True)


@pytest.mark.parametrize("traced", [False, True], ids=["arrays", "traced"])
@pytest.mark.parametrize(("gradient", "sentence"), [
    (lambda grad: np.ones(3), r"returned a gradient of shape \(3,\) for its input Parameter W \(2,\)"),
    (lambda grad: np.ones((1, 2)), r"returned a gradient of shape \(1, 2\) for its input"),
    (lambda grad: np.ones(1), r"returned a gradient of shape \(1,\) for its input"),
    (lambda grad: 1.0, r"returned a gradient of shape \(\) for its input"),
    (lambda grad: (grad, grad), "returned 2 gradients for 1 inputs"),
    (lambda grad: (), "returned 0 gradients for 1 inputs"),
    (lambda grad: "text", "expected numbers, got str"),
    (lambda grad: object(), "expected numbers, got object"),
], ids=["longer", "more axes", "short", "scalar", "two", "none", "text", "object"])
def test_a_wrong_gradient_is_an_error_that_names_the_op(gradient, sentence, traced):
    p = tg.Parameter(np.ones(2), "W")
    loss = returning(gradient)(p).sum()
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        tg.backprop(loss, wrt=p, traced=traced)
    assert "Rule" in str(caught.value)


@pytest.mark.parametrize("sweep", [lambda loss, p: loss.backprop(), lambda loss, p: tg.backprop(loss, wrt=p),
                                   lambda loss, p: tg.backprop(loss, wrt=p, traced=True)],
                         ids=["backprop", "wrt", "traced"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_one_gradient_for_each_input(sweep, count):
    class Sum(tg.Op):
        def forward(self, a, b):
            return a + b

        def backward(self, grad, y, a, b):
            return (grad,) * count

    p = tg.Parameter(1.0)
    with pytest.raises((TypeError, ValueError), match=rf"Sum \(\) float64.* {count} gradients for 2 inputs"):
        sweep(Sum(p, p), p)


def test_a_single_gradient_for_two_inputs_is_an_error():
    class Sum(tg.Op):
        def forward(self, a, b):
            return a + b

        def backward(self, grad, y, a, b):
            return grad  # an array of two entries is not two gradients

    p = tg.Parameter(np.ones(2))
    with pytest.raises((TypeError, ValueError), match=r"Sum.*1 gradients for 2 inputs"):
        Sum(p, p).sum().backprop()


def test_only_ops_that_broadcast_may_return_a_broadcast_gradient():
    def backward(self, grad, y, a, b):
        return grad, grad

    class Fused(tg.Op):
        def forward(self, a, b):
            return a + b

    fused = type("Rude", (tg.Op,), {"forward": lambda self, a, b: a + b, "backward": backward})
    entrywise = type("Entrywise", (tg.Elementwise,), {"forward": lambda self, a, b: a + b, "backward": backward})
    for shape in ((), (3,), (1, 3), (2, 1), (1, 1), (1, 2, 3)):
        p = tg.Parameter(np.ones(shape))
        seed = np.arange(6.0).reshape((1, 2, 3) if len(shape) == 3 else (2, 3))
        expected = tg.backprop(Fused(p, np.ones((2, 3))), wrt=p, grad=seed)
        grad = tg.backprop(entrywise(p, np.ones((2, 3))), wrt=p, grad=seed)
        np.testing.assert_array_equal(grad, expected, strict=True)
        assert grad.sum() == 15
        if len(shape) < 3:
            with pytest.raises(ValueError, match=r"Rude \(2, 3\) float64 returned a gradient of shape \(2, 3\)"):
                tg.backprop(fused(p, np.ones((2, 3))), wrt=p, grad=seed)


def test_a_broadcast_gradient_of_no_possible_shape_is_an_error():
    class Wild(tg.Elementwise):
        def forward(self, x):
            return x * 1

        def backward(self, grad, y, x):
            return np.ones(5)

    with pytest.raises(ValueError, match=r"Wild .* returned a gradient of shape \(5,\)"):
        Wild(tg.Parameter(np.ones(2))).sum().backprop()


# -------------------------------------------------------------------------------------------- what a forward may return

@pytest.mark.parametrize("convert", [float, np.float64, np.ndarray.tolist, lambda x: np.array(x)],
                         ids=["float", "scalar", "list", "array"])
def test_a_forward_may_return_a_number(convert):
    class Convert(tg.Op):
        def forward(self, x):
            return convert(x)

        def backward(self, grad, y, x):
            return grad

    p = tg.Parameter(1.5)
    node = Convert(p)
    np.testing.assert_array_equal(node.value, np.array(1.5), strict=True)
    node.backprop()
    assert p.grad == 1


@pytest.mark.parametrize("result", [None, "text", (), (1.0, 2.0, 3.0)], ids=repr)
def test_a_forward_that_returns_no_numbers_is_named(result):
    class Broken(tg.Op):
        def forward(self, x):
            return result

        def backward(self, grad, y, x):
            return grad

    with pytest.raises(TypeError, match=r"Broken\(constant \(3,\) float64\): (expected numbers|forward must return)"):
        Broken(tg.constant(X))


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_wrong_number_of_kept_values_is_named(kept):
    class Keeper(tg.Op):
        def forward(self, x):
            return (x, *[x] * kept) if kept else x

        def backward(self, grad, y, x, first, second):
            return grad

    with pytest.raises(TypeError, match=r"Keeper\(constant .*forward must return the output and 2 values"):
        Keeper(tg.constant(X))


# ---------------------------------------------------------------------------------------------------- errors in forward

class Raiser(tg.Op):
    """Calls a function on its input."""

    def forward(self, x, *, call):
        return call(x)

    def backward(self, grad, y, x, *, call):
        return grad


class NeedsTwo(ValueError):
    """An error that cannot be made from a message alone."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class NeedsTwoTypes(TypeError):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def throw(error):
    raise error


@pytest.mark.parametrize(("call", "kind", "sentence"), [
    (lambda x: x.reshape(7), ValueError, "cannot reshape array of size 4"),
    (lambda x: np.linalg.inv(x), np.linalg.LinAlgError, "Singular matrix"),
    (lambda x: np.sum(x, axis=5), np.exceptions.AxisError, "axis 5 is out of bounds"),
    (lambda x: x[9], IndexError, "index 9 is out of bounds"),
    (lambda x: x.shape + 1, TypeError, "can only concatenate tuple"),
    (lambda x: throw(NeedsTwo(1, 2)), ValueError, "1 and 2"),
    (lambda x: throw(NeedsTwoTypes(1, 2)), TypeError, "1 and 2"),
], ids=["ValueError", "LinAlgError", "AxisError", "IndexError", "TypeError", "own ValueError", "own TypeError"])
def test_an_error_in_forward_keeps_its_class_and_names_the_op_and_the_shapes(call, kind, sentence):
    w = tg.Parameter(np.zeros((2, 2), np.float32), "W")
    with pytest.raises(kind, match=rf"^Raiser\(Parameter W \(2, 2\) float32, call=.*\): .*{sentence}"):
        Raiser(w, call=call)


@pytest.mark.parametrize("error", [KeyError("no"), ZeroDivisionError("no"), KeyboardInterrupt()], ids=repr)
def test_other_errors_pass(error):
    with pytest.raises(type(error)):
        Raiser(tg.constant(1.0), call=lambda x: throw(error))


@pytest.mark.parametrize(("build", "sentence"), [
    (lambda W, X: W @ X, r"MatMul\(Parameter W \(2, 3\) float64, ndarray \(2, 5\)\)"),
    (lambda W, X: W + X, r"Add\(Parameter W \(2, 3\) float64, ndarray \(2, 5\)\): .*could not be broadcast"),
    (lambda W, X: X - W, r"Subtract\(ndarray \(2, 5\), Parameter W \(2, 3\) float64\)"),
    (lambda W, X: W.reshape(4), r"Reshape\(Parameter W \(2, 3\) float64, shape=4\)"),
    (lambda W, X: W.sum(axis=2), r"Sum\(Parameter W \(2, 3\) float64.*axis=2"),
    (lambda W, X: W[5], r"Index\(Parameter W \(2, 3\) float64, index=\(5,\)\)"),
    (lambda W, X: np.concatenate([W, X]), r"Concatenate\(Parameter W \(2, 3\) float64, ndarray \(2, 5\), axis=0\)"),
    (lambda W, X: tg.ops.AddBias(W, np.ones(2)), r"AddBias\(Parameter W \(2, 3\) float64, ndarray \(2,\)\)"),
], ids=["matmul", "add", "subtract", "reshape", "sum", "index", "concatenate", "bias"])
def test_a_shape_error_names_the_op_and_shows_the_users_line(build, sentence):
    with pytest.raises((ValueError, IndexError), match=sentence) as caught:
        build(tg.Parameter(np.ones((2, 3)), "W"), np.ones((2, 5)))
    own = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename == __file__]
    assert own[-1].name == "<lambda>"
    assert f"(lambda W, X: {own[-1].line.partition('lambda W, X: ')[2]}" in own[-1].line
    assert "During handling" not in "".join(traceback.format_exception(caught.value))


def test_an_error_in_ones_own_forward_shows_the_line_that_failed():
    with pytest.raises(ValueError, match="not today") as caught:
        Raiser(tg.constant(1.0), call=lambda x: throw(ValueError("not today")))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename == __file__]
    assert names[-3:] == ["forward", "<lambda>", "throw"]


def test_an_error_in_backward_passes_through():
    class Broken(tg.Op):
        def forward(self, x):
            return x * 1

        def backward(self, grad, y, x):
            return np.linalg.inv(x)

    with pytest.raises(np.linalg.LinAlgError):
        Broken(tg.Parameter(np.zeros((2, 2)))).sum().backprop()


# ---------------------------------------------------------------------------------------------- mistakes in definitions

def double(self, x):
    return 2 * x


def double_rule(self, grad, y, x):
    return 2 * grad


def two(self, a, b):
    return a * b


def with_option(self, x, *, k=2):
    return k * x


def any_number(self, *xs):
    return xs[0]


MISTAKES = {
    "swapped inputs": (tg.Op, two, lambda self, grad, y, b, a: (grad, grad), "disagree on inputs"),
    "fewer inputs": (tg.Op, two, lambda self, grad, y, a: grad, "disagree on inputs"),
    "other names": (tg.Op, double, lambda self, grad, y, z: grad, "disagree on inputs"),
    "one side variadic": (tg.Op, any_number, lambda self, grad, y, x: grad, "disagree on inputs"),
    "other side variadic": (tg.Op, double, lambda self, grad, y, *xs: grad, "disagree on inputs|must take"),
    "option missing": (tg.Op, with_option, double_rule, "disagree on options"),
    "option too many": (tg.Op, double, lambda self, grad, y, x, *, k=2: grad, "disagree on options"),
    "option of another name": (tg.Op, with_option, lambda self, grad, y, x, *, m=2: grad, "disagree on options"),
    "option of another default": (tg.Op, with_option, lambda self, grad, y, x, *, k=3: grad, "disagree on options"),
    "option without default": (tg.Op, with_option, lambda self, grad, y, x, *, k: grad, "disagree on options"),
    "default on an input": (tg.Op, lambda self, x, k=2: x, None, "inputs are positional without defaults"),
    "default in backward": (tg.Op, double, lambda self, grad, y, x=None: grad, "inputs are positional"),
    "any options": (tg.Op, lambda self, x, **options: x, None, "inputs are positional without defaults"),
    "no output": (tg.Op, double, lambda self, grad: grad, r"must take \(self, grad, output, \*inputs\)"),
    "no inputs": (tg.Op, double, lambda self, grad, y: grad, r"must take \(self, grad, output, \*inputs\)"),
    "variadic without output": (tg.Op, any_number, lambda self, grad, *xs: grad, "must take"),
    "primitive without backward": (tg.Primitive, double, None, "is a primitive and needs a backward"),
    "entrywise without backward": (tg.Elementwise, double, None, "is a primitive and needs a backward"),
    "primitive that keeps": (tg.Primitive, double, lambda self, grad, y, x, kept: grad, r"cannot keep \['kept'\]"),
    "extending a final op": (Cube, double, double_rule, "cannot extend Cube: an op that has a forward is final"),
    "extending one of ours": (tg.ops.ReLU, None, None, "cannot extend ReLU"),
    "forward without inputs": (tg.Op, lambda self: np.ones(3), None, "Mistake"),
    "inputs that nobody names": (tg.Op, np.linalg.inv, None, "Mistake"),
    "a ufunc's number of inputs": (tg.Elementwise, np.hypot, lambda self, grad, y, x: grad, "disagree on inputs"),
}


@pytest.mark.parametrize(("base", "forward", "backward", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_an_error_when_the_class_is_defined(base, forward, backward, sentence):
    body = {"forward": forward, "backward": backward}
    before = dict(TWINS)
    with pytest.raises(TypeError, match=sentence) as caught:
        type("Mistake", (base,), {name: function for name, function in body.items() if function is not None})
    assert str(caught.value).startswith("Mistake")
    assert before == TWINS


def test_a_variadic_op_keeps_nothing():
    with pytest.raises(TypeError, match=r"^Mistake"):
        type("Mistake", (tg.Op,), {"forward": any_number, "backward": lambda self, grad, y, kept, *xs: grad})


def test_an_abstract_op_cannot_be_built():
    class Abstract(tg.Op):
        """A family of ops: no forward yet."""

    class Real(Abstract):
        forward, backward = double, double_rule

    assert Real(tg.constant(1.0)).item() == 2
    for kind in (tg.Op, tg.Primitive, tg.Elementwise, Abstract):
        with pytest.raises(TypeError, match=rf"{kind.__name__} is abstract: it has no forward"):
            kind(tg.constant(1.0))


# ---------------------------------------------------------------------------------------------------------------- twins

def test_a_ufunc_as_forward_registers_its_op(cbrt):
    with pytest.raises(NotImplementedError, match="cbrt has no counterpart"):
        cbrt(tg.constant(8.0))

    class Cbrt(tg.Elementwise):
        forward = np.cbrt

        def backward(self, grad, y, x):
            return grad / (3 * y * y)

    assert isinstance(cbrt(tg.constant(8.0)), Cbrt)
    assert [f(8.0) for f in derivatives(cbrt, 2)] == pytest.approx([1 / 12, -1 / 144])


def test_a_fused_op_may_be_the_twin_of_a_function(cbrt):
    class Cbrt(tg.Op, twin=np.cbrt):
        def forward(self, x):
            return np.exp(np.log(x) / 3)

    assert isinstance(cbrt(tg.constant(8.0)), Cbrt)
    assert tg.grad(cbrt)(8.0) == pytest.approx(1 / 12)


def test_a_twin_has_one_op(cbrt):
    def define(module):
        source = "class Mine(tg.Elementwise):\n    forward = np.cbrt\n    def backward(self, grad, y, x): return grad"
        exec(source, {"tg": tg, "np": np, "__name__": module})

    define("notebook")
    define("notebook")  # a cell that is run again replaces its own class
    with pytest.raises(TypeError, match=r"Mine: np\.cbrt on nodes is Mine already"):
        define("another")


def test_the_ops_of_the_package_are_not_replaced():
    source = "class Exp(tg.Elementwise):\n    forward = np.exp\n    def backward(self, grad, y, x): return 0 * grad"
    with pytest.raises(TypeError, match=r"Exp: np\.exp on nodes is Exp already"):
        exec(source, {"tg": tg, "np": np, "__name__": "somebody.elses"})
    assert tg.grad(np.exp)(0.0) == 1


def test_a_rule_can_be_called_by_hand():
    node = Cube(tg.constant(2.0))
    assert node.backward(1.0, 8.0, 2.0) == 12
    assert re.search("3 x² dy", Cube.__doc__)


@pytest.mark.parametrize(("op", "expected"), [
    (tg.ops.MatMul, "(A, B, /)"), (tg.ops.LogSoftmaxNLL, "(Z, t, /, *, axis=-1)"), (tg.ops.Exp, "(x0, /)"),
    (tg.ops.Concatenate, "(*inputs, axis)"),
])
def test_the_signature_of_an_op_is_that_of_its_forward(op, expected):
    assert str(inspect.signature(op)) == expected
