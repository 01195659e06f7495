"""ROC and CMC before and after each attack, and after each mitigation, as the paper's Figures 3 and 4; from records."""

import numpy as np

from smartbox.metrics import bootstrap_by_identity, equal_error_rate, roc_points, wilson_interval
from smartbox.metrics._detection import _Rates
from smartbox.report._chart import INK, Chart, Look, Series
from smartbox.report._folder import NETWORK, UNDEFENDED
from smartbox.report._grid import NOTHING, Column, Figure, Grid, listed, share
from smartbox.report._looks import of_mitigation

_RANKS = (1, 2, 5, 10)
_N_RESAMPLES = 1000
_THREAT = (
    "Threat models: “after attack” and “transferred”, the attack knows the bare network alone; “adaptive”, it knows network and "
    "mitigation."
)


def recognition_curves(run):
    """Figures and tables of ROC and CMC; none without records, or where no model gives scores."""
    frame = run.records.get("predictions")
    if frame is None:
        return []
    return [*_rocs(run, frame[frame["claim_score"].notna()]), *_cmcs(run, frame)]


def conditions(frame, attack):
    """``(name, look, rows of the frame)`` before and after one attack, and behind each mitigation."""
    defenses = [name for name in dict.fromkeys(frame["defense"]) if name != UNDEFENDED]
    wanted = [
        ("before attack", Look(INK), "", "", UNDEFENDED),
        ("after attack", Look(1, "dotted"), attack, NETWORK, UNDEFENDED),
    ]
    for defense in defenses:
        number = of_mitigation(defenses.index(defense))
        wanted.append((f"{defense}, transferred", Look(number), attack, NETWORK, defense))
        wanted.append((f"{defense}, adaptive", Look(number, "dashed"), attack, defense, defense))
    found = []
    for name, look, made_by, against, defense in wanted:
        part = frame[(frame["attack"] == made_by) & (frame["against"] == against) & (frame["defense"] == defense)]
        if len(part):
            found.append((name, look, part))
    return found


def attacks_of(frame):
    """In the order of the run."""
    return [name for name in dict.fromkeys(frame["attack"]) if name]


def mean_roc(seeds):
    """FAR, and TAR at it averaged over seeds; each of them a staircase, that holds its value up to the next FAR."""
    far = np.unique(np.concatenate([points.far for points in seeds]))
    rates = []
    for points in seeds:
        last = np.searchsorted(points.far, far, side="right") - 1
        rates.append(np.maximum.accumulate(points.tar)[last])
    return far, np.mean(rates, axis=0)


def _rocs(run, frame):
    charts, lines, legend = [], [], {}
    for attack in attacks_of(frame):
        series = []
        for name, look, part in conditions(frame, attack):
            seeds = [(seed, rows) for seed, rows in part.groupby("seed") if rows["is_genuine"].nunique() == 2]
            if not seeds:
                continue
            points = [roc_points(rows["claim_score"], rows["is_genuine"].astype(bool)) for _, rows in seeds]
            far, tar = mean_roc(points)
            series.append(Series(name, far, tar, look, step=True))
            legend[name] = look
            row = _over([_verification(seed, rows) for seed, rows in seeds])
            lines.append(((attack, name), [share(row, column) for column in _MEASURES]))
        if series:
            alt = f"ROC of verification under {attack}: {listed(one.name for one in series)}; the table below has the figures."
            charts.append(Chart(attack, "false accepts, %", "true accepts, %", series, alt, chance=True))
    if not charts:
        return []
    title = "Verification: true accepts against false accepts"
    notes = (
        ["Each face makes one claim, true or false. The curves are means over the seeds."] if len(run.seeds) > 1 else []
    )
    table = Grid("roc-table", "Verification: figures of the ROC curves", ["Attack", "Faces"], list(_MEASURES.values()), lines,
                 threat=_THREAT, unit="in %")  # fmt: skip
    return [Figure("roc", title, charts, list(legend.items()), _THREAT, notes), table]


_MEASURES = {
    "eer": Column("equal error rate"),
    "tpr_at_fpr_1": Column("true accepts at 1 % false ones"),
    "tpr_at_fpr_5": Column("true accepts at 5 % false ones"),
    "roc_auc": Column("area under the curve"),
}


