"""Expressions: what stands on the right side of an equation, as a tree that can be printed and evaluated.

A `Symbol` is a letter with a value, a `Constant` a number or an array, and an `Apply` a sign or a function of other
expressions. Trees come from two places: from nodes (`of_node`), and from the formulas that ops carry. A formula is a
few lines in Python's syntax, over the names of the op's inputs, kept values and options:

    a @ b                        the output (the only line most ops need)
    n = size(t)                  a letter of its own
    dx = dy * (1 - y ** 2)       the gradient by an input, if it is not to be read off the rule

It is not run as Python: `read` turns it into a tree, and a name that no formula can use is an error. This module knows
how expressions are made and evaluated, and nothing of how they look (`notation`) or of derivatives (`equations`).
"""

from __future__ import annotations

import ast
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np

from .. import ops
from ..node import Value
from ..op import Op
from ..ops.selection import assembled
from ..tape import Tape

Values = Mapping["Symbol", Any]


class Expression:
    """A `Symbol`, a `Constant` or an `Apply`."""

    size = 0  # how many signs and functions it holds

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return np.shape(evaluate(self))


@dataclass(eq=False)
class Symbol(Expression):
    """A letter. by: it is the derivative of the loss by this other letter. role: "parameter", "data" or ""."""

    name: str
    value: Any
    by: Symbol | None = None
    role: str = ""


@dataclass(eq=False)
class Constant(Expression):
    """A number, or an array that has no letter."""

    value: Any

    @property
    def number(self) -> Any:
        """The value as a number, if it is one; None otherwise."""
        if np.ndim(self.value) or isinstance(self.value, bool | np.bool):
            return None
        return self.value.item() if isinstance(self.value, np.generic | np.ndarray) else self.value


@dataclass(eq=False)
class Apply(Expression):
    """`head` of arguments: a key of HEADS, or the name of an op. options: what a formula gave as plain values."""

    head: str
    arguments: tuple[Expression, ...]
    options: dict[str, Any] = field(default_factory=dict)
    op: type[Op] | None = None

    def __post_init__(self) -> None:
        self.size = 1 + sum(x.size for x in self.arguments)
        if self.op in (ops.Windows, ops.FoldWindows):  # part of convolutions, and says less than their names
            self.size += 1000


# ---------------------------------------------------------------------------------------------------------- evaluation

def _keep(x: Any, mask: Any) -> Any:
    return np.where(mask, x, np.zeros((), np.asarray(x).dtype))


def _one_hot(t: Any, Z: Any, axis: int) -> Any:
    classes = np.arange(np.shape(Z)[axis])
    return np.expand_dims(t, axis) == classes.reshape(-1, *[1] * (np.ndim(Z) - 1 - axis % np.ndim(Z)))


def _softmax(x: Any, axis: Any) -> Any:
    E = np.exp(x - np.max(np.real(x), axis=axis, keepdims=True))
    return E / np.sum(E, axis=axis, keepdims=True)


def _log_sum_exp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    c = np.max(np.real(x), axis=axis, keepdims=True, initial=-np.inf)
    c = np.where(np.isfinite(c), c, 0)
    y = c + np.log(np.sum(np.exp(x - c), axis=axis, keepdims=True))
    return y if keepdims else np.squeeze(y, axis)


def _log_add_exp(a: Any, b: Any) -> Any:
    c = np.maximum(np.real(a), np.real(b))
    c = np.where(np.isfinite(c), c, 0)
    return c + np.log(np.exp(a - c) + np.exp(b - c))


