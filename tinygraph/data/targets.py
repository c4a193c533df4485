"""What a column of targets says: classes, or numbers to predict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_target", "number"]


def as_target(
    values: Sequence[str] | NDArray[Any], classes: bool | None = None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """y and the class names that a column of numbers or texts stands for; numbers to predict have no names.

    With `classes` None, text is class names, and numbers are classes if they are the integers 0 to k - 1 or 1 to k with
    k at least 2 and none left out; other numbers are to be predicted. True makes a class of each distinct value; False
    takes numbers as they are. Classes are in the order of their numbers or names.
    ValueError for what is no finite number where one is wanted.
    """
    column = np.asarray(values)
    if column.dtype == bool:
        column = column.astype(np.int64)
    if column.dtype.kind not in "iuf":
        numbers = [number(text) for text in column.astype(str).ravel()]
        if None in numbers:
            if classes is False:
                text = str(column.ravel()[numbers.index(None)])
                raise ValueError(f"numbers are to be predicted, but there is {text!r}")
            names, y = np.unique(column.astype(str), return_inverse=True)
            return y, tuple(names.tolist())
        column = np.array(numbers, dtype=np.float64).reshape(column.shape)
    if not np.isfinite(column).all():
        raise ValueError(f"{column[~np.isfinite(column)][0]} is neither a number to predict nor a class")
    if classes is False or (classes is None and column.ndim != 1):
        return column, ()
    found, y = np.unique(column, return_inverse=True)
    counting = found[0] in (0, 1) and len(found) >= 2 and bool((found == np.arange(len(found)) + found[0]).all())
    if classes is None and not counting:
        return column, ()
    return y, tuple(f"{value:.0f}" if value == round(value) else repr(value.item()) for value in found)


def number(text: str) -> float | None:
    """The number that a text says, or None."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
