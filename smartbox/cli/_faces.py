"""Faces by what ``--data`` says."""

from pathlib import Path

import click

data_option = click.option(
    "--data",
    default="builtin",
    show_default=True,
    metavar="PATH",
    help="'builtin' faces, the Extended Yale B archive (zip or folder), or a folder or zip with one "
    "folder of images for each identity.",
)
on_error_option = click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    help="Whether an unreadable image of a folder or zip of your own ends the run or is left out.  [default: raise]",
)


def find_faces(data):
    """What there is at ``data``, before anything is read: "the built-in faces", "Extended Yale B" or "folder"."""
    if data == "builtin":
        return "the built-in faces"
    path = Path(data).expanduser()
    if not data.strip() or not path.exists():
        raise ValueError(
            f"there is nothing at {data or repr(data)}: expected 'builtin', the Extended Yale B archive, or a folder "
            "with one folder of images for each identity."
        )
    return "Extended Yale B" if _is_yale(path) else "folder"


def load_faces(data, image_shape, **of_folder):
    """Faces by the loader that suits ``data``; options that are not None only suit a face folder."""
    from smartbox.datasets import load_extended_yale_b, load_face_folder, make_faces

    kind, path = find_faces(data), Path(data).expanduser()
    of_folder = {name: value for name, value in of_folder.items() if value is not None}
    if kind == "folder":
        return load_face_folder(path, image_shape=image_shape, **of_folder)
    if of_folder:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in of_folder)
        raise ValueError(f"{kind} cannot take {names}, which is for a folder or zip of your own: leave it out.")
    return (
        make_faces(image_shape=image_shape)
        if data == "builtin"
        else load_extended_yale_b(path, image_shape=image_shape)
    )


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
