"""The compiler's passes: each keeps what a program computes, on random programs and on traced ones, and does its work.

Random programs are drawn so that rounding cannot hide a mistake or fake one: the numbers are small and dyadic, what is
computed exactly may be compared, what is rounded may not, and what may have cancelled is multiplied by numbers alone
(0 times infinity is not nearly 0 times infinity). Zeros whose sign passes may change are never divided by.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph import ops
from tinygraph.compile import sparsity
from tinygraph.compile.canonical import CANONICAL, canonical
from tinygraph.compile.formulas import FORMULAS
from tinygraph.compile.guards import drop_guards
from tinygraph.compile.loops import RULES as NATIVE
from tinygraph.compile.outline import Outline
from tinygraph.compile.passes import PASSES, drop_dead, explained, fold_constants, merge_equal, optimized
from tinygraph.compile.program import Instruction, Program, Var, evaluated
from tinygraph.compile.simplification import SIMPLE, simplify
from tinygraph.compile.sparsity import skip_zeros
from tinygraph.op import Elementwise, Op
from tinygraph.ops.selection import ARRAY

from .cases.basic import product

# ----------------------------------------------------------------------------------------------------- random programs

SHAPES = [(), (1,), (3,), (2, 3), (1, 3), (2, 1), (0, 3), (3, 3), (2, 2, 3), (2, 1, 3), (1, 1)]
FLOATS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.25, 1.0, -1.0, 2.0, -3.0, 1.75]
NUMBERS = [0, 1, -1, 2, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 0.25, 3]


@dataclass
class Accuracy:
    """How exact a variable is: 0 exactly computed, 1 rounded, 2 rounded and then added up. `whole` and `part` bound the
    binary digits before and after the point."""

    level: int = 0
    whole: int = 3
    part: int = 2


class Builder:
    """A program in the making."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.inputs: list[Var] = []
        self.states: list[Var] = []
        self.constants: dict[Var, np.ndarray] = {}
        self.instructions: list[Instruction] = []
        self.accuracy: dict[Var, Accuracy] = {}
        for _ in range(self.random.randint(1, 3)):
            dtype = self.random.choice(["f8", "f8", "f4", "i8", "?"])
            self.enter(self.inputs, Var(self.random.choice(SHAPES), np.dtype(dtype), "x"))
        if self.random.random() < 0.5:
            self.enter(self.inputs, Var((), np.dtype(self.random.choice(["f8", "f8", "i8"])), "rate", weak=True))
        for _ in range(self.random.randint(0, 2)):
            self.enter(self.states, Var(self.random.choice(SHAPES), np.dtype(self.random.choice(["f8", "f4"])), "w"))
        for _ in range(self.random.randint(0, 2)):
            array = some_array(self.random, self.random.choice(SHAPES), self.random.choice(["f8", "f4", "i8", "?"]))
            if self.random.random() < 0.5 and array.size:
                array = np.full_like(array, array.flat[0])
            self.accuracy[var := Var(array.shape, array.dtype)] = Accuracy()
            self.constants[var] = array

    def enter(self, place: list[Var], var: Var) -> None:
        place.append(var)
        self.accuracy[var] = Accuracy()

    def pick(self, suits: Callable[[Var], bool] = lambda x: True) -> Var:
        """Some variable that suits, rather a late one. IndexError if there is none."""
        found = [x for x in self.accuracy if suits(x)]
        return found[max(self.random.randrange(len(found)), self.random.randrange(len(found)))] if found else found[0]

    def floats(self, level: int = 2) -> Var:
        return self.pick(lambda x: x.dtype.kind == "f" and self.accuracy[x].level <= level)

    def array(self, level: int = 2) -> Var:
        return self.pick(lambda x: not x.weak and self.accuracy[x].level <= level)

    def partner(self, x: Var, level: int = 2, suits: Callable[[Var], bool] = lambda y: True) -> Any:
        """A number, or a variable that broadcasts with `x`."""
        if self.random.random() < 0.3 and not x.weak:
            return self.random.choice(NUMBERS if x.dtype.kind == "f" else [0, 1, 2, -1] if x.dtype.kind == "i" else [1])
        return self.pick(lambda y: self.accuracy[y].level <= level and suits(y) and broadcasts(x.shape, y.shape))

    def emit(self, op: type[Op], *inputs: Any, accuracy: Accuracy | None = None, **options: Any) -> Var:
        outlines = [Outline(x.shape, x.dtype, x.weak) if isinstance(x, Var) else x for x in inputs]
        with np.errstate(all="ignore"):
            result = op.apply(*outlines, **options)
        known = [self.accuracy[x] for x in inputs if isinstance(x, Var)]
        name = self.random.choice(["", "", "", "A", "dW"])
        output = Var(result.shape, result.dtype, name, getattr(result, "weak", False))
        level, whole, part = (max(each) for each in zip(*((a.level, a.whole, a.part) for a in known), strict=True))
        found = accuracy or Accuracy(level, whole, part)
        if found.whole + found.part > 20 and found.level == 0:
            found = Accuracy(1, found.whole, found.part)
        if found.whole > 40 or found.part > 40 or output.size > 200:
            raise IndexError
        self.instructions.append(Instruction(op, inputs, options, output))
        self.accuracy[output] = found
        return output

    def made(self, op: type[Op], inputs: tuple[Var, ...], options: dict[str, Any], shape: tuple[int, ...]) -> Var:
        """As `emit`, for ops that want more of an array than its outline."""
        output = Var(shape, inputs[0].dtype)
        self.instructions.append(Instruction(op, inputs, options, output))
        self.accuracy[output] = self.accuracy[inputs[0]]
        return output

    def program(self, n_outputs: int) -> Program:
        outputs = tuple(self.pick() for _ in range(n_outputs))
        updates = []
        for state in self.states:
            fits = [x for x in self.accuracy if (x.shape, x.dtype, x.weak) == (state.shape, state.dtype, False)]
            if len(fits) > 1 and self.random.random() < 0.7:
                updates.append((state, self.random.choice(fits)))
        return Program("random", tuple(self.inputs), tuple(self.states), self.constants, tuple(self.instructions),
                       outputs, tuple(updates))


