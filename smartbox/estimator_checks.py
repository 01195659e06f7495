"""Checks that every attack, defence, detector and feature of SmartBox passes, for people who write their own.

They do for images ``(n, height, width, channels)`` what scikit-learn's ``check_estimator`` does for tables.
"""

import pickle
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils._testing import set_random_state

from smartbox._model import as_face_model
from smartbox._streams import ImageStreams
from smartbox.base import BaseAttack, BaseDefense, BaseDetector
from smartbox.defenses._model_defense import ModelDefense
from smartbox.defenses._retrained import RetrainedClassifier
from smartbox.detectors._features import NetworkFeatures
from smartbox.persistence import load, save

_SHAPE = (16, 12, 1)


def check_image_estimator(estimator):
    """Run every check that applies to an attack, a defence, a detector or the features of one.

    Parameters
    ----------
    estimator : BaseAttack, BaseDefense, ModelDefense, RetrainedClassifier, BaseDetector or NetworkFeatures
        An instance; an attack with its model, which must take images of the model's own shape. It is cloned, never changed.

    Raises
    ------
    AssertionError
        If a check fails.

    Examples
    --------
    >>> from smartbox.defenses import GaussianBlur
    >>> from smartbox.estimator_checks import check_image_estimator
    >>> check_image_estimator(GaussianBlur(sigma=0.8))
    """
    for _, check in image_checks(estimator):
        check()


def parametrize_with_image_checks(estimators):
    """A pytest decorator that runs every check on every estimator: ``test(estimator, check)`` calls ``check()``.

    Parameters
    ----------
    estimators : iterable of estimators
        As for `check_image_estimator`.

    Returns
    -------
    decorator : pytest.MarkDecorator
    """
    import pytest

    cases = [
        pytest.param(estimator, check, id=f"{type(estimator).__name__}-{name}")
        for estimator in estimators
        for name, check in image_checks(estimator)
    ]
    return pytest.mark.parametrize(("estimator", "check"), cases)


def image_checks(estimator):
    """The checks that apply, as ``(name, function without parameters)``."""
    if isinstance(estimator, type) or not isinstance(estimator, tuple(_OF_KIND)):
        raise TypeError(
            "expected an instance of an attack, defence, detector or feature (BaseAttack, BaseDefense, ModelDefense, "
            f"RetrainedClassifier, BaseDetector, NetworkFeatures), got {estimator!r}."
        )
    checks = list(_COMMON)
    for kind, more in _OF_KIND.items():
        if isinstance(estimator, kind):
            checks += more
    return [(check.__name__, partial(check, estimator)) for check in checks]


def example_images(shape=_SHAPE, n=12, seed=0):
    """Smooth random images with exact zeros and ones among them, as hard shadows and glare leave."""
    from scipy.ndimage import gaussian_filter

    shape = tuple(side or example for side, example in zip(shape, _SHAPE, strict=True))
    noise = np.random.default_rng(seed).normal(size=(n, *shape))
    smooth = gaussian_filter(noise, (0, 1.5, 1.5, 0))
    return np.clip(0.4 + 0.9 * smooth / smooth.std(), 0, 1).astype(np.float32)


def _prepared(estimator):
    """A seeded clone, fitted on example images, and those images."""
    fresh = clone(estimator)
    set_random_state(fresh, 0)
    X = _images_for(estimator)
    return fresh.fit(X, _detection_labels(X)), X


def _images_for(estimator):
    model = getattr(estimator, "model", None)
    return example_images(_SHAPE if model is None else as_face_model(model).image_shape_)


def _detection_labels(X):
    return np.arange(len(X)) % 2


def _output(fitted, X):
    for scores in ("decision_function", "predict_proba"):
        if hasattr(fitted, scores):
            return getattr(fitted, scores)(X)
    return (
        fitted.generate(X, _next_labels(fitted.model, X)) if getattr(fitted, "targeted", False) else fitted.transform(X)
    )


