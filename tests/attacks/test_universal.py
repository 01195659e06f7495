"""Universal perturbation against the closed form on affine models, and its life as a transformer that learns."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from smartbox import FaceClassifier
from smartbox.attacks import UniversalPerturbation
from smartbox.defenses import GaussianBlur
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
DUAL = {"linf": 1, "l2": 2}
EPS = {"linf": 0.05, "l2": 0.6}


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


@pytest.fixture(scope="module")
def one_class():
    """A face model of two classes, images of class 0 alone, their margins and the normal of the boundary."""
    weights, bias, X = random_affine(0, 2, SHAPE)
    normal = weights[0] - weights[1]
    raw = X.reshape(20, -1) @ normal + bias[0] - bias[1]
    bias[0] += 0.05 - raw.min()
    return affine_face(weights, bias, SHAPE), X, raw - raw.min() + 0.05, normal


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("share", [0.25, 0.6, 0.95])
def test_affine_model_is_left_along_its_normal_at_the_known_rate(one_class, norm, share):
    """The best shift is ``-eps`` times the normal's direction, and fools exactly those nearer than ``eps``."""
    face, X, margins, normal = one_class
    distances = np.sort(margins) / np.linalg.norm(normal, DUAL[norm])
    k = int(share * 20)
    eps = (distances[k - 1] + distances[k]) / 2
    attack = UniversalPerturbation(face, eps=eps, norm=norm).fit(X)
    direction = np.sign(normal) if norm == "linf" else normal / np.linalg.norm(normal)
    np.testing.assert_allclose(attack.perturbation_.ravel(), -eps * direction, rtol=1e-4, atol=1e-6)
    assert attack.fooling_rate_ == k / 20 == np.mean(margins < eps * np.linalg.norm(normal, DUAL[norm]))


@pytest.mark.parametrize("norm", DUAL)
def test_stops_once_all_are_fooled(one_class, norm):
    face, X, margins, normal = one_class
    eps = 1.2 * margins.max() / np.linalg.norm(normal, DUAL[norm])
    attack = UniversalPerturbation(face, eps=eps, norm=norm).fit(X)
    assert attack.fooling_rate_ == 1 and attack.n_iter_ == 1


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("eps", [0, 0.01, "0.1", 1.0])
def test_stays_in_ball_and_box(face, norm, eps):
    X = example_images(n=30)
    attack = UniversalPerturbation(face, eps=eps, norm=norm, max_iter=6).fit(X)
    size = np.abs(attack.perturbation_).max() if norm == "linf" else np.linalg.norm(attack.perturbation_)
    assert size <= float(eps) * (1 + 1e-6) + 1e-7
    X_adv = attack.generate(X)
    np.testing.assert_array_equal(X_adv, np.clip(X + attack.perturbation_, 0, 1))
    assert attack.report_[norm].max() <= float(eps) * (1 + 1e-6) + 1e-6
    if eps == 0:
        assert not attack.perturbation_.any() and attack.fooling_rate_ == 0


@pytest.mark.parametrize("norm", DUAL)
def test_fooling_rate_is_that_of_generate(face, norm):
    X = example_images(n=40)
    attack = UniversalPerturbation(face, eps=EPS[norm], norm=norm, max_iter=10).fit(X)
    attack.generate(X)
    assert attack.fooling_rate_ == pytest.approx(attack.report_.success.mean())
    assert attack.fooling_rate_ == pytest.approx(np.mean(face.predict(attack.transform(X)) != face.predict(X)))
    assert 0.1 < attack.fooling_rate_ < 1
    assert not attack.report_.n_gradients.any() and attack.n_iter_ == 10


@pytest.mark.parametrize("norm", DUAL)
def test_fools_new_images_more_than_noise_does(face, norm):
    X = example_images(n=120)
    attack = UniversalPerturbation(face, eps=EPS[norm], norm=norm, max_iter=15).fit(X[:60])
    attack.generate(X[60:])
    noise = np.random.default_rng(0).choice([-1, 1], size=X.shape[1:]).astype(np.float32)
    noise *= EPS[norm] / (1 if norm == "linf" else np.linalg.norm(noise))
    shaken = face.predict(np.clip(X[60:] + noise, 0, 1)) != face.predict(X[60:])
    assert attack.report_.success.mean() > 2 * shaken.mean()


