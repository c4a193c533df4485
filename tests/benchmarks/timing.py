"""Timing on a machine that others use too: contenders take turns, and what is compared is what one round measured.

What counts is processor time, of all threads: time in which the machine did something else is nobody's. A load that
comes and goes still slows what shares its caches, but all contenders of a round alike, so the ratio within a round is
steadier than either time; the median over the rounds then drops those in which it hit only one.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

Times = dict[str, list[float]]


def round_robin(contenders: dict[str, Callable[[], object]], seconds: float, turn: float = 0.002) -> Times:
    """Seconds of processor time that one call of each contender took, a number for each round.

    In a round each contender has one turn, in an order drawn anew: one call that is not timed, which brings its code
    and data back into the caches, then as many as take about `turn` seconds. The garbage collector runs as it does for
    users, but what was there before (imported modules) is kept out of its sight.
    """
    calls = {name: _calls(contender, turn) for name, contender in contenders.items()}
    times: Times = {name: [] for name in contenders}
    order = list(contenders)
    draw = random.Random(0)
    gc.collect()
    gc.freeze()
    end = perf_counter() + seconds
    while perf_counter() < end:
        draw.shuffle(order)
        for name in order:
            times[name].append(_turn(contenders[name], calls[name]))
    gc.unfreeze()
    return times


def _calls(contender: Callable[[], object], turn: float) -> int:
    contender()
    return max(1, round(turn / min(_turn(contender, 1) for _ in range(10))))


def _turn(contender: Callable[[], object], calls: int) -> float:
    contender()
    start = process_time()
    for _ in range(calls):
        contender()
    return (process_time() - start) / calls


def ratio(times: Times, name: str, yardstick: str) -> float:
    """How many times as long `name` took as `yardstick`: the median of the ratios of the rounds."""
    return median(a / b for a, b in zip(times[name], times[yardstick], strict=True))


def ratio_of_best(times: Times, name: str, yardstick: str) -> float:
    """The same for the shortest time of each: what an idle machine would show."""
    return min(times[name]) / min(times[yardstick])
