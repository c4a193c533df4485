"""The functions of scipy.linalg, for arrays and nodes alike.

Each is SciPy's own on arrays, and on nodes one with the same arguments. What is not here is SciPy's, and takes arrays.

>>> import numpy as np, tinygraph as tg
>>> from tinygraph.scipy import linalg
>>> tg.grad(lambda A: np.trace(linalg.expm(A)))(np.zeros((2, 2)))
array([[1., 0.],
       [0., 1.]])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from typing import Any

import numpy as np
from scipy import linalg

from ..node import Node
from ..ops.linear_systems import adjoint, conjugate, transposed
from ..ops.matrix_functions import (
    LU,
    Expm,
    Logm,
    SolveSylvester,
    SolveTriangular,
    Sqrtm,
    permutation,
    row_order,
    unpack_lu,
)

_transposed = transposed  # where an option has that name

# How SciPy goes about it, which says nothing of the result.
_HOW = {"check_finite", "overwrite_a", "overwrite_b", "overwrite_ab", "lapack_driver", "driver", "blocksize"}


def __getattr__(name: str) -> Any:
    return getattr(linalg, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *dir(linalg)})


def _has_node(arguments: Iterable[Any]) -> bool:
    return any(isinstance(x, Node) or (isinstance(x, tuple | list) and _has_node(x)) for x in arguments)


def namesake(original: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorates what a function of SciPy is on nodes; without a node among its arguments it is SciPy's own."""
    def decorate(on_nodes: Any) -> Any:
        known = signature(on_nodes).parameters

        @wraps(on_nodes)
        def function(*args: Any, **options: Any) -> Any:
            if not _has_node((*args, *options.values())):
                return original(*args, **options)
            if "arrays" in known:
                return on_nodes(*args, **options)
            parameters = signature(original).parameters
            given = signature(original).bind(*args, **options).arguments
            for name in given.keys() - known.keys() - _HOW:
                if given[name] is not parameters[name].default:
                    raise NotImplementedError(f"scipy.linalg.{original.__name__} on nodes takes no {name}=")
            return on_nodes(**{name: x for name, x in given.items() if name in known})

        return function

    return decorate


# ---------------------------------------------------------------------------------------------------- linear systems

@namesake(linalg.inv)
def inv(a: Any) -> Any:
    """A⁻¹"""
    return np.linalg.inv(a)


@namesake(linalg.det)
def det(a: Any) -> Any:
    """The determinant."""
    return np.linalg.det(a)


@namesake(linalg.pinv)
def pinv(a: Any, *, atol: Any = None, rtol: Any = None) -> Any:
    """A⁺, while its rank stays the same."""
    if atol is not None:
        raise NotImplementedError("scipy.linalg.pinv on nodes takes rtol=, and no atol=")
    return np.linalg.pinv(a, rtol=max(a.shape[-2:]) * np.finfo(a.dtype).eps if rtol is None else rtol)


@namesake(linalg.solve)
def solve(a: Any, b: Any, lower: bool = False, assume_a: str | None = None, transposed: bool = False) -> Any:
    """A⁻¹ B. The gradient by a matrix that is assumed to be symmetric is symmetric."""
    kind = "gen" if assume_a is None else assume_a
    if transposed:
        a = _transposed(a)
    if kind in ("lower triangular", "upper triangular"):
        return solve_triangular(a, b, lower=(kind == "lower triangular") != transposed)
    if kind in ("sym", "symmetric"):
        a = (a + _transposed(a)) / 2
    if kind in ("her", "hermitian", "pos", "positive definite"):
        a = (a + adjoint(a)) / 2
    return np.linalg.solve(a, b)


@namesake(linalg.solve_triangular)
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
    """A⁻¹ B of a triangular matrix, whose other triangle is not read."""
    a, lower = _turned(a, bool(lower), trans)
    column = np.expand_dims(b, -1) if np.ndim(b) == 1 else b
    X = SolveTriangular(a, column, lower=lower, unit=bool(unit_diagonal))
    return np.squeeze(X, -1) if np.ndim(b) == 1 else X


def _turned(a: Any, lower: bool, trans: Any) -> tuple[Any, bool]:
    """A, Aᵀ or A*, and whether that is lower triangular."""
    if trans not in (0, "N", 1, "T", 2, "C"):
        raise ValueError(f"trans is 0, 1, 2, or N, T, C, not {trans!r}")
    if trans in (0, "N"):
        return a, lower
    return (transposed(a) if trans in (1, "T") else adjoint(a)), not lower


