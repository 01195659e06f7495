"""Attacks on Pipelines: the defences are seen through, and the errors say what is missing."""

from functools import partial

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from smartbox import FaceClassifier
from smartbox._compat import FrozenEstimator
from smartbox.attacks import FGSM, PGD, CarliniL2
from smartbox.base import BaseDefense
from smartbox.defenses import (
    BitDepthReduction,
    GaussianBlur,
    JPEGCompression,
    MedianFilter,
    PCAReconstruction,
    TotalVariation,
)
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


@pytest.mark.parametrize(
    "defense",
    [
        JPEGCompression(quality=50),
        BitDepthReduction(bits=3),
        MedianFilter(),
        PCAReconstruction(n_components=25).fit(example_images(n=100)),
        TotalVariation(drop=0.0, weight=0.05, max_iter=50),
    ],
    ids=lambda defense: type(defense).__name__,
)
def test_what_stands_in_for_a_gradient_leads_at_least_as_far_as_ignoring_the_defence(defense):
    face = FaceClassifier.from_network(small_network())
    pipeline = make_pipeline(FrozenEstimator(defense), FrozenEstimator(face))
    X = example_images(n=60)
    y = pipeline.predict(X)
    kept = []
    for model in (face, pipeline):
        attack = PGD(model, eps=0.03, max_iter=15, early_stop=False, random_state=0)
        kept.append(np.mean(pipeline.predict(attack.generate(X, y)) == y))
    assert kept[1] <= kept[0]
    assert kept[1] < 0.9


class _Nothing(BaseDefense):
    def _apply(self, X, draw):
        return X


@pytest.mark.parametrize(
    "attack",
    [
        partial(PGD, eps=0.03, max_iter=8, random_state=0),
        partial(PGD, eps=0.3, norm="l2", max_iter=8, random_state=0),
        partial(CarliniL2, binary_search_steps=2, max_iter=20),
    ],
)
def test_a_defence_that_does_nothing_changes_nothing(attack):
    face = FaceClassifier.from_network(small_network())
    X = example_images(n=20)
    np.testing.assert_array_equal(attack(make_pipeline(_Nothing(), face)).generate(X), attack(face).generate(X))


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
