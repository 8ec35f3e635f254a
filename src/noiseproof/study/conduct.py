"""Conduct a study: train what has no record yet, as fast as it goes, and lose nothing on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from noiseproof import noise
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.files import make_folder
from noiseproof.models import NetworkFacts, save_network
from noiseproof.study.archive import Archive, Identity
from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.group import Group, PendingRun
from noiseproof.study.labels import check_noises
from noiseproof.study.pace import Pace
from noiseproof.study.preparation import (
    check_last_batch,
    choose_device,
    choose_engine,
    load_data,
    network_facts,
)
from noiseproof.study.provenance import Provenance
from noiseproof.study.queue import Queue
from noiseproof.study.study import Study
from noiseproof.study.trainer import Ended, GroupTrainer, OnEpoch, Progress
from noiseproof.training import History, Training

LOOK_EVERY = 1.0
"""Seconds between looks at whether another process has finished, or left, what it has under way."""


@dataclass(frozen=True)
class Outcome:
    """How conducting a study ended; ``training_seconds`` leaves out loading, preparing and saving."""

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
    keep_networks: bool = False,
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
        on_progress: told after every step, on a GPU after every few, of each trial of how many runs at once
            are quickest there, before runs are prepared there, and now and then while waiting.
        on_epoch: told of each run after each of its epochs, before they are saved: once more, therefore, of
            those that a killed process had not saved.
        keep_networks: leave each run's trained network in ``networks/``, which
            `noiseproof.models.load_network` reads; a run that has a record and no network is trained again.

    Raises:
        NoiseproofError: before any training, if the device is not there; the data is unusable or not the
            study's; it cannot have a noise; the network cannot take its images, or cannot train on a last
            batch of one; ``out`` cannot be written to or holds runs of another configuration; or ``only``
            names no run.
    """
    pace = Pace(time_budget)
    data_dir = None if data_dir is None else Path(data_dir)
    chosen = choose_device(device)
    study = study.pinned()
    runs = _chosen_runs(study, only)
    dataset = load_data(study, data_dir, dataset)
    check_last_batch(study, dataset)
    check_noises((noise.parse(run.noise) for run in runs), dataset, seed=runs[0].seed, data_dir=data_dir)
    archive = Archive(Path(out))
    archive.make()
    with archive.locks:
        archive.begin(study, Identity(runs[0], dataset.fingerprint))
        finished = archive.finished()
        # what had no memory may have it now: on another device, or beside fewer others
        undone = {
            run_id: record
            for run_id, record in finished.items()
            if record.status == "out of memory" or (keep_networks and not archive.network(run_id).is_file())
        }
        done = finished.keys() - undone.keys()
        archive.clear_checkpoints(done)

        pending = [PendingRun(config, dataset, data_dir) for config in runs if config.id not in done]
        if not pending:
            return Outcome("finished", len(runs), len(runs), pace.seconds)
        total_steps = study.recipe.total_steps(len(dataset.train_labels))
        conductor = _Conductor(
            archive,
            chosen,
            pace,
            interrupted,
            on_progress,
            on_epoch,
            runs_total=len(runs),
            kept=network_facts(study, dataset) if keep_networks else None,
        )
        conductor.runs_done = len(runs) - len(pending)
        engine = choose_engine(
            study,
            dataset,
            [run.spec for run in pending],
            chosen,
            steps_ahead=len(pending) * total_steps - archive.steps_done(run.config.id for run in pending),
            seconds_ahead=pace.budget_left,
            on_trial=conductor.tell_of_trial,
        )
        queue = Queue(archive, pending, undone, total_steps=total_steps, at_once=engine.at_once)
        while left := queue.runs_left():
            conductor.runs_done = len(runs) - left
            group = queue.take()
            pace.steps_left = queue.steps_left
            match conductor.wait(left) if group is None else conductor.train(engine, group):
                case "out of memory" if group is not None and len(group.runs) > 1:
                    queue.put_first(group.halves())
                case "out of memory" if group is not None:
                    conductor.give_up(group, engine.precision)
                case "interrupted" | "out of time" as ended:
                    return Outcome(ended, len(runs) - queue.runs_left(), len(runs), pace.seconds)
        archive.sweep()  # after one that died meanwhile
        return Outcome("finished", len(runs), len(runs), pace.seconds)


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


class _Conductor(GroupTrainer):
    """Trains groups of runs, and keeps what comes of them in the archive.

    ``kept``: what is said of networks that are to be kept; None if none are.
    """

    def __init__(
        self,
        archive: Archive,
        device: torch.device,
        pace: Pace,
        interrupted: Callable[[], bool],
        on_progress: Callable[[Progress], None],
        on_epoch: OnEpoch,
        *,
        runs_total: int,
        kept: NetworkFacts | None,
    ) -> None:
        super().__init__(device, pace, interrupted, on_progress, on_epoch, runs_total=runs_total)
        self.archive = archive
        self.kept = kept

    def wait(self, elsewhere: int) -> Ended:
        """Wait a moment for runs that others have under way; "finished" is the moment."""
        self.on_progress(replace(self.standing, elsewhere=elsewhere))
        if self.interrupted():
            return "interrupted"
        if self.pace.out_of_time:
            return "out of time"
        time.sleep(LOOK_EVERY)
        return "finished"

    def give_up(self, group: Group, precision: str) -> None:
        """Record that the only run of a group does not fit even alone."""
        (run,) = group.runs
        history, seconds = History(), 0.0
        if group.checkpoints:
            history, seconds = group.checkpoints[0].history, group.checkpoints[0].seconds
        self.archive.add(run.record(history, self._origin(precision, seconds), whole=False))
        self.archive.locks.give_back(run.config.id)

    def _keep_networks(self, group: Group, training: Training) -> None:
        if self.kept is None:
            return
        make_folder(self.archive.networks)
        for run, checkpoint in zip(group.runs, training.checkpoints, strict=True):
            state = checkpoint.parameters | checkpoint.buffers
            save_network(self.archive.network(run.config.id), self.kept, state)

    def _keep(self, run: PendingRun, history: History, origin: Provenance) -> None:
        self.archive.add(run.record(history, origin))
        self.archive.locks.give_back(run.config.id, recorded=True)
        self.runs_done += 1

    def _store(self, group: Group) -> None:
        self.archive.save(zip((run.config for run in group.runs), group.checkpoints, strict=True))