def _verification(seed, rows):
    """A row of rates with their intervals by draws of identities."""
    scores, genuine = rows["claim_score"].to_numpy(float), rows["is_genuine"].to_numpy(bool)
    rates = _Rates(scores, genuine, 0.0)
    once = rates(np.ones((1, len(scores))))
    drawn = bootstrap_by_identity(rates, rows["identity"], n_resamples=_N_RESAMPLES, random_state=int(seed))
    row = {"eer": equal_error_rate(scores, genuine)}
    for name in ("roc_auc", "tpr_at_fpr_1", "tpr_at_fpr_5"):
        row |= {name: float(once[name][0]), f"{name}_low": drawn[name].low, f"{name}_high": drawn[name].high}
    return row


def _cmcs(run, frame):
    """Ranks up to where the curves have nothing more to tell."""
    met = [(attack, *one) for attack in attacks_of(frame) for one in conditions(frame, attack)]
    met = [(attack, name, look, part) for attack, name, look, part in met if part["rank"].notna().any()]
    if not met:
        return []
    n_ranks = int(min(max(frame["rank"].quantile(0.98), 10), 20, max(frame["rank"].max(), 2)))
    shown = [k for k in _RANKS if k <= n_ranks]
    curves, rows = [], []
    for seed, faces in run.records["faces"].groupby("seed"):
        ranks = [part[part["seed"] == seed].set_index("face")["rank"].reindex(faces["face"]) for *_, part in met]
        within = np.column_stack(ranks)[:, :, None] <= np.arange(1, n_ranks + 1)  # faces, conditions, ranks
        curves.append(within.mean(axis=0))
        rows.append(_shares(within[:, :, [k - 1 for k in shown]], shown, faces["identity"], seed))
    table = [((attack, name), [share(_over([seed[i] for seed in rows]), str(k)) for k in shown]) for i, (attack, name, *_) in
             enumerate(met)]  # fmt: skip
    charts = [_cmc(attack, met, np.mean(curves, axis=0)) for attack in dict.fromkeys(attack for attack, *_ in met)]
    legend = {name: look for _, name, look, _ in met}
    title = "Identification: faces whose true identity is among the first"
    columns = [Column(f"rank {k}") for k in shown]
    grid = Grid("cmc-table", "Identification: figures of the CMC curves", ["Attack", "Faces"], columns, table, _THREAT,
                "in % of all test faces")  # fmt: skip
    return [Figure("cmc", title, charts, list(legend.items()), _THREAT), grid]


def _cmc(attack, met, curves):
    """The chart of one attack; ``curves`` has a row for each of all conditions."""
    ranks = np.arange(1, curves.shape[1] + 1)
    series = [
        Series(name, ranks, curve, look) for (by, name, look, _), curve in zip(met, curves, strict=True) if by == attack
    ]
    alt = (
        f"CMC of identification under {attack}: {listed(one.name for one in series)}; the table below has the figures."
    )
    ticks = [(k, str(k)) for k in ranks[:: 1 if len(ranks) <= 10 else 2]]
    return Chart(attack, "rank", "identified within it, %", series, alt, (1, len(ranks)), (0, 1), ticks)


def _shares(right, columns, people, seed):
    """A row for each condition, from decisions ``(faces, conditions, columns)``; intervals as those of all accuracies, by draws
    of identities, or where it reaches farther Wilson's; all of them from the same draws.
    """
    n_faces, n_conditions, n_columns = right.shape
    flat = right.reshape(n_faces, -1).astype(np.float64)

    def means(weights):
        shares = weights @ flat / weights.sum(axis=1, keepdims=True)
        return {str(place): each for place, each in enumerate(shares.T)}

    drawn = bootstrap_by_identity(means, people, random_state=int(seed))
    low, high = wilson_interval(right.sum(axis=0), n_faces)
    rows = []
    for i in range(n_conditions):
        row = {}
        for j, column in enumerate(columns):
            by_draws = drawn[str(i * n_columns + j)]
            row[str(column)] = right[:, i, j].mean()
            row |= {f"{column}_low": min(low[i, j], by_draws.low), f"{column}_high": max(high[i, j], by_draws.high)}
        rows.append(row)
    return rows


def _over(rows):
    """Rows of the seeds as one of ``(mean, lowest, highest)``."""
    merged = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], dtype=float)
        merged[name] = NOTHING if np.isnan(values).any() else (values.mean(), values.min(), values.max())
    return merged
