"""Mitigations under all attacks together, how sure the figures are, and the signs of a gradient that is hidden."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

from smartbox import FaceClassifier
from smartbox.attacks import FGSM, PGD
from smartbox.benchmark import Benchmark, Results
from smartbox.benchmark._accuracy import ALL_ATTACKS, accuracies
from smartbox.benchmark._making import aimed
from smartbox.benchmark._mitigation import AWARE, mitigate
from smartbox.benchmark._one_seed import OneSeed
from smartbox.benchmark._pass import Pass
from smartbox.benchmark._plan import make_plan
from smartbox.benchmark._records import Recorder
from smartbox.benchmark._results import MITIGATION_COLUMNS, provenance
from smartbox.benchmark._rows import tables_of
from smartbox.benchmark._signs import SIGNS, masking_signs, quicker
from smartbox.benchmark._tables import remarks
from smartbox.benchmark._trainings import teachers
from smartbox.defenses import GaussianBlur, Randomization
from smartbox.estimator_checks import example_images
from smartbox.metrics import bootstrap_by_identity, wilson_interval
from smartbox.report import write_report
from tests.benchmark.conftest import EPS, PARAMETERS
from tests.benchmark.test_results import printed
from tests.doubles import small_network
from tests.metrics.test_masking import Ripple, Staircase, StaircaseSeenThrough


def rows_of(results, **values):
    return [row for row in results.tables["mitigation"] if all(row[name] == value for name, value in values.items())]


def decisions(hand, model, X):
    predicted = model.predict(X)
    accepted = predicted == hand.probes.claims
    return {"identification": predicted == hand.y, "verification": accepted == hand.probes.is_genuine}


def test_without_attacks_that_know_the_rest_is_the_same(faces, results, tmp_path):
    found = Benchmark(faces, parameters=PARAMETERS, seeds=(7,), adaptive=False).run()
    aware = {f"{column}{end}" for column in AWARE for end in ("", "_low", "_high")} | {"masked", *SIGNS}
    for row, whole in zip(found.tables["mitigation"], rows_of(results, seed=7), strict=True):
        assert all(np.isnan(row[name]) for name in aware)
        assert {name: row[name] for name in row.keys() - aware} == pytest.approx(
            {name: whole[name] for name in row.keys() - aware}, nan_ok=True
        )
    assert {row["threat"] for row in found.tables["detection"]} == {"unaware"}
    assert any("no attack knew of the mitigations" in remark for remark in remarks(found))
    text = printed(found, ["identification"], 200)
    assert "(adaptive)" not in text and "worst" not in text and "transferred" in text
    found.save(tmp_path)
    page = write_report(tmp_path).read_text()
    assert "transferred" in page and "No attack knew of the mitigations" in page


@pytest.mark.parametrize("metric", ["identification", "verification"])
def test_all_attacks_counts_faces_that_are_right_under_each(results, by_hand, metric):
    def right(model, X):
        return decisions(by_hand, model, X)[metric]

    pgd = {"eps": 16 / 255, "max_iter": 3, "random_state": 7}
    made = [[FGSM(model, eps=EPS), PGD(model, **pgd, **more)]
            for model, more in ((by_hand.face, {"early_stop": False}), (by_hand.blurred, {}))]  # fmt: skip
    unaware, aware = ([attack.generate(by_hand.X, by_hand.y) for attack in attacks] for attacks in made)
    expected = {
        "before_attack": right(by_hand.face, by_hand.X),
        "after_attack": np.logical_and(*(right(by_hand.face, X) for X in unaware)),
        "clean_mitigated": right(by_hand.blurred, by_hand.X),
        "transferred": np.logical_and(*(right(by_hand.blurred, X) for X in unaware)),
        "adaptive": np.logical_and(*(right(by_hand.blurred, X) for X in aware)),
    }
    expected["worst"] = expected["transferred"] & expected["adaptive"]
    (row,) = rows_of(results, seed=7, attack=ALL_ATTACKS, metric=metric)
    assert {column: row[column] for column in expected} == pytest.approx(
        {column: each.mean() for column, each in expected.items()}
    )
    assert row["defense"] == "gaussian_blur" and row["n"] == len(by_hand.y)
    single = rows_of(results, seed=7, metric=metric)
    assert row["worst"] == min(each["worst"] for each in single)


def test_one_attack_needs_no_row_for_all(faces):
    plain = Benchmark(faces, attacks=["fgsm"], defenses=[], detectors=[], parameters={"network.epochs": 1}).run()
    assert {row["attack"] for row in plain.tables["mitigation"]} == {"fgsm"}


def test_without_mitigation_the_network_meets_all_attacks(faces):
    parameters = {"network.epochs": 1, "attack.pgd.max_iter": 2}
    plain = Benchmark(faces, defenses=[], detectors=[], parameters=parameters).run()
    for metric in ("identification", "verification"):
        *each, together = rows_of(plain, metric=metric)
        assert together["attack"] == ALL_ATTACKS and together["defense"] == "none"
        assert together["after_attack"] <= min(row["after_attack"] for row in each)
        assert np.isnan([together["worst"], together["worst_low"], together["masked"]]).all()
        assert together["after_attack_low"] <= together["after_attack"] <= together["after_attack_high"]


def test_intervals_reach_to_the_farther_of_identities_and_wilson():
    people = np.repeat(np.arange(5), 8)
    right = {"one": people < 3, "all": people >= 0}
    row = accuracies(right, people, 0, ("one", "none", "all"))
    drawn = bootstrap_by_identity(right["one"], people, random_state=0)
    assert row["one"] == 0.6 and (row["one_low"], row["one_high"]) == pytest.approx((drawn.low, drawn.high))
    assert row["one_low"] < wilson_interval(24, 40)[0]
    assert (row["all_low"], row["all_high"]) == wilson_interval(40, 40)
    assert np.isnan([row["none"], row["none_low"], row["none_high"]]).all()
    assert list(row)[:3] == ["one", "none", "all"]


def test_every_accuracy_has_an_interval(results):
    for row in results.tables["mitigation"]:
        for column in MITIGATION_COLUMNS:
            assert 0 <= row[f"{column}_low"] <= row[column] <= row[f"{column}_high"] <= 1
            assert row[f"{column}_low"] < row[f"{column}_high"]


@pytest.mark.parametrize("metrics", [["identification"], ["recall"], ["success"]])
def test_every_title_names_the_threat(results, metrics):
    text = " ".join(printed(results, metrics, 160).split())
    assert "knowing" in text or "unaware" in text
    if metrics == ["identification"]:
        assert "knowing the network alone (transferred) or network and mitigation (adaptive)" in text


def test_gaussian_blur_raises_no_alarm(results):
    for row in results.tables["mitigation"]:
        assert row["masked"] == row["masked_transferred"] == row["masked_zero_gradient"] == 0
        assert np.isnan(row["masked_random_search"])
    assert not any("masked" in remark for remark in remarks(results))


@pytest.fixture(scope="module")
def one():
    """A pass over images that a network of fixed weights names rightly, with one attack in one step and one in many."""
    face = FaceClassifier.from_network(small_network())
    X = example_images(face.image_shape_, n=40, seed=3)
    parameters = {"attack.pgd.max_iter": 20, "attack.fgsm.eps": 0.03, "attack.pgd.eps": 0.03}
    plan = make_plan(attacks=["fgsm", "pgd"], defenses=["gaussian_blur"], detectors=[], parameters=parameters, seeds=[0],
                     check_masking=True)  # fmt: skip
    one = Pass(X, face.predict(X), {}, plan, seed=0)
    one.pieces["network",] = face
    one.X, one.y = X, face.predict(X)
    one.claims = Bunch(targets=(one.y + 1) % 5, claims=one.y, is_genuine=np.ones(len(X), bool))
    return one


@pytest.mark.filterwarnings("ignore:.*the gradient was zero")
@pytest.mark.parametrize(
    ("defense", "signs"),
    [
        (GaussianBlur(sigma=0.7), set()),
        (StaircaseSeenThrough(), set()),
        (Staircase(), {"masked_zero_gradient", "masked_random_search"}),
        (Ripple(), {"masked_random_search"}),
    ],
)
def test_signs_of_mitigations_that_hide_their_gradient(one, defense, signs):
    for piece in list(one.pieces):  # what another mitigation has left
        if "gaussian_blur" in piece:
            del one.pieces[piece]
    one.pieces["defense", "gaussian_blur"] = defense
    one.recorder = Recorder(one.seed)
    one.note("faces", image=np.arange(len(one.y)), identity=one.y, target=one.claims.targets, claim=one.claims.claims,
             is_genuine=1, name="anybody")  # fmt: skip
    mitigate(one)
    one.tables = tables_of(one.recorder.frames(), provenance(one.X, one.y, one.plan, ""))
    rows = rows_of(one, attack="pgd") + rows_of(one, attack=ALL_ATTACKS)
    for row in rows:
        found = {name for name in SIGNS if row[name] == 1}
        assert signs <= found if signs else not found
        assert row["masked"] == bool(signs)
    told = " ".join(remarks(Results(provenance={}, tables=one.tables)))
    assert ("the gradients of gaussian_blur look masked" in told) == bool(signs)


def seen_by(y, quicker, **met):
    """Records of two attacks on a mitigation, as arrays."""
    nobody = np.zeros(len(y), int)
    plain = {"clean": y, "transferred": y, "adaptive": y, "flat": nobody, "flat_before": nobody}
    attacks = {name: Bunch(targeted=False, quicker=faster) for name, faster in quicker.items()}
    predictions, perturbations = {}, {}
    for name in attacks:
        found = {**plain, **met.get("both", {}), **met.get(name, {})}
        predictions["", "", "made_up"] = Bunch(predicted=found["clean"])
        predictions[name, "network", "made_up"] = Bunch(predicted=found["transferred"])
        predictions[name, "made_up", "made_up"] = Bunch(predicted=found["adaptive"])
        perturbations[name, "made_up"] = Bunch(n_zero_gradients=found["flat"])
        perturbations[name, "network"] = Bunch(n_zero_gradients=found["flat_before"])
    seen = OneSeed.__new__(OneSeed)
    vars(seen).update(y=y, attacks=attacks, predictions=predictions, perturbations=perturbations, searches={})
    return seen


def test_each_sign_against_the_binomial(one):
    """Five faces more are beyond chance, ``2 ** -5 < 0.05``, and four are not; faces that were wrong do not count."""
    y, n = one.y, len(one.y)
    wrong = (y + 1) % 5

    def taken(count, start=0):
        return np.where((np.arange(n) >= start) & (np.arange(n) < start + count), wrong, y)

    def signs(count, **more):
        clean = {"both": {"clean": taken(2)}}  # of the faces that are taken below two were wrong before
        changes = {key: change(count) for key, change in more.items()}
        found = masking_signs(seen_by(y, {"fgsm": [], "pgd": ["fgsm"]}, **clean, **changes), "made_up")
        return {name for name in SIGNS if found["pgd"][name] == 1}

    for sign, change in {
        "masked_transferred": {"pgd": lambda count: {"transferred": taken(count)}},
        "masked_one_step": {"fgsm": lambda count: {"adaptive": taken(count)}},
        "masked_zero_gradient": {"pgd": lambda count: {"flat": (taken(count) != y).astype(int)}},
    }.items():
        assert signs(7, **change) == {sign} and not signs(6, **change)
    both = {"pgd": lambda count: {"flat": (taken(count) != y) * 1, "flat_before": (taken(count) != y) * 1}}
    assert not signs(20, **both), "what the bare network has too is not the mitigation's"


@pytest.mark.parametrize(("name", "other"), [("fgsm@0.04", "pgd"), ("fgsm", "square"), ("fgsm", "fgsm@0.05")])
def test_one_step_is_set_beside_many_of_no_smaller_budget_alone(one, name, other):
    plan = make_plan(attacks=[name, other], defenses=["gaussian_blur"], detectors=[], seeds=[0],
                     parameters={f"attack.{other}.eps": 0.03} if "@" not in other else {})  # fmt: skip
    assert quicker(plan.attack, other) == [] and quicker(one.plan.attack, "pgd") == ["fgsm"]
    seen = seen_by(one.y, {name: [], other: quicker(plan.attack, other)})
    assert np.isnan(masking_signs(seen, "made_up")[other]["masked_one_step"])


@pytest.mark.parametrize(
    ("defense", "chosen", "met"),
    [
        (Randomization(), "standard", "rand"),
        (GaussianBlur(), "standard", "standard"),
        (Randomization(), "plus", "plus"),
    ],
)
def test_auto_attack_meets_chance_in_the_version_for_chance(one, defense, chosen, met):
    parameters = {"attack.auto_attack.version": chosen}
    plan = make_plan(attacks=["auto_attack"], defenses=[], detectors=[], parameters=parameters, seeds=[0])
    another = Pass(one.X, one.y, {}, plan, seed=0)
    another.pieces["network",] = one.model()
    assert aimed(another, "auto_attack", make_pipeline(defense, one.model())).version == met
    assert aimed(another, "auto_attack", one.model()).version == chosen


@pytest.mark.slow
def test_auto_attack_at_two_eps_meets_every_kind_of_mitigation(faces):
    names = ["auto_attack@2/255", "auto_attack@16/255"]
    few = {"max_iter": 2, "n_targets": 1, "max_queries": 2}
    parameters = {f"attack.{name}.{key}": value for name in names for key, value in few.items()}
    defenses = ["gaussian_blur", "randomization", "adversarial_training", "noise_training"]
    run = Benchmark(
        faces, attacks=names, defenses=defenses, detectors=[], parameters={**parameters, "network.epochs": 2}
    )
    results = run.run()
    assert [row["attack"] for row in rows_of(results, defense="randomization", metric="identification")] == [
        *names, ALL_ATTACKS
    ]  # fmt: skip
    for row in results.tables["attacks"]:
        assert row["median_linf"] <= {names[0]: 2 / 255, names[1]: 16 / 255}[row["attack"]] + 1e-6
    assert results.provenance["parameters"]["attack.auto_attack@2/255"]["eps"] == "2/255"


def test_mitigations_do_not_learn_from_autoattack_where_there_is_another():
    """It would attack all training faces, at thousands of gradients each."""
    choices = {"defenses": ["denoising_autoencoder", "adversarial_training", "gaussian_blur"], "detectors": [], "seeds": [0]}

    def taught(attacks, **parameters):
        plan = make_plan(attacks=attacks, **choices, parameters=parameters)
        return [teachers(plan, name) for name in plan.defense]

    assert taught(["autoattack", "pgd", "fgsm"]) == [["pgd", "fgsm"], ["pgd"], []]
    assert taught(["autoattack"]) == [["auto_attack"], ["auto_attack"], []]
    taught(["autoattack", "pgd"], **{"defense.adversarial_training.mode": "pgd"})
