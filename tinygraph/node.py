"""Nodes: what may stand in an expression, and how NumPy meets it.

A `Node` is anything that ops accept and that remembers where it came from. A `Value` is a node whose number never
changes: a constant, a variable, one version of a state, or (in `op.py`) the result of an op. A `State` is a name for
something that does change: in an expression it stands for its current `Version`, so a graph keeps the values that were
used however often the state is assigned afterwards; a `Parameter` is a state that wants a gradient.

Here are the operators, the ndarray attributes, the two NumPy protocols and the refusals. This module knows no op: ops
enter `TWINS`, the table from a NumPy function to its counterpart on nodes, when they are defined.
"""

from __future__ import annotations

import itertools
import operator
import sys
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import FrameType
from typing import Any, ClassVar, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from .callers import is_operator_of_sparse, takes_quietly

# From a NumPy function (or operator.getitem, or Node.backprop) to what does its work on nodes, called with the same
# arguments. The layers above fill it in.
TWINS: dict[Any, Callable[..., Any]] = {}

# Imports of families of ops that few programs need: run, one after the other, when a function is not in TWINS.
LATE: list[Callable[[], object]] = []


class Watcher(Protocol):
    """What `detect_nan` and its like do while they are active (see `detect.py`)."""

    def built(self, node: Any) -> None:
        """Called with every op, right after its forward."""

    def swept(self, node: Any, source: Any, part: Any, total: Any) -> None:
        """Called with every gradient that the rule of the op `source` sent to its input `node`, and the sum so far."""

    def sweeping(self, node: Any) -> None:
        """Called with every op that backprop comes to, before its rule is."""


WATCHER: ContextVar[Watcher | None] = ContextVar("tinygraph_watcher", default=None)

# True while a rule or an expansion runs on nodes: reading a node as a number there would cut it out of the graph.
TRACING: ContextVar[bool] = ContextVar("tinygraph_tracing", default=False)

# The trace that `compile` is writing, or None: while there is one, a state stands for its node in it.
TRACE: ContextVar[Any] = ContextVar("tinygraph_trace", default=None)

# The `vmap` whose function is running for one entry of its batch (see `mapping`), or None: then values are not known.
MAPPING: ContextVar[Any] = ContextVar("tinygraph_mapping", default=None)

# Serial numbers: a node's is larger than those of its inputs, so sorting by it is a topological sort.
next_serial = itertools.count().__next__


class SparseOperand(TypeError):
    """Raised where a sparse matrix of SciPy's is no operand: its twin knows what the operators make of one."""


