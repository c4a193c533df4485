"""Special functions: the ufuncs of scipy.special as ops, each with its derivative in closed form.

A table: a line says what a function is, the next one its derivative by each argument, as a function of the value and
the arguments, made of functions that nodes know; so there are derivatives of every order. `UNKNOWN` stands for a
derivative that has no closed form: asking for it is an error that names the argument. `STEPS` stands for an argument
that SciPy rounds down: there the derivative is zero. What is only another way to write a function is written that way,
at the end. This module is imported when a node first meets a function that is not of NumPy, and imports scipy.

Formulas are those of the Digital Library of Mathematical Functions, dlmf.nist.gov.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from ..node import TWINS
from ..op import Elementwise, Op, Primitive
from .packing import opaque
from .reductions import restored
from .shaping import StopGradient

UNKNOWN, STEPS = object(), object()
OPS: dict[str, type[Op]] = {}  # by the name of the class

_ROOT_PI, _ROOT_2, _ROOT_2PI = math.sqrt(math.pi), math.sqrt(2), math.sqrt(2 * math.pi)
_TWO_BY_ROOT_PI = 2 / _ROOT_PI


def _op(doc: str, function: Any, *partials: Any, name: str = "", formula: str = "") -> Any:
    """Define the op of a ufunc, or of a function `lambda self, a, x: ...`, from its partial derivatives."""
    name = name or "".join(word.capitalize() for word in function.__name__.split("_"))
    names = next(p.__code__.co_varnames[1:p.__code__.co_argcount] for p in partials if callable(p))
    public = function.__name__ if isinstance(function, np.ufunc) else name
    parts = [_part(public, argument, partial) for argument, partial in zip(names, partials, strict=True)]
    body = {"forward": function, "backward": _BACKWARD[len(parts)](*parts), "__doc__": doc, "__module__": __name__,
            "__qualname__": name, "__slots__": (), "formula": formula}
    OPS[name] = cls = type(name, (Elementwise,), body)
    return cls


def _part(name: str, argument: str, partial: Any) -> Callable[..., Any] | None:
    if partial is STEPS:
        return None
    if partial is not UNKNOWN:
        return lambda grad, y, *x: lambda: grad * partial(y, *x)

    def refuse() -> Any:
        raise NotImplementedError(f"{name} has no gradient by its argument {argument}: there is no closed form "
                                  f"for it; give {argument} as an array, or define a tg.Op with a rule of your own")
    return lambda *_: refuse


def _of_one(d: Any) -> Any:
    def backward(self: Any, grad: Any, y: Any, x: Any) -> Any:
        return d(grad, y, x)()
    return backward


def _of_two(da: Any, dx: Any) -> Any:
    def backward(self: Any, grad: Any, y: Any, a: Any, x: Any) -> Any:
        return da and da(grad, y, a, x), dx and dx(grad, y, a, x)
    return backward


def _of_three(da: Any, db: Any, dx: Any) -> Any:
    def backward(self: Any, grad: Any, y: Any, a: Any, b: Any, x: Any) -> Any:
        return tuple([d and d(grad, y, a, b, x) for d in (da, db, dx)])
    return backward


def _of_four(da: Any, db: Any, dc: Any, dx: Any) -> Any:
    def backward(self: Any, grad: Any, y: Any, a: Any, b: Any, c: Any, x: Any) -> Any:
        return tuple([d and d(grad, y, a, b, c, x) for d in (da, db, dc, dx)])
    return backward


_BACKWARD: dict[int, Callable[..., Any]] = {1: _of_one, 2: _of_two, 3: _of_three, 4: _of_four}


def _several(function: Any, *outputs: Any) -> None:
    """Define an op for each output of a ufunc that has several, from (name, docstring, *partial derivatives)."""
    def output(i: int) -> Any:
        if function.nin == 1:
            return lambda self, x: function(x)[i]
        return lambda self, a, x: function(a, x)[i]

    ops = [_op(doc, output(i), *partials, name=name) for i, (name, doc, *partials) in enumerate(outputs)]
    TWINS[function] = lambda *x: tuple([op(*x) for op in ops])


def _is_complex(x: Any) -> bool:
    return np.result_type(x).kind == "c"


def _real(name: str, x: Any) -> None:
    if _is_complex(x):
        raise NotImplementedError(f"{name} of complex numbers has no gradient: it is not analytic")


def _narrowed(y: Any, *inputs: Any) -> Any:
    """What SciPy computes in double precision alone, in the precision of the inputs."""
    dtype = np.result_type(*inputs)
    return y.astype(dtype) if dtype.kind in "fc" and y.dtype != dtype else y


# ------------------------------------------------------------------------------------- logistic, entropies, transforms

_op("y = 1 / (1 + exp -x);   dx = dy y expit(-x)",
    special.expit, lambda y, x: y * special.expit(-x), formula="sigmoid(x)\ndx = dy * y * (1 - y)")
_op("y = log(x / (1 - x));   dx = dy / (x (1 - x))",
    special.logit, lambda y, x: 1 / (x * (1 - x)))
_op("y = log expit x;   dx = dy expit(-x)",
    special.log_expit, lambda y, x: special.expit(-x))
_op("y = a log x, 0 where a is 0;   da = dy log x,   dx = dy a / x;   both are 0 where a = x = 0",
    special.xlogy,
    lambda y, a, x: np.log(np.where((a == 0) & (x == 0), 1, x)),
    lambda y, a, x: a / np.where((a == 0) & (x == 0), 1, x))
_op("y = a log(1 + x), 0 where a is 0;   da = dy log(1 + x),   dx = dy a / (1 + x);   both are 0 where a = 1 + x = 0",
    special.xlog1py,
    lambda y, a, x: np.log1p(np.where((a == 0) & (x == -1), 0, x)),
    lambda y, a, x: a / (1 + np.where((a == 0) & (x == -1), 0, x)))
_op("y = -x log x;   dx = -dy (1 + log x)",
    special.entr, lambda y, x: -1 - np.log(x))
_op("y = a log(a / x);   da = dy (1 + log(a / x)),   dx = -dy a / x;   both are 0 where a = x = 0",
    special.rel_entr,
    lambda y, a, x: np.where((a == 0) & (x == 0), 0, 1 + np.log(_ratio(a, x))),
    lambda y, a, x: -np.where((a == 0) & (x == 0), 0, _ratio(a, x)))
_op("y = a log(a / x) - a + x;   da = dy log(a / x),   dx = dy (1 - a / x);   both are 0 where a = x = 0",
    special.kl_div,
    lambda y, a, x: np.log(_ratio(a, x)),
    lambda y, a, x: 1 - _ratio(a, x))


def _ratio(a: Any, x: Any) -> Any:
    """a / x, and 1 where both are 0."""
    nothing = (a == 0) & (x == 0)
    return np.where(nothing, 1, a) / np.where(nothing, 1, x)


_op("y = ½ x² where |x| <= δ, δ (|x| - ½ δ) elsewhere;   dδ = dy max(|x| - δ, 0),   dx = dy x, cut off at ±δ",
    special.huber,
    lambda y, delta, x: np.where(np.abs(x) <= delta, 0, np.abs(x) - delta),
    lambda y, delta, x: np.where(np.abs(x) <= delta, x, delta * np.sign(x)))
_op("y = δ² (s - 1),   s = √(1 + (x/δ)²);   dδ = dy δ (s - 1)² / s,   dx = dy x / s",
    special.pseudo_huber,
    lambda y, delta, x: x * (x / _length(delta, x)) * (x / (delta + _length(delta, x))) ** 2,
    lambda y, delta, x: delta * (x / _length(delta, x)))


def _length(a: Any, b: Any) -> Any:
    """√(a² + b²), and 1 where that is 0."""
    nothing = (a == 0) & (b == 0)
    a, b = np.where(nothing, 1, a), np.where(nothing, 0, b)
    largest = np.maximum(np.abs(a), np.abs(b))
    return largest * np.sqrt((a / largest) ** 2 + (b / largest) ** 2)


def _hyp2f1(a: float, b: float, c: float, x: Any) -> Any:
    """₂F₁ with constants, in the precision of x."""
    narrow = np.finfo(np.result_type(x)).dtype.type
    return special.hyp2f1(narrow(a), narrow(b), narrow(c), x)


def _exprel_slope(x: Any) -> Any:
    """The derivative of exprel, (exp x - 1) / x."""
    return 0.5 * special.hyp1f1(2.0, 3.0, x)


def _box(log_x: Any, p: Any, y: Any, is_zero: Any) -> Any:
    """The derivative of (xᵖ - 1) / p = log x exprel(p log x) by p; `is_zero`: where x is."""
    log_x, p_there = np.where(is_zero, 0, log_x), np.where(is_zero, p, 1)
    return np.where(is_zero, -y / p_there, log_x ** 2 * _exprel_slope(p * log_x))


_op("y = (xᵖ - 1) / p, log x where p is 0;   dx = dy xᵖ⁻¹,   dp = dy (xᵖ log x - y) / p",
    special.boxcox,
    lambda y, x, p: x ** (p - 1),
    lambda y, x, p: _box(np.log(x), p, y, x == 0))
_op("y = ((1 + x)ᵖ - 1) / p, log(1 + x) where p is 0;   dx = dy (1 + x)ᵖ⁻¹,   dp = dy ((1 + x)ᵖ log(1 + x) - y) / p",
    special.boxcox1p,
    lambda y, x, p: np.exp((p - 1) * np.log1p(x)),
    lambda y, x, p: _box(np.log1p(x), p, y, x == -1))


def _unboxed(z: Any, x: Any, p: Any) -> Any:
    """The derivative of z = (1 + p x)^(1/p) by p:   z x² times that of log(1 + t) / t at t = p x."""
    return -0.5 * z * x ** 2 * _hyp2f1(2.0, 2.0, 3.0, -p * x)


_op("y = (1 + p x)^(1/p), exp x where p is 0;   dx = dy y / (1 + p x),   dp = dy y (x / (1 + p x) - log y) / p",
    special.inv_boxcox,
    lambda y, x, p: y / (1 + p * x),
    lambda y, x, p: _unboxed(y, x, p))
_op("y + 1 = z = (1 + p x)^(1/p), exp x where p is 0;   dx = dy z / (1 + p x),   dp = dy z (x / (1 + p x) - log z) / p",
    special.inv_boxcox1p,
    lambda y, x, p: (y + 1) / (1 + p * x),
    lambda y, x, p: _unboxed(y + 1, x, p))
_op("y = 10ˣ;   dx = dy y log 10",
    special.exp10, lambda y, x: math.log(10) * y)
_op("y = (exp x - 1) / x;   dx = dy ₁F₁(2; 3; x) / 2",
    special.exprel, lambda y, x: _exprel_slope(x))
_op("y = cos x - 1;   dx = -dy sin x",
    special.cosm1, lambda y, x: -np.sin(x))
_op("y = xᵖ - 1;   dx = dy p xᵖ⁻¹,   dp = dy xᵖ log x;   where x is 0 as for xᵖ",
    special.powm1,
    lambda y, x, p: p * x ** np.where((x == 0) & (p == 0), 1, p - 1),
    lambda y, x, p: (y + 1) * np.log(np.where((x == 0) & (p >= 0), 1, x)))

_DEGREE = math.pi / 180
_op("y = sin x, x in degrees;   dx = dy π/180 cos x",
    special.sindg, lambda y, x: _DEGREE * special.cosdg(x))
_op("y = cos x, x in degrees;   dx = -dy π/180 sin x",
    special.cosdg, lambda y, x: -_DEGREE * special.sindg(x))
_op("y = tan x, x in degrees;   dx = dy π/180 (1 + y²)",
    special.tandg, lambda y, x: _DEGREE * (1 + y * y))
_op("y = cot x, x in degrees;   dx = -dy π/180 (1 + y²)",
    special.cotdg, lambda y, x: -_DEGREE * (1 + y * y))

# ------------------------------------------------------------------------------------------ error function and the like

_op("y = erf x;   dx = dy 2/√π exp(-x²)",
    special.erf, lambda y, x: _TWO_BY_ROOT_PI * np.exp(-x * x))
_op("y = 1 - erf x;   dx = -dy 2/√π exp(-x²)",
    special.erfc, lambda y, x: -_TWO_BY_ROOT_PI * np.exp(-x * x))
_op("y = exp(x²) erfc x;   dx = dy (2 x y - 2/√π) = -2 dy y r₀, where r₀ = `ErfcRatio` keeps its digits for large x",
    special.erfcx,
    lambda y, x: 2 * x * y - _TWO_BY_ROOT_PI if _is_complex(x) else -2 * y * ErfcRatio.apply(x, n=0))
_op("y = -i erf(i x);   dx = dy 2/√π exp(x²)",
    special.erfi, lambda y, x: _TWO_BY_ROOT_PI * np.exp(x * x))
_op("y = exp(-x²) erfi(x) √π/2;   dx = dy (1 - 2 x y)",
    special.dawsn, lambda y, x: 1 - 2 * x * y)
_op("y = exp(-x²) erfc(-i x);   dx = dy (2 i/√π - 2 x y)",
    special.wofz, lambda y, x: 2j / _ROOT_PI - 2 * x * y)
_op("x = erf y;   dx = dy √π/2 exp(y²)",
    special.erfinv, lambda y, x: 0.5 * _ROOT_PI * np.exp(y * y))
_op("x = erfc y;   dx = -dy √π/2 exp(y²)",
    special.erfcinv, lambda y, x: -0.5 * _ROOT_PI * np.exp(y * y))
_op("y = Φ(x), the normal distribution;   dx = dy exp(-x²/2) / √(2π)",
    special.ndtr, lambda y, x: np.exp(-0.5 * x * x) / _ROOT_2PI)
_op("y = log Φ(x);   dx = dy φ(x) / Φ(x)",
    special.log_ndtr,
    lambda y, x: np.exp(-0.5 * x * x - y) / _ROOT_2PI if _is_complex(x) else OPS["NormalHazard"].apply(x))
_op("x = Φ(y);   dx = dy √(2π) exp(y²/2)",
    special.ndtri, lambda y, x: _ROOT_2PI * np.exp(0.5 * y * y))
_op("x = log Φ(y);   dx = dy Φ(y) / φ(y)",
    special.ndtri_exp, lambda y, x: 1 / OPS["NormalHazard"].apply(y))
_op(
    "y = φ(x) / Φ(x), density over distribution of the normal law;   dx = -√2 dy y r₀(-x/√2), see `ErfcRatio`",
    lambda self, x: _ROOT_2 / _ROOT_PI / special.erfcx(-x / _ROOT_2),
    lambda y, x: -_ROOT_2 * y * ErfcRatio.apply(-x / _ROOT_2, n=0), name="NormalHazard")
_op("y = T(h, x) = ∫ exp(-h²(1 + t²)/2) / (1 + t²) dt / 2π from 0 to x;   "
    "dh = -dy exp(-h²/2) erf(h x/√2) / √(8π),   dx = dy exp(-h²(1 + x²)/2) / (2π (1 + x²))",
    special.owens_t,
    lambda y, h, x: -np.exp(-0.5 * h * h) * special.erf(h * x / _ROOT_2) / (2 * _ROOT_2PI),
    lambda y, h, x: np.exp(-0.5 * h * h * (1 + x * x)) / (2 * math.pi * (1 + x * x)))


class ErfcRatio(Elementwise):
    """y = rₙ(x) = Eₙ₊₁ / Eₙ,   Eₙ = exp(x²) times the n-th integral of erfc;   dx = 2 dy y ((n+1) y - (n+2) rₙ₊₁)

    1 / rₙ₋₁ = 2 x + 2 (n+1) rₙ (DLMF 7.18.7): up from r₀ where that is stable, for x < 2, and down for larger x.
    """

    def forward(self, x: Any, *, n: int) -> Any:
        return _erfc_ratio(x, n)

    def backward(self, grad: Any, y: Any, x: Any, *, n: int) -> Any:
        return 2 * grad * y * ((n + 1) * y - (n + 2) * ErfcRatio.apply(x, n=n + 1))


@opaque
def _erfc_ratio(x: Any, n: int) -> Any:
    low, far = np.minimum(x, 2), np.greater_equal(x, 2)
    y = np.array(1 / (_ROOT_PI * special.erfcx(low)) - low)
    for k in range(1, n + 1):
        y = (1 / y - 2 * low) / (2 * (k + 1))
    if np.any(far):
        high = x[far]
        down = 1 / (high + np.sqrt(high * high + 2 * (n + 46)))  # where the sequence has become nearly constant
        for k in range(n + 45, n, -1):
            down = 1 / (2 * high + 2 * (k + 1) * down)
        y = np.array(y)
        y[far] = down
    return _narrowed(y, x)


OPS["ErfcRatio"] = ErfcRatio

# ------------------------------------------------------------------------------------------------------ gamma and beta


def _reciprocal_gamma_slope(x: Any) -> Any:
    """The derivative of 1/Γ(x). Left of ½ by reflection, 1/Γ(x) = Γ(1-x) sin(πx) / π: right at the poles of Γ, too."""
    if _is_complex(x):
        return -special.rgamma(x) * special.psi(x)
    left, right = np.minimum(x, 0.5), np.maximum(x, 0.5)
    return np.where(x < 0.5,
                    special.gamma(1 - left) * (np.cos(math.pi * left)
                                               - special.psi(1 - left) * np.sin(math.pi * left) / math.pi),
                    -special.rgamma(right) * special.psi(right))


_op("y = Γ(x);   dx = dy y ψ(x)",
    special.gamma, lambda y, x: y * special.psi(x))
_op("y = log |Γ(x)|;   dx = dy ψ(x)",
    special.gammaln, lambda y, x: special.psi(x))
_op("y = log Γ(x), the branch that is analytic away from x <= 0;   dx = dy ψ(x)",
    special.loggamma, lambda y, x: special.psi(x))
_op("y = 1 / Γ(x);   dx = -dy y ψ(x)",
    special.rgamma, lambda y, x: _reciprocal_gamma_slope(x))
_op("y = ψ(x) = Γ'(x) / Γ(x);   dx = dy ψ'(x)",
    special.psi, lambda y, x: OPS["Polygamma"].apply(1, x), name="Digamma")
_op(
    "y = n-th derivative of ψ at x;   dx = dy times the next one",
    lambda self, a, x: _narrowed(special.polygamma(a, x), x), UNKNOWN,
    lambda y, n, x: OPS["Polygamma"].apply(n + 1, x), name="Polygamma")
_op(
    "y = ζ(a, x) = Σ (k + x)⁻ᵃ;   dx = -dy a ζ(a + 1, x)",
    lambda self, a, x: special.zeta(a, x), UNKNOWN,
    lambda y, a, x: -a * OPS["HurwitzZeta"].apply(a + 1, x), name="HurwitzZeta")
_op("y = Γ(a + x) / Γ(a);   da = dy y (ψ(a + x) - ψ(a)),   dx = dy y ψ(a + x)",
    special.poch,
    lambda y, a, x: np.where(a < 0.5, special.gamma(a + x) * (special.psi(a + x) * special.rgamma(a)
                                                              + _reciprocal_gamma_slope(a)),
                             y * (special.psi(a + x) - special.psi(a))),
    lambda y, a, x: y * special.psi(a + x))
_op("y = Γ(a) Γ(x) / Γ(a + x);   da = dy y (ψ(a) - ψ(a + x)),   dx = dy y (ψ(x) - ψ(a + x))",
    special.beta,
    lambda y, a, x: y * (special.psi(a) - special.psi(a + x)),
    lambda y, a, x: y * (special.psi(x) - special.psi(a + x)))
_op("y = log |B(a, x)|;   da = dy (ψ(a) - ψ(a + x)),   dx = dy (ψ(x) - ψ(a + x))",
    special.betaln,
    lambda y, a, x: special.psi(a) - special.psi(a + x),
    lambda y, a, x: special.psi(x) - special.psi(a + x))
_op("y = Γ(n+1) / (Γ(k+1) Γ(n-k+1));   dn = dy y (ψ(n+1) - ψ(n-k+1)),   dk = dy y (ψ(n-k+1) - ψ(k+1))",
    special.binom,
    lambda y, n, k: np.where(n - k > -0.5, y * (special.psi(n + 1) - special.psi(np.maximum(n - k, -0.5) + 1)),
                             y * special.psi(n + 1) + special.gamma(n + 1) * special.rgamma(k + 1)
                             * _reciprocal_gamma_slope(n - k + 1)),
    lambda y, n, k: np.where((n - k > -0.5) & (k > -0.5), y * (special.psi(np.maximum(n - k, -0.5) + 1)
                                                              - special.psi(np.maximum(k, -0.5) + 1)),
                             special.gamma(n + 1) * (special.rgamma(n - k + 1) * _reciprocal_gamma_slope(k + 1)
                                                     - special.rgamma(k + 1) * _reciprocal_gamma_slope(n - k + 1))))

# The densities of the gamma and beta laws, in a form that is closed under derivatives at the ends of the range, too.
_op(
    "y = xᵖ exp(c - x);   dp = dy y log x,   dc = dy y,   dx = dy (p xᵖ⁻¹ - xᵖ) exp(c - x)",
    lambda self, a, b, x: _narrowed(np.exp(special.xlogy(a, x) + b - x), a, b, x),
    lambda y, p, c, x: special.xlogy(y, x),
    lambda y, p, c, x: y,
    lambda y, p, c, x: p * OPS["GammaTerm"].apply(_lowered(p), c, x) - y, name="GammaTerm")
_op(
    "y = xᵖ (1 - x)^q exp c;   dp = dy y log x,   dq = dy y log(1 - x),   dc = dy y,   dx = dy y (p/x - q/(1 - x))",
    lambda self, a, b, c, x: _narrowed(np.exp(special.xlogy(a, x) + special.xlog1py(b, -x) + c), a, b, c, x),
    lambda y, p, q, c, x: special.xlogy(y, x),
    lambda y, p, q, c, x: special.xlog1py(y, -x),
    lambda y, p, q, c, x: y,
    lambda y, p, q, c, x: (p * OPS["BetaTerm"].apply(_lowered(p), q, c, x)
                              - q * OPS["BetaTerm"].apply(p, _lowered(q), c, x)),
    name="BetaTerm")


def _lowered(p: Any) -> Any:
    """p - 1, but 0 stays 0: its term is multiplied by it, and 0 times infinity is NaN."""
    return p - (p != 0)


def _weak(x: Any) -> Any:
    """A number, and not an array, as Python's: it yields to the precision of arrays."""
    return x.item() if isinstance(x, np.generic) else x


