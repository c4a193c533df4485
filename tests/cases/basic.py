"""Cases of the ops that everything else is made of, and of the network."""

import math
from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st
from scipy import special

from tinygraph import Op, ops
from tinygraph.ops.selection import ARRAY

from .. import naive
from .registry import (
    CASES,
    SHAPES,
    Case,
    Domain,
    above_minus_one,
    add,
    add_random,
    anywhere,
    below_three,
    distinct,
    entry_by_entry,
    even,
    exponents,
    given,
    integers_below,
    integral,
    is_less,
    nonzero,
    odd,
    pointwise,
    positive,
    some_nan,
    truth,
)


def integer_power(x: Any, p: Any) -> Any:
    """Repeated multiplication."""
    x, p = np.broadcast_arrays(x, p)
    powers = [math.prod([a] * n) if n >= 0 else 1 / math.prod([a] * -n) for a, n in zip(x.flat, p.flat, strict=True)]
    return np.array(powers, x.dtype).reshape(x.shape)


# Identities rather than the function itself, so that forward and reference can disagree.
pointwise(ops.Add, lambda a, b: a - (-b), anywhere, anywhere)
pointwise(ops.Add, lambda a, b: a - (-b), anywhere, given(2.5), note="weak")
pointwise(ops.Subtract, lambda a, b: -b + a, anywhere, anywhere)
pointwise(ops.Subtract, lambda a, b: -b + a, given(3), anywhere, note="weak")
pointwise(ops.Multiply, lambda a, b: ((a + b) ** 2 - (a - b) ** 2) / 4, anywhere, anywhere)
pointwise(ops.Multiply, lambda a, b: ((a + b) ** 2 - (a - b) ** 2) / 4, given(-1.5), anywhere, note="weak")
pointwise(ops.Multiply, lambda a, b: np.where(b, a, 0), anywhere, truth, note="boolean")
pointwise(ops.Divide, lambda a, b: a * b ** -1, anywhere, nonzero)
pointwise(ops.Divide, lambda a, b: a * b ** -1, given(2), nonzero, note="weak")
pointwise(ops.Negative, lambda x: 0 - x, anywhere)
pointwise(ops.Absolute, lambda x: np.where(is_less(0, x), x, -x), nonzero, analytic=False)
pointwise(ops.Square, lambda x: x * x, anywhere)
pointwise(ops.Sqrt, lambda x: np.exp(np.log(x) / 2), positive)
pointwise(ops.Power, lambda x, p: np.exp(p * np.log(x)), positive, anywhere)
pointwise(ops.Power, lambda x, p: np.exp(p * np.log(x)), positive, integral, note="whole")
pointwise(ops.Power, integer_power, nonzero, exponents, note="integers")
for p in (0, 1, 2, 3, -2):
    pointwise(ops.Power, integer_power, nonzero, given(p), note=f"to the {p}")
for p in (0.0, 1.0, 2.0, -0.5, 2.5):
    pointwise(ops.Power, lambda x, p: np.exp(p * np.log(x)), positive, given(p), note=f"to the {p}")
pointwise(ops.Power, lambda x, p: np.exp(p * np.log(x)), given(2), anywhere, note="of 2")
pointwise(ops.Exp, lambda x: np.cosh(x) + np.sinh(x), anywhere)
pointwise(ops.Expm1, lambda x: 2 * np.sinh(x / 2) * np.exp(x / 2), anywhere)
pointwise(ops.Log, lambda x: 2 * np.arctanh((x - 1) / (x + 1)), positive)
pointwise(ops.Log1p, lambda x: 2 * np.arctanh(x / (2 + x)), above_minus_one)
pointwise(ops.Sin, lambda x: np.cos(x - np.pi / 2), anywhere)
pointwise(ops.Cos, lambda x: np.sin(x + np.pi / 2), anywhere)
pointwise(ops.Tanh, lambda x: np.sinh(x) / np.cosh(x), anywhere)
pointwise(ops.Maximum, lambda a, b: np.where(is_less(b, a), a, b), even, odd)
pointwise(ops.Maximum, lambda a, b: np.where(is_less(b, a), a, b), nonzero, given(0.0), note="weak")
pointwise(ops.Minimum, lambda a, b: np.where(is_less(a, b), a, b), even, odd)
pointwise(ops.Minimum, lambda a, b: np.where(is_less(a, b), a, b), given(0), nonzero, note="weak")
pointwise(ops.Keep, lambda x, mask: x * mask, anywhere, truth)
pointwise(ops.Where, lambda c, a, b: a * c + b * (1 - c), truth, anywhere, anywhere)
pointwise(ops.Where, lambda c, a, b: a * c + b * (1 - c), truth, given(0), anywhere, note="weak")
pointwise(ops.ReLU, lambda x: x * is_less(0, x), nonzero)

for op, function in [
    (ops.Less, lambda a, b: a < b), (ops.LessEqual, lambda a, b: a <= b), (ops.Greater, lambda a, b: a > b),
    (ops.GreaterEqual, lambda a, b: a >= b), (ops.Equal, lambda a, b: a == b), (ops.NotEqual, lambda a, b: a != b),
]:
    pointwise(op, entry_by_entry(function), integral, integral, flat=True, result=bool)
