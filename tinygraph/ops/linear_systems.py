"""Linear systems: inverses, solutions, determinants, and what is put together from them.

All work on the last two axes, with axes of a batch in front. Rules are written without a conjugate where the function
is analytic, and serve complex matrices too. The formulas are those of Giles, "Collected matrix derivative results"
(2008), unless it says otherwise.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import Node, constant
from ..op import Primitive
from .packing import opaque, unknown


def transposed(A: Any) -> Any:
    return np.swapaxes(A, -1, -2)


def conjugate(A: Any) -> Any:
    return np.conj(A) if A.dtype.kind == "c" else A


def adjoint(A: Any) -> Any:
    return conjugate(transposed(A))


def real(A: Any) -> Any:
    return np.real(A) if A.dtype.kind == "c" else A


def on_diagonal(x: Any) -> Any:
    """Diagonal matrices with these entries."""
    return np.expand_dims(x, -1) * np.eye(x.shape[-1], dtype=x.dtype)


def from_diagonal(A: Any, offset: int = 0) -> Any:
    """The entries on a diagonal of matrices."""
    m, n = A.shape[-2:]
    k = np.arange(max(0, min(m + min(offset, 0), n - max(offset, 0))))
    return A[..., k + max(-offset, 0), k + max(offset, 0)]


class Inv(Primitive, twin=np.linalg.inv):
    """Y = A⁻¹;   dA = -Yᵀ dY Yᵀ"""
    formula = "inv(a)"

    def forward(self, a: Any) -> Any:
        return np.linalg.inv(a)

    def backward(self, grad: Any, Y: Any, a: Any) -> Any:
        return -(transposed(Y) @ grad @ transposed(Y))


class Solve(Primitive, twin=np.linalg.solve):
    """X = A⁻¹ B;   dB = A⁻ᵀ dX,   dA = -dB Xᵀ"""
    broadcasts = True

    def forward(self, a: Any, b: Any) -> Any:
        return np.linalg.solve(a, b)

    def backward(self, grad: Any, X: Any, a: Any, b: Any) -> Any:
        if b.ndim == 1:
            grad, X = np.expand_dims(grad, -1), np.expand_dims(X, -1)
        dB = np.linalg.solve(transposed(a), grad)
        return lambda: -(dB @ transposed(X)), lambda: np.squeeze(dB, -1) if b.ndim == 1 else dB


class Det(Primitive, twin=np.linalg.det):
    """y = det A;   dA = dy cof A, the matrix of cofactors, also where A is singular"""
    formula = "det(a)"

    def forward(self, a: Any) -> Any:
        return np.linalg.det(a)

    def backward(self, grad: Any, y: Any, a: Any) -> Any:
        return np.expand_dims(grad, (-1, -2)) * Cofactors.apply(a)


class Cofactors(Primitive):
    """Y = the derivative of cof A along matrices H, K, ...;   dH = that along dY, K, ...,   dA = along dY, H, K, ...

    <Y, G> is a derivative of det A along G, H, K, ...: a polynomial, symmetric in G, H, K, ... Nothing is divided by:
    from A = U S V* come cof A = det(U V*) conj(U) C Vᵀ, where C has the products of all singular values but one.
    """

    def forward(self, A: Any, *along: Any) -> Any:
        return _cofactors(A, *along)

    def backward(self, grad: Any, Y: Any, A: Any, *along: Any) -> Any:
        others = [along[:i] + along[i + 1:] for i in range(len(along))]
        return (lambda: Cofactors.apply(A, grad, *along),
                *[lambda rest=rest: Cofactors.apply(A, grad, *rest) for rest in others])


@opaque
def _cofactors(A: Any, *along: Any) -> Any:
    batch, n, order = A.shape[:-2], A.shape[-1], len(along) + 1
    if order == 1 and A.size and (inverse := _safe_inverse(A)) is not None:
        return np.linalg.det(A)[..., None, None] * np.swapaxes(inverse, -1, -2)
    U, s, Vh = np.linalg.svd(A)
    sign = np.linalg.det(U) * np.linalg.det(Vh)
    # products[i, j, ...] of all singular values but those: 0 where an index comes twice
    index = np.indices((n,) * order)
    products = np.ones((*batch, *[n] * order), s.dtype)
    for k in range(n):
        products = products * np.where((index == k).any(0), 1, s[(..., k, *[None] * order)])
    for i in range(order):
        for j in range(i):
            products = products * (index[i] != index[j])
    inner = [np.swapaxes(U.conj(), -1, -2) @ H @ np.swapaxes(Vh.conj(), -1, -2) for H in along]
    total = np.zeros_like(A)
    letters = "abcdefghijklmnopqrstuvw"[:order]
    for order_of in permutations(range(order)):
        terms = [f"...{letters[m]}{letters[order_of[m]]}" for m in range(1, order)]
        result = letters[0] + letters[order_of[0]] * (order_of[0] != 0)
        part = _parity(order_of) * np.einsum(f"{','.join(['...' + letters, *terms])}->...{result}", products, *inner)
        total = total + (part if order_of[0] else part[..., None] * np.eye(n, dtype=A.dtype))
    return sign[..., None, None] * (U.conj() @ total @ Vh.conj())


def _safe_inverse(A: Any) -> Any:
    """The inverse if it loses few digits: then it is sooner had than singular values."""
    try:
        inverse = np.linalg.inv(A)
    except np.linalg.LinAlgError:
        return None
    condition = A.shape[-1] * abs(A).max((-1, -2)) * abs(inverse).max((-1, -2))
    return inverse if (condition < np.finfo(A.dtype).eps ** -0.25).all() else None


def _parity(order: tuple[int, ...]) -> int:
    return (-1) ** sum(order[j] > order[i] for i in range(len(order)) for j in range(i))


class SLogDet(Primitive):
    """y = (sign, log|det A|), packed;   dA = d(log|det A|) A⁻ᵀ

    det A = s exp(l). Of a complex matrix also the phase s changes, by i s Im tr(A⁻¹ dA).
    """

    def forward(self, a: Any) -> Any:
        return _slogdet(a)

    def backward(self, grad: Any, y: Any, a: Any) -> Any:
        slope = real(grad[..., 1])
        if a.dtype.kind == "c":
            slope = slope - 1j * np.real(1j * grad[..., 0] * y[..., 0])
        return np.expand_dims(slope, (-1, -2)) * transposed(np.linalg.inv(a))


@opaque
def _slogdet(a: Any) -> Any:
    return np.stack(np.linalg.slogdet(a), -1)


@counterpart(np.linalg.slogdet)
def _slogdet_of_node(a: Any) -> Any:
    packed = SLogDet(a)
    return result_of(np.linalg.slogdet)(packed[..., 0], real(packed[..., 1]))


@cache
def result_of(function: Any) -> Any:
    """The named tuple that a function of NumPy returns."""
    return type(function(np.eye(1)))


class Pinv(Primitive):
    """Y = A⁺;   dA = -Yᵀ dY Yᵀ + conj((1 - A Y) dYᵀ Y Y* + Y* Y dYᵀ (1 - Y A)), while the rank is the same

    Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems" (1973).
    """

    def forward(self, a: Any, *, rtol: Any = None, hermitian: bool = False) -> Any:
        return np.linalg.pinv(a, rtol, hermitian)

    def backward(self, grad: Any, Y: Any, a: Any, *, rtol: Any = None, hermitian: bool = False) -> Any:
        dA = _pinv_gradient(grad, Y, a)
        return (dA + adjoint(dA)) / 2 if hermitian else dA


def _pinv_gradient(grad: Any, Y: Any, A: Any) -> Any:
    m, n = A.shape[-2:]
    left, right = np.eye(m, dtype=A.dtype) - A @ Y, np.eye(n, dtype=A.dtype) - Y @ A
    G, Yh = transposed(grad), adjoint(Y)
    return -(transposed(Y) @ grad @ transposed(Y)) + conjugate((left @ G) @ Y @ Yh + Yh @ Y @ (G @ right))


@counterpart(np.linalg.pinv)
def _pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    if rcond is not None and rtol is not None:
        raise ValueError("np.linalg.pinv takes rtol= or rcond=, not both")
    return Pinv(a, rtol=rcond if rtol is None else rtol, hermitian=hermitian)


class LeastSquares(Primitive):
    """X = A⁺ B;   dB = A⁺ᵀ dX,   and dA is that of A⁺ for the gradient dX Bᵀ, while the rank is the same"""

    def forward(self, a: Any, b: Any, *, rcond: Any = None) -> Any:
        return np.linalg.lstsq(a, b, rcond)[0]

    def backward(self, grad: Any, X: Any, a: Any, b: Any, *, rcond: Any = None) -> Any:
        Y = np.linalg.pinv(a, np.finfo(a.dtype).eps * max(a.shape) if rcond is None else rcond)
        B, G = (b, grad) if b.ndim == 2 else (np.expand_dims(b, -1), np.expand_dims(grad, -1))
        return (lambda: _pinv_gradient(G @ transposed(B), Y, a),
                lambda: np.reshape(transposed(Y) @ G, b.shape))


@counterpart(np.linalg.lstsq)
def _lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    X, matrix = LeastSquares(a, b, rcond=rcond), a._value if isinstance(a, Node) else a
    known = not unknown(matrix)  # or it is full rank, and anyhow these are the residuals
    rank = np.linalg.lstsq(matrix, np.zeros(len(matrix)), rcond)[2] if known else MatrixRank(a, rtol=rcond)
    rest = a @ X - b
    residuals = np.sum(real(conjugate(rest) * rest), axis=0, keepdims=b.ndim == 1)
    if a.shape[0] <= a.shape[1] or (known and rank < a.shape[1]):
        residuals = residuals[:0]
    return X, residuals, rank, np.linalg.svd(a, compute_uv=False)


class MatrixRank(Primitive):
    """y = the number of singular values that are not small"""
    differentiable = False

    def forward(self, A: Any, *, tol: Any = None, hermitian: bool = False, rtol: Any = None) -> Any:
        return _rank(A, tol=tol, hermitian=hermitian, rtol=rtol)


@opaque
def _rank(A: Any, **options: Any) -> Any:
    return np.asarray(np.linalg.matrix_rank(A, **options))


@counterpart(np.linalg.matrix_rank)
def _matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    return MatrixRank(A, tol=tol, hermitian=hermitian, rtol=rtol)


# ---------------------------------------------------------------------------------------------- put together from these

@counterpart(np.linalg.matrix_power)
def _matrix_power(a: Any, n: int) -> Any:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError(f"matrix_power takes square matrices, not an array of shape {a.shape}")
    if n == 0:
        return constant(np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape))
    square, power, n = np.linalg.inv(a) if n < 0 else a, None, abs(n)
    while n:
        if n & 1:
            power = square if power is None else power @ square
        n >>= 1
        if n:
            square = square @ square
    return power


@counterpart(np.linalg.multi_dot)
def _multi_dot(arrays: Any) -> Any:
    arrays = list(arrays)
    if len(arrays) < 2:
        raise ValueError("multi_dot takes at least two arrays")
    first, last = np.ndim(arrays[0]) == 1, np.ndim(arrays[-1]) == 1
    if first:
        arrays[0] = np.expand_dims(arrays[0], 0)
    if last:
        arrays[-1] = np.expand_dims(arrays[-1], 1)
    sizes = (arrays[0].shape[0], *[array.shape[1] for array in arrays])
    product = _chained(arrays, 0, len(arrays), _cheapest_splits(sizes))
    return np.reshape(product, product.shape[first:2 - last]) if first or last else product


@cache
def _cheapest_splits(sizes: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Where to split each stretch i, ..., j - 1 of a chain of matrices, to multiply the fewest numbers."""
    cost = {(i, i + 1): 0 for i in range(len(sizes))}
    splits: dict[tuple[int, int], int] = {}
    for length in range(2, len(sizes)):
        for i in range(len(sizes) - length):
            j = i + length
            costs = {k: cost[i, k] + cost[k, j] + sizes[i] * sizes[k] * sizes[j] for k in range(i + 1, j)}
            splits[i, j] = min(costs, key=costs.__getitem__)
            cost[i, j] = costs[splits[i, j]]
    return splits


