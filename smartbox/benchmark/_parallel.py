"""The pieces of a run made by several processes, which hand them over through the store."""

import hashlib
import sys
from dataclasses import dataclass

import joblib
import numpy as np
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from smartbox._progress import say
from smartbox.benchmark import _making as making
from smartbox.benchmark._keys import key_of, n_threads, parents_of
from smartbox.benchmark._one_seed import CLEAN, NETWORK, UNDEFENDED
from smartbox.benchmark._signs import searches
from smartbox.benchmark._store import Store
from smartbox.benchmark._trainings import trainings_of
from smartbox.defenses._retrained import RetrainedClassifier

_TRIES = 3  # after workers have died
_DEATHS = (
    "TerminatedWorkerError",
    "BrokenProcessPool",
)  # named, not imported: joblib's copy of loky has no public name


@dataclass
class Order:
    """What a worker needs to make a pass of its own."""

    folder: str
    data: str
    plan: Bunch
    seed: int
    keys: dict
    threads: int

    def begin(self):
        """The pass, with the faces out of the store."""
        from smartbox.benchmark._pass import Pass

        store = Store(self.folder)
        faces = store.get(self.data)
        one = Pass(faces["images"], faces["target"], {}, self.plan, self.seed, store=store, keys=self.keys)
        one.split()
        return one


def make_all(passes, store, *, n_jobs, verbose=0):
    """Make every piece of some passes that is not in the store, those first that others are made of.

    Times are left to the process itself, when all is quiet. A worker that dies is replaced, and what is left tried again.

    Parameters
    ----------
    passes : list of Pass
        Each with its faces parted; all of the same faces.
    store : Store
    n_jobs : int
        As of joblib.

    Returns
    -------
    done : bool
        False if the store could not take the faces, so that nobody could hand over anything.
    """
    data = hashlib.sha256(passes[0].data_key.encode()).hexdigest()
    if not store.path(data).exists() and not store.put(data, {"images": passes[0].images, "target": passes[0].target}):
        return False
    waves = {}
    for one in passes:
        levels = _levels(one)
        keys = {piece: key_of(one, piece) for piece in levels}
        order = Order(str(store.folder), data, one.plan, one.seed, keys, n_threads())
        for piece, level in levels.items():
            waves.setdefault(level, []).append((order, piece))
    for level in sorted(waves):
        _make_wave(waves[level], store, n_jobs, f"wave {level + 1} of {len(waves)}", verbose)
    return True


def _make_wave(wave, store, n_jobs, what, verbose):
    for attempt in range(1 + _TRIES):
        left = [(order, piece) for order, piece in wave if not store.path(order.keys[piece]).exists()]
        if not left:
            return
        tasks = _tasks(left)
        say(f"{what}: {len(left)} pieces in {len(tasks)} tasks", enabled=verbose)
        try:
            with joblib.parallel_config(backend="loky", inner_max_num_threads=n_threads()):
                joblib.Parallel(n_jobs=n_jobs, batch_size=1)(joblib.delayed(_work)(*task) for task in tasks)
            return
        except Exception as error:
            if type(error).__name__ not in _DEATHS or attempt == _TRIES:
                raise
            say(f"{what}: a worker died ({type(error).__name__}); trying what is left again", enabled=verbose)


def _tasks(left):
    """Pieces that are made together: scores of the same faces, since detectors can share a pass over the network."""
    together = {}
    for order, piece in left:
        kind, *which = piece
        key = (order.seed, kind, *which[2:]) if kind == "scored" else (order.seed, *piece)
        together.setdefault(key, (order, []))[1].append(piece)
    return list(together.values())


_passes = {}  # of a worker, the last one: so that a network is compiled once


def _work(order, pieces):
    """In a worker: make some pieces, which stay in the store."""
    _like_the_others(order.threads)
    key = order.folder, order.data, order.seed, joblib.hash(order.keys)
    if key not in _passes:
        _passes.clear()
        _passes[key] = order.begin()
    one = _passes[key]
    with threadpool_limits(order.threads):  # of NumPy's products
        if all(_can_be_made(one, piece) for piece in pieces):
            if pieces[0][0] == "scored":
                _, _, _, *faces = pieces[0]
                making.score_together(one, [piece[1:3] for piece in pieces], *faces)
            else:
                one.get(*pieces[0])
    for piece in [piece for piece, value in one.pieces.items() if isinstance(value, dict)]:
        del one.pieces[piece]  # images of many attacks would fill the memory


def _can_be_made(one, piece):
    """Not of images that there are none of, since what they were to be made against has no gradient."""
    return all(parent[0] != "attacked" or one.get(*parent) for parent in parents_of(one, piece))


def _like_the_others(threads):
    """TensorFlow with as many threads as in the process that gave the order: how many there are decides the last bits of a
    network's training. Where it runs already nothing can be changed.
    """
    if "tensorflow" not in sys.modules:
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)


def _levels(one):
    """Every piece that a pass will ask for, but for times, and how many others stand before it in a row."""
    levels = {}

    def visit(piece):
        if piece not in levels:
            levels[piece] = 1 + max((visit(parent) for parent in parents_of(one, piece)), default=-1)
        return levels[piece]

    for piece in _asked_for(one.plan):
        visit(piece)
    return levels


def _asked_for(plan):
    defenses, attacks = list(plan.defense), list(plan.attack)
    for defense in (UNDEFENDED, *defenses):
        yield "recognised", defense, CLEAN
        for attack in attacks:
            yield "recognised", defense, attack, NETWORK
    for defense in defenses:
        for attack in attacks if plan.adaptive else ():
            yield "recognised", defense, attack, "defense", defense
        if plan.check_masking:
            yield from (("searched", defense, first) for first in set(searches(plan.attack).values()))
    if not plan.detector:
        return
    for label, _, met in trainings_of(plan):
        for name in plan.detector:
            yield "scored", name, label, CLEAN
            for attack in met:
                yield "scored", name, label, attack, NETWORK
                if plan.protocol == "committed" and plan.adaptive:
                    yield "scored", name, label, attack, "detector", name
                    yield "recognised", UNDEFENDED, attack, "detector", name
    if plan.guard:
        mitigating = [name for name in defenses if not isinstance(plan.defense[name], RetrainedClassifier)]
        for detector in plan.detector:
            for then in (making.REJECTION, *mitigating):
                yield "guarded", detector, then, CLEAN
                for attack in attacks:
                    yield "guarded", detector, then, attack, NETWORK
                    against = ("detector", detector) if then == making.REJECTION else ("guard", detector, then)
                    yield "guarded", detector, then, attack, *against


def can_share(n_jobs):
    """Whether there is more than one worker."""
    return n_jobs is not None and joblib.effective_n_jobs(n_jobs) > 1


def check_n_jobs(n_jobs):
    """Raise a ValueError unless it is a number of workers."""
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0):
        raise ValueError(f"expected n_jobs as a number of workers, -1 for all cores, or None, got {n_jobs!r}.")
