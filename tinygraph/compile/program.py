"""Programs: what tracing a function leaves, and what passes and targets work on.

A `Program` is straight-line code over primitives: each instruction applies one primitive op to variables and Python
numbers and writes one variable, once. It has inputs (arrays and numbers of the call), states (read at the call),
constants, outputs, and updates, which are written last. It knows nothing of derivatives: those were traced like the
rest. `run` executes it with NumPy, instruction by instruction, and so defines what every pass and target must keep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..op import Op
from ..ops.selection import ARRAY


@dataclass(frozen=True, eq=False, slots=True)
class Var:
    """An array of a program: written once, by an instruction or from outside.

    weak: it is a Python number, whose type yields to that of arrays. name: what the model calls it, or "".
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str = ""
    weak: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


Operand = Any  # a Var, or a Python number


@dataclass(frozen=True, eq=False, slots=True)
class Instruction:
    """`output = op(*inputs, **options)`."""

    op: type[Op]
    inputs: tuple[Operand, ...]
    options: Mapping[str, Any]
    output: Var

    @property
    def vars(self) -> tuple[Var, ...]:
        return tuple(x for x in self.inputs if isinstance(x, Var))


@dataclass(frozen=True, eq=False)
class Program:
    """Straight-line code over primitives; see the module. `print(program)` shows it line by line with shapes.

    inputs: given at each call, in order. states: the variable that holds each state's value at the call, in order.
    constants: arrays of the program itself. updates: pairs (variable of a state, variable of its new value).
    """

    name: str
    inputs: tuple[Var, ...]
    states: tuple[Var, ...]
    constants: Mapping[Var, np.ndarray]
    instructions: tuple[Instruction, ...]
    outputs: tuple[Var, ...]
    updates: tuple[tuple[Var, Var], ...] = ()

    @property
    def results(self) -> tuple[Var, ...]:
        """What must be computed: the outputs, then the new values of states."""
        return (*self.outputs, *[new for _, new in self.updates])

    def with_(self, **changes: Any) -> Program:
        return replace(self, **changes)

    def variables(self) -> Iterator[Var]:
        """Every variable, in the order in which they get their values."""
        yield from self.inputs
        yield from self.states
        yield from self.constants
        for instruction in self.instructions:
            yield instruction.output

    def run(self, inputs: Sequence[Any], states: Sequence[Any] = ()) -> tuple[list[Any], list[Any]]:
        """The outputs and the new values of updated states, computed by the ops' own forwards."""
        return self.call(inputs, states, lambda i, arguments: evaluated(i, arguments))

    def call(self, inputs: Sequence[Any], states: Sequence[Any],
             apply: Callable[[Instruction, list[Any]], Any]) -> tuple[list[Any], list[Any]]:
        """Execute with `apply(instruction, arguments)` for each step: on arrays, or on nodes."""
        if len(inputs) != len(self.inputs) or len(states) != len(self.states):
            raise ValueError(f"{self.name} takes {len(self.inputs)} inputs and {len(self.states)} states, "
                             f"got {len(inputs)} and {len(states)}")
        values: dict[Var, Any] = dict(self.constants)
        values.update(zip(self.inputs, inputs, strict=True))
        values.update(zip(self.states, states, strict=True))
        for i in self.instructions:
            values[i.output] = apply(i, [values[x] if isinstance(x, Var) else x for x in i.inputs])
        return [values[x] for x in self.outputs], [values[new] for _, new in self.updates]

    def uses(self) -> dict[Var, int]:
        """How often each variable is read, outputs and updates counted."""
        counts = dict.fromkeys(self.variables(), 0)
        for instruction in self.instructions:
            for x in instruction.vars:
                counts[x] += 1
        for x in self.results:
            counts[x] += 1
        return counts

    def names(self) -> dict[Var, str]:
        """A name for each variable, no two the same: the model's where there is one, %0, %1, ... elsewhere."""
        names: dict[Var, str] = {}
        taken: set[str] = set()
        for var in self.variables():
            name, n = var.name or f"%{len(names)}", 1
            while name in taken:
                n += 1
                name = f"{var.name}_{n}"
            taken.add(name)
            names[var] = name
        return names

    def __str__(self) -> str:
        names = self.names()
        lines = [(names[x], "input" + " (a number)" * x.weak, x) for x in self.inputs]
        lines += [(names[x], "state", x) for x in self.states]
        lines += [(names[x], "constant " + _brief(array), x) for x, array in self.constants.items()]
        lines += [(names[i.output], formula(i, names), i.output) for i in self.instructions]
        table = [(name, "= " + text, f"{x.shape} {x.dtype}") for name, text, x in lines]
        table += [(names[state], "<- " + names[new], "") for state, new in self.updates]
        widths = [max((len(row[column]) for row in table), default=0) for column in range(2)]
        body = "\n".join(f"  {a:<{widths[0]}} {b:<{widths[1]}}  {c}".rstrip() for a, b, c in table)
        returns = ", ".join(names[x] for x in self.outputs)
        return f"{self.name}:\n{body}\n  return {returns}".rstrip()


def evaluated(instruction: Instruction, arguments: list[Any]) -> Any:
    """What an instruction computes from arrays and Python numbers."""
    result = instruction.op.apply(*arguments, **instruction.options)
    return result.item() if instruction.output.weak and isinstance(result, np.generic | np.ndarray) else result


def formula(instruction: Instruction, names: Mapping[Var, str]) -> str:
    """An instruction as text: `MatMul(W1, X)`."""
    inputs = [names[x] if isinstance(x, Var) else repr(x) for x in instruction.inputs]
    options = [f"{name}={value}" for name, value in instruction.options.items()
               if value is not None and value is not False]
    return f"{instruction.op.__name__}({', '.join(inputs + options)})"


def _brief(array: np.ndarray) -> str:
    return f"{array.flat[0]!r}" if array.size == 1 else f"of {array.nbytes} bytes"


def frozen(value: Any) -> Any:
    """A hashable form of an option, the same for equal options."""
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    if isinstance(value, tuple | list):
        return (type(value).__name__, *map(frozen, value))
    if isinstance(value, np.ndarray):
        return ("array", value.shape, value.dtype.str, value.tobytes())
    if value is ARRAY:
        return "array"
    if isinstance(value, float):  # 0.0 is not -0.0, and NaN is NaN
        return "float", value.hex()
    return (type(value).__name__, value)


def ordered(instructions: Iterable[Instruction], results: Iterable[Var]) -> tuple[Instruction, ...]:
    """The instructions that the results depend on, in an order in which they can run (that of `instructions`)."""
    by_output = {i.output: i for i in instructions}
    needed: set[Var] = set()
    todo = list(results)
    while todo:
        var = todo.pop()
        if var not in needed:
            needed.add(var)
            if var in by_output:
                todo += by_output[var].vars
    return tuple(i for i in by_output.values() if i.output in needed)


def is_numpy(function: Any) -> bool:
    """Whether it is a universal function of NumPy's own, which may be written by its name."""
    return isinstance(function, np.ufunc) and getattr(np, function.__name__, None) is function
