"""Audit label noise: the transition matrix asked for beside the one achieved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noiseproof.errors import NoiseproofError
from noiseproof.noise.corruption import label_array
from noiseproof.noise.transition import Matrix, check_transition_matrix

MOST_CLASSES = 10_000
"""That labels alone may claim."""


@dataclass(frozen=True)
class Audit:
    """What was asked of the noise and what the labels show.

    ``requested``: the transition matrix asked for, None for noise that is none. ``counts[i, j]``: samples of
    clean class i that are labelled j. The achieved matrix of a class without samples is NaN.
    """

    requested: Matrix | None
    counts: NDArray[np.int64]

    @property
    def achieved(self) -> Matrix:
        """The transition matrix of the labels, ``counts`` by row sums."""
        totals = self.counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(totals > 0, self.counts / totals, np.nan)

    @property
    def requested_rate(self) -> float | None:
        """The share of wrong labels that the matrix asks for, given how many samples each class has."""
        if self.requested is None:
            return None
        totals = self.counts.sum(axis=1)
        return float((totals * (1 - np.diag(self.requested))).sum() / max(totals.sum(), 1))

    @property
    def achieved_rate(self) -> float:
        """The share of wrong labels."""
        total = self.counts.sum()
        return float((total - np.trace(self.counts)) / max(total, 1))

    def __str__(self) -> str:
        """Both matrices side by side, in percent; the achieved one alone if none was asked for."""
        size = len(self.counts)
        width = 6 * size
        matrices = {"requested %": self.requested, "achieved %": self.achieved}
        shown = {title: matrix for title, matrix in matrices.items() if matrix is not None}
        lines = ["   ".join(["clean", *(f"{title:<{width}}" for title in shown), "samples"])]
        for k in range(size):
            rows = ["".join(f"{100 * value:6.1f}" for value in matrix[k]) for matrix in shown.values()]
            lines.append("   ".join([f"{k:>5}", *rows, f"{self.counts[k].sum():>7}"]))
        wanted = "" if self.requested_rate is None else f"requested {100 * self.requested_rate:.2f} %, "
        lines.append(
            f"wrong labels: {wanted}achieved {100 * self.achieved_rate:.2f} % of {self.counts.sum()}"
        )
        return "\n".join(lines)


def audit(
    clean: Any, noisy: Any, transition_matrix: ArrayLike | None = None, *, num_classes: int | None = None
) -> Audit:
    """Compare noisy labels with the clean ones, and with the transition matrix that was asked for.

    ``num_classes``: K, where there is no matrix to tell it; by default the labels' own. Raises
    `NoiseproofError` for labels out of range or of different lengths.

    >>> from noiseproof.noise import symmetric
    >>> report = audit([0, 0, 1, 1], [0, 1, 1, 1], symmetric(2, 0.5))
    >>> report.achieved
    array([[0.5, 0.5],
           [0. , 1. ]])
    >>> report.requested_rate, report.achieved_rate
    (0.5, 0.25)
    """
    requested = None if transition_matrix is None else check_transition_matrix(transition_matrix)
    size = num_classes if requested is None else len(requested)
    before, after = label_array(clean, num_classes=size), label_array(noisy, num_classes=size)
    if before.shape != after.shape:
        raise NoiseproofError(f"clean and noisy labels differ in number: {len(before)} and {len(after)}")
    if size is None:
        size = 1 + int(max(before.max(initial=0), after.max(initial=0)))
        if size > MOST_CLASSES:  # a stray label would take all memory
            raise NoiseproofError(f"labels reach {size - 1}; give num_classes if there are so many")
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (before, after), 1)
    return Audit(requested, counts)
