"""``smartbox attack``: against closed forms and the public classes, interrupted and continued, and given nonsense."""

import csv
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import smartbox
from smartbox import FaceClassifier, FaceProtocol, datasets
from smartbox.attacks import DDN, PGD, DeepFool, UniversalPerturbation
from smartbox.cli import _terminal
from smartbox.cli._batches import Batches
from smartbox.datasets import _adversarial_figure, load_adversarial_set, load_face_folder
from tests.cli.test_mistakes import check_one_line
from tests.doubles import affine_face, random_affine

SHAPE = (8, 6, 1)
NAMES = ["<script>", "Zoë", "bob"]
FILES = ["adversarial.npz", "examples.png", "png", "report.csv", "report.json"]


@pytest.fixture(autouse=True)
def no_picture(request, monkeypatch):
    """Pictures take longer than the attacks; those of a set are tested on their own, and one test here draws one."""
    if request.function is not test_builtin_faces_and_the_sample_model_need_no_option:
        monkeypatch.setattr(_adversarial_figure, "save_set_figure", lambda _, path, title: path.write_text(title))


class World:
    """An affine model, and images in the middle of the box that it knows: ten and more of each identity, in a folder."""

    def __init__(self, root):
        self.weights, _, _ = random_affine(0, 3, SHAPE)
        images = np.random.RandomState(0).randint(120, 136, size=(60, *SHAPE)).astype(np.uint8)
        logits = images.reshape(60, -1) / 255 @ self.weights.T
        bias = -np.median(logits, axis=0)
        best = (logits + bias).argmax(axis=1)
        self.face = affine_face(self.weights, bias, SHAPE)
        self.data = root / "faces"
        for name in NAMES:
            (self.data / name).mkdir(parents=True)
        for i, (image, k) in enumerate(zip(images, best, strict=True)):
            Image.fromarray(image[..., 0]).save(self.data / NAMES[k] / f"{i:02d}.png")
        self.model = root / "model.keras"
        self.face.network_.save(self.model)
        order = [2, 0, 1]
        shuffled = affine_face(self.weights[order], bias[order], SHAPE).network_
        self.named = root / "named.smartbox"
        FaceClassifier.from_network(shuffled, classes=[NAMES[k] for k in order]).save(self.named)
        faces = load_face_folder(self.data)
        self.X, self.y, self.files = faces.images, faces.target, faces.filenames
        assert np.bincount(self.y).min() >= 10 and faces.target_names.tolist() == NAMES
        self.parts = dict(zip(("train", "validation", "test"), FaceProtocol(random_state=0).split(self.y), strict=True))
        self.arguments = ["--model", self.model, "--data", self.data]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def attack(run, world):
    """``attack(name, *options)``: code, standard output, standard error."""
    return lambda name, *options: run("attack", "--attack", name, *world.arguments, "--out", "set", *options)


