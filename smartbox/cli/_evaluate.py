"""``smartbox evaluate``."""

from pathlib import Path

import click

from smartbox._quiet_start import import_tensorflow_quietly
from smartbox.cli._evaluate_faces import BUILT_IN
from smartbox.cli._faces import on_error_option
from smartbox.cli._options import Shape, parse_settings
from smartbox.cli._terminal import check_writable

_SHAPE = (96, 84)  # of the built-in faces
_CHOSEN_BY = {"targeted": "--impersonate", "random_state": "--seed", "verbose": "--quiet"}


@click.command(short_help="Recognise faces of your own before and after an attack, and behind mitigations.")
@click.option("--gallery", type=click.Path(path_type=Path), metavar="DIR", help="Who is enrolled: a folder for each person.  "
              "[default: of the built-in faces]")  # fmt: skip
@click.option(
    "--probes",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Who is to be recognised, likewise. People who are not in the gallery are strangers.",
)
@click.option(
    "--pairs",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also, or without --gallery only: which pairs of the probes to verify, as pairs.txt of LFW. A list without "
    "folds is cut into ten, or fewer if it is short.",
)
@click.option(
    "--network",
    default=BUILT_IN,
    show_default=True,
    metavar="NAME|FILE",
    help="What makes a point of a face: a .keras file, or one that 'smartbox train' wrote.",
)
@click.option(
    "--attack", "attack_name", default="pgd", show_default=True, metavar="NAME", help="'smartbox list' shows all."
)
@click.option(
    "--defense",
    "defenses",
    multiple=True,
    metavar="NAME|FILE",
    help="A mitigation, or a file of one (or of several in turn) that 'smartbox train' wrote. Repeat for more, each for "
    "itself; the tables keep the order.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter of the attack, e.g. eps=2/255, or of a mitigation, e.g. defense.gaussian_blur.sigma=0.8. Repeat for more.",
)
@click.option("--impersonate", is_flag=True, help="Each face reaches for another person.  [default: away from its own]")
@click.option(
    "--far",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="False claims that the threshold of the gallery may accept.  [default: as many as true ones that it refuses]",
)
@click.option(
    "--image-shape",
    type=Shape(),
    metavar="HEIGHTxWIDTH",
    help="All images are resized to it, in pixels.  [default: the size that they have; built-in faces 96x84]",
)
@click.option(
    "--color", type=click.Choice(["grey", "rgb"]), help="Channels of the images.  [default: as the network takes them]"
)
@on_error_option
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Of who sets the threshold, of targets and draws.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="smartbox-evaluation",
    show_default=True,
    metavar="DIR",
    help="Folder for the results; those of an earlier run are replaced once the new ones are complete.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the tables.")
def evaluate(
    gallery, probes, pairs, network, attack_name, defenses, settings, impersonate, far, image_shape, color, on_error, seed, out,
    quiet,
):  # fmt: skip
    """Recognise people that no network was trained on, before and after an attack, and behind each mitigation.

    A quarter of the people among the probes, drawn by the seed, only set the threshold of claims; all figures are of the
    others: identification (rank 1), verification of all claims of all probes, and, with strangers among them, detection and
    identification. With --impersonate a probe claims to be itself and its target. A mitigation meets the attack that was made
    against the gallery alone ("transferred"), and one that knows of it ("adaptive"). Of pairs, the second image is attacked:
    away from the first if both show one person, else towards it.

    DIR holds the figures (results.json, figures.csv), each decision (probes.csv, pairs.csv), tests of before against after
    (comparisons.csv), and pictures: CMC, ROC, DET, and some faces. Without folders: the built-in faces.
    """
    from smartbox.cli._evaluate_faces import check_folders, find_network

    plan = _make_plan(attack_name, defenses, settings, aims=impersonate or pairs is not None)
    check_folders(gallery, probes, pairs)
    if impersonate and gallery is None and pairs is not None:
        raise ValueError("--impersonate is for a gallery; pairs of two people are impersonated anyway: leave it out.")
    if far is not None and gallery is None and pairs is not None:
        raise ValueError("--far is for a gallery; pairs are judged at the threshold of the other folds: leave it out.")
    path = find_network(network)
    for option, folder in (("--gallery", gallery), ("--probes", probes)):
        if folder is not None and folder.expanduser().resolve() == out.expanduser().resolve():
            raise ValueError(f"expected --out beside the faces, got the folder of {option} itself: give another one.")
    check_writable(out)
    from smartbox.cli._evaluate_report import folder_of, show, write

    studies = [study for study, there in (("gallery", gallery or not pairs), ("pairs", pairs)) if there]
    folder = folder_of(out, studies)
    folder.check_replaceable()
    import_tensorflow_quietly()
    from smartbox.cli._evaluate_faces import load_embedder
    from smartbox.cli._mitigate import load_defenses

    embedder = load_embedder(path)
    enrolled, faces = _read(gallery, probes, embedder, image_shape, color, on_error)
    chain = [(Path(name).name, defense) for name, defense in load_defenses(plan.defenses, seed)]
    common = {"seed": seed, "verbose": 0 if quiet else 1}
    runs = {}
    if "pairs" in studies:
        from smartbox.cli._evaluate_pairs import PairsRun, find_pairs

        found = find_pairs(pairs.expanduser(), faces)
        runs["pairs"] = PairsRun(faces, found, embedder, plan.attack, chain, **common)
    if "gallery" in studies:
        from smartbox.cli._evaluate_run import GalleryRun

        run = GalleryRun(enrolled, faces, embedder, plan.attack, chain, impersonate=impersonate, far=far, **common)
        runs = {"gallery": run, **runs}
    for run in runs.values():
        run.run()
    write(folder, runs, _about(plan, chain, path, (enrolled, faces), seed))
    show(folder, runs, verbose=not quiet)


