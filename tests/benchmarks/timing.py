"""Timing on a machine that others use too: contenders take turns, and what is compared is what one round measured.

What counts is processor time, of all threads: time in which the machine did something else is nobody's. (Where several
threads share one piece of work, wall time is what counts, and the clock is an argument.) A load that
comes and goes still slows what shares its caches, but all contenders of a round alike, so the ratio within a round is
steadier than either time; the median over the rounds then drops those in which it hit only one.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter, process_time, sleep

Times = dict[str, list[float]]


def round_robin(contenders: dict[str, Callable[[], object]], seconds: float) -> Times:
    """Seconds of processor time that one call of each contender took, a number for each round.

    The garbage collector runs as it does for users, but what was there before (imported modules) is kept out of its
    sight.
    """
    turns = {name: partial(turn, contender) for name, contender in contenders.items()}
    gc.collect()
    gc.freeze()
    times = take_turns(turns, seconds)
    gc.unfreeze()
    return times


def take_turns(turns: dict[str, Callable[[int], float]], seconds: float, length: float = 0.002,
               pause: float = 0) -> Times:
    """What a call of each contender took, a number for each round, for about so many seconds.

    `turns` takes a number of calls to the mean of their times. In a round each contender has one turn, in an order
    drawn anew, of as many calls as take about `length` seconds; `pause` seconds are between turns.
    """
    calls = {name: _calls(take, length) for name, take in turns.items()}
    times: Times = {name: [] for name in turns}
    order = list(turns)
    draw = random.Random(0)
    end = perf_counter() + seconds
    while perf_counter() < end:
        draw.shuffle(order)
        for name in order:
            sleep(pause)
            times[name].append(turns[name](calls[name]))
    return times


def turn(contender: Callable[[], object], calls: int, clock: Callable[[], float] = process_time) -> float:
    """The mean time of so many calls, after one that is not timed: it brings code and data back into the caches."""
    contender()
    start = clock()
    for _ in range(calls):
        contender()
    return (clock() - start) / calls


def _calls(take: Callable[[int], float], length: float) -> int:
    first = take(1)
    return max(1, round(length / min(take(1) for _ in range(10)))) if first < length else 1


def ratio(times: Times, name: str, yardstick: str) -> float:
    """How many times as long `name` took as `yardstick`: the median of the ratios of the rounds."""
    return median(a / b for a, b in zip(times[name], times[yardstick], strict=True))


def ratio_of_best(times: Times, name: str, yardstick: str) -> float:
    """The same for the shortest time of each: what an idle machine would show."""
    return min(times[name]) / min(times[yardstick])
