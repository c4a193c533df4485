"""A data set in memory: samples, targets and their names; splitting, scaling and mini-batches.

It knows nothing of files or networks. Samples are along the first axis, images are (n, channels, height, width).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..node import State

__all__ = ["Batches", "Dataset", "Scaler", "standardize"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """n samples and what is to be told from them.

    X: (n, ...), finite numbers: (n, features), or images (n, channels, height, width).
    y: (n,) integers 0 to k - 1 if there are `class_names`, one for each of the k classes; otherwise, for a regression,
        finite numbers (n,) or (n, targets).
    feature_names: none, or one for each column of an X of shape (n, features).
    Raises ValueError for arrays that do not fit together, and for NaN and infinity, with their place; TypeError for
    what is no array of numbers.

    >>> import numpy as np
    >>> Dataset(np.zeros((4, 2)), np.array([0, 1, 0, 1]), class_names=("no", "yes"), name="answers")
    <Dataset answers: 4 samples of shape (2,), float64; 2 classes: no, yes>
    """

    X: Array
    y: Array
    feature_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    name: str = "unnamed"
    description: str = ""

    def __post_init__(self) -> None:
        for key in ("X", "y"):
            object.__setattr__(self, key, finite(getattr(self, key), key))
        for key in ("feature_names", "class_names"):
            object.__setattr__(self, key, tuple(map(str, getattr(self, key))))
        if self.X.ndim == 0 or len(self.X) == 0:
            raise ValueError(f"X holds no samples: its shape is {self.X.shape}")
        if self.y.ndim == 0 or len(self.y) != len(self.X):
            raise ValueError(f"X has {len(self.X)} samples, but y is of shape {self.y.shape}: give one target a sample")
        if self.feature_names and self.X.shape[1:] != (len(self.feature_names),):
            raise ValueError(f"{len(self.feature_names)} feature names do not fit an X of shape {self.X.shape}")
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError(f"class names must differ: {', '.join(self.class_names)}")
        if self.class_names:
            if self.y.ndim != 1 or self.y.dtype.kind not in "iu":
                raise TypeError(f"labels of classes are integers of shape (n,), not {self.y.dtype} of {self.y.shape}")
            if self.y.min() < 0 or self.y.max() >= len(self.class_names):
                raise ValueError(f"labels of {len(self.class_names)} classes are 0 to {len(self.class_names) - 1}, "
                                 f"but y holds {self.y.min()} to {self.y.max()}")

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, samples: slice | Sequence[int] | Array) -> Dataset:
        """The data set of these samples: a slice, indices or a mask."""
        if np.ndim(samples) == 0 and not isinstance(samples, slice):  # type: ignore[arg-type]
            raise TypeError("data[i] of one i would be a sample without its axis: write data[i:i + 1] or data.X[i]")
        return replace(self, X=self.X[samples], y=self.y[samples])

    def __repr__(self) -> str:
        what = f"a target of shape {self.y.shape[1:]}, {self.y.dtype}" if self.y.ndim > 1 else "a number to predict"
        if self.class_names:
            shown = self.class_names if len(self.class_names) <= 12 else (*self.class_names[:11], "...")
            what = f"{len(self.class_names)} classes: {', '.join(shown)}"
        return f"<Dataset {self.name}: {len(self)} samples of shape {self.X.shape[1:]}, {self.X.dtype}; {what}>"

    def astype(self, dtype: DTypeLike) -> Dataset:
        """The samples, and the targets of a regression, in that type."""
        y = self.y if self.class_names else self.y.astype(dtype, copy=False)
        return replace(self, X=self.X.astype(dtype, copy=False), y=y)

    def split(self, fraction: float, *, seed: int) -> tuple[Dataset, Dataset]:
        """Two data sets: the rest, and a part of `fraction` of the samples, drawn with the seed.

        Of classes, each gives its share to within one sample. ValueError if one of the two would be empty.

        >>> full = Dataset(np.zeros((10, 1)), np.repeat([0, 1], [6, 4]), class_names=("no", "yes"))
        >>> train, test = full.split(0.5, seed=0)
        >>> len(train), np.bincount(test.y)
        (5, array([3, 2]))
        """
        n = len(self)
        if not 0 < fraction < 1 or not 0 < round(fraction * n) < n:
            raise ValueError(f"{fraction} of {n} samples is no split: each side wants at least one sample")
        m, order = round(fraction * n), np.random.default_rng(seed).permutation(n)
        if self.class_names:  # m places, evenly spaced in the random order sorted by class: each class gives its share
            by_class = order[np.argsort(self.y[order], kind="stable")]
            chosen = by_class[np.diff(np.arange(n + 1) * m // n) > 0]
        else:
            chosen = order[:m]
        held_out = np.isin(order, chosen)
        return self[order[~held_out]], self[order[held_out]]

    def batches(self, batch_size: int, *, seed: int | None = None) -> Batches:
        """The mini-batches (X, y) of one pass after another: see `Batches`."""
        return Batches(self.X, self.y, batch_size, seed=seed)


class Batches:
    """An iterable of mini-batches (X, y): each `for` over it is one pass, and takes the samples out as it goes.

    The samples may therefore lie in a file (`np.memmap`). With a seed each pass is in an order of its own, the p-th
    pass in the same one whenever it is made; without one the samples keep their order. How many passes have begun is a
    state, `passes`, so that a checkpoint can hold it. The last batch has what is left over.

    >>> batches = Batches(np.arange(5), np.arange(5), 2)
    >>> len(batches), [x.tolist() for x, y in batches]
    (3, [[0, 1], [2, 3], [4]])
    """

    def __init__(self, X: Array, y: Array, batch_size: int, *, seed: int | None = None) -> None:
        if len(X) != len(y) or not len(X):
            raise ValueError(f"batches want as many samples as targets, and at least one; given {len(X)} and {len(y)}")
        if batch_size < 1:
            raise ValueError(f"a batch has at least one sample, not {batch_size}")
        self.X, self.y, self.batch_size, self.seed = X, y, batch_size, seed
        self.passes = State(np.array(0))

    def __len__(self) -> int:
        return -(-len(self.X) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        count = int(self.passes.value)
        self.passes.value = np.array(count + 1)
        n, order = len(self.X), None
        if self.seed is not None:
            order = np.random.default_rng([self.seed, count]).permutation(n)
        for start in range(0, n, self.batch_size):
            chosen = slice(start, start + self.batch_size)
            yield (self.X[chosen], self.y[chosen]) if order is None else (self.X[order[chosen]], self.y[order[chosen]])


@dataclass(frozen=True, eq=False)
class Scaler:
    """Subtracts a mean and divides by a scale, both of shape (features,), or (channels, 1, 1) for images."""

    mean: Array
    scale: Array

    @classmethod
    def of(cls, X: ArrayLike) -> Scaler:
        """The mean and the standard deviation of each feature of X (n, ...), of each channel if X is images.

        A feature that does not vary keeps its scale.
        """
        X = np.asarray(X)
        axes = (0, 2, 3) if X.ndim == 4 else (0,)
        mean = X.mean(axis=axes, keepdims=True, dtype=np.float64)
        deviation = X.std(axis=axes, keepdims=True, dtype=np.float64)
        varies = deviation > 10 * np.finfo(np.float64).eps * abs(mean)  # less is rounding
        return cls(mean[0], np.where(varies, deviation, 1.0)[0])

    def __call__(self, X: Array) -> Array:
        """X, standardised, in its own type; integers become float64."""
        dtype = X.dtype if X.dtype.kind == "f" else np.float64
        return ((X - self.mean.astype(dtype)) / self.scale.astype(dtype)).astype(dtype, copy=False)

    def inverse(self, X: Array) -> Array:
        """What the scaler makes X of."""
        return X * self.scale.astype(X.dtype) + self.mean.astype(X.dtype)


def standardize(train: Dataset, *others: Dataset) -> tuple[Dataset, ...]:
    """The data sets with features of mean 0 and deviation 1 in `train`: the same shift and scale for all of them."""
    scaler = Scaler.of(train.X)
    return tuple(replace(each, X=scaler(each.X)) for each in (train, *others))


def finite(values: Any, name: str) -> Array:
    """The array, of integers or floats without NaN or infinity; otherwise the error says where."""
    array = np.asarray(values)
    if array.dtype == bool:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} is an array of numbers, not of {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{', '.join(map(str, place))}] is {array[place]}: every value must be a finite number")
    return array
