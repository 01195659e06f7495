"""One reference face, and whether another face is of the same person."""

from numbers import Real

import numpy as np
from sklearn.utils.validation import check_is_fitted

from smartbox._compat import HasMethods, Interval, StrOptions
from smartbox._cosine_model import CosineModel
from smartbox._templates import Templates, enrol, unit_rows
from smartbox.base import ImageEstimator

_GENUINE, _IMPOSTOR = "genuine", "impostor"


class FaceVerifier(CosineModel, ImageEstimator):
    """Decide whether a face is of the same person as a reference: "genuine" where their cosine reaches a threshold.

    A face model of two classes, so that every attack works on it. To leave "genuine" is dodging, to reach it from another
    person's face is impersonation [1]_.

    Parameters
    ----------
    embedder : FaceEmbedder
        Anything with ``transform(X)``, rows of length 1, and its ``vjp(X)``. Used as it is, never copied or fitted.
    threshold : float, default=0.907
        The cosine from which on a face is genuine. The default is about what the author of the network that comes with the
        package recommends; ``FaceGallery.calibrate`` finds one for given faces. It should be fixed before an attack.
    template : {"mean", "max"}, default="mean"
        Of several references, what counts: the mean of their embeddings, brought to length 1, or the nearest.
    scale : float, default=64.0
        The logits are this number times the cosine, and times the threshold; see `FaceGallery`.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        "genuine" and "impostor".
    templates_ : ndarray of shape (n_templates, n_features), float32
    image_shape_ : tuple of int
        ``(height, width, channels)``.

    Notes
    -----
    At the reference itself the cosine is 1, its largest value, and the gradient is zero: attack another image of the person, or
    start at random.

    References
    ----------
    .. [1] Yang, Yang, Dong, Su, Yu, Zhu. "RobFR: Benchmarking Adversarial Robustness on Face Recognition", arXiv:2007.04118,
       2020, section 3.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import PGD
    >>> from smartbox.datasets import make_faces
    >>> faces = make_faces(n_identities=2, n_images=4)
    >>> verifier = smartbox.FaceVerifier(smartbox.FaceEmbedder()).fit(faces.images[:1])
    >>> X = faces.images[3:4]    # the same person under another light
    >>> verifier.predict(X)
    array(['genuine'], dtype='<U8')
    >>> verifier.predict(PGD(verifier, eps="8/255", max_iter=5, random_state=0).generate(X))
    array(['impostor'], dtype='<U8')
    """

    _parameter_constraints = {
        "embedder": [HasMethods(["transform", "vjp"])],
        "threshold": [Interval(Real, -1, 1, closed="both")],
        "template": [StrOptions({"mean", "max"})],
        "scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, embedder, *, threshold=0.907, template="mean", scale=64.0):
        self.embedder = embedder
        self.threshold = threshold
        self.template = template
        self.scale = scale

    def fit(self, X, y=None):
        """Take the reference, or several of one person.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1] of one person.
        y : ignored

        Returns
        -------
        self : FaceVerifier
        """
        self._validate_params()
        embeddings = self.embedder.transform(self._check_images(X, reset=True))
        _, _, kept = enrol(None, np.zeros(len(embeddings), dtype=int), embeddings, self.template)
        self.templates_ = unit_rows(kept) if self.template == "mean" else kept
        self.classes_ = np.array([_GENUINE, _IMPOSTOR])
        return self

    def verify(self, X):
        """Whether each image is genuine, a boolean array of shape ``(n,)``."""
        return self.predict(X) == _GENUINE

    def _templates(self):
        check_is_fitted(self, "templates_")
        return Templates(self.templates_, np.zeros(len(self.templates_), dtype=int))

    def _bar(self):
        return 1, self.threshold
