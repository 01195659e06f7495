"""What an attack needs of a model, and a Pipeline seen as one model."""

import numpy as np
from sklearn.pipeline import Pipeline

from smartbox._compat import FrozenEstimator
from smartbox._objectives import OBJECTIVES

# Among the names of layers: the logits, whatever the last layer is called and does, and the images that come in.
LOGITS = "<logits>"
PIXELS = "<pixels>"


def is_rejection(model, predicted):
    """Which predictions are a guarded model's refusal to name anybody."""
    rejection = getattr(model, "reject_label", None)
    return np.zeros(len(predicted), dtype=bool) if rejection is None else predicted == rejection


def n_names(model):
    """How many labels a model can name; rejection is none."""
    return len(model.classes_) - (getattr(model, "reject_label", None) is not None)


def identify(model, X, predicted=None):
    """The label of largest logit for each image, whether or not a guard would reject it; ``predicted`` where it knows."""
    if getattr(model, "reject_label", None) is not None:
        return model.identify(X)
    return model.predict(X) if predicted is None else predicted


class FaceModelMixin:
    """The view that attacks have of a model: ``classes_``, ``image_shape_`` and three methods.

    A class writes ``logits(X)``, ``value_and_gradient(X, y, objective)`` and ``vjp(X, cotangents)``; this
    adds what follows from the logits. ``X`` is float32 images in [0, 1] throughout. One with chance in it sets
    ``has_chance`` and writes ``drawn(rng)``, the same model bound to the draws of one stream an image.
    """

    has_chance = False

    def predict(self, X):
        """The label of largest logit for each image; the first of equals."""
        best = np.argmax(self.logits(X), axis=1)  # first, since it raises if the model is not fitted
        return self.classes_[best]

    def vjps(self, X, cotangents):
        """Gradients for several cotangents ``(n, count, n_classes)`` an image: ``(n, count, ...)``."""
        return np.stack([self.vjp(X, each) for each in np.moveaxis(cotangents, 1, 0)], axis=1)

    def seeded(self, seed):
        """The same model, in which what draws anew at each call draws by an attacker's seed; most have nothing of the kind."""
        return self

    def label_index(self, y):
        """Column of each label in the logits."""
        return np.searchsorted(self.classes_, y)

    def objective(self, logits, y, objective, towards=False):
        """Values ``(n,)`` of an objective and their slopes by the logits."""
        return OBJECTIVES[objective](np, logits, self.is_label(y))

    def layer_names(self, kind):
        """Names of its layers of a kind; a model without layers has none."""
        return []

    def is_label(self, y):
        """Boolean ``(n, n_classes)`` that marks each row's label."""
        return self.label_index(y)[:, None] == np.arange(len(self.classes_))

    def last_dropout(self):
        """Name and rate of its last dropout layer; a model without one has None."""
        return None


