"""`fit`: epochs of steps, what is watched and kept meanwhile, and how it stops and goes on.

All that changes while it runs is the states of the model, the optimizer, the loss and the callbacks, and what `Run`
holds. A checkpoint is exactly that, so training that is taken up from one goes on to the last bit as if it had never
stopped. This module knows no layer, no optimizer and no loss.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..nn import inference
from ..node import State
from ..states import states
from .batches import Arrays, Batch, Batches, batches_of, count
from .history import VALIDATION, History
from .metrics import Metric, Sums, metric_of, of_batches
from .progress import progress_of
from .resuming import Keeper, Run, copy_states
from .steps import NotFiniteError, Stepper, plain

EVALUATED = 256  # samples at once, where batches are smaller


def fit(model: Any, data: Any, *, loss: Callable[..., Any], optimizer: Any, epochs: int, batch_size: int = 32,
        shuffle: bool = True, validation: Any = None, metrics: Iterable[Any] = (), callbacks: Iterable[Any] = (),
        patience: int | None = None, min_delta: float = 0.0, monitor: str | None = None, seed: int = 0,
        compile: bool | str = "auto", progress: bool = True,
        checkpoint: str | os.PathLike[str] | None = None, every: int = 1, resume: bool = False,
        metadata: dict[str, Any] | None = None) -> History:
    """Train a model: for each batch the loss of `model(X)`, its gradient, and a step of the optimizer.

    data: (X, y) or (X, y, weights), arrays with the samples along the first axis; anything with `.X` and `.y`; or an
        iterable of such batches that can be gone through once an epoch. X and y may be structures of arrays.
    loss: a function (outputs, y) -> one number, called with weights= if the data have weights.
    batch_size, shuffle, seed: arrays are shuffled anew in each epoch and cut. The last batch may be smaller, but a
        single sample goes with the batch before.
    validation: a fraction of the arrays, drawn by `seed` and held out; or data of its own. Its loss and metrics are
        those of `nn.inference(model)` after each epoch; those of the training data are means over its steps.
    metrics: names ("accuracy", "top_5_accuracy", "mean_absolute_error", "mean_squared_error", "r2") or functions
        (outputs, y) -> number.
    callbacks: functions of the `Run`, called after each epoch; or objects with the method on_epoch(run) or
        on_step(run), or both. `run.stop()` ends the training.
    patience: stop when so many epochs brought no value of the column `monitor` ("validation loss" if there is one)
        that was better by more than min_delta; in the end the model has the states of the best epoch.
    compile: "auto" compiles the step for batches that come often enough, and where it cannot says so once and runs
        eagerly; True or False decide.
    progress: a bar at a terminal (extra `progress`), else a line an epoch; False for silence.
    checkpoint, every: a file to which all is saved at the start, after every so many epochs, and at the end.
    resume: go on from that file, if it is there.
    metadata: what else the file says, as for `checkpoints.save`; "training" is taken.

    Ctrl-C stops after the current step, and a second one at once; either way the model is as after the last complete
    step. A loss, gradient or parameter that is not finite is a NotFiniteError that names the first bad node.
    """
    _check(1, epochs=epochs, batch_size=batch_size, every=every, patience=1 if patience is None else patience)
    _check(0, seed=seed)
    if not min_delta >= 0:
        raise ValueError(f"min_delta is a number of 0 or more, not {min_delta!r}")
    if compile not in (True, False, "auto"):
        raise ValueError(f"compile={compile!r}: choose True, False or 'auto'")
    if resume and checkpoint is None:
        raise ValueError("resume=True goes on from a file: name it with checkpoint=")
    source, held_out = _sources(data, validation, epochs, batch_size, seed, shuffle)
    measured = [metric_of(given) for given in metrics]
    watched = [of_batches("loss", loss), *measured]
    history = _history(watched, monitor, held_out is not None, min_delta)
    run = Run(model, optimizer, history)
    callbacks = list(callbacks)
    on_step, on_epoch = _sorted(callbacks)
    stepper = Stepper(model, loss, optimizer, source, compile, bool(measured))
    best = {} if patience is None else {name: State(state.value) for name, state in states(model).items()}
    keeper = None
    if checkpoint is not None:
        columns = [metric.name for metric in watched]
        settings = {"seed": seed, "batch_size": batch_size, "shuffle": shuffle,
                    "samples": getattr(source, "samples", None),
                    "columns": columns + [VALIDATION + name for name in columns] * (held_out is not None),
                    "patience": f"given, by {history.monitor} and min_delta={min_delta}" if best else None}
        keeper = Keeper(checkpoint, settings, run, best, source, {"loss": loss, "callbacks": callbacks},
                        metadata or {})
        if os.path.exists(checkpoint):
            if not resume:
                raise FileExistsError(f"{os.fspath(checkpoint)} is there already: resume=True goes on from it; to "
                                      "begin anew, give another name or delete it")
            keeper.load()
        else:
            keeper.save()  # what cannot be written is better known now
    shown = progress_of(progress, epochs, run.epoch, len(source), run.step)

    def ended() -> bool:
        if patience is not None and run.epoch - max(history.best_epoch, 1) >= patience and not history.stopped:
            run.stop(f"stopped early: no better {history.monitor} than that of epoch {history.best_epoch} in "
                     f"{patience} epochs")
        return bool(history.stopped)

    def take_steps() -> bool:
        """The steps of this epoch that are left; False if it was stopped before the end."""
        stepper.begin()
        if not run.step:
            run.sums = {}
        for ticket, batch in source.epoch(run.epoch, run.step):
            run.loss, outputs = stepper(batch, ticket, source.uses(ticket, epochs), (run.epoch + 1, run.step + 1))
            run.step += 1
            _add(run.sums, watched, run.loss, outputs, batch)
            if on_step:
                with stepper.noticing():
                    for callback in on_step:
                        callback(run)
            shown.step(run.loss)
            if history.stopped:
                return False
        stepper.begin()
        return True

    def close_epoch(start: float) -> None:
        row = {metric.name: metric.finish(run.sums[metric.name]) for metric in watched}
        if held_out is not None:
            found = _evaluated(model, held_out, watched)
            row |= {VALIDATION + name: value for name, value in found.items()}
        seconds = time.perf_counter() - start
        history.append(row, seconds)
        steps, run.epoch, run.step = run.step, run.epoch + 1, 0
        if best and history.best_epoch == run.epoch:
            copy_states(model, best)
        shown.epoch(run.epoch, steps, row, seconds)
        for callback in on_epoch:
            callback(run)
        if keeper is not None and run.epoch % every == 0:
            keeper.save()

    with _stop_on_interrupt(run):
        try:
            while run.epoch < epochs and not ended():
                start = time.perf_counter()
                if take_steps():
                    close_epoch(start)
        except NotFiniteError as error:
            error.history = history
            raise
        finally:
            shown.close()
        if keeper is not None and (run.step or run.epoch % every):
            keeper.save()
    if best and history.best_epoch and history.stopped != INTERRUPTED:
        copy_states(best, model)
    return history


INTERRUPTED = "interrupted"


def evaluate(model: Any, data: Any, *, loss: Callable[..., Any] | None = None, metrics: Iterable[Any] = (),
             batch_size: int = EVALUATED) -> dict[str, float]:
    """The loss and the metrics of `nn.inference(model)` on data, by name; the arguments are as for `fit`.

    >>> import numpy as np, tinygraph as tg
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([[2.0], [4.0], [7.0]])
    >>> tg.training.evaluate(lambda x: 2 * x, (X, y), metrics=["mean_absolute_error"])
    {'mean_absolute_error': 0.3333333333333333}
    """
    watched = [metric_of(given) for given in metrics]
    if loss is not None:
        watched.insert(0, of_batches("loss", loss))
    if not watched:
        raise ValueError("there is nothing to evaluate: give loss= or metrics=")
    return _evaluated(model, batches_of(data, batch_size), watched)


def _evaluated(model: Any, data: Arrays | Batches, watched: Sequence[Metric]) -> dict[str, float]:
    network = inference(model)
    sums: dict[str, Sums] = {}
    for _, (x, y, *weights) in data.epoch(0):
        outputs = plain(network(x))
        for metric in watched:
            part = metric.sums(outputs, y, weights[0] if weights else None)
            sums[metric.name] = sums[metric.name] + part if metric.name in sums else part
    return {metric.name: metric.finish(sums[metric.name]) for metric in watched}


def _add(sums: dict[str, Sums], watched: Sequence[Metric], loss: float, outputs: Any, batch: Batch) -> None:
    """Add a batch to the sums of the epoch."""
    weights = batch[2] if len(batch) == 3 else None
    n = float(count(batch[1])) if weights is None else float(weights.sum())
    parts = [np.array([loss * n, n])] + [metric.sums(outputs, batch[1], weights) for metric in watched[1:]]
    for metric, part in zip(watched, parts, strict=True):
        sums[metric.name] = sums[metric.name] + part if metric.name in sums else part


def _sources(data: Any, validation: Any, epochs: int, batch_size: int, seed: int,
             shuffle: bool) -> tuple[Arrays | Batches, Arrays | Batches | None]:
    """What to train with, and what to validate with."""
    source = batches_of(data, batch_size, seed, shuffle)
    if isinstance(source, Batches) and epochs > 1 and isinstance(data, Iterator):
        raise ValueError(f"data can be gone through once only, and epochs={epochs}: give a list, or an object whose "
                         "__iter__ begins anew")
    evaluated = max(batch_size, EVALUATED)
    if not isinstance(validation, float):
        return source, None if validation is None else batches_of(validation, evaluated, what="validation")
    if not isinstance(source, Arrays) or not 0 < validation < 1:
        raise ValueError(f"validation={validation}: give a fraction between 0 and 1 of data in arrays, or data")
    return source.split(validation, evaluated)


def _sorted(callbacks: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """What to call after each step, and after each epoch."""
    for callback in callbacks:
        if not (callable(callback) or hasattr(callback, "on_epoch") or hasattr(callback, "on_step")):
            raise TypeError(f"a callback is a function of the Run or has on_epoch or on_step, not {callback!r}")
    on_step = [callback.on_step for callback in callbacks if hasattr(callback, "on_step")]
    on_epoch = [getattr(callback, "on_epoch", callback) for callback in callbacks
                if hasattr(callback, "on_epoch") or not hasattr(callback, "on_step")]
    return on_step, on_epoch


def _history(watched: Sequence[Metric], monitor: str | None, validated: bool, min_delta: float) -> History:
    better = {metric.name: metric.greater_is_better for metric in watched}
    if len(better) != len(watched):
        raise ValueError(f"two metrics have one name: {', '.join(metric.name for metric in watched)}")
    if validated:
        better |= {VALIDATION + name: greater for name, greater in better.items()}
    monitor = monitor or (f"{VALIDATION}loss" if validated else "loss")
    if monitor not in better:
        raise ValueError(f"monitor={monitor!r}: there will be the columns {', '.join(better)}")
    return History(monitor, better[monitor], min_delta)


@contextmanager
def _stop_on_interrupt(run: Run) -> Iterator[None]:
    """Ctrl-C stops the run, once; a second one is what it always is."""
    usual: Any = signal.default_int_handler
    if threading.get_ident() != threading.main_thread().ident or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, usual)
        run.stop(INTERRUPTED)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _check(least: int, **numbers: Any) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} is an integer of {least} or more, not {value!r}")
