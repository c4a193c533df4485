"""Model files: a network with what it was made of and with what its inputs and outputs mean, in one checkpoint.

The file is a checkpoint of `tinygraph.checkpoints` whose metadata have, under "model", a `Description`, and under "run"
the settings of the training. Both are plain JSON and are checked before a network is made of them.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygraph

from .. import checkpoints, nn
from ..data import Dataset, Scaler
from .errors import UserError, user_errors
from .networks import build

__all__ = ["Description", "Model", "describe", "load_model", "versions"]

Array = NDArray[Any]
AT_ONCE = 1000  # samples, when nothing is trained


@dataclass(frozen=True)
class Description:
    """What a network is made of, and what goes in and comes out. Everything is plain JSON.

    network: "mlp" or "conv". input_shape: of one sample. class_names: none for numbers. n_outputs: classes or numbers.
    mean, scale: by which inputs are standardised, nested lists of numbers. target_mean, target_scale: by which numbers
    to predict are.
    """

    network: str
    hidden: list[int]
    channels: list[int]
    activation: str
    dropout: float
    batch_norm: bool
    float32: bool
    input_shape: list[int]
    n_outputs: int
    feature_names: list[str]
    class_names: list[str]
    mean: list[Any]
    scale: list[Any]
    target_mean: list[float]
    target_scale: list[float]

    @property
    def dtype(self) -> Any:
        return np.float32 if self.float32 else np.float64

    def check(self, largest: int) -> None:
        """ValueError if it is not what `describe` makes; largest: how many numbers the file's largest array has."""
        sizes = [*self.hidden, *self.channels, *self.input_shape, self.n_outputs]
        if not all(type(size) is int and 0 < size <= largest for size in sizes):
            raise ValueError("its sizes do not fit its weights")
        names: Any  # who knows, in a file
        for names, shape in ((self.feature_names, self.input_shape), (self.class_names, [self.n_outputs])):
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("its names are no text")
            if names and [len(names)] != shape:
                raise ValueError("its names are not as many as its features or outputs")
        for scaler, size in ((self.scaler, tuple(self.input_shape)), (self.target_scaler, (self.n_outputs,))):
            if np.broadcast_shapes(scaler.mean.shape, scaler.scale.shape, size) != size:
                raise ValueError("its scaling has another shape")
            if not np.isfinite(scaler.mean).all() or not (scaler.scale > 0).all():
                raise ValueError("its scaling is no numbers")

    @property
    def scaler(self) -> Scaler:
        return Scaler(np.array(self.mean, float), np.array(self.scale, float))

    @property
    def target_scaler(self) -> Scaler:
        return Scaler(np.array(self.target_mean, float), np.array(self.target_scale, float))


def describe(settings: dict[str, Any], train: Dataset) -> Description:
    """The description of a network for this training part."""
    scaler = Scaler.of(train.X)
    y = train.y.reshape(len(train), -1)
    target = Scaler(np.zeros(1), np.ones(1)) if train.class_names else Scaler.of(y)
    return Description(
        **{name: settings[name] for name in ("network", "activation", "dropout", "batch_norm", "float32")},
        hidden=settings["hidden"], channels=settings["channels"] if settings["network"] == "conv" else [],
        input_shape=list(train.X.shape[1:]), n_outputs=len(train.class_names) or y.shape[1],
        feature_names=list(train.feature_names), class_names=list(train.class_names),
        mean=scaler.mean.tolist(), scale=scaler.scale.tolist(),
        target_mean=target.mean.tolist(), target_scale=target.scale.tolist(),
    )


@dataclass(frozen=True)
class Model:
    """A trained network that takes inputs as they are in files and gives classes or numbers as people read them."""

    network: Any
    description: Description

    def outputs(self, X: Array) -> Array:
        """What the network gives for X (n, ...), which is standardised here: logits, or standardised numbers."""
        network, scaler, dtype = nn.inference(self.network), self.description.scaler, self.description.dtype
        parts = [network(scaler(np.asarray(X[i:i + AT_ONCE], dtype))) for i in range(0, len(X), AT_ONCE)]
        return np.concatenate(parts)

    def probabilities(self, X: Array) -> Array:
        """(n, classes): for each input the probability of each class."""
        logits = self.outputs(X)
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def predict(self, X: Array) -> Array:
        """The number of the likeliest class, (n,); or the predicted numbers, (n, n_outputs)."""
        outputs = self.outputs(X)
        if self.description.class_names:
            return np.asarray(outputs.argmax(axis=1))
        return np.asarray(self.description.target_scaler.inverse(outputs))


def read(path: str | Path) -> tuple[checkpoints.Checkpoint, Description]:
    """A model file and the description in it, checked. UserError for any other file, and for a damaged one."""
    with user_errors(path):
        checkpoint = checkpoints.read(path)
    try:
        found = checkpoint.metadata["model"]
        description = Description(**{field.name: found[field.name] for field in fields(Description)})
        description.check(max(array.size for array in checkpoint.arrays.values()))
        check_run(checkpoint.metadata)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise no_model(path, error) from error
    return checkpoint, description


# What a file says of the run, and of its settings, and of what type it is.
RUN = {"data": str, "reading": dict, "settings": dict, "fingerprint": str, "n_train": int, "n_validation": int}
SETTINGS = {
    "network": str, "hidden": list, "channels": list, "activation": str, "dropout": float, "batch_norm": bool,
    "float32": bool, "optimizer": str, "lr": float, "schedule": str, "weight_decay": float, "epochs": int,
    "batch_size": int, "patience": int | None, "seed": int, "validation": float,
}  # fmt: skip


def check_run(metadata: dict[str, Any]) -> None:
    """KeyError for what is missing, ValueError for what is of another type."""
    run = metadata["run"]
    training = {"epoch": int, "columns": dict, "seconds": list}
    for part, kinds in ((metadata, {"versions": dict}), (run, RUN), (run["settings"], SETTINGS),
                        (metadata["training"], training)):  # fmt: skip
        for name, kind in kinds.items():
            if not isinstance(part[name], kind):
                raise ValueError(f"its {name} is {part[name]!r}")
    numbers = [metadata["training"]["seconds"], *metadata["training"]["columns"].values()]
    if not all(isinstance(number, int | float) for column in numbers for number in column):
        raise ValueError("its history is no numbers")


def no_model(path: str | Path, error: Exception) -> UserError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return UserError(f"{path} holds no model that `tinygraph train` wrote: {reason}")


def load_model(path: str | Path) -> tuple[Model, dict[str, Any]]:
    """The model in a file that `tinygraph train --out` wrote, and all the file's metadata.

    With --patience it has the weights of the best epoch. UserError for any other file, and for a damaged one.
    """
    checkpoint, description = read(path)
    try:
        network = build(description, rng=0)
        checkpoints.load(checkpoint, model=network)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise no_model(path, error) from error
    return Model(network, description), checkpoint.metadata


def versions() -> dict[str, str]:
    return {"tinygraph": tinygraph.__version__, "numpy": np.__version__, "python": platform.python_version()}


def as_metadata(description: Description, run: dict[str, Any]) -> dict[str, Any]:
    return {"model": asdict(description), "run": run, "versions": versions()}
