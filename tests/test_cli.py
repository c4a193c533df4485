"""`tinygraph train`, `evaluate`, `predict` and `info`, run as users run them: what is printed, written and refused."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygraph import by_name, checkpoints, data
from tinygraph.cli import main, parsers
from tinygraph.cli.models import load_model

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.usefixtures("private_cache")  # the steps of longer runs are compiled


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tg(capsys):
    """Runs a command in this process: its exit code, what it printed, and what it said on stderr."""
    def run(command):
        try:
            code = main(command.split())
        except SystemExit as error:
            code = error.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def done(tg):
    """Runs a command that must succeed, and returns what it printed."""
    def run(command):
        code, out, err = tg(command)
        assert (code, err) == (0, "")
        return out

    return run


def process(*arguments, **options):
    """A command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "tinygraph", *arguments], env=environment, encoding="utf-8",
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


FLOWERS = ["length,width,species"] + [f"{5 + i % 7 / 10 + 2 * (i % 2)},{3 - i % 5 / 10},{'rose' if i % 2 else 'aster'}"
                                      for i in range(40)]


def flowers(name="flowers.csv", lines=FLOWERS):
    Path(name).write_text("\n".join(lines) + "\n")
    return name


# ---- one life of a model, from data to predictions


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_from_a_table_to_predictions(done, kind):
    flowers()
    out = done(f"train flowers.csv --hidden 8 --epochs 30 --lr 0.02 --out m.{kind} --plot curves.png --at-least 0.99")
    assert "flowers.csv: 2 features, 2 classes; 32 samples to train on, 8 held out" in out
    assert "42 parameters" in out
    assert re.search(r"epoch 30/30  loss .* validation accuracy 1\b", out)
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(os.listdir()) == ["curves.png", "flowers.csv", f"m.{kind}"]

    shown = done(f"info m.{kind}")
    for text in ("2 features", "2 classes (aster, rose)", "flowers.csv: 32 samples, and 8 held out", "42 parameters",
                 "30 epochs of 30", "adam at 0.02 (constant)", "validation accuracy"):
        assert text in shown

    measured = done(f"evaluate m.{kind} --plot confusion.svg")
    assert "8 held-out samples of flowers.csv" in measured
    assert "accuracy  1.0000   (8 of 8)" in measured
    assert "<svg" in Path("confusion.svg").read_text()

    # Classes are found by name: in a file of roses alone, the rose is the first class.
    flowers("roses.csv", [line for line in FLOWERS if not line.endswith("aster")])
    assert "accuracy  1.0000   (20 of 20)" in done(f"evaluate m.{kind} roses.csv")
    os.remove("roses.csv")

    # Columns are found by name, whatever their order, and others are passed over.
    Path("garden.csv").write_text("width,note,length\n3.0,x,5.2\n2.8,y,7.3\n")
    assert done(f"predict m.{kind} garden.csv").splitlines() == ["prediction", "aster", "rose"]
    assert done(f"predict m.{kind} garden.csv --probabilities --out p.csv") == "2 predictions: p.csv\n"
    rows = list(csv.DictReader(Path("p.csv").read_text().splitlines()))
    p = np.array([[float(row["probability aster"]), float(row["probability rose"])] for row in rows])
    assert_allclose(p.sum(axis=1), 1, atol=2e-6)
    assert [("aster", "rose")[i] for i in p.argmax(axis=1)] == [row["prediction"] for row in rows]


def test_predictions_are_those_of_the_network_on_standardised_inputs(done):
    done("train iris --hidden 6,5 --activation tanh --epochs 3 --out m.npz --validation 0.3 --seed 4")
    model, _ = load_model("m.npz")
    iris = data.iris()
    train, test = iris.split(0.3, seed=4)
    _, scaled = data.standardize(train, test)
    arrays = checkpoints.read("m.npz").arrays
    x = scaled.X
    for i in (0, 2):
        x = np.tanh(x @ arrays[f"model.layers.{i}.W"] + arrays[f"model.layers.{i}.b"])
    logits = x @ arrays["model.layers.4.W"] + arrays["model.layers.4.b"]
    assert_allclose(model.outputs(test.X), logits, rtol=1e-12)
    accuracy = np.mean(logits.argmax(axis=1) == test.y)
    assert f"accuracy  {accuracy:.4f}" in done("evaluate m.npz")
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    assert_allclose(model.probabilities(test.X), p)
    assert f"loss      {-np.log(p[np.arange(len(p)), test.y]).mean():.4f}" in done("evaluate m.npz")


