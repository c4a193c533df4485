"""Calls of tinygraph.scipy.linalg, whose functions are SciPy's own on arrays."""

import numpy as np

from tinygraph.scipy import linalg

from ..cases.registry import anywhere
from .linear_algebra import hermitian_positive, positive_definite, regular, signed_factors, symmetric, z
from .registry import call
from .ufuncs import complex_of


def small(u):
    return u - 0.5


def factored(factor, **options):
    """A solver, given what factorises the matrix for it."""
    return lambda f, a, b: f(factor(a @ a.T + 0.5 * np.eye(len(a), dtype=a.dtype), **options), b)


call(linalg.inv, (regular, (3, 3)), analytic=True, jax=False)
call(linalg.det, (regular, (3, 3)), analytic=True, narrow=False, jax=False)  # here SciPy returns float64
call(linalg.pinv, (regular, (4, 3)), jax=False)
call(linalg.pinv, (regular, (2, 3)), rtol=1e-6, jax=False)
call(linalg.lstsq, (regular, (4, 3)), (anywhere, (4,)), form=lambda f, a, b: f(a, b)[:2], jax=False)
call(linalg.lstsq, (regular, (3, 3)), (anywhere, (3, 2)), form=lambda f, a, b: f(a, b)[0], jax=False)
for options in ({}, {"transposed": True}):
    call(linalg.solve, (regular, (3, 3)), (anywhere, (3,)), jax=False, **options)
for kind in ("sym", "her", "pos"):
    call(linalg.solve, (regular, (3, 3)), (anywhere, (3, 2)), jax=False, note=kind,
         form=lambda f, a, b, kind=kind: positive_definite(lambda a: f(a, b, assume_a=kind), a))
for options in ({}, {"lower": True}, {"trans": 1}, {"trans": "C", "lower": True, "unit_diagonal": True}):
    call(linalg.solve_triangular, (regular, (3, 3)), (anywhere, (3, 1)), jax=False, **options)
call(linalg.solve_triangular, (regular, (3, 3)), (anywhere, (3,)), jax=False)
for lower in (False, True):
    call(linalg.cholesky, (regular, (3, 3)), form=positive_definite, lower=lower, jax=False)
    call(linalg.cho_solve, (regular, (2, 2)), (anywhere, (2, 2)), jax=False, note=f"{lower=}",
         form=factored(linalg.cho_factor, lower=lower))
call(linalg.cho_factor, (regular, (3, 3)), jax=False,
     form=lambda f, x: positive_definite(f, x, lower=True)[0] * np.tri(3, dtype=x.dtype))
for trans in (0, 1):
    call(linalg.lu_solve, (small, (2, 2)), (anywhere, (2, 2)), jax=False, note=f"{trans=}", dynamic=True,
         form=lambda f, a, b, trans=trans: factored(linalg.lu_factor)(lambda lu, b: f(lu, b, trans), a, b))
call(linalg.lu_factor, (small, (3, 3)), form=lambda f, x: f(x)[0], dynamic=True, jax=False)
for shape in ((3, 3), (3, 2), (2, 3)):
    call(linalg.lu, (small, shape), form=lambda f, x: f(x)[1:], jax=False)
call(linalg.lu, (small, (3, 3)), permute_l=True, jax=False)
call(linalg.lu, (small, (2, 2)), form=lambda f, x: f(x, p_indices=True)[1:], note="indices", dynamic=True, jax=False)

call(linalg.qr, (regular, (3, 3)), jax=False)
call(linalg.qr, (regular, (4, 2)), mode="economic", jax=False)
call(linalg.qr, (regular, (4, 2)), mode="r", jax=False)
call(linalg.svd, (regular, (4, 2)), form=signed_factors, full_matrices=False, jax=False)
call(linalg.svdvals, (regular, (2, 3)), jax=False)
call(linalg.svd, (regular, (2, 3)), compute_uv=False, jax=False)
call(linalg.eigvalsh, (regular, (3, 3)), form=symmetric, jax=False)
call(linalg.eigh, (regular, (3, 3)), form=symmetric, lower=False, eigvals_only=True, jax=False)
call(linalg.eigh, (regular, (2, 2)), (small, (2, 2)), jax=False,
     form=lambda f, a, b: [y ** 2 for y in symmetric(lambda a: positive_definite(lambda b: f(a, b), b), a)])
call(linalg.eigvalsh, (regular, (2, 2)), (small, (2, 2)), jax=False, form=lambda f, a, b: symmetric(
    lambda a: positive_definite(lambda b: f(a, b, subset_by_index=[1, 1]), b), a))

call(linalg.expm, (small, (2, 3, 3)), analytic=True, jax=False)
call(linalg.expm, (anywhere, (1, 1)), analytic=True, jax=False)
call(linalg.sqrtm, (regular, (3, 3)), narrow=False, jax=False)
for function in (linalg.logm, linalg.sqrtm):
    call(function, (small, (2, 2)), form=positive_definite, narrow=False, jax=False)
for side in ("right", "left"):
    call(linalg.polar, (regular, (3, 3)), side=side, narrow=False, jax=False)
call(linalg.polar, (regular, (4, 2)), narrow=False, jax=False)
call(linalg.solve_sylvester, (regular, (3, 3)), (regular, (2, 2)), (anywhere, (3, 2)), jax=False)
call(linalg.solve_continuous_lyapunov, (regular, (3, 3)), (anywhere, (3, 3)), jax=False)
call(linalg.solve_discrete_lyapunov, (small, (3, 3)), (anywhere, (3, 3)), narrow=False, jax=False)

call(linalg.block_diag, (anywhere, (2, 3)), (anywhere, (2,)), (anywhere, (1, 1)), analytic=True, jax=False)
call(linalg.toeplitz, (anywhere, (3,)), (anywhere, (2,)), analytic=True, jax=False)
call(linalg.toeplitz, (anywhere, (3,)), jax=False)
call(linalg.circulant, (anywhere, (3,)), analytic=True, jax=False)
for options in ({}, {"ord": 1}, {"ord": "fro", "keepdims": True, "axis": (0, 1)}):
    call(linalg.norm, (regular, (2, 3)), form=lambda f, x, options=options: f(x + 1, **options), note=str(options),
         narrow=False, jax=False)

y = complex_of(anywhere)
for function in (linalg.expm, linalg.logm, linalg.polar):
    call(function, (z, (2, 2)), note="complex", narrow=False, jax=False)
call(linalg.sqrtm, (z, (3, 3)), form=lambda f, x: f(x).astype(x.dtype), note="complex", narrow=False, jax=False)
call(linalg.sqrtm, (regular, (2, 2)), form=lambda f, x: f(-x).astype(complex), note="with a complex root",
     narrow=False, dynamic=True, jax=False)
call(linalg.solve_sylvester, (z, (2, 2)), (z, (1, 1)), (y, (2, 1)), note="complex", jax=False)
call(linalg.solve_continuous_lyapunov, (z, (2, 2)), (y, (2, 2)), note="complex", narrow=False, jax=False)
for trans in ("T", "C"):
    call(linalg.solve_triangular, (z, (3, 3)), (y, (3,)), trans=trans, note="complex", jax=False)
call(linalg.cho_solve, (z, (3, 3)), (y, (3,)), note="complex", jax=False,
     form=lambda f, a, b: hermitian_positive(lambda a: f(linalg.cho_factor(a), b), a))
call(linalg.lu, (z, (3, 2)), form=lambda f, x: f(x)[1:], note="complex", jax=False)
call(linalg.toeplitz, (y, (3,)), note="complex", jax=False)
