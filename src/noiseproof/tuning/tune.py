"""Conduct a search: propose a batch of trials, train them together, learn from their scores, and go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

import torch

from noiseproof import noise
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.study import Outcome, Progress
from noiseproof.study.group import Group, PendingRun, groups
from noiseproof.study.labels import check_noises, training_labels
from noiseproof.study.pace import Pace
from noiseproof.study.preparation import check_last_batch, choose_device, choose_engine, load_data
from noiseproof.study.provenance import Provenance
from noiseproof.study.trainer import Ended, Engine, GroupTrainer
from noiseproof.training import History
from noiseproof.tuning.folder import Folder
from noiseproof.tuning.holdout import hold_out
from noiseproof.tuning.proposals import Values, propose, require_optuna
from noiseproof.tuning.search import Search
from noiseproof.tuning.trial import Trial

Pending = dict[PendingRun, tuple[int, Values]]
"""The runs of a batch, each with the number and the values of its trial."""


def tune(
    search: Search,
    out: Path | str,
    *,
    trials: int = 50,
    device: str = "auto",
    data_dir: Path | str | None = None,
    dataset: Dataset | None = None,
    time_budget: float | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Try numbers for the names of a loss until ``out`` holds ``trials`` trials, those that it has included.

    Each trial is trained on the noisy labels that are not held out, and scored by the noisy labels that are.
    The test set is not looked at. A search that was stopped goes on where it was; one that was killed, from
    its last checkpoints.

    Args:
        search: what is searched.
        out: folder for ``search.json``, ``trials/`` and ``checkpoints/``.
        trials: how many there shall be in all, >= 1.
        device: auto, cpu, cuda or cuda:N.
        data_dir: where the data set's files are; None to use what is cached, or download it.
        dataset: the data itself, if it is loaded already, or was made in Python.
        time_budget: seconds after which everything is saved and training stops; None for no limit.
        interrupted: asked before every step, on a GPU every second or so; True saves everything and stops.
        on_progress: told after every step, on a GPU after every few, and of each measurement of how many
            trials at once are quickest there.

    Returns:
        How it ended; its runs are the trials.

    Raises:
        NoiseproofError: before any training, if the device is not there; the data is unusable or not the
            search's; it cannot have the noise; the network cannot take its images, or cannot train on a last
            batch of one; or ``out`` cannot be written to, is in use or holds another search. Later, if a
            trial alone exceeds the GPU's memory.
    """
    pace = Pace(time_budget)
    data_dir = None if data_dir is None else Path(data_dir)
    if trials < 1:
        raise NoiseproofError(f"the number of trials must be at least 1, got {trials}")
    require_optuna()
    chosen = choose_device(device)
    search = search.pinned()
    dataset = load_data(search.study(), data_dir, dataset, what="search")
    setting = noise.parse(search.noise)
    check_noises([setting], dataset, seed=search.seed, data_dir=data_dir)
    labels = training_labels(setting, dataset, seed=search.seed, data_dir=data_dir)
    part = hold_out(dataset, labels, fraction=search.holdout, seed=search.seed)
    check_last_batch(search.study(), part)
    folder = Folder(Path(out))
    with folder.held():
        finished = folder.take_up(search, part.fingerprint)
        tuner = _Tuner(search, part, folder, finished, trials, chosen, pace, interrupted, on_progress)
        ended = tuner.tune()
    return Outcome(ended, tuner.runs_done, trials, pace.seconds)


class _Tuner(GroupTrainer):
    """Goes through the batches of a search; its runs are the trials."""

    def __init__(
        self,
        search: Search,
        part: Dataset,
        folder: Folder,
        finished: dict[int, Trial],
        total: int,
        device: torch.device,
        pace: Pace,
        interrupted: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> None:
        super().__init__(device, pace, interrupted, on_progress, runs_total=total)
        self.search = search
        self.part = part
        self.folder = folder
        self.finished = finished
        self.runs_done = sum(number < total for number in finished)
        self._engine: Engine | None = None
        self._pending: Pending = {}

    def tune(self) -> Ended:
        """Finish batch after batch; each is proposed from those before it alone."""
        for first in range(0, self.runs_total, self.search.batch):
            numbers = range(first, min(first + self.search.batch, self.runs_total))
            if self.finished.keys() >= set(numbers):
                continue
            before = [self.finished[number] for number in range(first)]
            proposed = zip(numbers, propose(self.search, before, len(numbers)), strict=True)
            ended = self._finish(
                {
                    PendingRun(self.search.configuration(values), self.part): (number, values)
                    for number, values in proposed
                    if number not in self.finished
                }
            )
            if ended != "finished":
                return ended
        return "finished"

    def _finish(self, pending: Pending) -> Ended:
        """Train the runs of a batch, as many at once as is quickest."""
        self._pending = pending
        under_way = self.folder.under_way({run.config.id: run.spec.identity for run in pending})
        steps = self.search.recipe.total_steps(len(self.part.train_labels))
        if self._engine is None:
            steps_done = sum(checkpoint.step for checkpoint in under_way.values())
            self._engine = choose_engine(
                self.search.study(),
                self.part,
                [run.spec for run in pending],
                self.device,
                steps_ahead=(self.runs_total - self.runs_done) * steps - steps_done,
                seconds_ahead=self.pace.budget_left,
                on_trial=self.tell_of_trial,
            )
        waiting = deque(groups(list(pending), under_way, self._engine.at_once))
        while waiting:
            group = waiting.popleft()
            self.pace.steps_left = (self.runs_total - self.runs_done) * steps - len(group.runs) * group.step
            match self.train(self._engine, group):
                case "out of memory" if len(group.runs) > 1:
                    waiting.extendleft(reversed(group.halves()))
                case "out of memory":
                    raise NoiseproofError(
                        f"a trial does not fit the memory of {self.device}, even alone; a smaller network or"
                        " recipe.batch_size may"
                    )
                case "interrupted" | "out of time" as ended:
                    return ended
                case "finished":
                    pass
        return "finished"

    def _keep(self, run: PendingRun, history: History, origin: Provenance) -> None:
        number, values = self._pending[run]
        trial = Trial(number=number, values=values, run=run.record(history, origin))
        self.folder.add(trial)
        self.finished[number] = trial
        self.runs_done += 1

    def _store(self, group: Group) -> None:
        self.folder.save(zip((run.config.id for run in group.runs), group.checkpoints, strict=True))
