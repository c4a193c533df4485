"""Networks: layers, activations, losses, initial values, and what can be done with a model.

Samples are along the first axis. A layer is any class with `__call__`, a network is plain Python; a model as it is
trains, and `inference(model)` is the same network of plain arrays, for new data.
"""

from . import initializers
from .activations import ELU, GELU, Hardtanh, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from .alignment import ctc
from .attention import MultiHeadAttention, TransformerBlock, attention, sinusoidal_positions
from .convolution import (
    AdaptiveAveragePool1d,
    AdaptiveAveragePool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AveragePool1d,
    AveragePool2d,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    MaxPool1d,
    MaxPool2d,
)
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
from .recurrent import GRU, LSTM, RNN

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AdaptiveAveragePool1d",
    "AdaptiveAveragePool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AveragePool1d",
    "AveragePool2d",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "Hardtanh",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
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
    "TransformerBlock",
    "astype",
    "attention",
    "binary_cross_entropy",
    "cross_entropy",
    "ctc",
    "hinge",
    "huber",
    "inference",
    "initializers",
    "kl_divergence",
    "mean_absolute_error",
    "mean_squared_error",
    "parameters",
    "sinusoidal_positions",
    "summary",
]
