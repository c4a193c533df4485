"""The table of `compiled` as bars, in a tall picture that a phone shows at full width. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from .compiled import NATIVE, NUMPY, best_peer, microseconds
from .timing import Times
from .workloads.table import ROWS

COLOURS = {NATIVE: "#d1495b", NUMPY: "#edae49", "tinygraph eager": "#f3cf92", "by hand": "#2e4057"}
PEER = "#b0b7c3"
LEFT, RIGHT = 0.1, 100  # of the axis, in times of the best peer; a longer bar is cut off


def draw(file: Path, title: str, times: dict[str, Times]) -> None:
    """A group of bars for each row, shortest first, as long as the contender's median beside the best peer's."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    count = sum(len(row) + 2 for row in times.values())
    figure, axes = plt.subplots(figsize=(6, 0.19 * count + 1), dpi=160)
    y = 0.0
    ticks: dict[float, str] = {}
    for number, row in times.items():
        peer = best_peer(row)
        if peer is None:
            continue
        best = median(row[peer])
        axes.text(LEFT * 1.04, y, f"{number}: {ROWS[int(number)].title}", fontsize=8, fontweight="bold", va="center",
                  backgroundcolor="white", zorder=3)
        top = y + 0.5
        for name in sorted(row, key=lambda name: median(row[name])):
            y += 1
            ticks[y] = name
            ratio = min(median(row[name]) / best, RIGHT)
            axes.barh(y, ratio - LEFT, left=LEFT, color=COLOURS.get(name, PEER), height=0.8)
            axes.text(ratio * 1.05, y, f"{microseconds(row[name])} µs", fontsize=7, va="center",
                      fontweight="bold" if name == NATIVE else "normal",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        axes.plot([ROWS[int(number)].limit] * 2, [top, y + 0.5], color="#2e4057", linewidth=1, linestyle=":")
        y += 2
    axes.axvline(1, color="#2e4057", linewidth=0.8, zorder=0)
    axes.set(xscale="log", xlim=(LEFT, RIGHT * 3.5), ylim=(y - 0.8, -1), xticks=[0.1, 1 / 3, 1, 3, 10, 30, 100],
             xlabel="times the best peer (dotted: what native code may take)")
    axes.set_xticklabels(["0.1", "⅓", "1", "3", "10", "30", "≥ 100"])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_yticks(list(ticks), labels=list(ticks.values()), fontsize=7)
    for label in axes.get_yticklabels():
        if label.get_text() == NATIVE:
            label.set(color=COLOURS[NATIVE], fontweight="bold")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labeltop=True, top=True)
    axes.spines[["right", "left"]].set_visible(False)
    axes.set_title(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
