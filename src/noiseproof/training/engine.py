"""The training engine for the CPU: a stack of runs as one program, one step at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import groupby

import torch
from torch import Tensor, nn

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.losses import Loss
from noiseproof.models import Model
from noiseproof.training.base import Run, RunState, Training
from noiseproof.training.batches import EpochPlan
from noiseproof.training.recipe import Recipe
from noiseproof.training.single import Single, randomness_of_step
from noiseproof.training.stack import Stack, State

EVALUATION_BATCH = 500
"""Test images evaluated at once."""

CACHED_WEIGHTS = 640_000
"""Weights of a stack, 2.6 MB: measured on two cores, throughput is flat from a third to three times this."""


class StackedTraining(Training):
    """Trains a stack of runs: the copies of the network are one, with their parameters stacked.

    Raises `NoiseproofError` for several runs of an opaque network.
    """

    def __init__(
        self, dataset: Dataset, model: Model, recipe: Recipe, runs: Sequence[Run], device: torch.device
    ) -> None:
        super().__init__(dataset, model, recipe, runs, device)
        if model.opaque and len(runs) > 1:
            raise NoiseproofError(f"a network of one's own is trained alone, not {len(runs)} runs in a stack")
        self._model = model

        def initialized(seed: int) -> nn.Module:
            return model.initialized(dataset.image_shape, dataset.num_classes, seed=seed)

        self._stack = (
            Single(initialized(runs[0].seed), device)
            if model.opaque
            else Stack(initialized, [run.seed for run in runs], device)
        )
        self._optimizer = torch.optim.SGD(
            self._stack.parameters.values(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        # runs of one loss are evaluated together
        self._loss_groups = _loss_groups(self.runs)
        self._plans: list[EpochPlan] = []

    def advance(self) -> None:
        """Train one step; after the last one of an epoch, evaluate and extend the histories."""
        started = time.perf_counter()
        steps_per_epoch = self.recipe.steps_per_epoch(len(self._clean))
        epoch, position = divmod(self.step, steps_per_epoch)
        if position == 0 or not self._plans:
            self._begin_epoch(epoch)
        indices, images = self._batch(position * self.recipe.batch_size)
        with self._randomness():
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

    def _states(self) -> list[RunState]:
        momentum = self._momentum()
        return [
            RunState(_row(self._stack.parameters, r), _row(self._stack.buffers, r), _row(momentum, r))
            for r in range(len(self.runs))
        ]

    def _load(self, states: Sequence[RunState]) -> None:
        for kept, restored in (
            (self._stack.parameters, [state.parameters for state in states]),
            (self._stack.buffers, [state.buffers for state in states]),
            (self._momentum(), [state.momentum for state in states]),
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

    def _losses(self, logits: Tensor, given: Tensor) -> Tensor:
        """Per-sample losses ``(R, B)``."""
        parts = [
            loss(logits[span].flatten(0, 1), given[span].flatten()).view_as(given[span])
            for loss, span in self._loss_groups
        ]
        return torch.cat(parts)

    def _randomness(self) -> AbstractContextManager[None]:
        return randomness_of_step(self._model, self.runs[0].seed, self.step)

    @torch.no_grad()
    def _adjust_gradients(self) -> None:
        """Add the L1 norm's gradient and clip, each run by its own norm, as the recipe says."""
        # an opaque network may have parameters that are frozen or take no part
        learning = [(p, p.grad) for p in self._stack.parameters.values() if p.grad is not None]
        gradients = [gradient for _, gradient in learning]
        if self.recipe.l1:
            for parameter, gradient in learning:
                gradient.add_(parameter.sign(), alpha=self.recipe.l1)
        if self.recipe.clip_norm is not None:
            norms = [gradient.flatten(1).norm(dim=1) for gradient in gradients]
            norm = torch.stack(norms).norm(dim=0)
            # as torch.nn.utils.clip_grad_norm_ does, run by run
            factor = (self.recipe.clip_norm / (norm + 1e-6)).clamp(max=1)
            for gradient in gradients:
                gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))

    @torch.no_grad()
    def _test_hits(self) -> Tensor:
        hits = torch.zeros(len(self.runs), dtype=torch.long, device=self.device)
        for start in range(0, len(self._test_labels), EVALUATION_BATCH):
            span = slice(start, start + EVALUATION_BATCH)
            with self._randomness():
                logits = self._stack.logits(self._normalized(self._test_images[span]), training=False)
            hits += (logits.argmax(-1) == self._test_labels[span]).sum(1)
        return hits

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


def largest_stack(model: Model, dataset: Dataset) -> int:
    """Give how many runs make a stack whose weights stay in a core's cache; at least one.

    Small networks gain most from being trained together: alone, a step of theirs is mostly overhead. An
    opaque network is trained alone.
    """
    if model.opaque:
        return 1
    with torch.device("meta"):
        network = model.build(dataset.image_shape, dataset.num_classes)
    num_weights = sum(parameter.numel() for parameter in network.parameters())
    return max(1, CACHED_WEIGHTS // num_weights)


def evenly(number: int, largest: int) -> list[int]:
    """Split ``number`` into as few parts of at most ``largest`` as can be, which differ by one at most.

    >>> evenly(8, 3)
    [3, 3, 2]
    """
    parts = math.ceil(number / largest)
    return [number // parts + (i < number % parts) for i in range(parts)]
