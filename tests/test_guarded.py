"""A face model behind a detector: decisions, gradients, and attacks that get past both."""

import numpy as np
import pytest
from scipy.optimize import minimize

from smartbox import FaceClassifier, as_face_model
from smartbox.attacks import APGD, DDN, EAD, FAB, FGSM, FMN, PGD, AutoAttack, CarliniL2, DeepFool, OnePixel, Square
from smartbox.base import BaseDetector
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)


class AffineDetector(BaseDetector):
    """Suspicion is an affine function of the pixels."""

    def __init__(self, weights=None, bias=0.0):
        self.weights = weights
        self.bias = bias

    def _fit(self, X, y):
        pass

    def _score(self, X):
        return X.reshape(len(X), -1).astype(np.float64) @ self.weights + self.bias

    def _value_and_gradient(self, X):
        return self._score(X), np.broadcast_to(self.weights.reshape(X.shape[1:]), X.shape).astype(np.float32)


def fitted(weights, bias, X):
    return AffineDetector(weights, bias).fit(X, np.arange(len(X)) % 2)


@pytest.fixture(scope="module")
def affine():
    """Two classes; a detector that flags the other side of a plane through most of the images' way out."""
    weights, bias, X = random_affine(0, 2, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y = face.predict(X)
    keep = y == y[0]
    X, y = X[keep], y[keep]
    normal = weights[1 - y[0]] - weights[y[0]]
    across = np.random.default_rng(1).normal(size=normal.size)
    suspicious = 0.5 * normal / np.linalg.norm(normal) + across / np.linalg.norm(across)
    scores = X.reshape(len(X), -1) @ suspicious
    threshold = np.sort(scores)[4:6].mean()  # about half of the images are flagged from the start
    detector = fitted(suspicious, -threshold, X)
    return face, X, y, normal, detector


@pytest.fixture(scope="module")
def curved():
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=24, seed=3)
    weights = np.random.default_rng(0).normal(size=X[0].size) / np.sqrt(X[0].size)
    detector = fitted(weights, -np.quantile(X.reshape(len(X), -1) @ weights, 0.8) - 0.05, X)
    return face, X, face.predict(X), detector


def test_rejects_exactly_what_the_detector_flags(curved):
    face, X, _, detector = curved
    for scale in (1e-3, 1.0, 50.0):
        predicted = as_face_model(face, detector=detector, scale=scale).predict(X)
        flagged = detector.predict(X) == 1
        assert 0 < flagged.sum() < len(X)
        np.testing.assert_array_equal(predicted == -1, flagged)
        np.testing.assert_array_equal(predicted[~flagged], face.predict(X)[~flagged])