def gamma_density(a: Any, x: Any) -> Any:
    """xᵃ⁻¹ exp(-x) / Γ(a)"""
    a = _weak(a)
    return OPS["GammaTerm"].apply(a - 1, _weak(-special.gammaln(a)), x)


def beta_density(a: Any, b: Any, x: Any) -> Any:
    """xᵃ⁻¹ (1-x)ᵇ⁻¹ / B(a, b)"""
    a, b = _weak(a), _weak(b)
    return OPS["BetaTerm"].apply(a - 1, b - 1, _weak(-special.betaln(a, b)), x)


def t_density(df: Any, t: Any) -> Any:
    """(1 + t²/df)^(-(df+1)/2) / (√df B(df/2, ½))"""
    constant = _weak(-special.betaln(0.5 * df, 0.5) - 0.5 * np.log(df))
    return np.exp(constant - 0.5 * (df + 1) * np.log1p(t * t / df))


def f_density(a: Any, b: Any, x: Any) -> Any:
    """The density of the F law with a and b degrees of freedom."""
    return beta_density(0.5 * a, 0.5 * b, a * x / (a * x + b)) * a * b / (a * x + b) ** 2


_op("y = P(a, x) = ∫ tᵃ⁻¹ exp(-t) dt / Γ(a) from 0 to x;   dx = dy xᵃ⁻¹ exp(-x) / Γ(a)",
    special.gammainc, UNKNOWN, lambda y, a, x: gamma_density(a, x))
