"""One training step of the smallest network of the documents: nearly all overhead, the engine's own cost."""

from __future__ import annotations

import numpy as np

from .networks import Problem, contenders
from .report import Bar, Report
from .timing import Times, ratio, ratio_of_best, round_robin


def run() -> Report:
    problem = Problem.random([2, 10, 2], n=100, dtype=np.float64, lr=0.1)
    times = step_times(problem, seconds=20)
    bars = [Bar("step of [2, 10, 2] beside by hand", ratio(times, "tinygraph", "by hand"), 1.4)]
    if "PyTorch" in times:
        fastest = max(("PyTorch", "PyTorch, torch.optim"), key=lambda name: ratio(times, "tinygraph", name))
        bars.append(Bar("step of [2, 10, 2] beside PyTorch, eager", ratio(times, "tinygraph", fastest), 1))
    return step_report("Training step of [2, 10, 2], 100 samples, float64", times, bars)


def step_times(problem: Problem, seconds: float) -> Times:
    return round_robin({name: contender.step for name, contender in contenders(problem).items()}, seconds)


def step_report(title: str, times: Times, bars: list[Bar]) -> Report:
    """The report of a training step: microseconds, and ratios to the twin by hand."""
    rows = [[name, f"{np.median(seconds) * 1e6:.1f}", f"{min(seconds) * 1e6:.1f}",
             f"{ratio(times, name, 'by hand'):.2f}", f"{ratio_of_best(times, name, 'by hand'):.2f}"]
            for name, seconds in times.items()]
    method = ("Processor time of loss, gradients and plain SGD. `tinygraph` (`tinygraph.classifier`) and by hand "
              "(`tinygraph.byhand`) check their input at every step, the others do not. Before timing, three steps of "
              f"each gave the same weights. The contenders took turns in {len(times['by hand'])} rounds; the ratio is "
              "the median of the rounds' ratios.")
    return Report(title, method, ["engine", "µs, median", "µs, best", "ratio to by hand", "ratio of the best"], rows,
                  bars, {"seconds": times})
