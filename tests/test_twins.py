"""The documents' network: what every way of building it must do, and that all of them agree."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import check_grad
from scipy.special import expit, log_softmax, softmax

from tinygraph import byhand, classifier

TWINS = [byhand, classifier]
each_twin = pytest.mark.parametrize("twin", TWINS, ids=lambda module: module.__name__)


@pytest.fixture(params=TWINS, ids=lambda module: module.__name__)
def twin(request):
    return request.param


@st.composite
def problems(draw):
    """Units, samples, labels and a seed. All signs occur, so that ReLU is on for some and off for others."""
    units = draw(st.lists(st.integers(1, 7), min_size=2, max_size=5))
    n = draw(st.integers(1, 9))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    return units, rng.standard_normal((units[0], n)), rng.integers(0, units[-1], n), seed


def build(twin, units, seed=0, dtype=np.float64):
    """A network whose biases are not zero."""
    network = twin.NNClassifier(units, rng=seed)
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        layer.W = layer.W.astype(dtype)
        layer.b = rng.standard_normal(layer.b.shape).astype(dtype)
    return network


def gradients(network, X, t):
    network.loss(X, t)
    network.backward()
    return [gradient for layer in network.layers for gradient in (layer.dW, layer.db)]


def sample(units, n, seed=1, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((units[0], n)).astype(dtype), rng.integers(0, units[-1], n)


def two_moons(n=100, noise=0.1, seed=0):
    """Two interleaved half circles, (2, n), and the labels of their points."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, np.pi, n // 2)
    upper = [np.cos(angle), np.sin(angle)]
    lower = [1 - np.cos(angle), 0.5 - np.sin(angle)]
    return np.hstack([upper, lower]) + rng.normal(0, noise, (2, n)), np.repeat([0, 1], n // 2)


# The network as it is made


def test_shapes_and_initial_values(twin):
    network = twin.NNClassifier([3, 5, 4, 2], rng=0)
    assert network.units == [3, 5, 4, 2]
    assert network.n_classes == 2
    assert [layer.W.shape for layer in network.layers] == [(5, 3), (4, 5), (2, 4)]
    assert [layer.b.shape for layer in network.layers] == [(5, 1), (4, 1), (2, 1)]
    for layer in network.layers:
        assert type(layer.W) is type(layer.b) is np.ndarray
        assert layer.W.dtype == layer.b.dtype == np.float64
        assert not layer.b.any()
        assert layer.dW is None
        assert layer.db is None


def test_initial_weights_are_he_normal(twin):
    W = twin.NNClassifier([400, 300, 2], rng=1).layers[0].W
    assert W.std() == pytest.approx(math.sqrt(2 / 400), rel=0.01)
    assert abs(W.mean()) < 4 * W.std() / math.sqrt(W.size)
    assert np.mean(abs(W) < W.std()) == pytest.approx(0.6827, abs=0.01)


def test_a_seed_repeats_the_weights_of_all_twins(twin):
    rng = np.random.default_rng(7)
    network = twin.NNClassifier([3, 5, 2], rng=7)
    assert_array_equal(network.layers[0].W, rng.standard_normal((5, 3)) * math.sqrt(2 / 3))
    assert_array_equal(network.layers[1].W, rng.standard_normal((2, 5)) * math.sqrt(2 / 5))
    again = twin.NNClassifier([3, 5, 2], rng=np.random.default_rng(7))
    other = twin.NNClassifier([3, 5, 2], rng=8)
    unseeded = [twin.NNClassifier([3, 5, 2]) for _ in range(2)]
    assert_array_equal(again.layers[1].W, network.layers[1].W)
    assert not np.array_equal(other.layers[0].W, network.layers[0].W)
    assert not np.array_equal(unseeded[0].layers[0].W, unseeded[1].layers[0].W)


def test_a_linear_layer_alone(twin):
    layer = twin.Linear(3, 2, rng=5)
    assert_array_equal(layer.W, twin.NNClassifier([3, 2], rng=5).layers[0].W)
    assert layer.b.shape == (2, 1)


@pytest.mark.parametrize(
    "units", [[], [3], [3, 0], [0, 3], [3, -1, 2], [3, 2.0], [3, 2.5], [3, "2"], [3, None], [3, True], 7, None, "32"]
)
def test_bad_units(twin, units):
    with pytest.raises(ValueError, match="units must be two or more positive integers"):
        twin.NNClassifier(units)


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, lambda sizes: [np.int64(sizes[0]), np.uint8(sizes[1])]])
def test_units_of_any_kind_of_sequence_and_integer(twin, kind):
    network = twin.NNClassifier(kind([3, 2]))
    assert network.units == [3, 2]
    assert all(type(size) is int for size in network.units)
    assert network.layers[0].W.shape == (2, 3)


