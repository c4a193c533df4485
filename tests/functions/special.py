"""Calls of the functions of scipy.special that are no op of their own, and of the namesakes of SciPy's functions."""

from typing import Any

import numpy as np
from scipy import special

from tinygraph.scipy import special as namesakes
from tinygraph.scipy import stats

from ..cases.registry import anywhere, given, positive
from ..cases.special import INSIDE, POSITIVE, SMALL, between
from .registry import call

A, B = (given(1.5), ()), (given(2.3), ())
COUNTS = (lambda u: np.floor(5 * u), (2, 3))

for name in ("fresnel", "sici", "shichi", "airy"):
    call(getattr(special, name), (POSITIVE, (2, 3)), jax=False)
for name in ("itj0y0", "iti0k0"):
    call(getattr(special, name), (POSITIVE, (3,)), jax=False)
for name in ("pbdv", "pbvv", "pbwa"):
    call(getattr(special, name), A, (POSITIVE, (3,)), jax=False)
call(special.ellipj, (SMALL, (3,)), (given(0.4), ()), jax=False, narrow=False)
for function, *inputs in [
    (special.chdtr, A, (POSITIVE, (3,))), (special.chdtrc, A, (POSITIVE, (3,))), (special.chdtri, A, (INSIDE, (3,))),
    (special.gdtr, (POSITIVE, ()), B, (POSITIVE, (3,))), (special.gdtrc, (POSITIVE, ()), B, (POSITIVE, (3,))),
    (special.gdtrix, (POSITIVE, ()), B, (INSIDE, (3,))), (special.gdtria, (INSIDE, (3,)), B, (POSITIVE, ())),
    (special.nrdtrimn, (between(0.1, 0.2), (3,)), (positive, ()), (anywhere, (3,))),
    (special.nrdtrisd, (SMALL, ()), (between(0.7, 0.8), (3,)), (between(3, 4), (3,))),
    (special.radian, (anywhere, (2,)), (anywhere, ()), (anywhere, (2,))),
]:
    call(function, *inputs, jax=False, narrow=False)
for function in (special.cbrt, special.exp2, special.expm1, special.log1p):
    call(function, (positive, (2, 3)), jax=False)

# ------------------------------------------------------------------------------------------------- complex numbers

def plane(u: np.ndarray) -> np.ndarray:
    """Complex numbers near 1, away from the branch cuts of functions along the negative numbers."""
    return 0.7 + u + 1j * (u[..., ::-1] - 0.5)


for function in (special.hankel1, special.hankel1e, special.hankel2, special.hankel2e):
    call(function, A, (plane, (3,)), jax=False, narrow=False)
    call(function, A, (POSITIVE, (3,)), jax=False, narrow=False, note="real")
call(special.wofz, (plane, (3,)), jax=False)
call(special.wofz, (anywhere, (3,)), jax=False, narrow=False, note="real")
for k in (0, -1):
    call(namesakes.lambertw, (plane, (3,)), k=k, jax=False, narrow=False)
call(namesakes.lambertw, (POSITIVE, (3,)), jax=False, narrow=False, note="real")
for name in ("erf", "erfc", "erfcx", "erfi", "dawsn", "ndtr", "log_ndtr", "gamma", "loggamma", "rgamma", "expi", "exp1",
             "spence", "wrightomega", "sici", "shichi", "fresnel", "airy"):
    call(getattr(special, name), (plane, (3,)), jax=False, narrow=False, note="complex",
         order=1 if "gamma" in name else 2)
for name in ("jv", "yv", "iv", "kv", "kve"):
    call(getattr(special, name), A, (plane, (3,)), jax=False, narrow=False, note="complex")
for name in ("xlogy", "xlog1py"):
    call(getattr(special, name), (plane, (3,)), (plane, (3,)), jax=False, narrow=False, note="complex")
call(special.hyp2f1, A, B, A, (lambda u: 0.3 * plane(u), (3,)), jax=False, narrow=False, note="complex")

# -------------------------------------------------------------------------------------------------------- namesakes

for options in ({}, {"axis": 1}, {"axis": (0, -1), "keepdims": True}, {"axis": -2, "keepdims": True}):
    call(namesakes.logsumexp, (anywhere, (2, 3)), jax=False, **options)
call(namesakes.logsumexp, (anywhere, ()), jax=False)
call(namesakes.logsumexp, (anywhere, (0, 3)), axis=1, jax=False)
call(namesakes.logsumexp, (anywhere, (2, 3)), (anywhere, (3,)), jax=False, note="signed", axis=-1, return_sign=True,
     form=lambda f, a, b, **options: f(a, b=b, **options))
call(namesakes.logsumexp, (anywhere, (2, 3)), (positive, (3,)), jax=False, note="weighted", axis=0, keepdims=True,
     form=lambda f, a, b, **options: f(a, b=b, **options))
for function in (namesakes.softmax, namesakes.log_softmax):
    for options in ({}, {"axis": 1}, {"axis": (0, -1)}):
        call(function, (anywhere, (2, 3)), jax=False, **options)
