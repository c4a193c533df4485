"""Calculus: derivatives of functions of arrays.

Each transform takes a function and returns one. It calls the function on fresh nodes, reads the tape of what comes back
and sweeps it; given arrays, it returns arrays. Given nodes, or a function that uses nodes from outside, it returns
nodes, so that transforms nest to any order. A fresh node for every call is what keeps the levels of a nest apart.

Where an argument is a list, tuple or dict of arrays, nested as deep as you like, its gradient is one of the same form.
`argnums` says what to differentiate by: the number of an argument, its name, or a sequence of those for several.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .batching import batched
from .node import WATCHER, Node, Value
from .op import Op
from .recording import Argnums, Function, Record, generic, plain
from .structure import filled, is_structure, leaves, mapped, spread
from .tape import Tape

_FEW = 8  # rows of a Jacobian that are sooner swept one by one
_RATIO = 3  # how many times fewer the columns of a Jacobian must be than its rows, to be computed instead of them
_SMALL = 100_000  # numbers in the values that all rows are computed for, up to which that does not pay
_CHUNK = 2**24  # bytes of forward values that the rows of a Jacobian are computed for at a time


def value_and_grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The function that returns f's value and its gradient by the arguments `argnums`, at the cost of one sweep.

    f must return one number; with has_aux=True a pair of it and anything else, and then the value is that pair. The
    gradient has the form, shape and dtype of its argument (a float for a float), and is a tuple if `argnums` is a
    sequence. TypeError for integer or boolean arguments, ValueError if f returns an array. Both are nodes if an
    argument is one, or if f uses a `Parameter` from outside (its gradient must be able to follow).

    >>> import tinygraph as tg
    >>> tg.value_and_grad(lambda x: x * x)(3.0)
    (9.0, 6.0)
    >>> tg.value_and_grad(lambda p, x: p["slope"] * x + p["shift"])({"slope": 2.0, "shift": 1.0}, 5.0)
    (11.0, {'slope': 5.0, 'shift': 1.0})
    """
    @_like(f)
    def value_and_grad_f(*args: Any, **options: Any) -> tuple[Any, Any]:
        record = Record("grad", f, args, options, argnums, has_aux)
        if is_structure(record.result):
            raise TypeError(f"grad needs a function that returns one number, got {type(record.result).__name__}: "
                            "use jacobian or vjp, or has_aux=True if the first of two results is the number")
        if np.size(record.value) != 1:
            raise ValueError(f"grad needs a function that returns one number, got shape {np.shape(record.value)}: "
                             "use jacobian, or vjp")
        value = (record.value, record.aux) if has_aux else record.value
        return value, record.pack(record.gradients())

    return value_and_grad_f


def grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The function that returns the gradient of f; see `value_and_grad`. With has_aux=True a pair: the gradient, and
    what f returned beside its number.

    >>> import numpy as np, tinygraph as tg
    >>> tg.grad(tg.grad(np.sin))(np.pi / 2)
    -1.0
    """
    both = value_and_grad(f, argnums, has_aux)

    @_like(f)
    def grad_f(*args: Any, **options: Any) -> Any:
        value, gradient = both(*args, **options)
        return (gradient, value[1]) if has_aux else gradient

    return grad_f


def elementwise_grad(f: Function, argnums: Argnums = 0) -> Function:
    """The function that returns the derivative of f at each entry of an argument, for an f that works entry by entry.

    The result has the shape of the argument, which must be that of f's value (ValueError if it is not). If an entry of
    the value depends on other entries of the argument, the result is the gradient of the sum of the value.

    >>> import numpy as np, tinygraph as tg
    >>> tg.elementwise_grad(np.square)(np.array([1.0, 2.0, 3.0]))
    array([2., 4., 6.])
    """
    @_like(f)
    def elementwise_grad_f(*args: Any, **options: Any) -> Any:
        record = Record("elementwise_grad", f, args, options, argnums)
        for x in record.variables:
            if is_structure(record.result) or x.shape != record.output.shape:
                raise ValueError(f"elementwise_grad: the function returned shape {_shapes(record)} for an argument of "
                                 f"shape {x.shape}, so it does not work entry by entry: use jacobian, or give "
                                 "np.broadcast_to(argument, shape)")
        record.check_analytic()
        return record.pack(record.gradients(np.ones(record.output.shape, record.output.dtype)))

    return elementwise_grad_f


def vjp(f: Function, *primals: Any) -> tuple[Any, Function]:
    """f(*primals), and the function that takes a cotangent like it to one gradient per primal (a tuple).

    >>> import numpy as np, tinygraph as tg
    >>> value, pull = tg.vjp(lambda x, y: {"sum": x + y, "product": x * y}, 2.0, 3.0)
    >>> value, pull({"sum": 1.0, "product": 10.0})
    ({'sum': 5.0, 'product': 6.0}, (31.0, 21.0))
    """
    record = Record("vjp", f, primals, {}, range(len(primals)))
    return record.value, lambda cotangent: record.pack(record.gradients(record.cotangent(cotangent)))


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*primals), and its derivative along `tangents` (forward mode, by transposing the reverse sweep).

    The reverse sweep is linear in the cotangent it starts from; its own transpose takes a tangent forward.

    >>> import numpy as np, tinygraph as tg
    >>> tg.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (6.0, 3.0)
    """
    if len(primals) != len(tangents) or not primals:
        raise ValueError(f"jvp: {len(primals)} primals and {len(tangents)} tangents")
    vs = [v for i, (x, v) in enumerate(zip(primals, tangents, strict=True))
          for v in spread(v, x, f"jvp: tangent {i}", "its primal")]
    paths = [path for i, x in enumerate(primals) for path, _ in leaves(x, f"{i}")]
    for path, x, v in zip(paths, _flat(primals), vs, strict=True):
        if np.shape(x) != np.shape(v):
            raise ValueError(f"jvp: tangent {path} has shape {np.shape(v)}, its primal {np.shape(x)}")
    record = Record("jvp", f, primals, {}, range(len(primals)))
    traced = record.traced or any(isinstance(v, Node) for v in vs)
    cotangent = Value(generic(record.output))
    tangent = _transposed(record.sweep(cotangent), vs, cotangent, traced)
    pieces = [piece if piece.dtype == output.dtype else _real(piece).astype(output.dtype)
              for piece, output in zip(record.split(tangent), record.outputs, strict=True)]
    return record.value, filled(record.result, pieces if traced else [plain(p, record.kind) for p in pieces])


def _transposed(grads: Sequence[Node], tangents: Sequence[Any], cotangent: Value, traced: bool) -> Any:
    """The derivative along tangents, of gradients that are linear in the cotangent."""
    if not grads:
        return cotangent * 0 if traced else np.zeros_like(cotangent._value)
    along = _inner(grads, tangents)
    return Tape(along, until=[cotangent]).backprop([cotangent], traced=traced)[0]


def jacobian(f: Function, argnums: Argnums = 0) -> Function:
    """The function that returns the derivatives of every entry of f by every entry of an argument.

    The result has the shape of f's value followed by that of the argument; a tuple of them if `argnums` is a sequence.
    If f returns a structure, the result is one like it, which holds for each array what it would be for that alone.

    All rows come from one traced sweep, computed for all of them at once (see `batching`), or all columns from its
    transpose, whichever are fewer by far: a program that is compiled from it does not grow with their number.

    >>> import numpy as np, tinygraph as tg
    >>> tg.jacobian(lambda x: x[:2] * x[1:])(np.array([1.0, 2.0, 3.0]))
    array([[2., 1., 0.],
           [0., 3., 2.]])
    """
    @_like(f)
    def jacobian_f(*args: Any, **options: Any) -> Any:
        record = Record("jacobian", f, args, options, argnums)
        by_leaf = [[plain(part, type(x)) if isinstance(part, np.ndarray) else part for part in record.split(J)]
                   for J, x in zip(_jacobians(record), record.leaves, strict=True)]
        return filled(record.result, [record.pack([Js[i] for Js in by_leaf]) for i in range(len(record.outputs))])

    return jacobian_f


