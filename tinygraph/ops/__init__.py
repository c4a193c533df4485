"""The ops, a file per family. Importing this package registers them with NumPy's protocols.

Families that need SciPy are imported when a name of theirs is asked for, or when NumPy or SciPy meets a node with a
function that nothing else knows.
"""

from functools import partial
from importlib import import_module
from typing import Any

from ..node import LATE, TWINS, SparseOperand
from . import statistics as statistics
from .accumulation import CumLogAddExp, CumMax, CumMin, CumProd, CumSum, Recurrence
from .arithmetic import (
    Absolute,
    Add,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    Cos,
    Divide,
    Equal,
    Exp,
    Expm1,
    Greater,
    GreaterEqual,
    Invert,
    IsNan,
    LeftShift,
    Less,
    LessEqual,
    Log,
    Log1p,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Maximum,
    Minimum,
    Multiply,
    Negative,
    NotEqual,
    Power,
    RightShift,
    Sign,
    Sin,
    Sqrt,
    Square,
    Subtract,
    Tanh,
)
from .convolution import Conv2D, FoldWindows, MaxPool2D, Windows
from .decompositions import QR, SVD, Cholesky, Eig, Eigh, OverGaps, TieMeans
from .linear_algebra import Einsum, MatMul
from .linear_systems import Cofactors, Det, Inv, LeastSquares, MatrixRank, Pinv, SLogDet, Solve
from .neural import GELU, AddBias, LayerNorm, LogSoftmaxNLL, ReLU, Softmax
from .norms import Norm
from .ordering import ArgMax, ArgMin, ArgRank, ArgSort, Partition, Reorder, SearchSorted, Sort
from .reductions import Max, Mean, Min, NanMax, NanMin, Prod, Std, Sum, Var
from .selection import Index, InRange, Keep, ScatterAdd, Where
from .shaping import (
    BroadcastTo,
    Cast,
    CastToInteger,
    Concatenate,
    ExpandDims,
    Identity,
    Pad,
    Reshape,
    Squeeze,
    StopGradient,
    SwapAxes,
    Transpose,
)

FAMILIES_OF_SCIPY = {"sparse": ["SparseMatMul", "SparseSolve"]}
LATE.extend([partial(import_module, f".{family}", __name__) for family in FAMILIES_OF_SCIPY])
TWINS[SparseOperand] = lambda *operation: import_module(".sparse", __name__).meeting(*operation)


def __getattr__(name: str) -> Any:
    for family, names in FAMILIES_OF_SCIPY.items():
        if name in names:
            globals()[name] = op = getattr(import_module(f".{family}", __name__), name)
            return op
    raise AttributeError(f"module {__name__} has no attribute {name}")


__all__ = [
    "GELU",
    "QR",
    "SVD",
    "Absolute",
    "Add",
    "AddBias",
    "ArgMax",
    "ArgMin",
    "ArgRank",
    "ArgSort",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "BroadcastTo",
    "Cast",
    "CastToInteger",
    "Cholesky",
    "Cofactors",
    "Concatenate",
    "Conv2D",
    "Cos",
    "CumLogAddExp",
    "CumMax",
    "CumMin",
    "CumProd",
    "CumSum",
    "Det",
    "Divide",
    "Eig",
    "Eigh",
    "Einsum",
    "Equal",
    "Exp",
    "ExpandDims",
    "Expm1",
    "FoldWindows",
    "Greater",
    "GreaterEqual",
    "Identity",
    "InRange",
    "Index",
    "Inv",
    "Invert",
    "IsNan",
    "Keep",
    "LayerNorm",
    "LeastSquares",
    "LeftShift",
    "Less",
    "LessEqual",
    "Log",
    "Log1p",
    "LogSoftmaxNLL",
    "LogicalAnd",
    "LogicalNot",
    "LogicalOr",
    "MatMul",
    "MatrixRank",
    "Max",
    "MaxPool2D",
    "Maximum",
    "Mean",
    "Min",
    "Minimum",
    "Multiply",
    "NanMax",
    "NanMin",
    "Negative",
    "Norm",
    "NotEqual",
    "OverGaps",
    "Pad",
    "Partition",
    "Pinv",
    "Power",
    "Prod",
    "ReLU",
    "Recurrence",
    "Reorder",
    "Reshape",
    "RightShift",
    "SLogDet",
    "ScatterAdd",
    "SearchSorted",
    "Sign",
    "Sin",
    "Softmax",
    "Solve",
    "Sort",
    "SparseMatMul",
    "SparseSolve",
    "Sqrt",
    "Square",
    "Squeeze",
    "Std",
    "StopGradient",
    "Subtract",
    "Sum",
    "SwapAxes",
    "Tanh",
    "TieMeans",
    "Transpose",
    "Var",
    "Where",
    "Windows",
]
