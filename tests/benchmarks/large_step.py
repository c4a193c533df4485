"""One training step of a network of the size people train on a CPU: nearly all matrix products."""

from __future__ import annotations

import numpy as np

from .networks import Problem
from .report import Bar, Report
from .small_step import step_report, step_times
from .timing import ratio


def run() -> Report:
    problem = Problem.random([784, 256, 128, 10], n=128, dtype=np.float32, lr=0.01)
    times = step_times(problem, seconds=30)
    bar = Bar("step of [784, 256, 128, 10] beside by hand", ratio(times, "tinygraph", "by hand"), 1.1)
    return step_report("Training step of [784, 256, 128, 10], batch of 128, float32", times, [bar])
