"""Training: what `fit` does in an epoch, what it watches, how it stops, and that it goes on as if it never had."""


import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import checkpoints, nn, optim
from tinygraph.states import states
from tinygraph.training import History, NotFiniteError, evaluate, fit, steps
from tinygraph.training.batches import batches_of
from tinygraph.training.progress import duration

pytestmark = pytest.mark.usefixtures("private_cache")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = (X @ [1.0, -2.0, 0.5] > 0).astype(int)


class Net(nn.Module):
    """A layer, dropout, a state that runs along, a layer: parameters, a stream and another state."""

    def __init__(self, seed=0, dtype=float):
        rng = np.random.default_rng(seed)
        self.first = nn.Linear(3, 8, rng=rng)
        self.stream = tg.Stream(seed)
        self.mean = tg.State(np.zeros(8))
        self.last = nn.Linear(8, 2, rng=rng)
        self.training = True

    def __call__(self, x):
        h = np.tanh(self.first(x))
        if self.training:
            self.mean.value = 0.9 * self.mean.value + 0.1
            h = np.where(self.stream.random(h.shape) < 0.8, h / 0.8, 0.0)
        return self.last(h - self.mean)


class Momentum:
    """An optimizer: two states and a rate that falls with the steps."""

    def __init__(self, model, lr=0.1):
        self.parameters = list(nn.parameters(model).values())
        self.moments = [tg.State(np.zeros(p.shape)) for p in self.parameters]
        self.steps, self.lr = tg.State(0.0), tg.State(lr)

    def step(self):
        rate = self.lr.value / (1.0 + 0.01 * self.steps.value)
        for p, m in zip(self.parameters, self.moments, strict=True):
            m.value = 0.9 * m.value + p.grad
            p.value = p.value - rate * m.value
        self.steps.value = self.steps.value + 1


def values(*things):
    return [state.value.tobytes() for state in states(list(things)).values()]


def trained(data=(X, Y), net_seed=0, **options):
    net = Net(net_seed)
    optimizer = Momentum(net)
    given = {"loss": nn.cross_entropy, "epochs": 3, "batch_size": 8, "progress": False, "compile": False} | options
    history = fit(net, data, optimizer=optimizer, **given)
    return net, optimizer, history


# ---- what an epoch is


@pytest.mark.parametrize("how", [False, True], ids=["eager", "compiled"])
def test_it_is_the_plain_loop(how):
    """Against the loop that anybody would write, in the order that is documented."""
    net, optimizer, history = trained(compile=how, metrics=["accuracy"])
    plain = Net(0)
    steps = Momentum(plain)
    losses, right = [], []
    for epoch in range(3):
        order = np.random.default_rng([0, epoch + 1]).permutation(50)
        total = hits = 0.0
        for i in range(0, 50, 8):
            batch = order[i:i + 8]
            outputs = plain(X[batch])
            loss = nn.cross_entropy(outputs, Y[batch])
            loss.backprop()
            steps.step()
            total += loss.item() * len(batch)
            hits += (outputs.value.argmax(axis=1) == Y[batch]).sum()
        losses.append(total / 50)
        right.append(hits / 50)
    assert np.allclose(history["loss"], losses, rtol=1e-12, atol=0)
    assert history["accuracy"] == right
    for ours, theirs in zip(states([net, optimizer]).values(), states([plain, steps]).values(), strict=True):
        assert np.allclose(ours.value, theirs.value, rtol=1e-10, atol=1e-12)


def test_the_seed_decides():
    one, _, history = trained(seed=1)
    again, _, _ = trained(seed=1)
    assert values(one) == values(again)
    assert history["loss"] != trained(seed=2)[2]["loss"]
    order = []

    def loss(outputs, y):
        order.append(y)
        return nn.cross_entropy(outputs, y)

    trained((X, Y), epochs=2, shuffle=False, loss=loss)
    assert np.array_equal(np.concatenate(order[:7]), Y)
    assert np.array_equal(np.concatenate(order[7:]), Y)


def test_every_sample_once_an_epoch():
    seen = []

    def loss(outputs, y):
        seen.append(y)
        return np.sum(outputs) * 0.0

    trained((X, np.arange(50)), loss=loss, epochs=2)
    first, second = np.concatenate(seen[:7]), np.concatenate(seen[7:])
    assert sorted(first) == sorted(second) == list(range(50))
    assert not np.array_equal(first, second)


def test_a_single_sample_is_not_left_alone():
    for samples, expected in ((33, [33]), (97, [32, 32, 33]), (98, [32, 32, 32, 2]), (1, [1]), (64, [32, 32])):
        batches = batches_of((np.arange(samples), np.arange(samples)), 32, shuffle=True)
        assert [len(y) for _, (_, y) in batches.epoch(0)] == expected
        assert len(batches) == len(expected)
        assert sorted(np.concatenate([y for _, (_, y) in batches.epoch(3)])) == list(range(samples))
    assert [len(y) for _, (_, y) in batches_of((X[:3], Y[:3]), 1).epoch(0)] == [1, 1, 1]
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.BatchNorm(4), nn.Linear(4, 2, rng=rng))
    fit(net, (X[:33], Y[:33]), loss=nn.cross_entropy, optimizer=Momentum(net), epochs=1, progress=False)


