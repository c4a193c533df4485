"""What a benchmark found, and how it is printed: as Markdown tables, which read well in a terminal too.

This module knows nothing of what is measured, and imports no peer: versions come from what is installed.
"""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

PEERS = {"torch": "PyTorch", "jax": "JAX", "pytensor": "PyTensor", "autograd": "HIPS autograd", "mygrad": "MyGrad",
         "sklearn": "scikit-learn"}


@dataclass
class Bar:
    """A promise and what was measured: `measured` must be at most `limit`."""

    promise: str
    measured: float
    limit: float
    unit: str = "×"

    @property
    def verdict(self) -> str:
        return "met" if self.measured <= self.limit else "**not met**"


@dataclass
class Report:
    """The result of one benchmark. `numbers` are the raw ones behind the table, for `--json`."""

    title: str
    method: str  # what was timed, and how: the paragraph above the table
    headings: list[str]
    rows: list[list[str]]
    bars: list[Bar] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    more: str = ""  # Markdown below the table

    def markdown(self) -> str:
        parts = [f"### {self.title}", self.method, table(self.headings, self.rows), *([self.more] if self.more else [])]
        return "\n\n".join(parts) + "\n"


def table(headings: list[str], rows: list[list[str]]) -> str:
    """An aligned Markdown table: the first column to the left, the others, numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    rule = ["-" * widths[0], *["-" * (width - 1) + ":" for width in widths[1:]]]
    lines = [[cell.ljust(width) if i == 0 else cell.rjust(width)
              for i, (cell, width) in enumerate(zip(row, widths, strict=True))] for row in [headings, rule, *rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(reports: list[Report], threads: dict[str, str]) -> str:
    """The whole result of one run: where it was made, which bars are met, then a table for each benchmark."""
    bars = [[bar.promise, f"{bar.measured:.2f} {bar.unit}", f"{bar.limit:g} {bar.unit}", bar.verdict]
            for report in reports for bar in report.bars]
    parts = [environment(threads)]
    if bars:
        parts.append(table(["promise", "measured", "at most", "verdict"], bars) + "\n")
    return "\n".join([*parts, *[report.markdown() for report in reports]])


def environment(threads: dict[str, str]) -> str:
    """Versions, processor, threads, and which peers are missing."""
    here = [name for name in PEERS if importlib.util.find_spec(name)]
    packages = [PEERS[name] if name == "sklearn" else name for name in here]
    versions = [f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", *packages)]
    said = ", ".join(f"{name}={value}" for name, value in threads.items())
    lines = [f"- Python {platform.python_version()}, {', '.join(versions)}; {blas()}",
             f"- {processor()}; {platform.system()} {platform.machine()}",
             f"- one thread ({said}), unless a title says more"]
    if missing := [PEERS[name] for name in PEERS if name not in here]:
        lines.append(f"- not installed, and so left out: {', '.join(missing)}")
    return "\n".join(lines) + "\n"


def blas() -> str:
    import numpy as np

    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"BLAS {found['name']} {found['version']}"


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else platform.processor() or "processor unknown"


def update(file: Path, name: str, text: str) -> None:
    """Put `text` between the marker comments that a Markdown file has for a benchmark; ValueError if it has none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = file.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{file} does not hold the comments {begin} and {end}")
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
