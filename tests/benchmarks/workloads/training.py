"""The documents' network in each engine: a whole training step with SGD or Adam, or the loss and its gradients alone.

The weights are flat lists W1, b1, W2, ...; W is (n_outputs, n_inputs), b (n_outputs, 1), and the samples are columns.
PyTorch and MyGrad prefer samples in rows. The labels go in as integers, but for HIPS autograd, which differentiates a
product with one-hot labels faster than an index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np

from . import Maker, Work, arrays
from .engines import TINYGRAPH, pytensor_function, tinygraph_compiled

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of Adam


@dataclass
class Problem:
    """X (features, n) and the labels t (n,), with the weights to start from. `update`: "SGD", "Adam" or None."""

    X: np.ndarray
    t: np.ndarray
    start: list[np.ndarray]
    lr: float
    update: str | None

    @classmethod
    def random(cls, units: list[int], n: int, dtype: str, lr: float = 0, update: str | None = None) -> Problem:
        rng = np.random.default_rng(0)
        X, t = rng.standard_normal((units[0], n)), rng.integers(0, units[-1], n)
        start = []
        for n_inputs, n_outputs in pairwise(units):
            start += [rng.standard_normal((n_outputs, n_inputs)) * sqrt(2 / n_inputs), np.zeros((n_outputs, 1))]
        return cls(X.astype(dtype), t, [p.astype(dtype) for p in start], lr, update)

    @property
    def dtype(self) -> str:
        return str(self.X.dtype)

    @property
    def in_rows(self) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """X (n, features), t and the start, with b (n_outputs,)."""
        return np.ascontiguousarray(self.X.T), self.t, [p if p.shape[1] > 1 else p[:, 0] for p in self.start]

    @property
    def names(self) -> list[str]:
        return [f"{letter}{layer}" for layer in range(1, len(self.start) // 2 + 1) for letter in "Wb"]

    def work(self, call: Callable[[], Any], weights: Callable[[], Any], reset: Callable[[], None]) -> Work:
        """The work of an engine whose `call` returns the loss, and the gradients too where nothing is updated. What
        counts of a step is how far the weights have come."""
        def result(returned: Any) -> list[np.ndarray]:
            if self.update is None:
                loss, grads = returned
                return [*arrays(loss), *map(self._column, arrays(*grads), self.start)]
            found = map(self._column, arrays(*weights()), self.start)
            return [*arrays(returned), *[p - start for p, start in zip(found, self.start, strict=True)]]

        return Work(call, result, reset)

    def _column(self, found: np.ndarray, like: np.ndarray) -> np.ndarray:
        return found if found.shape == like.shape else found.reshape(like.shape)


def adam_rates(step: Any, lr: float, root: Callable[[Any], Any] = sqrt) -> tuple[Any, Any]:
    """The two numbers in which Adam's bias corrections end: p -= first * m / (second * sqrt(v) + epsilon)."""
    return lr / (1 - BETA1**step), 1 / root(1 - BETA2**step)


# By hand


