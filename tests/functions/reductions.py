"""Calls of reductions, accumulations, ordering and statistics."""

from typing import Any

import numpy as np

from tinygraph.ops.statistics import _PLACES

from ..cases.reductions import some_zeros, third_missing
from ..cases.registry import anywhere, below_three, distinct, given, integral, positive, truth
from .registry import call
from .ufuncs import complex_of

holes = given(np.array([[1.0, np.nan, 2.0], [-1.5, 3.0, 0.5]]))
X, GAPS = (distinct, (3, 3)), (holes, (2, 3))
MASK = (third_missing, (3, 3))


def among(function: Any, x: Any, where: Any, **options: Any) -> Any:
    return function(x, where=where, **options)


# ---------------------------------------------------------------------------------------------------------- reductions

for function in (np.sum, np.prod, np.mean):
    for options in ({"axis": -1}, {"axis": (0, 2), "keepdims": True}, {"axis": None}):
        call(function, (some_zeros, (2, 3, 2)), analytic=True, **options)
    call(function, (anywhere, (2, 3)), dtype=np.float64, narrow=False,
         form=lambda f, x, **o: f(x, 1, **o))
    call(function, (anywhere, ()), analytic=True)
    call(function, (anywhere, (3, 3)), MASK, form=among, axis=0, analytic=True)
    call(function, (anywhere, (2, 3)), (given(np.array([True, False, True])), (3,)), form=among, keepdims=True,
         jax=False)
for function in (np.sum, np.prod):
    call(function, (anywhere, (2, 3)), axis=1, initial=2.5, analytic=True)
    call(function, (anywhere, (0, 3)), axis=0, initial=2.5)
for function in (np.var, np.std):
    for options in ({}, {"axis": 0, "ddof": 1}, {"axis": (0, -1), "keepdims": True, "correction": 1}):
        call(function, X if "correction" not in options else (distinct, (2, 3, 2)), **options)
    call(function, X, axis=1, dtype=np.float64, narrow=False)
    call(function, X, MASK, form=among, axis=0, ddof=1)
    call(function, X, MASK, form=among, keepdims=True)
    call(function, X, form=lambda f, x, **o: f(x, mean=np.mean(x, axis=1, keepdims=True), **o), axis=1, note="mean",
         jax=False)
    call(function, X, (anywhere, (1, 3)), form=lambda f, x, mean, **o: f(x, mean=mean, **o), axis=0, ddof=1,
         keepdims=True, note="mean", jax=False)
for function in (np.max, np.min, np.amax, np.amin, np.ptp):
    call(function, (distinct, (2, 3, 2)), axis=(0, -1))
    call(function, (distinct, (2, 3)), axis=-1, keepdims=True)
for function in (np.max, np.min, np.nanmax, np.nanmin):
    call(function, X, axis=1, initial=0.25)
    call(function, X, MASK, form=among, axis=0, initial=0.25)
    call(function, X, MASK, form=among, axis=1, keepdims=True, initial=0.25)
    call(function, (distinct, (2, 0)), axis=1, initial=0.25)
for function in (np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin, np.nanmedian):
    for options in ({}, {"axis": 1}, {"axis": (-1, 0), "keepdims": True}):
        call(function, GAPS, **options)
for function in (np.nansum, np.nanmean, np.nanstd):
    call(function, GAPS, (given(np.array([[True, True, True], [True, False, True]])), (2, 3)), form=among, axis=1)
for function in (np.nanvar, np.nanstd):
    call(function, GAPS, ddof=1, axis=1)

call(np.average, (anywhere, (2, 3)), axis=1, analytic=True)
call(np.average, (anywhere, (2, 3)), (positive, (2, 3)), form=lambda f, a, w, **o: f(a, weights=w, **o), analytic=True)
call(np.average, (anywhere, (2, 3)), (positive, (3,)), form=lambda f, a, w, **o: f(a, weights=w, **o), axis=-1,
     keepdims=True, returned=True, analytic=True)
