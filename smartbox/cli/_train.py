"""``smartbox train``."""

import json
from pathlib import Path

import click

from smartbox._quiet_start import import_tensorflow_quietly
from smartbox.cli._faces import data_option, find_faces, load_faces, on_error_option
from smartbox.cli._models import find_model, load_faces_for, load_model, match_identities
from smartbox.cli._options import Shape, parse_settings
from smartbox.cli._terminal import check_writable, console

_SHAPE = (96, 84)
_LOW = 0.5  # accuracy before any attack

attack_option = click.option(
    "--attack", "attacks", multiple=True, metavar="NAME", help="Repeat for more. 'smartbox list' shows all names."
)
model_option = click.option(
    "--model",
    metavar="PATH",
    help="A .keras file, a file that FaceClassifier.save or 'smartbox train' wrote, or 'sample'.  [default: a network "
    "that is trained on the faces first]",
)
image_shape_option = click.option(
    "--image-shape",
    type=Shape(),
    metavar="HEIGHTxWIDTH",
    help="All faces are resized to it, in pixels.  [default: what --model takes; 96x84 without one]",
)
settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter, e.g. attack.fgsm.eps=8/255, detector.pca.C=0.1, network.epochs=60 (here 25 unless set). "
    "Repeat for more.",
)
detector_faces_option = click.option(
    "--detector-faces",
    type=click.IntRange(min=1),
    metavar="N",
    help="Training faces that are attacked for a detector.  [default: all]",
)
fpr_option = click.option(
    "--fpr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Clean validation faces that a detector may flag.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Parts the faces of each identity, 80 % to train, 10 % to validate, 10 % to test: the same in every command.",
)


@click.command(short_help="Train a network, a detector or a defence, and save it.")
@click.option("--detector", metavar="NAME", help="Train a detector on the attacks, against the model.")
@click.option("--defense", metavar="NAME", help="Train a defence that learns.")
@attack_option
@model_option
@data_option
@image_shape_option
@click.option(
    "--color",
    type=click.Choice(["grey", "rgb"]),
    help="Channels of the faces of a folder or zip of your own.  [default: grey]",
)
@on_error_option
@settings_option
@detector_faces_option
@fpr_option
@seed_option
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="[default: NAME.smartbox]")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--quiet", is_flag=True, help="No progress, only the figures.")
def train(
    detector, defense, attacks, model, data, image_shape, color, on_error, settings, detector_faces, fpr, seed, out, force,
    quiet,
):  # fmt: skip
    """Train a face network, or with --detector or --defense one of those, measure it on test faces, and save it.

    FILE is safe to give away: plain arrays and JSON. It holds the network that a detector looks into, and what it was
    trained on; FILE.json says the latter in the clear. With the same faces and seed, later runs keep the test faces unseen.
    """
    plan = make_plan(detector, defense, attacks, settings, detector_faces, model)
    out = out or Path(f"{plan.subject[1]}.smartbox")
    _check_out(out, force)
    run, path = prepare(plan, model, data, image_shape, color, on_error, seed, fpr=fpr, verbose=0 if quiet else 1)
    from smartbox._progress import say
    from smartbox._records import write_text
    from smartbox.persistence import write

    estimator = run.run()
    about = run.about(estimator, path)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(estimator, out, about)
    in_the_clear = {key: value for key, value in about.items() if key != "learnt_from"}
    write_text(_beside(out), json.dumps(in_the_clear, indent=1, allow_nan=False))
    print_figures(run)
    say(f"Written: {out}, {_beside(out)}", enabled=not quiet)


