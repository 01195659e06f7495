"""A run of ``smartbox attack``: batch by batch to a set in a folder, from where the last run stopped."""

import sys
import time
import warnings
from pathlib import Path

import click
import numpy as np
from sklearn.utils import Bunch, get_tags

from smartbox._progress import progress_bar, say
from smartbox._records import circumstances, data_record, file_sha256, jsonable
from smartbox._serialization import undisturbed
from smartbox.cli._batches import PARTIAL, Batches
from smartbox.cli._summary import print_summary
from smartbox.cli._terminal import Interrupted
from smartbox.datasets import save_adversarial_set
from smartbox.protocol import FaceProtocol

_RESULT_DEPENDS_ON = ("attack", "parameters", "seed", "part", "model", "data")
_TO_LEARN = 128  # images in a batch, always: sums over batches of another size may differ in the last bit
_NO_PARAMETERS = ("model", "random_state", "verbose", "batch_size")  # the result does not depend on the last one


def about_run(name, attack, faces, model_path, *, seed, part):
    """What ``report.json`` says of a run beside its figures."""
    parameters = {key: value for key, value in attack.get_params(deep=False).items() if key not in _NO_PARAMETERS}
    return jsonable(
        {
            "attack": name,
            "parameters": parameters,
            "seed": seed,
            "part": part,
            "model": {"file": model_path.name, "sha256": file_sha256(model_path)},
            "data": data_record(faces),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        }
    )


class AttackRun:
    """An attack on some of the faces.

    Parameters
    ----------
    name : str
        Command name of the attack.
    attack : BaseAttack
        With its model and seed.
    faces : Bunch
        As a loader returns them, numbered by the model's columns.
    rows, train : ndarray of int
        Which faces to attack, and which an attack that learns is fitted on.
    about : dict
        From `about_run`.
    out : Path
        Folder for the set.
    verbose : int, default=0
        Above 0 shows progress.
    """

    def __init__(self, name, attack, faces, rows, train, about, out, *, verbose=0):
        self.name = name
        self.attack = attack
        self.about = about
        self.out = out
        self.verbose = verbose
        self.faces = Bunch(X=np.asarray(faces.images[rows]), y=faces.target[rows], names=faces.target_names,
                           files=faces.filenames[rows])  # fmt: skip
        self.training = Bunch(X=faces.images[train], y=faces.target[train]) if get_tags(attack).requires_fit else None
        recipe = {key: about[key] for key in _RESULT_DEPENDS_ON}
        self.batches = Batches(out / PARTIAL, {**recipe, **circumstances()}, len(rows))

    def run(self):
        """Attack the faces that are left, and write the set; whatever ends it, print and say what there is."""
        change = self.batches.reopen()
        if change:
            warnings.warn(f"what {self.batches.folder} holds is dropped, and all begins anew: {change}.", stacklevel=2)
        try:
            self._attack_the_rest()
            paths = self._save(self.out)
            with undisturbed():
                self.batches.discard()
        except KeyboardInterrupt as interrupt:
            click.echo(err=True)  # the line of a progress bar may be open
            raise Interrupted(self._keep_part()) from interrupt
        except OSError as error:
            raise OSError(f"{error}. {self._what_is_left()}") from error
        print_summary(self.out)
        say(f"Written to {self.out}: {', '.join(path.name for path in paths)}", enabled=self.verbose)

    def _attack_the_rest(self):
        done = self.batches.done
        left = np.flatnonzero(~done)
        if len(left) < len(done):
            say(f"{done.sum()} of {len(done)} faces are done already, by an earlier run", enabled=self.verbose)
        if not len(left):
            return
        if self.training:
            self._learn()
        aims = self._labels(self._targets(self.faces.y) if self.attack.targeted else self.faces.y)
        n_won = sum(int(part["success"].sum()) for part in self.batches.parts)
        size = self.attack.batch_size
        with progress_bar(self.name, len(left), enabled=self.verbose) as advance, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*the gradient was zero")  # once for all of them is enough
            for rows in (left[start : start + size] for start in range(0, len(left), size)):
                began = time.monotonic()
                X_adv, report = self.attack.generate(self.faces.X[rows], aims[rows], return_report=True)
                for name in ("prediction_before", "prediction_after"):
                    report[name] = self.attack.model.label_index(report[name])
                seconds = np.full(len(rows), (time.monotonic() - began) / len(rows))
                self.batches.add(rows, X_adv=X_adv, seconds=seconds, **report)
                n_won += int(report.success.sum())
                advance(len(rows), note=f"{100 * n_won / done.sum():.1f} % success")

    def _learn(self):
        X, y = self.training.X, self.training.y
        y = self._labels(self._targets(y) if self.attack.targeted else y)
        size = self.attack.batch_size
        self.attack.set_params(verbose=self.verbose, batch_size=_TO_LEARN).fit(X, y)
        self.attack.set_params(verbose=0, batch_size=size)

    def _labels(self, columns):
        return self.attack.model.classes_[columns]

    def _targets(self, y):
        """Another identity for each face, from all that the model knows."""
        return FaceProtocol(random_state=self.about["seed"]).assign(y, classes=np.arange(len(self.faces.names))).targets

    def _save(self, folder):
        parts = self.batches.joined()
        rows, X_adv, seconds = (parts.pop(name) for name in ("rows", "X_adv", "seconds"))
        y = self.faces.y
        about = {**self.about, "partial": len(rows) < len(y), "planned_images": len(y), "seconds": seconds.sum()}
        return save_adversarial_set(
            folder, self.faces.X[rows], X_adv, y[rows], Bunch(**parts), filenames=self.faces.files[rows],
            targets=self._targets(y)[rows] if self.attack.targeted else None, target_names=self.faces.names, about=about,
        )  # fmt: skip

    def _keep_part(self):
        """Write what is finished of an interrupted run as a set of its own; return what to say."""
        try:
            if self.batches.parts and not self.batches.done.all():
                self._save(self.batches.folder)
                print_summary(self.batches.folder)
        except (OSError, KeyboardInterrupt):
            pass  # the batches themselves are safe
        return self._what_is_left()

    def _what_is_left(self):
        n_done, n = self.batches.done.sum(), len(self.batches.done)
        if not n_done:
            self.batches.discard()  # what a full disk has let through of the first one
            return f"0 of {n} faces finished, nothing was written."
        return f"{n_done} of {n} faces finished and kept in {self.batches.folder}; the same command goes on from there."
