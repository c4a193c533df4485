"""`tg.compile`: the decorator, what is cached for which arguments, and how a call reads and updates states."""

from __future__ import annotations

import functools
import keyword
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..node import TRACE, Node, Parameter, State, Value, describe, next_serial, plain_array
from ..ops import Identity
from ..recording import parameter_names
from ..tape import as_value
from .exclusive import make_exclusive
from .outline import Outline
from .passes import explained, optimized
from .program import Program, frozen
from .trace import Trace

TARGETS = ("auto", "numpy", "native")


def compile(f: Callable[..., Any] | None = None, *, target: str = "auto", static: str | Sequence[str] = (),
            threads: int = 1, verify: bool = False, cache_size: int = 16) -> Any:
    """`f`, traced once for each signature of its arguments and run as a program: arrays in, arrays out.

    f: a function of arrays and numbers (nested lists, tuples and dicts of them, too) and of the parameters and states
        it uses. It may call `loss.backprop()` and assign to `.value`; the program updates the states last, in place.
    target: "numpy" (straight-line NumPy source), "native" (one call of C, needs a C compiler), or "auto": native if
        that can be built here, numpy otherwise.
    static: names of arguments that are part of the signature, and so plain Python values while tracing. bool, str and
        None always are; other Python numbers are inputs that do not force a dtype on arrays.
    threads: how many the native target may use.
    verify: run f eagerly beside each call and compare (slow): AssertionError if they differ.
    cache_size: how many signatures are kept; the one used least recently is dropped.

    The result has `.source`, `.program`, `.explain()` and `.export(path)`, of the call made last.

    >>> import numpy as np, tinygraph as tg
    >>> square = tg.compile(lambda x: x * x, target="numpy")
    >>> square(np.array([1.0, 2.0]))
    array([1., 4.])
    """
    if f is None:
        return functools.partial(compile, target=target, static=static, threads=threads, verify=verify,
                                 cache_size=cache_size)
    return Compiled(f, target, [static] if isinstance(static, str) else list(static), threads, verify, cache_size)


