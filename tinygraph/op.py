"""Ops: nodes that remember their inputs, and the contract of forward and backward.

An op is two plain NumPy functions. Positional arguments are data, keyword-only arguments are static options:

    class Square(Op):
        def forward(self, x): return x * x
        def backward(self, grad, y, x): return 2 * grad * x

`forward` returns the output, or a tuple: the output, then what `backward` wants kept. `backward` gets the gradient by the
output, the output, the inputs and what was kept, and returns one gradient per input: a value, a thunk (`lambda: ...`,
called only if that input wants its gradient) or None. Both run on arrays and on nodes; on nodes NumPy's protocols turn
each step into primitive ops, which is how a fused op expands and how a backward is differentiated again.

A `Primitive` is where the expansion ends; an `Elementwise` is a primitive that broadcasts. This module does not know in
which order gradients travel: that is the tape's business.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from .node import TRACING, TWINS, WATCHER, Node, State, Value, describe, next_serial, plain_array

# What enters an op as it is: arrays, and numbers (Python's stay weak in NumPy's promotion of types).
_PLAIN = frozenset({np.ndarray, float, int, complex, bool})


def plain_input(x: Any) -> tuple[Any, Any, bool]:
    """What an op records for an input that is not a `Value`, its value, and whether it wants a gradient."""
    if isinstance(x, State):
        version = x.current()
        return version, version._value, version.needs_grad
    if x.__class__ not in _PLAIN and not isinstance(x, np.generic):
        x = plain_array(x)
    return x, x, False


class Op(Value):
    """A node computed from other nodes. `MatMul(W, X)` computes W @ X and *is* the node.

    Subclasses write `forward` and usually `backward` (see the module); a mistake in them is a TypeError when the class
    is defined. Without `backward` the gradient comes from the expansion. `expand`, if given, is `forward` in the form
    that is to be traced, for a forward that is fastest written in a way that cannot be (it calls a C library, or takes
    another branch at a kink).
    """

    __slots__ = ("kept", "options")

    options: dict[str, Any]
    kept: tuple[Any, ...]

    # The claims of a class about itself, for subclasses to change.
    broadcasts: ClassVar[bool] = False  # a gradient may have the broadcast shape; the tape sums it
    selecting: ClassVar[bool] = False  # takes some entries and leaves others: below it, 0 * inf is 0 (see `tape`)
    elementwise: ClassVar[bool] = False  # each entry of the output comes from one entry of each input
    differentiable: ClassVar[bool] = True  # False: the output is piecewise constant and wants no gradient
    traceable: ClassVar[bool] = True  # False for a primitive: it does not expand
    adds_in_place: ClassVar[bool] = False  # has `add_to(total, grad)`: adds its gradient into a part of its input's

    # What the definition says, read off when the class is made.
    forward: ClassVar[Callable[..., Any]]
    expand: ClassVar[Callable[..., Any]]
    rule: ClassVar[Callable[..., Any] | None] = None  # the backward that was written, called by the tape
    plain: ClassVar[bool]  # has a rule and makes none of the claims that change how the tape calls it
    n_inputs: ClassVar[int | None]  # None: any number
    n_kept: ClassVar[int] = 0
    option_names: ClassVar[frozenset[str]]

    def __init_subclass__(cls, twin: Any = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in vars(cls.__base__):
            raise TypeError(f"{cls.__name__} cannot extend {cls.__base__.__name__}: an op that has a forward is final")
        if "forward" in vars(cls):
            _read_definition(cls)
            if twin is None and issubclass(cls, Primitive) and not inspect.isfunction(cls.forward):
                twin = cls.forward
        if twin is not None:
            known = TWINS.get(twin, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):  # a notebook may do it again
                raise TypeError(f"{cls.__name__}: np.{twin.__name__} on nodes is {known.__qualname__} already")
            TWINS[twin] = cls if isinstance(twin, np.ufunc) else _numpy_call(cls, twin)

    def __init__(self, *inputs: Any, **options: Any) -> None:
        if not hasattr(self, "forward"):
            raise TypeError(f"{type(self).__name__} is abstract: it has no forward")
        resolved = [(x, x._value, x.needs_grad) if isinstance(x, Value) else plain_input(x) for x in inputs]
        self.inputs = tuple(x for x, _, _ in resolved)
        try:
            self._value = _output(self, self.forward(*(value for _, value, _ in resolved), **options))
        except (ValueError, TypeError, IndexError) as error:
            raise _explained(error, self, self.inputs, options) from None
        self.needs_grad = self.differentiable and any(needs for _, _, needs in resolved)
        self.serial = next_serial()
        self.options = options
        if (watcher := WATCHER.get()) is not None:
            watcher.built(self)

    def pull(self, grad: Any) -> Any:
        """What the rule returns on arrays, for a gradient by this op's output."""
        values = [x._value if isinstance(x, Value) else x for x in self.inputs]
        kept = self.kept if self.n_kept else ()
        return self.rule(grad, self._value, *values, *kept, **getattr(self, "options", {}))  # type: ignore[misc]

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """On arrays what `forward` returns, on nodes the op: for use inside rules, where NumPy has no such function."""
        for x in inputs:
            if isinstance(x, Node):
                return cls(*inputs, **options)
        return cls.forward(None, *inputs, **options)

    def pull_traced(self, grad: Node) -> Any:
        """What the rule returns on nodes: what forward kept is traced again, so that second order is right."""
        options = getattr(self, "options", {})
        kept = run_traced(self, self.expand, *self.inputs, **options)[1:] if self.n_kept else ()
        return run_traced(self, self.rule, grad, self, *self.inputs, *kept, **options)  # type: ignore[arg-type]


