"""Adversarial sets: written, read back, replaced as a whole or not at all."""

import csv
import json
import os
import signal

import numpy as np
import pytest
from PIL import Image
from sklearn.utils import Bunch

from smartbox.datasets import _adversarial_figure as figure_module
from smartbox.datasets import load_adversarial_set, save_adversarial_set
from smartbox.datasets._adversarial_figure import set_figure, some_faces
from smartbox.datasets._adversarial_files import png_names
from smartbox.metrics import perturbation_size

NAMES = ["ada", "bob", "cy"]
FILES = ["png", "examples.png", "report.csv", "adversarial.npz", "report.json"]


def made_up(n=6, channels=1, seed=0, **changes):
    """Arguments of save_adversarial_set: random images, every second one of which is seen as somebody else."""
    rng = np.random.RandomState(seed)
    X = rng.uniform(0.1, 0.9, (n, 8, 6, channels)).astype(np.float32)
    X_adv = X + rng.uniform(-0.1, 0.1, X.shape).astype(np.float32)
    y, success = np.arange(n) % 3, np.arange(n) % 2 == 0
    report = Bunch(
        success=success, success_8bit=success & (np.arange(n) > 1), initially_wrong=np.arange(n) == 4,
        prediction_before=np.where(np.arange(n) == 4, (y + 1) % 3, y), prediction_after=np.where(success, (y + 1) % 3, y),
        n_iterations=np.arange(n), n_gradients=np.full(n, 2), n_zero_gradients=np.zeros(n, dtype=int),
        **perturbation_size(X, X_adv),
    )  # fmt: skip
    return {"X": X, "X_adv": X_adv, "y": y, "report": report, "target_names": NAMES, **changes}


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_comes_back(tmp_path):
    given = made_up(targets=[2, 0, 1, 2, 0, 1], filenames=[f"x/{i}.pgm" for i in range(6)], about={"attack": "mine"})
    paths = save_adversarial_set(tmp_path / "new" / "set", **given)
    assert [path.name for path in paths] == FILES == sorted(os.listdir(tmp_path / "new" / "set"), key=FILES.index)
    again = load_adversarial_set(tmp_path / "new" / "set")
    for name in ("X", "X_adv", "y", "targets"):
        np.testing.assert_array_equal(again[name], given[name])
    assert again.target_names.tolist() == NAMES and again.filenames.tolist() == given["filenames"]
    for name, column in given["report"].items():
        column = np.array(NAMES)[column] if name.startswith("prediction") else column
        np.testing.assert_array_equal(again[name], column)
    assert again.about["attack"] == "mine" and again.about["versions"]["numpy"] == np.__version__


def test_arrays_hold_no_pickles(tmp_path):
    save_adversarial_set(tmp_path, **made_up())
    with np.load(tmp_path / "adversarial.npz", allow_pickle=False) as arrays:
        assert arrays["X_adv"].dtype == np.float32 and arrays["prediction_after"].dtype.kind == "U"
        assert all(arrays[name].dtype != object for name in arrays)


def test_labels_of_any_kind_name_themselves(tmp_path):
    given = made_up(target_names=None)
    named = {**given, "y": np.array(NAMES)[given["y"]], "report": Bunch(**given["report"])}
    for name in ("prediction_before", "prediction_after"):
        named["report"][name] = np.array(NAMES)[given["report"][name]]
    save_adversarial_set(tmp_path / "text", **named)
    again = load_adversarial_set(tmp_path / "text")
    assert again.target_names.tolist() == NAMES
    np.testing.assert_array_equal(again.y, given["y"])
    save_adversarial_set(tmp_path / "numbers", **given)
    assert load_adversarial_set(tmp_path / "numbers").target_names.tolist() == ["0", "1", "2"]