def _next_labels(model, X):
    """A target for each image: the class after the predicted one. Images that are no images are none's business here."""
    model = as_face_model(model)
    try:
        predicted = model.predict(X)
    except ValueError:
        return None
    return model.classes_[(np.searchsorted(model.classes_, predicted) + 1) % len(model.classes_)]


def check_parameters_kept(estimator):
    """``__init__`` stores its parameters as they are; ``clone`` and ``set_params`` keep them."""
    parameters = estimator.get_params(deep=False)
    rebuilt = type(estimator)(**parameters)
    copied = clone(estimator).get_params(deep=False)
    for name, value in parameters.items():
        assert getattr(rebuilt, name) is value, f"__init__ changes {name}"
        assert type(copied[name]) is type(value), f"clone changes {name}"
    unfitted = {name for name in vars(rebuilt) if name.endswith("_")}
    assert not unfitted, f"__init__ sets {unfitted}, which fit should"


def check_input_untouched(estimator):
    """Images are never written to; read-only ones will do."""
    fitted, X = _prepared(estimator)
    before = X.copy()
    X.setflags(write=False)
    _output(fitted, X)
    np.testing.assert_array_equal(X, before)


def check_repeats(estimator):
    """The same seed and images give the same output, from a second object too."""
    first, X = _prepared(estimator)
    second, _ = _prepared(estimator)
    np.testing.assert_array_equal(_output(first, X), _output(second, X))


