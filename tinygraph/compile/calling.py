"""Calling: the short way from Python to a native program.

For a step that takes two microseconds, asking each array for its address in Python would take longer than the step. So
beside the program stands a C function that is handed the Python objects as they are, in a list: it checks types, shapes
and layout against the signature it was printed for, checks that nobody else holds the arrays of the states that it
writes into, and collects the addresses. Anything unexpected sends the call the long way round, through
`Executable.run`.

It reads NumPy's array object as NumPy's own headers declare it to extension modules, and two slots of the engine's
nodes; `layout` looks both up in live objects, and where it does not find what it expects, there is no short way.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

import numpy as np

from ..node import State, Value

PRELUDE = """
typedef struct { uint32_t count; uint32_t more; void *type; } object_t;
typedef struct { object_t head; char *data; int nd; int64_t *dims; int64_t *strides; object_t *base; void *descr;
                 int flags; } array_t;
enum { CONTIGUOUS = 1, ALIGNED = 0x100 };
static int fits(const array_t *a, const void *type, const void *descr, int nd, const int64_t *dims)
{
    if (a->head.type != type || a->descr != descr || a->nd != nd) return 0;
    if ((a->flags & (CONTIGUOUS | ALIGNED)) != (CONTIGUOUS | ALIGNED)) return 0;
    for (int d = 0; d < nd; d++)
        if (a->dims[d] != dims[d]) return 0;
    return 1;
}
"""
MISFIT = -1
LONG = 200_000  # operations from which on a call lets other threads of Python run


@functools.cache
def layout() -> tuple[int, int] | None:
    """Where a State keeps its version and a Version its array, in bytes; None where there is no short way."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED") or sys.byteorder != "little":
        return None
    state = State(np.zeros((2, 3)))
    version, array = state._version, state._version._value

    class Array(ctypes.Structure):
        _fields_ = [("count", ctypes.c_uint64), ("type", ctypes.c_void_p), ("data", ctypes.c_void_p),
                    ("nd", ctypes.c_int), ("dims", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.c_void_p),
                    ("base", ctypes.c_void_p), ("descr", ctypes.c_void_p), ("flags", ctypes.c_int)]

    a = Array.from_address(id(array))
    if not (a.type == id(np.ndarray) and a.data == array.ctypes.data and a.nd == 2 and a.dims[1] == 3
            and a.descr == id(array.dtype) and not a.base and a.flags & 0x101 == 0x101):
        return None
    if ctypes.c_double.from_address(id(1.25) + 16).value != 1.25:
        return None
    objects = [version, array]  # one argument that holds all, which costs less to hand over than many
    items = ctypes.cast(ctypes.c_void_p.from_address(id(objects) + 24).value or 0, ctypes.POINTER(ctypes.c_void_p))
    if [items[0], items[1]] != [id(version), id(array)]:
        return None
    found = (_slot(state, State, version), _slot(version, Value, array))
    return found if None not in found else None  # type: ignore[return-value]


