"""AutoAttack against every other attack of the toolbox, at the same budget: slow."""

import numpy as np
import pytest

from smartbox import load_sample_model
from smartbox.attacks import APGD, DDN, EAD, FAB, FGSM, FMN, MIFGSM, PGD, AutoAttack, CarliniL2, DeepFool, Square
from smartbox.datasets import make_faces

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*the gradient was zero")]


@pytest.fixture(scope="module")
def sample():
    """The sample model and 64 faces that it knows."""
    face, faces = load_sample_model(), make_faces(n_images=2)
    right = np.flatnonzero(face.predict(faces.images) == faces.target)[:64]
    return face, faces.images[right], faces.target[right]


def rivals(face, eps, norm):
    budget = {"eps": eps, "norm": norm, "random_state": 0}
    yield FGSM(face, eps=eps, norm=norm)
    yield PGD(face, n_restarts=5, **budget)
    for parameters in (
        {"n_restarts": 3},
        {"loss": "dlr", "n_restarts": 3},
        {"n_targets": 5},
        {"loss": "dlr", "n_targets": 9},
    ):
        yield APGD(face, **{**budget, "random_state": 1}, **parameters)
    yield FAB(face, norm=norm, max_iter=20, n_candidates=5)
    yield FMN(face, norm=norm, max_iter=200)
    yield Square(face, max_queries=300, **budget)
    if norm != "l1":
        yield MIFGSM(face, eps=eps, norm=norm)
        yield DeepFool(face, norm=norm)
    if norm == "l2":
        yield DDN(face, max_iter=200)
        yield CarliniL2(face, binary_search_steps=4, max_iter=100, initial_const="auto")
    if norm == "l1":
        yield EAD(face, decision_rule="l1", binary_search_steps=4, max_iter=100, initial_const="auto")


@pytest.mark.parametrize(
    ("norm", "eps"), [("linf", 2 / 255), ("l2", 0.5), ("l2", 0.1), ("l1", 10.0), ("l1", 2.0)], ids=str
)
def test_no_attack_leaves_fewer(sample, norm, eps):
    """What an attack finds counts where it is within ``eps``, but for rounding."""
    face, X, y = sample
    report = AutoAttack(face, eps=eps, norm=norm, max_queries=300, random_state=0).generate(X, y, return_report=True)[1]
    for rival in rivals(face, eps, norm):
        found = rival.generate(X, y, return_report=True)[1]
        won = found.success & (found[norm] <= eps * (1 + 1e-6) + 1e-6)
        assert np.sum(~report.success) <= np.sum(~won), rival
