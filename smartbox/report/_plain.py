"""Tables as Markdown and LaTeX."""

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}", "–": "--", "…": r"\dots{}", "×": r"$\times$", "“": "``", "”": "''", '"': "''",
}  # fmt: skip
_UPRIGHT = 6  # columns of figures
_SHORT = 12  # letters of a column's name
_MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {one: f"\\{one}" for one in r"\`*_{}[]|#!$~"}


def as_markdown(grid):
    """A table of GitHub's kind, its title before and its notes after it."""
    labels = [f"{column.group}: {column.label}" if column.group else column.label for column in grid.columns]
    lines = [[*names, *map(_whole, cells)] for names, cells in grid.lines]
    rows = [f"| {' | '.join(map(_markdown, row))} |" for row in [[*grid.names, *labels], *lines]]
    rule = f"|{' --- |' * len(grid.names)}{' ---: |' * len(labels)}"
    parts = [f"**{_markdown(grid.title)}**", "\n".join([rows[0], rule, *rows[1:]])]
    return "\n\n".join([*parts, *map(_markdown, _remarks(grid))]) + "\n"


def as_latex(grid):
    r"""A ``longtable`` of booktabs, to be read by ``\input``: it goes on over pages, and lies on its side if it is wide."""
    is_wide = len(grid.columns) > _UPRIGHT
    caption = ". ".join([grid.title, *(text.rstrip(".") for text in _remarks(grid))])
    head = [r"\toprule", *_latex_head(grid), r"\midrule"]
    lines = [
        rf"% needs \usepackage{{booktabs,longtable,makecell{',pdflscape' if is_wide else ''}}}",
        *([r"\begin{landscape}"] if is_wide else []),
        r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{{'l' * len(grid.names)}{'r' * len(grid.columns)}}}",
        rf"\caption{{{_latex(caption)}.}}\label{{tab:{grid.id}}}\\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *(f"{' & '.join([*map(_latex, names), *map(_latex_cell, cells)])} \\\\" for names, cells in grid.lines),
        r"\end{longtable}",
        r"\endgroup",
        *([r"\end{landscape}"] if is_wide else []),
    ]
    return "\n".join(lines) + "\n"


def _latex_head(grid):
    """Groups of columns, if there are any, and their names."""
    n_names, heads = len(grid.names), []
    if grid.groups:
        spans, rules, start = [""] * n_names, [], n_names + 1
        for group, n_columns in grid.groups:
            spans.append(rf"\multicolumn{{{n_columns}}}{{c}}{{{_latex(group)}}}")
            if group:
                rules.append(rf"\cmidrule(lr){{{start}-{start + n_columns - 1}}}")
            start += n_columns
        heads = [f"{' & '.join(spans)} \\\\", " ".join(rules)]
    labels = [_latex(name) for name in grid.names]
    labels += [rf"\makecell[br]{{{_in_two(column.label)}}}" for column in grid.columns]
    return [*heads, f"{' & '.join(labels)} \\\\"]


def _in_two(label):
    """A column's name, on two lines if it is long."""
    words = str(label).split()
    if len(str(label)) <= _SHORT or len(words) < 2:
        return _latex(label)
    at = min(range(1, len(words)), key=lambda k: abs(len(" ".join(words[:k])) - len(" ".join(words[k:]))))
    return rf"{_latex(' '.join(words[:at]))}\\{_latex(' '.join(words[at:]))}"


def _latex_cell(cell):
    """The figure, and below it in small print what else there is to it."""
    more = [rf"\scriptsize {_latex(part)}" for part in (cell.interval, cell.over_seeds) if part]
    lines = r"\\".join([_latex(cell.text), *more])
    return rf"\makecell[tr]{{{lines}}}" if more else lines


def _whole(cell):
    """All that a cell says, on one line."""
    return " ".join(
        part for part in (cell.text, cell.interval, f"({cell.over_seeds})" if cell.over_seeds else "") if part
    )


def _remarks(grid):
    return [text for text in (grid.threat, grid.key, *grid.notes) if text]


def _markdown(text):
    return "".join(_MARKDOWN.get(one, one) for one in " ".join(str(text).split()))


def _latex(text):
    return "".join(_LATEX.get(one, one) for one in " ".join(str(text).split()))