def gradients_by_hand(parameters: list[np.ndarray], X: np.ndarray, t: np.ndarray) -> tuple[Any, list[np.ndarray]]:
    """The loss, and the gradients in the order of the parameters; writes only into arrays that it made."""
    A, inputs, n = X, [X], len(t)
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        Z = W.dot(A)
        Z += b
        A = np.zeros(Z.shape, Z.dtype)  # an array of zeros: NumPy's maximum is slower with a scalar
        np.maximum(A, Z, out=A)
        inputs.append(A)
    Z = parameters[-2].dot(A)
    Z += parameters[-1]
    samples = np.arange(n)
    Z -= np.maximum.reduce(Z, axis=0)
    picked = Z[t, samples]
    E = np.exp(Z, out=Z)
    S = np.add.reduce(E, axis=0)
    loss = (np.add.reduce(np.log(S)) - np.add.reduce(picked)) / n
    dZ = E
    S *= n
    dZ /= S
    dZ[t, samples] -= 1 / n
    grads = []
    for layer in range(len(parameters) - 2, -1, -2):
        A = inputs[layer // 2]
        grads += [np.add.reduce(dZ, axis=1, keepdims=True), dZ.dot(A.T)]
        if layer:
            dZ = parameters[layer].T.dot(dZ)
            dZ *= A > 0
    return loss, grads[::-1]


def by_hand(problem: Problem, threads: int) -> Work:
    X, t, lr = problem.X, problem.t, problem.lr
    parameters = [p.copy() for p in problem.start]
    m, v = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    count = 0

    def sgd() -> Any:
        loss, grads = gradients_by_hand(parameters, X, t)
        for p, grad in zip(parameters, grads, strict=True):
            grad *= lr
            p -= grad
        return loss

    def adam() -> Any:
        nonlocal count
        loss, grads = gradients_by_hand(parameters, X, t)
        count += 1
        first, second = adam_rates(count, lr)
        for p, grad, m_p, v_p in zip(parameters, grads, m, v, strict=True):
            m_p *= BETA1
            m_p += (1 - BETA1) * grad
            v_p *= BETA2
            grad *= grad
            grad *= 1 - BETA2
            v_p += grad
            scale = np.sqrt(v_p, out=grad)
            scale *= second
            scale += EPSILON
            step = np.divide(m_p, scale, out=scale)
            step *= first
            p -= step
        return loss

    def reset() -> None:
        nonlocal count
        count = 0
        for array, value in zip([*parameters, *m, *v], [*problem.start, *[0] * len(m + v)], strict=True):
            array[...] = value

    calls = {"SGD": sgd, "Adam": adam, None: lambda: gradients_by_hand(parameters, X, t)}
    return problem.work(calls[problem.update], lambda: parameters, reset)


# PyTorch


def torch_loss(parameters: list[Any], X: Any, t: Any) -> Any:
    import torch.nn.functional as F

    A = X
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        A = F.relu(F.linear(A, W, b))
    return F.cross_entropy(F.linear(A, *parameters[-2:]), t)


def torch_eager(problem: Problem, threads: int) -> Work:
    """Gradients by torch.autograd.grad, SGD written out (torch.optim.SGD costs more), Adam in its fused form."""
    import torch

    X, t, start = map_tensors(torch.tensor, problem.in_rows)
    parameters = [p.clone().requires_grad_() for p in start]
    if problem.update == "Adam":
        optimizer = torch.optim.Adam(parameters, problem.lr, (BETA1, BETA2), EPSILON, fused=True)

    def gradients() -> Any:
        loss = torch_loss(parameters, X, t)
        return loss, torch.autograd.grad(loss, parameters)

    def sgd() -> Any:
        loss, grads = gradients()
        with torch.no_grad():
            torch._foreach_add_(parameters, grads, alpha=-problem.lr)
        return loss

    def adam() -> Any:
        loss, grads = gradients()
        for p, grad in zip(parameters, grads, strict=True):
            p.grad = grad
        optimizer.step()
        return loss

    @torch.no_grad()
    def reset() -> None:
        for p, value in zip(parameters, start, strict=True):
            p.copy_(value)
        if problem.update == "Adam":
            for state in optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()

    calls = {"SGD": sgd, "Adam": adam, None: gradients}
    call = calls[problem.update]
    return detached(problem.work(call, lambda: [p.detach() for p in parameters], reset))


def torch_compiled(problem: Problem, threads: int) -> Work:
    """The whole step compiled, through torch.func: four times as fast, on small networks, as compiling the loss and
    leaving its gradient to autograd."""
    import torch

    X, t, start = map_tensors(torch.tensor, problem.in_rows)
    parameters = [p.clone() for p in start]
    moments = [torch.zeros_like(p) for p in parameters for _ in range(2)]
    count = torch.zeros((), dtype=torch.float32)
    gradients = torch.func.grad_and_value(torch_loss)

    def sgd(parameters: list[Any], moments: list[Any], count: Any, X: Any, t: Any) -> Any:
        grads, loss = gradients(parameters, X, t)
        for p, grad in zip(parameters, grads, strict=True):
            p.sub_(grad, alpha=problem.lr)
        return loss

    def adam(parameters: list[Any], moments: list[Any], count: Any, X: Any, t: Any) -> Any:
        grads, loss = gradients(parameters, X, t)
        count.add_(1)
        first, second = adam_rates(count, problem.lr, torch.sqrt)
        for p, grad, m, v in zip(parameters, grads, moments[::2], moments[1::2], strict=True):
            m.mul_(BETA1).add_(grad, alpha=1 - BETA1)
            v.mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
            p.sub_(first * m / (second * v.sqrt() + EPSILON))
        return loss

    def neither(parameters: list[Any], moments: list[Any], count: Any, X: Any, t: Any) -> Any:
        return gradients(parameters, X, t)[::-1]

    def reset() -> None:
        for tensor in [*moments, count]:
            tensor.zero_()
        for p, value in zip(parameters, start, strict=True):
            p.copy_(value)

    step = torch.compile({"SGD": sgd, "Adam": adam, None: neither}[problem.update])
    return problem.work(lambda: step(parameters, moments, count, X, t), lambda: parameters, reset)


def map_tensors(function: Callable[[Any], Any], values: Any) -> Any:
    """`function` of each array in nested tuples and lists."""
    if isinstance(values, tuple | list):
        return type(values)(map_tensors(function, value) for value in values)
    return function(values)


def detached(work: Work) -> Work:
    """The work, for results that PyTorch's autograd would hold on to."""
    def detach(value: Any) -> Any:
        return map_tensors(lambda tensor: tensor.detach(), value)

    return Work(work.call, lambda returned: work.result(detach(returned)), work.reset)


# JAX


def jax_loss(parameters: list[Any], X: Any, t: Any) -> Any:
    import jax

    A = X
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        A = jax.nn.relu(W @ A + b)
    Z = parameters[-2] @ A + parameters[-1]
    T = jax.nn.one_hot(t, len(Z), axis=0, dtype=Z.dtype)
    return -(jax.nn.log_softmax(Z, axis=0) * T).sum() / len(t)


def jax(problem: Problem, threads: int) -> Work:
    import jax
    import jax.numpy as jnp

    X, t, start = map_tensors(jnp.asarray, (problem.X, problem.t, problem.start))
    gradients = jax.value_and_grad(jax_loss)
    zeros = [jnp.zeros_like(p) for p in start]

    @jax.jit
    def sgd(parameters: Any, X: Any, t: Any) -> Any:
        loss, grads = gradients(parameters, X, t)
        return loss, [p - problem.lr * grad for p, grad in zip(parameters, grads, strict=True)]

    @jax.jit
    def adam(state: Any, X: Any, t: Any) -> Any:
        parameters, moments, velocities, count = state
        loss, grads = gradients(parameters, X, t)
        count = count + 1
        first, second = adam_rates(count, problem.lr, jnp.sqrt)
        m = [BETA1 * m + (1 - BETA1) * grad for m, grad in zip(moments, grads, strict=True)]
        v = [BETA2 * v + (1 - BETA2) * grad * grad for v, grad in zip(velocities, grads, strict=True)]
        new = [p - first * m / (second * jnp.sqrt(v) + EPSILON) for p, m, v in zip(parameters, m, v, strict=True)]
        return loss, (new, m, v, count)

    if problem.update is None:
        both = jax.jit(gradients)
        return problem.work(lambda: jax.block_until_ready(both(start, X, t)), lambda: start, lambda: None)
    step, first = {"SGD": (sgd, start), "Adam": (adam, (start, zeros, zeros, jnp.zeros((), X.dtype)))}[problem.update]
    state = first

    def call() -> Any:
        nonlocal state
        loss, state = jax.block_until_ready(step(state, X, t))
        return loss

    def reset() -> None:
        nonlocal state
        state = first

    return problem.work(call, lambda: state if problem.update == "SGD" else state[0], reset)


# PyTensor


def pytensor(problem: Problem, threads: int) -> Work:
    import pytensor
    import pytensor.tensor as pt

    number = np.dtype(problem.dtype).type  # a Python float would widen float32
    parameters = [pytensor.shared(p, shape=p.shape) for p in problem.start]
    zeros = [[pytensor.shared(np.zeros_like(p), shape=p.shape) for p in problem.start] for _ in range(2)]
    count = pytensor.shared(number(0))
    X, t = pt.tensor("X", dtype=problem.dtype, shape=problem.X.shape), pt.tensor("t", dtype="int64", shape=(None,))
    A: Any = X
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        A = pt.maximum(pt.dot(W, A) + b, number(0))
    Z = pt.dot(parameters[-2], A) + parameters[-1]
    loss = -pt.special.log_softmax(Z, axis=0)[t, pt.arange(t.shape[0])].mean(dtype=problem.dtype)
    grads = pytensor.grad(loss, parameters)
    updates = []
    if problem.update == "SGD":
        updates = [(p, p - number(problem.lr) * grad) for p, grad in zip(parameters, grads, strict=True)]
    if problem.update == "Adam":
        step = count + number(1)
        first = number(problem.lr) / (1 - number(BETA1) ** step)
        second = 1 / pt.sqrt(1 - number(BETA2) ** step)
        updates = [(count, step)]
        for p, grad, m, v in zip(parameters, grads, *zeros, strict=True):
            new_m = number(BETA1) * m + number(1 - BETA1) * grad
            new_v = number(BETA2) * v + number(1 - BETA2) * grad * grad
            new_p = p - first * new_m / (second * pt.sqrt(new_v) + number(EPSILON))
            updates += [(m, new_m), (v, new_v), (p, new_p)]
    function = pytensor_function([X, t], loss if problem.update else [loss, *grads], updates)

    def reset() -> None:
        for p, value in zip(parameters, problem.start, strict=True):
            p.set_value(value)
        for zero in [*zeros[0], *zeros[1], count]:
            zero.set_value(np.zeros_like(zero.get_value()))

    def call() -> Any:
        returned = function(problem.X, problem.t)
        return returned if problem.update else (returned[0], returned[1:])

    return problem.work(call, lambda: [p.get_value() for p in parameters], reset)


# HIPS autograd and MyGrad


def functional(problem: Problem, gradients: Callable[[list[np.ndarray]], tuple[Any, Any]]) -> Work:
    """The step of an engine whose gradients are NumPy arrays, with the update in NumPy."""
    parameters: list[np.ndarray] = []
    m: list[Any] = []
    v: list[Any] = []
    count = 0

    def reset() -> None:
        nonlocal parameters, m, v, count
        parameters, m, v, count = list(problem.start), [0] * len(problem.start), [0] * len(problem.start), 0

    def call() -> Any:
        nonlocal parameters, m, v, count
        loss, grads = gradients(parameters)
        if problem.update == "SGD":
            parameters = [p - problem.lr * grad for p, grad in zip(parameters, grads, strict=True)]
        if problem.update == "Adam":
            count += 1
            first, second = adam_rates(count, problem.lr)
            m = [BETA1 * old + (1 - BETA1) * grad for old, grad in zip(m, grads, strict=True)]
            v = [BETA2 * old + (1 - BETA2) * grad * grad for old, grad in zip(v, grads, strict=True)]
            parameters = [p - first * m / (second * np.sqrt(v) + EPSILON)
                          for p, m, v in zip(parameters, m, v, strict=True)]
        return loss if problem.update else (loss, grads)

    reset()
    return problem.work(call, lambda: parameters, reset)


def autograd(problem: Problem, threads: int) -> Work:
    import autograd.numpy as anp
    from autograd import value_and_grad
    from autograd.scipy.special import logsumexp

    X, n = problem.X, len(problem.t)
    T = np.eye(len(problem.start[-1]), dtype=X.dtype)[:, problem.t]

    def loss(parameters: list[Any]) -> Any:
        A = X
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = anp.maximum(anp.dot(W, A) + b, 0)
        Z = anp.dot(parameters[-2], A) + parameters[-1]
        return (anp.sum(logsumexp(Z, axis=0)) - anp.sum(Z * T)) / n

    return functional(problem, value_and_grad(loss))


def mygrad(problem: Problem, threads: int) -> Work:
    import mygrad
    from mygrad.nnet.activations import relu
    from mygrad.nnet.losses import softmax_crossentropy

    X = np.ascontiguousarray(problem.X.T)

    def gradients(arrays: list[np.ndarray]) -> Any:
        parameters = [mygrad.tensor(p.T, copy=False) for p in arrays]
        A: Any = X
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = relu(mygrad.matmul(A, W) + b)
        loss = softmax_crossentropy(mygrad.matmul(A, parameters[-2]) + parameters[-1], problem.t)
        loss.backward()
        return loss.data, [p.grad.T for p in parameters]

    return functional(problem, gradients)


# tinygraph


def tinygraph(name: str, problem: Problem, threads: int) -> Work:
    import tinygraph as tg
    from tinygraph.ops import AddBias, LogSoftmaxNLL, ReLU

    parameters = [tg.Parameter(p, letter) for p, letter in zip(problem.start, problem.names, strict=True)]
    moments, squares = ([tg.State(np.zeros_like(p), f"{which}_{letter}")
                         for p, letter in zip(problem.start, problem.names, strict=True)] for which in "mv")
    count = tg.State(np.zeros((), problem.dtype), "count")

    def backprop(X: Any, t: Any) -> Any:
        A = X
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = ReLU(AddBias(W @ A, b))
        loss = LogSoftmaxNLL(AddBias(parameters[-2] @ A, parameters[-1]), t, axis=0)
        loss.backprop()
        return loss

    def gradients(X: Any, t: Any, lr: float) -> Any:
        return backprop(X, t), [p.grad for p in parameters]

    def sgd(X: Any, t: Any, lr: float) -> Any:
        loss = backprop(X, t)
        for p in parameters:
            p.value = p.value - lr * p.grad
        return loss

    def adam(X: Any, t: Any, lr: float) -> Any:
        loss = backprop(X, t)
        count.value = count.value + 1
        first, second = adam_rates(count.value, lr, np.sqrt)
        for p, m, v in zip(parameters, moments, squares, strict=True):
            m.value = BETA1 * m.value + (1 - BETA1) * p.grad
            v.value = BETA2 * v.value + (1 - BETA2) * p.grad * p.grad
            p.value = p.value - first * m.value / (second * np.sqrt(v.value) + EPSILON)
        return loss

    def reset() -> None:
        for p, value in zip(parameters, problem.start, strict=True):
            p.value = value
        for state in [*moments, *squares, count]:
            state.value = np.zeros_like(state.value)

    step = tinygraph_compiled(name, threads)({"SGD": sgd, "Adam": adam, None: gradients}[problem.update])
    X, t, lr = problem.X, problem.t, problem.lr
    return problem.work(lambda: step(X, t, lr), lambda: parameters, reset)


CONTENDERS: dict[str, Maker] = {
    "by hand": by_hand,
    "PyTorch": torch_eager,
    "torch.compile": torch_compiled,
    "JAX": jax,
    "PyTensor": pytensor,
    "HIPS autograd": autograd,
    "MyGrad": mygrad,
    **{name: partial(tinygraph, name) for name in TINYGRAPH},
}
