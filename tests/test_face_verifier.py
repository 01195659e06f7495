"""One reference and its verifier: closed forms on a linear embedding, dodging and impersonation."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import smartbox.attacks
from smartbox import FaceEmbedder, FaceGallery, FaceVerifier, as_face_model
from smartbox.attacks import DDN, FGSM, PGD, CarliniL2
from smartbox.defenses import GaussianBlur, RandomizedSmoothing
from smartbox.estimator_checks import check_attack_lowers_accuracy, example_images
from tests.doubles import smooth_embedding
from tests.test_common import PARAMETERS

SHAPE = (5, 4, 1)


@pytest.fixture(scope="module")
def linear():
    """A network ``A x``, and A."""
    import keras

    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(7, use_bias=False)])
    A = np.random.default_rng(0).normal(size=(7, 20)).astype(np.float32)
    network.set_weights([A.T])
    return FaceEmbedder(network), A.astype(np.float64)


def images(n, seed=0):
    return np.random.default_rng(seed).uniform(0.4, 0.6, size=(n, *SHAPE)).astype(np.float32)


def test_cosine_and_its_gradient_are_the_closed_form(linear):
    """``d cos / dx = A' (t - cos e) / |A x|`` with ``e = A x / |A x|`` and the template t."""
    embedder, A = linear
    references, X = images(3), images(10, seed=1)
    verifier = FaceVerifier(embedder, threshold=0.9, scale=8.0).fit(references)
    outputs = references.reshape(3, -1) @ A.T
    t = (outputs / np.linalg.norm(outputs, axis=1, keepdims=True)).sum(axis=0)
    t /= np.linalg.norm(t)
    y = X.reshape(10, -1) @ A.T
    length = np.linalg.norm(y, axis=1, keepdims=True)
    cosine = (y / length) @ t
    slope = ((t - cosine[:, None] * y / length) / length @ A).reshape(X.shape)
    np.testing.assert_allclose(verifier.cosines(X)[:, 0], cosine, atol=1e-6)
    np.testing.assert_allclose(verifier.logits(X), np.column_stack([8 * cosine, np.full(10, 8 * 0.9)]), atol=1e-5)
    margin, _, gradient = verifier.value_and_gradient(X, ["genuine"] * 10, "margin")
    np.testing.assert_allclose(margin, 8 * (0.9 - cosine), atol=1e-5)
    np.testing.assert_allclose(gradient, -8 * slope, atol=1e-4)
    step = FGSM(verifier, eps=0.01).generate(X, ["genuine"] * 10) - X
    clear = np.abs(slope) > 1e-4
    np.testing.assert_allclose(step[clear], -0.01 * np.sign(slope)[clear], atol=1e-6)


@pytest.mark.parametrize("template", ["mean", "max"])
def test_as_a_gallery_of_one(linear, template):
    embedder, _ = linear
    verifier = FaceVerifier(embedder, threshold=0.95, template=template).fit(images(3))
    gallery = FaceGallery(embedder, threshold=0.95, template=template, unknown="impostor").fit(
        images(3), ["genuine"] * 3
    )
    X = images(40, seed=1)
    np.testing.assert_array_equal(verifier.logits(X), gallery.logits(X))
    np.testing.assert_array_equal(verifier.predict(X), gallery.predict(X))
    np.testing.assert_array_equal(verifier.verify(X), gallery.verify(X, ["genuine"] * 40))


