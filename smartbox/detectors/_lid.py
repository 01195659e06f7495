"""Local intrinsic dimensionality inside a network."""

from numbers import Integral, Real

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.utils import check_random_state

from smartbox._compat import Interval
from smartbox.detectors._logistic import LogisticDetector
from smartbox.detectors._pooled import PooledFeatures

# Of the k-th neighbour's distance: less is a duplicate, whose distance is rounding, and its logarithm anything.
_LEAST_RATIO = 1e-4
_LARGEST = 1e6  # where all neighbours are equally far


class LocalIntrinsicDimensionality(PooledFeatures):
    """Local intrinsic dimensionality of a face among clean faces, one for each of several layers.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The network that is looked into. Never copied.
    layers : sequence of str or None, default=None
        Names of layers, whose channel means are compared; None takes all convolutions and hidden dense layers.
    n_neighbors : int, default=20
        Neighbours by whose distances the dimension is estimated, at most as many as there are references.
    n_references : int, default=2000
        Number of clean images drawn as references, at most all.
    random_state : int, RandomState or None, default=None
        Draws the references.

    Attributes
    ----------
    layers_ : list of str
        The layers in use.
    references_ : list of ndarray of shape (n_references, n_channels)
        Channel means of the references in each layer.

    Notes
    -----
    The estimate is ``-1 / mean(log(r_i / r_k))`` of the distances ``r_1 <= ... <= r_k`` to the nearest references. The paper
    draws 100 references anew for each batch; here they stay, so that an image's features do not depend on its batch, and are
    more, since a handful of each identity spans no neighbourhood. ``fit_transform`` leaves out of the references the image
    itself and what an attacked one was made of: see there.

    References
    ----------
    .. [1] Ma, Li, Wang, Erfani, Wijewickrema, Schoenebeck, Song, Houle, Bailey. "Characterizing Adversarial Subspaces Using
       Local Intrinsic Dimensionality", ICLR 2018, equation 4 and algorithm 1.
    .. [2] Lee, Lee, Lee, Shin. "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
       Attacks", NeurIPS 2018 (channel means instead of whole maps).

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import LocalIntrinsicDimensionality
    >>> faces = make_faces(n_images=2)
    >>> lid = LocalIntrinsicDimensionality(smartbox.load_sample_model(), layers=["dense1", "dense2"], random_state=0)
    >>> lid.fit(faces.images).transform(faces.images).shape
    (76, 2)
    """

    _parameter_constraints = {
        "model": "no_validation",
        "layers": ["array-like", str, None],
        "n_neighbors": [Interval(Integral, 2, None, closed="left")],
        "n_references": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, model, *, layers=None, n_neighbors=20, n_references=2000, random_state=None):
        self.model = model
        self.layers = layers
        self.n_neighbors = n_neighbors
        self.n_references = n_references
        self.random_state = random_state

    def _learn_tables(self, tables):
        rows = check_random_state(self.random_state).permutation(len(tables[0]))[: self.n_references]
        self.references_ = [table[np.sort(rows)] for table in tables]

    def _measure(self, tables):
        found = [self._neighbours(layer, table)[1] for layer, table in enumerate(tables)]
        return np.stack([intrinsic_dimension(distances) for distances in found], axis=1)

    def _measure_vjp(self, tables, cotangents):
        gradients = []
        for layer, table in enumerate(tables):
            nearest, distances = self._neighbours(layer, table)
            # the gradient of log r by the point is (point - neighbour) / r^2
            ways = table[:, None] - self.references_[layer][nearest]
            of_logs = ways / np.maximum(distances**2, np.finfo(float).tiny)[:, :, None]
            counts = distances > _LEAST_RATIO * distances[:, -1:]
            of_mean = np.where(counts[:, :, None], of_logs - of_logs[:, -1:], 0).mean(axis=1)
            dimension = intrinsic_dimension(distances)
            slope = np.where(dimension < _LARGEST, dimension**2, 0) * cotangents[:, layer]
            gradients.append(slope[:, None] * of_mean)
        return gradients

    def _neighbours(self, layer, table):
        """Index and distance of each row's nearest references, the nearest first."""
        # cdist subtracts before it squares: a duplicate is at distance 0, not at the root of a rounding error
        distances = cdist(table, self.references_[layer])
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.n_neighbors]
        return nearest, np.take_along_axis(distances, nearest, axis=1)


def intrinsic_dimension(distances):
    """The maximum-likelihood estimate from ascending distances ``(n, k)`` to the ``k`` nearest neighbours, ``(n,)``."""
    farthest = np.maximum(distances[:, -1:], np.finfo(float).tiny)
    mean_log = np.log(np.clip(distances / farthest, _LEAST_RATIO, 1)).mean(axis=1)
    return 1 / np.maximum(-mean_log, 1 / _LARGEST)


class LIDDetector(LogisticDetector):
    """Tell attacked from clean faces by their local intrinsic dimensionality in the layers of a network.

    A logistic regression on the `LocalIntrinsicDimensionality` of all layers.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The network that is looked into. Never copied.
    layers : sequence of str or None, default=None
        Names of layers, whose channel means are compared; None takes all convolutions and hidden dense layers.
    n_neighbors : int, default=20
        Neighbours by whose distances the dimension is estimated.
    n_references : int, default=2000
        Number of clean images drawn as references.
    C : float, default=1.0
        Inverse strength of the regression's regularisation.
    random_state : int, RandomState or None, default=None
        Draws the references, and the noise of the noisy images among the negatives.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        Scores above it are called adversarial: 0, even odds, or what `calibrate` has set.
    features_ : LocalIntrinsicDimensionality
    judge_ : Pipeline
        The scaling and the regression.

    Notes
    -----
    Negatives are the clean images and, of each, one with Gaussian noise as large as the attacks in training. Faces of
    identities that the clean images in training lack have no neighbourhood, and are judged at random or worse.
    ``value_and_gradient`` is exact wherever the set of neighbours does not change.

    References
    ----------
    .. [1] Ma, Li, Wang, Erfani, Wijewickrema, Schoenebeck, Song, Houle, Bailey. "Characterizing Adversarial Subspaces Using
       Local Intrinsic Dimensionality", ICLR 2018.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import LIDDetector
    >>> faces, face = make_faces(n_identities=10, n_images=8), smartbox.load_sample_model()
    >>> X_adv = FGSM(face, eps="16/255").generate(faces.images, faces.target)
    >>> X, y, groups = make_detection_set(faces.images, X_adv)
    >>> LIDDetector(face, layers=["dense1", "dense2"], random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        **LocalIntrinsicDimensionality._parameter_constraints,
        "C": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, model, *, layers=None, n_neighbors=20, n_references=2000, C=1.0, random_state=None):
        self.model = model
        self.layers = layers
        self.n_neighbors = n_neighbors
        self.n_references = n_references
        self.C = C
        self.random_state = random_state

    def _make_features(self):
        return LocalIntrinsicDimensionality(
            self.model, layers=self.layers, n_neighbors=self.n_neighbors, n_references=self.n_references,
            random_state=self.random_state,
        )  # fmt: skip
