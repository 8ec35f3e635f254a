"""The training engine: a stack of runs that share data, network and recipe, one step at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.losses import Loss
from noiseproof.models import Model
from noiseproof.training.batches import EpochPlan
from noiseproof.training.checkpoint import Checkpoint
from noiseproof.training.history import History
from noiseproof.training.recipe import Recipe
from noiseproof.training.stack import Stack, State

EVALUATION_BATCH = 500
"""Test images evaluated at once."""

CACHED_WEIGHTS = 640_000
"""Weights of a stack, 2.6 MB: measured on two cores, throughput is flat from a third to three times this."""


@dataclass(frozen=True)
class Run:
    """One training: a loss on given labels, from a seed.

    ``identity`` says all that makes the run what it is; a checkpoint carries it. ``loss`` must give one
    value for each sample (``reduction="none"``).
    """

    identity: str
    loss: nn.Module
    given_labels: NDArray[np.int64]
    seed: int


class StackedTraining:
    """Trains a stack of runs together; each comes out as if it had been trained alone, up to rounding.

    The images stay uint8 on the device; nothing waits for the device within an epoch. ``seconds`` is
    each run's share of the time spent so far.
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
        self._stack = Stack(
            lambda: model.build(dataset.image_shape, dataset.num_classes), [run.seed for run in runs], device
        )
        self._optimizer = torch.optim.SGD(
            self._stack.parameters.values(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        # runs of one seed share their batches; runs of one loss are evaluated together
        self._seeds = list(dict.fromkeys(run.seed for run in runs))
        self._seed_row = torch.tensor([self._seeds.index(run.seed) for run in runs], device=device)
        self._loss_groups = _loss_groups(self.runs)
        self._plans: list[EpochPlan] = []
        self._counts = self._no_counts()

    @property
    def finished(self) -> bool:
        """Whether every epoch is done."""
        return self.step == self.recipe.total_steps(len(self._clean))

    def advance(self) -> None:
        """Train one step; after the last one of an epoch, evaluate and extend the histories."""
        started = time.perf_counter()
        steps_per_epoch = self.recipe.steps_per_epoch(len(self._clean))
        epoch, position = divmod(self.step, steps_per_epoch)
        if position == 0 or not self._plans:
            self._begin_epoch(epoch)
        indices, images = self._batch(position * self.recipe.batch_size)
        logits = self._stack.logits(images, training=True)
        given = self._given.gather(1, indices)
        losses = self._losses(logits, given)
        self._optimizer.zero_grad()
        # the runs share nothing, so the gradient of the sum is each run's own gradient
        torch.autograd.backward(losses.mean(1).sum())
        self._adjust_gradients()
        self._optimizer.step()
        self._count(losses.detach(), logits.detach().argmax(-1), given, self._clean[indices])
        self.step += 1
        if position == steps_per_epoch - 1:
            self._end_epoch()
        self.seconds += (time.perf_counter() - started) / len(self.runs)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The state of every run, on the CPU."""
        momentum = self._momentum()
        return [
            Checkpoint(
                identity=run.identity,
                step=self.step,
                seconds=self.seconds,
                parameters=_row(self._stack.parameters, r),
                buffers=_row(self._stack.buffers, r),
                momentum=_row(momentum, r),
                counts=_row(self._counts, r),
                history=self.histories[r],
            )
            for r, run in enumerate(self.runs)
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
        for kept, restored in (
            (self._stack.parameters, [checkpoint.parameters for checkpoint in checkpoints]),
            (self._stack.buffers, [checkpoint.buffers for checkpoint in checkpoints]),
            (self._momentum(), [checkpoint.momentum for checkpoint in checkpoints]),
            (self._counts, [checkpoint.counts for checkpoint in checkpoints]),
        ):
            for name, value in kept.items():
                value.detach().copy_(torch.stack([state[name] for state in restored]))
        self._plans = []

    def _begin_epoch(self, epoch: int) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(epoch)
        self._plans = [
            EpochPlan.draw(len(self._clean), recipe=self.recipe, seed=seed, epoch=epoch, device=self.device)
            for seed in self._seeds
        ]

    def _batch(self, start: int) -> tuple[Tensor, Tensor]:
        """Indices ``(R, B)`` and normalized images, ``(B, C, H, W)`` if all runs share them."""
        batches = [plan.batch(self._train_images, start) for plan in self._plans]
        indices = torch.stack([indices for indices, _ in batches])[self._seed_row]
        if len(batches) == 1:
            return indices, self._normalized(batches[0][1])
        images = torch.stack([self._normalized(images) for _, images in batches])
        return indices, images[self._seed_row]

    def _normalized(self, images: Tensor) -> Tensor:
        return (images.float() - self._mean) / self._std

    def _losses(self, logits: Tensor, given: Tensor) -> Tensor:
        """Per-sample losses ``(R, B)``."""
        parts = [
            loss(logits[span].flatten(0, 1), given[span].flatten()).view_as(given[span])
            for loss, span in self._loss_groups
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def _adjust_gradients(self) -> None:
        """Add the L1 norm's gradient and clip, each run by its own norm, as the recipe says."""
        parameters = list(self._stack.parameters.values())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.recipe.l1:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                gradient.add_(parameter.sign(), alpha=self.recipe.l1)
        if self.recipe.clip_norm is not None:
            norms = [gradient.flatten(1).norm(dim=1) for gradient in gradients]
            norm = torch.stack(norms).norm(dim=0)
            # as torch.nn.utils.clip_grad_norm_ does, run by run
            factor = (self.recipe.clip_norm / (norm + 1e-6)).clamp(max=1)
            for gradient in gradients:
                gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))

    def _count(self, losses: Tensor, predicted: Tensor, given: Tensor, clean: Tensor) -> None:
        is_right = given == clean
        fits_given, fits_clean = predicted == given, predicted == clean
        self._counts["loss"] += losses.sum(1)
        self._counts["right"] += (fits_given & is_right).sum(1)
        self._counts["memorized"] += (fits_given & ~is_right).sum(1)
        self._counts["recovered"] += (fits_clean & ~is_right).sum(1)

    def _end_epoch(self) -> None:
        num_samples = len(self._clean)
        num_right = (self._given == self._clean).sum(1).tolist()
        counted = {name: values.tolist() for name, values in self._counts.items()}
        test = self._test_accuracy()
        for r, right in enumerate(num_right):
            hits, recovered, memorized = (counted[name][r] for name in ("right", "recovered", "memorized"))
            wrong = num_samples - right
            self.histories[r] = self.histories[r].extended(
                train_loss=_finite(counted["loss"][r] / num_samples),
                clean=(hits + recovered) / num_samples,
                given=(hits + memorized) / num_samples,
                right=hits / right if right else None,
                recovered=recovered / wrong if wrong else None,
                memorized=memorized / wrong if wrong else None,
                test=test[r],
            )
        self._counts = self._no_counts()

    @torch.no_grad()
    def _test_accuracy(self) -> list[float]:
        hits = torch.zeros(len(self.runs), dtype=torch.long, device=self.device)
        for start in range(0, len(self._test_labels), EVALUATION_BATCH):
            span = slice(start, start + EVALUATION_BATCH)
            logits = self._stack.logits(self._normalized(self._test_images[span]), training=False)
            hits += (logits.argmax(-1) == self._test_labels[span]).sum(1)
        return [count / len(self._test_labels) for count in hits.tolist()]

    def _no_counts(self) -> State:
        zeros = torch.zeros(len(self.runs), dtype=torch.long, device=self.device)
        counts = {name: zeros.clone() for name in ("right", "recovered", "memorized")}
        return {"loss": zeros.double(), **counts}

    def _momentum(self) -> State:
        """The optimizer's momentum by parameter name; zeros before the first step, as SGD would start."""
        momentum = {}
        for name, parameter in self._stack.parameters.items():
            state = self._optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            momentum[name] = state["momentum_buffer"]
        return momentum


