"""Runs trained together: each comes out as if alone, whoever its neighbours are and whatever they do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from noiseproof.data import Dataset
from noiseproof.models import CNN4, MLP, Model, ResNet18, ResNet34
from noiseproof.training import Recipe, Run, StackedTraining, Training, evenly, largest_stack
from noiseproof.training.engine import CACHED_WEIGHTS
from noiseproof.training.stack import Stack

Train = Callable[[Sequence[Run]], Training]
MakeRun = Callable[..., Run]

COMPARED = pytest.mark.parametrize(
    ("network", "precision"),
    [("mlp", "single"), ("mlp", "double"), ("resnet", "double")],
    indirect=["precision"],
)
ONLY_MLP = pytest.mark.parametrize("network", ["mlp"])


# ------------------------------------------------------------------------------- together as if alone

MIXED = [("ce", 0.4, 0), ("nce + mae", 0.4, 1), ("ce", 0.0, 1), ("ce", 0.8, 0), ("rce", 0.4, 2)]
"""Loss, share of wrong labels, seed."""

STACKS = {
    "as listed": [0, 1, 2, 3, 4],
    "shuffled": [3, 4, 0, 2, 1],
    "one seed": [3, 0],
    "one seed, another loss between": [0, 1, 2],
    "pair": [4, 2],
    "twins": [1, 1, 1],
}


@pytest.fixture(scope="module")
def trained_alone() -> dict[tuple[str, str, str], Training]:
    """By network, precision and identity of the run: what several tests compare with."""
    return {}


@pytest.fixture
def alone(
    network: str,
    precision: str,
    train: Train,
    trained_alone: dict[tuple[str, str, str], Training],
) -> Callable[[Run], Training]:
    """``(run) -> StackedTraining`` at its end, of this run and no other."""

    def of(run: Run) -> Training:
        key = (network, precision, run.identity)
        if key not in trained_alone:
            trained_alone[key] = train([run])
        return trained_alone[key]

    return of


@COMPARED
@pytest.mark.parametrize("members", STACKS.values(), ids=STACKS.keys())
@pytest.mark.parametrize("seeds", ["own seeds", "one seed"])
def test_a_run_in_a_stack_is_the_run_alone(
    make_run: MakeRun,
    train: Train,
    alone: Callable[[Run], Training],
    same_state: Callable[..., None],
    same_history: Callable[..., None],
    members: list[int],
    seeds: str,
) -> None:
    runs = [
        make_run(loss, wrong=wrong, seed=seed if seeds == "own seeds" else 0)
        for loss, wrong, seed in (MIXED[i] for i in members)
    ]
    together = train(runs)
    for run, state, history in zip(runs, together.checkpoints, together.histories, strict=True):
        (expected,) = alone(run).checkpoints
        assert state.identity == expected.identity == run.identity
        same_state(state.parameters, expected.parameters)
        same_state(state.buffers, expected.buffers)
        same_state(state.momentum, expected.momentum)
        same_history(history, alone(run).histories[0])


@ONLY_MLP
@pytest.mark.parametrize("precision", ["double"], indirect=True)
def test_losses_that_print_alike_stay_apart(
    make_run: MakeRun, train: Train, same_history: Callable[..., None]
) -> None:
    runs = [
        make_run(nn.CrossEntropyLoss(reduction="none")),
        make_run(nn.CrossEntropyLoss(reduction="none", label_smoothing=0.5)),
    ]
    for run, history in zip(runs, train(runs).histories, strict=True):
        same_history(history, train([run]).histories[0])


# ------------------------------------------------------------------------------------------- divergence


class NotANumber(nn.Module):
    """A loss that is NaN, and so are its gradients."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits, target, reduction="none") * math.nan


