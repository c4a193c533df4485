"""What a ufunc can do besides being called: options, and the methods `reduce`, `accumulate`, `reduceat` and `outer`.

Each is written as calls of the ufunc, unless TWINS has something for the method, as for `np.add.reduce`. So there is
nothing to differentiate here.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..node import TWINS, Node, not_covered, twin_of
from .shaping import Identity


def protocol(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What `ufunc.method(*inputs, **options)` is on nodes, whatever is not a plain call."""
    if "out" in options:
        raise TypeError(f"np.{ufunc.__name__} cannot write a node into an array (out=, or `array += node`): "
                        "write `array = array + node`, which makes a new node")
    if method == "at":
        raise TypeError(f"np.{ufunc.__name__}.at cannot write into a node, or a node into an array: write "
                        "x.at[index].add(values) or the like, which makes a new node")
    if twin_of(ufunc) is None:
        raise not_covered(f"the ufunc {ufunc.__name__}")
    if method == "__call__":
        return _called(ufunc, inputs, **options)
    if (twin := twin_of(getattr(ufunc, method))) is not None:
        return twin(*inputs, **options)
    if ufunc.nin != 2 or ufunc.nout != 1 or ufunc.signature is not None:
        raise TypeError(f"np.{ufunc.__name__}.{method}: it is not a function of two numbers")
    methods: dict[str, Any] = {"reduce": _reduced, "accumulate": _accumulated, "reduceat": _reduced_at, "outer": _outer}
    return methods[method](ufunc, *inputs, **options)


TWINS[np.ufunc] = protocol
TWINS[np.logical_and.reduce] = lambda array, axis=0, **options: np.all(array, axis, **options)
TWINS[np.logical_or.reduce] = lambda array, axis=0, **options: np.any(array, axis, **options)


