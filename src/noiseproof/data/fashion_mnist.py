"""Fashion-MNIST: clothes in the form of MNIST, downloaded with checksums, or read from a folder."""

from __future__ import annotations

from pathlib import Path

from noiseproof.data.dataset import Dataset
from noiseproof.data.idx_files import IdxSet
from noiseproof.noise.class_maps import FASHION_MNIST_CLASSES

FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    title="Fashion-MNIST",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    folder="FashionMNIST/raw",
    # as torchvision checks them
    gz_sums=(
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    # computed from the files of Debian's package dataset-fashion-mnist, and as other programs check them
    sums=(
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    class_names=FASHION_MNIST_CLASSES,
    # the training images' own, as published everywhere
    mean=0.2860,
    std=0.3530,
)


def load_fashion_mnist(data_dir: Path | None = None) -> Dataset:
    """Load Fashion-MNIST (Xiao et al. 2017): 60,000 training and 10,000 test images, 1x28x28, 10 classes.

    Without ``data_dir`` the files are downloaded once, checked, and kept in the user's cache. A ``data_dir``
    holds the four idx files, gzipped or not, such as ``/usr/share/datasets/fashion-mnist`` of Debian's
    package ``dataset-fashion-mnist``, or torchvision's ``FashionMNIST/raw`` with them. Files whose content
    differs from the canonical one are used, with one warning.

    Raises `NoiseproofError` for a missing, unreadable or damaged file, or a failed download.
    """
    return FASHION_MNIST.load(data_dir)
