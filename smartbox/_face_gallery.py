"""A gallery of enrolled people: identification, verification and rejection by the cosine of embeddings."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from smartbox._checks import check_labels
from smartbox._compat import HasMethods, Interval, StrOptions
from smartbox._cosine_model import CosineModel
from smartbox._templates import Templates, acceptance_threshold, enrol, unit_rows
from smartbox.base import ImageEstimator


class FaceGallery(CosineModel, ClassifierMixin, ImageEstimator):
    """Recognise people by the cosine between a face's embedding and what is enrolled of each of them.

    Parameters
    ----------
    embedder : FaceEmbedder
        Anything with ``transform(X)``, rows of length 1, and its ``vjp(X)``. Used as it is, never copied or fitted.
    template : {"mean", "max"}, default="mean"
        What a face is compared with: the mean of a person's embeddings, brought to length 1, or each of them, of which the
        nearest counts.
    threshold : float or None, default=None
        The cosine from which on a claim is accepted. None leaves it to `calibrate`.
    unknown : label or None, default=None
        What `predict` says of a face with no cosine at the threshold or above, e.g. -1 or "nobody". It is one more class, whose
        score is the threshold: an attack may reach for it (to hide), and must overcome it to be taken for somebody. None names
        the nearest person, however far.
    scale : float, default=64.0
        `logits` are cosines times this number.

    Attributes
    ----------
    identities_ : ndarray of shape (n_identities,)
        The people enrolled, sorted.
    classes_ : ndarray of shape (n_classes,)
        The identities and, where it is set, ``unknown``.
    threshold_ : float or None
        The threshold in force.
    templates_ : ndarray of shape (n_templates, n_features), float32
        One row an identity, or with ``template="max"`` one an image, grouped by identity.
    counts_ : ndarray of shape (n_identities,)
        Images enrolled of each.
    image_shape_ : tuple of int
        ``(height, width, channels)``.

    See Also
    --------
    smartbox.FaceVerifier : One reference, genuine or impostor.

    Notes
    -----
    A gallery is a face model: every attack works on it, also behind a Pipeline of defences. Cosines of different people differ
    by a few hundredths, which losses of logits take for indifference: a softmax over them is flat, so that cross-entropy would
    push an image away from all people at once, and constants of attacks that weigh a loss against a distance would be far off.
    Networks for faces are trained at a scale of about 64 [1]_, where the differences are those of ordinary logits. The decision
    is the same at any scale.

    References
    ----------
    .. [1] Deng, Guo, Xue, Zafeiriou. "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, section 3.
    .. [2] Grother, Phillips. "Models of Large Population Recognition Performance", CVPR 2004 (galleries, open and closed sets).

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_faces
    >>> faces = make_faces(n_identities=4, n_images=4)
    >>> gallery = smartbox.FaceGallery(smartbox.FaceEmbedder()).fit(faces.images[::2], faces.target[::2])
    >>> gallery.identify(faces.images[1::2], k=3).shape
    (8, 3)
    >>> gallery.calibrate(faces.images[1::2], faces.target[1::2]).verify(faces.images[:1], [0])
    array([ True])
    >>> FGSM(gallery, eps="8/255").generate(faces.images[1::2], faces.target[1::2]).shape
    (8, 96, 84, 1)
    """

    _parameter_constraints = {
        "embedder": [HasMethods(["transform", "vjp"])],
        "template": [StrOptions({"mean", "max"})],
        "threshold": [Interval(Real, -1, 1, closed="both"), None],
        "unknown": "no_validation",
        "scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, embedder, *, template="mean", threshold=None, unknown=None, scale=64.0):
        self.embedder = embedder
        self.template = template
        self.threshold = threshold
        self.unknown = unknown
        self.scale = scale

    def fit(self, X, y):
        """Enrol people, and forget those that were.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,)
            Who is on each.

        Returns
        -------
        self : FaceGallery
        """
        self._validate_params()
        return self._enrol(self._check_images(X, reset=True), y, anew=True)

    def partial_fit(self, X, y, classes=None):
        """Enrol more images, of people known or new; the threshold in force stays.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,)
            Who is on each.
        classes : ignored
            A parameter that scikit-learn expects; any call may bring new people.

        Returns
        -------
        self : FaceGallery
            As after one `fit` with all images.
        """
        self._validate_params()
        anew = not hasattr(self, "identities_")
        return self._enrol(self._check_images(X, reset=anew), y, anew=anew)

    def calibrate(self, X, y, *, far=None):
        """Set ``threshold_`` from all claims of some validation images: each image claims to be each identity.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1] that are not enrolled.
        y : array-like of shape (n,)
            Who is on each. People who are not enrolled make impostors only.
        far : float or None, default=None
            The share of false claims that may be accepted. None sets the threshold where as many false claims are accepted
            as true ones are refused, as nearly as the claims allow.

        Returns
        -------
        self : FaceGallery

        Raises
        ------
        ValueError
            If there is not a true and a false claim at least, or ``far`` is less than one of the false ones.
        """
        cosines = self.cosines(X)
        y = column_or_1d(y, warn=True)
        if len(y) != len(cosines):
            raise ValueError(f"expected one label an image, got {len(cosines)} images and {len(y)} labels.")
        is_genuine = y[:, None] == self.identities_
        self.threshold_ = acceptance_threshold(cosines, is_genuine, far)
        return self

    def decision_function(self, X):
        """As `cosines`, with the threshold in the column of ``unknown``; for two classes the second less the first, ``(n,)``."""
        scores = self._with_bar(self.cosines(X))
        return scores if len(self.classes_) != 2 else scores[:, 1] - scores[:, 0]

    def predict(self, X):
        """Who is on each image, or ``unknown``."""
        templates, embeddings = self._templates(), self._embed(X)
        best = np.empty(len(embeddings), dtype=int)
        for rows, cosines in templates.blocks(embeddings):
            best[rows] = self._logits(cosines).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X):
        """Softmax of the logits, shape ``(n, n_classes)``: a ranking in [0, 1], not calibrated."""
        return softmax(self.logits(X).astype(np.float64), axis=1)

    def identify(self, X, k=1):
        """The most similar identities, whatever the threshold.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        k : int, default=1
            How many, up to all.

        Returns
        -------
        labels : ndarray of shape (n, k)
            The most similar one first.
        """
        templates, n = self._templates(), len(self.identities_)
        check_scalar(k, "k", Integral)
        if not 1 <= k <= n:
            raise ValueError(f"expected k from 1 to {n}, the identities that are enrolled, got {k}: min(k, {n}) lists them all.")
        return self.identities_[templates.nearest(self._embed(X), k)]

    def verify(self, X, claims):
        """Whether each image is the person that it claims to be: the cosine reaches ``threshold_``.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        claims : array-like of shape (n,)
            Identities among those enrolled.

        Returns
        -------
        accepted : ndarray of bool, shape (n,)
        """
        templates, embeddings = self._templates(), self._embed(X)
        threshold = self._threshold_in_force()
        claims = check_labels(claims, len(embeddings), self.identities_, name="claims")
        return templates.of_owners(embeddings, np.searchsorted(self.identities_, claims)) >= threshold

    def _enrol(self, X, y, *, anew):
        y = self._check_identities(y, len(X), anew)
        embeddings = self.embedder.transform(X)
        enrolled = None if anew else (self.identities_, self.counts_, self._kept)
        identities, counts, kept = enrol(enrolled, y, embeddings, self.template)
        self._check_unknown(identities)
        self.identities_, self.counts_, self._kept = identities, counts, kept
        self.templates_ = unit_rows(kept) if self.template == "mean" else kept
        self.classes_ = identities if self.unknown is None else np.unique(np.append(identities, self.unknown))
        if anew:
            self.threshold_ = None if self.threshold is None else float(np.float32(self.threshold))
        return self

    def _check_identities(self, y, n_images, anew):
        if y is None:
            raise ValueError("FaceGallery requires y to be passed, but the target y is None: one identity an image.")
        y = column_or_1d(y, warn=True)
        if len(y) != n_images:
            raise ValueError(f"expected one label an image, got {n_images} images and {len(y)} labels.")
        with warnings.catch_warnings():  # one image a person is usual here
            warnings.filterwarnings("ignore", message="The number of unique classes")
            check_classification_targets(y)
        known = getattr(self, "identities_", y)
        if (known.dtype.kind in "US") != (y.dtype.kind in "US") and not anew:
            raise ValueError(f"expected labels like those enrolled, {known.tolist()[:3]}..., got {y.tolist()[:3]}...")
        return y

    def _check_unknown(self, identities):
        if self.unknown is None:
            return
        text = identities.dtype.kind in "US"
        if isinstance(self.unknown, str) != text or self.unknown in identities:
            kind = "text" if text else "a number"
            raise ValueError(
                f"expected unknown as {kind} that is none of the labels, {identities.tolist()[:3]}..., got {self.unknown!r}."
            )

    def _templates(self):
        check_is_fitted(self, "identities_")
        n_points = self.counts_ if self.template == "max" else 1
        return Templates(self.templates_, np.repeat(np.arange(len(self.identities_)), n_points))

    def _bar(self):
        return (
            None if self.unknown is None else (np.searchsorted(self.classes_, self.unknown), self._threshold_in_force())
        )

    def _threshold_in_force(self):
        if self.threshold_ is None:
            raise ValueError(
                "the gallery has no threshold yet: call calibrate(X, y) with validation images that are not enrolled, or give "
                "one, e.g. FaceGallery(embedder, threshold=0.9)."
            )
        return self.threshold_