call(namesakes.softplus, (anywhere, (2, 3)), jax=False)
call(namesakes.multigammaln, (between(2, 4), (3,)), d=3, jax=False, narrow=False)
for n in (0, 1, 3):
    call(namesakes.polygamma, (given(n), ()), (POSITIVE, (3,)), jax=False, narrow=False, note=str(n))
call(namesakes.zeta, B, (POSITIVE, (3,)), jax=False, narrow=False)
call(namesakes.comb, (between(3, 4), (3,)), (POSITIVE, ()), jax=False)
call(namesakes.comb, (between(3, 4), (3,)), (POSITIVE, ()), repetition=True, jax=False)
call(namesakes.perm, (between(3, 4), (3,)), (POSITIVE, ()), jax=False)
call(namesakes.factorial, (POSITIVE, (3,)), jax=False, narrow=False)
call(namesakes.assoc_laguerre, (SMALL, (3,)), jax=False, narrow=False, n=3, k=1.5)
for n in (0, 2):
    for derivative in (False, True):
        for name in ("spherical_jn", "spherical_yn", "spherical_in", "spherical_kn"):
            call(getattr(namesakes, name), (given(n), ()), (POSITIVE, (3,)), jax=False, narrow=False,
                 derivative=derivative, note=str(n))

# ------------------------------------------------------------------------------------------------------------- laws

CONTINUOUS: dict[str, tuple[Any, ...]] = {  # z, and the parameters of the shape with a gradient
    "norm": (SMALL,), "cauchy": (SMALL,), "laplace": (POSITIVE,), "logistic": (SMALL,), "uniform": (INSIDE,),
    "expon": (POSITIVE,), "pareto": (between(1.7, 2.5), POSITIVE), "weibull_min": (POSITIVE, POSITIVE),
    "lognorm": (POSITIVE, POSITIVE), "truncnorm": (SMALL, between(-2, -1.5), between(1.5, 2)),
}
DENSITIES: dict[str, tuple[Any, ...]] = {  # those whose distribution has a gradient by z alone
    "t": (SMALL, POSITIVE), "gamma": (POSITIVE, POSITIVE), "chi2": (POSITIVE, POSITIVE),
    "invgamma": (POSITIVE, POSITIVE),
    "beta": (INSIDE, POSITIVE, POSITIVE),
}


def located(method: Any, x: Any, loc: Any, scale: Any, *shapes: Any) -> Any:
    return method(x * scale + loc, *shapes, loc=loc, scale=scale)


for name, (z, *shapes) in (CONTINUOUS | DENSITIES).items():
    law = getattr(stats, name)
    for method in ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf"):
        fixed = "pdf" not in method and name in DENSITIES
        call(getattr(law, method), (z, (3,)), (anywhere, ()), (positive, ()),
             *[(given(2.5), ()) if fixed else (shape, ()) for shape in shapes], form=located, note=name, jax=False,
             narrow=False)
COUNTED: dict[str, tuple[Any, ...]] = {
    "poisson": (POSITIVE,), "binom": ((lambda u: np.full(u.shape, 6)), INSIDE), "bernoulli": (INSIDE,),
    "geom": (INSIDE,), "nbinom": (given(2.5), INSIDE),
}


def counted(method: Any, *shapes: Any) -> Any:
    return method(np.arange(-1.0, 8), *shapes)


for name, shapes in COUNTED.items():
    for method in ("pmf", "cdf", "sf"):
        call(getattr(getattr(stats, name), method), *[(shape, ()) for shape in shapes], form=counted, note=name,
             jax=False, narrow=False)


def of_logarithm(method: Any, *shapes: Any) -> Any:
    return method(np.array([1.0, 0.0]) if method.__self__ is stats.bernoulli else np.array([1.0, 2.0]), *shapes)


for name, shapes in COUNTED.items():
    for method in ("logpmf", "logcdf", "logsf"):
        if name != "bernoulli" or method == "logpmf":
            call(getattr(getattr(stats, name), method), *[(shape, ()) for shape in shapes], form=of_logarithm,
                 note=name, jax=False, narrow=False)


def normal(method: Any, x: Any, mean: Any, factor: Any) -> Any:
    return method(x, mean, factor @ factor.T + np.eye(3))


def shares(method: Any, x: Any, alpha: Any) -> Any:
    return method(x / np.sum(x), alpha)


for method in ("pdf", "logpdf"):
    call(getattr(stats.multivariate_normal, method), (anywhere, (2, 3)), (anywhere, (3,)), (anywhere, (3, 3)),
         form=normal, note="multivariate_normal", jax=False, narrow=False)
    call(getattr(stats.multivariate_normal, method), (anywhere, (2, 3)), (anywhere, (3,)), (positive, (3,)),
         note="diagonal", jax=False, narrow=False, form=lambda method, x, mean, cov: method(x, mean, cov))
    call(getattr(stats.dirichlet, method), (POSITIVE, (3,)), (positive, (3,)), form=shares, note="dirichlet", jax=False,
         narrow=False)
for method in ("pmf", "logpmf"):
    call(getattr(stats.multinomial, method), (POSITIVE, (3,)), note="multinomial", jax=False, narrow=False,
         form=lambda method, p: method(np.array([[1, 2, 1], [0, 0, 4]]), 4, p / np.sum(p)))