call(np.average, (anywhere, (2, 3, 2)), (positive, (2, 2)), form=lambda f, a, w, **o: f(a, weights=w, **o), axis=(2, 0),
     jax=False)
call(np.average, (below_three, (2, 3)), (positive, (2, 3)), form=lambda f, a, w, **o: f(a, weights=w, **o),
     narrow=False, jax=False, note="integers")

# ------------------------------------------------------------------------------------------------------- accumulations

for function in (np.cumsum, np.cumprod):
    for options in ({}, {"axis": 1}, {"axis": -2}):
        call(function, (some_zeros, (2, 3)), analytic=True, **options)
    call(function, (anywhere, ()), analytic=True)
    call(function, (anywhere, (3,)), dtype=np.float64, narrow=False)
for function in (np.nancumsum, np.nancumprod):
    call(function, GAPS)
    call(function, GAPS, axis=0)
for name in ("cumulative_sum", "cumulative_prod"):
    if hasattr(np, name):
        call(getattr(np, name), (anywhere, (4,)), analytic=True)
        call(getattr(np, name), (anywhere, (2, 3)), axis=-1, include_initial=True, analytic=True)
for ufunc in (np.add, np.multiply, np.maximum, np.minimum, np.logaddexp):
    call(ufunc.accumulate, (distinct, (3, 2)), jax=False)
    call(ufunc.accumulate, (distinct, (3, 2)), axis=-1, jax=False)
for ufunc in (np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp):
    call(ufunc.reduce, (distinct, (3, 2)), jax=False)
    call(ufunc.reduce, (distinct, (3, 2)), axis=(0, 1), keepdims=True, jax=False)
call(np.logaddexp.reduce, (anywhere, (3, 3)), MASK, form=among, axis=1, initial=0.5, jax=False)

# ------------------------------------------------------------------------------------------------------------ ordering

call(np.sort, (distinct, (2, 3)))
call(np.sort, (distinct, (2, 3)), axis=0, kind="stable", jax=False)
call(np.sort, (distinct, (2, 3)), axis=None)
call(np.partition, (distinct, (2, 4)), kth=2, jax=False)
call(np.partition, (distinct, (2, 3)), kth=[1, 3], axis=None, jax=False)
call(np.unique, (distinct, (3,)), form=lambda f, x: f(np.concatenate([x, x])), dynamic=True, jax=False)
call(np.unique, (distinct, (2, 3)), form=lambda f, x: f(np.concatenate([x, x]), axis=0), dynamic=True, jax=False)
call(np.unique_values, (distinct, (4,)), form=lambda f, x: np.sort(f(x)), dynamic=True, jax=False)
for function in (np.unique_all, np.unique_counts, np.unique_inverse):
    call(function, (distinct, (4,)), form=lambda f, x: np.sort(f(x).values), dynamic=True, jax=False)
call(np.median, (distinct, (2, 3)))
call(np.median, (distinct, (2, 4)), axis=-1, keepdims=True)
call(np.median, (distinct, (2, 3, 2)), axis=(0, 2))
for function, whole in [(np.quantile, 1), (np.percentile, 100), (np.nanquantile, 1), (np.nanpercentile, 100)]:
    x = GAPS if "nan" in function.__name__ else (distinct, (2, 3))
    call(function, x, q=0.3 * whole)
    call(function, x, q=[[0.0, 0.3 * whole], [0.9 * whole, whole]], axis=1, keepdims=True, narrow=False)
    call(function, x, (given(np.array([0.1, 0.45])), (2,)), form=lambda f, x, q, whole=whole, **o: f(x, q * whole, **o),
         axis=-1, narrow=False, note="q")
for method in _PLACES:
    call(np.quantile, (distinct, (5,)), q=[0.1, 0.3, 0.4, 0.55, 0.99], method=method, narrow=False, jax=False)
    call(np.nanquantile, GAPS, q=0.4, axis=1, method=method, narrow=False, jax=False)

