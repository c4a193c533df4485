"""Optimizers and schedules: beside PyTorch's recorded numbers, eager beside compiled, and what they refuse."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.optim import optimizers
from tinygraph.states import states

from .references.make_optim import AT, OPTIMIZERS, start

PYTORCH = json.loads((Path(__file__).parent / "references" / "optim.json").read_text(encoding="utf-8"))


def wave(ps):
    return sum(np.sum(np.cos(p * 1.3 + 0.1) + 0.1 * p**2) for p in ps)


def parameters(dtype=np.float64):
    return [tg.Parameter(p.astype(dtype)) for p in start()]


def steps_of(ps, optimizer, target=None):
    def step():
        loss = wave(ps)
        loss.backprop()
        optimizer.step()
        return loss

    return step if target is None else tg.compile(step, target=target)


# ------------------------------------------------------------------------------------------------------ beside PyTorch

def test_every_optimizer_was_recorded():
    classes = {name for name in optim.__all__ if isinstance(getattr(optim, name), type)
               and issubclass(getattr(optim, name), optim.Optimizer)}
    assert classes - {cls for cls, _, _ in OPTIMIZERS.values()} == {"Optimizer", "Lion"}  # PyTorch has no Lion


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_steps_are_those_of_pytorch(name):
    cls, options, _ = OPTIMIZERS[name]
    ps = parameters()
    step = steps_of(ps, getattr(optim, cls)(ps, **options))
    for i in range(1, 51):
        step()
        if i in AT:
            for p, expected in zip(ps, PYTORCH["optimizers"][name][AT.index(i)], strict=True):
                assert_allclose(p.value, expected, rtol=1e-12, atol=1e-12)


def test_lion_is_its_paper():
    """Algorithm 2 of Chen et al. (2023)."""
    ps = parameters()
    optimizer = optim.Lion(ps, lr=0.01, beta1=0.8, beta2=0.95, weight_decay=0.1)
    theta = [p.value.copy() for p in ps]
    m = [np.zeros_like(p) for p in theta]
    for _ in range(50):
        wave(ps).backprop()
        optimizer.step()
        for i, p in enumerate(theta):
            g = -1.3 * np.sin(p * 1.3 + 0.1) + 0.2 * p
            c = 0.8 * m[i] + 0.2 * g
            theta[i] = p - 0.01 * (np.sign(c) + 0.1 * p)
            m[i] = 0.95 * m[i] + 0.05 * g
    for p, expected in zip(ps, theta, strict=True):
        assert_allclose(p.value, expected, rtol=1e-12, atol=1e-13)


SCHEDULES = {
    "step_decay": optim.Step(0.5, 7, 0.3),
    "multi_step": optim.MultiStep(0.5, [5, 11, 30], 0.3),
    "exponential": optim.Exponential(0.5, 0.9),
    "cosine": optim.Cosine(0.5, 40, 0.01),
    "cosine_restarts": optim.CosineRestarts(0.5, 9, 1, 0.01),
    "cosine_restarts, growing": optim.CosineRestarts(0.5, 3, 2, 0.01),
    "one_cycle": optim.OneCycle(0.5, 40),
    "warm_up": optim.WarmUp(0.5, 8, 0.25),
}


@pytest.mark.parametrize("name", PYTORCH["schedules"])
def test_schedules_are_those_of_pytorch(name):
    assert_allclose([SCHEDULES[name](t) for t in range(40)], PYTORCH["schedules"][name], rtol=1e-10)


def test_plateau_is_that_of_pytorch():
    schedule = optim.Plateau(0.5, factor=0.3, patience=2, minimum=0.02)
    metrics, rates = PYTORCH["plateau"]
    found = []
    for metric in metrics:
        schedule.observe(metric)
        found.append(float(schedule(0)))
    assert_allclose(found, rates)
    assert len(states(schedule)) == 3


def test_after_a_warm_up_the_schedule_begins():
    schedule = optim.WarmUp(optim.Cosine(1.0, 10), 5)
    assert_allclose([schedule(t) for t in (0, 1, 5, 10, 15, 100)], [0, 0.2, 1, 0.5, 0, 0], atol=1e-15)
    assert optim.Cosine(1.0, 10)(1000) == 0
    assert optim.OneCycle(1.0, 10)(1000) == pytest.approx(1 / 25 / 1e4)


def test_waves_begin_anew_at_the_very_step():
    for growth, steps in ((2, 7), (3, 5), (10, 3)):
        schedule, start = optim.CosineRestarts(1.0, steps, growth), 0
        while start < 10**7:
            assert schedule(start) == 1.0
            assert start == 0 or schedule(start - 1) < 0.5
            start, steps = start + steps, steps * growth


@pytest.mark.parametrize("target", [None, "numpy"])
def test_a_plateau_inside_a_warm_up_is_remembered_and_followed(target):
    p = tg.Parameter(np.zeros(1))
    plateau = optim.Plateau(1.0, factor=0.5, patience=0)
    optimizer = optim.SGD(p, lr=optim.WarmUp(plateau, 2))
    assert {"learning_rate.lr.rate", "learning_rate.lr.best", "learning_rate.lr.waited"} < {*states(optimizer)}

    def step():
        np.sum(p).backprop()
        optimizer.step()

    step = step if target is None else tg.compile(step, target=target)
    seen = []
    for metric in (3.0, 2.0, 2.0, np.nan, 1.0):
        step()
        seen.append(-p.value.item())
        plateau.observe(metric)
    assert_allclose(np.diff(seen, prepend=0), [0, 0.5, 1, 0.5, 0.25])


# --------------------------------------------------------------------------------------------------- eager and compiled

CONFIGURED = {**{name: lambda ps, cls=cls, options=options: getattr(optim, cls)(ps, **options)
                 for name, (cls, options, _) in OPTIMIZERS.items()},
              "Lion": lambda ps: optim.Lion(ps, lr=0.01, weight_decay=0.1),
              "l1": lambda ps: optim.SGD(ps, lr=0.01, l1=0.1),
              "groups": lambda ps: optim.Adam([{"parameters": ps[0], "lr": 0.1}, {"parameters": ps[1], "l2": 0.5}]),
              **{name: lambda ps, schedule=schedule: optim.Adam(ps, lr=schedule)
                 for name, schedule in SCHEDULES.items()}}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CONFIGURED)
@pytest.mark.usefixtures("private_cache")
def test_compiled_steps_are_the_eager_ones(name, dtype):
    eager, traced = parameters(dtype), parameters(dtype)
    native = name in ("Adam", "SGD, Nesterov, l2", "NAdam", "groups", "one_cycle") and dtype == np.float32
    target = "native" if native else "numpy"
    optimizer = CONFIGURED[name](traced)
    first, second = steps_of(eager, CONFIGURED[name](eager)), steps_of(traced, optimizer, target)
    for _ in range(12):
        first()
        second()
    for a, b in zip(eager, traced, strict=True):
        assert a.value.dtype == b.value.dtype == dtype
        assert_allclose(b.value, a.value, rtol=2e-4 if dtype == np.float32 else 1e-11, atol=1e-5 if native else 1e-7)
    assert int(optimizer.count.value) == 12
    assert all(p.dtype in (dtype, np.float64, np.int64) for p in states(optimizer).values())


def test_a_new_rate_takes_effect_without_tracing_anew():
    ps, traced = parameters(), 0
    optimizer = optim.SGD(ps, lr=0.0)

    @tg.compile(target="numpy")
    def step():
        nonlocal traced
        traced += 1
        wave(ps).backprop()
        optimizer.step()

    before = ps[0].value.copy()
    step()
    assert_array_equal(ps[0].value, before)
    optimizer.lr = 0.1
    step()
    assert (ps[0].value != before).all()
    assert traced == 1
    assert optimizer.lr == 0.1


@pytest.mark.parametrize("name", ["Adam", "NAdam", "RMSProp, momentum, l2"])
def test_its_states_are_all_that_it_remembers(name):
    """Continued from saved arrays it does what it would have done, to the last bit."""
    ps = parameters()
    optimizer = CONFIGURED[name](ps)
    step = steps_of(ps, optimizer)
    for _ in range(5):
        step()
    saved = [{path: np.array(state.value) for path, state in states(thing).items()} for thing in (ps, optimizer)]
    for _ in range(5):
        step()
    others = parameters()
    other = CONFIGURED[name](others)
    for thing, values in zip((others, other), saved, strict=True):
        for path, state in states(thing).items():
            state.value = values[path]
    again = steps_of(others, other)
    for _ in range(5):
        again()
    for a, b in zip(ps, others, strict=True):
        assert_array_equal(a.value, b.value)


def test_a_gradient_is_used_once():
    p = tg.Parameter(np.ones(2))
    optimizer = optim.SGD(p, lr=0.1)
    for x in (1.0, 2.0):
        np.sum(p * x).backprop(accumulate=True)
    optimizer.step()
    assert_allclose(p.value, 0.7)
    with pytest.raises(RuntimeError, match="has no gradient: call"):
        optimizer.step()
    np.sum(p).backprop(accumulate=True)
    optimizer.step()
    assert_allclose(p.value, 0.6)


@pytest.mark.parametrize("name", CONFIGURED)
def test_large_arrays_are_moved_as_small_ones(name, monkeypatch):
    moved = []
    for block in (optimizers.BLOCK, 4):
        monkeypatch.setattr(optimizers, "BLOCK", block)
        ps = [*parameters(np.float32), tg.Parameter(np.asfortranarray(np.arange(15.0, dtype=np.float32).reshape(5, 3)))]
        step = steps_of(ps, CONFIGURED[name](ps))
        for _ in range(3):
            step()
        moved.append([p.value for p in ps])
    for a, b in zip(*moved, strict=True):
        assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("size", [3, optimizers.BLOCK + 3])
def test_arrays_are_reused_if_nobody_else_holds_them(size):
    p = tg.Parameter(np.ones(size))
    optimizer = optim.SGD(p, lr=0.1, momentum=0.5)

    def move():
        p.grad = np.ones(size)
        optimizer.step()

    def places():
        return [state.value.ctypes.data for state in (p, *optimizer.groups[0].moments["velocity"])]

    move()
    before = places()
    move()
    assert places() == before
    kept, graph = p.value, p * 2
    velocity = optimizer.groups[0].moments["velocity"][0].value
    copies = kept.copy(), graph.value.copy(), velocity.copy()
    move()
    assert [a != b for a, b in zip(places(), before, strict=True)] == [True, True]
    for a, b in zip((kept, graph.value, velocity), copies, strict=True):
        assert_array_equal(a, b)
    assert_allclose(p.value, 1 - 0.1 * (1 + 1.5 + 1.75))


def test_a_gradient_of_another_shape_is_refused_in_a_trace():
    p = tg.Parameter(np.ones(2))
    optimizer = optim.SGD(p)

    @tg.compile
    def step(x):
        p.grad = np.sum(x * p)
        optimizer.step()

    with pytest.raises(ValueError, match="has a gradient of shape"):
        step(1.0)


# -------------------------------------------------------------------------------------------------------------- groups

def test_groups_have_options_of_their_own():
    model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(2, 1, rng=1))
    biases = [p for path, p in model.parameters().items() if path.endswith(".b")]
    optimizer = optim.SGD([{"parameters": biases, "weight_decay": 0.0, "lr": 0.5}, {"parameters": model}], lr=0.1,
                          weight_decay=0.1)
    assert [list(group.parameters) for group in optimizer.groups] == [["0", "1"], ["layers.0.W", "layers.1.W"]]
    before = {path: p.value.copy() for path, p in model.parameters().items()}
    nn.mean_squared_error(model(np.ones((4, 3))), np.ones((4, 1))).backprop()
    grads = {path: p.grad for path, p in model.parameters().items()}
    optimizer.step()
    for path, p in model.parameters().items():
        lr, decay = (0.5, 0.0) if path.endswith(".b") else (0.1, 0.1)
        assert_allclose(p.value, before[path] * (1 - lr * decay) - lr * grads[path])
    optimizer.lr = 0.2
    assert [optimizer.groups[0].lr, optimizer.lr] == [0.5, 0.2]


@pytest.mark.parametrize(("make", "error", "sentence"), [
    (lambda ps: optim.SGD(ps, lr=-1), ValueError, "lr must be a number >= 0, not -1"),
    (lambda ps: optim.SGD(ps, lr=np.nan), ValueError, "lr must be a number"),
    (lambda ps: optim.SGD(ps, lr="fast"), ValueError, "lr must be a number"),
    (lambda ps: optim.Adam(ps, beta1=1.0), ValueError, r"beta1 must be a number in \[0, 1\)"),
    (lambda ps: optim.Adam(ps, l2=-0.1), ValueError, "l2 must be a number >= 0"),
    (lambda ps: optim.Adam([]), ValueError, "no parameter"),
    (lambda ps: optim.Adam([{"parameters": ps, "momentum": 1}]), ValueError, "'momentum'"),
    (lambda ps: optim.Adam([{"lr": 1}]), ValueError, "'parameters'"),
    (lambda ps: optim.Average(optim.SGD(ps), decay=1.0), ValueError, "decay"),
    (lambda ps: optim.Average(ps), TypeError, "give it an optimizer"),
    (lambda ps: optim.SGD(ps, clip_norm=-1.0), ValueError, "clip_norm must be a number"),
    (lambda ps: optim.SGD(ps, nesterov=True), ValueError, "give momentum"),
    (lambda ps: optim.SGD([{"parameters": ps[0], "momentum": 0.5}, {"parameters": ps[1]}]), ValueError, "all groups"),
    (lambda ps: optim.SGD(tg.Parameter(np.ones(2) * 1j)), TypeError, "complex"),
    (lambda ps: optim.CosineRestarts(0.1, 10, growth=1.5), ValueError, "growth"),
    (lambda ps: optim.WarmUp(0.1, 10, start=2), ValueError, "start"),
    (lambda ps: optim.clip_by_norm(ps, 1.0), ValueError, "no parameter with a gradient"),
    (lambda ps: optim.Cosine(0.1, 0), ValueError, "steps must be a number above 0"),
    (lambda ps: optim.OneCycle(0.1, 10, rise=1.0), ValueError, "rise"),
    (lambda ps: optim.Plateau(0.1, factor=1.5), ValueError, "factor"),
    (lambda ps: optim.lbfgs(lambda: 1.0, ps), TypeError, "must be a node"),
], ids=range(21))
def test_what_makes_no_sense_is_refused(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make(parameters())


def test_a_missing_gradient_is_named_before_anything_changes():
    model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1))
    optimizer = optim.Adam(model)
    np.sum(model[0](np.ones((1, 3)))).backprop()
    before = model[0].W.value.copy()
    with pytest.raises(RuntimeError, match=r"layers\.1\.W\) has no gradient"):
        optimizer.step()
    assert_array_equal(model[0].W.value, before)
    assert int(optimizer.count.value) == 0


def test_a_schedule_is_not_replaced():
    optimizer = optim.SGD(parameters(), lr=optim.Cosine(0.1, 10))
    with pytest.raises(TypeError, match="make a new optimizer"):
        optimizer.lr = 0.2
    with pytest.raises(TypeError, match="make a new optimizer"):
        optim.SGD(parameters(), lr=0.1).lr = optim.Cosine(0.1, 10)


# ------------------------------------------------------------------------------------------------------------- helpers

@pytest.mark.parametrize("compiled", [False, True])
def test_clipping(compiled):
    ps = parameters()

    def clipped(limit):
        wave(ps).backprop()
        before = [p.grad for p in ps]
        norm = optim.clip_by_norm(ps, limit)
        return before, norm, [p.grad for p in ps]

    for limit in (0.5, 1e3):
        run = tg.compile(clipped, target="numpy", static="limit") if compiled else clipped
        before, norm, after = run(limit)
        assert_allclose(norm, np.sqrt(sum(np.sum(g**2) for g in before)))
        for a, b in zip(after, before, strict=True):
            assert_allclose(a, b * min(1, limit / norm))
    wave(ps).backprop()
    largest = max(np.abs(p.grad).max() for p in ps)
    optim.clip_by_value(ps, largest / 2)
    assert max(np.abs(p.grad).max() for p in ps) == largest / 2


@pytest.mark.parametrize("target", [None, "numpy"])
def test_clipping_as_an_option_comes_before_l2(target):
    for options, clip in (({"clip_norm": 0.5}, lambda p: optim.clip_by_norm(p, 0.5)),
                          ({"clip_value": 0.3}, lambda p: optim.clip_by_value(p, 0.3))):
        ps, others = parameters(), parameters()
        step = steps_of(ps, optim.SGD(ps, lr=0.1, l2=0.1, **options), target)
        optimizer = optim.SGD(others, lr=0.1, l2=0.1)
        for _ in range(3):
            step()
            wave(others).backprop()
            clip(others)
            optimizer.step()
        for a, b in zip(ps, others, strict=True):
            assert_allclose(a.value, b.value, rtol=1e-13)


def test_squares_of_float32_have_room():
    p = tg.Parameter(np.ones(2, np.float32))
    p.grad = [3e30, 4e30]
    assert optim.clip_by_norm(p, 1.0) == pytest.approx(5e30)
    assert_allclose(p.grad, [0.6, 0.8], rtol=1e-6)
    p.grad = [np.nan, 1.0]
    optim.clip_by_norm(p, 1.0)
    assert np.isnan(p.grad[0])  # to be found by who looks


def test_a_gradient_of_zero_is_not_divided_by():
    p = tg.Parameter(np.zeros(2))
    (p * 0.0).sum().backprop()
    assert optim.clip_by_norm(p, 1.0) == 0
    assert_array_equal(p.grad, [0, 0])


@pytest.mark.parametrize("target", [None, "numpy"])
def test_averaged_weights(target):
    ps = parameters()
    average = optim.Average(optim.SGD(ps, lr=0.5), decay=0.8)
    average.lr = 0.1
    step = steps_of(ps, average, target)
    expected = ps[0].value.copy()
    for _ in range(4):
        step()
        expected = 0.8 * expected + 0.2 * ps[0].value
    now = ps[0].value.copy()
    inside = None
    with contextlib.suppress(KeyError), average.applied():
        inside = ps[0].value
        raise KeyError
    assert_allclose(inside, expected)
    assert_array_equal(ps[0].value, now)
    assert average.lr == 0.1
    assert [*states(average)] == ["optimizer.learning_rate", "optimizer.count", "averages.0", "averages.1"]


def test_lbfgs_finds_the_minimum_and_keeps_the_best():
    p = tg.Parameter(np.array([-1.2, 1.0]))
    result = optim.lbfgs(lambda: 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2, p, max_iterations=200)
    assert_allclose(p.value, [1, 1], atol=1e-4)
    assert result.success
    calls, seen = 0, []
    q = tg.Parameter(np.array([3.0], np.float32))

    def failing():
        nonlocal calls
        calls += 1
        if calls > 3:
            raise KeyboardInterrupt
        return np.sum((q - 1) ** 4)

    with pytest.raises(KeyboardInterrupt):
        optim.lbfgs(failing, q, callback=seen.append)
    assert abs(q.value[0] - 1) < 2
    assert q.dtype == np.float32


def test_a_network_learns_with_every_optimizer():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    t = (X[:, 0] > X[:, 1]).astype(int)
    for cls in (optim.SGD, optim.RMSProp, optim.Adagrad, optim.Adam, optim.AdamW, optim.Adamax, optim.NAdam,
                optim.Lion):
        model = nn.Sequential(nn.Linear(2, 8, rng=0), np.tanh, nn.Linear(8, 2, rng=1))
        optimizer = cls(model, lr=0.5 if cls is optim.SGD else 0.03)

        @tg.compile(target="numpy")
        def step(X, t, model=model, optimizer=optimizer):
            loss = nn.cross_entropy(model(X), t)
            loss.backprop()
            optimizer.step()
            return loss

        for _ in range(150):
            loss = step(X, t)
        assert loss < 0.25, cls


def test_one_group_needs_no_list():
    p = tg.Parameter(np.ones(2))
    np.sum(p).backprop()
    optim.SGD({"parameters": [p], "lr": 0.5}, lr=0.1).step()
    assert_array_equal(p.value, [0.5, 0.5])
    with pytest.raises(ValueError, match="a group is a dict"):
        optim.SGD({"parameters": [p], "rate": 0.5})


def test_l1_draws_both_signs_to_zero():
    p = tg.Parameter(np.array([2.0, -2.0, 0.0]))
    np.sum(0 * p).backprop()
    optim.SGD(p, lr=0.5, l1=1.0).step()
    assert_array_equal(p.value, [1.5, -1.5, 0.0])


def test_the_threshold_of_a_plateau_is_a_share():
    plateau = optim.Plateau(1.0, patience=0, threshold=0.1)
    for metric, rate in (100.0, 1.0), (95.0, 0.1), (89.0, 0.1), (85.0, 0.01):
        plateau.observe(metric)
        assert_allclose(plateau(0), rate)


def test_lbfgs_ends_at_the_best_though_interrupted():
    p = tg.Parameter(np.array([5.0, -3.0]))
    seen = []

    def loss():
        if len(seen) == 3:
            raise KeyboardInterrupt
        node = np.sum((p - np.array([1.0, 30.0])) ** 4)
        seen.append((float(node.value), p.value.copy()))
        return node

    p.grad = np.full(2, 7.0)  # of something before
    with pytest.raises(KeyboardInterrupt):
        optim.lbfgs(loss, p)
    assert_array_equal(p.value, min(seen, key=lambda pair: pair[0])[1])


def test_lbfgs_takes_no_old_gradient():
    p = tg.Parameter(np.array([5.0]))
    p.grad = np.array([100.0])
    optim.lbfgs(lambda: np.sum((p - 1) ** 2), p)
    assert_allclose(p.value, 1, atol=1e-6)
    assert p.grad is None
