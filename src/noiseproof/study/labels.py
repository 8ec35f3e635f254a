"""The labels that a run is trained on: the clean ones under a noise, or those that somebody gave."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseproof import data, noise
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.noise import Audit, Noise
from noiseproof.noise.transition import Matrix

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingLabels:
    """What a training is given. ``audit`` sets it beside the clean labels; None if those are not known."""

    given: Labels
    audit: Audit | None


def training_labels(
    setting: Noise, dataset: Dataset, *, seed: int, data_dir: Path | None = None
) -> TrainingLabels:
    """Give the labels of ``dataset``'s training images under a noise setting.

    ``given`` noise takes the labels as the data has them: beside the clean ones if it has both, else without
    knowing which are right. ``human`` noise is read from ``data_dir``, or downloaded.

    Raises `NoiseproofError` for noise that this data cannot have.

    >>> from noiseproof.data import load
    >>> training_labels(noise.parse("symmetric:0.4"), load("digits"), seed=0).given[:8]
    array([3, 9, 1, 6, 1, 9, 4, 4])
    """
    clean, num_classes = dataset.train_labels, dataset.num_classes
    matrix: Matrix | None = None
    if setting.kind == noise.GIVEN:
        if dataset.given_labels is None:
            return TrainingLabels(clean, None)
        given = dataset.given_labels
    elif not dataset.labels_are_clean:
        raise NoiseproofError(
            f"{setting} noise is made from clean labels, which {dataset.name} does not have;"
            f" {noise.GIVEN!r} takes its labels as they are"
        )
    elif setting.kind == noise.HUMAN:
        given = data.load_human_labels(dataset, setting.variant, data_dir)
    elif setting.kind == noise.INSTANCE:
        given = noise.instance_dependent(
            _normalized(dataset), clean, num_classes=num_classes, rate=setting.rate, seed=seed
        )
    else:
        matrix = setting.transition_matrix(num_classes, dataset.class_map)
        given = noise.corrupt(clean, matrix, seed=seed)
    return TrainingLabels(given, noise.audit(clean, given, matrix, num_classes=num_classes))


def check_noises(
    settings: Iterable[Noise], dataset: Dataset, *, seed: int, data_dir: Path | None = None
) -> None:
    """Raise `NoiseproofError` for a noise that this data cannot have; warn if its given labels go unused."""
    kinds = set()
    for setting in dict.fromkeys(settings):
        training_labels(setting, dataset, seed=seed, data_dir=data_dir)
        kinds.add(setting.kind)
    if dataset.given_labels is not None and "none" in kinds and noise.GIVEN not in kinds:
        warnings.warn(
            f"{dataset.name} has given labels, which noise 'none' does not use; noise {noise.GIVEN!r} does",
            stacklevel=2,
        )


def _normalized(dataset: Dataset) -> NDArray[np.float32]:
    """Give the images as the network sees them."""
    mean, std = (
        np.asarray(values, dtype=np.float32).reshape(-1, 1, 1) for values in (dataset.mean, dataset.std)
    )
    return (dataset.train_images.astype(np.float32) - mean) / std
