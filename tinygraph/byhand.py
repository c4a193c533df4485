"""The documents' network, derived by hand, in plain NumPy.

This module knows one model: linear layers with ReLU between them, a softmax at the end, and the mean negative
log-likelihood as its loss. It knows nothing of the engine. Every gradient below was worked out on paper, so the module
is what `tinygraph.classifier`, the same network assembled from graph nodes, is compared with: its numbers are the
reference for correctness, and its step time is the reference for speed. What both need in the same form, such as the
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
    "check_rate",
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
    x = np.asarray(X)
    return np.asarray(x > 0, dtype=x.dtype)


def one_hot_convert(t: ArrayLike, n_classes: int) -> NDArray[np.int_]:
    """One column per label: T[k, i] is 1 if sample i has label k, else 0.

    `t` is (n,) or (1, n), integers in [0, n_classes); the result is an integer array (n_classes, n).
    Raises ValueError if there is no label, or one that is not an integer in that range.
    """
    n = np.size(t)
    if n == 0:
        raise ValueError("t holds no labels")
    T = np.zeros((n_classes, n), dtype=int)
    T[check_labels(t, n, n_classes), np.arange(n)] = 1
    return T


def he_weights(n_inputs: int, n_outputs: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Weights (n_outputs, n_inputs) drawn from `rng` as He et al. (2015) propose: N(0, 1) * sqrt(2 / n_inputs)."""
    return rng.standard_normal((n_outputs, n_inputs)) * math.sqrt(2 / n_inputs)


def check_units(units: Iterable[int]) -> list[int]:
    """`units` as a list of Python ints; ValueError unless it has two or more of them, all positive."""
    try:
        given = list(units)
        sizes = [operator.index(size) for size in given]
    except TypeError:
        given, sizes = [], []
    if len(sizes) < 2 or min(sizes) < 1 or any(isinstance(size, bool | np.bool) for size in given):
        raise ValueError(f"units must be two or more positive integers, from inputs to classes, not {units!r}")
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
    finite = np.isfinite(array).ravel("K")
    if not finite[finite.argmin()]:  # argmin finds the first False, if any, in half the time of all()
        bad = np.argwhere(~np.isfinite(array))
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
    A = as_float(X, "X")
    if A.ndim != 2:
        raise ValueError(f"X must have two axes, features and samples, but its shape is {A.shape}")
    if A.shape[0] != n_features:
        raise ValueError(f"X must have {n_features} features (rows, one sample per column), not {A.shape[0]}")
    if A.shape[1] == 0:
        raise ValueError("X holds no samples")
    check_finite(A, "X")
    return A


def check_labels(t: ArrayLike, n: int, n_classes: int) -> NDArray[np.intp]:
    """`t`, of shape (n,) or (1, n), as an array (n,) of indices; not copied if it is one already.

    Raises ValueError if the number of labels is not `n`, or if one is not an integer in [0, n_classes).
    """
    labels = np.asarray(t)
    if labels.shape == (1, n):
        labels = labels[0]
    if labels.shape != (n,):
        raise ValueError(f"t must hold one label for each of the {n} samples, but its shape is {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not values of dtype {labels.dtype}")
    index = labels if labels.dtype == np.intp else labels.astype(np.intp)
    if np.maximum.reduce(index.view(np.uintp)) >= n_classes:  # read as unsigned, a negative label is huge: one pass
        first = np.flatnonzero((labels < 0) | (labels >= n_classes))[0]
        raise ValueError(f"label {labels[first]} of sample {first} is outside the range [0, {n_classes})")
    return index


def check_rate(lr: float) -> float:
    """`lr` if it is a finite number >= 0; ValueError otherwise."""
    if not 0 <= lr < math.inf:
        raise ValueError(f"lr must be a finite number >= 0, not {lr!r}")
    return lr


class Linear:
    """A linear layer, Z = W A + b, with its parameters and their gradients.

    W is (n_outputs, n_inputs) and starts as `he_weights`; b is (n_outputs, 1) and starts at zero. Both are plain
    arrays: write into them, or assign new ones. Integers and lists become float64, an array of floats is kept (float32
    stays float32), and a wrong shape or a value that is not finite raises ValueError. dW and db have the shapes and
    dtypes of W and b; they are None until `NNClassifier.backward` sets them. `rng` is a seed, a NumPy Generator or
    None.
    """

    def __init__(self, n_inputs: int, n_outputs: int, rng: Seed = None) -> None:
        n_inputs, n_outputs = check_units([n_inputs, n_outputs])
        self._W: FloatArray = he_weights(n_inputs, n_outputs, np.random.default_rng(rng))
        self._b: FloatArray = np.zeros((n_outputs, 1))
        self._dW: Any = None  # an array like W, once backward has run
        self._db: Any = None

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

    @property
    def dW(self) -> FloatArray | None:
        return self._dW

    @dW.setter
    def dW(self, values: ArrayLike | None) -> None:
        self._dW = None if values is None else check_parameter(values, self._W.shape, "dW")

    @property
    def db(self) -> FloatArray | None:
        return self._db

    @db.setter
    def db(self, values: ArrayLike | None) -> None:
        self._db = None if values is None else check_parameter(values, self._b.shape, "db")

    def __call__(self, A: FloatArray) -> FloatArray:
        """The new array Z = W A + b, (n_outputs, n), for the inputs A, (n_inputs, n)."""
        Z: FloatArray = self._W.dot(A)  # for small matrices, half the overhead of @
        Z += self._b
        return Z


