"""Every mistake is one line on standard error, and exit code 2, before any work is done."""

import os
import shutil

import pytest

from smartbox import FaceClassifier, datasets
from smartbox.cli import _options
from tests.cli.conftest import TINY


@pytest.fixture
def bad_data(folder, tmp_path):
    """Paths of faces that cannot be used."""
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "empty").mkdir()
    truncated = shutil.copytree(folder, tmp_path / "truncated")
    whole = (truncated / "person1" / "12.pgm").read_bytes()
    (truncated / "person1" / "12.pgm").write_bytes(whole[: len(whole) // 2])
    few = shutil.copytree(folder, tmp_path / "few")
    (few / "person1" / "12.pgm").unlink()
    single = shutil.copytree(folder, tmp_path / "single")
    shutil.rmtree(single / "person0")
    return tmp_path


@pytest.fixture
def no_faces(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("faces were made before the mistake was found")

    monkeypatch.setattr(datasets, "make_faces", fail)


@pytest.mark.parametrize("option", [("--color", "rgb"), ("--on-error", "skip")])
def test_yale_refuses_options_of_folders(run, no_work, tmp_path, option):
    (tmp_path / "data" / "yaleB01").mkdir(parents=True)
    check_one_line(run("bench", "--data", tmp_path / "data", *option), ["Extended Yale B", option[0], "leave it out"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", ["there is nothing at", "nowhere", "'builtin'"]),
        ("text.zip", ["text.zip", "zip", "check the path"]),
        ("empty", ["empty", "one sub-folder an identity"]),
        ("truncated", ["12.pgm", "cannot be decoded", "Repair or remove", "--on-error skip"]),
        ("few", ["Identity 'person1' has 9 images", "at least 10", "add images"]),
        ("single", ["two identities", "'person1'", "add faces"]),
    ],
)
def test_bad_data(run, no_work, bad_data, name, words):
    check_one_line(run("bench", "--data", bad_data / name, "--image-shape", "32x28"), words)
    assert not (bad_data / "smartbox-results").exists(), "nothing is written for a run that never was"


OPTIONS = [
    (["--image-shape", "big"], ["--image-shape", "height x width", "'big'"]),
    (["--image-shape", "96x84x1"], ["96x84x1"]),
    (["--image-shape", "0x84"], ["at least one pixel"]),
    (["--image-shape", "23x84"], ["the paper's network", "at least 24 x 24", "got 23 x 84"]),
    (["--image-shape", "84x23"], ["the paper's network", "at least 24 x 24"]),
    (["--set", "network.network=resnet"], ["no network 'resnet'", "Known: paper"]),
    (["--set", "network.optimizer=foo"], ["no optimizer 'foo'", "Known: sgd, adam"]),
    (["--set", "network.optimizer=rmspop"], ["did you mean 'rmsprop'?"]),
    (["--set", "network.optimizer=3"], ["no optimizer 3"]),
    (["--data", ""], ["there is nothing at ''", "'builtin'"]),
    (["--data", " "], ["there is nothing at", "'builtin'"]),
    (["--color", "rgb"], ["built-in faces", "--color", "leave it out"]),
    (["--on-error", "skip", "--color", "grey"], ["built-in faces", "--color and --on-error"]),
    (["--on-error", "ignore"], ["--on-error", "'raise', 'skip'"]),
    (["--attacks", "pdg@2/255"], ["no attack 'pdg@2/255'", "did you mean 'pgd@2/255'?"]),
    (["--attacks", "pgd@2/256/3"], ["eps of attack 'pgd@2/256/3'", "'8/255'"]),
    (["--attacks", "pgd@2/255", "--set", "pgd@2/255.max_iter=3"], ["did you mean 'attack.pgd@2/255.max_iter'?"]),
    (["--guard", "--detectors", "none"], ["guard needs detectors", "--detectors pca"]),
    (["--guard", "--protocol", "paper"], ["guard needs detectors", "got protocol 'paper'"]),
    (["--check-masking", "--defenses", "none"], ["check_masking", "got no mitigation"]),
    (["--guard", "--no-adaptive"], ["guard looks at attacks that know", "leave out one"]),
    (["--set", "fgsm.eps=1"], ["cannot set 'fgsm.eps'", "did you mean 'attack.fgsm.eps'?"]),
    (["--set", "gaussian_blur.sigma=1"], ["did you mean 'defense.gaussian_blur.sigma'?"]),
    (["--set", "epochs=1"], ["did you mean 'network.epochs'?"]),
    (["--set", "attack.fgsm.eps"], ["--set KEY=VALUE", "attack.fgsm.eps=8/255"]),
    (["--set", "attack.fgsm.eps="], ["--set KEY=VALUE"]),
    (["--set", "=3"], ["--set KEY=VALUE"]),
    (["--set", "attack.fgsm.eps=lots"], ["'8/255'", "'lots'"]),
    (["--set", "attack.fgsm.eps=[1]"], ["'eps' parameter of FGSM"]),
    (["--set", "attack.fgsm.espilon=1"], ["no parameter 'espilon'", "It has: eps"]),
    (["--set", "attack.fgms.eps=1"], ["did you mean 'fgsm'?"]),
    (["--set", "attack.fgsm.eps=1", "--set", "attack.fgsm.eps=2"], ["once", "twice"]),
    (["--set", "nonsense=1"], ["attack.NAME.PARAMETER", "network.PARAMETER"]),
    (["--set", "network.epochs=2.5"], ["'epochs' parameter"]),
    (["--set", "attack.fgsm.random_state=2"], ["--seed"]),
    (["--attacks", "fsgm"], ["no attack 'fsgm' (did you mean 'fgsm'?)", "Known: "]),
    (["--attacks", ""], ["at least one attack"]),
    (["--defenses", "blur"], ["no defense 'blur'", "gaussian_blur"]),
    (["--detectors", "pcaa"], ["did you mean 'pca'?"]),
    (["--metrics", "recal"], ["did you mean 'recall'?"]),
    (["--metrics", ""], ["at least one metric"]),
    (["--metrics", "recall", "--detectors", "none"], ["needs a detector"]),
    (["--seed", "x"], ["--seed", "x"]),
    (["--seed", "-1"], ["0 to 2**32 - 1", "-1"]),
    (["--sed", "1"], ["No such option", "--seed", "'smartbox bench --help'"]),
    (["--out", "a.txt"], ["cannot write results to a.txt", "--out"]),
    (["--out", "a.txt/below"], ["cannot write results to a.txt/below", "--out"]),
    (["surplus"], ["surplus"]),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS, ids=[" ".join(options) for options, _ in OPTIONS])
def test_bad_option(run, no_work, no_faces, tmp_path, options, words):
    (tmp_path / "a.txt").write_text("a file")
    check_one_line(run("bench", *options), words)
    assert os.listdir(tmp_path) == ["a.txt"]


def check_one_line(ended, words):
    code, out, err = ended
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and err.startswith("smartbox: ") and "Traceback" not in err
    for word in words:
        assert word in err


def test_unknown_command(run):
    check_one_line(run("bensh"), ["bensh", "'smartbox --help'"])


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that even root cannot write to")
def test_folder_that_cannot_be_written(run, no_work):
    check_one_line(run("bench", "--out", "/proc/self/results"), ["cannot write results", "--out"])


@pytest.mark.parametrize("error", [FloatingPointError("the training loss is not finite:\nlower it."), MemoryError()])
def test_failures_of_the_run_are_one_line(run, folder, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(FaceClassifier, "fit", fail)
    check_one_line(run("bench", "--data", folder, *TINY, "--quiet"), [" ".join(str(error).split()) or "MemoryError"])


def test_bugs_are_not_hidden(run, folder, monkeypatch):
    def fail(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr(FaceClassifier, "fit", fail)
    with pytest.raises(KeyError):
        run("bench", "--data", folder, *TINY, "--quiet")


def test_debug_shows_the_traceback(run, monkeypatch):
    monkeypatch.setenv("SMARTBOX_DEBUG", "1")
    with pytest.raises(ValueError, match="did you mean"):
        run("bench", "--metrics", "recal")


def test_warnings_are_one_line(run, folder, tmp_path):
    loose = shutil.copytree(folder, tmp_path / "loose")
    shutil.copy(loose / "person0" / "00.pgm", loose / "00.pgm")
    code, _, err = run("bench", "--data", loose, *TINY, "--quiet")
    assert code == 0 and err.count("\n") == 1
    assert err.startswith("smartbox: warning: ") and "1 images outside of any identity" in err


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", "8/255"), ("0.03", 0.03), ("3", 3), ("true", True), ("False", False), ("none", None), ("l2", "l2"),
     ("'l2'", "l2"), ("(1, 2)", (1, 2))],
)  # fmt: skip
def test_values(text, value):
    parsed = _options.parse_settings([f" a.b = {text} "])
    assert parsed == {"a.b": value} and type(parsed["a.b"]) is type(value)
