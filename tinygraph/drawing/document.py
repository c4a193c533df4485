"""What `tg.draw` returns: a picture that shows itself in notebooks and saves itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..files import write_atomically
from ..node import Node, Value
from .graph import Graph
from .record import Record
from .svg import Picture


def draw(*outputs: Node, names: Mapping[str, Any] | None = None, gradients: bool = False, fold: int = 8) -> Drawing:
    """The graph behind one or several nodes as a picture.

    outputs: nodes, at least one.
    names: what to call nodes and data, such as {"X": X, "t": t}: a name and a node, or the array that an op was given.
        A model may stand there too: its states are then called by their paths. What has a name of its own keeps it.
        Names such as `layers.0.W`, or W1 and b1, put the boxes of a layer into a frame.
    gradients: run backprop from the output and write at each node the 2-norm of its gradient. The output must then be
        a single node of one element.
    fold: runs of elementwise ops and pieces of graph that follow one another at least so many times are one box each,
        which says what it stands for; 0 folds nothing.

    The picture shows itself in a notebook. `.save("graph.svg")` or `.save("graph.dot")` writes a file, `.svg` and
    `.dot()` are its text. ValueError for a graph that is too large for any picture, TypeError for what is no node.

    >>> import numpy as np, tinygraph as tg
    >>> w = tg.Parameter(np.array([1.0, 2.0]), name="w")
    >>> tg.draw((w * w).sum())
    <drawing of Sum: 3 boxes>
    """
    if not outputs:
        raise TypeError("draw needs a node: draw(loss)")
    if fold < 0 or fold == 1:
        raise ValueError(f"fold={fold}: give 2 or more, or 0 to fold nothing")
    graph = Graph(outputs, names or {}, fold)
    notes = {}
    if gradients:
        if len(outputs) != 1:
            raise ValueError(f"gradients=True is about one output, but there are {len(outputs)}")
        record = Record(outputs[0])
        for shown in graph.boxes:
            last = shown.nodes[-1]
            if isinstance(last, Value) and last in record.grads and (not shown.folded or shown.kind == "op"):
                notes[shown] = f"‖grad‖ {record.norm(last):.3g}"
    return Drawing(Picture(graph, notes))


class Drawing:
    """What `draw` returns. svg: the picture as the text of an svg element."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    @cached_property
    def svg(self) -> str:
        return self.picture.svg()

    def dot(self) -> str:
        """The graph in the language of Graphviz."""
        return self.picture.dot()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file, as its suffix says: .svg or .dot."""
        suffix = os.path.splitext(path)[1].lower()
        if suffix not in (".svg", ".dot"):
            raise ValueError(f"a drawing is saved as .svg or .dot, not as {os.fspath(path)!r}")
        write_atomically(path, (self.svg if suffix == ".svg" else self.dot()).encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<drawing of {self.picture.title().removeprefix('Graph of ')}: {len(self.picture.graph.boxes)} boxes>"
