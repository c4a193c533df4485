"""Networks trained on real data, from the first weights to the last: how good, and in how many seconds; beside
scikit-learn's MLP and PyTorch at the same settings. They are those of docs/results.md, less what a peer does not have.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from multiprocessing import get_context
from statistics import mean, median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim, training

from .report import Report

OURS = "tinygraph"
ENGINES = {OURS: "numpy", "scikit-learn": "sklearn", "PyTorch": "torch"}  # and the modules that they need
CONTEXT, WIDTH = 64, 64  # of the transformer


@dataclass
class Task:
    """A network and how it is trained: with Adam at a constant rate, for so many epochs (or steps, of the text)."""

    name: str
    score: str  # accuracy, R² or loss
    rate: float
    batch: int
    epochs: int
    hidden: tuple[int, ...] = ()
    seeds: int = 3


TASKS = [
    Task("MNIST, 4,000 images, [784, 256, 128, 10], float32", "accuracy", 0.001, 64, 10, (256, 128)),
    Task("MNIST, convolutions of 16 and 32 channels, float32", "accuracy", 0.002, 64, 4),
    Task("digits, 1,347 images, [64, 100, 10], float64", "accuracy", 0.001, 32, 40, (100,)),
    Task("text, transformer of two blocks, 100 steps, float32", "loss", 0.002, 16, 100),
    Task("diabetes, 331 patients, [10, 16, 1], float64", "R²", 0.005, 32, 60, (16,)),
]
MNIST, CONVOLUTIONS, DIGITS, TEXT, DIABETES = range(len(TASKS))


@dataclass
class Found:
    """The score on the data that were held out, the seconds of training, and how many of them the C compiler took."""

    score: float
    seconds: float
    compiler: float


def run(threads: int = 1) -> Report:
    peers = {name: module for name, module in ENGINES.items() if importlib.util.find_spec(module)}
    rows, numbers = [], {}
    for number, task in enumerate(TASKS):
        names = [name for name in peers if name != "scikit-learn" or task.hidden]
        found: dict[str, list[Found]] = {name: [] for name in names}
        with ExitStack() as stack:
            processes = {name: stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for name in names}
            for seed in range(-1, task.seeds):  # the first is not counted: it imports what an engine imports late
                for name in names[seed % len(names):] + names[:seed % len(names)]:
                    result = processes[name].submit(train, number, name, seed, threads).result()
                    found[name] += [result] if seed >= 0 else []
        rows += [row(task, name, found) for name in names]
        numbers[task.name] = {name: [vars(result) for result in results] for name, results in found.items()}
    seconds = "processor time, of the C compiler too" if threads == 1 else f"wall time, {threads} threads"
    method = (f"The mean score on the data that were held out, and the seconds of the whole training ({seconds}): "
              "medians over three seeds, for which the engines took turns, each in a process of its own. tinygraph "
              "begins with an empty cache of compiled code, so that its seconds hold the processor time of the C "
              "compiler that stands beside them. All use Adam at a constant rate, the same sizes, sizes of batches "
              "and numbers of epochs, and no decay of weights (the transformer AdamW, and clipped gradients); PyTorch "
              "runs eagerly, with its fused Adam. For MNIST and the text it begins with the weights of tinygraph. "
              "scikit-learn has neither convolutions nor attention.")
    return Report(f"Results, {'one thread' if threads == 1 else f'{threads} threads'}", method,
                  ["data and network", "engine", "score", "seconds", "C compiler", "beside tinygraph"], rows,
                  [], numbers)


def row(task: Task, name: str, found: dict[str, list[Found]]) -> list[str]:
    results = found[name]
    score = mean(result.score for result in results)
    shown = f"{task.score} " + (f"{score:.1%}" if task.score == "accuracy" else f"{score:.3f}")
    compiler = median(result.compiler for result in results)
    beside = median(a.seconds / b.seconds for a, b in zip(results, found[OURS], strict=True))
    return [task.name if name == OURS else "", name, shown, f"{median(r.seconds for r in results):.2f}",
            f"{compiler:.2f}" if name == OURS else "", "" if name == OURS else f"× {beside:.2f}"]


def train(number: int, engine: str, seed: int, threads: int) -> Found:
    """One training, in a process of that engine."""
    warnings.simplefilter("ignore")  # scikit-learn says at each end that the last epoch may not be the best
    contender = {OURS: tinygraph, "scikit-learn": scikit_learn, "PyTorch": torch}[engine]
    fit, score = contender(number, max(seed, 0), threads)
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        built, start = compiler(), perf_counter() if threads > 1 else process_time() + compiler()
        fit()
        end = perf_counter() if threads > 1 else process_time() + compiler()
    return Found(float(score()), end - start, compiler() - built)


def compiler() -> float:
    """Processor time of the processes that this one has started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@cache
