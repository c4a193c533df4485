"""Complex numbers: their parts, and what of them is not finite.

The gradient of a real number by z = x + iy is its derivative by x minus i times that by y. So the rule of an
analytic function is that of calculus, without a conjugate; what is not analytic has its own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..definition import counterpart
from ..node import TWINS, Node
from ..op import Elementwise
from .shaping import Identity


class Conjugate(Elementwise):
    """y = x with the other sign of its imaginary part;   dx = the same of dy"""
    formula = "conj(x)"
    forward = np.conjugate

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return np.conj(grad)


def _conj(x: Node) -> Node:
    return (Identity if x.dtype.kind == "f" else Conjugate)(x)


TWINS[np.conjugate] = _conj


class Real(Elementwise, twin=np.real):
    """y = the real part of x;   dx = dy"""
    formula = "real(val)"

    def forward(self, val: Any) -> Any:
        return np.real(val)

    def backward(self, grad: Any, y: Any, val: Any) -> Any:
        return grad


class Imag(Elementwise, twin=np.imag):
    """y = the imaginary part of x;   dx = -i dy"""

    def forward(self, val: Any) -> Any:
        return np.imag(val)

    def backward(self, grad: Any, y: Any, val: Any) -> Any:
        return -1j * grad if val.dtype.kind == "c" else None


@counterpart(np.angle)
def _angle(z: Any, deg: bool = False) -> Any:
    angle = np.arctan2(np.imag(z), np.real(z)) if z.dtype.kind == "c" else np.arctan2(0.0, z)
    return np.degrees(angle) if deg else angle


@counterpart(np.isreal)
def _isreal(x: Any) -> Any:
    return np.imag(x) == 0


@counterpart(np.iscomplex)
def _iscomplex(x: Any) -> Any:
    return np.imag(x) != 0


@counterpart(np.real_if_close)
def _real_if_close(a: Any, tol: float = 100) -> Any:
    if a.dtype.kind != "c":
        return np.copy(a)
    close = tol * np.finfo(a.dtype).eps if tol > 1 else tol
    return np.real(a) if np.all(np.abs(np.imag(a)) < close) else np.copy(a)


@counterpart(np.isposinf)
def _isposinf(x: Any) -> Any:
    return x == math.inf


@counterpart(np.isneginf)
def _isneginf(x: Any) -> Any:
    return x == -math.inf


@counterpart(np.nan_to_num)
def _nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Which entry is replaced by a number has no gradient there."""
    if not copy:
        raise TypeError("np.nan_to_num(copy=False) cannot write into a node: leave copy= away")
    if x.dtype.kind == "c":
        return _nan_to_num(np.real(x), True, nan, posinf, neginf) + 1j * _nan_to_num(
            np.imag(x), True, nan, posinf, neginf)
    if x.dtype.kind != "f":
        return np.copy(x)
    largest = float(np.finfo(x.dtype).max)
    x = np.where(np.isnan(x), nan, x)
    x = np.where(x == math.inf, largest if posinf is None else posinf, x)
    return np.where(x == -math.inf, -largest if neginf is None else neginf, x)
