"""The noise of each setting as it was asked for and as it was achieved, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noiseproof import noise
from noiseproof.noise import Noise
from noiseproof.noise.transition import Matrix
from noiseproof.study import Record

MOST_CLASSES = 20
"""Classes above which a matrix is no picture, and only its rates are told."""

Rows = tuple[tuple[float | None, ...], ...]
"""Percent of clean class i labelled j; None of a class without samples."""


@dataclass(frozen=True)
class Matrices:
    """One noise setting over all its draws; ``requested`` is None if the records do not say."""

    setting: str
    classes: tuple[str, ...]
    draws: int
    labels: int
    wrong: float
    requested_wrong: float | None
    requested: Rows | None
    achieved: Rows
    furthest: float | None

    @property
    def is_shown(self) -> bool:
        """Whether there are few enough classes for a picture."""
        return len(self.classes) <= MOST_CLASSES


def matrices(records: Sequence[Record], settings: Sequence[Noise]) -> tuple[Matrices, ...]:
    """Give the matrices of every setting; draws of one seed are the same for all losses and count once."""
    found = []
    for setting in settings:
        draws = {r.config.seed: r for r in records if noise.parse(r.config.noise) == setting}
        if draws:
            found.append(_matrices(setting, list(draws.values())))
    return tuple(found)


def _matrices(setting: Noise, draws: list[Record]) -> Matrices:
    counts = np.sum([np.asarray(record.noise.counts) for record in draws], axis=0)
    data = draws[0].data
    totals = counts.sum(axis=1, keepdims=True)
    achieved = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    requested = None if data.class_map is None else setting.transition_matrix(len(counts), data.class_map)
    furthest = None
    if requested is not None and (totals > 0).any():
        furthest = 100 * float(np.nanmax(np.abs(achieved - requested)))
    return Matrices(
        setting=str(setting),
        classes=data.class_names or tuple(str(k) for k in range(len(counts))),
        draws=len(draws),
        labels=int(totals.sum()) // len(draws),
        wrong=100 * float(np.mean([record.noise.achieved_rate for record in draws])),
        requested_wrong=100 * float(np.mean([record.noise.requested_rate for record in draws])),
        requested=None if requested is None else _percent(requested),
        achieved=_percent(achieved),
        furthest=furthest,
    )


def _percent(matrix: Matrix) -> Rows:
    return tuple(tuple(None if np.isnan(v) else 100 * float(v) for v in row) for row in matrix)
