"""Convolution statistics against NumPy and scikit-learn; the cascade against its stages, one after the other."""

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from smartbox import FaceClassifier
from smartbox.datasets import make_detection_set
from smartbox.detectors import ConvFilterDetector, ConvFilterStatistics, _conv_filter, _conv_statistics
from smartbox.detectors._group_scaler import GroupScaler
from smartbox.metrics import conformal_threshold
from tests.doubles import small_network


@pytest.fixture(scope="module")
def detector(face, attacked):
    """Of a weak attack, so that every stage is left something to find."""
    return ConvFilterDetector(face, fpr=0.2, random_state=0).fit(*attacked.weak[:2])


def test_order_statistics_are_numpys(face, attacked):
    X = attacked.clean
    F = ConvFilterStatistics(face, layers="conv2").fit(X).transform(X)
    responses = face.activations(X, ["conv2"])[0].reshape(150, -1, 6).astype(np.float64)
    expected = [responses.min(axis=1), responses.max(axis=1), *np.percentile(responses, [25, 50, 75], axis=1)]
    np.testing.assert_allclose(F[:, 6:], np.hstack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("silent", [0, 0.3, 0.6, 0.9, 1])
@pytest.mark.parametrize("n_places", [1, 2, 37, 40])
def test_order_statistics_at_any_share_of_silent_places(silent, n_places):
    """Only what stands above its minimum is sorted: all of a channel, some of it or nothing, and negative values too."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 5, n_places)).astype(np.float32)
    values[rng.random(values.shape) < silent] = -4
    expected = [values.min(axis=2), values.max(axis=2), *np.percentile(values.astype(np.float64), [25, 50, 75], axis=2)]
    np.testing.assert_allclose(_conv_statistics._order_statistics(values), expected, rtol=1e-5, atol=1e-6)


def test_gradient_goes_to_the_first_place_where_a_statistic_is_attained():
    values = np.array([[[0, 3, 0, 0, 1, 0, 0, 0, 2], [5, 1, 2, 2, 9, 4, 7, 8, 3]]], dtype=np.float32)
    for statistic, places in enumerate([(0, 1), (1, 4), (0, 2), (0, 5), (4, 6)]):
        # of nine places the quartiles are the third, the fifth and the seventh: of the second image 2, 4 and 7
        cotangents = np.zeros((5, 1, 2), dtype=np.float32)
        cotangents[statistic] = 1
        gradient = np.zeros((2, 9, 1), dtype=np.float32)
        _conv_statistics._add_order_statistics(gradient, values, cotangents)
        expected = np.zeros_like(gradient)
        expected[[0, 1], places] = 1
        np.testing.assert_array_equal(gradient, expected)


def test_outputs_without_places_are_one_place(face, attacked):
    X = attacked.clean[:20]
    F = ConvFilterStatistics(face, layers="dense1").fit(X).transform(X)
    responses = face.activations(X, ["dense1"])[0]
    np.testing.assert_allclose(F[:, 16:], np.tile(responses, 5), rtol=1e-6)


def test_components_are_scikit_learns(face, attacked):
    X, y, _ = attacked.train
    statistics = ConvFilterStatistics(face, layers=["conv1", "conv2"]).fit(X, y)
    responses = face.activations(X, ["conv1"])[0].astype(np.float64)
    pca = PCA(whiten=True).fit(responses[y == 0].reshape(-1, 4))
    expected = np.abs(pca.transform(responses.reshape(-1, 4))).reshape(len(X), -1, 4).mean(axis=1)
    assert statistics.n_channels_ == [4, 6]
    np.testing.assert_allclose(statistics.transform(X)[:, :4], expected, rtol=1e-3)


def test_channels_that_never_respond():
    network = small_network()
    kernel, *rest = network.get_weights()
    kernel[..., 1] = 0
    rest[0][:] = -1e-3
    network.set_weights([kernel, *rest])
    X = np.random.default_rng(0).uniform(size=(20, 16, 12, 1)).astype(np.float32)
    F = ConvFilterStatistics(FaceClassifier.from_network(network)).fit(X).transform(X)
    assert np.isfinite(F).all() and np.abs(F).max() < 1e3
    assert (F[:, [5, 9, 13, 17, 21]] == 0).all()  # minimum, maximum and quartiles of channel 1


def test_statistics_feed_a_pipeline(face, attacked):
    pipeline = make_pipeline(ConvFilterStatistics(face), StandardScaler(), SVC()).fit(*attacked.train[:2])
    assert pipeline.score(*attacked.test[:2]) > 0.7


def test_a_network_without_convolutions_asks_for_layers(attacked):
    network = keras.Sequential([keras.Input((16, 12, 1)), keras.layers.Flatten(name="flat"), keras.layers.Dense(3)])
    face = FaceClassifier.from_network(network)
    with pytest.raises(ValueError, match=r"no convolution layer .* name the layers"):
        ConvFilterStatistics(face).fit(attacked.clean)
    assert ConvFilterStatistics(face, layers="flat").fit(attacked.clean).n_channels_ == [192]


def test_one_forward_pass_a_face(face, attacked, detector):
    before = face.pass_counts()["forward"]
    detector.decision_function(attacked.clean)
    assert face.pass_counts()["forward"] - before == 150


def test_the_score_is_positive_where_one_stage_after_the_other_would_object(attacked, detector):
    X = attacked.test[0]
    F = detector.transform(X)
    columns = [slice(0, 24), slice(24, 60)]
    objected = np.zeros(len(X), dtype=bool)
    for svm, stage, threshold in zip(detector.svms_, columns, detector.thresholds_, strict=True):
        in_question = ~objected
        objected[in_question] = svm.decision_function(F[in_question, stage]) > threshold
    assert 0 < objected.sum() < len(X)
    np.testing.assert_array_equal(detector.predict(X), objected)


def test_later_stages_learn_from_what_the_first_lets_pass(face, attacked, monkeypatch):
    """Without folds, so that the first stage's scores are those of its own SVM."""
    monkeypatch.setattr(_conv_filter, "_held_out_scores", lambda svm, F, y, rng: svm.decision_function(F))
    X, y, _ = attacked.weak
    detector = ConvFilterDetector(face, fpr=0.2, random_state=0).fit(X, y)
    F = detector.transform(X)
    scores = detector.svms_[0].decision_function(F[:, :24])
    passing = scores <= conformal_threshold(scores[y == 0], fpr=1 - 0.8**0.5)
    assert 100 < passing.sum() < 190
    np.testing.assert_allclose(detector.svms_[1][0].mean_, F[passing, 24:].mean(axis=0), rtol=1e-4, atol=1e-5)


def test_a_column_that_hardly_varies_in_training_drowns_nothing():
    """The minimum behind a rectifier may be 1e-30 once and 0 else in training, and 0.1 in a new image."""
    F = np.random.default_rng(0).normal(size=(100, 4))
    F[:, 2:] = 0
    F[3, 2] = 1e-30
    new = F.copy()
    new[:, 2] = 0.1
    scaled = GroupScaler([2, 2]).fit(F).transform(new)
    assert np.abs(scaled).max() < 1e3
    expected = np.sqrt(F[:, :2].var(axis=0) + F[:, :2].var(axis=0).mean())
    np.testing.assert_allclose(scaled[:, :2], (F[:, :2] - F[:, :2].mean(axis=0)) / expected, rtol=1e-5)


def test_the_gradient_is_finite_where_channels_are_all_but_silent():
    network = small_network()
    kernel, bias, *rest = network.get_weights()
    kernel[..., 1] *= 1e-30
    bias[1] = 0
    network.set_weights([kernel, bias, *rest])
    X = np.random.default_rng(0).uniform(size=(60, 16, 12, 1)).astype(np.float32)
    detector = ConvFilterDetector(FaceClassifier.from_network(network), random_state=0).fit(X, np.arange(60) % 2)
    gradient = detector.value_and_gradient(X)[1]
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 1e4


@pytest.mark.parametrize("fpr", [0.05, 0.1, 0.3])
def test_all_stages_together_keep_the_rate(face, attacked, fpr):
    detector = ConvFilterDetector(face, random_state=0).fit(*attacked.train[:2])
    assert detector.predict(attacked.clean[:100]).mean() <= 0.1  # the folds that thresholds came from were other images
    detector.calibrate(attacked.clean[100:], fpr=fpr)
    assert fpr / 4 < detector.predict(attacked.clean[100:]).mean() <= fpr or fpr == 0.05
    assert roc_auc_score(attacked.test[1], detector.decision_function(attacked.test[0])) > 0.9


def test_one_stage_is_a_plain_svm(face, attacked):
    X, y, _ = attacked.train
    detector = ConvFilterDetector(face, layers="conv2", C=0.3, random_state=0).fit(X, y)
    F = detector.transform(X)
    svm = make_pipeline(GroupScaler([6] * 6), LinearSVC(C=0.3, class_weight="balanced", max_iter=10_000)).fit(F, y)
    scores = detector.decision_function(X) * detector.spreads_[0] + detector.thresholds_[0]
    np.testing.assert_allclose(scores, svm.decision_function(F), rtol=1e-3, atol=1e-3)


def test_stages_end_where_too_few_attacked_images_are_left(face, attacked):
    X, y, _ = make_detection_set(attacked.clean[:40], attacked.X_adv[:40])
    few = np.r_[0:40, 40:49]
    assert len(ConvFilterDetector(face, random_state=0).fit(X[few], y[few]).svms_) == 1


def test_too_few_clean_images_flag_nothing_and_say_so(face, attacked, detector):
    detector = ConvFilterDetector(face, random_state=0).fit(*attacked.train[:2])
    with pytest.warns(UserWarning, match="cannot bound"):
        detector.calibrate(attacked.clean[:5])
    assert not detector.predict(attacked.test[0]).any()
    assert np.isfinite(detector.decision_function(attacked.test[0])).all()
    with pytest.raises(ValueError, match="divide a percentage by 100"):
        detector.calibrate(attacked.clean, fpr=5)
