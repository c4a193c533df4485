"""The compiler beside its peers: eleven pieces of work, from a step of three microseconds to matrices of 1024.

Every contender runs in a process of its own (`contest`), makes the numbers of the network by hand, and then takes turns
with the others. The work is in `workloads`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import tinygraph as tg

from .contest import SLOWEST, Contestant, difference, results
from .report import Bar, Report, table
from .timing import Times, ratio, take_turns
from .workloads.engines import MODULES, PEERS
from .workloads.table import ROWS

NATIVE, NUMPY = "tinygraph native", "tinygraph numpy"
TOLERANCES = {"float64": 1e-10, "float32": 1e-3}  # of the norm; the weights' way in float32 has lost digits
FIRST_CALL = {NATIVE: 1.0, NUMPY: 0.1}  # seconds


def run(rows: list[int] | None = None, only: list[str] | None = None, threads: int = 1, seconds: float = 20,
        warm: bool = False) -> Report:
    """The report of these rows (default: all) and contenders (default: all that are installed).

    `seconds`: of taking turns, a row. `warm`: leave the caches of compiled code where they are, so that first calls
    are quicker than a user's first.
    """
    names = [name for name, module in MODULES.items() if importlib.util.find_spec(module)
             and (not only or name in only)]
    if not hasattr(tg, "compile"):
        names = [name for name in names if name not in (NATIVE, NUMPY)]
    if threads > 1 and os.getloadavg()[0] > 0.5:
        tell(f"Other programs use this machine (load {os.getloadavg()[0]:.1f}). Threads that wait for each other wait "
             "for those too, so these wall times will mean little.")
    times: dict[int, Times] = {}
    firsts: dict[int, dict[str, float]] = {}
    for number in rows or ROWS:
        with caches(warm):
            times[number], firsts[number] = measure(number, [n for n in names if n in ROWS[number].contenders],
                                                    threads, seconds)
    return report(times, firsts, names, threads, warm)


def measure(number: int, names: list[str], threads: int, seconds: float) -> tuple[Times, dict[str, float]]:
    """The times of a row's contenders, and the seconds of their first calls; those that fail are told of and left out.
    """
    row = ROWS[number]
    problem = row.problem()
    expected = results(row.contenders["by hand"](problem, threads))
    ready: dict[str, Contestant] = {}
    with ExitStack() as stack:
        for name in names:
            try:
                contestant = Contestant(number, name, threads)
            except RuntimeError as error:
                tell(f"row {number}: {name} is left out: {error}")
                continue
            stack.callback(contestant.close)
            wrong = difference(contestant.results, expected, TOLERANCES[problem.dtype])
            if wrong or contestant.call > SLOWEST:
                tell(f"row {number}: {name} is left out: {wrong or f'a call takes {contestant.call:.1f} s'}")
                continue
            ready[name] = contestant
        # Idle threads of a pool spin for some milliseconds after their work, on cores that the next contender needs.
        pause = 0.03 if threads > 1 else 0
        turns = {name: contestant.turn for name, contestant in ready.items()}
        times = take_turns(turns, seconds, length=0.01, pause=pause)
        return times, {name: contestant.first for name, contestant in ready.items()}


@contextmanager
def caches(warm: bool) -> Iterator[None]:
    """Unless `warm`, gives the processes started meanwhile an empty folder in place of every cache of compiled code."""
    if warm:
        yield
        return
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(XDG_CACHE_HOME=folder, TORCHINDUCTOR_CACHE_DIR=folder, NUMBA_CACHE_DIR=folder,
                          PYTENSOR_FLAGS=f"base_compiledir={folder}")
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def tell(message: str) -> None:
    print(f"\n{message}", file=sys.stderr, flush=True)


def report(times: dict[int, Times], firsts: dict[int, dict[str, float]], names: list[str], threads: int,
           warm: bool) -> Report:
    clock = "processor time" if threads == 1 else "wall time"
    several = "one thread" if threads == 1 else f"{threads} threads"
    rows = [[f"{number}: {ROWS[number].title}", *[microseconds(found.get(name)) for name in names], beside(found)]
            for number, found in times.items()]
    first = [[f"{number}: {ROWS[number].title}", *[f"{found[name]:.2f}" if name in found else "" for name in names]]
             for number, found in firsts.items()]
    method = (f"Microseconds of {clock} of one call, medians, {several}; the contenders take turns, each in a process "
              "of its own with the malloc of the system. Before that, three calls of each made the numbers of the work "
              "by hand. The last column has the fastest peer and how many times as long native code took (median of "
              "the ratios of the rounds). A contender that is missing in a row cannot do it, or not within a second.")
    more = ("Seconds by which the first call takes longer than a later one, for converting the data and compiling "
            f"code, in a process that has imported the engine; caches of compiled code {'kept' if warm else 'empty'}."
            "\n\n"
            + table(["first call", *names], first))
    numbers = {str(number): {"seconds": times[number], "first call": firsts[number]} for number in times}
    return Report(f"Compiled, {several}", method, ["work", *names, "native beside the best peer"], rows,
                  bars(times, firsts, several), numbers, more)


def microseconds(seconds: list[float] | None) -> str:
    if not seconds:
        return ""
    value = median(seconds) * 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def best_peer(times: Times) -> str | None:
    """The peer that took least, of those in this row."""
    return min((name for name in PEERS if name in times), key=lambda name: median(times[name]), default=None)


def beside(times: Times) -> str:
    peer = best_peer(times)
    return f"{peer} × {ratio(times, NATIVE, peer):.2f}" if peer and NATIVE in times else peer or ""


def bars(times: dict[int, Times], firsts: dict[int, dict[str, float]], threads: str) -> list[Bar]:
    """Of each row the bar of native code beside its best peer, and those of the first calls."""
    found = []
    for number, row in times.items():
        if NATIVE in row and (peer := best_peer(row)):
            found.append(Bar(f"{number}: {ROWS[number].title}, native beside {peer}, {threads}",
                             ratio(row, NATIVE, peer), round(ROWS[number].limit, 3)))
    for name, limit in FIRST_CALL.items():
        if calls := {number: firsts[number][name] for number in firsts if name in firsts[number]}:
            slowest = max(calls, key=lambda number: calls[number])
            found.append(Bar(f"first call of {name}, slowest (row {slowest}), {threads}", calls[slowest], limit, "s"))
    return found
