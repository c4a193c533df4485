"""The demo, run for real; what it says when a check fails or an optional library is missing; the command line."""

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygraph import classifier, cli, demo

ROOT = Path(__file__).parent.parent
PICTURES = {
    "a-relu.png",
    "b-sigmoid.png",
    "e-two-moons-boundary.png",
    "e-two-moons-loss.png",
    "f-digits-confusion.png",
    "f-digits-predictions.png",
}

# Run in a fresh interpreter, in which the libraries named on its command line cannot be imported. The network of (d) is
# small here: what is left out must not depend on its size.
WITHOUT = """
import sys

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

out, *absent = sys.argv[1:]
sys.meta_path.insert(0, Absent)
from tinygraph import cli, demo

demo.DEEP[:] = [20, 12, 8, 6, 10]
sys.exit(cli.main(["demo", "--out", out]))
"""


def run_python(*arguments, cwd=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, encoding="utf-8"
    )


@pytest.fixture
def setting(tmp_path):
    return demo.Setting(tmp_path, seed=0)


@pytest.fixture
def small(monkeypatch):
    """The experiments of the deep network on a small one, with as many layers."""
    monkeypatch.setattr(demo, "DEEP", [20, 12, 8, 6, 10])


# ---- the whole of it


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return run_python("-m", "tinygraph", "demo", cwd=folder), folder / "tinygraph-demo"


def test_the_demo_holds_all_its_checks(finished):
    done, _ = finished
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    summary = done.stdout.partition("\nSummary\n")[2]
    checked = re.findall(r"^ +\(([b-f])\) .*  PASS$", summary, flags=re.MULTILINE)
    assert set(checked) == set("bcdef")
    assert "FAIL" not in done.stdout
    assert f"All {len(checked)} checks hold." in summary


def test_the_demo_shows_the_graph_and_every_parameter(finished):
    done, _ = finished
    assert len(re.findall(r"%\d+ .*\bMatMul", done.stdout)) == 4
    assert len(re.findall(r"%\d+ .*\bLogSoftmaxNLL", done.stdout)) == 1
    rows = re.findall(r"^ +layer ([1-4]) ([Wb]) +(\d+) +(\S+) +(\S+) +(\S+)$", done.stdout, flags=re.MULTILINE)
    assert [row[:2] for row in rows] == [(str(number), name) for number in range(1, 5) for name in "Wb"]
    assert [int(row[2]) for row in rows] == [50000, 100, 5000, 50, 2000, 40, 400, 10]
    for *_, error, documented, distance in rows:
        assert float(documented) / 10 < float(error) < 10 * float(documented)
        assert float(distance) <= 1e-12


def test_the_demo_shows_its_progress(finished):
    done, _ = finished
    for bar in (r"check_grad: 100%", r"epochs: 100%.* 300/300", r"epochs: 100%.* 40/40"):
        assert re.search(bar, done.stderr), bar


def test_the_demo_draws_every_picture(finished):
    image = pytest.importorskip("matplotlib.image")
    _, folder = finished
    assert {path.name for path in folder.iterdir()} == PICTURES
    for path in folder.iterdir():
        pixels = image.imread(path)
        assert min(pixels.shape[:2]) > 500
        assert pixels[..., :3].std() > 0.02     # not an empty canvas


# ---- each experiment


def test_experiments_can_be_repeated_and_depend_on_the_seed(tmp_path, small):
    first, again = (demo.gradients(demo.Setting(tmp_path, seed=3)) for _ in range(2))
    other = demo.gradients(demo.Setting(tmp_path, seed=4))
    assert first == again
    assert first != other


def test_generators_of_different_purposes_differ(setting):
    draws = {setting.rng(purpose).random() for purpose in ("a", "b", "ab", "ba")}
    assert len(draws) == 4
    assert setting.rng("a").random() in draws


# ---- failing checks


def outcome(capsys, setting):
    """The exit code of `tinygraph demo`, its summary, and the names of the failing checks under it."""
    code = cli.main(["demo", "--out", str(setting.out), "--seed", str(setting.seed)])
    summary = capsys.readouterr().out.partition("\nSummary\n")[2]
    return code, summary, [line.strip() for line in summary.partition("FAILED:\n")[2].splitlines()]


def test_a_network_that_does_not_learn_fails(setting, monkeypatch, capsys, small):
    monkeypatch.setattr(classifier.SGD, "step", lambda self: None)
    code, summary, failed = outcome(capsys, setting)
    assert code == 1
    assert failed == [
        "(e) loss after 300 epochs on two moons",
        "(e) distance of the losses from the by-hand twin's",
        "(f) held-out digits read correctly",
    ]
    assert summary.count("  FAIL\n") == 3
    assert summary.count("  PASS\n") == 4
    assert "3 of 7 checks FAILED" in summary


