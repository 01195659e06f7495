"""Train the sample model and write it beside this file: ``python -m smartbox.data.make_sample_model``."""

from pathlib import Path

import numpy as np

from smartbox import FaceClassifier, FaceProtocol
from smartbox._serialization import save_face
from smartbox.datasets import make_faces

PATH = Path(__file__).with_name("sample_model.smartbox")


def main():
    faces = make_faces()
    train, validation, test = FaceProtocol(random_state=0).split(faces.target)
    face = FaceClassifier(random_state=0, verbose=1)
    face.fit(
        faces.images[train], faces.target[train], validation_data=(faces.images[validation], faces.target[validation])
    )
    save_face(face, PATH, dtype=np.float16)
    print(
        f"{PATH.name}: {PATH.stat().st_size:,} bytes, test accuracy {face.score(faces.images[test], faces.target[test]):.4f}"
    )


if __name__ == "__main__":
    main()
