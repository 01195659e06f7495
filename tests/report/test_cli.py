"""``smartbox report``."""

import pytest

from smartbox import cli
from tests.report.conftest import make_run


@pytest.fixture
def run(capsys):
    """``run(*arguments)``: exit code, standard output, standard error."""

    def run(*arguments):
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


def test_page_tables_and_comparison(run, tmp_path):
    folder = make_run(tmp_path / "run", seeds=(0,), attacks={"pgd": 4.0})
    assert run("report", folder) == (0, f"Written: {folder / 'report.html'}\n", "")
    code, out, _ = run("report", folder, "--format", "latex")
    assert code == 0 and out.startswith(f"Written to {folder / 'tables'}: recognition.tex, ")
    assert (folder / "tables" / "mitigation.tex").is_file()
    page = tmp_path / "page.html"
    assert run("report", folder, folder, "--out", page) == (0, f"Written: {page}\n", "")


def test_mistakes_are_one_line(run, tmp_path):
    for arguments in (
        ["report", tmp_path],
        ["report", tmp_path / "none"],
        ["report", tmp_path, tmp_path, "--format", "latex"],
    ):
        code, out, err = run(*arguments)
        assert code == 2 and not out and err.count("\n") == 1 and "without results.json: name another" in err
    folder = make_run(tmp_path / "run", records=False, seeds=(0,), attacks={"pgd": 4.0})
    code, _, err = run("report", folder, "--out", tmp_path / "no" / "page.html")
    assert code == 2 and "no folder" in err and not (tmp_path / "no").exists()


def test_bench_leaves_no_report_of_an_earlier_run(run, tmp_path, monkeypatch):
    """It is made at the end; where it does not come to that, the old one is gone as soon as the first results are new."""
    from smartbox.benchmark import Benchmark, Results

    folder = make_run(tmp_path / "run", records=False, seeds=(0,), attacks={"pgd": 4.0})
    (folder / "report.html").write_text("an earlier run's")

    def passes(self):
        yield Results(provenance={"seeds": [0], "seconds": 1}, tables={"mitigation": [], "detection": []})
        raise KeyboardInterrupt

    monkeypatch.setattr(Benchmark, "passes", passes)
    code, _, err = run("bench", "--image-shape", "32x28", "--out", folder, "--quiet", "--seed", 0, "--seed", 1)
    assert code == 130 and "1 of 2 seeds complete and written" in err and not (folder / "report.html").exists()
