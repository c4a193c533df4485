"""What single ops of networks promise beyond the checks of `test_ops.py`: far out, at ties, with masks, in time and
memory, and in what they refuse."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph import ops

from . import naive
from .cases import CASES

NEW = [ops.Conv2D, ops.Einsum, ops.GELU, ops.LayerNorm, ops.MaxPool2D, ops.Softmax]
RNG = np.random.default_rng(0)


def orders(f, x):
    """The value of f, and the first and second derivatives of its sum by an array x."""
    x = tg.Parameter(x)
    y = f(x)
    first = tg.backprop(y, wrt=x, grad=tg.constant(np.ones_like(y.value)), traced=True)
    return y.value, first.value, tg.backprop(first, wrt=x, grad=np.ones_like(x.value))


@pytest.mark.parametrize("case", [case for case in CASES if case.op in NEW], ids=lambda case: case.name)
def test_a_fused_op_expands_into_primitives(case):
    inputs = [tg.constant(x) for x in case.arrays()]
    node = case.op(*inputs, **case.options)
    result = node.expand(*inputs, **case.options)
    tape = tg.Tape(result[0] if isinstance(result, tuple) else result)
    assert {type(op) for op in tape if op.inputs} <= {
        op for op in (getattr(ops, name) for name in ops.__all__) if not op.traceable}


# ---------------------------------------------------------------------------------------------------------- activations

@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gelu_far_out_is_the_identity_or_zero(dtype):
    """Where its cube overflows, and at infinity."""
    x = np.array([20, 1e3, 1e4, np.finfo(dtype).max, np.inf], dtype)
    for values, expected in zip(orders(ops.GELU, x), (x, np.ones_like(x), np.zeros_like(x)), strict=True):
        assert_array_equal(values, expected, strict=True)
    for values in orders(ops.GELU, -x):
        assert_array_equal(values, np.zeros_like(x), strict=True)
    for sign in (1, -1):
        node = ops.GELU(tg.constant(sign * x))
        assert_array_equal(node.expand(*node.inputs)[0].value, node.value, strict=True)
    assert np.isnan(orders(ops.GELU, np.array([np.nan], dtype))[:2]).all()


def test_gelu_is_near_the_one_of_the_normal_distribution():
    from scipy.special import ndtr

    x = np.linspace(-6, 6, 1001)
    assert_allclose(ops.GELU(x).value, x * ndtr(x), atol=5e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_softmax_of_large_logits(dtype):
    largest = np.finfo(dtype).max / 2
    x = np.array([[largest, -largest, 0], [-largest, largest, largest]], dtype)
    y, first, second = orders(lambda x: ops.Softmax(x) ** 2, x)
    assert_array_equal(y, np.array([[1, 0, 0], [0, 0.25, 0.25]], dtype), strict=True)
    assert_array_equal([first, second], 0)


def test_softmax_of_a_mask():
    """Attention adds -inf: such an entry gets 0, and neither it nor the mask disturbs the others."""
    x = RNG.normal(size=(4, 4))
    mask = np.where(np.tri(4, dtype=bool), 0, -np.inf)
    c = RNG.normal(size=(4, 4))
    for values in orders(lambda x: ops.Softmax(x + mask) * c, x):
        assert np.isfinite(values).all()
        assert not values[np.isinf(mask)].any()
    p = tg.Parameter(x)
    grad = tg.backprop(np.sum(ops.Softmax(p + mask) * c), wrt=p)
    for i in range(4):
        row = tg.Parameter(x[i, :i + 1])
        assert_allclose(grad[i, :i + 1], tg.backprop(np.sum(ops.Softmax(row) * c[i, :i + 1]), wrt=row), atol=1e-15)


def test_softmax_of_nothing_but_a_mask_is_nan():
    with pytest.warns(RuntimeWarning, match="invalid value"):
        y = ops.Softmax(tg.Parameter([[-np.inf, -np.inf], [0, -np.inf]]))
    assert_array_equal(y.value, [[np.nan, np.nan], [1, 0]])


@pytest.mark.parametrize(("x", "gain", "bias"), [
    ((2, 3), (2,), (3,)), ((2, 3), (3,), (2,)), ((2, 3), (2, 3), (2, 3)), ((2, 3), (1,), (1,)), ((), (), ()),
    ((2, 3), (), (3,))])
def test_layer_norm_of_shapes_that_do_not_fit(x, gain, bias):
    with pytest.raises(ValueError, match=r"LayerNorm.*\(m,\) and \(m,\) for values \(\.\.\., m\)$"):
        ops.LayerNorm(*(tg.Parameter(np.ones(shape)) for shape in (x, gain, bias)))


@pytest.mark.parametrize("value", [0.0, 3.0, 1e8])
def test_layer_norm_of_a_constant_row_is_the_bias(value):
    x, bias = np.full((2, 4), value), np.arange(4.0)
    y, *derivatives = orders(lambda x: ops.LayerNorm(x, np.ones(4), bias), x)
    assert_array_equal(y, [bias, bias])
    assert_allclose(derivatives, np.zeros((2, 2, 4)), atol=1e-10)


# -------------------------------------------------------------------------------------------------- einsum and np.pad

def test_einsum_is_called_as_numpys():
    A, B = tg.Parameter(RNG.normal(size=(2, 3))), RNG.normal(size=(3, 4))
    for y in (np.einsum("ij,jk->ik", A, B), np.einsum("ij,jk", A, B, optimize=True), np.einsum("ij,jk", A, B, out=None),
              np.einsum("ij,jk", A, B, optimize="greedy"), ops.Einsum(A, B, subscripts="ij,jk")):
        assert isinstance(y, ops.Einsum)
        assert_allclose(y.value, A.value @ B, rtol=1e-14)
        assert_allclose(tg.backprop(y, wrt=A, grad=np.ones((2, 4))), np.ones((2, 4)) @ B.T, rtol=1e-14)
    x = np.ones((2, 3), np.float32)
    assert np.einsum("ij,", tg.constant(x), 2.0).dtype == np.einsum("ij,", x, 2.0).dtype


def test_einsum_goes_through_products_of_matrices():
    """And joins the operands of a gradient in an order in which no array grows larger than those that are there."""
    A, B, C = (tg.Parameter(RNG.normal(size=shape)) for shape in ((3, 5, 6), (6, 7), (7, 8)))
    y = np.einsum("ijk,kl,lm->ijm", A, B, C)
    grads = tg.backprop(y, wrt=[A, B, C], grad=tg.constant(np.ones(y.shape)), traced=True)
    tape = tg.Tape(*(grad.expand(*grad.inputs, **grad.options) for grad in grads))
    assert sum(isinstance(node, ops.MatMul) for node in tape) == 6
    assert not any(isinstance(node, ops.Multiply) for node in tape)
    assert max(node.size for node in tape) == 3 * 5 * 8


@pytest.mark.parametrize(("subscripts", "shapes"), [
    ("...i->i", [(2, 3)]), ("ij,jk", [(2, 3)]), ("ij", [(2,)]), ("i", [(2, 3)]), ("i->ii", [(2,)]), ("i->j", [(2,)]),
    ("i,i", [(2,), (3,)]), ("ii", [(2, 3)]), ("ii", [(1, 3)]), ("i..j", [(2, 3)]), ("......", [(2, 3)]),
    ("i1", [(2, 2)]), ("i->i->i", [(2,)]), ("...,...", [(2,), (3,)]), ("ij,jk,k", [(2, 2), (3, 4), (4,)]),
    ("i,i,i", [(2,), (1,), (3,)])])
def test_einsum_refuses_what_numpy_refuses(subscripts, shapes):
    arrays = [np.ones(shape) for shape in shapes]
    with pytest.raises(ValueError):  # noqa: PT011
        np.einsum(subscripts, *arrays)
    with pytest.raises(ValueError, match=r"^Einsum\(.*\): [^\n]+$"):
        np.einsum(subscripts, *map(tg.constant, arrays))


def test_einsum_refuses_an_array_to_write_into():
    with pytest.raises(TypeError, match="out="):
        np.einsum("ij", tg.constant(np.ones((2, 2))), out=np.ones((2, 2)))


@pytest.mark.parametrize("width", [1, 0, (1,), (1, 2), [(1, 2)], ((1, 0), (0, 2)), np.array([[1], [2]])])
def test_pad_takes_widths_in_all_of_numpys_forms(width):
    x = tg.Parameter(np.arange(1.0, 7).reshape(2, 3))
    y = np.pad(x, width)
    assert_array_equal(y.value, np.pad(x.value, width), strict=True)
    assert_array_equal(tg.backprop(y, wrt=x, grad=y.value), x.value)
    assert_array_equal(np.pad(x, width, mode="constant", constant_values=0).value, y.value)
    assert hash(y.options["width"]) is not None


def test_pad_refuses_widths_that_are_none():
    x = tg.constant(np.ones((2, 3)))
    with pytest.raises(TypeError, match="integer"):
        np.pad(x, 1.5)
    for width in (-1, ((1, 1), (0, -1))):
        with pytest.raises(ValueError, match=r"negative|counts"):
            np.pad(x, width)
    with pytest.raises(ValueError, match="broadcast"):
        np.pad(x, ((1, 1), (1, 1), (1, 1)))


# --------------------------------------------------------------------------------------------------------------- images

def test_windows_are_a_view():
    x = tg.constant(RNG.normal(size=(2, 50, 50)))
    y = ops.Windows(x, shape=(5, 5), stride=(1, 1))
    assert y.shape == (2, 46, 46, 5, 5)
    assert np.shares_memory(y.value, x.value)
    with pytest.raises(ValueError, match="read-only"):
        y.value[...] = 0


def test_an_entry_that_no_window_sees_contributes_nothing():
    """As one that an index leaves out: not even where the slope there is infinite."""
    x = np.array([[1.0, 4.0, 0.0], [4.0, 1.0, 0.0]])
    for f in (lambda x: ops.Windows(np.sqrt(x), shape=(2, 2), stride=(2, 2)),
              lambda x: ops.MaxPool2D(np.sqrt(x), size=2)):
        for values in orders(f, x)[1:]:
            assert np.isfinite(values).all()
            assert_array_equal(values[:, 2], 0)


@pytest.mark.parametrize(("x", "W", "options"), [
    ((2, 3, 9, 8), (4, 3, 3, 3), {"padding": 1}), ((2, 3, 9, 8), (4, 3, 5, 2), {"stride": (2, 3), "padding": (2, 0)}),
    ((3, 2, 12, 7), (2, 2, 4, 4), {"stride": 4, "padding": 3}), ((1, 1, 20, 20), (1, 1, 1, 1), {"stride": 3})])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convolution_and_its_gradients_number_by_number(x, W, options, dtype):
    """<dY, Y> is linear in x and in W, so its gradients are its values at the unit vectors."""
    x, W = (RNG.normal(size=shape).astype(dtype) for shape in (x, W))
    image, kernels = tg.Parameter(x), tg.Parameter(W)
    node = ops.Conv2D(image, kernels, **options)
    dY = RNG.normal(size=node.shape).astype(dtype)
    dx, dW = tg.backprop(node, wrt=[image, kernels], grad=dY)
    tolerance = 1e-10 if dtype is np.float64 else 1e-3
    assert_allclose(node.value, naive.convolution(x, W, **options), atol=tolerance)
    assert_allclose(np.sum(dx * x), np.sum(dY * node.value), rtol=tolerance)
    assert_allclose(np.sum(dW * W), np.sum(dY * node.value), rtol=tolerance)
    for array, grad, f in ((x, dx, lambda x: naive.convolution(x, W, **options)),
                           (W, dW, lambda W: naive.convolution(x, W, **options))):
        for _ in range(5):
            unit = np.zeros_like(array)
            place = tuple(RNG.integers(0, n) for n in array.shape)
            unit[place] = 1
            assert_allclose(grad[place], np.sum(dY * f(unit)), atol=tolerance)


def test_convolution_does_not_keep_its_columns():
    """They are kh kw times as large as the images."""
    assert ops.Conv2D.n_kept == 0
    x = tg.Parameter(np.ones((2, 3, 8, 8)))
    assert {type(op) for op in tg.Tape(ops.Conv2D(x, np.ones((4, 3, 3, 3)))) if op.inputs} == {ops.Conv2D}


def test_a_bias_for_each_kernel_broadcasts():
    x, b = tg.constant(RNG.normal(size=(2, 3, 5, 5))), tg.Parameter(np.arange(4.0).reshape(4, 1, 1))
    y = ops.Conv2D(x, RNG.normal(size=(4, 3, 2, 2))) + b
    assert y.shape == (2, 4, 4, 4)
    assert_array_equal(tg.backprop(y, wrt=b, grad=np.ones(y.shape)), np.full((4, 1, 1), 32.0))


@pytest.mark.parametrize("size", [1, 2, 3, (2, 1), (1, 3)])
@pytest.mark.parametrize("stride", [None, 1, 2, (1, 2)])
def test_tied_entries_of_a_window_share(size, stride):
    """Each window sends every one of its largest entries the same part, whatever other windows do."""
    x = RNG.integers(0, 3, (2, 5, 6)).astype(float)
    x[0, :3] = 7
    node = ops.MaxPool2D(p := tg.Parameter(x), size=size, stride=stride)
    dy = RNG.normal(size=node.shape)
    expected = np.zeros_like(x)
    window, step = naive.pair(size), naive.pair(stride or size)
    for n in range(2):
        for i, j in np.ndindex(node.shape[1:]):
            here = np.s_[n, i * step[0]:i * step[0] + window[0], j * step[1]:j * step[1] + window[1]]
            chosen = x[here] == x[here].max()
            expected[here] += dy[n, i, j] * chosen / chosen.sum()
    assert_array_equal(node.value, naive.max_pool(x, size, stride))
    assert_allclose(tg.backprop(node, wrt=p, grad=dy), expected, atol=1e-14)
    assert_allclose(tg.backprop(node, wrt=p, grad=tg.constant(dy), traced=True).value, expected, atol=1e-14)


def test_pooling_agrees_with_max_over_windows_at_ties():
    x = tg.Parameter(RNG.integers(0, 2, (3, 6, 6)).astype(float))
    node = ops.MaxPool2D(x, size=3, stride=1)
    dy = RNG.normal(size=node.shape)
    expansion = node.expand(x, size=3, stride=1)
    assert_allclose(tg.backprop(node, wrt=x, grad=dy), tg.backprop(expansion, wrt=x, grad=dy), atol=1e-14)


def test_pooling_of_what_is_not_finite():
    x = np.array([[-np.inf, -np.inf, np.inf, 1], [-np.inf, -np.inf, 2, np.inf]])
    y, first, second = orders(lambda x: ops.MaxPool2D(x, size=2), x)
    assert_array_equal(y, [[-np.inf, np.inf]])
    assert_array_equal(first, [[0.25, 0.25, 0.5, 0], [0.25, 0.25, 0, 0.5]])
    assert_array_equal(second, 0)
    assert np.isnan(ops.MaxPool2D(np.array([[1.0, np.nan]]), size=(1, 2)).value).all()


IMAGE, KERNEL = np.ones((2, 3, 5, 5)), np.ones((4, 3, 3, 3))


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ops.Conv2D(IMAGE, np.ones((4, 2, 3, 3))), r"same number c of channels"),
    (lambda: ops.Conv2D(IMAGE[0], KERNEL), r"images of shape \(3, 5, 5\)"),
    (lambda: ops.Conv2D(IMAGE, KERNEL[0]), r"kernels of shape \(3, 3, 3\)"),
    (lambda: ops.Conv2D(IMAGE[:, :, :2], KERNEL), r"3 x 3 does not fit into the last two axes of \(2, 3, 2, 5\)"),
    (lambda: ops.Conv2D(IMAGE, KERNEL[:, :, :, :0]), r"an integer >= 1 .* got \(3, 0\)"),
    (lambda: ops.Conv2D(IMAGE, KERNEL, stride=0), r"an integer >= 1 or a pair of them, got 0$"),
    (lambda: ops.Conv2D(IMAGE, KERNEL, stride=(1, 2, 3)), r"got \(1, 2, 3\)"),
    (lambda: ops.Conv2D(IMAGE, KERNEL, padding=-1), r"an integer >= 0 .* got -1$"),
    (lambda: ops.Conv2D(IMAGE, KERNEL, padding=1.5), r"an integer >= 0 .* got 1.5$"),
    (lambda: ops.Conv2D(IMAGE, KERNEL, padding="full"), r"an integer >= 0 .* got 'full'$"),
    (lambda: ops.Conv2D(IMAGE, KERNEL, groups=2), r"in 2 groups: .* \(o, c / 2, .* c and o multiples of 2$"),
    (lambda: ops.Conv2D(IMAGE, KERNEL[:, :1], groups=3), r"in 3 groups: .* multiples of 3$"),
    (lambda: ops.Conv2D(IMAGE, KERNEL, groups=0), r"groups is an integer >= 1, not 0"),
    (lambda: ops.Conv2D(IMAGE, KERNEL, dilation=3), r"a window of 7 x 7 does not fit"),
    (lambda: ops.ConvTranspose2D(IMAGE, KERNEL, shape=(7, 7)), r"images of \(7, 7\): give \(n, o, 5, 5\)"),
    (lambda: ops.ConvKernels2D(IMAGE, IMAGE, shape=(3, 3)), r"give .* \(n, o, 3, 3\)"),
    (lambda: ops.MaxPool2D(IMAGE, size=2, padding=2), r"lets windows of 2 see nothing"),
    (lambda: ops.AveragePool2D(IMAGE, size=(1, 2), padding=1), r"lets windows of \(1, 2\) see nothing"),
    (lambda: ops.MaxPool2D(IMAGE, size=6), r"6 x 6 does not fit"),
    (lambda: ops.MaxPool2D(IMAGE[0, 0, 0], size=2), r"2 x 2 does not fit into the last two axes of \(5,\)"),
    (lambda: ops.MaxPool2D(IMAGE, size=0), r"MaxPool2D.*, got 0$"),
    (lambda: ops.MaxPool2D(IMAGE, size=2, stride=(1, 0)), r"got \(1, 0\)$"),
    (lambda: ops.Windows(IMAGE, shape=(6, 1), stride=(1, 1)), r"6 x 1 does not fit"),
    (lambda: ops.Windows(IMAGE, shape=(2, 2), stride=(0, 1)), r"got \(0, 1\)$"),
    (lambda: ops.FoldWindows(np.ones((2, 2, 3, 3)), shape=(5, 5), stride=(1, 1)), r"do not make an image of \(5, 5\)"),
    (lambda: ops.FoldWindows(np.ones((2, 2, 3, 3)), shape=(1, 4, 4), stride=(1, 1)), r"do not make an image"),
    (lambda: ops.Pad(IMAGE, width=((1, 1),)), r"two counts for each of 4 axes"),
])
def test_what_does_not_fit_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert re.fullmatch(r"\w+\([^\n]*\): [^\n]+", str(caught.value))
