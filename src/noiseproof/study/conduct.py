"""Conduct a study: train what has no record yet, as fast as it goes, and lose nothing on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Literal

import torch

from noiseproof import data, losses, noise
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.noise import Audit
from noiseproof.study.archive import Archive, Identity
from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.pace import Pace
from noiseproof.study.provenance import provenance
from noiseproof.study.record import Best, DataFacts, NoiseFacts, Record
from noiseproof.study.study import Study
from noiseproof.training import Checkpoint, History, Run, StackedTraining, stack_sizes

CHECKPOINT_EVERY = 30.0
"""Seconds between checkpoints of the runs under way."""


@dataclass(frozen=True)
class Progress:
    """How far a study is. ``accuracy``: the mean over the runs under way, after ``epoch`` epochs."""

    runs_done: int
    runs_total: int
    running: tuple[RunConfiguration, ...]
    epoch: int
    accuracy: float | None
    fraction: float
    seconds_left: float | None


@dataclass(frozen=True)
class Outcome:
    """How conducting a study ended; ``training_seconds`` leaves out loading and saving."""

    ended: Literal["finished", "interrupted", "out of time"]
    runs_done: int
    runs_total: int
    training_seconds: float


def conduct(
    study: Study,
    out: Path,
    *,
    device: str = "auto",
    data_dir: Path | None = None,
    time_budget: float | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Train every run of ``study`` that has no record in ``out`` yet, going on from its checkpoints.

    Args:
        study: what to run.
        out: folder for ``study.json``, ``runs/`` and ``checkpoints/``.
        device: auto, cpu, cuda or cuda:N.
        data_dir: where the data set's files are; None to use what is cached, or download it.
        time_budget: seconds after which everything is saved and training stops; None for no limit.
        interrupted: asked before every step; True saves everything and stops.
        on_progress: told after every step.

    Raises:
        NoiseproofError: before any training, for a device that is not there, unusable data or folder,
            or an ``out`` that holds runs of another configuration.
    """
    pace = Pace(time_budget)
    chosen = choose_device(device)
    dataset = data.load(study.data, data_dir)
    archive = Archive(out)
    archive.make()
    runs = study.runs()
    finished, under_way = archive.finished(), archive.under_way()
    archive.refuse_others(Identity(runs[0], dataset.fingerprint), finished, under_way)
    archive.describe(study)
    for run_id in finished.keys() & under_way.keys():  # a kill came between the record and this
        archive.forget_checkpoint(run_id)

    pending = [_PendingRun(config, dataset) for config in runs if config.id not in finished]
    runs_done = len(runs) - len(pending)
    trainings = list(_stacks(pending, under_way, study, dataset))
    pace.steps_left = _steps_left(trainings, study, dataset)
    for stack, checkpoints in trainings:
        training = StackedTraining(dataset, study.model, study.recipe, [run.spec for run in stack], chosen)
        if checkpoints:
            training.restore(checkpoints)
        configs = [run.config for run in stack]
        saved = time.monotonic()
        while not training.finished:
            stopped = interrupted()
            if stopped or pace.out_of_time:
                archive.save(zip(configs, training.checkpoints, strict=True))
                return Outcome(
                    "interrupted" if stopped else "out of time", runs_done, len(runs), pace.seconds
                )
            with pace.step(len(stack)):
                training.advance()
            on_progress(_progress(training, configs, runs_done, len(runs), pace))
            if time.monotonic() - saved > CHECKPOINT_EVERY and not training.finished:
                archive.save(zip(configs, training.checkpoints, strict=True))
                saved = time.monotonic()
        for run, history in zip(stack, training.histories, strict=True):
            archive.add(_record(run, dataset, history, chosen, training.seconds))
        runs_done += len(stack)
        on_progress(_progress(training, configs, runs_done, len(runs), pace))
    return Outcome("finished", runs_done, len(runs), pace.seconds)


def choose_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there; ``auto`` is CUDA if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise NotImplementedError("not tried with noiseproof")
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise NoiseproofError(
            f"device {name!r} cannot be used ({reason}); expected auto, cpu, cuda or cuda:N"
        ) from None
    return device


class _PendingRun:
    """A run without a record: its noise is drawn, nothing is trained."""

    def __init__(self, config: RunConfiguration, dataset: Dataset) -> None:
        self.config = config
        matrix = noise.parse(config.noise).transition_matrix(dataset.num_classes, dataset.class_map)
        given = noise.corrupt(dataset.train_labels, matrix, seed=config.seed)
        self.audit: Audit = noise.audit(dataset.train_labels, given, matrix)
        self.spec = Run(
            identity=str(Identity(config, dataset.fingerprint)),
            loss=losses.parse(config.loss, reduction="none"),
            given_labels=given,
            seed=config.seed,
        )


def _stacks(
    pending: Sequence[_PendingRun], under_way: dict[str, Checkpoint], study: Study, dataset: Dataset
) -> Iterator[tuple[list[_PendingRun], list[Checkpoint]]]:
    """Group runs into stacks that start at the same step, the most advanced first."""

    def start(run: _PendingRun) -> int:
        return under_way[run.config.id].step if run.config.id in under_way else 0

    for step, group in groupby(sorted(pending, key=start, reverse=True), key=start):
        members = list(group)
        sizes = stack_sizes(len(members), study.model, dataset)
        waiting = iter(members)
        for size in sizes:
            stack = list(islice(waiting, size))
            yield stack, [under_way[run.config.id] for run in stack] if step else []


def _steps_left(
    trainings: Sequence[tuple[list[_PendingRun], list[Checkpoint]]], study: Study, dataset: Dataset
) -> int:
    total = study.recipe.total_steps(len(dataset.train_labels))
    return sum(
        len(stack) * (total - (checkpoints[0].step if checkpoints else 0)) for stack, checkpoints in trainings
    )


def _progress(
    training: StackedTraining,
    configs: Sequence[RunConfiguration],
    runs_done: int,
    runs_total: int,
    pace: Pace,
) -> Progress:
    latest = [history.test[-1] for history in training.histories if len(history)]
    accuracies = [value for value in latest if value is not None]
    return Progress(
        runs_done=runs_done,
        runs_total=runs_total,
        running=tuple(configs),
        epoch=len(training.histories[0]),
        accuracy=sum(accuracies) / len(accuracies) if accuracies else None,
        fraction=pace.fraction,
        seconds_left=pace.seconds_left,
    )


def _record(
    run: _PendingRun, dataset: Dataset, history: History, device: torch.device, seconds: float
) -> Record:
    test = [value for value in history.test if value is not None]
    return Record(
        status="diverged" if None in history.train_loss else "finished",
        config=run.config,
        test_accuracy=test[-1],
        best=Best(epoch=1 + test.index(max(test)), test_accuracy=max(test)),
        data=DataFacts.of(dataset),
        noise=NoiseFacts(
            requested_rate=run.audit.requested_rate,
            achieved_rate=run.audit.achieved_rate,
            counts=tuple(tuple(row) for row in run.audit.counts.tolist()),
        ),
        history=history,
        provenance=provenance(device, seconds=seconds),
    )