pointwise(ops.LogicalAnd, entry_by_entry(lambda a, b: bool(a and b)), integral, truth, flat=True, result=bool)
pointwise(ops.LogicalOr, entry_by_entry(lambda a, b: bool(a or b)), integral, truth, flat=True, result=bool)
pointwise(ops.LogicalNot, entry_by_entry(lambda a: not a), integral, flat=True, result=bool)
for op, function in [(ops.BitwiseAnd, lambda a, b: bool(a and b)), (ops.BitwiseOr, lambda a, b: bool(a or b)),
                     (ops.BitwiseXor, lambda a, b: bool(a) != bool(b))]:
    pointwise(op, entry_by_entry(function), truth, truth, flat=True, result=bool)
for op, function in [(ops.LeftShift, lambda a, b: a << b), (ops.RightShift, lambda a, b: a >> b)]:
    pointwise(op, entry_by_entry(function, int), below_three, below_three, flat=True, result=np.int64)
pointwise(ops.Invert, entry_by_entry(lambda a: not a), truth, flat=True, result=bool)
pointwise(ops.IsNan, entry_by_entry(math.isnan), some_nan, flat=True, result=bool)
pointwise(ops.Sign, entry_by_entry(lambda x: (x > 0) - (x < 0), float), integral, flat=True)
pointwise(ops.StopGradient, lambda x: x, anywhere, flat=True)


# --------------------------------------------------------------------------------------------------------- reductions

def row_by_row(fold: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    """A reduction as a Python loop over the rows that are reduced to one number each."""
    def reference(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
        axes = range(x.ndim) if axis is None else [i % x.ndim for i in np.atleast_1d(axis).astype(int)]
        rest = [i for i in range(x.ndim) if i not in axes]
        shape = [x.shape[i] for i in rest]
        rows = np.transpose(x, [*rest, *axes]).reshape(math.prod(shape), math.prod(x.shape[i] for i in axes))
        kept = [1 if i in axes else n for i, n in enumerate(x.shape)] if keepdims else shape
        return np.array([fold(list(row)) for row in rows], x.dtype).reshape(kept)
    return reference


REDUCED: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3), {}), ((2, 3), {"axis": 0}), ((2, 3), {"axis": -1}), ((2, 3), {"axis": 1, "keepdims": True}),
    ((2, 3), {"keepdims": True}), ((2, 3, 2), {"axis": (0, 2)}), ((2, 3, 2), {"axis": (-1, 1), "keepdims": True}),
    ((2, 3), {"axis": ()}), ((), {}), ((4,), {}), ((1, 3), {"axis": 0}), ((0, 3), {"axis": 1}),
]


@st.composite
def reductions(draw: Any, op: type[Op], reference: Callable[..., Any], domain: Domain) -> Case:
    shape = draw(hnp.array_shapes(max_dims=4, max_side=3))
    axis = draw(st.none() | hnp.valid_tuple_axes(len(shape)) | st.integers(-len(shape), len(shape) - 1))
    return Case(op, reference, [(domain, shape)], {"axis": axis, "keepdims": draw(st.booleans())})


for op, fold, domain in [
    (ops.Sum, sum, anywhere), (ops.Mean, lambda row: sum(row) / len(row), anywhere),
    (ops.Max, lambda row: max(row, key=np.real), distinct), (ops.Min, lambda row: min(row, key=np.real), distinct),
]:
    for shape, options in REDUCED:
        add(op, row_by_row(fold), (domain, shape), **options)
    add_random(op, reductions(op, row_by_row(fold), domain))
add(ops.Sum, row_by_row(sum), (anywhere, (0, 3)))
add(ops.Sum, row_by_row(sum), (anywhere, (0, 3)), axis=0)
add(ops.Sum, row_by_row(sum), (anywhere, (2, 3)), analytic=False, result=np.float64,
    axis=0, dtype=np.float64)


# ------------------------------------------------------------------------------------------------------------- shaping

def reordered(arrange: Callable[..., Any]) -> Callable[..., Any]:
    """The reference of an op that moves entries: `arrange` does it to the numbers 0, 1, 2, ... in their place."""
    def reference(x: Any, **options: Any) -> Any:
        places = arrange(np.arange(np.size(x)).reshape(np.shape(x)), **options)
        return np.array([x.flat[i] for i in places.flat], x.dtype).reshape(places.shape)
    return reference


def move(op: type[Op], arrange: Callable[..., Any], shape: tuple[int, ...], options: dict[str, Any]) -> Case:
    """A case of an op that moves entries."""
    return Case(op, reordered(arrange), [(anywhere, shape)], options)


