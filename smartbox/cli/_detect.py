"""``smartbox detect``."""

from pathlib import Path

import click

from smartbox._quiet_start import import_tensorflow_quietly
from smartbox.cli._faces import data_option, find_faces, on_error_option
from smartbox.cli._images import check_apart, check_images_there, images_option
from smartbox.cli._options import Shape
from smartbox.cli._terminal import check_writable
from smartbox.cli._train import (
    attack_option,
    detector_faces_option,
    fpr_option,
    make_plan,
    model_option,
    prepare,
    seed_option,
    settings_option,
)

_OF_TRAINING = {
    "attacks": "attack", "model": "model", "data": "data", "settings": "set", "detector_faces": "detector-faces", "fpr": "fpr",
    "seed": "seed",
}  # fmt: skip


@click.command(short_help="Score images by how much they look attacked.")
@click.option(
    "--detector", metavar="FILE|NAME", help="One that 'smartbox train' saved, or the name of one to train first."
)
@images_option
@click.option(
    "--image-shape",
    type=Shape(),
    metavar="HEIGHTxWIDTH",
    help="Resize the images to it, and the faces that a detector is trained on.  [default: the images must have the size "
    "that the detector takes]",
)
@on_error_option
@attack_option
@model_option
@data_option
@settings_option
@detector_faces_option
@fpr_option
@seed_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="smartbox-detection",
    show_default=True,
    metavar="DIR",
    help="Folder for the scores (CSV, JSON) and the picture; those of an earlier run are replaced.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the table.")
@click.pass_context
def detect(
    ctx, detector, images, image_shape, on_error, attacks, model, data, settings, detector_faces, fpr, seed, out, quiet
):  # fmt: skip
    """Score each image, the larger the more suspicious, and flag those above the detector's threshold.

    DIR holds the scores (scores.csv), them and what they mean (report.json), and a picture of the most and the least
    suspicious images (faces.png). With a NAME, a detector is first trained as 'smartbox train' does it; it is not kept.
    """
    from sklearn.utils import Bunch

    from smartbox._result_folder import ResultFolder
    from smartbox.cli._detect_run import FILES, FORMAT, score, write_scores

    if not detector:
        raise ValueError(
            "expected --detector, a file that 'smartbox train' wrote or a name that 'smartbox list' shows."
        )
    check_images_there(images)
    check_apart(images, out)
    check_writable(out)
    folder = ResultFolder(out, FILES, FORMAT, "scores of a detector")
    folder.check_replaceable()
    verbose = 0 if quiet else 1
    if is_file(detector):
        by_default = click.core.ParameterSource.DEFAULT
        given = [text for name, text in _OF_TRAINING.items() if ctx.get_parameter_source(name) is not by_default]
        if given:
            names = ", ".join(f"--{text}" for text in given)
            raise ValueError(
                f"{names} is for a detector that is trained first, but {detector} is trained: leave it out."
            )
        found = _load(detector)
        read = _read(found.estimator.image_shape_, images, image_shape, on_error)
    else:
        plan = make_plan(detector, None, attacks, settings, detector_faces, model)
        # Built-in faces cannot take it, nor can Extended Yale B.
        of_faces = on_error if on_error and find_faces(data) == "folder" else None
        run, path = prepare(plan, model, data, image_shape, None, of_faces, seed, fpr=fpr, verbose=verbose)
        read = _read(run.images.shape[1:], images, image_shape, on_error)  # before the training, which may be long
        estimator = run.run()
        found = Bunch(estimator=estimator, name=plan.subject[1], about=run.about(estimator, path))
    write_scores(folder, found, read, score(found, read, verbose), images, verbose=verbose)


def is_file(text):
    """Whether an option names a file rather than a class."""
    path = Path(text).expanduser()
    return path.exists() or path.suffix != "" or len(path.parts) > 1


def _load(path):
    from sklearn.utils import Bunch

    from smartbox._serialization import read_file
    from smartbox.base import BaseDetector

    import_tensorflow_quietly()
    estimator, about = read_file(Path(path).expanduser())
    if not isinstance(estimator, BaseDetector):
        raise ValueError(
            f"{path} holds a {type(estimator).__name__}, expected a detector: 'smartbox train --detector NAME' makes one."
        )
    return Bunch(estimator=estimator, name=Path(path).name, about=about or {})


def _read(shape, images, image_shape, on_error):
    from smartbox.cli._images import read_images, stack

    if image_shape not in (None, tuple(shape[:2])):
        raise ValueError(
            f"the detector takes images of {shape[0]} x {shape[1]} pixels: choose --image-shape {shape[0]}x{shape[1]}."
        )
    read = read_images(images, n_channels=shape[2], image_shape=image_shape, on_error=on_error)
    read.X = stack(read, shape, "the detector")
    return read
