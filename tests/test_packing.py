"""Pickles, hashes, caches, searches: a network is packed small, each time alike, and not copied or retraced."""

import copy
import pickle
import time

import joblib
import keras
import numpy as np
import pytest
from keras import layers
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from smartbox import FaceClassifier
from smartbox._packing import is_network
from smartbox.attacks import FGSM
from smartbox.defenses import GaussianBlur
from smartbox.metrics import make_attack_scorer
from tests.doubles import small_network

SHAPE = (16, 12, 1)
rng = np.random.default_rng(0)
X = rng.uniform(size=(20, *SHAPE)).astype(np.float32)


def large_network():
    return keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(400, activation="tanh"), layers.Dense(5)]
    )


def compiled_network():
    inner = keras.Sequential([keras.Input((192,)), layers.Dense(300, activation="tanh")])
    inner.compile("adam", loss="mse")
    network = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), inner, layers.Dropout(0.5), layers.Dense(5)])
    network.compile("adam", loss=lambda y, logits: 0.0)  # which no pickle could hold
    return network


def n_bytes(network):
    return sum(weight.nbytes for weight in network.get_weights())


# Pickles


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("build", [large_network, compiled_network])
def test_a_pickle_is_as_large_as_the_weights(build):
    face = FaceClassifier.from_network(build())
    content = pickle.dumps(face)
    assert n_bytes(face.network_) < len(content) < 1.1 * n_bytes(face.network_)
    np.testing.assert_array_equal(pickle.loads(content).logits(X), face.logits(X))


@pytest.mark.parametrize("optimizer", ["sgd", keras.optimizers.Adam(0.01)])
def test_the_same_bytes_at_any_time(optimizer):
    face = FaceClassifier.from_network(small_network()).set_params(optimizer=optimizer)
    content, digest = pickle.dumps(face), joblib.hash(face)
    time.sleep(2.1)  # an archive's time stamp has a grain of two seconds
    face.value_and_gradient(X, np.zeros(20, dtype=int))
    assert pickle.dumps(face) == content and joblib.hash(face) == digest
    twin = pickle.loads(content)
    assert joblib.hash(twin) == digest and joblib.hash(pickle.loads(pickle.dumps(twin))) == digest


def test_another_weight_another_hash():
    face = FaceClassifier.from_network(small_network())
    before = joblib.hash(face)
    kernel = face.network_.get_weights()
    kernel[0][0, 0, 0, 0] += 1
    face.network_.set_weights(kernel)
    assert joblib.hash(face) != before


def test_shared_stays_shared():
    twin = pickle.loads(pickle.dumps(FaceClassifier.from_network(small_network())))
    assert twin.network is twin.network_
    trained = FaceClassifier(builder, epochs=1).fit(X, np.arange(20) % 5)
    assert pickle.loads(pickle.dumps(trained)).network is builder
    face = FaceClassifier.from_network(small_network())
    pipeline, attack = pickle.loads(pickle.dumps((Pipeline([("blur", GaussianBlur()), ("face", face)]), FGSM(face))))
    assert attack.model is pipeline["face"]


def builder(image_shape, n_classes):
    return small_network(image_shape, n_classes)


def test_an_optimizer_comes_back_with_its_settings():
    optimizer = keras.optimizers.RMSprop(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5), rho=0.8)
    face = FaceClassifier(builder, optimizer=optimizer)
    for twin in (pickle.loads(pickle.dumps(face)), copy.deepcopy(face)):
        assert twin.optimizer is not optimizer and twin.optimizer.get_config() == optimizer.get_config()


def test_joblib_maps_the_weights(tmp_path):
    face = FaceClassifier.from_network(large_network())
    joblib.dump(face, tmp_path / "face.joblib")
    assert (tmp_path / "face.joblib").stat().st_size < 1.1 * n_bytes(face.network_)
    loaded = joblib.load(tmp_path / "face.joblib", mmap_mode="r")
    np.testing.assert_array_equal(loaded.logits(X), face.logits(X))


def test_deepcopy():
    face = FaceClassifier.from_network(small_network())
    twin = copy.deepcopy(face)
    twin.network_.set_weights([np.zeros_like(weight) for weight in twin.network_.get_weights()])
    assert twin.network is twin.network_ is not face.network_
    assert not twin.logits(X).any() and face.logits(X).any()


def test_states_of_training_are_kept_out_of_the_way():
    """Batch-norm's averages are packed; they are weights that no gradient trains."""
    network = keras.Sequential([keras.Input(SHAPE), layers.BatchNormalization(), layers.Flatten(), layers.Dense(5)])
    network.layers[0].moving_mean.assign([0.25])
    face = FaceClassifier.from_network(network)
    assert float(pickle.loads(pickle.dumps(face)).network_.layers[0].moving_mean[0]) == 0.25


def test_is_network():
    assert is_network(small_network()) and not is_network(layers.Dense(2)) and not is_network(None)


