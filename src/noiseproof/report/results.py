"""Accuracies by loss and noise, from records or from a published table: what every report is made of."""

from __future__ import annotations

import csv
import statistics
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

from noiseproof import losses, noise
from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.schema import Schema
from noiseproof.study import Record, Study

Curve = tuple[float, ...]
"""Accuracy in percent, by epoch."""

SOURCES = resources.files("noiseproof.report") / "published"
"""A folder for each source of published accuracies: ``source.toml`` and a table for each kind of noise."""

TIE = 1e-9
"""Points of accuracy within which two means are equal: their last bits depend on the order of the terms."""


Measure = Literal["test", "memorized"]
"""What a curve shows by epoch: test accuracy, or the share of wrong labels predicted as given."""


class MissingResultError(LookupError):
    """What was asked for is not among the results."""


@dataclass(frozen=True)
class Cell:
    """The runs of one loss under one noise: final test accuracies in percent, and curves if known.

    Of published runs there may be only their mean, as ``accuracies``, and their deviation, ``published_std``.
    """

    accuracies: tuple[float, ...] = ()
    curves: tuple[Curve, ...] = ()
    memorized: tuple[Curve, ...] = ()
    diverged: int = 0
    published_std: float | None = None

    def by_epoch(self, measure: Measure) -> tuple[Curve, ...]:
        """Curves of a measure, one for each run of which it is known."""
        every = self.curves if measure == "test" else self.memorized
        return tuple(curve for curve in every if curve)

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over the runs; None for fewer than two."""
        if self.published_std is not None:
            return self.published_std
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Results:
    """Cells by ``(loss label, noise)``, and what was planned: rows, columns and runs in a cell.

    ``out_of_memory``: how many runs of a cell did not fit their device; they are in no cell, for they have no
    accuracy. ``model``: the network's name. ``citation``: where published results are from. ``unverified``:
    settings whose clean labels are not known, so that nothing can be said of what was memorized.
    """

    data: str
    epochs: int
    losses: tuple[str, ...]
    noises: tuple[noise.Noise, ...]
    runs_per_cell: int
    cells: dict[tuple[str, noise.Noise], Cell] = field(repr=False)
    out_of_memory: dict[tuple[str, noise.Noise], int] = field(default_factory=dict, repr=False)
    unverified: frozenset[noise.Noise] = frozenset()
    model: str = ""
    citation: str = ""

    @property
    def length(self) -> str:
        """How long a run is: ``50 epochs``, or ``1 epoch``."""
        return f"{self.epochs} epoch{'' if self.epochs == 1 else 's'}"

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
        found = self.cells.get((loss, noise.Noise(kind, rate)))
        if found is None or not found.accuracies:
            raise MissingResultError(f"{loss} under {noise.Noise(kind, rate)}")
        return found

    def accuracy(self, loss: str, kind: str, rate: float) -> float:
        """Mean final test accuracy in percent; raises `MissingResultError`."""
        return self.cell(loss, kind, rate).mean

    def curve(self, loss: str, kind: str, rate: float) -> Curve:
        """Mean test accuracy in percent by epoch; raises `MissingResultError`, also if lengths differ."""
        curves = self.cell(loss, kind, rate).curves
        if len({len(curve) for curve in curves}) != 1:
            raise MissingResultError(f"accuracy by epoch of {loss} under {noise.Noise(kind, rate)}")
        return mean_curve(curves)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Average curves epoch by epoch.

    >>> mean_curve([(0.0, 2.0), (1.0, 4.0)])
    (0.5, 3.0)
    """
    return tuple(statistics.fmean(epoch) for epoch in zip(*curves, strict=True))


