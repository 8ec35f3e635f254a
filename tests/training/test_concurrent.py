"""The GPU's engine, on the CPU: the same numbers as the stack's, from the same batches and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.functional import cross_entropy

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE
from noiseproof.models import Model
from noiseproof.training import Checkpoint, ConcurrentTraining, Recipe, Run, StackedTraining, Training, Way
from noiseproof.training import concurrent as module
from noiseproof.training.checkpoint import load, save
from noiseproof.training.concurrency import Trial, plan

CPU = torch.device("cpu")
MakeRun = Callable[..., Run]
Begin = Callable[..., ConcurrentTraining]
Train = Callable[[Sequence[Run]], Training]

COMPARED = pytest.mark.parametrize(
    ("network", "precision"),
    [("mlp", "single"), ("mlp", "double"), ("resnet", "double")],
    indirect=["precision"],
)
ONLY_MLP = pytest.mark.parametrize("network", ["mlp"])


@pytest.fixture
def concurrent(dataset: Dataset, model: Model, recipe: Recipe) -> Begin:
    """``(runs, way=None, **recipe) -> ConcurrentTraining`` at its start."""

    def begin(runs: Sequence[Run], way: Way | None = None, **changes: Any) -> ConcurrentTraining:
        changed = Recipe(**recipe.model_dump() | changes)
        return ConcurrentTraining(dataset, model, changed, runs, CPU, way=way)

    return begin


def to_the_end(training: Training) -> Training:
    while not training.finished:
        training.advance()
    return training


@pytest.fixture
def same(
    same_state: Callable[..., None], same_history: Callable[..., None]
) -> Callable[[Sequence[Checkpoint], Sequence[Checkpoint]], None]:
    """``(checkpoints, expected)``: all that they say must agree, but for the time that it took."""

    def check(found: Sequence[Checkpoint], expected: Sequence[Checkpoint]) -> None:
        for one, other in zip(found, expected, strict=True):
            assert (one.identity, one.step) == (other.identity, other.step)
            for name in ("parameters", "buffers", "momentum", "counts"):
                ours, theirs = getattr(one, name), getattr(other, name)
                if name != "counts":
                    same_state(ours, theirs)
                assert {key: (v.dtype, v.shape) for key, v in ours.items()} == {
                    key: (v.dtype, v.shape) for key, v in theirs.items()
                }
            same_history(one.history, other.history)

    return check


# ---------------------------------------------------------------------------------------- the same runs


@pytest.mark.parametrize(
    ("network", "precision"),
    [("mlp", "single"), ("mlp", "double"), ("cnn", "double"), ("resnet", "double")],
    indirect=["precision"],
)
@pytest.mark.parametrize(
    "members",
    [[("ce", 0)], [("ce", 0), ("ce", 1)], [("nce + mae", 1), ("ce", 0), ("nfl + rce", 1), ("mae", 0)]],
    ids=["alone", "two seeds", "four losses"],
)
def test_it_trains_what_the_stack_trains(
    make_run: MakeRun,
    train: Train,
    concurrent: Begin,
    same: Callable[..., None],
    members: list[tuple[str, int]],
) -> None:
    runs = [make_run(loss, seed=seed) for loss, seed in members]
    same(to_the_end(concurrent(runs)).checkpoints, train(runs).checkpoints)


@ONLY_MLP
@pytest.mark.parametrize("precision", ["double"], indirect=True)
@pytest.mark.parametrize(
    "changes",
    [
        {"crop_padding": 0, "flip": False},
        {"flip": False},
        {"momentum": 0.0},
        {"weight_decay": 0.0},
        {"l1": 1e-3},
        {"clip_norm": 0.1},
        {"clip_norm": 5.0, "l1": 1e-2, "learning_rate": 0.1},
        {"batch_size": 200},
        {"batch_size": 1000, "epochs": 6},
        {"batch_size": 199},
        {"batch_size": 1, "epochs": 1, "learning_rate": 0.001},
    ],
    ids=str,
)
def test_every_recipe_is_followed(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: MakeRun,
    concurrent: Begin,
    same: Callable[..., None],
    changes: dict[str, Any],
) -> None:
    runs = [make_run("ce"), make_run("100*ce", seed=1)]
    changed = Recipe(**recipe.model_dump() | changes)
    expected = to_the_end(StackedTraining(dataset, model, changed, runs, CPU))
    same(to_the_end(concurrent(runs, **changes)).checkpoints, expected.checkpoints)


def test_a_run_does_not_depend_on_those_beside_it(make_run: MakeRun, concurrent: Begin) -> None:
    runs = [make_run("ce"), make_run("nce + mae", seed=1), make_run("nce + mae")]
    together = to_the_end(concurrent(runs))
    for run, state, history in zip(runs, together.checkpoints, together.histories, strict=True):
        alone = to_the_end(concurrent([run]))
        (expected,) = alone.checkpoints
        assert all(torch.equal(value, expected.parameters[name]) for name, value in state.parameters.items())
        assert history == alone.histories[0]


class Exploding(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits, target, reduction="none") * 1e34


def test_a_run_that_diverges_leaves_its_neighbours_alone(make_run: MakeRun, concurrent: Begin) -> None:
    healthy = make_run("ce")
    training = to_the_end(concurrent([healthy, make_run(Exploding()), healthy]))
    assert training.histories[1].train_loss[-1] is None
    (expected,) = to_the_end(concurrent([healthy])).histories
    assert training.histories[0] == training.histories[2] == expected


@pytest.mark.parametrize("size", [7, 59, 60, 61])
@ONLY_MLP
def test_test_accuracy_does_not_depend_on_how_many_images_are_evaluated_at_once(
    make_run: MakeRun, concurrent: Begin, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    expected = to_the_end(concurrent([make_run("ce")])).histories
    monkeypatch.setattr(module, "EVALUATION_BATCH", size)
    assert to_the_end(concurrent([make_run("ce")])).histories == expected


def test_the_global_random_states_are_never_touched(
    make_run: MakeRun, concurrent: Begin, global_random_states: Callable[[], tuple[object, ...]]
) -> None:
    before = global_random_states()
    to_the_end(concurrent([make_run("ce"), make_run("mae", seed=1)], epochs=1))
    assert global_random_states() == before


# ------------------------------------------------------------------------------- stopped and taken up


@pytest.mark.parametrize("precision", ["double"], indirect=True)
@pytest.mark.parametrize(
    ("network", "steps"),
    [*(("mlp", steps) for steps in (0, 1, 4, 6, 9)), ("resnet", 6)],
    indirect=["network"],
)
@pytest.mark.parametrize("direction", ["to the stack", "from the stack", "to itself"])
def test_checkpoints_go_from_one_engine_to_the_other(
    make_run: MakeRun,
    begin: Callable[..., StackedTraining],
    concurrent: Begin,
    same: Callable[..., None],
    tmp_path: Any,
    steps: int,
    direction: str,
) -> None:
    runs = [make_run("ce"), make_run("nce + mae", seed=1)]
    first, second = {
        "to the stack": (concurrent(runs), begin(runs)),
        "from the stack": (begin(runs), concurrent(runs)),
        "to itself": (concurrent(runs), concurrent(runs)),
    }[direction]
    for _ in range(steps):
        first.advance()
    for r, checkpoint in enumerate(first.checkpoints):
        save(checkpoint, tmp_path / f"{r}.pt")
    second.restore([load(tmp_path / f"{r}.pt") for r in range(2)])
    assert second.step == steps
    same(to_the_end(second).checkpoints, to_the_end(begin(runs)).checkpoints)


def test_what_is_taken_up_ends_as_if_it_had_never_stopped(make_run: MakeRun, concurrent: Begin) -> None:
    runs = [make_run("ce"), make_run("nce + mae", seed=1)]
    expected = to_the_end(concurrent(runs))
    for steps in (1, 5, 7):
        training = concurrent(runs)
        for _ in range(steps):
            training.advance()
        resumed = concurrent(runs)
        resumed.advance()  # what it held before must not show
        resumed.restore(training.checkpoints)
        assert to_the_end(resumed).histories == expected.histories


def test_checkpoints_are_copies(make_run: MakeRun, concurrent: Begin) -> None:
    training = concurrent([make_run("ce")])
    training.advance()
    (before,) = training.checkpoints
    kept = {name: value.clone() for name, value in before.parameters.items()}
    training.advance()
    assert all(torch.equal(value, kept[name]) for name, value in before.parameters.items())
    assert all(value.is_contiguous() for value in before.parameters.values())


def test_a_checkpoint_of_another_run_is_refused(make_run: MakeRun, concurrent: Begin) -> None:
    training = concurrent([make_run("ce")])
    with pytest.raises(NoiseproofError, match="not those of these runs"):
        concurrent([make_run("mae")]).restore(training.checkpoints)


# -------------------------------------------------------------------------------------- half precision

BFLOAT16 = Way(compute=torch.bfloat16)


@pytest.mark.parametrize("loss", ["ce", "nce + mae", "nfl + rce"])
def test_bfloat16_comes_near_float32(make_run: MakeRun, concurrent: Begin, loss: str) -> None:
    runs = [make_run(loss), make_run(loss, seed=1)]
    half, single = to_the_end(concurrent(runs, BFLOAT16)), to_the_end(concurrent(runs))
    assert (half.precision, single.precision) == ("bfloat16", "float32")
    for ours, theirs in zip(half.histories, single.histories, strict=True):
        assert ours != theirs
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=0.15)
        assert ours.given == pytest.approx(theirs.given, abs=0.15)


def test_under_bfloat16_everything_kept_is_float32(make_run: MakeRun, concurrent: Begin) -> None:
    seen: list[torch.dtype] = []

    class Looking(nn.Module):
        def forward(self, logits: Tensor, target: Tensor) -> Tensor:
            seen.append(logits.dtype)
            return cross_entropy(logits, target, reduction="none")

    training = concurrent([make_run(Looking())], BFLOAT16)
    training.advance()
    (state,) = training.checkpoints
    kept = [*state.parameters.values(), *state.momentum.values(), *state.buffers.values()]
    assert {value.dtype for value in kept if value.is_floating_point()} == {torch.float32}
    assert seen == [torch.float32]


def test_bfloat16_learns_in_steps_finer_than_its_own(make_run: MakeRun, concurrent: Begin) -> None:
    """Weights kept in bfloat16 would not move at such a rate."""
    training = concurrent([make_run("ce")], BFLOAT16, learning_rate=1e-5, weight_decay=0.0)
    (before,) = training.checkpoints
    training.advance()
    (after,) = training.checkpoints
    moved = [(after.parameters[name] != value).float().mean() for name, value in before.parameters.items()]
    assert max(moved) > 0.5


# ------------------------------------------------------------------------------------ compiled, captured


@pytest.mark.parametrize("network", ["resnet"])
def test_networks_of_a_kind_are_compiled_once(
    make_run: MakeRun, concurrent: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler gives up after eight; the last batch, of another size, is not compiled at all."""
    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda network, **options: compile_(network, backend="aot_eager", **options)
    )
    torch._dynamo.reset()
    counters.clear()
    runs = [make_run("ce", seed=seed) for seed in range(10)]
    compiled = to_the_end(concurrent(runs, Way(compiled=True), epochs=1))
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    eager = to_the_end(concurrent(runs, epochs=1))
    for one, other in zip(compiled.histories, eager.histories, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=0.02)


