"""The registry of op cases: how each op of the package is called, and what it is by definition.

A `Case` is one call of one op: where its inputs come from, its options, and a reference, the same function written
without the op, in plain NumPy or Python loops. `CASES` is the list; `RANDOM` has a Hypothesis strategy of cases for
each op that has a gradient. The tests are generated from both, and one of them fails if an op is missing here.

A reference must be right on complex numbers too, so that complex step can differentiate it: it compares real parts,
and is made of functions that keep a tiny imaginary part (so no `exp(1j * x)`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tinygraph import Op

# ------------------------------------------------------------------------------------------------------------- domains
# A domain takes uniform numbers in [0, 1] to values: so a seed or Hypothesis can supply the numbers.

Domain = Callable[[np.ndarray], Any]


def anywhere(u: np.ndarray) -> np.ndarray:
    return 4 * u - 2


def positive(u: np.ndarray) -> np.ndarray:
    return 0.4 + 2 * u


def nonzero(u: np.ndarray) -> np.ndarray:
    return np.where(u < 0.5, -0.4 - 3 * u, 3 * u - 1.1)


def above_minus_one(u: np.ndarray) -> np.ndarray:
    return 3 * u - 0.6


def integral(u: np.ndarray) -> np.ndarray:
    """Floats with many ties, zeros and both signs."""
    return np.round(4 * u) - 2


def below_three(u: np.ndarray) -> np.ndarray:
    """Integers, for labels of three classes."""
    return np.minimum(3 * u, 2).astype(np.int64)


def even(u: np.ndarray) -> np.ndarray:
    """On a lattice, so that it keeps its distance from every value of `odd`."""
    return 0.4 * np.round(8 * u) - 1.6


def odd(u: np.ndarray) -> np.ndarray:
    return even(u) + 0.2


def distinct(u: np.ndarray) -> np.ndarray:
    """Values that keep their distance from each other."""
    ranks = np.argsort(np.argsort(u, axis=None, kind="stable")).reshape(u.shape)
    return 0.4 * (ranks - u.size // 2) + 0.1 * u


def some_nan(u: np.ndarray) -> np.ndarray:
    return np.where(u < 0.5, np.nan, u)


def truth(u: np.ndarray) -> np.ndarray:
    return u < 0.5


def integers_below(n: int, dtype: Any = np.int64) -> Domain:
    return lambda u: np.minimum(np.floor(n * u), n - 1).astype(dtype)


def exponents(u: np.ndarray) -> np.ndarray:
    """-2 to 3, in a type so small that float16 ** it stays float16."""
    return (integers_below(6)(u) - 2).astype(np.int8)


def given(value: Any) -> Domain:
    """Always this value: an index, or a Python number (which stays one)."""
    return lambda u: value


# --------------------------------------------------------------------------------------------------------------- cases

@dataclass(frozen=True)
class Case:
    """One way to call an op: `op(*inputs, **options)`, whose value is `reference(*inputs, **options)`."""

    op: type[Op]
    reference: Callable[..., Any]
    inputs: Sequence[tuple[Domain, tuple[int, ...]]]
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    flat: bool = False  # no gradient flows through this op
    analytic: bool = True  # the op's own forward and backward mean the same on complex numbers
    result: Any = None  # dtype of the value, where it is not that of the floating inputs
    half: bool = True  # it works in float16, too
    stepped: bool = True  # the reference is right on complex numbers, so that complex step can differentiate it

    @property
    def name(self) -> str:
        shapes = "x".join(str(shape).replace(" ", "") for _, shape in self.inputs)
        options = ",".join(f"{name}={getattr(value, '__name__', value)}" for name, value in self.options.items()
                           if name != "index")
        return " ".join(filter(None, [self.op.__name__, shapes, options.replace(" ", ""), self.note]))

    def from_units(self, units: Sequence[np.ndarray], dtype: Any = np.float64) -> list[Any]:
        """The inputs made of uniform numbers; floats get the dtype."""
        values = [domain(u) for (domain, _), u in zip(self.inputs, units, strict=True)]
        return [x if type(x) in (int, float, bool) else np.asarray(x, dtype if is_float(x) else None) for x in values]

    def arrays(self, dtype: Any = np.float64, seed: int = 0) -> list[Any]:
        """The inputs for a seed."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        return self.from_units([rng.random(shape) for _, shape in self.inputs], dtype)


def is_float(x: Any) -> bool:
    """Whether an input is one that has a gradient: an array of floats, not a Python number."""
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind == "f"


CASES: list[Case] = []
RANDOM: dict[type[Op], list[st.SearchStrategy[Case]]] = {}


def add(op: type[Op], reference: Callable[..., Any], *inputs: tuple[Domain, tuple[int, ...]], note: str = "",
        flat: bool = False, analytic: bool = True, result: Any = None, half: bool = True, **options: Any) -> None:
    """Register one case."""
    CASES.append(Case(op, reference, inputs, options, note, flat, analytic, result, half))


def add_random(op: type[Op], strategy: st.SearchStrategy[Case]) -> None:
    """Register a strategy of cases."""
    RANDOM.setdefault(op, []).append(strategy)


# ---------------------------------------------------------------------------------------------------- entry by entry

SHAPES: dict[int, list[tuple[tuple[int, ...], ...]]] = {
    1: [((2, 3),), ((),), ((0, 3),), ((4,),), ((2, 1, 3),)],
    2: [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), ()), ((), (2, 3)), ((3,), (1,)), ((0, 3), (3,)),
        ((1, 3), (0, 1)), ((2, 1, 3), (4, 1))],
    3: [((2, 3), (2, 3), (2, 3)), ((3,), (2, 1), (1, 3)), ((), (2, 3), ()), ((2, 3), (), ()), ((0, 3), (3,), (1, 3)),
        ((2, 1), (2, 1, 3), (3,))],
}


def pointwise(op: type[Op], reference: Callable[..., Any], *domains: Domain, note: str = "",
              options: dict[str, Any] | None = None, **claims: Any) -> None:
    """Register an op that broadcasts, on the shapes above and on random ones. Python numbers have no shape."""
    shaped = [i for i, domain in enumerate(domains) if type(domain(np.zeros(()))) not in (int, float)]

    def case(shapes: Sequence[tuple[int, ...]]) -> Case:
        by_input = dict(zip(shaped, shapes, strict=True))
        inputs = [(domain, by_input.get(i, ())) for i, domain in enumerate(domains)]
        return Case(op, reference, inputs, options or {}, note=note, **claims)

    CASES.extend(map(case, SHAPES[len(shaped)]))
    if not claims.get("flat"):
        shapes = hnp.mutually_broadcastable_shapes(num_shapes=len(shaped), min_side=0, max_side=3, max_dims=3)
        add_random(op, shapes.map(lambda drawn: case(drawn.input_shapes)))


def entry_by_entry(function: Callable[..., Any], dtype: Any = bool) -> Callable[..., Any]:
    return np.vectorize(function, otypes=[dtype])


def is_less(a: Any, b: Any) -> Any:
    return np.real(a) < np.real(b)