def broadcasts(*shapes: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


def some_array(random: Random, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    kind = np.dtype(dtype).kind
    values = FLOATS if kind == "f" else [0, 1, 2, -3, 5] if kind == "i" else [True, False]
    tame = random.random() < 0.5  # or NaN is all there is
    values = [x for x in values if math.isfinite(x)] if tame else values
    return np.array([random.choice(values) for _ in range(math.prod(shape))], dtype).reshape(shape)


Kind = Callable[[Builder, Random], Any]
KINDS: list[Kind] = []


def kind(step: Kind) -> Kind:
    KINDS.append(step)
    return step


@kind
def linear(b: Builder, random: Random) -> Any:
    x = b.floats() if random.random() < 0.8 else b.pick(lambda x: x.dtype.kind == "i")
    y = b.partner(x, suits=lambda y: y.dtype.kind != "b")
    levels = [b.accuracy[z] for z in (x, y) if isinstance(z, Var)]
    rounded = max(a.level for a in levels)
    accuracy = Accuracy(2 if rounded else 0, max(a.whole for a in levels) + 1, max([2, *(a.part for a in levels)]))
    pair = (x, y) if random.random() < 0.6 else (y, x)
    return b.emit(random.choice([ops.Add, ops.Subtract]), *pair, accuracy=accuracy)


@kind
def multiplication(b: Builder, random: Random) -> Any:
    if random.random() < 0.4:
        x = b.pick(lambda x: x.dtype.kind == "f" and not x.weak)
        y, a = random.choice(NUMBERS), b.accuracy[x]
        accuracy = Accuracy(a.level, a.whole + 2, a.part + 2)
    else:
        x = b.pick(lambda x: b.accuracy[x].level < 2 and x.dtype.kind != "b")
        y = b.partner(x, level=1)
        other = b.accuracy[y] if isinstance(y, Var) else Accuracy()
        a = b.accuracy[x]
        accuracy = Accuracy(max(a.level, other.level), a.whole + other.whole, a.part + other.part)
    return b.emit(ops.Multiply, *((x, y) if random.random() < 0.6 else (y, x)), accuracy=accuracy)


@kind
def quotient(b: Builder, random: Random) -> Any:
    """By a number, or by something whose zeros have the sign they had."""
    x = b.floats()
    a = b.accuracy[x]
    accuracy = Accuracy(max(a.level, 1), a.whole + 2, a.part + 3)
    if random.random() < 0.5 and not x.weak:
        return b.emit(ops.Divide, x, random.choice([1, 2.0, -1, 3.0, -0.5, 10, 0.0]), accuracy=accuracy)
    given = [*b.inputs, *b.states, *b.constants]
    y = b.pick(lambda y: y in given and y.dtype.kind == "f" and broadcasts(x.shape, y.shape))
    if random.random() < 0.3:
        y = b.emit(ops.Negative, y)
    if a.level == 2:  # nearly 0, over 0
        y = b.emit(ops.Exp, b.emit(ops.Minimum, y, 1.0), accuracy=Accuracy(1, 3, 6))
        accuracy.part += 6
    return b.emit(ops.Divide, x, y, accuracy=accuracy)


@kind
def smooth(b: Builder, random: Random) -> Any:
    x = b.pick(lambda x: x.dtype.kind == "f" and b.accuracy[x].level == 0 and b.accuracy[x].whole <= 3)
    if random.random() < 0.3:
        op = random.choice(SMOOTH)
    else:
        op = random.choice([ops.Exp, ops.Tanh, ops.Sin, ops.Cos, ops.Sqrt, ops.Log, ops.Log1p, ops.Expm1, ops.Absolute])
    return b.emit(op, x, accuracy=Accuracy(1, 12, 12))


# Of one number, and whole numbers are no kinks of them.
SMOOTH = [op for op in FORMULAS if isinstance(op.forward, np.ufunc) and op.forward.nin == 1
          and op.__module__.endswith((".elementary", ".arithmetic"))]


@kind
def of_two(b: Builder, random: Random) -> Any:
    x = b.pick(lambda x: x.dtype.kind == "f" and b.accuracy[x].level == 0 and b.accuracy[x].whole <= 3)
    y = b.partner(x, 0, lambda y: y.dtype.kind == "f")
    op = random.choice([ops.ArcTan2, ops.Hypot, ops.LogAddExp, ops.FMax, ops.FMin, ops.CopySign, ops.Heaviside,
                        ops.Remainder, ops.Fmod, ops.FloorDivide])
    return b.emit(op, x, y, accuracy=Accuracy(1, 12, 12))


@kind
def rounding(b: Builder, random: Random) -> Any:
    x = b.pick(lambda x: x.dtype.kind == "f" and b.accuracy[x].level == 0)
    if random.random() < 0.3:
        return b.emit(ops.LogicalXor, x, b.partner(x, 0, lambda y: not y.weak))
    if random.random() < 0.3:
        return b.emit(ops.Clip, x, random.choice([-1.0, 0.5]), b.partner(x, 0, lambda y: y.dtype.kind == "f"))
    return b.emit(random.choice([ops.Floor, ops.Ceil, ops.Trunc, ops.Rint, ops.IsFinite, ops.IsInf]), x)


@kind
def statistics(b: Builder, random: Random) -> Any:
    given = [*b.inputs, *b.states, *b.constants]
    x = b.pick(lambda x: x in given and x.dtype.kind == "f" and not x.weak and x.size > 0)
    axis = random.choice([None, *range(x.ndim)])
    if random.random() < 0.5:
        return b.emit(ops.Prod, x, axis=axis, keepdims=random.random() < 0.5, accuracy=Accuracy(1, 20, 20))
    return b.emit(random.choice([ops.Var, ops.Std]), x, True, axis=axis, ddof=0,
                  keepdims=random.random() < 0.5, accuracy=Accuracy(2, 20, 20))


@kind
def sign_and_square(b: Builder, random: Random) -> Any:
    if random.random() < 0.5:
        return b.emit(ops.Negative, b.pick(lambda x: x.dtype.kind in "fi"))
    x = b.pick(lambda x: x.dtype.kind in "fi" and b.accuracy[x].level < 2)
    a = b.accuracy[x]
    if random.random() < 0.5:
        return b.emit(ops.Square, x, accuracy=Accuracy(a.level, 2 * a.whole, 2 * a.part))
    p = random.choice([1, 2, 2.0, 3, 3.0, 0, 0.5, -1])
    if p in (0.5, -1):
        given = [*b.inputs, *b.states]
        x = b.pick(lambda x: x in given and x.dtype.kind == "f" and not x.weak)
        return b.emit(ops.Power, x, p, accuracy=Accuracy(1, 4, 4))
    return b.emit(ops.Power, x, p, accuracy=Accuracy(max(1, a.level), 3 * a.whole, 3 * a.part))


@kind
def extreme(b: Builder, random: Random) -> Any:
    x = b.floats()
    y = b.partner(x, suits=lambda y: y.dtype.kind == "f")
    return b.emit(random.choice([ops.Maximum, ops.Minimum]), *((x, y) if random.random() < 0.6 else (y, x)))


COMPARISONS = [ops.Less, ops.LessEqual, ops.Greater, ops.GreaterEqual, ops.Equal, ops.NotEqual]


@kind
def comparison(b: Builder, random: Random) -> Any:
    x = b.array(level=0)
    op = random.choice(COMPARISONS) if x.dtype.kind != "b" else random.choice([ops.Equal, ops.NotEqual])
    if random.random() < 0.2 and x.dtype.kind == "f":
        return b.emit(ops.IsNan, x)
    if random.random() < 0.2:
        return b.emit(ops.Sign, x) if x.dtype.kind != "b" else b.emit(ops.LogicalNot, x)
    return b.emit(op, x, b.partner(x, level=0, suits=lambda y: not y.weak))


@kind
def logic(b: Builder, random: Random) -> Any:
    if random.random() < 0.5:
        return b.emit(random.choice([ops.LogicalNot, ops.Invert]), b.pick(lambda x: x.dtype.kind == "b"))
    if random.random() < 0.4:
        x = b.array(level=0)
        y = b.partner(x, level=0, suits=lambda y: not y.weak)
        return b.emit(random.choice([ops.LogicalAnd, ops.LogicalOr]), x, y)
    x = b.pick(lambda x: x.dtype.kind == "b")
    y = b.pick(lambda y: y.dtype.kind == "b" and broadcasts(x.shape, y.shape))
    return b.emit(random.choice([ops.BitwiseAnd, ops.BitwiseOr, ops.BitwiseXor, ops.Add, ops.Multiply]), x, y)


@kind
def shift(b: Builder, random: Random) -> Any:
    x = b.pick(lambda x: x.dtype.kind == "i" and not x.weak)
    return b.emit(random.choice([ops.LeftShift, ops.RightShift]), x, random.randint(0, 3))


@kind
def selection(b: Builder, random: Random) -> Any:
    mask = b.pick(lambda x: b.accuracy[x].level == 0 and not x.weak and (x.dtype.kind == "b" or random.random() < 0.1))
    x = b.pick(lambda x: not x.weak and broadcasts(x.shape, mask.shape))
    if random.random() < 0.4:
        return b.emit(ops.Keep, x, mask)
    y = b.partner(x, suits=lambda y: broadcasts(x.shape, y.shape, mask.shape))
    return b.emit(ops.Where, mask, *((x, y) if random.random() < 0.6 else (y, x)))


@kind
def relu(b: Builder, random: Random) -> Any:
    x = b.pick(lambda x: x.dtype.kind == "f" and b.accuracy[x].level == 0 and not x.weak)
    c = random.choice([0, 0.0, 0.5])
    return b.emit(ops.Where, b.emit(random.choice(COMPARISONS), x, c), c, x)


@kind
def guard(b: Builder, random: Random) -> Any:
    """As backprop writes it below an op that selects, for one of the last things that an op made of g."""
    p = b.pick(lambda x: x.dtype.kind == "f" and not x.weak and any(x is i.output for i in b.instructions))
    made = next(i for i in b.instructions if i.output is p)
    g = random.choice([x for x in made.vars if x.dtype.kind == "f" and b.accuracy[x].level == 0 and not x.weak
                       and broadcasts(x.shape, p.shape)])
    return b.emit(ops.Where, b.emit(ops.BitwiseAnd, b.emit(ops.IsNan, p), b.emit(ops.Equal, g, 0)), 0, p)


@kind
def renaming(b: Builder, random: Random) -> Any:
    return b.emit(random.choice([ops.Identity, ops.StopGradient]), b.array())


@kind
def moving(b: Builder, random: Random) -> Any:
    x = b.array()
    axes = list(range(x.ndim))
    random.shuffle(axes)
    choice = random.randrange(6)
    if choice == 0:
        return b.emit(ops.Transpose, x, axes=random.choice([None, tuple(axes), tuple(a - x.ndim for a in axes)]))
    if choice == 1 and x.ndim:
        return b.emit(ops.SwapAxes, x, axis1=random.randrange(x.ndim), axis2=-1)
    if choice == 2:
        return b.emit(ops.ExpandDims, x, axis=random.randint(-1, x.ndim))
    if choice == 3:
        return b.emit(ops.Squeeze, x)
    if choice == 4:
        shape = random.choice([(-1,), tuple(x.shape[a] for a in axes), (1, *x.shape), (*x.shape, 1)])
        return b.emit(ops.Reshape, x, shape=shape)
    front = random.choice([(), (1,), (2,)])
    return b.emit(ops.BroadcastTo, x, shape=(*front, *[random.choice([1, 2, 0]) if n == 1 else n for n in x.shape]))


@kind
def casting(b: Builder, random: Random) -> Any:
    x = b.pick()
    dtype = random.choice([np.float32, np.float64, np.dtype("f8")])
    if x.dtype.kind != "f" and random.random() < 0.5:
        return b.emit(ops.CastToInteger, x, dtype=random.choice([np.int64, np.int32, bool]))
    return b.emit(ops.Cast, x, dtype=dtype)


@kind
def reduction(b: Builder, random: Random) -> Any:
    x = b.array()
    axes = [a for a in range(x.ndim) if random.random() < 0.6]
    op = random.choice([ops.Sum, ops.Sum, ops.Max, ops.Min, ops.Mean])
    axis = random.choice([None, tuple(axes), *[a - x.ndim for a in axes]])
    if op is not ops.Sum and not math.prod(x.shape[a] for a in (range(x.ndim) if axis is None else axes)):
        raise IndexError
    a, extra = b.accuracy[x], {}
    if op is ops.Sum and random.random() < 0.2 and x.dtype.kind != "f":
        extra["dtype"] = np.dtype("f8")
    level = 2 if a.level and op in (ops.Sum, ops.Mean) else max(a.level, 1) if op is ops.Mean else a.level
    accuracy = Accuracy(level, a.whole + 3, a.part + (3 if op is ops.Mean else 0))
    return b.emit(op, x, axis=axis, keepdims=random.random() < 0.5, accuracy=accuracy, **extra)


@kind
def matrices(b: Builder, random: Random) -> Any:
    def suits(x: Var) -> bool:
        return x.ndim > 0 and x.dtype.kind == "f" and b.accuracy[x].level < 2

    A = b.pick(suits)

    def fits(B: Var) -> bool:
        return suits(B) and broadcasts(A.shape[:-2], B.shape[:-2]) and A.shape[-1] == B.shape[max(B.ndim - 2, 0)]

    flip = [B for B in b.accuracy if B.ndim > 1 and suits(B) and A.shape[-1] == B.shape[-1]]
    if flip and random.random() < 0.5:
        B = b.emit(ops.SwapAxes, random.choice(flip), axis1=-1, axis2=-2)
        if not fits(B):
            raise IndexError
    else:
        B = b.pick(fits)
    a, other = b.accuracy[A], b.accuracy[B]
    accuracy = Accuracy(2 if a.level or other.level else 0, a.whole + other.whole + 3, a.part + other.part)
    C = b.emit(ops.MatMul, A, B, accuracy=accuracy)
    if C.ndim > 2 and random.random() < 0.7:
        return b.emit(ops.Sum, C, axis=tuple(range(C.ndim - 2)), keepdims=random.random() < 0.5)
    if C.ndim > 1 and random.random() < 0.5:
        return b.emit(ops.SwapAxes, C, axis1=-1, axis2=-2)
    return C


def basic_index(random: Random, shape: tuple[int, ...]) -> tuple[Any, ...]:
    parts: list[Any] = []
    for n in shape[:random.randint(0, len(shape))]:
        bounds = [None, *range(-n, n + 1)]
        steps = [None, 1, 2, -1, -2]
        some = slice(random.choice(bounds), random.choice(bounds), random.choice(steps))
        parts.append(random.choice([some, some, slice(None), *([random.randrange(-n, n)] if n else [])]))
    for extra in (None, Ellipsis):
        if random.random() < 0.3:
            parts.insert(random.randint(0, len(parts)), extra)
    return tuple(parts)


@kind
def indexing(b: Builder, random: Random) -> Any:
    x = b.array()
    index: tuple[Any, ...] = basic_index(random, x.shape)
    arrays: list[Any] = []
    if x.ndim and x.shape[0] and random.random() < 0.3:
        rows = np.array([random.randrange(x.shape[0]) for _ in range(random.randint(1, 3))])
        b.constants[var := Var(rows.shape, rows.dtype)] = rows
        b.accuracy[var] = Accuracy()
        arrays, index = [var], random.choice([(ARRAY,), (ARRAY, Ellipsis), (True, ARRAY)])
    filled = tuple(b.constants[arrays[0]] if part is ARRAY else part for part in index)
    part = np.zeros(x.shape)[filled]
    if random.random() < 0.5:
        taken = b.made(ops.Index, (x, *arrays), {"index": index}, part.shape)
        if random.random() < 0.6:
            return taken
        return b.made(ops.ScatterAdd, (taken, *arrays), {"shape": x.shape, "index": index}, x.shape)
    y = b.pick(lambda y: y.shape == part.shape and not y.weak and y.dtype.kind in "fi")
    a = b.accuracy[y]
    accuracy = Accuracy(2 if a.level and arrays else a.level, a.whole + 2, a.part)
    b.accuracy[made := b.made(ops.ScatterAdd, (y, *arrays), {"shape": x.shape, "index": index}, x.shape)] = accuracy
    return made


@kind
def joining(b: Builder, random: Random) -> Any:
    x = b.pick(lambda x: x.ndim > 0 and not x.weak)
    axis = random.randrange(x.ndim)
    ys = [y for y in b.accuracy if y.ndim == x.ndim and y.dtype.kind == x.dtype.kind and all(
        a == c for k, (a, c) in enumerate(zip(x.shape, y.shape, strict=True)) if k != axis)]
    if random.random() < 0.3:
        return b.emit(ops.Pad, x, width=tuple((random.randint(0, 1), random.randint(0, 1)) for _ in x.shape))
    return b.emit(ops.Concatenate, *[random.choice(ys) for _ in range(random.randint(1, 3))],
                  axis=axis - random.choice([0, x.ndim]))


@kind
def windows(b: Builder, random: Random) -> Any:
    x = b.pick(lambda x: x.ndim > 1 and min(x.shape[-2:]) > 0 and not x.weak)
    shape = tuple(random.randint(1, n) for n in x.shape[-2:])
    stride = (random.randint(1, 2), random.randint(1, 2))
    size = tuple((n - k) // s + 1 for n, k, s in zip(x.shape[-2:], shape, stride, strict=True))
    shown = b.made(ops.Windows, (x,), {"shape": shape, "stride": stride}, (*x.shape[:-2], *size, *shape))
    if random.random() < 0.5 or x.dtype.kind == "b":
        return shown
    a = b.accuracy[x]
    folded = b.made(ops.FoldWindows, (shown,), {"shape": x.shape[-2:], "stride": stride}, x.shape)
    b.accuracy[folded] = Accuracy(2 if a.level else 0, a.whole + 3, a.part)
    return folded


@st.composite
def programs(draw: Any, kinds: Sequence[Kind] = KINDS, n_diagonals: int = 0) -> Program:
    b = Builder(draw(st.integers(0, 2**20)))
    for k in range(n_diagonals):  # as the units that the rows of a Jacobian start from
        array = np.eye(*b.random.choice([(4, 4), (4, 3), (5, 4)]), b.random.randint(-1, 1))
        array = np.transpose([array, -2 * array], (1, 2, 0)).copy() if b.random.random() < 0.3 else array
        array = array.astype(bool) if k % 2 else array
        b.accuracy[var := Var(array.shape, array.dtype)] = Accuracy()
        b.constants[var] = array
        b.enter(b.inputs, Var(b.random.choice([array.shape, array.shape[1:]]), np.dtype(float)))
    for step, seed in draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 2**20)), min_size=1, max_size=14)):
        b.random = Random(seed)
        try:
            step(b, b.random)
        except IndexError:  # nothing there that fits
            continue
    return b.program(draw(st.integers(1, 3)))


