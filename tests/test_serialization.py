"""Files of classifiers: what is saved comes back, nothing is half written, a stranger's file runs no code."""

import io
import json
import os
import signal
import threading
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

import smartbox
from smartbox import FaceClassifier
from smartbox import _serialization as serialization
from smartbox._packing import pack, refuse_code, unpack
from tests.doubles import small_network

SHAPE = (16, 12, 1)
X = np.random.default_rng(0).uniform(size=(4, *SHAPE)).astype(np.float32)


def face():
    return FaceClassifier.from_network(small_network(), classes=["ann", "bob", "cat", "dan", "eve"])


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "face.smartbox"
    face().save(path)
    return path


def rewrite(path, change):
    """Change the arrays of a saved file by ``change(arrays, header)``."""
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())
    change(arrays, header)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path.open("wb"), **arrays)


# There and back


def test_round_trip(saved):
    loaded = smartbox.load(str(saved))
    np.testing.assert_array_equal(loaded.logits(X), face().logits(X))
    assert loaded.classes_.tolist() == ["ann", "bob", "cat", "dan", "eve"]
    assert loaded.image_shape_ == SHAPE and loaded.network is loaded.network_
    assert loaded.fit(X, ["ann", "bob", "cat", "dan"]).network_ is loaded.network  # nothing to train


@pytest.mark.parametrize("labels", [[0, 1], [3, 7], [False, True], [1.0, 2.0], ["a", "b"]])
def test_labels_and_parameters_come_back(tmp_path, labels):
    trained = FaceClassifier(
        lambda shape, k: small_network(shape, k), epochs=np.int64(2), learning_rate=np.float32(0.5)
    )
    trained.fit(X, np.array(labels * 2)).save(tmp_path / "face.smartbox")
    loaded = smartbox.load(tmp_path / "face.smartbox")
    assert loaded.classes_.tolist() == labels and loaded.classes_.dtype.kind == np.array(labels).dtype.kind
    assert (loaded.epochs, loaded.learning_rate, loaded.history_) == (2, 0.5, trained.history_)


def test_every_stock_layer_that_a_network_is_made_of(tmp_path):
    inputs = keras.Input(SHAPE)
    x = layers.BatchNormalization()(layers.Rescaling(2.0, -1.0)(inputs))
    y = layers.PReLU()(layers.SeparableConv2D(4, 3, padding="same", pointwise_regularizer="l2")(x))
    x = layers.Dropout(0.3)(layers.concatenate([x, y]) / 2.0)
    x = layers.GlobalAveragePooling2D()(x)
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(3, activation="softmax", kernel_constraint="max_norm")])
    inner.compile("adam", loss="mse", metrics=["mae"])
    network = keras.Model(inputs, inner(x))
    network.compile("adam", loss="mse")
    original = FaceClassifier.from_network(network)
    original.save(tmp_path / "face.smartbox")
    network.save(tmp_path / "face.keras")
    for loaded in (
        smartbox.load(tmp_path / "face.smartbox"),
        FaceClassifier.from_network(tmp_path / "face.keras"),
    ):
        np.testing.assert_allclose(loaded.logits(X), original.logits(X), atol=1e-6)


def test_half_precision_saves_space_and_loads_as_float32(tmp_path, saved):
    serialization.save_face(face(), tmp_path / "half.smartbox", dtype=np.float16)
    loaded = smartbox.load(tmp_path / "half.smartbox")
    for half, full in zip(loaded.network_.get_weights(), face().network_.get_weights(), strict=True):
        np.testing.assert_array_equal(half, full.astype(np.float16).astype(np.float32))


def test_the_same_classifier_gives_the_same_bytes(tmp_path):
    one = face()
    one.save(tmp_path / "a")
    one.predict(X)
    one.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# Whole or not at all


