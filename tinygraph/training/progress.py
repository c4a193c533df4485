"""Progress: a bar with the loss, the metrics and the time left at a terminal, a line an epoch elsewhere, or silence."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol


class Progress(Protocol):
    """What `fit` tells while it runs."""

    def step(self, loss: float) -> None: ...

    def epoch(self, number: int, batches: int, row: dict[str, float], seconds: float) -> None: ...

    def close(self) -> None: ...


class Silent:
    def step(self, loss: float) -> None: ...

    def epoch(self, number: int, batches: int, row: dict[str, float], seconds: float) -> None: ...

    def close(self) -> None: ...


class Lines:
    """A line an epoch, on standard output."""

    def __init__(self, epochs: int, begun: int) -> None:
        self.epochs, self.begun, self.start = epochs, begun, time.perf_counter()

    def step(self, loss: float) -> None: ...

    def epoch(self, number: int, batches: int, row: dict[str, float], seconds: float) -> None:
        spent = time.perf_counter() - self.start
        left = spent / (number - self.begun) * (self.epochs - number)
        print(f"epoch {number:>{len(str(self.epochs))}}/{self.epochs}  {_text(row)}  {duration(seconds)}, "
              f"{duration(left)} left", flush=True)

    def close(self) -> None: ...


class Bar:
    """A bar of tqdm's over all steps, on standard error."""

    def __init__(self, tqdm: Any, epochs: int, begun: int, batches: int, skipped: int) -> None:
        self.epochs, self.number, self.row = epochs, begun, ""
        self.bar = tqdm(total=epochs * batches or None, initial=begun * batches + skipped, unit=" steps",
                        desc=f"epoch {min(begun + 1, epochs)}/{epochs}", dynamic_ncols=True)
        self.steps, self.shown, self.loss = 0, 0.0, 0.0

    def step(self, loss: float) -> None:
        self.steps += 1
        self.loss = loss if self.steps == 1 else 0.98 * self.loss + 0.02 * loss
        now = time.perf_counter()
        if now > self.shown + 0.1:
            self.show(now)

    def show(self, now: float) -> None:
        self.shown = now
        self.bar.set_postfix_str(f"loss {self.loss:.4g}" + (f" | {self.row}" if self.row else ""), refresh=False)
        self.bar.update(self.steps)
        self.steps = 0

    def epoch(self, number: int, batches: int, row: dict[str, float], seconds: float) -> None:
        self.row = _text(row)
        self.bar.total = self.epochs * batches
        self.bar.set_description_str(f"epoch {min(number + 1, self.epochs)}/{self.epochs}", refresh=False)
        self.show(time.perf_counter())

    def close(self) -> None:
        if self.steps:
            self.show(time.perf_counter())
        self.bar.close()


def progress_of(wanted: bool, epochs: int, begun: int, batches: int, skipped: int) -> Progress:
    """A bar if there is a terminal and tqdm, else lines; begun: epochs done before, skipped: steps of the next one."""
    if not wanted:
        return Silent()
    if sys.stderr is not None and sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ModuleNotFoundError:
            pass
        else:
            return Bar(tqdm, epochs, begun, batches, skipped)
    return Lines(epochs, begun)


def duration(seconds: float) -> str:
    """A time as people say it: 0.42 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _text(row: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items())