_op("y = 1 - P(a, x);   dx = -dy xᵃ⁻¹ exp(-x) / Γ(a)",
    special.gammaincc, UNKNOWN, lambda y, a, x: -gamma_density(a, x))
_op("x = P(a, y);   dx = dy Γ(a) y¹⁻ᵃ exp y",
    special.gammaincinv, UNKNOWN, lambda y, a, x: 1 / gamma_density(a, y))
_op("x = 1 - P(a, y);   dx = -dy Γ(a) y¹⁻ᵃ exp y",
    special.gammainccinv, UNKNOWN, lambda y, a, x: -1 / gamma_density(a, y))
_op("y = I(a, b, x) = ∫ tᵃ⁻¹ (1-t)ᵇ⁻¹ dt / B(a, b) from 0 to x;   dx = dy xᵃ⁻¹ (1-x)ᵇ⁻¹ / B(a, b)",
    special.betainc, UNKNOWN, UNKNOWN, lambda y, a, b, x: beta_density(a, b, x))
_op("y = 1 - I(a, b, x);   dx = -dy xᵃ⁻¹ (1-x)ᵇ⁻¹ / B(a, b)",
    special.betaincc, UNKNOWN, UNKNOWN, lambda y, a, b, x: -beta_density(a, b, x))
_op("x = I(a, b, y);   dx = dy B(a, b) y¹⁻ᵃ (1-y)¹⁻ᵇ",
    special.betaincinv, UNKNOWN, UNKNOWN, lambda y, a, b, x: 1 / beta_density(a, b, y))
