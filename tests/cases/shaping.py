"""Cases of the ops that stack, turn, update at an index, multiply at every shift, and interpolate."""

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tinygraph import Op, ops
from tinygraph.ops.selection import ARRAY

from .basic import INDICES, MOVES, any_axis, moves, places, random_moves
from .registry import CASES, Case, add, add_random, anywhere, distinct, even, given, is_less

# ------------------------------------------------------------------------------------------------- stacked and turned

def side_by_side(*arrays: Any, axis: int) -> Any:
    """Entry by entry."""
    first, axis = arrays[0], axis % (arrays[0].ndim + 1)
    y = np.zeros((*first.shape[:axis], len(arrays), *first.shape[axis:]), np.result_type(*arrays))
    for i, array in enumerate(arrays):
        for place in np.ndindex(first.shape):
            y[(*place[:axis], i, *place[axis:])] = array[place]
    return y


def stack_case(shape: tuple[int, ...], count: int, axis: int) -> Case:
    return Case(ops.Stack, side_by_side, [(anywhere, shape)] * count, {"axis": axis})


for shape, count, axis in [((2, 3), 2, 0), ((2, 3), 3, -1), ((2, 3), 1, 1), ((), 3, 0), ((0, 2), 2, 1), ((3,), 2, -2)]:
    CASES.append(stack_case(shape, count, axis))
add_random(ops.Stack, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3).flatmap(lambda shape: st.builds(
    stack_case, st.just(shape), st.integers(1, 3), any_axis((*shape, 1)))))


def reversed_along(x: Any, axis: Any = None) -> Any:
    for i in range(x.ndim) if axis is None else np.atleast_1d(axis).astype(int):
        x = x.take(np.arange(x.shape[i])[::-1], i)
    return x


def shifted_along(x: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return shifted_along(x.ravel(), shift, 0).reshape(x.shape)
    for n, i in np.broadcast(shift, axis):
        x = x.take((np.arange(x.shape[i]) - n) % max(x.shape[i], 1), i)
    return x


moves(ops.Flip, reversed_along, ((2, 3), {}), ((2, 3), {"axis": 0}), ((2, 3, 2), {"axis": (-1, 0)}),
      ((0, 3), {"axis": 1}), ((), {}), ((2, 3), {"axis": ()}))
moves(ops.Roll, shifted_along, ((2, 3), {"shift": 2}), ((2, 3), {"shift": -1, "axis": 1}),
      ((2, 3, 2), {"shift": (1, -4), "axis": (0, 1)}), ((2, 3), {"shift": 1, "axis": (0, -1)}),
      ((3,), {"shift": (1, 1), "axis": 0}), ((0, 3), {"shift": 1, "axis": 1}), ((), {"shift": 3}))
MOVES[ops.Flip] = np.flip, lambda shape: {"axis": st.none() | any_axis(shape)}
MOVES[ops.Roll] = np.roll, lambda shape: {"shift": st.integers(-4, 4), "axis": st.none() | any_axis(shape)}
for op in (ops.Flip, ops.Roll):
    add_random(op, random_moves(op))


# ------------------------------------------------------------------------------------------------ updated at an index

def one_by_one(step: Any) -> Any:
    """The entries of v, one after the other, do something to the place that the index names."""
    def reference(x: Any, v: Any, *arrays: Any, index: Any) -> Any:
        remaining = iter(arrays)
        at = places(x.shape, tuple(next(remaining) if part is ARRAY else part for part in index))
        y = list(x.ravel().astype(np.result_type(x, v)))
        for place, entry in zip(at.flat, np.broadcast_to(v, at.shape).flat, strict=True):
            y[place] = step(y[place], entry)
        return np.array(y, np.result_type(x, v)).reshape(x.shape)
    return reference


UPDATES = {
    ops.AddAt: one_by_one(lambda old, new: old + new), ops.SetAt: one_by_one(lambda old, new: new),
    ops.MaxAt: one_by_one(lambda old, new: new if is_less(old, new) else old),
    ops.MinAt: one_by_one(lambda old, new: new if is_less(new, old) else old),
}


def update_case(op: type[Op], shape: tuple[int, ...], index: Any, values: tuple[int, ...] | None = None) -> Case:
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [(given(part), np.shape(part)) for part in parts if isinstance(part, np.ndarray)]
    structure = tuple(ARRAY if isinstance(part, np.ndarray) else part for part in parts)
    values = places(shape, index).shape if values is None else values
    note = f"{index!r}".replace("array", "").replace("None", "").replace(" ", "").replace("\n", "")
    return Case(op, UPDATES[op], [(lambda u: 4 * even(u), shape), (lambda u: 4 * distinct(u) + 0.6, values), *arrays],
                {"index": structure}, note)


for op in UPDATES:
    CASES.extend(update_case(op, shape, index) for shape, index in INDICES[::4 if op is ops.SetAt else 8])
    CASES.append(update_case(op, (2, 3), (slice(None), np.array([0, 0])), (2, 1)))
    CASES.append(update_case(op, (2, 3), (np.array([1, 0]),), ()))


@st.composite
def updates(draw: Any, op: type[Op]) -> Case:
    shape = draw(hnp.array_shapes(max_dims=3, max_side=3))
    integers = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    masks = st.integers(1, len(shape)).flatmap(lambda n: hnp.arrays(bool, shape[:n]))
    return update_case(op, shape, draw(hnp.basic_indices(shape, allow_newaxis=True) | integers | masks))


for op in UPDATES:
    add_random(op, updates(op))


def last_ones(*arrays: Any, shape: Any, index: Any) -> Any:
    remaining = iter(arrays)
    at = places(shape, tuple(next(remaining) if part is ARRAY else part for part in index))
    flat = list(at.flat)
    return np.array([place not in flat[i + 1:] for i, place in enumerate(flat)], bool).reshape(at.shape)


for numbers in (np.array([0, 0, 1]), np.array([[2, 1], [-1, 1]]), np.array(1), np.zeros(0, int)):
    add(ops.LastAt, last_ones, (given(numbers), numbers.shape), flat=True, result=bool, shape=(3, 2), index=(ARRAY,),
        note=str(numbers.tolist()))


# ------------------------------------------------------------------------------------------------ products, sequences

def by_permutations(a: Any, b: Any) -> Any:
    """Σ ε_ijk a_j b_k"""
    epsilon = np.zeros((3, 3, 3))
    epsilon[[0, 1, 2], [1, 2, 0], [2, 0, 1]], epsilon[[0, 2, 1], [2, 1, 0], [1, 0, 2]] = 1, -1
    return np.einsum("ijk,...j,...k->...i", epsilon, a, b).astype(np.result_type(a, b))


for a, b in [((3,), (3,)), ((2, 3), (3,)), ((4, 1, 3), (2, 3)), ((0, 3), (3,))]:
    add(ops.Cross, by_permutations, (anywhere, a), (anywhere, b))
add_random(ops.Cross, hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3, min_dims=0).map(
    lambda drawn: Case(ops.Cross, by_permutations, [(anywhere, (*shape, 3)) for shape in drawn.input_shapes])))