def _binary(function: Callable[..., Any]) -> Callable[[Node, Any], Node]:
    def operate(self: Node, other: Any) -> Node:
        try:  # costs nothing where nothing is raised
            return TWINS[function](self, other)
        except SparseOperand:
            return TWINS[SparseOperand](function, self, other)

    return operate


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method of ndarray that takes the arguments of a function of NumPy."""
    return lambda self, *args, **options: TWINS.get(function, function)(self, *args, **options)


def _reflected(function: Callable[..., Any]) -> Callable[[Node, Any], Node]:
    def operate(self: Node, other: Any) -> Node:
        try:
            return TWINS[function](other, self)
        except SparseOperand:
            return TWINS[SparseOperand](function, other, self)

    return operate


class Node:
    """Anything with a value that ops accept and backprop can reach. Behaves as an ndarray in expressions."""

    __slots__ = ()

    _value: Any
    inputs: tuple[Any, ...]
    needs_grad: bool
    differentiable: ClassVar[bool] = True
    source = False  # whether a gradient may be asked for by this very node: a parameter, the variable of a transform

    # ------------------------------------------------------------------------------------------ the value and its type

    @property
    def value(self) -> np.ndarray:
        """The value: a read-only ndarray."""
        if TRACING.get():
            raise _quiet_read(self)
        if hasattr(self._value, "refuse"):  # known when the program runs
            self._value.refuse()
        view = np.asarray(self._value).view()
        view.flags.writeable = False
        return view

    @property
    def grad(self) -> Any:
        """Only a `Parameter` holds a gradient."""
        raise AttributeError(f"{describe(self)} holds no .grad: only a Parameter does; "
                             "ask tg.backprop(loss, wrt=[node]) for the gradient of any other node")

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def ndim(self) -> int:
        return self._value.ndim

    @property
    def size(self) -> int:
        return self._value.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._value.dtype

    def item(self) -> Any:
        """The value as a Python number; the node must have one element."""
        return self.value.item()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len() of {describe(self)}, which has no axis")
        return self.shape[0]

    def __iter__(self) -> Iterator[Node]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        self._refuse_store(sys._getframe(1))
        return bool(self._value)

    def __float__(self) -> float:
        self._refuse_store(sys._getframe(1))
        return float(self.value.item())

    def __int__(self) -> int:
        self._refuse_store(sys._getframe(1))
        return int(self.value.item())

    def __complex__(self) -> complex:
        self._refuse_store(sys._getframe(1))
        return complex(self.value.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        numbers = np.array2string(self.value, precision=4, threshold=6, edgeitems=2, separator=", ")
        if self.ndim > 1:
            numbers = "\n" + numbers
        return f"<{describe(self)} {numbers}>".replace(" \n", "\n")

    # ------------------------------------------------------------------------------------------------------- operators

    __hash__ = object.__hash__

    __add__, __radd__ = _binary(np.add), _reflected(np.add)
    __sub__, __rsub__ = _binary(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.divide), _reflected(np.divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder), _reflected(np.remainder)
    __divmod__, __rdivmod__ = _binary(np.divmod), _reflected(np.divmod)
    __pow__, __rpow__ = _binary(np.power), _reflected(np.power)
    __matmul__, __rmatmul__ = _binary(np.matmul), _reflected(np.matmul)
    __and__, __rand__ = _binary(np.bitwise_and), _reflected(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or), _reflected(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor), _reflected(np.bitwise_xor)
    __lshift__, __rlshift__ = _binary(np.left_shift), _reflected(np.left_shift)
    __rshift__, __rrshift__ = _binary(np.right_shift), _reflected(np.right_shift)
    __lt__, __le__ = _binary(np.less), _binary(np.less_equal)
    __gt__, __ge__ = _binary(np.greater), _binary(np.greater_equal)
    __eq__, __ne__ = _binary(np.equal), _binary(np.not_equal)  # type: ignore[assignment]

    def __neg__(self) -> Node:
        return TWINS[np.negative](self)

    def __pos__(self) -> Node:
        return TWINS[np.copy](self)

    def __abs__(self) -> Node:
        return TWINS[np.absolute](self)

    def __round__(self, ndigits: int = 0) -> Node:
        return TWINS[np.round](self, ndigits)

    def __invert__(self) -> Node:
        return TWINS[np.invert](self)

    def __getitem__(self, index: Any) -> Node:
        return TWINS[operator.getitem](self, index)

    def __contains__(self, x: Any) -> bool:
        return bool(TWINS[np.any](self == x))

    # ------------------------------------------------------------------------------------- ndarray attributes, methods

    @property
    def T(self) -> Node:
        return TWINS[np.transpose](self)

    @property
    def mT(self) -> Node:
        return TWINS[np.swapaxes](self, -1, -2)

    def transpose(self, *axes: Any) -> Node:
        if len(axes) == 1 and not isinstance(axes[0], int):
            axes = axes[0]
        return TWINS[np.transpose](self, axes or None)

    @property
    def at(self) -> Any:
        """`x.at[i].set(v)`, `.add(v)`, ...: x with the entries at an index changed, as a new node (see `Update`)."""
        return TWINS[operator.setitem](self)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Node:
        return TWINS[np.reshape](self, shape[0] if len(shape) == 1 else shape, order)

    def astype(self, dtype: npt.DTypeLike, *, copy: bool = True) -> Node:
        return TWINS[np.ndarray.astype](self, dtype)

    ravel = flatten = _method(np.ravel)
    squeeze, swapaxes, copy, dot = _method(np.squeeze), _method(np.swapaxes), _method(np.copy), _method(np.dot)
    sum, mean, max, min = _method(np.sum), _method(np.mean), _method(np.max), _method(np.min)
    real, imag = property(_method(np.real)), property(_method(np.imag))
    conj = conjugate = _method(np.conjugate)
    round, clip = _method(np.round), _method(np.clip)
    prod, cumsum, cumprod = _method(np.prod), _method(np.cumsum), _method(np.cumprod)
    std, var = _method(np.std), _method(np.var)
    trace, diagonal, take, repeat = _method(np.trace), _method(np.diagonal), _method(np.take), _method(np.repeat)
    choose, compress = _method(np.choose), _method(np.compress)
    argsort, argpartition, searchsorted = _method(np.argsort), _method(np.argpartition), _method(np.searchsorted)
    nonzero = _method(np.nonzero)
    any, all = _method(np.any), _method(np.all)  # plain answers, as from NumPy
    argmax, argmin = _method(np.argmax), _method(np.argmin)

    # ------------------------------------------------------------------------------------------------- NumPy protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method == "__call__" and not options and (twin := TWINS.get(ufunc)) is not None:
            return twin(*inputs)
        return TWINS[np.ufunc](ufunc, method, inputs, options)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if (twin := twin_of(function)) is None:
            raise not_covered(f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1))
        return twin(*args, **kwargs)

    # -------------------------------------------------------------------------------------------------------- refusals

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if is_operator_of_sparse(sys._getframe(1)):
            return np.empty((), object)  # no array: so the turn of the operator here comes
        raise TypeError(f"{describe(self)} does not turn into an array by itself: write node.value for its array "
                        "(no gradient will flow), or tg.array([node, ...]), np.stack([node, ...]) or x.at[i].set(node) "
                        "to keep the graph")

    def _refuse_store(self, caller: FrameType) -> None:
        """In `array[i] = node` NumPy asks for the number without a word (see `callers`)."""
        if takes_quietly(caller):
            self.__array__()

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(f"{describe(self)} cannot be written into: a node's value never changes; "
                        "write node.at[i].set(new) or np.where(mask, new, node), which make a new node")

    def sort(self, *args: Any, **options: Any) -> NoReturn:
        """Refused, as what else would write into the value."""
        raise TypeError(f"{describe(self)} cannot be written into: a node's value never changes; write np.sort(node), "
                        "np.partition(node, ...) or node.at[i].set(new), which make a new node")

    partition = fill = put = sort

    def backward(self, *args: Any, **options: Any) -> Any:
        """Refused: `backward` is the rule of one op; the sweep over all of them is `backprop`."""
        raise TypeError("backward is the rule of a single op; write loss.backprop() for the sweep over the whole graph")

    def backprop(self, grad: Any = None, *, accumulate: bool = False) -> None:
        """Set `p.grad` of every `Parameter` p that this node depends on to the derivative of this node by p.

        grad: what to multiply by (the shape of this node); may be left out for a node of one element.
        accumulate: add to the gradients that are there instead of replacing them.
        """
        TWINS[Node.backprop](self, grad, accumulate)


class Value(Node):
    """A node whose value never changes. Made by `constant`, by the transforms of `calculus`, and by every op."""

    __slots__ = ("_value", "inputs", "needs_grad", "serial")

    def __init__(self, value: Any, needs_grad: bool = False) -> None:
        self._value = plain_array(value)
        self.inputs = ()
        self.needs_grad = needs_grad
        self.serial = next_serial()

    def __copy__(self) -> Value:  # what never changes is its own copy
        return self

    def __deepcopy__(self, memo: Any) -> Value:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{describe(self)} is not for pickling: save its .value")


class Version(Value):
    """The value that a state had when an op used it."""

    __slots__ = ("state",)

    @property
    def source(self) -> bool:  # type: ignore[override]
        return self.needs_grad

    def __init__(self, state: State, value: np.ndarray, needs_grad: bool) -> None:
        self._value, self.inputs, self.needs_grad, self.serial = value, (), needs_grad, next_serial()
        self.state = weakref.ref(state)  # weak: the state holds its version, and edges point one way only


class State(Node):
    """What outlives a call and changes between calls: counters, moments, rates. Copies the array that it is given.

    In an expression it stands for its current value; assigning to `.value` (same shape and dtype) leaves earlier
    graphs as they were. `name` is what the engine calls it in errors, tapes and drawings.
    """

    __slots__ = ("__weakref__", "_version", "name")

    def __init__(self, array: Any, name: str | None = None) -> None:
        self.name = name
        self._version = Version(self, _frozen(array), isinstance(self, Parameter))

    def current(self) -> Version:
        """The node that stands for this state in an expression written now."""
        trace = TRACE.get()
        return self._version if trace is None else trace.read(self)

    def assign(self, array: Any) -> None:
        """Make `array` the value without a copy: who holds it can then change the value behind the library's back.

        Of the same shape; a compiled function that uses the state is traced anew if the dtype is another one.
        """
        if array.shape != self._version._value.shape:
            raise ValueError(f"{describe(self)} cannot take a value of shape {array.shape}")
        trace = TRACE.get()
        if trace is not None:
            trace.write(self, array)
        else:
            self._version = Version(self, array, isinstance(self, Parameter))

    @property
    def value(self) -> Any:
        """The current value: a read-only ndarray. Assign to it to change the state; the array is copied.

        In a function that `tg.compile` traces it is the current node, and assigning to it (a node or an array) makes
        the program update the state.
        """
        return super().value if TRACE.get() is None else self.current()

    @value.setter
    def value(self, array: Any) -> None:
        traced = TRACE.get() is not None
        array = array if traced and isinstance(array, Node) else plain_array(array)
        if array.shape != self.shape:
            raise ValueError(f"{describe(self)} cannot take a value of shape {array.shape}")
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise TypeError(f"{describe(self)} cannot take a value of dtype {array.dtype}")
        self.assign(array if traced else _frozen(array, self.dtype))

    @property
    def _value(self) -> np.ndarray:
        return self.current()._value

    inputs = ()
    needs_grad = False

    def __iadd__(self, other: Any) -> NoReturn:
        raise TypeError(f"{describe(self)} does not change in place: write x.value = x.value + step")

    __isub__ = __imul__ = __itruediv__ = __iadd__

    def __reduce__(self) -> Any:  # a copy is a new state with a copy of the value
        return type(self), (self._value, self.name)


class Parameter(State):
    """A state that wants a gradient: `loss.backprop()` sets `.grad`, an array like `.value` (None before).

    array: floats (TypeError for integers or booleans, which have no gradient); it is copied.
    """

    __slots__ = ("_grad",)

    needs_grad = True

    def __init__(self, array: Any, name: str | None = None) -> None:
        super().__init__(array, name)
        if self.dtype.kind not in "fc":
            raise TypeError(f"{describe(self)} cannot have a gradient: give floats, for example array.astype(float)")
        self._grad: np.ndarray | None = None

    def __reduce__(self) -> Any:
        return *super().__reduce__(), self._grad

    def __setstate__(self, grad: Any) -> None:
        self.grad = grad

    @property
    def grad(self) -> Any:
        """The gradient that the last `backprop` left, an array of this parameter's own, or None."""
        trace = TRACE.get()
        return self._grad if trace is None else trace.grad(self)

    @grad.setter
    def grad(self, grad: Any) -> None:
        if (trace := TRACE.get()) is not None:
            trace.set_grad(self, grad)
            return
        if grad is not None:
            grad = np.array(plain_array(grad), dtype=self.dtype)
            if grad.shape != self.shape:
                raise ValueError(f"{describe(self)} cannot take a gradient of shape {grad.shape}")
        self._grad = grad


