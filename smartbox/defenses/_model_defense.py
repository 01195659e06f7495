"""What classifiers around a fitted face model share."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from smartbox._checks import check_images, check_labels
from smartbox._rollback import unchanged_on_failure
from smartbox.base import ImageEstimator, ModelReferenceMixin


class ModelDefense(ModelReferenceMixin, ClassifierMixin, ImageEstimator):
    """A classifier made of a fitted face model, which it refers to, never copies and never trains.

    A subclass has the parameter ``model`` and writes ``_predict(X)``, the labels of checked images, and ``_as_face_model()``,
    itself as the one model that attacks meet. There is nothing to learn: ``fit`` checks, and the rest works without it.
    """

    def fit(self, X, y):
        """Check parameters, images and labels; nothing is learnt, since the model is fitted.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,)
            Labels that the model knows.

        Returns
        -------
        self : object
        """
        self._validate_params()
        with unchanged_on_failure(self):
            self._check_fit(X, y)
        return self

    def _check_fit(self, X, y):
        X = self._check_images(X, reset=True)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: one label an image."
            )
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        check_classification_targets(y)
        model = self._as_face_model()
        check_images(X, image_shape=model.image_shape_)
        check_labels(y, len(X), self._face_model().classes_)
        self.classes_ = model.classes_

    def predict(self, X):
        """The label of each image, or the one that stands for no name.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        labels : ndarray of shape (n,)
        """
        return self._predict(self._ready(X))

    def _ready(self, X):
        """Checked images, of the shape that the model takes."""
        self._validate_params()
        return check_images(self._check_images(X), image_shape=self._face_model().image_shape_)

    @staticmethod
    def _with_rejections(labels, rejected, label):
        """``labels``, with ``label`` where ``rejected``; text is made as long as it needs."""
        labels = labels.astype(np.append(labels[:0], label).dtype)
        labels[rejected] = label
        return labels

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
