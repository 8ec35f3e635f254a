"""Our cells beside the published study's: how far off, in which order, and which choice comes nearest.

The study leaves some choices open (the stem of its network, A, the scale of MAE, clipping). Folders of
results that differ in one of them are compared on the cells that all of them have.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noiseproof.files import csv_text
from noiseproof.noise import Noise
from noiseproof.report.results import Results

LEAST_FOR_A_RANK = 3
"""Cells of a column below which a rank correlation says nothing."""


@dataclass(frozen=True)
class Column:
    """One noise setting: the cells that both have, as ``(loss, ours, study's)`` in percent."""

    noise: Noise
    cells: tuple[tuple[str, float, float], ...]

    @property
    def mean_absolute_difference(self) -> float:
        """In points of accuracy."""
        return statistics.fmean(abs(ours - study) for _, ours, study in self.cells)

    @property
    def mean_difference(self) -> float:
        """Ours less the study's, in points of accuracy."""
        return statistics.fmean(ours - study for _, ours, study in self.cells)

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's, over the losses; None for too few, or if one side's are all equal."""
        if len(self.cells) < LEAST_FOR_A_RANK:
            return None
        from scipy.stats import rankdata

        ours, study = (rankdata([cell[side] for cell in self.cells]) for side in (1, 2))
        if len(set(ours)) == 1 or len(set(study)) == 1:
            return None
        return statistics.correlation(ours.tolist(), study.tolist())


@dataclass(frozen=True)
class Comparison:
    """All noise settings that both have, in the study's order; ``citation``: which study it is."""

    columns: tuple[Column, ...]
    citation: str = ""

    @property
    def num_cells(self) -> int:
        """How many cells both have."""
        return sum(len(column.cells) for column in self.columns)

    @property
    def mean_absolute_difference(self) -> float:
        """Over all cells, in points of accuracy; NaN if there are none."""
        differences = [abs(o - s) for column in self.columns for _, o, s in column.cells]
        return statistics.fmean(differences) if differences else math.nan

    @property
    def mean_rank_correlation(self) -> float | None:
        """Over the columns that have one."""
        known = [c.rank_correlation for c in self.columns if c.rank_correlation is not None]
        return statistics.fmean(known) if known else None


def compare(ours: Results, study: Results) -> Comparison:
    """Set the cells of ``ours`` beside the ``study``'s; those that only one has are left out.

    Losses are matched by their names alone: weights and hyperparameters are among the choices that are
    compared.
    """
    return _on_cells(_by_name(ours), study)


def nearest(candidates: Mapping[str, Results], study: Results) -> list[tuple[str, Comparison]]:
    """Compare several results on the cells that all of them have, the nearest to the study first."""
    named = {name: _by_name(results) for name, results in candidates.items()}
    common = set.intersection(*(set(cells) for cells in named.values())) if named else set()
    found = [(name, _on_cells({key: cells[key] for key in common}, study)) for name, cells in named.items()]

    def distance(entry: tuple[str, Comparison]) -> float:
        return entry[1].mean_absolute_difference if entry[1].num_cells else math.inf

    return sorted(found, key=distance)


def to_markdown(comparison: Comparison) -> str:
    """Give the comparison as a section of a report."""
    rank = comparison.mean_rank_correlation
    lines = [
        "## Beside what was published",
        "",
        f"Cells that are in both: {comparison.num_cells}. Mean absolute difference:"
        f" {comparison.mean_absolute_difference:.2f} points; rank correlation over the losses, mean of the"
        f" columns: {_number(rank)}. Published: {comparison.citation}.",
        "",
        "| noise | cells | mean absolute difference | mean difference | rank correlation |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for column in comparison.columns:
        lines.append(
            f"| {column.noise} | {len(column.cells)} | {column.mean_absolute_difference:.2f}"
            f" | {column.mean_difference:+.2f} | {_number(column.rank_correlation)} |"
        )
    return "\n".join(lines) + "\n"


def to_csv(comparison: Comparison) -> str:
    """Give every cell: loss, noise, ours, study's, difference."""
    return csv_text(
        ["loss", "noise", "ours", "study", "difference"],
        (
            [loss, column.noise, f"{ours:.4f}", f"{study:.4f}", f"{ours - study:+.4f}"]
            for column in comparison.columns
            for loss, ours, study in column.cells
        ),
    )


def bare_name(label: str) -> str:
    """Leave out weights and hyperparameters.

    >>> bare_name("NCE+0.5*MAE"), bare_name("2*NFL(gamma=2)+RCE(A=-9.21)")
    ('NCE+MAE', 'NFL+RCE')
    """
    return re.sub(r"\([^()]*\)|[\d.e+-]+\*", lambda match: "+" if match[0][0] == "+" else "", label)


Cells = dict[tuple[str, Noise], float]
"""Mean accuracy in percent by bare name and noise."""


def _by_name(results: Results) -> Cells:
    cells: dict[tuple[str, Noise], list[float]] = {}
    for (label, noise), cell in results.cells.items():
        cells.setdefault((bare_name(label), noise), []).append(cell.mean)
    # two losses of one name, such as two values of A in one folder, are no answer to what the study's is
    return {key: means[0] for key, means in cells.items() if len(means) == 1}


def _on_cells(ours: Cells, study: Results) -> Comparison:
    columns = []
    for noise in study.noises:
        cells: Sequence[tuple[str, float, float]] = [
            (name, ours[name, noise], study.cells[loss, noise].mean)
            for loss in study.losses
            for name in [bare_name(loss)]
            if (name, noise) in ours and (loss, noise) in study.cells
        ]
        if cells:
            columns.append(Column(noise, tuple(cells)))
    return Comparison(tuple(columns), study.citation)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"
