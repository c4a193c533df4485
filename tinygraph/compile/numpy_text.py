"""How each primitive is written in NumPy: as an expression, and as a call or lines that write into an array.

`FORMS` has the forms of every primitive of the package. A form sees an `Instruction` and the texts of its operands,
as a `Call`; it knows nothing of the rest of the program, of names, or of whose memory a result gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import ops
from ..op import Op, Primitive
from ..ops.selection import ARRAY
from ..recording import Variable
from .program import Instruction, Operand, Var, is_numpy

# How tightly an expression holds together, as Python has it.
COMPARISON, OR, XOR, AND, SHIFT, SUM, PRODUCT, SIGN, ATOM = range(9)


class Text(NamedTuple):
    """An expression, and how tightly it holds together."""

    code: str
    level: int = ATOM

    def within(self, level: int) -> str:
        """In parentheses, if it holds together less tightly than `level` asks."""
        return self.code if self.level >= level else f"({self.code})"


class Source(Protocol):
    """What a form may ask of the source that is being written."""

    def constant(self, array: np.ndarray, hint: str) -> str:
        """The name of an array that is made once."""

    def local(self, hint: str) -> str:
        """The name of a variable that no statement but its own sees."""

    def helper(self, hint: str, lines: list[str]) -> str:
        """The name of a function that is defined before; its lines have {name} in that place."""

    def maker(self, x: Operand) -> Instruction | None:
        """The instruction that is written out in the place of the operand, if there is one."""

    def value(self, x: Operand) -> np.ndarray | None:
        """The array that a constant is."""

    def text(self, x: Operand) -> Text: ...

    def foreign(self, thing: Any, hint: str) -> str:
        """The name of an object that no source can express."""


@dataclass(frozen=True)
class Call:
    """An instruction whose operands have texts."""

    instruction: Instruction
    source: Source

    @property
    def output(self) -> Var:
        return self.instruction.output

    @property
    def operands(self) -> tuple[Operand, ...]:
        return self.instruction.inputs

    def option(self, name: str, default: Any = None) -> Any:
        return self.instruction.options.get(name, default)

    def __getitem__(self, k: int) -> str:
        """The text of an operand, as an argument."""
        return self.source.text(self.operands[k]).code

    def within(self, k: int, level: int) -> str:
        return self.source.text(self.operands[k]).within(level)

    def atom(self, k: int) -> str:
        """The text of an operand that may be followed by a dot or a bracket; a Python number has no methods."""
        return self.within(k, ATOM) if is_array(self.operands[k]) else f"np.asarray({self[k]})"

    def arguments(self, *more: str) -> str:
        return ", ".join([*[self[k] for k in range(len(self.operands))], *filter(None, more)])


@dataclass(frozen=True)
class Form:
    """How the instructions of one op are written; of `into` and `lines` at most one is given.

    text: as an expression, whose value is a new array (a view of the first operand's memory, if it is a `view`).
    into: as a call that writes into an array and returns it.
    lines: as lines that write into an array, which is full of zeros, if `zeros`.
    over: the operands over which the result may be written, entry by entry.
    repeats: `lines` has the text of an operand twice. raises: it may fail for some values of the operands.
    """

    text: Callable[[Call], Text] | None = None
    into: Callable[[Call, str], str] | None = None
    lines: Callable[[Call, str], list[str]] | None = None
    view: bool = False
    zeros: bool = False
    over: Callable[[Instruction], Sequence[Operand]] = lambda i: ()
    repeats: bool = False
    raises: bool = False


def is_array(x: Operand) -> bool:
    return isinstance(x, Var) and not x.weak


def literal(value: Any, short: bool = False) -> Text:
    """A Python number. short: for a comment."""
    if short and isinstance(value, float):
        value = float(f"{value:.6g}")
    if isinstance(value, complex):
        return Text(f"complex({literal(value.real).code}, {literal(value.imag).code})")
    if isinstance(value, float) and not math.isfinite(value):
        return Text("np.nan") if math.isnan(value) else Text("np.inf") if value > 0 else Text("-np.inf", SIGN)
    return Text(repr(value), SIGN if math.copysign(1, value) < 0 else ATOM)


def dtype_name(dtype: np.dtype[Any]) -> str:
    if not dtype.isnative or getattr(np, dtype.name, None) is None:
        return f"np.dtype({dtype.str!r})"
    return "bool" if dtype.kind == "b" else f"np.{dtype.name}"


def dtype_argument(dtype: np.dtype[Any], default: Any = np.float64) -> str:
    """As the last argument of a function that makes an array: nothing, if it is the default."""
    return "" if dtype == default else f", {dtype_name(dtype)}"


# ------------------------------------------------------------------------------------------------------ entry by entry

_OPERATORS: dict[Any, tuple[str, int]] = {
    np.add: ("+", SUM), np.subtract: ("-", SUM), np.multiply: ("*", PRODUCT), np.divide: ("/", PRODUCT),
    np.less: ("<", COMPARISON), np.less_equal: ("<=", COMPARISON), np.greater: (">", COMPARISON),
    np.greater_equal: (">=", COMPARISON), np.equal: ("==", COMPARISON), np.not_equal: ("!=", COMPARISON),
    np.bitwise_and: ("&", AND), np.bitwise_or: ("|", OR), np.bitwise_xor: ("^", XOR),
    np.left_shift: ("<<", SHIFT), np.right_shift: (">>", SHIFT),
}
_SIGNS = {np.negative: "-", np.invert: "~"}
_COMMUTE = {np.add, np.multiply, np.bitwise_and, np.bitwise_or, np.bitwise_xor}
_SAFE = {np.add, np.subtract, np.multiply, np.negative}  # of Python numbers, too, the operator is the function
_ZEROS = 1 << 20  # bytes of zeros at most, so that they stay in the cache
_LANE = 64  # of zeros at least: shorter rows take longer than the number


def _same_size(i: Instruction) -> list[Operand]:
    return [x for x in i.inputs if is_array(x) and x.shape == i.output.shape and x.dtype == i.output.dtype]


def _ufunc_text(c: Call) -> Text:
    ufunc = c.instruction.op.forward
    number = c.output.weak or not any(is_array(x) for x in c.operands)
    if not number or ufunc in _SAFE:
        if ufunc in _OPERATORS:
            sign, level = _OPERATORS[ufunc]
            left = level + 1 if level == COMPARISON else level  # a < b < c means something else
            return Text(f"{c.within(0, left)} {sign} {c.within(1, level + 1)}", level)
        if ufunc in _SIGNS:
            return Text(f"{_SIGNS[ufunc]}{c.within(0, SIGN)}", SIGN)
    call = f"np.{ufunc.__name__}({c.arguments()})"
    return Text(call + ".item()" if c.output.weak else call)


def _ufunc_into(c: Call, out: str) -> str:
    return f"np.{c.instruction.op.forward.__name__}({c.arguments(f'out={out}')})"


def is_augmentable(i: Instruction) -> bool:
    return i.op.forward in _OPERATORS and _OPERATORS[i.op.forward][1] != COMPARISON


def augmented(c: Call, out: str) -> str | None:
    """`out += x`, if that is what the instruction does."""
    if not is_augmentable(c.instruction):
        return None
    ufunc = c.instruction.op.forward
    sign = _OPERATORS[ufunc][0]
    if c[0] == out and is_array(c.operands[0]):
        return f"{out} {sign}= {c[1]}"
    if c[1] == out and is_array(c.operands[1]) and ufunc in _COMMUTE:
        return f"{out} {sign}= {c[0]}"
    return None


UFUNC = Form(_ufunc_text, _ufunc_into, over=_same_size)


def _bounded(c: Call, *more: str) -> str:
    """np.maximum and np.minimum, which are three times as fast with an array of zeros as with the number."""
    name, (x, bound) = c.instruction.op.forward.__name__, c.operands
    shape = c.output.shape
    if isinstance(bound, Var) or not isinstance(x, Var) or bound != 0 or x.shape != shape or x.dtype != c.output.dtype:
        return f"np.{name}({c.arguments(*more)})"
    while math.prod(shape) * c.output.dtype.itemsize > _ZEROS:
        shape = shape[1:]
    if math.prod(shape) < _LANE:
        return f"np.{name}({c.arguments(*more)})"
    zeros = c.source.constant(np.zeros(shape, c.output.dtype), "zeros")
    return f"np.{name}({', '.join([c[0], zeros, *more])})"


# -------------------------------------------------------------------------------------------------------------- choice

_UNSIGNED = {2: "np.uint16", 4: "np.uint32", 8: "np.uint64"}
FEW = 512  # entries up to which np.where is as quick as the product with a mask


def _has_bits(i: Instruction) -> bool:
    x, mask = i.inputs
    return (is_array(x) and is_array(mask) and mask.dtype == bool and i.output.size > FEW
            and i.output.dtype in (np.float16, np.float32, np.float64))


def _keep_text(c: Call) -> Text:
    if _has_bits(c.instruction):
        bits = _UNSIGNED[c.output.dtype.itemsize]
        return Text(f"np.multiply({c.atom(0)}.view({bits}), {c[1]}).view({dtype_name(c.output.dtype)})")
    return Text(f"np.where({c[1]}, {c[0]}, {'0.0' if c.output.dtype.kind == 'f' else '0'})")


def _keep_into(c: Call, out: str) -> str:
    bits = _UNSIGNED[c.output.dtype.itemsize]
    name = c.source.helper("keep", [
        "def {name}(x, mask, out):",
        '    """x where the mask holds, and 0 elsewhere, also for infinite and NaN entries: the bits times 1 or 0."""',
        f"    np.multiply(x.view({bits}), mask, out=out.view({bits}))",
        "    return out"])
    return f"{name}({c.arguments(f'out={out}')})"


def _where_text(c: Call) -> Text:
    return Text(f"np.where({c.arguments()})")


# ---------------------------------------------------------------------------------------------------------- reductions

_REDUCE: dict[type[Op], str] = {
    ops.Sum: "np.add.reduce", ops.Prod: "np.multiply.reduce", ops.Max: "np.maximum.reduce",
    ops.Min: "np.minimum.reduce", ops.NanMax: "np.fmax.reduce", ops.NanMin: "np.fmin.reduce"}
_WEIGHTS = 4096  # entries up to which sums are products with ones, which BLAS does in half the time


def _reduction(c: Call, *more: str) -> str:
    x, axis = c.operands[0], c.option("axis")
    ndim = x.ndim if isinstance(x, Var) else 0
    if axis is None or (isinstance(axis, tuple) and len(axis) == ndim):
        axis = "axis=None" if ndim != 1 else ""
    else:
        axis = f"axis={axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis}"
    dtype = c.option("dtype")
    return c.arguments(axis, f"dtype={dtype_name(np.dtype(dtype))}" if dtype is not None else "",
                       "keepdims=True" if c.option("keepdims") else "", *more)


def is_weighted(sum_: Instruction, product: Instruction) -> bool:
    """Whether a sum of everything, times a number, may be written as a product with an array of that number."""
    if sum_.op is not ops.Sum or product.op is not ops.Multiply or sum_.output.shape or sum_.inputs[0] is not (
            product.output) or sum_.output.dtype not in (np.float32, np.float64):
        return False
    x, weight = _weighted(product)
    return (is_array(x) and not isinstance(weight, Var) and x.dtype == sum_.output.dtype and 0 < x.size <= _WEIGHTS
            and x.shape == product.output.shape)


def _weighted(product: Instruction) -> Sequence[Operand]:
    return product.inputs if not isinstance(product.inputs[1], Var) else product.inputs[::-1]


def _as_product(c: Call, *more: str) -> str | None:
    """A sum over one of two axes as a product with ones; of everything, times a number, as a product with that."""
    x, axis = c.operands[0], c.option("axis")
    if not isinstance(x, Var) or x.dtype not in (np.float32, np.float64) or x.dtype != c.output.dtype or not x.size:
        return None
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(a % x.ndim for a in axes)
    if x.ndim == 2 and len(axes) == 1 and x.shape[axes[0]] <= _WEIGHTS and not (axes == (0,) and x.size > _WEIGHTS):
        keep = bool(c.option("keepdims"))
        n = x.shape[axes[0]]
        ones = c.source.constant(np.ones((n, 1)[::1 if axes == (1,) else -1] if keep else n, x.dtype), "ones")
        first, second = (c.within(0, ATOM), ones) if axes == (1,) else (ones, c[0])
        return f"{first}.dot({', '.join([second, *more])})"
    product = c.source.maker(x)
    if product is not None and is_weighted(c.instruction, product) and not more:
        y, weight = _weighted(product)
        weights = c.source.constant(np.full(y.size, weight, x.dtype), "weights")
        return f"{c.source.text(y).within(ATOM)}{'.ravel()' if y.ndim != 1 else ''}.dot({weights})"
    return None


def _reduce_text(c: Call) -> Text:
    op = c.instruction.op
    return Text((_as_product(c) if op is ops.Sum else None) or f"{_REDUCE[op]}({_reduction(c)})")


def _reduce_into(c: Call, out: str) -> str:
    op, into = c.instruction.op, f"out={out}"
    return (_as_product(c, into) if op is ops.Sum else None) or f"{_REDUCE[op]}({_reduction(c, into)})"


def _accumulated(function: str) -> Callable[[Call], Text]:
    def text(c: Call) -> Text:
        axis, x = c.option("axis"), c.operands[0]
        if not c.option("reverse"):
            return Text(f"{function}({c[0]}, axis={axis}{_accumulator(c)})")
        ndim = x.ndim if isinstance(x, Var) else 1
        back = f"[{', '.join([':'] * (axis % ndim) + ['::-1'])}]"
        return Text(f"{function}({c.atom(0)}{back}, axis={axis}{_accumulator(c)}){back}")
    return text


def _accumulator(c: Call) -> str:
    """Small integers are added up in large ones; `accumulate` by itself would keep their dtype."""
    x = c.operands[0]
    return "" if isinstance(x, Var) and x.dtype == c.output.dtype else f", dtype={dtype_name(c.output.dtype)}"


def is_over_windows(i: Instruction) -> bool:
    """Whether a reduction is over the two axes of windows alone."""
    axis, ndim = i.options["axis"], i.inputs[0].ndim
    return (isinstance(axis, tuple) and sorted(a % ndim for a in axis) == [ndim - 2, ndim - 1]
            and not i.options.get("keepdims"))


def _pooled_lines(c: Call, out: str) -> list[str]:
    """The first entries of all windows, the second ones, ...: NumPy is slow to reduce axes as short as a window's."""
    *_, kh, kw = c.operands[0].shape
    u, v = c.source.local("row"), c.source.local("column")
    function = _REDUCE[c.instruction.op].removesuffix(".reduce")
    return [f"{out}[...] = {c.atom(0)}[..., 0, 0]",
            f"for {u}, {v} in np.ndindex({kh}, {kw}):",
            f"    {function}({out}, {c.atom(0)}[..., {u}, {v}], out={out})"]


# ------------------------------------------------------------------------------------------------------ linear algebra

def _is_dot(c: Call) -> bool:
    """Whether np.dot does it, which for two matrices takes half the overhead of np.matmul."""
    return all(isinstance(x, Var) and x.ndim == 2 and x.dtype == c.output.dtype for x in c.operands) and (
        c.output.dtype.kind in "fc")


def _matmul_text(c: Call) -> Text:
    if _is_dot(c):
        return Text(f"{c.within(0, ATOM)}.dot({c[1]})")
    return Text(f"{c.within(0, PRODUCT)} @ {c.within(1, SIGN)}", PRODUCT)


def _matmul_into(c: Call, out: str) -> str:
    if _is_dot(c):
        return f"{c.within(0, ATOM)}.dot({c[1]}, out={out})"
    return f"np.matmul({c.arguments(f'out={out}')})"


# ------------------------------------------------------------------------------------------------- shapes and selection

def _part(part: Any) -> str:
    if isinstance(part, slice):
        start = "" if part.start is None or (part.start == 0 and (part.step or 1) > 0) else str(int(part.start))
        stop = "" if part.stop is None else str(int(part.stop))
        return f"{start}:{stop}" + (f":{int(part.step)}" if part.step not in (None, 1) else "")
    return "..." if part is Ellipsis else str(part)


def _index(parts: Sequence[Any], arrays: Sequence[str] = (), shape: Sequence[int] = ()) -> str:
    """What stands between the brackets. What takes a whole axis is written short."""
    remaining = iter(arrays)
    texts = [next(remaining) if part is ARRAY else _part(part) for part in parts]
    if len(shape) == len(parts):  # one part an axis
        texts = [":" if isinstance(part, slice) and range(n)[part] == range(n) else text
                 for part, n, text in zip(parts, shape, texts, strict=True)]
        while len(texts) > 1 and texts[-1] == ":":
            texts.pop()
    return ", ".join(texts) or "()"


_COUNTED = 1 << 20  # entries in which the ones that an index names are counted


def _of_operand(c: Call, k: int, shape: Sequence[int]) -> str:
    """The index into an array of a shape; its arrays are the operands after the one of number k."""
    arrays = [c[n] if is_array(c.operands[n]) else f"np.asarray({c[n]})" for n in range(k + 1, len(c.operands))]
    return _index(c.option("index"), arrays, () if arrays else shape)


def _index_text(c: Call) -> Text:
    return Text(f"{c.atom(0)}[{_of_operand(c, 0, c.operands[0].shape if isinstance(c.operands[0], Var) else ())}]")


def _scatter_lines(c: Call, out: str) -> list[str]:
    return [_added_at(c, out, 0, "=")]


def _add_at_lines(c: Call, out: str) -> list[str]:
    return [*[f"{out}[...] = {c[0]}"] * (c[0] != out), _added_at(c, out, 1, "+=")]


def _added_at(c: Call, out: str, k: int, sign: str) -> str:
    """Operand k added at an index, made of the operands after it."""
    index = _of_operand(c, k, c.output.shape)
    if _names_once(c, c.operands[k + 1:]):
        return f"{out}[{index}] {sign} {c[k]}"
    return f"np.add.at({out}, {index if c.option('index') == (ARRAY,) else f'np.s_[{index}]'}, {c[k]})"


def _names_once(c: Call, arrays: Sequence[Operand]) -> bool:
    """Whether an index names no entry twice: one of slices and masks, or of constants that do not."""
    if all(isinstance(x, Var) and x.dtype == bool for x in arrays):
        return True
    values = iter([c.source.value(x) for x in arrays])
    index = tuple(next(values) if part is ARRAY else part for part in c.option("index"))
    if any(part is None for part in index) or c.output.size > _COUNTED:
        return False
    counts = np.zeros(c.output.shape, np.intp)
    np.add.at(counts, index, 1)  # type: ignore[arg-type]
    return bool(counts.max(initial=0) <= 1)


def _transpose_text(c: Call) -> Text:
    axes, x = c.option("axes"), c.operands[0]
    ndim = x.ndim if isinstance(x, Var) else 0
    if axes is None or tuple(axis % ndim for axis in axes) == tuple(range(ndim))[::-1]:
        return Text(f"{c.atom(0)}.T")
    return Text(f"{c.atom(0)}.transpose({', '.join(map(str, axes))})")


def _cast_text(c: Call) -> Text:
    if is_array(c.operands[0]):
        return Text(f"{c.atom(0)}.astype({dtype_name(c.output.dtype)})")
    return Text(f"np.{c.output.dtype.name}({c[0]})")


def _shape(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape)) if shape else "()"


