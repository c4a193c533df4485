"""Special functions: derivatives of first and second order against mpmath, to twelve digits, and what tables cover.

Mpmath knows each function to any precision and nothing of our rules: it differentiates by differences of thirty digits.
"""

from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy import stats as scipy_stats

import tinygraph as tg
from tinygraph.node import TWINS, twin_of
from tinygraph.scipy import special as namesakes
from tinygraph.scipy import stats

twin_of(None)  # imports the families that are imported late


def phi(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def boxcox(x: Any, p: Any) -> Any:
    return mp.expm1(p * mp.log(x)) / p if p else mp.log(x)


def unbox(x: Any, p: Any) -> Any:
    return (1 + p * x) ** (1 / p) if p else mp.exp(x)


def choose(n: Any, p: Any, ks: Any) -> Any:
    return mp.fsum(mp.binomial(n, j) * p ** j * (1 - p) ** (n - j) for j in ks)


def t_distribution(v: Any, t: Any) -> Any:
    tail = mp.betainc(v / 2, mp.mpf(1) / 2, 0, v / (v + t * t), regularized=True) / 2
    return 1 - tail if t > 0 else tail


def root(f: Any, start: Any) -> Any:
    """The inverse of f at a point, near where SciPy says it is."""
    return lambda y: mp.findroot(lambda x: f(x) - y, mp.mpf(float(start(float(y)))))


# The function, mpmath's, and points; the arguments in brackets are those to differentiate by.
half = mp.mpf(1) / 2
MPMATH: list[tuple[str, Any, list[Any]]] = [
    ("expit", lambda x: 1 / (1 + mp.exp(-x)), [[-700.0], [-30.0], [0.3], [40.0]]),
    ("logit", lambda x: mp.log(x / (1 - x)), [[1e-9], [0.3], [0.99]]),
    ("log_expit", lambda x: -mp.log1p(mp.exp(-x)), [[-700.0], [-3.0], [0.3], [40.0]]),
    ("xlogy", lambda a, x: a * mp.log(x), [[0.0, 2.0], [1.5, 0.2]]),
    ("xlog1py", lambda a, x: a * mp.log1p(x), [[0.0, 2.0], [1.5, 1e-9]]),
    ("entr", lambda x: -x * mp.log(x), [[0.2], [3.0]]),
    ("rel_entr", lambda a, x: a * mp.log(a / x), [[0.2, 0.7], [3.0, 0.1]]),
    ("kl_div", lambda a, x: a * mp.log(a / x) - a + x, [[0.2, 0.7], [3.0, 0.1]]),
    ("huber", lambda d, x: x * x / 2 if abs(x) <= d else d * (abs(x) - d / 2), [[1.0, 0.3], [1.0, -3.0]]),
    ("pseudo_huber", lambda d, x: d * d * (mp.sqrt(1 + (x / d) ** 2) - 1), [[1.5, 0.3], [0.1, -30.0], [2.0, 1e-4]]),
    ("boxcox", boxcox, [[2.0, 0.0], [0.3, 1e-9], [0.3, -1.5], [4.0, 2.0]]),
    ("boxcox1p", lambda x, p: boxcox(1 + x, p), [[1e-9, 0.5], [0.3, 1e-9], [-0.3, -1.5]]),
    ("inv_boxcox", unbox, [[2.0, 0.0], [0.3, 1e-9], [0.3, -1.5], [4.0, 2.0]]),
    ("inv_boxcox1p", lambda x, p: unbox(x, p) - 1, [[1e-9, 0.5], [0.3, 1e-9], [-0.3, -1.5]]),
    ("exp10", lambda x: 10 ** x, [[-3.0], [2.5]]),
    ("exprel", lambda x: mp.expm1(x) / x if x else mp.mpf(1), [[-40.0], [1e-9], [0.0], [0.3], [30.0]]),
    ("cosm1", lambda x: mp.cos(x) - 1, [[1e-5], [2.0]]),
    ("powm1", lambda x, p: x ** p - 1, [[2.0, 1e-9], [0.3, 2.5]]),
    ("sindg", lambda x: mp.sin(x * mp.pi / 180), [[30.0]]),
    ("cosdg", lambda x: mp.cos(x * mp.pi / 180), [[30.0]]),
    ("tandg", lambda x: mp.tan(x * mp.pi / 180), [[30.0]]),
    ("cotdg", lambda x: mp.cot(x * mp.pi / 180), [[30.0]]),
    ("erf", mp.erf, [[-3.0], [0.2], [5.0]]),
    ("erfc", mp.erfc, [[-3.0], [0.2], [20.0]]),
    ("erfcx", lambda x: mp.exp(x * x) * mp.erfc(x), [[-5.0], [0.0], [0.4], [0.99], [1.0], [3.0], [100.0], [1e5]]),
    ("erfi", mp.erfi, [[-3.0], [0.2]]),
    ("dawsn", lambda x: mp.exp(-x * x) * mp.erfi(x) * mp.sqrt(mp.pi) / 2, [[-1.0], [0.2]]),
    ("erfinv", mp.erfinv, [[-0.9], [0.2]]),
    ("erfcinv", lambda x: mp.erfinv(1 - x), [[1e-9], [0.9], [1.2]]),
    ("ndtr", mp.ncdf, [[-20.0], [0.3]]),
    ("log_ndtr", lambda x: mp.log(mp.erfc(-x / mp.sqrt(2)) / 2), [[-1000.0], [-20.0], [-1.0], [0.3], [8.0]]),
    ("ndtri", lambda x: mp.sqrt(2) * mp.erfinv(2 * x - 1), [[1e-9], [0.3], [0.9]]),
    ("ndtri_exp", lambda x: mp.sqrt(2) * mp.erfinv(2 * mp.exp(x) - 1), [[-20.0], [-0.3]]),
    ("owens_t", lambda h, a: mp.quad(lambda t: mp.exp(-h * h * (1 + t * t) / 2) / (1 + t * t), [0, a]) / (2 * mp.pi),
     [[0.5, 0.3], [-1.5, 2.0]]),
    ("gamma", mp.gamma, [[-2.5], [0.3], [3.0], [30.0]]),
    ("gammaln", lambda x: mp.log(abs(mp.gamma(x))), [[-2.5], [0.3], [2.0], [1e6]]),
    ("loggamma", mp.loggamma, [[0.3], [2.0], [1e6]]),
    ("rgamma", mp.rgamma, [[-3.0], [-2.5], [0.0], [0.3], [3.0]]),
    ("psi", mp.digamma, [[-2.5], [0.3], [3.0], [1e4]]),
    ("poch", mp.rf, [[2.5, 1.5], [-2.0, 3.0], [-1.3, 2.2]]),
    ("beta", mp.beta, [[2.5, 1.5], [0.1, 30.0]]),
    ("betaln", lambda a, b: mp.log(mp.beta(a, b)), [[2.5, 1.5], [0.1, 30.0], [200.0, 300.0]]),
    ("binom", mp.binomial, [[5.0, 2.0], [2.0, 3.0], [2.5, -1.0], [4.5, 1.3]]),
    ("gammainc", lambda a, x: mp.gammainc(a, 0, x, regularized=True), [(1.0, [0.0]), (2.0, [0.0]), (3, [0.0]),
                                                                       (2.5, [0.3]), (50.0, [60.0])]),
    ("gammaincc", lambda a, x: mp.gammainc(a, x, mp.inf, regularized=True), [(2.5, [0.3]), (50.0, [60.0])]),
    ("gammaincinv", lambda a, p: root(lambda x: mp.gammainc(a, 0, x, regularized=True),
                                      lambda p: special.gammaincinv(float(a), p))(p), [(2.5, [0.3])]),
    ("gammainccinv", lambda a, p: root(lambda x: mp.gammainc(a, x, mp.inf, regularized=True),
                                       lambda p: special.gammainccinv(float(a), p))(p), [(2.5, [0.3])]),
    ("betainc", lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True),
     [(2.0, 3.0, [0.0]), (1.0, 1.0, [0.3]), (2.5, 0.7, [0.3]), (50.0, 60.0, [0.4])]),
    ("betaincc", lambda a, b, x: mp.betainc(a, b, x, 1, regularized=True), [(2.5, 0.7, [0.3])]),
    ("betaincinv", lambda a, b, p: root(lambda x: mp.betainc(a, b, 0, x, regularized=True),
                                        lambda p: special.betaincinv(float(a), float(b), p))(p), [(2.5, 0.7, [0.3])]),
    ("betainccinv", lambda a, b, p: root(lambda x: mp.betainc(a, b, x, 1, regularized=True),
                                         lambda p: special.betainccinv(float(a), float(b), p))(p), [(2.5, 0.7, [0.3])]),
    ("stdtr", t_distribution, [(3.0, [0.7]), (2.5, [-8.0])]),
    ("stdtrit", lambda v, p: root(lambda x: t_distribution(v, x), lambda p: special.stdtrit(float(v), p))(p),
     [(3.0, [0.7])]),
    ("fdtr", lambda a, b, x: mp.betainc(a / 2, b / 2, 0, a * x / (a * x + b), regularized=True), [(3.0, 4.5, [0.7])]),
    ("fdtrc", lambda a, b, x: mp.betainc(a / 2, b / 2, a * x / (a * x + b), 1, regularized=True), [(3.0, 4.5, [0.7])]),
    ("fdtri", lambda a, b, p: root(lambda x: mp.betainc(a / 2, b / 2, 0, a * x / (a * x + b), regularized=True),
                                   lambda p: special.fdtri(float(a), float(b), p))(p), [(3.0, 4.5, [0.7])]),
    ("bdtr", lambda k, n, p: choose(int(n), p, range(int(k) + 1)), [(2.0, 5, [0.3]), (0.0, 5, [0.3])]),
    ("bdtrc", lambda k, n, p: choose(int(n), p, range(int(k) + 1, int(n) + 1)), [(2.0, 5, [0.3])]),
    ("bdtri", lambda k, n, p: root(lambda x: choose(int(n), x, range(int(k) + 1)),
                                   lambda p: special.bdtri(float(k), int(n), p))(p), [(2.0, 5, [0.3])]),
    ("nbdtr", lambda k, n, p: mp.betainc(n, mp.floor(k) + 1, 0, p, regularized=True), [(2, 3, [0.4])]),
    ("nbdtrc", lambda k, n, p: mp.betainc(n, mp.floor(k) + 1, p, 1, regularized=True), [(2, 3, [0.4])]),
    ("nbdtri", lambda k, n, p: root(lambda x: mp.betainc(n, mp.floor(k) + 1, 0, x, regularized=True),
                                    lambda p: special.nbdtri(int(k), int(n), p))(p), [(2, 3, [0.4])]),
    ("pdtr", lambda k, m: mp.gammainc(mp.floor(k) + 1, m, mp.inf, regularized=True), [(2.7, [1.3]), (0.0, [1.3])]),
    ("pdtrc", lambda k, m: mp.gammainc(mp.floor(k) + 1, 0, m, regularized=True), [(2.7, [1.3])]),
    ("pdtri", lambda k, p: root(lambda m: mp.gammainc(mp.floor(k) + 1, m, mp.inf, regularized=True),
                                lambda p: special.pdtri(int(k), p))(p), [(2, [0.3])]),
    ("tklmbda", lambda x, p: mp.findroot(lambda y: (y ** p - (1 - y) ** p) / p - x,
                                         mp.mpf(float(special.tklmbda(float(x), float(p))))), [[0.3, 0.7], [-2.0, -0.5]]),
    ("expi", mp.ei, [[-2.0], [0.3], [5.0]]),
    ("exp1", mp.e1, [[0.3], [20.0]]),
    ("expn", mp.expint, [(0, [0.7]), (1, [0.7]), (4, [0.7])]),
    ("spence", lambda x: mp.polylog(2, 1 - x), [[0.3], [1.0], [1.0 + 1e-6], [1.9]]),
    ("wrightomega", lambda x: mp.lambertw(mp.exp(x)).real, [[-3.0], [0.3], [10.0]]),
    ("j0", mp.j0, [[0.0], [0.7], [30.0]]),
    ("j1", mp.j1, [[0.0], [0.7], [30.0]]),
    ("y0", lambda x: mp.bessely(0, x), [[0.7], [30.0]]),
    ("y1", lambda x: mp.bessely(1, x), [[0.7], [30.0]]),
    ("i0", lambda x: mp.besseli(0, x), [[0.0], [0.7], [30.0]]),
    ("i1", lambda x: mp.besseli(1, x), [[0.0], [0.7], [30.0]]),
    ("i0e", lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), [[-2.0], [0.7], [30.0]]),
    ("i1e", lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), [[-2.0], [0.7], [30.0]]),
    ("k0", lambda x: mp.besselk(0, x), [[0.7], [30.0]]),
    ("k1", lambda x: mp.besselk(1, x), [[0.7], [30.0]]),
    ("k0e", lambda x: mp.exp(x) * mp.besselk(0, x), [[0.7], [30.0]]),
    ("k1e", lambda x: mp.exp(x) * mp.besselk(1, x), [[0.7], [30.0]]),
    ("jv", mp.besselj, [(0, [0.0]), (2, [0.0]), (2.5, [0.7]), (-1.5, [3.0])]),
    ("yv", mp.bessely, [(0, [0.7]), (2.5, [0.7])]),
    ("yn", mp.bessely, [(0, [0.7]), (3, [0.7])]),
    ("iv", mp.besseli, [(0, [0.0]), (1, [0.0]), (2.5, [0.7])]),
    ("kv", mp.besselk, [(0, [0.7]), (2.5, [0.7])]),
    ("kn", mp.besselk, [(0, [0.7]), (3, [0.7])]),
    ("jve", mp.besselj, [(2.5, [0.7])]),
    ("yve", mp.bessely, [(2.5, [0.7])]),
    ("ive", lambda v, x: mp.exp(-abs(x)) * mp.besseli(v, x), [(2.5, [0.7])]),
    ("kve", lambda v, x: mp.exp(x) * mp.besselk(v, x), [(2.5, [0.7])]),
    ("struve", mp.struveh, [(0, [0.7]), (1.5, [0.7])]),
    ("modstruve", mp.struvel, [(0, [0.7]), (1.5, [0.7])]),
    ("ellipk", mp.ellipk, [[-300.0], [0.0], [0.3], [0.999]]),
    ("ellipkm1", lambda x: mp.ellipk(1 - x), [[1e-3], [0.3], [1.0]]),
    ("ellipe", mp.ellipe, [[-300.0], [0.0], [0.3], [0.999]]),
    ("ellipkinc", mp.ellipf, [([0.7], 0.5), ([4.0], -2.0)]),
    ("ellipeinc", mp.ellipe, [([0.7], 0.5), ([4.0], -2.0)]),
    ("hyp0f1", mp.hyp0f1, [(1.5, [0.7]), (1.5, [0.0])]),
    ("hyp1f1", mp.hyp1f1, [(0.5, 1.5, [0.7]), (-2.0, 1.5, [-0.7])]),
    ("hyp2f1", mp.hyp2f1, [(0.5, 0.7, 1.5, [0.7]), (-2.0, 0.7, 1.5, [-0.7])]),
    ("hyperu", mp.hyperu, [(0.5, 1.5, [0.7])]),
    ("wright_bessel", lambda a, b, x: mp.nsum(lambda k: x ** k * mp.rgamma(k + 1) * mp.rgamma(a * k + b), [0, mp.inf]),
     [(0.5, 1.5, [0.7])]),
    ("eval_legendre", mp.legendre, [(0, [0.3]), (1, [0.3]), (4, [0.3]), (4, [1.0]), (2.5, [0.3])]),
    ("eval_chebyt", mp.chebyt, [(0, [0.3]), (1, [0.3]), (4, [0.3])]),
    ("eval_chebyu", mp.chebyu, [(0, [0.3]), (1, [0.3]), (4, [0.3])]),
    ("eval_chebyc", lambda n, x: 2 * mp.chebyt(n, x / 2), [(0, [0.3]), (4, [0.3])]),
    ("eval_chebys", lambda n, x: mp.chebyu(n, x / 2), [(0, [0.3]), (4, [0.3])]),
    ("eval_sh_legendre", lambda n, x: mp.legendre(n, 2 * x - 1), [(0, [0.3]), (4, [0.3])]),
    ("eval_sh_chebyt", lambda n, x: mp.chebyt(n, 2 * x - 1), [(0, [0.3]), (4, [0.3])]),
    ("eval_sh_chebyu", lambda n, x: mp.chebyu(n, 2 * x - 1), [(0, [0.3]), (4, [0.3])]),
    ("eval_gegenbauer", mp.gegenbauer, [(0, 1.5, [0.3]), (4, 1.5, [0.3])]),
    ("eval_laguerre", lambda n, x: mp.laguerre(n, 0, x), [(0, [0.3]), (4, [0.3])]),
    ("eval_genlaguerre", mp.laguerre, [(0, 1.5, [0.3]), (4, 1.5, [0.3])]),
    ("eval_hermite", mp.hermite, [(0, [0.3]), (1, [0.3]), (4, [0.3])]),
    ("eval_hermitenorm", lambda n, x: 2 ** (-n * half) * mp.hermite(n, x / mp.sqrt(2)), [(0, [0.3]), (4, [0.3])]),
    ("eval_jacobi", mp.jacobi, [(0, 0.5, 1.5, [0.3]), (4, 0.5, 1.5, [0.3])]),
    ("chdtr", lambda v, x: mp.gammainc(v / 2, 0, x / 2, regularized=True), [(3.0, [0.7])]),
    ("chdtrc", lambda v, x: mp.gammainc(v / 2, x / 2, mp.inf, regularized=True), [(3.0, [0.7])]),
    ("gdtr", lambda a, b, x: mp.gammainc(b, 0, a * x, regularized=True), [([0.8], 1.5, [0.7])]),
    ("gdtrc", lambda a, b, x: mp.gammainc(b, a * x, mp.inf, regularized=True), [([0.8], 1.5, [0.7])]),
    ("nrdtrimn", lambda p, s, x: x - s * mp.sqrt(2) * mp.erfinv(2 * p - 1), [[0.3, 0.8, 1.5]]),
    ("nrdtrisd", lambda m, p, x: (x - m) / (mp.sqrt(2) * mp.erfinv(2 * p - 1)), [[0.3, 0.8, 1.5]]),
    ("radian", lambda d, m, s: (d + m / 60 + s / 3600) * mp.pi / 180, [[3.0, 4.0, 5.0]]),
    ("fresnel[0]", mp.fresnels, [[0.7], [4.7]]),
    ("fresnel[1]", mp.fresnelc, [[0.7], [4.7]]),
    ("sici[0]", mp.si, [[0.0], [0.7], [20.0]]),
    ("sici[1]", mp.ci, [[0.7], [20.0]]),
    ("shichi[0]", mp.shi, [[0.0], [0.7], [20.0]]),
    ("shichi[1]", mp.chi, [[0.7], [20.0]]),
    ("airy[0]", mp.airyai, [[-3.0], [0.7]]),
    ("airy[1]", lambda x: mp.airyai(x, derivative=1), [[-3.0], [0.7]]),
    ("airy[2]", mp.airybi, [[-3.0], [0.7]]),
    ("airy[3]", lambda x: mp.airybi(x, derivative=1), [[-3.0], [0.7]]),
    ("pbdv[0]", mp.pcfd, [(1.5, [0.7]), (0.5, [-1.0])]),
    ("ellipj[0]", lambda x, m: mp.ellipfun("sn", x, m), [([0.7], 0.5)]),
    ("ellipj[1]", lambda x, m: mp.ellipfun("cn", x, m), [([0.7], 0.5)]),
    ("ellipj[2]", lambda x, m: mp.ellipfun("dn", x, m), [([0.7], 0.5)]),
    ("ellipj[3]", lambda x, m: mp.asin(mp.ellipfun("sn", x, m)), [([0.7], 0.5)]),
]
POINTS = [(f, oracle, point) for f, oracle, points in MPMATH for point in points]


