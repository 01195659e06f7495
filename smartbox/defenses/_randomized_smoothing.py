"""Randomised smoothing."""

from numbers import Integral, Real

import numpy as np
from scipy.stats import beta, binom, norm
from sklearn.utils import Bunch, gen_batches

from smartbox._checks import as_number
from smartbox._compat import Interval
from smartbox._model import rejection_label
from smartbox._progress import progress_bar
from smartbox._smoothed import SmoothedModel
from smartbox.defenses._cosine_bounds import cosine_bounds, cosine_columns
from smartbox.defenses._model_defense import ModelDefense

_BATCH_SIZE = 16  # images between two steps of the progress bar; the result does not depend on it
_BLOCK_LOGITS = 2**25  # kept at a time for order statistics, of float32


class RandomizedSmoothing(ModelDefense):
    """Name a face as most of its noisy copies are named, with a radius in l2 that no attack can cross.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        A fitted model, best one that was trained on noisy faces. Never copied nor trained.
    sigma : float, default=0.1
        Standard deviation of the Gaussian noise, in units of the [0, 1] intensity range.
    n_draws : int, default=1000
        Noisy copies of each face that are counted. With so many, no radius exceeds ``sigma * norm.ppf(alpha ** (1 / n_draws))``,
        2.46 times ``sigma`` by default.
    n_select : int, default=100
        Other copies, by which `certify` chooses the class that it certifies.
    alpha : float, default=0.001
        Largest probability that a face's certificate is wrong, or its prediction not that of the classifier smoothed by
        infinitely many draws.
    n_attack_draws : int, default=20
        Copies over which the probabilities and gradients are averaged that an attack meets.
    random_state : int, RandomState or None, default=None
        Draws the noise, a stream an image: with a number, an image meets the same noise in any batch, at any place and at each
        call; None draws anew at each call. An attack meets noise that does not change while it lasts; one with a number of its
        own repeats.
    verbose : int, default=0
        Above 0, `certify` shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The model's labels; set by `fit`, without which everything else works.

    See Also
    --------
    GuardedClassifier : Rejects what a detector flags.

    Notes
    -----
    Where the counts leave open which class is the most frequent, `predict` abstains: it returns -1, or for text labels
    ``"rejected"``. `score` counts that as a mistake.

    The noise is never cut to [0, 1]: the theorem wants it Gaussian. A network takes such pixels; before a model that does not,
    such as a Pipeline with defences, noisy images are cut, which then is a step of the model that is smoothed.

    An attack on this classifier (or on a Pipeline that ends in it) climbs the logarithm of the mean probabilities over
    ``n_attack_draws`` copies, an expectation over transformations [3]_, and meets the class of largest mean probability, without
    abstention. Its draws are not those of `predict`: measure what it made by `score`.

    A network that was trained on clean faces alone loses much of its accuracy under noise; `certify` shows it.

    References
    ----------
    .. [1] Cohen, Rosenfeld, Kolter. "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, theorem 1 and the
       algorithms of section 3.2.
    .. [2] Clopper, Pearson. "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial", Biometrika 1934.
    .. [3] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.2.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import RandomizedSmoothing
    >>> faces = make_faces(n_identities=3, n_images=1)
    >>> smoothed = RandomizedSmoothing(smartbox.load_sample_model(), sigma=0.02, n_draws=200, random_state=0)
    >>> certificates = smoothed.certify(faces.images)
    >>> certificates.label.shape, bool(certificates.radius.max() > 0.02)
    ((3,), True)
    """

    _parameter_constraints = {
        "model": "no_validation",
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "n_select": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "n_attack_draws": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model,
        *,
        sigma=0.1,
        n_draws=1000,
        n_select=100,
        alpha=0.001,
        n_attack_draws=20,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.sigma = sigma
        self.n_draws = n_draws
        self.n_select = n_select
        self.alpha = alpha
        self.n_attack_draws = n_attack_draws
        self.random_state = random_state
        self.verbose = verbose

    def _validate_params(self):
        super()._validate_params()
        least = int(np.ceil(1 - np.log2(self.alpha)))
        if self.n_draws < least:
            raise ValueError(
                f"expected n_draws of at least {least} for alpha {self.alpha:g}, got {self.n_draws}: of fewer, even all that "
                "agree leave the class open."
            )

    def predict_proba(self, X):
        """The share of each image's ``n_draws`` noisy copies that is seen as each class, shape ``(n, n_classes)``."""
        X, smoothed = self._ready(X), self._as_face_model()
        return smoothed.votes(X, smoothed.streams(X)["estimate"], self.n_draws) / self.n_draws

    def certify(self, X):
        """The class of each image and the radius within which it holds, with confidence ``1 - alpha`` for each image.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        certificates : Bunch
            Arrays of shape ``(n,)``.

            label : the class, or -1 (``"rejected"`` for text) where no class is certain to have more than half of the noise.
            radius : in l2, in units of the [0, 1] intensity range: the smoothed classifier names each image within it as this
                one; 0 where the class is left open.
            lower : the bound below the probability of the class under noise.
            count : how many of ``n_draws`` copies were seen as the class.

        See Also
        --------
        smartbox.metrics.certified_accuracy : The share of faces that are right up to a radius.
        """
        X, smoothed = self._ready(X), self._as_face_model()
        streams, parts = smoothed.streams(X), []
        with progress_bar(type(self).__name__, len(X), enabled=self.verbose) as advance:
            for batch in gen_batches(len(X), _BATCH_SIZE):
                chosen = smoothed.votes(X[batch], streams["select"].take(batch), self.n_select).argmax(axis=1)
                votes = smoothed.votes(X[batch], streams["estimate"].take(batch), self.n_draws)
                parts.append((chosen, votes[np.arange(len(votes)), chosen]))
                advance(len(chosen), note="")
        chosen, count = (np.concatenate(part) for part in zip(*parts, strict=True))
        lower = proportion_above(count, self.n_draws, self.alpha)
        certain = lower > 0.5
        return Bunch(
            label=self._named(smoothed, chosen, certain),
            radius=np.where(certain, self.sigma * norm.ppf(np.maximum(lower, 0.5)), 0.0),
            lower=lower,
            count=count,
        )

    def certify_cosine(self, X, radius):
        """Each median cosine under noise, and how far an attack within a radius can move it.

        For a `FaceVerifier` or a `FaceGallery`, by itself or behind defences. Whoever is accepted from a threshold on stays
        accepted as long as ``low`` reaches it, and refused as long as ``high`` does not, whatever the threshold. The radius at
        which that ends is, for the verifier's own threshold, the one that `certify` gives. Noisy images are cut to [0, 1], as a
        verifier and a gallery take them.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].
        radius : float or array-like
            In l2, in units of the [0, 1] intensity range; several are read off the same draws. Beyond
            ``sigma * norm.ppf(alpha ** (1 / n_draws))`` so many draws bound nothing: ``low`` is -1 and ``high`` 1.

        Returns
        -------
        bounds : Bunch
            Identities in the order of the model's `cosines`; float32.

            cosine : the median over ``n_draws`` noisy copies, ``(n, n_identities)``.
            low, high : no image within the radius has a smaller, or a larger, median under noise; each bound holds with
                confidence ``1 - alpha``. Of shape ``(n, n_identities)``, or ``(n, n_identities, *radius.shape)`` of several.

        Raises
        ------
        TypeError
            If the model has no cosines.

        References
        ----------
        .. [1] Chiang, Curry, Abdelkader, Kumar, Dickerson, Goldstein. "Detection as Regression: Certified Object Detection by
           Median Smoothing", NeurIPS 2020, section 3.
        """
        radii = np.reshape([as_number(each, "radius") for each in np.ravel(radius).tolist()], np.shape(radius))
        X, smoothed = self._ready(X), self._smoothed()
        columns, scale = cosine_columns(smoothed.model)
        streams, parts = smoothed.streams(X)["estimate"], []
        n_rows = max(1, min(_BATCH_SIZE, _BLOCK_LOGITS // (self.n_draws * len(smoothed.classes_))))
        with progress_bar(type(self).__name__, len(X), enabled=self.verbose) as advance:
            for batch in gen_batches(len(X), n_rows):
                logits = smoothed.draws(X[batch], streams.take(batch), self.n_draws)[..., columns]
                parts.append(cosine_bounds(logits / scale, radii / self.sigma, self.alpha))
                advance(len(logits), note="")
        cosine, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Bunch(cosine=cosine, low=low, high=high)

    def _predict(self, X):
        smoothed = self._as_face_model()
        votes = smoothed.votes(X, smoothed.streams(X)["estimate"], self.n_draws)
        first, second = np.sort(votes, axis=1)[:, :-3:-1].T
        # Were both equally likely, the first would have as many or more of the two's votes with this probability.
        p_value = np.minimum(1, 2 * binom.sf(first - 1, first + second, 0.5))
        return self._named(smoothed, votes.argmax(axis=1), p_value <= self.alpha)

    def _named(self, smoothed, chosen, certain):
        return self._with_rejections(smoothed.classes_[chosen], ~certain, rejection_label(smoothed.classes_))

    def _as_face_model(self):
        smoothed = self._smoothed()
        rejection_label(smoothed.classes_)  # raises if an identity has the name of rejection
        return smoothed

    def _smoothed(self):
        self._validate_params()
        model = self._face_model()
        if getattr(model, "reject_label", None) is not None:
            raise ValueError(
                "expected a model that names every face, got one that rejects: smooth the face model first, and put the "
                "detector before that, e.g. GuardedClassifier(RandomizedSmoothing(face), detector=detector)."
            )
        return SmoothedModel(model, sigma=self.sigma, n_draws=self.n_attack_draws, random_state=self.random_state)


def proportion_above(count, n, alpha):
    """The one-sided bound of Clopper and Pearson: the share is larger, with confidence ``1 - alpha``."""
    return np.where(count > 0, beta.ppf(alpha, np.maximum(count, 1), n - count + 1), 0.0)
