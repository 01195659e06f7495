"""Records of single images: every number of the tables comes from them, in memory and from disk alike."""

import gzip
import json
import os

import numpy as np
import pytest

from smartbox.benchmark import Benchmark, Results
from smartbox.benchmark import _record_files as record_files
from smartbox.benchmark._records import SCHEMA, as_frame
from smartbox.metrics import cmc_curve, verification_accuracy
from tests.benchmark.conftest import PARAMETERS


def exactly(tables):
    """Numbers to the last bit, and NaN equal to itself."""
    return {
        table: [{name: repr(value) for name, value in row.items()} for row in rows] for table, rows in tables.items()
    }


@pytest.fixture(scope="module")
def guarded(faces):
    """Everything that a run can note: guards, searches, mitigations that train, labels that look like numbers."""
    named = type(faces)(images=faces.images, target=np.array(["007", "NA", 'b,\n"c"', "å"])[faces.target])
    parameters = {key: PARAMETERS[key] for key in ("network.epochs", "network.learning_rate", "attack.pgd.max_iter")}
    return Benchmark(named, attacks=["pgd", "fgsm"], parameters={**parameters, "detector.pca.n_components": 4},
                     seeds=(5,), guard=True, check_masking=True).run()  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["results", "guarded"])
def test_a_saved_folder_is_recomputed_to_the_bit(request, tmp_path, name, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    results = request.getfixturevalue(name)
    results.save(tmp_path, format=form)
    loaded = Results.load(tmp_path)
    assert exactly(loaded.recompute().tables) == exactly(loaded.tables) == exactly(results.tables)
    assert loaded.provenance == results.provenance
    again = tmp_path / "again"
    loaded.save(again, format=form)
    for path in (tmp_path / "records").glob("*.gz"):
        assert (again / "records" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("protocol", ["paper", "cross"])
def test_other_protocols_are_recomputed_too(faces, protocol, tmp_path):
    parameters = {"network.epochs": 1, "detector.pca.n_components": 4, "attack.pgd.max_iter": 2}
    results = Benchmark(faces, defenses=[], parameters=parameters, protocol=protocol).run()
    results.save(tmp_path)
    assert exactly(Results.load(tmp_path).recompute().tables) == exactly(results.tables)


def test_records_are_what_the_steps_by_hand_give(results, by_hand):
    records = {name: frame[frame["seed"] == 7] for name, frame in results.records.items()}
    clean = records["predictions"].query("attack == '' and defense == 'none'")
    np.testing.assert_array_equal(clean["predicted"], by_hand.face.predict(by_hand.X))
    logits = by_hand.face.logits(by_hand.X)
    for k, share in enumerate(cmc_curve(by_hand.y, logits, classes=by_hand.face.classes_), start=1):
        assert np.mean(clean["rank"] <= k) == pytest.approx(share)
    claimed = by_hand.face.predict_proba(by_hand.X)[np.arange(len(by_hand.y)), by_hand.probes.claims]
    np.testing.assert_allclose(clean["claim_score"], np.log(claimed / (1 - claimed)), rtol=1e-3, atol=1e-4)
    faces = records["faces"]
    accepted = verification_accuracy(clean["predicted"].to_numpy(), faces["claim"].to_numpy(), faces["is_genuine"] == 1)
    (row,) = [row for row in results.tables["mitigation"]
              if (row["seed"], row["attack"], row["metric"]) == (7, "fgsm", "verification")]  # fmt: skip
    assert row["before_attack"] == pytest.approx(accepted)
    np.testing.assert_array_equal(faces["identity"], by_hand.y)
    fgsm = records["perturbations"].query("attack == 'fgsm' and against == 'network'")
    delta = np.abs(by_hand.attack(by_hand.face) - by_hand.X).max(axis=(1, 2, 3))
    np.testing.assert_allclose(fgsm["linf"], delta, rtol=1e-6)
    flagged = records["scores"].merge(records["detectors"], on=["seed", "detector", "trained_on"])
    np.testing.assert_array_equal(flagged["flagged"] == 1, flagged["score"] > flagged["threshold"])


def test_an_older_folder_has_tables_and_no_records(results, tmp_path):
    Results(provenance=results.provenance, tables=results.tables).save(tmp_path)
    loaded = Results.load(tmp_path)
    assert exactly(loaded.tables) == exactly(results.tables) and loaded.records is None
    with pytest.raises(ValueError, match="no records of single images"):
        loaded.recompute()


def test_records_of_an_earlier_run_do_not_stay(results, tmp_path):
    results.save(tmp_path)
    (tmp_path / "records" / "notes.txt").write_text("mine")
    Results(provenance=results.provenance, tables=results.tables).save(tmp_path)
    assert os.listdir(tmp_path / "records") == ["notes.txt"]


def cut(folder):
    path = folder / "records" / "predictions.csv.gz"
    path.write_bytes(path.read_bytes()[:-40])


def change_a_number(folder):
    path = folder / "records" / "scores.csv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"1", b"2", 1)))


def write_json(text):
    return lambda folder: (folder / "results.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "predictions.csv.gz is not the file that belongs to results.json"),
        (change_a_number, "scores.csv.gz is not the file"),
        (lambda folder: (folder / "records" / "faces.csv.gz").unlink(), "faces.csv.gz is missing"),
        (lambda folder: (folder / "results.json").unlink(), "holds no results.json"),
        (write_json('{"provenance": {'), "is damaged"),
        (write_json("[1]"), "not what smartbox bench or Results.save writes"),
        (write_json('{"provenance": [], "tables": {}}'), "no JSON objects"),
        (write_json('{"faces": 3}'), "not what smartbox bench"),
    ],
)
def test_a_damaged_or_foreign_folder_is_named(results, tmp_path, damage, message):
    results.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        Results.load(tmp_path)


@pytest.mark.parametrize("table", ["predictions", "perturbations", "scores", "detectors"])
def test_records_that_are_not_whole_are_told(results, table):
    for rows, message in ((slice(1, None), "lack faces|not whole"), (slice(0, 0), "not whole")):
        records = {**results.records, table: results.records[table].iloc[rows]}
        with pytest.raises(ValueError, match=message):
            Results(provenance=results.provenance, records=records).recompute()


def test_formats(results, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no format 'xlsx'"):
        results.save(tmp_path, format="xlsx")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"pip install 'smartbox\[parquet\]'"):
        results.save(tmp_path, format="parquet")
    assert os.listdir(tmp_path) == []


def test_infinite_and_missing_numbers_come_back(tmp_path):
    columns = {name: [np.array([0, 0])] for name in SCHEMA["detectors"]}
    columns |= {"threshold": [np.array([np.inf, np.nan])], "detector": [np.array(["", "nan"])]}
    frame = as_frame("detectors", columns)
    sums = record_files.write_records({"detectors": frame}, tmp_path)
    back = record_files._read_records(tmp_path / "records", sums, "integer")["detectors"]
    assert back["threshold"].tolist()[0] == np.inf and np.isnan(back["threshold"][1])
    assert back["detector"].tolist() == ["", "nan"]


def test_thresholds_stand_in_the_json(results, tmp_path):
    results.save(tmp_path)
    thresholds = json.loads((tmp_path / "results.json").read_text())["thresholds"]
    assert [(row["seed"], row["detector"]) for row in thresholds] == [(0, "pca"), (1, "pca"), (7, "pca")]
    assert [row["threshold"] for row in thresholds] == results.records["detectors"]["threshold"].tolist()