def test_leaves_the_prediction_whatever_the_truth(face):
    X = example_images(n=30)
    attack = UniversalPerturbation(face, eps=0.05, max_iter=5).fit(X)
    wrong = (face.predict(X) + 1) % 5
    np.testing.assert_array_equal(clone(attack).fit(X, wrong).perturbation_, attack.perturbation_)


def test_targeted_brings_images_to_one_label(face):
    X = example_images(n=40)
    y = np.full(40, 2)
    attack = UniversalPerturbation(face, eps=0.15, max_iter=15, targeted=True).fit(X, y)
    _, report = attack.generate(X, y, return_report=True)
    assert attack.fooling_rate_ == pytest.approx(report.success.mean())
    assert attack.fooling_rate_ > 0.8 > 0.5 > np.mean(face.predict(X) == 2)
    with pytest.raises(ValueError, match="targeted"):
        clone(attack).fit(X)


@pytest.mark.parametrize("norm", DUAL)
def test_batches_order_and_seed_do_not_matter(face, norm):
    X = example_images(n=30)
    attack = UniversalPerturbation(face, eps=EPS[norm], norm=norm, max_iter=6, random_state=0).fit(X)
    order = np.random.default_rng(0).permutation(30)
    for other in (
        clone(attack).set_params(batch_size=7).fit(X),
        clone(attack).set_params(batch_size=1).fit(X),
        clone(attack).set_params(random_state=1).fit(X),
        clone(attack).fit(X[order]),
    ):
        np.testing.assert_allclose(other.perturbation_, attack.perturbation_, atol=1e-5)
        assert other.fooling_rate_ == attack.fooling_rate_


def test_must_be_fitted_and_a_clone_is_not(face):
    X = example_images()
    attack = UniversalPerturbation(face, max_iter=2)
    assert get_tags(attack).requires_fit
    for unfitted in (attack, clone(clone(attack).fit(X))):
        for call in (unfitted.transform, unfitted.generate):
            with pytest.raises(NotFittedError):
                call(X)
    assert clone(attack).model is face
    np.testing.assert_array_equal(attack.fit_transform(X), attack.transform(X))


def test_carries_over_to_another_model(face):
    X = example_images(n=40)
    attack = UniversalPerturbation(face, eps=0.1, max_iter=10).fit(X)
    blurred = make_pipeline(GaussianBlur(sigma=0.5), face)
    X_adv, report = attack.set_params(model=blurred).generate(X, return_report=True)
    np.testing.assert_array_equal(X_adv, np.clip(X + attack.perturbation_, 0, 1))
    np.testing.assert_array_equal(report.success, blurred.predict(X_adv) != blurred.predict(X))


def test_knows_the_defences_of_a_pipeline(face):
    X = example_images(n=60)
    blurred = make_pipeline(GaussianBlur(sigma=1.5), face)
    rates = [UniversalPerturbation(model, eps=0.05, max_iter=15).fit(X).set_params(model=blurred)
             .generate(X, return_report=True)[1].success.mean() for model in (blurred, face)]  # fmt: skip
    assert rates[0] > rates[1]


def test_flat_models_end_at_once():
    face = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), SHAPE)
    attack = UniversalPerturbation(face).fit(np.full((3, *SHAPE), 0.5))
    assert not attack.perturbation_.any() and attack.fooling_rate_ == 0 and attack.n_iter_ == 0


def test_errors_say_what_is_missing(face):
    X = example_images()
    with pytest.raises(ValueError, match="has no model"):
        UniversalPerturbation(None).fit(X)
    with pytest.raises(ValueError, match="expected images of shape"):
        UniversalPerturbation(face).fit(X[:, 1:])
    with pytest.raises(ValueError, match="expected eps"):
        UniversalPerturbation(face, eps="much").fit(X)
