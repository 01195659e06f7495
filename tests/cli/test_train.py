"""``smartbox train``: against the public classes on the parts of the protocol, and given nonsense."""

import json
import os
import shutil

import keras
import numpy as np
import pytest
from keras import layers

import smartbox
from smartbox import FaceClassifier, FaceProtocol
from smartbox._model import FaceModelMixin
from smartbox._records import image_keys
from smartbox._serialization import read_file
from smartbox.attacks import FGSM, PGD
from smartbox.base import BaseDefense
from smartbox.datasets import load_face_folder, make_detection_set
from smartbox.detectors import PCADetector
from smartbox.metrics import detection_report
from tests.cli.test_attack import NAMES, SHAPE, World
from tests.cli.test_mistakes import check_one_line


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def part(world, name, seed=0):
    parts = dict(zip(("train", "validation", "test"), FaceProtocol(random_state=seed).split(world.y), strict=True))
    return world.X[parts[name]], world.y[parts[name]]


def test_a_network(run, folder, tmp_path):
    options = ["--image-shape", "32x28", "--set", "network.epochs=2", "--seed", 3]
    code, out, err = run("train", "--data", folder, *options)
    assert code == 0 and err.splitlines()[-1] == "Written: network.smartbox, network.smartbox.json"
    faces = load_face_folder(folder, image_shape=(32, 28))
    names = faces.target_names[faces.target]
    train, validation, test = FaceProtocol(random_state=3).split(faces.target)
    by_hand = FaceClassifier(epochs=2, random_state=3).fit(
        faces.images[train], names[train], validation_data=(faces.images[validation], names[validation])
    )
    loaded = smartbox.load("network.smartbox")
    np.testing.assert_array_equal(loaded.logits(faces.images), by_hand.logits(faces.images))
    assert loaded.classes_.tolist() == ["person0", "person1"]
    assert f"{100 * by_hand.score(faces.images[test], names[test]):.2f} %" in out
    assert ("Remark: " in out) == (by_hand.score(faces.images[test], names[test]) < 0.5)
    about = read_file("network.smartbox")[1]
    unseen = np.isin(image_keys(faces.images), np.array(about.pop("learnt_from"), dtype=np.uint64), invert=True)
    assert np.flatnonzero(unseen).tolist() == test.tolist()
    assert json.loads((tmp_path / "network.smartbox.json").read_text()) == about
    assert about["seed"] == 3 and about["data"]["identities"] == 2 and about["kind"] == "network"
    # and its own file serves as the model of the other commands
    code, out, _ = run("attack", "--attack", "fgsm", "--model", "network.smartbox", "--data", folder, "--seed", 3)
    assert code == 0 and f": {len(test)} test faces" in out


def test_a_detector(run, world, tmp_path):
    options = ["--model", world.model, "--data", world.data, "--set", "detector.pca.n_components=5", "--fpr", "0.2"]
    code, out, _ = run("train", "--detector", "pca", "--attack", "fgsm", *options, "--quiet", "--out", "new/d.smartbox")
    assert code == 0
    X, y = part(world, "train")
    attack = FGSM(world.face, random_state=0)
    X_train, is_attacked, _ = make_detection_set(X, attack.generate(X, y))
    by_hand = PCADetector(n_components=5, random_state=0).fit(X_train, is_attacked)
    by_hand.calibrate(part(world, "validation")[0], fpr=max(0.2, 1 / (1 + len(part(world, "validation")[0]))))
    detector, about = read_file(tmp_path / "new" / "d.smartbox")
    assert detector.threshold_ == by_hand.threshold_
    X, y = part(world, "test")
    X_test, is_attacked, _ = make_detection_set(X, attack.generate(X, y))
    np.testing.assert_array_equal(detector.decision_function(X_test), by_hand.decision_function(X_test))
    report = detection_report(is_attacked, by_hand.decision_function(X_test), threshold=by_hand.threshold_)
    (figures,) = about["figures"]
    assert figures == {"attack": "fgsm", **{name: report[name] for name in figures if name != "attack"}}
    assert f"{100 * report.roc_auc:.2f} %" in out and about["model"]["file"] == "model.keras"
    known = np.array(about["learnt_from"], dtype=np.uint64)
    assert not np.isin(image_keys(X_test), known).any() and np.isin(image_keys(X_train), known).all()