@pytest.mark.parametrize("objective", ["odds", "margin", "cross_entropy", "dlr"])
@pytest.mark.parametrize("towards", [False, True])
def test_gradient_is_that_of_finite_differences(affine, objective, towards):
    face, X, y, _, detector = affine
    if objective == "dlr":
        weights, bias, X = random_affine(2, 5, SHAPE)
        face, y = affine_face(weights, bias, SHAPE), np.arange(len(X)) % 5
        detector = fitted(np.linspace(-1, 1, 20), 0.0, X)
    model = as_face_model(face, detector=detector, scale=3.0)
    _, _, gradient = model.value_and_gradient(X, y, objective, towards)
    way = np.random.default_rng(0).normal(size=X.shape).astype(np.float32) * np.float32(1e-4)
    ahead, back = X + way, X - way
    change = (
        model.value_and_gradient(ahead, y, objective, towards)[0]
        - model.value_and_gradient(back, y, objective, towards)[0]
    )
    exact = (gradient.astype(np.float64) * (ahead.astype(np.float64) - back)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(change, exact, rtol=0.02, atol=5e-5)


def test_smallest_change_past_both_is_that_of_the_quadratic_programme(affine):
    face, X, y, normal, detector = affine
    report = CarliniL2(
        as_face_model(face, detector=detector, scale=20.0), binary_search_steps=9, max_iter=400, initial_const="auto"
    ).generate(X, y, return_report=True)[1]
    alone = DeepFool(face, n_refinements=0).generate(X, y, return_report=True)[1]
    logits = face.logits(X).astype(np.float64)
    lead = logits[np.arange(len(y)), y] - logits[np.arange(len(y)), 1 - y]
    hampered = []
    for i in range(len(X)):
        constraints = [
            {"type": "ineq", "fun": lambda d, i=i: normal @ d - lead[i]},
            {"type": "ineq", "fun": lambda d, i=i: -(detector.weights @ (X[i].ravel() + d) + detector.bias)},
        ]
        exact = minimize(
            lambda d: d @ d, normal * lead[i] / (normal @ normal), jac=lambda d: 2 * d, constraints=constraints
        )
        assert exact.success
        exact = np.linalg.norm(exact.x)
        hampered.append(exact > 1.05 * alone.l2[i])
        assert exact * (1 - 1e-3) <= report.l2[i] <= 1.05 * exact
    assert report.success.all()
    assert np.sum(hampered) >= 3, "the detector stands in the way"


@pytest.mark.parametrize(
    "make",
    [
        lambda m: FGSM(m, eps=0.2),
        lambda m: PGD(m, eps=0.2, random_state=0),
        lambda m: APGD(m, eps=0.2, max_iter=30, random_state=0),
        lambda m: APGD(m, eps=0.2, max_iter=30, n_targets=3, loss="dlr", random_state=0),
        lambda m: DeepFool(m),
        lambda m: DDN(m, max_iter=40),
        lambda m: FMN(m, max_iter=40),
        lambda m: FAB(m, norm="l2", max_iter=20),
        lambda m: CarliniL2(m, binary_search_steps=4, max_iter=60, initial_const="auto"),
        lambda m: EAD(m, binary_search_steps=4, max_iter=60, initial_const="auto"),
        lambda m: Square(m, eps=0.2, max_queries=100, random_state=0),
        lambda m: OnePixel(m, n_pixels=40, population_size=20, max_iter=8, random_state=0),
        lambda m: AutoAttack(m, eps=0.2, max_iter=10, max_queries=30, n_targets=2, random_state=0),
    ],
)
def test_success_is_a_wrong_name_and_no_alarm(curved, make):
    face, X, y, detector = curved
    guarded = as_face_model(face, detector=detector, scale=5.0)
    attack = make(guarded)
    X_adv = attack.generate(X, y)
    won = (face.predict(X_adv) != y) & (detector.decision_function(X_adv) <= detector.threshold_)
    np.testing.assert_array_equal(attack.report_.success, won)
    unaware = make(face).generate(X, y)
    past_both = (face.predict(unaware) != y) & (detector.decision_function(unaware) <= detector.threshold_)
    assert won.sum() >= past_both.sum(), "knowing the detector does not hurt"


def test_targeted_and_own_predictions(curved):
    face, X, y, detector = curved
    guarded = as_face_model(face, detector=detector, scale=5.0)
    aim = (y + 1) % 5
    attack = PGD(guarded, eps=0.3, targeted=True, random_state=0)
    X_adv = attack.generate(X, aim)
    reached = (face.predict(X_adv) == aim) & (detector.predict(X_adv) == 0)
    np.testing.assert_array_equal(attack.report_.success, reached)
    assert reached.mean() > 0.5
    without_labels = PGD(guarded, eps=0.2, random_state=0).generate(X)
    np.testing.assert_array_equal(without_labels, PGD(guarded, eps=0.2, random_state=0).generate(X, y))


def test_rejection_is_no_class_for_a_ratio_of_logits(affine):
    face, X, y, _, detector = affine
    guarded = as_face_model(face, detector=detector)
    with pytest.raises(ValueError, match="needs at least 3 classes, the model has 2"):
        APGD(guarded, loss="dlr").generate(X, y)
    attack = AutoAttack(guarded, eps=0.05, version="rand", max_iter=5, random_state=0)
    attack.generate(X, y)
    assert not attack.report_.n_zero_gradients.any()


def test_mistakes_say_what_to_do(curved):
    face, _, _, detector = curved
    with pytest.raises(ValueError, match="fit it on clean and attacked images first"):
        as_face_model(face, detector=AffineDetector(np.ones(20)))
    with pytest.raises(ValueError, match="expected scale as a positive number"):
        as_face_model(face, detector=detector, scale=0)
    known = FaceClassifier.from_network(small_network(), classes=[-1, 0, 1, 2, 3])
    with pytest.raises(ValueError, match="rename that identity"):
        as_face_model(known, detector=detector)
