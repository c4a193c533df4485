"""`tinygraph demo`: the documents' experiments (a) to (e), and (f) on handwritten digits.

Each experiment is a function that takes a `Setting`, prints what it does, draws its pictures and returns its checks;
`run` calls them in turn and judges. The networks are those of `tinygraph.classifier`, built from graph nodes; their
gradients are compared with finite differences and with `tinygraph.byhand`. matplotlib, scikit-learn and tqdm are
optional: what is missing is said in one sentence, and everything that can be done without it is done.
"""

import importlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygraph
from tinygraph import byhand, classifier, data

__all__ = ["Check", "Setting", "run"]

Array = NDArray[Any]

# The errors of `check_grad` that the documents print, for their draw of weights and data.
DOCUMENTS = {
    "layer 1 W": 2.830e-6, "layer 1 b": 1.172e-7, "layer 2 W": 5.291e-7, "layer 2 b": 1.391e-7,
    "layer 3 W": 5.194e-7, "layer 3 b": 6.910e-8, "layer 4 W": 2.013e-7, "layer 4 b": 9.238e-8,
}  # fmt: skip
DEEP = [500, 100, 50, 40, 10]  # their network in (c) and (d)


@dataclass(frozen=True)
class Check:
    """One line of the summary: what was measured, the bound it must keep, and whether it does."""

    name: str
    measured: str
    bound: str
    passed: bool


def at_most(name: str, value: float, bound: float) -> Check:
    return Check(name, f"{value:.1e}", f"<= {bound:.0e}", bool(value <= bound))


def all_at_most(name: str, values: dict[str, float], bound: float) -> Check:
    """One check on several values: says the largest and where it is, or all the places where the bound is broken."""
    largest = max(values, key=lambda place: (math.isnan(values[place]), values[place]))
    broken = [place for place, value in values.items() if not value <= bound]
    return at_most(f"{name} ({', '.join(broken) if broken else 'largest: ' + largest})", values[largest], bound)


@dataclass(frozen=True)
class Setting:
    """Where the pictures go, and where random numbers come from."""

    out: Path
    seed: int

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator for one purpose, always in the same state: experiments do not depend on each other's draws."""
        return np.random.default_rng([self.seed, *purpose.encode()])


# ---- The experiments


def relu_and_its_derivative(setting: Setting) -> list[Check]:
    """(a) Draws the activation and its derivative; nothing to check."""
    print("\n(a) ReLU and its derivative")
    x = np.linspace(-1, 1, 401)
    draw(setting.out / "a-relu.png", (6.5, 4.5), paint_relu, x, classifier.relu(x), classifier.d_relu(x))
    return []


def sigmoid(setting: Setting) -> list[Check]:
    """(b) With weights 1 and 0, two output units are a logistic regression: softmax([x, 0])_0 = 1 / (1 + exp(-x))."""
    print("\n(b) A network of 1 input and 2 classes, without a hidden layer, is the sigmoid")
    from scipy.special import expit

    model = classifier.NNClassifier([1, 2])
    model.layers[0].W = [[1], [0]]
    x = np.linspace(-2, 2).reshape(1, -1)
    p, expected = model.forward_probs(x)[0], expit(x[0])
    draw(setting.out / "b-sigmoid.png", (6.5, 4.5), paint_sigmoid, x[0], p, expected)
    return [at_most("(b) distance of [1, 2] from the sigmoid", abs(p - expected).max(), 1e-14)]


def probabilities(setting: Setting) -> list[Check]:
    """(c) The outputs of a deep network are probabilities: they sum to one."""
    print(f"\n(c) Probabilities of {DEEP} for 100 random inputs")
    model = classifier.NNClassifier(DEEP, setting.rng("c weights"))
    p = model.forward_probs(setting.rng("c data").random((DEEP[0], 100)))
    totals = p.sum(axis=0)
    print(f"    the first input: {np.array2string(p[:, 0], precision=3)}, sum {totals[0]:.16f}")
    return [at_most("(c) distance of a sum of probabilities from one", abs(totals - 1).max(), 1e-14)]


