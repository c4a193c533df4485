"""A pre-norm transformer block, x + attention(norm(x)), then the same with a feed-forward network in attention's place:
the mean squared error of its output, and the gradients of all its parameters.

x is (batch, length, d); the attention is causal. The weights W are (inputs, outputs), so that samples in rows are
multiplied from the right; PyTorch holds their transposes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import pi, sqrt
from typing import Any

import numpy as np

from . import Maker, Work, arrays
from .engines import TINYGRAPH, pytensor_function, tinygraph_compiled
from .training import map_tensors

HEADS = 4
EPSILON = 1e-5  # of the normalisation
GELU, CUBE = sqrt(2 / pi), 0.044715


@dataclass
class Problem:
    """The parameters are gain1, bias1, Wqkv, bqkv, Wo, bo, gain2, bias2, W1, b1, W2, b2: of the first normalisation,
    queries, keys and values side by side, the output of attention, the second normalisation, and the feed-forward
    network."""

    x: np.ndarray
    target: np.ndarray
    parameters: list[np.ndarray]
    dtype: str = "float32"

    @classmethod
    def random(cls, d: int = 128, hidden: int = 512, batch: int = 16, length: int = 64) -> Problem:
        rng = np.random.default_rng(0)
        parameters = []
        for n_inputs, n_outputs in [(0, d), (d, 3 * d), (d, d), (0, d), (d, hidden), (hidden, d)]:
            first = rng.standard_normal((n_inputs, n_outputs)) / sqrt(n_inputs) if n_inputs else 1 + 0.1 * rng.random(d)
            parameters += [first, 0.1 * rng.standard_normal(n_outputs)]
        x, target = rng.standard_normal((2, batch, length, d))
        return cls(*map_tensors(lambda a: a.astype(np.float32), (x, target, parameters)))

    @property
    def mask(self) -> np.ndarray:
        """True where a query may not look, (length, length)."""
        length = self.x.shape[1]
        return np.triu(np.ones((length, length), bool), 1)


def result(returned: Any) -> list[np.ndarray]:
    loss, grads = returned
    return arrays(loss, *grads)


def split_heads(qkv: Any, batch: int, length: int, d: int) -> Any:
    """(batch length, 3 d) as (3, batch, heads, length, d / heads)."""
    return qkv.reshape((batch, length, 3, HEADS, d // HEADS)).transpose(2, 0, 3, 1, 4)


# By hand


def by_hand(problem: Problem, threads: int) -> Work:
    batch, length, d = problem.x.shape
    x, target = problem.x.reshape(-1, d), problem.target.reshape(-1, d)
    gain1, bias1, Wqkv, bqkv, Wo, bo, gain2, bias2, W1, b1, W2, b2 = problem.parameters
    mask = np.where(problem.mask, np.float32(-np.inf), np.float32(0))
    scale = np.float32(1 / sqrt(d // HEADS))

    def call() -> tuple[Any, list[np.ndarray]]:
        h1, normal1, _ = norm(x, gain1, bias1)
        qkv = h1 @ Wqkv
        qkv += bqkv
        q, k, v = split_heads(qkv, batch, length, d)
        S = q @ k.swapaxes(2, 3)
        S *= scale
        S += mask
        S -= S.max(axis=-1, keepdims=True)
        P = np.exp(S, out=S)
        P /= P.sum(axis=-1, keepdims=True)
        O = np.empty_like(x)
        np.matmul(P, v, out=heads(O))
        y = O @ Wo
        y += bo
        y += x
        h2, normal2, r2 = norm(y, gain2, bias2)
        U = h2 @ W1
        U += b1
        square = U * U
        T = square * (GELU * CUBE)
        T += GELU
        T *= U
        T = np.tanh(T, out=T)
        T += 1
        T *= 0.5  # h, of which the gate is U h
        G = U * T
        out = G @ W2
        out += b2
        out += y
        out -= target
        loss = np.vdot(out, out) / out.size

        dout = out
        dout *= 2 / out.size
        dW2, db2 = G.T @ dout, dout.sum(axis=0)
        dU = dout @ W2.T
        square *= 3 * GELU * CUBE
        square += GELU  # u'
        square *= U
        square *= 2
        square *= 1 - T
        square += 1
        square *= T  # h + 2 x h (1 - h) u'
        dU *= square
        dW1, db1 = h2.T @ dU, dU.sum(axis=0)
        dy, dgain2, dbias2 = d_norm(dU @ W1.T, normal2, r2, gain2)
        dy += dout
        dWo, dbo = O.T @ dy, dy.sum(axis=0)
        dO = heads(dy @ Wo.T)
        dqkv = np.empty_like(qkv)
        dq, dk, dv = split_heads(dqkv, batch, length, d)
        np.matmul(P.swapaxes(2, 3), dO, out=dv)
        dS = dO @ v.swapaxes(2, 3)
        dS -= np.einsum("bhij,bhij->bhi", dS, P)[..., None]
        dS *= P
        dS *= scale
        np.matmul(dS, k, out=dq)
        np.matmul(dS.swapaxes(2, 3), q, out=dk)
        dWqkv, dbqkv = h1.T @ dqkv, dqkv.sum(axis=0)
        dh1 = dqkv @ Wqkv.T
        dgain1, dbias1 = np.einsum("ij,ij->j", dh1, normal1), dh1.sum(axis=0)  # x itself wants no gradient
        return loss, [dgain1, dbias1, dWqkv, dbqkv, dWo, dbo, dgain2, dbias2, dW1, db1, dW2, db2]

    def heads(array: np.ndarray) -> np.ndarray:
        return array.reshape(batch, length, HEADS, d // HEADS).transpose(0, 2, 1, 3)

    return Work(call, result)


def norm(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y = normal gain + bias with normal = r (x - mean x); normal and r too."""
    m = x.shape[1]
    normal = x - x.mean(axis=1, keepdims=True)
    r = 1 / np.sqrt(np.einsum("ij,ij->i", normal, normal) / m + EPSILON)[:, None]
    normal *= r
    y = normal * gain
    y += bias
    return y, normal, r


