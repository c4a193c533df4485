"""Loops: variables of a program as C loop nests.

What is not stored is written into the loops that read it: a `Reader` follows a variable, at an index that is affine in
the loop counters, back through views, elementwise ops, slices and their adjoints to what is stored. So a transpose, a
broadcast or a slice is only another index, a mask is only a condition, and adding slices back into zeros splits a loop
where the pieces begin and end. A `Target` says how one variable is stored, a `Nest` writes the loops for several
targets over the same space: elementwise results and reductions side by side.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import ops
from ..op import Elementwise
from ..ops.selection import ARRAY
from .affine import Affine, aligned, combine, constant, flat, regrouped, shifted, strides_of, unit
from .formulas import (
    ADDED,
    C_TYPES,
    COMBINED,
    REDUCERS,
    SCANS,
    START,
    Unavailable,
    absolute,
    builtin,
    call,
    extreme,
    formula_of,
    number,
    temp_type,
)
from .program import Instruction, Operand, Program, Var

UNROLLED = 8  # a reduction over so few entries is written out where it is read
LONGEST = 300  # statements in one loop, about
DEEPEST = 40  # ops written into one another at most

class MustStore(Exception):
    """A variable has no form inside a loop, and must be stored."""

    def __init__(self, var: Var) -> None:
        self.var = var


class Split(Exception):
    """A condition changes within the range of a loop counter: the loop must be cut there."""

    def __init__(self, counter: int, at: int) -> None:
        self.counter, self.at = counter, at


# ----------------------------------------------------------------------------------------------------------- statements

@dataclass(frozen=True, slots=True)
class Temp:
    """A value inside the loops: its C name and dtype, and the counters it depends on, as bits."""

    name: str
    dtype: np.dtype[Any]
    bits: int


@dataclass(slots=True)
class Statement:
    """`temp = text`, or a load from a variable at an affine address."""

    temp: Temp
    text: str = ""
    source: Var | None = None
    address: Affine = ()
    jumps: tuple[tuple[Temp, int], ...] = ()  # what an index array adds to the address: values and their strides


class Graph:
    """A program and what of it is stored: that is in memory, for loops to read and to write."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.make: dict[Var, Instruction] = {i.output: i for i in program.instructions}
        self.outside = {*program.inputs, *program.states, *program.constants}
        self.patterns = {var: found for var, array in program.constants.items() if (found := pattern(array))}
        self.stored: set[Var] = set(self.outside)
        self.starts: dict[Var, list[int]] = {}  # where the parts of a concatenation begin

    def require_view(self, x: Var) -> None:
        """`MustStore` unless `x` is stored, or only another view of what is."""
        while x not in self.stored and x not in self.patterns:
            i = self.make[x]
            if i.op not in (ops.Transpose, ops.Reshape, ops.BroadcastTo, ops.Index) or not isinstance(i.inputs[0], Var):
                raise MustStore(x)
            x = i.inputs[0]


def pattern(array: np.ndarray) -> tuple[Any, Any, int] | None:
    """(a, b, d) if a constant needs no memory: it is `a` where column - row is d, and `b` elsewhere (d may be none)."""
    if array.size < 16 or array.dtype.kind not in "fib":
        return None
    first = array.flat[0]
    if array.ndim != 2 or min(array.shape) < 2:
        return (first.item(), first.item(), 0) if (array == first).all() else None
    common = array[0, -1] if array.shape[1] > 1 else first
    rows, columns = np.nonzero(array != common)
    if not rows.size:
        return common.item(), common.item(), 0
    d, value = int(columns[0] - rows[0]), array[rows[0], columns[0]]
    same = (columns - rows == d).all() and (array[rows, columns] == value).all()
    whole = rows.size == np.eye(array.shape[0], array.shape[1], d, dtype=bool).sum()
    return (value.item(), common.item(), d) if same and whole else None