_op("x = 1 - I(a, b, y);   dx = -dy B(a, b) y¹⁻ᵃ (1-y)¹⁻ᵇ",
    special.betainccinv, UNKNOWN, UNKNOWN, lambda y, a, b, x: -1 / beta_density(a, b, y))
_op("y = distribution of Student's t law with df degrees of freedom;   dx = dy times its density",
    special.stdtr, UNKNOWN, lambda y, df, x: t_density(df, x))
_op("x = distribution of Student's t law at y;   dx = dy / its density",
    special.stdtrit, UNKNOWN, lambda y, df, x: 1 / t_density(df, y))
_op("y = distribution of the F law with a and b degrees of freedom;   dx = dy times its density",
    special.fdtr, UNKNOWN, UNKNOWN, lambda y, a, b, x: f_density(a, b, x))
_op("y = 1 - distribution of the F law with a and b degrees of freedom;   dx = -dy times its density",
    special.fdtrc, UNKNOWN, UNKNOWN, lambda y, a, b, x: -f_density(a, b, x))
_op("x = distribution of the F law with a and b degrees of freedom at y;   dx = dy / its density",
    special.fdtri, UNKNOWN, UNKNOWN, lambda y, a, b, x: 1 / f_density(a, b, y))
_op("y = probability of at most k successes in n, each of probability x;   dx = -dy times the beta density (n-k, k+1)",
    special.bdtr, STEPS, UNKNOWN, lambda y, k, n, x: -beta_density(n - np.floor(k), np.floor(k) + 1, 1 - x))
_op("y = probability of more than k successes in n, each of probability x;   dx = dy times the beta density (n-k, k+1)",
    special.bdtrc, STEPS, UNKNOWN, lambda y, k, n, x: beta_density(n - np.floor(k), np.floor(k) + 1, 1 - x))
_op("x = bdtr(k, n, y);   dx = -dy / the beta density of (n-k, k+1)",
    special.bdtri, STEPS, UNKNOWN, lambda y, k, n, x: -1 / beta_density(n - np.floor(k), np.floor(k) + 1, 1 - y))
_op("y = probability of at most k failures before n successes, each of probability x;   "
    "dx = dy times the beta density of (n, k+1)",
    special.nbdtr, STEPS, UNKNOWN, lambda y, k, n, x: beta_density(n, np.floor(k) + 1, x))
_op("y = probability of more than k failures before n successes, each of probability x;   "
    "dx = -dy times the beta density of (n, k+1)",
    special.nbdtrc, STEPS, UNKNOWN, lambda y, k, n, x: -beta_density(n, np.floor(k) + 1, x))
_op("x = nbdtr(k, n, y);   dx = dy / the beta density of (n, k+1)",
    special.nbdtri, STEPS, UNKNOWN, lambda y, k, n, x: 1 / beta_density(n, np.floor(k) + 1, y))