@namesake(linalg.cho_factor)
def cho_factor(a: Any, lower: bool = False) -> tuple[Any, bool]:
    """The factor of `cholesky` (with zeros in the other triangle), and `lower`: for `cho_solve`."""
    return cholesky(a, lower=lower), lower


@namesake(linalg.cho_solve)
def cho_solve(c_and_lower: Any, b: Any) -> Any:
    """A⁻¹ B, given `cho_factor` of A."""
    c, lower = c_and_lower
    first, second = ((0, 2) if lower else (2, 0))
    return solve_triangular(c, solve_triangular(c, b, first, lower), second, lower)


@namesake(linalg.lu_factor)
def lu_factor(a: Any) -> tuple[Any, Any]:
    """L and U in one matrix, and the pivots, an array of integers: for `lu_solve`."""
    lu, _, pivots = unpack_lu(LU(a), a.shape)
    return lu, np.real(pivots.value).astype(np.int32)


@namesake(linalg.lu_solve)
def lu_solve(lu_and_piv: Any, b: Any, trans: int = 0) -> Any:
    """A⁻¹ B, given `lu_factor` of A."""
    lu, pivots = lu_and_piv
    order = row_order(pivots, len(pivots))
    if trans == 0:
        return solve_triangular(lu, solve_triangular(lu, b[order], 0, True, True))
    return solve_triangular(lu, solve_triangular(lu, b, trans), trans, True, True)[np.argsort(order)]


@namesake(linalg.lu)
def lu(a: Any, permute_l: bool = False, p_indices: bool = False) -> tuple[Any, ...]:
    """P, L, U; or P L and U."""
    k = min(a.shape[-2:])
    packed, order, _ = unpack_lu(LU(a), a.shape)
    L = packed[..., :k] * np.tri(a.shape[-2], k, -1, dtype=a.dtype) + np.eye(a.shape[-2], k, dtype=a.dtype)
    U = packed[..., :k, :] * (1 - np.tri(k, a.shape[-1], -1, dtype=a.dtype))
    P = transposed(permutation(order, a.dtype))
    if permute_l:
        return P @ L, U
    return (np.argsort(np.real(order.value), axis=-1) if p_indices else P), L, U


@namesake(linalg.lstsq)
def lstsq(a: Any, b: Any, cond: Any = None) -> Any:
    """What least squares make of A X = B, while the rank stays the same: X, the residues, the rank, singular values."""
    X, residues, rank, s = np.linalg.lstsq(a, b, np.finfo(a.dtype).eps if cond is None else cond)
    return X, residues[0] if np.ndim(b) == 1 and residues.size else residues, rank, s


# ----------------------------------------------------------------------------------------------------- decompositions

@namesake(linalg.cholesky)
def cholesky(a: Any, lower: bool = False) -> Any:
    """R with A = R* R, or with `lower` L with A = L L*."""
    return np.linalg.cholesky(a) if lower else adjoint(np.linalg.cholesky(adjoint(a)))


@namesake(linalg.qr)
def qr(a: Any, mode: str = "full", pivoting: bool = False) -> Any:
    """Q and R, of the modes full, economic and r."""
    if pivoting or mode not in ("full", "economic", "r"):
        raise NotImplementedError("scipy.linalg.qr on nodes takes the modes full, economic and r, and no pivoting")
    Q, R = np.linalg.qr(a, "reduced" if mode == "economic" else "complete")
    return (R,) if mode == "r" else (Q, R)


@namesake(linalg.svd)
def svd(a: Any, full_matrices: Any = True, compute_uv: Any = True) -> Any:
    """U, s, V*; or s alone."""
    result = np.linalg.svd(a, full_matrices, compute_uv)
    return tuple(result) if compute_uv else result


@namesake(linalg.svdvals)
def svdvals(a: Any) -> Any:
    """The singular values."""
    return np.linalg.svd(a, compute_uv=False)


@namesake(linalg.eigh)
def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, type: int = 1,
         subset_by_index: Any = None) -> Any:
    """Eigenvalues and vectors of A x = w x, or of A x = w B x, with X* B X = 1."""
    if type != 1:
        raise NotImplementedError("scipy.linalg.eigh on nodes takes type=1 alone")
    if b is not None:
        L = cholesky(b if lower else adjoint(b), lower=True)
        left = solve_triangular(L, a, lower=True)
        a = adjoint(solve_triangular(L, adjoint(left), lower=True))
    w, V = np.linalg.eigh(a, "L" if lower else "U")
    if b is not None:
        V = solve_triangular(L, V, 2, True)
    if subset_by_index is not None:
        first, last = subset_by_index
        w, V = w[..., first:last + 1], V[..., first:last + 1]
    return w if eigvals_only else (w, V)


