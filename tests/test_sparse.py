"""Sparse matrices beside nodes: SciPy's own in expressions, matrices whose values are nodes, and systems."""

import re

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve as scipys

import tinygraph as tg
from tinygraph import ops
from tinygraph.batching import batched
from tinygraph.scipy.sparse import csr_array, spsolve

from .oracles import differences, gradient

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((4, 3)) < 0.6, RNG.standard_normal((4, 3)), 0)
ROWS, COLUMNS = np.array([2, 0, 1, 0, 2, 1, 0]), np.array([0, 1, 1, 0, 2, 2, 0])  # (0, 0) twice
VALUES = np.array([1.0, -2.0, 4.0, 3.0, 5.0, 0.5, 2.0])
ARRAYS = [sparse.csr_array, sparse.csc_array, sparse.coo_array, sparse.lil_array, sparse.dia_array, sparse.bsr_array]
MATRICES = [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.dok_matrix]


def square(values):
    """The dense matrix of the entries above."""
    matrix = np.zeros((3, 3), values.dtype)
    np.add.at(matrix, (ROWS, COLUMNS), values)
    return matrix


def no_dense_matrix(loss):
    """No op below has a result of the shape of the matrix."""
    return all(node.shape != DENSE.shape for node in tg.Tape(loss))