def from_records(records: Iterable[Record], plan: Study | None = None) -> Results:
    """Collect records; ``plan`` says which rows, columns and seeds there should be.

    Raises `MissingResultError` if there is neither, `NoiseproofError` for records of different studies.
    """
    found = list(records)
    if not found and plan is None:
        raise MissingResultError("no finished run")
    for record in found:
        if differences := found[0].config.differences(record.config):
            raise NoiseproofError(
                f"the records are of different studies ({'; '.join(differences)}); expected those of one"
            )
    configs = [*(plan.runs() if plan else ()), *(record.config for record in found)]
    rows = dict.fromkeys(config.label for config in configs)
    columns = dict.fromkeys(noise.parse(config.noise) for config in configs)
    groups: dict[tuple[str, noise.Noise], list[Record]] = {}
    out_of_memory: dict[tuple[str, noise.Noise], int] = {}
    for record in found:
        key = record.config.label, noise.parse(record.config.noise)
        if record.status == "out of memory":
            out_of_memory[key] = out_of_memory.get(key, 0) + 1
        else:
            groups.setdefault(key, []).append(record)
    return Results(
        data=configs[0].data,
        model=configs[0].model.name,
        epochs=configs[0].recipe.epochs,
        losses=tuple(rows),
        noises=tuple(columns),
        runs_per_cell=len({config.seed for config in configs}),
        cells={key: _cell(group) for key, group in groups.items()},
        out_of_memory=out_of_memory,
        unverified=frozenset(noise.parse(r.config.noise) for r in found if r.noise.counts is None),
    )


class Source(Schema):
    """Where published accuracies are from, and the protocol that they belong to."""

    citation: str
    data: str
    model: str
    epochs: int
    runs: int


def published(source: str = "study") -> Results:
    """Give what a source printed, by its folder's name: by default the study's own Tables 1 and 2.

    No source printed curves as numbers. Raises `NoiseproofError` for an unknown source.

    >>> published().accuracy("NFL+MAE", "symmetric", 0.2)
    84.95
    """
    if source not in _sources():
        raise NoiseproofError(f"unknown source {source!r}; {did_you_mean(source, _sources())}")
    folder = SOURCES / source
    about = Source.read(tomllib.loads((folder / "source.toml").read_text()), where=f"source {source!r}")
    cells = {}
    for kind in noise.KINDS:
        if not (folder / f"{kind}.csv").is_file():
            continue
        for row in csv.DictReader((folder / f"{kind}.csv").read_text().splitlines()):
            label = losses.parse(row.pop("loss")).label
            for rate, accuracy in row.items():
                if accuracy and not rate.endswith("_std"):
                    std = row.get(f"{rate}_std")
                    cell = Cell(accuracies=(float(accuracy),), published_std=float(std) if std else None)
                    cells[label, noise.Noise(kind, float(rate))] = cell
    return Results(
        data=about.data,
        model=about.model,
        epochs=about.epochs,
        losses=tuple(dict.fromkeys(loss for loss, _ in cells)),
        noises=tuple(dict.fromkeys(setting for _, setting in cells)),
        runs_per_cell=about.runs,
        cells=cells,
        citation=about.citation,
    )


def published_beside(results: Results) -> Results | None:
    """Give what was published of the same data set and network, or None.

    Of several sources it is the one of as many epochs, if there is one.

    >>> published_beside(published()) == published()
    True
    """
    every = [published(source) for source in _sources()]
    fitting = [one for one in every if (one.data, one.model) == (results.data, results.model)]
    return min(fitting, key=lambda one: one.epochs != results.epochs, default=None)


def _sources() -> list[str]:
    return sorted(entry.name for entry in SOURCES.iterdir() if entry.is_dir())


def _cell(records: Sequence[Record]) -> Cell:
    return Cell(
        accuracies=_percent(record.test_accuracy for record in records),
        curves=tuple(_percent(record.history.test) for record in records),
        memorized=tuple(_percent(record.history.memorized) for record in records),
        diverged=sum(record.status == "diverged" for record in records),
    )


def _percent(values: Iterable[float | None]) -> Curve:
    return tuple(100 * value for value in values if value is not None)
