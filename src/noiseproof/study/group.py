"""Runs that are trained together: what each of them is, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from noiseproof import losses, noise
from noiseproof.data import Dataset
from noiseproof.study.archive import Identity
from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.labels import training_labels
from noiseproof.study.provenance import Provenance
from noiseproof.study.record import Best, DataFacts, NoiseFacts, Record, Status
from noiseproof.training import Checkpoint, History, Run, evenly


class PendingRun:
    """A run without a record: its noise is drawn, nothing is trained."""

    def __init__(self, config: RunConfiguration, dataset: Dataset, data_dir: Path | None = None) -> None:
        self.config = config
        self.data = DataFacts.of(dataset)
        setting = noise.parse(config.noise)
        labels = training_labels(setting, dataset, seed=config.seed, data_dir=data_dir)
        self.noise = NoiseFacts.of(setting, labels.audit)
        self.spec = Run(
            identity=str(Identity(config, dataset.fingerprint)),
            loss=losses.parse(config.loss, reduction="none"),
            given_labels=labels.given,
            seed=config.seed,
            clean_is_known=labels.audit is not None,
        )

    def record(self, history: History, origin: Provenance, *, whole: bool = True) -> Record:
        """Record what came of the run; if it is not ``whole``, its device had no memory for it."""
        test = [value for value in history.test if value is not None] if whole else []
        status: Status = "diverged" if None in history.train_loss else "finished"
        return Record(
            status=status if whole else "out of memory",
            config=self.config,
            test_accuracy=test[-1] if whole else None,
            best=Best(epoch=1 + test.index(max(test)), test_accuracy=max(test)) if whole else None,
            data=self.data,
            noise=self.noise,
            history=history,
            provenance=origin,
        )


@dataclass
class Group:
    """Runs that are trained together, and their last checkpoints, all of one step; none at the start."""

    runs: list[PendingRun]
    checkpoints: list[Checkpoint]

    @property
    def step(self) -> int:
        """Steps done by the last checkpoint."""
        return self.checkpoints[0].step if self.checkpoints else 0

    def halves(self) -> list[Group]:
        """Split in two."""
        middle = len(self.runs) // 2
        return [
            Group(self.runs[span], self.checkpoints[span]) for span in (slice(middle), slice(middle, None))
        ]


def groups(pending: Sequence[PendingRun], under_way: dict[str, Checkpoint], at_once: int) -> Iterator[Group]:
    """Group runs, at most ``at_once`` of them, that start at the same step, the most advanced first."""

    def start(run: PendingRun) -> int:
        return under_way[run.config.id].step if run.config.id in under_way else 0

    for step, same in groupby(sorted(pending, key=start, reverse=True), key=start):
        members = list(same)
        waiting = iter(members)
        for size in evenly(len(members), at_once):
            runs = list(islice(waiting, size))
            yield Group(runs, [under_way[run.config.id] for run in runs] if step else [])