def _chained(arrays: list[Any], i: int, j: int, splits: dict[tuple[int, int], int]) -> Any:
    if j == i + 1:
        return arrays[i]
    return _chained(arrays, i, splits[i, j], splits) @ _chained(arrays, splits[i, j], j, splits)


@counterpart(np.linalg.tensorinv)
def _tensorinv(a: Any, ind: int = 2) -> Any:
    if ind <= 0:
        raise ValueError("tensorinv takes a positive ind")
    n = math.prod(a.shape[ind:])
    return np.reshape(np.linalg.inv(np.reshape(a, (-1, n))), (*a.shape[ind:], *a.shape[:ind]))


@counterpart(np.linalg.tensorsolve)
def _tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    if axes is not None:
        moved = [axis % np.ndim(a) for axis in axes]
        a = np.transpose(a, [k for k in range(np.ndim(a)) if k not in moved] + moved)
    shape = a.shape[np.ndim(b):]
    if a.size != math.prod(shape) ** 2:
        raise np.linalg.LinAlgError(f"tensorsolve takes an array that is square as a matrix, not of shape {a.shape}")
    return np.reshape(np.linalg.solve(np.reshape(a, (-1, math.prod(shape))), np.reshape(b, -1)), shape)


@counterpart(np.linalg.diagonal)
def _diagonal(x: Any, *, offset: int = 0) -> Any:
    return from_diagonal(x, offset)


