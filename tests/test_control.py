"""What says how a derivative is taken: stop_gradient, custom rules, checkpoints."""

import math
import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest

import tinygraph as tg

from .test_batching import FUNCTIONS, FromC

rng = np.random.default_rng(2)
X, W = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))


def close(actual: Any, expected: Any, rtol: float = 1e-12) -> None:
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * (1 + np.max(np.abs(expected), initial=0)))


# ------------------------------------------------------------------------------------------------------ stop_gradient

def test_stop_gradient():
    assert tg.grad(lambda x: tg.stop_gradient(x) * x)(3.0) == 3
    assert tg.grad(tg.grad(lambda x: tg.stop_gradient(x) * x))(3.0) == 0
    assert tg.jvp(lambda x: tg.stop_gradient(x) * x, (3.0,), (1.0,)) == (9, 3)
    close(tg.vmap(tg.grad(lambda x: np.sum(tg.stop_gradient(x) * x)))(X), X)
    p = {"a": X, "b": [2.0]}
    stopped = tg.grad(lambda p: np.sum(p["a"]) * tg.stop_gradient(p)["b"][0])(p)
    assert stopped["b"] == [0.0]
    close(stopped["a"], np.full((4, 3), 2.0))
    assert tg.stop_gradient(X) is X
    assert tg.stop_gradient([1.0, None]) == [1.0, None]
    q = tg.Parameter(X)
    (tg.stop_gradient(q) * q).sum().backprop()
    close(q.grad, X)


# ------------------------------------------------------------------------------------------------------------- custom

@tg.custom(lambda grad, y, x: grad * 3 * x)  # not its derivative, so that one sees which rule was taken
def half_square(x):
    return 0.5 * x * x


def scaled_backward(grad, y, x, w, *, power=1.0):
    return lambda: grad * w**power, lambda: np.sum(grad * x * power * w ** (power - 1))


@tg.custom(scaled_backward)
def scaled(x, w, *, power=1.0):
    return x * w**power


def test_the_rule_is_the_one_that_was_given():
    x = np.array([0.4, -1.7, 2.5])
    assert type(half_square(x)) is np.ndarray
    assert half_square(2.0) == 2
    value, grad = tg.value_and_grad(lambda x: np.sum(half_square(x)))(x)
    close(value, np.sum(x * x) / 2)
    close(grad, 3 * x)
    close(tg.hessian(lambda x: np.sum(half_square(x)))(x), 3 * np.eye(3))
    close(tg.jacobian(half_square)(x), np.diag(3 * x))
    close(tg.jvp(half_square, (x,), (x,))[1], 3 * x * x)
    assert half_square.__name__ == "half_square"
    assert "half_square(%0" in str(tg.Tape(half_square(tg.constant(x))))


@pytest.mark.parametrize("transform", [
    lambda f: lambda x: tg.vmap(tg.grad(f))(x), lambda f: tg.grad(lambda x: np.sum(tg.vmap(f)(x))),
    lambda f: lambda x: tg.vmap(tg.vmap(tg.grad(f)))(x[:, None])[:, 0],
    lambda f: tg.grad(lambda x: np.sum(tg.vmap(tg.vmap(f))(x[:, None]))),
    lambda f: tg.compile(tg.vmap(tg.grad(f)), target="numpy"),
    lambda f: tg.compile(tg.grad(lambda x: np.sum(tg.vmap(f)(x))), target="numpy"),
    lambda f: tg.grad(tg.checkpoint(lambda x: np.sum(tg.vmap(f)(x))))], ids=map(str, range(7)))
def test_the_rule_stays_through_other_transforms(transform):
    """Batching computes the function for many entries at once, and must not take its own derivative for the rule."""
    x = np.array([0.4, -1.7, 2.5])
    close(transform(lambda x: half_square(x) * 2.0)(x), 6 * x)
    w = np.array([0.5, 1.5])
    close(transform(lambda x: np.sum(scaled(x * np.ones(2), 2.0, power=2.0) * w))(x), np.full(3, 8.0))


