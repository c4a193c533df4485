"""The error of a data file, and how an optional library is imported."""

import importlib
from pathlib import Path
from typing import Any

__all__ = ["DataError", "optional"]


class DataError(ValueError):
    """A file that does not hold the data it should: the message names the file, the place and what was expected."""

    def __init__(self, path: str | Path, message: str) -> None:
        super().__init__(f"{path}: {message}")


def optional(module: str, library: str, extra: str) -> Any:
    """The module of an optional library; without it ImportError with one sentence that names the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(f'{library} is not installed; get it with: pip install -e ".[{extra}]"') from error