class Exploding(nn.Module):
    """A loss so steep that its own value is infinite after a step, and the weights soon are."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits, target, reduction="none") * (torch.finfo(logits.dtype).max / 1e4)


class Infinite(nn.Module):
    """Cross entropy with right gradients, but of infinite value in one epoch."""

    def __init__(self, calls: range) -> None:
        super().__init__()
        self.calls = calls
        self.called = 0

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        value = cross_entropy(logits, target, reduction="none")
        self.called += 1
        return value + math.inf if self.called - 1 in self.calls else value


@COMPARED
@pytest.mark.parametrize("bad", [NotANumber, Exploding])
@pytest.mark.parametrize(("place", "bad_seed"), [(0, 1), (1, 0), (2, 0)])
def test_a_run_that_diverges_leaves_its_neighbours_alone(
    recipe: Recipe,
    make_run: MakeRun,
    train: Train,
    alone: Callable[[Run], Training],
    same_state: Callable[..., None],
    same_history: Callable[..., None],
    bad: type[nn.Module],
    place: int,
    bad_seed: int,
) -> None:
    healthy = [make_run("ce"), make_run("nce + mae")]
    training = train([*healthy[:place], make_run(bad(), seed=bad_seed), *healthy[place:]])
    diverged = training.histories[place]
    assert diverged.train_loss[-1] is None
    assert len(diverged) == len(diverged.train_loss) == recipe.epochs
    assert (
        not torch.cat([p.flatten() for p in training.checkpoints[place].parameters.values()]).isfinite().all()
    )

    others = [r for r in range(3) if r != place]
    for r, run in zip(others, healthy, strict=True):
        (expected,) = alone(run).checkpoints
        same_state(training.checkpoints[r].parameters, expected.parameters)
        same_state(training.checkpoints[r].buffers, expected.buffers)
        same_history(training.histories[r], alone(run).histories[0])


def test_a_stack_that_diverges_as_a_whole_still_has_its_histories(
    dataset: Dataset, model: Model, recipe: Recipe, make_run: MakeRun
) -> None:
    steep = Recipe(**recipe.model_dump() | {"learning_rate": 1e30})
    runs = [make_run("ce"), make_run("ce", seed=1)]
    training = StackedTraining(dataset, model, steep, runs, torch.device("cpu"))
    while not training.finished:
        training.advance()
    for history in training.histories:
        assert history.train_loss[-1] is None
        assert all(0 <= value <= 1 for value in history.test if value is not None)
        assert len(history) == recipe.epochs


@ONLY_MLP
def test_a_loss_that_is_not_finite_is_none_in_its_epoch_alone(
    dataset: Dataset, recipe: Recipe, make_run: MakeRun, train: Train
) -> None:
    steps = recipe.steps_per_epoch(len(dataset.train_labels))
    bad = make_run(Infinite(range(2 * steps - 1, 2 * steps)))
    (history,), (expected,) = train([bad]).histories, train([make_run("ce")]).histories
    assert [value is None for value in history.train_loss] == [epoch == 1 for epoch in range(recipe.epochs)]
    assert history.train_loss[2:] == pytest.approx(expected.train_loss[2:], rel=1e-4)


# --------------------------------------------------------------------------------- the copies themselves


def networks_of(model: Model, seeds: Sequence[int]) -> list[nn.Module]:
    return [model.initialized((3, 8, 8), 5, seed=seed) for seed in seeds]


@pytest.mark.parametrize(
    "model",
    [MLP(hidden=(7,)), ResNet18(width=2), ResNet18(width=2, stem="imagenet"), ResNet34(width=2), CNN4()],
)
@pytest.mark.parametrize("seeds", [[3], [0, 1], [4, 4, 2]], ids=str)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("precision", ["double"], indirect=True)
def test_a_stack_evaluates_each_of_its_copies(
    model: Model, seeds: list[int], shared: bool, precision: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(len(seeds), 6, 3, 8, 8, generator=generator)
    if shared:
        images = images[:1].expand_as(images)
    stack = Stack(lambda seed: model.initialized((3, 8, 8), 5, seed=seed), seeds, torch.device("cpu"))
    assert len(stack) == len(seeds)
    networks = networks_of(model, seeds)
    for training in (True, False, True, False):
        logits = stack.logits(images[0] if shared else images, training=training)
        assert logits.shape == (len(seeds), 6, 5)
        for r, network in enumerate(networks):
            assert_close(logits[r], network.train(training)(images[r]))
            assert_close(
                {name: value[r] for name, value in stack.buffers.items()}, dict(network.named_buffers())
            )


def test_copies_start_from_their_seeds() -> None:
    model, seeds = ResNet18(width=2), [5, 0, 5]
    stack = Stack(lambda seed: model.initialized((3, 8, 8), 5, seed=seed), seeds, torch.device("cpu"))
    for r, network in enumerate(networks_of(model, seeds)):
        assert stack.parameters.keys() == dict(network.named_parameters()).keys()
        assert all(torch.equal(stack.parameters[name][r], p) for name, p in network.named_parameters())
    first = stack.parameters["0.0.weight"]
    assert not torch.equal(first[0], first[1])
    assert first[0].data_ptr() != first[2].data_ptr()


# --------------------------------------------------------------------------------------- sizes of stacks

NO_LABELS = np.zeros(0, dtype=np.int64)
TINY = Dataset(
    name="tiny",
    train_images=np.zeros((0, 3, 4, 4), dtype=np.uint8),
    train_labels=NO_LABELS,
    test_images=np.zeros((0, 3, 4, 4), dtype=np.uint8),
    test_labels=NO_LABELS,
    class_names=tuple("abcde"),
    class_map={},
    mean=(0.0,) * 3,
    std=(1.0,) * 3,
)


@settings(max_examples=50, deadline=None)
@given(num_runs=st.integers(0, 300), width=st.integers(1, 3000))
def test_stacks_are_balanced_few_and_fit_the_cache(num_runs: int, width: int) -> None:
    model = MLP(hidden=(width,))
    num_weights = (3 * 4 * 4 + 1) * width + (width + 1) * 5
    sizes = evenly(num_runs, largest_stack(model, TINY))
    assert sum(sizes) == num_runs
    assert all(size >= 1 for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert all(size == 1 or size * num_weights <= CACHED_WEIGHTS for size in sizes)
    # one stack fewer would not fit
    if len(sizes) > 1:
        assert math.ceil(num_runs / (len(sizes) - 1)) * num_weights > CACHED_WEIGHTS


def test_a_network_larger_than_the_cache_is_trained_alone() -> None:
    assert largest_stack(ResNet18(), TINY) == 1


def test_sizing_stacks_touches_no_global_random_state(
    global_random_states: Callable[[], tuple[object, ...]],
) -> None:
    before = global_random_states()
    largest_stack(ResNet18(), TINY)
    assert global_random_states() == before
