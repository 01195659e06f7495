"""Fast gradient sign method, and its l1 and l2 forms."""

import numpy as np

from smartbox import _norms
from smartbox.attacks._budget import BudgetAttack, rooms


class FGSM(BudgetAttack):
    """One step to the best point of the linearised loss within ``eps``.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    eps : float or str, default=8/255
        Largest size of the perturbation in ``norm``, in units of the [0, 1] intensity range; also as text, ``"8/255"``.
    norm : {"linf", "l2", "l1"}, default="linf"
        How the perturbation is measured.
    loss : {"odds", "ce"}, default="odds"
        "odds" is cross-entropy without its saturation; "ce" is cross-entropy as float32 computes it.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images at a time; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the direction of images whose gradient is zero.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`.

    See Also
    --------
    PGD : Many such steps.

    Notes
    -----
    The step maximises ``gradient . delta`` over the ball and the pixel box together, exactly: the sign for linf, the clipped
    gradient for l2, and for l1 the steepest pixels, each to its wall until the budget is spent. Images that are wrong from
    the start are attacked all the same, and reported in ``report_.initially_wrong``. An image that withstands is returned
    perturbed.

    Float32 cross-entropy loses the label's part of its gradient where the margin exceeds about 16.6, and with it a third of
    a well-trained face model's images seem robust at any ``eps``. Published FGSM figures often stem from that; ``loss="ce"``
    reproduces them.

    References
    ----------
    .. [1] Goodfellow, Shlens, Szegedy. "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 4.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> attack = FGSM(face, eps="8/255")
    >>> X_adv = attack.generate(faces.images, faces.target)
    >>> face.score(X_adv, faces.target) < face.score(faces.images, faces.target)
    True
    """

    def __init__(
        self,
        model,
        *,
        eps=8 / 255,
        norm="linf",
        loss="odds",
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.eps = eps
        self.norm = norm
        self.loss = loss
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _perturb(self, model, X, y, rng):
        _, _, gradient, was_zero = self._uphill(model, X, y, rng)
        delta = _norms.steepest(gradient, *rooms(X), self._eps(), self.norm)
        ones = np.ones(len(X), dtype=int)
        return X + delta.reshape(X.shape), {
            "n_iterations": ones, "n_gradients": ones, "n_zero_gradients": was_zero.astype(int),
        }  # fmt: skip