def shape_argument(shape: tuple[int, ...]) -> str:
    return str(shape[0]) if len(shape) == 1 else str(shape)


def _filled_text(c: Call) -> Text:
    """A number or a small array, repeated in new memory."""
    array = c.source.value(c.operands[0])
    if array is not None and array.size == 1 and array.dtype.kind in "biufc" and array.dtype.itemsize <= 16:
        number = array.item()
        return Text(f"np.full({shape_argument(c.output.shape)}, {literal(number).code}"
                    f"{dtype_argument(array.dtype, np.asarray(number).dtype)})")
    return Text(f"np.full({shape_argument(c.output.shape)}, {c[0]})")


def _reshape_lines(c: Call, out: str) -> list[str]:
    x = c.operands[0]
    return [f"{out}.reshape({_shape(x.shape if isinstance(x, Var) else ())})[...] = {c[0]}"]


def _pad_lines(c: Call, out: str) -> list[str]:
    x, width = c.operands[0], c.option("width")
    shape = x.shape if isinstance(x, Var) else ()
    inner = [slice(before, before + n) for n, (before, _) in zip(shape, width, strict=True)]
    return [f"{out}[{_index(inner, (), c.output.shape)}] = {c[0]}"]


def _windows_text(c: Call) -> Text:
    (kh, kw), strides, (dh, dw) = c.option("shape"), c.option("stride"), c.option("dilation", (1, 1))
    span = (kh - 1) * dh + 1, (kw - 1) * dw + 1
    view = f"np.lib.stride_tricks.sliding_window_view({c[0]}, {span}, axis=(-2, -1))"
    steps = ", ".join(f"::{step}" if step > 1 else ":" for step in (*strides, dh, dw))
    return Text(view if steps == ":, :, :, :" else f"{view}[..., {steps}]")


