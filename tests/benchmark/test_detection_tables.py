"""What is measured of detectors beside their rates, and the tables of each protocol."""

import time

import numpy as np
import pytest
from sklearn.base import clone

from smartbox.attacks import FGSM
from smartbox.benchmark import Benchmark, Results
from smartbox.benchmark._cost import milliseconds_a_face
from smartbox.benchmark._detection import RATES
from smartbox.benchmark._making import detection_training_set
from smartbox.benchmark._pass import Pass
from smartbox.benchmark._plan import make_plan
from smartbox.benchmark._tables import remarks
from smartbox.datasets import make_detection_set
from smartbox.detectors import PCADetector
from smartbox.metrics import detection_report
from tests.benchmark.conftest import EPS, PARAMETERS
from tests.benchmark.test_results import printed


def test_intervals_are_by_identity(results, by_hand):
    for row in results.tables["detection"]:
        for name in (*RATES, "evaded"):
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            assert np.isnan([row[name], low, high]).any() or low <= row[name] <= high
        assert row["ms_per_face"] > 0 and row["plain_passes"] > 0


def test_time_is_that_of_the_quickest_call():
    calls = []

    def wait(X):
        calls.append(len(X))
        time.sleep(0.02 * len(X) if len(calls) == 2 else 0.005 * len(X))

    assert 5 <= milliseconds_a_face(wait, np.zeros(4)) < 10
    assert calls == [1, 4, 4, 4]


def test_a_slow_call_is_not_repeated(monkeypatch):
    monkeypatch.setattr("smartbox.benchmark._cost._ENOUGH", 0.01)
    calls = []
    milliseconds_a_face(lambda X: calls.append(len(X)) or time.sleep(0.02), np.zeros(3))
    assert calls == [1, 3]


@pytest.fixture(scope="module")
def crossed(faces):
    """Three attacks, one of them twice as strong as the others."""
    parameters = {**PARAMETERS, "attack.mifgsm.eps": EPS, "attack.mifgsm.max_iter": 2}
    run = Benchmark(faces, attacks=["fgsm", "pgd", "mifgsm"], defenses=[], parameters={
        key: value for key, value in parameters.items() if not key.startswith("defense")}, seeds=[7],
        protocol="cross")  # fmt: skip
    return run.run()


def test_cross_protocol_meets_every_attack_with_every_training(crossed):
    rows = [row for row in crossed.tables["detection"] if row["population"] == "all"]
    attacks = ["fgsm", "pgd", "mifgsm"]
    expected = [(one, attack) for one in (*attacks, "fgsm + pgd + mifgsm") for attack in attacks]
    expected += [(f"all but {attack}", attack) for attack in attacks]
    assert [(row["trained_on"], row["attack"]) for row in rows] == expected
    assert {row["threat"] for row in rows} == {"unaware"}


