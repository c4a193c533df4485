"""Cases of reductions, accumulations and ordering."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tinygraph import Op, ops

from .basic import REDUCED, reductions, row_by_row
from .registry import CASES, Case, Domain, add, add_random, anywhere, distinct, given, integral

Options = dict[str, Any]


def some_zeros(u: np.ndarray) -> np.ndarray:
    return np.where(u < 0.3, 0.0, anywhere(u))


def third_missing(u: np.ndarray) -> np.ndarray:
    """Every third entry along each axis is not there."""
    return np.add.reduce(np.indices(u.shape)) % 3 != 0


def orders(u: np.ndarray) -> np.ndarray:
    """A permutation of the places along the last axis."""
    return np.argsort(u, axis=-1) if u.ndim else np.zeros((), int)


def not_nan(row: list[Any]) -> list[Any]:
    return [x for x in row if not np.isnan(x)]


# --------------------------------------------------------------------------------------------------------- reductions

for op, fold, domain in [
    (ops.Prod, math.prod, some_zeros), (ops.NanMax, lambda row: max(row, key=np.real), distinct),
    (ops.NanMin, lambda row: min(row, key=np.real), distinct),
]:
    for shape, options in REDUCED:
        add(op, row_by_row(fold), (domain, shape), **options)
    add_random(op, reductions(op, row_by_row(fold), domain))
holes = given(np.array([[1.0, np.nan, 2.0], [np.nan, np.nan, 0.5]]))
add(ops.NanMax, row_by_row(lambda row: max(not_nan(row), key=np.real)), (holes, (2, 3)), axis=1, note="NaN")
add(ops.NanMin, row_by_row(lambda row: min(not_nan(row), key=np.real)), (holes, (2, 3)), axis=1, note="NaN")
add(ops.Prod, row_by_row(math.prod), (anywhere, (0, 3)), axis=0)


def variance(x: Any, where: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """The mean of squares less the square of the mean."""
    n = np.sum(where * np.ones(x.shape), axis=axis, keepdims=keepdims)
    squares, mean = (np.sum(where * x ** p, axis=axis, keepdims=keepdims) / n for p in (2, 1))
    return (squares - mean * mean) * n / (n - ddof)


def deviation(*args: Any, **options: Any) -> Any:
    return np.sqrt(variance(*args, **options))


SPREAD: list[tuple[tuple[int, ...], Options]] = [
    ((2, 3), {}), ((3, 3), {"axis": 0, "ddof": 1}), ((3, 3), {"axis": -1, "keepdims": True}), ((4,), {"ddof": 0.5}),
    ((2, 3, 2), {"axis": (0, -1)}),
]


@st.composite
def spreads(draw: Any, op: type[Op], reference: Callable[..., Any]) -> Case:
    where = draw(st.sampled_from([given(True), third_missing]))
    shape = (3,) * draw(st.integers(1, 3))
    axis = draw(st.none() | hnp.valid_tuple_axes(len(shape), min_size=1) | st.integers(-len(shape), len(shape) - 1))
    options = {"axis": axis, "keepdims": draw(st.booleans()), "ddof": draw(st.sampled_from([0, 1]))}
    return Case(op, reference, [(distinct, shape), (where, shape)], options, analytic=False)


for op, reference in [(ops.Var, variance), (ops.Std, deviation)]:
    for shape, options in SPREAD:
        add(op, reference, (distinct, shape), (given(True), ()), analytic=False, **options)
    add(op, reference, (distinct, (3, 3)), (third_missing, (3, 3)), analytic=False, axis=1)
    add(op, reference, (distinct, (2, 3)), (third_missing, (3,)), analytic=False, note="masked")
    add_random(op, spreads(op, reference))


# ------------------------------------------------------------------------------------------------------- accumulations

def along(fold: Callable[[list[Any]], list[Any]]) -> Callable[..., Any]:
    """What is done to each row along an axis, in a Python loop."""
    def reference(x: Any, axis: int = -1, reverse: bool = False) -> Any:
        rows = np.moveaxis(x, axis, -1)[..., ::-1 if reverse else 1]
        flat = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])
        found = np.array([fold(list(row)) for row in flat], x.dtype).reshape(rows.shape)
        return np.moveaxis(found[..., ::-1 if reverse else 1], -1, axis)
    return reference


def accumulated(combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return along(lambda row: list(itertools.accumulate(row, combine)))


def larger(a: Any, b: Any) -> Any:
    return b if np.real(b) > np.real(a) else a


def smaller(a: Any, b: Any) -> Any:
    return b if np.real(b) < np.real(a) else a


ALONG: list[tuple[tuple[int, ...], Options]] = [
    ((3,), {"axis": 0}), ((2, 3), {"axis": 0}), ((2, 3), {"axis": -1}), ((2, 3, 2), {"axis": 1}), ((1,), {"axis": 0}),
    ((0, 3), {"axis": 1}), ((3, 0), {"axis": -1}),
]


@st.composite
def lines(draw: Any, op: type[Op], reference: Callable[..., Any], domain: Domain, analytic: bool = True) -> Case:
    shape = draw(hnp.array_shapes(max_dims=3, max_side=3))
    options = {"axis": draw(st.integers(-len(shape), len(shape) - 1))}
    if "reverse" in op.option_names:
        options["reverse"] = draw(st.booleans())
    return Case(op, reference, [(domain, shape)], options, analytic=analytic)


for op, reference, domain, analytic in [
    (ops.CumSum, accumulated(lambda a, b: a + b), anywhere, True),
    (ops.CumProd, accumulated(lambda a, b: a * b), some_zeros, True),
    (ops.CumMax, accumulated(larger), distinct, True),
    (ops.CumMin, accumulated(smaller), distinct, True),
    (ops.CumLogAddExp, accumulated(lambda a, b: np.log(np.exp(a) + np.exp(b))), anywhere, False),
    (ops.Sort, along(lambda row: sorted(row, key=np.real)), distinct, True),
]:
    for shape, options in ALONG:
        add(op, reference, (domain, shape), analytic=analytic, **options)
        if "reverse" in op.option_names:
            add(op, reference, (domain, shape), analytic=analytic, reverse=True, **options)
    add_random(op, lines(op, reference, domain, analytic))


def recurrence(a: Any, b: Any, reverse: bool = False) -> Any:
    if reverse:
        return recurrence(a[..., ::-1], b[..., ::-1])[..., ::-1]
    columns: list[Any] = []
    for i in range(b.shape[-1]):
        columns.append(b[..., i] + (a[..., i] * columns[-1] if columns else 0))
    return np.stack(columns, -1) if columns else a * b


for reverse in (False, True):
    for shape in [(4,), (2, 3), (1,), (2, 1), (3, 0), (0, 2)]:
        add(ops.Recurrence, recurrence, (anywhere, shape), (anywhere, shape), reverse=reverse)
add_random(ops.Recurrence, st.builds(
    lambda shape, reverse: Case(ops.Recurrence, recurrence, [(anywhere, shape)] * 2, {"reverse": reverse}),
    hnp.array_shapes(max_dims=2, max_side=4), st.booleans()))


# ----------------------------------------------------------------------------------------------------------- ordering

def reordered(x: Any, order: Any, axis: int = -1, inverse: bool = False) -> Any:
    """By products with matrices of zeros and ones."""
    x, order = np.moveaxis(x, axis, -1), np.moveaxis(order, axis, -1)
    chosen = order[..., :, None] == np.arange(x.shape[-1])
    y = np.sum(chosen * (x[..., :, None] if inverse else x[..., None, :]), axis=-2 if inverse else -1)
    return np.moveaxis(y, -1, axis)


def reorderings(shape: tuple[int, ...], axis: int, inverse: bool) -> Case:
    def order(u: np.ndarray) -> np.ndarray:
        return np.argsort(u, axis=axis)
    return Case(ops.Reorder, reordered, [(anywhere, shape), (order, shape)], {"axis": axis, "inverse": inverse})


for shape, axis in [((4,), 0), ((2, 3), -1), ((3, 2), 0), ((0, 3), 1)]:
    CASES.extend(reorderings(shape, axis, inverse) for inverse in (False, True))
add_random(ops.Reorder, hnp.array_shapes(max_dims=3, max_side=3).flatmap(lambda shape: st.builds(
    reorderings, st.just(shape), st.integers(-len(shape), len(shape) - 1), st.booleans())))


def partitioned(x: Any, kth: Any, axis: int = -1) -> Any:
    """NumPy's own order: which entry is where is not specified."""
    order = np.argpartition(x.real, kth, axis)
    y = np.take_along_axis(x, order, axis)
    place = np.argsort(np.argsort(np.partition(x.real, kth, axis), axis), axis)
    return np.take_along_axis(np.take_along_axis(y, np.argsort(y.real, axis), axis), place, axis)


