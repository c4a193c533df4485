"""Indexing, updates at an index, lists of nodes, and what joins and interpolates: kinks, ties, types and errors."""

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import ops


def same(actual: Any, expected: Any) -> None:
    np.testing.assert_array_equal(actual.value if isinstance(actual, tg.Node) else actual, expected, strict=True)


def both_modes(f: Any, x: Any) -> Any:
    """The derivative of f at a number, by reverse mode; asserts that forward mode says the same."""
    slope = tg.grad(f)(x)
    assert tg.jvp(f, [x], [1.0])[1] == slope
    return slope


# ------------------------------------------------------------------------------------------------------------ indexing

X = np.arange(24.0).reshape(2, 3, 4)
INDICES = {
    "integer": 1,
    "negative": -1,
    "NumPy integer": np.int8(1),
    "slice": np.s_[1:],
    "steps": np.s_[:, ::-2],
    "None": None,
    "ellipsis": np.s_[..., 1],
    "None and ellipsis": np.s_[None, ..., None, 0],
    "empty tuple": (),
    "list": [1, 0, 1],
    "list of lists": [[0, 1], [1, 0]],
    "empty list": [],
    "nested empty list": [[]],
    "tuple in a tuple": ((0, 1),),
    "list in a tuple": ([1, 0], slice(1)),
    "list of booleans": [True, False],
    "booleans beside": np.s_[:, [True, False, True]],
    "True": True,
    "False": False,
    "scalar booleans": np.s_[True, None, 1],
    "mask": X > 11,
    "mask of rows": X[:, :, 0] > 5,
    "mask and slice": (X[:, 0, 0] > 5, slice(None), 1),
    "arrays": (np.array([[0], [1]]), np.array([2, 0])),
    "separated": np.s_[[0, 1], :, [1, 3]],
    "with an integer": np.s_[0, :, [1, 3]],
    "open mesh": np.ix_([1, 0], [2], [0, 3]),
    "unsigned": np.array([1, 1], np.uint8),
    "0-d array": np.array(1),
    "repeated": np.array([0, 0, 1]),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_every_index_of_numpy(index):
    x = tg.Parameter(X)
    same(x[index], X[index])
    expected = np.zeros_like(X)
    np.add.at(expected, index, 2.0)
    same(tg.backprop(np.sum(2.0 * x[index]), wrt=x), expected)


def test_nodes_as_indices():
    x, i = tg.Parameter(X), tg.constant([1, 0, 1])
    same(x[i], X[[1, 0, 1]])
    same(x[i, i, 0], X[[1, 0, 1], [1, 0, 1], 0])
    same(x[x > 3], X[X > 3])
    same(x[np.argmax(x[:, 0, 0])], X[1])
    same(np.take(x, i, axis=1), X[:, [1, 0, 1]])
    with pytest.raises(IndexError, match="arrays used as indices must be of integer"):
        x[tg.constant([0.0])]
    with pytest.raises(IndexError, match="out of bounds"):
        x[5]
    with pytest.raises(IndexError, match="too many indices"):
        x[0, 0, 0, 0]


def test_reading_in_a_loop_is_linear():
    """One array of the gradient for all entries that are read."""
    x = tg.Parameter(np.ones(5000))
    total = 0.0
    for i in range(5000):
        total = total + x[i] * i
    same(tg.backprop(total, wrt=x), np.arange(5000.0))


@pytest.mark.parametrize(("mode", "indices"), [("raise", [0, -1]), ("wrap", [7, -4]), ("clip", [9, -2])])
def test_modes_of_take(mode, indices):
    x = np.array([1.0, 2.0, 3.0])
    same(np.take(tg.constant(x), indices, mode=mode), np.take(x, indices, mode=mode))


# ------------------------------------------------------------------------------------------------------------- updates

def test_updates():
    x = tg.constant(np.zeros(3))
    same(x.at[1].set(5.0), [0.0, 5.0, 0.0])
    same(x.at[[0, 0, 2]].add(1.0), [2.0, 0.0, 1.0])
    same(x.at[[0, 0, 2]].subtract([1.0, 2.0, 3.0]), [-3.0, 0.0, -3.0])
    ones = x + 1
    same(ones.at[[0, 0, 2]].multiply([2.0, 3.0, 4.0]), [6.0, 1.0, 4.0])
    same(ones.at[[0, 0, 2]].divide([2.0, 4.0, 4.0]), [0.125, 1.0, 0.25])
    same((ones + 1).at[[0, 0]].power([2.0, 3.0]), [64.0, 2.0, 2.0])
    same(x.at[[0, 0, 2]].max([1.0, 3.0, -1.0]), [3.0, 0.0, 0.0])
    same(x.at[1:].min([-1.0, 3.0]), [0.0, -1.0, 0.0])
    same(x.at[x == 0].set([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0])
    same(x, np.zeros(3))
    assert "at of constant (3,) float64" in repr(x.at)


def test_of_values_set_to_one_place_the_last_wins_and_gets_the_gradient():
    weights = np.array([1.0, 10.0, 100.0])
    x, v = tg.Parameter(np.zeros(3)), tg.Parameter(np.array([1.0, 2.0, 3.0, 4.0]))
    y = x.at[[0, 2, 0, 0]].set(v)
    same(y, [4.0, 0.0, 2.0])
    gx, gv = tg.backprop(np.sum(y * weights), wrt=[x, v])
    same(gx, [0.0, 10.0, 0.0])
    same(gv, [0.0, 100.0, 0.0, 1.0])


@pytest.mark.parametrize("layout", [np.copy, np.asfortranarray, lambda a: a[::-1, ::-1].copy()[::-1, ::-1]],
                         ids=["C", "F", "backwards"])
def test_the_order_in_memory_does_not_matter_to_who_is_last(layout):
    i, v = np.array([[0, 1, 0], [1, 0, 1]]), np.arange(6.0).reshape(2, 3)
    x = tg.Parameter(layout(v))
    y = tg.constant(np.zeros(2)).at[layout(i)].set(x)
    same(y, [4.0, 5.0])
    same(tg.backprop(np.sum(y), wrt=x), [[0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    column = tg.Parameter(np.array([[1.0], [2.0]]))
    y = tg.constant(np.zeros(2)).at[layout(i)].set(column)
    same(y, [2.0, 2.0])
    same(tg.backprop(np.sum(y), wrt=column), [[0.0], [2.0]])


def test_ties_of_max_and_min_at_an_index_are_shared():
    x, v = tg.Parameter(np.array([1.0, 5.0])), tg.Parameter(np.array([1.0, 1.0, 5.0]))
    for y in (x.at[[0, 0, 1]].max(v), x.at[[0, 0, 1]].min(v)):
        gx, gv = tg.backprop(np.sum(y), wrt=[x, v])
        np.testing.assert_allclose(gx, [1 / 3, 1 / 2], rtol=1e-15)
        np.testing.assert_allclose(gv, [1 / 3, 1 / 3, 1 / 2], rtol=1e-15)


def test_a_product_of_repeated_indices_at_0():
    """Each factor gets the product of the others."""
    v = tg.Parameter(np.array([2.0, 0.0, 3.0]))
    y = tg.constant(np.ones(1)).at[[0, 0, 0]].multiply(v)
    same(tg.backprop(np.sum(y), wrt=v), [0.0, 6.0, 0.0])


def test_what_was_written_over_leaks_no_nan():
    x = np.array([0.0, 4.0])
    same(tg.grad(lambda x: np.sum(np.sqrt(x).at[0].set(1.0)))(x), [0.0, 0.25])
    same(tg.grad(lambda x: np.sum(np.sqrt(x).at[[0]].max(7.0)))(x), [0.0, 0.25])


def test_updates_keep_the_dtype():
    x = tg.Parameter(np.ones(3, np.float32))
    for y in (x.at[0].set(2.0), x.at[0].add(np.float64(2)), x.at[0].multiply(np.ones(())), x.at[0].max(np.ones(()))):
        assert y.dtype == np.float32
    v = tg.Parameter(2.0)
    gx, gv = tg.backprop(np.sum(x.at[0].set(v)), wrt=[x, v])
    assert (gx.dtype, gv.dtype) == (np.float32, np.float64)
    with pytest.raises(TypeError, match=r"constant \(2,\) int64 cannot take values of dtype float64"):
        tg.constant([1, 2]).at[0].set(v)
    with pytest.raises(TypeError, match="cannot take values of dtype complex128"):
        x.at[0].add(1j)


def test_wrong_shapes_of_updates_are_named():
    with pytest.raises(ValueError, match="SetAt"):
        tg.constant(np.zeros(3)).at[:2].set(np.ones(3))
    with pytest.raises(IndexError, match="out of bounds"):
        tg.constant(np.zeros(3)).at[3].add(1.0)


def test_updates_in_compiled_code():
    def f(x, v, i):
        return np.sum(x.at[i].set(v) ** 2 + x.at[i].add(v) * x.at[i].max(v) + x.at[1].multiply(v[0]))

    x, v = np.array([1.0, 2.0, 3.0]), np.array([4.0, -5.0])
    for i in (np.array([0, 2]), np.array([0, 0])):
        compiled = tg.compile(lambda x, v, i: tg.grad(f, (0, 1))(x, v, i))
        for a, b in zip(compiled(x, v, i), tg.grad(f, (0, 1))(x, v, i), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


# ------------------------------------------------------------------------------------------------------------ tg.array

def test_array_of_nodes_and_numbers():
    x = tg.Parameter(3.0)
    y = tg.array([[x, 1.0], [2, x * x]])
    same(y, [[3.0, 1.0], [2.0, 9.0]])
    same(tg.backprop(np.sum(y), wrt=x), np.array(7.0))
    same(tg.array([tg.constant([1.0, 2.0]), [3.0, x]]), [[1.0, 2.0], [3.0, 3.0]])
    same(tg.array((x, x), np.float32), np.array([3.0, 3.0], np.float32))
    assert tg.array(x) is x
    same(tg.array([1, 2]), np.array([1, 2]))
    same(tg.array([np.ones(2), np.zeros(2)]), [[1.0, 1.0], [0.0, 0.0]])
    same(tg.array([[[x]]]), [[[3.0]]])
    assert tg.grad(lambda t: np.sum(tg.array([t, t * t, 1.0])))(2.0) == 5.0


def test_python_numbers_are_weak_in_array():
    x = tg.constant(np.float32(2))
    assert tg.array([x, 1.5]).dtype == np.float32
    assert tg.array([[x, 1], [2.5, 3]]).dtype == np.float32
    assert tg.array([x, np.float64(1)]).dtype == np.float64
    assert tg.array([x, 1j]).dtype == np.complex64


def test_wrong_lists_are_named():
    x = tg.Parameter(3.0)
    with pytest.raises(ValueError, match=r"entries of a list have shapes \(\), \(2,\)"):
        tg.array([x, [x, x]])
    with pytest.raises(TypeError, match=r"would be cast to int64: write node\.astype"):
        tg.array([x, x], dtype=int)


# ------------------------------------------------------------------------------------------------------- interpolation

PEAK = [0.0, 1.0, 2.0, 4.0], [0.0, 2.0, 1.0, 3.0]


@pytest.mark.parametrize(("x", "slope"), [
    (0.5, 2.0), (1.5, -1.0), (3.0, 1.0), (-1.0, 0.0), (5.0, 0.0),
    (1.0, 0.0), (2.0, 0.0),                       # a peak, a valley
    (0.0, 0.0), (4.0, 0.0),                       # where the constant ends
])
def test_slopes_of_interp(x, slope):
    assert both_modes(lambda x: np.interp(x, *PEAK), x) == slope


def test_at_a_bend_the_less_steep_slope_wins():
    for fp, slope in [([0.0, 1.0, 3.0], 1.0), ([0.0, 3.0, 4.0], 1.0), ([3.0, 1.0, 0.0], -1.0)]:
        assert both_modes(lambda x, fp=fp: np.interp(x, [0.0, 1.0, 2.0], fp), 1.0) == slope
        gx, gxp, gfp = tg.grad(np.interp, (0, 1, 2))(np.array(1.0), np.array([0.0, 1.0, 2.0]), np.array(fp))
        same(gx, np.array(slope))
        same(gxp, [0.0, -slope, 0.0])
        same(gfp, [0.0, 1.0, 0.0])


def test_interp_beyond_its_ends_is_left_and_right():
    x = tg.constant([-1.0, 1.0, 7.0])
    assert tg.grad(lambda left: np.sum(np.interp(x, *PEAK, left=left, right=2 * left)))(3.0) == 3.0
    with pytest.raises(TypeError, match="write node"):  # which NumPy does not ask for a counterpart
        np.interp(x.value, *PEAK, left=tg.constant(1.0))
    assert np.isnan(np.interp(tg.constant(np.nan), *PEAK).value)


def test_interp_with_a_period():
    x, xp = np.array([-170.0, 200.0, 30.0, 365.0]), np.array([190.0, -190.0, 350.0, -350.0])
    fp = np.array([5.0, 10.0, 3.0, 4.0])
    same(np.interp(tg.constant(x), xp, fp, period=360), np.interp(x, xp, fp, period=360))
    inside = tg.grad(lambda x: np.sum(np.interp(x, xp, fp, period=360)))(x)
    h = 1e-3
    slopes = (np.interp(x + h, xp, fp, period=360) - np.interp(x - h, xp, fp, period=360)) / (2 * h)
    np.testing.assert_allclose(inside[1:], slopes[1:], atol=1e-9)


# ------------------------------------------------------------------------------------------------------------ choosing

def test_a_piece_that_does_not_hold_is_not_computed():
    """As in NumPy, a function gets the entries of its piece alone."""
    x = np.array([-1.0, 0.0, 4.0])
    def f(x):
        return np.piecewise(x, [x < 0, x > 0], [lambda x: -x, np.sqrt, 1.0])

    same(f(tg.constant(x)), f(x))
    same(tg.grad(lambda x: np.sum(f(x)))(x), [-1.0, 0.0, 0.25])
    same(np.piecewise(tg.constant(x), x < 0, [1.0]), [1.0, 0.0, 0.0])


def test_select_takes_the_first_that_holds_and_leaks_nothing():
    f = tg.grad(lambda x: np.sum(np.select([x > 1, x > 0], [np.log(x), np.sqrt(x)], 0.5 * x)))
    with np.errstate(all="ignore"):
        same(f(np.array([2.0, 0.25, 0.0, -1.0])), [0.5, 1.0, 0.5, 0.5])
    assert np.select([np.array([True])], [tg.constant(np.ones(1, np.float32))]).dtype == np.float32


def test_where_with_one_argument_is_a_question():
    (places,) = np.where(tg.constant([0.0, 2.0]))
    same(places, np.array([1]))


@pytest.mark.parametrize("call", [
    np.union1d, np.intersect1d, np.setdiff1d, np.setxor1d, lambda x, y: np.setdiff1d(x, y, True),
    lambda x, y: np.intersect1d(x, y, return_indices=True)[0], lambda x, y: np.intersect1d(x[1:], y[1:], True),
    lambda x, y: np.setxor1d(x[1:], y[1:], True),
], ids=["union", "intersection", "difference", "either", "unique difference", "indices", "unique intersection",
        "unique either"])
def test_sets(call):
    """The gradient goes to the first entry that has the value."""
    x, y = np.array([3.0, 1.0, 3.0, 2.0]), np.array([2.0, 5.0, 3.0])
    p, q = tg.Parameter(x), tg.Parameter(y)
    found = call(p, q)
    same(found, call(x, y))
    gx, gy = tg.backprop(np.sum(found * found), wrt=[p, q])
    assert np.all((gx == 2 * x) | (gx == 0))
    assert np.all((gy == 2 * y) | (gy == 0))
    assert np.sum(gx * x) + np.sum(gy * y) == 2 * np.sum(found.value ** 2)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda x: np.reshape(x, (2, 2)), ValueError, "Reshape"),
    (lambda x: np.concatenate([x, x[:, None]]), ValueError, "Concatenate"),
    (lambda x: np.stack([x, x[:2]]), ValueError, "Stack"),
    (lambda x: np.pad(x, 1, mode="empty"), NotImplementedError, "pad with 'empty'"),
    (lambda x: np.pad(x, 1, mode="edge", constant_values=1), ValueError, "takes no constant_values="),
    (lambda x: np.pad(x, -1), ValueError, "negative"),
    (lambda x: np.pad(x, 1.0), TypeError, "integers"),
    (lambda x: np.split(x, 2), ValueError, "equal parts"),
    (lambda x: np.cross(x[:2], x[:2]), ValueError, "3 entries"),
    (lambda x: np.tensordot(x, x[:2], 1), ValueError, "shape-mismatch"),
    (lambda x: np.einsum("i,i", x, x[:2]), ValueError, "different lengths"),
    (lambda x: np.einsum("i,i", x, x, order="F"), NotImplementedError, "order="),
    (lambda x: np.take(x, 0, mode="other"), ValueError, "np.take takes mode="),
    (lambda x: np.take(x, 0, out=np.zeros(())), TypeError, "out="),
    (lambda x: np.ravel(x, "K"), NotImplementedError, "lies in memory"),
    (lambda x: np.select([np.array([1, 0, 1])], [x]), TypeError, "boolean"),
    (lambda x: np.convolve(x, x, "other"), ValueError, "mode="),
    (lambda x: np.diagonal(x), ValueError, "two axes"),
    (lambda x: np.block([[x], []]), ValueError, "np.block"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_mistakes_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(tg.constant([1.0, 2.0, 3.0]))


def test_odd_reflections_are_numpys_for_every_width():
    rng = np.random.default_rng(0)
    for mode in ("reflect", "symmetric"):
        for n in range(1, 5):
            x = rng.normal(size=n)
            for width in [(0, 9), (7, 3), (1, 1), (12, 0)]:
                np.testing.assert_allclose(np.pad(tg.constant(x), width, mode, reflect_type="odd").value,
                                           np.pad(x, width, mode, reflect_type="odd"), atol=1e-12)


def test_transformations_of_axes_are_plain_moves():
    """Of the same entries: no arithmetic, so that infinities and signs of zero survive."""
    x = np.array([[np.inf, -0.0], [np.nan, 1.0]])
    for f in (np.flip, np.rot90, np.fliplr, lambda x: np.roll(x, 1), lambda x: np.tile(x, 2),
              lambda x: np.repeat(x, 2, 0), lambda x: np.pad(x, 1, "wrap"),
              lambda x: np.pad(x, 1, constant_values=np.inf), lambda x: np.resize(x, 7),
              lambda x: np.insert(x, 1, np.nan, 0), lambda x: np.tril(x), np.diag):
        expected = f(x)
        found = f(tg.constant(x)).value
        same(found, expected)
        same(np.signbit(found), np.signbit(expected))


def test_ops_of_this_family_say_what_they_are():
    assert [ops.SetAt.selecting, ops.AddAt.selecting] == [True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(300,), (20, 30)])
def test_many_rows_add_up_as_few_do(shape, dtype):
    rng = np.random.default_rng(0)
    x = tg.Parameter(np.zeros((7, 2, 3), dtype))
    ids = rng.integers(-7, 7, size=shape)
    weights = rng.normal(size=(*shape, 2, 3)).astype(dtype)
    (x[ids] * weights).sum().backprop()
    expected = np.zeros((7, 2, 3))
    np.add.at(expected, ids, weights.astype(float))
    np.testing.assert_allclose(x.grad, expected, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-5)
    assert x.grad.dtype == dtype
    with pytest.raises(IndexError):
        tg.ops.ScatterAdd(weights, np.full(shape, 7), shape=(7, 2, 3), index=x[ids].options["index"])