@namesake(linalg.eigvalsh)
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, type: int = 1, subset_by_index: Any = None) -> Any:
    """The eigenvalues of `eigh`."""
    return eigh(a, b, lower=lower, eigvals_only=True, type=type, subset_by_index=subset_by_index)


# ---------------------------------------------------------------------------------- functions and equations of matrices

@namesake(linalg.expm)
def expm(A: Any) -> Any:
    """The exponential of a matrix."""
    return Expm(A)


@namesake(linalg.logm)
def logm(A: Any) -> Any:
    """The logarithm of a matrix."""
    return Logm(A)


@namesake(linalg.sqrtm)
def sqrtm(A: Any) -> Any:
    """The matrix whose square is A."""
    return Sqrtm(A)


@namesake(linalg.polar)
def polar(a: Any, side: str = "right") -> tuple[Any, Any]:
    """U and P with A = U P, or for the left side A = P U: U has orthonormal columns or rows, P is symmetric."""
    if side == "left":
        U, P = polar(adjoint(a))
        return adjoint(U), P
    if a.shape[-2] < a.shape[-1]:
        raise NotImplementedError("scipy.linalg.polar on nodes takes matrices whose P is regular")
    P = sqrtm(adjoint(a) @ a)
    return transposed(np.linalg.solve(transposed(P), transposed(a))), P


@namesake(linalg.solve_sylvester)
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """X with A X + X B = Q."""
    return SolveSylvester(a, b, q)


@namesake(linalg.solve_continuous_lyapunov)
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """X with A X + X A* = Q."""
    return SolveSylvester(a, adjoint(a), q)


@namesake(linalg.solve_discrete_lyapunov)
def solve_discrete_lyapunov(a: Any, q: Any) -> Any:
    """X with A X A* - X + Q = 0."""
    one = np.eye(a.shape[-1], dtype=a.dtype)
    after = np.linalg.inv(adjoint(a) + one)
    b = (adjoint(a) - one) @ after
    return SolveSylvester(adjoint(b), b, -2 * (np.linalg.inv(a + one) @ q @ after))


# ------------------------------------------------------------------------------------------------------ special shapes

@namesake(linalg.block_diag)
def block_diag(*arrays: Any) -> Any:
    """A matrix with these on its diagonal, and zeros elsewhere."""
    blocks = [np.reshape(x, (1, -1)) if np.ndim(x) < 2 else x for x in arrays]
    if any(np.ndim(x) != 2 for x in blocks):
        raise NotImplementedError("scipy.linalg.block_diag on nodes takes matrices, and no batches of them")
    ends = np.cumsum([0, *[x.shape[1] for x in blocks]]).tolist()
    dtype = np.result_type(*[x.dtype for x in blocks])
    rows = [np.concatenate([np.zeros((len(x), start), dtype), x, np.zeros((len(x), ends[-1] - end), dtype)], axis=1)
            for x, start, end in zip(blocks, ends, ends[1:], strict=False)]
    return np.concatenate(rows, axis=0)


@namesake(linalg.toeplitz)
def toeplitz(c: Any, r: Any = None) -> Any:
    """The matrix with first column c and first row r (conj(c), if left out), the same along each diagonal."""
    r = conjugate(c) if r is None else r
    if np.ndim(c) != 1 or np.ndim(r) != 1:
        raise NotImplementedError("scipy.linalg.toeplitz on nodes takes vectors")
    i, j = np.ogrid[:len(c), :len(r)]
    return np.concatenate([r[:0:-1], c])[len(r) - 1 + i - j]


@namesake(linalg.circulant)
def circulant(c: Any) -> Any:
    """The matrix with first column c, each next column turned by one."""
    if np.ndim(c) != 1:
        raise NotImplementedError("scipy.linalg.circulant on nodes takes a vector")
    i, j = np.ogrid[:len(c), :len(c)]
    return c[(i - j) % len(c)]


@namesake(linalg.norm)
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norms of np.linalg.norm."""
    return np.linalg.norm(a, ord, axis, keepdims)


__all__ = ["block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "det", "eigh", "eigvalsh", "expm", "inv",
           "logm", "lstsq", "lu", "lu_factor", "lu_solve", "norm", "pinv", "polar", "qr", "solve",
           "solve_continuous_lyapunov", "solve_discrete_lyapunov", "solve_sylvester", "solve_triangular", "sqrtm",
           "svd", "svdvals", "toeplitz"]
