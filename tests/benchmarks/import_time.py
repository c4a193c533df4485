"""What `import tinygraph` adds to `import numpy`, in fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from .report import Bar, Report

ROOT = Path(__file__).parents[2]
ROUNDS = 60
PROGRAMS = {"nothing": "pass", "numpy": "import numpy", "numpy and tinygraph": "import numpy, tinygraph"}


def run() -> Report:
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as cache:
        # Bytecode is cached, as in any installation, whatever the settings of this machine, and not in the checkout.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(ROUNDS + 2):
            for name, program in PROGRAMS.items():
                start = perf_counter()
                subprocess.run([sys.executable, "-c", program], env=environment, cwd=ROOT, check=True)
                times[name].append(perf_counter() - start)
    times = {name: seconds[2:] for name, seconds in times.items()}  # the first two filled the caches
    added = median(b - a for a, b in zip(times["numpy"], times["numpy and tinygraph"], strict=True)) * 1e3
    rows = [[name, f"{median(seconds) * 1e3:.1f}", f"{min(seconds) * 1e3:.1f}"] for name, seconds in times.items()]
    method = (f"Wall time in milliseconds of an interpreter that imports this and ends, {ROUNDS} rounds in turns, "
              f"bytecode cached. Median of the rounds' differences: tinygraph adds {added:.1f} ms to numpy.")
    return Report("Import", method, ["imports", "ms, median", "ms, best"], rows,
                  [Bar("`import tinygraph` beyond `import numpy`", added, 50, "ms")], {"seconds": times})
