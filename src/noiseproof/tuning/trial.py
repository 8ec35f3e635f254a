"""One trial of a search: the numbers that were tried, and the record of the run that tried them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from noiseproof.errors import NoiseproofError
from noiseproof.schema import Schema
from noiseproof.sealed import read_sealed, write_sealed
from noiseproof.study import Record


class Trial(Schema):
    """A finished trial; ``number`` counts from 0.

    ``run`` is a record like any other, of a run on the part of the data that was not held out: its test
    accuracies, ``score`` the last, are shares of the held-out noisy labels, and never of the test set.
    """

    format: Literal[1] = 1
    number: int
    values: dict[str, float]
    run: Record

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.run.test_accuracy is None:
            raise ValueError(f"a trial has a score, and a run that is {self.run.status!r} has none")
        return self

    @property
    def score(self) -> float:
        """The share of the held-out noisy labels that the network predicts after its last epoch."""
        assert self.run.test_accuracy is not None
        return self.run.test_accuracy

    @property
    def loss(self) -> str:
        """The loss as text, its numbers filled in."""
        return self.run.config.loss


def read_trial(path: Path) -> Trial:
    """Read a trial; raises `NoiseproofError` that names the file if it is damaged or of another number."""
    damaged = f"trial {str(path)!r} is damaged"
    trial = read_sealed(Trial, path, where=damaged)
    if file_name(trial.number) != path.name:
        raise NoiseproofError(f"{damaged}: it is number {trial.number}")
    return trial


def write_trial(trial: Trial, folder: Path) -> None:
    """Write a trial into a folder, with a checksum of all that it says."""
    write_sealed(trial, folder / file_name(trial.number))


def file_name(number: int) -> str:
    """Give the name of a trial's file.

    >>> file_name(7)
    '0007.json'
    """
    return f"{number:04}.json"