def moves(op: type[Op], arrange: Callable[..., Any], *variants: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    CASES.extend(move(op, arrange, shape, options) for shape, options in variants)


def inserted(x: Any, axis: Any) -> Any:
    """New axes by hand: which axes of the result are new, then the old lengths fill the rest."""
    ndim = x.ndim + np.size(axis)
    new, old = {i % ndim for i in np.atleast_1d(axis)}, iter(x.shape)
    return x.reshape([1 if i in new else next(old) for i in range(ndim)])


def removed(x: Any, axis: Any = None) -> Any:
    ones = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else [i % x.ndim for i in np.atleast_1d(axis)]
    return x.reshape([n for i, n in enumerate(x.shape) if i not in ones])


def exchanged(x: Any, axis1: int, axis2: int) -> Any:
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return x.transpose(order)


def transposed(x: Any, axes: Any = None) -> Any:
    order = [i % x.ndim for i in axes] if axes else range(x.ndim)[::-1]
    return np.einsum(x, range(x.ndim), order)


moves(ops.Identity, lambda x: x, *((shapes[0], {}) for shapes in SHAPES[1]))
moves(ops.Reshape, lambda x, shape: x.ravel().reshape(shape),
      ((2, 3), {"shape": (3, 2)}), ((2, 3), {"shape": -1}), ((2, 3), {"shape": (3, -1, 1)}), ((), {"shape": (1, 1)}),
      ((1,), {"shape": ()}), ((0, 3), {"shape": (3, 0)}), ((2, 3, 2), {"shape": (4, 3)}))
moves(ops.Transpose, transposed,
      ((2, 3), {}), ((2, 3, 4), {}), ((2, 3, 4), {"axes": (1, 2, 0)}), ((2, 3, 4), {"axes": (-1, 0, 1)}),
      ((2, 3), {"axes": [1, 0]}), ((), {}), ((3,), {}), ((0, 3), {}))
moves(ops.SwapAxes, exchanged,
      ((2, 3), {"axis1": 0, "axis2": 1}), ((2, 3, 4), {"axis1": 0, "axis2": -1}), ((2, 3), {"axis1": 1, "axis2": 1}),
      ((0, 3), {"axis1": 0, "axis2": 1}))
moves(ops.ExpandDims, inserted, ((2, 3), {"axis": 0}), ((2, 3), {"axis": -1}), ((2, 3), {"axis": (0, 2)}),
      ((2, 3), {"axis": (-1, 1)}), ((), {"axis": 0}), ((0, 3), {"axis": 1}))
moves(ops.Squeeze, removed, ((1, 2, 1), {}), ((1, 2, 1), {"axis": 0}), ((1, 2, 1), {"axis": (0, -1)}),
      ((2, 1, 3), {"axis": -2}), ((1, 1), {}), ((2, 3), {}), ((), {}), ((0, 1), {"axis": 1}))
moves(ops.BroadcastTo, lambda x, shape: x + np.zeros(shape, int),
      ((2, 1), {"shape": (2, 3)}), ((3,), {"shape": (2, 3)}), ((), {"shape": (2, 3)}), ((2, 3), {"shape": (2, 3)}),
      ((1, 3), {"shape": (0, 3)}), ((2, 1, 1), {"shape": (4, 2, 1, 3)}), ((), {"shape": ()}))


def any_axis(shape: tuple[int, ...]) -> st.SearchStrategy[int]:
    return st.integers(-len(shape), len(shape) - 1)


def wider(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes that an array of this shape broadcasts to."""
    kept = st.tuples(*(st.integers(0, 3) if n == 1 else st.just(n) for n in shape))
    return st.builds(lambda front, rest: (*front, *rest), st.lists(st.integers(0, 2), max_size=2), kept)


# What NumPy calls the op, and its options for a shape.
MOVES: dict[type[Op], tuple[Callable[..., Any], Callable[[tuple[int, ...]], dict[str, Any]]]] = {
    ops.Identity: (lambda x: x, lambda shape: {}),
    ops.Reshape: (np.reshape, lambda shape: {"shape": st.permutations(shape).map(tuple)}),
    ops.Transpose: (np.transpose, lambda shape: {"axes": st.none() | st.permutations(range(-len(shape), 0))}),
    ops.SwapAxes: (np.swapaxes, lambda shape: {"axis1": any_axis(shape), "axis2": any_axis(shape)}),
    ops.ExpandDims: (np.expand_dims, lambda shape: {"axis": any_axis((*shape, 1))}),
    ops.Squeeze: (np.squeeze, lambda shape: {
        "axis": st.sampled_from([None, (), *(i for i, n in enumerate(shape) if n == 1)])}),
    ops.BroadcastTo: (np.broadcast_to, lambda shape: {"shape": wider(shape)}),
}


@st.composite
def random_moves(draw: Any, op: type[Op]) -> Case:
    function, options = MOVES[op]
    shape = draw(hnp.array_shapes(max_dims=4, max_side=3, min_side=0))
    return move(op, function, shape, {name: draw(strategy) for name, strategy in options(shape).items()})


for op in MOVES:
    add_random(op, random_moves(op))


def by_entry(x: Any, dtype: Any) -> Any:
    return np.array([dtype(e) for e in x.flat], dtype).reshape(x.shape)


def widened(x: Any, dtype: Any) -> Any:
    return x + np.zeros((), dtype)


for (shape,) in SHAPES[1]:
    for dtype in (np.float32, np.float64):
        add(ops.Cast, widened, (anywhere, shape), analytic=False, result=dtype, dtype=dtype)
add_random(ops.Cast, st.builds(
    lambda shape, dtype: Case(ops.Cast, widened, [(anywhere, shape)], {"dtype": dtype}, analytic=False, result=dtype),
    hnp.array_shapes(min_dims=0, min_side=0, max_side=3), st.sampled_from([np.float32, np.float64])))
for dtype in (np.int64, np.bool_):
    add(ops.CastToInteger, by_entry, (integral, (2, 3)), flat=True, result=dtype, dtype=dtype)


def in_range(x: Any, n: int) -> Any:
    return x


for shape in [(2, 3), (), (0, 2)]:
    add(ops.InRange, in_range, (below_three, shape), flat=True, result=np.int64, n=3)


# ------------------------------------------------------------------------------------------------------------- joining

def joined(*arrays: Any, axis: int) -> Any:
    """Slices along the axis, one by one."""
    slices = [array.take(i, axis) for array in arrays for i in range(array.shape[axis])]
    return np.stack(slices, axis) if slices else arrays[0]


@st.composite
def concatenations(draw: Any) -> Case:
    shape = draw(hnp.array_shapes(max_dims=3, max_side=3))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    i = axis % len(shape)
    inputs = [(anywhere, (*shape[:i], length, *shape[i + 1:])) for length in lengths]
    return Case(ops.Concatenate, joined, inputs, {"axis": axis})


for shapes, axis in [([(2, 3), (1, 3)], 0), ([(2, 3), (2, 1), (2, 2)], -1), ([(3,)], 0), ([(2, 3), (0, 3)], 0),
                     ([(2, 1, 3), (2, 2, 3)], 1), ([(0, 3), (0, 3)], 0)]:
    add(ops.Concatenate, joined, *((anywhere, shape) for shape in shapes), axis=axis)
add_random(ops.Concatenate, concatenations())


# ------------------------------------------------------------------------------------------------------------ indexing

def places(shape: tuple[int, ...], index: Any) -> np.ndarray:
    """Where x[index] takes its entries from, as positions in x.flat."""
    return np.asarray(np.arange(math.prod(shape)).reshape(shape)[index])


def index_case(shape: tuple[int, ...], index: Any, adjoint: bool = False) -> Case:
    """x[index], or its adjoint: an array added into zeros at the index."""
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [(given(part), np.shape(part)) for part in parts if isinstance(part, np.ndarray)]
    structure = tuple(ARRAY if isinstance(part, np.ndarray) else part for part in parts)
    at = places(shape, index)
    note = repr(index).replace("array", "").replace("slice", "").replace("None", "").replace(" ", "").replace("\n", "")

    def taken(x: Any, *arrays: Any, index: Any) -> Any:
        return np.array([x.flat[i] for i in at.flat], x.dtype).reshape(at.shape)

    def scattered(x: Any, *arrays: Any, shape: Any, index: Any) -> Any:
        y = np.zeros(math.prod(shape), x.dtype)
        for i, entry in zip(at.flat, x.flat, strict=True):
            y[i] += entry
        return y.reshape(shape)

    if adjoint:
        options = {"shape": shape, "index": structure}
        return Case(ops.ScatterAdd, scattered, [(anywhere, at.shape), *arrays], options, note)
    return Case(ops.Index, taken, [(anywhere, shape), *arrays], {"index": structure}, note)


@st.composite
def indexings(draw: Any, adjoint: bool) -> Case:
    shape = draw(hnp.array_shapes(max_dims=3, max_side=3))
    integers = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    masks = st.integers(1, len(shape)).flatmap(lambda n: hnp.arrays(bool, shape[:n]))
    index = draw(hnp.basic_indices(shape, allow_newaxis=True) | integers | masks)
    return index_case(shape, index, adjoint)


_REPEATED, _NEGATIVE, _TABLE = np.array([0, 0, 1]), np.array([-1, 1, -1]), np.array([[0, 2], [2, 2]])
_MASK = np.array([[True, False, True], [False, False, True]])
INDICES: list[tuple[tuple[int, ...], Any]] = [
    ((3,), 1), ((3,), -1), ((2, 3), 0), ((2, 3), (1, -2)), ((2, 3), np.s_[:, 1]), ((2, 3), np.s_[..., ::-1]),
    ((2, 3), np.s_[None, :, 1:]), ((2, 3), (Ellipsis,)), ((2, 3), ()), ((), ()), ((), None), ((4,), np.s_[3:0:-2]),
    ((2, 3), np.s_[2:]), ((0, 3), np.s_[:, 0]),
    ((3,), _REPEATED), ((2, 3), _REPEATED), ((3,), _TABLE), ((2, 3), (slice(None), _TABLE)),
    ((2, 3), (_NEGATIVE, _REPEATED)), ((2, 3), (0, _REPEATED)), ((2, 3, 2), (_REPEATED, slice(None), _REPEATED)),
    ((2, 3, 2), (slice(None), _NEGATIVE, 0)), ((3,), np.array([], int)), ((3,), np.array(1)),
    ((2, 3), _MASK), ((2, 3), np.array([False, True])), ((2, 3), (slice(None), np.array([True, False, True]))),
    ((2, 3), np.zeros((2, 3), bool)), ((2, 3), (np.array([[0], [1]]), np.array([0, 0]))),
    ((2, 3, 2), (_MASK, 1)), ((2, 3), (None, _REPEATED)), ((2, 3), (np.array([True, True]), _REPEATED[:2])),
    ((2, 3), np.array([0, 0, 1], np.uint8)),
]
for adjoint in (False, True):
    CASES.extend(index_case(shape, index, adjoint) for shape, index in INDICES)
    add_random(ops.ScatterAdd if adjoint else ops.Index, indexings(adjoint))


# ------------------------------------------------------------------------------------------------ matrices and network

def product(A: Any, B: Any) -> Any:
    """Every product of two entries in an array of its own axis, then the sum over that axis."""
    row, column = A.ndim == 1, B.ndim == 1
    A, B = A[None, :] if row else A, B[:, None] if column else B
    C = (A[..., :, :, None] * B[..., None, :, :]).sum(-2)
    C = C[..., 0, :] if row else C
    return C[..., 0] if column else C


def with_bias(Z: Any, b: Any) -> Any:
    """One by one: the bias of a row, or of a column."""
    by_row = b.ndim == 2
    Y = [z + b[i[-2], 0] if by_row else z + b[i[-1]] for i, z in np.ndenumerate(Z)]
    return np.array(Y, np.result_type(Z, b)).reshape(Z.shape)


def negative_log_likelihood(Z: Any, t: Any, axis: int = -1) -> Any:
    """Sample by sample, as in a textbook, and no care for overflow."""
    logits = np.moveaxis(Z, axis, -1).reshape(-1, Z.shape[axis])
    losses = [np.log(np.exp(z).sum()) - z[k] for z, k in zip(logits, t.ravel(), strict=True)]
    return sum(losses) / len(losses)


def nll_case(shape: tuple[int, ...], axis: int, dtype: Any = np.int64) -> Case:
    i = axis % len(shape)
    labels = (integers_below(shape[i], dtype), (*shape[:i], *shape[i + 1:]))
    return Case(ops.LogSoftmaxNLL, negative_log_likelihood, [(anywhere, shape), labels], {"axis": axis},
                note="" if dtype is np.int64 else dtype.__name__)


@st.composite
def nll_cases(draw: Any) -> Case:
    shape = draw(hnp.array_shapes(max_dims=3, max_side=4))
    return nll_case(shape, draw(st.integers(-len(shape), len(shape) - 1)))


MATRICES = [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
            ((4, 1, 2, 3), (2, 3, 1)), ((1, 2, 3), (4, 3, 2)), ((3,), (5, 3, 2)), ((5, 2, 3), (3,)), ((1, 3), (3, 1)),
            ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0,), (0,)), ((0, 2, 3), (3, 2)), ((3, 3), (3, 3)),
            ((2, 3), (0, 3, 2)), ((0, 2, 3), (0, 3, 1)), ((0, 1, 2, 3), (4, 3, 2)), ((5, 2, 0), (0, 3)),
            ((2, 0), (5, 0, 3)), ((5, 1, 2, 0), (3, 0, 2)), ((0,), (2, 0, 3)), ((0, 2, 3), (3,))]
for shapes in MATRICES:
    add(ops.MatMul, product, *((anywhere, shape) for shape in shapes))
add_random(ops.MatMul, hnp.mutually_broadcastable_shapes(
    signature=np.matmul.signature, max_dims=2, max_side=3, min_side=0).map(
    lambda drawn: Case(ops.MatMul, product, [(anywhere, shape) for shape in drawn.input_shapes])))

BIASED = [((4, 3), (4, 1)), ((5, 3), (3,)), ((2, 4, 3), (3,)), ((3,), (3,)), ((0, 3), (3,)),
          ((4, 0), (4, 1)), ((3, 3), (3, 1)), ((1, 1), (1, 1))]
for shapes in BIASED:
    add(ops.AddBias, with_bias, *((anywhere, shape) for shape in shapes))
add_random(ops.AddBias, hnp.array_shapes(min_side=0, max_dims=3).map(
    lambda shape: Case(ops.AddBias, with_bias, [(anywhere, shape), (anywhere, shape[-1:])])))
add_random(ops.AddBias, hnp.array_shapes(min_side=0, min_dims=2, max_dims=2).map(
    lambda shape: Case(ops.AddBias, with_bias, [(anywhere, shape), (anywhere, (shape[0], 1))])))

for shape, axis in [((5, 3), -1), ((3, 5), 0), ((2, 3, 4), 1), ((3, 2, 2), 0), ((2, 2, 3), -1), ((3,), 0), ((1, 4), 1),
                    ((2, 1), -1)]:
    CASES.append(nll_case(shape, axis))
CASES.append(nll_case((5, 3), -1, np.uint8))
CASES.append(Case(ops.LogSoftmaxNLL, negative_log_likelihood, [(anywhere, (5, 3)), (integers_below(3), (5,))]))
add_random(ops.LogSoftmaxNLL, nll_cases())


# ------------------------------------------------------------------------------- activations, normalisation, attention

def logistic_gelu(x: Any) -> Any:
    """(1 + tanh u) / 2 is the logistic function of 2u."""
    return x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)))


def softmax(x: Any, axis: int = -1) -> Any:
    """As in a textbook, and no care for overflow."""
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


def causal(u: np.ndarray) -> np.ndarray:
    """What attention masks: nothing above the diagonal counts."""
    return np.where(np.tri(*u.shape[-2:], dtype=bool), anywhere(u), -np.inf)


def normalised(x: Any, gain: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Of the differences of all pairs: their means, and half their mean square, which is the variance."""
    d, m = x[..., :, None] - x[..., None, :], x.shape[-1]
    return gain * d.sum(-1) / m / np.sqrt((d * d).sum((-2, -1))[..., None] / (2 * m * m) + eps) + bias


def norm_case(shape: tuple[int, ...], **options: Any) -> Case:
    return Case(ops.LayerNorm, normalised, [(distinct, shape), (anywhere, shape[-1:]), (anywhere, shape[-1:])], options)


pointwise(ops.GELU, logistic_gelu, anywhere)
pointwise(ops.LeakyReLU, lambda x, slope=0.01: np.where(is_less(0, x), x, slope * x), nonzero)
pointwise(ops.LeakyReLU, lambda x, slope: np.where(is_less(0, x), x, slope * x), nonzero, options={"slope": 1.5})
pointwise(ops.ELU, lambda x, alpha=1.0: np.where(is_less(0, x), x, alpha * (np.exp(x) - 1)), nonzero)
pointwise(ops.ELU, lambda x, alpha: np.where(is_less(0, x), x, alpha * (np.exp(x) - 1)), nonzero,
          options={"alpha": 0.5})
pointwise(ops.Sigmoid, lambda x: 1 / (1 + np.exp(-x)), anywhere, analytic=False, half=False)
pointwise(ops.SiLU, lambda x: x / (1 + np.exp(-x)), anywhere, analytic=False, half=False)
pointwise(ops.ErfGELU, lambda x: x * (1 + special.erf(x / np.sqrt(2))) / 2, anywhere, half=False)
pointwise(ops.Softplus, lambda x: np.log(1 + np.exp(x)), anywhere, analytic=False, half=False)


def logistic_case(shape: tuple[int, ...]) -> Case:
    return Case(ops.LogisticNLL, lambda x, t: np.log(1 + np.exp(x)) - t * x, [(anywhere, shape), (anywhere, shape)], {},
                analytic=False, half=False)


CASES.extend(logistic_case(shape) for shape in [(4, 3), (3,), (), (0, 2)])
add_random(ops.LogisticNLL, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3).map(logistic_case))


for shape, axis in [((2, 3), -1), ((3, 2), 0), ((2, 3, 2), 1), ((2, 3, 2), -3), ((4,), 0), ((2, 1), 1), ((0, 3), -1)]:
    add(ops.Softmax, softmax, (anywhere, shape), axis=axis)
add(ops.Softmax, softmax, (anywhere, (2, 3)))
add(ops.Softmax, softmax, (causal, (3, 3)), note="causal")
add(ops.Softmax, softmax, (causal, (2, 3, 4)), axis=-1, note="causal")
add_random(ops.Softmax, hnp.array_shapes(max_dims=3, max_side=3).flatmap(lambda shape: any_axis(shape).map(
    lambda axis: Case(ops.Softmax, softmax, [(anywhere, shape)], {"axis": axis}))))

for shape in [(4, 3), (3,), (2, 2, 4), (3, 2), (3, 1), (0, 3), (2, 0, 3)]:
    CASES.append(norm_case(shape))
CASES.append(norm_case((2, 3), eps=0.5))
add_random(ops.LayerNorm, st.builds(
    lambda shape, eps: norm_case(shape, eps=eps),
    hnp.array_shapes(max_dims=3, max_side=4), st.sampled_from([1e-5, 0.1])))


def normalised_over(x: Any, gain: Any, bias: Any, over: tuple[int, ...], eps: float = 1e-5) -> Any:
    around = x - x.mean(axis=over, keepdims=True)
    return around / ((around ** 2).mean(axis=over, keepdims=True) + eps) ** 0.5 * gain[..., None] + bias[..., None]


def normalize_case(shape: tuple[int, ...], over: tuple[int, ...], **options: Any) -> Case:
    parameters = [(anywhere, shape[1:3]), (anywhere, shape[1:3])]
    return Case(ops.Normalize, normalised_over, [(distinct, shape), *parameters], {"over": over, **options})


for shape, over in [((4, 1, 3, 1), (0, 3)), ((2, 1, 2, 3), (0, 3)), ((2, 2, 2, 2), (2, 3)), ((2, 1, 4, 1), (2, 3))]:
    CASES.append(normalize_case(shape, over))
CASES.append(normalize_case((2, 1, 2, 2), (0, 3), eps=0.5))
add_random(ops.Normalize, st.builds(normalize_case, hnp.array_shapes(min_dims=4, max_dims=4, max_side=3),
                                    st.sampled_from([(0, 3), (2, 3)])))


# ------------------------------------------------------------------------------------------------- sums over indices

def by_numpy(*operands: Any, subscripts: str) -> Any:
    """NumPy's own loops, which know nothing of products of matrices."""
    return np.einsum(subscripts, *operands)


EINSUMS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("ij,jk->ki", [(2, 3), (3, 4)]),
    ("ij->ji", [(2, 3)]), ("ji", [(2, 3)]), ("ij->", [(2, 3)]), ("ij->j", [(2, 3)]), ("->", [()]),
    ("ii", [(3, 3)]), ("ii->i", [(3, 3)]), ("ijij->ji", [(2, 3, 2, 3)]), ("iji->j", [(2, 3, 2)]),
    ("iii->i", [(2, 2, 2)]), ("ii,ij,k->jk", [(2, 2), (2, 3), (2,)]),
    ("i,i->", [(3,), (3,)]), ("i,i->i", [(3,), (3,)]), ("i,j->ji", [(2,), (3,)]), (",i->i", [(), (3,)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]), ("bqhd,bkhd->bhqk", [(2, 3, 2, 3), (2, 2, 2, 3)]),
    ("ijk,jkl->li", [(2, 2, 3), (2, 3, 2)]), ("ijk,kj->i", [(2, 2, 3), (3, 2)]), ("ij,kj->", [(2, 3), (4, 3)]),
    ("...ij,...jk->...ik", [(2, 1, 2, 3), (4, 3, 2)]), ("...i,...i", [(2, 3), (3,)]), ("i...->...", [(2, 3)]),
    ("...", [(2, 3)]), ("b...,b...a", [(2, 3), (2, 3, 2)]), (" ij , jk -> ik ", [(2, 3), (3, 2)]),
    ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 2)]), ("ijm,kl,lm->ijk", [(2, 1, 3), (2, 2), (2, 3)]),
    ("ij,ij,ij->i", [(2, 3), (2, 3), (1, 3)]), ("i,ij,j", [(2,), (2, 3), (3,)]),
    ("i,i->i", [(1,), (3,)]), ("i,i->", [(3,), (1,)]), ("ii,ij->j", [(1, 1), (3, 2)]), ("ij,jk->ik", [(2, 1), (3, 2)]),
    ("ij,jk->ik", [(0, 3), (3, 2)]), ("ij,jk->ik", [(2, 0), (0, 3)]), ("bij,bj->bi", [(0, 2, 3), (0, 3)]),
    ("zB,Ba", [(2, 3), (3, 2)]),
]


