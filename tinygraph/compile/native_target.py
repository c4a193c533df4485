"""The native target: a whole program as one call of C, built by the system's compiler.

`Schedule` decides what is stored and in which order: loop nests (see `loops`), matrix products by BLAS, checks, and
updates of states last. `source_of` prints that as one C function over an array of pointers; `building` compiles and
caches it. BLAS is SciPy's own, by function pointers from `scipy.linalg.cython_blas`.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..ops.selection import ARRAY
from . import buffers, building, calling
from .affine import Affine, unit
from .formulas import C_TYPES, REDUCERS, VECTOR_MATH, Unavailable, number
from .loops import (
    LONGEST,
    SMALL_PRODUCT,
    Graph,
    MustStore,
    Nest,
    Reader,
    Split,
    Target,
    Temp,
    cost_of,
    pieces,
    target_of,
)
from .program import Instruction, Operand, Program, Var

__all__ = ["Unavailable", "build"]


# ------------------------------------------------------------------------------------------------------------- steps

@dataclass(eq=False)
class Check:
    """low <= x < high for integers x, or the call ends here."""

    shape: tuple[int, ...]
    source: Var
    address: Affine
    low: int
    high: int


@dataclass(eq=False)
class View:
    """A stored variable seen as stacked matrices: strides in entries."""

    source: Var
    strides: tuple[int, ...]
    offset: int
    shape: tuple[int, ...]


@dataclass(eq=False)
class Gemm:
    """out = alpha A B + beta out, by BLAS, for each matrix of a stack."""

    A: View
    B: View
    out: Var
    shape: tuple[int, ...]
    factor: tuple[Operand, ...] = ()  # alpha is minus the product of these; then beta is 1


@dataclass(eq=False)
class Copy:
    """A stored variable, copied into the memory of a state, or into that of an output, given by its number."""

    source: Var
    out: Var | int


Step = Any


SHARED = 1_000_000  # multiplications from which on the products of matrices are shared out among threads
TOGETHER = 12  # targets in one nest at most
LONG = 1000  # instructions
MEMORY = 4096  # numbers from which on it takes longer to read them than to call a kernel
DEAR = 12  # additions that take longer than storing a number and reading it
ROUNDS = 8  # of looking for what is computed again and again


class Schedule:
    """What is stored where, and the steps in their order."""

    def __init__(self, program: Program) -> None:
        for var in program.variables():
            if var.dtype not in C_TYPES:
                raise Unavailable(f"arrays of {var.dtype} have no native form: use target=\"numpy\"")
        program = apart(program)
        self.program, self.graph = program, Graph(program)
        self.folded: dict[Var, tuple[Instruction, tuple[Operand, ...]]] = {}
        self.uses = program.uses()
        self.targets: dict[Var, Target] = {}
        self.inliners: dict[Var, set[Var]] = {}  # whose loops compute a variable that is not stored
        self._fold_updates()
        self.graph.stored |= {var for var in program.results if var in self.graph.make}
        self.long = len(program.instructions) > LONG  # mostly a loop that was unrolled: its turns shall look the same
        if self.long:
            self._store_what_is_shared()
        for _ in range(ROUNDS):
            self._settle()
            if not self._store_what_is_dear():
                break
        else:
            self._settle()

    def _settle(self) -> None:
        """Store what the loops of what is stored cannot do without, and put them in order."""
        todo = [var for var in self.graph.make if var in self.graph.stored]
        while todo:
            self._tried(self._reads, todo.pop(), found=todo)
        self.missed = True
        while self.missed:
            self.missed = False
            self._run()

    def _fold_updates(self) -> None:
        """W - lr * (A B), the new value of W, is one call of BLAS: the gradient itself never exists."""
        make = self.graph.make
        for state, new in self.program.updates:
            i = make.get(new)
            if i is None or i.op is not ops.Subtract or i.inputs[0] is not state or self.uses[new] != 1:
                continue
            step = make.get(i.inputs[1]) if isinstance(i.inputs[1], Var) else None
            if step is None or step.op is not ops.Multiply or self.uses[step.output] != 1:
                continue
            products = [x for x in step.inputs if isinstance(x, Var) and x in make and is_blas(make[x])]
            if len(products) == 1 and self.uses[products[0]] == 1 and products[0].dtype == state.dtype:
                factors = tuple(x for x in step.inputs if x is not products[0])
                if all(not isinstance(x, Var) or (x.size == 1 and x in self.graph.outside) for x in factors):
                    self.folded[new] = make[products[0]], factors

    def _run(self) -> None:
        self.steps: list[Step] = []
        self.writer: dict[Var, int] = {}
        self.readers: dict[Var, list[int]] = {}
        self.open: dict[tuple[int, ...], list[int]] = {}  # nests over a space that take more targets
        self.alias: dict[Var, Var] = {}  # a new value that is written straight into the memory of its state
        folded = {product.output for product, _ in self.folded.values()}
        skipped = folded | {x for new in self.folded for x in self.graph.make[new].inputs if isinstance(x, Var)}
        updates = self._in_place()
        self.outputs: dict[Var, int] = {}  # what is computed in the memory of an output
        for n, out in enumerate(self.program.outputs):
            if out in self.graph.make:
                self.outputs.setdefault(out, n)
        for i in self.program.instructions:
            for x, low, high in bounds(i):
                known = self.program.constants.get(x)
                if known is not None and known.size and low <= known.min() and known.max() < high:
                    continue
                source, address = self._tried(self.view, x)
                self._append(Check(x.shape, source, address, low, high), [source], None)
            var = i.output
            if var in self.graph.stored and var not in updates and var not in skipped and var not in self.writer:
                self._tried(self._add, var)
        for n, out in enumerate(self.program.outputs):
            if self.outputs.get(out) != n:
                self._append(Copy(out, n), [out], None)
        self.checked = max((n for n, step in enumerate(self.steps) if isinstance(step, Check)), default=-1)
        for new, state in updates.items():
            self.alias[new] = state
            if new in self.folded:
                product, factors = self.folded[new]
                gemm = self._tried(self._gemm, product, state, factors)
                self._append(gemm, [gemm.A.source, gemm.B.source], new)
            else:
                self._tried(self._add, new, state)
        for state, new in self.program.updates:
            if updates.get(new) is not state and new is not state:
                self._append(Copy(new, state), [new], None)

    def _tried(self, action: Callable[..., Any], *arguments: Any, found: list[Var] | None = None) -> Any:
        """What an action returns, once all is stored that it cannot do without; that is added to `found`."""
        while True:
            try:
                return action(*arguments)
            except MustStore as missing:
                if missing.var in self.graph.stored:
                    raise Unavailable(f"{self.graph.make[missing.var].op.__name__} has no native form: "
                                      "use target=\"numpy\"") from None
                self._store(missing.var)
                self.missed = True  # this schedule only goes on to find what else is missing
                if found is not None:
                    found.append(missing.var)

    def _store(self, var: Var) -> None:
        """Decide that a variable is stored: loops that had computed it read it now."""
        self.graph.stored.add(var)
        for user in self.inliners.pop(var, ()):
            self.targets.pop(user, None)

    def _in_place(self) -> dict[Var, Var]:
        """The new values that may be computed in the memory of their state: {new: state}, in program order."""
        make, chosen = self.graph.make, {}
        state_of = {new: state for state, new in reversed(self.program.updates)}
        outputs = set(self.program.outputs)
        for i in self.program.instructions:
            if i.output in state_of and i.output not in outputs:
                chosen[i.output] = state_of[i.output]
        later: set[Var] = set()  # what updates read that come later
        for new, state in [*chosen.items()][::-1]:
            if state in later:
                del chosen[new]  # somebody still needs the old value
            later |= self._tried(self._reads, new)
        for i in reversed(self.program.instructions):  # nobody but other updates may wait for a new value
            if i.output in self.graph.stored and i.output not in chosen:
                for x in self._tried(self._reads, i.output):
                    chosen.pop(x, None)
        return {new: state for new, state in chosen.items() if new in make}

    def _reads(self, var: Var) -> set[Var]:
        if var in self.folded:
            product, factors = self.folded[var]
            return {self.view(x)[0] for x in product.inputs} | {x for x in factors if isinstance(x, Var)}
        if is_blas(self.graph.make[var]):
            return {self.view(x)[0] for x in self.graph.make[var].inputs}
        return {v for v, _ in self.target(var).reads}

    def target(self, var: Var) -> Target:
        """How `var` is stored, with all that its loops read."""
        if var not in self.targets:
            target = target_of(self.graph, var)
            nest = Nest(self.graph, target)
            for (ranges, reader), _ in pieces(self.graph, [(0, m) for m in target.space], nest.evaluate):
                for source, address, *jumps in reader.loads:
                    if source is not var:
                        target.reads[source, () if jumps else address] = None  # of what jumps nothing is known
                for x, index in reader.computed:
                    times = math.prod(high - low for c, (low, high) in enumerate(ranges) if any(a[c] for a in index))
                    target.inlined[x, index] = target.inlined.get((x, index), 0) + times
                    self.inliners.setdefault(x, set()).add(var)
            self.targets[var] = target
        return self.targets[var]

    def view(self, x: Operand) -> tuple[Var, Affine]:
        """`x` as a stored variable and an affine address in the index of x."""
        graph, n = self.graph, x.ndim
        reader = Reader(graph, [(0, m) for m in x.shape])
        try:
            value = reader.value(x, tuple(unit(n, axis) for axis in range(n)))
        except Split:
            raise MustStore(x) from None
        if len(reader.statements) == 1 and isinstance(value, Temp) and reader.statements[0].source is not None:
            return reader.statements[0].source, reader.statements[0].address
        make = graph.make
        while x in make and make[x].op in (ops.Transpose, ops.Reshape):
            x = make[x].inputs[0]
        raise MustStore(x)

    def _matrix(self, x: Operand) -> View:
        """An operand of BLAS: one of its last two strides is 1."""
        source, address = self.view(x)
        rows, columns = address[-3:-1]
        if not (((columns == 1 or x.shape[-1] == 1) and (rows >= x.shape[-1] or x.shape[-2] == 1))
                or ((rows == 1 or x.shape[-2] == 1) and (columns >= x.shape[-2] or x.shape[-1] == 1))):
            raise MustStore(x)
        return View(source, address[:-1], address[-1], x.shape)

    def _gemm(self, i: Instruction, out: Var, factors: tuple[Operand, ...] = ()) -> Gemm:
        A, B = (self._matrix(x) for x in i.inputs)
        return Gemm(A, B, out, i.output.shape, factors)

    def _append(self, step: Step, reads: Sequence[Var], writes: Var | None) -> None:
        n = len(self.steps)
        self.steps.append(step)
        for var in reads:
            self.readers.setdefault(var, []).append(n)
        if writes is not None:
            self.writer[writes] = n

    def _add(self, var: Var, state: Var | None = None) -> None:
        """Schedule the computation of `var`: in a nest that is there already if that can be."""
        i = self.graph.make[var]
        if is_blas(i):
            gemm = self._gemm(i, var)
            self._append(gemm, [gemm.A.source, gemm.B.source], var)
            return
        target = self.target(var)
        first = 0
        for read, address in target.reads:
            if read in self.writer:
                n = self.writer[read]
                first = max(first, n if self._same_entry(self.steps[n], read, address, target) else n + 1)
        if state is not None:
            first = max(first, self.checked + 1)
            own = target.address
            for n in self.readers.get(state, []):
                step = self.steps[n]
                alike = (isinstance(step, Nest) and step.space == target.space
                         and all(a == own for t in step.targets for v, a in t.reads if v is state))
                first = max(first, n if alike else n + 1)
            if any(v is state and a != own for v, a in target.reads) or target.kind != "store" or target.scattered:
                del self.alias[var]  # reads more of the old value than the entry that it replaces
                self._add(var)
                self._append(Copy(var, state), [var], None)
                return
        open_ = self.open.setdefault(target.space, [])
        if (k := bisect_left(open_, first)) < len(open_):
            n = open_[k]
            self.steps[n].targets.append(target)
            if len(self.steps[n].targets) == TOGETHER:
                del open_[k]
        else:
            n = len(self.steps)
            if not self.long or target.points > MEMORY:
                open_.append(n)
            self.steps.append(Nest(self.graph, target))
        self.writer[var] = n
        for read, _ in target.reads:
            self.readers.setdefault(read, []).append(n)

    @staticmethod
    def _same_entry(step: Step, read: Var, address: Affine, target: Target) -> bool:
        """Whether loops that store `read` have, at each point, just the entry that `target` wants there."""
        if not isinstance(step, Nest) or step.space != target.space:
            return False
        writer = next(t for t in step.targets if t.var is read)
        return writer.kind == "store" and not writer.scattered and writer.address == address

    def lifetimes(self) -> dict[Var, tuple[int, int]]:
        """The first and the last step that need the memory of each variable that is neither given nor returned."""
        return {var: (first, max([first, *self.readers.get(var, ())])) for var, first in self.writer.items()
                if var not in self.alias and var not in self.outputs}

    def _store_what_is_shared(self) -> None:
        """Store what is read twice and takes some time, so that loops stay short."""
        inclusive: dict[Var, float] = {}
        for i in self.program.instructions:
            x = i.output
            inclusive[x] = cost_of(self.graph, i) + sum(inclusive.get(y, 0) for y in i.vars)
            if i.op in _WORTH and x not in self.graph.stored and (
                    inclusive[x] * (self.uses[x] - 1) > DEAR or inclusive[x] > LONGEST / 4):
                self.graph.stored.add(x)
            if x in self.graph.stored:
                inclusive[x] = 0

    def _store_what_is_dear(self) -> bool:
        """Store what several nests, or several entries of one, would compute again at some cost."""
        times: dict[Var, float] = {}
        for step in self.steps:
            if isinstance(step, Nest):
                once: dict[Any, int] = {}  # what several targets compute is computed once for all of them
                for t in step.targets:
                    for key, n in t.inlined.items():
                        once[key] = max(n, once.get(key, 0))
                for (var, _), n in once.items():
                    if var not in self.graph.stored:
                        times[var] = times.get(var, 0) + n
        inclusive: dict[Var, float] = {}
        dear: list[Var] = []
        for i in self.program.instructions:
            inclusive[i.output] = cost_of(self.graph, i) + sum(
                inclusive.get(x, 0) for x in i.vars if x not in self.graph.stored)
            again = times.get(i.output, 0) / max(i.output.size, 1) - 1
            if again > 0.5 and again * inclusive[i.output] > DEAR and i.op in _WORTH:
                dear.append(i.output)
        if not dear:
            return False
        below: set[Var] = set()  # what is computed again only inside something else that is
        for var in reversed(dear):
            todo = list(self.graph.make[var].vars)
            while todo:
                x = todo.pop()
                if x in self.graph.make and x not in self.graph.stored and x not in below:
                    below.add(x)
                    todo += self.graph.make[x].vars
        for var in [x for x in dear if x not in below] or dear[-1:]:
            self._store(var)
        return True


def apart(program: Program) -> Program:
    """The same for memory: results in whatever shape they are computed in, and no state becoming another state as it
    was, since what is copied last may be written by then."""
    make = {i.output: i for i in program.instructions}

    def base(x: Var) -> Var:
        while x in make and make[x].op is ops.Reshape and isinstance(make[x].inputs[0], Var):
            x = make[x].inputs[0]
        return x

    updates = [(state, base(new)) for state, new in program.updates]
    copies = {new: Instruction(ops.Identity, (new,), {}, Var(new.shape, new.dtype))
              for state, new in updates if new in program.states and new is not state}
    return program.with_(instructions=(*program.instructions, *copies.values()),
                         outputs=tuple(map(base, program.outputs)),
                         updates=tuple((state, copies[new].output if new in copies and new is not state else new)
                                       for state, new in updates))


_WORTH = {op for op in vars(ops).values() if isinstance(op, type) and issubclass(op, ops.Add.__mro__[1])} | {
    *REDUCERS, ops.MatMul}


def bounds(i: Instruction) -> list[tuple[Var, int, int]]:
    """What must be checked when an instruction runs: integers x with low <= x < high."""
    if i.op is ops.InRange:
        return [(i.inputs[0], 0, i.options["n"])]
    if i.op in (ops.Index, ops.ScatterAdd) and len(i.inputs) > 1:
        shape = i.inputs[0].shape if i.op is ops.Index else i.options["shape"]
        parts = list(i.options["index"])
        skipped = len(shape) - len(parts) + 1
        places = [n if Ellipsis not in parts[:n] else n + skipped - 1 for n, p in enumerate(parts) if p is ARRAY]
        return [(x, -shape[n], shape[n]) for n, x in zip(places, i.inputs[1:], strict=True)
                if isinstance(x, Var) and x.dtype.kind in "iu"]
    return []


def is_blas(i: Instruction) -> bool:
    """Whether an instruction is a matrix product that BLAS does faster than loops."""
    if i.op is not ops.MatMul or i.output.dtype.kind != "f" or any(x.dtype != i.output.dtype for x in i.inputs):
        return False
    (m, n), k = i.output.shape[-2:], i.inputs[0].shape[-1]
    return min(m, n) > 1 and k > 1 and m * n * k > SMALL_PRODUCT


# ----------------------------------------------------------------------------------------------------------- printing

PRELUDE = """\
#if defined(__GNUC__) && !defined(_OPENMP)
#pragma GCC diagnostic ignored "-Wunknown-pragmas"  /* -fopenmp-simd vectorises the loops */
#endif
#include <math.h>
#include <stdint.h>
#include <string.h>

