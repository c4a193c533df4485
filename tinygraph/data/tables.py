"""Tables: CSV files of numbers and class names, plain or gzipped, and arrays in npz files. Nothing is unpickled."""

import csv
import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .dataset import Dataset, finite
from .errors import DataError
from .targets import as_target, number

__all__ = ["read_array", "read_columns", "read_csv", "read_npz"]


class Table(NamedTuple):
    """The cells of a CSV file: (rows, features) numbers, the texts of the target, the names of the features."""

    numbers: NDArray[np.float64]
    target: NDArray[np.str_]
    feature_names: tuple[str, ...]


def read_csv(
    path: str | Path,
    *,
    target: str | int = -1,
    classes: bool | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    dtype: DTypeLike = np.float64,
) -> Dataset:
    """The data set in a CSV file: a row a sample, numbers in all columns but the target's, which may hold class names.

    target: the column to tell from the others, by name or by number, from 0 on (negative: from the right).
    classes: whether the target says classes (True) or numbers to predict (False); None: see `as_target`.
    header: whether the first row has names; None: it has if none of its cells is a number.
    delimiter: between cells; None: a tab in files named .tsv, otherwise a comma.
    Raises DataError, with line and column, for a cell that is no finite number (missing values are refused) and for
    rows of different lengths.
    """
    path = Path(path)

    def choose(names: Sequence[str], n_columns: int) -> tuple[list[int], int]:
        if n_columns < 2:
            raise DataError(path, "line 1: expected a target and at least one feature, found one column "
                                  "(is another delimiter meant?)")
        if isinstance(target, str):
            place = position(path, names, target)
        elif -n_columns <= target < n_columns:
            place = target % n_columns
        else:
            raise DataError(path, f"line 1: there is no column {target}: columns are 0 to {n_columns - 1}")
        return [i for i in range(n_columns) if i != place], place

    table = read_table(path, choose, header, delimiter)
    try:
        y, class_names = as_target(table.target, classes)
    except ValueError as error:
        raise DataError(path, f"the target column: {error}") from error
    return Dataset(table.numbers.astype(dtype, copy=False), y if class_names else y.astype(dtype),
                   table.feature_names, class_names, name=path.name)


def read_columns(
    path: str | Path, names: Sequence[str] | None = None, *, header: bool | None = None, delimiter: str | None = None
) -> NDArray[np.float64]:
    """Numbers of a CSV file, (rows, columns): of the columns with these names, in their order, or of all columns.

    In a file without a header the names choose nothing. Otherwise as `read_csv`.
    """
    path = Path(path)

    def choose(found: Sequence[str], n_columns: int) -> tuple[list[int], None]:
        every = list(range(n_columns))
        return [position(path, found, name) for name in names] if found and names else every, None

    return read_table(path, choose, header, delimiter).numbers


def position(path: Path, names: Sequence[str], name: str) -> int:
    """The number of the one column of that name."""
    if not names:
        raise DataError(path, f"line 1: expected a header with a column {name!r}, found none (or say header=True)")
    if names.count(name) != 1:
        found = f"{names.count(name)} among {', '.join(names)}"
        raise DataError(path, f"line 1: expected one column {name!r}, found {found}")
    return names.index(name)


def read_table(
    path: Path,
    choose: Callable[[Sequence[str], int], tuple[list[int], int | None]],
    header: bool | None,
    delimiter: str | None,
) -> Table:
    """Reads the columns that `choose(names, n_columns)` wants as features and, at most one, as target."""
    delimiter = delimiter or ("\t" if ".tsv" in path.suffixes else ",")
    with open_text(path) as file:
        rows = (row for row in csv.reader(file, delimiter=delimiter) if row)
        first = next(rows, None)
        if first is None:
            raise DataError(path, "line 1: expected rows of numbers, found nothing")
        if header is None:
            header = all(number(cell) is None for cell in first)
        names = tuple(cell.strip() for cell in first) if header else ()
        features, target = choose(names, len(first))
        if header and next(rows, None) is None:
            raise DataError(path, "line 2: expected rows of numbers, found only a header")
        codes: dict[str, int] = {}
        converters: dict[int | str, Callable[[str], float]] = dict.fromkeys({*range(len(first))} - {*features}, skip)
        if target is not None:
            converters[target] = lambda text: codes.setdefault(text.strip(), len(codes))

        def complaint(text: str) -> DataError:
            found = fault(path, delimiter, first, header, features, target)
            return DataError(path, found or f"no table: {text}")

        file.seek(0)
        if header:
            next(rows)
        try:
            cells = np.loadtxt(file, delimiter=delimiter, quotechar='"', comments=None, converters=converters, ndmin=2)
        except ValueError as error:
            raise complaint(str(error)) from error
    numbers = cells if len(features) == len(first) and features == sorted(features) else cells[:, features]
    if cells.shape[1] != len(first) or "" in codes or not np.isfinite(numbers).all():
        raise complaint("its rows are of different lengths")
    texts = np.array(list(codes))[cells[:, target].astype(int)] if target is not None else np.array([], str)
    return Table(numbers, texts, tuple(names[i] for i in features) if names else ())


