"""A data set out of arrays that somebody hands over: checked, and brought to the form of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from noiseproof.data.dataset import Dataset, Images
from noiseproof.data.split import hold_out_a_fifth
from noiseproof.data.statistics import channel_statistics
from noiseproof.errors import NoiseproofError, did_you_mean, one_line
from noiseproof.noise.transition import check_class_map

Labels = NDArray[np.int64]

CHANNELS = (1, 3, 4)
"""Numbers of channels by which the channel axis is known: grey, RGB, RGBA."""


def assemble(
    name: str,
    train: tuple[Any, Any],
    test: tuple[Any, Any] | None,
    *,
    given: Any = None,
    class_names: Sequence[str] | None = None,
    class_map: Mapping[int, int] | None = None,
    labels_are_clean: bool = True,
    channels_first: bool | None = None,
) -> Dataset:
    """Make a data set of ``(images, labels)`` to train on and to test on.

    Without ``test`` a fifth of each class is held out, always the same one.

    Images are uint8 or floats, which become float32: ``(N, D)`` features, stored as ``(N, D, 1, 1)`` so that
    each is normalized by itself; ``(N, H, W)``; or ``(N, C, H, W)`` or ``(N, H, W, C)``, told apart by C
    being 1, 3 or 4 unless ``channels_first`` says it. Labels are whole numbers 0..K-1, or texts, which are
    numbered in the order of ``class_names``, or of the alphabet. ``given``: labels that may be wrong, beside
    clean ones of the training images.

    Raises `NoiseproofError`, which begins with ``name``, for whatever does not fit.
    """
    for part, pair in (("training", train), ("test", test)):
        if pair is not None and (not isinstance(pair, tuple | list) or len(pair) != 2):
            size = f" of {len(pair)}" if isinstance(pair, tuple | list) else ""
            _fail(name, f"the {part} set must be a pair (images, labels), got {type(pair).__name__}{size}")
    if given is not None and not labels_are_clean:
        _fail(name, "given labels stand beside clean ones, but labels_are_clean is False")
    if test is None:
        train, test, given = _held_out(name, *train, given)
    images = {
        part: _images(name, f"{part} images", values, channels_first)
        for part, values in (("training", train[0]), ("test", test[0]))
    }
    shapes = [array.shape[1:] for array in images.values()]
    if shapes[0] != shapes[1]:
        _fail(name, f"training images are {shapes[0]} each (channels first), test images {shapes[1]}")
    dtypes = [array.dtype for array in images.values()]
    if dtypes[0] != dtypes[1]:
        _fail(name, f"training images are {dtypes[0]}, test images {dtypes[1]}")
    texts_or_numbers = {
        part: _one_label_each(name, f"{part} labels", values, len(images[of]))
        for part, of, values in (
            ("training", "training", train[1]),
            ("test", "test", test[1]),
            ("given", "training", given),
        )
        if values is not None
    }
    labels, names = _numbered(name, texts_or_numbers, class_names)
    mean, std = channel_statistics(images["training"])
    return Dataset(
        name=name,
        train_images=images["training"],
        train_labels=labels["training"],
        test_images=images["test"],
        test_labels=labels["test"],
        class_names=names,
        class_map=_checked_map(name, class_map or {}, len(names)),
        mean=mean,
        std=std,
        canonical=None,
        given_labels=labels.get("given"),
        labels_are_clean=labels_are_clean,
    )


def _held_out(name: str, x: Any, y: Any, given: Any) -> tuple[tuple[Any, Any], tuple[Any, Any], Any]:
    """Split off a test set; give the training set, the test set, and what is given of the training set."""
    images = _array(name, "training images", x)
    size = len(images) if images.ndim else 0
    labels = _one_label_each(name, "training labels", y, size)
    kept, held = hold_out_a_fifth(labels, where=name)
    if given is not None:
        given = _one_label_each(name, "given labels", given, size)[kept]
    return (images[kept], labels[kept]), (images[held], labels[held]), given


def _images(name: str, what: str, values: Any, channels_first: bool | None) -> Images:
    array = _array(name, what, values)
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        _fail(name, f"{what} must be uint8 or floats, got {array.dtype}")
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        _fail(
            name,
            f"{what} must be (N, D) features, or images (N, H, W), (N, C, H, W) or (N, H, W, C), none of them"
            f" empty; got shape {array.shape}",
        )
    if array.ndim == 2:
        array = array[:, :, None, None]
    elif array.ndim == 3:
        array = array[:, None]
    elif not (array.shape[2:] == (1, 1) or channels_first or _are_channels_first(name, what, array.shape)):
        array = np.moveaxis(array, 3, 1)
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        if not np.isfinite(array).all():
            _fail(name, f"{what} hold NaN, infinity or a value too large for float32")
    return np.require(array, requirements=["C", "W"])


def _array(name: str, what: str, values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:  # rows of different lengths, a tensor with a gradient
        _fail(name, f"{what} could not be made an array ({one_line(str(error))})")


def _are_channels_first(name: str, what: str, shape: tuple[int, ...]) -> bool:
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        either = "both the second and the last axis" if first else "neither the second nor the last axis"
        _fail(
            name,
            f"{what} of shape {shape} could not be told to be (N, C, H, W) or (N, H, W, C): {either} might be"
            f" the channels ({', '.join(map(str, CHANNELS))})",
        )
    return first


def _one_label_each(name: str, what: str, values: Any, size: int) -> NDArray[Any]:
    array = _array(name, what, values)
    if array.dtype == object and all(isinstance(value, str) for value in array.flat):
        array = array.astype(str)  # pandas keeps texts so
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.shape != (size,):
        _fail(name, f"{what} must be ({size},), one for each image, got shape {array.shape}")
    if array.dtype.kind not in "iuUT":
        _fail(name, f"{what} must be whole numbers or texts, got {array.dtype}")
    return array


def _numbered(
    name: str, labels: Mapping[str, NDArray[Any]], class_names: Sequence[str] | None
) -> tuple[dict[str, Labels], tuple[str, ...]]:
    """Number the classes 0..K-1; give the labels so, and the classes' names."""
    names = None if class_names is None else tuple(map(str, class_names))
    if names is not None and (len(set(names)) < len(names) or not all(names)):
        _fail(name, f"class names must be distinct and not empty, got {names}")
    are_texts = [part for part, array in labels.items() if array.dtype.kind in "UT"]
    if are_texts and len(are_texts) < len(labels):
        _fail(name, f"{are_texts[0]} labels are texts, others are numbers")
    if are_texts:
        if names is None:
            names = tuple(sorted({str(text) for array in labels.values() for text in np.unique(array)}))
        numbered = {part: _looked_up(name, part, array, names) for part, array in labels.items()}
    else:
        highest = max(int(array.max()) for array in labels.values())
        if names is None:
            names = tuple(map(str, range(_num_classes(name, labels["training"], highest))))
        for part, array in labels.items():
            if int(array.min()) < 0 or int(array.max()) >= len(names):
                wrong = min(int(array.min()), 0) or int(array.max())
                _fail(name, f"{part} labels must be in 0..{len(names) - 1}, got {wrong}")
        numbered = {part: array.astype(np.int64) for part, array in labels.items()}
    if len(names) < 2:
        _fail(name, f"two classes or more are needed, got {', '.join(map(repr, names))}")
    return numbered, names