PRODUCTS = {
    "S @ x": (lambda S, x: S @ x, [(3,), (3, 1), (3, 2)]),
    "x @ S": (lambda S, x: x @ S, [(4,), (1, 4), (2, 4)]),
    "S.T @ x": (lambda S, x: S.T @ x, [(4,), (4, 2)]),
    "x @ S.T": (lambda S, x: x @ S.T, [(3,), (2, 3)]),
    "(2 * S) @ x": (lambda S, x: (2 * S) @ x, [(3, 2)]),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("make", ARRAYS + MATRICES)
def test_a_constant_sparse_matrix_in_products(make, name):
    f, shapes = PRODUCTS[name]
    S, dtype = make(DENSE), np.float64
    for shape in shapes:
        x = RNG.standard_normal(shape)
        y = f(S, tg.constant(x))
        assert isinstance(y, tg.Node)
        np.testing.assert_allclose(y.value, f(DENSE, x), rtol=1e-13)
        assert y.dtype == dtype
        check_derivatives(f, S, x, RNG.standard_normal(y.shape))


def check_derivatives(f, S, x, weights):
    loss = np.sum(f(S, p := tg.Parameter(x)) * weights)
    assert no_dense_matrix(loss)
    np.testing.assert_allclose(tg.backprop(loss, wrt=p), tg.grad(lambda x: np.sum(f(DENSE, x) * weights))(x))
    np.testing.assert_allclose(tg.hessian(lambda x: np.sum(np.sin(f(S, x)) * weights))(x),
                               tg.hessian(lambda x: np.sum(np.sin(f(DENSE, x)) * weights))(x), atol=1e-13)


@pytest.mark.parametrize("make", MATRICES)
def test_a_star_is_a_product_of_matrices(make):
    """For SciPy's matrices, as opposed to its arrays."""
    S, x = make(DENSE), RNG.standard_normal(3)
    np.testing.assert_allclose((S * tg.constant(x)).value, DENSE @ x)
    np.testing.assert_allclose((tg.constant(x) * S.T).value, x @ DENSE.T)


@pytest.mark.parametrize("make", ARRAYS)
def test_a_star_is_entry_by_entry_and_stays_sparse(make):
    S = make(DENSE)
    for other in (RNG.standard_normal((4, 3)), RNG.standard_normal(3), RNG.standard_normal((4, 1)), np.float64(2)):
        product = tg.constant(other) * S
        assert isinstance(product, csr_array)
        assert product.nnz == np.count_nonzero(DENSE)
        np.testing.assert_allclose(product.toarray().value, DENSE * other)
        np.testing.assert_allclose(tg.grad(lambda x, S=S: np.sum((x * S) @ np.arange(3.0)))(other),
                                   tg.grad(lambda x: np.sum((x * DENSE) @ np.arange(3.0)))(other))
    if not old_scipy():
        np.testing.assert_allclose((S * tg.constant(other)).toarray().value, DENSE * other)


def old_scipy():
    """Before 1.16 or so a sparse array on the left of * does not step back for what is no array."""
    try:
        sparse.csr_array(DENSE) * tg.constant(DENSE)
    except (TypeError, NotImplementedError, AttributeError):
        return True
    return False


def test_dtypes():
    S = sparse.csr_array(DENSE.astype(np.float32))
    assert (S @ tg.constant(np.ones(3, np.float32))).dtype == np.float32
    assert tg.grad(lambda x: np.sum(S @ x))(np.ones(3, np.float32)).dtype == np.float32
    assert (sparse.csr_array(np.eye(3, dtype=int)) @ tg.constant(np.ones(3))).dtype == np.float64
    z = RNG.standard_normal(3) + 1j * RNG.standard_normal(3)
    np.testing.assert_allclose((sparse.csr_array(DENSE * 1j) @ tg.constant(z)).value, DENSE @ z * 1j)


@pytest.mark.parametrize("target", ["numpy", "auto"])
def test_compiled(target, private_cache):
    S, x = sparse.csr_array(DENSE), RNG.standard_normal((3, 2))
    step = tg.compile(tg.value_and_grad(lambda x: np.sum(np.tanh(S @ x))), target=target)
    for actual, expected in zip(step(x), tg.value_and_grad(lambda x: np.sum(np.tanh(DENSE @ x)))(x), strict=True):
        np.testing.assert_allclose(actual, expected)
    solve = tg.compile(tg.grad(lambda v, b: np.sum(spsolve(csr_array((v, (ROWS, COLUMNS))), b) ** 2), (0, 1)),
                       target=target)
    expected = tg.grad(lambda v, b: np.sum(spsolve(csr_array((v, (ROWS, COLUMNS))), b) ** 2), (0, 1))(VALUES, x[:, 0])
    for actual, wanted in zip(solve(VALUES, x[:, 0]), expected, strict=True):
        np.testing.assert_allclose(actual, wanted)


# --------------------------------------------------------------------------------------------- values that are nodes

@pytest.mark.parametrize("tail", [(), (2,)])
@pytest.mark.parametrize("name", ["A @ x", "x @ A", "A.T @ x", "(A * x) @ x", "(-3 * A) @ x", "toarray", "solve"])
def test_matrices_of_nodes(name, tail):
    x = RNG.standard_normal((3, *tail))
    weights = RNG.standard_normal((3, 3))

    def f(A, x, solve):
        return {"A @ x": lambda: A @ x, "x @ A": lambda: x.T @ A, "A.T @ x": lambda: A.T @ x,
                "(A * x) @ x": lambda: (A * (x if x.ndim == 1 else x[:, :1])) @ x,
                "(-3 * A) @ x": lambda: (-(3 * A)) @ x,
                "toarray": lambda: (A.toarray() if hasattr(A, "toarray") else A) * weights,
                "solve": lambda: solve(A, x)}[name]()

    def loss(values, x):
        return np.sum(np.sin(f(csr_array((values, (ROWS, COLUMNS)), shape=(3, 3)), x, spsolve)))

    def plain(values, x):
        return np.sum(np.sin(f(square(values), x, np.linalg.solve)))

    np.testing.assert_allclose(tg.value_and_grad(loss)(VALUES, x)[0], plain(VALUES, x))
    grads = tg.grad(loss, (0, 1))(VALUES, x)
    for actual, expected in zip(grads, gradient(differences, plain, [VALUES, x]), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-8)
    H = tg.hessian(loss)(VALUES, x)
    columns = [differences(lambda v: tg.grad(loss)(v, x), [VALUES], [unit]) for unit in np.eye(7)]
    np.testing.assert_allclose(H, np.stack(columns, -1), atol=1e-8)


def test_every_way_to_make_one():
    S = sparse.csr_array((VALUES, (ROWS, COLUMNS)), shape=(3, 3))
    for A in (csr_array(S), csr_array(S.tocsc()), csr_array((VALUES, (ROWS, COLUMNS))), csr_array(csr_array(S)),
              csr_array((S.data, S.indices, S.indptr)), csr_array((list(VALUES), (list(ROWS), list(COLUMNS))), (3, 3)),
              csr_array((tg.constant(VALUES), (ROWS, COLUMNS)))):
        np.testing.assert_allclose(np.asarray(getattr(A.toarray(), "value", A.toarray())), S.toarray())
        assert (A.shape, A.T.shape, A.dtype, A.ndim) == ((3, 3), (3, 3), np.float64, 2)
        assert "csr_array (3, 3)" in repr(A)
    assert csr_array((np.ones(1), ([0], [1])), shape=(4, 5)).toarray().shape == (4, 5)
    empty = csr_array((np.zeros(0), (np.zeros(0, int), np.zeros(0, int))), shape=(2, 3))
    np.testing.assert_array_equal(empty.toarray(), np.zeros((2, 3)))


def test_arrays_alone_give_arrays():
    S, x = sparse.csr_array((VALUES, (ROWS, COLUMNS))), RNG.standard_normal(3)
    for y, expected in ((csr_array(S) @ x, S @ x), (x @ csr_array(S), x @ S), (spsolve(S, x), scipys(S, x))):
        assert type(y) is np.ndarray
        np.testing.assert_allclose(y, expected)


def test_a_batch_goes_through_as_columns():
    """Jacobians by the right side take one more product or system, not one for each row."""
    S, b = sparse.csr_array((VALUES, (ROWS, COLUMNS))), RNG.standard_normal((3, 3))
    np.testing.assert_allclose(tg.jacobian(lambda b: spsolve(S, b))(b[0]), np.linalg.inv(S.toarray()))
    np.testing.assert_allclose(tg.jacobian(lambda b: S @ b)(b[0]), S.toarray())
    expected = np.einsum("ij,kl->ikjl", S.toarray(), np.eye(3))
    np.testing.assert_allclose(tg.jacobian(lambda b: S @ b)(b), expected)
    by_values = tg.jacobian(lambda v: spsolve(csr_array((v, (ROWS, COLUMNS))), b[0]))(VALUES)
    columns = [differences(lambda v: np.linalg.solve(square(v), b[0]), [VALUES], [unit]) for unit in np.eye(7)]
    np.testing.assert_allclose(by_values, np.stack(columns, -1), atol=1e-9)
    X, batch = tg.Parameter(b), tg.constant(np.stack([b, 2 * b]))
    (found,) = batched([S @ X], X.current(), batch)
    assert not any(isinstance(node, ops.SparseMatMul) for node in tg.Tape(found) if node.shape == (3, 3))
    np.testing.assert_allclose(found.value, np.stack([S @ b, 2 * (S @ b)]))


# ------------------------------------------------------------------------------------------------------------- errors

def test_what_does_not_go():
    S, x = sparse.csr_array(DENSE), tg.constant(np.ones((4, 3)))
    for operation in (lambda: S + x, lambda: x + S, lambda: x - S, lambda: S - x, lambda: x / S, lambda: x**S,
                      lambda: x < S):
        with pytest.raises(TypeError, match=re.escape("nodes know @ and * with one; write S.toarray()")):
            operation()
    for operation in (lambda: np.add(x, S), lambda: ops.Add(x, S), lambda: ops.MatMul(S, x)):
        with pytest.raises(TypeError, match="a sparse matrix meets nodes in"):
            operation()
    for operation in (lambda: sparse.csr_array(x), lambda: S.multiply(x), lambda: sparse.vstack([S, x])):
        with pytest.raises((TypeError, ValueError, NotImplementedError, AttributeError)):
            operation()
    for operation in (lambda: S @ tg.constant(np.ones(4)), lambda: tg.constant(np.ones((2, 3))) @ S,
                      lambda: S @ tg.constant(np.ones((2, 3, 2))), lambda: S @ tg.constant(1.0)):
        with pytest.raises(ValueError, match=r"do not fit|Scalar operands"):
            operation()
    with pytest.raises(ValueError, match="must be square"):
        spsolve(S, x)
    with pytest.raises(ValueError, match=r"index|indices|column"):
        csr_array((np.ones(1), ([0], [7])), shape=(2, 2)) @ x
    assert float(tg.constant(2.0)) == 2  # and asking a node for a number elsewhere is what it was
    with pytest.raises(TypeError, match="does not turn into an array"):
        np.asarray(x)
