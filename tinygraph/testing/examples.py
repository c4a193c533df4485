"""Examples: inputs that an op accepts, found by trying.

What an op takes is written nowhere but in its forward. So shapes and domains are tried in turn, from the plainest on,
until the value is finite and one input at least gets a gradient.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..op import Op

# What may stand in each place: a name for it, and the values made of uniform numbers.
DOMAINS: dict[str, Any] = {
    "any": lambda u: 4 * u - 2,
    "positive": lambda u: 0.3 + 2 * u,
    "unit": lambda u: 0.1 + 0.8 * u,
    "above one": lambda u: 1.2 + 2 * u,
    "labels": lambda u: np.minimum(3 * u, 2).astype(np.int64),
    "truth": lambda u: u < 0.5,
    "regular": lambda u: u + 3 * np.eye(*u.shape[-2:]) if u.ndim > 1 else u + 1,
}
SHAPES: dict[int, list[tuple[tuple[int, ...], ...]]] = {
    1: [((3, 4),), ((4,),), ((3, 3),), ((2, 3, 4),), ((2, 3, 4, 4),), ((),)],
    2: [((3, 4), (3, 4)), ((3, 4), (4, 3)), ((3, 4), (4,)), ((3, 4), (3,)), ((3, 3), (3, 3)), ((3, 3), (3,)),
        ((4,), (4,)), ((2, 3, 5, 5), (2, 3, 3, 3)), ((3, 4), (2,)), ((), ())],
    3: [((3, 4), (3, 4), (3, 4)), ((3, 4), (4,), (4,)), ((3, 4), (4, 3), (3,)), ((4,), (4,), (4,)),
        ((3, 4), (2,), (2,))],
}


Specification = list[tuple[str, tuple[int, ...]]]


def example(op: type[Op], options: dict[str, Any]) -> list[Any]:
    """Arrays that the op accepts; TypeError if none are found."""
    return values_of(specification(op, options))


def specification(op: type[Op], options: dict[str, Any]) -> Specification:
    """For each input of an op the name of a domain and a shape that it accepts; TypeError if none are found."""
    for found in specifications(op.n_inputs or 2):
        if all(_is_accepted(op, values, options) for values in _extremes(found)):
            return found
    raise TypeError(f"no inputs were found that {op.__name__} accepts: give some, check_op({op.__name__}, x, ...), and "
                    "its options by name")


def _is_accepted(op: type[Op], values: list[Any], options: dict[str, Any]) -> bool:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            node = op(*values, **options)
        except Exception:  # these it does not accept
            return False
    return bool(node.size and np.isfinite(node._value).all() and (node.dtype.kind == "f" or not op.differentiable))


def _extremes(found: Specification) -> Iterator[list[Any]]:
    """Values from all over the domains: random ones, and the two ends in each input."""
    yield values_of(found)
    for units in itertools.islice(itertools.product((0.0, 0.37, 1.0), repeat=len(found)), 27):
        yield [np.asarray(DOMAINS[domain](np.full(shape, u))) for (domain, shape), u in zip(found, units, strict=True)]


def values_of(found: Specification) -> list[Any]:
    rng = np.random.default_rng(0)
    return [np.asarray(DOMAINS[domain](rng.random(shape))) for domain, shape in found]


def specifications(count: int) -> Iterator[Specification]:
    """Domains and shapes of `count` inputs, the plainest first."""
    shapes = SHAPES.get(count, [((3, 4),) * count, ((4,),) * count])
    kinds = sorted(itertools.product(DOMAINS, repeat=min(count, 3)), key=lambda names: len(set(names)))
    for names in kinds:
        names = (*names, *[names[-1]] * (count - len(names)))
        if any(name not in ("labels", "truth") for name in names):
            for each in shapes:
                yield list(zip(names, each, strict=True))
