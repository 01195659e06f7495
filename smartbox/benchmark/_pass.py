"""One seed's pass: train, attack, mitigate, detect; what each image met is noted, and nothing else."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.utils import Bunch

from smartbox._progress import say
from smartbox.benchmark import _making as making
from smartbox.benchmark._detection import detect
from smartbox.benchmark._guard import guard
from smartbox.benchmark._journal import Journal
from smartbox.benchmark._keys import key_of
from smartbox.benchmark._mitigation import mitigate
from smartbox.benchmark._one_seed import CLEAN, NETWORK, UNDEFENDED
from smartbox.benchmark._records import REPORTED, Recorder
from smartbox.benchmark._store import Store
from smartbox.protocol import FaceProtocol


@dataclass
class Pass:
    """One seed; `run` fills ``recorder`` and ``example``.

    It is made of pieces, each of which is made once, when it is first asked for: the network, fitted defences and detectors,
    attacked faces, predictions, scores; see `_making`.
    """

    images: np.ndarray
    target: np.ndarray
    names: dict
    plan: Bunch
    seed: int
    verbose: int = 0
    example: Bunch = None
    recorder: Recorder = None
    store: Store = None
    data_key: str = ""
    pieces: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)
    journal: Journal = field(default_factory=Journal)

    def run(self):
        """Do everything, and return the pass itself."""
        if self.recorder is None:
            self.split()
        mitigate(self)
        if self.plan.detector:
            detect(self)
            if self.plan.guard:
                guard(self)
        self._keep_example()
        self.journal.ended(self.seed)
        return self

    def split(self):
        """Part the faces; the same seed parts them alike in every command."""
        images, target = self.images, self.target
        protocol = FaceProtocol(random_state=self.seed)
        train, validation, test = protocol.split(target)
        self.X, self.y = np.asarray(images[test]), target[test]
        self.X_validation, self.y_validation = np.asarray(images[validation]), target[validation]
        self.claims = protocol.assign(self.y, classes=np.unique(target))
        y_train = target[train]
        self.training = Bunch(X=np.asarray(images[train]), y=y_train, targets=protocol.assign(y_train).targets)
        self.say(f"Seed {self.seed}: {len(train)} faces to train, {len(validation)} to validate, "
                  f"{len(test)} to test")  # fmt: skip
        self.recorder = Recorder(self.seed)
        self.note("faces", image=test, identity=self.y, target=self.claims.targets, claim=self.claims.claims,
                  is_genuine=self.claims.is_genuine, name=np.array([self._name(label) for label in self.y]))  # fmt: skip

    def get(self, kind, *which):
        """A piece; see `_making` for the kinds. It is made only if it is neither here nor in the store."""
        piece = (kind, *which)
        if not self.has(piece):
            with self.journal.making(self.seed, piece):
                made = making.MAKERS[kind](self, *which)
            self.keep(piece, made)
        return self.pieces[piece]

    def has(self, piece):
        """Whether a piece is here, or could be fetched from the store."""
        if piece not in self.pieces and self.store is not None:
            found = self.store.get(key_of(self, piece))
            if found is not None:
                self.pieces[piece] = making.rejoined(self, piece, found)
                self.journal.fetched(self.seed, piece)
        return piece in self.pieces

    def keep(self, piece, made):
        """Keep a piece that was made, here and in the store."""
        self.pieces[piece] = made
        if self.store is not None:
            self.store.put(key_of(self, piece), made)

    def model(self, defense=UNDEFENDED):
        """The network, behind a mitigation or replaced by it."""
        return making.model(self, defense)

    def attack(self, attack, *against):
        """Attack the test faces, and note what the attack reports; None if it could not be aimed."""
        made = self.get("attacked", attack, *against)
        if not made:
            return None
        report = {name: made[name] for name in REPORTED}
        self.note("perturbations", attack=attack, against=against_label(*against), changed=made["changed"], **report)
        return made["X"]

    def recognise(self, attack=CLEAN, *against, defense=UNDEFENDED):
        """Note what a model predicts of test faces, attacked or not; return the labels."""
        found = self.get("recognised", defense, attack, *against)
        self.note("predictions", attack=attack, against=against_label(*against), defense=defense, **found)
        return found["predicted"]

    def note(self, table, **columns):
        """Take down a row an image; see `_records`."""
        self.recorder.note(table, **columns)

    def _keep_example(self):
        """One face through everything: the best lit of those that the network knows, if it knows any."""
        light = np.median(self.X.reshape(len(self.X), -1), axis=1)
        i = int(np.argmax(light + (self._predicted(UNDEFENDED, CLEAN) == self.y)))
        attacked = {name: self.get("attacked", name, NETWORK)["X"][i] for name in self.plan.attack}
        pairs = [(name, defense) for name in attacked for defense in self.plan.defense]
        self.example = Bunch(
            face=self.X[i],
            name=self._name(self.y[i]),
            before=self._name(self._predicted(UNDEFENDED, CLEAN)[i]),
            attacked=attacked,
            after={name: self._name(self._predicted(UNDEFENDED, name, NETWORK)[i]) for name in attacked},
            mitigated={(name, defense): _cleaned(self.model(defense), attacked[name][None])[0]
                       for name, defense in pairs},
            repaired={(name, defense): self._name(self._predicted(defense, name, NETWORK)[i]) for name, defense in pairs},
        )  # fmt: skip

    def _predicted(self, *which):
        return self.get("recognised", *which)["predicted"]

    def _name(self, label):
        return self.names.get(label, str(label))

    def seeded(self, estimator):
        """The estimator itself, its chance bound to the pass."""
        return estimator.set_params(random_state=self.seed) if "random_state" in estimator.get_params() else estimator

    def say(self, text):
        say(text, enabled=self.verbose)


def against_label(kind=CLEAN, *names):
    """What the records call that which an attack is against."""
    if kind == "defense":
        return names[0]
    if kind == "detector":
        return f"the network and {names[0]}"
    if kind == "guard":
        detector, then = names
        return f"{then} where {detector} flags"
    return kind


def _cleaned(pipeline, X):
    """What the network behind a mitigation sees; another classifier sees the images themselves."""
    return pipeline[:-1].transform(X) if len(pipeline) > 1 else X
