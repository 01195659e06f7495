"""Randomised smoothing against what Gaussian noise does to an affine model, SciPy's binomial tests and finite differences."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier, _smoothed, as_face_model
from smartbox.attacks import DDN, PGD, DeepFool, UniversalPerturbation
from smartbox.defenses import (
    AdaptiveNoiseReduction,
    GaussianBlur,
    GuardedClassifier,
    Randomization,
    RandomizedSmoothing,
)
from smartbox.defenses._randomized_smoothing import proportion_above
from smartbox.estimator_checks import example_images
from smartbox.metrics import certified_accuracy
from tests.defenses.test_guarded_classifier import ATTACKS
from tests.doubles import BrightDetector, NumpyModel, affine_face, random_affine, small_network

SHAPE = (4, 5, 1)


@pytest.fixture(scope="module")
def affine():
    """Two classes, and images of all distances to the boundary; the distance is that of the smoothed classifier, too."""
    weights, bias, X = random_affine(0, 2, SHAPE)
    normal = (weights[1] - weights[0]) / np.linalg.norm(weights[1] - weights[0])
    height = X.reshape(len(X), -1) @ normal - normal.sum() / 2
    X = X + ((np.linspace(-0.25, 0.25, len(X)) - height)[:, None] * normal).reshape(X.shape)
    X = X.astype(np.float32)
    margin = np.diff(X.reshape(len(X), -1).astype(np.float64) @ weights.T + bias)[:, 0]
    return affine_face(weights, bias, SHAPE), X, margin / np.linalg.norm(weights[1] - weights[0])


@pytest.fixture(scope="module")
def curved():
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=24, seed=3)
    return face, X, face.predict(X)


@pytest.mark.parametrize("sigma", [0.05, 0.1, 2.0])
def test_radius_is_the_distance_to_the_boundary_of_an_affine_model(affine, sigma):
    """Up to the statistical bound."""
    face, X, distance = affine
    smoothed = RandomizedSmoothing(face, sigma=sigma, n_draws=4000, random_state=0)
    certificates = smoothed.certify(X)
    certain = certificates.label >= 0
    np.testing.assert_array_equal(certificates.label[certain], (distance > 0).astype(int)[certain])
    assert (certificates.radius <= np.abs(distance)).all()
    p = norm.cdf(np.abs(distance) / sigma)
    # five standard deviations below the share that is expected, and the bound's own distance of about 3.3 of them
    least = sigma * norm.ppf(np.clip(p - 8.5 * np.sqrt(p * (1 - p) / 4000) - 8 / 4000, 0.5, None))
    assert (certificates.radius >= least - 1e-9).all() and (certificates.radius[least > 0] > 0).all()
    most = sigma * norm.ppf(0.001 ** (1 / 4000))
    np.testing.assert_allclose(certificates.radius[certificates.count == 4000], most)


def test_noise_is_not_cut_off():
    """Dark images, and a class for darker ones: cut at 0, noise would make them brighter and the radius too large."""
    X = np.linspace(0.03, 0.06, 20, dtype=np.float32)[:, None, None, None] * np.ones((20, *SHAPE), np.float32)
    weights = np.stack([np.ones(20), np.zeros(20)])
    face = affine_face(weights, [-20 * 0.02, 0], SHAPE)  # the first label where the mean exceeds 0.02
    distance = (X.mean(axis=(1, 2, 3)) - 0.02) * np.sqrt(20)
    certificates = RandomizedSmoothing(face, sigma=0.1, n_draws=4000, random_state=0).certify(X)
    assert (certificates.label == 0).all() and (certificates.radius <= distance).all()
    assert (certificates.radius > 0.5 * distance).mean() > 0.9
    p = norm.cdf(distance / 0.1)
    assert (np.abs(certificates.count / 4000 - p) < 5 * np.sqrt(p * (1 - p) / 4000)).all()


def test_bounds_fail_as_rarely_as_alpha_says(affine):
    face, X, distance = affine
    X = np.concatenate([X[distance > 0.05] + np.float32(1e-6) * k for k in range(40)])  # other pixels, other noise
    p = norm.cdf(np.tile(distance[distance > 0.05], 40) / 0.2)
    smoothed = RandomizedSmoothing(face, sigma=0.2, n_draws=60, n_select=100, alpha=0.1, random_state=1)
    certificates = smoothed.certify(X)
    failures = np.mean(certificates.lower > p)
    assert 0.01 < failures < 0.1 + 3 * np.sqrt(0.09 / len(X))


def test_bound_is_that_of_clopper_and_pearson():
    counts = np.array([0, 1, 17, 50, 99, 100])
    bounds = proportion_above(counts, 100, 0.01)
    exact = [
        binomtest(k, 100, alternative="greater").proportion_ci(confidence_level=0.99, method="exact").low
        for k in counts
    ]
    np.testing.assert_allclose(bounds, exact, rtol=1e-9)
    assert (np.diff(bounds) > 0).all()


def test_prediction_abstains_by_the_binomial_test(curved):
    face, X, _ = curved
    smoothed = RandomizedSmoothing(face, sigma=0.3, n_draws=60, alpha=0.01, random_state=0)
    counts = np.rint(smoothed.predict_proba(X) * 60).astype(int)
    predicted = smoothed.predict(X)
    for own, label in zip(counts, predicted, strict=True):
        second, first = np.sort(own)[-2:]
        sure = binomtest(first, first + second).pvalue <= 0.01
        assert label == (own.argmax() if sure else -1)
    assert 0 < np.mean(predicted == -1) < 1


def test_half_of_the_noise_is_not_enough():
    weights, bias, X = random_affine(0, 2, SHAPE)
    tie = affine_face(np.ones_like(weights), [0, 0], SHAPE)  # everywhere, so that the first label has it all
    certificates = RandomizedSmoothing(tie, n_draws=50, random_state=0).certify(X)
    assert (certificates.label == 0).all() and (certificates.count == 50).all()
    huge = RandomizedSmoothing(affine_face(weights, bias, SHAPE), sigma=1e4, n_draws=50, random_state=0).certify(X)
    np.testing.assert_array_equal(huge.label == -1, huge.lower <= 0.5)
    assert (huge.label == -1).mean() > 0.8 and (huge.radius[huge.label == -1] == 0).all()


def test_one_stream_an_image_whatever_the_blocks(curved, monkeypatch):
    face, X, y = curved
    model = as_face_model(RandomizedSmoothing(face, n_attack_draws=20, random_state=0))
    votes = model.votes(X, model.streams(X)["estimate"], 40)
    expected = model.value_and_gradient(X, y)
    monkeypatch.setattr(_smoothed, "_BLOCK_PIXELS", 1)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_array_equal(model.votes(X[order], model.streams(X[order])["estimate"], 40), votes[order])
    for ours, theirs in zip(model.value_and_gradient(X[order], y[order]), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs[order])


def test_noise_is_drawn_in_blocks_of_bounded_size(monkeypatch):
    class Recorder(NumpyModel):
        sizes = []

        def logits(self, X):
            self.sizes.append(X.size)
            return super().logits(X)

    monkeypatch.setattr(_smoothed, "_BLOCK_PIXELS", 10_000)
    X = example_images(n=30)
    RandomizedSmoothing(Recorder(), n_draws=70, n_select=10, random_state=0).certify(X)
    assert max(Recorder.sizes) <= 10_000 and sum(Recorder.sizes) == 80 * X.size


def test_chance_is_that_of_random_state(curved):
    face, X, _ = curved
    fixed = RandomizedSmoothing(face, n_draws=50, random_state=0)
    np.testing.assert_array_equal(fixed.predict_proba(X), fixed.predict_proba(X))
    fresh = RandomizedSmoothing(face, n_draws=50, random_state=np.random.RandomState(0))
    assert (fresh.predict_proba(X) != fresh.predict_proba(X)).any()
    streams = as_face_model(fixed).streams(X)
    draws = [streams[role].normal(50) for role in ("select", "estimate", "attack")]
    assert np.abs(np.corrcoef([draw.ravel() for draw in draws]) - np.eye(3)).max() < 0.15


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_a_seeded_attack_repeats_whatever_the_smoothing_draws(curved, random_state):
    """Also in a Pipeline, behind a guard, and where the attack starts from the model's own predictions; in any batch."""
    face, X, y = curved[0], curved[1][:6], curved[2][:6]
    smoothed = RandomizedSmoothing(face, sigma=0.1, n_draws=20, n_attack_draws=2, random_state=random_state)
    guard = {"detector": BrightDetector(float(np.median(X.mean(axis=(1, 2, 3)))))}
    for model in (
        smoothed,
        make_pipeline(GaussianBlur(sigma=0.5), smoothed),
        make_pipeline(Randomization(random_state=0), smoothed),
        GuardedClassifier(smoothed, **guard),
        GuardedClassifier(smoothed, **guard, defense=GaussianBlur()),
        RandomizedSmoothing(
            make_pipeline(GaussianBlur(sigma=0.5), smoothed), sigma=0.05, n_attack_draws=2, random_state=0
        ),
        as_face_model(smoothed),
    ):
        attack = PGD(model, eps=0.05, max_iter=2, eot_iter=2, random_state=0)
        for labels in (y, None):
            made, report = attack.generate(X, labels, return_report=True)
            again, repeated = attack.generate(X, labels, return_report=True)
            np.testing.assert_array_equal(again, made)
            for name in report:
                np.testing.assert_array_equal(repeated[name], report[name])
        np.testing.assert_array_equal(attack.set_params(batch_size=4).generate(X[::-1])[::-1], made)
    universal = UniversalPerturbation(smoothed, eps=0.05, max_iter=2, random_state=0)
    np.testing.assert_array_equal(universal.fit(X).perturbation_, clone(universal).fit(X).perturbation_)
    assert (smoothed.predict_proba(X) != smoothed.predict_proba(X)).any()  # what is deployed draws anew


