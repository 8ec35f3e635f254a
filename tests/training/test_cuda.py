"""On a GPU: what is captured, side by side, and in half precision agrees with what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from noiseproof.data import Dataset
from noiseproof.losses import CATALOGUE
from noiseproof.models import Factory, Model
from noiseproof.training import (
    Checkpoint,
    ConcurrentTraining,
    History,
    Recipe,
    Run,
    StackedTraining,
    Training,
    Way,
    plan,
)
from noiseproof.training.graph import Graph, Streams

# libraries warn of many things on a GPU that are none of our business
pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("default")]

MakeRun = Callable[..., Run]
Begin = Callable[..., ConcurrentTraining]

FLOAT32 = Way()
EAGER = Way(graphed=False, streams=1)
BFLOAT16 = Way(compute=torch.bfloat16)


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """No TF32: what is compared in float32 is computed in it."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    yield
    convolutions.allow_tf32, products.allow_tf32 = before


@pytest.fixture
def gpu() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture
def begin_on_gpu(dataset: Dataset, model: Model, recipe: Recipe, gpu: torch.device) -> Begin:
    def begin(runs: Sequence[Run], way: Way, **changes: Any) -> ConcurrentTraining:
        changed = Recipe(**recipe.model_dump() | changes)
        return ConcurrentTraining(dataset, model, changed, runs, gpu, way=way)

    return begin


def to_the_end(training: Training) -> list[History]:
    while not training.finished:
        training.advance()
    return training.histories


def weights(checkpoint: Checkpoint) -> Tensor:
    return torch.cat([value.flatten() for value in checkpoint.parameters.values()])


def near(histories: Sequence[History], expected: Sequence[History], *, rel: float, share: float) -> None:
    for ours, theirs in zip(histories, expected, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=rel)
        for name in ("clean", "given", "right", "recovered", "memorized", "test"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=share), name


def several(make_run: MakeRun) -> list[Run]:
    members = [("ce", 0), ("nce + mae", 0), ("nfl + rce", 1), ("ce", 1)]
    return [make_run(loss, seed=seed) for loss, seed in members]


@pytest.mark.parametrize(("way", "rounding"), [(FLOAT32, 0.05), (BFLOAT16, 0.5)], ids=["float32", "bfloat16"])
def test_a_graph_computes_what_eager_steps_do(
    make_run: MakeRun, begin_on_gpu: Begin, way: Way, rounding: float
) -> None:
    """The first step, before rounding, which differs from kernel to kernel, is amplified."""
    runs = several(make_run)
    eager = begin_on_gpu(runs, Way(compute=way.compute, graphed=False, streams=1))
    graphed = begin_on_gpu(runs, way)
    before = [weights(checkpoint) for checkpoint in graphed.checkpoints]
    for training in (eager, graphed):
        training.advance()
    for start, ours, theirs in zip(before, graphed.checkpoints, eager.checkpoints, strict=True):
        assert ours.step == theirs.step == 1
        assert ours.counts["loss"].item() == pytest.approx(theirs.counts["loss"].item(), rel=1e-2)
        assert (weights(ours) - weights(theirs)).norm() < rounding * (weights(theirs) - start).norm()


@pytest.mark.parametrize("network", ["mlp"])
def test_a_whole_training_in_graphs_is_the_eager_one(make_run: MakeRun, begin_on_gpu: Begin) -> None:
    runs = several(make_run)
    near(
        to_the_end(begin_on_gpu(runs, FLOAT32)),
        to_the_end(begin_on_gpu(runs, EAGER)),
        rel=1e-2,
        share=0.05,
    )


@pytest.mark.parametrize("network", ["mlp"])
def test_the_gpu_trains_what_the_cpu_trains(
    dataset: Dataset, model: Model, recipe: Recipe, make_run: MakeRun, begin_on_gpu: Begin
) -> None:
    runs = several(make_run)
    cpu = StackedTraining(dataset, model, recipe, runs, torch.device("cpu"))
    near(to_the_end(begin_on_gpu(runs, FLOAT32)), to_the_end(cpu), rel=1e-2, share=0.05)


@pytest.mark.parametrize("network", ["mlp"])
def test_bfloat16_learns_as_float32_does(make_run: MakeRun, begin_on_gpu: Begin) -> None:
    runs = several(make_run)
    half, single = to_the_end(begin_on_gpu(runs, BFLOAT16)), to_the_end(begin_on_gpu(runs, FLOAT32))
    near(half, single, rel=0.2, share=0.25)


@pytest.mark.parametrize("network", ["mlp"])
def test_beside_others_a_run_is_what_it_is_alone(make_run: MakeRun, begin_on_gpu: Begin) -> None:
    runs = several(make_run)
    together = to_the_end(begin_on_gpu(runs, FLOAT32))
    alone = [to_the_end(begin_on_gpu([run], FLOAT32))[0] for run in runs]
    near(together, alone, rel=1e-2, share=0.05)


def test_a_compiled_network_computes_the_same(make_run: MakeRun, begin_on_gpu: Begin) -> None:
    torch._dynamo.reset()
    counters.clear()
    runs = several(make_run)
    plain, compiled = (begin_on_gpu(runs, Way(compiled=compiled)) for compiled in (False, True))
    for training in (plain, compiled):
        training.advance()
    for ours, theirs in zip(compiled.checkpoints, plain.checkpoints, strict=True):
        assert ours.counts["loss"].item() == pytest.approx(theirs.counts["loss"].item(), rel=1e-2)
    assert counters["stats"]["unique_graphs"] == 1  # for all of them, each on a stream of its own


