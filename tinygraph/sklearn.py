"""Networks as estimators of scikit-learn: `TinygraphClassifier` and `TinygraphRegressor`. Needs the extra `data`.

They stand wherever scikit-learn's own do: in pipelines, searches, cross validation and ensembles. scikit-learn checks
what they are given, `tinygraph.nn` is what they compute, and `tinygraph.training.fit` is how they learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from . import nn, training
from .by_name import ACTIVATIONS, OPTIMIZERS, SCHEDULES, groups, multilayer

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, compute_sample_weight
    from sklearn.utils._param_validation import Interval, StrOptions
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ModuleNotFoundError("tinygraph.sklearn needs scikit-learn 1.6 or newer: in a checkout of tinygraph, "
                              'pip install -e ".[data]"') from error

__all__ = ["TinygraphClassifier", "TinygraphRegressor"]


class _Network(BaseEstimator):
    """What both estimators have in common. Subclasses say what the targets are, and what the loss is."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS)), callable],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "l2": [Interval(Real, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions(set(SCHEDULES)), callable],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "network": [None, callable],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["boolean"],
    }
    _loss: ClassVar[Callable[..., Any]]

    def __init__(self, hidden_layer_sizes: Any = (100,), *, activation: Any = "relu", dropout: float = 0.0,
                 batch_norm: bool = False, l2: float = 1e-4, optimizer: Any = "adam", learning_rate: float = 1e-3,
                 schedule: Any = "constant", batch_size: int = 200, max_iter: int = 200, tol: float = 1e-4,
                 n_iter_no_change: int = 10, early_stopping: bool = False, validation_fraction: float = 0.1,
                 network: Any = None, warm_start: bool = False, random_state: Any = None,
                 verbose: bool = False) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.l2 = l2
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.network = network
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Learn from X (n, features) and y.

        sample_weight: (n,), how much each sample counts in the loss.
        """
        self._validate_params()
        again = self.warm_start and hasattr(self, "network_")
        X, targets, weights = self._checked(X, y, sample_weight, not again, not again)
        generator = check_random_state(self.random_state)
        if not again:
            self._begin(targets, X, generator)
        self._start_optimizer(len(X))
        data, validation = _together(X, targets, weights), None
        if self.early_stopping:
            parts = train_test_split(*data, test_size=self.validation_fraction, stratify=self._strata(targets),
                                     random_state=generator)
            data, validation = tuple(parts[::2]), tuple(parts[1::2])
        self.history_ = self._train(data, self.max_iter, self.n_iter_no_change, validation,
                                    int(generator.randint(2**31)))
        self.n_iter_ = len(self.history_)
        self.loss_curve_ = self.history_["loss"]
        self._epochs += self.n_iter_
        if self.history_.stopped == "interrupted":  # fitted as far as it came, but a search must not go on
            raise KeyboardInterrupt
        return self

    def _once(self, X: Any, y: Any, sample_weight: Any, first: bool) -> Any:
        """One epoch from where it is."""
        X, targets, weights = self._checked(X, y, sample_weight, first, False)
        if first:
            self._begin(targets, X, check_random_state(self.random_state))
            self._start_optimizer(len(X))
        self._epochs += 1
        seed = int(self._seed.generate_state(self._epochs)[-1])
        self.history_ = self._train(_together(X, targets, weights), 1, None, None, seed)
        self.n_iter_ = 1
        self.loss_curve_ = [*getattr(self, "loss_curve_", []) * (not first), *self.history_["loss"]]
        return self

    def _begin(self, targets: Any, X: Any, generator: Any) -> None:
        """A new network."""
        self._epochs = 0  # of this network
        self._seed = np.random.SeedSequence(int(generator.randint(2**31)))
        rng = np.random.default_rng(self._seed)
        n_outputs = self._n_outputs(targets)
        make = self.network or self._multilayer
        self.network_ = nn.astype(make(X.shape[1], n_outputs, rng), X.dtype)
        shape = np.shape(nn.inference(self.network_)(X[:2]))
        if shape != (len(X[:2]), n_outputs):
            raise ValueError(f"the network must return {n_outputs} columns, one row a sample; for {len(X[:2])} samples "
                             f"it returns the shape {shape}")

    def _start_optimizer(self, n: int) -> None:
        """A new optimizer, and the schedule from its beginning, for n samples."""
        steps = self.max_iter * math.ceil(n / self.batch_size)
        schedule, optimizer = self.schedule, self.optimizer
        schedule = SCHEDULES[schedule](self.learning_rate, steps) if isinstance(schedule, str) else schedule
        optimizer = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
        self.optimizer_ = optimizer(groups(self.network_, l2=self.l2), schedule)

    def _multilayer(self, n_inputs: int, n_outputs: int, rng: np.random.Generator) -> nn.Sequential:
        activation = ACTIVATIONS[self.activation] if isinstance(self.activation, str) else lambda: self.activation
        sizes: Any = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object)).tolist()
        if not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be integers above 0, not {self.hidden_layer_sizes!r}")
        return nn.Sequential(*multilayer(n_inputs, map(int, sizes), n_outputs, activation=activation,
                                         dropout=self.dropout, batch_norm=self.batch_norm, rng=rng))

    def _train(self, data: tuple[Any, ...], epochs: int, patience: int | None, validation: Any,
               seed: int) -> training.History:
        return training.fit(self.network_, data, loss=self._loss, optimizer=self.optimizer_,
                            epochs=epochs, batch_size=self.batch_size, validation=validation,
                            patience=patience, min_delta=self.tol, seed=seed, progress=self.verbose)

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        found: np.ndarray = nn.inference(self.network_)(X)
        return found

    def _weighted(self, sample_weight: Any, X: Any, *arrays: Any) -> tuple[Any, ...]:
        """The arrays and the weights. Samples of weight 0 are left out: a batch of them would have no mean."""
        if sample_weight is None:
            return X, *arrays, None
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if (counted := weights > 0).all():
            return X, *arrays, weights
        if not counted.any():
            raise ValueError("all samples have the weight 0")
        return X[counted], *[array[counted] for array in arrays], weights[counted]

    def _checked(self, X: Any, y: Any, sample_weight: Any, reset: bool, relabel: bool) -> tuple[Any, Any, Any]:
        """X, the targets and the weights, if any, of the samples that count. relabel: the classes are those of y."""
        raise NotImplementedError

    def _n_outputs(self, targets: Any) -> int:
        raise NotImplementedError

    def _strata(self, targets: Any) -> Any:
        return None


def _together(X: Any, targets: Any, weights: Any) -> tuple[Any, ...]:
    """Data as `training.fit` takes them. Without weights its steps are faster than with ones."""
    return (X, targets) if weights is None else (X, targets, weights)


_PARAMETERS = """
    hidden_layer_sizes: how many units each hidden layer has.
    activation: of the hidden layers: "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid",
        "hardtanh", or a function.
    dropout: the share of units of each hidden layer that a step leaves out.
    batch_norm: whether each hidden layer is normalised over the batch before its activation.
    l2: half of it times the sum of the squares of all weights (not of biases) is added to the loss.
    optimizer: "adam", "adamw", "adamax", "nadam", "sgd", "momentum", "nesterov", "rmsprop", "adagrad", "lion", or a
        function (groups of parameters, lr) -> optimizer.
    learning_rate: the rate, or where a schedule begins or culminates.
    schedule: "constant", "step", "exponential", "cosine", "one_cycle", "warm_up", or a function of the number of steps;
        by name they last max_iter epochs, from the beginning of each `fit` or from the first `partial_fit`.
    batch_size: samples in a step, at most.
    max_iter: epochs, at most.
    tol, n_iter_no_change: it ends when so many epochs in a row have not improved the loss by tol, with the weights of
        the best epoch.
    early_stopping, validation_fraction: whether that loss is the one of so large a part of the data, held out.
    network: a function (n_inputs, n_outputs, rng) -> model, for a network of one's own in place of these layers.
    warm_start: whether `fit` goes on from the weights of the last one; the optimizer and its rate begin anew.
    random_state: a seed for weights, batches and dropout; None for another one each time.
    verbose: whether progress is shown.

    Fitted attributes: network_ (the model, see `tinygraph.nn`), optimizer_, history_ (see `tinygraph.training`),
    loss_curve_, n_iter_ (epochs), n_features_in_, feature_names_in_.