# Small functions


def test_relu_and_its_derivative(twin):
    x = np.array([[-2.0, -0.0, 0.0], [1e-300, 0.5, np.inf]])
    assert_array_equal(twin.relu(x), [[0, 0, 0], [1e-300, 0.5, np.inf]])
    assert_array_equal(twin.d_relu(x), [[0, 0, 0], [1, 1, 1]])
    assert_array_equal(twin.relu([-3, 3]), [0, 3])
    assert_array_equal(twin.d_relu([-3, 0, 3]), [0, 0, 1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_relu_keeps_the_dtype(twin, dtype):
    x = np.arange(-3, 4).astype(dtype)
    assert twin.relu(x).dtype == dtype
    assert twin.d_relu(x).dtype == dtype


def test_one_hot(twin):
    T = twin.one_hot_convert(np.array([2, 0, 1, 2]), 4)
    assert T.dtype == int
    assert_array_equal(T, [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    assert_array_equal(twin.one_hot_convert(np.array([[2, 0, 1, 2]]), 4), T)
    assert_array_equal(twin.one_hot_convert([2, 0, 1, 2], 4), T)
    assert_array_equal(twin.one_hot_convert(np.array([2, 0, 1, 2], np.uint8), 4), T)


@pytest.mark.parametrize(
    ("t", "message"),
    [
        ([0, 3], r"label 3 of sample 1 .* \[0, 3\)"),
        ([-1, 0], r"label -1 of sample 0 .* \[0, 3\)"),
        (np.array([2**64 - 1], np.uint64), r"label 18446744073709551615 "),
        ([0.0, 1.0], "integers"),
        ([True, False], "integers"),
        (["0"], "integers"),
        ([], "no labels"),
        ([[0, 1], [1, 0]], "shape"),
        (1, "shape"),
    ],
)
def test_one_hot_refuses(twin, t, message):
    with pytest.raises(ValueError, match=message):
        twin.one_hot_convert(t, 3)


# Values


@given(problems())
@each_twin
def test_forward_loss_and_probabilities_are_those_of_the_formulas(twin, problem):
    units, X, t, seed = problem
    network = build(twin, units, seed)
    A = X
    for layer in network.layers[:-1]:
        A = np.maximum(layer.W @ A + layer.b, 0)
    Z = network.layers[-1].W @ A + network.layers[-1].b
    n = len(t)
    assert_allclose(network.forward(X), Z, rtol=1e-12, atol=1e-12)
    assert_allclose(network.forward_probs(X), softmax(Z, axis=0), rtol=1e-12)
    assert_allclose(network.forward_probs(X).sum(axis=0), 1, rtol=1e-14)
    assert_allclose(network.loss(X, t), -log_softmax(Z, axis=0)[t, np.arange(n)].mean(), rtol=1e-12, atol=1e-14)
    assert network.loss(X, t.reshape(1, n)) == network.loss(X, t)


def test_two_units_without_a_hidden_layer_are_the_sigmoid(twin):
    model = twin.NNClassifier([1, 2])
    model.layers[0].W = np.array([[1], [0]])
    x = np.linspace(-2, 2).reshape((1, -1))
    y = model.forward_probs(x)
    assert_allclose(y[0], expit(x[0]), rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("n", [1, 20])
def test_probabilities_sum_to_one(twin, n):
    model = twin.NNClassifier([500, 100, 50, 40, 10], rng=0)
    p = model.forward_probs(np.random.default_rng(0).random((500, n)))
    assert p.shape == (10, n)
    assert (p > 0).all()
    assert_allclose(p.sum(axis=0), 1, rtol=1e-14)


def test_loss_is_a_scalar(twin):
    loss = build(twin, [3, 4, 2]).loss(*sample([3, 4, 2], 5))
    assert isinstance(loss, float | np.floating)
    assert f"{loss:.3f}"


# Gradients


@given(problems())
@each_twin
def test_gradients_are_those_of_central_differences(twin, problem):
    units, X, t, seed = problem
    network = build(twin, units, seed)
    gradients(network, X, t)
    h = 1e-6
    for layer in network.layers:
        for name in "Wb":
            start, claimed = getattr(layer, name), getattr(layer, "d" + name)
            assert claimed.shape == start.shape
            for i in np.ndindex(start.shape):
                losses = []
                for sign in (1, -1):
                    moved = start.copy()
                    moved[i] += sign * h
                    setattr(layer, name, moved)
                    losses.append(network.loss(X, t))
                assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(claimed[i], rel=1e-6, abs=1e-7)
            setattr(layer, name, start)


def test_the_check_of_the_documents(twin):
    """Their loop over layers and parameters, with scipy's forward differences; their errors are at most 3e-6."""
    units = [50, 20, 12, 8, 10]
    model = twin.NNClassifier(units, rng=0)
    X, t = np.random.default_rng(1).random((50, 1)), np.array([[3]])
    for layer in model.layers:
        for param in ["W", "b"]:

            def assign(x, layer=layer, param=param):
                setattr(layer, param, np.reshape(x, getattr(layer, param).shape))

            def func(x, assign=assign):
                assign(x)
                return model.loss(X, t)

            def grad(x, assign=assign, layer=layer, param=param):
                assign(x)
                model.loss(X, t)
                model.backward()
                return np.ravel(getattr(layer, "d" + param))

            start = np.ravel(getattr(layer, param)).copy()
            assert check_grad(func, grad, start) < 3e-6
            assign(start)


def test_a_wrong_gradient_would_be_seen(twin):
    """The yardstick of the two tests above: leaving out the average is far outside their bounds."""
    units = [3, 4, 2]
    network = build(twin, units)
    X, t = sample(units, 5)
    gradients(network, X, t)
    layer = network.layers[0]
    start, claimed = layer.W, 5 * layer.dW

    def func(x):
        layer.W = x.reshape(start.shape)
        return network.loss(X, t)

    assert check_grad(func, lambda x: claimed.ravel(), start.ravel()) > 0.1


@given(problems())
@each_twin
def test_twins_agree_on_the_same_seed(twin, problem):
    units, X, t, seed = problem
    one, other = byhand.NNClassifier(units, rng=seed), twin.NNClassifier(units, rng=seed)
    assert_allclose(other.loss(X, t), one.loss(X, t), rtol=1e-12, atol=0)
    for got, wanted in zip(gradients(other, X, t), gradients(one, X, t), strict=True):
        assert np.linalg.norm(got - wanted) <= 1e-12 * np.linalg.norm(wanted)


def test_gradients_are_averages_over_the_batch(twin):
    units = [3, 5, 4]
    network = build(twin, units)
    X, t = sample(units, 6)
    single = [copy.deepcopy(gradients(network, X[:, [i]], t[[i]])) for i in range(6)]
    for whole, *parts in zip(gradients(network, X, t), *single, strict=True):
        assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-12, atol=1e-16)
    twice = gradients(network, np.hstack([X, X]), np.hstack([t, t]))
    for whole, repeated in zip(gradients(network, X, t), twice, strict=True):
        assert_allclose(repeated, whole, rtol=1e-12, atol=1e-16)


def test_the_derivative_of_relu_at_zero_is_zero(twin):
    network = twin.NNClassifier([2, 3, 2], rng=0)
    network.layers[0].W = np.zeros((3, 2))
    dW, db, _, last_db = gradients(network, [[1, 2], [3, 4]], [0, 1])
    assert not dW.any()
    assert not db.any()
    assert last_db.shape == (2, 1)


def test_backward_again_gives_the_same_in_new_arrays(twin):
    units = [3, 4, 2]
    network = build(twin, units)
    X, t = sample(units, 5)
    first = gradients(network, X, t)
    expected = copy.deepcopy(first)
    network.backward()
    second = [gradient for layer in network.layers for gradient in (layer.dW, layer.db)]
    for old, new, wanted in zip(first, second, expected, strict=True):
        assert_array_equal(new, wanted)
        assert not np.shares_memory(old, new)
        assert new.flags.writeable
        old[...] = np.nan
        assert_array_equal(new, wanted)


def test_backward_is_of_the_weights_that_the_loss_used(twin):
    units = [3, 4, 2]
    network = build(twin, units)
    X, t = sample(units, 5)
    wanted = copy.deepcopy(gradients(network, X, t))
    network.loss(X, t)
    for layer in network.layers:
        layer.W, layer.b = np.zeros_like(layer.W), np.zeros_like(layer.b)
    network.backward()
    assert_array_equal(network.layers[0].dW, wanted[0])


def test_backward_needs_a_loss(twin):
    network = twin.NNClassifier([3, 2])
    with pytest.raises(RuntimeError, match="loss"):
        network.backward()
    network.forward(np.ones((3, 1)))
    network.forward_probs(np.ones((3, 1)))
    with pytest.raises(RuntimeError, match="loss"):
        network.backward()
    assert network.layers[0].dW is None


# Large logits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("large", [1e4, 8e307])
@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 1, 0], [1, 1, 1]])
def test_large_logits_do_not_overflow(twin, large, labels, dtype):
    if dtype == np.float32:
        large = min(large, 1e38)
    network = twin.NNClassifier([2, 2])
    network.layers[0].W, network.layers[0].b = np.eye(2, dtype=dtype), np.zeros((2, 1), dtype)
    X = np.array([[large, -large, 0], [-large, large, 0]], dtype)
    p = np.array([[1, 0, 0.5], [0, 1, 0.5]], dtype)
    missed = np.sum(np.array([0, 1]) != labels[:2])
    assert_array_equal(network.forward_probs(X), p)
    expected = missed * (2 * np.float64(large) / 3) + math.log(2) / 3
    assert network.loss(X, labels) == pytest.approx(expected, rel=1e-6)
    network.backward()
    dZ = (p - byhand.one_hot_convert(labels, 2)) / 3
    assert_allclose(network.layers[0].db, dZ.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-7)
    assert np.isfinite(network.layers[0].dW).all()


def test_one_huge_logit_among_ordinary_ones(twin):
    network = twin.NNClassifier([3, 3])
    network.layers[0].W = np.eye(3)
    X = np.array([[710.0, -800], [0, -801], [1, -802]])
    assert_allclose(network.forward_probs(X), softmax(X, axis=0), rtol=1e-12)
    assert network.loss(X, [1, 2]) == pytest.approx(-log_softmax(X, axis=0)[[1, 2], [0, 1]].mean(), rel=1e-14)


# Data that is refused


X_GOOD, T_GOOD = sample([3, 4, 2], 5)


def with_value(value, *places):
    X = X_GOOD.copy()
    for place in places:
        X[place] = value
    return X


BAD_X = [
    (X_GOOD[:2], "3 features .* not 2"),
    (X_GOOD.T, "3 features .* not 5"),
    (X_GOOD[0], r"two axes.*\(5,\)"),
    (X_GOOD[None], r"two axes.*\(1, 3, 5\)"),
    (1.0, r"two axes.*\(\)"),
    (X_GOOD[:, :0], "no samples"),
    (with_value(np.nan, (1, 2)), r"1 of its 15 values .* X\[1, 2\]"),
    (with_value(np.inf, (2, 4), (0, 3)), r"2 of its 15 values .* X\[0, 3\]"),
    (with_value(-np.inf, (0, 0)), r"1 of its 15 values .* X\[0, 0\]"),
    (np.asfortranarray(with_value(np.nan, (1, 2), (2, 0))), r"2 of its 15 values .* X\[1, 2\]"),
    (with_value(np.nan, (1, 2)).astype(np.float32), r"X\[1, 2\]"),
    (X_GOOD + 1j, "real numbers.*complex"),
    (X_GOOD.astype(str), "real numbers"),
    (None, "real numbers"),
]
BAD_T = [
    ([0, 1, 2, 0, -1], r"label 2 of sample 2 is outside the range \[0, 2\)"),
    ([[0, 1, -1, 0, 1]], r"label -1 of sample 2 is outside the range \[0, 2\)"),
    (T_GOOD.astype(float), "labels must be integers.*float64"),
    ([0.5] * 5, "labels must be integers"),
    (T_GOOD.astype(bool), "labels must be integers.*bool"),
    (T_GOOD[:4], r"each of the 5 samples.*\(4,\)"),
    (T_GOOD[:, None], r"each of the 5 samples.*\(5, 1\)"),
    (np.eye(5, dtype=int), r"each of the 5 samples.*\(5, 5\)"),
    ([], r"each of the 5 samples.*\(0,\)"),
    (1, r"each of the 5 samples.*\(\)"),
    (None, "5 samples"),
]


def refused(network, call, message):
    """Asserts that `call` raises one clear ValueError and leaves everything as it was, also what backward needs."""
    names = ("W", "b", "dW", "db")
    arrays = {(i, name): getattr(layer, name) for i, layer in enumerate(network.layers) for name in names}
    values = copy.deepcopy(arrays)
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    for (i, name), array in arrays.items():
        assert_array_equal(getattr(network.layers[i], name), array)
        assert_array_equal(array, values[i, name])
    network.backward()
    for (i, name), array in values.items():
        assert_array_equal(getattr(network.layers[i], name), array)


@pytest.mark.parametrize(("X", "message"), BAD_X)
@pytest.mark.parametrize("method", ["loss", "forward", "forward_probs"])
def test_bad_inputs_leave_the_model_untouched(twin, X, message, method):
    network = build(twin, [3, 4, 2])
    gradients(network, X_GOOD, T_GOOD)
    labels = [T_GOOD] if method == "loss" else []
    refused(network, lambda: getattr(network, method)(X, *labels), message)


@pytest.mark.parametrize(("t", "message"), BAD_T)
def test_bad_labels_leave_the_model_untouched(twin, t, message):
    network = build(twin, [3, 4, 2])
    gradients(network, X_GOOD, T_GOOD)
    refused(network, lambda: network.loss(X_GOOD, t), message)


def test_bad_first_data_leave_no_loss_behind(twin):
    network = build(twin, [3, 4, 2])
    with pytest.raises(ValueError, match="label 2"):
        network.loss(X_GOOD, [0, 1, 2, 0, 1])
    with pytest.raises(RuntimeError, match="loss"):
        network.backward()


def test_large_finite_inputs_are_accepted(twin):
    network = twin.NNClassifier([2, 2], rng=0)
    network.layers[0].W = np.eye(2)
    X = np.array([[1e200, 3.0], [0.0, 1e-320]])
    assert_array_equal(network.forward(X), X)


@pytest.mark.parametrize("labels", [np.int8, np.uint8, np.int32, np.uint64, ">i8", list])
def test_labels_of_any_integer_type(twin, labels):
    network = build(twin, [3, 4, 2])
    t = T_GOOD.tolist() if labels is list else T_GOOD.astype(labels)
    assert network.loss(X_GOOD, t) == network.loss(X_GOOD, T_GOOD)


def test_integer_inputs_are_made_float(twin):
    network = build(twin, [2, 3, 2])
    X = [[1, 2, 3], [-4, 5, 0]]
    wanted = network.loss(np.array(X, float), [0, 1, 1])
    for values in (X, np.array(X), np.array(X, np.int8)):
        assert network.loss(values, [0, 1, 1]) == wanted
        assert network.forward(values).dtype == np.float64


def test_the_layout_of_the_data_does_not_matter(twin):
    units = [3, 4, 2]
    network = build(twin, units)
    wanted_loss, wanted = network.loss(X_GOOD, T_GOOD), copy.deepcopy(gradients(network, X_GOOD, T_GOOD))
    wide, wide_t = np.repeat(X_GOOD, 2, axis=1), np.repeat(T_GOOD, 2)
    fixed = X_GOOD.copy()
    fixed.flags.writeable = False
    layouts = [
        (np.asfortranarray(X_GOOD), T_GOOD),
        (wide[:, ::2], wide_t[::2]),
        (X_GOOD[:, ::-1].copy()[:, ::-1], T_GOOD[::-1].copy()[::-1]),
        (fixed, T_GOOD),
        (X_GOOD.astype(">f8"), T_GOOD),
    ]
    for X, t in layouts:
        assert_allclose(network.loss(X, t), wanted_loss, rtol=1e-14)
        for got, expected in zip(gradients(network, X, t), wanted, strict=True):
            assert_allclose(got, expected, rtol=1e-12, atol=1e-16)


def test_the_data_are_not_changed(twin):
    network = build(twin, [3, 4, 2])
    X, t = X_GOOD.copy(), T_GOOD.copy()
    optimizer = twin.SGD(network, 0.1)
    gradients(network, X, t)
    optimizer.step()
    network.forward(X)
    network.forward_probs(X)
    assert_array_equal(X, X_GOOD)
    assert_array_equal(t, T_GOOD)


# Parameters that the user sets


def test_parameters_can_be_assigned_and_written_into(twin):
    layer = twin.NNClassifier([2, 3]).layers[0]
    layer.W = [[1, 2], [3, 4], [5, 6]]
    layer.b = np.array([[1], [2], [3]])
    assert layer.W.dtype == layer.b.dtype == np.float64
    layer.W[0, 0] = 0.5
    layer.b += 0.25
    assert_array_equal(layer.W, [[0.5, 2], [3, 4], [5, 6]])
    assert_array_equal(layer.b, [[1.25], [2.25], [3.25]])
    fixed = np.broadcast_to(1.0, (3, 2))
    layer.W = fixed
    layer.W[0, 0] = 0.5
    assert fixed[0, 0] == 1


def test_what_is_written_into_a_parameter_counts(twin):
    network = twin.NNClassifier([2, 2], rng=0)
    network.layers[0].W[...] = np.eye(2)
    network.layers[0].b[1, 0] = 5
    assert_array_equal(network.forward([[1], [2]]), [[1], [7]])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("W", np.ones((2, 3)), r"W must have shape \(3, 2\), not \(2, 3\)"),
        ("W", np.ones(6), r"W must have shape \(3, 2\), not \(6,\)"),
        ("b", np.ones(3), r"b must have shape \(3, 1\), not \(3,\)"),
        ("W", 1, r"W must have shape \(3, 2\), not \(\)"),
        ("W", [[1, 2], [3, np.nan], [5, 6]], r"W must be finite: 1 of its 6 .* W\[1, 1\]"),
        ("b", [[1], [np.inf], [np.nan]], r"b must be finite: 2 of its 3 .* b\[1, 0\]"),
        ("W", [["1", "2"], ["3", "4"], ["5", "6"]], "W must hold real numbers"),
        ("W", np.ones((3, 2), complex), "W must hold real numbers"),
        ("W", None, "W must hold real numbers"),
    ],
)
def test_bad_parameters_are_refused(twin, name, value, message):
    layer = twin.NNClassifier([2, 3], rng=0).layers[0]
    before = getattr(layer, name).copy()
    with pytest.raises(ValueError, match=message):
        setattr(layer, name, value)
    assert_array_equal(getattr(layer, name), before)


