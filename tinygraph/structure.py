"""Structures: nested lists, tuples, named tuples and dicts, taken apart into their leaves and put together again.

Whatever is none of these is a leaf. A leaf has a path, which is what one would write to get it, such as
`args[0]['w'][1]`. This module knows nothing of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

_STRUCTURES = (list, tuple, dict)


def is_structure(x: Any) -> bool:
    return isinstance(x, _STRUCTURES)


def leaves(x: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a structure, each with its path, which starts with `path`."""
    if is_structure(x):
        for key, part in parts(x):
            yield from leaves(part, path + key)
    else:
        yield path, x


def parts(x: Any) -> list[tuple[str, Any]]:
    """What a list, tuple or dict holds, each with what one would write after it to get it."""
    if isinstance(x, dict):
        return [(f"[{key!r}]", part) for key, part in x.items()]
    if names := getattr(x, "_fields", None):
        return [(f".{name}", part) for name, part in zip(names, x, strict=True)]
    return [(f"[{i}]", part) for i, part in enumerate(x)]


def filled(like: Any, values: Iterable[Any]) -> Any:
    """A structure like `like`, with `values` for its leaves."""
    remaining = iter(values)
    if not is_structure(like):
        return next(remaining)

    def fill(x: Any) -> Any:
        if not is_structure(x):
            return next(remaining)
        found = [fill(part) for _, part in parts(x)]
        if isinstance(x, dict):
            return dict(zip(x, found, strict=True))
        return type(x)(*found) if hasattr(x, "_fields") else type(x)(found)

    return fill(like)


def mapped(function: Callable[[Any], Any], x: Any) -> Any:
    """`function` of each leaf, in a structure like `x`."""
    return filled(x, [function(leaf) for _, leaf in leaves(x)]) if is_structure(x) else function(x)


def spread(x: Any, like: Any, path: str, what: str, whole: bool = False) -> list[Any]:
    """The leaves of `x`, one for each leaf of `like`, in their order. TypeError if `x` is not like it.

    path: what `x` is called, and `what` what `like` is. whole: a leaf of `x` may stand for a structure of `like`.
    """
    if not is_structure(x) and (whole or not is_structure(like)):
        return [x for _ in leaves(like)]
    if not (_kind(x) == _kind(like) and (x.keys() == like.keys() if isinstance(like, dict) else len(x) == len(like))):
        raise TypeError(f"{path} must be like {what}, {_named(like)}, but it is {_named(x)}")
    if isinstance(like, dict):
        x = {key: x[key] for key in like}
    return [leaf for (key, part), (_, other) in zip(parts(x), parts(like), strict=True)
            for leaf in spread(part, other, path + key, what + key, whole)]


def _kind(x: Any) -> Any:
    """Lists and tuples may stand for each other."""
    return dict if isinstance(x, dict) else list if is_structure(x) else None


def _named(x: Any) -> str:
    if isinstance(x, dict):
        return f"a dict with the keys {', '.join(map(repr, x)) or '(none)'}"
    return f"a {type(x).__name__}" + (f" of {len(x)}" if is_structure(x) else "")
