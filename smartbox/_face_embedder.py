"""Faces as points: the embedding of a Keras network, with its gradient."""

import functools
from importlib.resources import files
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.utils import gen_batches

from smartbox._compat import Interval
from smartbox._crop import Crop
from smartbox._embedder_layers import EmbedderLayers, past_length
from smartbox._packing import is_network, pack_state, unpack_state
from smartbox.base import StatelessTransformer

_BUILT_IN = "dlib_resnet_v1"
_BUILT_IN_CROP = 1.4  # of the Extended Yale B crops, which show as much of a face as a detector's box does
_SMALLEST_NORM = 1e-12


class FaceEmbedder(EmbedderLayers, StatelessTransformer):
    """Each face as a point on the unit sphere, where faces of one person lie together.

    Parameters
    ----------
    network : "dlib_resnet_v1" or keras.Model, default="dlib_resnet_v1"
        What makes the embedding. The default comes with the package: dlib's residual network [1]_, 128 numbers a face. A
        keras.Model, with one image input in [0, 1] and one output of a row of numbers a face, is shared with clones, never
        copied; a final softmax is left out.
    batch_size : int, default=64
        Faces in one pass through the network.
    crop : float or None, default=None
        The network sees the part about the middle of each image that is ``crop`` times as wide as the image (square, if the
        network's input is), bilinear and with repeated edges. None means 1.4 for the network that comes with the package,
        which wants some room around a face, and 1 for others; but images of the network's own size go in as they are.

    See Also
    --------
    smartbox.FaceGallery : Recognises people by such points.
    smartbox.datasets.align_faces : Brings eyes to fixed places.

    Notes
    -----
    Grey images serve colour networks and the other way round (ITU-R 601 luma). Crop, colour and length 1 have exact gradients,
    so that attacks reach the user's pixels. A face's embedding depends on neither its batch nor its place, to the bit. Where
    `network` came from, its licence (CC0) and what it was trained on: ``smartbox/data/dlib_resnet_v1.md``.

    References
    ----------
    .. [1] King. "Dlib-ml: A Machine Learning Toolkit", JMLR 10, 2009; network and weights: "High Quality Face Recognition with
       Deep Metric Learning", blog.dlib.net, 2017.
    .. [2] Schroff, Kalenichenko, Philbin. "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015.

    Examples
    --------
    >>> import smartbox
    >>> from smartbox.datasets import make_faces
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn.svm import SVC
    >>> faces = make_faces(n_identities=3, n_images=4)
    >>> smartbox.FaceEmbedder().transform(faces.images).shape
    (12, 128)
    >>> pipeline = make_pipeline(smartbox.FaceEmbedder(), StandardScaler(), SVC()).fit(faces.images, faces.target)
    >>> pipeline.predict(faces.images).shape
    (12,)
    """

    _parameter_constraints = {
        "network": "no_validation",
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "crop": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(self, network=_BUILT_IN, *, batch_size=64, crop=None):
        self.network = network
        self.batch_size = batch_size
        self.crop = crop

    def transform(self, X):
        """The embedding of each face.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1], grey or colour, of any size.

        Returns
        -------
        embeddings : ndarray of shape (n, n_outputs), float32
            Of l2 norm 1, so that products are cosines.

        Raises
        ------
        ValueError
            If the network is none, or images of this size or number of channels do not fit it.
        """
        X, crop, engine = self._ready(X)
        return self._unit(self._outputs(X, crop, engine))[0]

    def vjp(self, X):
        """The embedding of each face and the way back.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Images in [0, 1].

        Returns
        -------
        embeddings : ndarray of shape (n, n_outputs)
            As `transform`.
        pull_back : callable
            Takes the gradient of a value by the embeddings, ``(n, n_outputs)``, to that by the images, or those of several
            values, ``(n, count, n_outputs)``, to ``(n, count, height, width, channels)``. It passes the network again, batch
            by batch, rather than hold all activations.
        """
        X, crop, engine = self._ready(X)
        embeddings, norms = self._unit(self._outputs(X, crop, engine))

        def pull_back(cotangents):
            several = cotangents.ndim == 3
            unit, length = (part[:, None] if several else part for part in (embeddings, norms))
            by_output = past_length(unit, length, cotangents)
            gradient = np.empty((*cotangents.shape[:-1], *X.shape[1:]), dtype=np.float32)
            for batch in gen_batches(len(X), self.batch_size):
                back = (engine.vjps if several else engine.vjp)(crop(X[batch]), by_output[batch])
                gradient[batch] = crop.pull_back(back.reshape(-1, *back.shape[-3:])).reshape(gradient[batch].shape)
            return gradient

        return embeddings, pull_back

    def _outputs(self, X, crop, engine):
        batches = gen_batches(len(X), self.batch_size)
        return np.concatenate([engine.logits(crop(X[batch])) for batch in batches])

    def _ready(self, X):
        """The checked images, their crop and the compiled network."""
        self._validate_params()
        X = self._check_images(X)
        engine = self._compiled()
        return X, self._crop(X.shape[1:], engine.image_shape), engine

    @staticmethod
    def _unit(outputs):
        """Rows of length 1, and the lengths that they had."""
        norms = np.maximum(np.sqrt(np.square(outputs).sum(axis=1, keepdims=True)), np.float32(_SMALLEST_NORM))
        return outputs / norms, norms

    def _network(self):
        if is_network(self.network):
            return self.network
        if isinstance(self.network, str) and self.network == _BUILT_IN:
            return _built_in()
        came = repr(self.network) if isinstance(self.network, str) else type(self.network).__name__
        raise ValueError(f"expected network as {_BUILT_IN!r} or a keras.Model, got {came}.")

    def _crop(self, image_shape, network_shape):
        if image_shape[2] != network_shape[2] and {image_shape[2], network_shape[2]} != {1, 3}:
            raise ValueError(
                f"expected images of {network_shape[2]} channels, as the network takes them, got {image_shape[2]}: only grey "
                "and colour are brought to each other."
            )
        own_size = all(side in (None, came) for side, came in zip(network_shape[:2], image_shape[:2], strict=True))
        if self.crop is None and own_size:
            return Crop(image_shape, network_shape, None)
        if None in network_shape[:2]:
            raise ValueError(
                f"expected images of height and width {network_shape[:2]}, got {image_shape[:2]} and crop={self.crop}: a network "
                "without a fixed size has nothing to crop to; leave crop at None, or fix it by keras.Input((height, width, "
                "channels))."
            )
        default = 1.0 if is_network(self.network) else _BUILT_IN_CROP
        return Crop(image_shape, network_shape, default if self.crop is None else float(self.crop))

    def __sklearn_clone__(self):
        """A given network is shared: no Keras model is copied behind the user's back."""
        return type(self)(
            **{
                name: value if name == "network" else clone(value, safe=False)
                for name, value in self.get_params(deep=False).items()
            }
        )

    def __getstate__(self):
        return pack_state(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(unpack_state(state))


@functools.cache
def _built_in():
    """The network that comes with the package, one for all."""
    from smartbox import load

    return load(files("smartbox") / "data" / f"{_BUILT_IN}.smartbox").network_