def test_a_failing_write_leaves_the_old_file_alone(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(file, **arrays):
        file.write(b"half of")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space"):
        face().save(saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder is a folder: expected the name of a file"):
        face().save(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


def test_no_folder_to_write_into(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*make it first"):
        face().save(tmp_path / "missing" / "face.smartbox")


def test_file_mode_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        face().save(tmp_path / "face.smartbox")
    finally:
        os.umask(before)
    assert (tmp_path / "face.smartbox").stat().st_mode & 0o777 == 0o640


def test_labels_that_are_no_text_cannot_be_saved(tmp_path):
    dated = FaceClassifier.from_network(small_network(n_classes=2), classes=np.array(["2020", "2021"], dtype="M8[Y]"))
    with pytest.raises(ValueError, match=r"cannot save this classifier: date .*Labels must be text or numbers"):
        dated.save(tmp_path / "face.smartbox")
    assert not os.listdir(tmp_path)


def test_only_a_fitted_classifier_is_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        FaceClassifier().save(tmp_path / "face.smartbox")


# Other files


def test_no_file(tmp_path):
    for read in (smartbox.load, FaceClassifier.from_network):
        with pytest.raises(FileNotFoundError, match=r"no file at .*: expected"):
            read(tmp_path / "missing.keras")
        with pytest.raises(IsADirectoryError, match=r"is a folder: expected"):
            read(tmp_path)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"PK\x03\x04junk", npy(np.zeros(3)), bytes(1000)],
    ids=["empty", "junk", "head of a zip", "one array", "zeros"],
)
def test_junk_is_refused(tmp_path, content):
    path = tmp_path / "face.smartbox"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a face classifier .*FaceClassifier.save"):
        smartbox.load(path)


def test_damage_is_refused(saved):
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is not a face classifier"):
        smartbox.load(saved)
    middle = len(content) // 3
    saved.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    with pytest.raises(ValueError, match="is not a face classifier"):
        smartbox.load(saved)


def set_header(name, value):
    return lambda arrays, header: header.__setitem__(name, value)


def test_every_error_names_the_file(saved):
    for change in (set_header("network", "{"), set_header("classes", ["ann"]), set_header("parameters", {"epoch": 3})):
        face().save(saved)
        rewrite(saved, change)
        with pytest.raises(ValueError) as caught:
            smartbox.load(saved)
        assert str(saved) in str(caught.value)


def test_weights_of_nan_are_refused(saved):
    rewrite(saved, lambda arrays, header: arrays["weight0000"].fill(np.nan))
    with pytest.raises(ValueError, match=r"face.smartbox: the network returns NaN"):
        smartbox.load(saved)


def test_what_belongs_to_a_session_is_not_kept(saved):
    face().set_params(verbose=1, random_state=3, epochs=7).save(saved)
    loaded = smartbox.load(saved)
    assert (loaded.verbose, loaded.random_state, loaded.epochs) == (0, None, 7)
    assert smartbox.load_sample_model().verbose == 0


def nest(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_header("format", "smartbox-face-9"), "its format is 'smartbox-face-9'"),
        (lambda arrays, header: header.pop("format"), "is not a face classifier"),
        (lambda arrays, header: header.pop("network"), "its header lacks network"),
        (set_header("network", "{"), "cannot rebuild the network"),
        (set_header("network", nest(100_000)), "cannot rebuild the network"),
        (set_header("network", "3"), "cannot rebuild the network|not of a keras.Model"),
        (set_header("network", '{"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}}'),
         "of a Dense, not of a keras.Model"),
        (set_header("network", '{"module": "keras", "class_name": "Sequential", "config": {"layers": 7}}'),
         "cannot rebuild the network"),
        (set_header("classes", ["ann"]), "5 distinct labels"),
        (set_header("parameters", {"epoch": 3}), "Invalid parameter 'epoch'"),
        (set_header("parameters", [1]), r"its parameters is .\[1\]"),
        (set_header("classes", "abcde"), "its classes is 'abcde'"),
        (set_header("history", 3), "its history is .3"),
        (lambda arrays, header: arrays.pop("weight0007"), "weights do not fit the network: expected shapes"),
        (lambda arrays, header: arrays.pop("weight0002"), "is not a face classifier"),
        (lambda arrays, header: arrays.update(weight0000=np.zeros((3, 3))), r"weights do not fit.*\(3, 3\)"),
        (lambda arrays, header: arrays.update(weight0000=np.full((3, 3, 1, 4), "a")), "no numbers but <U1"),
        (lambda arrays, header: arrays.update(weight0000=np.array([{"a": 1}], dtype=object)), "pickle"),
    ],
)  # fmt: skip
def test_wrong_content_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ValueError, match=message):
        smartbox.load(saved)


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "face.smartbox"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weight0000.npy", bytes(serialization._ALWAYS_ALLOWED + 1))
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match=f"would unpack to {serialization._ALWAYS_ALLOWED + 1}, more than"):
        smartbox.load(path)
    path = path.rename(tmp_path / "face.keras")
    with pytest.raises(ValueError, match="would unpack to"):
        FaceClassifier.from_network(path)


