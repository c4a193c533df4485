"""Outlines: what stands for an array while a function is traced.

An `Outline` is an ndarray of which only shape and dtype mean something: all its entries are one zero in memory. NumPy's
own functions say which shape and dtype a result has, since they run on it, for universal functions on a single entry;
nothing here guesses. Who asks an outline for a number gets an error that names the line.

A weak outline stands for a Python number: its type yields to that of arrays, as NumPy's promotion has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..detect import user_line
from ..node import MAPPING

# Python's own operators, which keep a Python number what it is.
_OPERATORS = {np.add, np.subtract, np.multiply, np.divide, np.power, np.negative, np.positive, np.absolute,
              np.floor_divide, np.remainder}
_FILLED = {np.zeros_like, np.ones_like, np.full_like, np.empty_like}


class Outline(np.ndarray):
    """Shape and dtype of an array that will be known when the program runs."""

    weak = False

    def __new__(cls, shape: tuple[int, ...], dtype: Any, weak: bool = False) -> Outline:
        dtype = np.dtype(dtype)
        entry = np.ones(1, bool) if dtype.kind == "b" else np.zeros(1, dtype)  # a mask takes something, or NumPy warns
        outline = super().__new__(cls, shape, dtype, entry, strides=(0,) * len(shape))
        outline.weak = weak
        outline.flags.writeable = False
        return outline

    def __array_finalize__(self, source: Any) -> None:
        self.weak = False

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if out is not None:  # what a forward writes into has the shape and dtype of the result
            return outlined(out[0])
        weak = method == "__call__" and ufunc in _OPERATORS and all(map(_is_weak, inputs))
        if method != "__call__":
            return outlined(getattr(ufunc, method)(*map(_plain, inputs), **options))
        if ufunc is np.matmul:
            A, B = map(_plain, inputs)
            return outlined(np.matmul(A[..., :0], B[..., :0, :] if B.ndim > 1 else B[:0], **options))
        if ufunc.signature is not None:
            return outlined(ufunc(*map(_plain, inputs), **options))
        shape = np.broadcast_shapes(*map(np.shape, inputs))
        results = ufunc(*map(_entry, inputs), **options)
        if isinstance(results, tuple):
            return tuple(Outline(shape, result.dtype) for result in results)
        return Outline(shape, results.dtype, weak)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, options: Any) -> Any:
        plain = _plain if function.__module__ == "numpy" else regular
        result = function(*_mapped(args, plain), **_mapped(options, plain))
        return result if function in _FILLED else outlined(result)

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        """The error of whoever asks for a number."""
        import linecache

        name, line = user_line()
        text = linecache.getline(name, line).strip()
        why = "tg.vmap runs the function once for all entries" if MAPPING.get() else "tg.compile traces the function"
        raise TypeError(f"{name}:{line}{': ' + text if text else ''}: the value of this {self.shape} {self.dtype} is "
                        f"not known while {why}. For a choice by value write np.where(...); to choose when tracing, "
                        "give the function a bool, str or None instead; to see the value, return it")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = item = tolist = tobytes = refuse


def outlined(result: Any) -> Any:
    """What a function returned, with outlines for arrays."""
    if isinstance(result, tuple | list):
        made = map(outlined, result)
        return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)
    return Outline(result.shape, result.dtype) if isinstance(result, np.ndarray | np.generic) else result


def _plain(x: Any) -> Any:
    """Something of the same type that NumPy computes with as usual."""
    if not isinstance(x, Outline):
        return x
    return x.dtype.type(0).item() if x.weak else x.view(np.ndarray)


def regular(x: Any) -> Any:
    """The same for functions that fail at zeros, those of linear algebra: twice the identity matrix, or ones."""
    plain = _plain(x)
    if not isinstance(x, Outline) or x.weak or x.dtype.kind not in "fc":
        return plain
    return np.broadcast_to(2 * np.eye(*x.shape[-2:], dtype=x.dtype) if x.ndim > 1 else plain + 1, x.shape)


def _entry(x: Any) -> Any:
    """One entry of `x` (none, if it is empty), with as many axes."""
    x = _plain(x)
    return x[(slice(1),) * x.ndim] if isinstance(x, np.ndarray) else x


def _is_weak(x: Any) -> bool:
    return x.weak if isinstance(x, Outline) else type(x) in (int, float, bool, complex)


def _mapped(x: Any, plain: Callable[[Any], Any]) -> Any:
    if isinstance(x, tuple | list):
        return type(x)(_mapped(y, plain) for y in x)
    if isinstance(x, dict):
        return {key: _mapped(value, plain) for key, value in x.items()}
    return plain(x)
