"""Contenders in a process each, and the turns that they take: no malloc, garbage or pool of threads but their own.

The parent's side is `Contestant`; `_serve` is what its process runs. A process says once how it got ready (seconds,
results, or what went wrong), then answers a number of calls with the mean time of one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import perf_counter, process_time
from typing import Any

import numpy as np

from .timing import turn
from .workloads.engines import prepare
from .workloads.table import ROWS

CALLS = 3  # before the results are compared
SLOWEST = 1.0  # seconds a call: what takes longer is left out


class Contestant:
    """A contender of a row in its own process. `first`: seconds from the imported engine to the first result, beyond
    those of a later call: for converting the data and for compiling. `call`: seconds of a later call. `results`: what
    `CALLS` calls made. RuntimeError if it does not get ready."""

    def __init__(self, row: int, name: str, threads: int) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, row, name, threads))
        self._process.start()
        theirs.close()
        try:
            answer = self._pipe.recv()
        except EOFError:
            answer = "its process died"
        if isinstance(answer, str):
            self.close()
            raise RuntimeError(answer)
        self.first, self.call, self.results = answer

    def turn(self, calls: int) -> float:
        self._pipe.send(calls)
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


def difference(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float) -> str:
    """What is wrong with these results, in words, or nothing: each must have the shape, the dtype, and the numbers up
    to `tolerance` times the norm of the whole array."""
    if len(found) != len(expected):
        return f"{len(found)} arrays, not {len(expected)}"
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"array {i} is {a.dtype} {a.shape}, not {b.dtype} {b.shape}"
        away = np.linalg.norm(np.ravel(a - b)) / np.linalg.norm(np.ravel(b))
        if not away <= tolerance:
            return f"array {i} {b.shape} is off by {away:.2g} of its norm (at most {tolerance:g})"
    return ""


def results(work: Any) -> list[np.ndarray]:
    """What the work makes in `CALLS` calls from its start."""
    work.reset()
    returned = [work.call() for _ in range(CALLS)][-1]
    return [np.array(array) for array in work.result(returned)]


def _serve(pipe: Connection, number: int, name: str, threads: int) -> None:
    os.dup2(2, 1)  # whatever an engine prints is not part of the report
    row = ROWS[number]
    problem = row.problem()
    clock = process_time if threads == 1 else perf_counter
    try:
        prepare(name, threads, problem.dtype)
        start = perf_counter()
        work = row.contenders[name](problem, threads)
        work.call()
        first = perf_counter() - start
        found = results(work)
        call = min(turn(work.call, 1, perf_counter) for _ in range(3))
    except Exception:
        pipe.send("".join(traceback.format_exception(*sys.exc_info())))
        return
    gc.collect()
    gc.freeze()
    pipe.send((max(0.0, first - call), call, found))
    with contextlib.suppress(EOFError):
        while True:
            calls = pipe.recv()
            work.reset()
            pipe.send(turn(work.call, calls, clock))
