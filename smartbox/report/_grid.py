"""What a report is made of: sections of tables, charts and pictures, which know nothing of HTML, LaTeX or Markdown."""

from dataclasses import dataclass, field

NOTHING = (float("nan"),) * 3
DASH = "–"


@dataclass(frozen=True)
class Cell:
    """One figure: its text, what it is sorted by (None last), its 95 % interval and its range over the seeds, as text."""

    text: str
    sort: float = None
    interval: str = ""
    over_seeds: str = ""
    heat: int = None  # 0 to 10, for a shade behind the text


@dataclass(frozen=True)
class Column:
    """A column of figures or of text, perhaps under the heading of a group."""

    label: str
    group: str = ""
    is_text: bool = False


@dataclass
class Grid:
    """A table: ``names`` are the headings of the columns that name a line, ``lines`` pairs of such names and cells."""

    id: str
    title: str
    names: list
    columns: list
    lines: list
    threat: str = ""
    unit: str = ""
    notes: list = field(default_factory=list)
    intervals_of: str = "one seed's faces"
    kind = "grid"

    @property
    def has_intervals(self):
        return any(cell.interval for _, cells in self.lines for cell in cells)

    @property
    def has_ranges(self):
        return any(cell.over_seeds for _, cells in self.lines for cell in cells)

    @property
    def has_dashes(self):
        return any(cell.text == DASH for _, cells in self.lines for cell in cells)

    @property
    def groups(self):
        """``(heading, number of columns)`` of neighbours under one heading; empty if there is no heading."""
        found = []
        for column in self.columns:
            if found and found[-1][0] == column.group and column.group:
                found[-1][1] += 1
            else:
                found.append([column.group, 1])
        return found if any(group for group, _ in found) else []

    @property
    def key(self):
        """How to read a cell, in words."""
        parts = [self.unit] if self.unit else []
        if self.has_intervals:
            parts.append(f"in brackets the 95 % interval of {self.intervals_of}")
        if self.has_ranges:
            parts.append("the figure is the mean over the seeds, “a … b” their lowest and highest")
        if self.has_dashes:
            parts.append(f"{DASH} not defined or not measured")
        return "; ".join(parts)


@dataclass
class Picture:
    """A PNG picture."""

    id: str
    title: str
    png: bytes
    alt: str
    kind = "picture"


@dataclass
class Figure:
    """Charts side by side that share a legend, one for each attack, say."""

    id: str
    title: str
    charts: list
    legend: list
    threat: str = ""
    notes: list = field(default_factory=list)
    kind = "figure"


@dataclass
class Section:
    """A chapter: a few sentences, then tables, figures and pictures."""

    id: str
    title: str
    items: list
    words: list = field(default_factory=list)


def share(row, column, *, heat=False):
    """The cell of a rate in [0, 1], in percent, of a row of `Results.over_seeds`."""
    mean, low, high = row.get(column, NOTHING)
    if mean != mean:
        return Cell(DASH)
    interval = between(*(row.get(f"{column}_{end}", NOTHING)[0] for end in ("low", "high")))
    spread = "" if low == high else f"{100 * low:.2f} … {100 * high:.2f}"
    return Cell(f"{100 * mean:.2f}", 100 * mean, interval, spread, round(10 * mean) if heat else None)


def number(row, column):
    """The cell of a number that is no rate."""
    mean, low, high = row.get(column, NOTHING)
    if mean != mean:
        return Cell(DASH)
    return Cell(f"{mean:.4g}", mean, "", "" if low == high else f"{low:.4g} … {high:.4g}")


def words(text):
    """A cell of text."""
    return Cell(str(text))


def between(low, high):
    """An interval of shares, as percentages; empty where there is none."""
    return f"[{100 * low:.1f}, {100 * high:.1f}]" if low == low and high == high else ""


def defined(rows, columns):
    """Those of the columns that hold a number in one of the rows."""
    return [
        column for column in columns if any(row.get(column, NOTHING)[0] == row.get(column, NOTHING)[0] for row in rows)
    ]


def listed(names, last="and"):
    """``a, b and c``."""
    names = list(names)
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
