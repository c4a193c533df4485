"""Calls of functions of sequences, of products, and of queries."""

import operator

import numpy as np

from ..cases.registry import anywhere, distinct, given, nonzero, positive, truth
from .basic import listed
from .registry import call
from .shaping import A, S, T, V, calls, updated
from .ufuncs import complex_of

W = (anywhere, (3,))

# ------------------------------------------------------------------------------------------ differences and integrals

calls(np.diff, (V,), (T, 2, 1), (A, 1, 0), (A, 0), (A, 5), jax=False)
call(np.diff, A, (anywhere, (2, 1)), S, form=lambda f, x, p, a: f(x, prepend=p, append=a), analytic=True)
call(np.ediff1d, A, analytic=True)
call(np.ediff1d, A, S, (anywhere, (2,)), form=lambda f, x, b, e: f(x, e, b), analytic=True)
call(np.trapezoid, A, analytic=True)
call(np.trapezoid, A, S, form=lambda f, y, dx: f(y, dx=dx, axis=0), analytic=True)
call(np.trapezoid, A, W, form=lambda f, y, x: f(y, x), analytic=True)
call(np.trapezoid, A, A, form=lambda f, y, x: f(y, x, axis=0), analytic=True)
if hasattr(np, "trapz"):
    call(np.trapz, A, form=lambda f, x: np.trapezoid(x), analytic=True)  # noqa: NPY201
for edge_order in (1, 2):
    call(np.gradient, (anywhere, (5,)), analytic=True, edge_order=edge_order, jax=False)
    call(np.gradient, (anywhere, (3, 4)), (nonzero, ()), (distinct, (4,)), form=lambda f, x, h, t, **o: f(x, h, t, **o),
         edge_order=edge_order, jax=False, analytic=True)
call(np.gradient, (anywhere, (3, 4)), form=lambda f, x: f(x, 2.0, axis=1), note="one axis", analytic=True)
call(np.gradient, (anywhere, (2, 3)), form=lambda f, x: f(x, [0, 2], [0.0, 1.0, 3.0]), note="plain", analytic=True,
     jax=False, narrow=False)

# -------------------------------------------------------------------------------------------------------- interpolation

points = (lambda u: np.arange(5.0) - 2 + 0.3 * u, (5,))
for x, note in [((lambda u: np.arange(4) - 1.5 + 0.2 * u, (4,)), "inside"), ((lambda u: 0.5 + 0.2 * u, ()), "0-d"),
                ((lambda u: np.array([[-2.5, 2.5, 0.4], [9.0, -1.4, -7.0]]) + 0.2 * u, (2, 3)), "around")]:
    call(np.interp, x, points, (anywhere, (5,)), note=note, narrow=False, jax=False)
    call(np.interp, x, points, (anywhere, (5,)), S, S, note=note + ", ends", narrow=False, jax=False)

# ----------------------------------------------------------------------------------------------------------- products

for mode in ("full", "same", "valid"):
    for n, m in [(5, 3), (4, 2), (2, 4), (3, 5), (3, 3), (1, 4)]:
        call(np.convolve, (anywhere, (n,)), (anywhere, (m,)), mode=mode, analytic=True)
        call(np.correlate, (anywhere, (n,)), (anywhere, (m,)), mode=mode, jax=False)
call(np.cross, W, W, analytic=True)
call(np.cross, (anywhere, (2, 3)), (anywhere, (4, 1, 3)), analytic=True)
call(np.cross, (anywhere, (3, 2)), (anywhere, (2, 3)), axisa=0, axisc=0, analytic=True)
call(np.cross, (anywhere, (3, 2)), (anywhere, (3, 2)), axis=0, analytic=True)
for x, y in [(A, A), (V, A), (T, V), (S, A)]:
    call(np.kron, x, y, analytic=True)
    call(np.outer, x, y, analytic=True)
for x, y in [(V, V), (A, W), (T, (anywhere, (4, 2))), (S, A), (W, A)]:
    call(np.inner, x, y, analytic=True)
for x, y in [(V, V), (A, W), (T, (anywhere, (2, 2))),
             ((anywhere, (2, 2)), (anywhere, (3, 2, 4))), (W, (anywhere, (2, 3, 2)))]:
    call(np.dot, x, y, analytic=True)
call(np.vdot, A, A)
call(np.vdot, S, S)
calls(np.tensordot, ([A, (anywhere, (3, 2))], 1), ([T, (anywhere, (3, 2, 4))], 2), ([A, V], 0),
      ([T, T], ([0, 1], [0, 1])), ([T, T], (1, 1)), ([A, A], ((0, -1), (0, 1))),
      ([(anywhere, (1, 2)), (anywhere, (1, 3))], (0, 0)))
call(np.linalg.tensordot, A, (anywhere, (3, 2)), axes=((1,), (0,)), analytic=True)
call(np.einsum, A, (anywhere, (3, 2)), form=lambda f, a, b: f(a, [0, 1], b, [1, 2], [2, 0]), note="lists",
     analytic=True)
call(np.einsum, A, (anywhere, (3, 2)), form=lambda f, a, b: f(a, [7, 3], b, [3, 5]), note="no result",
     analytic=True)
call(np.einsum, T, (anywhere, (2, 2)), form=lambda f, a, b: f(a, [..., 0], b, [0, 1], [..., 1]), note="lists, ...",
     analytic=True, jax=False)
for optimize in (True, "greedy", "optimal", ["einsum_path", (0, 1), (0, 1)]):
    call(np.einsum, A, (anywhere, (3, 2)), A, form=lambda f, *xs, **o: f("ij,jk,kl->il", *xs, **o), optimize=optimize,
         analytic=True, jax=False)
