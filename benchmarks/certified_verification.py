"""How far the decisions about real claims are certified: what docs/recognition.md shows of it.

Run ``python benchmarks/certified_verification.py --data CroppedYale.zip --out DIR``. Gallery, probes and threshold are those of
benchmarks/recognition.py; each probe claims to be itself, and to be each of the others. ``--faces 4 --draws 100`` tries it out.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from recognition import SEED, Experiment
from scipy.stats import norm

from smartbox._records import as_csv, write_text
from smartbox.attacks import PGD
from smartbox.defenses import RandomizedSmoothing
from smartbox.metrics import wilson_interval

SIGMAS, RADII = (0.02, 0.05, 0.1, 0.2), (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
RECHECKED = 4  # faces that are attacked within a radius, to see whether a bound breaks


def certify(experiment, sigma, n_draws):
    """Rows of one width of the noise: claims accepted or refused that no attack within a radius changes."""
    gallery, threshold = experiment.gallery, experiment.thresholds["eer"]
    smoothed = RandomizedSmoothing(gallery, sigma=sigma, n_draws=n_draws, random_state=SEED, verbose=1)
    bounds = smoothed.certify_cosine(experiment.X, RADII)
    own = experiment.y[:, None] == gallery.identities_
    rows, most = [], sigma * norm.ppf(smoothed.alpha ** (1 / n_draws))
    for k, radius in enumerate(RADII):
        accepted, refused = bounds.low[own, k] >= threshold, bounds.high[~own, k] < threshold
        for what, held in (("own claims, accepted", accepted), ("false claims, refused", refused)):
            low, high = wilson_interval(int(held.sum()), len(held))
            rows.append({
                "sigma": sigma, "most": most, "radius": radius, "measure": what, "n": len(held), "value": held.mean(), "low": low,
                "high": high,
            })  # fmt: skip
        rows.append({
            "sigma": sigma, "most": most, "radius": radius, "measure": "median fall allowed", "n": len(accepted),
            "value": np.median(bounds.cosine[own] - bounds.low[own, k]), "low": "", "high": "",
        })  # fmt: skip
    return rows, broken(experiment, smoothed, sigma)


def broken(experiment, smoothed, sigma):
    """How many medians leave their bounds when PGD climbs the gallery as far as ``sigma``, and how many there are."""
    X, y = experiment.X[:RECHECKED], experiment.y[:RECHECKED]
    attack = PGD(experiment.gallery, eps=sigma, norm="l2", max_iter=20, early_stop=False, random_state=SEED)
    bounds, after = smoothed.certify_cosine(X, sigma), smoothed.certify_cosine(attack.generate(X, y), 0).cosine
    return int(((after < bounds.low) | (after > bounds.high)).sum()), after.size


def table(rows):
    """The rows as Markdown: a line a width and a kind of claim, a column a radius."""
    lines = [["sigma", "", *(f"radius {radius:g}" for radius in RADII)], ["---"] * (2 + len(RADII))]
    for sigma in SIGMAS:
        for measure in dict.fromkeys(row["measure"] for row in rows):
            mine = [row for row in rows if row["sigma"] == sigma and row["measure"] == measure]
            share = measure != "median fall allowed"
            # Beyond what so many draws can bound, nothing is certified, whoever it is.
            cells = ["-" if row["radius"] > row["most"] else f"{100 * row['value']:.1f}" if share else f"{row['value']:.3f}"
                     for row in mine]  # fmt: skip
            lines.append([f"{sigma:g}", measure + (", %" if share else ""), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the Extended Yale B archive or its folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows")
    parser.add_argument("--faces", type=int, default=56, help="probes")
    parser.add_argument("--draws", type=int, default=200, help="noisy copies of each")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(options.data, options.faces, options.faces)
    rows, breaks = [], {}
    for sigma in SIGMAS:
        some, breaks[sigma] = certify(experiment, sigma, options.draws)
        rows += some
    for row in rows:
        row.update({key: float(f"{row[key]:.6g}") for key in ("most", "value", "low", "high") if row[key] != ""})
    write_text(options.out / "certified_verification.csv", as_csv(rows))
    print(table(rows))
    print("\n".join(f"sigma {sigma:g}: {k} of {n} medians outside their bounds" for sigma, (k, n) in breaks.items()))


if __name__ == "__main__":
    main()
