"""CIFAR in its python version, whichever of the two: pickled batches in a folder or in an archive."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from noiseproof.data.dataset import Dataset
from noiseproof.data.published import Canon, check_folder, download, reason
from noiseproof.data.unpickling import unpickle_arrays
from noiseproof.errors import NoiseproofError
from noiseproof.noise import class_map

ReadFile = Callable[[str], bytes]

LARGEST_FILE = 400_000_000
"""Bytes; the largest published one has 155 million. A compressed archive may hold any number of zeros."""


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets: its names, its files with their MD5 sums, and what is known of its images.

    ``labels`` is the labels' key in a batch. ``mean`` and ``std`` are those of the training images, in 0..1.
    """

    name: str
    title: str
    url: str
    archive_md5: str
    folder: str
    train_files: dict[str, str]
    test_files: dict[str, str]
    labels: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def archive(self) -> str:
        """Name of the archive."""
        return self.url.rpartition("/")[2]

    def load(self, data_dir: Path | None) -> Dataset:
        """Load it from ``data_dir``: its folder, a folder that holds that, or one that holds the archive.

        Without ``data_dir`` the archive is downloaded once, checked, and kept in the user's cache. Files that
        differ from the published ones are used, with one warning. Raises `NoiseproofError` for a missing,
        unreadable or damaged file, or a failed download.
        """
        read_file = self._downloaded() if data_dir is None else self._found(Path(data_dir))
        canon = Canon(self.title, self.train_files | self.test_files)
        train_images, train_labels = self._read(self.train_files, read_file, canon)
        test_images, test_labels = self._read(self.test_files, read_file, canon)
        dataset = Dataset(
            name=self.name,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=self.class_names,
            class_map=class_map(self.name),
            mean=tuple(255 * value for value in self.mean),
            std=tuple(255 * value for value in self.std),
            canonical=not canon.differing,
        )
        canon.warn(dataset)
        return dataset

    def _downloaded(self) -> ReadFile:
        offer = f"give --data-dir with {self.folder}/ or {self.archive}"
        md5 = f"md5:{self.archive_md5}"
        return self._from_archive(download(self.url, self.archive, md5, title=self.title, offer=offer))

    def _found(self, data_dir: Path) -> ReadFile:
        check_folder(data_dir)
        (mark,) = self.test_files
        for folder in (data_dir, data_dir / self.folder):
            if (folder / mark).is_file():
                return _from_folder(folder)
        if (data_dir / self.archive).is_file():
            return self._from_archive(data_dir / self.archive)
        raise NoiseproofError(
            f"data folder {str(data_dir)!r} holds neither {self.folder}/{mark} nor {self.archive}"
        )

    def _from_archive(self, archive: Path) -> ReadFile:
        """Read members straight from the archive: nothing is unpacked, so none can climb out of a folder."""

        def read_file(name: str) -> bytes:
            with tarfile.open(archive) as tar:
                member = tar.getmember(f"{self.folder}/{name}")
                content = tar.extractfile(member) if member.isreg() else None  # links may lead in a circle
                if content is None:
                    raise OSError(f"it is no file in {archive}")
                with content:
                    return _bounded(content)

        return read_file

    def _read(
        self, names: Iterable[str], read_file: ReadFile, canon: Canon
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        batches = []
        for name in names:
            try:
                raw = read_file(name)
            except Exception as error:  # a damaged archive can raise anything
                canon.fail(name, f"cannot be read ({reason(error)})")
            canon.compare(name, raw)
            batches.append(self._decode(name, raw, canon))
        images, labels = zip(*batches, strict=True)
        return np.concatenate(images), np.concatenate(labels)

    def _decode(self, name: str, raw: bytes, canon: Canon) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        try:
            batch = unpickle_arrays(raw)
        except UnpicklingError as error:
            canon.fail(name, f"is damaged ({reason(error)})")
        if not isinstance(batch, dict) or not {"data", self.labels} <= batch.keys():
            canon.fail(name, f"is damaged (expected a dictionary with data and {self.labels})")
        rows, labels = batch["data"], _flat(batch[self.labels])
        is_image = isinstance(rows, np.ndarray) and rows.dtype == np.uint8
        if not is_image or rows.ndim != 2 or rows.shape[1] != 3072:
            canon.fail(name, "is damaged (expected rows of 3072 bytes, one for each image)")
        if not len(rows):
            canon.fail(name, "is damaged (it holds no image)")
        last = len(self.class_names) - 1
        is_index = labels.shape == (len(rows),) and np.issubdtype(labels.dtype, np.integer)
        if not is_index or labels.min() < 0 or labels.max() > last:
            canon.fail(name, f"is damaged (expected {len(rows)} labels in 0..{last})")
        return rows.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _from_folder(folder: Path) -> ReadFile:
    def read_file(name: str) -> bytes:
        path = folder / name
        if path.exists() and not path.is_file():  # a pipe would never end
            raise OSError("it is no file")
        with path.open("rb") as file:
            return _bounded(file)

    return read_file


def _bounded(file: IO[bytes]) -> bytes:
    raw = file.read(LARGEST_FILE + 1)
    if len(raw) > LARGEST_FILE:
        raise OSError(f"it is larger than {LARGEST_FILE} bytes")
    return raw


def _flat(labels: object) -> NDArray[Any]:
    """Make an array of a list of integers; of anything else, whose size nobody knows, an empty one."""
    if isinstance(labels, list | tuple) and all(type(label) is int for label in labels):
        return np.asarray(labels)
    return labels if isinstance(labels, np.ndarray) else np.empty(0)
