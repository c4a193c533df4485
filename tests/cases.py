"""The registry of op cases: how each op of the package is called, and what it is by definition.

A `Case` is one call of one op: where its inputs come from, its options, and a reference, the same function written
without the op, in plain NumPy or Python loops. `CASES` is the list; `RANDOM` has a Hypothesis strategy of cases for each
op that has a gradient. The tests are generated from both, and one of them fails if an op is missing here.

A reference must be right on complex numbers too, so that complex step can differentiate it: it compares real parts,
and is made of functions that keep a tiny imaginary part (so no `exp(1j * x)`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tinygraph import Op, ops
from tinygraph.ops.selection import ARRAY

# ------------------------------------------------------------------------------------------------------------- domains
# A domain takes uniform numbers in [0, 1] to values: so a seed or Hypothesis can supply the numbers.

Domain = Callable[[np.ndarray], Any]


def anywhere(u: np.ndarray) -> np.ndarray:
    return 4 * u - 2


def positive(u: np.ndarray) -> np.ndarray:
    return 0.4 + 2 * u


def nonzero(u: np.ndarray) -> np.ndarray:
    return np.where(u < 0.5, -0.4 - 3 * u, 3 * u - 1.1)


def above_minus_one(u: np.ndarray) -> np.ndarray:
    return 3 * u - 0.6


def integral(u: np.ndarray) -> np.ndarray:
    """Floats with many ties, zeros and both signs."""
    return np.round(4 * u) - 2


def even(u: np.ndarray) -> np.ndarray:
    """On a lattice, so that it keeps its distance from every value of `odd`."""
    return 0.4 * np.round(8 * u) - 1.6


def odd(u: np.ndarray) -> np.ndarray:
    return even(u) + 0.2


def distinct(u: np.ndarray) -> np.ndarray:
    """Values that keep their distance from each other."""
    ranks = np.argsort(np.argsort(u, axis=None, kind="stable")).reshape(u.shape)
    return 0.4 * (ranks - u.size // 2) + 0.1 * u


def some_nan(u: np.ndarray) -> np.ndarray:
    return np.where(u < 0.5, np.nan, u)


def truth(u: np.ndarray) -> np.ndarray:
    return u < 0.5


def integers_below(n: int, dtype: Any = np.int64) -> Domain:
    return lambda u: np.minimum(np.floor(n * u), n - 1).astype(dtype)


def exponents(u: np.ndarray) -> np.ndarray:
    """-2 to 3, in a type so small that float16 ** it stays float16."""
    return (integers_below(6)(u) - 2).astype(np.int8)


def given(value: Any) -> Domain:
    """Always this value: an index, or a Python number (which stays one)."""
    return lambda u: value


# --------------------------------------------------------------------------------------------------------------- cases

@dataclass(frozen=True)
class Case:
    """One way to call an op: `op(*inputs, **options)`, whose value is `reference(*inputs, **options)`."""

    op: type[Op]
    reference: Callable[..., Any]
    inputs: Sequence[tuple[Domain, tuple[int, ...]]]
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    flat: bool = False  # no gradient flows through this op
    analytic: bool = True  # the op's own forward and backward mean the same on complex numbers
    dtype: Any = None  # of the value, where it is not that of the floating inputs

    @property
    def name(self) -> str:
        shapes = "x".join(str(shape).replace(" ", "") for _, shape in self.inputs)
        options = ",".join(f"{name}={value}" for name, value in self.options.items() if name != "index")
        return " ".join(filter(None, [self.op.__name__, shapes, options.replace(" ", ""), self.note]))

    def from_units(self, units: Sequence[np.ndarray], dtype: Any = np.float64) -> list[Any]:
        """The inputs made of uniform numbers; floats get the dtype."""
        values = [domain(u) for (domain, _), u in zip(self.inputs, units, strict=True)]
        return [np.asarray(x, dtype) if is_float(x) else x for x in values]

    def arrays(self, dtype: Any = np.float64, seed: int = 0) -> list[Any]:
        """The inputs for a seed."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        return self.from_units([rng.random(shape) for _, shape in self.inputs], dtype)


def is_float(x: Any) -> bool:
    """Whether an input is one that has a gradient: an array of floats, not a Python number."""
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind == "f"


CASES: list[Case] = []
RANDOM: dict[type[Op], list[st.SearchStrategy[Case]]] = {}


def add(op: type[Op], reference: Callable[..., Any], *inputs: tuple[Domain, tuple[int, ...]], note: str = "",
        flat: bool = False, analytic: bool = True, dtype: Any = None, **options: Any) -> None:
    """Register one case."""
    CASES.append(Case(op, reference, inputs, options, note, flat, analytic, dtype))


def add_random(op: type[Op], strategy: st.SearchStrategy[Case]) -> None:
    """Register a strategy of cases."""
    RANDOM.setdefault(op, []).append(strategy)