def _restored(y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """What was reduced, with axes of length 1 where it was."""
    axes = range(np.ndim(x)) if axis is None else [i % np.ndim(x) for i in np.atleast_1d(axis)]
    return np.reshape(y, [1 if i in axes else n for i, n in enumerate(np.shape(x))])


def _sum_like(x: Any, like: Any) -> Any:
    """The sum over the samples: what is left has the shape of `like`."""
    shape = (1,) * (np.ndim(x) - np.ndim(like)) + np.shape(like)
    axes = tuple(i for i, (n, m) in enumerate(zip(np.shape(x), shape, strict=True)) if m != n)
    if np.ndim(x) > np.ndim(like):
        axes = tuple(range(np.ndim(x) - np.ndim(like)))
    return np.reshape(np.sum(x, axis=axes, keepdims=True), np.shape(like))


def _rule(op: type[Op], k: int) -> Callable[..., Any]:
    """The gradient by the k-th input: of the gradient by the output and the inputs."""
    def pulled(grad: Any, *inputs: Any, **options: Any) -> Any:
        leaves = [Value(np.asarray(x), needs_grad=True) for x in inputs]
        return Tape(op(*leaves, **options)).backprop([leaves[k]], grad)[0]

    return pulled


def _scattered(x: Any, *arrays: Any, shape: Any, index: Any) -> Any:
    y = np.zeros(shape, np.asarray(x).dtype)
    np.add.at(y, assembled(index, arrays), x)
    return y


def _over(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy's that goes over axes."""
    return lambda x, axis=None, keepdims=False: function(x, axis=axis, keepdims=keepdims)


# What formulas can say. All keep a tiny imaginary part, so that a complex step can differentiate them.
HEADS: dict[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power, "@": np.matmul, "neg": np.negative,
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "&": np.bitwise_and, "|": np.bitwise_or,
    "~": np.invert, "bracket": lambda x: x, "where": np.where, "keep": _keep, "isnan": np.isnan,
    # parts and shapes
    "index": lambda x, *arrays, index: np.asarray(x)[assembled(index, arrays)], "scatter": _scattered,
    "T": np.transpose, "H": lambda x: np.conj(np.swapaxes(x, -1, -2)), "swap": np.swapaxes,
    "reshape": lambda x, shape: np.reshape(x, shape), "repeat": lambda x, shape: np.broadcast_to(x, shape),
    "expand": np.expand_dims, "squeeze": lambda x, axis=None: np.squeeze(x, axis), "restored": _restored,
    "same": lambda x: x, "real": np.real, "conj": np.conj,
    # over axes
    "sum": _over(np.sum), "prod": _over(np.prod), "mean": _over(np.mean), "max_over": _over(np.max),
    "min_over": _over(np.min), "sum_over_samples": _sum_like, "one_hot": _one_hot, "softmax": _softmax,
    "logsumexp": _log_sum_exp,
    # entry by entry
    "max": np.maximum, "min": np.minimum, "abs": np.abs, "sign": np.sign, "floor": np.floor, "trunc": np.trunc,
    "relu": lambda x: _keep(x, np.real(x) > 0), "sqrt": np.sqrt, "exp": np.exp, "log": np.log,
    "logaddexp": _log_add_exp, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(np.real(x) < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
    # matrices and images
    "inv": np.linalg.inv, "det": np.linalg.det, "cross": np.cross,
    "correlate": ops.Conv2D.apply, "correlate_by_x": _rule(ops.Conv2D, 0), "correlate_by_W": _rule(ops.Conv2D, 1),
}
_NUMBERS = {"pi": Symbol("pi", math.pi)}


def evaluate(x: Expression, values: Values | None = None) -> Any:
    """The value of an expression, where its letters have the values given here, and elsewhere their own.

    What stands under `StopGradient` does not follow the letters: to whoever differentiates it is a constant.
    """
    known: dict[Expression, Any] = {}

    def of(x: Expression) -> Any:
        if isinstance(x, Symbol):
            return values[x] if values and x in values else x.value
        if isinstance(x, Constant):
            return x.value
        if x not in known:
            assert isinstance(x, Apply)
            if x.head == "stop":
                known[x] = evaluate(x.arguments[0])
            else:
                arguments = [of(y) for y in x.arguments]
                apply = HEADS[x.head] if x.op is None else x.op.apply
                known[x] = apply(*arguments, **x.options)
        return known[x]

    with np.errstate(all="ignore"):
        return of(x)


def letters_of(x: Expression) -> dict[Symbol, None]:
    """The letters in an expression, in the order in which they are met."""
    found: dict[Symbol, None] = {}
    todo, seen = [x], set()
    while todo:
        x = todo.pop()
        if isinstance(x, Symbol):
            found[x] = None
        elif isinstance(x, Apply) and x not in seen:
            seen.add(x)
            todo += reversed(x.arguments)
    return found


# ------------------------------------------------------------------------------------------------------ making of trees

def apply(head: str, *arguments: Expression, **options: Any) -> Expression:
    """`head` of arguments, without factors of one, double signs and double transposes."""
    a = arguments[0]
    b = arguments[1] if len(arguments) > 1 else a
    m, n = (x.number if isinstance(x, Constant) else None for x in (a, b))
    if head == "*":
        if m == 1 or n == 1:
            return b if m == 1 else a
        if m is not None and n is not None:
            return Constant(a.value * b.value)  # type: ignore[attr-defined]
        if m == -1 or n == -1:
            return apply("neg", b if m == -1 else a)
        if n is not None and m is None:  # numbers come first, and together
            a, b, m, n = b, a, n, m
        if m is not None and isinstance(b, Apply) and b.head == "neg":
            return apply("neg", apply("*", a, b.arguments[0]))
        if m is not None and isinstance(b, Apply) and b.head == "*" and isinstance(b.arguments[0], Constant):
            k = b.arguments[0].number
            return Apply("*", (a, b)) if k is None else apply("*", Constant(m * k), b.arguments[1])
        if isinstance(m, int | float) and m < 0:
            return apply("neg", apply("*", Constant(-m), b))
        for one in (a, b):  # a number in it comes first
            if isinstance(one, Apply) and one.head == "*" and isinstance(number := one.arguments[0], Constant) and (
                    m is None and number.number is not None):
                rest = (one.arguments[1], b) if one is a else (a, one.arguments[1])
                return apply("*", number, apply("*", *rest))
        if isinstance(a, Apply) and a.head == "neg":  # the sign of a product stands before it
            return apply("neg", apply("*", a.arguments[0], b))
        if isinstance(b, Apply) and b.head == "neg":
            return apply("neg", apply("*", a, b.arguments[0]))
        return Apply("*", (a, b)) if a is not b else Apply("**", (a, Constant(2)))
    if head == "/":
        if n == 1:
            return a
        if isinstance(a, Apply) and a.head == "neg":
            return apply("neg", apply("/", a.arguments[0], b))
    if head == "neg":
        if isinstance(a, Apply) and a.head == "neg":
            return a.arguments[0]
        if m is not None:
            return Constant(-m)
    if head in ("+", "-") and isinstance(b, Apply) and b.head == "neg":
        return Apply("-" if head == "+" else "+", (a, b.arguments[0]))
    if head == "+" and m == 0 and not np.ndim(a.value):  # type: ignore[attr-defined]
        return b
    if head == "-" and m == 0 and not np.ndim(a.value):  # type: ignore[attr-defined]
        return apply("neg", b)
    if head == "**" and n == 1:
        return a
    if head in ("T", "swap") and isinstance(a, Apply) and is_transpose(made := Apply(head, arguments, options)):
        if is_transpose(a):
            return a.arguments[0]
        if a.head == "@" and all(len(x.shape) > 1 for x in a.arguments):  # (A B)ᵀ = Bᵀ Aᵀ
            return apply("@", *(apply(head, x, **options) for x in reversed(a.arguments)))
        return made
    if head == "T" and (axes := options.get("axes")) is not None:
        axes = [int(i) % len(a.shape) for i in axes]
        if axes == sorted(axes):
            return a
        if len(axes) == 2:
            return apply("T", a)
    if head == "real" and np.asarray(evaluate(a)).dtype.kind != "c":
        return a
    if head == "exp" and m == 0:
        return Constant(1)
    if head == "same":
        return a
    if head == "reshape" and isinstance(a, Apply) and a.head == "sum" and a.options.get("keepdims"):
        total = Apply("sum", a.arguments, {"axis": a.options.get("axis")})
        if total.shape == tuple(options["shape"]):
            return total
    if head == "repeat" and a.shape == tuple(options["shape"]):
        return a
    return Apply(head, arguments, options)


def is_transpose(x: Expression) -> bool:
    """Whether it is Aᵀ, for a matrix or a stack of them."""
    if not isinstance(x, Apply) or x.head not in ("T", "swap"):
        return False
    n = len(x.arguments[0].shape)
    if x.head == "T":
        return not x.options and n == 2
    return {x.options["axis1"] % n, x.options["axis2"] % n} == {n - 1, n - 2}


def alike(a: Expression, b: Expression) -> bool:
    """Whether two expressions are written alike, of the same letters."""
    if a is b:
        return True
    if not (isinstance(a, Apply) and isinstance(b, Apply) and a.head == b.head and a.op is b.op and a.size == b.size):
        return False
    return a.size <= 8 and repr(a.options) == repr(b.options) and all(map(alike, a.arguments, b.arguments))


def names_of(op: type[Op]) -> tuple[list[str], str, list[str]]:
    """What the op's rule (or, without one, its forward) calls its inputs, its output, and what forward keeps."""
    inputs = list(op.signature[0])
    if op.rule is None:
        return inputs, "y", []
    code = op.rule.__code__
    names = list(code.co_varnames[2:code.co_argcount])
    return names[1:1 + len(inputs)], names[0], names[1 + len(inputs):]


def statements(op: Any) -> tuple[list[tuple[str, ast.expr]], dict[str, ast.expr]]:
    """The lines of a formula: definitions (the output has the name ""), and gradients by the name of the input."""
    return _statements(op)


@cache
def _statements(op: Any) -> tuple[list[tuple[str, ast.expr]], dict[str, ast.expr]]:
    inputs = names_of(op)[0]
    lines: list[tuple[str, ast.expr]] = []
    gradients: dict[str, ast.expr] = {}
    for statement in ast.parse(textwrap.dedent(op.formula).strip()).body:
        match statement:
            case ast.Expr():
                lines.append(("", statement.value))
            case ast.Assign(targets=[ast.Name(id=name)]):
                if name[1:] in inputs and name.startswith("d"):
                    gradients[name[1:]] = statement.value
                else:
                    lines.append((name, statement.value))
            case _:
                raise _unreadable(op, ast.unparse(statement))
    if [name for name, _ in lines].count("") != 1:
        raise ValueError(f"the formula of {op.__name__} needs one line for the output, an expression without '='")
    return lines, gradients


def read(op: type[Op], arguments: Sequence[Expression], options: Mapping[str, Any],
         letter: Callable[[str, Expression], Expression] = lambda name, x: x) -> tuple[Expression, dict[str, Any]]:
    """The output by an op's formula, and what its names mean. letter: makes a letter for a definition."""
    inputs, output, _ = names_of(op)
    defaults = {name: value for name, value in op.signature[1].items() if value is not ...}
    scope = {**defaults, **options, **dict(zip(inputs, arguments, strict=True))}
    for name, tree in statements(op)[0]:
        found = _as_expression(_read(op, tree, scope))
        scope[name or output] = letter(name, found) if name else found
    return scope[output], scope


def read_gradient(op: type[Op], name: str, scope: dict[str, Any], y: Expression, grad: Expression) -> Expression:
    """The gradient by an input, by an op's formula."""
    output = names_of(op)[1]
    return _as_expression(_read(op, statements(op)[1][name], {**scope, output: y, "d" + output: grad}))


_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@", ast.Pow: "**", ast.Lt: "<",
          ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.And: "and", ast.Or: "or",
          ast.BitAnd: "&", ast.BitOr: "|"}


def _read(op: type[Op], tree: ast.expr, scope: Mapping[str, Any]) -> Any:
    """A part of a formula: an expression, or the plain value of an option."""
    def inner(part: ast.expr) -> Expression:
        return _as_expression(_read(op, part, scope))

    match tree:
        case ast.Constant():
            return tree.value
        case ast.Name() if tree.id in scope:
            return scope[tree.id]
        case ast.Name() if tree.id in _NUMBERS:
            return _NUMBERS[tree.id]
        case ast.BinOp() if type(tree.op) in _SIGNS:
            return apply(_SIGNS[type(tree.op)], inner(tree.left), inner(tree.right))
        case ast.Compare(ops=[sign]) if type(sign) in _SIGNS:
            return apply(_SIGNS[type(sign)], inner(tree.left), inner(tree.comparators[0]))
        case ast.BoolOp(values=[a, b]):
            return apply(_SIGNS[type(tree.op)], inner(a), inner(b))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=number)):
            return -number  # type: ignore[operator]
        case ast.UnaryOp(op=ast.USub()):
            return apply("neg", inner(tree.operand))
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            return apply("not" if isinstance(tree.op, ast.Not) else "~", inner(tree.operand))
        case ast.List(elts=[condition]):
            return apply("bracket", inner(condition))
        case ast.IfExp():
            return apply("where", inner(tree.test), inner(tree.body), inner(tree.orelse))
        case ast.Attribute(attr="T" | "H"):
            return apply(tree.attr, inner(tree.value))
        case ast.Call(func=ast.Name(id="size"), args=[x]):
            return Constant(math.prod(inner(x).shape))
        case ast.Call(func=ast.Name()) if tree.func.id in HEADS or tree.func.id == "stop":  # type: ignore[attr-defined]
            return _call(op, tree, scope)
    raise _unreadable(op, ast.unparse(tree))