def skip(_: str) -> float:
    return 0.0


def fault(
    path: Path, delimiter: str, first: Sequence[str], header: bool, features: Sequence[int], target: int | None
) -> str | None:
    """What is wrong with the first row that is wrong, in a file whose first row is `first`."""
    wanted, names = set(features), first if header else ()
    with open_text(path) as file:
        rows = csv.reader(file, delimiter=delimiter)
        for row in rows:
            if not row or header:
                header = header and not row
                continue
            if len(row) != len(first):
                return f"line {rows.line_num}: expected {len(first)} columns, as in the first line, found {len(row)}"
            for i, cell in enumerate(row):
                place = f"line {rows.line_num}, column {i}" + (f" ({names[i].strip()})" if names else "")
                if i == target and not cell.strip():
                    return f"{place}: expected the target, found an empty cell"
                if i in wanted and ((value := number(cell)) is None or not math.isfinite(value)):
                    return f"{place}: expected a finite number, found {cell!r}"
    return None


@contextmanager
def open_text(path: Path) -> Iterator[Any]:
    """A text file, unpacked if its name ends in .gz; what goes wrong while reading is a DataError."""
    unpack = gzip.open if path.suffix == ".gz" else open
    try:
        with unpack(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(path, f"expected text in UTF-8, found byte 0x{error.object[error.start]:02x}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(path, f"broken gzip data: {error}") from error
    except csv.Error as error:
        raise DataError(path, f"no table: {error}") from error


def read_npz(path: str | Path, *, classes: bool | None = None, dtype: DTypeLike = np.float64) -> Dataset:
    """The data set in an npz file with arrays X and y, and if there are, feature_names and class_names.

    Without class_names y is taken as in `read_csv`: names, and the integers from 0 or 1 on, are classes. X and numbers
    to predict become `dtype`.
    """
    path = Path(path)
    with open_arrays(path) as arrays:
        for name in ("X", "y"):
            if name not in arrays:
                raise DataError(path, f"expected arrays X and y, found {', '.join(sorted(arrays)) or 'none'}")
        y, class_names = arrays["y"], tuple(arrays["class_names"].tolist()) if "class_names" in arrays else ()
        feature_names = tuple(arrays["feature_names"].tolist()) if "feature_names" in arrays else ()
        X = finite(arrays["X"], "X").astype(dtype, copy=False)
        if not class_names:
            y, class_names = as_target(finite(y, "y") if y.dtype.kind in "biuf" else y, classes)
        return Dataset(X, y if class_names else y.astype(dtype), feature_names, class_names, name=path.name)


def read_array(path: str | Path) -> NDArray[Any]:
    """The array of numbers in an .npy file (mapped, not read), or the one named X in an .npz file."""
    path = Path(path)
    with complaints(path):
        if path.suffix == ".npy":
            return finite(np.load(path, mmap_mode="r", allow_pickle=False), "the array")
    with open_arrays(path) as arrays:
        if "X" not in arrays:
            raise DataError(path, f"expected an array X, found {', '.join(sorted(arrays)) or 'none'}")
        return finite(arrays["X"], "X")


@contextmanager
def open_arrays(path: Path) -> Iterator[Any]:
    """The arrays by name in an npz file."""
    with path.open("rb") as file, complaints(path):
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise DataError(path, "expected an npz file, found a single array")
        with loaded as arrays:
            yield arrays


@contextmanager
def complaints(path: Path) -> Iterator[None]:
    """What NumPy has to say against the content of a file becomes a DataError."""
    try:
        yield
    except DataError:
        raise
    except (ValueError, TypeError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(path, str(error).partition("\n")[0]) from error