def hessian(f: Function, argnums: Argnums = 0) -> Function:
    """The function that returns the second derivatives of f: the shape of f's value, then twice the argument's.

    If `argnums` is a sequence, a tuple of tuples: at i, j what the derivative by argument i has for one by argument j.

    >>> import tinygraph as tg
    >>> tg.hessian(lambda x, y: x * x * y, ("x", "y"))(3.0, 5.0)
    ((10.0, 6.0), (6.0, 0.0))
    """
    return jacobian(jacobian(f, argnums), argnums)


def hvp(f: Function) -> Function:
    """The function (x, v, *args) -> H v, the Hessian of x -> f(x, *args) times v, without the Hessian.

    v has the form and shape of x. The order of arguments is that of `hessp` in scipy.optimize.minimize.

    >>> import numpy as np, tinygraph as tg
    >>> tg.hvp(lambda x: np.sum(x ** 3))(np.array([1.0, 2.0]), np.array([1.0, 10.0]))
    array([  6., 120.])
    """
    @_like(f)
    def hvp_f(x: Any, v: Any, *args: Any) -> Any:
        vs = spread(v, x, "hvp: the vector", "the point")
        for point, vector in zip(_flat(x), vs, strict=True):
            if np.shape(vector) != np.shape(point):
                raise ValueError(f"hvp: the vector has shape {np.shape(vector)}, the point {np.shape(point)}")

        return grad(lambda x: _inner(_flat(grad(f)(x, *args)), vs))(x)

    return hvp_f


def _inner(xs: Sequence[Any], ys: Sequence[Any]) -> Any:
    """The sum of all products of entries; of complex ones the real part, which is what a real number changes by."""
    return functools.reduce(operator.add, [_real(np.sum(x * y)) for x, y in zip(xs, ys, strict=True)]) if xs else 0.0


def _real(x: Any) -> Any:
    return np.real(x) if x.dtype.kind == "c" else x


def _flat(x: Any) -> list[Any]:
    return [leaf for _, leaf in leaves(x)]


def _shapes(record: Record) -> Any:
    return mapped(np.shape, record.value)


def _like(f: Function) -> Callable[[Function], Function]:
    """Decorates what a transform makes of f, which keeps f's name and the names of its arguments."""
    return functools.wraps(f, updated=())


# ------------------------------------------------------------------------------------------------- rows and columns

def _jacobians(record: Record) -> list[Any]:
    """The derivatives of each entry of the output by each leaf of the arguments: output's shape, then the leaf's."""
    n, shape, dtype = record.output.size, record.output.shape, record.output.dtype
    if dtype.kind == "c" and not any(x.dtype.kind == "c" for x in record.variables):  # rows would be real
        if (found := _batched_columns(record)) is None:
            raise NotImplementedError("jacobian of a complex value by a real argument, through an op whose rule cannot "
                                      "be traced: take np.real and np.imag of the value apart")
        return found
    record.check_analytic()
    if not getattr(WATCHER.get(), "detector", False):  # which wants to see each sweep
        if _has_few_columns(record) and not (record.traced and _selects(record.tape)):
            found = _batched_columns(record)
            if found is not None and (record.traced or all(np.isfinite(J).all() for J in found)):
                return found
        if n > (1 if record.traced else _FEW) and (found := _batched_rows(record)) is not None:
            return found
    rows = [record.gradients(unit) for unit in np.eye(n, dtype=dtype).reshape(n, *shape)]
    columns = zip(*rows, strict=True) if rows else [()] * len(record.leaves)
    return [_stacked(column, shape, x.shape, x.dtype) for column, x in zip(columns, record.variables, strict=True)]


def _has_few_columns(record: Record) -> bool:
    """Whether columns are cheaper than rows. They take another sweep to begin with, which small arrays do not repay.

    Where a slope is infinite the two have NaN in different places, of 0 times infinity: then it is rows again, on
    arrays, and in a graph they are left alone where something selects.
    """
    rows, columns = record.output.size, sum([x.size for x in record.variables])
    return 0 < _RATIO * columns < rows and rows * sum([node.size for node in record.tape]) > _SMALL


def _batched_rows(record: Record) -> list[Any] | None:
    """The same from one traced sweep, computed for a batch of cotangents: the rows of the identity matrix. None if the
    rule of an op cannot be traced.
    """
    def rows(seed: Any) -> list[Any]:
        cotangent = Value(seed)
        found = _at_each_unit(record, record.sweep(cotangent), cotangent)
        return [_fitting(J, (*record.output.shape, *x.shape), x.dtype)
                for J, x in zip(found, record.variables, strict=True)]

    return _without_branches(record, record.output, record.tape, rows)


