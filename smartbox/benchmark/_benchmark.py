"""The benchmark as an object: one pass over a face database for each seed."""

from contextlib import ExitStack
from tempfile import TemporaryDirectory

import numpy as np

from smartbox._checks import check_images
from smartbox.benchmark._journal import Journal
from smartbox.benchmark._parallel import alone, can_share, check_n_jobs, make_all
from smartbox.benchmark._pass import Pass
from smartbox.benchmark._pieces import levels_of
from smartbox.benchmark._plan import check_detector_layers, check_image_size, make_plan
from smartbox.benchmark._results import Results, provenance
from smartbox.benchmark._store import Store
from smartbox.protocol import check_identities


class Benchmark:
    """The SmartBox paper's experiment on any faces, with attacks that know the defences beside those that do not.

    Parameters
    ----------
    faces : Bunch
        With ``images`` ``(n, height, width, channels)`` in [0, 1] and ``target`` ``(n,)``, as every loader returns;
        at least ten images of each identity.
    attacks : sequence of str, default=("fgsm", "pgd")
        Names as ``smartbox list`` shows them; one that has an eps also with it, ``"pgd@2/255"``, so that a run may have several.
        AutoAttack meets mitigations with chance in its version "rand".
    defenses : sequence of str, default=("gaussian_blur",)
        Mitigations: of images, or classifiers that take the network's place. Those that learn do so from the run's attacks;
        "randomized_smoothing" stands on a network that is trained anew with its noise.
    detectors : sequence of str, default=("pca",)
        How they are trained and met says ``protocol``.
    parameters : dict, optional
        ``{"attack.fgsm.eps": 0.03, "network.epochs": 30}``: whatever is not to be the default.
    seeds : sequence of int, default=(0,)
        One pass for each: split, targets, claims, training and attacks.
    protocol : {"committed", "paper", "cross"}, default="committed"
        Of the detectors. "committed": each is trained once, on all attacks together, its threshold flags 5 % of the
        clean validation faces, and it meets attacks that are unaware and aware of it. "paper": one for each attack, with
        the boundary of its own classifier, met by that attack alone. "cross": trained on each attack, on all together and on
        all but one, each with a committed threshold, met by every attack; all are unaware.
    detector_faces : int, optional
        Training faces that are attacked for the detectors. None takes all.
    guard : bool, default=False
        Also measure the network with each detector and each mitigation together (`GuardedClassifier`), and with rejection, under
        attacks that know all of it; under the committed protocol.
    check_masking : bool, default=False
        Also look, by a random search on up to 32 faces, whether there are adversarial images that an attack by gradients does
        not find behind a mitigation. Other signs of masked gradients cost nothing and are always looked for.
    adaptive : bool, default=True
        Also let each attack meet each mitigation and each committed detector knowing of it. False leaves that out, which takes
        most of a run's time: figures of attacks that know nothing are far too friendly to most mitigations.
    cache : path, optional
        Folder that keeps what a run is made of (trained networks, adversarial sets, fitted defences and detectors, predictions),
        so that nothing is computed twice: a run that was killed goes on, and one with more attacks, mitigations, detectors
        or seeds computes only those. Several runs may share it. None keeps nothing.
    n_jobs : int, optional
        Processes that share the work, -1 for as many as there are cores; they hand over by ``cache``, or a temporary folder.
        Each has as many threads as this process, since their number decides the last bits of a training. None is one. Within
        ``joblib.parallel_config(backend="dask")`` the workers of the cluster share it, all that there are unless a number is
        given; they must all see the cache at its path. Results are saved seed after seed only once all is made.
    verbose : int, default=0
        Above 0 shows progress. The logger ``smartbox`` is told it anyway: of each piece of the run what it took, how far the
        whole is and what is left, in words and in the record's ``event``.

    Examples
    --------
    >>> from smartbox.benchmark import Benchmark
    >>> from smartbox.datasets import make_faces
    >>> faces = make_faces(n_identities=4, n_images=12, image_shape=(32, 28))
    >>> results = Benchmark(faces, attacks=["fgsm"], parameters={"network.epochs": 2}).run()
    >>> sorted(results.tables)
    ['attacks', 'detection', 'guard', 'mitigation']
    """

    def __init__(
        self,
        faces,
        *,
        attacks=("fgsm", "pgd"),
        defenses=("gaussian_blur",),
        detectors=("pca",),
        parameters=None,
        seeds=(0,),
        protocol="committed",
        detector_faces=None,
        guard=False,
        check_masking=False,
        adaptive=True,
        cache=None,
        n_jobs=None,
        verbose=0,
    ):
        self.faces = faces
        self.attacks = attacks
        self.defenses = defenses
        self.detectors = detectors
        self.parameters = parameters
        self.seeds = seeds
        self.protocol = protocol
        self.detector_faces = detector_faces
        self.guard = guard
        self.check_masking = check_masking
        self.adaptive = adaptive
        self.cache = cache
        self.n_jobs = n_jobs
        self.verbose = verbose

    def run(self):
        """Run all seeds.

        Returns
        -------
        results : Results
            ``tables``: lists of rows by name; ``provenance``; ``examples``: images for the picture.

        Raises
        ------
        ValueError
            If a name or a parameter is unknown, with the nearest one that is known, or the faces are too few. All
            that is checked before any work is done.
        """
        *_, results = self.passes()
        return results

    def passes(self):
        """Run seed after seed, so that what is done can be kept before the next begins.

        Yields
        ------
        results : Results
            Of the seeds that are complete: the same object each time, grown by one seed.

        Raises
        ------
        ValueError
            As `run`.
        """
        plan = make_plan(attacks=self.attacks, defenses=self.defenses, detectors=self.detectors,
                         parameters=self.parameters, seeds=self.seeds, protocol=self.protocol,
                         detector_faces=self.detector_faces, guard=self.guard,
                         check_masking=self.check_masking, adaptive=self.adaptive)  # fmt: skip
        X, y, names = _check_faces(self.faces)
        check_image_size(plan, X.shape[1:3])
        check_detector_layers(plan.detector.values(), plan.network, X.shape[1:], len(np.unique(y)))
        results = Results(provenance=provenance(X, y, plan, getattr(self.faces, "DESCR", "")))
        check_n_jobs(self.n_jobs)
        with ExitStack() as stack:
            folder = self.cache
            if folder is None and can_share(self.n_jobs):
                folder = stack.enter_context(TemporaryDirectory())
            store, sha1 = None if folder is None else Store(folder), results.provenance["data"]["sha1"]
            made = [Pass(X, y, names, plan, seed, self.verbose, store=store, data_key=sha1) for seed in plan.seeds]
            for one in made if can_share(self.n_jobs) else made[:1]:
                one.split()
            planned = [*levels_of(made[0]), *(("costs", name) for name in plan.detector)]
            journal = Journal(planned, plan.seeds, self.verbose)
            for one in made:
                one.journal = journal
            if can_share(self.n_jobs):
                make_all(made, store, n_jobs=self.n_jobs, journal=journal, verbose=self.verbose)
            for i, one in enumerate(made):
                with alone():
                    one.run()
                results.merge(one)
                made[i] = one = None  # its images may fill the memory
                yield results


def _check_faces(faces):
    """Images, labels, and what to call each label; so that no fault shows up only after the training."""
    missing = [name for name in ("images", "target") if not hasattr(faces, name)]
    if missing:
        raise ValueError(
            "expected faces as a Bunch with images and target, such as make_faces() and the other "
            f"loaders return, got {type(faces).__name__} without {' and '.join(missing)}."
        )
    X, y = check_images(faces.images, name="faces.images"), np.asarray(faces.target)
    if y.shape != (len(X),):
        raise ValueError(f"expected faces.target of shape ({len(X)},), one label an image, got shape {y.shape}.")
    names = getattr(faces, "target_names", None)
    numbered = names is not None and y.dtype.kind in "iu" and y.min() >= 0 and y.max() < len(names)
    check_identities(np.asarray(names)[y] if numbered else y, "faces.target")  # too few images of one? by its name
    return X, y, (dict(enumerate(map(str, names))) if numbered else {})
