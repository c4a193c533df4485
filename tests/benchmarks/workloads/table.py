"""The table: its rows by number, each with its problem, its contenders and its bar."""

from __future__ import annotations

from functools import partial

from . import Row, convolution, curvature, elementwise, rosenbrock, training, transformer

LATENCY, LEVEL, GEMM = 1 / 3, 1.0, 1.02  # times the best peer: bound by calls, by memory and functions, by products


def network(title: str, limit: float, units: list[int], n: int, dtype: str, lr: float, update: str | None) -> Row:
    return Row(title, partial(training.Problem.random, units, n, dtype, lr, update), training.CONTENDERS, limit)


ROWS = {
    1: network("training step [2, 10, 2], 100 samples", LATENCY, [2, 10, 2], 100, "float64", 0.1, "SGD"),
    2: network("loss and gradients [500, 100, 50, 40, 10], 1 sample", LATENCY, [500, 100, 50, 40, 10], 1, "float64", 0,
               None),
    3: network("training step [784, 256, 128, 10], batch 128, float32", GEMM, [784, 256, 128, 10], 128, "float32", 0.01,
               "SGD"),
    4: network("the same with Adam", GEMM, [784, 256, 128, 10], 128, "float32", 0.001, "Adam"),
    5: Row("value and gradient, elementwise, 10^6 numbers", partial(elementwise.Problem.random, 10**6),
           elementwise.CONTENDERS, LEVEL),
    6: Row("Hessian of Rosenbrock, 100 numbers", partial(rosenbrock.Problem.random, 100), rosenbrock.HESSIAN, LATENCY),
    7: Row("Hessian of the loss of row 1 times a vector", curvature.Problem.random, curvature.CONTENDERS, LATENCY),
    8: Row("value and gradient of Rosenbrock for SciPy, 1,000 numbers", partial(rosenbrock.Problem.random, 1000),
           rosenbrock.SCIPY, LATENCY),
    9: Row("training step, convolutions, 64 images, float32", convolution.Problem.random, convolution.CONTENDERS,
           LEVEL),
    10: Row("transformer block, loss and gradients, float32", transformer.Problem.random, transformer.CONTENDERS,
            LEVEL),
    11: network("training step [1024, 1024, 1024, 10], batch 1024, float32", GEMM, [1024, 1024, 1024, 10], 1024,
                "float32", 0.01, "SGD"),
}
