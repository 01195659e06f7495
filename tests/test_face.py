"""FaceClassifier as a scikit-learn classifier: training, seeds, trained networks, searches, errors."""

import copy
import pickle
import random
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from smartbox import FaceClassifier, load
from smartbox._training import make_optimizer, seeded_layers
from tests.doubles import affine_face

SHAPE = (6, 5, 1)
NAMES = np.array(["ann", "bob", "eve"])


def blobs(n=30, names=NAMES, seed=0):
    """Images with one bright row, another for each name, and a little noise: separable by a plane."""
    rng = np.random.default_rng(seed)
    index = np.arange(n) % len(names)
    X = rng.uniform(0, 0.3, size=(n, *SHAPE))
    X[np.arange(n), index] += 0.6
    return X.astype(np.float32), names[index]


def plane(image_shape, n_classes):
    return keras.Sequential([keras.Input(image_shape), layers.Flatten(), layers.Dense(n_classes)])


def with_dropout(image_shape, n_classes):
    hidden = [layers.Flatten(), layers.Dense(8, activation="relu"), layers.Dropout(0.5)]
    return keras.Sequential([keras.Input(image_shape), *hidden, layers.Dense(n_classes)])


def learner(network=plane, **parameters):
    return FaceClassifier(
        network, **{"epochs": 12, "batch_size": 8, "learning_rate": 0.3, "random_state": 0} | parameters
    )


