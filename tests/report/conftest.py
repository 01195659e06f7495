"""Folders as smartbox bench leaves them, made from drawn records instead of networks."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from smartbox._records import jsonable
from smartbox.benchmark._accuracy import ALL_ATTACKS, accuracies
from smartbox.benchmark._results import GUARD_COLUMNS, MITIGATION_COLUMNS

EVIL = "<script>alert(1)</script>"
ATTACKS = {"fgsm@2/255": 1.5, "fgsm@8/255": 3.0, "pgd": 4.0}  # by how much they lower the true identity's score
DEFENSES, DETECTORS, SEEDS = ("gaussian_blur", "jpeg_compression"), ("pca", "conv_filter"), (0, 1)
PEOPLE = [EVIL, "50 % & $5_a\\b|c#~^{}", "ann", "bob", "eve", "NA"]
N_FACES = 48
_COLUMNS = {("", "none"): "before_attack", ("network", "none"): "after_attack"}


def make_run(folder, *, records=True, seeds=SEEDS, luck=0.0, protocol="committed", attacks=ATTACKS):
    """Write a run; ``luck`` is added to the true identity's score behind mitigations, and to attacked faces' detection scores."""
    made = {"faces": [], "predictions": [], "perturbations": [], "scores": []}
    tables = {"mitigation": [], "detection": [], "guard": [], "attacks": []}
    for seed in seeds:
        rng = np.random.RandomState(seed)
        faces = _faces(rng, seed)
        made["faces"].append(faces)
        right = {}
        for attack, against, defense in _conditions(attacks):
            part = _predictions(
                rng, faces, attack, against, defense, attacks.get(attack, 0) - luck * (defense != "none")
            )
            made["predictions"].append(part)
            right[attack, against, defense] = {
                "identification": (part["predicted"] == faces["identity"]).to_numpy(),
                "verification": ((part["predicted"] == faces["claim"]) == faces["is_genuine"]).to_numpy(),
            }
            if attack:
                made["perturbations"].append(_sizes(rng, faces, attack, against))
        tables["mitigation"] += _mitigation(right, faces, seed, attacks, protocol)
        tables["attacks"] += _attacks(made["perturbations"], right, seed, attacks)
        made["scores"] += _scores(rng, faces, seed, attacks, luck)
        tables["detection"] += _detection(made["scores"], seed, protocol, attacks)
        tables["guard"] += _guard(right, faces, seed, attacks)
    about = {
        "data": {"description": f"Faces of {EVIL}", "sha1": "0123", "images": [480, 96, 84, 1], "identities": len(PEOPLE)},
        "command": ["smartbox", "bench", "--seed", "0"], "seeds": list(seeds), "protocol": protocol, "seconds": 12.5,
        "parameters": {"network": {"epochs": 8}, "attack.fgsm@2/255": {"eps": "2/255"}, "attack.fgsm@8/255": {"eps": "8/255"},
                       "attack.pgd": {"eps": 0.01}, **{f"defense.{name}": {} for name in DEFENSES},
                       **{f"detector.{name}": {} for name in DETECTORS}},
        "versions": {"python": "3.11", "smartbox": "0.1.0"}, "machine": "two cores",
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(jsonable({"provenance": about, "tables": tables})))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "faces.png")
    if records:
        (folder / "records").mkdir()
        for name, parts in made.items():
            pd.concat(parts).to_csv(folder / "records" / f"{name}.csv.gz", index=False)
    return folder


def _conditions(attacks):
    yield "", "", "none"
    yield from (("", "", defense) for defense in DEFENSES)
    for attack in attacks:
        yield attack, "network", "none"
        for defense in DEFENSES:
            yield attack, "network", defense
            yield attack, defense, defense


def _faces(rng, seed):
    true = np.arange(N_FACES) % len(PEOPLE)
    claim = np.where(np.arange(N_FACES) % 2, (true + 1) % len(PEOPLE), true)
    names = np.array(PEOPLE, dtype=object)
    return pd.DataFrame({
        "seed": seed, "face": np.arange(N_FACES), "image": rng.permutation(480)[:N_FACES], "identity": names[true],
        "target": names[(true + 2) % len(PEOPLE)], "claim": names[claim], "is_genuine": claim == true,
    })  # fmt: skip


def _predictions(rng, faces, attack, against, defense, harm):
    harm *= {"none": 1, "gaussian_blur": 0.6, "jpeg_compression": 0.4}[defense]
    harm += (against == defense) + 0.4 * (defense != "none")
    true = np.array([PEOPLE.index(name) for name in faces["identity"]])
    scores = rng.normal(size=(len(faces), len(PEOPLE)))
    scores[np.arange(len(faces)), true] += 3.5 - harm
    own = scores[np.arange(len(faces)), true]
    claimed = np.array([PEOPLE.index(name) for name in faces["claim"]])
    rest = np.where(np.arange(len(PEOPLE)) == claimed[:, None], -np.inf, scores).max(axis=1)
    return pd.DataFrame({
        "seed": faces["seed"], "face": faces["face"], "attack": attack, "against": against, "defense": defense,
        "predicted": np.array(PEOPLE, dtype=object)[scores.argmax(axis=1)], "rank": 1 + (scores > own[:, None]).sum(axis=1),
        "claim_score": scores[np.arange(len(faces)), claimed] - rest,
    })  # fmt: skip


def _sizes(rng, faces, attack, against):
    sizes = np.abs(rng.normal(size=(len(faces), 3))) + 0.01
    return pd.DataFrame({"seed": faces["seed"], "face": faces["face"], "attack": attack, "against": against, "success": 1,
                         "success_8bit": 1, "l1": 100 * sizes[:, 0], "l2": sizes[:, 1], "linf": sizes[:, 2] / 50})  # fmt: skip


def _mitigation(right, faces, seed, attacks, protocol):
    rows = []
    for attack in (*attacks, ALL_ATTACKS):
        for defense in DEFENSES:
            for metric in ("verification", "identification"):

                def under(against, behind, attack=attack, metric=metric):
                    each = [
                        right[one, against, behind][metric] for one in (attacks if attack == ALL_ATTACKS else [attack])
                    ]
                    return np.logical_and.reduce(each)

                found = {
                    "before_attack": right["", "", "none"][metric], "after_attack": under("network", "none"),
                    "clean_mitigated": right["", "", defense][metric], "transferred": under("network", defense),
                    "adaptive": under(defense, defense),
                }  # fmt: skip
                found["worst"] = found["transferred"] & found["adaptive"]
                row = accuracies(found, faces["identity"], seed, MITIGATION_COLUMNS)
                if protocol == "paper" and attack != ALL_ATTACKS:
                    row |= {"paper_before_attack": 0.9696, "paper_after_attack": 0.5, "paper_transferred": 0.9356}
                rows.append({"seed": seed, "attack": attack, "defense": defense, "metric": metric, "n": N_FACES, **row,
                             "masked": 0.0})  # fmt: skip
    return rows


def _attacks(sizes, right, seed, attacks):
    rows = []
    for attack in attacks:
        for against in ("network", *DEFENSES):
            part = next(p for p in sizes if (p[["seed", "attack", "against"]].iloc[0] == [seed, attack, against]).all())
            success = 1 - right[attack, against, "none" if against == "network" else against]["identification"].mean()
            medians = {f"median_{norm}": part[norm].median() for norm in ("l1", "l2", "linf")}
            rows.append({"seed": seed, "attack": attack, "against": "the network" if against == "network" else against,
                         "success": success, "success_8bit": success, **medians, "gradients_per_face": 10.0})  # fmt: skip
    return rows


def _scores(rng, faces, seed, attacks, luck):
    parts = []
    for detector in DETECTORS:
        for attack, aware in [("", 0), *((attack, aware) for attack in attacks for aware in (0, 1))]:
            score = rng.normal(size=len(faces)) + (attack != "") * (1.5 - aware + luck)
            about = {"detector": detector, "trained_on": " + ".join(attacks), "attack": attack, "aware": aware}
            measured = {"score": score, "flagged": score > 1.6}
            parts.append(pd.DataFrame({"seed": seed, "face": faces["face"], **about, **measured}))
    return parts


def _detection(scores, seed, protocol, attacks):
    rows = []
    scores = pd.concat(scores)
    scores = scores[scores["seed"] == seed]
    for detector in DETECTORS:
        mine = scores[scores["detector"] == detector]
        fpr = mine[mine["attack"] == ""]["flagged"].mean()
        for attack in attacks:
            for aware in (0, 1):
                recall = mine[(mine["attack"] == attack) & (mine["aware"] == aware)]["flagged"].mean()
                rates = {"precision": recall / (recall + fpr), "recall": recall, "accuracy": (1 + recall - fpr) / 2, "fpr": fpr,
                         "roc_auc": 0.8, "tpr_at_fpr_1": 0.2, "tpr_at_fpr_5": 0.3, "evaded": 0.1}  # fmt: skip
                ends = {f"{name}_{end}": value for name, value in rates.items() for end in ("low", "high")}
                paper = (
                    dict.fromkeys(("paper_precision", "paper_recall", "paper_accuracy"), 0.5)
                    if protocol == "paper"
                    else {}
                )
                rows.append({"seed": seed, "attack": attack, "detector": detector, "threat": ("unaware", "aware")[aware],
                             "population": "all", "trained_on": " + ".join(attacks), **rates, **ends, "ms_per_face": 2.0,
                             "plain_passes": 1.1, "allowed_fpr": 0.05, "never_flags": 0.0, **paper})  # fmt: skip
    return rows


def _guard(right, faces, seed, attacks):
    rows = []
    for attack in attacks:
        for detector in DETECTORS:
            found = {
                "clean": right["", "", "none"]["identification"],
                "transferred": right[attack, "network", "none"]["identification"],
            }
            row = accuracies(found, faces["identity"], seed, GUARD_COLUMNS)
            rows.append(
                {"seed": seed, "attack": attack, "detector": detector, "then": "rejection", "n": N_FACES, **row}
            )
    return rows


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run with records; not to be written to."""
    return make_run(tmp_path_factory.mktemp("run") / "run")
