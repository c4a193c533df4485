"""Packing: several arrays as one, for ops whose function returns several. One node holds one array.

The op returns all outputs of a batch entry flat along the last axis; what the user gets are pieces of it, each with its
own shape. On nodes `unpack` makes those pieces, and in a rule it takes the gradient by all of them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np


def pack(arrays: Sequence[Any], axes: int = 0) -> Any:
    """Arrays (*batch, *shape) with the same `axes` axes of a batch as one (*batch, n). The types are promoted.

    >>> import numpy as np
    >>> pack([np.ones((2, 2)), np.zeros(3)]).tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """
    return np.concatenate([np.reshape(x, (*x.shape[:axes], math.prod(x.shape[axes:]))) for x in arrays], -1)


def unpack(packed: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """The arrays (*batch, *shape) that were packed, given the shapes behind the axes of the batch."""
    parts, start, batch = [], 0, packed.shape[:-1]
    for shape in shapes:
        end = start + math.prod(shape)
        parts.append(np.reshape(packed[..., start:end], (*batch, *shape)))
        start = end
    return parts


def opaque(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a function that a forward calls and that looks at values, or is not NumPy's own.

    While tg.compile traces, it is run on arrays that stand in for those that are not known yet, and the shape and the
    type of its result are taken.
    """
    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        for x in args:
            if unknown(x):
                return x.__array_function__(function, (), args, options)
        return function(*args, **options)

    return call


def unknown(*arrays: Any) -> bool:
    """Whether one of these only stands for an array, while tg.compile traces."""
    return any(hasattr(x, "refuse") for x in arrays)
