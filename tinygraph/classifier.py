"""The documents' network, assembled from graph nodes: `MatMul`, `AddBias`, `ReLU`, `LogSoftmaxNLL`.

It offers the names and the behaviour of `tinygraph.byhand`, and shares its initial weights and its checks of the data.
What is missing here is the derivation: the forward pass is written down, and `backward` is a sweep over the tape.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .byhand import (
    FloatArray,
    Seed,
    check_batch,
    check_labels,
    check_parameter,
    check_rate,
    check_units,
    d_relu,
    he_weights,
    one_hot_convert,
)
from .byhand import relu as relu_by_hand
from .node import Node, Parameter
from .ops import AddBias, LogSoftmaxNLL, MatMul, ReLU
from .tape import backprop

__all__ = ["SGD", "Linear", "NNClassifier", "d_relu", "he_weights", "one_hot_convert", "relu"]


def relu(X: Any) -> Any:
    """The activation f(x) = max(0, x), elementwise: an array for an array, a node for a node."""
    return ReLU(X) if isinstance(X, Node) else relu_by_hand(X)


class Linear:
    """A linear layer, Z = W A + b, with its two parameters.

    W is (n_outputs, n_inputs) and starts as `he_weights`; b is (n_outputs, 1) and starts at zero. Both are plain
    arrays: write into them, or assign new ones. Integers and lists become float64, an array of floats is kept (float32
    stays float32), and a wrong shape or a value that is not finite raises ValueError. dW and db are their gradients,
    None until `NNClassifier.backward` sets them. `parameters` are the nodes behind. `rng` is a seed, a Generator or
    None; `number` is the layer's number in the names of the nodes.
    """

    def __init__(self, n_inputs: int, n_outputs: int, rng: Seed = None, number: int | str = "") -> None:
        n_inputs, n_outputs = check_units([n_inputs, n_outputs])
        arrays = he_weights(n_inputs, n_outputs, np.random.default_rng(rng)), np.zeros((n_outputs, 1))
        self.parameters = Parameter(arrays[0], name=f"W{number}"), Parameter(arrays[1], name=f"b{number}")
        for parameter, array in zip(self.parameters, arrays, strict=True):
            parameter.assign(array)  # not a copy: a layer's arrays may be written into

    def __call__(self, A: Any) -> Node:
        """The node Z (n_outputs, n) for the inputs A (n_inputs, n), an array or a node."""
        W, b = self.parameters
        return AddBias(MatMul(W, A), b)

    @property
    def W(self) -> FloatArray:
        return self.parameters[0].current()._value

    @W.setter
    def W(self, values: ArrayLike) -> None:
        self.parameters[0].assign(check_parameter(values, self.W.shape, "W"))

    @property
    def b(self) -> FloatArray:
        return self.parameters[1].current()._value

    @b.setter
    def b(self, values: ArrayLike) -> None:
        self.parameters[1].assign(check_parameter(values, self.b.shape, "b"))

    @property
    def dW(self) -> FloatArray | None:
        return self.parameters[0].grad

    @dW.setter
    def dW(self, values: ArrayLike | None) -> None:
        self.parameters[0].grad = values

    @property
    def db(self) -> FloatArray | None:
        return self.parameters[1].grad

    @db.setter
    def db(self, values: ArrayLike | None) -> None:
        self.parameters[1].grad = values


class NNClassifier:
    """A classifier with `units[0]` inputs, `units[-1]` classes and ReLU layers of the sizes between them.

    The samples are the columns of X, (units[0], n); their labels t are integers, (n,) or (1, n). `rng` is a seed, a
    Generator or None: the same seed gives the same weights, here and in `tinygraph.byhand`. If X and all parameters
    are float32, so is everything computed from them. Bad `units` and bad data raise ValueError and change nothing.
    """

    def __init__(self, units: Iterable[int], rng: Seed = None) -> None:
        self.units = check_units(units)
        self.n_classes = self.units[-1]
        generator = np.random.default_rng(rng)
        self.layers = [Linear(*sizes, generator, number)
                       for number, sizes in enumerate(zip(self.units[:-1], self.units[1:], strict=True), 1)]
        self._loss: Node | None = None

    def __getstate__(self) -> dict[str, Any]:  # a copy has the parameters, and no graph
        return {**self.__dict__, "_loss": None}

    @property
    def parameters(self) -> list[Parameter]:
        """W1, b1, W2, b2, ...: the nodes behind the arrays of the layers."""
        return [parameter for layer in self.layers for parameter in layer.parameters]

    def logits_node(self, X: ArrayLike) -> Node:
        """The logits Z_L, (n_classes, n), as a node, for the samples X, (units[0], n): an array, or a node."""
        if isinstance(X, Node) and (X.ndim != 2 or X.shape[0] != self.units[0]):
            raise ValueError(f"X must have shape ({self.units[0]}, n), but its shape is {X.shape}")
        Z: Any = X if isinstance(X, Node) else check_batch(X, self.units[0])
        for layer in self.layers[:-1]:
            Z = ReLU(layer(Z))
        return self.layers[-1](Z)

    def loss_node(self, X: ArrayLike, t: ArrayLike) -> Node:
        """The loss as a node: print `tg.Tape(node)`, sweep it, compile it, or build further on it.

        X and t may be nodes; their values are then not checked, except that the labels are classes.
        """
        Z = self.logits_node(X)
        return LogSoftmaxNLL(Z, t if isinstance(t, Node) else check_labels(t, Z.shape[1], self.n_classes), axis=0)

    def forward(self, X: ArrayLike) -> FloatArray:
        """The logits Z_L, (n_classes, n), for the samples X, (units[0], n). The largest names the likeliest class."""
        return self.logits_node(X)._value

    def forward_probs(self, X: ArrayLike) -> FloatArray:
        """The probabilities p(C_i | x) = exp(z_i) / sum_j exp(z_j), (n_classes, n), of the samples X, (units[0], n)."""
        Z = self.forward(X)
        E = np.exp(Z - Z.max(axis=0))
        return E / E.sum(axis=0)

    def loss(self, X: ArrayLike, t: ArrayLike) -> np.floating[Any]:
        """The mean over the batch of -log p(C_k | x), for the samples X, (units[0], n), and their labels t.

        Keeps the graph for `backward` (with the array X itself, not a copy of it). Raises ValueError for a wrong number
        of features or labels, labels outside [0, n_classes), an empty batch, or values in X that are not finite.
        """
        self._loss = self.loss_node(X, t)
        return self._loss._value

    def backward(self) -> None:
        """Set dW and db of every layer to the gradients of the last `loss`, at the weights it used
        (arrays written into since are seen as they are now).

        Raises RuntimeError if no loss has been computed.
        """
        if self._loss is None:
            raise RuntimeError("backward() needs a loss to differentiate: call loss(X, t) first")
        backprop(self._loss)


class SGD:
    """Stochastic gradient descent: each step moves every parameter by -lr times its gradient.

    `lr` is a number >= 0 (ValueError otherwise), and may be assigned between steps.
    """

    def __init__(self, model: NNClassifier, lr: float) -> None:
        self.model = model
        self.lr = check_rate(lr)

    def step(self) -> None:
        """Rebind W and b of every layer to new arrays, W - lr dW and b - lr db.

        Raises RuntimeError if a gradient is missing, before anything has changed.
        """
        lr = float(self.lr)  # a NumPy scalar would widen float32
        parameters = self.model.parameters
        for parameter in parameters:
            if parameter._grad is None:
                raise RuntimeError("step() needs gradients: call loss(X, t) and backward() first")
        for parameter in parameters:
            step = -lr * parameter._grad  # type: ignore[operator]
            step += parameter._version._value
            parameter.assign(step)
