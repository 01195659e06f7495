"""Files of detectors, defences and Pipelines: what is shared stays shared, and a stranger's file runs no code."""

import io
import json
import os
import pickle
import re
import zipfile

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

import smartbox
from smartbox import FaceClassifier
from smartbox._serialization import _ALWAYS_ALLOWED
from smartbox._trusted import class_name, find_class
from smartbox.attacks import FGSM
from smartbox.defenses import GaussianBlur
from smartbox.detectors import (
    ArtifactDetector,
    BinaryInputDetector,
    ConvFilterStatistics,
    FeatureSqueezingDetector,
    LayerDifferenceDetector,
    NetworkActivations,
    PCADetector,
)
from smartbox.estimator_checks import example_images
from tests.doubles import NumpyModel, small_network

X = example_images(n=40)
y = np.arange(40) % 2


@pytest.fixture
def face():
    return FaceClassifier.from_network(small_network(), classes=["ann", "bob", "cat", "dan", "eve"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "estimator.smartbox"


def there_and_back(estimator, path):
    smartbox.save(estimator, path)
    return smartbox.load(path)


def rewrite(path, change):
    """Change the header and the arrays of a saved file by ``change(header, arrays)``."""
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("header").tobytes())
    change(header, arrays)
    with path.open("wb") as file:
        np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


# There and back


def test_a_network_that_parts_share_is_saved_once_and_stays_one(face, path, tmp_path):
    detector = LayerDifferenceDetector(face).fit(X, y)
    defended = Pipeline([("blur", GaussianBlur()), ("face", FrozenEstimator(face))])
    attack = FGSM(clone(face))  # another object around the same network
    whole = Pipeline([("blur", GaussianBlur()), ("attack", attack), ("detector", detector)])
    loaded = there_and_back(whole, path)
    with np.load(path) as file:
        n_weights = sum(name.startswith("weight") for name in file.files)
    assert n_weights == len(face.network_.get_weights())
    inside = loaded["detector"]
    assert inside.model is inside.features_.model and inside.model.network_ is inside.model.network
    assert loaded["attack"].model is not inside.model
    assert loaded["attack"].model.network_ is inside.model.network_
    np.testing.assert_array_equal(inside.decision_function(X), detector.decision_function(X))
    again = there_and_back(defended, path)
    np.testing.assert_array_equal(again.predict(X), defended.predict(X))
    assert smartbox.as_face_model(again).classes_.tolist() == face.classes_.tolist()


def test_a_pipeline_of_scikit_learn_parts(face, path):
    steps = NetworkActivations(face, layers=["dense1"]), StandardScaler(), PCA(3, random_state=0)
    pipeline = make_pipeline(*steps, FunctionTransformer(np.abs), SVC(), memory="cache").fit(X, y)
    loaded = there_and_back(pipeline, path)
    np.testing.assert_array_equal(loaded.decision_function(X), pipeline.decision_function(X))
    assert loaded.memory is None and not os.path.exists(path.parent / "cache")


def test_a_model_behind_defences_and_a_detector(face, path):
    detector = PCADetector(n_components=3, random_state=0).fit(X, y)
    guarded = smartbox.as_face_model(make_pipeline(GaussianBlur(), face), detector=detector)
    loaded = there_and_back(FGSM(guarded, eps=0.1), path)
    np.testing.assert_array_equal(loaded.model.logits(X), guarded.logits(X))


@pytest.mark.parametrize("components", ["leading", "trailing"])
def test_truncated_components_keep_their_last_bits(path, components):
    detector = PCADetector(n_components=3, components=components, random_state=0).fit(X, y)
    expected = detector.decision_function(X)
    np.testing.assert_array_equal(there_and_back(detector, path).decision_function(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(detector)).decision_function(X), expected)
    assert detector.pca_.components_.flags.forc


def test_a_random_state_goes_on_where_it_was(path):
    rng = np.random.RandomState(3)
    rng.normal(size=7)
    loaded = there_and_back(PCADetector(n_components=3, random_state=rng).fit(X, y), path)
    np.testing.assert_array_equal(loaded.random_state.normal(size=9), rng.normal(size=9))


def test_values_keep_their_types(path):
    detector = FeatureSqueezingDetector.__new__(FeatureSqueezingDetector)
    values = {
        "a": np.float32(0.1), "b": np.int64(2**62), "c": (1, [2.5, (None, True)]), "d": {1: "x", "y": {}}, "e": slice(1, None),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "g": float("inf"), "h": np.array(["ann", "bob"]),
        "i": np.float64(np.pi), "j": np.zeros((0, 3)), "k": np.bool_(True),
    }  # fmt: skip
    detector.__dict__.update(FeatureSqueezingDetector(None).get_params(), threshold_=np.nan, **values)
    loaded = there_and_back(detector, path)
    for name, value in values.items():
        came = getattr(loaded, name)
        assert type(came) is type(value)
        np.testing.assert_equal(came, value)
    assert loaded.f.flags.f_contiguous and loaded.a.dtype == np.float32 and np.isnan(loaded.threshold_)


def test_what_trained_a_network_is_named_but_not_kept(path):
    def two(image_shape, n_classes):
        return small_network(image_shape, n_classes)

    estimator = FaceClassifier(two, epochs=1, optimizer=keras.optimizers.Adam(0.01))
    detector = BinaryInputDetector(estimator, random_state=0).fit(X, y)
    loaded = there_and_back(detector, path)
    np.testing.assert_array_equal(loaded.decision_function(X), detector.decision_function(X))
    with pytest.raises(ValueError, match=r"expected network as one of .*'<two, which no file holds>'"):
        loaded.fit(X, y)


def test_attacks_are_kept_without_their_report(face, path):
    attack = FGSM(face, eps=0.2)
    expected = attack.generate(X)
    loaded = there_and_back(attack, path)
    assert not hasattr(loaded, "report_")
    np.testing.assert_array_equal(loaded.generate(X), expected)


def test_save_is_a_method_too(face, path, tmp_path):
    for estimator in (face, GaussianBlur(sigma=0.5), ConvFilterStatistics(face).fit(X)):
        estimator.save(path)
        smartbox.save(estimator, tmp_path / "other")
        assert path.read_bytes() == (tmp_path / "other").read_bytes()
        assert type(smartbox.load(path)) is type(estimator)


def test_a_pickle_and_a_file_of_it_agree(face, path):
    detector = ArtifactDetector(face, hidden_layer_sizes=(8,), random_state=0).fit(X, y)
    smartbox.save(pickle.loads(pickle.dumps(detector)), path)
    np.testing.assert_array_equal(smartbox.load(path).decision_function(X), detector.decision_function(X))


# What cannot be saved


class Foreign(GaussianBlur):
    pass


def no_ufunc(X):
    return X


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (Foreign(), r"cannot save this Foreign: it is a tests.test_persistence.Foreign"),
        (FGSM(NumpyModel()), r"cannot save this FGSM.model: it is a tests.doubles.NumpyModel"),
        (make_pipeline(FunctionTransformer(no_ufunc)), r"steps\[0\]\[1\].func: it is a function"),
        (make_pipeline(IsolationForest().fit([[0], [1]])), r"steps\[0\]\[1\]: it is a sklearn.*IsolationForest"),
        (GaussianBlur(sigma=np.array([{}], dtype=object)), r"GaussianBlur.sigma: it is an array of object"),
    ],
)
def test_what_load_would_refuse_is_not_saved(path, estimator, words):
    with pytest.raises(ValueError, match=f"{words}.*joblib.dump"):
        smartbox.save(estimator, path)
    assert not os.listdir(path.parent)


