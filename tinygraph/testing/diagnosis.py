"""Diagnosis: what a wrong gradient looks like, in words.

Compared with the numerical gradient, a wrong one is often a constant multiple, a transpose, the gradient of another
input, or right but for a mask. Each guess is tested on all entries; what fits is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .values import Claim

LARGEST = 600  # entries up to which the whole numerical gradient is computed for a diagnosis
CLOSE = 1e-3  # relative to the largest entry: close enough for a guess


def diagnosed(subject: Any, claim: Claim, cotangent: np.ndarray, wrong: Sequence[int]) -> list[str]:
    """A sentence for each wrong input of which something is known."""
    truths = {k: numerical(claim, k) for k in range(len(claim.grads)) if claim.grads[k].size <= LARGEST}
    notes = []
    for k in wrong:
        if k in truths:
            note = _guess(subject, claim, cotangent, k, truths)
            if note:
                notes.append(f"{subject.names[subject.wrt[k]]}: {note}")
    return notes


def numerical(claim: Claim, k: int, weights: np.ndarray | None = None) -> np.ndarray:
    """The numerical gradient, entry by entry; between left and right at a kink."""
    found = np.zeros(claim.grads[k].shape)
    for j in range(found.size):
        directions = [np.zeros_like(x) for x in claim.probe.xs]
        directions[k].flat[j] = 1
        low, high, _ = claim.probe.slopes(directions).weighted(claim.weights if weights is None else weights)
        found.flat[j] = (low + high) / 2
    return found


def _guess(subject: Any, claim: Claim, cotangent: np.ndarray, k: int, truths: dict[int, np.ndarray]) -> str:
    yours, truth = claim.grads[k], truths[k]
    if not np.isfinite(yours).all():
        return "yours is not finite where the gradient is"
    if not np.any(yours) and np.any(truth):
        return "yours is zero; is a term missing, or None returned?"
    if _like(-yours, truth):
        return "yours has the opposite sign"
    if note := _factor(subject, yours, truth, cotangent):
        return note
    for i, other in truths.items():
        if i != k and other.shape == truth.shape and _like(yours, other):
            return f"yours is the gradient of {subject.names[subject.wrt[i]]}"
    if yours.ndim == 2 and yours.shape == yours.T.shape and _like(yours.T, truth):
        return "yours is the transpose of the gradient"
    plain = numerical(claim, k, np.ones_like(claim.weights))
    if _like(yours, plain):
        return "yours is the gradient for an incoming gradient of ones: is it left out?"
    zero = np.abs(truth) <= CLOSE * np.abs(yours).max()
    if zero.any() and not zero.all() and _like(yours[~zero], truth[~zero]):
        return "yours is right where the gradient is not zero, and not zero where it is: is a mask missing?"
    off = np.abs(yours - truth) > CLOSE * (np.abs(truth) + 1e-3 * np.abs(truth).max())
    x = claim.probe.xs[k]
    for sign, where in (("negative", x < 0), ("positive", x > 0), ("zero", x == 0)):
        if where.any() and not where.all() and (off == where).all():
            return f"yours is wrong just where the input is {sign}"
    if yours.size > 1 and _like(np.flip(yours), truth):
        return "yours is in the opposite order"
    for axis in range(yours.ndim):
        if yours.shape[axis] > 1:
            if _like(np.broadcast_to(truth.sum(axis, keepdims=True), yours.shape), yours):
                return f"yours is summed over axis {axis}, which it should not be"
            if _like(np.flip(yours, axis), truth):
                return f"yours is in the opposite order along axis {axis}"
    if 0 < off.sum() <= max(1, off.size // 10):
        return f"{off.sum()} of {off.size} entries are wrong, first {[int(i) for i in np.argwhere(off)[0]]}"
    ratio = yours[truth != 0] / truth[truth != 0]
    if ratio.size > 1 and (ratio > 0).all():
        return f"yours is between {ratio.min():.3g} and {ratio.max():.3g} times the gradient, with the right signs"
    return ""


def _like(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool((np.abs(a - b) <= CLOSE * np.abs(b).max(initial=0)).all()) and bool(np.any(b))


def _factor(subject: Any, yours: np.ndarray, truth: np.ndarray, cotangent: np.ndarray) -> str:
    """A constant multiple, with a name for the constant if it is one of the lengths."""
    size = float(np.sum(truth * truth))
    if not size:
        return ""
    factor = float(np.sum(yours * truth) / size)
    spread = np.abs(yours - factor * truth).max()
    if abs(factor - 1) < 1e-9 or spread > 1e-5 * abs(factor) * np.abs(truth).max():
        return ""
    lengths = {n: f"the length of axis {a} of {subject.names[i]}" for i, x in enumerate(subject.inputs)
               for a, n in enumerate(x.shape) if n > 2}
    for n, what in lengths.items():
        if abs(factor / n - 1) < 1e-5:
            return f"yours is {n} times the gradient, and {n} is {what}: is a factor 1/n missing?"
        if abs(factor * n - 1) < 1e-5:
            return f"yours is 1/{n} of the gradient, and {n} is {what}: is it divided by n once too often?"
    return f"yours is {factor:.6g} times the gradient"
