"""Convolutions, poolings, recurrent layers, attention, CTC: beside PyTorch's numbers, compiled, and by hand."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.testing import check_gradients

from .references.make_layers import CTC, LAYERS, MASK, PRESENT, logits, made

PYTORCH = json.loads((Path(__file__).parent / "references" / "layers.json").read_text(encoding="utf-8"))["found"]
RNG = np.random.default_rng(3)


def value_of(x):
    return x.value if isinstance(x, tg.Node) else np.asarray(x)


def called(name, layer, x, *others):
    """All that a layer returns, in a list."""
    if name == "MultiHeadAttention masked":
        return [layer(x, *others, mask=MASK, present=PRESENT)]
    if isinstance(layer, nn.LSTM):
        outputs, state = layer(x, others)
        return [outputs, *state]
    return [*result] if isinstance(result := layer(x, *others), tuple) else [result]


def weighted(values):
    """A number that depends on each entry in another way."""
    return sum(np.sum(np.cos(np.arange(value.size)).reshape(value.shape).astype(value.dtype) * value)
               for value in values)


# ----------------------------------------------------------------------------------------------------- beside PyTorch

@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_that_of_pytorch(name):
    layer, (x, *others) = made(name)
    expected, gradient = PYTORCH[name]
    values = called(name, layer, x := tg.Parameter(x), *others)
    for value, theirs in zip(values, expected, strict=True):
        assert_allclose(value_of(value), theirs, rtol=0, atol=2e-12)
    assert_allclose(tg.backprop(weighted(values), wrt=x), gradient, rtol=0, atol=2e-12)


def test_ctc_is_that_of_pytorch():
    def losses(x):
        return [tg.array([nn.ctc(x[i:i + 1], *(each[i:i + 1] for each in CTC.values())) for i in range(3)])]

    (expected,), gradient = PYTORCH["ctc"]
    assert_allclose(losses(tg.constant(logits()))[0].value, expected, atol=2e-12)
    assert_allclose(tg.grad(lambda x: weighted(losses(x)))(logits()), gradient, atol=2e-12)


# ------------------------------------------------------------------------------------- gradients, inference, compiled

@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d", "ConvTranspose1d", "RNN", "LSTM", "GRU",
                                  "MultiHeadAttention masked"])
def test_gradients_by_all_parameters_are_differences(name):
    layer, inputs = made(name)
    if hasattr(layer, "cells"):  # one layer, a short sequence
        layer.cells, inputs = layer.cells[:1], [inputs[0][:, :3], *[state[:2] for state in inputs[1:]]]
    given = nn.parameters(layer).values()
    check_gradients(lambda *_: weighted(called(name, layer, *inputs)), *given, beyond=False).raise_if_failed()


@pytest.mark.parametrize("name", LAYERS)
def test_inference_is_numpy_and_float32_stays(name):
    layer, inputs = made(name)
    found, expected = called(name, nn.inference(layer), *inputs), called(name, layer, *map(tg.constant, inputs))
    for array, node in zip(found, expected, strict=True):
        assert isinstance(array, np.ndarray)
        assert_allclose(array, node.value, atol=1e-13)
    small = nn.astype(layer, np.float32)
    inputs = [x.astype(np.float32) for x in inputs]
    for array, value in zip(called(name, small, *inputs), found, strict=True):
        assert array.dtype == np.float32
        assert_allclose(value_of(array), value, atol=2e-5)
    for parameter in nn.parameters(small).values():
        (gradient,) = tg.backprop(weighted(called(name, small, *inputs)), wrt=[parameter])
        assert gradient.dtype == np.float32


@pytest.mark.parametrize("target", ["numpy", "native"])
@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose1d", "MaxPool2d", "AveragePool2d", "AdaptiveMaxPool2d",
                                  "AdaptiveAveragePool1d", "LSTM", "GRU", "MultiHeadAttention masked"])
def test_a_compiled_step_is_the_eager_one(name, target):
    layer, inputs = made(name)
    first = tg.Parameter(np.ones(()))
    parameters = [*nn.parameters(layer).values(), first]
    start = [p.value for p in parameters]

    def step(x, *others):
        loss = weighted([y * y for y in called(name, layer, first * x, *others)])
        loss.backprop()
        for p in parameters:
            p.value = p.value - 0.01 * p.grad
        return loss

    def two_steps(step):
        for p, value in zip(parameters, start, strict=True):
            p.value = value
        return [np.array(value_of(step(*inputs))) for _ in range(2)], [p.value.copy() for p in parameters]

    losses, values = two_steps(step)
    compiled_losses, compiled_values = two_steps(tg.compile(step, target=target))
    assert_allclose(compiled_losses, losses, rtol=1e-11)
    for compiled, eager in zip(compiled_values, values, strict=True):
        assert_allclose(compiled, eager, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target", ["numpy", "native"])
def test_ctc_compiles(target):
    f = tg.value_and_grad(lambda x, t, places, counts: nn.ctc(x, t, places, counts))
    loss, gradient = tg.compile(f, target=target)(logits(), *CTC.values())
    expected_loss, expected_gradient = f(logits(), *CTC.values())
    assert_allclose(loss, expected_loss, rtol=1e-13)
    assert_allclose(gradient, expected_gradient, atol=1e-13)


@pytest.mark.parametrize("target", ["numpy", "native"])
def test_a_mean_over_all_compiles(target):
    """Its windows are the whole image: their counters are merged into one."""
    x = RNG.normal(size=(2, 3, 4, 5))
    f = tg.grad(lambda x: weighted([nn.AdaptiveAveragePool2d(1)(x * x)]))
    assert_allclose(tg.compile(f, target=target)(x), f(x), rtol=1e-13)


# ------------------------------------------------------------------------------------------------ convolution, pooling

def test_a_convolution_of_many_samples_is_that_of_each():
    """They go through a few at a time: here 4 and 1, and no sample at all."""
    x, W = RNG.normal(size=(5, 2, 80, 60)), RNG.normal(size=(3, 2, 3, 5))
    node = ops.Conv2D(p := tg.Parameter(x), q := tg.Parameter(W))
    dy = RNG.normal(size=node.shape)
    dx, dW = tg.backprop(node, wrt=[p, q], grad=dy)
    one_by_one = [tg.vjp(ops.Conv2D, x[i:i + 1], W) for i in range(5)]
    assert_allclose(node.value, np.concatenate([y for y, _ in one_by_one]), atol=1e-12)
    pulled = [pull(dy[i:i + 1]) for i, (_, pull) in enumerate(one_by_one)]
    assert_allclose(dx, np.concatenate([each for each, _ in pulled]), atol=1e-12)
    assert_allclose(dW, sum(each for _, each in pulled), atol=1e-9)
    assert nn.Conv2d(2, 3, 3, rng=0)(x[:0]).shape == (0, 3, 78, 58)


def test_a_transposed_convolution_makes_the_shape_again():
    for options in ({"stride": 3, "padding": 1}, {"stride": 2, "padding": "same"}, {"padding": "valid", "dilation": 2}):
        conv, back = nn.Conv2d(2, 3, 3, rng=0, **options), nn.ConvTranspose2d(3, 2, 3, rng=0, **options)
        x = np.zeros((1, 2, 10, 10))
        assert back(conv(x)).shape == x.shape


def test_same_padding_makes_the_length_over_the_stride():
    for length, size, stride, dilation in itertools.product((5, 6), (1, 2, 3), (1, 2, 3), (1, 2)):
        conv = nn.Conv1d(1, 1, size, stride=stride, dilation=dilation, padding="same", rng=0)
        assert conv(np.zeros((1, 1, length))).shape[2] == -(-length // stride)


def test_a_tie_with_the_padding_is_none():
    """A window of -inf alone: its entries share, and what is added around them gets nothing."""
    x = tg.Parameter(np.full((1, 1, 2, 2), -np.inf))
    (dx,) = tg.backprop(nn.MaxPool2d(2, padding=1)(x), wrt=[x], grad=np.ones((1, 1, 2, 2)))
    assert_array_equal(dx, np.ones((1, 1, 2, 2)))


def test_ties_of_an_adaptive_pooling_share():
    x = tg.Parameter(np.ones((1, 1, 3)))
    (dx,) = tg.backprop(nn.AdaptiveMaxPool1d(2)(x), wrt=[x], grad=np.ones((1, 1, 2)))
    assert_array_equal(dx, [[[0.5, 1, 0.5]]])


# ---------------------------------------------------------------------------------------------------------- recurrence

@pytest.mark.parametrize("cls", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_sequence_in_two_parts_is_the_whole(cls):
    layer, x = cls(3, 4, layers=2, rng=0), RNG.normal(size=(2, 6, 3))
    whole, last = layer(x)
    first, state = layer(x[:, :2])
    second, end = layer(x[:, 2:], state)
    assert_allclose(np.concatenate([first.value, second.value], axis=1), whole.value, atol=1e-15)
    for a, b in zip(end if cls is nn.LSTM else [end], last if cls is nn.LSTM else [last], strict=True):
        assert_allclose(a.value, b.value, atol=1e-15)


@pytest.mark.parametrize("cls", [nn.RNN, nn.LSTM, nn.GRU])
def test_no_state_is_one_of_zeros(cls):
    layer, x = cls(3, 4, bidirectional=True, rng=0), RNG.normal(size=(2, 3, 3))
    for p in nn.parameters(layer).values():
        p.value = RNG.normal(size=p.shape)
    zeros = np.zeros((2, 2, 4))
    assert_allclose(layer(x)[0].value, layer(x, (zeros, zeros) if cls is nn.LSTM else zeros)[0].value, atol=1e-15)


def test_where_recurrent_layers_start():
    lstm = nn.LSTM(3, 4, rng=0)
    assert list(nn.parameters(lstm)) == ["cells.0.0.W", "cells.0.0.U", "cells.0.0.b"]
    cell = lstm.cells[0][0]
    assert_array_equal(cell.b.value, np.repeat([0, 1, 0, 0], 4))
    for gate in np.split(cell.U.value, 4, axis=1):
        assert_allclose(gate.T @ gate, np.eye(4), atol=1e-14)


# ----------------------------------------------------------------------------------------------------------- attention

def test_a_place_sees_what_it_may():
    attend, x = nn.MultiHeadAttention(4, heads=2, causal=True, rng=0), RNG.normal(size=(1, 5, 4))
    later = x.copy()
    later[:, 3:] += 1
    assert_array_equal(attend(x).value[:, :3], attend(later).value[:, :3])
    assert (attend(x).value[:, 3:] != attend(later).value[:, 3:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_who_may_see_nothing_gets_nothing(dtype):
    Q, K, V = (tg.Parameter(RNG.normal(size=(2, 3, 4)).astype(dtype)) for _ in range(3))
    mask = np.array([[True, False, True], [False] * 3, [True] * 3])
    y = nn.attention(Q, K, V, mask)
    assert_array_equal(y.value[:, 1], 0)
    scores = (Q.value[:, 2] @ K.value[0].T)[0] / 2
    assert_allclose(y.value[0, 2], np.exp(scores) @ V.value[0] / np.exp(scores).sum(), rtol=1e-5)
    dQ, dK, dV = tg.backprop(np.sum(y * y), wrt=[Q, K, V])
    assert all(np.isfinite(grad).all() and grad.any() and grad.dtype == dtype for grad in (dQ, dK, dV))
    assert_array_equal(dQ[:, 1], 0)
    assert_array_equal(nn.MultiHeadAttention(4, heads=2, rng=0)(Q, present=np.zeros((2, 3), bool)).value, 0)


def test_a_block_adds_to_what_it_gets():
    block, x = nn.TransformerBlock(4, heads=2, causal=True, dropout=0.5, rng=0), RNG.normal(size=(2, 3, 4))
    still = nn.inference(block)
    middle = x + still.attention(still.norm(x))
    first, second = still.feed.layers[1], still.feed.layers[3]
    expected = middle + second(nn.GELU()(first(still.feed.layers[0](middle))))
    assert_allclose(still(x), expected, atol=1e-14)
    assert not np.allclose(block(x).value, expected)


def test_sinusoidal_positions_entry_by_entry():
    positions = nn.sinusoidal_positions(7, 5)
    for t, k in np.ndindex(7, 5):
        angle = t / 10000 ** ((k - k % 2) / 5)
        assert_allclose(positions[t, k], np.cos(angle) if k % 2 else np.sin(angle), atol=1e-14)


# ----------------------------------------------------------------------------------------------------------------- CTC

def over_all_alignments(p, labels, blank):
    """-log of the sum over all sequences of classes that stand for the labels."""
    total = 0.0
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        if [k for k, _ in itertools.groupby(path) if k != blank] == [*labels]:
            total += np.prod(p[np.arange(len(p)), path])
    return np.inf if total == 0 else -np.log(total)


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_a_sum_over_all_alignments(blank):
    one, other = sorted({0, 1, 2} - {blank})
    targets = np.array([[one, one, other], [other, one, -1], [-1, -1, -1], [one, 99, 99], [other, other, other]])
    places, counts = np.array([5, 4, 3, 1, 4]), np.array([3, 2, 0, 1, 3])
    x = RNG.normal(size=(5, 5, 3))
    p = np.exp(x) / np.exp(x).sum(axis=2, keepdims=True)
    expected = [over_all_alignments(p[i, :places[i]], targets[i, :counts[i]], blank) for i in range(5)]
    assert expected[4] == np.inf
    for i in range(5):
        each = [values[i:i + 1] for values in (targets, places, counts)]
        assert_allclose(nn.ctc(x[i:i + 1], *each, blank=blank), expected[i], rtol=1e-13)
    assert nn.ctc(x, targets, places, counts, blank=blank) == np.inf
    possible, weights = [values[:4] for values in (targets, places, counts)], np.array([1.0, 2, 0, 3])
    assert_allclose(nn.ctc(x[:4], *possible, blank=blank), np.mean(expected[:4]), rtol=1e-13)
    assert_allclose(nn.ctc(x[:4], *possible, blank=blank, weights=weights), np.average(expected[:4], weights=weights))
    check_gradients(lambda x: nn.ctc(x, *possible, blank=blank), x[:4], beyond=False).raise_if_failed()
    assert nn.ctc(x[:4].astype(np.float32), *possible, blank=blank).dtype == np.float32
    assert_array_equal(tg.grad(lambda x: nn.ctc(x, *[v[4:] for v in (targets, places, counts)], blank=blank))(x[4:]), 0)


# ------------------------------------------------------------------------------------------------------ what is refused

X = np.zeros((2, 5, 4))


@pytest.mark.parametrize(("call", "words"), [
    (lambda: nn.Conv2d(3, 4, 3, rng=0)(X), "Conv2d: takes values (n, 3, height, width), but got the shape (2, 5, 4)"),
    (lambda: nn.Conv1d(4, 4, 3, rng=0)(X), "Conv1d: takes values (n, 4, length), but got the shape (2, 5, 4)"),
    (lambda: nn.Conv1d(5, 4, 7, rng=0)(X), "a window of 1 x 7 does not fit"),
    (lambda: nn.Conv2d(3, 4, 0, rng=0), "Conv2d: size must be an integer >= 1 or a pair of them, not 0"),
    (lambda: nn.Conv1d(3, 4, (3, 3), rng=0), "Conv1d: size must be an integer >= 1, not (3, 3)"),
    (lambda: nn.Conv2d(3, 4, 3, padding="full", rng=0), "or a pair of them, 'same' or 'valid', not 'full'"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2, rng=0), "n_inputs=3 and n_outputs=4 must be multiples of groups=2"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, output_padding=1, rng=0), "output_padding=1 must be less than stride=1"),
    (lambda: nn.ConvTranspose1d(5, 4, 2, padding=3, rng=0)(X), "padding=(0, 3) leaves nothing"),
    (lambda: nn.MaxPool2d(2)(X), "MaxPool2d: takes values (n, channels, height, width), but got the shape (2, 5, 4)"),
    (lambda: nn.MaxPool1d(2, padding=2)(X), "lets windows of (1, 2) see nothing"),
    (lambda: nn.AdaptiveMaxPool1d(5)(X), "AdaptiveMaxPool1d: (5,) windows are more than"),
    (lambda: nn.LSTM(3, 2, rng=0)(X), "LSTM: takes sequences (n, length, 3), but got the shape (2, 5, 4)"),
    (lambda: nn.GRU(4, 3, rng=0)(X, np.zeros((2, 3))), "GRU: takes a state (1, 2, 3) for values of shape (2, 5, 4)"),
    (lambda: nn.MultiHeadAttention(5, heads=2, rng=0), "features=5 must be a multiple of heads=2"),
    (lambda: nn.MultiHeadAttention(4, heads=2, rng=0)(X, X[:1]), "takes context of shape (2, length, 4), but got the"),
    (lambda: nn.MultiHeadAttention(4, heads=2, causal=True, rng=0)(X, X[:, 1:]), "a context as long as x, not 4 for 5"),
    (lambda: nn.MultiHeadAttention(4, heads=2, rng=0)(X, mask=X[0] > 0), "takes mask of shape (5, 5) or (2, 5, 5) or"),
    (lambda: nn.MultiHeadAttention(4, heads=2, rng=0)(X, present=X[0, :2] > 0), "takes present of shape (2, 5), but"),
    (lambda: nn.ctc(X, [[1, 2]], [5, 5], [2, 2]), "logits (n, length, classes), targets (n, labels) and lengths (n,)"),
    (lambda: nn.ctc(X, [[1, 2], [1, 0]], [5, 5], [2, 2]), "0 is the blank, and cannot be among the targets"),
    (lambda: nn.ctc(X, [[1, 2], [1, 4]], [5, 5], [2, 2]), "in [0, 4), got"),
    (lambda: nn.ctc(X, [[1, 2], [1, 3]], [5, 6], [2, 2]), "input_lengths must lie in [1, 5], got 5 to 6"),
    (lambda: nn.ctc(X, [[1, 2], [1, 3]], [5, 5], [2, 3]), "target_lengths must lie in [0, 2], got 2 to 3"),
    (lambda: nn.ctc(X, [[1, 2], [1, 3]], [5, 5], [2, 2], blank=4), "the blank must lie in [0, 4), not be 4"),
])
def test_what_does_not_fit_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_masks_and_targets_have_their_types():
    with pytest.raises(TypeError, match="mask must be of booleans, not float64"):
        nn.MultiHeadAttention(4, heads=2, rng=0)(X, mask=np.ones((5, 5)))
    with pytest.raises(TypeError, match="targets must be integers, not float64"):
        nn.ctc(X, np.ones((2, 2)), [5, 5], [2, 2])


def test_a_kernel_counts_all_places_as_inputs():
    W = nn.Conv2d(8, 64, 5, groups=2, rng=0).W.value
    assert abs(W.var() / (2 / (4 * 25)) - 1) < 0.1


def test_both_parts_of_a_block_drop_out():
    block = nn.TransformerBlock(4, heads=2, dropout=0.5, rng=0)
    for last in (block.feed.layers[-2], block.attention.output):  # one part after the other adds nothing but zeros
        kept = last.W.value, last.b.value
        last.W.value, last.b.value = np.zeros_like(kept[0]), np.zeros_like(kept[1])
        x = np.random.default_rng(1).standard_normal((2, 3, 4))
        assert not np.array_equal(block(x).value, block(x).value)
        last.W.value, last.b.value = kept


def test_layers_of_a_stack_start_apart():
    first, second, third = (cells[0].U.value for cells in nn.RNN(4, 4, layers=3, rng=0).cells)
    assert not np.array_equal(second, third)
    assert not np.array_equal(first, second)