# Gradient descent


def test_a_step_rebinds_the_parameters(twin):
    units = [3, 4, 2]
    network = build(twin, units)
    gradients(network, *sample(units, 5))
    held = [(layer.W, layer.b, layer.dW, layer.db) for layer in network.layers]
    values = copy.deepcopy(held)
    twin.SGD(network, 0.5).step()
    for layer, arrays, (W, b, dW, db) in zip(network.layers, held, values, strict=True):
        assert_allclose(layer.W, W - 0.5 * dW, rtol=1e-15)
        assert_allclose(layer.b, b - 0.5 * db, rtol=1e-15)
        for array, value in zip(arrays, (W, b, dW, db), strict=True):
            assert_array_equal(array, value)
        assert not np.shares_memory(layer.W, arrays[0])
        layer.W[0, 0] = layer.b[0, 0] = 1


def test_a_step_uses_the_gradients_that_are_there(twin):
    """Assigned gradients count, so that a user can clip them."""
    network = build(twin, [3, 2])
    gradients(network, *sample([3, 2], 5))
    layer = network.layers[0]
    W, b = layer.W.copy(), layer.b.copy()
    layer.dW, layer.db = np.ones_like(W), np.full_like(b, 2)
    twin.SGD(network, 0.25).step()
    assert_array_equal(layer.W, W - 0.25)
    assert_array_equal(layer.b, b - 0.5)


