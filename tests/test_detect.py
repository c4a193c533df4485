"""The detectors: which node and line they name, what does not alarm them, and that nothing of them stays behind."""

import asyncio
import contextvars
import linecache
import re
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import tinygraph as tg

BOTH = pytest.mark.parametrize("detector", [tg.detect_nan, tg.detect_changes])


def mark(text: str) -> str:
    """A pattern for the line of this file that ends in `# <text>`: its number and its code."""
    source = linecache.getlines(__file__)
    (number,) = [i for i, line in enumerate(source, start=1) if line.rstrip().endswith(f"# {text}")]
    return rf"at {re.escape(__file__)}:{number}: {re.escape(source[number - 1].strip())}"


def raised(function: Any, *args: Any) -> str:
    """What detect_nan says when the function is called inside it."""
    with pytest.raises(FloatingPointError) as caught, tg.detect_nan():
        function(*args)
    return str(caught.value)


# ------------------------------------------------------------------------------------------- detect_nan: values

def test_the_first_bad_value_its_node_its_entries_and_its_line():
    x = tg.Parameter(np.array([[1.0, 0.0], [-2.0, 3.0]]))

    def f():
        y = x * 2
        z = np.log(y)  # not finite
        return np.sum(np.exp(z))

    message = raised(f)
    assert "the value of Log (2, 2) float64 is not finite" in message
    assert "2 of 4 entries, first -inf at (0, 1)" in message
    assert re.search(mark("not finite"), message)


BAD = {
    "Divide": lambda x: x / (x - x),
    "Exp": lambda x: np.exp(x * 1000),
    "Sqrt": lambda x: np.sqrt(-x),
    "Power": lambda x: (x * 1e200) ** 2.0,
    "Sum": lambda x: np.sum(np.stack([x, x]) * 1.5e308),
    "MatMul": lambda x: np.stack([x, x]) * 1e300 @ np.full(2, 1e300),
    "Multiply": lambda x: x.astype(np.float16) * 1e5,
    "Cast": lambda x: (x * 1e5).astype(np.float16),
}


@pytest.mark.parametrize("op", BAD)
def test_every_kind_of_bad_value(op):
    for x in (tg.Parameter(1.0), tg.constant(1.0)):
        assert f"the value of {op} ()" in raised(BAD[op], x)


def test_a_number_that_was_bad_when_it_came_in_is_not_the_ops_doing():
    x = tg.Parameter(np.array([1.0, np.nan, np.inf]))
    with tg.detect_nan():
        loss = np.sum(np.exp(x) * np.array([1.0, np.inf, 2.0]) + np.inf - np.inf)
        loss.backprop()
    assert np.isnan(loss.value)


def test_integers_and_booleans_pass():
    with tg.detect_nan():
        x = tg.constant(np.arange(3))
        assert np.sum((x > 1) & (x < 5)).item() == 1


def test_values_inside_a_transform():
    def f(x):
        return np.log(x - 1.0)  # in a transform

    for transform in (tg.grad, tg.jacobian, tg.hessian):
        message = raised(transform(f), 1.0)
        assert "Log ()" in message
        assert re.search(mark("in a transform"), message)


# --------------------------------------------------------------------------------------- detect_nan: gradients

def test_the_first_bad_gradient_its_op_its_input_and_the_line_of_the_op():
    x = tg.Parameter(np.array([4.0, 0.0]), name="radius")

    def f():
        root = np.sqrt(x)  # an infinite slope
        loss = np.sum(root * 3)
        loss.backprop()

    message = raised(f)
    assert "the gradient that Sqrt (2,) float64 sends to its input Parameter radius (2,) float64 is not" in message
    assert "1 of 2 entries, first inf at (1,)" in message
    assert re.search(mark("an infinite slope"), message)
    assert x.grad is None


@pytest.mark.parametrize("root", [np.sqrt, lambda x: x**0.5, lambda x: np.power(x, np.array(0.5))],
                         ids=["sqrt", "**", "power"])
