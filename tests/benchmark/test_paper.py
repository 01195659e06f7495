"""The paper's figures against the percentages that it prints, and where they stand in a run."""

import numpy as np
import pytest

from smartbox.attacks import EAD, FGSM, CarliniL2, DeepFool
from smartbox.benchmark import Benchmark, Results
from smartbox.benchmark import _registry as registry
from smartbox.benchmark._paper import (
    DETECTION_FIGURES,
    MITIGATION_FIGURES,
    TARGETED,
    detection_figures,
    mitigation_figures,
    population_of,
)
from smartbox.benchmark._tables import remarks
from tests.benchmark.conftest import PARAMETERS
from tests.benchmark.test_results import printed

ATTACKS = {
    "deep_fool": DeepFool(None),
    "ead_l1": EAD(None, decision_rule="l1", targeted=True),
    "ead_en": EAD(None, targeted=True),
    "fgsm": FGSM(None),
    "carlini_l2": CarliniL2(None, targeted=True),
}
DETECTORS = ("adaptive_noise", "artifact", "conv_filter", "pca")
# As printed: precision, recall and accuracy (%) of the four detectors.
TABLE_3 = {
    "deep_fool": "77.48 93.22 83.06 84.33 95.83 89.01 52.13 64.77 52.65 58.84 61.74 59.28",
    "ead_l1": "78.41 98.40 85.65 89.27 97.72 92.99 56.77 74.62 58.90 61.06 56.43 60.22",
    "ead_en": "78.48 98.80 85.85 86.44 96.59 90.71 53.79 64.39 54.54 56.86 54.92 56.62",
    "fgsm": "55.17 46.24 54.33 89.41 86.36 88.06 95.54 73.10 84.84 95.42 63.25 80.11",
    "carlini_l2": "78.54 99.20 86.05 85.04 96.96 89.96 54.19 63.63 54.92 56.55 57.19 56.62",
}
DEFENSES = ("adversarial_training", "gaussian_blur", "randomization", "denoising_autoencoder")
# As printed, of both measures (%): before and after the attack, and after each mitigation.
TABLE_2 = {
    "deep_fool": ("96.96 50 98.48 93.56 73.48 93.18", "95.07 3.4 97.34 86.74 45.07 87.50"),
    "ead_l1": ("96.96 0 98.86 92.80 68.56 93.93", "95.07 0 97.72 85.22 38.25 85.98"),
    "ead_en": ("96.96 0 99.24 92.04 68.56 93.18", "95.07 0 99.24 83.33 36.36 85.60"),
    "fgsm": ("96.96 67.04 79.92 67.42 57.95 88.25", "95.07 29.92 57.19 32.57 18.18 75.37"),
    "carlini_l2": ("96.96 0 99.62 92.80 70.07 93.18", "95.07 0 99.62 85.60 39.39 85.98"),
}


def numbers(text):
    return [float(word) for word in text.split()]


@pytest.mark.parametrize("name", ATTACKS)
def test_detection_is_as_printed(name):
    found = [detection_figures(name, ATTACKS[name], detector, population_of(detector)) for detector in DETECTORS]
    assert [100 * one[key] for one in found for key in DETECTION_FIGURES] == pytest.approx(numbers(TABLE_3[name]))


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("measure", ["verification", "identification"])
def test_mitigation_is_as_printed(name, measure):
    before, after, *mitigated = numbers(TABLE_2[name][measure == "identification"])
    for defense, expected in zip(DEFENSES, mitigated, strict=True):
        found = mitigation_figures(name, ATTACKS[name], defense, measure)
        # the paper gives one figure, DeepFool's identification, with one digit
        assert [100 * found[key] for key in MITIGATION_FIGURES] == pytest.approx([before, after, expected], abs=1e-6)


def test_there_are_figures_of_the_papers_runs_alone():
    for found in (
        detection_figures("pgd", FGSM(None), "pca", "all"),
        detection_figures("fgsm", FGSM(None), "pca", "successful"),
        detection_figures("fgsm", FGSM(None), "adaptive_noise", "all"),
        detection_figures("fgsm", FGSM(None, targeted=True), "pca", "all"),
        detection_figures("carlini_l2", CarliniL2(None), "pca", "all"),
        detection_figures("fgsm", FGSM(None), "lid", "all"),
        mitigation_figures("pgd", FGSM(None), "gaussian_blur", "verification"),
    ):
        assert np.isnan(list(found.values())).all()
    other = mitigation_figures("fgsm", FGSM(None), "none", "verification")
    assert other["paper_after_attack"] == 0.6704 and np.isnan(other["paper_transferred"])


def test_its_names_are_those_of_the_command():
    assert set(ATTACKS) == set(TARGETED) <= set(registry.available("attack"))
    assert set(DETECTORS) <= set(registry.available("detector"))


def test_they_stand_beside_ours_under_the_papers_protocol(faces):
    parameters = {key: value for key, value in PARAMETERS.items() if not key.startswith("attack.pgd")}
    run = Benchmark(faces, attacks=["fgsm"], parameters=parameters, protocol="paper", detector_faces=20)
    results = run.run()
    for row in results.tables["detection"]:
        ours = row["population"] == "all"
        assert (row["paper_precision"] == 0.9542) == ours == (row["paper_accuracy"] == 0.8011)
    for row in results.tables["mitigation"]:
        expected = {"verification": (0.9696, 0.6704, 0.6742), "identification": (0.9507, 0.2992, 0.3257)}
        assert tuple(row[key] for key in MITIGATION_FIGURES) == expected[row["metric"]]
    text = printed(results, ["precision", "identification"], 160)
    assert "95.42" in text and "29.92" in text and "32.57" in text and "the paper's" not in text


def test_a_remark_says_why_figures_are_left_out():
    parameters = {"attack.carlini_l2": {"targeted": False}, "attack.fgsm": {"targeted": True}, "network": {}}
    rows = [{"seed": 0, "attack": "fgsm", "metric": "identification", "n": 60, "before_attack": 0.9}]
    tables = {"mitigation": rows, "detection": [], "attacks": []}
    found = remarks(Results(provenance={"protocol": "paper", "parameters": parameters}, tables=tables))
    assert len(found) == 2
    assert "the paper's fgsm has no target" in found[0] and "set attack.fgsm.targeted=false" in found[0]
    assert "the paper's carlini_l2 aims at a target" in found[1] and "set attack.carlini_l2.targeted=true" in found[1]
    assert not remarks(Results(provenance={"protocol": "cross", "parameters": parameters}, tables=tables))
