"""Data to tune on: the training set without a part of it, which stands where the test set did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.study.labels import TrainingLabels


def hold_out(dataset: Dataset, labels: TrainingLabels, *, fraction: float, seed: int) -> Dataset:
    """Split the training set by its noisy labels, the same share of each, into a training and a test part.

    The training part has the noisy labels as ``given_labels``, beside the clean ones where those are known;
    the test part has its noisy labels alone. Nothing of the data set's own test part is left. The split
    depends on the labels, the fraction and the seed.

    Raises `NoiseproofError` if a label is too rare to be in both parts.

    >>> from noiseproof.data import load
    >>> digits = load("digits")
    >>> part = hold_out(digits, TrainingLabels(digits.train_labels, None), fraction=0.2, seed=0)
    >>> len(part.train_labels), len(part.test_labels)
    (1149, 288)
    """
    from sklearn.model_selection import train_test_split

    # scikit-learn's seeds have 32 bits, ours 64
    state = int(np.random.SeedSequence(seed).generate_state(1)[0])
    given = labels.given
    try:
        kept, held = train_test_split(
            np.arange(len(given)), test_size=fraction, random_state=state, stratify=given
        )
    except ValueError as error:
        raise NoiseproofError(
            f"{fraction:g} of the {len(given)} noisy labels cannot be held out, the same share of each"
            f" ({error})"
        ) from None
    known = labels.audit is not None
    return replace(
        dataset,
        train_images=dataset.train_images[kept],
        train_labels=dataset.train_labels[kept] if known else given[kept],
        given_labels=given[kept] if known else None,
        labels_are_clean=known,
        test_images=dataset.train_images[held],
        test_labels=given[held],
    )