def test_a_hint_where_a_square_root_is_zero(root):
    assert "the derivative of a square root is infinite at 0" in raised(tg.grad(root), 0.0)


@pytest.mark.parametrize("f", [lambda x: 1e200 * (x * 1e200), lambda x: x**-0.5, lambda x: 1 / (x * x)],
                         ids=["overflow", "pole", "quotient"])
def test_no_hint_where_no_square_root_is_zero(f):
    assert "derivative of a square root" not in raised(tg.grad(f), 1e-250)


@pytest.mark.parametrize("f", [lambda x: 1e308 * x + 1e308 * x, lambda x: np.sum(x * np.array([1e308, 1e308])),
                               lambda x: np.stack([x, x])[[0, 0]] @ np.array([1e308, 1e308])],
                         ids=["two uses", "broadcasting", "index"])
def test_a_gradient_that_overflows_where_parts_are_added(f):
    """No rule made it infinite, but the gradient is."""
    assert "inf" in raised(tg.grad(f), 0.0)


def test_gradients_of_gradients():
    with tg.detect_nan():
        assert tg.grad(lambda x: x**1.5)(0.0) == 0
    message = raised(tg.grad(tg.grad(lambda x: x**1.5)), 0.0)
    assert "Power" in message
    assert f"at {__file__}:" in message


def test_an_op_without_a_rule_of_its_own():
    class Root(tg.Op):
        def forward(self, x):
            return np.sqrt(x)

    message = raised(tg.grad(lambda x: np.sum(Root(x))), np.zeros(2))
    assert "sends to its input" in message
    assert "first inf" in message


def test_an_op_built_before_the_detector_was_entered():
    x = tg.Parameter(0.0)
    loss = np.sqrt(x) * 2
    assert "built before the detector was entered" in raised(loss.backprop)


def test_forward_mode():
    message = raised(tg.jvp, np.sqrt, (0.0,), (1.0,))
    assert "first inf" in message
    assert f"at {__file__}:" in message


# ------------------------------------------------------------------------------------- detect_nan: no false alarm

