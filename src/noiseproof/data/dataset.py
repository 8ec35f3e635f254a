"""What every data set gives: images, labels, and who is mistaken for whom."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8] | NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """Images and labels of a training and a test set.

    ``*_images``: uint8 or float32, ``(N, C, H, W)``. ``*_labels``: int64, ``(N,)``, in 0..K-1.
    ``class_names``: K names. ``class_map``: which class asymmetric noise turns into which; empty where nobody
    says. ``mean``, ``std``: per channel, in the images' units, to normalize by. ``canonical``: whether the
    files are the published ones; None for data that was not published. ``given_labels``: labels of the
    training images as somebody gave them, right or wrong, where there are such beside the clean ones.
    ``labels_are_clean``: False if the training labels are themselves of that kind, and the clean ones are not
    known.
    """

    name: str
    train_images: Images
    train_labels: NDArray[np.int64]
    test_images: Images
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    class_map: Mapping[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    canonical: bool | None = True
    given_labels: NDArray[np.int64] | None = None
    labels_are_clean: bool = True

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, images and labels: equal if and only if the data is."""
        digest = hashlib.sha256()
        arrays = [self.train_images, self.train_labels, self.test_images, self.test_labels]
        if self.given_labels is not None:
            arrays.append(self.given_labels)
        for array in arrays:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
