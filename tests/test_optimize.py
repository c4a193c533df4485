"""SciPy's solvers with exact derivatives, beside the same solvers with finite differences.

Which derivative a solver gets, and in which form x is for whom, is checked from outside: on problems whose solutions
are known, by counts of evaluations, and by what the functions and callbacks are handed.
"""

from collections import namedtuple

import numpy as np
import pytest
from scipy import optimize
from scipy.optimize import rosen, rosen_hess

import tinygraph as tg

WITH_GRADIENT = ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP"]
WITH_CURVATURE = ["Newton-CG", "trust-ncg", "trust-krylov", "trust-exact", "dogleg", "trust-constr"]
WITHOUT = ["Nelder-Mead", "Powell", "COBYLA"]


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def bowl(x, centre, width=2.0):
    """Its minimum is at `centre`, for an x of any shape."""
    return np.sum(np.log1p(((x - centre) / width) ** 2) + 0.1 * (x - centre) ** 2)


# --------------------------------------------------------------------------------------------------- known problems

@pytest.mark.parametrize("method", WITH_GRADIENT + WITH_CURVATURE)
def test_rosenbrock_of_four(method):
    start = np.array([1.02, 1.04, 1.08, 1.17])
    result = tg.minimize(rosenbrock, start, method=method, tol=1e-9)
    np.testing.assert_allclose(result.x, np.ones(4), atol=2e-3)
    assert np.shape(result.grad if method == "trust-constr" else result.jac) == (4,)


@pytest.mark.parametrize(("method", "n"), [("BFGS", 100), ("L-BFGS-B", 30)])
def test_rosenbrock_of_many_takes_fewer_evaluations_and_comes_closer(method, n):
    start = np.tile([-1.2, 1.0], n // 2)
    options = {"maxiter": 2000} | ({"maxfun": 100_000} if method == "L-BFGS-B" else {})
    exact = tg.minimize(rosenbrock, start, method=method, options=options)
    differences = optimize.minimize(rosenbrock, start, method=method, options=options)
    assert exact.fun <= max(differences.fun, 1e-8)
    assert exact.nfev < differences.nfev * 2 / n
    assert exact.success


def test_newton_methods_get_the_exact_hessian():
    start = np.tile([-1.2, 1.0], 5)
    ours = tg.minimize(rosenbrock, start, method="trust-exact")
    by_hand = optimize.minimize(rosen, start, method="trust-exact", jac=optimize.rosen_der, hess=rosen_hess)
    assert (ours.nit, ours.nhev) == (by_hand.nit, by_hand.nhev)
    np.testing.assert_allclose(ours.x, by_hand.x, rtol=1e-9)
    np.testing.assert_allclose(ours.hess, by_hand.hess, rtol=1e-9)
    for method in ("Newton-CG", "trust-ncg"):
        ours = tg.minimize(rosenbrock, start, method=method)
        by_hand = optimize.minimize(rosen, start, method=method, jac=optimize.rosen_der, hessp=optimize.rosen_hess_prod)
        assert (ours.nit, ours.nfev) == (by_hand.nit, by_hand.nfev)


HS71 = np.array([1.0, 4.743, 3.82115, 1.379408])


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr"])
@pytest.mark.parametrize("form", ["dicts", "objects"])
@pytest.mark.parametrize("compiled", [False, True])
def test_hock_and_schittkowski_71(method, form, compiled):
    def objective(x):
        return x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]

    def product(x, least=0.0):
        return x[0] * x[1] * x[2] * x[3] - least

    def squares(x):
        return np.sum(x**2)

    constraints = {
        "dicts": [{"type": "ineq", "fun": product, "args": (25.0,)},
                  {"type": "eq", "fun": lambda x: squares(x) - 40}],
        "objects": [optimize.NonlinearConstraint(product, 25.0, np.inf), optimize.NonlinearConstraint(squares, 40, 40)],
    }[form]
    result = tg.minimize(objective, [1.0, 5.0, 5.0, 1.0], method=method, bounds=(1, 5), constraints=constraints,
                         compiled=compiled)
    np.testing.assert_allclose(result.x, HS71, atol=1e-4)
    np.testing.assert_allclose(result.fun, 17.0140173, atol=1e-4)


def test_constraints_on_shaped_arguments_in_lists():
    """The nearest point to (2, 2; 2, 2) whose rows sum to 1, on one side of a plane."""
    rows = {"type": "eq", "fun": lambda x, total: [np.sum(x[0]) - total, np.sum(x[1]) - total], "args": 1.0}
    plane = optimize.LinearConstraint(np.array([[1.0, 0, 0, 0]]), -np.inf, 0.25)
    for method in ("SLSQP", "trust-constr"):
        result = tg.minimize(lambda x: np.sum((x - 2) ** 2), np.zeros((2, 2)), method=method, constraints=[rows, plane],
                             tol=1e-10)
        np.testing.assert_allclose(result.x, [[0.25, 0.75], [0.5, 0.5]], atol=1e-4)