@pytest.mark.parametrize("network", ["cnn"])
def test_runs_of_a_seed_begin_alike_and_share_nothing(make_run: MakeRun, concurrent: Begin) -> None:
    learners = concurrent([make_run("ce"), make_run("mae"), make_run("ce", seed=1)])._learners
    first, copied, other = (list(learner.parameters.values()) for learner in learners)
    assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(first, copied, strict=True))
    assert not torch.equal(first[0], other[0])
    tensors = [tensor for learner in learners for tensor in learner.tensors]
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)


def test_what_a_graph_repeats_stays_in_place(make_run: MakeRun, concurrent: Begin) -> None:
    """A graph reads and writes addresses: nothing it uses may ever be another tensor."""
    training = concurrent([make_run("ce"), make_run("mae", seed=1)])

    def places() -> list[int]:
        tensors = [t for learner in training._learners for t in learner.tensors]
        drawn = training._drawn
        tensors += [drawn.order, drawn.top, drawn.left, drawn.flip, training._position]
        tensors += [training._learning_rate, training._hits, *training._counts.values()]
        return [tensor.data_ptr() for tensor in tensors]

    before = places()
    training.advance()
    checkpoints = training.checkpoints
    to_the_end(training)
    training.restore(checkpoints)
    to_the_end(training)
    assert places() == before


