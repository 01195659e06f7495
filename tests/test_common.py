"""Every exported class through the common checks: scikit-learn's own on tables, SmartBox's on images."""

import inspect

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import smartbox.attacks
import smartbox.defenses
import smartbox.detectors
from smartbox import FaceClassifier, FaceEmbedder, FaceGallery, FaceVerifier
from smartbox.attacks import FGSM, PGD
from smartbox.base import BaseDetector
from smartbox.defenses import (
    AdversarialTraining,
    DefensiveDistillation,
    DenoisingAutoencoder,
    GaussianBlur,
    NoiseTraining,
)
from smartbox.defenses._model_defense import ModelDefense
from smartbox.detectors import BinaryInputDetector
from smartbox.estimator_checks import check_image_estimator, example_images, parametrize_with_image_checks
from tests.doubles import BrightDetector, NumpyModel, PixelEmbedder, small_network, smooth_embedding, tabular


def two_layers(image_shape, n_classes):
    import keras

    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(n_classes),
        ]
    )


def one_layer(image_shape):
    import keras

    last = keras.layers.Conv2D(image_shape[-1], 3, padding="same", activation="sigmoid")
    return keras.Sequential([keras.Input(image_shape), last])


CLASSES = [
    getattr(package, name)
    for package in (smartbox.attacks, smartbox.defenses, smartbox.detectors)
    for name in package.__all__
    if inspect.isclass(getattr(package, name))
]
# They train a network at each fit: scikit-learn's checks of them are slow.
TRAIN_NETWORKS = (AdversarialTraining, BinaryInputDetector, DefensiveDistillation, DenoisingAutoencoder, NoiseTraining)
LEARNER = FaceClassifier(two_layers, epochs=40, learning_rate=0.1)
# What a class needs beyond its model for a check to be quick or to fit a dozen images.
PARAMETERS = {
    "FGSM": [{"eps": 0.2}, {"norm": "l2", "eps": 2.0}, {"norm": "l1", "eps": "40", "targeted": True}],
    "MIFGSM": [{"eps": 0.1}, {"eps": 1.0, "norm": "l2", "decay": 0.5}],
    "APGD": [
        {"max_iter": 5, "eps": "0.1"},
        {"max_iter": 5, "norm": "l2", "eps": 1.0, "n_targets": 2, "n_restarts": 2},
        {"max_iter": 20, "eps": "32/255", "targeted": True},
        {"max_iter": 20, "norm": "l1", "eps": 10.0, "batch_size": 5},
    ],
    "AutoAttack": [
        {"eps": "0.1", "max_iter": 2, "n_targets": 1, "max_queries": 2},
        {"eps": 0.5, "norm": "l2", "max_iter": 1, "version": "rand", "batch_size": 5},
        {"eps": 5.0, "norm": "l1", "max_iter": 10, "n_targets": 1, "max_queries": 2},
    ],
    "DDN": [{"max_iter": 20}, {"max_iter": 40, "targeted": True}],
    "FAB": [
        {"max_iter": 5, "n_candidates": 3},
        {"max_iter": 4, "norm": "l2", "n_targets": 2},
        {"max_iter": 10, "norm": "l1", "targeted": True, "batch_size": 5},
        {"max_iter": 5, "norm": "l2", "n_candidates": 3, "n_restarts": 2},
    ],
    "FMN": [{"max_iter": 20}, {"max_iter": 20, "norm": "linf"}, {"max_iter": 20, "norm": "l1", "targeted": True}],
    "CarliniL2": [
        {"binary_search_steps": 2, "max_iter": 10, "initial_const": 1.0},
        {"binary_search_steps": 2, "max_iter": 20, "initial_const": "auto", "targeted": True},
    ],
    "EAD": [
        {"binary_search_steps": 2, "max_iter": 10, "initial_const": 1.0},
        {
            "binary_search_steps": 2,
            "max_iter": 20,
            "initial_const": 3.0,
            "decision_rule": "l1",
            "shrinkage": "prox",
            "targeted": True,
        },
    ],
    "Eyeglasses": [
        {"max_iter": 20},
        {"max_iter": 5, "motion": 1.0, "batch_size": 5},
        {"max_iter": 60, "smoothness": 0.2, "printability": 0.2, "momentum": 0.0, "targeted": True, "batch_size": 5},
    ],
    "DeepFool": [{}, {"norm": "linf", "n_candidates": 3}],
    "PGD": [
        {"max_iter": 5, "eps": "0.1"},
        {"max_iter": 5, "norm": "l2", "eps": 1.0, "early_stop": False},
        {"max_iter": 5, "norm": "l1", "eps": 10.0, "n_restarts": 2, "batch_size": 5},
        {"max_iter": 20, "eps": "32/255", "targeted": True},
    ],
    "Square": [
        {"max_queries": 10, "eps": "0.2"},
        {"max_queries": 30, "eps": 0.5, "targeted": True, "batch_size": 5},
        {"max_queries": 30, "norm": "l2", "eps": 2.0},
        {"max_queries": 30, "norm": "l1", "eps": 20.0, "batch_size": 5},
    ],
    "OnePixel": [
        {"n_pixels": 20, "population_size": 20, "max_iter": 5},
        {"n_pixels": 20, "population_size": 20, "max_iter": 5, "targeted": True, "batch_size": 5},
    ],
    "UniversalPerturbation": [{"eps": 0.2, "max_iter": 5}, {"norm": "l2", "eps": "3", "max_iter": 5}],
    "BitDepthReduction": [{"bits": 3}],
    "MedianFilter": [{}, {"size": 2}],
    "PCAReconstruction": [{"n_components": 1}, {"n_components": 0.7}],
    "Randomization": [{}, {"variant": "xie", "scale": (0.8, 0.8), "upsample": 1.25}],
    "TotalVariation": [{}, {"drop": 0.0, "weight": 0.1, "max_iter": 20}],
    "AdaptiveNoiseReduction": [{}, {"level": "mid"}],
    "AdversarialTraining": [
        {"attack": PGD(None, eps=0.02, max_iter=2), "mode": "pgd"},
        {"attack": FGSM(None, eps=0.02)},
        {"attack": PGD(None, eps=0.02, max_iter=2), "mode": "trades", "beta": 1.0},
    ],
    "DefensiveDistillation": [{"temperature": 2.0}],
    "NoiseTraining": [{"sigma": 0.05}],
    "DenoisingAutoencoder": [{"guidance": 0, "network": one_layer, "epochs": 1}],
    "AdaptiveNoiseDetector": [{}, {"level": "mid"}],
    "ArtifactDetector": [{"hidden_layer_sizes": (16,)}, {"layers": "conv1", "hidden_layer_sizes": (8,), "alpha": 1.0}],
    "BinaryInputDetector": [{"estimator": LEARNER}],
    "ConvFilterDetector": [{}, {"layers": ["conv2"], "C": 0.1}],
    "ConvFilterStatistics": [{}, {"layers": ["conv2", "dense1"]}],
    "NetworkActivations": [{}, {"layers": ["conv1", "<logits>"]}],
    "PCADetector": [
        {"n_components": 3},
        {"n_components": 0.9, "components": "trailing", "whiten": True, "magnitude": True},
    ],
    "GuardedClassifier": [
        {"detector": BrightDetector()},
        {"detector": BrightDetector(), "defense": GaussianBlur(), "scale": 3.0},
    ],
    "RandomizedSmoothing": [
        {"n_draws": 40, "n_select": 10, "sigma": 0.05},
        {"n_draws": 20, "alpha": 0.05, "sigma": 0.2, "n_attack_draws": 3},
    ],
    "TabularGuardedClassifier": [{"detector": BrightDetector(0.51), "defense": GaussianBlur(sigma=0.5)}],
    "TabularRandomizedSmoothing": [{"n_draws": 40, "random_state": 0}],
    "FeatureSqueezingDetector": [{}, {"bits": (3,), "medians": ()}],
    "KernelDensityDetector": [{}, {"layer": "dense1", "n_components": 2, "bandwidth": 0.5, "n_passes": 0}],
    "KernelDensityFeatures": [{}, {"layer": "conv2", "n_components": None}],
    "LIDDetector": [{}, {"layers": ["conv2", "dense1"], "n_neighbors": 5, "n_references": 8}],
    "LayerDifferenceDetector": [{}, {"layers": "conv1", "C": 10.0}],
    "LayerDifferences": [{}, {"layers": ["conv2", "dense1"]}],
    "LocalIntrinsicDimensionality": [{}, {"layers": "conv2", "n_neighbors": 3}],
    "MahalanobisDetector": [{}, {"layers": ["dense1"], "C": 0.1}],
    "MahalanobisDistances": [{}, {"layers": ["conv1", "dense1"]}],
    "SqueezingDistances": [{}, {"bits": [2, 6], "medians": [4]}],
    "WhitenedPCADetector": [{}, {"first": 0.0, "last": 0.7}],
}
# scikit-learn's checks that a class may fail, each with its reason.
EXCUSES = {
    "DenoisingAutoencoder": dict.fromkeys(
        ("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
        "the last bit of a network of three pixels may depend on how TensorFlow shares rows among threads",
    ),
    "TotalVariation": {"check_transformer_n_iter": "fit iterates nothing; transform has max_iter steps"},
    **{
        name: {
            "check_sample_weight_equivalence_on_dense_data": "training draws mini-batches, so that weight 0 is not absence",
            "check_sample_weight_equivalence_on_sparse_data": "images are never sparse",
        }
        for name in ("FaceClassifier", "AdversarialTraining", "DefensiveDistillation", "NoiseTraining")
    },
    "FaceEmbedder": {
        "check_estimators_overwrite_params": "compares pickles of the network that Keras makes, which hold the time",
    },
    "FaceVerifier": dict.fromkeys(
        (
            "check_estimators_pickle",
            "check_estimators_pickle(readonly_memmap=True)",
            "check_fit_idempotent",
            "check_methods_sample_order_invariance",
            "check_methods_subset_invariance",
        ),
        "subtracts predictions, which are text",
    ),
    **{
        cls.__name__: {"check_classifiers_classes": "text labels would leave open which of them means adversarial"}
        for cls in CLASSES
        if issubclass(cls, BaseDetector)
    },
    **{
        cls.__name__: dict.fromkeys(
            (
                "check_classifiers_classes",
                "check_classifiers_one_label",
                "check_classifiers_train",
                "check_classifiers_train(readonly_memmap=True)",
                "check_classifiers_train(readonly_memmap=True,X_dtype=float32)",
            ),
            "fit trains nothing: the model is given fitted, and knows labels of its own",
        )
        for cls in CLASSES
        if issubclass(cls, ModelDefense)
    },
    "FeatureSqueezingDetector": {
        "check_classifiers_classes": "text labels would leave open which of them means adversarial",
        "check_classifiers_train": "scores are distances, so that the boundary is threshold_ and not 0",
        "check_classifiers_train(readonly_memmap=True)": "as above",
        "check_classifiers_train(readonly_memmap=True,X_dtype=float32)": "as above",
    },
    **{
        name: dict.fromkeys(
            ("check_transformer_general", "check_transformer_data_not_an_array"),
            "as TargetEncoder: fit_transform leaves out the image itself and what it was made of",
        )
        for name in ("KernelDensityFeatures", "LocalIntrinsicDimensionality", "MahalanobisDistances")
    },
    **{
        name: {"check_transformer_n_iter": "fit iterates nothing; an attack's iterations are report_.n_iterations"}
        for name in (
            "PGD",
            "MIFGSM",
            "APGD",
            "AutoAttack",
            "DDN",
            "FAB",
            "FMN",
            "CarliniL2",
            "EAD",
            "DeepFool",
            "Eyeglasses",
            "OnePixel",
        )
    },
}


def instances(cls, model, choices=None):
    supplied = {"model": model, "attack": FGSM(model, eps=0.05), "estimator": LEARNER}
    needed = [
        name for name, parameter in inspect.signature(cls).parameters.items() if parameter.default is parameter.empty
    ]
    for parameters in choices or PARAMETERS.get(cls.__name__, [{}]):
        yield cls(**{name: supplied[name] for name in needed if name not in parameters} | parameters)


def on_tables():
    for cls in CLASSES:
        if cls not in TRAIN_NETWORKS:  # see below
            # scikit-learn's labels are up to four, and a model that is given fitted has to know them
            yield from instances(tabular(cls), NumpyModel(4 if issubclass(cls, ModelDefense) else 3))
    yield tabular(FaceEmbedder)(smooth_embedding())
    for cls in (tabular(FaceGallery), tabular(FaceVerifier)):
        yield cls(PixelEmbedder())
        yield cls(PixelEmbedder(), template="max", threshold=0.8)


def on_images():
    face = FaceClassifier.from_network(small_network())
    for cls in CLASSES:
        yield from instances(cls, face)
    yield DenoisingAutoencoder(FGSM(face, eps=0.05), epochs=1)


def excuses(estimator):
    return EXCUSES.get(type(estimator).__name__.removeprefix("Tabular"), {})


@parametrize_with_checks(list(on_tables()), expected_failed_checks=excuses)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_image_checks(list(on_images()))
def test_image_checks(estimator, check):
    check()


@pytest.mark.slow
@parametrize_with_checks(
    [
        tabular(FaceClassifier)(two_layers, epochs=40, learning_rate=0.1, random_state=0),
        *(next(instances(tabular(cls), NumpyModel(), PARAMETERS[cls.__name__])) for cls in TRAIN_NETWORKS),
    ],
    expected_failed_checks=excuses,
)
def test_scikit_learn_checks_of_what_trains_networks(estimator, check):
    check(estimator)


def test_every_class_is_documented():
    for cls in [*CLASSES, FaceClassifier, FaceEmbedder, FaceGallery, FaceVerifier]:
        for section in ("Parameters\n", "Examples\n", "References\n"):
            assert section in cls.__doc__, f"{cls.__name__} has no section {section.strip()}"


class _Broken(smartbox.defenses.GaussianBlur):
    def _apply(self, X, draw):
        return X * np.float32(1.5)


def test_image_checks_find_a_wrong_gradient():
    with pytest.raises(AssertionError):
        check_image_estimator(_Broken())


def test_example_images_touch_the_walls():
    X = example_images()
    assert (X == 0).any() and (X == 1).any() and X.dtype == np.float32