call(np.einsum, A, form=lambda f, x, **o: f("ij->j", x, **o), dtype=np.float64, narrow=False, jax=False)

# -------------------------------------------------------------------------------------------------------- polynomials

call(np.polyval, V, A, analytic=True)
call(np.polyval, V, S, analytic=True)
call(np.polyval, V, form=lambda f, p: f(p, 0.5), note="at a number", analytic=True, narrow=False)
for function in (np.polyadd, np.polysub):
    call(function, V, (anywhere, (2,)), analytic=True)
    call(function, (anywhere, (2,)), V, analytic=True)
call(np.polymul, V, W, analytic=True, dynamic=True)
calls(np.polyder, (V,), (V, 2), (V, 0))
calls(np.polyint, (V, 1), (V, 2, 3.0), jax=False, narrow=False)
call(np.polyint, V, (anywhere, (2,)), form=lambda f, p, k: f(p, 2, k), note="constants", analytic=True, narrow=False)
call(np.polydiv, (anywhere, (5,)), (positive, (3,)), dynamic=True, jax=False)
call(np.polydiv, (anywhere, (2,)), (positive, (3,)), dynamic=True, jax=False)
call(np.poly, W, jax=False)
call(np.polyfit, (distinct, (5,)), (anywhere, (5,)), deg=2, jax=False)
call(np.polyfit, (distinct, (5,)), (anywhere, (5, 2)), (positive, (5,)), jax=False,
     form=lambda f, x, y, w: f(x, y, 1, w=w))
call(np.roots, (lambda u: np.array([1.0, -1.5, -1.5, 1]) + 0.01 * u, (4,)), dynamic=True, jax=False)
call(np.roots, (anywhere, (2,)), form=lambda f, p: f(np.concatenate([[0.0], p, [0.0]], dtype=p.dtype)), dynamic=True,
     jax=False, note="zeros")
calls(np.vander, (W,), (W, 5), (W, 2, True), (W, 0))
call(np.vander, (given(np.zeros(2)), (2,)), note="at 0", analytic=True)
call(np.linspace, S, S, num=4, analytic=True)
call(np.linspace, A, W, num=3, axis=1, endpoint=False, analytic=True)
call(np.linspace, S, S, num=5, retstep=True, analytic=True)
call(np.linspace, S, S, num=1, analytic=True)
call(np.logspace, S, (anywhere, (2,)), num=3, analytic=True)
call(np.logspace, S, S, (positive, ()), form=lambda f, a, b, c, **o: f(a, b, base=c, **o), num=3)
call(np.geomspace, (positive, ()), (positive, ()), num=4, jax=False)
call(np.geomspace, (positive, (2,)), (positive, (2,)), num=3, axis=1, jax=False)

# ------------------------------------------------------------------------------------------------------------- queries

for function in (np.iscomplexobj, np.isrealobj, np.nonzero, np.flatnonzero, np.argwhere, np.min_scalar_type,
                 np.array_repr, np.array_str, np.array2string, np.tril_indices_from, np.triu_indices_from):
    if function in (np.array_repr, np.array_str, np.array2string, np.min_scalar_type):
        continue
    call(function, A, order=0, narrow=False)
call(np.diag_indices_from, (anywhere, (3, 3)), order=0)
for function in (np.array_equiv, np.isin, np.shares_memory, np.may_share_memory):
    call(function, A, A, order=0)
if hasattr(np, "in1d"):
    call(np.in1d, V, V, order=0, form=lambda f, a, b: np.isin(a, b))  # noqa: NPY201
call(np.where, A, order=0, note="one argument")
call(np.ix_, (truth, (3,)), (truth, (2,)), order=0)

# ---------------------------------------------------------------------------------------------------- complex numbers

Z, ZV = (complex_of(nonzero), (2, 3)), (complex_of(nonzero), (4,))
for function, *inputs in [
    (np.vdot, Z, Z),
    (np.vdot, (complex_of(nonzero), (3,)), W), (np.vdot, V, ZV), (np.convolve, ZV, V), (np.correlate, ZV, ZV),
    (np.correlate, W, ZV),
    (np.cross, Z, Z), (np.outer, ZV, V), (np.inner, ZV, ZV), (np.kron, ZV, V), (np.tril, Z), (np.diff, Z), (np.roll, Z),
    (np.gradient, ZV), (np.trapezoid, Z), (np.flip, Z), (np.polyval, ZV, (complex_of(nonzero), ())),
]:
    options = {np.roll: {"shift": 1}, np.correlate: {"mode": "full"}}.get(function, {})
    call(function, *inputs, note="complex", **options)
call(np.stack, Z, A, form=listed, note="complex")
call(np.pad, Z, form=lambda f, x: f(x, 2, "reflect"), note="complex", jax=False)
call(np.einsum, Z, Z, form=lambda f, a, b: f("ij,ij->i", a, b), note="complex")
call(np.interp, (lambda u: np.arange(4) - 1.5 + 0.2 * u, (4,)), points, (complex_of(nonzero), (5,)), note="complex",
     narrow=False, jax=False)
for method in ("set", "add", "multiply"):
    call(operator.setitem, Z, (complex_of(nonzero), (3,)), form=lambda f, x, v, m=method: updated(m, 1, x, v),
         note=f"{method} complex", jax=False)
    call(operator.setitem, Z, (anywhere, (3,)), form=lambda f, x, v, m=method: updated(m, np.array([0, 0]), x, v),
         note=f"{method} real", jax=False)
