"""The cache of a run: pieces are made once, are whole or are made again, and never change a number."""

import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from smartbox.attacks import FGSM, PGD
from smartbox.benchmark import Benchmark, Results
from smartbox.benchmark import _code as code
from smartbox.benchmark import _making as making
from smartbox.benchmark import _store as store_module
from smartbox.benchmark._keys import described, key_of
from smartbox.benchmark._pass import Pass
from smartbox.benchmark._plan import make_plan
from smartbox.benchmark._store import Store
from smartbox.datasets import make_faces
from smartbox.defenses import GaussianBlur

PARAMETERS = {"network.epochs": 2, "network.learning_rate": 0.1, "attack.fgsm.eps": 0.1, "detector.pca.n_components": 4}
CHOICES = {
    "attacks": ["fgsm"],
    "defenses": ["gaussian_blur", "noise_training"],
    "parameters": PARAMETERS,
    "guard": True,
}
TIMES = ("ms_per_face", "plain_passes")


def exactly(tables):
    """Numbers to the last bit, but for the times."""
    return {table: [{name: repr(value) for name, value in row.items() if name not in TIMES} for row in rows]
            for table, rows in tables.items()}  # fmt: skip


@pytest.fixture(scope="module")
def plain(faces):
    """The tables of a run without a cache."""
    return exactly(Benchmark(faces, **CHOICES).run().tables)


@pytest.fixture(scope="module")
def filled(faces, plain, tmp_path_factory):
    """A cache that a run has filled."""
    folder = tmp_path_factory.mktemp("filled")
    assert exactly(Benchmark(faces, **CHOICES, cache=folder).run().tables) == plain
    return folder


@pytest.fixture
def copied(filled, tmp_path):
    """A copy of it, to be spoilt."""
    for path in filled.rglob("*.piece"):
        to = tmp_path / path.relative_to(filled)
        to.parent.mkdir(exist_ok=True)
        to.write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def made(monkeypatch):
    """The pieces that are made from now on."""
    found = []
    for kind, maker in making.MAKERS.items():

        def note(one, *which, kind=kind, maker=maker):
            found.append((one.seed, kind, *which))
            return maker(one, *which)

        monkeypatch.setitem(making.MAKERS, kind, note)
    return found


def test_nothing_is_made_twice(faces, plain, filled, made):
    assert exactly(Benchmark(faces, **CHOICES, cache=filled).run().tables) == plain
    assert made == []
    Benchmark(faces, **CHOICES).run()
    assert len(made) == len(set(made)) > 0


@pytest.mark.parametrize("seed", range(3))
def test_any_mixture_of_old_and_new_gives_the_same_tables(faces, plain, copied, seed):
    paths = sorted(copied.rglob("*.piece"))
    for path in random.Random(seed).sample(paths, len(paths) // 2):
        path.unlink()
    assert exactly(Benchmark(faces, **CHOICES, cache=copied).run().tables) == plain


def test_a_larger_run_makes_only_what_is_new(faces, filled, made):
    choices = {**CHOICES, "attacks": ["fgsm", "pgd"], "defenses": [*CHOICES["defenses"], "bit_depth_reduction"],
               "detectors": [], "guard": False}  # fmt: skip
    Benchmark(faces, **{**choices, "parameters": {key: value for key, value in PARAMETERS.items() if "pca" not in key}},
              cache=filled, seeds=(0,)).run()  # fmt: skip
    assert made and all({"pgd", "bit_depth_reduction"} & set(map(str, piece)) for piece in made)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[: len(content) // 2], "checksum"),
        (lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], "checksum"),
        (lambda content: b"", "damaged"),
        (lambda content: b"PK\x03\x04 something else\n" * 9, "damaged"),
        (lambda content: content.replace(b"piece-1", b"piece-9", 1), "another file"),
    ],
)
def test_damaged_pieces_are_told_and_made_again(faces, plain, copied, damage, words):
    paths = sorted(copied.rglob("*.piece"))
    for path in paths[::3]:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="made again") as told:
        assert exactly(Benchmark(faces, **CHOICES, cache=copied).run().tables) == plain
    assert any(words in str(one.message) for one in told)
    assert all("\n" not in str(one.message) for one in told)


def test_a_piece_of_another_key_is_not_taken(copied):
    first, second, *_ = sorted(copied.rglob("*.piece"))
    first.write_bytes(second.read_bytes())
    with pytest.warns(UserWarning, match="another file"):
        assert Store(copied).get(first.stem) is None


