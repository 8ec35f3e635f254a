"""MNIST and what has its form: four idx files, gzipped or not, in a folder or downloaded."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseproof.data.dataset import Dataset
from noiseproof.data.published import Canon, check_folder, download, reason
from noiseproof.errors import NoiseproofError
from noiseproof.noise import class_map

ReadFile = Callable[[str], bytes]

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""Training and test images and labels."""

SIZE = 28
"""Height and width of an image."""

UNSIGNED_BYTES = 0x08
"""The idx format's code for a file of bytes."""


@dataclass(frozen=True)
class IdxSet:
    """A data set of 28x28 images in ten classes: its names, its files, and what is known of its images.

    ``gz_sums`` has the MD5 sums of the gzipped files as they are downloaded, ``sums`` those of their
    contents, by which files are judged: the same data may be gzipped in many ways. Both are in the order of
    `FILES`. ``mean`` and ``std`` are those of the training images, in 0..1. ``folder`` is where torchvision
    puts them.
    """

    name: str
    title: str
    url: str
    folder: str
    gz_sums: tuple[str, ...]
    sums: tuple[str, ...]
    class_names: tuple[str, ...]
    mean: float
    std: float

    def load(self, data_dir: Path | None) -> Dataset:
        """Load it from the four files in ``data_dir``, each gzipped or not.

        Without ``data_dir`` they are downloaded once, checked, and kept in the user's cache. Files whose
        content differs from the published one are used, with one warning. Raises `NoiseproofError` for a
        missing, unreadable or damaged file, or a failed download.
        """
        read_file = self._downloaded if data_dir is None else self._found(Path(data_dir))
        canon = Canon(self.title, dict(zip(FILES, self.sums, strict=True)))
        train_images, train_labels, test_images, test_labels = (
            _decode(name, _read(name, read_file, canon), canon) for name in FILES
        )
        for images, labels, name in (
            (train_images, train_labels, FILES[1]),
            (test_images, test_labels, FILES[3]),
        ):
            if len(images) != len(labels) or labels.max() >= len(self.class_names):
                expected = f"{len(images)} labels in 0..{len(self.class_names) - 1}"
                canon.fail(name, f"is damaged (expected {expected})")
        dataset = Dataset(
            name=self.name,
            train_images=train_images[:, None],
            train_labels=train_labels.astype(np.int64),
            test_images=test_images[:, None],
            test_labels=test_labels.astype(np.int64),
            class_names=self.class_names,
            class_map=class_map(self.name),
            mean=(255 * self.mean,),
            std=(255 * self.std,),
            canonical=not canon.differing,
        )
        canon.warn(dataset)
        return dataset

    def _downloaded(self, name: str) -> bytes:
        path = download(
            f"{self.url}/{name}.gz",
            f"{self.name}-{name}.gz",
            f"md5:{self.gz_sums[FILES.index(name)]}",
            title=self.title,
            offer=f"give --data-dir with the four files {FILES[0]}.gz and so on",
        )
        return path.read_bytes()

    def _found(self, data_dir: Path) -> ReadFile:
        check_folder(data_dir)
        for folder in (data_dir, data_dir / self.folder):
            for ending in ("", ".gz"):
                if (folder / f"{FILES[0]}{ending}").is_file():
                    return lambda name: _in(folder, name).read_bytes()
        raise NoiseproofError(f"data folder {str(data_dir)!r} holds no {FILES[0]}, with or without .gz")


def _in(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.is_file() else folder / f"{name}.gz"


def _read(name: str, read_file: ReadFile, canon: Canon) -> bytes:
    try:
        raw = read_file(name)
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        canon.fail(name, f"cannot be read ({reason(error)})")
    canon.compare(name, raw)
    return raw


def _decode(name: str, raw: bytes, canon: Canon) -> NDArray[np.uint8]:
    """Read a file of the idx format: two zeros, a type, a number of dimensions, the dimensions, the bytes."""
    shape_of_one = (SIZE, SIZE) if "images" in name else ()
    num_dimensions = 1 + len(shape_of_one)
    start = 4 * (1 + num_dimensions)
    header = struct.pack(">HBB", 0, UNSIGNED_BYTES, num_dimensions)
    if not raw.startswith(header) or len(raw) < start:
        canon.fail(name, f"is damaged (expected an idx file of bytes in {num_dimensions} dimensions)")
    shape = struct.unpack(f">{num_dimensions}I", raw[4:start])
    if shape[1:] != shape_of_one or shape[0] == 0 or len(raw) - start != int(np.prod(shape, dtype=object)):
        what = f"one image or more of {SIZE}x{SIZE}" if shape_of_one else "one label or more"
        canon.fail(name, f"is damaged (expected {what}, each byte of them; it says {shape})")
    # a copy, since bytes cannot be written to
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape).copy()
