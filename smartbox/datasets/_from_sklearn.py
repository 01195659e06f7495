"""scikit-learn's face sets in the form of SmartBox's own."""

import numpy as np
from sklearn.utils import Bunch

from smartbox._checks import check_images


def as_faces(bunch: Bunch) -> Bunch:
    """Bring a face set that scikit-learn has fetched into the form of SmartBox's loaders.

    Parameters
    ----------
    bunch : Bunch
        What ``fetch_lfw_people``, ``fetch_lfw_pairs`` or ``fetch_olivetti_faces`` of `sklearn.datasets` returned, grey
        or colour, of any size.

    Returns
    -------
    faces : Bunch
        images : ndarray of shape (n_samples, height, width, 1 or 3), float32, in [0, 1]
            Of a set of pairs both images of the first pair, of the second, and so on.
        data : ndarray of shape (n_samples, height * width * channels), float32
            The same memory, one row an image.
        target, target_names : ndarrays of shapes (n_samples,), (n_identities,)
            Identities and their names; of a set without names they are counted from 0, and named as they were. Not of pairs.
        pairs : ndarray of int, shape (n_pairs, 2)
            Only of a set of pairs: positions of both images, for `smartbox.metrics.pair_scores`.
        is_genuine : ndarray of bool, shape (n_pairs,)
            Only of a set of pairs: whether both show one person.
        DESCR : str

    Raises
    ------
    ValueError
        If it is no such set, or its pixels leave [0, 1].

    Notes
    -----
    The pairs of ``fetch_lfw_pairs(subset="10_folds")`` come fold by fold, so that `smartbox.metrics.fold_accuracy`
    with ``folds=10`` parts them as the authors did.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from smartbox.datasets import as_faces
    >>> olivetti = Bunch(images=np.zeros((4, 64, 64), np.float32), target=np.array([0, 0, 1, 1]), DESCR="")
    >>> as_faces(olivetti).images.shape                # of fetch_olivetti_faces(): (400, 64, 64, 1)
    (4, 64, 64, 1)
    """
    pairs = getattr(bunch, "pairs", None)
    images = getattr(bunch, "images", None) if pairs is None else pairs
    rank = 3 if pairs is None else 4
    if np.ndim(images) not in (rank, rank + 1) or (pairs is not None and np.shape(pairs)[1] != 2):
        came = sorted(bunch) if isinstance(bunch, dict) else type(bunch).__name__
        raise ValueError(
            "expected what fetch_lfw_people, fetch_lfw_pairs or fetch_olivetti_faces returned, with images of shape (n, "
            f"height, width) or pairs of shape (n, 2, height, width), got {came}; a plain array X becomes X[..., None]."
        )
    images = np.asarray(images)
    images = images[..., np.newaxis] if images.ndim == rank else images
    images = check_images(images.reshape(-1, *images.shape[-3:]), name="images" if pairs is None else "pairs")
    if getattr(bunch, "target", None) is None:
        raise ValueError(
            "expected a set with target, one for each image or pair, got none: a plain array X becomes X[..., None]."
        )
    if len(bunch.target) != len(images) // (1 if pairs is None else 2):
        raise ValueError(
            f"expected one target for each image or pair, got {len(bunch.target)} for {len(images)} images."
        )
    faces = Bunch(images=images, data=images.reshape(len(images), -1), DESCR=getattr(bunch, "DESCR", ""))
    if pairs is None:
        faces.target = np.asarray(bunch.target)
        if hasattr(bunch, "target_names"):
            faces.target_names = np.asarray(bunch.target_names)
        else:  # those of a part of a set may have gaps
            known, faces.target = np.unique(faces.target, return_inverse=True)
            faces.target_names = known.astype(str)
    else:
        faces.pairs = np.arange(len(images)).reshape(-1, 2)
        faces.is_genuine = np.asarray(bunch.target).astype(bool)
    return faces
