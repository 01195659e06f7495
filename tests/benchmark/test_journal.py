"""How far a run is, and what the rest will take."""

import logging
from collections import Counter

import pytest

from smartbox.benchmark import Benchmark, _journal
from smartbox.benchmark._journal import Journal
from smartbox.benchmark._store import Store
from tests.benchmark.test_store import CHOICES

NETWORK, FGSM, PGD = ("network",), ("attacked", "fgsm", "network"), ("attacked", "pgd", "network")
BLURRED = ("attacked", "fgsm", "defense", "gaussian_blur")


@pytest.fixture
def clock(monkeypatch):
    """``clock(seconds)`` lets them pass."""
    now = [0.0]
    monkeypatch.setattr(_journal.time, "monotonic", lambda: now[0])

    def pass_by(seconds):
        now[0] += seconds

    return pass_by


def events(caplog):
    return [record.event for record in caplog.records if hasattr(record, "event")]


def test_what_a_piece_waits_for_is_not_its_own_time(clock):
    journal = Journal()
    with journal.making(0, FGSM):
        clock(1)
        with journal.making(0, NETWORK):
            clock(10)
        clock(2)
    with journal.making(0, PGD, BLURRED):
        clock(6)
    assert journal.all_made == [(0, NETWORK, 10), (0, FGSM, 3), (0, PGD, 3), (0, BLURRED, 3)]


def test_a_piece_that_fails_is_not_made_and_costs_the_one_around_it_nothing(clock):
    journal = Journal()
    with journal.making(0, FGSM):
        with pytest.raises(ZeroDivisionError), journal.making(0, NETWORK):
            clock(5)
            raise ZeroDivisionError
        clock(1)
    assert journal.all_made == [(0, FGSM, 1)]


def test_time_left_is_that_of_the_likest(clock):
    journal = Journal([NETWORK, FGSM, PGD, BLURRED], seeds=[0, 1])
    assert journal.seconds_left() == (None, False)
    journal.made(0, NETWORK, 60)
    assert journal.seconds_left() == (60 + 6 * 30, False)  # the other seed's network; attacks are unknown, and weigh half of it
    journal.made(0, FGSM, 4)
    assert journal.seconds_left() == (60 + 4 * 5, True)  # fgsm and its likes 3 times, pgd 2 times by its kind alone
    journal.made(0, PGD, 40)
    assert journal.seconds_left() == (60 + 4 * 3 + 40, True)
    journal.n_workers = 2
    assert journal.seconds_left() == (56, True)
    journal.n_workers = 1
    journal.fetched(1, NETWORK)
    assert journal.seconds_left() == (4 * 3 + 40, True)
    journal.ended(1)
    assert journal.seconds_left() == (4, True) and journal.left == {(0, BLURRED)}


def test_lines_come_now_and_then_and_say_how_sure_they_are(clock, capsys):
    journal = Journal([NETWORK, FGSM, PGD], seeds=[0, 1], verbose=1)
    for piece, seconds in ((NETWORK, 600), (FGSM, 1), (PGD, 29), (PGD, 6)):
        with journal.making(0, piece):
            clock(seconds)
    assert capsys.readouterr().err.splitlines() == [
        "All in all: 1 of 6 pieces, 10 min, very roughly 30 min left",
        "All in all: 3 of 6 pieces, 10 min, about 10 min left",
    ]


@pytest.mark.parametrize("cached", [False, True])
def test_every_piece_of_a_run_is_told_once(faces, tmp_path, caplog, cached):
    caplog.set_level(logging.INFO, logger="smartbox")
    choices = {**CHOICES, "cache": tmp_path}
    if cached:
        Benchmark(faces, **choices).run()
        caplog.clear()
    Benchmark(faces, **choices).run()
    told = [event for event in events(caplog) if event["event"] == "piece"]
    pieces = Counter(tuple(event["piece"]) for event in told)
    assert set(pieces.values()) == {1} and told[-1]["done"] == len(told)
    assert len(told) == told[-1]["all"] - cached  # the attacked faces for detectors: these are there already
    assert {event["source"] for event in told} == {"cache" if cached else "made"}
    assert sum(event["seconds"] for event in told) <= told[-1]["elapsed"]
    last = events(caplog)[-1]
    assert last["event"] == "seed" and last["done"] == last["all"] and last["seconds_left"] == 0
    assert cached or len(list(Store(tmp_path).folder.rglob("*.piece"))) == len(told)