def test_unfitted_or_no_estimators(path):
    with pytest.raises(ValueError, match="not fitted"):
        PCADetector().save(path)
    with pytest.raises(ValueError, match="expected a fitted estimator"):
        smartbox.save(3, path)


def test_networks_with_code_are_not_saved(path):
    network = keras.Sequential([small_network(), keras.layers.Lambda(keras.ops.tanh)])
    network.build((None, *X.shape[1:]))
    detector = NetworkActivations(FaceClassifier.from_network(network), layers=["<logits>"]).fit(X)
    with pytest.raises(ValueError, match=r"model.network_: its network holds .*Lambda"):
        detector.save(path)


# Strangers' files


@pytest.fixture
def saved(face, path):
    LayerDifferenceDetector(face).fit(X, y).save(path)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "builtins.eval", "subprocess.Popen", "smartbox.__main__.main", "smartbox.cli.main",
        "smartbox.base.BaseEstimator", "smartbox._flatten.Builder", "smartbox.detectors._pca.LinearSVC", "smartbox.os",
        "smartbox.nothing.Thing", "sklearn.ensemble.RandomForestClassifier", "sklearn.neighbors.KernelDensity",
        "smartbox.detectors.mmd_test", "antigravity.Thing", "smartbox.detectors.PCADetector.__init__", "",
        "sklearn.utils._bunch.Bunch", "numpy.load", "keras.layers.Lambda",
    ],
)  # fmt: skip
def test_foreign_classes_are_refused(saved, name):
    assert find_class(name) is None
    rewrite(saved, lambda header, arrays: header["objects"][0].__setitem__(0, name))
    with pytest.raises(ValueError, match="none of the classes that such files may hold"):
        smartbox.load(saved)


