"""Audit label noise: the transition matrix asked for beside the one achieved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noiseproof.errors import NoiseproofError
from noiseproof.noise.corruption import label_array
from noiseproof.noise.transition import Matrix, check_transition_matrix


@dataclass(frozen=True)
class Audit:
    """What was asked of the noise and what the labels show.

    ``requested``: the transition matrix asked for. ``counts[i, j]``: samples of clean class i that are
    labelled j. The achieved matrix of a class without samples is NaN.
    """

    requested: Matrix
    counts: NDArray[np.int64]

    @property
    def achieved(self) -> Matrix:
        """The transition matrix of the labels, ``counts`` by row sums."""
        totals = self.counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(totals > 0, self.counts / totals, np.nan)

    @property
    def requested_rate(self) -> float:
        """The share of wrong labels asked for, given how many samples each class has."""
        totals = self.counts.sum(axis=1)
        return float((totals * (1 - np.diag(self.requested))).sum() / max(totals.sum(), 1))

    @property
    def achieved_rate(self) -> float:
        """The share of wrong labels."""
        total = self.counts.sum()
        return float((total - np.trace(self.counts)) / max(total, 1))

    def __str__(self) -> str:
        """Both matrices side by side, in percent."""
        size = len(self.requested)
        width = 6 * size
        lines = [f"clean   {'requested %':<{width}}   {'achieved %':<{width}}   samples"]
        for k in range(size):
            wanted, got = (
                "".join(f"{100 * value:6.1f}" for value in row)
                for row in (self.requested[k], self.achieved[k])
            )
            lines.append(f"{k:>5}   {wanted}   {got}   {self.counts[k].sum():>7}")
        lines.append(
            f"wrong labels: requested {100 * self.requested_rate:.2f} %,"
            f" achieved {100 * self.achieved_rate:.2f} % of {self.counts.sum()}"
        )
        return "\n".join(lines)


def audit(clean: Any, noisy: Any, transition_matrix: ArrayLike) -> Audit:
    """Compare noisy labels with the transition matrix that was asked for.

    Raises `NoiseproofError` for labels out of range or of different lengths.

    >>> from noiseproof.noise import symmetric
    >>> report = audit([0, 0, 1, 1], [0, 1, 1, 1], symmetric(2, 0.5))
    >>> report.achieved
    array([[0.5, 0.5],
           [0. , 1. ]])
    >>> report.requested_rate, report.achieved_rate
    (0.5, 0.25)
    """
    requested = check_transition_matrix(transition_matrix)
    size = len(requested)
    before, after = label_array(clean, num_classes=size), label_array(noisy, num_classes=size)
    if before.shape != after.shape:
        raise NoiseproofError(f"clean and noisy labels differ in number: {len(before)} and {len(after)}")
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (before, after), 1)
    return Audit(requested, counts)