def test_the_learning_rate_can_change(twin):
    network = build(twin, [3, 2])
    gradients(network, *sample([3, 2], 5))
    W, dW = network.layers[0].W, network.layers[0].dW
    optimizer = twin.SGD(network, 0.5)
    optimizer.lr = 0.0
    optimizer.step()
    assert_array_equal(network.layers[0].W, W)
    optimizer.lr = 2
    optimizer.step()
    assert_allclose(network.layers[0].W, W - 2 * dW, rtol=1e-15)


def test_a_step_needs_gradients(twin):
    network = build(twin, [3, 4, 2])
    before = [layer.W for layer in network.layers]
    optimizer = twin.SGD(network, 0.5)
    with pytest.raises(RuntimeError, match="backward"):
        optimizer.step()
    network.loss(*sample([3, 4, 2], 5))
    with pytest.raises(RuntimeError, match="backward"):
        optimizer.step()
    for layer, W in zip(network.layers, before, strict=True):
        assert_array_equal(layer.W, W)


@pytest.mark.parametrize("lr", [-0.1, np.nan, np.inf])
def test_bad_learning_rates(twin, lr):
    with pytest.raises(ValueError, match="lr must be a finite number >= 0"):
        twin.SGD(twin.NNClassifier([3, 2]), lr)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_moons_can_be_learned(twin, seed):
    X, t = two_moons(seed=seed)
    network = twin.NNClassifier([2, 10, 2], rng=seed)
    optimizer = twin.SGD(network, lr=0.5)
    history = []
    for _ in range(300):
        history.append(network.loss(X, t))
        network.backward()
        optimizer.step()
    assert history[-1] < 0.15
    assert np.mean(np.diff(history) < 0) > 0.95
    assert np.mean(network.forward(X).argmax(axis=0) == t) > 0.95