@pytest.mark.parametrize("channels", [1, 3])
def test_pngs_are_the_images_in_8_bits(tmp_path, channels):
    given = made_up(channels=channels)
    save_adversarial_set(tmp_path, **given)
    with open(tmp_path / "report.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(set(os.listdir(tmp_path / "png"))) == 6
    for row, image in zip(rows, given["X_adv"], strict=True):
        pixels = np.asarray(Image.open(tmp_path / row["png"])).reshape(image.shape)
        assert pixels.dtype == np.uint8 and np.abs(pixels / 255 - image).max() <= 0.5 / 255 + 1e-6


def test_rows_of_the_report(tmp_path):
    given = made_up(targets=[1] * 6, filenames=["a,b\n.png"] * 6)
    given["report"].component = np.array(["fab-t"] * 6)
    save_adversarial_set(tmp_path, **given)
    with open(tmp_path / "report.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["identity"] for row in rows] == NAMES * 2 and {row["target"] for row in rows} == {"bob"}
    assert rows[0]["file"] == "a,b\n.png" and rows[0]["prediction_after"] == "bob" and rows[0]["component"] == "fab-t"
    assert float(rows[3]["l2"]) == given["report"].l2[3] and rows[1]["success"] == "False"


def test_summary_counts_all_images(tmp_path):
    given = made_up()
    save_adversarial_set(tmp_path, **given)
    figures, report = load_adversarial_set(tmp_path).about["summary"], given["report"]
    assert figures["images"] == 6 and figures["identities"] == 3
    assert (figures["success"], figures["success_8bit"]) == (3 / 6, 2 / 6)
    assert (figures["accuracy_before"], figures["accuracy_after"]) == (5 / 6, 3 / 6)
    assert figures["median_l2"] == np.median(report.l2)
    assert figures["median_over_successes"]["l1"] == np.median(report.l1[[0, 2]])
    nothing = made_up()
    nothing["report"].success[:] = False
    save_adversarial_set(tmp_path, **nothing)
    assert load_adversarial_set(tmp_path).about["summary"]["median_over_successes"]["l1"] is None


def test_the_report_of_an_interrupted_attack_will_do(tmp_path):
    given = made_up()
    given["report"].X_adv = given["X_adv"]
    save_adversarial_set(tmp_path, **given)
    np.testing.assert_array_equal(load_adversarial_set(tmp_path).X_adv, given["X_adv"])


def test_a_set_replaces_a_set_and_leaves_the_rest(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    save_adversarial_set(tmp_path, **made_up(n=6))
    save_adversarial_set(tmp_path, **made_up(n=3))
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "notes.txt"])
    assert len(os.listdir(tmp_path / "png")) == 3 and len(load_adversarial_set(tmp_path).X) == 3


def test_the_same_set_is_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        save_adversarial_set(tmp_path / name, **made_up())
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_failure_leaves_the_earlier_set(tmp_path, monkeypatch):
    save_adversarial_set(tmp_path, **made_up(n=6))
    before = content(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure_module, "save_set_figure", full)
    with pytest.raises(OSError, match="No space"):
        save_adversarial_set(tmp_path, **made_up(n=3))
    assert content(tmp_path) == before and sorted(os.listdir(tmp_path)) == sorted(FILES)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_waits_until_the_files_belong_together(tmp_path, monkeypatch):
    save_adversarial_set(tmp_path, **made_up(n=6))
    replace, calls = os.replace, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return replace(*arguments)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_adversarial_set(tmp_path, **made_up(n=3))
    assert len(load_adversarial_set(tmp_path).X) == len(os.listdir(tmp_path / "png")) == 3
    assert sorted(os.listdir(tmp_path)) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_foreign_files_are_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=f"holds {name}, but no adversarial set"):
        save_adversarial_set(tmp_path, **made_up())
    assert (tmp_path / name).read_text() == "{}" and os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X_adv": made_up(n=5)["X_adv"]}, r"of the 6 images in X.*arrays of \[5\] entries"),
        ({"report": made_up(n=5)["report"]}, r"of the 6 images in X.*arrays of \[5\] entries"),
        ({"report": Bunch(success=np.ones(6, dtype=bool))}, "one without success_8bit"),
        ({"y": [0] * 5}, r"expected y of shape \(6,\)"),
        ({"y": [0, 1, 2, 3, 0, 1]}, "y holds labels.*: 3"),
        ({"targets": [7] * 6}, "targets holds labels.*: 7"),
        ({"filenames": ["a"]}, "one file name for each of 6 images, got 1"),
        ({"X": np.full((6, 8, 6, 1), 2.0)}, r"X must lie in \[0, 1\]"),
        ({"X_adv": np.full((6, 8, 6, 1), -1.0)}, r"X_adv must lie in \[0, 1\]"),
        ({"X": np.zeros((6, 8, 6, 2)), "X_adv": np.zeros((6, 8, 6, 2))}, "1 channel or colour ones of 3, got 2"),
    ],
)
def test_what_does_not_fit(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        save_adversarial_set(tmp_path / "set", **made_up(**changes))
    assert not (tmp_path / "set").exists()


def test_only_whole_sets_are_read(tmp_path):
    with pytest.raises(ValueError, match=r"no adversarial set.*expected a folder that save_adversarial_set"):
        load_adversarial_set(tmp_path / "nowhere")
    for name, n in (("one", 6), ("two", 3)):
        save_adversarial_set(tmp_path / name, **made_up(n=n))
    (tmp_path / "two" / "adversarial.npz").write_bytes((tmp_path / "one" / "adversarial.npz").read_bytes())
    with pytest.raises(ValueError, match=r"not the one that report\.json was written for"):
        load_adversarial_set(tmp_path / "two")
    (tmp_path / "one" / "report.json").write_text(json.dumps({"format": "smartbox-adversarial-9"}))
    with pytest.raises(ValueError, match="smartbox-adversarial-9"):
        load_adversarial_set(tmp_path / "one")


def test_png_names_are_safe_and_distinct():
    identities = [
        "<script>",
        "<script>",
        "a/b",
        "..",
        "Zoë",
        "Zoe\u0308",
        "A",
        "a",
        "李雷\u202e",
        "x" * 300,
        "-rf",
        "",
        "\udcff",
    ]
    files = [
        "p/1.jpg",
        "p/1.png",
        "../../etc/passwd",
        "..",
        "é.png",
        "é.png",
        "1.png",
        "1.png",
        "照.png",
        "y" * 300,
    ] + [""] * 3
    names = png_names(identities, files)
    assert names[0] == "_script__1.png" and names[1] == "_script__1~2.png"
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert "/" not in name and "\\" not in name and not name.startswith((".", "-")) and len(name.encode()) < 200
        assert not set(name) & set('<>:|?*"\u202e\udcff')
    assert "李雷" in names[8]


def test_png_names_do_not_repeat_the_identity():
    assert png_names(["yaleB01"], ["yaleB01/yaleB01_P00A+000E+00.pgm"]) == ["yaleB01_P00A+000E+00.png"]
    assert png_names(["ann"], ["ann/003.pgm"]) == ["ann_003.png"]


def test_a_made_up_suffix_does_not_collide_with_a_real_one():
    assert len(set(png_names(["a"] * 3, ["1.png", "1.jpg", "1~2.png"]))) == 3


def test_faces_of_the_picture():
    given = made_up(n=60)
    given["y"] = np.arange(60) % 20
    chosen = some_faces(Bunch(X=given["X"], y=given["y"], **given["report"]))
    assert len(chosen) == len(set(given["y"][chosen])) == 6
    assert (given["report"].success & ~given["report"].initially_wrong)[chosen].all()


@pytest.mark.parametrize(("n", "channels"), [(1, 1), (2, 3), (9, 1)])
def test_picture(n, channels):
    given = made_up(n=n, channels=channels)
    odd = np.array(["$x_1$ <b>\n" + "long" * 9, "a\x00b", "李雷 \udcff"])
    shown = Bunch(X=given["X"], X_adv=given["X_adv"], y=given["y"], target_names=odd, **given["report"])
    shown.prediction_after = odd[shown.prediction_after]
    figure = set_figure(shown, "mine")
    assert len(figure.axes) == 3 * min(n, 6)
    titles = [axis.get_title() for axis in figure.axes]
    assert all(len(title) <= 14 and title.isprintable() for title in titles) and any(titles)