def twin_of(function: Any) -> Callable[..., Any] | None:
    """What does the work of a function on nodes, if anything does."""
    while (twin := TWINS.get(function)) is None and LATE:
        LATE.pop()()
    return twin


def constant(array: Any) -> Value:
    """A node without gradient that holds `array` (a number, an array, or nested lists of numbers)."""
    return Value(array)


def plain_array(value: Any) -> np.ndarray:
    """`value` as an ndarray of numbers; a node or anything that is no number is refused with one sentence."""
    if isinstance(value, Node):
        raise TypeError(f"{describe(value)} is a node already; write node.value where an array is wanted")
    if hasattr(value, "refuse"):  # what stands for an array while tg.compile traces
        value.refuse()
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("masked arrays are not covered: the mask would be lost; write np.where(mask, 0., array)")
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"expected numbers, got {type(value).__name__} of dtype {array.dtype}")
    return array


def _frozen(array: Any, dtype: Any = None) -> np.ndarray:
    """A copy that nobody can write into."""
    array = np.array(plain_array(array), dtype=dtype)
    array.flags.writeable = False
    return array


def describe(node: Node) -> str:
    """What error messages and `repr` call a node: its kind or name, shape and dtype."""
    if isinstance(node, Version) and (state := node.state()) is not None:
        node = state
    kind = type(node).__name__
    if type(node) is Value:
        kind = "variable" if node.needs_grad else "constant"
    if isinstance(node, State) and node.name:
        kind = f"{kind} {node.name}"
    return f"{kind} {node.shape} {node.dtype}"


def _quiet_read(node: Node) -> TypeError:
    return TypeError(f"{describe(node)} was read as a number (by math, float(), item() or .value) in code "
                     "that is traced: use NumPy functions, so that the gradient can follow")


def not_covered(name: str) -> NotImplementedError:
    """The error of a function of NumPy or SciPy that nodes do not know."""
    return NotImplementedError(f"{name} has no counterpart on nodes: write it with functions that have one, "
                               "define a tg.Op, or use node.value if no gradient is needed")
