"""A small folder of faces, and the command run inside this process."""

import numpy as np
import pytest
from PIL import Image

from smartbox import FaceClassifier, cli
from smartbox.datasets import make_faces

TINY = ["--attacks", "fgsm", "--image-shape", "32x28", "--set", "network.epochs=1"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Two identities of ten images, as PGM files."""
    root = tmp_path_factory.mktemp("faces")
    faces = make_faces(n_identities=2, n_images=10, image_shape=(32, 28))
    for i, (image, label) in enumerate(zip(faces.images, faces.target, strict=True)):
        (root / f"person{label}").mkdir(exist_ok=True)
        Image.fromarray(np.uint8(image[..., 0] * 255)).save(root / f"person{label}" / f"{i:02d}.pgm")
    return root


@pytest.fixture
def run(capsys, monkeypatch, tmp_path, tmp_path_factory):
    """``run(*arguments)``: exit code, standard output, standard error; in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("smartbox.benchmark._store.default_folder", lambda: cache)
    monkeypatch.delenv("SMARTBOX_DEBUG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments):
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def no_work(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("work was done before the mistake was found")

    monkeypatch.setattr(FaceClassifier, "fit", fail)
