"""Class maps: who is mistaken for whom, against the data sets' own class lists."""

from __future__ import annotations

import pytest

from noiseproof.errors import NoiseproofError
from noiseproof.noise import CLASS_MAPS, asymmetric, class_map
from noiseproof.noise.class_maps import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES

# fmt: off
SUPERCLASS_OF = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11,
    6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5,
    5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17,
    10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13,
    16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)
# fmt: on
"""The coarse label of each of CIFAR-100's fine labels, as its files have them."""


def test_cifar10_maps_the_studys_five_classes() -> None:
    named = {CIFAR10_CLASSES[clean]: CIFAR10_CLASSES[noisy] for clean, noisy in class_map("cifar10").items()}
    assert named == {
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    }
    assert class_map("cifar10") == {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def test_cifar100_classes_are_100_in_alphabetical_order() -> None:
    assert len(CIFAR100_CLASSES) == len(set(CIFAR100_CLASSES)) == 100
    assert list(CIFAR100_CLASSES) == sorted(CIFAR100_CLASSES)
    # a few ids of the data set's own
    assert [CIFAR100_CLASSES[i] for i in (0, 1, 11, 39, 50, 58, 98, 99)] == [
        "apple", "aquarium_fish", "boy", "keyboard", "mouse", "pickup_truck", "woman", "worm",
    ]  # fmt: skip


def test_cifar100_superclasses_are_the_data_sets_own() -> None:
    assert [len(group) for group in CIFAR100_SUPERCLASSES.values()] == [5] * 20
    assert sorted(CIFAR100_SUPERCLASSES) == list(CIFAR100_SUPERCLASSES)  # coarse ids are alphabetical too
    for coarse, group in enumerate(CIFAR100_SUPERCLASSES.values()):
        members = {CIFAR100_CLASSES[fine] for fine in range(100) if SUPERCLASS_OF[fine] == coarse}
        assert set(group) == members


def test_cifar100_maps_every_class_to_the_next_of_its_superclass() -> None:
    mapped = class_map("cifar100")
    assert sorted(mapped) == sorted(mapped.values()) == list(range(100))  # a permutation
    for fine in range(100):
        members = [other for other in range(100) if SUPERCLASS_OF[other] == SUPERCLASS_OF[fine]]
        following = members[(members.index(fine) + 1) % 5]
        assert mapped[fine] == following != fine


def test_digits_are_mistaken_for_those_they_look_like() -> None:
    assert class_map("digits") == class_map("mnist") == {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}


def test_clothes_are_mistaken_as_zhang_and_sabuncu_have_it() -> None:
    # ankle boot -> sneaker -> sandal, pullover -> shirt, coat <-> dress, by the data set's own numbers
    assert class_map("fashion-mnist") == {9: 7, 7: 5, 2: 6, 4: 3, 3: 4}


@pytest.mark.parametrize(
    ("name", "num_classes"),
    [("cifar10", 10), ("cifar100", 100), ("digits", 10), ("mnist", 10), ("fashion-mnist", 10)],
)
def test_every_map_makes_asymmetric_noise(name: str, num_classes: int) -> None:
    matrix = asymmetric(num_classes, 0.4, class_map(name))
    noisy_classes = {k for k in range(num_classes) if matrix[k, k] != 1}
    assert noisy_classes == set(CLASS_MAPS[name])


def test_a_map_that_is_changed_changes_no_other() -> None:
    changed = class_map("digits")
    changed.clear()
    assert class_map("digits")


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("cifar-10", "did you mean 'cifar10'"),
        ("CIFAR100", "did you mean 'cifar100'"),
        ("digit", "did you mean 'digits'"),
        ("imagenet", "expected one of 'cifar10', 'cifar100', 'digits', 'mnist', 'fashion-mnist'"),
    ],
)
def test_an_unknown_map_is_refused_with_the_nearest(name: str, offer: str) -> None:
    with pytest.raises(NoiseproofError, match=rf"^no class map named '{name}'; {offer}\??$"):
        class_map(name)
