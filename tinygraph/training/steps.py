"""Steps of training: a batch in, the parameters moved, the loss out; compiled where that pays, undone where it must be.

A step is compiled for each form of batch that will come often enough. Whether it does is worked out from shapes and
counts alone, never from a clock: the same run takes the same steps to the last bit. While steps are taken, the states
of some steps ago are kept together with the batches since then. When a loss or a parameter is not finite, that much is
done again, one step at a time, up to the step that spoiled it, and `detect_nan` names the node.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..compile import compile
from ..detect import detect_nan
from ..node import Node, Parameter, State, Version
from ..states import states
from ..structure import leaves, mapped
from .batches import Arrays, Batch, Batches, count

# Compiling costs about 3 ms an instruction, and saves about 0.3 ms a step, and 0.6 ms more for each million entries of
# all arrays in it: measured for networks of 50 to 700,000 weights, dense and convolutional (C that was built before
# costs a sixth). Nothing that runs fewer steps than LEAST is looked at.
STEPS_PER_INSTRUCTION, ENTRIES, LEAST = 10, 500_000, 50

# How far back the states are kept: so many steps, or batches of so many bytes.
KEPT_STEPS, KEPT_BYTES = 100, 1 << 26


class NotFiniteError(FloatingPointError):
    """A loss, gradient or parameter became infinite or NaN in training; `history` holds the epochs before."""

    history: Any = None


class Stepper:
    """Takes the steps of one call of `fit`."""

    def __init__(self, model: Any, loss: Any, optimizer: Any, source: Arrays | Batches, compile_steps: bool | str,
                 outputs: bool) -> None:
        def gradient(x: Any, y: Any, *weights: Any) -> Any:
            found = model(x)
            value = loss(found, y, weights=weights[0]) if weights else loss(found, y)
            if not isinstance(value, Node):
                raise TypeError("the loss is no node: no parameter takes part in it")
            value.backprop()
            return (value, found) if outputs else value

        def step(*batch: Any) -> Any:
            result = gradient(*batch)
            optimizer.step()
            return result

        self.gradient, self.optimizer, self.eager = gradient, optimizer, step
        self.source, self.with_outputs = source, outputs
        self.compiled: Any = None if compile_steps is False else compile(step)
        self.strict = compile_steps is True
        self.states = list(states([model, optimizer, loss]).values())
        self.parameters = [state for state in self.states if isinstance(state, Parameter) and _finite(state)]
        self.names = {id(state): name for name, state in states(model).items()}
        self.needed: float | None = None  # uses of a whole batch
        self.kept: list[tuple[Any, bool]] = []  # the tickets of the batches since, and whether each ran compiled
        self.kept_bytes = 0
        self.before: list[Version] = []
        self.place = 0, 0

    def begin(self) -> None:
        """Keep the states as they are now; they must be finite."""
        if self.kept and not all(map(_finite, self.parameters)):
            raise self.blame("")
        self.before, self.kept, self.kept_bytes = self.versions(), [], 0

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """For code that may change states between steps: taking the steps again would not change them again."""
        before = self.versions()
        yield
        if any(map(operator.is_not, before, self.versions())):
            self.begin()

    def __call__(self, batch: Batch, ticket: Any, uses: float, place: tuple[int, int]) -> tuple[float, Any]:
        """Take a step; the loss, and the outputs if they were asked for.

        uses: of batches of this form, in all. place: the epoch and the step in it, for people.
        """
        if len(self.kept) >= KEPT_STEPS or self.kept_bytes > KEPT_BYTES:
            self.begin()
        self.place = place
        compiled = self.compiled is not None and (self.strict or (uses >= LEAST and self.pays(batch, uses)))
        try:
            result = self.run(batch, compiled)
        except KeyboardInterrupt:
            if compiled:  # the step may have been half done
                self.rewind()
            raise
        loss, outputs = result if self.with_outputs else (result, None)
        self.kept.append((ticket, compiled and self.compiled is not None))
        self.kept_bytes += self.source.nbytes(ticket)
        value = float(loss.item())
        if not math.isfinite(value):
            raise self.blame(f"the loss is {value}")
        return value, plain(outputs)

    def pays(self, batch: Batch, uses: float) -> bool:
        """Whether so many uses of a batch of this form are worth the compiling. The answer does not depend on the batch
        at which a run begins."""
        if isinstance(self.source, Batches):
            return uses > 0
        whole = self.source.batch_size
        if self.needed is None:
            try:
                program = self.compiled.trace(*self.source.again(self.source.rows[:whole]))
                size = sum(var.size for var in program.variables())
                self.needed = STEPS_PER_INSTRUCTION * len(program.instructions) / (1 + size / ENTRIES)
            except Exception:
                self.needed = 0.0  # let compiling say what is wrong
        return uses * count(batch[1]) >= self.needed * whole

    def run(self, batch: Batch, compiled: bool) -> Any:
        if not compiled or self.compiled is None:
            return self.run_eagerly(batch)
        try:
            return self.compiled(*batch)
        except Exception as error:
            if self.strict:
                raise
            result = self.run_eagerly(batch)  # if the batch is at fault, this says so
            self.compiled = None
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"training runs eagerly, which is slower, because the step cannot be compiled: {reason}",
                          stacklevel=5)
            return result

    def run_eagerly(self, batch: Batch) -> Any:
        before = self.versions()
        with np.errstate(all="ignore"):  # what is not finite in the end is said once, and where it began
            try:
                result = self.gradient(*batch)
            except BaseException:
                self.restore(before)
                raise
            del before  # what nobody else holds, an optimizer may write into
            try:
                self.optimizer.step()
            except BaseException:
                self.rewind()
                raise
        return result

    def versions(self) -> list[Version]:
        return [state._version for state in self.states]

    def restore(self, versions: list[Version]) -> None:
        for state, version in zip(self.states, versions, strict=True):
            state._version = version

    def rewind(self) -> None:
        """Put the states where they were after the kept steps."""
        self.restore(self.before)
        for ticket, compiled in self.kept:
            step = self.compiled if compiled and self.compiled is not None else self.eager
            step(*self.source.again(ticket))

    def blame(self, sign: str) -> NotFiniteError:
        """What to raise because a loss or a parameter is not finite; leaves the states as before the step to blame."""
        sign = sign or "a parameter is not finite"
        where = "epoch {}, step {}".format(*self.place)
        self.restore(self.before)
        for number, (ticket, compiled) in enumerate(self.kept):
            batch, before = self.source.again(ticket), self.versions()
            result = self.run(batch, compiled)
            loss = result[0] if self.with_outputs else result
            if math.isfinite(loss.item()) and all(map(_finite, self.parameters)):
                continue
            spoiled = [self.names.get(id(p), p.name or "a parameter") for p in self.parameters if not _finite(p)]
            self.restore(before)
            reason = self.first_bad_node(batch)
            self.restore(before)
            if not reason and spoiled:
                reason = f"the update of {spoiled[0]} is not finite"
            ago = len(self.kept) - 1 - number
            when = "" if not ago else ", from one step earlier" if ago == 1 else f", from {ago} steps earlier"
            return NotFiniteError(f"{where}: {sign}{when}: {reason or 'no node of the eager step is to blame'}. "
                                  "The model is as it was before that step")
        return NotFiniteError(f"{where}: {sign}, but not when the steps are taken again")

    def first_bad_node(self, batch: Batch) -> str:
        for path, leaf in leaves(batch):
            if leaf.dtype.kind in "fc" and not np.isfinite(leaf).all():
                name = ("X", "y", "weights")[int(path[1])] + path[3:]
                return f"{name} of the batch holds {(~np.isfinite(leaf)).sum()} entries that are not finite"
        try:
            with detect_nan():
                self.eager(*batch)
        except FloatingPointError as error:
            return str(error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""


def plain(outputs: Any) -> Any:
    """Outputs of a model as arrays."""
    return mapped(lambda x: x.value if isinstance(x, Node) else x, outputs)


def _finite(state: State) -> bool:
    return bool(np.isfinite(state._version._value).all())
