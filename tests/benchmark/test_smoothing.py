"""Randomised smoothing as a mitigation of a run: on the network trained anew with its noise."""

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from smartbox import FaceClassifier
from smartbox.attacks import FGSM
from smartbox.benchmark import Benchmark
from smartbox.defenses import NoiseTraining, RandomizedSmoothing
from tests.benchmark.test_store import exactly

SETTINGS = {"sigma": 0.05, "n_draws": 40, "n_select": 10, "alpha": 0.05, "n_attack_draws": 4}
CHOICES = {
    "attacks": ["fgsm"], "defenses": ["randomized_smoothing"], "detectors": ["pca"], "guard": True, "seeds": [7],
    "parameters": {
        "network.epochs": 2, "network.learning_rate": 0.1, "attack.fgsm.eps": 0.1, "detector.pca.n_components": 4,
        **{f"defense.randomized_smoothing.{name}": value for name, value in SETTINGS.items()},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory):
    """Results, and the cache that was filled on the way."""
    folder = tmp_path_factory.mktemp("smoothed")
    return Benchmark(faces, **CHOICES, cache=folder).run(), folder


def test_as_by_hand(faces, run, by_hand):
    results, _ = run
    noisy = NoiseTraining(FaceClassifier(epochs=2, learning_rate=0.1), sigma=0.05, random_state=7)
    noisy.fit(by_hand.X_train, by_hand.y_train)
    smoothed = RandomizedSmoothing(noisy, **SETTINGS, random_state=7)
    aware = FGSM(Pipeline([("smoothed", smoothed)]), eps=0.1, random_state=7).generate(by_hand.X, by_hand.y)
    rows = {row["metric"]: row for row in results.tables["mitigation"]}
    for column, X in (("clean_mitigated", by_hand.X), ("adaptive", aware)):
        assert rows["identification"][column] == (smoothed.predict(X) == by_hand.y).mean()
    records = results.records["predictions"].query("defense == 'randomized_smoothing' and attack == ''")
    np.testing.assert_array_equal(records.predicted, smoothed.predict(by_hand.X))


def test_the_cache_gives_the_same_tables(faces, run):
    results, folder = run
    assert exactly(Benchmark(faces, **CHOICES, cache=folder).run().tables) == exactly(results.tables)