def test_curvature_of_constraints_is_used():
    """With the Hessian of the constraint trust-constr takes no more steps than with SciPy's own exact one."""
    circle = optimize.NonlinearConstraint(lambda x: x[0] ** 2 + x[1] ** 2, 1, 1)
    exact = optimize.NonlinearConstraint(lambda x: x @ x, 1, 1, lambda x: 2 * x, lambda x, v: 2 * v[0] * np.eye(2))
    ours = tg.minimize(lambda x: (x[0] - 2) ** 2 + x[1], [0.5, 0.5], method="trust-constr", constraints=circle)
    scipys = optimize.minimize(lambda x: (x[0] - 2) ** 2 + x[1], [0.5, 0.5], method="trust-constr", constraints=exact,
                               jac=lambda x: np.array([2 * (x[0] - 2), 1]), hess=lambda x: np.diag([2.0, 0]))
    assert ours.nit == scipys.nit
    np.testing.assert_allclose(ours.x, scipys.x, atol=1e-8)


def powell_singular(x):
    return [x[0] + 10 * x[1], 5**0.5 * (x[2] - x[3]), (x[1] - 2 * x[2]) ** 2, 10**0.5 * (x[0] - x[3]) ** 2]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_powells_singular_function(method, compiled):
    """Its Jacobian is singular at the solution."""
    ours = tg.least_squares(powell_singular, [3.0, -1.0, 0.0, 1.0], method=method, compiled=compiled, xtol=1e-12,
                            gtol=1e-12, ftol=1e-14)
    assert ours.cost < 1e-9
    np.testing.assert_allclose(ours.x, 0, atol=0.02)


@pytest.mark.parametrize("loss", ["linear", "soft_l1"])
def test_curve_fit(loss):
    rng = np.random.default_rng(0)
    t = np.linspace(0, 4, 50)
    data = 2.5 * np.exp(-1.3 * t) + 0.5 + 0.01 * rng.standard_normal(50)

    def residuals(p, t, data):
        return p["a"] * np.exp(-p["k"] * t) + p["c"] - data

    start = {"a": 1.0, "k": np.array(1.0, np.float32), "c": np.zeros(1)}
    ours = tg.least_squares(residuals, start, args=(t, data), loss=loss, bounds=({"a": 0, "k": 0, "c": -1}, 10))
    scipys = optimize.least_squares(lambda p: p[0] * np.exp(-p[1] * t) + p[2] - data, [1, 1, 0], loss=loss,
                                    bounds=([0, 0, -1], 10))
    np.testing.assert_allclose([ours.x["a"], ours.x["k"], ours.x["c"][0]], scipys.x, rtol=1e-5)
    assert (type(ours.x["a"]), ours.x["k"].dtype, ours.x["c"].shape) == (float, np.float32, (1,))
    assert ours.grad.keys() == start.keys()
    assert ours.jac.shape == (50, 3)


def test_logistic_regression():
    rng = np.random.default_rng(0)
    X, truth = rng.standard_normal((200, 3)), np.array([1.0, -2.0, 0.5])
    y = (X @ truth + 0.3 + rng.logistic(size=200) > 0).astype(float)

    def loss(p, penalty):
        z = X @ p["w"] + p["b"]
        return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))) + penalty * np.sum(p["w"] ** 2)

    fits = [tg.minimize(loss, {"w": np.zeros(3), "b": 0.0}, 1e-3, method=method, compiled=compiled, tol=1e-10)
            for method in ("BFGS", "Newton-CG", "trust-exact") for compiled in (False, True)]
    for fit in fits:
        np.testing.assert_allclose(fit.x["w"], fits[0].x["w"], atol=1e-5)
        assert type(fit.x["b"]) is float
        assert np.abs(tg.grad(lambda w, fit=fit: loss({**fit.x, "w": w}, 1e-3))(fit.x["w"])).max() < 1e-5


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("method", ["hybr", "lm", "krylov"])
def test_root(method, compiled):
    def equations(p):
        return {"first": p["x"] ** 2 + np.sum(p["y"]) - 3, "others": p["y"] - p["x"] * np.ones(2)}

    result = tg.root(equations, {"x": 0.8, "y": np.ones((2,))}, method=method, compiled=compiled)
    np.testing.assert_allclose(result.x["x"], 1, atol=1e-5)
    np.testing.assert_allclose(result.x["y"], [1, 1], atol=1e-5)
    assert result.success