def values_for(program: Program, seed: int) -> tuple[list[Any], list[np.ndarray]]:
    random = Random(seed)

    def value(x: Var) -> Any:
        array = some_array(random, x.shape, x.dtype)
        return array.item() if x.weak else array
    return [value(x) for x in program.inputs], [value(x) for x in program.states]


# ------------------------------------------------------------------------------------------------- what is the same

def run(program: Program, inputs: list[Any], states: list[np.ndarray]) -> tuple[list[Any], float]:
    """The results, with the largest finite number met on the way; each variable must be what it says it is, and be
    written once, before it is read."""
    known = {*program.inputs, *program.states, *program.constants}
    for x, array in program.constants.items():
        assert (array.shape, array.dtype) == (x.shape, x.dtype)
    largest = 1.0

    def step(i: Instruction, arguments: list[Any]) -> Any:
        nonlocal largest
        assert known.issuperset(i.vars), f"{i} reads what is not there"
        assert i.output not in known, f"{i} writes what is there"
        known.add(i.output)
        result = evaluated(i, arguments)
        if i.op is ops.MatMul and not all(np.isfinite(x).all() for x in arguments):  # BLAS may skip NaN times 0
            result = product(*(np.asarray(x, result.dtype) for x in arguments))
        assert np.shape(result) == i.output.shape, i
        assert np.asarray(result).dtype == i.output.dtype, i
        assert i.output.weak == (type(result) in (int, float, bool)), i
        finite = np.abs(np.asarray(result, float)[np.isfinite(np.asarray(result, float))])
        largest = max(largest, finite.max(initial=0))
        return result

    with np.errstate(all="ignore"):
        outputs, updates = program.call(inputs, states, step)
    return [*outputs, *updates], float(largest)


