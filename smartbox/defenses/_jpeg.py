"""JPEG compression."""

from io import BytesIO
from numbers import Integral

import numpy as np
from PIL import Image

from smartbox._compat import Interval
from smartbox.base import BaseDefense

_CHANNELS = (1, 3)


class JPEGCompression(BaseDefense):
    """Write each image as a JPEG file in memory, and read it back.

    Parameters
    ----------
    quality : int, default=75
        From 1, coarse, to 95, nearly lossless; 100 leaves out parts of the format. 30 to 90 are usual.

    Notes
    -----
    Pixels are rounded to 8 bits first. Grey images are coded as such; colour ones with the codec's usual halved
    resolution of colour. The codec is Pillow's: builds differ by a grey level or two. Its true gradient is zero almost
    everywhere; the identity stands in for it (BPDA [3]_).

    References
    ----------
    .. [1] Das, Shanbhogue, Chen, Hohman, Chen, Kounavis, Chau. "Keeping the Bad Guys Out: Protecting and Vaccinating
       Deep Learning with JPEG Compression", arXiv:1705.02900, 2017.
    .. [2] Guo, Rana, Cissé, van der Maaten. "Countering Adversarial Images Using Input Transformations", ICLR 2018 (the
       quality of 75).
    .. [3] Athalye, Carlini, Wagner. "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.1.

    Examples
    --------
    >>> from smartbox.datasets import make_faces
    >>> from smartbox.defenses import JPEGCompression
    >>> faces = make_faces(n_identities=2, n_images=2)
    >>> JPEGCompression(quality=50).transform(faces.images).shape
    (4, 96, 84, 1)
    """

    bpda = True
    _parameter_constraints = {"quality": [Interval(Integral, 1, 100, closed="both")]}

    def __init__(self, *, quality=75):
        self.quality = quality

    def _check_images(self, X, *, reset=False):
        X = super()._check_images(X, reset=reset)
        if X.shape[3] not in _CHANNELS:
            raise ValueError(f"expected images of 1 (grey) or 3 (colour) channels for JPEG, got {X.shape[3]}.")
        return X

    def _apply(self, X, draw):
        grey_levels = np.rint(X * np.float32(255)).astype(np.uint8)
        # The codec takes one image at a time.
        return np.stack([self._recoded(image) for image in grey_levels]) / np.float32(255)

    def _recoded(self, image):
        file = BytesIO()
        picture = image[..., 0] if image.shape[2] == 1 else image
        Image.fromarray(picture).save(file, format="JPEG", quality=int(self.quality))
        return np.asarray(Image.open(file)).reshape(image.shape)