def same_weights(one, other):
    pairs = zip(one.network_.get_weights(), other.network_.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# Learning


def test_learns_a_separable_problem_with_names():
    X, y = blobs()
    face = learner().fit(X, y)
    X_new, y_new = blobs(seed=1)
    assert face.score(X_new, y_new) == 1
    assert face.predict(X_new).tolist() == y_new.tolist()
    assert face.classes_.tolist() == ["ann", "bob", "eve"] and face.image_shape_ == SHAPE and face.n_features_in_ == 30
    logits = face.decision_function(X_new)
    assert logits.shape == (30, 3)
    np.testing.assert_allclose(face.predict_proba(X_new), softmax(logits.astype(float), axis=1), atol=1e-12)
    np.testing.assert_allclose(face.predict_proba(X_new).sum(axis=1), 1, atol=1e-12)
    assert set(face.history_) == {"loss", "accuracy"} and len(face.history_["loss"]) == 12
    assert face.history_["loss"][-1] < 0.2 < face.history_["loss"][0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", keras.optimizers.Adam(0.05)])
def test_optimizers(optimizer):
    X, y = blobs()
    face = learner(optimizer=optimizer, learning_rate=0.05 if optimizer == "adam" else 0.3, epochs=20).fit(X, y)
    assert face.score(X, y) == 1
    if not isinstance(optimizer, str):
        assert not optimizer.built and int(optimizer.iterations.numpy()) == 0  # the user's object is left alone


def test_one_step_of_plain_descent_is_the_closed_form():
    """From zero weights softmax is uniform: the gradient of cross-entropy by the logits is ``1/k - label``."""
    X, y = blobs(6)

    def zeros(shape, n_classes):
        dense = layers.Dense(n_classes, kernel_initializer="zeros")
        return keras.Sequential([keras.Input(shape), layers.Flatten(), dense])

    weight = np.array([1, 2, 3, 1, 2, 3], dtype=float)
    face = learner(zeros, epochs=1, batch_size=6, optimizer=keras.optimizers.SGD(0.5)).fit(X, y, sample_weight=weight)
    residual = (np.eye(3)[np.arange(6) % 3] - 1 / 3) * weight[:, None] / weight.sum()
    kernel, bias = face.network_.get_weights()
    np.testing.assert_allclose(kernel, 0.5 * X.reshape(6, -1).T @ residual, atol=1e-6)
    np.testing.assert_allclose(bias, 0.5 * residual.sum(axis=0), atol=1e-6)


def test_learning_rate_rises_and_falls():
    rate = make_optimizer("sgd", 0.4, 200)._learning_rate
    steps = [float(rate(step)) for step in (0, 10, 105, 200)]
    np.testing.assert_allclose(
        steps, [0.04, 0.4, 0.2, 0], atol=1e-6
    )  # a tenth, full, half way down the cosine, nothing
    np.testing.assert_allclose(float(make_optimizer("adam", 0.4, 1)._learning_rate(0)), 0.4, atol=1e-6)


def test_zero_weight_ignores_an_image():
    X, y = blobs()
    wrong = np.concatenate([y, np.roll(y, 1)])
    weight = np.concatenate([np.ones(30), np.zeros(30)])
    face = learner(epochs=20).fit(np.concatenate([X, X]), wrong, sample_weight=weight)
    assert face.score(X, y) == 1
    assert learner(epochs=20).fit(np.concatenate([X, X]), wrong, sample_weight=1 - weight).score(X, np.roll(y, 1)) == 1


@pytest.mark.parametrize(
    ("weight", "message"),
    [([1, 2], "sample_weight"), ([-1] + [1] * 29, "[Nn]egative values"), ([np.nan] * 30, "NaN")],
)
def test_bad_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        learner().fit(*blobs(), sample_weight=weight)


# Seeds


def test_same_seed_same_weights_and_another_differs():
    X, y = blobs()
    first, again, other = (learner(with_dropout, epochs=3, random_state=seed).fit(X, y) for seed in (1, 1, 2))
    assert same_weights(first, again) and first.history_ == again.history_
    assert not same_weights(first, other)
    assert same_weights(first, clone(other).set_params(random_state=1).fit(X, y))


def test_a_random_state_goes_on_where_it_stopped():
    X, y = blobs()
    state = np.random.RandomState(3)
    one, two = (learner(epochs=1, random_state=state).fit(X, y) for _ in range(2))
    assert not same_weights(one, two)
    assert same_weights(one, learner(epochs=1, random_state=np.random.RandomState(3)).fit(X, y))


def test_global_random_states_are_neither_used_nor_touched():
    X, y = blobs()
    results = []
    for seed in (10, 11):
        keras.utils.set_random_seed(seed)
        expected = (
            random.Random(seed).random(),
            np.random.RandomState(seed).uniform(),
            float(tf.random.uniform(())),
        )
        keras.utils.set_random_seed(seed)
        face = learner(with_dropout, epochs=2).fit(X, y)
        face.predict(X)
        results.append(face)
        assert (random.random(), np.random.uniform(), float(tf.random.uniform(()))) == expected
    assert same_weights(*results)


def test_python_random_state_survives_a_failing_builder():
    random.seed(5)
    expected = random.Random(5).random()
    with pytest.raises(ZeroDivisionError):
        learner(lambda shape, n_classes: 1 / 0).fit(*blobs())
    assert random.random() == expected


def test_draws_of_other_threads_change_no_layer_and_are_not_seeded():
    """As a notebook's or a cluster's threads draw at any moment."""
    drawn = []

    def draws(between=lambda: None):
        with seeded_layers(np.random.RandomState(0)):
            first = random.randint(1, 10**9)
            between()
            return first, random.randint(1, 10**9)

    def in_another_thread():
        other = threading.Thread(target=lambda: drawn.append(random.random()))
        other.start()
        other.join()

    assert draws(in_another_thread) == draws(in_another_thread) == draws()
    assert drawn[0] != drawn[1]


def test_threads_that_build_at_once_do_not_share_draws():
    draws = {}
    barrier = threading.Barrier(2)

    def build(seed):
        barrier.wait()
        for i in range(50):
            with seeded_layers(np.random.RandomState(seed)):
                draws[seed, i] = [random.random() for _ in range(20)]

    threads = [threading.Thread(target=build, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(draws[seed, i] == draws[seed, 0] for seed, i in draws) and draws[0, 0] != draws[1, 0]


# Validation and patience


def test_validation_is_measured_after_each_epoch():
    X, y = blobs()
    X_val, y_val = blobs(9, seed=5)
    face = learner(epochs=3).fit(X, y, validation_data=(X_val, y_val))
    assert {name: len(values) for name, values in face.history_.items()} == dict.fromkeys(
        ["loss", "accuracy", "val_loss", "val_accuracy"], 3
    )
    probability = face.predict_proba(X_val)[np.arange(9), np.searchsorted(NAMES, y_val)]
    assert face.history_["val_loss"][-1] == pytest.approx(-np.log(probability).mean(), rel=1e-4)
    assert face.history_["val_accuracy"][-1] == face.score(X_val, y_val)


def test_patience_stops_and_keeps_the_best_weights():
    X, y = blobs()
    X_val, y_val = blobs(9, seed=5)
    wrong = np.roll(y_val, 1)  # the more is learnt, the worse: the first epoch is the best
    face = learner(epochs=50, patience=3).fit(X, y, validation_data=(X_val, wrong))
    losses = face.history_["val_loss"]
    assert int(np.argmin(losses)) == 0 and len(losses) == 4
    probability = face.predict_proba(X_val)[np.arange(9), np.searchsorted(NAMES, wrong)]
    assert -np.log(probability).mean() == pytest.approx(losses[0], rel=1e-4)


def test_patience_holds_out_every_identity_alike(monkeypatch):
    from smartbox import face as module

    held_out = {}

    def remember(engine, network, X, index, weight, *, validation, **rest):
        held_out.update(train=np.bincount(index), weight=weight, validation=np.bincount(validation[1]))
        return {"loss": [0.0]}

    monkeypatch.setattr(module, "train", remember)
    X, y = blobs(60)
    learner(patience=2).fit(X, y, sample_weight=np.full(60, 7.0))
    assert held_out["train"].tolist() == [18] * 3 and held_out["validation"].tolist() == [2] * 3
    assert held_out["weight"].tolist() == [7] * 54
    learner(patience=2).fit(X[:6], y[:6])  # two of each: one stays, one is held out
    assert held_out["train"].tolist() == [1] * 3 and held_out["validation"].tolist() == [1] * 3


def test_patience_needs_two_images_of_each():
    X, y = blobs(7)
    with pytest.raises(ValueError, match="only one of 'zoe': add another, pass validation_data, or use patience=None"):
        learner(patience=1).fit(X, np.append(y[:6], "zoe").astype(object))


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (
            (np.zeros((2, 5, 6, 1)), ["ann", "bob"]),
            r"expected images of shape \(6, 5, 1\).*in validation_data\[0\]",
        ),
        ((np.zeros((2, *SHAPE)), ["ann", "zoe"]), r"validation_data\[1\] holds labels .*'zoe'"),
        ((np.zeros((2, *SHAPE)), ["ann"]), r"validation_data\[1\] of shape \(2,\)"),
        ((np.zeros((2, *SHAPE)),), r"validation_data as a tuple \(X, y\)"),
        (np.zeros((3, *SHAPE)), r"validation_data as a tuple \(X, y\)"),
    ],
)
def test_bad_validation_data(validation, message):
    with pytest.raises(ValueError, match=message):
        learner().fit(*blobs(), validation_data=validation)


def test_a_diverging_loss_is_an_error():
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        learner(learning_rate=1e38).fit(*blobs())


# Trained networks


def test_a_given_network_is_shared_and_never_trained():
    network = plane(SHAPE, 3)
    before = network.get_weights()
    X, y = blobs()
    face = FaceClassifier(network).fit(X, y)
    assert face.network_ is network and face.classes_.tolist() == NAMES.tolist()
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("copied", [clone, lambda face: clone(FrozenEstimator(face)).estimator])
def test_clones_share_the_network_and_stay_fitted(monkeypatch, copied):
    network = plane(SHAPE, 3)
    face = FaceClassifier.from_network(network, classes=NAMES)
    monkeypatch.setattr(type(network), "__deepcopy__", lambda *_: pytest.fail("copied"), raising=False)
    copy_of = copied(face)
    assert copy_of.network_ is network and copy_of.network is network
    assert copy_of.predict(blobs()[0]).tolist() == face.predict(blobs()[0]).tolist()


def test_a_clone_with_another_network_is_not_fitted():
    face = FaceClassifier.from_network(plane(SHAPE, 3), classes=NAMES)
    other = plane(SHAPE, 3)
    with pytest.raises(NotFittedError):
        clone(face.set_params(network=other)).predict(blobs()[0])


def test_clones_of_a_learner_are_not_fitted():
    with pytest.raises(NotFittedError):
        clone(learner(epochs=1).fit(*blobs())).predict(blobs()[0])


def test_from_network_numbers_classes_or_takes_names():
    network = plane(SHAPE, 3)
    assert FaceClassifier.from_network(network).classes_.tolist() == [0, 1, 2]
    assert set(FaceClassifier.from_network(network, classes=list(NAMES)).predict(blobs()[0])) <= set(NAMES)


@pytest.mark.parametrize("classes", [["ann"], ["ann", "ann", "eve"], [["ann", "bob", "eve"]], "ann", [0, 1, np.nan]])
def test_classes_must_be_distinct(classes):
    with pytest.raises(
        ValueError, match=r"expected classes as 3 distinct labels, one for each output .* got .* of shape"
    ):
        FaceClassifier.from_network(plane(SHAPE, 3), classes=classes)


def test_classes_in_the_order_of_the_outputs(tmp_path):
    X, y = blobs()
    network = plane(SHAPE, 3)
    plain = FaceClassifier.from_network(network)
    face = FaceClassifier.from_network(network, classes=["eve", "ann", "bob"])  # sorted: outputs 1, 2, 0
    face.save(tmp_path / "face.smartbox")
    names = np.array(["eve", "ann", "bob"])
    index = np.array([names.tolist().index(label) for label in y])
    cotangents = np.random.default_rng(0).normal(size=(len(X), 3))
    twins = [face, clone(face), clone(face).fit(X, y), copy.deepcopy(face), pickle.loads(pickle.dumps(face))]
    for twin in [*twins, load(tmp_path / "face.smartbox")]:
        assert twin.classes_.tolist() == ["ann", "bob", "eve"]
        np.testing.assert_array_equal(twin.logits(X), plain.logits(X)[:, [1, 2, 0]])
        np.testing.assert_array_equal(twin.predict(X), names[plain.predict(X)])
        values, logits, gradient = twin.value_and_gradient(X, y)
        expected = plain.value_and_gradient(X, index)
        np.testing.assert_array_equal(values, expected[0])
        np.testing.assert_array_equal(logits, expected[1][:, [1, 2, 0]])
        np.testing.assert_array_equal(gradient, expected[2])
        np.testing.assert_array_equal(twin.vjp(X, cotangents[:, [1, 2, 0]]), plain.vjp(X, cotangents))


def test_fit_of_a_given_network_checks_what_comes():
    X, y = blobs()
    face = FaceClassifier.from_network(plane(SHAPE, 3), classes=NAMES)
    with pytest.raises(ValueError, match="not trained on: 'zoe'"):
        face.fit(X, np.where(y == "ann", "zoe", y))
    with pytest.raises(ValueError, match=r"expected images of shape \(6, 5, 1\)"):
        face.fit(np.zeros((3, 5, 6, 1)), NAMES)
    with pytest.raises(ValueError, match=r"has 3 outputs, but y holds 2 identities: use FaceClassifier.from_network"):
        FaceClassifier(plane(SHAPE, 3)).fit(X[y != "eve"], y[y != "eve"])
    assert face.fit(X[y != "eve"], y[y != "eve"]).classes_.tolist() == NAMES.tolist()  # a fold may lack one
    assert face.score(X, y) == FaceClassifier.from_network(face.network, classes=NAMES).score(X, y)


def test_images_of_free_size():
    network = keras.Sequential([keras.Input((None, None, 1)), layers.GlobalAveragePooling2D(), layers.Dense(3)])
    face = FaceClassifier.from_network(network)
    assert face.predict(np.zeros((2, 4, 4, 1))).shape == face.predict(np.zeros((2, 9, 5, 1))).shape == (2,)
    with pytest.raises(ValueError, match="use 1 channel"):
        face.predict(np.zeros((2, 4, 4, 3)))


# Two classes, as LogisticRegression


def two_classes():
    X, y = blobs(40, NAMES[:2])
    rng = np.random.default_rng(3)
    return np.clip(X + rng.normal(scale=0.5, size=X.shape), 0, 1).astype(np.float32), y


def test_two_classes_behave_as_logistic_regression():
    X, y = two_classes()
    twin = LogisticRegression().fit(X.reshape(40, -1), y)
    weights = np.concatenate([np.zeros_like(twin.coef_), twin.coef_])
    face = affine_face(weights, [0, twin.intercept_[0]], SHAPE)
    face = FaceClassifier.from_network(face.network_, classes=twin.classes_)
    scores = twin.decision_function(X.reshape(40, -1))
    assert face.decision_function(X).shape == (40,) and face.logits(X).shape == (40, 2)
    np.testing.assert_allclose(face.decision_function(X), scores, atol=1e-5)
    np.testing.assert_allclose(face.predict_proba(X), np.stack([expit(-scores), expit(scores)], axis=1), atol=1e-6)
    assert face.predict(X).tolist() == twin.predict(X.reshape(40, -1)).tolist()
    assert face.score(X, y) == twin.score(X.reshape(40, -1), y)
    for scoring in ("roc_auc", "neg_log_loss", "accuracy"):
        expected = cross_val_score(FrozenEstimator(twin), X.reshape(40, -1), y, scoring=scoring, cv=2)
        np.testing.assert_allclose(cross_val_score(face, X, y, scoring=scoring, cv=2), expected, atol=1e-5)
    assert roc_auc_score(y == "bob", face.decision_function(X)) == pytest.approx(roc_auc_score(y == "bob", scores))


# Searches


def test_a_search_over_a_learner_trains_each_fold_anew():
    X, y = blobs()
    built = []

    def builder(shape, n_classes):
        built.append(plane(shape, n_classes))
        return built[-1]

    search = GridSearchCV(learner(builder, epochs=8), {"learning_rate": [1e-6, 0.3]}, cv=3, error_score="raise").fit(
        X, y
    )
    assert len(built) == 2 * 3 + 1
    assert search.best_params_ == {"learning_rate": 0.3} and search.best_score_ == 1
    assert search.best_estimator_.network_ is built[-1]


def test_a_frozen_one_is_not_trained():
    X, y = blobs()
    face = learner(epochs=1).fit(X, y)
    frozen = FrozenEstimator(face)
    assert clone(frozen).fit(X, np.roll(y, 1)).estimator is face


# Errors


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("vgg", r"expected network as one of \['paper'\], a builder .* got 'vgg'"),
        (3, "got 3"),
        (lambda shape, n_classes: None, "expected the network builder to return a keras.Model, got NoneType"),
        (lambda shape, n_classes: plane(shape, n_classes + 1), "has 4 outputs, but y holds 3 identities"),
        (
            lambda shape, n_classes: keras.Sequential([layers.Flatten(), layers.Dense(n_classes)]),
            "without a fixed input",
        ),
        ("paper", "at least 24 x 24 pixels, got 6 x 5"),
    ],
)
def test_bad_networks(network, message):
    with pytest.raises(ValueError, match=message):
        learner(network).fit(*blobs())