class Primitive(Op):
    """An op that does not expand. If `forward` is a NumPy function, or one is named with `twin=`, that function makes
    this op when it meets a node."""

    __slots__ = ()
    traceable = False


class Elementwise(Primitive):
    """A primitive that works entry by entry and broadcasts; its gradients may have the broadcast shape."""

    __slots__ = ()
    broadcasts = True
    elementwise = True


def run_traced(op: Op, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """`function`, a rule, a thunk or an expansion of `op`, on nodes; says so if it cannot be traced."""
    token = TRACING.set(True)
    try:
        return function(*arguments, **options)
    except (TypeError, NotImplementedError) as error:
        raise type(error)(f"{type(op).__name__} cannot be traced, as a second derivative or a missing backward needs: "
                          f"its forward and backward must use NumPy functions that work on nodes, or the class must "
                          f"bring an `expand` or a `backward` that does. {error}") from error
    finally:
        TRACING.reset(token)


def _read_definition(cls: type[Op]) -> None:
    """Check `forward` and `backward` against each other, and make the constructor and the pull for their shape."""
    forward, backward = vars(cls)["forward"], None if cls.backward is Value.backward else cls.backward
    name, own = cls.__name__, inspect.isfunction(forward)
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
        cls.backward = _guarded(backward)  # type: ignore[method-assign]
    elif cls.differentiable and not cls.traceable:
        raise TypeError(f"{name} is a primitive and needs a backward")
    cls.rule = backward
    cls.plain = backward is not None and not cls.adds_in_place and not variadic
    if "expand" not in vars(cls):
        cls.expand = forward
    cls.n_inputs = None if variadic else len(inputs)
    cls.option_names = frozenset(options)
    if not variadic:
        _write_methods(cls, len(inputs), bool(options))


def _signature(cls: type[Op], function: Callable[..., Any]) -> tuple[list[str], dict[str, Any], bool]:
    """Positional names after self, keyword-only names with their defaults, and whether there is a *args."""
    positional, options, variadic = [], {}, False
    for p in list(inspect.signature(function).parameters.values())[1:]:
        if p.kind is p.VAR_POSITIONAL:
            variadic = True
        elif p.kind is p.KEYWORD_ONLY:
            options[p.name] = p.default
        elif p.kind is p.VAR_KEYWORD or p.default is not p.empty:
            raise TypeError(f"{cls.__name__}.{function.__name__}: inputs are positional without defaults and options "
                            f"keyword-only (after a *); {p} is neither")
        else:
            positional.append(p.name)
    return positional, options, variadic


def _numpy_call(cls: type[Op], function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(array, axis, ...)`, called as NumPy's own, as the op `cls(array, axis=axis, ...)`."""
    parameters = inspect.signature(function).parameters
    names, count = list(parameters), cls.n_inputs or 0

    def call(*args: Any, **options: Any) -> Op:
        if len(args) == count and options.keys() <= cls.option_names:
            return cls(*args, **options)
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


def _guarded(rule: Callable[..., Any]) -> Callable[..., Any]:
    """`backward` as users see it: without arguments it is somebody's loss.backward()."""
    def backward(self: Op, *args: Any, **options: Any) -> Any:
        return rule(self, *args, **options) if args else Value.backward(self)
    backward.__doc__ = rule.__doc__
    return backward


def _write_methods(cls: type[Op], count: int, options: bool) -> None:
    """`Op.__init__` and `Op.pull` written out for one class: a million small ops spend their time in these two.

    No loop over the inputs, and options and kept values only where the class has some.
    """
    inputs = [f"x{i}" for i in range(count)]
    resolve = [f"    {x}, v{x}, n{x} = ({x}, {x}._value, {x}.needs_grad) if isinstance({x}, Value) else plain_input({x})"
               for x in inputs]
    recorded = "".join(f"{x}, " for x in inputs)
    more = ", **options" if options else ""
    own = inspect.isfunction(cls.forward)
    value = f"forward({'self, ' if own else ''}{', '.join('v' + x for x in inputs)}{more})"
    needs = " or ".join("n" + x for x in inputs) if cls.differentiable else "False"
    source = "\n".join([
        f"def __init__(self, {', '.join(inputs)}{more}):",
        *resolve,
        "    try:",
        f"        value = {f'output(self, {value})' if cls.n_kept else value}",
        "        if value.__class__ is not ndarray:" if own and not cls.n_kept else "",
        "            value = output(self, value)" if own and not cls.n_kept else "",
        "    except (ValueError, TypeError, IndexError) as error:",
        f"        raise explained(error, self, ({recorded}), {'options' if options else '{}'}) from None",
        f"    self.inputs = ({recorded})",
        "    self._value = value",
        f"    self.needs_grad = {f'({needs}) and value.dtype.kind in floats' if options else needs}",
        "    self.serial = next_serial()",
        "    self.options = options" if options else "",
        "    if (watcher := WATCHER.get()) is not None:",
        "        watcher.built(self)",
        "def push(self, grad, cotangents, owned, add_part):",
        f"    {recorded}= self.inputs",
        *[f"    v{x} = {x}._value if isinstance({x}, Value) else {x}" for x in inputs],
        f"    parts = rule(self, grad, self._value, {', '.join('v' + x for x in inputs)}"
        f"{', *self.kept' if cls.n_kept else ''}{', **self.options' if options else ''})",
        *(f"""
    part = {f"parts[{i}]" if count > 1 else "parts if parts.__class__ is not tuple else parts[0]"}
    if part is not None and isinstance({x}, Value) and {x}.needs_grad:
        if part.__class__ is Function:
            part = part()
        if (part.__class__ is ndarray and {x} not in cotangents
                and part.shape == v{x}.shape and part.dtype == v{x}.dtype):
            cotangents[{x}] = part
        elif part is not None:
            add_part(cotangents, owned, self, {x}, part)""" for i, x in enumerate(inputs)),
    ])
    scope = dict(Value=Value, plain_input=plain_input, next_serial=next_serial, WATCHER=WATCHER, explained=_explained,
                 output=_output, forward=cls.forward, rule=cls.rule, Function=FunctionType, ndarray=np.ndarray,
                 floats="fc")
    file = f"<methods of {cls.__module__}.{cls.__qualname__}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)  # so that tracebacks show the lines
    exec(compile(source, file, "exec"), scope)
    cls.__init__, cls.push = scope["__init__"], scope["push"]  # type: ignore[assignment, method-assign]
    cls.__init__.__qualname__ = cls.__name__  # what Python's own errors about the number of arguments say


def _output(op: Op, result: Any) -> Any:
    """The array that a forward returned; what else it returned is kept. A TypeError if it is not what the class says."""
    if op.n_kept or isinstance(result, tuple):
        if not isinstance(result, tuple) or len(result) != 1 + op.n_kept:
            raise TypeError(f"forward must return the output and {op.n_kept} values that backward wants kept")
        result, *kept = result
        op.kept = tuple(kept)
    return result if isinstance(result, np.ndarray | np.generic) else plain_array(result)


def _explained(error: Exception, op: Op, inputs: Any, options: dict[str, Any]) -> Exception:
    """The error of a forward, with the op and the shapes of its inputs in front."""
    shapes = ", ".join(describe(x) if isinstance(x, Node) else f"{type(x).__name__} {np.shape(x)}" for x in inputs)
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    message = f"{type(op).__name__}({shapes}{given}): {error}"
    try:
        explained = type(error)(message)
    except TypeError:  # an exception class of its own kind
        explained = ValueError(message)
    return explained.with_traceback(error.__traceback__)