def test_root_takes_the_exact_jacobian():
    def equations(x):
        return [x[0] + 0.5 * (x[0] - x[1]) ** 3 - 1, 0.5 * (x[1] - x[0]) ** 3 + x[1]]

    ours, scipys = tg.root(equations, [0, 0]), optimize.root(equations, [0, 0])
    np.testing.assert_allclose(ours.x, scipys.x, atol=1e-8)
    assert ours.nfev < scipys.nfev
    assert ours.njev == 1


# --------------------------------------------------------------------------------------------------- forms of x

Point = namedtuple("Point", "place weight")


@pytest.mark.parametrize("start", [
    2.0, 3, np.array(2.0), np.zeros((2, 3)), np.zeros((2, 3), np.float32), [1.0, 2.0], (0, 0), np.float64(2),
    [np.zeros(2), 1.0], {"a": np.zeros((2, 2)), "b": [np.zeros(1, np.float32), (np.ones(2), 3.0)]},
    Point(np.zeros(3), 1.0),
], ids=repr)
@pytest.mark.parametrize("method", ["BFGS", "trust-ncg", "trust-exact", "Nelder-Mead"])
@pytest.mark.parametrize("compiled", [False, True])
def test_x_keeps_its_form(start, method, compiled):
    def leaves(x):
        if isinstance(x, dict | list | tuple):
            return [leaf for part in (x.values() if isinstance(x, dict) else x) for leaf in leaves(part)]
        return [x]

    def same_form(x, like):
        if isinstance(like, dict):
            assert x.keys() == like.keys()
            return [same_form(x[key], like[key]) for key in like]
        if isinstance(like, list | tuple) and not all(isinstance(part, int | float) for part in like):
            assert type(x) is type(like)
            return [same_form(a, b) for a, b in zip(x, like, strict=True)]
        return check(x, like)

    def of_nodes(x, like):
        assert isinstance(x, tg.Node)
        assert (x.shape, x.dtype) == (np.shape(like), np.float64)

    def of_arrays(x, like):
        if isinstance(like, float | int) and not isinstance(like, np.generic):
            assert type(x) is float
        elif not isinstance(like, np.float64):
            wanted = np.result_type(like, np.float32) if isinstance(like, np.ndarray) else np.float64
            assert (type(x), x.shape, x.dtype) == (np.ndarray, np.shape(like), wanted)

    def f(x, centre):
        same_form(x, start)
        return sum(bowl(leaf, centre) for leaf in leaves(x))

    seen = []
    check = of_nodes
    result = tg.minimize(f, start, (0.5,), method, compiled=compiled, tol=1e-10, callback=lambda x: seen.append(x),
                         options={"maxiter": 2000})
    check = of_arrays
    for x in (result.x, *seen[:1], *([result.jac] if "jac" in result else [])):
        same_form(x, start)
    assert seen
    for leaf in leaves(result.x):
        np.testing.assert_allclose(leaf, 0.5, atol=1e-3 if method != "Nelder-Mead" else 0.3)


def test_callbacks_of_all_kinds():
    start, found = {"a": np.ones((2, 2)), "b": 2.0}, []

    def f(x):
        return np.sum(x["a"] ** 4) + x["b"] ** 2

    tg.minimize(f, start, callback=lambda intermediate_result: found.append(intermediate_result.x))
    tg.minimize(f, start, callback=lambda x, state: found.append(x), method="trust-constr")
    tg.root(lambda x: x**3 - 1, np.full((2, 2), 2.0), method="krylov", callback=lambda x, r: found.append({"a": x}))
    for x in found:
        assert x["a"].shape == (2, 2)

    def stop(intermediate_result):
        raise StopIteration

    assert tg.minimize(f, start, callback=stop, method="BFGS").nit == 1


@pytest.mark.parametrize(("bounds", "expected"), [
    (None, [[1, 2], [3, 4]]),
    ((1.5, 3.5), [[1.5, 2], [3, 3.5]]),
    ((None, 3.5), [[1, 2], [3, 3.5]]),
    ([(0, 1), (3, None), (0, 2), (None, None)], [[1, 3], [2, 4]]),
    (optimize.Bounds(1.5, 3.5), [[1.5, 2], [3, 3.5]]),
    (optimize.Bounds([[0, 3], [0, 5]], [4, 6]), [[1, 3], [3, 5]]),
], ids=str)
@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "trust-constr"])
def test_bounds(bounds, expected, method):
    wanted = np.array([[1.0, 2.0], [3.0, 4.0]])
    result = tg.minimize(lambda x: np.sum((x - wanted) ** 2), np.full((2, 2), 2.5), method=method, bounds=bounds,
                         tol=1e-9)
    np.testing.assert_allclose(result.x, expected, atol=2e-3)


