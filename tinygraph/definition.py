"""Definition: what happens once, when an op class is defined.

Its `forward` and `backward` are checked against each other, it is registered as the counterpart of a NumPy function,
and its constructor and its part in a sweep are written out for the number of inputs it has. This module knows how
classes are made and which helpers their methods call; the contract itself is in `op.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from heapq import heappush
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from .node import TRACE, TWINS, WATCHER, Node, SparseOperand, State, Value, describe, next_serial, plain_array


def read_definition(cls: type[Any]) -> None:
    """Check `forward` and `backward` against each other, and write the constructor and `push` for their shape."""
    forward, backward = vars(cls)["forward"], None if cls.backward is Value.backward else cls.backward
    name, own = cls.__name__, isinstance(forward, FunctionType)
    inputs, options, variadic = _signature(cls, forward) if own else ([], {}, False)
    if isinstance(forward, np.ufunc):
        inputs = [f"x{i}" for i in range(forward.nin)]
    if backward is not None:
        arguments, rule_options, rule_variadic = _signature(cls, backward)
        if len(arguments) < 2 + (not variadic):
            raise TypeError(f"{name}.backward must take (self, grad, output, *inputs), got {arguments}")
        seen = arguments[2:]
        if not own and not isinstance(forward, np.ufunc):
            inputs, options = seen, rule_options
        if rule_variadic != variadic or len(seen) < len(inputs) or (own and seen[: len(inputs)] != inputs):
            raise TypeError(f"{name}.backward and forward disagree on inputs: {seen} and {inputs}")
        if rule_options != options:
            raise TypeError(f"{name}.backward and forward disagree on options: {rule_options} and {options}")
        cls.n_kept = len(seen) - len(inputs)
        if cls.n_kept and (variadic or not cls.traceable):
            raise TypeError(f"{name} cannot keep {seen[len(inputs):]}: a primitive, or an op of any number of inputs, "
                            "keeps nothing")
        cls.backward = _guarded(backward)
    elif cls.differentiable and not cls.traceable:
        raise TypeError(f"{name} is a primitive and needs a backward")
    if not (inputs or variadic):
        raise TypeError(f"{name} has no inputs: name them in forward, or in backward if forward is a NumPy function")
    cls.rule = backward
    cls.plain = backward is not None and not cls.adds_in_place and not variadic
    cls.calm = cls.plain and not cls.selecting
    if "expand" not in vars(cls):
        cls.expand = forward
    cls.n_inputs = None if variadic else len(inputs)
    cls.option_names = frozenset(options)
    cls.signature = (*inputs,), options
    write_methods(cls, 1 if variadic else len(inputs), bool(options), variadic)


def _signature(cls: type[Any], function: Any) -> tuple[list[str], dict[str, Any], bool]:
    """Positional names after self, keyword-only names with their defaults, and whether there is a *args."""
    code, n, k = function.__code__, function.__code__.co_argcount, function.__code__.co_kwonlyargcount
    if function.__defaults__ or code.co_flags & _VARKEYWORDS:
        raise TypeError(f"{cls.__name__}.{function.__name__}: inputs are positional without defaults, and options are "
                        "named one by one after a *")
    defaults = function.__kwdefaults__ or {}
    return (list(code.co_varnames[1:n]), {name: defaults.get(name, ...) for name in code.co_varnames[n:n + k]},
            bool(code.co_flags & _VARARGS))


_VARARGS, _VARKEYWORDS = 4, 8  # as in the inspect module, which takes as long to import as this whole package


class OpSignature:
    """What `inspect.signature` and `help` say of an op class: the inputs and options of its forward."""

    def __get__(self, op: Any, cls: type[Any]) -> Any:
        from inspect import Parameter, Signature

        if op is not None or not hasattr(cls, "signature"):
            raise AttributeError("__signature__")
        inputs, options = cls.signature
        parameters = [Parameter(name, Parameter.POSITIONAL_ONLY) for name in inputs]
        if cls.n_inputs is None:
            parameters = [Parameter("inputs", Parameter.VAR_POSITIONAL)]
        return Signature(parameters + [Parameter(name, Parameter.KEYWORD_ONLY,
                                                 default=Parameter.empty if default is ... else default)
                                       for name, default in options.items()])


def numpy_call(cls: type[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(array, axis, ...)`, called as NumPy's own, as the op `cls(array, axis=axis, ...)`."""
    count = cls.n_inputs or 0

    def call(*args: Any, **options: Any) -> Any:
        if len(args) == count and options.keys() <= cls.option_names:
            return cls(*args, **options)
        parameters = _parameters(function)
        names = list(parameters)
        given = {**dict(zip(names, args, strict=False)), **options}
        inputs = [given.pop(name) for name in names[:count]]
        extra = {name: value for name, value in given.items() if name not in cls.option_names}
        if extra.pop("out", None) is not None:
            raise TypeError(f"np.{function.__name__} cannot write a node into an array: leave out= away")
        for name, value in extra.items():
            if name not in parameters or value is not parameters[name].default:
                raise NotImplementedError(f"np.{function.__name__} on nodes takes no {name}=")
        return cls(*inputs, **{name: given[name] for name in given.keys() - extra.keys() - {"out"}})

    call.__module__, call.__qualname__ = cls.__module__, cls.__qualname__
    return call


