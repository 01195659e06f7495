"""Tables as Markdown and LaTeX."""

import re

import pytest

from smartbox.report import write_tables
from smartbox.report._grid import Cell, Column, Grid
from smartbox.report._plain import as_latex, as_markdown
from tests.report.conftest import EVIL

GRID = Grid("one", "A title", ["Name"], [Column("x", "Both"), Column("y", "Both"), Column("z")],
            [(("a_b",), [Cell("1.00", 1, "[0.5, 1.5]", "0.9 … 1.1"), Cell("2"), Cell("3")])], "Threat.", "in %")  # fmt: skip


def test_markdown():
    assert as_markdown(GRID).split("\n\n")[:2] == [
        "**A title**",
        "| Name | Both: x | Both: y | z |\n| --- | ---: | ---: | ---: |\n| a\\_b | 1.00 \\[0.5, 1.5\\] (0.9 … 1.1) | 2 | 3 |",
    ]


def test_latex():
    lines = as_latex(GRID).splitlines()
    assert r" & \multicolumn{2}{c}{Both} & \multicolumn{1}{c}{} \\" in lines and r"\cmidrule(lr){2-3}" in lines
    small = r"\\\scriptsize {[}0.5, 1.5{]}\\\scriptsize 0.9 \dots{} 1.1"
    assert rf"a\_b & \makecell[tr]{{1.00{small}}} & 2 & 3 \\" in lines


def test_latex_of_wide_and_of_long_tables():
    """They go on over pages, upright or on their side, and say which packages they need."""
    wide = Grid("one", "A title", ["Name"], [Column(f"a name of column {i}") for i in range(9)],
                [(("a",), [Cell("1")] * 9)] * 90)  # fmt: skip
    text = as_latex(wide)
    assert text.startswith(r"% needs \usepackage{booktabs,longtable,makecell,pdflscape}")
    assert r"\makecell[br]{a name of\\column 3}" in text and text.count(r"\midrule") == 2
    opened, closed = re.findall(r"\\begin{(\w+)}", text), re.findall(r"\\end{(\w+)}", text)
    assert opened == ["landscape", "longtable"] == closed[::-1]
    assert "landscape" not in as_latex(GRID)


@pytest.fixture(scope="module")
def written(run_folder, tmp_path_factory):
    """By format, each table's text by its id."""
    folder = tmp_path_factory.mktemp("tables") / "new"
    paths = {form: write_tables(run_folder, folder / form, format=form) for form in ("markdown", "latex")}
    assert {path.suffix for path in paths["markdown"]} == {".md"} and {path.suffix for path in paths["latex"]} == {
        ".tex"
    }
    return {form: {path.stem: path.read_text() for path in each} for form, each in paths.items()}


def test_all_tables_are_written(written):
    for tables in written.values():
        assert {"recognition", "mitigation", "awareness", "guard", "roc-table", "people"} <= set(tables)
        assert all(tables.values())


def test_names_are_text_only(written):
    markdown, latex = written["markdown"]["people"], written["latex"]["people"]
    assert EVIL not in markdown and "&lt;script&gt;alert(1)&lt;/script&gt;" in markdown
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 7 for line in markdown.splitlines() if line.startswith("|"))
    assert r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{}" in latex
    assert r"50 \% \& \$5\_a\textbackslash{}b\textbar{}c\#\textasciitilde{}\textasciicircum{}\{\}" in latex
    body = latex.split(r"\endfoot")[1].split(r"\end{longtable}")[0]
    assert not re.search(r"(?<!\\)[%$#_^~]", body), "nothing that LaTeX reads as a command"
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")


def test_unknown_format(run_folder, tmp_path):
    with pytest.raises(ValueError, match="expected format as one of markdown, latex, got 'pdf'"):
        write_tables(run_folder, tmp_path / "new", format="pdf")
    assert not (tmp_path / "new").exists()
