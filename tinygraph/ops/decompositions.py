"""Decompositions of matrices: Cholesky, QR, eigenvalues, singular values.

Each is one op whose value packs all factors (see `packing`). A factor that is not unique (the sign or the phase of an
eigenvector, any basis of the space of a repeated eigenvalue) has no derivative by itself; a function of it that does
not depend on the choice has one. So the rules divide by differences of eigenvalues with `OverGaps`, which raises where
the function depends on such a choice. In the rules M* is the conjugate transpose of M, and a gradient of a real number
L by z = x + iy is dL/dx - i dL/dy, so that nothing is conjugated where a function is analytic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definition import counterpart
from ..op import Primitive
from .linear_systems import adjoint, conjugate, from_diagonal, on_diagonal, real, result_of, transposed
from .packing import opaque, pack, unknown, unpack
from .selection import Keep


def _half_lower(n: int, dtype: Any) -> np.ndarray:
    """What makes the part of a symmetric matrix below the diagonal, with half the diagonal, of a product."""
    return np.tri(n, dtype=dtype) - np.eye(n, dtype=dtype) / 2


def _hermitian(A: Any) -> Any:
    return (A + adjoint(A)) / 2


def _skew(A: Any) -> Any:
    return (A - adjoint(A)) / 2


class Cholesky(Primitive):
    """A = L L*;   dA = the symmetric part of L⁻ᵀ Φ(Lᵀ dL) conj(L)⁻¹, where Φ takes the lower half

    The symmetric gradient of the symmetric A. Murray, "Differentiation of the Cholesky decomposition" (2016).
    """

    def forward(self, a: Any) -> Any:
        return np.linalg.cholesky(a)

    def backward(self, grad: Any, L: Any, a: Any) -> Any:
        M = (transposed(L) @ grad) * _half_lower(a.shape[-1], a.dtype)
        left = np.linalg.solve(transposed(L), M)
        return _hermitian(transposed(np.linalg.solve(adjoint(L), transposed(left))))


@counterpart(np.linalg.cholesky)
def _cholesky(a: Any, *, upper: bool = False) -> Any:
    return adjoint(Cholesky(adjoint(a))) if upper else Cholesky(a)


class QR(Primitive):
    """A = Q R, packed;   dA = (dQ + conj(Q) (N + N*)) R⁻ᵀ, where N is the upper half of dR Rᵀ - Qᵀ dQ

    Of a wide A = (A₁ A₂) that is the rule of A₁ = Q R₁, and R₂ = Q* A₂. The columns that complete Q span what A does
    not: where they turn, those of A turn back. Seeger et al., "Auto-differentiating linear algebra" (2017).
    """

    def forward(self, a: Any, *, complete: bool = False) -> Any:
        return _qr(a, complete)

    def backward(self, grad: Any, y: Any, a: Any, *, complete: bool = False) -> Any:
        m, n = a.shape[-2:]
        k = min(m, n)
        (Q, R), (dQ, dR) = (_q_and_r(x, a.shape, complete) for x in (y, grad))
        if complete and m > n:
            dQ = _without_rest(dQ, Q, k, "np.linalg.qr(mode='complete')")
            Q, R, dR = Q[..., :k], R[..., :k, :], dR[..., :k, :]
        if n > k:
            dQ = dQ + conjugate(a[..., k:] @ transposed(dR[..., k:]))
            rest, R, dR = conjugate(Q) @ dR[..., k:], R[..., :k], dR[..., :k]
        N = (dR @ transposed(R) - transposed(Q) @ dQ) * _half_lower(k, a.dtype).T
        dA = transposed(np.linalg.solve(R, transposed(dQ + conjugate(Q) @ (N + adjoint(N)))))
        return np.concatenate([dA, rest], axis=-1) if n > k else dA


@opaque
def _qr(A: Any, complete: bool) -> Any:
    return pack(np.linalg.qr(A, "complete" if complete else "reduced"), A.ndim - 2)


def _q_and_r(packed: Any, shape: tuple[int, ...], complete: bool) -> list[Any]:
    m, n = shape[-2:]
    k = m if complete else min(m, n)
    return unpack(packed, [(m, k), (k, n)])


@counterpart(np.linalg.qr)
def _qr_of_node(a: Any, mode: str = "reduced") -> Any:
    if mode not in ("reduced", "complete", "r"):
        raise NotImplementedError(f"np.linalg.qr on nodes takes the modes reduced, complete and r, not {mode!r}")
    Q, R = _q_and_r(QR(a, complete=mode == "complete"), a.shape, mode == "complete")
    return R if mode == "r" else result_of(np.linalg.qr)(Q, R)


def _without_rest(grad: Any, Q: Any, k: int, of: str) -> Any:
    """The gradient by the first k columns of a unitary matrix, given that by all.

    The other columns are some basis of the space that the first do not span; along with the first they turn by the
    adjoint of what the first turn by.
    """
    first, rest, d_first, d_rest = Q[..., :k], Q[..., k:], grad[..., :k], grad[..., k:]
    choice = transposed(rest) @ d_rest
    none = np.zeros((1, 1), rest.dtype)
    OverGaps.apply(_skew(choice), none, choice, none, of=of)  # raises if the function depends on the basis
    return d_first - conjugate(rest) @ (adjoint(d_rest) @ conjugate(first))


# ------------------------------------------------------------------------------------------------ repeated eigenvalues

class OverGaps(Primitive):
    """y = Q / gap, and 0 where the gap is;   dQ = dy / gap,   dgap = -y dy / gap,   0 where the gap is

    A gap is 0 if it is small beside `scale`. There Q must be small beside `size`: LinAlgError if not.
    Q, gap (..., m, n), which broadcast; of size and scale the largest entry counts.
    """
    broadcasts = True

    def forward(self, Q: Any, gap: Any, size: Any, scale: Any, *, of: str = "", strict: bool = True) -> Any:
        return _over_gaps(Q, gap, size, scale, of, strict and not unknown(Q, gap, size, scale))

    def backward(self, grad: Any, y: Any, Q: Any, gap: Any, size: Any, scale: Any, *, of: str = "",
                 strict: bool = True) -> Any:
        dQ = OverGaps.apply(grad, gap, size, scale, of=of, strict=False)
        return dQ, lambda: -(dQ * y), None, None


@opaque
def _over_gaps(Q: Any, gap: Any, size: Any, scale: Any, of: str, strict: bool) -> Any:
    none = abs(gap) <= _small(scale)
    if strict and (none & (abs(Q) > _largest(size) * np.finfo(Q.dtype).eps ** 0.5)).any():
        raise np.linalg.LinAlgError(_CHOICE.format(of))
    return np.where(none, 0, Q / np.where(none, 1, gap))


_CHOICE = ("the function depends on what {} leaves open: the phase of a vector, or the basis of the space that belongs "
           "to a repeated (or zero) eigenvalue or singular value. It has no gradient here")
_MIXED = ("the function uses vectors of {} that belong to a repeated eigenvalue or singular value together with that "
          "value, and the gradient by them does not tell its derivative: for a function of a matrix take "
          "tinygraph.scipy.linalg (sqrtm, logm, expm)")


def _largest(x: Any) -> Any:
    return abs(x).max((-2, -1), keepdims=True, initial=0)


def _small(scale: Any) -> Any:
    """What is 0 beside the largest entry, after the rounding of a decomposition."""
    return 10 * max(scale.shape[-2:]) * np.finfo(scale.dtype).eps * _largest(scale)


class TieMeans(Primitive):
    """y = g, and where eigenvalues w are equal the mean of their g;   dg = the means of dy, or dy where g are equal

    So the gradient of the largest eigenvalue is that of least norm where it is repeated. P are the products of the
    vectors with the gradient by them, and `used` is not 0 if there was one: LinAlgError if the function uses vectors
    and values of a tie together.
    """

    def forward(self, g: Any, P: Any, w: Any, used: Any, *, of: str = "", strict: bool = True) -> Any:
        return _tie_means(g, P, w, used, of, strict and not unknown(g, P, w, used))

    def backward(self, grad: Any, y: Any, g: Any, P: Any, w: Any, used: Any, *, of: str = "",
                 strict: bool = True) -> Any:
        even = abs(y - g) <= abs(y) * np.finfo(y.dtype).eps ** 0.5  # beside w, where nothing is tied, y is g as well
        return np.where(even, grad, TieMeans.apply(grad, P, w, used, of=of, strict=False)), None, None, None


@opaque
def _tie_means(g: Any, P: Any, w: Any, used: Any, of: str, strict: bool) -> Any:
    n = w.shape[-1]
    ties = abs(w[..., None, :] - w[..., None]) <= _small(w[..., None])
    if np.count_nonzero(ties) == w.size:
        return g + 0
    shares = (ties / np.sum(ties, -1, keepdims=True)).astype(g.dtype)

    def means(x: Any) -> Any:
        return (shares @ x[..., None])[..., 0]

    def somewhere(x: Any) -> Any:  # in each group of ties
        return (ties & x[..., None, :]).any(-1)

    if strict:
        accuracy = np.finfo(P.dtype).eps ** 0.5
        P = _hermitian(P)
        diagonal, limit = from_diagonal(P), accuracy * _largest(P)
        beside = somewhere((ties & ~np.eye(n, dtype=bool) & (abs(P) > limit)).any(-1))
        uneven = somewhere(abs(diagonal - means(diagonal)) > limit[..., 0])
        of_values = somewhere(abs(g - means(g)) > accuracy * _largest(g[..., None])[..., 0])
        hidden = (used != 0) & (limit[..., 0] == 0) & somewhere(ties.sum(-1) > 1) & somewhere(g != 0)
        if (of_values & (beside | uneven) | (beside ^ uneven) | hidden).any():
            raise np.linalg.LinAlgError(_MIXED.format(of))
    return means(g)


class Marked(Primitive):
    """y = x;   dx = dy, and the gradient by `mark` is 1: it says that something was done with y, be dy 0 or not"""

    def forward(self, x: Any, mark: Any) -> Any:
        return x

    def backward(self, grad: Any, y: Any, x: Any, mark: Any) -> Any:
        return grad, lambda: np.ones_like(mark)


def _marked(results: Any, axes: int) -> Any:
    """The factors packed, and a 0 that says in a gradient whether one of vectors was used."""
    return pack([*results, np.zeros((*results[-1].shape[:axes], 1), results[-1].dtype)], axes)


def _gaps(w: Any, sign: int = -1) -> Any:
    """w_j - w_i, or w_j + w_i"""
    return np.expand_dims(w, -2) + sign * np.expand_dims(w, -1)


# -------------------------------------------------------------------------------------------------------- eigenvalues

class Eigh(Primitive):
    """A = V W V*, packed;   dA = the symmetric part of conj(V) (dW + F ∘ Vᵀ dV) Vᵀ, where F_ij = 1 / (w_j - w_i)

    The symmetric gradient of the symmetric A. Giles (2008); for complex matrices Boeddeker et al., "On the computation
    of complex-valued gradients with application to statistically optimum beamforming" (2017).
    """

    def forward(self, a: Any, *, UPLO: str = "L") -> Any:
        return _eigh(a, UPLO)

    def backward(self, grad: Any, y: Any, a: Any, *, UPLO: str = "L") -> Any:
        (w, V, _), (dw, dV, used) = (_values_and_vectors(x, a.shape[-1]) for x in (y, grad))
        w, P, of = real(w), transposed(V) @ dV, f"np.linalg.eigh of {a.shape}"
        K = OverGaps.apply(_skew(P), _gaps(w), P, np.expand_dims(w, -1), of=of)
        K = K + on_diagonal(TieMeans.apply(real(dw), P, w, used, of=of))
        return _hermitian(conjugate(V) @ K @ transposed(V))


@opaque
def _eigh(A: Any, UPLO: Any) -> Any:
    return _marked(np.linalg.eigh(A, UPLO), A.ndim - 2)


def _values_and_vectors(packed: Any, n: int) -> list[Any]:
    return unpack(packed, [(n,), (n, n), (1,)])


@counterpart(np.linalg.eigh)
def _eigh_of_node(a: Any, UPLO: str = "L") -> Any:
    w, V, mark = _values_and_vectors(Eigh(a, UPLO=UPLO.upper()), a.shape[-1])
    return result_of(np.linalg.eigh)(real(w), Marked(V, mark))


@counterpart(np.linalg.eigvalsh)
def _eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return _eigh_of_node(a, UPLO)[0]


class Eig(Primitive):
    """A V = V W, packed;   dA = V⁻ᵀ (dW + F ∘ (P - conj(V* V) Re diag P)) Vᵀ, where P = Vᵀ dV, F_ij = 1 / (w_j - w_i)

    The second term is there because the columns of V have length 1. Boeddeker et al. (2017).
    """

    def forward(self, a: Any) -> Any:
        return _eig(a)

    def backward(self, grad: Any, y: Any, a: Any) -> Any:
        (w, V, _), (dw, dV, used) = (_values_and_vectors(x, a.shape[-1]) for x in (y, grad))
        P, of = transposed(V) @ dV, f"np.linalg.eig of {a.shape}"
        Q = P - conjugate(adjoint(V) @ V) * np.expand_dims(real(from_diagonal(P)), -2)
        K = OverGaps.apply(Q, _gaps(w), P, np.expand_dims(w, -1), of=of)
        K = K + on_diagonal(TieMeans.apply(dw, P, w, used, of=of))
        return np.linalg.solve(transposed(V), K @ transposed(V))


def _eig(A: Any) -> Any:
    if unknown(A) and A.dtype.kind != "c":
        raise NotImplementedError("np.linalg.eig of a real matrix cannot be compiled: whether the result is complex "
                                  "depends on the values. Write A.astype(complex)")
    return _eig_of_array(A)


@opaque
def _eig_of_array(A: Any) -> Any:
    return _marked(np.linalg.eig(A), A.ndim - 2)


@counterpart(np.linalg.eig)
def _eig_of_node(a: Any) -> Any:
    w, V, mark = _values_and_vectors(Eig(a), a.shape[-1])
    return result_of(np.linalg.eig)(w, Marked(V, mark))


@counterpart(np.linalg.eigvals)
def _eigvals(a: Any) -> Any:
    return _eig_of_node(a)[0]


# ---------------------------------------------------------------------------------------------------- singular values

class SVD(Primitive):
    """A = U S V*, packed;   dA = conj(U) (dS + F ∘ skew(P + R) + G ∘ skew(P - R)) Vᵀ, and what turns U and V outwards

    P = Uᵀ dU, R = Vᵀ dV, F_ij = 1 / (s_j - s_i), G_ij = 1 / (s_j + s_i). Outwards: (1 - conj(U) Uᵀ) dU S⁻¹ Vᵀ, and
    the same of V. Equal to Townsend, "Differentiating the singular value decomposition" (2016), whose fractions are
    taken apart: only the first sees that singular values are equal. The slope of one that is 0 is 0, as of |x|.
    """

    def forward(self, a: Any, *, full_matrices: bool = False, hermitian: bool = False) -> Any:
        return _svd(a, full_matrices, hermitian)

    def backward(self, grad: Any, y: Any, a: Any, *, full_matrices: bool = False, hermitian: bool = False) -> Any:
        (U, s, Vh, _), (dU, ds, dVh, used) = (_usv(x, a.shape, full_matrices) for x in (y, grad))
        k, of = min(a.shape[-2:]), f"np.linalg.svd of {a.shape}"
        if full_matrices and a.shape[-2] > k:
            U, dU = U[..., :k], _without_rest(dU, U, k, of)
        if full_matrices and a.shape[-1] > k:
            Vh, dVh = Vh[..., :k, :], adjoint(_without_rest(adjoint(dVh), adjoint(Vh), k, of))
        s, ds = real(s), real(ds)
        P, R = transposed(U) @ dU, conjugate(Vh @ transposed(dVh))
        size, scale = np.concatenate([P, R], axis=-1), np.expand_dims(s, -1)

        def over(Q: Any, gap: Any) -> Any:
            return OverGaps.apply(Q, gap, size, scale, of=of)

        ds = Keep.apply(ds, s > s[..., :1] * (10 * max(a.shape[-2:]) * np.finfo(s.dtype).eps))
        K = over(_skew(P + R), _gaps(s)) + over(_skew(P - R), _gaps(s, 1))
        left = conjugate(U) @ (K + on_diagonal(TieMeans.apply(ds, P + R, s, used, of=of)))
        if a.shape[-2] > k:
            left = left + over(dU - conjugate(U) @ P, np.expand_dims(s, -2))
        dA = left @ conjugate(Vh)
        if a.shape[-1] > k:
            dA = dA + conjugate(U) @ over(dVh - (dVh @ transposed(Vh)) @ conjugate(Vh), np.expand_dims(s, -1))
        return _hermitian(dA) if hermitian else dA


@opaque
def _svd(A: Any, full_matrices: bool, hermitian: bool) -> Any:
    return _marked(np.linalg.svd(A, full_matrices, hermitian=hermitian), A.ndim - 2)


def _usv(packed: Any, shape: tuple[int, ...], full_matrices: bool) -> list[Any]:
    m, n = shape[-2:]
    k = min(m, n)
    return unpack(packed, [(m, m), (k,), (n, n), (1,)] if full_matrices else [(m, k), (k,), (k, n), (1,)])


@counterpart(np.linalg.svd)
def _svd_of_node(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    full_matrices = bool(full_matrices and compute_uv)
    U, s, Vh, mark = _usv(SVD(a, full_matrices=full_matrices, hermitian=bool(hermitian)), a.shape, full_matrices)
    return result_of(np.linalg.svd)(Marked(U, mark), real(s), Marked(Vh, mark)) if compute_uv else real(s)


@counterpart(np.linalg.svdvals)
def _svdvals(x: Any) -> Any:
    return _svd_of_node(x, compute_uv=False)
