"""The documents' network, derived by hand, in plain NumPy.

This module knows one model: a stack of linear layers with ReLU between them, a softmax at the end, and the mean negative
log-likelihood as its loss. It knows nothing of the engine. Every gradient below was worked out on paper, so the module
is what `tinygraph.classifier`, the same network assembled from graph nodes, is compared with: its numbers are the
reference for correctness and its step time is the reference for speed. What both networks need in the same form, such as
initial weights and the checks on data, is a small function here that the other one imports.

Notation, with samples in columns: A_0 = X, and for the layers l = 1, ..., L

    Z_l = W_l A_{l-1} + b_l,    A_l = f(Z_l) for l < L,    f(x) = max(0, x)

The logits Z_L of one sample are z_1, ..., z_K; its label is k, and T has a one in row k of its column.
"""

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "SGD",
    "Linear",
    "NNClassifier",
    "check_batch",
    "check_labels",
    "check_parameter",
    "check_units",
    "d_relu",
    "he_weights",
    "one_hot_convert",
    "relu",
]

FloatArray = NDArray[np.floating[Any]]
Seed = int | np.random.Generator | None


def relu(X: ArrayLike) -> NDArray[Any]:
    """The activation f(x) = max(0, x), elementwise; shape and dtype are those of `X`."""
    return np.asarray(np.maximum(X, 0))


def d_relu(X: ArrayLike) -> NDArray[Any]:
    """The derivative of `relu`: 1 where x > 0 and 0 where x <= 0; shape and dtype are those of `X`."""
    X = np.asarray(X)
    return np.asarray(X > 0).astype(X.dtype)


def one_hot_convert(t: ArrayLike, n_classes: int) -> NDArray[np.int_]:
    """One column per label: T[k, i] is 1 if sample i has label k, else 0.

    `t` is (n,) or (1, n), integers in [0, n_classes); the result is an integer array (n_classes, n).
    Raises ValueError if there is no label, or one that is not an integer in that range.
    """
    t = np.asarray(t)
    if t.size == 0:
        raise ValueError("t holds no labels")
    t = check_labels(t, t.size, n_classes)
    T = np.zeros((n_classes, t.size), dtype=int)
    T[t, np.arange(t.size)] = 1
    return T


