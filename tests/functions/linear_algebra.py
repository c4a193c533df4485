"""Calls of numpy.linalg.

The gradient by a symmetric matrix is symmetric, so functions of one are called on the symmetric part of their input.
What a decomposition leaves open is not differentiated: of the columns that complete Q or U, the projection on what they
span is taken.
"""

import numpy as np

from ..cases.registry import anywhere, distinct, integral, nonzero
from .registry import call
from .ufuncs import complex_of

linalg = np.linalg


def swapped(x):
    return np.swapaxes(x, -1, -2)


def regular(u):
    """Matrices whose eigenvalues and singular values keep their distance from each other and from 0."""
    m, n = u.shape[-2:]
    return 0.5 * (u - 0.5) + np.eye(m, n) * np.arange(1.0, n + 1)


def nearly_diagonal(u):
    return 0.2 * (u - 0.5) + np.eye(u.shape[-1]) * np.arange(1.0, 2 * u.shape[-1] + 1, 2)


def magnitudes(u):
    """Numbers of both signs whose absolute values keep their distance from each other and from 0."""
    return (distinct(u) + 0.4 * u.size) * np.where(np.sin(97 * u) < 0, -1, 1)


def inverse_positive(u):
    """Matrices that are negative off the diagonal, and whose inverses are positive."""
    return np.eye(u.shape[-1]) * np.arange(4.0, u.shape[-1] + 4) - 0.4 - u / 2


def symmetric(f, x, **options):
    return f(x + swapped(x), **options)


def in_any_order(f, x):
    """What does not depend on the order of the eigenvalues, nor on the signs or phases of the vectors."""
    w, V = f(x)
    return np.sum(w ** 3, axis=-1), (V * np.expand_dims(w * w, -2)) @ np.conj(swapped(V))


def signed_symmetric(f, x, **options):
    """The sign of a vector is anybody's choice: here its largest entry is positive."""
    w, V = f(x + swapped(x), **options)
    k = np.arange(w.shape[-1])
    return w, V * np.expand_dims(np.sign(V[..., k, k]), -2)


def signed_factors(f, x, **options):
    U, s, Vh = f(x, **options)
    k = np.arange(s.shape[-1])
    signs = np.sign(U[..., k[::-1], k])
    return U * np.expand_dims(signs, -2), s, Vh * np.expand_dims(signs, -1)


def positive_definite(f, x, **options):
    return f(x @ swapped(x) + np.eye(x.shape[-1], dtype=x.dtype), **options)


def of_deficient_rank(f, x, y, **options):
    return f(x @ y, **options)


def without_rank(f, x, b):
    solution, residuals, _, s = f(x, b)
    return solution, residuals, s


def listed(f, *arrays, **options):
    return f(list(arrays), **options)


def completed(f, x, **options):
    """The projection on what the columns span that complete Q, and all else."""
    Q, R = f(x, **options)
    k = R.shape[-1]
    return Q[..., :k], Q[..., k:] @ swapped(Q[..., k:]), R


def full(f, x, **options):
    U, s, Vh = f(x, **options)
    k = s.shape[-1]
    signs = np.sign(U[..., np.arange(k)[::-1], np.arange(k)])
    rest = U[..., k:] @ swapped(U[..., k:]), swapped(Vh[..., k:, :]) @ Vh[..., k:, :]
    return *rest, U[..., :k] * np.expand_dims(signs, -2), s, Vh[..., :k, :] * np.expand_dims(signs, -1)


BATCH, NONE, ONE, NO_BATCH = (2, 3, 3), (0, 0), (1, 1), (0, 2, 2)

for function in (linalg.inv, linalg.det):
    for shape in (BATCH, ONE, NONE, NO_BATCH):
        call(function, (regular, shape), analytic=True)
for shape in (BATCH, ONE, NONE):
    call(linalg.slogdet, (regular, shape))
for shapes in [((3, 3), (3,)), (BATCH, (3,)), ((3, 3), (2, 3, 2)), (BATCH, (3, 1)), ((1, 3, 3), (2, 3, 2)),
               (NONE, (0, 2)), (NO_BATCH, (2, 1))]:
    call(linalg.solve, (regular, shapes[0]), (anywhere, shapes[1]), analytic=True)
for shape in ((4, 3), (2, 2, 3), ONE, (2, 0)):
    call(linalg.pinv, (regular, shape), jax=False)
