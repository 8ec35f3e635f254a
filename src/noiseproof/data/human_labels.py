"""Labels that people gave to the training images: CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022).

Theirs is the license CC BY-NC 4.0, so the labels are no part of the package, and not for commercial use.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from noiseproof.data.dataset import Dataset
from noiseproof.data.published import check_folder, download, reason
from noiseproof.data.unpickling import unpickle_arrays
from noiseproof.errors import NoiseproofError, did_you_mean

URL = (
    "https://raw.githubusercontent.com/UCSC-REAL/cifar-10-100n/49df7d8a69e355470c77c1c2f2424916325a394b/data"
)

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class _Source:
    """A data set's labels: the published file, names under which a copy in npz is found, keys by variant."""

    title: str
    file: str
    sha256: str
    copies: tuple[str, ...]
    keys: Mapping[str, str]


SOURCES = {
    "cifar10": _Source(
        title="CIFAR-10N",
        file="CIFAR-10_human.pt",
        sha256="873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310",
        copies=("CIFAR-10_human.npz", "cifar10n_labels.npz"),
        keys={
            "aggregate": "aggre_label",
            "random1": "random_label1",
            "random2": "random_label2",
            "random3": "random_label3",
            "worst": "worse_label",
        },
    ),
    "cifar100": _Source(
        title="CIFAR-100N",
        file="CIFAR-100_human.pt",
        sha256="bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394",
        copies=("CIFAR-100_human.npz", "cifar100n_labels.npz"),
        keys={"noisy": "noisy_label"},
    ),
}
"""Where the labels are, by data set."""

HUMAN_VARIANTS = {name: tuple(source.keys) for name, source in SOURCES.items()}
"""Sets of human labels, by data set."""

CLEAN = "clean_label"
"""The key of the data set's own labels, by which the order is checked."""


def load_human_labels(dataset: Dataset, variant: str, data_dir: Path | str | None = None) -> Labels:
    """Load what people called the training images: ``(N,)``, in 0..K-1, in the order of ``dataset``.

    For ``cifar10`` the variants are ``aggregate`` (a majority of three, 9 % wrong), ``random1``, ``random2``,
    ``random3`` (one person each, 17 to 18 %) and ``worst`` (a wrong one where there is any, 40 %); for
    ``cifar100`` it is ``noisy`` (40 %). The file is looked for in ``data_dir``, the published one or the same
    arrays in npz; if it is not there, it is downloaded once and checked.

    Raises `NoiseproofError` for a data set or a variant that has none, a damaged file, a failed download, or
    if the file's clean labels are not those of ``dataset``.
    """
    if dataset.name not in SOURCES:
        have = ", ".join(map(repr, SOURCES))
        raise NoiseproofError(f"{dataset.name} has no labels that people gave; {have} have")
    source = SOURCES[dataset.name]
    if variant not in source.keys:
        raise NoiseproofError(
            f"{dataset.name} has no human labels {variant!r}; {did_you_mean(variant, source.keys)}"
        )
    path = _found(source, None if data_dir is None else Path(data_dir)) or download(
        f"{URL}/{source.file}",
        source.file,
        f"sha256:{source.sha256}",
        title=source.title,
        offer=f"give --data-dir with {source.file}",
    )
    labels = _read(path)
    clean, human = (_checked(path, labels, key, dataset) for key in (CLEAN, source.keys[variant]))
    differing = int((clean != dataset.train_labels).sum())
    if differing:
        _fail(
            path,
            f"belongs to other images: {differing} of its {len(clean)} clean labels are not the data set's",
        )
    return human


def _found(source: _Source, data_dir: Path | None) -> Path | None:
    if data_dir is None:
        return None
    check_folder(data_dir)
    paths = (data_dir / name for name in (source.file, *source.copies))
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path) -> Mapping[str, Any]:
    """Read a dictionary of arrays from torch's archive, which is a zip file of a pickle, or from numpy's."""
    try:
        if path.suffix == ".npz":
            with path.open("rb") as file:  # numpy would leave a damaged one open
                return dict(np.load(file, allow_pickle=False))
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            labels = unpickle_arrays(archive.read(name))
    except Exception as error:  # a damaged pickle can raise anything
        _fail(path, f"is damaged ({type(error).__name__}: {reason(error)})")
    if not isinstance(labels, dict):
        _fail(path, "is damaged (expected arrays by name)")
    return labels


def _checked(path: Path, labels: Mapping[str, Any], key: str, dataset: Dataset) -> Labels:
    size, last = len(dataset.train_labels), dataset.num_classes - 1
    array = labels.get(key)
    if (
        not isinstance(array, np.ndarray)
        or array.shape != (size,)
        or not np.issubdtype(array.dtype, np.integer)
    ):
        _fail(path, f"must have {key!r} with {size} whole numbers, one for each training image")
    if array.min() < 0 or array.max() > last:
        _fail(path, f"has labels in {key!r} that are not in 0..{last}")
    return array.astype(np.int64)


def _fail(path: Path, fault: str) -> NoReturn:
    raise NoiseproofError(f"human labels {str(path)!r}: the file {fault}") from None
