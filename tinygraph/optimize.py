"""Optimization: SciPy's solvers, fed with exact derivatives.

SciPy works on one vector of float64. Here is what lies between it and a function of arrays of any shape, or of nested
lists, tuples and dicts of them: how these lie in the vector, and which derivative goes to which solver. This module
knows no algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .calculus import grad, hessian, hvp, jacobian, value_and_grad, vjp
from .compile import compile
from .node import Node, constant, plain_array
from .structure import leaves, mapped

Function = Callable[..., Any]

_WITHOUT_GRADIENT = {"nelder-mead", "powell", "cobyla", "cobyqa"}
_WITH_HESSIAN = {"dogleg", "trust-exact"}
_WITH_PRODUCTS = {"newton-cg", "trust-ncg", "trust-krylov", "trust-constr"}
_ROOT_WITH_JACOBIAN = {"hybr", "lm"}


def minimize(f: Function, x0: Any, args: Any = (), method: Any = None, *, bounds: Any = None, constraints: Any = (),
             tol: float | None = None, callback: Function | None = None, options: dict[str, Any] | None = None,
             compiled: bool = False) -> Any:
    """`scipy.optimize.minimize` with exact derivatives: of f(x, *args), one number, near x0.

    x0: an array of any shape, a number, or nested lists, tuples and dicts of arrays. (A list of numbers is an array, as
        for SciPy.) f gets x in this form, and so do `callback` and the functions of `constraints`.
    method: any of SciPy's. It gets the gradient; dogleg and trust-exact get the Hessian, too; Newton-CG, trust-ncg,
        trust-krylov and trust-constr its products with vectors. Nelder-Mead, Powell, COBYLA and COBYQA want neither.
    bounds: a `scipy.optimize.Bounds` whose `lb` and `ub` broadcast to x0, a (low, high) pair for all of x0, or such a
        pair for each entry in order; None is no bound. For a structure one of these for all of it, or a structure.
    constraints: SciPy's dicts and objects. Their functions are differentiated too (a `jac` or `hess` of their own is
        not used) and may return arrays of any shape, or lists of them. A `LinearConstraint` is about the entries of x0
        in order.
    compiled: run f and its derivatives as programs of `tg.compile`.

    Returns SciPy's `OptimizeResult`, with `x` and the gradient (`jac`; `grad` for trust-constr) in the form of x0. All
    else in it is about the vector of the entries of x0 in order. SciPy works in float64: so f is given float64, and a
    float32 x0 has its result rounded to float32. ValueError if f does not return one number, or if it or its
    gradient is not finite at x0.

    >>> import numpy as np, tinygraph as tg
    >>> tg.minimize(lambda x: np.sum((x - 3.0) ** 2), np.zeros((2, 2))).x
    array([[3., 3.],
           [3., 3.]])
    """
    from scipy import optimize

    layout = Layout("minimize", x0)
    name = method.lower() if isinstance(method, str) else method
    goal = _Goal("minimize", f, layout, args, compiled)
    derivatives: dict[str, Any] = {} if name in _WITHOUT_GRADIENT else {"jac": True}
    if name in _WITH_HESSIAN:
        derivatives["hess"] = goal.hessian
    elif name in _WITH_PRODUCTS or callable(method):
        derivatives["hessp"] = goal.product
    given = [constraints] if isinstance(constraints, dict) or not hasattr(constraints, "__iter__") else constraints
    result = optimize.minimize(
        goal.value_and_gradient if derivatives else goal.value, layout.vector, method=method, **derivatives, tol=tol,
        bounds=None if bounds is None else layout.bounds(bounds), options=options,
        constraints=[_constraint(c, layout, compiled, name == "trust-constr") for c in given],
        callback=None if callback is None else _callback(callback, layout))
    return _restored(result, layout)


def least_squares(f: Function, x0: Any, *, args: Any = (), bounds: Any = (-np.inf, np.inf), compiled: bool = False,
                  **options: Any) -> Any:
    """`scipy.optimize.least_squares` with exact Jacobians: the least sum of squares of what f(x, *args) returns.

    f returns an array of any shape, or nested lists, tuples and dicts of arrays. x0, compiled: as for `minimize`.
    bounds: SciPy's pair (lower, upper), of numbers, of what broadcasts to x0, or of structures like x0; or what
    `minimize` takes. options: SciPy's other arguments (`method`, `loss`, `x_scale`, ...). Of the `OptimizeResult`, `x`
    and `grad` have the form of x0; `fun` and `jac` are the vector of residuals and its Jacobian matrix.

    >>> import numpy as np, tinygraph as tg
    >>> t = np.arange(5.0)
    >>> fit = tg.least_squares(lambda p: p["a"] * np.exp(-p["k"] * t) - 2 * np.exp(-t), {"a": 1.0, "k": 0.5})
    >>> round(fit.x["a"], 6), round(fit.x["k"], 6)
    (2.0, 1.0)
    """
    from scipy import optimize

    for name in ("jac", "jac_sparsity", "diff_step"):
        if name in options:
            raise TypeError(f"least_squares: the Jacobian is exact, so leave {name}= away")
    layout = Layout("least_squares", x0)
    residuals = _System("least_squares", f, layout, args, compiled)
    if isinstance(bounds, tuple) and len(bounds) == 2:
        bounds = tuple(layout.spread(bound, np.broadcast_to) for bound in bounds)
    else:
        bounds = layout.bounds(bounds)
    if not isinstance(scale := options.get("x_scale"), str | None):
        options["x_scale"] = layout.spread(scale, np.broadcast_to)
    if (callback := options.get("callback")) is not None:
        options["callback"] = _callback(callback, layout)
    result = optimize.least_squares(residuals.value, layout.vector, jac=residuals.jacobian, bounds=bounds, **options)
    return _restored(result, layout)


def root(f: Function, x0: Any, args: Any = (), method: str = "hybr", *, tol: float | None = None,
         callback: Function | None = None, options: dict[str, Any] | None = None, compiled: bool = False) -> Any:
    """`scipy.optimize.root` with exact Jacobians: an x near x0 where all that f(x, *args) returns is 0.

    f returns as many numbers as x has: an array, or nested lists, tuples and dicts of arrays. x0, compiled: as for
    `minimize`. method: any of SciPy's; hybr and lm use the Jacobian. Of the `OptimizeResult`, `x` has the form of x0.

    >>> import numpy as np, tinygraph as tg
    >>> tg.root(lambda x: [x[0] ** 2 + x[1] - 3, x[0] - x[1] + 1], [2.0, 1.0]).x
    array([1., 2.])
    """
    from scipy import optimize

    layout = Layout("root", x0)
    system = _System("root", f, layout, args, compiled)
    jac = system.jacobian if method.lower() in _ROOT_WITH_JACOBIAN else None
    wrapped = None if callback is None else lambda x, *residual: callback(layout.split(x, final=True), *residual)
    result = optimize.root(system.value, layout.vector, method=method, jac=jac, tol=tol, callback=wrapped,
                           options=options)
    return _restored(result, layout)


# ------------------------------------------------------------------------------------------------ structures as vectors

class Layout:
    """How the numbers in x0 lie in one vector: `vector` is x0 as such, `split` makes the form of x0 of another one."""

    def __init__(self, name: str, x0: Any) -> None:
        self.name = name
        self.kinds: list[Any] = []  # of each array in x0: the dtype to give back, or float
        self.paths: list[str] = []
        arrays: list[np.ndarray] = []
        self.tree = self._read(x0, "x0", arrays)
        self.shapes = [x.shape for x in arrays]
        self.ends = np.cumsum([x.size for x in arrays], dtype=int).tolist()
        self.vector = np.concatenate([np.ravel(x) for x in arrays]).astype(np.float64) if arrays else np.zeros(0)
        if not self.vector.size:
            raise ValueError(f"{name}: x0 holds no number")

    def _read(self, x: Any, path: str, arrays: list[np.ndarray]) -> Any:
        """The structure with the number of each array in its place; the arrays are appended."""
        if isinstance(x, dict):
            return {key: self._read(part, f"{path}[{key!r}]", arrays) for key, part in x.items()}
        if isinstance(x, list | tuple) and (not _is_numeric(x) or hasattr(x, "_fields")):
            return _like(x, [self._read(part, f"{path}[{i}]", arrays) for i, part in enumerate(x)])
        try:
            array = plain_array(x)
        except TypeError as error:
            raise TypeError(f"{self.name}: {path}: {error}") from None
        if array.dtype.kind not in "iuf":
            raise TypeError(f"{self.name}: {path} is of dtype {array.dtype}; SciPy works on real numbers")
        kind = array.dtype if array.dtype.kind == "f" else np.float64
        self.kinds.append(float if isinstance(x, float | int) else kind)
        self.paths.append(path)
        arrays.append(array)
        return len(arrays) - 1

    def split(self, vector: Any, final: bool = False) -> Any:
        """The form of x0 of a vector, an array or a node; final: with the dtypes of x0, for the user to keep."""
        def part(i: int) -> Any:
            end, shape = self.ends[i], self.shapes[i]
            x = vector if len(self.ends) == 1 else vector[self.ends[i - 1] if i else 0:end]
            x = x if x.shape == shape else np.reshape(x, shape)
            if not final:
                return x
            return float(x) if self.kinds[i] is float else np.array(x, self.kinds[i])

        return mapped(part, self.tree)

    def spread(self, value: Any, fit: Callable[[Any, tuple[int, ...]], Any],
               is_one: Callable[[Any], bool] = lambda value: False) -> np.ndarray:
        """A vector of `fit(part, shape)` for each array: the parts are those of a structure like x0, or each is the
        value itself. is_one: which lists are no structure."""
        def parts(tree: Any, value: Any) -> Iterator[tuple[int, Any]]:
            if isinstance(tree, int):
                yield tree, value
                return
            keys = set(tree) if isinstance(tree, dict) else set(range(len(tree)))
            whole = not isinstance(value, dict | list | tuple) or is_one(value)
            if not whole and keys != (set(value) if isinstance(value, dict) else set(range(len(value)))):
                raise ValueError(f"{self.name}: {value} has not the structure of x0")
            for key in tree if isinstance(tree, dict) else range(len(tree)):
                yield from parts(tree[key], value if whole else value[key])

        return np.concatenate([np.ravel(fit(part, self.shapes[i])) for i, part in parts(self.tree, value)])

    def bounds(self, bounds: Any) -> Any:
        """SciPy's Bounds on the vector."""
        from scipy.optimize import Bounds

        def fit(side: int) -> Callable[[Any, tuple[int, ...]], Any]:
            def one(part: Any, shape: tuple[int, ...]) -> Any:
                if isinstance(part, Bounds):
                    limit = [part.lb, part.ub, part.keep_feasible][side]
                    return np.broadcast_to(limit.reshape(()) if limit.size == 1 else limit, shape)
                if side == 2:
                    return np.zeros(shape, bool)
                pairs = np.array((None, None) if part is None else part, np.float64)  # None becomes NaN
                limit = np.where(np.isnan(pairs[..., side]), [-np.inf, np.inf][side], pairs[..., side])
                return np.broadcast_to(limit, shape) if pairs.ndim == 1 else np.reshape(limit, shape)
            return one

        try:
            return Bounds(*[self.spread(bounds, fit(side), _is_pair) for side in range(3)])
        except (ValueError, IndexError, TypeError) as error:
            raise ValueError(f"{self.name}: bounds must be a Bounds, a (low, high) pair, a pair for each entry of x0, "
                             f"or a structure of these like x0: {error}") from None


