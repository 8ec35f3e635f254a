"""Labels that people gave: read without running anything, and only for the images they belong to.

The files here are tiny, but of the published form. The real ones are looked for in ``NOISEPROOF_DATA``, or
beside the repository in ``shared/data``; they may not be spread, so most will not have them.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from noiseproof import noise
from noiseproof.data import HUMAN_VARIANTS, Dataset, load, load_human_labels
from noiseproof.errors import NoiseproofError

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("NOISEPROOF_DATA", ROOT.parent / "shared" / "data"))

KEYS = {
    "aggregate": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worst": "worse_label",
}
RATES = {"aggregate": 9.01, "random1": 17.23, "random2": 18.12, "random3": 17.64, "worst": 40.21}
"""Percent of wrong labels, as Wei et al. publish them."""


def a_dataset(name: str, labels: list[int], num_classes: int) -> Dataset:
    images = np.zeros((len(labels), 1, 1, 1), dtype=np.uint8)
    array = np.array(labels, dtype=np.int64)
    names = tuple(map(str, range(num_classes)))
    return Dataset(name, images, array, images, array, names, {}, (0.0,), (1.0,))


CLEAN = [6, 9, 9, 4]
CIFAR10 = a_dataset("cifar10", CLEAN, 10)
CIFAR100 = a_dataset("cifar100", [19, 29, 0, 99], 100)


def human10() -> dict[str, Any]:
    """Variant number i differs from the clean labels in image i."""
    labels = {"clean_label": np.array(CLEAN)}
    for i, key in enumerate(KEYS.values()):
        labels[key] = np.array([7 if j == i % 4 else label for j, label in enumerate(CLEAN)])
    return labels


def write_pt(path: Path, content: Any) -> None:
    """A file as `torch.save` writes it: a zip archive with a pickle of protocol 2 in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr(f"{path.stem}/version", "3\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pt(tmp_path / "CIFAR-10_human.pt", human10())
    noisy = {"clean_label": CIFAR100.train_labels, "noisy_label": np.array([19, 0, 0, 98])}
    write_pt(tmp_path / "CIFAR-100_human.pt", noisy | {"noisy_coarse_label": [1, 2, 3, 4]})
    return tmp_path


def refusal(dataset: Dataset, variant: str, data_dir: Path | None) -> str:
    with pytest.raises(NoiseproofError) as caught:
        load_human_labels(dataset, variant, data_dir)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_every_variant_is_the_column_of_its_name(folder: Path) -> None:
    assert list(HUMAN_VARIANTS.items()) == [("cifar10", tuple(KEYS)), ("cifar100", ("noisy",))]
    for variant, key in KEYS.items():
        labels = load_human_labels(CIFAR10, variant, folder)
        assert_array_equal(labels, human10()[key])
        assert labels.dtype == np.int64
    assert load_human_labels(CIFAR100, "noisy", folder).tolist() == [19, 0, 0, 98]


def test_the_variants_are_those_that_a_noise_can_name() -> None:
    variants = [variant for variants in HUMAN_VARIANTS.values() for variant in variants]
    assert tuple(variants) == noise.HUMAN_LABELS


def test_the_same_arrays_in_npz_are_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "cifar10n_labels.npz", **human10())
    assert_array_equal(load_human_labels(CIFAR10, "worst", tmp_path), human10()["worse_label"])


@pytest.mark.parametrize("data_dir", [None, "empty"])
def test_without_a_file_it_is_downloaded_and_checked(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, data_dir: str | None
) -> None:
    asked: dict[str, Any] = {}

    def retrieve(url: str, **settings: Any) -> str:
        asked.update(settings, url=url)
        return str(folder / "CIFAR-10_human.pt")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    (tmp_path / "empty").mkdir()
    load_human_labels(CIFAR10, "worst", None if data_dir is None else tmp_path / data_dir)
    commit = "49df7d8a69e355470c77c1c2f2424916325a394b"
    assert asked["url"] == (
        f"https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/{commit}/data/CIFAR-10_human.pt"
    )
    assert asked["known_hash"] == "sha256:873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310"


