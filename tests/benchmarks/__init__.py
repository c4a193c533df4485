"""Benchmarks: speed and memory beside the network derived by hand and beside other engines.

Run them with `python -m tests.benchmarks`. They are measurements, not tests: nothing here fails because something was
slow. A module that measures has a function `run() -> Report`; `timing` takes turns and compares, `networks` holds the
contenders of the training steps, `report` prints, and `__main__` runs each benchmark in a process of its own.
"""
