"""The noise of each setting as it was asked for and as it was achieved, in percent."""

from __future__ import annotations

import base64
import io
import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from noiseproof import noise
from noiseproof.errors import NoiseproofError
from noiseproof.noise import Noise
from noiseproof.noise.transition import Matrix
from noiseproof.study import Record

MOST_CLASSES = 20
"""Classes above which there is no room for a figure in every cell, only for its shade."""

INK = (31 / 255, 119 / 255, 214 / 255)
"""Red, green and blue of the shades, which are the more transparent the smaller the share."""

Rows = tuple[tuple[float | None, ...], ...]
"""Percent of clean class i labelled j; None of a class without samples."""


@dataclass(frozen=True)
class Matrices:
    """One noise setting over all its draws, in percent.

    ``requested`` and ``furthest``, the greatest difference of an entry, are None if no matrix was asked for,
    or the records do not say which. ``achieved`` and ``wrong`` are None if the clean labels are not known.
    """

    setting: str
    classes: tuple[str, ...]
    draws: int
    samples: int
    requested: Rows | None
    achieved: Rows | None
    requested_wrong: float | None
    wrong: float | None
    furthest: float | None

    @property
    def has_figures(self) -> bool:
        """Whether there is room for a figure in every cell."""
        return len(self.classes) <= MOST_CLASSES


def picture(rows: Rows) -> str:
    """Draw a matrix as a PNG of one pixel a cell, given as a ``data:`` address.

    >>> picture(((100.0, 0.0), (None, 25.0)))[:40]
    'data:image/png;base64,iVBORw0KGgoAAAANSU'
    """
    from matplotlib.image import imsave

    shares = np.nan_to_num(np.asarray(rows, dtype=np.float64) / 100)
    pixels = np.empty((*shares.shape, 4))
    pixels[...] = (*INK, 0.0)
    pixels[..., 3] = np.sqrt(shares)
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def matrices(records: Sequence[Record], settings: Sequence[Noise]) -> tuple[Matrices, ...]:
    """Give the matrices of every setting; draws of one seed are the same for all losses and count once."""
    found = []
    for setting in settings:
        runs = [record for record in records if noise.parse(record.config.noise) == setting]
        draws = {record.config.seed: record for record in runs}
        if setting.kind in ("none", noise.HUMAN, noise.GIVEN):
            draws = {0: runs[0]} if runs else {}  # nobody drew them: they are the same for every seed
        if draws:
            found.append(_matrices(setting, list(draws.values())))
    return tuple(found)


def _matrices(setting: Noise, draws: list[Record]) -> Matrices:
    data = draws[0].data
    counts = np.asarray([record.noise.counts for record in draws if record.noise.counts is not None])
    total = counts.sum(axis=0) if len(counts) else None
    achieved = requested = furthest = None
    if total is not None:
        achieved = noise.Audit(None, total).achieved
        with suppress(NoiseproofError):  # noise that is no matrix, or a record of no class map
            requested = setting.transition_matrix(len(total), data.class_map or {})
        if requested is not None and total.any():
            furthest = 100 * float(np.nanmax(np.abs(achieved - requested)))
    size = 0 if total is None else len(total)
    return Matrices(
        setting=str(setting),
        classes=data.class_names or tuple(str(k) for k in range(size)),
        draws=len(draws),
        samples=data.train_size,
        requested=None if requested is None else _percent(requested),
        achieved=None if achieved is None else _percent(achieved),
        requested_wrong=_mean([record.noise.requested_rate for record in draws]),
        wrong=_mean([record.noise.achieved_rate for record in draws]),
        furthest=furthest,
    )


def _mean(rates: Sequence[float | None]) -> float | None:
    known = [100 * rate for rate in rates if rate is not None]
    return statistics.fmean(known) if known else None


def _percent(matrix: Matrix) -> Rows:
    return tuple(tuple(None if np.isnan(v) else 100 * float(v) for v in row) for row in matrix)