_op("y = probability of at most k events of a Poisson law of mean x;   dx = -dy xᵏ exp(-x) / k!",
    special.pdtr, STEPS, lambda y, k, x: -gamma_density(np.floor(k) + 1, x))
_op("y = probability of more than k events of a Poisson law of mean x;   dx = dy xᵏ exp(-x) / k!",
    special.pdtrc, STEPS, lambda y, k, x: gamma_density(np.floor(k) + 1, x))
_op("x = pdtr(k, y);   dx = -dy k! y⁻ᵏ exp y",
    special.pdtri, STEPS, lambda y, k, x: -1 / gamma_density(np.floor(k) + 1, y))
_op("x = (yᵖ - (1-y)ᵖ) / p, of Tukey's lambda laws; 0 or 1 outside their range;   "
    "dx = dy / (yᵖ⁻¹ + (1-y)ᵖ⁻¹),   dp = -dx times the derivative of (yᵖ - (1-y)ᵖ) / p by p",
    special.tklmbda,
    lambda y, x, p: np.where((y <= 0) | (y >= 1), 0, 1 / (_inner(y) ** (p - 1) + (1 - _inner(y)) ** (p - 1))),
    lambda y, x, p: np.where((y <= 0) | (y >= 1), 0, (
        _box(np.log1p(-_inner(y)), p, y, False) - _box(np.log(_inner(y)), p, y, False))
        / (_inner(y) ** (p - 1) + (1 - _inner(y)) ** (p - 1))))


def _inner(y: Any) -> Any:
    return np.where((y <= 0) | (y >= 1), 0.5, y)


# ------------------------------------------------------------------------------- exponential, sine and other integrals

_op("y = Ei(x);   dx = dy exp(x) / x",
    special.expi, lambda y, x: np.exp(x) / x)
_op("y = E₁(x);   dx = -dy exp(-x) / x",
    special.exp1, lambda y, x: -np.exp(-x) / x)
_op("y = Eₙ(x);   dx = -dy Eₙ₋₁(x)",
    special.expn, UNKNOWN,
    lambda y, n, x: np.where(np.equal(n, 0), -y * (1 + 1 / x), -special.expn(np.maximum(n, 1) - 1, x)))
_several(
    special.shichi,
    ("Shi", "y = ∫ sinh t / t dt from 0 to x;   dx = dy sinh x / x", lambda y, x: OPS["SphericalIn"].apply(0, x)),
    ("Chi", "y = γ + log x + ∫ (cosh t - 1) / t dt from 0 to x;   dx = dy cosh x / x",
     lambda y, x: np.cosh(x) / x))
_several(
    special.sici,
    ("Si", "y = ∫ sin t / t dt from 0 to x;   dx = dy sin x / x", lambda y, x: OPS["SphericalJn"].apply(0, x)),
    ("Ci", "y = γ + log x + ∫ (cos t - 1) / t dt from 0 to x;   dx = dy cos x / x", lambda y, x: np.cos(x) / x))
_several(
    special.fresnel,
    ("FresnelS", "y = ∫ sin(π t²/2) dt from 0 to x;   dx = dy sin(π x²/2)", lambda y, x: np.sin(0.5 * math.pi * x * x)),
    ("FresnelC", "y = ∫ cos(π t²/2) dt from 0 to x;   dx = dy cos(π x²/2)", lambda y, x: np.cos(0.5 * math.pi * x * x)))
_op("y = Li₂(1 - x) = ∫ log t / (1 - t) dt from 1 to x;   dx = dy log x / (1 - x) = -dy ₂F₁(1, 1; 2; 1 - x)",
    special.spence, lambda y, x: -_hyp2f1(1.0, 1.0, 2.0, 1 - x))
_op(
    "x = y exp y, on branch k;   dx = dy exp(-y) / (1 + y)",
    lambda self, a, x: _narrowed(special.lambertw(x, a), np.result_type(x, np.complex64)), UNKNOWN,
    lambda y, k, x: np.exp(-y) / (1 + y), name="LambertW")
_op("x = y + log y;   dx = dy y / (1 + y)",
    special.wrightomega, lambda y, x: y / (1 + y))

# -------------------------------------------------------------------------------------------------------------- Bessel


def _half_difference(f: Any) -> Any:
    return lambda y, v, x: 0.5 * (f(v - 1, x) - f(v + 1, x))


def _half_sum(f: Any) -> Any:
    return lambda y, v, x: 0.5 * (f(v - 1, x) + f(v + 1, x))


def _of_second_kind(f: Any) -> Any:
    """The same difference, where both terms are infinite at 0: there the function comes from minus infinity."""
    return lambda y, v, x: np.where(np.equal(x, 0), np.inf, 0.5 * (f(v - 1, x) - f(v + 1, x)))


def _real_only(f: Any, rule: Any) -> Any:
    def partial(y: Any, v: Any, x: Any) -> Any:
        _real(f.__name__, x)
        return rule(y, v, x)
    return partial


_op("y = J₀(x);   dx = -dy J₁(x)",
    special.j0, lambda y, x: -special.j1(x))
_op("y = J₁(x);   dx = dy (J₀(x) - J₂(x)) / 2",
    special.j1, lambda y, x: 0.5 * (special.j0(x) - special.jv(2, x)))
_op("y = Y₀(x);   dx = -dy Y₁(x)",
    special.y0, lambda y, x: -special.y1(x))
_op("y = Y₁(x);   dx = dy (Y₀(x) - Y₂(x)) / 2",
    special.y1, lambda y, x: np.where(x == 0, np.inf, 0.5 * (special.y0(x) - special.yv(2, x))))
_op("y = I₀(x);   dx = dy I₁(x)",
    special.i0, lambda y, x: special.i1(x))
_op("y = I₁(x);   dx = dy (I₀(x) + I₂(x)) / 2",
    special.i1, lambda y, x: 0.5 * (special.i0(x) + special.iv(2, x)))
_op("y = exp(-|x|) I₀(x);   dx = dy (exp(-|x|) I₁(x) - sign(x) y)",
    special.i0e, lambda y, x: special.i1e(x) - np.sign(x) * y)
_op("y = exp(-|x|) I₁(x);   dx = dy (exp(-|x|) (I₀(x) + I₂(x)) / 2 - sign(x) y)",
    special.i1e, lambda y, x: 0.5 * (special.i0e(x) + special.ive(2, x)) - np.sign(x) * y)
_op("y = K₀(x);   dx = -dy K₁(x)",
    special.k0, lambda y, x: -special.k1(x))
_op("y = K₁(x);   dx = -dy (K₀(x) + K₂(x)) / 2",
    special.k1, lambda y, x: -0.5 * (special.k0(x) + special.kv(2, x)))
_op("y = exp(x) K₀(x);   dx = dy (y - exp(x) K₁(x))",
    special.k0e, lambda y, x: y - special.k1e(x))
_op("y = exp(x) K₁(x);   dx = dy (y - exp(x) (K₀(x) + K₂(x)) / 2)",
    special.k1e, lambda y, x: y - 0.5 * (special.k0e(x) + special.kve(2, x)))