def assert_same(before: Program, after: Program, inputs: list[Any], states: list[np.ndarray],
                exactly: bool = False) -> None:
    assert after.inputs == before.inputs
    assert after.states == before.states
    assert [state for state, _ in after.updates] == [state for state, _ in before.updates]
    expected, largest = run(before, inputs, states)
    got, _ = run(after, inputs, states)
    coarse = any(x.dtype.kind == "f" and x.dtype.itemsize < 8 for x in before.variables())
    tolerance = 0 if exactly else largest * (1e-5 if coarse else 1e-12)
    for a, b, x, y in zip(expected, got, before.results, after.results, strict=True):
        assert (x.shape, x.dtype, x.weak) == (y.shape, y.dtype, y.weak)
        assert type(a) is type(b) or not x.weak
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance if x.dtype.kind == "f" else 0, equal_nan=True)
        if exactly and x.dtype.kind == "f":
            nan = np.isnan(a)
            assert np.array_equal(np.signbit(a)[~nan], np.signbit(b)[~nan])


EXACT = {drop_dead, merge_equal}


@pytest.mark.parametrize("improve", PASSES, ids=lambda improve: improve.__name__)
@given(program=programs(), seed=st.integers(0, 2**20))
def test_a_pass_keeps_what_a_random_program_computes(improve, program, seed):
    assert_same(program, improve(program), *values_for(program, seed), exactly=improve in EXACT)


@settings(max_examples=6 * settings.default.max_examples)
@given(program=programs(), seed=st.integers(0, 2**20))
def test_all_passes_keep_what_a_random_program_computes(program, seed):
    after = optimized(program)
    assert_same(program, after, *values_for(program, seed))
    assert_canonical(after)
    assert optimized(after) is after, "nothing more to do"


DIAGONAL = [*4 * [linear], multiplication, smooth, sign_and_square, comparison, logic, *3 * [selection],
            guard, moving, casting, *2 * [indexing]]


@settings(max_examples=6 * settings.default.max_examples)
@given(program=programs(DIAGONAL, n_diagonals=4), seed=st.integers(0, 2**20))
def test_zeros_may_be_skipped(program, seed):
    start = drop_guards(canonical(program))
    with patch.object(sparsity, "LARGE", 8):
        after = skip_zeros(start, gain=0)
        assert_same(start, after, *values_for(program, seed))
        assert_same(program, optimized(after), *values_for(program, seed))


GONE = {ops.Identity, ops.StopGradient, tg.recording.Variable, ops.ExpandDims, ops.Squeeze, ops.SwapAxes, ops.Mean,
        ops.Square, ops.LogicalAnd, ops.LogicalOr, ops.CastToInteger}


def assert_canonical(program: Program) -> None:
    """The forms that targets meet."""
    for i in program.instructions:
        x, options = i.inputs[0], i.options
        assert i.op not in GONE, i
        assert any(isinstance(y, Var) for y in i.inputs), i
        if not issubclass(i.op, Elementwise) and i.op is not ops.Cast:
            assert all(isinstance(y, Var) and not y.weak for y in i.inputs), i
        if i.op in (ops.Reshape, ops.BroadcastTo):
            assert options == {"shape": i.output.shape}, i
            assert x.shape != i.output.shape, i
        if i.op is ops.BroadcastTo:
            assert x.size != i.output.size, i
        if i.op is ops.Transpose:
            assert sorted(options["axes"]) == list(range(x.ndim)), i
        if i.op in (ops.Index, ops.ScatterAdd):
            assert not any(isinstance(part, bool) for part in options["index"]), i
        if i.op in (ops.Index, ops.ScatterAdd) and len(i.inputs) == 1:
            shape = x.shape if i.op is ops.Index else i.output.shape
            assert len(options["index"]) == len(shape), i
            for part in options["index"]:
                assert type(part.start) is type(part.step) is int, i
                assert part.stop is not None or part.step < 0, i
        if i.op in (ops.Sum, ops.Max, ops.Min):
            assert x.dtype == i.output.dtype, i
            assert set(options) == {"axis", "keepdims"}, i
            assert options["axis"] == tuple(sorted(options["axis"])), i
            assert options["axis"], i
        if i.op is ops.MatMul:
            assert min(y.ndim for y in i.inputs) > 1, i
            assert {y.dtype for y in i.inputs} == {i.output.dtype}, i
        if i.op in (ops.Keep, ops.Where):
            assert i.inputs[1 if i.op is ops.Keep else 0].dtype == bool, i
        if i.op is ops.LogicalNot:
            assert x.dtype == bool, i
        if i.op is ops.Cast:
            assert i.output.dtype != bool, i
            assert x.weak or x.dtype != i.output.dtype, i
        if i.op is ops.Concatenate:
            assert len(i.inputs) > 1, i
            assert 0 <= options["axis"] < i.output.ndim, i


def test_random_programs_have_every_op():
    seen: set[Any] = set()

    @settings(database=None, max_examples=1000)
    @given(programs())
    def look(program):
        seen.update(i.op for i in program.instructions)

    look()
    known = {*CANONICAL.table, *SIMPLE.table, *NATIVE} & {getattr(ops, name) for name in ops.__all__}
    assert known - seen <= {ops.InRange, ops.Conjugate, ops.Real}
    assert len(seen & {*FORMULAS}) > 30


