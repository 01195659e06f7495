"""The command line: what it prints where, what it writes, and how it ends."""

import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

import smartbox
from smartbox import FaceClassifier, cli, datasets
from smartbox.benchmark import Results
from smartbox.benchmark._plan import make_plan
from smartbox.benchmark._registry import KINDS, available, preset, settable
from smartbox.cli import _terminal
from smartbox.cli._docstrings import citation, references
from smartbox.cli._docstrings import parameters as parameters_of
from tests.cli.conftest import TINY


def test_bench_on_a_folder(run, folder, tmp_path):
    code, out, err = run("bench", "--data", folder, *TINY, "--out", "results", "--set", "attack.fgsm.eps=16/255")
    assert code == 0
    assert "Mitigation: accuracy (%) over all 2 test faces" in out and "Detection (%)" in out and "Attacks:" in out
    assert "Seed 0" not in out and "Training" not in out and "Written" not in out
    lines = err.splitlines()
    assert lines[0] == "Seed 0: 16 faces to train, 2 to validate, 2 to test"
    assert lines[1].startswith("Training: 1 of 1, ") and "FGSM: 2 of 2" in err and "\x1b" not in err
    assert lines[-3] == "Writing the report"
    assert lines[-1] == "Report: results/report.html" and (tmp_path / "results" / "report.html").is_file()
    assert lines[-2].endswith("Written to results: results.json, mitigation.csv, detection.csv, attacks.csv, faces.png, records")
    provenance = json.loads((tmp_path / "results" / "results.json").read_text())["provenance"]
    assert provenance["parameters"]["attack.fgsm"]["eps"] == "16/255"
    assert provenance["parameters"]["network"]["epochs"] == 1 and provenance["seeds"] == [0]
    assert provenance["data"]["images"] == [20, 32, 28, 1]


def test_quiet_prints_tables_alone_for_several_seeds(run, folder, tmp_path):
    code, out, err = run("bench", "--data", folder, *TINY, "--quiet", "--detectors", "none", "--defenses", "none",
                         "--seed", 3, "--seed", 4, "--metrics", "success,identification")  # fmt: skip
    assert (code, err) == (0, "")
    assert out.startswith("Mitigation") and "Detection" not in out
    with open(tmp_path / "smartbox-results" / "attacks.csv", newline="") as file:
        assert [row["seed"] for row in csv.DictReader(file)] == ["3", "4"]


@pytest.mark.parametrize(
    ("protocol", "words"), [("paper", "paper:"), ("cross", "Trained on"), ("committed", "unaware")]
)
def test_each_protocol_has_its_own_table_of_detection(run, folder, tmp_path, protocol, words):
    code, out, _ = run("bench", "--data", folder, *TINY, "--quiet", "--defenses", "none", "--protocol", protocol)
    assert code == 0 and "Detection (%)" in out and words in out
    whole = json.loads((tmp_path / "smartbox-results" / "results.json").read_text())
    assert whole["provenance"]["protocol"] == protocol
    assert all(row["ms_per_face"] > 0 and "roc_auc_low" in row for row in whole["tables"]["detection"])


def test_guard_check_of_masking_and_an_attack_at_two_eps(run, folder, tmp_path):
    tiny = [argument.replace("fgsm", "fgsm@2/255,pgd@0.01") for argument in TINY]
    code, out, _ = run("bench", "--data", folder, *tiny, "--quiet", "--set", "attack.pgd@0.01.max_iter=2", "--guard",
                       "--check-masking")  # fmt: skip
    assert code == 0 and "Guard: identification (%)" in out and "fgsm@2/255" in out and "all attacks" in out
    whole = json.loads((tmp_path / "smartbox-results" / "results.json").read_text())
    assert whole["provenance"]["guard"] is True and whole["provenance"]["check_masking"] is True
    assert whole["provenance"]["parameters"]["attack.pgd@0.01"]["eps"] == "0.01"
    with open(tmp_path / "smartbox-results" / "mitigation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["attack"] for row in rows} == {"fgsm@2/255", "pgd@0.01", "all attacks"}
    assert all(float(row["worst_low"]) <= float(row["worst"]) <= float(row["worst_high"]) for row in rows)
    assert (tmp_path / "smartbox-results" / "guard.csv").exists()


def test_mixed_sizes_are_resized(run, folder, tmp_path):
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    Image.new("L", (50, 70), 99).save(mixed / "person0" / "00.pgm")
    assert run("bench", "--data", mixed, *TINY, "--quiet")[0] == 0


def test_unreadable_images_can_be_left_out(run, folder, tmp_path):
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "person0" / "damaged.pgm").write_bytes(b"P5")
    code, _, err = run("bench", "--data", damaged, *TINY, "--quiet", "--on-error", "skip")
    assert code == 0 and "warning" in err and "damaged.pgm" in err