def test_a_seed_of_its_own_is_kept_under_attack(curved):
    model = as_face_model(RandomizedSmoothing(curved[0], random_state=3))
    assert model.seeded(5) is model and as_face_model(make_pipeline(GaussianBlur(), model)).seeded(5).model is model


@pytest.mark.parametrize("objective", ["cross_entropy", "odds", "margin", "dlr"])
def test_gradient_is_that_of_finite_differences_on_the_same_noise(objective, monkeypatch):
    X = 0.25 + example_images(n=6) / 2
    model = as_face_model(RandomizedSmoothing(NumpyModel(4), sigma=0.1, n_attack_draws=30, random_state=0))
    streams = model.streams(X)
    monkeypatch.setattr(model, "streams", lambda X: streams)  # which an image's pixels would choose anew
    y = np.arange(6) % 4
    way = np.random.default_rng(0).normal(size=X.shape).astype(np.float32) * np.float32(1e-3)
    ahead, back = (model.value_and_gradient(X + sign * way, y, objective)[0] for sign in (1, -1))
    gradient = model.value_and_gradient(X, y, objective)[2]
    np.testing.assert_allclose(ahead - back, 2 * (gradient * way).sum(axis=(1, 2, 3)), rtol=0.01, atol=1e-4)
    cotangents = np.random.default_rng(1).normal(size=(6, 3, 4))
    each = np.stack([model.vjp(X, cotangents[:, i]) for i in range(3)], axis=1)
    np.testing.assert_array_equal(model.vjps(X, cotangents), each)


