"""Data sets: `load` by name or from files, and what is done with them before training.

This module picks the reader; each reader is a module of its own, and knows one kind of file.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .dataset import Batches, Dataset, Scaler, standardize
from .errors import DataError
from .idx import read_idx
from .images import read_images
from .sets import SETS, breast_cancer, diabetes, digits, iris, mnist, two_moons, wine
from .tables import read_csv, read_npz

__all__ = [
    "Batches",
    "DataError",
    "Dataset",
    "Scaler",
    "breast_cancer",
    "diabetes",
    "digits",
    "iris",
    "load",
    "mnist",
    "read_csv",
    "read_idx",
    "read_idx_images",
    "read_idx_pair",
    "read_images",
    "read_npz",
    "standardize",
    "two_moons",
    "wine",
]


def load(source: str | Path, **options: Any) -> Dataset:
    """The data set of that name, or in that file or folder; options are those of the function that reads it.

    Names: breast_cancer, diabetes, digits, iris, mnist, two_moons, wine; a file of such a name is ./iris.
    Files, by their suffix: .csv and .tsv (also .gz) by `read_csv`, .npz by `read_npz`, IDX files of images
    (...idx3-ubyte, also .gz) by `read_idx_pair`; a folder by `read_images`.
    Raises ValueError for a name or suffix that is none of these, TypeError for an option that the reader has not.
    """
    reader = find_reader(source)
    if (name := str(source)) in SETS:
        arguments: tuple[Any, ...] = ()
    else:
        arguments = (Path(source),)
    known = inspect.signature(reader).parameters
    for option in options:
        if option not in known:
            has = ", ".join(each for each in known if each not in ("path", "folder", "images")) or "none"
            raise TypeError(f"{name} is read by {reader.__name__}, which has no option {option!r}; it has: {has}")
    return reader(*arguments, **options)


def find_reader(source: str | Path) -> Callable[..., Dataset]:
    """The function that makes the data set of that name, or reads files of that kind."""
    if str(source) in SETS:
        return SETS[str(source)]
    path = Path(source)
    suffixes = [each for each in path.suffixes if each != ".gz"]
    if path.is_dir():
        return read_images
    if suffixes[-1:] in ([".csv"], [".tsv"]):
        return read_csv
    if path.suffix == ".npz":
        return read_npz
    if is_idx(path):
        return read_idx_pair
    if not path.exists() and path.parent == Path() and not path.suffix:
        raise ValueError(f"there is no data set {str(source)!r}: the names are {', '.join(SETS)}")
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", str(source))
    raise ValueError(f"{source}: expected a name ending in .csv, .tsv, .npz or idx3-ubyte, or a folder of images")


def is_idx(path: Path) -> bool:
    """Whether a file of that name is an IDX file: train-images-idx3-ubyte.gz, train-images.idx3-ubyte, images.idx."""
    return re.search(r"([.-]idx\d-\w+|\.idx)(\.gz)?$", path.name) is not None


def read_idx_pair(
    images: str | Path, *, labels: str | Path | None = None, dtype: DTypeLike = np.float64
) -> Dataset:
    """The data set in two IDX files, images (n, height, width) and labels (n,); X is (n, 1, height, width).

    labels: None: the file beside the other one that is called alike, with "labels" for "images" and idx1 for idx3.
    Bytes become numbers from 0 to 1; other types keep their values. Samples of another rank keep their shape.
    """
    images = Path(images)
    if labels is None:
        labels = images.with_name(re.sub(r"idx\d", "idx1", images.name.replace("images", "labels")))
        if "images" not in images.name or not labels.exists():
            missing = f"{labels.name} beside it" if "images" in images.name else '"images" in the name of the file'
            raise DataError(images, f"expected {missing}, to find its labels; say where they are (labels=)")
    X, y = read_idx_images(images, dtype), read_idx(labels)
    if y.dtype.kind not in "iu" or y.shape != X.shape[:1] or not y.size:
        raise DataError(labels, f"expected integers of shape {X.shape[:1]}, a label for each of the images in "
                                f"{images}, found {y.dtype} of shape {y.shape}")
    if y.min() < 0:
        raise DataError(labels, f"expected labels from 0 on, found {y.min()}")
    return Dataset(X, y.astype(np.int64), (), tuple(map(str, range(y.max() + 1))), images.name)


def read_idx_images(path: str | Path, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Images in an IDX file as (n, 1, height, width), bytes as numbers from 0 to 1."""
    pixels = read_idx(path)
    X = np.divide(pixels, 255, dtype=dtype) if pixels.dtype == np.uint8 else pixels.astype(dtype)
    return X[:, np.newaxis] if X.ndim == 3 else X
