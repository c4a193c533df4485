"""The work of the compiler's benchmark, and who does it: one module per kind of work, one function per engine in it.

A `Row` is one line of the table: a problem (the numbers that go in) and the contenders by name, each a function that
takes the problem and the number of threads and returns its `Work`. Each is written the way its engine is fastest, has
its data converted beforehand, and imports its engine when it is called. `engines` has what is said to each engine once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Work:
    """`call()` does the work once and returns when it is done. `result` makes arrays, in the order of those by hand, of
    what the last call returned. `reset()` brings back the start, for work that changes parameters: every turn begins
    there, so that all go through the same numbers."""

    call: Callable[[], Any]
    result: Callable[[Any], list[np.ndarray]]
    reset: Callable[[], None] = lambda: None


Maker = Callable[[Any, int], Work]


@dataclass
class Row:
    """One line of the table. `limit`: at most how many times the best peer's time native code may take."""

    title: str
    problem: Callable[[], Any]
    contenders: dict[str, Maker]
    limit: float


def arrays(*values: Any) -> list[np.ndarray]:
    """NumPy arrays of the arrays, tensors, nodes or numbers of any engine."""
    return [np.asarray(getattr(value, "value", value)) for value in values]
