"""The Hessian of the network's loss times a vector, for [2, 10, 2]: what Newton's method by conjugate gradients needs.

The vector v has an array for each parameter, and so has the result. MyGrad has no second derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import Maker, Work, arrays, training
from .engines import TINYGRAPH, pytensor_function, tinygraph_compiled
from .training import jax_loss, map_tensors, torch_loss


@dataclass
class Problem:
    """The network, whose start is the point, and the vector."""

    network: training.Problem
    v: list[np.ndarray]

    @classmethod
    def random(cls) -> Problem:
        network = training.Problem.random([2, 10, 2], 100, "float64")
        rng = np.random.default_rng(1)
        return cls(network, [rng.standard_normal(p.shape) for p in network.start])

    @property
    def dtype(self) -> str:
        return self.network.dtype

    @property
    def in_rows(self) -> Any:
        """X, t, the point and the vector, as `training.Problem.in_rows`."""
        X, t, start = self.network.in_rows
        return X, t, start, [v.reshape(p.shape) for v, p in zip(self.v, start, strict=True)]

    def result(self, products: Any) -> list[np.ndarray]:
        return [found.reshape(v.shape) for found, v in zip(arrays(*products), self.v, strict=True)]


def by_hand(problem: Problem, threads: int) -> Work:
    """Pearlmutter's R: the derivative of every line of the forward pass and of backprop, along v (here R of W is V)."""
    X, t = problem.network.X, problem.network.t
    W1, b1, W2, b2 = problem.network.start
    V1, r1, V2, r2 = problem.v
    n = len(t)
    samples = np.arange(n)

    def call() -> list[np.ndarray]:
        Z1 = W1.dot(X)
        Z1 += b1
        mask = Z1 > 0
        A = Z1 * mask
        RA = V1.dot(X)
        RA += r1
        RA *= mask
        Z2 = W2.dot(A)
        Z2 += b2
        RZ2 = W2.dot(RA)
        RZ2 += V2.dot(A)
        RZ2 += r2
        Z2 -= np.maximum.reduce(Z2, axis=0)
        P = np.exp(Z2, out=Z2)
        P /= np.add.reduce(P, axis=0)
        RdZ2 = RZ2 - np.add.reduce(P * RZ2, axis=0)
        RdZ2 *= P
        RdZ2 /= n
        dZ2 = P
        dZ2[t, samples] -= 1
        dZ2 /= n
        HW2 = RdZ2.dot(A.T)
        HW2 += dZ2.dot(RA.T)
        RdZ1 = W2.T.dot(RdZ2)
        RdZ1 += V2.T.dot(dZ2)
        RdZ1 *= mask
        return [RdZ1.dot(X.T), np.add.reduce(RdZ1, axis=1, keepdims=True),
                HW2, np.add.reduce(RdZ2, axis=1, keepdims=True)]

    return Work(call, problem.result)


def torch_eager(problem: Problem, threads: int) -> Work:
    """The gradient of the gradient times v: forward mode has more overhead."""
    import torch

    X, t, start, v = map_tensors(torch.tensor, problem.in_rows)
    parameters = [p.requires_grad_() for p in start]

    def call() -> Any:
        grads = torch.autograd.grad(torch_loss(parameters, X, t), parameters, create_graph=True)
        return torch.autograd.grad(grads, parameters, v)

    return Work(call, problem.result)


def torch_compiled(problem: Problem, threads: int) -> Work:
    import torch

    X, t, start, v = map_tensors(torch.tensor, problem.in_rows)

    @torch.compile
    def hvp(parameters: Any, v: Any, X: Any, t: Any) -> Any:
        gradient = torch.func.grad(partial(torch_loss, X=X, t=t))
        return torch.func.jvp(gradient, (parameters,), (v,))[1]

    return Work(lambda: hvp(start, v, X, t), problem.result)


def jax(problem: Problem, threads: int) -> Work:
    import jax
    import jax.numpy as jnp

    X, t, start, v = map_tensors(jnp.asarray, (problem.network.X, problem.network.t, problem.network.start, problem.v))

    @jax.jit
    def hvp(parameters: Any, v: Any, X: Any, t: Any) -> Any:
        return jax.jvp(jax.grad(partial(jax_loss, X=X, t=t)), (parameters,), (v,))[1]

    return Work(lambda: jax.block_until_ready(hvp(start, v, X, t)), problem.result)


def pytensor(problem: Problem, threads: int) -> Work:
    import pytensor
    import pytensor.tensor as pt

    network = problem.network
    parameters = [pt.tensor(name, dtype=network.dtype, shape=p.shape)
                  for name, p in zip(network.names, network.start, strict=True)]
    v = [pt.tensor(f"v_{name}", dtype=network.dtype, shape=p.shape)
         for name, p in zip(network.names, network.start, strict=True)]
    X, t = pt.tensor("X", dtype=network.dtype, shape=network.X.shape), pt.tensor("t", dtype="int64", shape=(None,))
    W1, b1, W2, b2 = parameters
    Z = pt.dot(W2, pt.maximum(pt.dot(W1, X) + b1, 0)) + b2
    loss = -pt.special.log_softmax(Z, axis=0)[t, pt.arange(t.shape[0])].mean()
    products = pytensor.gradient.hessian_vector_product(loss, parameters, v)
    function = pytensor_function([*parameters, *v, X, t], products)
    return Work(lambda: function(*network.start, *problem.v, network.X, network.t), problem.result)


def autograd(problem: Problem, threads: int) -> Work:
    import autograd.numpy as anp
    from autograd import grad
    from autograd.scipy.special import logsumexp

    X, n = problem.network.X, len(problem.network.t)
    T = np.eye(2)[:, problem.network.t]

    def loss(parameters: Any) -> Any:
        W1, b1, W2, b2 = parameters
        Z = anp.dot(W2, anp.maximum(anp.dot(W1, X) + b1, 0)) + b2
        return (anp.sum(logsumexp(Z, axis=0)) - anp.sum(Z * T)) / n

    gradient = grad(loss)

    def along(parameters: Any) -> Any:
        return sum(anp.sum(g * v) for g, v in zip(gradient(parameters), problem.v, strict=True))

    hvp = grad(along)
    return Work(lambda: hvp(problem.network.start), problem.result)


def tinygraph(name: str, problem: Problem, threads: int) -> Work:
    import tinygraph as tg
    from tinygraph.ops import AddBias, LogSoftmaxNLL, ReLU

    argnums = range(len(problem.v))

    def hvp(parameters: Any, v: Any, X: Any, t: Any) -> Any:
        def loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
            return LogSoftmaxNLL(AddBias(W2 @ ReLU(AddBias(W1 @ X, b1)), b2), t, axis=0)

        def along(*parameters: Any) -> Any:
            grads = tg.grad(loss, argnums)(*parameters)
            return sum(np.sum(g * d) for g, d in zip(grads, v, strict=True))

        return tg.grad(along, argnums)(*parameters)

    function = tinygraph_compiled(name, threads)(hvp)
    network = problem.network
    return Work(lambda: function(network.start, problem.v, network.X, network.t), problem.result)


CONTENDERS: dict[str, Maker] = {
    "by hand": by_hand,
    "PyTorch": torch_eager,
    "torch.compile": torch_compiled,
    "JAX": jax,
    "PyTensor": pytensor,
    "HIPS autograd": autograd,
    **{name: partial(tinygraph, name) for name in TINYGRAPH},
}