"""


def declarations(body: str) -> str:
    """The vector functions of libm that a body calls, declared for use in vectorised loops."""
    lines = []
    for name, count in VECTOR_MATH.items():
        for ctype, call in (("double", name), ("float", name + "f")):
            if re.search(rf"\b{call}\(", body):
                arguments = ", ".join([ctype] * count)
                lines.append(f"VECTOR {ctype} {call}({arguments});")
    if not lines:
        return ""
    return ("#if defined(__x86_64__) && defined(__GLIBC__) && !defined(SCALAR_MATH)\n"
            "#define VECTOR __attribute__((simd(\"notinbranch\"), const))\n#else\n#define VECTOR\n#endif\n"
            + "\n".join(lines) + "\n\n")


_THREADS = """\
/* BLAS uses one thread for the time of a call, where that can be set: what is shared out is shared out here. */
int (*{name}_get)(void);
void (*{name}_set)(int);

"""
_OUTER = """\
int {name}(void *const *p, char *w)
{{
    const int before = {name}_get ? {name}_get() : 1;
    if (before != 1 && {name}_set) {name}_set(1);
    const int code = {name}_run(p, w);
    if (before != 1 && {name}_set) {name}_set(before);
    return code;
}}
"""


class _Kernel:
    """A block of C, and the same as a function of its arrays.

    given: the arrays as it is handed them: name, and from which entry on. What is only read is handed over once for
    each part of it, since the next turn of an unrolled loop may read parts that lie closer together.
    """

    def __init__(self, lines: list[str], types: dict[str, str]) -> None:
        self.lines, text = lines, "\n".join(lines)
        places: dict[str, set[int]] = {}
        fixed = set(_WRITTEN.findall(text))
        for name, index in _REFERENCE.findall(text):
            places.setdefault(name, set()).add(_constant_term(index))
            if not index:
                fixed.add(name)
        part: dict[tuple[str, int], int] = {}
        for name, found in places.items():
            first = before = min(found)
            for at in sorted(found):
                if at - before > NEAR and name not in fixed:
                    first = at
                part[name, at], before = first, at
        self.given: dict[tuple[str, int], int] = {}

        def relative(found: re.Match[str]) -> str:
            name, index = found.groups()
            first = part[name, _constant_term(index)]
            array = f"a{self.given.setdefault((name, first), len(self.given))}"
            if not index:
                return array
            at = _constant_term(index) - first
            terms = [term for term in index[1:-1].split(" + ") if not _NUMBER.fullmatch(term)]
            return f"{array}[{' + '.join([*terms, *[str(at)] * bool(at or not terms)])}]"

        self.text = _REFERENCE.sub(relative, text)
        self.key = self.text, tuple(types[name] for name, _ in self.given)


NEAR = 8  # entries between parts of an array at most that are handed over as one
_REFERENCE = re.compile(r"\b(v_\w+)(\[[^\]]*\])?")
_WRITTEN = re.compile(r"^ *(?:memset\(|for .*\) )?(v_\w+)", re.MULTILINE)
_NUMBER = re.compile(r"-?\d+")


def _constant_term(index: str | None) -> int:
    return sum(int(term) for term in (index or "")[1:-1].split(" + ") if _NUMBER.fullmatch(term))


class Printer:
    """The C function of a schedule."""

    def __init__(self, schedule: Schedule, threads: int, name: str) -> None:
        self.schedule, self.program, self.threads, self.name = schedule, schedule.program, threads, name
        program = self.program
        self.pointers: list[Any] = [*program.inputs, *program.states, *program.constants,
                                    *[("out", n) for n in range(len(program.outputs))]]
        self.names: dict[Any, str] = {}
        self._name_all()
        self.types = {name: C_TYPES[var.dtype] for var, name in self.names.items()}
        mine = schedule.lifetimes()
        self.offsets, self.workspace = buffers.arena({var: max(var.nbytes, 1) for var in mine}, mine)
        self.places = {self.names[var]: (offset, var.dtype.itemsize) for var, offset in self.offsets.items()}

    def _name_all(self) -> None:
        taken: set[str] = set()
        for var, name in self.program.names().items():
            base = "v_" + re.sub(r"\W", "", name)
            base = base if len(base) > 2 else "v_x"
            while base in taken:
                base += "_"
            taken.add(base)
            self.names[var] = base

    def place(self, var: Var) -> str:
        while var in self.schedule.alias:
            var = self.schedule.alias[var]
        return self.names[var]

    def source(self) -> str:
        program, s = self.program, self.schedule
        functions, body = self._shared([block for step in s.steps for block in self.step(step)])
        text = "\n".join("    " + line for line in body)
        named = set(re.findall(r"\bv_\w+", text))
        written = {self.place(new) for new in s.alias} | {self.names[step.out] for step in s.steps
                                                         if isinstance(step, Copy) and step.out in program.states}
        pointers = [(x, f"p[{n}]", "" if self.names[x] in written else "const ")
                    for n, x in enumerate(self.pointers) if isinstance(x, Var)]
        pointers += [(x, f"p[{self._output(n)}]", "") for x, n in s.outputs.items()]
        pointers += [(x, f"(void *)(w + {offset})", "") for x, offset in self.offsets.items()]
        lines = [f"    {const}{C_TYPES[x.dtype]} *restrict {self.names[x]} = {value};  /* {x.shape} */"
                 for x, value, const in pointers if self.names[x] in named]
        lines += [f"    (void){x};" for x in "pw" if not any(re.search(rf"\b{x}\b", y) for y in [*lines, text])]
        body_of = "\n".join(["{", *lines, "", text, "    return 0;", "}", ""])
        arguments = "(void *const *p, char *w)\n"
        gemms = "".join(f"typedef void gemm{c}(const char *, const char *, const int *, const int *, const int *, "
                        f"const {t} *, const {t} *,\n    const int *, const {t} *, const int *, const {t} *, {t} *, "
                        f"const int *);\ngemm{c} *{self.name}_gemm{c};\n\n"
                        for c, t in (("d", "double"), ("s", "float")) if f"gemm{c}(" in text + functions)
        head = PRELUDE + declarations(functions + text)
        if not gemms:
            return f"{head}{functions}int {self.name}{arguments}{body_of}"
        return (f"{head}{gemms}{_THREADS.format(name=self.name)}{functions}static int {self.name}_run{arguments}"
                f"{body_of}\n{_OUTER.format(name=self.name)}")

    def _shared(self, blocks: list[list[str]]) -> tuple[str, list[str]]:
        """Blocks that differ only in their arrays, and in where in these they begin, become one function: the
        functions, and the body that calls them."""
        found = [_Kernel(block, self.types) for block in blocks if block]
        counts = Counter(kernel.key for kernel in found)
        functions: dict[Any, str] = {}
        body: list[str] = []
        calls: list[tuple[int, str, _Kernel]] = []
        for kernel in found:
            if counts[kernel.key] < 2 or kernel.lines[0] != "{" or "return" in kernel.text:
                body += kernel.lines
                continue
            name = functions.setdefault(kernel.key, f"{self.name}_{len(functions)}")
            calls.append((len(body), name, kernel))
            body.append("")
        named = set(re.findall(r"\bv_\w+", "\n".join(body)))
        for n, name, kernel in calls:
            body[n] = f"{name}({', '.join(self._pointer(*at, named) for at in kernel.given)});"
        texts, self.kernels = [], len(functions)
        for (text, types), name in functions.items():
            arguments = ", ".join(f"{t} *restrict a{n}" for n, t in enumerate(types))
            texts.append(f"static void {name}({arguments})\n{{\n{text}\n}}\n\n")
        return "".join(texts), body

    def _pointer(self, name: str, first: int, named: set[str]) -> str:
        """An argument of a kernel: the array of that name, from one of its entries on."""
        if name not in named and name in self.places:  # in the workspace, and of no interest to anything but kernels
            offset, size = self.places[name]
            return f"w + {offset + first * size}"
        return f"(void *){name}" if not first else f"(void *)({name} + {first})"

    def _output(self, n: int) -> int:
        return len(self.pointers) - len(self.program.outputs) + n

    def step(self, step: Step) -> list[list[str]]:
        """The blocks of C of a step."""
        if isinstance(step, Nest):
            return step.source(self.place, self.threads)
        if isinstance(step, Gemm):
            return [self.gemm(step)]
        if isinstance(step, Copy):
            out = f"p[{self._output(step.out)}]" if isinstance(step.out, int) else self.names[step.out]
            return [[f"memcpy({out}, {self.place(step.source)}, {step.source.nbytes});"]]
        source, code = step.source, 1 + self.checks.index(step)
        index = [f"i{axis}" for axis in range(len(step.shape))]
        address = " + ".join([f"{k}*{i}" for k, i in zip(step.address, index, strict=False) if k]
                             + [str(step.address[-1])])
        loops = [f"for (int64_t {i} = 0; {i} < {m}; {i}++)" for i, m in zip(index, step.shape, strict=True)]
        loops[-1:] = [f"\n    #pragma omp simd reduction(|:bad)\n    {loop}" for loop in loops[-1:]]
        value = f"{self.place(source)}[{address}]"
        low = f"{value} < {step.low} || " if source.dtype.kind == "i" else ""
        return [["{", "    int bad = 0;", f"    {' '.join(loops)} bad |= {low}{value} >= {step.high};",
                 f"    if (bad) return {code};", "}"]]

    @property
    def checks(self) -> list[Check]:
        return [step for step in self.schedule.steps if isinstance(step, Check)]

    def gemm(self, g: Gemm) -> list[str]:
        """A call for row-major matrices of a library that has columns first: C' = B' A'."""
        c, t = ("d", "double") if g.out.dtype == np.float64 else ("s", "float")
        (m, n), k = g.shape[-2:], g.A.shape[-1]
        batch = g.shape[:-2]
        lines = ["{"]
        if k == 0 or 0 in g.shape:
            return [f"memset({self.place(g.out)}, 0, {g.out.nbytes});"] if g.out.nbytes else []

        def operand(x: View) -> tuple[str, int, str]:
            rows, columns = x.strides[-2:]
            if (columns == 1 and (rows >= x.shape[-1] or x.shape[-2] == 1)) or (x.shape[-1] == 1 and rows != 1):
                flag, step = "N", max(rows, x.shape[-1])
            else:
                flag, step = "T", max(columns, x.shape[-2])
            lead = [0] * (len(batch) - len(x.shape) + 2) + [0 if length == 1 else stride for length, stride in
                                                           zip(x.shape[:-2], x.strides[:-2], strict=True)]
            terms = [f"{s}*i{d}" for d, s in enumerate(lead) if s] + [str(x.offset)] * bool(x.offset)
            return flag, step, f"&{self.place(x.source)}[{' + '.join(terms)}]" if terms else self.place(x.source)

        fa, lda, a = operand(g.A)
        fb, ldb, b = operand(g.B)
        factors = "*".join(f"{self.names[x]}[0]" if isinstance(x, Var) else number(x, np.dtype(np.float64))
                           for x in g.factor)
        lines.append(f"    const int m = {n}, n = {m}, k = {k}, lda = {ldb}, ldb = {lda}, ldc = {n}; "
                     f"const {t} alpha = {'-(' + factors + ')' if factors else 1}, beta = {int(bool(factors))};")
        out, size = self.place(g.out), math.prod(batch)
        shared = self.threads > 1 and size * m * n * k > SHARED
        bands = self.threads if shared and size % self.threads else 1
        if shared:
            lines.append(f"    #pragma omp parallel for num_threads({self.threads}) schedule(static)")
        if size * bands > 1:
            lines.append(f"    for (int64_t i = 0; i < {size * bands}; i++) {{")
            step = size * bands
            for d, length in enumerate(batch):
                step //= length
                lines.append(f"        const int64_t i{d} = i / {step} % {length};")
            out += f" + i / {bands} * {m * n}" if size > 1 else ""
        elif batch:
            lines.append(f"    {{ const int64_t {', '.join(f'i{d} = 0' for d in range(len(batch)))};")
        if bands > 1:  # of rows, or of columns if those are more, in multiples of what fills a line of the cache
            length, name = (m, "n") if m >= n else (n, "m")
            first, last = (f"{length} * (i % {bands}{one}) / {bands}" for one in ("", " + 1"))
            lines.append(f"        const int64_t low = ({first}) & ~15, high = i % {bands} == {bands - 1} ? {length} : "
                         f"({last}) & ~15;\n        const int {name}_ = high - low;")
            if m >= n:
                a, out = f"{a} + low*{g.A.strides[-2]}", f"{out} + low*{n}"
            else:
                b, out = f"{b} + low*{g.B.strides[-1]}", f"{out} + low"
            call_m, call_n = ("&m", "&n_") if m >= n else ("&m_", "&n")
        else:
            call_m, call_n = "&m", "&n"
        operands = f"{call_m}, {call_n}, &k, &alpha, {b}, &lda, {a}, &ldb, &beta, {out}, &ldc"
        lines.append(f'        {self.name}_gemm{c}("{fb}", "{fa}", {operands});')
        lines += ["    }"] * bool(batch or bands > 1)
        return [*lines, "}"]