def test_bounds_of_structures():
    def f(x):
        return np.sum((x["w"] - 1) ** 2) + (x["b"] + 3) ** 2

    for bounds, w, b in [({"w": (None, 0.5), "b": None}, 0.5, -3), ({"b": (-2, 2), "w": [(0, 1), (0, 2)]}, 1, -2),
                         ((-1, 0), 0, -1), (optimize.Bounds(0.25, 0.75), 0.75, 0.25)]:
        result = tg.minimize(f, {"w": np.full(2, 0.3), "b": 0.5}, bounds=bounds)
        np.testing.assert_allclose(result.x["w"], [w, w], atol=1e-5)
        np.testing.assert_allclose(result.x["b"], b, atol=1e-5)
    residuals = tg.least_squares(lambda x: [x[0] - 1, x[1] - 2], [np.zeros(2), 0.5], bounds=([-1, 0], [[2, 0.5], 1.5]))
    np.testing.assert_allclose(residuals.x[0], [1, 0.5], atol=1e-6)
    np.testing.assert_allclose(residuals.x[1], 1.5, atol=1e-6)


def test_a_function_that_uses_a_parameter_from_outside():
    p = tg.Parameter(np.array([1.0, 2.0]))
    for method in ("BFGS", "Newton-CG", "trust-exact"):
        result = tg.minimize(lambda x: np.sum((x - p) ** 2), np.zeros(2), method=method)
        np.testing.assert_allclose(result.x, p.value, atol=1e-6)
        assert type(result.x) is np.ndarray
    assert p.grad is None


def test_a_solver_of_ones_own():
    def steepest(fun, x0, args, jac, hessp, **options):
        for _ in range(60):
            g = jac(x0)
            x0 = x0 - g * (g @ g) / (g @ hessp(x0, g) + 1e-300)
        return optimize.OptimizeResult(x=x0, fun=fun(x0), success=True)

    result = tg.minimize(lambda x: np.sum(x**2 * [1.0, 3.0]), np.ones((1, 2)), method=steepest)
    np.testing.assert_allclose(result.x, [[0, 0]], atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- errors

def test_errors():
    one = np.ones(2)
    for method in ("BFGS", "Nelder-Mead"):
        with pytest.raises(ValueError, match=r"must return one number, got shape \(2,\).*least_squares"):
            tg.minimize(lambda x: x, one, method=method)
        with pytest.raises(ValueError, match="must return one number, got tuple"):
            tg.minimize(lambda x: (x, x), one, method=method)
        with pytest.raises(ValueError, match="must return one number, got NoneType"):
            tg.minimize(lambda x: None, one, method=method)
        with np.errstate(all="ignore"), pytest.raises(ValueError, match="the function is nan at x0"):
            tg.minimize(lambda x: np.sum(np.sqrt(x)), -one, method=method)
    with np.errstate(all="ignore"):
        with pytest.raises(ValueError, match=r"gradient by x0\['b'\] is not finite"):
            tg.minimize(lambda x: np.sum(x["a"]) + np.sum(np.sqrt(x["b"])), {"a": one, "b": np.zeros(2)})
        for solver in (tg.root, tg.least_squares):
            with pytest.raises(ValueError, match=r"not finite at x0"):
                solver(np.sqrt, -one)
    with pytest.raises(TypeError, match=r"x0\[1\]\['a'\].*real numbers"):
        tg.minimize(np.sum, [one, {"a": 1j * one}])
    with pytest.raises(TypeError, match=r"x0\['p'\].*node already"):
        tg.minimize(np.sum, {"p": tg.Parameter(1.0)})
    with pytest.raises(TypeError, match="expected numbers"):
        tg.minimize(np.sum, "here")
    for nothing in (np.zeros(0), {}, []):
        with pytest.raises(ValueError, match="x0 holds no number"):
            tg.minimize(np.sum, nothing)
    for bounds in ((0, 1, 2), {"b": 1}, optimize.Bounds([0, 0, 0], 1)):
        with pytest.raises(ValueError, match="bounds must be"):
            tg.minimize(lambda x: np.sum(x["a"] ** 2), {"a": one}, bounds=bounds)
    for name in ("jac", "jac_sparsity", "diff_step"):
        with pytest.raises(TypeError, match=f"leave {name}= away"):
            tg.least_squares(np.sin, one, **{name: None})
    with pytest.raises(ValueError, match="Unknown solver"):
        tg.minimize(np.sum, one, method="steepest")


def test_a_narrow_start_is_computed_in_float64():
    seen = set()

    def f(x):
        seen.add(x.dtype)
        return np.sum((x - 1 / 3) ** 2)

    result = tg.minimize(f, np.zeros(3, np.float32))
    assert seen == {np.dtype(np.float64)}
    assert result.x.dtype == result.jac.dtype == np.float32
    np.testing.assert_array_equal(result.x, np.float32(1 / 3))