class Reader:
    """The statements of a loop body: the value of variables at affine indices, each computed once.

    ranges: of each loop counter, the values it takes. `own`: what the loops store themselves, by (variable, index).
    """

    def __init__(self, graph: Graph, ranges: Sequence[tuple[int, int]]) -> None:
        self.graph, self.ranges, self.n = graph, ranges, len(ranges)
        self.statements: list[Statement] = []
        self.known: dict[Any, Any] = {}
        self.texts: dict[Any, Temp] = {}
        self.loads: dict[tuple[Any, ...], Temp] = {}
        self.computed: list[tuple[Var, tuple[Affine, ...]]] = []
        self.factors: dict[Var, Temp] = {}  # of a recurrence
        self.nothing: set[str] = set()  # temps that are 0 since nothing was put there
        self.jumps: dict[Any, tuple[tuple[Temp, int], ...]] = {}  # by target
        self.depth = self.started = 0  # ops written into one another; statements that earlier targets needed

    def value(self, x: Operand, index: tuple[Affine, ...]) -> Any:
        """A `Temp`, or a Python number."""
        if not isinstance(x, Var):
            return x
        key = x, index
        if key not in self.known and x in self.graph.patterns:
            self.known[key] = self.patterned(x, index)
        elif key not in self.known:
            self.known[key] = (self.load(x, flat(index, x.shape, self.n)) if x in self.graph.stored
                               else self.compute(x, index))
        return self.known[key]

    def patterned(self, x: Var, index: tuple[Affine, ...]) -> Any:
        """An entry of a constant that follows a pattern."""
        a, b, d = self.graph.patterns[x]
        if a == b or len(index) != 2:
            return self.write(number(a, x.dtype), x.dtype)
        off = shifted(combine((index[1], 1), (index[0], -1)), -d)  # how far from the diagonal
        real = "float" if x.dtype == np.float32 else "double"  # compilers vectorise no choice by an integer
        text = f"({real})({{}}) != 0 ? {number(b, x.dtype)} : {number(a, x.dtype)}"
        if (text, x.dtype, off) not in self.texts:
            temp = Temp(f"t{len(self.statements)}", x.dtype, sum(1 << i for i, k in enumerate(off[:-1]) if k))
            self.statements.append(Statement(temp, text, None, off))
            self.texts[text, x.dtype, off] = temp
        return self.texts[text, x.dtype, off]

    def load(self, x: Var, address: Affine, jumps: tuple[tuple[Temp, int], ...] = ()) -> Temp:
        key = (x, address, jumps) if jumps else (x, address)
        if key not in self.loads:
            bits = sum(1 << i for i, k in enumerate(address[:-1]) if k)
            for value, _ in jumps:
                bits |= value.bits
            temp = Temp(f"t{len(self.statements)}", x.dtype, bits)
            self.statements.append(Statement(temp, source=x, address=address, jumps=jumps))
            self.loads[key] = temp
        return self.loads[key]

    def write(self, text: str, dtype: np.dtype[Any], *operands: Any) -> Temp:
        same = operands[0] if len(operands) == 1 else None
        if isinstance(same, Temp) and (text, dtype) == (same.name, same.dtype):
            return same
        if (text, dtype) not in self.texts:
            bits = 0
            for x in operands:
                bits |= x.bits if isinstance(x, Temp) else 0
            temp = Temp(f"t{len(self.statements)}", dtype, bits)
            self.statements.append(Statement(temp, text))
            self.texts[text, dtype] = temp
        return self.texts[text, dtype]

    def cast(self, x: Any, dtype: np.dtype[Any]) -> str:
        """The text of an operand in another dtype."""
        if not isinstance(x, Temp):
            return number(x, dtype)
        if x.dtype == dtype:
            return x.name
        if x.dtype.kind == "b":  # compilers vectorise a choice, but no cast of a truth value
            return f"({x.name} ? {number(1, dtype)} : {number(0, dtype)})"
        return f"({x.name} != 0)" if dtype.kind == "b" else f"(({C_TYPES[dtype]}){x.name})"

    def compute(self, x: Var, index: tuple[Affine, ...]) -> Any:
        """The value of an instruction's output, from those of its inputs."""
        if x not in self.graph.make:
            raise MustStore(x)
        self.depth += 1
        if self.depth > DEEPEST or (len(self.statements) - self.started > LONGEST and self.depth > 1):
            raise MustStore(x)
        self.computed.append((x, index))
        i = self.graph.make[x]
        rule = RULES.get(i.op)
        if rule is not None:
            result = rule(self, i, index)
        elif issubclass(i.op, Elementwise) and formula_of(i.op):
            result = self.elementwise(i, index)
        else:
            raise MustStore(x)
        self.depth -= 1
        if not isinstance(result, Temp):
            result = self.write(number(result, x.dtype), x.dtype)
            if i.op in (ops.ScatterAdd, ops.Pad):
                self.nothing.add(result.name)
        if result.dtype != x.dtype:
            result = self.write(self.cast(result, x.dtype), x.dtype, result)
        return result

    def operands(self, i: Instruction, index: tuple[Affine, ...]) -> list[Any]:
        return [self.value(a, aligned(index, a.shape, self.n)) if isinstance(a, Var) else a for a in i.inputs]

    def elementwise(self, i: Instruction, index: tuple[Affine, ...]) -> Temp:
        operands = self.operands(i, index)
        dtype, result = loop_dtypes(i)
        if i.op is ops.Power and dtype.kind != "f":
            raise Unavailable("a power of integers has no native form: use target=\"numpy\"")
        if i.op is ops.Add:
            for a, b in (operands, operands[::-1]):
                if isinstance(a, Temp) and isinstance(b, Temp) and a.name in self.nothing and b.dtype == result:
                    return b
        texts = [self.cast(a, dtype) for a in operands]
        numbers = [x for x in operands if not isinstance(x, Temp)]
        if i.op in (ops.Maximum, ops.Minimum) and numbers and not math.isnan(numbers[0]):
            x, c = texts if operands[1] is numbers[0] else texts[::-1]
            sign = "<=" if i.op is ops.Maximum else ">="
            return self.write(f"{x} {sign} {c} ? {c} : {x}", result, *operands)  # false for NaN, which so is kept
        formula = formula_of(i.op)
        assert formula is not None
        value = self.write(formula[0](temp_type(dtype), *texts), result, *operands)
        return self.unless_nan(value, texts[0], operands[0]) if i.op in (ops.Maximum, ops.Minimum) else value

    def unless_nan(self, value: Temp, text: str, *operands: Any) -> Temp:
        """`value`, or NaN where an operand is, which a comparison loses. One choice for each: compilers vectorise that,
        and not a choice by several conditions at once."""
        if value.dtype.kind != "f":
            return value
        for x in text.split():
            value = self.write(f"{x} != {x} ? {x} : {value.name}", value.dtype, value, *operands)
        return value

    def least(self, a: Affine) -> int:
        """The smallest value that it takes."""
        return a[-1] + sum(k * (low if k > 0 else high - 1)
                           for k, (low, high) in zip(a, self.ranges, strict=False) if k)

    def inside(self, a: Affine, low: int, high: int) -> bool:
        """Whether low <= a < high, for all values of the counters; `Split` if that depends on them."""
        counters = [c for c in range(self.n) if a[c]]
        first = self.least(a)
        last = a[-1] + sum(a[c] * (self.ranges[c][1] - 1 if a[c] > 0 else self.ranges[c][0]) for c in counters)
        if low <= first and last < high:
            return True
        if last < low or first >= high:
            return False
        if len(counters) > 1 or abs(a[counters[0]]) != 1:
            raise MustStore(self.computed[-1][0])
        (c,) = counters
        bound = low if first < low else high  # the condition changes between bound - 1 and bound
        at = bound - a[-1] if a[c] > 0 else a[-1] - bound + 1
        raise Split(c, at)


