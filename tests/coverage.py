"""docs/coverage.md, written from what nodes know: `python -m tests.coverage`.

The functions are those of the table `node.TWINS`, the ops those of `tinygraph.ops`. What is said of derivatives comes
from the registries that the tests are generated from, so that the page says what was tested.
"""

from __future__ import annotations

import importlib
import operator
import pkgutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special

import tinygraph as tg
import tinygraph.scipy
from tinygraph import ops
from tinygraph.batching import RULES
from tinygraph.compile import native_target
from tinygraph.compile.passes import optimized
from tinygraph.node import TWINS, SparseOperand, twin_of

from .cases import CASES, RANDOM
from .functions import CALLS

PAGE = Path(__file__).parent.parent / "docs" / "coverage.md"
MODULES = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft, "scipy.special": scipy.special,
           "scipy.linalg": scipy.linalg}
NOT_FUNCTIONS = {operator.getitem, operator.setitem, tg.Node.backprop, np.ndarray.astype, np.ufunc,
                 SparseOperand}  # operators and methods

HEAD = """# What is covered

The functions of NumPy and SciPy that work on nodes, and the ops that they are made of. Whatever is not here raises
`NotImplementedError` on a node, and says how to add it ([Own ops](own_ops.md)); nothing passes without a gradient
unnoticed. Operators, indexing, the methods and attributes of arrays, and `x.at[...]` are no functions, and so are not
in these tables.

This page is written by `python -m tests.coverage`; a test fails if it is out of date.
"""
NOTES = """- **as**: the op that the function makes; or *others*, if it is written in terms of other functions.
- **derivatives**: *any order* (compared with differences of the function to second order in the tests), *zero* (the
  function is constant by pieces: its result is a node without gradient), or *an answer* (the result does not depend on
  the values of the node, or is a plain array or number).
"""
OPS = """## Ops

- **batched**: how the rows of a Jacobian, or the entries of a `vmap`, go through it: by a *rule*, by its *expansion*
  into other ops, or *one by one*.
- **native**: whether `tg.compile` has C for it. Otherwise a program that has it runs as NumPy
  source.
"""


def page() -> str:
    """The whole page."""
    importlib.import_module("tinygraph.ops")
    twin_of(None)  # has the families that are imported late imported
    namesakes = [importlib.import_module(f"tinygraph.scipy.{found.name}")
                 for found in pkgutil.iter_modules(tinygraph.scipy.__path__)]
    groups = functions()
    classes = sorted((getattr(ops, name) for name in ops.__all__), key=lambda op: op.__name__)
    covered = sum(map(len, groups.values()))
    own = {module.__name__: public(module) for module in namesakes}
    more = sum(map(len, own.values()))
    counts = (f"**{covered} functions** of NumPy and SciPy work on nodes, {more} namesakes are in `tinygraph.scipy`, "
              f"and there are **{len(classes)} ops**. The tests are made from {len(CALLS)} calls of "
              f"these functions and {len(CASES)} of these ops, a dozen checks for each, and from random cases of "
              f"{len(RANDOM)} ops.\n")
    parts = [HEAD, counts, NOTES]
    for module, found in groups.items():
        rows = [[", ".join(f"`{name}`" for name in names), kind(function), derivatives(function)]
                for names, function in found]
        parts.append(f"## {module}\n\n" + table(["function", "as", "derivatives"], rows))
    for module, names in own.items():
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        parts.append(f"## {module}\n\nThese take arrays and nodes alike: {listed}.\n")
    orders = {True: "any order", False: "zero"}
    rows = [[f"`{op.__name__}`", first_line(op), orders[op.differentiable], batched(op), native(op)] for op in classes]
    parts.append(OPS + "\n" + table(["op", "what it computes; its rule", "derivatives", "batched", "native"], rows))
    return "\n".join(parts)


def public(module: Any) -> list[str]:
    """What is in a module that is not SciPy's own."""
    scipys = importlib.import_module(module.__name__.removeprefix("tinygraph."))
    return [name for name in getattr(module, "__all__", vars(module))
            if not name.startswith("_") and getattr(module, name) is not getattr(scipys, name, None)
            and (hasattr(module, "__all__") or getattr(module, name).__class__.__module__.startswith("tinygraph.")
                 or getattr(getattr(module, name), "__module__", None) == module.__name__)]


def functions() -> dict[str, list[tuple[list[str], Any]]]:
    """By module: each function with all its names there."""
    names: dict[Any, list[str]] = defaultdict(list)
    for prefix, module in MODULES.items():
        for name in sorted(set(dir(module)) & set(getattr(module, "__all__", dir(module)))):
            value = getattr(module, name)
            if callable(value):
                names[value].append(f"{prefix}.{name}")
    found: dict[str, list[tuple[list[str], Any]]] = {module: [] for module in MODULES}
    for function, twin in TWINS.items():
        if function not in NOT_FUNCTIONS and twin.__module__.startswith("tinygraph."):  # and not of somebody's own op
            known = names.get(function) or [method(function)]
            home = known[0].rpartition(".")[0]
            found[home if home in MODULES else "np"].append((known, function))
    return {module: sorted(rows, key=lambda row: row[0]) for module, rows in found.items() if rows}


def method(function: Any) -> str:
    """np.add.reduce and the like."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"np.{owner.__name__}.{function.__name__}"
    return f"{getattr(function, '__module__', 'scipy.special')}.{function.__name__}".replace("numpy", "np", 1)


def kind(function: Any) -> str:
    twin = TWINS[function]
    name = twin.__name__ if isinstance(twin, type) else twin.__qualname__
    return f"`{name}`" if name in ops.__all__ else "others" if derivatives(function) != "an answer" else ""


def derivatives(function: Any) -> str:
    twin = TWINS[function]
    op = twin if isinstance(twin, type) else getattr(ops, getattr(twin, "__qualname__", ""), None)
    if isinstance(op, type):
        return "any order" if op.differentiable else "zero"
    calls = [call for call in CALLS if call.function == function]
    if any(call.order and not call.flat for call in calls):
        return "any order"
    return "zero" if any(call.order for call in calls) else "an answer"


def first_line(op: type[tg.Op]) -> str:
    if op.__doc__:
        return op.__doc__.strip().splitlines()[0].replace("|", r"\|")
    return f"`np.{op.forward.__name__}`" if isinstance(op.forward, np.ufunc) else ""


def batched(op: type[tg.Op]) -> str:
    if op in RULES or op.batch is not None or issubclass(op, tg.Elementwise):
        return "rule"
    return "expansion" if op.traceable else "one by one"


def native(op: type[tg.Op]) -> str:
    """Whether the first case of the op can be scheduled for C."""
    for case in CASES:
        if case.op is op:
            program = tg.compile(lambda *inputs, case=case: case.op(*inputs, **case.options)).trace(*case.arrays())
            try:
                native_target.Schedule(optimized(program))
            except native_target.Unavailable:
                return ""
            return "yes"
    return ""


def table(headings: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def available(name: str) -> bool:
    """Whether this NumPy and this SciPy have a function of that name."""
    value: Any = {"np": np, "scipy": scipy}.get(name.partition(".")[0])
    for part in name.split(".")[1:]:
        value = getattr(value, part, None)
    return value is not None


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
