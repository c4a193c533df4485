"""Modules: all ops of a module at once, from a test file or from the shell."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..op import Op
from .checks import check_gradients, check_op
from .examples import specifications, values_of
from .report import Report

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def ops_in(module: ModuleType | str) -> list[type[Op]]:
    """The op classes that a module defines, in the order of their names."""
    module = loaded(module) if isinstance(module, str) else module
    found = [x for x in vars(module).values() if isinstance(x, type) and issubclass(x, Op)
             and x.__module__ == module.__name__ and hasattr(x, "forward")]
    return sorted(dict.fromkeys(found), key=lambda op: op.__name__)


def ops_of(module: ModuleType | str, **examples: Any) -> Callable[..., None]:
    """A test of each op that a module defines, for pytest: `test_ops = ops_of("my_package.my_ops")` is all it takes.

    examples: by the name of an op what `check_op` needs beyond its class: a tuple of inputs, a dictionary of options,
    or both: `(x, y, {"axis": 0})`.
    """
    import pytest

    @pytest.mark.parametrize("op", [pytest.param(op, id=op.__name__) for op in ops_in(module)])
    def test_ops(op: type[Op]) -> None:
        __tracebackhide__ = True
        given = examples.get(op.__name__, ())
        given = given if isinstance(given, tuple) else (given,)
        options = given[-1] if given and isinstance(given[-1], dict) else {}
        inputs = given[:-1] if given and isinstance(given[-1], dict) else given
        check_op(op, *inputs, **options).raise_if_failed()

    return test_ops


def loaded(name: str) -> ModuleType:
    """A module by its dotted name or the path of its file; ModuleNotFoundError, FileNotFoundError if there is none."""
    if not name.endswith(".py"):
        sys.path.insert(0, "")
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove("")
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def reports(target: str, inputs: str | None = None, gradient: str | None = None, order: int = 1) -> list[Report]:
    """The reports of `module:function`, `module:Op`, or of all ops of `module`.

    inputs, gradient: names in the module: of a list of inputs, and of a backward derived by hand. Without inputs some
    are looked for that the function accepts. AttributeError or TypeError, with a sentence, if that leads nowhere.
    """
    name, _, attribute = target.partition(":")
    module = loaded(name)
    if not attribute:
        if not (ops := ops_in(module)):
            raise TypeError(f"{name} defines no op: say which function to check, {name}:function")
        return [check_op(op) for op in ops]
    found, given = _named(module, attribute), _named(module, inputs) if inputs else ()
    xs = given() if callable(given) else given
    xs = list(xs) if isinstance(xs, list | tuple) else [xs]
    if isinstance(found, type) and issubclass(found, Op):
        return [check_op(found, *xs)]
    return [check_gradients(found, *(xs or _accepted(found)), order=order,
                            gradient=_named(module, gradient) if gradient else None)]


def _named(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        raise AttributeError(f"{module.__name__} has no {name}") from None


def _accepted(function: Callable[..., Any]) -> list[Any]:
    """Inputs that a function accepts, the plainest first."""
    count = sum(p.kind in POSITIONAL and p.default is Parameter.empty for p in signature(function).parameters.values())
    for values in map(values_of, specifications(max(count, 1))):
        with np.errstate(all="ignore"):
            try:
                value = np.asarray(getattr(y := function(*values), "value", y))
            except Exception:  # these it does not accept
                continue
        if value.size and value.dtype.kind == "f" and np.isfinite(value).all():
            return values
    raise TypeError(f"no inputs were found that {function.__name__} accepts: give some with --inputs")