def test_structures_and_datasets():
    class Pair:
        def __init__(self):
            self.net = Net()

        def __call__(self, x):
            return self.net(x["left"]) - x["right"][0]

    model = Pair()
    data = ({"left": X, "right": [np.zeros((50, 2))]}, Y)
    fit(model, data, loss=nn.cross_entropy, optimizer=Momentum(model), epochs=3, batch_size=8, progress=False,
        compile=False)
    assert values(model) == values(trained()[0])
    data = tg.data.Dataset(X, Y)
    net = Net()
    fit(net, data, loss=nn.cross_entropy, optimizer=Momentum(net), epochs=3, batch_size=8, progress=False,
        compile=False)
    assert values(net) == values(trained()[0])


def test_weights():
    def loss(outputs, y, weights=None):
        each = (outputs[:, 0] - y) ** 2
        return np.mean(each) if weights is None else np.sum(weights * each) / np.sum(weights)

    weights, net = np.arange(1.0, 51.0), nn.Linear(3, 1, rng=0)
    value = loss(nn.inference(net)(X), Y, weights)
    history = fit(net, (X, Y, weights), loss=loss, optimizer=Momentum(net), epochs=1, batch_size=50, progress=False)
    assert np.isclose(history["loss"][0], value, rtol=1e-12)
    found = evaluate(net, (X, Y, weights), loss=loss, batch_size=7)
    assert np.isclose(found["loss"], loss(nn.inference(net)(X), Y, weights), rtol=1e-12)


# ---- validation and metrics


def test_validation_is_held_out():
    seen = []

    def loss(outputs, y):
        seen.append(y)
        return np.mean(outputs)

    _, _, history = trained((X, np.arange(50)), loss=loss, validation=0.2, epochs=1)
    training, held = np.concatenate(seen[:5]), np.concatenate(seen[5:])
    assert sorted([*training, *held]) == list(range(50))
    assert len(held) == 10
    assert set(history.columns) == {"loss", "validation loss"}


def test_validation_is_that_of_inference():
    net, _, history = trained(validation=(X[:20], Y[:20]), metrics=["accuracy"], epochs=2)
    outputs = nn.inference(net)(X[:20])
    assert history["validation loss"][-1] == float(nn.cross_entropy(outputs, Y[:20]))
    assert history["validation accuracy"][-1] == np.mean(outputs.argmax(axis=1) == Y[:20])
    before = values(net)
    evaluate(net, (X, Y), loss=nn.cross_entropy, metrics=["accuracy"])
    assert values(net) == before


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_metrics_are_those_of_scikit_learn(batch_size):
    from sklearn import metrics as expected

    rng = np.random.default_rng(1)
    scores, labels, weights = rng.normal(size=(50, 5)), rng.integers(0, 5, 50), rng.random(50)
    for w in (None, weights):
        data = (scores, labels) if w is None else (scores, labels, w)
        found = evaluate(lambda x: x, data, metrics=["accuracy", "top_1_accuracy", "top_3_accuracy"],
                         batch_size=batch_size)
        accuracy = expected.accuracy_score(labels, scores.argmax(axis=1), sample_weight=w)
        assert np.isclose(found["accuracy"], accuracy)
        assert np.isclose(found["top_1_accuracy"], accuracy)
        assert np.isclose(found["top_3_accuracy"],
                          expected.top_k_accuracy_score(labels, scores, k=3, sample_weight=w))
        targets = scores + rng.normal(size=(50, 5)) + 3
        data = (scores, targets) if w is None else (scores, targets, w)
        found = evaluate(lambda x: x, data, metrics=["mean_absolute_error", "mean_squared_error", "r2"],
                         batch_size=batch_size)
        for name, function in (("mean_absolute_error", expected.mean_absolute_error),
                               ("mean_squared_error", expected.mean_squared_error), ("r2", expected.r2_score)):
            assert np.isclose(found[name], function(targets, scores, sample_weight=w)), name


def test_accuracy_of_logits_and_of_sequences():
    binary = evaluate(lambda x: x, (np.array([-1.0, 2.0, 3.0, np.nan]), np.array([0, 1, 0, 0])), metrics=["accuracy"])
    assert binary == {"accuracy": 0.5}
    scores = np.array([[[0, 1], [1, 0]], [[0, 1], [0, 1]]], float)
    found = evaluate(lambda x: x, (scores, np.array([[1, 0], [1, 0]])), metrics=["accuracy", "top_2_accuracy"])
    assert found == {"accuracy": 0.75, "top_2_accuracy": 1.0}


def test_own_metrics():
    def largest(outputs, targets):
        return np.abs(outputs - targets).max()

    data = np.arange(4.0), np.zeros(4)
    assert evaluate(lambda x: x, data, metrics=[largest]) == {"largest": 3.0}
    assert evaluate(lambda x: x, data, metrics=[largest], batch_size=2) == {"largest": 2.0}


# ---- early stopping


