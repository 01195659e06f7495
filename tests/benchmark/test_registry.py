"""Names of attacks, defences and detectors."""

import inspect

import pytest

import smartbox.attacks
import smartbox.defenses
import smartbox.detectors
from smartbox.base import BaseAttack, BaseDefense, BaseDetector
from smartbox.benchmark import _registry as registry
from smartbox.defenses import GuardedClassifier, RandomizedSmoothing
from smartbox.defenses._retrained import RetrainedClassifier
from smartbox.detectors._features import NetworkFeatures

KINDS = {
    "attack": (smartbox.attacks, BaseAttack),
    "defense": (smartbox.defenses, (BaseDefense, RetrainedClassifier, RandomizedSmoothing)),
    "detector": (smartbox.detectors, BaseDetector),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_exported_class_has_a_name_of_its_own(kind):
    package, base = KINDS[kind]
    exported = [getattr(package, name) for name in package.__all__ if inspect.isclass(getattr(package, name))]
    # what detectors judge is no detector, and a guard is made of both
    exported = [cls for cls in exported if not issubclass(cls, (NetworkFeatures, GuardedClassifier))]
    known = registry.available(kind)
    named = [cls for name, cls in known.items() if not registry.preset(kind, name)]
    assert sorted(map(id, named)) == sorted(map(id, exported))
    assert all(issubclass(cls, base) for cls in known.values())
    plain = [name.replace("_", "") for name in known]
    assert len(set(plain)) == len(plain)


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_finds_and_makes_its_class(kind):
    for name, cls in registry.available(kind).items():
        in_python = () if registry.preset(kind, name) else (cls.__name__,)
        for spelled in (name, name.upper(), name.replace("_", "-"), *in_python):
            assert registry.find(kind, spelled) == (name, cls)
        assert type(registry.make(kind, name, {})) is cls


def test_what_the_run_supplies_is_not_to_be_set():
    assert {"mode", "beta"} < set(registry.settable(smartbox.defenses.AdversarialTraining))
    for name, supplied in (("adversarial_training", "attack"), ("adversarial_training", "estimator"),
                           ("denoising_autoencoder", "attack"), ("denoising_autoencoder", "random_state")):  # fmt: skip
        assert supplied not in registry.settable(registry.find("defense", name)[1])
        with pytest.raises(ValueError, match=f"has no parameter {supplied!r}"):
            registry.make("defense", name, {supplied: 1})
    assert "estimator" in registry.settable(smartbox.detectors.BinaryInputDetector)


@pytest.mark.parametrize("rule", ["en", "l1"])
def test_the_decision_rules_of_ead_have_names_of_their_own(rule):
    assert registry.find("attack", f"EAD-{rule}") == (f"ead_{rule}", smartbox.attacks.EAD)
    attack = registry.make("attack", f"ead_{rule}", {"beta": 0.01})
    assert (attack.decision_rule, attack.beta, attack.model) == (rule, 0.01, None)
    assert registry.make("attack", f"ead_{rule}", {"decision_rule": rule}).decision_rule == rule
    other = {"en": "l1", "l1": "en"}[rule]
    with pytest.raises(
        ValueError, match=f"'ead_{rule}' stands for decision_rule='{rule}', got '{other}': choose 'ead'"
    ):
        registry.make("attack", f"ead_{rule}", {"decision_rule": other})


@pytest.mark.parametrize("kind", KINDS)
def test_an_eps_goes_with_the_name_of_an_attack_that_has_one(kind):
    for name, cls in registry.available(kind).items():
        asked = f"{name.upper().replace('_', '-')}@2/255"
        if kind == "attack" and "eps" in registry.settable(cls):
            assert registry.find(kind, asked) == (f"{name}@2/255", cls)
            assert registry.make(kind, f"{name}@2/255", {}).eps == "2/255"
        else:
            with pytest.raises(ValueError, match="no eps" if kind == "attack" else f"there is no {kind}"):
                registry.find(kind, asked)


def test_parameters_of_an_attack_with_its_eps():
    chosen = {"attack": ["pgd@2/255", "pgd@0.01"], "defense": [], "detector": []}
    split = registry.check_parameters({"attack.PGD@2/255.max_iter": 3, "attack.pgd@0.01.max_iter": 4}, chosen)
    assert [split["attack", name]["max_iter"] for name in chosen["attack"]] == [3, 4]
    attack = registry.make("attack", "pgd@2/255", split["attack", "pgd@2/255"])
    assert (attack.eps, attack.max_iter) == ("2/255", 3)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        ("GaussianBlur", "gaussian_blur"),
        ("FGSM", "fgsm"),
        ("PCADetector", "pca"),
        ("DeepFool", "deep_fool"),
        ("JPEGQuality", "jpeg_quality"),
    ],
)
def test_command_names(cls, name):
    assert registry.command_name(type(cls, (), {})) == name


def test_parameters_are_split_by_estimator():
    chosen = {"attack": ["fgsm", "pgd"], "defense": ["gaussian_blur"], "detector": []}
    parameters = {"attack.FGSM.eps": 0.1, "attack.pgd.eps": "8/255", "defense.GaussianBlur.sigma": 2}
    split = registry.check_parameters({**parameters, "network.epochs": 3}, chosen)
    assert split["attack", "fgsm"] == {"eps": 0.1} and split["attack", "pgd"] == {"eps": "8/255"}
    assert split["defense", "gaussian_blur"] == {"sigma": 2} and split["network"] == {"epochs": 3}


@pytest.mark.parametrize(
    "key", ["", ".", "network", "network.a.b", "attack..eps", "attack.fgsm.eps.more", "defence.x.y", 3, None]
)
def test_keys_that_are_none(key):
    with pytest.raises(ValueError, match=r"cannot set|no attack ''"):
        registry.check_parameters({key: 1}, {"attack": ["fgsm"], "defense": [], "detector": []})


def test_nearest():
    assert registry.nearest("fsgm", ["fgsm", "pgd"]) == " (did you mean 'fgsm'?)."
    assert registry.nearest("xyz", ["fgsm", "pgd"]) == "."
