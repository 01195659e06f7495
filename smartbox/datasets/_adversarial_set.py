"""Adversarial sets: attacked faces and what was measured on them, as a folder of files."""

import json
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from smartbox._checks import check_images, check_labels
from smartbox._records import as_csv, circumstances, file_sha256, jsonable
from smartbox._result_folder import REPORT, ResultFolder
from smartbox.datasets._adversarial_files import csv_rows, png_names, write_pngs

FORMAT = "smartbox-adversarial-1"
# The last one to be put in place marks the folder as a set, and vouches for the arrays.
_ARRAYS = "adversarial.npz"
_FILES = ("png", "examples.png", "report.csv", _ARRAYS, REPORT)
_MEASURES = ("success", "success_8bit", "l1", "l2", "linf", "initially_wrong", "prediction_before", "prediction_after")


def save_adversarial_set(
    folder, X, X_adv, y, report, *, targets=None, target_names=None, filenames=None, about=None
):  # fmt: skip
    """Write attacked faces, what was measured on them, and pictures of them to a folder.

    Parameters
    ----------
    folder : str or path
        Made if it does not exist. A set that is there is replaced once the new one is complete; other files stay.
    X : array-like of shape (n, height, width, channels)
        The images that were attacked, in [0, 1].
    X_adv : array-like of the shape of X
        What the attack made of them.
    y : array-like of shape (n,)
        The true identity of each image.
    report : Bunch
        The attack's ``report_`` on them.
    targets : array-like of shape (n,), optional
        Of a targeted attack, the identity that each image was to reach.
    target_names : sequence of str, optional
        Names of identities that are numbered from 0. None calls each identity by its label.
    filenames : sequence of str, optional
        Where each image came from. None numbers them.
    about : dict, optional
        What else ``report.json`` shall say, e.g. ``{"attack": "deepfool", "seed": 0}``.

    Returns
    -------
    paths : list of Path
        ``png/``, the images rounded to 8 bits, named after identity and file; ``examples.png``, some of them with the
        noise enlarged; ``report.csv``, one row an image; ``adversarial.npz``, all arrays, which `load_adversarial_set`
        reads; ``report.json``, the summary, versions and ``about``.

    Raises
    ------
    ValueError
        If shapes or labels do not fit together, the report is of other images, or a file of such a name is in the folder
        that is no part of an adversarial set.

    See Also
    --------
    load_adversarial_set : The way back.

    Examples
    --------
    >>> import smartbox, tempfile
    >>> from smartbox.attacks import FGSM
    >>> from smartbox.datasets import load_adversarial_set, make_faces, save_adversarial_set
    >>> faces, attack = make_faces(n_images=1), FGSM(smartbox.load_sample_model(), eps="4/255")
    >>> X_adv = attack.generate(faces.images, faces.target)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = save_adversarial_set(folder, faces.images, X_adv, faces.target, attack.report_,
    ...                                  target_names=faces.target_names)
    ...     again = load_adversarial_set(folder)
    >>> [path.name for path in paths]
    ['png', 'examples.png', 'report.csv', 'adversarial.npz', 'report.json']
    >>> bool((again.X_adv == X_adv).all()), again.prediction_before.shape
    (True, (38,))
    """
    from smartbox.datasets._adversarial_figure import save_set_figure

    made = _checked_set(X, X_adv, y, report, targets, target_names, filenames)
    about = jsonable(about or {})
    place = _place(folder)
    place.check_replaceable()
    with place.replaced() as new:
        names = png_names(made.target_names[made.y], made.filenames)
        write_pngs(new / "png", names, made.X_adv)
        save_set_figure(made, new / "examples.png", str(about.get("attack", "")))
        (new / "report.csv").write_bytes(as_csv(csv_rows(made, names)).encode(errors="backslashreplace"))
        np.savez_compressed(new / _ARRAYS, **made)
        whole = {"format": FORMAT, "summary": summary(made), **about, **circumstances()}
        whole["sha256"] = {_ARRAYS: file_sha256(new / _ARRAYS)}
        (new / REPORT).write_text(json.dumps(whole, indent=1, allow_nan=False))
    return place.paths()


