"""Detector and mitigation at work together, against the same steps by hand."""

import numpy as np
import pytest

from smartbox import as_face_model
from smartbox.attacks import FGSM
from smartbox.benchmark import Benchmark
from smartbox.benchmark._making import scale_of
from smartbox.benchmark._results import GUARD_COLUMNS
from smartbox.datasets import make_detection_set
from smartbox.defenses import GaussianBlur, GuardedClassifier
from smartbox.detectors import PCADetector
from tests.benchmark.conftest import EPS, PARAMETERS, SIGMA
from tests.benchmark.test_results import printed


@pytest.fixture(scope="module")
def guarded(faces):
    parameters = {key: value for key, value in PARAMETERS.items() if not key.startswith("attack.pgd")}
    defenses = ["gaussian_blur", "noise_training"]
    return Benchmark(faces, attacks=["fgsm"], defenses=defenses, parameters=parameters, seeds=[7], guard=True).run()


@pytest.fixture(scope="module")
def detector(by_hand):
    X_adv = FGSM(by_hand.face, eps=EPS, random_state=7).generate(by_hand.X_train, by_hand.y_train)
    X, y, _ = make_detection_set(by_hand.X_train, X_adv)
    return PCADetector(n_components=8, random_state=7).fit(X, y).calibrate(by_hand.X_validation, fpr=0.2)


@pytest.mark.parametrize("then", ["rejection", "gaussian_blur"])
def test_rows_are_what_the_steps_by_hand_give(guarded, by_hand, detector, then):
    scale = scale_of(by_hand.face, detector, by_hand.X_validation)
    model = GuardedClassifier(
        by_hand.face, detector=detector, defense=None if then == "rejection" else GaussianBlur(sigma=SIGMA), scale=scale
    )
    if then == "rejection":  # the one model, built the other way
        X_aware = by_hand.attack(as_face_model(by_hand.face, detector=detector, scale=scale))
    else:
        X_aware = by_hand.attack(model)
    sets = {"clean": by_hand.X, "transferred": by_hand.attack(by_hand.face), "adaptive": X_aware}
    right = {column: model.predict(X) == by_hand.y for column, X in sets.items()}
    right["worst"] = right["transferred"] & right["adaptive"]
    expected = {column: each.mean() for column, each in right.items()}
    expected["clean_flagged"] = np.mean(detector.decision_function(by_hand.X) > detector.threshold_)
    (row,) = [row for row in guarded.tables["guard"] if row["then"] == then]
    assert {column: row[column] for column in GUARD_COLUMNS} == pytest.approx(expected)
    assert (row["attack"], row["detector"], row["n"]) == ("fgsm", "pca", len(by_hand.y))
    assert all(row[f"{column}_low"] <= row[column] <= row[f"{column}_high"] for column in GUARD_COLUMNS)


def test_what_is_no_step_before_the_network_is_left_out(guarded):
    assert [row["then"] for row in guarded.tables["guard"]] == ["rejection", "gaussian_blur"]
    assert {row["against"] for row in guarded.tables["attacks"]} == {
        "the network", "gaussian_blur", "noise_training", "the network and pca", "gaussian_blur where pca flags"
    }  # fmt: skip


def test_table_of_its_own(guarded, results, tmp_path):
    text = " ".join(printed(guarded, ["identification"], 160).split())
    assert "Guard: identification (%)" in text and "network, detector and mitigation (adaptive)" in text
    assert "Guard" not in printed(guarded, ["success"], 160) and "Guard" not in printed(
        results, ["identification"], 160
    )
    guarded.save(tmp_path)
    assert (tmp_path / "guard.csv").exists()
    results.save(tmp_path)
    assert not (tmp_path / "guard.csv").exists(), "an earlier run's does not pass for one of this"


def test_a_detector_without_gradient_and_several_attacks(faces, monkeypatch):
    monkeypatch.delattr(PCADetector, "_value_and_gradient")
    parameters = {"network.epochs": 1, "attack.pgd.max_iter": 2, "detector.pca.n_components": 4}
    run = Benchmark(faces, parameters=parameters, detector_faces=16, guard=True).run()
    rows = {(row["then"], row["attack"]): row for row in run.tables["guard"]}
    assert list(rows) == [
        (then, attack) for then in ("rejection", "gaussian_blur") for attack in ("fgsm", "pgd", "all attacks")
    ]
    for (then, _), row in rows.items():
        assert np.isnan(row["adaptive"]) == np.isnan(row["worst_low"]) == (then == "rejection")
        assert rows[then, "all attacks"]["transferred"] <= row["transferred"]
    assert "-: the detector's score has no gradient" in " ".join(printed(run, ["identification"], 160).split())
