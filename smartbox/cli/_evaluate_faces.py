"""The gallery, the probes and the network of ``smartbox evaluate``."""

import warnings
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

BUILT_IN = "dlib_resnet_v1"
_SHARE = 0.25  # of the people, whose probes set the threshold
_FEWEST = 3  # enrolled people among the probes: one to set the threshold, two to measure
_ENROLLED, _STRANGERS = 30, 8  # of the built-in faces
_LIGHTS, _PROBES = (
    12,
    3,
)  # rendered, and used for probes: those next to the light from the front, in which all are enrolled


def find_network(network):
    """Path of the file, or None for the built-in network; before anything is loaded."""
    if network == BUILT_IN:
        return None
    path = Path(network).expanduser()
    if not path.is_file():
        raise ValueError(
            f"there is no file at {network or repr(network)}: expected --network {BUILT_IN}, a .keras file, or one that "
            "'smartbox train' wrote."
        )
    return path


def load_embedder(path):
    """An embedder on a network of any of these kinds."""
    from smartbox import FaceClassifier, FaceEmbedder
    from smartbox.persistence import load

    if path is None:
        return FaceEmbedder()
    found = FaceClassifier.from_network(path) if path.suffix == ".keras" else load(path)
    if isinstance(found, FaceEmbedder):
        return found
    if not isinstance(found, FaceClassifier):
        raise ValueError(
            f"{path} holds a {type(found).__name__}, expected a network: a FaceClassifier or a FaceEmbedder."
        )
    return FaceEmbedder(found.network_)


def check_folders(gallery, probes, pairs):
    """Raise a ValueError if something is missing, or of a combination that makes no sense."""
    paths = {"--gallery": gallery, "--probes": probes, "--pairs": pairs}
    for option, path in paths.items():
        if path is not None and not path.expanduser().exists():
            raise ValueError(
                f"there is nothing at {path}: expected {option} as a {'list' if option == '--pairs' else 'folder'}."
            )
    if probes is None and (gallery is not None or pairs is not None):
        raise ValueError(f"expected --probes DIR beside {'--gallery' if gallery is not None else '--pairs'}.")
    if probes is not None and gallery is None and pairs is None:
        raise ValueError(
            "expected --gallery DIR beside --probes, who is enrolled, or --pairs FILE, which pairs to verify."
        )


def read_folder(path, embedder, image_shape, color, on_error):
    """Faces of a folder, or zip, with one folder an identity, each with an image at least."""
    from smartbox.datasets import load_face_folder

    color = color or {1: "grey"}.get(embedder._compiled().image_shape[2], "rgb")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*folders without images")
        try:
            return load_face_folder(path, image_shape=image_shape, color=color, on_error=on_error or "raise")
        except UserWarning as error:
            raise ValueError(
                f"{str(error).replace('were left out', 'were found')}: put images in, or remove them."
            ) from error


def builtin_faces(image_shape):
    """Gallery and probes out of the built-in faces: people with one image enrolled, and strangers among the probes."""
    from smartbox.datasets import make_faces

    faces = make_faces(n_identities=_ENROLLED + _STRANGERS, n_images=_LIGHTS, image_shape=image_shape)
    number = np.tile(np.arange(_LIGHTS), _ENROLLED + _STRANGERS)
    faces.filenames = np.array([f"{who}/{i:02d}" for who, i in zip(names_of(faces), number, strict=True)])
    aside = np.abs(faces.azimuth[:_LIGHTS]) + np.abs(faces.elevation[:_LIGHTS])
    rank = np.argsort(np.argsort(aside, kind="stable"))[number]
    enrolled = (rank == 0) & (faces.target < _ENROLLED)
    return _some(faces, enrolled), _some(faces, (rank > 0) & (rank <= _PROBES))


def _some(faces, rows):
    return Bunch(
        **{**faces, "images": faces.images[rows], "target": faces.target[rows], "filenames": faces.filenames[rows]}
    )


def names_of(faces):
    """The identity of each face, by name."""
    return faces.target_names[faces.target]


def check_together(gallery, probes):
    """Raise a ValueError unless the images are of one size, and enough people are in both."""
    if gallery.images.shape[1:] != probes.images.shape[1:]:
        sizes = [" x ".join(map(str, faces.images.shape[1:3])) for faces in (gallery, probes)]
        raise ValueError(
            f"expected images of one size, got {sizes[0]} pixels in --gallery and {sizes[1]} in --probes: choose one by "
            f"--image-shape, e.g. {sizes[0].replace(' ', '')}."
        )
    enrolled = np.unique(names_of(gallery))
    found = np.intersect1d(enrolled, names_of(probes))
    if len(enrolled) < 2 or len(found) < _FEWEST:
        raise ValueError(
            f"expected at least {_FEWEST} people with folders of one name in --gallery and --probes, got {len(found)}"
            f"{': ' + ', '.join(found) if len(found) else ''}; one sets the threshold, two are measured."
        )


def split_people(y, identities, seed):
    """Rows of the probes that set the threshold, and of those that are measured: of other people.

    Of the people enrolled and of the strangers a quarter each, drawn by the seed.
    """
    rng = np.random.RandomState(seed)
    held_out = []
    for people, fewest in ((np.intersect1d(y, identities), 1), (np.setdiff1d(y, identities), 0)):
        most = len(people) - 2 if fewest else len(people) // 2
        held_out.extend(rng.permutation(people)[: min(most, max(fewest, round(_SHARE * len(people))))])
    is_held_out = np.isin(y, held_out)
    return np.flatnonzero(is_held_out), np.flatnonzero(~is_held_out)


def draw_targets(y, identities, seed):
    """Another enrolled identity for each probe; any of them, but one, for a stranger."""
    from smartbox.protocol import FaceProtocol

    stands_for = identities[np.arange(len(y)) % len(identities)]
    labels = np.where(np.isin(y, identities), y, stands_for)
    return FaceProtocol(random_state=seed).assign(labels, classes=identities).targets