@st.composite
def einsums(draw: Any) -> Case:
    lengths = dict(zip("abcd", draw(st.lists(st.integers(1, 3), min_size=4, max_size=4)), strict=True))
    terms = draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    indices = sorted(set("".join(terms)))
    shapes = []
    for term in terms:  # an index that is there once in its term may have an axis of length 1
        ones = draw(st.sets(st.sampled_from(term))) if term else set()
        shapes.append(tuple(1 if k in ones and term.count(k) == 1 else lengths[k] for k in term))
    result = draw(st.none() | st.permutations(indices).flatmap(
        lambda order: st.integers(0, len(order)).map(lambda n: "->" + "".join(order[:n]))))
    subscripts = ",".join(terms) + (result or "")
    return Case(ops.Einsum, by_numpy, [(anywhere, shape) for shape in shapes], {"subscripts": subscripts})


for subscripts, shapes in EINSUMS:
    add(ops.Einsum, by_numpy, *((anywhere, shape) for shape in shapes), subscripts=subscripts)
add_random(ops.Einsum, einsums())


# -------------------------------------------------------------------------------------------------------------- images

def padded(x: Any, width: Any) -> Any:
    """Zeros joined to every side."""
    for axis, counts in enumerate(width):
        before, after = (np.zeros([n if i == axis else m for i, m in enumerate(x.shape)], x.dtype) for n in counts)
        x = np.concatenate([before, x, after], axis)
    return x


