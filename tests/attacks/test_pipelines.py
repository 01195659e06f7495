"""Attacks on Pipelines: the defences are seen through, and the errors say what is missing."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from smartbox import FaceClassifier
from smartbox._compat import FrozenEstimator
from smartbox.attacks import FGSM, PGD
from smartbox.defenses import GaussianBlur
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (6, 7, 1)


def test_blur_in_front_of_an_affine_model_is_an_affine_model():
    """The blurred weights: the blur is its own adjoint. FGSM on the Pipeline is FGSM on that model."""
    weights, bias, X = random_affine(0, 3, SHAPE)
    blur = GaussianBlur(sigma=0.9)
    shifted = 0.5 + weights.reshape(3, *SHAPE) / 20  # into the box, where the blur takes images; linear, so no harm
    blurred = (blur.transform(shifted) - 0.5).reshape(3, -1) * 20
    pipeline = make_pipeline(blur, affine_face(weights, bias, SHAPE))
    composed = affine_face(blurred, bias, SHAPE)
    y = composed.predict(X)
    np.testing.assert_array_equal(pipeline.predict(X), y)
    for norm in ("l1", "l2", "linf"):
        ours = FGSM(pipeline, eps=0.1, norm=norm).generate(X, y)
        np.testing.assert_allclose(ours, FGSM(composed, eps=0.1, norm=norm).generate(X, y), atol=2e-5)


def test_adaptive_is_at_least_as_strong_as_transferred():
    face = FaceClassifier.from_network(small_network())
    pipeline = make_pipeline(GaussianBlur(sigma=1.5), FrozenEstimator(face))
    X = example_images(n=60)
    y = pipeline.predict(X)
    kept = {}
    for name, model in (("transferred", face), ("adaptive", pipeline)):
        X_adv = PGD(model, eps=0.02, max_iter=20, early_stop=False, random_state=0).generate(X, y)
        kept[name] = np.mean(pipeline.predict(X_adv) == y)
    assert kept["adaptive"] < kept["transferred"]


def test_without_defences_a_pipeline_is_its_model():
    face = FaceClassifier.from_network(small_network())
    X = example_images()
    expected = FGSM(face, eps=0.05).generate(X)
    np.testing.assert_array_equal(FGSM(make_pipeline(face), eps=0.05).generate(X), expected)
    np.testing.assert_array_equal(
        FGSM(make_pipeline("passthrough", FrozenEstimator(face)), eps=0.05).generate(X), expected
    )


def test_errors_name_the_step_and_the_cure():
    face = FaceClassifier.from_network(small_network())
    X = example_images()
    with pytest.raises(ValueError, match=r"functiontransformer.*no gradient.*vjp"):
        FGSM(make_pipeline(FunctionTransformer(), face)).generate(X)
    with pytest.raises(ValueError, match=r"gaussianblur.*no model to attack"):
        FGSM(make_pipeline(GaussianBlur())).generate(X)
    with pytest.raises(ValueError, match=r"not fitted.*from_network"):
        FGSM(make_pipeline(GaussianBlur(), FaceClassifier())).generate(X)
    with pytest.raises(ValueError, match=r"FaceClassifier\.from_network\(network\)"):
        FGSM(face.network_).generate(X)
