"""What is held out: the same share of every noisy label, each with its image, and no test image."""

from __future__ import annotations

import numpy as np
import pytest

from noiseproof import noise
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.study.labels import TrainingLabels, training_labels
from noiseproof.tuning.holdout import hold_out

NOISE = noise.parse("symmetric:0.4")


def places(dataset: Dataset, images: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> list[int]:
    """Where images stand in the whole training set; no two are alike."""
    where = {image.tobytes(): i for i, image in enumerate(dataset.train_images)}
    return [where[image.tobytes()] for image in images]


def test_every_image_is_in_one_part_with_its_labels(dataset: Dataset) -> None:
    labels = training_labels(NOISE, dataset, seed=3)
    part = hold_out(dataset, labels, fraction=0.25, seed=3)
    kept, held = places(dataset, part.train_images), places(dataset, part.test_images)
    assert sorted(kept + held) == list(range(60))
    assert len(held) == 15
    assert part.given_labels is not None
    np.testing.assert_array_equal(part.train_labels, dataset.train_labels[kept])
    np.testing.assert_array_equal(part.given_labels, labels.given[kept])
    np.testing.assert_array_equal(part.test_labels, labels.given[held])
    assert (labels.given[held] != dataset.train_labels[held]).any()
    # the trainings' own way to the labels leads to these, beside the clean ones
    trained_on = training_labels(noise.parse("given"), part, seed=0)
    np.testing.assert_array_equal(trained_on.given, labels.given[kept])
    assert trained_on.audit is not None
    assert 0.3 < trained_on.audit.achieved_rate < 0.5


def test_every_noisy_label_gives_the_same_share(dataset: Dataset) -> None:
    labels = training_labels(noise.parse("asymmetric:0.4"), dataset, seed=0)
    part = hold_out(dataset, labels, fraction=0.2, seed=0)
    counts = np.bincount(labels.given, minlength=3)
    assert len(set(counts)) > 1
    assert np.abs(np.bincount(part.test_labels, minlength=3) - 0.2 * counts).max() < 1


def test_a_split_is_the_seeds(dataset: Dataset) -> None:
    labels = training_labels(NOISE, dataset, seed=0)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    splits = [hold_out(dataset, labels, fraction=0.2, seed=seed).fingerprint for seed in (1, 1, 2, 2**64 - 1)]
    assert splits[0] == splits[1]
    assert len(set(splits)) == 3
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]


def test_where_clean_labels_are_not_known_none_are_claimed(dataset: Dataset) -> None:
    given = (dataset.train_labels + 1) % 3
    part = hold_out(dataset, TrainingLabels(given, None), fraction=0.2, seed=0)
    assert (part.given_labels, part.labels_are_clean) == (None, False)
    np.testing.assert_array_equal(part.train_labels, given[places(dataset, part.train_images)])
    assert training_labels(noise.parse("given"), part, seed=0).audit is None


@pytest.mark.parametrize(("fraction", "rare"), [(0.01, False), (0.99, False), (0.2, True)])
def test_a_label_too_rare_for_both_parts_is_an_error(dataset: Dataset, fraction: float, rare: bool) -> None:
    given = dataset.train_labels.copy()
    if rare:
        given[given == 2] = 0
        given[0] = 2
    with pytest.raises(NoiseproofError, match=f"{fraction:g} of the 60 noisy labels cannot be held out"):
        hold_out(dataset, TrainingLabels(given, None), fraction=fraction, seed=0)