def _is_numeric(x: Any) -> bool:
    """Whether this is a number, or nested lists of nothing but numbers."""
    if isinstance(x, list | tuple):
        return all(map(_is_numeric, x))
    return isinstance(x, int | float | complex | np.generic)


def _is_pair(x: Any) -> bool:
    return isinstance(x, list | tuple) and len(x) == 2 and all(a is None or np.isscalar(a) for a in x)


def _like(x: Any, parts: list[Any]) -> Any:
    return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)


def _joined(result: Any) -> Any:
    """One vector of all numbers that a function returned."""
    found = [np.reshape(x, -1) for _, x in leaves(result)]
    return found[0] if len(found) == 1 else np.concatenate(found)


# ------------------------------------------------------------------------------------------------- what SciPy is handed

class _Goal:
    """A function of one number as SciPy wants it: of a vector, with its derivatives."""

    def __init__(self, name: str, f: Function, layout: Layout, args: Any, compiled: bool) -> None:
        self.name, self.layout = name, layout
        self.args = args if isinstance(args, tuple) else (args,)
        self.started = False  # whether the value at x0 was looked at
        self.point: Any = None  # where `pull`, the way back from the gradient, was recorded
        self.pull: Any = None
        self.compiled = compiled
        call = compile if compiled else lambda f: f

        def flat(x: Any, *args: Any) -> Any:
            return self.checked(f(layout.split(x), *args))

        self.flat = flat
        self._value, self._both, self._hessian = call(flat), call(value_and_grad(flat)), call(hessian(flat))
        self._product = call(hvp(flat))

    def checked(self, result: Any) -> Any:
        if isinstance(result, Node | np.ndarray | np.generic | float | int) and np.size(result) == 1:
            return result
        found = f"shape {np.shape(result)}" if isinstance(result, Node | np.ndarray) else type(result).__name__
        raise ValueError(f"{self.name}: the function must return one number, got {found}: sum its results, or give "
                         "residuals to tg.least_squares")

    def value(self, x: np.ndarray) -> float:
        result = self._value(x if self.compiled else constant(np.array(x)), *self.args)
        value = float(_array(result).item())
        self.check_start(value, None)
        return value

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = map(_array, self._both(x, *self.args))
        self.check_start(value.item(), gradient)
        return value.item(), gradient

    def check_start(self, value: float, gradient: np.ndarray | None) -> None:
        """ValueError if there is nothing to go on at x0."""
        if self.started:
            return
        self.started = True
        if not np.isfinite(value):
            raise ValueError(f"{self.name}: the function is {value} at x0: start where it is finite "
                             "(inside tg.detect_nan() the op that makes it is named)")
        if gradient is not None and not np.isfinite(gradient).all():
            first = int(np.argmin(np.isfinite(gradient)))
            path = self.layout.paths[int(np.searchsorted(self.layout.ends, first, side="right"))]
            raise ValueError(f"{self.name}: the gradient by {path} is not finite at x0: start elsewhere "
                             "(inside tg.detect_nan() the op that makes it is named)")

    def hessian(self, x: np.ndarray) -> np.ndarray:
        return _array(self._hessian(x, *self.args))

    def product(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The Hessian times p: its gradient's own gradient, whose graph is kept while x stays what it is."""
        if self.compiled:
            return _array(self._product(x, np.ravel(p), *self.args))
        if self.point is None or not np.array_equal(self.point, x):
            self.point = np.array(x)
            self.pull = vjp(lambda x: grad(self.flat)(x, *self.args), self.point)[1]
        return _array(self.pull(np.ravel(p))[0])


class _System:
    """A function of many numbers as SciPy wants it: from a vector to a vector, with its Jacobian."""

    def __init__(self, name: str, f: Function, layout: Layout, args: Any, compiled: bool) -> None:
        self.name, self.compiled, self.started = name, compiled, False
        self.args = args if isinstance(args, tuple) else (args,)
        call = compile if compiled else lambda f: f

        def flat(x: Any, *args: Any) -> Any:
            return _joined(f(layout.split(x), *args))

        self.flat = flat
        self._value, self._jacobian = call(flat), call(jacobian(flat))

    def value(self, x: np.ndarray) -> np.ndarray:
        result = np.array(_array(self._value(x if self.compiled else constant(np.array(x)), *self.args)), np.float64)
        if not self.started and not np.isfinite(result).all():
            raise ValueError(f"{self.name}: the function is not finite at x0: start elsewhere "
                             "(inside tg.detect_nan() the op that makes it is named)")
        self.started = True
        return result

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        return _array(self._jacobian(x, *self.args))


def _array(result: Any) -> np.ndarray:
    """An array of float64: also of a node, as which a function that uses parameters from outside returns it."""
    return np.asarray(result.value if isinstance(result, Node) else result, np.float64)


def _constraint(constraint: Any, layout: Layout, compiled: bool, with_hessian: bool) -> Any:
    """A constraint of SciPy's on the vector, with the derivatives of its function."""
    from scipy.optimize import NonlinearConstraint
    from scipy.sparse.linalg import LinearOperator

    if isinstance(constraint, dict):
        kind, function, args = constraint["type"], constraint["fun"], constraint.get("args", ())
        lb, ub = np.zeros(1), np.array([0 if kind.lower() == "eq" else np.inf])
        more: dict[str, Any] = {}
    elif isinstance(constraint, NonlinearConstraint):
        kind, function, args = "", constraint.fun, ()
        lb, ub = np.ravel(constraint.lb), np.ravel(constraint.ub)
        more = {"keep_feasible": constraint.keep_feasible}
    else:
        return constraint
    system = _System("a constraint", function, layout, args, compiled)

    def curvature(x: np.ndarray, weights: np.ndarray) -> Any:
        """The Hessian of the weighted sum of what the function returns."""
        goal = _Goal("a constraint", lambda x, *args: np.sum(_joined(function(x, *args)) * weights), layout,
                     system.args, False)
        return LinearOperator((x.size, x.size), lambda p: goal.product(x, p), dtype=np.float64)

    if with_hessian:
        return NonlinearConstraint(system.value, lb, ub, system.jacobian, curvature, **more)
    if kind:
        return {"type": kind, "fun": system.value, "jac": system.jacobian}
    return NonlinearConstraint(system.value, lb, ub, system.jacobian, **more)


def _callback(callback: Function, layout: Layout) -> Function:
    """A callback of the form of x0. SciPy tells by the name of its argument what it wants."""
    from inspect import signature

    try:
        wants_result = set(signature(callback).parameters) == {"intermediate_result"}
    except (TypeError, ValueError):  # it is written in C
        wants_result = False
    if wants_result:
        return lambda intermediate_result: callback(intermediate_result=_restored(intermediate_result, layout))
    return lambda x, *state: callback(layout.split(x, final=True), *state)


def _restored(result: Any, layout: Layout) -> Any:
    """A copy of SciPy's result with x and the gradient in the form of x0."""
    result = type(result)(result)
    result["x"] = layout.split(np.asarray(result["x"]), final=True)
    for name in ("jac", "grad"):
        gradient = result.get(name)
        if isinstance(gradient, np.ndarray) and gradient.shape == layout.vector.shape:
            result[name] = layout.split(gradient, final=True)
    return result
