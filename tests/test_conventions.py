"""The tables of docs/conventions.md, row by row: this module knows how to read and check them, not what they say.

A table with the columns function, at and gradient gives tests of values and derivatives; a table with the column
promise names checks that are written here. A row that is wrong, cannot be read, or has no check fails.
"""

import re
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

import tinygraph as tg
import tinygraph.scipy.special
from tinygraph.compile import native_target

PAGE = Path(__file__).parent.parent / "docs" / "conventions.md"
SPACE = {"np": np, "tg": tg, "scipy": scipy}
COLUMNS = {"case", "function", "at", "gradient", "value", "second derivative", "tolerance"}

Row = dict[str, str]


def rows(page: str) -> list[Row]:
    """The rows of all tables of a Markdown page, each a dict from the column's name to the text of the cell."""
    found, header = [], None
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells
            if not set(header) <= COLUMNS and header != ["case", "promise"]:
                raise ValueError(f"a table with the columns {header}: expected some of {sorted(COLUMNS)}")
        elif set(line) <= set("|-: "):
            continue
        elif len(cells) != len(header):
            raise ValueError(f"a row of {len(cells)} cells under {len(header)} columns: {line}")
        else:
            found.append(dict(zip(header, cells, strict=True)))
    return found


ROWS = rows(PAGE.read_text(encoding="utf-8"))
POINTS = [row for row in ROWS if "promise" not in row]
PROMISES = [row for row in ROWS if "promise" in row]


def given(cell: str) -> list[Any]:
    """The arguments that a cell such as `x = 0.0` or `x, y = 1.0, 2.0` sets."""
    space: dict[str, Any] = {"np": np}
    names = re.fullmatch(r"`(x|x, y) = .+`", cell)[1].split(", ")
    exec(cell.strip("`"), space)
    return [space[name] for name in names]


def evaluate(cell: str, arguments: str = "") -> Any:
    """The value of a cell, or, given the names of arguments, the function of them that it describes."""
    expression = re.fullmatch(r"`(.+)`", cell)[1]
    return eval(f"lambda {arguments}: {expression}" if arguments else expression, dict(SPACE))


def expected(cell: str, arguments: list[Any]) -> list[Any]:
    """One array for each argument."""
    value = evaluate(cell)
    return list(value) if len(arguments) > 1 else [value]


def same(actual: Any, expected: Any, row: Row) -> None:
    tolerance = evaluate(row["tolerance"]) if row.get("tolerance") else 0
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


# -------------------------------------------------------------------------------------------- three ways to a gradient

def by_grad(f: Any, xs: list[Any]) -> list[Any]:
    return list(tg.grad(f, range(len(xs)))(*xs))


def by_backprop(f: Any, xs: list[Any]) -> list[Any]:
    parameters = [tg.Parameter(x) for x in xs]
    f(*parameters).backprop()
    return [p.grad.item() if type(x) is float else p.grad for p, x in zip(parameters, xs, strict=True)]


def by_jvp(f: Any, xs: list[Any]) -> list[Any]:
    """Along one unit vector after the other."""
    grads = []
    for i, x in enumerate(xs):
        slopes = []
        for unit in units(x):
            slope = tg.jvp(f, xs, [unit if j == i else zero(other) for j, other in enumerate(xs)])[1]
            assert type(slope) is type(x)
            assert np.result_type(slope) == np.result_type(x)
            slopes.append(slope)
        grads.append(slopes[0] if type(x) is float else np.reshape(slopes, x.shape).astype(x.dtype))
    return grads


def by_mapped_grad(f: Any, xs: list[Any]) -> list[Any]:
    """Of an entry of a batch."""
    grads = tg.vmap(tg.grad(f, range(len(xs))))(*map(twice, xs))
    return [entry(g, x) for g, x in zip(grads, xs, strict=True)]


def by_grad_of_a_batch(f: Any, xs: list[Any]) -> list[Any]:
    grads = tg.grad(lambda *xs: tg.vmap(f)(*xs) @ np.ones(2, np.result_type(*xs)), range(len(xs)))(*map(twice, xs))
    return [entry(g, x) for g, x in zip(grads, xs, strict=True)]


