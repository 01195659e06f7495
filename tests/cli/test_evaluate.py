"""``smartbox evaluate``: figures against brute force and the public metrics, whom it attacks, files, and given nonsense."""

import csv
import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

from smartbox import FaceClassifier, FaceEmbedder, FaceGallery, FaceVerifier, as_face_model
from smartbox._pair_model import PairModel
from smartbox.attacks import PGD
from smartbox.attacks._search import value_and_logits
from smartbox.base import BaseDefense
from smartbox.cli import _evaluate_report
from smartbox.cli._evaluate_faces import draw_targets, split_people
from smartbox.cli._evaluate_rates import Claims, identification_figures, pair_figures
from smartbox.datasets import load_face_folder
from smartbox.defenses import GaussianBlur
from smartbox.metrics import dir_at_far, rank_k_accuracy, verification_report, wilson_interval
from tests.cli.test_mistakes import check_one_line
from tests.doubles import smooth_embedding

SHAPE = (16, 12, 1)
FILES = ["cmc.png", "comparisons.csv", "det.png", "faces.png", "figures.csv", "probes.csv", "results.json", "roc.png"]
PAIRS = ["pairs.csv", "pairs_comparisons.csv", "pairs_det.png", "pairs_faces.png", "pairs_figures.csv", "pairs_roc.png"]