def _slot(holder: Any, kind: type, held: Any) -> int | None:
    words = (ctypes.c_uint64 * (type(holder).__basicsize__ // 8)).from_address(id(holder))
    places = [i for i, word in enumerate(words) if word == id(held)]
    return places[0] * 8 if len(places) == 1 else None


def entry_source(executable: Any, entry: Any) -> tuple[str, list[int]] | None:
    """The C function that takes Python objects, and the addresses that it is handed as a table (so that the source is
    the same in every process, and its library is found again); None if this signature has no short way."""
    program, found = executable.program, layout()
    if found is None or any(var.weak and var.dtype not in (np.float64, np.int64) for var in program.inputs):
        return None
    if any(var.weak for var in program.outputs):
        return None
    version_at, value_at = found
    table: list[int] = []

    def at(address: int) -> str:
        if address not in table:
            table.append(address)
        return f"at[{table.index(address)}]"

    updated = {var for var, _ in program.updates}
    lines = []
    for n, var in enumerate(program.inputs):
        lines.append(f"    char *x{n} = items[{n}];")
        if var.weak and var.dtype == np.int64:
            lines += [f"    if (((object_t *)x{n})->type != {at(id(int))}) return {MISFIT};",
                      f"    int64_t number{n} = ((int64_t (*)(void *)){at(_address('PyLong_AsLongLong'))})(x{n});",
                      f"    if (number{n} == -1) return {MISFIT};  /* or an error, which is raised */",
                      f"    p[{n}] = &number{n};"]
        elif var.weak:
            lines += [f"    if (((object_t *)x{n})->type != {at(id(float))}) return {MISFIT};",
                      f"    p[{n}] = x{n} + 16;"]
        else:
            lines += _checked(f"(array_t *)x{n}", var, n, at)
    start = len(program.inputs)
    for n, (var, state) in enumerate(zip(program.states, entry.states, strict=True), start):
        alone = ""
        if var in updated:
            alone = (f"    if (version{n}->count != 1 || ((array_t *)value{n})->head.count != 1 || "
                     f"((array_t *)value{n})->base) return {MISFIT};")
        lines += [f"    object_t *version{n} = *(object_t **)((char *){at(id(state))} + {version_at});",
                  f"    char *value{n} = *(char **)((char *)version{n} + {value_at});",
                  *_checked(f"(array_t *)value{n}", var, n, at), alone]
    start += len(program.states)
    for n, array in enumerate(executable.constants, start):
        lines.append(f"    p[{n}] = {at(array.ctypes.data)};")
    start += len(executable.constants)
    for n in range(len(program.outputs)):
        lines.append(f"    p[{start + n}] = ((array_t *)items[{len(program.inputs) + n}])->data;")
    name = executable.symbol
    total = start + len(program.outputs)
    if long_running(executable):
        run = [f"    void *thread = ((void *(*)(void)){at(_address('PyEval_SaveThread'))})();",
               f"    int code = {name}(p, w);",
               f"    ((void (*)(void *)){at(_address('PyEval_RestoreThread'))})(thread);", "    return code;"]
    else:
        run = [f"    static char own[{executable.workspace + 64}] __attribute__((aligned(64)));",
               f"    return {name}(p, own);"]
    text = "\n".join([PRELUDE, f"int {name}_call(char *list, void *const *at, char *w)", "{",
                      f"    void *p[{max(total, 1)}];", "    char **items = *(char ***)(list + 24);",
                      *filter(None, lines), *run, "}", ""])
    return text, table


def _checked(a: str, var: Any, n: int, at: Callable[[int], str]) -> list[str]:
    dims = ", ".join(map(str, var.shape)) or "0"
    return [f"    {{ static const int64_t dims[] = {{{dims}}};",
            f"      if (!fits({a}, {at(id(np.ndarray))}, {at(id(var.dtype))}, {var.ndim}, dims)) "
            f"return {MISFIT}; }}", f"    p[{n}] = ({a})->data;"]


def _address(name: str) -> int:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def long_running(executable: Any) -> bool:
    return executable.workspace > 1 << 20 or executable.work > LONG


def quick_call(executable: Any, entry: Any, function: Any, table: list[int]) -> Callable[..., Any]:
    """The Python function around it: makes the outputs, calls, and puts the results together."""
    program, given = executable.program, entry.unpacking
    xs, ys = given.leaves, [f"y{n}" for n in range(len(program.outputs))]
    function.argtypes = [ctypes.py_object, *[ctypes.c_void_p] * (1 + long_running(executable))]
    function.restype = ctypes.c_int
    addresses = (ctypes.c_void_p * max(len(table), 1))(*table)
    scope: dict[str, Any] = {**entry.scope, **given.scope, "call": function, "empty": np.empty, "fail": executable.fail,
                             "states": entry.states, "borrow": executable.borrow, "give": executable.workspaces.append,
                             "at": ctypes.addressof(addresses), "addresses": addresses}
    lines = [*given.lines]
    for n, var in enumerate(program.outputs):
        scope[f"shape{n}"], scope[f"dtype{n}"] = var.shape, var.dtype
        if var.nbytes >= 1 << 15:
            scope[f"make{n}"] = Recycled(var.shape, var.dtype).take
            lines.append(f"y{n} = make{n}()")
        else:
            lines.append(f"y{n} = empty(shape{n}, dtype{n})")
    if long_running(executable):
        lines += ["w = borrow()", "try:", f"    code = call([{', '.join([*xs, *ys])}], at, w[1])", "finally:",
                  "    give(w)"]
    else:
        lines.append(f"code = call([{', '.join([*xs, *ys])}], at)")
    lines += ["if code:", f"    if code == {MISFIT}: return NotImplemented",
              f"    fail(code, [{', '.join(xs)}], [state._version._value for state in states])"]
    for n, (parameter, output) in enumerate(entry.grads):
        scope[f"p{n}"] = parameter
        lines.append(f"p{n}._grad = {'None' if output is None else f'y{output}'}")
    source = "\n    ".join([f"def quick({', '.join(given.names)}):", *lines, f"return {entry.result}"])
    exec(compile(source, f"<call of {program.name}>", "exec"), scope)
    quick: Callable[..., Any] = scope["quick"]
    return quick


class Recycled:
    """Arrays for large outputs: one that the caller has let go of is handed out again, its memory warm."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        self.arrays: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        for array in self.arrays:
            if sys.getrefcount(array) == _RECYCLABLE and array.shape == self.shape and array.dtype is self.dtype:
                array.flags.writeable = True
                return array
        array = np.empty(self.shape, self.dtype)
        if len(self.arrays) < 3:
            self.arrays.append(array)
        return array


def _count() -> int:
    for array in [np.empty(0)]:
        return sys.getrefcount(array)
    raise AssertionError


_RECYCLABLE = _count()  # of an array that a list and one local variable hold
