"""Detectors: context managers that watch every op and every sweep inside them, and cost nothing outside.

`detect_nan` names the first node whose value or gradient stopped being finite, `detect_changes` the first input array
that was overwritten behind the library's back. Both say which line of user code built the node.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .node import WATCHER, Value, describe
from .op import Op

_OURS = str(Path(__file__).parent) + os.sep
_NUMPY = str(Path(np.__file__).parent) + os.sep


@contextmanager
def detect_nan() -> Iterator[None]:
    """Inside, FloatingPointError at the first value or gradient that is not finite though what it came from is.

    The error names the op, what it was given, and the line of user code that built it. Expect half the speed.

    >>> import numpy as np, tinygraph as tg
    >>> x = tg.Parameter(np.array([1.0, 0.0]))
    >>> with tg.detect_nan():
    ...     loss = np.log(x).sum()
    Traceback (most recent call last):
        ...
    FloatingPointError: the value of Log (2,) float64 is not finite: 1 of 2 entries, first -inf at (1,); ...
    """
    with watching(_NanWatcher()):
        yield


@contextmanager
def detect_changes() -> Iterator[None]:
    """Inside, RuntimeError at a backprop one of whose arrays was overwritten after an op had used it.

    For arrays of your own that you handed to ops; the arrays that nodes hand out are read-only anyway. Each array is
    summed up once per op that uses it.
    """
    with watching(_ChangeWatcher()):
        yield


@contextmanager
def watching(watcher: Any) -> Iterator[None]:
    outer = WATCHER.get()
    token = WATCHER.set(watcher if outer is None else _Both(outer, watcher))
    try:
        with np.errstate(all="ignore"):  # the watcher says it better
            yield
    finally:
        WATCHER.reset(token)


class _Watcher:
    """Remembers where each op was built."""

    detector = True  # wants to see each op and each sweep by itself

    def __init__(self) -> None:
        self.lines: dict[int, tuple[str, int]] = {}  # by serial number: no node is kept alive

    def built(self, node: Op) -> None:
        self.lines[node.serial] = user_line()

    def swept(self, node: Value, source: Op, part: Any, total: Any) -> None: ...

    def sweeping(self, node: Op) -> None: ...

    def where(self, node: Value) -> str:
        if node.serial not in self.lines:
            return "before the detector was entered"
        import linecache

        name, line = self.lines[node.serial]
        text = linecache.getline(name, line).strip()
        return f"at {name}:{line}" + (f": {text}" if text else "")


class _NanWatcher(_Watcher):
    def built(self, node: Op) -> None:
        super().built(node)
        if not np.isfinite(node._value).all() and all(_finite(x) for x in node.inputs):
            raise FloatingPointError(f"the value of {describe(node)} is not finite: {_first_bad(node._value)}; "
                                     f"built {self.where(node)}")

    def swept(self, node: Value, source: Op, part: Any, total: Any) -> None:
        grad = getattr(total, "_value", total)
        if not np.isfinite(grad).all() and _finite(node):
            hint = "; the derivative of a square root is infinite at 0" if _is_root(source) else ""
            raise FloatingPointError(f"the gradient that {describe(source)} sends to its input {describe(node)} is not "
                                     f"finite: {_first_bad(grad)}; the op was built {self.where(source)}{hint}")


class _ChangeWatcher(_Watcher):
    def __init__(self) -> None:
        super().__init__()
        self.sums: dict[int, list[bytes]] = {}

    def built(self, node: Op) -> None:
        super().built(node)
        self.sums[node.serial] = _sums(node)

    def sweeping(self, node: Op) -> None:
        if node.serial not in self.sums:
            return
        for i, (old, new) in enumerate(zip(self.sums[node.serial], _sums(node), strict=True)):
            if old != new:
                raise RuntimeError(f"input {i} of {describe(node)} was overwritten after it was used; "
                                   f"the op was built {self.where(node)}: give it a copy")


class _Both:
    detector = True

    def __init__(self, *watchers: Any) -> None:
        self.watchers = watchers

    def built(self, node: Op) -> None:
        for watcher in self.watchers:
            watcher.built(node)

    def swept(self, node: Value, source: Op, part: Any, total: Any) -> None:
        for watcher in self.watchers:
            watcher.swept(node, source, part, total)

    def sweeping(self, node: Op) -> None:
        for watcher in self.watchers:
            watcher.sweeping(node)


def user_line() -> tuple[str, int]:
    """Where the code outside this package and NumPy is now: file and line."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_OURS, _NUMPY, "<methods of ops ")):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _finite(x: Any) -> bool:
    return bool(np.isfinite(x._value if isinstance(x, Value) else x).all())


def _is_root(op: Op) -> bool:
    """Whether an op is a square root, or a power between 0 and 1, of a 0."""
    x, p = (*op.inputs, 0.5)[:2]
    x, p = (getattr(a, "_value", a) for a in (x, p))
    return type(op).__name__ in ("Sqrt", "Power") and bool(np.any((x == 0) & (p > 0) & (p < 1)))


def _first_bad(values: Any) -> str:
    values = np.asarray(values)
    bad = ~np.isfinite(values)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    at = f" at {first}" if first else ""
    return f"{bad.sum()} of {values.size} entries, first {values[first]}{at}"


def _sums(node: Op) -> list[bytes]:
    import hashlib

    return [hashlib.blake2b(np.ascontiguousarray(x._value if isinstance(x, Value) else x).tobytes()).digest()
            for x in node.inputs]