def counterpart(*functions: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorates what these functions of NumPy are on nodes, written with functions that nodes know already.

    It names the arguments that it takes as NumPy does. Others must be left at their defaults: NotImplementedError if
    not, TypeError if that is `out`.
    """
    def register(f: Any) -> Any:
        code = f.__code__
        known = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
        for function in functions:  # one with ** looks at its arguments itself
            TWINS[function] = f if code.co_flags & _VARKEYWORDS else _call(f, frozenset(known), function)
        return f

    return register


def _call(f: Any, known: frozenset[str], function: Callable[..., Any]) -> Callable[..., Any]:
    direct = -1  # so many positional arguments mean the same to both

    def call(*args: Any, **options: Any) -> Any:
        nonlocal direct
        if direct < 0:
            direct = _agreement(f, function)
        if len(args) <= direct and options.keys() <= known:
            return f(*args, **options)
        parameters = _parameters(function)
        names = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if not names or any(p.kind == p.VAR_POSITIONAL for p in parameters.values()):  # any number of arrays
            return f(*args, **_taken(function, parameters, options, known))
        if len(args) > len(names):
            raise TypeError(f"np.{function.__name__} takes {len(names)} arguments, got {len(args)}")
        given = {**dict(zip(names, args, strict=False)), **options}
        return f(**_taken(function, parameters, given, known))

    call.__module__, call.__qualname__, call.__doc__ = f.__module__, f.__qualname__, f.__doc__
    return call


def _agreement(f: Any, function: Callable[..., Any]) -> int:
    """The number of arguments that `f` and `function` may both be given by position, `out` not among them."""
    from inspect import signature

    own, known = [*signature(f).parameters.values()], [*_parameters(function).values()]
    count = 0
    for mine, other in zip(own, known or own, strict=False):
        kinds = {mine.kind, other.kind}
        if mine.name == "out" or mine.name != other.name or mine.KEYWORD_ONLY in kinds:
            break
        if mine.VAR_POSITIONAL in kinds:  # any number of arrays
            return 1000
        count += 1
    return count


def _taken(function: Callable[..., Any], parameters: Any, given: dict[str, Any], known: frozenset[str]) -> Any:
    """The arguments without those that the counterpart does not know and that say nothing."""
    if given.get("out") is not None:
        raise TypeError(f"np.{function.__name__} cannot write a node into an array: leave out= away")
    for name in [name for name in given if name not in known]:
        value = given.pop(name)
        if name not in parameters or value is not parameters[name].default:
            raise NotImplementedError(f"np.{function.__name__} on nodes takes no {name}=")
    return given


@cache
def _parameters(function: Callable[..., Any]) -> Any:
    from inspect import signature

    try:
        return signature(function).parameters
    except ValueError:  # a function in C, before NumPy 2.4
        return {}


def _guarded(rule: Callable[..., Any]) -> Callable[..., Any]:
    """`backward` as users see it: without a gradient and an output it is somebody's loss.backward()."""
    def backward(self: Any, *args: Any, **options: Any) -> Any:
        return rule(self, *args, **options) if len(args) > 1 else Value.backward(self)
    backward.__doc__ = rule.__doc__
    return backward


# `Op.__init__` written out for the inputs of one class, and `push`, which does what `tape.sweep` does with the result
# of `Op.pull` in the plain case on arrays. A million small ops spend their time in these two.
_METHODS = """
def __init__(self, {nodes} {more} {options}):
    {general}
{resolve}
    try:
        value = {value}
        {check}
    except Exception as error:
        value = recovered(error, self, ({nodes}), {given})
    self.inputs = ({nodes})
    self._value = value
    self.needs_grad = {needs}
    self.serial = next_serial()
    {keep}
    if (watcher := WATCHER.get()) is not None: watcher.built(self)

def push(self, grad, cotangents, reached, add):
    {nodes} = self.inputs
{values}
    parts = rule(self, grad, self._value, {arguments})
    if parts.__class__ is not tuple: parts = parts,
    if len(parts) != {count}: raise wrong_count(self, parts)
{contributions}
"""
_RESOLVE = """
    if isinstance(x#, Value): v#, n# = x#._value, x#.needs_grad
    else: x#, v#, n# = plain_input(x#)"""
_VALUE = """
    v# = x#._value if isinstance(x#, Value) else x#"""
_CONTRIBUTION = """
    if isinstance(x#, Value) and x#.needs_grad:
        part = parts[#]
        if part.__class__ is FunctionType: part = part()
        if part.__class__ is ndarray and x# not in cotangents and part.shape == v#.shape and part.dtype == v#.dtype:
            cotangents[x#] = part
            if x#.inputs: heappush(reached, (-x#.serial, x#))
        else:
            add(self, x#, part)"""


def write_methods(cls: type[Any], count: int, options: bool, variadic: bool) -> None:
    """Give a class its own `__init__` and `push`: no loop over inputs, nothing about options where it has none.

    An op of any number of inputs gets those for a single one (`x[2:]`), and leaves more to the general constructor.
    """
    own, kept = isinstance(cls.forward, FunctionType), bool(cls.n_kept)
    scope = {"Value": Value, "WATCHER": WATCHER, "FunctionType": FunctionType, "ndarray": np.ndarray, "NONE": {},
             "heappush": heappush, "next_serial": next_serial, "plain_input": plain_input, "recovered": recovered,
             "checked_output": checked_output, "wrong_count": wrong_count, "forward": cls.forward, "rule": cls.rule,
             "general": cls.__init__}
    exec(_written(count, options, own, kept, cls.differentiable, variadic), scope)
    cls.__init__, cls.push = scope["__init__"], scope["push"]
    for method in (cls.__init__, cls.push):  # the interpreter learns types per code object: to each class its own
        method.__code__ = method.__code__.replace()
    cls.__init__.__qualname__ = cls.__name__  # what Python's own errors about the number of arguments say


@cache
def _written(count: int, options: bool, own: bool, kept: bool, differentiable: bool, variadic: bool) -> CodeType:
    """The code of `__init__` and `push` for `count` inputs; own: forward is a method and not a NumPy function."""
    def each(text: str, joint: str = "") -> str:
        return joint.join(text.replace("#", str(i)) for i in range(count))

    call = f"forward({'self, ' * own}{each('v#', ', ')}{', **options' * options})"
    needs = each("n#", " or ") if differentiable else "False"
    source = _METHODS.format(
        nodes=each("x#, "), more="*more, " * variadic, options="**options" * options,
        general=f"if more: return general(self, x0, *more{', **options' * options})" * variadic,
        given="options" if options else "NONE",
        resolve=each(_RESOLVE), values=each(_VALUE), contributions=each(_CONTRIBUTION), count=count,
        value=f"checked_output(self, {call})" if kept else call,
        check="if value.__class__ is not ndarray: value = checked_output(self, value)" * (own and not kept),
        needs=f"({needs}) and value.dtype.kind in 'fc'" if own else needs,
        keep="self.options = options" * options,
        arguments=each("v#", ", ") + ", *self.kept" * kept + ", **self.options" * options)
    return compile(source, f"<methods of ops of {count} inputs>", "exec")


# -------------------------------------------------------------------------------- what the methods of every op call

def plain_input(x: Any) -> tuple[Any, Any, bool]:
    """What an op records for an input that is not a `Value`, its value, and whether it wants a gradient.

    Arrays and numbers enter as they are: Python's stay weak in NumPy's promotion of types.
    """
    if isinstance(x, State):
        version = x.current()
        return version, version._value, version.needs_grad
    if x.__class__ is np.ndarray or isinstance(x, np.generic):
        if x.dtype.kind not in "biufc":
            plain_array(x)
    elif x.__class__ not in _NUMBERS:
        if hasattr(x, "tocsr"):
            raise SparseOperand("a sparse matrix meets nodes in S @ x, x @ S, S * x and in spsolve of "
                                "tinygraph.scipy.sparse only")
        x = plain_array(x)
    return x, x, False


_NUMBERS = frozenset({float, int, complex, bool})


def wrong_count(op: Any, parts: Any) -> TypeError:
    """The error of a backward that returned more or fewer gradients than there are inputs."""
    found = len(parts) if isinstance(parts, tuple) else f"one {type(parts).__name__}, not a tuple of"
    return TypeError(f"backward of {describe(op)} returned {found} gradients for {len(op.inputs)} inputs")


def checked_output(op: Any, result: Any) -> Any:
    """The array that a forward returned; what else it returned is kept. TypeError if it is not what the class says."""
    if op.n_kept or isinstance(result, tuple):
        if not isinstance(result, tuple) or len(result) != 1 + op.n_kept:
            raise TypeError(f"forward must return the output and {op.n_kept} values that backward wants kept")
        result, *kept = result
        op.kept = tuple(kept)
    return result if isinstance(result, np.ndarray | np.generic) else plain_array(result)


def recovered(error: Exception, op: Any, inputs: Any, options: dict[str, Any]) -> Any:
    """The value of a primitive whose forward failed while it was traced, on entries that mean nothing; in all other
    cases the error is raised, explained."""
    if (trace := TRACE.get()) is not None and not op.traceable and not isinstance(error, TypeError):  # a refusal
        with suppress(Exception):
            return checked_output(op, trace.retried(op, inputs, options))
    raise explained(error, op, inputs, options) from None


def explained(error: Exception, op: Any, inputs: Any, options: dict[str, Any]) -> Exception:
    """The error of a forward, with the op and the shapes of its inputs in front."""
    shapes = ", ".join(describe(x) if isinstance(x, Node) else f"{type(x).__name__} {np.shape(x)}" for x in inputs)
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    message = f"{type(op).__name__}({shapes}{given}): {error}"
    try:
        named = TypeError(message) if isinstance(error, AttributeError) else type(error)(message)
    except TypeError:  # an exception class that is made in its own way
        known = [kind for kind in (IndexError, TypeError, ValueError) if isinstance(error, kind)]
        named = known[0](message) if known else error
    return named.with_traceback(error.__traceback__)