class DefendedModel(FaceModelMixin):
    """A face model behind defences: one differentiable model, by the chain rule.

    The forward pass keeps each defence's way back, the model gives the gradient by its own input, and the
    ways back run in reverse. The network is neither copied nor compiled anew.

    Parameters
    ----------
    defenses : list of (str, BaseDefense)
        In the order that images pass them; each has ``vjp(X)``.
    model : FaceModelMixin
        The model behind them.
    rng : ImageStreams, optional
        One stream an image, where defences with chance draw from; None leaves them to their own ``random_state``.
    """

    def __init__(self, defenses, model, *, rng=None):
        self.defenses = defenses
        self.model = model
        self.rng = rng
        self.classes_ = model.classes_
        self.image_shape_ = model.image_shape_

    @property
    def has_chance(self):
        """Whether a defence draws, or the model behind them."""
        return any(draws_chance(defense) for _, defense in self.defenses) or draws_chance(self.model)

    @property
    def reject_label(self):
        """What a guard behind the defences says of what it flags; None without one."""
        return getattr(self.model, "reject_label", None)

    def drawn(self, rng):
        """The same model with the draws of ``rng``, one stream an image."""
        model = self.model.drawn(rng.spawn(len(self.defenses))) if draws_chance(self.model) else self.model
        return DefendedModel(self.defenses, model, rng=rng)

    def seeded(self, seed):
        """The same with the model seeded."""
        return DefendedModel(self.defenses, seeded(self.model, seed), rng=self.rng)

    def in_expectation(self, n_draws, seed):
        """The model as an attack sees it, which does not know what will be drawn."""
        from smartbox._expectation import ExpectedModel

        first = next((i for i, (_, defense) in enumerate(self.defenses) if draws_chance(defense)), len(self.defenses))
        rest = DefendedModel(self.defenses[first:], self.model)
        return ExpectedModel(rest, n_draws=n_draws, seed=seed, before=self.defenses[:first])

    def logits(self, X):
        """Logits of the defended images."""
        return self.model.logits(self._defended(X))

    def label_index(self, y):
        """As the model's own, whose labels a guard's rejection may follow out of order."""
        return self.model.label_index(y) if hasattr(self.model, "label_index") else super().label_index(y)

    def objective(self, logits, y, objective, towards=False):
        """As the model's own."""
        guarded = self.reject_label is not None
        return (
            self.model.objective(logits, y, objective, towards) if guarded else super().objective(logits, y, objective)
        )

    def identify(self, X):
        """The label of largest logit that a guard behind the defences would name, were it not to reject."""
        return identify(self.model, self._defended(X))

    def value_and_gradient(self, X, y, objective="cross_entropy", towards=False):
        """As the model's own, by the images before the defences."""
        Z, pull_back = self._forward(X)
        more = () if self.reject_label is None else (towards,)
        values, logits, gradient = self.model.value_and_gradient(Z, y, objective, *more)
        return values, logits, pull_back(gradient)

    def vjp(self, X, cotangents):
        """As the model's own, by the images before the defences."""
        Z, pull_back = self._forward(X)
        return pull_back(self.model.vjp(Z, cotangents))

    def vjps(self, X, cotangents):
        """As the model's own, by the images before the defences."""
        Z, pull_back = self._forward(X)
        gradients = self.model.vjps(Z, cotangents)
        return np.stack([pull_back(each) for each in np.moveaxis(gradients, 1, 0)], axis=1)

    def layer_names(self, kind):
        """As the model's own."""
        return self.model.layer_names(kind)

    def activations(self, X, layers):
        """As the model's own, of the defended images; `PIXELS` are those that come in."""
        outputs = self.model.activations(self._defended(X), layers)
        return [X if name == PIXELS else out for name, out in zip(_as_names(layers), outputs, strict=True)]

    def activations_vjp(self, X, layers, cotangents):
        """As the model's own, by the images before the defences."""
        Z, pull_back = self._forward(X)
        inside, direct = [], np.zeros_like(X)
        for name, cotangent in zip(_as_names(layers), cotangents, strict=True):
            if name == PIXELS:
                direct += cotangent
            else:
                inside.append((name, cotangent))
        if not inside:
            return direct
        return direct + pull_back(self.model.activations_vjp(Z, *zip(*inside, strict=True)))

    def last_dropout(self):
        """As the model's own."""
        return self.model.last_dropout()

    def head(self, layer, activations):
        """As the model's own, which no defence precedes here."""
        return self.model.head(layer, activations)

    def head_vjp(self, layer, activations, cotangents):
        """As the model's own."""
        return self.model.head_vjp(layer, activations, cotangents)

    def _defended(self, X):
        if self.rng is not None:
            return self._forward(X)[0]
        for _, defense in self.defenses:
            X = defense.transform(X)
        return X

    def _forward(self, X):
        return through(self.defenses, X, self.rng)


def through(defenses, X, rng=None):
    """The images behind named defences, and the way back; the draws are those of ``rng``, or the defences' own."""
    backward = []
    for number, (_, defense) in enumerate(defenses):
        chance = {} if rng is None or not draws_chance(defense) else {"rng": rng.spawn(number)}
        X, pull_back = defense.vjp(X, **chance)
        backward.append(pull_back)

    def pull_all_back(gradient):
        for pull_back in reversed(backward):
            gradient = pull_back(gradient)
        return gradient

    return X, pull_all_back


def seeded(model, seed):
    """The model as `FaceModelMixin.seeded` has it; one of the user's own may not know of that."""
    # Asked of the class: one that hands on what it does not know to a model inside would be left out of the attack.
    return model.seeded(int(seed)) if hasattr(type(model), "seeded") else model


def draws_chance(part):
    """Whether what a defence or a model makes depends on what is drawn."""
    return getattr(part, "has_chance", False)


def _as_names(layers):
    return [layers] if isinstance(layers, str) else list(layers)