def test_several_inputs_and_options():
    x, w = np.array([1.0, 2.0]), 3.0
    by_x, by_w = tg.grad(lambda x, w: np.sum(scaled(x, w, power=2.0)), (0, 1))(x, w)
    close(by_x, np.full(2, 9.0))
    assert by_w == 2 * 3 * 3
    assert tg.grad(tg.grad(lambda w: np.sum(scaled(x, w, power=2.0))))(w) == 6

    batched = tg.grad(lambda x, w: np.sum(tg.vmap(lambda x: scaled(x, w, power=2.0))(x)), (0, 1))
    by_x, by_w = batched(np.stack([x, 2 * x]), w)
    close(by_x, np.full((2, 2), 9.0))
    close(by_w, 6 * np.sum(3 * x))
    close(tg.vmap(tg.grad(lambda x, w: np.sum(scaled(x, w)), 1))(np.stack([x, 2 * x]), np.array([1.0, 2.0])),
          np.array([3.0, 6.0]))


def test_inputs_without_gradient():
    @tg.custom(lambda grad, y, x, k: (np.where(np.arange(3) == k, grad, 0.0), None))
    def pick(x, k):
        return x[k]

    x = np.array([1.0, 2.0, 3.0])
    close(tg.grad(pick)(x, 1), np.array([0.0, 1.0, 0.0]))
    rows = tg.vmap(tg.grad(pick))(np.stack([x, x]), np.array([2, 0]))
    close(rows, np.array([[0.0, 0, 1], [1, 0, 0]]))


def test_a_function_that_is_not_for_nodes():
    @tg.custom(lambda grad, y, x: grad * y)
    def exp(x):
        return np.array([math.exp(number) for number in x])

    x = np.array([0.3, -1.0])
    close(tg.grad(lambda x: np.sum(exp(x)))(x), np.exp(x))
    close(tg.hessian(lambda x: np.sum(exp(x)))(x), np.diag(np.exp(x)))
    close(tg.vmap(exp)(np.stack([x, 2 * x])), np.exp(np.stack([x, 2 * x])))
    close(tg.vmap(tg.grad(lambda x: np.sum(exp(x))))(np.stack([x, 2 * x])), np.exp(np.stack([x, 2 * x])))


def test_mistakes_are_errors():
    with pytest.raises(TypeError, match=r"tg\.custom: backward\(grad, y\) must take \(grad, output, x, n\)"):
        @tg.custom(lambda grad, y: grad)
        def f(x, *, n):
            return x
    with pytest.raises(TypeError, match=r"@tg.custom\(backward\)"):
        tg.custom(3)
    with pytest.raises(TypeError, match="scaled: a node is given by keyword"):
        scaled(X, 2.0, power=tg.constant(1.0))

    @tg.custom(lambda grad, y, x: (grad, grad))
    def two(x):
        return x * 1.0

    @tg.custom(lambda grad, y, x: np.ones(2))
    def wrong(x):
        return x * 1.0

    with pytest.raises(TypeError, match=r"backward of two .* returned 2 gradients for 1 inputs"):
        tg.grad(two)(2.0)
    with pytest.raises(ValueError, match=r"backward of wrong .* gradient of shape \(2,\)"):
        tg.grad(wrong)(2.0)


# -------------------------------------------------------------------------------------------------------- checkpoints

@pytest.mark.parametrize(("f", "xs"), [(f, xs) for f, *xs in FUNCTIONS.values()], ids=FUNCTIONS)
def test_derivatives_are_the_same(f, xs):
    """In reverse and forward mode, twice, in a batch and compiled."""
    again = tg.checkpoint(f)
    every = range(len(xs))
    np.testing.assert_array_equal(tg.vjp(again, *xs)[0], tg.vjp(f, *xs)[0])

    def loss(f):
        return lambda *xs: np.sum(np.tanh(f(*xs)) ** 2)

    for a, b in zip(tg.grad(loss(again), every)(*xs), tg.grad(loss(f), every)(*xs), strict=True):
        close(a, b)
    if f is FUNCTIONS["a rule that is not for nodes"][0]:
        return
    for a, b in zip(tg.jacobian(again, every)(*xs), tg.jacobian(f, every)(*xs), strict=True):
        close(a, b)
    close(tg.jvp(again, xs, xs)[1], tg.jvp(f, xs, xs)[1])

    def slope(f):
        return lambda *xs: sum(np.sum(g * g) for g in tg.grad(loss(f), every)(*xs))

    for a, b in zip(tg.grad(slope(again), every)(*xs), tg.grad(slope(f), every)(*xs), strict=True):
        close(a, b)
    for a, b in zip(tg.grad(tg.checkpoint(slope(again)), every)(*xs), tg.grad(slope(f), every)(*xs), strict=True):
        close(a, b)
    batch = [np.stack([x, x / 2]) for x in xs]
    for a, b in zip(tg.vmap(tg.grad(loss(again), every))(*batch), tg.vmap(tg.grad(loss(f), every))(*batch),
                    strict=True):
        close(a, b)
    for a, b in zip(tg.compile(tg.grad(loss(again), every), target="numpy")(*xs), tg.grad(loss(f), every)(*xs),
                    strict=True):
        close(a, b)