def twice(x: Any) -> Any:
    return np.stack([x, x])


def entry(batch: Any, x: Any) -> Any:
    """The first entry of a batch of results, of the type of the argument."""
    return float(batch[0]) if type(x) is float else np.array(batch[0])


def units(x: Any) -> list[Any]:
    return [1.0] if type(x) is float else list(np.eye(x.size, dtype=x.dtype).reshape(-1, *x.shape))


def zero(x: Any) -> Any:
    return 0.0 if type(x) is float else np.zeros_like(x)


# ------------------------------------------------------------------------------------ three ways to a second derivative

def reverse_over_reverse(f: Any, x: Any) -> Any:
    return tg.hessian(f)(x)


def forward_over_reverse(f: Any, x: Any) -> Any:
    return np.reshape([tg.jvp(tg.grad(f), (x,), (unit,))[1] for unit in units(x)], np.shape(x) * 2)


def reverse_over_forward(f: Any, x: Any) -> Any:
    columns = [tg.grad(lambda x, unit=unit: tg.jvp(f, (x,), (unit,))[1])(x) for unit in units(x)]
    return np.reshape(columns, np.shape(x) * 2)


def mapped_hessian(f: Any, x: Any) -> Any:
    return tg.vmap(tg.hessian(f))(twice(x))[0]


def hessian_of_a_batch(f: Any, x: Any) -> Any:
    columns = tg.jacobian(lambda x: tg.grad(lambda x: np.sum(tg.vmap(f)(x)))(x)[0])(twice(x))
    return columns[(slice(None),) * np.ndim(x) + (0,)]


# --------------------------------------------------------------------------------------- the same, as compiled programs
# What a program returns is a list of arrays and floats, by the points that it is given. For C the programs of all rows
# are one: a call of the C compiler for each row would take minutes.

def compiled_grad(f: Any, xs: list[Any]) -> list[Any]:
    return list(tg.grad(f, range(len(xs)))(*xs))


def compiled_jvp(f: Any, xs: list[Any]) -> list[Any]:
    return [tg.jvp(f, xs, [unit if j == i else zero(other) for j, other in enumerate(xs)])[1]
            for i, x in enumerate(xs) for unit in units(x)]


def compiled_hessian(f: Any, xs: list[Any]) -> list[Any]:
    return [tg.hessian(f)(*xs)]


def compiled_jvp_of_grad(f: Any, xs: list[Any]) -> list[Any]:
    return compiled_jvp(tg.grad(f), xs)


def gathered(results: list[Any], xs: list[Any]) -> list[Any]:
    """An array or a float for each argument from what came of one unit vector after the other."""
    remaining, grads = iter(results), []
    for x in xs:
        slopes = [next(remaining) for _ in units(x)]
        grads.append(float(slopes[0]) if type(x) is float else np.reshape(slopes, x.shape).astype(x.dtype))
    return grads


PROGRAMS = [compiled_grad, compiled_jvp]
SECOND_PROGRAMS = [compiled_hessian, compiled_jvp_of_grad]


def function_of(row: Row) -> Any:
    return evaluate(row["function"], "x, y"[:3 * row["at"].count(", y =") + 1])


@cache
def native_results(program: Callable[..., Any]) -> dict[str, Any]:
    """What each row with a native form gives, all from one program in C; or why there is none."""
    found: dict[str, Any] = {}
    chosen = []
    for row in POINTS:
        if program in SECOND_PROGRAMS and not row.get("second derivative"):
            continue
        try:
            with np.errstate(all="ignore"):
                traced = tg.compile(partial(lambda f, *xs: program(f, list(xs)), function_of(row)), target="numpy")
                traced(*given(row["at"]))
            native_target.Schedule(traced.program)
        except Exception as reason:
            found[named(row)] = reason
        else:
            chosen.append(row)
    together = tg.compile(lambda points: [program(function_of(row), list(xs)) for row, xs in
                                          zip(chosen, points, strict=True)], target="native")
    try:
        with np.errstate(all="ignore"):
            results = together([given(row["at"]) for row in chosen])
    except Exception as reason:  # kept: trying again for each row takes minutes
        results = [reason] * len(chosen)
    return found | {named(row): result for row, result in zip(chosen, results, strict=True)}


