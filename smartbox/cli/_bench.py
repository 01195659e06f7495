"""``smartbox bench``."""

from contextlib import contextmanager
from pathlib import Path

import click

import smartbox
from smartbox._progress import say
from smartbox._quiet_start import import_tensorflow_quietly
from smartbox.cli._cluster import check_scheduler, cluster
from smartbox.cli._config import config_options, settings_of_files
from smartbox.cli._faces import data_option, load_faces, on_error_option
from smartbox.cli._images import check_apart
from smartbox.cli._logs import LOG, logged, tell
from smartbox.cli._options import Names, Shape, parse_settings
from smartbox.cli._terminal import Interrupted, check_writable, console

_METRICS = ("verification", "identification", "success", "median_l2", "median_linf")
_DETECTION_METRICS = {
    "committed": ("fpr", "recall", "evaded", "roc_auc", "ms_per_face"),
    "paper": ("precision", "recall", "accuracy", "roc_auc", "ms_per_face"),
    "cross": ("recall", "roc_auc"),
}


@click.command(short_help="Train, attack, mitigate, detect; print the tables.")
@config_options
@data_option
@click.option(
    "--image-shape",
    type=Shape(),
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
@on_error_option
@click.option(
    "--attacks",
    type=Names(),
    default="fgsm,pgd",
    show_default=True,
    metavar="NAME,...",
    help="'smartbox list' shows all names. One with an eps may be named with it, several times: pgd@2/255,pgd@4/255. Attacks, "
    "defences and detectors of your own by where Python finds them: mypackage.mymodule:MyAttack.",
)
@click.option(
    "--defenses", type=Names(), default="gaussian_blur", show_default=True, metavar="NAME,...", help="Or 'none'."
)
@click.option("--detectors", type=Names(), default="pca", show_default=True, metavar="NAME,...", help="Or 'none'.")
@click.option(
    "--metrics",
    type=Names(),
    metavar="NAME,...",
    help=f"What to print; the files hold everything.  [default: {', '.join(_METRICS)}, and of detection what suits the "
    "protocol]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter, e.g. attack.fgsm.eps=8/255, defense.gaussian_blur.sigma=0.8, detector.pca.C=0.1, "
    "network.epochs=60 (here 25 unless set). Repeat for more.",
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
    "--protocol",
    type=click.Choice(list(_DETECTION_METRICS)),
    default="committed",
    show_default=True,
    help="Of the detectors: 'committed', trained once on all attacks and met by attacks that know of them and attacks "
    "that do not; 'paper', one for each attack, over both of the paper's populations, beside the paper's figures; 'cross', "
    "trained on each attack, on all and on all but one, and met by every attack.",
)
@click.option(
    "--detector-faces",
    type=click.IntRange(min=1),
    default=800,
    show_default=True,
    metavar="N",
    help="Training faces that are attacked for the detectors, or all where there are fewer.",
)
@click.option(
    "--guard",
    is_flag=True,
    help="Also measure detector and mitigation together: what is flagged is rejected, or mitigated and then named.",
)
@click.option(
    "--check-masking",
    is_flag=True,
    help="Also search at random, on up to 32 faces, for what a mitigation's gradients may hide from the attacks.",
)
@click.option(
    "--no-adaptive",
    is_flag=True,
    help="Leave out the attacks that know of mitigation or detector. Quicker by far; the figures are then far too friendly to "
    "most mitigations.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="smartbox-results",
    show_default=True,
    metavar="DIR",
    help="Folder for the report (HTML), the tables (CSV, JSON), the picture and the records of single images; files of an "
    "earlier run are replaced.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet"]),
    default="csv",
    show_default=True,
    help="Of the records of single images: gzipped CSV, or Parquet, which needs pyarrow.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keeps networks, adversarial sets, detectors and all else that a run is made of, so that a run that was cut off goes "
    "on, and one with more attacks or seeds makes only those. Runs may share it; deleting it loses nothing but time.  "
    "[default: 'bench' in the user's cache folder, or in the one that SMARTBOX_CACHE names]",
)
@click.option("--no-cache", is_flag=True, help="Keep nothing but the results.")
@click.option(
    "--jobs",
    type=int,
    metavar="N",
    help="Processes that share the work, -1 for as many as there are cores; the tables are the same.  [default: 1]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Of a dask cluster whose workers share the work, e.g. tcp://host:8786; they must see the cache at the same path. Needs "
    "pip install 'smartbox[dask]'.",
)
@click.option(
    "--progress",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="On standard error: for people, or for programs a JSON object a line (see docs/progress.md). DIR/bench.log has it too.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the tables.")
