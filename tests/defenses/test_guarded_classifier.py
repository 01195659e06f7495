"""Detect, then reject or mitigate: decisions by brute force, gradients by differences, and every attack on both."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier, as_face_model
from smartbox._compat import FrozenEstimator
from smartbox.attacks import APGD, DDN, EAD, FAB, FGSM, FMN, PGD, AutoAttack, CarliniL2, DeepFool, OnePixel, Square
from smartbox.base import BaseDefense
from smartbox.defenses import (
    AdaptiveNoiseReduction,
    GaussianBlur,
    GuardedClassifier,
    PCAReconstruction,
    Randomization,
    RandomizedSmoothing,
)
from smartbox.detectors import PCADetector
from smartbox.estimator_checks import example_images
from smartbox.metrics import make_attack_scorer
from tests.doubles import BrightDetector, small_network


@pytest.fixture(scope="module")
def guard():
    """A face, images, the labels it gives them, and a detector that flags about a third of them."""
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=24, seed=3)
    brightness = np.sort(X.mean(axis=(1, 2, 3)))
    return face, X, face.predict(X), BrightDetector(float(brightness[15:17].mean()))


def test_what_is_flagged_is_rejected(guard):
    face, X, y, detector = guard
    guarded = GuardedClassifier(face, detector=detector)
    flagged = detector.decision_function(X) > detector.threshold_
    assert 0 < flagged.sum() < len(X)
    np.testing.assert_array_equal(guarded.flagged(X), flagged)
    np.testing.assert_array_equal(guarded.predict(X), np.where(flagged, -1, y))
    assert guarded.score(X, y) == np.mean(~flagged)
    scores = guarded.fit(X, y).decision_function(X)
    np.testing.assert_array_equal(guarded.classes_, [0, 1, 2, 3, 4, -1])
    np.testing.assert_array_equal(guarded.classes_[scores.argmax(axis=1)], guarded.predict(X))


def test_only_what_is_flagged_is_mitigated(guard):
    face, X, y, detector = guard
    defense = make_pipeline(AdaptiveNoiseReduction(), GaussianBlur(sigma=1.5))
    guarded = GuardedClassifier(face, detector=detector, defense=defense)
    cleaned = defense.transform(X)
    by_hand = np.where(detector.decision_function(X) > detector.threshold_, face.predict(cleaned), y)
    assert (by_hand != y).any() and (by_hand != face.predict(cleaned)).any()
    np.testing.assert_array_equal(guarded.predict(X), by_hand)
    np.testing.assert_array_equal(face.classes_[guarded.decision_function(X).argmax(axis=1)], by_hand)
    np.testing.assert_array_equal(as_face_model(guarded).predict(X), by_hand)
    nobody = GuardedClassifier(face, detector=BrightDetector(2.0), defense=defense)
    np.testing.assert_array_equal(nobody.predict(X), y)


def test_chance_is_met_in_expectation_on_the_way_that_has_it(guard):
    """Unflagged images meet no chance: their gradient is the face's; flagged ones have the defended Pipeline's mean."""
    face, X, y, detector = guard
    defense = Randomization(scale=(0.8, 0.9), random_state=0)
    guarded = as_face_model(GuardedClassifier(face, detector=detector, defense=defense))
    flagged = detector.decision_function(X) > detector.threshold_
    assert guarded.has_chance and 0 < flagged.sum() < len(X)
    seen, defended = (model.in_expectation(6, 1) for model in (guarded, as_face_model(make_pipeline(defense, face))))
    values, _, gradient = seen.value_and_gradient(X, y, "odds")
    for rows, model in ((~flagged, face), (flagged, defended)):
        expected = model.value_and_gradient(X[rows], y[rows], "odds")
        np.testing.assert_allclose(values[rows], expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient[rows], expected[2], rtol=1e-4, atol=1e-6)
    attack = PGD(guarded, eps=0.02, max_iter=3, random_state=0)
    whole = attack.generate(X, y)
    np.testing.assert_array_equal(attack.set_params(batch_size=5).generate(X[::-1], y[::-1])[::-1], whole)
    plain = as_face_model(GuardedClassifier(face, detector=detector, defense=GaussianBlur()))
    assert not plain.has_chance and PGD(plain)._seen(plain, 0) is plain


def test_a_pipelines_own_defences_run_once(guard):
    face, X, _, detector = guard
    model = make_pipeline(GaussianBlur(sigma=0.7), face)
    guarded = GuardedClassifier(model, detector=detector, defense=GaussianBlur(sigma=1.5))
    flagged = detector.decision_function(X) > detector.threshold_
    by_hand = model.predict(np.where(flagged[:, None, None, None], GaussianBlur(sigma=1.5).transform(X), X))
    np.testing.assert_array_equal(guarded.predict(X), by_hand)
    np.testing.assert_array_equal(as_face_model(guarded).predict(X), by_hand)


def test_an_attack_meets_what_as_face_model_makes_of_both(guard):
    face, X, y, detector = guard
    both = as_face_model(face, detector=detector, scale=3.0)
    ours = PGD(GuardedClassifier(face, detector=detector, scale=3.0), eps=0.1, random_state=0).generate(X, y)
    np.testing.assert_array_equal(ours, PGD(both, eps=0.1, random_state=0).generate(X, y))


@pytest.mark.parametrize("objective", ["odds", "margin", "cross_entropy", "dlr"])
def test_gradient_is_that_of_the_way_each_image_takes(guard, objective):
    face, X, y, _ = guard
    X = 0.1 + 0.8 * X  # off the walls of the pixel box
    detector = BrightDetector(float(np.sort(X.mean(axis=(1, 2, 3)))[11:13].mean()))
    model = as_face_model(GuardedClassifier(face, detector=detector, defense=GaussianBlur()))
    values, logits, gradient = model.value_and_gradient(X, y, objective)
    defended = as_face_model(make_pipeline(GaussianBlur(), face))
    flagged = detector.decision_function(X) > detector.threshold_
    for way, rows in ((face, ~flagged), (defended, flagged)):
        parts = way.value_and_gradient(X[rows], y[rows], objective)
        for ours, theirs in zip((values[rows], logits[rows], gradient[rows]), parts, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    way = np.random.default_rng(0).normal(size=X.shape).astype(np.float32) * np.float32(1e-4)
    change = model.value_and_gradient(X + way, y, objective)[0] - model.value_and_gradient(X - way, y, objective)[0]
    exact = 2 * (gradient * way).sum(axis=(1, 2, 3))
    assert np.median(np.abs(change - exact)) < 0.05 * np.median(np.abs(exact)) + 1e-6
    cotangents = np.random.default_rng(1).normal(size=(len(X), 5)).astype(np.float32)
    pulled = np.where(flagged[:, None, None, None], defended.vjp(X, cotangents), face.vjp(X, cotangents))
    np.testing.assert_allclose(model.vjp(X, cotangents), pulled, rtol=1e-5, atol=1e-6)


ATTACKS = [
    lambda m: FGSM(m, eps=0.2),
    lambda m: PGD(m, eps=0.2, random_state=0),
    lambda m: APGD(m, eps=0.2, max_iter=20, random_state=0),
    lambda m: DeepFool(m),
    lambda m: DDN(m, max_iter=30),
    lambda m: FMN(m, max_iter=30),
    lambda m: FAB(m, norm="l2", max_iter=15),
    lambda m: CarliniL2(m, binary_search_steps=3, max_iter=40, initial_const="auto"),
    lambda m: EAD(m, binary_search_steps=3, max_iter=40, initial_const="auto"),
    lambda m: Square(m, eps=0.2, max_queries=60, random_state=0),
    lambda m: OnePixel(m, n_pixels=40, population_size=20, max_iter=6, random_state=0),
    lambda m: AutoAttack(m, eps=0.2, max_iter=8, max_queries=20, n_targets=2, random_state=0),
]


@pytest.mark.parametrize("make", ATTACKS)
@pytest.mark.parametrize("defense", [None, GaussianBlur(), AdaptiveNoiseReduction()])
def test_every_attack_is_measured_on_what_is_deployed(guard, make, defense):
    face, X, y, detector = guard
    guarded = GuardedClassifier(face, detector=detector, defense=defense)
    y = y if defense is None else guarded.predict(X)
    attack = make(guarded)
    predicted = guarded.predict(attack.generate(X, y))
    np.testing.assert_array_equal(attack.report_.success, (predicted != y) & (predicted != -1))
    assert attack.report_.success.any()


def test_knowing_the_defence_pays(guard):
    face, X, _, detector = guard
    guarded = GuardedClassifier(face, detector=detector, defense=GaussianBlur(sigma=1.2))
    y = guarded.predict(X)
    kept = {
        name: guarded.score(PGD(aim, eps=0.03, early_stop=False, random_state=0).generate(X, y), y)
        for name, aim in (("unaware", face), ("aware", guarded))
    }
    assert kept["aware"] < kept["unaware"]


def test_a_label_of_ones_own(guard):
    face, X, _, detector = guard
    np.testing.assert_array_equal(
        GuardedClassifier(face, detector=detector, reject_label=99).predict(X) == 99,
        detector.decision_function(X) > detector.threshold_,
    )
    named = FaceClassifier.from_network(face.network_, classes=["a", "b", "c", "d", "e"])
    for label, seen in ((None, "rejected"), ("a stranger, perhaps", "a stranger, perhaps")):
        guarded = GuardedClassifier(named, detector=detector, reject_label=label)
        assert set(guarded.predict(X)) - set("abcde") == {seen}
        assert PGD(guarded, eps=0.2, random_state=0).generate(X, named.predict(X)).shape == X.shape
    for model, label, word in (
        (face, 3, "rename"),
        (face, "no", "of the kind"),
        (named, -1, "of the kind"),
        (named, "a", "rename"),
    ):
        with pytest.raises(ValueError, match=word):
            GuardedClassifier(model, detector=detector, reject_label=label).predict(X)


def test_mistakes_say_what_to_do(guard):
    face, X, y, detector = guard
    with pytest.raises(ValueError, match="fit it on clean and attacked images first"):
        GuardedClassifier(face, detector=PCADetector()).predict(X)
    with pytest.raises(ValueError, match=r"defense.*no gradient.*vjp"):
        GuardedClassifier(face, detector=detector, defense=PCADetector()).predict(X)
    with pytest.raises(ValueError, match="scale"):
        GuardedClassifier(face, detector=detector, scale=0).fit(X, y)
    with pytest.raises(ValueError, match="not fitted"):
        GuardedClassifier(FaceClassifier(), detector=detector).predict(X)


def test_clones_pickles_pipelines_and_searches(guard):
    face, X, y, _ = guard
    darker = FGSM(face, eps=0.15).generate(X, y)
    detector = PCADetector(n_components=5, random_state=0)
    detector.fit(np.concatenate([X, darker]), np.repeat([0, 1], len(X)))
    guarded = GuardedClassifier(face, detector=detector, defense=GaussianBlur())
    copy = clone(guarded)
    assert copy.model is face and copy.detector is detector and copy.defense is not guarded.defense
    again = pickle.loads(pickle.dumps(guarded))
    np.testing.assert_array_equal(again.predict(darker), guarded.predict(darker))
    pipeline = make_pipeline(GaussianBlur(sigma=0.3), FrozenEstimator(guarded.fit(X, y)))
    np.testing.assert_array_equal(pipeline.predict(X), guarded.predict(GaussianBlur(sigma=0.3).transform(X)))
    assert PGD(pipeline, eps=0.1, random_state=0).generate(X, y).shape == X.shape
    scoring = make_attack_scorer(FGSM(None, eps=0.05), adaptive=True)
    grid = {"defense__sigma": [0.0, 1.0], "detector": [FrozenEstimator(detector), BrightDetector(2.0)]}
    search = GridSearchCV(guarded, grid, scoring=scoring, cv=KFold(2)).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.model is face and as_face_model(search).predict(X).shape == y.shape


def test_before_a_smoothed_model(guard):
    face, X, _, detector = guard
    smoothed = RandomizedSmoothing(face, sigma=0.3, n_draws=40, alpha=0.01, random_state=0)
    flagged = detector.decision_function(X) > detector.threshold_
    predicted = GuardedClassifier(smoothed, detector=detector).predict(X)
    np.testing.assert_array_equal(predicted, np.where(flagged, -1, smoothed.predict(X)))
    attack = PGD(GuardedClassifier(smoothed, detector=detector), eps=0.1, max_iter=3, random_state=0)
    assert attack.generate(X, face.predict(X)).shape == X.shape


def test_chance_in_what_mitigates_is_met_in_expectation(guard):
    """Flagged images see the mean over draws, the others their one way; and no attack's batch shows."""
    face, X, y, detector = guard
    defense = Randomization(scale=(0.8, 1.0), random_state=0)
    model = as_face_model(GuardedClassifier(face, detector=detector, defense=defense))
    assert model.has_chance
    expected = model.in_expectation(8, 5)
    of_all = as_face_model(make_pipeline(defense, face)).in_expectation(8, 5)
    values, logits, gradient = expected.value_and_gradient(X, y, "margin")
    flagged = detector.decision_function(X) > detector.threshold_
    for rows, other in ((~flagged, face), (flagged, of_all)):
        for one, by_hand in zip((values, logits, gradient), other.value_and_gradient(X, y, "margin"), strict=True):
            np.testing.assert_allclose(one[rows], by_hand[rows], rtol=1e-4, atol=1e-6)
    attack = PGD(model, eps=0.1, max_iter=3, eot_iter=4, random_state=0)
    whole = attack.generate(X, y)
    np.testing.assert_array_equal(attack.set_params(batch_size=5).generate(X[::-1], y[::-1])[::-1], whole)


