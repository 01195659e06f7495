"""Picture of accuracy under attacks of growing size."""

import numpy as np
from sklearn.base import clone

from smartbox._checks import as_number
from smartbox._drawing import axes_for, draw_curve, is_first_curve
from smartbox.metrics._perturbation import perturbation_size


class RobustnessCurveDisplay:
    """Robustness curve: accuracy against the size of the perturbation that the attacker may make.

    Made by `from_estimator` or `from_predictions`. Several on one axes differ in colour, line and marker.

    Parameters
    ----------
    eps : array-like of shape (n_eps,)
        Sizes, rising, in units of the [0, 1] range of a pixel.
    accuracy : array-like of shape (n_eps,)
        In [0, 1].
    norm : {"linf", "l2", "l1"}, optional
        In which the sizes are measured, for the axis; those of linf are shown as multiples of 1/255.
    name : str, optional
        What the legend calls the curve.
    band : (x, low, high), optional
        Sizes, and ends of a confidence interval of the accuracy at each, e.g. of `wilson_interval`.

    Attributes
    ----------
    line_ : matplotlib Line2D
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    A curve that rises, or that does not come down to 0 where the attacker may change everything, tells of an attack
    that fails rather than of a robust model [1]_.

    References
    ----------
    .. [1] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 3.1.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.metrics import RobustnessCurveDisplay
    >>> face = smartbox.load_sample_model()
    >>> faces = make_faces(n_images=1)
    >>> display = RobustnessCurveDisplay.from_estimator(
    ...     face, faces.images, faces.target, attack=FGSM(None), eps=["0", "2/255", "4/255"], name="undefended"
    ... )
    >>> bool(display.accuracy[2] < display.accuracy[0])
    True
    """

    def __init__(self, *, eps, accuracy, norm=None, name=None, band=None):
        self.eps = eps
        self.accuracy = accuracy
        self.norm = norm
        self.name = name
        self.band = band

    @classmethod
    def from_estimator(cls, estimator, X, y, *, attack, eps, name=None, band=None, ax=None, **kwargs):
        """Attack images at each size, or as little as succeeds, and draw the accuracy that is left.

        Parameters
        ----------
        estimator : FaceClassifier, Pipeline or anything that `smartbox.as_face_model` takes
            Fitted.
        X : array-like of shape (n_images, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n_images,)
            True identity of each image. Images wrong from the start count as wrong.
        attack : attack of `smartbox.attacks`
            Untargeted. With the model None it is aimed at the estimator, defences included; else at its own model, and
            the images are transferred. One with a parameter ``eps`` runs once for each size; one that looks for the
            smallest perturbation runs once, and its success counts from the size of each on.
        eps : sequence of float or str
            Sizes, rising, not negative, in units of the [0, 1] range of a pixel, e.g. ``[0, "2/255", "4/255"]``, in
            the norm of the attack; l2 where it has no parameter ``norm``.
        name : str, optional
            For the legend. Default: name of the class of the estimator.
        band : (x, low, high), optional
            Sizes, and ends of a confidence interval of the accuracy at each.
        ax : matplotlib Axes, optional
            Where to draw, e.g. ``ax_`` of another display. Default: those of a new figure.
        **kwargs
            For the line, see `matplotlib.lines.Line2D`.

        Returns
        -------
        display : RobustnessCurveDisplay

        Raises
        ------
        ValueError
            If the sizes are not rising or the attack is targeted; as `smartbox.as_face_model` and the attack.
        """
        from smartbox.face import as_face_model

        model, eps, y = as_face_model(estimator), _check_eps(eps), np.asarray(y)
        if getattr(attack, "targeted", False):
            raise ValueError(
                f"attack must be untargeted, got {attack!r}: it would move the images towards their labels."
            )
        attack = clone(attack)
        if attack.model is None:
            attack.set_params(model=estimator)
        norm = getattr(attack, "norm", "l2")
        right = _right_at_each(model, X, y, attack, eps, norm)
        name = type(estimator).__name__ if name is None else name
        return cls(eps=eps, accuracy=right.mean(axis=1), norm=norm, name=name, band=band).plot(ax, **kwargs)

    @classmethod
    def from_predictions(cls, y_true, y_pred, *, eps, norm=None, name=None, band=None, ax=None, **kwargs):
        """Draw the curve of predictions for images attacked at each size.

        Parameters
        ----------
        y_true : array-like of shape (n_images,)
            True identity of each image.
        y_pred : array-like of shape (n_eps, n_images)
            Predicted identities at each size.
        eps : sequence of float or str
            Sizes, rising, not negative, in units of the [0, 1] range of a pixel.
        norm : {"linf", "l2", "l1"}, optional
            In which the sizes are measured.
        name, band, ax, **kwargs
            As for `from_estimator`; without a name the curve is not in the legend.

        Returns
        -------
        display : RobustnessCurveDisplay

        Raises
        ------
        ValueError
            If shapes or kinds of labels do not fit, the sizes are not rising, or the band does not fit.
        """
        eps, y_true, y_pred = _check_eps(eps), np.asarray(y_true), np.asarray(y_pred)
        if y_true.ndim != 1 or y_true.size == 0 or y_pred.shape != (len(eps), len(y_true)):
            raise ValueError(
                f"y_pred must be of shape (n_eps, n_images), got {y_pred.shape} for {len(eps)} sizes and y_true of shape "
                f"{y_true.shape}; stack one array of predictions a size."
            )
        kinds = {labels.dtype.kind in "US" for labels in (y_true, y_pred) if labels.dtype.kind != "O"}
        if len(kinds) > 1:
            raise ValueError(
                f"y_true and y_pred must name people alike, got {y_true.dtype} and {y_pred.dtype}; text never equals a number."
            )
        accuracy = (y_pred == y_true).mean(axis=1)
        return cls(eps=eps, accuracy=accuracy, norm=norm, name=name, band=band).plot(ax, **kwargs)

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
        self : RobustnessCurveDisplay
        """
        eps, accuracy = np.asarray(self.eps), np.asarray(self.accuracy)
        self.ax_ = axes_for(ax)
        self.figure_ = self.ax_.figure
        if is_first_curve(self.ax_):
            self._set_up(self.ax_)
        self.line_ = draw_curve(self.ax_, eps, accuracy, label=self.name, band=self.band, kwargs=kwargs)
        return self

    def _set_up(self, ax):
        from matplotlib.ticker import MultipleLocator, PercentFormatter

        ax.set(xlabel="size of the perturbation" if self.norm is None else f"size of the perturbation ({self.norm})")
        ax.set(ylabel="accuracy under attack", ylim=(-0.02, 1.02))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(alpha=0.3)
        if self.norm == "linf" and np.max(self.eps) > 0:
            step = max(1, round(np.max(self.eps) * 255 / 8))
            ax.xaxis.set_major_locator(MultipleLocator(step / 255))
            ax.xaxis.set_major_formatter(lambda size, _: f"{255 * size:.3g}/255" if size else "0")


def _check_eps(eps):
    if np.ndim(eps) != 1 or len(eps) == 0:
        raise ValueError(f"eps must be a sequence of sizes, got {eps!r}; pass e.g. [0, '2/255', '4/255'].")
    sizes = np.array([as_number(size, "eps") for size in eps])
    if np.any(np.diff(sizes) <= 0):
        raise ValueError(f"eps must rise, got {list(eps)}; sort the sizes and leave out repeats.")
    return sizes


def _right_at_each(model, X, y, attack, eps, norm):
    """Whether each image is recognised at each size, ``(n_eps, n_images)``."""
    clean = model.predict(X) == y
    if "eps" in attack.get_params(deep=False):
        return np.stack(
            [model.predict(clone(attack).set_params(eps=float(e)).generate(X, y)) == y if e else clean for e in eps]
        )
    X_adv = attack.generate(X, y)
    fooled, size = model.predict(X_adv) != y, perturbation_size(X, X_adv)[norm]
    return clean & ~(fooled & (size <= eps[:, None]))
