"""Lists of face pairs: Labeled Faces in the Wild, YouTube Faces, Celebrities in Frontal-Profile."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from smartbox.datasets._images import image_extensions

_CFP_LISTS = {"FF": ("Pair_list_F.txt", "Pair_list_F.txt"), "FP": ("Pair_list_F.txt", "Pair_list_P.txt")}
_CFP_FILES = {"same.txt": True, "diff.txt": False}


def load_pairs(path: str | os.PathLike, *, filenames: ArrayLike | None = None) -> Bunch:
    """Load a list of pairs of faces of one person or of two.

    Parameters
    ----------
    path : str or path-like
        A text file or, for Celebrities in Frontal-Profile, the folder ``Protocol/Split/FF`` or ``Protocol/Split/FP``.
        See Notes.
    filenames : array-like of str, optional
        Names of the images at hand, e.g. those of `load_face_folder`: the pairs are then also given by number. Their
        extensions and leading folders do not matter.

    Returns
    -------
    result : Bunch
        names : ndarray of str, shape (n_pairs, 2)
            The two images of each pair, ``person/image`` without extension, e.g. ``"Ann_Lee/Ann_Lee_0002"``.
        is_genuine : ndarray of bool, shape (n_pairs,)
            Whether both show one person.
        folds : ndarray of int, shape (n_pairs,)
            Fold of each pair, from 1 on; all 1 where the list has none.
        pairs : ndarray of int, shape (n_pairs, 2)
            Only with ``filenames``: positions therein.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``, or a list that belongs to it is missing.
    ValueError
        If a line is malformed, the list is shorter or longer than its first line says, it is empty, or
        ``filenames`` lack an image of the list or have it twice. The message names the file and the line.

    Notes
    -----
    Three kinds are told apart by what they hold:

    - ``pairs.txt`` and ``pairsDevTrain.txt`` of Labeled Faces in the Wild [1]_, also without the first line of counts:
      ``name 1 2`` for images 1 and 2 of one person, ``name 1 other 2`` for those of two; tabs or spaces.
    - ``splits.txt`` of YouTube Faces [2]_, which RobFR [3]_ uses: ``fold, number, name/1, other/2, 1 or 0``. Files may
      be called ``name/1`` or, as RobFR does, ``name/name_1``.
    - The ten folders of Celebrities in Frontal-Profile [4]_ with ``same.txt`` and ``diff.txt``, whose lines ``12,34``
      count in ``Pair_list_F.txt`` and ``Pair_list_P.txt`` two folders up.

    References
    ----------
    .. [1] Huang, Ramesh, Berg, Learned-Miller. "Labeled Faces in the Wild", UMass Technical Report 07-49, 2007.
    .. [2] Wolf, Hassner, Maoz. "Face Recognition in Unconstrained Videos with Matched Background Similarity", CVPR 2011.
    .. [3] Yang, Yang, Dong, Su, Yu, Zhu. "RobFR: Benchmarking Adversarial Robustness on Face Recognition",
       arXiv:2007.04118, 2020.
    .. [4] Sengupta, Chen, Castillo, Patel, Chellappa, Jacobs. "Frontal to Profile Face Verification in the Wild", WACV
       2016.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from smartbox.datasets import load_pairs
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "pairs.txt")
    ...     _ = path.write_text("1\\t1\\nAnn_Lee\\t1\\t2\\nAnn_Lee\\t1\\tBob_Ray\\t1\\n")
    ...     found = load_pairs(path, filenames=["Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0002.jpg",
    ...                                         "Bob_Ray/Bob_Ray_0001.jpg"])
    >>> found.pairs.tolist(), found.is_genuine
    ([[0, 1], [0, 2]], array([ True, False]))
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"expected a list of pairs at {path}, got nothing; check the path")
    if path.is_dir():
        rows, spellings = _read_cfp(path), _as_it_is
    else:
        lines = _lines(path)
        is_ytf = "," in lines[0][1] and "\t" not in lines[0][1]  # names may hold commas
        rows, spellings = (_read_ytf(path, lines), _robfr_too) if is_ytf else (_read_lfw(path, lines), _as_it_is)
    result = Bunch(
        names=np.array([row[1:3] for row in rows]),
        is_genuine=np.array([row[3] for row in rows]),
        folds=np.array([row[4] for row in rows]),
    )
    if filenames is not None:
        result.pairs = _positions(rows, filenames, spellings)
    return result


