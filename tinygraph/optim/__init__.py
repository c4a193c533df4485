"""Optimizers and what goes with them: schedules of the learning rate, clipping, averaged weights, L-BFGS."""

from .helpers import Average, clip_by_norm, clip_by_value, lbfgs
from .optimizers import SGD, Adagrad, Adam, Adamax, AdamW, Lion, NAdam, Optimizer, RMSProp
from .schedules import Plateau, cosine, cosine_restarts, exponential, multi_step, one_cycle, step_decay, warm_up

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Average",
    "Lion",
    "NAdam",
    "Optimizer",
    "Plateau",
    "RMSProp",
    "clip_by_norm",
    "clip_by_value",
    "cosine",
    "cosine_restarts",
    "exponential",
    "lbfgs",
    "multi_step",
    "one_cycle",
    "step_decay",
    "warm_up",
]