def test_a_detector_keeps_the_network_that_it_looks_into(run, world):
    options = ["--attack", "fgsm", "--attack", "pgd", "--data", world.data, "--model", world.named, "--quiet"]
    settings = ["--set", "detector.lid.n_neighbors=3", "--set", "detector.lid.layers=<logits>"]
    code, _, err = run("train", "--detector", "lid", "--detector-faces", 12, *options, *settings)
    assert code == 0, err
    detector = smartbox.load("lid.smartbox")
    np.testing.assert_array_equal(detector.model.logits(world.X), smartbox.load(world.named).logits(world.X))
    assert sorted(detector.model.classes_) == sorted(NAMES)


class Towards(BaseDefense):
    """Takes away the mean change that an attack makes to the training faces."""

    def __init__(self, attack, *, share=1.0):
        self.attack = attack
        self.share = share

    def fit(self, X, y=None):
        super().fit(X, y)
        self.change_ = (self.attack.generate(X, y) - X).mean(axis=0)
        return self

    def _apply(self, X, draw):
        return X - np.float32(self.share) * self.change_


class Retrained(FaceModelMixin, BaseDefense):
    """Another classifier, out of an estimator and an attack without a model."""

    def __init__(self, estimator, attack, *, rounds=1):
        self.estimator = estimator
        self.attack = attack
        self.rounds = rounds

    def fit(self, X, y):
        assert self.attack.model is None and self.attack.random_state == 0
        self.estimator_ = self.estimator
        self.classes_, self.image_shape_ = self.estimator_.classes_, self.estimator_.image_shape_
        return self

    def logits(self, X):
        return self.estimator_.logits(X)

    def value_and_gradient(self, X, y, objective="cross_entropy"):
        return self.estimator_.value_and_gradient(X, y, objective)

    def vjp(self, X, cotangents):
        return self.estimator_.vjp(X, cotangents)


@pytest.fixture(params=[Towards, Retrained])
def learner(request, monkeypatch):
    cls = request.param
    monkeypatch.setattr(cls, "__module__", "smartbox.defenses")  # as if it were one of the package's own
    monkeypatch.setattr(smartbox.defenses, cls.__name__, cls, raising=False)
    monkeypatch.setattr(smartbox.defenses, "__all__", [*smartbox.defenses.__all__, cls.__name__])
    return cls


def test_a_defence_that_learns_from_an_attack(run, world, learner):
    name = learner.__name__.lower()
    options = ["--model", world.model, "--data", world.data, "--set", "attack.pgd.max_iter=5", "--quiet"]
    code, out, err = run("train", "--defense", name, "--attack", "pgd", *options)
    assert (code, err) == (0, "")
    defense = smartbox.load(f"{name}.smartbox")
    X, y = part(world, "test")
    if learner is Retrained:
        np.testing.assert_array_equal(defense.logits(X), world.face.logits(X))
        assert "clean faces, with it" in out and "without it" not in out and "after pgd that knows of it" in out
    else:
        X_train, y_train = part(world, "train")
        attack = PGD(world.face, max_iter=5, random_state=0, early_stop=False)
        change = (attack.generate(X_train, y_train) - X_train).mean(axis=0)
        np.testing.assert_allclose(defense.transform(X), np.clip(X - change, 0, 1), atol=1e-6)
        after = world.face.predict(defense.transform(attack.generate(X, y)))
        assert f"after pgd, with it │ {100 * np.mean(after == y):.2f} %" in " ".join(out.split()), out
    check_one_line(run("train", "--defense", name, *options), ["the attack 'pgd' is not part of this run"])
    check_one_line(run("train", "--defense", name, "--data", world.data), ["learns from one attack, got 0", "--attack"])
    check_one_line(
        run("train", "--defense", name, "--attack", "pgd", "--set", f"defense.{name}.attack=3", "--data", world.data),
        ["the run supplies it", "--attack"],
    )


def test_a_file_is_replaced_only_by_force(run, world, tmp_path):
    arguments = ["train", "--data", world.data, "--model", world.model, "--quiet"]
    (tmp_path / "network.smartbox").write_text("precious")
    check_one_line(run(*arguments), ["there is a file at network.smartbox", "--force"])
    assert (tmp_path / "network.smartbox").read_text() == "precious"
    assert run(*arguments, "--force")[0] == 0
    assert smartbox.load("network.smartbox").classes_.tolist() == [0, 1, 2]


