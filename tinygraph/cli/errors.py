"""Mistakes of who runs the command: what the other modules raise becomes one sentence on stderr, and exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["UserError", "new_file", "user_errors"]


class UserError(Exception):
    """Arguments or files that make no sense: the message is one sentence that says what to do."""


@contextmanager
def user_errors(about: object = None) -> Iterator[None]:
    """Errors in what is read from the user's arguments or files, with what they are about before them."""
    try:
        yield
    except (ValueError, TypeError, ImportError) as error:  # what readers raise for content that is not as it should be
        text = " ".join(str(error).split())
        raise UserError(text if about is None or text.startswith(str(about)) else f"{about}: {text}") from error


def new_file(path: Path | None, force: bool) -> None:
    """Refuses, before anything is done, a path at which no file can be written, or one that is there."""
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent} to write {path.name} in")
    if path.exists() and not force:
        raise UserError(f"{path} is there already: say --force to replace it, or give another name")
