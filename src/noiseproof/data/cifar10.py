"""CIFAR-10 in its python version: downloaded with a checksum, or read from a folder."""

from __future__ import annotations

from pathlib import Path

from noiseproof.data.cifar_files import Cifar
from noiseproof.data.dataset import Dataset
from noiseproof.noise.class_maps import CIFAR10_CLASSES

TRAIN_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST_FILES = {"test_batch": "40351d587109b95175f43aff81a1287e"}
"""The files and the MD5 sums of the canonical ones, as published with the data set."""

CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    train_files=TRAIN_FILES,
    test_files=TEST_FILES,
    labels="labels",
    class_names=CIFAR10_CLASSES,
    # the training images' own, as published everywhere
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)


def load_cifar10(data_dir: Path | None = None) -> Dataset:
    """Load CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images, 3x32x32, 10 classes.

    Without ``data_dir`` the archive is downloaded once, checked, and kept in the user's cache. A
    ``data_dir`` may be the folder ``cifar-10-batches-py``, a folder that holds it, or one that holds the
    archive. Files that differ from the canonical ones are used, with one warning.

    Raises `NoiseproofError` for a missing, unreadable or damaged file, or a failed download.
    """
    return CIFAR10.load(data_dir)
