"""A cache of its own for each test, and a small copy of the layout of Extended Yale B."""

import zipfile

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SMARTBOX_CACHE", str(folder))
    return folder


def pgm(pixels, white=255):
    """Binary PGM of a 2-D array of integers."""
    pixels = np.asarray(pixels)
    kind = np.uint8 if white < 256 else ">u2"
    return b"P5\n%d %d\n%d\n" % (*pixels.shape[::-1], white) + pixels.astype(kind).tobytes()


@pytest.fixture
def make_pgm():
    return pgm


@pytest.fixture
def yale_folder(tmp_path):
    """Three identities with three images each, and everything else that the archive holds."""
    rng = np.random.RandomState(0)
    root = tmp_path / "unpacked" / "CroppedYale"
    for identity in ("yaleB01", "yaleB13", "yaleB39"):
        folder = root / identity
        folder.mkdir(parents=True)
        for light in ("A+000E+00", "A-035E+65", "A+110E-20"):
            (folder / f"{identity}_P00{light}.pgm").write_bytes(pgm(rng.randint(0, 256, (192, 168))))
        (folder / f"{identity}_P00A+050E-40.pgm.bad").write_bytes(b"bad")
        (folder / f"{identity}_P00_Ambient.pgm").write_bytes(pgm(rng.randint(0, 256, (48, 64))))
        (folder / f"{identity}_P00.info").write_text("yaleB_P00A+000E+00.pgm\n")
    return root


@pytest.fixture
def pack(tmp_path):
    """Function that packs a folder, with its own name in front, into a zip."""

    def pack(folder, name="packed.zip"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*"), reverse=True):
                archive.write(path, path.relative_to(folder.parent))
        return tmp_path / name

    return pack