@pytest.mark.parametrize("attack", [FGSM, PGD, DeepFool, DDN])
def test_defences_before_a_guard_change_nothing_of_what_counts(guard, attack):
    """The identity before a guard leaves its attacks what they are: rejection is no success, and labels keep their columns."""
    face, X, y, detector = guard
    guarded = GuardedClassifier(face, detector=detector)
    pipeline = make_pipeline(AsItIs(), guarded)
    model = as_face_model(pipeline)
    assert model.reject_label == -1
    np.testing.assert_array_equal(model.label_index(np.array([4, 4, -1])), [4, 4, 5])
    budget = {"random_state": 0} | ({"eps": 0.1} if attack in (FGSM, PGD) else {})
    for labels in (None, y):
        direct, expected = attack(guarded, **budget).generate(X, labels, return_report=True)
        through, report = attack(pipeline, **budget).generate(X, labels, return_report=True)
        np.testing.assert_array_equal(through, direct)
        np.testing.assert_array_equal(report.success, expected.success)


def test_chance_behind_a_guard_behind_a_defence_is_met_in_expectation(guard):
    face, X, y, detector = guard
    chance = make_pipeline(Randomization(scale=(0.8, 1.0)), face)
    pipeline = make_pipeline(AsItIs(), GuardedClassifier(chance, detector=detector))
    assert as_face_model(pipeline).has_chance
    attack = PGD(pipeline, eps=0.05, max_iter=2, eot_iter=4, random_state=0)
    whole = attack.generate(X, y)
    np.testing.assert_array_equal(attack.set_params(batch_size=7).generate(X, y), whole)