# -------------------------------------------------------------------------------------------------- programs of people

def traced(f: Callable[..., Any], *args: Any) -> Program:
    return tg.compile(f, target="numpy").trace(*args)


def assert_improved(f: Callable[..., Any], *args: Any, seeds: int = 8) -> Program:
    """The optimized program of f, the same at the arguments and, in the place of floats, at NaN and zeros."""
    before = traced(f, *args)
    after = optimized(before)
    assert_canonical(after)
    inputs = [x if var.weak else np.asarray(x) for x, var in zip(args, before.inputs, strict=True)]
    states = [np.random.default_rng(0).normal(size=x.shape).astype(x.dtype) for x in before.states]
    assert_same(before, after, inputs, states)
    for seed in range(seeds):
        others = values_for(before, seed)[0]
        assert_same(before, after, [y if np.asarray(x).dtype.kind == "f" else x
                                    for x, y in zip(inputs, others, strict=True)], states)
    return after


def counted(program: Program) -> dict[str, int]:
    """How many instructions of each op a program has."""
    counts = Counter(i.op.__name__ for i in program.instructions)
    return {name: n for name, n in counts.items() if name not in ("Reshape", "Transpose")}


def layer_norm_net(x: Any, W: Any, V: Any) -> Any:
    return np.sum(ops.GELU(ops.LayerNorm(x, V[0], V[1])) @ W)


def images(x: Any, W: Any) -> Any:
    return np.sum(ops.MaxPool2D(ops.ReLU(ops.Conv2D(x, W, padding=1)), size=2) ** 2)


def attention(q: Any, k: Any, v: Any) -> Any:
    mask = np.triu(np.ones((3, 3), bool), 1)
    return np.sum(np.tanh(ops.Softmax(np.where(mask, -np.inf, q @ np.swapaxes(k, -1, -2) * 0.5)) @ v))


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def branches(x: Any) -> Any:
    return np.sum(np.where(x > 0, np.sqrt(x) * np.log(x), x * x) + np.maximum(x, 1 / x))


def classifier(W: Any, b: Any, x: Any) -> Any:
    return ops.LogSoftmaxNLL(ops.AddBias(W @ ops.ReLU(x), b), np.array([0, 1, 1, 0]), axis=0)


RNG = np.random.default_rng(0)
REAL: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "layer norm": (tg.grad(layer_norm_net, (0, 1, 2)), (RNG.normal(size=(2, 3, 4)), RNG.normal(size=(4, 2)),
                                                        RNG.normal(size=(2, 4)))),
    "convolution": (tg.grad(images, (0, 1)), (RNG.normal(size=(2, 2, 4, 4)), RNG.normal(size=(3, 2, 3, 3)))),
    "attention": (tg.grad(attention, (0, 1, 2)), tuple(RNG.normal(size=(3, 2, 3, 2)))),
    "rosenbrock hessian": (tg.hessian(rosenbrock), (RNG.normal(size=5),)),
    "branches": (tg.grad(branches), (np.array([-1.0, 0.0, 4.0, 0.5]),)),
    "branches twice": (tg.hvp(branches), (np.array([-1.0, 2.0, 4.0]), np.array([1.0, 2.0, -1.0]))),
    "classifier": (tg.value_and_grad(classifier, (0, 1)), (RNG.normal(size=(2, 3)), np.zeros((2, 1)),
                                                           RNG.normal(size=(3, 4)))),
    "classifier twice": (lambda W, b, x, v: tg.hvp(lambda W: classifier(W, b, x))(W, v),
                         (RNG.normal(size=(2, 3)), np.zeros((2, 1)), RNG.normal(size=(3, 4)), np.ones((2, 3)))),
}


@pytest.mark.parametrize("name", REAL)
def test_what_people_write(name):
    f, args = REAL[name]
    with np.errstate(all="ignore"):
        assert_improved(f, *args, seeds=0)


def test_a_training_step():
    W1, b1 = tg.Parameter(RNG.normal(size=(5, 2)), "W1"), tg.Parameter(np.zeros((5, 1)), "b1")
    W2, b2 = tg.Parameter(RNG.normal(size=(2, 5)), "W2"), tg.Parameter(np.zeros((2, 1)), "b2")

    def step(X: Any, t: Any, rate: Any) -> Any:
        hidden = ops.ReLU(ops.AddBias(W1 @ X, b1))
        loss = ops.LogSoftmaxNLL(ops.AddBias(W2 @ hidden, b2), t, axis=0)
        loss.backprop()
        for p in (W1, b1, W2, b2):
            p.value = p.value - rate * p.grad
        return loss

    after = assert_improved(step, RNG.normal(size=(2, 4)), np.array([0, 1, 1, 0]), 0.1, seeds=0)
    assert counted(after) == {"MatMul": 5, "Add": 2, "Maximum": 1, "InRange": 1, "Equal": 1, "Max": 1, "Subtract": 7,
                              "Keep": 2, "Sum": 5, "Exp": 1, "Log": 1, "Divide": 1, "Multiply": 6, "Greater": 1}
    assert {"Z1", "A1", "Z2", "dZ2", "dW2", "dA1", "dZ1", "dW1", "loss"} <= {i.output.name for i in after.instructions}


# ------------------------------------------------------------------------------------------------------ rule by rule

X, Y = np.array([[1.5, -2.0, 0.5], [0.0, 3.0, -0.25]]), np.array([[2.0, 0.0, -1.0], [4.0, -0.5, 1.0]])
HALF, BATCH = X.astype(np.float32), np.arange(24.0).reshape(2, 3, 4)
TRUTH = np.array([[True, False, True], [False, False, True]])

