"""Extended Yale B: what is loaded, what is left out, and the cache."""

import os
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from smartbox.datasets import _yale as module
from smartbox.datasets import load_extended_yale_b

incomplete = pytest.mark.filterwarnings("ignore:.*expected 2,414 images:UserWarning")


def assert_same(one, other):
    assert set(one) == set(other)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@incomplete
def test_contents(yale_folder):
    faces = load_extended_yale_b(yale_folder)
    assert faces.images.shape == (9, 96, 84, 1)
    assert faces.images.dtype == np.float32
    assert faces.data.shape == (9, 96 * 84)
    assert np.shares_memory(faces.data, faces.images)
    assert faces.target.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert faces.target_names.tolist() == ["yaleB01", "yaleB13", "yaleB39"]
    assert faces.filenames[:3].tolist() == [
        "yaleB01/yaleB01_P00A+000E+00.pgm",
        "yaleB01/yaleB01_P00A+110E-20.pgm",
        "yaleB01/yaleB01_P00A-035E+65.pgm",
    ]
    assert faces.azimuth[:3].tolist() == [0, 110, -35]
    assert faces.elevation[:3].tolist() == [0, -20, 65]
    assert "Georghiades" in faces.DESCR
    with pytest.raises(ValueError, match="read-only"):
        faces.images[0] = 0


@incomplete
def test_pixels_are_those_of_the_files(yale_folder):
    faces = load_extended_yale_b(yale_folder, image_shape=(192, 168))
    stored = (yale_folder / faces.filenames[4]).read_bytes()[-192 * 168 :]
    pixels = np.frombuffer(stored, np.uint8).reshape(192, 168)
    np.testing.assert_allclose(faces.images[4, :, :, 0], pixels / 255, atol=1e-7)
    halved = load_extended_yale_b(yale_folder, image_shape=(96, 84)).images[4, :, :, 0]
    np.testing.assert_allclose(halved, pixels.reshape(96, 2, 84, 2).mean(axis=(1, 3)) / 255, atol=1e-6)


@incomplete
def test_zip_folder_and_parent_are_the_same(yale_folder, pack):
    faces = load_extended_yale_b(yale_folder)
    assert_same(faces, load_extended_yale_b(yale_folder.parent))
    assert_same(faces, load_extended_yale_b(str(pack(yale_folder))))


def test_a_part_is_loaded_with_a_warning(yale_folder):
    with pytest.warns(UserWarning, match=r"expected 2,414 images of 38 identities, got 9 of 3") as caught:
        load_extended_yale_b(yale_folder)
    assert caught[0].filename == __file__


def test_none_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"got none among 0 files; give the official CroppedYale\.zip"):
        load_extended_yale_b(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_extended_yale_b(tmp_path / "nowhere")


def test_twice_is_an_error(yale_folder, pack):
    (yale_folder / "copy").mkdir()
    image = "yaleB01_P00A+000E+00.pgm"
    (yale_folder / "copy" / image).write_bytes((yale_folder / "yaleB01" / image).read_bytes())
    with pytest.raises(ValueError, match=r"expected .*A\+000E\+00\.pgm once"):
        load_extended_yale_b(yale_folder)


@incomplete
@pytest.mark.parametrize("damage", [lambda pgm: pgm[:-1], lambda pgm: pgm[:5], lambda pgm: b"", lambda pgm: b"x" * 99])
def test_damaged_image(yale_folder, damage):
    path = yale_folder / "yaleB13/yaleB13_P00A-035E+65.pgm"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"yaleB13_P00A-035E\+65\.pgm: expected a complete image.*download"):
        load_extended_yale_b(yale_folder)


@incomplete
def test_uncropped_image(yale_folder, make_pgm):
    (yale_folder / "yaleB13/yaleB13_P00A-035E+65.pgm").write_bytes(make_pgm(np.zeros((480, 640))))
    with pytest.raises(ValueError, match=r"expected height and width \(192, 168\), got \(480, 640\)"):
        load_extended_yale_b(yale_folder)


@pytest.mark.parametrize(
    "image_shape",
    [None, 96, "96", (96,), (96, 84, 1), (96.0, 84), (True, 84), (0, 84), (96, -1), (10**5, 10**5)],
)
def test_image_shape_is_checked_first(image_shape, tmp_path):
    with pytest.raises(ValueError, match="image_shape must be two positive ints"):
        load_extended_yale_b(tmp_path / "nowhere", image_shape=image_shape)


