"""Conduct a study: train what has no record yet, as fast as it goes, and lose nothing on the way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from noiseproof import data
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.study.archive import Archive, Identity
from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.group import Group, PendingRun, groups
from noiseproof.study.pace import Pace
from noiseproof.study.provenance import Provenance, provenance
from noiseproof.study.study import Study
from noiseproof.training import (
    ConcurrentTraining,
    History,
    Run,
    StackedTraining,
    Training,
    free_memory,
    largest_stack,
    plan,
)

CHECKPOINT_EVERY = 30.0
"""Seconds between checkpoints of the runs under way."""

COSTLY_SAVE = 2.0
"""Seconds of saving from which on checkpoints are further apart, in proportion."""

Ended = Literal["finished", "interrupted", "out of time", "out of memory"]


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
    dataset: Dataset | None = None,
    time_budget: float | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Train every run of ``study`` that has no record in ``out`` yet, going on from its checkpoints.

    A group of runs that a GPU has no memory for is split and goes on from its last checkpoints; a run that
    does not fit even alone is recorded as such, and tried again when the study is conducted again.

    Args:
        study: what to run.
        out: folder for ``study.json``, ``runs/`` and ``checkpoints/``.
        device: auto, cpu, cuda or cuda:N.
        data_dir: where the data set's files are; None to use what is cached, or download it.
        dataset: the data itself, if it is loaded already, or was made in Python.
        time_budget: seconds after which everything is saved and training stops; None for no limit.
        interrupted: asked before every step, on a GPU every second or so; True saves everything and stops.
        on_progress: told after every step, on a GPU after every few.

    Raises:
        NoiseproofError: before any training, for a device that is not there, unusable or other data, a
            network that cannot take it, or an ``out`` that cannot be written to or holds runs of another
            configuration.
    """
    pace = Pace(time_budget)
    chosen = choose_device(device)
    if dataset is None:
        dataset = data.load(study.data, data_dir)
    elif dataset.name != data.label(study.data):
        raise NoiseproofError(f"the study is of {data.label(study.data)!r}, the dataset is {dataset.name!r}")
    study.recipe.check(dataset.image_shape)
    study.model.check(dataset.image_shape, dataset.num_classes)
    archive = Archive(out)
    archive.make()
    runs = study.runs()
    finished, under_way = archive.finished(), archive.under_way()
    archive.refuse_others(Identity(runs[0], dataset.fingerprint), finished, under_way)
    archive.describe(study)
    # what had no memory may have it now: on another device, or beside fewer others
    done = {run_id for run_id, record in finished.items() if record.status != "out of memory"}
    for run_id in done & under_way.keys():  # a kill came between the record and this
        archive.forget_checkpoint(run_id)

    pending = [PendingRun(config, dataset, data_dir) for config in runs if config.id not in done]
    if not pending:
        return Outcome("finished", len(runs), len(runs), pace.seconds)
    chosen_engine = engine(study, dataset, [run.spec for run in pending], chosen)
    conductor = _Conductor(chosen_engine, archive, chosen, pace, interrupted, on_progress)
    conductor.runs_total, conductor.runs_done = len(runs), len(runs) - len(pending)
    waiting = deque(groups(pending, under_way, chosen_engine.at_once))
    total_steps = study.recipe.total_steps(len(dataset.train_labels))
    while waiting:
        pace.steps_left = sum(len(group.runs) * (total_steps - group.step) for group in waiting)
        group = waiting.popleft()
        match conductor.train(group):
            case "out of memory" if len(group.runs) > 1:
                waiting.extendleft(reversed(group.halves()))
            case "out of memory":
                conductor.give_up(group)
            case "interrupted" | "out of time" as ended:
                return Outcome(ended, conductor.runs_done, len(runs), pace.seconds)
            case "finished":
                pass
    return Outcome("finished", len(runs), len(runs), pace.seconds)


@dataclass(frozen=True)
class Engine:
    """What trains a study's runs: ``begin`` starts a training of ``at_once`` of them."""

    begin: Callable[[Sequence[Run]], Training]
    at_once: int
    precision: str = "float32"


def engine(study: Study, dataset: Dataset, runs: Sequence[Run], device: torch.device) -> Engine:
    """Choose the engine: it depends on the device, and on a GPU on what is quickest there."""
    model, recipe = study.model, study.recipe
    if device.type != "cuda":
        return Engine(
            lambda some: StackedTraining(dataset, model, recipe, some, device),
            largest_stack(model, dataset),
        )
    images_ahead = len(runs) * recipe.epochs * len(dataset.train_labels)
    chosen = plan(dataset, model, recipe, runs, device, images_ahead=images_ahead)
    return Engine(
        lambda some: ConcurrentTraining(dataset, model, recipe, some, device, way=chosen.way),
        chosen.at_once,
        chosen.way.precision,
    )


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


class _Conductor:
    """Trains groups of runs, one group at a time, and keeps what comes of them."""

    def __init__(
        self,
        engine: Engine,
        archive: Archive,
        device: torch.device,
        pace: Pace,
        interrupted: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.engine = engine
        self.archive = archive
        self.device = device
        self.pace = pace
        self.interrupted = interrupted
        self.on_progress = on_progress
        self.runs_done = 0
        self.runs_total = 0

    def train(self, group: Group) -> Ended:
        """Train a group to its end, or until it has to stop; then everything is saved."""
        ended: Ended
        try:
            ended = self._train(group)
        except torch.OutOfMemoryError:
            ended = "out of memory"
        # only here is the training gone, to which the error's traceback led
        free_memory(self.device)
        return ended

    def _train(self, group: Group) -> Ended:
        training = self.engine.begin([run.spec for run in group.runs])
        if group.checkpoints:
            training.restore(group.checkpoints)
        configs = [run.config for run in group.runs]
        saved = time.monotonic()
        while not training.finished:
            stopped = self.interrupted()
            if stopped or self.pace.out_of_time:
                self._save(group, training)
                return "interrupted" if stopped else "out of time"
            before = training.step
            with self.pace.turn():
                training.advance()
            self.pace.count(len(configs) * (training.step - before))
            self._tell(training, configs)
            pause = CHECKPOINT_EVERY * max(1.0, self.pace.slowest_save / COSTLY_SAVE)
            if time.monotonic() - saved > pause and not training.finished:
                self._save(group, training)
                saved = time.monotonic()
        for run, history in zip(group.runs, training.histories, strict=True):
            self.archive.add(run.record(history, self._origin(training.precision, training.seconds)))
        self.runs_done += len(group.runs)
        self._tell(training, configs)
        return "finished"

    def give_up(self, group: Group) -> None:
        """Record that a run does not fit even alone."""
        for run in group.runs:
            history, seconds = History(), 0.0
            for checkpoint in group.checkpoints:
                history, seconds = checkpoint.history, checkpoint.seconds
            origin = self._origin(self.engine.precision, seconds)
            self.archive.add(run.record(history, origin, whole=False))
        self.runs_done += len(group.runs)

    def _save(self, group: Group, training: Training) -> None:
        with self.pace.saving():
            group.checkpoints = training.checkpoints
            self.archive.save(zip((run.config for run in group.runs), group.checkpoints, strict=True))

    def _tell(self, training: Training, configs: Sequence[RunConfiguration]) -> None:
        self.on_progress(_progress(training, configs, self.runs_done, self.runs_total, self.pace))

    def _origin(self, precision: str, seconds: float) -> Provenance:
        return provenance(self.device, precision=precision, seconds=seconds)


def _progress(
    training: Training,
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