BRANCHES = {
    "sqrt": (lambda x: np.where(x > 0, np.sqrt(x), x), 0.0, 1.0),
    "power": (lambda x: np.where(x > 0, x**0.5, x), 0.0, 1.0),
    "quotient": (lambda x: np.where(x > 0, np.sqrt(x) / 2 + x, 3 * x), 0.0, 3.0),
    "maximum": (lambda x: np.maximum(np.sqrt(x), x + 1.0), 0.0, 1.0),
    "max": (lambda x: np.max(np.stack([np.sqrt(x), x + 1.0])), 0.0, 1.0),
    "index": (lambda x: np.stack([np.sqrt(x), x])[1], 0.0, 1.0),
    "relu": (lambda x: tg.ops.ReLU(np.sqrt(x) - 1.0) + x, 0.0, 1.0),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_that_was_not_taken_is_no_alarm(name):
    f, x, slope = BRANCHES[name]
    p = tg.Parameter(x)
    with tg.detect_nan():
        assert tg.grad(f)(x) == slope
        assert tg.jvp(f, (x,), (1.0,))[1] == slope
        assert tg.grad(tg.grad(f))(x) == 0
        f(p).backprop()
    assert p.grad == slope


def test_a_genuine_nan_in_the_branch_that_was_taken_is_one():
    assert "Sqrt" in raised(tg.grad(lambda x: np.where(x >= 0, np.sqrt(x), x)), 0.0)
    assert "Log" in raised(tg.grad(lambda x: np.where(x > 0, x, np.log(x))), 0.0)


def test_good_numbers_are_the_same_as_without():
    def f(x):
        return np.sum(tg.ops.LogSoftmaxNLL(np.tanh(x @ x.T), np.arange(3)) * np.exp(x))

    x = np.random.default_rng(0).normal(size=(3, 3))
    expected = tg.value_and_grad(f)(x), tg.hessian(f)(x)
    with tg.detect_nan(), tg.detect_changes():
        np.testing.assert_equal((tg.value_and_grad(f)(x), tg.hessian(f)(x)), expected)


# --------------------------------------------------------------------------------------------------- detect_changes

def noticed(function: Any) -> str:
    """What detect_changes says when the function is called inside it."""
    with pytest.raises(RuntimeError) as caught, tg.detect_changes():
        function()
    return str(caught.value)


def test_the_array_that_was_overwritten_and_the_line_that_used_it():
    data, x = np.ones(3), tg.Parameter(np.ones(3))

    def f():
        y = x + 1
        z = y * data  # uses data
        loss = np.sum(z)
        data[1] = 5
        loss.backprop()

    message = noticed(f)
    assert message.startswith("input 1 of Multiply (3,) float64 was overwritten")
    assert re.search(mark("uses data"), message)
    assert x.grad is None


def overwritten_strided(data: Any, x: Any) -> Any:
    loss = np.sum(x * data[::-2])
    data[4] = 7
    return loss


def overwritten_constant(data: Any, x: Any) -> Any:
    loss = np.sum(x * tg.constant(data)[:3])
    data[0] = 7
    return loss


def overwritten_index(data: Any, x: Any) -> Any:
    index = np.array([0, 2])
    loss = np.sum(x[index])
    index[0] = 1
    return loss


def overwritten_mask(data: Any, x: Any) -> Any:
    mask = np.array([True, False, True])
    loss = np.sum(np.where(mask, x, 0.0))
    mask[:] = False
    return loss


def overwritten_labels(data: Any, x: Any) -> Any:
    labels = np.array(1)
    loss = tg.ops.LogSoftmaxNLL(x[None], labels[None])
    labels[...] = 2
    return loss


def overwritten_by_another_nan(data: Any, x: Any) -> Any:
    loss = np.sum(x * data[:3])
    data[0] = np.nan
    return loss


OVERWRITTEN = [overwritten_strided, overwritten_constant, overwritten_index, overwritten_mask, overwritten_labels,
               overwritten_by_another_nan]


@pytest.mark.parametrize("build", OVERWRITTEN)
def test_every_way_an_array_enters_is_watched(build):
    x = tg.Parameter(np.ones(3))
    assert re.match(r"input \d of .* was overwritten after it was used",
                    noticed(lambda: build(np.arange(5.0), x).backprop()))


def test_arguments_of_transforms_are_watched():
    x = np.ones(3)

    def f():
        _, pull = tg.vjp(np.sin, x)
        x[0] = 2
        pull(np.ones(3))

    assert "input 0 of Sin" in noticed(f)


def test_what_does_not_matter_is_no_alarm():
    x, data, unused = tg.Parameter(np.ones(3)), np.ones(3), np.ones(3)
    with tg.detect_changes():
        data[:] = 2  # before it is used
        loss = np.sum(x * data)
        np.sum(unused * tg.constant(np.ones(3)))
        unused[:] = 3  # of another graph
        x.value = np.zeros(3)  # through the library: the graph keeps the value that it used
        loss.backprop()
        data[0] = np.nan
        data[0] = 2  # as it was
        loss.backprop()
        data[0] = 3  # never swept again
    np.testing.assert_array_equal(x.grad, [2, 2, 2])


def test_only_what_is_built_inside_is_watched():
    x, data = tg.Parameter(np.ones(3)), np.ones(3)
    early = np.sum(x * data)
    with tg.detect_changes():
        data[:] = 2
        early.backprop()
        late = np.sum(x * data)
    data[:] = 3
    late.backprop()
    np.testing.assert_array_equal(x.grad, [3, 3, 3])


# ---------------------------------------------------------------------------------- where they begin and where they end

def divide_by_zero() -> Any:
    with np.errstate(all="ignore"):
        return tg.constant(1.0) / 0.0


def watched() -> bool:
    """Whether detect_nan is active here."""
    try:
        divide_by_zero()
    except FloatingPointError:
        return True
    return False


def test_nothing_is_watched_outside():
    assert not watched()
    with tg.detect_nan():
        assert watched()
    assert not watched()


@BOTH
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, StopIteration, GeneratorExit])
def test_an_exception_leaves_nothing_behind(detector, error):
    before = np.geterr()
    with pytest.raises(error), detector():  # noqa: PT012 - that the detector lets it through is the point
        assert np.geterr() != before
        raise error
    assert not watched()
    assert np.geterr() == before


