"""Cost of an epoch of PGD-7 training on the paper's network against its gradient calls alone, in one run and in alternation.

Run ``python benchmarks/adversarial_training.py --data CroppedYale.zip``: the training faces of the Extended Yale B; without
``--data``, synthetic faces. The gradient calls alone are, for each batch of 32, as many bare calls of the engine's gradient as
PGD makes and one training step. Both ways begin at the same weights and alternate, so that a busy machine slows both alike;
ratios are what counts, seconds depend on the machine.
"""

import argparse
import os
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from smartbox import FaceClassifier, FaceProtocol
from smartbox._engine import engine_of
from smartbox._training import Lesson, _epoch, make_optimizer
from smartbox.attacks import PGD
from smartbox.datasets import load_extended_yale_b, make_faces
from smartbox.defenses._attacked_lessons import OwnAttackLesson, TradesLesson
from smartbox.networks import paper_network

BATCH_SIZE, SHAPE = 32, (96, 84)


class BareGradients(Lesson):
    """The gradient calls of PGD without the attack around them."""

    def __init__(self, engine, n_steps):
        self.engine = engine
        self.n_steps = n_steps

    def batch(self, X, index, rows):
        for _ in range(self.n_steps):
            self.engine.value_and_gradient(X[rows], index[rows], "odds")
        return X[rows], index[rows]


def faces_to_train(path, n_faces):
    """Training faces and their columns, at most ``n_faces`` of them."""
    n_images = -(-(n_faces or 1923) // 38) + 13  # a fifth of them is not for training
    faces = make_faces(n_images=n_images) if path is None else load_extended_yale_b(path, image_shape=SHAPE)
    train, _, _ = FaceProtocol(random_state=0).split(faces.target)
    train = np.random.RandomState(0).permutation(train)[:n_faces]
    return np.asarray(faces.images[train]), np.searchsorted(np.unique(faces.target), faces.target[train]).astype(
        np.int32
    )


def seconds_of(ways, X, index, rounds):
    """Seconds of an epoch by each way, a list of ``rounds``; a short epoch of each comes first, for compilation."""
    weight, found = np.ones(len(X), dtype=np.float32), {name: [] for name in ways}
    for turn in range(rounds + 1):
        n = len(X) if turn else BATCH_SIZE
        for name, (step, lesson) in ways.items():
            started = time.perf_counter()
            _epoch(step, lesson, X[:n], index[:n], weight[:n], BATCH_SIZE, np.random.RandomState(turn))
            if turn:
                found[name].append(time.perf_counter() - started)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="the Extended Yale B archive or its folder")
    parser.add_argument("--faces", type=int, help="training faces, all unless given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--eps", default="2/255")
    options = parser.parse_args()
    X, index = faces_to_train(options.data, options.faces)
    attack = PGD(None, eps=options.eps, max_iter=options.steps)
    ways, networks = {}, {}
    for name in ("gradient calls alone", "PGD training", "TRADES", "ordinary training"):
        network = networks[name] = paper_network(X.shape[1:], int(index.max()) + 1)
        network.set_weights(networks["gradient calls alone"].get_weights())
        engine = engine_of(network)
        lesson = {
            "gradient calls alone": lambda engine=engine: BareGradients(engine, options.steps),
            "PGD training": lambda: OwnAttackLesson(attack, 0, warm_up=0),
            "TRADES": lambda: TradesLesson(attack, 0, warm_up=0, beta=6.0),
            "ordinary training": Lesson,
        }[name]()
        lesson.begin(network, X, index, None)
        ways[name] = engine.train_step(make_optimizer("sgd", 0.01, 1000), lesson.objective, lesson.inputs), lesson
    found = seconds_of(ways, X, index, options.rounds)
    traces = {name: FaceClassifier.from_network(network).pass_counts()["traces"] for name, network in networks.items()}
    print(
        f"An epoch over {len(X)} faces of {SHAPE[0]} x {SHAPE[1]} in batches of {BATCH_SIZE}, {options.steps} steps of "
        f"{options.eps}; {platform.processor() or platform.machine()}, {os.cpu_count()} cores; median of {options.rounds}\n"
    )
    print("| way | s | of the gradient calls alone | traces |\n|---|---|---|---|")
    bare = np.array(found["gradient calls alone"])
    for name, seconds in found.items():
        print(f"| {name} | {np.median(seconds):.2f} | {np.median(np.array(seconds) / bare):.2f} | {traces[name]} |")
    ratio = np.median(np.array(found["PGD training"]) / bare)
    print(f"\nPGD training costs {ratio:.2f} times its gradient calls alone (at most 1.3 is wanted).")


if __name__ == "__main__":
    main()
