"""Reductions, accumulations, ordering and statistics: ties, singular points, options, refusals; exactness and cost."""

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import ops
from tinygraph.ops.accumulation import _BLOCK


def summed(f: Any, x: Any, **options: Any) -> Any:
    return tg.grad(lambda x: np.sum(f(x, **options)))(np.array(x, float))


def equal(actual: Any, expected: Any) -> None:
    np.testing.assert_array_equal(actual, np.array(expected, float), strict=True)


# ------------------------------------------------------------------------------------------------------- zeros, ties

@pytest.mark.parametrize(("x", "first"), [([2, 0, 3], [0, 6, 0]), ([0, 0, 3], [0, 0, 0]), ([2, 5, 3], [15, 6, 10]),
                                          ([0], [1]), ([], [])])
def test_a_product_is_differentiated_without_a_division(x, first):
    equal(tg.grad(np.prod)(np.array(x, float)), first)
    equal(summed(np.prod, [x, x], axis=1), [first, first])


def test_second_and_third_derivatives_of_products_with_zeros():
    x = np.array([2.0, 0.0, 3.0])
    equal(tg.hessian(np.prod)(x), [[0, 3, 0], [3, 0, 2], [0, 2, 0]])
    third = tg.jacobian(tg.hessian(np.prod))(np.zeros(3))
    equal(third, [[[float(len({i, j, k}) == 3) for k in range(3)] for j in range(3)] for i in range(3)])
    equal(summed(np.cumprod, x), [1, 8, 0])
    equal(tg.hessian(lambda x: np.sum(np.cumprod(x)))(x), [[0, 4, 0], [4, 0, 2], [0, 2, 0]])
    equal(tg.hessian(lambda x: np.sum(np.cumprod(x)))(np.zeros(3)), [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_tiny_and_huge_factors_neither_vanish_nor_overflow():
    equal(tg.grad(np.prod)(np.array([1e-200, 1e-200, 1e300])), [1e-200 * 1e300, 1e-200 * 1e300, 0])


@pytest.mark.parametrize(("x", "expected"), [
    ([1, 1, 0], [2, 1, 0]), ([1, 1, 1], [11 / 6, 5 / 6, 1 / 3]), ([0, 1, 1, 0, 2, 1], [1, 2, 1, 0, 2, 0]), ([3], [1])])
def test_the_largest_so_far(x, expected):
    expected = np.array(expected, float)
    for ufunc, sign in ((np.maximum, 1), (np.minimum, -1)):
        np.testing.assert_allclose(summed(ufunc.accumulate, sign * np.array(x)), expected, rtol=0, atol=1e-15)
        both = np.stack([x, x], 1) * sign
        np.testing.assert_allclose(summed(ufunc.accumulate, both), np.stack([expected] * 2, 1), rtol=0, atol=1e-15)


def test_accumulated_logaddexp_at_infinity():
    def f(x: Any) -> Any:
        return np.logaddexp.accumulate(x)[-1]

    for x, expected in [([np.inf, 0], [1, 0]), ([-np.inf, 0], [0, 1]), ([-np.inf, -np.inf], [0, 0]),
                        ([1e4, 1e4], [0.5, 0.5]), ([-1e4, 1e4], [0, 1])]:
        np.testing.assert_allclose(tg.grad(f)(np.array(x, float)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("f", [np.max, np.amax, np.nanmax])
def test_an_initial_value_is_one_more_entry(f):
    equal(summed(f, [1, 3, 3], initial=3.0), [0, 1 / 3, 1 / 3])
    equal(summed(f, [1, 3, 3], initial=9.0), [0, 0, 0])
    equal(summed(f, [[1, 3], [3, 2]], axis=1, initial=3.0, where=np.array([[True, True], [False, True]])),
          [[0, 1 / 2], [0, 0]])
    start = tg.grad(lambda start: f(tg.constant(np.array([1.0, 3.0])), initial=start))(3.0)
    assert start == 0.5


# ------------------------------------------------------------------------------------------------------ masks and NaN

MASK = np.array([True, False, True])


@pytest.mark.parametrize(("f", "expected"), [(np.sum, [1, 0, 1]), (np.mean, [0.5, 0, 0.5]), (np.prod, [4, 0, 1]),
                                             (np.var, [-1.5, 0, 1.5]), (np.std, [-0.5, 0, 0.5])])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 7.0])
def test_what_a_mask_leaves_out_does_not_leak(f, expected, bad):
    x = np.array([1.0, bad, 4.0])
    with np.errstate(invalid="ignore"):
        for mask in (MASK, MASK.tolist(), tg.constant(MASK)):
            value, grad = tg.value_and_grad(lambda x, mask=mask: f(x, where=mask))(x)
            np.testing.assert_allclose(value, f(x[[0, 2]]), rtol=1e-15)
            np.testing.assert_allclose(grad, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("f", "plain"), [
    (np.nansum, np.sum), (np.nanprod, np.prod), (np.nanmean, np.mean), (np.nanvar, np.var), (np.nanstd, np.std),
    (np.nanmax, np.max), (np.nanmin, np.min), (np.nanmedian, np.median),
    (lambda x: np.nanquantile(x, 0.3), lambda x: np.quantile(x, 0.3))])
def test_without_nan_it_is_as_if_they_were_not_there(f, plain):
    x = np.array([np.nan, 3.0, 1.0, np.nan, 2.0, -4.0])
    there = ~np.isnan(x)
    for order in (tg.value_and_grad, lambda f: tg.value_and_grad(lambda x: np.sum(tg.grad(f)(x) ** 2 * x**2,
                                                                                where=~np.isnan(x)))):
        value, grad = order(f)(x)
        expected, expected_grad = order(plain)(x[there])
        np.testing.assert_allclose(value, expected, rtol=1e-14)
        np.testing.assert_allclose(grad[there], expected_grad, rtol=1e-13, atol=1e-13)
        equal(grad[~there], [0, 0])


def test_a_mask_that_does_not_fit_is_refused():
    for f in (np.sum, np.prod, np.mean, np.var, np.std):
        with pytest.raises(ValueError, match="dimension"):
            f(tg.constant(np.ones(3)), where=np.ones((2, 3), bool))
        with pytest.raises(ValueError, match="broadcast"):
            f(tg.constant(np.ones(3)), where=np.ones(2, bool))
    with pytest.raises(ValueError, match="initial"):
        np.max(tg.constant(np.ones(3)), where=MASK)


@pytest.mark.parametrize("x", [[2, 2, 2], [0.1] * 7, [7], [1e150, 1e150]])
def test_the_deviation_of_a_constant_array_has_gradient_zero(x):
    """Also where rounding makes it a little more than 0."""
    equal(tg.grad(np.std)(np.array(x, float)), np.zeros(len(x)))
    equal(tg.grad(lambda x: np.std(x, where=np.arange(len(x)) > 0))(np.array([np.nan, *x])), np.zeros(len(x) + 1))
    equal(tg.grad(np.nanstd)(np.array([np.nan, *x])), np.zeros(len(x) + 1))
    equal(summed(np.std, [x, x], axis=1), np.zeros((2, len(x))))
    equal(tg.grad(np.std)(np.full(3, 0.1, np.float32)).astype(float), np.zeros(3))
    equal(np.sign(tg.grad(np.std)(np.array([*x, 0.0]))), [*[1] * len(x), -1])


def test_options_that_exclude_each_other():
    with pytest.raises(ValueError, match="ddof and correction"):
        np.var(tg.constant(np.ones(3)), ddof=1, correction=1)
    with pytest.raises(TypeError, match="out="):
        np.std(tg.constant(np.ones(3)), out=np.zeros(()))


# ------------------------------------------------------------------------------------------------------------ ordering

TIED = np.array([2.0, 1.0, 2.0, 1.0, 2.0])
WEIGHTS = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0])
STABLE = np.argsort(np.argsort(TIED, kind="stable"))


