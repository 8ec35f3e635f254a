"""Archives of one's own: which arrays, with clean labels or without, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from noiseproof.data import Dataset, load
from noiseproof.errors import NoiseproofError

X = np.arange(20 * 3, dtype=np.float64).reshape(20, 3)
Y = np.arange(20) % 2
GIVEN = np.where(np.arange(20) < 4, 1 - Y, Y)


def write(folder: Path, **arrays: Any) -> Path:
    path = folder / "birds.npz"
    np.savez(path, **arrays)
    return path


def load_own(folder: Path, **arrays: Any) -> Dataset:
    return load(f"npz:{write(folder, **arrays)}")


def test_a_test_set_of_its_own(tmp_path: Path) -> None:
    dataset = load_own(tmp_path, x_train=X, y_train=Y, x_test=X[:4], y_test=Y[:4], given_train=GIVEN)
    assert dataset.name == "npz:birds.npz"
    assert_array_equal(dataset.train_images[..., 0, 0], X)
    assert_array_equal(dataset.test_images[..., 0, 0], X[:4])
    assert_array_equal(dataset.train_labels, Y)
    assert_array_equal(dataset.test_labels, Y[:4])
    assert_array_equal(dataset.given_labels, GIVEN)
    assert dataset.labels_are_clean


def test_without_one_a_fifth_of_each_class_is_held_out_and_labels_stay_with_their_images(
    tmp_path: Path,
) -> None:
    dataset = load_own(tmp_path, x=X, y=Y, given=GIVEN)
    assert np.bincount(dataset.test_labels).tolist() == [2, 2]
    train, test = (
        images[:, 0, 0, 0].astype(int) // 3 for images in (dataset.train_images, dataset.test_images)
    )
    assert sorted([*train, *test]) == list(range(20))
    assert_array_equal(dataset.train_labels, Y[train])
    assert_array_equal(dataset.test_labels, Y[test])
    assert_array_equal(dataset.given_labels, GIVEN[train])
    assert load(f"npz:{tmp_path / 'birds.npz'}").fingerprint == dataset.fingerprint


def test_labels_that_are_given_alone_are_not_said_to_be_clean(tmp_path: Path) -> None:
    dataset = load_own(tmp_path, x=X, given=GIVEN)
    assert not dataset.labels_are_clean
    assert dataset.given_labels is None
    dataset = load_own(tmp_path, x_train=X, given_train=GIVEN, x_test=X, y_test=Y)
    assert not dataset.labels_are_clean
    assert_array_equal(dataset.train_labels, GIVEN)
    assert_array_equal(dataset.test_labels, Y)


def test_class_names_and_texts(tmp_path: Path) -> None:
    assert load_own(tmp_path, x=X, y=Y, class_names=["owl", "jay"]).class_names == ("owl", "jay")
    dataset = load_own(tmp_path, x=X, y=np.array(["owl", "jay"])[Y], class_names=np.array([b"owl", b"jay"]))
    assert dataset.class_names == ("owl", "jay")
    assert_array_equal(np.bincount(dataset.train_labels), [8, 8])


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({}, "has no array 'x'; it has none"),
        ({"x": X}, "has neither 'y' nor 'given'"),
        ({"y": Y}, "has no array 'x'; it has 'y'"),
        ({"x": X, "Y": Y}, "has an unknown array 'Y'; did you mean 'y'?"),
        ({"x": X, "y": Y, "y_test": Y}, "has an unknown array 'x'"),
        ({"x_train": X, "y_train": Y}, "has no array 'x_test'"),
        ({"x_train": X, "x_test": X, "y_test": Y}, "has neither 'y_train' nor 'given_train'"),
        ({"x": X, "y": Y[:3]}, "has 'y' of shape (3,) for 'x' of shape (20, 3)"),
        ({"x": X, "y": Y, "given": Y[:3]}, "has 'given' of shape (3,)"),
        ({"x": np.float64(3), "y": Y}, "has 'y' of shape (20,) for 'x' of shape ()"),
        ({"x": X, "y": np.arange(20)}, "class 0 has one sample"),
        ({"x": X, "y": Y, "class_names": [1, 2]}, "'class_names' that are no list of texts"),
        ({"x": X * np.nan, "y": Y}, "npz:birds.npz: training images hold NaN"),
        ({"x": X.astype(object), "y": Y}, "Object arrays cannot be loaded"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], fault: str) -> None:
    with pytest.raises(NoiseproofError) as caught:
        load_own(tmp_path, **arrays)
    assert fault in str(caught.value)
    assert "birds.npz" in str(caught.value)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "birds.npz"
    with pytest.raises(NoiseproofError, match=r"^data file .*birds.npz' does not exist"):
        load(f"npz:{path}")
    whole = write(tmp_path, x=X, y=Y).read_bytes()
    for raw in (b"", b"PK\x03\x04nonsense", b"text", whole[: len(whole) // 2], b"\x80\x04N."):
        path.write_bytes(raw)
        with pytest.raises(NoiseproofError, match=r"^data file .*birds.npz' cannot be read \(") as refusal:
            load(f"npz:{path}")
        assert "allow_pickle" not in str(refusal.value)  # nobody is told to unpickle it
    with path.open("wb") as file:
        np.save(file, X)
    with pytest.raises(NoiseproofError, match="is a single array"):
        load(f"npz:{path}")