def test_dodging_and_impersonation_are_judged_by_the_verifier(linear):
    embedder, _ = linear
    X = np.random.default_rng(1).uniform(size=(40, *SHAPE)).astype(np.float32)
    reference = np.random.default_rng(2).uniform(size=(1, *SHAPE)).astype(np.float32)
    cosine = FaceVerifier(embedder).fit(reference).cosines(X)[:, 0]
    verifier = FaceVerifier(embedder, threshold=float(np.median(cosine))).fit(reference)
    genuine = verifier.verify(X)
    assert 0 < genuine.sum() < 40
    dodged, report = PGD(verifier, eps=0.05, random_state=0).generate(
        X[genuine], ["genuine"] * genuine.sum(), return_report=True
    )
    np.testing.assert_array_equal(report.success, verifier.cosines(dodged)[:, 0] < verifier.threshold)
    assert report.success.mean() > 0.5
    strangers = X[~genuine]
    attack = PGD(verifier, eps=0.15, targeted=True, random_state=0)
    taken, report = attack.generate(strangers, ["genuine"] * len(strangers), return_report=True)
    np.testing.assert_array_equal(report.success, verifier.cosines(taken)[:, 0] >= np.float32(verifier.threshold))
    assert report.success.mean() > 0.5


def test_smallest_impersonation_ends_at_the_threshold(linear):
    embedder, _ = linear
    reference, X = images(1), np.random.default_rng(1).uniform(size=(6, *SHAPE)).astype(np.float32)
    verifier = FaceVerifier(embedder, threshold=0.95).fit(reference)
    attack = CarliniL2(verifier, targeted=True, max_iter=100, binary_search_steps=4, initial_const=1.0)
    taken, report = attack.generate(X, ["genuine"] * 6, return_report=True)
    assert report.success.all()
    # The nearest genuine image lies on the boundary.
    moved = ~report.initially_wrong
    np.testing.assert_allclose(verifier.cosines(taken)[moved, 0], 0.95, atol=5e-3)


class Direction:
    """Embeds images as the direction of their pixels less a half: what is accepted is a round cone."""

    def transform(self, X):
        return self.vjp(X)[0]

    def vjp(self, X):
        rows = X.reshape(len(X), -1) - np.float32(0.5)
        norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        unit = rows / norms

        def pull_back(cotangents):
            several = cotangents.ndim == 3
            e, length = (unit[:, None], norms[:, None]) if several else (unit, norms)
            back = (cotangents - (cotangents * e).sum(axis=-1, keepdims=True) * e) / length
            return back.reshape(*cotangents.shape[:-1], *X.shape[1:]).astype(np.float32)

        return unit, pull_back


@pytest.fixture(scope="module")
def cone():
    """Strangers, a reference, a threshold, and by trigonometry how far each stranger is from being accepted: the distance of a
    point of length r at an angle a from the axis of a cone of half angle b is r sin(a - b)."""
    rng = np.random.default_rng(0)
    reference, other = np.full((2, *SHAPE), 0.5, dtype=np.float32)
    reference[:2] += 0.1
    other[2:] += 0.1
    X = (0.5 + 0.1 * rng.normal(size=(12, *SHAPE)).clip(-2, 2)).astype(np.float32)
    rows, axis = X.reshape(12, -1) - 0.5, reference.ravel() - 0.5
    length = np.linalg.norm(rows, axis=1)
    angle = np.arccos(rows @ axis / length / np.linalg.norm(axis))
    X, length, angle = (part[(angle > 0.6) & (angle < 1.8)] for part in (X, length, angle))
    assert len(X) > 5
    return X, np.stack([reference, other]), 0.9, length * np.sin(angle - np.arccos(0.9))