def d_norm(dy: np.ndarray, normal: np.ndarray, r: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, ...]:
    """The gradients of x, gain and bias."""
    m = dy.shape[1]
    dgain, dbias = np.einsum("ij,ij->j", dy, normal), dy.sum(axis=0)
    dx = dy * gain
    along = np.einsum("ij,ij->i", dx, normal)[:, None] / m
    dx -= dx.mean(axis=1, keepdims=True)
    dx -= normal * along
    dx *= r
    return dx, dgain, dbias


# PyTorch


def torch_loss(parameters: list[Any], x: Any, target: Any) -> Any:
    import torch.nn.functional as F

    gain1, bias1, Wqkv, bqkv, Wo, bo, gain2, bias2, W1, b1, W2, b2 = parameters
    batch, length, d = x.shape
    qkv = F.linear(F.layer_norm(x, (d,), gain1, bias1, EPSILON), Wqkv, bqkv)
    q, k, v = qkv.view(batch, length, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4)
    attention = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    y = x + F.linear(attention.transpose(1, 2).reshape(batch, length, d), Wo, bo)
    hidden = F.gelu(F.linear(F.layer_norm(y, (d,), gain2, bias2, EPSILON), W1, b1), approximate="tanh")
    return F.mse_loss(y + F.linear(hidden, W2, b2), target)


def torch(problem: Problem, threads: int, compiled: bool) -> Work:
    """Compiled through torch.func, a little faster than the loss compiled alone and its gradient left to autograd."""
    import torch

    def transposed(parameters: list[Any]) -> list[Any]:
        return [p.T.contiguous() if p.ndim == 2 else p for p in parameters]

    x, target, parameters = map_tensors(torch.tensor, (problem.x, problem.target, problem.parameters))
    parameters = transposed(parameters)
    function = torch.compile(torch.func.grad_and_value(torch_loss))
    leaves = [p.clone().requires_grad_() for p in parameters]

    def eager() -> Any:
        loss = torch_loss(leaves, x, target)
        return torch.autograd.grad(loss, leaves), loss.detach()

    return Work((lambda: function(parameters, x, target)) if compiled else eager,
                lambda returned: result((returned[1], transposed(returned[0]))))


# JAX


