"""`tinygraph predict`: a line for each input."""

import argparse
import csv
import io
import sys

from ..files import write_atomically
from .errors import UserError, new_file
from .models import load_model
from .reading import given, read_inputs


def run(arguments: argparse.Namespace) -> int:
    new_file(arguments.out, arguments.force)
    model, metadata = load_model(arguments.model)
    names = model.description.class_names
    if arguments.probabilities and not names:
        raise UserError("the model predicts numbers: there are no classes that could have probabilities")
    X, files = read_inputs(model.description, arguments.inputs, metadata["run"]["reading"] | given(arguments))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    predicted = model.predict(X)
    columns = [[names[i] for i in predicted]] if names else predicted.T.astype(str).tolist()
    head = ["prediction"] if len(columns) == 1 else [f"prediction {i}" for i in range(len(columns))]
    if arguments.probabilities:
        head += [f"probability {name}" for name in names]
        columns += [[f"{p:.6f}" for p in column] for column in model.probabilities(X).T]
    writer.writerow(["file"] * bool(files) + head)
    writer.writerows(zip(*[files] * bool(files), *columns, strict=True))
    if arguments.out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_atomically(arguments.out, text.getvalue().encode())
        print(f"{len(X)} predictions: {arguments.out}")
    return 0
