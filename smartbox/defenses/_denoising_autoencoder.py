"""Denoising autoencoder."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from smartbox._compat import Interval
from smartbox._losses import guided, squared_error
from smartbox._model import identify
from smartbox._packing import is_network, pack_state, unpack_state
from smartbox._rollback import unchanged_on_failure
from smartbox._training import make_optimizer, seeded_layers, train
from smartbox.base import BaseAttack, BaseDefense
from smartbox.defenses._attacked_lessons import DenoisingLesson, aimed, attacked
from smartbox.defenses._retrained import new_seed, thawed
from smartbox.networks import denoising_network


class DenoisingAutoencoder(BaseDefense):
    """A network that makes the clean face of an attacked one, trained on clean, noisy and attacked faces.

    Parameters
    ----------
    attack : BaseAttack or sequence of BaseAttack
        With their models: `fit` attacks the training faces, each by one of the attacks in turn, once. They start from the
        models' own predictions, targeted ones aim at labels drawn at random.
    noise : float, default=0.1
        Standard deviation of the Gaussian noise on noisy faces.
    shares : tuple of float, default=(0.25, 0.25, 0.5)
        How often a training face is shown clean, noisy and attacked; drawn anew each time.
    guidance : float, default=1e-3
        Weight, beside the mean squared error of the pixels, of the mean absolute error of the logits that the network under
        attack gives what was made [3]_. Above 0 the model of the (first) attack has to be a FaceClassifier or one that trained
        one.
    network : "convolutional" or callable, default="convolutional"
        `smartbox.networks.denoising_network`, or another builder ``image_shape -> keras.Model`` from images to images.
    epochs : int, default=50
        Passes over the training faces.
    batch_size : int, default=32
        Faces in one training step.
    learning_rate : float, default=1e-3
        The highest learning rate of Adam, which rises over the first twentieth of the steps and decays by a cosine.
    random_state : int, RandomState or None, default=None
        Draws initial weights, the order of faces, noise, and the chance of the attacks, whose own random states give way; None
        draws anew each time.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    network_ : keras.Model
        The trained network.
    history_ : dict of list
        The loss of each epoch.

    Notes
    -----
    What is too small an error to matter in the pixels may still be what an attack has made: without guidance the perturbation of
    an FGSM often survives denoising.

    What the network makes is cut to [0, 1]. The way back is its exact gradient: the autoencoder hides none, and an attack on
    both networks together meets one deeper network. "Adversarial" in [1]_ means a discriminator on the code; here, as in the
    SmartBox paper, it is the faces that are.

    References
    ----------
    .. [1] Creswell, Bharath. "Denoising Adversarial Autoencoders", IEEE Transactions on Neural Networks and Learning Systems
       30(4), 2019.
    .. [2] Gu, Rigazio. "Towards Deep Neural Network Architectures Robust to Adversarial Examples", ICLR workshop 2015, section 4.
    .. [3] Liao, Liang, Dong, Pang, Hu, Zhu. "Defense Against Adversarial Attacks Using High-Level Representation Guided
       Denoiser", CVPR 2018, section 4.2.
    .. [4] Goel, Singh, Agarwal, Vatsa, Singh. "SmartBox: Benchmarking Adversarial Detection and Mitigation Algorithms for
       Face Recognition", BTAS 2018, section 2.3.

    Examples
    --------
    >>> import smartbox
    >>> from sklearn.pipeline import make_pipeline
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import DenoisingAutoencoder
    >>> faces, face = make_faces(n_images=2), smartbox.load_sample_model()
    >>> autoencoder = DenoisingAutoencoder(FGSM(face, eps="8/255"), epochs=1, random_state=0).fit(faces.images)
    >>> defended = make_pipeline(autoencoder, face)
    >>> defended.predict(faces.images).shape
    (76,)
    """

    _parameter_constraints = {
        "attack": "no_validation",
        "noise": [Interval(Real, 0, None, closed="left")],
        "shares": ["array-like"],
        "guidance": [Interval(Real, 0, None, closed="left")],
        "network": "no_validation",
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        attack,
        *,
        noise=0.1,
        shares=(0.25, 0.25, 0.5),
        guidance=1e-3,
        network="convolutional",
        epochs=50,
        batch_size=32,
        learning_rate=1e-3,
        random_state=None,
        verbose=0,
    ):
        self.attack = attack
        self.noise = noise
        self.shares = shares
        self.guidance = guidance
        self.network = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y=None):
        """Attack the faces, and train the network to undo it.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Clean images in [0, 1].
        y : ignored

        Returns
        -------
        self : DenoisingAutoencoder

        Raises
        ------
        ValueError
            If there is no attack, one has no model, that is no network to be guided by, or the network to be trained does not
            give images of the shape that it takes.
        """
        self._validate_params()
        with unchanged_on_failure(self):
            X = self._check_images(X, reset=True)
            self.network_, self.history_ = self._train(X)
        return self

    def _train(self, X):
        """The trained network and the loss of each epoch."""
        from smartbox._engine import image_engine_of

        rng = check_random_state(self.random_state)
        with seeded_layers(rng):
            network = self._build()
        engine, objective = image_engine_of(network), self._objective()  # complain, if need be, before the attack
        lesson = DenoisingLesson(self._attacked(X, rng), self.noise, np.cumsum(self.shares), rng, objective)
        history = train(
            engine, network, X, np.arange(len(X)), np.ones(len(X), dtype=np.float32),
            optimizer=make_optimizer("adam", self.learning_rate, self.epochs * -(-len(X) // self.batch_size)),
            epochs=self.epochs, batch_size=self.batch_size, rng=rng, verbose=self.verbose, lesson=lesson,
        )  # fmt: skip
        return network, history

    def _validate_params(self):
        super()._validate_params()
        shares = np.asarray(self.shares, dtype=float)
        if shares.shape != (3,) or (shares < 0).any() or not np.isclose(shares.sum(), 1):
            raise ValueError(
                f"expected shares as three numbers of sum 1, how often a face is clean, noisy and attacked, got {self.shares!r}."
            )

    def _build(self):
        builder = (
            denoising_network if isinstance(self.network, str) and self.network == "convolutional" else self.network
        )
        if not callable(builder) or is_network(builder):
            raise ValueError(
                f"expected network as 'convolutional' or a builder image_shape -> keras.Model, got {self.network!r}."
            )
        network = builder(self.image_shape_)
        if not is_network(network):
            raise ValueError(f"expected the network builder to return a keras.Model, got {type(network).__name__}.")
        return network

    def _objective(self):
        from smartbox._engine import engine_of

        if not self.guidance:
            return squared_error
        model = thawed(self._attacks()[0].model)
        network = getattr(getattr(model, "estimator_", model), "network_", None)
        if network is None:
            raise ValueError(
                f"expected the attack's model as a fitted FaceClassifier, whose logits guide the training, got {model!r}: choose "
                "another, or guidance=0."
            )
        return guided(self.guidance, engine_of(network).logits_of)

    def _attacks(self):
        attacks = [self.attack] if isinstance(self.attack, BaseAttack) else self.attack
        if not isinstance(attacks, (list, tuple)) or not attacks or not all(isinstance(a, BaseAttack) for a in attacks):
            raise ValueError(
                f"expected attack as an attack with its model, or a list of such, e.g. FGSM(face, eps='8/255'), got "
                f"{self.attack!r}."
            )
        for attack in attacks:
            attack._face_model()  # complains of a missing or unfitted one
        return attacks

    def _attacked(self, X, rng):
        """Each image attacked by one of the attacks; they have about equally many."""
        attacks = self._attacks()
        X_adv, turn = X.copy(), rng.permutation(len(X)) % len(attacks)
        for i, attack in enumerate(attacks):
            rows = np.flatnonzero(turn == i)
            if rows.size:
                attack = aimed(attack, attack.model, new_seed(rng))
                model = attack._face_model()
                index = model.label_index(identify(model, X[rows]))
                X_adv[rows] = attacked(attack, X[rows], index, rng)
        return X_adv

    def _apply(self, X, draw):
        return self._engine().logits(X)

    def _pull_back(self, X, draw, gradient):
        return self._engine().vjp(X, np.asarray(gradient, dtype=np.float32))

    def _engine(self):
        from smartbox._engine import image_engine_of

        check_is_fitted(self, "network_")
        return image_engine_of(self.network_)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "network_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        return tags

    def __getstate__(self):
        return pack_state(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(unpack_state(state))
