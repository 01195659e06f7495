"""Galleries against brute force: templates, ranks, claims, rejection, gradients, and every attack on one."""

import inspect
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import smartbox.attacks
from smartbox import FaceEmbedder, FaceGallery, as_face_model
from smartbox._compat import FrozenEstimator
from smartbox._templates import Templates, leading
from smartbox.attacks import FGSM, PGD, UniversalPerturbation
from smartbox.base import BaseAttack
from smartbox.defenses import GaussianBlur
from smartbox.detectors import PCADetector
from smartbox.estimator_checks import check_attack_keeps_eps, check_attack_lowers_accuracy, example_images
from smartbox.metrics import rank_k_accuracy
from tests.doubles import PixelEmbedder, smooth_embedding
from tests.test_common import PARAMETERS

NAMES = np.array(["ann", "bob", "eve", "kim"])


@pytest.fixture(scope="module")
def embedder():
    return FaceEmbedder(smooth_embedding())


def people(n=13, seed=0):
    """Images and who is on them; each of four people more often than twice."""
    return example_images(n=n, seed=seed), NAMES[np.arange(n) % 4]


def cosine_by_hand(embedder, X, y, probe, name, template):
    mine = [embedder.transform(X[i : i + 1])[0].astype(np.float64) for i in range(len(X)) if y[i] == name]
    e = embedder.transform(probe[None])[0].astype(np.float64)
    if template == "max":
        return max(e @ one / np.linalg.norm(one) / np.linalg.norm(e) for one in mine)
    mean = sum(mine)
    return e @ mean / np.linalg.norm(mean) / np.linalg.norm(e)


@pytest.mark.parametrize("template", ["mean", "max"])
def test_cosines_ranks_claims_and_rejection_are_those_of_brute_force(embedder, template):
    X, y = people()
    probes = example_images(n=9, seed=1)
    S = np.array([[cosine_by_hand(embedder, X, y, probe, name, template) for name in NAMES] for probe in probes])
    gallery = FaceGallery(embedder, template=template, threshold=np.median(S.max(axis=1)), unknown="nobody").fit(X, y)
    np.testing.assert_allclose(gallery.cosines(probes), S, atol=1e-6)
    np.testing.assert_array_equal(gallery.identities_, NAMES)
    np.testing.assert_array_equal(gallery.counts_, [4, 3, 3, 3])
    np.testing.assert_array_equal(gallery.identify(probes, k=3), NAMES[np.argsort(-S, axis=1)[:, :3]])
    claims = NAMES[[0, 1, 2, 3, 0, 1, 2, 3, 0]]
    claimed = S[np.arange(9), [0, 1, 2, 3, 0, 1, 2, 3, 0]]
    np.testing.assert_array_equal(gallery.verify(probes, claims), claimed >= gallery.threshold_)
    known = S.max(axis=1) >= gallery.threshold_
    assert 0 < known.sum() < 9
    np.testing.assert_array_equal(gallery.predict(probes), np.where(known, NAMES[S.argmax(axis=1)], "nobody"))
    np.testing.assert_array_equal(gallery.set_params(unknown=None).fit(X, y).predict(probes), NAMES[S.argmax(axis=1)])
    np.testing.assert_array_equal(gallery.decision_function(probes), gallery.cosines(probes))
    np.testing.assert_allclose(gallery.predict_proba(probes).sum(axis=1), 1)


@pytest.mark.parametrize("template", ["mean", "max"])
def test_enrolling_in_parts_is_enrolling_at_once(embedder, template):
    X, y = people()
    whole = FaceGallery(embedder, template=template).fit(X, y)
    parts = FaceGallery(embedder, template=template)
    for start in range(0, len(X), 3):  # the first call brings three of the four people
        parts.partial_fit(X[start : start + 3], y[start : start + 3])
    np.testing.assert_array_equal(parts.templates_, whole.templates_)
    np.testing.assert_array_equal(parts.classes_, whole.classes_)
    order = np.random.default_rng(0).permutation(len(X))
    shuffled = FaceGallery(embedder, template=template).fit(X[order], y[order])
    np.testing.assert_allclose(shuffled.cosines(X), whole.cosines(X), atol=1e-6)
    np.testing.assert_array_equal(parts.fit(X[:4], y[:4]).counts_, 1)


