"""Models with chance as attacks see them: means over draws of the attack's own."""

from functools import partial

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from smartbox import as_face_model
from smartbox._expectation import ExpectedModel
from smartbox.attacks import (
    APGD,
    DDN,
    EAD,
    FGSM,
    MIFGSM,
    PGD,
    AutoAttack,
    CarliniL2,
    DeepFool,
    Square,
    UniversalPerturbation,
)
from smartbox.base import BaseDefense, BaseDetector
from smartbox.defenses import BitDepthReduction, GaussianBlur, MedianFilter, Randomization, TotalVariation
from smartbox.estimator_checks import example_images
from tests.doubles import NumpyModel

X = example_images((8, 7, 1), n=20)
FACE = NumpyModel(4)
Y = FACE.predict(X)
SHIFT = partial(Randomization, scale=(0.75, 0.75), upsample=1)  # 6 x 5 pixels at one of 3 x 3 places


class Doubt(BaseDefense):
    """Shows some draws black."""

    _parameter_constraints = {}

    def __init__(self, *, share=0.5, random_state=None):
        self.share = share
        self.random_state = random_state

    def _draw(self, X, rng):
        return (rng.uniform(1) >= self.share)[..., None, None]

    def _apply(self, X, draw):
        return X * draw

    def _pull_back(self, X, draw, gradient):
        return gradient * draw


class Still(Doubt):
    """Draws, and does nothing with it."""

    def _apply(self, X, draw):
        return X

    def _pull_back(self, X, draw, gradient):
        return gradient


def expected(*steps, n_draws=20, seed=0):
    return as_face_model(make_pipeline(*steps)).in_expectation(n_draws, seed)


# The mean


def test_an_affine_model_behind_a_random_shift_is_the_mean_of_the_shifts():
    """Gradients tend to the mean operator, which is the mean over all places."""
    shift, image = SHIFT(), X[:1]
    many = np.repeat(image, 3000, axis=0)
    many[:, 0, 0, 0] = np.linspace(0.3, 0.301, 3000)  # draws of their own
    v = np.ones((1, 4), np.float32) * np.float32([[1, -2, 0.5, 1]])
    slope = FACE.vjp(image, v)
    places = [_placed(slope[0, ..., 0], top, left) for top in range(3) for left in range(3)]
    exact = np.mean(places, axis=0)
    found = expected(shift, FACE, n_draws=3000).vjp(image, v)[0, ..., 0]
    np.testing.assert_allclose(found, exact, atol=5 * np.std(places) / np.sqrt(3000))


def _placed(slope, top, left):
    """The slope by the image, of one by the canvas, when the image lies at a place: the adjoint of shrinking, by hand."""
    rows, columns = (_shrinking(size, small) for size, small in ((8, 6), (7, 5)))
    return rows.T @ slope[top : top + 6, left : left + 5] @ columns


def _shrinking(size, small):
    matrix = np.zeros((small, size))
    for i in range(small):
        source = (i + 0.5) * size / small - 0.5
        low = int(np.floor(source))
        matrix[i, low] += low + 1 - source
        matrix[i, min(low + 1, size - 1)] += source - low
    return matrix


def test_the_variance_of_the_mean_falls_as_one_over_the_draws():
    images = np.repeat(X[:1], 400, axis=0)
    images[:, 0, 0, 0] = np.linspace(0.3, 0.3001, 400)
    variances = []
    for n_draws in (1, 4, 16):
        gradient = expected(Doubt(share=0.3), FACE, n_draws=n_draws).vjp(images, np.ones((400, 4), np.float32))
        variances.append(gradient.var(axis=0).mean())
    np.testing.assert_allclose(variances[0] / np.array(variances), [1, 4, 16], rtol=0.35)


def test_values_and_gradients_are_means_over_the_same_draws():
    """With shares of black images known from the logits: a black image has logits of zero."""
    seen = expected(Doubt(share=0.4), FACE, n_draws=30)
    values, _, gradient = seen.value_and_gradient(X, Y, "odds")
    lit_values, lit_logits, lit_gradient = FACE.value_and_gradient(X, Y, "odds")
    share = (seen.logits(X) / lit_logits)[:, 0]  # of the draws that are lit
    assert len(np.unique(share.round(3))) > 3
    np.testing.assert_allclose(gradient, share[:, None, None, None] * lit_gradient, rtol=1e-4, atol=1e-5)
    black = np.log(3)  # three others against one, all of them zero
    np.testing.assert_allclose(values, share * lit_values + (1 - share) * black, rtol=1e-4, atol=1e-5)


