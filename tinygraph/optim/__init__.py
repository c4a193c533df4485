"""Optimizers and what goes with them: schedules of the learning rate, clipping, averaged weights, L-BFGS."""

from .averaging import Average
from .clipping import clip_by_norm, clip_by_value
from .optimizers import SGD, Adagrad, Adam, Adamax, AdamW, Lion, NAdam, Optimizer, RMSProp
from .quasi_newton import lbfgs
from .schedules import Cosine, CosineRestarts, Exponential, MultiStep, OneCycle, Plateau, Step, WarmUp

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Average",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "Lion",
    "MultiStep",
    "NAdam",
    "OneCycle",
    "Optimizer",
    "Plateau",
    "RMSProp",
    "Step",
    "WarmUp",
    "clip_by_norm",
    "clip_by_value",
    "lbfgs",
]
