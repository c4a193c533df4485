"""The estimators: scikit-learn's own checks, its meta-estimators around them, and what they promise themselves."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris, make_regression
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from tinygraph import nn, training
from tinygraph.sklearn import ACTIVATIONS, OPTIMIZERS, SCHEDULES, TinygraphClassifier, TinygraphRegressor

ESTIMATORS = [TinygraphClassifier((10,), max_iter=100, learning_rate=0.01, random_state=0),
              TinygraphRegressor((10,), max_iter=100, learning_rate=0.01, random_state=0)]
# It asks for arrays of other libraries, and does nothing unless an environment variable says so.
CHECKS = [(type(estimator).__name__, estimator, check) for each in ESTIMATORS
          for estimator, check in estimator_checks_generator(each) if check.func.__name__ != "check_array_api_input"]
IRIS = load_iris(return_X_y=True)


def small(**options):
    return TinygraphClassifier(**{"hidden_layer_sizes": (8,), "learning_rate": 0.05, "max_iter": 40, "random_state": 0,
                                  **options})


@pytest.mark.parametrize(("name", "estimator", "check"), [
    pytest.param(*case, id=f"{case[0]} {case[2].func.__name__} {i}") for i, case in enumerate(CHECKS)])
@pytest.mark.filterwarnings("default")  # some of the checks want warnings
def test_scikit_learn_checks(name, estimator, check):
    check(estimator)


# ----------------------------------------------------------------------------------------------- among other estimators

def test_in_a_pipeline_and_a_search():
    X, y = IRIS
    pipeline = make_pipeline(StandardScaler(), small(max_iter=15))
    search = GridSearchCV(pipeline, {"tinygraphclassifier__hidden_layer_sizes": [(4,), (16,)],
                                     "tinygraphclassifier__l2": [0.0, 1e-3]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.9
    random = RandomizedSearchCV(small(), {"learning_rate": [0.01, 0.03]}, n_iter=2, cv=2, n_jobs=2).fit(X, y)
    assert random.best_score_ > 0.8


def test_cross_validation_calibration_voting():
    X, y = IRIS
    assert cross_val_score(small(), X, y, cv=3).mean() > 0.9
    assert CalibratedClassifierCV(small(), cv=2).fit(X, y).score(X, y) > 0.9
    voting = VotingClassifier([("net", small()), ("linear", LogisticRegression(max_iter=500))], voting="soft")
    assert voting.fit(X, y).score(X, y) > 0.9
    importance = permutation_importance(small().fit(X, y), X, y, n_repeats=2, random_state=0)
    assert importance.importances_mean.argmax() in (2, 3)  # the petals


def test_regressors_stack():
    X, y = make_regression(100, 3, noise=1.0, random_state=0)
    y /= y.std()
    net = TinygraphRegressor((16,), learning_rate=0.02, max_iter=60, random_state=0)
    stacked = StackingRegressor([("net", net), ("linear", LinearRegression())], cv=2).fit(X, y)
    assert stacked.score(X, y) > 0.95
    two = net.fit(X, np.stack([y, -y], axis=1))
    assert two.predict(X).shape == (100, 2)
    assert two.score(X, np.stack([y, -y], axis=1)) > 0.95


# -------------------------------------------------------------------------------------------------- what they promise

def test_the_same_seed_gives_the_same_network_to_the_last_bit():
    X, y = IRIS
    options = {"dropout": 0.2, "batch_norm": True, "batch_size": 32, "early_stopping": True, "max_iter": 5}
    first, second = (small(**options).fit(X, y).predict_proba(X) for _ in range(2))
    assert_array_equal(first, second)
    assert not np.array_equal(first, clone(small(**options)).set_params(random_state=1).fit(X, y).predict_proba(X))
    assert not np.array_equal(*(small(**{**options, "random_state": None}).fit(X, y).predict_proba(X) for _ in "ab"))


@pytest.mark.parametrize("options", [
    *({"activation": name} for name in ACTIVATIONS), *({"optimizer": name} for name in OPTIMIZERS),
    *({"schedule": name} for name in SCHEDULES), {"activation": np.tanh},
    {"hidden_layer_sizes": (), "learning_rate": 0.2}], ids=str)
def test_every_option_learns(options):
    X, y = IRIS
    rates = {"sgd": 0.1, "lion": 0.003}
    X = StandardScaler().fit_transform(X)
    net = small(**{"learning_rate": rates.get(options.get("optimizer"), 0.02), "batch_size": 30, **options}).fit(X, y)
    assert net.score(X, y) > 0.9
    again = pickle.loads(pickle.dumps(net))
    assert_array_equal(again.predict_proba(X), net.predict_proba(X))


def test_a_network_of_ones_own():
    def network(n_inputs, n_outputs, rng):
        return nn.Sequential(nn.Linear(n_inputs, 6, rng=rng), nn.Residual(nn.Linear(6, 6, rng=rng), np.tanh),
                             nn.Linear(6, n_outputs, rng=rng))

    X, y = StandardScaler().fit_transform(IRIS[0]), IRIS[1]
    net = small(network=network).fit(X, y)
    assert net.score(X, y) > 0.9
    assert isinstance(net.network_[1], nn.Residual)


def test_weights_are_repetitions():
    X, y = IRIS
    counts = np.arange(150) % 3
    options = {"max_iter": 5, "batch_size": 1000}
    weighted = small(**options).fit(X, y, sample_weight=counts)
    repeated = small(**options).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-6)
    by_class = small(class_weight={0: 2, 1: 1, 2: 0}, **options).fit(X, y)
    assert_allclose(by_class.predict_proba(X), small(**options).fit(X, y, np.array([2, 1, 0])[y]).predict_proba(X))
    assert by_class.predict_proba(X).shape == (150, 3)
    with pytest.raises(ValueError, match="weight"):
        small().fit(X, y, sample_weight=np.zeros(150))


def test_partial_fit_goes_on():
    X, y = IRIS
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    net = small()
    for _ in range(25):
        net.partial_fit(X[:75], names[:75], classes=np.unique(names))
        net.partial_fit(X[75:], names[75:])
    assert net.score(X, names) > 0.8
    assert len(net.loss_curve_) == 50
    with pytest.raises(ValueError, match="are not those of the first call"):
        net.partial_fit(X, names, classes=["a", "b"])
    with pytest.raises(ValueError, match="classes must be given"):
        small().partial_fit(X, y)
    with pytest.raises(ValueError, match="not among the classes"):
        net.partial_fit(X, np.where(y == 0, "other", "setosa"))


def test_warm_start_goes_on():
    X, y = IRIS
    net = small(max_iter=5, warm_start=True).fit(X, y)
    before = net.loss_curve_[-1]
    assert net.fit(X, y).loss_curve_[0] < before * 1.05
    assert net.fit(X, y).loss_curve_[-1] < before


def test_warm_start_begins_its_schedule_anew_and_takes_a_new_rate():
    X, y = IRIS
    net = small(max_iter=5, warm_start=True, schedule="cosine").fit(X, y)  # the rate ends at 0
    before = net.predict_proba(X)
    assert np.abs(net.fit(X, y).predict_proba(X) - before).max() > 1e-3
    before = net.predict_proba(X)
    net.set_params(learning_rate=1e-9).fit(X, y)
    assert_allclose(net.predict_proba(X), before, atol=1e-6)


def test_a_second_fit_leaves_nothing_of_the_first():
    X, y = IRIS
    net, other = small(max_iter=3, batch_size=20), small(max_iter=3, batch_size=20)
    net.fit(X, y).fit(X, y).partial_fit(X, y)
    assert_array_equal(net.predict_proba(X), other.fit(X, y).partial_fit(X, y).predict_proba(X))


def test_early_stopping_stops_early():
    X, y = load_digits(return_X_y=True)
    net = TinygraphClassifier((32,), learning_rate=0.01, early_stopping=True, n_iter_no_change=3, random_state=0)
    net.fit(X[:600] / 16, y[:600])
    assert net.n_iter_ < 200
    assert "stopped early" in net.history_.stopped
    assert net.score(X[600:] / 16, y[600:]) > 0.85


def test_float32_stays():
    X, y = IRIS
    net = small(max_iter=2).fit(X.astype(np.float32), y)
    assert {p.dtype for p in nn.parameters(net.network_).values()} == {np.dtype(np.float32)}
    assert net.predict_proba(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("options", [{"activation": "step"}, {"dropout": 1.0}, {"hidden_layer_sizes": (4, 0)},
                                     {"learning_rate": -1}, {"max_iter": 0}, {"optimizer": "newton"}], ids=str)
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        small(**options).fit(*IRIS)


@pytest.mark.parametrize("more", [1, -1])
def test_a_network_with_the_wrong_number_of_outputs_is_refused(more):
    with pytest.raises(ValueError, match="must return 3 columns"):
        small(network=lambda n, k, rng: nn.Linear(n, k + more, rng=rng)).fit(*IRIS)


def test_l2_is_half_the_sum_of_squares_of_weights_alone():
    net = small(l2=0.3, max_iter=1, hidden_layer_sizes=(), batch_norm=True).fit(*IRIS)
    matrices, rest = net.optimizer_.groups
    assert (matrices.options["l2"], rest.options["l2"]) == (0.3, 0.0)
    assert [p.ndim for p in matrices.parameters.values()] == [2]


def test_tol_is_what_counts_as_better():
    assert small(tol=100.0, n_iter_no_change=3).fit(*IRIS).n_iter_ == 4


def test_what_is_held_out_is_stratified_and_not_trained_on(monkeypatch):
    found = {}

    def fit(model, data, *, validation, **options):
        found["data"], found["validation"] = data, validation
        return tinygraph_fit(model, data, validation=validation, **options)

    tinygraph_fit = training.fit
    monkeypatch.setattr(training, "fit", fit)
    X, y = IRIS
    small(early_stopping=True, validation_fraction=0.2, max_iter=1).fit(X + np.arange(150)[:, None], y)
    assert_array_equal(np.bincount(found["validation"][1]), [10, 10, 10])
    assert not set(found["validation"][0][:, 0]) & set(found["data"][0][:, 0])


def test_each_partial_fit_shuffles_anew(monkeypatch):
    seeds = []
    usual = training.fit
    monkeypatch.setattr(training, "fit", lambda *args, seed, **options: seeds.append(seed) or usual(
        *args, seed=seed, **options))
    net = small()
    for _ in range(3):
        net.partial_fit(*IRIS, classes=[0, 1, 2])
    assert len(set(seeds)) == 3


def test_ctrl_c_ends_a_search_too(monkeypatch):
    usual = training.fit

    def interrupted(*args, **options):
        history = usual(*args, **options)
        history.stopped = "interrupted"
        return history

    monkeypatch.setattr(training, "fit", interrupted)
    net = small(max_iter=1)
    with pytest.raises(KeyboardInterrupt):
        net.fit(*IRIS)
    assert net.predict(IRIS[0]).shape == (150,)


def test_class_weights_and_sample_weights_multiply():
    X, y = IRIS
    weights = 1.0 + np.arange(150) % 3
    both = small(max_iter=3, class_weight={0: 2, 1: 1, 2: 5}).fit(X, y, weights)
    assert_allclose(both.predict_proba(X),
                    small(max_iter=3).fit(X, y, weights * np.array([2, 1, 5])[y]).predict_proba(X))
