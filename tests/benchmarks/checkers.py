"""Checkers of gradients beside each other: how many planted bugs each misses, and how many correct rules it accuses.

The cases are those of `tests/gradient_cases.py`, plain NumPy; each checker gets them as an op of its own library, at
its default settings. SciPy's returns a number: more than 1e-5 of the gradient's norm is taken for an accusation.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from tests.gradient_cases import Case, correct, planted

from .report import Bar, Report

Checker = Callable[[Case], bool]  # whether it finds the rule right


def tinygraph(case: Case) -> bool:
    from tinygraph.testing import check_gradients

    return bool(check_gradients(case.function, *case.inputs, gradient=case.rule, beyond=case.beyond))


def pytorch(fast: bool) -> Checker:
    import torch

    def check(case: Case) -> bool:
        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *xs: Any) -> Any:
                ctx.save_for_backward(*xs)
                return torch.from_numpy(np.array(case.function(*[x.detach().numpy() for x in xs])))

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                found = case.rule(grad.numpy(), *[x.detach().numpy() for x in ctx.saved_tensors])
                return tuple(None if d is None else torch.from_numpy(np.array(d)) for d in found)

        inputs = [torch.from_numpy(x.copy()).requires_grad_(x.dtype.kind == "f") for x in case.inputs]
        return bool(torch.autograd.gradcheck(Function.apply, inputs, fast_mode=fast, raise_exception=False))

    return check


def jax(case: Case) -> bool:
    import jax
    from jax.test_util import check_grads

    floats = [i for i, x in enumerate(case.inputs) if x.dtype.kind == "f"]

    def given(xs: Any) -> list[Any]:
        inputs = [np.array(x) for x in case.inputs]
        for i, x in zip(floats, xs, strict=True):
            inputs[i] = np.array(x)
        return inputs

    value = np.asarray(case.function(*case.inputs))

    @jax.custom_vjp
    def f(*xs: Any) -> Any:
        return jax.pure_callback(lambda *xs: np.asarray(case.function(*given(xs)), value.dtype),
                                 jax.ShapeDtypeStruct(value.shape, value.dtype), *xs)

    def pull(xs: Any, g: Any) -> Any:
        def rule(g: Any, *xs: Any) -> Any:
            found = case.rule(np.array(g), *given(xs))
            return tuple(np.zeros_like(case.inputs[i]) if found[i] is None else np.asarray(found[i]) for i in floats)
        shapes = tuple(jax.ShapeDtypeStruct(case.inputs[i].shape, case.inputs[i].dtype) for i in floats)
        return jax.pure_callback(rule, shapes, g, *xs)

    f.defvjp(lambda *xs: (f(*xs), xs), pull)
    check_grads(f, tuple(case.inputs[i] for i in floats), order=1, modes=["rev"])
    return True


def autograd(case: Case) -> bool:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    f = primitive(lambda *xs: case.function(*[np.array(x) for x in xs]))

    def pull(i: int) -> Any:
        def of(y: Any, *xs: Any) -> Any:
            def back(g: Any) -> Any:
                found = case.rule(np.asarray(g), *[np.array(x) for x in xs])[i]
                return np.zeros_like(xs[i]) if found is None else found
            return back
        return of

    floats = [i for i, x in enumerate(case.inputs) if x.dtype.kind == "f"]
    defvjp(f, *[pull(i) if i in floats else None for i in range(len(case.inputs))])

    def g(*xs: Any) -> Any:
        inputs = list(case.inputs)
        for i, x in zip(floats, xs, strict=True):
            inputs[i] = x
        return f(*inputs)

    check_grads(g, modes=["rev"], order=1)(*[case.inputs[i] for i in floats])
    return True


def scipy(case: Case) -> bool:
    from scipy.optimize import check_grad

    floats = [i for i, x in enumerate(case.inputs) if x.dtype.kind == "f"]
    ends = np.cumsum([case.inputs[i].size for i in floats])
    weights = np.random.default_rng(0).normal(size=np.shape(case.function(*case.inputs)))

    def given(x: Any) -> list[Any]:
        inputs = [y.copy() for y in case.inputs]
        for i, part in zip(floats, np.split(x, ends[:-1]), strict=True):
            inputs[i] = part.reshape(inputs[i].shape).astype(inputs[i].dtype)
        return inputs

    def slope(x: Any) -> Any:
        found = case.rule(np.asarray(weights, case.inputs[floats[0]].dtype).copy(), *given(x))
        parts = [np.zeros_like(case.inputs[i]) if found[i] is None else found[i] for i in floats]
        return np.concatenate([np.ravel(part) for part in parts])

    x0 = np.concatenate([case.inputs[i].ravel() for i in floats]).astype(float)
    off = check_grad(lambda x: float(np.sum(case.function(*given(x)) * weights)), slope, x0)
    return bool(off <= 1e-5 * max(float(np.linalg.norm(slope(x0))), 1e-30))


def judged(checker: Checker, case: Case) -> bool:
    """What a checker says; an error is an accusation."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return checker(case)
        except Exception:
            return False


def run() -> Report:
    checkers: dict[str, Checker] = {"tinygraph": tinygraph}
    if importlib.util.find_spec("torch"):
        checkers |= {"PyTorch gradcheck": pytorch(False), "PyTorch gradcheck, fast mode": pytorch(True)}
    if importlib.util.find_spec("jax"):
        import jax as engine

        engine.config.update("jax_enable_x64", True)
        checkers["JAX check_grads"] = jax
    if importlib.util.find_spec("autograd"):
        checkers["HIPS autograd check_grads"] = autograd
    checkers["SciPy check_grad"] = scipy
    rows, numbers = [], {}
    for name, checker in checkers.items():
        start = perf_counter()
        missed = {"float64": [], "float32": []}
        accused: dict[str, list[str]] = {"float64": [], "float32": []}
        counts = {"float64": [0, 0], "float32": [0, 0]}
        for column, (cases, found, wrong) in enumerate([(planted(), missed, True), (correct(), accused, False)]):
            for case in cases:
                kind = "float32" if case.name.endswith(", float32") else "float64"
                counts[kind][column] += 1
                if judged(checker, case) == wrong:
                    found[kind].append(case.name)
        took = perf_counter() - start
        rows.append([name, *[f"{len(missed[k])} of {counts[k][0]}" for k in missed],
                     *[f"{len(accused[k])} of {counts[k][1]}" for k in accused], f"{took:.0f}"])
        numbers[name] = {"missed": missed, "accused": accused, "seconds": took}
    ours = numbers["tinygraph"]
    return Report(
        "Checkers of gradients",
        "Planted bugs that a checker does not find, and correct rules that it accuses, of the cases in "
        "`tests/gradient_cases.py`, at default settings; seconds for all of them. An error counts as an accusation. "
        "SciPy's returns a bare number, which is taken to accuse from 1e-5 of the gradient's norm on.",
        ["checker", "missed, float64", "missed, float32", "false alarms, float64", "false alarms, float32", "seconds"],
        rows, [Bar("planted bugs that tinygraph misses", sum(map(len, ours["missed"].values())), 0, ""),
               Bar("correct rules that tinygraph accuses", sum(map(len, ours["accused"].values())), 0, "")], numbers)
