"""The chapters of a report of one run."""

from smartbox.report._accuracy_grids import THREATS, guard_grid, mitigation_grid, recognition_grid
from smartbox.report._curves import recognition_curves
from smartbox.report._detection_grids import detection_grids
from smartbox.report._grid import Picture, Section
from smartbox.report._more_curves import detector_rocs, robustness
from smartbox.report._other_grids import attack_grid, cost_grid, provenance_grids, size_grid
from smartbox.report._people import people_grid
from smartbox.report._summary import cautions, findings, measured

_FACES = (
    "A test face, what each attack adds to it ten times enlarged, the perturbed face, and what the mitigations make of it, with "
    "the identity that the network sees in each."
)


def sections(run):
    """Those that the run has something for."""
    results = run.results
    picture = [Picture("picture", "One face through everything", run.picture, _FACES)] if run.picture else []
    made = [
        Section("faces", "Faces", picture, [_FACES] if picture else []),
        Section(
            "recognition-section",
            "Recognition under attack",
            [*recognition_grid(results), *recognition_curves(run), *people_grid(run)],
        ),
        Section("mitigation-section", "Mitigation", [*mitigation_grid(results), *robustness(results)]),
        Section("detection-section", "Detection", [*detection_grids(results), *detector_rocs(run)]),
        Section("guard-section", "Guard", guard_grid(results)),
        Section("attacks-section", "Attacks", [*attack_grid(results), *size_grid(run)]),
        Section("cost-section", "Cost", cost_grid(results)),
        Section("provenance-section", "Provenance", provenance_grids(results)),
    ]
    return [section for section in made if section.items]


def summary(run):
    """``(heading, sentences)``."""
    found = [("What was measured", measured(run.results)), ("What was found", findings(run.results))]
    notes = cautions(run.results)
    if not run.records:
        notes.append("This folder has no records of each face, so that the report has tables, but no ROC and no CMC.")
    return [part for part in [*found, ("What to keep in mind", notes)] if part[1]]


def threat_models():
    """``(name, meaning)`` of what stands in the tables."""
    return [
        ("Before and after attack", "The bare network, with no mitigation."),
        *THREATS.items(),
        ("Unaware, aware", "An attack that does not know of a detector, and one made against network and detector together."),
        ("Guard", "Adaptive attacks are made against network, detector and mitigation together."),
        ("Intervals", "95 %, by draws of identities, since images of one person resemble each other; those of accuracies by "
                      "Wilson's formula where that reaches farther; of one seed's test faces, their ends averaged over the "
                      "seeds. Rates of detection and of ROC curves at 0 or 100 % therefore have none. An attack's success has "
                      "Wilson's interval."),
    ]  # fmt: skip