def every_window(x: Any, shape: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Any:
    spans = [(n - 1) * d + 1 for n, d in zip(shape, dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, spans, (-2, -1))
    return windows[..., ::stride[0], ::stride[1], ::dilation[0], ::dilation[1]]


PADDED: list[tuple[tuple[int, ...], tuple[tuple[int, int], ...]]] = [
    ((2, 3), ((1, 2), (0, 1))), ((3,), ((0, 0),)), ((3,), ((2, 0),)), ((), ()), ((0, 3), ((1, 1), (0, 2))),
    ((2, 1, 3), ((0, 0), (1, 1), (2, 0)))]
for shape, width in PADDED:
    add(ops.Pad, padded, (anywhere, shape), width=width)
add_random(ops.Pad, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3).flatmap(
    lambda shape: st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * len(shape)).map(
        lambda width: Case(ops.Pad, padded, [(anywhere, shape)], {"width": width}))))

# An image, windows, strides and dilations: overlapping, side by side, with gaps, with a rest; and none at all.
WINDOWS: list[tuple[tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int]]] = [
    ((3, 4), (2, 2), (1, 1), (1, 1)), ((2, 4, 4), (2, 2), (2, 2), (1, 1)), ((2, 1, 5, 3), (3, 2), (2, 1), (1, 1)),
    ((4, 5), (1, 2), (3, 3), (1, 1)), ((5, 4), (3, 1), (1, 2), (1, 1)), ((3, 3), (3, 3), (1, 1), (1, 1)),
    ((2, 2), (1, 1), (1, 1), (2, 2)), ((0, 3, 3), (2, 2), (1, 1), (1, 1)), ((4, 6), (2, 3), (2, 2), (1, 1)),
    ((5, 6), (2, 2), (1, 2), (3, 2)), ((5, 8), (2, 2), (3, 4), (2, 3)), ((7, 4), (3, 2), (2, 2), (2, 2))]


