"""Norms of vectors and matrices. At 0, where a norm has a kink, its gradient is 0: of all that fit the smallest."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definition import counterpart
from ..op import Primitive
from .linear_systems import conjugate, real
from .reductions import restored


class Norm(Primitive):
    """y = (Σ |x|ᵖ)^(1/p) over axes;   dx = dy sign(x) (|x| / y)ᵖ⁻¹, and 0 where x or y is 0. `ord` is p"""

    def forward(self, x: Any, *, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Any:
        if ord == 2 and axis is None and x.dtype.kind == "f":
            flat = np.ravel(x)
            y = np.sqrt(np.dot(flat, flat))  # one pass
            return np.reshape(y, (1,) * x.ndim) if keepdims else y
        if ord == 2:
            return np.sqrt(np.sum(real(conjugate(x) * x), axis=axis, keepdims=keepdims))
        return np.sum(abs(x) ** ord, axis=axis, keepdims=keepdims) ** (1 / ord)

    def backward(self, grad: Any, y: Any, x: Any, *, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Any:
        grad, y = (restored(a, axis, keepdims) for a in (grad, y))
        y = np.where(y == 0, 1, y)
        if ord == 2:
            return grad / y * conjugate(x)
        zero = x == 0
        slopes = np.where(zero, 0, np.where(zero, 1, abs(x) / y) ** (ord - 1))
        return grad * slopes * np.sign(conjugate(x))


def _vector_norm(x: Any, ord: Any, axis: Any, keepdims: bool) -> Any:
    if ord == np.inf:
        return np.max(abs(x), axis=axis, keepdims=keepdims)
    if ord == -np.inf:
        return np.min(abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum(x != 0, axis=axis, keepdims=keepdims).astype(real(x).dtype)
    if ord == 1:
        return np.sum(abs(x), axis=axis, keepdims=keepdims)
    if isinstance(ord, str):
        raise ValueError(f"a vector has no norm of order {ord!r}")
    return Norm(x, ord=2 if ord is None else ord, axis=axis, keepdims=keepdims)


def _matrix_norm(x: Any, ord: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    rows, columns = (axis % x.ndim for axis in axes)
    if rows == columns:
        raise ValueError("a matrix norm takes two different axes")
    if ord in (None, "fro", "f"):
        return Norm(x, axis=(rows, columns), keepdims=keepdims)
    x = np.transpose(x, [*[k for k in range(x.ndim) if k not in (rows, columns)], rows, columns])
    if ord in (2, -2, "nuc"):
        reduce: Any = {2: np.max, -2: np.min, "nuc": np.sum}[ord]
        y = reduce(np.linalg.svd(x, compute_uv=False), axis=-1)
    elif ord in (1, -1, np.inf, -np.inf):
        sums = np.sum(abs(x), axis=-2 if abs(ord) == 1 else -1)
        y = (np.max if ord > 0 else np.min)(sums, axis=-1)
    else:
        raise ValueError(f"a matrix has no norm of order {ord!r}")
    return np.expand_dims(y, (rows, columns)) if keepdims else y


@counterpart(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = x if x.dtype.kind in "fc" else x.astype(float)
    if ord is None and axis is None:
        return Norm(x, keepdims=keepdims)
    axes = (range(x.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,))
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ValueError(f"np.linalg.norm is over one axis or two, not {tuple(axes)}")
    return _matrix_norm(x, ord, tuple(axes), keepdims)


@counterpart(np.linalg.vector_norm)
def _vector_norm_of_node(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    return _vector_norm(x, ord, axis, keepdims)


@counterpart(np.linalg.matrix_norm)
def _matrix_norm_of_node(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _matrix_norm(x, ord, (-2, -1), keepdims)


@counterpart(np.linalg.cond)
def _cond(x: Any, p: Any = None) -> Any:
    if p in (None, 2, -2):
        s = np.linalg.svd(x, compute_uv=False)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return _matrix_norm(x, p, (-2, -1), False) * _matrix_norm(np.linalg.inv(x), p, (-2, -1), False)