# Nine draws of ten


@pytest.mark.parametrize(("share", "wins"), [(0.0, True), (0.05, True), (0.3, False), (0.6, False), (1.0, False)])
@pytest.mark.parametrize("targeted", [False, True])
def test_success_takes_nine_draws_of_ten(share, wins, targeted):
    """Black images have equal logits: the first label, which is no success for an attack on it."""
    lit = X[Y != 0]
    goal = FACE.predict(lit) if targeted else np.zeros(len(lit), int)
    attack = PGD(FACE, targeted=targeted)
    seen = expected(Doubt(share=share), FACE, n_draws=200)
    np.testing.assert_array_equal(attack._succeeds(seen, lit, goal), wins)
    margins, logits = seen.value_and_logits(lit, goal, "margin", targeted)
    assert ((margins < 0) == wins).all() if targeted else ((margins > 0) == wins).all()
    np.testing.assert_array_equal(attack._reached(FACE, logits.argmax(axis=1), goal), wins)


@pytest.mark.parametrize(("n_draws", "enough"), [(1, 1), (5, 5), (10, 9), (20, 18)])
def test_how_many_draws_are_nine_tenths(n_draws, enough):
    seen = expected(Still(), FACE, n_draws=n_draws)
    logits = np.zeros((n_draws + 1, n_draws, 4))
    for wins in range(n_draws + 1):
        logits[wins, :, 1] = np.where(np.arange(n_draws) < wins, 1, -1)
    _, judged = seen._judge(np.zeros(logits.shape[:2]), logits, np.zeros(n_draws + 1, int), "odds", False)
    np.testing.assert_array_equal(judged.argmax(axis=1) == 1, np.arange(n_draws + 1) >= enough)


# Whose draws


def test_without_effect_chance_changes_nothing():
    """Deterministic steps: all attacks as on the model itself."""
    for attack in (partial(PGD, eps=0.05, max_iter=5), partial(CarliniL2, binary_search_steps=2, max_iter=10),
                   partial(APGD, eps=0.05, max_iter=5), partial(DDN, max_iter=5), partial(FGSM, eps=0.05)):  # fmt: skip
        plain = attack(FACE, random_state=0)
        seen = attack(make_pipeline(Still(random_state=0), FACE), random_state=0)
        np.testing.assert_allclose(seen.generate(X, Y), plain.generate(X, Y), atol=1e-4)
        np.testing.assert_array_equal(seen.report_.success, plain.report_.success)


def test_without_chance_nothing_is_averaged():
    pipeline = make_pipeline(BitDepthReduction(), GaussianBlur(), TotalVariation(drop=0.0, max_iter=3), FACE)
    model = as_face_model(pipeline)
    assert not model.has_chance and PGD(pipeline)._seen(model, 0) is model
    attack = PGD(pipeline, eps=0.05, max_iter=3, early_stop=False, random_state=0)
    attack.generate(X, Y)
    np.testing.assert_array_equal(attack.report_.n_gradients, 3)


class Recorder(Doubt):
    """Keeps all that was drawn."""

    seen = []

    def _draw(self, X, rng):
        draws = rng.uniform(2)
        Recorder.seen.append(draws.ravel())
        return draws[:, :1, None, None] > 0.1


def test_no_draw_of_the_attack_is_a_deployed_one_and_every_step_has_fresh_ones():
    """Also with the very same seed for both; deployed are the draws of predict before and after."""
    Recorder.seen = []
    pipeline = make_pipeline(Recorder(random_state=0), FACE)
    # a ball so large that no image comes to rest in its corners, where the same draws would come again
    PGD(pipeline, eps=0.9, step_size=0.02, max_iter=4, early_stop=False, random_state=0, eot_iter=7).generate(X, Y)
    drawn = np.concatenate(Recorder.seen)
    steps = 4 + 1  # gradients, and the last look
    assert drawn.size == 2 * len(X) * (7 * steps + 3)  # deployed: before, after, and after rounding
    assert len(np.unique(drawn)) == drawn.size
    Recorder.seen = []
    as_face_model(pipeline).predict(X)
    assert not np.isin(np.concatenate(Recorder.seen), drawn[2 * len(X) :]).any()


