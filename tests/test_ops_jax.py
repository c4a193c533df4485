"""Ops against JAX, which shares nothing with this package: value, first and second order, over the same registry. The
deep profile of Hypothesis takes all ops, the usual one every third.

The cases keep away from ties and kinks, where conventions differ. `conftest.py` has JAX compute in float64.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import settings

import tinygraph as tg
from tinygraph import ops
from tinygraph.ops.selection import ARRAY
from tinygraph.ops.special import OPS as SPECIAL

from .cases import CASES, Case, is_float
from .naive import pair

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")


def assembled(index: Any, arrays: Any) -> Any:
    """The index as NumPy writes it."""
    remaining = iter(arrays)
    return tuple(next(remaining) if part is ARRAY else part for part in index)


def negative_log_likelihood(Z: Any, t: Any, axis: int = -1) -> Any:
    chosen = jnp.take_along_axis(jax.nn.log_softmax(Z, axis), np.expand_dims(t, axis), axis)
    return -jnp.mean(chosen)


def spots(op_shape: Any, shape: Any, stride: Any, dilation: Any) -> Any:
    """Index arrays (oh, ow, kh, kw) of the rows and of the columns that windows see."""
    (oh, ow, kh, kw), (sh, sw), (dh, dw) = (*op_shape, *shape), stride, dilation
    i, j, u, v = np.ogrid[:oh, :ow, :kh, :kw]
    return ..., i * sh + u * dh, j * sw + v * dw


def windows(x: Any, shape: Any, stride: Any, dilation: Any = (1, 1)) -> Any:
    size = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[-2:], shape, stride, dilation, strict=True)]
    return x[spots(size, shape, stride, dilation)]


def fold(x: Any, shape: Any, stride: Any, dilation: Any = (1, 1)) -> Any:
    places = spots(x.shape[-4:-2], x.shape[-2:], stride, dilation)
    return jnp.zeros((*x.shape[:-4], *shape), x.dtype).at[places].add(x)


def paddings(padding: Any) -> Any:
    return padding.upper() if isinstance(padding, str) else [(n, n) for n in pair(padding)]


def convolution(x: Any, W: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    return jax.lax.conv_general_dilated(x, W, pair(stride), paddings(padding), rhs_dilation=pair(dilation),
                                        feature_group_count=groups)


def convolution_transposed(Y: Any, W: Any, shape: Any, groups: int = 1, **options: Any) -> Any:
    x = jnp.zeros((len(Y), W.shape[1] * groups, *shape), Y.dtype)
    return jax.vjp(lambda x: convolution(x, W, groups=groups, **options), x)[1](Y)[0]


def convolution_kernels(x: Any, Y: Any, shape: Any, groups: int = 1, **options: Any) -> Any:
    W = jnp.zeros((Y.shape[1], x.shape[1] // groups, *shape), Y.dtype)
    return jax.vjp(lambda W: convolution(x, W, groups=groups, **options), W)[1](Y)[0]


def pool(x: Any, start: Any, add: Any, size: Any, stride: Any, padding: Any) -> Any:
    ones, around = (1,) * (x.ndim - 2), [(0, 0)] * (x.ndim - 2)
    pads = paddings(padding)
    return jax.lax.reduce_window(x, start, add, ones + pair(size), ones + pair(stride or size),
                                 pads if isinstance(pads, str) else around + pads)


def max_pool(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Any:
    return pool(x, -jnp.inf, jax.lax.max, size, stride, padding)


def average_pool(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Any:
    return pool(x, 0.0, jax.lax.add, size, stride, padding) / np.prod(pair(size))


def layer_norm(x: Any, gain: Any, bias: Any, eps: float = 1e-5) -> Any:
    return jax.nn.standardize(x, -1, epsilon=eps) * gain + bias


def accumulated(f: Any) -> Any:
    """An accumulation, if need be from the last entry to the first."""
    return lambda x, axis, reverse=False: jnp.flip(f(jnp.flip(x, axis), axis), axis) if reverse else f(x, axis)


def cumulative_log_add_exp(x: Any, axis: int) -> Any:
    return jax.lax.cumlogsumexp(x, axis % x.ndim)


def recurrence(a: Any, b: Any, reverse: bool = False) -> Any:
    def step(y: Any, ab: Any) -> Any:
        y = ab[0] * y + ab[1]
        return y, y

    rows = jnp.moveaxis(a, -1, 0), jnp.moveaxis(b, -1, 0)
    return jnp.moveaxis(jax.lax.scan(step, jnp.zeros(b.shape[:-1], b.dtype), rows, reverse=reverse)[1], 0, -1)


def reordered(x: Any, order: Any, axis: int, inverse: bool = False) -> Any:
    return jnp.take_along_axis(x, jnp.argsort(order, axis) if inverse else order, axis)


def arg_rank(x: Any, ranks: Any, skip_nan: bool = False) -> Any:
    places = jnp.take_along_axis(jnp.argsort(x, -1), jnp.broadcast_to(ranks, (*x.shape[:-1], ranks.shape[-1])), -1)
    nan = jnp.isnan(x)
    return places if skip_nan else jnp.where(nan.any(-1)[..., None], nan.argmax(-1)[..., None], places)


def sinc_derivative(x: Any, order: int) -> Any:
    f = jnp.sinc
    for _ in range(order):
        f = jax.grad(f)
    return jnp.vectorize(f)(x)


def updated(method: str) -> Any:
    return lambda x, v, *arrays, index: getattr(x.at[assembled(index, arrays)], method)(v)


def last_ones(*arrays: Any, shape: Any, index: Any) -> Any:
    places = np.arange(np.prod(shape)).reshape(shape)[assembled(index, arrays)]
    numbers = np.arange(places.size).reshape(places.shape)
    return jnp.zeros(np.prod(shape), int).at[places].max(numbers)[places] == numbers


# What JAX calls the ops that it has under another name, or as a few words; the others have NumPy's.
JAX = {
    ops.AddAt: updated("add"),
    ops.AddBias: lambda Z, b: Z + b,
    ops.AveragePool2D: average_pool,
    ops.ConvKernels2D: convolution_kernels,
    ops.ConvTranspose2D: convolution_transposed,
    ops.ArgRank: arg_rank,
    ops.Cast: lambda x, dtype: jax.lax.convert_element_type(x, dtype),
    ops.CastToInteger: lambda x, dtype: jax.lax.convert_element_type(x, dtype),
    ops.InRange: lambda x, n: x,
    ops.Concatenate: lambda *arrays, axis: jnp.concatenate(arrays, axis),
    ops.Conv2D: convolution,
    ops.CumLogAddExp: cumulative_log_add_exp,
    ops.CumMax: lambda x, axis: jax.lax.cummax(x, axis % x.ndim),
    ops.CumMin: lambda x, axis: jax.lax.cummin(x, axis % x.ndim),
    ops.CumProd: accumulated(jnp.cumprod),
    ops.CumSum: accumulated(jnp.cumsum),
    ops.Einsum: lambda *operands, subscripts: jnp.einsum(subscripts, *operands),
    ops.Exponent: lambda x: jnp.frexp(x)[1],
    ops.FoldWindows: fold,
    ops.Fraction: lambda x: jnp.modf(x)[0],
    ops.GELU: lambda x: jax.nn.gelu(x, approximate=True),
    ops.Identity: lambda x: x,
    ops.Index: lambda x, *arrays, index: x[assembled(index, arrays)],
    ops.Keep: lambda x, mask: jnp.where(mask, x, 0),
    ops.LastAt: last_ones,
    ops.LayerNorm: layer_norm,
    ops.LeakyReLU: lambda x, slope=0.01: jax.nn.leaky_relu(x, slope),
    ops.LogisticNLL: lambda x, t: (1 - t) * jax.nn.softplus(x) + t * jax.nn.softplus(-x),
    ops.LogSoftmaxNLL: negative_log_likelihood,
    ops.MaxAt: updated("max"),
    ops.MaxPool2D: max_pool,
    ops.MinAt: updated("min"),
    ops.Normalize: lambda x, gain, bias, over, eps=1e-5: (
        jax.nn.standardize(x, axis=over, epsilon=eps) * gain[..., None] + bias[..., None]),
    ops.Norm: lambda x, ord=2, axis=None, keepdims=False: jnp.linalg.vector_norm(x, axis=axis, keepdims=keepdims,
                                                                                ord=ord),
    ops.Pad: lambda x, width: jax.lax.pad(x, jnp.zeros((), x.dtype), [(*counts, 0) for counts in width]),
    ops.ReLU: jax.nn.relu,
    ops.ELU: lambda x, alpha=1.0: jax.nn.elu(x, alpha),
    ops.ErfGELU: lambda x: jax.nn.gelu(x, approximate=False),
    ops.Sigmoid: jax.nn.sigmoid,
    ops.SiLU: jax.nn.silu,
    ops.Softplus: jax.nn.softplus,
    ops.Recurrence: recurrence,
    ops.Reorder: reordered,
    ops.ScatterAdd: lambda x, *arrays, shape, index: jnp.zeros(shape).at[assembled(index, arrays)].add(x),
    ops.SearchSorted: lambda a, v, side: jnp.searchsorted(a, v, side).astype(int),
    ops.Sinc: lambda x, order=0: sinc_derivative(x, order),
    ops.SetAt: updated("set"),
    ops.Stack: lambda *arrays, axis: jnp.stack(arrays, axis),
    ops.Softmax: lambda x, axis=-1: jax.nn.softmax(x, axis),
    ops.Std: lambda x, where, **options: jnp.std(x, where=where, **options),
    ops.StopGradient: jax.lax.stop_gradient,
    ops.Unwrap: lambda p, discont=None, axis=-1, **period: jnp.unwrap(p, discont, axis, **period),
    ops.Var: lambda x, where, **options: jnp.var(x, where=where, **options),
    ops.Windows: windows,
}
NUMPY = {ops.BroadcastTo: "broadcast_to", ops.ExpandDims: "expand_dims"}

# The order of what is before and after is NumPy's own; to decimals JAX rounds up to the last digit; the others have no
# gradient there. Special functions are compared with mpmath.
NOT_IN_JAX = {ops.Partition, ops.Mantissa, ops.NextAfter, ops.Round, ops.SparseMatMul, ops.SparseSolve,
              *SPECIAL.values()}


def in_jax(op: type[tg.Op]) -> Any:
    ufunc = isinstance(op.forward, np.ufunc)
    return JAX[op] if op in JAX else getattr(jnp, op.forward.__name__ if ufunc else NUMPY.get(op, op.__name__.lower()))


def orders(value_and_vjp: Any, total: Any, f: Any, c: Any, us: Any, primals: Any) -> Any:
    """The value, the gradient g of <c, f>, those of <g, u> by c and the primals: one text for both engines."""
    value, pull = value_and_vjp(f, *primals)

    def along(c: Any, *xs: Any) -> Any:
        return sum(total(g * u) for g, u in zip(value_and_vjp(f, *xs)[1](c), us, strict=True))

    slope, pull_slope = value_and_vjp(along, c, *primals)
    return value, slope, *pull(c), *pull_slope(1.0 + 0 * slope)


class Problem:
    """One case: both functions of its floating inputs, and random weights to differentiate with."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.inputs = case.arrays()
        self.wrt = [i for i, x in enumerate(self.inputs) if is_float(x)]
        self.primals = [self.inputs[i] for i in self.wrt]
        rng = np.random.default_rng(0)
        shaped = [case.op(*self.inputs, **case.options), *self.primals]
        self.cotangent, *self.tangents = (rng.uniform(-1, 1, x.shape).astype(x.dtype) for x in shaped)

    def __call__(self, function: Any, xs: Any) -> Any:
        inputs = [xs[self.wrt.index(i)] if i in self.wrt else x for i, x in enumerate(self.inputs)]
        return function(*inputs, **self.case.options)

    def in_tinygraph(self) -> Any:
        return orders(tg.vjp, np.sum, lambda *xs: self(self.case.op, xs), self.cotangent, self.tangents, self.primals)

    def in_jax(self, cotangent: Any, tangents: Any, primals: Any) -> Any:
        function = in_jax(self.case.op)
        return orders(jax.vjp, jnp.sum, lambda *xs: self(function, xs), cotangent, tangents, primals)