call(linalg.pinv, (regular, (4, 2)), (regular, (2, 3)), form=of_deficient_rank, rcond=1e-3, jax=False)
call(linalg.pinv, (regular, (3, 3)), form=symmetric, hermitian=True, jax=False)
for shapes in [((4, 3), (4, 2)), ((4, 3), (4,)), ((2, 3), (2, 2))]:
    call(linalg.lstsq, (regular, shapes[0]), (anywhere, shapes[1]), form=without_rank, jax=False)
call(linalg.lstsq, (regular, (4, 2)), (regular, (2, 3)), (anywhere, (4,)), narrow=False, jax=False,
     form=lambda f, x, y, b: f(x @ y, b, 1e-6)[0])
for options in ({}, {"hermitian": True}, {"rtol": 0.5}, {"tol": 2.5}):
    call(linalg.matrix_rank, (regular, (2, 3, 3)), flat=True, **options)
for n in (-2, -1, 0, 1, 3, 6):
    call(linalg.matrix_power, (regular, BATCH), n=n, analytic=True, flat=n == 0)
call(linalg.multi_dot, (anywhere, (3,)), (anywhere, (3, 2)), (anywhere, (2, 4)), (anywhere, (4,)), form=listed,
     analytic=True)
call(linalg.multi_dot, (anywhere, (2, 3)), (anywhere, (3, 2)), (anywhere, (2, 4)), form=listed, analytic=True)
call(linalg.multi_dot, (anywhere, (3,)), (anywhere, (3, 2)), form=listed, analytic=True)
call(linalg.tensorinv, (anywhere, (4, 2, 2)), analytic=True,
     form=lambda f, x: f(x + np.eye(4).reshape(4, 2, 2).astype(x.dtype) * 3, 1))
call(linalg.tensorsolve, (anywhere, (2, 2, 4)), (anywhere, (2, 2)), analytic=True,
     form=lambda f, x, b: f(x + np.eye(4).reshape(2, 2, 4).astype(x.dtype) * 3, b))
call(linalg.tensorsolve, (anywhere, (2, 4, 2)), (anywhere, (2, 2)), analytic=True,
     form=lambda f, x, b: f(x + np.eye(4).reshape(2, 2, 4).swapaxes(1, 2).astype(x.dtype) * 3, b, axes=(1,)))

for shape in (BATCH, ONE, NONE):
    call(linalg.cholesky, (regular, shape), form=positive_definite)
call(linalg.cholesky, (regular, BATCH), form=positive_definite, upper=True)
for shape in (BATCH, (4, 2), (2, 4), ONE, (2, 0)):
    call(linalg.qr, (regular, shape))
for shape in (BATCH, (4, 2), (2, 3, 1), (2, 3)):
    call(linalg.qr, (regular, shape), form=completed, mode="complete")
call(linalg.qr, (regular, (3, 2)), mode="r")
for shape in (BATCH, (4, 2), (2, 4), ONE):
    call(linalg.svd, (regular, shape), form=signed_factors, full_matrices=False)
for shape in ((4, 2), (2, 4), BATCH):
    call(linalg.svd, (regular, shape), form=full)
call(linalg.svd, (regular, BATCH), compute_uv=False)
call(linalg.svd, (regular, (3, 3)), form=lambda f, x: signed_factors(f, x + swapped(x), hermitian=True))
call(linalg.svdvals, (regular, (2, 2, 3)), jax=False)
for shape in (BATCH, ONE, NONE):
    call(linalg.eigh, (regular, shape), form=signed_symmetric)
call(linalg.eigh, (regular, (3, 3)), form=signed_symmetric, UPLO="U")
call(linalg.eigvalsh, (regular, BATCH), form=symmetric)
for shape in (BATCH, ONE):
    call(linalg.eig, (nearly_diagonal, shape), form=in_any_order, dynamic=True, jax=False)
call(linalg.eigvals, (regular, BATCH), dynamic=True, jax=False)

for order in (None, 2, 1, 3, 1.5, np.inf, -np.inf, -1):
    call(linalg.norm, (magnitudes, (5,)), ord=order)
call(linalg.norm, (nonzero, (2, 3)))
call(linalg.norm, (nonzero, (2, 3, 2)))
call(linalg.norm, (nonzero, (2, 3)), axis=-1, keepdims=True)
call(linalg.norm, (nonzero, (2, 3)), ord=3, axis=0)
call(linalg.norm, (integral, (2, 3)), ord=0, axis=1, flat=True)
for order in (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf):
    call(linalg.norm, (magnitudes, (2, 3)), ord=order, keepdims=order == "nuc")
    call(linalg.norm, (magnitudes, (2, 2, 3)), ord=order, axis=(2, -3), keepdims=order == 1)