def test_names_are_those_that_users_know():
    assert class_name(PCADetector) == "smartbox.detectors.PCADetector" and class_name(SVC) == "sklearn.svm.SVC"
    assert class_name(Foreign) is None and class_name(dict) is None


def find(header, name):
    """State of the first object of a class."""
    return next(state for one, state in header["objects"] if one == name)


def set_state(name, attribute, value):
    return lambda header, arrays: find(header, name).__setitem__(attribute, value)


def larger_array(header, arrays):
    """An array of the SVC that promises more support vectors than there are."""
    place = find(header, "sklearn.svm.SVC")["support_"]["array"]
    arrays[f"array{place:04d}"] = np.arange(10_000, dtype=np.int32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, arrays: header.__setitem__("format", "smartbox-estimator-9"), "its format is 'smartbox-estimator-9'"),
        (lambda header, arrays: header.pop("objects"), "is not a face classifier or another estimator"),
        (lambda header, arrays: header.__setitem__("root", {"object": 99}), "list index out of range"),
        (lambda header, arrays: header.__setitem__("root", {"object": -1}), "got -1"),
        (lambda header, arrays: header.__setitem__("root", {"eval": "1"}), "eval"),
        (lambda header, arrays: header.__setitem__("root", {"ufunc": "load"}), "names a function 'load'"),
        (lambda header, arrays: header.__setitem__("root", {"scalar": ["load", "file"]}), "number of type 'load'"),
        (lambda header, arrays: header.__setitem__("networks", header["networks"] * 9), "networks have 72 weights"),
        (lambda header, arrays: header["networks"][0].__setitem__(1, -3), "got -3"),
        (lambda header, arrays: arrays.pop("weight0003"), "weight"),
        (lambda header, arrays: arrays.update(weight0000=np.zeros((3, 3))), "weights do not fit the network"),
        (lambda header, arrays: arrays.update(array0000=np.array([{}], dtype=object)), "pickle"),
        (lambda header, arrays: arrays.update(array0000=np.zeros(3, "f4,f4")), "no numbers but"),
        (larger_array, "arrays of an SVC do not fit"),
        (set_state("sklearn.svm.SVC", "kernel", "precomputed"), "kernel 'precomputed'"),
        (set_state("sklearn.pipeline.Pipeline", "memory", "/tmp/pickles"), "names a cache"),
        (set_state("smartbox.detectors.LayerDifferenceDetector", "C", -1.0), "'C' parameter"),
        (set_state("smartbox.detectors.LayerDifferenceDetector", "__class__", 1), "attribute '__class__'"),
        (lambda header, arrays: find(header, "smartbox.detectors.LayerDifferenceDetector").pop("C"), "'C'"),
        (lambda header, arrays: find(header, "smartbox.face.FaceClassifier").__setitem__("classes", ["ann"]), "5 distinct"),
    ],
)  # fmt: skip
def test_wrong_content_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ValueError, match=message) as caught:
        smartbox.load(saved)
    assert str(saved) in str(caught.value)


