"""`tinygraph evaluate`: how well a saved model does on data, in numbers, tables and a picture."""

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import data
from .errors import UserError
from .models import Model, load_model
from .pictures import draw, paint_confusion, paint_predictions, picture_file
from .reading import given, load, load_for
from .runs import bar, fingerprint, split
from .tables import table

Array = NDArray[Any]

MANY = 20  # classes: of more the table of confusions is left out, and the most frequent ones are named


def run(arguments: argparse.Namespace) -> int:
    picture_file(arguments.plot, arguments.force)
    model, metadata = load_model(arguments.model)
    run, options = metadata["run"], given(arguments)
    if arguments.data is not None:
        dataset = load_for(model.description, arguments.data, options, run["reading"])
        about = f"{len(dataset)} samples of {arguments.data}"
    elif options:
        raise UserError(f"--{next(iter(options))} says how DATA are read: name them")
    else:
        dataset = held_out(model, run)
        about = f"the {len(dataset)} held-out samples of {run['data']}"
    print(f"{arguments.model} on {about}\n")
    if dataset.class_names:
        name, (score, *found) = "accuracy", of_classes(model, dataset)
        paint: Any = paint_confusion
    else:
        name, (score, *found) = "R2", of_numbers(model, dataset)
        paint = paint_predictions
    if arguments.plot is not None:
        draw(arguments.plot, paint, *found, f"{about}: {name} {score:.4f}")
    return bar(score, arguments.at_least, name)


def held_out(model: Model, run: dict[str, Any]) -> data.Dataset:
    """The part of the training data that was not trained on. UserError if there is none, or the data have changed."""
    if not run["settings"]["validation"]:
        raise UserError("no part of the training data was held out: name the DATA to evaluate on")
    dataset = load(run["data"], run["reading"], model.description.dtype)
    if fingerprint(dataset) != run["fingerprint"]:
        raise UserError(f"{run['data']} is not what it was when the model was trained: name the DATA to evaluate on")
    part = split(dataset, run["settings"])[1]
    assert part is not None
    return part


def of_classes(model: Model, dataset: data.Dataset) -> tuple[float, Array, tuple[str, ...]]:
    """Prints how well classes are told apart; returns the accuracy, which are taken for which, and their names."""
    logits, y, names = model.outputs(dataset.X), dataset.y, dataset.class_names
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]
    counts = confusions(y, logits.argmax(axis=1), len(names))
    hits = np.diag(counts)
    accuracy = float(hits.sum() / len(y))
    print(f"loss      {losses.mean():.4f}   (cross-entropy)")
    print(f"accuracy  {accuracy:.4f}   ({hits.sum()} of {len(y)})\n")
    with np.errstate(invalid="ignore"):
        precision, recall = hits / counts.sum(axis=0), hits / counts.sum(axis=1)
        f1 = 2 * hits / (counts.sum(axis=0) + counts.sum(axis=1))
    rows: list[list[object]] = [["class", "precision", "recall", "F1", "samples"]]
    for name, *numbers, samples in zip(names, precision, recall, f1, counts.sum(axis=1), strict=True):
        rows.append([name, *map(share, numbers), samples])
    print(table(rows))
    print()
    print(most_frequent(counts, names) if len(names) > MANY else matrix(counts, names))
    return accuracy, counts, names


def share(value: float) -> str:
    """0.975; a dash where there is nothing to divide by."""
    return "-" if np.isnan(value) else f"{value:.3f}"


def confusions(y: Array, predicted: Array, n_classes: int) -> Array:
    """(n_classes, n_classes): how many samples of class i are taken for class j."""
    return np.bincount(y * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def matrix(counts: Array, names: tuple[str, ...]) -> str:
    rows: list[list[object]] = [["is \\ taken for", *names]]
    rows += [[name, *(count or "." for count in row)] for name, row in zip(names, counts.tolist(), strict=True)]
    return table(rows)


def most_frequent(counts: Array, names: tuple[str, ...]) -> str:
    wrong = counts * (1 - np.eye(len(names), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    places = [divmod(int(place), len(names)) for place in order if wrong.flat[place]]
    if not places:
        return "no sample is taken for another class"
    return table([["is", "taken for", "samples"], *([names[i], names[j], wrong[i, j]] for i, j in places)])


def of_numbers(model: Model, dataset: data.Dataset) -> tuple[float, Array, Array]:
    """Prints how far predicted numbers are from the targets; returns R2, the mean over the targets, and both."""
    y = dataset.y.reshape(len(dataset), -1).astype(float)
    predicted = model.predict(dataset.X).astype(float)
    errors = predicted - y
    scaled = errors / model.description.target_scaler.scale
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - (errors**2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    print(f"loss  {np.mean(scaled**2):.4f}   (mean squared error, of standardised targets)\n")
    rows: list[list[object]] = [["target", "mean absolute error", "root mean squared error", "R2"]]
    for i, (absolute, squared) in enumerate(zip(abs(errors).mean(axis=0), (errors**2).mean(axis=0), strict=True)):
        rows.append([i, f"{absolute:.4g}", f"{np.sqrt(squared):.4g}", f"{r2[i]:.4f}"])
    print(table(rows))
    return float(r2.mean()), y, predicted
