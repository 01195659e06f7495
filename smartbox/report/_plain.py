"""Tables as Markdown and LaTeX."""

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}", "]": "{]}", "–": "--", "…": r"\dots{}", "×": r"$\times$", "“": "``", "”": "''", '"': r"\textquotedbl{}",
}  # fmt: skip
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
    r"""A ``table`` of booktabs, to be read by ``\input``."""
    n_names = len(grid.names)
    heads = []
    if grid.groups:
        spans, rules, start = [""] * n_names, [], n_names + 1
        for group, n_columns in grid.groups:
            spans.append(rf"\multicolumn{{{n_columns}}}{{c}}{{{_latex(group)}}}")
            if group:
                rules.append(rf"\cmidrule(lr){{{start}-{start + n_columns - 1}}}")
            start += n_columns
        heads = [f"{' & '.join(spans)} \\\\", " ".join(rules)]
    labels = [*grid.names, *(column.label for column in grid.columns)]
    rows = [f"{' & '.join(map(_latex, [*names, *map(_whole, cells)]))} \\\\" for names, cells in grid.lines]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex('. '.join([grid.title, *(text.rstrip('.') for text in _remarks(grid))]))}.}}",
        rf"\label{{tab:{grid.id}}}",
        rf"\begin{{tabular}}{{{'l' * n_names}{'r' * len(grid.columns)}}}",
        r"\toprule",
        *heads,
        f"{' & '.join(map(_latex, labels))} \\\\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


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