def test_early_stopping_restores_the_best():
    kept = {}

    def keep(run):
        kept[run.epoch] = values(run.model)

    net, _, history = trained(epochs=60, validation=0.3, patience=3, callbacks=[keep], batch_size=4)
    losses = history["validation loss"]
    best = int(np.argmin(losses)) + 1
    assert history.best_epoch == best
    assert len(history) == best + 3 < 60
    assert values(net) == kept[best]
    assert history.stopped == f"stopped early: no better validation loss than that of epoch {best} in 3 epochs"


def test_the_best_is_restored_at_the_end_too():
    kept = {}

    def keep(run):
        kept[run.epoch] = values(run.model)

    net, _, history = trained(epochs=6, patience=100, monitor="accuracy", metrics=["accuracy"], callbacks=[keep])
    assert history.best_epoch == int(np.argmax(history["accuracy"])) + 1
    assert values(net) == kept[history.best_epoch]
    assert not history.stopped


def test_min_delta():
    history = History("loss", min_delta=0.5)
    for value in (float("nan"), 3.0, 2.6, 2.4, 2.0, 1.9):
        history.append({"loss": value}, 0.0)
    assert history.best_epoch == 4
    better = History("accuracy", greater_is_better=True)
    for value in (0.1, 0.3, 0.3, 0.2):
        better.append({"accuracy": value}, 0.0)
    assert better.best_epoch == 2


# ---- callbacks


def test_callbacks():
    class Watch:
        def __init__(self):
            self.steps, self.epochs = [], []

        def on_step(self, run):
            self.steps.append((run.epoch, run.step, run.loss))

        def on_epoch(self, run):
            self.epochs.append((run.epoch, run.step, len(run.history)))
            if run.epoch == 2:
                run.stop("enough")

    watch, seen = Watch(), []
    _, optimizer, history = trained(epochs=5, callbacks=[watch, lambda run: seen.append(run.epoch)])
    assert [place[:2] for place in watch.steps] == [(e, s) for e in (0, 1) for s in range(1, 8)]
    assert watch.epochs == [(1, 0, 1), (2, 0, 2)]
    assert seen == [1, 2]
    assert history.stopped == "enough"
    assert optimizer.steps.value == 14


