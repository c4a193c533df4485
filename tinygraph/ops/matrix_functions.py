"""Functions of matrices and equations for matrices that SciPy solves: exponential, logarithm, root, Sylvester, LU.

SciPy's functions take one matrix (some of them, and only of late, a batch); these ops take axes of a batch in front.
They are reached through `tinygraph.scipy.linalg`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from ..op import Primitive
from .linear_systems import transposed
from .packing import opaque, pack, unpack


def _each(function: Callable[..., Any], *stacks: Any) -> Any:
    """A function of matrices, of each in a batch."""
    if max(x.ndim for x in stacks) == 2:
        return function(*stacks)
    batch = np.broadcast_shapes(*[x.shape[:-2] for x in stacks])
    stacks = tuple(np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in stacks)
    results = [function(*[x[i] for x in stacks]) for i in np.ndindex(batch)]
    if not results:
        return np.zeros(stacks[-1].shape, np.result_type(*stacks))
    return np.stack(results).reshape(*batch, *results[0].shape)


def _triangle(A: Any, lower: bool, unit: bool) -> Any:
    """The part of A that a triangular solver reads."""
    n, k = A.shape[-1], 1 if unit else 0
    return A * (np.tri(n, k=-k, dtype=A.dtype) if lower else np.tri(n, k=-k, dtype=A.dtype).T)


def _batch(op: Any, *inputs: Any) -> Any:
    """An axis in front of one input, or of all, is one more axis of the batch."""
    if len({x.ndim for x in op.inputs}) > 1:
        return NotImplemented
    return type(op)(*inputs, **getattr(op, "options", {}))


class SolveTriangular(Primitive):
    """X = A⁻¹ B for a triangular A;   dB = A⁻ᵀ dX,   dA = the triangle of -dB Xᵀ

    A (..., n, n), B (..., n, k). Entries of A in the other triangle are not read (nor is the diagonal with `unit`, as
    if it were of ones) and get no gradient.
    """
    batch = _batch
    broadcasts = True

    def forward(self, a: Any, b: Any, *, lower: bool = False, unit: bool = False) -> Any:
        return _solve_triangular(a, b, lower, unit)

    def backward(self, grad: Any, X: Any, a: Any, b: Any, *, lower: bool = False, unit: bool = False) -> Any:
        dB = SolveTriangular.apply(transposed(a), grad, lower=not lower, unit=unit)
        return lambda: -_triangle(dB @ transposed(X), lower, unit), lambda: dB


@opaque
def _solve_triangular(a: Any, b: Any, lower: bool, unit: bool) -> Any:
    if a.ndim == b.ndim == 2:
        return linalg.solve_triangular(a, b, lower=lower, unit_diagonal=unit, check_finite=False)
    read = _triangle(a, lower, unit)
    return np.linalg.solve(read + np.eye(a.shape[-1], dtype=a.dtype) if unit else read, b)


class SolveSylvester(Primitive):
    """A X + X B = C;   dC solves Aᵀ dC + dC Bᵀ = dX,   dA = -dC Xᵀ,   dB = -Xᵀ dC"""
    batch = _batch
    broadcasts = True

    def forward(self, a: Any, b: Any, q: Any) -> Any:
        return _solve_sylvester(a, b, q)

    def backward(self, grad: Any, X: Any, a: Any, b: Any, q: Any) -> Any:
        dC = SolveSylvester.apply(transposed(a), transposed(b), grad)
        return lambda: -(dC @ transposed(X)), lambda: -(transposed(X) @ dC), lambda: dC


@opaque
def _solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    return _each(linalg.solve_sylvester, a, b, q)


def _derivative(function: Any, A: Any, E: Any) -> Any:
    """The derivative of a function of matrices along E: f of ((A, E), (0, A)) has it in its corner.

    Mathias, "A chain rule for matrix functions and applications" (1996).
    """
    n = A.shape[-1]
    top, bottom = np.concatenate([A, E], axis=-1), np.concatenate([np.zeros_like(A), A], axis=-1)
    return function(np.concatenate([top, bottom], axis=-2))[..., :n, n:]


class Expm(Primitive):
    """Y = exp A, of the matrix;   dA = the derivative of exp at Aᵀ along dY"""
    batch = _batch

    def forward(self, A: Any) -> Any:
        return _expm(A)

    def backward(self, grad: Any, Y: Any, A: Any) -> Any:
        return _derivative(Expm.apply, transposed(A), grad)


@opaque
def _expm(A: Any) -> Any:
    return linalg.expm(A)


class Logm(Primitive):
    """Y = log A, of the matrix;   dA = the derivative of log at Aᵀ along dY"""
    batch = _batch

    def forward(self, A: Any) -> Any:
        return _logm(A)

    def backward(self, grad: Any, Y: Any, A: Any) -> Any:
        return _derivative(Logm.apply, transposed(A), grad)


@opaque
def _logm(A: Any) -> Any:
    return _with_precision(_each(linalg.logm, np.array(A)), A)  # older versions write into it


class Sqrtm(Primitive):
    """Y Y = A;   dA solves Yᵀ dA + dA Yᵀ = dY"""
    batch = _batch

    def forward(self, A: Any) -> Any:
        return _sqrtm(A)

    def backward(self, grad: Any, Y: Any, A: Any) -> Any:
        return SolveSylvester.apply(transposed(Y), transposed(Y), grad)


@opaque
def _sqrtm(A: Any) -> Any:
    return _with_precision(_each(linalg.sqrtm, A), A)


def _with_precision(Y: Any, A: Any) -> Any:
    """Y in the precision of A, real or complex: SciPy widens it here and there."""
    return Y.astype(A.dtype if Y.dtype.kind == A.dtype.kind else np.result_type(A.dtype, np.complex64), copy=False)


class LU(Primitive):
    """A = P L U, packed as L and U in one matrix, the order of the rows, and SciPy's pivots

    Pᵀ dA = L⁻ᵀ (Φ(Lᵀ dL) + Ψ(dU Uᵀ)) U⁻ᵀ, where Φ takes what is below the diagonal and Ψ the rest. The rows of a tall A
    below a square one are L₂ U, the columns of a wide A beside it are L U₂. Giles (2008).
    """
    batch = _batch

    def forward(self, a: Any) -> Any:
        return _lu(a)

    def backward(self, grad: Any, y: Any, a: Any) -> Any:
        m, n = a.shape[-2:]
        k = min(m, n)
        (LU, order, _), (dLU, *_) = unpack_lu(y, a.shape), unpack_lu(grad, a.shape)
        L, U, dL, dU = (x[..., :k, :k] for x in (LU, LU, dLU, dLU))
        below = np.tri(k, k=-1, dtype=a.dtype)

        def over_U(x: Any) -> Any:  # x U⁻ᵀ
            return transposed(SolveTriangular.apply(U, transposed(x)))

        def under_L(x: Any) -> Any:  # L⁻ᵀ x
            return SolveTriangular.apply(transposed(L), x, unit=True)

        if m > k:
            rest = over_U(dLU[..., k:, :])
            dU = dU - transposed(LU[..., k:, :]) @ rest
        if n > k:
            rest = under_L(dLU[..., k:])
            dL = dL - rest @ transposed(LU[..., k:])
        lower, upper = L * below + np.eye(k, dtype=a.dtype), U * (1 - below)
        dA = over_U(under_L(transposed(lower) @ dL * below + dU @ transposed(upper) * (1 - below)))
        dA = np.concatenate([dA, rest], axis=-2 if m > k else -1) if m != n else dA
        return transposed(permutation(order, a.dtype)) @ dA


@opaque
def _lu(A: Any) -> Any:
    if A.ndim > 2:
        return np.stack([_lu(x) for x in A])
    lu, pivots = linalg.lu_factor(A, check_finite=False)
    return pack([lu, row_order(pivots, len(A)).astype(lu.dtype), pivots.astype(lu.dtype)])


def unpack_lu(packed: Any, shape: tuple[int, ...]) -> list[Any]:
    m, n = shape[-2:]
    return unpack(packed, [(m, n), (m,), (min(m, n),)])


def row_order(pivots: Any, m: int) -> Any:
    """Which row of A each row of L U is, after the exchanges that LAPACK has noted."""
    order = np.arange(m)
    for i, k in enumerate(pivots):
        order[[i, k]] = order[[k, i]]
    return order


def permutation(order: Any, dtype: Any) -> Any:
    """The matrix that puts the rows in that order: Pᵀ."""
    return (np.expand_dims(order, -1) == np.arange(order.shape[-1])).astype(dtype)
