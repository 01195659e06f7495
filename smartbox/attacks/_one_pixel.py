"""One-pixel attack."""

from numbers import Integral

import numpy as np

from smartbox._compat import Interval
from smartbox.attacks._search import value_and_logits
from smartbox.base import BaseAttack

_SCALE = np.float32(0.5)  # F of differential evolution, the paper's
_CHUNK = 128  # candidate images in one pass through the model


class OnePixel(BaseAttack):
    """Differential evolution over the place and value of a few pixels.

    Parameters
    ----------
    model : FaceClassifier or Pipeline
        The model under attack. Never copied.
    n_pixels : int, default=1
        Pixels that may change; in colour, one pixel is all its channels.
    population_size : int, default=400
        Candidates of each image.
    max_iter : int, default=100
        Generations at most.
    targeted : bool, default=False
        Whether ``y`` is where to go, not what to leave.
    batch_size : int, default=128
        Images whose populations evolve side by side; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Draws the populations, a stream an image: an image's result depends on neither batch nor order.
    verbose : int, default=0
        Above 0 shows a progress bar.

    Attributes
    ----------
    report_ : Bunch
        Of the last `generate`; also ``n_queries``, the candidates that the model was asked about. ``n_iterations``
        counts generations after the first population, ``n_gradients`` is 0.

    See Also
    --------
    UniversalPerturbation : One perturbation for all images.

    Notes
    -----
    No gradient is used, but the scores of all classes are, at each of up to ``population_size * (max_iter + 1)``
    queries an image: this is no attack on a system that gives away its decision alone. The published attack ranks
    candidates by the probability of the label, which in float32 is 1 for every candidate of a confident image; the
    margin between logits that is used here keeps rising. It also stops at the first change of label, not at a
    probability.

    A candidate is a row, a column and a value for each channel, ``n_pixels`` times, all within [0, 1] and clipped to
    it; of two pixels at one place the later counts. Images that are wrong from the start and those that withstand come
    back unchanged. The paper's images have 1024 pixels: 0.1 % of a face of 96 x 84 is ``n_pixels=8``.

    References
    ----------
    .. [1] Su, Vargas, Sakurai. "One Pixel Attack for Fooling Deep Neural Networks", IEEE Transactions on Evolutionary
       Computation 23(5), 2019, section III (problem, differential evolution, method and settings).
    .. [2] Storn, Price. "Differential Evolution - A Simple and Efficient Heuristic for Global Optimization over
       Continuous Spaces", Journal of Global Optimization 11, 1997 (the scheme DE/rand/1).

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.attacks import OnePixel
    >>> from smartbox.datasets import make_faces
    >>> faces, face = make_faces(n_identities=4, n_images=1), smartbox.load_sample_model()
    >>> attack = OnePixel(face, n_pixels=8, population_size=20, max_iter=3, random_state=0)
    >>> X_adv = attack.generate(faces.images)
    >>> bool(((X_adv != faces.images).sum(axis=(1, 2, 3)) <= 8).all())
    True
    """

    _parameter_constraints = {
        **BaseAttack._parameter_constraints,
        "n_pixels": [Interval(Integral, 1, None, closed="left")],
        "population_size": [Interval(Integral, 4, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        model,
        *,
        n_pixels=1,
        population_size=400,
        max_iter=100,
        targeted=False,
        batch_size=128,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.n_pixels = n_pixels
        self.population_size = population_size
        self.max_iter = max_iter
        self.targeted = targeted
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _perturb(self, model, X, y, rng):
        X_adv, n_iterations, n_queries, n_gradients = X.copy(), *np.zeros((3, len(X)), dtype=int)
        rows = np.flatnonzero(~self._succeeds(model, X, y))
        rng = rng.take(rows)
        shape = len(rows), self.population_size, self.n_pixels * (2 + X.shape[-1])
        genes = rng.uniform(shape[1] * shape[2]).reshape(shape).astype(np.float32)
        fitness = np.full(shape[:2], -np.inf, dtype=np.float32)
        children = genes
        for generation in range(self.max_iter + 1):
            if not rows.size:
                break
            n_iterations[rows] = generation
            n_queries[rows] += self.population_size
            child_fitness, won = self._judge(model, X[rows], y[rows], children)
            genes, fitness = select(genes, fitness, children, child_fitness)
            best = np.where(won, child_fitness, -np.inf).argmax(axis=1)
            done = won.any(axis=1)
            X_adv[rows[done]] = place(X[rows[done]], children[done, best[done]])
            going = np.flatnonzero(~done)
            rows, rng, genes, fitness = rows[going], rng.take(going), genes[going], fitness[going]
            children = breed(genes, rng)
        return X_adv, {
            "n_iterations": n_iterations,
            "n_gradients": n_gradients,
            "n_zero_gradients": n_gradients,
            "n_queries": n_queries,
        }

    def _judge(self, model, X, y, genes):
        """Fitness of each candidate, the attacker's margin, and whether it is adversarial: both ``(n, size)``."""
        size = genes.shape[1]
        genes = genes.reshape(-1, genes.shape[2])
        fitness, won = np.empty(len(genes), dtype=np.float32), np.empty(len(genes), dtype=bool)
        for start in range(0, len(genes), _CHUNK):
            part = slice(start, start + _CHUNK)
            image = np.arange(len(genes))[part] // size
            tried = place(X[image], genes[part])
            margin, logits = value_and_logits(model, tried, y[image], "margin", self.targeted)
            fitness[part] = -margin if self.targeted else margin
            won[part] = self._reached(model, model.classes_[logits.argmax(axis=1)], y[image])
        return fitness.reshape(-1, size), won.reshape(-1, size)


def place(X, genes):
    """Images with pixels replaced as the genes ``(n, n_pixels * (2 + channels))`` say, each of them in [0, 1]."""
    n, height, width, channels = X.shape
    genes = genes.reshape(n, genes.shape[1] // (2 + channels), 2 + channels)
    row = np.minimum((genes[..., 0] * height).astype(int), height - 1)
    column = np.minimum((genes[..., 1] * width).astype(int), width - 1)
    X = X.copy()
    for pixel in range(genes.shape[1]):  # in turn, so that the last one counts where two meet
        X[np.arange(n), row[:, pixel], column[:, pixel]] = genes[:, pixel, 2:]
    return X


def breed(genes, rng):
    """A child for each candidate of ``(n, size, n_genes)``: DE/rand/1 without crossover, clipped to [0, 1]."""
    n, size, _ = genes.shape
    base, one, other = (np.take_along_axis(genes, partner[..., None], axis=1) for partner in partners(n, size, rng))
    return np.clip(base + _SCALE * (one - other), 0, 1)


def partners(n, size, rng):
    """For each candidate three others, drawn without repetition: indices, three times ``(n, size)``."""
    taken = np.broadcast_to(np.arange(size), (n, size))[..., None]
    for left in (size - 1, size - 2, size - 3):
        drawn = (rng.uniform(size) * left).astype(int)
        for known in np.moveaxis(np.sort(taken, axis=-1), -1, 0):  # ascending: step over those that are taken
            drawn += drawn >= known
        taken = np.concatenate([taken, drawn[..., None]], axis=-1)
    return np.moveaxis(taken[..., 1:], -1, 0)


def select(genes, fitness, children, child_fitness):
    """Each candidate or its child, whichever is fitter; the child where they are equal."""
    better = child_fitness >= fitness
    return np.where(better[..., None], children, genes), np.where(better, child_fitness, fitness)