def loop_dtypes(i: Instruction) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """In which dtype a ufunc computes, and that of what it returns."""
    kinds: list[Any] = [x.dtype if isinstance(x, Var) and not x.weak
                        else type(x.dtype.type(0).item()) if isinstance(x, Var) else type(x) for x in i.inputs]
    if all(isinstance(kind, type) for kind in kinds):
        kinds = [np.dtype(kind) for kind in kinds]
    op: Any = i.op
    return _resolved(op, tuple(_BOOL if kind is bool else kind for kind in kinds))


@functools.cache
def _resolved(op: Any, kinds: tuple[Any, ...]) -> tuple[np.dtype[Any], np.dtype[Any]]:
    found = op.forward.resolve_dtypes((*kinds, None))
    if len(set(found[:-1])) > 1:
        raise Unavailable(f"{op.__name__} of {', '.join(map(str, kinds))} has no native form")
    return found[0], found[-1]


# ---------------------------------------------------------------------------------------- what is only another index

def _transpose(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    own = [index[0]] * len(index) if index else []
    for place, axis in enumerate(i.options["axes"]):
        own[axis] = index[place]
    return r.value(i.inputs[0], tuple(own))


def _reshape(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    x = i.inputs[0]
    if x in r.graph.stored:
        return r.load(x, flat(index, i.output.shape, r.n))
    if x.size == 0:
        raise MustStore(x)
    own = regrouped(index, i.output.shape, x.shape, r.n)
    if own is None:
        raise MustStore(x)
    return r.value(x, tuple(own))


def _broadcast(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    x = i.inputs[0]
    return r.value(x, aligned(index, x.shape, r.n)) if isinstance(x, Var) else x


def gathered(r: Reader, i: Instruction, shape: tuple[int, ...],
             index: tuple[Affine, ...]) -> tuple[Affine, tuple[tuple[Temp, int], ...]]:
    """Where in an array of `shape` the entry lies that index arrays name: an affine address, and what they add to it.

    Covered: integer arrays side by side, and slices. Negative entries count from the end.
    """
    parts, arrays = list(i.options["index"]), i.inputs[1:]
    if Ellipsis in [p for p in parts if p is Ellipsis]:
        at = next(n for n, p in enumerate(parts) if p is Ellipsis)
        parts[at:at + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    parts += [slice(None)] * (len(shape) - len(parts))
    places = [n for n, p in enumerate(parts) if p is ARRAY]
    if (len(parts) != len(shape) or places != list(range(places[0], places[0] + len(arrays)))
            or not all(p is ARRAY or isinstance(p, slice) for p in parts)
            or not all(isinstance(a, Var) and a.dtype.kind in "iu" for a in arrays)):
        raise Unavailable(f"{i.op.__name__} by these arrays has no native form: use target=\"numpy\"")
    width = np.broadcast_shapes(*[a.shape for a in arrays])
    first, steps = places[0], strides_of(shape)
    own, address, jumps = index[first:first + len(width)], constant(r.n, 0), []
    rest = iter([*index[:first], *index[first + len(width):]])
    for n, p in enumerate(parts):
        if p is ARRAY:
            array = arrays[n - first]
            value = r.value(array, aligned(own, array.shape, r.n))
            value = r.write(r.cast(value, _LONG), _LONG, value)
            known = r.graph.program.constants.get(array)
            if known is None or (known < 0).any():
                value = r.write(f"{value.name} < 0 ? {value.name} + {shape[n]} : {value.name}", _LONG, value)
            jumps.append((value, steps[n]))
        else:
            start, _, step = p.indices(shape[n])
            address = combine((address, 1), (shifted(combine((next(rest), step)), start), steps[n]))
    return address, tuple(jumps)


def _index(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    if len(i.inputs) > 1:
        x = i.inputs[0]
        if x not in r.graph.stored:
            raise MustStore(x)
        return r.load(x, *gathered(r, i, x.shape, index))
    own = [shifted(combine((a, part.step)), part.start) for a, part in zip(index, i.options["index"], strict=True)]
    return r.value(i.inputs[0], tuple(own))


def _scatter(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    x = i.inputs[0]
    if len(i.inputs) > 1 or any(part.step != 1 for part in i.options["index"]):
        raise MustStore(i.output)
    own = []
    for a, part, length in zip(index, i.options["index"], x.shape, strict=True):
        if not r.inside(a, part.start, part.start + length):
            return 0
        own.append(shifted(a, -part.start))
    return r.value(x, tuple(own))


def _pad(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    x = i.inputs[0]
    own = []
    for a, (before, _), length in zip(index, i.options["width"], x.shape, strict=True):
        if not r.inside(a, before, before + length):
            return 0
        own.append(shifted(a, -before))
    return r.value(x, tuple(own))


def _concatenate(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    axis = i.options["axis"] % i.output.ndim
    starts = r.graph.starts.setdefault(i.output, [])
    if not starts:
        starts += itertools.accumulate([x.shape[axis] for x in i.inputs], initial=0)
    k = bisect_right(starts, r.least(index[axis])) - 1
    start, end = starts[k:k + 2]
    if not r.inside(index[axis], start, end):
        raise AssertionError(i)
    return r.value(i.inputs[k], (*index[:axis], shifted(index[axis], -start), *index[axis + 1:]))


def _windows(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    *rest, a, b, u, v = index
    (down, across), (dh, dw) = i.options["stride"], i.options.get("dilation", (1, 1))
    return r.value(i.inputs[0], (*rest, combine((a, down), (u, dh)), combine((b, across), (v, dw))))


# ----------------------------------------------------------------------------------------------------- what selects

def _keep(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    x, mask = r.operands(i, index)
    dtype = i.output.dtype
    return r.write(f"{r.cast(mask, _BOOL)} ? {r.cast(x, dtype)} : 0", dtype, x, mask)


def _where(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    condition, a, b = r.operands(i, index)
    dtype = i.output.dtype
    return r.write(f"{r.cast(condition, _BOOL)} ? {r.cast(a, dtype)} : {r.cast(b, dtype)}", dtype, condition, a, b)


def _typed(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> tuple[list[Any], list[str], np.dtype[Any]]:
    """The operands, their texts, and the dtype of all."""
    operands, dtype = r.operands(i, index), i.output.dtype
    return operands, [r.cast(a, dtype) for a in operands], dtype


def _clip(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    """The lower bound, then the upper one, and NaN where there is one."""
    operands, (x, low, high), dtype = _typed(r, i, index)
    value = r.write(f"{x} > {low} ? {x} : {low}", dtype, *operands[:2])
    value = r.write(f"{value.name} < {high} ? {value.name} : {high}", dtype, value, operands[2])
    for a, text in zip(operands, (x, low, high), strict=True):
        value = r.unless_nan(value, text, a) if isinstance(a, Temp) else value
    return value


def _other_than_nan(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    operands, (a, b), dtype = _typed(r, i, index)
    value = r.write(f"{a} {'>' if i.op is ops.FMax else '<'} {b} ? {a} : {b}", dtype, *operands)  # b if either is NaN
    return value if dtype.kind != "f" else r.write(f"{b} != {b} ? {a} : {value.name}", dtype, value, *operands)


def _heaviside(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    operands, (x, h), dtype = _typed(r, i, index)
    one, zero = number(1, dtype), number(0, dtype)
    value = r.write(f"{x} > 0 ? {one} : {zero}", dtype, operands[0])
    value = r.write(f"{x} == 0 ? {h} : {value.name}", dtype, value, *operands)
    return r.unless_nan(value, x, operands[0])


def _logaddexp(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    """The larger, and log(1 + exp(-distance)), as NumPy has it; infinities that are equal have no distance."""
    operands, (a, b), dtype = _typed(r, i, index)
    f, t = "f" * (dtype == np.float32), temp_type(dtype)
    larger = r.write(f"{a} > {b} ? {a} : {b}", dtype, *operands)
    distance = r.write(absolute(t, f"({a} - {b})"), dtype, *operands)
    distance = r.write(f"{a} == {b} ? {number(0, dtype)} : {distance.name}", dtype, distance, *operands)
    small = r.write(f"exp{f}(-{distance.name})", dtype, distance)
    small = r.write(f"log1p{f}({small.name})", dtype, small)
    return r.write(f"{larger.name} + {small.name}", dtype, larger, small)


def _floor_divide(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    """From the remainder, as NumPy does it."""
    operands, (a, b), dtype = _typed(r, i, index)
    if dtype.kind != "f":
        raise Unavailable("a division of integers has no native form: use target=\"numpy\"")
    t, m = temp_type(dtype), r.write(call("fmod")(temp_type(dtype), a, b), dtype, *operands)
    exact = r.write(f"({a} - {m.name}) / {b}", dtype, m, *operands)
    d = r.write(f"({m.name} != 0) & (({b} < 0) != ({m.name} < 0)) ? {exact.name} - 1 : {exact.name}", dtype, m, exact,
                *operands)
    floor = r.write(builtin("floor")(t, d.name), dtype, d)
    floor = r.write(f"{d.name} - {floor.name} > 0.5 ? {floor.name} + 1 : {floor.name}", dtype, d, floor)
    quotient = r.write(f"{a} / {b}", dtype, *operands)
    zero = r.write(builtin("copysign")(t, number(0, dtype), quotient.name), dtype, quotient)
    value = r.write(f"{d.name} == 0 ? {zero.name} : {floor.name}", dtype, d, zero, floor)
    return r.write(f"{b} == 0 ? {quotient.name} : {value.name}", dtype, quotient, value, *operands)


def _remainder(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    """With the sign of the divisor, or that of what is divided."""
    operands, (a, b), dtype = _typed(r, i, index)
    if dtype.kind != "f":
        raise Unavailable("a remainder of integers has no native form: use target=\"numpy\"")
    value = r.write(call("fmod")(temp_type(dtype), a, b), dtype, *operands)
    if i.op is ops.Fmod:
        return value
    v = value.name
    moved = r.write(f"({v} < 0) != ({b} < 0) ? {v} + {b} : {v}", dtype, value, *operands)
    signed = r.write(builtin("copysign")(temp_type(dtype), number(0, dtype), b), dtype, operands[1])
    return r.write(f"{v} == 0 ? {signed.name} : {moved.name}", dtype, value, moved, signed)


def _cast(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    (x,) = r.operands(i, index)
    return r.write(r.cast(x, i.output.dtype), i.output.dtype, x)


def _same(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    return r.value(i.inputs[0], index)


_BOOL, _LONG = np.dtype(bool), np.dtype(np.int64)


# ------------------------------------------------------------------------------------------- reductions, written out

def reduced_axes(i: Instruction) -> tuple[int, ...]:
    x, axis = i.inputs[0], i.options["axis"]
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(a % x.ndim for a in axes))


def _reduction(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    x, axes = i.inputs[0], reduced_axes(i)
    lengths = [x.shape[a] for a in axes]
    if not 0 < math.prod(lengths) <= UNROLLED:
        raise MustStore(i.output)
    kept = iter(index if not i.options.get("keepdims") else [a for d, a in enumerate(index) if d not in axes])
    pattern = [None if d in axes else next(kept) for d in range(x.ndim)]
    dtype, values = i.output.dtype, []
    for entry in np.ndindex(*lengths):
        own = iter(entry)
        value = r.value(x, tuple(constant(r.n, next(own)) if a is None else a for a in pattern))
        values.append(r.write(r.cast(value, dtype), dtype, value))
    total = values[0]
    for value in values[1:]:
        total = r.write(COMBINED[REDUCERS[i.op]].format(total.name, value.name), dtype, total, value)
    if i.op in (ops.Sum, ops.Prod):
        return total
    return r.unless_nan(total, " ".join(value.name for value in values), *values)


def product_operands(i: Instruction, index: tuple[Affine, ...], k: Affine, n: int) -> tuple[Any, Any]:
    """The indices into both operands of a matrix product: for an index into the product, and one into the sum."""
    A, B = i.inputs
    *batch, row, column = index
    return ((*aligned(batch, A.shape[:-2], n), constant(n, 0) if A.shape[-2] == 1 else row, k),
            (*aligned(batch, B.shape[:-2], n), k, constant(n, 0) if B.shape[-1] == 1 else column))


def _product(r: Reader, i: Instruction, index: tuple[Affine, ...]) -> Any:
    A, B = i.inputs
    length = A.shape[-1]
    if not 0 < length <= UNROLLED or i.output.size * length > SMALL_PRODUCT:
        raise MustStore(i.output)
    for x in i.inputs:  # each entry is read several times
        r.graph.require_view(x)
    total, dtype = None, i.output.dtype
    for k in range(length):
        left, right = product_operands(i, index, constant(r.n, k), r.n)
        a, b = r.value(A, left), r.value(B, right)
        term = r.write(f"{r.cast(a, dtype)} * {r.cast(b, dtype)}", dtype, a, b)
        total = term if total is None else r.write(f"{total.name} + {term.name}", dtype, total, term)
    return total


SMALL_PRODUCT = 20_000  # multiplications, below which loops beat a call of BLAS

RULES: dict[Any, Callable[[Reader, Instruction, tuple[Affine, ...]], Any]] = {
    ops.Transpose: _transpose, ops.Reshape: _reshape, ops.BroadcastTo: _broadcast, ops.Index: _index,
    ops.ScatterAdd: _scatter, ops.Concatenate: _concatenate, ops.Keep: _keep, ops.Where: _where, ops.Cast: _cast,
    ops.CastToInteger: _cast, ops.InRange: _same, ops.Sum: _reduction, ops.Max: _reduction, ops.Min: _reduction,
    ops.Prod: _reduction, ops.Clip: _clip, ops.FMax: _other_than_nan, ops.FMin: _other_than_nan,
    ops.Heaviside: _heaviside, ops.LogAddExp: _logaddexp, ops.Remainder: _remainder, ops.Fmod: _remainder,
    ops.FloorDivide: _floor_divide,
    ops.MatMul: _product, ops.Pad: _pad, ops.Windows: _windows, ops.Identity: _same,
}


# ---------------------------------------------------------------------------------------------------- targets and nests

@dataclass(eq=False)
class Target:
    """How a variable is stored: over which space, from which value, at which address, reduced how.

    space: the lengths of the loops, none of them 1. reduced: the counters that are summed over. scattered: the address
    is not that of every entry, or several entries share one, so the memory starts as zeros and is added to.
    """

    var: Var
    space: tuple[int, ...]
    evaluate: Callable[[Reader], Any]
    address: Affine
    kind: str = "store"
    reduced: frozenset[int] = frozenset()
    scattered: bool = False
    jumps: Callable[[Reader], tuple[tuple[Temp, int], ...]] | None = None  # what index arrays add to the address
    window: frozenset[int] = frozenset()  # counters inside a window, which are no good for the innermost loop
    reads: dict[tuple[Var, Affine], None] = field(default_factory=dict)
    inlined: dict[tuple[Var, tuple[Affine, ...]], int] = field(default_factory=dict)  # and how often each is computed

    @property
    def points(self) -> int:
        return math.prod(self.space)

    @property
    def scans(self) -> bool:
        """Whether each entry is made of the one before it, along the one counter in `reduced`."""
        return self.kind in SCANS.values()


def _space(shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[Affine, ...]]:
    """The lengths that are not 1, and the index into an array of that shape."""
    space = tuple(m for m in shape if m != 1)
    counters = iter(range(len(space)))
    return space, tuple(constant(len(space), 0) if m == 1 else unit(len(space), next(counters)) for m in shape)


def target_of(graph: Graph, var: Var) -> Target:
    """How to store `var` in loops. `MustStore` and `Unavailable` as they come."""
    i = graph.make[var]
    if i.op in REDUCERS and not 0 < math.prod(i.inputs[0].shape[a] for a in reduced_axes(i)) <= UNROLLED:
        x, axes = i.inputs[0], reduced_axes(i)
        space, index = _space(x.shape)
        n = len(space)
        kept = [a for d, a in enumerate(index) if d not in axes]
        shape = [m for d, m in enumerate(x.shape) if d not in axes]
        reduced = frozenset(a[:-1].index(1) for d, a in enumerate(index) if d in axes and any(a[:-1]))
        kind = REDUCERS[i.op] if reduced else "store"

        def evaluate(r: Reader) -> Any:
            value = r.value(x, index)
            return r.write(r.cast(value, var.dtype), var.dtype, value)

        return Target(var, space, evaluate, flat(kept, shape, n), kind, reduced)
    if i.op in SCANS:
        return _scan(i)
    if i.op is ops.MatMul:
        (A, B), k = i.inputs, i.inputs[0].shape[-1]
        space, (*outer, last) = _space((*var.shape, k))
        index, n = tuple(outer), len(space)

        def evaluate(r: Reader) -> Any:
            left, right = product_operands(i, index, last, n)
            a, b = r.value(A, left), r.value(B, right)
            return r.write(f"{r.cast(a, var.dtype)} * {r.cast(b, var.dtype)}", var.dtype, a, b)

        reduced = frozenset({last[:-1].index(1)}) if any(last[:-1]) else frozenset()
        return Target(var, space, evaluate, flat(index, var.shape, n), "sum" if reduced else "store", reduced)
    if i.op is ops.ScatterAdd and len(i.inputs) == 1:
        space, index = _space(i.inputs[0].shape)
        own = [shifted(combine((a, part.step)), part.start)
               for a, part in zip(index, i.options["index"], strict=True)]
        return Target(var, space, lambda r: r.value(i.inputs[0], index), flat(own, var.shape, len(space)),
                      scattered=True)
    if i.op is ops.ScatterAdd:
        space, index = _space(i.inputs[0].shape)
        n = len(space)
        try:
            address, _ = gathered(Reader(graph, [(0, m) for m in space]), i, var.shape, index)
        except Split:  # the indices themselves are in parts
            raise MustStore(next(x for x in i.inputs[1:] if x not in graph.stored)) from None
        return Target(var, space, lambda r: r.value(i.inputs[0], index), address, "sum", frozenset(range(n)), True,
                      lambda r: gathered(r, i, var.shape, index)[1])
    if i.op is ops.FoldWindows:
        x = i.inputs[0]
        space, index = _space(x.shape)
        *rest, a, b, u, v = index
        (down, across), (dh, dw) = i.options["stride"], i.options.get("dilation", (1, 1))
        own = [*rest, combine((a, down), (u, dh)), combine((b, across), (v, dw))]
        window = frozenset(w[:-1].index(1) for w in (u, v) if any(w[:-1]))
        # Windows that do not overlap write each entry once.
        apart = all((m - 1) * d < s for m, d, s in zip(x.shape[-2:], (dh, dw), (down, across), strict=True))
        return Target(var, space, lambda r: r.value(x, index), flat(own, var.shape, len(space)),
                      "store" if apart else "sum", frozenset() if apart else window, True, None, window)
    space, index = _space(var.shape)
    return Target(var, space, lambda r: r.compute(var, index), flat(index, var.shape, len(space)))


def _scan(i: Instruction) -> Target:
    """An accumulation: the loop over its axis runs from the first entry on, or from the last in reverse."""
    var, axis = i.output, i.options.get("axis", -1) % i.output.ndim
    space, found = _space(var.shape)
    n, index = len(space), list(found)
    counters = [c for c in range(n) if index[axis][c]]
    if i.options.get("reverse"):
        index[axis] = shifted(combine((index[axis], -1)), var.shape[axis] - 1)

    def evaluate(r: Reader) -> Any:
        *factors, value = [r.value(x, tuple(index)) for x in i.inputs]
        for a in factors:
            r.factors[var] = r.write(r.cast(a, var.dtype), var.dtype, a)
        return r.write(r.cast(value, var.dtype), var.dtype, value)

    kind = SCANS[i.op] if counters else "store"
    return Target(var, space, evaluate, flat(index, var.shape, n), kind, frozenset(counters))


def pieces(graph: Graph, ranges: list[tuple[int, int]], evaluate: Callable[[Reader], Any]) -> Iterator[tuple[Any, Any]]:
    """The loop body, once for each part of the space in which all conditions are the same: (ranges, reader)."""
    todo = [ranges]
    while todo:
        ranges = todo.pop()
        reader = Reader(graph, ranges)
        try:
            result = evaluate(reader)
        except Split as cut:
            low, high = ranges[cut.counter]
            for part in ((cut.at, high), (low, cut.at)):
                todo.append([*ranges[:cut.counter], part, *ranges[cut.counter + 1:]])
            continue
        yield (ranges, reader), result


def cost_of(graph: Graph, i: Instruction) -> float:
    """About how many additions one entry of an instruction costs, without what it reads."""
    if formula := formula_of(i.op):
        return formula[1]
    if i.op in REDUCERS:
        return i.inputs[0].size / max(i.output.size, 1)
    if i.op is ops.MatMul:
        return 2 * i.inputs[0].shape[-1]
    return 0.5 if i.op in (ops.Keep, ops.Where) else 0.0


class Nest:
    """Targets over one space, in one loop nest."""

    def __init__(self, graph: Graph, first: Target) -> None:
        self.graph, self.space, self.targets = graph, first.space, [first]

    @property
    def points(self) -> int:
        return math.prod(self.space)

    def evaluate(self, reader: Reader) -> list[Any]:
        """The values of all targets; what one stores, another reads from the register."""
        values = []
        for target in self.targets:
            reader.started = len(reader.statements)
            value = target.evaluate(reader)
            if not isinstance(value, Temp):
                value = reader.write(number(value, target.var.dtype), target.var.dtype)
            values.append(value)
            if target.jumps is not None:
                reader.jumps[target] = target.jumps(reader)
            if target.kind == "store" and not target.scattered:
                reader.loads[target.var, target.address] = value
        return values

    def source(self, place: Callable[[Var], str], threads: int = 1) -> list[list[str]]:
        """The loops in C, one block after the other. place: the C name of the memory of a variable."""
        n = len(self.space)
        if 0 in self.space:
            return [_filled(t, place) for t in self.targets]
        found = list(pieces(self.graph, [(0, m) for m in self.space], self.evaluate))
        affine = [s.address for (_, r), _ in found for s in r.statements if s.address]
        affine += [t.address for t in self.targets]
        lengths = list(self.space)
        gone = self._collapse(affine, lengths) if len(found) == 1 else set()
        order = self._order(affine, [c for c in range(n) if c not in gone])
        whole = len(found) == 1
        blocks = [_filled(t, place) for t in self.targets
                  if t.scattered or not (t.kind == "store" or t.scans or (whole and self._in_registers(t, order)[1]))]
        for (ranges, reader), values in found:
            limits = {c: (0, lengths[c]) if whole else ranges[c] for c in order}
            blocks += self._jammed(order, limits, reader, values, place, whole, threads)
        if whole and len(blocks) > 1:  # as one, with what comes before the loops
            return [["{", *["    " + line for block in blocks for line in block], "}"]]
        return blocks

    def _jammed(self, order: list[int], limits: dict[int, tuple[int, int]], reader: Reader, values: list[Temp],
                place: Callable[[Var], str], whole: bool, threads: int) -> list[list[str]]:
        """The loops; where it helps, several turns are written into one, so that sums do not wait for each other."""
        window = {c for t in self.targets for c in t.window if c in limits}  # others went into the next counter
        apart = all(t.kind == "store" for t in self.targets)
        if window and apart and math.prod(limits[c][1] - limits[c][0] for c in window) <= UNROLLED:
            inside = sorted(window)  # all entries of a window are written side by side
            turns = [dict(zip(inside, entry, strict=True))
                     for entry in itertools.product(*[range(*limits[c]) for c in inside])]
            order = [c for c in order if c not in window]
            return [self._loops(order, limits, reader, values, place, whole, threads, turns)]
        if not self._can_jam(order, limits, reader):
            return [self._loops(order, limits, reader, values, place, whole, threads, [{}])]
        c, blocks = order[-2], []
        low, high = limits[c]
        middle = high - (high - low) % JAM
        alone: list[dict[int, int]] = [{}]
        for part, turns in (((low, middle), [{c: turn} for turn in range(JAM)]), ((middle, high), alone)):
            if part[0] < part[1]:
                blocks.append(self._loops(order, {**limits, c: part}, reader, values, place, whole, threads, turns))
        return blocks

    def _can_jam(self, order: list[int], limits: dict[int, tuple[int, int]], reader: Reader) -> bool:
        if len(order) < 2 or len(reader.statements) > 16 or any(t.scattered or t.scans for t in self.targets):
            return False
        *_, c, inner = order
        sums = [t for t in self.targets if t.kind != "store"]
        return (limits[c][1] - limits[c][0] >= JAM and bool(sums)
                and all(c not in t.reduced or inner not in t.reduced for t in sums))

    def _collapse(self, affine: Sequence[Affine], lengths: list[int]) -> set[int]:
        """Merge each counter into the next where both walk through memory as one; the counters that are gone."""
        gone: set[int] = set()
        for c in range(len(lengths) - 1):
            if (all(a[c] == a[c + 1] * lengths[c + 1] for a in affine)
                    and all((c in t.reduced) == (c + 1 in t.reduced) for t in self.targets)):
                lengths[c + 1] *= lengths[c]
                gone.add(c)
        return gone

    def _order(self, affine: Sequence[Affine], counters: list[int]) -> list[int]:
        """The counters from the outermost loop to the innermost: that is the one with the most strides of 1."""
        if len(counters) < 2:
            return counters
        stores = [t.address for t in self.targets]
        barred = {c for t in self.targets for c in t.window}

        def score(c: int) -> tuple[float, int]:
            each = sum(1.0 if a[c] == 1 else 0.5 if a[c] == 0 else -2.0 for a in [*affine, *stores])
            each -= 0.75 * sum(c in t.reduced for t in self.targets)
            short = -3.0 if self.space[c] < 8 and max(self.space) >= 8 else 0.0
            return (-1e9 if c in barred else each + short), c

        inner = max(counters, key=score)
        outer = sorted([c for c in counters if c != inner], key=lambda c: c in barred)
        if any(inner in t.reduced for t in self.targets):  # let other reduced loops be next to it
            outer.sort(key=lambda c: all(c in t.reduced for t in self.targets if t.reduced))
        return [*outer, inner]

    @staticmethod
    def _in_registers(t: Target, order: Sequence[int]) -> tuple[int, bool]:
        """From which loop on a reduction is summed in a register, and whether that is all of it."""
        start = len(order)
        while start and order[start - 1] in t.reduced and not t.scattered:
            start -= 1
        return start, not any(c in t.reduced for c in order[:start])

    def _loops(self, order: list[int], limits: dict[int, tuple[int, int]], reader: Reader, values: list[Temp],
               place: Callable[[Var], str], whole: bool, threads: int, turns: list[dict[int, int]]) -> list[str]:
        level_of = {c: level for level, c in enumerate(order)}
        after = len(order)
        jammed, jam = sum(1 << c for c in turns[0]), len(turns)
        own = {s.temp.name: bool(s.temp.bits & jammed) for s in reader.statements}  # of a turn of its own

        def at(a: Affine, turn: int) -> str:
            first = sum(a[c] * limits[c][0] for c in order)  # the loops themselves count from 0
            return _address(shifted(a, first + sum(a[c] * by for c, by in turns[turn].items())), order)

        names: dict[tuple[str, int], str] = {}

        def named(text: str, turn: int) -> str:
            return re.sub(r"\bt\d+\b", lambda m: names[m[0], turn if own[m[0]] else 0], text) if jammed else text

        written: dict[tuple[str, str], tuple[int, str]] = {}  # what two turns have in common is written once
        body: list[list[str]] = [[] for _ in range(after + 1)]  # body[l]: inside l loops
        for s in reader.statements:
            level = max((level_of[c] + 1 for c in level_of if s.temp.bits >> c & 1), default=0)
            for turn in range(jam if own[s.temp.name] else 1):
                where = at(s.address, turn) + named(_jumped(s.jumps), turn) if s.address else ""
                text = f"{place(s.source)}[{where}]" if s.source is not None else named(s.text.format(where), turn)
                if s.source is not None and s.source.dtype.kind == "b":
                    text += " != 0"
                kind, name = temp_type(s.temp.dtype), s.temp.name + f"_{turn}" * own[s.temp.name]
                at_level, known = written.setdefault((kind, text), (level, name))
                names[s.temp.name, turn] = known if at_level <= level else name
                if names[s.temp.name, turn] == name:
                    body[level].append(f"const {kind} {name} = {text};")
        before: list[list[str]] = [[] for _ in range(after + 1)]
        behind: list[list[str]] = [[] for _ in range(after + 1)]
        lengths = {c: limits[c][1] - limits[c][0] for c in order}
        in_turn = {c for t in self.targets if t.scans for c in t.reduced}  # loops that run from entry to entry
        blocked = after == 1 and lengths[order[0]] > 2 * BLOCK and not in_turn
        registers: list[Register] = []
        for number_, (t, result) in enumerate(zip(self.targets, values, strict=True)):
            start, complete = self._in_registers(t, order)
            for turn in range(jam):
                jump = named(_jumped(reader.jumps.get(t, ())), turn)
                entry, value = f"{place(t.var)}[{at(t.address, turn)}{jump}]", named(result.name, turn)
                if t.kind == "store":
                    body[after].append(f"{entry} = {value};")
                    continue
                if t.scans:
                    (c,) = t.reduced
                    before_it = f"{place(t.var)}[{at(shifted(t.address, -t.address[c]), turn)}]"
                    factor = reader.factors.get(t.var)
                    text = (f"{factor.name} * {before_it} + {value}" if factor is not None
                            else ADDED[t.kind.removeprefix("cum")].format(before_it, value))
                    body[after].append(f"{entry} = i{c} ? {text} : {value};" if limits[c][0] == 0
                                       else f"{entry} = {text};")
                    continue
                if start == after:
                    body[after].append(f"{entry} = {ADDED[t.kind].format(entry, value)};")
                    continue
                pair = [Register(f"r{number_}" + f"_{turn}" * bool(jammed), t.kind, t.var.dtype)]
                body[after].append(pair[0].add(value))
                if t.kind in ("max", "min") and t.var.dtype.kind == "f":  # a comparison loses a NaN that comes first
                    pair.append(Register("n" + pair[0].name[1:], "any", np.dtype(np.int32)))
                    body[after].append(pair[1].add(f"{value} != {value}"))
                registers += pair
                before[start] += [register.declared(blocked) for register in pair]
                total = pair[0].name + "_all" * blocked
                if len(pair) > 1:
                    behind[start].append(f"if ({pair[1].name}{'_all' * blocked}) {total} = NAN;")
                combined = total if complete and whole else ADDED[t.kind].format(entry, total)
                behind[start].append(f"{entry} = {combined};")
        work = math.prod(lengths.values()) * max(sum(map(len, body)), 1)
        parallel = (threads > 1 and after and work > 100_000 and not any(t.jumps is not None for t in self.targets))
        team = f"#pragma omp parallel for num_threads({threads}) schedule(static)" if parallel else ""
        lines = _Lines()
        lines.put("{", *body[0], *before[0])
        if blocked:
            (c,) = order
            length, all_ = lengths[c], "".join(f" reduction({r.clause}_all)" for r in registers)
            lines.put(team and team + all_, f"for (int64_t b{c} = 0; b{c} < {length}; b{c} += {BLOCK}) {{",
                      f"const int64_t e{c} = b{c} + {BLOCK} < {length} ? b{c} + {BLOCK} : {length};",
                      *[r.declared() for r in registers],
                      "#pragma omp simd" + "".join(f" reduction({r.clause})" for r in registers),
                      f"for (int64_t i{c} = b{c}; i{c} < e{c}; i{c}++) {{", *body[1], "}",
                      *[r.joined() for r in registers], "}", *behind[0], "}")
            return lines.texts
        for l, c in enumerate(order, 1):
            if l == 1 and after > 1 and all(c not in t.reduced for t in self.targets):
                lines.put(team)
            jumps = any(t.jumps is not None for t in self.targets)
            if l == after and lengths[c] >= 4 and c not in in_turn and not jumps:
                lines.put("#pragma omp simd" + "".join(f" reduction({r.clause})" for r in registers))
            step = f"i{c} += {jam}" if c in turns[0] else f"i{c}++"
            lines.put(f"for (int64_t i{c} = 0; i{c} < {lengths[c]}; {step}) {{", *body[l], *before[l])
        for l in range(after - 1, -1, -1):
            lines.put("}", *behind[l])
        if not order:
            lines.put(*behind[0])
        lines.put("}")
        return lines.texts


@dataclass(frozen=True)
class Register:
    """What a reduction is collected in, inside the loops."""

    name: str
    kind: str  # sum, prod, max, min, any
    dtype: np.dtype[Any]

    @property
    def clause(self) -> str:
        return {"sum": "+", "prod": "*", "any": "|"}.get(self.kind, self.kind) + ":" + self.name

    def declared(self, blocked: bool = False) -> str:
        start = START.get(self.kind) or extreme(self.kind, self.dtype)
        return f"{C_TYPES[self.dtype]} {self.name}{'_all' * blocked} = {start};"

    def add(self, value: str, name: str = "") -> str:
        name = name or self.name
        if self.kind in START:
            return f"{name} {self.clause[0]}= {value};"
        return f"{name} = {value} {'>' if self.kind == 'max' else '<'} {name} ? {value} : {name};"

    def joined(self) -> str:
        return self.add(self.name, self.name + "_all")


class _Lines:
    """Lines of C, indented by their braces."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.depth = 0

    def put(self, *texts: str) -> None:
        for text in filter(None, texts):
            self.depth -= text.startswith("}")
            self.texts.append("    " * self.depth + text)
            self.depth += text.endswith("{")


JAM = 4  # turns of a loop written into one
BLOCK = 2048  # entries summed in one go: sums of such sums lose few digits


def _filled(t: Target, place: Callable[[Var], str]) -> list[str]:
    """The memory of a reduction before its loops."""
    if t.var.size == 0 or t.scans or (t.kind == "store" and not t.scattered):
        return []
    value = "0" if t.scattered else START.get(t.kind) or extreme(t.kind, t.var.dtype)
    if value == "0":
        return [f"memset({place(t.var)}, 0, {t.var.nbytes});"]
    return [f"for (int64_t i = 0; i < {t.var.size}; i++) {place(t.var)}[i] = {value};"]


def _jumped(jumps: tuple[tuple[Temp, int], ...]) -> str:
    return "".join(f" + {step}*{value.name}" for value, step in jumps)


def _address(a: Affine, counters: Sequence[int]) -> str:
    terms = [f"i{c}" if k == 1 else f"{k}*i{c}" for c, k in enumerate(a[:-1]) if k and c in counters]
    if a[-1] or not terms:
        terms.append(str(a[-1]))
    return " + ".join(terms)
