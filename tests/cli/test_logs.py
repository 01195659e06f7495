"""The log of a run, and progress for programs."""

import json
import logging
import warnings
from pathlib import Path

import pytest

from smartbox.cli._logs import logged, tell
from tests.cli.conftest import TINY


def test_progress_for_programs(run, folder, tmp_path):
    options = "bench", "--data", folder, *TINY, "--out", tmp_path / "out"
    code, _, err = run(*options, "--progress", "json")
    assert [line for line in err.splitlines() if not line.startswith("{")] == []
    events = [json.loads(line) for line in err.splitlines()]
    assert events[0]["event"] == "start" and events[0]["attacks"] == ["fgsm"] and events[0]["seeds"] == [0]
    assert code == 0 and events[-1]["event"] == "finished" and events[-1]["report"].endswith("report.html")
    pieces = [event for event in events if event["event"] == "piece"]
    assert pieces[-1]["done"] == pieces[-1]["all"] == len(pieces) and {"seed", "piece", "seconds_left"} <= set(pieces[0])
    log = (tmp_path / "out" / "bench.log").read_text()
    assert "seed 0, network: " in log and f"{len(pieces)} of {len(pieces)} pieces" in log and "Written to" in log
    assert run(*options, "--quiet")[2] == ""
    assert (tmp_path / "out" / "bench.log").read_text().startswith(log) and logging.getLogger("smartbox").handlers == []


def test_quiet_and_json_exclude_each_other(run, no_work):
    assert "--quiet and --progress json exclude each other" in run("bench", "--quiet", "--progress", "json")[2]


@pytest.mark.parametrize("as_json", [False, True])
def test_warnings_and_ends_are_told(tmp_path, capsys, monkeypatch, as_json):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: shown.append(str(message)))
    with pytest.raises(KeyboardInterrupt), logged(tmp_path / "bench.log", as_json=as_json):
        warnings.warn("the disk is nearly full", stacklevel=1)
        tell("note", "going on", speed=2)
        raise KeyboardInterrupt
    log, err = (tmp_path / "bench.log").read_text(), capsys.readouterr().err
    assert "warning: the disk is nearly full" in log and "ended by KeyboardInterrupt" in log
    if as_json:
        events = [json.loads(line) for line in err.splitlines()]
        assert [event["event"] for event in events] == ["warning", "note", "ended"] and events[1]["speed"] == 2
        assert events[2]["error"] == "KeyboardInterrupt"
    else:
        assert shown == ["the disk is nearly full"] and err == ""


def test_a_log_that_cannot_be_opened_is_a_warning(run, folder, tmp_path):
    (tmp_path / "out" / "bench.log").mkdir(parents=True)
    code, _, err = run("bench", "--data", folder, *TINY, "--out", tmp_path / "out", "--quiet")
    assert code == 0 and "there will be no log: cannot open" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full")
def test_a_log_that_cannot_be_written_stops_nothing(capsys):
    with logged(Path("/dev/full")):
        tell("note", "lost")
    assert capsys.readouterr().err == ""
