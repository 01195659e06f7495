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
    assert r"a\_b & 1.00 {[}0.5, 1.5{]} (0.9 \dots{} 1.1) & 2 & 3 \\" in lines


@pytest.mark.parametrize("format, ending", [("markdown", ".md"), ("latex", ".tex")])
def test_all_tables_are_written(run_folder, tmp_path, format, ending):
    paths = write_tables(run_folder, tmp_path / "new" / "folder", format=format)
    assert {"recognition", "mitigation", "awareness", "guard", "roc-table", "people"} <= {path.stem for path in paths}
    assert all(path.suffix == ending and path.read_text() for path in paths)


def test_names_are_text_only(run_folder, tmp_path):
    markdown = next(p for p in write_tables(run_folder, tmp_path / "md") if p.stem == "people").read_text()
    assert EVIL not in markdown and "&lt;script&gt;alert(1)&lt;/script&gt;" in markdown
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 7 for line in markdown.splitlines() if line.startswith("|"))
    latex = next(
        p for p in write_tables(run_folder, tmp_path / "tex", format="latex") if p.stem == "people"
    ).read_text()
    assert r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{}" in latex
    assert r"50 \% \& \$5\_a\textbackslash{}b\textbar{}c\#\textasciitilde{}\textasciicircum{}\{\}" in latex
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert not re.search(r"(?<!\\)[%$#_^~]", body), "nothing that LaTeX reads as a command"
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")


def test_unknown_format(run_folder, tmp_path):
    with pytest.raises(ValueError, match="expected format as one of markdown, latex, got 'pdf'"):
        write_tables(run_folder, tmp_path / "new", format="pdf")
    assert not (tmp_path / "new").exists()
