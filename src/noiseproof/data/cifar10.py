"""CIFAR-10 in its python version: downloaded with a checksum, or read from a folder."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from noiseproof.data.dataset import Dataset
from noiseproof.errors import NoiseproofError, one_line
from noiseproof.noise import class_map
from noiseproof.noise.class_maps import CIFAR10_CLASSES

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE = "cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
FOLDER = "cifar-10-batches-py"

TRAIN_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST_FILES = {"test_batch": "40351d587109b95175f43aff81a1287e"}
"""The files and the MD5 sums of the canonical ones, as published with the data set."""

ReadFile = Callable[[str], bytes]


def load_cifar10(data_dir: Path | None = None) -> Dataset:
    """Load CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images, 3x32x32, 10 classes.

    Without ``data_dir`` the archive is downloaded once, checked, and kept in the user's cache. A
    ``data_dir`` may be the folder ``cifar-10-batches-py``, a folder that holds it, or one that holds the
    archive. Files that differ from the canonical ones are used, with one warning.

    Raises `NoiseproofError` for a missing, unreadable or damaged file, or a failed download.
    """
    read_file = _downloaded() if data_dir is None else _found(Path(data_dir))
    differing: list[str] = []
    train_images, train_labels = _read_files(read_file, TRAIN_FILES, differing)
    test_images, test_labels = _read_files(read_file, TEST_FILES, differing)
    dataset = Dataset(
        name="cifar10",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=CIFAR10_CLASSES,
        class_map=class_map("cifar10"),
        # the training images' own, as published everywhere, in 0..255
        mean=(0.4914 * 255, 0.4822 * 255, 0.4465 * 255),
        std=(0.2470 * 255, 0.2435 * 255, 0.2616 * 255),
        canonical=not differing,
    )
    if differing:
        warnings.warn(
            f"{len(differing)} of 6 CIFAR-10 files differ from the canonical ones; they are used as they are"
            f" (fingerprint {dataset.fingerprint[:12]}, kept in every record)",
            stacklevel=2,
        )
    return dataset


def _downloaded() -> ReadFile:
    import pooch

    try:
        archive = pooch.retrieve(
            URL,
            known_hash=f"md5:{ARCHIVE_MD5}",
            fname=ARCHIVE,
            path=pooch.os_cache("noiseproof"),
            progressbar=True,
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
        reason = _reason(error)
        raise NoiseproofError(
            f"CIFAR-10 could not be downloaded ({reason}); give --data-dir with {FOLDER}/ or {ARCHIVE}"
        ) from None
    return _from_archive(Path(archive))


def _found(data_dir: Path) -> ReadFile:
    if data_dir.is_file():
        raise NoiseproofError(f"{str(data_dir)!r} is a file; --data-dir must be the folder that holds it")
    if not data_dir.is_dir():
        raise NoiseproofError(f"data folder {str(data_dir)!r} does not exist")
    for folder in (data_dir, data_dir / FOLDER):
        if (folder / "test_batch").is_file():
            return lambda name: (folder / name).read_bytes()
    if (data_dir / ARCHIVE).is_file():
        return _from_archive(data_dir / ARCHIVE)
    raise NoiseproofError(f"data folder {str(data_dir)!r} holds neither {FOLDER}/test_batch nor {ARCHIVE}")


def _from_archive(archive: Path) -> ReadFile:
    """Read members straight from the archive: nothing is unpacked, so no member can climb out of a folder."""

    def read_file(name: str) -> bytes:
        with tarfile.open(archive) as tar:
            member = tar.extractfile(f"{FOLDER}/{name}")
            if member is None:
                raise FileNotFoundError(f"{name} in {archive} is not a file")
            return member.read()

    return read_file


def _read_files(
    read_file: ReadFile, files: dict[str, str], differing: list[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = [], []
    for name, md5 in files.items():
        try:
            raw = read_file(name)
        except (OSError, KeyError, EOFError, tarfile.TarError, zlib.error) as error:
            _fail(name, f"cannot be read ({_reason(error)})")
        if hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5:
            differing.append(name)
        batch_images, batch_labels = _decode(name, raw)
        images.append(batch_images)
        labels.append(batch_labels)
    return np.concatenate(images), np.concatenate(labels)


def _decode(name: str, raw: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        batch = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
        rows, labels = batch["data"], np.asarray(batch["labels"])
    except Exception as error:  # a damaged pickle can raise anything
        _fail(name, f"is damaged ({type(error).__name__}: {_reason(error)})")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072:
        _fail(name, "is damaged (expected rows of 3072 bytes, one for each image)")
    if not len(rows):
        _fail(name, "is damaged (it holds no image)")
    is_index = labels.shape == (len(rows),) and np.issubdtype(labels.dtype, np.integer)
    if not is_index or labels.min() < 0 or labels.max() > 9:
        _fail(name, f"is damaged (expected {len(rows)} labels in 0..9)")
    return rows.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _fail(name: str, fault: str) -> NoReturn:
    raise NoiseproofError(f"CIFAR-10 file {name!r} {fault}") from None


def _reason(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain values only, so that a poisoned file can run nothing."""

    ALLOWED = frozenset(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name in ("_reconstruct", "ndarray", "dtype")
    ) | {("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a data file")
        # the old module path still works in numpy 2, but warns
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