# ---------------------------------------------------------------------------------------------------- entry by entry

SHAPES: dict[int, list[tuple[tuple[int, ...], ...]]] = {
    1: [((2, 3),), ((),), ((0, 3),), ((4,),), ((2, 1, 3),)],
    2: [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), ()), ((), (2, 3)), ((3,), (1,)), ((0, 3), (3,)),
        ((1, 3), (0, 1)), ((2, 1, 3), (4, 1))],
    3: [((2, 3), (2, 3), (2, 3)), ((3,), (2, 1), (1, 3)), ((), (2, 3), ()), ((2, 3), (), ()), ((0, 3), (3,), (1, 3)),
        ((2, 1), (2, 1, 3), (3,))],
}


def pointwise(op: type[Op], reference: Callable[..., Any], *domains: Domain, note: str = "", **claims: Any) -> None:
    """Register an op that broadcasts, on the shapes above and on random ones. Python numbers have no shape."""
    shaped = [i for i, domain in enumerate(domains) if not isinstance(domain(np.zeros(())), int | float)]

    def case(shapes: Sequence[tuple[int, ...]]) -> Case:
        by_input = dict(zip(shaped, shapes, strict=True))
        inputs = [(domain, by_input.get(i, ())) for i, domain in enumerate(domains)]
        return Case(op, reference, inputs, note=note, **claims)

    CASES.extend(map(case, SHAPES[len(shaped)]))
    if not claims.get("flat"):
        shapes = hnp.mutually_broadcastable_shapes(num_shapes=len(shaped), min_side=0, max_side=3, max_dims=3)
        add_random(op, shapes.map(lambda drawn: case(drawn.input_shapes)))


def entry_by_entry(function: Callable[..., Any], dtype: Any = bool) -> Callable[..., Any]:
    return np.vectorize(function, otypes=[dtype])


def is_less(a: Any, b: Any) -> Any:
    return np.real(a) < np.real(b)


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
    pointwise(op, entry_by_entry(function), integral, integral, flat=True, dtype=bool)
pointwise(ops.LogicalAnd, entry_by_entry(lambda a, b: bool(a and b)), integral, truth, flat=True, dtype=bool)
pointwise(ops.LogicalOr, entry_by_entry(lambda a, b: bool(a or b)), integral, truth, flat=True, dtype=bool)
pointwise(ops.LogicalNot, entry_by_entry(lambda a: not a), integral, flat=True, dtype=bool)
pointwise(ops.IsNan, entry_by_entry(lambda x: x != x), some_nan, flat=True, dtype=bool)
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
add(ops.Sum, row_by_row(sum), (anywhere, (2, 3)), axis=0, dtype=np.float64)


# ------------------------------------------------------------------------------------------------------------- shaping

def reordered(arrange: Callable[..., Any]) -> Callable[..., Any]:
    """The reference of an op that moves entries: `arrange` says, for the numbers 0, 1, 2, ... in x's place, where to."""
    def reference(x: Any, **options: Any) -> Any:
        places = arrange(np.arange(np.size(x)).reshape(np.shape(x)), **options)
        return np.array([x.flat[i] for i in places.flat], x.dtype).reshape(places.shape)
    return reference


def move(op: type[Op], arrange: Callable[..., Any], shape: tuple[int, ...], note: str = "", **options: Any) -> Case:
    """A case of an op that moves entries."""
    return Case(op, reordered(arrange), [(anywhere, shape)], options, note)


def moves(op: type[Op], arrange: Callable[..., Any], *variants: tuple[tuple[int, ...], dict[str, Any]]) -> None:
    CASES.extend(move(op, arrange, shape, **options) for shape, options in variants)


def inserted(x: Any, axis: Any) -> Any:
    """New axes by hand: which axes of the result are new, then the old lengths fill the rest."""
    ndim = x.ndim + np.size(axis)
    new, old = {i % ndim for i in np.atleast_1d(axis)}, iter(x.shape)
    return x.reshape([1 if i in new else next(old) for i in range(ndim)])


def removed(x: Any, axis: Any = None) -> Any:
    ones = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else [i % x.ndim for i in np.atleast_1d(axis)]
    return x.reshape([n for i, n in enumerate(x.shape) if i not in ones])


moves(ops.Identity, lambda x: x, *((shapes[0], {}) for shapes in SHAPES[1]))
moves(ops.Reshape, lambda x, shape: x.ravel().reshape(shape),
      ((2, 3), {"shape": (3, 2)}), ((2, 3), {"shape": -1}), ((2, 3), {"shape": (3, -1, 1)}), ((), {"shape": (1, 1)}),
      ((1,), {"shape": ()}), ((0, 3), {"shape": (3, 0)}), ((2, 3, 2), {"shape": (4, 3)}))
