"""Linear algebra: products of matrices and vectors, and sums of products over indices."""

from __future__ import annotations

import math
from functools import lru_cache, reduce
from string import ascii_letters
from typing import Any

import numpy as np

from ..op import Op, Primitive
from .selection import Keep


class MatMul(Primitive, twin=np.matmul):
    """C = A B;   dA = dC Bᵀ,   dB = Aᵀ dC

    A (..., m, k), B (..., k, n); leading axes broadcast, and an input of one axis is a row on the left and a column on
    the right, as for np.matmul.
    """
    formula = "A @ B"
    broadcasts = True

    def forward(self, A: Any, B: Any) -> Any:
        return _product(A, B)

    def backward(self, dC: Any, C: Any, A: Any, B: Any) -> Any:
        if A.ndim == B.ndim == 2:
            return lambda: _product(dC, B.T), lambda: _product(A.T, dC)
        if A.ndim == 1 and B.ndim == 1:
            return lambda: dC * B, lambda: dC * A
        if A.ndim == 1:
            dC = np.expand_dims(dC, -2)
            return lambda: np.squeeze(dC @ _transposed(B), -2), lambda: np.expand_dims(A, -1) @ dC
        if B.ndim == 1:
            dC = np.expand_dims(dC, -1)
            return lambda: dC * B, lambda: np.squeeze(_transposed(A) @ dC, -1)
        return lambda: dC @ _transposed(B), lambda: _transposed(A) @ dC


def _product(A: Any, B: Any) -> Any:
    if A.__class__ is B.__class__ is np.ndarray and A.ndim == B.ndim == 2:
        return A.dot(B)  # the same product with half the overhead
    return np.matmul(A, B)


def _transposed(A: Any) -> Any:
    return np.swapaxes(A, -1, -2)


class Einsum(Op):
    """y = sum over the indices that the result lacks, of the product of the operands;   written as for np.einsum

    "ij,jk->ik" is y_ik = Σ_j a_ij b_jk. So da_ij = Σ_k dy_ik b_jk: the gradient by an operand is the einsum of dy and
    the other operands. It is repeated along an index that only the operand has, and lies on the diagonal for an index
    that the operand has twice, as in "ii->".

    The first operand and the one with which it leaves the smallest array become one, by a product of matrices, until
    one is left.
    """

    def forward(self, *operands: Any, subscripts: str) -> Any:
        terms, result = _read(subscripts, tuple(map(np.ndim, operands)))
        sizes = _sizes(terms, operands)
        (A, a), *rest = [_distinct(x, term, sizes) for x, term in zip(operands, terms, strict=True)]
        while rest:
            kept = [result + "".join(term for _, term in rest[:i] + rest[i + 1:]) for i in range(len(rest))]
            i = min(range(len(rest)), key=lambda i: math.prod(sizes[k] for k in {*a, *rest[i][1]} & {*kept[i]}))
            B, b = rest.pop(i)
            A, a = _joined(*_summed(A, a, b + kept[i]), *_summed(B, b, a + kept[i]), kept[i], sizes)
        A, a = _summed(A, a, result)
        return _ordered(A, a, result)

    def backward(self, grad: Any, y: Any, *operands: Any, subscripts: str) -> Any:
        terms, result = _read(subscripts, tuple(map(np.ndim, operands)))
        sizes = _sizes(terms, operands)

        def pull(i: int) -> Any:
            shape, term = np.shape(operands[i]), terms[i]
            others = [result, *terms[:i], *terms[i + 1:]]
            known = {k for k, n in zip(term, shape, strict=True) if n == sizes[k]} & set("".join(others))
            kept = "".join(k for k in dict.fromkeys(term) if k in known)
            g = Einsum.apply(grad, *operands[:i], *operands[i + 1:], subscripts=f"{','.join(others)}->{kept}")
            repeated = [(term.index(k), p) for p, k in enumerate(term) if term.index(k) < p]
            missing = [p for p, k in enumerate(term) if k not in known] + [p for _, p in repeated if term[p] in known]
            g = np.expand_dims(g, tuple(missing)) if missing else g
            g = np.broadcast_to(g, shape) if g.shape != shape else g
            if not repeated:
                return g
            places = np.indices(shape, sparse=True)
            return Keep.apply(g, reduce(np.logical_and, [places[p] == places[q] for p, q in repeated]))

        return tuple([lambda i=i: pull(i) for i in range(len(operands))])


