"""The pictures of the command line, drawn with matplotlib (the extra `plots`)."""

import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import write_atomically
from ..training.history import DARK, STYLE
from .errors import UserError, new_file

__all__ = ["draw", "paint_confusion", "paint_predictions", "picture_file"]

KINDS = (".png", ".svg", ".pdf")


def picture_file(path: Path | None, force: bool) -> None:
    """Refuses, before anything is done, a picture that could not be drawn."""
    if path is None:
        return
    if path.suffix not in KINDS:
        raise UserError(f"{path}: the name of a picture ends in {', '.join(KINDS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError('matplotlib is not installed; get it with: pip install -e ".[plots]"')
    new_file(path, force)


def draw(path: Path, paint: Callable[..., None], *content: Any) -> None:
    """Write a picture with what `paint(figure, *content)` puts on it. The file appears whole or not at all."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    picture = io.BytesIO()
    with rc_context(STYLE):
        figure = Figure(layout="constrained")
        paint(figure, *content)
        figure.savefig(picture, format=path.suffix[1:], dpi=150, bbox_inches="tight", pad_inches=0.2)
    write_atomically(path, picture.getvalue())
    print(f"\npicture: {path}")


def paint_confusion(figure: Any, counts: NDArray[Any], names: Sequence[str], title: str) -> None:
    """A square of numbers, each row by its own: which share of a class is taken for which."""
    k = len(names)
    side = min(max(5.0, 0.45 * k + 2), 14)
    figure.set_size_inches(side + 0.5, side)
    axes = figure.subplots()
    with np.errstate(invalid="ignore"):
        shares = np.nan_to_num(counts / counts.sum(axis=1, keepdims=True))
    shades = shares**0.25  # the fourth root tells one mistake from none beside dozens of hits
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.15)
    if k <= 30:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shades[row, column] > 0.7 else "black"
                axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=10 if k <= 15 else 7)
    axes.set(title=title, xlabel="taken for", ylabel="is", xticks=range(k), yticks=range(k))
    axes.set_yticklabels(names)
    axes.set_xticklabels(names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(k - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(k - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2 if k <= 15 else 0.5)
    axes.tick_params(which="both", length=0)


def paint_predictions(figure: Any, y: NDArray[Any], predicted: NDArray[Any], title: str) -> None:
    """Predictions over targets, a panel each; on the line they agree."""
    n = y.shape[1]
    figure.set_size_inches(4.5 * n + 0.5, 4.5)
    for i, axes in enumerate(figure.subplots(1, n, squeeze=False)[0]):
        ends = [min(y[:, i].min(), predicted[:, i].min()), max(y[:, i].max(), predicted[:, i].max())]
        axes.plot(ends, ends, color="#999999", linewidth=1.2, linestyle="--")
        axes.plot(y[:, i], predicted[:, i], "o", color=DARK, markersize=5, alpha=0.6, markeredgecolor="none")
        axes.set(title=title if i == 0 else "", xlabel="target", ylabel="prediction", aspect="equal")
        axes.grid(visible=True)
