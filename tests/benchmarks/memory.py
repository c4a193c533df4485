"""Memory, by tracemalloc, which NumPy tells of every array: what a graph leaves behind, and the peak of a backprop."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import asdict, dataclass

import numpy as np

from tinygraph import byhand, classifier

from .report import Bar, Report

WIDTH, SAMPLES = 128, 2048
DEPTHS = (2, 4, 8, 16)
LAYER = WIDTH * SAMPLES * 8  # bytes of the values of one layer


@dataclass
class Held:
    """Bytes: after the forward pass, of the parameters' gradients, at the peak of backprop, and left at the end."""

    forward: int
    own: int
    peak: int
    left: int

    @property
    def beyond(self) -> float:
        """What the peak holds beyond the forward values and the parameters' gradients, in layers."""
        return (self.peak - self.forward - self.own) / LAYER


def run() -> Report:
    gc.collect()
    gc.disable()  # reference counts alone
    measure(2)  # fills caches that stay
    found = {depth: measure(depth) for depth in DEPTHS}
    hand = {depth: peak_by_hand(depth) for depth in DEPTHS}
    rows = [[f"{depth} layers", f"{held.forward / LAYER:.2f}", f"{held.own / LAYER:.2f}", f"{held.peak / LAYER:.2f}",
             f"{held.beyond:.2f}", f"{hand[depth] / LAYER:.2f}", str(held.left)] for depth, held in found.items()]
    bars = [Bar("peak of backprop beyond forward values and parameters' gradients",
                max(held.beyond for held in found.values()), 2, "layers"),
            Bar("memory held after the loss was dropped", max(held.left for held in found.values()) / 1024, 4, "KiB")]
    method = (f"Layers of {WIDTH} units, {SAMPLES} samples, float64, first step. The unit is the values of one layer "
              f"({LAYER >> 20} MiB): held after the forward pass; the gradients of the parameters; the peak of "
              "backprop; the peak beyond the two before it (one layer's gradients count as two, the one by its output "
              "and the one by its input made from it); the peak of the network by hand. Then the bytes that are left "
              "when the loss and the gradients were dropped. The garbage collector is off.")
    return Report("Memory", method, ["network", "forward", "parameters' gradients", "peak", "peak beyond",
                                     "peak by hand", "left, bytes"], rows, bars,
                  {"bytes": {depth: asdict(held) for depth, held in found.items()}, "bytes by hand": hand})


def problem(depth: int) -> tuple[list[int], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return [WIDTH] * (depth + 1), rng.standard_normal((WIDTH, SAMPLES)), rng.integers(0, WIDTH, SAMPLES)


def measure(depth: int) -> Held:
    units, X, t = problem(depth)
    model = classifier.NNClassifier(units, rng=0)
    own = sum(parameter.value.nbytes for parameter in model.parameters)
    tracemalloc.start()
    start = traced()
    loss = model.loss_node(X, t)
    forward = traced() - start
    tracemalloc.reset_peak()
    loss.backprop()
    peak = tracemalloc.get_traced_memory()[1] - start
    del loss
    for parameter in model.parameters:
        parameter.grad = None
    left = traced() - start
    tracemalloc.stop()
    return Held(forward, own, peak, left)


def peak_by_hand(depth: int) -> int:
    units, X, t = problem(depth)
    model = byhand.NNClassifier(units, rng=0)
    tracemalloc.start()
    start = traced()
    model.loss(X, t)
    tracemalloc.reset_peak()
    model.backward()
    peak = tracemalloc.get_traced_memory()[1] - start
    tracemalloc.stop()
    return peak


def traced() -> int:
    return tracemalloc.get_traced_memory()[0]
