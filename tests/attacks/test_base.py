"""What all attacks get from their base class: output arrays, reports, interruption, warnings."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from smartbox import FaceClassifier
from smartbox.attacks import FGSM, PGD
from smartbox.base import BaseAttack, BaseDefense
from smartbox.defenses import GaussianBlur
from smartbox.estimator_checks import check_image_estimator, example_images
from smartbox.metrics import make_attack_scorer
from tests.doubles import affine_face, small_network


@pytest.fixture(scope="module")
def face():
    return FaceClassifier.from_network(small_network())


def test_out_takes_the_images(face, tmp_path):
    X = example_images(n=20)
    path = tmp_path / "adversarial.npy"
    out = np.lib.format.open_memmap(path, "w+", np.float32, X.shape)
    returned = FGSM(face, batch_size=8).generate(X, out=out)
    assert returned is out
    out.flush()
    np.testing.assert_array_equal(np.load(path), FGSM(face).generate(X))


def test_out_may_be_the_input_itself(face):
    X = example_images()
    expected = FGSM(face).generate(X)
    inplace = X.copy()
    attack = FGSM(face, batch_size=5)
    attack.generate(inplace, out=inplace)
    np.testing.assert_array_equal(inplace, expected)
    assert attack.report_.linf.max() > 0


@pytest.mark.parametrize("out", [np.zeros((12, 16, 12, 1)), np.zeros((3, 16, 12, 1), np.float32), [0.0]])
def test_out_that_does_not_fit_is_refused(face, out):
    with pytest.raises(ValueError, match="writeable float32 array"):
        FGSM(face).generate(example_images(), out=out)


class _Interrupted(FGSM):
    def _perturb(self, model, X, y, rng):
        if getattr(self, "seen", 0) == 2:
            raise KeyboardInterrupt
        self.seen = getattr(self, "seen", 0) + 1
        return super()._perturb(model, X, y, rng)


def test_interruption_leaves_what_was_finished(face):
    X = example_images(n=20)
    attack = _Interrupted(face, batch_size=6)
    with pytest.raises(KeyboardInterrupt):
        attack.generate(X)
    assert len(attack.report_.success) == 12
    np.testing.assert_array_equal(attack.report_.X_adv, FGSM(face).generate(X)[:12])


def test_zero_gradients_are_warned_of():
    flat = affine_face(np.zeros((2, 20)), np.array([1.0, 0.0]), (4, 5, 1))
    with pytest.warns(UserWarning, match="gradient was zero for 2 of 2 images"):
        FGSM(flat, random_state=0).generate(np.full((2, 4, 5, 1), 0.5, np.float32))


def test_report_is_recomputed_from_what_is_returned(face):
    X = example_images(n=30)
    y = face.predict(X)
    X_adv, report = PGD(face, eps=0.02, max_iter=5, random_state=0).generate(X, y, return_report=True)
    np.testing.assert_array_equal(report.success, face.predict(X_adv) != y)
    np.testing.assert_array_equal(report.success_8bit, face.predict(np.round(X_adv * 255) / np.float32(255)) != y)
    np.testing.assert_allclose(report.l2, np.linalg.norm((X_adv - X).reshape(30, -1), axis=1), rtol=1e-5)


def test_transform_leaves_no_trace_and_takes_no_labels(face):
    X = example_images()
    attack = FGSM(face)
    X_adv = attack.transform(X)
    assert not hasattr(attack, "report_")
    np.testing.assert_array_equal(X_adv, attack.generate(X))


def test_progress_names_the_success_so_far(face, capsys):
    FGSM(face, eps=0.5, verbose=1).generate(example_images())
    assert "% success" in capsys.readouterr().err


@pytest.mark.slow
def test_ten_thousand_faces_within_a_gibibyte(tmp_path):
    """In a process of its own, after a first batch, so that TensorFlow's own memory does not count."""
    import subprocess
    import sys

    code = f"""
import resource, numpy as np, smartbox
from smartbox.attacks import FGSM
from smartbox.datasets import make_faces
shape = (10_000, 96, 84, 1)
X = np.lib.format.open_memmap({str(tmp_path / "X.npy")!r}, "w+", np.float32, shape)
faces = make_faces(n_images=4).images
for start in range(0, 10_000, len(faces)):
    X[start:start + len(faces)] = faces[:10_000 - start]
out = np.lib.format.open_memmap({str(tmp_path / "out.npy")!r}, "w+", np.float32, shape)
attack = FGSM(smartbox.load_sample_model())
attack.generate(np.array(X[:256]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
attack.generate(X, out=out)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, attack.report_.success.mean())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    megabytes, success = map(float, done.stdout.split())
    assert megabytes < 1024 and success > 0.5


def test_linf_eps_beyond_the_intensity_range_is_refused(face):
    with pytest.raises(ValueError, match="did you mean 8/255"):
        FGSM(face, eps=8).generate(example_images())
    FGSM(face, eps=8, norm="l2").generate(example_images())


@pytest.mark.parametrize("eps", ["8/0", "abc"])
def test_eps_is_read_before_any_work(face, eps):
    before = face.pass_counts()
    for call in (
        lambda: PGD(face, eps=eps).generate(example_images()),
        lambda: PGD(face, eps=eps).fit(example_images()),
    ):
        with pytest.raises(ValueError, match="expected eps as a number or a fraction"):
            call()
    with pytest.raises(ValueError, match="expected eps as a number or a fraction"):
        make_attack_scorer(PGD(face, eps=eps))
    assert face.pass_counts() == before


class _Plain(BaseAttack):
    def __init__(self, model, *, wrong=None):
        self.model = model
        self.wrong = wrong

    def _perturb(self, model, X, y, rng):
        X *= 0.5  # X is the batch's own
        return {"shape": X[:, 1:], "nan": X * np.nan}.get(self.wrong, X)


def test_an_attack_of_ones_own_needs_no_more_than_a_model(face):
    X = example_images()
    kept = X.copy()
    X_adv, report = _Plain(face).generate(X, return_report=True)
    np.testing.assert_array_equal(X, kept)
    np.testing.assert_allclose(X_adv, X / 2)
    assert not report.n_gradients.any()
    for wrong, text in (("shape", "return images of shape"), ("nan", "finite pixels")):
        with pytest.raises(ValueError, match=rf"_Plain\._perturb.*{text}"):
            _Plain(face, wrong=wrong).generate(X)


def test_checks_take_an_attack_on_a_pipeline_and_refuse_what_is_none(face):
    check_image_estimator(FGSM(make_pipeline(GaussianBlur(sigma=0.5), face), eps=0.2))
    for wrong in (FGSM, "FGSM"):
        with pytest.raises(TypeError, match="expected an instance"):
            check_image_estimator(wrong)


class _Noise(BaseDefense):
    def __init__(self, *, random_state=None):
        self.random_state = random_state

    def _draw(self, X, rng):
        return rng.normal(X[0].size).reshape(X.shape)

    def _apply(self, X, draw):
        X += 0.05 * draw
        return X


def test_a_defence_with_chance_is_the_same_in_any_batch(face):
    check_image_estimator(_Noise())
    pipeline = make_pipeline(_Noise(random_state=0), face)
    X = example_images(n=20)
    whole = PGD(pipeline, eps=0.02, max_iter=4, random_state=0).generate(X)
    singly = PGD(pipeline, eps=0.02, max_iter=4, random_state=0, batch_size=1).generate(X)
    np.testing.assert_allclose(singly, whole, atol=1e-5)
