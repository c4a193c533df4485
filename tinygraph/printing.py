"""Printing: a graph as text, one line a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .node import Value, describe
from .op import Op


def table(nodes: Sequence[Value]) -> str:
    """A line a node: its number, how it is made of others, its shape and dtype."""
    number = {node: f"%{i}" for i, node in enumerate(nodes)}
    lines = [(number[node], formula(node, number), str(node.shape), str(node.dtype)) for node in nodes]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def formula(node: Value, number: dict[Value, str]) -> str:
    """What a line of the tape says of a node: `MatMul(%0, %1)`, or its kind and name."""
    if not isinstance(node, Op):
        return describe(node).split(" (")[0]
    inputs = [number.get(x, "...") if isinstance(x, Value) else short(x) for x in node.inputs]
    return f"{type(node).__name__}({', '.join(inputs + options(node))})"


def options(op: Op) -> list[str]:
    """The options of an op that say something, as in a call."""
    return [f"{name}={short(value)}" for name, value in getattr(op, "options", {}).items()
            if value is not None and value is not False]


def short(x: Any) -> str:
    """A number as it is, of an array the shape."""
    if isinstance(x, np.ndarray) and x.ndim:
        return f"array{x.shape}"
    return repr(x.item() if isinstance(x, np.ndarray | np.generic) else x)