def gradients(setting: Setting) -> list[Check]:
    """(d) Every partial derivative of the documents' deep network, beside finite differences and the by-hand twin."""
    print(f"\n(d) The gradients of {DEEP}: one sweep over this graph, against finite differences")
    model, twin = (module.NNClassifier(DEEP, setting.rng("d weights")) for module in (classifier, byhand))
    X = setting.rng("d data").random((DEEP[0], 1))
    t = setting.rng("d labels").integers(0, DEEP[-1], (1, 1))
    print(indented(str(tinygraph.Tape(model.loss_node(X, t)))))
    for network in (model, twin):
        network.loss(X, t)
        network.backward()
    places = {f"layer {i + 1} {name}": (i, name) for i in range(len(model.layers)) for name in "Wb"}
    sizes = {place: getattr(model.layers[i], name).size for place, (i, name) in places.items()}
    errors, distances = {}, {}
    with progress("check_grad", sum(size + 2 for size in sizes.values())) as advance:
        for place, (i, name) in places.items():
            claimed, expected = (getattr(network.layers[i], "d" + name) for network in (model, twin))
            distances[place] = float(abs(claimed - expected).max() / abs(expected).max())
            errors[place] = finite_difference_error(model, model.layers[i], name, X, t, advance)
    print("    parameter  entries  check_grad  in the documents  distance from by-hand, relative")
    for place, size in sizes.items():  # the documents drew other numbers: only the order of magnitude is comparable
        figures = f"{errors[place]:>10.2e}  {DOCUMENTS[place]:>16.2e}  {distances[place]:>31.1e}"
        print(f"    {place:<9}  {size:>7}  {figures}")
    # An error of check_grad is a 2-norm, so it grows with the root of the number of entries. Divided by that root it is
    # the rounding error of one finite difference: the loss, about 2, times 2e-16, divided by a step of 1.5e-8.
    per_entry = {place: error / math.sqrt(sizes[place]) for place, error in errors.items()}
    return [
        all_at_most("(d) check_grad per entry", per_entry, 1e-7),
        all_at_most("(d) distance from the by-hand gradient", distances, 1e-12),
    ]


def two_moons(setting: Setting) -> list[Check]:
    """(e) 100 points of two interleaved half circles, learned by heart; the by-hand twin takes the same path."""
    print("\n(e) Two moons: [2, 10, 2], 100 points, 300 epochs of the whole set at learning rate 0.5")
    fixed = Setting(setting.out, seed=0)  # from some starts, gradient descent gets stuck at a loss near 0.23
    points = data.two_moons(100, rng=fixed.rng("e data"))
    X, t = points.X.T, points.y
    networks = [module.NNClassifier([2, 10, 2], fixed.rng("e weights")) for module in (classifier, byhand)]
    optimizers = [module.SGD(network, 0.5) for module, network in zip((classifier, byhand), networks, strict=True)]
    history = np.zeros((300, 2))
    with progress("epochs", len(history)) as advance:
        for losses in history:
            for i, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
                losses[i] = network.loss(X, t)
                network.backward()
                optimizer.step()
            advance()
    final = networks[0].loss(X, t)
    print(f"    the loss fell from {history[0, 0]:.3f} to {final:.3f}")
    draw(setting.out / "e-two-moons-loss.png", (6.5, 4.5), paint_loss, [*history[:, 0], final])
    draw(setting.out / "e-two-moons-boundary.png", (7.5, 5), paint_boundary, networks[0], X, t)
    distance = abs(history[:, 0] - history[:, 1]).max() / history[:, 1].max()
    return [
        Check("(e) loss after 300 epochs on two moons", f"{final:.3f}", "< 0.15", bool(final < 0.15)),
        at_most("(e) distance of the losses from the by-hand twin's", distance, 1e-9),
    ]


