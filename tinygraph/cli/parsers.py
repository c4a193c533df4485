"""The arguments of `train`, `evaluate`, `predict` and `info`, and what their help says. Nothing is done here."""

import argparse
import math
from pathlib import Path
from typing import Any

__all__ = ["ACTIVATIONS", "DEFAULTS", "OPTIMIZERS", "SCHEDULES", "add_evaluate", "add_info", "add_predict", "add_train"]

Commands = Any  # what argparse's add_subparsers returns, which has no public name

ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid", "hardtanh")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw", "adamax", "nadam", "lion")
SCHEDULES = ("constant", "step", "exponential", "cosine", "one_cycle", "warm_up")

# What a run is made of, and so what a model file remembers and `--resume` takes from there.
DEFAULTS: dict[str, Any] = {
    "labels": None, "target": None, "task": None, "delimiter": None, "header": None, "size": None, "colour": None,
    "validation": 0.2, "network": "mlp", "hidden": None, "channels": [16, 32], "activation": "relu", "dropout": 0.0,
    "batch_norm": False, "optimizer": "adam", "lr": None, "schedule": "constant", "weight_decay": None, "epochs": 20,
    "batch_size": 32, "patience": None, "seed": 0, "float32": False,
}  # fmt: skip


# ---- Types of arguments: ValueError, and so argparse's sentence, for what is none


def seed(text: str) -> int:
    return at_least(0, int(text))


def count(text: str) -> int:
    return at_least(1, int(text))


def counts(text: str) -> list[int]:
    """128,64: a list of sizes; nothing or "none": the empty one."""
    return [] if text in ("", "none") else [count(each) for each in text.split(",")]


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def fraction(text: str) -> float:
    """A number from 0 on and less than 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError(text)
    return value


def size(text: str) -> list[int]:
    """28x28: height and width."""
    height, width = text.lower().split("x")
    return [count(height), count(width)]


def column(text: str) -> str | int:
    """A number is a column's number, anything else its name."""
    return int(text) if text.lstrip("-").isdigit() else text


def at_least(least: int, value: int) -> int:
    if value < least:
        raise ValueError(value)
    return value


for each, name in ((seed, "whole number"), (count, "number"), (counts, "list of sizes"), (positive, "positive number"),
                   (not_negative, "number"), (fraction, "fraction"), (size, "size")):
    each.__name__ = name  # what argparse says: invalid fraction value: '2'


# ---- The commands


def parser_of(commands: Commands, name: str, summary: str, description: str, examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description, epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


DATA_HELP = """a data set's name (iris, wine, breast_cancer, diabetes, digits, mnist, two_moons) or a file: .csv, .tsv,
.npz, IDX images (...idx3-ubyte, also .gz), or a folder with a folder of images for each class"""


def add_data_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how the data are read")
    add = with_suppressed(group)
    add("--target", type=column, metavar="COLUMN", help="CSV: the column to tell from the others, by name or number "
        "from 0 on, negative from the right (default: the last)")
    add("--task", choices=("classes", "numbers"), help="whether the target says classes or numbers to predict "
        "(default: classes for names and for integers that count from 0 or 1 without a gap)")
    add("--header", choices=("yes", "no"), help="CSV: whether the first row has names (default: if it has no number)")
    add("--delimiter", metavar="CHARACTER", help="CSV: between cells (default: a comma, in .tsv a tab)")
    add("--labels", metavar="FILE", help="IDX: the labels (default: found beside the images by their name)")
    add("--size", type=size, metavar="HEIGHTxWIDTH", help="folder: resize the images to this many pixels")
    add("--colour", choices=("grey", "RGB"), help="folder: one channel or three (default: grey if all images are)")


def with_suppressed(group: Any) -> Any:
    """Adds arguments that are in the namespace only if they were given."""
    def add(*names: str, **options: Any) -> None:
        group.add_argument(*names, default=argparse.SUPPRESS, **options)

    return add


def add_train(commands: Commands) -> None:
    parser = parser_of(
        commands, "train", "train a network on a data set, and save it",
        """Train a network on a data set or on files of yours. Prints how loss and metrics go, on the training part and
on a part that is held out, and with --out saves the model: architecture, weights, the scaling of the inputs,
the names of the classes, and all that is needed to go on training.""",
        """  tinygraph train digits --hidden 128,64 --epochs 30 --out digits.npz
  tinygraph train mnist --network conv --batch-norm --epochs 6 --float32 --out mnist.safetensors --plot curves.png
  tinygraph train flowers.csv --target species --hidden 32 --validation 0.3 --out flowers.npz
  tinygraph train --resume digits.npz --epochs 60     30 more, or what Ctrl-C left of them
  tinygraph evaluate digits.npz                       on what was held out""",
    )
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA_HELP)
    add_data_options(parser)
    add = with_suppressed(parser.add_argument_group("network"))
    add("--network", choices=("mlp", "conv"), help="fully connected layers, or convolutions before them, for images "
        "(default: mlp)")
    add("--hidden", type=counts, metavar="N,N...", help="sizes of the hidden layers; none: no hidden layer "
        "(default: 128 for mlp, 64 for conv)")
    add("--channels", type=counts, metavar="N,N...", help="conv: channels of the 3 by 3 convolutions; each is followed "
        "by a 2 by 2 max pooling (default: 16,32)")
    add("--activation", choices=ACTIVATIONS, help="after each hidden layer (default: relu)")
    add("--dropout", type=fraction, metavar="P", help="drop this share of each hidden layer's outputs (default: 0)")
    add("--batch-norm", action="store_true", help="normalise each hidden layer's outputs over the batch")
    add("--float32", action="store_true", help="compute in float32: half the memory, nearly twice as fast "
        "(default: float64)")
    add = with_suppressed(parser.add_argument_group("training"))
    add("--epochs", type=count, metavar="N", help="passes over the training part (default: 20)")
    add("--batch-size", type=count, metavar="N", help="samples of a step (default: 32)")
    add("--optimizer", choices=OPTIMIZERS, help="(default: adam)")
    add("--lr", type=positive, metavar="RATE", help="learning rate (default: 0.001; 0.1 for sgd, 0.01 for momentum and "
        "nesterov and adagrad, 0.0001 for lion)")
    add("--schedule", choices=SCHEDULES, help="how the rate goes over the epochs: step: a tenth after each third; "
        "exponential: to a hundredth; cosine: to zero; one_cycle: up and down; warm_up: up in the first tenth "
        "(default: constant)")
    add("--weight-decay", type=not_negative, metavar="L", help="each step takes the weights closer to zero by L times "
        "the rate, beside the gradient (default: 0; 0.01 for adamw)")
    add("--validation", type=fraction, metavar="FRACTION", help="share of the data that is held out, drawn with the "
        "seed, of each class alike (default: 0.2; 0: nothing)")
    add("--patience", type=count, metavar="N", help="stop when the loss of the held-out part has not fallen for N "
        "epochs, and take the best weights (default: go on to the end)")
    add("--seed", type=seed, metavar="N", help="of all random numbers: split, weights, shuffling, dropout (default: 0)")
    group = parser.add_argument_group("results")
    group.add_argument("--out", type=Path, metavar="FILE", help="the model, .npz or .safetensors; written now and then "
                       "while training goes on, and at the end")
    group.add_argument("--force", action="store_true", help="replace files that are there")
    group.add_argument("--resume", type=Path, metavar="MODEL", help="go on with the run that made this model, in the "
                       "same file: bit for bit as if it had not been stopped, or for more --epochs; data and settings "
                       "are those of that run")
    group.add_argument("--plot", type=Path, metavar="FILE", help="a picture of the curves: .png, .svg or .pdf")
    group.add_argument("--at-least", type=float, metavar="X", help="exit with code 1 unless the accuracy (classes) or "
                       "R2 (numbers) of the held-out part is at least X")
    parser.set_defaults(run=run_train)