def test_color(run, folder, tmp_path):
    assert run("bench", "--data", folder, *TINY, "--quiet", "--color", "rgb")[0] == 0
    written = json.loads((tmp_path / "smartbox-results" / "results.json").read_text())
    assert written["provenance"]["data"]["images"] == [20, 32, 28, 3]


def test_interrupt_keeps_the_finished_seeds(run, folder, tmp_path, monkeypatch):
    fit, calls = FaceClassifier.fit, []

    def interrupted(self, *arguments, **more):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(self, *arguments, **more)

    monkeypatch.setattr(FaceClassifier, "fit", interrupted)
    code, out, err = run("bench", "--data", folder, *TINY, "--quiet", "--seed", 0, "--seed", 1)
    assert code == 130 and "Mitigation" in out
    assert err.strip() == (
        "smartbox: interrupted; 1 of 2 seeds complete and written to smartbox-results. The same command goes on from there."
    )
    assert "1 of 2 seeds" in out.split("┏")[0]
    written = json.loads((tmp_path / "smartbox-results" / "results.json").read_text())
    assert written["provenance"]["seeds"] == [0]


def test_results_among_the_faces_are_refused(run, folder, no_work):
    """The picture of one run would be a face of the next."""
    for out in (folder, folder / "ann" / "results"):
        code, _, err = run("bench", "--data", folder, *TINY, "--out", out)
        assert code == 2 and "lies among the images of --data" in err and "choose a folder beside it" in err


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_control_c_ends_with_130_and_no_traceback(folder, tmp_path):
    start = "import signal, smartbox.cli; signal.signal(signal.SIGINT, signal.default_int_handler); smartbox.cli.main()"
    tiny = [argument.replace("epochs=1", "epochs=100000") for argument in TINY]
    command = [sys.executable, "-c", start, "bench", "--data", folder, *tiny, "--no-cache"]
    with open(tmp_path / "err", "w+") as err:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=err, text=True)
        deadline = time.monotonic() + 60
        try:
            while "Seed 0" not in (tmp_path / "err").read_text() and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(1)  # into the training
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    text = (tmp_path / "err").read_text()
    assert process.returncode == 130 and out == ""
    assert "interrupted; 0 of 1 seeds complete, no results were written." in text and "Traceback" not in text
    assert sorted(os.listdir(tmp_path)) == ["err", "smartbox-results"]
    assert os.listdir(tmp_path / "smartbox-results") == ["bench.log"]


@pytest.mark.parametrize("arguments", ["--help", "-h", "", "bench --help", "bench -h", "list --help", "attack --help"])
def test_help(run, arguments):
    code, out, err = run(*arguments.split())
    assert code == 0 and err == "" and out.startswith("Usage: smartbox")


def test_interrupt_while_saving(run, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Results, "save", interrupted)
    code, _, err = run("bench", "--data", folder, *TINY, "--quiet")
    assert code == 130 and "1 of 1 seeds complete, but not all files" in err


