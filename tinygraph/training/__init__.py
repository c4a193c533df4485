"""Training: `fit` a model to data, and `evaluate` it. See docs/training.md."""

from .fitting import evaluate, fit
from .history import History
from .metrics import Metric
from .resuming import Run
from .steps import NotFiniteError

__all__ = ["History", "Metric", "NotFiniteError", "Run", "evaluate", "fit"]
