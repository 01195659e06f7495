"""The benchmark's rows against the same steps taken by hand, and its refusals."""

import sys

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

from smartbox import FaceClassifier
from smartbox.attacks import FGSM, PGD
from smartbox.benchmark import Benchmark
from smartbox.benchmark._making import detection_training_set
from smartbox.benchmark._pass import Pass
from smartbox.benchmark._plan import _OPTIMIZERS, check_image_size, check_metrics, make_plan
from smartbox.datasets import make_detection_set, make_faces
from smartbox.defenses import AdversarialTraining, DenoisingAutoencoder
from smartbox.detectors import ConvFilterDetector, PCADetector
from smartbox.metrics import detection_report, verification_accuracy
from smartbox.networks import paper_network
from tests.benchmark.conftest import EPS, PARAMETERS, ByHand


@pytest.fixture
def no_training(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("trained before the mistake was found")

    monkeypatch.setattr(FaceClassifier, "fit", fit)


def rows_of(results, table, **values):
    rows = results.tables[table]
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


def row_of(results, table, **values):
    (row,) = rows_of(results, table, **values)
    return row


@pytest.mark.parametrize("metric", ["verification", "identification"])
def test_mitigation_row_is_what_the_steps_by_hand_give(results, by_hand, metric):
    def accuracy(model, X):
        predicted = model.predict(X)
        if metric == "identification":
            return np.mean(predicted == by_hand.y)
        return verification_accuracy(predicted, by_hand.probes.claims, by_hand.probes.is_genuine)

    X_adv, X_adaptive = by_hand.attack(by_hand.face), by_hand.attack(by_hand.blurred)
    expected = {
        "before_attack": accuracy(by_hand.face, by_hand.X),
        "after_attack": accuracy(by_hand.face, X_adv),
        "clean_mitigated": accuracy(by_hand.blurred, by_hand.X),
        "transferred": accuracy(by_hand.blurred, X_adv),
        "adaptive": accuracy(by_hand.blurred, X_adaptive),
    }
    row = row_of(results, "mitigation", seed=7, attack="fgsm", metric=metric)
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert row["n"] == len(by_hand.y) and row["defense"] == "gaussian_blur"


def test_mitigations_that_train_learn_from_the_runs_own_attack_and_network(faces, by_hand):
    parameters = {key: PARAMETERS[key] for key in ("network.epochs", "network.learning_rate", "attack.fgsm.eps")}
    run = Benchmark(
        faces, attacks=["fgsm"], defenses=["adversarial_training", "denoising_autoencoder"], detectors=[], seeds=[7],
        parameters={**parameters, "defense.denoising_autoencoder.epochs": 1},
    ).run()  # fmt: skip
    attack = FGSM(by_hand.face, eps=EPS, random_state=7)
    models = {
        "adversarial_training": AdversarialTraining(by_hand.face, attack, random_state=7).fit(
            by_hand.X_train, by_hand.y_train
        ),
        "denoising_autoencoder": make_pipeline(
            DenoisingAutoencoder([attack], epochs=1, random_state=7).fit(by_hand.X_train), by_hand.face
        ),
    }
    for name, model in models.items():
        sets = {
            "clean_mitigated": by_hand.X,
            "transferred": by_hand.attack(by_hand.face),
            "adaptive": by_hand.attack(model),
        }
        right = {column: model.predict(X) == by_hand.y for column, X in sets.items()}
        right["worst"] = right["transferred"] & right["adaptive"]
        row = row_of(run, "mitigation", defense=name, metric="identification")
        assert {column: row[column] for column in right} == pytest.approx(
            {key: np.mean(each) for key, each in right.items()}
        )
        assert ("fgsm", name) in run.examples.mitigated
    np.testing.assert_array_equal(
        run.examples.mitigated["fgsm", "adversarial_training"], run.examples.attacked["fgsm"]
    )  # another network sees the images themselves
    assert "attack" not in run.provenance["parameters"]["defense.adversarial_training"]


def test_an_attack_that_does_not_suit_a_mitigation_is_found_before_any_training(faces, no_training):
    with pytest.raises(ValueError, match="untargeted PGD"):
        Benchmark(
            faces, attacks=["fgsm", "pgd"], defenses=["adversarial_training"], detectors=[],
            parameters={"defense.adversarial_training.mode": "trades"},
        ).run()  # fmt: skip


def test_worst_counts_faces_that_are_right_under_both(results, by_hand):
    right = [by_hand.blurred.predict(by_hand.attack(model)) == by_hand.y for model in (by_hand.face, by_hand.blurred)]
    row = row_of(results, "mitigation", seed=7, attack="fgsm", metric="identification")
    assert row["worst"] == pytest.approx(np.mean(np.logical_and(*right)))


def test_worst_is_never_above_either(results):
    assert len(results.tables["mitigation"]) == 3 * (2 + 1) * 2
    for row in results.tables["mitigation"]:
        assert row["worst"] <= min(row["transferred"], row["adaptive"])
        assert row["worst"] >= row["transferred"] + row["adaptive"] - 1 - 1e-12
        assert all(0 <= row[name] <= 1 for name in ("before_attack", "after_attack", "clean_mitigated", "worst"))


def test_attack_row_is_what_the_steps_by_hand_give(results, by_hand):
    for model, against in ((by_hand.face, "the network"), (by_hand.blurred, "gaussian_blur")):
        X_adv = by_hand.attack(model)
        delta = np.abs(X_adv.astype(np.float64) - by_hand.X).reshape(len(X_adv), -1)
        row = row_of(results, "attacks", seed=7, attack="fgsm", against=against)
        assert row["success"] == pytest.approx(np.mean(model.predict(X_adv) != by_hand.y))
        rounded = np.rint(X_adv * 255) / np.float32(255)
        assert row["success_8bit"] == pytest.approx(np.mean(model.predict(rounded) != by_hand.y))
        assert row["median_linf"] == pytest.approx(np.median(delta.max(axis=1)), rel=1e-5)
        assert row["median_linf"] <= EPS + 1e-6
        assert row["median_l1"] == pytest.approx(np.median(delta.sum(axis=1)), rel=1e-4)
        assert row["median_l2"] == pytest.approx(np.median(np.sqrt((delta**2).sum(axis=1))), rel=1e-4)
        assert row["gradients_per_face"] == 1


def test_detection_rows_are_what_the_steps_by_hand_give(results, by_hand):
    seed = by_hand.seed
    attacks = {"fgsm": FGSM(by_hand.face, eps=EPS, random_state=seed),
               "pgd": PGD(by_hand.face, eps=16 / 255, max_iter=3, early_stop=False, random_state=seed)}  # fmt: skip
    turn = np.random.RandomState(seed).permutation(len(by_hand.train)) % 2
    whole = [attack.generate(by_hand.X_train, by_hand.y_train) for attack in attacks.values()]
    X_adv_train = np.where((turn == 0)[:, None, None, None], *whole)
    X_fit, y_fit, _ = make_detection_set(by_hand.X_train, X_adv_train)
    detector = (
        PCADetector(n_components=8, random_state=seed).fit(X_fit, y_fit).calibrate(by_hand.X_validation, fpr=0.2)
    )  # the largest of 4
    clean = by_hand.face.predict(by_hand.X)
    for name, attack in attacks.items():
        X_adv = attack.generate(by_hand.X, by_hand.y)
        wrong = by_hand.face.predict(X_adv) != by_hand.y
        for population, counts in (("all", np.ones(len(wrong), bool)), ("successful", (clean == by_hand.y) & wrong)):
            if not counts.any():
                assert not rows_of(
                    results, "detection", seed=seed, attack=name, population=population, threat="unaware"
                )
                continue
            X, y, _ = make_detection_set(by_hand.X[counts], X_adv[counts])
            expected = detection_report(y, detector.decision_function(X), threshold=detector.threshold_)
            row = row_of(results, "detection", seed=seed, attack=name, population=population, threat="unaware")
            assert {key: row[key] for key in expected} == pytest.approx(dict(expected), abs=1e-9, nan_ok=True)
            assert row["trained_on"] == "fgsm + pgd" and row["n_clean"] == row["n_attacked"] == counts.sum()
            assert row["evaded"] == pytest.approx(np.mean(wrong & (detector.predict(X_adv) == 0)))


def test_attacks_that_know_the_detector_get_past_it_more_often(results):
    for seed in (0, 1, 7):
        for name in ("fgsm", "pgd"):
            rows = [
                row_of(results, "detection", seed=seed, attack=name, population="all", threat=threat)
                for threat in ("unaware", "aware")
            ]
            assert rows[1]["evaded"] >= rows[0]["evaded"] - 0.1
            against = row_of(results, "attacks", seed=seed, attack=name, against="the network and pca")
            assert against["success"] == pytest.approx(rows[1]["evaded"], abs=1e-9)


def test_papers_protocol_trains_a_detector_for_each_attack(faces):
    parameters = {**PARAMETERS, "detector.pca.n_components": 4}
    results = Benchmark(
        faces, attacks=["fgsm", "pgd"], parameters=parameters, protocol="paper", detector_faces=20
    ).run()
    rows = results.tables["detection"]
    assert {(row["attack"], row["trained_on"]) for row in rows} == {("fgsm", "fgsm"), ("pgd", "pgd")}
    assert {row["threat"] for row in rows} == {"unaware"}
    assert {row["population"] for row in rows} <= {"all", "successful"}


def test_protocol_and_detector_faces_are_checked_before_any_work(faces):
    with pytest.raises(ValueError, match=r"no protocol 'papr' \(did you mean 'paper'\?\)"):
        Benchmark(faces, protocol="papr").run()
    with pytest.raises(ValueError, match="at least one for each of the 2 attacks"):
        Benchmark(faces, detector_faces=1).run()


def test_detectors_look_into_the_network_of_the_run(faces, by_hand):
    parameters = {key: PARAMETERS[key] for key in ("network.epochs", "network.learning_rate", "attack.fgsm.eps")}
    run = Benchmark(faces, attacks=["fgsm"], defenses=[], detectors=["conv_filter"], parameters=parameters, seeds=[7])
    row = row_of(run.run(), "detection", threat="unaware", population="all")
    attack = FGSM(by_hand.face, eps=EPS, random_state=7)
    X, y, _ = make_detection_set(by_hand.X_train, attack.generate(by_hand.X_train, by_hand.y_train))
    detector = ConvFilterDetector(by_hand.face, random_state=7).fit(X, y).calibrate(by_hand.X_validation, fpr=0.2)
    X, y, _ = make_detection_set(by_hand.X, attack.generate(by_hand.X, by_hand.y))
    expected = detection_report(y, detector.decision_function(X), threshold=detector.threshold_)
    assert {key: row[key] for key in expected} == pytest.approx(dict(expected), abs=1e-9, nan_ok=True)


@pytest.fixture
def one_pass(faces, by_hand):
    plan = make_plan(attacks=["fgsm", "pgd"], defenses=["gaussian_blur"], detectors=["pca"],
                     parameters=PARAMETERS, seeds=[7])  # fmt: skip
    one = Pass(faces.images, faces.target, {}, plan, seed=7)
    one.pieces["network",] = by_hand.face
    one.training = Bunch(X=by_hand.X_train, y=by_hand.y_train)
    return one


def test_detectors_learn_from_equal_halves(one_pass, by_hand):
    X, y = detection_training_set(one_pass, tuple(one_pass.plan.attack))
    n = len(by_hand.X_train)
    np.testing.assert_array_equal(np.bincount(y), [n, n])
    np.testing.assert_array_equal(X[y == 0], by_hand.X_train)
    sizes = np.abs(X[y == 1] - X[y == 0]).max(axis=(1, 2, 3))
    assert np.sum(np.isclose(sizes, EPS, atol=1e-5)) == n // 2, "FGSM alone spends this eps, on half of the faces"


def test_more_attacks_than_faces_leave_no_empty_share(one_pass, by_hand):
    one_pass.plan.attack = {f"fgsm{i}": FGSM(None) for i in range(5)}
    one_pass.training = Bunch(X=by_hand.X_train[[0, -1]], y=by_hand.y_train[[0, -1]])
    X, y = detection_training_set(one_pass, tuple(one_pass.plan.attack))
    assert y.tolist() == [0, 0, 1, 1] and (X[2:] != X[:2]).any(axis=(1, 2, 3)).all()


def test_targeted_attacks_aim_at_the_targets_of_the_protocol(faces):
    hand = ByHand(faces, seed=3, targeted=True)
    parameters = {**PARAMETERS, "attack.fgsm.targeted": True}
    for name in [name for name in parameters if name.startswith(("attack.pgd", "detector"))]:
        del parameters[name]
    results = Benchmark(faces, attacks=["fgsm"], detectors=[], parameters=parameters, seeds=[3]).run()
    X_adv = hand.attack(hand.face)
    row = row_of(results, "attacks", against="the network")
    assert row["success"] == pytest.approx(np.mean(hand.face.predict(X_adv) == hand.probes.targets))
    row = row_of(results, "mitigation", metric="verification")
    expected = verification_accuracy(hand.face.predict(X_adv), hand.probes.claims, hand.probes.is_genuine)
    assert row["after_attack"] == pytest.approx(expected)


def test_same_seed_gives_identical_tables(results, faces):
    again = Benchmark(faces, parameters=PARAMETERS, seeds=(7,)).run()
    for table, rows in again.tables.items():
        ones, others = [
            [{key: value for key, value in row.items() if key not in ("ms_per_face", "plain_passes")} for row in found]
            for found in (rows, rows_of(results, table, seed=7))
        ]
        assert repr(ones) == repr(others)  # NaN is equal to nothing


def test_passes_grow_seed_by_seed(faces):
    run = Benchmark(faces, attacks=["fgsm"], detectors=[], parameters={"network.epochs": 1}, seeds=(2, 5, 2))
    seen = [([row["seed"] for row in results.tables["attacks"]], list(results.provenance["seeds"]))
            for results in run.passes()]  # fmt: skip
    assert seen == [([2, 2], [2]), ([2, 2, 5, 5], [2, 5])]


def test_a_pass_that_fails_leaves_the_finished_ones_whole(faces, monkeypatch):
    attack = Pass.attack

    def fail(self, *arguments, **more):
        if self.seed == 5:
            raise KeyboardInterrupt
        return attack(self, *arguments, **more)

    monkeypatch.setattr(Pass, "attack", fail)
    passes = Benchmark(faces, attacks=["fgsm"], parameters={"network.epochs": 1}, seeds=(2, 5)).passes()
    results = next(passes)
    with pytest.raises(KeyboardInterrupt):
        next(passes)
    assert results.provenance["seeds"] == [2]
    assert all(row["seed"] == 2 for rows in results.tables.values() for row in rows)


def test_without_defence_and_detector(faces):
    results = Benchmark(faces, attacks=["fgsm"], defenses=[], detectors=[], parameters={"network.epochs": 1}).run()
    assert results.tables["detection"] == [] and len(results.tables["attacks"]) == 1
    for row in results.tables["mitigation"]:
        assert row["defense"] == "none" and 0 <= row["after_attack"] <= 1 and np.isnan(row["worst"])


CHOICES = [
    ({"attacks": ["fsgm"]}, "no attack 'fsgm' (did you mean 'fgsm'?)"),
    ({"attacks": "fgsm"}, "attacks as a list of names"),
    ({"attacks": []}, "at least one attack"),
    ({"defenses": ["gausian_blur"]}, "did you mean 'gaussian_blur'?"),
    ({"detectors": ["pcb"]}, "did you mean 'pca'?"),
    ({"detectors": [3]}, "detectors as a list of names"),
    ({"parameters": {"attack.fgsm.epz": 1}}, "has no parameter 'epz' (did you mean 'eps'?)"),
    ({"parameters": {"attack.fgsm.eps": -1}}, "'eps' parameter of FGSM"),
    ({"parameters": {"attack.fgsm.eps": "much"}}, "such as '8/255', got 'much'"),
    ({"parameters": {"attack.fgsm.model": 1}}, "cannot set 'attack.fgsm.model'"),
    ({"parameters": {"attack.fgsm.random_state": 1}}, "seeds"),
    ({"parameters": {"network.verbose": 1}}, "verbose"),
    ({"parameters": {"network.epochs": True}}, "expected epochs of the network as a number"),
    ({"parameters": {"network.epoch": 1}}, "the network has no parameter 'epoch' (did you mean 'epochs'?)"),
    ({"parameters": {"network.epochs": 0}}, "'epochs' parameter of FaceClassifier"),
    ({"parameters": {"atack.fgsm.eps": 1}}, "did you mean 'attack'?"),
    ({"parameters": {"attack.eps": 1}}, "attack.NAME.PARAMETER"),
    ({"parameters": {"eps": 1}}, "attack.NAME.PARAMETER"),
    ({"parameters": {"attack.pgd.eps": 1}, "attacks": ["fgsm"]}, "not part of this run, which has fgsm"),
    ({"parameters": ["attack.fgsm.eps=1"]}, "parameters as a dict"),
    ({"attacks": ["pdg@2/255"]}, "no attack 'pdg@2/255' (did you mean 'pgd@2/255'?)"),
    ({"attacks": ["pgd@much"]}, "expected eps of attack 'pgd@much' as a number or a fraction"),
    ({"attacks": ["deep_fool@2/255"]}, "deep_fool has no eps that the name could give: leave out '@2/255'"),
    ({"attacks": ["pgd@8"]}, "did you mean 8/255?"),
    ({"attacks": ["pgd@2/255"], "parameters": {"attack.pgd@2/255.eps": 0.1}}, "choose 'pgd' to set it"),
    ({"attacks": ["pgd@0.1"], "parameters": {"attack.pgd@0.1.max_itr": 3}}, "(did you mean 'max_iter'?)"),
    ({"attacks": ["pgd@0.1"], "parameters": {"attack.pgd.max_iter": 3}}, "not part of this run, which has pgd@0.1"),
    ({"guard": True, "detectors": []}, "guard needs detectors whose threshold is committed, got no detector"),
    ({"guard": True, "protocol": "cross"}, "got protocol 'cross'"),
    ({"check_masking": True, "defenses": []}, "got no mitigation"),
    ({"seeds": []}, "at least one seed"),
    ({"seeds": 3}, "list of integers"),
    ({"seeds": [-1]}, "got -1"),
    ({"seeds": [0.5]}, "got 0.5"),
]


@pytest.mark.parametrize(("wrong", "message"), CHOICES)
def test_mistakes_are_found_before_any_training(faces, no_training, wrong, message):
    with pytest.raises(ValueError) as caught:
        Benchmark(faces, **wrong).run()
    assert message in str(caught.value)


def test_bad_faces_are_found_before_any_training(faces, no_training):
    broken = faces.images.copy()
    broken[-1, 0, 0] = np.nan
    for images, target, message in (
        (broken, faces.target, "NaN"),
        (faces.images * 255, faces.target, "[0, 1]"),
        (faces.images, faces.target[:-1], "one label an image"),
        (faces.images[:39], faces.target[:39], "expected at least 10"),
        (faces.images[:12], faces.target[:12], "two identities"),
    ):
        with pytest.raises(ValueError) as caught:
            Benchmark(type(faces)(images=images, target=target)).run()
        assert message in str(caught.value)
    with pytest.raises(ValueError, match="got ndarray without images and target"):
        Benchmark(faces.images).run()


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize(
    ("key", "value", "known"),
    [
        ("network", "paper", True),
        ("network", lambda image_shape, n_classes: None, True),
        ("network", "resnet", False),
        ("optimizer", "sgd", True),
        ("optimizer", "AdamW", True),
        ("optimizer", {"class_name": "adam", "config": {}}, True),
        ("optimizer", "foo", False),
        ("optimizer", None, False),
    ],
)
def test_names_of_network_and_optimizer_are_checked_with_the_plan(monkeypatch, loaded, key, value, known):
    if loaded:
        import keras  # noqa: F401
    else:
        monkeypatch.delitem(sys.modules, "keras", raising=False)
    choices = {"attacks": ["fgsm"], "defenses": [], "detectors": [], "seeds": [0]}
    if known:
        make_plan(**choices, parameters={f"network.{key}": value})
    else:
        with pytest.raises(ValueError, match=f"there is no {key} {value!r}"):
            make_plan(**choices, parameters={f"network.{key}": value})


def test_optimizers_that_pass_the_plan_are_known_to_keras():
    import keras

    for name in _OPTIMIZERS:
        assert isinstance(keras.optimizers.get(name), keras.optimizers.Optimizer)
    choices = {"attacks": ["fgsm"], "defenses": [], "detectors": [], "seeds": [0]}
    make_plan(**choices, parameters={"network.optimizer": keras.optimizers.SGD()})


def test_smallest_image_is_that_of_the_network():
    plan = make_plan(attacks=["fgsm"], defenses=[], detectors=[], parameters={}, seeds=[0])
    check_image_size(plan, (24, 24))
    paper_network((24, 24, 1), 2)
    for check in (lambda: check_image_size(plan, (24, 23)), lambda: paper_network((24, 23, 1), 2)):
        with pytest.raises(ValueError, match="at least 24 x 24 pixels, got 24 x 23"):
            check()
    plan.network.set_params(network=paper_network)  # a builder's limits are its own
    check_image_size(plan, (8, 8))


def test_check_metrics():
    check_metrics(["recall", "success"], [])
    for metrics, detectors, message in (
        (["recal"], ["pca"], "did you mean 'recall'"), ([], ["pca"], "at least one metric"),
        (["recall"], [], "needs a detector"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            check_metrics(metrics, detectors)


def test_an_attack_that_learns_does_so_on_the_training_faces():
    faces = make_faces(n_identities=3, n_images=12, image_shape=(32, 28))
    parameters = {"network.epochs": 1, "attack.universal_perturbation.max_iter": 2}
    results = Benchmark(faces, attacks=["universal_perturbation"], parameters=parameters).run()
    assert len(results.tables["attacks"]) == 3  # against the network, the blur, and the network with its detector
