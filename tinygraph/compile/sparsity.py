"""Zeros that are known before the program runs, and need not be computed.

The identity that the rows of a Jacobian start from leaves most entries of what is made of it 0, at places known now:
those off the band of a banded Hessian, say. `skip_zeros` computes the other entries alone, in one row, and puts them
where they belong in the end. Nothing is assumed of 0 * inf: what says that an entry is 0 is a constant or a mask (those
of `guards`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..op import Op
from ..ops.selection import ARRAY
from .program import Instruction, Operand, Program, Var, ordered
from .rewriting import BOOL, Rewriter, Rules, Shape, is_number, pairs

LARGE = 512  # entries; of fewer it is no use
_SHARE = 4  # at most one entry in so many is not 0
_DEPTH = 16  # how far back single entries are computed; further back they are taken out of the array

Entries = tuple[np.ndarray, Var]  # the entries of an array that may not be 0: where it is flat, in order; the entries
_Rule = Callable[["_Sparse", Rewriter, Instruction], "tuple[np.ndarray, Operand] | None"]


def skip_zeros(program: Program, gain: float = 2) -> Program:
    """With only those entries computed that may not be 0, if then so many times fewer are computed."""
    sparse, rules = _Sparse(), Rules()
    for op in _RULES:
        rules.found[op] = [sparse.rule]
    after = Rewriter(program, rules).run()
    if after is program:
        return program
    needed = [ordered(p.instructions, p.results) for p in (program, after)]
    before, now = (sum(i.output.size for i in instructions) for instructions in needed)
    return after.with_(instructions=needed[1]) if gain * now < before else program


class _Sparse:
    """What is known of the arrays of a program that are mostly 0."""

    def __init__(self) -> None:
        self.known: dict[Any, Entries | None] = {}
        self.picked: dict[tuple[Var, bytes], Var] = {}

    def rule(self, r: Rewriter, i: Instruction) -> Any:
        """An array of zeros with the entries put in, if that is known of the output."""
        if i.output.size < LARGE or i.output.dtype.kind not in "biuf" or (found := _RULES[i.op](self, r, i)) is None:
            return None
        at, value = found[0], r.broadcast(found[1], found[0].shape)
        if not 0 < _SHARE * len(at) <= i.output.size:
            return None
        dense = r.reshape(_spread(r, value, at, i.output.size), i.output.shape)
        self.known[dense] = at, value
        return dense

    def of(self, r: Rewriter, x: Operand) -> Entries | None:
        """The entries of an operand that may not be 0, if it is mostly 0."""
        if isinstance(x, Var) and x not in self.known and x in r.constants:
            self.known[x] = None
            if x.size >= LARGE and 0 < _SHARE * np.count_nonzero(r.constants[x]) <= x.size:
                at = np.flatnonzero(r.constants[x])
                self.known[x] = at, r.constant(r.constants[x].reshape(-1)[at])
        return self.known.get(x)

    def entries(self, r: Rewriter, x: Operand, at: np.ndarray, shape: Shape, depth: int = _DEPTH) -> Operand:
        """The entries of `x`, broadcast to a shape, at places in the flat array; one if they are all the same."""
        if not isinstance(x, Var) or x.weak:
            return x
        index = np.unravel_index(at, shape)[len(shape) - x.ndim:] if x.ndim else ()
        own = np.ravel_multi_index([k if n != 1 else 0 * k for k, n in zip(index, x.shape, strict=True)], x.shape) \
            if index else 0 * at
        key = x, own.tobytes()
        if key not in self.picked:
            self.picked[key] = self._pick(r, x, own, depth)
        return self.picked[key]

    def _pick(self, r: Rewriter, x: Var, at: np.ndarray, depth: int) -> Var:
        if x in r.constants:
            return r.constant(r.constants[x].reshape(-1)[at])
        if (known := self.of(r, x)) is not None:
            places = np.minimum(np.searchsorted(known[0], at), len(known[0]) - 1)
            there = known[0][places] == at
            entries = _taken(r, known[1], places)
            keep = ops.BitwiseAnd if x.dtype == BOOL else ops.Keep
            return entries if there.all() else r.emit(keep, entries, r.constant(there))
        i = r.made.get(x)
        if i is not None and depth:
            y = i.inputs[0]
            if i.op.elementwise or i.op is ops.Cast:
                return r.emit(i.op, *(self.entries(r, y, at, x.shape, depth - 1) for y in i.inputs), **i.options)
            if i.op is ops.BroadcastTo:
                return r.strong(self.entries(r, y, at, x.shape, depth - 1))
            if (source := _source(i, at)) is not None:
                return r.strong(self.entries(r, y, source, y.shape, depth - 1))
        return _taken(r, r.reshape(x, (x.size,)), at)


def _source(i: Instruction, at: np.ndarray) -> np.ndarray | None:
    """Where the entries of an array come from, in the array that it shows in another way."""
    x, index = i.inputs[0], np.unravel_index(at, i.output.shape) if i.output.ndim else ()
    if i.op is ops.Reshape:
        return at
    if i.op is ops.Transpose:
        return np.ravel_multi_index([index[k] for k in np.argsort(i.options["axes"])], x.shape)
    if i.op is ops.Index and len(i.inputs) == 1:
        parts = zip(index, i.options["index"], strict=True)
        return np.ravel_multi_index([part.start + part.step * k for k, part in parts], x.shape)
    return None


def _progression(at: np.ndarray) -> slice | None:
    """The slice of these places, if there is one."""
    steps = np.unique(np.diff(at))
    if len(at) == 0 or len(steps) > 1 or (len(steps) and steps[0] <= 0):
        return None
    return slice(int(at[0]), int(at[-1]) + 1, int(steps[0]) if len(steps) else 1)


def _taken(r: Rewriter, flat: Var, at: np.ndarray) -> Var:
    """Entries of a flat array."""
    if len(at) and (at == at[0]).all():
        at = at[:1]
    part = _progression(at)
    if part == slice(0, flat.size, 1):
        return flat
    if part is not None:
        return r.emit(ops.Index, flat, index=(part,))
    return r.make(ops.Index, (flat, r.constant(at)), {"index": (ARRAY,)}, at.shape, flat.dtype)


def _spread(r: Rewriter, value: Var, at: np.ndarray, size: int) -> Var:
    """A flat array of zeros with entries put in."""
    part = _progression(at)
    if part == slice(0, size, 1):
        return value
    arrays = () if part is not None else (r.constant(at),)
    options = {"shape": (size,), "index": (ARRAY if part is None else part,)}
    return r.make(ops.ScatterAdd, (value, *arrays), options, (size,), value.dtype)


# ------------------------------------------------------------------------------------------------------ where zeros are

def _of_zero(s: _Sparse, r: Rewriter, i: Instruction) -> Any:
    """Functions that are 0 at 0."""
    found = s.of(r, i.inputs[0])
    return found and (found[0], r.emit(i.op, found[1], **i.options))


def _scaled(s: _Sparse, r: Rewriter, i: Instruction) -> Any:
    for x, c in pairs(i) if i.op is ops.Multiply else [i.inputs]:
        if not isinstance(c, Var) and math.isfinite(c) and (c or i.op is ops.Multiply) and (found := s.of(r, x)):
            return found[0], r.emit(i.op, found[1], c)
    return None


def _compared(s: _Sparse, r: Rewriter, i: Instruction) -> Any:
    found = s.of(r, i.inputs[0]) if is_number(i.inputs[1], 0) else None
    return found and (found[0], r.emit(i.op, found[1], 0))


def _masked(s: _Sparse, r: Rewriter, i: Instruction) -> Any:
    """One of the two is 0, or False, at most places."""
    for k, x in enumerate(i.inputs):
        if (found := s.of(r, x)) is not None and x.shape == i.output.shape:
            other = s.entries(r, i.inputs[1 - k], found[0], i.output.shape)
            return found[0], r.emit(i.op, *((found[1], other) if k == 0 else (other, found[1])))
    return None


def _added(s: _Sparse, r: Rewriter, i: Instruction) -> Any:
    a, b = (s.of(r, x) if isinstance(x, Var) and x.shape == i.output.shape else None for x in i.inputs)
    if a is None or b is None:
        return None
    at = np.union1d(a[0], b[0])
    return at, r.emit(i.op, *(_spread(r, value, np.searchsorted(at, own), len(at)) for own, value in (a, b)))


def _moved(s: _Sparse, r: Rewriter, i: Instruction) -> Any:
    """Where the entries that may not be 0 went, in order."""
    found = s.of(r, i.inputs[0]) if len(i.inputs) == 1 else None
    if found is None:
        return None
    index, shape = np.unravel_index(found[0], i.inputs[0].shape), i.output.shape
    kept = np.ones(len(found[0]), bool)
    if i.op is ops.Reshape:
        return found
    if i.op is ops.Transpose:
        index = tuple(index[axis] for axis in i.options["axes"])
    elif i.op is ops.ScatterAdd:
        index = tuple(part.start + part.step * k for k, part in zip(index, i.options["index"], strict=True))
    else:
        steps = [divmod(k - part.start, part.step) for k, part in zip(index, i.options["index"], strict=True)]
        kept = np.logical_and.reduce([(rest == 0) & (k >= 0) & (k < n)
                                      for (k, rest), n in zip(steps, shape, strict=True)])
        index = tuple(k for k, _ in steps)
    places = np.flatnonzero(kept)
    at = np.ravel_multi_index([k[places] for k in index], shape)
    order = np.argsort(at)
    return at[order], _taken(r, found[1], places[order]) if len(at) else found[1]


_RULES: dict[type[Op], _Rule] = {
    **dict.fromkeys((ops.Negative, ops.Absolute, ops.Sqrt, ops.Tanh, ops.Sin, ops.Sign, ops.Expm1, ops.Log1p, ops.Cast),
                    _of_zero),
    **dict.fromkeys((ops.Multiply, ops.Divide), _scaled),
    **dict.fromkeys((ops.NotEqual, ops.Greater, ops.Less), _compared),
    **dict.fromkeys((ops.Keep, ops.BitwiseAnd), _masked),
    **dict.fromkeys((ops.Add, ops.Subtract), _added),
    **dict.fromkeys((ops.Reshape, ops.Transpose, ops.Index, ops.ScatterAdd), _moved),
}