def partitions(shape: tuple[int, ...], kth: Any, axis: int) -> Case:
    return Case(ops.Partition, partitioned, [(distinct, shape)], {"kth": kth, "axis": axis})


CASES.extend(partitions(*case) for case in [((5,), 2, 0), ((2, 4), (0, 2), -1), ((4, 2), 1, 0), ((1,), 0, 0)])
add_random(ops.Partition, hnp.array_shapes(max_dims=2, max_side=4).flatmap(
    lambda shape: st.integers(0, min(shape) - 1).flatmap(lambda kth: st.builds(
        partitions, st.just(shape), st.just(kth), st.integers(-len(shape), len(shape) - 1)))))

by_rank = along(lambda row: sorted(range(len(row)), key=lambda i: row[i]))
for shape, axis in [((4,), 0), ((2, 3), 0), ((2, 3), -1), ((0, 2), 1)]:
    add(ops.ArgSort, lambda x, axis: by_rank(x, axis).astype(int), (integral, shape), flat=True, result=np.int64,
        axis=axis)


def arg_rank(x: Any, ranks: Any, skip_nan: bool = False) -> Any:
    found = np.argsort(x, axis=-1, kind="stable")
    places = np.take_along_axis(found, np.broadcast_to(ranks, (*x.shape[:-1], np.shape(ranks)[-1])), -1)
    return places if skip_nan else np.where(np.isnan(x).any(-1)[..., None], np.isnan(x).argmax(-1)[..., None], places)


