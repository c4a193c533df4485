"""The documents' network in each engine, each written the way that engine is fastest: one class per contender.

A contender has `step()`, which computes the loss, its gradients and the new weights, and `weights()`, the arrays W1,
b1, W2, ... as they are now. Each holds the data as it likes them best, converted beforehand; an engine is imported when
its contender is made. Only `tinygraph` and the twin by hand check their input at every step.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tinygraph import byhand, classifier


@dataclass
class Problem:
    """Data, and the weights to start from. X (features, n) and the labels t (n,) have the samples in columns."""

    units: list[int]
    X: np.ndarray
    t: np.ndarray
    start: list[tuple[np.ndarray, np.ndarray]]
    lr: float

    @classmethod
    def random(cls, units: list[int], n: int, dtype: type, lr: float) -> Problem:
        rng = np.random.default_rng(0)
        layers = byhand.NNClassifier(units, rng=rng).layers
        return cls(units, rng.standard_normal((units[0], n)).astype(dtype), rng.integers(0, units[-1], n),
                   [(layer.W.astype(dtype), layer.b.astype(dtype)) for layer in layers], lr)


class Contender(Protocol):
    def step(self) -> None: ...

    def weights(self) -> list[np.ndarray]: ...


class Twin:
    """`tinygraph.byhand` and `tinygraph.classifier`: one interface."""

    def __init__(self, module: Any, problem: Problem) -> None:
        self.model = module.NNClassifier(problem.units)
        for layer, (W, b) in zip(self.model.layers, problem.start, strict=True):
            layer.W, layer.b = W.copy(), b.copy()
        self.optimizer = module.SGD(self.model, problem.lr)
        self.X, self.t = problem.X, problem.t

    def step(self) -> None:
        self.model.loss(self.X, self.t)
        self.model.backward()
        self.optimizer.step()

    def weights(self) -> list[np.ndarray]:
        return [array for layer in self.model.layers for array in (layer.W, layer.b)]


class Torch:
    """PyTorch, eager, samples in rows; the update is written out without its optimizer, which costs more."""

    def __init__(self, problem: Problem) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        self.X = torch.tensor(np.ascontiguousarray(problem.X.T))
        self.t = torch.tensor(problem.t)
        self.lr = problem.lr
        self.parameters = [torch.tensor(p, requires_grad=True) for W, b in problem.start for p in (W, b[:, 0])]

    def loss(self) -> Any:
        F, A = self.torch.nn.functional, self.X
        *hidden, W, b = self.parameters
        for i in range(0, len(hidden), 2):
            A = F.relu(F.linear(A, hidden[i], hidden[i + 1]))
        return F.cross_entropy(F.linear(A, W, b), self.t)

    def step(self) -> None:
        grads = self.torch.autograd.grad(self.loss(), self.parameters)
        with self.torch.no_grad():
            for p, grad in zip(self.parameters, grads, strict=True):
                p.sub_(grad, alpha=self.lr)

    def weights(self) -> list[np.ndarray]:
        arrays = [p.detach().numpy() for p in self.parameters]
        return [array if array.ndim == 2 else array[:, None] for array in arrays]


class TorchWithOptimizer(Torch):
    """The same with torch.optim.SGD, as most people write it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.optimizer = self.torch.optim.SGD(self.parameters, self.lr)

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()


class Autograd:
    """HIPS autograd; labels as a one-hot array, which it differentiates faster than an index."""

    def __init__(self, problem: Problem) -> None:
        import autograd.numpy as anp
        from autograd import value_and_grad
        from autograd.scipy.special import logsumexp

        X, n = problem.X, len(problem.t)
        T = byhand.one_hot_convert(problem.t, problem.units[-1]).astype(X.dtype)

        def loss(layers: list[tuple[Any, Any]]) -> Any:
            A = X
            for W, b in layers[:-1]:
                A = anp.maximum(anp.dot(W, A) + b, 0)
            W, b = layers[-1]
            Z = anp.dot(W, A) + b
            return (anp.sum(logsumexp(Z, axis=0)) - anp.sum(Z * T)) / n

        self.value_and_grad = value_and_grad(loss)
        self.layers = problem.start
        self.lr = problem.lr

    def step(self) -> None:
        _, grads = self.value_and_grad(self.layers)
        self.layers = [(W - self.lr * dW, b - self.lr * db)
                       for (W, b), (dW, db) in zip(self.layers, grads, strict=True)]

    def weights(self) -> list[np.ndarray]:
        return [array for layer in self.layers for array in layer]


class MyGrad:
    """MyGrad, samples in rows, with its guard against writing into shared memory turned off, as its docs advise."""

    def __init__(self, problem: Problem) -> None:
        import mygrad
        from mygrad.nnet.activations import relu
        from mygrad.nnet.losses import softmax_crossentropy

        mygrad.turn_memory_guarding_off()
        self.matmul, self.relu, self.crossentropy = mygrad.matmul, relu, softmax_crossentropy
        self.X, self.t, self.lr = np.ascontiguousarray(problem.X.T), problem.t, problem.lr
        self.layers = [(mygrad.tensor(W.T.copy()), mygrad.tensor(b[:, 0].copy())) for W, b in problem.start]

    def step(self) -> None:
        A: Any = self.X
        for W, b in self.layers[:-1]:
            A = self.relu(self.matmul(A, W) + b)
        W, b = self.layers[-1]
        self.crossentropy(self.matmul(A, W) + b, self.t).backward()
        for layer in self.layers:
            for p in layer:
                p.data -= self.lr * p.grad

    def weights(self) -> list[np.ndarray]:
        return [array for W, b in self.layers for array in (W.data.T, b.data[:, None])]


CONTENDERS: dict[str, tuple[str, Callable[[Problem], Contender]]] = {
    "by hand": ("numpy", lambda problem: Twin(byhand, problem)),
    "tinygraph": ("numpy", lambda problem: Twin(classifier, problem)),
    "PyTorch": ("torch", Torch),
    "PyTorch, torch.optim": ("torch", TorchWithOptimizer),
    "HIPS autograd": ("autograd", Autograd),
    "MyGrad": ("mygrad", MyGrad),
}


def contenders(problem: Problem) -> dict[str, Contender]:
    """All whose engine is installed, each after three steps that gave the weights of the twin by hand."""
    made = {name: make(problem) for name, (module, make) in CONTENDERS.items() if importlib.util.find_spec(module)}
    for contender in made.values():
        for _ in range(3):
            contender.step()
    tolerance = 1e-10 if problem.X.dtype == np.float64 else 1e-4
    expected = made["by hand"].weights()
    for name, contender in made.items():
        for right, found in zip(expected, contender.weights(), strict=True):
            if found.dtype != right.dtype:
                raise TypeError(f"{name} computes in {found.dtype}, not in {right.dtype}")
            np.testing.assert_allclose(found, right, tolerance, tolerance, err_msg=f"the weights of {name}")
    return made