def test_a_threshold_survives_enrolling_and_not_fitting(embedder):
    X, y = people()
    gallery = FaceGallery(embedder).fit(X, y).calibrate(*people(seed=1))
    before = gallery.threshold_
    assert gallery.partial_fit(X, np.repeat("zoe", len(X))).threshold_ == before
    assert gallery.fit(X, y).threshold_ is None


@pytest.mark.parametrize("template", ["mean", "max"])
def test_calibrated_rates_are_as_wished(embedder, template):
    gallery = FaceGallery(embedder, template=template).fit(*people(8))
    X, y = people(60, seed=1)
    X = 0.7 * X + 0.3 * people(8)[0][np.arange(60) % 4]  # somewhat like the images enrolled
    y[-5:] = "mallory"  # not enrolled: impostor claims only
    S, genuine = gallery.cosines(X), y[:, None] == NAMES

    def rates(threshold):
        return (S[~genuine] >= threshold).mean(), (S[genuine] < threshold).mean()

    far, frr = rates(gallery.calibrate(X, y).threshold_)
    assert abs(far - frr) <= min(abs(np.subtract(*rates(t))) for t in np.unique(S)) + 1e-12
    for wanted in (0.0, 0.02, 0.2, 1.0):
        far, frr = rates(gallery.calibrate(X, y, far=wanted).threshold_)
        assert far <= wanted
        assert frr == min(rates(t)[1] for t in [*np.unique(S), 2] if rates(t)[0] <= wanted)
    for wanted in (0.001, -0.1, 1.5, "low"):
        with pytest.raises(ValueError, match="far as a rate"):
            gallery.calibrate(X, y, far=wanted)
    with pytest.raises(ValueError, match="genuine"):
        gallery.calibrate(X, np.repeat("mallory", 60))


def test_leading_is_a_stable_sort():
    scores = np.random.default_rng(0).integers(0, 4, size=(200, 9)).astype(np.float32)
    for count in (1, 2, 5, 9):
        np.testing.assert_array_equal(leading(scores, count), np.argsort(-scores, axis=1, kind="stable")[:, :count])


@pytest.mark.parametrize("kind", ["spread", "crowded", "equal"])
@pytest.mark.parametrize("points", [1, 3])
def test_the_nearest_are_those_of_all_exact_cosines(kind, points, monkeypatch):
    """Also where cosines differ by less than float32 products tell, where many are equal, and in blocks of any size."""
    rng = np.random.default_rng(0)
    n_owners, n_features = 1003, 24
    T = rng.normal(size=(n_owners * points, n_features))
    if kind == "crowded":
        T = T[:1] + 1e-4 * T
    if kind == "equal":
        T = T[rng.integers(0, 2, size=len(T))]
    T = (T / np.linalg.norm(T, axis=1, keepdims=True)).astype(np.float32)
    E = T[rng.integers(0, len(T), size=40)] + np.float32(1e-3) * rng.normal(size=(40, n_features)).astype(np.float32)
    templates = Templates(T, np.repeat(np.arange(n_owners), points))
    exact = (E.astype(np.float64) @ T.astype(np.float64).T).astype(np.float32)
    exact = exact.reshape(40, n_owners, points).max(axis=2)
    for block in (2**26, 3000):
        monkeypatch.setattr("smartbox._templates._BLOCK", block)
        for count in (1, 5, 60):
            wanted = np.argsort(-exact, axis=1, kind="stable")[:, :count]
            np.testing.assert_array_equal(templates.nearest(E, count), wanted)
        owner = rng.integers(0, n_owners, size=40)
        np.testing.assert_array_equal(templates.of_owners(E, owner), exact[np.arange(40), owner])
    np.testing.assert_array_equal(templates.nearest(E[5:6], 5), templates.nearest(E[:6], 5)[5:])


def test_ranks_agree_with_the_metric(embedder):
    X, y = people(40)
    gallery = FaceGallery(embedder).fit(X[:12], y[:12])
    labels = gallery.identify(X[12:], k=4)
    for k in (1, 2, 4):
        hits = (labels[:, :k] == y[12:, None]).any(axis=1).mean()
        assert hits == rank_k_accuracy(y[12:], gallery.cosines(X[12:]), k=k, classes=gallery.classes_)