def run_train(arguments: argparse.Namespace) -> int:
    from . import train

    return train.run(arguments)


def add_evaluate(commands: Commands) -> None:
    parser = parser_of(
        commands, "evaluate", "measure a saved model on data",
        """Loss and accuracy, for each class precision and recall, and which classes are taken for which; for numbers
the errors and R2. Without DATA, on the part of the training data that was held out.""",
        """  tinygraph evaluate digits.npz
  tinygraph evaluate mnist.npz t10k-images-idx3-ubyte.gz --plot confusion.png
  tinygraph evaluate flowers.npz more-flowers.csv --target species --at-least 0.95""",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file that `tinygraph train --out` wrote")
    parser.add_argument("data", nargs="?", metavar="DATA", help=DATA_HELP)
    add_data_options(parser)
    group = parser.add_argument_group("results")
    group.add_argument("--plot", type=Path, metavar="FILE", help="a picture: which classes are taken for which, or "
                       "predictions beside targets; .png, .svg or .pdf")
    group.add_argument("--force", action="store_true", help="replace a picture that is there")
    group.add_argument("--at-least", type=float, metavar="X", help="exit with code 1 unless the accuracy or R2 is at "
                       "least X")
    parser.set_defaults(run=run_evaluate)


def run_evaluate(arguments: argparse.Namespace) -> int:
    from . import evaluate

    return evaluate.run(arguments)


def add_predict(commands: Commands) -> None:
    parser = parser_of(
        commands, "predict", "what a saved model says of new inputs",
        """A line for each input, as CSV: the class or the number that the model predicts.""",
        """  tinygraph predict flowers.npz garden.csv
  tinygraph predict flowers.npz garden.csv --probabilities --out predicted.csv
  tinygraph predict mnist.npz t10k-images-idx3-ubyte.gz | sort | uniq -c
  tinygraph predict shapes.npz photographs/""",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file that `tinygraph train --out` wrote")
    parser.add_argument("inputs", type=Path, metavar="INPUTS", help="a .csv or .tsv file (with a header, the "
                        "columns that the model was trained with are found by their names), .npy, .npz with an array "
                        "X, IDX images, an image or a folder of them, or a data set's name")
    add = with_suppressed(parser.add_argument_group("how the inputs are read"))
    add("--header", choices=("yes", "no"), help="CSV: whether the first row has names (default: if it has no number)")
    add("--delimiter", metavar="CHARACTER", help="CSV: between cells (default: a comma, in .tsv a tab)")
    group = parser.add_argument_group("results")
    group.add_argument("--probabilities", action="store_true", help="the probability of each class, too")
    group.add_argument("--out", type=Path, metavar="FILE", help="a CSV file (default: standard output)")
    group.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.set_defaults(run=run_predict)


def run_predict(arguments: argparse.Namespace) -> int:
    from . import predict

    return predict.run(arguments)


def add_info(commands: Commands) -> None:
    parser = parser_of(
        commands, "info", "what a model file or a data set holds",
        """Of a model its layers, what it was trained on and how well it did; of data the shapes, classes and
ranges.""",
        """  tinygraph info digits.npz
  tinygraph info iris
  tinygraph info flowers.csv --target species""",
    )
    parser.add_argument("thing", metavar="MODEL or DATA", help="a model file, or " + DATA_HELP)
    add_data_options(parser)
    parser.set_defaults(run=run_info)


def run_info(arguments: argparse.Namespace) -> int:
    from . import info

    return info.run(arguments)
