"""Linear algebra at its singular points: repeated eigenvalues, zero singular values, zero determinants, norms at 0.

Where the value is smooth the oracle is differences, of the function or of the same function written otherwise.
"""

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import tinygraph as tg
from tinygraph.scipy import linalg as of_scipy

from .functions import CALLS
from .oracles import differences, gradient

linalg = np.linalg
rng = np.random.default_rng(7)
Q = linalg.qr(rng.normal(size=(4, 4)))[0]
B, C = rng.normal(size=(2, 4, 4))
REPEATED = [np.eye(4), np.diag([1.0, 1, 2, 2]), Q @ np.diag([1.0, 1, 3, 3]) @ Q.T, Q @ np.diag([-2.0, 1, 1, 1]) @ Q.T]


def close(actual: Any, expected: Any, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def symmetric(A: Any) -> Any:
    return (A + A.T) / 2


def by_differences(f: Any, A: Any) -> Any:
    return gradient(differences, f, [A])[0]


# ------------------------------------------------------------------------------------------------------- determinants

SINGULAR = [np.array([[1.0, 2], [2, 4]]), np.zeros((1, 1)), np.zeros((2, 2)), np.zeros((3, 3)),
            np.outer([1.0, 2, 3], [2, 1, -1]), np.diag([1.0, 0, 2]), np.diag([1.0, 2, 0, 0]),
            Q @ np.diag([3.0, 2, 1, 0])]


@pytest.mark.parametrize("A", SINGULAR, ids=range(8))
def test_determinant_of_a_singular_matrix(A):
    """Cofactors, and three more orders: a determinant is a polynomial, of which differences are exact."""
    U, V, W = np.random.default_rng(0).normal(size=(3, *A.shape))
    first = tg.grad(linalg.det)
    second = tg.grad(lambda A: np.sum(first(A) * U))
    third = tg.grad(lambda A: np.sum(second(A) * V))
    close(first(A), by_differences(linalg.det, A))
    close(second(A), by_differences(lambda A: np.sum(first(A) * U), A))
    close(third(A), by_differences(lambda A: np.sum(second(A) * V), A))
    close(tg.jvp(lambda A: np.sum(first(A) * U), (A,), (W,))[1], np.sum(second(A) * W))


def test_cofactors_are_exact_where_it_counts():
    close(tg.grad(linalg.det)(np.array([[1.0, 2.0], [2.0, 4.0]])), [[4, -2], [-2, 1]], atol=1e-14)
    batch = np.stack([np.eye(2), [[1.0, 2], [2, 4]], np.zeros((2, 2))])
    close(tg.grad(lambda A: np.sum(linalg.det(A)))(batch), [np.eye(2), [[4, -2], [-2, 1]], np.zeros((2, 2))], 1e-14)


def test_cofactors_of_a_matrix_that_is_nearly_singular():
    A = Q @ np.diag([1.0, 1, 1, 1e-13]) @ Q.T
    minors = [[(-1) ** (i + j) * linalg.det(np.delete(np.delete(A, i, 0), j, 1)) for j in range(4)] for i in range(4)]
    close(tg.grad(linalg.det)(A), minors, atol=1e-14)


def test_a_singular_matrix_has_no_inverse():
    for f in (linalg.inv, lambda A: linalg.solve(A, np.ones(2)), lambda A: linalg.slogdet(A)[1]):
        with pytest.raises(linalg.LinAlgError, match="Singular"):
            tg.grad(lambda A, f=f: np.sum(f(A)))(np.array([[1.0, 2], [2, 4]]))


# ------------------------------------------------------------------------------------------------ repeated eigenvalues

@pytest.mark.parametrize("A", REPEATED, ids=["I", "diagonal", "pairs", "three"])
def test_functions_of_repeated_eigenvalues(A):
    """Sums of a function of the eigenvalues do not care which is which."""
    for f, slope in [(np.sum, lambda w: np.ones_like(w)), (lambda w: np.sum(w ** 3), lambda w: 3 * w ** 2),
                     (lambda w: np.sum(np.exp(w)), np.exp)]:
        w, V = linalg.eigh(A)
        expected = V * slope(w) @ V.T
        for values in (linalg.eigvalsh, lambda A: linalg.eigh(A)[0], lambda A: linalg.eigh(A, "U").eigenvalues):
            close(tg.grad(lambda A, f=f, values=values: f(values(A)))(A), expected)
        close(tg.grad(lambda A, f=f: f(linalg.svd(A, compute_uv=False)))(A @ A), V * slope(w * w) @ V.T)
        tangent = symmetric(B)
        close(tg.jvp(lambda A, f=f: f(linalg.eigvalsh(A)), (A,), (tangent,))[1], np.sum(expected * tangent))


def test_the_largest_of_repeated_eigenvalues_has_the_gradient_of_least_norm():
    A = Q @ np.diag([3.0, 3, 1, 0]) @ Q.T
    projection = Q[:, :2] @ Q[:, :2].T
    for f in (lambda A: linalg.eigvalsh(A)[-1], lambda A: np.max(linalg.eigvalsh(A)), lambda A: linalg.norm(A, 2),
              lambda A: linalg.svd(A)[1][0]):
        close(tg.grad(f)(A), projection / 2)


@pytest.mark.parametrize("A", REPEATED[1:], ids=["diagonal", "pairs", "three"])
def test_the_space_of_a_repeated_eigenvalue(A):
    """The projection on it depends on no choice; here it is also a polynomial in A, near A to first order."""
    w, V = linalg.eigh(A)
    k = 1 if w[0] < 0 else 2

    def f(A: Any, M: Any) -> Any:
        vectors = linalg.eigh(A)[1][:, :k]
        return np.sum(vectors @ vectors.T * M)

    for M in (B, C):
        expected = np.zeros((4, 4))
        for i in range(k):
            for j in range(k, 4):
                E = np.outer(V[:, i], V[:, j])
                expected += 2 * symmetric(E) * (V[:, i] @ symmetric(M) @ V[:, j]) / (w[i] - w[j])
        close(tg.grad(f)(A, M), expected)


@pytest.mark.parametrize("A", REPEATED, ids=["I", "diagonal", "pairs", "three"])
def test_a_choice_of_eigenvectors_is_a_clear_error(A):
    for f in (lambda A: linalg.eigh(A)[1], lambda A: linalg.svd(A)[0], lambda A: linalg.svd(A, full_matrices=False)[2],
              lambda A: linalg.eigh(A)[1][:, -1] ** 2, lambda A: np.real(linalg.eig(A)[1])):
        with pytest.raises(linalg.LinAlgError, match=r"np.linalg.\w+ of \(4, 4\)"):
            tg.grad(lambda A, f=f: np.sum(f(A) * B))(A)
        with pytest.raises(linalg.LinAlgError, match=r"np.linalg.\w+ of \(4, 4\)"):
            tg.grad(tg.grad(lambda A, f=f: np.sum(f(A) * B)))(A)


@pytest.mark.parametrize("A", REPEATED, ids=["I", "diagonal", "pairs", "three"])
@pytest.mark.parametrize("M", [B, np.ones((4, 4)), np.eye(1, 4) * np.eye(4, 1, -1)], ids=["any", "ones", "entry"])
def test_what_the_gradients_by_values_and_vectors_do_not_tell(A, M):
    """V g(w) Vᵀ depends on no choice, but where w is repeated its derivative takes more: never a wrong number."""
    def f(A: Any) -> Any:
        w, V = linalg.eigh(A)
        return np.sum((V * w) @ V.T * M)

    with pytest.raises(linalg.LinAlgError, match="sqrtm"):
        tg.grad(f)(A)


@pytest.mark.parametrize("M", [B, np.ones((4, 4)), C @ C.T], ids=["any", "ones", "symmetric"])
def test_a_function_that_is_zero_at_repeated_eigenvalues(M):
    """The gradient by the vectors is 0, but they are used: the logarithm of the identity matrix is an example."""
    def logarithm(A: Any) -> Any:
        w, V = linalg.eigh(A)
        return np.sum((V * np.log(w)) @ V.T * M)

    def shrunk(A: Any) -> Any:
        U, s, Vh = linalg.svd(A)
        return np.sum((U * (s - 1)) @ Vh * M)

    for f in (logarithm, shrunk):
        with pytest.raises(linalg.LinAlgError, match="sqrtm"):
            tg.grad(f)(np.eye(4))
        with pytest.raises(linalg.LinAlgError, match="sqrtm"):
            tg.compile(tg.grad(f), target="numpy")(np.eye(4))
    close(tg.grad(lambda A: np.sum(of_scipy.logm(A) * M))(np.eye(4)), M)


def test_second_derivatives_by_repeated_eigenvalues():
    A = REPEATED[2]
    close(tg.hessian(lambda A: np.sum(linalg.eigvalsh(A)))(A), np.zeros((4, 4, 4, 4)))
    with pytest.raises(linalg.LinAlgError, match="eigh"):
        tg.hessian(lambda A: np.sum(linalg.eigvalsh(A) ** 2))(A)


def test_repeated_eigenvalues_in_one_matrix_of_a_batch():
    batch = np.stack([np.eye(4), Q @ np.diag([1.0, 2, 3, 4]) @ Q.T])
    close(tg.grad(lambda A: np.sum(linalg.eigvalsh(A) ** 2))(batch), 2 * batch)


@pytest.mark.parametrize(("f", "of"), [
    (lambda A: linalg.eigh(A + np.conj(A.T))[1], "eigh"), (lambda A: linalg.svd(A)[0], "svd"),
    (lambda A: linalg.svd(A, full_matrices=False)[2], "svd"), (lambda A: linalg.eig(A)[1], "eig")],
    ids=["eigh", "U", "Vh", "eig"])
def test_the_phase_of_a_complex_vector_is_a_choice(f, of):
    A = np.diag([1.0, 2, 3, 4]) + 0.1 * B + 0.1j * C
    with pytest.raises(linalg.LinAlgError, match=rf"np\.linalg\.{of} of \(4, 4\).*phase"):
        tg.grad(lambda A: np.real(np.sum(f(A) * C)))(A)
    close(tg.grad(lambda A: np.sum(np.abs(f(A)) ** 2))(A), 0 * A)


def test_a_real_matrix_with_complex_eigenvalues():
    """Its gradient is real; a complex result is refused, as always."""
    A = np.array([[1.0, 2.0, 0.0], [-3.0, 0.5, 1.0], [0.0, 0.3, 2.0]])
    grad = tg.grad(lambda A: np.real(np.sum(linalg.eigvals(A) ** 3)))(A)
    assert grad.dtype == float
    close(grad, 3 * (A @ A).T)  # of the trace of A³
    close(tg.grad(lambda A: np.real(np.sum(linalg.eigvals(A))))(np.eye(3)), np.eye(3))
    with pytest.raises(TypeError, match="complex"):
        tg.grad(lambda A: np.sum(linalg.eigvals(A)))(A)


def test_symmetric_gradients():
    A = Q @ np.diag([1.0, 2, 3, 4]) @ Q.T
    for f in (linalg.cholesky, linalg.eigvalsh, lambda A: linalg.eigh(A)[1] ** 2,
              lambda A: linalg.pinv(A, hermitian=True), lambda A: linalg.svd(A, hermitian=True)[1]):
        grad = tg.grad(lambda A, f=f: np.sum(f(A) * B))(A)
        close(grad, grad.T, atol=1e-14)


# ----------------------------------------------------------------------------------------- zeros among singular values

@pytest.mark.parametrize("shape", [(4, 4), (3, 4), (4, 3)])
def test_norms_of_singular_values_where_some_are_zero(shape):
    """Each zero is a kink, as of an absolute value, and adds nothing to the gradient of least norm."""
    U, _, Vh = linalg.svd(rng.normal(size=shape), full_matrices=False)
    s = np.array([3.0, 2, 0, 0])[:len(Vh)] if len(Vh) == 4 else np.array([3.0, 2, 0])
    A = U * s @ Vh
    close(tg.grad(lambda A: linalg.norm(A, "nuc"))(A), U[:, :2] @ Vh[:2])
    close(tg.grad(lambda A: np.sum(linalg.svdvals(A) ** 2))(A), 2 * A)
    close(tg.grad(lambda A: linalg.norm(A, 2))(A), np.outer(U[:, 0], Vh[0]))
    close(tg.grad(lambda A: linalg.norm(A, -2))(A), 0 * A)
    with pytest.raises(linalg.LinAlgError, match="svd"):
        tg.grad(lambda A: np.sum(linalg.svd(A, full_matrices=False)[0 if shape[1] < 4 else 2]))(A)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_the_columns_that_complete_a_basis_are_a_choice(shape):
    A = rng.normal(size=shape)
    with pytest.raises(linalg.LinAlgError, match="leaves open"):
        tg.grad(lambda A: np.sum(linalg.svd(A)[0 if shape[0] > 2 else 2]))(A)
    if shape[0] > 2:
        with pytest.raises(linalg.LinAlgError, match="leaves open"):
            tg.grad(lambda A: np.sum(linalg.qr(A, "complete")[0]))(A)


@pytest.mark.parametrize("order", [None, 2, 1, np.inf, 3, 1.5, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vector_norms_at_zero(order, dtype):
    x = np.zeros(3, dtype)
    for f in (lambda x: linalg.norm(x, order), lambda x: linalg.norm(x, order) ** 2, lambda x: linalg.vector_norm(x)):
        np.testing.assert_array_equal(tg.grad(f)(x), x, strict=True)
        assert tg.jvp(f, (x,), (x + 1,))[1] == 0
    rows = np.array([[0, 0], [3, 4]], dtype)
    close(tg.grad(lambda x: np.sum(linalg.norm(x, axis=1)))(rows), [[0, 0], [0.6, 0.8]], atol=1e-7)
    close(tg.grad(lambda x: linalg.norm(x, 1.5))(np.array([0.0, 2.0])), [0, 1])


@pytest.mark.parametrize("order", [None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf])
def test_matrix_norms_at_zero(order):
    np.testing.assert_array_equal(tg.grad(lambda A: linalg.norm(A, order, axis=(0, 1)))(np.zeros((2, 3))),
                                  np.zeros((2, 3)))


def test_pseudo_inverse_and_least_squares_of_constant_rank():
    X, Y, b = rng.normal(size=(4, 2)), rng.normal(size=(2, 3)), rng.normal(size=4)
    for f in (lambda X, Y: np.sum(linalg.pinv(X @ Y) * B[:3]), lambda X, Y: np.sum(linalg.lstsq(X @ Y, b)[0] ** 2)):
        for g, x in zip(tg.grad(f, (0, 1))(X, Y), (0, 1), strict=True):
            close(g, gradient(differences, f, [X, Y])[x])


def test_least_squares_says_what_numpy_says():
    for A, b in [(B[:, :2], C[:, 0]), (B[:2], C[:2]), (B @ np.diag([1.0, 1, 0, 0]), C)]:
        expected = linalg.lstsq(A, b)
        found = linalg.lstsq(tg.constant(A), tg.constant(b))
        assert found[2] == expected[2]
        for y, e in zip((*found[:2], found[3]), (*expected[:2], expected[3]), strict=True):
            assert y.shape == e.shape
            close(y.value, e)


@pytest.mark.parametrize("f", [
    linalg.inv, linalg.cholesky, lambda A: linalg.solve(A, B), lambda A: linalg.eigh(A)[1] ** 2,
    lambda A: linalg.svd(A, full_matrices=False)[0] ** 2, lambda A: linalg.qr(A[:, :2])[0], linalg.pinv,
    lambda A: np.real(linalg.eig(A)[1]) ** 2, lambda A: linalg.slogdet(A)[1], of_scipy.expm, of_scipy.sqrtm,
    lambda A: of_scipy.lu(A)[1]], ids=range(12))
def test_third_order(f):
    """Along a line of symmetric matrices, against differences of the second derivative."""
    A, E = Q @ np.diag([1.0, 2, 3, 4]) @ Q.T, symmetric(B) / 10

    def along(t: Any) -> Any:
        y = f(A + t * E)
        return np.sum(y * np.cos(np.arange(y.size)).reshape(y.shape))

    second = tg.grad(tg.grad(along))
    close(tg.grad(second)(0.1), differences(second, [0.1], [0.25]) * 4, atol=1e-7)


# --------------------------------------------------------------------------------------------------------- the results

def test_results_are_numpys_named_tuples():
    A = tg.constant(np.diag([1.0, 2, 3]))
    for function in (linalg.qr, linalg.svd, linalg.eigh, linalg.eig, linalg.slogdet):
        result = function(A)
        assert type(result) is type(function(A.value))
        for node, array in zip(result, function(A.value), strict=True):
            assert isinstance(node, tg.Node)
            close(node.value, array)
            assert node.dtype == array.dtype


def test_integers_become_floats():
    A = np.array([[2, 1], [1, 3]])
    for function in (linalg.inv, linalg.det, linalg.norm, linalg.cholesky, linalg.eigvalsh, linalg.svdvals):
        node = function(tg.constant(A))
        assert node.dtype == function(A).dtype
        close(node.value, function(A))


def test_what_is_refused():
    A = tg.constant(np.eye(3))
    for f, error, words in [
        (lambda: linalg.qr(A, "raw"), NotImplementedError, "raw"),
        (lambda: linalg.norm(A, "nuc", axis=0), ValueError, "nuc"),
        (lambda: linalg.norm(A, 3), ValueError, "order 3"),
        (lambda: linalg.norm(np.stack([A, A]), 2), ValueError, "axis"),
        (lambda: linalg.inv(tg.constant(np.ones((2, 3)))), linalg.LinAlgError, "square"),
        (lambda: linalg.matrix_power(tg.constant(np.ones((2, 3))), 2), linalg.LinAlgError, "square"),
        (lambda: linalg.cholesky(tg.constant(-np.eye(2))), linalg.LinAlgError, "positive definite"),
        (lambda: linalg.multi_dot([A, A], out=np.eye(3)), TypeError, "out="),
    ]:
        with pytest.raises(error, match=words):
            f()


@pytest.mark.parametrize("f", [
    linalg.inv, linalg.det, linalg.cholesky, linalg.eigvalsh, linalg.pinv, lambda A: linalg.solve(A, B),
    lambda A: linalg.svd(A, full_matrices=False)[0] ** 2, lambda A: linalg.eigh(A)[1] ** 2, lambda A: linalg.qr(A)[1],
    lambda A: linalg.slogdet(A)[1], lambda A: linalg.norm(A, 2), lambda A: linalg.lstsq(A, B)[0], linalg.matrix_rank],
    ids=range(13))
def test_compiled(f):
    A = Q @ np.diag([1.0, 2, 3, 4]) @ Q.T
    def both(A):
        return f(A), tg.grad(lambda A: np.sum(f(A)) + np.sum(A))(A)
    for y, e in zip(tg.compile(both, target="numpy")(A), both(A), strict=True):
        close(y, e)


def test_a_compiled_gradient_checks_the_choice_of_vectors_too():
    f = tg.compile(tg.grad(lambda A: np.sum(linalg.eigh(A)[1] * B)), target="numpy")
    assert np.isfinite(f(Q @ np.diag([1.0, 2, 3, 4]) @ Q.T)).all()
    with pytest.raises(linalg.LinAlgError, match="leaves open"):
        f(np.eye(4))


# -------------------------------------------------------------------------------------------- tinygraph.scipy.linalg

def test_every_namesake_is_called():
    assert {getattr(of_scipy, name) for name in of_scipy.__all__} <= {call.function for call in CALLS}
    assert of_scipy.__all__ == sorted(of_scipy.__all__)


def test_namesakes_on_arrays_are_scipys_own():
    A = Q @ np.diag([1.0, 2, 3, 4]) @ Q.T
    for name in ("inv", "expm", "sqrtm", "eigh", "lu_factor", "qr"):
        for y, e in zip(getattr(of_scipy, name)(A), getattr(scipy.linalg, name)(A), strict=True):
            np.testing.assert_array_equal(y, e, strict=True)
    assert of_scipy.hadamard is scipy.linalg.hadamard
    assert "hadamard" in dir(of_scipy)


def test_options_of_scipy():
    A = tg.constant(np.diag([1.0, 2, 3]))
    of_scipy.inv(A, check_finite=False, overwrite_a=True)
    for f, words in [(lambda: of_scipy.svd(A, True, False, lapack_driver="gesvd", unknown=1), "unknown"),
                     (lambda: of_scipy.eigh(A, subset_by_value=[0, 1]), "subset_by_value="),
                     (lambda: of_scipy.qr(A, pivoting=True), "pivoting"),
                     (lambda: of_scipy.pinv(A, return_rank=True), "return_rank="),
                     (lambda: of_scipy.toeplitz(A), "vectors")]:
        with pytest.raises((NotImplementedError, TypeError), match=words):
            f()


def test_functions_of_a_matrix_with_repeated_eigenvalues():
    """Where a detour by eigenvectors has no gradient."""
    A, E = 2 * np.eye(3), np.random.default_rng(1).normal(size=(3, 3))
    for f, slope in [(of_scipy.sqrtm, 2 ** -0.5 / 2), (of_scipy.logm, 0.5), (of_scipy.expm, np.exp(2))]:
        close(tg.grad(lambda A, f=f: np.sum(f(A) * E))(A), slope * E)
    nilpotent = np.eye(3, k=1)

    def series(A):
        return sum(linalg.matrix_power(A, k) / math.factorial(k) for k in range(1, 9))

    expected = by_differences(lambda A: np.sum(series(A) * E), nilpotent)
    for f in (of_scipy.expm, series):
        close(tg.grad(lambda A, f=f: np.sum(f(A) * E))(nilpotent), expected)
    close(tg.hessian(lambda A: np.sum(of_scipy.sqrtm(A) * E))(A)[0, 0, 0, 0], -E[0, 0] / 4 / 2 ** 1.5)


def test_what_a_triangular_solver_does_not_read_gets_no_gradient():
    A = np.array([[2.0, np.nan], [1.0, 3.0]])
    for unit in (False, True):
        grad = tg.grad(lambda A, unit=unit: np.sum(of_scipy.solve_triangular(
            A, np.ones(2), lower=True, unit_diagonal=unit)))(np.where(np.isnan(A), 5.0, A))
        assert grad[0, 1] == 0
        assert (np.diag(grad) == 0).all() == unit