_op("y = Jᵥ(x);   dx = dy (Jᵥ₋₁(x) - Jᵥ₊₁(x)) / 2",
    special.jv, UNKNOWN, _half_difference(special.jv))
_op("y = Yᵥ(x);   dx = dy (Yᵥ₋₁(x) - Yᵥ₊₁(x)) / 2",
    special.yv, UNKNOWN, _of_second_kind(special.yv))
_op("y = Yₙ(x);   dx = dy (Yₙ₋₁(x) - Yₙ₊₁(x)) / 2",
    special.yn, UNKNOWN, _of_second_kind(special.yn))
_op("y = Iᵥ(x);   dx = dy (Iᵥ₋₁(x) + Iᵥ₊₁(x)) / 2",
    special.iv, UNKNOWN, _half_sum(special.iv))
_op("y = Kᵥ(x);   dx = -dy (Kᵥ₋₁(x) + Kᵥ₊₁(x)) / 2",
    special.kv, UNKNOWN, lambda y, v, x: -0.5 * (special.kv(v - 1, x) + special.kv(v + 1, x)))
_op("y = Kₙ(x);   dx = -dy (Kₙ₋₁(x) + Kₙ₊₁(x)) / 2",
    special.kn, UNKNOWN, lambda y, n, x: -0.5 * (special.kn(np.abs(n - 1), x) + special.kn(n + 1, x)))
_op("y = Jᵥ(x), times exp(-|Im x|);   dx = dy (Jᵥ₋₁(x) - Jᵥ₊₁(x)) / 2 for real x",
    special.jve, UNKNOWN, _real_only(special.jve, _half_difference(special.jve)))
_op("y = Yᵥ(x), times exp(-|Im x|);   dx = dy (Yᵥ₋₁(x) - Yᵥ₊₁(x)) / 2 for real x",
    special.yve, UNKNOWN, _real_only(special.yve, _of_second_kind(special.yve)))
_op("y = exp(-|x|) Iᵥ(x);   dx = dy (exp(-|x|) (Iᵥ₋₁(x) + Iᵥ₊₁(x)) / 2 - sign(x) y) for real x",
    special.ive, UNKNOWN, _real_only(special.ive, lambda y, v, x: (
        0.5 * (special.ive(v - 1, x) + special.ive(v + 1, x)) - np.sign(x) * y)))
_op("y = exp(x) Kᵥ(x);   dx = dy (y - exp(x) (Kᵥ₋₁(x) + Kᵥ₊₁(x)) / 2)",
    special.kve, UNKNOWN, lambda y, v, x: y - 0.5 * (special.kve(v - 1, x) + special.kve(v + 1, x)))
_op("y = Jᵥ(x) + i Yᵥ(x);   dx = dy (Hᵥ₋₁(x) - Hᵥ₊₁(x)) / 2",
    special.hankel1, UNKNOWN, _half_difference(special.hankel1))
_op("y = Jᵥ(x) - i Yᵥ(x);   dx = dy (Hᵥ₋₁(x) - Hᵥ₊₁(x)) / 2",
    special.hankel2, UNKNOWN, _half_difference(special.hankel2))
_op("y = exp(-i x) hankel1(v, x);   dx = dy ((yᵥ₋₁ - yᵥ₊₁) / 2 - i y)",
    special.hankel1e, UNKNOWN,
    lambda y, v, x: 0.5 * (special.hankel1e(v - 1, x) - special.hankel1e(v + 1, x)) - 1j * y)
_op("y = exp(i x) hankel2(v, x);   dx = dy ((yᵥ₋₁ - yᵥ₊₁) / 2 + i y)",
    special.hankel2e, UNKNOWN,
    lambda y, v, x: 0.5 * (special.hankel2e(v - 1, x) - special.hankel2e(v + 1, x)) + 1j * y)
_op("y = Hᵥ(x), Struve's function;   dx = dy (Hᵥ₋₁(x) - Hᵥ₊₁(x) + (x/2)ᵛ / (√π Γ(v + 3/2))) / 2",
    special.struve, UNKNOWN,
    lambda y, v, x: 0.5 * (special.struve(v - 1, x) - special.struve(v + 1, x) + _struve_term(v, x)))
_op("y = Lᵥ(x), Struve's modified function;   dx = dy (Lᵥ₋₁(x) + Lᵥ₊₁(x) + (x/2)ᵛ / (√π Γ(v + 3/2))) / 2",
    special.modstruve, UNKNOWN,
    lambda y, v, x: 0.5 * (special.modstruve(v - 1, x) + special.modstruve(v + 1, x) + _struve_term(v, x)))


def _struve_term(v: Any, x: Any) -> Any:
    return (0.5 * x) ** v * _weak(special.rgamma(v + 1.5)) / _ROOT_PI


def _spherical(symbol: str, next_sign: int, last_sign: int, *, name: str) -> None:
    function = getattr(special, f"spherical_{symbol.lower()}n")
    s = "-+"[next_sign > 0]

    def partial(y: Any, n: Any, x: Any) -> Any:
        cls = OPS[name]
        before = cls.apply(_weak(np.maximum(n, 1) - 1), x)
        after = cls.apply(n + 1, x)
        return (last_sign * n * before + next_sign * (n + 1) * after) / (2 * n + 1.0)

    _op(f"y = {symbol.lower()}ₙ(x), spherical;   dx = dy ({'-' * (last_sign < 0)}n {symbol.lower()}ₙ₋₁(x) "
               f"{s} (n+1) {symbol.lower()}ₙ₊₁(x)) / (2 n + 1)",
               lambda self, a, x: _narrowed(function(a, x), x), UNKNOWN, partial, name=name)


_spherical("J", -1, 1, name="SphericalJn")
_spherical("Y", -1, 1, name="SphericalYn")
_spherical("I", 1, 1, name="SphericalIn")
_spherical("K", -1, -1, name="SphericalKn")


_several(
    special.airy,
    ("AiryA", "y = Ai(x);   dx = dy Ai'(x)", lambda y, x: OPS["AiryASlope"].apply(x)),
    ("AiryASlope", "y = Ai'(x);   dx = dy x Ai(x)", lambda y, x: x * OPS["AiryA"].apply(x)),
    ("AiryB", "y = Bi(x);   dx = dy Bi'(x)", lambda y, x: OPS["AiryBSlope"].apply(x)),
    ("AiryBSlope", "y = Bi'(x);   dx = dy x Bi(x)", lambda y, x: x * OPS["AiryB"].apply(x)))
_several(
    special.pbdv,
    ("ParabolicD", "y = Dᵥ(x), parabolic cylinder;   dx = dy Dᵥ'(x)",
     UNKNOWN, lambda y, v, x: OPS["ParabolicDSlope"].apply(v, x)),
    ("ParabolicDSlope", "y = Dᵥ'(x);   dx = dy (x²/4 - v - ½) Dᵥ(x)",
     UNKNOWN, lambda y, v, x: (0.25 * x * x - v - 0.5) * OPS["ParabolicD"].apply(v, x)))

