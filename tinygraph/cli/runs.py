"""What training and evaluating share: what is held out, whether data are the same, whether a bar is reached."""

import hashlib
from typing import Any

import numpy as np

from ..data import Dataset
from .models import Description

__all__ = ["bar", "fingerprint", "prepare", "split"]


def split(dataset: Dataset, settings: dict[str, Any]) -> tuple[Dataset, Dataset | None]:
    """The training part, and what is held out, if anything is."""
    if not settings["validation"]:
        return dataset, None
    return dataset.split(settings["validation"], seed=settings["seed"])


def fingerprint(dataset: Dataset) -> str:
    """The same for the same samples, targets and names."""
    digest = hashlib.sha256(repr((dataset.X.shape, dataset.class_names, dataset.feature_names)).encode())
    for array in (dataset.X, dataset.y):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def prepare(description: Description, part: Dataset) -> tuple[Any, Any]:
    """(X, y) as the network wants them: standardised, and numbers to predict in columns."""
    X = description.scaler(part.X)
    if part.class_names:
        return X, part.y
    return X, description.target_scaler(part.y.reshape(len(part), -1))


def bar(score: float, least: float | None, name: str) -> int:
    """0 if there is no bar or the score reaches it, else 1; says so."""
    if least is None or score >= least:
        return 0
    print(f"missed: {name} {score:.4f} is less than {least:g}")
    return 1
