"""The functions of scipy.special, for arrays and nodes alike.

SciPy's ufuncs know nodes by themselves (see `ops.special`). What SciPy writes in Python has a namesake here: SciPy's
own function on arrays, and on nodes one with the same arguments. All else is SciPy's.

>>> import numpy as np, tinygraph as tg
>>> from tinygraph.scipy.special import logsumexp
>>> tg.grad(logsumexp)(np.array([1e4, 1e4]))
array([0.5, 0.5])
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from ..node import Node
from ..ops.neural import Softmax
from ..ops.shaping import StopGradient
from ..ops.special import OPS


def __getattr__(name: str) -> Any:
    return getattr(special, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(special)})


def namesake(original: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorates what a function of SciPy is on nodes; without one among its arguments it is SciPy's own."""
    def decorate(on_nodes: Any) -> Any:
        @functools.wraps(on_nodes)
        def function(*args: Any, **options: Any) -> Any:
            if any(isinstance(x, Node) for x in (*args, *options.values())):
                return on_nodes(*args, **options)
            return original(*args, **options)
        return function
    return decorate


@namesake(special.logsumexp)
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log Σ b exp a over axes, without overflow; with `return_sign` log |Σ b exp a| and the sign of the sum."""
    if b is None and not return_sign:
        return OPS["LogSumExp"](a, axis=axis, keepdims=keepdims)
    b = 1.0 if b is None else b
    a = a + np.zeros(np.shape(b), a.dtype) if isinstance(a, Node) else np.broadcast_to(a, np.broadcast(a, b).shape)
    top = np.max(np.where(np.equal(b, 0), -np.inf, StopGradient.apply(a)), axis=axis, keepdims=True)
    top = np.where(np.abs(top) == np.inf, 0, top)
    total = np.sum(b * np.exp(np.where(np.equal(b, 0), -np.inf, a - top)), axis=axis, keepdims=keepdims)
    log = np.log(np.abs(total)) + np.reshape(top, total.shape)
    if return_sign:
        return log, np.sign(total)
    return np.where(total < 0, np.nan, log)


@namesake(special.softmax)
def softmax(x: Any, axis: Any = None) -> Any:
    """exp x / Σ exp x over axes"""
    if isinstance(axis, int):
        return Softmax(x, axis=axis)
    return np.exp(log_softmax(x, axis))


@namesake(special.log_softmax)
def log_softmax(x: Any, axis: Any = None) -> Any:
    """x - log Σ exp x over axes"""
    top = np.max(StopGradient.apply(x), axis=axis, keepdims=True)
    x = x - np.where(np.abs(top) == np.inf, 0, top)
    return x - logsumexp(x, axis=axis, keepdims=True)


@namesake(getattr(special, "softplus", lambda x: np.logaddexp(0.0, x)))
def softplus(x: Any) -> Any:
    """log(1 + exp x)"""
    return -special.log_expit(-x)


@namesake(special.multigammaln)
def multigammaln(a: Any, d: int) -> Any:
    """log of the multivariate gamma function of a, of dimension d:   log π d (d-1)/4 + Σ log Γ(a - j/2), j < d"""
    total = math.log(math.pi) * d * (d - 1) / 4
    return sum((special.gammaln(a - j / 2) for j in range(d)), total)


@namesake(special.polygamma)
def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of the digamma function at x; n is a whole number."""
    return OPS["Polygamma"](n, x)


@namesake(special.zeta)
def zeta(x: Any, q: Any = 1.0) -> Any:
    """ζ(x, q) = Σ (k + q)⁻ˣ, with a gradient by q."""
    return OPS["HurwitzZeta"](x, 1.0 if q is None else q)


@namesake(special.lambertw)
def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """w exp w = z, on branch k: complex, as SciPy has it."""
    return OPS["LambertW"](k, z)


@namesake(special.comb)
def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    """The number of ways to take k of N."""
    _not_exact("comb", exact)
    if repetition:
        N = N + k - 1
    return np.where((k <= N) & (N >= 0) & (k >= 0), special.binom(N, k), 0)


@namesake(special.perm)
def perm(N: Any, k: Any, exact: bool = False) -> Any:
    """The number of ways to take k of N, in an order."""
    _not_exact("perm", exact)
    return np.where((k <= N) & (N >= 0) & (k >= 0), special.poch(N - k + 1, k), 0)


@namesake(special.factorial)
def factorial(n: Any, exact: bool = False) -> Any:
    """n! = Γ(n + 1), 0 for negative n."""
    _not_exact("factorial", exact)
    return np.where(n < 0, 0, special.gamma(n + 1))


def _not_exact(name: str, exact: bool) -> None:
    if exact:
        raise NotImplementedError(f"scipy.special.{name} on nodes takes no exact=True: exact numbers are integers")


@namesake(special.assoc_laguerre)
def assoc_laguerre(x: Any, n: Any, k: Any = 0.0) -> Any:
    """The generalized Laguerre polynomial of degree n with parameter k."""
    return special.eval_genlaguerre(n, k, x)


def _spherical(letter: str) -> Any:
    @namesake(getattr(special, f"spherical_{letter}n"))
    def function(n: Any, z: Any, derivative: bool = False) -> Any:
        op = OPS[f"Spherical{letter.upper()}n"]
        if not derivative:
            return op(n, z)
        last, following = op(np.maximum(n, 1) - 1, z), op(n + 1, z)
        signs = {"j": (1, -1), "y": (1, -1), "i": (1, 1), "k": (-1, -1)}[letter]
        return (signs[0] * n * last + signs[1] * (n + 1) * following) / (2 * n + 1)

    function.__name__ = function.__qualname__ = f"spherical_{letter}n"
    function.__doc__ = f"The spherical Bessel function {letter}ₙ(z), or its derivative."
    return function


spherical_jn, spherical_yn, spherical_in, spherical_kn = map(_spherical, "jyik")