# ---------------------------------------------------------------------------------------------------------- statistics

for options in ({}, {"rowvar": False}, {"bias": True}, {"ddof": 0}):
    call(np.cov, (anywhere, (3, 4)), narrow=False, **options)
call(np.cov, (anywhere, (4,)), narrow=False)
call(np.cov, (anywhere, (2, 4)), (anywhere, (4,)), narrow=False)
call(np.cov, (anywhere, (2, 3)), (positive, (3,)), form=lambda f, m, w: f(m, aweights=w, fweights=[1, 2, 3]),
     narrow=False)
call(np.corrcoef, (anywhere, (3, 4)), narrow=False)
call(np.corrcoef, (anywhere, (4,)), (anywhere, (4,)), narrow=False)
call(np.bincount, (positive, (4,)), form=lambda f, w, **o: f([0, 2, 2, 1], w, **o), minlength=5, narrow=False,
     jax=False)
call(np.histogram, (positive, (4,)), form=lambda f, w, **o: f([0.0, 2.0, 1.9, 7.0], weights=w, **o)[0], bins=3,
     jax=False)
call(np.histogram, (positive, (4,)), form=lambda f, w, **o: f([0.0, 2.0, 1.9, 1.0], weights=w, **o)[0],
     bins=[0.0, 1.0, 1.5, 2.0], density=True, narrow=False, jax=False)

# ----------------------------------------------------------------------------------------------------------- questions

for function in (np.argmax, np.argmin, np.any, np.all, np.count_nonzero, np.argsort):
    call(function, (integral, (2, 3)), order=0, axis=0)
for function in (np.nanargmax, np.nanargmin):
    call(function, GAPS, order=0, axis=1)
call(np.argpartition, (distinct, (5,)), order=0, kth=2)
call(np.any, (truth, (2, 3)), (truth, (2, 3)), form=among, order=0, axis=1)
call(np.searchsorted, (given(np.array([1.0, 2.0, 3.0])), (3,)), (anywhere, (4,)), order=0, side="right")
call(np.digitize, (anywhere, (4,)), order=0, bins=[0.0, 1.0])
call(np.lexsort, (integral, (4,)), (anywhere, (4,)), form=lambda f, a, b: f((a, b)), order=0)
call(np.bincount, (below_three, (5,)), order=0)
call(np.histogram, (anywhere, (5,)), order=0, bins=3)
call(np.histogram_bin_edges, (anywhere, (5,)), order=0, bins=3)
call(np.histogram2d, (anywhere, (5,)), (anywhere, (5,)), order=0, bins=3)
call(np.histogramdd, (anywhere, (5, 2)), form=lambda f, x: f(x, bins=2)[0], order=0)
call(np.logical_and.reduce, (truth, (2, 3)), order=0)
call(np.logical_or.reduce, (truth, (2, 3)), axis=1, order=0)

# ----------------------------------------------------------------------------------------------------- complex numbers

z = complex_of(anywhere)
for function in (np.prod, np.cumsum, np.cumprod, np.var, np.std, np.median, np.sort, np.max, np.min, np.nansum,
                 np.average):
    call(function, (z, (2, 3)), axis=1, note="complex", jax=False)
call(np.sum, (z, (3, 3)), MASK, form=among, axis=0, note="complex", jax=False)
call(np.mean, (z, (3, 3)), MASK, form=among, axis=0, note="complex", jax=False)
call(np.std, (z, (3, 3)), MASK, form=among, ddof=1, note="complex", jax=False)
call(np.average, (z, (2, 3)), (z, (3,)), form=lambda f, a, w, **o: f(a, weights=w, **o), axis=1, note="complex",
     jax=False)
call(np.cov, (z, (2, 4)), (anywhere, (4,)), note="complex", narrow=False, jax=False)
call(np.corrcoef, (z, (2, 4)), note="complex", narrow=False, jax=False)
call(np.unique, (z, (3,)), note="complex", dynamic=True, jax=False)
