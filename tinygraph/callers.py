"""Callers: what the frame of whoever asks a node for something tells about why. NumPy and SciPy do not say."""

from __future__ import annotations

import opcode
from types import FrameType

_STORE_SUBSCR = opcode.opmap["STORE_SUBSCR"]

# Operators with which scipy.sparse, if the other operand is no array, leaves the work to that.
_OF_SPARSE = {"__matmul__", "__rmatmul__", "__mul__", "__rmul__", "__truediv__", "__eq__", "__ne__", "__lt__", "__le__",
              "__gt__", "__ge__"}


def takes_quietly(caller: FrameType) -> bool:
    """Whether it is at `array[i] = ...`, for which NumPy asks the right side for its number without a word, or is NumPy
    itself, at an argument for which it looks for no counterpart (`left` of np.interp)."""
    name = caller.f_globals.get("__name__", "")
    storing = caller.f_code.co_code[caller.f_lasti] == _STORE_SUBSCR
    return storing or (name.startswith("numpy.") and not name.startswith("numpy.testing"))


def is_operator_of_sparse(caller: FrameType) -> bool:
    """Whether it is an operator of scipy.sparse, which wants to know if its other operand can be made an array."""
    frame: FrameType | None = caller
    while frame is not None and frame.f_globals.get("__name__", "").startswith("scipy.sparse."):
        if frame.f_code.co_name in _OF_SPARSE:
            return True
        frame = frame.f_back
    return False