def test_an_array_that_claims_to_be_huge_is_refused(saved):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**45,)})
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in (members | {"weight0000.npy": header.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="is not a face classifier"):
        smartbox.load(saved)


# Configurations that could run code


@keras.saving.register_keras_serializable("strangers")
class Custom(layers.Layer):
    def call(self, x):
        raise AssertionError("code of a stranger ran")


def layer(class_name, module="keras.layers", registered_name=None, **config):
    return {"module": module, "class_name": class_name, "config": config, "registered_name": registered_name}


DANGEROUS = {
    "Lambda": layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}),
    "Lambda by its file": layer("Lambda", module="keras.src.layers.core.lambda_layer"),
    "Lambda, old style": {"class_name": "Lambda", "config": {}},
    "registered": layer("Custom", module=None, registered_name="strangers>Custom"),
    "registered under a stock name": layer("Dense", registered_name="strangers>Custom"),
    "another package": layer("Popen", module="subprocess", args="true"),
    "TorchModuleWrapper": layer("TorchModuleWrapper", module="gAJ9Lg=="),
    "TFSMLayer": layer("TFSMLayer", filepath="/somewhere", call_endpoint="serve"),
    "a vocabulary from a file": layer("StringLookup", vocabulary="/etc/hostname"),
    "builtins": {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "function",
    },
    "a stock function by name": {"module": "keras.models", "class_name": "function", "config": "load_model"},
    "a module that begins alike": layer("Thing", module="keras.layersevil"),
    "a module behind a stock one": layer("Thing", module="keras.src.layers; import os"),
    "utilities": layer("get_file", module="keras.utils"),
    "in an activation": layer("Dense", units=3, activation={"class_name": "__lambda__", "config": {}}),
    "deep inside": layer("TimeDistributed", layer=layer("Bidirectional", layer=[[layer("Lambda")]])),
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_code_in_a_configuration_is_refused(saved, name):
    with pytest.raises(ValueError, match="can run code or read files: expected Keras' own layers only"):
        refuse_code(DANGEROUS[name])

    def add_layer(arrays, header):
        network = json.loads(header["network"])
        network["config"]["layers"].insert(1, DANGEROUS[name])
        header["network"] = json.dumps(network)

    rewrite(saved, add_layer)
    with pytest.raises(ValueError, match="can run code"):
        smartbox.load(saved)


def test_custom_layers_are_for_trusted_networks_only():
    config, weights = pack(keras.Sequential([keras.Input((2,)), layers.Dense(2), layers.Lambda(keras.ops.tanh)]))
    with pytest.raises(ValueError, match="can run code"):
        unpack(config, weights, trusted=False)
    assert [weight.shape for weight in unpack(config, weights).get_weights()] == [(2, 2), (2,)]


def test_custom_layers_cannot_be_saved_for_strangers(tmp_path):
    network = keras.Sequential([small_network(), layers.Lambda(keras.ops.tanh)])
    network.build((None, *SHAPE))
    with pytest.raises(ValueError, match=r"cannot save .*Lambda, .*face.network_.save\('name.keras'\)"):
        FaceClassifier.from_network(network).save(tmp_path / "face.smartbox")
    assert not os.listdir(tmp_path)


# Configurations that would fill the memory


def enlarged(config, name):
    """A configuration in which the number called ``name`` is 10**9 everywhere."""
    if isinstance(config, dict):
        return {key: 10**9 if key == name and value else enlarged(value, name) for key, value in config.items()}
    return [enlarged(value, name) for value in config] if isinstance(config, list) else config


def with_side(config):
    return json.loads(json.dumps(config).replace("[null, 16, 12, 1]", "[null, 16000, 12000, 1]"))