@pytest.fixture(autouse=True)
def no_picture(request, monkeypatch):
    """Pictures take longer than the rest; one test here draws them."""
    if request.function is not test_pictures_of_everything:
        for name in ("save_cmc", "save_roc", "save_det", "save_faces"):
            monkeypatch.setattr(_evaluate_report, name, lambda path, *_: path.write_text("picture"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Eight people in the gallery, ten among the probes with three noisy images each, a small network, and pairs."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    people = rng.uniform(40, 215, size=(10, *SHAPE))
    for who, pixels in enumerate(people):
        for part, n in (("gallery", 1 if who < 8 else 0), ("probes", 3)):
            for i in range(n):
                folder = root / part / f"p{who}"
                folder.mkdir(parents=True, exist_ok=True)
                noisy = pixels + rng.normal(scale=8 * (part == "probes"), size=SHAPE)
                Image.fromarray(np.uint8(np.clip(noisy, 0, 255))[..., 0]).save(folder / f"p{who}_{i + 1:04d}.png")
    keras.Model(*(lambda n: (n.inputs, n.outputs))(smooth_embedding())).save(root / "network.keras")
    lines = ["2\t4"]
    for fold in range(2):
        lines += [f"p{k}\t1\t2" for k in range(4 * fold, 4 * fold + 4)]
        lines += [f"p{k}\t1\tp{(k + 3) % 10}\t1" for k in range(4 * fold, 4 * fold + 4)]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def evaluate(run, world):
    """``evaluate(*options)`` with the gallery, the probes and the network: code, standard output, standard error."""

    def evaluate(*options, gallery=True, eps=0.02):
        enrolled = ["--gallery", world / "gallery"] if gallery else []
        arguments = [*enrolled, "--probes", world / "probes", "--network", world / "network.keras"]
        return run("evaluate", *arguments, "--set", f"eps={eps}", "--set", "max_iter=4", "--out", "out", *options)

    return evaluate


def rows(name):
    with open(f"out/{name}", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report():
    return json.loads(Path("out/results.json").read_text())


def figures(name="figures.csv"):
    return {row["row"]: {key: float(value) for key, value in row.items() if key != "row"} for row in rows(name)}


def test_figures_are_those_of_the_decisions_and_of_the_public_classes(evaluate, world):
    code, out, err = evaluate("--defense", "median_filter", "--defense", "gaussian_blur")
    assert code == 0 and "warning" not in err and sorted(os.listdir("out")) == FILES
    about = report()
    found, records = figures(), rows("probes.csv")
    names = ["before attack", "after attack"]
    names += [
        f"{d}: {what}" for d in ("median_filter", "gaussian_blur") for what in ("clean", "transferred", "adaptive")
    ]
    assert list(found) == names
    held_out = about["gallery"]["threshold_from"]["people"]
    enrolled, probes = load_face_folder(world / "gallery"), load_face_folder(world / "probes")
    labels = probes.target_names[probes.target]
    gallery = FaceGallery(FaceEmbedder(keras.models.load_model(world / "network.keras")))
    gallery.fit(enrolled.images, enrolled.target_names[enrolled.target])
    aside = np.isin(labels, held_out)
    threshold = gallery.calibrate(probes.images[aside], labels[aside]).threshold_
    assert about["gallery"]["threshold"] == pytest.approx(threshold, abs=1e-6)
    X, y, identities = probes.images[~aside], labels[~aside], gallery.identities_
    S, known = gallery.cosines(X), np.isin(y, identities)
    assert 0 < known.sum() < len(y) and not {r["identity"] for r in records} & set(held_out)
    before = found["before attack"]
    assert before["rank_1"] == rank_k_accuracy(y[known], S[known], classes=identities)
    claims = verification_report(S.ravel(), (y[:, None] == identities).ravel(), threshold=threshold)
    for name in ("roc_auc", "eer", "balanced_accuracy", "tar", "far"):
        assert before[name] == pytest.approx(claims[name], abs=0.01)
    assert before["tar_at_far_1e-2"] == pytest.approx(claims.tar_at_far[1e-2], abs=0.05) or np.isnan(
        before["tar_at_far_1e-2"]
    )
    for name in names:  # from the list of decisions
        mine = [record for record in records if record["row"] == name and record["enrolled"] == "True"]
        assert np.mean([record["taken_for"] == record["identity"] for record in mine]) == pytest.approx(
            found[name]["rank_1"]
        )
        low, high = found[name]["rank_1_low"], found[name]["rank_1_high"]
        assert low <= found[name]["rank_1"] <= high
    assert found["after attack"]["rank_1"] < before["rank_1"] - 0.2
    strangers = [[r["cosine"] for r in records if r["row"] == name and r["enrolled"] == "False"] for name in names[:2]]
    assert strangers[0] == strangers[1] and strangers[0]  # to dodge is nothing for them
    assert "rank 1" in out and "McNemar p = " in out and "Written to out" in err
    tests = rows("comparisons.csv")
    assert [(t["first"], t["second"]) for t in tests[::2]][:2] == [
        ("before attack", "after attack"),
        (names[0], names[2]),
    ]


def test_impersonation_reaches_targets(evaluate):
    code, out, err = evaluate("--impersonate", "--quiet", eps=0.05)
    assert code == 0 and err == "" and "taken for" in out
    found, records = figures(), rows("probes.csv")
    shares = [
        np.mean([record["taken_for"] == record["target"] for record in records if record["row"] == name])
        for name in found
    ]
    assert shares[1] > shares[0] + 0.2  # the threshold of so few people is hard to reach
    assert [row["impersonated"] for row in found.values()] == pytest.approx(shares)
    threshold = np.float32(report()["gallery"]["threshold"])
    after = [record for record in records if record["row"] == "after attack"]
    assert all(record["target"] not in ("", record["identity"]) for record in after)
    accepted = np.mean([np.float32(record["cosine_to_target"]) >= threshold for record in after])
    assert found["after attack"]["far"] == pytest.approx(accepted), "the claims to be the target are another column"
    claims = report()["gallery"]
    assert claims["aim"] == "impersonation" and "targeted" not in report()["attack"]["parameters"]
    assert claims["impostor_claims"] == len(after)


def test_enrolled_probes_are_told_and_faces_are_not_written_upon(run, world):
    images = ["--gallery", world / "probes", "--probes", world / "probes", "--network", world / "network.keras"]
    code, out, _ = run("evaluate", *images, "--set", "max_iter=1", "--out", "out", "--quiet")
    assert code == 0 and "30 of the 30 probes are images that are enrolled" in " ".join(out.split())
    about = report()
    assert about["gallery"]["aim"] == "dodging" and about["attack"]["parameters"]["early_stop"] is False
    code, _, err = run("evaluate", *images, "--out", world / "probes" / ".")
    assert code == 2 and "the folder of --gallery itself" in err


def test_pairs_alone_and_beside_a_gallery(evaluate, world):
    pairs = ["--pairs", world / "pairs.txt", "--defense", "gaussian_blur"]
    code, out, _ = evaluate(*pairs, gallery=False)
    assert code == 0 and sorted(os.listdir("out")) == [*PAIRS, "results.json"]
    alone = {name: Path("out", name).read_bytes() for name in ("pairs.csv", "pairs_figures.csv")}
    found, records = figures("pairs_figures.csv"), rows("pairs.csv")
    assert "8 pairs of one person, 8 of two" in out
    for name, row in found.items():
        mine = [record for record in records if record["row"] == name]
        right = [(float(r["cosine"]) >= float(r["threshold"])) == (r["one_person"] == "True") for r in mine]
        assert len(mine) == 16 and row["fold_accuracy"] == pytest.approx(np.mean(right))
    cosines = {(r["row"], r["first"], r["second"]): (float(r["cosine"]), r["one_person"] == "True") for r in records}
    for (name, *pair), (cosine, same) in cosines.items():
        if name == "after attack":  # away from the first image, or towards it
            clean = cosines[("before attack", *pair)][0]
            assert cosine < clean if same else cosine > clean
    assert found["after attack"]["fold_accuracy"] < found["before attack"]["fold_accuracy"]
    assert evaluate(*pairs)[0] == 0 and sorted(os.listdir("out")) == sorted([*FILES, *PAIRS])
    assert {name: Path("out", name).read_bytes() for name in alone} == alone
    assert evaluate("--quiet")[0] == 0 and sorted(os.listdir("out")) == FILES, "nothing of another run is left"


def test_pictures_of_everything(evaluate, world):
    assert evaluate("--pairs", world / "pairs.txt", "--defense", "bit_depth_reduction", "--quiet")[0] == 0
    for name in ("cmc", "roc", "det", "faces", "pairs_roc", "pairs_det", "pairs_faces"):
        assert min(Image.open(f"out/{name}.png").size) > 300


def test_interruption_leaves_what_was_there(evaluate, monkeypatch):
    assert evaluate("--quiet")[0] == 0
    before = {name: Path("out", name).read_bytes() for name in FILES}

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_evaluate_report, "save_det", interrupt)
    code, _, err = evaluate("--quiet", "--seed", 5)
    assert code == 130 and "nothing was written" in err
    assert sorted(os.listdir("out")) == FILES
    assert {name: Path("out", name).read_bytes() for name in FILES} == before


def test_intervals_are_those_of_brute_force():
    """Draws of people, one after the other, by the public metrics on repeated images."""
    rng = np.random.default_rng(0)
    identities, y = np.arange(6), np.repeat(np.arange(9), 3)
    S = rng.normal(size=(27, 6)) + 1.5 * (y[:, None] == identities)
    probes = {"y": y, "identities": identities, "claimed": np.ones(S.shape, dtype=bool)}
    found = identification_figures(S, Bunch(**probes), 0.7, seed=3, n_resamples=40)
    draws = np.random.RandomState(3).multinomial(9, np.full(9, 1 / 9), 40)
    values = {name: [] for name in ("rank_1", "roc_auc", "eer", "tar", "far", "tar_at_far_1e-2", "dir_at_far_1e-1")}
    for times in draws:
        who = np.repeat(np.arange(27), times[y])
        Sd, yd = S[who], y[who]
        known = np.isin(yd, identities)
        report = verification_report(Sd.ravel(), (yd[:, None] == identities).ravel(), threshold=0.7)
        values["rank_1"].append(rank_k_accuracy(yd[known], Sd[known], classes=identities))
        for name in ("roc_auc", "eer", "tar", "far"):
            values[name].append(report[name])
        values["tar_at_far_1e-2"].append(report.tar_at_far[1e-2])
        n_strangers = np.count_nonzero(~known)
        if 0.1 * n_strangers >= 1:
            values["dir_at_far_1e-1"].append(dir_at_far(yd, Sd, 0.1, classes=identities))
    for name, each in values.items():
        if each and found[name][0] == found[name][0]:
            np.testing.assert_allclose(found[name][1:], np.quantile(each, [0.025, 0.975]), atol=1e-9, err_msg=name)


def test_where_all_people_agree_they_are_the_trials():
    """Draws of people have no width then, though five people prove little."""
    y, identities = np.repeat(np.arange(5), 4), np.arange(5)
    own = y[:, None] == identities
    probes = Bunch(y=y, identities=identities, claimed=np.ones(own.shape, dtype=bool))
    found = identification_figures(np.where(own, 0.9, 0.1).astype(np.float32), probes, 0.5, seed=0, n_resamples=20)
    none, everyone = wilson_interval(0, 5), wilson_interval(5, 5)
    assert found["rank_1"] == (1.0, *everyone) and found["tar"] == (1.0, *everyone)
    assert found["far"] == (0.0, *none) and found["eer"] == (0.0, *none)
    half = identification_figures(np.where(own, 0.9, 0.1) * (np.arange(20) % 2)[:, None], probes, 0.5, n_resamples=20)
    low, high = wilson_interval(50, 100)  # of each person one image in two: the share is known no better than by five trials
    assert half["tar"][0] == 0.5 and half["tar"][1] < low and half["tar"][2] > high


def test_many_claims_are_measured_at_quantiles():
    rng = np.random.default_rng(0)
    is_genuine, row = rng.uniform(size=20_000) < 0.2, rng.integers(0, 50, 20_000)
    scores = rng.normal(size=20_000) + 2 * is_genuine
    claims = Claims(scores, is_genuine, row, 50)
    assert len(claims.levels) < 3001
    found, exact = claims.figures(np.ones((1, 50)), 1.0), verification_report(scores, is_genuine, threshold=1.0)
    for name in ("roc_auc", "eer", "accuracy"):
        assert found[name][0] == pytest.approx(exact[name], abs=2e-3)
    for far in (1e-2, 1e-3):
        assert found[f"tar_at_far_{far:.0e}".replace("e-0", "e-")][0] == pytest.approx(exact.tar_at_far[far], abs=5e-3)


def test_pairs_of_one_person_count_once_and_of_two_as_both():
    people = np.array([["a", "a"], ["b", "b"], ["a", "b"], ["b", "a"]])
    is_genuine, scores = np.array([True, True, False, False]), np.array([0.9, 0.4, 0.5, 0.1])
    found = pair_figures(scores, is_genuine, people, np.full(4, 0.45), seed=0, n_resamples=500)
    # a draw with one of them alone has no pair of two, so that all draws agree, and two people are two trials
    assert found["tar"] == pytest.approx((0.5, *wilson_interval(1, 2)))
    assert found["far"][0] == 0.5 and found["roc_auc"][0] == 0.75


@pytest.mark.parametrize("targeted", [False, True])
def test_pairs_in_batches_are_verifiers_one_by_one(targeted):
    embedder = FaceEmbedder(smooth_embedding())
    rng = np.random.default_rng(0)
    X, references = rng.uniform(0.2, 0.8, size=(2, 5, *SHAPE)).astype(np.float32)
    E, clean = embedder.transform(references), embedder.transform(X)
    cosines = (E * clean).sum(axis=1)
    thresholds = np.minimum(cosines + (0.002 if targeted else -0.002), 0.9999)
    model = PairModel(embedder, E, thresholds, SHAPE)
    parameters = {"eps": 0.1, "max_iter": 10, "random_state": 0, "targeted": targeted, "random_start": False}
    n_genuine = 0
    batched = PGD(model, **parameters).generate(X, np.arange(5))
    for i in range(5):
        verifier = FaceVerifier(embedder, threshold=float(thresholds[i])).fit(references[i : i + 1])
        y = ["genuine"]
        values, _, gradient = verifier.value_and_gradient(X[i : i + 1], y)
        ours = model.value_and_gradient(X[i : i + 1], [i])
        np.testing.assert_allclose(ours[0], values, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(ours[2], gradient, rtol=1e-2, atol=1e-3 * np.abs(gradient).max())
        alone = PGD(verifier, **parameters).generate(X[i : i + 1], y)
        won = verifier.predict(alone)[0] == "genuine"
        assert (model.decide(batched[i : i + 1], [i], targeted)[0] == i) == won
        n_genuine += won
    assert n_genuine > 2 if targeted else n_genuine < 3


@pytest.mark.parametrize("targeted", [False, True])
def test_the_last_point_of_an_attack_on_pairs_is_judged_by_its_own_pair(targeted):
    """Among lookalikes: one reference's cosine says nothing of another pair, in any batch."""
    embedder = FaceEmbedder(smooth_embedding())
    X = np.random.default_rng(0).uniform(0.2, 0.8, size=(4, *SHAPE)).astype(np.float32)
    E = embedder.transform(np.clip(X + np.float32(0.02) * np.arange(4, dtype=np.float32)[:, None, None, None], 0, 1))
    model = PairModel(embedder, E, np.full(4, 0.999), SHAPE)
    for objective in ("odds", "margin"):
        alone = [
            value_and_logits(PairModel(embedder, E[i : i + 1], [0.999], SHAPE), X[i : i + 1], [0], objective, targeted)
            for i in range(4)
        ]
        values, logits = value_and_logits(model, X, np.arange(4), objective, targeted)
        np.testing.assert_allclose(values, [value[0] for value, _ in alone], rtol=1e-4, atol=1e-4)
        own = np.stack([logits[np.arange(4), np.arange(4)], logits[:, -1]], axis=1)
        np.testing.assert_allclose(own, [logit[0] for _, logit in alone], rtol=1e-5)


class Tint(BaseDefense):
    """Brightens by an amount that is drawn."""

    _parameter_constraints = {}

    def __init__(self, *, by=0.0, random_state=None):
        self.by = by
        self.random_state = random_state

    def _draw(self, X, rng):
        return np.float32(self.by) * rng.uniform(1).astype(np.float32)[..., None, None]

    def _apply(self, X, draw):
        return X + draw


@pytest.mark.parametrize("by", [0.0, 0.15])
@pytest.mark.parametrize("targeted", [False, True])
def test_pairs_behind_chance_are_attacked_in_expectation_as_verifiers_are(targeted, by):
    """One by one behind a Pipeline, where draws are keyed by seed and image alike."""
    embedder, n_draws, seed = FaceEmbedder(smooth_embedding()), 7, 3
    X, references = np.random.default_rng(0).uniform(0.2, 0.8, size=(2, 4, *SHAPE)).astype(np.float32)
    E = embedder.transform(references)
    thresholds = (E * embedder.transform(X)).sum(axis=1)
    steps = [("tint", Tint(by=by)), ("blur", GaussianBlur())]
    model = PairModel(embedder, E, thresholds, SHAPE, defenses=steps)
    seen = model.in_expectation(n_draws, seed)
    for objective in ("odds", "margin"):
        values, logits, gradient = seen.value_and_gradient(X, np.arange(4), objective, targeted)
        again = seen.value_and_logits(X, np.arange(4), objective, targeted)
        np.testing.assert_allclose(again[0], values, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(again[1], logits, rtol=1e-5, atol=1e-5)
        for i in range(4):
            verifier = FaceVerifier(embedder, threshold=float(thresholds[i])).fit(references[i : i + 1])
            pipeline = make_pipeline(*(step for _, step in steps), FrozenEstimator(verifier))
            one = as_face_model(pipeline).in_expectation(n_draws, seed)
            value, _, slope = one.value_and_gradient(X[i : i + 1], np.array(["genuine"]), objective, targeted)
            np.testing.assert_allclose(values[i], value[0], rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(gradient[i], slope[0], rtol=1e-2, atol=1e-3 * np.abs(slope).max())
            decided = one.decide(X[i : i + 1], np.array(["genuine"]), targeted)[0] == "genuine"
            assert (seen.decide(X[i : i + 1], np.array([i]), targeted)[0] == i) == decided
    attack = PGD(model, eps=0.05, max_iter=3, early_stop=False, eot_iter=n_draws, targeted=targeted, random_state=0)
    whole = attack.generate(X, np.arange(4))
    np.testing.assert_array_equal(attack.report_.n_gradients, 3 * n_draws)
    attack.set_params(batch_size=2)
    np.testing.assert_allclose(attack.generate(X, np.arange(4)), whole, atol=1e-6)


def test_people_who_set_the_threshold_are_not_measured():
    y = np.repeat([f"p{i}" for i in range(12)], 2)
    identities = np.unique(y)[:8]
    for seed in range(5):
        held_out, measured = split_people(y, identities, seed)
        assert not set(y[held_out]) & set(y[measured]) and len(held_out) + len(measured) == 24
        assert np.isin(y[held_out], identities).any() and len(set(y[measured]) & set(identities)) >= 2
        assert (~np.isin(y[measured], identities)).any()
        targets = draw_targets(y, identities, seed)
        assert np.isin(targets, identities).all() and (targets != y).all()
    held_out, measured = split_people(np.array(["a", "b", "c"]), np.array(["a", "b", "c"]), 0)
    assert len(held_out) == 1 and len(measured) == 2


MISTAKES = [
    (["--gallery", "nowhere", "--probes", "probes"], ["nothing at nowhere", "--gallery"]),
    (["--gallery", "gallery", "--probes", "nowhere"], ["nothing at nowhere", "--probes"]),
    (["--gallery", "gallery"], ["expected --probes DIR beside --gallery"]),
    (["--pairs", "pairs.txt"], ["expected --probes DIR beside --pairs"]),
    (["--probes", "probes"], ["expected --gallery DIR beside --probes"]),
    (["--probes", "probes", "--pairs", "pairs.txt", "--impersonate"], ["--impersonate is for a gallery"]),
    (["--probes", "probes", "--pairs", "pairs.txt", "--far", "0.1"], ["--far is for a gallery"]),
    (["--network", "no.keras"], ["no file at no.keras", "dlib_resnet_v1"]),
    (["--attack", "pdg"], ["did you mean 'pgd'?"]),
    (["--set", "epsilon=1"], ["no parameter 'epsilon'"]),
    (["--set", "targeted=true"], ["choose it by --impersonate"]),
    (["--set", "attack.fgsm.eps=1"], ["'fgsm' is not part of this run"]),
    (["--defense", "blur"], ["no defense 'blur'"]),
    (["--defense", "pca_reconstruction"], ["has to learn first"]),
    (["--defense", "median_filter", "--defense", "MedianFilter"], ["each --defense once"]),
    (["--far", "2"], ["--far"]),
    (["--color", "rgb"], ["built-in faces cannot take --color"]),
    (["--gallery", "gallery", "--probes", "empty_one"], ["1 folders without images", "nobody", "put images in"]),
    (["--gallery", "empty_one", "--probes", "probes"], ["1 folders without images", "nobody"]),
    (["--gallery", "gallery", "--probes", "two"], ["at least 3 people", "got 2"]),
    (["--gallery", "gallery", "--probes", "large"], ["16 x 12 pixels in --gallery", "20 x 20", "--image-shape"]),
    (["--probes", "probes", "--pairs", "strange.txt"], ["expected one image 'zoe/zoe_0001'"]),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES, ids=[" ".join(options) for options, _ in MISTAKES])
def test_mistakes_are_one_line(run, world, tmp_path, monkeypatch, options, words):
    monkeypatch.setattr(FaceGallery, "fit", lambda *_: pytest.fail("work was done before the mistake was found"))
    for part in ("gallery", "probes"):
        (tmp_path / part).symlink_to(world / part)
    shutil.copy(world / "pairs.txt", tmp_path / "pairs.txt")
    (tmp_path / "strange.txt").write_text("zoe\t1\t2\np1\t1\tp2\t1\n")
    (shutil.copytree(world / "probes", tmp_path / "empty_one") / "nobody").mkdir()
    for who in ("p0", "p1"):
        shutil.copytree(world / "probes" / who, tmp_path / "two" / who)
    for who in range(4):
        (tmp_path / "large" / f"p{who}").mkdir(parents=True)
        Image.new("L", (20, 20)).save(tmp_path / "large" / f"p{who}" / "1.png")
    network = [] if "--network" in options or "--color" in options else ["--network", world / "network.keras"]
    check_one_line(run("evaluate", *network, *options), words)
    assert not (tmp_path / "smartbox-evaluation").exists()


def test_a_saved_network_serves_and_another_estimator_does_not(evaluate, world, tmp_path):
    FaceClassifier.from_network(world / "network.keras").save(tmp_path / "face.smartbox")
    assert evaluate("--quiet")[0] == 0
    expected = figures()
    assert evaluate("--network", tmp_path / "face.smartbox", "--quiet")[0] == 0
    np.testing.assert_equal(figures(), expected)


def test_results_of_others_are_left_alone(evaluate, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "roc.png").write_text("mine")
    check_one_line(evaluate(), ["out holds roc.png, but no evaluation to replace"])


def test_the_built_in_faces_and_network_need_no_option(run, monkeypatch):
    from smartbox.cli import _evaluate_faces

    monkeypatch.setattr(_evaluate_faces, "_ENROLLED", 5)
    monkeypatch.setattr(_evaluate_faces, "_STRANGERS", 2)
    monkeypatch.setattr(_evaluate_faces, "_PROBES", 1)
    code, out, _ = run("evaluate", "--attack", "fgsm", "--quiet")
    assert code == 0 and "5 people enrolled" in out
    with open("smartbox-evaluation/results.json") as file:
        report = json.load(file)
    before, after = report["gallery"]["rows"]
    assert before["roc_auc"] > 0.8 and after["roc_auc"] < before["roc_auc"]
    assert report["network"] == {"name": "dlib_resnet_v1"}
