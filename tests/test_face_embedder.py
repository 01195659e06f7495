"""Embeddings: the crop against Pillow, gradients against finite differences, and what a transformer must do."""

import pickle

import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import smartbox
from smartbox import FaceEmbedder
from smartbox._crop import Crop
from smartbox.datasets import make_faces
from smartbox.estimator_checks import example_images
from tests.doubles import smooth_embedding


@pytest.fixture(scope="module")
def network():
    return smooth_embedding()


@pytest.mark.parametrize(
    ("image_shape", "side", "crop"),
    [
        ((24, 21), 40, 1.4),
        ((24, 21), 9, 1.4),
        ((30, 50), 16, 0.5),
        ((17, 8), 8, 1.0),
        ((9, 31), 33, 2.3),
        ((5, 4), 7, 1.0),
    ],
)
def test_crop_is_pillows(image_shape, side, crop):
    """Pillow's bilinear resampling of a box, on images whose edges were repeated by hand."""
    X = np.random.default_rng(0).uniform(size=(3, *image_shape, 1)).astype(np.float32)
    height, width = image_shape
    margin = 3 * max(image_shape)
    middle, half = (margin + width / 2, margin + height / 2), crop * width / 2
    box = (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
    expected = [
        Image.fromarray(np.pad(x[..., 0], margin, mode="edge")).resize((side, side), Image.Resampling.BILINEAR, box)
        for x in X
    ]
    out = Crop((*image_shape, 1), (side, side, 1), crop)(X)
    np.testing.assert_allclose(out[..., 0], np.stack(expected), atol=1e-5)


def test_crop_keeps_the_aspect_of_the_network():
    """A network twice as high as wide sees a part twice as high as wide: a ramp keeps one slope both ways."""
    ramp = np.arange(40)[:, None] / 100 + np.arange(20) / 50
    out = Crop((40, 20, 1), (32, 16, 1), 0.5)(ramp[None, :, :, None].astype(np.float32))[0, :, :, 0]
    np.testing.assert_allclose(np.diff(out, axis=0), 0.01 * 10 / 16, atol=1e-6)
    np.testing.assert_allclose(np.diff(out, axis=1), 0.02 * 10 / 16, atol=1e-6)
    np.testing.assert_allclose(out.mean(), ramp.mean(), atol=1e-6)


@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (1, 3), (3, 1)])
@pytest.mark.parametrize("crop", [None, 0.6, 1.4])
def test_pull_back_is_the_adjoint(channels, crop):
    rng = np.random.default_rng(0)
    side = (12, 10) if crop is None else (7, 9)
    look = Crop((12, 10, channels[0]), (*side, channels[1]), crop)
    X, v = rng.uniform(size=(4, 12, 10, channels[0])), rng.normal(size=(4, *side, channels[1]))
    X, v = X.astype(np.float32), v.astype(np.float32)
    there, back = (look(X) * v).sum(axis=(1, 2, 3)), (look.pull_back(v) * X).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(there, back, rtol=1e-4, atol=1e-4)


def test_embeddings_are_the_networks_outputs_at_length_1(network):
    X = example_images()
    outputs = network(X).numpy()
    expected = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    E = FaceEmbedder(network).transform(X)
    assert E.dtype == np.float32
    np.testing.assert_allclose(E, expected, atol=1e-6)
    np.testing.assert_array_equal(E, FaceEmbedder(network, crop=None).transform(X))


@pytest.mark.parametrize(
    ("image_shape", "crop"), [((16, 12, 1), None), ((16, 12, 3), None), ((21, 30, 1), None), ((9, 7, 3), 1.4)]
)
def test_gradient_is_that_of_finite_differences(network, image_shape, crop):
    X = 0.25 + example_images(image_shape, n=4) / 2
    embedder = FaceEmbedder(network, crop=crop, batch_size=3)
    rng = np.random.default_rng(1)
    E, pull_back = embedder.vjp(X)
    np.testing.assert_array_equal(E, embedder.transform(X))
    v, u = rng.normal(size=E.shape), rng.normal(size=X.shape).astype(np.float32)
    analytic = (pull_back(v).astype(np.float64) * u).sum(axis=(1, 2, 3))
    step = np.float32(2e-3)
    ahead, behind = embedder.transform(X + step * u), embedder.transform(X - step * u)
    numeric = ((ahead.astype(np.float64) - behind) * v).sum(axis=1) / (2 * step)
    np.testing.assert_allclose(analytic, numeric, rtol=5e-3, atol=5e-3 * np.abs(numeric).max())