@click.pass_context
def bench(
    ctx,
    data,
    image_shape,
    color,
    on_error,
    attacks,
    defenses,
    detectors,
    metrics,
    settings,
    seeds,
    protocol,
    detector_faces,
    guard,
    check_masking,
    no_adaptive,
    out,
    form,
    cache,
    no_cache,
    jobs,
    scheduler,
    progress,
    quiet,
):
    """Train a face classifier, attack it, mitigate and detect the attacks; print the tables of the SmartBox paper.

    Without options: the built-in faces, two to three minutes on two cores. Tables go to standard output, progress to
    standard error.
    """
    from smartbox.benchmark import Benchmark
    from smartbox.benchmark._parallel import check_n_jobs
    from smartbox.benchmark._plan import check_image_size, check_metrics, make_plan
    from smartbox.benchmark._record_files import check_format
    from smartbox.benchmark._store import default_folder
    from smartbox.protocol import check_identities

    if metrics is None:
        metrics = (*_METRICS, *_DETECTION_METRICS[protocol])
    check_metrics(metrics, detectors)
    check_format(form)
    check_n_jobs(jobs, name="--jobs", unset="leave it out to work alone")
    check_scheduler(scheduler)
    if cache and no_cache:
        raise ValueError("--cache and --no-cache exclude each other: leave one out.")
    as_json = progress == "json"
    if quiet and as_json:
        raise ValueError("--quiet and --progress json exclude each other: leave one out.")
    # Twenty-five passes name as many of the built-in faces as thirty do; the class keeps sixty for harder ones.
    of_files = settings_of_files(ctx, attack=attacks, defense=defenses, detector=detectors)
    choices = {
        "attacks": attacks,
        "defenses": defenses,
        "detectors": detectors,
        "parameters": {"network.epochs": 25, **of_files, **parse_settings(settings)},
        "seeds": seeds,
        "protocol": protocol,
        "detector_faces": detector_faces,
        "guard": guard,
        "check_masking": check_masking,
        "adaptive": not no_adaptive,
    }
    plan = make_plan(**choices)  # names and parameters are checked before anything is read
    check_image_size(plan, image_shape)
    if data and Path(data).is_dir():
        check_apart(data, out, "--data")
    check_writable(out)
    faces = load_faces(data, image_shape, color=color, on_error=on_error)
    check_identities(faces.target_names[faces.target], data)  # here by the names of the folders
    import_tensorflow_quietly()
    choices["n_jobs"] = jobs
    choices["cache"] = None if no_cache else cache or default_folder()
    shows = not (quiet or as_json)
    with logged(out / LOG, as_json=as_json), cluster(scheduler):
        _tell_start(choices, data, out)
        _run(Benchmark(faces, **choices, verbose=int(shows)), len(plan.seeds), metrics, out, form)


def _tell_start(choices, data, out):
    """Which run the lines that follow are of."""
    from smartbox._records import jsonable

    about = {name: choices[name] for name in ("attacks", "defenses", "detectors", "seeds", "protocol", "parameters", "cache")}
    about = {"version": smartbox.__version__, "data": str(data or "the built-in faces"), "folder": str(out), **about}
    about["cache"] = about["cache"] and str(about["cache"])
    text = "; ".join(f"{name} {value}" for name, value in about.items())
    tell("start", f"smartbox bench begins: {text}", **jsonable(about))


def _run(benchmark, n_seeds, metrics, out, form):
    """Save after each seed, and print what there is however it ends."""
    from smartbox.benchmark._tables import tables
    from smartbox.report import REPORT, write_report

    results, n_saved = None, 0
    try:
        for results in benchmark.passes():
            (out / REPORT).unlink(missing_ok=True)  # an earlier run's would pass for this one's
            with _room_for_results(out, benchmark.cache):
                paths = results.save(out, format=form)
            n_saved += 1
    except KeyboardInterrupt as interrupt:
        if benchmark.verbose:
            click.echo(err=True)  # the line of a progress bar may be open
        left = _what_is_left(results, n_saved, n_seeds, out)
        again = " The same command goes on from there." if benchmark.cache else ""
        raise Interrupted(left + again) from interrupt
    finally:
        if results is not None:
            terminal = console()
            for table in tables(results, metrics, terminal.width, n_seeds):
                terminal.print(table)
                terminal.print()
    say("Writing the report", enabled=benchmark.verbose)
    with _room_for_results(out, benchmark.cache):
        page = write_report(out)
    seconds, names = results.provenance["seconds"], [path.name for path in paths]
    text = f"{seconds:.0f} s. Written to {out}: {', '.join(names)}"
    tell("finished", f"{text}. Report: {page}", seconds=seconds, folder=str(out), files=names, report=str(page))
    if benchmark.verbose:
        click.echo(f"{text}\nReport: {page}", err=True)


@contextmanager
def _room_for_results(out, cache):
    """Within the block an error of the disk says what is lost, and what to do."""
    try:
        yield
    except OSError as error:
        kept = "what the cache could keep is not computed again" if cache else "without a cache nothing is kept"
        raise OSError(
            f"cannot write all results to {out} ({error.strerror or error}): make room, or choose another folder with --out, and "
            f"run again; {kept}."
        ) from error


def _what_is_left(results, n_saved, n_seeds, out):
    n_done = 0 if results is None else len(results.provenance["seeds"])
    if n_saved < n_done:
        return f"{n_done} of {n_seeds} seeds complete, but not all files of the last one are written to {out}."
    if not n_saved:
        return f"0 of {n_seeds} seeds complete, no results were written."
    return f"{n_saved} of {n_seeds} seeds complete and written to {out}."
