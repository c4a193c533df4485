"""Calls of the functions that were there first."""

import numpy as np

from ..cases.registry import anywhere, distinct, truth
from .registry import call


def listed(function, *arrays, **options):
    """A function that takes its arrays in a list."""
    return function(list(arrays), **options)


call(np.dot, (anywhere, (2, 3)), (anywhere, (3, 2)), analytic=True)
call(np.dot, (anywhere, ()), (anywhere, (3, 2)), analytic=True)
call(np.ravel, (anywhere, (2, 3)), analytic=True)
call(np.stack, (anywhere, (2, 3)), (anywhere, (2, 3)), form=listed, axis=1, analytic=True)
call(np.concatenate, (anywhere, (2, 3)), (anywhere, (1, 3)), form=listed, axis=None, analytic=True)
call(np.reshape, (anywhere, (2, 3)), form=lambda f, x: f(x, (3, 2)), analytic=True)
call(np.pad, (anywhere, (2, 3)), form=lambda f, x: f(x, ((0, 1), (2, 0))), analytic=True, jax=False)
call(np.einsum, (anywhere, (2, 3)), (anywhere, (3, 2)), form=lambda f, *xs: f("ij,jk->ki", *xs), analytic=True)
call(np.where, (truth, (2, 3)), (anywhere, (3,)), (anywhere, ()), analytic=True)
for function in (np.amax, np.amin):
    call(function, (distinct, (2, 3)), axis=1)

for function in (np.shape, np.ndim, np.size, np.argmax, np.argmin, np.any, np.all):
    call(function, (anywhere, (2, 3)), order=0)
for function in (np.zeros_like, np.ones_like):
    call(function, (anywhere, (2, 3)), order=0)
call(np.empty_like, (anywhere, (2, 0)), order=0)
call(np.full_like, (anywhere, (2, 3)), order=0, fill_value=2.5)
for function in (np.allclose, np.array_equal):
    call(function, (anywhere, (2, 3)), (anywhere, (2, 3)), order=0)