def test_its_own_alarm_leaves_nothing_behind():
    before = np.geterr()
    raised(divide_by_zero)
    raised(tg.grad(np.sqrt), 0.0)
    assert not watched()
    assert np.geterr() == before
    with np.errstate(all="ignore"):
        assert tg.grad(np.sqrt)(0.0) == np.inf


def test_numpy_warns_outside_and_is_silent_inside():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with tg.detect_nan():
            np.log(np.zeros(1))
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            np.log(tg.constant(0.0))


def test_nested():
    x, data = tg.Parameter(1.0), np.ones(3)
    with tg.detect_nan():
        with tg.detect_nan():
            assert watched()
        assert watched()
        with tg.detect_changes():
            assert watched()
            loss = np.sum(x * data)
            data[:] = 2
            with pytest.raises(RuntimeError, match="overwritten"):
                loss.backprop()
        assert watched()
        loss.backprop()
    assert not watched()
    with tg.detect_changes(), tg.detect_nan():
        assert watched()
        loss = np.sum(x * data)
        data[:] = 3
        with pytest.raises(RuntimeError, match="overwritten"):
            loss.backprop()
    assert not watched()


def test_as_decorator():
    @tg.detect_nan()
    def f():
        return watched()

    assert f()
    assert not watched()
    assert f()


def test_other_threads_are_not_watched():
    entered, asked, answers = threading.Event(), threading.Event(), {}

    def other():
        answers["before"] = watched()
        with tg.detect_nan():
            answers["own"] = watched()
            entered.set()
            asked.wait(10)
        answers["after"] = watched()

    thread = threading.Thread(target=other)
    with tg.detect_nan():
        thread.start()
        assert entered.wait(10)
        assert watched()
    assert not watched()  # though the other thread is inside its own
    asked.set()
    thread.join(10)
    assert answers == {"before": False, "own": True, "after": False}


def test_a_copied_context_keeps_its_own_detectors():
    with tg.detect_nan():
        inside = contextvars.copy_context()
    assert inside.run(watched)
    assert not watched()
    assert not contextvars.Context().run(watched)


def test_tasks_do_not_watch_each_other():
    async def main():
        first_inside, second_done = asyncio.Event(), asyncio.Event()

        async def first():
            with tg.detect_nan():
                first_inside.set()
                await second_done.wait()
                return watched()

        async def second():
            await first_inside.wait()
            answer = watched()
            second_done.set()
            return answer

        return await asyncio.gather(first(), second())

    assert asyncio.run(main()) == [True, False]


# ------------------------------------------------------------------------------------------------ the line of user code

def test_a_package_whose_path_begins_like_ours_is_user_code():
    name = tg.__file__.replace("__init__.py", "")[:-1] + "_of_mine/model.py"
    space: dict[str, Any] = {"np": np}
    exec(compile("def f(x):\n    return np.log(x)\n", name, "exec"), space)
    assert f"{name}:2" in raised(space["f"], tg.constant(0.0))


def test_code_without_a_file_is_named_by_its_number():
    space: dict[str, Any] = {"np": np}
    exec(compile("\n\ndef f(x): return np.log(x)", "<typed in>", "exec"), space)
    assert raised(space["f"], tg.constant(0.0)).endswith("at <typed in>:3")


def test_the_line_is_that_of_a_method_or_an_operator_too():
    x = tg.constant(np.full(2, 1e308))
    cases = {
        "by a method": lambda: x.sum(),  # by a method
        "by an operator": lambda: x * x,  # by an operator
        "by an op": lambda: tg.ops.Add(x, x),  # by an op
        "by numpy": lambda: np.multiply(x, 10),  # by numpy
        "by matmul": lambda: x @ x,  # by matmul
    }
    for text, f in cases.items():
        assert re.search(mark(text), raised(f)), text