# ------------------------------------------------------------------------------------------------------------ running

class Executable:
    """A built program: `run` on arrays, `source`, `export`."""

    name = "native"

    def __init__(self, program: Program, threads: int) -> None:
        self.program, self.threads = program, threads
        self.schedule = Schedule(program)
        printer = Printer(self.schedule, threads, "tinygraph_" + program.name)
        self.symbol = printer.name
        self.source = printer.source()
        self.kernels, self.workspace, self.work = printer.kernels, printer.workspace, work_of(self.schedule)
        self.constants = [np.ascontiguousarray(x) for x in program.constants.values()]
        self.workspaces: list[tuple[np.ndarray, int]] = []

    def load(self, entry: Any) -> Callable[..., Any] | None:
        """Build and load the program; returns the short way to call it, if this signature has one."""
        short = calling.entry_source(self, entry) if entry.unpacking is not None else None
        path = building.built(self.source + (short[0] if short else ""), openmp=self.threads > 1)
        self.library = ctypes.CDLL(str(path))
        for c in "ds":
            if f"{self.symbol}_gemm{c}" in self.source:
                ctypes.c_void_p.in_dll(self.library, f"{self.symbol}_gemm{c}").value = building.blas(c + "gemm")
        if f"{self.symbol}_set" in self.source and (found := building.blas_threads()) is not None:
            for name, address in zip(("get", "set"), found, strict=True):
                ctypes.c_void_p.in_dll(self.library, f"{self.symbol}_{name}").value = address
        self.function = self.library[self.symbol]
        self.function.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self.function.restype = ctypes.c_int
        if short is None:
            return None
        return calling.quick_call(self, entry, ctypes.PyDLL(str(path))[self.symbol + "_call"], short[1])

    quick = load

    def explain(self) -> str:
        """What the program became: a line for the steps, and one for memory."""
        steps = self.schedule.steps
        loops, products, copies, checks = (sum(isinstance(step, kind) for step in steps)
                                           for kind in (Nest, Gemm, Copy, Check))
        stored = [var for var in self.schedule.writer if var not in self.schedule.alias]
        return (f"{loops} loop nests ({self.kernels} functions shared among them), {products} calls of BLAS, "
                f"{copies} copies, {checks} checks\n"
                f"{len(stored)} of {len(self.program.instructions)} results stored; workspace of {self.workspace:,} "
                f"bytes, {sum(var.nbytes for var in self.schedule.lifetimes()):,} if no two shared memory")

    def borrow(self) -> tuple[np.ndarray, int]:
        """A workspace that nobody else uses meanwhile, and its aligned address."""
        try:
            return self.workspaces.pop()
        except IndexError:
            memory = np.empty(self.workspace + 64, np.uint8)
            base = memory.ctypes.data
            return memory, base + -base % 64

    def run(self, inputs: Sequence[Any], states: Sequence[np.ndarray]) -> list[Any]:
        program = self.program
        arrays = [np.ascontiguousarray(x, var.dtype) for x, var in
                  zip([*inputs, *states], [*program.inputs, *program.states], strict=True)]
        outputs = [np.empty(var.shape, var.dtype) for var in program.outputs]
        pointers = [x.ctypes.data for x in (*arrays, *self.constants, *outputs)]
        workspace = self.borrow()
        code = self.function((ctypes.c_void_p * max(len(pointers), 1))(*pointers), workspace[1])
        self.workspaces.append(workspace)
        if code:
            self.fail(code, inputs, states)
        return [x.item() if var.weak else x for x, var in zip(outputs, program.outputs, strict=True)]

    def fail(self, code: int, inputs: Sequence[Any], states: Sequence[np.ndarray]) -> None:
        """Raise the error of a check, with the words of its op."""
        self.program.run(inputs, states)
        raise RuntimeError(f"check {code} of {self.program.name} failed, but not in NumPy")  # pragma: no cover

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the program as C files of its own; see `c_files`."""
        from . import c_files

        c_files.write(self, path)


def work_of(schedule: Schedule) -> int:
    """About how many operations a call takes."""
    return sum(step.points * len(step.targets) if isinstance(step, Nest)
               else math.prod(step.shape) * step.A.shape[-1] if isinstance(step, Gemm) else 0
               for step in schedule.steps)


def build(program: Program, threads: int = 1) -> Executable:
    """The program as native code; `Unavailable` if an op or a dtype has no native form or there is no compiler."""
    return Executable(program, threads)
