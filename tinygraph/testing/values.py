"""Values: is this array the gradient, entry by entry?

A `Claim` is a point, a cotangent, and the gradients that somebody says belong to them. `judged` compares each gradient
with numerical derivatives: a small one entry by entry; a large one by random projections of groups of entries of like
size, of which those that are off are cut in two until the offending entries are found. An entry is wrong only if it is
off by more than the error bars allow: those of the numerical derivative, what the rule itself loses to rounding
(measured by calling it at points that differ in the last digits), and a few units in the last place of its dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .numeric import Probe
from .report import Entry

FEW = 40  # entries up to which each is looked at alone
GROUP = 256  # entries that are projected at once, at least
MOST = 12  # offending entries that are looked for and shown
DIGITS = {np.dtype(np.float16): 2e-2, np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-7}  # a rule may lose others
CANCELLED = 64  # units in the last place of a derivative of natural size that a small one may lose in a sum of terms
RESOLUTION = 1e-3  # relative error bar of an entry that is wide enough to leave it undecided
NEGLIGIBLE = 1e-6  # of the largest entry: below that no entry is asked for digits of its own


@dataclass
class Claim:
    """weights: the cotangent, flat, float64. grads: the gradients, float64. noise: what each entry may be off by
    because of rounding in the rule. dtypes: those that the rule computed in. composed: whether the function may be made
    of several with kinks."""

    probe: Probe
    weights: np.ndarray
    grads: list[np.ndarray]
    noise: list[np.ndarray]
    dtypes: list[np.dtype]
    composed: bool = False


def judged(claim: Claim, which: int, few: int = FEW) -> tuple[str, list[Entry]]:
    """The verdict on the gradient of one input, and its worst entries.

    few: up to how many entries each is looked at alone.
    """
    yours = claim.grads[which]
    flat = yours.ravel()
    judge = _Judge(claim, which)
    if flat.size <= few:
        found = [judge.entry(j) for j in range(flat.size)]
        if joint := judge.joint([entry for entry in found if entry.status == "kink"]):
            found.append(joint)
    else:
        found = judge.groups()
    for status in ("wrong", "undecided", "kink"):
        if some := [entry for entry in found if entry.status == status]:
            return status, sorted(some, key=lambda e: -_off(e))[:max(MOST, few)]
    return "ok", []


def _off(entry: Entry) -> float:
    off = max(entry.low - entry.yours, entry.yours - entry.high)
    return off if np.isfinite(off) else np.inf


class _Judge:
    def __init__(self, claim: Claim, which: int) -> None:
        self.claim, self.which = claim, which
        self.x, self.yours = claim.probe.xs[which], claim.grads[which]
        self.noise = claim.noise[which].ravel()
        finite = np.abs(self.yours[np.isfinite(self.yours)])
        self.largest = float(finite.max(initial=0))
        dtype = claim.dtypes[which]
        self.unit = DIGITS.get(dtype, 1e-7)
        # What a derivative would be if the outputs changed by their own size when the input does.
        value = claim.probe.value
        outputs = float(np.abs(claim.weights * np.where(np.isfinite(value), value, 0)).max(initial=0))
        inputs = float(np.abs(self.x).max(initial=0)) or 1.0
        self.natural = outputs / min(inputs, np.sqrt(inputs))  # a function of differences knows not how large they are
        self.cancelled = CANCELLED * float(np.finfo(dtype).eps) * self.natural
        self.floor = float(np.finfo(dtype).tiny) * 4  # what a dtype cannot hold may be 0

    def _look(self, direction: np.ndarray, yours: float, slack: float) -> tuple[float, float, float, str]:
        """low, high, error and status of what `yours` claims to be the derivative along a direction."""
        probe = self.claim.probe
        directions = [np.zeros_like(x) for x in probe.xs]
        directions[self.which] = direction.reshape(self.x.shape)
        slopes = probe.slopes(directions)
        low, high, error = slopes.weighted(self.claim.weights)
        # Where one output alone depends on the entry, people think of the derivative of that.
        moved = np.flatnonzero((slopes.left != 0) | (slopes.right != 0))
        self.unit_of = float(self.claim.weights[moved[0]]) if moved.size == 1 else 1.0
        endless = bool((slopes.endless & (self.claim.weights != 0)).any())
        kink = bool((slopes.kink & (self.claim.weights != 0)).any())
        if endless:
            slack += error if np.isfinite(error) else 0
            fits = yours in (low, high) or (low < high and low - slack <= yours <= high + slack)
            fits = fits or (np.isinf(yours) and np.isnan(low + high))
            return low, high, 0.0, "kink" if fits else "wrong"
        if not np.isfinite(yours):
            return low, high, error, "wrong" if np.isfinite(error) else "undecided"
        counts = self.claim.weights != 0
        size = float(np.abs(slopes.right[counts] * self.claim.weights[counts]).sum())
        if not np.isfinite(error):
            return low, high, error, "undecided"
        scale = max(abs(low), abs(high), abs(yours))
        enough = max(max(RESOLUTION, 2 * self.unit) * scale, NEGLIGIBLE * max(self.largest, size, self.natural))
        off = max(low - yours, yours - high) - self.unit * size - self.floor
        if off > error:
            if off > error + slack + self.cancelled:
                # Where several kinks meet, the slope 0 at each of them need not lie between the slopes of all.
                meeting = kink and min(low, 0) <= yours <= max(high, 0)
                return low, high, error, "undecided" if meeting and self.claim.composed else "wrong"
            if slack > enough and off > error + self.cancelled:
                return low, high, error, "undecided"
        if error > enough:
            return low, high, error, "undecided"
        return low, high, error, "kink" if kink else "ok"

    def entry(self, j: int) -> Entry:
        unit = np.zeros(self.x.size)
        unit[j] = 1
        yours = float(self.yours.flat[j])
        low, high, error, status = self._look(unit, yours, self.noise[j])
        index = tuple(int(k) for k in np.unravel_index(j, self.x.shape)) if self.x.ndim else ()
        w = self.unit_of or 1.0
        low, high = sorted([low / w, high / w])
        return Entry(index, yours / w + 0.0, low + 0.0, high + 0.0, error / abs(w), status)

    def joint(self, kinks: Sequence[Entry]) -> Entry | None:
        """Along all kinks at once the function may be smooth (a tie moves as one), and then the gradient must fit."""
        if len(kinks) < 2:
            return None
        direction = np.zeros(self.x.shape)
        for entry in kinks:
            direction[entry.index] = 1
        yours = float(np.sum(self.yours * direction))
        low, high, error, status = self._look(direction.ravel(), yours, float(np.sum(self.noise * direction.ravel())))
        return Entry(kinks[0].index, yours, low, high, error, "wrong") if status == "wrong" else None

    def groups(self) -> list[Entry]:
        """The offending entries of a large gradient, and one that is not differentiable, if there is any."""
        flat, rng = self.yours.ravel(), np.random.default_rng(0)
        found: list[Entry] = [self.entry(int(j)) for j in np.flatnonzero(~np.isfinite(flat))[:MOST]]
        finite = np.flatnonzero(np.isfinite(flat))
        zeros, rest = finite[flat[finite] == 0], finite[flat[finite] != 0]
        rest = rest[np.argsort(np.abs(flat[rest]), kind="stable")]
        size = max(GROUP, flat.size // 200)
        todo: list[np.ndarray] = [part for whole in (zeros, rest) for part in _parts(whole, np.abs(flat), size)]
        todo = [part for part in todo for _ in range(2)]
        kinks = 0
        seen: set[int] = set()
        while todo and sum(entry.status == "wrong" for entry in found) < MOST:
            part = todo.pop()
            if part.size == 1:
                if int(part[0]) not in seen:
                    seen.add(int(part[0]))
                    found.append(self.entry(int(part[0])))
                continue
            direction = np.zeros(flat.size)
            direction[part] = rng.uniform(0.5, 1, part.size) * rng.choice([-1, 1], part.size)
            moved = direction[part] * flat[part]
            slack = float(np.sqrt(np.sum((direction[part] * self.noise[part]) ** 2))) * 3
            slack += self.unit * float(np.sqrt(np.sum(moved**2)))
            low, high, error, status = self._look(direction, float(moved.sum()), slack)
            if status == "kink" and kinks < 2 * MOST:
                kinks += 1
                found.append(Entry((), float(moved.sum()), low, high, error, "kink"))
            elif status not in ("ok", "kink"):
                todo += [part[:part.size // 2], part[part.size // 2:]]
        return found


def _parts(entries: np.ndarray, sizes: np.ndarray, count: int) -> list[np.ndarray]:
    """Entries in order of their size, cut where that grows a thousandfold and after `count` of them."""
    parts, start = [], 0
    for k in range(1, len(entries) + 1):
        if k == len(entries) or k - start >= count or sizes[entries[k]] > 1e3 * sizes[entries[start]] > 0:
            parts.append(entries[start:k])
            start = k
    return parts