RULES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, int]]] = {
    "double negation": (lambda x: np.negative(-x), (X,), {}),
    "times 1": (lambda x: 1 * x, (X,), {}),
    "over 1": (lambda x: x / 1.0, (X,), {}),
    "minus 0": (lambda x: x - 0.0, (X,), {}),
    "minus -0, which makes 0 of -0": (lambda x: x - -0.0, (X,), {"Subtract": 1}),
    "plus 0, which makes 0 of -0": (lambda x: x + 0.0, (X,), {"Add": 1}),
    "plus -0": (lambda x: -0.0 + x, (X,), {}),
    "times -1": (lambda x: x * -1, (X,), {"Negative": 1}),
    "over -1": (lambda x: x / -1, (X,), {"Negative": 1}),
    "factors": (lambda x: 3 * x * 0.2 / 0.3, (X,), {"Multiply": 1}),
    "divisors": (lambda x: x / 3 / 7, (X,), {"Divide": 1}),
    "factors of a reciprocal": (lambda x: 3 / x * 5, (X,), {"Divide": 1}),
    "factors that cancel": (lambda x: x * 4 / 4, (X,), {}),
    "factors that overflow": (lambda x: x * 1e200 * 1e-200, (X,), {"Multiply": 2}),
    "over a power of 2": (lambda x: x / 8, (X,), {"Multiply": 1}),
    "over 0": (lambda x: x / 0.0 * 2, (X,), {"Divide": 1, "Multiply": 1}),
    "the sign of a product": (lambda x, y: -(-x * y), (X, Y), {"Multiply": 1}),
    "the sign of a quotient": (lambda x, y: (-x) / (-y), (X, Y), {"Divide": 1}),
    "the sign of a small factor": (lambda x, y: -x[0] * y, (X, Y), {"Index": 1, "Negative": 1, "Multiply": 1}),
    "plus a negative": (lambda x, y: -x + y, (X, Y), {"Subtract": 1}),
    "minus a negative": (lambda x, y: x - (-y), (X, Y), {"Add": 1}),
    "a difference negated": (lambda x, y: -(x - y), (X, Y), {"Subtract": 1}),
    "square": (lambda x: np.square(x), (X,), {"Multiply": 1}),
    "to the 2": (lambda x: x**2, (X,), {"Multiply": 1}),
    "to the 3": (lambda x: x**3.0, (X,), {"Multiply": 2}),
    "to the 1": (lambda x: x**1, (X,), {}),
    "to the 1/2": (lambda x: x**0.5, (X,), {"Sqrt": 1}),
    "to another power": (lambda x: x**0.7, (X,), {"Power": 1}),
    "mean": (lambda x: np.mean(x, axis=1), (X,), {"Sum": 1, "Divide": 1}),
    "mean of all": (lambda x: np.mean(x), (HALF,), {"Sum": 1, "Divide": 1}),
    "sum of a sum": (lambda x: np.sum(np.sum(x, axis=1), axis=0), (BATCH,), {"Sum": 1}),
    "max of a max": (lambda x: np.max(np.max(x, axis=0, keepdims=True), axis=(0, 2)), (BATCH,), {"Max": 1}),
    "sum of one": (lambda x: np.sum(x[:, :1], axis=1), (X,), {"Index": 1}),
    "sum of what is repeated": (lambda x: np.sum(np.broadcast_to(x, (5, 2, 3)), axis=0), (X,), {"Multiply": 1}),
    "max of what is repeated": (lambda x: np.max(np.broadcast_to(x, (5, 2, 3)), axis=(0, 1)), (X,), {"Max": 1}),
    "sum of a negative": (lambda x, y: y[0] + np.sum(-x, axis=0), (X, Y), {"Index": 1, "Sum": 1, "Subtract": 1}),
    "sum of a transpose": (lambda x: np.sum(x.T, axis=0), (X,), {"Sum": 1}),
    "sum of a permutation": (lambda x: np.sum(np.transpose(x[..., None] * np.arange(5), (2, 3, 0, 1)), axis=0),
                             (BATCH,), {"Sum": 1, "Multiply": 1}),
    "sum that is needed for itself, too": (lambda x: (s := np.sum(x, axis=0), np.sum(s)), (X,), {"Sum": 2}),
    "sum with an axis kept by hand": (lambda x: np.sum(x, axis=1).reshape(2, 1), (X,), {"Sum": 1}),
    "what broadcasting does anyway": (lambda x, y: np.broadcast_to(x[0], (2, 3)) + y, (X, Y), {"Index": 1, "Add": 1}),
    "what is repeated, computed once": (lambda x: np.exp(np.broadcast_to(x, (4, 2, 3))), (X,),
                                        {"Exp": 1, "BroadcastTo": 1}),
    "to the same dtype": (lambda x: x.astype(np.float64), (X,), {}),
    "there and back": (lambda x: x.astype(np.float64).astype(np.float32), (HALF,), {}),
    "rounded and back": (lambda n: n.astype(float).astype(np.int64), (np.array([2**53 + 1]),), {"Cast": 2}),
    "narrower and back": (lambda x: x.astype(np.float32).astype(np.float64), (X,), {"Cast": 2}),
    "not not": (lambda m: ~np.logical_not(m), (TRUTH,), {}),
    "not equal": (lambda x, y: np.logical_not(x == y), (X, Y), {"NotEqual": 1}),
    "not less, unlike greater or equal": (lambda x, y: np.logical_not(x < y), (X, Y), {"Less": 1, "LogicalNot": 1}),
    "not less, of integers": (lambda x, y: ~(x < y), (X.astype(int), Y.astype(int)), {"GreaterEqual": 1}),
    "and or or with what is known": (lambda m: (m & np.array(True)) | (m & np.zeros(3, bool)), (TRUTH,), {}),
    "or with what is true": (lambda m, x: np.where(m | np.ones(3, bool), x, 0), (TRUTH, X), {}),
    "a mask as a number": (lambda m: m.astype(float) != 0, (TRUTH,), {}),
    "relu": (lambda x: ops.ReLU(x), (X,), {"Maximum": 1}),
    "relu, downwards": (lambda x: np.where(x >= 1, 1, x), (X,), {"Minimum": 1}),
    "no relu": (lambda x: np.where(x <= 0, 0.5, x), (X,), {"LessEqual": 1, "Where": 1}),
    "where or 0": (lambda m, x: np.where(m, x, 0), (TRUTH, X), {"Keep": 1}),
    "where or false": (lambda m, x: np.where(m, x > 0, False), (TRUTH, X), {"Greater": 1, "BitwiseAnd": 1}),
    "where not": (lambda m, x, y: np.where(~m, x, y), (TRUTH, X, Y), {"Where": 1}),
    "where all": (lambda x, y: np.where(np.ones(3, bool), x, y), (X, Y), {}),
    "where none": (lambda x, y: np.where(np.zeros((), bool), x, y), (X, Y), {}),
    "where one of the same": (lambda m, x: np.where(m, x, x), (TRUTH, X), {}),
    "keep twice": (lambda m, x: np.where(m, np.where(m, x, 0), 0), (TRUTH, X), {"Keep": 1}),
    "keep here, then there": (lambda m, x: np.where(m, np.where(x > 0, x, 0), 0), (TRUTH, X),
                              {"Greater": 1, "Keep": 2}),
    "keep all": (lambda x: ops.Keep.apply(x, np.ones((2, 3), bool)), (X,), {}),
    "keep nothing": (lambda x: ops.Keep.apply(x, np.zeros(3, bool)), (X,), {}),
    "keep ones": (lambda m: np.where(m, np.ones((2, 3)), 0), (TRUTH,), {"Cast": 1}),
    "permuted twice": (lambda x: np.transpose(np.transpose(x, (1, 2, 0)), (1, 0, 2)) + 1, (BATCH,), {"Add": 1}),
    "product transposed": (lambda x, y: (x @ y.T).T, (X, Y), {"MatMul": 1}),
    "product needed for itself, too": (lambda x, y: (z := (x @ y.T) * 1).T * z, (X, Y), {"MatMul": 1, "Multiply": 1}),
    "sum of products with one matrix": (lambda x, y: np.sum(np.swapaxes(x, 1, 2) @ y, axis=0), (BATCH[:1], BATCH),
                                        {"MatMul": 1, "Sum": 1}),
    "outer product": (lambda x, y: x[0][:, None] @ y[:1], (X, Y), {"Index": 2, "Multiply": 1}),
    "inner product": (lambda x, y: x[0] @ y[0], (X, Y), {"Index": 2, "MatMul": 1}),
    "product of what is repeated": (lambda x, y: np.broadcast_to(x, (2, 2, 3)) @ np.swapaxes(y, 1, 2),
                                    (X, np.stack([Y, X])), {"MatMul": 1}),
    "an index of an index": (lambda x: x[:, ::-1][0][1:], (X,), {"Index": 1}),
    "everything": (lambda x: x[..., :, None][:, :, 0], (X,), {}),
    "a sign compared with 0": (lambda x: -x == 0, (X,), {"Equal": 1}),
    "mean of half precision": (lambda x: np.mean(x), (np.full((3, 3), 60_000, np.float16),),
                               {"Cast": 2, "Sum": 1, "Divide": 1}),
    "everything backwards": (tg.grad(lambda x: np.sum(x[:, ::-1] ** 2 * np.arange(3.0))), (X,),
                             {"Index": 1, "Multiply": 1, "ScatterAdd": 1}),
    "added here, taken there": (lambda x: ops.ScatterAdd.apply(x, shape=(4, 3), index=(slice(0, 2),))[1:3], (X,),
                                {"ScatterAdd": 1, "Index": 1}),
    "added here, taken here": (lambda x: ops.ScatterAdd.apply(x, shape=(4, 3), index=(slice(1, 3),))[1:3], (X,), {}),
    "pieces on top of each other": (lambda x: ops.ScatterAdd.apply(x, shape=(4, 3), index=(slice(0, 2),))
                                    + ops.ScatterAdd.apply(-x, shape=(4, 3), index=(slice(0, 2),)), (X,),
                                    {"Negative": 1, "ScatterAdd": 2, "Add": 1}),
    "pieces with gaps": (lambda x: ops.ScatterAdd.apply(x, shape=(4, 3), index=(slice(0, 3, 2),))
                         + ops.ScatterAdd.apply(x, shape=(4, 3), index=(slice(2, 4),)), (X,),
                         {"ScatterAdd": 2, "Add": 1}),
    "pieces side by side": (tg.grad(lambda x: np.sum(x[:, 1:] ** 2) + np.sum(x[:, 0] ** 3)), (X,), {
        "Index": 2, "Multiply": 3, "Concatenate": 1}),
    "in either order": (lambda x, y: x * y + y * x, (X, Y), {"Multiply": 1, "Add": 1}),
    "not in either order": (lambda x, y: (x - y) * (y - x), (X, Y), {"Subtract": 2, "Multiply": 1}),
    "0 is not -0": (lambda m, x, y: np.where(m, -0.0, x) / np.where(m, 0.0, x), (TRUTH, X, Y),
                    {"Where": 2, "Divide": 1}),
    "equal constants": (lambda x: x * np.arange(3) - x * np.array([0, 1, 2]), (X,), {"Multiply": 1, "Subtract": 1}),
    "constants of two zeros": (lambda x: x / np.array([0.0, -0.0, 0.0]), (X,), {"Divide": 1}),
    "constants of one value": (lambda x: x * np.full((2, 3), 2.0) * np.float64(4), (X,), {"Multiply": 1}),
    "a constant that widens": (lambda x: x * np.float64(4), (HALF,), {"Multiply": 1}),
    "windows of one entry": (lambda x: ops.Windows.apply(x, shape=(1, 1), stride=(1, 1)), (X,), {}),
    "one array joined": (lambda x: np.concatenate([x, x[:0]]), (X,), {}),
    "nothing around it": (lambda x: np.pad(x, 0), (X,), {}),
}


