"""tinygraph: an autodiff engine on NumPy that you can read in an afternoon.

Write the forward pass with NumPy; `loss.backprop()` and the transforms of functions derive the rest. See docs/tour.md.
"""

from . import ops
from .calculus import elementwise_grad, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .compile import compile
from .control import checkpoint, custom, stop_gradient
from .detect import detect_changes, detect_nan
from .mapping import vmap
from .node import Node, Parameter, State, constant
from .op import Elementwise, Op, Primitive
from .ops.joining import array
from .optimize import least_squares, minimize, root
from .random import Stream
from .tape import Tape, backprop

__version__ = "0.1.0"
__all__ = [
    "Elementwise",
    "Node",
    "Op",
    "Parameter",
    "Primitive",
    "State",
    "Stream",
    "Tape",
    "array",
    "backprop",
    "checkpoint",
    "checkpoints",
    "compile",
    "constant",
    "custom",
    "data",
    "derive",
    "detect_changes",
    "detect_nan",
    "draw",
    "elementwise_grad",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "least_squares",
    "minimize",
    "nn",
    "ops",
    "optim",
    "root",
    "step_through",
    "stop_gradient",
    "testing",
    "training",
    "value_and_grad",
    "vjp",
    "vmap",
]

# Where functions that few programs need are.
_LATE = {"derive": "derivation", "draw": "drawing", "step_through": "drawing"}


def __getattr__(name: str) -> object:  # what few programs need is imported when it is asked for
    import importlib

    if name in ("checkpoints", "data", "nn", "optim", "testing", "training"):
        return importlib.import_module("." + name, __name__)
    if name in _LATE:
        return getattr(importlib.import_module("." + _LATE[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
