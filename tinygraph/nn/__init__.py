"""Networks: layers, activations, losses, initial values, and what can be done with a model.

Samples are along the first axis. A layer is any class with `__call__`, a network is plain Python; a model as it is
trains, and `inference(model)` is the same network of plain arrays, for new data.
"""

from . import initializers
from .activations import ELU, GELU, Hardtanh, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .layers import Dropout, Embedding, Flatten, Linear, Parallel, Residual, Sequential
from .losses import (
    binary_cross_entropy,
    cross_entropy,
    hinge,
    huber,
    kl_divergence,
    mean_absolute_error,
    mean_squared_error,
)
from .module import Module, Summary, astype, inference, parameters, summary
from .normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm

__all__ = [
    "ELU",
    "GELU",
    "BatchNorm",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "Hardtanh",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Module",
    "Parallel",
    "RMSNorm",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Summary",
    "Tanh",
    "astype",
    "binary_cross_entropy",
    "cross_entropy",
    "hinge",
    "huber",
    "inference",
    "initializers",
    "kl_divergence",
    "mean_absolute_error",
    "mean_squared_error",
    "parameters",
    "summary",
]