def test_cross_rows_are_what_the_steps_by_hand_give(crossed, by_hand):
    attack = FGSM(by_hand.face, eps=EPS, random_state=7)
    X, y, _ = make_detection_set(by_hand.X_train, attack.generate(by_hand.X_train, by_hand.y_train))
    detector = PCADetector(n_components=8, random_state=7).fit(X, y).calibrate(by_hand.X_validation, fpr=0.2)
    X, y, groups = make_detection_set(by_hand.X, attack.generate(by_hand.X, by_hand.y), groups=by_hand.y)
    scores = detector.decision_function(X)
    expected = detection_report(y, scores, threshold=detector.threshold_, groups=groups, random_state=7)
    (row,) = [row for row in crossed.tables["detection"]
              if (row["trained_on"], row["attack"], row["population"]) == ("fgsm", "fgsm", "all")]  # fmt: skip
    for name, interval in expected.pop("intervals").items():
        assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(interval, nan_ok=True)
    assert {key: row[key] for key in expected} == pytest.approx(dict(expected), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("width", [60, 160])
def test_cross_table_has_a_row_a_training_and_columns_an_attack(crossed, width):
    text = printed(crossed, ["recall", "roc_auc"], width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for label in ("fgsm:", "pgd:", "mifgsm:", "TPR", "ROC AUC"):
        assert label in words
    if width == 160:
        assert "all but the tested one" in text and "fgsm + pgd + mifgsm" in text


def test_training_images_are_attacked_once_for_all_trainings(faces, by_hand, monkeypatch):
    plan = make_plan(attacks=["fgsm", "pgd"], defenses=[], detectors=["pca"], seeds=[7], parameters={
        key: value for key, value in PARAMETERS.items() if not key.startswith("defense")}, protocol="cross")  # fmt: skip
    one = Pass(faces.images, faces.target, {}, plan, seed=7)
    one.pieces["network",] = by_hand.face
    n = len(by_hand.y_train)
    targets = np.roll(by_hand.y_train, n // 2)
    one.training = type(faces)(X=by_hand.X_train, y=by_hand.y_train, targets=targets)
    attacked = []
    generate = FGSM.generate
    monkeypatch.setattr(FGSM, "generate", lambda self, X, y: attacked.append(len(X)) or generate(self, X, y))
    mixed = detection_training_set(one, ("fgsm", "pgd"))[0]
    alone = detection_training_set(one, ("fgsm",))[0]
    assert attacked == [n], "FGSM attacks each face once, though two trainings ask for it"
    whole = generate(FGSM(by_hand.face, eps=EPS, random_state=7), by_hand.X_train, by_hand.y_train)
    np.testing.assert_array_equal(alone[n:], whole)
    assert (mixed[n:] == whole).all(axis=(1, 2, 3)).sum() >= n // 2


def test_targeted_attacks_on_training_faces_aim_at_targets_too(faces, by_hand):
    plan = make_plan(attacks=["fgsm"], defenses=[], detectors=["pca"], seeds=[7],
                     parameters={"attack.fgsm.targeted": True, "attack.fgsm.eps": EPS}, protocol="paper")  # fmt: skip
    one = Pass(faces.images, faces.target, {}, plan, seed=7)
    one.pieces["network",] = by_hand.face
    targets = (by_hand.y_train + 1) % 4
    one.training = type(faces)(X=by_hand.X_train, y=by_hand.y_train, targets=targets)
    X, y = detection_training_set(one, ("fgsm",))
    attack = clone(plan.attack["fgsm"]).set_params(model=by_hand.face, random_state=7)
    np.testing.assert_array_equal(X[y == 1], attack.generate(by_hand.X_train, targets))


def made_up(threats=("unaware", "aware")):
    values = {"fpr": 0.05, "evaded": 0.25, "roc_auc": 0.9, "ms_per_face": 1.5, "precision": 0.6125, "allowed_fpr": 0.05}
    rows = [
        {"seed": 0, "attack": "pgd", "detector": "pca", "threat": threat, "population": "all", "trained_on": "pgd",
         **values, "recall": 0.8 if threat == "unaware" else 0.3}
        for threat in threats
    ]  # fmt: skip
    return Results(provenance={"protocol": "committed"}, tables={"mitigation": [], "detection": rows, "attacks": []})


def test_committed_table_sets_unaware_beside_aware():
    text = printed(made_up(), ["fpr", "recall", "evaded", "roc_auc", "ms_per_face"], 160)
    (line,) = [line for line in text.splitlines() if "pca" in line]
    cells = [part.strip() for part in line.strip("│ ").split("│")]
    assert cells == ["pca", "pgd", "5.00", "80.00", "30.00", "25.00", "90.00", "90.00", "1.5"]
    assert "61.25" not in text
    more = printed(made_up(), ["recall", "precision"], 160)
    assert "61.25" in more and more.count("Detection (%)") == 2


def test_a_detector_without_gradient_has_no_aware_figures():
    text = printed(made_up(("unaware",)), ["recall", "evaded"], 160)
    assert "80.00" in text and "-: the detector's score has no gradient" in " ".join(text.split())


def test_titles_and_rows_tell_the_false_alarms_that_few_faces_allow(crossed):
    """Of four validation faces, one of five at least may be flagged: the tables must not say 5 %."""
    assert {row["allowed_fpr"] for row in crossed.tables["detection"]} == {0.2}
    text = printed(crossed, ["recall", "roc_auc"], 160)
    assert "at 20 % false alarms" in text and "at 5 %" not in text


def test_a_detector_that_can_flag_nothing_is_named():
    row = {"detector": "conv_filter", "never_flags": 1.0}
    first = {"metric": "identification", "n": 100, "before_attack": 1.0, "attack": "fgsm", "defense": "none", "seed": 0}
    for silent in (1.0, 0.0):
        tables = {"mitigation": [first], "detection": [row | {"never_flags": silent}]}
        told = remarks(Results(provenance={}, tables=tables))
        assert any("conv_filter flags nothing" in remark for remark in told) == bool(silent)