# Caches and searches


class CountingBlur(GaussianBlur):
    calls = []

    def fit_transform(self, X, y=None):
        self.calls.append(self.sigma)
        return super().fit_transform(X, y)


def test_pipeline_memory_hits(tmp_path):
    face = FaceClassifier.from_network(small_network())
    y = face.predict(X)
    CountingBlur.calls.clear()
    for _ in range(2):
        steps = [("blur", CountingBlur(sigma=0.5)), ("face", FrozenEstimator(face))]
        pipeline = Pipeline(steps, memory=str(tmp_path)).fit(X, y)
    assert CountingBlur.calls == [0.5]
    # a step that holds a network is found again too, by the hash of the network's content
    for model in (face, pickle.loads(pickle.dumps(face))):
        steps = [("attack", FGSM(model, eps=0.1)), ("blur", CountingBlur(sigma=0.9)), ("face", model)]
        pipeline = Pipeline(steps, memory=str(tmp_path)).fit(X, y)
    assert CountingBlur.calls == [0.5, 0.9]
    assert pipeline.score(X, y) <= 1


@pytest.fixture
def problem():
    face = FaceClassifier.from_network(small_network())
    y = face.predict(X)
    common = np.argsort(-np.bincount(y, minlength=5))[:2]
    rows = np.flatnonzero(np.isin(y, common))
    return face, X[rows], y[rows]


def search(face, n_jobs=None):
    defended = Pipeline([("blur", GaussianBlur()), ("face", FrozenEstimator(face))])
    scoring = {
        "clean": "accuracy",
        "transferred": make_attack_scorer(FGSM(face, eps=0.05)),
        "adaptive": make_attack_scorer(FGSM(None, eps=0.05), adaptive=True),
    }
    return GridSearchCV(
        defended, {"blur__sigma": [0, 0.5, 1.0]}, scoring=scoring, refit="adaptive", cv=2, n_jobs=n_jobs
    )


def scores(fitted):
    return {name: values for name, values in fitted.cv_results_.items() if name.startswith(("split", "mean_test"))}


def test_a_search_neither_copies_nor_traces_the_network(problem, monkeypatch):
    face, X, y = problem
    FGSM(face).generate(X, y)
    traces = face.pass_counts()["traces"]
    for method in ("__deepcopy__", "__reduce__", "__reduce_ex__"):
        monkeypatch.setattr(
            type(face.network_), method, lambda *_: pytest.fail("the network was copied"), raising=False
        )
    monkeypatch.setattr("smartbox._packing.pack", lambda network: pytest.fail("the network was packed"))
    found = search(face).fit(X, y)
    assert face.pass_counts()["traces"] == traces
    assert found.best_estimator_["face"].estimator is face
    results = scores(found)
    assert (results["mean_test_clean"][0], len(results)) == (
        1,
        9,
    )  # without a blur, its own predictions; all kinds of scores
    # without a blur the defence is the identity, and both attacks are the same
    assert results["mean_test_transferred"][0] == results["mean_test_adaptive"][0] < 1


def test_a_search_on_clean_and_robust_accuracy_together_attacks_each_fold_once(problem, monkeypatch):
    """The images that the transferred attack was given are counted: every fold once, whatever the grid; the adaptive's anew."""
    face, X, y = problem
    seen, perturb = {"transferred": 0, "adaptive": 0}, FGSM._perturb

    def counted(self, model, X, y, rng):
        seen["transferred" if model is face else "adaptive"] += len(X)
        return perturb(self, model, X, y, rng)

    monkeypatch.setattr(FGSM, "_perturb", counted)

    def best_of_both(results):
        robust = np.minimum(results["mean_test_transferred"], results["mean_test_adaptive"])
        return int(np.argmax(results["mean_test_clean"] + robust))

    found = search(face).set_params(refit=best_of_both).fit(X, y)
    assert seen == {"transferred": len(X), "adaptive": 3 * len(X)}
    assert found.scoring["transferred"].n_generated == 2 and found.scoring["adaptive"].n_generated == 6
    monkeypatch.undo()
    for k, (_, fold) in enumerate(StratifiedKFold(2).split(X, y)):
        X_adv = FGSM(face, eps=0.05).generate(X[fold], y[fold])
        by_hand = [face.score(GaussianBlur(sigma=sigma).transform(X_adv), y[fold]) for sigma in (0, 0.5, 1.0)]
        np.testing.assert_array_equal(found.cv_results_[f"split{k}_test_transferred"], by_hand)
    assert found.best_index_ == best_of_both(found.cv_results_) and found.best_estimator_["face"].estimator is face


def test_processes_give_the_same_scores(problem):
    face, X, y = problem
    alone, together = scores(search(face, n_jobs=1).fit(X, y)), scores(search(face, n_jobs=2).fit(X, y))
    assert alone.keys() == together.keys()
    for name, values in alone.items():
        np.testing.assert_array_equal(values, together[name])
