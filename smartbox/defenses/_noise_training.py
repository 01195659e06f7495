"""Training with Gaussian noise."""

from numbers import Real

import numpy as np
from sklearn.utils import check_random_state

from smartbox._compat import Interval
from smartbox._training import Lesson, measured
from smartbox.defenses._retrained import RetrainedClassifier, new_seed, sealed, untrained


class NoiseTraining(RetrainedClassifier):
    """A face classifier that learns from noisy images, anew noisy in each step: what randomised smoothing is to stand on.

    Parameters
    ----------
    estimator : FaceClassifier
        What to train, from new weights, by its ``epochs``, ``optimizer`` and so on; never changed itself, and whether it is
        fitted does not matter.
    sigma : float, default=0.1
        Standard deviation of the noise, in units of the [0, 1] intensity range: that of the `RandomizedSmoothing` to come. 0 is
        ordinary training.
    random_state : int, RandomState or None, default=None
        Draws initial weights, dropout, the order of images and the noise; None leaves that to the random state of ``estimator``.

    Attributes
    ----------
    estimator_ : FaceClassifier
        The network that has met noise. Its ``history_`` has loss and accuracy on the noisy images, and of validation images
        also ``val_noisy_loss``, which ``patience`` waits for, and ``val_noisy_accuracy``.
    classes_ : ndarray of shape (n_classes,)
    image_shape_ : tuple of int

    See Also
    --------
    RandomizedSmoothing : Counts how this network names noisy copies, and certifies a radius.

    Notes
    -----
    As in `RandomizedSmoothing` the noise is not cut to [0, 1], since its theorem wants it Gaussian: the network learns from
    pixels beyond that range. Images that it is asked about later still lie in [0, 1].

    Noise alone makes a network only a little harder to attack; the certificate is that of the smoothed one.

    References
    ----------
    .. [1] Cohen, Rosenfeld, Kolter. "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, section 3.3.

    Examples
    --------
    >>> from smartbox import FaceClassifier
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import NoiseTraining, RandomizedSmoothing
    >>> faces = make_faces(n_identities=3, n_images=8, image_shape=(24, 24))
    >>> noisy = NoiseTraining(FaceClassifier(epochs=2), sigma=0.1, random_state=0).fit(faces.images, faces.target)
    >>> smoothed = RandomizedSmoothing(noisy, sigma=0.1, n_draws=20, n_select=10, alpha=0.05, random_state=0)
    >>> smoothed.certify(faces.images[:2]).radius.shape
    (2,)
    """

    _parameter_constraints = {
        "estimator": "no_validation",
        "sigma": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator, *, sigma=0.1, random_state=None):
        self.estimator = estimator
        self.sigma = sigma
        self.random_state = random_state

    def _train(self, X, y, sample_weight, validation_data):
        face = untrained(self.estimator)
        if self.random_state is not None:
            face.random_state = new_seed(check_random_state(self.random_state))
        lesson = NoisyLesson(self.sigma, new_seed(face.random_state))
        return sealed(face._fit(X, y, sample_weight, validation_data, lesson))


class NoisyLesson(Lesson):
    """Images with Gaussian noise, which takes pixels beyond [0, 1], and their labels.

    Parameters
    ----------
    sigma : float
        Standard deviation.
    seed : int
        Draws the noise.
    """

    watched = "val_noisy_loss"

    def __init__(self, sigma, seed):
        self.sigma = np.float32(sigma)
        self.seed = seed
        self.rng = np.random.RandomState(seed)

    def batch(self, X, index, rows):
        """The images, noisy, and their labels."""
        return self._noisy(X[rows], self.rng), index[rows]

    def evaluate(self, engine, X, index):
        """Loss and accuracy on validation images, clean and under noise that is the same after each epoch."""
        noisy = self._noisy(X, np.random.RandomState(self.seed))
        return {**measured("val", engine, X, index), **measured("val_noisy", engine, noisy, index)}

    def _noisy(self, X, rng):
        return X + self.sigma * rng.normal(size=X.shape).astype(np.float32)