def jax_loss(parameters: list[Any], x: Any, target: Any) -> Any:
    import jax
    import jax.numpy as jnp

    gain1, bias1, Wqkv, bqkv, Wo, bo, gain2, bias2, W1, b1, W2, b2 = parameters
    batch, length, d = x.shape
    x, target = x.reshape(-1, d), target.reshape(-1, d)  # with three axes, products with W take half as long again

    def norm(x: Any, gain: Any, bias: Any) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred * centred).mean(axis=-1, keepdims=True) + EPSILON) * gain + bias

    q, k, v = split_heads(norm(x, gain1, bias1) @ Wqkv + bqkv, batch, length, d)
    S = jnp.where(np.triu(np.ones((length, length), bool), 1), -jnp.inf, q @ k.swapaxes(2, 3) / sqrt(d // HEADS))
    attention = (jax.nn.softmax(S) @ v).swapaxes(1, 2).reshape(x.shape)
    y = x + attention @ Wo + bo
    hidden = jax.nn.gelu(norm(y, gain2, bias2) @ W1 + b1, approximate=True)
    return ((y + hidden @ W2 + b2 - target) ** 2).mean()


def jax(problem: Problem, threads: int) -> Work:
    import jax
    import jax.numpy as jnp

    x, target, parameters = map_tensors(jnp.asarray, (problem.x, problem.target, problem.parameters))
    function = jax.jit(jax.value_and_grad(jax_loss))
    return Work(lambda: jax.block_until_ready(function(parameters, x, target)), result)


# What is written alike in HIPS autograd, MyGrad and PyTensor


def block_loss(parameters: list[Any], x: Any, target: Any, mask: np.ndarray, shape: tuple[int, ...], xp: Any,
               softmax: Callable[[Any], Any]) -> Any:
    """The loss in the functions of `xp`, which plays NumPy. All numbers are float32, which a float would widen."""
    gain1, bias1, Wqkv, bqkv, Wo, bo, gain2, bias2, W1, b1, W2, b2 = parameters
    batch, length, d = shape
    number = np.float32

    def norm(x: Any, gain: Any, bias: Any) -> Any:
        centred = x - xp.mean(x, axis=-1, keepdims=True)
        return centred / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + number(EPSILON)) * gain + bias

    qkv = (xp.matmul(norm(x, gain1, bias1), Wqkv) + bqkv).reshape((batch, length, 3, HEADS, d // HEADS))
    qkv = xp.transpose(qkv, (2, 0, 3, 1, 4))
    q, k, v = qkv[0], qkv[1], qkv[2]
    S = xp.matmul(q, xp.transpose(k, (0, 1, 3, 2))) * number(1 / sqrt(d // HEADS))
    attention = xp.matmul(softmax(xp.where(mask, number(-np.inf), S)), v)
    attention = xp.transpose(attention, (0, 2, 1, 3)).reshape((batch, length, d))
    y = x + xp.matmul(attention, Wo) + bo
    U = xp.matmul(norm(y, gain2, bias2), W1) + b1
    hidden = U * (number(0.5) + number(0.5) * xp.tanh(U * (number(GELU) + number(GELU * CUBE) * U * U)))
    error = y + xp.matmul(hidden, W2) + b2 - target
    return xp.mean(error * error)


def pytensor(problem: Problem, threads: int) -> Work:
    import pytensor
    import pytensor.tensor as pt

    inputs = [pt.tensor(dtype="float32", shape=a.shape) for a in [problem.x, problem.target, *problem.parameters]]
    x, target, *parameters = inputs
    loss = block_loss(parameters, x, target, problem.mask, problem.x.shape, pt, partial(pt.special.softmax, axis=-1))
    function = pytensor_function(inputs, [loss, *pytensor.grad(loss, parameters)])
    given = [problem.x, problem.target, *problem.parameters]
    return Work(lambda: function(*given), lambda returned: result((returned[0], returned[1:])))


def autograd(problem: Problem, threads: int) -> Work:
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.tracer import getval

    def softmax(S: Any) -> Any:
        E = anp.exp(S - np.max(getval(S), axis=-1, keepdims=True))
        return E / anp.sum(E, axis=-1, keepdims=True)

    function = value_and_grad(partial(block_loss, x=problem.x, target=problem.target, mask=problem.mask,
                                      shape=problem.x.shape, xp=anp, softmax=softmax))
    return Work(lambda: function(problem.parameters), result)


def mygrad(problem: Problem, threads: int) -> Work:
    import mygrad
    from mygrad.nnet.activations import softmax

    def call() -> Any:
        parameters = [mygrad.tensor(p, copy=False) for p in problem.parameters]
        loss = block_loss(parameters, problem.x, problem.target, problem.mask, problem.x.shape, mygrad,
                          softmax)
        loss.backward()
        return loss.data, [p.grad for p in parameters]

    return Work(call, result)


# tinygraph


def tinygraph(name: str, problem: Problem, threads: int) -> Work:
    import tinygraph as tg
    from tinygraph.ops import GELU, LayerNorm, Softmax

    parameters = [tg.Parameter(p) for p in problem.parameters]
    gain1, bias1, Wqkv, bqkv, Wo, bo, gain2, bias2, W1, b1, W2, b2 = parameters
    batch, length, d = problem.x.shape
    mask = problem.mask

    def gradients(x: Any, target: Any) -> Any:
        q, k, v = split_heads(LayerNorm(x, gain1, bias1, eps=EPSILON) @ Wqkv + bqkv, batch, length, d)
        S = np.where(mask, -np.inf, q @ np.swapaxes(k, 2, 3) * (1 / sqrt(d // HEADS)))
        attention = np.swapaxes(Softmax(S) @ v, 1, 2).reshape(batch, length, d)
        y = x + attention @ Wo + bo
        hidden = GELU(LayerNorm(y, gain2, bias2, eps=EPSILON) @ W1 + b1)
        loss = np.mean((y + hidden @ W2 + b2 - target) ** 2)
        loss.backprop()
        return loss, [p.grad for p in parameters]

    function = tinygraph_compiled(name, threads)(gradients)
    return Work(lambda: function(problem.x, problem.target), result)


CONTENDERS: dict[str, Maker] = {
    "by hand": by_hand,
    "PyTorch": partial(torch, compiled=False),
    "torch.compile": partial(torch, compiled=True),
    "JAX": jax,
    "PyTensor": pytensor,
    "HIPS autograd": autograd,
    "MyGrad": mygrad,
    **{name: partial(tinygraph, name) for name in TINYGRAPH},
}
