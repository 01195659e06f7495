"""A cascade of linear support vector machines on convolution statistics."""

import warnings
from numbers import Real

import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils import check_random_state

from smartbox._compat import Interval
from smartbox.detectors._conv_statistics import PER_CHANNEL, ConvFilterStatistics
from smartbox.detectors._features import FeatureDetector
from smartbox.detectors._group_scaler import GroupScaler
from smartbox.detectors._rows import linear_scores
from smartbox.metrics import conformal_threshold
from smartbox.metrics._checks import check_rate

_FEWEST_ATTACKED = 10  # that a later stage is fitted on
_N_FOLDS = 5


class ConvFilterDetector(FeatureDetector):
    """Tell attacked from clean faces by statistics of a network's convolutions, one layer after the other.

    Each convolution layer is a stage: a linear SVM on its statistics with a threshold of its own. The first stage whose score
    exceeds its threshold calls the face attacked; clean is what passes them all. A stage learns from what the earlier ones let
    pass. The score of the whole, positive exactly where a stage objects, is the largest excess over a stage's threshold, in
    standard deviations of that stage's clean scores.

    Parameters
    ----------
    model : FaceClassifier or other model with ``activations(X, layers)``
        Whose responses are read. Never copied.
    layers : sequence of str, default=None
        The layer of each stage, as for `ConvFilterStatistics`: None takes every convolution, in the network's order.
    C : float, default=1.0
        Inverse strength of the SVMs' regularisation.
    fpr : float, default=0.05
        Rate of clean faces that all stages together may flag; each gets an equal part.
    random_state : int, RandomState or None, default=None
        Draws the folds that thresholds are learnt from.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    threshold_ : float
        0: the stages have their own, `thresholds_`.
    features_ : ConvFilterStatistics
    svms_ : list of Pipeline
        One a stage: scaler and linear SVM. The square of a column's scale is its variance plus the mean variance of the same
        statistic of all channels, lest one that hardly varies in training drown the others. There are fewer stages than layers if
        early ones leave fewer than ten attacked faces.
    thresholds_, spreads_ : ndarray of shape (n_stages,)
        Threshold, and standard deviation of the clean scores, of each stage.

    Notes
    -----
    `fit` sets the thresholds by scores that each training face gets from SVMs fitted on the other folds. The detector knows no
    groups: while a clean face is held out, its attacked twin may be trained on, and the threshold errs to the side of the clean.
    `calibrate` on validation faces sets all thresholds anew. Where clean faces are too few for a stage's part of the rate, `fit`
    takes the largest clean score.

    References
    ----------
    .. [1] Li, Li. "Adversarial Examples Detection in Deep Networks with Convolutional Filter Statistics", ICCV 2017, sections 4
       and 5.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_detection_set, make_faces
    >>> from smartbox.detectors import ConvFilterDetector
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> X, y, groups = make_detection_set(faces.images, FGSM(face, eps="16/255").generate(faces.images, faces.target))
    >>> ConvFilterDetector(face, random_state=0).fit(X, y).score(X, y) > 0.8
    True
    """

    _parameter_constraints = {
        "model": "no_validation",
        "layers": [list, tuple, str, None],
        "C": [Interval(Real, 0, None, closed="neither")],
        "fpr": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(self, model, *, layers=None, C=1.0, fpr=0.05, random_state=None):
        self.model = model
        self.layers = layers
        self.C = C
        self.fpr = fpr
        self.random_state = random_state

    def calibrate(self, X_clean, *, fpr=0.05):
        """Set the threshold of every stage so that together they flag clean images at a rate of at most ``fpr``.

        Parameters
        ----------
        X_clean : array-like of shape (n, height, width, channels)
            Clean images that the detector was not trained on, e.g. the validation set.
        fpr : float, default=0.05
            The false-positive rate of all stages together. Each threshold is the conformal quantile, at an equal part of the
            rate, of the clean images that pass the earlier stages. If they are too few for that, a warning says so and
            ``threshold_`` is infinite.

        Returns
        -------
        self : object
        """
        scores = self._stage_scores(self.transform(X_clean))
        self.thresholds_, enough = _thresholds(scores, check_rate(fpr))
        self.threshold_ = 0.0 if enough else np.inf
        return self

    def _make_features(self):
        return ConvFilterStatistics(self.model, layers=self.layers)

    def _fit_features(self, F, y):
        rng = check_random_state(self.random_state)
        columns = self._columns()
        part = _part(self.fpr, len(columns))
        passing = np.ones(len(F), dtype=bool)
        self.svms_, scores = [], []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*cannot bound a false positive rate")
            for n_channels, stage in zip(self.features_.n_channels_, columns, strict=True):
                if self.svms_ and y[passing].sum() < _FEWEST_ATTACKED:
                    break
                svm = LinearSVC(C=self.C, class_weight="balanced", random_state=rng.randint(2**31 - 1), max_iter=10_000)
                svm = make_pipeline(GroupScaler([n_channels] * PER_CHANNEL), svm).fit(F[passing, stage], y[passing])
                found = linear_scores(svm, F[:, stage])
                found[passing] = _held_out_scores(svm, F[passing, stage], y[passing], rng)
                passing &= found <= _quantile(found[passing & (y == 0)], part)[0]
                self.svms_.append(svm)
                scores.append(found)
            clean = np.stack(scores, axis=1)[y == 0]
            self.thresholds_, _ = _thresholds(clean, self.fpr)
        spreads = clean.std(axis=0)
        self.spreads_ = np.where(spreads > 0, spreads, 1.0)

    def _columns(self):
        """The columns of each layer's statistics."""
        ends = np.cumsum([PER_CHANNEL * n for n in self.features_.n_channels_])
        return [slice(end - PER_CHANNEL * n, end) for n, end in zip(self.features_.n_channels_, ends, strict=True)]

    def _stage_scores(self, F):
        stages = zip(self.svms_, self._columns(), strict=False)  # late layers may have no stage
        return np.stack([linear_scores(svm, F[:, stage]) for svm, stage in stages], axis=1)

    def _excess(self, F):
        return (self._stage_scores(F) - self.thresholds_) / self.spreads_

    def _score_features(self, F):
        return self._excess(F).max(axis=1)

    def _features_gradient(self, F):
        slopes = np.zeros((len(self.svms_), F.shape[1]))
        for slope, svm, stage, spread in zip(slopes, self.svms_, self._columns(), self.spreads_, strict=False):
            slope[stage] = svm[-1].coef_[0] / svm[0].scale_ / spread
        return slopes[self._excess(F).argmax(axis=1)]


def _held_out_scores(svm, F, y, rng):
    """The score of each row by an SVM that was fitted on other rows; of its own SVM where a class is too small for folds."""
    n_folds = min(_N_FOLDS, *np.bincount(y, minlength=2))
    if n_folds < 2:
        return svm.decision_function(F)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=rng.randint(2**31 - 1))
    return cross_val_predict(svm, F, y, cv=folds, method="decision_function")


def _part(fpr, n_stages):
    """The rate of one of several equal and independent stages that together have ``fpr``."""
    return 1 - (1 - fpr) ** (1 / n_stages)


def _thresholds(clean_scores, fpr):
    """The threshold of each stage, a column, by the rows that pass the earlier ones; and whether there are rows enough."""
    part, passing = _part(fpr, clean_scores.shape[1]), np.ones(len(clean_scores), dtype=bool)
    thresholds, enough = [], True
    for scores in clean_scores.T:
        threshold, reliable = _quantile(scores[passing], part)
        passing &= scores <= threshold
        thresholds.append(threshold)
        enough = enough and reliable
    return np.array(thresholds), enough


def _quantile(clean_scores, fpr):
    """The conformal threshold, or the largest score where they are too few for it; and whether it is the former."""
    threshold = conformal_threshold(clean_scores, fpr=fpr)
    return (threshold, True) if np.isfinite(threshold) else (clean_scores.max(), False)