def test_parameters_from_outside_and_structures():
    p = tg.Parameter(W)

    @tg.checkpoint
    def layer(state, *, scale):
        h = np.tanh(state["h"] @ p) * scale
        return {"h": h, "total": (state["total"][0] + np.sum(h), 3)}

    state = {"h": X, "total": (0.0, None)}
    for _ in range(3):
        state = layer(state, scale=0.5)
    assert state["total"][1] == 3
    state["total"][0].backprop()
    found = p.grad
    total, h = 0.0, X
    for _ in range(3):
        h = np.tanh(h @ p) * 0.5
        total = total + np.sum(h)
    total.backprop()
    close(found, p.grad)


def test_the_run_that_counts_is_the_first():
    """A parameter that was changed since, random numbers, side effects and branches: nothing is run again."""
    p, stream, calls = tg.Parameter(np.ones(3)), tg.Stream(0), []

    def f(x):
        calls.append(1)
        y = x * p * (stream.random((3,)) < 0.5)
        return np.sum(y * y) if y.size == 3 and float(np.sum(x)) > 0 else np.sum(y)

    loss = tg.checkpoint(f)(tg.constant(np.array([1.0, 2.0, 3.0])))
    position = stream.value.copy()
    p.value = np.full(3, 100.0)
    grad = tg.backprop(loss, wrt=p)
    keep = tg.Stream(0).random((3,)).value < 0.5
    close(grad, 2 * np.array([1.0, 4.0, 9.0]) * keep)
    assert len(calls) == 1
    np.testing.assert_array_equal(stream.value, position)


def test_what_is_made_outside_or_is_no_node_is_left_alone():
    x = tg.constant(2.0)
    assert tg.checkpoint(lambda x: x)(x) is x
    assert tg.checkpoint(lambda x: (x * 3.0, "s", None))(2.0) == (6.0, "s", None)
    (y, z), same = tg.checkpoint(lambda x: ((x * 2, x * 3), x))(x)
    assert same is x
    assert (y.item(), z.item()) == (4, 6)
    twice = tg.checkpoint(lambda x: (lambda y: [y, y])(x * x))
    assert tg.grad(lambda x: twice(x)[0] * twice(x)[1])(3.0) == 4 * 27
    assert tg.checkpoint(lambda x: x * 1).__name__ == "<lambda>"
    mixed = tg.checkpoint(lambda x: (x * 2, np.sum(x.astype(np.float32))))(tg.constant(X))
    assert [y.dtype for y in mixed] == [np.float64, np.float32]


def test_singular_points():
    f = tg.checkpoint(lambda x: np.where(x > 0, np.sqrt(x), x * x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(tg.grad(lambda x: np.sum(f(x)))(np.array([0.0, 4.0])), np.array([0.0, 0.25]))
    g = tg.checkpoint(np.sqrt)
    with np.errstate(all="ignore"):
        assert tg.grad(lambda x: np.where(x > 0, g(x), x * x))(0.0) == 0
        assert tg.grad(tg.grad(lambda x: np.where(x > 0, g(x), x * x)))(0.0) == 2
    assert tg.grad(lambda x: FromC(tg.checkpoint(FromC)(x))[0])(np.array([0.5]))[0] == pytest.approx(
        math.exp(math.exp(0.5) + 0.5))


def test_memory():
    """A chain of parts keeps what goes into each, and one part's values at a time."""
    def part(x):
        for _ in range(20):
            x = np.sin(x)
        return x

    def chain(part):
        def f(x):
            for _ in range(10):
                x = part(x)
            return np.sum(x)
        return tg.grad(f)

    x = np.linspace(0, 1, 50_000)
    peaks = []
    for f in (chain(part), chain(tg.checkpoint(part))):
        f(x[:10])
        tracemalloc.start()
        f(x)
        peaks.append(tracemalloc.get_traced_memory()[1] / x.nbytes)
        tracemalloc.stop()
    assert peaks[0] > 200
    assert peaks[1] < 40
    close(chain(part)(x), chain(tg.checkpoint(part))(x))