_several(
    special.pbvv,
    ("ParabolicV", "y = Vᵥ(x), parabolic cylinder;   dx = dy Vᵥ'(x)",
     UNKNOWN, lambda y, v, x: OPS["ParabolicVSlope"].apply(v, x)),
    ("ParabolicVSlope", "y = Vᵥ'(x);   dx = dy (x²/4 - v - ½) Vᵥ(x)",
     UNKNOWN, lambda y, v, x: (0.25 * x * x - v - 0.5) * OPS["ParabolicV"].apply(v, x)))
_several(
    special.pbwa,
    ("ParabolicW", "y = W(a, x), parabolic cylinder;   dx = dy W'(a, x)",
     UNKNOWN, lambda y, a, x: OPS["ParabolicWSlope"].apply(a, x)),
    ("ParabolicWSlope", "y = W'(a, x);   dx = dy (a - x²/4) W(a, x)",
     UNKNOWN, lambda y, a, x: (a - 0.25 * x * x) * OPS["ParabolicW"].apply(a, x)))
_several(
    special.itj0y0,
    ("IntegralJ0", "y = ∫ J₀ from 0 to x;   dx = dy J₀(x)", lambda y, x: special.j0(x)),
    ("IntegralY0", "y = ∫ Y₀ from 0 to x;   dx = dy Y₀(x)", lambda y, x: special.y0(x)))
_several(
    special.iti0k0,
    ("IntegralI0", "y = ∫ I₀ from 0 to x;   dx = dy I₀(x)", lambda y, x: special.i0(x)),
    ("IntegralK0", "y = ∫ K₀ from 0 to x;   dx = dy K₀(x)", lambda y, x: special.k0(x)))
_op("y = ∫ H₀ from 0 to x, of Struve;   dx = dy H₀(x)",
    special.itstruve0, lambda y, x: special.struve(_zero(x), x))
_op("y = ∫ L₀ from 0 to x, of Struve;   dx = dy L₀(x)",
    special.itmodstruve0, lambda y, x: special.modstruve(_zero(x), x))


def _zero(x: Any) -> Any:
    """An order of 0, in the precision of x."""
    return np.result_type(x).type(0)



# ----------------------------------------------------------------------- elliptic, hypergeometric and related functions

_op("y = K(x) = ∫ (1 - x sin² t)^-½ dt from 0 to π/2;   dx = dy π/8 ₂F₁(3/2, 3/2; 2; x)",
    special.ellipk, lambda y, x: math.pi / 8 * _hyp2f1(1.5, 1.5, 2.0, x))
_op("y = K(1 - x);   dx = -dy π/8 ₂F₁(3/2, 3/2; 2; 1 - x) = -dy π/8 ₂F₁(½, ½; 2; 1 - x) / x",
    special.ellipkm1, lambda y, x: -math.pi / 8 * _hyp2f1(0.5, 0.5, 2.0, 1 - x) / x)
_op("y = E(x) = ∫ (1 - x sin² t)^½ dt from 0 to π/2;   dx = -dy π/8 ₂F₁(½, 3/2; 2; x)",
    special.ellipe, lambda y, x: -math.pi / 8 * _hyp2f1(0.5, 1.5, 2.0, x))
_op("y = F(x, m) = ∫ (1 - m sin² t)^-½ dt from 0 to x;   dx = dy (1 - m sin² x)^-½",
    special.ellipkinc, lambda y, x, m: 1 / np.sqrt(1 - m * np.sin(x) ** 2), UNKNOWN)
_op("y = E(x, m) = ∫ (1 - m sin² t)^½ dt from 0 to x;   dx = dy (1 - m sin² x)^½",
    special.ellipeinc, lambda y, x, m: np.sqrt(1 - m * np.sin(x) ** 2), UNKNOWN)
_several(
    special.ellipj,
    ("EllipticSn", "y = sn(x, m), Jacobi;   dx = dy cn dn",
     lambda y, x, m: OPS["EllipticCn"].apply(x, m) * OPS["EllipticDn"].apply(x, m), UNKNOWN),
    ("EllipticCn", "y = cn(x, m), Jacobi;   dx = -dy sn dn",
     lambda y, x, m: -OPS["EllipticSn"].apply(x, m) * OPS["EllipticDn"].apply(x, m), UNKNOWN),
    ("EllipticDn", "y = dn(x, m), Jacobi;   dx = -dy m sn cn",
     lambda y, x, m: -m * OPS["EllipticSn"].apply(x, m) * OPS["EllipticCn"].apply(x, m), UNKNOWN),
    ("EllipticAm", "y = am(x, m), Jacobi's amplitude;   dx = dy dn",
     lambda y, x, m: OPS["EllipticDn"].apply(x, m), UNKNOWN))
_op("y = ₀F₁(; b; x);   dx = dy ₀F₁(; b+1; x) / b",
    special.hyp0f1, UNKNOWN, lambda y, b, x: special.hyp0f1(b + 1, x) / b)
_op("y = ₁F₁(a; b; x);   dx = dy a/b ₁F₁(a+1; b+1; x)",
    special.hyp1f1, UNKNOWN, UNKNOWN, lambda y, a, b, x: a / b * special.hyp1f1(a + 1, b + 1, x))
_op("y = ₂F₁(a, b; c; x);   dx = dy a b/c ₂F₁(a+1, b+1; c+1; x)",
    special.hyp2f1, UNKNOWN, UNKNOWN, UNKNOWN,
    lambda y, a, b, c, x: a * b / c * special.hyp2f1(a + 1, b + 1, c + 1, x))
_op("y = U(a, b, x), Tricomi;   dx = -dy a U(a+1, b+1, x)",
    special.hyperu, UNKNOWN, UNKNOWN, lambda y, a, b, x: -a * special.hyperu(a + 1, b + 1, x))
_op("y = Σ xᵏ / (k! Γ(a k + b));   dx = dy times the same with a + b for b",
    special.wright_bessel, UNKNOWN, UNKNOWN, lambda y, a, b, x: special.wright_bessel(a, a + b, x))

if hasattr(special, "log_wright_bessel"):  # since SciPy 1.14
    _op("y = log Σ xᵏ / (k! Γ(a k + b));   dx = dy times the sum with a + b for b over this one",
        special.log_wright_bessel, UNKNOWN, UNKNOWN,
        lambda y, a, b, x: np.exp(special.log_wright_bessel(a, a + b, x) - y))

# ---------------------------------------------------------------------------------------------- orthogonal polynomials

_op("y = Pₙ(x) of Legendre;   dx = dy (n+1)/2 Pₙ₋₁(x) of Jacobi with (1, 1)",
    special.eval_legendre, UNKNOWN, lambda y, n, x: 0.5 * (n + 1) * _before(special.eval_jacobi, n, 1.0, 1.0, x))
_op("y = Tₙ(x) of Chebyshev;   dx = dy n Uₙ₋₁(x)",
    special.eval_chebyt, UNKNOWN, lambda y, n, x: n * _before(special.eval_chebyu, n, x))
_op("y = Uₙ(x) of Chebyshev;   dx = dy 2 Cₙ₋₁(x) of Gegenbauer with 2",
    special.eval_chebyu, UNKNOWN, lambda y, n, x: 2 * _before(special.eval_gegenbauer, n, 2.0, x))