def check_compiled(row: Row, program: Callable[..., Any], target: str) -> None:
    xs = given(row["at"])
    if target == "native":
        results = native_results(program)[named(row)]
        if isinstance(results, native_target.Unavailable):  # left to the numpy target, which is tested by itself
            return
        if isinstance(results, Exception):
            raise results
    else:
        with np.errstate(all="ignore"):
            results = tg.compile(lambda *xs: program(function_of(row), list(xs)), target=target)(*xs)
    if program in SECOND_PROGRAMS:
        result = results[0] if program is compiled_hessian else np.reshape(results, np.shape(xs[0]) * 2)
        same(result, evaluate(row["second derivative"]), row)
        return
    # That a float gives a float is promised of a program's results where equal ones are not shared with an array's.
    grads = gathered(results, xs) if program is compiled_jvp else results
    check_grads(row, xs, [float(g) if type(x) is float else g for g, x in zip(grads, xs, strict=True)])


# ---------------------------------------------------------------------------------------------------- checks of one row

def check_gradient(row: Row, way: Callable[..., Any]) -> None:
    xs = given(row["at"])
    with np.errstate(all="ignore"):
        grads = way(evaluate(row["function"], "x, y"[:3 * len(xs) - 2]), xs)
    check_grads(row, xs, grads)


def check_grads(row: Row, xs: list[Any], grads: list[Any]) -> None:
    assert len(grads) == len(xs)
    for x, actual, wanted in zip(xs, grads, expected(row["gradient"], xs), strict=True):
        assert type(actual) is type(x)
        assert np.result_type(actual) == np.result_type(x)
        same(actual, wanted, row)


def check_second(row: Row, way: Callable[..., Any]) -> None:
    (x,) = given(row["at"])
    with np.errstate(all="ignore"):
        same(way(evaluate(row["function"], "x"), x), evaluate(row["second derivative"]), row)


def check_value(row: Row) -> None:
    (x,) = given(row["at"])
    f = evaluate(row["function"], "x")
    for value in (f(tg.constant(x)).value, tg.value_and_grad(f)(x)[0]):
        assert np.result_type(value) == np.result_type(x)
        same(value, evaluate(row["value"]), row)


def named(row: Row) -> str:
    return f"{row['case']}, {row['at']}" if "at" in row else row["case"]


@pytest.mark.parametrize("way", [by_grad, by_backprop, by_jvp, by_mapped_grad, by_grad_of_a_batch])
@pytest.mark.parametrize("row", POINTS, ids=named)
def test_gradient(row, way):
    check_gradient(row, way)


@pytest.mark.parametrize("target", ["numpy", "native"])
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("row", POINTS, ids=named)
def test_compiled_gradient(row, program, target, private_cache):
    check_compiled(row, program, target)


@pytest.mark.parametrize("way", [reverse_over_reverse, forward_over_reverse, reverse_over_forward, mapped_hessian,
                                 hessian_of_a_batch])
@pytest.mark.parametrize("row", [row for row in POINTS if row.get("second derivative")], ids=named)
def test_second_derivative(row, way):
    check_second(row, way)


@pytest.mark.parametrize("target", ["numpy", "native"])
@pytest.mark.parametrize("program", SECOND_PROGRAMS)
@pytest.mark.parametrize("row", [row for row in POINTS if row.get("second derivative")], ids=named)
def test_compiled_second_derivative(row, program, target, private_cache):
    check_compiled(row, program, target)


@pytest.mark.parametrize("row", [row for row in POINTS if row.get("value")], ids=named)
def test_value(row):
    check_value(row)


# ------------------------------------------------------------------------------------------- shapes, types and memory

def repeated_indices() -> None:
    for index in ([0, 0, 1], np.array([0, 0, 1]), (np.array([0, 1, 0]),)):
        for grad in (by_grad, by_backprop, by_jvp):
            (result,) = grad(lambda x, index=index: np.sum(x[index]), [np.array([5.0, 6.0, 7.0])])
            np.testing.assert_array_equal(result, [2, 1, 0])


