"""Cases of norms. What LAPACK computes is in the registry of functions."""

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tinygraph import ops

from .registry import Case, add, add_random, nonzero


def norm(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Any:
    """By logarithms of absolute values, which are those of real parts."""
    sizes = np.where(np.real(x) < 0, -x, x)
    return np.exp(np.log(np.sum(np.exp(ord * np.log(sizes)), axis=axis, keepdims=keepdims)) / ord)


for options in ({}, {"axis": -1}, {"axis": (0, 1), "keepdims": True}, {"ord": 3}, {"ord": 1.5, "axis": 0},
                {"ord": -1, "axis": 1, "keepdims": True}):
    add(ops.Norm, norm, (nonzero, (2, 3)), analytic=False, **options)
add(ops.Norm, norm, (nonzero, (0, 3)), analytic=False, axis=1)

@st.composite
def norms(draw: Any) -> Case:
    shape, ord = draw(hnp.array_shapes(max_dims=3, max_side=3)), draw(st.sampled_from([1.5, 2, 3]))
    return Case(ops.Norm, norm, [(nonzero, shape)], {"ord": ord}, analytic=False)


add_random(ops.Norm, norms())