def _called(ufunc: np.ufunc, inputs: tuple[Any, ...], *, dtype: Any = None, signature: Any = None,
            casting: Any = "same_kind", where: Any = True, **options: Any) -> Any:
    """A call with options. NumPy says what each input is cast to; entries where `where` is False are 0."""
    if signature is None and dtype is not None:
        signature = (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    if signature is not None or casting != "same_kind":
        given = [_kind(x) for x in inputs]
        dtypes = ufunc.resolve_dtypes((*given, *[None] * ufunc.nout), signature=signature, casting=casting)
        inputs = tuple(x if type(x) is kind else cast(x, to)
                       for x, kind, to in zip(inputs, given, dtypes[:ufunc.nin], strict=True))
    twin = twin_of(ufunc)
    assert twin is not None
    try:
        if where is True:
            return twin(*inputs, **options)
        with np.errstate(all="ignore"):  # NumPy does not compute what is not asked for
            found = twin(*inputs, **options)
    except TypeError as error:
        if not options:
            raise
        raise NotImplementedError(f"np.{ufunc.__name__} on nodes takes no {', '.join(options)}=") from error
    return tuple(_where(where, y) for y in found) if isinstance(found, tuple) else _where(where, found)


def _kind(x: Any) -> Any:
    """What NumPy's promotion goes by: the dtype, or the type of a Python number."""
    return type(x) if type(x) in (int, float, complex) else np.result_type(x)


def cast(x: Any, dtype: np.dtype[Any]) -> Any:
    """A node or array in a dtype, itself if it has it."""
    x = x if isinstance(x, Node) else np.asarray(x)
    return x if x.dtype == dtype else x.astype(dtype)


def _where(where: Any, y: Any) -> Any:
    return where & y if y.dtype == bool else np.where(where, y, 0)


def _reduced(ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False,
             initial: Any = None, where: Any = True) -> Any:
    """From the first entry to the last, one after the other."""
    x: Any = array if isinstance(array, Node) else np.asarray(array)
    axes = tuple(range(x.ndim)) if axis is None or not x.ndim else normalize_axis_tuple(axis, x.ndim)
    if len(axes) > 1 and ufunc not in _REORDERABLE:
        raise ValueError(f"reduction operation {ufunc.__name__!r} is not reorderable, so at most one axis may be "
                         "specified")
    first = ufunc.identity if initial is None else initial
    if where is not True:
        if first is None:
            raise ValueError(f"reduction operation {ufunc.__name__!r} does not have an identity, so to use a where "
                             "mask one has to specify 'initial'")
        x = np.where(where, x, first)
    count = math.prod(x.shape[i] for i in axes)
    rows = list(np.reshape(_in_front(x, *axes), (count, *[n for i, n in enumerate(x.shape) if i not in axes])))
    if initial is not None or not rows:
        if first is None:
            raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
        rows = [first if rows else first + np.sum(x, axis=axes), *rows]
    y = reduce(lambda a, b: ufunc(a, b, **_typed(dtype)), rows)
    return np.expand_dims(y, axes) if keepdims else y


_REORDERABLE = {np.fmax, np.fmin, np.gcd, np.lcm, np.hypot, np.logaddexp, np.logaddexp2, np.bitwise_and, np.bitwise_or,
                np.bitwise_xor, np.logical_xor, np.maximum, np.minimum, np.add, np.multiply}


def _typed(dtype: Any) -> dict[str, Any]:
    return {} if dtype is None else {"dtype": dtype}


def _in_front(x: Any, *axes: int) -> Any:
    """With these axes first."""
    axes = tuple(axis % x.ndim for axis in axes)
    return np.transpose(x, axes + tuple(i for i in range(x.ndim) if i not in axes))


def _accumulated(ufunc: np.ufunc, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    rows = list(_in_front(array, axis))
    for i in range(1, len(rows)):
        rows[i] = ufunc(rows[i - 1], rows[i], **_typed(dtype))
    return np.stack(rows, axis) if rows else np.copy(array)


def _reduced_at(ufunc: np.ufunc, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """Of each index, the entries up to the next index; that entry alone if the next index is not larger."""
    x = _in_front(array, axis)
    starts = np.asarray(indices).tolist()
    ends = [*starts[1:], len(x)]
    return np.stack([ufunc.reduce(x[start:max(end, start + 1)], axis=0, **_typed(dtype))
                     for start, end in zip(starts, ends, strict=True)], axis)


def _outer(ufunc: np.ufunc, a: Any, b: Any, **options: Any) -> Any:
    a = a if isinstance(a, Node) else np.asarray(a)
    return ufunc(np.reshape(a, a.shape + (1,) * np.ndim(b)), b, **options)


def _float_power(x: Any, p: Any) -> Any:
    return _called(np.power, (x, p), signature=np.float_power.resolve_dtypes((_kind(x), _kind(p), None)))


TWINS[np.float_power] = _float_power
TWINS[np.positive] = lambda x: Identity(np.positive(x._value) if x.dtype == bool else x)  # which NumPy refuses


# ------------------------------------------------------------------------------------- products of vectors and matrices

def _vecdot(a: Any, b: Any, axis: int = -1, keepdims: bool = False) -> Any:
    if axis != -1 or keepdims:
        return np.sum(_conjugate(a) * b, axis=axis, keepdims=keepdims)
    return np.squeeze(np.matmul(np.expand_dims(_conjugate(a), -2), np.expand_dims(b, -1)), (-2, -1))


def _matvec(A: Any, x: Any) -> Any:
    return np.squeeze(np.matmul(A, np.expand_dims(x, -1)), -1)


def _vecmat(x: Any, A: Any) -> Any:
    return np.squeeze(np.matmul(np.expand_dims(_conjugate(x), -2), A), -2)


def _conjugate(x: Any) -> Any:
    return np.conj(x) if np.result_type(x).kind == "c" else x


TWINS.update({getattr(np, name): twin for name, twin in [("vecdot", _vecdot), ("matvec", _matvec), ("vecmat", _vecmat)]
              if hasattr(np, name)})  # NumPy has some of them since 2.2
