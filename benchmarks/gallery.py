"""Looking somebody up in a gallery: SmartBox against plain NumPy and FAISS, in one run and in alternation.

Run ``python benchmarks/gallery.py`` (``pip install ".[bench]"``). Synthetic templates on the unit sphere and probes near some of
them; what is timed is the search alone, from embeddings to the five nearest people. Memory is measured in a process of its own
for each way, above what that process holds with the templates and the probes loaded.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

WAYS = ("SmartBox", "NumPy", "FAISS")
K = 5


def unit(rows):
    """Rows of length 1."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_points(n_templates, n_probes, n_features):
    """Templates, probes near some of them, and which."""
    rng = np.random.default_rng(0)
    templates = unit(rng.normal(size=(n_templates, n_features)))
    which = rng.choice(n_templates, n_probes, replace=n_probes > n_templates)
    return templates, unit(templates[which] + rng.normal(scale=0.05, size=(n_probes, n_features))), which


class Points:
    """An embedder whose images are the embeddings themselves, brought into [0, 1]: what `identify` costs beside a network."""

    def transform(self, X):
        """Images ``(n, 1, n_features, 1)`` as points of the sphere."""
        return unit(2 * X.reshape(len(X), -1) - 1)

    def vjp(self, X):
        """Nothing is attacked here."""
        raise NotImplementedError


def as_images(points):
    """What `Points` gives back."""
    return ((points + 1) / 2)[:, None, :, None]


def searcher(way, templates, probes):
    """A function without arguments: the ``K`` nearest templates of each probe, the nearest first."""
    if way == "SmartBox":
        from smartbox import FaceGallery

        gallery, images = FaceGallery(Points()).fit(as_images(templates), np.arange(len(templates))), as_images(probes)
        return lambda: gallery.identify(images, k=K)
    if way == "FAISS":
        import faiss

        index = faiss.IndexFlatIP(templates.shape[1])
        index.add(templates)
        return lambda: index.search(probes, K)[1]

    def plain():
        scores = probes @ templates.T
        best = np.argpartition(-scores, K - 1, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)

    return plain


def measure_memory(way, *sizes):
    """Megabytes that a search needs at most beside its index and the points; None where the system does not tell (Linux does)."""
    templates, probes, _ = make_points(*sizes)
    search = searcher(way, templates, probes)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at what is held now
    except OSError:
        return None
    before = peak_mb()
    search()
    return peak_mb() - before


def peak_mb():
    """The most memory that this process has held since the peak began anew."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure_seconds(rounds, *sizes):
    """Median seconds of a search by each way, after a check that all find the same."""
    templates, probes, which = make_points(*sizes)
    searches = {way: searcher(way, templates, probes) for way in WAYS}
    found = {way: search() for way, search in searches.items()}
    for way in WAYS:
        np.testing.assert_array_equal(found[way][:, 0], which)
        share = (found[way] == found["NumPy"]).mean()
        assert share > 0.999, f"{way} ranks other people than NumPy in {100 * (1 - share):.2f} % of the places"
    times = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, search in searches.items():
            started = time.perf_counter()
            search()
            times[way].append(time.perf_counter() - started)
    return {way: float(np.median(values)) for way, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=int, default=100_000)
    parser.add_argument("--probes", type=int, default=1_000)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.templates, options.probes, options.features
    if options.worker:
        print(json.dumps(measure_memory(options.worker, *sizes)))
        return
    seconds = measure_seconds(options.rounds, *sizes)
    arguments = [
        word
        for name, n in zip(("templates", "probes", "features"), sizes, strict=True)
        for word in (f"--{name}", str(n))
    ]
    print(
        f"{options.probes} probes among {options.templates} templates of {options.features} numbers, {K} nearest; "
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores\n"
    )
    print("| way | all probes, s | a probe, ms | SmartBox is ... times as fast | peak memory, MB |")
    print("|---|---|---|---|---|")
    for way in WAYS:
        command = [sys.executable, __file__, *arguments, "--worker", way]
        mb = json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)
        print(
            f"| {way} | {seconds[way]:.3f} | {1000 * seconds[way] / options.probes:.3f} | "
            f"{seconds[way] / seconds['SmartBox']:.2f} | {'-' if mb is None else f'{mb:.0f}'} |"
        )


if __name__ == "__main__":
    main()
