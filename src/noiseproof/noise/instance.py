"""Instance-dependent noise: which labels are mistaken, and for which others, depends on the image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseproof.errors import NoiseproofError
from noiseproof.noise.corruption import check_seed, label_array

SPREAD = 0.1
"""Standard deviation of the flip rates of the samples, as in the paper."""


def instance_dependent(
    features: NDArray[Any], labels: Any, *, num_classes: int, rate: float, seed: int
) -> NDArray[np.int64]:
    """Draw a noisy label for each sample by its own features.

    Sample i flips at a rate q_i drawn from the normal distribution of mean ``rate`` and standard deviation
    0.1, cut off at 0 and 1; then to class j with probability softmax(x_i W_y)_j over the others, where the
    W_y, ``(S, K)`` for each class y, are drawn from the standard normal distribution.

    Args:
        features: ``(N, ...)``, one row of S numbers for each sample once flattened, normalized.
        labels: clean class indices, ``(N,)``.
        num_classes: K, at least 2.
        rate: mean flip rate in (0, 1). Where the cut bites, the mean is higher or lower: 0.129 at 0.1.
        seed: same seed, same noise; the global random state is neither read nor changed.

    Returns:
        Noisy labels, int64, ``(N,)``.

    Raises:
        NoiseproofError: a rate or a label out of range, features that are not finite or not one row a label.

    Xia et al., NeurIPS 2020, as ``get_instance_noisy_label`` of their code does it
    (github.com/xiaoboxia/Part-dependent-label-noise, b682527), where features are pixels as they are stored.

    >>> instance_dependent(np.eye(4), [0, 0, 0, 0], num_classes=3, rate=0.9, seed=0)
    array([2, 2, 2, 0])
    """
    from scipy.stats import truncnorm

    check_instance_rate(rate)
    check_seed(seed)
    if num_classes < 2:
        raise NoiseproofError(f"label noise needs at least 2 classes, got {num_classes}")
    clean = label_array(labels, num_classes=num_classes)
    if len(features) != len(clean):
        raise NoiseproofError(f"features and labels differ in number: {len(features)} and {len(clean)}")
    rows = np.asarray(features).reshape(len(clean), -1)
    rng = np.random.default_rng(seed)
    low, high = -rate / SPREAD, (1 - rate) / SPREAD
    flip_rates = truncnorm.rvs(low, high, loc=rate, scale=SPREAD, size=len(clean), random_state=rng)
    lots = rng.random((len(clean), 2))
    noisy = clean.copy()
    # class by class, so that neither all projections nor all features are there twice
    for y in range(num_classes):
        projection = rng.standard_normal((rows.shape[1], num_classes))
        (members,) = np.nonzero(clean == y)
        scores = rows[members].astype(np.float64) @ projection
        if not np.isfinite(scores).all():
            raise NoiseproofError(f"the features of class {y} hold a number that is not finite")
        scores[:, y] = -np.inf
        shares = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
        cumulated = np.cumsum(shares, axis=1)
        # a share of zero, the class's own among them, is never met
        drawn = (lots[members, 1:] * cumulated[:, -1:] < cumulated).argmax(axis=1)
        flips = lots[members, 0] < flip_rates[members]
        noisy[members[flips]] = drawn[flips]
    return noisy


def check_instance_rate(rate: float) -> None:
    """Raise `NoiseproofError` unless ``rate`` is in (0, 1)."""
    if not 0 < rate < 1:
        # the normal distribution has both its tails there, so that 0 would flip 8 % of the labels
        raise NoiseproofError(f"an instance-dependent noise rate must lie between 0 and 1, got {rate:g}")
