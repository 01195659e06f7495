"""Pictures of verification: the ROC curve, and the DET curve with both error rates on normal scales."""

import numpy as np
from scipy.stats import norm
from sklearn.utils import Bunch

from smartbox._checks import check_labels
from smartbox._cosine_model import cosine_model
from smartbox._drawing import axes_for, check_band, draw_curve, draw_reference, is_first_curve
from smartbox._model import n_names
from smartbox.metrics._claims import all_claim_scores
from smartbox.metrics._det import deviate
from smartbox.metrics._verification import claim_scores, crossing, roc_points

_MANY = 1000  # impostor claims, from which on a linear axis would hide the false accept rates that matter
_LEAST = 2.0  # normal deviates that an axis of a DET curve shows: at least two ticks
_PERCENT = (0.01, 0.1, 1, 5, 20, 50, 80, 95, 99, 99.9)


class _VerificationDisplay:
    """Error rates of claims as one curve."""

    def __init__(self, *, far, frr, n_genuine, n_impostors, name=None, band=None):
        self.far = far
        self.frr = frr
        self.n_genuine = n_genuine
        self.n_impostors = n_impostors
        self.name = name
        self.band = band

    @classmethod
    def from_estimator(cls, estimator, X, y, *, claims=None, name=None, band=None, ax=None, **kwargs):
        """Draw the curve of a face model on images.

        Parameters
        ----------
        estimator : FaceClassifier, Pipeline or anything that `smartbox.as_face_model` takes
            Fitted.
        X : array-like of shape (n_images, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n_images,)
            True identity of each image, enrolled; of a gallery or a verifier also its label for those who are nobody.
        claims : array-like of shape (n_images,), optional
            Claimed identity of each image, e.g. ``FaceProtocol().assign(y).claims``. Default: each image claims
            every enrolled identity once, which gives many more impostor claims. Scores are cosines where a gallery or a
            verifier decides by them, whatever its threshold, and else how far the claimed logit leads.
        name : str, optional
            For the legend. Default: name of the class of the estimator.
        band : (x, low, high), optional
            See the class.
        ax : matplotlib Axes, optional
            E.g. ``ax_`` of another display. Default: those of a new figure.
        **kwargs
            For the line, see `matplotlib.lines.Line2D`.

        Returns
        -------
        display : object of this class

        Raises
        ------
        ValueError
            As `smartbox.as_face_model`, `claim_scores` and `roc_points`.
        """
        from smartbox.face import as_face_model

        model = as_face_model(estimator)
        name = type(estimator).__name__ if name is None else name
        logits, y = model.logits(X), np.asarray(y)
        of_claims = _cosines if cosine_model(model) else _margins
        scores, is_genuine = of_claims(model, logits, y, claims)
        return cls.from_predictions(scores, is_genuine, name=name, band=band, ax=ax, **kwargs)

    @classmethod
    def from_predictions(cls, scores, is_genuine, *, name=None, band=None, ax=None, **kwargs):
        """Draw the curve of scores of claims, or of pairs of images.

        Parameters
        ----------
        scores : array-like of shape (n_claims,)
            Larger speaks for the claim; any unit, NaN not allowed. See `claim_scores` and `all_pair_scores`.
        is_genuine : array-like of bool, shape (n_claims,)
            Whether the claim is true.
        name, band, ax, **kwargs
            As for `from_estimator`; without a name the curve is not in the legend.

        Returns
        -------
        display : object of this class

        Raises
        ------
        ValueError
            As `roc_points`, or if the band does not fit.
        """
        points = roc_points(scores, is_genuine)
        n_genuine = int(np.count_nonzero(is_genuine))
        counts = {"n_genuine": n_genuine, "n_impostors": np.size(is_genuine) - n_genuine}
        return cls(far=points.far, frr=points.frr, **counts, name=name, band=band).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the curve.

        Parameters
        ----------
        ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        self : object of this class
        """
        self.ax_ = axes_for(ax)
        self.figure_ = self.ax_.figure
        if is_first_curve(self.ax_):
            self._set_up(self.ax_)
            self.ax_.grid(alpha=0.3)
        eer = crossing(Bunch(far=np.asarray(self.far), frr=np.asarray(self.frr)))
        label = None if self.name is None else f"{self.name}: {100 * eer:.1f} %"
        x, y = self._curve(*_corners(np.asarray(self.far), np.asarray(self.frr)))
        looks = {"label": label, "title": "equal error rate", "step": True, "kwargs": kwargs}
        self.line_ = draw_curve(self.ax_, x, y, band=self._drawn_band(x), **looks)
        self._widen(self.ax_)
        return self

    def _drawn_band(self, x):
        return self.band

    def _widen(self, ax):
        """Make room around a curve that has next to no extent; rates from 0 to 1 need none."""


class VerificationROCDisplay(_VerificationDisplay):
    """Receiver operating characteristic: true accept rate against false accept rate.

    Made by `from_estimator` or `from_predictions`. Several on one axes differ in colour, line and marker. The axis of
    the false accept rate is logarithmic if the first curve has at least 1000 impostor claims, and begins at one of
    them; ``display.ax_.set_xscale("linear")`` changes it.

    Parameters
    ----------
    far, frr : array-like of shape (n_points,)
        False accept and false reject rates by falling threshold, in [0, 1]; see `roc_points`.
    n_genuine, n_impostors : int
        Numbers of claims.
    name : str, optional
        What the legend calls the curve.
    band : (x, low, high), optional
        False accept rates, and ends of a confidence interval of the true accept rate at each.

    Attributes
    ----------
    line_ : matplotlib Line2D
        A staircase, without the points that do not show.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.metrics import VerificationROCDisplay
    >>> face = smartbox.load_sample_model()
    >>> faces = make_faces(n_images=1)
    >>> X, y = faces.images, faces.target
    >>> X_adv = FGSM(face, eps=4/255).generate(X, y)
    >>> before = VerificationROCDisplay.from_estimator(face, X, y, name="before attack")
    >>> VerificationROCDisplay.from_estimator(face, X_adv, y, name="after attack", ax=before.ax_)
    <...VerificationROCDisplay object at ...>
    """

    def _set_up(self, ax):
        logarithmic = self.n_impostors >= _MANY
        ax.set(xlabel="false accept rate", ylabel="true accept rate", ylim=(-0.02, 1.02))
        ax.set(
            xscale="log" if logarithmic else "linear", xlim=(1 / self.n_impostors, 1) if logarithmic else (-0.02, 1.02)
        )
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda rate, _: f"{100 * rate:g}%")
        chance = np.geomspace(1e-9, 1, 500)
        draw_reference(ax, chance, chance)

    def _curve(self, far, frr):
        return far, 1 - frr


class DETDisplay(_VerificationDisplay):
    """Detection error tradeoff: false reject rate against false accept rate, both on normal scales.

    Made by `from_estimator` or `from_predictions`. Several on one axes differ in colour, line and marker. Scores that
    are normal with one variance give a line of slope -1; the dotted diagonal holds the equal error rates.

    Parameters
    ----------
    far, frr : array-like of shape (n_points,)
        False accept and false reject rates by falling threshold, in [0, 1]; see `det_points`.
    n_genuine, n_impostors : int
        Numbers of claims: rates are drawn within half a claim of 0 and 1.
    name : str, optional
        What the legend calls the curve.
    band : (x, low, high), optional
        False accept rates, and ends of a confidence interval of the false reject rate at each.

    Attributes
    ----------
    line_ : matplotlib Line2D
        A staircase in normal deviates, from the last point without false accepts to the first without false rejects.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    References
    ----------
    .. [1] Martin, Doddington, Kamm, Ordowski, Przybocki. "The DET Curve in Assessment of Detection Task
       Performance", Eurospeech 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from smartbox.metrics import DETDisplay
    >>> rng = np.random.default_rng(0)
    >>> is_genuine = np.arange(1000) < 300
    >>> DETDisplay.from_predictions(rng.normal(size=1000) + 2 * is_genuine, is_genuine, name="cosines")
    <...DETDisplay object at ...>
    """

    def _set_up(self, ax):
        places = norm.ppf(np.array(_PERCENT) / 100)
        names = [f"{percent:g}%" for percent in _PERCENT]
        ax.set(xlabel="false accept rate", ylabel="false reject rate")
        ax.set_xticks(places, names)
        ax.set_yticks(places, names)
        draw_reference(ax, norm.ppf([1e-9, 1 - 1e-9]), norm.ppf([1e-9, 1 - 1e-9]))

    def _drawn_band(self, x):
        if self.band is None:
            return None
        far, low, high = check_band(self.band)
        band = deviate(far, self.n_impostors), deviate(low, self.n_genuine), deviate(high, self.n_genuine)
        return [values[band[0] <= x[-1]] for values in band]

    def _widen(self, ax):
        ends = ax.dataLim.get_points()  # of perfect scores one point
        far_end = np.where(ends.sum(axis=0) < 0, ends[0] + _LEAST, ends[1] - _LEAST)
        ax.update_datalim([np.where(np.ptp(ends, axis=0) < _LEAST, far_end, ends[0])])
        ax.autoscale_view()

    def _curve(self, far, frr):
        # from the last point without false accepts to the first without false rejects: beyond there is only the clipping
        inner = slice(np.flatnonzero(far == 0)[-1], np.flatnonzero(frr == 0)[0] + 1)
        far, frr = far[inner], frr[inner]
        return deviate(far, self.n_impostors), deviate(frr, self.n_genuine)


def _margins(model, logits, y, claims):
    """Scores of claims, and whether they are true, by how far a logit leads."""
    classes = model.classes_
    if claims is not None:
        return claim_scores(logits, claims, classes), np.asarray(claims) == y
    every = all_claim_scores(logits, y, classes=classes)
    # nobody claims to be the rejection of a guarded model
    of_people = np.tile(np.arange(len(classes)) < n_names(model), len(y))
    return every.scores[of_people], every.is_genuine[of_people]


def _cosines(model, logits, y, claims):
    """The same of a gallery or a verifier, which accepts by the cosine alone; nobody claims to be nobody."""
    end, y = cosine_model(model), np.asarray(check_labels(y, len(logits), model.classes_))
    columns = end.people()
    cosines, people = logits[:, columns] / np.float32(end.scale), model.classes_[columns]
    if claims is None:
        return cosines.ravel(), (y[:, None] == people).ravel()
    claims = check_labels(claims, len(logits), people, name="claims")
    return cosines[np.arange(len(claims)), np.searchsorted(people, claims)], claims == y


def _corners(far, frr):
    """Without the points that a staircase does not need."""
    inner = (far[1:-1] != far[2:]) & (frr[1:-1] != frr[:-2])
    keep = np.r_[True, inner, True]
    return far[keep], frr[keep]
