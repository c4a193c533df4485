"""One SGD step of a convolutional network: twice convolution 3 x 3 (padding 1), ReLU and max pooling by 2, with 16 and
32 channels, then a linear layer to 10 classes; 64 images of 28 x 28.

Images are (n, channels, height, width), a kernel W is (channels out, channels in, 3, 3), that of the linear layer (10,
features). Two are left out. PyTensor's convolution knows one channel; with the windows as columns, Numba compiled for
eight minutes, and a step took twice as long as the best of the others. HIPS autograd takes 25 times as long as these,
with its own convolution or with columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from . import Maker, Work, arrays
from .engines import TINYGRAPH, tinygraph_compiled
from .training import detached, map_tensors

SHAPES = [(16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (10, 32 * 7 * 7), (10,)]
STEPS = [(u, v) for u in range(3) for v in range(3)]


@dataclass
class Problem:
    """The images, their labels, and W1, b1, W2, b2, W3, b3 to start from."""

    x: np.ndarray
    t: np.ndarray
    start: list[np.ndarray]
    lr: float = 0.1
    dtype: str = "float32"

    @classmethod
    def random(cls, n: int = 64) -> Problem:
        rng = np.random.default_rng(0)
        x, t = rng.standard_normal((n, 1, 28, 28)), rng.integers(0, 10, n)
        start = [rng.standard_normal(shape) * (sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1)
                 for shape in SHAPES]
        return cls(x.astype(np.float32), t, [p.astype(np.float32) for p in start])

    def work(self, call: Callable[[], Any], weights: Callable[[], Any], reset: Callable[[], None]) -> Work:
        """The work of an engine whose `call` returns the loss; what counts is how far the weights have come."""
        def result(loss: Any) -> list[np.ndarray]:
            return [*arrays(loss), *[p - start for p, start in zip(arrays(*weights()), self.start, strict=True)]]

        return Work(call, result, reset)


# By hand


def columns(x: np.ndarray) -> np.ndarray:
    """The windows of the padded images, (n, channels 9, height width)."""
    n, c, h, w = x.shape
    padded = np.zeros((n, c, h + 2, w + 2), x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    C = np.empty((n, c, 3, 3, h, w), x.dtype)
    for u, v in STEPS:
        C[:, :, u, v] = padded[:, :, u:u + h, v:v + w]
    return C.reshape(n, c * 9, h * w)


def from_columns(dC: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of images of that shape from that of their columns."""
    n, c, h, w = shape
    dC = dC.reshape(n, c, 3, 3, h, w)
    padded = np.zeros((n, c, h + 2, w + 2), dC.dtype)
    for u, v in STEPS:
        padded[:, :, u:u + h, v:v + w] += dC[:, :, u, v]
    return padded[:, :, 1:-1, 1:-1]


QUARTERS = [np.s_[:, :, u::2, v::2] for u in range(2) for v in range(2)]  # the corners of all windows of pooling


