"""Accuracies by loss and noise, from records or from a published table: what every report is made of."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources

from noiseproof import losses, noise
from noiseproof.study import Record, Study

Curve = tuple[float, ...]
"""Accuracy in percent, by epoch."""

TIE = 1e-9
"""Points of accuracy within which two means are equal: their last bits depend on the order of the terms."""


class MissingResultError(LookupError):
    """What was asked for is not among the results."""


@dataclass(frozen=True)
class Cell:
    """The runs of one loss under one noise: final test accuracies in percent, and curves if known."""

    accuracies: tuple[float, ...] = ()
    curves: tuple[Curve, ...] = ()
    memorized: tuple[Curve, ...] = ()
    diverged: int = 0

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over the runs; None for fewer than two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Results:
    """Cells by ``(loss label, noise)``, and what was planned: rows, columns and runs in a cell.

    ``out_of_memory``: how many runs of a cell did not fit their device; they are in no cell, for they have no
    accuracy. ``unverified``: settings whose clean labels are not known, so that nothing can be said of what
    was memorized.
    """

    data: str
    epochs: int
    losses: tuple[str, ...]
    noises: tuple[noise.Noise, ...]
    runs_per_cell: int
    cells: dict[tuple[str, noise.Noise], Cell] = field(repr=False)
    out_of_memory: dict[tuple[str, noise.Noise], int] = field(default_factory=dict, repr=False)
    unverified: frozenset[noise.Noise] = frozenset()

    @property
    def kinds(self) -> list[str]:
        """Kinds of noise, in the order in which they were planned."""
        return list(dict.fromkeys(setting.kind for setting in self.noises))

    def settings(self, kind: str) -> list[noise.Noise]:
        """Settings of a kind, by rate or by name."""
        return sorted(setting for setting in self.noises if setting.kind == kind)

    def rates(self, kind: str) -> list[float]:
        """Noise rates of a kind, ascending."""
        return [setting.rate for setting in self.settings(kind)]

    def cell(self, loss: str, kind: str, rate: float) -> Cell:
        """Give a cell; raises `MissingResultError` if no run of it is finished."""
        try:
            return self.cells[loss, noise.Noise(kind, rate)]
        except KeyError:
            raise MissingResultError(f"{loss} under {noise.Noise(kind, rate)}") from None

    def accuracy(self, loss: str, kind: str, rate: float) -> float:
        """Mean final test accuracy in percent; raises `MissingResultError`."""
        return self.cell(loss, kind, rate).mean

    def curve(self, loss: str, kind: str, rate: float) -> Curve:
        """Mean test accuracy in percent by epoch; raises `MissingResultError`."""
        curves = self.cell(loss, kind, rate).curves
        if not curves:
            raise MissingResultError(f"accuracy by epoch of {loss} under {noise.Noise(kind, rate)}")
        return mean_curve(curves)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Average curves epoch by epoch.

    >>> mean_curve([(0.0, 2.0), (1.0, 4.0)])
    (0.5, 3.0)
    """
    return tuple(statistics.fmean(epoch) for epoch in zip(*curves, strict=True))


def from_records(records: Iterable[Record], plan: Study | None = None) -> Results:
    """Collect records; ``plan`` says which rows, columns and seeds there should be."""
    found = list(records)
    if not found and plan is None:
        raise MissingResultError("no finished run")
    configs = [*(plan.runs() if plan else ()), *(record.config for record in found)]
    rows = dict.fromkeys(losses.parse(config.loss).label for config in configs)
    columns = dict.fromkeys(noise.parse(config.noise) for config in configs)
    groups: dict[tuple[str, noise.Noise], list[Record]] = {}
    out_of_memory: dict[tuple[str, noise.Noise], int] = {}
    for record in found:
        key = losses.parse(record.config.loss).label, noise.parse(record.config.noise)
        if record.status == "out of memory":
            out_of_memory[key] = out_of_memory.get(key, 0) + 1
        else:
            groups.setdefault(key, []).append(record)
    return Results(
        data=configs[0].data,
        epochs=configs[0].recipe.epochs,
        losses=tuple(rows),
        noises=tuple(columns),
        runs_per_cell=len({config.seed for config in configs}),
        cells={key: _cell(group) for key, group in groups.items()},
        out_of_memory=out_of_memory,
        unverified=frozenset(noise.parse(r.config.noise) for r in found if r.noise.counts is None),
    )


def published() -> Results:
    """The study's own Tables 1 and 2; it printed no curves as numbers.

    >>> published().accuracy("NFL+MAE", "symmetric", 0.2)
    84.95
    """
    cells = {}
    for kind, name in (("symmetric", "table1_symmetric.csv"), ("asymmetric", "table2_asymmetric.csv")):
        text = (resources.files("noiseproof.report") / "published" / name).read_text()
        for row in csv.DictReader(text.splitlines()):
            loss = row.pop("loss")
            for rate, accuracy in row.items():
                cells[loss, noise.Noise(kind, float(rate))] = Cell(accuracies=(float(accuracy),))
    return Results(
        data="cifar10",
        epochs=50,
        losses=tuple(dict.fromkeys(loss for loss, _ in cells)),
        noises=tuple(dict.fromkeys(setting for _, setting in cells)),
        runs_per_cell=1,
        cells=cells,
    )


def _cell(records: Sequence[Record]) -> Cell:
    return Cell(
        accuracies=_percent(record.test_accuracy for record in records),
        curves=tuple(_percent(record.history.test) for record in records),
        memorized=tuple(_percent(record.history.memorized) for record in records),
        diverged=sum(record.status == "diverged" for record in records),
    )


def _percent(values: Iterable[float | None]) -> Curve:
    return tuple(100 * value for value in values if value is not None)
