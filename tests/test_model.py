"""What counts as a model to attack, and the chain rule through defences."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from smartbox import FaceClassifier, as_face_model
from smartbox._model import DefendedModel
from smartbox.attacks import FGSM
from smartbox.base import BaseDefense
from smartbox.defenses import GaussianBlur
from tests.doubles import NumpyModel, random_affine, small_network

SHAPE = (6, 5, 1)
WEIGHTS, BIAS, X = random_affine(0, 3, SHAPE, scale=0.3)
X = X[:4].astype(np.float64)
Y = np.array([0, 1, 2, 1])


class Float64Model(NumpyModel):
    """An affine model that stays in float64, so that finite differences are exact to nine digits."""

    image_shape_ = SHAPE

    def logits(self, X):
        return X.reshape(len(X), -1) @ WEIGHTS.T + BIAS

    def vjp(self, X, cotangents):
        return (cotangents @ WEIGHTS).reshape(X.shape)


class Square(BaseDefense):
    """x -> x**2: not linear, so that the order of defences matters."""

    _parameter_constraints = {}

    def _check_images(self, X, *, reset=False):
        return np.asarray(X)

    def _apply(self, X, draw):
        return X**2

    def _pull_back(self, X, draw, gradient):
        return 2 * X * gradient


class Shade(Square):
    """Darken towards the right edge, another amount in every row."""

    ramp = np.linspace(0.9, 0.3, 30).reshape(SHAPE)

    def _apply(self, X, draw):
        return X * self.ramp + 0.05

    def _pull_back(self, X, draw, gradient):
        return self.ramp * gradient


class Plain(BaseDefense):
    """A defence without a gradient of its own."""

    _parameter_constraints = {}

    def _apply(self, X, draw):
        return np.round(X * 7) / 7


def finite_difference(function, X, step=1e-6):
    gradient = np.empty_like(X)
    for place in np.ndindex(X.shape[1:]):
        nudge = np.zeros(X.shape[1:])
        nudge[place] = step
        gradient[(slice(None), *place)] = (function(X + nudge) - function(X - nudge)) / (2 * step)
    return gradient


# The chain rule


@pytest.mark.parametrize("order", [(Square(), Shade()), (Shade(), Square())], ids=["square first", "shade first"])
def test_gradient_through_two_defences_equals_finite_differences(order):
    model = as_face_model(make_pipeline(*order, Float64Model()))

    def composed(X):  # in float64 throughout; images between defences are float32
        for defense in order:
            X = defense._apply(X, None)
        return X.reshape(len(X), -1) @ WEIGHTS.T + BIAS

    def loss(X):
        return -log_softmax(composed(X), axis=1)[np.arange(len(X)), Y]

    values, logits, gradient = model.value_and_gradient(X, Y)
    np.testing.assert_allclose(values, loss(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits, model.logits(X), rtol=1e-12)
    np.testing.assert_allclose(gradient, finite_difference(loss, X), atol=1e-5)
    cotangents = np.random.default_rng(1).normal(size=(4, 3))
    expected = finite_difference(lambda X: (cotangents * composed(X)).sum(axis=1), X)
    np.testing.assert_allclose(model.vjp(X, cotangents), expected, atol=1e-5)


def test_the_order_matters():
    one, other = (
        as_face_model(make_pipeline(*steps, Float64Model())).vjp(X, np.ones((4, 3)))
        for steps in ((Square(), Shade()), (Shade(), Square()))
    )
    assert np.abs(one - other).max() > 1e-3


def test_a_defence_without_gradient_passes_it_on():
    face = Float64Model()
    cotangents = np.ones((4, 3))
    gradient = as_face_model(make_pipeline(Plain(), face)).vjp(X, cotangents)
    np.testing.assert_allclose(gradient, face.vjp(X, cotangents), atol=1e-6)


def test_predictions_are_the_pipelines():
    face = FaceClassifier.from_network(small_network(), classes=list("abcde"))
    images = np.random.default_rng(0).uniform(size=(9, 16, 12, 1)).astype(np.float32)
    pipeline = make_pipeline(GaussianBlur(sigma=0.7), face)
    model = as_face_model(pipeline)
    assert model.predict(images).tolist() == pipeline.predict(images).tolist()
    assert model.classes_.tolist() == list("abcde") and model.image_shape_ == (16, 12, 1)
    assert model.label_index(["c", "a"]).tolist() == [2, 0]
    assert model.is_label(np.array(["b"])).tolist() == [[False, True, False, False, False]]


# What is accepted


def test_a_face_model_is_itself():
    face = FaceClassifier.from_network(small_network())
    assert as_face_model(face) is face
    assert as_face_model(FrozenEstimator(face)) is face
    assert as_face_model(FrozenEstimator(FrozenEstimator(face))) is face
    assert as_face_model(Pipeline([("face", FrozenEstimator(face))])) is face
    assert as_face_model(Pipeline([("a", None), ("b", "passthrough"), ("face", face)])) is face
    assert as_face_model(Pipeline([("face", face), ("nothing", "passthrough")])) is face
    model = NumpyModel()
    assert as_face_model(model) is model


@pytest.mark.parametrize(
    "wrap",
    [
        lambda blur, face: make_pipeline(blur, face),
        lambda blur, face: make_pipeline(FrozenEstimator(blur), FrozenEstimator(face)),
        lambda blur, face: make_pipeline(FrozenEstimator(FrozenEstimator(blur)), face),
        lambda blur, face: FrozenEstimator(make_pipeline(blur, face)),
        lambda blur, face: make_pipeline("passthrough", blur, None, face),
        lambda blur, face: make_pipeline(blur, make_pipeline(face)),
        lambda blur, face: make_pipeline("passthrough", make_pipeline(blur, face)),
        lambda blur, face: make_pipeline(make_pipeline(blur), face),
        lambda blur, face: make_pipeline(FrozenEstimator(make_pipeline(blur, None)), face),
    ],
)
def test_wrappers_are_seen_through(wrap):
    face = FaceClassifier.from_network(small_network())
    images = np.random.default_rng(0).uniform(size=(3, 16, 12, 1)).astype(np.float32)
    blur = GaussianBlur(sigma=0.7)
    model = as_face_model(wrap(blur, face))
    assert isinstance(model, DefendedModel)
    cotangents = np.eye(5)[:3]
    expected = blur._pull_back(None, None, face.vjp(blur.transform(images), cotangents))
    np.testing.assert_allclose(model.vjp(images, cotangents), expected, atol=1e-6)


def test_a_fitted_search_is_its_best_estimator():
    face = FaceClassifier.from_network(small_network(n_classes=2))
    images = np.random.default_rng(0).uniform(size=(8, 16, 12, 1)).astype(np.float32)
    search = GridSearchCV(make_pipeline(GaussianBlur(), FrozenEstimator(face)), {"gaussianblur__sigma": [0.5]}, cv=2)
    with pytest.raises(ValueError, match=r"got GridSearchCV.*call fit\(X, y\) first, with refit on"):
        as_face_model(search)
    model = as_face_model(search.fit(images, [0, 1] * 4))
    assert isinstance(model, DefendedModel) and model.defenses[0][1].sigma == 0.5
    with pytest.raises(ValueError, match="with refit on"):
        as_face_model(GridSearchCV(search.estimator, search.param_grid, cv=2, refit=False).fit(images, [0, 1] * 4))


# What is refused


class Model(NumpyModel):
    def __init__(self):
        pass  # no classes_


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: None, "expected a face model, got NoneType, which has no logits, predict"),
        (lambda: "face", "expected a face model, got str"),
        (StandardScaler, "got StandardScaler, which has no logits.*pass a FaceClassifier, or a Pipeline"),
        (small_network, r"got Sequential.*wrap it: FaceClassifier.from_network\(network\)"),
        (FaceClassifier, "FaceClassifier is not fitted.*call fit"),
        (lambda: FaceClassifier(small_network()), "FaceClassifier is not fitted.*from_network"),
        (lambda: FrozenEstimator(FaceClassifier()), "not fitted"),
        (Model, "Model is not fitted"),
        (
            lambda: Pipeline([("nothing", "passthrough")]),
            "a Pipeline that ends in a face model, got one without steps",
        ),
        (
            lambda: make_pipeline(GaussianBlur()),
            "last step, 'gaussianblur', is no model to attack.*got GaussianBlur",
        ),
        (lambda: make_pipeline(GaussianBlur(), FaceClassifier()), "last step, 'faceclassifier'.*not fitted"),
        (
            lambda: make_pipeline(StandardScaler(), NumpyModel()),
            r"step 'standardscaler' \(StandardScaler\) .*no gradient.*vjp",
        ),
        (
            lambda: make_pipeline(FrozenEstimator(StandardScaler()), NumpyModel()),
            r"step 'frozenestimator' \(StandardScaler\)",
        ),
        (
            lambda: make_pipeline(make_pipeline(StandardScaler()), NumpyModel()),
            r"step 'pipeline__standardscaler' \(StandardScaler\)",
        ),
    ],
)
def test_other_things_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        as_face_model(build())


def test_a_model_without_image_shape_is_refused():
    class_without = type(
        "Half",
        (),
        {name: getattr(NumpyModel, name) for name in ("logits", "predict", "value_and_gradient", "vjp")},
    )
    half = class_without()
    half.classes_ = np.arange(3)
    with pytest.raises(ValueError, match=r"Half.*image_shape_"):
        as_face_model(half)


def test_an_attack_names_what_it_cannot_attack():
    with pytest.raises(ValueError, match="expected a face model, got Sequential"):
        FGSM(small_network()).generate(np.zeros((1, 16, 12, 1)))


def test_activations_pull_back_as_finite_differences_and_through_defences():
    network = small_network()
    face = FaceClassifier.from_network(network, classes=[3, 1, 2, 5, 4])
    defended = as_face_model(make_pipeline(GaussianBlur(sigma=0.5), face))
    rng = np.random.default_rng(0)
    X = rng.uniform(0.3, 0.7, (3, *face.image_shape_)).astype(np.float32)  # no equal pixels: pooling has no ties
    layers = ["pool1", "<logits>", "<pixels>", "dense1"]
    for model in (face, defended):
        outputs = model.activations(X, layers)
        np.testing.assert_array_equal(outputs[2], X)
        np.testing.assert_array_equal(outputs[1], model.logits(X))
        cotangents = [rng.normal(size=out.shape).astype(np.float32) for out in outputs]
        gradient = model.activations_vjp(X, layers, cotangents).astype(np.float64)
        way = rng.normal(size=X.shape) * 2e-4
        ahead, back = (X + way).astype(np.float32), (X - way).astype(np.float32)
        sides = [
            sum(
                (c * a.astype(np.float64)).sum() for c, a in zip(cotangents, model.activations(at, layers), strict=True)
            )
            for at in (ahead, back)
        ]
        np.testing.assert_allclose(sides[0] - sides[1], (gradient * (ahead.astype(np.float64) - back)).sum(), rtol=0.02)
