"""Statistics: what NumPy computes of whole arrays, written with reductions and ordered entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import TWINS, Node, constant
from .ordering import ArgRank, looking, plain
from .reductions import (
    array,
    cast,
    count,
    gathered,
    reduced_axes,
)
from .selection import ARRAY, ScatterAdd
from .shaping import StopGradient

# ----------------------------------------------------------------------------------------------------- leaving out NaN

def _there(a: Any, where: Any = True) -> Any:
    """Where an array is not NaN."""
    there = np.logical_not(np.isnan(a))
    return there if where is True else np.logical_and(there, where)


@counterpart(np.nansum)
def _nansum(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None,
            where: Any = True) -> Any:
    return TWINS[np.sum](a, axis=axis, dtype=dtype, keepdims=keepdims, initial=initial, where=_there(a, where))


@counterpart(np.nanprod)
def _nanprod(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None,
             where: Any = True) -> Any:
    return TWINS[np.prod](a, axis=axis, dtype=dtype, keepdims=keepdims, initial=initial, where=_there(a, where))


@counterpart(np.nanmean)
def _nanmean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, where: Any = True) -> Any:
    return TWINS[np.mean](a, axis=axis, dtype=dtype, keepdims=keepdims, where=_there(a, where))


@counterpart(np.nanvar)
def _nanvar(a: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, *,
            where: Any = True, mean: Any = None, correction: Any = None) -> Any:
    return TWINS[np.var](a, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims, where=_there(a, where), mean=mean,
                         correction=correction)


@counterpart(np.nanstd)
def _nanstd(a: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False, *,
            where: Any = True, mean: Any = None, correction: Any = None) -> Any:
    return TWINS[np.std](a, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims, where=_there(a, where), mean=mean,
                         correction=correction)


# ------------------------------------------------------------------------------------------------------ ordered entries

@counterpart(np.median)
def _median(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    rows = gathered(a, axis)
    n = rows.shape[-1]
    y = np.mean(_ranked(rows, np.arange((n - 1) // 2, n // 2 + 1)) if n else rows, axis=-1)
    return np.expand_dims(y, tuple(reduced_axes(a.ndim, axis))) if keepdims else y


@counterpart(np.nanmedian)
def _nanmedian(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    rows = gathered(a, axis)
    n = np.sum(_there(rows), axis=-1, keepdims=True)
    ranks = np.concatenate([np.maximum(n - 1, 0) / 2, np.minimum(n / 2, rows.shape[-1] - 1)], axis=-1).astype(int)
    y = np.mean(_ranked(rows, ranks, True) if rows.shape[-1] else rows, axis=-1)
    return np.expand_dims(y, tuple(reduced_axes(a.ndim, axis))) if keepdims else y


def _ranked(rows: Any, ranks: Any, some_nan: bool = False) -> Any:
    """Of each row, the entries that a stable sort puts at these ranks."""
    places = ArgRank.apply(rows, ranks, skip_nan=some_nan)
    grid = [np.arange(n).reshape(-1, *[1] * (rows.ndim - 1 - i)) for i, n in enumerate(rows.shape[:-1])]
    rows = constant(rows) if isinstance(places, Node) and not isinstance(rows, Node) else rows
    return rows[(*grid, places)]


@counterpart(np.quantile)
def _quantile(a: Any, q: Any, axis: Any = None, overwrite_input: bool = False, method: str = "linear",
              keepdims: bool = False) -> Any:
    return _quantiles(a, q, 1, axis, method, keepdims, False)


@counterpart(np.percentile)
def _percentile(a: Any, q: Any, axis: Any = None, overwrite_input: bool = False, method: str = "linear",
                keepdims: bool = False) -> Any:
    return _quantiles(a, q, 100, axis, method, keepdims, False)


@counterpart(np.nanquantile)
def _nanquantile(a: Any, q: Any, axis: Any = None, overwrite_input: bool = False, method: str = "linear",
                 keepdims: bool = False) -> Any:
    return _quantiles(a, q, 1, axis, method, keepdims, True)


@counterpart(np.nanpercentile)
def _nanpercentile(a: Any, q: Any, axis: Any = None, overwrite_input: bool = False, method: str = "linear",
                   keepdims: bool = False) -> Any:
    return _quantiles(a, q, 100, axis, method, keepdims, True)


def _quantiles(a: Any, q: Any, whole: int, axis: Any, method: str, keepdims: bool, some_nan: bool) -> Any:
    """The entries between which a share q of `whole` lies, interpolated; of those that are not NaN if there may be."""
    a = array(a)
    if method not in _PLACES:
        raise ValueError(f"method={method!r} is none of {', '.join(_PLACES)}")
    if a.dtype.kind == "c":
        raise TypeError("complex numbers have no order, and no quantiles")
    weak = type(q) in (int, float) and a.dtype.kind == "f"
    q = array(q) / float(whole)
    if looking() and not ((plain(q) >= 0) & (plain(q) <= 1)).all():
        raise ValueError(f"q must be in the range from 0 to {whole}")
    rows, flat = gathered(a, axis), np.reshape(q, -1)
    kept = [1 if i in reduced_axes(a.ndim, axis) else n for i, n in enumerate(a.shape)] if keepdims else rows.shape[:-1]
    if not rows.shape[-1]:
        return constant(np.full((*q.shape, *kept), np.nan, a.dtype if weak else np.result_type(a, q)))
    n = np.sum(_there(rows), axis=-1, keepdims=True).astype(q.dtype) if some_nan else rows.shape[-1]
    below, share = _PLACES[method](n, flat)
    below = np.maximum(np.minimum(below, n - 1), 0)
    if share is None:
        y = _ranked(rows, below.astype(int), some_nan)
    else:
        above = np.maximum(np.minimum(below + 1, n - 1), 0)
        both = _ranked(rows, np.concatenate([below, above], axis=-1).astype(int), some_nan)
        low, high = both[..., :flat.size], both[..., flat.size:]
        y = low + (high - low) * (share.astype(a.dtype) if weak else share)
    return np.reshape(np.transpose(y, (y.ndim - 1, *range(y.ndim - 1))), (*q.shape, *kept))


def _between(alpha: float, beta: float) -> Callable[..., Any]:
    """Hyndman and Fan's continuous methods, by their two parameters."""
    def place(n: Any, q: Any) -> Any:
        at = (n - 1) * q if alpha == beta == 1 else n * q + (alpha + q * (1 - alpha - beta)) - 1
        at = np.maximum(np.minimum(at, n - 1), 0)
        below = at.astype(int)
        return below, at - below

    return place