@pytest.mark.parametrize(
    "parameters",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0},
        {"patience": 0},
        {"epochs": 1.5},
        {"random_state": "a"},
    ],
)
def test_bad_parameters(parameters):
    with pytest.raises(ValueError, match=f"'{next(iter(parameters))}' parameter of FaceClassifier must be"):
        learner(**parameters).fit(*blobs())


@pytest.mark.parametrize("optimizer", ["speed", None, 3])
def test_bad_optimizer(optimizer):
    with pytest.raises(ValueError, match=f"expected optimizer as a name that Keras knows.* got {optimizer!r}"):
        learner(optimizer=optimizer).fit(*blobs())


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (["ann"] * 29, "got 30 images and 29 labels"),
        (["ann"] * 30, "only one class is present: y holds 'ann' alone"),
        (np.linspace(0, 1, 30), "continuous"),
        (np.zeros((30, 2)), "1d array"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        learner().fit(blobs()[0], y)


def test_arguments_of_gradients():
    X, y = blobs()
    face = FaceClassifier.from_network(plane(SHAPE, 3), classes=NAMES)
    with pytest.raises(ValueError, match=r"cotangents of shape \(30, 3\), one a logit, got \(30,\)"):
        face.vjp(X, np.zeros(30))
    with pytest.raises(ValueError, match="labels that the model was not trained on: 0"):
        face.value_and_gradient(X, np.zeros(30, dtype=int))
    with pytest.raises(ValueError, match=r"expected y of shape \(30,\)"):
        face.value_and_gradient(X, y[:3])
    with pytest.raises(ValueError, match="divide by 255"):
        face.value_and_gradient(X * 255, y)
    values, logits, gradient = face.value_and_gradient(X.astype(np.float64), list(y))
    assert values.shape == (30,) and logits.shape == (30, 3) and gradient.shape == X.shape
    assert values.dtype == logits.dtype == gradient.dtype == np.float32


@pytest.mark.parametrize(
    "use",
    [
        lambda face, X: face.predict(X),
        lambda face, X: face.predict_proba(X),
        lambda face, X: face.vjp(X, X),
        lambda face, X: face.activations(X, []),
        lambda face, X: face.pass_counts(),
    ],
)
def test_not_fitted(use):
    with pytest.raises(NotFittedError):
        use(FaceClassifier(), blobs()[0])


def test_input_is_never_written_to():
    X, y = blobs()
    before = X.copy()
    X.flags.writeable = False
    face = learner(epochs=1).fit(X, y)
    face.value_and_gradient(X, y)
    np.testing.assert_array_equal(X, before)


def test_deepcopy_is_another_network_with_the_same_answers():
    face = learner(epochs=1).fit(*blobs())
    twin = copy.deepcopy(face)
    assert twin.network_ is not face.network_ and same_weights(twin, face)


# What the user sees


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose_shows_a_bar_on_standard_error(capsys, verbose):
    learner(epochs=2, verbose=verbose).fit(*blobs())
    out, err = capsys.readouterr()
    assert out == "" and ("Training" in err and "accuracy" in err) == bool(verbose)


def test_importing_is_cheap():
    code = (
        "import sys, time; start = time.perf_counter(); import smartbox; taken = time.perf_counter() - start\n"
        "print(taken, *{'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    taken, *heavy = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not heavy and float(taken) < 0.5


def test_the_papers_network_on_the_smallest_image():
    from smartbox.networks import paper_network

    network = paper_network((24, 24, 3), 7)
    assert [layer.name for layer in network.layers if layer.name.startswith("conv")] == [
        "conv1",
        "conv2",
        "conv3",
        "conv4",
    ]
    assert FaceClassifier.from_network(network).logits(np.zeros((1, 24, 24, 3))).shape == (1, 7)
