"""Benchmarks: speed and memory beside the network derived by hand and beside other engines. `python -m tests.benchmarks`

Measurements, not tests: nothing here fails because something was slow. One module measures one thing and has a function
`run() -> Report`; `timing` takes turns and compares, `report` prints, `__main__` runs each benchmark in a process of
its own.
"""