@pytest.mark.parametrize("name", RULES)
def test_rules(name):
    f, args, expected = RULES[name]
    with np.errstate(all="ignore"):
        assert counted(assert_improved(f, *args)) == expected


def test_products_of_many_samples_are_one_product():
    x, W = BATCH, np.ones((4, 5))
    after = assert_improved(tg.grad(lambda x, W: np.sum(np.tanh(x @ W)), (0, 1)), x, W)
    products = [i for i in after.instructions if i.op is ops.MatMul]
    assert [i.output.shape for i in products] == [(6, 5), (6, 4), (4, 5)]


# ------------------------------------------------------------------------------------------------------- numbers, types

def test_numbers_stay_weak():
    after = assert_improved(lambda x, rate: (x * rate, rate * 2 - 1, x * (rate + 1)), HALF, 0.5)
    assert [(x.dtype.name, x.weak) for x in after.outputs] == [("float32", False), ("float64", True),
                                                               ("float32", False)]


def test_a_number_becomes_an_array_where_numpy_makes_it_one():
    after = assert_improved(lambda x, rate: x * np.reshape(rate, ()), HALF, 0.5)
    assert counted(after) == {"Cast": 1, "Multiply": 1}
    assert after.outputs[0].dtype == np.float64


def test_a_comparison_with_a_wider_constant_stays_wide():
    after = assert_improved(lambda x: x < np.float64(0.1), np.full(3, 0.1, np.float32))
    assert [x.dtype for x in after.constants] == [np.float64]


def test_a_result_may_be_what_came_in():
    before = traced(lambda x: x.reshape(2, 3) * 1, X)
    after = optimized(before)
    assert after.outputs == after.inputs
    assert not after.instructions


# ------------------------------------------------------------------------------------------------------------ constants

def of_constant(op: type[Op], array: np.ndarray, output: Var, **options: Any) -> Program:
    """A program that applies an op to a constant."""
    x = Var(array.shape, array.dtype)
    return Program("of_constant", (), (), {x: array}, (Instruction(op, (x,), options, output),), (output,))


def test_constants_are_folded():
    after = optimized(of_constant(ops.Exp, X, Var(X.shape, X.dtype)))
    assert not after.instructions
    np.testing.assert_array_equal(after.run([])[0][0], np.exp(X))


def test_large_constants_are_not_made_of_small_ones():
    after = optimized(of_constant(ops.BroadcastTo, X, Var((1000, 2, 3), X.dtype), shape=(1000, 2, 3)))
    assert counted(after) == {"BroadcastTo": 1}


def test_a_label_out_of_range_is_an_error_of_the_call():
    after = optimized(of_constant(ops.InRange, np.array([0, 3]), Var((2,), np.dtype(int)), n=2))
    with pytest.raises(ValueError, match="labels must lie"):
        after.run([])


def test_what_is_not_needed_goes():
    x, unused = Var((2,), np.dtype(float)), Var((2,), np.dtype(float))
    dead = Instruction(ops.Exp, (x,), {}, Var((2,), np.dtype(float)))
    after = drop_dead(Program("program", (x,), (), {unused: np.zeros(2)}, (dead,), (x,)))
    assert not after.instructions
    assert not after.constants


# ------------------------------------------------------------------------------------------------------- known zeros

def test_a_banded_hessian_is_computed_along_its_band():
    x = RNG.normal(size=40)
    after = assert_improved(tg.hessian(rosenbrock), x, seeds=0)
    sizes = [i.output.size for i in after.instructions if i.op is not ops.Reshape]
    assert sizes.count(1600) == 1, "the zeros of the result"
    assert sum(sizes) < 1600 + 25 * 120
    assert optimized(after) is after


EYE, UPPER, HALF_EYE = np.eye(24, dtype=bool), np.eye(24, k=1, dtype=bool), np.diag(np.arange(24) % 2 == 0)
CUBE = np.equal.outer(np.arange(12), np.add.outer(np.arange(12), np.arange(12)))
SQUARE, BOX = RNG.normal(size=(24, 24)), RNG.normal(size=(12, 12, 12))

# Functions of an array, and the size of the largest array that is computed besides the result; or None if nothing is
# known of zeros.
ZEROS: dict[str, tuple[Callable[[Any], Any], np.ndarray, int | None]] = {
    "along a diagonal": (lambda x: np.where(EYE, np.sin(x) * 2, 0), SQUARE, 24),
    "along two": (lambda x: np.where(EYE, x, 0) - np.where(UPPER, x * x, 0), SQUARE, 47),
    "where two meet": (lambda x: np.where(np.where(HALF_EYE, x, 0) != 0, np.where(EYE, x, 0), 0), SQUARE, 24),
    "where some of one are in the other": (
        lambda x: ops.Keep.apply(np.where(EYE, x, 0), np.where(HALF_EYE, x, 0) != 0), SQUARE, 24),
    "of a row": (lambda x: np.where(UPPER, x[0] * x[:, 1:2], 0), SQUARE, 23),
    "of one number": (lambda x: np.where(EYE, x[:1, :1] * 3, 0), SQUARE, 24),
    "of a permutation": (lambda x: np.where(CUBE, np.transpose(x * 2, (1, 2, 0)), 0), BOX, 78),
    "of every other": (lambda x: np.where(EYE, (x * 2)[:, ::2][::-1, ::-1], 0), np.hstack([SQUARE, SQUARE]), 24),
    "in another order": (lambda x: -np.transpose(np.where(CUBE, x, 0), (1, 2, 0)), BOX, 78),
    "taken out": (lambda x: 2 * np.where(EYE, x, 0)[::-1, :23], SQUARE, 24),
    "put in": (lambda x: 2 * ops.ScatterAdd.apply(np.where(EYE, x, 0), shape=(24, 48), index=np.s_[:, 1::2]), SQUARE,
               24),
    "put in and taken out": (lambda x: 2 * ops.ScatterAdd.apply(np.where(EYE, x, 0), shape=(24, 96),
                                                                index=np.s_[:, ::4])[:, 3::3], SQUARE, 7),
    "over 0": (lambda x: np.where(EYE, x, 0) / 0.0, SQUARE, None),
    "times infinity": (lambda x: np.where(EYE, x, 0) * np.inf, SQUARE, None),
    "not more than 0": (lambda x: np.where(EYE, x, 0) <= 0, SQUARE, None),
    "a constant times what may be infinite": (lambda x: np.eye(24) * x, SQUARE, None),
}


