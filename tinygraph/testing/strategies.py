"""Strategies for Hypothesis: inputs of ops, networks, and whole graphs, which shrink to small ones.

Each is a function that returns a strategy. A `Graph` prints as the few lines of Python that rebuild it, so that a
failing example can be pasted into a session. Needs the package hypothesis, which the extra `test` brings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

try:
    import hypothesis.extra.numpy as hnp
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("tinygraph.testing.strategies needs the package hypothesis: pip install hypothesis") from error

from ..node import Node, Parameter
from ..op import Op
from ..ops import LogSoftmaxNLL
from .examples import DOMAINS, specification

__all__ = ["Graph", "Network", "arrays", "broadcastable", "expressions", "graphs", "inputs_for", "labels", "networks"]

Shape = tuple[int, ...]


def shapes(min_dims: int = 0, max_dims: int = 3, max_side: int = 3) -> st.SearchStrategy[Shape]:
    """Small shapes without a length of 0."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, max_side=max_side)


def arrays(shape: Shape | st.SearchStrategy[Shape] | None = None, dtype: Any = np.float64, low: float = -3.0,
           high: float = 3.0, kinks: Sequence[float] = (), margin: float = 0.1) -> st.SearchStrategy[np.ndarray]:
    """Arrays of floats between `low` and `high`, of a shape or a strategy of shapes.

    kinks: values from which the entries keep a distance of at least `margin`, where the range leaves room for that.
    """
    width: Any = 8 * np.dtype(dtype).itemsize
    floats = st.floats(low, high, width=width, allow_subnormal=False)
    if kinks:
        floats = floats.filter(lambda x: all(abs(x - kink) >= margin for kink in kinks))
    return hnp.arrays(dtype, shapes() if shape is None else shape, elements=floats)


def broadcastable(count: int = 2, **options: Any) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    """`count` arrays whose shapes broadcast; the options are those of `arrays`."""
    drawn = hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=3)
    return drawn.flatmap(lambda found: st.tuples(*[arrays(shape, **options) for shape in found.input_shapes]))


def labels(classes: int, shape: int | Shape) -> st.SearchStrategy[np.ndarray]:
    """Integers from 0 to classes - 1."""
    return hnp.arrays(np.int64, shape, elements=st.integers(0, classes - 1))


def inputs_for(op: type[Op], dtype: Any = np.float64, **options: Any) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    """Inputs that an op accepts, found by trying (TypeError if none are), with values drawn from their domains."""
    def drawn(domain: str, shape: Shape) -> st.SearchStrategy[np.ndarray]:
        units = hnp.arrays(float, shape, elements=st.floats(0, 1, width=32))
        def valued(u: np.ndarray) -> np.ndarray:
            x = np.asarray(DOMAINS[domain](u))
            return x.astype(dtype) if x.dtype.kind == "f" else x
        return units.map(valued)

    return st.tuples(*[drawn(domain, shape) for domain, shape in specification(op, options)])


# -------------------------------------------------------------------------------------------------------------- graphs

