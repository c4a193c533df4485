"""Cases of the special functions: differences of SciPy's own function, which few of them know on complex numbers.

`tests/test_special.py` compares with mpmath, to more digits and at the points that are hard.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tinygraph.ops.special import OPS

from .registry import CASES, Case, Domain, anywhere, given, integral


def between(low: float, high: float) -> Domain:
    return lambda u: low + (high - low) * u


INSIDE = between(0.42, 0.58)  # of what is singular at 0 and at 1
POSITIVE = between(0.7, 2.2)
SMALL = between(-0.6, 0.6)
WIDE = anywhere
A, B, C, TWO, THREE = given(1.5), given(2.3), given(3.1), given(2), given(3)

DOMAINS: dict[str, tuple[Domain, ...]] = {
    **dict.fromkeys(["Expit", "LogExpit", "Exp10", "Exprel", "Cosm1", "Sindg", "Cosdg", "Tandg", "Erf", "Erfc", "Erfcx",
                     "Erfi", "Dawsn", "Ndtr", "LogNdtr", "NormalHazard", "J0", "J1", "I0", "I1", "Wrightomega", "Shi",
                     "Si", "FresnelS", "FresnelC", "AiryA", "AiryASlope", "AiryB", "AiryBSlope", "Rgamma"], (WIDE,)),
    **dict.fromkeys(["Entr", "Gamma", "Gammaln", "Loggamma", "Digamma", "Expi", "Exp1", "Chi", "Ci", "Spence", "Y0",
                     "Y1", "I0e", "I1e", "K0", "K1", "K0e", "K1e"], (POSITIVE,)),
    **dict.fromkeys(["Logit", "Ndtri", "Ellipkm1"], (INSIDE,)),
    **dict.fromkeys(["Erfinv", "Ellipk", "Ellipe"], (between(-0.5, 0.5),)),
    "Erfcinv": (between(0.7, 1.3),), "NdtriExp": (between(-2.2, -0.7),), "Cotdg": (between(40, 60),),
    "ErfcRatio": (WIDE,),
    **dict.fromkeys(["Xlogy", "Xlog1py"], (WIDE, POSITIVE)),
    **dict.fromkeys(["RelEntr", "KlDiv", "PseudoHuber", "Poch", "Beta", "Betaln"], (POSITIVE, POSITIVE)),
    "Huber": (between(0.5, 0.6), between(1, 2)), "Binom": (between(2, 3), POSITIVE),
    **dict.fromkeys(["Boxcox", "Boxcox1p", "Powm1"], (POSITIVE, SMALL)),
    **dict.fromkeys(["InvBoxcox", "InvBoxcox1p"], (INSIDE, SMALL)),
    "OwensT": (SMALL, SMALL), "Tklmbda": (SMALL, between(0.3, 0.6)),
    **dict.fromkeys(["Gammainc", "Gammaincc", "Stdtr"], (A, POSITIVE)),
    **dict.fromkeys(["Gammaincinv", "Gammainccinv", "Stdtrit"], (A, INSIDE)),
    **dict.fromkeys(["Betainc", "Betaincc", "Betaincinv", "Betainccinv"], (A, B, INSIDE)),
    **dict.fromkeys(["Fdtr", "Fdtrc"], (A, B, POSITIVE)), "Fdtri": (A, B, INSIDE),
    **dict.fromkeys(["Bdtr", "Bdtrc", "Bdtri"], (given(1.0), lambda u: np.full(u.shape, 3), INSIDE)),
    **dict.fromkeys(["Nbdtr", "Nbdtrc", "Nbdtri"], (TWO, THREE, INSIDE)),
    **dict.fromkeys(["Pdtr", "Pdtrc"], (given(2.0), POSITIVE)), "Pdtri": (TWO, INSIDE),
    "GammaTerm": (POSITIVE, SMALL, POSITIVE), "BetaTerm": (POSITIVE, POSITIVE, SMALL, INSIDE),
    **dict.fromkeys(["Polygamma", "Expn", "Yn", "Kn", "SphericalYn", "SphericalKn"], (TWO, POSITIVE)),
    **dict.fromkeys(["SphericalJn", "SphericalIn"], (TWO, WIDE)), "HurwitzZeta": (B, POSITIVE),
    **dict.fromkeys(["Jv", "Yv", "Iv", "Kv", "Jve", "Yve", "Ive", "Kve", "Struve", "Modstruve"], (A, POSITIVE)),
    **dict.fromkeys([f"Parabolic{kind}" for kind in ["D", "DSlope", "V", "VSlope", "W", "WSlope"]], (A, POSITIVE)),
    **dict.fromkeys(["IntegralJ0", "IntegralY0", "IntegralI0", "IntegralK0", "Itstruve0", "Itmodstruve0"], (POSITIVE,)),
    **dict.fromkeys(["Ellipkinc", "Ellipeinc", "EllipticSn", "EllipticCn", "EllipticDn", "EllipticAm"],
                    (SMALL, given(0.4))),
    "Hyp0f1": (A, WIDE), "Hyp1f1": (A, B, WIDE), "Hyp2f1": (A, B, C, between(-0.4, 0.4)), "Hyperu": (A, B, POSITIVE),
    "WrightBessel": (A, B, POSITIVE),
    **dict.fromkeys([f"Eval{name}" for name in ["Legendre", "Chebyt", "Chebyu", "Chebyc", "Chebys", "ShLegendre",
                                                "ShChebyt", "ShChebyu", "Laguerre", "Hermite", "Hermitenorm"]],
                    (THREE, SMALL)),
    **dict.fromkeys(["EvalGegenbauer", "EvalGenlaguerre"], (THREE, A, SMALL)), "EvalJacobi": (THREE, A, B, SMALL),
    "EvalShJacobi": (THREE, C, A, INSIDE),
}
if "LogWrightBessel" in OPS:
    DOMAINS["LogWrightBessel"] = (A, B, POSITIVE)
COMPLEX_VALUED = {OPS[name] for name in  # tested as functions
                  ["Hankel1", "Hankel1e", "Hankel2", "Hankel2e", "LambertW", "Wofz"]}
OPTIONS: dict[str, list[dict[str, Any]]] = {"ErfcRatio": [{"n": 0}, {"n": 2}]}
FLAT = {"Gammasgn": (lambda x: np.where(x > 0, 1.0, -1.0), between(0.1, 0.9)),
        "RoundHalfToEven": (lambda x: np.round(x), integral)}


def case(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> Case:
    op = OPS[name]
    forward: Callable[..., Any] = op.forward
    reference = forward if isinstance(forward, np.ufunc) else lambda *x, **o: forward(None, *x, **o)
    inputs = [(domain, () if type(domain(np.zeros(()))) in (int, float) else shape) for domain in DOMAINS[name]]
    if name in ("BetaTerm", "Tklmbda"):  # whose inputs cannot be all the same
        inputs[0] = (inputs[0][0], shape[1:])
    drawn = Case(op, reference, inputs, options, stepped=False, half=False)
    widened = reference(*drawn.arrays(np.float32), **options).dtype != np.float32  # SciPy does so beside Python numbers
    return replace(drawn, result=np.float64) if widened else drawn


for name in DOMAINS:
    for options in OPTIONS.get(name, [{}]):
        CASES.append(case(name, (2, 3), options))
for name, (function, domain) in FLAT.items():
    CASES.append(Case(OPS[name], function, [(domain, (2, 3))], flat=True))

reduced = OPS["LogSumExp"]


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


for shape, options in [((2, 3), {"axis": 1, "keepdims": False}), ((2, 3), {}), ((), {}), ((2, 3, 2), {"axis": (0, -1)}),
                       ((0, 3), {"axis": 1}), ((2, 3), {"axis": -1, "keepdims": True})]:
    CASES.append(Case(reduced, logsumexp, [(anywhere, shape)], options, analytic=False, half=False))
