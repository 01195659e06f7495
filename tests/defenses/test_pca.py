"""PCA reconstruction against the eigenvectors of the covariance."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier
from smartbox._compat import FrozenEstimator
from smartbox.attacks import PGD
from smartbox.defenses import PCAReconstruction
from smartbox.estimator_checks import example_images
from tests.doubles import small_network

X = 0.3 + 0.4 * example_images((7, 6, 1), n=60)  # reconstructions stay inside the box


def projector(n_components):
    rows = X.reshape(len(X), -1).astype(np.float64)
    vectors = np.linalg.eigh(np.cov(rows.T))[1][:, -n_components:]
    return rows.mean(axis=0), vectors @ vectors.T


@pytest.mark.parametrize("n_components", [1, 5, 20])
def test_projection_onto_the_leading_eigenvectors(n_components):
    mean, P = projector(n_components)
    Z = 0.3 + 0.4 * example_images((7, 6, 1), n=9, seed=1)
    out, pull_back = PCAReconstruction(n_components=n_components).fit(X).vjp(Z)
    expected = mean + (Z.reshape(9, -1) - mean) @ P
    assert expected.min() > 0 and expected.max() < 1
    np.testing.assert_allclose(out.reshape(9, -1), expected, atol=1e-5)
    v = np.random.default_rng(0).normal(size=Z.shape).astype(np.float32)
    np.testing.assert_allclose(pull_back(v).reshape(9, -1), v.reshape(9, -1) @ P, atol=1e-5)


def test_twice_is_once():
    defense = PCAReconstruction(n_components=8).fit(X)
    once = defense.transform(X)
    np.testing.assert_allclose(defense.transform(once), once, atol=1e-5)


def test_what_is_clipped_has_no_slope():
    defense = PCAReconstruction(n_components=3).fit(X)
    Z = np.clip(X[:4] * 3 - 1, 0, 1)
    rng, (mean, P) = np.random.default_rng(0), projector(3)
    shown = mean + (Z.reshape(4, -1) - mean) @ P
    assert (shown < 0).any() or (shown > 1).any()
    v = rng.normal(size=Z.shape).astype(np.float32)
    expected = (v.reshape(4, -1) * ((shown >= 0) & (shown <= 1))) @ P
    np.testing.assert_allclose(defense.vjp(Z)[1](v).reshape(4, -1), expected, atol=1e-5)


def test_a_share_of_the_variance_and_more_components_than_images():
    values = np.linalg.eigvalsh(np.cov(X.reshape(60, -1).T.astype(np.float64)))[::-1]
    n_components = PCAReconstruction(n_components=0.8).fit(X).n_components_
    share = np.cumsum(values) / values.sum()
    assert share[n_components - 1] >= 0.8 > share[n_components - 2]
    few = PCAReconstruction(n_components=100).fit(X[:5])
    assert few.n_components_ == 4
    np.testing.assert_allclose(few.transform(X[:5]), X[:5], atol=1e-5)


def test_an_image_does_not_see_its_batch_and_unfitted_raises():
    defense = PCAReconstruction(n_components=10).fit(X)
    singly = np.concatenate([defense.transform(x[None]) for x in X])
    np.testing.assert_array_equal(singly, defense.transform(X))
    with pytest.raises(NotFittedError):
        PCAReconstruction().transform(X)


def test_searched_and_attacked_in_a_pipeline():
    face = FaceClassifier.from_network(small_network())
    images = example_images(n=40)
    y = face.predict(images)
    pipeline = make_pipeline(PCAReconstruction(), FrozenEstimator(face))
    search = GridSearchCV(pipeline, {"pcareconstruction__n_components": [1, 25]}, cv=2).fit(images, y)
    assert search.best_params_["pcareconstruction__n_components"] == 25
    attack = PGD(search, eps=0.05, max_iter=5, random_state=0)
    X_adv = attack.generate(images, y)
    assert search.score(X_adv, y) < search.score(images, y)