@pytest.mark.parametrize("name", ZEROS)
def test_where_zeros_are_known(name):
    f, x, largest = ZEROS[name]
    with np.errstate(all="ignore"):
        before = drop_dead(simplify(canonical(traced(f, x))))
        after = drop_dead(fold_constants(simplify(skip_zeros(before, gain=0))))
    for seed in range(4):
        assert_same(before, after, *values_for(before, seed))
    assert_same(before, after, [x], [])
    computed = [i.output.size for i in after.instructions if i.op not in (ops.Reshape, ops.Transpose)]
    if largest is None:
        assert after.instructions[-1].op not in (ops.ScatterAdd, ops.Reshape)
    else:
        assert sorted(computed)[-2:] == [largest, after.outputs[0].size]


def test_zeros_for_a_single_op_are_not_worth_it():
    before = traced(lambda x: np.where(np.eye(40, dtype=bool), x, 0), np.ones((40, 40)))
    assert counted(optimized(before)) == {"Keep": 1}


# ----------------------------------------------------------------------------------------------------------- NaN guards

SPECIAL = np.array([-1.0, 0.0, -0.0, 4.0, np.inf, -np.inf, np.nan, 1.0])

# What is left of a gradient's guards: nothing where no NaN can be made of a gradient 0, a Keep where it can.
GUARDED: dict[str, tuple[Callable[[Any], Any], dict[str, int]]] = {
    "sign, factor, divisor, sum": (lambda x: np.where(x > 0, (-3 * x + x) / 7, 0), {"Greater": 1, "Keep": 1}),
    "square": (lambda x: np.where(x > 0, x * x, 0), {"Greater": 1, "Keep": 2, "Add": 1}),
    "logarithm": (lambda x: np.where(x > 0, np.log(x), 0), {"Greater": 1, "Cast": 1, "Divide": 1, "Keep": 1}),
    "root": (lambda x: np.where(x > 0, np.sqrt(x), 0),
             {"Greater": 1, "Sqrt": 1, "Cast": 1, "Multiply": 1, "Divide": 1, "Keep": 1}),
}


@pytest.mark.parametrize("name", GUARDED)
def test_guards_are_dropped_or_short(name):
    f, _ = GUARDED[name]
    with np.errstate(all="ignore"):
        before = traced(tg.grad(lambda x: np.sum(f(x))), SPECIAL)
        after = assert_improved(tg.grad(lambda x: np.sum(f(x))), SPECIAL)
        assert "IsNan" in counted(before)
        assert "IsNan" not in counted(after)
        (got,), _ = after.run([SPECIAL])
        assert not np.isnan(got[:3]).any()


def guard_of(p: Callable[[Any, Any], Any]) -> dict[str, int]:
    """What is left of the guard of p(g, x), made of a gradient g, and of nothing else."""
    def f(g: Any, x: Any) -> Any:
        made = p(g, x)
        return made, np.where(np.isnan(made) & (g == 0), 0, made)

    def alone(g: Any, x: Any) -> Any:
        return p(g, x)

    with np.errstate(all="ignore"):
        left = Counter(counted(assert_improved(f, X, Y)))
        left.subtract(counted(assert_improved(alone, X, Y)))
    return {name: n for name, n in left.items() if n}


@pytest.mark.parametrize(("p", "left"), [
    (lambda g, x: -g, {}),
    (lambda g, x: g * 3 / 0.7, {}),
    (lambda g, x: np.where(x > 0, g, 0) * np.array([1.0, 2.0, 3.0]), {}),
    (lambda g, x: g * (x > 0) + g, {}),
    (lambda g, x: np.where(x > 0, g, -g), {}),
    (lambda g, x: np.sin(x > 2) * g, {}),
    (lambda g, x: g * x, {"NotEqual": 1, "Keep": 1}),
    (lambda g, x: g / x, {"NotEqual": 1, "Keep": 1}),
    (lambda g, x: g * np.inf, {"NotEqual": 1, "Keep": 1}),
    (lambda g, x: g / 0.0, {"NotEqual": 1, "Keep": 1}),
    (lambda g, x: g * np.tanh(x), {"NotEqual": 1, "Keep": 1}),
    (lambda g, x: g + x, {"IsNan": 1, "Equal": 1, "BitwiseAnd": 1, "Where": 1}),
    (lambda g, x: g - np.log(x), {"IsNan": 1, "Equal": 1, "BitwiseAnd": 1, "Where": 1}),
    (lambda g, x: np.sqrt(g * x) + 1, {"IsNan": 1, "Equal": 1, "BitwiseAnd": 1, "Where": 1}),
])
def test_a_guard_stays_unless_no_nan_can_be(p, left):
    assert guard_of(p) == left


def test_the_guard_of_another_gradient_says_nothing():
    def guarded(p: Any, g: Any) -> Any:
        return np.where(np.isnan(p) & (g == 0), 0, p)

    with np.errstate(all="ignore"):
        assert_improved(lambda g, x: guarded(guarded(g - np.log(x), g), x), SPECIAL, SPECIAL[::-1], seeds=20)
        assert_improved(lambda g, x: guarded(np.transpose(g) * 3, g) + x, np.zeros((3, 3)), np.zeros(3), seeds=20)


def test_a_divisor_may_be_infinite():
    def f(x: Any) -> Any:
        g, p = 1 / x, x * 0.0
        return np.where(np.isnan(p) & (g == 0), 0, p)

    with np.errstate(all="ignore"):
        assert assert_improved(f, SPECIAL).run([SPECIAL])[0][0][4] == 0


def test_a_cast_may_overflow():
    def f(g: Any, n: Any) -> Any:
        p = g * n.astype(np.float16)
        return np.where(np.isnan(p) & (g == 0), 0, p)

    with np.errstate(all="ignore"):
        args = np.zeros(2, np.float16), np.array([1, 70_000])
        np.testing.assert_array_equal(assert_improved(f, *args, seeds=0).run(args)[0][0], [0, 0])


# ------------------------------------------------------------------------------------------------------------- the rest

def test_the_report_has_a_line_for_each_pass_that_did_something():
    before = traced(lambda x, y: np.negative(-(x * y)) + y * x, X, Y)
    header, *lines = explained(before).splitlines()
    assert header.split() == ["pass", "instructions", "bytes", "between", "bytes", "at", "once", "arrays", "at", "once"]
    assert lines[0].split() == ["traced", "5", "192", "96", "2"]
    after = optimized(before)
    assert lines[-1].split()[-4:] == [str(len(after.instructions)), "48", "48", "1"]
    assert {line.split()[0] for line in lines[1:]} <= {improve.__name__ for improve in PASSES}


def test_the_report_counts_what_is_needed_at_one_time():
    def chain(x):
        for _ in range(10):
            x = np.sin(x)
        return x

    def fan(x):
        return np.sum(np.stack([np.sin(x * k).reshape(3, 2).T for k in range(10)]))

    row = explained(traced(chain, np.ones(4))).splitlines()[1].split()
    assert row == ["traced", "10", str(9 * 32), "64", "2"]
    row = explained(traced(fan, np.ones(6))).splitlines()[1].split()
    assert int(row[-1]) >= 10


def test_python_numbers_stay_what_they_become():
    for f, result in ((lambda n: 1.0 * n, 3.0), (lambda n: n * 1.0, 3.0), (lambda n: n / 1, 3.0), (lambda n: n * 1, 3)):
        program = optimized(tg.compile(f).trace(3))
        (got,), _ = program.run([3])
        assert type(got) is type(result)
        assert got == result


def test_names_are_kept():
    x, y, z = (Var((2,), np.dtype(float), name) for name in ("x", "", "activation"))
    after = optimized(Program("program", (x,), (), {}, (
        Instruction(ops.Exp, (x,), {}, y), Instruction(ops.Identity, (y,), {}, z)), (z,)))
    assert str(after).splitlines()[2].split()[0] == "activation"


def test_long_programs():
    x = Var((2,), np.dtype(float), "x")
    instructions, last = [], x
    for _ in range(5000):
        for op, inputs in ((ops.Multiply, (last, 1.5)), (ops.Tanh, ())):
            last = Var((2,), np.dtype(float))
            instructions.append(Instruction(op, inputs or (instructions[-1].output,), {}, last))
    after = optimized(Program("program", (x,), (), {}, tuple(instructions), (last,)))
    assert len(after.instructions) == 10_000