SMOOTH = list(dict.fromkeys(case.op for case in CASES if not case.flat and case.op not in NOT_IN_JAX))
SOME = SMOOTH[::1 if settings.default.max_examples > 1000 else 6]  # JAX takes seconds to compile the cases of an op


@pytest.mark.parametrize("op", SOME, ids=lambda op: op.__name__)
def test_value_first_and_second_order(op: type[tg.Op]):
    """All cases of an op at once, because JAX compiles one large function sooner than many small ones."""
    problems = [Problem(case) for case in CASES if case.op is op]
    given = [(problem.cotangent, problem.tangents, problem.primals) for problem in problems]
    theirs = jax.jit(lambda given: [f.in_jax(*args) for f, args in zip(problems, given, strict=True)])(given)
    for problem, expected in zip(problems, theirs, strict=True):
        coarse = np.dtype(np.float32) in {problem.cotangent.dtype, *(x.dtype for x in problem.primals)}
        for a, b in zip(problem.in_tinygraph(), expected, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype), problem.case.name
            np.testing.assert_allclose(a, b, rtol=1e-5 if coarse else 1e-10, atol=1e-10, err_msg=problem.case.name)


@pytest.mark.parametrize("case", [case for case in CASES if case.flat and case.op not in NOT_IN_JAX],
                         ids=lambda case: case.name)
def test_value_without_gradient(case: Case):
    ours = case.op(*case.arrays(), **case.options).value
    theirs = in_jax(case.op)(*case.arrays(), **case.options)
    np.testing.assert_array_equal(ours, theirs, strict=True)
