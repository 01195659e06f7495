"""Face recognition, detection, perturbation and robustness metrics, and scorers for scikit-learn."""

from smartbox.metrics._detection import conformal_threshold, detection_population, detection_report
from smartbox.metrics._identification import cmc_curve, rank_k_accuracy
from smartbox.metrics._masking import masking_report
from smartbox.metrics._perturbation import perturbation_size
from smartbox.metrics._robustness import (
    accuracy_at_rejection,
    accuracy_rejection_curve,
    certified_accuracy,
    worst_case_accuracy,
)
from smartbox.metrics._scorers import AttackScorer, make_attack_scorer
from smartbox.metrics._verification import (
    claim_scores,
    equal_error_rate,
    roc_points,
    tar_at_far,
    verification_accuracy,
)

__all__ = [
    "AttackScorer",
    "accuracy_at_rejection",
    "accuracy_rejection_curve",
    "certified_accuracy",
    "claim_scores",
    "cmc_curve",
    "conformal_threshold",
    "detection_population",
    "detection_report",
    "equal_error_rate",
    "make_attack_scorer",
    "masking_report",
    "perturbation_size",
    "rank_k_accuracy",
    "roc_points",
    "tar_at_far",
    "verification_accuracy",
    "worst_case_accuracy",
]