@pytest.mark.parametrize("network", ["mlp"])
@pytest.mark.parametrize(
    "changes", [{"l1": 1e-3}, {"clip_norm": 0.1}, {"momentum": 0.0}, {"batch_size": 1000}], ids=str
)
def test_every_recipe_can_be_captured(
    make_run: MakeRun, begin_on_gpu: Begin, changes: dict[str, Any]
) -> None:
    runs = several(make_run)
    near(
        to_the_end(begin_on_gpu(runs, FLOAT32, **changes)),
        to_the_end(begin_on_gpu(runs, EAGER, **changes)),
        rel=1e-2,
        share=0.05,
    )


@pytest.mark.parametrize("network", ["mlp"])
@pytest.mark.parametrize("loss", [*CATALOGUE, "forward(ce, noise='symmetric:0.4')"])
def test_every_loss_can_be_captured(make_run: MakeRun, begin_on_gpu: Begin, loss: str) -> None:
    """A loss that looked at its values on the host would end the capture."""
    training = begin_on_gpu([make_run(loss)], BFLOAT16)
    training.advance()
    assert training.checkpoints[0].counts["loss"].isfinite()


@pytest.mark.parametrize("steps", [0, 1, 3, 6])
@pytest.mark.parametrize("network", ["mlp"])
def test_checkpoints_go_from_the_gpu_to_the_cpu_and_back(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: MakeRun,
    begin_on_gpu: Begin,
    steps: int,
) -> None:
    runs = several(make_run)

    def on_cpu() -> StackedTraining:
        return StackedTraining(dataset, model, recipe, runs, torch.device("cpu"))

    expected = to_the_end(on_cpu())
    first = on_cpu()
    for _ in range(steps):
        first.advance()
    second = begin_on_gpu(runs, FLOAT32)
    second.restore(first.checkpoints)
    second.advance()
    last = on_cpu()
    last.restore(second.checkpoints)
    near(to_the_end(last), expected, rel=1e-2, share=0.05)


def test_nothing_of_a_training_stays_on_the_gpu(
    make_run: MakeRun, begin_on_gpu: Begin, gpu: torch.device
) -> None:
    from noiseproof.training import free_memory

    def held_after_a_training() -> int:
        training = begin_on_gpu(several(make_run), BFLOAT16)
        training.advance()
        during = torch.cuda.memory_allocated(gpu)
        del training
        free_memory(gpu)
        assert torch.cuda.memory_allocated(gpu) < during
        return torch.cuda.memory_allocated(gpu)

    first = held_after_a_training()  # with what libraries keep from now on
    assert held_after_a_training() - first < 2**20


def test_a_capture_without_memory_says_so_and_another_one_works(gpu: torch.device) -> None:
    place = torch.zeros(4, device=gpu)

    def too_much() -> None:
        torch.empty(2**50, dtype=torch.uint8, device=gpu)

    def little() -> None:
        place.add_(1)

    with pytest.raises(torch.OutOfMemoryError):
        Graph.capture(too_much, gpu, changes=[])
    graph = Graph.capture(little, gpu, changes=[place])
    assert place.tolist() == [0.0] * 4
    graph.replay()
    assert place.tolist() == [1.0] * 4


def test_memory_may_run_out_in_the_capture_itself_on_a_stream_beside_it(gpu: torch.device) -> None:
    """What was warmed up may not fit the graph's own memory; the allocator must not be left capturing."""
    place, streams = torch.zeros(4, device=gpu), Streams(gpu, 2)
    wanted = 2**50

    def add(item: int) -> None:
        place[item].add_(1)
        if item == 1 and torch.cuda.is_current_stream_capturing():
            torch.empty(wanted, dtype=torch.uint8, device=gpu)

    def step() -> None:
        streams.each(add, range(4))

    with pytest.raises(torch.OutOfMemoryError):
        Graph.capture(step, gpu, changes=[place])
    assert torch.cuda.current_stream(gpu) == torch.cuda.default_stream(gpu)
    torch.cuda.empty_cache()  # fails if the allocator takes the capture for one that goes on
    wanted = 1
    graph = Graph.capture(step, gpu, changes=[place])
    graph.replay()
    assert place.tolist() == [1.0] * 4


def test_a_plan_is_found(
    dataset: Dataset, model: Model, recipe: Recipe, make_run: MakeRun, gpu: torch.device
) -> None:
    chosen = plan(dataset, model, recipe, several(make_run), gpu, images_ahead=1000)
    assert 1 <= chosen.at_once <= 4
    assert chosen.way.compute is torch.bfloat16


# ------------------------------------------------------------------------------- networks of one's own


@pytest.mark.parametrize("network", ["mlp"])
def test_a_network_of_ones_own_draws_the_same_again_and_leaves_the_generators(
    dataset: Dataset,
    recipe: Recipe,
    make_run: MakeRun,
    gpu: torch.device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "nets_for_a_gpu.py").write_text(
        "from torch import nn\n\n"
        "def make(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    runs = [make_run("ce"), make_run("ce", seed=1)]
    torch.rand(1, device=gpu)  # now there is a state to be left
    before = torch.cuda.get_rng_state(gpu)
    first, second = (
        to_the_end(ConcurrentTraining(dataset, Factory(path="nets_for_a_gpu:make"), recipe, runs, gpu))
        for _ in range(2)
    )
    assert first == second
    assert torch.equal(torch.cuda.get_rng_state(gpu), before)
