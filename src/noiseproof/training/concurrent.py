"""The training engine for a GPU: each run has its own network, and a step of all is one CUDA graph.

Everything that a step reads stays in one place on the device: images, the epoch's draws, labels, the position
in the epoch, the learning rate. So whole steps are replayed without the host, each run's on a stream of its
own: at the study's batch size, one ResNet-18 cannot fill a large GPU.

The same code runs on the CPU, where nothing is captured and there is one stream: that is how it is tested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from noiseproof.data import Dataset
from noiseproof.losses.own import own_modules
from noiseproof.models import Model
from noiseproof.training.base import Run, RunState, Training
from noiseproof.training.batches import EpochPlan
from noiseproof.training.graph import Graph, Streams
from noiseproof.training.learner import Learner
from noiseproof.training.recipe import Recipe
from noiseproof.training.single import laid_out_as_usual, randomness_of_step

EVALUATION_BATCH = 1000
"""Test images evaluated at once."""

TURN = 1.0
"""Seconds that `ConcurrentTraining.advance` takes at most on a GPU, once it is prepared, but for an
evaluation: what a time budget has to allow for."""


@dataclass(frozen=True)
class Way:
    """How runs are trained at once.

    ``compute``: what the networks are computed in, by autocast; None for the weights' own dtype.
    ``compiled``: by `torch.compile`. ``streams``: how many things the GPU does side by side; None for one a
    run. ``graphed``: steps are captured; if not, the host launches every kernel.
    """

    compute: torch.dtype | None = None
    compiled: bool = False
    streams: int | None = None
    graphed: bool = True

    @property
    def precision(self) -> str:
        """The dtype in which networks are computed, by name."""
        return str(self.compute or torch.float32).removeprefix("torch.")

    @classmethod
    def usual(cls, device: torch.device, *, opaque: bool = False) -> Way:
        """Give bfloat16 on a GPU that computes in it, else float32; no graphs of opaque code."""
        half = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return cls(compute=torch.bfloat16 if half else None, graphed=not opaque)


def is_opaque(model: Model, runs: Sequence[Run]) -> bool:
    """Tell whether a network, or a loss, is code of which nothing is known: it may wait for the device."""
    return model.opaque or any(own_modules(run.loss) for run in runs)


class ConcurrentTraining(Training):
    """Trains runs side by side, each with a network of its own.

    Weights, momentum, batch statistics and losses are float32 whatever the networks are computed in.
    """

    def __init__(
        self,
        dataset: Dataset,
        model: Model,
        recipe: Recipe,
        runs: Sequence[Run],
        device: torch.device,
        *,
        way: Way | None = None,
    ) -> None:
        super().__init__(dataset, model, recipe, runs, device)
        self.way = way or Way.usual(device, opaque=is_opaque(model, runs))
        self._model = model
        self._learners = [
            Learner(network, recipe, run.loss, device, opaque=model.opaque, compiled=self.way.compiled)
            for run, network in zip(runs, _initialized(dataset, model, runs, device), strict=True)
        ]
        self._streams = Streams(device, self.way.streams or len(runs))
        num_samples, rows = len(self._clean), len(self._seeds)
        # the epoch's draws, a row for each seed
        self._drawn = EpochPlan(
            order=torch.zeros(rows, num_samples, dtype=torch.long, device=device),
            top=torch.zeros(rows, num_samples, dtype=torch.long, device=device),
            left=torch.zeros(rows, num_samples, dtype=torch.long, device=device),
            flip=torch.zeros(rows, num_samples, dtype=torch.bool, device=device),
            recipe=recipe,
        )
        self._position = torch.zeros((), dtype=torch.long, device=device)
        self._offsets = torch.arange(recipe.batch_size, device=device)
        # the fused update reads a float32 on CUDA, and a number of any precision on the CPU
        rate_dtype = torch.float32 if device.type == "cuda" else torch.float64
        self._learning_rate = torch.zeros((), dtype=rate_dtype, device=device)
        self._hits = torch.zeros(len(runs), dtype=torch.long, device=device)
        self._steps: dict[int, Graph] = {}
        self._evaluation: Graph | None = None
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        self._epoch: int | None = None
        self._steps_a_turn = 1
        self._now = 0

    @property
    def precision(self) -> str:
        """What the networks are computed in; weights and losses are float32 in any case."""
        return self.way.precision

    @property
    def prepared(self) -> bool:
        """Whether the steps and the evaluation are captured."""
        return self._batch_sizes <= self._steps.keys() and self._evaluation is not None

    def prepare(self) -> None:
        """Capture, compiled if so, a step of each batch size that an epoch has, and the evaluation."""
        # the largest first: what it needs in between is room enough for the others
        for size in sorted(self._batch_sizes, reverse=True):
            self._step_of(size)
        self._captured_evaluation()

    def advance(self) -> None:
        """Train a step, on a GPU a few of one epoch; after its last, evaluate and extend the histories."""
        num_samples, batch_size = len(self._clean), self.recipe.batch_size
        steps_per_epoch = self.recipe.steps_per_epoch(num_samples)
        epoch, position = divmod(self.step, steps_per_epoch)
        ahead = min(self._steps_a_turn, steps_per_epoch - position)
        steps = [
            self._step_of(min(batch_size, num_samples - start * batch_size))
            for start in range(position, position + ahead)
        ]
        ends = position + ahead == steps_per_epoch
        if ends:
            self._captured_evaluation()
        started = time.perf_counter()
        if epoch != self._epoch:
            self._begin_epoch(epoch, position * batch_size)
        for i, step in enumerate(steps):
            self._now = self.step + i
            step.replay()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            if ahead == self._steps_a_turn and time.perf_counter() - started < TURN / 2:
                self._steps_a_turn *= 2
        self.step += ahead
        if ends:
            self._end_epoch()
        self.seconds += (time.perf_counter() - started) / len(self.runs)

    def _begin_epoch(self, epoch: int, start: int) -> None:
        for row, seed in enumerate(self._seeds):
            plan = EpochPlan.draw(
                len(self._clean), recipe=self.recipe, seed=seed, epoch=epoch, device=torch.device("cpu")
            )
            for name in ("order", "top", "left", "flip"):
                getattr(self._drawn, name)[row].copy_(getattr(plan, name))
        self._learning_rate.fill_(self.recipe.learning_rate_at(epoch))
        self._position.fill_(start)
        self._epoch = epoch

    @property
    def _batch_sizes(self) -> set[int]:
        """That of a whole batch, and that of an epoch's last one."""
        num_samples = len(self._clean)
        return {min(self.recipe.batch_size, num_samples), self.recipe.last_batch(num_samples)}

    def _step_of(self, size: int) -> Graph:
        """Give the step of a batch of ``size``, captured when it is first asked for."""
        if size not in self._steps:
            # it is warmed up where every batch size is inside the epoch; drawing it sets this right again
            self._position.zero_()
            self._epoch = None
            changes = [self._position, *self._counts.values()]
            changes += [tensor for learner in self._learners for tensor in learner.tensors]
            self._steps[size] = self._captured(partial(self._train, size), changes)
        return self._steps[size]

    def _captured_evaluation(self) -> Graph:
        """Give the evaluation, captured when it is first asked for."""
        if self._evaluation is None:
            self._evaluation = self._captured(self._evaluate, [self._hits])
        return self._evaluation

    def _captured(self, function: Callable[[], None], changes: Sequence[Tensor]) -> Graph:
        if not self.way.graphed:
            return Graph(function)
        with _quickest_convolutions():
            return Graph.capture(function, self.device, changes=changes, pool=self._pool)

    def _train(self, size: int) -> None:
        """Train every run on the batch of ``size`` at the position, and count it."""
        batches = [self._batch(row, size) for row in range(len(self._seeds))]
        indices = torch.stack([indices for indices, _ in batches])[self._seed_row]
        given = self._given.gather(1, indices)

        def train(r: int) -> tuple[Tensor, Tensor]:
            _, images = batches[self._seeds.index(self.runs[r].seed)]
            # a compiled network is compiled for one size
            compiled = self.way.compiled and size == self.recipe.batch_size
            return self._learners[r].train(
                images, given[r], self._learning_rate, compute=self._computing(r), compiled=compiled
            )

        trained = self._streams.each(train, range(len(self.runs)))
        losses, predicted = (torch.stack(values) for values in zip(*trained, strict=True))
        self._count(losses, predicted, given, self._clean[indices])
        self._position += size

    def _batch(self, row: int, size: int) -> tuple[Tensor, Tensor]:
        """Indices ``(B,)`` and normalized images ``(B, C, H, W)`` for the runs of a seed."""
        span = self._position + self._offsets[:size]
        drawn = self._drawn
        batch = EpochPlan(
            order=drawn.order[row, span],
            top=drawn.top[row, span],
            left=drawn.left[row, span],
            flip=drawn.flip[row, span],
            recipe=self.recipe,
        )
        indices, images = batch.batch(self._train_images, 0)
        return indices, self._laid_out(self._normalized(images))

    def _laid_out(self, images: Tensor) -> Tensor:
        if self._model.opaque:
            return laid_out_as_usual(images)
        return images.contiguous(memory_format=torch.channels_last)

    @contextmanager
    def _computing(self, r: int) -> Iterator[None]:
        """What run r's network is called in: its precision, and what it may draw from."""
        precision: AbstractContextManager[object] = nullcontext()
        if self.way.compute is not None:
            # a cache of casted weights would outlive the step in which they were cast, in a graph's memory
            precision = torch.autocast(self.device.type, dtype=self.way.compute, cache_enabled=False)
        with precision, randomness_of_step(self._model, self.runs[r].seed, self._now):
            yield

    def _test_hits(self) -> Tensor:
        self._captured_evaluation().replay()
        return self._hits

    @torch.no_grad()
    def _evaluate(self) -> None:
        self._hits.zero_()
        for start in range(0, len(self._test_labels), EVALUATION_BATCH):
            span = slice(start, start + EVALUATION_BATCH)
            images = self._laid_out(self._normalized(self._test_images[span]))

            def predict(r: int, images: Tensor = images) -> Tensor:
                return self._learners[r].predict(images, compute=self._computing(r))

            predicted = torch.stack(self._streams.each(predict, range(len(self._learners))))
            self._hits += (predicted == self._test_labels[span]).sum(1)

    def _states(self) -> list[RunState]:
        return [learner.state(self.step) for learner in self._learners]

    def _load(self, states: Sequence[RunState]) -> None:
        for learner, state in zip(self._learners, states, strict=True):
            learner.load(state)
        self._epoch = None


def _initialized(
    dataset: Dataset, model: Model, runs: Sequence[Run], device: torch.device
) -> list[nn.Module]:
    """Give each run its network; one whose seed was there already is copied, on a GPU in no time."""
    first: dict[int, nn.Module] = {}
    networks = []
    for run in runs:
        if run.seed in first:
            network = deepcopy(first[run.seed])
        else:
            network = model.initialized(dataset.image_shape, dataset.num_classes, seed=run.seed).to(device)
        if not model.opaque:  # nothing says that an opaque one can be copied
            first[run.seed] = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks.append(network)
    return networks


@contextmanager
def _quickest_convolutions() -> Iterator[None]:
    """Let cuDNN time its kernels while a graph is warmed up, and keep the quickest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