def data(number: int) -> Any:
    """Two sets, to train with and to test with, features in rows where the network wants them so; a text, for the
    transformer, as the numbers of its characters."""
    if number == TEXT:
        from pydoc_data.topics import topics

        text = "".join(c for name in sorted(topics) for c in topics[name] if c == "\n" or " " <= c <= "~")
        codes = np.searchsorted(sorted(set(text)), list(text))
        return codes[:-len(codes) // 20], codes[-len(codes) // 20:]
    if number == DIABETES:
        train, test = tg.data.standardize(*tg.data.diabetes().split(0.25, seed=0))
        center, scale = train.y.mean(), train.y.std()
        return (train.X, (train.y - center) / scale), (test.X, (test.y - center) / scale)
    train, test = tg.data.digits().split(0.25, seed=0) if number == DIGITS else tg.data.mnist(dtype=np.float32).split(
        0.2, seed=0)
    flat = (lambda X: X) if number == CONVOLUTIONS else lambda X: X.reshape(len(X), -1)
    return (flat(train.X), train.y), (flat(test.X), test.y)


class Transformer(nn.Module):
    def __init__(self, count: int, rng: np.random.Generator) -> None:
        small = nn.initializers.truncated_normal(0.02)
        self.characters = nn.Embedding(count, WIDTH, rng=rng, initializer=small)
        self.places = nn.Embedding(CONTEXT, WIDTH, rng=rng, initializer=small)
        self.blocks = nn.Sequential(*[nn.TransformerBlock(WIDTH, heads=4, causal=True, rng=rng) for _ in range(2)],
                                    nn.LayerNorm(WIDTH))
        self.out = nn.Linear(WIDTH, count, rng=rng, initializer=small)

    def __call__(self, ids: Any) -> Any:
        return self.out(self.blocks(self.characters(ids) + self.places(np.arange(ids.shape[1]))))


def network(number: int, seed: int) -> Any:
    """With the weights that tinygraph and PyTorch begin with."""
    rng = np.random.default_rng(seed)
    if number == TEXT:
        return Transformer(data(TEXT)[0].max() + 1, rng).astype(np.float32)
    if number == CONVOLUTIONS:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 7 * 7, 10, rng=rng)).astype(np.float32)
    (X, _), _ = data(number)
    sizes = [X.shape[1], *TASKS[number].hidden, 1 if number == DIABETES else 10]
    layers: list[Any] = []
    for n_inputs, n_outputs in pairwise(sizes):
        layers += [nn.Linear(n_inputs, n_outputs, rng=rng), nn.Tanh() if number == DIABETES else nn.ReLU()]
    return nn.Sequential(*layers[:-1]).astype(X.dtype)


