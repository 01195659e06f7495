"""Order statistics and principal components of convolution responses."""

import numpy as np

from smartbox.detectors._features import NetworkFeatures, layers_to_read

_QUARTILES = (0.25, 0.5, 0.75)
PER_CHANNEL = 1 + 2 + len(_QUARTILES)
# Of a direction's standard deviation, as a share of the largest: below it, one would divide rounding by rounding.
_LEAST_SPREAD = 1e-4


class ConvFilterStatistics(NetworkFeatures):
    """Six statistics of each channel of each convolution layer.

    The responses of a layer at one place are a vector with an entry a channel. Over all places of an image these are taken: for
    each principal component of the vectors, learnt from clean images, the mean absolute coefficient, in units of its standard
    deviation; and for each channel the minimum, the maximum and the three quartiles.

    Parameters
    ----------
    model : FaceClassifier or other model with ``activations(X, layers)``
        Whose responses are read. Never copied.
    layers : sequence of str, default=None
        Names of layers; None takes every convolution, with its activation function if it has one.

    Attributes
    ----------
    layers_ : list of str
    n_channels_ : list of int
        Channels of each layer. A layer takes six columns a channel: components, minima, maxima, first quartiles, medians, third
        quartiles.
    means_, spreads_, components_ : sequence of ndarray
        Of each layer: the mean vector ``(c,)``; the standard deviation along each principal axis ``(c,)``, the largest first; the
        axes, one a column ``(c, c)``.

    Notes
    -----
    The paper's text leaves open over what the components are taken. Whole maps have more entries than there are images; here each
    place is one sample. Order statistics have a gradient almost everywhere: that of the places where they are attained.

    References
    ----------
    .. [1] Li, Li. "Adversarial Examples Detection in Deep Networks with Convolutional Filter Statistics", ICCV 2017, section 4.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.detectors import ConvFilterStatistics
    >>> faces, face = make_faces(n_identities=2, n_images=2), smartbox.load_sample_model()
    >>> statistics = ConvFilterStatistics(face).fit(faces.images)
    >>> statistics.n_channels_, statistics.transform(faces.images).shape
    ([16, 16, 32, 32], (4, 576))
    """

    _parameter_constraints = {"model": "no_validation", "layers": [list, tuple, str, None]}

    def __init__(self, model, *, layers=None):
        self.model = model
        self.layers = layers

    def _layers(self, face):
        return layers_to_read(face, self.layers, "convolution")

    def _learn(self, batches):
        moments = None
        for activations in batches():
            moments = moments or [_Moments() for _ in activations]
            for each, responses in zip(moments, activations, strict=True):
                each.add(responses.reshape(-1, responses.shape[-1]).astype(np.float64))
        self.n_channels_ = [len(each.total) for each in moments]
        self.means_ = [each.total / each.n for each in moments]
        self.spreads_, self.components_ = zip(*(each.principal_axes() for each in moments), strict=True)

    def _summarise(self, activations):
        columns = []
        for i, responses in enumerate(activations):
            values = _by_channel(responses)
            coefficients = self._coefficients(i, values)
            columns += [np.abs(coefficients, out=coefficients).mean(axis=2), *_order_statistics(values)]
        return np.concatenate(columns).T

    def _spread(self, activations, cotangents):
        by_layer = np.split(
            cotangents.T.astype(np.float32), np.cumsum([PER_CHANNEL * n for n in self.n_channels_])[:-1]
        )
        return [
            self._spread_layer(i, each, part) for i, (each, part) in enumerate(zip(activations, by_layer, strict=True))
        ]

    def _spread_layer(self, i, responses, cotangents):
        values = _by_channel(responses)
        components, *orders = np.split(cotangents, PER_CHANNEL)
        weights = components / (values.shape[2] * self.spreads_[i].astype(np.float32)[:, None])
        slopes = np.sign(self._coefficients(i, values)) * weights[:, :, None]
        gradient = _mix(self.components_[i], slopes) + _spread_order_statistics(values, orders)
        return np.moveaxis(gradient, 0, 2).reshape(responses.shape)

    def _coefficients(self, i, values):
        """Of each place's vector, ``(c, n, places)``, in standard deviations."""
        axes = (self.components_[i] / self.spreads_[i]).T
        coefficients = _mix(axes, values)
        coefficients -= (axes @ self.means_[i]).astype(np.float32)[:, None, None]
        return coefficients


class _Moments:
    """Number, sum and sum of products of vectors that arrive in batches."""

    def __init__(self):
        self.n, self.total, self.product = 0, 0.0, 0.0

    def add(self, vectors):
        self.n += len(vectors)
        self.total = self.total + vectors.sum(axis=0)
        self.product = self.product + vectors.T @ vectors

    def principal_axes(self):
        """Standard deviation along each principal axis, the largest first, and the axes, one a column."""
        mean = self.total / self.n
        variances, axes = np.linalg.eigh((self.product - self.n * np.outer(mean, mean)) / max(self.n - 1, 1))
        spread = np.sqrt(np.maximum(variances[::-1], 0))
        spread = np.maximum(spread, _LEAST_SPREAD * spread[0]) if spread[0] > 0 else np.ones_like(spread)
        return spread, np.ascontiguousarray(axes[:, ::-1])


def _by_channel(responses):
    """``(n, ..., c)`` as a copy ``(c, n, places)``: what lies together is sorted together, and quickly."""
    channels = responses.shape[-1]
    return np.ascontiguousarray(np.moveaxis(responses, -1, 0)).reshape(channels, len(responses), -1)


def _mix(matrix, values):
    """A matrix on the channels of all places at once: a product for each image would wait for its threads each time."""
    return (matrix.astype(np.float32) @ values.reshape(len(values), -1)).reshape(values.shape)


def _order_statistics(values):
    """Minimum, maximum and quartiles over the places, each ``(c, n)``. Sorts ``values`` in place."""
    values.sort(axis=2)
    return [sum(np.float32(weight) * values[:, :, rank] for rank, weight in ranks) for ranks in _ranks(values.shape[2])]


def _spread_order_statistics(values, cotangents):
    """The gradient of `_order_statistics` goes to the places where they are attained, of equal ones to the first."""
    gradient, ordered = np.zeros_like(values), np.sort(values, axis=2)
    for ranks, cotangent in zip(_ranks(values.shape[2]), cotangents, strict=True):
        for rank, weight in ranks:
            place = (values == ordered[:, :, rank, None]).argmax(axis=2)[:, :, None]
            before = np.take_along_axis(gradient, place, axis=2)
            np.put_along_axis(gradient, place, before + np.float32(weight) * cotangent[:, :, None], axis=2)
    return gradient


def _ranks(n_places):
    """Each statistic as ``[(rank, weight), ...]`` of the sorted places; quartiles lie between two ranks, as NumPy has them."""
    ranks = [[(0, 1.0)], [(n_places - 1, 1.0)]]
    for share in _QUARTILES:
        below, part = divmod(share * (n_places - 1), 1)
        ranks.append([(int(below), 1 - part), *([(int(below) + 1, part)] if part else [])])
    return ranks
