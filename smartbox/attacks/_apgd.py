"""Auto-PGD."""

from numbers import Integral

import numpy as np

from smartbox._compat import Interval, StrOptions
from smartbox._model import n_names
from smartbox.attacks._apgd_climb import Climb
from smartbox.attacks._apgd_l1 import SparseClimb
from smartbox.attacks._budget import BudgetAttack
from smartbox.attacks._search import Best, logits_of, rivals

# Objective and the number of classes that it needs, by loss and whether it goes to a label.
_OBJECTIVES = {
    ("ce", False): ("odds", 2),
    ("ce", True): ("odds", 2),
    ("dlr", False): ("dlr", 3),
    ("dlr", True): ("targeted_dlr", 4),
}
_CLIMBS = {"linf": Climb, "l2": Climb, "l1": SparseClimb}


class APGD(BudgetAttack):
    """Projected ascent that shortens its own step where it no longer gains.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    eps : float or str, default=8/255
        Largest size of the perturbation in ``norm``, in units of the [0, 1] intensity range; also as text, ``"8/255"``.
    norm : {"linf", "l2", "l1"}, default="linf"
        How the perturbation is measured.
    loss : {"ce", "dlr"}, default="ce"
        "ce" climbs the odds, which is cross-entropy without its saturation; "dlr" the difference of logits ratio, for
        which a model needs 3 classes, or 4 to go to a label.
    max_iter : int, default=100
        Steps of each start. In l1 fewer than 20 leave the perturbation spread over too many pixels.
    n_restarts : int, default=1
        Independent starts; each goes on with the images that have withstood so far.
    n_targets : int or None, default=None
        With a number, the label in ``y`` is left by going to each of so many others in turn, those of largest logit
        first (APGD-T). None goes away from ``y`` itself.
    eot_iter : int or None, default=None
        Draws of the chance in a Pipeline's steps over which gradients are averaged and success is judged, as in PGD; None
        takes 20. For any other model the number of gradients averaged at each point, in case it has chance of its own;
        None takes 1.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the starts, a stream an image: an image's start depends on neither batch nor order.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    See Also
    --------
    PGD : With steps of fixed length.
    AutoAttack : APGD with both losses, FAB and Square.

    Notes
    -----
    In linf and l2 the step is ``2 * eps`` at first. At checkpoints, ever closer to each other, it is halved, and the
    search goes back to its best point, where fewer than 75 % of the steps have raised the loss or neither step nor best
    loss has changed.

    In l1 a step is shared alike by the pixels of largest slope, two thirds as many as the best point so far has
    changed [2]_. Where these have become fewer, the search goes back to that point and the step to ``eps``; else it is
    shortened by a third. The ball is ``3 * eps`` for 30 % of the steps, ``2 * eps`` for another 30 %, then ``eps``;
    nothing beyond ``eps`` is returned. Pixels at a wall of the box do not count, other than in the paper.

    Every image has checks of its own. Projections are the exact ones onto ball and pixel box together; starts are
    uniform in the ball. An image leaves as soon as it is adversarial, one that is wrong from the start at once; one
    that withstands is returned at its largest loss. In the targeted ratio, the logit to be beaten is the largest of the
    others.

    References
    ----------
    .. [1] Croce, Hein. "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
       Attacks", ICML 2020, algorithm 1, equations 3 to 7.
    .. [2] Croce, Hein. "Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers", ICML 2021, algorithm 1.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import APGD
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_identities=4, n_images=1), smartbox.load_sample_model()
    >>> attack = APGD(face, eps="8/255", loss="dlr", max_iter=20, random_state=0)
    >>> X_adv, report = attack.generate(faces.images, faces.target, return_report=True)
    >>> bool(report.success.all()), bool(report.linf.max() <= 8 / 255 + 1e-6)
    (True, True)
    """

    _parameter_constraints = {
        **BudgetAttack._parameter_constraints,
        "norm": [StrOptions(set(_CLIMBS))],
        "loss": [StrOptions({"ce", "dlr"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_restarts": [Interval(Integral, 1, None, closed="left")],
        "n_targets": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        model,
        *,
        eps=8 / 255,
        norm="linf",
        loss="ce",
        max_iter=100,
        n_restarts=1,
        n_targets=None,
        eot_iter=None,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.eps = eps
        self.norm = norm
        self.loss = loss
        self.max_iter = max_iter
        self.n_restarts = n_restarts
        self.n_targets = n_targets
        self.eot_iter = eot_iter
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _perturb(self, model, X, y, rng):
        towards = self.targeted or self.n_targets is not None
        objective, n_classes = _OBJECTIVES[self.loss, towards]
        if n_names(model) < n_classes:
            kind = "targeted " if towards else ""
            raise ValueError(f'the {kind}loss="dlr" needs at least {n_classes} classes, the model has '
                             f'{n_names(model)}: use loss="ce".')  # fmt: skip
        logits = logits_of(model, X, y, self.targeted)
        best = Best(X, y, self._reached(model, model.classes_[logits.argmax(axis=1)], y))
        aims = [y]
        if self.n_targets is not None and not self.targeted:
            aims = model.classes_[rivals(model, logits, model.label_index(y), self.n_targets)].T
        for run, aim in enumerate(np.repeat(aims, self.n_restarts, axis=0)):
            rows = np.flatnonzero(~best.won)
            if rows.size:
                climb = _CLIMBS[self.norm](self, model, objective, towards)
                climb.run(X[rows], y[rows], aim[rows], rows, rng.spawn(run).take(rows), best)
        return best.X, best.counts
