"""ROC and CMC before and after each attack, and after each mitigation, as the paper's Figures 3 and 4; from records."""

import numpy as np

from smartbox.benchmark._accuracy import accuracies
from smartbox.metrics import bootstrap_by_identity, equal_error_rate, roc_points
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
    return [*_rocs(run, frame[np.isfinite(frame["claim_score"])]), *_cmcs(run, frame[frame["rank"].notna()])]


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
    if not len(frame):
        return []
    n_ranks = int(min(max(frame["rank"].quantile(0.98), 10), 20, max(frame["rank"].max(), 2)))
    columns = {f"rank {k}": Column(f"rank {k}") for k in _RANKS if k <= max(n_ranks, 2)}
    charts, lines, legend = [], [], {}
    for attack in attacks_of(frame):
        series = []
        for name, look, part in conditions(frame, attack):
            ranks = np.arange(1, n_ranks + 1)
            within = [(rows["rank"].to_numpy()[:, None] <= ranks).mean(axis=0) for _, rows in part.groupby("seed")]
            series.append(Series(name, ranks, np.mean(within, axis=0), look))
            legend[name] = look
            row = _over([_identification(seed, rows, columns) for seed, rows in part.groupby("seed")])
            lines.append(((attack, name), [share(row, column) for column in columns]))
        alt = f"CMC of identification under {attack}: {listed(one.name for one in series)}; the table below has the figures."
        step = 1 if n_ranks <= 10 else 2
        ticks = [(k, str(k)) for k in range(1, n_ranks + 1, step)]
        charts.append(Chart(attack, "rank", "identified within it, %", series, alt, (1, n_ranks), (0, 1), ticks))
    if not charts:
        return []
    title = "Identification: faces whose true identity is among the first"
    table = Grid("cmc-table", "Identification: figures of the CMC curves", ["Attack", "Faces"], list(columns.values()), lines,
                 threat=_THREAT, unit="in % of all test faces")  # fmt: skip
    return [Figure("cmc", title, charts, list(legend.items()), _THREAT), table]


def _identification(seed, rows, columns):
    right = {column: rows["rank"].to_numpy() <= int(column.split()[1]) for column in columns}
    return accuracies(right, rows["identity"], int(seed), tuple(columns))


def _over(rows):
    """Rows of the seeds as one of ``(mean, lowest, highest)``."""
    merged = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], dtype=float)
        merged[name] = NOTHING if np.isnan(values).any() else (values.mean(), values.min(), values.max())
    return merged
