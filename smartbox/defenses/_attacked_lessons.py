"""Lessons with attacked images in them: made once against another network, or in each step against the network itself."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import get_tags

from smartbox import _norms
from smartbox._losses import squared_error, trades
from smartbox._streams import ImageStreams
from smartbox._training import Lesson, measured
from smartbox.attacks._budget import rooms
from smartbox.defenses._retrained import new_seed

_FIRST_STEP = 1e-3  # standard deviation of the start of TRADES, where the divergence has no slope


class AttackedLesson(Lesson):
    """What the three below share: an attack to learn from, the same one to be examined by.

    Parameters
    ----------
    attack : BaseAttack
        Its model is supplied here.
    random_state : int, RandomState or None
        Draws the attack's chance and, if it is targeted, its targets.
    model : FaceModelMixin, default=None
        What is attacked; None stands for the network that learns.
    """

    watched = "val_attacked_loss"

    def __init__(self, attack, random_state, model=None):
        self.seed = new_seed(random_state)
        self.attack = attack
        self.model = model

    def begin(self, network, X, index, weight):
        """Meet the untrained network."""
        from smartbox.face import FaceClassifier

        if self.model is None:
            self.model = FaceClassifier.from_network(network)
        self.rng = np.random.RandomState(self.seed)
        # A random state goes on from step to step, so that no image starts at the same point twice; the examiner's does not.
        self.teacher, self.examiner = (aimed(self.attack, self.model, seed) for seed in (self.rng, self.seed))
        return X, index, weight

    def evaluate(self, engine, X, index):
        """Loss and accuracy on validation images, clean and attacked."""
        X_adv = attacked(self.examiner, X, index, np.random.RandomState(self.seed))
        return {**measured("val", engine, X, index), **measured("val_attacked", engine, X_adv, index)}


class StaticLesson(AttackedLesson):
    """Clean images, and the same attacked once against another network."""

    def begin(self, network, X, index, weight):
        """Attack the images, and learn from both."""
        super().begin(network, X, index, weight)
        X_adv = attacked(self.teacher, X, index, self.rng)
        self.validation_adv = None
        return np.concatenate([X, X_adv]), np.tile(index, 2), np.tile(weight, 2)

    def evaluate(self, engine, X, index):
        """As any, but the validation images too are attacked only once."""
        if self.validation_adv is None:
            self.validation_adv = attacked(self.examiner, X, index, np.random.RandomState(self.seed))
        return {**measured("val", engine, X, index), **measured("val_attacked", engine, self.validation_adv, index)}


class OwnAttackLesson(AttackedLesson):
    """Each batch attacked against the weights of the moment, at first by a part of the whole perturbation.

    Parameters
    ----------
    attack, random_state
        As for `AttackedLesson`.
    warm_up : int
        Epochs until the perturbation is whole.
    """

    def __init__(self, attack, random_state, warm_up):
        super().__init__(attack, random_state)
        self.warm_up = warm_up
        self.epoch = 0

    def begin_epoch(self):
        """Go on to the next."""
        self.epoch += 1

    def batch(self, X, index, rows):
        """The attacked images instead of the clean ones."""
        return self.nearer(X[rows], attacked(self.teacher, X[rows], index[rows], self.rng)), index[rows]

    def nearer(self, X, X_adv):
        """The attacked images, or in the warm-up what lies between; a ball and the pixel box hold what lies between."""
        share = min(1.0, self.epoch / max(self.warm_up, 1))
        return X_adv if share == 1 else X + np.float32(share) * (X_adv - X)


class TradesLesson(OwnAttackLesson):
    """Clean images, and near each the one whose softmax differs most from its own.

    Parameters
    ----------
    attack, random_state, warm_up
        As for `OwnAttackLesson`; the attack is a PGD.
    beta : float
        Weight of the divergence.
    """

    inputs = ("images", "index", "images")

    def __init__(self, attack, random_state, warm_up, beta):
        super().__init__(attack, random_state, warm_up)
        self.objective = trades(beta)

    def begin(self, network, X, index, weight):
        """Meet the untrained network."""
        from smartbox._engine import engine_of

        self.engine = engine_of(network)
        return super().begin(network, X, index, weight)

    def batch(self, X, index, rows):
        """The images and what is found near them."""
        return X[rows], index[rows], self.nearer(X[rows], self._climb(X[rows]))

    def _climb(self, X):
        """PGD's steps up the divergence, from nearly the images themselves."""
        pgd, reference = self.teacher, self.engine.logits(X)
        eps, step = pgd._eps(), pgd._step_size()
        low, high = rooms(X)
        streams = ImageStreams.from_images(X, self.rng.randint(2**63, dtype=np.int64))
        delta = (_FIRST_STEP * streams.normal(low.shape[1])).astype(np.float32)
        delta = _norms.project(delta, low, high, eps, pgd.norm)
        for k in range(pgd.max_iter):
            _, gradient = self.engine.divergence(X + delta.reshape(X.shape), reference)
            delta = delta + pgd._step(gradient.reshape(delta.shape), low - delta, high - delta, step, k)
            delta = _norms.project(delta, low, high, eps, pgd.norm)
        return X + delta.reshape(X.shape)


class DenoisingLesson(Lesson):
    """Clean, noisy and attacked images in, clean ones out.

    Parameters
    ----------
    X_adv : ndarray
        All images, attacked.
    noise : float
        Standard deviation.
    bounds : ndarray of shape (3,)
        Cumulated shares of clean, noisy and attacked images.
    rng : RandomState
    objective : callable
    """

    inputs = ("images", "images")
    names = False

    def __init__(self, X_adv, noise, bounds, rng, objective=squared_error):
        self.X_adv = X_adv
        self.noise = noise
        self.bounds = bounds
        self.rng = rng
        self.objective = objective

    def batch(self, X, index, rows):
        """What is shown of the images, and the images."""
        shown, kind = X[rows], np.searchsorted(self.bounds, self.rng.uniform(size=len(rows)), side="right")
        noisy, hit = kind == 1, kind >= 2
        shown[noisy] = np.clip(shown[noisy] + self.noise * self.rng.normal(size=shown[noisy].shape), 0, 1)
        shown[hit] = self.X_adv[rows[hit]]
        return shown, X[rows]


def aimed(attack, model, random_state):
    """A clone of the attack on ``model`` that goes on where it could stop at the first success: that is the better teacher."""
    attack = clone(attack).set_params(model=model)
    settings = {"random_state": random_state, "early_stop": False, "verbose": 0}
    return attack.set_params(
        **{name: value for name, value in settings.items() if name in attack.get_params(deep=False)}
    )


def attacked(attack, X, index, rng):
    """Images attacked once; ``index`` holds the columns of their labels. A targeted attack aims at any other label."""
    classes = attack._face_model().classes_
    if attack.targeted:
        index = (index + rng.randint(1, len(classes), len(index))) % len(classes)
    if get_tags(attack).requires_fit:
        attack.fit(X, classes[index])
    return attack._generate(X, classes[index])[0]  # generate would measure each image too
