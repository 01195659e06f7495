"""The attack scorer, on a small linear model and an attack with a closed form."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline

from smartbox.metrics import AttackScorer, make_attack_scorer


class Shift(BaseEstimator):
    """Moves rows by ``eps`` against their class, along the signs of the weights of a linear model."""

    def __init__(self, model=None, *, eps=0.5):
        self.model = model
        self.eps = eps

    def __sklearn_clone__(self):
        return type(self)(self.model, eps=self.eps)  # the model is shared

    def generate(self, X, y=None):
        y = self.model.predict(X) if y is None else y
        towards = np.where(np.asarray(y) == self.model.classes_[0], 1.0, -1.0)
        return X + self.eps * towards[:, None] * np.sign(self.model.coef_)


class Scale(TransformerMixin, BaseEstimator):
    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X * self.factor


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.repeat(["ann", "bob"], 60)
    return rng.normal(size=(120, 3)) + np.where(y == "bob", 1.5, -1.5)[:, None], y


@pytest.fixture
def model(data):
    return LogisticRegression().fit(*data)


def test_scores_the_attacked_images(data, model):
    X, y = data
    scorer = make_attack_scorer(Shift(model, eps=1.0))
    margin = (X @ model.coef_[0] + model.intercept_) * np.where(y == "bob", 1, -1)
    expected = np.mean(margin > np.abs(model.coef_).sum())  # the move costs exactly eps ||w||_1
    assert scorer(model, X, y) == pytest.approx(expected)
    assert expected < model.score(X, y)


def test_grid_search_attacks_each_fold_once(data, model):
    X, y = data
    scorer = make_attack_scorer(Shift(model))
    defended = Pipeline([("scale", Scale()), ("face", FrozenEstimator(model))])
    search = GridSearchCV(
        defended,
        {"scale__factor": [0.5, 1.0, 2.0, 3.0]},
        scoring={"clean": "accuracy", "robust": scorer},
        refit="robust",
        cv=5,
    ).fit(X, y)
    assert scorer.n_generated == 5
    assert np.all(search.cv_results_["mean_test_robust"] < search.cv_results_["mean_test_clean"])
    assert clone(search).scoring["robust"] is scorer  # so no clone copies the network


def test_threads_make_each_fold_once(data, model):
    X, y = data
    scorer = make_attack_scorer(Shift(model))
    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda _: scorer(model, X.copy(), y), range(16)))
    assert scorer.n_generated == 1 and len(set(scores)) == 1


def test_memory_is_keyed_by_images_labels_parameters_and_model(data, model):
    X, y = data
    attack = Shift(model)
    scorer = make_attack_scorer(attack)
    scorer(model, X, y)
    scorer(model, X.copy(), y.copy())
    assert scorer.n_generated == 1
    scorer(model, X[:50], y[:50])
    scorer(model, X, y[::-1].copy())
    attack.set_params(eps=0.1)
    scorer(model, X, y)
    attack.set_params(model=LogisticRegression(C=0.1).fit(X, y))
    scorer(model, X, y)
    assert scorer.n_generated == 5


def test_memory_is_bounded_and_forgets_the_oldest(data, model):
    X, y = data
    scorer = make_attack_scorer(Shift(model))
    for i in range(17):
        scorer(model, X[i:], y[i:])
    scorer(model, X[16:], y[16:])
    assert scorer.n_generated == 17 and len(scorer._memo) == 16
    scorer(model, X, y)
    assert scorer.n_generated == 18


def test_estimators_cannot_spoil_the_remembered_images(data, model):
    X, y = data

    def spoil(estimator, X_adv, y):
        X_adv[:] = 0

    with pytest.raises(ValueError, match="read-only"):
        make_attack_scorer(Shift(model), metric=spoil)(model, X, y)
    assert X.flags.writeable


def test_adaptive_attacks_the_estimator_that_is_scored(data, model):
    X, y = data
    other = LogisticRegression().fit(X * [1, 1, -1], y)
    attack = Shift(None, eps=1.0)
    scorer = make_attack_scorer(attack, adaptive=True)
    expected = other.score(Shift(other, eps=1.0).generate(X, y), y)
    assert scorer(other, X, y) == expected
    assert scorer(other, X, y) == expected
    assert scorer.n_generated == 2
    assert attack.model is None
    cross_validate(LogisticRegression(), X, y, scoring=scorer, cv=3, error_score="raise")
    assert scorer.n_generated == 5


def test_metric_by_name_or_scorer(data, model):
    X, y = data
    X_adv = Shift(model).generate(X, y)
    wrong = make_scorer(lambda y, y_pred: np.mean(y != y_pred))
    assert make_attack_scorer(Shift(model), metric=wrong)(model, X, y) == wrong(model, X_adv, y)
    named = make_attack_scorer(Shift(model), metric="neg_log_loss")
    assert named(model, X, y) == pytest.approx(-log_loss(y, model.predict_proba(X_adv)))


def test_pickle_leaves_the_images_behind(data, model):
    X, y = data
    scorer = make_attack_scorer(Shift(model))
    empty = len(pickle.dumps(scorer))
    score = scorer(model, X, y)
    again = pickle.loads(pickle.dumps(scorer))
    assert len(pickle.dumps(scorer)) == empty
    assert again.n_generated == 0 and again(model, X, y) == score and again.n_generated == 1
    assert copy.deepcopy(scorer).attack.model is model


def test_repr(model):
    scorer = make_attack_scorer(Shift(eps=0.1), metric="f1_macro", adaptive=True)
    assert isinstance(scorer, AttackScorer)
    assert repr(scorer) == "make_attack_scorer(Shift(eps=0.1), metric='f1_macro', adaptive=True)"


def test_refuses(model):
    with pytest.raises(ValueError, match="adaptive=True"):
        make_attack_scorer(Shift())
    with pytest.raises(ValueError, match="generate"):
        make_attack_scorer(model)
    targeted = Shift(model)
    targeted.targeted = True
    with pytest.raises(ValueError, match="targeted=False"):
        make_attack_scorer(targeted)
    with pytest.raises(ValueError, match="no_such_metric"):
        make_attack_scorer(Shift(model), metric="no_such_metric")


def test_importing_the_metrics_does_not_import_tensorflow():
    code = "import sys, smartbox.metrics, smartbox.protocol; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
