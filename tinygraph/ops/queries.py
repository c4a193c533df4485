"""Queries: what NumPy is asked about a node, and answers in plain numbers, arrays and words.

And what it cannot do with a node: a refusal that says what to write instead."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ..definition import counterpart
from ..node import TWINS, Node
from .shaping import cast


def _query(function: Any, read: str) -> Any:
    def plain(x: Any) -> Any:
        if isinstance(x, Node):
            return getattr(x, read)
        return type(x)(map(plain, x)) if type(x) in (list, tuple) else x

    def answer(*args: Any, **options: Any) -> Any:
        if isinstance(options.get("out"), Node):
            raise TypeError(f"np.{function.__name__} cannot write into a node: leave out= away")
        return function(*map(plain, args), **{name: plain(x) for name, x in options.items()})

    return answer


def _named(*names: str) -> list[Any]:
    """Those of NumPy's functions that this NumPy has."""
    return [getattr(np, name) for name in names if hasattr(np, name)]


# About shape and type alone: may be asked in code that is traced.
for _function in _named(
        "shape", "ndim", "size", "result_type", "zeros_like", "ones_like", "empty_like", "can_cast", "common_type",
        "iscomplexobj", "isrealobj", "may_share_memory", "shares_memory", "min_scalar_type", "einsum_path",
        "tril_indices_from", "triu_indices_from", "diag_indices_from"):
    TWINS[_function] = _query(_function, "_value")

# About values.
for _function in _named(
        "isclose", "allclose", "array_equal", "array_equiv", "nonzero", "flatnonzero",
        "argwhere", "isin", "in1d", "array2string", "array_repr", "array_str",
        "ix_", "ravel_multi_index", "unravel_index", "packbits", "unpackbits"):
    TWINS[_function] = _query(_function, "value")


@counterpart(np.full_like)
def _full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True,
               shape: Any = None) -> Any:
    if not isinstance(fill_value, Node):
        return np.full_like(a._value, fill_value, dtype=dtype, shape=shape)
    return np.broadcast_to(cast(fill_value, np.result_type(a) if dtype is None else dtype),
                           np.shape(a) if shape is None else shape)


# ------------------------------------------------------------------------------------------------------------ refusals

def _refused(function: Any, sentence: str) -> None:
    def refuse(*args: Any, **options: Any) -> NoReturn:
        raise TypeError(f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1) + f" {sentence}")

    TWINS[function] = refuse


_WRITES = "writes into an array, and a node's value never changes: write"
for _function, _instead in {
    np.copyto: "np.where(mask, new, old), or np.broadcast_to(value, shape), which make a new node",
    np.put: "np.ravel(x).at[indices].set(values).reshape(x.shape), which makes a new node",
    np.put_along_axis: "x.at[index].set(values), with an index array for each axis, which makes a new node",
    np.place: "x.at[mask].set(values), which makes a new node",
    np.putmask: "np.where(mask, values, x), which makes a new node",
    np.fill_diagonal: "i = np.arange(n); x.at[i, i].set(values), which makes a new node",
}.items():
    _refused(_function, f"{_WRITES} {_instead}")
for _function in (np.save, np.savetxt, np.savez, np.savez_compressed):
    _refused(_function, "saves arrays: give it node.value")
