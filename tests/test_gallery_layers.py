"""Detectors that look into a network, on a gallery and a verifier: layers by name, their gradients, and the detectors."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier, FaceEmbedder, FaceGallery, FaceVerifier, as_face_model
from smartbox._model import LOGITS, PIXELS
from smartbox.attacks import FGSM
from smartbox.datasets import make_detection_set
from smartbox.defenses import GaussianBlur
from smartbox.detectors import (
    ArtifactDetector,
    ConvFilterDetector,
    FeatureSqueezingDetector,
    KernelDensityDetector,
    MahalanobisDetector,
    detection_scores,
)
from smartbox.estimator_checks import example_images
from tests.doubles import PixelEmbedder, small_network, smooth_embedding

SMOOTH = smooth_embedding()
HIDDEN = [layer.name for layer in SMOOTH.layers][:3]  # convolution, pooling, flattening


def enrolled(cls, template="mean", crop=0.8, embedder=None):
    X, y = example_images(n=12), np.arange(12) % 4
    embedder = FaceEmbedder(SMOOTH, crop=crop, batch_size=5) if embedder is None else embedder
    more = {"unknown": 99} if cls is FaceGallery else {}
    return cls(embedder, template=template, threshold=0.5, **more).fit(X, y)


@pytest.mark.parametrize("template", ["mean", "max"])
@pytest.mark.parametrize("cls", [FaceGallery, FaceVerifier])
def test_gradients_are_those_of_finite_differences(cls, template):
    model, X = enrolled(cls, template), 0.2 + 0.6 * example_images(n=7, seed=3)
    layers = [HIDDEN[0], LOGITS, PIXELS, HIDDEN[2]]
    rng = np.random.default_rng(0)
    cotangents = [rng.normal(size=out.shape).astype(np.float32) for out in model.activations(X, layers)]
    way = rng.normal(size=X.shape).astype(np.float32)

    def value(t):
        found = model.activations(X + np.float32(t) * way, layers)
        return sum(
            (c.astype(np.float64) * a).sum(axis=tuple(range(1, a.ndim))) for c, a in zip(cotangents, found, strict=True)
        )

    h = 2e-3
    slope = (value(h) - value(-h)) / (2 * h)
    gradient = model.activations_vjp(X, layers, cotangents)
    np.testing.assert_allclose((gradient * way).sum(axis=(1, 2, 3)), slope, rtol=0.02, atol=0.02 * np.abs(slope).max())


@pytest.mark.parametrize("cls", [FaceGallery, FaceVerifier])
def test_layers_logits_and_pixels_are_what_they_say(cls):
    model, X = enrolled(cls, crop=None), example_images(n=7, seed=3)
    assert model.layer_names("convolution") == HIDDEN[:1] and model.layer_names("vector") == [HIDDEN[2], LOGITS]
    assert model.last_dropout() is None
    flat, logits, pixels = model.activations(X, [HIDDEN[2], LOGITS, PIXELS])
    np.testing.assert_array_equal(pixels, X)
    np.testing.assert_allclose(logits, model.logits(X), atol=1e-4)
    np.testing.assert_allclose(model.head(HIDDEN[2], flat), logits, atol=1e-4)
    face = FaceClassifier.from_network(SMOOTH)
    np.testing.assert_allclose(flat, face.activations(X, [HIDDEN[2]])[0], atol=1e-6)
    u = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    way = np.random.default_rng(1).normal(size=flat.shape).astype(np.float32)
    ends = [(u * model.head(HIDDEN[2], flat + np.float32(t) * way).astype(np.float64)).sum() for t in (1e-3, -1e-3)]
    assert (model.head_vjp(HIDDEN[2], flat, u) * way).sum() == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=0.01)


def test_the_embedder_gives_its_embedding_by_name():
    embedder, X = FaceEmbedder(SMOOTH, crop=0.8, batch_size=5), 0.2 + 0.6 * example_images(n=7, seed=3)
    embeddings, pull_back = embedder.vjp(X)
    np.testing.assert_allclose(embedder.activations(X, [LOGITS])[0], embeddings, atol=1e-6)
    u = np.random.default_rng(0).normal(size=embeddings.shape).astype(np.float32)
    np.testing.assert_allclose(embedder.activations_vjp(X, [LOGITS], [u]), pull_back(u), atol=1e-5)


@pytest.fixture(scope="module")
def attacked():
    """A gallery of a classifier's network, cut to another size of images, and its probes before and after an attack."""
    gallery = enrolled(FaceGallery, embedder=FaceEmbedder(small_network(n_classes=6), crop=0.9))
    X, y = 0.2 + 0.6 * example_images(n=48, seed=4), np.arange(48) % 4
    return gallery, *make_detection_set(X, FGSM(gallery, eps=0.15).generate(X, y))


@pytest.mark.parametrize(
    "detector",
    [
        ConvFilterDetector,
        MahalanobisDetector,
        lambda model: ArtifactDetector(model, hidden_layer_sizes=(16,)),
        KernelDensityDetector,
    ],
)
def test_detectors_look_into_a_gallery(attacked, detector):
    gallery, X, y, _ = attacked
    fitted = detector(gallery).set_params(random_state=0).fit(X, y)
    scores = fitted.decision_function(X)
    assert scores[y == 1].mean() > scores[y == 0].mean()
    np.testing.assert_allclose(detection_scores({"one": fitted}, X)["one"], scores, rtol=1e-4, atol=1e-4)
    guarded = as_face_model(gallery, detector=fitted)
    assert np.isfinite(guarded.value_and_gradient(X[:4], gallery.predict(X[:4]))[2]).all()


def test_a_defence_before_a_gallery_passes_its_layers_on(attacked):
    gallery, X, _, _ = attacked
    model = as_face_model(make_pipeline(GaussianBlur(), gallery))
    name = model.layer_names("convolution")[0]
    blurred = GaussianBlur().transform(X)
    np.testing.assert_array_equal(model.activations(X, [name])[0], gallery.activations(blurred, name)[0])


def test_an_embedder_without_a_network_has_no_layers():
    gallery, X = enrolled(FaceGallery, embedder=PixelEmbedder()), example_images(n=24, seed=4)
    assert gallery.layer_names("vector") == [] and gallery.last_dropout() is None
    with pytest.raises(ValueError, match="found no convolution"):
        ConvFilterDetector(gallery).fit(X, np.arange(24) % 2)
    assert FeatureSqueezingDetector(gallery).fit(X, np.arange(24) % 2).decision_function(X).shape == (24,)
