"""The PCA detector against what linear algebra says of it."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, GroupKFold

from smartbox.datasets import make_detection_set
from smartbox.detectors import PCADetector
from smartbox.estimator_checks import example_images


@pytest.fixture(scope="module")
def clean():
    return 0.3 + 0.4 * example_images(n=60)


def subspace(detector):
    return detector.pca_.components_[: detector.n_components_]


def test_reconstruction_error_is_the_sum_of_the_discarded_eigenvalues(clean):
    X, y, _ = make_detection_set(clean, 1 - clean)
    detector = PCADetector(n_components=30, random_state=0).fit(X, y)
    flat = clean.reshape(60, -1).astype(np.float64)
    eigenvalues = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) ** 2 / 59
    V = subspace(detector)
    rest = (flat - flat.mean(axis=0)) - (flat - flat.mean(axis=0)) @ V.T @ V
    np.testing.assert_allclose((rest**2).sum() / 59, eigenvalues[30:].sum(), rtol=1e-3)


def test_scores_do_not_see_what_is_orthogonal_to_the_components(clean):
    rng = np.random.default_rng(0)
    X, y, _ = make_detection_set(clean, np.clip(clean + rng.normal(scale=0.1, size=clean.shape), 0, 1))
    detector = PCADetector(n_components=10, random_state=0).fit(X, y)
    noise = rng.normal(size=(60, 192))
    V = subspace(detector).astype(np.float64)
    hidden = 0.05 * (noise - noise @ V.T @ V)
    seen = detector.decision_function((clean + hidden.reshape(clean.shape)).astype(np.float32))
    np.testing.assert_allclose(seen, detector.decision_function(clean), atol=1e-4)


@pytest.mark.parametrize("components", ["leading", "trailing"])
@pytest.mark.parametrize("whiten", [False, True])
def test_a_shift_along_a_component_is_separated_perfectly(clean, components, whiten):
    first = PCADetector(n_components=5, components=components, random_state=0)
    X, y, _ = make_detection_set(clean, 1 - clean)
    axis = first.fit(X, y).pca_.components_[0 if components == "leading" else -1].reshape(clean.shape[1:])
    # far enough to leave the clean cloud, yet within the box
    spread = np.ptp((clean * axis).sum(axis=(1, 2, 3)))
    shifted = np.clip(0.5 * clean + 0.25 + (2.5 if components == "leading" else 1) * spread * axis, 0, 1).astype(
        np.float32
    )
    X, y, _ = make_detection_set(0.5 * clean + 0.25, shifted)
    detector = PCADetector(n_components=59, components=components, whiten=whiten, C=100.0, random_state=0).fit(X, y)
    assert detector.score(X, y) == 1


def test_magnitude_sees_noise_without_a_mean(clean):
    """Symmetric noise moves no mean, so that a linear rule on signed coefficients has nothing to hold on to."""
    rng = np.random.default_rng(0)
    faces = 0.3 + 0.4 * example_images(n=1500)
    noisy = np.clip(faces + rng.normal(scale=0.05, size=faces.shape), 0, 1).astype(np.float32)
    train, test = make_detection_set(faces[:1200], noisy[:1200]), make_detection_set(faces[1200:], noisy[1200:])
    scores = {}
    for magnitude in (False, True):
        detector = PCADetector(n_components=50, components="trailing", magnitude=magnitude, random_state=0).fit(
            *train[:2]
        )
        scores[magnitude] = detector.score(*test[:2])
    assert scores[False] < 0.7 < 0.95 < scores[True]


def test_number_of_components(clean):
    X, y, _ = make_detection_set(clean, 1 - clean)
    assert PCADetector(n_components=1000).fit(X, y).n_components_ == 59  # no more than the clean images span
    share = PCADetector(n_components=0.9).fit(X, y)
    variance = np.cumsum(share.pca_.explained_variance_ratio_)
    assert variance[share.n_components_ - 1] >= 0.9 > variance[share.n_components_ - 2]
    assert share.transform(X).shape == (120, share.n_components_)


def test_truncated_and_full_decompositions_agree(clean):
    X, y, _ = make_detection_set(clean, np.clip(clean + 0.1, 0, 1))
    quick, full = (
        PCADetector(n_components=5, random_state=0).fit(X, y),
        PCADetector(n_components=40, random_state=0).fit(X, y),
    )
    cosines = np.linalg.svd(subspace(quick) @ full.pca_.components_[:5].T, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-3)


def test_grid_search_with_twins_kept_together(clean):
    X, y, groups = make_detection_set(clean, np.clip(clean + 0.2, 0, 1))
    search = GridSearchCV(PCADetector(random_state=0), {"C": [0.01, 1.0], "n_components": [5, 20]}, cv=GroupKFold(3),
                          scoring="roc_auc")  # fmt: skip
    search.fit(X, y, groups=groups)
    assert search.best_score_ > 0.9


def test_calibrated_threshold_keeps_its_rate(clean):
    X, y, _ = make_detection_set(clean[:30], 1 - clean[:30])
    detector = PCADetector(n_components=10, random_state=0).fit(X, y).calibrate(clean[30:], fpr=0.1)
    assert detector.predict(clean[30:]).mean() <= 0.1
    assert detector.threshold_ == np.sort(detector.decision_function(clean[30:]))[27]


def test_of_two_numbers_the_larger_is_adversarial_and_text_is_refused(clean):
    X, y, _ = make_detection_set(clean, 1 - clean)
    detector = PCADetector(n_components=5, random_state=0).fit(X, 2 * y - 1)
    assert detector.classes_.tolist() == [-1, 1]
    assert detector.decision_function(X)[y == 1].mean() > detector.decision_function(X)[y == 0].mean()
    with pytest.raises(ValueError, match="which label means adversarial"):
        PCADetector(n_components=5).fit(X, np.where(y == 1, "adversarial", "clean"))


def test_one_class_is_refused_with_the_cure(clean):
    with pytest.raises(ValueError, match="make_detection_set"):
        PCADetector().fit(clean, np.zeros(60))


@pytest.mark.parametrize("components", ["leading", "trailing"])
@pytest.mark.parametrize("whiten", [False, True])
def test_the_score_is_affine_in_the_pixels(clean, components, whiten):
    """So that its gradient at one image gives the score of every other."""
    X, y, _ = make_detection_set(clean, np.clip(clean + 0.1, 0, 1))
    detector = PCADetector(n_components=20, components=components, whiten=whiten, random_state=0).fit(X, y)
    scores, gradient = detector.value_and_gradient(X)
    np.testing.assert_array_equal(gradient, gradient[:1].repeat(len(X), axis=0))
    expected = scores[0] + ((X - X[0]).astype(np.float64) * gradient[0]).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(scores, expected, atol=1e-3 * np.abs(scores).max())


def test_magnitude_has_a_gradient_by_the_signs(clean):
    X, y, _ = make_detection_set(clean, np.clip(clean + 0.1, 0, 1))
    detector = PCADetector(n_components=1, magnitude=True, random_state=0).fit(X, y)
    gradient = detector.value_and_gradient(X)[1]
    scaled = detector.svm_[0].transform(detector.transform(X))[:, 0]
    slope = (
        detector.svm_[-1].coef_[0, 0] / detector.svm_[0].scale_[0] * detector.pca_.components_[0].reshape(X.shape[1:])
    )
    np.testing.assert_allclose(gradient, np.sign(scaled)[:, None, None, None] * slope, rtol=1e-4)
