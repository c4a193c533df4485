"""Fourier transforms: those along one axis are ops, those along several are made of them.

The matrix of a transform is symmetric, so its rule is the transform of the gradient. `n` cuts the array to its length
along the axis, or adds zeros; the rule adds zeros, or cuts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definition import counterpart
from ..op import Primitive


class FFT(Primitive, twin=np.fft.fft):
    """y = F x, F_jk = exp(-2πi jk / n);   dx = F dy"""

    def forward(self, a: Any, *, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return np.fft.fft(a, n, axis, norm)

    def backward(self, grad: Any, y: Any, a: Any, *, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return _resized(np.fft.fft(grad, None, axis, norm), a.shape[axis], axis)


class IFFT(Primitive, twin=np.fft.ifft):
    """y = G x, G_jk = exp(2πi jk / n) / n;   dx = G dy"""

    def forward(self, a: Any, *, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return np.fft.ifft(a, n, axis, norm)

    def backward(self, grad: Any, y: Any, a: Any, *, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return _resized(np.fft.ifft(grad, None, axis, norm), a.shape[axis], axis)


class RFFT(Primitive, twin=np.fft.rfft):
    """y = the first n // 2 + 1 entries of F x, for a real x;   dx_j = Re Σₖ F_jk dy_k

    That is the real transform back, without its 1 / n, of conj(dy): it counts the inner entries twice, so they are
    halved.
    """

    def forward(self, a: Any, *, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return np.fft.rfft(a, n, axis, norm)

    def backward(self, grad: Any, y: Any, a: Any, *, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        m = a.shape[axis]
        n = m if n is None else n
        halved = np.conj(grad) / _multiplicity(n, grad, axis)
        return _resized(np.fft.irfft(halved, n, axis, _ADJOINT[norm]), m, axis)


class IRFFT(Primitive, twin=np.fft.irfft):
    """y_j = Σₖ cₖ Re(G_jk x_k), cₖ = 2 for inner entries and 1 for the others;   dx_k = cₖ Σⱼ G_jk dy_j

    The sum is the conjugate of the real transform, with 1 / n, of dy.
    """

    def forward(self, a: Any, *, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return np.fft.irfft(a, n, axis, norm)

    def backward(self, grad: Any, y: Any, a: Any, *, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        spectrum = np.conj(np.fft.rfft(grad, None, axis, _ADJOINT[norm]))
        return _resized(spectrum * _multiplicity(y.shape[axis], spectrum, axis), a.shape[axis], axis)


# What scales a transform as its adjoint.
_ADJOINT: dict[Any, Any] = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _multiplicity(n: int, spectrum: Any, axis: int) -> np.ndarray:
    """How often an entry of half a spectrum is in the whole: once at frequency 0, and at n / 2 if there is one."""
    k = np.arange(n // 2 + 1)
    counts = np.where((k == 0) | (2 * k == n), 1, 2).astype(spectrum.dtype.char.lower())
    return counts.reshape(-1, *[1] * (spectrum.ndim - 1 - axis % spectrum.ndim))


def _resized(x: Any, n: int, axis: int) -> Any:
    """Cut to n entries along an axis, or with zeros up to n of them."""
    axis, m = axis % x.ndim, x.shape[axis]
    if m > n:
        return x[(slice(None),) * axis + (slice(n),)]
    return x if m == n else np.pad(x, [(0, n - m) if i == axis else (0, 0) for i in range(x.ndim)])


# ------------------------------------------------------------------------------------------- along several axes, shifts

@counterpart(np.fft.hfft)
def _hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    return np.fft.irfft(np.conj(a), n, axis, _ADJOINT.get(norm, norm))


@counterpart(np.fft.ihfft)
def _ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    return np.conj(np.fft.rfft(a, n, axis, _ADJOINT.get(norm, norm)))


@counterpart(np.fft.fftn)
def _fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    return _each(np.fft.fft, a, _lengths(a, s, axes), norm)


@counterpart(np.fft.ifftn)
def _ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    return _each(np.fft.ifft, a, _lengths(a, s, axes), norm)


@counterpart(np.fft.rfftn)
def _rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    *others, (axis, n) = _lengths(a, s, axes)
    return _each(np.fft.fft, np.fft.rfft(a, n, axis, norm), others, norm)


@counterpart(np.fft.irfftn)
def _irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    *others, (axis, n) = _lengths(a, s, axes)
    return np.fft.irfft(_each(np.fft.ifft, a, others, norm), 2 * (a.shape[axis] - 1) if s is None else n, axis, norm)


@counterpart(np.fft.fft2)
def _fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Any:
    return _fftn(a, s, axes, norm)


@counterpart(np.fft.ifft2)
def _ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Any:
    return _ifftn(a, s, axes, norm)


@counterpart(np.fft.rfft2)
def _rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Any:
    return _rfftn(a, s, axes, norm)


@counterpart(np.fft.irfft2)
def _irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Any:
    return _irfftn(a, s, axes, norm)


def _each(transform: Any, a: Any, lengths: Any, norm: Any) -> Any:
    for axis, n in reversed(lengths):
        a = transform(a, n, axis, norm)
    return a


def _lengths(a: Any, s: Any, axes: Any) -> list[tuple[int, int]]:
    """The axes to transform, and to which length each is cut or filled; -1 in `s` leaves the length as it is."""
    axes = list(range(a.ndim) if axes is None and s is None else range(-len(s), 0) if axes is None else axes)
    s = [-1] * len(axes) if s is None else list(s)
    if len(s) != len(axes):
        raise ValueError("Shape and axes have different lengths.")
    return [(axis, a.shape[axis] if n == -1 else n) for axis, n in zip(axes, s, strict=True)]


@counterpart(np.fft.fftshift)
def _fftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, lambda n: n // 2)


@counterpart(np.fft.ifftshift)
def _ifftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, lambda n: -(n // 2))


def _shifted(x: Any, axes: Any, shift: Any) -> Any:
    for axis in range(x.ndim) if axes is None else [axes] if np.ndim(axes) == 0 else axes:
        before = (slice(None),) * (axis % x.ndim)
        start = (-shift(x.shape[axis])) % max(x.shape[axis], 1)
        x = np.concatenate([x[(*before, slice(start, None))], x[(*before, slice(start))]], axis)
    return x
