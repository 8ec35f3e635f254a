"""Networks of which nothing is known: trained as their author would, by both engines, and reproducibly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.models import MLP, Factory, Model, ResNet18, global_randomness
from noiseproof.training import (
    ConcurrentTraining,
    Recipe,
    Run,
    StackedTraining,
    Training,
    largest_stack,
    plan,
)
from noiseproof.training.checkpoint import load, save
from noiseproof.training.concurrency import Trial
from noiseproof.training.concurrent import Way
from noiseproof.training.single import randomness_of_step

NETS = """
import random

import torch
from torch import nn


def mlp(num_classes):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, num_classes)
    )


class Odd(nn.Module):
    '''What a stack can't hold: dropout, views, tied, frozen and idle parameters, a buffer replaced.'''

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.first = nn.LazyLinear(8)
        self.second = nn.Linear(8, 8)
        self.third = nn.Linear(8, 8)
        self.third.weight = self.second.weight
        self.normalization = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.3)
        self.last = nn.Linear(8, num_classes)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.idle = nn.Parameter(torch.ones(2))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.calls = self.calls + 1
        x = self.convolution(x).relu()
        x = self.first(x.view(len(x), -1)) * (1 + random.random())
        x = self.third(self.second(self.normalization(x)).relu()).relu()
        return self.last(self.dropout(x)) + self.frozen.sum()