@incomplete
class TestCache:
    @pytest.fixture
    def count(self, monkeypatch):
        """List that grows with each decoding of the images."""
        calls, decode = [], module._decode_all
        monkeypatch.setattr(module, "_decode_all", lambda *args: calls.append(1) or decode(*args))
        return calls

    def test_second_load_is_mapped(self, yale_folder, pack, count, cache):
        archive = pack(yale_folder)
        first, second = load_extended_yale_b(archive), load_extended_yale_b(archive)
        assert len(count) == 1
        assert_same(first, second)
        assert isinstance(first.images, np.memmap)
        assert isinstance(second.images, np.memmap)
        assert [path.suffix for path in cache.iterdir()] == [".npy"]

    def test_depends_on_shape_and_content(self, yale_folder, pack, count, make_pgm):
        before = load_extended_yale_b(pack(yale_folder))
        load_extended_yale_b(pack(yale_folder), image_shape=(48, 42))
        assert len(count) == 2
        (yale_folder / "yaleB01/yaleB01_P00A+000E+00.pgm").write_bytes(make_pgm(np.zeros((192, 168))))
        after = load_extended_yale_b(pack(yale_folder))
        assert len(count) == 3
        assert before.images[0].any()
        assert not after.images[0].any()

    def test_folder_is_followed(self, yale_folder, count, make_pgm):
        load_extended_yale_b(yale_folder)
        path = yale_folder / "yaleB01/yaleB01_P00A+000E+00.pgm"
        path.write_bytes(make_pgm(np.zeros((192, 168))))
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
        assert not load_extended_yale_b(yale_folder).images[0].any()
        assert len(count) == 2

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: b"",
            lambda content: content[:100],
            lambda content: content[:-1],
            lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
            lambda content: b"\x93NUMPX" + content[6:],
            lambda content: content + b"\0",
        ],
        ids=["empty", "header only", "cut", "one bit", "magic", "longer"],
    )
    def test_damage_is_found(self, yale_folder, count, cache, damage):
        expected = np.array(load_extended_yale_b(yale_folder).images)
        (path,) = cache.iterdir()
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(damage(content))
        np.testing.assert_array_equal(load_extended_yale_b(yale_folder).images, expected)
        assert len(count) == 2
        load_extended_yale_b(yale_folder)
        assert len(count) == 2
        assert path.read_bytes() == content

    def test_entry_of_another_shape_is_rebuilt(self, yale_folder, cache):
        load_extended_yale_b(yale_folder)
        (large,) = cache.iterdir()
        load_extended_yale_b(yale_folder, image_shape=(6, 5))
        (small,) = set(cache.iterdir()) - {large}
        os.replace(small, large)
        assert load_extended_yale_b(yale_folder).images.shape == (9, 96, 84, 1)

    def test_unwritable_cache_is_not_fatal(self, yale_folder, cache, monkeypatch):
        (cache / "file").write_text("not a folder")
        monkeypatch.setenv("SMARTBOX_CACHE", str(cache / "file"))
        with pytest.warns(UserWarning, match="cannot keep the decoded images.*SMARTBOX_CACHE") as caught:
            faces = load_extended_yale_b(yale_folder)
        assert caught[-1].filename == __file__
        assert faces.images.shape == (9, 96, 84, 1)
        assert not faces.images.flags.writeable

    def test_failed_write_leaves_nothing(self, yale_folder, cache, monkeypatch):
        def fail(*args):
            raise OSError("disk full")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.warns(UserWarning, match="disk full"):
            load_extended_yale_b(yale_folder)
        assert list(cache.iterdir()) == []


def test_import_leaves_tensorflow_alone():
    code = "import sys, smartbox.datasets; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
class TestRealArchive:
    @pytest.fixture
    def archive(self):
        path = Path(os.environ.get("SMARTBOX_YALE", ""))
        if not path.is_file():
            pytest.skip("set SMARTBOX_YALE to the path of CroppedYale.zip")
        return path

    def test_counts(self, archive):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            faces = load_extended_yale_b(archive)
        assert faces.images.shape == (2414, 96, 84, 1)
        names = [f"yaleB{i:02d}" for i in range(1, 40) if i != 14]
        assert faces.target_names.tolist() == names
        per_identity = np.bincount(faces.target)
        assert (per_identity.min(), per_identity.max()) == (59, 64)
        assert np.abs(faces.azimuth).max() == 130
        assert (faces.elevation.min(), faces.elevation.max()) == (-40, 90)

    def test_light_comes_from_where_the_name_says(self, archive):
        faces = load_extended_yale_b(archive)
        left, right = faces.images[..., 0].reshape(2414, 96, 2, 42).mean(axis=(1, 3)).T
        # Positive azimuth: from the subject's right, the left of the image. About 1 image in 75 disagrees.
        side = np.abs(faces.azimuth) > 30
        assert np.mean((left > right)[side] == (faces.azimuth > 0)[side]) > 0.95

    def test_folder_is_the_same(self, archive, tmp_path):
        with zipfile.ZipFile(archive) as source:
            source.extractall(tmp_path)
        for shape in [(96, 84), (50, 45), (192, 168)]:
            assert_same(
                load_extended_yale_b(archive, image_shape=shape),
                load_extended_yale_b(tmp_path, image_shape=shape),
            )

    def test_second_load_is_quick(self, archive):
        load_extended_yale_b(archive)
        start = time.perf_counter()
        load_extended_yale_b(archive)
        assert time.perf_counter() - start < 0.3
