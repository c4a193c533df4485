"""Training: what `fit` does in an epoch, what it watches, how it stops, and that it goes on as if it never had."""


import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.states import states
from tinygraph.training import History, evaluate, fit

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


def trained(data=(X, Y), seed=0, **options):
    net = Net(seed)
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
    one, _, _ = trained(seed=1)
    assert values(one) == values(trained(seed=1)[0])
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
    digits = tg.data.iris()
    net = nn.Linear(4, 3, rng=0)
    history = fit(net, digits, loss=nn.cross_entropy, optimizer=Momentum(net), epochs=1, progress=False)
    assert len(history) == 1


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
@pytest.mark.parametrize("place", ["data", "step", "epoch", "loss"])
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

    def run():
        fit(net, Data(), loss=loss, optimizer=optimizer, epochs=1, callbacks=[Callback()], progress=False, compile=how)

    if place == "loss" and how:
        return  # only the first call of a compiled step runs Python
    with pytest.raises(RuntimeError, match="no"):
        run()
    done = 5 if place == "epoch" else 3
    expected, _, _ = trained(batches[:done], epochs=1, compile=how)
    assert values(net) == values(expected)
    run()
    expected, _, _ = trained(batches[:done] + batches, epochs=1, compile=how)
    assert values(net) == values(expected)