def windows_case(op: type[Op], image: tuple[int, ...], shape: tuple[int, int], stride: tuple[int, int],
                 dilation: tuple[int, int]) -> Case:
    """The windows of an image, the image of windows, or the largest entries or the means of windows."""
    if op in (ops.MaxPool2D, ops.AveragePool2D):
        pool = naive.max_pool if op is ops.MaxPool2D else naive.average_pool
        return Case(op, pool, [(distinct, image)], {"size": shape, "stride": stride})
    options = {"stride": stride, "dilation": dilation}
    if op is ops.Windows:
        return move(op, every_window, image, {"shape": shape, **options})
    size = tuple((n - (k - 1) * d - 1) // s + 1
                 for n, k, s, d in zip(image[-2:], shape, stride, dilation, strict=True))
    return Case(op, naive.fold, [(anywhere, (*image[:-2], *size, *shape))], {"shape": image[-2:], **options})


@st.composite
def images(draw: Any) -> tuple[tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int]]:
    counts = st.tuples(st.integers(1, 2), st.integers(1, 3))
    shape, stride, more = draw(counts), draw(counts), draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    dilation, before = draw(counts), draw(st.lists(st.integers(0, 2), max_size=1))
    height, width = ((n - 1) * d + 1 + m for n, d, m in zip(shape, dilation, more, strict=True))
    return (*before, height, width), shape, stride, dilation


