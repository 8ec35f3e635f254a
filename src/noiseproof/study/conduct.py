"""Conduct a study: train what has no record yet, as fast as it goes, and lose nothing on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from noiseproof import data
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.study.archive import Archive, Identity
from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.group import Group, PendingRun
from noiseproof.study.pace import Pace
from noiseproof.study.provenance import Provenance, provenance
from noiseproof.study.queue import Queue
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

LOOK_EVERY = 1.0
"""Seconds between looks at whether another process has finished, or left, what it has under way."""

OnEpoch = Callable[[RunConfiguration, History], None]
"""Told of a run after each of its epochs: what it is, and its epochs so far."""

OutOfMemory = Literal["out of memory"]

Ended = Literal["finished", "interrupted", "out of time"]


@dataclass(frozen=True)
class Progress:
    """How far a study is. ``accuracy``: the mean over the runs under way, after ``epoch`` epochs.

    ``elsewhere``: how many runs are awaited that other processes have under way, where nothing runs here.
    """

    runs_done: int
    runs_total: int
    running: tuple[RunConfiguration, ...]
    epoch: int
    accuracy: float | None
    fraction: float
    seconds_left: float | None
    elsewhere: int = 0


@dataclass(frozen=True)
class Outcome:
    """How conducting a study ended; ``training_seconds`` leaves out loading and saving."""

    ended: Ended
    runs_done: int
    runs_total: int
    training_seconds: float


def conduct(
    study: Study,
    out: Path | str,
    *,
    only: Collection[str] | None = None,
    device: str = "auto",
    data_dir: Path | str | None = None,
    dataset: Dataset | None = None,
    time_budget: float | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_epoch: OnEpoch = lambda *_: None,
) -> Outcome:
    """Train every run of ``study`` that has no record in ``out`` yet, going on from its checkpoints.

    Other processes may do the same at the same time: each trains the groups of runs that nobody else has
    under way, then waits for theirs, and takes over what one leaves that dies or is stopped.

    A group of runs that a GPU has no memory for is split and goes on from its last checkpoints; a run that
    does not fit even alone is recorded as such, and tried again when the study is conducted again.

    Args:
        study: what to run.
        out: folder for ``study.json``, ``runs/``, ``checkpoints/`` and ``locks/``.
        only: ids of the study's runs to conduct; None for all of them.
        device: auto, cpu, cuda or cuda:N.
        data_dir: where the data set's files are; None to use what is cached, or download it.
        dataset: the data itself, if it is loaded already, or was made in Python.
        time_budget: seconds after which everything is saved and training stops; None for no limit.
        interrupted: asked before every step, on a GPU every second or so; True saves everything and stops.
        on_progress: told after every step, on a GPU after every few, and now and then while waiting.
        on_epoch: told of each run after each of its epochs, before they are saved: once more, therefore, of
            those that a killed process had not saved.

    Raises:
        NoiseproofError: before any training, for a device that is not there, unusable or other data, a
            network that cannot take it, an ``out`` that cannot be written to or holds runs of another
            configuration, or an id in ``only`` that is no run's.
    """
    pace = Pace(time_budget)
    data_dir = None if data_dir is None else Path(data_dir)
    chosen = choose_device(device)
    study = study.pinned()
    runs = _chosen_runs(study, only)
    if dataset is None:
        dataset = data.load(study.data, data_dir)
    elif dataset.name != data.label(study.data):
        raise NoiseproofError(f"the study is of {data.label(study.data)!r}, the dataset is {dataset.name!r}")
    check_data(study, dataset)
    archive = Archive(Path(out))
    archive.make()
    with archive.locks:
        archive.begin(study, Identity(runs[0], dataset.fingerprint))
        finished = archive.finished()
        # what had no memory may have it now: on another device, or beside fewer others
        unfit = {run_id: record for run_id, record in finished.items() if record.status == "out of memory"}
        done = finished.keys() - unfit.keys()
        archive.clear_checkpoints(done)

        pending = [PendingRun(config, dataset, data_dir) for config in runs if config.id not in done]
        if not pending:
            return Outcome("finished", len(runs), len(runs), pace.seconds)
        total_steps = study.recipe.total_steps(len(dataset.train_labels))
        chosen_engine = engine(study, dataset, [run.spec for run in pending], chosen)
        queue = Queue(archive, pending, unfit, total_steps=total_steps, at_once=chosen_engine.at_once)
        conductor = _Conductor(chosen_engine, archive, chosen, pace, interrupted, on_progress, on_epoch)
        conductor.runs_total = len(runs)
        while left := queue.runs_left():
            conductor.runs_done = len(runs) - left
            group = queue.take()
            pace.steps_left = queue.steps_left
            match conductor.wait(left) if group is None else conductor.train(group):
                case "out of memory" if group is not None and len(group.runs) > 1:
                    queue.put_first(group.halves())
                case "out of memory" if group is not None:
                    conductor.give_up(group)
                case "interrupted" | "out of time" as ended:
                    return Outcome(ended, len(runs) - queue.runs_left(), len(runs), pace.seconds)
        archive.sweep()  # after one that died meanwhile
        return Outcome("finished", len(runs), len(runs), pace.seconds)


def check_data(study: Study, dataset: Dataset) -> None:
    """Raise `NoiseproofError` if the study's recipe or network can't take the data."""
    study.recipe.check(dataset.image_shape)
    study.model.check(dataset.image_shape, dataset.num_classes)


def _chosen_runs(study: Study, only: Collection[str] | None) -> list[RunConfiguration]:
    runs = study.runs()
    if only is None:
        return runs
    ids = [run.id for run in runs]
    for run_id in only:
        if run_id not in ids:
            raise NoiseproofError(f"the study has no run {run_id!r}; {did_you_mean(run_id, ids)}")
    if not only:
        raise NoiseproofError("only must name a run at least, got none")
    return [run for run in runs if run.id in only]


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
        if name.partition(":")[0] not in ("cpu", "cuda"):  # PyTorch would name every other kind there is
            raise NotImplementedError("it is neither cpu nor cuda")
        device = torch.device(name)
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
        on_epoch: OnEpoch,
    ) -> None:
        self.engine = engine
        self.archive = archive
        self.device = device
        self.pace = pace
        self.interrupted = interrupted
        self.on_progress = on_progress
        self.on_epoch = on_epoch
        self.runs_done = 0
        self.runs_total = 0

    def train(self, group: Group) -> Ended | OutOfMemory:
        """Train a group to its end, or until it has to stop; then everything is saved."""
        ended: Ended | OutOfMemory
        try:
            ended = self._train(group)
        except torch.OutOfMemoryError:
            ended = "out of memory"
        # only here is the training gone, to which the error's traceback led
        free_memory(self.device)
        return ended

    def wait(self, elsewhere: int) -> Ended:
        """Wait a moment for runs that others have under way; "finished" is the moment."""
        self.on_progress(
            Progress(
                self.runs_done,
                self.runs_total,
                running=(),
                epoch=0,
                accuracy=None,
                fraction=self.pace.fraction,
                seconds_left=None,
                elsewhere=elsewhere,
            )
        )
        if self.interrupted():
            return "interrupted"
        if self.pace.out_of_time:
            return "out of time"
        time.sleep(LOOK_EVERY)
        return "finished"

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
            before, epochs = training.step, len(training.histories[0])
            with self.pace.turn():
                training.advance()
            self.pace.count(len(configs) * (training.step - before))
            if len(training.histories[0]) > epochs:
                for config, history in zip(configs, training.histories, strict=True):
                    self.on_epoch(config, history)
            self._tell(training, configs)
            pause = CHECKPOINT_EVERY * max(1.0, self.pace.slowest_save / COSTLY_SAVE)
            if time.monotonic() - saved > pause and not training.finished:
                self._save(group, training)
                saved = time.monotonic()
        for run, history in zip(group.runs, training.histories, strict=True):
            self.archive.add(run.record(history, self._origin(training.precision, training.seconds)))
            self.archive.locks.give_back(run.config.id, recorded=True)
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
            self.archive.locks.give_back(run.config.id)
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
