"""What a run leaves behind: merged rows, provenance, files, the picture, printed tables."""

import csv
import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from sklearn.utils import Bunch

from smartbox._records import PACKAGES
from smartbox.benchmark import Benchmark, Results
from smartbox.benchmark._figures import example_figure, save_example_figure
from smartbox.benchmark._folding import _parts, percent, plain
from smartbox.benchmark._plan import make_plan
from smartbox.benchmark._results import METRICS, provenance
from smartbox.benchmark._tables import remarks, tables


def test_seeds_are_merged_into_mean_lowest_and_highest(results):
    merged = results.over_seeds("mitigation")
    assert len(merged) == (2 + 1) * 2
    for row in merged:
        keys = row["attack"], row["metric"]
        rows = [one for one in results.tables["mitigation"] if (one["attack"], one["metric"]) == keys]
        assert [one["seed"] for one in rows] == [0, 1, 7]
        values = [one["worst"] for one in rows]
        assert row["worst"] == pytest.approx((sum(values) / 3, min(values), max(values)))
        assert "seed" not in row and row["defense"] == "gaussian_blur"


def test_provenance_is_complete_and_json(results, faces):
    written = results.provenance
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert set(written["versions"]) == {"python", *PACKAGES} and written["seeds"] == [0, 1, 7]
    assert written["data"]["images"] == [48, 32, 28, 1] and written["data"]["identities"] == 4
    assert written["data"]["description"] == faces.DESCR.split("\n")[0]
    parameters = written["parameters"]
    assert set(parameters) == {"network", "attack.fgsm", "attack.pgd", "defense.gaussian_blur", "detector.pca"}
    assert parameters["network"]["epochs"] == 2 and parameters["network"]["optimizer"] == "sgd"
    assert parameters["attack.fgsm"]["eps"] == 0.1 and parameters["attack.pgd"]["eps"] == "16/255"
    assert parameters["attack.pgd"]["early_stop"] is True
    assert all(name not in ("model", "random_state") for values in parameters.values() for name in values)
    assert written["seconds"] > 0 and written["command"]


def builder(image_shape, n_classes):
    raise NotImplementedError


def test_provenance_knows_other_data_and_names_builders(faces):
    parameters = {"network.network": builder, "attack.fgsm.eps": np.float32(0.5)}
    plan = make_plan(attacks=["fgsm"], defenses=[], detectors=[], parameters=parameters, seeds=[0])
    written = provenance(faces.images, faces.target, plan, "")
    assert written["parameters"]["network"]["network"] == f"{__name__}.builder"
    assert written["parameters"]["attack.fgsm"]["eps"] == 0.5
    other = provenance(faces.images, faces.target[::-1].copy(), plan, "")
    assert other["data"]["sha1"] != written["data"]["sha1"]


def test_saved_files_hold_the_rows(results, tmp_path):
    folder = tmp_path / "new" / "folder"
    names = {path.name for path in results.save(folder)}
    assert names == {"results.json", "mitigation.csv", "detection.csv", "attacks.csv", "faces.png", "records"}
    assert names == set(os.listdir(folder))
    whole = json.loads((folder / "results.json").read_text())
    for table, rows in results.tables.items():
        for row, stored in zip(rows, whole["tables"][table], strict=True):
            expected = {key: None if value != value else value for key, value in row.items()}
            assert stored == expected
        if not rows:
            continue
        with open(folder / f"{table}.csv", newline="") as file:
            stored = list(csv.DictReader(file))
        assert [one["attack"] for one in stored] == [row["attack"] for row in rows]
        numbers = [name for name, value in rows[0].items() if not isinstance(value, str)]
        for name in numbers:
            np.testing.assert_array_equal([float(one[name]) for one in stored], [row[name] for row in rows])