_op("y = 2 Tₙ(x/2) of Chebyshev;   dx = dy n Uₙ₋₁(x/2)",
    special.eval_chebyc, UNKNOWN, lambda y, n, x: n * _before(special.eval_chebyu, n, 0.5 * x))
_op("y = Uₙ(x/2) of Chebyshev;   dx = dy Cₙ₋₁(x/2) of Gegenbauer with 2",
    special.eval_chebys, UNKNOWN, lambda y, n, x: _before(special.eval_gegenbauer, n, 2.0, 0.5 * x))
_op("y = Pₙ(2 x - 1) of Legendre;   dx = dy (n+1) Pₙ₋₁(2 x - 1) of Jacobi with (1, 1)",
    special.eval_sh_legendre, UNKNOWN,
    lambda y, n, x: (n + 1) * _before(special.eval_jacobi, n, 1.0, 1.0, 2 * x - 1))
_op("y = Tₙ(2 x - 1) of Chebyshev;   dx = dy 2 n Uₙ₋₁(2 x - 1)",
    special.eval_sh_chebyt, UNKNOWN, lambda y, n, x: 2 * n * _before(special.eval_chebyu, n, 2 * x - 1))
_op("y = Uₙ(2 x - 1) of Chebyshev;   dx = dy 4 Cₙ₋₁(2 x - 1) of Gegenbauer with 2",
    special.eval_sh_chebyu, UNKNOWN, lambda y, n, x: 4 * _before(special.eval_gegenbauer, n, 2.0, 2 * x - 1))
_op("y = Cₙ(x) of Gegenbauer with a;   dx = dy 2 a Cₙ₋₁(x) with a+1",
    special.eval_gegenbauer, UNKNOWN, UNKNOWN,
    lambda y, n, a, x: 2 * a * _before(special.eval_gegenbauer, n, a + 1, x))
_op("y = Lₙ(x) of Laguerre;   dx = -dy Lₙ₋₁(x) with 1",
    special.eval_laguerre, UNKNOWN, lambda y, n, x: -_before(special.eval_genlaguerre, n, 1.0, x))
_op("y = Lₙ(x) of Laguerre with a;   dx = -dy Lₙ₋₁(x) with a+1",
    special.eval_genlaguerre, UNKNOWN, UNKNOWN, lambda y, n, a, x: -_before(special.eval_genlaguerre, n, a + 1, x))
_op("y = Hₙ(x) of Hermite;   dx = dy 2 n Hₙ₋₁(x)",
    special.eval_hermite, UNKNOWN, lambda y, n, x: 2 * n * _before(special.eval_hermite, n, x))
_op("y = Heₙ(x) of Hermite;   dx = dy n Heₙ₋₁(x)",
    special.eval_hermitenorm, UNKNOWN, lambda y, n, x: n * _before(special.eval_hermitenorm, n, x))
_op("y = Pₙ(x) of Jacobi with (a, b);   dx = dy (n+a+b+1)/2 Pₙ₋₁(x) with (a+1, b+1)",
    special.eval_jacobi, UNKNOWN, UNKNOWN, UNKNOWN,
    lambda y, n, a, b, x: 0.5 * (n + a + b + 1) * _before(special.eval_jacobi, n, a + 1, b + 1, x))

_op("y = Pₙ(2 x - 1) of Jacobi (a-b, b-1) over C(2n+a-1, n);   dx = dy (n+a) Pₙ₋₁(2 x - 1) with (a-b+1, b) over it",
    special.eval_sh_jacobi, UNKNOWN, UNKNOWN, UNKNOWN,
    lambda y, n, a, b, x: (n + a) / _weak(special.binom(2 * n + a - 1, n))
    * _before(special.eval_jacobi, n, a - b + 1, b, 2 * x - 1))


def _before(polynomial: Any, n: Any, *x: Any) -> Any:
    """The polynomial of degree n - 1; 0 where n is 0."""
    return np.where(np.equal(n, 0), 0, polynomial(np.where(np.equal(n, 0), 1, n) - 1, *x))



class LogSumExp(Primitive):
    """y = log Σ exp x over axes;   dx = dy exp x / Σ exp x

    The largest are set apart, so that a sum near 1 keeps its digits. Where they are infinite, dy is theirs, in equal
    parts, and where all is minus infinity the gradient is 0.
    """
    formula = """
        logsumexp(x, axis, keepdims)
        dx = restored(dy, x, axis, keepdims) * softmax(x, axis)
    """

    def forward(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        with np.errstate(all="ignore"):
            top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
            largest = x == top
            count = np.sum(largest, axis=axis, keepdims=True, dtype=x.dtype)
            rest = np.sum(np.exp(x - top), axis=axis, keepdims=True, where=np.logical_not(largest))
            y = np.where(count == 0, top, top + np.log(count) + np.log1p(rest / np.maximum(count, 1)))
        return y if keepdims else np.squeeze(y, axis)

    def backward(self, grad: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        top = StopGradient.apply(np.max(x, axis=axis, keepdims=True))
        infinite = np.abs(top) == np.inf
        share = np.exp(np.where(infinite & (x == top), 0, x - top))
        share = share / np.sum(share, axis=axis, keepdims=True) * (top != -np.inf)
        return restored(grad, axis, keepdims) * share

    def batch(self, x: Any) -> Any:
        axis = self.options.get("axis")
        axes = range(self.inputs[0].ndim) if axis is None else np.atleast_1d(axis)
        return LogSumExp(x, **{**self.options, "axis": tuple(int(i) + (i >= 0) for i in axes)})


OPS["LogSumExp"] = LogSumExp

# --------------------------------------------------------------------------------------------- without a gradient

class Gammasgn(Elementwise):
    """y = the sign of Γ(x)"""
    forward = special.gammasgn
    differentiable = False


class RoundHalfToEven(Elementwise):
    """y = the integer that is nearest to x, the even one of two"""
    forward = special.round
    differentiable = False


OPS["Gammasgn"], OPS["RoundHalfToEven"] = Gammasgn, RoundHalfToEven

# ------------------------------------------------------------------------- other ways to write what is there already

TWINS.update({
    special.cbrt: lambda x: np.cbrt(x),
    special.exp2: lambda x: np.exp2(x),
    special.expm1: lambda x: np.expm1(x),
    special.log1p: lambda x: np.log1p(x),
    special.chdtr: lambda v, x: special.gammainc(0.5 * v, 0.5 * x),
    special.chdtrc: lambda v, x: special.gammaincc(0.5 * v, 0.5 * x),
    special.chdtri: lambda v, p: 2 * special.gammainccinv(0.5 * v, p),
    special.gdtr: lambda a, b, x: special.gammainc(b, a * x),
    special.gdtrc: lambda a, b, x: special.gammaincc(b, a * x),
    special.gdtrix: lambda a, b, p: special.gammaincinv(b, p) / a,
    special.gdtria: lambda p, b, x: special.gammaincinv(b, p) / x,
    special.nrdtrimn: lambda p, std, x: x - std * special.ndtri(p),
    special.nrdtrisd: lambda mn, p, x: (x - mn) / special.ndtri(p),
    special.radian: lambda d, m, s: _DEGREE * (d + m / 60 + s / 3600),
})
