"""Face recognition, detection, perturbation and robustness metrics, their pictures, and scorers for scikit-learn."""

from smartbox.metrics._bootstrap import bootstrap_by_identity
from smartbox.metrics._claims import all_claim_scores
from smartbox.metrics._cmc_display import CMCDisplay
from smartbox.metrics._cross_attack import cross_attack_matrix
from smartbox.metrics._det import det_points
from smartbox.metrics._detection import conformal_threshold, detection_population, detection_report
from smartbox.metrics._identification import cmc_curve, rank_k_accuracy
from smartbox.metrics._intervals import mcnemar_test, wilson_interval
from smartbox.metrics._masking import masking_report
from smartbox.metrics._open_set import dir_at_far, open_set_curve
from smartbox.metrics._pairs import all_pair_scores, match_pairs, pair_scores
from smartbox.metrics._perturbation import perturbation_size
from smartbox.metrics._perturbation_display import PerturbationDisplay
from smartbox.metrics._robustness import (
    accuracy_at_rejection,
    accuracy_rejection_curve,
    certified_accuracy,
    worst_case_accuracy,
)
from smartbox.metrics._robustness_display import RobustnessCurveDisplay
from smartbox.metrics._scorers import AttackScorer, make_attack_scorer
from smartbox.metrics._threshold import choose_threshold, fold_accuracy, verification_report
from smartbox.metrics._verification import (
    claim_scores,
    equal_error_rate,
    roc_points,
    tar_at_far,
    verification_accuracy,
)
from smartbox.metrics._verification_displays import DETDisplay, VerificationROCDisplay

__all__ = [
    "AttackScorer",
    "CMCDisplay",
    "DETDisplay",
    "PerturbationDisplay",
    "RobustnessCurveDisplay",
    "VerificationROCDisplay",
    "accuracy_at_rejection",
    "accuracy_rejection_curve",
    "all_claim_scores",
    "all_pair_scores",
    "bootstrap_by_identity",
    "certified_accuracy",
    "choose_threshold",
    "claim_scores",
    "cmc_curve",
    "conformal_threshold",
    "cross_attack_matrix",
    "det_points",
    "detection_population",
    "detection_report",
    "dir_at_far",
    "equal_error_rate",
    "fold_accuracy",
    "make_attack_scorer",
    "masking_report",
    "match_pairs",
    "mcnemar_test",
    "open_set_curve",
    "pair_scores",
    "perturbation_size",
    "rank_k_accuracy",
    "roc_points",
    "tar_at_far",
    "verification_accuracy",
    "verification_report",
    "wilson_interval",
    "worst_case_accuracy",
]