def test_sorted_entries_come_from_where_a_stable_sort_takes_them():
    equal(tg.grad(lambda x: np.sum(np.sort(x) * WEIGHTS))(TIED), WEIGHTS[STABLE])
    equal(tg.grad(lambda x: np.sum(x[np.argsort(x)] * WEIGHTS))(TIED), WEIGHTS[STABLE])
    for k in range(5):
        for f in (lambda x, k=k: np.partition(x, k)[k], lambda x, k=k: np.quantile(x, k / 4)):
            equal(tg.grad(f)(TIED), k == STABLE)
        equal(tg.grad(lambda x, k=k: np.nanquantile(x, k / 4))(np.array([np.nan, *TIED])), [False, *(k == STABLE)])
    every = np.tile(TIED, (3, 1)).T
    equal(tg.grad(lambda x: np.sum(np.sort(x, axis=0) * WEIGHTS[:, None]))(every), np.tile(WEIGHTS[STABLE], (3, 1)).T)


def test_medians():
    equal(tg.grad(np.median)(np.array([1.0, 2.0, 3.0, 4.0])), [0, 0.5, 0.5, 0])
    equal(tg.grad(np.median)(np.array([4.0, 2.0, 3.0])), [0, 0, 1])
    equal(tg.grad(np.median)(np.ones(4)), [0, 0.5, 0.5, 0])
    equal(tg.grad(np.nanmedian)(np.array([4.0, np.nan, 2.0, 3.0, np.nan])), [0, 0, 0, 1, 0])
    assert np.isnan(np.median(tg.constant(np.array([1.0, np.nan, 2.0]))).value)
    assert np.isnan(np.quantile(tg.constant(np.array([1.0, np.nan, 2.0])), 0.1).value)
    assert np.median(tg.constant(np.array([1.0, np.inf]))).value == np.inf
    with pytest.warns(RuntimeWarning):
        assert np.isnan(np.median(tg.constant(np.zeros(0))).value)
    assert np.median(tg.constant(np.array([1, 2, 4, 8]))).value == 3