def _fold_lines(c: Call, out: str) -> list[str]:
    """Every first entry of a window, every second, ...: each is a regular grid in the image."""
    *_, oh, ow, kh, kw = c.operands[0].shape
    (sh, sw), (dh, dw) = c.option("stride"), c.option("dilation", (1, 1))
    u, v = c.source.local("row"), c.source.local("column")

    def grid(place: str, apart: int, count: int, step: int) -> str:
        start = place if apart == 1 else f"{apart} * {place}"
        return f"{start}:{start} + {step * (count - 1) + 1}" + (f":{step}" if step > 1 else "")

    sign = "=" if (kh - 1) * dh < sh and (kw - 1) * dw < sw else "+="  # no two windows overlap, or some do
    return [f"for {u}, {v} in np.ndindex({kh}, {kw}):",
            f"    {out}[..., {grid(u, dh, oh, sh)}, {grid(v, dw, ow, sw)}] {sign} {c.atom(0)}[..., {u}, {v}]"]


def _in_range_lines(c: Call, out: str) -> list[str]:
    """A check, which writes nothing."""
    x, n, text = c.operands[0], c.option("n"), c.atom(0)
    fail = [f"    raise ValueError(f\"labels must lie in [0, {n}), got {{{text}.min()}} to {{{text}.max()}}\")"]
    if isinstance(x, Var) and not x.size:
        return []
    if is_array(x) and x.dtype.kind in "iu" and n <= 1 << (8 * x.dtype.itemsize - 1):
        unsigned = f"{text}.view(np.uint{8 * x.dtype.itemsize})" if x.dtype.kind == "i" else text
        axis = ", axis=None" if x.ndim != 1 else ""
        return [*["# Seen as unsigned numbers, negative ones are huge."] * (x.dtype.kind == "i"),
                f"if np.maximum.reduce({unsigned}{axis}) >= {n}:", *fail]
    return [f"if not 0 <= {text}.min() <= {text}.max() < {n}:", *fail]


