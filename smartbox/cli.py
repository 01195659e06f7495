"""The command ``smartbox``: thin, over the same public classes."""

import ast
import os
import sys
import tempfile
import warnings
from pathlib import Path

import click

import smartbox

_DEFAULT_METRICS = (
    "verification", "identification", "precision", "recall", "accuracy", "roc_auc", "success", "median_l2",
    "median_linf",
)  # fmt: skip
_FILE_WIDTH = 160  # of tables in a file or a pipe
_MISTAKES = (ValueError, OSError, FloatingPointError, MemoryError)


class _Shape(click.ParamType):
    name = "shape"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        try:
            height, width = (int(side) for side in value.lower().split("x"))
        except ValueError:
            self.fail(f"expected height x width in pixels, e.g. 96x84, got {value!r}.", param, ctx)
        if min(height, width) < 1:
            self.fail(f"expected at least one pixel a side, e.g. 96x84, got {value!r}.", param, ctx)
        return height, width


class _Names(click.ParamType):
    name = "names"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        return () if names == ("none",) else names


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    epilog="An error is one line that says what to do about it. SMARTBOX_DEBUG=1 shows where it arose.",
)
@click.version_option(smartbox.__version__, prog_name="smartbox")
@click.pass_context
def commands(ctx):
    """Attack face recognition, detect the attacks, mitigate them, and measure all three."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@commands.command(short_help="Train, attack, mitigate, detect; print the tables.")
@click.option(
    "--data",
    default="builtin",
    show_default=True,
    metavar="PATH",
    help="'builtin' faces, the Extended Yale B archive (zip or folder), or a folder or zip with one "
    "folder of images for each identity.",
)
@click.option(
    "--image-shape",
    type=_Shape(),
    default="96x84",
    show_default=True,
    metavar="HEIGHTxWIDTH",
    help="All faces are resized to it, in pixels.",
)
@click.option(
    "--color",
    type=click.Choice(["grey", "rgb"]),
    help="Channels of the faces of a folder or zip of your own.  [default: grey]",
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    help="Whether an unreadable image of a folder or zip of your own ends the run or is left out.  [default: raise]",
)
@click.option(
    "--attacks",
    type=_Names(),
    default="fgsm,pgd",
    show_default=True,
    metavar="NAME,...",
    help="'smartbox list' shows all names.",
)
@click.option(
    "--defenses", type=_Names(), default="gaussian_blur", show_default=True, metavar="NAME,...", help="Or 'none'."
)
@click.option("--detectors", type=_Names(), default="pca", show_default=True, metavar="NAME,...", help="Or 'none'.")
@click.option(
    "--metrics",
    type=_Names(),
    default=_DEFAULT_METRICS,
    metavar="NAME,...",
    help=f"What to print; the files hold everything.  [default: {', '.join(_DEFAULT_METRICS)}]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter, e.g. attack.fgsm.eps=8/255, defense.gaussian_blur.sigma=0.8, detector.pca.C=0.1, "
    "network.epochs=60 (here 30 unless set). Repeat for more.",
)
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    default=(0,),
    metavar="N",
    help="Repeat for several: the tables then show the mean, and below it the range.  [default: 0]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="smartbox-results",
    show_default=True,
    metavar="DIR",
    help="Folder for the tables (CSV, JSON) and the picture; files of an earlier run are replaced.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the tables.")
def bench(data, image_shape, color, on_error, attacks, defenses, detectors, metrics, settings, seeds, out, quiet):
    """Train a face classifier, attack it, mitigate and detect the attacks; print the tables of the SmartBox paper.

    Without options: the built-in faces, about two minutes on two cores. Tables go to standard output, progress to
    standard error.
    """
    from smartbox.benchmark import Benchmark
    from smartbox.benchmark._plan import check_image_size, check_metrics, make_plan

    check_metrics(metrics, detectors)
    # Thirty passes do what sixty do to three digits; the class keeps sixty for faces that are harder than these.
    choices = {
        "attacks": attacks,
        "defenses": defenses,
        "detectors": detectors,
        "parameters": {"network.epochs": 30, **_parse_settings(settings)},
        "seeds": seeds,
    }
    plan = make_plan(**choices)  # names and parameters are checked before anything is read
    check_image_size(plan, image_shape)
    _check_writable(out)
    faces = _load(data, image_shape, color=color, on_error=on_error)
    _import_tensorflow_quietly()
    _run(Benchmark(faces, **choices, verbose=0 if quiet else 1), len(plan.seeds), metrics, out, quiet)


class _Interrupted(click.exceptions.Abort):
    """By the user, with a message on what is left of the run."""


def _run(benchmark, n_seeds, metrics, out, quiet):
    """Save after each seed, and print what there is however it ends."""
    from smartbox.benchmark._tables import tables

    results, n_saved = None, 0
    try:
        for results in benchmark.passes():
            paths = results.save(out)
            n_saved += 1
    except KeyboardInterrupt as interrupt:
        click.echo(err=True)  # the line of a progress bar may be open
        raise _Interrupted(_what_is_left(results, n_saved, n_seeds, out)) from interrupt
    finally:
        if results is not None:
            console = _console()
            for table in tables(results, metrics, console.width, n_seeds):
                console.print(table)
                console.print()
    if not quiet:
        seconds, names = results.provenance["seconds"], ", ".join(path.name for path in paths)
        click.echo(f"{seconds:.0f} s. Written to {out}: {names}", err=True)


def _what_is_left(results, n_saved, n_seeds, out):
    n_done = 0 if results is None else len(results.provenance["seeds"])
    if n_saved < n_done:
        return f"{n_done} of {n_seeds} seeds complete, but not all files of the last one are written to {out}."
    if not n_saved:
        return f"0 of {n_seeds} seeds complete, nothing was written."
    return f"{n_saved} of {n_seeds} seeds complete and written to {out}."


@commands.command("list", short_help="Names and parameters for bench.")
def list_():
    """Name the attacks, defences, detectors and metrics, with their parameters and defaults."""
    from smartbox.benchmark._listing import listing

    for line in listing(_console().width):
        click.echo(line)


def _load(data, image_shape, **of_folder):
    """Faces by the loader that suits ``data``; options that are not None only suit a face folder."""
    from smartbox.datasets import load_extended_yale_b, load_face_folder, make_faces
    from smartbox.protocol import check_identities

    of_folder = {name: value for name, value in of_folder.items() if value is not None}
    if data == "builtin":
        _refuse(of_folder, "the built-in faces")
        return make_faces(image_shape=image_shape)
    path = Path(data).expanduser()
    if not data.strip() or not path.exists():
        raise ValueError(
            f"there is nothing at {data or repr(data)}: expected 'builtin', the Extended Yale B archive, or a folder "
            "with one folder of images for each identity."
        )
    if _is_yale(path):
        _refuse(of_folder, "Extended Yale B")
        return load_extended_yale_b(path, image_shape=image_shape)
    faces = load_face_folder(path, image_shape=image_shape, **of_folder)
    check_identities(faces.target_names[faces.target], str(path))  # here by the names of the folders
    return faces


def _refuse(options, source):
    if options:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in options)
        raise ValueError(f"{source} cannot take {names}, which is for a folder or zip of your own: leave it out.")


def _is_yale(path):
    """Whether a zip or folder holds Extended Yale B's folders, whatever it is called."""
    import zipfile

    if path.is_dir():
        return any(path.glob("yaleB[0-9][0-9]")) or any(path.glob("*/yaleB[0-9][0-9]"))
    try:
        with zipfile.ZipFile(path) as archive:
            return any("yaleB" in name.rsplit("/", 1)[-1] for name in archive.namelist())
    except Exception:
        return False  # the loader says what is wrong with it