def test_where_nothing_can_be_kept_the_run_goes_on(faces, plain, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match="nothing more is kept") as told:
        assert exactly(Benchmark(faces, **CHOICES, cache=tmp_path / "file" / "cache").run().tables) == plain
    assert sum("nothing more is kept" in str(one.message) for one in told) == 1

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "atomic_file", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert not Store(tmp_path / "cache").put("ab" * 32, {"a": np.arange(3)})


def test_values_come_back(tmp_path):
    store, key = Store(tmp_path), "cd" * 32
    value = {
        "label": np.array(["007", "å"]),
        "X": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
        "none": np.array(np.nan),
    }
    assert store.put(key, value) and store.put(key, value)
    back = store.get(key)
    assert all(back[name].dtype == array.dtype for name, array in value.items())
    assert all(np.array_equal(back[name], array, equal_nan=name == "none") for name, array in value.items())
    assert store.put("ef" * 32, {}) and store.get("ef" * 32) == {}
    assert store.get("00" * 32) is None


def test_what_a_killed_run_left_half_written_is_swept(tmp_path):
    old, new = tmp_path / "ab" / ".x.piece.1", tmp_path / "ab" / ".x.piece.2"
    old.parent.mkdir()
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 1e6,) * 2)
    Store(tmp_path)
    assert not old.exists() and new.exists()


def test_keys_tell_apart_what_matters(faces):
    plan = make_plan(attacks=["fgsm"], defenses=[], detectors=[], parameters={"network.epochs": 1}, seeds=[0])
    other = make_plan(attacks=["fgsm"], defenses=[], detectors=[], parameters={"network.epochs": 2}, seeds=[0])

    def keys(plan=plan, seed=0, data="a"):
        one = Pass(faces.images, faces.target, {}, plan, seed, data_key=data)
        return [key_of(one, piece) for piece in (("network",), ("attacked", "fgsm", "network"))]

    found = [keys(), keys(other), keys(seed=1), keys(data="b")]
    assert len({key for each in found for key in each}) == 8 and keys() == found[0]


def test_descriptions():
    assert described(FGSM(None, eps=0.1)) == described(FGSM("a model", eps=0.1, random_state=3, verbose=1))
    assert described(FGSM(None, eps=0.1)) != described(FGSM(None, eps=0.2))
    assert described(GaussianBlur(sigma=1)) != described(GaussianBlur(sigma=1.5))


def test_code_counts_where_a_class_reaches_it(monkeypatch):
    def keys():
        for each in (code.code_of_module, code._imports, code.code_of_class):
            each.cache_clear()
        return [code.code_of_class(cls) for cls in (FGSM, PGD, GaussianBlur)]

    text, before = code._text, keys()

    def edited(*names):
        monkeypatch.setattr(code, "_text", lambda module: text(module) + "\n# edited" * (module in names))
        return [new == old for new, old in zip(keys(), before, strict=True)]

    assert edited("smartbox.attacks._pgd") == [True, False, True]
    assert edited("smartbox.attacks._budget") == [False, False, True]
    assert edited("smartbox.base._attack") == [False, False, True]
    assert edited("smartbox.base._images") == [False, False, False]
    assert edited("smartbox.attacks.__init__", "smartbox.detectors._pca", "smartbox.cli._bench") == [True, True, True]
    monkeypatch.setattr(code, "_text", text)
    assert keys() == before


def test_code_of_the_users_own_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number in (1, 2):
        (tmp_path / f"mine{number}.py").write_text(
            f"from smartbox.attacks import FGSM\nclass Mine(FGSM):\n    a = {number}\n"
        )
        found.append(code.code_of_class(__import__(f"mine{number}").Mine))
    assert found[0] != found[1] != code.code_of_class(FGSM)


_RUN = """
import sys
from smartbox.benchmark import Benchmark
from smartbox.datasets import make_faces
from tests.benchmark.test_store import CHOICES
faces = make_faces(n_identities=4, n_images=12, image_shape=(32, 28))
Benchmark(faces, **CHOICES, cache=sys.argv[1]).run().save(sys.argv[2])
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_the_same_tables(plain, tmp_path):
    make_faces(n_identities=4, n_images=12, image_shape=(32, 28))
    rng, command = random.Random(0), [sys.executable, "-c", _RUN, str(tmp_path / "cache"), str(tmp_path / "out")]
    for _ in range(20):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        count, until = rng.randint(0, 3), time.monotonic() + 60
        n_before = len(list(tmp_path.rglob("*.piece")))
        while process.poll() is None and time.monotonic() < until:
            if len(list(tmp_path.rglob("*.piece"))) > n_before + count:
                break
            time.sleep(0.01)
        time.sleep(rng.random() / 20)
        process.kill()
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = Results.load(tmp_path / "out")
    assert exactly(loaded.recompute().tables) == plain
