"""``smartbox mitigate``."""

from pathlib import Path

import click

from smartbox._quiet_start import import_tensorflow_quietly
from smartbox.cli._detect import is_file
from smartbox.cli._faces import on_error_option
from smartbox.cli._images import MITIGATED, check_apart, check_images_there, images_option
from smartbox.cli._options import Shape, parse_settings
from smartbox.cli._terminal import check_writable


@click.command(short_help="Clean images by one defence or several.")
@click.option(
    "--defense",
    "defenses",
    multiple=True,
    metavar="NAME|FILE",
    help="'smartbox list' shows all names; a FILE is one that 'smartbox train' saved. Repeat for more: they are applied in "
    "this order.",
)
@images_option
@click.option(
    "--image-shape",
    type=Shape(),
    metavar="HEIGHTxWIDTH",
    help="Resize the images to it first.  [default: each keeps its size]",
)
@on_error_option
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter of a defence by NAME, e.g. defense.gaussian_blur.sigma=0.8. Repeat for more.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Of a defence that draws.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="smartbox-mitigated",
    show_default=True,
    metavar="DIR",
    help="Folder for the images; those of an earlier run are replaced once the new ones are complete.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the figures.")
def mitigate(defenses, images, image_shape, on_error, settings, seed, out, quiet):
    """Clean images by one defence or several, one after the other.

    DIR holds the images as PNG files under the names that they had (png), how much each was changed (report.csv), that of all
    and how it was done (report.json), and some of them before and after (examples.png). Grey images stay grey.
    """
    from smartbox._result_folder import ResultFolder
    from smartbox.benchmark import _registry as registry
    from smartbox.cli._mitigate_run import FILES, run

    if not defenses:
        raise ValueError(f"expected --defense NAME or FILE, one of: {', '.join(registry.available('defense'))}.")
    names, by_name = find_defenses(defenses)
    split = registry.check_parameters(parse_settings(settings, "defense.gaussian_blur.sigma=0.8"), {"defense": by_name})
    if split["network"]:
        raise ValueError(f"cannot set 'network.{next(iter(split['network']))}': no network takes part.")
    made = make_defenses(names, split)
    check_images_there(images)
    check_apart(images, out)
    check_writable(out)
    folder = ResultFolder(out, FILES, MITIGATED, "mitigated images")
    folder.check_replaceable()
    chain = load_defenses(made, seed)
    run(folder, chain, images, image_shape, on_error, seed, verbose=0 if quiet else 1)


def find_defenses(texts):
    """Names of defences by NAME or FILE, in order, and those by NAME alone, each once."""
    from smartbox.benchmark import _registry as registry

    names = [text if is_file(text) else registry.find("defense", text)[0] for text in texts]
    return names, [name for name in dict.fromkeys(names) if not is_file(name)]


def make_defenses(names, split):
    """``(name, defence)`` in order, None for one in a file, which is read later; ``split`` is of `check_parameters`."""
    from sklearn.utils import get_tags

    from smartbox.base import BaseDefense
    from smartbox.benchmark import _registry as registry

    made = {}
    for name in dict.fromkeys(names):
        if is_file(name):
            continue
        cls = registry.find("defense", name)[1]
        if not issubclass(cls, BaseDefense):
            raise ValueError(f"{name} is a classifier, which cleans no images: it is for 'smartbox bench'.")
        try:
            made[name] = registry.make("defense", name, split["defense", name])
        except ValueError:  # of a bad value; scikit-learn's is a TypeError too
            raise
        except TypeError as error:  # of one that cannot be made without what it learns from
            raise ValueError(_untrained(name)) from error
        if get_tags(made[name]).requires_fit:
            raise ValueError(_untrained(name))
    return [(name, made.get(name)) for name in names]


def load_defenses(made, seed):
    """``(name, defence)`` with those in files read, and the seed where a defence draws and has none."""
    chain = [(name, _load(name) if defense is None else defense) for name, defense in made]
    for _, defense in chain:
        if "random_state" in defense.get_params(deep=False) and defense.random_state is None:
            defense.set_params(random_state=seed)
    return chain


def _untrained(name):
    return f"{name} has to learn first: 'smartbox train --defense {name}' makes a file to give here."


def _load(path):
    from sklearn.pipeline import Pipeline

    from smartbox.base import BaseDefense
    from smartbox.persistence import load

    import_tensorflow_quietly()
    defense = load(Path(path).expanduser())
    steps = [step for _, step in defense.steps] if isinstance(defense, Pipeline) else [defense]
    if not all(isinstance(step, BaseDefense) for step in steps):
        raise ValueError(
            f"{path} holds a {type(defense).__name__}, expected a defence that cleans images, or a Pipeline of such."
        )
    return defense
