"""What a run of the bench costs with more images, more people, larger images and more workers.

Run ``python benchmarks/scaling.py``. From one middle size each of the four is varied alone, on synthetic faces; every run is a
new process without a cache of earlier runs. The seconds of each kind of piece come from the run's own journal, without those that
a piece waits for another; of several workers they are added up, so that they may be more than the whole.
"""

import argparse
import csv
import json
import logging
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MIDDLE = {"people": 20, "images": 30, "height": 96, "workers": 1}
VARIED = {"images": (15, 60), "people": (10, 40), "height": (48, 144), "workers": (2,)}
CHOICES = {
    "attacks": ["fgsm", "pgd"],
    "defenses": ["gaussian_blur"],
    "detectors": ["pca"],
    "parameters": {"network.epochs": 10, "attack.pgd.max_iter": 20},
}
# Columns of the table, by the kinds of pieces that they hold.
KINDS = {
    "training": ("network",),
    "attacks": ("attacked",),
    "detector": ("lesson", "detector", "costs"),
    "judging": ("defense", "recognised", "scored"),
}


class Seconds(logging.Handler):
    """Adds up what the pieces of a run take."""

    def __init__(self):
        super().__init__()
        self.of_kind = dict.fromkeys(KINDS, 0.0)

    def emit(self, record):
        event = getattr(record, "event", {})
        for name, kinds in KINDS.items():
            if event.get("event") == "piece" and event["piece"][0] in kinds:
                self.of_kind[name] += event["seconds"]


def measure(people, images, height, workers):
    """Seconds of a run and of its kinds of pieces, and the megabytes that the process held at most."""
    from smartbox.benchmark import Benchmark
    from smartbox.datasets import make_faces

    faces = make_faces(n_identities=people, n_images=images, image_shape=(height, height * 7 // 8))
    logger, seconds = logging.getLogger("smartbox"), Seconds()
    logger.setLevel(logging.INFO)
    logger.addHandler(seconds)
    begun = time.perf_counter()
    Benchmark(faces, **CHOICES, n_jobs=workers).run()
    whole = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of this process; workers hold theirs
    return {**seconds.of_kind, "whole": whole, "peak_mb": peak}


def sizes():
    """The middle size, then each change of it."""
    yield dict(MIDDLE)
    for name, values in VARIED.items():
        for value in values:
            yield {**MIDDLE, name: value}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="a CSV file for the table")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(**json.loads(options.worker))))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; seconds\n")
    rows = []
    for size in sizes():
        command = [sys.executable, __file__, "--worker", json.dumps(size)]
        out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        rows.append({**size, **{name: round(value, 1) for name, value in json.loads(out.splitlines()[-1]).items()}})
        if len(rows) == 1:
            print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
        print("| " + " | ".join(map(str, rows[-1].values())) + " |", flush=True)
    if options.out:
        with open(options.out, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
