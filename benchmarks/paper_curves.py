"""ROC and CMC of a run of `smartbox bench`, as the paper's Figures 3 and 4: before and after each attack, behind each mitigation.

    python benchmarks/paper_curves.py smartbox-results docs/results/paper

draws them out of the run's records, transferred above and adaptive below, all seeds together, and writes ``DIR/roc.png`` and
``DIR/cmc.png``.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import matplotlib.pyplot as plt
import numpy as np

from smartbox.benchmark import Results
from smartbox.metrics import CMCDisplay, VerificationROCDisplay

N_RANKS = 10


def roc(rows, name, ax):
    """Each face made one claim, true or false."""
    VerificationROCDisplay.from_predictions(rows["claim_score"], rows["is_genuine"] == 1, name=name, ax=ax)


def cmc(rows, name, ax):
    """How many faces have their true identity among the first."""
    within = rows["rank"].to_numpy()[:, None] <= np.arange(1, N_RANKS + 1)
    CMCDisplay(accuracy=within.mean(axis=0), name=name).plot(ax)
    ax.set_ylim(0, 1.01)  # the same for all attacks


def draw(curve, predictions, attacks, defenses):
    """A column an attack; above what knows the network alone, below what knows the mitigation too."""
    figure, axes = plt.subplots(2, len(attacks), figsize=(3.6 * len(attacks), 8), layout="constrained", squeeze=False)
    part = dict(iter(predictions.groupby(["attack", "against", "defense"])))
    for (row, column), ax in np.ndenumerate(axes):
        attack, is_adaptive = attacks[column], row == 1
        curve(part["", "", "none"], "before attack", ax)
        curve(part[attack, "network", "none"], "after attack", ax)
        for defense in defenses:
            met = part.get((attack, defense if is_adaptive else "network", defense))
            if met is not None:
                curve(met, defense, ax)
        ax.set_title(f"{attack}, {'adaptive' if is_adaptive else 'transferred'}", fontsize=10)
    return figure


def main():
    """Draw both figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="folder that smartbox bench wrote")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    chosen = parser.parse_args()
    records = Results.load(chosen.run).records
    predictions = records["predictions"].merge(records["faces"], on=["seed", "face"])
    predictions = predictions.fillna(dict.fromkeys(("attack", "against", "defense"), ""))
    attacks = [name for name in dict.fromkeys(predictions["attack"]) if name]
    defenses = [name for name in dict.fromkeys(predictions["defense"]) if name != "none"]
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, curve in (("roc", roc), ("cmc", cmc)):
        figure = draw(curve, predictions, attacks, defenses)
        figure.savefig(chosen.out / f"{name}.png", dpi=80)
        plt.close(figure)


if __name__ == "__main__":
    main()
