"""Layers, activations, losses, initial values: beside PyTorch's recorded numbers, numerical gradients and formulas."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph import nn
from tinygraph.node import next_serial
from tinygraph.testing import check_gradients

from .references.make_nn import inputs

GIVEN = inputs()
PYTORCH = json.loads((Path(__file__).parent / "references" / "nn.json").read_text(encoding="utf-8"))["found"]
RNG = np.random.default_rng(7)


def value_of(x):
    return x.value if isinstance(x, tg.Node) else np.asarray(x)


# ---------------------------------------------------------------------------------------------------- beside PyTorch

x, image, t, y, p, w = (GIVEN[name] for name in ("x", "image", "t", "y", "p", "class_weights"))
BESIDE = {
    "BatchNorm": (nn.BatchNorm(4), image),
    "GroupNorm": (nn.GroupNorm(2, 4), image),
    "RMSNorm": (nn.RMSNorm(4), x),
    "cross_entropy": (lambda x: nn.cross_entropy(x, t), x),
    "cross_entropy weighted": (lambda x: nn.cross_entropy(x, t, class_weights=w), x),
    "cross_entropy smooth": (lambda x: nn.cross_entropy(x, t, class_weights=w, label_smoothing=0.1), x),
    "binary_cross_entropy": (lambda x: nn.binary_cross_entropy(x, p), x),
    "huber": (lambda x: nn.huber(x, y, delta=0.7), x),
    "mean_absolute_error": (lambda x: nn.mean_absolute_error(x, y), x),
    "kl_divergence": (lambda x: nn.kl_divergence(x, p / p.sum(axis=1, keepdims=True)), x),
    **{name: (getattr(nn, name)(), x) for name in
       ["LeakyReLU", "ELU", "GELU", "SiLU", "Softplus", "Sigmoid", "Hardtanh"]},
}


def test_all_that_was_recorded_is_compared():
    assert {*PYTORCH} == {*BESIDE, "BatchNorm.mean", "BatchNorm.variance"}


@pytest.mark.parametrize("name", BESIDE)
def test_values_and_gradients_are_those_of_pytorch(name):
    function, at = BESIDE[name]
    value, grad = PYTORCH[name]
    node = tg.Parameter(at)
    found = function(node)
    assert_allclose(found.value, value, rtol=1e-12, atol=1e-14)
    weights = np.cos(np.arange(found.size, dtype=float)).reshape(found.shape)
    (by,) = tg.backprop(found, wrt=[node], grad=weights)
    assert_allclose(by, grad, rtol=1e-10, atol=1e-14)


def test_running_statistics_are_those_of_pytorch():
    layer = nn.BatchNorm(4)
    layer(tg.constant(image))
    assert_allclose(layer.mean.value, PYTORCH["BatchNorm.mean"][0], rtol=1e-12)
    assert_allclose(layer.variance.value, PYTORCH["BatchNorm.variance"][0], rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------- layers

LAYERS = {
    "Linear": (nn.Linear(4, 3, rng=0), (5, 4)),
    "Linear of sequences": (nn.Linear(4, 3, rng=0, bias=False), (2, 5, 4)),
    "LayerNorm": (nn.LayerNorm(4), (5, 4)),
    "GroupNorm": (nn.GroupNorm(2, 4), (3, 4, 2)),
    "RMSNorm": (nn.RMSNorm(4), (5, 4)),
    "Residual": (nn.Residual(nn.Linear(4, 4, rng=0), np.tanh), (5, 4)),
    "Residual with shortcut": (nn.Residual(nn.Linear(4, 2, rng=0), shortcut=nn.Linear(4, 2, rng=1)), (5, 4)),
    "Parallel": (nn.Parallel(nn.Linear(4, 2, rng=0), nn.Tanh()), (5, 4)),
    "Flatten": (nn.Flatten(), (3, 2, 2)),
    **{name: (getattr(nn, name)(), (5, 4)) for name in
       ["ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Softplus", "Tanh", "Sigmoid", "Softmax", "Hardtanh"]},
    "GELU with tanh": (nn.GELU(approximate=True), (5, 4)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_on_nodes_and_arrays_in_both_precisions(name, dtype):
    layer, shape = LAYERS[name]
    layer = nn.astype(layer, dtype)
    x = RNG.normal(size=shape).astype(dtype)
    node, array = layer(tg.constant(x)), nn.inference(layer)(x)
    assert isinstance(array, np.ndarray)
    assert node.dtype == array.dtype == dtype
    assert_allclose(node.value, array, rtol=1e-6 if dtype == np.float32 else 1e-13, atol=1e-7)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_a_layer(name):
    layer, shape = LAYERS[name]
    parameters = nn.parameters(layer).values()
    x = RNG.normal(size=shape)
    check_gradients(layer, x, order=2, beyond=False).raise_if_failed()
    check_gradients(lambda x, *parameters: layer(x), x, *parameters, beyond=False).raise_if_failed()


@pytest.mark.parametrize("layer", [
    nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.GELU(), pytest.param(nn.GELU(approximate=True), id="GELU with tanh"),
    nn.SiLU(), nn.Softplus(), nn.Tanh(), nn.Sigmoid(), nn.Hardtanh()], ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_finite_at_both_ends(layer, dtype):
    x = tg.Parameter(np.array([-np.inf, -1e30, -1e4, -90, 90, 1e4, 1e30], dtype))
    y = layer(x)
    assert not np.isnan(y.value).any()
    (grad,) = tg.backprop(y, wrt=[x], grad=np.ones(7, dtype))
    assert np.isfinite(grad).all()


@pytest.mark.parametrize(("layer", "slopes"), [
    (nn.ReLU(), {0.0: 0}), (nn.LeakyReLU(0.1), {0.0: 0.1}), (nn.ELU(), {0.0: 1}), (nn.ELU(2.0), {0.0: 2}),
    (nn.Hardtanh(), {-1.0: 0, 0.0: 1, 1.0: 0}), (nn.SiLU(), {0.0: 0.5}), (nn.GELU(), {0.0: 0.5})])
def test_slopes_at_kinks(layer, slopes):
    for at, slope in slopes.items():
        assert tg.grad(layer)(at) == pytest.approx(slope)


def test_embedding_adds_up_repeated_ids():
    layer = nn.Embedding(5, 2, rng=0)
    layer(np.array([[1, 1], [3, 1]])).sum().backprop()
    assert_array_equal(layer.W.grad, np.array([0, 3, 0, 1, 0])[:, None] * np.ones(2))
    assert layer.inference()([1, 2]).shape == (2, 2)
    assert_array_equal(tg.compile(layer.inference(), target="numpy")(np.array([1, 2])), layer.W.value[[1, 2]])
    with pytest.raises(ValueError, match=r"\[0, 5\)"):
        layer(np.array([5]))
    with pytest.raises(ValueError, match=r"\[0, 5\)"):
        layer(np.array([-1]))
    with pytest.raises(TypeError, match="integers"):
        layer(np.array([1.0]))


def test_dropout_drops_in_training_alone():
    layer = nn.Dropout(0.25, rng=0)
    x = np.ones((200, 100), np.float32)
    y = layer(x).value
    assert y.dtype == np.float32
    assert {*np.unique(y)} == {0, np.float32(1 / 0.75)}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.01)
    assert not np.array_equal(layer(x).value, y)
    assert layer.inference()(x) is x
    again = nn.Dropout(0.25, rng=0)
    assert_array_equal(again(x).value, y)
    assert nn.Dropout(0.0, rng=0)(x) is x


def test_dropout_compiled_draws_what_it_draws_eagerly():
    eager, traced = nn.Dropout(0.5, rng=3), nn.Dropout(0.5, rng=3)
    compiled = tg.compile(lambda x: traced(x), target="numpy")
    x = np.ones((4, 5))
    for _ in range(3):
        assert_array_equal(compiled(x), eager(x).value)


@pytest.mark.parametrize("target", ["numpy", "native"])
@pytest.mark.usefixtures("private_cache")
def test_batch_norm_compiled(target):
    eager, traced = nn.BatchNorm(4), nn.BatchNorm(4)
    step = tg.compile(lambda x: np.sum(traced(x) ** 3), target=target)
    for _ in range(3):
        x = RNG.normal(size=(6, 4, 2, 2))
        assert_allclose(step(x), np.sum(eager(tg.constant(x)) ** 3).value, rtol=1e-10)
    assert_allclose(traced.mean.value, eager.mean.value, rtol=1e-12)
    assert_allclose(traced.variance.value, eager.variance.value, rtol=1e-12)


def test_batch_norm_learns_the_statistics_that_inference_uses():
    layer = nn.BatchNorm(3, momentum=0.5)
    x = 2 + 3 * RNG.normal(size=(1000, 3))
    for _ in range(30):
        layer(x)
    y = layer.inference()(x)
    assert_allclose(y.mean(axis=0), 0, atol=1e-6)
    assert_allclose(y.var(axis=0), 1, rtol=2e-3)
    last = nn.BatchNorm(3, axis=-1)(tg.constant(RNG.normal(size=(2, 5, 3))))
    assert_allclose(last.value.mean(axis=(0, 1)), 0, atol=1e-12)


def test_sequential_is_a_sequence():
    layers = [nn.Linear(2, 3, rng=0), np.tanh, nn.Linear(3, 1, rng=1)]
    model = nn.Sequential(*layers)
    assert [*model] == layers
    assert len(model) == 3
    assert model[1] is np.tanh
    assert model[:2].layers == layers[:2]


class Tied:
    """A custom network: plain Python, one matrix used twice."""

    def __init__(self, rng):
        self.encoder = nn.Linear(4, 2, rng=rng)
        self.W = self.encoder.W

    def __call__(self, x):
        return np.tanh(self.encoder(x)) @ self.W.T


def test_a_custom_network_with_tied_weights():
    model = Tied(0)
    assert list(nn.parameters(model)) == ["encoder.W", "encoder.b"]
    x = RNG.normal(size=(3, 4))
    assert_allclose(nn.inference(model)(x), model(x).value)
    assert nn.summary(model, x).n_parameters == 10
    check_gradients(lambda W: np.tanh(x @ W) @ W.T, model.W.value, beyond=False).raise_if_failed()


def test_inference_makes_no_node():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(4, 8, rng=rng), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.5, rng=rng),
                          nn.Residual(nn.Linear(8, 8, rng=rng), nn.GELU()), nn.LayerNorm(8), nn.Linear(8, 2, rng=rng))
    network = model.inference()
    before = next_serial()
    assert network(np.ones((3, 4))).shape == (3, 2)
    assert next_serial() == before + 1
    model(np.ones((3, 4)))
    assert next_serial() > before + 10


# -------------------------------------------------------------------------------------------------------------- losses

LOSSES = {
    "cross_entropy": (nn.cross_entropy, x, t),
    "cross_entropy with all options": (partial(nn.cross_entropy, class_weights=w, label_smoothing=0.2), x, t),
    "binary_cross_entropy": (nn.binary_cross_entropy, x, p),
    "mean_squared_error": (nn.mean_squared_error, x, y),
    "mean_absolute_error": (nn.mean_absolute_error, x, y),
    "huber": (nn.huber, x, y),
    "hinge": (nn.hinge, x[:, 0], np.array([1, 0, 1, 1, 0])),
    "hinge of classes": (nn.hinge, x, t),
    "kl_divergence": (nn.kl_divergence, x, p / p.sum(axis=1, keepdims=True)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_a_loss(name):
    loss, outputs, targets = LOSSES[name]
    weights = np.array([0.5, 2.0, 0.0, 1.0, 3.0])
    for f in (lambda outputs: loss(outputs, targets), lambda outputs: loss(outputs, targets, weights=weights)):
        check_gradients(f, outputs, beyond=False).raise_if_failed()


@pytest.mark.parametrize("name", LOSSES)
def test_weights_are_repetitions(name):
    """A weight of 2 counts a sample twice, a weight of 0 leaves it out; a loss of arrays is an array."""
    loss, outputs, targets = LOSSES[name]
    counts = np.array([2, 1, 0, 3, 1])
    repeated = loss(np.repeat(outputs, counts, axis=0), np.repeat(targets, counts, axis=0))
    weighted = loss(outputs, targets, weights=counts)
    assert_allclose(weighted, repeated, rtol=1e-12)
    assert not isinstance(weighted, tg.Node)
    assert_allclose(loss(tg.constant(outputs), targets, weights=counts).value, weighted, rtol=1e-13)
    assert_allclose(loss(outputs, targets), loss(outputs, targets, weights=np.ones(5)), rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_float32_is_float32(name):
    loss, outputs, targets = LOSSES[name]
    outputs = outputs.astype(np.float32)
    assert loss(tg.constant(outputs), targets, weights=np.ones(5)).dtype == np.float32
    assert loss(tg.constant(outputs), targets).dtype == np.float32


@pytest.mark.parametrize("target", ["numpy", "native"])
@pytest.mark.usefixtures("private_cache")
def test_cross_entropy_with_options_compiled(target):
    def loss_and_gradient(logits, labels, weights):
        return tg.value_and_grad(lambda z: nn.cross_entropy(
            z, labels, class_weights=w, label_smoothing=0.1, weights=weights))(logits)

    given = x, t, np.array([0.5, 2.0, 0.0, 1.0, 3.0])
    for found, expected in zip(tg.compile(loss_and_gradient, target=target)(*given), loss_and_gradient(*given),
                               strict=True):
        assert_allclose(value_of(found), value_of(expected), rtol=1e-12)


def test_hinge_is_by_the_definition():
    assert nn.hinge(np.array([2.0, 0.5, -1.0]), np.array([1, 0, 0], np.uint8)) == pytest.approx(0.5)
    margins = [x[i, t[i]] - max(x[i, j] for j in range(4) if j != t[i]) for i in range(5)]
    assert_allclose(nn.hinge(x, t), np.mean([max(0, 1 - margin) for margin in margins]))


def test_losses_are_finite_for_large_logits():
    large = np.array([[1e4, -1e4], [-1e4, 1e4]])
    assert nn.cross_entropy(large, [1, 0], label_smoothing=0.1) == pytest.approx(19e3)
    assert nn.binary_cross_entropy(large, np.array([[0.0, 1], [0, 1]])) == pytest.approx(5e3)
    assert np.isfinite(nn.kl_divergence(large, np.array([[1.0, 0], [0, 1]])))


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: nn.mean_squared_error(np.ones(5), np.ones((5, 1))), r"\(5,\).*\(5, 1\).*one shape"),
    (lambda: nn.binary_cross_entropy(np.ones((5, 1)), np.ones(5)), "one shape"),
    (lambda: nn.cross_entropy(x, t[:4], label_smoothing=0.1), r"labels of shape \(4,\)"),
    (lambda: nn.cross_entropy(x, t, label_smoothing=2), "label_smoothing"),
    (lambda: nn.cross_entropy(x, t, class_weights=[1, 2]), r"class_weights must have shape \(4,\)"),
    (lambda: nn.cross_entropy(x, [0, 1, 2, 3, 4], class_weights=w), r"\[0, 4\)"),
    (lambda: nn.mean_squared_error(x, y, weights=[1, 2]), "weights must have shape"),
    (lambda: nn.mean_squared_error(np.ones((0, 2)), np.ones((0, 2))), "no samples"),
    (lambda: nn.huber(x, y, delta=0), "delta"),
    (lambda: nn.hinge(x, t[:3]), "labels of shape"),
    (lambda: nn.hinge(x[:, 0], np.array([1, -1, 1, 1, -1])), r"\[0, 2\)"),
    (lambda: nn.hinge(x[:, :1], t), "two classes or more"),
    (lambda: nn.Linear(3, 2, rng=0, initializer=lambda rng, shape, *fans: np.ones((2, 3))), r"\(3, 2\), not \(2, 3\)"),
    (lambda: nn.Linear(0, 3, rng=0), "n_inputs must be an integer above 0, not 0"),
    (lambda: nn.Linear(2.5, 3, rng=0), "n_inputs must be an integer"),
    (lambda: nn.Linear(3, 2, rng=0)(np.ones((5, 4))), r"takes values \(..., 3\), but got the shape \(5, 4\)"),
    (lambda: nn.Dropout(1.0, rng=0), "rate"),
    (lambda: nn.BatchNorm(3)(np.ones((5, 4))), "3 features on axis 1"),
    (lambda: nn.BatchNorm(3)(np.ones((1, 3))), "two values of each feature"),
    (lambda: nn.BatchNorm(3, momentum=2), "momentum"),
    (lambda: nn.GroupNorm(2, 3), "3 features cannot be put into 2 groups"),
    (lambda: nn.GroupNorm(1, 3)(np.ones((5, 4))), r"\(n, 3, ...\)"),
    (lambda: nn.RMSNorm(3)(np.ones((5, 4))), r"\(..., 3\)"),
    (lambda: nn.Residual(nn.Linear(4, 2, rng=0))(np.ones((5, 4))), "shortcut"),
    (lambda: nn.Hardtanh(1, 0), "low < high"),
])
def test_what_does_not_fit_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: nn.cross_entropy(x, t.astype(float)), "labels must be integers, got float64"),
    (lambda: nn.cross_entropy(x, t.astype(float), label_smoothing=0.1), "labels must be integers"),
    (lambda: nn.huber(x, 1j * y), "complex"),
    (lambda: nn.Sequential([nn.ReLU()]), r"layer 0 is a list, which cannot be called: write Sequential\(\*layers\)"),
    (lambda: nn.Residual(nn.ReLU(), nn.GELU), r"layer 1 is the class GELU: write GELU\(...\)"),
    (lambda: nn.Parallel(nn.ReLU(), 3), "layer 1 is a int")])
def test_what_is_of_another_type_is_refused(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call()


def test_an_error_says_in_which_layer():
    model = nn.Sequential(np.tanh, nn.Residual(nn.Linear(3, 3, rng=0)))
    with pytest.raises(ValueError, match="takes values") as raised:
        model(np.ones((5, 4)))
    assert raised.value.__notes__ == ["in layer 0: Linear", "in layer 1: Residual"]


# ------------------------------------------------------------------------------------------------------ initial values

@pytest.mark.parametrize(("initializer", "variance"), [
    (nn.initializers.he_normal, 2 / 300), (nn.initializers.he_uniform, 2 / 300),
    (nn.initializers.glorot_normal, 2 / 500), (nn.initializers.glorot_uniform, 2 / 500),
    (nn.initializers.lecun_normal, 1 / 300), (nn.initializers.lecun_uniform, 1 / 300),
    (nn.initializers.truncated_normal(0.1), 0.01 * 0.7737), (nn.initializers.orthogonal(2.0), 4 / 300)])
def test_initial_values_have_their_variance(initializer, variance):
    W = nn.Linear(300, 200, rng=0, initializer=initializer).W.value
    assert W.var() == pytest.approx(variance, rel=0.03)
    assert abs(W.mean()) < 4 * np.sqrt(variance / W.size)
    assert_array_equal(W, nn.Linear(300, 200, rng=0, initializer=initializer).W.value)


def test_initial_values_keep_to_their_bounds():
    rng = np.random.default_rng(0)
    assert np.abs(nn.initializers.truncated_normal(1.0)(rng, (10_000,), 1, 1)).max() <= 2
    assert (nn.initializers.constant(0.5)(rng, (2, 3), 1, 1) == 0.5).all()
    for shape in [(5, 3), (3, 5), (2, 3, 2)]:
        Q = nn.initializers.orthogonal()(rng, shape, 1, 1).reshape(shape[0], -1)
        gram = Q @ Q.T if Q.shape[0] <= Q.shape[1] else Q.T @ Q
        assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


# ------------------------------------------------------------------------------------------------------------- summary

def test_a_summary_counts_each_parameter_once_and_leaves_nothing_behind():
    rng = np.random.default_rng(0)
    shared = nn.Linear(4, 4, rng=rng)
    model = nn.Sequential(shared, nn.BatchNorm(4), nn.Residual(shared, np.tanh), nn.Dropout(0.5, rng=rng))
    x = np.ones((3, 4))
    before = model[1].mean.value, model[3].stream.value
    table = model.summary(x)
    assert table.n_parameters == 28
    assert [(row.path, row.layer, row.shape, row.n_parameters, row.depth) for row in table.rows] == [
        ("", "Sequential", (3, 4), 0, 0),
        ("layers.0", "Linear", (3, 4), 20, 1), ("layers.1", "BatchNorm", (3, 4), 8, 1),
        ("layers.2", "Residual", (3, 4), 0, 1), ("layers.0", "Linear", (3, 4), 0, 2),
        ("layers.3", "Dropout", (3, 4), 0, 1)]
    assert "28 parameters, and 10 numbers in other states" in str(table)
    assert "<table>" in table._repr_html_()
    assert type(shared) is nn.Linear
    assert_array_equal(model[1].mean.value, before[0])
    assert_array_equal(model[3].stream.value, before[1])


class Recurrent:
    """A plain class with slots, which returns more than one array."""

    __slots__ = ("W",)

    def __init__(self):
        self.W = tg.Parameter(np.ones((4, 2)))

    def __call__(self, x):
        y = x @ self.W
        return y, (y[0], y[:, 0])


def test_a_summary_of_what_is_no_module():
    model = nn.Sequential(partial(np.reshape, shape=(-1, 4)), Recurrent())
    table = nn.summary(model, np.ones((3, 2, 2)))
    assert [(row.path, row.shape, row.n_parameters) for row in table.rows] == [
        ("", ((3, 2), ((2,), (3,))), 0), ("layers.1", ((3, 2), ((2,), (3,))), 8)]
    assert type(model[1]) is Recurrent


def test_a_module_without_call_says_so():
    with pytest.raises(NotImplementedError, match="Module has no __call__"):
        nn.Module()(1)


# ------------------------------------------------------------------------------------------------------- at the edges

def test_a_masked_logit_without_a_target_is_no_nan():
    logits = tg.Parameter(np.array([[1.0, -np.inf, 2.0]]))
    loss = nn.kl_divergence(logits, np.array([[0.5, 0.0, 0.5]]))
    loss.backprop()
    rest = tg.Parameter(np.array([[1.0, 2.0]]))
    other = nn.kl_divergence(rest, np.array([[0.5, 0.5]]))
    other.backprop()
    assert loss.value == other.value
    assert_array_equal(logits.grad[:, [0, 2]], rest.grad)
    assert logits.grad[0, 1] == 0


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: nn.cross_entropy(np.zeros((0, 3)), np.zeros(0, int)), "cross_entropy: no samples"),
    (lambda: nn.cross_entropy(np.zeros((0, 3)), np.zeros(0, int), class_weights=np.ones(3)), "no samples"),
    (lambda: nn.cross_entropy(np.zeros((2, 2)), np.zeros(2, int), class_weights=[0, 1]), "all samples have weight 0"),
    (lambda: nn.cross_entropy(np.zeros((2, 2)), np.zeros(2, int), class_weights=[1, -1]), "class_weights must be"),
    (lambda: nn.mean_squared_error(np.zeros(2), np.ones(2), weights=[0, 0]), "weights must be .* not all 0"),
    (lambda: nn.huber(np.zeros(2), np.ones(2), weights=[2, -1]), "weights must be numbers >= 0"),
    (lambda: nn.binary_cross_entropy(np.zeros(2), np.array([-1, 1])), r"targets must lie in \[0, 1\], got -1.0 to 1"),
])
def test_a_loss_that_would_make_no_sense_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_half_precision_stays():
    x = np.linspace(-2, 2, 8).astype(np.float16).reshape(2, 4)
    assert nn.GELU()(x).dtype == np.float16
    p = tg.Parameter(x)
    loss = nn.kl_divergence(p, np.full((2, 4), 0.25), weights=[1, 2]) + np.sum(nn.GELU()(p))
    loss.backprop()
    assert loss.dtype == p.grad.dtype == np.float16


@pytest.mark.parametrize("layer", [lambda eps: nn.BatchNorm(2, eps=eps), lambda eps: nn.GroupNorm(1, 2, eps=eps),
                                   lambda eps: nn.LayerNorm(2, eps=eps), lambda eps: nn.RMSNorm(2, eps=eps)],
                         ids=["batch", "group", "layer", "rms"])
def test_eps_is_heeded(layer):
    x = np.array([[3.0, 1.0], [1.0, 4.0]])
    assert np.abs(layer(1e9)(x)).max() < 1e-3 < np.abs(layer(1e-9)(x)).max()


def test_eps_in_inference():
    norm = nn.BatchNorm(1, eps=3.0)
    assert_array_equal(nn.inference(norm)(np.array([[4.0]])), [[2.0]])  # the variance is 1 at the start


def test_orthogonal_matrices_have_no_favourite_sign():
    drawn = [nn.initializers.orthogonal()(np.random.default_rng(seed), (3, 3), 3, 3) for seed in range(40)]
    assert 5 < sum(Q[0, 0] > 0 for Q in drawn) < 35