def test_a_wrong_gradient_fails_and_is_located(setting, monkeypatch, capsys, small):
    right = classifier.NNClassifier.backward

    def wrong(self):
        right(self)
        for layer in self.layers[1:3]:
            layer.db = layer.db * 1.001

    monkeypatch.setattr(classifier.NNClassifier, "backward", wrong)
    monkeypatch.setattr(demo, "EXPERIMENTS", [demo.gradients])
    code, _, failed = outcome(capsys, setting)
    assert code == 1
    assert failed == [
        "(d) check_grad per entry (layer 2 b, layer 3 b)",
        "(d) distance from the by-hand gradient (layer 2 b, layer 3 b)",
    ]


def test_wrong_probabilities_fail(setting, monkeypatch, capsys, small):
    right = classifier.NNClassifier.forward_probs
    monkeypatch.setattr(classifier.NNClassifier, "forward_probs", lambda self, X: right(self, X) * (1 + 1e-12))
    monkeypatch.setattr(demo, "EXPERIMENTS", [demo.sigmoid, demo.probabilities])
    code, _, failed = outcome(capsys, setting)
    assert code == 1
    assert [name[:3] for name in failed] == ["(b)", "(c)"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.1])
def test_what_is_not_a_number_does_not_pass(value):
    assert not demo.at_most("x", value, 1.0).passed
    check = demo.all_at_most("x", {"here": 0.5, "there": value, "elsewhere": 0.1}, 1.0)
    assert not check.passed
    assert check.name == "x (there)"


def test_the_largest_of_many_values_is_located():
    check = demo.all_at_most("x", {"here": 0.5, "there": 0.9}, 1.0)
    assert check == demo.Check("x (largest: there)", "9.0e-01", "<= 1e+00", True)


# ---- pictures


def test_a_picture_is_replaced_whole_or_not_at_all(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def paint(figure, fail):
        figure.subplots()
        if fail:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        demo.draw(path, (2, 2), paint, True)
    assert path.read_bytes() == b"old"
    demo.draw(path, (2, 2), paint, False)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("n_wrong", [0, 3, 25])
def test_digits_are_drawn_with_any_number_of_mistakes(tmp_path, n_wrong):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    t = np.arange(40) % 10
    p = np.eye(10)[:, np.where(np.arange(40) < n_wrong, (t + 1) % 10, t)]
    demo.draw(tmp_path / "digits.png", (6, 5), demo.paint_digits, rng.random((64, 40)), p, t)
    demo.draw(tmp_path / "confusion.png", (6, 5), demo.paint_confusion, p.argmax(axis=0), t)
    assert len(list(tmp_path.iterdir())) == 2


# ---- without the optional libraries


def extras():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return settings["options.extras_require"]


def test_without_all_optional_libraries(tmp_path):
    done = run_python("-c", WITHOUT, tmp_path / "out", "matplotlib", "sklearn", "tqdm")
    assert "Traceback" not in done.stderr
    for library, extra in (("matplotlib", "plots"), ("scikit-learn", "data"), ("tqdm", "progress")):
        assert library in extras()[extra]
        (sentence,) = [line for line in done.stdout.splitlines() if line.startswith(f"{library} is not installed")]
        assert f'pip install -e ".[{extra}]"' in sentence
    assert list((tmp_path / "out").iterdir()) == []
    assert "epochs: 75 of 300\n    epochs: 150 of 300\n    epochs: 225 of 300\n    epochs: 300 of 300\n" in done.stdout
    # Nobody read digits, so that check does not hold; all others were made.
    assert done.returncode == 1
    assert "1 of 7 checks FAILED:\n    (f) held-out digits read correctly\n" in done.stdout
    assert re.search(r"\(f\) held-out digits read correctly +not run +>= 97% +FAIL\n", done.stdout)


@pytest.mark.parametrize(
    ("module", "library", "extra", "pictures", "code"),
    [
        ("matplotlib", "matplotlib", "plots", set(), 0),
        ("tqdm", "tqdm", "progress", PICTURES, 0),
        ("sklearn", "scikit-learn", "data", {name for name in PICTURES if name[0] != "f"}, 1),
    ],
)
def test_without_one_optional_library(tmp_path, module, library, extra, pictures, code):
    done = run_python("-c", WITHOUT, tmp_path / "out", module)
    assert done.returncode == code, done.stderr
    missing = re.findall(r"^(\S+) is not installed, .*?\.\[(\w+)\]\"", done.stdout, flags=re.MULTILINE)
    assert missing == [(library, extra)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == pictures


def test_nothing_is_said_to_be_missing_when_all_is_there(finished):
    done, _ = finished
    assert "not installed" not in done.stdout


# ---- the command line


def test_the_command_needs_a_command(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "1.5", "x"])
def test_bad_seeds_are_refused(capsys, seed):
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo", "--seed", seed])
    assert caught.value.code == 2
    assert "--seed" in capsys.readouterr().err


def test_help_names_options_and_defaults(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["demo", "--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--out FOLDER" in text
    assert "default: tinygraph-demo" in text
    assert "default: 0" in text


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    taken = tmp_path / "file"
    taken.touch()
    assert cli.main(["demo", "--out", str(taken)]) == 2
    error = capsys.readouterr().err
    assert str(taken) in error
    assert error.count("\n") == 1