def content(folder):
    """Bytes of all files but the report, whose seconds and command are its own."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "report.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_distances_of_the_closed_form(attack, world, tmp_path):
    code, out, err = attack("deepfool", "--part", "all")
    assert code == 0
    made = load_adversarial_set(tmp_path / "set")
    logits = world.face.logits(world.X)
    k = world.y
    gaps = logits[np.arange(len(k)), k][:, None] - logits
    slopes = np.linalg.norm(world.weights[k][:, None] - world.weights, axis=2)
    gaps[np.arange(len(k)), k] = np.inf
    expected = (gaps / np.where(slopes > 0, slopes, 1)).min(axis=1)
    np.testing.assert_allclose(made.l2, expected, rtol=2e-3, atol=1e-6)
    np.testing.assert_array_equal(made.X, world.X)
    np.testing.assert_array_equal(made.y, world.y)
    assert made.filenames.tolist() == world.files.tolist() and made.target_names.tolist() == NAMES
    assert (made.prediction_before == np.array(NAMES)[k]).all() and made.success.all()
    assert sorted(os.listdir(tmp_path / "set")) == FILES
    assert "deep_fool against model.keras: 60 faces" in out and "100.00 %" in out
    assert "deep_fool: 60 of 60, " in err and "100.0 % success" in err
    assert err.splitlines()[-1] == "Written to set: png, examples.png, report.csv, adversarial.npz, report.json"


def test_figures_are_those_of_the_files(attack, world, tmp_path):
    """What the PNG files and the arrays show to the model is what the report says."""
    assert attack("pgd", "--set", "eps=0.02", "--set", "max_iter=3")[0] == 0
    with open(tmp_path / "set" / "report.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pngs = np.array([np.asarray(Image.open(tmp_path / "set" / row["png"])) for row in rows])[..., None] / np.float32(
        255
    )
    made = load_adversarial_set(tmp_path / "set")
    identity = np.array([NAMES.index(row["identity"]) for row in rows])
    after = world.face.predict(made.X_adv)
    assert [row["prediction_after"] for row in rows] == [NAMES[k] for k in after]
    assert [row["success"] == "True" for row in rows] == (after != identity).tolist()
    assert [row["success_8bit"] == "True" for row in rows] == (world.face.predict(pngs) != identity).tolist()
    np.testing.assert_allclose([float(row["linf"]) for row in rows], np.abs(made.X_adv - made.X).max(axis=(1, 2, 3)))
    figures = made.about["summary"]
    assert figures["success"] == (after != identity).mean() and figures["accuracy_after"] == (after == identity).mean()
    about = made.about
    assert (
        about["parameters"]["eps"] == 0.02 and about["seed"] == 0 and about["part"] == "test" and not about["partial"]
    )
    assert len(about["model"]["sha256"]) == 64 and about["data"]["images"] == [60, *SHAPE] and about["seconds"] > 0


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_part_and_seed_are_those_of_the_protocol(attack, world, tmp_path, part):
    expected = dict(zip(("train", "validation", "test"), FaceProtocol(random_state=7).split(world.y), strict=True))[
        part
    ]
    code, out, _ = attack("fgsm", "--part", part, "--seed", 7)
    assert code == 0 and f" {part} faces" in out
    assert load_adversarial_set(tmp_path / "set").filenames.tolist() == world.files[expected].tolist()


def test_the_same_as_the_public_class_at_any_batch_size(attack, world, tmp_path):
    test = world.parts["test"]
    X_adv = PGD(world.face, eps="8/255", random_state=3).generate(
        *(array[FaceProtocol(random_state=3).split(world.y)[2]] for array in (world.X, world.y))
    )
    made = []
    for size in (1, 5, 64):
        assert attack("pgd", "--set", "eps=8/255", "--seed", 3, "--batch-size", size)[0] == 0
        made.append(content(tmp_path / "set"))
    assert made[0] == made[1] == made[2] and len(load_adversarial_set(tmp_path / "set").X) == len(test)
    np.testing.assert_array_equal(load_adversarial_set(tmp_path / "set").X_adv, X_adv)


def test_classes_with_names_are_found_by_name(run, attack, world, tmp_path):
    attack("deepfool")
    by_number = load_adversarial_set(tmp_path / "set")
    assert run("attack", "--attack", "deepfool", "--model", world.named, "--data", world.data, "--out", "named")[0] == 0
    by_name = load_adversarial_set(tmp_path / "named")
    np.testing.assert_allclose(by_name.X_adv, by_number.X_adv, atol=1e-6)
    for name in ("y", "target_names", "filenames", "prediction_before", "prediction_after"):
        assert by_name[name].tolist() == by_number[name].tolist()


def test_a_model_with_names_may_know_more_people(run, world, tmp_path):
    shutil.copytree(world.data, tmp_path / "two")
    shutil.rmtree(tmp_path / "two" / "Zoë")
    assert run("attack", "--attack", "fgsm", "--model", world.named, "--data", "two", "--out", "set")[0] == 0
    made = load_adversarial_set(tmp_path / "set")
    assert (
        set(made.y) == {0, 2} and made.target_names.tolist() == NAMES and made.about["summary"]["accuracy_before"] == 1
    )


def test_targets_are_those_of_the_protocol(attack, world, tmp_path):
    assert attack("ddn", "--set", "targeted=true", "--set", "max_iter=30", "--seed", 5)[0] == 0
    test = FaceProtocol(random_state=5).split(world.y)[2]
    targets = FaceProtocol(random_state=5).assign(world.y[test]).targets
    made = load_adversarial_set(tmp_path / "set")
    np.testing.assert_array_equal(made.targets, targets)
    np.testing.assert_array_equal(made.success, made.prediction_after == np.array(NAMES)[targets])
    expected = DDN(world.face, targeted=True, max_iter=30, random_state=5).generate(world.X[test], targets)
    np.testing.assert_array_equal(made.X_adv, expected)
    with open(tmp_path / "set" / "report.csv", newline="", encoding="utf-8") as file:
        assert [row["target"] for row in csv.DictReader(file)] == [NAMES[k] for k in targets]


@pytest.mark.parametrize("targeted", [False, True])
def test_an_attack_that_learns_does_so_on_the_train_part(attack, world, tmp_path, targeted):
    options = ["--set", f"targeted={targeted}", "--set", "eps=0.02", "--set", "max_iter=5"]
    code, _, err = attack("universal_perturbation", *options)
    assert code == 0 and "% fooled" in err
    X, y = world.X[world.parts["train"]], world.y[world.parts["train"]]
    y = FaceProtocol(random_state=0).assign(y).targets if targeted else y
    by_hand = UniversalPerturbation(world.face, eps=0.02, max_iter=5, targeted=targeted).fit(X, y)
    made = load_adversarial_set(tmp_path / "set")
    np.testing.assert_array_equal(made.X_adv, np.clip(made.X + by_hand.perturbation_, 0, 1))


def test_too_few_faces_to_part(run, world, tmp_path):
    shutil.copytree(world.data, tmp_path / "few")
    for path in sorted((tmp_path / "few" / "bob").iterdir())[9:]:
        path.unlink()
    arguments = ["--model", world.model, "--data", "few", "--quiet"]
    code, out, err = run("attack", "--attack", "fgsm", *arguments)
    assert code == 0 and err.count("\n") == 1
    assert err.startswith("smartbox: warning: all faces are attacked, ") and "'bob' has 9 images" in err
    n = len(list((tmp_path / "few").rglob("*.png")))
    assert f": {n} faces" in out and len(load_adversarial_set("smartbox-adversarial").X) == n
    check_one_line(
        run("attack", "--attack", "fgsm", *arguments, "--part", "test"), ["no test part", "'bob'", "--part all"]
    )
    code, _, err = run("attack", "--attack", "universal_perturbation", *arguments, "--part", "all")
    assert code == 2 and "learnt on the train part" in err


def test_builtin_faces_and_the_sample_model_need_no_option(run, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "make_faces", functools.partial(datasets.make_faces, n_images=10))
    code, out, err = run("attack", "--attack", "fgsm", "--quiet")
    assert (code, err) == (0, "") and out.startswith("fgsm against sample_model.smartbox: 38 test faces")
    made = load_adversarial_set(tmp_path / "smartbox-adversarial")
    assert made.about["summary"]["accuracy_before"] > 0.9 and len(set(made.filenames)) == 38
    assert made.X.shape == (38, 96, 84, 1) and made.target_names[0] == "face01"
    assert all(name.startswith(f"face{k + 1:02d}/") for k, name in zip(made.y, made.filenames, strict=True))


def test_color_and_size_are_those_of_the_model(run, world, tmp_path):
    face = affine_face(*random_affine(1, 3, (12, 10, 3))[:2], (12, 10, 3))
    face.save("rgb.smartbox")
    for i, name in enumerate(NAMES):
        (tmp_path / "rgb" / name).mkdir(parents=True)
        Image.new("RGB", (40, 50), (200, 100, 10 * i)).save(tmp_path / "rgb" / name / "1.png")
    assert run("attack", "--attack", "fgsm", "--model", "rgb.smartbox", "--data", "rgb", "--part", "all")[0] == 0
    made = load_adversarial_set("smartbox-adversarial")
    assert made.X.shape == (3, 12, 10, 3)
    np.testing.assert_allclose(made.X[2, 5, 5], [200 / 255, 100 / 255, 20 / 255], atol=1e-6)
    assert Image.open(tmp_path / "smartbox-adversarial" / "png" / "bob_1.png").mode == "RGB"
    words = ["rgb", "the built-in faces are grey", "--data"]
    check_one_line(run("attack", "--attack", "fgsm", "--model", "rgb.smartbox"), words)


def test_unreadable_images_can_be_left_out(run, world, tmp_path):
    damaged = shutil.copytree(world.data, tmp_path / "damaged")
    (damaged / "bob" / "x.png").write_bytes(b"PNG")
    arguments = ["attack", "--attack", "fgsm", "--model", world.model, "--data", damaged, "--quiet"]
    check_one_line(run(*arguments), ["x.png", "--on-error skip"])
    code, _, err = run(*arguments, "--on-error", "skip")
    assert code == 0 and "x.png" in err


def test_remarks(run, attack, world, tmp_path):
    order = [1, 2, 0]
    FaceClassifier.from_network(world.face.network_, classes=[NAMES[k] for k in order]).save("wrong.smartbox")
    _, out, _ = run("attack", "--attack", "fgsm", "--model", "wrong.smartbox", "--data", world.data)
    assert "identifies only 0 % of these faces" in " ".join(out.split())
    _, out, _ = attack("deepfool", "--part", "all")
    figures = load_adversarial_set(tmp_path / "set").about["summary"]
    assert figures["success_8bit"] < 0.9 and "are left after rounding to 8 bits" in " ".join(out.split())


@pytest.mark.parametrize("width", [20, 80])
def test_a_tiny_terminal(attack, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = attack("fgsm", "--quiet")
    assert code == 0 and max(map(len, out.splitlines())) <= width


class Interruption:
    """Raises at the start of a batch."""

    def __init__(self, monkeypatch, cls, after, error=KeyboardInterrupt):
        self.calls, generate = [], cls.generate

        def interrupted(*arguments, **more):
            self.calls.append(arguments)
            if len(self.calls) == after + 1:
                raise error
            return generate(*arguments, **more)

        monkeypatch.setattr(cls, "generate", interrupted)


@pytest.fixture
def undisturbed(attack, tmp_path):
    """Content of a set that was made without interruption."""
    assert attack("pgd", "--set", "eps=0.03", "--part", "all")[0] == 0
    os.rename(tmp_path / "set", tmp_path / "undisturbed")
    return content(tmp_path / "undisturbed")


def test_interrupted_and_continued(attack, tmp_path, monkeypatch, undisturbed):
    options = ["--set", "eps=0.03", "--part", "all", "--batch-size", 16]
    calls = Interruption(monkeypatch, PGD, after=2).calls
    code, out, err = attack("pgd", *options)
    assert code == 130 and "32 of 60 faces, " in out
    assert err.splitlines()[-1] == (
        "smartbox: interrupted; 32 of 60 faces finished and kept in set/partial; the same command goes on from there."
    )
    part = load_adversarial_set(tmp_path / "set" / "partial")
    assert part.about["partial"] and part.about["planned_images"] == 60 and os.listdir(tmp_path / "set") == ["partial"]
    np.testing.assert_array_equal(part.X_adv, load_adversarial_set(tmp_path / "undisturbed").X_adv[:32])
    code, _, err = attack("pgd", *options[:-1], 8)
    assert code == 0 and "32 of 60 faces are done already" in err and "pgd: 28 of 28" in err
    assert len(calls) == 3 + 4
    assert content(tmp_path / "set") == undisturbed and sorted(os.listdir(tmp_path / "set")) == FILES


def test_interrupted_at_once(attack, tmp_path, monkeypatch):
    Interruption(monkeypatch, PGD, after=0)
    code, out, err = attack("pgd", "--quiet")
    assert (code, out, err.strip()) == (130, "", "smartbox: interrupted; 0 of 7 faces finished, nothing was written.")
    assert not (tmp_path / "set").exists()


def test_an_earlier_set_stays_until_the_new_one_is_complete(attack, tmp_path, monkeypatch):
    attack("fgsm", "--part", "all")
    before = content(tmp_path / "set")
    Interruption(monkeypatch, PGD, after=1)
    assert attack("pgd", "--part", "all", "--batch-size", 20)[0] == 130
    assert {name: data for name, data in content(tmp_path / "set").items() if "partial" not in name} == before
    assert attack("pgd", "--part", "all", "--batch-size", 20)[0] == 0
    assert load_adversarial_set(tmp_path / "set").about["attack"] == "pgd" and len(content(tmp_path / "set")) == len(
        before
    )


@pytest.mark.parametrize(
    ("changed", "word"),
    [(["--seed", 1], "seed was 0 then and is 1 now"), (["--set", "eps=0.02"], "parameters eps was 0.03")],
)
def test_other_options_begin_anew(attack, tmp_path, monkeypatch, changed, word):
    options = ["--part", "all", "--batch-size", 20, "--quiet"]
    calls = Interruption(monkeypatch, PGD, after=1).calls
    attack("pgd", *options, "--set", "eps=0.03")
    code, _, err = attack("pgd", *options, *(changed if "eps" in word else [*changed, "--set", "eps=0.03"]))
    assert code == 0 and err.count("\n") == 1 and "all begins anew" in err and word in err and len(calls) == 2 + 3


def test_other_faces_begin_anew(run, world, tmp_path, monkeypatch):
    data = shutil.copytree(world.data, tmp_path / "faces")
    arguments = ["attack", "--attack", "pgd", "--model", world.model, "--data", data, "--batch-size", 2, "--quiet"]
    Interruption(monkeypatch, PGD, after=1)
    assert run(*arguments)[0] == 130
    path = next(data.rglob("*.png"))
    Image.fromarray(np.asarray(Image.open(path)) + np.uint8(1)).save(path)
    code, _, err = run(*arguments)
    assert code == 0 and "all begins anew: data sha1 was" in err


def test_damaged_batches_begin_anew(attack, tmp_path, monkeypatch):
    Interruption(monkeypatch, PGD, after=1)
    attack("pgd", "--batch-size", 2, "--quiet")
    (batch,) = (tmp_path / "set" / "partial" / "batches").iterdir()
    batch.write_bytes(batch.read_bytes()[:-10])
    code, _, err = attack("pgd", "--batch-size", 2, "--quiet")
    assert code == 0 and "all begins anew: it cannot be read" in err


def test_a_full_disk_loses_nothing_that_is_finished(attack, tmp_path, monkeypatch, undisturbed):
    add, calls = Batches.add, []

    def full(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        add(*arguments, **more)

    monkeypatch.setattr(Batches, "add", full)
    options = ["--set", "eps=0.03", "--part", "all", "--batch-size", 16, "--quiet"]
    check_one_line(
        attack("pgd", *options), ["No space left on device", "32 of 60 faces finished and kept in set/partial"]
    )
    assert attack("pgd", *options)[0] == 0 and content(tmp_path / "set") == undisturbed


def test_no_room_is_found_before_work(attack, tmp_path, monkeypatch):
    monkeypatch.setattr(_terminal.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 100))
    Interruption(monkeypatch, PGD, after=0, error=AssertionError)
    check_one_line(attack("pgd"), ["set needs about", "0 MB are free", "--out"])
    assert not (tmp_path / "set").exists()


def wait_for(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_a_killed_process_is_continued(attack, world, tmp_path, number, code):
    """A process of its own, ended in the middle; what it leaves and a second run make the very set of an undisturbed one."""
    options = ["--set", "max_iter=300", "--part", "all"]
    assert attack("ddn", *options)[0] == 0
    os.rename(tmp_path / "set", tmp_path / "undisturbed")
    start = "import signal, smartbox.cli; signal.signal(signal.SIGINT, signal.default_int_handler); smartbox.cli.main()"
    command = [sys.executable, "-c", start, "attack", "--attack", "ddn", *world.arguments, "--out", "set", *options]
    command = [str(argument) for argument in [*command, "--batch-size", 1]]
    batches = tmp_path / "set" / "partial" / "batches"
    with open(tmp_path / "err", "w+") as err, open(tmp_path / "out", "w+") as out:
        where = {**os.environ, "PYTHONPATH": str(Path(smartbox.__file__).parents[1])}
        process = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=err, env=where)
        try:
            wait_for(lambda: batches.is_dir() and len(list(batches.glob("*.npz"))) >= 3, process)
            process.send_signal(number)
            process.wait(timeout=30)
        finally:
            process.kill()
    n_done = len(list(batches.glob("*.npz")))
    assert process.returncode == code and 3 <= n_done < 60
    if number != signal.SIGKILL:
        last = (tmp_path / "err").read_text().splitlines()[-1]
        assert f"interrupted; {n_done} of 60 faces finished and kept in set/partial" in last
        assert f"{n_done} of 60 faces, " in (tmp_path / "out").read_text()
        assert len(load_adversarial_set(tmp_path / "set" / "partial").X) == n_done
    code, _, err = attack("ddn", *options)
    assert code == 0 and f"{n_done} of 60 faces are done already" in err
    assert content(tmp_path / "set") == content(tmp_path / "undisturbed")
    whole, continued = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("undisturbed", "set"))
    for report in (whole, continued):
        assert report.pop("seconds") > 0 and report.pop("command")
    assert whole == continued


MISTAKES = [
    ([], ["expected --attack NAME", "deep_fool"]),
    (["--attack", "defool"], ["no attack 'defool' (did you mean 'deep_fool'?)", "Known: "]),
    (["--attack", "pgd", "--set", "max_itr=3"], ["no parameter 'max_itr' (did you mean 'max_iter'?)", "It has: eps"]),
    (["--attack", "pgd", "--set", "attack.pgd.eps=3"], ["cannot set 'attack.pgd.eps' (did you mean 'eps'?)"]),
    (["--attack", "pgd", "--set", "eps"], ["--set KEY=VALUE", "eps=8/255"]),
    (["--attack", "pgd", "--set", "eps=lots"], ["'8/255'", "'lots'"]),
    (["--attack", "pgd", "--set", "eps=3"], ["linf eps of at most 1", "did you mean 3/255?"]),
    (["--attack", "pgd", "--set", "max_iter=0"], ["'max_iter' parameter of PGD"]),
    (["--attack", "pgd", "--set", "random_state=3"], ["'random_state'", "--seed"]),
    (["--attack", "pgd", "--set", "batch_size=3"], ["'batch_size'", "--batch-size"]),
    (["--attack", "pgd", "--set", "model=3"], ["'model'", "--model"]),
    (["--attack", "auto_attack", "--set", "targeted=true"], ["no parameter 'targeted'"]),
    (["--attack", "pgd", "--seed", "-1"], ["--seed", "-1"]),
    (["--attack", "pgd", "--batch-size", "0"], ["--batch-size", "0"]),
    (["--attack", "pgd", "--part", "tset"], ["'tset'", "'test', 'validation', 'train', 'all'"]),
    (["--attack", "pgd", "--color", "rgb"], ["No such option", "--color"]),
    (["--attack", "pgd", "--on-error", "skip"], ["the built-in faces cannot take --on-error"]),
    (["--attack", "pgd", "--data", "nowhere"], ["nothing at nowhere", "'builtin'"]),
    (["--attack", "pgd", "--data", "people"], ["expected --model PATH beside --data people"]),
    (["--attack", "pgd", "--model", "nowhere"], ["no file at nowhere", "'sample'"]),
    (["--attack", "pgd", "--model", ""], ["no file at ''"]),
    (["--attack", "pgd", "--model", "people"], ["no file at people", ".keras"]),
    (["--attack", "pgd", "--model", "text.keras"], ["text.keras is not a .keras archive"]),
    (["--attack", "pgd", "--model", "text.smartbox"], ["text.smartbox is not a face classifier"]),
    (["--attack", "pgd", "--out", "text.keras"], ["cannot write results to text.keras", "--out"]),
    (["--attack", "pgd", "--out", "foreign"], ["foreign holds report.csv, but no adversarial set"]),
    (["--attack", "pgd", "--out", "mine"], ["partial is where an unfinished run keeps its images", "--out"]),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES, ids=[" ".join(options) for options, _ in MISTAKES])
def test_mistakes_are_one_line_before_any_work(run, monkeypatch, tmp_path, options, words):
    def fail(*_, **__):
        raise AssertionError("faces were made before the mistake was found")

    if "--on-error" not in options:
        monkeypatch.setattr(datasets, "make_faces", fail)
    for folder in ("people", "foreign", "mine/partial"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("text.keras", "text.smartbox", "foreign/report.csv", "mine/partial/diary.txt"):
        (tmp_path / name).write_text("text")
    before = content(tmp_path)
    check_one_line(run("attack", *options), words)
    assert content(tmp_path) == before and not (tmp_path / "smartbox-adversarial").exists()


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (None, ["the model knows 4 identities, by number", "holds 3: '<script>', 'Zoë', 'bob'", "as many"]),
        (
            ["Zoë", "ann", "bob", "eve"],
            ["does not know 1 of the 3 identities", "'<script>'", "It knows 4: 'Zoë', 'ann'"],
        ),
        ([3, 4, 5, 6], ["does not know 3 of the 3 identities", "'3'"]),
    ],
)
def test_identities_that_do_not_fit(run, world, tmp_path, classes, words):
    network = affine_face(*random_affine(0, 4, SHAPE)[:2], SHAPE).network_
    FaceClassifier.from_network(network, classes=classes).save(tmp_path / "model.smartbox")
    check_one_line(run("attack", "--attack", "fgsm", "--model", "model.smartbox", "--data", world.data), words)


def test_numbers_other_than_from_zero_are_names(run, world, tmp_path):
    FaceClassifier.from_network(world.face.network_, classes=[7, 11, 20]).save(tmp_path / "model.smartbox")
    for name, number in zip(NAMES, (7, 11, 20), strict=True):
        shutil.copytree(world.data / name, tmp_path / "faces" / str(number))  # in text 11 comes before 7
    assert run("attack", "--attack", "deepfool", "--model", "model.smartbox", "--data", "faces")[0] == 0
    made = load_adversarial_set("smartbox-adversarial")
    assert made.about["summary"]["accuracy_before"] == 1 and made.target_names.tolist() == ["7", "11", "20"]


@pytest.mark.parametrize(
    ("shape", "words"),
    [((None, None, 1), ["one fixed height and width"]), ((10, 8, 2), ["1 channel (grey) or 3 (rgb)"]),
     ((12, 10, 1), ["12 x 10 pixels", "at least 24 x 21", "--data"])],
)  # fmt: skip
def test_models_whose_images_cannot_be_made(run, tmp_path, shape, words):
    import keras

    inner = keras.layers.Conv2D(38, 3), keras.layers.GlobalAveragePooling2D()
    keras.Sequential([keras.Input(shape), *inner]).save(tmp_path / "model.keras")
    check_one_line(run("attack", "--attack", "fgsm", "--model", "model.keras"), words)


def test_the_gradient_warning_comes_once(attack, world, tmp_path, monkeypatch):
    generate = DeepFool.generate

    def flat(self, *arguments, **more):
        X_adv, report = generate(self, *arguments, **more)
        report.n_zero_gradients[:1] = 1
        self._warn_of_zero_gradients()
        return X_adv, report

    monkeypatch.setattr(DeepFool, "generate", flat)
    code, out, err = attack("deepfool", "--batch-size", 2)
    assert code == 0 and "warning" not in err
    assert "the gradient was zero for 4 faces" in " ".join(out.split())