for op in (ops.Windows, ops.FoldWindows, ops.MaxPool2D, ops.AveragePool2D):
    CASES.extend(windows_case(op, *drawn) for drawn in WINDOWS)
    add_random(op, images().map(lambda drawn, op=op: windows_case(op, *drawn)))
for pool, function in ((ops.MaxPool2D, naive.max_pool), (ops.AveragePool2D, naive.average_pool)):
    add(pool, function, (distinct, (2, 5, 4)), size=2)
    add(pool, function, (distinct, (2, 3, 5)), size=(1, 2))
    add(pool, function, (distinct, (5, 5)), size=3, stride=(2, 1))
    add(pool, function, (distinct, (3, 4)), size=2, padding=(1, 0))
    add(pool, function, (distinct, (2, 5, 3)), size=3, stride=2, padding="same")


def convolution_case(x: tuple[int, ...], W: tuple[int, ...], **options: Any) -> Case:
    return Case(ops.Conv2D, naive.convolution, [(anywhere, x), (anywhere, W)], options)


def adjoint_cases(x: tuple[int, ...], W: tuple[int, ...], **options: Any) -> list[Case]:
    """The two other ops of a convolution's family."""
    Y = naive.convolution(np.zeros(x), np.zeros(W), **options).shape
    return [Case(ops.ConvTranspose2D, naive.convolution_transposed, [(anywhere, Y), (anywhere, W)],
                 {"shape": x[2:], **options}),
            Case(ops.ConvKernels2D, naive.convolution_kernels, [(anywhere, x), (anywhere, Y)],
                 {"shape": W[2:], **options})]


