"""Estimators whose ``X`` is images, and transformers of them that have nothing to learn."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, column_or_1d

from smartbox._checks import check_images


class ImageEstimator(BaseEstimator):
    """An estimator whose ``X`` is images ``(n, height, width, channels)``, finite float32 in [0, 1]."""

    _parameter_constraints = {}  # a subclass names those of its parameters

    def _check_images(self, X, *, reset=False):
        """Check ``X``; with ``reset`` learn its shape, without it hold ``X`` to the shape that was learnt."""
        X = check_images(X, image_shape=None if reset else getattr(self, "image_shape_", None))
        if reset:
            self.image_shape_ = X.shape[1:]
            self.n_features_in_ = int(np.prod(self.image_shape_))
        return X

    def save(self, path):
        """Write the fitted estimator to one file of plain arrays; see `smartbox.save`.

        Parameters
        ----------
        path : str or path
        """
        from smartbox.persistence import save

        save(self, path)

    def _check_two_classes(self, y, X):
        """Return detection labels: 1 adversarial, 0 clean, both present."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: 1 adversarial, 0 clean."
            )
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        y = np.asarray(y.tolist()) if y.dtype == object else y  # numbers of Python, as a table of pandas may hold them
        if y.dtype.kind not in "iufb":
            some = list(dict.fromkeys(y.tolist()))[:3]
            raise ValueError(
                f"Unknown label type: expected y of numbers, 1 for adversarial and 0 for clean, got {some}: text leaves open "
                "which label means adversarial; use e.g. (y == 'adversarial').astype(int)."
            )
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind != "binary" or len(np.unique(y)) < 2:
            if kind == "multiclass":
                raise ValueError(
                    f"Only binary classification is supported. The type of the target is {kind}: use 1 for "
                    "adversarial and 0 for clean."
                )
            raise ValueError(
                f"the detector can't train when only one class is present: y holds {np.unique(y).tolist()}, expected "
                "both 0 (clean) and 1 (adversarial); make_detection_set(X, X_adv) gives such a set."
            )
        return y

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = False
        return tags


class StatelessTransformer(TransformerMixin, ImageEstimator):
    """A transformer with nothing to learn: ``fit`` checks its input, and ``transform`` works without it."""

    def fit(self, X, y=None):
        """Check the parameters and the images; nothing is learnt.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : ignored

        Returns
        -------
        self : object
        """
        self._validate_params()
        self._check_images(X, reset=True)
        return self

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def checked_output(estimator, method, images, X):
    """What a subclass made of ``X``, as float32 images in [0, 1]; the author of the subclass is told what is wrong."""
    images = np.asarray(images)
    name = f"{type(estimator).__name__}.{method}"
    if images.shape != X.shape:
        raise ValueError(f"expected {name} to return images of shape {X.shape}, like those given, got {images.shape}.")
    images = np.clip(images, 0, 1).astype(np.float32, copy=False)
    if not np.isfinite(images).all():
        raise ValueError(f"expected {name} to return finite pixels, got NaN, though the images given were sound.")
    return images
