"""AutoAttack: what its parts add to each other, and what it promises of the whole."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier
from smartbox.attacks import APGD, FAB, AutoAttack, Square
from smartbox.base import BaseDefense
from smartbox.estimator_checks import example_images
from tests.doubles import affine_face, random_affine, small_network

SHAPE = (4, 5, 1)
EPS = {"linf": 0.004, "l2": 0.04, "l1": 0.15}
SHORT = {"max_iter": 8, "n_targets": 3, "max_queries": 40, "random_state": 0}
ORDER = {
    "standard": ["clean", "apgd-ce", "apgd-t", "fab-t", "square", ""],
    "plus": ["clean", "apgd-ce", "apgd-t", "fab-t", "square", "apgd-dlr", "fab", ""],
    "rand": ["clean", "apgd-ce", "apgd-dlr", ""],
}


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


@pytest.mark.parametrize("version", ORDER)
@pytest.mark.parametrize("norm", EPS)
def test_accuracy_is_no_higher_than_under_any_part(face, norm, version):
    X, eps = example_images(n=40), EPS[norm]
    y = face.predict(X)
    y[:3] = (y[:3] + 1) % 5
    n = 20 if norm == "l1" else 8  # fewer steps are too few to become sparse
    attack = AutoAttack(face, eps=eps, norm=norm, version=version, **{**SHORT, "max_iter": n})
    X_adv, report = attack.generate(X, y, return_report=True)
    assert report[norm].max() <= eps * (1 + 1e-5) + 1e-7 and X_adv.min() >= 0 and X_adv.max() <= 1
    np.testing.assert_array_equal(report.success, report.component != "")
    np.testing.assert_array_equal(report.component[:3], "clean")
    np.testing.assert_array_equal(X_adv[~report.success], X[~report.success])
    assert set(report.component) <= set(ORDER[version]) and 0 < report.success.mean() < 1
    kept = [
        face.score(part.generate(X, y), y)
        for part in (
            APGD(face, eps=eps, norm=norm, max_iter=n, random_state=0),
            APGD(face, eps=eps, norm=norm, loss="dlr", max_iter=n, random_state=0),
            Square(face, eps=eps, norm=norm, max_queries=40, random_state=0),
        )
    ]
    if version != "rand":
        fab = FAB(face, norm=norm, max_iter=n).generate(X, y, return_report=True)[1]
        kept.append(np.mean(fab[norm] > eps))
    assert face.score(X_adv, y) <= min(kept)


@pytest.mark.parametrize("version", ["standard", "plus"])
@pytest.mark.parametrize("norm", EPS)
def test_each_part_meets_only_what_the_last_has_left(face, norm, version, monkeypatch):
    X = example_images(n=40)
    y = face.predict(X)
    met, components = [], AutoAttack._components

    def spied(self, n_classes):
        def spy(name, perturb):
            def run(model, X, y, rng):
                met.append((name, {image.tobytes() for image in X}))
                return perturb(model, X, y, rng)

            return run

        return {name: spy(name, perturb) for name, perturb in components(self, n_classes).items()}

    monkeypatch.setattr(AutoAttack, "_components", spied)
    attack = AutoAttack(face, eps=EPS[norm], norm=norm, version=version, **SHORT)
    report = attack.generate(X, y, return_report=True)[1]
    names = [name for name, _ in met]
    assert names == ORDER[version][1 : 1 + len(names)]
    for (_, before), (_, after) in pairwise(met):
        assert after <= before
    for place, (_, images) in enumerate(met):
        still = [image.tobytes() for image, won in zip(X, report.component, strict=True) if won not in names[:place]]
        assert images == set(still)


@pytest.mark.parametrize("norm", EPS)
def test_plus_wins_whatever_standard_wins(face, norm):
    X, won = example_images(n=40), []
    for version in ("standard", "plus"):
        attack = AutoAttack(face, eps=EPS[norm] / 2, norm=norm, version=version, **SHORT)
        won.append(attack.generate(X, return_report=True)[1].success)
    assert (won[1] >= won[0]).all() and 0 < won[1].mean() < 1


@pytest.mark.parametrize("norm", EPS)
def test_wins_exactly_where_the_distance_is_less_than_eps(norm):
    """On an affine model of six classes, every image nearer to a boundary than ``eps`` falls and no other."""
    weights, bias, X = random_affine(0, 6, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    y, rows, logits = face.predict(X), np.arange(len(X)), face.logits(X).astype(np.float64)
    sizes = np.linalg.norm(weights[y][:, None] - weights[None], {"linf": 1, "l2": 2, "l1": np.inf}[norm], axis=2)
    exact = np.where(sizes > 0, (logits[rows, y][:, None] - logits) / np.where(sizes > 0, sizes, 1), np.inf).min(axis=1)
    eps = np.sort(exact)[9:11].mean()
    report = AutoAttack(face, eps=eps, norm=norm, **SHORT).generate(X, y, return_report=True)[1]
    np.testing.assert_array_equal(report.success, exact < eps)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_classes(n_classes):
    weights, bias, X = random_affine(0, n_classes, SHAPE)
    face = affine_face(weights, bias, SHAPE)
    for version in ("standard", "rand"):
        attack = AutoAttack(face, eps=0.3, version=version, **SHORT)
        attack.generate(X)
        assert attack.report_.success.all()


@pytest.mark.parametrize("norm", EPS)
def test_batches_and_order_do_not_matter(face, norm):
    X = example_images(n=20)
    y = face.predict(X)
    attack = AutoAttack(face, eps=EPS[norm], norm=norm, **SHORT)
    whole, report = attack.generate(X, y, return_report=True)
    order = np.random.default_rng(0).permutation(20)
    shuffled, again = attack.set_params(batch_size=6).generate(X[order], y[order], return_report=True)
    np.testing.assert_array_equal(again.component, report.component[order])
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-6)


def test_counts_of_gradients_are_those_of_the_network(face):
    X = example_images()
    before = face.pass_counts()["backward"]
    attack = AutoAttack(face, eps=0.002, **SHORT)
    attack.generate(X)
    assert face.pass_counts()["backward"] - before == attack.report_.n_gradients.sum()


def test_a_final_softmax_makes_no_difference():
    import keras

    network, X = small_network(), example_images()
    softmax = keras.Sequential([network, keras.layers.Softmax()])
    reports = [AutoAttack(FaceClassifier.from_network(net), eps=0.004, **SHORT).generate(X, return_report=True)[1]
               for net in (network, softmax)]  # fmt: skip
    np.testing.assert_array_equal(reports[0].component, reports[1].component)


class Noise(BaseDefense):
    """A defence with chance in it: each look at an image is another."""

    def _draw(self, X, rng):
        return 0.05 * rng.normal(X[0].size).reshape(X.shape)

    def _apply(self, X, draw):
        return X + draw


def test_a_model_with_chance_in_it_is_looked_at_twenty_times(face):
    X = example_images()
    attack = AutoAttack(make_pipeline(Noise(), face), eps=0.1, version="rand", **SHORT)
    y = face.predict(X)
    attack.generate(X, y)
    gradients = attack.report_.n_gradients
    assert (gradients % 20 == 0).all() and gradients.any()
    assert attack.report_.success.mean() > 0.5
