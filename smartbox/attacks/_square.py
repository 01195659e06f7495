"""Square attack."""

from numbers import Integral, Real

import numpy as np

from smartbox._compat import Interval
from smartbox.attacks._budget import BudgetAttack
from smartbox.attacks._search import Best, value_and_logits
from smartbox.attacks._square_bumps import bump_side, first_bumps, next_bump

# Of 10000 queries, those after which the window's area is halved.
_HALVINGS = np.array([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])


class Square(BudgetAttack):
    """Random search without gradients: changes within a square, kept where they lower the margin.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied; only its logits are used.
    eps : float or str, default=8/255
        Largest size of the perturbation in ``norm``, in units of the [0, 1] intensity range; also as text, ``"8/255"``.
    norm : {"linf", "l2", "l1"}, default="linf"
        How the perturbation is measured.
    max_queries : int, default=5000
        Images shown to the model at most, for each image.
    p_init : float, default=0.8
        Share of the image that the first square covers. The paper prefers less, 0.05 (linf) and 0.1 (l2), for networks
        that were not trained against attacks.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the squares, a stream an image: an image's squares depend on neither batch nor order.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`; ``n_iterations`` counts queries, ``n_gradients`` is 0.

    Notes
    -----
    In linf, the first query shows vertical stripes of ``+eps`` and ``-eps``, each further one a square of the best image
    so far set to ``+eps`` or ``-eps`` in each channel. In l2 and l1, the first query shows a grid of bumps, each of two
    hills of opposite sign, and each further one takes the perturbation out of two squares and puts it as a new bump
    into one of them. The square's area shrinks along the published schedule, stretched to ``max_queries``; its side is
    at most the image's shorter one, and the grid's tiles a fifth of it, so that images of any shape will do. What is
    cut off at the pixel box goes to the next bump. An image leaves as soon as it is adversarial, one that is wrong from
    the start at once; one that withstands is returned at its smallest margin.

    References
    ----------
    .. [1] Andriushchenko, Croce, Flammarion, Hein. "Square Attack: a Query-efficient Black-box Adversarial
       Attack via Random Search", ECCV 2020, algorithms 1 to 3.
    .. [2] Croce, Hein. "Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers", ICML 2021: the
       search in l1, whose hills are steeper.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import Square
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_identities=4, n_images=1), smartbox.load_sample_model()
    >>> attack = Square(face, eps="16/255", max_queries=50, random_state=0)
    >>> X_adv, report = attack.generate(faces.images, faces.target, return_report=True)
    >>> bool(report.success.any()), int(report.n_gradients.sum())
    (True, 0)
    """

    _parameter_constraints = {
        **{name: rule for name, rule in BudgetAttack._parameter_constraints.items() if name != "loss"},
        "max_queries": [Interval(Integral, 1, None, closed="left")],
        "p_init": [Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        model,
        *,
        eps=8 / 255,
        norm="linf",
        max_queries=5000,
        p_init=0.8,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.eps = eps
        self.norm = norm
        self.max_queries = max_queries
        self.p_init = p_init
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _perturb(self, model, X, y, rng):
        best = Best(X, y, self._succeeds(model, X, y))
        rows = np.flatnonzero(~best.won)
        rng = rng.take(rows)
        for query in range(self.max_queries):
            if not rows.size:
                break
            tried = self._tried(X[rows], best.X[rows], query, rng)
            values, logits = value_and_logits(model, tried, y[rows], "margin", self.targeted)
            won = self._reached(model, model.classes_[logits.argmax(axis=1)], y[rows])
            best.counts["n_iterations"][rows] += 1
            best.offer(rows, tried, -values if self.targeted else values, won)
            if won.any():
                going = np.flatnonzero(~won)
                rows, rng = rows[going], rng.take(going)
        return best.X, best.counts

    def _tried(self, X, found, query, rng):
        """What a query shows, from the best images so far."""
        eps, shape = self._eps(), X.shape[1:]
        side = window_side(query, self.max_queries, self.p_init, shape)
        if self.norm == "linf":
            inside, change = (True, stripes(rng, shape)) if query == 0 else window(rng, shape, side)
            return np.where(inside, np.clip(X + np.float32(eps) * change, 0, 1), found)
        if query == 0:
            delta = first_bumps(rng, shape, eps, self.norm)
        else:
            delta = next_bump(rng, found - X, bump_side(side, shape), eps, self.norm)
        return np.clip(X + delta, 0, 1, dtype=np.float32)


def stripes(rng, shape):
    """Columns of +1 and -1 for each image, drawn for each channel: ``(n, 1, width, channels)``."""
    signs = np.where(rng.uniform(shape[1] * shape[2]) < 0.5, np.float32(-1), np.float32(1))
    return signs.reshape(-1, 1, *shape[1:])


def window(rng, shape, side):
    """A square at a random place of each image, ``(n, height, width, 1)``, and a sign for each channel."""
    draws = rng.uniform(2 + shape[2])
    inside = [along(draws[:, axis, None], shape[axis], side) for axis in (0, 1)]
    signs = np.where(draws[:, 2:] < 0.5, np.float32(-1), np.float32(1))
    return (inside[0][:, :, None] & inside[1][:, None, :])[..., None], signs[:, None, None, :]


def along(draws, length, side):
    """Which of ``length`` places are in an interval of ``side`` whose begin is uniform: ``(n, length)``."""
    begin = np.floor(draws * (length - side + 1))
    place = np.arange(length)
    return (place >= begin) & (place < begin + side)


def window_side(query, max_queries, p_init, shape):
    """Side of the square at a query: the root of its share of the pixels, halved by the schedule."""
    halvings = np.sum(query / max_queries * 10000 > _HALVINGS)
    side = round(np.sqrt(p_init / 2.0**halvings * shape[0] * shape[1]))
    return int(np.clip(side, 1, min(shape[:2])))
