"""What detectors refuse before any work, and that the message says what is wrong."""

import numpy as np
import pytest

from smartbox.detectors import (
    ArtifactDetector,
    ConvFilterDetector,
    FeatureSqueezingDetector,
    LIDDetector,
    MahalanobisDetector,
    PCADetector,
    WhitenedPCADetector,
    mmd_test,
)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda face: MahalanobisDetector(face, layers=[]), "the names of at least one layer"),
        (lambda face: MahalanobisDetector(face, layers=[3]), "the names of at least one layer"),
        (lambda face: MahalanobisDetector(face, layers="dens1"), "did you mean 'dense1'"),
        (lambda face: ArtifactDetector(face, hidden_layer_sizes=("a",)), "hidden_layer_sizes as numbers of units"),
        (lambda face: ArtifactDetector(face, hidden_layer_sizes=(True,)), "hidden_layer_sizes as numbers of units"),
        (lambda face: FeatureSqueezingDetector(face, medians=(2, 999)), "medians of at most"),
        (lambda face: FeatureSqueezingDetector(face, bits=(True,)), "bits as whole numbers"),
        (lambda face: ConvFilterDetector(None), "ConvFilterDetector has no model"),
        (lambda face: LIDDetector(None), "LIDDetector has no model"),
    ],
)
def test_parameters(face, attacked, make, words):
    X, y, _ = attacked.train
    with pytest.raises(ValueError, match=words):
        make(face).fit(X, y)


@pytest.mark.parametrize(("detector", "fewest"), [(PCADetector(), 2), (WhitenedPCADetector(), 4)])
def test_too_few_clean_images(attacked, detector, fewest):
    clean, adversarial = attacked.clean[: fewest - 1], attacked.X_adv[:20]
    y = np.repeat([0, 1], [len(clean), len(adversarial)])
    with pytest.raises(ValueError, match=f"at least {fewest} clean images"):
        detector.fit(np.concatenate([clean, adversarial]), y)


def test_labels_in_a_list_of_objects(attacked):
    X, y, _ = attacked.train
    expected = PCADetector(random_state=0).fit(X, y).decision_function(X)
    found = PCADetector(random_state=0).fit(X, y.astype(object)).decision_function(X)
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"expected y of numbers, 1 for adversarial and 0 for clean, got .*None"):
        PCADetector().fit(X, np.where(y == 1, None, 0))


def test_a_truth_value_is_no_number_of_permutations(attacked):
    with pytest.raises(ValueError, match="n_permutations as a whole number"):
        mmd_test(attacked.clean, attacked.X_adv, n_permutations=True)
