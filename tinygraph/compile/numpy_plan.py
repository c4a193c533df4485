"""What becomes a statement of NumPy source, in which order, and whose memory its result gets.

A `Plan` sees the instructions of a program and their forms (`numpy_text`), not the text. Small results that are used
once are written inside the expression of their user, as long as that stays short. Statements keep the order of the
program, except that what writes into a state comes after all that reads its old value, and after all that may raise.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .. import ops
from ..recording import Variable
from . import buffers
from .numpy_text import (
    FILLED,
    FOREIGN,
    POOLED,
    RESHAPED,
    UFUNC,
    AddAt,
    Copy,
    Form,
    form_of,
    is_array,
    is_over_windows,
    is_weighted,
)
from .program import Instruction, Operand, Program, Var, ordered

SMALL = 2048  # bytes up to which a result is made anew each time: an allocation takes no longer than out=
OPERATIONS = 4  # in one expression at most, besides the last
DEPTH = 6  # of an expression, views counted

_RENAMING = (ops.Identity, ops.StopGradient, Variable)
_WHOLE = (ops.Reshape, ops.Transpose, ops.ExpandDims, ops.Squeeze, ops.SwapAxes)  # show all of what they are given
_STRIDED = (ops.Transpose, ops.Windows, ops.Index, ops.BroadcastTo)  # a Reshape of these copies


@dataclass(eq=False)
class Statement:
    """An instruction, together with those that are written inside its expression.

    state: the state into whose memory it writes. over: the value that was in the memory which it takes over.
    """

    instruction: Instruction
    form: Form
    state: Var | None = None
    over: Var | None = None

    @property
    def output(self) -> Var:
        return self.instruction.output

    @property
    def checks(self) -> bool:
        """It only raises, or not."""
        return self.instruction.op is ops.InRange


class Cyclic(Exception):
    """The new value of a state cannot be written straight into its memory."""

    def __init__(self, state: Var) -> None:
        super().__init__(state)
        self.state = state


def planned(program: Program) -> Plan:
    """The plan of a program. States whose new values need each other's old ones are updated by copies."""
    indirect: Counter[Var] = Counter()
    while True:
        try:
            return Plan(program, indirect)
        except Cyclic as cycle:
            indirect[cycle.state] += 1


