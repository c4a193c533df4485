"""Attention over sequences (n, length, features).

Each place of one sequence asks (a query), each place of another answers by what it is about (a key) and what it says (a
value): the output of a place is a mean of values, weighted by how well the keys fit its query.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from .. import ops
from .activations import GELU
from .initializers import glorot_uniform
from .layers import Dropout, Linear, Residual, Seed, check_sizes
from .module import Module
from .normalization import LayerNorm


def attention(Q: Any, K: Any, V: Any, mask: Any = None) -> Any:
    """softmax(Q Kᵀ / √d) V: scaled dot-product attention (Vaswani et al., 2017, eq. 1).

    Q (..., L, d), K (..., S, d) and V (..., S, m) give (..., L, m).

    mask: booleans of a shape that broadcasts to (..., L, S): True where a query may see a key. The output of a query
        that may see none is 0, and so are its gradients.
    """
    scores = Q @ np.swapaxes(K, -1, -2) * (1 / math.sqrt(K.shape[-1]))
    if mask is None:
        return ops.Softmax.apply(scores) @ V
    # A finite number, for a query that may see nothing: -inf less -inf is NaN.
    weights = ops.Softmax.apply(np.where(mask, scores, float(np.finfo(scores.dtype).min)))
    return ops.Keep.apply(weights, mask) @ V


class MultiHeadAttention(Module):
    """Attention in `heads` parts of the features side by side (Vaswani et al., 2017, section 3.2.2).

    Called with x (n, L, features) it attends to x itself; called with x and `context` (n, S, features), x asks and the
    context answers. It returns (n, L, features). `query`, `key`, `value` and `output` are `Linear` layers from features
    to features; their weights start evenly distributed with the variance of Glorot and Bengio (2010).

    features: a multiple of heads.
    causal: a place may see itself and those before it only (ValueError for a context of another length).
    rng: a generator, from which the weights are drawn, or a seed.
    bias: False for none.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> attend = nn.MultiHeadAttention(8, heads=2, causal=True, rng=0)
    >>> attend(np.ones((5, 10, 8))).shape
    (5, 10, 8)
    """

    def __init__(self, features: int, *, heads: int, rng: Seed, causal: bool = False, bias: bool = True,
                 dtype: Any = np.float64) -> None:
        check_sizes("MultiHeadAttention", features=features, heads=heads)
        if features % heads:
            raise ValueError(f"MultiHeadAttention: features={features} must be a multiple of heads={heads}")
        rng = np.random.default_rng(rng)
        self.features, self.heads, self.causal = features, heads, causal
        self.query, self.key, self.value, self.output = (
            Linear(features, features, rng=rng, bias=bias, initializer=glorot_uniform, dtype=dtype) for _ in range(4))

    def __call__(self, x: Any, context: Any = None, *, mask: Any = None, present: Any = None) -> Any:
        """(n, L, features) for x (n, L, features).

        mask: booleans (L, S), (n, L, S) or (n, heads, L, S): True where a place of x may see one of the context.
        present: booleans (n, S): False at places of the context that only fill up a shorter sequence.
        """
        context = x if context is None else context
        for name, values in (("x", x), ("context", context)):
            if values.ndim != 3 or values.shape[2] != self.features or len(values) != len(x):
                raise ValueError(f"MultiHeadAttention: takes {name} of shape ({len(x)}, length, {self.features}), but "
                                 f"got the shape {values.shape}")
        Q, K, V = self._split(self.query(x)), self._split(self.key(context)), self._split(self.value(context))
        heads = attention(Q, K, V, self._mask(x, context, mask, present))
        return self.output(np.reshape(np.swapaxes(heads, 1, 2), x.shape))

    def _split(self, x: Any) -> Any:
        """(n, length, features) to (n, heads, length, features / heads)."""
        return np.swapaxes(np.reshape(x, (*x.shape[:2], self.heads, self.features // self.heads)), 1, 2)

    def _mask(self, x: Any, context: Any, mask: Any, present: Any) -> Any:
        """All that says who may see whom, as one mask that broadcasts to (n, heads, L, S); None if all may see all."""
        (n, L, _), S = x.shape, context.shape[1]
        parts = []
        if self.causal:
            if L != S:
                raise ValueError(f"MultiHeadAttention: is causal, and so takes a context as long as x, not {S} for {L}")
            parts.append(np.tri(L, dtype=bool))
        for name, given, shapes in (("mask", mask, [(L, S), (n, L, S), (n, self.heads, L, S)]),
                                    ("present", present, [(n, S)])):
            if given is None:
                continue
            if given.dtype != bool:
                raise TypeError(f"MultiHeadAttention: {name} must be of booleans, not {given.dtype}")
            if given.shape not in shapes:
                raise ValueError(f"MultiHeadAttention: takes {name} of shape {' or '.join(map(str, shapes))}, but got "
                                 f"the shape {given.shape}")
            parts.append(given[:, None, None] if name == "present" else given[:, None] if given.ndim == 3 else given)
        return reduce(np.logical_and, parts) if parts else None


class TransformerBlock(Module):
    """x + attention(norm(x)), and to that + f(norm(that)) with f two linear layers and a GELU between them.

    Called with x (n, length, features), and `mask` and `present` as `MultiHeadAttention` takes them, it returns the
    same shape. To normalise before each part, and not after the sum, trains deep stacks without warm-up (Xiong et al.,
    2020).

    features: a multiple of heads.
    hidden: between the two linear layers, 4 features unless said.
    causal: a place may see itself and those before it only.
    dropout: the rate at which what is added to x drops out.
    """

    def __init__(self, features: int, *, heads: int, rng: Seed, hidden: int | None = None, causal: bool = False,
                 dropout: float = 0.0, dtype: Any = np.float64) -> None:
        rng = np.random.default_rng(rng)
        hidden = 4 * features if hidden is None else hidden
        self.norm = LayerNorm(features, dtype=dtype)
        self.attention = MultiHeadAttention(features, heads=heads, rng=rng, causal=causal, dtype=dtype)
        self.dropout = Dropout(dropout, rng=rng)
        self.feed = Residual(LayerNorm(features, dtype=dtype), Linear(features, hidden, rng=rng, dtype=dtype), GELU(),
                             Linear(hidden, features, rng=rng, initializer=glorot_uniform, dtype=dtype),
                             Dropout(dropout, rng=rng))

    def __call__(self, x: Any, *, mask: Any = None, present: Any = None) -> Any:
        return self.feed(x + self.dropout(self.attention(self.norm(x), mask=mask, present=present)))


def sinusoidal_positions(length: int, features: int, dtype: Any = np.float64) -> np.ndarray:
    """An array (length, features) to add to embeddings: sin and cos of t / 10000^(2k / features) for each place t.

    Column 2k is the sine, column 2k + 1 the cosine (Vaswani et al., 2017, section 3.5).
    """
    check_sizes("sinusoidal_positions", length=length, features=features)
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(features) // 2 * 2 / features)
    return np.where(np.arange(features) % 2, np.cos(angles), np.sin(angles)).astype(dtype)