@pytest.mark.parametrize("unknown", [None, "nobody"])
@pytest.mark.parametrize("template", ["mean", "max"])
def test_gradient_is_that_of_finite_differences(embedder, template, unknown):
    X, y = people()
    gallery = FaceGallery(embedder, template=template, threshold=0.5, unknown=unknown, scale=10.0).fit(X, y)
    probes = 0.25 + example_images(n=5, seed=1) / 2
    labels = gallery.classes_[[0, 1, 2, 3, -1]]
    u = np.random.default_rng(0).normal(size=probes.shape).astype(np.float32)
    step = np.float32(1e-3)
    for objective in ("odds", "cross_entropy", "margin"):
        _, logits, gradient = gallery.value_and_gradient(probes, labels, objective)
        np.testing.assert_array_equal(logits, gallery.logits(probes))
        ahead, behind = (gallery.value_and_gradient(probes + s * u, labels, objective)[0] for s in (step, -step))
        numeric = (ahead.astype(np.float64) - behind) / (2 * step)
        analytic = (gradient.astype(np.float64) * u).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(analytic, numeric, rtol=2e-2, atol=2e-2 * np.abs(numeric).max())
    cotangents = np.random.default_rng(1).normal(size=(5, 3, logits.shape[1])).astype(np.float32)
    several = gallery.vjps(probes, cotangents)
    for i in range(3):
        np.testing.assert_allclose(several[:, i], gallery.vjp(probes, cotangents[:, i]), rtol=1e-4, atol=1e-5)
        ahead, behind = ((gallery.logits(probes + s * u) * cotangents[:, i]).sum(axis=1) for s in (step, -step))
        analytic = (several[:, i] * u).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(analytic, (ahead - behind) / (2 * step), rtol=2e-2, atol=0.05)


def test_a_face_enrolled_twice_has_the_gradient_of_once(embedder):
    """Templates that tie for the largest cosine share it."""
    X, y = people()
    once, twice = (FaceGallery(embedder, template="max").fit(np.tile(X, (n, 1, 1, 1)), np.tile(y, n)) for n in (1, 2))
    gradients = [
        gallery.value_and_gradient(example_images(n=5, seed=1), NAMES[[0, 1, 2, 3, 0]])[2] for gallery in (once, twice)
    ]
    np.testing.assert_allclose(*gradients, atol=1e-5)


def test_scale_changes_no_decision(embedder):
    X, y = people()
    probes = example_images(n=30, seed=1)
    wide, narrow = (
        FaceGallery(embedder, threshold=0.6, unknown="nobody", scale=scale).fit(X, y).predict(probes)
        for scale in (64.0, 0.5)
    )
    np.testing.assert_array_equal(wide, narrow)


def test_batches_do_not_matter_to_the_bit(embedder):
    X, y = people(30)
    gallery = FaceGallery(embedder, template="max").fit(X, y)
    probes, labels = people(40, seed=1)
    whole = gallery.value_and_gradient(probes, labels)
    for batch_size in (1, 13):
        gallery.embedder = clone(embedder).set_params(batch_size=batch_size)
        for got, wanted in zip(gallery.value_and_gradient(probes, labels), whole, strict=True):
            np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(gallery.logits(probes[3:4]), whole[1][3:4])


@pytest.mark.parametrize(
    "attack", [getattr(smartbox.attacks, name) for name in smartbox.attacks.__all__ if name != "UniversalPerturbation"]
)
def test_every_attack_works_on_a_gallery(embedder, attack):
    assert issubclass(attack, BaseAttack)
    X = example_images()
    gallery = FaceGallery(embedder).fit(X, np.arange(12) % 5)
    for parameters in PARAMETERS[attack.__name__][:1]:
        if "random_state" in inspect.signature(attack).parameters:
            parameters = {**parameters, "random_state": 0}
        check_attack_lowers_accuracy(attack(gallery, **parameters))
        check_attack_keeps_eps(attack(gallery, **parameters))


def test_a_universal_perturbation_works_on_a_gallery(embedder):
    X = example_images(n=20)
    gallery = FaceGallery(embedder).fit(X, np.arange(20) % 5)
    attack = UniversalPerturbation(gallery, eps=0.3, max_iter=5, random_state=0).fit(X)
    assert (gallery.predict(attack.transform(X)) != gallery.predict(X)).any()