class NNClassifier:
    """A classifier with `units[0]` inputs, `units[-1]` classes and ReLU layers of the sizes between them.

    The samples are the columns of X, (units[0], n); their labels t are integers, (n,) or (1, n). `rng` is a seed, a
    NumPy Generator or None: the same seed gives the same weights, here and in `tinygraph.classifier`. If X and all
    parameters are float32, so is everything computed from them. Bad `units` and bad data raise ValueError and change
    nothing.
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
            A = np.zeros(Z.shape, Z.dtype)  # an array of zeros: NumPy's maximum is slower with a scalar
            np.maximum(A, Z, out=A)  # A_l = f(Z_l) = max(0, Z_l)
            inputs.append(A)
        return self.layers[-1](A), inputs  # Z_L = W_L A_{L-1} + b_L

    def forward(self, X: ArrayLike) -> FloatArray:
        """The logits Z_L, (n_classes, n), for the samples X, (units[0], n). The largest names the likeliest class."""
        return self._logits(check_batch(X, self.units[0]))[0]

    def forward_probs(self, X: ArrayLike) -> FloatArray:
        """The probabilities p(C_i | x) = exp(z_i) / sum_j exp(z_j), (n_classes, n), for the samples X, (units[0], n).

        Both this and `forward` raise ValueError as `loss` does if X has the wrong shape or is not finite.
        """
        E, total = _exponentials(self.forward(X))
        E /= total
        return E

    def loss(self, X: ArrayLike, t: ArrayLike) -> np.floating[Any]:
        """The mean over the batch of -log p(C_k | x), for the samples X, (units[0], n), and their labels t.

        Keeps what `backward` needs (the array X itself, not a copy of it). Raises ValueError for a wrong number of
        features or labels, labels outside [0, n_classes), an empty batch, or values in X that are not finite.
        """
        A = check_batch(X, self.units[0])
        n = A.shape[1]
        k = check_labels(t, n, self.n_classes)
        weights = [layer.W for layer in self.layers]
        Z, inputs = self._logits(A)
        E, total = _exponentials(Z)
        target = k * n + np.arange(n)  # where z_k of each sample is in the flat Z
        losses = np.log(total)
        losses -= Z.take(target)  # -z_k + log sum_j exp(z_j)
        share = np.empty(n, Z.dtype)
        share.fill(1 / n)  # of each sample in the mean
        self._kept = inputs, weights, E, total, target, share
        mean: np.floating[Any] = losses.dot(share)  # weighted before they are summed: finite losses have a finite mean
        return mean

    def backward(self) -> None:
        """Set dW and db of every layer to the gradients of the last `loss`, at the weights it used
        (arrays written into since are seen as they are now).

        Raises RuntimeError if no loss has been computed.
        """
        if self._kept is None:
            raise RuntimeError("backward() needs a loss to differentiate: call loss(X, t) first")
        inputs, weights, E, total, target, share = self._kept
        n = len(share)
        ones = np.empty((n, 1), E.dtype)
        ones.fill(1)
        dZ = E * (share / total)  # dZ_L = (exp(Z_L) / sum_j exp(z_j) - T) / n, so all gradients are means
        dZ.reshape(-1)[target] -= 1 / n
        for l in range(len(inputs) - 1, -1, -1):
            layer, W, A = self.layers[l], weights[l], inputs[l]
            dW = dZ.dot(A.T)  # dW_l = dZ_l A_{l-1}^T
            db = dZ.dot(ones)  # db_l = dZ_l 1, the sum over the samples
            layer._dW = dW if dW.dtype is W.dtype else dW.astype(W.dtype)  # a step never widens a network
            layer._db = db if db.dtype is layer.b.dtype else db.astype(layer.b.dtype)
            if l > 0:
                dZ = W.T.dot(dZ)  # dA_{l-1} = W_l^T dZ_l
                dZ *= np.sign(A)  # dZ_{l-1} = f'(Z_{l-1}) * dA_{l-1}; A = f(Z) >= 0, so f'(Z) is its sign


def _exponentials(Z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """exp(Z) and the sum of each of its columns, after subtracting from each column of Z, in place, its maximum.

    The shift changes neither the softmax nor log sum_j exp(z_j) - z_k, and keeps exp from overflowing.
    """
    Z -= np.maximum.reduce(Z, axis=0)
    E = np.exp(Z)
    return E, np.add.reduce(E, axis=0)


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
        layers = self.model.layers
        for layer in layers:
            if layer._dW is None or layer._db is None:
                raise RuntimeError("step() needs gradients: call loss(X, t) and backward() first")
        factor = -float(self.lr)  # a NumPy scalar would widen float32
        for layer in layers:
            layer._W = factor * layer._dW + layer._W  # in this order NumPy adds into the product, if it is large
            layer._b = factor * layer._db + layer._b
