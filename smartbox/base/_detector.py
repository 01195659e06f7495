"""What a detector is."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from smartbox._rollback import unchanged_on_failure
from smartbox.base._images import ImageEstimator


class BaseDetector(ClassifierMixin, ImageEstimator):
    """A classifier of images, 1 adversarial and 0 clean, whose ``decision_function`` grows with suspicion.

    A subclass writes ``_fit(X, y)`` and ``_score(X)``; ``predict`` compares the score with ``threshold_``, which is 0 unless
    ``_fit`` sets another. One whose score has a gradient writes ``_value_and_gradient(X)``: then attacks can aim at a model and
    this detector together. A stand-in for a gradient is declared by the attribute ``bpda = True`` and in the docstring.
    """

    def fit(self, X, y):
        """Learn to tell attacked from clean images.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,)
            1 adversarial, 0 clean. Of any two numbers, the larger one is taken for adversarial.

        Returns
        -------
        self : object
        """
        self._validate_params()
        with unchanged_on_failure(self):
            X = self._check_images(X, reset=True)
            y = self._check_two_classes(y, X)
            self.classes_ = np.unique(y)
            self.threshold_ = 0.0  # a detector without a boundary of its own sets another
            self._fit(X, (y == self.classes_[1]).astype(int))
        return self

    def decision_function(self, X):
        """Suspicion of each image, shape ``(n,)``: the larger, the more likely adversarial."""
        check_is_fitted(self, "threshold_")
        return self._score(self._check_images(X))

    def value_and_gradient(self, X):
        """Suspicion of each image and its gradient by the image.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        scores : ndarray of shape (n,)
            As `decision_function`.
        gradient : ndarray like X
        """
        check_is_fitted(self, "threshold_")
        return self._value_and_gradient(self._check_images(X))

    def _value_and_gradient(self, X):
        raise ValueError(
            f"the score of {type(self).__name__} has no gradient: write _value_and_gradient(X), exact or a stand-in."
        )

    def predict(self, X):
        """The label of each image: adversarial where its score exceeds ``threshold_``."""
        suspicious = self.decision_function(X) > self.threshold_
        return self.classes_[suspicious.astype(int)]

    def calibrate(self, X_clean, *, fpr=0.05):
        """Set ``threshold_`` so that clean images are flagged at a rate of at most ``fpr``.

        Parameters
        ----------
        X_clean : array-like of shape (n, height, width, channels)
            Clean images that the detector was not trained on, e.g. the validation set.
        fpr : float, default=0.05
            The false-positive rate: the threshold is the conformal quantile of the clean scores.

        Returns
        -------
        self : object
        """
        from smartbox.metrics import conformal_threshold

        self.threshold_ = conformal_threshold(self.decision_function(X_clean), fpr=fpr)
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
