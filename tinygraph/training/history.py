"""The history of a training: a column of numbers for the loss and for each metric, a row an epoch.

It prints itself as a table, in a notebook too, and draws itself with the extra `plots`.
"""

from __future__ import annotations

import html
import math
import os
from typing import Any

import numpy as np

from ..files import write_atomically
from ..pages import MAIN, chart, fragment, page

VALIDATION = "validation "  # how the columns of the other data are called: "validation loss"

SHOWN = 20  # rows of a longer table


class History:
    """What `fit` returns: `history["loss"]` and `history["validation accuracy"]` are lists, a number an epoch.

    columns: all of them, by name. monitor: the column that says which epoch is the best. stopped: why training ended
    before all epochs were done, in words; empty if it did not. seconds: how long each epoch took.
    """

    def __init__(self, monitor: str = "loss", greater_is_better: bool = False, min_delta: float = 0.0) -> None:
        self.columns: dict[str, list[float]] = {}
        self.monitor, self.greater_is_better, self.min_delta = monitor, greater_is_better, min_delta
        self.seconds: list[float] = []
        self.stopped = ""

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.columns:
            raise KeyError(f"the history has no column {name!r}, only {', '.join(self.columns) or 'none yet'}")
        return self.columns[name]

    def __len__(self) -> int:
        """The number of epochs."""
        return len(self.seconds)

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, whose monitored column was the best by more than min_delta; 0 before the first."""
        best, found = math.inf, 0
        for epoch, value in enumerate(self.columns.get(self.monitor, ()), start=1):
            value = -value if self.greater_is_better else value
            if value < best - self.min_delta or (not found and not math.isnan(value)):
                best, found = value, epoch
        return found

    def append(self, row: dict[str, float], seconds: float) -> None:
        """One more epoch."""
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)
        self.seconds.append(seconds)

    def rows(self) -> list[list[str]]:
        """The head, then a row an epoch, the best one marked; of many epochs some."""
        epochs: list[int] = list(range(1, len(self) + 1))
        if len(epochs) > SHOWN:
            chosen = {*np.linspace(1, len(self), SHOWN).round().astype(int).tolist(), self.best_epoch} - {0}
            epochs = sorted(chosen)
        rows = [["epoch", *self.columns, "seconds", ""]]
        for epoch in epochs:
            numbers = [f"{column[epoch - 1]:.4g}" for column in self.columns.values()]
            mark = "best" if epoch == self.best_epoch else ""
            rows.append([str(epoch), *numbers, f"{self.seconds[epoch - 1]:.3g}", mark])
        return rows

    def __str__(self) -> str:
        if not len(self):
            return "no epoch was completed" + (f"; {self.stopped}" if self.stopped else "")
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.rjust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines + [self.stopped] * bool(self.stopped))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Charts of loss and metrics and the table, for notebooks."""
        return fragment(self._html())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write charts and table as a page, to a file that must end in .html."""
        if not os.fspath(path).lower().endswith((".html", ".htm")):
            raise ValueError(f"a history is saved as .html, not as {os.fspath(path)!r}; `plot` draws pictures")
        write_atomically(path, page("Training", f"<main>\n<h1>Training</h1>\n{self._html()}\n</main>", MAIN).encode())

    def _html(self) -> str:
        if not len(self):
            return f"<p>{html.escape(str(self))}</p>"
        charts = []
        for name in self.panels:
            lines = {"training": self.columns[name]}
            if VALIDATION + name in self.columns:
                lines["validation"] = self.columns[VALIDATION + name]
            charts.append(chart(name.replace("_", " "), lines, self.best_epoch))
        head, *rows = self.rows()
        cells = "".join(f'<th scope="col" class="tg-number">{html.escape(name)}</th>' for name in head)
        lines_of_table = [f"<thead><tr>{cells}</tr></thead><tbody>"]
        for row in rows:
            style = ' style="font-weight: bold"' if row[-1] else ""
            cells = "".join(f'<td class="tg-number">{cell}</td>' for cell in row)
            lines_of_table.append(f"<tr{style}>{cells}</tr>")
        stopped = f"<p>{html.escape(self.stopped)}</p>" if self.stopped else ""
        return (f'<div class="tg-side">{"".join(charts)}</div>{stopped}'
                f'<div class="tg-wide"><table>{"".join(lines_of_table)}</tbody></table></div>')

    @property
    def panels(self) -> list[str]:
        """The columns that are drawn, each with its namesake of the validation."""
        return [name for name in self.columns if not name.startswith(VALIDATION)]

    def plot(self, to: Any) -> None:
        """Draw loss and metrics of training and validation, a panel each, with the best epoch marked.

        to: the path of a picture (.png, .svg or .pdf), or axes of matplotlib, as many as there are panels: an array of
            them or, for the loss alone, one.
        """
        try:
            from matplotlib import rc_context
            from matplotlib.figure import Figure
        except ModuleNotFoundError:
            raise ModuleNotFoundError('to draw a history needs matplotlib: pip install "tinygraph[plots]"') from None
        panels = self.panels
        if not panels:
            raise ValueError("there is nothing to draw: no epoch was completed")
        if not isinstance(to, str | os.PathLike):
            axes = np.ravel(to)
            for name, ax in zip(panels, axes, strict=False):
                self._paint(ax, name)
            return
        import io

        kind = os.path.splitext(to)[1][1:]
        columns = min(len(panels), 3)
        lines = -(-len(panels) // columns)
        picture = io.BytesIO()
        with rc_context(STYLE):
            figure = Figure(figsize=(0.9 + 4.3 * columns, 3.6 * lines), layout="constrained")
            for name, ax in zip(panels, figure.subplots(lines, columns, squeeze=False).flat, strict=False):
                self._paint(ax, name)
            for ax in figure.axes[len(panels):]:
                ax.remove()
            figure.savefig(picture, format=kind, dpi=150)
        write_atomically(to, picture.getvalue())

    def _paint(self, ax: Any, name: str) -> None:
        from matplotlib.ticker import MaxNLocator

        epochs = range(1, len(self) + 1)
        other = self.columns.get(VALIDATION + name)
        few = "o" if len(self) == 1 else None
        ax.plot(epochs, self.columns[name], color=DARK, marker=few, label="training")
        if other is not None:
            ax.plot(epochs, other, color=LIGHT, marker=few, label="validation")
        if best := self.best_epoch:
            y = (self.columns[name] if other is None else other)[best - 1]
            ax.axvline(best, color="#999999", linewidth=1, linestyle=":", zorder=0)
            ax.plot(best, y, "o", color="white", markeredgecolor="black", markersize=7,
                    label=f"best epoch, {best}: {y:.3g}")
        ax.set(title=name.replace("_", " "), xlabel="epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        ax.grid(True)
        ax.legend()


# Colours that stay apart for the colour-blind (Okabe and Ito) and in grey.
DARK, LIGHT = "#0072B2", "#E69F00"
STYLE: Any = {
    "font.size": 11, "axes.titlesize": 13, "axes.titlelocation": "left", "axes.titlepad": 10,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "grid.color": "#DDDDDD",
    "legend.frameon": False, "lines.linewidth": 2.0,
}
