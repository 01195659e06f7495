"""The pieces of a run made by several processes, which hand them over through the store."""

import hashlib
import platform
from contextlib import nullcontext
from dataclasses import dataclass

import joblib
import numpy as np
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from smartbox._progress import say
from smartbox._quiet_start import import_tensorflow_quietly
from smartbox.benchmark import _making as making
from smartbox.benchmark._journal import Journal
from smartbox.benchmark._keys import key_of, n_threads, parents_of
from smartbox.benchmark._pieces import levels_of
from smartbox.benchmark._store import Store

_TRIES = 3  # after workers have died
# Named, not imported: joblib's copy of loky has no public name, and not everybody has dask.
_DEATHS = ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker")


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
        if faces is None:
            raise OSError(
                f"a worker on {platform.node()} finds no faces in the cache {store.folder}: expected a folder that all workers "
                "see at the same path; choose one with --cache (in Python cache=)."
            )
        one = Pass(faces["images"], faces["target"], {}, self.plan, self.seed, store=store, keys=self.keys)
        one.split()
        return one


def make_all(passes, store, *, n_jobs, journal, verbose=0):
    """Make every piece of some passes that is not in the store, those first that others are made of.

    Times are left to the process itself, when all is quiet. A worker that dies is replaced, and what is left tried again.

    Parameters
    ----------
    passes : list of Pass
        Each with its faces parted; all of the same faces.
    store : Store
    n_jobs : int
        As of joblib.
    journal : Journal

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
        levels = levels_of(one)
        keys = {piece: key_of(one, piece) for piece in levels}
        order = Order(str(store.folder), data, one.plan, one.seed, keys, n_threads())
        for piece, level in levels.items():
            waves.setdefault(level, []).append((order, piece))
    with _workers():
        most = max(len(_tasks(wave)) for wave in waves.values())  # the others would have nothing to do
        journal.n_workers = min(joblib.effective_n_jobs(-1 if n_jobs is None else n_jobs), most)
        for level in sorted(waves):
            _make_wave(waves[level], store, f"wave {level + 1} of {len(waves)}", journal, verbose)
    journal.n_workers = 1
    return True


def _make_wave(wave, store, what, journal, verbose):
    for attempt in range(1 + _TRIES):
        left = [(order, piece) for order, piece in wave if not store.path(order.keys[piece]).exists()]
        if not left:
            return
        tasks = _tasks(left)
        say(f"{what}: {len(left)} pieces in {len(tasks)} tasks", enabled=verbose)
        try:
            work = joblib.Parallel(n_jobs=journal.n_workers, batch_size=1, return_as="generator_unordered")
            for made in work(joblib.delayed(_work)(*task) for task in tasks):
                for each in made:
                    journal.made(*each)
            return
        except Exception as error:
            if type(error).__name__ not in _DEATHS or attempt == _TRIES:
                raise
            say(f"{what}: a worker died ({type(error).__name__}); trying what is left again", enabled=verbose)


def _workers():
    """A cluster if the caller has chosen one for joblib; else processes here."""
    if _is_cluster():
        return nullcontext()
    return joblib.parallel_config(backend="loky", inner_max_num_threads=n_threads())


def _is_cluster():
    """Other backends of joblib are not asked: threads would share what a worker keeps, and TensorFlow must not be forked."""
    backend, _ = joblib.parallel.get_active_backend()
    return type(backend).__name__ == "DaskDistributedBackend"


def alone():
    """Within the block a pass does its own work, and a cluster is not asked for the small things that scikit-learn shares out."""
    return joblib.parallel_config(backend="sequential") if _is_cluster() else nullcontext()


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
    """In a worker: make some pieces, which stay in the store; return seed, piece and seconds of all that had to be made."""
    _like_the_others(order.threads)
    key = order.folder, order.data, order.seed, joblib.hash(order.keys)
    if key not in _passes:
        _passes.clear()
        _passes[key] = order.begin()
    one = _passes[key]
    one.journal = Journal()
    with threadpool_limits(order.threads), joblib.parallel_config(backend="sequential"):  # of NumPy's products; no tasks of tasks
        if all(_can_be_made(one, piece) for piece in pieces):
            if pieces[0][0] == "scored":
                _, _, _, *faces = pieces[0]
                making.score_together(one, [piece[1:3] for piece in pieces], *faces)
            else:
                one.get(*pieces[0])
    for piece in [piece for piece, value in one.pieces.items() if isinstance(value, dict)]:
        del one.pieces[piece]  # images of many attacks would fill the memory
    return one.journal.all_made


def _can_be_made(one, piece):
    """Not of images that there are none of, since what they were to be made against has no gradient."""
    return all(parent[0] != "attacked" or one.get(*parent) for parent in parents_of(one, piece))


def _like_the_others(threads):
    """TensorFlow with as many threads as in the process that gave the order: how many there are decides the last bits of a
    network's training. Where it runs already nothing can be changed.
    """
    import_tensorflow_quietly(threads)


def can_share(n_jobs):
    """Whether there is more than one worker."""
    return _is_cluster() or (n_jobs is not None and joblib.effective_n_jobs(n_jobs) > 1)


def check_n_jobs(n_jobs, name="n_jobs", unset="None"):
    """Raise a ValueError unless it is a number of workers."""
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0):
        raise ValueError(f"expected {name} as a number of workers, -1 for all cores, or {unset}, got {n_jobs!r}.")
