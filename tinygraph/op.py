"""Ops: nodes that remember their inputs, and the contract of forward and backward.

An op is two plain NumPy functions. Positional arguments are data, keyword-only arguments are static options:

    class Square(Op):
        def forward(self, x): return x * x
        def backward(self, grad, y, x): return 2 * grad * x

`forward` returns the output, or a tuple: the output, then what `backward` wants kept. `backward` gets the gradient by
the output, the output, the inputs and what was kept, and returns one gradient per input: a value, a thunk
(`lambda: ...`, called only if that input wants its gradient) or None. Both run on arrays and on nodes; on nodes
NumPy's protocols turn each step into primitive ops, which is how a fused op expands and how a backward is
differentiated again.

A `Primitive` is where the expansion ends; an `Elementwise` is a primitive that broadcasts. This module does not know in
which order gradients travel: that is the tape's business.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from .definition import OpSignature, checked_output, numpy_call, plain_input, read_definition, recovered
from .node import TRACING, TWINS, WATCHER, Node, Value, next_serial


class Op(Value):
    """A node computed from other nodes. `MatMul(W, X)` computes W @ X and *is* the node.

    Subclasses write `forward` and usually `backward` (see the module); a mistake in them is a TypeError when the class
    is defined. Without `backward` the gradient comes from the expansion. `expand`, if given, is `forward` in the form
    that is to be traced, for a forward that is fastest written in a way that cannot be (it calls a C library, or takes
    another branch at a kink).
    """

    __slots__ = ("kept", "options")

    options: dict[str, Any]
    kept: tuple[Any, ...]

    # The claims of a class about itself, for subclasses to change.
    broadcasts: ClassVar[bool] = False  # a gradient may have the broadcast shape; the tape sums it
    selecting: ClassVar[bool] = False  # takes some entries and leaves others: below it, 0 * inf is 0 (see `tape`)
    elementwise: ClassVar[bool] = False  # each entry of the output comes from one entry of each input
    differentiable: ClassVar[bool] = True  # False: the output is piecewise constant and wants no gradient
    traceable: ClassVar[bool] = True  # False for a primitive: it does not expand
    adds_in_place: ClassVar[bool] = False  # has `add_to(total, grad)`: adds its gradient into a part of its input's

    formula: ClassVar[str] = ""  # how `derive` writes the op: see `derivation.expression`

    # How a batch goes through, for ops that do not expand: see `batching`.
    batch: ClassVar[Callable[..., Any] | None] = None

    # What the definition says, read off when the class is made.
    forward: ClassVar[Callable[..., Any]]
    expand: ClassVar[Callable[..., Any]]
    rule: ClassVar[Callable[..., Any] | None] = None  # the backward that was written, called by the tape
    plain: ClassVar[bool]  # the sweep may go through `push`
    calm: ClassVar[bool]  # and nothing changes for the ops below
    n_inputs: ClassVar[int | None]  # None: any number
    n_kept: ClassVar[int] = 0
    option_names: ClassVar[frozenset[str]]
    signature: ClassVar[tuple[tuple[str, ...], dict[str, Any]]]  # names of the inputs; options and their defaults
    __signature__ = OpSignature()
    push: ClassVar[Callable[..., None]]  # the sweep's step through this op in the plain case (see `definition`)

    def __init_subclass__(cls, twin: Any = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if (final := next((base for base in cls.__mro__[1:] if "forward" in vars(base)), None)) is not None:
            raise TypeError(f"{cls.__name__} cannot extend {final.__name__}: an op that has a forward is final")
        if "forward" in vars(cls):
            read_definition(cls)
            if twin is None and issubclass(cls, Primitive) and not isinstance(cls.forward, FunctionType):
                twin = cls.forward
        if twin is not None:
            known = TWINS.get(twin, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):  # a notebook may
                raise TypeError(f"{cls.__name__}: np.{twin.__name__} on nodes is {known.__qualname__} already")
            TWINS[twin] = cls if isinstance(twin, np.ufunc) else numpy_call(cls, twin)

    def __init__(self, *inputs: Any, **options: Any) -> None:
        if not hasattr(self, "forward"):
            raise TypeError(f"{type(self).__name__} is abstract: it has no forward")
        resolved = [(x, x._value, x.needs_grad) if isinstance(x, Value) else plain_input(x) for x in inputs]
        self.inputs = tuple(x for x, _, _ in resolved)
        try:
            self._value = checked_output(self, self.forward(*(value for _, value, _ in resolved), **options))
        except Exception as error:
            self._value = recovered(error, self, self.inputs, options)
        self.needs_grad = (self.differentiable and any(needs for _, _, needs in resolved)
                           and self._value.dtype.kind in "fc")
        self.serial = next_serial()
        self.options = options
        if (watcher := WATCHER.get()) is not None:
            watcher.built(self)

    def pull(self, grad: Any) -> Any:
        """What the rule returns on arrays, for a gradient by this op's output."""
        values = [x._value if isinstance(x, Value) else x for x in self.inputs]
        kept = self.kept if self.n_kept else ()
        return self.rule(grad, self._value, *values, *kept, **getattr(self, "options", {}))  # type: ignore[misc]

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """On arrays what `forward` returns, on nodes the op: for use inside rules, where NumPy has no such function."""
        for x in inputs:
            if isinstance(x, Node):
                return cls(*inputs, **options)
        if isinstance(cls.forward, FunctionType):
            return cls.forward(None, *inputs, **options)
        return cls.forward(*inputs, **options)

    def pull_traced(self, grad: Node) -> Any:
        """What the rule returns on nodes: what forward kept is traced again, so that second order is right."""
        options = getattr(self, "options", {})
        kept = run_traced(self, self.expand, *self.inputs, **options)[1:] if self.n_kept else ()
        return run_traced(self, self.rule, grad, self, *self.inputs, *kept, **options)  # type: ignore[arg-type]


class Primitive(Op):
    """An op that does not expand. If `forward` is a NumPy function, or one is named with `twin=`, that function makes
    this op when it meets a node."""

    __slots__ = ()
    traceable = False


class Elementwise(Primitive):
    """A primitive that works entry by entry and broadcasts; its gradients may have the broadcast shape."""

    __slots__ = ()
    broadcasts = True
    elementwise = True


def run_traced(op: Op, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """`function`, a rule, a thunk or an expansion of `op`, on nodes; says so if it cannot be traced."""
    token = TRACING.set(True)
    try:
        return function(*arguments, **options)
    except (TypeError, NotImplementedError, AttributeError) as error:
        raise type(error)(f"{type(op).__name__} cannot be traced, as a second derivative or a missing backward needs: "
                          f"its forward and backward must use NumPy functions that work on nodes, or the class must "
                          f"bring an `expand` or a `backward` that does. {error}") from error
    finally:
        TRACING.reset(token)
