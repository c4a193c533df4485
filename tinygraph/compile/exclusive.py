"""States whose arrays a program may write into: those that nobody else holds."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..node import Parameter, State, Version


def make_exclusive(state: State) -> np.ndarray:
    """Give a state an array that nobody else holds, so that writing into it changes no graph and no view: a copy,
    unless that is so already. Returns the array."""
    if not is_exclusive(state):
        state._version = Version(state, np.array(state._version._value, order="C"), isinstance(state, Parameter))
    array: np.ndarray = state._version._value
    array.flags.writeable = True
    return array


def is_exclusive(state: State) -> bool:
    """Whether nobody else holds the array of a state, and it lies in one piece."""
    version = state._version
    array = version._value
    return (sys.getrefcount(version) <= ALONE and sys.getrefcount(array) <= ALONE and array.base is None
            and array.flags.c_contiguous)


class _Holder:
    held: Any


def _count_alone() -> int:
    holder = _Holder()
    holder.held = np.zeros(1)
    array = holder.held
    return sys.getrefcount(array)


ALONE = _count_alone()  # the count of an object that one attribute and one local variable hold
