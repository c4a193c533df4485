"""`tinygraph info`: what a model file or a data set holds."""

import argparse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, nn
from .errors import UserError
from .models import Description, load_model
from .reading import given, load, shape_text
from .tables import table

MANY = 30  # features: of more the table is left out


def run(arguments: argparse.Namespace) -> int:
    options = given(arguments)
    if is_model(Path(arguments.thing)):
        if options:
            raise UserError(f"--{next(iter(options))} says how data are read, and {arguments.thing} is a model")
        of_model(Path(arguments.thing))
    else:
        of_data(load(arguments.thing, options))
    return 0


def is_model(path: Path) -> bool:
    """Whether the file is a checkpoint; what holds arrays X and y is data."""
    if path.suffix == ".safetensors":
        return True
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "X.npy" not in archive.namelist()
    except zipfile.BadZipFile:
        return True  # who reads it says what is wrong with it


def of_model(path: Path) -> None:
    model, metadata = load_model(path)
    description, run, training = model.description, metadata["run"], metadata["training"]
    n = sum(p.size for p in nn.parameters(model.network).values())
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, a network of {n:,} parameters in {description.dtype.__name__}")
    print(f"inputs: {shape_text(description)}; outputs: {outputs_text(description)}\n")
    print(nn.summary(model.network, np.zeros((1, *description.input_shape), description.dtype)))
    settings = run["settings"]
    print(f"\ntrained on {run['data']}: {run['n_train']} samples, and {run['n_validation']} held out")
    decay = f", weight decay {settings['weight_decay']:g}" * bool(settings["weight_decay"])
    print(f"{training['epoch']} epochs of {settings['epochs']} in {sum(training['seconds']):.1f} s: batches of "
          f"{settings['batch_size']}, {settings['optimizer']} at {settings['lr']:g} ({settings['schedule']}){decay}, "
          f"seed {settings['seed']}")
    rows = [[name, f"{column[-1]:.4g}"] for name, column in training["columns"].items() if column]
    if rows:
        print("\n" + table([["metric", f"epoch {training['epoch']}"], *rows]))
    print("\nmade with " + ", ".join(f"{name} {version}" for name, version in metadata["versions"].items()))


def outputs_text(description: Description) -> str:
    if not description.class_names:
        return "1 number" if description.n_outputs == 1 else f"{description.n_outputs} numbers"
    return f"{description.n_outputs} classes ({', '.join(description.class_names)})"


def of_data(dataset: data.Dataset) -> None:
    X, y = dataset.X, dataset.y
    print(f"{dataset.name}: {dataset.description}" if dataset.description else dataset.name)
    print(f"X: {X.shape} {X.dtype}, from {X.min():.4g} to {X.max():.4g}, {X.nbytes / 1e6:.1f} MB")
    if dataset.class_names:
        counts = np.bincount(y, minlength=len(dataset.class_names))
        print(f"y: {len(dataset.class_names)} classes\n")
        print(table([["class", "samples", "share"], *([name, count, f"{count / len(y):.1%}"] for name, count
                                                      in zip(dataset.class_names, counts, strict=True))]))
    else:
        print(f"y: numbers to predict, {y.shape}, from {y.min():.4g} to {y.max():.4g}, mean {y.mean():.4g}, deviation "
              f"{y.std():.4g}")
    if X.ndim == 2 and X.shape[1] <= MANY:
        names = dataset.feature_names or tuple(map(str, range(X.shape[1])))
        rows: list[list[Any]] = [["feature", "least", "mean", "largest", "deviation"]]
        for name, *numbers in zip(names, X.min(axis=0), X.mean(axis=0), X.max(axis=0), X.std(axis=0), strict=True):
            rows.append([name, *(f"{value:.4g}" for value in numbers)])
        print("\n" + table(rows))
