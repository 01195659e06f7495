"""Several workers make the same tables as one process, also where one of them dies."""

import os
import signal
import threading

import joblib
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.utils import Bunch

from smartbox.attacks import FGSM
from smartbox.benchmark import Benchmark
from smartbox.benchmark import _parallel as parallel
from smartbox.benchmark._keys import parents_of
from smartbox.benchmark._pass import Pass
from smartbox.benchmark._pieces import levels_of
from smartbox.benchmark._plan import make_plan
from tests.benchmark.test_store import CHOICES, exactly

ALL = {
    "attacks": ["fgsm", "pgd"], "defenses": ["gaussian_blur", "noise_training", "denoising_autoencoder"],
    "detectors": ["pca", "conv_filter"], "seeds": [0, 3],
}  # fmt: skip


class Deadly(FGSM):
    """Kills its worker, as often as there are files in a folder."""

    def _perturb(self, model, X, y, rng):
        for path in sorted(os.scandir(os.environ["SMARTBOX_TEST_DEATHS"]), key=lambda entry: entry.name)[:1]:
            os.unlink(path)
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._perturb(model, X, y, rng)


@pytest.fixture(autouse=True)
def fresh_workers():
    """joblib keeps its workers, with the environment of the test that started them."""
    yield
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.parametrize(
    "more", [{"guard": True, "check_masking": True}, {"protocol": "paper"}, {"protocol": "cross"}, {"adaptive": False}]
)
def test_the_pieces_that_are_planned_are_those_that_a_pass_makes(faces, more):
    """But for times, and for the network's parts alone; and each comes after what it is made of."""
    parameters = {"network.epochs": 1, "attack.pgd.max_iter": 2, "defense.denoising_autoencoder.epochs": 1,
                  "detector.pca.n_components": 4}  # fmt: skip
    plan = make_plan(**ALL, parameters=parameters, **more)
    one = Pass(faces.images, faces.target, {}, plan, 0)
    one.split()
    levels = levels_of(one)
    assert all(levels[parent] < level for piece, level in levels.items() for parent in parents_of(one, piece))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smartbox.benchmark._detection.detection_report", None)  # rows are not asked for
        one.run()
    assert {piece for piece in one.pieces if piece[0] != "costs"} == set(levels)


def test_numbers_of_workers(faces):
    for wrong in (0, "two", 1.5, True):
        with pytest.raises(ValueError, match="expected n_jobs as a number of workers"):
            Benchmark(faces, n_jobs=wrong).run()


@pytest.mark.slow
@pytest.mark.parametrize("n_deaths", [0, 1])
def test_workers_make_the_same_tables(faces, n_deaths, tmp_path, monkeypatch):
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    for i in range(n_deaths):
        (deaths / str(i)).touch()
    monkeypatch.setenv("SMARTBOX_TEST_DEATHS", str(deaths))
    choices = {
        **CHOICES,
        "attacks": [f"{__name__}:Deadly"],
        "parameters": {"network.epochs": 1, "detector.pca.n_components": 4},
    }
    shared = Benchmark(faces, **choices, n_jobs=2).run()
    assert os.listdir(deaths) == []
    assert exactly(shared.tables) == exactly(Benchmark(faces, **choices).run().tables)


@pytest.mark.slow
def test_a_dask_cluster_of_which_a_worker_is_killed_makes_the_same_tables(faces, tmp_path):
    """A worker is killed once the first pieces are there, so in the middle of others."""
    distributed = pytest.importorskip("distributed")
    many = {**CHOICES, "seeds": (0, 1)}
    cluster = distributed.LocalCluster(n_workers=4, threads_per_worker=1, processes=True, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client, joblib.parallel_config(backend="dask"):
        victim = next(iter(client.run(os.getpid).values()))
        killed, over = [], threading.Event()

        def kill():
            while not over.wait(0.05):
                if len(list(tmp_path.rglob("*.piece"))) > 4:
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)
                    return

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            shared = Benchmark(faces, **many, cache=tmp_path).run()
        finally:
            over.set()
            killer.join()
        assert killed and victim not in client.run(os.getpid).values()
    assert exactly(shared.tables) == exactly(Benchmark(faces, **many).run().tables)


def test_a_cluster_that_does_not_see_the_cache_says_so(faces, tmp_path):
    order = parallel.Order(str(tmp_path), "0" * 64, Bunch(), 0, {}, 1)
    with pytest.raises(OSError, match=r"finds no faces in the cache .* choose one with --cache"):
        order.begin()


@pytest.mark.slow
def test_a_worker_that_always_dies_ends_the_run(faces, tmp_path, monkeypatch):
    for i in range(20):
        (tmp_path / str(i)).touch()
    monkeypatch.setenv("SMARTBOX_TEST_DEATHS", str(tmp_path))
    with pytest.raises(Exception) as caught:
        Benchmark(
            faces, attacks=[f"{__name__}:Deadly"], defenses=[], detectors=[], parameters={"network.epochs": 1}, n_jobs=2
        ).run()
    assert type(caught.value).__name__ in parallel._DEATHS and len(os.listdir(tmp_path)) < 20 - 3
