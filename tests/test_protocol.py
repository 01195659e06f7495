"""The split rule, the targets and the claims of the face protocol."""

import numpy as np
import pytest
from sklearn.base import clone

from smartbox.metrics import verification_accuracy
from smartbox.protocol import FaceProtocol

# Images of each of the 38 subjects of Extended Yale B: 31 x 64, 3 x 63, 62, 2 x 60, 59.
YALE_COUNTS = np.array([64] * 31 + [63] * 3 + [62] + [60] * 2 + [59])


@pytest.fixture
def yale_labels():
    names = np.array([f"yaleB{i:02d}" for i in range(38)])
    return np.random.RandomState(5).permutation(np.repeat(names, YALE_COUNTS))


def test_split_of_extended_yale_b(yale_labels):
    assert len(yale_labels) == 2414
    parts = FaceProtocol().split(yale_labels)
    assert [len(part) for part in parts] == [1923, 227, 264]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(2414))
    assert all(np.all(np.diff(part) > 0) for part in parts)


def test_split_parts_each_identity_by_the_floor_rule(yale_labels):
    train, validation, test = FaceProtocol(random_state=3).split(yale_labels)
    for name in np.unique(yale_labels):
        n = int(np.sum(yale_labels == name))
        expected = [n * 4 // 5, n // 10, n - n * 4 // 5 - n // 10]
        assert [int(np.sum(yale_labels[part] == name)) for part in (train, validation, test)] == expected


def test_split_is_random_within_an_identity_and_every_image_may_test():
    y = np.repeat([0, 1], 20)
    tested = np.zeros(40)
    for seed in range(400):
        tested[FaceProtocol(random_state=seed).split(y)[2]] += 1
    assert tested.sum() == 400 * 4
    assert abs(tested - 40).max() < 5 * np.sqrt(400 * 0.1 * 0.9)


@pytest.mark.parametrize("relabel", [np.asarray, lambda y: y.astype(str), lambda y: y.astype(object), list])
def test_type_of_label_does_not_matter(relabel):
    y = np.repeat(np.arange(5), 12)
    expected, parts = FaceProtocol().split(y), FaceProtocol().split(relabel(y))
    for a, b in zip(expected, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    drawn = FaceProtocol().assign(relabel(y)).targets
    np.testing.assert_array_equal(np.asarray(drawn).astype(int), FaceProtocol().assign(y).targets)


def test_same_seed_same_answer_in_any_order_of_the_calls(yale_labels):
    first, second = FaceProtocol(random_state=7), FaceProtocol(random_state=7)
    first_probes = first.assign(yale_labels)
    first_split = first.split(yale_labels)
    second_split = second.split(yale_labels)
    second_probes = second.assign(yale_labels)
    for a, b in zip(first_split, second_split, strict=True):
        np.testing.assert_array_equal(a, b)
    for key in ("targets", "is_genuine", "claims"):
        np.testing.assert_array_equal(first_probes[key], second_probes[key])
        assert not np.array_equal(first_probes[key], FaceProtocol(random_state=8).assign(yale_labels)[key])


def test_no_seed_draws_afresh_and_leaves_the_global_generator_alone(yale_labels):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    protocol = FaceProtocol(random_state=None)
    assert not np.array_equal(protocol.split(yale_labels)[0], protocol.split(yale_labels)[0])
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_targets_are_uniform_on_the_others_and_the_coin_is_fair_and_independent():
    n, K = 37_000, 38
    y = np.full(n, 4)
    probes = FaceProtocol(random_state=1).assign(y, classes=np.arange(K))
    counts = np.bincount(probes.targets, minlength=K)
    assert counts[4] == 0
    assert abs(np.delete(counts, 4) - 1000).max() < 5 * np.sqrt(1000)
    assert probes.is_genuine.dtype == bool
    assert abs(probes.is_genuine.mean() - 0.5) < 5 * 0.5 / np.sqrt(n)
    assert abs(np.corrcoef(probes.targets, probes.is_genuine)[0, 1]) < 5 / np.sqrt(n)


def test_claims_are_the_truth_or_the_target(yale_labels):
    probes = FaceProtocol().assign(yale_labels)
    assert np.all(probes.targets != yale_labels)
    np.testing.assert_array_equal(probes.claims[probes.is_genuine], yale_labels[probes.is_genuine])
    np.testing.assert_array_equal(probes.claims[~probes.is_genuine], probes.targets[~probes.is_genuine])


def test_classes_may_be_the_training_labels_in_any_order():
    protocol = FaceProtocol()
    a = protocol.assign(["b", "a"] * 50, classes=["c", "a", "b", "c"])
    b = protocol.assign(["b", "a"] * 50, classes=["a", "b", "c"])
    np.testing.assert_array_equal(a.claims, b.claims)
    assert set(a.targets) == {"a", "b", "c"}


def test_consequences_for_verification(yale_labels):
    """A perfect targeted attack: 0 %. Any other label at random: half. An oracle: 100 %."""
    y = yale_labels[FaceProtocol().split(yale_labels)[2]]
    probes = FaceProtocol().assign(y)
    assert verification_accuracy(probes.targets, probes.claims, probes.is_genuine) == 0
    assert np.mean(probes.targets == y) == 0
    assert verification_accuracy(y, probes.claims, probes.is_genuine) == 1
    wrong = [FaceProtocol(random_state=seed).assign(y).targets for seed in range(1, 101)]
    accuracy = []
    for i, y_pred in enumerate(wrong):
        drawn = FaceProtocol(random_state=1000 + i).assign(y)
        accuracy.append(verification_accuracy(y_pred, drawn.claims, drawn.is_genuine))
    # Rejects every genuine claim and, but for one in 37, every impostor.
    assert abs(np.mean(accuracy) - 0.5 * 36 / 37) < 5 * 0.5 / np.sqrt(264 * 100)
    assert abs(np.mean(accuracy) - 0.5) < 0.03


def test_is_a_scikit_learn_object():
    assert repr(FaceProtocol(random_state=3)) == "FaceProtocol(random_state=3)"
    assert clone(FaceProtocol(random_state=3)).get_params() == {"random_state": 3}


@pytest.mark.parametrize(
    "y, message",
    [
        ([], "non-empty"),
        (np.eye(20), "argmax"),
        ([0.0, np.nan] * 20, "NaN"),
        (np.array(["a", None] * 20, dtype=object), "None"),
        (np.array(["a", 1] * 20, dtype=object), "one type"),
        ([0.5, 1.0] * 20, "class labels"),
        (["ann"] * 20, r"\['ann'\].*impostor"),
        (["ann"] * 20 + ["bob"] * 9, "'bob' has 9 images, expected at least 10"),
        (["ann"] * 3 + ["bob"] * 9, r"'ann' has 3 images \(and 1 other"),
    ],
)
def test_split_refuses(y, message):
    with pytest.raises(ValueError, match=message):
        FaceProtocol().split(y)


def test_ten_images_an_identity_are_enough():
    assert [len(part) for part in FaceProtocol().split([0, 1] * 10)] == [16, 2, 2]


@pytest.mark.parametrize(
    "y, classes, message",
    [
        (["ann"] * 3, None, "impostor"),
        (["ann"] * 3, ["ann"], "classes.*impostor"),
        (["ann", "eve"], ["ann", "bob"], r"\['eve'\]"),
        (["1", "2"], [1, 2], "enrolled"),
        (np.array(["1", "2"], dtype=object), [1, 2], "enrolled"),
        ([[0], [1]], None, "shape"),
        ([], None, "non-empty"),
    ],
)
def test_assign_refuses(y, classes, message):
    with pytest.raises(ValueError, match=message):
        FaceProtocol().assign(y, classes)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", np.random.RandomState(0)])
def test_seed_must_be_a_seed(seed):
    with pytest.raises(ValueError, match="random_state must be"):
        FaceProtocol(random_state=seed).assign([0, 1])
