"""IDX files, in which MNIST and its relatives come (http://yann.lecun.com/exdb/mnist), plain or gzipped.

Two zero bytes, a byte for the type, a byte for the number r of dimensions, r sizes of four bytes, and the values, the
last index fastest; all numbers are big-endian. What is not exactly that is refused, with the byte at which it is wrong.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

__all__ = ["read_idx"]

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
KNOWN = ", ".join(f"0x{code:02x} {np.dtype(kind).name}" for code, kind in TYPES.items())
MOST_DIMENSIONS = 64  # of an array in NumPy
CHUNK = 1 << 20


def read_idx(path: str | Path) -> NDArray[Any]:
    """The array in an IDX file, gzipped if its first bytes say so; in native byte order.

    Bytes in a file that is not gzipped are mapped, not read: a file larger than the memory is no hindrance.
    Raises DataError, with the file and the byte offset (in the unpacked data), for what is no IDX file.
    """
    path = Path(path)
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            dtype, shape, offset = read_header(path, file)
            expected, found = offset + dtype.itemsize * math.prod(shape), path.stat().st_size
            check_size(path, shape, dtype, offset, expected, found)
            if expected == offset:
                return np.empty(shape, dtype.newbyteorder("="))
            mapped = np.memmap(path, dtype, "r", offset, shape)
            return np.asarray(mapped.astype(dtype.newbyteorder("="), copy=False))
        try:
            with gzip.open(file) as unpacked:
                dtype, shape, offset = read_header(path, unpacked)
                size = dtype.itemsize * math.prod(shape)
                data = read_at_most(unpacked, size + 1)
                more = len(data) > size
                check_size(path, shape, dtype, offset, offset + size, offset + len(data), at_least=more)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(path, f"broken gzip data near byte {file.tell()} of the packed file: {error}") from error
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def read_header(path: Path, file: Any) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """The type, the shape and the offset of the first value."""
    magic = read_at_most(file, 4)
    if len(magic) < 4:
        raise DataError(path, f"ends at byte {len(magic)}, within the 4 bytes that an IDX file begins with")
    if magic[:2] != b"\0\0":
        raise DataError(path, f"byte 0: expected two zero bytes, as an IDX file begins, found 0x{magic[:2].hex()}")
    if magic[2] not in TYPES:
        raise DataError(path, f"byte 2: expected a type ({KNOWN}), found 0x{magic[2]:02x}")
    rank = magic[3]
    if rank > MOST_DIMENSIONS:
        raise DataError(path, f"byte 3: expected at most {MOST_DIMENSIONS} dimensions, found {rank}")
    sizes = read_at_most(file, 4 * rank)
    if len(sizes) < 4 * rank:
        raise DataError(path, f"ends at byte {4 + len(sizes)}: expected {rank} sizes, up to byte {4 + 4 * rank}")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    if math.prod(size for size in shape if size) >= 2**62:  # also for an empty array: NumPy counts so
        raise DataError(path, f"byte 4: the sizes {shape} are too large for any memory")
    return np.dtype(TYPES[magic[2]]), shape, 4 + 4 * rank


def check_size(
    path: Path, shape: tuple[int, ...], dtype: Any, offset: int, expected: int, found: int, at_least: bool = False
) -> None:
    if found != expected:
        kind = "ends early" if found < expected else "goes on too long"
        values = f"values of shape {shape}, {dtype.newbyteorder('=').name}, from byte {offset} on"
        ends = "goes beyond it" if at_least else f"at byte {found}"
        raise DataError(path, f"{kind}: {values} end at byte {expected}, the file {ends}")


def read_at_most(file: BinaryIO | gzip.GzipFile, size: int) -> bytearray:
    """Up to `size` bytes, in pieces: a size that a hostile header claims is never allocated at once."""
    data = bytearray()
    while len(data) < size and (piece := file.read(min(CHUNK, size - len(data)))):
        data += piece
    return data