@pytest.mark.parametrize("which", ["verifier", "gallery"])
def test_impersonation_ends_accepted_at_the_threshold(cone, which):
    """Of a gallery that rejects strangers, the target has to be named: reach the threshold and be nearer than others."""
    X, references, threshold, distance = cone
    if which == "verifier":
        model, goal = FaceVerifier(Direction(), threshold=threshold).fit(references[:1]), "genuine"
    else:
        model = FaceGallery(Direction(), threshold=threshold, unknown="nobody").fit(references, ["ann", "bob"])
        goal = "ann"
    y = np.repeat(goal, len(X))
    accepted = model.verify if which == "verifier" else lambda images: model.verify(images, y)
    assert not accepted(X).any()
    for attack in (DDN(model, max_iter=100, targeted=True, random_state=0),
                   CarliniL2(model, targeted=True, max_iter=150, initial_const=1.0)):  # fmt: skip
        taken, report = attack.generate(X, y, return_report=True)
        assert report.success.all() and accepted(taken).all()
        np.testing.assert_array_equal(model.predict(taken), y)
        np.testing.assert_allclose(report.l2, distance, rtol=0.02)
        assert (report.l2 > distance * 0.9999).all()
        np.testing.assert_allclose(model.cosines(taken)[:, 0], threshold, atol=5e-3)
    for share, wins in ((0.99, False), (1.01, True)):
        for i in range(0, len(X), 3):
            eps = share * distance[i]
            attack = PGD(model, eps=eps, norm="l2", step_size=eps / 10, max_iter=60, targeted=True, random_state=0)
            taken = attack.generate(X[i : i + 1], y[:1])
            assert (model.predict(taken) == goal).all() == wins


def test_a_smoothed_verification_is_certified_up_to_its_threshold(cone):
    """At a threshold of 0 the cone is a half-space, whose distance is the exact radius."""
    X, references, _, _ = cone
    sigma, n_draws = 0.1, 2000
    verifier = FaceVerifier(Direction(), threshold=0.0).fit(references[:1])
    smoothed = RandomizedSmoothing(verifier, sigma=sigma, n_draws=n_draws, random_state=0)
    axis = (references[0].ravel() - 0.5) / np.linalg.norm(references[0] - 0.5)
    margin = (X.reshape(len(X), -1) - 0.5) @ axis
    found = smoothed.certify(X)
    sure = found.label != "rejected"
    assert sure.sum() > 4
    np.testing.assert_array_equal(found.label[sure], np.where(margin[sure] >= 0, "genuine", "impostor"))
    share = norm.cdf(np.abs(margin) / sigma)
    error = np.sqrt(share * (1 - share) / n_draws)
    assert (np.abs(found.count / n_draws - share)[sure] < 4 * error[sure] + 1e-3).all()
    assert (found.radius[sure] < np.abs(margin)[sure]).all()


def test_at_the_reference_itself_only_a_random_start_moves(linear):
    embedder, _ = linear
    reference = images(1)
    verifier = FaceVerifier(embedder, threshold=0.99).fit(reference)
    assert np.abs(verifier.vjp(reference, np.float32([[1, 0]]))).max() < 1e-3
    dodged = PGD(verifier, eps=0.3, random_state=0).generate(reference, ["genuine"])
    assert not verifier.verify(dodged)[0]


@pytest.mark.parametrize("name", ["FGSM", "MIFGSM", "PGD", "DeepFool", "CarliniL2", "DDN", "FMN", "Square"])
def test_attacks_work_on_a_verifier(name):
    embedder = FaceEmbedder(smooth_embedding())
    X = example_images()
    cosine = FaceVerifier(embedder).fit(X[:1]).cosines(X)[:, 0]
    verifier = FaceVerifier(embedder, threshold=float(np.median(cosine))).fit(X[:1])
    check_attack_lowers_accuracy(getattr(smartbox.attacks, name)(verifier, **PARAMETERS[name][0]))


def test_defences_stand_before_a_verifier(linear):
    embedder, _ = linear
    verifier, X = FaceVerifier(embedder).fit(images(1)), images(4, seed=1)
    model = as_face_model(make_pipeline(GaussianBlur(), verifier))
    np.testing.assert_array_equal(model.logits(X), verifier.logits(GaussianBlur().transform(X)))
    assert clone(verifier).embedder.network is embedder.network


@pytest.mark.parametrize("change", [{"threshold": 1.5}, {"template": "median"}, {"scale": 0}, {"embedder": None}])
def test_mistakes_are_named(linear, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        FaceVerifier(linear[0]).set_params(**change).fit(images(1))