def shift_by_shift(a: Any, v: Any, mode: str) -> Any:
    n, m = len(a), len(v)
    y = [sum(a[i] * v[k - i] for i in range(n) if 0 <= k - i < m) for k in range(n + m - 1)]
    return np.array(y if mode == "full" else y[min(n, m) - 1:max(n, m)], np.result_type(a, v))


def convolution_case(n: int, m: int, mode: str) -> Case:
    return Case(ops.Convolve, shift_by_shift, [(anywhere, (max(n, m),)), (anywhere, (min(n, m),))], {"mode": mode})


for n, m in [(4, 2), (3, 3), (3, 1), (1, 1)]:
    CASES.extend(convolution_case(n, m, mode) for mode in ("full", "valid"))
add_random(ops.Convolve, st.builds(convolution_case, st.integers(1, 5), st.integers(1, 5),
                                   st.sampled_from(["full", "valid"])))


def piece_by_piece(x: Any, xp: Any, fp: Any) -> Any:
    def at(t: Any) -> Any:
        k = int(np.sum(~is_less(t, xp)))
        if k in (0, len(xp)):
            return fp[min(k, len(xp) - 1)]
        return fp[k - 1] + (fp[k] - fp[k - 1]) * (t - xp[k - 1]) / (xp[k] - xp[k - 1])

    y = np.array([at(t) for t in x.flat]).reshape(x.shape)
    return y.astype(np.promote_types(y.dtype, float))


def interpolation_case(shape: tuple[int, ...], n: int) -> Case:
    """Points near the whole numbers, and away from them where to interpolate."""
    def between(u: np.ndarray) -> np.ndarray:
        return np.floor((n + 1) * np.minimum(u, 0.999)) - 0.6 + 0.2 * (7 * u % 1)

    return Case(ops.Interp, piece_by_piece, [(between, shape), (lambda u: np.arange(n) + 0.3 * u, (n,)),
                                            (anywhere, (n,))], analytic=False, result=np.float64)


for shape, n in [((6,), 3), ((2, 3), 4), ((), 3), ((3,), 2), ((3,), 1), ((0, 2), 2)]:
    CASES.append(interpolation_case(shape, n))
add_random(ops.Interp, st.builds(interpolation_case, hnp.array_shapes(min_dims=0, max_dims=2, max_side=4),
                                 st.integers(1, 4)))