def as_face_model(pipeline_or_estimator, *, detector=None, scale=1.0):
    """See a face model, or a Pipeline of defences that ends in one, as the one model that an attack meets.

    Parameters
    ----------
    pipeline_or_estimator : object
        A `FaceClassifier`, a FrozenEstimator around one, a fitted grid search over one, a Pipeline whose last
        step is one, a `GuardedClassifier`, a `RandomizedSmoothing`, or anything with ``classes_``,
        ``image_shape_``, ``logits``, ``predict``, ``value_and_gradient`` and ``vjp``.
    detector : BaseDetector, optional
        A fitted detector that stands before the model. An attack then has to get past both: the model has one more
        label, -1 or for text labels ``"rejected"``, which it predicts for flagged images and which is no success.
    scale : float, default=1.0
        Logits for each unit of the detector's score, where there is a detector: what an attack weighs them by. The
        decision is the same for any.

    Returns
    -------
    model : object
        With ``logits(X)``, ``predict(X)``, ``value_and_gradient(X, y, objective)`` and ``vjp(X,
        cotangents)``. Networks are shared, never copied.

    Raises
    ------
    ValueError
        If there is no face model in it, it is not fitted, or a step before it has no gradient.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> import smartbox
    >>> from smartbox.defenses import GaussianBlur
    >>> model = smartbox.as_face_model(make_pipeline(GaussianBlur(), smartbox.load_sample_model()))
    >>> len(model.classes_)
    38
    """
    if detector is not None:
        return guarded_model(as_face_model(pipeline_or_estimator), detector, scale=scale)
    found = thawed(pipeline_or_estimator)
    if isinstance(found, Pipeline):
        return _pipeline_model(found)
    if hasattr(found, "_as_face_model"):
        return found._as_face_model()
    if hasattr(found, "best_estimator_"):
        return as_face_model(found.best_estimator_)
    needed = ("logits", "predict", "value_and_gradient", "vjp")
    missing = [name for name in needed if not hasattr(found, name)]
    if missing:
        if hasattr(found, "get_weights"):
            cure = "wrap it: FaceClassifier.from_network(network)"
        elif hasattr(found, "refit"):
            cure = "call fit(X, y) first, with refit on, so that the search has a best estimator"
        else:
            cure = "pass a FaceClassifier, or a Pipeline that ends in one"
        raise ValueError(
            f"expected a face model, got {type(found).__name__}, which has no {', '.join(missing)}: {cure}."
        )
    if not (hasattr(found, "classes_") and hasattr(found, "image_shape_")):
        name = type(found).__name__
        given = ", or use FaceClassifier.from_network for a trained network" if hasattr(type(found), "from_network") else ""
        raise ValueError(
            f"this {name} is not fitted (it has no classes_ or image_shape_), so there is nothing to attack: call fit "
            f"first{given}."
        )
    return found


def guarded_model(model, detector, *, scale, reject_label=None):
    """A face model behind a detector; see `as_face_model`."""
    from smartbox._guarded import GuardedModel

    if not (np.isscalar(scale) and np.isfinite(scale) and scale > 0):
        raise ValueError(f"expected scale as a positive number, got {scale!r}.")
    found = fitted_detector(detector)
    takes, given = getattr(found, "image_shape_", None), model.image_shape_
    if takes is not None and any(
        None not in sizes and sizes[0] != sizes[1] for sizes in zip(takes, given, strict=True)
    ):
        raise ValueError(
            f"expected a detector for images of shape {given}, as the model takes them, got one that was fitted on {takes}: "
            "fit it on such images."
        )
    return GuardedModel(model, found, scale=scale, reject_label=rejection_label(model.classes_, reject_label))


def fitted_detector(detector):
    """The detector, out of a FrozenEstimator if it is in one."""
    detector = thawed(detector)
    if not (hasattr(detector, "value_and_gradient") and hasattr(detector, "threshold_")):
        raise ValueError(
            f"expected a fitted detector with value_and_gradient, got {type(detector).__name__}: fit it on clean and "
            "attacked images first, e.g. detector.fit(X, y) with X, y, groups = make_detection_set(X, X_adv)."
        )
    return detector


def rejection_label(classes, label=None):
    """What stands for no name: ``label``, or by default -1, for text labels ``"rejected"``; none of ``classes``."""
    is_text = classes.dtype.kind not in "iuf"
    if label is None:
        label = "rejected" if is_text else -1
    elif isinstance(label, str) != isinstance(classes[0], str):
        raise ValueError(
            f"expected a label for rejection of the kind of the model's, such as {'rejected' if is_text else -1!r}, got "
            f"{label!r}: the labels are like {classes[0]!r}."
        )
    if label in classes.tolist():
        raise ValueError(
            f"the model knows the label {label!r}, which here stands for rejection: rename that identity, or choose another "
            "label for rejection where there is a parameter for it."
        )
    return label


def thawed(step):
    while isinstance(step, FrozenEstimator):
        step = step.estimator
    return step


def _pipeline_model(pipeline):
    steps = list(steps_of(pipeline))
    if not steps:
        raise ValueError("expected a Pipeline that ends in a face model, got one without steps.")
    *defenses, (name, last) = steps
    try:
        model = as_face_model(last)
    except ValueError as error:
        raise ValueError(f"the Pipeline's last step, {name!r}, is no model to attack: {error}") from error
    return DefendedModel(with_gradient(defenses), model) if defenses else model


def with_gradient(defenses):
    """The defences ``(name, estimator)``, if attacks can see through each."""
    for name, defense in defenses:
        if not hasattr(defense, "vjp"):
            raise ValueError(
                f"step {name!r} ({type(defense).__name__}) of the Pipeline has no gradient: give it a method "
                "vjp(X) that returns its output and a function for the way back; a subclass of BaseDefense "
                "has one (the identity unless it says otherwise)."
            )
    return defenses


def steps_of(pipeline):
    """Names and estimators of all steps that do something; a Pipeline inside the Pipeline is laid open."""
    for name, step in pipeline.steps:
        step = thawed(step)
        if isinstance(step, Pipeline):
            yield from ((f"{name}__{inner}", estimator) for inner, estimator in steps_of(step))
        elif step is not None and not (isinstance(step, str) and step == "passthrough"):
            yield name, step