def _batched_columns(record: Record) -> list[Any] | None:
    """The same from the transpose of that sweep, computed for a batch of tangents."""
    cotangent = Value(generic(record.output))
    try:
        grads = record.sweep(cotangent)
    except (TypeError, NotImplementedError, AttributeError):
        return None
    xs, shape = record.variables, record.output.shape
    ends = np.cumsum([x.size for x in xs]).tolist()
    kind = np.result_type(*xs) if xs else record.output.dtype

    def columns(seed: Any) -> list[Any]:
        tangent = Value(seed)
        pieces = [np.reshape(tangent[end - x.size:end], x.shape) for x, end in zip(xs, ends, strict=True)]
        pieces = [piece if x.dtype == kind else piece.astype(x.dtype) for x, piece in zip(xs, pieces, strict=True)]
        (found,) = _at_each_unit(record, [_transposed(grads, pieces, cotangent, traced=True)], tangent)
        found = np.transpose(found, (*range(1, found.ndim), 0))
        return [_fitting(found[..., end - x.size:end], (*shape, *x.shape), np.result_type(found, x)
                         if found.dtype.kind == "c" else x.dtype) for x, end in zip(xs, ends, strict=True)]

    every = Value(np.zeros(ends[-1] if ends else 0, kind))
    return _without_branches(record, every, Tape(*grads, until=[cotangent]), columns)


def _without_branches(record: Record, like: Value, tape: Tape, found: Callable[[Any], list[Any]]) -> list[Any] | None:
    """What `found` finds from a seed like `like`, without NaN from branches that were not taken.

    Traced, the rule on such branches is written in where the sweep meets a gradient of 0 (see `tape`). The units that
    the seed stands for have zeros nearly everywhere, so there the sweep starts from zeros; but on arrays, where the
    rule costs more than the rest and matters only if there is a NaN without it, that is the second attempt.
    """
    selecting = _selects(tape)
    seeds = [generic(like), np.zeros(like.shape, like.dtype)]
    with np.errstate(all="ignore" if selecting else None):
        for seed in seeds[record.traced and selecting:1 + selecting]:
            try:
                Js = found(seed)
            except (TypeError, NotImplementedError, AttributeError):
                return None
            if record.traced or not any(np.isnan(J).any() for J in Js):
                break
    return Js


def _selects(tape: Tape) -> bool:
    return any(isinstance(node, Op) and (node.selecting or node.rule is None) for node in tape)


def _at_each_unit(record: Record, outputs: Sequence[Node], variable: Value) -> list[Any]:
    """What nodes are where the variable is one unit after the other; several units at a time, as memory allows."""
    n, shape, dtype = variable.size, variable.shape, variable.dtype
    step = n if record.traced else max(1, _CHUNK // sum(node._value.nbytes for node in record.tape))
    chunks: list[list[Any]] = []
    for start in range(0, n, step):
        units = np.eye(min(step, n - start), n, start, dtype).reshape(-1, *shape)
        rows = batched(outputs, variable, Value(units))
        chunks.append([np.broadcast_to(row, (len(units), *row.shape)) if row is node else row
                       for row, node in zip(rows, outputs, strict=True)])  # 0, whatever the variable is
    return chunks[0] if record.traced else [np.concatenate([row._value for row in rows])
                                            for rows in zip(*chunks, strict=True)]


def _fitting(J: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """A Jacobian, or a part of one, in its shape and dtype."""
    J = J if J.shape == shape else np.reshape(J, shape)
    if isinstance(J, Node):
        return J if J.dtype == dtype else J.astype(dtype)
    return np.asarray(J, dtype, order="C")


def _stacked(rows: Sequence[Any], shape: tuple[int, ...], tail: tuple[int, ...], dtype: Any) -> Any:
    """One array from the rows of a Jacobian."""
    if not rows:
        return np.zeros((*shape, *tail), dtype)
    return np.reshape(np.stack(rows), (*shape, *tail)) if shape or tail else rows[0]
