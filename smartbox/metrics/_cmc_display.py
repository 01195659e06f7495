"""Picture of the cumulative match characteristic."""

import numpy as np

from smartbox._cosine_model import cosine_model
from smartbox._drawing import axes_for, draw_curve, is_first_curve
from smartbox.metrics._identification import cmc_curve


class CMCDisplay:
    """Cumulative match characteristic: identification accuracy against rank.

    Made by `from_estimator` or `from_predictions`. Several on one axes differ in colour, line and marker.

    Parameters
    ----------
    accuracy : array-like of shape (n_classes,)
        Accuracy at rank 1, 2, ..., in [0, 1]; see `cmc_curve`.
    name : str, optional
        What the legend calls the curve.
    band : (x, low, high), optional
        Ranks, and ends of a confidence interval of the accuracy at each.

    Attributes
    ----------
    line_ : matplotlib Line2D
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    cmc_curve : The numbers.

    References
    ----------
    .. [1] Phillips, Moon, Rizvi, Rauss. "The FERET Evaluation Methodology for Face-Recognition Algorithms",
       TPAMI 2000.

    Examples
    --------
    >>> import smartbox
    >>> from sklearn.pipeline import make_pipeline
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import GaussianBlur
    >>> from smartbox.metrics import CMCDisplay
    >>> face = smartbox.load_sample_model()
    >>> faces = make_faces(n_images=1)
    >>> X, y = faces.images, faces.target
    >>> X_adv = FGSM(face, eps=4/255).generate(X, y)
    >>> before = CMCDisplay.from_estimator(face, X, y, name="before attack")
    >>> CMCDisplay.from_estimator(face, X_adv, y, name="after attack", ax=before.ax_)
    <...CMCDisplay object at ...>
    >>> blurred = make_pipeline(GaussianBlur(), face)
    >>> CMCDisplay.from_estimator(blurred, X_adv, y, name="after Gaussian blur", ax=before.ax_)
    <...CMCDisplay object at ...>
    """

    def __init__(self, *, accuracy, name=None, band=None):
        self.accuracy = accuracy
        self.name = name
        self.band = band

    @classmethod
    def from_estimator(cls, estimator, X, y, *, name=None, band=None, ax=None, **kwargs):
        """Draw the curve of a face model on images.

        Parameters
        ----------
        estimator : FaceClassifier, Pipeline or anything that `smartbox.as_face_model` takes
            Fitted.
        X : array-like of shape (n_images, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n_images,)
            True identity of each image, enrolled.
        name : str, optional
            For the legend. Default: name of the class of the estimator.
        band : (x, low, high), optional
            Ranks, and ends of a confidence interval of the accuracy at each.
        ax : matplotlib Axes, optional
            Where to draw, e.g. ``ax_`` of another display. Default: those of a new figure.
        **kwargs
            For the line, see `matplotlib.lines.Line2D`.

        Returns
        -------
        display : CMCDisplay

        Raises
        ------
        ValueError
            As `smartbox.as_face_model` and `cmc_curve`.
        """
        from smartbox.face import as_face_model

        model = as_face_model(estimator)
        name = type(estimator).__name__ if name is None else name
        scores, classes, of_cosines = model.logits(X), model.classes_, cosine_model(model)
        if of_cosines:  # whoever is nobody has no rank
            scores, classes = scores[:, of_cosines.people()], classes[of_cosines.people()]
        return cls.from_predictions(y, scores, classes=classes, name=name, band=band, ax=ax, **kwargs)

    @classmethod
    def from_predictions(cls, y_true, scores, *, classes=None, name=None, band=None, ax=None, **kwargs):
        """Draw the curve of scores.

        Parameters
        ----------
        y_true : array-like of shape (n_probes,)
            True identity of each probe.
        scores : array-like of shape (n_probes, n_classes)
            Larger is more similar; logits rather than probabilities.
        classes : array-like of shape (n_classes,), optional
            Identity of each column. Default: the sorted labels in ``y_true``.
        name, band, ax, **kwargs
            As for `from_estimator`; without a name the curve is not in the legend.

        Returns
        -------
        display : CMCDisplay

        Raises
        ------
        ValueError
            As `cmc_curve`, or if the band does not fit.
        """
        return cls(accuracy=cmc_curve(y_true, scores, classes=classes), name=name, band=band).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: those of a new figure.
        **kwargs
            For the line, see `matplotlib.lines.Line2D`.

        Returns
        -------
        self : CMCDisplay
        """
        from matplotlib.ticker import PercentFormatter

        accuracy = np.asarray(self.accuracy)
        ranks = np.arange(1, len(accuracy) + 1)
        self.ax_ = axes_for(ax)
        self.figure_ = self.ax_.figure
        first = is_first_curve(self.ax_)
        if first:
            self.ax_.set(xlabel="rank", ylabel="identification accuracy")
            step = int(np.ceil(len(accuracy) / 10 / 5)) * 5 if len(accuracy) > 10 else 1
            self.ax_.set_xticks(np.unique(np.r_[1, ranks[step - 1 :: step]]))
            self.ax_.yaxis.set_major_formatter(PercentFormatter(1))
            self.ax_.grid(alpha=0.3)
        label = None if self.name is None else f"{self.name}: {100 * accuracy[0]:.1f} %"
        self.line_ = draw_curve(
            self.ax_, ranks, accuracy, label=label, title="accuracy at rank 1", band=self.band, kwargs=kwargs
        )
        floor = np.floor(10 * accuracy.min()) / 10  # differences near 100 % must show; noise must not look like one
        self.ax_.set_ylim(min(floor, 0.9 if first else self.ax_.get_ylim()[0]), 1.01)
        return self