def _num_classes(name: str, labels: NDArray[Any], highest: int) -> int:
    """Count the classes, if the labels are those of 0..K-1: each must be seen, since no names tell K."""
    seen = [int(label) for label in np.unique(labels)]
    if seen != list(range(len(seen))) or highest >= len(seen):
        missing = next((k for k, label in enumerate(seen) if k != label), len(seen))
        _fail(
            name,
            f"labels must be 0..K-1, but no training label is {missing} and some label is"
            f" {seen[0] if seen[0] < 0 else highest}; give class names if classes have no sample",
        )
    return len(seen)


def _looked_up(name: str, part: str, texts: NDArray[Any], names: tuple[str, ...]) -> Labels:
    found, position = np.unique(texts, return_inverse=True)
    index = {text: k for k, text in enumerate(names)}
    for text in map(str, found):
        if text not in index:
            _fail(name, f"{part} labels have an unknown class {text!r}; {did_you_mean(text, names)}")
    return np.array([index[str(text)] for text in found], dtype=np.int64)[position]


def _checked_map(name: str, class_map: Mapping[int, int], num_classes: int) -> dict[int, int]:
    try:
        check_class_map(class_map, num_classes=num_classes)
    except NoiseproofError as error:
        _fail(name, str(error))
    return {int(clean): int(noisy) for clean, noisy in class_map.items()}


def _fail(name: str, fault: str) -> NoReturn:
    raise NoiseproofError(f"{name}: {fault}")
