"""The figures that the SmartBox paper prints, to stand beside those of a run.

Its percentages are truncated, and all are shares of the same 264 test faces: here stand the numbers of faces, of which
all the printed precisions, recalls and accuracies follow.
"""

import numpy as np

_N = 264
TARGETED = {"deep_fool": False, "ead_l1": True, "ead_en": True, "fgsm": False, "carlini_l2": True}
_ATTACKS = tuple(TARGETED)
# Table 3: pairs that count, attacked faces that were flagged, clean ones that were.
_DETECTED = {
    "adaptive_noise": ((251, 234, 68), (251, 247, 68), (251, 248, 68), (173, 80, 65), (251, 249, 68)),
    "artifact": ((_N, 253, 47), (_N, 258, 31), (_N, 255, 40), (_N, 228, 27), (_N, 256, 45)),
    "conv_filter": ((_N, 171, 157), (_N, 197, 150), (_N, 170, 146), (_N, 193, 9), (_N, 168, 142)),
    "pca": ((_N, 163, 114), (_N, 149, 95), (_N, 145, 110), (_N, 167, 8), (_N, 151, 116)),
}
# Table 2: faces that are right, verified and identified.
_BEFORE = (256, 251)
_AFTER = ((132, 9), (0, 0), (0, 0), (177, 79), (0, 0))
_MITIGATED = {
    "adversarial_training": ((260, 257), (261, 258), (262, 262), (211, 151), (263, 263)),
    "gaussian_blur": ((247, 229), (245, 225), (243, 220), (178, 86), (245, 226)),
    "randomization": ((194, 119), (181, 101), (181, 96), (153, 48), (185, 104)),
    "denoising_autoencoder": ((246, 231), (248, 227), (246, 226), (233, 199), (246, 227)),
}
_MEASURES = ("verification", "identification")
DETECTION_FIGURES = ("paper_precision", "paper_recall", "paper_accuracy")
MITIGATION_FIGURES = ("paper_before_attack", "paper_after_attack", "paper_transferred")


def is_the_papers(name, attack):
    """Whether an attack of this name is one of the paper's, and aims as there."""
    return name in TARGETED and attack.targeted == TARGETED[name]


def population_of(detector):
    """Over which faces the paper scored a detector; see `smartbox.metrics.detection_population`."""
    return "successful" if detector == "adaptive_noise" else "all"


def detection_figures(name, attack, detector, population):
    """Precision, recall and accuracy of Table 3; NaN where it has none, or counts other faces."""
    if detector not in _DETECTED or population != population_of(detector) or not is_the_papers(name, attack):
        return dict.fromkeys(DETECTION_FIGURES, np.nan)
    pairs, hits, alarms = _DETECTED[detector][_ATTACKS.index(name)]
    figures = _printed(hits, hits + alarms), _printed(hits, pairs), _printed(hits + pairs - alarms, 2 * pairs)
    return dict(zip(DETECTION_FIGURES, figures, strict=True))


def mitigation_figures(name, attack, defense, measure):
    """Accuracies before and after the attack, and after mitigation, of Table 2; NaN where it has none."""
    if not is_the_papers(name, attack):
        return dict.fromkeys(MITIGATION_FIGURES, np.nan)
    row, column = _ATTACKS.index(name), _MEASURES.index(measure)
    mitigated = _printed(_MITIGATED[defense][row][column], _N) if defense in _MITIGATED else np.nan
    figures = _printed(_BEFORE[column], _N), _printed(_AFTER[row][column], _N), mitigated
    return dict(zip(MITIGATION_FIGURES, figures, strict=True))


def _printed(part, whole):
    """A share as the paper prints it, cut after the second digit of the percentage."""
    return (10_000 * part // whole) / 10_000
