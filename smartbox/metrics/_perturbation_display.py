"""Picture of attacked faces: original, noise, adversarial, and what mitigations make of it."""

import numpy as np

from smartbox._checks import check_images
from smartbox._drawing import check_axes, judged, short_name, show_face
from smartbox.metrics._perturbation import perturbation_size

_TIMES = 10
_ORIGINAL, _NOISE, _ADVERSARIAL = "original", f"noise × {_TIMES}", "adversarial"  # columns
_MOST = 12  # faces
_SIDE = 1.5  # width of a face, inches
_TITLE = 150  # size of a title's letters times their number, where it is as wide as a face
_LONGEST = 11  # letters of a name, which with the words before it are as wide as a face
_UNKNOWN = ("0.35", "")


class PerturbationDisplay:
    """A row for each face: the original, the noise enlarged ten times, both together, and each mitigation's output.

    Made by `from_estimator` or `from_predictions`. Grey in the noise is no change.

    Parameters
    ----------
    X : array-like of shape (n_faces, height, width, 1 or 3)
        Images in [0, 1], twelve at most.
    X_adv : array-like like X
        The attacked images.
    mitigated : dict of str to array-like like X, optional
        What each mitigation makes of the attacked images, by the name that stands above its column.
    seen_as : dict of str to array-like of shape (n_faces,), optional
        Predicted identity of each image of a column: ``"original"``, ``"adversarial"`` or a name of ``mitigated``.
    y : array-like of shape (n_faces,), optional
        True identities: predictions are then marked as right or wrong.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_faces, 3 + number of mitigations)
    figure_ : matplotlib Figure

    References
    ----------
    .. [1] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation
       Algorithms for Face Recognition", BTAS 2018, figures 1 and 2.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import GaussianBlur
    >>> from smartbox.metrics import PerturbationDisplay
    >>> face = smartbox.load_sample_model()
    >>> faces = make_faces(n_identities=2, n_images=1)
    >>> X_adv = FGSM(face, eps=4/255).generate(faces.images, faces.target)
    >>> display = PerturbationDisplay.from_estimator(
    ...     face, faces.images, X_adv, y=faces.target, defenses={"Gaussian blur": GaussianBlur()}
    ... )
    >>> display.axes_.shape
    (2, 4)
    """

    def __init__(self, *, X, X_adv, mitigated=None, seen_as=None, y=None):
        self.X = X
        self.X_adv = X_adv
        self.mitigated = mitigated
        self.seen_as = seen_as
        self.y = y

    @classmethod
    def from_estimator(cls, estimator, X, X_adv, *, y=None, defenses=None, ax=None, **kwargs):
        """Draw faces with what a face model sees in them.

        Parameters
        ----------
        estimator : FaceClassifier, Pipeline or anything that `smartbox.as_face_model` takes
            Fitted. The defences of a Pipeline get a column each, after all those before them; the originals and the
            attacked images are judged by the model at its end.
        X : array-like of shape (n_faces, height, width, 1 or 3)
            Images in [0, 1], twelve at most.
        X_adv : array-like like X
            The attacked images.
        y : array-like of shape (n_faces,), optional
            True identities.
        defenses : dict of str to transformer, optional
            Further defences, each by itself, by the name that stands above its column.
        ax : matplotlib Axes, optional
            Whose place the pictures take. Default: a new figure.
        **kwargs
            For the images, see `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        display : PerturbationDisplay

        Raises
        ------
        ValueError
            As `smartbox.as_face_model`, or if the images do not fit.
        """
        from smartbox.face import as_face_model

        X, X_adv = _check_faces(X, X_adv)
        model, mitigated, output = as_face_model(estimator), {}, X_adv
        steps = getattr(model, "defenses", [])
        for name, defense in steps:
            mitigated[name] = output = defense.transform(output)
        model = model.model if steps else model
        for name, defense in (defenses or {}).items():
            mitigated[name] = defense.transform(X_adv)
        columns = {_ORIGINAL: X, _ADVERSARIAL: X_adv, **mitigated}
        seen_as = {name: model.predict(images) for name, images in columns.items()}
        return cls(X=X, X_adv=X_adv, mitigated=mitigated, seen_as=seen_as, y=y).plot(ax, **kwargs)

    @classmethod
    def from_predictions(cls, X, X_adv, *, mitigated=None, seen_as=None, y=None, ax=None, **kwargs):
        """Draw faces with given predictions.

        Parameters
        ----------
        X, X_adv, mitigated, seen_as, y
            As for the class.
        ax, **kwargs
            As for `from_estimator`.

        Returns
        -------
        display : PerturbationDisplay

        Raises
        ------
        ValueError
            If the images or the predictions do not fit.
        """
        return cls(X=X, X_adv=X_adv, mitigated=mitigated, seen_as=seen_as, y=y).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the faces.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Whose place the pictures take. Default: a new figure.
        **kwargs
            For the images, see `matplotlib.axes.Axes.imshow`.

        Returns
        -------
        self : PerturbationDisplay
        """
        X, X_adv = _check_faces(self.X, self.X_adv)
        taken = [name for name in self.mitigated or {} if name in (_ORIGINAL, _NOISE, _ADVERSARIAL)]
        if taken:
            raise ValueError(f"{taken[0]!r} is the name of another column; call that mitigation something else.")
        mitigated = {name: _check_faces(X, images)[1] for name, images in (self.mitigated or {}).items()}
        columns = {
            _ORIGINAL: X,
            _NOISE: np.clip(0.5 + _TIMES * (X_adv - X), 0, 1),
            _ADVERSARIAL: X_adv,
            **mitigated,
        }
        seen_as = self._check_labels(columns, len(X))
        self.axes_ = _grid(ax, len(X), len(columns), X.shape[1] / X.shape[2])
        self.figure_ = self.axes_[0, 0].figure
        sizes = perturbation_size(X, X_adv)
        for column, (name, images) in enumerate(columns.items()):
            size = min(10, _TITLE / max(len(name), 1))
            self.axes_[0, column].set_title(name, fontsize=size, parse_math=False)
            for row, image in enumerate(images):
                axis = self.axes_[row, column]
                show_face(axis, image, **kwargs)
                if column == 1:
                    text = f"linf {_short(255 * sizes.linf[row])}/255, l2 {_short(sizes.l2[row])}"
                    axis.set_xlabel(text, fontsize=8, color=_UNKNOWN[0])
                elif name in seen_as:
                    color, mark = self._judge(seen_as[name][row], row)
                    text = f"{mark}seen as {short_name(seen_as[name][row], _LONGEST)}"
                    axis.set_xlabel(text, fontsize=8, color=color, parse_math=False)
        return self

    def _judge(self, label, row):
        if self.y is None:
            return _UNKNOWN
        return judged(label == self.y[row])

    def _check_labels(self, columns, n_faces):
        seen_as = self.seen_as or {}
        strange = [name for name in seen_as if name not in columns]
        if strange:
            raise ValueError(
                f"seen_as must name columns, one of {[name for name in columns if name != _NOISE]}, got {strange}."
            )
        for name, labels in {**seen_as, **({} if self.y is None else {"y": self.y})}.items():
            if len(labels) != n_faces:
                raise ValueError(f"expected one label a face, got {len(labels)} in {name!r} for {n_faces} faces.")
        return seen_as


def _short(size):
    """Two digits, or all before the point."""
    return f"{size:.2g}" if size < 100 else f"{size:.0f}"


def _check_faces(X, X_adv):
    X, X_adv = np.asarray(X), np.asarray(X_adv)
    if X.ndim != 4 or X.shape != X_adv.shape or X.shape[-1] not in (1, 3) or not 1 <= len(X) <= _MOST:
        raise ValueError(
            f"expected up to {_MOST} images of shape (n_faces, height, width, 1 or 3) and their changed versions in the "
            f"same shape, got {X.shape} and {X_adv.shape}; pass a few, e.g. X[:4] and X_adv[:4]."
        )
    return check_images(X), check_images(X_adv, name="X_adv")


def _grid(ax, n_rows, n_columns, ratio):
    """Axes in rows and columns, in the place of ``ax`` or on a new figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        size = _SIDE * n_columns, (_SIDE * ratio + 0.25) * n_rows + 0.3  # with room for the text
        figure = plt.figure(figsize=size, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
        return figure.subplots(n_rows, n_columns, squeeze=False)
    check_axes(ax).set_axis_off()
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("ax must be one of a grid, got one placed by hand; make it with plt.subplots().")
    return place.subgridspec(n_rows, n_columns).subplots(squeeze=False)
