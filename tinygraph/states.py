"""States: every `State` that something holds, found by walking attributes, lists, tuples and dicts.

There is no base class to extend and nothing to register: a network, an optimizer or a plain object of yours is looked
through as it is. This module knows nothing of layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from .node import Node, State
from .structure import is_structure

__all__ = ["Borrowed", "objects", "parts", "states"]


def states(thing: Any) -> dict[str, State]:
    """The parameters and other states that `thing` holds, each by its path, in the order in which they were set.

    thing: a state, a list, tuple or dict, or an object with attributes, nested in any way. A path says how to get
        there, such as `layers.0.W`; a state that is held twice is listed once, under its first path. Functions are not
        looked into, nor what wraps one, such as a compiled step.

    >>> import numpy as np, tinygraph as tg
    >>> class Scale:
    ...     def __init__(self):
    ...         self.factors = [tg.Parameter(np.ones(2)), tg.Parameter(np.zeros(3))]
    >>> list(states(Scale()))
    ['factors.0', 'factors.1']
    """
    found: dict[str, State] = {}
    for path, part in _walk(thing, "", {}):
        if isinstance(part, State):
            if path in found:
                raise ValueError(f"two states are both called {path}: let no key of a dict have a dot in it")
            found[path] = part
    return found


class Borrowed:
    """Holds what belongs to something else, such as the parameters that an optimizer moves: `states` passes it by."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing


def objects(thing: Any) -> dict[str, Any]:
    """`thing` and the objects with attributes in it, each by its path (its own is ""), outer ones first."""
    return {path: part for path, part in _walk(thing, "", {})
            if not (is_structure(part) or _is_closed(part)) and (hasattr(part, "__dict__") or _slots(part))}


def parts(thing: Any) -> list[tuple[Any, Any]]:
    """What `thing` holds directly, by name, key or number. A state, an array, a function or a class holds nothing."""
    if isinstance(thing, dict):
        return [*thing.items()]
    if is_structure(thing):
        return [*enumerate(thing)]
    return [] if _is_closed(thing) else [*_slots(thing), *getattr(thing, "__dict__", {}).items()]


def _slots(thing: Any) -> list[tuple[str, Any]]:
    """What is in the `__slots__` of an object, in the order in which its classes name them."""
    found = {}
    for cls in reversed(type(thing).__mro__):
        names = vars(cls).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            name = f"_{cls.__name__.lstrip('_')}{name}" if name[:2] == "__" != name[-2:] else name  # as Python does
            if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
                found[name] = getattr(thing, name)
    return [*found.items()]


def _is_closed(thing: Any) -> bool:
    return isinstance(thing, _CLOSED) or hasattr(thing, "__wrapped__")


_CLOSED = (Borrowed, Node, np.ufunc, type, FunctionType, MethodType, BuiltinFunctionType, ModuleType)


def _walk(thing: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    if id(thing) in seen:
        return
    seen[id(thing)] = thing  # and not only its number, which could be given to another thing
    yield path, thing
    for name, part in parts(thing):
        yield from _walk(part, f"{path}.{name}" if path else str(name), seen)