def _parse_settings(settings):
    parsed = {}
    for text in settings:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise ValueError(f"expected --set KEY=VALUE, e.g. --set attack.fgsm.eps=8/255, got {text!r}.")
        if key in parsed:
            raise ValueError(f"expected each --set KEY once, got {key!r} twice: leave one out.")
        parsed[key] = _parse_value(value)
    return parsed


def _parse_value(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _check_writable(folder):
    """Try it in the folder, or in what is there of the way to it; nothing is left behind."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write results to {folder} ({error.strerror}: {there}): choose another folder with --out."
        ) from error


def _console():
    """The terminal's width, and enough for whole tables where the output is a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=_FILE_WIDTH)


def _import_tensorflow_quietly():
    """TensorFlow's start-up notes go straight to file 2; they say nothing to somebody who wants two tables."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow

        tensorflow.config.list_logical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def main(arguments=None):
    """Run the command; a user's mistake is one line, not a traceback.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of those on the command line.
    """
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _complain(f"warning: {message}")
        try:
            commands.main(arguments, prog_name="smartbox", standalone_mode=False)
        except (click.exceptions.Abort, KeyboardInterrupt) as error:
            _complain(f"interrupted; {error if isinstance(error, _Interrupted) else 'nothing was written.'}")
            sys.exit(130)
        except click.ClickException as error:
            where = getattr(error, "ctx", None)
            _complain(f"{error.format_message()} See '{where.command_path if where else 'smartbox'} --help'.")
            sys.exit(error.exit_code)
        except _MISTAKES as error:
            if os.environ.get("SMARTBOX_DEBUG"):
                raise
            _complain(error if str(error) else type(error).__name__)
            sys.exit(2)


def _complain(message):
    click.echo(f"smartbox: {' '.join(str(message).split())}", err=True)


if __name__ == "__main__":
    main()
