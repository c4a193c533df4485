"""Calls of what changes shape and order, joins, pads, takes apart, and takes out."""

import operator

import numpy as np

from ..cases.registry import anywhere, distinct, even, given, integers_below, positive, truth
from .basic import listed
from .registry import call

A, B = (anywhere, (2, 3)), (anywhere, (2, 3))
V, S, T = (anywhere, (4,)), (anywhere, ()), (anywhere, (2, 3, 2))
EMPTY = (anywhere, (0, 3))


def calls(function, *variants, **claims):
    """Calls of one function: inputs, then positional arguments after the arrays, then options."""
    for inputs, *rest in variants:
        given_options = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        positional = tuple(rest)
        inputs = inputs if isinstance(inputs, list) else [inputs]
        call(function, *inputs, form=lambda f, *xs, p=positional, **o: f(*xs, *p, **o),
             note=str(positional).replace(" ", "") if positional else "", **{"analytic": True, **claims},
             **given_options)


# -------------------------------------------------------------------------------------------------------- shape, order

calls(np.reshape, (A, (3, -1)), (A, 6), (S, (1, 1)), (A, (3, 2), "F"), (T, (4, 3), "F"), jax=False)
calls(np.ravel, (T, "F"), (S,), jax=False)
calls(np.transpose, (T, (1, 2, 0)), (A,), jax=False)
if np.permute_dims is not np.transpose:
    calls(np.permute_dims, (T, (1, 2, 0)))
calls(np.matrix_transpose, (T,), (A,))
calls(np.moveaxis, (T, 0, -1), (T, [0, 1], [-1, 0]), (A, (), ()))
calls(np.rollaxis, (T, 2), (T, 0, 3), (T, -1, 1), (T, 1, -1), jax=False)
calls(np.flip, (T,), (T, (0, -1)), (EMPTY, 1))
calls(np.fliplr, (T,))
calls(np.flipud, (V,))
for k in range(-1, 4):
    calls(np.rot90, (A, k), (T, k, (1, 2)))
calls(np.rot90, (T, 1, (2, 0)), (T, 3, (2, 0)))
calls(np.roll, (T, 1), (T, -2, 1), (T, (1, -1), (0, -2)), (A, 5, (0, 1)), (EMPTY, 1, 0), (A, (1, 2), 1), jax=False)
calls(np.atleast_1d, (S,), (A,), ([S, V],))
calls(np.atleast_2d, (S,), (V,), ([S, V, A],))
calls(np.atleast_3d, (S,), (V,), (A,), (T,), ([V, A],))
calls(np.broadcast_arrays, ([(anywhere, (2, 1)), (anywhere, (3,))],), ([S, V],))
for options in ({}, {"indexing": "ij"}, {"sparse": True}, {"sparse": True, "indexing": "ij"}):
    call(np.meshgrid, (anywhere, (2,)), (anywhere, (3,)), (anywhere, (1,)), analytic=True, **options)
call(np.meshgrid, V, analytic=True)
calls(np.full_like, ([A, S],), ([A, V], {"shape": (2, 4)}), ([A, S], {"dtype": np.float64}), analytic=False)
calls(np.diagonal, (A,), (A, 1), (A, -1), (T, 0, 0, 2), (T, 1, 2, 1), (A, 5), (A, -7), (EMPTY,),
      ((anywhere, (3, 2)), -2))
calls(np.diag, (A,), (A, 1), (V,), (V, 2), (V, -1), ((anywhere, (0,)), 1))
calls(np.diagflat, (A,), (A, -1))
calls(np.trace, (A,), (T, 1, 1, 2), (T, 0, -1, 0), jax=False)
for function in (np.tril, np.triu):
    calls(function, (A,), (T, 1), (A, -1), (V,), (A, 5))
calls(np.lib.stride_tricks.sliding_window_view, (V, 2), (T, (2, 1), (1, 0)), (A, (1, 2)),
      ((anywhere, (5,)), (2, 3), (0, 0)), jax=False)