def pieces(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The batches of the text, characters and those that follow."""
    codes, _ = data(TEXT)
    rng = np.random.default_rng(seed)
    places = rng.integers(len(codes) - CONTEXT, size=(TASKS[TEXT].epochs, TASKS[TEXT].batch, 1)) + np.arange(CONTEXT)
    return [(codes[at], codes[at + 1]) for at in places]


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """The text to test with, in pieces."""
    _, codes = data(TEXT)
    at = np.arange(0, len(codes) - CONTEXT, CONTEXT)[:, None] + np.arange(CONTEXT)
    return codes[at], codes[at + 1]


Contender = tuple[Callable[[], object], Callable[[], Any]]  # what trains, and what says how good that was


def tinygraph(number: int, seed: int, threads: int) -> Contender:
    task, (trained, tested) = TASKS[number], data(number)
    if number in (DIGITS, DIABETES):
        from tinygraph.sklearn import TinygraphClassifier, TinygraphRegressor

        make = TinygraphClassifier if number == DIGITS else TinygraphRegressor
        estimator = make(task.hidden, activation="relu" if number == DIGITS else "tanh", l2=0, learning_rate=task.rate,
                         batch_size=task.batch, max_iter=task.epochs, n_iter_no_change=task.epochs, random_state=seed)
        return partial(estimator.fit, *trained), partial(estimator.score, *tested)
    model = network(number, seed)
    if number == TEXT:
        optimizer = optim.AdamW(model, task.rate, beta2=0.99, clip_norm=1.0)

        @partial(tg.compile, threads=threads)
        def step(ids: Any, following: Any) -> Any:
            loss = nn.cross_entropy(model(ids), following)
            loss.backprop()
            optimizer.step()
            return loss

        ids, following = held_out()
        return (lambda: [float(step(*batch)) for batch in pieces(seed)],
                lambda: nn.cross_entropy(nn.inference(model)(ids), following))
    X, y = tested
    return (partial(training.fit, model, trained, loss=nn.cross_entropy, optimizer=optim.Adam(model, task.rate),
                    epochs=task.epochs, batch_size=task.batch, seed=seed, progress=False),
            lambda: np.mean(nn.inference(model)(X).argmax(axis=1) == y))


def scikit_learn(number: int, seed: int, threads: int) -> Contender:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    task, (trained, tested) = TASKS[number], data(number)
    make, activation = (MLPRegressor, "tanh") if number == DIABETES else (MLPClassifier, "relu")
    estimator = make(hidden_layer_sizes=task.hidden, activation=activation, alpha=0, learning_rate_init=task.rate,
                     batch_size=task.batch, max_iter=task.epochs, tol=0, n_iter_no_change=task.epochs,
                     random_state=seed)
    return partial(estimator.fit, *trained), partial(estimator.score, *tested)


def torch(number: int, seed: int, threads: int) -> Contender:
    import torch
    from torch.nn import functional

    from .results_torch import alike

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    task, model = TASKS[number], alike(network(number, seed))

    def loss(x: Any, y: Any) -> Any:
        found = model(x)
        if number == DIABETES:
            return functional.mse_loss(found[:, 0], y)
        return functional.cross_entropy(found.flatten(0, -2), y.flatten())

    if number == TEXT:
        optimizer: Any = torch.optim.AdamW(model.parameters(), task.rate, betas=(0.9, 0.99), fused=True)
    else:
        optimizer = torch.optim.Adam(model.parameters(), task.rate, fused=True)

    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        value = loss(x, y)
        value.backward()
        if number == TEXT:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value.item()  # as all look at the loss of each step

    if number == TEXT:
        tested = [torch.from_numpy(array) for array in held_out()]
    else:
        X, y, *tested = (torch.from_numpy(array) for part in data(number) for array in part)

    def fit() -> None:
        if number == TEXT:
            for batch in pieces(seed):
                step(*map(torch.from_numpy, batch))
            return
        for _ in range(task.epochs):
            for rows in torch.randperm(len(X)).split(task.batch):
                step(X[rows], y[rows])

    @torch.no_grad()
    def score() -> float:
        off = loss(*tested)
        if task.score == "accuracy":
            return float((model(tested[0]).argmax(1) == tested[1]).double().mean())
        return float(off) if number == TEXT else float(1 - off / tested[1].var(correction=0))

    return fit, score