ENLARGE = {
    "units": lambda config: enlarged(config, "units"),
    "filters": lambda config: enlarged(config, "filters"),
    "images": with_side,
}


@pytest.mark.parametrize("name", ENLARGE)
def test_a_configuration_that_declares_more_weights_than_there_are(tmp_path, saved, name):
    small_network().save(tmp_path / "face.keras")
    with zipfile.ZipFile(tmp_path / "face.keras") as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members["config.json"] = json.dumps(ENLARGE[name](json.loads(members["config.json"])))
    (tmp_path / "face.keras").write_bytes(zipped(members))
    rewrite(
        saved, lambda arrays, header: header.update(network=json.dumps(ENLARGE[name](json.loads(header["network"]))))
    )
    for read, path in ((smartbox.load, saved), (FaceClassifier.from_network, tmp_path / "face.keras")):
        with pytest.raises(
            ValueError, match=r"declares more than the \d+ values|incompatible with the layer"
        ) as caught:
            read(path)
        assert str(path) in str(caught.value)


# .keras files


def test_a_stock_keras_file_is_loaded(tmp_path):
    network = small_network()
    network.compile("adam", loss="sparse_categorical_crossentropy")
    network.save(tmp_path / "face.keras")
    for path in (tmp_path / "face.keras", str(tmp_path / "face.keras")):
        loaded = FaceClassifier.from_network(path, classes=list("abcde"))
        np.testing.assert_array_equal(loaded.logits(X), FaceClassifier.from_network(network).logits(X))


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


STOCK = json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": []}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"junk", "is not a .keras archive"),
        (zipped({"other.json": "{}"}), "is not a .keras archive .*config.json"),
        (zipped({"config.json": "{"}), "is not a .keras archive"),
        (zipped({"config.json": "[1]"}), "is not a .keras archive"),
        (zipped({"config.json": nest(100_000)}), "is not a .keras archive"),
        (zipped({"config.json": STOCK, "metadata.json": "{}"}), "Keras cannot load"),
    ],
)
def test_other_keras_files_are_refused(tmp_path, content, message):
    path = tmp_path / "face.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        FaceClassifier.from_network(path)


@pytest.mark.parametrize("make", [lambda: layers.Lambda(lambda x: x * 2), Custom], ids=["Lambda", "custom class"])
def test_code_in_a_keras_file_is_refused_before_keras_sees_it(tmp_path, monkeypatch, make):
    network = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(2)])
    network.save(tmp_path / "face.keras")
    with zipfile.ZipFile(tmp_path / "face.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"].append(keras.saving.serialize_keras_object(make()))
    (tmp_path / "face.keras").write_bytes(zipped(members | {"config.json": json.dumps(config)}))
    monkeypatch.setattr(keras.saving, "load_model", lambda *args, **kwargs: pytest.fail("Keras was asked"))
    with pytest.raises(ValueError, match="can run code"):
        FaceClassifier.from_network(tmp_path / "face.keras")


@pytest.mark.parametrize("name", ["face.h5", "face.zip", "face"])
def test_other_endings_are_refused_since_keras_reads_by_the_ending(tmp_path, name):
    (tmp_path / name).write_bytes(zipped({"config.json": STOCK}))
    with pytest.raises(ValueError, match=r"name ends in .keras, got face"):
        FaceClassifier.from_network(tmp_path / name)


def test_other_objects_are_no_networks():
    for thing in (None, 3, FaceClassifier()):
        with pytest.raises(ValueError, match=r"expected a keras.Model or the path of a .keras file, got"):
            FaceClassifier.from_network(thing)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_signals_wait_for_what_belongs_together():
    steps, usual = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), serialization.undisturbed():
        steps.append("begun")
        signal.raise_signal(signal.SIGINT)
        steps.append("ended")
    assert steps == ["begun", "ended"] and signal.getsignal(signal.SIGINT) is usual


def test_other_threads_get_no_signals_anyway():
    steps = []

    def work():
        with serialization.undisturbed():
            steps.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert steps == ["done"]


def test_an_interrupt_after_the_renaming_is_an_interrupt(tmp_path, monkeypatch):
    replace = os.replace

    def interrupted(*arguments):
        replace(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), serialization.atomic_file(tmp_path / "a") as file:
        file.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
