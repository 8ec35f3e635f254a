"""Groups of runs, trained to their end or until they have to stop; others say what is kept of them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.group import Group, PendingRun
from noiseproof.study.pace import Pace
from noiseproof.study.provenance import Provenance, provenance
from noiseproof.training import History, Run, Training, Way, free_memory

CHECKPOINT_EVERY = 30.0
"""Seconds between checkpoints of the runs under way."""

COSTLY_SAVE = 0.6
"""Seconds of saving from which on checkpoints are further apart, in proportion, as on a GPU with 90 MB a run.

So saving takes a fiftieth of the time, and a kill costs half a minute of training, or fifty times what the
last saving took.
"""

OnEpoch = Callable[[RunConfiguration, History], None]
"""Told of a run after each of its epochs: what it is, and its epochs so far."""

OutOfMemory = Literal["out of memory"]

Ended = Literal["finished", "interrupted", "out of time"]


@dataclass(frozen=True)
class Progress:
    """How far a study is. ``accuracy``: the mean over the runs under way, after ``epoch`` epochs.

    Where nothing runs here, ``elsewhere`` is how many runs are awaited that other processes have under way,
    or ``trying`` how many at once are timed before the training begins, ``compiled`` or not, or ``preparing``
    how many are made ready to be trained, on a GPU for up to a minute.
    """

    runs_done: int
    runs_total: int
    fraction: float
    running: tuple[RunConfiguration, ...] = ()
    epoch: int = 0
    accuracy: float | None = None
    seconds_left: float | None = None
    elsewhere: int = 0
    trying: int = 0
    compiled: bool = False
    preparing: int = 0


@dataclass(frozen=True)
class Engine:
    """What trains a study's runs: ``begin`` starts a training of ``at_once`` of them."""

    begin: Callable[[Sequence[Run]], Training]
    at_once: int
    precision: str = "float32"


class GroupTrainer(ABC):
    """Trains one group at a time, within the time there is, and saves what is under way now and then."""

    def __init__(
        self,
        device: torch.device,
        pace: Pace,
        interrupted: Callable[[], bool],
        on_progress: Callable[[Progress], None],
        on_epoch: OnEpoch = lambda *_: None,
        *,
        runs_total: int,
    ) -> None:
        self.device = device
        self.pace = pace
        self.interrupted = interrupted
        self.on_progress = on_progress
        self.on_epoch = on_epoch
        self.runs_total = runs_total
        self.runs_done = 0

    def train(self, engine: Engine, group: Group) -> Ended | OutOfMemory:
        """Train a group to its end, or until it has to stop; then everything is saved."""
        ended: Ended | OutOfMemory
        try:
            ended = self._train(engine, group)
        except torch.OutOfMemoryError:
            ended = "out of memory"
        # only here is the training gone, to which the error's traceback led
        free_memory(self.device)
        return ended

    def tell_of_trial(self, count: int, way: Way) -> None:
        """Tell that ``count`` runs at once are timed before the training begins."""
        self.on_progress(replace(self.standing, trying=count, compiled=way.compiled))

    @property
    def standing(self) -> Progress:
        """How far the study is, without what is under way."""
        return Progress(self.runs_done, self.runs_total, fraction=self.pace.fraction)

    def _keep_networks(self, group: Group, training: Training) -> None:  # noqa: B027  # most are not asked to
        """Keep what a finished group has learned, before anything says that it is finished."""

    @abstractmethod
    def _keep(self, run: PendingRun, history: History, origin: Provenance) -> None:
        """Keep what came of a run that is finished, and count it."""

    @abstractmethod
    def _store(self, group: Group) -> None:
        """Write the checkpoints of a group."""

    def _train(self, engine: Engine, group: Group) -> Ended:
        training = engine.begin([run.spec for run in group.runs])
        if group.checkpoints:
            training.restore(group.checkpoints)
        saved = time.monotonic()
        while not training.finished:
            stopped = self.interrupted()
            late = self.pace.out_of_time if training.prepared else self.pace.too_late_to_prepare
            if stopped or late:
                self._save(group, training)
                return "interrupted" if stopped else "out of time"
            if not training.prepared:
                self._prepare(training)
                continue  # it may have taken a minute
            before, epochs = training.step, len(training.histories[0])
            with self.pace.turn():
                training.advance()
            self.pace.count(len(group.runs) * (training.step - before))
            if len(training.histories[0]) > epochs:
                for run, history in zip(group.runs, training.histories, strict=True):
                    self.on_epoch(run.config, history)
            self._tell(group, training)
            pause = CHECKPOINT_EVERY * max(1.0, self.pace.latest_save / COSTLY_SAVE)
            if time.monotonic() - saved > pause and not training.finished:
                self._save(group, training)
                saved = time.monotonic()
        self._keep_networks(group, training)
        for run, history in zip(group.runs, training.histories, strict=True):
            self._keep(run, history, self._origin(training.precision, training.seconds))
        self._tell(group, training)
        return "finished"

    def _prepare(self, training: Training) -> None:
        self.on_progress(replace(self.standing, preparing=len(training.runs)))
        with self.pace.preparing():
            training.prepare()

    def _save(self, group: Group, training: Training) -> None:
        with self.pace.saving():
            group.checkpoints = training.checkpoints
            self._store(group)

    def _tell(self, group: Group, training: Training) -> None:
        latest = [history.test[-1] for history in training.histories if len(history)]
        accuracies = [value for value in latest if value is not None]
        self.on_progress(
            replace(
                self.standing,
                running=tuple(run.config for run in group.runs),
                epoch=len(training.histories[0]),
                accuracy=sum(accuracies) / len(accuracies) if accuracies else None,
                seconds_left=self.pace.seconds_left,
            )
        )

    def _origin(self, precision: str, seconds: float) -> Provenance:
        return provenance(self.device, precision=precision, seconds=seconds)