@pytest.mark.parametrize("how", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("place", ["data", "step", "epoch", "loss", "optimizer"])
def test_an_exception_leaves_the_last_complete_step(how, place):
    """Whatever raises, the model is as after the steps that were completed, and fit can be called again."""
    batches = [(X[i:i + 10], Y[i:i + 10]) for i in range(0, 50, 10)]
    net, raised = Net(), []
    optimizer = Momentum(net)

    def fail(where):
        if where == place and not raised and optimizer.steps.value == (5 if where == "epoch" else 3):
            raised.append(True)
            raise RuntimeError("no")

    class Data:
        def __iter__(self):
            for batch in batches:
                fail("data")
                yield batch

    class Callback:
        def on_step(self, run):
            fail("step")

        def on_epoch(self, run):
            fail("epoch")

    def loss(outputs, y):
        fail("loss")
        return nn.cross_entropy(outputs, y)

    move = optimizer.step

    def stumble():
        if place == "optimizer" and not how and optimizer.steps.value == 3 and not raised:
            net.first.W.value = 0.0 * net.first.W.value
        fail("optimizer")
        move()

    optimizer.step = stumble

    def run():
        fit(net, Data(), loss=loss, optimizer=optimizer, epochs=1, callbacks=[Callback()], progress=False, compile=how)

    if place in ("loss", "optimizer") and how:
        return  # only the first call of a compiled step runs Python
    with pytest.raises(RuntimeError, match="no"):
        run()
    done = 5 if place == "epoch" else 3
    expected, _, _ = trained(batches[:done], epochs=1, compile=how)
    assert values(net) == values(expected)
    run()
    expected, _, _ = trained(batches[:done] + batches, epochs=1, compile=how)
    assert values(net) == values(expected)


# ---- stopping and going on


@pytest.fixture(autouse=True)
def listening():
    """What is run in the background has Ctrl-C turned off, and inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupter:
    """Presses Ctrl-C after a number of steps."""

    def __init__(self, steps):
        self.left = steps

    def on_step(self, run):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


class Noisy:
    """Batches that draw from a stream of their own."""

    def __init__(self):
        self.stream = tg.Stream(3)

    def __iter__(self):
        for i in range(0, 50, 8):
            yield X[i:i + 8] + 0.1 * self.stream.random((len(X[i:i + 8]), 3)).value, Y[i:i + 8]


class Average:
    """A callback with a memory: a running average of the first weights, taken after each step."""

    def __init__(self, model):
        self.model, self.mean = model, tg.State(np.zeros(model.first.W.shape))

    def on_step(self, run):
        self.mean.value = 0.9 * self.mean.value + 0.1 * self.model.first.W.value


def session(path, data, how, stop=0, seed=0):
    """One call of fit with everything on, by a process that begins with other weights; Ctrl-C after `stop` steps."""
    net = Net(seed)
    optimizer, average = Momentum(net), Average(net)
    history = fit(net, data, loss=nn.cross_entropy, optimizer=optimizer, epochs=4, batch_size=8, seed=5,
                  validation=(X, Y) if isinstance(data, Noisy) else 0.2, metrics=["accuracy", "top_2_accuracy"],
                  patience=2, callbacks=[average, Interrupter(stop)], compile=how, progress=False, checkpoint=path,
                  resume=os.path.exists(path))
    return history, [values(net, optimizer, average), history.columns, history.best_epoch]


@pytest.mark.parametrize("how", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("data", ["arrays", "batches"])
def test_resuming_continues_to_the_last_bit(how, data, tmp_path):
    """Interrupted after any step, the last of an epoch too, and taken up again in another process, as it were."""
    def source():
        return (X, Y) if data == "arrays" else Noisy()

    history, whole = session(tmp_path / "whole.npz", source(), how)
    assert not history.stopped
    steps = 4 * (5 if data == "arrays" else 7)
    for stop in (1, 7, steps - 3) if how else range(1, steps, 1 if data == "arrays" else 3):
        path = tmp_path / f"{stop}.npz"
        history, _ = session(path, source(), how, stop)
        assert history.stopped == "interrupted"
        assert len(history) == (stop - 1) // (steps // 4)
        history, resumed = session(path, source(), how, seed=stop)
        assert resumed == whole, stop


@pytest.mark.parametrize(("how", "kind"), [(False, "npz"), (True, "safetensors")], ids=["eager", "compiled"])
def test_resuming_what_the_library_has(how, kind, tmp_path):
    """Dropout, batch normalisation, an averaged optimizer with clipping, and a rate that waits for the validation."""
    def session(name, stop=0, seed=0):
        rng = np.random.default_rng(seed)
        net = nn.Sequential(nn.Linear(3, 8, rng=rng), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.3, rng=rng),
                            nn.Linear(8, 2, rng=rng))
        plateau = optim.Plateau(1.0, factor=0.5, patience=0)
        optimizer = optim.Average(optim.Adam(net, lr=plateau, clip_norm=1.0, weight_decay=0.01), 0.9)
        history = fit(net, (X, Y), loss=nn.cross_entropy, optimizer=optimizer, epochs=5, batch_size=8, validation=0.2,
                      metrics=["accuracy"], compile=how, progress=False, checkpoint=tmp_path / f"{name}.{kind}",
                      resume=True, callbacks=[Interrupter(stop),
                                              lambda run: plateau.observe(run.history["validation loss"][-1])])
        return [values(net, optimizer), history.columns], float(plateau(0))

    whole, rate = session("whole")
    assert rate < 1.0
    for stop in (10,) if how else (3, 10, 22):
        session(stop, stop)
        assert session(stop, seed=stop) == (whole, rate)


def test_interrupted_again_and_again(tmp_path):
    _, whole = session(tmp_path / "whole.npz", (X, Y), False)
    path, calls = tmp_path / "x.npz", 0
    while calls < 10:
        calls += 1
        history, resumed = session(path, (X, Y), False, stop=3, seed=calls - 1)
        if not history.stopped:
            break
    assert calls == 7
    assert resumed == whole
    assert session(path, (X, Y), False)[1] == whole  # nothing is left to do


def test_early_stopping_is_remembered(tmp_path):
    options = {"epochs": 60, "batch_size": 4, "validation": 0.3, "patience": 3}
    whole, _, history = trained(**options)
    assert history.stopped.startswith("stopped early")
    path = tmp_path / "x.npz"
    for seed, stop in enumerate((5, 20, 1000)):
        net, _, found = trained(**options, checkpoint=path, resume=True, callbacks=[Interrupter(stop)], net_seed=seed)
    assert found.columns == history.columns
    assert found.stopped == history.stopped
    assert values(net) == values(whole)
    net, _, again = trained(**options, checkpoint=path, resume=True, net_seed=9)
    assert again.columns == history.columns
    assert again.stopped == history.stopped
    assert values(net) == values(whole)


def test_the_model_of_the_file_is_the_best(tmp_path):
    path, kept = tmp_path / "x.npz", {}

    def keep(run):
        kept[run.epoch] = values(run.model)

    net, _, _ = trained(epochs=9, validation=0.3, patience=20, batch_size=4, checkpoint=path,
                        callbacks=[keep, Interrupter(60)])
    best, last = Net(1), Net(2)
    history = checkpoints.load(path, model=best)["training"]["columns"]["validation loss"]
    checkpoints.load(path, last=last)
    assert values(best) == kept[int(np.argmin(history)) + 1]
    assert values(last) == values(net)  # after Ctrl-C nothing is put back
    assert values(last) not in kept.values()
    path = tmp_path / "y.npz"
    net, _, _ = trained(patience=20, checkpoint=path, callbacks=[Interrupter(2)])
    checkpoints.load(path, model=best)
    assert values(best) == values(net)


def test_a_longer_run_goes_on(tmp_path):
    whole, _, history = trained(epochs=5)
    trained(epochs=2, checkpoint=tmp_path / "x.npz")
    net, _, found = trained(epochs=5, checkpoint=tmp_path / "x.npz", resume=True, net_seed=3)
    assert values(net) == values(whole)
    assert found.columns == history.columns


def test_checkpoints_are_as_frequent_as_asked(tmp_path):
    path, seen = tmp_path / "x.npz", []

    def look(run):
        seen.append(checkpoints.read(path).metadata["training"]["epoch"] if path.exists() else 0)

    trained(epochs=5, every=2, checkpoint=path, callbacks=[look])
    assert seen == [0, 0, 2, 2, 4]
    assert checkpoints.read(path).metadata["training"]["epoch"] == 5


def test_what_cannot_be_written_is_known_at_the_start(tmp_path):
    steps = []
    for path in ("x.bin", "no/x.npz"):
        with pytest.raises((ValueError, FileNotFoundError)):
            trained(checkpoint=tmp_path / path, callbacks=[lambda run: steps.append(1)])
    with pytest.raises(TypeError, match="metadata"):
        trained(checkpoint=tmp_path / "x.npz", metadata={"a": X}, callbacks=[lambda run: steps.append(1)])
    assert not steps
    assert not os.listdir(tmp_path)


def test_what_is_not_the_same_training(tmp_path):
    path = tmp_path / "x.npz"
    trained(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"resume=True goes on"):
        trained(checkpoint=path)
    with pytest.raises(ValueError, match=r"of a training with batch_size=8, and here it is 16"):
        trained(checkpoint=path, resume=True, batch_size=16)
    with pytest.raises(ValueError, match=r"of a training with samples=50, and here it is 40"):
        trained(checkpoint=path, resume=True, validation=0.2)
    with pytest.raises(ValueError, match=r"of a training with patience=None"):
        trained(checkpoint=path, resume=True, patience=2)
    checkpoints.save(tmp_path / "model.npz", model=Net())
    with pytest.raises(checkpoints.CheckpointError, match=r"was not written by fit"):
        trained(checkpoint=tmp_path / "model.npz", resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", [False, True], ids=["eager", "compiled"])
def test_ctrl_c_stops_after_a_step(how):
    """At any moment: the states are those of a whole number of steps, and the way Ctrl-C works is as before."""
    net = Net()
    optimizer = Momentum(net)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))

    def loss(outputs, y):
        if timer.ident is None:
            timer.start()
        return nn.cross_entropy(outputs, y)

    history = fit(net, (X, Y), loss=loss, optimizer=optimizer, epochs=10**6, batch_size=8, progress=False, compile=how)
    timer.join()
    assert history.stopped == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    steps = int(optimizer.steps.value)
    assert len(history) == (steps - 1) // 7
    expected, _, _ = trained(epochs=steps // 7 + 1, compile=how, callbacks=[Interrupter(steps)])
    assert values(net) == values(expected)


def test_a_second_ctrl_c_stops_at_once():
    net = Net()
    optimizer, calls = Momentum(net), []

    def loss(outputs, y):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return nn.cross_entropy(outputs, y)

    with pytest.raises(KeyboardInterrupt):
        fit(net, (X, Y), loss=loss, optimizer=optimizer, epochs=1, batch_size=8, progress=False, compile=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert optimizer.steps.value == 3
    expected, _, _ = trained(epochs=1, callbacks=[Interrupter(3)])
    assert values(net) == values(expected)


def test_outside_the_main_thread_signals_are_let_alone():
    found = []
    thread = threading.Thread(target=lambda: found.append(trained()[0]))
    thread.start()
    thread.join()
    assert values(found[0]) == values(trained()[0])


KILLING = """
import os, random, signal, sys
from tests.test_training import Momentum, Net, X, Y, values
from tinygraph import nn
from tinygraph.training import fit

def run(path, seed, callback=print):
    net = Net(seed)
    optimizer = Momentum(net)
    history = fit(net, (X, Y), loss=nn.cross_entropy, optimizer=optimizer, epochs=40, batch_size=8, patience=50,
                  progress=False, compile=False, checkpoint=path, resume=True, callbacks=[callback])
    return values(net, optimizer), history.columns

class Teller:
    def on_step(self, run):
        os.write(tell, b".")

folder, dice, killed = sys.argv[1], random.Random(1), 0
path = os.path.join(folder, "x.npz")
whole = run(os.path.join(folder, "whole.npz"), 0, lambda run: None)
while True:
    heard, tell = os.pipe()
    child = os.fork()
    if not child:
        run(path, killed if os.path.exists(path) else 0, Teller())
        os._exit(0)
    os.close(tell)
    for _ in range(dice.randint(1, 60)):
        os.read(heard, 1)
    os.kill(child, signal.SIGKILL)
    os.close(heard)
    if os.waitpid(child, 0)[1] == 0:
        break
    killed += 1
    assert killed < 1000
assert killed > 3, killed
assert run(path, 77, lambda run: None) == whole
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_and_resumed(tmp_path):
    """Killed again and again, whenever that is: what comes out in the end is the same."""
    done = subprocess.run([sys.executable, "-c", KILLING, str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


# ---- what is not finite


class Fragile:
    """A network that fails at the step whose batch says so."""

    def __init__(self):
        self.net = Net()
        self.scale = tg.Parameter(np.ones(()), name="scale")

    def __call__(self, x):
        return self.net(x["x"]) + 0.0 * np.log(self.scale * x["ok"])[:, None]


def spoiled(step, value, batches=20):
    """Batches of which one holds a number that the logarithm does not like."""
    data = [({"x": X[:8], "ok": np.ones(8)}, Y[:8]) for _ in range(batches)]
    data[step - 1][0]["ok"][3] = value
    return data


@pytest.mark.parametrize("how", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("step", [1, 2, 7, 20])
def test_a_loss_that_is_not_finite_names_the_node(how, step, monkeypatch):
    """With short memory, so that the batches to go back over are from either side of a renewal."""
    monkeypatch.setattr(steps, "KEPT_STEPS", 3)
    model = Fragile()
    optimizer = Momentum(model)
    with pytest.raises(NotFiniteError) as caught:
        fit(model, spoiled(step, 0.0), loss=nn.cross_entropy, optimizer=optimizer, epochs=2, progress=False,
            compile=how)
    text = str(caught.value)
    assert text.startswith(f"epoch 1, step {step}: the loss is nan: the value of Log (8,) float64 is not finite")
    assert "np.log(self.scale * x[\"ok\"])" in text
    assert text.endswith("The model is as it was before that step")
    assert len(caught.value.history) == 0
    expected = Fragile()
    plain = Momentum(expected)
    if step > 1:
        fit(expected, spoiled(step, 1.0)[:step - 1], loss=nn.cross_entropy, optimizer=plain, epochs=1, progress=False,
            compile=how)
    assert values(model, optimizer) == values(expected, plain)


@pytest.mark.parametrize("how", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("step", [4, 5, 10])
def test_a_gradient_that_is_not_finite_is_found_at_its_step(how, step, monkeypatch):
    """The loss is finite at that step, and the last step of an epoch has no next one."""
    monkeypatch.setattr(steps, "KEPT_STEPS", 4)

    class Root(Fragile):
        def __call__(self, x):
            return self.net(x["x"]) + np.sqrt(self.scale * 0.0 + x["ok"] - 1)[:, None] * [0.0, 1.0]

    model = Root()
    optimizer = Momentum(model)
    data = [({"x": x["x"], "ok": x["ok"] + 1}, y) for x, y in spoiled(step, 0.0, 10)]
    with pytest.raises(NotFiniteError, match=r"the gradient that Sqrt .* infinite at 0"):
        fit(model, data, loss=nn.cross_entropy, optimizer=optimizer, epochs=2, progress=False, compile=how)
    assert optimizer.steps.value == step - 1
    assert all(np.isfinite(state.value).all() for state in states(model).values())


def test_bad_data_and_bad_updates_are_named():
    net = Net()
    broken = X.copy()
    broken[3, 1] = np.nan
    with pytest.raises(NotFiniteError, match=r"X of the batch holds 1 entries that are not finite"):
        fit(net, (broken, Y), loss=nn.cross_entropy, optimizer=Momentum(net), epochs=1, progress=False)
    assert values(net) == values(Net()) or np.isfinite(net.first.W.value).all()

    class Broken(Momentum):
        def step(self):
            super().step()
            self.parameters[2].value = self.parameters[2].value * np.float64("nan")

    with pytest.raises(NotFiniteError, match=r"the update of last\.W is not finite"):
        fit(net, (X, Y), loss=nn.cross_entropy, optimizer=Broken(net), epochs=1, progress=False, compile=False)


@pytest.mark.parametrize("how", [False, True], ids=["eager", "compiled"])
def test_steps_are_taken_again_as_they_were(how, monkeypatch):
    """Also if a callback changed something between them; and what is kept for it does not change the steps."""
    monkeypatch.setattr(steps, "KEPT_STEPS", 6)

    class Slower:
        def on_step(self, run):
            if run.step == 7:
                run.optimizer.lr.value = run.optimizer.lr.value / 2

    found = []
    for data in (spoiled(9, 0.0), spoiled(9, 1.0)[:8]):
        model = Fragile()
        optimizer = Momentum(model)
        try:
            fit(model, data, loss=nn.cross_entropy, optimizer=optimizer, epochs=1, callbacks=[Slower()], progress=False,
                compile=how)
        except NotFiniteError:
            found.append("stopped")
        found.append(values(model, optimizer))
    assert found == ["stopped", found[1], found[1]]


# ---- compiling


def test_what_is_compiled(monkeypatch):
    """Batches of a form that comes often are; the last one of an epoch, which is smaller, only in a long training."""
    found, run = [], steps.Stepper.run_eagerly
    monkeypatch.setattr(steps.Stepper, "run_eagerly",
                        lambda self, batch: found.append(len(batch[1])) or run(self, batch))
    trained(epochs=3, compile="auto")
    assert found == 3 * [8, 8, 8, 8, 8, 8, 2]
    found.clear()
    monkeypatch.setattr(steps, "LEAST", 10)
    trained(epochs=3, compile="auto")
    assert found == 3 * [8, 8, 8, 8, 8, 8, 2]
    found.clear()
    monkeypatch.setattr(steps, "STEPS_PER_INSTRUCTION", 0.1)  # as if compiling cost next to nothing
    trained(epochs=3, compile="auto")
    assert found == 3 * [2]
    found.clear()
    monkeypatch.setattr(steps, "LEAST", 1)
    monkeypatch.setattr(steps, "STEPS_PER_INSTRUCTION", 0.0)
    trained(epochs=3, compile="auto")
    trained(epochs=1, compile=True)
    assert found == []
    trained([(X[:8], Y[:8]), (X[8:13], Y[8:13]), (X[20:28], Y[20:28])], epochs=2, compile="auto")
    assert found == [5, 5]


def test_the_larger_the_sooner():
    """Compiling pays after fewer steps where a step is dear."""
    needed = []
    for width in (4, 100, 2000):
        net = nn.Linear(width, 2, rng=0)
        data = np.zeros((8, width)), np.zeros(8, int)
        source = batches_of(data, 8)
        stepper = steps.Stepper(net, nn.cross_entropy, Momentum(net), source, "auto", False)
        stepper.pays(data, 1000)
        needed.append(stepper.needed)
    assert 1500 > needed[0] > needed[1] > needed[2] > 100


def test_what_cannot_be_compiled_runs_eagerly_and_says_so_once(monkeypatch):
    class Branching(Net):
        def __call__(self, x):
            h = super().__call__(x)
            return h if h[0, 0] > 0 else -h

    def run(how):
        net = Branching()
        fit(net, (X, Y), loss=nn.cross_entropy, optimizer=Momentum(net), epochs=2, batch_size=8, progress=False,
            compile=how)
        return values(net)

    expected = run(False)
    monkeypatch.setattr(steps, "LEAST", 1)
    with pytest.warns(UserWarning, match=r"training runs eagerly.*because the step cannot be compiled") as caught:
        assert run("auto") == expected
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.raises(TypeError, match=r"np\.where"):
        run(True)


# ---- what is said


def test_lines(capsys):
    trained(epochs=12, progress=True, validation=0.2, metrics=["accuracy"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert lines[0].startswith("epoch  1/12  loss 0.")
    assert "validation accuracy" in lines[0]
    assert lines[-1].endswith(" 0 s left")


def test_silence(capfd):
    trained(progress=False)
    assert capfd.readouterr() == ("", "")


def test_bar_at_a_terminal():
    import fcntl
    import pty
    import struct
    import termios

    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    script = ("from tests.test_training import *\n"
              "trained(epochs=4, progress=True, validation=0.2, metrics=['accuracy'])")
    process = subprocess.Popen([sys.executable, "-c", script], stderr=terminal, stdout=subprocess.PIPE, text=True)
    os.close(terminal)
    written = b""
    try:
        while part := os.read(controller, 10_000):
            written += part
    except OSError:  # the other end is closed
        pass
    os.close(controller)
    assert process.wait() == 0
    assert process.stdout.read() == ""
    process.stdout.close()
    last = written.decode().strip().split("\r")[-1]
    assert "epoch 4/4: 100%" in last
    assert "20/20" in last
    assert "loss" in last
    assert "validation accuracy" in last


def test_durations():
    assert [duration(t) for t in (0.0, 0.1234, 8.61, 12.4, 59.7, 185, 7800)] == [
        "0 s", "0.12 s", "8.6 s", "12 s", "1 min 00 s", "3 min 05 s", "2 h 10 min"]


def test_history_as_a_table():
    history = History("validation loss")
    assert str(history) == "no epoch was completed"
    for i in range(30):
        history.append({"loss": 1 / (i + 1), "validation loss": abs(i - 17) / 10}, 0.5)
    lines = str(history).splitlines()
    assert lines[0].split() == ["epoch", "loss", "validation", "loss", "seconds"]
    assert [line.split()[0] for line in lines if line.endswith("best")] == ["18"]
    assert lines[1].split()[0] == "1"
    assert lines[-1].split()[0] == "30"
    assert len(lines) <= 22
    page = history._repr_html_()
    assert page.count("<table>") == page.count("<svg") == 1
    assert page.count("<tr") == len(lines)
    with pytest.raises(KeyError, match="no column 'accuracy', only loss, validation loss"):
        history["accuracy"]


def test_history_as_a_picture(tmp_path):
    from matplotlib.figure import Figure

    _, _, history = trained(epochs=5, validation=0.2, metrics=["accuracy"])
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        history.plot(tmp_path / f"h.{kind}")
        assert (tmp_path / f"h.{kind}").read_bytes().startswith(start)
    axes = Figure().subplots(2)
    history.plot(axes)
    assert [ax.get_title(loc="center") or ax.get_title(loc="left") for ax in axes] == ["loss", "accuracy"]
    for ax, name in zip(axes, ("loss", "accuracy"), strict=True):
        curves = [line.get_ydata() for line in ax.lines if line.get_label() in ("training", "validation")]
        assert [list(curve) for curve in curves] == [history[name], history[f"validation {name}"]]
        (best,) = [line for line in ax.lines if line.get_label().startswith("best epoch")]
        assert best.get_xdata() == [history.best_epoch]
        assert best.get_ydata() == [history[f"validation {name}"][history.best_epoch - 1]]
    with pytest.raises(ValueError, match="nothing to draw"):
        History().plot(tmp_path / "no.png")


# ---- what cannot be


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"data": (X, Y[:40])}, ValueError, r"data must have the same number of samples.*X has 50, y has 40"),
        ({"data": (X[:0], Y[:0])}, ValueError, "X has 0, y has 0"),
        ({"data": (X,)}, TypeError, r"data is a tuple of 1: give \(X, y\)"),
        ({"data": X}, TypeError, "data is of type ndarray"),
        ({"data": 3}, TypeError, "data is of type int"),
        ({"data": (X, np.array(["a"] * 50))}, TypeError, "expected numbers"),
        ({"data": [X]}, TypeError, "batch 0 of data is of type ndarray"),
        ({"data": []}, ValueError, "data gave no batch in epoch 1"),
        ({"data": iter([(X, Y)])}, ValueError, "once only, and epochs=3"),
        ({"validation": 1.5}, ValueError, "validation=1.5: give a fraction between 0 and 1"),
        ({"data": [(X, Y)], "validation": 0.5}, ValueError, "validation=0.5: .* of data in arrays"),
        ({"data": (X[:2], Y[:2]), "validation": 0.9}, ValueError, "leaves none to train with"),
        ({"validation": (X, Y[:3])}, ValueError, "validation must have the same number"),
        ({"epochs": 0}, ValueError, "epochs is an integer of 1 or more, not 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size is an integer of 1 or more, not 2.5"),
        ({"patience": 0}, ValueError, "patience is"),
        ({"metrics": ["acuracy"]}, ValueError, "no metric is called 'acuracy': choose accuracy, "),
        ({"metrics": [3]}, TypeError, "a metric is a name or a function"),
        ({"metrics": ["accuracy", "accuracy"]}, ValueError, "two metrics have one name"),
        ({"metrics": ["mean_absolute_error"]}, ValueError, r"of the same shape, got \(8, 2\) and \(8,\)"),
        ({"monitor": "validation loss"}, ValueError, "monitor='validation loss': there will be the columns loss"),
        ({"callbacks": ["print"]}, TypeError, "a callback is a function of the Run"),
        ({"loss": lambda outputs, y: 1.0}, TypeError, "the loss is no node"),
        ({"resume": True}, ValueError, "name it with checkpoint="),
        ({"compile": "always"}, ValueError, "compile='always': choose"),
        ({"seed": -1}, ValueError, "seed is an integer of 0 or more, not -1"),
        ({"min_delta": -1}, ValueError, "min_delta is a number of 0 or more"),
    ],
)
def test_bad_arguments(options, kind, message):
    with pytest.raises(kind, match=message):
        trained(**({"data": (X, Y)} | options))


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="give loss= or metrics="):
        evaluate(Net(), (X, Y))


@pytest.mark.parametrize(("first", "then", "word"), [
    ({"patience": 9}, {}, "patience=given"), ({}, {"patience": 9}, "patience=None"),
    ({"patience": 9}, {"patience": 9, "min_delta": 0.1}, "min_delta=0.1"),
    ({}, {"validation": (X, Y)}, "validation loss"), ({}, {"metrics": ["accuracy"]}, "accuracy")])
def test_a_run_that_watches_something_else_is_another(first, then, word, tmp_path):
    file = tmp_path / "run.npz"
    trained(epochs=2, checkpoint=file, **first)
    with pytest.raises(ValueError, match=word):
        trained(epochs=3, checkpoint=file, resume=True, **then)


def test_more_patience_is_the_same_run(tmp_path):
    trained(epochs=2, checkpoint=tmp_path / "run.npz", patience=5)
    assert len(trained(epochs=3, checkpoint=tmp_path / "run.npz", resume=True, patience=9)[2]) == 3


def test_lists_of_numbers_are_no_arrays():
    with pytest.raises(ValueError, match=r"X\[0\]\[0\] is one number.*give np.array") as error:
        trained_on((X.tolist(), Y))
    assert len(str(error.value)) < 300


def trained_on(data):
    net = nn.Linear(X.shape[1], 3, rng=0)
    return fit(net, data, loss=nn.cross_entropy, optimizer=optim.SGD(net), epochs=1, progress=False)


def test_the_loss_of_an_epoch_is_weighted_by_the_weights():
    weights = np.arange(1.0, len(X) + 1)
    net = nn.Linear(X.shape[1], 3, rng=0)
    whole = nn.cross_entropy(nn.inference(net)(X), Y, weights=weights)
    history = fit(net, (X, Y, weights), loss=nn.cross_entropy, optimizer=optim.SGD(net, lr=1e-12), epochs=1,
                  batch_size=7, progress=False)
    np.testing.assert_allclose(history["loss"][0], whole, rtol=1e-9)


def test_the_seed_says_what_is_held_out():
    held = []
    for seed in (1, 2):
        seen = []
        net = nn.Linear(X.shape[1], 3, rng=0)
        fit(net, (X, Y), loss=nn.cross_entropy, optimizer=optim.SGD(net), epochs=1, progress=False, seed=seed,
            validation=0.25, shuffle=False, batch_size=len(X),
            metrics=[lambda outputs, y, seen=seen: seen.append(outputs) or 0.0])
        held.append(seen[-1])
    assert not np.array_equal(*held)