def _call(op: type[Op], tree: ast.Call, scope: Mapping[str, Any]) -> Expression:
    """`f(x, y, axis)`: expressions are arguments, and the values of options are options, by name."""
    found = [_read(op, part, scope) for part in tree.args]
    options = {keyword.arg or "": _read(op, keyword.value, scope) for keyword in tree.keywords}
    head: str = tree.func.id  # type: ignore[attr-defined]
    named = {part.id: x for part, x in zip(tree.args, found, strict=True)
             if isinstance(part, ast.Name) and not isinstance(x, Expression)}
    return apply(head, *[_as_expression(x) for part, x in zip(tree.args, found, strict=True)
                         if not (isinstance(part, ast.Name) and part.id in named)],
                 **{name: value for name, value in {**named, **options}.items() if value is not None})


def _as_expression(x: Any) -> Expression:
    return x if isinstance(x, Expression) else Constant(x)


def _unreadable(op: type[Op], text: str) -> ValueError:
    return ValueError(f"the formula of {op.__name__} says {text!r}: it can use the names of the op's inputs and "
                      f"options, + - * / ** @ .T, comparisons, [condition], a if condition else b, and "
                      f"{', '.join(sorted(h for h in HEADS if h.isidentifier() and h not in ('neg', 'pull')))}")


