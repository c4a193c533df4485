"""Files: written whole or not at all. This module knows nothing of what is in them."""

from __future__ import annotations

import os
import secrets
import stat

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all: under another name in the same folder, brought to the disk, then renamed.

    A file that is there keeps its permissions, and a symbolic link stays one. Killed at the wrong moment, it leaves a
    file `.NAME.*.part` behind.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    scratch = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    try:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no folder {folder} to write {name} in") from None
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            os.chmod(scratch, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise
    if os.name == "posix":  # the new name must reach the disk too
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
