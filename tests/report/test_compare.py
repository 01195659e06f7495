"""Two runs side by side: what is tested, against independent answers; and what cannot be compared."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from smartbox.report import write_report
from smartbox.report._compare import comparison_sections, comparison_summary
from smartbox.report._differences import _area, detection, holm, recognition
from smartbox.report._folder import read_run
from tests.report.conftest import make_run
from tests.report.test_report import Page


@pytest.fixture(scope="module")
def runs(run_folder, tmp_path_factory):
    """The run, and one with better mitigations and detectors."""
    return read_run(run_folder), read_run(make_run(tmp_path_factory.mktemp("other") / "run", luck=1.5))


def test_holm():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert holm([]).shape == (0,)


def test_faces_are_paired(runs):
    rows = {row["names"]: row for row in recognition(*runs)}
    assert len(rows) == 2 * (1 + 2 + 3 * (1 + 2 * 2))
    where = {"attack": "pgd", "against": "gaussian_blur", "defense": "gaussian_blur"}
    right = []
    for run in runs:
        frame = run.records["predictions"]
        for name, value in where.items():
            frame = frame[frame[name] == value]
        frame = frame.sort_values(["seed", "face"])
        right.append((frame["predicted"] == frame["identity"]).to_numpy())
    only_a, only_b = np.sum(right[0] & ~right[1]), np.sum(right[1] & ~right[0])
    row = rows["pgd", "gaussian_blur", "gaussian_blur", "identification"]
    assert (row["only_a"], row["only_b"]) == (only_a, only_b) and only_b > only_a
    assert row["p"] == pytest.approx(binomtest(int(only_a), int(only_a + only_b)).pvalue)
    assert row["a"] == right[0].mean() and row["low"] <= row["b"] - row["a"] <= row["high"]
    assert rows["pgd", "network", "none", "identification"]["p"] == 1, "nothing differs without mitigation"


def test_detectors_are_paired(runs):
    rows = {row["names"][:1] + row["names"][2:]: row for row in detection(*runs)}
    assert len(rows) == 2 * (1 + 3 * 2 * 2)
    row = rows["pca", "pgd", "network", "ROC AUC"]
    for run, name in zip(runs, "ab", strict=True):
        frame = run.records["scores"]
        frame = frame[(frame["detector"] == "pca") & frame["attack"].isin(["", "pgd"]) & (frame["aware"] == 0)]
        areas = [roc_auc_score(part["attack"] == "pgd", part["score"]) for _, part in frame.groupby("seed")]
        assert row[name] == pytest.approx(np.mean(areas))
    assert row["p"] < 0.01 and 0 < row["low"] < row["b"] - row["a"] < row["high"]
    assert rows["pca", "none", "–", "FPR"]["p"] == 1, "clean scores are the same"
    assert min(row["p"] for row in rows.values()) * len(rows) < 0.05, "there are enough draws for the correction"


def test_area_of_a_draw_is_that_of_weighted_faces():
    rng = np.random.RandomState(0)
    scores = {"score_a_clean": rng.normal(size=20), "score_a_attacked": rng.normal(1, 1, 20)}
    part = pd.DataFrame({"seed": np.repeat([3, 5], [9, 11]), **scores})
    weights = rng.randint(0, 4, size=(3, 20)).astype(float)
    for drawn, area in zip(weights, _area(part, "a")(weights), strict=True):
        expected = []
        for rows in (np.arange(9), np.arange(9, 20)):
            scores = np.concatenate([part["score_a_clean"][rows], part["score_a_attacked"][rows]])
            expected.append(roc_auc_score(np.repeat([0, 1], len(rows)), scores, sample_weight=np.tile(drawn[rows], 2)))
        assert area == pytest.approx(np.mean(expected))


def test_a_run_does_not_differ_from_itself(runs):
    sections = comparison_sections(runs[0], runs[0])
    assert [section.id for section in sections] == ["recognition-section", "detection-section"]
    assert "none is more than chance" in " ".join(comparison_summary(*runs[:1], *runs[:1], sections)[1][1])
    assert {cells[-1].text for section in sections for grid in section.items for _, cells in grid.lines} == {"no"}


def test_page_of_two_runs(runs, tmp_path):
    path = write_report(runs[0].folder, tmp_path / "comparison.html", other=runs[1].folder)
    page = Page(path.read_text())
    assert set(page.tables) == {"recognition", "detection"}
    text = " ".join("".join(page.text).split())
    assert "Of 62 differences tested," in text and "McNemar's exact test" in text and "paired bootstrap" in text


def test_runs_that_cannot_be_compared(run_folder, tmp_path):
    others = {
        "their data differ": tmp_path / "data",
        "their seeds differ": make_run(tmp_path / "seeds", seeds=(0,), attacks={"pgd": 4.0}),
        "no records of each face": tmp_path / "old",
    }
    shutil.copytree(run_folder, tmp_path / "data")
    whole = (tmp_path / "data" / "results.json").read_text()
    (tmp_path / "data" / "results.json").write_text(whole.replace('"sha1": "0123"', '"sha1": "4567"'))
    shutil.copytree(run_folder, tmp_path / "old", ignore=shutil.ignore_patterns("records"))
    for message, other in others.items():
        for pair in ((run_folder, other), (other, run_folder)):
            with pytest.raises(ValueError, match=message):
                write_report(pair[0], tmp_path / "page.html", other=pair[1])
    assert not (tmp_path / "page.html").exists()


def test_what_one_run_alone_has_is_told(run_folder, tmp_path):
    other = make_run(tmp_path / "fewer", attacks={"pgd": 4.0})
    whole = json.loads((other / "results.json").read_text())
    whole["provenance"]["parameters"]["network"]["epochs"] = 9
    (other / "results.json").write_text(json.dumps(whole))
    page = Page(write_report(run_folder, tmp_path / "page.html", other=other).read_text())
    assert "Only A has fgsm@2/255 against network behind none" in "".join(page.text)
    assert ["parameters: network: epochs", "8", "9"] in page.lines("provenance")
