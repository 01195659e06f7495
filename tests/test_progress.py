"""Progress: a bar on a terminal, plain lines elsewhere, nothing unless asked for."""

import io
import re
import sys

import pytest

from smartbox import _progress
from smartbox._progress import progress_bar, say

NOTE = "loss 3.477 accuracy 0.044 val_loss 3.426 val_accuracy 0.048"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def walk(n=3, enabled=1):
    with progress_bar("Training", n, enabled=enabled) as advance:
        for _ in range(n):
            advance(1, note=NOTE)


def test_plain_line_for_each_finished_step(capsys):
    walk()
    out, err = capsys.readouterr()
    assert out == "" and err == f"Training: 3 of 3, 0 s, {NOTE}\n"


def test_long_steps_are_heard_of_meanwhile(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", 0)
    walk()
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "Training: 1 of 3", "Training: 2 of 3", "Training: 3 of 3",
    ]  # fmt: skip


def test_lines_say_how_long_it_will_take(capsys, monkeypatch):
    clock = iter([0, 10, 15, 20])  # seconds at the start, at each step and at the end
    monkeypatch.setattr(_progress, "_SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(clock, 20))
    with progress_bar("Training", 4, enabled=1) as advance:
        advance(1)
        advance(3)
    first, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"Training: 1 of 4, 15 s, about 45 s left", first) and last == "Training: 4 of 4, 20 s"


def test_unfinished_step_claims_nothing(capsys):
    with pytest.raises(KeyboardInterrupt), progress_bar("Training", 2, enabled=1) as advance:
        advance(1)
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""


def test_silent_unless_enabled(capsys):
    walk(enabled=0)
    say("hello", enabled=0)
    assert capsys.readouterr() == ("", "")
    say("hello", enabled=1)
    assert capsys.readouterr() == ("", "hello\n")


@pytest.mark.parametrize("width", [80, 160])
def test_bar_keeps_its_counts_and_gives_up_the_note(monkeypatch, width):
    for name, value in {"COLUMNS": str(width), "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    walk()
    shown = sys.stderr.getvalue()
    assert "Training" in shown and "3/3" in shown and "left" in shown and "loss 3.477" in shown
    assert ("val_accuracy 0.048" in shown) == (width == 160)