calls(np.copy, (A,))
calls(np.astype, (A, np.float64), analytic=False)

# ---------------------------------------------------------------------------------------------------- joining, pieces

call(np.concatenate, A, (anywhere, (2, 1)), form=listed, axis=-1, analytic=True)
call(np.concatenate, A, A, form=listed, dtype=np.float64, narrow=False, jax=False)
call(np.stack, S, S, S, form=listed, analytic=True)
call(np.stack, A, (given(np.ones((2, 3))), (2, 3)), form=listed, axis=-1, analytic=True)
for function in (np.vstack, np.hstack, np.dstack, np.column_stack):
    call(function, V, V, form=listed, analytic=True)
    call(function, A, A, form=listed, analytic=True)
call(np.hstack, S, V, form=listed, analytic=True)
call(np.vstack, V, (anywhere, (2, 4)), form=listed, analytic=True)
call(np.column_stack, (anywhere, (2,)), A, form=listed, analytic=True)
call(np.block, A, (anywhere, (2,)), (anywhere, (1, 3)), S, note="table", analytic=True, jax=False,
     form=lambda f, a, b, c, d: f([[a, b.reshape(2, 1)], [c, d]]))
call(np.block, V, S, form=lambda f, a, b: f([a, 1.0, b]), note="row", analytic=True, narrow=False)
call(np.block, A, form=lambda f, a: f(a), note="alone", analytic=True)
call(np.block, T, S, form=lambda f, a, b: f([[[a]], [[a]]]) * b, note="deep", analytic=True)
calls(np.append, ([A, B],), ([A, (anywhere, (2, 1))], 1), ([V, S],))
for obj, values, axis in [
    (1, (), None), (1, (), 1), (-1, (2,), 1), (1, (3,), 0), ([1, 2], (), None), ([0, 2], (2, 2), 1), ([1], (3,), 0),
    ([2, 0, 2], (3,), None), (slice(0, 2), (2,), None), (1, (2, 2), 1), ([1], (2, 2), 1), (0, (2, 3), 0),
    *([(np.array([True, False, True]), (2, 2), 1)] if np.lib.NumpyVersion(np.__version__) > "2.2.0" else []),
]:
    call(np.insert, A, (anywhere, values), form=lambda f, x, v, o=obj, a=axis: f(x, o, v, a), analytic=True, jax=False,
         note=f"{obj},{axis}".replace(" ", ""))
for obj, axis in [(1, None), (-1, 1), ([0, 2], 1), (slice(0, 2), 1), (np.array([True, False, True]), 1), ([], 0)]:
    call(np.delete, A, form=lambda f, x, o=obj, a=axis: f(x, o, a), analytic=True, jax=False,
         note=f"{obj},{axis}".replace(" ", ""))
calls(np.array_split, (V, 3), ((anywhere, (7, 2)), 3), (A, 2, 1), (V, 6))
calls(np.split, (V, 2), (A, [1, 2], 1), (A, 3, -1), (V, [1, 9]), jax=False)
calls(np.hsplit, (V, 2), (A, 3), (T, [1]))
calls(np.vsplit, (A, 2))
calls(np.dsplit, (T, 2))
if hasattr(np, "unstack"):
    calls(np.unstack, (A,), (A, {"axis": -1}))
call(np.trim_zeros, V, form=lambda f, x: f(np.concatenate([[0.0], x, [0.0, 0.0]], dtype=x.dtype)), analytic=True,
     dynamic=True, jax=False)
call(np.trim_zeros, V, form=lambda f, x: f(np.concatenate([[0.0], x, [0.0]], dtype=x.dtype), "b"), note="b",
     analytic=True, dynamic=True, jax=False)
