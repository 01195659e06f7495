"""The contracts of SmartBox: what an attack, a defence and a detector are. No algorithm."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.utils import Bunch, check_random_state, gen_batches
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from smartbox import _norms
from smartbox._checks import check_images, check_labels
from smartbox._compat import Interval
from smartbox._model import identify, is_rejection, seeded
from smartbox._progress import progress_bar
from smartbox._rollback import unchanged_on_failure
from smartbox._shared import changed_copy, split_shared
from smartbox._streams import ImageStreams

_DRAWS = 20  # of chance, for gradients and decisions of attacks that do not choose
_COUNTS = ("n_iterations", "n_gradients", "n_zero_gradients")


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


class BaseDefense(StatelessTransformer):
    """An input mitigation: images in, cleaned images of the same shape out.

    A subclass writes ``_apply(X, draw)``, which returns images like ``X``. One with chance has a parameter ``random_state`` and
    writes ``_draw(X, rng)``, whose ``rng`` holds one stream an image: ``rng.uniform(k)`` and ``rng.normal(k)`` give ``(n, k)``
    numbers, the same for an image in any batch; attacks then aim at the mean over draws of their own. One with a
    gradient writes ``_pull_back(X, draw, gradient)``; without it the backward pass takes the defence for the identity
    (BPDA [1]_).

    References
    ----------
    .. [1] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.1.

    Examples
    --------
    >>> from smartbox.base import BaseDefense
    >>> from smartbox.datasets import make_faces
    >>> class Noise(BaseDefense):
    ...     def __init__(self, *, scale=0.05, random_state=None):
    ...         self.scale = scale
    ...         self.random_state = random_state
    ...     def _draw(self, X, rng):
    ...         return rng.normal(X[0].size).reshape(X.shape)
    ...     def _apply(self, X, draw):
    ...         return X + self.scale * draw
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> Noise(random_state=0).transform(faces.images).shape
    (4, 96, 84, 1)
    """

    def transform(self, X):
        """Clean the images.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1]. Never written to.

        Returns
        -------
        X_clean : ndarray like X, float32 in [0, 1]
        """
        return self._clean(X)[2]

    def vjp(self, X, *, rng=None):
        """Clean the images and keep the way back.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        rng : ImageStreams, optional
            One stream an image to draw from, in place of ``random_state``: an attack's own.

        Returns
        -------
        X_clean : ndarray like X
        pull_back : callable
            Takes the gradient of a value by ``X_clean`` to that by ``X``.
        """
        X, draw, X_clean = self._clean(X, rng)
        return X_clean, lambda gradient: self._pull_back(X, draw, gradient)

    @property
    def has_chance(self):
        """Whether what comes out depends on what is drawn."""
        return type(self)._draw is not BaseDefense._draw

    def _clean(self, X, rng=None):
        """The checked images, what was drawn for them, and the result."""
        self._validate_params()
        X = self._check_images(X)
        if rng is None:
            seed = check_random_state(getattr(self, "random_state", None)).randint(2**63, dtype=np.int64)
            rng = ImageStreams.from_images(X, seed)
        draw = self._draw(X, rng)
        # A copy goes in, lest a defence that works in place change the caller's images.
        return X, draw, _checked_output(self, "_apply", self._apply(X.copy(), draw), X)

    def _draw(self, X, rng):
        return None

    def _pull_back(self, X, draw, gradient):
        return gradient


def _checked_output(estimator, method, images, X):
    """What a subclass made of ``X``, as float32 images in [0, 1]; the author of the subclass is told what is wrong."""
    images = np.asarray(images)
    name = f"{type(estimator).__name__}.{method}"
    if images.shape != X.shape:
        raise ValueError(f"expected {name} to return images of shape {X.shape}, like those given, got {images.shape}.")
    images = np.clip(images, 0, 1).astype(np.float32, copy=False)
    if not np.isfinite(images).all():
        raise ValueError(f"expected {name} to return finite pixels, got NaN, though the images given were sound.")
    return images


class ModelReferenceMixin:
    """An estimator that refers to a face model by its parameter ``model``, and never copies it."""

    _shared = ("model",)  # parameters that a clone refers to as well

    def _face_model(self):
        from smartbox.face import as_face_model

        if self.model is None:
            raise ValueError(
                f"{type(self).__name__} has no model: pass one, e.g. {type(self).__name__}(face). None is "
                "only for a meta-estimator, such as adversarial training, that supplies the model itself."
            )
        return as_face_model(self.model)

    def set_params(self, **params):
        """As scikit-learn's, but what clones share is never written to.

        Parameters
        ----------
        **params : dict
            Names and values. A nested one, such as ``model__blur__sigma``, is set on a shallow copy of the model.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a nested one is of a fitted object, such as ``model__epochs``: since nobody fits that again, nothing would follow.
        """
        plain, inside = split_shared(params, self._shared)
        super().set_params(**plain)
        for name, some in inside.items():
            setattr(self, name, changed_copy(getattr(self, name), some, owner=self, path=name))
        return self

    def __sklearn_clone__(self):
        """A clone refers to the very same model: copying or unfitting it would make it another."""
        parameters = {
            name: value if name in self._shared else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        return type(self)(**parameters)


class BaseAttack(ModelReferenceMixin, StatelessTransformer):
    """An attack: makes adversarial images against a model that it refers to and never copies.

    A subclass writes ``_perturb(model, X, y, rng)``: one batch of checked images and labels in; adversarial images out, alone
    or with a dict of counts ``n_iterations``, ``n_gradients``, ``n_zero_gradients``, each ``(n,)``. ``rng`` holds one stream an
    image: ``rng.uniform(k)`` and ``rng.normal(k)`` give ``(n, k)`` numbers. Of the parameters below, those that its ``__init__``
    does not take keep the values here.

    Examples
    --------
    >>> import numpy as np, smartbox
    >>> from smartbox.base import BaseAttack
    >>> from smartbox.datasets import make_faces
    >>> class Darken(BaseAttack):
    ...     def __init__(self, model, *, by=0.1):
    ...         self.model = model
    ...         self.by = by
    ...     def _perturb(self, model, X, y, rng):
    ...         return X - self.by
    >>> faces = make_faces(n_identities=3, n_images=2)
    >>> attack = Darken(smartbox.load_sample_model(), by=0.3)
    >>> bool(attack.generate(faces.images).mean() < faces.images.mean())
    True
    """

    targeted = False
    batch_size = 128
    random_state = None
    verbose = 0
    eot_iter = None

    _parameter_constraints = {
        "model": "no_validation",
        "targeted": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "eot_iter": [Interval(Integral, 1, None, closed="left"), None],
    }

    def generate(self, X, y=None, *, out=None, return_report=False):
        """Make adversarial images, and keep a report in ``report_``.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1]. Never written to.
        y : array-like of shape (n,), optional
            The labels to leave, or with ``targeted=True`` the labels to reach. None takes the model's own predictions, which
            no targeted attack can use.
        out : ndarray or memmap, optional
            Float32 array like ``X`` that takes the adversarial images, batch by batch: with it, and ``X`` itself a memmap, sets
            larger than memory can be attacked.
        return_report : bool, default=False
            Also return the report.

        Returns
        -------
        X_adv : ndarray like X, float32 in [0, 1]
        report : Bunch
            Only with ``return_report=True``: per image ``success``, ``success_8bit`` (after rounding to k/255), ``l1``, ``l2``,
            ``linf``, ``n_iterations``, ``n_gradients``, ``n_zero_gradients``, ``initially_wrong``, ``prediction_before`` and
            ``prediction_after``. Success counts over all images, those wrong from the start included.

        Raises
        ------
        ValueError
            If the model is missing or unfitted, the images do not fit it, or a label was never seen.

        Notes
        -----
        When interrupted (Ctrl-C), ``report_`` covers the images that were finished and holds them as ``report_.X_adv``.
        """
        X_adv, self.report_ = self._generate(X, y, out=out, keep_report=True)
        self._warn_of_zero_gradients()
        return (X_adv, self.report_) if return_report else X_adv

    def transform(self, X):
        """Make adversarial images against the model's own predictions; no label leaks in, no report is kept.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        X_adv : ndarray like X, float32 in [0, 1]
        """
        return self._generate(X, None)[0]

    def _generate(self, X, y, *, out=None, keep_report=False):
        """Adversarial images and, if it is to be kept, the report; everything but ``_perturb`` and its checks is here."""
        self._validate_params()
        model = self._face_model()
        X = check_images(self._check_images(X), image_shape=model.image_shape_)
        y = self._labels(y, len(X), model)
        X_adv = _check_out(out, X) if out is not None else np.empty_like(X)
        seed = check_random_state(self.random_state).randint(2**63, dtype=np.int64)
        model = seeded(model, seed)
        streams = ImageStreams.from_images(X, seed)
        seen = self._seen(model, seed)
        parts, n_won, n_done = [], 0, 0
        try:
            with progress_bar(type(self).__name__, len(X), enabled=self.verbose) as advance:
                for batch in gen_batches(len(X), self.batch_size):
                    before = model.predict(X[batch]) if keep_report else None
                    labels = identify(model, X[batch], before) if y is None else y[batch]
                    made = self._perturb(seen, X[batch].copy(), labels, streams.take(batch))
                    images, counts = made if isinstance(made, tuple) else (made, {})
                    images = _checked_output(self, "_perturb", images, X[batch])
                    if keep_report:
                        nothing = dict.fromkeys(_COUNTS, np.zeros(len(labels), dtype=int))
                        parts.append({**self._measure(model, X[batch], images, labels, before), **nothing, **counts})
                        parts[-1]["n_gradients"] = parts[-1]["n_gradients"] * getattr(seen, "n_draws", 1)
                        n_won += int(parts[-1]["success"].sum())
                    X_adv[batch], n_done = images, batch.stop  # last, since out may be X itself
                    advance(len(labels), note=f"{100 * n_won / n_done:.1f} % success" if keep_report else "")
        except KeyboardInterrupt:
            if parts:
                self.report_ = Bunch(X_adv=X_adv[:n_done], **_joined(parts))
            raise
        return X_adv, _joined(parts) if keep_report else None

    def _seen(self, model, seed):
        """What the attack knows of the model: of one with chance the mean over draws that are never the deployed ones."""
        if not getattr(model, "has_chance", False):
            return model
        return model.in_expectation(_DRAWS if self.eot_iter is None else self.eot_iter, int(seed))

    def _labels(self, y, n_images, model):
        """The labels given, checked; None for the model's own predictions."""
        if y is not None:
            return check_labels(y, n_images, model.classes_)
        if self.targeted:
            raise ValueError(
                "a targeted attack needs y, the label that each image shall reach, e.g. "
                "FaceProtocol().assign(y).targets: call generate(X, y)."
            )
        return None

    def _reached(self, model, predicted, y):
        """Whether each prediction is what the attacker wants; that of a guarded model to be rejected never is."""
        return predicted == y if self.targeted else (predicted != y) & ~is_rejection(model, predicted)

    def _succeeds(self, model, X, y):
        """Whether each image is where the attacker wants it; of a model with chance, in nine draws of ten."""
        decide = getattr(model, "decide", None)
        predicted = model.predict(X) if decide is None else decide(X, y, self.targeted)
        return self._reached(model, predicted, y)

    def _measure(self, model, X, X_adv, y, before):
        """Success and size of one batch, from the images that are returned."""
        after = model.predict(X_adv)
        rounded = model.predict(np.rint(X_adv * 255) / np.float32(255))
        delta = (X_adv - X).reshape(len(X), -1)
        return {
            "success": self._reached(model, after, y),
            "success_8bit": self._reached(model, rounded, y),
            **{norm: _norms.size(delta, norm) for norm in _norms.NORMS},
            "initially_wrong": self._reached(model, before, y),
            "prediction_before": before,
            "prediction_after": after,
        }

    def _warn_of_zero_gradients(self):
        n_flat = np.count_nonzero(self.report_.n_zero_gradients)
        if n_flat:
            warnings.warn(
                f"{type(self).__name__}: the gradient was zero for {n_flat} of {len(self.report_.success)} images, at least "
                "at times: there the attack went at random or stopped. A success rate that is low for this reason says "
                "nothing about robustness (see report_.n_zero_gradients).",
                stacklevel=3,
            )


def _check_out(out, X):
    if not isinstance(out, np.ndarray) or out.shape != X.shape or out.dtype != np.float32 or not out.flags.writeable:
        came = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(
            f"expected out as a writeable float32 array of shape {X.shape}, like X, got {came}: e.g. "
            "np.lib.format.open_memmap('adversarial.npy', 'w+', np.float32, X.shape)."
        )
    return out


def _joined(parts):
    return Bunch(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


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