def test_files_are_replaced_whole_or_not_at_all(results, tmp_path, monkeypatch):
    results.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        Results(provenance={}, tables=results.tables).save(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_an_earlier_table_does_not_pass_for_one_of_this_run(results, tmp_path):
    results.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    fewer = Results(provenance={}, tables={**results.tables, "detection": []})
    fewer.save(tmp_path)
    assert not (tmp_path / "detection.csv").exists() and (tmp_path / "notes.txt").read_text() == "mine"


def made_up_examples(channels, n_attacks=2, n_defenses=2):
    rng = np.random.default_rng(0)

    def image():
        return rng.random((16, 12, channels)).astype(np.float32)

    attacks, defenses = [f"a{i}" for i in range(n_attacks)], [f"d{i}" for i in range(n_defenses)]
    pairs = [(attack, defense) for attack in attacks for defense in defenses]
    return Bunch(
        face=image(), name="$ann_1$", before="ann", attacked={name: image() for name in attacks},
        after=dict.fromkeys(attacks, "bob"), mitigated={pair: image() for pair in pairs},
        repaired=dict.fromkeys(pairs, "ann"),
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n_attacks", "n_defenses"), [(1, 0), (2, 2), (3, 1)])
def test_picture_has_a_line_an_attack_and_a_panel_a_stage(channels, n_attacks, n_defenses, tmp_path):
    examples = made_up_examples(channels, n_attacks, n_defenses)
    axes = example_figure(examples).axes
    assert len(axes) == n_attacks * (3 + n_defenses)
    shown = [axis.images[0].get_array() for axis in axes]
    np.testing.assert_allclose(shown[0], np.squeeze(examples.face))
    noise = np.clip(0.5 + 10 * (examples.attacked["a0"] - examples.face), 0, 1)
    np.testing.assert_allclose(shown[1], np.squeeze(noise), atol=1e-6)
    np.testing.assert_allclose(shown[2], np.squeeze(examples.attacked["a0"]))
    path = save_example_figure(examples, tmp_path / "faces.png")
    with Image.open(path) as image:
        image.verify()
        assert image.format == "PNG" and image.width > 300


def test_example_is_one_face_of_the_test_part_with_names(results, by_hand, faces):
    example = results.examples
    assert (faces.images == example.face).all(axis=(1, 2, 3)).any()
    assert example.name in faces.target_names and example.before in faces.target_names
    assert set(example.attacked) == {"fgsm", "pgd"}
    assert set(example.mitigated) == {("fgsm", "gaussian_blur"), ("pgd", "gaussian_blur")}


def printed(results, metrics, width):
    console = Console(width=width, file=io.StringIO(), legacy_windows=False)
    for table in tables(results, metrics, width):
        console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_printed_tables_are_whole_at_any_width(results, width):
    text = printed(results, METRICS, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = text.split()
    for row in results.over_seeds("mitigation"):
        for name in ("before_attack", "worst"):
            assert all(part in words for part in percent(row[name]).split("\n"))
    expected = "gaussian_blur verification identification transferred adaptive worst precision linf"
    for word in expected.split():
        assert word in words


def test_metrics_choose_tables_and_columns(results):
    text = printed(results, ["recall"], 160)
    assert "Detection" in text and "recall" in text and "precision" not in text
    assert "Mitigation" not in text and "Attacks:" not in text
    text = printed(results, ["identification", "success"], 160)
    assert "verification" not in text and "identification" in text
    assert "Attacks: success" in text and "Detection" not in text


def made_up_results(n_seeds=1, n=60, right=0.9):
    nothing = dict.fromkeys(("clean_mitigated", "transferred", "adaptive", "worst"), float("nan"))
    rows = [
        {"seed": seed, "attack": "fgsm", "defense": "none", "metric": metric, "n": n, "before_attack": right,
         "after_attack": 0.1, **nothing}
        for seed in range(n_seeds) for metric in ("verification", "identification")
    ]  # fmt: skip
    return Results(provenance={}, tables={"mitigation": rows, "detection": [], "attacks": []})


@pytest.mark.parametrize(
    ("n_done", "n_planned", "title"),
    [
        (1, 1, "network alone\n"),
        (1, None, "network alone\n"),
        (3, 3, "network alone; mean and range over 3 seeds\n"),
        (3, None, "network alone; mean and range over 3 seeds\n"),
        (2, 4, "network alone; mean and range over 2 of 4 seeds\n"),
        (1, 4, "network alone; 1 of 4 seeds\n"),
    ],
)
def test_title_says_over_how_many_seeds(n_done, n_planned, title):
    first = tables(made_up_results(n_done), METRICS, 160, n_planned)[0].renderables[0]
    assert f"{first.plain}\n".endswith(title)


def test_dash_is_explained_where_there_is_one(results):
    assert "-: there is no mitigation" in printed(made_up_results(), METRICS, 160)
    assert "-: " not in printed(results, ["identification", "recall", "success"], 160)


@pytest.mark.parametrize(
    ("n", "right", "words"),
    [
        (50, 0.5, []),
        (49, 0.5, ["there are 49 test faces only, and each is 2.0 %"]),
        (50, 0.12, ["identifies only 12 % of the test faces"]),
        (5, 0.2, ["identifies only 20 %", "there are 5 test faces only"]),
    ],
)
def test_remarks_on_numbers_that_mean_little(n, right, words):
    results = made_up_results(n=n, right=right)
    found = remarks(results)
    assert len(found) == len(words) and all(word in remark for word, remark in zip(words, found, strict=True))
    text = " ".join(printed(results, ["verification"], 160).split())
    assert text.count("Remark: ") == len(words) and all(word in text for word in words)


def test_cells():
    assert percent((0.98864, 0.98864, 0.98864)) == "98.86"
    assert percent((0.5, 0.25, 0.75)) == "50.00\n25.00-75.00"
    assert percent((float("nan"),) * 3) == plain((float("nan"),) * 3) == "-"
    assert plain((0.031372549,) * 3) == "0.03137"


def test_parts_fill_the_room():
    assert list(_parts([4, 4, 4], 8)) == [slice(0, 2), slice(2, 3)]
    assert list(_parts([9, 4], 8)) == [slice(0, 1), slice(1, 2)]
    assert list(_parts([4, 4], 100)) == [slice(0, 2)]


def test_printing_an_undefended_run(faces):
    results = Benchmark(faces, attacks=["fgsm"], defenses=[], detectors=[], parameters={"network.epochs": 1}).run()
    text = printed(results, METRICS, 80)
    assert "Mitigation" in text and "none" in text and "nan" not in text and "Detection" not in text