def test_several_gradients_at_once_are_those_of_one_after_the_other(network):
    X = example_images((20, 20, 3), n=5)
    _, pull_back = FaceEmbedder(network, batch_size=2).vjp(X)
    v = np.random.default_rng(0).normal(size=(5, 3, 6))
    singly = np.stack([pull_back(v[:, i]) for i in range(3)], axis=1)
    np.testing.assert_allclose(pull_back(v), singly, atol=1e-5 * np.abs(singly).max())


def test_gradient_has_no_part_along_the_embedding(network):
    """An embedding of length 1 cannot grow."""
    E, pull_back = FaceEmbedder(network).vjp(example_images())
    assert np.abs(pull_back(E)).max() < 1e-6 * np.abs(pull_back(np.ones_like(E))).max()


def test_neither_batch_nor_place_matters_to_the_bit(network):
    X = example_images((20, 20, 3), n=70)
    order = np.random.default_rng(0).permutation(len(X))
    whole = FaceEmbedder(network).transform(X)
    np.testing.assert_array_equal(FaceEmbedder(network).transform(X[order]), whole[order])
    v = np.random.default_rng(0).normal(size=whole.shape)
    gradient = FaceEmbedder(network).vjp(X)[1](v)
    for batch_size in (1, 7, 100):
        embedder = FaceEmbedder(network, batch_size=batch_size)
        np.testing.assert_array_equal(embedder.transform(X), whole)
        np.testing.assert_array_equal(embedder.vjp(X)[1](v), gradient)


def test_images_are_not_written_to(network):
    X = example_images((20, 20, 3))
    before = X.copy()
    X.setflags(write=False)
    E, pull_back = FaceEmbedder(network).vjp(X)
    pull_back(E)
    np.testing.assert_array_equal(X, before)


def test_clones_share_the_network_and_pickles_repeat(network):
    embedder = FaceEmbedder(network, crop=0.9)
    assert clone(embedder).network is network
    stored = pickle.dumps(embedder)
    assert pickle.dumps(embedder) == stored
    assert joblib.hash(embedder) == joblib.hash(clone(embedder))
    X = example_images()
    np.testing.assert_allclose(pickle.loads(stored).transform(X), embedder.transform(X), atol=1e-6)


def test_before_a_classifier_in_a_pipeline_and_a_grid_search(network):
    faces = make_faces(n_identities=3, n_images=8, image_shape=(24, 24))
    pipeline = make_pipeline(FaceEmbedder(network), StandardScaler(), SVC())
    search = GridSearchCV(pipeline, {"faceembedder__crop": [None, 0.8]}, cv=2).fit(faces.images, faces.target)
    assert search.best_estimator_[0].network is network
    assert search.predict(faces.images).shape == (24,)


def test_a_network_of_free_size_takes_images_as_they_are():
    import keras

    images = keras.Input((None, None, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 3, activation="tanh")(images))
    embedder = FaceEmbedder(keras.Model(images, x))
    assert embedder.transform(example_images((9, 8, 1))).shape == embedder.transform(example_images()).shape == (12, 5)
    with pytest.raises(ValueError, match="fixed size"):
        embedder.set_params(crop=1.0).transform(example_images())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "facenet"}, "'dlib_resnet_v1' or a keras.Model, got 'facenet'"),
        ({"network": 3}, "got int"),
        ({"crop": 0}, "crop"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_mistakes_are_named(network, change, message):
    with pytest.raises(ValueError, match=message):
        FaceEmbedder(network).set_params(**change).transform(example_images())


def test_images_of_two_channels_are_refused(network):
    with pytest.raises(ValueError, match=r"1 channels.*got 2"):
        FaceEmbedder(network).transform(example_images((16, 12, 2)))


def test_the_built_in_network_is_shared_and_takes_grey_for_colour():
    faces = make_faces(n_identities=2, n_images=2)
    first, second = FaceEmbedder(), pickle.loads(pickle.dumps(FaceEmbedder()))
    E = first.transform(faces.images)
    assert first._network() is second._network() and len(pickle.dumps(first)) < 1000
    np.testing.assert_array_equal(second.transform(np.repeat(faces.images, 3, axis=3)), E)
    np.testing.assert_array_equal(first.transform(faces.images[1:2]), E[1:2])
    np.testing.assert_array_equal(FaceEmbedder(crop=1.4).transform(faces.images), E)
    assert E.shape == (4, 128)


def test_images_of_the_networks_size_are_not_cropped():
    X = example_images((150, 150, 3), n=2)
    outputs = FaceEmbedder()._network()(X).numpy()
    expected = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    np.testing.assert_allclose(FaceEmbedder().transform(X), expected, atol=1e-5)
    assert np.abs(FaceEmbedder(crop=1.4).transform(X) - expected).max() > 1e-3


def test_exported():
    assert "FaceEmbedder" in dir(smartbox)
