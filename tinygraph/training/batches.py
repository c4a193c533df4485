"""Where batches come from: arrays, which are shuffled and cut, or something that gives batches by itself.

A batch is a tuple (X, y) or (X, y, weights). X and y are arrays or structures of arrays, with the samples along the
first axis. The order of the samples depends on the seed and the epoch alone, so any epoch can be begun anew. With each
batch comes its ticket, for which the same batch is given `again`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from ..node import plain_array
from ..states import states
from ..structure import leaves, mapped

Batch = tuple[Any, ...]


class Arrays:
    """Data in memory, or some rows of them.

    The last batch of an epoch may be smaller, but a single sample goes with the batch before: batch normalisation could
    not do with one.
    """

    def __init__(self, parts: Batch, rows: np.ndarray, batch_size: int, seed: int, shuffle: bool) -> None:
        self.parts, self.rows, self.seed, self.shuffle = parts, rows, seed, shuffle
        self.samples = len(rows)
        self.batch_size = size = min(batch_size, self.samples)
        self.ends = [*range(size, self.samples, size), self.samples]
        if len(self.ends) > 1 and size > 1 and self.samples % size == 1:
            del self.ends[-2]

    def __len__(self) -> int:
        return len(self.ends)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, Batch]]:
        """The tickets and batches of one epoch, from the one with the number `start`."""
        order = self.rows
        if self.shuffle:
            order = order[np.random.default_rng([self.seed, number + 1]).permutation(self.samples)]
        for first, end in list(zip([0, *self.ends[:-1]], self.ends, strict=True))[start:]:
            ticket = order[first:end]
            yield ticket, self.again(ticket)

    def again(self, ticket: np.ndarray) -> Batch:
        return tuple([part.take(ticket, 0) if part.__class__ is np.ndarray
                      else mapped(lambda leaf: leaf.take(ticket, 0), part) for part in self.parts])

    def split(self, fraction: float, batch_size: int) -> tuple[Arrays, Arrays]:
        """All but that fraction of the samples, and the fraction, drawn at random, in its own size of batches."""
        held_out = max(1, round(fraction * self.samples))
        if held_out >= self.samples:
            raise ValueError(f"validation={fraction} of {self.samples} samples leaves none to train with")
        rows = self.rows[np.random.default_rng([self.seed, 0]).permutation(self.samples)]
        return (Arrays(self.parts, np.sort(rows[held_out:]), self.batch_size, self.seed, self.shuffle),
                Arrays(self.parts, np.sort(rows[:held_out]), batch_size, self.seed, False))

    def uses(self, ticket: np.ndarray, epochs: int) -> int:
        """How many batches of this size there will be."""
        return epochs * np.diff(self.ends, prepend=0).tolist().count(len(ticket))

    def nbytes(self, ticket: np.ndarray) -> int:
        return ticket.nbytes


class Batches:
    """An iterable of batches, gone through once in each epoch."""

    def __init__(self, data: Iterable[Any], what: str = "data") -> None:
        self.data, self.what = data, what
        self.first: Any = None
        self.began = [(state, state._version) for state in states(data).values()]  # its random streams, say

    def __len__(self) -> int:
        return len(self.data) if isinstance(self.data, Sized) else 0

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, Batch]]:
        self.began = [(state, state._version) for state, _ in self.began]
        i = -1
        for i, batch in enumerate(self.data):
            if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                raise TypeError(f"batch {i} of {self.what} is of type {type(batch).__name__}: give tuples (X, y) or "
                                "(X, y, weights)")
            if i >= start:
                found = tuple(mapped(plain_array, part) for part in batch)
                yield found, found
        if i < 0:
            raise ValueError(f"{self.what} gave no batch in epoch {number + 1}: give what can be gone through again in "
                             "each epoch, such as a list or an object with __iter__, not a generator")

    def again(self, batch: Batch) -> Batch:
        return batch

    def uses(self, batch: Batch, epochs: int) -> float:
        """Who knows; most will be like the first."""
        shapes = str([(path, leaf.shape, leaf.dtype.str) for path, leaf in leaves(batch)])
        self.first = self.first or shapes
        return np.inf if shapes == self.first else 0

    def nbytes(self, batch: Batch) -> int:
        return sum(leaf.nbytes for _, leaf in leaves(batch))


def batches_of(data: Any, batch_size: int, seed: int = 0, shuffle: bool = False,
               what: str = "data") -> Arrays | Batches:
    """Tuples of arrays, and what has X and y, are data in memory; everything else must give batches."""
    if hasattr(data, "X") and hasattr(data, "y"):
        data = data.X, data.y
    if isinstance(data, tuple):
        if len(data) not in (2, 3):
            raise TypeError(f"{what} is a tuple of {len(data)}: give (X, y), (X, y, weights) or an iterable of such "
                            "batches")
        parts = tuple(mapped(plain_array, part) for part in data)
        sizes = {name + path: len(leaf) if leaf.ndim else None
                 for name, part in zip(("X", "y", "weights"), parts, strict=False) for path, leaf in leaves(part)}
        if None in sizes.values():
            name = next(name for name, size in sizes.items() if size is None)
            raise ValueError(f"{what}: {name} is one number, and not an array with the samples along the first axis: "
                             "lists are taken as structures of arrays, so give np.array(list)")
        samples = min(size or 0 for size in sizes.values())
        if not samples or set(sizes.values()) != {samples}:
            raise ValueError(f"{what} must have the same number of samples, one or more, along the first axis of each "
                             f"array: {', '.join(f'{name} has {size}' for name, size in sizes.items())}")
        return Arrays(parts, np.arange(samples), batch_size, seed, shuffle)
    if isinstance(data, np.ndarray) or not hasattr(data, "__iter__"):
        raise TypeError(f"{what} is of type {type(data).__name__}: give (X, y), (X, y, weights) or an iterable of such "
                        "batches")
    return Batches(data, what)


def count(y: Any) -> int:
    """The number of samples."""
    return len(y if y.__class__ is np.ndarray else next(leaf for _, leaf in leaves(y)))