def _make_plan(attack_name, defenses, settings, *, aims):
    """Attack and defences, checked before anything is loaded; a parameter without a name is one of the attack."""
    from sklearn.utils import Bunch

    from smartbox.benchmark import _registry as registry
    from smartbox.cli._mitigate import find_defenses, make_defenses

    attack_name, _ = registry.find("attack", attack_name)
    names, by_name = find_defenses(defenses)
    if len(set(names)) < len(names):
        raise ValueError(f"expected each --defense once, got {', '.join(names)}: leave one out.")
    parsed = parse_settings(settings, "eps=2/255")
    parameters = {key if "." in key else f"attack.{attack_name}.{key}": value for key, value in parsed.items()}
    for key in parameters:
        if (last := key.rpartition(".")[2]) in _CHOSEN_BY:
            raise ValueError(f"cannot set {last!r}: choose it by {_CHOSEN_BY[last]}.")
    split = registry.check_parameters(parameters, {"attack": [attack_name], "defense": by_name})
    if split["network"]:
        raise ValueError(f"cannot set 'network.{next(iter(split['network']))}': no network is trained.")
    attack = registry.make("attack", attack_name, split["attack", attack_name])
    if "early_stop" in attack.get_params(deep=False):
        attack.set_params(early_stop=False)  # to the largest loss, since scores are measured too
    if aims and "targeted" not in attack.get_params(deep=False):
        raise ValueError(
            f"{attack_name} cannot reach for a person, as --impersonate and --pairs ask: take another --attack."
        )
    return Bunch(name=attack_name, attack=attack, defenses=make_defenses(names, split))


def _read(gallery, probes, embedder, image_shape, color, on_error):
    """Faces enrolled, None where there is no gallery, and probes."""
    from smartbox.cli._evaluate_faces import builtin_faces, check_together, read_folder

    if probes is None:
        for option, value in (("--color", color), ("--on-error", on_error)):
            if value is not None:
                raise ValueError(
                    f"the built-in faces cannot take {option}, which is for folders of your own: leave it out."
                )
        return builtin_faces(image_shape or _SHAPE)
    faces = read_folder(probes, embedder, image_shape, color, on_error)
    if gallery is None:
        return None, faces
    enrolled = read_folder(gallery, embedder, image_shape, color, on_error)
    check_together(enrolled, faces)
    return enrolled, faces


def _about(plan, chain, path, faces, seed):
    """What ``results.json`` says of the run as a whole, and the title of the pictures."""
    from smartbox._records import data_record, file_sha256
    from smartbox.cli._train_run import settings_of

    eps, parameters = getattr(plan.attack, "eps", None), settings_of(plan.attack)
    parameters.pop("targeted", None)  # each study says what it aims at
    return {
        "title": plan.name + (f", eps {eps}" if isinstance(eps, str) else ""),
        "attack": {"name": plan.name, "parameters": parameters},
        "defenses": [{"name": name, "parameters": settings_of(defense)} for name, defense in chain],
        "network": {"name": BUILT_IN} if path is None else {"file": path.name, "sha256": file_sha256(path)},
        "data": [data_record(each) for each in faces if each is not None],
        "seed": seed,
    }
