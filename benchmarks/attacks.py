"""SmartBox's attacks beside those of ART and Foolbox: same network, images, budget and steps, in one run.

Run ``pip install ".[bench]" && python benchmarks/attacks.py``. Each attack of each library runs in a process of its own, so that
compilation and memory are its own: once cold, once warm. Success and sizes are computed alike from what comes back; a failed
image counts as infinitely far. The sample model and built-in faces unless ``--model`` and ``--data`` say otherwise.

SmartBox appears with the same steps as the others and, below, with fewer or with a start of its own. The last table sets the
quickest of its rows that is not worse than the better of the others (success not lower, median of what the attack minimises not
larger) against the quicker of the others, both first calls.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

# Budgets: linf sizes suit a network whose faces fall at 1/255 to 8/255. "measure" is the size that an attack minimises.
ATTACKS = {
    "FGSM linf": {"measure": None, "eps": 8 / 255},
    "PGD-40 linf": {"measure": None, "eps": 2 / 255, "steps": 40},
    "MI-FGSM": {"measure": None, "eps": 2 / 255, "steps": 10},
    "DeepFool l2": {"measure": "l2", "steps": 50},
    "C&W l2 5x100": {"measure": "l2", "steps": 100, "searches": 5},
    "EAD l1 5x100": {"measure": "l1", "steps": 100, "searches": 5},
    "DDN 100": {"measure": "l2", "steps": 100},
}
LIBRARIES = ("smartbox", "foolbox", "art")


# SmartBox's own ways to the same quality, beside the others' settings: "" is the latter.
VARIANTS = {
    "PGD-40 linf": {"20 steps": {"max_iter": 20}, "10 steps": {"max_iter": 10}},
    "DeepFool l2": {"3 candidates": {"n_candidates": 3}},
    "C&W l2 5x100": {"from DDN": {"init": "ddn", "initial_const": "auto"}},
    "EAD l1 5x100": {"from FMN": {"init": "fmn", "initial_const": "auto"}},
    "DDN 100": {"25 steps, auto": {"max_iter": 25, "init_eps": "auto"}},
}


def with_smartbox(network, attack, setting, variant=""):
    from smartbox import FaceClassifier, attacks

    face = FaceClassifier.from_network(network)
    eps, steps, searches = setting.get("eps"), setting.get("steps"), setting.get("searches")
    name, parameters = {
        "FGSM linf": ("FGSM", {"eps": eps}),
        "PGD-40 linf": ("PGD", {"eps": eps, "max_iter": steps, "random_state": 0}),
        "MI-FGSM": ("MIFGSM", {"eps": eps, "max_iter": steps}),
        "DeepFool l2": ("DeepFool", {"max_iter": steps}),
        "C&W l2 5x100": ("CarliniL2", {"max_iter": steps, "binary_search_steps": searches}),
        "EAD l1 5x100": ("EAD", {"decision_rule": "l1", "max_iter": steps, "binary_search_steps": searches}),
        "DDN 100": ("DDN", {"max_iter": steps}),
    }[attack]
    return getattr(attacks, name)(face, **(parameters | VARIANTS.get(attack, {}).get(variant, {}))).generate


def with_foolbox(network, attack, setting):
    import foolbox
    import tensorflow as tf

    model = foolbox.TensorFlowModel(network, bounds=(0, 1))
    steps, searches = setting.get("steps"), setting.get("searches")
    fa = foolbox.attacks
    make = {
        "FGSM linf": lambda: fa.LinfFastGradientAttack(),
        "PGD-40 linf": lambda: fa.LinfProjectedGradientDescentAttack(steps=steps, rel_stepsize=2.5 / steps),
        "DeepFool l2": lambda: fa.L2DeepFoolAttack(steps=steps),
        "C&W l2 5x100": lambda: fa.L2CarliniWagnerAttack(binary_search_steps=searches, steps=steps),
        "EAD l1 5x100": lambda: fa.EADAttack(
            binary_search_steps=searches, steps=steps, regularization=1e-3, decision_rule="L1"
        ),
        "DDN 100": lambda: fa.DDNAttack(steps=steps),
    }[attack]
    attacker = make()

    def generate(X, y):
        _, clipped, _ = attacker(model, tf.constant(X), tf.constant(y.astype(np.int64)), epsilons=setting.get("eps"))
        return clipped.numpy()

    return generate


def with_art(network, attack, setting):
    import keras
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    classifier = TensorFlowV2Classifier(
        model=network,
        nb_classes=network.output_shape[-1],
        input_shape=network.input_shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )
    eps, steps, searches = setting.get("eps"), setting.get("steps"), setting.get("searches")
    quiet = {"verbose": False}
    make = {
        "FGSM linf": lambda: evasion.FastGradientMethod(classifier, eps=eps, batch_size=128),
        "PGD-40 linf": lambda: evasion.ProjectedGradientDescent(
            classifier, eps=eps, eps_step=2.5 * eps / steps, max_iter=steps, num_random_init=1, batch_size=128, **quiet
        ),
        "MI-FGSM": lambda: evasion.MomentumIterativeMethod(
            classifier, eps=eps, eps_step=eps / steps, max_iter=steps, batch_size=128, **quiet
        ),
        "DeepFool l2": lambda: evasion.DeepFool(classifier, max_iter=steps, epsilon=0.02, batch_size=128, **quiet),
        "C&W l2 5x100": lambda: evasion.CarliniL2Method(
            classifier, binary_search_steps=searches, max_iter=steps, batch_size=128, **quiet
        ),
        "EAD l1 5x100": lambda: evasion.ElasticNet(
            classifier, binary_search_steps=searches, max_iter=steps, decision_rule="L1", batch_size=128, **quiet
        ),
    }[attack]
    attacker = make()
    return lambda X, y: attacker.generate(X, y)


WITH = dict(zip(LIBRARIES, (with_smartbox, with_foolbox, with_art), strict=True))


class PeakMemory:
    """``mb``: the most memory held inside the ``with`` block above that held at its start, sampled fifty times a second."""

    def __enter__(self):
        self.mb, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self):
        process = psutil.Process()
        start = process.memory_info().rss
        while not self._ended.wait(0.02):
            self.mb = max(self.mb, (process.memory_info().rss - start) / 2**20)

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def work(library, attack, variant, folder):
    """One attack of one library, cold and warm; a line of JSON."""
    import smartbox  # noqa: F401, I001 - first, as its users import it
    import keras

    with np.load(folder / "faces.npz") as file:
        X, y = file["X"], file["y"]
    network = keras.saving.load_model(folder / "network.keras", compile=False)
    network.predict(X[:2], verbose=0)  # the library itself is loaded; its own functions are not
    seconds = []
    with PeakMemory() as memory:
        of_its_own = {"variant": variant} if library == "smartbox" else {}
        generate = WITH[library](network, attack, ATTACKS[attack], **of_its_own)
        for _ in range(2):
            started = time.perf_counter()
            X_adv = generate(X, y)
            seconds.append(time.perf_counter() - started)
    X_adv = np.asarray(X_adv, dtype=np.float32).reshape(X.shape)
    won = network.predict(X_adv, verbose=0).argmax(axis=1) != y
    delta = np.abs(X_adv.astype(np.float64) - X).reshape(len(X), -1)
    sizes = {"l1": delta.sum(axis=1), "l2": np.sqrt((delta**2).sum(axis=1)), "linf": delta.max(axis=1)}
    medians = {norm: float(np.median(np.where(won, size, np.inf))) for norm, size in sizes.items()}
    print(
        json.dumps({"cold": seconds[0], "warm": seconds[1], "mb": memory.mb, "success": float(won.mean()), **medians})
    )


def run(library, attack, variant, folder, onednn, limit):
    """The result of a worker, or why there is none."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if onednn is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = onednn
    command = [sys.executable, "-W", "ignore", __file__, "--work", library, attack, variant, str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done twice in {limit:.0f} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message"
        return {"failed": "no such attack" if last.startswith("KeyError") else last[:80]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def prepare(options, folder):
    """The faces, those that the network gets right, and the network, where the workers find them."""
    import smartbox
    from smartbox import FaceProtocol
    from smartbox.datasets import load_extended_yale_b, make_faces

    face = smartbox.load(options.model) if options.model else smartbox.load_sample_model()
    faces = load_extended_yale_b(options.data) if options.data else make_faces()
    _, _, test = FaceProtocol(random_state=options.seed).split(faces.target)
    X, y = np.array(faces.images[test]), np.searchsorted(face.classes_, faces.target[test])
    right = np.flatnonzero(face.classes_[y] == face.predict(X))[: options.images]
    np.savez(folder / "faces.npz", X=X[right], y=y[right])
    face.network_.save(folder / "network.keras")


def cell(result, name, attack):
    if "failed" in result:
        return [name, result["failed"], *[""] * 6]
    return [name, f"{100 * result['success']:.1f}", *(f"{result[norm]:.4g}" for norm in ("l1", "l2", "linf")),
            f"{result['cold']:.2f}", f"{result['warm']:.2f}", f"{result['mb']:.0f}"]  # fmt: skip


def not_worse(ours, theirs, measure):
    """Whether success is no lower and the median of what is minimised no larger."""
    return ours["success"] >= theirs["success"] and (measure is None or ours[measure] <= theirs[measure])


def verdict(attack, results):
    """A line of the last table from the results of one attack by ``(library, variant)``, or None."""
    measure = ATTACKS[attack]["measure"]
    done = {key: result for key, result in results.items() if "failed" not in result}
    peers = {key: result for key, result in done.items() if key[0] != "smartbox"}
    if not peers:
        return [attack, "no other library was done", "", "", "", ""]
    better = max(peers.values(), key=lambda peer: (peer["success"], -peer[measure] if measure else 0))
    quicker, quickest = min(((key[0], peer["cold"]) for key, peer in peers.items()), key=lambda pair: pair[1])
    equal = {key[1]: one for key, one in done.items() if key[0] == "smartbox" and not_worse(one, better, measure)}
    if not equal:
        return [attack, "no row of SmartBox is as good", "", "", "", ""]
    way, ours = min(equal.items(), key=lambda pair: pair[1]["cold"])
    quality = f"{ours[measure] / better[measure]:.2f}" if measure else ""
    gain = f"{100 * (ours['success'] - better['success']):+.1f}"
    return [attack, way or "same steps", gain, quality, f"{quicker} {quickest:.1f}", f"{quickest / ours['cold']:.1f}"]


def line(cells):
    print(f"| {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--model", type=Path, help="what FaceClassifier.save wrote; with --data")
    parser.add_argument("--data", type=Path, help="the Extended Yale B archive")
    parser.add_argument("--seed", type=int, default=0, help="of the protocol's split")
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS), choices=list(ATTACKS), metavar="ATTACK")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one attack of one library, cold and warm")
    parser.add_argument("--onednn", choices=["0", "1"], help="set oneDNN alike for all; as installed unless given")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        library, attack, variant, folder = options.work
        work(library, attack, variant, Path(folder))
        return
    verdicts = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(options, folder)
        line(
            [
                "attack",
                "library",
                "success, %",
                "median l1",
                "median l2",
                "median linf",
                "first call, s",
                "warm, s",
                "memory, MB",
            ]
        )
        line(["---"] * 9)
        for attack in options.attacks:
            ways = [("smartbox", way) for way in ("", *VARIANTS.get(attack, {}))]
            results = {}
            for library, way in [*ways, *((library, "") for library in LIBRARIES[1:])]:
                results[library, way] = run(library, attack, way, folder, options.onednn, options.limit)
                line([attack, *cell(results[library, way], f"{library}, {way}" if way else library, attack)])
            verdicts.append(verdict(attack, results))
    print()
    line(
        [
            "attack",
            "SmartBox's way",
            "success, points more",
            "median over theirs",
            "quicker of the others, s",
            "times as fast",
        ]
    )
    line(["---"] * 6)
    for cells in verdicts:
        line(cells)


if __name__ == "__main__":
    main()
