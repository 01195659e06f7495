"""``smartbox mitigate``: the images are those of the class, rounded to 8 bits; and given nonsense."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from smartbox import FaceClassifier, _norms
from smartbox.cli import _mitigate_run
from smartbox.cli._mitigate_run import png_paths
from smartbox.datasets import load_face_folder
from smartbox.defenses import AdaptiveNoiseReduction, GaussianBlur
from tests.cli.test_mistakes import check_one_line
from tests.doubles import small_network

FILES = ["examples.png", "png", "report.csv", "report.json"]
OUT = "smartbox-mitigated"


@pytest.fixture(autouse=True)
def no_picture(request, monkeypatch):
    """Pictures take longer than the defences; one test here draws one."""
    if request.function is not test_the_same_as_the_public_class:
        monkeypatch.setattr(_mitigate_run, "save_before_after", lambda path, *_: path.write_text("picture"))


def pixels(path):
    return np.asarray(Image.open(path)).astype(np.float32) / np.float32(255)


def test_the_same_as_the_public_class(run, folder):
    code, out, err = run(
        "mitigate", "--defense", "gaussian_blur", "--set", "defense.gaussian_blur.sigma=0.7", "--images", folder
    )
    assert code == 0 and sorted(os.listdir(OUT)) == FILES
    assert err.splitlines()[-1] == f"Written to {OUT}: png, examples.png, report.csv, report.json"
    faces = load_face_folder(folder)
    expected = GaussianBlur(sigma=0.7).transform(faces.images)
    again = load_face_folder(f"{OUT}/png")
    assert again.filenames.tolist() == [name.replace(".pgm", ".png") for name in faces.filenames]
    np.testing.assert_allclose(again.images, np.rint(expected * 255) / 255, atol=1e-7)
    with open(f"{OUT}/report.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    change = (expected - faces.images).reshape(len(expected), -1)
    for norm in ("l1", "l2", "linf"):
        sizes = _norms.size(change, norm)
        np.testing.assert_allclose([float(row[norm]) for row in rows], sizes, rtol=1e-6)
        assert f"{np.median(sizes):.4g}" in out
    assert [row["file"] for row in rows] == faces.filenames.tolist()
    with open(f"{OUT}/report.json") as file:
        report = json.load(file)
    assert report["defenses"] == [{"name or file": "gaussian_blur", "parameters": {"sigma": 0.7}}]
    assert report["summary"]["images"] == 20 and Image.open(f"{OUT}/examples.png").size[0] > 300


def test_in_their_order(run, folder):
    names = ["--defense", "gaussian_blur", "--defense", "adaptive_noise_reduction"]
    assert run("mitigate", *names, "--images", folder, "--quiet")[0] == 0
    X = load_face_folder(folder).images
    expected = AdaptiveNoiseReduction().transform(GaussianBlur().transform(X))
    np.testing.assert_allclose(load_face_folder(f"{OUT}/png").images, np.rint(expected * 255) / 255, atol=1e-7)
    assert run("mitigate", *names[2:], "--images", OUT, "--out", "twice", "--quiet")[0] == 0  # and what it wrote itself
    assert sorted(os.listdir("twice/png")) == ["person0", "person1"]


def test_images_of_all_sizes_and_colours(run, tmp_path):
    rng = np.random.default_rng(0)
    sizes = {"a.png": (9, 8), "b.jpg": (20, 10, 3), "deep/er/c.png": (9, 8, 3), "d.bmp": (9, 8)}
    for name, size in sizes.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, size).astype(np.uint8)).save(tmp_path / "in" / name)
    assert run("mitigate", "--defense", "gaussian_blur", "--images", "in", "--quiet")[::2] == (0, "")
    for name, size in sizes.items():
        made = pixels(f"{OUT}/png/{os.path.splitext(name)[0]}.png")
        assert made.shape == size
        X = np.atleast_3d(pixels(tmp_path / "in" / name))[None]
        np.testing.assert_allclose(np.atleast_3d(made), GaussianBlur().transform(X)[0], atol=0.5 / 255 + 1e-6)
    assert run("mitigate", "--defense", "gaussian_blur", "--images", "in", "--image-shape", "6x5", "--quiet")[0] == 0
    assert pixels(f"{OUT}/png/b.png").shape == (6, 5, 3)


def test_names_stay_distinct():
    assert png_paths(["x/a.png", "x/a.jpg", "b.tif", "B.jpg", "c"]) == [
        "x/a.png", "x/a.jpg.png", "b.png", "B.jpg.png", "c.png",
    ]  # fmt: skip


def test_a_saved_defence_holds_images_to_its_size(run, folder, tmp_path):
    X = load_face_folder(folder).images
    GaussianBlur(sigma=2.0).fit(X).save(tmp_path / "blur.smartbox")
    assert run("mitigate", "--defense", "blur.smartbox", "--images", folder, "--quiet")[0] == 0
    expected = GaussianBlur(sigma=2.0).transform(X)
    np.testing.assert_allclose(load_face_folder(f"{OUT}/png").images, expected, atol=0.5 / 255 + 1e-6)
    (tmp_path / "other").mkdir()
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "other" / "a.png")
    arguments = ["mitigate", "--defense", "blur.smartbox", "--images", "other", "--out", "new"]
    check_one_line(run(*arguments), ["a.png has 9 x 8 pixels", "blur.smartbox takes 32 x 28", "--image-shape 32x28"])
    assert run(*arguments, "--image-shape", "32x28", "--quiet")[0] == 0


def test_never_half_written(run, folder, tmp_path, monkeypatch):
    arguments = ["mitigate", "--defense", "gaussian_blur", "--images", folder, "--quiet"]
    assert run(*arguments)[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / OUT).rglob("*") if path.is_file()}
    monkeypatch.setattr(_mitigate_run, "as_csv", lambda rows: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, err = run(*arguments, "--set", "defense.gaussian_blur.sigma=3")
    assert code == 130 and "interrupted; nothing was written." in err
    assert {path: path.read_bytes() for path in (tmp_path / OUT).rglob("*") if path.is_file()} == before


MISTAKES = [
    (["--images", "people"], ["expected --defense NAME or FILE, one of: ", "gaussian_blur"]),
    (["--defense", "gausian_blur", "--images", "people"], ["did you mean 'gaussian_blur'?"]),
    (["--defense", "gaussian_blur", "--images", "nowhere"], ["nothing at nowhere"]),
    (["--defense", "gaussian_blur", "--images", "people"], ["people holds no image"]),
    (["--defense", "gaussian_blur", "--images", "people", "--set", "sigma=1"], ["cannot set 'sigma'"]),
    (["--defense", "gaussian_blur", "--images", "people", "--set", "network.epochs=1"], ["no network takes part"]),
    (
        ["--defense", "gaussian_blur", "--images", "people", "--set", "defense.gaussian_blur.sgma=1"],
        ["did you mean 'sigma'?"],
    ),
    (["--defense", "no.smartbox", "--images", "people"], ["no file at no.smartbox"]),
    (["--defense", "face.smartbox", "--images", "people"], ["holds a FaceClassifier, expected a defence"]),
    (
        ["--defense", "gaussian_blur", "--images", "people", "--out", "people"],
        ["lies among the images of --images", "choose a folder beside it"],
    ),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES, ids=[" ".join(options) for options, _ in MISTAKES])
def test_mistakes_are_one_line(run, tmp_path, options, words):
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "report.csv").write_text("mine")
    FaceClassifier.from_network(small_network()).save(tmp_path / "face.smartbox")
    check_one_line(run("mitigate", *options), words)
    assert not (tmp_path / OUT).exists()


@pytest.mark.parametrize(
    ("name", "setting", "shown"),
    [
        ("gaussian_blur", "sigma=x", "'sigma' parameter of GaussianBlur must be"),
        ("randomization", "upsample=0", "'upsample' parameter of Randomization must be"),
        ("pca_reconstruction", "n_components=0", "'n_components' parameter of PCAReconstruction must be"),
    ],
)
def test_a_bad_value_is_called_bad(run, folder, name, setting, shown):
    ended = run("mitigate", "--defense", name, "--set", f"defense.{name}.{setting}", "--images", folder)
    check_one_line(ended, [shown])
    assert "learn first" not in ended[2] and not os.path.exists(OUT)