def he_weights(n_inputs: int, n_outputs: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Weights (n_outputs, n_inputs) drawn from `rng` as He et al. (2015) propose: N(0, 1) * sqrt(2 / n_inputs)."""
    return rng.standard_normal((n_outputs, n_inputs)) * math.sqrt(2 / n_inputs)


def check_units(units: Iterable[int]) -> list[int]:
    """`units` as a list of Python ints; ValueError unless it has two or more of them, all positive."""
    try:
        sizes = [operator.index(size) for size in units if not isinstance(size, bool)]
        valid = len(sizes) == len(list(units)) >= 2 and min(sizes) > 0
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(f"units must be two or more positive integers, from the input to the output, not {units!r}")
    return sizes


def as_float(values: ArrayLike, name: str) -> FloatArray:
    """`values` as an array of floats: unchanged if it is one, float64 if it holds integers, else ValueError."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    raise ValueError(f"{name} must hold real numbers, not values of dtype {array.dtype}")


def check_finite(array: FloatArray, name: str) -> None:
    """Raise ValueError if `array` holds a NaN or an infinity, saying how many and where the first is."""
    x = array.ravel("K")
    if math.isfinite(x.dot(x)):  # one cheap pass: a finite sum of squares has finite terms only
        return
    bad = np.argwhere(~np.isfinite(array))  # the sum overflows for large finite values too: look at each
    if len(bad):
        place = ", ".join(map(str, bad[0]))
        raise ValueError(f"{name} must be finite: {len(bad)} of its {array.size} values are not, first {name}[{place}]")


def check_parameter(values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    """`values` as a writable array of finite floats of the given shape; an array that is one already is kept as it is.

    Raises ValueError otherwise; `name` is what the message calls it.
    """
    array = as_float(values, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    check_finite(array, name)
    return array if array.flags.writeable else np.array(array)


def check_batch(X: ArrayLike, n_features: int) -> FloatArray:
    """`X` as an array of floats (n_features, n), not copied if it is one already.

    Raises ValueError if `X` is not two-dimensional, has another number of features or no sample, or is not finite.
    """
    X = as_float(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X must have two axes, features and samples, but its shape is {X.shape}")
    if X.shape[0] != n_features:
        raise ValueError(f"X must have {n_features} features (rows, one sample per column), not {X.shape[0]}")
    if X.shape[1] == 0:
        raise ValueError("X holds no samples")
    check_finite(X, "X")
    return X


def check_labels(t: ArrayLike, n: int, n_classes: int) -> NDArray[np.intp]:
    """`t`, of shape (n,) or (1, n), as an array (n,) of indices; not copied if it is one already.

    Raises ValueError if the number of labels is not `n`, or if one is not an integer in [0, n_classes).
    """
    t = np.asarray(t)
    if t.shape != (n,):
        if t.shape != (1, n):
            raise ValueError(f"t must hold one label for each of the {n} samples, but its shape is {t.shape}")
        t = t[0]
    if t.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not values of dtype {t.dtype}")
    labels = t if t.dtype == np.intp else t.astype(np.intp)
    if np.maximum.reduce(labels.view(np.uintp)) >= n_classes:  # read as unsigned, a negative label is huge: one pass
        first = np.flatnonzero((t < 0) | (t >= n_classes))[0]
        raise ValueError(f"label {t[first]} of sample {first} is outside the range [0, {n_classes})")
    return labels


class Linear:
    """A linear layer, Z = W A + b, with its parameters and their gradients.

    W is (n_outputs, n_inputs) and starts as `he_weights`; b is (n_outputs, 1) and starts at zero. Both are plain arrays:
    write into them, or assign new ones. Integers and lists become float64, an array of floats is kept (float32 stays
    float32), and a wrong shape or a value that is not finite raises ValueError. dW and db have the shapes and dtypes of
    W and b; they are None until `NNClassifier.backward` sets them. `rng` is a seed, a NumPy Generator or None.
    """

    def __init__(self, n_inputs: int, n_outputs: int, rng: Seed = None) -> None:
        n_inputs, n_outputs = check_units([n_inputs, n_outputs])
        self._W: FloatArray = he_weights(n_inputs, n_outputs, np.random.default_rng(rng))
        self._b: FloatArray = np.zeros((n_outputs, 1))
        self.dW: FloatArray | None = None
        self.db: FloatArray | None = None

    @property
    def W(self) -> FloatArray:
        return self._W

    @W.setter
    def W(self, values: ArrayLike) -> None:
        self._W = check_parameter(values, self._W.shape, "W")

    @property
    def b(self) -> FloatArray:
        return self._b

    @b.setter
    def b(self, values: ArrayLike) -> None:
        self._b = check_parameter(values, self._b.shape, "b")

    def __call__(self, A: FloatArray) -> FloatArray:
        """The new array Z = W A + b, (n_outputs, n), for the inputs A, (n_inputs, n)."""
        Z: FloatArray = self._W.dot(A)  # for small matrices, half the overhead of @
        Z += self._b
        return Z


class NNClassifier:
    """A classifier with `units[0]` inputs, `units[-1]` classes and ReLU layers of the sizes between them.

    The samples are the columns of X, (units[0], n); their labels t are integers, (n,) or (1, n). `rng` is a seed, a NumPy
    Generator or None: the same seed gives the same weights, here and in `tinygraph.classifier`. If X and all parameters
    are float32, so is everything computed from them. Bad `units` and bad data raise ValueError and change nothing.
    """

    def __init__(self, units: Iterable[int], rng: Seed = None) -> None:
        self.units = check_units(units)
        self.n_classes = self.units[-1]
        generator = np.random.default_rng(rng)
        self.layers = [Linear(*sizes, generator) for sizes in zip(self.units[:-1], self.units[1:], strict=True)]
        self._kept: tuple[Any, ...] | None = None  # by loss for backward

    def _logits(self, X: FloatArray) -> tuple[FloatArray, list[FloatArray]]:
        """Z_L, a new array, and the inputs of the layers, A_0 to A_{L-1}."""
        A, inputs = X, [X]  # A_0 = X
        for layer in self.layers[:-1]:
            Z = layer(A)  # Z_l = W_l A_{l-1} + b_l
            A = np.maximum(Z, 0.0, out=Z)  # A_l = f(Z_l)
            inputs.append(A)
        return self.layers[-1](A), inputs  # Z_L = W_L A_{L-1} + b_L

    def forward(self, X: ArrayLike) -> FloatArray:
        """The logits Z_L, (n_classes, n), for the samples X, (units[0], n). The largest names the likeliest class."""
        return self._logits(check_batch(X, self.units[0]))[0]

    def forward_probs(self, X: ArrayLike) -> FloatArray:
        """The probabilities p(C_i | x) = exp(z_i) / sum_j exp(z_j), (n_classes, n), for the samples X, (units[0], n)."""
        E, total = _exponentials(_shift(self.forward(X)))
        E /= total
        return E

    def loss(self, X: ArrayLike, t: ArrayLike) -> np.floating[Any]:
        """The mean over the batch of -log p(C_k | x), for the samples X, (units[0], n), and their labels t.

        Keeps what `backward` needs (the array X itself, not a copy of it). Raises ValueError for a wrong number of
        features or labels, labels outside [0, n_classes), an empty batch, or values in X that are not finite.
        """
        X = check_batch(X, self.units[0])
        n = X.shape[1]
        t = check_labels(t, n, self.n_classes)
        weights = [layer.W for layer in self.layers]
        Z, inputs = self._logits(X)
        Z = _shift(Z)
        target = t * n + np.arange(n)  # where z_k of each sample is in the flat array
        z_k = Z.take(target)
        E, total = _exponentials(Z)
        losses = np.log(total)
        losses -= z_k  # -z_k + log sum_j exp(z_j)
        losses /= n  # divided before they are summed: finite losses have a finite mean
        self._kept = inputs, weights, E, total, target
        return np.add.reduce(losses)

    def backward(self) -> None:
        """Set dW and db of every layer to the gradients of the last `loss`, at the weights it used.

        Raises RuntimeError if no loss has been computed.
        """
        if self._kept is None:
            raise RuntimeError("backward() needs a loss to differentiate: call loss(X, t) first")
        inputs, weights, E, total, target = self._kept
        n = total.size
        ones = np.ones((n, 1), E.dtype)
        dZ = E / (total * n)  # dZ_L = (exp(Z_L) / sum_j exp(z_j) - T) / n, so the gradients below are averages
        dZ.reshape(-1)[target] -= 1 / n
        for layer, W, A in zip(self.layers[::-1], weights[::-1], inputs[::-1], strict=True):
            layer.dW = _as_type_of(W, dZ.dot(A.T))  # dW_l = dZ_l A_{l-1}^T
            layer.db = _as_type_of(layer.b, dZ.dot(ones))  # db_l = the sum of the columns of dZ_l
            if A is not inputs[0]:
                dZ = W.T.dot(dZ)  # dA_{l-1} = W_l^T dZ_l
                dZ *= A > 0  # dZ_{l-1} = f'(Z_{l-1}) * dA_{l-1}, and A is positive where Z is


def _shift(Z: FloatArray) -> FloatArray:
    """Subtract its maximum from every column of Z, in place: the softmax is the same, and exp cannot overflow."""
    Z -= np.maximum.reduce(Z, axis=0)
    return Z


def _exponentials(Z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """exp(Z), written over Z, and the sum of each of its columns."""
    E = np.exp(Z, out=Z)
    return E, np.add.reduce(E, axis=0)


def _as_type_of(parameter: FloatArray, gradient: FloatArray) -> FloatArray:
    """The gradient in the dtype of its parameter, so that a step never widens a network."""
    return gradient if gradient.dtype == parameter.dtype else gradient.astype(parameter.dtype)


class SGD:
    """Stochastic gradient descent: each step moves every parameter by -lr times its gradient.

    `lr` is a number >= 0 (ValueError otherwise), and may be assigned between steps.
    """

    def __init__(self, model: NNClassifier, lr: float) -> None:
        if not 0 <= lr < math.inf:
            raise ValueError(f"lr must be a finite number >= 0, not {lr!r}")
        self.model = model
        self.lr = lr

    def step(self) -> None:
        """Rebind W and b of every layer to new arrays, W - lr dW and b - lr db.

        Raises RuntimeError if a gradient is missing, before anything has changed.
        """
        lr = float(self.lr)  # a NumPy scalar would widen float32
        layers = self.model.layers
        for layer in layers:
            if layer.dW is None or layer.db is None:
                raise RuntimeError("step() needs gradients: call loss(X, t) and backward() first")
        for layer in layers:
            layer._W = layer._W - lr * layer.dW
            layer._b = layer._b - lr * layer.db
