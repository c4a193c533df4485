"""Sparse matrices: products with dense arrays, and linear systems. Imported when the first one meets a node.

A sparse matrix is three arrays: its values row by row, the row and the column of each. The ops take these, so that
gradients flow to the values too. `csr_array` holds them together and has the
operators; a matrix of SciPy's that meets a node becomes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve as _spsolve

from ..node import Node
from ..op import Op, Primitive


class SparseMatMul(Primitive):
    """Y = A X;   dX = Aᵀ dY, and by the value in row i and column j: dY_i · X_j

    A, of shape `shape`, has these values in these rows (quickest if they are in order) and columns, and zeros
    elsewhere. X is a vector or a matrix. transposed: Y = Aᵀ X.
    """

    def forward(self, values: Any, rows: Any, columns: Any, X: Any, *, shape: Any, transposed: bool = False) -> Any:
        return _matrix(values, rows, columns, shape, transposed) @ X

    def backward(self, dY: Any, Y: Any, values: Any, rows: Any, columns: Any, X: Any, *,
                 shape: Any, transposed: bool = False) -> Any:
        by_row, by_column = (X, dY) if transposed else (dY, X)
        return (lambda: _products(by_row[rows], by_column[columns]), None, None,
                lambda: SparseMatMul.apply(values, rows, columns, dY, shape=shape, transposed=not transposed))

    def batch(self, values: Any, rows: Any, columns: Any, X: Any) -> Any:
        return _in_columns(self, values, rows, columns, X)


class SparseSolve(Primitive):
    """A X = B;   dB = A⁻ᵀ dX, and by the value in row i and column j: -dB_i · X_j

    A, square, is given as for `SparseMatMul`; B is a vector or a matrix. transposed: Aᵀ X = B.
    """

    def forward(self, values: Any, rows: Any, columns: Any, B: Any, *, shape: Any, transposed: bool = False) -> Any:
        dtype = np.result_type(values, B)
        if hasattr(values, "refuse"):  # while tg.compile traces: zeros, which no system can be solved with
            return np.zeros(B.shape, dtype)
        A = _matrix(values, rows, columns, shape, transposed).copy()  # SciPy adds up and sorts in place
        return np.reshape(_spsolve(A, B), B.shape).astype(dtype)

    def backward(self, dX: Any, X: Any, values: Any, rows: Any, columns: Any, B: Any, *,
                 shape: Any, transposed: bool = False) -> Any:
        dB = SparseSolve.apply(values, rows, columns, dX, shape=shape, transposed=not transposed)
        by_row, by_column = (X, dB) if transposed else (dB, X)
        return lambda: -_products(by_row[rows], by_column[columns]), None, None, dB

    def batch(self, values: Any, rows: Any, columns: Any, B: Any) -> Any:
        return _in_columns(self, values, rows, columns, B)


def _matrix(values: Any, rows: Any, columns: Any, shape: tuple[int, int], transposed: bool) -> Any:
    """SciPy's matrix of these arrays; the transpose is the same arrays, read as columns."""
    values, rows, columns = map(np.asarray, (values, rows, columns))  # all zeros while tg.compile traces
    if (rows[1:] < rows[:-1]).any():
        order = np.argsort(rows, kind="stable")
        values, rows, columns = values[order], rows[order], columns[order]
    values = np.ascontiguousarray(values)
    starts = np.searchsorted(rows, np.arange(shape[0] + 1, dtype=rows.dtype)).astype(columns.dtype, copy=False)
    if transposed:
        return sparse.csc_array((values, columns, starts), shape=shape[::-1])
    return sparse.csr_array((values, columns, starts), shape=shape)


def _products(left: Any, right: Any) -> Any:
    """The product of each pair of rows."""
    return left * right if left.ndim == 1 else np.sum(left * right, axis=1)


def _in_columns(op: Any, values: Any, rows: Any, columns: Any, X: Any) -> Any:
    """A batch of right factors, or of right sides, as the columns of one."""
    if X is op.inputs[3] or any(x is not y for x, y in zip((values, rows, columns), op.inputs, strict=False)):
        return NotImplemented
    side_by_side = np.reshape(np.swapaxes(X, 0, 1), (X.shape[1], -1))
    Y = type(op)(values, rows, columns, side_by_side, **op.options)
    return np.swapaxes(np.reshape(Y, (op.shape[0], len(X), *op.shape[1:])), 0, 1)


# ------------------------------------------------------------------------------------------------- matrices of nodes

