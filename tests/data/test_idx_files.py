"""MNIST and Fashion-MNIST: four idx files, gzipped or not, judged by their content."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from noiseproof.data import Dataset, fashion_mnist, load, mnist
from noiseproof.data.idx_files import FILES
from noiseproof.errors import NoiseproofError
from noiseproof.noise import class_map

DEBIANS = Path("/usr/share/datasets/fashion-mnist")

RNG = np.random.default_rng(0)
IMAGES = {"train": RNG.integers(0, 256, (5, 28, 28)), "t10k": RNG.integers(0, 256, (3, 28, 28))}
LABELS = {"train": [9, 0, 3, 3, 1], "t10k": [2, 9, 0]}


def idx(values: Any) -> bytes:
    """The format as LeCun describes it: magic number, sizes, then the bytes."""
    array = np.asarray(values, dtype=np.uint8)
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


CONTENTS = {
    f"{part}-{kind}-idx{rank}-ubyte": idx(values[part])
    for part in ("train", "t10k")
    for kind, rank, values in (("images", 3, IMAGES), ("labels", 1, LABELS))
}


def write(folder: Path, *, gzipped: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in CONTENTS.items():
        if gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / name).write_bytes(raw)
    return folder


def load_quietly(name: str, data_dir: Path | None) -> Dataset:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*differ from the canonical ones")
        return load(name, data_dir)


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    ("name", "inner"),
    [("mnist", ""), ("mnist", "MNIST/raw"), ("fashion-mnist", ""), ("fashion-mnist", "FashionMNIST/raw")],
)
def test_images_and_labels_arrive_in_order(tmp_path: Path, name: str, inner: str, gzipped: bool) -> None:
    write(tmp_path / inner, gzipped=gzipped)
    dataset = load_quietly(name, tmp_path)
    assert dataset.train_images.dtype == np.uint8
    assert_array_equal(dataset.train_images, IMAGES["train"][:, None])
    assert_array_equal(dataset.test_images, IMAGES["t10k"][:, None])
    assert dataset.train_labels.tolist() == LABELS["train"]
    assert dataset.test_labels.tolist() == LABELS["t10k"]
    assert (dataset.name, dataset.num_classes) == (name, 10)
    assert dataset.class_map == class_map(name)
    dataset.train_images[0] = 0  # torch, too, wants arrays that can be written to


def test_what_is_published_of_each() -> None:
    assert (mnist.MNIST.mean, mnist.MNIST.std) == (0.1307, 0.3081)
    assert (fashion_mnist.FASHION_MNIST.mean, fashion_mnist.FASHION_MNIST.std) == (0.2860, 0.3530)
    assert fashion_mnist.FASHION_MNIST.class_names[9] == "Ankle boot"


def test_files_are_judged_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = tuple(hashlib.md5(CONTENTS[name]).hexdigest() for name in FILES)
    monkeypatch.setattr(mnist, "MNIST", dataclasses.replace(mnist.MNIST, sums=sums))
    for gzipped in (False, True):
        folder = write(tmp_path / str(gzipped), gzipped=gzipped)
        assert load("mnist", folder).canonical  # a warning would be an error here
    (folder / f"{FILES[3]}.gz").write_bytes(gzip.compress(idx([1, 2, 3])))
    with pytest.warns(UserWarning, match="^1 of 4 MNIST files differ from the canonical ones"):
        assert not load("mnist", folder).canonical


@pytest.mark.parametrize(
    ("name", "source"), [("mnist", mnist.MNIST), ("fashion-mnist", fashion_mnist.FASHION_MNIST)]
)
def test_the_downloads_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: Any
) -> None:
    folder, asked = write(tmp_path, gzipped=True), []

    def retrieve(url: str, *, known_hash: str, fname: str, **_: Any) -> str:
        asked.append((url.rpartition("/")[2], known_hash, fname))
        return str(folder / url.rpartition("/")[2])

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert load_quietly(name, None).train_labels.tolist() == LABELS["train"]
    assert asked == [
        (f"{file}.gz", f"md5:{md5}", f"{name}-{file}.gz")
        for file, md5 in zip(FILES, source.gz_sums, strict=True)
    ]


TRAIN_IMAGES, TRAIN_LABELS = FILES[0], FILES[1]


@pytest.mark.parametrize(
    ("name", "raw", "fault"),
    [
        (TRAIN_IMAGES, b"", "is damaged"),
        (TRAIN_IMAGES, CONTENTS[TRAIN_IMAGES][:-1], "is damaged"),
        (TRAIN_IMAGES, CONTENTS[TRAIN_IMAGES] + b"\0", "is damaged"),
        (TRAIN_IMAGES, CONTENTS[TRAIN_IMAGES][:15], "is damaged"),
        (TRAIN_IMAGES, CONTENTS[TRAIN_LABELS], "is damaged"),
        (TRAIN_IMAGES, b"\0\0\x0d" + CONTENTS[TRAIN_IMAGES][3:], "is damaged"),
        (TRAIN_IMAGES, idx(np.zeros((5, 27, 28))), "expected one image or more of 28x28"),
        (TRAIN_IMAGES, idx(np.zeros((0, 28, 28))), "expected one image or more"),
        (TRAIN_LABELS, idx([0, 1, 2, 3, 10]), "expected 5 labels in 0..9"),
        (TRAIN_LABELS, idx([0, 1, 2, 3]), "expected 5 labels in 0..9"),
        (TRAIN_LABELS, gzip.compress(CONTENTS[TRAIN_LABELS])[:20], "cannot be read"),
        (TRAIN_LABELS, b"\x1f\x8bnonsense", "cannot be read"),
        (TRAIN_LABELS, b"<html>404</html>", "is damaged"),
    ],
    ids=[
        "empty", "cut off", "too long", "header cut off", "labels", "floats", "27x28", "no image", "label 10",
        "few labels", "gzip cut off", "no gzip", "a web page",
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path: Path, name: str, raw: bytes, fault: str) -> None:
    (write(tmp_path) / name).write_bytes(raw)
    with pytest.raises(NoiseproofError, match=rf"^MNIST file '{name}' .*{fault}"):
        load_quietly("mnist", tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match=r"holds no train-images-idx3-ubyte, with or without .gz"):
        load("mnist", tmp_path)
    (write(tmp_path) / FILES[2]).unlink()
    with pytest.raises(NoiseproofError, match=f"^MNIST file '{FILES[2]}' cannot be read"):
        load_quietly("mnist", tmp_path)


@pytest.mark.skipif(not DEBIANS.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist_is_canonical_and_has_the_published_mean() -> None:
    dataset = load("fashion-mnist", DEBIANS)
    assert dataset.canonical
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (60_000, 10_000)
    assert np.bincount(dataset.train_labels).tolist() == [6_000] * 10
    mean = dataset.train_images.mean(dtype=np.float64)
    variance = np.square(dataset.train_images, dtype=np.uint16).mean(dtype=np.float64) - mean**2
    assert (mean / 255, variance**0.5 / 255) == pytest.approx((0.2860, 0.3530), abs=5e-5)