def empty_arrays() -> None:
    for shape in ((0,), (2, 0)):
        x = np.zeros(shape, np.float32)
        for f in (np.sum, np.mean, lambda x: (x * x).mean(axis=0).sum(), lambda x: (x * x).sum(axis=-1).sum()):
            with warnings.catch_warnings():  # NumPy's: the mean of nothing is NaN
                warnings.simplefilter("ignore", RuntimeWarning)
                np.testing.assert_array_equal(tg.grad(f)(x), x, strict=True)
        np.testing.assert_array_equal(tg.grad(np.prod)(x), x, strict=True)
        with pytest.raises(ValueError, match="zero-size array") as numpys:
            np.max(x)
        with pytest.raises(ValueError, match=re.escape(str(numpys.value))):
            np.max(tg.constant(x))


def zero_dimensional() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        for x in (np.array(2.0, dtype), dtype(2)):
            for grad in (tg.grad(np.square)(x), tg.backprop(np.square(p := tg.Parameter(x)), wrt=p)):
                np.testing.assert_array_equal(grad, np.array(4, dtype), strict=True)
                assert type(grad) is np.ndarray
    result = tg.grad(np.square)(2.0)
    assert (type(result), result) == (float, 4)


def narrow_floats() -> None:
    def f(x):
        y = 2 * x + 1.5 - x / 3 + np.maximum(x, 0.0) ** 2 + np.where(x > 0.5, x, 0.0)
        return np.mean(np.tanh(y) @ np.ones((3, 3), x.dtype)) * 0.1

    for dtype in (np.float16, np.float32):
        p = tg.Parameter(np.linspace(0.1, 1, 6, dtype=dtype).reshape(2, 3))
        loss = f(p)
        loss.backprop()
        assert loss.dtype == p.grad.dtype == dtype
        assert tg.grad(f)(p.value).dtype == tg.hvp(f)(p.value, p.value).dtype == dtype


def integers_and_booleans() -> None:
    for x in (1, True, np.arange(3), np.ones(2, bool)):
        with pytest.raises(TypeError, match=r"args\[0\] .*give floats"):
            tg.grad(np.sum)(x)
        with pytest.raises(TypeError, match=r"weights .*give floats"):
            tg.Parameter(x, name="weights")
        with pytest.raises(TypeError, match=r"wrt\[0\]"):
            tg.backprop(tg.Parameter(1.0) * 2, wrt=[tg.constant(x)])


def gradient_arrays() -> None:
    functions = [lambda x: x, np.exp, lambda x: x.T, lambda x: x[::-1], lambda x: x + x, lambda x: np.reshape(x, -1),
                 lambda x: x[0], lambda x: np.ones(2), lambda x: tg.ops.ReLU(x)]
    for f in functions:
        for like in (np.ones((2, 3), np.float32), np.ones((3, 2)).T):
            p, q = tg.Parameter(like), tg.Parameter(like)
            (np.sum(f(p)) + np.sum(f(q)) + np.sum(0 * p) + np.sum(0 * q)).backprop()
            results = [p.grad, q.grad, tg.grad(lambda x, f=f: np.sum(f(x)) + 0 * np.sum(x))(like),
                       *tg.vjp(f, like)[1](np.ones_like(f(like)))]
            for i, grad in enumerate(results):
                assert type(grad) is np.ndarray
                assert (grad.shape, grad.dtype) == (like.shape, like.dtype)
                assert grad.flags.writeable
                assert not any(np.shares_memory(grad, other) for other in [*results[:i], like, p.value, q.value])


def assigned_states() -> None:
    p, s = tg.Parameter(np.array([1.0, 2.0]), name="weights"), tg.State(np.array([5.0, 7.0]))
    loss = np.sum(p * p * s)
    p.value, s.value = np.zeros(2), np.zeros(2)
    loss.backprop()
    np.testing.assert_array_equal(p.grad, [10, 28])
    mixture = np.sum(p * s)
    p.value = np.ones(2)
    mixture = mixture + np.sum(p)
    with pytest.raises(ValueError, match="weights"):
        mixture.backprop()


