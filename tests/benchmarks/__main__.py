"""The command: runs the benchmarks one after the other and prints what they found.

Each runs in a process of its own, so that none measures the memory or the garbage of another, and so that the number of
threads is said before NumPy is imported, which reads it once.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from .report import Bar, Report, page, update

ROOT = Path(__file__).parents[2]
NAMES = ["small_step", "large_step", "chain", "memory", "import_time", "nan_rule"]
THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# What would make OpenBLAS run other kernels than it chooses by itself.
FORGOTTEN = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"which to run, of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measured number there")
    parser.add_argument("--update", type=Path, metavar="FILE", help="replace the tables of that Markdown page")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    reports = {name: run(name) for name in options.names or NAMES}
    text = page(list(reports.values()), THREADS)
    print(text)
    if options.update:
        update(options.update, text)
    if options.json:
        numbers = {name: report.numbers for name, report in reports.items()}
        options.json.write_text(json.dumps(numbers, indent=1), encoding="utf-8")


def run(name: str) -> Report:
    """The report of one benchmark, from a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in FORGOTTEN} | THREADS
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    start = perf_counter()
    answer = subprocess.run([sys.executable, "-m", "tests.benchmarks.runner", name], env=environment, cwd=ROOT,
                            check=True, stdout=subprocess.PIPE, text=True)
    print(f"{perf_counter() - start:.0f} s", file=sys.stderr)
    fields = json.loads(answer.stdout)
    return Report(**{**fields, "bars": [Bar(**bar) for bar in fields["bars"]]})


if __name__ == "__main__":
    main()
