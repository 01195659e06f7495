"""Order statistics and principal components of convolution responses."""

import numpy as np
from sklearn.utils import gen_batches

from smartbox.detectors._features import NetworkFeatures, layers_to_read

_QUARTILES = (0.25, 0.5, 0.75)
PER_CHANNEL = 1 + 2 + len(_QUARTILES)
# Of a direction's standard deviation, as a share of the largest: below it, one would divide rounding by rounding.
_LEAST_SPREAD = 1e-4
_CACHE_SIZE = 2**20  # bytes of responses that are worked on at a time


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
        columns = [self._summarise_layer(i, responses) for i, responses in enumerate(activations)]
        return np.concatenate(columns, axis=1)

    def _summarise_layer(self, i, responses):
        lines, rows = _lines(responses), []
        for few in _cacheable(lines):
            values, coefficients = self._by_channel(i, lines[few])
            components = np.abs(coefficients, out=coefficients).mean(axis=2)
            rows.append(np.concatenate([components, *_order_statistics(values)]).T)
        return np.concatenate(rows)

    def _spread(self, activations, cotangents):
        ends = np.cumsum([PER_CHANNEL * n for n in self.n_channels_])
        by_layer = np.split(cotangents.astype(np.float32), ends[:-1], axis=1)
        return [
            self._spread_layer(i, each, part) for i, (each, part) in enumerate(zip(activations, by_layer, strict=True))
        ]

    def _spread_layer(self, i, responses, cotangents):
        lines = _lines(responses)
        gradient, back = np.empty_like(lines), self.components_[i].T.astype(np.float32)
        for few in _cacheable(lines):
            values, slopes = self._by_channel(i, lines[few])
            components, *orders = np.split(cotangents[few].T, PER_CHANNEL)
            weights = components / (values.shape[2] * self.spreads_[i].astype(np.float32)[:, None])
            np.sign(slopes, out=slopes)
            slopes *= weights[:, :, None]
            slopes = slopes.reshape(-1, *lines[few].shape[:3])
            np.matmul(slopes.transpose(1, 2, 3, 0), back, out=gradient[few])
            _add_order_statistics(gradient[few].reshape(slopes.shape[1], -1, len(slopes)), values, orders)
        return gradient.reshape(responses.shape)

    def _by_channel(self, i, lines):
        """Values and coefficients in standard deviations, each ``(c, n, places)``: what is sorted together lies together.

        One product gives both, the values by the identity, line by line: no copy turns channels and places round as quickly,
        and larger products would be shared among threads, which wait for one another on a busy machine.
        """
        axes = (self.components_[i] / self.spreads_[i]).T
        matrix = np.concatenate([np.eye(len(axes)), axes]).astype(np.float32)
        both = np.empty((len(matrix), *lines.shape[:3]), np.float32)
        np.matmul(matrix, lines.transpose(0, 1, 3, 2), out=both.transpose(1, 2, 0, 3))
        values, coefficients = both.reshape(2, len(axes), len(lines), -1)
        coefficients -= (axes @ self.means_[i]).astype(np.float32)[:, None, None]
        return values, coefficients


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


def _lines(responses):
    """Responses ``(n, ..., c)`` as ``(n, lines, places of a line, c)``."""
    return responses.reshape(len(responses), -1, *(1, *responses.shape[1:])[-2:])


def _cacheable(responses):
    """Slices of images whose responses fit into a core's cache: they are read again and again."""
    return gen_batches(len(responses), max(1, _CACHE_SIZE // responses[0].nbytes))


def _order_statistics(values):
    """Minimum, maximum and quartiles over the places, each ``(c, n)``."""
    lowest, (above, ordered) = values.min(axis=2), _sorted_above(values)
    statistics = [lowest, values.max(axis=2)]
    for ranks in _quartile_ranks(values.shape[2]):
        quartile = lowest.copy()
        quartile[above] = sum(np.float32(weight) * ordered[:, rank] for rank, weight in ranks)
        statistics.append(quartile)
    return statistics


def _add_order_statistics(gradient, values, cotangents):
    """Their gradient goes to the places where they are attained, of equal ones to the first.

    ``gradient`` is ``(n, places, c)`` and is added to.
    """
    lowest, (above, ordered) = values.argmin(axis=2), _sorted_above(values)
    channels, images = np.indices(lowest.shape)
    attained = [[(lowest, 1.0)], [(values.argmax(axis=2), 1.0)]]
    for ranks in _quartile_ranks(values.shape[2]):
        attained.append([(lowest.copy(), weight) for _, weight in ranks])
        for (place, _), (rank, _) in zip(attained[-1], ranks, strict=True):
            place[above] = (values[above] == ordered[:, rank, None]).argmax(axis=1)
    for places, cotangent in zip(attained, cotangents, strict=True):
        for place, weight in places:
            gradient[images, place, channels] += np.float32(weight) * cotangent


def _sorted_above(values):
    """Which channels of which images ``(c, n)`` have a quartile above their minimum, and the sorted places of these alone.

    Behind a rectifier most channels are zero at most places of a face: they need no sorting.
    """
    last = _quartile_ranks(values.shape[2])[-1][-1][0]
    above = (values == values.min(axis=2, keepdims=True)).sum(axis=2) <= last
    return above, np.sort(values[above], axis=1)


def _quartile_ranks(n_places):
    """Each quartile as ``[(rank, weight), ...]`` of the sorted places; it lies between two ranks, as NumPy has it."""
    quartiles = []
    for share in _QUARTILES:
        below, part = divmod(share * (n_places - 1), 1)
        quartiles.append([(int(below), 1 - part), *([(int(below) + 1, part)] if part else [])])
    return quartiles
