"""The masking report on models that are built to hide their gradient, each in one way, and on models that are not."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier
from smartbox._model import FaceModelMixin
from smartbox._objectives import OBJECTIVES
from smartbox.attacks import FGSM, PGD, Square
from smartbox.base import BaseDefense
from smartbox.defenses import GaussianBlur, GuardedClassifier, RandomizedSmoothing
from smartbox.estimator_checks import example_images
from smartbox.metrics import masking_report
from smartbox.metrics._masking import _larger_eps, beats
from tests.doubles import BrightDetector, small_network

QUICK = {"eps": 0.03, "max_iter": 20, "max_queries": 150, "random_state": 0}


class Saturated(FaceModelMixin):
    """A face model whose logits run into a wall, where float32 has no slope left."""

    def __init__(self, face, gain=1e3):
        self.face, self.gain = face, gain
        self.classes_, self.image_shape_ = face.classes_, face.image_shape_

    def logits(self, X):
        return np.tanh(np.float32(self.gain) * self.face.logits(X))

    def vjp(self, X, cotangents):
        slope = np.float32(self.gain) * (1 - self.logits(X) ** 2)
        return self.face.vjp(X, cotangents * slope)

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        logits = self.logits(X)
        values, cotangents = OBJECTIVES[objective](np, logits, self.is_label(y))
        return values, logits, self.vjp(X, cotangents.astype(np.float32))


class Staircase(BaseDefense):
    """Few grey levels, with the derivative that steps have: none."""

    def _apply(self, X, draw):
        return np.rint(X * 16) / 16

    def _pull_back(self, X, draw, gradient):
        return np.zeros_like(gradient)


class StaircaseSeenThrough(Staircase):
    bpda = True

    def _pull_back(self, X, draw, gradient):
        return gradient


class Ripple(BaseDefense):
    """A ripple too small to see and too steep to climb: its own slope drowns that of the model."""

    def _apply(self, X, draw):
        return X + np.float32(0.004) * np.sin(np.float32(5e4) * X)

    def _pull_back(self, X, draw, gradient):
        return gradient * (1 + np.float32(200) * np.cos(np.float32(5e4) * X))


class Lottery(BaseDefense):
    """Only one pixel in ten is left, drawn anew at each call."""

    def __init__(self, *, random_state=None):
        self.random_state = random_state

    def _draw(self, X, rng):
        return (rng.uniform(X[0].size) < 0.1).reshape(X.shape)

    def _apply(self, X, draw):
        return np.where(draw, X, np.float32(0.4))

    def _pull_back(self, X, draw, gradient):
        return np.where(draw, gradient, np.float32(0))


@pytest.fixture(scope="module")
def faces():
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=32, seed=3)
    return face, X, face.predict(X)


def struck(report):
    return {name for name, check in report.checks.items() if check.struck}


@pytest.mark.parametrize(
    "defend",
    [
        lambda face: face,
        lambda face: make_pipeline(GaussianBlur(sigma=0.7), face),
        lambda face: make_pipeline(StaircaseSeenThrough(), face),
        lambda face: GuardedClassifier(face, detector=BrightDetector(0.55), defense=GaussianBlur(sigma=0.7)),
        lambda face: GuardedClassifier(face, detector=BrightDetector(0.6), scale=10.0),
        lambda face: RandomizedSmoothing(face, sigma=0.02, n_attack_draws=8, random_state=np.random.RandomState(0)),
    ],
)
def test_honest_models_are_not_suspected(faces, defend):
    face, X, y = faces
    report = masking_report(defend(face), X, y, **QUICK)
    assert report.verdict == "no sign of gradient masking" and not report.suspected and not report.warnings
    assert struck(report) == set() and report.checks.unbounded.success >= 0.95


def test_saturation_shows_as_zero_gradients(faces):
    face, X, y = faces
    report = masking_report(Saturated(face), X, y, **QUICK)
    assert report.suspected and "zero_gradient" in struck(report) and report.checks.zero_gradient.share > 0.5
    assert any("saturated" in warning for warning in report.warnings)


def test_steps_without_a_stand_in_show_as_zero_gradients(faces):
    face, X, _ = faces
    pipeline = make_pipeline(Staircase(), face)
    report = masking_report(pipeline, X, pipeline.predict(X), **QUICK)
    assert report.checks.zero_gradient.share == 1 and report.suspected
    assert np.isnan(report.checks.random_gradient.agreement) and "random_gradient" not in struck(report)


def test_a_shattered_gradient_is_beaten_by_random_search(faces):
    face, X, _ = faces
    pipeline = make_pipeline(Ripple(), face)
    report = masking_report(pipeline, X, pipeline.predict(X), **QUICK)
    assert "random_search" in struck(report) and "zero_gradient" not in struck(report)
    assert report.checks.random_search.square > report.checks.random_search.gradient


def test_chance_shows_as_gradients_that_disagree(faces):
    face, X, _ = faces
    pipeline = make_pipeline(Lottery(random_state=np.random.RandomState(0)), face)
    report = masking_report(pipeline, X, pipeline.predict(X), **QUICK)
    assert "random_gradient" in struck(report) and report.checks.random_gradient.agreement < 0.5
    assert any("rand" in warning for warning in report.warnings)


def test_figures_are_those_of_the_attacks(faces):
    face, X, y = faces
    wrong = y.copy()
    wrong[:5] = (y[:5] + 1) % 5  # these are named wrongly, hence not attacked
    report = masking_report(face, X, wrong, norm="l2", eps=0.4, max_iter=8, max_queries=20, random_state=7)
    assert report.n_images == len(X) - 5
    seed = np.random.RandomState(7).randint(2**31 - 1)
    X, y = X[5:], y[5:]
    for attack, figure in (
        (FGSM(face, norm="l2", eps=0.4), report.checks.one_step.one_step),
        (PGD(face, norm="l2", eps=0.4, max_iter=8, random_state=seed), report.checks.one_step.many_steps),
        (PGD(face, norm="l2", eps=1.6, max_iter=8, random_state=seed), report.checks.larger_eps.success[3]),
        (Square(face, norm="l2", eps=0.4, max_queries=20, random_state=seed), report.checks.random_search.square),
    ):
        assert figure == attack.generate(X, y, return_report=True)[1].success.mean()
    assert report.checks.larger_eps.eps == [0.2, 0.4, 0.8, 1.6, np.sqrt(X[0].size)]


def test_one_attack_wins_only_beyond_chance():
    none, some, all_of_them = np.zeros(10, bool), np.arange(10) < 4, np.ones(10, bool)
    assert beats(all_of_them, none) and not beats(some, none) and not beats(none, all_of_them)
    assert not beats(none, none) and not beats(all_of_them, all_of_them)


def test_success_that_never_grows_or_falls_is_struck():
    none, half, whole = np.zeros(20, bool), np.arange(20) < 10, np.ones(20, bool)
    assert "whatever eps" in _larger_eps([1, 2, 3], [none, none, none]).warning
    assert "less often" in _larger_eps([1, 2, 3], [none, whole, half]).warning
    assert _larger_eps([1, 2, 3], [none, half, whole]).warning is None
    assert _larger_eps([1, 2], [whole, whole]).warning is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"eps": 0}, "above 0"),
        ({"eps": 8}, "8/255"),
        ({"norm": "l3"}, "norm must be"),
        ({"max_iter": 0}, "max_iter"),
        ({"max_queries": 1.5}, "max_queries"),
    ],
)
def test_mistakes_say_what_to_do(faces, change, words):
    face, X, y = faces
    with pytest.raises(ValueError, match=words):
        masking_report(face, X, y, **{**QUICK, **change})


def test_images_that_are_wrong_from_the_start_tell_nothing(faces):
    face, X, y = faces
    with pytest.raises(ValueError, match="true labels"):
        masking_report(face, X, (y + 1) % 5, **QUICK)