"""

CPU = torch.device("cpu")
MakeRun = Callable[..., Run]
ENGINES = pytest.mark.parametrize("engine_type", [StackedTraining, ConcurrentTraining])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "nets_of_ones_own.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("nets_of_ones_own", None)


@pytest.fixture
def network() -> str:
    """Whose data and recipe are used."""
    return "mlp"


@pytest.fixture
def recipe(recipe: Recipe) -> Recipe:
    return Recipe(**recipe.model_dump() | {"epochs": 2})


@pytest.fixture
def model() -> Model:
    return Factory(path="nets_of_ones_own:Odd")


def to_the_end(training: Training) -> Training:
    while not training.finished:
        training.advance()
    return training


# --------------------------------------------------------------------------------- as its author would


@ENGINES
@pytest.mark.parametrize("changes", [{}, {"l1": 1e-3, "clip_norm": 0.5}], ids=str)
def test_a_known_network_under_an_unknown_name_is_trained_alike(
    dataset: Dataset,
    recipe: Recipe,
    make_run: MakeRun,
    engine_type: type[Training],
    same_state: Callable[..., None],
    same_history: Callable[..., None],
    changes: dict[str, Any],
) -> None:
    recipe = Recipe(**recipe.model_dump() | changes)
    run = make_run("nce + mae", seed=3)
    ours, expected = (
        to_the_end(engine_type(dataset, model, recipe, [run], CPU))
        for model in (Factory(path="nets_of_ones_own:mlp"), MLP(hidden=(24, 16)))
    )
    same_history(ours.histories[0], expected.histories[0])
    for name in ("parameters", "momentum"):
        same_state(getattr(ours.checkpoints[0], name), getattr(expected.checkpoints[0], name))


@ENGINES
def test_parameters_and_buffers_are_kept_whatever_the_network_does_with_them(
    begin: Callable[[Sequence[Run]], Training], make_run: MakeRun, recipe: Recipe
) -> None:
    training = begin([make_run("ce")])
    (before,) = training.checkpoints
    (after,) = to_the_end(training).checkpoints
    assert after.buffers["calls"] == after.buffers["normalization.num_batches_tracked"] == training.step == 14
    assert "third.weight" not in after.parameters  # it is second.weight
    for name, value in after.parameters.items():
        assert torch.equal(value, before.parameters[name]) == (name in ("frozen", "idle")), name


# ----------------------------------------------------------------------------------------- what it draws


@ENGINES
def test_a_training_is_the_same_again_and_leaves_the_global_generators(
    begin: Callable[[Sequence[Run]], Training],
    make_run: MakeRun,
    global_random_states: Callable[[], tuple[object, ...]],
) -> None:
    with global_randomness(0):
        before = global_random_states()
        first = to_the_end(begin([make_run("ce")]))
        assert global_random_states() == before
    with global_randomness(1):
        assert to_the_end(begin([make_run("ce")])).histories == first.histories


@ENGINES
@pytest.mark.parametrize("steps", [1, 7, 10])
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    begin: Callable[[Sequence[Run]], Training], make_run: MakeRun, tmp_path: Path, steps: int
) -> None:
    expected = to_the_end(begin([make_run("ce")]))
    stopped = begin([make_run("ce")])
    for _ in range(steps):
        stopped.advance()
    save(stopped.checkpoints[0], tmp_path / "run.pt")
    resumed = begin([make_run("ce")])
    resumed.advance()  # what it held before must not show
    resumed.restore([load(tmp_path / "run.pt")])
    assert to_the_end(resumed).histories == expected.histories
    for name, value in resumed.checkpoints[0].parameters.items():
        assert torch.equal(value, expected.checkpoints[0].parameters[name]), name


def test_runs_side_by_side_come_out_as_alone(
    dataset: Dataset, model: Model, recipe: Recipe, make_run: MakeRun
) -> None:
    runs = [make_run("ce"), make_run("mae", seed=1), make_run("ce", seed=2)]
    together = to_the_end(ConcurrentTraining(dataset, model, recipe, runs, CPU))
    for run, history in zip(runs, together.histories, strict=True):
        alone = to_the_end(ConcurrentTraining(dataset, model, recipe, [run], CPU))
        assert alone.histories == [history]


def test_every_step_of_every_seed_draws_its_own(model: Model) -> None:
    drawn = set()
    for seed in (0, 1, 2**64 - 1):
        for step in range(3):
            with randomness_of_step(model, seed, step):
                drawn.add(torch.rand(()).item())
    assert len(drawn) == 9


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (1, 5), (7, 2)])
def test_a_step_draws_what_it_always_drew(model: Model, seed: int, step: int) -> None:
    # a run that was stopped may be continued by a later version
    sequence = np.random.SeedSequence(seed, spawn_key=(step, 0))
    with randomness_of_step(model, seed, step):
        assert torch.initial_seed() == int(sequence.generate_state(1, np.uint64)[0])


def test_no_step_draws_what_the_plan_of_an_epoch_is_drawn_from(model: Model) -> None:
    for seed in (0, 1, 2**64 - 1):
        plans = [np.random.SeedSequence(seed, spawn_key=(epoch,)) for epoch in range(3)]
        taken = {int(plan.generate_state(1, np.uint64)[0]) for plan in plans}
        for step in range(3):
            with randomness_of_step(model, seed, step):
                assert torch.initial_seed() not in taken


def test_a_known_network_draws_from_the_global_generators_as_ever() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = torch.rand(())
        torch.manual_seed(0)
        with randomness_of_step(ResNet18(), 1, 1):
            assert torch.equal(torch.rand(()), expected)


# ---------------------------------------------------------------------------------- alone, step by step


def test_it_is_trained_alone(dataset: Dataset, model: Model, recipe: Recipe, make_run: MakeRun) -> None:
    assert largest_stack(model, dataset) == 1
    with pytest.raises(NoiseproofError, match="trained alone, not 2 runs in a stack"):
        StackedTraining(dataset, model, recipe, [make_run("ce"), make_run("mae")], CPU)


def test_on_a_gpu_it_is_neither_captured_nor_compiled(
    dataset: Dataset, model: Model, recipe: Recipe, make_run: MakeRun
) -> None:
    tried: list[Way] = []

    def try_out(count: int, way: Way) -> Trial:
        tried.append(way)
        return Trial(count, 100.0, 0)

    chosen = plan(dataset, model, recipe, [make_run("ce")], CPU, images_ahead=10**9, try_out=try_out)
    assert not any(way.graphed or way.compiled for way in [chosen.way, *tried])