"""


class TinygraphClassifier(ClassifierMixin, _Network):
    __doc__ = f"""A softmax classifier with hidden layers.
{_PARAMETERS}
    classes_ are the labels, in the order of the columns of `predict_proba`; class_weight is a dict from labels to
    weights, or "balanced".

    >>> from sklearn.datasets import load_iris
    >>> from tinygraph.sklearn import TinygraphClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> bool(TinygraphClassifier((16,), learning_rate=0.01, random_state=0).fit(X, y).score(X, y) > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Network._parameter_constraints, "class_weight": [None, dict, StrOptions({"balanced"})]}

    def __init__(self, hidden_layer_sizes: Any = (100,), *, activation: Any = "relu", dropout: float = 0.0,
                 batch_norm: bool = False, l2: float = 1e-4, optimizer: Any = "adam", learning_rate: float = 1e-3,
                 schedule: Any = "constant", batch_size: int = 200, max_iter: int = 200, tol: float = 1e-4,
                 n_iter_no_change: int = 10, early_stopping: bool = False, validation_fraction: float = 0.1,
                 class_weight: Any = None, network: Any = None, warm_start: bool = False, random_state: Any = None,
                 verbose: bool = False) -> None:
        super().__init__(
            hidden_layer_sizes, activation=activation, dropout=dropout, batch_norm=batch_norm, l2=l2,
            optimizer=optimizer, learning_rate=learning_rate, schedule=schedule, batch_size=batch_size,
            max_iter=max_iter, tol=tol, n_iter_no_change=n_iter_no_change, early_stopping=early_stopping,
            validation_fraction=validation_fraction, network=network, warm_start=warm_start,
            random_state=random_state, verbose=verbose)
        self.class_weight = class_weight

    classes_: np.ndarray

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> TinygraphClassifier:
        """One epoch on X (n, features) and labels y (n,), from the weights that are there.

        classes: all labels that will ever come; needed in the first call.
        """
        self._validate_params()
        first = not hasattr(self, "network_")
        if first and classes is None:
            raise ValueError("classes must be given in the first call of partial_fit")
        if classes is not None:
            classes = np.unique(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ValueError(f"classes={classes!r} are not those of the first call, {self.classes_!r}")
        if first:
            self.classes_ = classes
        if self.class_weight == "balanced":
            raise ValueError("class_weight='balanced' needs all data: give partial_fit a dict of weights")
        result: TinygraphClassifier = self._once(X, y, sample_weight, first)
        return result

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (n, classes), for X (n, features)."""
        E = self._outputs(X)
        E = np.exp(E - E.max(axis=1, keepdims=True))
        result: np.ndarray = E / E.sum(axis=1, keepdims=True)
        return result

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of the probability of each class, (n, classes)."""
        Z = self._outputs(X)
        Z = Z - Z.max(axis=1, keepdims=True)
        result: np.ndarray = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
        return result

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each sample, (n,), for X (n, features)."""
        outputs = self._outputs(X)
        result: np.ndarray = self.classes_[outputs.argmax(axis=1)]
        return result

    def _checked(self, X: Any, y: Any, sample_weight: Any, reset: bool, relabel: bool) -> tuple[Any, Any, Any]:
        X, y = validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        if relabel:
            self.classes_ = np.unique(y)
        if unknown := set(np.unique(y).tolist()) - set(self.classes_.tolist()):
            raise ValueError(f"y has the labels {sorted(unknown)}, which are not among the classes "
                             f"{self.classes_.tolist()}")
        if self.class_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
            sample_weight = sample_weight * compute_sample_weight(self.class_weight, y).astype(X.dtype)
        X, y, weights = self._weighted(sample_weight, X, y)
        return X, np.searchsorted(self.classes_, y), weights

    def _n_outputs(self, targets: Any) -> int:
        return len(self.classes_)

    def _strata(self, targets: Any) -> Any:
        return targets

    _loss = staticmethod(nn.cross_entropy)


class TinygraphRegressor(RegressorMixin, _Network):
    __doc__ = f"""A regressor with hidden layers that minimises the mean squared error, for one target or several.
{_PARAMETERS}
    >>> import numpy as np
    >>> from tinygraph.sklearn import TinygraphRegressor
    >>> X = np.linspace(-2, 2, 200)[:, None]
    >>> y = np.sin(2 * X[:, 0])
    >>> model = TinygraphRegressor((32, 32), learning_rate=0.01, max_iter=300, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.99)
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> TinygraphRegressor:
        """One epoch on X (n, features) and y (n,) or (n, targets), from the weights that are there."""
        self._validate_params()
        result: TinygraphRegressor = self._once(X, y, sample_weight, not hasattr(self, "network_"))
        return result

    def predict(self, X: Any) -> np.ndarray:
        """The targets, in the form of y, for X (n, features)."""
        outputs = self._outputs(X)
        return outputs if self._several else outputs[:, 0]

    def _checked(self, X: Any, y: Any, sample_weight: Any, reset: bool, relabel: bool) -> tuple[Any, Any, Any]:
        X, y = validate_data(self, X, y, reset=reset, dtype=[np.float64, np.float32], multi_output=True,
                             y_numeric=True)
        self._several = y.ndim > 1
        X, y, weights = self._weighted(sample_weight, X, y)
        return X, y.reshape(len(y), -1).astype(X.dtype), weights

    def _n_outputs(self, targets: Any) -> int:
        return int(targets.shape[1])

    _loss = staticmethod(nn.mean_squared_error)