for options in ({}, {"axis": (0, 2)}, {"axis": 1, "keepdims": True, "ord": 1}, {"ord": np.inf, "axis": (-1, 0)}):
    call(linalg.vector_norm, (magnitudes, (2, 3, 2)), jax=False, **options)
for options in ({}, {"ord": "nuc", "keepdims": True}, {"ord": 1}):
    call(linalg.matrix_norm, (magnitudes, (2, 2, 3)), jax=False, **options)
for p in (None, -2, 1, "fro", np.inf):
    call(linalg.cond, (inverse_positive, BATCH), p=p)

for offset in (0, 1, -2):
    call(linalg.diagonal, (anywhere, (2, 2, 3)), offset=offset, analytic=True)
    call(linalg.trace, (anywhere, (2, 2, 3)), offset=offset, analytic=True)
call(linalg.matrix_transpose, (anywhere, (2, 2, 3)), analytic=True)
call(linalg.matmul, (anywhere, (2, 2, 3)), (anywhere, (3, 2)), analytic=True)
call(linalg.outer, (anywhere, (2,)), (anywhere, (3,)), analytic=True)
call(linalg.vecdot, (anywhere, (2, 3)), (anywhere, (3,)))
call(linalg.vecdot, (anywhere, (2, 3)), (anywhere, (2, 1)), axis=0)
call(linalg.cross, (anywhere, (2, 3)), (anywhere, (3,)), analytic=True)
call(linalg.cross, (anywhere, (3, 2)), (anywhere, (3, 2)), axis=0, analytic=True)

# --------------------------------------------------------------------------------------------------- complex matrices
# Of eigenvectors and singular vectors, what does not depend on their phases.

z = complex_of(regular, lambda u: 0.6 * np.sin(20 * u))


def adjoint(x):
    return np.conj(swapped(x))


def hermitian(f, x, **options):
    return f(x + adjoint(x), **options)


def hermitian_positive(f, x, **options):
    return f(x @ adjoint(x) + np.eye(x.shape[-1], dtype=x.dtype), **options)


def projections(f, x):
    """Of each vector but the first, times the first row."""
    w, V = hermitian(f, x)
    return w, V * np.conj(V[..., :1, :])


def factors_without_phase(f, x, **options):
    U, s, Vh = f(x, **options)
    return U * np.conj(U[..., :1, :]), s, U * np.expand_dims(Vh[..., 0], -2)


for function in (linalg.inv, linalg.det, linalg.slogdet, linalg.svdvals):
    call(function, (z, (2, 3, 3)), note="complex", jax=False)
call(linalg.solve, (z, (3, 3)), (complex_of(anywhere), (3,)), note="complex")
call(linalg.solve, (regular, (3, 3)), (complex_of(anywhere), (3,)), note="complex right side")
for shape in ((4, 2), (2, 4)):
    call(linalg.pinv, (z, shape), note="complex", jax=False)
    call(linalg.qr, (z, shape), note="complex", jax=False)
    call(linalg.svd, (z, shape), note="complex", form=factors_without_phase, full_matrices=False, jax=False)
call(linalg.lstsq, (z, (4, 3)), (complex_of(anywhere), (4, 2)), note="complex", form=without_rank, jax=False)
for upper in (False, True):
    call(linalg.cholesky, (z, (3, 3)), note="complex", form=hermitian_positive, upper=upper, jax=False)
call(linalg.eigh, (z, (3, 3)), note="complex", form=projections, jax=False)
call(linalg.eigvalsh, (z, (3, 3)), note="complex", form=hermitian, jax=False)
call(linalg.eig, (complex_of(nearly_diagonal, lambda u: 0.2 * u), (3, 3)), note="complex", form=in_any_order, jax=False)
call(linalg.eig, (anywhere, (2, 2)), note="of turns", dynamic=True, jax=False, narrow=False,
     form=lambda f, x: np.sum(f(x * 0.1 + np.array([[0.0, 1.0], [-2.0, 0.5]]))[0] ** 3))
for order in (None, 1, 3, np.inf):
    call(linalg.norm, (complex_of(magnitudes), (4,)), note="complex", ord=order)
for order in ("fro", "nuc", 2, 1):
    call(linalg.norm, (complex_of(magnitudes), (2, 3)), note="complex", ord=order)
call(linalg.vecdot, (complex_of(anywhere), (2, 3)), (complex_of(anywhere), (3,)), note="complex")
call(linalg.matrix_power, (z, (3, 3)), n=-2, note="complex")
call(linalg.matrix_rank, (z, (3, 3)), note="complex", flat=True)
