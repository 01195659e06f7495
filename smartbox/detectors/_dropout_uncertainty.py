"""Uncertainty of a network's prediction when units drop out at random."""

import numpy as np
from scipy.special import softmax

from smartbox.detectors._features import through_softmax


class DropoutUncertainty:
    """Variance of the class probabilities over passes with dropout, summed over classes.

    Only the last dropout layer drops units, so that the part of the network before it runs once.

    Parameters
    ----------
    face : FaceClassifier
        With ``head(layer, activations)`` and ``head_vjp``.
    layer : str
        The dropout layer.
    rate : float
        The share of units that drop out.
    n_passes : int

    References
    ----------
    .. [1] Feinman, Curtin, Shintre, Gardner. "Detecting Adversarial Samples from Artifacts", arXiv:1703.00410, 2017, section 4.2.
    """

    def __init__(self, face, layer, rate, n_passes):
        self.face = face
        self.layer = layer
        self.rate = rate
        self.n_passes = n_passes

    def value(self, activations, streams):
        """Uncertainty ``(n,)`` of images that are ``activations`` at the layer; ``streams`` draws a mask an image and pass."""
        return self._probabilities(activations, streams).var(axis=0).sum(axis=1)

    def gradient(self, activations, streams):
        """Gradient of each uncertainty by its activations, for the masks that equal streams draw in `value`."""
        p = self._probabilities(activations, streams.take(slice(None)))
        by_p = 2 * (p - p.mean(axis=0)) / self.n_passes
        by_logits = through_softmax(p, by_p)
        gradient = np.zeros(activations.shape)
        for mask, cotangents in zip(self._masks(activations, streams), by_logits, strict=True):
            gradient += mask * self.face.head_vjp(self.layer, activations * mask, cotangents)
        return gradient

    def _probabilities(self, activations, streams):
        """Shape ``(n_passes, n, n_classes)``."""
        masks = self._masks(activations, streams)
        logits = [self.face.head(self.layer, activations * mask) for mask in masks]
        return softmax(np.stack(logits).astype(np.float64), axis=2)

    def _masks(self, activations, streams):
        """One pass after the other: 0 for a unit that drops out, else what keeps the mean, as in training."""
        for _ in range(self.n_passes):
            kept = streams.uniform(activations[0].size).reshape(activations.shape) >= self.rate
            yield kept.astype(np.float32) / np.float32(1 - self.rate)
