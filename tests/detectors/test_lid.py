"""Local intrinsic dimensionality: uniform balls, closed forms, scikit-learn's neighbours."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from smartbox import FaceClassifier
from smartbox.detectors import LocalIntrinsicDimensionality
from smartbox.detectors._lid import intrinsic_dimension
from smartbox.detectors._pooled import channel_means
from smartbox.estimator_checks import example_images
from tests.doubles import small_network

FACE = FaceClassifier.from_network(small_network())


@pytest.mark.parametrize("dimension", [2, 7])
def test_of_points_uniform_in_a_ball(dimension):
    """The radius of such points is the dimension-th root of a uniform number; the mean estimate is (k - 1) / (k - 2) of it."""
    k = 200
    radii = np.random.default_rng(0).uniform(size=(200, 5000)) ** (1 / dimension)
    estimates = intrinsic_dimension(np.sort(radii, axis=1)[:, :k])
    assert estimates.mean() == pytest.approx(dimension * k / (k - 2), rel=0.02)


def test_closed_form():
    """Distances that halve: the mean of log(1/4), log(1/2) and log 1 is -log 2."""
    assert intrinsic_dimension(np.array([[1.0, 2.0, 4.0]]))[0] == pytest.approx(1 / np.log(2))
    assert intrinsic_dimension(np.array([[3.0, 6.0, 12.0]]))[0] == pytest.approx(1 / np.log(2))  # in any unit
    for odd in ([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [2.0, 2.0, 2.0]):
        assert np.isfinite(intrinsic_dimension(np.array([odd])))


def test_transform_equals_neighbours_by_scikit_learn():
    train, test = example_images(n=60, seed=1), example_images(n=20, seed=2)
    layers = ["conv1", "dense1"]
    features = LocalIntrinsicDimensionality(FACE, layers=layers, n_neighbors=8).fit(train)
    for layer, found in zip(layers, features.transform(test).T, strict=True):
        points, queries = (channel_means(FACE.activations(images, layer)[0]) for images in (train, test))
        distances, _ = NearestNeighbors(n_neighbors=8, algorithm="kd_tree").fit(points).kneighbors(queries)
        np.testing.assert_allclose(found, -1 / np.mean(np.log(distances / distances[:, -1:]), axis=1), rtol=1e-4)


def test_twins_are_left_out_of_the_references():
    """Attacked images at hardly any distance have the features of their clean twins, which are not swamped by a duplicate."""
    rng = np.random.default_rng(0)
    clean = rng.uniform(0.2, 0.8, (60, 16, 12, 1)).astype(np.float32)
    X = np.concatenate([clean, clean + rng.normal(scale=1e-4, size=clean.shape).astype(np.float32)])
    y = np.repeat([0, 1], 60)
    features = LocalIntrinsicDimensionality(FACE, layers="dense1", n_neighbors=10, random_state=0)
    crossed = features.fit_transform(X, y)
    np.testing.assert_allclose(crossed[:60], crossed[60:], rtol=0.05)
    own = features.transform(X)
    assert np.median(own[60:]) < 0.6 * np.median(crossed[60:])  # where the twin is a reference


def test_references_are_drawn_by_the_seed_and_at_most_all():
    X = example_images(n=30)
    few = [LocalIntrinsicDimensionality(FACE, n_references=7, random_state=seed).fit(X) for seed in (0, 0, 1)]
    assert [len(each.references_[0]) for each in few] == [7, 7, 7]
    np.testing.assert_array_equal(few[0].references_[0], few[1].references_[0])
    assert not np.array_equal(few[0].references_[0], few[2].references_[0])
    assert len(LocalIntrinsicDimensionality(FACE).fit(X).references_[0]) == 30