def layer(C: np.ndarray, W: np.ndarray, b: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The output of convolution, bias and ReLU, and the same pooled."""
    A = W.reshape(len(W), -1) @ C
    A += b[:, None]
    np.maximum(A, 0, out=A)
    A = A.reshape(len(C), len(W), height, height)
    P = np.maximum(A[QUARTERS[0]], A[QUARTERS[1]])
    for quarter in QUARTERS[2:]:
        np.maximum(P, A[quarter], out=P)
    return A, P


def d_layer(dP: np.ndarray, A: np.ndarray, P: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, ...]:
    """The gradients of the product W C, of W as rows, and of b. Where ReLU gave 0, it does not matter which entry of a
    window is the largest."""
    dP = dP * (P > 0)
    dZ = np.empty_like(A)
    for quarter in QUARTERS:
        np.multiply(dP, A[quarter] == P, out=dZ[quarter])
    dZ = dZ.reshape(len(A), A.shape[1], -1)
    return dZ, (dZ @ C.swapaxes(1, 2)).sum(axis=0), dZ.sum(axis=(0, 2))


def by_hand(problem: Problem, threads: int) -> Work:
    x, t, lr = problem.x, problem.t, problem.lr
    n = len(t)
    samples = np.arange(n)
    parameters = [p.copy() for p in problem.start]
    W1, b1, W2, b2, W3, b3 = parameters

    def call() -> Any:
        C1 = columns(x)
        A1, P1 = layer(C1, W1, b1, 28)
        C2 = columns(P1)
        A2, P2 = layer(C2, W2, b2, 14)
        F = P2.reshape(n, -1)
        Z = F @ W3.T
        Z += b3
        Z -= Z.max(axis=1, keepdims=True)
        picked = Z[samples, t]
        E = np.exp(Z, out=Z)
        S = E.sum(axis=1, keepdims=True)
        loss = (np.log(S).sum() - picked.sum()) / n
        dZ = E
        dZ /= S * n
        dZ[samples, t] -= 1 / n
        dW3, db3 = dZ.T @ F, dZ.sum(axis=0)
        dZ2, dW2, db2 = d_layer((dZ @ W3).reshape(P2.shape), A2, P2, C2)
        dC2 = W2.reshape(len(W2), -1).T @ dZ2
        _, dW1, db1 = d_layer(from_columns(dC2, P1.shape), A1, P1, C1)
        for p, grad in zip(parameters, [dW1, db1, dW2, db2, dW3, db3], strict=True):
            p -= lr * grad.reshape(p.shape)
        return loss

    def reset() -> None:
        for p, value in zip(parameters, problem.start, strict=True):
            p[...] = value

    return problem.work(call, lambda: parameters, reset)


# PyTorch


def torch_loss(parameters: list[Any], x: Any, t: Any) -> Any:
    import torch.nn.functional as F

    W1, b1, W2, b2, W3, b3 = parameters
    A = F.max_pool2d(F.relu(F.conv2d(x, W1, b1, padding=1)), 2)
    A = F.max_pool2d(F.relu(F.conv2d(A, W2, b2, padding=1)), 2)
    return F.cross_entropy(F.linear(A.flatten(1), W3, b3), t)


def torch_eager(problem: Problem, threads: int) -> Work:
    import torch

    x, t, start = map_tensors(torch.tensor, (problem.x, problem.t, problem.start))
    parameters = [p.clone().requires_grad_() for p in start]

    def call() -> Any:
        loss = torch_loss(parameters, x, t)
        grads = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, grads, alpha=-problem.lr)
        return loss

    @torch.no_grad()
    def reset() -> None:
        for p, value in zip(parameters, start, strict=True):
            p.copy_(value)

    return detached(problem.work(call, lambda: [p.detach() for p in parameters], reset))


def torch_compiled(problem: Problem, threads: int) -> Work:
    """With the channels last in memory it takes two thirds of the time; eager it does not gain."""
    import torch

    def channels_last(tensor: Any) -> Any:
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    tensors = map_tensors(torch.tensor, (problem.x, problem.t, problem.start))
    x, t, start = map_tensors(channels_last, tensors)
    parameters = [p.clone() for p in start]

    @torch.compile
    def step(parameters: Any, x: Any, t: Any) -> Any:
        grads, loss = torch.func.grad_and_value(torch_loss)(parameters, x, t)
        for p, grad in zip(parameters, grads, strict=True):
            p.sub_(grad, alpha=problem.lr)
        return loss

    def reset() -> None:
        for p, value in zip(parameters, start, strict=True):
            p.copy_(value)

    return problem.work(lambda: step(parameters, x, t), lambda: parameters, reset)


# JAX


def jax(problem: Problem, threads: int) -> Work:
    """Channels last, and pooling as maxima of slices: four times as fast as channels first with reduce_window."""
    import jax
    import jax.numpy as jnp

    x, t, start = map_tensors(jnp.asarray, (problem.x.transpose(0, 2, 3, 1), problem.t, problem.start))
    start = [p.transpose(2, 3, 1, 0) if p.ndim == 4 else p for p in start]

    def layer(x: Any, W: Any, b: Any) -> Any:
        A = jax.lax.conv_general_dilated(x, W, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        A = jax.nn.relu(A + b)
        rows = jnp.maximum(A[:, ::2], A[:, 1::2])
        return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])

    def loss(parameters: Any, x: Any, t: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = parameters
        F = layer(layer(x, W1, b1), W2, b2).reshape(len(x), -1)
        return -(jax.nn.log_softmax(F @ W3 + b3) * jax.nn.one_hot(t, 10)).sum() / len(t)

    @jax.jit
    def step(parameters: Any, x: Any, t: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(parameters, x, t)
        return value, [p - problem.lr * grad for p, grad in zip(parameters, grads, strict=True)]

    # The features come in the order height, width, channel.
    start[4] = start[4].reshape(10, 32, 7, 7).transpose(2, 3, 1, 0).reshape(-1, 10)
    parameters = start

    def call() -> Any:
        nonlocal parameters
        value, parameters = jax.block_until_ready(step(parameters, x, t))
        return value

    def reset() -> None:
        nonlocal parameters
        parameters = start

    def weights() -> Any:
        W1, b1, W2, b2, W3, b3 = parameters
        W3 = W3.reshape(7, 7, 32, 10).transpose(3, 2, 0, 1).reshape(10, -1)
        return W1.transpose(3, 2, 0, 1), b1, W2.transpose(3, 2, 0, 1), b2, W3, b3

    return problem.work(call, weights, reset)


# MyGrad


def mygrad(problem: Problem, threads: int) -> Work:
    import mygrad
    from mygrad.nnet.activations import relu
    from mygrad.nnet.layers import conv_nd, max_pool
    from mygrad.nnet.losses import softmax_crossentropy

    parameters = [mygrad.tensor(p) for p in problem.start]
    W1, b1, W2, b2, W3, b3 = parameters

    def call() -> Any:
        A: Any = problem.x
        for W, b in ((W1, b1), (W2, b2)):
            A = max_pool(relu(conv_nd(A, W, stride=1, padding=1) + b.reshape(-1, 1, 1)), (2, 2), 2)
        loss = softmax_crossentropy(mygrad.matmul(A.reshape(len(problem.x), -1), W3.T) + b3, problem.t)
        loss.backward()
        for p in parameters:
            p.data -= problem.lr * p.grad
        return loss.data

    def reset() -> None:
        for p, value in zip(parameters, problem.start, strict=True):
            p.data[...] = value

    return problem.work(call, lambda: [p.data for p in parameters], reset)


# tinygraph


def tinygraph(name: str, problem: Problem, threads: int) -> Work:
    import tinygraph as tg
    from tinygraph.ops import Conv2D, LogSoftmaxNLL, MaxPool2D, ReLU

    parameters = [tg.Parameter(p, letter) for p, letter in zip(problem.start, ("W1", "b1", "W2", "b2", "W3", "b3"),
                                                               strict=True)]
    W1, b1, W2, b2, W3, b3 = parameters

    def step(x: Any, t: Any, lr: float) -> Any:
        A = x
        for W, b in ((W1, b1), (W2, b2)):
            A = MaxPool2D(ReLU(Conv2D(A, W, padding=1) + b.reshape(-1, 1, 1)), size=2)
        loss = LogSoftmaxNLL(A.reshape(len(x), -1) @ W3.T + b3, t)
        loss.backprop()
        for p in parameters:
            p.value = p.value - lr * p.grad
        return loss

    def reset() -> None:
        for p, value in zip(parameters, problem.start, strict=True):
            p.value = value

    function = tinygraph_compiled(name, threads)(step)
    return problem.work(lambda: function(problem.x, problem.t, problem.lr), lambda: parameters, reset)


CONTENDERS: dict[str, Maker] = {
    "by hand": by_hand,
    "PyTorch": torch_eager,
    "torch.compile": torch_compiled,
    "JAX": jax,
    "MyGrad": mygrad,
    **{name: partial(tinygraph, name) for name in TINYGRAPH},
}