class csr_array:
    """A sparse matrix whose values may be a node: SciPy's of that name, as far as nodes need it.

    arg: a sparse matrix, `(data, (rows, columns))` (entries that are named twice add up), or
        `(data, indices, indptr)`; data is an array or a node.
    shape: of the matrix; where it is left out it is as small as the indices allow.

    `A @ x`, `x @ A`, `A * dense` (entry by entry, sparse again), `A * number`, `-A`, `A.T`, `A.toarray()`; and
    `spsolve(A, b)`. The results are nodes, or such matrices.

    >>> import numpy as np, tinygraph as tg
    >>> rows, columns = np.array([0, 1, 1]), np.array([0, 0, 1])
    >>> def f(values):
    ...     return np.sum(csr_array((values, (rows, columns)), shape=(2, 2)) @ np.array([3.0, 4.0]))
    >>> tg.grad(f)(np.array([1.0, 1.0, 2.0]))
    array([3., 3., 4.])
    """

    __array_ufunc__ = None  # array @ this comes to __rmatmul__
    ndim, format = 2, "csr"

    def __init__(self, arg: Any, shape: tuple[int, int] | None = None) -> None:
        if sparse.issparse(arg) or isinstance(arg, csr_array):
            if arg.ndim != 2:
                raise NotImplementedError("sparse arrays of one axis do not meet nodes: give a matrix of one row")
            arg = arg.tocsr()
            arg, shape = (arg.data, arg.indices, arg.indptr), arg.shape if shape is None else shape
        if len(arg) == 2:
            data, (rows, columns) = arg
            rows, columns = np.asarray(rows), np.asarray(columns)
            shape = (rows.max() + 1, columns.max() + 1) if shape is None else shape
            order = np.lexsort((columns, rows))
            if (order[:-1] > order[1:]).any():
                data = data[order] if isinstance(data, Node) else np.asarray(data)[order]
                rows, columns = rows[order], columns[order]
            starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
            arg = data, columns, starts
        self.data, indices, starts = arg
        self.indices, self.indptr = np.asarray(indices), np.asarray(starts)
        if shape is None:
            shape = (len(self.indptr) - 1, self.indices.max() + 1)
        self.shape: tuple[int, int] = (int(shape[0]), int(shape[1]))
        # SciPy checks that the arrays fit together.
        sparse.csr_array((np.zeros(np.shape(self.data)), self.indices, self.indptr), shape=self.shape).check_format()
        self.rows = np.repeat(np.arange(self.shape[0], dtype=self.indices.dtype), np.diff(self.indptr))

    @property
    def nnz(self) -> int:
        return len(self.indices)

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    def __repr__(self) -> str:
        return f"<csr_array {self.shape} of {self.nnz} values, {self.data!r}>"

    @property
    def T(self) -> csr_array:
        return csr_array((self.data, (self.indices, self.rows)), self.shape[::-1])

    def tocsr(self) -> csr_array:
        return self

    def toarray(self) -> Any:
        """The dense matrix."""
        return self @ np.eye(self.shape[1], dtype=self.dtype)

    def __matmul__(self, X: Any) -> Any:
        return _product(SparseMatMul, self, X, False)

    def __rmatmul__(self, X: Any) -> Any:
        return np.transpose(_product(SparseMatMul, self, np.transpose(X), True))

    def __mul__(self, other: Any) -> csr_array:
        if np.ndim(other):
            other = np.broadcast_to(other, self.shape)[self.rows, self.indices]
        return csr_array((self.data * other, self.indices, self.indptr), self.shape)

    __rmul__ = __mul__

    def __neg__(self) -> csr_array:
        return csr_array((-self.data, self.indices, self.indptr), self.shape)


def spsolve(A: Any, b: Any) -> Any:
    """x with A x = b, for a sparse square matrix A (n, n) of SciPy's or a `csr_array`, and b (n,) or (n, k), dense.

    Gradients flow to the values of A and to b. Each gradient is one more solution, with the transposed matrix.

    >>> import numpy as np, tinygraph as tg
    >>> A = csr_array((np.array([2.0, 4.0]), ([0, 1], [0, 1])))
    >>> tg.grad(lambda b: np.sum(spsolve(A, b)))(np.ones(2))
    array([0.5 , 0.25])
    """
    A = csr_array(A)
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"spsolve: the matrix must be square, got shape {A.shape}")
    return _product(SparseSolve, A, b, False)


def _product(op: type[Op], A: csr_array, X: Any, transposed: bool) -> Any:
    """The op on a matrix and a dense array, or what its forward returns where neither is a node."""
    X = X if isinstance(X, Node | np.ndarray) else np.asarray(X)
    n = A.shape[0] if transposed else A.shape[1]
    if X.ndim not in (1, 2) or X.shape[0] != n:
        raise ValueError(f"a sparse matrix of shape {A.shape[::-1] if transposed else A.shape} and an array of shape "
                         f"{X.shape} do not fit")
    return op.apply(A.data, A.rows, A.indices, X, shape=A.shape, transposed=transposed)


def meeting(function: Callable[..., Any], left: Any, right: Any) -> Any:
    """What an operator makes of a node and a sparse matrix, as SciPy's own operators would of an array."""
    on_left = hasattr(left, "tocsr")
    matrix, other = (left, right) if on_left else (right, left)
    product = function is np.matmul or (function is np.multiply and isinstance(matrix, sparse.spmatrix) and other.ndim)
    if product:
        if on_left and sparse.issparse(matrix) and matrix.format == "csc":  # its transpose is there already
            return _product(SparseMatMul, csr_array(matrix.T), other, True)
        return csr_array(matrix) @ other if on_left else csr_array(matrix).__rmatmul__(other)
    if function is np.multiply:
        return csr_array(matrix) * other
    raise TypeError(f"{function.__name__} of a node and a sparse matrix: nodes know @ and * with one; "
                    "write S.toarray() for a dense matrix")

