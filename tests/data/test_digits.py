"""The digits: the same real images in the same two parts, always; and what a fingerprint sees."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from noiseproof.data import DATASETS, Dataset, check_name, load
from noiseproof.errors import NoiseproofError

FINGERPRINT = "9c22ca1110896520c3ce41616b94e56819b6fc2d20c1c9066979ea6497cd4773"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


# ----------------------------------------------------------------------------------------- the digits


def test_shapes_and_dtypes(digits: Dataset) -> None:
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.train_labels.shape == (1437,)
    assert digits.test_labels.shape == (360,)
    assert digits.train_images.dtype == digits.test_images.dtype == np.uint8
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64
    assert (digits.name, digits.num_classes, digits.image_shape) == ("digits", 10, (1, 8, 8))
    assert digits.class_names == tuple("0123456789")
    assert digits.canonical


def test_every_image_is_in_one_part_with_its_label(digits: Dataset) -> None:
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    index = {(pixels[i].astype(int).tobytes(), int(labels[i])): i for i in range(1797)}
    assert len(index) == 1797  # no image is there twice, so an image tells its index

    def indices(images: Any, its_labels: Any) -> list[int]:
        rows = images.reshape(len(images), 64).astype(int)
        return [index[row.tobytes(), int(label)] for row, label in zip(rows, its_labels, strict=True)]

    train = indices(digits.train_images, digits.train_labels)
    test = indices(digits.test_images, digits.test_labels)
    assert set(train).isdisjoint(test)
    assert sorted(train + test) == list(range(1797))


def test_every_digit_gives_a_fifth_to_the_test_set(digits: Dataset) -> None:
    train, test = Counter(digits.train_labels.tolist()), Counter(digits.test_labels.tolist())
    for digit in range(10):
        share = (train[digit] + test[digit]) * 360 / 1797
        assert abs(test[digit] - share) < 1


def test_the_order_is_shuffled(digits: Dataset) -> None:
    for labels in (digits.train_labels, digits.test_labels):
        assert len(set(labels[:50].tolist())) == 10


def test_the_data_is_always_the_same(digits: Dataset) -> None:
    np.random.seed(1)  # the split must not depend on it
    assert digits.fingerprint == load("digits").fingerprint == FINGERPRINT


def test_mean_and_deviation_are_those_of_the_training_images(digits: Dataset) -> None:
    pixels = [float(value) for value in digits.train_images.ravel()]
    mean = sum(pixels) / len(pixels)
    deviation = (sum((value - mean) ** 2 for value in pixels) / len(pixels)) ** 0.5
    assert digits.mean == pytest.approx((mean,))
    assert digits.std == pytest.approx((deviation,))
    assert digits.train_images.max() == 16  # so the images are in the units of the mean


def test_a_data_dir_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match=r"^the digits come with scikit-learn and take no --data-dir$"):
        load("digits", tmp_path)


# -------------------------------------------------------------------------------------- fingerprints

ARRAYS = ["train_images", "train_labels", "test_images", "test_labels"]


@settings(max_examples=50, deadline=None)
@given(data=st.data(), name=st.sampled_from(ARRAYS), step=st.integers(1, 255))
def test_any_single_pixel_or_label_changes_the_fingerprint(
    digits: Dataset, data: st.DataObject, name: str, step: int
) -> None:
    array = getattr(digits, name).copy()
    place = data.draw(st.integers(0, array.size - 1))
    array.flat[place] = array.flat[place] ^ step
    changes: dict[str, Any] = {name: array}
    assert dataclasses.replace(digits, **changes).fingerprint != FINGERPRINT
    array.flat[place] = array.flat[place] ^ step
    assert dataclasses.replace(digits, **changes).fingerprint == FINGERPRINT


def test_order_and_shape_and_part_change_the_fingerprint(digits: Dataset) -> None:
    images, labels = digits.train_images, digits.train_labels
    test_images, test_labels = digits.test_images, digits.test_labels
    others = [
        dataclasses.replace(digits, train_images=images[::-1], train_labels=labels[::-1]),
        dataclasses.replace(digits, train_images=images.reshape(-1, 1, 4, 16)),
        dataclasses.replace(
            digits,
            train_images=test_images,
            train_labels=test_labels,
            test_images=images,
            test_labels=labels,
        ),
        # the last training image becomes the first test image: the same bytes, one after the other
        dataclasses.replace(
            digits,
            train_images=images[:-1],
            train_labels=labels[:-1],
            test_images=np.concatenate([images[-1:], test_images]),
            test_labels=np.concatenate([labels[-1:], test_labels]),
        ),
    ]
    assert len({FINGERPRINT, *(other.fingerprint for other in others)}) == 5


def test_the_layout_in_memory_changes_no_fingerprint(digits: Dataset) -> None:
    images = digits.train_images.astype(np.uint8, order="F")
    assert images.flags.f_contiguous
    fortran = dataclasses.replace(digits, train_images=images)
    assert fortran.fingerprint == FINGERPRINT


# -------------------------------------------------------------------------------------------- by name


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("digit", "did you mean 'digits'?"),
        ("CIFAR-10", "did you mean 'cifar10'?"),
        (
            "imagenet",
            "expected one of 'digits', 'cifar10', 'cifar100', 'mnist', 'fashion-mnist', 'folder:PATH',"
            " 'npz:FILE'",
        ),
    ],
)
def test_an_unknown_data_set_is_refused_with_the_nearest(name: str, offer: str) -> None:
    for use in (check_name, load):
        with pytest.raises(NoiseproofError) as caught:
            use(name)
        assert str(caught.value) == f"unknown data set {name!r}; {offer}"


def test_every_known_name_passes() -> None:
    for name in DATASETS:
        check_name(name)