@counterpart(np.linalg.trace)
def _trace(x: Any, *, offset: int = 0, dtype: Any = None) -> Any:
    return np.sum(from_diagonal(x, offset), axis=-1, dtype=dtype)


@counterpart(np.linalg.matrix_transpose)
def _matrix_transpose(x: Any) -> Any:
    return transposed(x)


@counterpart(np.linalg.matmul)
def _matmul(x1: Any, x2: Any) -> Any:
    return np.matmul(x1, x2)


@counterpart(np.linalg.outer)
def _outer(x1: Any, x2: Any) -> Any:
    if np.ndim(x1) != 1 or np.ndim(x2) != 1:
        raise ValueError(f"np.linalg.outer takes vectors, not arrays of shapes {np.shape(x1)} and {np.shape(x2)}")
    return np.expand_dims(x1, 1) * x2


@counterpart(np.linalg.vecdot)
def _vecdot(x1: Any, x2: Any, *, axis: int = -1) -> Any:
    return np.sum(conjugate(x1) * x2, axis=axis)


@counterpart(np.linalg.cross)
def _cross(x1: Any, x2: Any, *, axis: int = -1) -> Any:
    if np.shape(x1)[axis] != 3 or np.shape(x2)[axis] != 3:
        raise ValueError(f"np.linalg.cross takes vectors of three numbers, not {np.shape(x1)} and {np.shape(x2)}")
    (a, b, c), (d, e, f) = ([np.swapaxes(x, axis, -1)[..., i] for i in range(3)] for x in (x1, x2))
    return np.swapaxes(np.stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=-1), axis, -1)
