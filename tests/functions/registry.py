"""The registry of calls: how each function of NumPy or SciPy that nodes know is called.

A `Call` is one call of one function, on arrays and on nodes alike: on arrays it is the oracle, of values and, by
differences and by complex step, of derivatives. `CALLS` is the list; a test fails if a function that nodes know is in
neither registry, this one or that of the ops (`tests/cases`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..cases.registry import Domain


@dataclass(frozen=True)
class Call:
    """`form(function, *inputs, **options)`, where `form` simply calls the function unless it is given.

    The result is an array, or a tuple or list of them.
    """

    function: Callable[..., Any]
    inputs: Sequence[tuple[Domain, tuple[int, ...]]]
    options: dict[str, Any] = field(default_factory=dict)
    form: Callable[..., Any] | None = None
    note: str = ""
    flat: bool = False  # no gradient flows through it
    analytic: bool = False  # the function itself is right on complex numbers, so that complex step can differentiate it
    order: int = 2  # to which its derivatives are compared: 0 for queries, 1 for what is linear by pieces
    narrow: bool = True  # it works in float32, too, and returns that
    dynamic: bool = False  # the shape of its result depends on values, so that it cannot be compiled
    jax: Any = True  # whether JAX has it under the same name, with the same conventions; or what stands for it there
    name: str = ""

    def __call__(self, *inputs: Any, function: Any = None) -> Any:
        function = self.function if function is None else function
        if self.form is not None:
            return self.form(function, *inputs, **self.options)
        return function(*inputs, **self.options)

    def arrays(self, dtype: Any = np.float64, seed: int = 0) -> list[Any]:
        """The inputs for a seed; floats (and complex numbers) get the precision of the dtype."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        values = [domain(rng.random(shape)) for domain, shape in self.inputs]
        return [x if type(x) in (int, float) else with_precision(np.asarray(x), dtype) for x in values]


def with_precision(x: np.ndarray, dtype: Any) -> np.ndarray:
    """Floats in a dtype, complex numbers in the one of twice the size, all else as it is."""
    kinds = {"f": np.dtype(dtype), "c": np.result_type(dtype, np.complex64)}
    return x.astype(kinds[x.dtype.kind]) if x.dtype.kind in kinds else x


CALLS: list[Call] = []


def call(function: Callable[..., Any], *inputs: tuple[Domain, tuple[int, ...]], form: Callable[..., Any] | None = None,
         note: str = "", flat: bool = False, analytic: bool = False, order: int = 2, narrow: bool = True,
         dynamic: bool = False, jax: Any = True, **options: Any) -> None:
    """Register one call."""
    shapes = "x".join(str(shape).replace(" ", "") for _, shape in inputs)
    given = ",".join(f"{name}={getattr(value, '__name__', value)}" for name, value in options.items())
    name = " ".join(filter(None, [full_name(function), shapes, given.replace(" ", "").replace("\n", ""), note]))
    CALLS.append(Call(function, inputs, options, form, note, flat, analytic, order, narrow, dynamic, jax,
                      name))


def full_name(function: Any) -> str:
    """np.linalg.inv and the like."""
    if isinstance(ufunc := getattr(function, "__self__", None), np.ufunc):
        return f"{full_name(ufunc)}.{function.__name__}"
    if isinstance(function, np.ufunc):
        return f"np.{function.__name__}" if getattr(np, function.__name__, None) is function else function.__name__
    return f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