def digits(setting: Setting) -> list[Check]:
    """(f) 1,797 handwritten digits of 8 by 8 pixels: learn four fifths of them, read the other fifth."""
    print("\n(f) Handwritten digits: [64, 128, 10], 40 epochs in batches of 32")
    name, bound = "(f) held-out digits read correctly", ">= 97%"
    datasets = optional("sklearn.datasets")
    if datasets is None:
        print("    not run: scikit-learn, which has the images, is not installed")
        return [Check(name, "not run", bound, False)]
    images, t = datasets.load_digits(return_X_y=True)
    X = images.T / 16  # a pixel is 0 to 16
    held_out = np.arange(len(t)) % 5 == 0
    model = classifier.NNClassifier([64, 128, 10], setting.rng("f weights"))
    train_in_batches(model, classifier.SGD(model, 0.5), X[:, ~held_out], t[~held_out], setting.rng("f batches"))
    p = model.forward_probs(X[:, held_out])
    correct = np.mean(p.argmax(axis=0) == t[held_out])
    print(f"    {correct:.1%} of {held_out.sum()} held-out digits are read correctly")
    draw(setting.out / "f-digits-predictions.png", (9, 6.8), paint_digits, X[:, held_out], p, t[held_out])
    draw(setting.out / "f-digits-confusion.png", (6.5, 6), paint_confusion, p.argmax(axis=0), t[held_out])
    return [Check(name, f"{correct:.1%}", bound, bool(correct >= 0.97))]


EXPERIMENTS: tuple[Callable[[Setting], list[Check]], ...] = (
    relu_and_its_derivative, sigmoid, probabilities, gradients, two_moons, digits
)  # fmt: skip


def run(out: Path, seed: int) -> int:
    """Run all experiments, with pictures in the folder `out`, made if missing; returns 0 if all checks hold, else 1."""
    print(f"tinygraph {tinygraph.__version__}: the documents' experiments, seed {seed}")
    for sentence in what_is_missing():
        print(sentence)
    out.mkdir(parents=True, exist_ok=True)
    checks = [check for experiment in EXPERIMENTS for check in experiment(Setting(out, seed))]
    return print_summary(checks)


def print_summary(checks: Sequence[Check]) -> int:
    """Print a table of the checks and a verdict that names those that fail; returns 1 if any does, else 0."""
    rows = [("check", "measured", "bound", "verdict")]
    rows += [(check.name, check.measured, check.bound, "PASS" if check.passed else "FAIL") for check in checks]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print("\nSummary")
    for name, measured, bound, verdict in rows:
        print(f"    {name:<{widths[0]}}  {measured:>{widths[1]}}  {bound:<{widths[2]}}  {verdict}")
    failed = [check.name for check in checks if not check.passed]
    print(f"\n{len(failed)} of {len(checks)} checks FAILED:" if failed else f"\nAll {len(checks)} checks hold.")
    for name in failed:
        print(f"    {name}")
    return 1 if failed else 0


# ---- Parts of the experiments


def finite_difference_error(
    model: Any, layer: Any, name: str, X: Array, t: Array, advance: Callable[[], object]
) -> float:
    """The 2-norm of the difference between dW (or db) of a layer and its forward differences, over all entries."""
    from scipy.optimize import check_grad

    start = getattr(layer, name)

    def loss(x: Array) -> float:
        advance()
        setattr(layer, name, x.reshape(start.shape))
        return float(model.loss(X, t))

    def gradient(x: Array) -> Array:
        loss(x)
        model.backward()
        claimed: Array = getattr(layer, "d" + name)
        return claimed.ravel()

    error = check_grad(loss, gradient, start.ravel())
    setattr(layer, name, start)
    return float(error)


