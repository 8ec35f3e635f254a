"""CIFAR-100's files: fine labels, from wherever they are; what is refused is tested with CIFAR-10's."""

from __future__ import annotations

import io
import pickle
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from noiseproof.data import Dataset, load
from noiseproof.data.cifar100 import CIFAR100
from noiseproof.errors import NoiseproofError
from noiseproof.noise import class_map

ROWS = np.random.default_rng(0).integers(0, 256, (5, 3072)).astype(np.uint8)
FINE = [99, 0, 42, 7, 99]
COARSE = [1, 2, 3, 4, 5]


def batch(span: slice, **others: Any) -> bytes:
    content = {"data": ROWS[span], "fine_labels": FINE[span], "coarse_labels": COARSE[span]} | others
    return pickle.dumps(content, protocol=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "cifar-100-python"
    inner.mkdir()
    (inner / "train").write_bytes(batch(slice(0, 3)))
    (inner / "test").write_bytes(batch(slice(3, 5)))
    return inner


def load_quietly(data_dir: Path | None) -> Dataset:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*differ from the canonical ones")
        return load("cifar100", data_dir)


def test_images_and_fine_labels_arrive_in_order(folder: Path) -> None:
    for place in (folder, folder.parent):
        dataset = load_quietly(place)
        assert dataset.train_labels.tolist() == FINE[:3]
        assert dataset.test_labels.tolist() == FINE[3:]
        assert_array_equal(dataset.train_images.reshape(3, -1), ROWS[:3])
        assert_array_equal(dataset.test_images.reshape(2, -1), ROWS[3:])


def test_what_comes_with_the_images(folder: Path) -> None:
    dataset = load_quietly(folder)
    assert (dataset.name, dataset.num_classes, dataset.image_shape) == ("cifar100", 100, (3, 32, 32))
    assert (dataset.class_names[0], dataset.class_names[99]) == ("apple", "worm")
    assert dataset.class_map == class_map("cifar100")
    assert [value / 255 for value in dataset.mean] == pytest.approx([0.5071, 0.4865, 0.4409])
    assert [value / 255 for value in dataset.std] == pytest.approx([0.2673, 0.2564, 0.2762])


def test_the_archive_is_read_and_is_what_is_downloaded(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive" / "cifar-100-python.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name in ("train", "test"):
            raw = (folder / name).read_bytes()
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    asked: dict[str, Any] = {}

    def retrieve(url: str, **settings: Any) -> str:
        asked.update(settings, url=url)
        return str(path)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    fingerprints = {load_quietly(place).fingerprint for place in (folder, path.parent, None)}
    assert len(fingerprints) == 1
    assert asked["url"] == "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    assert asked["known_hash"] == "md5:eb9058c3a382ffc7106e4002c42a8d85"


def test_files_that_are_not_the_published_ones_are_used_with_one_warning(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"^2 of 2 CIFAR-100 files differ from the canonical ones") as caught:
        assert not load("cifar100", folder).canonical
    assert len(caught) == 1
    assert CIFAR100.train_files == {"train": "16019d7e3df5f24257cddd939b257f8d"}
    assert CIFAR100.test_files == {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"}


@pytest.mark.parametrize(
    ("others", "fault"),
    [
        ({"fine_labels": [0, 1, 100]}, "expected 3 labels in 0..99"),
        ({"fine_labels": [0, 1]}, "expected 3 labels in 0..99"),
        ({"data": ROWS[:3, :3000]}, "expected rows of 3072 bytes"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, others: dict[str, Any], fault: str) -> None:
    (folder / "train").write_bytes(batch(slice(0, 3), **others))
    with pytest.raises(NoiseproofError, match=rf"^CIFAR-100 file 'train' is damaged \({fault}"):
        load_quietly(folder)


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        NoiseproofError, match=r"holds neither cifar-100-python/test nor cifar-100-python.tar.gz"
    ):
        load("cifar100", tmp_path)