def test_code_in_a_network_is_refused(saved):
    def add_layer(header, arrays):
        network = json.loads(header["networks"][0][0])
        config = {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}
        layer = {"module": "keras.layers", "class_name": "Lambda", "config": config, "registered_name": None}
        network["config"]["layers"].insert(1, layer)
        header["networks"][0][0] = json.dumps(network)

    rewrite(saved, add_layer)
    with pytest.raises(ValueError, match="can run code"):
        smartbox.load(saved)


def test_a_network_that_claims_more_weights_than_there_are(saved):
    def enlarge(header, arrays):
        header["networks"][0][0] = header["networks"][0][0].replace('"units": 16', '"units": 1000000000')

    rewrite(saved, enlarge)
    with pytest.raises(ValueError, match="declares more than the"):
        smartbox.load(saved)


def test_a_random_state_beyond_its_words(path):
    PCADetector(n_components=3, random_state=np.random.RandomState(3)).fit(X, y).save(path)
    beyond = lambda header: re.sub(r'"pos", \d+', '"pos", 99999', json.dumps(header))  # noqa: E731
    rewrite(path, lambda header, arrays: header.update(json.loads(beyond(header))))
    with pytest.raises(ValueError, match="random generator"):
        smartbox.load(path)


def test_damage(saved):
    content = saved.read_bytes()
    for damaged in (content[: len(content) // 2], content[:300] + bytes(64) + content[364:], content[:20], b""):
        saved.write_bytes(damaged)
        with pytest.raises(ValueError, match="expected a whole file"):
            smartbox.load(saved)


def test_an_archive_that_would_fill_the_memory(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("array0000.npy", bytes(_ALWAYS_ALLOWED + 1))
    with pytest.raises(ValueError, match="would unpack to"):
        smartbox.load(path)


def test_an_array_that_claims_to_be_huge(saved):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**45,)})
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in (members | {"array0000.npy": header.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="expected a whole file"):
        smartbox.load(saved)


def test_nests_and_circles_are_refused(saved):
    rewrite(
        saved,
        lambda header, arrays: header["objects"].append(["smartbox.face.FaceClassifier", {"network": {"object": 0}}]),
    )

    def circle(header, arrays):
        find(header, "smartbox.face.FaceClassifier")["classes"] = header["root"]

    rewrite(saved, circle)
    with pytest.raises(ValueError, match="expected a whole file"):
        smartbox.load(saved)
    with np.load(saved) as file:
        header = json.loads(file["header"].tobytes())
    nest = json.dumps({**header, "root": None}).replace('"root": null', f'"root": {"[" * 10**5}{"]" * 10**5}')
    with saved.open("wb") as file:
        np.savez(file, header=np.frombuffer(nest.encode(), np.uint8))
    with pytest.raises(ValueError, match="expected a whole file"):
        smartbox.load(saved)


def test_what_is_no_path_is_refused():
    for act in (lambda: smartbox.load(None), lambda: smartbox.save(GaussianBlur(), None), lambda: smartbox.save(None, "x")):
        with pytest.raises(ValueError, match=r"expected .* path"):
            act()
