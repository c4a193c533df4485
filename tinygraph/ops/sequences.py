"""Sequences: arrays read as the values of a function or as coefficients; differences, integrals, interpolation, sums of
products at every shift, polynomials."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..definition import counterpart
from ..node import Node, constant
from ..op import Primitive
from .joining import array
from .selection import ARRAY, Index, ScatterAdd
from .shaping import cast

# ---------------------------------------------------------------------------------------- differences and integrals

_ABSENT: Any = np._NoValue


def _cut(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, slice(start, stop))


@counterpart(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = _ABSENT, append: Any = _ABSENT) -> Any:
    if n < 0:
        raise ValueError(f"np.diff takes a number of times that is not negative, got {n}")
    axis = normalize_axis_index(axis, np.ndim(a))
    if n == 0:
        return a
    a = a if isinstance(a, Node) else np.asarray(a)
    one = [1 if i == axis else k for i, k in enumerate(a.shape)]
    parts = [x if x is a or np.ndim(x) else np.broadcast_to(x, one) for x in (prepend, a, append) if x is not _ABSENT]
    a = np.concatenate(parts, axis) if len(parts) > 1 else a
    difference = np.not_equal if a.dtype == bool else np.subtract
    for _ in range(n):
        a = difference(a[_cut(axis, 1, None)], a[_cut(axis, None, -1)])
    return a


@counterpart(np.ediff1d)
def _ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    flat = np.ravel(ary)
    between = flat[1:] - flat[:-1]
    parts = [np.ravel(x if x is between else cast(x, flat.dtype)) for x in (to_begin, between, to_end) if x is not None]
    return np.concatenate(parts) if len(parts) > 1 else between


@counterpart(*[getattr(np, name) for name in ("trapezoid", "trapz") if hasattr(np, name)])
def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    ndim = np.ndim(y)
    axis = normalize_axis_index(axis, ndim)
    if x is None:
        width = dx
    else:
        width = np.diff(x) if np.ndim(x) == 1 else np.diff(x, axis=axis)
        width = np.reshape(width, [-1 if i == axis else 1 for i in range(ndim)]) if np.ndim(x) == 1 else width
    y = y if isinstance(y, Node) else np.asarray(y)
    return np.sum(width * (y[_cut(axis, 1, None)] + y[_cut(axis, None, -1)]) / 2.0, axis)


@counterpart(np.gradient)
def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    f = f if isinstance(f, Node) else np.asarray(f)
    f = f if f.dtype.kind in "fc" else f.astype(float)
    axes = tuple(range(f.ndim)) if axis is None else normalize_axis_tuple(axis, f.ndim)
    if edge_order not in (1, 2):
        raise ValueError("'edge_order' greater than 2 not supported")
    steps = varargs or (1.0,)
    if len(steps) == 1 and np.ndim(steps[0]) == 0:
        steps = steps * len(axes)
    if len(steps) != len(axes):
        raise TypeError("invalid number of arguments")
    found = tuple(_slope(f, step, axis, edge_order) for step, axis in zip(steps, axes, strict=True))
    return found[0] if len(found) == 1 else found


def _slope(f: Any, step: Any, axis: int, edge_order: int) -> Any:
    """Central differences inside, at the ends one-sided ones. From 3 points, with the weights that their distances ask
    for; with `edge_order` 1 from 2 at the ends."""
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ValueError("Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) "
                         "elements are required.")
    if np.ndim(step) > 1 or (np.ndim(step) and len(step) != n):
        raise ValueError("np.gradient takes a distance, or as many coordinates as there are entries along the axis")

    def piece(x: Any, start: int | None, stop: int | None) -> Any:
        return x[_cut(axis, start, stop)]

    even = np.ndim(step) == 0
    h = step if even else np.reshape(np.diff(step), [-1 if i == axis else 1 for i in range(f.ndim)])
    h = h.astype(f.dtype) if isinstance(h, np.ndarray) and h.dtype.kind in "iu" else h

    def distance(start: int | None, stop: int | None) -> Any:
        return h if even else piece(h, start, stop)

    if even:
        inside = (piece(f, 2, None) - piece(f, None, -2)) / (2.0 * h)
    else:
        a, b = distance(None, -1), distance(1, None)
        inside = (-b / (a * (a + b)) * piece(f, None, -2) + (b - a) / (a * b) * piece(f, 1, -1)
                  + a / (b * (a + b)) * piece(f, 2, None))
    if edge_order == 1:
        first = (piece(f, 1, 2) - piece(f, 0, 1)) / distance(0, 1)
        last = (piece(f, -1, None) - piece(f, -2, -1)) / distance(-1, None)
    else:
        first = _one_sided(distance(0, 1), distance(1, 2), piece(f, 0, 1), piece(f, 1, 2), piece(f, 2, 3))
        last = -_one_sided(distance(-1, None), distance(-2, -1),
                           piece(f, -1, None), piece(f, -2, -1), piece(f, -3, -2))
    return np.concatenate([first, inside, last], axis) if n > 2 else np.concatenate([first, last], axis)


def _one_sided(a: Any, b: Any, f0: Any, f1: Any, f2: Any) -> Any:
    """The slope at a point from its value and those at the distances a and a + b."""
    return -(2.0 * a + b) / (a * (a + b)) * f0 + (a + b) / (a * b) * f1 - a / (b * (a + b)) * f2


# --------------------------------------------------------------------------------------------------- interpolation

class Interp(Primitive):
    """y = the line through the points (xp, fp), constant beyond the ends, at x;   with s = its slope and t the way from
    one point to the next, dx = s dy,   dfp = (1 - t) dy and t dy,   dxp = -s (1 - t) dy and -s t dy at the two points

    At a point where the slope changes, s is the one of least norm: 0 at a local extremum, else the less steep one.
    """

    def forward(self, x: Any, xp: Any, fp: Any) -> Any:
        return np.asarray(np.interp(x, xp, fp))

    def backward(self, grad: Any, y: Any, x: Any, xp: Any, fp: Any) -> Any:
        n = len(xp)
        if n == 1:
            return grad * np.zeros_like(x), np.zeros_like(xp), np.reshape(np.sum(grad), (1,))
        place = np.searchsorted(xp, x, side="right")
        width = xp[1:] - xp[:-1]
        width = np.where(width == 0, 1.0, width)
        rise = (fp[1:] - fp[:-1]) / width
        after = np.minimum(np.maximum(place - 1, 0), n - 2)  # the piece to the right of a point
        before = np.maximum(after - 1, 0)
        inside, at_end = (place > 0) & (place < n), x == xp[-1]
        knot = ((x == _at(xp, after)) & (place > 0)) | at_end
        right, left = _at(rise, after), _at(rise, np.where(at_end, after, before))
        left, right = np.where(place == 1, 0, left), np.where(at_end, 0, right)
        flat = knot & (np.sign(left) != np.sign(right))
        piece = np.where(knot & ~at_end & (np.abs(left) < np.abs(right)), before, after)
        slope = np.where((inside | at_end) & ~flat, _at(rise, piece), 0)
        t = np.where(inside, (x - _at(xp, piece)) / _at(width, piece), np.where(place > 0, 1.0, 0.0))

        def spread(g: Any) -> Any:
            return _scattered(g * (1 - t), piece, n) + _scattered(g * t, piece + 1, n)

        return lambda: grad * slope, lambda: spread(-grad * slope), lambda: spread(grad)


def _at(x: Any, place: Any) -> Any:
    return Index.apply(x, place, index=(ARRAY,))


def _scattered(x: Any, place: Any, n: int) -> Any:
    return ScatterAdd.apply(x, place, shape=(n,), index=(ARRAY,))


@counterpart(np.interp)
def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    if np.ndim(xp) != 1 or np.ndim(fp) != 1:
        raise ValueError("Data points must be 1-D sequences")
    if np.shape(xp) != np.shape(fp):
        raise ValueError("fp and xp are not of the same length.")
    if period is not None:
        x, xp = np.remainder(x, np.abs(period)), np.remainder(xp, np.abs(period))
        order = np.argsort(xp)
        xp, fp = np.take(xp, order), np.take(fp, order)
        xp = np.concatenate([xp[-1:] - np.abs(period), xp, xp[:1] + np.abs(period)])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
        left = right = None
    y: Any = Interp(x, xp, fp)
    y = y if left is None else np.where(np.less(x, xp[0]), left, y)
    return y if right is None else np.where(np.greater(x, xp[-1]), right, y)


# ----------------------------------------------------------------------------------------- products at every shift

class Convolve(Primitive):
    """y_k = Σ a_i v_{k-i}, for all shifts ("full"), or for those where the shorter v lies within a ("valid")

    With g = dy and ~ for reversed: da = g * ~v, dv = g * ~a, taken at the shifts that give them their length.
    """

    def forward(self, a: Any, v: Any, *, mode: str) -> Any:
        return np.convolve(a, v, mode)  # type: ignore[call-overload]

    def backward(self, grad: Any, y: Any, a: Any, v: Any, *, mode: str) -> Any:
        if mode == "full":
            return (lambda: Convolve.apply(grad, v[::-1], mode="valid"),
                    lambda: Convolve.apply(grad, a[::-1], mode="valid"))
        return (lambda: Convolve.apply(grad, v[::-1], mode="full"),
                lambda: Convolve.apply(a, grad[::-1], mode="valid")[::-1])


@counterpart(np.convolve)
def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    a, v = np.atleast_1d(a), np.atleast_1d(v)
    if np.ndim(a) > 1 or np.ndim(v) > 1 or not len(a) or not len(v):
        raise ValueError("np.convolve takes two arrays of one axis, neither of them empty")
    if len(v) > len(a):
        a, v = v, a
    if mode == "same":
        start = (len(v) - 1) // 2
        return Convolve(a, v, mode="full")[start:start + len(a)]
    if mode not in ("full", "valid"):
        raise ValueError(f"np.convolve takes mode='full', 'same' or 'valid', not {mode!r}")
    return Convolve(a, v, mode=mode)


@counterpart(np.correlate)
def _correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    if np.ndim(a) != 1 or np.ndim(v) != 1 or not len(a) or not len(v):
        raise ValueError("np.correlate takes two arrays of one axis, neither of them empty")
    v = np.flip(np.conj(v) if np.result_type(v).kind == "c" else v)
    if mode == "same":
        full = np.convolve(a, v)
        start = (len(v) - 1) // 2 if len(v) <= len(a) else len(a) // 2
        return full[start:start + max(len(a), len(v))]
    return np.convolve(a, v, mode)  # type: ignore[call-overload]


# ------------------------------------------------------------------------------------------------------ polynomials

@counterpart(np.polyval)
def _polyval(p: Any, x: Any) -> Any:
    x = x if isinstance(x, Node) else np.asarray(x)
    y: Any = np.zeros_like(x)
    for k in range(len(p)):
        y = y * x + p[k]
    return y


@counterpart(np.polyadd)
def _polyadd(a1: Any, a2: Any) -> Any:
    return np.add(*_of_one_degree(a1, a2))


@counterpart(np.polysub)
def _polysub(a1: Any, a2: Any) -> Any:
    return np.subtract(*_of_one_degree(a1, a2))


def _of_one_degree(*polynomials: Any) -> Any:
    n = max(len(np.atleast_1d(p)) for p in polynomials)
    return (np.pad(np.atleast_1d(p), (n - len(np.atleast_1d(p)), 0)) for p in polynomials)


@counterpart(np.polymul)
def _polymul(a1: Any, a2: Any) -> Any:
    def trimmed(p: Any) -> Any:
        p = np.trim_zeros(np.atleast_1d(p), "f")
        return p if len(p) else np.zeros(1, p.dtype)

    return np.convolve(trimmed(a1), trimmed(a2))


@counterpart(np.polyder)
def _polyder(p: Any, m: int = 1) -> Any:
    if m < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    for _ in range(m):
        p = p[:-1] * np.arange(len(p) - 1, 0, -1)
    return p


@counterpart(np.polyint)
def _polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    constants = np.atleast_1d(np.zeros(max(m, 1)) if k is None else k)
    if len(constants) == 1 and m > 1:
        constants = np.repeat(constants, m)
    if len(constants) < m:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    for i in range(m):
        p = np.concatenate([p / np.arange(len(p), 0, -1), constants[i:i + 1]])
    return p


@counterpart(np.poly)
def _poly(seq_of_zeros: Any) -> Any:
    if np.ndim(seq_of_zeros) != 1:
        raise NotImplementedError("np.poly on nodes takes the roots: give it np.linalg.eigvals(A) for a matrix A")
    p: Any = np.ones(1, np.result_type(seq_of_zeros))
    for i in range(len(seq_of_zeros)):
        p = np.convolve(p, array([p.dtype.type(1), -seq_of_zeros[i]]))
    return p


@counterpart(np.roots)
def _roots(p: Any) -> Any:
    if np.ndim(p) != 1:
        raise ValueError("Input must be a rank-1 array.")
    values = p.value if isinstance(p, Node) else np.asarray(p)
    nonzero = np.flatnonzero(values)
    if not nonzero.size:
        return np.zeros(0)
    at_zero = len(values) - 1 - nonzero[-1]
    p = p[nonzero[0]:nonzero[-1] + 1]
    n = len(p)
    if n < 2:
        return np.zeros(at_zero, p.dtype)
    companion = np.concatenate([np.reshape(-p[1:] / p[0], (1, n - 1)), np.eye(n - 2, n - 1, dtype=p.dtype)])
    found = np.linalg.eigvals(companion)
    if found.dtype.kind == "c" and p.dtype.kind != "c" and not np.any(np.imag(found)):  # as NumPy does from 2.5 on
        found = np.real(found)
    return np.concatenate([found, np.zeros(at_zero, found.dtype)]) if at_zero else found


@counterpart(np.polydiv)
def _polydiv(u: Any, v: Any) -> Any:
    u, v = np.atleast_1d(u), np.atleast_1d(v)
    quotient: list[Any] = []
    rest, n = u * np.ones(1, np.result_type(u, v, 1.0)), len(v)
    for k in range(len(u) - n + 1):
        quotient.append(rest[k] / v[0])
        rest = np.concatenate([rest[:k], rest[k:k + n] - quotient[-1] * v, rest[k + n:]])
    values = rest.value if isinstance(rest, Node) else rest
    small = np.isclose(values, 0, rtol=1e-14)
    start = len(rest) - 1 if small.all() else int(np.argmin(small))
    return array(quotient) if quotient else constant(np.zeros(1, rest.dtype)), rest[start:]


@counterpart(np.polyfit)
def _polyfit(x: Any, y: Any, deg: int, rcond: Any = None, *, w: Any = None) -> Any:
    if np.ndim(x) != 1 or np.ndim(y) not in (1, 2) or np.shape(x)[0] != np.shape(y)[0]:
        raise TypeError("np.polyfit takes x of one axis and y of as many entries, or rows")
    powers, values = np.vander(x, int(deg) + 1), y
    if w is not None:
        powers = powers * np.expand_dims(w, 1)
        values = values * (np.expand_dims(w, 1) if np.ndim(y) == 2 else w)
    scale = np.sqrt(np.sum(powers * powers, axis=0))
    rcond = len(x) * np.finfo(np.result_type(x)).eps if rcond is None else rcond
    found = np.linalg.lstsq(powers / scale, values, rcond)[0]
    return np.transpose(np.transpose(found) / scale)


@counterpart(np.vander)
def _vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    if np.ndim(x) != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    exponents = np.arange(len(x) if N is None else operator.index(N))
    return np.power(np.expand_dims(x, 1), exponents if increasing else exponents[::-1])


# -------------------------------------------------------------------------------------------------- between two ends

@counterpart(np.linspace)
def _linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
              axis: int = 0) -> Any:
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    steps = num - 1 if endpoint else num
    kind = np.result_type(start, stop, 1.0)
    way = (np.arange(num) / max(steps, 1)).astype(kind).reshape(-1, *[1] * max(np.ndim(start), np.ndim(stop)))
    y = np.multiply(start, 1 - way) + np.multiply(stop, way)
    y = np.moveaxis(y, 0, axis) if axis else y
    y = y if dtype is None else y.astype(dtype)
    return (y, np.subtract(stop, start) / steps if steps else np.nan) if retstep else y


@counterpart(np.logspace)
def _logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None,
              axis: int = 0) -> Any:
    y = np.power(np.expand_dims(base, axis) if np.ndim(base) else base,
                 np.linspace(start, stop, num, endpoint, axis=axis))
    return y if dtype is None else y.astype(dtype)


@counterpart(np.geomspace)
def _geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    way = np.linspace(0.0, 1.0, num, endpoint).reshape(-1, *[1] * max(np.ndim(start), np.ndim(stop)))
    y = np.multiply(start, np.power(np.divide(stop, np.multiply(start, np.ones(()))), way))
    y = np.moveaxis(y, 0, axis) if axis else y
    return y if dtype is None else y.astype(dtype)