@pytest.mark.parametrize("wrap", [lambda gallery: gallery, FrozenEstimator])
def test_defences_stand_before_a_gallery(embedder, wrap):
    X, y = people()
    gallery = FaceGallery(embedder).fit(X, y)
    model = as_face_model(make_pipeline(GaussianBlur(sigma=0.8), wrap(gallery)))
    blurred = GaussianBlur(sigma=0.8).transform(X)
    np.testing.assert_array_equal(model.logits(X), gallery.logits(blurred))
    direct = GaussianBlur(sigma=0.8).vjp(X)[1](gallery.value_and_gradient(blurred, y)[2])
    np.testing.assert_array_equal(model.value_and_gradient(X, y)[2], direct)
    report = PGD(model, eps=0.2, max_iter=5, random_state=0).generate(X, y, return_report=True)[1]
    assert report.success.mean() > report.initially_wrong.mean()


def test_hiding_is_reaching_for_unknown(embedder):
    X, y = people()
    gallery = FaceGallery(embedder, threshold=0.95, unknown="nobody").fit(X[:4], y[:4])
    hidden = PGD(gallery, eps=0.3, targeted=True, random_state=0).generate(X[:4], ["nobody"] * 4)
    done = gallery.predict(hidden) == "nobody"
    assert done.any()
    assert (gallery.cosines(hidden[done]) < 0.95).all()
    np.testing.assert_array_equal(gallery.classes_, ["ann", "bob", "eve", "kim", "nobody"])


@pytest.mark.parametrize("unknown", ["aaron", "bill", "zoe"])
def test_the_place_of_unknown_among_the_names_does_not_matter(embedder, unknown):
    X, y = people()
    probes = example_images(n=9, seed=1)
    cosines = FaceGallery(embedder).fit(X, y).cosines(probes)
    threshold = float(np.sort(cosines.max(axis=1))[4])  # reached exactly by one image, who is not unknown
    gallery = FaceGallery(embedder, threshold=threshold, unknown=unknown).fit(X, y)
    known = cosines.max(axis=1) >= threshold
    np.testing.assert_array_equal(gallery.predict(probes), np.where(known, NAMES[cosines.argmax(axis=1)], unknown))
    np.testing.assert_array_equal(known, gallery.verify(probes, gallery.identify(probes)[:, 0]))
    column = list(gallery.classes_).index(unknown)
    u = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    np.testing.assert_array_equal(
        gallery.vjp(probes, u), FaceGallery(embedder).fit(X, y).vjp(probes, np.delete(u, column, axis=1))
    )


def test_a_detector_stands_before_an_open_gallery(embedder):
    X, y = people(24)
    gallery = FaceGallery(embedder, threshold=0.6, unknown="nobody").fit(X, y)
    noisy = np.clip(X + np.random.default_rng(0).choice([-0.2, 0.2], X.shape), 0, 1).astype(np.float32)
    detector = PCADetector(n_components=3).fit(np.concatenate([X, noisy]), np.repeat([0, 1], 24))
    guarded = as_face_model(gallery, detector=detector)
    assert set(guarded.predict(noisy)) <= {*NAMES, "nobody", "rejected"}
    passing = detector.predict(X) == 0
    np.testing.assert_array_equal(guarded.predict(X)[passing], gallery.predict(X)[passing])
    report = PGD(guarded, eps=0.2, max_iter=10, random_state=0).generate(X, y, return_report=True)[1]
    assert report.success.mean() > report.initially_wrong.mean()


def test_no_eps_no_change(embedder):
    X, y = people()
    gallery = FaceGallery(embedder).fit(X, y)
    np.testing.assert_array_equal(gallery.cosines(FGSM(gallery, eps=0).generate(X, y)), gallery.cosines(X))


def test_clone_pickle_and_grid_search(embedder):
    X, y = people(24)
    gallery = FaceGallery(embedder, template="max", threshold=0.3).fit(X, y)
    assert clone(gallery).embedder.network is embedder.network
    stored = pickle.dumps(gallery)
    assert pickle.dumps(gallery) == stored
    again = pickle.loads(stored)
    np.testing.assert_allclose(again.cosines(X), gallery.cosines(X), atol=1e-6)
    np.testing.assert_array_equal(again.partial_fit(X, y).counts_, 12)
    grid = {"template": ["mean", "max"], "embedder__crop": [None, 0.8]}
    search = GridSearchCV(FaceGallery(embedder), grid, cv=2).fit(X, y)
    assert as_face_model(search).embedder.network is embedder.network