def test_a_quantile_is_differentiated_by_q():
    x = np.array([5.0, 1.0, 2.0])
    assert tg.grad(lambda q: np.quantile(tg.constant(x), q))(0.7) == pytest.approx(2 * 3)
    assert tg.grad(lambda q: np.percentile(x, q))(20.0) == pytest.approx(2 / 100)
    with pytest.raises(ValueError, match="range from 0 to 100"):
        np.percentile(tg.constant(x), 101)
    with pytest.raises(ValueError, match="none of linear, "):
        np.quantile(tg.constant(x), 0.5, method="best")
    with pytest.raises(NotImplementedError, match="weights="):
        np.quantile(tg.constant(x), 0.5, weights=x, method="inverted_cdf")


def test_unique_values_are_the_first_that_have_them():
    x = np.array([3.0, 1.0, 3.0, 1.0])
    values, index, inverse, counts = np.unique(tg.constant(x), True, True, True)
    assert isinstance(values, tg.Node)
    for plain, expected in zip((index, inverse, counts), np.unique(x, True, True, True)[1:], strict=True):
        np.testing.assert_array_equal(plain, expected, strict=True)
    equal(tg.grad(lambda x: np.sum(np.unique(x) * [1.0, 10.0]))(x), [10, 1, 0, 0])


# ----------------------------------------------------------------------------------------------------------- questions

def test_questions_are_answered_in_plain_numbers_and_traced_where_values_are_not_known():
    x = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    for f in (lambda x: np.argmax(x, axis=1), lambda x: np.argmin(x), lambda x: np.any(x, axis=0), lambda x: x.all(),
              lambda x: np.all(x != 5, where=x > 0), np.count_nonzero,
              lambda x: np.argsort(x, axis=None, kind="stable"),
              lambda x: x.argmax(axis=0), lambda x: np.any(x > 2, where=[True, False, True]),
              lambda x: np.searchsorted([0.0, 1.0, 2.0], x), lambda x: np.nanargmin(x, axis=1)):
        expected = f(x)
        answer = f(tg.constant(x))
        assert not isinstance(answer, tg.Node)
        np.testing.assert_array_equal(answer, expected)
        compiled = tg.compile(lambda x, f=f: f(x) + 0, target="numpy")(x)
        np.testing.assert_array_equal(compiled, np.asarray(expected) + 0)


