"""The records of one seed as arrays, by what they are about."""

import numpy as np
from sklearn.utils import Bunch

CLEAN = ""  # the attack, and what it knew, of images that nobody attacked
NETWORK = "network"  # what an attack is against that knows of no mitigation
UNDEFENDED = "none"
_KEYS = {
    "predictions": ("attack", "against", "defense"),
    "perturbations": ("attack", "against"),
    "scores": ("trained_on", "detector", "attack", "aware"),
    "guard": ("detector", "then", "attack", "against"),
    "searches": ("attack", "defense"),
    "detectors": ("trained_on", "detector"),
}


class OneSeed:
    """What the rows of a seed are computed from.

    Parameters
    ----------
    records : dict of DataFrame
        Of one seed.
    provenance : dict
        Of the run: its ``protocol``, and of its ``attacks`` what they aim at.

    Attributes
    ----------
    y, targets, claims, is_genuine : ndarray of shape (n,)
        Of the test faces.
    predictions, perturbations, scores, guard, searches, detectors : dict of Bunch
        Arrays by the key columns of the table, in the order of the records.
    attacks : dict of Bunch
        ``targeted``, and ``quicker``: attacks of one step that spend no more.
    defenses : list of str
    """

    def __init__(self, records, provenance):
        faces = _arrays(records["faces"])
        self.seed = int(faces.seed[0])
        self.y, self.targets, self.claims = faces.identity, faces.target, faces.claim
        self.is_genuine = faces.is_genuine == 1
        self.protocol = provenance["protocol"]
        for table, keys in _KEYS.items():
            setattr(self, table, _by(records[table], table, keys, len(self.y)))
        self.attacks = {name: Bunch(**about) for name, about in provenance["attacks"].items()}
        behind = [defense for attack, _, defense in self.predictions if attack == CLEAN]
        self.defenses = [defense for defense in behind if defense != UNDEFENDED]

    def predicted(self, attack, against, defense):
        """Labels that were predicted."""
        return self.predictions[attack, against, defense].predicted

    def right(self, predicted):
        """Per test face: whether the decision is right; a claim is accepted if and only if it is the prediction."""
        return {
            "verification": (predicted == self.claims) == self.is_genuine,
            "identification": predicted == self.y,
        }

    def won(self, attack, predicted):
        """Which faces the attack took, by its own aim."""
        targeted = self.attacks[attack].targeted
        return (predicted == (self.targets if targeted else self.y)) == targeted


def _by(frame, table, keys, n_faces):
    """Arrays by key, each checked for a row a face."""
    found = {}
    for key, rows in frame.groupby(list(keys), sort=False):
        found[key] = _arrays(rows)
        whole = table in ("searches", "detectors") or np.array_equal(found[key].face, np.arange(n_faces))
        if not whole:
            raise ValueError(
                f"the records of {table} lack faces, or have them twice, where {dict(zip(keys, key, strict=True))}"
            )
    return found


def _arrays(frame):
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    return Bunch(**{name: each.astype(str) if each.dtype == object else each for name, each in columns.items()})