@st.composite
def convolutions(draw: Any) -> tuple[Any, Any, dict[str, Any]]:
    n, kh, kw, groups = draw(st.tuples(st.integers(0, 2), *[st.integers(1, 2)] * 3))
    c, o = draw(st.tuples(*[st.integers(1, 3 - groups)] * 2))
    padding = draw(st.integers(0, 1) | st.tuples(st.integers(0, 1), st.integers(0, 2)) | st.just("same"))
    stride, dilation = [draw(st.integers(1, 2) | st.tuples(st.integers(1, 2), st.integers(1, 2))) for _ in range(2)]
    height, width = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return ((n, c * groups, kh + height, kw + width), (o * groups, c, kh, kw),
            {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})


for x, W, options in [
    ((2, 2, 3, 4), (3, 2, 2, 2), {}), ((1, 1, 3, 3), (1, 1, 3, 3), {"padding": 1}),
    ((2, 2, 4, 3), (2, 2, 3, 1), {"stride": (2, 1), "padding": (1, 0)}), ((1, 2, 5, 4), (2, 2, 2, 3), {"stride": 2}),
    ((1, 1, 2, 2), (2, 1, 3, 3), {"padding": (1, 1), "stride": (1, 1)}), ((2, 3, 2, 2), (2, 3, 1, 1), {}),
    ((1, 1, 4, 5), (1, 1, 1, 2), {"stride": (2, 3)}), ((0, 1, 3, 3), (2, 1, 2, 2), {}),
    ((1, 2, 3, 3), (1, 2, 2, 2), {"padding": (0, 2), "stride": (1, 2)}),
]:
    CASES.append(convolution_case(x, W, **options))
for x, W, options in [
    ((2, 2, 5, 4), (3, 2, 2, 2), {"padding": "same", "stride": (2, 1)}),
    ((1, 2, 5, 4), (2, 2, 3, 2), {"dilation": (2, 3), "padding": (1, 0)}),
    ((2, 4, 3, 4), (2, 2, 2, 3), {"groups": 2, "padding": "same"}),
    ((1, 2, 4, 3), (4, 1, 2, 2), {"groups": 2, "stride": 2, "dilation": (1, 2)}),
]:
    CASES.extend([convolution_case(x, W, **options), *adjoint_cases(x, W, **options)])
add_random(ops.Conv2D, convolutions().map(lambda drawn: convolution_case(*drawn[:2], **drawn[2])))
add_random(ops.ConvTranspose2D, convolutions().map(lambda drawn: adjoint_cases(*drawn[:2], **drawn[2])[0]))
add_random(ops.ConvKernels2D, convolutions().map(lambda drawn: adjoint_cases(*drawn[:2], **drawn[2])[1]))
