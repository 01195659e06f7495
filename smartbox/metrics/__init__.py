"""Face recognition, detection and perturbation metrics, and scorers for scikit-learn."""

from smartbox.metrics._bootstrap import bootstrap_by_identity
from smartbox.metrics._cross_attack import cross_attack_matrix
from smartbox.metrics._detection import conformal_threshold, detection_population, detection_report
from smartbox.metrics._identification import cmc_curve, rank_k_accuracy
from smartbox.metrics._perturbation import perturbation_size
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
    "bootstrap_by_identity",
    "claim_scores",
    "cmc_curve",
    "conformal_threshold",
    "cross_attack_matrix",
    "detection_population",
    "detection_report",
    "equal_error_rate",
    "make_attack_scorer",
    "perturbation_size",
    "rank_k_accuracy",
    "roc_points",
    "tar_at_far",
    "verification_accuracy",
]
