"""A reader of the one dlib network file that is converted here, written from what its bytes hold.

A number is a byte that says how many bytes follow (its top bit is the sign) and these bytes, lowest first. A float is a
mantissa and a power of 2, both such numbers. Text is its length and its bytes; a flag is the letter 0 or 1; a tensor is its
version, its four sizes and raw little-endian float32.
"""

import numpy as np

_TENSOR_VERSION = 2
# How many numbers a layer without weights keeps: the size of its window, its strides and its padding.
_SETTINGS = {"relu_": 0, "add_prev_": 0, "max_pool_2": 6, "avg_pool_2": 6}
_DEEPEST = 3  # versions of nested layers are 1 to 3; the first number above is the length of the input's name


def read_layers(content):
    """The layers of a dlib residual network in the order that an image meets them.

    Parameters
    ----------
    content : bytes
        A file of ``dlib::serialize``: a metric loss around convolutions, affine maps, poolings, sums and one dense layer.

    Returns
    -------
    offset : ndarray of shape (3,)
        Mean of the red, green and blue channel, of pixels in [0, 255].
    layers : list of dict
        ``kind``, and for "con_4" the ``kernel`` (out, in, height, width), ``bias`` and ``stride``; for "affine_" the ``gain``
        and ``shift``; for "fc_2" the ``kernel`` (in, out).

    Raises
    ------
    ValueError
        If the bytes are something else, end early or go on.
    """
    reader = _Reader(content)
    try:
        return _read(reader)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"the file is damaged at byte {reader.at} of {len(content)}: {error}") from error


def _read(reader):
    reader.integers(1)  # version
    reader.expect("loss_metric_2")
    reader.floats(2)  # margin and distance threshold of the training
    nested = reader.integers(1)[0]
    while nested <= _DEEPEST:
        nested = reader.integers(1)[0]
    reader.expect("input_rgb_image_sized", length=nested)
    offset = np.array(reader.floats(3))
    reader.integers(2)  # height and width
    layers = [_read_layer(reader)]
    reader.integers(1)  # images made of each one; only the layer that wraps the input keeps it
    while not reader.finished():
        layers.append(_read_layer(reader))
    return offset, layers


def _read_layer(reader):
    kind = reader.text()
    if kind == "con_4":
        layer = _read_convolution(reader)
    elif kind == "affine_":
        gain, shift = np.split(reader.tensor().ravel(), 2)
        reader.alias(), reader.alias(), reader.integers(1)
        layer = {"gain": gain, "shift": shift}
    elif kind == "fc_2":
        reader.integers(2)  # how many outputs and inputs
        weights = reader.tensor()
        kernel, _ = reader.alias(), reader.alias()
        reader.integers(1), reader.floats(4)  # whether there is a bias (there is none), and learning rates
        layer = {"kernel": weights.reshape(kernel[:2])}
    elif kind in _SETTINGS:
        reader.integers(_SETTINGS[kind])
        layer = {}
    else:
        raise ValueError(f"expected one of the layers of a residual network, got {kind!r} before byte {reader.at}.")
    for _ in range(3):
        reader.flag()
    for _ in range(3):
        reader.tensor()  # of the training; empty in a file
    return {"kind": kind, **layer}


def _read_convolution(reader):
    weights = reader.tensor().ravel()
    _, _, _, stride, _, _, _ = reader.integers(7)  # filters, window, strides, padding
    kernel, bias = reader.alias(), reader.alias()
    reader.floats(4)  # learning rates
    n_kernel, n_bias = np.prod(kernel), np.prod(bias)
    if len(weights) != n_kernel + n_bias:
        raise ValueError(f"expected {n_kernel + n_bias} weights of a convolution, got {len(weights)}.")
    return {"kernel": weights[:n_kernel].reshape(kernel), "bias": weights[n_kernel:], "stride": stride}


class _Reader:
    def __init__(self, content):
        self.content, self.at = content, 0

    def finished(self):
        return self.at == len(self.content)

    def take(self, count):
        taken = self.content[self.at : self.at + count]
        if len(taken) < count:
            raise IndexError(f"expected {count} bytes more, got {len(taken)}")
        self.at += count
        return taken

    def integers(self, count):
        found = []
        for _ in range(count):
            head = self.take(1)[0]
            size = int.from_bytes(self.take(head & 0x0F), "little")
            found.append(-size if head & 0x80 else size)
        return found

    def floats(self, count):
        pairs = [self.integers(2) for _ in range(count)]
        return [mantissa * 2.0**power for mantissa, power in pairs]

    def text(self, length=None):
        return self.take(self.integers(1)[0] if length is None else length).decode("ascii")

    def expect(self, wanted, **length):
        came = self.text(**length)
        if came != wanted:
            raise ValueError(f"expected {wanted!r} before byte {self.at} of a dlib network, got {came!r}.")

    def flag(self):
        if self.take(1) not in b"01":
            raise ValueError(f"expected a flag, 0 or 1, before byte {self.at}.")

    def alias(self):
        """The four sizes of a part of a layer's weights."""
        _, *sizes = self.integers(5)
        return sizes

    def tensor(self):
        version, *sizes = self.integers(5)
        if version != _TENSOR_VERSION:
            raise ValueError(f"expected tensor version {_TENSOR_VERSION} before byte {self.at}, got {version}.")
        return np.frombuffer(self.take(4 * int(np.prod(sizes))), dtype="<f4").reshape(sizes)
