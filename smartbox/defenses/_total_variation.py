"""Total-variation minimisation."""

from numbers import Integral, Real

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.utils import gen_batches

from smartbox._compat import Interval
from smartbox.base import BaseDefense

# Differences between neighbours below a grey level count by their square, larger ones by their size.
_BEND = np.float32(1 / 255)
_STEP = np.float32(1.0)  # of the image; that of its dual follows, 8 being the largest curvature of the differences
_RIDGE = np.float32(1e-3)  # for dropped pixels that nothing holds
_BACKWARD_STEPS = 40
_AT_ONCE = 8  # images, whose arrays stay in the cache


class TotalVariation(BaseDefense):
    """Drop pixels at random, and draw the smoothest image through the others.

    Of each image ``x`` the result is the ``z`` that minimises ``1/2 sum((z - x)**2) + weight * TV(z)``, the sum over the
    pixels that are kept, with ``TV`` the sum over all pixels of the length of ``z``'s gradient.

    Parameters
    ----------
    weight : float, default=0.03
        Of the total variation; 0 returns what is kept as it is.
    drop : float, default=0.5
        Probability that a pixel is dropped; with 0 nothing is left to chance.
    max_iter : int, default=100
        Steps of the solver.
    random_state : int, RandomState or None, default=None
        Draws what is dropped, a stream an image: with a number it depends on the image alone, with None every call drops
        others.

    Notes
    -----
    The squared form, isotropic, where [1]_ writes the root of the squares and rows of pixels at a time: weights cannot be
    compared. Differences of less than a grey level count by their square (Huber), so that there is a derivative. Channels
    are left apart, but drop the same pixels. All images are solved at once by the primal-dual steps of [3]_. The way
    back is the derivative of the exact minimum, from the equation that it solves, taken where the solver has stopped; its
    linear system is solved by forty steps of conjugate gradients.

    References
    ----------
    .. [1] Guo, Rana, Cissé, van der Maaten. "Countering Adversarial Images Using Input Transformations", ICLR 2018, section
       3.
    .. [2] Rudin, Osher, Fatemi. "Nonlinear Total Variation Based Noise Removal Algorithms", Physica D 60, 1992.
    .. [3] Chambolle, Pock. "A First-Order Primal-Dual Algorithm for Convex Problems with Applications to Imaging", Journal
       of Mathematical Imaging and Vision 40, 2011, algorithm 1.

    Examples
    --------
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import TotalVariation
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> TotalVariation(max_iter=20, random_state=0).transform(faces.images).shape
    (4, 96, 84, 1)
    """

    bpda = True  # the derivative is that of the minimum, which a limited number of steps does not quite reach
    _parameter_constraints = {
        "weight": [Interval(Real, 0, None, closed="left")],
        "drop": [Interval(Real, 0, 1, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, *, weight=0.03, drop=0.5, max_iter=100, random_state=None):
        self.weight = weight
        self.drop = drop
        self.max_iter = max_iter
        self.random_state = random_state

    @property
    def has_chance(self):
        """Whether pixels are dropped."""
        return self.drop > 0

    def _draw(self, X, rng):
        """1 for pixels that are kept, 0 for the others; an image that would lose all of them keeps them."""
        shape = (*X.shape[:3], 1)
        if not self.has_chance:
            return np.ones(shape, dtype=np.float32)
        kept = (rng.uniform(X[0, ..., 0].size) >= self.drop).reshape(shape)
        return (kept | ~kept.any(axis=(1, 2, 3), keepdims=True)).astype(np.float32)

    def _apply(self, X, draw):
        smooth = np.empty_like(X)
        for part in gen_batches(len(X), _AT_ONCE):
            smooth[part] = minimise(X[part], draw[part], np.float32(self.weight), self.max_iter)
        return smooth

    def vjp(self, X, *, rng=None):
        """As of any defence; the minimum that is found on the way there is where the way back begins."""
        X, draw, smooth = self._clean(X, rng)

        def pull_back(gradient):
            gradient, back = np.asarray(gradient, dtype=np.float32), np.empty_like(X)
            for part in gen_batches(len(X), _AT_ONCE):
                system = curvature(smooth[part], draw[part], np.float32(self.weight))
                back[part] = draw[part] * solve(*system, gradient[part])
            return back

        return smooth, pull_back


def minimise(X, kept, weight, max_iter):
    """The smoothest images through what is kept, by primal-dual steps from a filling of the gaps."""
    image = ahead = filled(X, kept)
    if weight == 0:
        return image
    dual, dual_step = np.zeros((2, *X.shape), np.float32), 1 / (8 * _STEP)
    for _ in range(max_iter):
        dual += dual_step * differences(ahead)
        dual /= 1 + dual_step * _BEND / weight
        dual /= np.maximum(np.sqrt(np.square(dual).sum(axis=0)) / weight, 1)
        before = image
        image = (image - _STEP * adjoint(dual) + _STEP * kept * X) / (1 + _STEP * kept)
        ahead = 2 * image - before
    return image


def filled(X, kept):
    """What is kept, and for the rest a mean of what is kept around it, or far and wide."""
    wide = (kept * X).mean(axis=(1, 2), keepdims=True) / kept.mean(axis=(1, 2), keepdims=True)
    share, total = (gaussian_filter(each, (0, 1, 1, 0)) for each in (kept, kept * X))
    around = np.where(share > 1e-3, total / np.maximum(share, np.float32(1e-3)), wide)
    return np.where(kept > 0, X, around).astype(np.float32)


def differences(images):
    """To the neighbours below and to the right, ``(2, n, height, width, channels)``; 0 at the last row and column."""
    out = np.zeros((2, *images.shape), dtype=images.dtype)
    out[0, :, :-1] = images[:, 1:] - images[:, :-1]
    out[1, :, :, :-1] = images[:, :, 1:] - images[:, :, :-1]
    return out


def adjoint(duals):
    """The adjoint of `differences`."""
    out = np.zeros_like(duals[0])
    down, right = duals[0, :, :-1], duals[1, :, :, :-1]
    out[:, 1:] += down
    out[:, :-1] -= down
    out[:, :, 1:] += right
    out[:, :, :-1] -= right
    return out


def curvature(images, kept, weight):
    """The second derivative of the objective at the minimum: a function that applies it, and its diagonal."""
    slope = differences(images)
    length = np.sqrt(np.square(slope).sum(axis=0))
    flat = length < _BEND
    stiffness = weight / np.maximum(length, _BEND)
    along = np.where(flat, 0, slope / np.maximum(length, _BEND))  # an edge gives way across itself

    def apply(way):
        change = differences(way)
        change -= along * (along * change).sum(axis=0)
        return (kept + _RIDGE) * way + adjoint(stiffness * change)

    return apply, kept + _RIDGE + 4 * stiffness


def solve(apply, diagonal, right):
    """Conjugate gradients for all images at once, each scaled by the diagonal."""

    def inner(a, b):
        return (a * b).sum(axis=(1, 2, 3), keepdims=True)

    found, rest = np.zeros_like(right), right.copy()
    scaled = rest / diagonal
    way, size = scaled, inner(rest, scaled)
    for _ in range(_BACKWARD_STEPS):
        applied = apply(way)
        curved = inner(way, applied)
        step = np.where(curved > 0, size / np.where(curved > 0, curved, 1), 0)
        found, rest = found + step * way, rest - step * applied
        scaled = rest / diagonal
        grown = inner(rest, scaled)
        way = scaled + np.where(size > 0, grown / np.where(size > 0, size, 1), 0) * way
        size = grown
    return found
