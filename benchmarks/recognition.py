"""Recognition of people whom no network was trained on, attacked, mitigated and guarded: what docs/recognition.md shows.

Run ``python benchmarks/recognition.py --data CroppedYale.zip --out DIR``. Of the Extended Yale B at 96 x 84 pixels, as the
archive crops them and without further alignment, one image a person is enrolled: that lit from the front. All others are probes,
and some of them, drawn evenly by the angle of the light, are attacked. The others set the thresholds. ``--faces 8`` tries it out.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from smartbox import FaceEmbedder, FaceGallery, FaceProtocol, as_face_model
from smartbox._pair_model import PairModel
from smartbox._progress import progress_bar
from smartbox._records import as_csv, write_text
from smartbox._templates import acceptance_threshold
from smartbox.attacks import PGD
from smartbox.datasets import load_extended_yale_b, make_detection_set
from smartbox.defenses import (
    BitDepthReduction,
    DenoisingAutoencoder,
    GaussianBlur,
    JPEGCompression,
    MedianFilter,
    Randomization,
)
from smartbox.detectors import AdaptiveNoiseDetector, ConvFilterDetector
from smartbox.metrics import (
    CMCDisplay,
    DETDisplay,
    VerificationROCDisplay,
    all_pair_scores,
    detection_report,
    equal_error_rate,
    rank_k_accuracy,
    tar_at_far,
    wilson_interval,
)

SHAPE, SEED, STEPS, DRAWS = (96, 84), 0, 20, 5
EPS, MAIN, FAR = (1, 2, 4), 2, 1e-2  # of 255; the mitigations meet the one in the middle
GOALS = ("dodging", "impersonation")
SHARES = {  # what is counted of the probes, and what the tables call it
    "dodging": {"identified": "identified", "own_eer": "own claim, EER", "own_far": "own claim, FAR 1 %"},
    "impersonation": {
        "taken": "taken for target",
        "aim_eer": "target's claim, EER",
        "aim_far": "target's claim, FAR 1 %",
    },
}


class Experiment:
    """Gallery, probes, and rows of what is measured."""

    def __init__(self, path, n_faces, n_lessons):
        faces, rng = load_extended_yale_b(path, image_shape=SHAPE), np.random.default_rng(SEED)
        cosine = np.cos(np.deg2rad(faces.azimuth)) * np.cos(np.deg2rad(faces.elevation))
        front = (faces.azimuth == 0) & (faces.elevation == 0)
        self.gallery = FaceGallery(FaceEmbedder()).fit(faces.images[front], faces.target[front])
        rest = rng.permutation(np.flatnonzero(~front))
        rest = rest[np.argsort(-cosine[rest], kind="stable")]
        probes = rest[((np.arange(n_faces) + rng.uniform(size=n_faces)) * len(rest) / n_faces).astype(int)]
        others = rng.permutation(np.setdiff1d(rest, probes))
        self.X, self.y = np.array(faces.images[probes]), faces.target[probes]
        self.aims = FaceProtocol(random_state=SEED).assign(self.y, classes=self.gallery.identities_).targets
        self.lessons, self.judges = (np.array(faces.images[rows]) for rows in np.split(others[: 2 * n_lessons], 2))
        self.lesson_names = faces.target[others[:n_lessons]]
        self.rows, self.scores = [], {}
        self._before(faces, rest, others)

    def _before(self, faces, rest, others):
        """Everybody, not attacked; and the thresholds."""
        E = self.gallery.embedder.transform(faces.images)
        S = E @ self.gallery.templates_.T
        genuine = faces.target[:, None] == self.gallery.identities_
        claims = (S[others], genuine[others])
        self.thresholds = {"eer": acceptance_threshold(*claims, None), "far": acceptance_threshold(*claims, FAR)}
        first = {"defense": "none", "condition": "clean", "goal": "", "aim": "", "eps": 0}
        for k in (1, 5):
            right = rank_k_accuracy(faces.target[rest], S[rest], k=k, classes=self.gallery.identities_)
            self._share(first, f"rank_{k}, all probes", round(right * len(rest)), len(rest))
        pairs = all_pair_scores(E, faces.target)
        for what, (scores, same) in {
            "claims": (S[rest].ravel(), genuine[rest].ravel()), "pairs": (pairs.scores, pairs.is_genuine),
        }.items():  # fmt: skip
            self._rates(first, f", all {what}", scores, same, (1e-2, 1e-3))
        for name, threshold in self.thresholds.items():
            self._row(first, f"threshold_{name}", threshold, len(others))

    def attack(self, model, goal, eps):
        """The probes, attacked by PGD to the end of its steps."""
        targeted = goal == "impersonation"
        labels = self.aims if targeted else self.y
        if model == "claim":  # the own or the target's one alone, whoever else is like the face
            gallery, columns = self.gallery, np.searchsorted(self.gallery.identities_, labels)
            threshold = np.full(len(labels), self.thresholds["eer"])
            model = PairModel(gallery.embedder, gallery.templates_[columns], threshold, gallery.image_shape_)
            labels = np.arange(len(labels))
        attack = PGD(model, eps=f"{eps}/255", max_iter=STEPS, early_stop=False, eot_iter=DRAWS, random_state=SEED)
        return attack.set_params(targeted=targeted).generate(self.X, labels)

    def measure(self, model, X, **which):
        """Decisions about images, as rows; those of a goal, or of both."""
        S = as_face_model(model).logits(X) / np.float32(self.gallery.scale)
        columns = np.searchsorted(self.gallery.identities_, np.stack([self.y, self.aims]))
        for goal, column, names in zip(GOALS, columns, SHARES.values(), strict=True):
            if which.get("goal", goal) != goal:
                continue
            about = {"goal": goal, "aim": "", "eps": 0, **which}
            score = S[np.arange(len(S)), column]
            wins = [S.argmax(axis=1) == column, *(score >= np.float32(level) for level in self.thresholds.values())]
            for name, won in zip(names, wins, strict=True):
                self._share(about, name, int(won.sum()), len(won))
            genuine = self.y[:, None] == self.gallery.identities_
            self._rates(about, ", claims of these probes", S.ravel(), genuine.ravel(), (FAR,))
            self.scores[tuple(about[key] for key in ("defense", "condition", "goal", "aim", "eps"))] = S

    def detect(self, detector, name, attacked):
        """What a detector that knows one attack makes of others, none of which knows of it."""
        X, y, _ = make_detection_set(self.lessons, attacked["lessons"], groups=self.lesson_names)
        detector.fit(X, y).calibrate(self.judges, fpr=0.05)
        clean = detector.decision_function(self.X)
        for (goal, eps), X_adv in attacked["probes"].items():
            scores = np.concatenate([clean, detector.decision_function(X_adv)])
            report = detection_report(
                np.repeat([0, 1], len(clean)), scores, threshold=detector.threshold_, groups=np.tile(self.y, 2)
            )
            about = {"defense": name, "condition": "unaware", "goal": goal, "aim": "rank", "eps": eps}
            for measure in ("recall", "fpr", "roc_auc"):
                self._row(about, measure, report[measure], len(clean), report.intervals[measure])

    def _share(self, about, measure, k, n):
        self._row(about, measure, k / n, n, wilson_interval(k, n))

    def _rates(self, about, whose, scores, same, fars):
        self._row(about, f"auc{whose}", detection_report(same, scores).roc_auc, len(same))
        self._row(about, f"eer{whose}", equal_error_rate(scores, same), len(same))
        for far in fars:
            self._row(about, f"tar_at_far_{far:g}{whose}", tar_at_far(scores, same, far=far), len(same))

    def _row(self, about, measure, value, n, interval=("", "")):
        keys = {key: about[key] for key in ("defense", "condition", "goal", "aim", "eps")}
        low, high = (float(f"{end:.6g}") if end != "" else "" for end in interval)
        self.rows.append({**keys, "measure": measure, "n": n, "value": float(f"{value:.6g}"), "low": low, "high": high})


def run(experiment, epochs, advance):
    """Measure everything."""
    gallery, probes = experiment.gallery, {}
    experiment.measure(gallery, experiment.X, defense="none", condition="clean")
    for eps in EPS:
        for goal in GOALS:
            for aim in ("rank", "claim"):
                X_adv = experiment.attack(gallery if aim == "rank" else "claim", goal, eps)
                experiment.measure(gallery, X_adv, defense="none", condition="attacked", goal=goal, aim=aim, eps=eps)
                if aim == "rank":
                    probes[goal, eps] = X_adv
                advance(1, note=f"{goal} of the {aim}, {eps}/255")
    lesson = PGD(gallery, eps=f"{MAIN}/255", max_iter=STEPS, early_stop=False, random_state=SEED)
    lessons = lesson.generate(experiment.lessons, experiment.lesson_names)
    quick = PGD(gallery, eps=f"{MAIN}/255", max_iter=5, early_stop=False)
    autoencoder = DenoisingAutoencoder(quick, guidance=0, epochs=epochs, random_state=SEED).fit(experiment.lessons)
    defenses = GaussianBlur(), autoencoder, JPEGCompression(), BitDepthReduction(), MedianFilter()
    for defense in (*defenses, Randomization(random_state=SEED)):
        name, pipeline = type(defense).__name__, make_pipeline(FrozenEstimator(defense), FrozenEstimator(gallery))
        experiment.measure(pipeline, experiment.X, defense=name, condition="clean")
        for goal in GOALS:
            about = {"defense": name, "goal": goal, "aim": "rank", "eps": MAIN}
            experiment.measure(pipeline, probes[goal, MAIN], condition="transferred", **about)
            X_adv = experiment.attack(pipeline, goal, MAIN)
            experiment.measure(pipeline, X_adv, condition="adaptive", **about)
            advance(1, note=f"{goal} behind {name}")
    # Four of its convolutions, from early to late: each stage gets a part of the false alarms, which few faces cannot bound.
    layers = gallery.layer_names("convolution")[::8]
    for detector in (ConvFilterDetector(gallery, layers=layers, random_state=SEED), AdaptiveNoiseDetector(gallery)):
        name = type(detector).__name__
        experiment.detect(detector, name, {"lessons": lessons, "probes": probes})
        advance(1, note=name)


def tables(rows):
    """The rows as Markdown."""
    found = {tuple(row[key] for key in ("defense", "condition", "goal", "aim", "eps", "measure")): row for row in rows}

    def cell(*key):
        row = found.get(key)
        if row is None:
            return "-"
        ends = "" if row["low"] == "" else f" ({100 * row['low']:.0f}-{100 * row['high']:.0f})"
        return f"{100 * row['value']:.1f}{ends}"

    def table(head, lines):
        return "\n".join([f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)]) + "\n"

    def decisions(name, *key):
        """One line: both goals under one condition."""
        cells = [cell(*key[:2], goal, *key[2:], measure) for goal, names in SHARES.items() for measure in names]
        return [name, *cells]

    head = [name for names in SHARES.values() for name in names.values()]
    first = [[row["measure"], f"{row['value']:.4f}", str(row["n"])] for row in rows if row["goal"] == ""]
    attacks = [decisions("none", "none", "clean", "", 0)]
    attacks += [
        decisions(f"{eps}/255, at the {aim}", "none", "attacked", aim, eps) for eps in EPS for aim in ("rank", "claim")
    ]
    behind = []
    for name in dict.fromkeys(row["defense"] for row in rows if row["condition"] == "adaptive"):
        behind.append(decisions(f"{name}: clean", name, "clean", "", 0))
        behind += [decisions(f"{name}: {how}", name, how, "rank", MAIN) for how in ("transferred", "adaptive")]
    measures = ("recall", "fpr", "roc_auc")
    detected = [
        [name, f"{goal}, {eps}/255", *(cell(name, "unaware", goal, "rank", eps, measure) for measure in measures)]
        for name in dict.fromkeys(row["defense"] for row in rows if row["condition"] == "unaware")
        for goal in GOALS
        for eps in EPS
    ]
    return "\n".join([
        "Without an attack:\n", table(["measure", "value", "of"], first), "Attacked, %:\n", table(["PGD", *head], attacks),
        f"Behind mitigations, PGD at {MAIN}/255, %:\n", table(["mitigation", *head], behind),
        "Detected, %:\n", table(["detector", "attack", "flagged", "false alarms", "ROC AUC"], detected),
    ])  # fmt: skip


def draw(experiment, folder):
    """Curves of the probes that are attacked to dodge: their ranks, and all their claims."""
    genuine = (experiment.y[:, None] == experiment.gallery.identities_).ravel()
    S = experiment.scores
    attacks = {"no attack": S["none", "clean", "dodging", "", 0]}
    attacks |= {f"PGD {eps}/255": S["none", "attacked", "dodging", "rank", eps] for eps in EPS}
    behind = {"no mitigation": attacks[f"PGD {MAIN}/255"]}
    behind |= {key[0]: scores for key, scores in S.items() if key[1:3] == ("adaptive", "dodging")}
    for name, curves in (("attacks", attacks), ("mitigations", behind)):
        for kind, display in (("cmc", CMCDisplay), ("roc", VerificationROCDisplay), ("det", DETDisplay)):
            ax = None
            for label, scores in curves.items():
                of = (experiment.y, scores) if kind == "cmc" else (scores.ravel(), genuine)
                more = {"classes": experiment.gallery.identities_} if kind == "cmc" else {}
                ax = display.from_predictions(*of, **more, name=label, ax=ax).ax_
            ax.figure.savefig(folder / f"recognition_{name}_{kind}.png", dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the Extended Yale B archive or its folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows, the tables and the pictures")
    parser.add_argument("--faces", type=int, default=100, help="probes that are attacked")
    parser.add_argument(
        "--lessons", type=int, default=100, help="other faces, attacked for the autoencoder and the detectors"
    )
    parser.add_argument("--epochs", type=int, default=60, help="of the autoencoder")
    options = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    options.out.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(options.data, options.faces, options.lessons)
    with progress_bar("recognition", 4 * len(EPS) + 2 * 6 + 2, enabled=True) as advance:
        run(experiment, options.epochs, advance)
    text = tables(experiment.rows)
    write_text(options.out / "recognition.csv", as_csv(experiment.rows))
    write_text(options.out / "recognition.md", text)
    draw(experiment, options.out)
    print(text)


if __name__ == "__main__":
    main()
