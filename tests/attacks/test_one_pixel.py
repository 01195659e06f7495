"""One-pixel attack against the exhaustive search over all pixels, and the promises of its docstring."""

import numpy as np
import pytest

from smartbox import FaceClassifier
from smartbox._streams import ImageStreams
from smartbox.attacks import OnePixel, _one_pixel
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, small_network

SHAPE = (12, 12, 1)


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def one_pixel_images(x):
    """The image with each of its pixels at 0 and at 1: a margin, convex in a pixel, is largest at one of them."""
    every = np.repeat(x[None], 2 * x.size, axis=0).reshape(2, x.size, x.size)
    every[0, np.arange(x.size), np.arange(x.size)] = 0
    every[1, np.arange(x.size), np.arange(x.size)] = 1
    return every.reshape(-1, *x.shape)


def hardest(seed, n_classes, label_class=0):
    """Weights, an image, and all margins of class 0 after one pixel, without the bias."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n_classes, 144))
    x = rng.uniform(0.2, 0.8, size=SHAPE).astype(np.float32)
    flat = x.ravel().astype(np.float64)
    weights[1:] += ((weights[0] - weights[1:]) @ flat)[:, None] * flat / (flat @ flat)  # equal logits at x
    logits = one_pixel_images(x).reshape(-1, 144) @ weights.T
    return weights, x, logits[:, 1:].max(axis=1) - logits[:, 0]


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_finds_the_one_pixel_that_can_change_the_label(seed, n_classes):
    """The bias lets one pixel alone win, near one of its walls: the optimum of the exhaustive search."""
    weights, x, gains = hardest(seed, n_classes)
    second, first = np.sort(gains)[-2:]
    bias = np.zeros(n_classes)
    bias[0] = first - 0.5 * (first - second)
    attack = OnePixel(affine_face(weights, bias, SHAPE), random_state=0)
    X_adv, report = attack.generate(x[None], [0], return_report=True)
    assert report.success.all()
    assert np.flatnonzero(X_adv[0] != x).tolist() == [int(gains.argmax()) % 144]


@pytest.mark.parametrize("seed", range(2))
def test_reports_failure_where_no_pixel_can_change_the_label(seed):
    weights, x, gains = hardest(seed, 2)
    face = affine_face(weights, np.array([gains.max() + 0.01, 0]), SHAPE)
    attack = OnePixel(face, population_size=50, max_iter=8, random_state=0)
    np.testing.assert_array_equal(attack.generate(x[None], [0])[0], x)
    assert not attack.report_.success.any()
    assert attack.report_.n_iterations == [8] and attack.report_.n_queries == [50 * 9]


def test_reaches_the_exhaustive_optimum_itself(monkeypatch):
    """Where nothing wins, all generations are spent: the fittest at the end has the largest gain that there is."""
    fitness = recorded(monkeypatch)
    weights, x, gains = hardest(5, 3)
    face = affine_face(weights, np.array([gains.max() + 1, 0, 0]), SHAPE)
    OnePixel(face, max_iter=60, random_state=0).generate(x[None], [0])
    np.testing.assert_allclose(fitness[-1].max(), -1, atol=1e-4)


def recorded(monkeypatch):
    fitness = []

    def select(*args):
        genes, best = unspied(*args)
        fitness.append(best)
        return genes, best

    unspied = _one_pixel.select
    monkeypatch.setattr(_one_pixel, "select", select)
    return fitness


@pytest.mark.parametrize("targeted", [False, True])
def test_no_candidate_grows_less_fit(monkeypatch, targeted):
    fitness = recorded(monkeypatch)
    weights, x, gains = hardest(1, 3)
    face = affine_face(weights, np.array([gains.max() + 1, 0, 0]), SHAPE)
    attack = OnePixel(face, population_size=30, max_iter=20, targeted=targeted, random_state=0)
    attack.generate(x[None], [int(targeted)])
    steps = np.diff(np.array(fitness), axis=0)
    assert len(steps) == 20 and (steps >= 0).all() and (steps > 0).any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_pixels", [1, 3])
def test_changes_no_more_pixels_than_allowed(channels, n_pixels):
    shape = (16, 12, channels)
    face = FaceClassifier.from_network(small_network(shape))
    X = example_images(shape, n=30)
    attack = OnePixel(face, n_pixels=n_pixels, population_size=20, max_iter=5, random_state=0)
    X_adv = attack.generate(X)
    changed = (X_adv != X).any(axis=3).sum(axis=(1, 2))
    won = attack.report_.success
    assert 0 < won.mean() < 1
    assert (changed[won] > 0).all() and (changed <= n_pixels).all()
    np.testing.assert_array_equal(X_adv[~won], X[~won])


def test_more_pixels_win_more(face):
    X = example_images(n=40)
    rates = []
    for n_pixels in (1, 4, 16):
        attack = OnePixel(face, n_pixels=n_pixels, population_size=30, max_iter=10, random_state=0)
        attack.generate(X)
        rates.append(attack.report_.success.mean())
    assert rates[0] < rates[1] < rates[2]


def test_targeted_reaches_the_target(face):
    X = example_images(n=30)
    y = face.predict(X)
    second = np.argsort(face.logits(X), axis=1)[:, -2]
    attack = OnePixel(face, n_pixels=10, population_size=40, max_iter=10, targeted=True, random_state=0)
    X_adv, report = attack.generate(X, second, return_report=True)
    np.testing.assert_array_equal(face.predict(X_adv) == second, report.success)
    assert report.success.mean() > 0.5
    np.testing.assert_array_equal(attack.generate(X, y), X)  # there already


def test_images_that_are_wrong_already_cost_nothing(face):
    X = example_images()
    y = face.predict(X)
    y[:4] = (y[:4] + 1) % 5
    attack = OnePixel(face, population_size=10, max_iter=2, random_state=0)
    X_adv = attack.generate(X, y)
    np.testing.assert_array_equal(X_adv[:4], X[:4])
    assert attack.report_.success[:4].all() and not attack.report_.n_queries[:4].any()
    assert attack.report_.n_queries[4:].all()


def test_asks_for_logits_alone_and_counts_them(face):
    X = example_images()
    before = face.pass_counts()
    attack = OnePixel(face, n_pixels=4, population_size=15, max_iter=4, random_state=0)
    attack.generate(X)
    after = face.pass_counts()
    assert after["backward"] == before["backward"] and not attack.report_.n_gradients.any()
    predictions = 4 * len(X)  # before, after, rounded, and which are wrong already
    assert after["forward"] - before["forward"] == attack.report_.n_queries.sum() + predictions
    np.testing.assert_array_equal(attack.report_.n_queries, 15 * (attack.report_.n_iterations + 1))


def test_confident_models_are_no_harder():
    """Logits 1024 times as large make every probability 0 or 1 in float32, and the very same images."""
    network = small_network()
    X = example_images(n=20)
    attack = OnePixel(FaceClassifier.from_network(network), n_pixels=3, population_size=20, max_iter=5, random_state=0)
    plain = attack.generate(X)
    assert attack.report_.success.any()
    *rest, kernel, bias = network.get_weights()
    network.set_weights([*rest, kernel * 1024, bias * 1024])
    np.testing.assert_array_equal(attack.set_params(model=FaceClassifier.from_network(network)).generate(X), plain)


def test_batches_and_order_do_not_matter(face):
    X = example_images(n=30)
    attack = OnePixel(face, n_pixels=3, population_size=20, max_iter=6, random_state=3)
    whole = attack.generate(X)
    assert 0 < attack.report_.success.mean() < 1
    for batch_size in (1, 7):
        np.testing.assert_allclose(attack.set_params(batch_size=batch_size).generate(X), whole, atol=1e-6)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(attack.generate(X[order]), whole[order], atol=1e-6)


def test_random_states(face):
    X = example_images()
    first, second, other = (
        OnePixel(face, n_pixels=4, population_size=10, max_iter=3, random_state=seed).generate(X) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != X).any() and (first != other).any()


def test_pixels_are_placed_where_the_genes_say():
    X = np.zeros((2, 4, 5, 3), np.float32)
    corners = [[0, 0, 0.1, 0.2, 0.3], [1, 1, 0.4, 0.5, 0.6]]
    together = [[0.3, 0.5, 0.1, 0.2, 0.3], [0.49, 0.41, 0.7, 0.8, 0.9]]
    genes = np.float32([corners, together])
    placed = _one_pixel.place(X, genes.reshape(2, 10))
    np.testing.assert_array_equal(placed[0, 0, 0], genes[0, 0, 2:])
    np.testing.assert_array_equal(placed[0, 3, 4], genes[0, 1, 2:])
    np.testing.assert_array_equal(placed[1, 1, 2], genes[1, 1, 2:])  # both are at row 1, column 2: the later counts
    assert (placed != 0).any(axis=3).sum() == 3 and not X.any()


def test_partners_are_three_others_and_all_alike():
    size, n = 6, 4000
    three = _one_pixel.partners(n, size, ImageStreams(np.arange(n, dtype=np.uint64) * np.uint64(7919)))
    every = np.concatenate([three, np.broadcast_to(np.arange(size), (1, n, size))])
    assert (np.diff(np.sort(every, axis=0), axis=0) > 0).all(), "four different candidates"
    for partner in three:
        for j in range(size):
            shares = np.bincount(partner[:, j], minlength=size) / n
            np.testing.assert_allclose(shares, np.where(np.arange(size) == j, 0, 1 / (size - 1)), atol=0.03)


def test_children_are_base_plus_half_the_difference(monkeypatch):
    genes = np.float32([[[0.1], [0.2], [0.6], [0.9]]])
    three = np.array([[[1, 0, 3, 2]], [[2, 3, 0, 1]], [[3, 2, 1, 0]]])
    monkeypatch.setattr(_one_pixel, "partners", lambda n, size, rng: three)
    expected = [0.2 - 0.15, 0.1 + 0.15, 0.9 - 0.05, 0.6 + 0.05]
    np.testing.assert_allclose(_one_pixel.breed(genes, None).ravel(), expected, rtol=1e-6)