def _lines(path):
    """Numbers and texts of the lines that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected text in UTF-8, got other bytes ({error}); is it a list of pairs?"
        ) from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise ValueError(f"{path}: expected at least one pair, got an empty file")
    return lines


def _read_lfw(path, lines):
    """Rows (where, first, second, is_genuine, fold)."""
    heading = lines[0][1].split()
    counted = len(heading) <= 2 and all(field.isdecimal() for field in heading)
    rows = [_lfw_row(f"{path}, line {number}", line) for number, line in lines[counted:]]
    if not counted:
        return rows
    n_folds, n_each = (1, *map(int, heading))[-2:]
    if len(rows) != 2 * n_folds * n_each or not rows:
        raise ValueError(
            f"{path}, line {lines[0][0]}: announces {n_folds} x {n_each} pairs of one person and as many of two, that is "
            f"{2 * n_folds * n_each} lines, got {len(rows)}; is the file complete?"
        )
    for i, (where, *_, is_genuine, _) in enumerate(rows):
        if is_genuine != (i % (2 * n_each) < n_each):
            kinds = ("two persons", "one person") if is_genuine else ("one person", "two persons")
            raise ValueError(
                f"{where}: expected a pair of {kinds[0]}, since line {lines[0][0]} announces {n_each} of one person, then "
                f"{n_each} of two, in each fold, got one of {kinds[1]}"
            )
    return [(*row[:4], 1 + i // (2 * n_each)) for i, row in enumerate(rows)]


def _lfw_row(where, line):
    fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
    numbers = fields[1::2] if len(fields) == 4 else fields[1:]
    if len(fields) not in (3, 4) or not all(n.isdecimal() and int(n) > 0 for n in numbers):
        raise ValueError(
            f"{where}: expected 'name 1 2' (images of one person) or 'name 1 other 2' (of two), numbered from 1 and "
            f"separated by tabs, got {line!r}"
        )
    first, other = fields[0], fields[2] if len(fields) == 4 else fields[0]
    if len(fields) == 4 and first == other:
        raise ValueError(
            f"{where}: expected two persons, got {first!r} twice; write 'name 1 2' for a pair of one person"
        )
    one, two = (f"{name}/{name}_{int(number):04d}" for name, number in zip((first, other), numbers, strict=True))
    return where, one, two, len(fields) == 3, 1


def _read_ytf(path, lines):
    first_fields = lines[0][1].replace(" ", "").lower()
    lines = lines[first_fields.startswith("splitnumber") :]
    if not lines:
        raise ValueError(f"{path}: expected at least one pair, got a heading only")
    return [_ytf_row(f"{path}, line {number}", line) for number, line in lines]


def _ytf_row(where, line):
    fields = [field.strip() for field in line.split(",")]
    named = len(fields) == 5 and all(name.count("/") == 1 and not name.startswith("/") for name in fields[2:4])
    if not named or not fields[0].isdecimal() or fields[4] not in ("0", "1"):
        raise ValueError(f"{where}: expected 'fold, number, name/1, other/2, 1 or 0', got {line!r}")
    return where, fields[2], fields[3], fields[4] == "1", int(fields[0])


def _read_cfp(path):
    if path.name not in _CFP_LISTS:
        raise ValueError(
            f"{path}: expected a text file, or the folder Split/FF or Split/FP of Celebrities in Frontal-Profile, got "
            "another folder; pass e.g. Protocol/Split/FP"
        )
    first, second = (_cfp_images(path.parent.parent / name) for name in _CFP_LISTS[path.name])
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir())
    if not folders:
        raise ValueError(f"{path}: expected folders 01 to 10 with same.txt and diff.txt, got none")
    rows = []
    for fold, folder in enumerate(folders, start=1):
        for name, is_genuine in _CFP_FILES.items():
            for where, line in _existing_lines(folder / name):
                fields = [field.strip() for field in line.split(",")]
                if len(fields) != 2 or fields[0] not in first or fields[1] not in second:
                    raise ValueError(
                        f"{where}: expected two numbers 'a,b' that {' and '.join(_CFP_LISTS[path.name])} list, got {line!r}"
                    )
                rows.append((where, first[fields[0]], second[fields[1]], is_genuine, fold))
    return rows


def _cfp_images(path):
    """Name of the image behind each number."""
    images = {}
    for where, line in _existing_lines(path):
        number, _, image = line.partition(" ")
        parts = PurePosixPath(image.strip().replace("\\", "/")).parts
        if not number.isdecimal() or len(parts) < 3:
            raise ValueError(
                f"{where}: expected a number and a path such as '1 ../Data/Images/001/frontal/01.jpg', got {line!r}"
            )
        images[number] = _bare("/".join(parts[-3:]))
    return images


def _existing_lines(path):
    if not path.is_file():
        raise FileNotFoundError(f"expected the list {path}, got nothing; is the folder complete?")
    return [(f"{path}, line {number}", line) for number, line in _lines(path)]


def _bare(name):
    """A name with forward slashes and without extension."""
    name = str(name).replace("\\", "/")
    folder, slash, file = name.rpartition("/")
    stem, dot, extension = file.rpartition(".")
    return folder + slash + (stem if stem and f"{dot}{extension}".lower() in image_extensions() else file)


def _as_it_is(name):
    return (name,)


def _robfr_too(name):
    person, video = name.split("/")
    return name, f"{person}/{person}_{video}"


def _positions(rows, filenames, spellings):
    """Position of both images of each row among the file names."""
    depth = 1 + rows[0][1].count("/")
    places = {}
    for i, name in enumerate(filenames):
        places.setdefault("/".join(_bare(name).split("/")[-depth:]), []).append(i)
    return np.array([[_position(row[0], name, places, spellings) for name in row[1:3]] for row in rows])


def _position(where, name, places, spellings):
    found = [i for spelling in spellings(name) for i in places.get(spelling, ())]
    if len(found) != 1:
        came = "none" if not found else f"{len(found)}"
        raise ValueError(
            f"{where}: expected one image {name!r} among the {sum(map(len, places.values()))} filenames, such as "
            f"{next(iter(places), '')!r}, got {came}; load the set that the list was made for, and each image once"
        )
    return found[0]
