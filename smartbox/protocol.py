"""The face protocol: which images train, whom an attack aims at and whom each probe claims to be."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

_SPLIT, _TARGETS, _GENUINE = range(3)  # the independent random streams of one seed
_FEWEST_IMAGES = 10  # the first n with floor(n / 10) >= 1


class FaceProtocol(BaseEstimator):
    """Split faces by identity and give every probe a target and a claim, as the SmartBox paper did.

    Parameters
    ----------
    random_state : int or None, default=0
        Seed. The same seed gives the same answer on every call, in any order of the calls; ``None`` draws
        afresh.

    Notes
    -----
    An impostor claims the very identity that a targeted attack aims at. A perfect targeted attack therefore
    takes verification accuracy to 0 %, not to about 50 %, and that is how the paper's figures can be told
    from other readings.

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation
       Algorithms for Face Recognition", BTAS 2018.
    .. [2] Lee, Ho, Kriegman. "Acquiring Linear Subspaces for Face Recognition under Variable Lighting", TPAMI
       2005.

    Examples
    --------
    >>> import numpy as np
    >>> from smartbox.protocol import FaceProtocol
    >>> y = np.repeat(["ann", "bob", "eve"], 20)
    >>> protocol = FaceProtocol(random_state=0)
    >>> train, validation, test = protocol.split(y)
    >>> len(train), len(validation), len(test)
    (48, 6, 6)
    >>> probes = protocol.assign(y[test])
    >>> bool(np.any(probes.targets == y[test]))
    False
    >>> bool(np.all((probes.claims == y[test]) == probes.is_genuine))
    True
    """

    def __init__(self, *, random_state: int | None = 0):
        self.random_state = random_state

    def split(self, y: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
        """Part the images of each identity at random: 80 % to train, 10 % to validate, the rest to test.

        An identity with n images gives floor(0.8 n), floor(0.1 n) and what is left, so that all parts hold
        all identities.

        Parameters
        ----------
        y : array-like of shape (n_images,)
            Identity of each image: integers, strings or any labels that scikit-learn takes.

        Returns
        -------
        train, validation, test : ndarray of int, shapes (n_train,), (n_validation,), (n_test,)
            Sorted indices into ``y``. On the 2,414 Extended Yale B labels: 1923, 227 and 264.

        Raises
        ------
        ValueError
            If ``y`` is empty, not one-dimensional or has missing labels, if it has one identity only, if an
            identity has fewer than ten images, or if ``random_state`` is no seed.
        """
        codes, n_images = check_identities(y, "y")
        order = self._stream(_SPLIT).permutation(len(codes))
        order = order[np.argsort(codes[order], kind="stable")]  # grouped by identity, shuffled within each
        n = n_images[codes[order]]
        place = np.arange(len(order)) - (np.cumsum(n_images) - n_images)[codes[order]]
        n_train, n_validation = 8 * n // 10, n // 10
        part = (place >= n_train).astype(int) + (place >= n_train + n_validation)
        train, validation, test = (np.sort(order[part == i]) for i in range(3))
        return train, validation, test

    def assign(self, y_test: ArrayLike, classes: ArrayLike | None = None) -> Bunch:
        """Draw, once for each probe, the target of an attack and the identity that the probe claims.

        Parameters
        ----------
        y_test : array-like of shape (n_probes,)
            True identity of each probe.
        classes : array-like of shape (n_labels,), optional
            The enrolled identities, in any order; repeats do no harm, so ``y_train`` will do. Default: those
            in ``y_test``.

        Returns
        -------
        probes : Bunch
            targets : ndarray of shape (n_probes,)
                Label to attack towards: uniform on the enrolled identities other than the true one.
            is_genuine : ndarray of bool, shape (n_probes,)
                An independent fair coin for each probe.
            claims : ndarray of shape (n_probes,)
                The true identity where ``is_genuine``, else the target.

        Raises
        ------
        ValueError
            If labels are missing, empty or not one-dimensional, if a probe is not enrolled, if only one
            identity is (there is no impostor then), or if ``random_state`` is no seed.
        """
        labels = check_labels(y_test, "y_test")
        name = "y_test" if classes is None else "classes"
        enrolled = np.unique(labels if classes is None else check_labels(classes, name))
        _check_several(enrolled, name)
        codes = encode(labels, enrolled, "y_test")
        others = self._stream(_TARGETS).randint(len(enrolled) - 1, size=len(codes))
        targets = enrolled[others + (others >= codes)]  # step over the true identity
        is_genuine = self._stream(_GENUINE).random_sample(len(codes)) < 0.5
        claims = np.where(is_genuine, enrolled[codes], targets)
        return Bunch(targets=targets, is_genuine=is_genuine, claims=claims)

    def _stream(self, purpose):
        """A fresh generator for one purpose. RandomState, because NumPy froze what it draws for good."""
        seed = self.random_state
        if seed is not None and not (isinstance(seed, Integral) and 0 <= seed < 2**32):
            raise ValueError(
                f"random_state must be an integer in [0, 2**32) or None, got {seed!r}; pass a seed, "
                "since a generator would make each answer depend on the calls before it."
            )
        entropy = None if seed is None else int(seed)
        return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(entropy, spawn_key=(purpose,))))


def check_identities(y, name):
    """Code of each label and images of each identity, if they are enough for `FaceProtocol.split`."""
    classes, codes, n_images = np.unique(check_labels(y, name), return_inverse=True, return_counts=True)
    _check_several(classes, name)
    _check_enough(classes, n_images)
    return codes, n_images


def check_labels(y, name):
    """One-dimensional array of present, comparable labels."""
    labels = np.asarray(y)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(
            f"{name} must be a non-empty array of labels of shape (n,), got shape {labels.shape}; "
            "pass one label an image (of one-hot rows: .argmax(axis=1))."
        )
    if _any_missing(labels):
        raise ValueError(f"{name} must have a label for every image, got NaN, None or infinity; drop those images.")
    if labels.dtype.kind == "f" and np.any(labels != np.floor(labels)):
        odd = labels[labels != np.floor(labels)][0]
        raise ValueError(f"{name} must hold class labels, got numbers like {odd:.3g}; pass no scores.")
    if labels.dtype.kind == "O":
        try:
            np.unique(labels)
        except TypeError as error:
            raise ValueError(
                f"{name} must hold labels of one type, got a mixture ({error}); convert all to strings."
            ) from error
    return labels


def _any_missing(labels):
    if labels.dtype.kind == "f":
        return not np.isfinite(labels).all()
    if labels.dtype.kind != "O":
        return False
    try:
        return bool(np.any(np.not_equal(labels, labels) | np.equal(labels, None)))
    except TypeError:  # pandas.NA is neither equal nor unequal to itself
        return True


def _check_several(classes, name):
    if len(classes) < 2:
        raise ValueError(
            f"{name} must hold at least two identities, got only {classes.tolist()}: "
            "nobody could be an impostor; add faces of another person."
        )


def _check_enough(classes, n_images):
    few = n_images < _FEWEST_IMAGES
    if few.any():
        more = f" (and {few.sum() - 1} other identities have too few)" if few.sum() > 1 else ""
        raise ValueError(
            f"Identity {classes[few].tolist()[0]!r} has {n_images[few][0]} images{more}, expected at least "
            f"{_FEWEST_IMAGES}, so that each part (80 % train, 10 % validation, 10 % test) holds one; "
            "add images or leave the identity out."
        )


def encode(labels, classes, name):
    """Position of each label in ``classes`` (distinct, in any order)."""
    try:
        order = np.argsort(classes)
        nearest = np.searchsorted(classes, labels, sorter=order)
        codes = order[np.minimum(nearest, len(classes) - 1)]
        known = classes[codes] == labels
    except TypeError:  # strings against numbers
        codes, known = None, np.zeros(len(labels), dtype=bool)
    if not np.all(known):
        strangers = np.unique(labels[~known])[:5].tolist()
        raise ValueError(
            f"{name} must hold enrolled identities only, such as {classes[:5].tolist()}, got {strangers}; "
            "drop those probes, or pass as classes the labels of all the enrolled identities."
        )
    return codes
