"""What every training is: runs on one data set, their counts, their histories, their checkpoints."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.models import Model
from noiseproof.training.checkpoint import Checkpoint
from noiseproof.training.history import History
from noiseproof.training.recipe import Recipe
from noiseproof.training.stack import State


@dataclass(frozen=True)
class Run:
    """One training: a loss on given labels, from a seed.

    ``identity`` says all that makes the run what it is; a checkpoint carries it. ``loss`` must give one value
    for each sample (``reduction="none"``). ``clean_is_known``: whether the data set's own labels are right,
    so that one can say what of the given ones was memorized.
    """

    identity: str
    loss: nn.Module
    given_labels: NDArray[np.int64]
    seed: int
    clean_is_known: bool = True


@dataclass(frozen=True)
class RunState:
    """What a run has learned: weights, batch statistics and momentum by name, in float32."""

    parameters: State
    buffers: State
    momentum: State


class Training(ABC):
    """Trains runs together; each comes out as if it had been trained alone, up to rounding.

    The images stay uint8 on the device; nothing waits for the device within an epoch. ``seconds`` is
    each run's share of the time spent so far, without preparing. Whatever the engine, the batches, the
    counts and the checkpoints are the same, so that one goes on where another stopped.
    """

    def __init__(
        self, dataset: Dataset, model: Model, recipe: Recipe, runs: Sequence[Run], device: torch.device
    ) -> None:
        self.recipe = recipe
        self.runs = tuple(runs)
        self.device = device
        self.step = 0
        self.seconds = 0.0
        self.histories = [History() for _ in runs]
        self._train_images = torch.from_numpy(dataset.train_images).to(device)
        self._test_images = torch.from_numpy(dataset.test_images).to(device)
        self._test_labels = torch.from_numpy(dataset.test_labels).to(device)
        self._clean = torch.from_numpy(dataset.train_labels).to(device)
        self._given = torch.from_numpy(np.stack([run.given_labels for run in runs])).to(device)
        self._mean, self._std = (
            torch.tensor(values, device=device).view(-1, 1, 1) for values in (dataset.mean, dataset.std)
        )
        # runs of one seed share their batches
        self._seeds = list(dict.fromkeys(run.seed for run in runs))
        self._seed_row = torch.tensor([self._seeds.index(run.seed) for run in runs], device=device)
        zeros = torch.zeros(len(runs), dtype=torch.long, device=device)
        self._counts = {name: zeros.clone() for name in ("right", "recovered", "memorized")}
        self._counts["loss"] = zeros.double()

    @property
    def finished(self) -> bool:
        """Whether every epoch is done."""
        return self.step == self.recipe.total_steps(len(self._clean))

    @property
    def precision(self) -> str:
        """What the networks are computed in; weights and losses are float32 in any case."""
        return "float32"

    @property
    def prepared(self) -> bool:
        """Whether all that `prepare` does is done."""
        return True

    def prepare(self) -> None:  # noqa: B027  # most have nothing to do
        """Do what takes long and is done once, such as compiling, so that no step has to; nothing is trained.

        A training that is not prepared does it within the steps that need it.
        """

    @abstractmethod
    def advance(self) -> None:
        """Train one step or a few of one epoch; after its last, evaluate and extend the histories."""

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The state of every run, on the CPU."""
        return [
            Checkpoint(
                identity=run.identity,
                step=self.step,
                seconds=self.seconds,
                counts={name: values[r].cpu().clone() for name, values in self._counts.items()},
                history=self.histories[r],
                **vars(state),
            )
            for r, (run, state) in enumerate(zip(self.runs, self._states(), strict=True))
        ]

    def restore(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Go on from checkpoints, one for each run in order, all at the same step.

        Raises `NoiseproofError` for a checkpoint of another run.
        """
        if [checkpoint.identity for checkpoint in checkpoints] != [run.identity for run in self.runs]:
            raise NoiseproofError("the checkpoints are not those of these runs, one for each in their order")
        (self.step,) = {checkpoint.step for checkpoint in checkpoints}
        self.seconds = max(checkpoint.seconds for checkpoint in checkpoints)
        self.histories = [checkpoint.history for checkpoint in checkpoints]
        for name, values in self._counts.items():
            values.copy_(torch.stack([checkpoint.counts[name] for checkpoint in checkpoints]))
        self._load([RunState(c.parameters, c.buffers, c.momentum) for c in checkpoints])

    @abstractmethod
    def _states(self) -> list[RunState]:
        """Give copies of what each run has learned, on the CPU."""

    @abstractmethod
    def _load(self, states: Sequence[RunState]) -> None:
        """Take up what each run had learned, and draw the epoch under way anew."""

    @abstractmethod
    def _test_hits(self) -> Tensor:
        """Count the test images that each run's network gets right."""

    def _normalized(self, images: Tensor) -> Tensor:
        return (images.float() - self._mean) / self._std

    def _count(self, losses: Tensor, predicted: Tensor, given: Tensor, clean: Tensor) -> None:
        """Count a batch, all ``(R, B)``: losses, predicted, given and clean labels."""
        is_right = given == clean
        fits_given, fits_clean = predicted == given, predicted == clean
        self._counts["loss"] += losses.sum(1)
        self._counts["right"] += (fits_given & is_right).sum(1)
        self._counts["memorized"] += (fits_given & ~is_right).sum(1)
        self._counts["recovered"] += (fits_clean & ~is_right).sum(1)

    def _end_epoch(self) -> None:
        num_samples, num_test = len(self._clean), len(self._test_labels)
        num_right = (self._given == self._clean).sum(1).tolist()
        counted = {name: values.tolist() for name, values in self._counts.items()}
        test_hits = self._test_hits().tolist()
        for r, right in enumerate(num_right):
            hits, recovered, memorized = (counted[name][r] for name in ("right", "recovered", "memorized"))
            wrong = num_samples - right
            known = self.runs[r].clean_is_known
            self.histories[r] = self.histories[r].extended(
                train_loss=_finite(counted["loss"][r] / num_samples),
                clean=(hits + recovered) / num_samples if known else None,
                given=(hits + memorized) / num_samples,
                right=hits / right if right and known else None,
                recovered=recovered / wrong if wrong and known else None,
                memorized=memorized / wrong if wrong and known else None,
                test=test_hits[r] / num_test,
            )
        for values in self._counts.values():
            values.zero_()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
