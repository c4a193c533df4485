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
from typing import Any

from .report import Bar, Report, page, update

ROOT = Path(__file__).parents[2]
NAMES = ["small_step", "large_step", "eager", "chain", "memory", "import_time", "nan_rule", "checkers", "optimizers",
         "results", "compiled"]
THREADED = ("results", "compiled")  # which run once for each number of threads
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# What would make OpenBLAS run other kernels than it chooses by itself.
FORGOTTEN = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"which to run, of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measured number there")
    parser.add_argument("--update", type=Path, metavar="FILE", help="replace their tables on that Markdown page")
    parser.add_argument("--threads", type=numbers, default=[1], metavar="N,...",
                        help="`results` and `compiled` run once for each (default: 1)")
    group = parser.add_argument_group("options of `compiled`")
    group.add_argument("--rows", type=numbers, metavar="N,...", help="the rows of its table (default: all)")
    group.add_argument("--only", type=words, metavar="NAME,...", help="the contenders, by the names in its headings")
    group.add_argument("--seconds", type=float, default=20, help="how long a row's contenders take turns (20)")
    group.add_argument("--warm", action="store_true", help="keep caches of compiled code from run to run")
    group.add_argument("--plot", type=Path, metavar="FILE",
                       help="draw its table as bars, in FILE with the number of threads added to its name")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    if options.plot and options.names and "compiled" not in options.names:
        parser.error("--plot draws what `compiled` measures")
    compiled = {key: getattr(options, key) for key in ("rows", "only", "seconds", "warm")}
    reports = {}
    for name in options.names or NAMES:
        if name in THREADED:
            for threads in options.threads:
                given = {"threads": threads, **(compiled if name == "compiled" else {})}
                reports[f"{name} {threads}"] = run(name, threads, given)
        else:
            reports[name] = run(name)
    print(page(list(reports.values()), dict.fromkeys(THREADS, "1")))
    if options.update:
        for name, report in reports.items():
            update(options.update, name, page([report], dict.fromkeys(THREADS, "1")))
    if options.json:
        measured = {name: report.numbers for name, report in reports.items()}
        options.json.write_text(json.dumps(measured, indent=1), encoding="utf-8")
    if options.plot:
        from .plot import draw

        for threads in options.threads:
            report = reports[f"compiled {threads}"]
            file = options.plot.with_stem(f"{options.plot.stem}-{threads}")
            draw(file, report.title, {row: found["seconds"] for row, found in report.numbers.items()})


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def run(name: str, threads: int = 1, options: dict[str, Any] | None = None) -> Report:
    """The report of one benchmark, from a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in FORGOTTEN}
    environment |= dict.fromkeys(THREADS, str(threads))
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    start = perf_counter()
    answer = subprocess.run([sys.executable, "-m", "tests.benchmarks.runner", name, json.dumps(options or {})],
                            env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    print(f"{perf_counter() - start:.0f} s", file=sys.stderr)
    fields = json.loads(answer.stdout)
    return Report(**{**fields, "bars": [Bar(**bar) for bar in fields["bars"]]})


if __name__ == "__main__":
    main()
