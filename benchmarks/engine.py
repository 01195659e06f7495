"""Speed of one gradient: SmartBox's engine against an eager GradientTape, in one run and in alternation.

Run ``python benchmarks/engine.py``. Every setting of oneDNN gets a process of its own, since TensorFlow reads it once. The
paper's network, faces of 96 x 84 pixels; ratios are what counts, seconds depend on the machine.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time

SETTINGS = {"as installed": None, "oneDNN off": "0", "oneDNN on": "1"}


def measure(rounds, batches):
    """Median seconds of a gradient by each way and batch; the ways alternate, so that a busy machine slows both alike."""
    # TensorFlow goes first: imported before it, smartbox would turn oneDNN on where the setting says nothing.
    import tensorflow as tf  # isort: skip
    import keras
    import numpy as np
    from tensorflow.python.util._pywrap_util_port import IsMklEnabled

    from smartbox import FaceClassifier
    from smartbox.networks import paper_network

    keras.utils.set_random_seed(0)
    network = paper_network((96, 84, 1), 38)
    face = FaceClassifier.from_network(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")

    def eager(X, y):
        x = tf.convert_to_tensor(X)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(y, network(x, training=False))
        return tape.gradient(value, x).numpy()

    def engine(X, y):
        return face.value_and_gradient(X, y, "cross_entropy")[2]

    rng = np.random.default_rng(0)
    sets = {n: (rng.uniform(size=(n, 96, 84, 1)).astype(np.float32), rng.integers(0, 38, n)) for n in batches}
    started, before = time.perf_counter(), peak_mb()
    engine(*sets[batches[0]])
    first = time.perf_counter() - started
    for X, y in sets.values():
        engine(X, y)
    engine_mb = peak_mb() - before
    seconds = {}
    for n, (X, y) in sets.items():
        ours = engine(X, y)
        np.testing.assert_allclose(ours, eager(X, y), atol=1e-4 * np.abs(ours).max())
        times = {"eager": [], "engine": []}
        for _ in range(rounds):
            for name, way in (("eager", eager), ("engine", engine)):
                started = time.perf_counter()
                way(X, y)
                times[name].append(time.perf_counter() - started)
        seconds[n] = {name: float(np.median(values)) for name, values in times.items()}
    return {
        "seconds": seconds,
        "first_call": first,
        "traces": face.pass_counts()["traces"],
        "onednn": bool(IsMklEnabled()),
        "engine_mb": engine_mb,
        "eager_mb": peak_mb() - before,
    }


def peak_mb():
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_setting(value, arguments):
    """The measurements of a fresh process."""
    environment = {key: word for key, word in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    environment.update({"TF_CPP_MIN_LOG_LEVEL": "3"}, **({} if value is None else {"TF_ENABLE_ONEDNN_OPTS": value}))
    command = [sys.executable, "-W", "ignore", __file__, "--worker", *arguments]
    return json.loads(
        subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 128, 264])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.rounds, options.batches)))
        return
    arguments = ["--rounds", str(options.rounds), "--batches", *map(str, options.batches)]
    found = {name: run_setting(value, arguments) for name, value in SETTINGS.items()}
    print(
        f"Gradient of the paper's network, 96 x 84 faces; {platform.processor() or platform.machine()}, {os.cpu_count()} cores\n"
    )
    print(
        "| TensorFlow | oneDNN | faces | eager tape, s | engine, s | ratio | first call, s | traces | engine, MB | tape, MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, result in found.items():
        for n, row in result["seconds"].items():
            print(
                f"| {name} | {'on' if result['onednn'] else 'off'} | {n} | {row['eager']:.4f} | {row['engine']:.4f} | "
                f"{row['eager'] / row['engine']:.2f} | {result['first_call']:.2f} | {result['traces']} | "
                f"{result['engine_mb']:.0f} | {result['eager_mb']:.0f} |"
            )
    best, worst = found["oneDNN on"]["seconds"], found["oneDNN off"]["seconds"]
    print()
    for n in best:
        print(
            f"{n} faces: the engine with oneDNN takes 1/{worst[n]['eager'] / best[n]['engine']:.2f} of the eager tape without it."
        )


if __name__ == "__main__":
    main()