def _loss_groups(runs: Sequence[Run]) -> list[tuple[nn.Module, slice]]:
    """Neighbouring runs of the same loss, as ``(loss, slice of the stack)``."""

    def same_loss(run: Run) -> str | int:
        # the text of a loss of ours says all of it; that of any other module may not
        return str(run.loss) if isinstance(run.loss, Loss) else id(run.loss)

    groups, start = [], 0
    for _, members in groupby(runs, key=same_loss):
        same = list(members)
        groups.append((same[0].loss, slice(start, start + len(same))))
        start += len(same)
    return groups


def _row(stacked: State, r: int) -> State:
    return {name: value[r].detach().cpu().clone() for name, value in stacked.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def stack_sizes(num_runs: int, model: Model, dataset: Dataset) -> list[int]:
    """Split ``num_runs`` runs evenly into stacks whose weights stay in a core's cache; at least one a stack.

    Small networks gain most from being trained together: alone, a step of theirs is mostly overhead.
    """
    with torch.device("meta"):
        network = model.build(dataset.image_shape, dataset.num_classes)
    num_weights = sum(parameter.numel() for parameter in network.parameters())
    largest = max(1, CACHED_WEIGHTS // num_weights)
    num_stacks = math.ceil(num_runs / largest)
    return [num_runs // num_stacks + (i < num_runs % num_stacks) for i in range(num_stacks)]