def written(op: type[Op], arguments: Sequence[Expression], options: Mapping[str, Any]) -> Expression:
    """An op of expressions: by its formula, if it has one, and otherwise by its name."""
    if op is ops.Cast and np.dtype(options["dtype"]).kind == "f":  # rounding, or to float32, is not mathematics
        return arguments[0]
    if op is ops.Index or op is ops.ScatterAdd:
        return Apply("index" if op is ops.Index else "scatter", tuple(arguments), dict(options))
    if not op.formula:
        return Apply(name_of(op), tuple(arguments), dict(options), op)
    return read(op, arguments, options)[0]


def name_of(op: type[Op]) -> str:
    """What an op without a formula is called: as the function of NumPy that it is, or as its class."""
    own = op.forward
    return own.__name__ if isinstance(own, np.ufunc) else op.__name__.lower()


def of_node(node: Any, letters: Mapping[Any, Expression]) -> Expression:
    """The expression that a graph stands for, down to what has a letter: nodes, and plain arrays by their id."""
    known: dict[Any, Expression] = {}

    def found(x: Any) -> Expression | None:
        if not isinstance(x, Value):
            return letters.get(id(x)) or Constant(x)
        return letters.get(x) or known.get(x)

    todo = [node]
    while todo:
        x = todo[-1]
        if found(x) is not None:
            todo.pop()
        elif not isinstance(x, Op):
            known[x] = Constant(x._value)
        elif missing := [y for y in x.inputs if found(y) is None]:
            todo += missing
        else:
            known[x] = written(type(x), [found(y) for y in x.inputs], getattr(x, "options", {}))  # type: ignore[misc]
    return found(node)  # type: ignore[return-value]