def test_counting_with_weights():
    w = np.array([1.0, 2.0, 3.0])
    assert isinstance(np.bincount([0, 2, 2], tg.constant(w)), tg.Node)
    equal(tg.grad(lambda w: np.bincount([0, 2, 2], w)[2])(w), [0, 1, 1])
    with pytest.raises(ValueError, match="same length"):
        np.bincount([0, 1], tg.constant(w))
    with pytest.raises(ValueError, match="negative"):
        np.bincount([0, -1, 1], tg.constant(w))
    with pytest.raises(NotImplementedError, match="weights="):
        np.histogram2d(w, w, weights=tg.constant(w))
    x = np.array([0.0, 0.5, 1.0, 3.0, -1.0])
    for bins, bounds in [(3, None), ([0.0, 0.5, 1.0], None), (4, (0.0, 1.0))]:
        for density in (False, True):
            found, edges = np.histogram(x, bins, bounds, density, tg.constant(x + 2))
            expected = np.histogram(x, bins, bounds, density, x + 2)
            np.testing.assert_allclose(found.value, expected[0], rtol=1e-15)
            np.testing.assert_array_equal(edges, expected[1])


def test_averages_and_covariances_refuse_what_makes_no_sense():
    x = tg.constant(np.ones((2, 3)))
    with pytest.raises(ZeroDivisionError):
        np.average(x, weights=np.zeros((2, 3)))
    with pytest.raises(TypeError, match="Axis must be specified"):
        np.average(x, weights=np.ones(3))
    with pytest.raises(ValueError, match="Shape of weights"):
        np.average(x, axis=0, weights=np.ones(3))
    with pytest.raises(ValueError, match="one number for each observation"):
        np.cov(x, aweights=np.ones(2))
    with pytest.raises(ValueError, match="two"):
        np.cov(tg.constant(np.ones((1, 2, 3))))


def test_correlations_stay_within_1_and_have_their_derivative_there():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 50)) * rng.uniform(1, 9, (20, 1))
    value = np.corrcoef(tg.constant(x)).value
    assert np.abs(value).max() == 1
    np.testing.assert_allclose(value, np.corrcoef(x), rtol=1e-14)
    x, y = np.array([2.0, 4.0, 6.0]), np.array([-1.0, 0.0, 1.0])
    second = tg.hessian(lambda x: np.corrcoef(x, y)[0, 1])(x)
    assert np.corrcoef(x, y)[0, 1] == 1
    np.testing.assert_allclose(second, tg.hessian(lambda x: x @ y / np.sqrt(3 * np.var(x) * (y @ y)))(x), atol=1e-14)


# ------------------------------------------------------------------------------------------------- long accumulations

@pytest.mark.parametrize("shape", [(3 * _BLOCK + 5,), (_BLOCK**2 + 1,), (3, 5 * _BLOCK), (600, 3 * _BLOCK)])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_recurrence_is_done_in_blocks(shape, reverse):
    rng = np.random.default_rng(0)
    a, b = rng.choice([0.0, 0.9, -1.0, 1.05], shape), rng.normal(size=shape)
    expected = np.zeros(shape)
    for i in range(shape[-1]):
        j, before = (-1 - i, -i) if reverse else (i, i - 1)
        expected[..., j] = b[..., j] + (a[..., j] * expected[..., before] if i else 0)
    np.testing.assert_allclose(ops.Recurrence.apply(a, b, reverse=reverse), expected, rtol=1e-9, atol=1e-9)


def test_factors_that_overflow_do_not_touch_what_is_zero():
    a, b = np.full(1000, 1e10), np.zeros(1000)
    equal(ops.Recurrence.apply(a, b), b)
    b[900] = 1.0
    with np.errstate(over="ignore"):
        y = ops.Recurrence.apply(a, b)
    assert y[:900].max() == 0
    assert y[910] == pytest.approx(1e100)


def test_a_recurrence_of_different_shapes_is_refused():
    with pytest.raises(ValueError, match="one shape"):
        ops.Recurrence(np.ones(3), tg.constant(np.ones(2)))
