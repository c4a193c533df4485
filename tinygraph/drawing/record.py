"""Record: one backprop, and what it did at each node, in its order.

The engine's own sweep runs once, watched: nothing is computed a second time, so what is recorded is what it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..detect import watching
from ..node import Node, Value, describe
from ..op import Op
from ..tape import Tape, as_value


@dataclass(eq=False)
class Part:
    """What the rule of `source` sent to its input `target`: of what it sent, and of what the target got, the one at
    which place."""

    source: Op
    target: Value
    array: np.ndarray
    sent: int
    came: int


class Record:
    """The sweep from `loss`. Sets no `.grad`.

    order: the ops, as the sweep came to them. grads: the gradient by each node that one has reached. sent: for each op
    what its rule sent to its inputs, in order. came: for each node what came to it, in the order in which it was added.
    """

    def __init__(self, loss: Node) -> None:
        output = as_value(loss)
        if output._value.size != 1:
            raise ValueError(f"gradients start from one number, but this is {describe(loss)}: reduce it "
                             "(.sum(), .mean())")
        if not output.needs_grad:
            raise ValueError(f"{describe(loss)} depends on no Parameter, so there are no gradients")
        self.tape = Tape(output)
        self.order: list[Op] = []
        self.grads: dict[Value, np.ndarray] = {output: np.ones_like(output._value)}
        self.sent: dict[Op, list[Part]] = {}
        self.came: dict[Value, list[Part]] = {}
        self._own = set(self.tape.nodes)
        with watching(self):
            self.tape.backprop([leaf for leaf in self.tape.leaves if leaf.needs_grad])

    def norm(self, node: Value) -> float:
        """The 2-norm of the gradient by a node."""
        return float(np.linalg.norm(self.grads[node].ravel()))

    # ------------------------------------------------------------------------------------- what a watcher is told

    def built(self, node: Op) -> None: ...

    def sweeping(self, node: Op) -> None:
        if node in self._own:  # and not in the expansion of an op without a rule
            self.order.append(node)
            self.sent[node] = []

    def swept(self, node: Value, source: Op, part: Any, total: Any) -> None:
        if node not in self._own or source not in self._own:
            return
        sent, came = self.sent[source], self.came.setdefault(node, [])
        if source.adds_in_place and sent:  # before, it was told of the zeros that there is something to add to
            sent.pop()
            came.pop()
        sent.append(Part(source, node, np.array(part), len(sent), len(came)))
        came.append(sent[-1])
        self.grads[node] = np.array(total)
