"""What a defence is."""

import numpy as np
from sklearn.utils import check_random_state

from smartbox._streams import ImageStreams
from smartbox.base._images import StatelessTransformer, checked_output


class BaseDefense(StatelessTransformer):
    """An input mitigation: images in, cleaned images of the same shape out.

    A subclass writes ``_apply(X, draw)``, which returns images like ``X``. One with chance has a parameter ``random_state`` and
    writes ``_draw(X, rng)``, whose ``rng`` holds one stream an image: ``rng.uniform(k)`` and ``rng.normal(k)`` give ``(n, k)``
    numbers, the same for an image in any batch; attacks then aim at the mean over draws of their own. One with a
    gradient writes ``_pull_back(X, draw, gradient)``; without it the backward pass takes the defence for the identity
    (BPDA [1]_).

    References
    ----------
    .. [1] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.1.

    Examples
    --------
    >>> from smartbox.base import BaseDefense
    >>> from smartbox.datasets import make_faces
    >>> class Noise(BaseDefense):
    ...     def __init__(self, *, scale=0.05, random_state=None):
    ...         self.scale = scale
    ...         self.random_state = random_state
    ...     def _draw(self, X, rng):
    ...         return rng.normal(X[0].size).reshape(X.shape)
    ...     def _apply(self, X, draw):
    ...         return X + self.scale * draw
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> Noise(random_state=0).transform(faces.images).shape
    (4, 96, 84, 1)
    """

    def transform(self, X):
        """Clean the images.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1]. Never written to.

        Returns
        -------
        X_clean : ndarray like X, float32 in [0, 1]
        """
        return self._clean(X)[2]

    def vjp(self, X, *, rng=None):
        """Clean the images and keep the way back.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        rng : ImageStreams, optional
            One stream an image to draw from, in place of ``random_state``: an attack's own.

        Returns
        -------
        X_clean : ndarray like X
        pull_back : callable
            Takes the gradient of a value by ``X_clean`` to that by ``X``.
        """
        X, draw, X_clean = self._clean(X, rng)
        return X_clean, lambda gradient: self._pull_back(X, draw, gradient)

    @property
    def has_chance(self):
        """Whether what comes out depends on what is drawn."""
        return type(self)._draw is not BaseDefense._draw

    def _clean(self, X, rng=None):
        """The checked images, what was drawn for them, and the result."""
        self._validate_params()
        X = self._check_images(X)
        if rng is None:
            seed = check_random_state(getattr(self, "random_state", None)).randint(2**63, dtype=np.int64)
            rng = ImageStreams.from_images(X, seed)
        draw = self._draw(X, rng)
        # A copy goes in, lest a defence that works in place change the caller's images.
        return X, draw, checked_output(self, "_apply", self._apply(X.copy(), draw), X)

    def _draw(self, X, rng):
        return None

    def _pull_back(self, X, draw, gradient):
        return gradient