@dataclass(frozen=True)
class Graph:
    """A function of arrays or nodes that returns one number, as lines of Python. Call it: `graph(*graph.inputs)`.

    inputs: arrays to call it with. source: the text of `def f(x0, x1, ...)`.
    """

    inputs: tuple[np.ndarray, ...]
    lines: tuple[str, ...]
    code: Callable[..., Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", self.using(np))

    @property
    def source(self) -> str:
        names = ", ".join(f"x{i}" for i in range(len(self.inputs)))
        return "\n".join([f"def f({names}):", *[f"    {line}" for line in self.lines]])

    def using(self, numpy: Any) -> Callable[..., Any]:
        """The same function with another module in the place of NumPy (such as jax.numpy)."""
        scope: dict[str, Any] = {"np": numpy}
        exec(compile(self.source, "<graph>", "exec"), scope)
        function: Callable[..., Any] = scope["f"]
        return function

    def __call__(self, *xs: Any) -> Any:
        return self.code(*xs)

    def __repr__(self) -> str:
        given = [f"x{i} = np.array({x.tolist()}, dtype=np.{x.dtype})" + f".reshape({x.shape})" * (not x.size)
                 for i, x in enumerate(self.inputs)]
        names = ", ".join(f"x{i}" for i in range(len(self.inputs)))
        return "\n".join(["", *given, self.source, f"f({names})", ""])


# By name: the text, and whether the function has kinks. Values stay of moderate size, so that many can be chained.
UNARY = {
    "tanh": ("np.tanh({a})", False), "sin": ("np.sin({a})", False), "bounded exp": ("np.exp(np.tanh({a}))", False),
    "root": ("np.sqrt(1 + {a} * {a})", False), "log": ("np.log(2 + np.cos({a}))", False), "negative": ("-{a}", False),
    "power": ("np.tanh({a}) ** 3", False), "relu": ("np.maximum({a}, 0)", True), "absolute": ("np.abs({a})", True),
    "softmax": ("np.exp(np.tanh({a})) / np.sum(np.exp(np.tanh({a})))", False), "copy": ("{a} * 1", False),
}
BINARY = {
    "add": ("{a} + {b}", False), "subtract": ("{a} - {b}", False), "multiply": ("np.tanh({a}) * {b}", False),
    "divide": ("{a} / (1 + {b} * {b})", False), "maximum": ("np.maximum({a}, {b})", True),
    "where": ("np.where({a} > {b}, {a}, np.sin({b}))", True),
}


@st.composite
def graphs(draw: Any, max_inputs: int = 3, max_steps: int = 8, smooth: bool = False,
           dtype: Any = np.float64) -> Graph:
    """Random well-typed graphs with a scalar output: elementwise functions with broadcasting, products of matrices,
    reductions, shapes, indices and joints; nodes are used again, so there are diamonds.

    smooth: leave out functions with kinks.
    """
    xs = draw(st.lists(arrays(shapes(0, 2), dtype=dtype), min_size=1, max_size=max_inputs))
    known: dict[str, Shape] = {f"x{i}": x.shape for i, x in enumerate(xs)}
    lines: list[str] = []
    for n in range(draw(st.integers(1, max_steps))):
        text, shape = draw(_step(known, smooth))
        lines.append(f"y{n} = {text}")
        known[f"y{n}"] = shape
    used = {name for line in lines for name in known if name in line.split(" = ")[1]}
    ends = [name for name in known if name not in used] or [f"y{len(lines) - 1}"]
    lines.append(f"return {' + '.join(f'np.sum({name})' for name in ends)}")
    return Graph(tuple(xs), tuple(lines))


def expressions(**options: Any) -> st.SearchStrategy[Graph]:
    """The same as plain functions of NumPy arrays (with an attribute `inputs` to call them with)."""
    return graphs(**options)


@st.composite
def _step(draw: Any, known: dict[str, Shape], smooth: bool) -> tuple[str, Shape]:
    """The text of one more value, and its shape."""
    names = st.sampled_from(list(known)[::-1])  # later ones shrink to be simpler graphs
    a = draw(names)
    shape = known[a]
    kinds = ["unary", "binary", "sum"]
    if len(shape) >= 1:
        kinds += ["reduce", "index", "join", "flip"]
    if len(shape) == 2:
        kinds += ["transpose", "product"]
    kind = draw(st.sampled_from(kinds))
    if kind == "unary":
        table = [text for text, kink in UNARY.values() if not (smooth and kink)]
        return draw(st.sampled_from(table)).format(a=a), shape
    if kind == "binary":
        fits = [b for b, other in known.items() if _broadcast(shape, other) is not None]
        b = draw(st.sampled_from(fits[::-1]))
        table = [text for text, kink in BINARY.values() if not (smooth and kink)]
        return draw(st.sampled_from(table)).format(a=a, b=b), _broadcast(shape, known[b]) or ()
    if kind == "sum":
        return f"np.mean({a})", ()
    axis = draw(st.integers(0, len(shape) - 1))
    rest = shape[:axis] + shape[axis + 1:]
    if kind == "reduce":
        name = draw(st.sampled_from(["sum", "mean"] if smooth else ["sum", "mean", "max"]))
        return f"np.{name}({a}, axis={axis})", rest
    if kind == "index":
        i = draw(st.integers(0, shape[axis] - 1))
        return f"{a}[{':, ' * axis}{i}]", rest
    if kind == "join":
        return f"np.concatenate([{a}, {a}], axis={axis})", (*shape[:axis], 2 * shape[axis], *shape[axis + 1:])
    if kind == "flip":
        return f"{a}[{':, ' * axis}::-1]", shape
    if kind == "transpose":
        return f"{a}.T", shape[::-1]
    fits = [b for b, other in known.items() if len(other) == 2 and other[0] == shape[1]]
    if not fits:
        return f"{a} @ {a}.T", (shape[0], shape[0])
    b = draw(st.sampled_from(fits))
    return f"{a} @ {b}", (shape[0], known[b][1])


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


# ------------------------------------------------------------------------------------------------------------ networks

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "softplus": lambda x: np.log1p(np.exp(-np.abs(x)))
    + np.maximum(x, 0), "identity": lambda x: x,
}


@dataclass
class Network:
    """A classifier with random layers, and a batch for it: samples X along the first axis, labels t.

    parameters: W1, b1, W2, ... `loss()` is the node of the mean negative log-likelihood.
    """

    units: list[int]
    activations: list[str]
    X: np.ndarray
    t: np.ndarray
    parameters: list[Parameter] = field(default_factory=list)

    def logits(self, X: Any = None) -> Any:
        A = self.X if X is None else X
        for i, name in enumerate([*self.activations, "identity"]):
            W, b = self.parameters[2 * i:2 * i + 2]
            A = ACTIVATIONS[name](A @ W + b)
        return A

    def loss(self) -> Node:
        return LogSoftmaxNLL(self.logits(), self.t)


@st.composite
def networks(draw: Any, max_layers: int = 3, max_units: int = 5, max_samples: int = 6,
             dtype: Any = np.float64) -> Network:
    """Random architectures with parameters (scaled as He et al. propose) and a batch."""
    units = draw(st.lists(st.integers(1, max_units), min_size=2, max_size=max_layers + 1))
    units[-1] += 1  # at least two classes
    n = draw(st.integers(1, max_samples))
    activations = draw(st.lists(st.sampled_from(list(ACTIVATIONS)), min_size=len(units) - 2, max_size=len(units) - 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    network = Network(units, activations, rng.normal(size=(n, units[0])).astype(dtype), draw(labels(units[-1], n)))
    for i, (a, b) in enumerate(itertools.pairwise(units), 1):
        W, bias = rng.normal(size=(a, b)) * math.sqrt(2 / a), rng.normal(size=b)
        network.parameters += [Parameter(W.astype(dtype), f"W{i}"), Parameter(bias.astype(dtype), f"b{i}")]
    return network