def test_numbers_are_predicted_in_their_own_units(done, tg):
    out = done("train diabetes --hidden 16 --epochs 20 --out m.npz --batch-size 16")
    errors = [float(x) for x in re.findall(r"validation mean_absolute_error ([\d.]+)", out)]
    assert 30 < errors[-1] < 60
    measured = done("evaluate m.npz --plot p.pdf")
    (row,) = re.findall(r"^0 +(\S+) +(\S+) +(\S+)$", measured, flags=re.MULTILINE)
    _, test = data.diabetes().split(0.2, seed=0)
    predicted = load_model("m.npz")[0].predict(test.X)[:, 0]
    assert float(row[0]) == pytest.approx(abs(predicted - test.y).mean(), rel=1e-3)
    assert float(row[0]) == pytest.approx(errors[-1], rel=1e-3)
    assert float(row[1]) == pytest.approx(np.sqrt(((predicted - test.y) ** 2).mean()), rel=1e-3)
    assert float(row[2]) == pytest.approx(1 - ((predicted - test.y) ** 2).sum() / ((test.y - test.y.mean()) ** 2).sum(),
                                          abs=1e-4)
    np.save("x.npy", test.X[:3])
    said = done("predict m.npz x.npy").splitlines()
    assert_allclose([float(line) for line in said[1:]], predicted[:3])
    assert tg("predict m.npz x.npy --probabilities")[0] == 2


def test_several_numbers_at_once(done):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    np.savez("d.npz", X=X, y=X @ rng.normal(size=(3, 2)) * [1, 1000])
    done("train d.npz --hidden none --epochs 60 --lr 0.05 --float32 --out m.npz")
    model, _ = load_model("m.npz")
    assert model.outputs(X).dtype == np.float32
    assert re.search(r"^1 .* 0\.99\d\d$|^1 .* 1\.0000$", done("evaluate m.npz"), flags=re.MULTILINE)
    np.save("x.npy", X[:2])
    assert done("predict m.npz x.npy").startswith("prediction 0,prediction 1\n")