def train_in_batches(model: Any, optimizer: Any, X: Array, t: Array, rng: np.random.Generator) -> None:
    """40 epochs in batches of 32, in a new order each time, while the learning rate falls from its value to zero.

    Noise on the pixels, new each time too, keeps the network from learning the images by heart.
    """
    epochs, rate = 40, optimizer.lr
    with progress("epochs", epochs) as advance:
        for epoch in range(epochs):
            optimizer.lr = rate * (1 - epoch / epochs)
            for batch in np.array_split(rng.permutation(len(t)), len(t) // 32):
                model.loss(X[:, batch] + rng.normal(0, 0.2, (len(X), len(batch))), t[batch])
                model.backward()
                optimizer.step()
            advance()


def indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


# ---- Optional libraries


def optional(module: str) -> Any:
    """The module of that name, or None if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return None


def what_is_missing() -> list[str]:
    """One sentence for each optional library that is not installed: what that costs, and which extra brings it."""
    libraries = {
        "matplotlib": ("matplotlib", "plots", "no pictures are drawn"),
        "sklearn": ("scikit-learn", "data", "there are no digits for (f)"),
        "tqdm": ("tqdm", "progress", "progress is shown in plain lines"),
    }
    return [
        f'{library} is not installed, so {loss}; get it with: pip install -e ".[{extra}]" (or ".[demo]" for all three).'
        for module, (library, extra, loss) in libraries.items()
        if optional(module) is None
    ]


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[], object]]:
    """A bar, or without tqdm a line at each quarter; yields what to call after each of the `total` pieces of work."""
    tqdm = optional("tqdm")
    if tqdm is not None:
        with tqdm.tqdm(total=total, desc=f"    {label}", mininterval=0.2) as bar:
            yield bar.update
        return
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done * 4 // total > (done - 1) * 4 // total:
            print(f"    {label}: {done} of {total}", flush=True)

    yield advance


# ---- Pictures

# Colours that stay apart for the colour-blind (Okabe and Ito) and in grey, where the first is the darker.
DARK, LIGHT, ACCENT = "#0072B2", "#E69F00", "#D55E00"
STYLE = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "lines.linewidth": 2.5,
}


def draw(path: Path, size: tuple[float, float], paint: Callable[..., None], *data: Any) -> None:
    """Write the PNG at `path`: a figure of that size, in inches, with what `paint(figure, *data)` puts on it.

    The file appears whole or not at all. Without matplotlib, nothing is drawn.
    """
    matplotlib = optional("matplotlib")
    if matplotlib is None:
        return
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure, *data)
        temporary = path.with_suffix(".part")
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight", pad_inches=0.2)
        os.replace(temporary, path)
    print(f"    picture: {path}")


def paint_relu(figure: Any, x: Array, y: Array, derivative: Array) -> None:
    axes = figure.subplots()
    axes.plot(x, y, color=DARK, label="f(x) = max(0, x)")
    for side in (x <= 0, x > 0):  # in two pieces: the derivative jumps
        axes.plot(x[side], derivative[side], color=LIGHT, linestyle=(0, (4, 1.5)), label="f'(x)" if side[0] else None)
    axes.plot(0, 0, "o", color=LIGHT, markeredgecolor="black", markersize=9, label="f'(0) = 0")
    axes.plot(0, 1, "o", color="white", markeredgecolor="black", markersize=9)
    axes.set(title="ReLU and its derivative", xlabel="x", ylabel="value")
    axes.grid()
    axes.legend()


def paint_sigmoid(figure: Any, x: Array, p: Array, expected: Array) -> None:
    axes = figure.subplots()
    axes.plot(x, p, color=DARK, label="network: probability of class 0")
    axes.plot(x, expected, "o", color=LIGHT, markeredgecolor="black", markersize=6, label="scipy.special.expit")
    axes.set(title="The network [1, 2] with W = (1, 0) and b = 0 is the sigmoid", xlabel="x", ylabel="probability")
    axes.set_ylim(0, 1)
    axes.grid()
    axes.legend()


def paint_loss(figure: Any, history: Sequence[float]) -> None:
    axes = figure.subplots()
    axes.plot(history, color=DARK)
    axes.axhline(0.15, color=ACCENT, linestyle="--", linewidth=1.5)
    axes.annotate("bound: 0.15", (len(history) - 1, 0.15), (0, 5), textcoords="offset points", ha="right", color=ACCENT)
    axes.set(title=f"Two moons: the loss falls to {history[-1]:.3f}", xlabel="epochs", ylabel="loss, mean over the set")
    axes.set_ylim(bottom=0)
    axes.grid()


def paint_boundary(figure: Any, model: Any, X: Array, t: Array) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    axes = figure.subplots()
    extent = (-2, 3, -1, 2)
    x1, x2 = np.meshgrid(np.linspace(*extent[:2], 501), np.linspace(*extent[2:], 301))
    p = model.forward_probs(np.stack([x1.ravel(), x2.ravel()]))[1].reshape(x1.shape)
    colours = LinearSegmentedColormap.from_list("moons", ["#7FB8DA", "#FFF4D6"])  # also darker and lighter
    shades = axes.imshow(p, extent=extent, origin="lower", cmap=colours, vmin=0, vmax=1, interpolation="bilinear")
    axes.contour(x1, x2, p, levels=[0.5], colors="black", linewidths=2)
    for label, marker, colour in ((0, "o", DARK), (1, "^", LIGHT)):
        axes.scatter(*X[:, t == label], s=55, marker=marker, color=colour, edgecolor="black", label=f"class {label}")
    figure.colorbar(shades, ax=axes, label="probability of class 1", shrink=0.75)
    axes.set(title="Two moons: the decision boundary of [2, 10, 2]", xlabel="feature 1", ylabel="feature 2")
    axes.legend(loc="upper right")


def paint_digits(figure: Any, X: Array, p: Array, t: Array) -> None:
    """Thirty digits from all over the set and the first mistakes; above each, what is read, and how surely."""
    predicted, columns = p.argmax(axis=0), 10
    wrong = np.flatnonzero(predicted != t)
    rows = [*np.linspace(0, len(t) - 1, 3 * columns).astype(int).reshape(3, columns), wrong[:columns]]
    upper, lower = figure.subfigures(2, height_ratios=(3, 1.2))
    upper.suptitle("Thirty held-out digits: what [64, 128, 10] reads, with its probability", x=0.01, ha="left")
    shown = "All" if len(wrong) <= columns else f"The first {columns} of"
    lower.suptitle(f"{shown} {len(wrong)} mistakes among the {len(t)} held-out digits", x=0.01, ha="left")
    axes = np.vstack([upper.subplots(3, columns), lower.subplots(1, columns, squeeze=False)])
    for ax in axes.flat:
        ax.set_axis_off()
    for row, indices in zip(axes, rows, strict=True):
        for ax, i in zip(row, indices, strict=False):
            ax.set_axis_on()
            ax.imshow(X[:, i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, color="#BBBBBB")
            right = predicted[i] == t[i]
            style = {"color": "black"} if right else {"color": ACCENT, "fontweight": "bold"}
            text = f"{predicted[i]}" if right else f"{predicted[i]}, is {t[i]}"
            ax.set_title(f"{text}\n{p[predicted[i], i]:.0%}", fontsize=10, loc="center", pad=4, **style)


def paint_confusion(figure: Any, predicted: Array, t: Array) -> None:
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (t, predicted), 1)
    axes = figure.subplots()
    # The fourth root tells one mistake from none beside dozens of hits.
    shades = (counts / counts.max()) ** 0.25
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.15)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shades[row, column] > 0.7 else "black"
            axes.text(column, row, count, ha="center", va="center", color=colour)
    axes.set(title=f"Held-out digits: {np.trace(counts)} of {len(t)} are read correctly",
             xlabel="digit that the network reads", ylabel="digit that was written", xticks=range(10), yticks=range(10))
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(9) + 0.5, minor=True)
    axes.set_yticks(np.arange(9) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
