"""Products: the functions that multiply entries of two arrays, beyond those that go entry by entry or by matrices."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..definition import counterpart
from ..node import TWINS, Node
from ..op import Primitive
from .linear_algebra import Einsum, MatMul


class Cross(Primitive):
    """y = a x b, of vectors along the last axis;   da = b x dy,   db = dy x a"""
    broadcasts = True

    def forward(self, a: Any, b: Any) -> Any:
        if not np.shape(a)[-1:] == np.shape(b)[-1:] == (3,):
            raise ValueError("np.cross on nodes takes vectors of 3 entries; of 2 entries NumPy is giving it up: "
                             "write a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]")
        return np.cross(a, b)

    def backward(self, grad: Any, y: Any, a: Any, b: Any) -> Any:
        return lambda: Cross.apply(b, grad), lambda: Cross.apply(grad, a)


@counterpart(np.cross)
def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    y = Cross(_moved(a, axisa, -1), _moved(b, axisb, -1))
    return _moved(y, -1, axisc)


def _moved(x: Any, source: int, destination: int) -> Any:
    ndim = np.ndim(x)
    same = normalize_axis_index(source, ndim) == normalize_axis_index(destination, ndim)
    return x if same else np.moveaxis(x, source, destination)


@counterpart(np.dot)
def _dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    return MatMul(a, b) if np.ndim(b) <= 2 else np.tensordot(a, b, (-1, -2))


@counterpart(np.inner)
def _inner(a: Any, b: Any, /) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    return MatMul(a, b) if np.ndim(a) == np.ndim(b) == 1 else np.tensordot(a, b, (-1, -1))


@counterpart(np.vdot)
def _vdot(a: Any, b: Any, /) -> Any:
    a = np.conj(a) if np.result_type(a).kind == "c" else a
    return MatMul(np.ravel(a), np.ravel(b))


@counterpart(np.outer)
def _outer(a: Any, b: Any) -> Any:
    return np.multiply(np.reshape(a, (-1, 1)), np.reshape(b, (1, -1)))


@counterpart(np.kron)
def _kron(a: Any, b: Any) -> Any:
    ndim = max(np.ndim(a), np.ndim(b))
    m, n = ((1,) * (ndim - np.ndim(x)) + np.shape(x) for x in (a, b))
    product = np.multiply(np.reshape(a, [n for k in m for n in (k, 1)]), np.reshape(b, [m for k in n for m in (1, k)]))
    return np.reshape(product, [i * j for i, j in zip(m, n, strict=True)])


@counterpart(np.tensordot)
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    m, n = np.ndim(a), np.ndim(b)
    if np.ndim(axes) == 0:
        pairs = [(m - axes + i, i) for i in range(axes)]
        if axes > min(m, n):
            raise ValueError(f"np.tensordot over {axes} axes of arrays of {m} and {n}")
    else:
        left, right = ([each] if np.ndim(each) == 0 else list(each) for each in axes)
        if len(left) != len(right):
            raise ValueError("shape-mismatch for sum")
        pairs = [(normalize_axis_index(i, m), normalize_axis_index(j, n)) for i, j in zip(left, right, strict=True)]
    if any(np.shape(a)[i] != np.shape(b)[j] for i, j in pairs) or len(dict(pairs)) < len(pairs):
        raise ValueError("shape-mismatch for sum")
    first, second = [*ascii_letters[:m]], [*ascii_letters[m:m + n]]
    for i, j in pairs:
        second[j] = first[i]
    result = [k for k in first if k not in second] + [k for k in second if k not in first]
    return Einsum(a, b, subscripts=f"{''.join(first)},{''.join(second)}->{''.join(result)}")


@counterpart(np.linalg.tensordot)
def _linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return np.tensordot(x1, x2, axes)


def _einsum(*operands: Any, out: Any = None, dtype: Any = None, optimize: Any = False, **options: Any) -> Node:
    """`optimize` is accepted and makes no difference: an `Einsum` looks for a good order by itself."""
    if out is not None:
        raise TypeError("np.einsum cannot write a node into an array: leave out= away")
    if unknown := [name for name, value in options.items() if (name, value) not in _DEFAULTS]:
        raise NotImplementedError(f"np.einsum on nodes takes no {', '.join(unknown)}=")
    subscripts, arrays = (operands[0], operands[1:]) if isinstance(operands[0], str) else _spelled(operands)
    if dtype is not None:
        arrays = [x.astype(dtype) if hasattr(x, "astype") else np.asarray(x, dtype) for x in arrays]
    return Einsum(*arrays, subscripts=subscripts)


_DEFAULTS = [("order", "K"), ("casting", "safe")]
TWINS[np.einsum] = _einsum


def _spelled(operands: Any) -> tuple[str, Any]:
    """The subscripts in letters, of operands that are each followed by a list of numbers."""
    def term(indices: Any) -> str:
        return "".join("..." if k is Ellipsis else letters[k] for k in indices)

    lists = [*operands[1::2], *operands[-1:]] if len(operands) % 2 else operands[1::2]
    letters = dict(zip(sorted({k for each in lists for k in each if k is not Ellipsis}), ascii_letters, strict=False))
    terms = ",".join(map(term, operands[1::2]))
    return f"{terms}->{term(operands[-1])}" if len(operands) % 2 else terms, operands[:len(operands) // 2 * 2:2]