def overwritten_arrays() -> None:
    x, p = np.ones(3), tg.Parameter(np.ones(3))
    for node in (p, tg.State(x), tg.constant(x), p * 2, p[:2], p.T, np.sum(p), np.broadcast_to(p, (2, 3))):
        with pytest.raises(ValueError, match="read-only"):
            node.value[...] = 0

    def overwrite() -> None:
        loss = np.sum(p * x)
        x[0] = 2
        loss.backprop()

    with tg.detect_changes(), pytest.raises(RuntimeError, match="overwritten"):
        overwrite()
    assert p.grad is None


def layouts() -> None:
    x = np.linspace(-1, 1, 24).reshape(4, 6)

    def f(x):
        return np.sum(np.tanh(x @ x.T)[1:, [0, 0]] * np.max(x)) + np.mean(x[::2] ** 2)

    for array in (x[::2, ::2], x[::-1, ::-1], np.asfortranarray(x), x[:, 1:3], np.broadcast_to(x[0], (3, 6))):
        frozen = array.view()
        frozen.flags.writeable = False
        copy = array.copy("C")
        for transform in (tg.grad, tg.hessian):
            # products of matrices may add in another order
            np.testing.assert_allclose(transform(f)(frozen), transform(f)(copy), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(array, copy)


def nodes_into_arrays() -> None:
    def store(array: Any, node: Any) -> None:
        array[0] = node

    def add(array: Any, node: Any) -> None:
        array += node

    for array in (np.zeros(3), np.zeros(3, int)):
        with pytest.raises((TypeError, ValueError)):
            store(array, tg.constant(2.0))
        with pytest.raises(TypeError, match="array = array"):
            add(array, tg.constant(np.ones(3)))
        with pytest.raises(TypeError, match="out="):
            np.exp(tg.constant(np.ones(3)), out=array)
        assert not array.any()


def symmetric_matrices() -> None:
    rng = np.random.default_rng(0)
    A, V, mixed = rng.standard_normal((3, 3, 3))
    A, V, weights = A @ A.T + np.eye(3), V + V.T, np.array([1.0, 2.0, 5.0])
    losses = [lambda A: np.sum(np.linalg.eigh(A)[0] ** 2 * weights), lambda A: np.sum(np.linalg.cholesky(A) * weights),
              lambda A: np.sum(np.linalg.eigh(A)[1] ** 2 * mixed), lambda A: np.sum(np.linalg.eigvalsh(A) * weights)]
    for f in losses:
        grad, slope = tg.grad(f)(A), tg.jvp(f, (A,), (V,))[1]
        np.testing.assert_allclose(grad, grad.T, rtol=1e-10)
        np.testing.assert_allclose(np.sum(grad * V), slope, rtol=1e-10)
        np.testing.assert_allclose(slope, (f(A + 1e-6 * V) - f(A - 1e-6 * V)) / 2e-6, rtol=1e-6)
    identity = np.eye(3)
    np.testing.assert_allclose(tg.grad(lambda A: np.sum(np.linalg.eigh(A)[0]))(identity), identity, atol=1e-14)
    def trace(A):
        eigenvectors = np.linalg.eigh(A)[1]
        return np.sum(eigenvectors * eigenvectors)  # whichever they are

    np.testing.assert_allclose(tg.grad(trace)(identity), 0, atol=1e-13)
    with pytest.raises((ValueError, ArithmeticError, RuntimeError), match=r"eigenv|repeated|degenerate"):
        tg.grad(lambda A: np.sum(np.linalg.eigh(A)[1] * weights))(identity)


CHECKS: dict[str, Callable[[], None]] = {
    "symmetric matrices": symmetric_matrices,
    "repeated indices": repeated_indices,
    "empty arrays": empty_arrays,
    "0-d input": zero_dimensional,
    "float32 and float16": narrow_floats,
    "integers and booleans": integers_and_booleans,
    "a gradient array": gradient_arrays,
    "a state assigned between forward and backprop": assigned_states,
    "an array overwritten behind the library's back": overwritten_arrays,
    "non-contiguous, negative-stride and read-only inputs": layouts,
    "a node written into an array": nodes_into_arrays,
}


@pytest.mark.parametrize("row", PROMISES, ids=named)
def test_promise(row):
    assert row["case"] in CHECKS, "this row of docs/conventions.md has no check"
    CHECKS[row["case"]]()


# ---------------------------------------------------------------------------------------------- the tests of the tests

def test_the_page_was_read():
    """As many rows as lines that look like one: none is lost to a slip in the Markdown."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.lstrip().startswith("|")]
    tables = sum(set(line) <= set("|-: ") for line in lines)
    assert len(ROWS) == len(lines) - 2 * tables
    assert len(POINTS) > 50
    assert {row["case"] for row in PROMISES} == set(CHECKS)


HEADER = "| case | function | at | gradient | second derivative | value |\n|---|---|---|---|---|---|\n"


@pytest.mark.parametrize("cells", [
    "`x * x` | `x = 3.0` | `6.5` | `2.5` | `9.5`",
    "`x * x` | `x = 3.0` | `[6.0]` | `[[2.0]]` | `[9.0]`",
    "`x * x` | `x = 3.0` | 6.0 | 2.0 | 9.0",
    "`x * z` | `x = 3.0` | `6.0` | `2.0` | `9.0`",
    "`x * x` | `z = 3.0` | `6.0` | `2.0` | `9.0`",
    "`x * x` | `x = 3.0` | `np.nan` | `np.nan` | `np.nan`",
    "`np.sum(x * x)` | `x = np.array([3.0, 1.0])` | `6.0` | `2.0` | `np.array([10.0])`",
], ids=["wrong numbers", "wrong shapes", "no code", "unknown name", "unknown argument", "nan", "broadcasting"])
def test_a_wrong_row_fails_every_test(cells):
    (row,) = rows(f"{HEADER}| planted | {cells} |\n")
    for check, ways in ((check_gradient, [by_grad, by_backprop, by_jvp]),
                        (check_second, [reverse_over_reverse, forward_over_reverse, reverse_over_forward])):
        for way in ways:
            with pytest.raises((AssertionError, NameError, TypeError)):
                check(row, way)
    for program in PROGRAMS + SECOND_PROGRAMS:
        with pytest.raises((AssertionError, NameError, TypeError)):
            check_compiled(row, program, "numpy")
    with pytest.raises((AssertionError, NameError, TypeError)):
        check_value(row)


@pytest.mark.parametrize("program", PROGRAMS + SECOND_PROGRAMS)
def test_a_wrong_row_fails_in_native_code(program, private_cache):
    native = [row for row in POINTS if isinstance(native_results(program).get(named(row)), list)]
    assert len(native) > (50 if program in PROGRAMS else 20)
    row = next(row for row in native if row["case"] == "`x**1` at 0")
    row = {**row, "gradient": "`1.5`", "second derivative": "`0.5`"}
    with pytest.raises(AssertionError, match="Not equal"):
        check_compiled(row, program, "native")


def test_a_tolerance_is_as_wide_as_it_says():
    page = "| case | function | at | gradient | tolerance |\n|-|-|-|-|-|\n| | `x * x` | `x = 3.0` | `6.1` | `{}` |\n"
    check_gradient(rows(page.format(0.11))[0], by_grad)
    with pytest.raises(AssertionError):
        check_gradient(rows(page.format(0.09))[0], by_grad)


@pytest.mark.parametrize("page", [f"{HEADER}| too | few |\n", f"{HEADER}| `abs(x) | y` | a | b | c | d | e |\n",
                                  "| case | gradiant |\n|---|---|\n"], ids=["few", "many", "unknown column"])
def test_a_table_that_cannot_be_read_is_an_error(page):
    with pytest.raises(ValueError, match="columns"):
        rows(page)


def test_a_promise_without_a_check_fails():
    (row,) = rows("| case | promise |\n|---|---|\n| a new row | good things |\n")
    with pytest.raises(AssertionError, match="has no check"):
        test_promise(row)