call(np.apply_along_axis, T, form=lambda f, x: f(lambda row: row[::-1] * row.sum(), 1, x), analytic=True)
call(np.apply_along_axis, T, form=lambda f, x: f(lambda row: row.sum(), 0, x), note="numbers", analytic=True)
call(np.apply_along_axis, A, form=lambda f, x: f(np.diag, -1, x), note="matrices", analytic=True)
call(np.apply_over_axes, T, form=lambda f, x: f(np.sum, x, [0, 2]), analytic=True)

calls(np.tile, (A, 2), (A, (2, 1, 3)), (V, (2, 2)), (S, 3), (A, ()), (A, (0, 1)))
calls(np.repeat, (A, 2), (A, 2, 1), (A, [0, 1, 2], 1), (V, [2]), (S, 3), (A, 0, 0), jax=False)
calls(np.resize, (A, (3, 4)), (A, 4), (A, (0, 2)))
calls(np.pad, (A, 1), (A, (1, 2)), (A, [(0, 1), (2, 0)]), (A, 1, "constant", {"constant_values": 2.5}), (S, 1),
      jax=False)
call(np.pad, A, (anywhere, (2, 2)), form=lambda f, x, c: f(x, ((1, 0), (2, 1)), constant_values=c), note="values",
     analytic=True, jax=False)
for mode in ("edge", "wrap", "reflect", "symmetric", "maximum", "minimum", "mean", "median", "linear_ramp"):
    if mode == "median" and np.median not in __import__("tinygraph").node.TWINS:
        continue
    call(np.pad, (distinct, (2, 3)), form=lambda f, x, **o: f(x, ((1, 2), (0, 4)), **o), mode=mode, jax=False,
         analytic=mode not in ("maximum", "minimum", "median"))
for mode in ("reflect", "symmetric"):
    for shape, width in [((4,), (2, 3)), ((3,), (9, 5)), ((2, 3), ((3, 0), (7, 1))), ((1, 2), ((2, 2), (0, 3)))]:
        call(np.pad, (anywhere, shape), form=lambda f, x, w=width, **o: f(x, w, **o), mode=mode, reflect_type="odd",
             analytic=True, jax=False, note=str(width).replace(" ", ""))
call(np.pad, (distinct, (5, 2)), form=lambda f, x, **o: f(x, 2, **o), mode="maximum", stat_length=2, jax=False)
call(np.pad, (anywhere, (5, 2)), form=lambda f, x, **o: f(x, 2, **o), mode="mean", stat_length=((2, 3), (1, 9)),
     analytic=True, jax=False)
call(np.pad, A, S, form=lambda f, x, e: f(x, 2, "linear_ramp", end_values=e), note="ramp to a node", analytic=True,
     jax=False)

# ----------------------------------------------------------------------------------------------------------- taken out

calls(np.take, (A, [0, 5, 0]), (A, [[0, -1], [2, 0]], 1), (A, 1, 0), (A, [4, -5], 1, None, "wrap"),
      (A, [9, -9], 1, None, "clip"), (A, [], 0), (A, np.array([0, 1, 1], np.uint8), -1), jax=False)
call(np.take, A, (integers_below(3), (2, 2)), form=lambda f, x, i: f(x, i, axis=1), analytic=True, jax=False)
call(np.take_along_axis, A, (integers_below(2), (4, 3)), form=lambda f, x, i: f(x, i, axis=0), analytic=True)
call(np.take_along_axis, A, (integers_below(3), (2, 1)), form=lambda f, x, i: f(x, i, axis=-1), analytic=True)
call(np.take_along_axis, A, (integers_below(6), (4,)), form=lambda f, x, i: f(x, i, axis=None), analytic=True)
call(np.choose, (integers_below(2), (2, 3)), A, (anywhere, (3,)), form=lambda f, i, a, b: f(i, [a, b]), analytic=True)
call(np.choose, (integers_below(5), (3,)), A, form=lambda f, i, a: f(i - 1, a, mode="wrap"), note="wrap", analytic=True)
call(np.choose, (integers_below(5), (3,)), A, form=lambda f, i, a: f(i - 1, a, mode="clip"), note="clip", analytic=True)
calls(np.compress, ([(given(np.array([True, False])), (2,)), A], {"axis": 0}), ([(given([0, 1, 1, 0]), (4,)), A],))
call(np.extract, (given(np.array([[1, 0, 1], [0, 0, 1]])), (2, 3)), A, analytic=True)
call(np.select, (truth, (2, 3)), (truth, (3,)), A, (anywhere, (3,)), S, analytic=True,
     form=lambda f, c, d, a, b, s: f([c, d], [a, b], s))