def _concatenate(c: Call, *more: str) -> str:
    comma = "," * (len(c.operands) == 1)
    return f"np.concatenate({', '.join([f'({c.arguments()}{comma})', 'axis=' + str(c.option('axis')), *more])})"


def _mean(c: Call, *more: str) -> str:
    return f"np.mean({_reduction(c, *more)})"


def _expanded(c: Call) -> str:
    return f"np.expand_dims({c[0]}, {c.option('axis')})"


# ----------------------------------------------------------------------------------------------- what is not primitive

class Copy(Primitive):
    """y = x, in memory of its own"""

    def forward(self, x: Any) -> Any:
        return np.array(x)

    def backward(self, grad: Any, y: Any, x: Any) -> Any:
        return grad


class AddAt(Primitive):
    """y = total with x added at an index, made of arrays"""

    def forward(self, total: Any, x: Any, *arrays: Any, index: Any) -> Any:
        return total + ops.ScatterAdd.apply(x, *arrays, shape=total.shape, index=index)

    def backward(self, grad: Any, y: Any, total: Any, x: Any, *arrays: Any, index: Any) -> Any:
        return grad, ops.Index.apply(grad, *arrays, index=index), *[None] * len(arrays)


COPY = Form(lambda c: Text(f"{c.atom(0)}.copy()"), lines=lambda c, out: [f"{out}[...] = {c[0]}"])
FILLED = Form(_filled_text, lines=lambda c, out: [f"{out}[...] = {c[0]}"])
RESHAPED = Form(lines=_reshape_lines)
POOLED = Form(lines=_pooled_lines, repeats=True)
FROM_ARRAY = Form(_index_text, raises=True)
FROM_NUMBER = Form(_index_text, view=True, raises=True)
ADDED_AT = Form(lines=_scatter_lines, zeros=True, raises=True)
ADD_AT = Form(lines=_add_at_lines, over=lambda i: i.inputs[:1] if is_array(i.inputs[0]) else [])


