"""Formulas: each elementwise op, reduction and accumulation as an expression in C, and how numbers are written there.

Here is no loop, no variable of a program, and no decision: only tables, and the texts they make of texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops

C_TYPES = {np.dtype(name): c for name, c in [
    ("float64", "double"), ("float32", "float"), ("int64", "int64_t"), ("int32", "int32_t"), ("int16", "int16_t"),
    ("int8", "int8_t"), ("uint64", "uint64_t"), ("uint32", "uint32_t"), ("uint16", "uint16_t"), ("uint8", "uint8_t"),
    ("bool", "uint8_t")]}


class Unavailable(NotImplementedError):
    """What cannot be made native here, in one sentence."""


def number(value: Any, dtype: np.dtype[Any]) -> str:
    """A Python number as a C literal of a dtype."""
    if dtype.kind == "f":
        x = float(value)
        if math.isnan(x):
            return "NAN"
        if math.isinf(x):
            return "INFINITY" if x > 0 else "(-INFINITY)"
        text = repr(x) if dtype.itemsize == 8 else repr(float(np.float32(x))) + "f"
        return f"({text})" if text[0] == "-" else text
    if dtype.kind == "b":
        return str(int(bool(value)))
    suffix = "LL" if dtype.kind == "i" else "ULL"
    return f"({int(value)}{suffix})"


def _comparison(symbol: str) -> Callable[..., str]:
    return lambda t, a, b: f"{a} {symbol} {b}"


def call(name: str) -> Callable[..., str]:
    return lambda t, *a: f"{name}{'f' if t == 'float' else ''}({', '.join(a)})"


def builtin(name: str) -> Callable[..., str]:
    return lambda t, *a: f"__builtin_{name}{'f' if t == 'float' else ''}({', '.join(a)})"


def _rounded(name: str) -> Callable[..., str]:
    return lambda t, a: builtin(name)(t, a) if t in ("double", "float") else a


def _finite(t: str, a: str) -> str:
    return f"{a} - {a} == 0" if t in ("double", "float") else "1"


def _infinite(t: str, a: str) -> str:
    return f"{absolute(t, a)} == INFINITY" if t in ("double", "float") else "0"


def _times(factor: float) -> Callable[..., str]:
    return lambda t, a: f"{a} * {number(factor, np.dtype(np.float32 if t == 'float' else np.float64))}"


def _sign(t: str, a: str) -> str:
    return f"({a} != {a}) ? {a} : ({t})(({a} > 0) - ({a} < 0))"


def absolute(t: str, a: str) -> str:
    return f"__builtin_fabs{'f' * (t == 'float')}({a})" if t in ("double", "float") else f"{a} < 0 ? -{a} : {a}"


# What a ufunc does in C, given the C type of the operands and their texts, and about how many additions it costs.
FORMULAS: dict[Any, tuple[Callable[..., str], float]] = {
    ops.Add: (lambda t, a, b: f"{a} + {b}", 1), ops.Subtract: (lambda t, a, b: f"{a} - {b}", 1),
    ops.Multiply: (lambda t, a, b: f"{a} * {b}", 1), ops.Divide: (lambda t, a, b: f"{a} / {b}", 4),
    ops.Negative: (lambda t, a: f"-{a}", 1), ops.Absolute: (absolute, 1),
    ops.Square: (lambda t, a: f"{a} * {a}", 1), ops.Sqrt: (lambda t, a: call("__builtin_sqrt")(t, a), 5),
    ops.Exp: (call("exp"), 12), ops.Expm1: (call("expm1"), 25), ops.Log: (call("log"), 12),
    ops.Log1p: (call("log1p"), 20), ops.Sin: (call("sin"), 15), ops.Cos: (call("cos"), 15),
    ops.Tanh: (call("tanh"), 20), ops.Power: (call("pow"), 40),
    ops.Exp2: (call("exp2"), 12), ops.Log2: (call("log2"), 12), ops.Log10: (call("log10"), 12),
    ops.Cbrt: (call("cbrt"), 20), ops.Tan: (call("tan"), 25), ops.ArcSin: (call("asin"), 20),
    ops.ArcCos: (call("acos"), 20), ops.ArcTan: (call("atan"), 20), ops.ArcTan2: (call("atan2"), 30),
    ops.Hypot: (call("hypot"), 15), ops.Sinh: (call("sinh"), 20), ops.Cosh: (call("cosh"), 20),
    ops.ArcSinh: (call("asinh"), 25), ops.ArcCosh: (call("acosh"), 25), ops.ArcTanh: (call("atanh"), 25),
    ops.Floor: (_rounded("floor"), 1), ops.Ceil: (_rounded("ceil"), 1), ops.Trunc: (_rounded("trunc"), 1),
    ops.Rint: (_rounded("rint"), 1), ops.Fabs: (absolute, 1), ops.CopySign: (builtin("copysign"), 1),
    ops.Degrees: (_times(180 / math.pi), 1), ops.Radians: (_times(math.pi / 180), 1),
    ops.SignBit: (lambda t, a: builtin("signbit")(t, a) + " != 0" if t in ("double", "float") else f"{a} < 0", 1),
    ops.IsFinite: (_finite, 2), ops.IsInf: (_infinite, 2),
    ops.LogicalXor: (lambda t, a, b: f"({a} != 0) ^ ({b} != 0)", 1),
    ops.Maximum: (lambda t, a, b: f"{a} > {b} ? {a} : {b}", 2),  # without what keeps a NaN: see Reader.extreme
    ops.Minimum: (lambda t, a, b: f"{a} < {b} ? {a} : {b}", 2),
    ops.Less: (_comparison("<"), 1), ops.LessEqual: (_comparison("<="), 1), ops.Greater: (_comparison(">"), 1),
    ops.GreaterEqual: (_comparison(">="), 1), ops.Equal: (_comparison("=="), 1), ops.NotEqual: (_comparison("!="), 1),
    ops.LogicalAnd: (lambda t, a, b: f"({a} != 0) & ({b} != 0)", 1),
    ops.LogicalOr: (lambda t, a, b: f"({a} != 0) | ({b} != 0)", 1),
    ops.LogicalNot: (lambda t, a: f"{a} == 0", 1),
    ops.BitwiseAnd: (lambda t, a, b: f"{a} & {b}", 1), ops.BitwiseOr: (lambda t, a, b: f"{a} | {b}", 1),
    ops.BitwiseXor: (lambda t, a, b: f"{a} ^ {b}", 1), ops.LeftShift: (lambda t, a, b: f"{a} << {b}", 1),
    ops.RightShift: (lambda t, a, b: f"{a} >> {b}", 1),
    ops.Invert: (lambda t, a: f"!{a}" if t == "_Bool" else f"~{a}", 1),
    ops.IsNan: (lambda t, a: f"{a} != {a}", 1), ops.Sign: (_sign, 2),
}
# The same for ops of `ops.special`, by name: that module imports SciPy, and is loaded when it is needed.
SPECIAL: dict[str, tuple[Callable[..., str], float]] = {
    "Erf": (call("erf"), 25), "Erfc": (call("erfc"), 40),
    "Ndtr": (lambda t, a: _times(0.5)(t, call("erfc")(t, _times(-math.sqrt(0.5))(t, a))), 42),
}


def formula_of(op: Any) -> tuple[Callable[..., str], float] | None:
    """Of an elementwise op, from one table or the other; None if it has no native form."""
    if op.__module__ == "tinygraph.ops.special":
        return SPECIAL.get(op.__name__)
    return FORMULAS.get(op)


# Of these libm has vector forms.
VECTOR_MATH = {**dict.fromkeys(["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin",
                                "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "cbrt",
                                "erf", "erfc"], 1),
               "pow": 2, "atan2": 2, "hypot": 2}
REDUCERS: dict[Any, str] = {ops.Sum: "sum", ops.Prod: "prod", ops.Max: "max", ops.Min: "min"}
# Accumulations: what an entry is, after the one before it.
SCANS: dict[Any, str] = {ops.CumSum: "cumsum", ops.CumProd: "cumprod", ops.CumMax: "cummax", ops.CumMin: "cummin",
                         ops.Recurrence: "recurrence"}
COMBINED = {"sum": "{0} + {1}", "prod": "{0} * {1}", "max": "{0} > {1} ? {0} : {1}", "min": "{0} < {1} ? {0} : {1}"}
# To memory: a NaN stays.
ADDED = {"sum": "{0} + {1}", "prod": "{0} * {1}", "max": "({0} > {1}) | ({0} != {0}) ? {0} : {1}",
         "min": "({0} < {1}) | ({0} != {0}) ? {0} : {1}"}


def temp_type(dtype: np.dtype[Any]) -> str:
    return "_Bool" if dtype.kind == "b" else C_TYPES[dtype]


# What a reduction begins with, besides those that begin with the least or the largest number.
START = {"sum": "0", "prod": "1", "any": "0"}


def extreme(kind: str, dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return "-INFINITY" if kind == "max" else "INFINITY"
    if dtype.kind == "b":
        return "0" if kind == "max" else "1"
    info = np.iinfo(dtype)
    value = info.min if kind == "max" else info.max
    return f"({value + 1}LL - 1)" if value == np.iinfo(np.int64).min else number(value, dtype)