def test_interrupted(run, world, monkeypatch, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(PCADetector, "fit", interrupt)
    code, _, err = run(
        "train", "--detector", "pca", "--attack", "fgsm", "--data", world.data, "--model", world.model, "--quiet"
    )
    assert code == 130 and err.splitlines()[-1] == "smartbox: interrupted; nothing was written."
    assert not os.listdir(tmp_path)


def test_a_layer_that_is_not_there_is_found_before_any_work(run, world, no_work):
    options = ["--attack", "fgsm", "--data", world.data, "--set", "detector.lid.layers=dens2"]
    for model in ([], ["--model", world.model]):
        code, _, err = run("train", "--detector", "lid", *options, *model, "--quiet")
        assert code == 2 and "no layer 'dens2' (did you mean 'dense" in err, err


def test_a_detector_that_can_flag_nothing_says_so(run, world):
    parts = [layers.Conv2D(2, 3), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)]
    network = keras.Sequential([keras.Input(SHAPE), *parts])
    FaceClassifier.from_network(network, classes=NAMES).save("convolutional.smartbox")
    options = ["--attack", "fgsm", "--data", world.data, "--model", "convolutional.smartbox", "--quiet", "--fpr", "0.01"]
    options += ["--set", "attack.fgsm.eps=1/255"]  # so faint that the first stage leaves some to the second
    code, out, err = run("train", "--detector", "conv_filter", *options)
    assert code == 0, err
    assert np.isinf(smartbox.load("conv_filter.smartbox").threshold_)
    assert "Remark: conv_filter flags nothing" in " ".join(out.split()) and "larger --fpr" in " ".join(out.split())


MISTAKES = [
    (["--detector", "pca"], ["learns from attacked faces", "--attack"]),
    (["--detector", "pac", "--attack", "fgsm"], ["no detector 'pac' (did you mean 'pca'?)"]),
    (["--detector", "pca", "--attack", "fgsn"], ["no attack 'fgsn' (did you mean 'fgsm'?)"]),
    (["--detector", "pca", "--defense", "gaussian_blur"], ["got both"]),
    (["--defense", "gaussian_blur"], ["gaussian_blur has nothing to learn", "smartbox mitigate"]),
    (["--defense", "randomized_smoothing"], ["trains nothing", "--defense noise_training"]),
    (["--set", "epochs=3"], ["did you mean 'network.epochs'?"]),
    (["--set", "detector.pca.C=1"], ["'pca' is not part of this run"]),
    (["--detector", "pca", "--attack", "pgd", "--set", "detector.pca.model=3"], ["cannot set 'detector.pca.model'"]),
    (["--detector-faces", "5"], ["--detector-faces beside --detector"]),
    (["--fpr", "1.5"], ["--fpr", "1.5"]),
    (["--image-shape", "10x10"], ["at least 24 x 24"]),
    (["--data", "nowhere"], ["nothing at nowhere"]),
    (["--model", "nowhere"], ["no file at nowhere"]),
    (["--model", "sample", "--image-shape", "32x28"], ["(96, 84, 1)", "leave out --image-shape"]),
    (["--out", "here"], ["here is a folder"]),
    (["--out", "text/new.smartbox"], ["cannot write results to text"]),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES, ids=[" ".join(options) for options, _ in MISTAKES])
def test_mistakes_are_one_line_before_any_work(run, no_work, monkeypatch, tmp_path, options, words):
    def fail(*_, **__):
        raise AssertionError("faces were made before the mistake was found")

    monkeypatch.setattr(smartbox.datasets, "make_faces", fail)
    (tmp_path / "here").mkdir()
    (tmp_path / "text").write_text("text")
    check_one_line(run("train", *options), words)
    assert sorted(os.listdir(tmp_path)) == ["here", "text"]


def test_a_detector_is_no_model(run, world, tmp_path):
    PCADetector(n_components=2).fit(world.X, world.y > 0).save("d.smartbox")
    shutil.copy("d.smartbox", "e.smartbox")
    check_one_line(
        run("attack", "--attack", "fgsm", "--model", "d.smartbox", "--data", world.data),
        ["d.smartbox holds a PCADetector", "expected a face classifier"],
    )