def _foreign_text(c: Call) -> Text:
    options = [f"{name}={_option(c, name, value)}" for name, value in c.instruction.options.items()]
    op = c.instruction.op
    given = [c[k] for k in range(len(c.operands))]
    if op.elementwise and c.output.dtype in (np.float16, np.float32):  # a ufunc of SciPy takes a number for a float64
        given = [f"{dtype_name(c.output.dtype)}({text})" if type(x) is float else text
                 for x, text in zip(c.operands, given, strict=True)]
    call = f"{c.source.foreign(op, op.__name__)}({', '.join([*given, *options])})"
    return Text(call + ".item()" if c.output.weak else call)


def _option(c: Call, name: str, value: Any) -> str:
    simple = value is None or type(value) in (bool, int, float, str)
    return repr(value) if simple else c.source.foreign(value, name)


KEPT = Form(_keep_text, _keep_into, over=lambda i: [x for x in _same_size(i) if x is i.inputs[0]])
FOREIGN = Form(_foreign_text, raises=True)


def _same_text(c: Call) -> Text:
    return c.source.text(c.operands[0])


_SAME = Form(_same_text, view=True)
_BOUNDED = Form(lambda c: Text(_bounded(c)), lambda c, out: _bounded(c, f"out={out}"), over=_same_size)

