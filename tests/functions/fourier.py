"""Calls of Fourier transforms: of even and odd lengths, cut and filled, scaled in each way, real and complex."""

import numpy as np

from ..cases.registry import anywhere, nonzero
from .registry import call
from .ufuncs import complex_of

z = complex_of(anywhere, nonzero)

for function in (np.fft.fft, np.fft.ifft):
    call(function, (z, (2, 3)))
    call(function, (anywhere, (4,)), note="of real")
    call(function, (z, (2, 3)), n=2)
    call(function, (z, (2, 3)), n=5, norm="ortho")
    call(function, (z, (3, 2)), axis=0, norm="forward")
for function in (np.fft.rfft, np.fft.ihfft):
    for shape, options in [((5,), {}), ((2, 4), {}), ((2, 1), {}), ((4, 2), {"axis": 0, "norm": "ortho"}),
                           ((2, 4), {"n": 3}), ((2, 3), {"n": 6, "norm": "forward"}), ((3,), {"n": 1})]:
        call(function, (anywhere, shape), **options)
for function in (np.fft.irfft, np.fft.hfft):
    for shape, options in [((4,), {}), ((2, 3), {"n": 5}), ((3, 2), {"axis": 0, "norm": "ortho"}), ((4,), {"n": 4}),
                           ((2, 3), {"n": 8, "norm": "forward"}), ((3,), {"n": 1})]:
        call(function, (z, shape), **options)
    call(function, (anywhere, (3,)), note="of real")
for function in (np.fft.fft2, np.fft.ifft2):
    call(function, (z, (2, 2, 3)))
    call(function, (z, (2, 3)), s=(3, 2), axes=(1, 0), norm="ortho")
for function in (np.fft.fftn, np.fft.ifftn):
    call(function, (z, (2, 2, 3)))
    call(function, (z, (2, 2, 3)), axes=(0, 2))
    call(function, (anywhere, (2, 3)), s=(-1, 4), axes=(0, 1), norm="forward")
call(np.fft.rfft2, (anywhere, (2, 2, 3)))
call(np.fft.rfftn, (anywhere, (2, 3, 4)))
call(np.fft.rfftn, (anywhere, (2, 3)), s=(3, 5), axes=(1, 0), norm="ortho")
call(np.fft.irfft2, (z, (2, 2, 3)))
call(np.fft.irfftn, (z, (2, 2, 3)))
call(np.fft.irfftn, (z, (2, 3)), s=(3, 5), axes=(1, 0), norm="ortho")
for function in (np.fft.fftshift, np.fft.ifftshift):
    call(function, (anywhere, (3, 4)))
    call(function, (z, (3, 4)), axes=1)
    call(function, (anywhere, (3, 4, 2)), axes=(0, -1))
