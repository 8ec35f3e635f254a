"""The digits that scikit-learn carries: 1,797 real 8x8 images, no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noiseproof.data.dataset import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.noise import class_map

TEST_SIZE = 360
"""A fifth of the images, the same share of every digit, always the same ones."""


def load_digits(data_dir: Path | None = None) -> Dataset:
    """Load the digits: 1,437 training and 360 test images, 1x8x8, values 0..16.

    They are the test part of Alpaydin & Kaynak's optical digits (UCI, 1998). Raises `NoiseproofError`
    if a ``data_dir`` is given, since there is nothing to read from it.

    >>> load_digits().train_images.shape
    (1437, 1, 8, 8)
    """
    if data_dir is not None:
        raise NoiseproofError("the digits come with scikit-learn and take no --data-dir")
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    images = pixels.astype(np.uint8).reshape(-1, 1, 8, 8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels.astype(np.int64), test_size=TEST_SIZE, random_state=0, stratify=labels
    )
    return Dataset(
        name="digits",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=tuple("0123456789"),
        class_map=class_map("digits"),
        mean=(float(train_images.mean()),),
        std=(float(train_images.std()),),
    )
