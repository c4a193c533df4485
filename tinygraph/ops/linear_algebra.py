"""Linear algebra: products of matrices and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..node import TWINS, Node
from ..op import Primitive


class MatMul(Primitive, twin=np.matmul):
    """C = A B;   dA = dC Bᵀ,   dB = Aᵀ dC

    A (..., m, k), B (..., k, n); leading axes broadcast, and an input of one axis is a row on the left and a column on
    the right, as for np.matmul.
    """
    broadcasts = True

    def forward(self, A: Any, B: Any) -> Any:
        return _product(A, B)

    def backward(self, dC: Any, C: Any, A: Any, B: Any) -> Any:
        if A.ndim == B.ndim == 2:
            return lambda: _product(dC, B.T), lambda: _product(A.T, dC)
        if A.ndim == 1 and B.ndim == 1:
            return lambda: dC * B, lambda: dC * A
        if A.ndim == 1:
            dC = np.expand_dims(dC, -2)
            return lambda: np.squeeze(dC @ _transposed(B), -2), lambda: np.expand_dims(A, -1) @ dC
        if B.ndim == 1:
            dC = np.expand_dims(dC, -1)
            return lambda: dC * B, lambda: np.squeeze(_transposed(A) @ dC, -1)
        return lambda: dC @ _transposed(B), lambda: _transposed(A) @ dC


def _product(A: Any, B: Any) -> Any:
    if A.__class__ is B.__class__ is np.ndarray and A.ndim == B.ndim == 2:
        return A.dot(B)  # the same product with half the overhead
    return np.matmul(A, B)


def _transposed(A: Any) -> Any:
    return np.swapaxes(A, -1, -2)


def _dot(a: Any, b: Any) -> Node:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    if np.ndim(b) > 2:
        raise NotImplementedError("np.dot of a node with an array of more than two axes: write np.matmul or np.sum")
    return MatMul(a, b)


TWINS[np.dot] = _dot