moves(ops.Transpose, lambda x, axes=None: np.einsum(x, range(x.ndim), range(x.ndim)[::-1] if axes is None
                                                     else [i % x.ndim for i in axes]),
      ((2, 3), {}), ((2, 3, 4), {}), ((2, 3, 4), {"axes": (1, 2, 0)}), ((2, 3, 4), {"axes": (-1, 0, 1)}),
      ((2, 3), {"axes": [1, 0]}), ((), {}), ((3,), {}), ((0, 3), {}))
moves(ops.SwapAxes, lambda x, axis1, axis2: np.moveaxis(np.moveaxis(x, axis1, 0), axis2 if axis2 > 0 else -1, 0)
      if x.ndim == 2 and axis1 == 0 else np.einsum("abc->cba" if x.ndim == 3 else "ab->ab", x),
      ((2, 3), {"axis1": 0, "axis2": 1}), ((2, 3, 4), {"axis1": 0, "axis2": -1}), ((2, 3), {"axis1": 1, "axis2": 1}),
      ((0, 3), {"axis1": 0, "axis2": 1}))
moves(ops.ExpandDims, inserted, ((2, 3), {"axis": 0}), ((2, 3), {"axis": -1}), ((2, 3), {"axis": (0, 2)}),
      ((2, 3), {"axis": (-1, 1)}), ((), {"axis": 0}), ((0, 3), {"axis": 1}))
moves(ops.Squeeze, removed, ((1, 2, 1), {}), ((1, 2, 1), {"axis": 0}), ((1, 2, 1), {"axis": (0, -1)}),
      ((2, 1, 3), {"axis": -2}), ((1, 1), {}), ((2, 3), {}), ((), {}), ((0, 1), {"axis": 1}))
moves(ops.BroadcastTo, lambda x, shape: x + np.zeros(shape, int),
      ((2, 1), {"shape": (2, 3)}), ((3,), {"shape": (2, 3)}), ((), {"shape": (2, 3)}), ((2, 3), {"shape": (2, 3)}),
      ((1, 3), {"shape": (0, 3)}), ((2, 1, 1), {"shape": (4, 2, 1, 3)}), ((), {"shape": ()}))


@st.composite
def random_moves(draw: Any, op: type[Op]) -> Case:
    """An op that moves entries, of a random shape with random options; NumPy's function says where they go."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=3, min_side=0))
    axes = st.integers(-len(shape), len(shape) - 1)
    if op is ops.Identity:
        return move(op, lambda x: x, shape)
    if op is ops.Reshape:
        return move(op, np.reshape, shape, shape=tuple(draw(st.permutations(shape))))
    if op is ops.Transpose:
        signed = [i - draw(st.sampled_from([0, len(shape)])) for i in draw(st.permutations(range(len(shape))))]
        return move(op, np.transpose, shape, axes=tuple(signed))
    if op is ops.SwapAxes:
        return move(op, np.swapaxes, shape, axis1=draw(axes), axis2=draw(axes))
    if op is ops.ExpandDims:
        return move(op, np.expand_dims, shape, axis=draw(st.integers(-len(shape) - 1, len(shape))))
    if op is ops.Squeeze:
        shape = tuple(draw(st.permutations([*shape, 1, 1])))
        ones = [i for i, n in enumerate(shape) if n == 1]
        return move(op, np.squeeze, shape, axis=draw(st.none() | st.sampled_from(ones)))
    result = draw(hnp.broadcastable_shapes(shape, min_dims=len(shape), max_side=3).filter(
        lambda wide: np.broadcast_shapes(shape, wide) == wide))
    return move(op, np.broadcast_to, shape, shape=result)


for op in (ops.Identity, ops.Reshape, ops.Transpose, ops.SwapAxes, ops.ExpandDims, ops.Squeeze, ops.BroadcastTo):
    add_random(op, random_moves(op))


def cast(x: Any, dtype: Any) -> Any:
    return x if np.iscomplexobj(x) else np.array([dtype(e) for e in x.flat], dtype).reshape(x.shape)


for shapes in SHAPES[1]:
    add(ops.Cast, lambda x, dtype: x, (anywhere, *shapes), dtype=np.float32)
add(ops.Cast, lambda x, dtype: x, (anywhere, (2, 3)), dtype=np.float64)
for dtype in (np.int64, np.bool_):
    CASES.append(Case(ops.CastToInteger, cast, [(integral, (2, 3))], {"dtype": dtype}, flat=True, dtype=dtype))
add_random(ops.Cast, hnp.array_shapes(min_dims=0, min_side=0, max_side=3).map(
    lambda shape: Case(ops.Cast, lambda x, dtype: x, [(anywhere, shape)], {"dtype": np.float32}, dtype=np.float32)))
