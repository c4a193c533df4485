"""Affine forms: an index into an array, as a sum of multiples of loop counters and a constant.

An index has one form for each axis; an address is one form, in entries. Nothing here knows of programs or of C.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Affine = tuple[int, ...]  # the coefficients of the loop counters, then a constant


def constant(n: int, value: int) -> Affine:
    return (0,) * n + (value,)


def unit(n: int, counter: int) -> Affine:
    return tuple(int(i == counter) for i in range(n + 1))


def combine(*terms: tuple[Affine, int]) -> Affine:
    """The sum of affine forms times numbers."""
    total = [0] * len(terms[0][0])
    for a, k in terms:
        for n, x in enumerate(a):
            if x:
                total[n] += x * k
    return tuple(total)


def shifted(a: Affine, by: int) -> Affine:
    return (*a[:-1], a[-1] + by)


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Of a C-contiguous array, in entries."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def flat(index: Sequence[Affine], shape: Sequence[int], n: int) -> Affine:
    return combine((constant(n, 0), 1), *zip(index, strides_of(shape), strict=True))


def aligned(index: Sequence[Affine], shape: Sequence[int], n: int) -> tuple[Affine, ...]:
    """The index into an operand of that shape, of an op that broadcasts, for an index into its output."""
    own = index[len(index) - len(shape):] if shape else ()
    return tuple(constant(n, 0) if length == 1 else a for a, length in zip(own, shape, strict=True))


def regrouped(index: Sequence[Affine], shape: Sequence[int], new: Sequence[int], n: int) -> list[Affine] | None:
    """An index into an array of `shape`, for the same entries seen with shape `new`; None if it is not affine."""
    result: list[Affine] = []
    i, j = 0, 0
    old_axes = [(a, m) for a, m in zip(index, shape, strict=True) if m != 1]
    new_lengths = [m for m in new if m != 1]
    while i < len(old_axes) or j < len(new_lengths):
        if i == len(old_axes) or j == len(new_lengths):
            return None
        group, (a, have), want = [old_axes[i]], old_axes[i], new_lengths[j]
        i += 1
        while have < want and i < len(old_axes):
            have *= old_axes[i][1]
            group.append(old_axes[i])
            i += 1
        if have == want:
            result.append(flat([a for a, _ in group], [m for _, m in group], n))
            j += 1
            continue
        lengths: list[int] = []
        while j < len(new_lengths) and math.prod(lengths) < have:
            lengths.append(new_lengths[j])
            j += 1
        if math.prod(lengths) != have or len(group) > 1:
            return None
        if any(a[:-1]):  # one axis becomes several: only a multiple of the inner lengths divides evenly
            return None
        value = a[-1]
        result += [constant(n, value // step % m) for m, step in zip(lengths, strides_of(lengths), strict=True)]
    rest = iter(result)
    return [constant(n, 0) if m == 1 else next(rest) for m in new]