FORMS: dict[Any, Form] = {
    Copy: COPY,
    Variable: _SAME,
    ops.Identity: _SAME,
    ops.StopGradient: _SAME,
    ops.InRange: Form(lines=_in_range_lines, repeats=True, raises=True),
    ops.Maximum: _BOUNDED,
    ops.Minimum: _BOUNDED,
    ops.Keep: Form(_keep_text),
    ops.Where: Form(_where_text),
    **dict.fromkeys(_REDUCE, Form(_reduce_text, _reduce_into)),
    ops.CumSum: Form(_accumulated("np.add.accumulate")),
    ops.CumProd: Form(_accumulated("np.multiply.accumulate")),
    ops.CumMax: Form(_accumulated("np.maximum.accumulate")),
    ops.CumMin: Form(_accumulated("np.minimum.accumulate")),
    ops.CumLogAddExp: Form(_accumulated("np.logaddexp.accumulate")),
    ops.Mean: Form(lambda c: Text(_mean(c)), lambda c, out: _mean(c, f"out={out}")),
    ops.MatMul: Form(_matmul_text, _matmul_into),
    ops.Index: Form(_index_text, view=True),
    ops.ScatterAdd: Form(lines=_scatter_lines, zeros=True),
    ops.Cast: Form(_cast_text, lines=lambda c, out: [f"{out}[...] = {c[0]}"]),
    ops.CastToInteger: Form(_cast_text, lines=lambda c, out: [f"{out}[...] = {c[0]}"]),
    ops.Reshape: Form(lambda c: Text(f"{c.atom(0)}.reshape({_shape(c.output.shape)})"), view=True),
    ops.ExpandDims: Form(lambda c: Text(_expanded(c)), view=True),
    ops.Squeeze: Form(lambda c: Text(f"{c.atom(0)}.reshape({_shape(c.output.shape)})"), view=True),
    ops.Transpose: Form(_transpose_text, view=True),
    ops.SwapAxes: Form(lambda c: Text(f"{c.atom(0)}.swapaxes({c.option('axis1')}, {c.option('axis2')})"), view=True),
    ops.BroadcastTo: Form(lambda c: Text(f"np.broadcast_to({c[0]}, {c.output.shape})"), view=True),
    ops.Concatenate: Form(lambda c: Text(_concatenate(c)), lambda c, out: _concatenate(c, f"out={out}")),
    ops.Pad: Form(lines=_pad_lines, zeros=True),
    ops.Windows: Form(_windows_text, view=True),
    ops.FoldWindows: Form(lines=_fold_lines, zeros=True, repeats=True),
}