def load_adversarial_set(folder):
    """Read what `save_adversarial_set` or ``smartbox attack`` wrote.

    Parameters
    ----------
    folder : str or path

    Returns
    -------
    adversarial : Bunch
        X_adv, X : ndarrays of shape (n, height, width, channels), float32
            The attacked images and the images that they were made of.
        y : ndarray of shape (n,), int64
            Index of the true identity in ``target_names``.
        targets : ndarray of shape (n,), int64
            Index of the identity that each image was to reach; only of a targeted attack.
        target_names, filenames : ndarrays of str
        prediction_before, prediction_after : ndarrays of shape (n,), str
            Names of the identities that the model saw.
        success, success_8bit, initially_wrong : ndarrays of shape (n,), bool
        l1, l2, linf : ndarrays of shape (n,), float64
        n_iterations, n_gradients, n_zero_gradients : ndarrays of shape (n,), int
            As in the attack's report.
        about : dict
            What ``report.json`` says.

    Raises
    ------
    ValueError
        If the folder holds no such set, or files of different ones.

    See Also
    --------
    make_detection_set : Takes ``X`` and ``X_adv``.

    Examples
    --------
    >>> from smartbox.datasets import load_adversarial_set, make_detection_set
    >>> made = load_adversarial_set("smartbox-adversarial")               # doctest: +SKIP
    >>> X, is_attacked, groups = make_detection_set(made.X, made.X_adv)   # doctest: +SKIP
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / REPORT).read_text())
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}, not {FORMAT!r}")
        if about["sha256"][_ARRAYS] != file_sha256(folder / _ARRAYS):
            raise ValueError(f"{_ARRAYS} is not the one that {REPORT} was written for")
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            return Bunch(**arrays, about=about)
    except Exception as error:  # a damaged archive raises anything
        raise ValueError(
            f"{folder} holds no adversarial set ({error}): expected a folder that save_adversarial_set or "
            "'smartbox attack' wrote."
        ) from error


def summary(adversarial):
    """Shares and medians over all images of a set, those that were wrong from the start included."""
    names = adversarial.target_names[adversarial.y]
    won = adversarial.success & ~adversarial.initially_wrong
    sizes = {norm: adversarial[norm] for norm in ("l1", "l2", "linf")}
    return {
        "images": len(names),
        "identities": len(np.unique(names)),
        "accuracy_before": float(np.mean(adversarial.prediction_before == names)),
        "accuracy_after": float(np.mean(adversarial.prediction_after == names)),
        "initially_wrong": float(np.mean(adversarial.initially_wrong)),
        "success": float(np.mean(adversarial.success)),
        "success_8bit": float(np.mean(adversarial.success_8bit)),
        **{f"median_{norm}": float(np.median(size)) for norm, size in sizes.items()},
        "median_over_successes": {norm: float(np.median(size[won])) if won.any() else None for norm, size in sizes.items()},
        "gradients_per_image": float(np.mean(adversarial.n_gradients)),
        "images_with_zero_gradients": int(np.count_nonzero(adversarial.n_zero_gradients)),
    }  # fmt: skip


def check_replaceable(folder):
    """Raise a ValueError if saving a set to ``folder`` would replace what is no set."""
    _place(folder).check_replaceable()


def _place(folder):
    return ResultFolder(folder, _FILES, FORMAT, "adversarial set")


def _checked_set(X, X_adv, y, report, targets, target_names, filenames):
    """All arrays of a set, with identities as indices into their names."""
    X = check_images(X)
    X_adv = check_images(X_adv, image_shape=X.shape[1:], name="X_adv")
    if X.shape[-1] not in (1, 3):
        raise ValueError(f"expected grey images of 1 channel or colour ones of 3, got {X.shape[-1]} channels in X.")
    n = len(X)
    missing = [name for name in _MEASURES if name not in report]
    lengths = {len(X_adv), *(len(column) for column in report.values())}
    if missing or lengths != {n}:
        came = f"one without {', '.join(missing)}" if missing else f"arrays of {sorted(lengths - {n})} entries"
        raise ValueError(
            f"expected X_adv and report of the {n} images in X, as attack.generate(X, y, return_report=True) returns "
            f"them, got {came}."
        )
    filenames = [str(i) for i in range(n)] if filenames is None else filenames
    if len(filenames) != n:
        raise ValueError(f"expected one file name for each of {n} images, got {len(filenames)}.")
    labels = {"y": y, "targets": targets, **{name: report[name] for name in ("prediction_before", "prediction_after")}}
    labels = {name: np.asarray(values) for name, values in labels.items() if values is not None}
    known = np.unique(np.concatenate(list(labels.values()))) if target_names is None else np.arange(len(target_names))
    names = known.astype(str) if target_names is None else np.array([str(name) for name in target_names])
    index = {name: np.searchsorted(known, check_labels(values, n, known, name=name)) for name, values in labels.items()}
    before, after = (names[index.pop(name)] for name in ("prediction_before", "prediction_after"))
    columns = {
        name: np.asarray(column) for name, column in report.items() if name != "X_adv"
    }  # of an interrupted attack
    return Bunch(
        X_adv=X_adv, X=X, **index, target_names=names, filenames=np.array([str(name) for name in filenames]),
        **{**columns, "prediction_before": before, "prediction_after": after},
    )  # fmt: skip
