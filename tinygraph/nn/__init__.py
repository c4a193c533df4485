"""Networks: layers, losses, and what can be done with a model. Samples are along the first axis."""

from .layers import Linear, ReLU, Sequential
from .losses import cross_entropy, mean_squared_error
from .module import Module, astype, inference, parameters

__all__ = [
    "Linear",
    "Module",
    "ReLU",
    "Sequential",
    "astype",
    "cross_entropy",
    "inference",
    "mean_squared_error",
    "parameters",
]
