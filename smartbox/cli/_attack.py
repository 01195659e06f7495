"""``smartbox attack``."""

import warnings
from pathlib import Path

import click

from smartbox._quiet_start import import_tensorflow_quietly
from smartbox.cli._faces import data_option, find_faces, on_error_option
from smartbox.cli._models import model_option
from smartbox.cli._options import parse_settings
from smartbox.cli._terminal import check_room, check_writable

_PARTS = ("test", "validation", "train", "all")
_OPTION_FOR = {"model": "--model", "random_state": "--seed", "verbose": "--quiet", "batch_size": "--batch-size"}
_ROOM = 5  # times the images' own bytes: originals, attacked ones twice, PNG files, and something to spare


@click.command(short_help="Make the adversarial set of some faces, and write it.")
@click.option("--attack", "attack_name", metavar="NAME", help="'smartbox list' shows all names, with their parameters.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="PARAMETER=VALUE",
    help="A parameter of the attack, e.g. eps=8/255, norm=l2, or targeted=true, which draws a target for each image. "
    "Repeat for more.",
)
@model_option
@data_option
@on_error_option
@click.option(
    "--part",
    type=click.Choice(_PARTS),
    help="Which faces: the seed parts those of each identity, 80 % to train, 10 % to validate, 10 % to test.  [default: "
    "test; all, if they are too few]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the parts, the targets, and an attack that draws.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="Images at a time, which is what an interruption may cost. The result does not depend on it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="smartbox-adversarial",
    show_default=True,
    metavar="DIR",
    help="Folder for the set; an earlier set is replaced once the new one is complete.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the summary.")
def attack(attack_name, settings, model, data, on_error, part, seed, batch_size, out, quiet):
    """Make the adversarial set of some faces against a trained model, and write it.

    DIR holds the attacked images as arrays (adversarial.npz) and as PNG files (png), what was measured on each (report.csv)
    and on all (report.json), and a picture of some (examples.png). Faces are resized to what the model takes. Without --data
    and --model: the built-in faces and the sample model.

    After Ctrl-C, DIR/partial holds what was finished, and the same command goes on from there to the very same result.
    """
    name, estimator = _make_attack(attack_name, settings, batch_size)
    path = _find(model, data)
    _check_out(out)
    import_tensorflow_quietly()
    from sklearn.utils import get_tags

    from smartbox.cli._attack_run import AttackRun, about_run
    from smartbox.cli._models import load_faces_for, load_model, match_identities

    estimator.set_params(model=load_model(path), random_state=seed)
    faces = load_faces_for(estimator.model, data, on_error)
    columns, names = match_identities(estimator.model.classes_, faces.target_names, data)
    faces.update(target=columns[faces.target], target_names=names)  # from here on as the model numbers them
    part, rows, train = _choose(faces, part, seed)
    if get_tags(estimator).requires_fit and train is None:
        raise ValueError(
            f"{name} is learnt on the train part, for which there are too few faces: take another --attack."
        )
    check_room(out, _ROOM * len(rows) * faces.images[0].nbytes)
    about = about_run(name, estimator, faces, path, seed=seed, part=part)
    AttackRun(name, estimator, faces, rows, train, about, out, verbose=0 if quiet else 1).run()


def _make_attack(name, settings, batch_size):
    """Command name and attack, checked before anything is loaded."""
    from smartbox.benchmark import _registry as registry

    if not name:
        raise ValueError(f"expected --attack NAME, one of: {', '.join(registry.available('attack'))}.")
    name, _ = registry.find("attack", name)
    parameters = parse_settings(settings, "eps=8/255")
    for key in parameters:
        if key in _OPTION_FOR:
            raise ValueError(f"cannot set {key!r}: choose it by {_OPTION_FOR[key]}.")
        if "." in key:
            raise ValueError(
                f"cannot set {key!r} (did you mean {key.rpartition('.')[2]!r}?): there is one attack only."
            )
    return name, registry.make("attack", name, parameters, batch_size=batch_size)


def _find(model, data):
    from smartbox.cli._models import find_model

    find_faces(data)
    return find_model(model, data)


def _check_out(out):
    from smartbox.cli._batches import PARTIAL, check_folder
    from smartbox.datasets._adversarial_set import check_replaceable

    check_writable(out)
    check_replaceable(out)
    check_folder(out / PARTIAL)


def _choose(faces, part, seed):
    """The part's name and rows, and the rows to train on, None where the faces are too few to be split."""
    import numpy as np

    from smartbox.protocol import FaceProtocol, check_identities

    everything = np.arange(len(faces.target))
    try:
        check_identities(faces.target_names[faces.target], "--data")  # by their names
        train, validation, test = FaceProtocol(random_state=seed).split(faces.target)
    except ValueError as error:
        if part not in (None, "all"):
            raise ValueError(f"there is no {part} part: {error} Or attack all faces by --part all.") from error
        if part is None:
            warnings.warn(f"all faces are attacked, since there can be no test part: {error}", stacklevel=2)
        return "all", everything, None
    part = part or "test"
    return part, {"train": train, "validation": validation, "test": test, "all": everything}[part], train