call(np.select, (truth, (2, 3)), A, form=lambda f, c, a: f([c], [a * a]), note="default", analytic=True)
call(np.where, (truth, (2, 3)), A, form=lambda f, c, a: f(c, a, 2.0), note="weak", analytic=True)
call(np.piecewise, A, analytic=True, jax=False, form=lambda f, x: f(
    x, [np.arange(6).reshape(2, 3) < 2, np.arange(6).reshape(2, 3) > 4], [np.sin, lambda x: x * x, 3.0]))
call(np.piecewise, A, S, analytic=True, jax=False, note="arguments", form=lambda f, x, s: f(
    x, [np.arange(6).reshape(2, 3) % 2 == 0], [lambda x, k: k * x, lambda x, k: x / (3 + k)], s))
call(np.piecewise, V, form=lambda f, x: f(x, [np.array([True, False, False, True])], [lambda x: x * x]), note="zeros",
     analytic=True, jax=False)


for function in (np.union1d, np.setdiff1d, np.setxor1d):
    call(function, (distinct, (4,)), (lambda u: distinct(u) + 0.2, (3,)), order=1, dynamic=True, jax=False)
call(np.intersect1d, (given(np.array([1, 2])), (2,)), (given(np.array([2, 3, 2])), (3,)), order=0, jax=False)


# ---------------------------------------------------------------------------------------------------- x.at, node[index]

def updated(method, index, x, v):
    """x.at[index].method(v) on arrays, which have no `at`."""
    if hasattr(x, "at"):
        return getattr(x.at[index], method)(v)
    if hasattr(v, "at"):  # a plain x of a test that differentiates by v alone
        raise TypeError
    y = np.array(x, np.result_type(x, v) if np.iscomplexobj(v) else x.dtype)
    if method == "set":
        y[index] = v
    else:
        ufunc = {"min": np.minimum, "max": np.maximum}.get(method) or getattr(np, method)
        ufunc.at(y, index, v)
    return y


UPDATES = [
    ((4,), 1, ()), ((4,), slice(1, 3), (2,)), ((2, 3), (slice(None), -1), ()), ((4,), np.array([0, 2, 0]), (3,)),
    ((2, 3), np.array([1, 1]), (2, 1)), ((2, 3), np.array([[True, False, True], [False, False, True]]), (3,)),
    ((2, 3, 2), (np.array([0, 1, 0]), slice(None), np.array([1, 1, 1])), (3, 3)), ((2, 3), Ellipsis, (1, 1, 3)),
    ((2, 3), (None, 0), (1, 3)), ((3,), [], (0,)), ((2, 3), (np.array([1, 1]), np.array([2, 2])), ()), ((), (), ()),
]
for method in ("set", "add", "subtract", "multiply", "divide", "power", "max", "min"):
    for shape, index, values in UPDATES:
        if method == "power" and shape == (2, 3, 2):
            continue
        domain = positive if method in ("divide", "power") else even
        factor = (lambda u: positive(u) / 3 + 0.217) if domain is positive else (lambda u: distinct(u) + 0.2)
        if np.shape(np.zeros(shape)[index]) != values and values[:2] == (1, 1) and method != "set":
            continue  # NumPy lets assignments alone have more axes
        call(operator.setitem, (domain, shape), (factor, values), jax=False,
             form=lambda f, x, v, m=method, i=index: updated(m, i, x, v),
             note=f"{method} {index} {values}".replace("\n", ""), analytic=method not in ("max", "min", "power"))
