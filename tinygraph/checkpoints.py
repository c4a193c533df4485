"""Checkpoints: the states of models, optimizers and whatever else holds some, in one file with plain metadata.

A file holds the arrays of the states under their paths, a JSON text, and a digest of both. It is a `.npz` (a zip of
`.npy` files, that `np.load` opens too) or, with the extra `safetensors`, a `.safetensors`. Nothing in it is ever run:
no pickle. It is written under another name, brought to the disk and then renamed, so whoever is killed meanwhile leaves
the old file or the new one. It is checked as a whole before anything is changed. This module finds states by `states`
and knows nothing of layers, optimizers or training.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .files import write_atomically
from .node import State
from .states import states

__all__ = ["Checkpoint", "CheckpointError", "load", "read", "save"]

Path = str | os.PathLike[str]

_FORMAT = 1
_HEADER = "tinygraph.json"  # the member of a .npz that is no array


class CheckpointError(ValueError):
    """A file that is no whole checkpoint, or one whose states are not those that it is loaded into."""


class Checkpoint(NamedTuple):
    """What a file holds: read-only arrays by the paths of their states, and the metadata as it was given to `save`."""

    path: str
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]


def save(path: Path, *, metadata: dict[str, Any] | None = None, **things: Any) -> None:
    """Write all states in `things` to one file, in the place of what was there.

    path: ends with .npz or, with the extra safetensors, with .safetensors.
    things: what holds states (a model, an optimizer, a stream, lists and dicts of them), each under a name of its own,
        which begins the names of its arrays: with model=net, the weight net.layers[0].W is "model.layers.0.W".
    metadata: a dict that JSON can hold; tuples in it come back as lists.

    Whatever stops it, the file at `path` is the old one or the new one; an error leaves nothing beside it.
    """
    write = _writer(path)
    arrays: dict[str, np.ndarray] = {}
    places: dict[int, str] = {}  # what is met again, by another thing, is written once
    aliases: dict[str, str] = {}
    for name, state in _named(things):
        place = places.setdefault(id(state), name)
        if place == name:
            value = state._version._value
            arrays[name] = np.asarray(value, value.dtype.newbyteorder("="), order="C")
        else:
            aliases[name] = place
    try:
        content = json.dumps({"format": _FORMAT, "aliases": aliases, "metadata": {} if metadata is None else metadata})
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must be what JSON can hold (dicts with str keys, lists, str, numbers, bool, None): "
                        f"{error}") from error
    write_atomically(path, write(arrays, json.dumps({"content": content, "digest": _digest(arrays, content)})))


def read(path: Path) -> Checkpoint:
    """What the file at `path` holds, checked; for when the metadata must be known before there is a model.

    Raises CheckpointError if it is no whole checkpoint, FileNotFoundError and its kin if it cannot be read.
    """
    name, parse = os.fspath(path), _parser(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        arrays, text = parse(data)
        header = json.loads(text)
        content = header["content"]
        if header["digest"] != _digest(arrays, content):
            raise ValueError("what it holds does not fit its digest")
        found = json.loads(content)
        if found["format"] != _FORMAT:
            raise ValueError(f"it has format {found['format']}, and this version reads format {_FORMAT}")
        arrays |= {alias: arrays[place] for alias, place in found["aliases"].items()}
        return Checkpoint(name, arrays, dict(found["metadata"]))
    except Exception as error:  # damage shows in a hundred ways, from BadZipFile to RecursionError
        reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{name} is no whole checkpoint of tinygraph: {reason}") from error


def load(source: Path | Checkpoint, **things: Any) -> dict[str, Any]:
    """Give the states in `things` the values that a file (or what `read` made of it) has for them; its metadata.

    things: as for `save`. The file may hold more of them; but of each that is given here, file and states must have the
        same paths, shapes and dtypes, else CheckpointError, and nothing has changed. For another dtype, load first and
        convert then (`nn.astype`).
    """
    checkpoint = source if isinstance(source, Checkpoint) else read(source)
    name, arrays, metadata = checkpoint
    wanted = dict(_named(things))
    of_these = {path for path in arrays for thing in things if path == thing or path.startswith(thing + ".")}
    if missing := [path for path in wanted if path not in of_these]:
        raise CheckpointError(f"{name} does not fit: it has no {_few(missing)}")
    if unexpected := [path for path in arrays if path in of_these and path not in wanted]:
        raise CheckpointError(f"{name} does not fit: there is no place for {_few(unexpected)}")
    places: dict[int, str] = {}
    for path, state in wanted.items():
        array = arrays[path]
        if array.shape != state.shape or array.dtype != state.dtype.newbyteorder("="):
            raise CheckpointError(f"{name} does not fit: {path} is {array.shape} {array.dtype} there and "
                                  f"{state.shape} {state.dtype} here")
        place = places.setdefault(id(state), path)
        if arrays[place].tobytes() != array.tobytes():
            raise CheckpointError(f"{name} does not fit: {place} and {path} are one state here and differ there")
    for path, state in wanted.items():
        state.value = arrays[path]
    return metadata


def _named(things: dict[str, Any]) -> Iterator[tuple[str, State]]:
    """The states of each thing by itself: one that two of them hold has two paths."""
    if not things:
        raise TypeError("name what holds the states: model=..., optimizer=...")
    if dotted := [name for name in things if "." in name]:
        raise ValueError(f"{dotted[0]!r} could be the name of a part of another thing: give a name without a dot")
    for name, thing in things.items():
        found = states({name: thing})
        if not found:
            raise TypeError(f"{name}={type(thing).__name__} holds no state: give a model, an optimizer, "
                            "or a list or dict of such")
        if strange := [path for path in found if not path.isprintable() or "\\" in path]:
            raise ValueError(f"a file cannot hold the name {strange[0]!r}: name the key of the dict otherwise")
        yield from found.items()


def _digest(arrays: dict[str, np.ndarray], content: str) -> str:
    """A hash of all that a file says: against damage, not against forgers."""
    digest = hashlib.sha256(content.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# ---- The two kinds of file: from arrays and a header, a text, to bytes, and back


def _writer(path: Path) -> Any:
    return {".npz": _npz_bytes, ".safetensors": _safetensors_bytes}[_kind(path)]


def _parser(path: Path) -> Any:
    return {".npz": _parse_npz, ".safetensors": _parse_safetensors}[_kind(path)]


def _kind(path: Path) -> str:
    """What the name of a file ends with; says at once if the library for it is not there."""
    kind = os.path.splitext(path)[1]
    if kind not in (".npz", ".safetensors"):
        raise ValueError(f"the name of a checkpoint ends with .npz or .safetensors, and {os.fspath(path)!r} does not")
    if kind == ".safetensors":
        try:
            import safetensors.numpy  # noqa: F401
        except ModuleNotFoundError:
            raise ModuleNotFoundError("a .safetensors file needs the library safetensors: get it with pip install -e "
                                      '".[safetensors]", or use .npz, which needs nothing more') from None
    return kind


def _npz_bytes(arrays: dict[str, np.ndarray], header: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # not compressed: weights hardly shrink
        def add(name: str, data: bytes) -> None:
            member = zipfile.ZipInfo(name)  # of 1980: the same states are the same file
            member.external_attr = 0o644 << 16
            archive.writestr(member, data)

        add(_HEADER, header.encode())
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            add(f"{name}.npy", member.getvalue())
    return file.getvalue()


def _parse_npz(data: bytes) -> tuple[dict[str, np.ndarray], str]:
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if (any(member.compress_type != zipfile.ZIP_STORED for member in members)
                or sum(member.file_size for member in members) > len(data)):
            raise ValueError("what is in it is packed, or more than the file is long")
        header = archive.read(_HEADER).decode()
        for member in members:
            if member.filename != _HEADER:
                name = member.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"it has two arrays {name}")
                arrays[name] = _parse_npy(archive.read(member))
    return arrays, header


def _parse_npy(data: bytes) -> np.ndarray:
    """An array; unlike `np.load` this takes no memory before the shape is known to fit."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array has a header of another version")
    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if in_columns or dtype.kind not in "biufc" or not dtype.isnative:
        raise ValueError(f"an array is of dtype {dtype} or in another order")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)


def _safetensors_bytes(arrays: dict[str, np.ndarray], header: str) -> bytes:
    from safetensors import SafetensorError
    from safetensors.numpy import save

    try:
        return save(arrays, metadata={"tinygraph": header})
    except SafetensorError as error:
        kinds = sorted({array.dtype.name for array in arrays.values()})
        raise TypeError(f"a .safetensors file cannot hold all of {', '.join(kinds)}: use .npz ({error})") from error


def _parse_safetensors(data: bytes) -> tuple[dict[str, np.ndarray], str]:
    from safetensors.numpy import load

    arrays = load(data)  # has checked the lengths and the offsets in the header when this returns
    for array in arrays.values():
        array.flags.writeable = False
    length = int.from_bytes(data[:8], "little")
    return arrays, json.loads(data[8:8 + length])["__metadata__"]["tinygraph"]