def form_of(i: Instruction) -> Form:
    """How an instruction is written."""
    if i.op is ops.Index and len(i.inputs) > 1:
        return FROM_NUMBER if any(not isinstance(x, Var) or not x.shape for x in i.inputs[1:]) else FROM_ARRAY
    if i.op is ops.ScatterAdd and len(i.inputs) > 1:
        return ADDED_AT
    if i.op is AddAt:
        return replace(ADD_AT, raises=len(i.inputs) > 2)
    if i.op is ops.Keep and _has_bits(i):
        return KEPT
    return FORMS.get(i.op) or (UFUNC if i.op.elementwise and is_numpy(i.op.forward) and not i.options else FOREIGN)


# --------------------------------------------------------------------------------------------------------- mathematics

_SYMBOLS: dict[type[Op], tuple[str, int]] = {
    ops.Add: ("+", SUM), ops.Subtract: ("-", SUM), ops.Divide: ("/", PRODUCT), ops.Less: ("<", COMPARISON),
    ops.LessEqual: ("≤", COMPARISON), ops.Greater: (">", COMPARISON), ops.GreaterEqual: ("≥", COMPARISON),
    ops.Equal: ("=", COMPARISON), ops.NotEqual: ("≠", COMPARISON)}
_SILENT = (ops.Reshape, ops.BroadcastTo, ops.Cast, ops.InRange, Copy)
_FUNCTIONS = (ops.Exp, ops.Expm1, ops.Log, ops.Log1p, ops.Sqrt, ops.Sin, ops.Cos, ops.Tanh, ops.Absolute, ops.Sign)


