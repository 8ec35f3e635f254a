"""CIFAR-100 in its python version: downloaded with a checksum, or read from a folder."""

from __future__ import annotations

from pathlib import Path

from noiseproof.data.cifar_files import Cifar
from noiseproof.data.dataset import Dataset
from noiseproof.noise.class_maps import CIFAR100_CLASSES

TRAIN_FILES = {"train": "16019d7e3df5f24257cddd939b257f8d"}
TEST_FILES = {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"}
"""The files and the MD5 sums of the canonical ones, as torchvision checks them too."""

CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    train_files=TRAIN_FILES,
    test_files=TEST_FILES,
    labels="fine_labels",
    class_names=CIFAR100_CLASSES,
    # the training images' own, as published everywhere
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)


def load_cifar100(data_dir: Path | None = None) -> Dataset:
    """Load CIFAR-100 (Krizhevsky 2009): 50,000 training and 10,000 test images, 3x32x32, 100 fine classes.

    Without ``data_dir`` the archive is downloaded once, checked, and kept in the user's cache. A
    ``data_dir`` may be the folder ``cifar-100-python``, a folder that holds it, or one that holds the
    archive. Files that differ from the canonical ones are used, with one warning.

    Raises `NoiseproofError` for a missing, unreadable or damaged file, or a failed download.
    """
    return CIFAR100.load(data_dir)
