"""Adversarial training."""

from numbers import Integral, Real

from sklearn.base import clone
from sklearn.utils import check_random_state, get_tags

from smartbox._compat import Interval, StrOptions
from smartbox.attacks import PGD
from smartbox.base import BaseAttack
from smartbox.defenses._attacked_lessons import OwnAttackLesson, StaticLesson, TradesLesson
from smartbox.defenses._retrained import RetrainedClassifier, new_seed, sealed, thawed, untrained


class AdversarialTraining(RetrainedClassifier):
    """A face classifier that learns from attacked images.

    Parameters
    ----------
    estimator : FaceClassifier
        What to train, by its ``epochs``, ``optimizer`` and so on; never changed itself. A fitted one, or one around a given
        network, is the network that static mode attacks, and whose weights the other modes begin at, which is the quicker way
        to a robust network. Of an unfitted one static mode trains a clone to attack, and the other modes begin at new weights.
        Clones of this classifier hold, as scikit-learn has it, an unfitted ``estimator``, unless that is around a given network
        or in a FrozenEstimator, inside which a search reaches ``estimator__estimator__epochs`` and leaves the given one alone.
    attack : BaseAttack
        What makes the attacked images; its ``model`` is supplied. A targeted one aims at labels drawn at random. One that
        could stop at the first success goes on to its largest loss.
    mode : {"static", "pgd", "trades"}, default="static"
        "static": a first network is attacked once, and a new one learns from clean and attacked images alike [1]_ [2]_.
        "pgd": in each step the attack's images of the batch, made against the weights of the moment, replace it [3]_.
        "trades": to the loss on clean images comes ``beta`` times the divergence of the softmax at the point, within the
        ball of a `PGD`, where it differs most from that of the clean image [4]_.
    beta : float, default=6.0
        Of "trades": robustness against accuracy.
    warm_up : int, default=0
        Of "pgd" and "trades": the attack grows to its full size over so many epochs. 0 begins with the full size.
    random_state : int, RandomState or None, default=None
        Draws initial weights, dropout, the order of images, starts and targets of the attack; None leaves that to the random
        states of ``estimator`` and ``attack``.

    Attributes
    ----------
    estimator_ : FaceClassifier
        The robust classifier. Its ``history_`` has loss and accuracy on the images learnt from, and of validation images also
        ``val_attacked_loss``, which ``patience`` waits for, and ``val_attacked_accuracy``.
    first_ : FaceClassifier
        In static mode, the classifier that was attacked.
    classes_ : ndarray of shape (n_classes,)
    image_shape_ : tuple of int

    See Also
    --------
    smartbox.metrics.make_attack_scorer : Robust accuracy, for a search over the parameters.

    Notes
    -----
    Static training is the SmartBox paper's [2]_. It hardens against images made for another network, hardly against those made
    for the new one: judge it by attacks on this classifier too, and by the worse of the two figures.

    An epoch of "pgd" costs as much as ``max_iter + 1`` ordinary ones. Attacks see the network in inference mode: dropout is off
    and batch norm at rest. A network that begins at new weights may stay at chance
    under the attack: begin at a trained one, or use ``warm_up``.

    References
    ----------
    .. [1] Goodfellow, Shlens, Szegedy. "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 6.
    .. [2] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation Algorithms for
       Face Recognition", BTAS 2018, section 2.3.
    .. [3] Madry, Makelov, Schmidt, Tsipras, Vladu. "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
       equation 2.1.
    .. [4] Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan. "Theoretically Principled Trade-off between Robustness and Accuracy", ICML
       2019, equation 5 and algorithm 1.

    Examples
    --------
    >>> from smartbox import FaceClassifier
    >>> from smartbox.attacks import PGD
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import AdversarialTraining
    >>> faces = make_faces(n_identities=3, n_images=8, image_shape=(24, 24))
    >>> attack = PGD(None, eps="2/255", max_iter=7)
    >>> robust = AdversarialTraining(FaceClassifier(epochs=2), attack, mode="pgd", random_state=0)
    >>> robust.fit(faces.images, faces.target).predict(faces.images).shape
    (24,)
    """

    _parameter_constraints = {
        "estimator": "no_validation",
        "attack": "no_validation",
        "mode": [StrOptions({"static", "pgd", "trades"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "warm_up": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    _uses_weights = True

    def __init__(self, estimator, attack, *, mode="static", beta=6.0, warm_up=0, random_state=None):
        self.estimator = estimator
        self.attack = attack
        self.mode = mode
        self.beta = beta
        self.warm_up = warm_up
        self.random_state = random_state

    def _validate_params(self):
        super()._validate_params()
        if self.attack is not None:
            _check_attack(self.attack, self.mode)

    def _train(self, X, y, sample_weight, validation_data):
        if self.attack is None:
            raise ValueError(
                "AdversarialTraining has no attack: pass one, e.g. AdversarialTraining(face, PGD(None, eps='2/255')). None is "
                "only for the benchmark, which supplies its own."
            )
        face = untrained(self.estimator, keep_weights=self.mode != "static")
        attack_state = getattr(self.attack, "random_state", None)
        if self.random_state is not None:
            rng = check_random_state(self.random_state)
            face.random_state = new_seed(rng)
            attack_state = new_seed(rng)
        if self.mode == "static":
            self.first_ = self._first(face, X, y, sample_weight, validation_data)
            face.random_state = new_seed(face.random_state)  # or the new network would begin as the first did
            lesson = StaticLesson(self.attack, attack_state, self.first_)
        elif self.mode == "pgd":
            lesson = OwnAttackLesson(self.attack, attack_state, self.warm_up)
        else:
            lesson = TradesLesson(self.attack, attack_state, self.warm_up, self.beta)
        return sealed(face._fit(X, y, sample_weight, validation_data, lesson))

    def _first(self, face, X, y, sample_weight, validation_data):
        """The estimator itself if it is trained, or else a clone, trained now."""
        first = thawed(self.estimator)
        if not hasattr(first, "network_"):
            first = clone(first).set_params(random_state=face.random_state)
            first.fit(X, y, sample_weight, validation_data=validation_data)
        return first


def _check_attack(attack, mode):
    if not isinstance(attack, BaseAttack):
        raise ValueError(f"expected attack as an attack, e.g. PGD(None, eps='2/255'), got {attack!r}.")
    attack._validate_params()
    if mode == "trades" and (not isinstance(attack, PGD) or attack.targeted):
        raise ValueError(
            f"mode 'trades' climbs the divergence in the ball and by the steps of an untargeted PGD, got {attack!r}: pass e.g. "
            "PGD(None, eps='2/255', max_iter=10), or choose mode 'pgd'."
        )
    if mode == "pgd" and get_tags(attack).requires_fit:
        raise ValueError(
            f"mode 'pgd' attacks each batch anew, but {type(attack).__name__} has to be fitted first: choose mode 'static'."
        )