def _averaged(n: Any, q: Any) -> Any:
    at = n * q - 1
    below = np.floor(at)
    return below, np.where(at < 0, 0, np.where(at == below, 0.5, 1)).astype(q.dtype)


def _midpoint(n: Any, q: Any) -> Any:
    at = (n - 1) * q
    below = np.floor(at)
    return below, np.where(at == below, 0, 0.5).astype(q.dtype)


def _closest(n: Any, q: Any) -> Any:
    at = n * q - 1.5
    below = np.floor(at)
    return np.where((at == below) & (below % 2 == 1), below, below + 1), None


# From the number of entries and q in [0, 1] to a rank, and the share of the entry of the next rank, if it has one.
_PLACES: dict[str, Callable[..., Any]] = {
    "linear": _between(1, 1),
    "interpolated_inverted_cdf": _between(0, 1),
    "hazen": _between(1 / 2, 1 / 2),
    "weibull": _between(0, 0),
    "median_unbiased": _between(1 / 3, 1 / 3),
    "normal_unbiased": _between(3 / 8, 3 / 8),
    "inverted_cdf": lambda n, q: (np.ceil(n * q - 1), None),
    "averaged_inverted_cdf": _averaged,
    "closest_observation": _closest,
    "lower": lambda n, q: (np.floor((n - 1) * q), None),
    "higher": lambda n, q: (np.ceil((n - 1) * q), None),
    "midpoint": _midpoint,
    "nearest": lambda n, q: (np.rint((n - 1) * q), None),
}


# ---------------------------------------------------------------------------------------------------- weighted averages

