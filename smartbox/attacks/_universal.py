"""Universal adversarial perturbation."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from smartbox import _norms
from smartbox._checks import as_number, check_images
from smartbox._compat import Interval, StrOptions
from smartbox._model import identify, seeded
from smartbox._progress import progress_bar
from smartbox._rollback import unchanged_on_failure
from smartbox.attacks._search import value_and_gradient
from smartbox.base import BaseAttack

_CAP = 10.0  # log-odds against the label from which on an image has lost clearly enough and climbs no more


class UniversalPerturbation(BaseAttack):
    """One perturbation, learnt from many images, that changes the label of most.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    eps : float or str, default=10/255
        Largest size of the perturbation in ``norm``, in units of the [0, 1] intensity range; also as text,
        ``"10/255"``.
    norm : {"linf", "l2"}, default="linf"
        How the perturbation is measured. In l2, a twenty-fifth of the images' mean norm compares with the paper's.
    max_iter : int, default=40
        Steps at most, each by the gradients of all images.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave; `fit` needs it then.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the chance in a Pipeline's steps, while `fit` learns; nothing else is drawn.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    perturbation_ : ndarray of shape (height, width, channels), float32
        What is added to an image, before it is clipped to [0, 1].
    fooling_rate_ : float
        Share of the images of `fit` whose prediction it changes, or with ``targeted=True`` makes ``y``.
    n_iter_ : int
        Steps taken.
    image_shape_ : tuple of int
        Height, width and channels of the images.
    report_ : Bunch
        Of the last `generate`; ``n_iterations`` and ``n_gradients`` are 0, since all were spent in `fit`.

    See Also
    --------
    MIFGSM : A perturbation for each image, made to transfer to other models.

    Notes
    -----
    Each step goes up the sum of all images' log-odds, those that have clearly lost left out, as in [2]_ but with all
    images at once: a result of neither chance nor order. Steps shrink from ``eps`` to nothing, and the best
    perturbation met is kept. The published algorithm [1]_, which adds up the DeepFool steps of one image after another,
    takes many times as long for the same fooling rate.

    The label to leave is the model's prediction of the clean image, whether true or not. `fit` takes gradients, so this
    is no black-box attack; only the use of ``perturbation_`` on other models is, e.g. by
    ``attack.set_params(model=other).generate(X, y)``. Judge it on images that it was not fitted on, where it fools
    fewer.

    References
    ----------
    .. [1] Moosavi-Dezfooli, Fawzi, Fawzi, Frossard. "Universal Adversarial Perturbations", CVPR 2017, section 2,
       algorithm 1.
    .. [2] Shafahi, Najibi, Xu, Dickerson, Davis, Goldstein. "Universal Adversarial Training", AAAI 2020 (gradient
       ascent on a clipped loss).

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import UniversalPerturbation
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> attack = UniversalPerturbation(face, eps="16/255", max_iter=5).fit(faces.images[::2])
    >>> attack.perturbation_.shape
    (96, 84, 1)
    >>> X_adv = attack.generate(faces.images[1::2])
    >>> bool(attack.report_.success.mean() > 0.2)
    True
    """

    _parameter_constraints = {
        **BaseAttack._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left"), str],
        "norm": [StrOptions({"linf", "l2"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        model,
        *,
        eps=10 / 255,
        norm="linf",
        max_iter=40,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.eps = eps
        self.norm = norm
        self.max_iter = max_iter
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None):
        """Learn the perturbation.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        y : array-like of shape (n,), optional
            With ``targeted=True`` the label that each image shall reach; otherwise ignored.

        Returns
        -------
        self : UniversalPerturbation

        Raises
        ------
        ValueError
            If the model is missing or unfitted, the images do not fit it, or a target is missing or unknown.
        """
        self._validate_params()
        model = self._face_model()
        with unchanged_on_failure(self):
            X = check_images(self._check_images(X, reset=True), image_shape=model.image_shape_)
            seed = check_random_state(self.random_state).randint(2**63, dtype=np.int64)
            model = seeded(model, seed)
            y = self._labels(y, len(X), model) if self.targeted else identify(model, X)
            best, self.fooling_rate_, self.n_iter_ = self._learn(self._seen(model, seed), X, y)
            self.perturbation_ = best.reshape(X.shape[1:])
        return self

    def _learn(self, model, X, y):
        """The best perturbation met, as a row, its fooling rate, and the steps taken."""
        eps = as_number(self.eps, "eps")
        v = best = np.zeros((1, X[0].size), dtype=np.float32)
        low, high, best_rate = v - 1, v + 1, -1.0
        with progress_bar("UniversalPerturbation", self.max_iter, enabled=self.verbose) as advance:
            for k in range(self.max_iter + 1):
                rate, slope = self._look(model, X, y, v)
                if rate > best_rate:
                    best, best_rate = v, rate
                if k == self.max_iter or rate == 1 or not slope.any():
                    return best, best_rate, k
                step = eps * (1 - k / self.max_iter)
                v = v + _norms.steepest(slope, low - v, high - v, step, self.norm)
                v = _norms.project(v, low, high, eps, self.norm)
                advance(1, f"{100 * best_rate:.1f} % fooled")

    def _look(self, model, X, y, v):
        """Share of the images that ``v`` fools, and the way up from there: a row of largest entry 1, or of zeros."""
        n_won, slope = 0, np.zeros(v.shape[1])
        for batch in gen_batches(len(X), self.batch_size):
            tried = np.clip(X[batch] + v.reshape(X.shape[1:]), 0, 1)
            values, logits, gradient = value_and_gradient(model, tried, y[batch], "odds", self.targeted)
            n_won += int(self._reached(model, model.classes_[logits.argmax(axis=1)], y[batch]).sum())
            sign = -1 if self.targeted else 1
            climbing = sign * values < _CAP
            slope += sign * gradient.reshape(len(tried), -1)[climbing].sum(axis=0, dtype=np.float64)
        steepest = np.abs(slope).max()
        slope = slope / steepest if 0 < steepest < np.inf else np.zeros_like(slope)
        return n_won / len(X), slope[None].astype(np.float32)

    def _perturb(self, model, X, y, rng):
        check_is_fitted(self)
        none = np.zeros(len(X), dtype=int)
        return X + self.perturbation_, {"n_iterations": none, "n_gradients": none, "n_zero_gradients": none}

    def __sklearn_is_fitted__(self):
        return hasattr(self, "perturbation_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        return tags
