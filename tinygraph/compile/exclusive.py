"""States whose arrays a program may write into: those that nobody else holds."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..node import Parameter, State, Version


def make_exclusive(state: State) -> np.ndarray:
    """Give a state an array that nobody else holds, so that writing into it changes no graph and no view: a copy,
    unless that is so already. Returns the array."""
    version = state._version
    array = version._value
    if (sys.getrefcount(version) > ALONE or sys.getrefcount(array) > ALONE or array.base is not None
            or not array.flags.c_contiguous):
        state._version = version = Version(state, np.array(array, order="C"), isinstance(state, Parameter))
    version._value.flags.writeable = True
    return version._value


class _Holder:
    held: Any


def _count_alone() -> int:
    holder = _Holder()
    holder.held = np.zeros(1)
    array = holder.held
    return sys.getrefcount(array)


ALONE = _count_alone()  # the count of an object that one attribute and one local variable hold