def save_images(folder, n=8):
    """Dark and light grey images of 6 by 8 pixels."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        Path(folder, name).mkdir(parents=True)
        for i in range(n):
            pixels = (level + rng.integers(-30, 30, (6, 8))).astype(np.uint8)
            Image.fromarray(pixels).save(Path(folder, name, f"{i}.png"))


def test_a_folder_of_images_and_a_convolutional_network(done, tg):
    save_images("shades")
    out = done("train shades --network conv --channels 3,4 --hidden 5 --batch-norm --dropout 0.1 --epochs 8 --lr 0.02 "
               "--validation 0.25 --float32 --out m.npz")
    for layer in ("Conv2d", "MaxPool2d", "BatchNorm", "Dropout"):
        assert layer in out
    assert "images of 6 by 8 pixels with 1 channel, 2 classes; 12 samples to train on, 4 held out" in out
    assert "accuracy  1.0000" in done("evaluate m.npz")
    lines = done("predict m.npz shades").splitlines()
    assert lines[0] == "file,prediction"
    assert lines[1:] == [f"{name}/{i}.png,{name}" for name in ("dark", "light") for i in range(8)]
    assert done("predict m.npz shades/light/3.png").splitlines()[1] == "shades/light/3.png,light"
    code, _, err = tg("train shades --network conv --channels 2,2,2 --out n.npz")
    assert code == 2
    assert err == ("tinygraph: 3 poolings of 2 by 2 leave nothing of images of 6 by 8 pixels: take fewer channels\n")


def test_idx_files(done, tg):
    from .test_data import idx_bytes

    rng = np.random.default_rng(0)
    y = np.arange(30, dtype=np.uint8) % 3
    pixels = (rng.integers(0, 50, (30, 5, 5)) + 70 * y[:, None, None]).astype(np.uint8)
    Path("train-images-idx3-ubyte").write_bytes(idx_bytes(pixels))
    Path("train-labels-idx1-ubyte").write_bytes(idx_bytes(y))
    done("train train-images-idx3-ubyte --hidden 8 --epochs 25 --lr 0.02 --out m.npz --at-least 0.9")
    assert done("predict m.npz train-images-idx3-ubyte").splitlines()[1:] == [str(label) for label in y]
    Path("test-images-idx3-ubyte").write_bytes(idx_bytes(pixels[y != 1]))
    Path("test-labels-idx1-ubyte").write_bytes(idx_bytes(y[y != 1]))
    measured = done("evaluate m.npz test-images-idx3-ubyte")  # a set in which one of the classes does not occur
    assert re.search(r"^1 +(-|0\.000) +- +(-|0\.000) +0$", measured, flags=re.MULTILINE)


@pytest.mark.parametrize("optimizer", parsers.OPTIMIZERS)
def test_every_optimizer(done, optimizer):
    out = done(f"train two_moons --hidden 10 --optimizer {optimizer} --epochs 15 --weight-decay 0.0001 --batch-size 10")
    losses = [float(x) for x in re.findall(r"  loss ([\d.e-]+)", out)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("schedule", parsers.SCHEDULES)
def test_every_schedule(done, schedule):
    from tinygraph.by_name import SCHEDULES

    rate = SCHEDULES[schedule](0.5, 90)
    rates = [float(rate(t)) if callable(rate) else rate for t in range(90)]
    assert max(rates) == pytest.approx(0.5, rel=0.01)
    ends = {"constant": 0.5, "step": 0.005, "exponential": 0.005, "cosine": 0, "one_cycle": 0, "warm_up": 0.5}
    assert rates[-1] == pytest.approx(ends[schedule], abs=0.001, rel=0.06)
    assert (rates[0] < 0.1) == (schedule in ("one_cycle", "warm_up"))
    out = done(f"train two_moons --hidden 10 --schedule {schedule} --epochs 3")
    assert "epoch 3/3" in out


@pytest.mark.parametrize("activation", parsers.ACTIVATIONS)
def test_every_activation(done, activation):
    assert "epoch 1/1" in done(f"train two_moons --hidden 10 --activation {activation} --epochs 1 --out m.npz")
    assert load_model("m.npz")[0].description.activation == activation


def test_the_help_knows_every_name():
    """The parser has names of its own, so that --help imports nothing."""
    assert set(parsers.ACTIVATIONS) == set(by_name.ACTIVATIONS)
    assert set(parsers.OPTIMIZERS) == set(by_name.OPTIMIZERS)
    assert set(parsers.SCHEDULES) == set(by_name.SCHEDULES)


# ---- going on


def assert_same(one, two):
    one, two = checkpoints.read(one).arrays, checkpoints.read(two).arrays
    assert one.keys() == two.keys()
    for name in one:
        assert_array_equal(one[name], two[name], err_msg=name)


RUN = "train digits --hidden 12 --dropout 0.2 --batch-norm --epochs 6 --batch-size 100 --seed 3 --patience 9"


def test_a_run_that_gets_more_epochs_is_the_longer_one(done):
    done(f"{RUN} --out whole.npz")
    done(f"{RUN.replace('6', '2', 1)} --out parts.npz")
    out = done("train --resume parts.npz --epochs 6")
    assert "epoch 3/6" in out
    assert "epoch 2/6" not in out
    assert_same("whole.npz", "parts.npz")
    whole, parts = (checkpoints.read(path).metadata for path in ("whole.npz", "parts.npz"))
    assert whole["training"]["columns"] == parts["training"]["columns"]
    assert whole["run"] == parts["run"]


def test_ctrl_c_saves_and_the_rest_can_be_done_later(done):
    """Pressed in the middle of an epoch, in another process."""
    command = f"{RUN.replace('--epochs 6', '--epochs 1000')} --out stopped.npz --schedule cosine"
    running = process(*command.split())
    for line in running.stdout:
        if line.startswith("epoch    3/1000"):
            break
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert out.endswith("go on with: tinygraph train --resume stopped.npz\n")
    kept = checkpoints.read("stopped.npz").metadata["training"]
    assert 3 <= kept["epoch"] < 1000
    load_model("stopped.npz")
    done("train --resume stopped.npz")
    done(command.replace("stopped", "whole"))
    assert_same("stopped.npz", "whole.npz")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train --resume m.npz", "the 2 epochs of m.npz are done: to go on, say --epochs with more"),
        ("train --resume m.npz --epochs 1", "the 2 epochs of m.npz are done"),
        ("train --resume m.npz --epochs 3 --lr 0.5", "--lr cannot change in a run that is resumed: it was 0.001"),
        ("train --resume m.npz --epochs 3 --target 1", "--target cannot change in a run that is resumed"),
        ("train wine --resume m.npz --epochs 3", "m.npz was trained on flowers.csv, and can go on with that alone"),
        ("train --resume m.npz --epochs 3 --out n.npz", "copy m.npz first"),
        ("train --resume absent.npz --epochs 3", "No such file or directory: absent.npz"),
        ("train --resume c.npz --epochs 3", "the schedule cosine is laid out for 2 epochs"),
    ],
)
def test_what_cannot_be_resumed(tg, done, command, message):
    flowers()
    done("train flowers.csv --epochs 2 --hidden 3 --out m.npz")
    done("train flowers.csv --epochs 2 --hidden 3 --out c.npz --schedule cosine")
    before = Path("m.npz").read_bytes()
    code, out, err = tg(command)
    assert (code, out) == (2, "")
    assert message in err
    assert Path("m.npz").read_bytes() == before


def test_data_that_have_changed(tg, done):
    flowers()
    done("train flowers.csv --epochs 2 --hidden 3 --out m.npz")
    flowers(lines=FLOWERS[:-1])
    for command in ("train --resume m.npz --epochs 3", "evaluate m.npz"):
        code, _, err = tg(command)
        assert code == 2
        assert "flowers.csv is not what it was when" in err
    assert "accuracy" in done("evaluate m.npz flowers.csv")


def test_early_stopping_keeps_the_best_weights(done):
    rng = np.random.default_rng(0)
    np.savez("noise.npz", X=rng.normal(size=(40, 5)), y=rng.integers(0, 2, 40))
    out = done("train noise.npz --hidden 30 --lr 0.1 --epochs 200 --patience 3 --validation 0.5 --out m.npz")
    columns = checkpoints.read("m.npz").metadata["training"]["columns"]
    best = int(np.argmin(columns["validation loss"])) + 1
    assert f"no better validation loss than that of epoch {best} in 3 epochs" in out
    assert f"with the weights of epoch {best}, the best" in out
    assert f"loss      {columns['validation loss'][best - 1]:.4f}" in done("evaluate m.npz")


# ---- bars, refusals, damage


def test_a_bar_that_is_missed_is_exit_code_1(tg, done):
    code, out, _ = tg("train two_moons --hidden none --epochs 5 --at-least 0.999 --out m.npz")
    assert code == 1
    assert re.search(r"missed: accuracy 0\.\d+ is less than 0\.999\n$", out)
    assert tg("evaluate m.npz --at-least 0.999")[0] == 1
    done("evaluate m.npz --at-least 0.5")
    assert tg("train diabetes --epochs 1 --at-least 0.99")[0] == 1


def test_training_that_diverges_is_exit_code_1(tg):
    code, _, err = tg("train diabetes --optimizer sgd --lr 1e30 --epochs 20 --out m.npz")
    assert code == 1
    assert err.startswith("tinygraph: training diverged: ")
    assert err.count("\n") == 1


REFUSALS = [
    ("train", "name the DATA to train on"),
    ("train irises", "there is no data set 'irises': the names are breast_cancer"),
    ("train absent.csv", "No such file or directory: absent.csv"),
    ("train gap.csv", "gap.csv: line 3, column 1 (width): expected a finite number, found ''"),
    ("train iris --target 3", "--target means nothing for iris"),
    ("train flowers.csv --size 3x3", "--size means nothing for flowers.csv"),
    ("train flowers.csv --target colour", "flowers.csv: line 1: expected one column 'colour', found 0"),
    ("train flowers.csv --task numbers", "flowers.csv: the target column: numbers are to be predicted, but there is"),
    ("train flowers.csv --out m.txt", "m.txt: the name of a model file ends in .npz or .safetensors"),
    ("train flowers.csv --out absent/m.npz", "there is no folder absent to write m.npz in"),
    ("train flowers.csv --out there.npz", "there.npz is there already: say --force to replace it"),
    ("train flowers.csv --plot there.png", "there.png is there already: say --force to replace it"),
    ("train flowers.csv --plot curves.gif", "curves.gif: the name of a picture ends in .png, .svg, .pdf"),
    ("train flowers.csv --network conv", "a convolutional network takes images"),
    ("train flowers.csv --channels 3", "--channels are those of convolutions: say --network conv too"),
    ("train flowers.csv --validation 0 --at-least 0.5", "--at-least is about the part that is held out"),
    ("train flowers.csv --validation 0.99", "0.99 of 40 samples is no split"),
    ("evaluate there.npz", "there.npz is no whole checkpoint of tinygraph"),
    ("evaluate flowers.csv", "the name of a checkpoint ends with .npz or .safetensors"),
    ("predict absent.npz flowers.csv", "No such file or directory: absent.npz"),
    ("info absent.npz", "No such file or directory: absent.npz"),
]


@pytest.mark.parametrize(("command", "message"), REFUSALS, ids=[command for command, _ in REFUSALS])
def test_mistakes_are_one_sentence_before_anything_is_done(tg, command, message):
    flowers()
    flowers("gap.csv", ["length,width,species", "1,2,a", "1,,b"])
    for name in ("there.npz", "there.png"):
        Path(name).write_bytes(b"precious")
    before = sorted(os.listdir())
    code, out, err = tg(command)
    assert (code, out) == (2, "")
    assert err.startswith("tinygraph: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == before
    assert Path("there.npz").read_bytes() == Path("there.png").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "option",
    ["--epochs 0", "--epochs x", "--lr 0", "--lr nan", "--lr inf", "--dropout 1", "--validation -0.1", "--hidden 3,0",
     "--hidden 3,,4", "--batch-size 1.5", "--seed -1", "--optimizer best", "--network gpt", "--size 3",
     "--weight-decay -1"],
)  # fmt: skip
def test_arguments_that_make_no_sense(tg, option):
    code, out, err = tg(f"train iris {option}")
    assert (code, out) == (2, "")
    assert option.split()[0] in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("predict m.npz wine", "the model takes 2 features, but wine has 13 features"),
        ("predict m.npz other.csv", "other.csv: line 1: expected one column 'length', found 0"),
        ("predict m.npz bare.csv", "the model takes 2 features, but bare.csv has 3 features"),
        ("predict m.npz three.npy", "the model takes 2 features, but three.npy has 3 features"),
        ("predict m.npz nan.npy", "nan.npy: the array[1, 0] is nan"),
        ("predict m.npz m.npz", "m.npz: expected an array X"),
        ("predict m.npz m.txt", "m.txt: expected .csv, .tsv"),
        ("predict m.npz shades", "shades holds images, but the model takes 2 features"),
        ("predict m.npz flowers.csv --out there.csv", "there.csv is there already"),
        ("evaluate m.npz --target 1", "--target says how DATA are read: name them"),
        ("evaluate m.npz iris", "iris has no column 'length', which the model was trained with"),
        ("evaluate m.npz other.csv", "other.csv has no column 'length', which the model was trained with"),
        ("evaluate m.npz tulips.csv", "tulips.csv has the class 'tulip', which the model does not know: it knows"),
        ("evaluate all.npz", "no part of the training data was held out: name the DATA to evaluate on"),
        ("info m.npz --target 1", "--target says how data are read, and m.npz is a model"),
    ],
)
def test_models_and_data_that_do_not_fit(tg, done, command, message):
    flowers()
    flowers("tulips.csv", [*FLOWERS, "1,2,tulip"])
    flowers("other.csv", ["height,width,species", "1,2,aster", "1,2,rose"])
    flowers("bare.csv", ["1,2,3"])
    np.save("three.npy", np.zeros((2, 3)))
    np.save("nan.npy", [[1.0, 2.0], [np.nan, 1.0]])
    for name in ("m.txt", "there.csv"):
        Path(name).touch()
    save_images("shades", 1)
    done("train flowers.csv --epochs 1 --hidden 3 --out m.npz")
    done("train flowers.csv --epochs 1 --hidden 3 --out all.npz --validation 0")
    code, out, err = tg(command)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_what_is_too_large_for_the_memory_is_one_sentence(tg):
    code, _, err = tg("train two_moons --hidden 1000000,100000000")
    assert code == 2
    assert err.startswith("tinygraph: Unable to allocate")


def test_force_replaces_and_nothing_else_does(done, tg):
    flowers()
    done("train flowers.csv --epochs 1 --hidden 3 --out m.npz")
    before = Path("m.npz").read_bytes()
    assert tg("train flowers.csv --epochs 1 --hidden 4 --out m.npz")[0] == 2
    assert Path("m.npz").read_bytes() == before
    done("train flowers.csv --epochs 1 --hidden 4 --out m.npz --force")
    assert load_model("m.npz")[0].description.hidden == [4]


def rewritten(change):
    """m.npz with other metadata, which the digest covers."""
    checkpoint = checkpoints.read("m.npz")
    metadata = json.loads(json.dumps(checkpoint.metadata))
    change(metadata)
    from tinygraph import nn

    model, _ = load_model("m.npz")
    assert isinstance(model.network, nn.Sequential)
    checkpoints.save("forged.npz", model=model.network, metadata=metadata)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("hidden", [10**9]), ("hidden", [3.5]), ("hidden", "33"), ("hidden", [-1]), ("hidden", None), ("hidden", [5]),
        ("n_outputs", 10**12), ("n_outputs", 3), ("class_names", ["a"]), ("class_names", [1, 2]), ("network", "../x"),
        ("activation", "eval"), ("scale", [0, 1]), ("scale", ["a", "b"]), ("mean", [[1, 2], [3]]), ("mean", [1, 2, 3]),
        ("mean", [[1, 2], [3, 4]]), ("class_names", "ab"), ("feature_names", ["a"]),
        ("dropout", 7), ("dropout", "x"), ("input_shape", []), ("input_shape", [10**30]),
    ],
)  # fmt: skip
def test_a_forged_description_is_refused(tg, done, place, value):
    flowers()
    done("train flowers.csv --epochs 1 --hidden 3 --dropout 0.1 --out m.npz")
    rewritten(lambda metadata: metadata["model"].update({place: value}))
    code, out, err = tg("predict forged.npz flowers.csv")
    assert (code, out) == (2, "")
    assert err.startswith("tinygraph: forged.npz holds no model that `tinygraph train` wrote: ")
    assert err.count("\n") == 1


def test_a_checkpoint_that_is_no_model_is_refused(tg, done):
    flowers()
    done("train flowers.csv --epochs 1 --hidden 3 --out m.npz")
    for key in ("model", "run", "training", "versions"):
        rewritten(lambda metadata, key=key: metadata.pop(key))
        for command in ("info forged.npz", "train --resume forged.npz"):
            code, _, err = tg(command)
            assert code == 2
            assert f"it has no '{key}'" in err
    for place, value in (("run", []), ("training", 3), ("versions", None)):
        rewritten(lambda metadata, place=place, value=value: metadata.update({place: value}))
        assert tg("info forged.npz")[0] == 2
    for place, value in (("lr", "fast"), ("epochs", None), ("validation", [0.2]), ("patience", "x")):
        rewritten(lambda metadata, place=place, value=value: metadata["run"]["settings"].update({place: value}))
        for command in ("info forged.npz", "evaluate forged.npz", "train --resume forged.npz --epochs 9"):
            code, _, err = tg(command)
            assert code == 2
            assert f"its {place} is {value!r}" in err
    whole = Path("m.npz").read_bytes()
    Path("m.npz").write_bytes(whole[:-100])
    code, _, err = tg("info m.npz")
    assert code == 2
    assert "no whole checkpoint" in err


# ---- the rest


def test_info_of_data(done):
    flowers()
    assert done("info flowers.csv").splitlines()[1:] == [
        "X: (40, 2) float64, from 2.6 to 7.6, 0.0 MB",
        "y: 2 classes",
        "",
        "class  samples  share",
        "aster       20  50.0%",
        "rose        20  50.0%",
        "",
        "feature  least   mean  largest  deviation",
        "length       5  6.287      7.6      1.017",
        "width      2.6    2.8        3     0.1414",
    ]
    assert "y: numbers to predict, (442,), from 25 to 346" in done("info diabetes")
    np.savez("d.npz", X=np.zeros((3, 2)), y=[0.5, 1.5, 2.5])
    assert "X: (3, 2) float64" in done("info d.npz")


def test_many_classes_are_named_and_not_drawn_as_a_square(done):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 30
    np.savez("d.npz", X=rng.normal(size=(60, 4)), y=y)
    done("train d.npz --epochs 1 --out m.npz --validation 0")
    out = done("evaluate m.npz d.npz --plot c.png")
    assert "is \\ taken for" not in out
    assert re.search(r"^is +taken for +samples$", out, flags=re.MULTILINE)


def test_train_names_what_is_missing(monkeypatch, tg):
    import importlib.util

    usual = importlib.util.find_spec
    for module, command in (("matplotlib", "--plot c.png"), ("safetensors", "--out m.safetensors")):
        monkeypatch.setattr(importlib.util, "find_spec",
                            lambda name, module=module: None if name == module else usual(name))
        code, out, err = tg(f"train two_moons {command}")
        assert (code, out) == (2, "")
        extra = {"matplotlib": "plots"}.get(module, module)
        assert f'{module} is not installed; get it with: pip install -e ".[{extra}]"' in err


def test_a_warning_is_one_sentence(tg, monkeypatch):
    monkeypatch.setattr(parsers, "run_info", lambda arguments: warnings.warn("something is odd", stacklevel=1) or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert tg("info iris") == (0, "", "tinygraph: something is odd\n")


def test_output_that_nobody_reads(done):
    done("train iris --epochs 1 --out m.npz")
    np.save("x.npy", np.zeros((100000, 4)))
    running = process("predict", "m.npz", "x.npy")
    assert running.stdout.readline() == "prediction\n"
    running.stdout.close()
    assert running.stderr.read() == ""
    running.stderr.close()
    assert running.wait(60) == 0


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "info"])
def test_help_teaches(tg, command):
    code, out, _ = tg(f"{command} --help")
    assert code == 0
    examples = out.partition("examples:\n")[2].splitlines()
    assert len(examples) >= 3
    parser_names = re.findall(r"^  tinygraph (\w+)", out, flags=re.MULTILINE)
    assert command in parser_names


def test_examples_in_the_help_are_commands_that_exist(tg, monkeypatch):
    """Each is parsed, as far as its files are not asked for."""
    monkeypatch.setattr(parsers, "run_train", lambda arguments: 0)
    seen = 0
    for command in ("train", "evaluate", "predict", "info"):
        monkeypatch.setattr(parsers, f"run_{command}", lambda arguments: 0)
    for command in ("train", "evaluate", "predict", "info"):
        _, out, _ = tg(f"{command} --help")
        for example in re.findall(r"^  tinygraph (.*?)(?:   .*| \|.*)?$", out, flags=re.MULTILINE):
            code, _, err = tg(example)
            assert (code, err) == (0, ""), example
            seen += 1
    assert seen > 10
