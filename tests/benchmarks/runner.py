"""Runs one benchmark in this process and prints its report as JSON: what `__main__` starts for each of them.

Its arguments are the name of the benchmark and the options of its `run`, as JSON.
"""

import contextlib
import importlib
import json
import sys
from dataclasses import asdict

if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # whatever a peer prints is not part of the report
        report = importlib.import_module(f"tests.benchmarks.{sys.argv[1]}").run(**json.loads(sys.argv[2]))
    print(json.dumps(asdict(report)))