class Plan:
    """See the module."""

    def __init__(self, program: Program, indirect: Counter[Var]) -> None:
        self.indirect = indirect  # states that are updated by a copy (1), or by a copy of a copy (2)
        self.make: dict[Var, Instruction] = {}
        self.form: dict[Var, Form] = {}
        self.same: dict[Var, Operand] = {}  # what only has another name
        self.uses = Counter(program.uses())
        self.held: set[Var] = set()  # what the caller gets, and what it shows
        for i in ordered(program.instructions, program.results):
            self._enter(i)
        self.outputs = self._outputs(program)
        self.direct = self._updates(program)  # from a value to the state into whose memory it is written
        self.uses = Counter(x for i in self.make.values() for x in i.vars)
        self.uses.update((*self.held, *self.direct))
        self.root: dict[Var, Var] = {}  # whose memory a view shows
        self.inline: set[Var] = set()
        self.operations: Counter[Var] = Counter()
        self.depth: Counter[Var] = Counter()
        for i in self.make.values():
            if self.form[i.output].view and isinstance(x := i.inputs[0], Var):
                self.root[i.output] = self.root.get(x, x)
            self._choose_inline(i)
        self._chain()
        self.statements = self._ordered([Statement(i, self.form[x], self.direct.get(x))
                                         for x, i in self.make.items() if x not in self.inline])
        self._share()

    def op(self, x: Operand) -> Any:
        """The op that makes `x`, or None."""
        return self.make[x].op if x in self.make else None

    # ------------------------------------------------------------------------------------------------ the instructions

    def _enter(self, i: Instruction) -> None:
        """Add an instruction. What only renames its operand, or checks it, leaves its name to it."""
        i = replace(i, inputs=tuple(self.same.get(x, x) if isinstance(x, Var) else x for x in i.inputs))
        if i.op is ops.InRange:
            self._add(replace(i, output=Var((), i.output.dtype)))
        if i.op is ops.InRange or i.op in _RENAMING:
            if is_array(i.inputs[0]) or i.output.weak:
                self.same[i.output] = i.inputs[0]
                return
            i = Instruction(ops.Cast, i.inputs, {"dtype": i.output.dtype}, i.output)
        self._add(self._added_at(i) if i.op is ops.Add else i)

    def _added_at(self, i: Instruction) -> Instruction:
        """What was added into zeros, to be added to an array, is added there."""
        for part, array in (i.inputs[::-1], i.inputs):
            if self.op(part) is ops.ScatterAdd and self.uses[part] == 1 and is_array(array) and (
                    array.shape == i.output.shape and array.dtype == i.output.dtype == part.dtype):
                del self.form[part]
                scatter = self.make.pop(part)
                return Instruction(AddAt, (array, *scatter.inputs), {"index": scatter.options["index"]}, i.output)
        return i

    def _add(self, i: Instruction) -> Var:
        self.make[i.output], self.form[i.output] = i, form_of(i)
        if i.op is ops.Reshape and i.output.nbytes > SMALL and self.op(i.inputs[0]) in _STRIDED:
            self.form[i.output] = RESHAPED
        if i.op in (ops.Max, ops.Min) and i.output.shape and self.op(i.inputs[0]) is ops.Windows and (
                is_over_windows(i)):
            self.form[i.output] = POOLED
        return i.output

    def _copy(self, x: Var, name: str = "") -> Var:
        return self._add(Instruction(Copy, (x,), {}, Var(x.shape, x.dtype, name)))

    def _outputs(self, program: Program) -> list[Operand]:
        """The outputs, each in memory of its own."""
        found: list[Operand] = []
        for output in program.outputs:
            x = self.same.get(output, output)
            if is_array(x):
                if self.op(x) is ops.BroadcastTo:
                    self.form[x] = FILLED
                shown = x
                while self.op(shown) in _WHOLE and self.form[shown].view:
                    shown = self.make[shown].inputs[0]
                if shown not in self.make or shown in self.held or self.form[shown].view or (
                        self.form[shown] is FOREIGN):
                    x = shown = self._copy(x, x.name)
                self.held |= {x, shown}
            found.append(x)
        return found

    def _updates(self, program: Program) -> dict[Var, Var]:
        """Which new values are computed in the memory of their state; the others are copied into it."""
        direct: dict[Var, Var] = {}
        for state, new in program.updates:
            x = self.same.get(new, new)
            if x is state:
                continue
            if self.op(x) is ops.BroadcastTo:
                self.form[x] = FILLED
            free = x in self.make and x not in direct and x not in self.held
            if self.indirect[state] or not free or not self._may_write(self.make[x], state):
                x = self._copy(self._copy(x) if self.indirect[state] > 1 else x)
            direct[x] = state
        return direct

    def _may_write(self, i: Instruction, state: Var) -> bool:
        form = self.form[i.output]
        if form.view or form.raises or not self._has_out(i.output):
            return False
        if form is UFUNC:  # of which NumPy keeps what it reads apart from what it writes
            return True
        seen: set[Var] = set()
        todo = list(i.vars)
        while todo:
            x = todo.pop()
            if x is state:
                return False
            if x in self.make and x not in seen and (self.form[x].view or x.nbytes <= SMALL):
                todo += self.make[x].vars
            seen.add(x)
        return True

    # ----------------------------------------------------------------------------------------- what is one expression

    def _choose_inline(self, i: Instruction) -> None:
        """Choose the operands that are written inside this instruction's expression."""
        for x in i.vars:
            if x in self.inline or self._may_inline(x, i):
                self.inline.add(x)
                free = self.form[x].view or is_weighted(i, self.make[x])
                self.operations[i.output] += self.operations[x] + (not free)
                self.depth[i.output] = max(self.depth[i.output], self.depth[x] + 1)

    def _may_inline(self, x: Var, user: Instruction) -> bool:
        i = self.make.get(x)
        if i is None or x in self.direct or x in self.held or self.form[user.output].repeats or (
                i.op in (ops.Windows, Copy) or (user.op is AddAt and user.inputs[0] is x)):
            return False
        form = self.form[x]
        if form.text is None or form.raises or not (form.view or x.nbytes <= SMALL) or self.depth[x] >= DEPTH:
            return False
        if i.op is ops.Transpose and not any(y in self.inline for y in i.vars):
            return True  # costs no more than a name
        return self.uses[x] == 1 and (not x.name or x.name == user.output.name) and (
            self.operations[x] + self.operations[user.output] < OPERATIONS or is_weighted(user, i))

    def _chain(self) -> None:
        """`v *= 0.9` and then `v += g`: what an update is made of may be computed in the state's memory, too."""
        self.begun: set[Var] = set()
        for x, state in list(self.direct.items()):
            while state not in self.reads(x):
                before = [y for y in self.form[x].over(self.make[x]) if self.uses[y] == 1 and self.op(y) is not None
                          and self.form[y] is UFUNC and y not in self.inline and state in self.reads(y)]
                if not before:
                    break
                x = before[0]
                self.direct[x] = state
                self.begun.add(x)

    # ------------------------------------------------------------------------------------------------------- the order

    def leaves(self, x: Var) -> Iterator[Var]:
        """The variables that the statement of `x` names."""
        for y in self.make[x].vars:
            if y in self.inline:
                yield from self.leaves(y)
            else:
                yield y

    def reads(self, x: Var) -> set[Var]:
        """Whose memory the statement of `x` reads."""
        return {self.root.get(y, y) for y in self.leaves(x)}

    def _ordered(self, statements: list[Statement]) -> list[Statement]:
        place = {s.output: n for n, s in enumerate(statements)}
        first: dict[Var, int] = {}  # for each state the statement that writes into it first
        for n, s in enumerate(statements):
            if s.state is not None and not any(self.direct.get(y) is s.state for y in self.leaves(s.output)):
                first[s.state] = n
        before = [{place[y] for y in self.leaves(s.output) if y in place} for s in statements]
        for n, s in enumerate(statements):
            for state in first if s.form.raises else self.reads(s.output):
                if first.get(state, n) != n:
                    before[first[state]].add(n)
        after: list[list[int]] = [[] for _ in statements]
        for n, earlier in enumerate(before):
            for m in earlier:
                after[m].append(n)
        missing = [len(earlier) for earlier in before]
        ready = [n for n, count in enumerate(missing) if not count]
        found = []
        while ready:
            n = heapq.heappop(ready)
            found.append(statements[n])
            for m in after[n]:
                missing[m] -= 1
                if not missing[m]:
                    heapq.heappush(ready, m)
        if len(found) < len(statements):
            raise Cyclic(min((state for state, n in first.items() if missing[n]), key=self.indirect.__getitem__))
        return found

    # ---------------------------------------------------------------------------------------------------------- memory

    def _share(self) -> None:
        """Plan whose memory each large result gets: `owner` is the first value in it; `borrowed` says for an owner of
        whose array in the workspace it is. Any other owner's memory is made anew in each call."""
        kinds: dict[Any, Any] = {}
        begun = {i.inputs[0] for i in self.make.values() if i.op is AddAt}
        steps = []
        for s in self.statements:
            x, over = s.output, ()
            managed = self._has_memory(s) and (x.nbytes > SMALL or s.form.text is None or x in begun)
            if managed:
                kinds[x] = x.shape, x.dtype
                over = self._overwrites(s, kinds)
            steps.append(buffers.Step(x if managed else None, self.reads(x), over))
        held = [x for x in self.held if x in kinds]
        self.owner: dict[Any, Any] = buffers.owners(steps, kinds, held)
        intervals = buffers.lifetimes(steps, self.owner, held)
        anew = {self.owner[x] for x in held} | {x for x in kinds if x.nbytes <= SMALL or not self._has_out(x)}
        self.borrowed: dict[Any, Any] = buffers.pooled(kinds, {x: i for x, i in intervals.items() if x not in anew})
        last: dict[Any, Var] = {}
        for s in self.statements:
            if s.output in self.owner:
                s.over = last.get(self.owner[s.output])
                last[self.owner[s.output]] = s.output

    def _has_memory(self, s: Statement) -> bool:
        """Whether the result is an array in memory of its own; what has no axis is a NumPy scalar."""
        return not (s.checks or s.form.view or s.form is FOREIGN or s.state is not None or s.output.shape == ())

    def _has_out(self, x: Var) -> bool:
        return self.form[x].into is not None or self.form[x].lines is not None

    def _overwrites(self, s: Statement, kinds: dict[Any, Any]) -> Any:
        """The operands over which a statement may write. What shows another view of their memory forbids it."""
        if not self._has_out(s.output):
            return ()
        return [x for x in s.form.over(s.instruction) if x in kinds and x not in self.inline
                and all(y is x or self.root.get(y, y) is not x for y in s.instruction.vars)]

    @property
    def bytes(self) -> tuple[int, int]:
        """The size of the workspace, and what it were if no two results shared memory."""
        return (sum(x.nbytes for x in set(self.borrowed.values())),
                sum(x.nbytes for x, owner in self.owner.items() if owner in self.borrowed))
