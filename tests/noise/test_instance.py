"""Instance-dependent noise, against a loop over samples written from the paper's algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import truncnorm

from noiseproof.errors import NoiseproofError
from noiseproof.noise import instance_dependent

K, N, S = 4, 4000, 6


def data() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, N)
    return rng.standard_normal((N, S)) + 0.5 * labels[:, None], labels


def drawn(**changes: Any) -> NDArray[np.int64]:
    features, labels = data()
    given: dict[str, Any] = {
        "features": features,
        "labels": labels,
        "num_classes": K,
        "rate": 0.4,
        "seed": 3,
    } | changes
    return instance_dependent(given.pop("features"), given.pop("labels"), **given)


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.8])
def test_the_rate_is_the_mean_of_the_cut_off_normal_distribution(rate: float) -> None:
    flipped = float(np.mean(drawn(rate=rate) != data()[1]))
    expected = float(truncnorm.mean(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1))
    assert flipped == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / N))


def test_where_a_sample_goes_is_drawn_from_the_softmax_of_its_own_scores() -> None:
    """Ten samples a thousand times over: the shares are those of the paper's algorithm, sample by sample."""
    rng = np.random.default_rng(1)
    few, classes = 0.4 * rng.standard_normal((10, S)), np.arange(10) % K
    times = 3000
    noisy = drawn(features=np.repeat(few, times, axis=0), labels=np.repeat(classes, times), rate=0.8, seed=5)
    # W as the function draws it: after the flip rates and the lots, class by class
    stream = np.random.default_rng(5)
    truncnorm.rvs(-8, 2, loc=0.8, scale=0.1, size=10 * times, random_state=stream)
    stream.random((10 * times, 2))
    W = [stream.standard_normal((S, K)) for _ in range(K)]
    for i, y in enumerate(classes):
        exponents = np.exp(few[i] @ W[y])
        exponents[y] = 0
        expected = exponents / exponents.sum()
        went = noisy[i * times : (i + 1) * times]
        shares = np.bincount(went[went != y], minlength=K) / np.sum(went != y)
        np.testing.assert_allclose(shares, expected, atol=0.04)
        assert shares[y] == 0


def test_it_depends_on_the_image_not_on_the_class_alone() -> None:
    features, labels = data()
    noisy = drawn(rate=0.8)

    def shares(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        went = noisy[chosen & (labels == 0) & (noisy != labels)]
        return np.bincount(went, minlength=K) / len(went)

    sides = [features[:, s] > np.median(features[:, s]) for s in range(S)]
    assert max(np.abs(shares(near) - shares(~near)).max() for near in sides) > 0.2


def test_a_seed_decides_and_the_global_state_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    assert np.array_equal(drawn(), drawn())
    assert not np.array_equal(drawn(), drawn(seed=4))
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_images_are_flattened_and_labels_kept() -> None:
    features, labels = data()
    kept = labels.copy()
    assert np.array_equal(drawn(features=features.reshape(N, 1, 2, 3)), drawn())
    assert np.array_equal(labels, kept)


def test_far_scores_do_not_overflow() -> None:
    features, labels = data()
    noisy = drawn(features=1e6 * features)
    assert ((noisy >= 0) & (noisy < K)).all()
    assert (noisy != labels).mean() == pytest.approx(0.4, abs=0.04)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.0}, "must lie between 0 and 1, got 0"),
        ({"rate": 1.0}, "must lie between 0 and 1, got 1"),
        ({"rate": float("nan")}, "must lie between 0 and 1, got nan"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"num_classes": 1}, "at least 2 classes, got 1"),
        ({"num_classes": 2}, "labels must be in 0..1"),
        ({"features": np.zeros((3, S))}, "differ in number: 3 and 4000"),
        ({"features": np.full((N, S), np.nan)}, "class 0 hold a number that is not finite"),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NoiseproofError, match=message):
        drawn(**changes)