def test_without_noise_it_is_the_model(curved):
    face, X, y = curved
    still = as_face_model(RandomizedSmoothing(face, sigma=1e-9, n_attack_draws=3, random_state=0))
    for ours, theirs in zip(still.value_and_gradient(X, y, "odds"), face.value_and_gradient(X, y, "odds"), strict=True):
        difference = ours - theirs  # of logits, any constant
        np.testing.assert_allclose(
            difference - difference.mean(axis=-1, keepdims=True) * (ours.ndim == 2), 0, atol=1e-4
        )
    made = [DeepFool(model).generate(X, y) for model in (still, face)]
    np.testing.assert_allclose(*made, atol=1e-3)


def test_variance_of_the_gradient_falls_with_the_draws(curved):
    face, X, _ = curved
    spread = {}
    cotangents = np.random.default_rng(0).normal(size=(len(X), 5))
    for n_draws in (8, 64):
        model = RandomizedSmoothing(face, sigma=0.02, n_attack_draws=n_draws, random_state=np.random.RandomState(0))
        model = as_face_model(model)
        spread[n_draws] = np.var([model.vjp(X, cotangents) for _ in range(12)], axis=0).sum()
    assert 5 < spread[8] / spread[64] < 12


@pytest.mark.parametrize("of", ["affine", "curved"])
def test_no_certified_image_falls_within_its_radius(of, request):
    face, X = request.getfixturevalue(of)[:2]
    smoothed = RandomizedSmoothing(face, sigma=0.1, n_draws=200, random_state=0)
    certificates = smoothed.certify(X)
    assert np.mean(certificates.radius > 0.05) > 0.3
    model = as_face_model(smoothed)
    n_tried = 0
    for eps in np.quantile(certificates.radius[certificates.radius > 0], [0.2, 0.8]):
        inside = certificates.radius >= eps
        label = certificates.label[inside]
        for aim in (model, face):
            X_adv = PGD(aim, norm="l2", eps=eps, max_iter=10, early_stop=False, random_state=0).generate(
                X[inside], label
            )
            predicted = smoothed.predict(X_adv)
            assert np.isin(predicted, [-1]).sum() + (predicted == label).sum() == inside.sum()
            n_tried += inside.sum()
    assert n_tried > 20
    nearest, report = DDN(model, max_iter=20).generate(X, model.predict(X), return_report=True)
    within = report.success & (report.l2 < certificates.radius)
    predicted = smoothed.predict(nearest)[within]
    assert ((predicted == certificates.label[within]) | (predicted == -1)).all()


