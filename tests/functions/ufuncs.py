"""Calls of universal functions: with options, by their methods, and of complex numbers."""

import warnings

import numpy as np

from ..cases.registry import Domain, anywhere, distinct, even, integers_below, integral, nonzero, odd, positive, truth
from ..cases.ufuncs import dividends, divisors, off_powers, off_whole, within_one
from .registry import call


def quietly(function, *arrays):
    """A function that a NumPy to come deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return function(*arrays)


def complex_of(domain: Domain, imaginary: Domain = nonzero) -> Domain:
    """Complex numbers off the axes, where branches are cut; the same uniform numbers, reversed, make the other part."""
    return lambda u: domain(u) + 1j * imaginary(u[..., ::-1] if u.ndim else 1 - u)


z = complex_of(nonzero)
small = complex_of(within_one, lambda u: 0.3 + 0.4 * u)


def method(name):
    """Calls of `ufunc.name`."""
    return lambda ufunc, *args, **options: getattr(ufunc, name)(*args, **options)


call(np.positive, (anywhere, (2, 3)), analytic=True)
call(np.float_power, (positive, (2, 3)), (anywhere, (3,)), narrow=False)
call(np.float_power, (positive, (2, 3)), narrow=False, form=lambda f, x: f(x, 2))
call(np.float_power, (z, (2,)), (anywhere, (2,)), narrow=False)
call(np.divmod, (dividends, (2, 3)), (divisors, (3,)))
call(np.modf, (off_whole, (2, 3)))
call(np.frexp, (off_powers, (2, 3)), jax=False)
call(np.sign, (anywhere, (2, 3)), flat=True)
call(np.fix, (anywhere, (2, 3)), form=quietly, flat=True)
call(np.round, (anywhere, (2, 3)), flat=True)
call(np.around, (anywhere, (2, 3)), flat=True, decimals=1)
call(np.rad2deg, (anywhere, (2, 3)))
call(np.deg2rad, (anywhere, (2, 3)))
call(np.sinc, (anywhere, (2, 3)), analytic=True)
call(np.i0, (anywhere, (2, 3)))
for ufunc in (np.isposinf, np.isneginf, np.isreal, np.iscomplex):
    call(ufunc, (anywhere, (2, 3)), flat=True)
call(np.isclose, (anywhere, (2, 3)), (anywhere, (2, 3)), order=0)
call(np.real_if_close, (anywhere, (2, 3)))
call(np.angle, (nonzero, (2, 3)), flat=True)
call(np.angle, (z, (2, 3)), note="complex")
call(np.angle, (z, (2, 3)), deg=True)
call(np.nan_to_num, (anywhere, (2, 3)))
call(np.nan_to_num, (z, (2, 3)), note="complex")

for options in ({"a_min": -0.9, "a_max": 0.7}, {"a_min": None, "a_max": 0.7}, {"a_min": -0.9, "a_max": None}):
    call(np.clip, (even, (2, 3)), **options)
call(np.clip, (even, (2, 3)), (odd, (3,)), form=lambda f, x, low: f(x, low, 7.0))
call(np.clip, (even, (2, 3)), (odd, (3,)), form=lambda f, x, high: f(x, None, high), note="above")
if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
    call(np.clip, (even, (2, 3)), min=-0.9, max=0.7)
    call(np.clip, (even, (2, 3)), min=-0.9)

if hasattr(np, "vecdot"):
    call(np.vecdot, (anywhere, (2, 3)), (anywhere, (4, 1, 3)))
    call(np.vecdot, (anywhere, (3, 2)), (anywhere, (3, 1)), axis=0, jax=False)
    call(np.vecdot, (z, (2, 3)), (z, (3,)), keepdims=True, jax=False)
if hasattr(np, "matvec"):
    call(np.matvec, (anywhere, (2, 3)), (anywhere, (4, 1, 3)), analytic=True)
    call(np.vecmat, (anywhere, (4, 1, 3)), (anywhere, (3, 2)))
    call(np.vecmat, (z, (3,)), (z, (3, 2)))

# ------------------------------------------------------------------------------------------------------- with options

call(np.exp, (anywhere, (2, 3)), dtype=np.float64, jax=False, narrow=False)
call(np.add, (anywhere, (2, 3)), form=lambda f, x: f(x, 2, dtype=complex), jax=False, narrow=False)
call(np.multiply, (anywhere, (2, 3)), (integers_below(5), (3,)), dtype=np.float64, casting="safe", jax=False,
     narrow=False)
call(np.multiply, (anywhere, (2, 3)), (anywhere, (3,)), signature="dd->d", jax=False, narrow=False)
call(np.matmul, (anywhere, (2, 3)), (anywhere, (3,)), dtype=np.float64, jax=False, narrow=False)


def over_zeros(mask):
    """NumPy leaves what is not computed as it was; here it is 0."""
    def called(ufunc, *args, **options):
        if all(type(x) is np.ndarray for x in args):
            y = ufunc(*args, **options)
            zeros = np.zeros(np.broadcast_shapes(y.shape, np.shape(mask)), y.dtype)
            return ufunc(*args, where=mask, out=zeros, **options)
        return ufunc(*args, where=mask, **options)
    return called


call(np.log, (positive, (2, 3)), form=over_zeros(np.array([True, False, True])), jax=False, note="where")
call(np.sqrt, (positive, (3,)), form=over_zeros(np.array([[True], [False]])), jax=False, note="where is larger")
call(np.divide, (anywhere, (2, 3)), (nonzero, (3,)), form=over_zeros(np.array([[True], [False]])), jax=False,
     note="where")
call(np.multiply, (anywhere, (3,)), (anywhere, (3,)), form=over_zeros([True, False, False]), jax=False, note="where")

# -------------------------------------------------------------------------------------------------------- by a method

for options in ({}, {"axis": 1}, {"axis": -1, "keepdims": True}, {"axis": None}):
    for ufunc in (np.add, np.logaddexp):
        call(ufunc, (anywhere, (2, 3)), form=method("reduce"), jax=False, note="reduce", **options)
    call(np.hypot, (nonzero, (2, 3)), form=method("reduce"), jax=False, note="reduce", **options)
for ufunc in (np.maximum, np.minimum, np.fmax, np.fmin):
    call(ufunc, (distinct, (2, 3)), form=method("reduce"), jax=False, note="reduce", axis=1)
    call(ufunc, (distinct, (2, 3, 2)), form=method("reduce"), jax=False, note="reduce", axis=(0, 2))
call(np.subtract, (anywhere, (3, 2)), form=method("reduce"), jax=False, note="reduce")
call(np.divide, (nonzero, (3, 2)), form=method("reduce"), jax=False, note="reduce", axis=1)
call(np.fmin, (distinct, (3, 2)), form=method("reduce"), jax=False, note="reduce", initial=0.5,
     where=np.array([True, False]))
call(np.logaddexp, (anywhere, (3, 2)), form=method("reduce"), jax=False, note="reduce", axis=1, where=np.eye(3, 2) == 0)
for ufunc in (np.logical_and, np.logical_or):
    call(ufunc, (integral, (3, 2)), form=method("reduce"), jax=False, note="reduce", order=0)
call(np.add, (integral, (2, 0)), form=method("reduce"), jax=False, note="reduce", axis=1)
call(np.logaddexp, (anywhere, (2, 0)), form=method("reduce"), jax=False, note="reduce", axis=0)
call(np.subtract, (anywhere, (3, 2)), form=method("accumulate"), jax=False, note="accumulate")
call(np.logaddexp, (anywhere, (3, 2)), form=method("accumulate"), jax=False, note="accumulate", axis=-1)
for ufunc in (np.add, np.multiply, np.subtract, np.maximum):
    call(ufunc, (distinct, (5, 2)), form=lambda f, x: f.reduceat(x, [0, 3, 1, 4, 4]), jax=False, note="reduceat")
call(np.logaddexp, (anywhere, (2, 5)), form=lambda f, x: f.reduceat(x, [1, 3], axis=1), jax=False, note="reduceat")
for ufunc in (np.add, np.multiply, np.subtract, np.arctan2):
    call(ufunc, (nonzero, (2, 3)), (nonzero, (4,)), form=method("outer"), jax=False, note="outer")
call(np.power, (positive, (2,)), (anywhere, ()), form=method("outer"), jax=False, note="outer")
call(np.less, (anywhere, (2,)), (anywhere, (2,)), form=method("outer"), jax=False, note="outer", flat=True)

# --------------------------------------------------------------------------------------------------- complex numbers

def of_complex(function, *inputs, note="", **claims):
    call(function, *inputs, note=f"complex {note}".strip(), **claims)


for ufunc in (np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.sqrt, np.square, np.sin, np.cos,
              np.sinh, np.cosh, np.tanh, np.negative, np.reciprocal, np.absolute, np.conjugate, np.sign, np.real,
              np.imag, np.positive):
    of_complex(ufunc, (z, (2, 3)))
for ufunc in (np.tan, np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh, np.arctanh, np.sinc):
    of_complex(ufunc, (small, (2, 3)))
for ufunc in (np.add, np.subtract, np.multiply, np.divide, np.power):
    of_complex(ufunc, (z, (2, 3)), (small, (3,)))
    of_complex(ufunc, (z, (2, 3)), (nonzero, (3,)), note="real")
    of_complex(ufunc, (positive, (3,)), (small, (2, 1)), note="of real")
of_complex(np.power, (nonzero, (3,)), (small, (2, 1)), note="of real, negative")
of_complex(np.power, (z, (2, 3)), form=lambda f, x: f(x, 2.5), note="weak")
of_complex(np.power, (small, (2, 3)), form=lambda f, x: f(-2.0, x), note="of weak")
of_complex(np.power, (positive, (2, 3)), form=lambda f, x: f(x, 1j), note="imaginary")
of_complex(np.multiply, (anywhere, (2, 3)), form=lambda f, x: f(x, 1j), note="imaginary")
call(np.conjugate, (anywhere, (2, 3)))
call(np.real, (anywhere, (2, 3)))
call(np.imag, (anywhere, (2, 3)), flat=True)
for function in (np.isreal, np.iscomplex):
    of_complex(function, (z, (2, 3)), flat=True)
for ufunc in (np.isfinite, np.isnan):
    of_complex(ufunc, (z, (2, 3)), flat=True)
for function in (np.sum, np.mean, np.copy, np.ravel, np.transpose):
    of_complex(function, (z, (2, 3)))
of_complex(np.matmul, (z, (2, 3)), (z, (3, 2)))
of_complex(np.matmul, (z, (2, 3)), (anywhere, (3,)))
of_complex(np.where, (truth, (2, 3)), (z, (3,)), (anywhere, (2, 1)))
of_complex(np.where, (truth, (2, 3)), (anywhere, (3,)), (z, ()))
of_complex(np.stack, (z, (2,)), (anywhere, (2,)), form=lambda f, *xs: f(xs))
of_complex(np.maximum, (z, (2, 3)), (z, (3,)), form=lambda f, a, b: f(a, b + 9), jax=False)
of_complex(np.einsum, (z, (2, 3)), (anywhere, (3,)), form=lambda f, *xs: f("ij,j->i", *xs))
