"""Rewriting: the walk over a program that passes are made of, and what their rules may ask and do on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any

import numpy as np

from .. import ops
from ..op import Elementwise, Op
from .outline import Outline
from .program import Instruction, Operand, Program, Var

Shape = tuple[int, ...]
Rule = Callable[["Rewriter", Instruction], "Var | Instruction | None"]

BOOL = np.dtype(bool)


class Rules:
    """A table: for an op, the rules that may apply to it, those for all elementwise ops last.

    A rule returns None (nothing to do), another instruction for the same output, or the variable that replaces the
    output.
    """

    def __init__(self, *tables: Rules) -> None:
        self.table: dict[type[Op], list[Rule]] = {}
        self.found: dict[type[Op], list[Rule]] = {}
        for rules in tables:
            for op, known in rules.table.items():
                self.table.setdefault(op, []).extend(known)

    def on(self, *ops: type[Op]) -> Callable[[Rule], Rule]:
        """Register the function below as a rule for these ops."""
        def register(rule: Rule) -> Rule:
            for op in ops:
                self.table.setdefault(op, []).append(rule)
            return rule
        return register

    def of(self, op: type[Op]) -> list[Rule]:
        if op not in self.found:
            self.found[op] = [*self.table.get(op, ()), *(self.table.get(Elementwise, ()) if op.elementwise else ())]
        return self.found[op]


class Rewriter:
    """One walk over a program, and what rules may ask and do on the way: they see operands already rewritten."""

    def __init__(self, program: Program, rules: Rules) -> None:
        self.program, self.rules = program, rules
        self.constants = dict(program.constants)
        self.uses = program.uses()  # never too low; too high for what was replaced in this walk
        self.made: dict[Var, Instruction] = {}  # the new program so far
        self.replaced: dict[Var, Var] = {}
        self.names: dict[Var, str] = {}
        self.numbers: dict[Var, Any] = {}
        self.pieces: dict[Var, tuple[int, int]] = {}  # sums of pieces in zeros: their axis, total length
        self.changed = False

    def run(self) -> Program:
        """The program rewritten, or the very same if no rule applied."""
        for i in self.program.instructions:
            if self.replaced:
                i = i if all(x not in self.replaced for x in i.inputs) else Instruction(
                    i.op, tuple(self.replaced.get(x, x) for x in i.inputs), i.options, i.output)
            new = self.put(i)
            if new is not i.output:
                self.replaced[i.output] = new
                self.uses[new] += self.uses[i.output]
                if i.output.name and not new.name and new in self.made:
                    self.names.setdefault(new, i.output.name)
        if not self.changed:
            return self.program
        named = {var: Var(var.shape, var.dtype, name, var.weak) for var, name in self.names.items()}

        def final(var: Any) -> Any:
            var = self.replaced.get(var, var)
            return named.get(var, var)

        instructions = self.made.values() if not named else [
            Instruction(i.op, tuple(named.get(x, x) for x in i.inputs), i.options, final(i.output))
            for i in self.made.values()]
        return self.program.with_(constants=self.constants, instructions=tuple(instructions),
                                  outputs=tuple(map(final, self.program.outputs)),
                                  updates=tuple((state, final(new)) for state, new in self.program.updates))

    # ------------------------------------------------------------------------------------------------ what rules ask

    def maker(self, x: Operand, *kinds: type[Op]) -> Instruction | None:
        """The instruction that makes `x`, if it is of one of these ops."""
        i = self.made.get(x)
        return i if i is not None and i.op in kinds else None

    def once(self, x: Var) -> bool:
        """Whether `x` is read once only."""
        return self.uses[x] <= 1

    def number(self, x: Operand) -> Any:
        """The Python number that every entry of `x` is known to be, or None."""
        if not isinstance(x, Var):
            return x
        while (i := self.maker(x, ops.BroadcastTo, ops.Reshape)) is not None:
            x = i.inputs[0]
        if x not in self.constants:
            return None
        if x not in self.numbers:
            self.numbers[x] = _uniform(self.constants[x])
        return self.numbers[x]

    # -------------------------------------------------------------------------------------------------- what rules do

    def put(self, i: Instruction) -> Var:
        """Add an instruction, after the rules had their say; the variable that holds its result."""
        fired = True
        while fired:
            fired = False
            for rule in self.rules.of(i.op):
                new = rule(self, i)
                if new is None:
                    continue
                self.changed = True
                if isinstance(new, Var):
                    if (new.shape, new.dtype, new.weak) != (i.output.shape, i.output.dtype, i.output.weak):
                        raise AssertionError(f"a rule for {i} made {new}")
                    return new
                i, fired = new, True
                self._count(i)
                break
        self.made[i.output] = i
        return i.output

    def emit(self, op: type[Op], *inputs: Operand, **options: Any) -> Var:
        """The result of an op, whose shape and dtype NumPy itself tells (see `outline`)."""
        outlines = [Outline(x.shape, x.dtype, x.weak) if isinstance(x, Var) else x for x in inputs]
        with np.errstate(all="ignore"):
            result = op.apply(*outlines, **options)
        return self.make(op, inputs, options, result.shape, result.dtype, getattr(result, "weak", False))

    def make(self, op: type[Op], inputs: tuple[Operand, ...], options: dict[str, Any], shape: Shape,
              dtype: np.dtype[Any], weak: bool = False) -> Var:
        """The result of an op, of a shape and dtype that are known."""
        output = Var(shape, dtype, weak=weak)
        self.uses[output] = 0
        i = Instruction(op, inputs, options, output)
        self._count(i)
        return self.put(i)

    def constant(self, array: np.ndarray) -> Var:
        var = Var(array.shape, array.dtype)
        self.constants[var] = array
        self.uses[var] = 0
        return var

    def cast(self, x: Var, dtype: np.dtype[Any]) -> Var:
        """`x` in a dtype, and strong."""
        return x if x.dtype == dtype and not x.weak else self.make(ops.Cast, (x,), {"dtype": dtype}, x.shape, dtype)

    def strong(self, x: Operand) -> Var:
        """`x`, of which only arrays have a type of their own, as an array."""
        return self.cast(x, x.dtype) if isinstance(x, Var) else self.constant(np.asarray(x))

    def reshape(self, x: Var, shape: Shape) -> Var:
        x = self.strong(x)
        return x if x.shape == shape else self.make(ops.Reshape, (x,), {"shape": shape}, shape, x.dtype)

    def transpose(self, x: Var, axes: Sequence[int]) -> Var:
        return self.make(ops.Transpose, (x,), {"axes": tuple(axes)}, tuple(x.shape[axis] for axis in axes), x.dtype)

    def swap(self, x: Var) -> Var:
        """`x` with its last two axes exchanged."""
        return self.transpose(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])

    def broadcast(self, x: Var, shape: Shape) -> Var:
        x = self.strong(x)
        if math.prod(shape) == x.size:
            return self.reshape(x, shape)
        return self.make(ops.BroadcastTo, (x,), {"shape": shape}, shape, x.dtype)

    def filled(self, value: Any, like: Var) -> Var:
        """An array of the shape and dtype of `like`, full of one number."""
        return self.broadcast(self.constant(np.asarray(value, like.dtype)), like.shape)

    def reduce(self, op: type[Op], x: Var, axes: Iterable[int], shape: Shape) -> Var:
        """The reduction of `x` over axes, in the shape that is wanted."""
        axes = tuple(axes)
        keepdims = shape == reduced_shape(x.shape, axes, True)
        reduced = reduced_shape(x.shape, axes, keepdims)
        return self.reshape(self.make(op, (x,), {"axis": axes, "keepdims": keepdims}, reduced, x.dtype), shape)

    def _count(self, i: Instruction) -> None:
        for x in i.vars:
            self.uses[x] += 1


def reduced_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    return tuple(1 if axis in axes else n for axis, n in enumerate(shape) if keepdims or axis not in axes)


def became(i: Instruction, op: type[Op], inputs: tuple[Operand, ...], options: dict[str, Any]) -> Instruction | None:
    """The instruction with another content, or None if it is that already."""
    same = i.op is op and len(inputs) == len(i.inputs) and all(map(is_, inputs, i.inputs))
    if same and i.options == options and repr(i.options) == repr(options):  # np.int64(1) is 1, but looks different
        return None
    return Instruction(op, inputs, options, i.output)


def _uniform(array: np.ndarray) -> Any:
    """The Python number that all entries of an array are, to the bit, or None."""
    if not array.size or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        return None
    first = array.flat[0]
    if array.size > 1:
        if not all(array.flat[k] == first for k in range(1, min(array.size, 8))):
            return None
        whole = array[tuple(slice(1) if step == 0 else slice(None) for step in array.strides)]
        if not np.all(whole == first) or (first == 0 and np.any(np.signbit(whole) != np.signbit(first))):
            return None
    return first.item()


def pairs(i: Instruction) -> list[tuple[Operand, Operand]]:
    a, b = i.inputs
    return [(a, b), (b, a)]


def is_number(x: Operand, number: float) -> bool:
    return not isinstance(x, Var) and x == number


def only_pads(i: Instruction) -> bool:
    """Whether shapes differ by leading axes of length 1 alone, which broadcasting does not see."""
    a, b = i.inputs[0].shape, i.output.shape
    n = min(len(a), len(b))
    return a[len(a) - n:] == b[len(b) - n:] and all(k == 1 for k in (*a[:len(a) - n], *b[:len(b) - n]))


def lossless(a: np.dtype[Any], b: np.dtype[Any]) -> bool:
    return np.can_cast(a, b, "safe") and not (a.kind in "iu" and a.itemsize == 8 and b.kind in "fc")