def test_what_has_no_human_labels_is_told_who_has(folder: Path) -> None:
    assert refusal(load("digits"), "worst", folder) == (
        "digits has no labels that people gave; 'cifar10', 'cifar100' have"
    )
    assert refusal(CIFAR10, "worse", folder) == "cifar10 has no human labels 'worse'; did you mean 'worst'?"
    assert "expected one of 'noisy'" in refusal(CIFAR100, "worst", folder)
    assert "does not exist" in refusal(CIFAR10, "worst", folder / "nowhere")


def test_labels_of_images_in_another_order_are_refused_with_their_number(folder: Path) -> None:
    shuffled = dataclasses.replace(CIFAR10, train_labels=CIFAR10.train_labels[::-1])
    assert "2 of its 4 clean labels are not the data set's" in refusal(shuffled, "worst", folder)


class Call:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_a_poisoned_file_runs_nothing(folder: Path) -> None:
    marker = folder / "marker"
    write_pt(folder / "CIFAR-10_human.pt", human10() | {"extra": Call(marker)})
    assert "is not allowed in a data file" in refusal(CIFAR10, "worst", folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"clean_label": None}, "must have 'clean_label' with 4 whole numbers"),
        ({"worse_label": np.array([1, 2, 3])}, "must have 'worse_label' with 4 whole numbers"),
        ({"worse_label": np.array([0.0, 1, 2, 3])}, "must have 'worse_label' with 4 whole numbers"),
        ({"worse_label": np.array([0, 1, 2, 10])}, "has labels in 'worse_label' that are not in 0..9"),
        ({"clean_label": np.array([-1, 1, 2, 3])}, "has labels in 'clean_label' that are not in 0..9"),
    ],
)
def test_labels_that_are_none_are_refused(folder: Path, change: dict[str, Any], fault: str) -> None:
    write_pt(folder / "CIFAR-10_human.pt", human10() | change)
    assert fault in refusal(CIFAR10, "worst", folder)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"PK\x03\x04"], ids=repr)
def test_a_damaged_file_is_named(folder: Path, raw: bytes) -> None:
    (folder / "CIFAR-10_human.pt").write_bytes(raw)
    assert "CIFAR-10_human.pt': the file is damaged (" in refusal(CIFAR10, "worst", folder)
    write_pt(folder / "CIFAR-10_human.pt", [1, 2])
    assert "expected arrays by name" in refusal(CIFAR10, "worst", folder)


# -------------------------------------------------------------------------------------- the real ones

REAL_FILES = {
    name: next((REAL / file for file in files if (REAL / file).is_file()), None)
    for name, files in {
        "cifar10": ("CIFAR-10_human.pt", "cifar10n_labels.npz"),
        "cifar100": ("CIFAR-100_human.pt",),
    }.items()
}


def real(name: str, num_classes: int) -> Dataset:
    from noiseproof.data.human_labels import _read

    path = REAL_FILES[name]
    assert path is not None
    return a_dataset(name, _read(path)["clean_label"].tolist(), num_classes)


@pytest.mark.skipif(REAL_FILES["cifar10"] is None, reason=f"no CIFAR-10N in {REAL}")
def test_the_real_cifar10n_is_as_wrong_as_published() -> None:
    dataset = real("cifar10", 10)
    assert np.bincount(dataset.train_labels).tolist() == [5_000] * 10
    for variant, rate in RATES.items():
        wrong = load_human_labels(dataset, variant, REAL) != dataset.train_labels
        assert 100 * wrong.mean() == pytest.approx(rate, abs=0.006)


@pytest.mark.skipif(REAL_FILES["cifar100"] is None, reason=f"no CIFAR-100N in {REAL}")
def test_the_real_cifar100n_is_as_wrong_as_published() -> None:
    dataset = real("cifar100", 100)
    assert np.bincount(dataset.train_labels).tolist() == [500] * 100
    wrong = load_human_labels(dataset, "noisy", REAL) != dataset.train_labels
    assert 100 * wrong.mean() == pytest.approx(40.20, abs=0.006)