def test_attacks_find_their_way_through_the_noise(curved):
    face, X, _ = curved
    smoothed = RandomizedSmoothing(face, sigma=0.05, n_draws=100, random_state=0)
    y = smoothed.predict_proba(X).argmax(axis=1)
    unaware = PGD(face, norm="l2", eps=0.6, random_state=0).generate(X, y)
    aware = PGD(smoothed, norm="l2", eps=0.6, random_state=0).generate(X, y)
    assert smoothed.score(aware, y) < smoothed.score(unaware, y) <= smoothed.score(X, y)


@pytest.mark.parametrize("make", ATTACKS)
def test_every_attack_meets_the_mean_probabilities(curved, make):
    face, X, _ = curved
    smoothed = RandomizedSmoothing(face, sigma=0.03, n_attack_draws=4, random_state=0)
    model, X = as_face_model(smoothed), X[:8]
    y = model.predict(X)
    X_adv, report = make(smoothed).generate(X, y, return_report=True)
    np.testing.assert_array_equal(report.success, model.predict(X_adv) != y)
    assert report.success.any()


def test_in_pipelines_and_searches(curved):
    face, X, y = curved
    smoothed = RandomizedSmoothing(face, sigma=0.02, n_draws=30, random_state=0)
    pipeline = make_pipeline(GaussianBlur(sigma=0.5), smoothed)
    assert PGD(pipeline, eps=0.2, random_state=0).generate(X, y).shape == X.shape
    np.testing.assert_array_equal(pipeline.fit(X, y).predict(X), smoothed.predict(GaussianBlur(sigma=0.5).transform(X)))
    search = GridSearchCV(smoothed, {"sigma": [0.02, 3.0]}, cv=KFold(2)).fit(X, y)
    assert search.best_params_ == {"sigma": 0.02}
    assert as_face_model(search).sigma == 0.02 and search.best_estimator_.model is face


def test_defences_behind_the_noise_get_images(curved):
    """A defence takes no pixels beyond [0, 1]: the cut is then a step of the model, and its gradient is the cut's."""
    face, X, y = curved
    inner = make_pipeline(AdaptiveNoiseReduction(), GaussianBlur(), face)
    smoothed = RandomizedSmoothing(inner, sigma=0.3, n_draws=40, n_select=20, random_state=0)
    assert smoothed.certify(X).label.shape == y.shape and as_face_model(smoothed).value_and_gradient(X, y)[2].any()
    cut = _smoothed.unbounded(as_face_model(make_pipeline(GaussianBlur(), face)))
    far = np.random.default_rng(0).uniform(-0.5, 1.5, X.shape).astype(np.float32)
    np.testing.assert_array_equal(cut.logits(far), as_face_model(cut.model).logits(np.clip(far, 0, 1)))
    gradient = cut.vjp(far, np.ones((len(X), 5), np.float32))
    inside = (far >= 0) & (far <= 1)
    assert not gradient[~inside].any() and gradient[inside].all()


def test_text_labels_and_mistakes(curved):
    face, X, _ = curved
    named = FaceClassifier.from_network(face.network_, classes=["a", "b", "c", "d", "e"])
    smoothed = RandomizedSmoothing(named, sigma=1.0, n_draws=20, random_state=0)
    assert {"rejected"} < set(smoothed.predict(X)) <= {*"abcde", "rejected"}
    assert certified_accuracy(named.predict(X), *[smoothed.certify(X)[key] for key in ("label", "radius")]) < 1
    known = FaceClassifier.from_network(face.network_, classes=[-1, 0, 1, 2, 3])
    with pytest.raises(ValueError, match="rename that identity"):
        RandomizedSmoothing(known).predict(X)
    with pytest.raises(ValueError, match="smooth the face model first"):
        RandomizedSmoothing(GuardedClassifier(face, detector=BrightDetector())).predict(X)
    with pytest.raises(ValueError, match="sigma"):
        RandomizedSmoothing(face, sigma=0).certify(X)
    with pytest.raises(ValueError, match=r"at least 11 for alpha 0\.001, got 10"):
        RandomizedSmoothing(face, n_draws=10).certify(X)
    assert (RandomizedSmoothing(face, sigma=1e-6, n_draws=11).predict(X) == face.predict(X)).all()
    with pytest.raises(ValueError, match="must lie in"):
        RandomizedSmoothing(face).certify(X * 255)
