"""The autoencoder against the Wiener filter, the identity, and its own parts."""

import pickle

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier
from smartbox.attacks import FGSM, PGD, DeepFool, UniversalPerturbation
from smartbox.defenses import DenoisingAutoencoder, GaussianBlur
from smartbox.defenses._attacked_lessons import DenoisingLesson
from smartbox.estimator_checks import example_images
from smartbox.networks import denoising_network
from tests.doubles import NumpyModel, affine_face, random_affine, small_network


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def linear(image_shape):
    size = int(np.prod(image_shape))
    dense = layers.Dense(size, kernel_initializer="zeros")
    return keras.Sequential([keras.Input(image_shape), layers.Flatten(), dense, layers.Reshape(image_shape)])


def a_face(shape):
    return affine_face(*random_affine(0, 3, shape)[:2], shape)


def coloured(n, covariance, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.multivariate_normal(np.full(len(covariance), 0.5), covariance, size=n)
    return X.reshape(n, 2, 2, 1).astype(np.float32)


def test_linear_network_converges_to_the_wiener_filter():
    """From noise of variance s² the best linear estimate is ``mean + Sigma (Sigma + s² I)^-1 (x - mean)``."""
    scale = 0.05
    root = np.array([[1, 0, 0, 0], [0.8, 0.6, 0, 0], [0.5, 0.5, 0.5, 0], [0, 0.3, 0.3, 0.3]]) * 0.06
    X = coloured(2000, root @ root.T)
    attack = FGSM(a_face((2, 2, 1)), eps=0.0)
    fitted = DenoisingAutoencoder(
        attack,
        noise=scale,
        shares=(0, 1, 0),
        network=linear,
        epochs=60,
        batch_size=50,
        learning_rate=0.02,
        random_state=0,
    ).fit(X)
    flat = X.reshape(len(X), -1).astype(np.float64)
    sigma = np.cov(flat.T)
    wiener = sigma @ np.linalg.inv(sigma + scale**2 * np.eye(4))
    probes = coloured(50, root @ root.T, seed=1) + np.float32(0.05)
    expected = flat.mean(axis=0) + (probes.reshape(50, -1) - flat.mean(axis=0)) @ wiener.T
    made = fitted.transform(probes).reshape(50, -1)
    assert np.sqrt(np.mean((made - expected) ** 2)) < 0.1 * np.sqrt(np.mean((probes.reshape(50, -1) - expected) ** 2))


def on_a_subspace(n, seed):
    """Images of 12 pixels that vary in three directions alone."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 3)))[0]
    X = 0.5 + 0.1 * np.random.default_rng(seed).normal(size=(n, 3)) @ basis.T
    return X.reshape(n, 4, 3, 1).astype(np.float32)


LONG = {"guidance": 0, "network": linear, "epochs": 300, "batch_size": 50, "learning_rate": 0.05, "random_state": 0}


def test_clean_faces_alone_teach_the_identity_on_their_subspace():
    X = on_a_subspace(300, 0)
    fitted = DenoisingAutoencoder(FGSM(a_face((4, 3, 1)), eps=0.1), shares=(1, 0, 0), **LONG).fit(X)
    np.testing.assert_allclose(fitted.transform(X), X, atol=5e-3)


def test_it_learns_to_undo_an_attack():
    """Most of a perturbation leads out of the subspace, where nothing of a face is."""
    X, X_new, face = on_a_subspace(300, 1), on_a_subspace(200, 2), a_face((4, 3, 1))
    attack = FGSM(face, eps=0.03)
    fitted = DenoisingAutoencoder(attack, noise=0.02, **LONG).fit(X)
    y, defended = face.predict(X_new), make_pipeline(fitted, face)
    X_adv = attack.generate(X_new, y)
    assert defended.score(X_new, y) > 0.9
    assert defended.score(X_adv, y) > face.score(X_adv, y) + 0.2
    aware = clone(attack).set_params(model=defended).generate(X_new, y)
    assert defended.score(aware, y) < defended.score(X_adv, y)


def test_untrained_network_is_the_identity_and_keeps_any_shape():
    for shape in ((16, 12, 1), (13, 10, 3), (5, 7, 1), (1, 9, 1)):
        X = example_images(shape)
        network = denoising_network(X.shape[1:])
        np.testing.assert_array_equal(network(X).numpy(), X)
        assert network.output_shape == (None, *X.shape[1:])


def test_guided_by_logits_alone_it_learns_what_the_network_sees():
    """One pixel is all that the network looks at: the others may become anything, that one is made right."""
    weights = np.zeros((2, 4))
    weights[:, 0] = 30, -30
    face = affine_face(weights, [-15, 15], (2, 2, 1))
    X = coloured(400, np.eye(4) * 0.01)
    fitted = DenoisingAutoencoder(
        FGSM(face, eps=0.0),
        shares=(1, 0, 0),
        guidance=1e3,
        network=linear,
        epochs=40,
        learning_rate=0.02,
        random_state=0,
    ).fit(X)
    error = np.abs(fitted.transform(X) - X).reshape(len(X), 4).mean(axis=0)
    assert error[0] < 0.2 * error[1:].min()


def test_a_pixel_cut_to_the_box_has_no_gradient(face):
    def shifted(shape):
        return keras.Sequential([keras.Input(shape), layers.Rescaling(2.0, offset=-0.5)])

    X = example_images()
    fitted = DenoisingAutoencoder(FGSM(face, eps=0.0), guidance=0, network=shifted, epochs=1, random_state=0).fit(X)
    Z, pull_back = fitted.vjp(X)
    np.testing.assert_allclose(Z, np.clip(2 * X - 0.5, 0, 1), atol=1e-6)
    inside = (X > 0.25) & (X < 0.75)
    np.testing.assert_allclose(pull_back(np.ones_like(X))[inside], 2, atol=1e-6)
    assert not pull_back(np.ones_like(X))[(X < 0.24) | (X > 0.76)].any()


def test_shares_of_clean_noisy_and_attacked():
    X, rng = np.full((3000, 2, 2, 1), 0.5, np.float32), np.random.RandomState(0)
    lesson = DenoisingLesson(np.full_like(X, 0.9), 0.1, np.cumsum([0.2, 0.3, 0.5]), rng)
    shown, wanted = lesson.batch(X, None, np.arange(3000))
    clean, attacked = (shown == 0.5).all(axis=(1, 2, 3)), (shown == np.float32(0.9)).all(axis=(1, 2, 3))
    np.testing.assert_allclose([clean.mean(), attacked.mean()], [0.2, 0.5], atol=0.03)
    noisy = shown[~clean & ~attacked]
    assert noisy.std() == pytest.approx(0.1, rel=0.05) and noisy.mean() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(wanted, X)


def test_attacks_take_turns(face):
    X = example_images(n=20, seed=2)
    attacks = [FGSM(face, eps=0.1), FGSM(face, eps=0.02, targeted=True), UniversalPerturbation(face, eps=0.05)]
    X_adv = DenoisingAutoencoder(attacks)._attacked(X, np.random.RandomState(0))
    sizes = np.abs(X_adv - X).max(axis=(1, 2, 3))
    assert sorted(np.sum(np.abs(sizes - eps) < 1e-4) for eps in (0.1, 0.02, 0.05)) == [6, 7, 7]


def test_random_state_decides_everything(face):
    X = example_images()
    make = {
        seed: DenoisingAutoencoder(PGD(face, eps=0.1, max_iter=2), network=linear, epochs=1, random_state=seed)
        for seed in (0, 1)
    }
    first, again, other = (make[seed].fit(X).transform(X) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    fitted = make[0]
    assert pickle.dumps(fitted) == pickle.dumps(fitted)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(fitted)).transform(X), fitted.transform(X), atol=1e-6)
    assert clone(fitted).attack.model is face and not hasattr(clone(fitted), "network_")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"attack": None}, "expected attack as an attack with its model"),
        ({"attack": []}, "expected attack as an attack with its model"),
        ({"attack": [GaussianBlur()]}, "expected attack as an attack with its model"),
        ({"attack": DeepFool(None)}, "DeepFool has no model"),
        ({"attack": FGSM(NumpyModel())}, "guidance=0"),
        ({"guidance": -1}, "guidance"),
        ({"shares": (0.5, 0.5)}, "three numbers of sum 1"),
        ({"shares": (0.5, 0.6, -0.1)}, "three numbers of sum 1"),
        ({"noise": -1}, "noise"),
        ({"network": "paper"}, "'convolutional' or a builder"),
        ({"network": lambda shape: None}, "return a keras.Model"),
        ({"network": lambda shape: small_network(shape)}, "output has the shape of its input"),
    ],
)
def test_mistakes(face, parameters, message, monkeypatch):
    monkeypatch.setattr("smartbox.defenses._denoising_autoencoder.train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(**{"attack": FGSM(face), **parameters}).fit(example_images())


def test_unfitted(face):
    with pytest.raises(NotFittedError):
        DenoisingAutoencoder(FGSM(face)).transform(example_images())


def test_progress_speaks_of_no_accuracy(capsys):
    """The network makes images and names nothing."""
    X = coloured(40, np.eye(4) * 1e-3)
    fitted = DenoisingAutoencoder(FGSM(a_face((2, 2, 1)), eps=0.0), network=linear, epochs=1, verbose=1).fit(X)
    assert "loss" in capsys.readouterr().err
    assert list(fitted.history_) == ["loss"]
