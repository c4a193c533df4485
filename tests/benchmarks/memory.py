"""Memory, by tracemalloc, which NumPy tells of every array: what a graph leaves behind, and the peak of a backprop."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np

from tinygraph import classifier

from .report import Bar, Report

WIDTH, SAMPLES = 128, 2048
DEPTHS = (2, 4, 8, 16)
LAYER = WIDTH * SAMPLES * 8  # bytes of the values of one layer


def run() -> Report:
    gc.collect()
    gc.disable()  # reference counts alone
    measure(2)  # caches that fill at the first use
    found = {depth: measure(depth) for depth in DEPTHS}
    rows = [[f"{depth} layers", f"{forward / LAYER:.2f}", f"{own / LAYER:.2f}", f"{beyond / LAYER:.2f}", str(left)]
            for depth, (forward, own, beyond, left) in found.items()]
    beyond = max(entry[2] for entry in found.values()) / LAYER
    left = max(entry[3] for entry in found.values()) / 1024
    bars = [Bar("peak of backprop beyond the forward values and the parameters' gradients, in layers", beyond, 2, "layers"),
            Bar("memory held after the loss was dropped", left, 4, "KiB")]
    method = (f"Layers of {WIDTH} units, {SAMPLES} samples, float64. Memory in units of one layer's values ({LAYER >> 20} "
              "MiB): held after the forward pass; the gradients of the parameters; the peak of backprop beyond these two "
              "(one layer's gradients are two: the one by its output and the one by its input made from it); and, in "
              "bytes, what is held after the loss and the gradients were dropped, the garbage collector off.")
    return Report("Memory", method, ["network", "forward", "parameters' gradients", "peak beyond", "left, bytes"], rows,
                  bars, {"bytes": found})


def measure(depth: int) -> tuple[int, int, int, int]:
    """Bytes: held after forward, the parameters' gradients, the peak of backprop beyond both, and left at the end."""
    rng = np.random.default_rng(0)
    model = classifier.NNClassifier([WIDTH] * (depth + 1), rng=rng)
    X, t = rng.standard_normal((WIDTH, SAMPLES)), rng.integers(0, WIDTH, SAMPLES)
    own = sum(parameter.value.nbytes for parameter in model.parameters)
    tracemalloc.start()
    start = held()
    loss = model.loss_node(X, t)
    forward = held() - start
    tracemalloc.reset_peak()
    loss.backprop()
    peak = tracemalloc.get_traced_memory()[1] - start
    del loss
    for parameter in model.parameters:
        parameter.grad = None
    left = held() - start
    tracemalloc.stop()
    return forward, own, peak - forward - own, left


def held() -> int:
    return tracemalloc.get_traced_memory()[0]