# Number types


def parameters_and_gradients(network):
    return [getattr(layer, name) for layer in network.layers for name in ("W", "b", "dW", "db")]


@pytest.mark.parametrize("lr", [0.1, np.float64(0.1), 1], ids=["float", "NumPy scalar", "int"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_everything_keeps_the_dtype_of_the_parameters_and_the_data(twin, dtype, lr):
    units = [3, 4, 2]
    network = build(twin, units, dtype=dtype)
    X, t = sample(units, 5, dtype=dtype)
    optimizer = twin.SGD(network, lr)
    for _ in range(2):
        loss = network.loss(X, t)
        network.backward()
        optimizer.step()
    assert np.asarray(loss).dtype == dtype or isinstance(loss, float)
    assert network.forward(X).dtype == dtype
    assert network.forward_probs(X).dtype == dtype
    assert {array.dtype for array in parameters_and_gradients(network)} == {np.dtype(dtype)}


def test_float32_is_near_float64(twin):
    units = [6, 5, 4, 3]
    X, t = sample(units, 8, dtype=np.float32)
    narrow, wide = build(twin, units, dtype=np.float32), build(twin, units)
    for one, other in zip(gradients(narrow, X, t), gradients(wide, X, t), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_gradient_has_the_dtype_of_its_parameter(twin):
    units = [3, 4, 2]
    network = build(twin, units, dtype=np.float32)
    optimizer = twin.SGD(network, 0.1)
    gradients(network, *sample(units, 5))
    optimizer.step()
    assert {array.dtype for array in parameters_and_gradients(network)} == {np.dtype(np.float32)}
    network.layers[1].W = network.layers[1].W.astype(np.float64)
    gradients(network, *sample(units, 5, dtype=np.float32))
    optimizer.step()
    assert network.layers[1].W.dtype == network.layers[1].dW.dtype == np.float64
    assert network.layers[0].W.dtype == network.layers[0].dW.dtype == np.float32


def test_a_network_can_be_copied(twin):
    units = [3, 4, 2]
    network = build(twin, units)
    X, t = sample(units, 5)
    other = copy.deepcopy(network)
    gradients(network, X, t)
    twin.SGD(network, 1.0).step()
    assert network.loss(X, t) != other.loss(X, t)


@pytest.mark.parametrize("module", TWINS, ids=lambda module: module.__name__)
def test_gradients_may_be_assigned(module):
    model = module.NNClassifier([2, 2], rng=0)
    W = model.layers[0].W.copy()
    model.layers[0].dW, model.layers[0].db = [[1, 2], [3, 4]], [[1], [2]]
    module.SGD(model, 0.5).step()
    np.testing.assert_allclose(model.layers[0].W, W - [[0.5, 1], [1.5, 2]])
    with pytest.raises(ValueError, match="shape"):
        model.layers[0].dW = np.zeros((5, 5))


def test_copies_of_a_model_stand_alone():
    model = classifier.NNClassifier([2, 3, 2], rng=0)
    X, t = np.ones((2, 4)), np.array([0, 1, 1, 0])
    model.loss(X, t)
    model.backward()
    for other in copy.deepcopy(model), pickle.loads(pickle.dumps(model)):
        np.testing.assert_array_equal(other.layers[0].dW, model.layers[0].dW)
        with pytest.raises(RuntimeError, match="loss"):
            other.backward()
        other.layers[0].W = np.zeros((3, 2))
        assert model.layers[0].W.any()