gaps = given(np.array([[1.0, np.nan, 1.0, 0.5], [2.0, 2.0, 0.0, 2.0]]))
each = given(np.array([[0, 2], [3, 1]]))
two = given(np.array([2, 0]))
for x, shape, ranks in [(integral, (5,), two), (integral, (3, 4), two), (gaps, (2, 4), two), (gaps, (2, 4), each),
                        (integral, (2, 4), each), (integral, (0, 4), two)]:
    for skip_nan in (False, True):
        add(ops.ArgRank, arg_rank, (x, shape), (ranks, np.shape(ranks(np.ones(())))), flat=True, result=np.int64,
            skip_nan=skip_nan, note="with NaN" if x is gaps else "")

for op, sign in [(ops.ArgMax, -1), (ops.ArgMin, 1)]:
    def first(x: Any, axis: Any = None, keepdims: bool = False, sign: int = sign) -> Any:
        fold = row_by_row(lambda row: min(range(len(row)), key=lambda i: sign * row[i]))
        return fold(x, axis, keepdims).astype(int)
    for shape, options in [((2, 3), {}), ((2, 3), {"axis": 0}), ((2, 3), {"axis": -1, "keepdims": True}), ((), {}),
                           ((2, 3), {"keepdims": True})]:
        add(op, first, (integral, shape), flat=True, result=np.int64, **options)

for side in ("left", "right"):
    def insertion(a: Any, v: Any, side: str = "left") -> Any:
        return np.sum(a < v[..., None] if side == "left" else a <= v[..., None], axis=-1)
    add(ops.SearchSorted, insertion, (lambda u: np.sort(integral(u)), (4,)), (integral, (2, 3)), flat=True,
        result=np.int64, side=side)
