"""Robust accuracy as a scikit-learn scorer: attack first, then score."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.metrics import get_scorer

_MEMO_SIZE = 16


def make_attack_scorer(attack, metric: str | Callable = "accuracy", adaptive: bool = False) -> "AttackScorer":
    """Make a scorer that scores an estimator on attacked images.

    Parameters
    ----------
    attack : attack of `smartbox.attacks`
        Untargeted; anything with ``generate(X, y)``, ``get_params`` and a parameter ``model``. Never copied.
    metric : str or callable, default="accuracy"
        Name of a scikit-learn scorer, or a scorer ``metric(estimator, X, y)``.
    adaptive : bool, default=False
        False: *transferred*, the images are made against the attack's own model, whatever estimator is
        scored. True: a clone of the attack is aimed at the estimator that is scored, defences included.

    Returns
    -------
    scorer : AttackScorer
        For ``scoring=`` of `GridSearchCV`, `cross_validate` and the like.

    Raises
    ------
    ValueError
        If ``attack`` is no attack or a targeted one, if it has no model and is not adaptive, or if ``metric``
        is no scorer.

    Notes
    -----
    A defence should be judged by the worse of the two scores: a transferred attack knows nothing of it.

    References
    ----------
    .. [1] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018.

    Examples
    --------
    >>> from smartbox.metrics import make_attack_scorer
    >>> scoring = {"clean": "accuracy", "robust": make_attack_scorer(DeepFool(face))}    # doctest: +SKIP
    >>> GridSearchCV(defended, {"blur__sigma": [0.5, 1.0]}, scoring=scoring, refit="robust")  # doctest: +SKIP
    """
    if isinstance(attack, type):
        raise ValueError(
            f"attack must be an instance, got the class {attack.__name__}; pass e.g. {attack.__name__}(face)."
        )
    if not all(callable(getattr(attack, method, None)) for method in ("generate", "get_params")):
        raise ValueError(f"attack must have the methods generate and get_params, got {attack!r}; pass e.g. FGSM(face).")
    if getattr(attack, "targeted", False):
        raise ValueError(
            f"attack must be untargeted, got {attack!r}: a scorer knows the true labels only, and a "
            "targeted attack would move the images towards them; pass targeted=False."
        )
    if not adaptive and getattr(attack, "model", None) is None:
        raise ValueError(
            f"A transferred attack needs a model to be made against, got {attack!r} with model None; "
            "give the attack a model, or pass adaptive=True to attack each estimator that is scored."
        )
    if hasattr(attack, "_parameter_constraints"):
        attack._validate_params()  # else a search would turn the mistake into NaN scores
    if isinstance(metric, bool):
        raise ValueError(
            f"metric must be a scorer or the name of one, got {metric!r}; did you mean adaptive={metric!r}?"
        )
    if not callable(metric):
        get_scorer(metric)  # raises for unknown names
    return AttackScorer(attack, metric, adaptive)


class AttackScorer:
    """Scorer ``scorer(estimator, X, y)`` that attacks ``X`` before it scores; made by `make_attack_scorer`.

    Parameters
    ----------
    attack : attack of `smartbox.attacks`
        See `make_attack_scorer`.
    metric : str or callable, default="accuracy"
        See `make_attack_scorer`.
    adaptive : bool, default=False
        See `make_attack_scorer`.

    Attributes
    ----------
    n_generated : int
        How many sets of adversarial images were made in this process.

    Notes
    -----
    Transferred images are remembered for the last 16 pairs of images and attack parameters, so that a grid
    search over the parameters of a defence attacks each fold once. The model is told by identity: after
    training the same model further, make a new scorer. A pickled scorer leaves the remembered images behind;
    `copy.deepcopy` and `sklearn.base.clone` return the scorer itself, so that no search copies the network
    under attack.
    """

    def __init__(self, attack, metric="accuracy", adaptive=False):
        self.attack = attack
        self.metric = metric
        self.adaptive = adaptive
        self._start_afresh()

    def __call__(self, estimator, X, y=None) -> float:
        """Score ``estimator`` on attacked ``X``.

        Parameters
        ----------
        estimator : fitted estimator
        X : ndarray of shape (n_samples, height, width, channels), in [0, 1]
        y : array-like of shape (n_samples,), optional
            True labels. Without them, the attack starts from predicted ones and ``metric`` must do without
            labels.

        Returns
        -------
        score : float
            In the unit of ``metric``; larger is better.
        """
        X_adv = self._attack_estimator(estimator, X, y) if self.adaptive else self._attack_own_model(X, y)
        return get_scorer(self.metric)(estimator, X_adv, y)

    def _attack_estimator(self, estimator, X, y):
        X_adv = clone(self.attack).set_params(model=estimator).generate(X, y)
        with self._lock:
            self.n_generated += 1
        return X_adv

    def _attack_own_model(self, X, y):
        with self._lock:  # held while attacking, lest two threads make the same fold
            model = self.attack.model
            params = {k: v for k, v in self.attack.get_params(deep=False).items() if k != "model"}
            key = (joblib.hash((X, y, params)), id(model))
            if key not in self._memo:
                X_adv = np.asarray(self.attack.generate(X, y)).view()
                X_adv.flags.writeable = False  # shared by all the estimators to come
                self._memo[key] = X_adv, model  # the model is held, so that no other can take over its id
                self.n_generated += 1
            self._memo.move_to_end(key)
            while len(self._memo) > _MEMO_SIZE:
                self._memo.popitem(last=False)
            return self._memo[key][0]

    def _start_afresh(self):
        self.n_generated = 0
        self._memo = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self):
        return {"attack": self.attack, "metric": self.metric, "adaptive": self.adaptive}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._start_afresh()

    def __deepcopy__(self, memo):
        return self

    def __sklearn_clone__(self):
        return self

    def __repr__(self):
        return f"make_attack_scorer({self.attack!r}, metric={self.metric!r}, adaptive={self.adaptive!r})"
