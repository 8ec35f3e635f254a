"""MNIST: handwritten digits, downloaded with checksums, or read from a folder."""

from __future__ import annotations

from pathlib import Path

from noiseproof.data.dataset import Dataset
from noiseproof.data.idx_files import IdxSet

MNIST = IdxSet(
    name="mnist",
    title="MNIST",
    url="https://ossci-datasets.s3.amazonaws.com/mnist",
    folder="MNIST/raw",
    # as torchvision checks them
    gz_sums=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    # the last three computed from gzipped files of those sums, the first as many programs check it
    sums=(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    class_names=tuple("0123456789"),
    # the training images' own, as published everywhere
    mean=0.1307,
    std=0.3081,
)


def load_mnist(data_dir: Path | None = None) -> Dataset:
    """Load MNIST (LeCun et al. 1998): 60,000 training and 10,000 test images, 1x28x28, 10 digits.

    Without ``data_dir`` the files are downloaded once, checked, and kept in the user's cache. A ``data_dir``
    holds the four idx files, gzipped or not, or torchvision's ``MNIST/raw`` with them. Files whose content
    differs from the canonical one are used, with one warning.

    Raises `NoiseproofError` for a missing, unreadable or damaged file, or a failed download.
    """
    return MNIST.load(data_dir)
