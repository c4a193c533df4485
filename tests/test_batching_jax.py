"""Jacobians and Hessians against JAX, which has its own rules for how an axis goes through an op: by its `vmap`.

The functions keep away from ties and kinks. `conftest.py` has JAX compute in float64.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.batching import batched

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

rng = np.random.default_rng(7)
W1, W2, X = (rng.normal(size=shape) for shape in [(6, 4), (5, 6), (4, 3)])
LABELS = np.array([0, 4, 2])

# Functions of an array, written in the words that both libraries know: `xp` is NumPy or JAX's.
FUNCTIONS = {
    "network": lambda xp, x: xp.tanh(W2 @ xp.tanh(W1 @ x)),
    "transposed": lambda xp, x: xp.exp(x.T @ W1.T / 3) @ W2.T,
    "losses": lambda xp, x: xp.log(xp.sum(xp.exp(W1 @ x), axis=0)) - (W1 @ x)[LABELS, np.arange(3)],
    "of all pairs": lambda xp, x: (1 + xp.sum((x[:, None] - x[None]) ** 2, axis=-1)) ** 1.5,
    "attention": lambda xp, x: xp.einsum("ij,kj->ik", x, xp.where(x > 0, xp.sin(x), x * x)) @ x,
    "pieces": lambda xp, x: xp.concatenate([x[:2] * x[2:], xp.pad(xp.reshape(x, (2, 6))[:, ::2], 1)[:, 1:4]]),
    "rosenbrock": lambda xp, x: 100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2,
    "largest": lambda xp, x: xp.max(x, axis=0) * xp.maximum(x, 0.1) - xp.mean(xp.abs(x)),
    "stacked": lambda xp, x: xp.stack([x, xp.swapaxes(xp.reshape(x, (3, 4)), 0, 1)], axis=1).sum(axis=0) * x[0],
}


BATCH = rng.normal(size=(5, *X.shape))
TIMES = np.array([0.7, 1.3])


def total(xp: Any, name: str) -> Any:
    """A function from an array to one number."""
    return lambda x: xp.sum(FUNCTIONS[name](xp, x) ** 2)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """All that JAX is asked for, in one function, which it compiles sooner than many small ones."""
    def everything(x: Any, batch: Any) -> Any:
        named = {name: partial(f, jnp) for name, f in FUNCTIONS.items()}
        return {name: (jax.jacrev(f)(x), jax.hessian(total(jnp, name))(x), jax.vmap(f)(batch),
                       jax.vmap(jax.grad(total(jnp, name)))(batch),
                       jax.vmap(jax.vmap(lambda t, x, f=f: f(t * x), (0, None), 1), (None, 0))(TIMES, batch),
                       jax.jacfwd(lambda t, f=f: jax.vmap(lambda x: f(x * t[0]) + t[1])(batch))(TIMES))
                for name, f in named.items()}

    return jax.jit(everything)(X, BATCH)


def check(actual: Any, expected: Any, rtol: float = 1e-12) -> None:
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobian(name, theirs):
    check(tg.jacobian(partial(FUNCTIONS[name], np))(X), theirs[name][0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_hessian(name, theirs):
    hessian = tg.hessian(total(np, name))
    check(hessian(X), theirs[name][1])
    check(tg.compile(hessian, target="numpy")(X), theirs[name][1])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_batch(name, theirs):
    variable = tg.constant(X)
    (y,) = batched([FUNCTIONS[name](np, variable)], variable, tg.constant(BATCH))
    check(y.value, theirs[name][2])


def test_jacobian_of_a_hessian():
    x = X[:2, :2]
    check(tg.jacobian(tg.hessian(lambda x: np.sum(np.tanh(W2[:2, :2] @ x) ** 3)))(x),
          jax.jacrev(jax.hessian(lambda x: jnp.sum(jnp.tanh(W2[:2, :2] @ x) ** 3)))(x))


def test_single_precision():
    x = X.astype(np.float32)
    check(tg.jacobian(lambda x: np.exp(x) * np.sum(x))(x), jax.jacrev(lambda x: jnp.exp(x) * jnp.sum(x))(x), 1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap(name, theirs):
    """Of the function, of its gradient, and of itself along other axes; and a Jacobian of few columns through it."""
    f = partial(FUNCTIONS[name], np)
    _, _, value, slopes, nested, J = theirs[name]
    check(tg.vmap(f)(BATCH), value)
    check(tg.vmap(tg.grad(total(np, name)))(BATCH), slopes)
    check(tg.vmap(tg.vmap(lambda t, x: f(t * x), (0, None), 1), (None, 0))(TIMES, BATCH), nested)
    check(tg.jacobian(lambda t: tg.vmap(lambda x: f(x * t[0]) + t[1])(BATCH))(TIMES), J)