def test_a_detector_of_other_images_is_refused(guard):
    face, X, _, _ = guard
    detector = PCADetector(n_components=2).fit(X[:, 1:], np.arange(len(X)) % 2)
    with pytest.raises(ValueError, match="expected a detector for images of shape"):
        as_face_model(face, detector=detector)


class AsItIs(BaseDefense):
    """Changes nothing."""

    _parameter_constraints = {}

    def _apply(self, X, draw):
        return X


@pytest.mark.parametrize(
    ("defense", "words"),
    [
        (GaussianBlur, "the class GaussianBlur.*an instance"),
        ("gaussian_blur", "expected defense as a defence.*'gaussian_blur'"),
        (0, "expected defense as a defence"),
        ([GaussianBlur()], "expected defense as a defence"),
        (FaceClassifier, "the class FaceClassifier"),
        (FGSM(None), "no gradient"),
        (PCAReconstruction(), "PCAReconstruction is not fitted.*FrozenEstimator"),
        (make_pipeline(GaussianBlur(), PCAReconstruction()), "PCAReconstruction is not fitted.*FrozenEstimator"),
        (make_pipeline(GaussianBlur(), "mean"), "expected defense as a defence.*'mean'"),
    ],
)
def test_what_is_no_defence_or_not_fitted_is_refused_at_once(guard, defense, words):
    """Also where no image is flagged, so that it would never be asked."""
    face, X, y, _ = guard
    guarded = GuardedClassifier(face, detector=BrightDetector(2.0), defense=defense)
    for call in (lambda: guarded.fit(X, y), lambda: guarded.predict(X), lambda: FGSM(guarded).generate(X, y)):
        with pytest.raises(ValueError, match=words):
            call()


def test_a_face_model_is_no_defence(guard):
    face, X, y, detector = guard
    with pytest.raises(ValueError, match=r"expected defense as a defence.*FaceClassifier"):
        GuardedClassifier(face, detector=detector, defense=face).fit(X, y)


def test_fitted_and_frozen_defences_and_steps_that_do_nothing_pass(guard):
    face, X, y, detector = guard
    fitted = PCAReconstruction(n_components=5).fit(X)
    for defense in (fitted, FrozenEstimator(fitted), make_pipeline("passthrough", FrozenEstimator(fitted)), AsItIs()):
        assert GuardedClassifier(face, detector=detector, defense=defense).fit(X, y).predict(X).shape == y.shape


@pytest.mark.parametrize("label", [True, 1.5, np.nan, [-1], np.array([7]), 10**30, b"no", (), object()])
def test_odd_labels_for_rejection_are_refused(guard, label):
    face, X, y, detector = guard
    with pytest.raises(ValueError, match=r"expected reject_label as a whole number.*got"):
        GuardedClassifier(face, detector=detector, reject_label=label).fit(X, y)
    assert GuardedClassifier(face, detector=detector, reject_label=np.int16(-7)).predict(X).min() == -7