def test_a_step_keeps_no_gradient(make_run: MakeRun, concurrent: Begin) -> None:
    training = concurrent([make_run("ce")])
    training.advance()
    assert all(p.grad is None for learner in training._learners for p in learner.parameters.values())


def test_warming_up_changes_nothing(
    make_run: MakeRun, concurrent: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a capture does on a GPU: every step is tried out before the first."""
    from noiseproof.training import graph

    runs = [make_run("ce"), make_run("nce + mae", seed=1)]
    expected = to_the_end(concurrent(runs))
    tried: list[int] = []

    def capture(
        function: Callable[[], None], device: torch.device, *, changes: Any, pool: Any
    ) -> graph.Graph:
        graph.warm_up(function, changes)
        tried.append(len(changes))
        return graph.Graph(function)

    monkeypatch.setattr(graph.Graph, "capture", capture)
    training = concurrent(runs)
    assert not training.prepared
    training.prepare()
    assert training.prepared
    assert len(tried) == 3  # a whole batch, the last one, the evaluation
    assert {checkpoint.step for checkpoint in training.checkpoints} == {0}
    assert to_the_end(training).histories == expected.histories
    assert len(tried) == 3
    resumed = concurrent(runs)
    halfway = concurrent(runs)
    for _ in range(6):
        halfway.advance()
    resumed.restore(halfway.checkpoints)  # captured in mid-epoch
    assert to_the_end(resumed).histories == expected.histories


def test_what_is_not_prepared_is_captured_when_it_is_needed(
    recipe: Recipe, make_run: MakeRun, concurrent: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is no part of the training's time, in which the evaluation is."""
    from noiseproof.training import graph

    now = 0.0

    class Replayed(graph.Graph):
        def __init__(self, function: Callable[[], None]) -> None:
            def replay() -> None:
                nonlocal now
                now += 1.0
                function()

            super().__init__(replay)

    captured: list[int] = []

    def capture(
        function: Callable[[], None], device: torch.device, *, changes: Any, pool: Any
    ) -> graph.Graph:
        nonlocal now
        graph.warm_up(function, changes)
        now += 60.0
        captured.append(training.step)
        return Replayed(function)

    monkeypatch.setattr(graph.Graph, "capture", capture)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now))
    run = make_run("ce")
    expected = to_the_end(concurrent([run], Way(graphed=False)))
    training = concurrent([run])
    steps = recipe.steps_per_epoch(len(run.given_labels))
    to_the_end(training)
    assert captured == [0, steps - 1, steps - 1]
    assert training.seconds == recipe.epochs * (steps + 1)
    assert training.prepared
    assert training.histories == expected.histories


