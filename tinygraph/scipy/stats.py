"""The laws of scipy.stats, for arrays and nodes alike: densities and distributions with gradients.

Each law has SciPy's name and methods (`pdf` and `logpdf`, or `pmf` and `logpmf`, `cdf`, `sf`, `logcdf`, `logsf`), with
SciPy's arguments, `loc` and `scale` included. On arrays they are SciPy's own. On nodes they are written here with the
special functions, and differentiable in all arguments that those are: outside the support a density is 0 and so is
its gradient; parameters that are none give NaN.

>>> import numpy as np, tinygraph as tg
>>> from tinygraph.scipy.stats import norm
>>> tg.grad(norm.logpdf)(2.0)
-2.0
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special
from scipy import stats as originals

from ..node import Node
from ..ops.shaping import StopGradient
from ..ops.special import beta_density, gamma_density, t_density

Function = Callable[..., Any]


def _log(f: Function) -> Function:
    return lambda *args: np.log(f(*args))


def _exp(f: Function) -> Function:
    return lambda *args: np.exp(f(*args))


def _positive(*shapes: Any) -> Any:
    valid = True
    for shape in shapes:
        valid = valid & (shape > 0)
    return valid


class Law:
    """A law of one variable, from functions of the standardized variable z and the parameters of its shape.

    inner: a point of the support, where the functions are evaluated instead of outside.
    """

    _location: tuple[str, ...] = ("loc", "scale")

    def __init__(self, name: str, log_density: Function, cdf: Function, sf: Function, *, logcdf: Function | None = None,
                 logsf: Function | None = None, density: Function | None = None, support: Any = (-np.inf, np.inf),
                 inner: float = 0.5, valid: Function = _positive) -> None:
        self._original = getattr(originals, name)
        self._shapes = [shape.strip() for shape in (self._original.shapes or "").split(",") if shape]
        self._functions = {"logpdf": log_density, "pdf": density or _exp(log_density), "cdf": cdf, "sf": sf,
                           "logcdf": logcdf or _log(cdf), "logsf": logsf or _log(sf)}
        self._support, self._inner, self._valid = support, inner, valid
        self.__doc__ = f"scipy.stats.{name}, for arrays and nodes alike."

    def __repr__(self) -> str:
        return f"tinygraph.scipy.stats.{self._original.name}"

    def pdf(self, x: Any, *args: Any, **options: Any) -> Any:
        """The density at x."""
        return self._call("pdf", x, args, options, 0.0, 0.0)

    def logpdf(self, x: Any, *args: Any, **options: Any) -> Any:
        """The logarithm of the density at x, minus infinity outside the support."""
        return self._call("logpdf", x, args, options, -np.inf, -np.inf)

    def cdf(self, x: Any, *args: Any, **options: Any) -> Any:
        """The probability of at most x."""
        return self._call("cdf", x, args, options, 0.0, 1.0)

    def sf(self, x: Any, *args: Any, **options: Any) -> Any:
        """The probability of more than x."""
        return self._call("sf", x, args, options, 1.0, 0.0)

    def logcdf(self, x: Any, *args: Any, **options: Any) -> Any:
        """The logarithm of the probability of at most x."""
        return self._call("logcdf", x, args, options, -np.inf, 0.0)

    def logsf(self, x: Any, *args: Any, **options: Any) -> Any:
        """The logarithm of the probability of more than x."""
        return self._call("logsf", x, args, options, 0.0, -np.inf)

    def _call(self, method: str, x: Any, args: Any, options: Any, before: float, after: float) -> Any:
        """`before` and `after`: the values below and above the support."""
        if not any(isinstance(value, Node) for value in (x, *args, *options.values())):
            return getattr(self._original, method)(x, *args, **options)
        *shapes, loc, scale = self._arguments(method, args, options)
        z = (x - loc) / scale
        low, high = (end(*shapes) if callable(end) else end for end in self._support)
        inside = (z >= low) & (z <= high) if method.endswith("pdf") else (z > low) & (z < high)
        y = self._functions[method](np.where(inside, z, self._inside(*shapes)), *shapes)
        if method == "pdf":
            y = y / scale
        elif method == "logpdf":
            y = y - np.log(scale)
        y = np.where(inside, y, np.where(z <= low, before, after))
        return np.where(np.equal(z, z) & self._valid(*shapes) & (scale > 0), y, np.nan)

    def _arguments(self, method: str, args: Any, options: Any) -> list[Any]:
        """The parameters of the shape, and where and how wide it is."""
        names = [*self._shapes, *self._location]
        given = {"loc": 0.0, "scale": 1.0, **dict(zip(names, args, strict=False)), **options}
        missing = [name for name in self._shapes if name not in given]
        if len(args) > len(names) or missing or set(given) - {*names, "loc", "scale"}:
            raise TypeError(f"{self._original.name}.{method} takes x, {', '.join(names)}: got {len(args)} of them and "
                            f"{', '.join(options) or 'none'} by name")
        return [given[name] for name in [*self._shapes, "loc", "scale"]]

    def _inside(self, *shapes: Any) -> Any:
        return self._inner


class Counts(Law):
    """A law of whole numbers: `pmf` and `logpmf` in the place of `pdf` and `logpdf`, and no scale.

    There is no gradient by the numbers: between them nothing changes.
    """

    _location = ("loc",)

    def pmf(self, k: Any, *args: Any, **options: Any) -> Any:
        """The probability of k."""
        return self._call("pmf", k, args, options, 0.0, 0.0)

    def logpmf(self, k: Any, *args: Any, **options: Any) -> Any:
        """The logarithm of the probability of k."""
        return self._call("logpmf", k, args, options, -np.inf, -np.inf)

    def __getattribute__(self, name: str) -> Any:
        if name in ("pdf", "logpdf"):
            raise AttributeError(f"{self!r} has no {name}: write {name[:-3]}pmf")
        return super().__getattribute__(name)

    def _call(self, method: str, x: Any, args: Any, options: Any, before: float, after: float) -> Any:
        if not any(isinstance(value, Node) for value in (x, *args, *options.values())):
            return getattr(self._original, method)(x, *args, **options)
        *shapes, loc, _ = self._arguments(method, args, options)
        k = _counted(x) - _counted(loc)
        low, high = (end(*shapes) if callable(end) else end for end in self._support)
        whole = np.floor(k)
        inside = (k >= low) & (k <= high) & (k == whole) if method.endswith("pmf") else (k >= low) & (k < high)
        y = self._functions[method.replace("pmf", "pdf")](np.where(inside, whole, low), *shapes)
        y = np.where(inside, y, np.where(k < low, before, after))
        return np.where((k == k) & self._valid(*shapes), y, np.nan)


def _counted(x: Any) -> Any:
    """Numbers that are counted: no gradient flows to them."""
    return StopGradient.apply(x) if isinstance(x, Node) else np.asarray(x)


# ----------------------------------------------------------------------------------------------- densities and the like

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_ABOVE_ZERO = (0.0, np.inf)


def _log_normal_density(z: Any) -> Any:
    return -0.5 * z * z - _HALF_LOG_2PI


def _log_gamma_density(z: Any, a: Any) -> Any:
    return special.xlogy(a - 1, z) - z - special.gammaln(a)


def _log_of_one_minus_exp(x: Any) -> Any:
    """log(1 - exp x) for x <= 0, from what keeps its digits."""
    near = x > -0.5
    return np.where(near, np.log(-np.expm1(np.where(near, x, -1))), np.log1p(-np.exp(np.where(near, -1, x))))


def _log_normal_mass(a: Any, b: Any) -> Any:
    """log(Φ(b) - Φ(a)), taken in the lower tail."""
    low, high = np.where(a > 0, -b, a), np.where(a > 0, -a, b)
    top = special.log_ndtr(high)
    return top + _log_of_one_minus_exp(special.log_ndtr(low) - top)


norm = Law("norm", _log_normal_density, lambda z: special.ndtr(z), lambda z: special.ndtr(-z),
           logcdf=lambda z: special.log_ndtr(z), logsf=lambda z: special.log_ndtr(-z))
t = Law("t", _log(lambda z, df: t_density(df, z)), lambda z, df: special.stdtr(df, z),
        lambda z, df: special.stdtr(df, -z))
t._functions["logpdf"] = lambda z, df: (-special.betaln(0.5 * df, 0.5) - 0.5 * np.log(df)
                                        - 0.5 * (df + 1) * np.log1p(z * z / df))
cauchy = Law("cauchy", lambda z: -math.log(math.pi) - np.log1p(z * z), lambda z: special.stdtr(1.0, z),
             lambda z: special.stdtr(1.0, -z))
laplace = Law("laplace", lambda z: -math.log(2) - np.abs(z),
              lambda z: np.where(z > 0, 1 - 0.5 * np.exp(-np.abs(z)), 0.5 * np.exp(-np.abs(z))),
              lambda z: np.where(z > 0, 0.5 * np.exp(-np.abs(z)), 1 - 0.5 * np.exp(-np.abs(z))),
              logcdf=lambda z: np.where(z > 0, np.log1p(-0.5 * np.exp(-np.abs(z))), -math.log(2) - np.abs(z)),
              logsf=lambda z: np.where(z > 0, -math.log(2) - np.abs(z), np.log1p(-0.5 * np.exp(-np.abs(z)))))
logistic = Law("logistic", lambda z: special.log_expit(z) + special.log_expit(-z), lambda z: special.expit(z),
               lambda z: special.expit(-z), logcdf=lambda z: special.log_expit(z),
               logsf=lambda z: special.log_expit(-z))
uniform = Law("uniform", lambda z: 0 * z, lambda z: z, lambda z: 1 - z, support=(0.0, 1.0))
expon = Law("expon", lambda z: -z, lambda z: -np.expm1(-z), lambda z: np.exp(-z), support=_ABOVE_ZERO,
            logcdf=lambda z: _log_of_one_minus_exp(-z), logsf=lambda z: -z)
gamma = Law("gamma", _log_gamma_density, lambda z, a: special.gammainc(a, z), lambda z, a: special.gammaincc(a, z),
            density=lambda z, a: gamma_density(a, z), support=_ABOVE_ZERO)
chi2 = Law("chi2", lambda z, df: _log_gamma_density(0.5 * z, 0.5 * df) - math.log(2),
           lambda z, df: special.gammainc(0.5 * df, 0.5 * z), lambda z, df: special.gammaincc(0.5 * df, 0.5 * z),
           density=lambda z, df: 0.5 * gamma_density(0.5 * df, 0.5 * z), support=_ABOVE_ZERO)
invgamma = Law("invgamma", lambda z, a: -(a + 1) * np.log(z) - special.gammaln(a) - 1 / z,
               lambda z, a: special.gammaincc(a, 1 / z), lambda z, a: special.gammainc(a, 1 / z),
               support=(np.nextafter(0, 1), np.inf))
beta = Law("beta", lambda z, a, b: special.xlog1py(b - 1, -z) + special.xlogy(a - 1, z) - special.betaln(a, b),
           lambda z, a, b: special.betainc(a, b, z), lambda z, a, b: special.betaincc(a, b, z),
           density=lambda z, a, b: beta_density(a, b, z), support=(0.0, 1.0))
lognorm = Law("lognorm", lambda z, s: _log_normal_density(np.log(z) / s) - np.log(s) - np.log(z),
              lambda z, s: special.ndtr(np.log(z) / s), lambda z, s: special.ndtr(-np.log(z) / s),
              logcdf=lambda z, s: special.log_ndtr(np.log(z) / s), logsf=lambda z, s: special.log_ndtr(-np.log(z) / s),
              support=(np.nextafter(0, 1), np.inf))
pareto = Law("pareto", lambda z, b: np.log(b) - (b + 1) * np.log(z), lambda z, b: -np.expm1(-b * np.log(z)),
             lambda z, b: np.exp(-b * np.log(z)), logsf=lambda z, b: -b * np.log(z),
             logcdf=lambda z, b: _log_of_one_minus_exp(-b * np.log(z)), support=(1.0, np.inf), inner=2.0)
weibull_min = Law("weibull_min", lambda z, c: np.log(c) + special.xlogy(c - 1, z) - z ** c,
                  lambda z, c: -np.expm1(-z ** c), lambda z, c: np.exp(-z ** c), logsf=lambda z, c: -z ** c,
                  logcdf=lambda z, c: _log_of_one_minus_exp(-z ** c), support=_ABOVE_ZERO,
                  density=lambda z, c: c * z ** (c - 1) * np.exp(-z ** c))


class _Truncated(Law):
    def _inside(self, a: Any, b: Any) -> Any:
        return np.where(a > 0, a, np.where(b < 0, b, 0.0))


truncnorm = _Truncated(
    "truncnorm", lambda z, a, b: _log_normal_density(z) - _log_normal_mass(a, b),
    lambda z, a, b: np.exp(_log_normal_mass(a, z) - _log_normal_mass(a, b)),
    lambda z, a, b: np.exp(_log_normal_mass(z, b) - _log_normal_mass(a, b)),
    logcdf=lambda z, a, b: _log_normal_mass(a, z) - _log_normal_mass(a, b),
    logsf=lambda z, a, b: _log_normal_mass(z, b) - _log_normal_mass(a, b),
    support=(lambda a, b: a, lambda a, b: b), valid=lambda a, b: a < b)


def _is_probability(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


def _log_binomial(k: Any, n: Any, p: Any) -> Any:
    return (-np.log(n + 1.0) - special.betaln(n - k + 1, k + 1) + special.xlogy(k, p) + special.xlog1py(n - k, -p))


poisson = Counts("poisson", lambda k, mu: special.xlogy(k, mu) - special.gammaln(k + 1) - mu,
                 lambda k, mu: special.pdtr(k, mu), lambda k, mu: special.pdtrc(k, mu), support=_ABOVE_ZERO,
                 valid=lambda mu: mu >= 0)
binom = Counts("binom", _log_binomial, lambda k, n, p: special.bdtr(k, n, p), lambda k, n, p: special.bdtrc(k, n, p),
               support=(0.0, lambda n, p: n), valid=lambda n, p: np.greater_equal(n, 0) & _is_probability(p))
bernoulli = Counts("bernoulli", lambda k, p: special.xlogy(k, p) + special.xlog1py(1 - k, -p),
                   lambda k, p: np.where(k < 1, 1 - p, 1.0), lambda k, p: np.where(k < 1, p, 0.0), support=(0.0, 1.0),
                   valid=_is_probability)
geom = Counts("geom", lambda k, p: np.log(p) + special.xlog1py(k - 1, -p), lambda k, p: -np.expm1(k * np.log1p(-p)),
              lambda k, p: np.exp(k * np.log1p(-p)), logsf=lambda k, p: k * np.log1p(-p),
              logcdf=lambda k, p: _log_of_one_minus_exp(k * np.log1p(-p)), support=(1.0, np.inf),
              valid=lambda p: (p > 0) & (p <= 1))
nbinom = Counts("nbinom",
                lambda k, n, p: (special.gammaln(n + k) - special.gammaln(k + 1) - special.gammaln(n)
                                 + special.xlogy(n, p) + special.xlog1py(k, -p)),
                lambda k, n, p: special.betainc(n, k + 1, p), lambda k, n, p: special.betaincc(n, k + 1, p),
                support=_ABOVE_ZERO, valid=lambda n, p: np.greater(n, 0) & (p > 0) & (p <= 1))


# ------------------------------------------------------------------------------------------------- of several variables

class _Joint:
    """A law of several variables: `pdf` (or `pmf`) is the exponential of its logarithm."""

    def __init__(self, name: str, logarithm: Function, method: str = "pdf") -> None:
        self.__doc__ = f"scipy.stats.{name}, for arrays and nodes alike: " + (logarithm.__doc__ or "")
        original = getattr(originals, name)

        def log(*args: Any, **options: Any) -> Any:
            traced = any(isinstance(x, Node) for x in (*args, *options.values()))
            return (logarithm if traced else getattr(original, f"log{method}"))(*args, **options)

        def density(*args: Any, **options: Any) -> Any:
            traced = any(isinstance(x, Node) for x in (*args, *options.values()))
            return np.exp(logarithm(*args, **options)) if traced else getattr(original, method)(*args, **options)

        for function, public in ((log, f"log{method}"), (density, method)):
            function.__name__ = function.__qualname__ = public
            setattr(self, public, function)


def _log_multivariate_normal(x: Any, mean: Any = None, cov: Any = 1.0) -> Any:
    """x (..., n), mean (n,) or a number, cov (n, n), (n,) for a diagonal, or a number; cov must be regular."""
    x = np.expand_dims(x, -1) if np.ndim(x) == 0 else x
    n = max(np.shape(x)[-1] if np.ndim(mean if mean is not None else 0) == 0 and np.ndim(cov) == 0 else 1,
            *(np.shape(m)[-1] for m in (mean, cov) if m is not None and np.ndim(m)), 1)
    x = np.expand_dims(x, -1) if n == 1 and np.shape(x)[-1] != 1 else x
    deviation = x if mean is None else x - mean
    if np.ndim(cov) < 2:
        deviation = deviation + np.zeros(n)
        variance = cov + np.zeros(n)
        return -0.5 * np.sum(deviation * deviation / variance + np.log(variance), axis=-1) - n * _HALF_LOG_2PI
    factor = np.linalg.cholesky(cov)
    white = np.linalg.solve(factor, np.swapaxes(np.reshape(deviation, (-1, n)), 0, 1))
    squares = np.reshape(np.sum(white * white, axis=0), np.shape(deviation)[:-1])
    return -0.5 * squares - np.sum(np.log(factor[np.arange(n), np.arange(n)])) - n * _HALF_LOG_2PI


def _log_dirichlet(x: Any, alpha: Any) -> Any:
    """x (k, ...) or, without the last share, (k-1, ...); alpha (k,)."""
    k = np.shape(alpha)[0]
    if np.shape(x)[0] == k - 1:
        x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)])
    powers = np.reshape(alpha - 1, (k, *[1] * (np.ndim(x) - 1)))
    constant = special.gammaln(np.sum(alpha)) - np.sum(special.gammaln(alpha))
    return np.sum(special.xlogy(powers, x), axis=0) + constant


def _log_multinomial(x: Any, n: Any, p: Any) -> Any:
    """x (..., k) whole numbers that add up to n, p (..., k) probabilities."""
    x = _counted(x)
    log = special.gammaln(n + 1) + np.sum(special.xlogy(x, p) - special.gammaln(x + 1), axis=-1)
    return np.where((np.sum(x, axis=-1) == n) & np.all(x >= 0, axis=-1), log, -np.inf)


multivariate_normal = _Joint("multivariate_normal", _log_multivariate_normal)
dirichlet = _Joint("dirichlet", _log_dirichlet)
multinomial = _Joint("multinomial", _log_multinomial, "pmf")
