"""Options from presets and files, and classes of the user's own."""

import json

import pytest

from smartbox import cli
from smartbox.benchmark._plan import make_plan
from smartbox.cli import _bench
from smartbox.cli._config import presets
from tests.cli.conftest import TINY


@pytest.fixture
def choices(monkeypatch, run):
    """``choices(*options)``: what the command would do, or its complaint."""
    found = {}

    def take(**options):
        found.update(options)
        make_plan(**options)
        raise ValueError("stopped")

    monkeypatch.setattr("smartbox.benchmark._plan.make_plan", take)

    def choices(*options):
        found.clear()
        err = run("bench", *options)[2]
        return dict(found) if "stopped" in err else err

    return choices


def test_quick_is_what_there_is_without_options(choices):
    assert choices("--preset", "quick") == choices()


def test_every_preset_is_a_run(choices):
    assert set(presets()) == {"quick", "paper"}
    found = choices("--preset", "paper")
    assert found["attacks"] == ("deep_fool", "ead_l1", "ead_en", "fgsm", "carlini_l2") and found["seeds"] == (0, 1, 2)
    assert found["parameters"]["attack.ead_en.max_iter"] == 60 and found["detector_faces"] == 400
    assert found["protocol"] == "paper" and len(found["defenses"]) == len(found["detectors"]) == 4


def test_the_command_line_wins_over_the_file_and_that_over_the_preset(choices, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'preset = "paper"\nattacks = ["fgsm", "pgd@2/255"]\ndetectors = "none"\ndetector_faces = 9\nguard = false\nseed = 4\n'
        'protocol = "cross"\n[set]\nnetwork.epochs = 7\nattack.fgsm.eps = "8/255"\n[set.attack."pgd@2/255"]\nmax_iter = 3\n'
    )
    options = ["--config", file, "--seed", 5, "--seed", 6, "--defenses", "none", "--set", "attack.fgsm.eps=0.1"]
    found = choices(*options)  # the preset's settings of what is left out are left out too
    assert found["attacks"] == ("fgsm", "pgd@2/255") and found["detectors"] == found["defenses"] == ()
    assert found["seeds"] == (5, 6) and found["detector_faces"] == 9 and found["protocol"] == "cross"
    assert found["parameters"] == {"network.epochs": 7, "attack.fgsm.eps": 0.1, "attack.pgd@2/255.max_iter": 3}
    assert choices("--config", file)["seeds"] == (4,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('atacks = ["fgsm"]', ["no option 'atacks'", "did you mean 'attacks'?", "mine.toml"]),
        ("attacks = [", ["mine.toml is not TOML"]),
        ("set = 3", ["expected set as a table"]),
        ("[attacks]\nfgsm = 1", ["expected attacks as a value"]),
        ('protocol = ["paper"]', ["expected protocol as one value"]),
        ('protocol = "papr"', ["papr"]),
        ('seed = ["x"]', ["'x'"]),
        ("seed = [0, 1.5]", ["'1.5'"]),
        ("seed = true", ["'True'"]),
        ("detector_faces = 20.7", ["'20.7'"]),
        ("attacks = [3]", ["list of names"]),
        ('preset = "pper"', ["no preset 'pper' (did you mean 'paper'?)"]),
        ('config = "other.toml"', ["no option 'config'"]),
        ("[set]\nattack.fgsm.epz = 1", ["no parameter 'epz' (did you mean 'eps'?)"]),
    ],
)
def test_mistakes_in_a_file_are_named_before_any_work(run, no_work, tmp_path, text, words):
    (tmp_path / "mine.toml").write_text(text)
    code, out, err = run("bench", "--config", "mine.toml")
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert all(word in err for word in words)


def test_a_file_that_is_none(run, no_work):
    assert "no file at nowhere.toml" in run("bench", "--config", "nowhere.toml")[2]


OWN = """
from smartbox.attacks import FGSM
from smartbox.defenses import GaussianBlur
from smartbox.detectors import PCADetector

class Mine(FGSM):
    pass

class Softer(GaussianBlur):
    pass

class Eager(PCADetector):
    pass
"""


def test_classes_of_the_users_own(run, folder, tmp_path, monkeypatch):
    (tmp_path / "own_module.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--data", folder, *TINY[2:], "--quiet", "--attacks", "own_module:Mine,own_module:Mine@0.1", "--defenses",
               "own_module:Softer", "--detectors", "own_module:Eager", "--set", "attack.own_module:Mine.eps=8/255",
               "--set", "defense.own_module:Softer.sigma=0.5"]  # fmt: skip
    for _ in range(2):  # the second time from the cache, which cannot keep a detector of the user's
        code, out, err = run("bench", *options)
        assert (code, err) == (0, "") and "own_module:Mine@0.1" in out and "own_module:Eager" in out
    parameters = json.loads((tmp_path / "smartbox-results" / "results.json").read_text())["provenance"]["parameters"]
    assert (
        parameters["attack.own_module:Mine"]["eps"] == "8/255"
        and parameters["attack.own_module:Mine@0.1"]["eps"] == "0.1"
    )
    assert parameters["defense.own_module:Softer"]["sigma"] == 0.5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:Mine", "No module named 'no_such_module'"),
        ("own_module:Nobody", "no attribute 'Nobody'"),
        ("own_module:Softer", "derived from smartbox.base.BaseAttack"),
        (":Mine", "expected package.module:Class"),
    ],
)
def test_classes_that_are_not_there(run, no_work, tmp_path, monkeypatch, name, words):
    (tmp_path / "own_module.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = run("bench", "--attacks", name)
    assert code == 2 and words in err


def test_help_still_names_the_defaults():
    assert {"config", "preset"} <= {option.name for option in cli.bench.params} and _bench.bench is cli.bench


def test_options_of_workers_and_cache_are_checked_before_any_work(run, no_work, tmp_path):
    assert "expected --jobs as a number of workers, -1 for all cores, or leave it out" in run("bench", "--jobs", 0)[2]
    assert "exclude each other" in run("bench", "--cache", tmp_path, "--no-cache")[2]


def test_a_cluster_that_nobody_can_call(run, no_work, folder, monkeypatch):
    options = "bench", "--data", folder, *TINY, "--scheduler", "tcp://127.0.0.1:9"
    monkeypatch.setattr("smartbox.cli._cluster.find_spec", lambda name: None)
    assert "pip install 'smartbox[dask]'" in run(*options)[2]


@pytest.mark.parametrize("address", ["", "localhost", "tcp://localhost", "host:8786"])
def test_what_is_no_address_of_a_scheduler(run, no_work, address):
    assert "with protocol and port, e.g. tcp://host:8786" in run("bench", "--scheduler", address)[2]


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer(run, no_work, folder, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("smartbox.cli._cluster._SECONDS", 1)
    code, _, err = run("bench", "--data", folder, *TINY, "--scheduler", "tcp://127.0.0.1:9")
    assert code == 2 and "no dask scheduler answers at 'tcp://127.0.0.1:9'" in err