def test_a_step_waits_for_no_value_and_stays_on_its_device(
    dataset: Dataset, model: Model, recipe: Recipe, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meta device has no values: whatever would end a capture, or is on another device, fails there."""

    def update(parameters: Any, gradients: Any, buffers: Any, *, lr: Tensor, **_: Any) -> None:
        """The fused one is not there for the meta device, and wants all of a kind side by side."""
        for tensors in zip(parameters, gradients, buffers, strict=True):
            assert len({(t.device, t.dtype, t.shape, t.stride()) for t in tensors}) == 1
        assert lr.device.type == "meta"
        updated.append(len(gradients))

    updated: list[int] = []
    monkeypatch.setattr("noiseproof.training.learner.sgd", update)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)  # it does not know the meta device
    texts = [
        *CATALOGUE,
        "nce + mae",
        "forward(ce, noise='symmetric:0.4')",
        "backward(ce, noise='symmetric:0.4')",
    ]
    runs = [make_run(text, seed=i % 2) for i, text in enumerate(texts)]
    changed = Recipe(**recipe.model_dump() | {"l1": 1e-3, "clip_norm": 1.0})
    training = ConcurrentTraining(dataset, model, changed, runs, torch.device("meta"), way=Way())
    for size in (recipe.batch_size, 1):
        training._train(size)
    training._evaluate()
    assert len(updated) == 2 * len(runs)


def test_without_graphs_it_is_the_same(make_run: MakeRun, concurrent: Begin) -> None:
    run = make_run("ce")
    way = replace(Way.usual(CPU), graphed=False, streams=1)
    assert to_the_end(concurrent([run], way)).histories == to_the_end(concurrent([run])).histories


def test_a_loss_of_ones_own_is_in_no_graph(
    dataset: Dataset, model: Model, recipe: Recipe, make_run: MakeRun
) -> None:
    """It may wait for a value, which no graph can."""
    ours, own = make_run("nce"), make_run("nce + torch.nn:CrossEntropyLoss")
    for runs, graphed in (([ours], True), ([ours, own], False)):
        assert ConcurrentTraining(dataset, model, recipe, runs, CPU).way.graphed is graphed
        ways: list[Way] = []

        def note(count: int, way: Way, ways: list[Way] = ways) -> Trial:
            ways.append(way)
            return Trial(count, 1.0, 0)

        plan(dataset, model, recipe, runs, CPU, images_ahead=0, try_out=note)
        assert {way.graphed for way in ways} == {graphed}