ATTACKS = {
    "pgd": partial(PGD, eps=0.1, max_iter=4),
    "pgd l2": partial(PGD, eps=0.5, norm="l2", max_iter=4, n_restarts=2),
    "mifgsm": partial(MIFGSM, eps=0.1, max_iter=3),
    "cw": partial(CarliniL2, binary_search_steps=2, max_iter=4, initial_const=1.0, init="ddn", eot_iter=3),
    "ead": partial(EAD, binary_search_steps=1, max_iter=3, initial_const=1.0, eot_iter=3),
    "autoattack": partial(AutoAttack, eps=0.1, version="rand", max_iter=2),
    "standard": partial(AutoAttack, eps=0.05, max_iter=1, n_targets=1, max_queries=2),
    "deepfool": partial(DeepFool, max_iter=2, n_candidates=3),
    "square": partial(Square, eps=0.1, max_queries=4),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_repeats_and_does_not_depend_on_batches_or_order(attack):
    steps = MedianFilter(), SHIFT(random_state=1), BitDepthReduction(), Doubt(share=0.1, random_state=2)
    pipeline = make_pipeline(*steps, FACE)
    few, y = X[:5], Y[:5]
    whole, report = attack(pipeline, random_state=0).generate(few, y, return_report=True)
    np.testing.assert_array_equal(attack(pipeline, random_state=0).generate(few, y), whole)
    parts = attack(pipeline, random_state=0, batch_size=2).generate(few[::-1], y[::-1])[::-1]
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    np.testing.assert_array_equal(report.success, as_face_model(pipeline).predict(whole) != y)
    assert (report.n_gradients % (attack(pipeline).eot_iter or 20) == 0).all()


def test_averaging_beats_a_single_draw_and_the_attack_that_ignores_the_defence():
    """On draws that none of them has seen."""
    X = example_images((16, 12, 1), n=60)
    face = NumpyModel(4)
    y = face.predict(X)
    random_step = partial(Randomization, scale=(0.7, 0.8), upsample=1)
    kept = {}
    for name, model in (("ignored", face), ("met", make_pipeline(random_step(), face))):
        X_adv = PGD(model, eps=0.03, max_iter=10, early_stop=False, random_state=0).generate(X, y)
        again = [
            as_face_model(make_pipeline(random_step(random_state=seed), face)).predict(X_adv) == y for seed in range(10)
        ]
        kept[name] = np.mean(again)
    assert kept["met"] < kept["ignored"] - 0.03


def test_a_universal_perturbation_is_learnt_over_draws():
    pipeline = make_pipeline(Doubt(share=0.05, random_state=0), FACE)
    attack = UniversalPerturbation(pipeline, eps=0.3, max_iter=5, random_state=0).fit(X)
    again = UniversalPerturbation(pipeline, eps=0.3, max_iter=5, random_state=0, batch_size=7).fit(X)
    np.testing.assert_allclose(attack.perturbation_, again.perturbation_, atol=1e-6)
    assert attack.generate(X).shape == X.shape and attack.fooling_rate_ > 0.3


def test_two_steps_with_chance_and_nested_pipelines():
    pipeline = make_pipeline(make_pipeline(SHIFT(random_state=0), GaussianBlur()), Doubt(share=0.1), FACE)
    seen = as_face_model(pipeline).in_expectation(50, 0)
    assert isinstance(seen, ExpectedModel)
    gradient = seen.vjp(X, np.ones((20, 4), np.float32))
    assert gradient.shape == X.shape and gradient.any()


class Bright(BaseDetector):
    """Flags bright images."""

    def _fit(self, X, y):
        self.threshold_ = 0.55

    def _score(self, X):
        return X.mean(axis=(1, 2, 3), dtype=np.float64)

    def _value_and_gradient(self, X):
        return self._score(X), np.full_like(X, 1 / X[0].size)


def test_behind_a_detector():
    detector = Bright().fit(X, np.arange(len(X)) % 2)
    flagged = detector.predict(X) == 1
    guarded = as_face_model(make_pipeline(Still(random_state=0), FACE), detector=detector)
    plain = as_face_model(FACE, detector=detector)
    for attack in (partial(PGD, eps=0.1, max_iter=8), partial(CarliniL2, binary_search_steps=2, max_iter=10)):
        reports = [attack(model, random_state=0).generate(X, Y, return_report=True) for model in (guarded, plain)]
        np.testing.assert_allclose(reports[0][0], reports[1][0], atol=1e-4)
    assert flagged.any() and not flagged.all()
    seen = as_face_model(make_pipeline(Doubt(share=0.5), FACE), detector=detector).in_expectation(20, 0)
    np.testing.assert_array_equal(seen.decide(X, Y, True) == seen.reject_label, flagged)


def test_the_number_of_draws_is_checked():
    with pytest.raises(ValueError, match="eot_iter"):
        PGD(make_pipeline(Doubt(), FACE), eot_iter=0).generate(X)
