"""Accumulations: sums, products and extremes of all entries up to each one.

Their gradients run the other way: from the last entry to the first. What all but the sum need for that is one linear
recurrence, `Recurrence`, whose own gradient is the same recurrence run backwards: so each of them is right to any
order, and divides by no entry that may be zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import TWINS
from ..op import Primitive
from .selection import Keep


class CumSum(Primitive):
    """y_i = x_1 + ... + x_i along an axis, or x_i + ... + x_n in reverse;   dx is the same of dy the other way round"""

    def forward(self, x: Any, *, axis: int, reverse: bool = False) -> Any:
        return _accumulated(np.cumsum, x, axis, reverse)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: int, reverse: bool = False) -> Any:
        return CumSum.apply(grad, axis=axis, reverse=not reverse)


class CumProd(Primitive):
    """y_i = x_1 ... x_i along an axis, or x_i ... x_n in reverse;   dx_j = Σ_i≥j dy_i (y_i without x_j) = l_j r_j

    with l_j = x_1 ... x_j-1 and r_j = dy_j + x_j+1 r_j+1.
    """

    def forward(self, x: Any, *, axis: int, reverse: bool = False) -> Any:
        return _accumulated(np.cumprod, x, axis, reverse)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: int, reverse: bool = False) -> Any:
        x, grad = np.swapaxes(x, axis, -1), np.swapaxes(grad, axis, -1)
        before, after = (later, earlier) if reverse else (earlier, later)
        rest = Recurrence.apply(after(x, 0), grad, reverse=not reverse)
        return np.swapaxes(CumProd.apply(before(x, 1), axis=-1, reverse=reverse) * rest, axis, -1)


class CumMax(Primitive):
    """y_i = largest of x_1 ... x_i along an axis;   dy_i goes to the k entries that are it so far, dy_i / k each"""
    selecting = True

    def forward(self, x: Any, *, axis: int) -> Any:
        return np.maximum.accumulate(x, axis=axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: int) -> Any:
        return _shared(grad, y, x, axis)


class CumMin(Primitive):
    """y_i = smallest of x_1 ... x_i along an axis;   dy_i goes to the k entries that are it so far, dy_i / k each"""
    selecting = True

    def forward(self, x: Any, *, axis: int) -> Any:
        return np.minimum.accumulate(x, axis=axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: int) -> Any:
        return _shared(grad, y, x, axis)


def _shared(grad: Any, y: Any, x: Any, axis: int) -> Any:
    grad, y, x = (np.swapaxes(z, axis, -1) for z in (grad, y, x))
    chosen = x == y
    goes_on = (y == earlier(y, 0)).astype(grad.dtype)  # 0 where there is a new record, and counting begins anew
    count = Recurrence.apply(goes_on, chosen.astype(grad.dtype))
    share = grad / np.where(count == 0, 1, count)
    return np.swapaxes(Keep.apply(Recurrence.apply(later(goes_on, 0), share, reverse=True), chosen), axis, -1)


class CumLogAddExp(Primitive):
    """y_i = log(exp x_1 + ... + exp x_i) along an axis;   dx_j = Σ_i≥j dy_i exp(x_j - y_i) = exp(x_j - y_j) r_j

    with r_j = dy_j + exp(y_j - y_j+1) r_j+1. An entry that is -inf gets 0.
    """

    def forward(self, x: Any, *, axis: int) -> Any:
        return np.logaddexp.accumulate(x, axis=axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: int) -> Any:
        grad, y, x = (np.swapaxes(z, axis, -1) for z in (grad, y, x))
        rest = Recurrence.apply(_ratio(y, later(y, np.inf)), grad, reverse=True)
        return np.swapaxes(Keep.apply(rest, x > -np.inf) * _ratio(x, y), axis, -1)


def _ratio(x: Any, y: Any) -> Any:
    """exp x / exp y, and 1 where they are the same infinity."""
    return np.exp(np.where(x == y, 0, x) - np.where(x == y, 0, y))


class Recurrence(Primitive):
    """y_i = a_i y_i-1 + b_i along the last axis, from y_0 = 0;   db_i = dy_i + a_i+1 db_i+1,   da_i = db_i y_i-1

    In reverse it begins with the last entry. a and b have the same shape; the first a is multiplied with nothing.
    """

    def forward(self, a: Any, b: Any, *, reverse: bool = False) -> Any:
        if a.shape != b.shape:
            raise ValueError(f"a and b must have one shape, got {a.shape} and {b.shape}")
        a, b = np.asarray(a), np.asarray(b)
        return _recurrence(a[..., ::-1], b[..., ::-1])[..., ::-1] if reverse else _recurrence(a, b)

    def backward(self, grad: Any, y: Any, a: Any, b: Any, *, reverse: bool = False) -> Any:
        before, after = (later, earlier) if reverse else (earlier, later)
        db = Recurrence.apply(after(a, 0), grad, reverse=not reverse)
        return lambda: db * before(y, 0), db


_BLOCK = 64  # entries that are worked through one by one, in all blocks at the same time


def _recurrence(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Many short recurrences at the same time, then one that joins their ends."""
    *lead, n = b.shape
    dtype = np.result_type(a, b)
    if n <= 2 * _BLOCK or b.size > 512 * n:
        a, y = np.moveaxis(a, -1, 0), np.array(np.moveaxis(b, -1, 0), dtype, order="C")
        for i in range(1, n):
            y[i] += a[i] * y[i - 1]
        return np.moveaxis(y, 0, -1)
    p, y = _in_blocks(a, dtype), _in_blocks(b, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(1, _BLOCK):
            y[i] += p[i] * y[i - 1]  # as if each block began with 0
            p[i] *= p[i - 1]  # the product of all a so far
    if not np.isfinite(p[-1]).all() and dtype.kind == "f" and np.isfinite(a).all():
        largest = np.finfo(dtype).max  # and not infinity, which times 0 is NaN
        np.clip(p, -largest, largest, out=p)
    p[..., 1:] *= _recurrence(p[-1], y[-1])[..., :-1]
    p[..., 0] = 0
    y += p
    result, whole = np.empty((*lead, n), dtype), n // _BLOCK
    result[..., :whole * _BLOCK].reshape(*lead, whole, _BLOCK)[...] = np.moveaxis(y[..., :whole], 0, -1)
    if rest := n % _BLOCK:
        result[..., -rest:] = np.moveaxis(y[:rest, ..., whole], 0, -1)
    return result


def _in_blocks(x: np.ndarray, dtype: Any) -> np.ndarray:
    """The last axis in blocks, (entry of a block, ..., block), filled up with zeros."""
    *lead, n = x.shape
    whole, rest = divmod(n, _BLOCK)
    blocks = np.empty((_BLOCK, *lead, whole + (rest > 0)), dtype)
    blocks[..., :whole] = np.moveaxis(x[..., :whole * _BLOCK].reshape(*lead, whole, _BLOCK), -1, 0)
    if rest:
        blocks[:rest, ..., whole] = np.moveaxis(x[..., -rest:], -1, 0)
        blocks[rest:, ..., whole] = 0
    return blocks


def earlier(x: Any, first: float) -> Any:
    """The entry before each, along the last axis; `first` for the first."""
    return np.concatenate([np.full_like(x[..., :1], first), x[..., :-1]], axis=-1)


def later(x: Any, last: float) -> Any:
    """The entry after each, along the last axis; `last` for the last."""
    return np.concatenate([x[..., 1:], np.full_like(x[..., :1], last)], axis=-1)


def _accumulated(function: Any, x: Any, axis: int, reverse: bool) -> Any:
    if not reverse:
        return function(x, axis)
    y = np.empty(x.shape, function(x.ravel()[:0]).dtype)
    function(np.flip(x, axis), axis, out=np.flip(y, axis))
    return y


# ------------------------------------------------------------------------------------------------ NumPy's functions

def accumulation(op: Any, a: Any, axis: int | None, dtype: Any) -> Any:
    """An accumulation as NumPy's functions call it: over all entries if the axis is None, in a dtype that is given."""
    if dtype is not None and a.dtype != dtype:
        a = a.astype(dtype)
    if axis is None or not a.ndim:
        a, axis = np.reshape(a, -1), 0 if axis is None else axis
    return op(a, axis=axis)


@counterpart(np.cumsum)
def _cumsum(a: Any, axis: Any = None, dtype: Any = None) -> Any:
    return accumulation(CumSum, a, axis, dtype)


@counterpart(np.cumprod)
def _cumprod(a: Any, axis: Any = None, dtype: Any = None) -> Any:
    return accumulation(CumProd, a, axis, dtype)


@counterpart(np.nancumsum)
def _nancumsum(a: Any, axis: Any = None, dtype: Any = None) -> Any:
    return accumulation(CumSum, np.where(np.isnan(a), 0, a), axis, dtype)


@counterpart(np.nancumprod)
def _nancumprod(a: Any, axis: Any = None, dtype: Any = None) -> Any:
    return accumulation(CumProd, np.where(np.isnan(a), 1, a), axis, dtype)


def _cumulative(op: Any, first: int) -> Any:
    def cumulative(x: Any, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Any:
        if axis is None and x.ndim > 1:
            raise ValueError("for an array of more than one axis, say with axis= along which")
        y = accumulation(op, x, axis, dtype)
        if not include_initial:
            return y
        axis = 0 if axis is None else axis
        shape = [1 if i == axis % y.ndim else n for i, n in enumerate(y.shape)]
        return np.concatenate([np.full(shape, first, y.dtype), y], axis)

    return cumulative


if hasattr(np, "cumulative_sum"):
    counterpart(np.cumulative_sum)(_cumulative(CumSum, 0))
    counterpart(np.cumulative_prod)(_cumulative(CumProd, 1))


def _accumulate(op: Any) -> Any:
    """`ufunc.accumulate(array, axis, dtype)`."""
    return lambda array, axis=0, dtype=None: accumulation(op, array, axis, dtype)


for _ufunc, _op in {np.add: CumSum, np.multiply: CumProd, np.maximum: CumMax, np.minimum: CumMin,
                    np.logaddexp: CumLogAddExp}.items():
    TWINS[_ufunc.accumulate] = _accumulate(_op)
