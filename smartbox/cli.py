"""The command ``smartbox``: thin, over the same public classes."""

import ast
import os
import sys
from pathlib import Path

import click

import smartbox

_DEFAULT_METRICS = "verification,identification,precision,recall,accuracy,roc_auc,success,median_l2,median_linf"


class _Shape(click.ParamType):
    name = "HxW"

    def convert(self, value, param, ctx):
        try:
            height, width = (int(side) for side in value.lower().split("x"))
        except (ValueError, AttributeError):
            self.fail(f"expected height x width in pixels, e.g. 96x84, got {value!r}.", param, ctx)
        return height, width


class _Names(click.ParamType):
    name = "NAME,..."

    def convert(self, value, param, ctx):
        return value if isinstance(value, tuple) else tuple(part.strip() for part in value.split(",") if part.strip())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(smartbox.__version__, prog_name="smartbox")
def commands():
    """Attack face recognition, detect the attacks, mitigate them, and measure all three."""


@commands.command()
@click.option("--data", default="builtin", show_default=True,
              help="'builtin' faces, the Extended Yale B archive (zip or folder), or a folder with one folder an identity.")
@click.option("--image-shape", type=_Shape(), default="96x84", show_default=True, help="Faces are resized to this.")
@click.option("--attacks", type=_Names(), default="fgsm,pgd", show_default=True, help="See 'smartbox list'.")
@click.option("--defenses", type=_Names(), default="gaussian_blur", show_default=True, help="'' for none.")
@click.option("--detectors", type=_Names(), default="pca", show_default=True, help="'' for none.")
@click.option("--metrics", type=_Names(), default=_DEFAULT_METRICS, show_default=True, help="Columns and tables to print.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="A parameter: attack.fgsm.eps=8/255, defense.gaussian_blur.sigma=0.8, detector.pca.C=0.1, network.epochs=60. "
              "Repeat for more.")
@click.option("--seed", "seeds", type=click.IntRange(0, 2**32 - 1), multiple=True, default=(0,), show_default=True,
              help="Repeat for several: the tables then show mean and range.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="smartbox-results", show_default=True,
              help="Where tables (CSV, JSON) and the picture go.")
@click.option("--quiet", is_flag=True, help="No progress, only the tables.")
def bench(data, image_shape, attacks, defenses, detectors, metrics, settings, seeds, out, quiet):
    """Train, attack, mitigate, detect; print the tables of the SmartBox paper.

    Without options: the built-in faces, under three minutes on two cores.
    """
    from smartbox.benchmark import Benchmark
    from smartbox.benchmark._results import METRICS
    from smartbox.benchmark._tables import tables

    _check_metrics(metrics, METRICS)
    _check_writable(out)
    # Thirty passes do what sixty do to three digits; the class keeps sixty for faces that are harder than these.
    parameters = {"network.epochs": 30, **dict(_parse_setting(setting) for setting in settings)}
    benchmark = Benchmark(None, attacks=attacks, defenses=defenses, detectors=detectors, parameters=parameters, seeds=seeds,
                          verbose=0 if quiet else 1)  # fmt: skip
    _import_tensorflow_quietly()
    benchmark._plan()  # names and parameters are checked before anything is read
    benchmark.faces = _load(data, image_shape)
    results = benchmark.run()
    results.provenance["command"] = ["smartbox", *sys.argv[1:]]
    paths = results.save(out)
    console = _console()
    for table in tables(results, metrics):
        console.print(table)
        console.print()
    console.print(f"{results.provenance['seconds']:.0f} s. Written: {', '.join(str(path) for path in paths)}", soft_wrap=True)


@commands.command("list")
def list_():
    """Name the attacks, defences and detectors, with their parameters."""
    import inspect

    from rich.table import Table

    from smartbox.benchmark._registry import KINDS, available

    table = Table("Kind", "Name", "What it does", "Parameters and defaults")
    for kind in KINDS:
        for name, cls in available(kind).items():
            parameters = [f"{key}={value.default!r}" for key, value in inspect.signature(cls).parameters.items()
                          if value.default is not value.empty]  # fmt: skip
            table.add_row(kind, name, inspect.getdoc(cls).splitlines()[0], ", ".join(parameters))
    _console().print(table)


def _load(data, image_shape):
    from smartbox.datasets import load_extended_yale_b, load_face_folder, make_faces

    if data == "builtin":
        return make_faces(image_shape=image_shape)
    path = Path(data)
    if not path.exists():
        raise ValueError(f"there is nothing at {data}: expected 'builtin', the Extended Yale B archive, or a folder with one "
                         "folder of images an identity.")
    load = load_extended_yale_b if _is_yale(path) else load_face_folder
    return load(path, image_shape=image_shape)


def _is_yale(path):
    """Whether a zip or folder holds Extended Yale B's folders, whatever it is called."""
    import zipfile

    if path.is_dir():
        return any(path.glob("yaleB[0-9][0-9]")) or any(path.glob("*/yaleB[0-9][0-9]"))
    try:
        with zipfile.ZipFile(path) as archive:
            return any("yaleB" in name.rsplit("/", 1)[-1] for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False  # the loader says what is wrong with it


def _parse_setting(text):
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"expected --set KEY=VALUE, e.g. --set attack.fgsm.eps=8/255, got {text!r}.")
    try:
        return key.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        word = value.strip()
        return key.strip(), {"true": True, "false": False, "none": None}.get(word.lower(), word)


def _check_metrics(metrics, known):
    from smartbox.benchmark._registry import nearest

    for metric in metrics:
        if metric not in known:
            raise ValueError(f"there is no metric {metric!r}{nearest(metric, known)} Known: {', '.join(known)}.")


def _check_writable(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write results to {folder} ({error.strerror}): choose another folder with --out.") from error


def _console():
    """The terminal's width, and enough for whole tables where the output is a file or a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160)


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


def main():
    """Run the command; a user's mistake is one line, not a traceback."""
    try:
        commands(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (ValueError, OSError) as error:
        click.echo(f"smartbox: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
