"""Data sets as the command line names them: its options become those of the reader, checked before anything is read."""

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import data
from .errors import UserError, user_errors
from .models import Description

__all__ = ["given", "load", "load_for", "read_inputs"]

# The command line's words, and what readers call them.
OPTIONS = {"target": "target", "task": "classes", "header": "header", "delimiter": "delimiter", "labels": "labels",
           "size": "size", "colour": "colour"}  # fmt: skip


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that say how data are read, as far as they are among the arguments."""
    return {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name, None) is not None}


def load(source: str, options: dict[str, Any], dtype: Any = np.float64) -> data.Dataset:
    """The data set of that name, or in that file or folder. UserError for what cannot be read."""
    with user_errors():
        reader = data.find_reader(source)
    known = inspect.signature(reader).parameters
    for name in options:
        if OPTIONS[name] not in known:
            raise UserError(f"--{name} means nothing for {source}")
    found = {OPTIONS[name]: value_of(name, value) for name, value in options.items()}
    with user_errors(source):
        return data.load(source, dtype=dtype, **found)


def value_of(name: str, value: Any) -> Any:
    if name == "task":
        return value == "classes"
    if name == "header":
        return value == "yes"
    return tuple(value) if name == "size" else value


def load_for(model: Description, source: str, options: dict[str, Any], trained_with: dict[str, Any]) -> data.Dataset:
    """A data set to evaluate a model on: features by name, classes as the model numbers them.

    trained_with: the options for the training data, which hold here too as far as they mean something.
    """
    with user_errors():
        known = inspect.signature(data.find_reader(source)).parameters
    usual = {name: value for name, value in trained_with.items() if OPTIONS[name] in known and name != "labels"}
    if "classes" in known:
        usual["task"] = "classes" if model.class_names else "numbers"
    dataset = load(source, usual | options, model.dtype)
    X, y = dataset.X, dataset.y
    if model.feature_names and dataset.feature_names:
        if absent := [name for name in model.feature_names if name not in dataset.feature_names]:
            raise UserError(f"{source} has no column {absent[0]!r}, which the model was trained with")
        X = X[:, [dataset.feature_names.index(name) for name in model.feature_names]]
    check_shape(model, source, X)
    if bool(dataset.class_names) != bool(model.class_names):
        what = ("classes", "numbers") if model.class_names else ("numbers", "classes")
        raise UserError(f"the model predicts {what[0]}, but the targets of {source} are {what[1]}")
    if model.class_names:
        present = np.unique(y)
        if strange := [name for i, name in enumerate(dataset.class_names)
                       if name not in model.class_names and i in present]:
            raise UserError(f"{source} has the class {strange[0]!r}, which the model does not know: it knows "
                            f"{', '.join(model.class_names)}")
        places = [model.class_names.index(name) if name in model.class_names else 0 for name in dataset.class_names]
        y = np.array(places)[y]
    elif y.size != len(y) * model.n_outputs:
        raise UserError(f"the model predicts {model.n_outputs} numbers, but the targets of {source} are {y.shape[1:]}")
    names = tuple(model.feature_names)
    return data.Dataset(X, y, names, tuple(model.class_names), dataset.name, dataset.description)


def read_inputs(model: Description, source: Path, options: dict[str, Any]) -> tuple[Any, list[str]]:
    """Inputs without targets, (n, ...) as the model takes them; and, of images, the names of their files.

    options: those of the training data, and what is given for these. Images are resized if those were.
    """
    with user_errors(source):
        suffixes = [each for each in source.suffixes if each != ".gz"]
        if str(source) in data.sets.SETS:
            X = data.load(source, dtype=model.dtype).X
        elif source.is_dir() or (source.suffix.lower() in data.images.suffixes() and source.exists()):
            return images(model, source, options.get("size"))
        elif suffixes[-1:] in ([".csv"], [".tsv"]):
            header = options.get("header")
            X = data.tables.read_columns(source, model.feature_names, delimiter=options.get("delimiter"),
                                         header=None if header is None else header == "yes").astype(model.dtype)
        elif source.suffix in (".npy", ".npz"):
            X = data.tables.read_array(source)
        elif data.is_idx(source):
            X = data.read_idx_images(source, model.dtype)
        elif not source.exists():
            raise FileNotFoundError(2, "No such file or directory", str(source))
        else:
            raise UserError(f"{source}: expected .csv, .tsv, .npy, .npz, IDX images, an image or a folder of images")
    check_shape(model, source, X)
    return X, []


def images(model: Description, source: Path, size: list[int] | None) -> tuple[Any, list[str]]:
    """An image, or all in a folder and its folders, and their names."""
    paths = [source]
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise UserError(f"there is no image in {source}")
    if len(model.input_shape) != 3:
        raise UserError(f"{source} holds images, but the model takes {shape_text(model)}")
    X = np.empty((len(paths), *model.input_shape), model.dtype)
    for i, path in enumerate(paths):
        colour: Any = "grey" if len(X[i]) == 1 else "RGB"
        image = data.images.read_image(path, size=(size[0], size[1]) if size else None, colour=colour)
        check_shape(model, path, image[np.newaxis])
        X[i] = image
    return X, [str(path.relative_to(source) if source.is_dir() else path) for path in paths]


def check_shape(model: Description, source: object, X: Any) -> None:
    if X.shape[1:] != tuple(model.input_shape):
        raise UserError(f"the model takes {shape_text(model)}, but {source} has {text_of(X.shape[1:])}")


def shape_text(model: Description) -> str:
    return text_of(model.input_shape)


def text_of(shape: Sequence[int]) -> str:
    """4 features, or images of 28 by 28 pixels with 1 channel."""
    if len(shape) == 1:
        return f"{shape[0]} features"
    if len(shape) == 3:
        return f"images of {shape[1]} by {shape[2]} pixels with {shape[0]} channel{'s' * (shape[0] > 1)}"
    return f"samples of shape {tuple(shape)}"