def called(name: str) -> Any:
    """A function of scipy.special, or one output of it: "airy[2]"."""
    function, _, i = name.strip("]").partition("[")
    return lambda *x: getattr(special, function)(*x)[int(i)] if i else getattr(special, function)(*x)


def named(row: Any) -> str:
    return f"{row[0]} {row[2]}"


def close(actual: Any, expected: Any, scale: Any = 0.0) -> None:
    assert abs(actual - expected) <= 1e-12 * (abs(expected) + scale) + 1e-20 * (actual == 0), (actual, expected)


@pytest.mark.parametrize("row", POINTS, ids=named)
def test_against_mpmath(row):
    """First derivatives to twelve digits of their own size; second ones to twelve of the size of all of them."""
    f, oracle, point = row
    f = called(f)
    bare = isinstance(point, list)
    arguments = [x[0] if isinstance(x, list) else x for x in point]
    wrt = [i for i, x in enumerate(point) if bare or isinstance(x, list)]

    def g(*xs: Any) -> Any:
        given = list(arguments)
        for i, x in zip(wrt, xs, strict=True):
            given[i] = x
        return f(*given)

    def orders(n: int) -> list[tuple[int, ...]]:
        return [k for k in np.ndindex((3,) * len(wrt)) if sum(k) == n]

    xs = [arguments[i] for i in wrt]
    with mp.workdps(30), np.errstate(all="ignore"):
        def exact(*ys: Any) -> Any:
            given = [x if isinstance(x, int) else mp.mpf(x) for x in arguments]
            for i, y in zip(wrt, ys, strict=True):
                given[i] = y
            return oracle(*given)

        def derivative(order: tuple[int, ...]) -> float:
            order = order if len(order) > 1 else order[0]
            start = tuple(map(mp.mpf, xs)) if len(xs) > 1 else mp.mpf(xs[0])
            one_sided = {"direction": 1} if not all(xs) and arguments[0] != 0 and "inc" in str(row[0]) else {}
            return float(mp.re(mp.diff(exact, start, order, **one_sided)))

        first = tg.grad(g, range(len(xs)))(*xs)
        for order in orders(1):
            close(first[order.index(1)], derivative(order))
        size = max(abs(derivative(order)) for order in orders(2)) + max(map(abs, first))
        for order in orders(2):
            i, j = [i for i, k in enumerate(order) for _ in range(k)]
            close(tg.grad(lambda *xs, i=i: tg.grad(g, i)(*xs), j)(*xs), derivative(order), size)
