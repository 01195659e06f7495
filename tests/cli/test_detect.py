"""``smartbox detect``: scores are those of the class, whatever the images come in; and given nonsense."""

import csv
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

import smartbox
from smartbox import FaceProtocol
from smartbox.cli import _detect_run
from smartbox.datasets import load_adversarial_set
from smartbox.detectors import PCADetector
from tests.cli.test_attack import World
from tests.cli.test_mistakes import check_one_line

FILES = ["faces.png", "report.json", "scores.csv"]
TRAIN = [
    "--detector",
    "pca",
    "--attack",
    "fgsm",
    "--set",
    "detector.pca.n_components=5",
    "--set",
    "attack.fgsm.eps=0.2",
]


@pytest.fixture(autouse=True)
def no_picture(request, monkeypatch):
    """Pictures take longer than the scores; one test here draws one."""
    if request.function is not test_a_set_of_attacked_faces:
        monkeypatch.setattr(_detect_run, "save_suspects", lambda path, *_: path.write_text("picture"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def detector(world, tmp_path):
    """A file that says nothing of where it comes from."""
    y = np.arange(len(world.X)) % 2
    made = PCADetector(n_components=5, random_state=0).fit(np.clip(world.X + 0.05 * y[:, None, None, None], 0, 1), y)
    made.calibrate(world.X, fpr=0.3).save(tmp_path / "detector.smartbox")
    return made


def rows(folder="smartbox-detection"):
    with open(f"{folder}/scores.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_of_identities(run, world, detector):
    code, out, err = run("detect", "--detector", "detector.smartbox", "--images", world.data)
    assert code == 0 and "warning" not in err
    assert sorted(os.listdir("smartbox-detection")) == FILES
    expected = dict(zip(world.files.tolist(), detector.decision_function(world.X), strict=True))
    assert {row["file"]: float(row["score"]) for row in rows()} == expected
    assert {row["flagged"] == "True" for row in rows() if float(row["score"]) > detector.threshold_} == {True}
    n = int((detector.decision_function(world.X) > detector.threshold_).sum())
    assert out.startswith(f"detector.smartbox: {n} of 60 flagged") and 0 < n < 60
    with open("smartbox-detection/report.json") as file:
        report = json.load(file)
    assert report["summary"] == {"images": 60, "flagged": n, "threshold": detector.threshold_}
    assert [str(row["score"]) for row in report["scores"]] == [row["score"] for row in rows()]


@pytest.mark.parametrize("packed", [False, True])
def test_a_flat_folder_or_zip(run, world, detector, tmp_path, packed):
    (tmp_path / "flat").mkdir()
    for i, path in enumerate(sorted(world.data.rglob("*.png"))[:4]):
        shutil.copy(path, tmp_path / "flat" / f"{i}.png")
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    images = tmp_path / "flat"
    if packed:
        images = shutil.make_archive("flat", "zip", tmp_path / "flat")
        assert zipfile.is_zipfile(images)
    assert run("detect", "--detector", "detector.smartbox", "--images", images, "--quiet")[::2] == (0, "")
    assert [row["file"] for row in rows()] == ["0.png", "1.png", "2.png", "3.png"]


def test_a_set_of_attacked_faces(run, world, detector):
    arguments = ["--data", world.data, "--model", world.model, "--out", "set", "--quiet"]
    assert run("attack", "--attack", "fgsm", "--set", "eps=0.2", *arguments)[0] == 0
    made = load_adversarial_set("set")
    for images in ("set", "set/adversarial.npz"):
        code, out, _ = run("detect", "--detector", "detector.smartbox", "--images", images, "--quiet")
        assert code == 0
        assert [float(row["score"]) for row in rows()] == detector.decision_function(made.X_adv).tolist()
        n = (detector.decision_function(made.X) > detector.threshold_).sum()
        assert f"flagged of the originals │ {n} of {len(made.X)}" in " ".join(out.split())
        assert os.path.exists(f"set/png/{rows()[0]['file']}")
    assert Image.open("smartbox-detection/faces.png").size[0] > 300


def test_what_it_was_trained_on_is_said(run, world):
    arguments = ["--data", world.data, "--model", world.model, "--quiet"]
    assert run("train", *TRAIN, *arguments, "--seed", 4)[0] == 0
    code, _, err = run("detect", "--detector", "pca.smartbox", "--images", world.data, "--quiet")
    n_test = len(FaceProtocol(random_state=4).split(world.y)[2])
    assert code == 0 and f"warning: {60 - n_test} of the 60 images are faces that pca.smartbox was trained" in err
    assert "same seed, which is 4" in err
    run("attack", "--attack", "pgd", *arguments, "--seed", 4, "--out", "unseen")
    assert run("detect", "--detector", "pca.smartbox", "--images", "unseen", "--quiet")[2] == ""
    run("attack", "--attack", "pgd", *arguments, "--seed", 4, "--part", "train", "--out", "seen")
    assert "made of such" in run("detect", "--detector", "pca.smartbox", "--images", "seen", "--quiet")[2]


def test_a_name_is_trained_on_the_spot(run, world):
    arguments = ["--data", world.data, "--model", world.model, "--quiet"]
    assert run("train", *TRAIN, *arguments)[0] == 0
    assert run("detect", "--detector", "pca.smartbox", "--images", world.data, "--quiet", "--out", "saved")[0] == 0
    code, out, err = run("detect", *TRAIN, *arguments, "--images", world.data, "--out", "spot")
    assert code == 0 and out.startswith("pca: ") and "was trained or calibrated on" in err
    assert rows("saved") == rows("spot") and not os.path.exists("spot/pca.smartbox")


def test_another_size_is_resized_if_asked(run, world, detector, tmp_path):
    (tmp_path / "large").mkdir()
    Image.fromarray(np.full((16, 12), 120, np.uint8)).save(tmp_path / "large" / "a.png")
    arguments = ["detect", "--detector", "detector.smartbox", "--images", "large"]
    check_one_line(run(*arguments), ["a.png has 16 x 12 pixels", "the detector takes 8 x 6", "--image-shape 8x6"])
    check_one_line(run(*arguments, "--image-shape", "9x9"), ["takes images of 8 x 6", "choose --image-shape 8x6"])
    assert run(*arguments, "--image-shape", "8x6", "--quiet")[0] == 0
    expected = detector.decision_function(np.full((1, 8, 6, 1), 120 / 255, np.float32))
    np.testing.assert_allclose([float(row["score"]) for row in rows()], expected, rtol=1e-5)


def test_unreadable_images(run, world, detector, tmp_path):
    damaged = shutil.copytree(world.data, tmp_path / "damaged")
    (damaged / "bob" / "x.png").write_bytes(b"PNG")
    arguments = ["detect", "--detector", "detector.smartbox", "--images", damaged, "--quiet"]
    check_one_line(run(*arguments), ["x.png", "--on-error skip"])
    code, _, err = run(*arguments, "--on-error", "skip")
    assert code == 0 and "1 images could not be read" in err and len(rows()) == 60


def test_results_of_others_are_left_alone(run, world, detector, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scores.csv").write_text("mine")
    arguments = ["detect", "--detector", "detector.smartbox", "--images", world.data, "--quiet"]
    check_one_line(run(*arguments, "--out", "mine"), ["mine holds scores.csv, but no scores of a detector to replace"])
    assert run(*arguments)[0] == 0
    before = {name: (tmp_path / "smartbox-detection" / name).read_bytes() for name in FILES}

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_detect_run, "as_csv", interrupt)
    assert run(*arguments)[0] == 130
    assert {path.name: path.read_bytes() for path in (tmp_path / "smartbox-detection").iterdir()} == before


MISTAKES = [
    (["--images", "people"], ["expected --detector"]),
    (["--detector", "pca"], ["Missing option '--images'"]),
    (["--detector", "pca", "--images", "nowhere"], ["nothing at nowhere"]),
    (["--detector", "pca", "--images", "people"], ["learns from attacked faces", "--attack"]),
    (["--detector", "pac", "--images", "people", "--attack", "fgsm"], ["did you mean 'pca'?"]),
    (["--detector", "no.smartbox", "--images", "people"], ["no file at no.smartbox"]),
    (["--detector", "text.smartbox", "--images", "people"], ["text.smartbox is not a face classifier or another"]),
    (["--detector", "text.smartbox", "--images", "people", "--attack", "fgsm", "--seed", "3"],
     ["--attack, --seed is for a detector that is trained first"]),
    (["--detector", "face.smartbox", "--images", "people"], ["holds a FaceClassifier, expected a detector"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "words"), MISTAKES, ids=[" ".join(options) for options, _ in MISTAKES])
def test_mistakes_are_one_line(run, no_work, world, tmp_path, options, words):
    (tmp_path / "people").mkdir()
    (tmp_path / "text.smartbox").write_text("text")
    shutil.copy(world.named, tmp_path / "face.smartbox")
    check_one_line(run("detect", *options), words)
    assert not (tmp_path / "smartbox-detection").exists()


def test_no_images(run, detector, tmp_path):
    (tmp_path / "empty").mkdir()
    check_one_line(run("detect", "--detector", "detector.smartbox", "--images", "empty"), ["empty holds no image"])
    assert smartbox.load("detector.smartbox").threshold_ == detector.threshold_
