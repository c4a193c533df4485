"""`tinygraph train`: everything is checked, then a network is trained, and saved as it goes."""

import argparse
import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, nn, training
from ..by_name import OPTIMIZERS, SCHEDULES, groups
from .errors import UserError, new_file, user_errors
from .models import Description, as_metadata, describe, read
from .networks import build
from .parsers import DEFAULTS
from .pictures import picture_file
from .reading import OPTIONS, given, load, shape_text
from .runs import bar, fingerprint, prepare, split

__all__ = ["run"]

RATES = {"sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.01, "lion": 1e-4}  # of the others 0.001
SAVES = 20  # of the model, in a run of many epochs


def run(arguments: argparse.Namespace) -> int:
    picture_file(arguments.plot, arguments.force)
    chosen = {name: getattr(arguments, name) for name in DEFAULTS if hasattr(arguments, name)}
    if arguments.resume is None:
        source, settings, reading = beginning(arguments, chosen)
        out, old = arguments.out, None
    else:
        old = read(arguments.resume)[0].metadata
        source, settings, reading = continuing(arguments, chosen, old)
        out = arguments.resume
    dataset = load(source, reading, np.float32 if settings["float32"] else np.float64)
    if old and fingerprint(dataset) != old["run"]["fingerprint"]:
        raise UserError(f"{source} is not what it was when {out} was trained: put it back, or begin anew")
    with user_errors():
        train, held_out = split(dataset, settings)
        description = describe(settings, train)
        network = build(description, np.random.default_rng([settings["seed"], 0]))
        steps = settings["epochs"] * -(-len(train) // settings["batch_size"])
        rate = SCHEDULES[settings["schedule"]](settings["lr"], steps)
        optimizer = OPTIMIZERS[settings["optimizer"]](groups(network, weight_decay=settings["weight_decay"]), rate)
    record = {"data": source, "reading": reading, "settings": settings, "fingerprint": fingerprint(dataset),
              "n_train": len(train), "n_validation": len(held_out) if held_out else 0}
    introduce(dataset, train, held_out, description, network)
    prepared = [prepare(description, part) if part else None for part in (train, held_out)]
    if old is None and out is not None:
        out.unlink(missing_ok=True)  # an old file, as --force says
    try:
        history = training.fit(
            network, prepared[0], validation=prepared[1], optimizer=optimizer, epochs=settings["epochs"],
            loss=nn.cross_entropy if description.class_names else nn.mean_squared_error,
            metrics=["accuracy"] if description.class_names else ["r2", absolute_error(description)],
            batch_size=settings["batch_size"], patience=settings["patience"], seed=settings["seed"],
            checkpoint=out, every=max(1, settings["epochs"] // SAVES), resume=old is not None,
            metadata=as_metadata(description, record),
        )
    except training.NotFiniteError as error:
        print(f"tinygraph: training diverged: {error}", file=sys.stderr)
        return 1
    return report(arguments, history, out, settings["patience"])


def beginning(arguments: argparse.Namespace, chosen: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The data, the settings and how the data are read, for a new run."""
    if arguments.data is None:
        raise UserError("name the DATA to train on (a data set, a file or a folder): see tinygraph train --help")
    model_file(arguments.out, arguments.force)
    settings = {name: value for name, value in (DEFAULTS | chosen).items() if name not in OPTIONS}
    if settings["hidden"] is None:
        settings["hidden"] = [128] if settings["network"] == "mlp" else [64]
    if settings["lr"] is None:
        settings["lr"] = RATES.get(settings["optimizer"], 0.001)
    if settings["weight_decay"] is None:
        settings["weight_decay"] = 0.01 if settings["optimizer"] == "adamw" else 0.0
    if arguments.at_least is not None and not settings["validation"]:
        raise UserError("--at-least is about the part that is held out: say --validation with more than 0")
    if "channels" in chosen and settings["network"] == "mlp":
        raise UserError("--channels are those of convolutions: say --network conv too")
    return arguments.data, settings, given(arguments)


def continuing(
    arguments: argparse.Namespace, chosen: dict[str, Any], old: dict[str, Any]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The same of the run that wrote the model, with more epochs if that is asked for; refuses to change the rest."""
    record, kept = old["run"], old["training"]
    settings = dict(record["settings"])
    if arguments.data not in (None, record["data"]):
        raise UserError(f"{arguments.resume} was trained on {record['data']}, and can go on with that alone")
    if arguments.out not in (None, arguments.resume):
        raise UserError(f"a run that is resumed goes on in its own file: copy {arguments.resume} first to keep it")
    for name, value in chosen.items():
        before = (record["reading"] if name in OPTIONS else settings).get(name)
        if name != "epochs" and value != before:
            raise UserError(f"--{name.replace('_', '-')} cannot change in a run that is resumed: it was {before}")
    epochs = chosen.get("epochs", settings["epochs"])
    if epochs != settings["epochs"] and settings["schedule"] != "constant":
        raise UserError(f"the schedule {settings['schedule']} is laid out for {settings['epochs']} epochs, and cannot "
                        "be changed in the middle")
    if kept["epoch"] >= epochs:
        raise UserError(f"the {kept['epoch']} epochs of {arguments.resume} are done: to go on, say --epochs with more")
    return record["data"], settings | {"epochs": epochs}, record["reading"]


def model_file(path: Path | None, force: bool) -> None:
    """Refuses a path at which no model can be written."""
    if path is None:
        return
    if path.suffix not in (".npz", ".safetensors"):
        raise UserError(f"{path}: the name of a model file ends in .npz or .safetensors")
    if path.suffix == ".safetensors" and importlib.util.find_spec("safetensors") is None:
        raise UserError('safetensors is not installed; get it with: pip install -e ".[safetensors]", or name it .npz')
    new_file(path, force)


def absolute_error(description: Description) -> Any:
    """The mean absolute error of numbers as they are in the data."""
    scale = description.target_scaler.scale

    def mean_absolute_error(outputs: Any, targets: Any) -> float:
        return float(np.mean(abs(outputs - targets) * scale))

    return mean_absolute_error


def introduce(
    dataset: data.Dataset, train: data.Dataset, held_out: data.Dataset | None, description: Description, network: Any
) -> None:
    """Prints what is trained on what."""
    what = f"{len(dataset.class_names)} classes" if dataset.class_names else "numbers to predict"
    print(f"{dataset.name}: {shape_text(description)}, {what}; {len(train)} samples to train on, "
          f"{len(held_out) if held_out else 'none'} held out")
    print(nn.summary(network, np.zeros((1, *description.input_shape), description.dtype)))
    print(flush=True)


def report(
    arguments: argparse.Namespace, history: training.History, out: Path | None, patience: int | None
) -> int:
    """Prints how it ended, draws the curves and tells the exit code."""
    if sys.stderr.isatty():  # where a bar was shown, and no line an epoch
        print(history)
    elif history.stopped:
        print(history.stopped)
    if arguments.plot is not None and len(history):
        history.plot(arguments.plot)
        print(f"picture: {arguments.plot}")
    if out is not None:
        best = patience is not None and len(history)
        print(f"model: {out}" + f", with the weights of epoch {history.best_epoch}, the best" * bool(best))
    if history.stopped == "interrupted":
        if out is not None:
            print(f"go on with: tinygraph train --resume {shlex.quote(os.fspath(out))}")
        return 130
    if arguments.at_least is None:
        return 0
    name = "r2" if "r2" in history.columns else "accuracy"
    column = history.columns.get("validation " + name) or history[name]
    kept = history.best_epoch if patience is not None else len(history)
    return bar(column[kept - 1], arguments.at_least, "R2" if name == "r2" else name)
