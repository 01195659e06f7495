"""What every classifier that a mitigation trains owes its user: refusals before any work, and all of a fit or nothing."""

import numpy as np
import pytest

from smartbox import FaceClassifier, face
from smartbox.attacks import FGSM, PGD
from smartbox.defenses import (
    AdversarialTraining,
    DefensiveDistillation,
    DenoisingAutoencoder,
    NoiseTraining,
    PCAReconstruction,
)
from smartbox.defenses import _denoising_autoencoder as autoencoder
from smartbox.defenses import _pca as pca
from tests.test_face import SHAPE, blobs, learner, plane

PGD_2 = PGD(None, eps=0.05, max_iter=2, random_state=0)
MAKERS = {
    "static": lambda estimator: AdversarialTraining(estimator, FGSM(None, eps=0.05), mode="static", random_state=0),
    "pgd": lambda estimator: AdversarialTraining(estimator, PGD_2, mode="pgd", random_state=0),
    "trades": lambda estimator: AdversarialTraining(estimator, PGD_2, mode="trades", random_state=0),
    "distillation": lambda estimator: DefensiveDistillation(estimator, random_state=0),
    "noise": lambda estimator: NoiseTraining(estimator, random_state=0),
}
KEEPS_WEIGHTS = ("pgd", "trades")


def given():
    """A network of the user's, given as such."""
    return FaceClassifier.from_network(plane(SHAPE, 3), classes=["ann", "bob", "eve"])


def no_work(monkeypatch):
    monkeypatch.setattr(face, "train", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(FGSM, "_perturb", lambda *_: pytest.fail("attacked"))


@pytest.mark.parametrize("name", MAKERS)
def test_images_of_another_size_than_the_given_network_takes(name, monkeypatch):
    X, y = blobs()
    classifier = MAKERS[name](given())
    no_work(monkeypatch)
    for other in (X[:, 1:], np.repeat(X, 3, axis=3)):
        with pytest.raises(
            ValueError, match=r"expected images of shape \(6, 5, 1\) \(height, width, channels\), got \("
        ):
            classifier.fit(other, y)


@pytest.mark.parametrize("name", ["static", *KEEPS_WEIGHTS])
def test_images_of_another_size_than_a_trained_one_takes(name, monkeypatch):
    X, y = blobs()
    classifier = MAKERS[name](learner(epochs=1).fit(X, y))
    no_work(monkeypatch)
    with pytest.raises(ValueError, match=r"expected images of shape \(6, 5, 1\)"):
        classifier.fit(X[:, 1:], y)


@pytest.mark.parametrize("name", ["distillation", "noise"])
def test_a_builder_makes_its_network_for_any_size(name):
    X, y = blobs()
    classifier = MAKERS[name](learner(epochs=1).fit(X, y)).fit(X[:, 1:], y)
    assert classifier.image_shape_ == classifier.estimator_.image_shape_ == (5, 5, 1)


@pytest.mark.parametrize("name", ["static", *KEEPS_WEIGHTS])
@pytest.mark.parametrize("estimator", [given, lambda: learner(epochs=1).fit(*blobs())])
def test_identities_other_than_those_of_the_weights(name, estimator, monkeypatch):
    """As many of other names: the outputs would be taken for other people than they have learnt."""
    X, y = blobs()
    classifier = MAKERS[name](estimator())
    no_work(monkeypatch)
    for other in (np.where(y == "eve", "zoe", y), np.arange(30) % 3):
        with pytest.raises(ValueError, match=r"trained on 3 identities, 'ann' to 'eve', but y holds 3"):
            classifier.fit(X, other)


@pytest.mark.parametrize("name", ["distillation", "noise"])
def test_new_weights_may_learn_other_identities(name):
    X, y = blobs()
    estimator = FaceClassifier.from_network(plane(SHAPE, 3)).set_params(epochs=1, batch_size=8)
    assert MAKERS[name](estimator).fit(X, y).classes_.tolist() == ["ann", "bob", "eve"]


def interrupted(*_, **__):
    raise KeyboardInterrupt


def check_survives(estimator, fit, answer):
    """What an interrupted ``fit`` of other images leaves is the earlier state, all of it."""
    before, answered = dict(vars(estimator)), answer()
    with pytest.raises(KeyboardInterrupt):
        fit()
    after = vars(estimator)
    assert after.keys() == before.keys() and all(after[name] is before[name] for name in before)
    np.testing.assert_array_equal(answer(), answered)


@pytest.mark.parametrize("name", MAKERS)
def test_an_interrupted_fit_leaves_the_classifier_as_it_was(name, monkeypatch):
    X, y = blobs()
    classifier = MAKERS[name](learner(epochs=1)).fit(X, y)
    calls = iter(range(2))
    train = face.train

    def second_is_interrupted(*arguments, **more):
        """Static training and distillation train two networks."""
        if name in ("static", "distillation") and next(calls) == 0:
            return train(*arguments, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(face, "train", second_is_interrupted)
    check_survives(classifier, lambda: classifier.fit(X[:, 1:], y == "ann"), lambda: classifier.logits(X))


def test_an_interrupted_fit_leaves_a_face_classifier_as_it_was(monkeypatch):
    X, y = blobs()
    classifier = learner(epochs=1).fit(X, y)
    monkeypatch.setattr(face, "train", interrupted)
    check_survives(classifier, lambda: classifier.fit(X[:, 1:], y == "ann"), lambda: classifier.logits(X))


def test_an_interrupted_fit_leaves_a_defence_as_it_was(monkeypatch):
    X, y = blobs()
    X = np.tile(X, (1, 2, 2, 1))[:, :8, :8]
    denoiser = DenoisingAutoencoder(FGSM(learner(epochs=1).fit(X, y), eps=0.05), epochs=1, random_state=0).fit(X)
    monkeypatch.setattr(autoencoder, "train", interrupted)
    check_survives(denoiser, lambda: denoiser.fit(X), lambda: denoiser.transform(X))
    components = PCAReconstruction(n_components=2, random_state=0).fit(X)
    monkeypatch.setattr(pca, "compact", interrupted)
    check_survives(components, lambda: components.fit(X[:, 1:]), lambda: components.transform(X))
    with pytest.raises(KeyboardInterrupt):
        PCAReconstruction(n_components=2).fit(X)
