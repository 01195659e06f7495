"""A logistic regression on features, trained with noisy faces among the clean ones."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, gen_batches

from smartbox._streams import ImageStreams
from smartbox.detectors._features import _BATCH_SIZE, FeatureDetector
from smartbox.detectors._pooled import nearest_clean
from smartbox.detectors._rows import linear_scores


class LogisticDetector(FeatureDetector):
    """A detector whose score is the log-odds of a logistic regression on standardised features.

    Negatives are the clean images and, of each, one with Gaussian noise of the mean l2 size of the attacks in training, lest
    any disturbance pass for an attack. A subclass has the parameters ``C`` and ``random_state`` and writes
    ``_make_features()``, whose ``fit_transform`` gives features of unseen images.
    """

    def _fit(self, X, y):
        self._face_model()
        noisy = self._with_noise(X, y)
        self.features_ = self._make_features()
        # the noisy images are negatives, but nothing to learn from what clean ones look like
        F = self.features_.fit_transform(np.concatenate([X, noisy]), np.append(y, np.ones(len(noisy), dtype=int)))
        self._fit_features(F, np.append(y, np.zeros(len(noisy), dtype=int)))

    def _with_noise(self, X, y):
        """The clean images with Gaussian noise as large as the attacks are; cut at black and white, it is a little less."""
        clean, attacked = X[y == 0], X[y == 1]
        sources = clean[nearest_clean(attacked, clean)]
        size = np.linalg.norm((attacked - sources).reshape(len(attacked), -1), axis=1).mean()
        streams = ImageStreams.from_images(clean, check_random_state(self.random_state).randint(2**63, dtype=np.int64))
        noisy = np.empty_like(clean)
        for batch in gen_batches(len(clean), _BATCH_SIZE):
            noise = streams.take(batch).normal(clean[0].size).reshape(clean[batch].shape)
            noisy[batch] = np.clip(clean[batch] + size / np.sqrt(clean[0].size) * noise, 0, 1)
        return noisy

    def _fit_features(self, F, y):
        # balanced, so that noisy images do not move the boundary by their number
        regression = LogisticRegression(C=self.C, class_weight="balanced", max_iter=1000)
        self.judge_ = make_pipeline(StandardScaler(), regression).fit(F, y)

    def _score_features(self, F):
        return linear_scores(self.judge_, F)

    def _features_gradient(self, F):
        scaler, regression = (step for _, step in self.judge_.steps)
        return np.broadcast_to(regression.coef_[0] / scaler.scale_, F.shape)
