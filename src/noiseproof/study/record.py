"""The record of a finished run: its configuration, data, noise, epochs and provenance, one file each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.noise import INSTANCE, Audit, Noise
from noiseproof.schema import Schema
from noiseproof.sealed import read_sealed, write_sealed
from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.provenance import Provenance
from noiseproof.training import History


class DataFacts(Schema):
    """Which data it was; ``canonical`` is whether the files were the published ones, None if none were.

    ``class_map`` is which class asymmetric noise turns into which. Old records have neither it nor the names.
    """

    name: str
    fingerprint: str
    canonical: bool | None
    train_size: int
    test_size: int
    class_names: tuple[str, ...] | None = None
    class_map: dict[int, int] | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> DataFacts:
        """Describe a loaded data set."""
        return cls(
            name=dataset.name,
            fingerprint=dataset.fingerprint,
            canonical=dataset.canonical,
            train_size=len(dataset.train_labels),
            test_size=len(dataset.test_labels),
            class_names=dataset.class_names,
            class_map=dict(dataset.class_map),
        )


class NoiseFacts(Schema):
    """The noise that was achieved: ``counts[i][j]`` samples of clean class i are labelled j.

    ``requested_rate`` is None for noise that asks for none; all are, if the clean labels are not known.
    """

    requested_rate: float | None = None
    achieved_rate: float | None = None
    counts: tuple[tuple[int, ...], ...] | None = None

    @classmethod
    def of(cls, setting: Noise, audit: Audit | None) -> NoiseFacts:
        """Describe the noise of a run."""
        if audit is None:
            return cls()
        return cls(
            requested_rate=setting.rate if setting.kind == INSTANCE else audit.requested_rate,
            achieved_rate=audit.achieved_rate,
            counts=tuple(tuple(row) for row in audit.counts.tolist()),
        )


class Best(Schema):
    """The epoch, 1-based, of the highest test accuracy: shown as such, never chosen as the result."""

    epoch: int
    test_accuracy: float


Status = Literal["finished", "diverged", "out of memory"]


class Record(Schema):
    """What came of a run. ``test_accuracy`` is the last epoch's, a fraction in [0, 1].

    ``status`` is "diverged" if the loss of any epoch was not finite, and "out of memory" if the run did not
    fit the device even alone: then its history ends where it stopped, and it has no accuracy.
    """

    format: Literal[1] = 1
    status: Status
    config: RunConfiguration
    test_accuracy: float | None
    best: Best | None
    data: DataFacts
    noise: NoiseFacts
    history: History
    provenance: Provenance

    @model_validator(mode="after")
    def _every_epoch(self) -> Self:
        whole = self.status != "out of memory"
        if (self.test_accuracy is not None, self.best is not None) != (whole, whole):
            raise ValueError(f"a run that is {self.status!r} has {'an' if whole else 'no'} accuracy")
        if not whole:
            return self
        for name, values in self.history:
            if len(values) != self.config.recipe.epochs:
                raise ValueError(
                    f"history of {name!r} has {len(values)} epochs, not {self.config.recipe.epochs}"
                )
        return self


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, with a checksum of all that it says."""
    write_sealed(record, path)


def read_record(path: Path) -> Record:
    """Read a record; raises `NoiseproofError` that names the file if it is damaged or of another run.

    A record without a checksum, as they were before there was one, is read as it stands.
    """
    damaged = f"record {str(path)!r} is damaged"
    record = read_sealed(Record, path, where=damaged)
    if record.config.id != path.stem:
        raise NoiseproofError(f"{damaged}: it is of run {record.config.id!r}")
    return record