def test_one_identity_alone_is_recognised_or_unknown(embedder):
    X, _ = people()
    gallery = FaceGallery(embedder, threshold=0.9, unknown=-1).fit(X[:1], [7])
    np.testing.assert_array_equal(gallery.classes_, [-1, 7])
    np.testing.assert_array_equal(gallery.predict(X), np.where(gallery.cosines(X)[:, 0] >= np.float32(0.9), 7, -1))
    difference = gallery.decision_function(X)
    np.testing.assert_allclose(difference, gallery.cosines(X)[:, 0] - 0.9, atol=1e-6)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda g, X, y: g.fit(X, y[:-1]), "13 images and 12 labels"),
        (lambda g, X, y: g.fit(X, None), "target y is None"),
        (lambda g, X, y: g.verify(X, y), "no threshold yet: call calibrate"),
        (lambda g, X, y: g.calibrate(X, y).verify(X, ["who"] * 13), "claims holds labels"),
        (lambda g, X, y: g.identify(X, k=5), "k from 1 to .*, got 5"),
        (lambda g, X, y: g.partial_fit(X, np.arange(13)), "labels like those enrolled"),
        (lambda g, X, y: g.predict(X[:, :-1]), "expected images of shape"),
        (lambda g, X, y: g.set_params(unknown="ann").fit(X, y), "none of the labels"),
        (lambda g, X, y: g.set_params(unknown=-1).fit(X, y), "unknown as text"),
        (lambda g, X, y: g.set_params(unknown="nobody").fit(X, y).predict(X), "no threshold yet"),
        (lambda g, X, y: g.set_params(template="median").fit(X, y), "template"),
        (lambda g, X, y: g.value_and_gradient(X, y, "loss"), "objective as one of"),
        (lambda g, X, y: g.vjp(X, np.ones((13, 3))), "one a logit"),
        (lambda g, X, y: FaceGallery(3).fit(X, y), "embedder"),
    ],
)
def test_mistakes_are_named(embedder, use, message):
    X, y = people()
    with pytest.raises(ValueError, match=message):
        use(FaceGallery(embedder).fit(X, y), X, y)


def test_one_image_a_person_is_nothing_to_warn_of(embedder):
    X = example_images(n=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gallery = FaceGallery(embedder).fit(X, np.arange(12))
    np.testing.assert_array_equal(gallery.predict(X), np.arange(12))


def test_unfitted_says_so(embedder):
    with pytest.raises(NotFittedError):
        FaceGallery(embedder).predict(example_images())


@pytest.mark.parametrize("template", ["mean", "max"])
def test_blocks_of_cosines_do_not_matter(embedder, template, monkeypatch):
    X, y = people(30)
    gallery = FaceGallery(embedder, template=template, threshold=0.7, unknown="nobody").fit(X, y)
    probes, claims = people(50, seed=1)

    def answers():
        return (
            gallery.cosines(probes),
            gallery.identify(probes, k=2),
            gallery.predict(probes),
            gallery.verify(probes, claims),
        )

    whole = answers()
    monkeypatch.setattr("smartbox._templates._BLOCK", 1000)
    for got, wanted in zip(answers(), whole, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("template", ["mean", "max"])
def test_a_hundred_thousand_people_fit_in_memory(template):
    """100,000 templates of 128 numbers and 1,000 probes: the block of cosines stays small, and the ranks are right."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(100_000, 1, 127, 1)).astype(np.float32)
    owner = np.arange(100_000) // (1 if template == "mean" else 2)
    gallery = FaceGallery(PixelEmbedder(), template=template, threshold=0.9).fit(X, owner)
    which = rng.choice(100_000, 1000, replace=False)
    probes = np.clip(X[which] + rng.normal(scale=0.02, size=(1000, 1, 127, 1)), 0, 1).astype(np.float32)
    tracemalloc.start()
    ranks = gallery.identify(probes, k=5)
    assert gallery.verify(probes, owner[which]).all()
    np.testing.assert_array_equal(gallery.predict(probes), owner[which])
    assert tracemalloc.get_traced_memory()[1] < 2**30
    tracemalloc.stop()
    np.testing.assert_array_equal(ranks[:, 0], owner[which])