@pytest.mark.parametrize("cached", [True, False])
def test_a_full_disk_is_told_with_what_is_left(run, folder, monkeypatch, cached):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Results, "save", full)
    code, out, err = run("bench", "--data", folder, *TINY, "--quiet", *([] if cached else ["--no-cache"]))
    assert code == 2 and "Mitigation" in out  # the tables themselves are not lost
    assert "cannot write all results to smartbox-results (No space left on device): make room" in err
    assert ("what the cache could keep" in err) == cached


def test_interrupt_while_loading(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "make_faces", interrupted)
    code, out, err = run("bench")
    assert (code, out, err.strip()) == (130, "", "smartbox: interrupted; nothing was written.")


def test_help_of_bench_says_how_long_it_takes(run):
    assert "two to three minutes on two cores" in " ".join(run("bench", "--help")[1].split())


@pytest.mark.parametrize("command", [cli.bench, cli.attack])
def test_help_names_every_option(run, command):
    _, out, _ = run(command.name, "--help")
    for parameter in command.params:
        assert parameter.opts[0] in out


def test_version(run):
    assert run("--version") == (0, f"smartbox, version {smartbox.__version__}\n", "")


@pytest.mark.parametrize("width", [80, 160])
def test_list(run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = run("list")
    assert code == 0 and err == ""
    assert max(map(len, out.splitlines())) <= width
    for word in ("fgsm", "pgd", "gaussian_blur", "pca", "eps=0.03137", "sigma=1", "epochs=60", "tpr_at_fpr_1"):
        assert word in out
    assert "random_state" not in out and "``" not in out


def test_list_cites_a_paper_with_its_year_for_each(run):
    _, out, _ = run("list")
    for kind in KINDS:
        for name, cls in available(kind).items():
            cited = citation(cls)
            assert re.search(r'[A-Z].*"[A-Z].*", .*\b(19|20)\d\d$', cited), name
            assert " ".join(cited.split()) in " ".join(out.split())
    assert 'Frossard. "DeepFool: A Simple and Accurate Method to Fool Deep Neural Networks", CVPR 2016\n' in out


@pytest.mark.parametrize("width", [60, 160])
@pytest.mark.parametrize("name", [*(name for kind in KINDS for name in available(kind)), "network"])
def test_list_of_one_name_describes_all_its_parameters(run, monkeypatch, name, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = run("list", name)
    assert code == 0 and err == "" and out.startswith(f"{name}: ") and "`" not in out and "]_" not in out
    assert max(map(len, out.splitlines())) <= width
    cls = next((available(kind)[name] for kind in KINDS if name in available(kind)), FaceClassifier)
    plain = " ".join(out.split())
    for parameter in settable(cls):
        assert f"\n  {parameter}: " in out
    for parameter, _, words in parameters_of(cls):
        assert (words in plain) == (parameter in settable(cls))
    for reference in references(cls):
        assert " ".join(reference.split()) in plain


@pytest.mark.parametrize("name", ["DeepFool", "deep-fool", "PCADetector", "NETWORK"])
def test_list_takes_names_as_they_are_written_in_python(run, name):
    assert run("list", name)[0] == 0


def test_list_of_an_unknown_name(run):
    code, out, err = run("list", "DEFOOL")
    assert (code, out) == (2, "") and "nothing called 'DEFOOL' (did you mean 'deep_fool'?). Known: " in err


def test_everything_listed_can_be_set(run):
    """Each parameter that the list shows is accepted by --set with its default."""
    chosen = {plural: list(available(kind)) for kind, plural in KINDS.items()}
    parameters = {}
    for kind in KINDS:
        for name, cls in available(kind).items():
            for key, parameter in settable(cls).items():
                parameters[f"{kind}.{name}.{key}"] = preset(kind, name).get(key, parameter.default)
    plan = make_plan(**chosen, parameters=parameters, seeds=[0])
    assert {plural: sorted(plan[kind]) for kind, plural in KINDS.items()} == {k: sorted(v) for k, v in chosen.items()}


def test_width_of_tables(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert _terminal.console().width == 160
    monkeypatch.setenv("COLUMNS", "80")
    assert _terminal.console().width == 80
