"""Data handed over in Python: arrays, or torch data sets of (image, label) pairs."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from noiseproof.data.assembly import assemble
from noiseproof.data.dataset import Dataset
from noiseproof.errors import NoiseproofError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HandedOver:
    """The text ``arrays:NAME``: data that only the program knows which made it."""

    name: str

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read NAME; raises `NoiseproofError` unless it is letters, digits and ``_``, ``.`` or ``-``."""
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            raise NoiseproofError(f"a name of arrays must be letters, digits and _ . or -, got {name!r}")
        return cls(name)

    @property
    def label(self) -> str:
        """``arrays:NAME``."""
        return f"arrays:{self.name}"

    def load(self) -> NoReturn:
        """Raise `NoiseproofError`: there is nothing to load from."""
        raise NoiseproofError(
            f"{self.label!r} was made in Python and is in no file;"
            " pass it as dataset= to noiseproof.study.conduct"
        )


def from_arrays(
    name: str,
    train: tuple[Any, Any],
    test: tuple[Any, Any] | None = None,
    *,
    given: Any = None,
    class_names: Sequence[str] | None = None,
    class_map: Mapping[int, int] | None = None,
    labels_are_clean: bool = True,
) -> Dataset:
    """Make a data set, named ``arrays:NAME``, of ``(images, labels)`` to train on and to test on.

    Without ``test`` a fifth of each class is held out, always the same one.

    Images: ``(N, D)`` features, ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)`` with 1, 3 or 4 channels;
    uint8, or floats in any range. Labels: ``(N,)``, whole numbers 0..K-1 or texts. ``given``: labels of the
    training images that may be wrong, beside clean ones. ``labels_are_clean``: False if the labels are
    themselves of that kind. ``class_map``: which class is mistaken for which, for asymmetric noise.

    Raises `NoiseproofError` for what does not fit: shapes, types, NaN, labels out of range.

    >>> x, y = np.random.default_rng(0).random((6, 5)), [0, 1, 2, 0, 1, 2]
    >>> from_arrays("plants", (x, y), (x, y), class_names=["rose", "oak", "fern"]).image_shape
    (5, 1, 1)
    """
    return assemble(
        HandedOver.parse(name).label,
        train,
        test,
        given=given,
        class_names=class_names,
        class_map=class_map,
        labels_are_clean=labels_are_clean,
    )


def from_torch(
    name: str,
    train: torch.utils.data.Dataset[Any],
    test: torch.utils.data.Dataset[Any] | None = None,
    *,
    given: Any = None,
    class_names: Sequence[str] | None = None,
    class_map: Mapping[int, int] | None = None,
    labels_are_clean: bool = True,
) -> Dataset:
    """Make a data set, named ``arrays:NAME``, of torch data sets of ``(image, label)``, each read once.

    They are map-style, with a length and an index; without ``test`` a fifth of each class is held out.

    Images: tensors ``(C, H, W)``, ``(H, W)`` or ``(D,)``, numpy arrays as `from_arrays` takes them, or PIL
    images. Labels: whole numbers, or tensors of one. Whatever a transform draws at random is drawn once, so
    leave augmentation to the recipe. ``class_names`` are ``train.classes`` by default, where it has such. The
    rest is as in `from_arrays`.

    Raises `NoiseproofError` for what does not fit: an `IterableDataset`, a `DataLoader`, samples that are no
    pair, and whatever `from_arrays` refuses.

    >>> import torch
    >>> flags = torch.utils.data.TensorDataset(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0]))
    >>> from_torch("flags", flags, flags).image_shape
    (3, 8, 8)
    """
    label = HandedOver.parse(name).label
    training = _Samples(f"{label}: training", train)
    testing = None if test is None else _Samples(f"{label}: test", test)
    if class_names is None:
        classes = getattr(train, "classes", None)
        class_names = classes if isinstance(classes, list | tuple) else None
    return assemble(
        label,
        (training.images, training.labels),
        None if testing is None else (testing.images, testing.labels),
        given=given,
        class_names=class_names,
        class_map=class_map,
        labels_are_clean=labels_are_clean,
        channels_first=True if all(s.channels_first for s in (training, testing) if s) else None,
    )


class _Samples:
    """The samples of a torch data set as two arrays; ``channels_first``: whether their kind says so."""

    def __init__(self, where: str, dataset: Any) -> None:
        self.where = where
        self.channels_first = True
        self._check_kind(dataset)
        images, labels = [], []
        for i in range(len(dataset)):
            sample = dataset[i]
            if not isinstance(sample, tuple | list) or len(sample) != 2:
                size = f" of {len(sample)}" if isinstance(sample, tuple | list) else ""
                raise NoiseproofError(
                    f"{where} samples must be pairs (image, label), got a {type(sample).__name__}{size} for"
                    f" sample {i}"
                )
            image, label = sample
            images.append(self._array(image))
            if images[i].shape != images[0].shape:
                raise NoiseproofError(
                    f"{where} images must have one shape, got {images[0].shape} for sample 0 and"
                    f" {images[i].shape} for sample {i}"
                )
            try:
                labels.append(operator.index(label.item() if hasattr(label, "item") else label))
            except (TypeError, ValueError, RuntimeError):
                raise NoiseproofError(
                    f"{where} labels must be whole numbers, got {label!r} for sample {i}"
                ) from None
        if not images:
            raise NoiseproofError(f"{where} set is empty")
        self.images, self.labels = np.stack(images), np.array(labels)

    def _check_kind(self, dataset: Any) -> None:
        from torch.utils.data import DataLoader, IterableDataset

        is_map_style = all(hasattr(dataset, method) for method in ("__len__", "__getitem__"))
        if isinstance(dataset, IterableDataset) or not is_map_style:
            instead = "; give its dataset" if isinstance(dataset, DataLoader) else ""
            raise NoiseproofError(
                f"{self.where} set must be a map-style data set of (image, label) pairs, with a length and an"
                f" index, got a {type(dataset).__name__}{instead}"
            )

    def _array(self, image: Any) -> Any:
        if hasattr(image, "convert"):  # a PIL image
            pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
            return pixels if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
        if isinstance(image, np.ndarray):
            self.channels_first = False
            return image
        if not hasattr(image, "numpy"):
            raise NoiseproofError(
                f"{self.where} images must be tensors, numpy arrays or PIL images, got a"
                f" {type(image).__name__}"
            )
        return image.numpy(force=True)
