"""Adversarial training against ordinary training, closed forms of linear models, and steps by hand."""

import itertools
import pickle

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import smartbox
from smartbox import FaceClassifier, as_face_model
from smartbox._engine import engine_of
from smartbox.attacks import FGSM, PGD, DeepFool, UniversalPerturbation
from smartbox.defenses import AdversarialTraining, GaussianBlur
from smartbox.defenses._attacked_lessons import OwnAttackLesson, TradesLesson, attacked
from smartbox.metrics import make_attack_scorer
from tests.doubles import affine_face, random_affine
from tests.test_face import NAMES, SHAPE, blobs, learner, plane, same_weights, with_dropout

ATTACK = PGD(None, eps=0.1, max_iter=3, random_state=0)


def robust(mode="pgd", estimator=None, attack=ATTACK, **parameters):
    return AdversarialTraining(learner() if estimator is None else estimator, attack, mode=mode, **parameters)


# Against ordinary training


@pytest.mark.parametrize("network", [plane, with_dropout])
def test_a_budget_of_nothing_is_ordinary_training(network):
    X, y = blobs()
    ordinary = learner(network, epochs=3).fit(X, y)
    trained = robust(estimator=learner(network, epochs=3), attack=PGD(None, eps=0, max_iter=2)).fit(X, y)
    assert same_weights(ordinary, trained.estimator_) and trained.estimator_.history_ == ordinary.history_


