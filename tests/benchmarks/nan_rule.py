"""The cost of the rule that a branch not taken never leaks NaN: the same sweeps with the rule and without it.

The rule applies below ops that declare themselves selecting. Without these declarations the sweep takes the path that
it would take if there were no such rule, so they are what is switched off here; that it works is checked on a graph
which then does leak a NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import tinygraph as tg

from .networks import Problem, Twin
from .report import Report
from .timing import ratio, ratio_of_best, round_robin

TOPS: dict[str, Callable[[Any, Any], Any]] = {
    "no selecting op": lambda x, y: x * y,
    "np.where at the top": lambda x, y: np.where(x.value > 0, x, y),
    "np.maximum at the top": lambda x, y: np.maximum(x, y),
}


def run() -> Report:
    check()
    rows, numbers = [], {}
    for size in (1_000_000, 1_000):
        for name, top in TOPS.items():
            add(rows, numbers, f"chain on {size:,} numbers, {name}", chain(size, top))
    step = Twin(tg.classifier, Problem.random([2, 10, 2], n=100, dtype=np.float64, lr=0.1)).step
    add(rows, numbers, "step of [2, 10, 2], 100 samples", step)
    method = ("Processor time of a sweep (of the network: a whole step) with the rule, beside the same without it: "
              "median of the rounds' ratios, ratio of the best times, and, as a measure of the noise, the ratio of two "
              "measurements with the rule. The chain is log(1 + sqrt(x x + 1)) x / 2 under the op named, then a sum.")
    return Report("The rule on branches that were not taken", method,
                  ["graph", "µs with", "ratio", "ratio of the best", "noise"], rows, [], numbers)


def add(rows: list[list[str]], numbers: dict[str, Any], name: str, sweep: Callable[[], object]) -> None:
    """Measure a sweep with and without the rule, and add its row and its numbers."""
    def without() -> None:
        with rule_off():
            sweep()

    def rule_kept() -> None:  # pays for the switch as `without` does
        with rule_off(()):
            sweep()

    times = round_robin({"with": rule_kept, "again": lambda: rule_kept(), "without": without}, seconds=5)
    rows.append([name, f"{np.median(times['with']) * 1e6:.1f}", f"{ratio(times, 'with', 'without'):.3f}",
                 f"{ratio_of_best(times, 'with', 'without'):.3f}", f"{ratio(times, 'with', 'again'):.3f}"])
    numbers[name] = times


def chain(size: int, top: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    """The sweep over a chain of elementwise ops, under the op `top`."""
    x = tg.Parameter(np.random.default_rng(0).standard_normal(size))
    loss = top(x, np.log(1 + np.sqrt(x * x + 1)) * x / 2).sum()
    return lambda: (x, loss.backprop())  # holds x, which the graph alone would not


def selecting_ops() -> list[type[tg.Op]]:
    """The classes that declare `selecting`, wherever below `Op`."""
    classes: list[type[tg.Op]] = [tg.Op]
    for cls in classes:  # the list grows while it is walked
        classes.extend(cls.__subclasses__())
    return [cls for cls in classes if vars(cls).get("selecting")]


SELECTING = selecting_ops()


@contextmanager
def rule_off(classes: Any = SELECTING) -> Iterator[None]:
    for cls in classes:
        cls.selecting = False
    try:
        yield
    finally:
        for cls in classes:
            cls.selecting = True


def check() -> None:
    """The gradient of where(x > 0, sqrt(x), x) at 0 is 1 with the rule, and NaN without; RuntimeError otherwise."""
    x = tg.Parameter(np.zeros(1))
    loss = np.where(x.value > 0, np.sqrt(x), x).sum()
    loss.backprop()
    with_rule = x.grad
    with rule_off(), np.errstate(all="ignore"):
        loss.backprop()
    if not (with_rule == 1 and np.isnan(x.grad)):
        raise RuntimeError(f"the switch for the rule does not work: gradients {with_rule} with it, {x.grad} without")