@lru_cache(256)
def _read(subscripts: str, ndims: tuple[int, ...]) -> tuple[list[str], str]:
    """The indices of the operands and of the result, a letter for each axis, also for those that "..." stands for."""
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"{subscripts!r} is about {len(terms)} operands, but there are {len(ndims)}")
    hidden = [n - len(term.replace("...", "", 1)) for term, n in zip(terms, ndims, strict=True)]
    for term, n, more in zip(terms, ndims, hidden, strict=True):
        if more < 0 or (more and "..." not in term):
            raise ValueError(f"{term!r} in {subscripts!r} does not fit an operand of {n} axes")
    letters = "".join(k for k in ascii_letters if k not in subscripts)[:max(hidden)]
    if letters and arrow and "..." not in result:
        raise ValueError(f"{subscripts!r} has axes in ... that its result does not have")
    terms = [term.replace("...", letters[len(letters) - more:], 1) for term, more in zip(terms, hidden, strict=True)]
    every = "".join(terms)
    if arrow:
        result = result.replace("...", letters, 1)
    else:
        result = letters + "".join(sorted(k for k in set(every) - set(letters) if every.count(k) == 1))
    if not set(every) <= set(ascii_letters) or not set(result) <= set(every) or len(set(result)) < len(result):
        raise ValueError(f"{subscripts!r} is not made of letters, or its result has an index twice or one of its own")
    return terms, result


def _sizes(terms: list[str], operands: Any) -> dict[str, int]:
    """The length of each index. An axis of length 1 is repeated to it."""
    sizes: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        own = dict(zip(term, np.shape(x), strict=True))
        for k, n in zip(term, np.shape(x), strict=True):
            if n != own[k] or (n != 1 and sizes.get(k, 1) not in (1, n)):
                raise ValueError(f"in operands of shapes {', '.join(str(np.shape(x)) for x in operands)}, with indices "
                                 f"{','.join(terms)}, {k} has different lengths")
        sizes |= {k: n for k, n in own.items() if n != 1 or k not in sizes}
    return sizes


def _distinct(x: Any, term: str, sizes: dict[str, int]) -> tuple[Any, str]:
    """An operand and its indices, each once: the diagonal along a repeated one, no axis along which it is repeated."""
    for k in dict.fromkeys(term):
        if (n := term.count(k)) > 1:
            axes = sorted(range(len(term)), key=lambda p: term[p] != k)  # those of k first
            x = np.transpose(x, axes)[(np.arange(np.shape(x)[axes[0]]),) * n]
            term = k + term.replace(k, "")
    own = "".join(k for k, n in zip(term, np.shape(x), strict=True) if n == sizes[k])
    return _shaped(x, [sizes[k] for k in own]), own


def _summed(x: Any, term: str, kept: str) -> tuple[Any, str]:
    """The sum over the indices that are not to be kept."""
    if axes := tuple(p for p, k in enumerate(term) if k not in kept):
        x = np.sum(x, axis=axes)
    return x, "".join(k for k in term if k in kept)


def _joined(A: Any, a: str, B: Any, b: str, kept: str, sizes: dict[str, int]) -> tuple[Any, str]:
    """The product of two factors, summed over the indices that are in both and not to be kept."""
    def lengths(indices: str) -> list[int]:
        return [sizes[k] for k in indices]

    inner = "".join(k for k in a if k in b and k not in kept)
    if not inner:
        every = "".join(dict.fromkeys(k for k in kept if k in a + b))
        A, B = (_shaped(_ordered(x, term, "".join(k for k in every if k in term)),
                        [sizes[k] if k in term else 1 for k in every]) for x, term in ((A, a), (B, b)))
        return A * B, every
    batch = "".join(k for k in a if k in b and k in kept)
    rows, columns = "".join(k for k in a if k not in b), "".join(k for k in b if k not in a)
    m, k, n = (math.prod(lengths(indices)) for indices in (rows, inner, columns))
    A = _shaped(_ordered(A, a, batch + rows + inner), [*lengths(batch), m, k])
    B = _shaped(_ordered(B, b, batch + inner + columns), [*lengths(batch), k, n])
    return _shaped(_product(A, B), lengths(batch + rows + columns)), batch + rows + columns


def _shaped(x: Any, shape: list[int]) -> Any:
    return x if np.shape(x) == tuple(shape) else np.reshape(x, tuple(shape))


def _ordered(x: Any, term: str, wanted: str) -> Any:
    """x with its axes in the order of other indices."""
    return x if term == wanted else np.transpose(x, [term.index(k) for k in wanted])