@pytest.mark.parametrize("parameters", [{"beta": 0}, {"attack": PGD(None, eps=0, max_iter=2)}])
def test_trades_without_weight_or_budget_is_ordinary_training(parameters):
    X, y = blobs()
    ordinary, trained = learner(epochs=3).fit(X, y), robust("trades", learner(epochs=3), **parameters).fit(X, y)
    for one, other in zip(ordinary.network_.get_weights(), trained.estimator_.network_.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_static_training_is_training_on_both_sets():
    X, y = blobs()
    first = learner(epochs=3).fit(X, y)
    weight = np.linspace(1, 2, len(X))
    trained = robust("static", first, FGSM(None, eps=0.1)).fit(X, y, weight)
    X_adv = FGSM(first, eps=0.1).generate(X, y)
    by_hand = learner(epochs=3, random_state=trained.estimator_.random_state)
    by_hand.fit(np.concatenate([X, X_adv]), np.tile(y, 2), np.tile(weight, 2))
    assert same_weights(trained.estimator_, by_hand)
    assert trained.estimator_.random_state != first.random_state


# Against closed forms


def fixed_plane(weights, bias):
    def build(shape, n_classes):
        network = plane(shape, n_classes)
        network.set_weights([weights.T, bias])
        return network

    return build


def test_linear_model_learns_the_margin_less_an_l1_penalty():
    """The worst linf perturbation takes ``eps * ||w||_1`` off a linear margin: one step down that loss, by its derivative."""
    rng, eps, rate = np.random.default_rng(0), 0.05, 0.3
    X = rng.uniform(0.3, 0.7, size=(16, *SHAPE)).astype(np.float32)
    sign = np.where(np.arange(16) % 2, 1, -1)
    weights, bias = rng.normal(size=(2, 30)).astype(np.float32), rng.normal(size=2).astype(np.float32)

    def penalised(weights, bias):
        w, b = weights[1] - weights[0], bias[1] - bias[0]
        margin = sign * (X.reshape(16, -1).astype(np.float64) @ w + b) - eps * np.abs(w).sum()
        return np.logaddexp(0, -margin).mean(), margin

    face = FaceClassifier(fixed_plane(weights, bias), epochs=1, batch_size=16, optimizer=keras.optimizers.SGD(rate))
    trained = AdversarialTraining(face, FGSM(None, eps=eps), mode="pgd", random_state=0).fit(X, sign)
    loss, margin = penalised(weights.astype(np.float64), bias.astype(np.float64))
    assert trained.estimator_.history_["loss"][0] == pytest.approx(loss, rel=1e-5)
    w = weights[1] - weights[0]
    slope = ((sign * -expit(-margin))[:, None] * X.reshape(16, -1)).mean(axis=0) + expit(
        -margin
    ).mean() * eps * np.sign(w)
    kernel, _ = trained.estimator_.network_.get_weights()
    np.testing.assert_allclose(kernel.T, weights - rate * np.stack([-slope, slope]), atol=1e-5)


def test_divergence_and_its_gradient():
    weights, bias, X = random_affine(0, 4, (5, 4, 1))
    face = affine_face(weights, bias, (5, 4, 1))
    reference = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    values, gradient = engine_of(face.network_).divergence(X, reference)
    p, q = softmax(reference.astype(np.float64), axis=1), softmax(face.logits(X).astype(np.float64), axis=1)
    np.testing.assert_allclose(values, np.sum(p * np.log(p / q), axis=1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(gradient.reshape(20, -1), (q - p) @ weights, rtol=1e-3, atol=1e-4)


def test_trades_finds_the_corner_of_largest_divergence():
    """For two classes the logit is linear: the farthest softmax lies at one of the two corners along its slope."""
    weights, bias, X = random_affine(3, 2, (4, 3, 1), scale=0.5)
    face, eps = affine_face(weights, bias, (4, 3, 1)), 0.05
    lesson = TradesLesson(PGD(None, eps=eps, max_iter=10), 0, warm_up=0, beta=1.0)
    index = np.zeros(len(X), dtype=np.int32)
    lesson.begin(face.network_, X, index, None)
    lesson.begin_epoch()
    x, _, x_adv = lesson.batch(X, index, np.arange(len(X)))
    corner = (eps * np.sign(weights[1] - weights[0])).reshape(1, 4, 3, 1)
    np.testing.assert_array_equal(x, X)
    at_corner = np.minimum(*(np.abs(x_adv - X - side * corner).max(axis=(1, 2, 3)) for side in (-1, 1)))
    np.testing.assert_allclose(at_corner, 0, atol=1e-6)


# What it is for


def frail(n=60, seed=0):
    """One strong pixel tells the identity, and a hundred that are weaker than the attack do so together."""
    rng = np.random.default_rng(seed)
    sign = np.where(np.arange(n) % 2, 1.0, -1.0)
    X = 0.5 + 0.02 * sign[:, None, None, None] + 0.01 * rng.normal(size=(n, 10, 10, 1))
    X[:, 0, 0, 0] = 0.5 + 0.25 * sign + 0.08 * rng.normal(size=n)
    return np.clip(X, 0, 1).astype(np.float32), sign.astype(int)


@pytest.mark.parametrize("mode", ["pgd", "trades"])
def test_training_against_its_own_attack_keeps_accuracy_under_it(mode):
    X, y = frail()
    X_new, y_new = frail(seed=1)
    face = FaceClassifier(plane, epochs=30, batch_size=20, learning_rate=0.1, random_state=0)
    trained = AdversarialTraining(face, PGD(None, eps=0.1, max_iter=5), mode=mode, random_state=0).fit(X, y)
    exam = PGD(None, eps=0.1, max_iter=20, random_state=1)
    scores = [
        one.score(clone(exam).set_params(model=one).generate(X_new, y_new), y_new) for one in (face.fit(X, y), trained)
    ]
    assert scores[0] < 0.3 and scores[1] > 0.8
    assert scores[1] <= trained.score(X_new, y_new)


def test_history_has_accuracy_under_attack_and_patience_waits_for_it():
    X, y = blobs()
    trained = robust(estimator=learner(epochs=3)).fit(X, y, validation_data=(X, y))
    history = trained.estimator_.history_
    assert set(history) == {
        "loss", "accuracy", "val_loss", "val_accuracy", "val_attacked_loss", "val_attacked_accuracy",
    }  # fmt: skip
    assert history["val_attacked_loss"][-1] > history["val_loss"][-1]
    stopped = robust("static", learner(epochs=30, patience=2)).fit(X, y)
    losses = stopped.estimator_.history_["val_attacked_loss"]
    assert len(losses) == 30 or int(np.argmin(losses)) == len(losses) - 3


# Steps


def test_weights_change_without_a_new_trace():
    X, y = blobs()
    counts = [robust(estimator=learner(epochs=epochs)).fit(X, y).pass_counts() for epochs in (1, 4)]
    assert counts[0]["traces"] == counts[1]["traces"]
    assert (
        counts[1]["backward"] == 4 * counts[0]["backward"] == 4 * 3 * 30
    )  # steps of PGD; training has a step of its own


def test_starts_differ_from_epoch_to_epoch_but_not_from_run_to_run():
    X, y = blobs()
    runs = []
    for _ in range(2):
        lesson = OwnAttackLesson(PGD(None, eps=0.1, max_iter=1, step_size=1e-9, random_state=3), 3, warm_up=0)
        lesson.begin(plane(SHAPE, 3), X, np.searchsorted(NAMES, y), None)
        epochs = []
        for _ in range(2):
            lesson.begin_epoch()
            epochs.append(lesson.batch(X, np.searchsorted(NAMES, y), np.arange(30))[0])
        runs.append(epochs)
    np.testing.assert_allclose(runs[0], runs[1], atol=1e-7)
    assert np.abs(runs[0][0] - runs[0][1]).max() > 0.05


def test_warm_up_grows_evenly():
    lesson = OwnAttackLesson(ATTACK, 0, warm_up=4)
    X, X_adv = np.zeros((2, *SHAPE), np.float32), np.full((2, *SHAPE), 0.4, np.float32)
    sizes = []
    for _ in range(6):
        lesson.begin_epoch()
        sizes.append(lesson.nearer(X, X_adv).max())
    np.testing.assert_allclose(sizes, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], atol=1e-6)


def test_targets_are_other_labels_and_all_of_them():
    X, y = blobs(300)
    seen = {}

    class Spy(FGSM):
        def _generate(self, X, y, **rest):
            seen["y"] = y
            return X, None

    index = np.searchsorted(NAMES, y)
    attacked(Spy(affine_face(np.zeros((3, 30)), np.zeros(3), SHAPE), targeted=True), X, index, np.random.RandomState(0))
    assert (seen["y"] != index).all()
    assert set(zip(index.tolist(), seen["y"].tolist(), strict=True)) == set(itertools.permutations(range(3), 2))


@pytest.mark.parametrize(
    "attack", [DeepFool(None), FGSM(None, targeted=True), UniversalPerturbation(None, eps=0.1, max_iter=2)]
)
def test_static_takes_any_attack(attack):
    X, y = blobs()
    trained = robust("static", attack=attack, random_state=0).fit(X, y, validation_data=blobs(9, seed=2))
    assert trained.score(X, y) == 1


# The estimator and what becomes of it


def test_a_fitted_estimator_is_the_first_network_and_is_left_alone():
    X, y = blobs()
    first = learner().fit(X, y)
    before = pickle.dumps(first)
    trained = robust("static", first, random_state=0).fit(X, y)
    assert trained.first_ is first and pickle.dumps(first) == before
    assert trained.estimator_ is not first and not same_weights(trained.estimator_, first)
    assert robust("static", FrozenEstimator(first)).fit(X, y).first_ is first


def test_of_an_unfitted_estimator_a_clone_is_trained_first():
    X, y = blobs()
    estimator = learner(random_state=5)
    trained = robust("static", estimator).fit(X, y)
    assert same_weights(trained.first_, learner(random_state=5).fit(X, y)) and not hasattr(estimator, "network_")


@pytest.mark.parametrize("mode", ["static", "pgd", "trades"])
def test_of_a_given_network_the_layers_are_trained_anew(mode, tmp_path):
    X, y = blobs()
    network = plane(SHAPE, 3)
    before = network.get_weights()
    given = FaceClassifier.from_network(network, classes=["eve", "ann", "bob"]).set_params(epochs=12, learning_rate=0.3)
    trained = robust(mode, given, random_state=0).fit(X, y)
    assert trained.score(X, y) == 1 and trained.estimator_.network_ is not network
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    again = pickle.loads(pickle.dumps(trained))
    np.testing.assert_allclose(again.logits(X), trained.logits(X), atol=1e-5)
    assert pickle.dumps(trained) == pickle.dumps(trained)
    trained.save(tmp_path / "robust.smartbox")
    loaded = smartbox.load(tmp_path / "robust.smartbox")
    np.testing.assert_allclose(loaded.logits(X), trained.logits(X), atol=1e-5)
    assert clone(trained).estimator.network_ is network


@pytest.mark.parametrize("mode", ["pgd", "trades"])
@pytest.mark.parametrize("classes", [["ann", "bob", "eve"], ["eve", "ann", "bob"]])
def test_other_modes_begin_at_the_weights_of_a_fitted_estimator(mode, classes):
    """With a learning rate next to nothing the network stays what it was, whatever the order of its outputs."""
    X, y = blobs()
    network = learner().fit(X, np.array(classes)[np.searchsorted(NAMES, y)]).network_
    first = FaceClassifier.from_network(network, classes=np.unique(classes)).set_params(epochs=1, learning_rate=1e-9)
    shuffled = FaceClassifier.from_network(network, classes=classes).set_params(epochs=1, learning_rate=1e-9)
    unfitted = FaceClassifier(network, epochs=1, learning_rate=1e-9)
    for given in (first, shuffled, FrozenEstimator(shuffled), *([unfitted] if classes == list(NAMES) else [])):
        trained = robust(mode, given).fit(X, y, validation_data=(X, y))
        np.testing.assert_allclose(
            trained.logits(X), first.logits(X) if given is first else shuffled.logits(X), atol=1e-4
        )
        assert trained.classes_.tolist() == list(NAMES) and trained.estimator_.network_ is not network
        history = trained.estimator_.history_
        assert history["val_accuracy"][0] == trained.score(X, y)


def test_random_state_decides_everything():
    X, y = blobs()
    attack = PGD(None, eps=0.1, max_iter=1)
    runs = [
        robust(estimator=learner(with_dropout, epochs=2, random_state=None), attack=attack, random_state=seed).fit(X, y)
        for seed in (1, 1, 2)
    ]
    assert same_weights(runs[0].estimator_, runs[1].estimator_)
    assert not same_weights(runs[0].estimator_, runs[2].estimator_)


def test_it_is_a_face_model():
    X, y = blobs()
    trained = robust(random_state=0).fit(X, y)
    face = trained.estimator_
    assert as_face_model(trained) is trained and trained.classes_.tolist() == list(NAMES)
    assert trained.image_shape_ == SHAPE and trained.n_features_in_ == 30
    cotangents = np.random.default_rng(0).normal(size=(30, 2, 3)).astype(np.float32)
    for one, other in (
        (trained.value_and_gradient(X, y, "odds"), face.value_and_gradient(X, y, "odds")),
        (trained.vjp(X, cotangents[:, 0]), face.vjp(X, cotangents[:, 0])),
        (trained.vjps(X, cotangents), face.vjps(X, cotangents)),
        (trained.activations(X, "<logits>"), face.activations(X, "<logits>")),
        (trained.activations_vjp(X, "<logits>", [cotangents[:, 0]]), face.vjp(X, cotangents[:, 0])),
        (trained.predict_proba(X), face.predict_proba(X)),
    ):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert trained.layer_names("vector") == face.layer_names("vector") and trained.last_dropout() is None
    layer = trained.layer_names("vector")[0]
    (inner,) = trained.activations(X, [layer])
    np.testing.assert_allclose(trained.head(layer, inner), face.logits(X), atol=1e-5)
    assert trained.head_vjp(layer, inner, cotangents[:, 0]).shape == inner.shape
    defended = make_pipeline(GaussianBlur(sigma=0.5), trained)
    assert DeepFool(defended).generate(X, y).shape == X.shape
    assert PGD(FrozenEstimator(trained), eps=0.1, max_iter=2).generate(X, y).shape == X.shape


def test_grid_search_over_mode_and_budget_by_robust_accuracy():
    X, y = blobs()
    scorer = make_attack_scorer(PGD(None, eps=0.1, max_iter=2, random_state=0), adaptive=True)
    grid = {"mode": ["static", "pgd"], "attack__eps": [0.05]}
    search = GridSearchCV(robust(estimator=learner(epochs=2)), grid, scoring=scorer, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert as_face_model(search) is search.best_estimator_


# Mistakes


def test_unfitted():
    for call in (robust().predict, robust().logits, robust().save):
        with pytest.raises(NotFittedError):
            call(blobs()[0])
    with pytest.raises(ValueError, match="not fitted"):
        PGD(robust()).generate(*blobs())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimator": plane}, "expected estimator as a FaceClassifier"),
        ({"attack": None}, "has no attack: pass one"),
        ({"attack": GaussianBlur()}, "expected attack as an attack"),
        ({"attack": PGD(None, eps=-1)}, "eps"),
        ({"mode": "madry"}, "mode"),
        ({"mode": "trades", "attack": FGSM(None)}, "untargeted PGD"),
        ({"mode": "trades", "attack": PGD(None, targeted=True)}, "untargeted PGD"),
        ({"attack": UniversalPerturbation(None, eps=0.1)}, "has to be fitted first: choose mode 'static'"),
        ({"beta": -1}, "beta"),
        ({"warm_up": -1}, "warm_up"),
        ({"estimator": learner(epochs=0)}, "epochs"),
    ],
)
def test_mistakes_are_found_before_any_training(parameters, message, monkeypatch):
    monkeypatch.setattr(FaceClassifier, "_fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        robust(**parameters).fit(*blobs())


def test_other_identities_than_the_estimators():
    X, y = blobs()
    with pytest.raises(ValueError, match="trained on 3 identities, 'ann' to 'eve', but y holds 2"):
        robust("static", learner(epochs=1).fit(X, y)).fit(X[y != "eve"], y[y != "eve"])
    given = FaceClassifier(plane(SHAPE, 3))
    with pytest.raises(ValueError, match="has 3 outputs, but y holds 2 identities"):
        robust("pgd", given).fit(X[y != "eve"], y[y != "eve"])
