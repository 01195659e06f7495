"""Bounds of a cosine's median under Gaussian noise, from order statistics."""

import numpy as np
from scipy.stats import binom, norm

from smartbox._cosine_model import cosine_model


def cosine_bounds(draws, distance, alpha):
    """The median, and what no image so near has a smaller or a larger one than.

    The share of noise for which a cosine stays below some value is the probability of a class of two, to which the theorem of
    randomised smoothing applies: an image at ``distance`` has at most ``norm.cdf(distance)`` for at most ``norm.cdf(0)`` here,
    so that its median lies above the quantile ``norm.cdf(-distance)`` of this one. As many draws lie below that quantile as
    a binomial variable says, so that one of them bounds it without knowing the distribution.

    Parameters
    ----------
    draws : ndarray of shape (n, n_draws, n_identities)
        Cosines of noisy copies.
    distance : ndarray of any shape
        In standard deviations of the noise.
    alpha : float
        Largest probability that one bound is wrong.

    Returns
    -------
    cosine, low, high : ndarray
        ``(n, n_identities)``, and twice ``(n, n_identities, *distance.shape)``.
    """
    n_draws = draws.shape[1]
    draws = np.sort(draws, axis=1)
    # With a probability of alpha at most, fewer than so many draws lie below the quantile.
    rank = binom.ppf(alpha, n_draws, norm.cdf(-distance)).astype(int)
    inside = np.moveaxis(draws, 1, 2)
    low = np.where(rank > 0, inside[..., np.maximum(rank, 1) - 1], np.float32(-1))
    high = np.where(rank > 0, inside[..., n_draws - np.maximum(rank, 1)], np.float32(1))
    return np.median(draws, axis=1), low, high


def cosine_columns(model):
    """Which logits are cosines, and how many times, of a verifier or a gallery; defences may stand before it."""
    end = cosine_model(model)
    if end is None:
        raise TypeError(
            f"expected a smoothed FaceVerifier or FaceGallery, by itself or at the end of a Pipeline, got one of "
            f"{type(model).__name__}, which has no cosines: certify() bounds its decisions."
        )
    return end.people(), np.float32(end.scale)
