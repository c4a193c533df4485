"""A run and its checkpoint: all that changes while a model is trained, and that in a file, to go on from.

The states of the model, the optimizer, the loss, the callbacks and the data are found by walking; the rest is the place
in the run, the sums of the epoch so far and the history. The order of the samples needs no memory: it depends on the
seed and the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import checkpoints
from ..node import State
from ..states import states
from .batches import Arrays, Batches
from .history import History
from .metrics import Sums


@dataclass
class Run:
    """A training under way, as its callbacks see it.

    epoch: the number of epochs that are complete. step: the number of steps taken in the next one. loss: of the last
    step.
    """

    model: Any
    optimizer: Any
    history: History
    epoch: int = 0
    step: int = 0
    loss: float = float("nan")
    sums: dict[str, Sums] = field(default_factory=dict)  # of this epoch so far, for each metric

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End the training after the current step, or after the epoch if that is complete."""
        self.history.stopped = reason


class Keeper:
    """The checkpoint of a run: saves it and takes it up again.

    What the file calls "model" is the one to use: the best so far, if `best` holds its states; then the model as it is
    now is called "last".
    """

    def __init__(self, path: Any, settings: dict[str, Any], run: Run, best: dict[str, State], source: Arrays | Batches,
                 others: dict[str, Any], metadata: dict[str, Any]) -> None:
        self.path, self.settings, self.run, self.best = path, settings, run, best
        self.source, self.metadata = source, metadata
        models = {"model": best, "last": run.model} if best else {"model": run.model}
        things = models | {"optimizer": run.optimizer} | others
        self.things = {name: thing for name, thing in things.items() if states(thing)}

    def save(self) -> None:
        run, history = self.run, self.run.history
        if self.best and not history.best_epoch:
            copy_states(run.model, self.best)
        things = dict(self.things)
        if isinstance(self.source, Batches) and self.source.began:
            # In the middle of an epoch, the streams that the data draw from as they were at its start.
            things["data"] = [State(version._value if run.step else state.value)
                              for state, version in self.source.began]
        kept = {"settings": self.settings, "epoch": run.epoch, "step": run.step,
                "sums": {name: sums.tolist() for name, sums in run.sums.items()},
                "columns": history.columns, "seconds": history.seconds, "first": getattr(self.source, "first", None)}
        checkpoints.save(self.path, metadata=self.metadata | {"training": kept}, **things)

    def load(self) -> None:
        run, history, things = self.run, self.run.history, dict(self.things)
        if isinstance(self.source, Batches) and self.source.began:
            things["data"] = [state for state, _ in self.source.began]
        found = checkpoints.read(self.path)
        kept = found.metadata.get("training")
        if kept is None:
            raise checkpoints.CheckpointError(f"{found.path} was not written by fit: use tg.checkpoints.load")
        for name, value in self.settings.items():
            if (before := kept["settings"].get(name)) != value:
                raise ValueError(f"{found.path} is of a training with {name}={before}, and here it is {value}: "
                                 "to go on, give the same")
        checkpoints.load(found, **things)
        run.epoch, run.step = kept["epoch"], kept["step"]
        run.sums = {name: np.array(sums) for name, sums in kept["sums"].items()}
        history.columns, history.seconds = kept["columns"], kept["seconds"]
        if isinstance(self.source, Batches):
            self.source.first = kept["first"]


def copy_states(source: Any, to: Any) -> None:
    """Give the states of `to` the values of those of `source`, which has as many."""
    for state, value in zip(states(to).values(), states(source).values(), strict=True):
        state.value = value.value