@counterpart(np.average)
def _average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    a = array(a)
    if weights is None:
        y = np.mean(a, axis=axis, keepdims=keepdims)
        total: Any = np.asarray(count(a, True, axis), y.dtype)
    else:
        w = array(weights)
        if w.shape != a.shape:
            w = _along(w, a.shape, axis)
        dtype = np.result_type(a, w, np.float64) if a.dtype.kind in "biu" else np.result_type(a, w)
        total = np.sum(w, axis=axis, dtype=dtype, keepdims=keepdims)
        if looking() and not np.all(plain(total)):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        y = np.sum(cast(a, dtype) * w, axis=axis, keepdims=keepdims) / total
    return (y, np.broadcast_to(total, y.shape)) if returned else y


def _along(w: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """Weights for some axes alone, in the order in which they are given."""
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    axes = np.lib.array_utils.normalize_axis_tuple(axis, len(shape))
    if w.shape != tuple(shape[i] for i in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    w = np.transpose(w, [axes.index(i) for i in sorted(axes)])
    return np.reshape(w, tuple(n if i in axes else 1 for i, n in enumerate(shape)))


@counterpart(np.cov)
def _cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None,
         aweights: Any = None, *, dtype: Any = None) -> Any:
    dtype = np.result_type(m, np.float64, *[] if y is None else [y]) if dtype is None else dtype
    X = np.concatenate([_variables(x, rowvar, dtype) for x in (m, y) if x is not None], axis=0)
    ddof = ddof if ddof is not None else 0 if bias else 1
    f, a = (w if w is None else array(w) for w in (fweights, aweights))
    for w in (f, a):
        if w is not None and (w.shape != X.shape[1:] or (looking() and (plain(w) < 0).any())):
            raise ValueError("fweights and aweights must be one number for each observation, none below 0")
    w = f if a is None else a if f is None else f * a
    if w is None:
        total: Any = X.shape[1]
        X = X - np.mean(X, axis=1, keepdims=True)
    else:
        total = np.sum(w)
        X = X - np.sum(X * w, axis=1, keepdims=True) / total
    freedom = total - ddof * (1 if a is None else np.sum(w * a) / total) if ddof else total
    others = X if w is None else X * w
    return np.squeeze((X @ (np.conjugate(others) if others.dtype.kind == "c" else others).T) / freedom)


def _variables(x: Any, rowvar: bool, dtype: Any) -> Any:
    """One row for each variable."""
    x = cast(array(x), dtype)
    if x.ndim > 2:
        raise ValueError("np.cov takes arrays of one axis or two")
    return np.reshape(x, (1, -1)) if x.ndim < 2 else x if rowvar else x.T


@counterpart(np.corrcoef)
def _corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = np.cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    i = np.arange(len(c))
    deviation = np.sqrt(np.real(c[i, i]) if c.dtype.kind == "c" else c[i, i])
    c = c / deviation[:, None] / deviation
    if c.dtype.kind == "c":
        return c
    return c + StopGradient.apply(np.minimum(np.maximum(c, -1), 1) - c)  # rounding may lead beyond 1


# ------------------------------------------------------------------------------------------------------------- counting

def _bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    x = plain(x)
    if not isinstance(weights, Node):
        return np.bincount(x, weights, minlength)
    n = len(np.bincount(x, minlength=minlength))
    if np.shape(x) != weights.shape:
        raise ValueError("the weights and what is counted must have the same length")
    return ScatterAdd(cast(weights, np.float64), np.asarray(x, np.intp), shape=(n,), index=(ARRAY,))


TWINS[np.bincount] = _bincount


@counterpart(np.histogram)
def _histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    a, bins = plain(a), plain(bins)
    if not isinstance(weights, Node):
        return np.histogram(a, bins, range, density, weights)
    if np.shape(a) != weights.shape:
        raise ValueError("weights should have the same shape as a.")
    a, edges = np.ravel(a), np.histogram_bin_edges(a, bins, range)
    within = np.flatnonzero((a >= edges[0]) & (a <= edges[-1]))
    places = np.minimum(np.searchsorted(edges, a[within], "right") - 1, len(edges) - 2)
    y = ScatterAdd(np.reshape(weights, -1)[within], places, shape=(len(edges) - 1,), index=(ARRAY,))
    return (y / np.diff(edges) / np.sum(y) if density else y), edges