def make_plan(detector, defense, attacks, settings, detector_faces, model=None):
    """What is to be trained, checked before any work."""
    from smartbox.cli._train_run import make_train_plan

    if detector and defense:
        raise ValueError("expected --detector or --defense, got both: train one after the other.")
    if detector and not attacks:
        raise ValueError("a detector learns from attacked faces: name attacks by --attack NAME, e.g. --attack pgd.")
    if detector_faces is not None and (not detector or detector_faces < len(attacks)):
        raise ValueError("expected --detector-faces beside --detector, and at least one face for each attack.")
    given = parse_settings(settings)
    fixed = [key for key in given if key.startswith("network.")]
    if model is not None and fixed:
        raise ValueError(f"cannot set {fixed[0]!r} beside --model, which is trained: leave one of the two out.")
    parameters = {"network.epochs": 25, **given}
    return make_train_plan(detector, defense, attacks, parameters, detector_faces)


def _check_out(out, force):
    check_writable(out.parent)
    for path in (out, _beside(out)):
        if path.is_dir():
            raise ValueError(f"{path} is a folder: expected --out as the name of a file.")
        if path.exists() and not force:
            raise ValueError(f"there is a file at {path}: choose another name by --out, or replace it by --force.")


def _beside(out):
    return out.with_name(f"{out.name}.json")


def prepare(plan, model, data, image_shape, color, on_error, seed, *, fpr, verbose):
    """The run, with its faces and model loaded; and the path of the model, None where one is to be trained."""
    from smartbox.benchmark._plan import check_image_size

    find_faces(data)
    path = find_model(model, data) if model is not None else None
    if path is None:
        image_shape = image_shape or _SHAPE
        check_image_size(plan, image_shape)
        faces = load_faces(data, image_shape, color=color, on_error=on_error)
        labels = faces.target_names[faces.target]
        import_tensorflow_quietly()
        face = None
    else:
        import_tensorflow_quietly()
        face = load_model(path)
        if color is not None or image_shape not in (None, face.image_shape_[:2]):
            raise ValueError(
                f"the model takes images of shape {face.image_shape_} (height, width, channels): leave out --image-shape "
                "and --color beside --model."
            )
        faces = load_faces_for(face, data, on_error)
        columns, _ = match_identities(face.classes_, faces.target_names, data)
        labels = face.classes_[columns[faces.target]]
    from smartbox.cli._train_run import TrainRun
    from smartbox.protocol import check_identities

    check_identities(faces.target_names[faces.target], data)  # by their names
    faces.update(target=labels)
    return TrainRun(faces, plan, seed, model=face, fpr=fpr, verbose=verbose), path


def print_figures(run):
    """What was measured on the test faces."""
    from rich.table import Table
    from rich.text import Text

    kind, name, _ = run.plan.subject
    terminal = console()
    if kind == "detector":
        terminal.print(
            Text(f"{name}, at {100 * run.fpr:g} % false alarms on validation faces, on test faces", style="italic")
        )
        table = Table("attack", "found", "false alarms", "ROC AUC", "faces")
        for row in run.rows:
            shares = [f"{100 * row[figure]:.2f} %" for figure in ("recall", "fpr", "roc_auc")]
            table.add_row(Text(row["attack"]), *shares, str(row["n_attacked"]))
    else:
        terminal.print(Text(f"{name}: accuracy on test faces", style="italic"))
        table = Table("faces", "accuracy", "number")
        for row in run.rows:
            table.add_row(Text(row["faces"]), f"{100 * row['accuracy']:.2f} %", str(row["n"]))
    terminal.print(table)
    if run.is_silent:
        terminal.print(
            Text(
                f"Remark: {name} flags nothing, since the {len(run.X_validation)} validation faces are too few to set its "
                f"threshold at {100 * run.fpr:g} % false alarms; take more images of each identity, or a larger --fpr."
            )
        )
    right = 1.0 if run.face is None else float((run.face.predict(run.X) == run.y).mean())
    if right < _LOW:
        terminal.print(
            Text(
                f"Remark: without any attack the network identifies only {100 * right:.0f} % of the test faces, so that other "
                "figures say little; train it longer (network.epochs), or on more or larger images."
            )
        )