def check_batches_and_order(estimator):
    """An image's output depends on neither its neighbours nor its place."""
    fitted, X = _prepared(estimator)
    whole = _output(fitted, X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(_output(fitted, X[order]), whole[order], rtol=1e-4, atol=1e-5)
    singly = np.concatenate([_output(fitted, X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(singly, whole, rtol=1e-4, atol=1e-5)


def check_pickle(estimator):
    """A pickle gives the same output and has the same bytes twice."""
    fitted, X = _prepared(estimator)
    stored = pickle.dumps(fitted)
    assert pickle.dumps(fitted) == stored, "two pickles of one object differ, so that caches never hit"
    np.testing.assert_array_equal(_output(pickle.loads(stored), X), _output(fitted, X))


def check_save(estimator):
    """A file gives the same output to the bit, and has the same bytes twice.

    A class of another package is refused instead, and so is one that holds such a class.
    """
    from smartbox._trusted import class_name

    fitted, X = _prepared(estimator)
    parts = [estimator, *estimator.get_params(deep=False).values()]
    foreign = any(isinstance(part, BaseEstimator) and class_name(type(part)) is None for part in parts)
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first"), Path(folder, "second")
        if foreign:
            try:
                save(fitted, first)
            except ValueError as error:
                assert "cannot save" in str(error) and not first.exists()
                return
            raise AssertionError("a class was saved that smartbox.load refuses")
        save(fitted, first)
        loaded = load(first)
        save(fitted, second)
        assert first.read_bytes() == second.read_bytes(), "two files of one object differ"
        assert type(loaded) is type(fitted)
        np.testing.assert_array_equal(_output(loaded, X), _output(fitted, X))


def check_bad_images_raise(estimator):
    """Wrong rank, size, range, NaN, infinity, none at all: each a ValueError."""
    fitted, X = _prepared(estimator)
    nan, infinite = X.copy(), X.copy()
    nan[1, 2, 3], infinite[0, 0, 0] = np.nan, np.inf
    for name, bad in {
        "rank 2": X.reshape(len(X), -1),
        "rank 3": X[..., 0],
        "another size": X[:, :-1],
        "another number of channels": np.repeat(X, 2, axis=-1),
        "NaN": nan,
        "infinity": infinite,
        "0 to 255": X * 255,
        "negative": X - 0.5,
        "text": X.astype(str),
        "no images": X[:0],
    }.items():
        try:
            _output(fitted, bad)
        except ValueError as error:
            assert len(str(error)) > 20, f"{name}: the message says nothing: {error}"
        else:
            raise AssertionError(f"images with {name} were accepted")


def check_images_out(estimator):
    """Images come out as they went in: float32, same shape, in [0, 1]."""
    fitted, X = _prepared(estimator)
    out = _output(fitted, X)
    assert out.dtype == np.float32 and out.shape == X.shape and out.min() >= 0 and out.max() <= 1
    assert _output(fitted, X.astype(np.float64)).dtype == np.float32


def check_works_unfitted(estimator):
    """Without anything to learn, ``transform`` needs no ``fit``; with the tag ``requires_fit`` it asks for one."""
    fitted, X = _prepared(estimator)
    fresh = clone(estimator)
    set_random_state(fresh, 0)
    if get_tags(estimator).requires_fit:
        try:
            _output(fresh, X)
        except NotFittedError:
            return
        raise AssertionError("the tag requires_fit is set, yet transform works unfitted")
    np.testing.assert_array_equal(_output(fresh, X), _output(fitted, X))


def check_vjp_is_gradient(estimator):
    """The way back is the derivative of the way there: ``<v, J u> = <J' v, u>`` by central differences.

    A defence that declares ``bpda = True`` has no derivative to compare with.
    """
    if getattr(estimator, "bpda", type(estimator)._pull_back is BaseDefense._pull_back):
        return
    fitted, X = _prepared(estimator)
    X = 0.25 + X / 2  # away from the walls of the pixel box
    rng = np.random.default_rng(0)
    v, u = rng.normal(size=(2, *X.shape)).astype(np.float32)
    seeded = partial(ImageStreams.from_images, X, 0)  # the same draws at each of the points
    _, pull_back = fitted.vjp(X, rng=seeded())
    analytic = np.sum(pull_back(v).astype(np.float64) * u, axis=(1, 2, 3))
    step = 1e-2 / np.abs(u).max()
    ahead, behind = (fitted.vjp(X + side * step * u, rng=seeded())[0] for side in (1, -1))
    numeric = np.sum((ahead.astype(np.float64) - behind) * v, axis=(1, 2, 3)) / (2 * step)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-2, atol=1e-2 * np.abs(numeric).max())


def check_vjp_agrees_with_transform(estimator):
    """The images of ``vjp`` are those of ``transform``, and the gradient has their shape."""
    fitted, X = _prepared(estimator)
    Z, pull_back = fitted.vjp(X)
    np.testing.assert_array_equal(Z, fitted.transform(X))
    assert pull_back(np.ones_like(Z)).shape == X.shape


def check_attack_lowers_accuracy(estimator):
    """Fewer images keep their label, none is counted that does, and the report fits the images."""
    attack, X = _prepared(estimator)
    model = as_face_model(attack.model)
    y = _next_labels(model, X) if attack.targeted else model.predict(X)
    X_adv, report = attack.generate(X, y, return_report=True)
    reached = (model.predict(X_adv) == y) == attack.targeted
    assert reached.any(), "no image was brought where the attack wants it"
    np.testing.assert_array_equal(report.success, reached)
    delta = np.abs(X_adv.astype(np.float64) - X).reshape(len(X), -1)
    np.testing.assert_allclose(report.linf, delta.max(axis=1), atol=1e-6)
    np.testing.assert_allclose(report.l1, delta.sum(axis=1), rtol=1e-4, atol=1e-5)
    assert (report.n_gradients >= 0).all() and report.n_iterations.shape == (len(X),)


def check_attack_keeps_eps(estimator):
    """No perturbation is larger than ``eps``, where the attack has one."""
    if not hasattr(estimator, "eps"):
        return
    from smartbox._checks import as_number

    attack, X = _prepared(estimator)
    if attack.targeted:
        attack.set_params(targeted=False)
    _, report = attack.generate(X, return_report=True)
    eps = as_number(attack.eps, "eps")
    assert report[attack.norm].max() <= eps * (1 + 1e-4) + 1e-6


def check_attack_shares_model(estimator):
    """Clones attack the very same model; without one the error says so; foreign labels are refused."""
    assert clone(estimator).model is estimator.model
    X = _images_for(estimator)
    for call, word in (
        (lambda: clone(estimator).set_params(model=None).generate(X), "model"),
        (lambda: clone(estimator).generate(X, np.full(len(X), 10**6)), "labels"),
        (lambda: clone(estimator).generate(X, [0]), "shape"),
    ):
        try:
            call()
        except ValueError as error:
            assert word in str(error), f"expected a message about the {word}, got: {error}"
        else:
            raise AssertionError(f"a mistake about the {word} was accepted")


def check_classifier_is_face_model(estimator):
    """Logits whose largest is predicted, and gradients of them that agree with central differences; unfitted raises."""
    face, _ = _prepared(estimator)
    X = _images_without_equal_pixels(estimator)
    y = face.predict(X)
    logits = face.logits(X)
    np.testing.assert_array_equal(y, face.classes_[logits.argmax(axis=1)])
    assert as_face_model(face) is face and logits.shape == (len(X), len(face.classes_))
    _, again, gradient = face.value_and_gradient(X, y, "odds")
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)
    _compare_with_differences(lambda X: face.value_and_gradient(X, y, "odds")[0], gradient, X)
    cotangents = np.where(face.is_label(y), -1, 1).astype(np.float32)
    np.testing.assert_allclose(face.vjps(X, cotangents[:, None])[:, 0], face.vjp(X, cotangents), rtol=1e-3, atol=1e-5)
    try:
        clone(estimator).predict(X)
    except NotFittedError:
        pass
    else:
        raise AssertionError("an unfitted classifier predicts")


def check_detector_is_classifier(estimator):
    """Two classes, scores that ``predict`` compares with a threshold, ``calibrate`` that keeps its rate; unfitted raises."""
    detector, X = _prepared(estimator)
    scores = detector.decision_function(X)
    assert scores.shape == (len(X),) and np.isfinite(scores).all()
    np.testing.assert_array_equal(detector.classes_, [0, 1])
    np.testing.assert_array_equal(detector.predict(X), (scores > detector.threshold_).astype(int))
    detector.calibrate(X, fpr=0.25)
    assert detector.predict(X).mean() <= 0.25
    try:
        clone(estimator).predict(X)
    except NotFittedError:
        pass
    else:
        raise AssertionError("an unfitted detector predicts")


def check_detector_gradient(estimator):
    """``value_and_gradient`` gives the scores of ``decision_function`` and, by central differences, their derivative.

    A detector without a gradient raises; of one that declares ``bpda = True`` only the scores and the shape are compared.
    """
    detector, _ = _prepared(estimator)
    X = _images_without_equal_pixels(estimator)
    if type(detector)._value_and_gradient is BaseDetector._value_and_gradient:
        try:
            detector.value_and_gradient(X)
        except ValueError as error:
            assert "no gradient" in str(error)
            return
        raise AssertionError("a detector without a gradient returns one")
    scores, gradient = detector.value_and_gradient(X)
    np.testing.assert_allclose(scores, detector.decision_function(X), rtol=1e-4, atol=1e-5)
    assert gradient.shape == X.shape and np.isfinite(gradient).all()
    if not getattr(detector, "bpda", False):
        _compare_with_differences(detector.decision_function, gradient, X)


def check_is_classifier_around_model(estimator):
    """It names faces, fitted or not, clones refer to the same model, and attacks find their way through it."""
    fitted, X = _prepared(estimator)
    y = as_face_model(estimator.model).predict(X)
    predicted, seen = fitted.predict(X), as_face_model(fitted)
    assert predicted.shape == (len(X),) and 0 < np.mean(predicted == y) == fitted.score(X, y)
    fresh = clone(estimator)
    set_random_state(fresh, 0)
    np.testing.assert_array_equal(fresh.predict(X), predicted)
    assert fresh.model is estimator.model
    values, logits, gradient = seen.value_and_gradient(X, y)
    assert values.shape == (len(X),) and logits.shape == (len(X), len(seen.classes_)) and gradient.shape == X.shape
    assert np.isfinite(gradient).all() and gradient.any()
    np.testing.assert_allclose(seen.logits(X), logits, rtol=1e-4, atol=1e-5)
    for call, word in (
        (lambda: clone(estimator).set_params(model=None).predict(X), "model"),
        (lambda: clone(estimator).fit(X, np.full(len(X), 10**6)), "labels"),
    ):
        try:
            call()
        except ValueError as error:
            assert word in str(error), f"expected a message about the {word}, got: {error}"
        else:
            raise AssertionError(f"a mistake about the {word} was accepted")


def check_features_are_a_table(estimator):
    """One row of finite float32 numbers an image, and the labels of ``fit`` leave out attacked images."""
    features, X = _prepared(estimator)
    F = features.transform(X)
    assert F.ndim == 2 and len(F) == len(X) and F.dtype == np.float32 and np.isfinite(F).all()
    clean = clone(estimator)
    set_random_state(clean, 0)
    np.testing.assert_allclose(clean.fit(X[_detection_labels(X) == 0]).transform(X), F, rtol=1e-4, atol=1e-5)


def check_features_gradient(estimator):
    """The way back of ``vjp`` is, by central differences, the derivative of the features, where they have one."""
    if not hasattr(estimator, "_spread"):
        return
    features, _ = _prepared(estimator)
    X = _images_without_equal_pixels(estimator)
    F, pull_back = features.vjp(X)
    np.testing.assert_allclose(F, features.transform(X), rtol=1e-4, atol=1e-5)
    cotangents = np.random.default_rng(0).normal(size=F.shape).astype(np.float32)
    gradient = pull_back(cotangents)
    if not getattr(features, "bpda", False):
        _compare_with_differences(lambda X: (features.transform(X) * cotangents).sum(axis=1), gradient, X)


def _images_without_equal_pixels(estimator):
    """Noise: the largest of some numbers is then one of them, and pooling has a derivative."""
    images = _images_for(estimator)
    return np.random.default_rng(0).uniform(0.3, 0.7, images.shape).astype(np.float32)


def _compare_with_differences(function, gradient, X):
    """Most images must agree: at some, a kink may lie within the step, which float32 keeps from being smaller."""
    way = np.random.default_rng(1).normal(size=X.shape).astype(np.float32) * np.float32(5e-5)
    ahead, behind = X + way, X - way
    numeric = function(ahead).astype(np.float64) - function(behind)
    analytic = (gradient * (ahead.astype(np.float64) - behind)).sum(axis=(1, 2, 3))
    error, size = np.median(np.abs(analytic - numeric)), np.median(np.abs(numeric))
    assert error <= 0.02 * size + 1e-6, (
        f"the gradient differs from finite differences of about {size:.3g} by {error:.3g}"
    )


_COMMON = [
    check_parameters_kept, check_input_untouched, check_repeats, check_batches_and_order, check_pickle, check_save,
    check_bad_images_raise,
]  # fmt: skip
_OF_KIND = {
    BaseDefense: [check_images_out, check_works_unfitted, check_vjp_is_gradient, check_vjp_agrees_with_transform],
    BaseAttack: [
        check_images_out, check_works_unfitted, check_attack_lowers_accuracy, check_attack_keeps_eps, check_attack_shares_model,
    ],
    ModelDefense: [check_is_classifier_around_model],
    RetrainedClassifier: [check_classifier_is_face_model],
    BaseDetector: [check_detector_is_classifier, check_detector_gradient],
    NetworkFeatures: [check_features_are_a_table, check_features_gradient],
}  # fmt: skip