def mathematics(i: Instruction, operand: Callable[[Operand], Text]) -> Text | None:
    """An instruction as on paper, `W1 X + b1`; None for what has no such form."""
    a, *rest = i.inputs
    if i.op in _SILENT:
        return operand(a)
    if i.op in _SYMBOLS:
        sign, level = _SYMBOLS[i.op]
        return Text(f"{operand(a).within(level)} {sign} {operand(rest[0]).within(level + 1)}", level)
    if i.op is ops.Multiply or i.op is ops.MatMul:
        sign = " ⊙ " if i.op is ops.Multiply and all(isinstance(x, Var) and x.shape for x in i.inputs) else " "
        return Text(f"{operand(a).within(PRODUCT)}{sign}{operand(rest[0]).within(SIGN)}", PRODUCT)
    if i.op is ops.Negative:
        return Text(f"-{operand(a).within(SIGN)}", SIGN)
    if i.op is ops.Transpose and a.ndim == 2:
        return Text(f"{operand(a).within(ATOM)}ᵀ")
    if i.op is ops.Keep:
        return Text(f"{operand(a).within(PRODUCT)} ⊙ [{operand(rest[0]).code}]", PRODUCT)
    if i.op is ops.Maximum or i.op is ops.Minimum:
        return Text(f"{i.op.__name__[:3].lower()}({operand(a).code}, {operand(rest[0]).code})")
    if i.op in _REDUCE:
        axis = i.options["axis"]
        over = f", axis={axis[0]}" if isinstance(axis, tuple) and len(axis) == 1 else ""
        return Text(f"{i.op.__name__.lower()}({operand(a).code}{over})")
    if i.op in _FUNCTIONS:
        return Text(f"{i.op.__name__.lower()}({operand(a).code})")
    return None