class Compiled:
    """What `tg.compile` returns: call it like the function. See `compile`."""

    def __init__(self, f: Callable[..., Any], target: str, static: Sequence[str], threads: int, verify: bool,
                 cache_size: int) -> None:
        if target not in TARGETS:
            raise ValueError(f"target={target!r}: choose one of {', '.join(map(repr, TARGETS))}")
        if not callable(f):
            raise TypeError(f"tg.compile takes a function, got {type(f).__name__}")
        if threads < 1 or cache_size < 1:
            raise ValueError(f"threads={threads} and cache_size={cache_size} must be at least 1")
        functools.update_wrapper(self, f)
        self.__name__: str = getattr(f, "__name__", type(f).__name__)
        self.f, self.target, self.threads, self.verify, self.cache_size = f, target, threads, verify, cache_size
        self.static = frozenset(static)
        self.entries: OrderedDict[Any, Entry] = OrderedDict()
        self.lock = threading.RLock()  # of the entries, which move at each look
        self.last: Entry | None = None
        self.short: tuple[int, Any] = (-1, None)  # the short way of an entry called, and for how many arguments it is
        self.names = parameter_names(f)
        if unknown := self.static - set(self.names):
            raise ValueError(f"static={sorted(unknown)}: the function has no argument of that name")

    def __call__(self, *args: Any, **options: Any) -> Any:
        arity, quick = self.short  # read at once: another thread may put another one there
        if len(args) == arity and not options and TRACE.get() is None:
            result = quick(*args)
            if result is not NotImplemented:
                return result
        leaves: list[Any] = []
        key = self._key(args, options, leaves)
        if any(isinstance(x, Node) for x in leaves) or TRACE.get() is not None:
            return self.f(*args, **options)  # part of somebody else's graph
        return self.entry(key, args, options)(args, options, leaves)

    def entry(self, key: Any, args: Any, options: Any) -> Entry:
        """What is kept for arguments like these: found, or made by tracing and building."""
        with self.lock:
            entry = self.entries.get(key)
        if entry is None or not entry.valid:
            entry = Entry(self, args, options)
        with self.lock:
            self.entries[key] = entry
            self.entries.move_to_end(key)
            if len(self.entries) > self.cache_size:
                self.entries.popitem(last=False)
        self.last, self.short = entry, entry.short
        return entry

    def trace(self, *args: Any, **options: Any) -> Program:
        """The program for these arguments as it was traced, before any pass; nothing is run or built."""
        return traced(self, args, options).program

    @property
    def program(self) -> Program:
        """The program of the last call, after all passes."""
        return self._last().program

    @property
    def source(self) -> str:
        """The source that ran in the last call: Python or C."""
        return self._last().executable.source

    def explain(self) -> str:
        """What each pass did to the program of the last call, and which arrays became constants of it: a table."""
        return self._last().explain()

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the source of the last call as a file of its own: a Python module that needs NumPy alone, or C."""
        self._last().executable.export(path)

    def _last(self) -> Entry:
        if self.last is None:
            raise RuntimeError(f"{self.__name__} has not been called yet: there is a program for each signature, made "
                               "at the first call with it")
        return self.last

    def _key(self, args: Any, options: Any, leaves: list[Any]) -> Any:
        named = [name in self.static for name in self.names[:len(args)]] if self.static else []
        named += [False] * (len(args) - len(named))
        spec = [_signature(x, leaves, fixed) for x, fixed in zip(args, named, strict=True)]
        spec += [(name, _signature(x, leaves, name in self.static)) for name, x in sorted(options.items())]
        return tuple(spec)


class Entry:
    """One signature of one function: its program, what was built from it, and the states it reads and updates."""

    def __init__(self, owner: Compiled, args: Any, options: Any) -> None:
        self.owner = owner
        found = traced(owner, args, options)
        self.states, self.updated, self.grads = found.states, found.updated, found.grads
        self.result, self.scope = found.result, found.scope
        outputs = [f"y{i}" for i in range(len(found.program.outputs))]
        self.rebuild = eval(f"lambda {', '.join(outputs)}: {found.result}", found.scope)  # of names given by number
        self.traced, self.program = found.program, optimized(found.program)
        self.unpacking = None if options or owner.static or owner.verify else unpacking(args)
        self.executable, quick = built(self, owner.target, owner.threads)
        self.short = (-1 if quick is None else len(args), quick)

    @property
    def valid(self) -> bool:
        """Whether the states still have the shapes and dtypes that they were traced with."""
        return all(state._version._value.shape == var.shape and state._version._value.dtype == var.dtype
                   for state, var in zip(self.states, self.program.states, strict=True))

    def __call__(self, args: Any, options: Any, leaves: list[Any]) -> Any:
        return self.verified(args, options, leaves) if self.owner.verify else self.run(leaves)

    def run(self, inputs: Sequence[Any]) -> Any:
        arrays = [np.asarray(x) if not var.weak else x for x, var in zip(inputs, self.program.inputs, strict=True)]
        for state in self.updated:
            make_exclusive(state)
        outputs = self.executable.run(arrays, [state._version._value for state in self.states])
        for parameter, i in self.grads:
            parameter._grad = None if i is None else outputs[i]
        return self.rebuild(*outputs)

    def verified(self, args: Any, options: Any, leaves: list[Any]) -> Any:
        """Run eagerly and compiled, from the same states, and compare all that either did."""
        before = {state: state._version for state in self.states}
        grads = {parameter: parameter._grad for parameter, _ in self.grads}
        try:
            result = self.owner.f(*args, **options)
        except BaseException:
            for state, version in before.items():
                state._version = version
            for parameter, grad in grads.items():
                parameter._grad = grad
            raise
        eager = [_values(result), *[state._version._value for state in self.states],
                 *[parameter._grad for parameter, _ in self.grads if parameter not in self.updated]]
        for state, version in before.items():
            state._version = version
        compiled_result = self.run(leaves)
        compiled = [_values(compiled_result), *[state._version._value for state in self.states],
                    *[parameter._grad for parameter, _ in self.grads if parameter not in self.updated]]
        names = ["the result", *[describe(state) for state in self.states],
                 *[f"the gradient of {describe(p)}" for p, _ in self.grads if p not in self.updated]]
        for name, a, b in zip(names, eager, compiled, strict=True):
            _compare(f"{self.owner.__name__}: {name}", a, b)
        return compiled_result

    def explain(self) -> str:
        sizes = [array.nbytes for array in self.program.constants.values()]
        return (f"{explained(self.traced)}\n{len(sizes)} constants, {sum(sizes)} bytes; "
                f"target {self.executable.name}: {self.executable.explain()}")


def traced(owner: Compiled, args: Any, options: Any) -> Traced:
    """What calling the function with these arguments comes to."""
    trace = Trace()
    arguments: list[Value] = []
    names: list[str] = []

    def enter(x: Any, name: str, fixed: bool) -> Any:
        if fixed or isinstance(x, State) or x is None or isinstance(x, bool | str):
            return x
        if isinstance(x, list | tuple):
            parts = [enter(part, f"{name}_{i}", False) for i, part in enumerate(x)]
            return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
        if isinstance(x, dict):
            return {key: enter(part, f"{name}_{key}", False) for key, part in x.items()}
        weak = type(x) in _NUMBERS
        array = np.zeros((), _NUMBERS[type(x)]) if weak else plain_array(x)
        node = Value.__new__(Value)
        node._value, node.inputs, node.needs_grad = Outline(array.shape, array.dtype, weak), (), False
        node.serial = next_serial()
        arguments.append(node)
        names.append(re.sub(r"\W", "_", name))
        return node

    given = [enter(x, name, name in owner.static)
             for x, name in zip(args, [*owner.names, *[f"x{i}" for i in range(len(args))]], strict=False)]
    keywords = {name: enter(x, name, name in owner.static) for name, x in sorted(options.items())}
    with trace.active():
        result = owner.f(*given, **keywords)
    outputs: list[Value] = []
    scope: dict[str, Any] = {}

    def constant(x: Any) -> str:
        scope[f"c{len(scope)}"] = x
        return f"c{len(scope) - 1}"

    def output(node: Value) -> int:
        if not any(node is known for known in outputs):
            outputs.append(node)
        return next(i for i, known in enumerate(outputs) if node is known)

    def leave(x: Any) -> str:
        """What a call returns in the place of `x`, as an expression in the outputs y0, y1, ..."""
        if isinstance(x, list | tuple):
            parts = ", ".join([leave(part) for part in x])
            kind = "*" if hasattr(x, "_fields") else ""
            return f"[{parts}]" if type(x) is list else f"{constant(type(x))}({kind}[{parts}])"
        if isinstance(x, dict):
            return "{" + ", ".join(f"{constant(key)}: {leave(part)}" for key, part in x.items()) + "}"
        if isinstance(x, Node):
            if isinstance(x, State) or as_value(x) in trace.returned:
                x = Identity(x)  # each result is an array of its own
            trace.returned.add(as_value(x))
            # A function of Python numbers returns such.
            scalar = numbers and not x.shape and not getattr(x._value, "weak", False)
            return f"y{output(as_value(x))}" + ".item()" * scalar
        if isinstance(x, np.ndarray):
            return f"{constant(plain_array(x))}.copy()"
        return constant(x)

    numbers = bool(arguments) and all(x._value.weak for x in arguments)
    with trace.active():
        text = leave(result)
    states = list(trace.states)
    updated = {state for state in states if trace.latest[state] is not trace.states[state]}
    grads = [(parameter, None if grad is None or parameter in updated else output(grad))
             for parameter, grad in trace.grads.items()]
    program = trace.program(_identifier(owner.__name__), arguments, names, outputs, states)
    return Traced(program, states, updated, grads, text, scope)


@dataclass(frozen=True)
class Traced:
    """A program, and what a call does around it.

    grads: for each parameter whose gradient it sets, the number of an output, or None. result: what a call returns, as
    an expression in the outputs y0, y1, ... and the names in `scope`.
    """

    program: Program
    states: list[State]
    updated: set[State]
    grads: list[tuple[Parameter, int | None]]
    result: str
    scope: dict[str, Any]


def unpacking(args: Sequence[Any]) -> Unpacking:
    """Code that takes arguments of this structure apart, and returns NotImplemented if they have another."""
    lines: list[str] = []
    leaves: list[str] = []
    scope: dict[str, Any] = {}

    def given(x: Any) -> str:
        scope[f"k{len(scope)}"] = x
        return f"k{len(scope) - 1}"

    def require(condition: str) -> None:
        lines.append(f"if not ({condition}): return NotImplemented")

    def visit(x: Any, name: str) -> None:
        parts = [f"{name}_{i}" for i in range(len(x))] if isinstance(x, list | tuple | dict) else []
        if isinstance(x, list | tuple):
            require(f"{name}.__class__ is {given(type(x))} and len({name}) == {len(x)}")
            lines.extend([f"{', '.join(parts)}, = {name}"] if parts else [])
        elif isinstance(x, dict):
            require(f"{name}.__class__ is dict and [*{name}] == {given(list(x))}")
            lines.extend(f"{part} = {name}[{given(key)}]" for part, key in zip(parts, x, strict=True))
        elif isinstance(x, State):
            require(f"{name} is {given(x)}")
        elif x is None or isinstance(x, bool | str):
            require(f"{name}.__class__ is {given(type(x))} and {name} == {given(x)}")
        else:
            leaves.append(name)
        for part, value in zip(parts, x.values() if isinstance(x, dict) else x if parts else (), strict=True):
            visit(value, part)

    names = [f"x{i}" for i in range(len(args))]
    for x, name in zip(args, names, strict=True):
        visit(x, name)
    return Unpacking(names, lines, leaves, scope)


class Unpacking(NamedTuple):
    """Names of the arguments, lines of code, and the names of the arrays and numbers in them."""

    names: list[str]
    lines: list[str]
    leaves: list[str]
    scope: dict[str, Any]


def built(entry: Entry, target: str, threads: int) -> tuple[Any, Callable[..., Any] | None]:
    """The program, printed by a target and ready to run, and the short way to call it, if there is one."""
    if target != "numpy":
        from . import native_target

        try:
            executable: Any = native_target.build(entry.program, threads)
            return executable, executable.quick(entry)
        except native_target.Unavailable:
            if target == "native":
                raise
    from . import numpy_target

    executable = numpy_target.build(entry.program)
    return executable, executable.quick(entry)


class _Same:
    """A key that is equal to itself alone: states compare entry by entry."""

    def __init__(self, state: State) -> None:
        self.state = state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.state is self.state

    def __hash__(self) -> int:
        return id(self.state)


def _signature(x: Any, leaves: list[Any], fixed: bool) -> Any:
    """What must be the same for two arguments to share a program. Appends the arrays and numbers in `x` to `leaves`."""
    if fixed:
        return "static", type(x), frozen(x)
    kind = type(x)
    if kind is np.ndarray:
        leaves.append(x)
        return x.shape, x.dtype
    if x is None or isinstance(x, bool | str):
        return kind, x
    if isinstance(x, State):
        return _Same(x)
    if isinstance(x, list | tuple):
        return kind, tuple([_signature(part, leaves, False) for part in x])
    if isinstance(x, dict):
        return kind, tuple([(key, _signature(part, leaves, False)) for key, part in x.items()])
    if isinstance(x, Node):
        leaves.append(x)
        return Node
    if kind in _NUMBERS:
        leaves.append(x)
        return kind
    if isinstance(x, np.generic | np.ndarray):
        leaves.append(plain_array(x))
        return x.shape, x.dtype
    raise TypeError(f"an argument of type {kind.__name__}: give arrays, numbers, parameters and states (nested lists, "
                    "tuples and dicts of them, too), or name the argument in static=")


_NUMBERS: dict[type, Any] = {int: np.int64, float: np.float64, complex: np.complex128}


def _values(result: Any) -> Any:
    if isinstance(result, list | tuple):
        return [_values(x) for x in result]
    if isinstance(result, dict):
        return [_values(x) for x in result.values()]
    return result.value if isinstance(result, Node) else result


# How far eager and compiled may be apart, relative to the largest entry.
TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-4, np.dtype(np.float16): 2e-2}


def _compare(name: str, eager: Any, compiled: Any) -> None:
    if isinstance(eager, list):
        for a, b in zip(eager, compiled, strict=True):
            _compare(name, a, b)
        return
    a, b = np.asarray(eager), np.asarray(compiled)
    if a.dtype.kind not in "fc":
        same = bool(np.all(a == b))
    else:
        tolerance = TOLERANCE.get(a.dtype, 1e-10)
        finite = np.abs(a[np.isfinite(a)])
        same = a.shape == b.shape and np.allclose(a, b, tolerance, tolerance * finite.max(initial=0), equal_nan=True)
    if not same:
        raise AssertionError(f"{name} differs: eager {a!r}, compiled {b!r}")


def _identifier(name: str) -> str:
    return name if name.isidentifier() and not keyword.iskeyword(name) else "program"
