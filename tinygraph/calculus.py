"""Calculus: derivatives of functions of arrays.

Each transform takes a function and returns one. It calls the function on fresh nodes, reads the tape of what comes back
and sweeps it; given arrays, it returns arrays. Given nodes, or a function that uses nodes from outside, it returns
nodes, so that transforms nest to any order. A fresh node for every call is what keeps the levels of a nest apart.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .batching import RULES, batched
from .node import TRACE, WATCHER, Node, Value, describe, plain_array
from .op import Op, Primitive
from .ops.shaping import Identity
from .tape import Tape, as_value

Function = Callable[..., Any]

_FEW = 8  # rows of a Jacobian that are sooner swept one by one
_CHUNK = 2**24  # bytes of forward values that the rows of a Jacobian are computed for at a time


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that returns f's value and its gradient by the arguments `argnums`, at the cost of one sweep.

    f must return one number. The gradient has the shape and dtype of its argument (a float for a float), and is a tuple
    if `argnums` is a sequence. TypeError for integer or boolean arguments, ValueError if f returns an array. Both are
    nodes if an argument is one, or if f uses a `Parameter` from outside (its gradient must be able to follow).

    >>> import tinygraph as tg
    >>> tg.value_and_grad(lambda x: x * x)(3.0)
    (9.0, 6.0)
    """
    def value_and_grad_f(*args: Any, **options: Any) -> tuple[Any, Any]:
        record = _Record("grad", f, args, options, argnums)
        if np.size(record.value) != 1:
            raise ValueError(f"grad needs a function that returns one number, got shape {np.shape(record.value)}: "
                             "use jacobian, or vjp")
        return record.value, record.pack(record.gradients())

    return value_and_grad_f


def grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that returns the gradient of f; see `value_and_grad`.

    >>> import numpy as np, tinygraph as tg
    >>> tg.grad(tg.grad(np.sin))(np.pi / 2)
    -1.0
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **options: both(*args, **options)[1]


def vjp(f: Function, *primals: Any) -> tuple[Any, Function]:
    """f(*primals), and the function that takes a cotangent of that shape to one gradient per primal (a tuple)."""
    record = _Record("vjp", f, primals, {}, range(len(primals)))
    return record.value, lambda cotangent: tuple(record.gradients(cotangent))


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*primals), and its derivative along `tangents` (forward mode, by transposing the reverse sweep).

    The reverse sweep is linear in the cotangent it starts from; its own transpose takes a tangent forward.
    """
    if len(primals) != len(tangents) or not primals:
        raise ValueError(f"jvp: {len(primals)} primals and {len(tangents)} tangents")
    for i, (x, v) in enumerate(zip(primals, tangents, strict=True)):
        if np.shape(x) != np.shape(v):
            raise ValueError(f"jvp: tangent {i} has shape {np.shape(v)}, its primal {np.shape(x)}")
    record = _Record("jvp", f, primals, {}, range(len(primals)))
    cotangent = Value(_generic(record.output), needs_grad=True)
    grads = record.sweep(cotangent)
    along = functools.reduce(operator.add, (np.sum(g * v) for g, v in zip(grads, tangents, strict=True)))
    traced = record.traced or any(isinstance(v, Node) for v in tangents)
    cotangent.needs_grad = False
    (tangent,) = Tape(along, until=[cotangent]).backprop([cotangent], traced=traced)
    return record.value, tangent if traced else plain(tangent, type(record.value))


def jacobian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that returns the derivatives of every entry of f by every entry of an argument.

    The result has the shape of f's value followed by that of the argument; a tuple of them if `argnums` is a sequence.
    Its rows come from one traced sweep, computed for all of them at once (see `batching`): a program that is compiled
    from it does not grow with their number.
    """
    def jacobian_f(*args: Any, **options: Any) -> Any:
        record = _Record("jacobian", f, args, options, argnums)
        return record.pack(record.jacobians())

    return jacobian_f


def hessian(f: Function, argnums: int = 0) -> Function:
    """The function that returns the second derivatives of f: the shape of f's value, then twice the argument's."""
    return jacobian(jacobian(f, argnums), argnums)


def hvp(f: Function) -> Function:
    """The function (x, v, *args) -> H v, the Hessian of x -> f(x, *args) times v, without the Hessian.

    v has the shape of x. The order of arguments is that of `hessp` in scipy.optimize.minimize.
    """
    def hvp_f(x: Any, v: Any, *args: Any) -> Any:
        if np.shape(v) != np.shape(x):
            raise ValueError(f"hvp: the vector has shape {np.shape(v)}, the point {np.shape(x)}")
        return grad(lambda x: np.sum(grad(f)(x, *args) * v))(x)

    return hvp_f


class Variable(Primitive):
    """What a transform differentiates by: its argument, as a node of its own. A source while the transform runs."""

    __slots__ = ("source",)
    source: bool

    def forward(self, x: Any) -> Any:
        return x

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad


RULES[Variable] = RULES[Identity]


class _Record:
    """One call of a function on fresh variables: its value, and the way back from it.

    `traced` says whether results must be nodes: an argument was one, or the function used one from outside that is a
    source of gradients for somebody else.
    """

    def __init__(self, name: str, f: Function, args: Sequence[Any], options: dict[str, Any],
                 argnums: int | Sequence[int]) -> None:
        self.single = not isinstance(argnums, Iterable)
        indices = [operator.index(i) for i in (argnums if isinstance(argnums, Iterable) else [argnums])]
        given = list(args)
        for i in indices:
            if not -len(args) <= i < len(args):
                raise TypeError(f"{name}: argnums={i}, but the function was called with {len(args)} arguments")
            given[i] = _variable(name, i, args[i])
        self.arguments = [args[i] for i in indices]
        self.variables: list[Variable] = [given[i] for i in indices]
        result = f(*given, **options)
        if not isinstance(result, Node):
            if not isinstance(result, np.ndarray | np.generic | float | complex | int):
                raise TypeError(f"{name}: the function must return a number or an array, got {type(result).__name__}")
            result = Value(result)
        if result.dtype.kind not in "fc":
            raise TypeError(f"{name}: the function returned {describe(result)}; only floats have a derivative")
        self.output = as_value(result)
        self.tape = Tape(self.output, until=[variable for variable in self.variables if variable.inputs])
        own = set(self.variables)
        self.traced = (TRACE.get() is not None or any(isinstance(x, Node) for x in self.arguments)
                       or any(node.source and node not in own for node in self.tape))
        kind = float if all(type(x) is float for x in self.arguments) else np.ndarray
        self.value = self.output if self.traced else plain(np.array(self.output._value), kind)

    def gradients(self, cotangent: Any = None) -> list[Any]:
        """The gradient by each argument: a node if traced, otherwise an array, or a float for a float."""
        traced = self.traced or isinstance(cotangent, Node)
        grads = self.sweep(cotangent) if traced else self.tape.backprop(self.variables, cotangent)
        return grads if traced else [plain(g, type(x)) for g, x in zip(grads, self.arguments, strict=True)]

    def sweep(self, cotangent: Any) -> list[Node]:
        """The gradients as nodes. They are a graph of somebody else's, in which these variables are constants."""
        for variable in self.variables:
            variable.source = False
            variable.needs_grad = bool(variable.inputs) and variable.inputs[0].needs_grad
        return self.tape.backprop(self.variables, cotangent, traced=True)

    def jacobians(self) -> list[Any]:
        """The derivatives of each entry of the output by each argument."""
        n, shape, dtype = self.output.size, self.output.shape, self.output.dtype
        many = n > (1 if self.traced else _FEW) and WATCHER.get() is TRACE.get()  # a detector wants to see each sweep
        if many and (found := self._batched_jacobians()) is not None:
            return found
        rows = [self.gradients(unit) for unit in np.eye(n, dtype=dtype).reshape(n, *shape)]
        columns = zip(*rows, strict=True) if rows else [()] * len(self.arguments)
        return [_joined(column, shape, x.shape, x.dtype) for column, x in zip(columns, self.variables, strict=True)]

    def _batched_jacobians(self) -> list[Any] | None:
        """The same from one traced sweep, computed for a batch of cotangents: the rows of the identity matrix. None if
        the rule of an op cannot be traced.

        Traced, the rule on branches not taken is written in where the sweep meets a cotangent of 0 (see `tape`). The
        rows have zeros nearly everywhere, so there the sweep starts from zeros; but on arrays, where the rule costs
        more than the rest and matters only if there is a NaN without it, that is the second attempt.
        """
        selecting = any(isinstance(node, Op) and (node.selecting or node.rule is None) for node in self.tape)
        seeds = [_generic(self.output), np.zeros(self.output.shape, self.output.dtype)]
        with np.errstate(all="ignore" if selecting else None):
            for seed in seeds[self.traced and selecting:1 + selecting]:
                cotangent = Value(seed)
                try:
                    grads = self.sweep(cotangent)
                except (TypeError, NotImplementedError, AttributeError):
                    return None
                found = self._at_each_unit(grads, cotangent)
                if self.traced or not any(np.isnan(J).any() for J in found):
                    break
        return found

    def _at_each_unit(self, grads: Sequence[Node], cotangent: Value) -> list[Any]:
        """What gradients are where the cotangent is one row of the identity matrix after the other."""
        n, shape, dtype = self.output.size, self.output.shape, self.output.dtype
        step = n if self.traced else max(1, _CHUNK // sum(node._value.nbytes for node in self.tape))
        chunks: list[list[Any]] = []
        for start in range(0, n, step):
            units = np.eye(min(step, n - start), n, start, dtype).reshape(-1, *shape)
            rows = batched(grads, cotangent, Value(units))
            chunks.append([np.broadcast_to(row, (len(units), *row.shape)) if row is grad else row
                           for row, grad in zip(rows, grads, strict=True)])  # 0, whatever the cotangent is
        shapes = [(*shape, *x.shape) for x in self.variables]
        if self.traced:
            return [J if J.shape == s else np.reshape(J, s) for J, s in zip(chunks[0], shapes, strict=True)]
        return [np.concatenate([rows._value for rows in parts], dtype=x.dtype).reshape(s)
                for x, s, *parts in zip(self.variables, shapes, *chunks, strict=True)]

    def pack(self, results: list[Any]) -> Any:
        return results[0] if self.single else tuple(results)


def plain(array: np.ndarray, kind: type) -> Any:
    """An array for the caller to keep, as a float if such came in."""
    return array.item() if kind is float and not array.ndim else array


def _variable(name: str, i: int, x: Any) -> Variable:
    """A fresh variable for argument number i."""
    if not isinstance(x, Node | np.ndarray | np.generic | float | complex | int):
        raise TypeError(f"{name}: argument {i} must be a number or an array, got {type(x).__name__}")
    variable = Variable(x if isinstance(x, Node) else plain_array(x))
    if variable.dtype.kind not in "fc":
        raise TypeError(f"{name}: argument {i} ({describe(variable)}) has no derivative: give floats")
    if not isinstance(x, Node):
        variable.inputs = ()
    variable.source = variable.needs_grad = True
    return variable


def _generic(output: Value) -> np.ndarray:
    """A cotangent without zeros, whose entries do not cancel: any would do for a sweep that is linear in it, but the
    rule on branches not taken looks for exact zeros."""
    return (1 + np.arange(output.size) * 0.6180339887 % 1).reshape(output.shape).astype(output.dtype)


def _joined(rows: Sequence[Any], shape: tuple[int, ...], tail: tuple[int, ...], dtype: Any) -> Any:
    """One array from the rows of a Jacobian."""
    if not rows:
        return np.zeros((*shape, *tail), dtype)
    return np.reshape(np.stack(rows), (*shape, *tail)) if shape or tail else rows[0]
