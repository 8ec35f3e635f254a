"""What the engine computes: a plain PyTorch loop's weights and an independent count of its histories."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from noiseproof import losses
from noiseproof.data import Dataset
from noiseproof.models import Model, build_initialized
from noiseproof.training import ConcurrentTraining, History, Recipe, Run, StackedTraining, Training, engine
from noiseproof.training.batches import EpochPlan

Train = Callable[[Sequence[Run]], Training]

LOSSES = pytest.mark.parametrize(
    ("loss", "criterion"),
    [("ce", nn.CrossEntropyLoss()), ("nce + mae", losses.parse("nce + mae"))],
    ids=["ce", "nce+mae"],
)
COMPARED = pytest.mark.parametrize(
    ("network", "precision"),
    [("mlp", "single"), ("mlp", "double"), ("resnet", "double")],
    indirect=["precision"],
)
ONLY_MLP = pytest.mark.parametrize("network", ["mlp"])


# ------------------------------------------------------------------------------------- the plain loop


class Plain:
    """One run trained by the book: a module, SGD, a scheduler, and a loop over batches."""

    def __init__(
        self, dataset: Dataset, model: Model, recipe: Recipe, run: Run, criterion: nn.Module
    ) -> None:
        self.dataset, self.recipe, self.run = dataset, recipe, run
        self.network = build_initialized(
            lambda: model.build(dataset.image_shape, dataset.num_classes), seed=run.seed
        )
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        schedule = CosineAnnealingLR(self.optimizer, T_max=recipe.epochs)
        self.history = History()
        for epoch in range(recipe.epochs):
            loss, predicted = self.train_epoch(epoch, criterion)
            self.history = self.history.extended(
                train_loss=loss, **self.training_fractions(predicted), test=self.test_accuracy()
            )
            schedule.step()

    def train_epoch(self, epoch: int, criterion: nn.Module) -> tuple[float, npt.NDArray[np.int64]]:
        """The mean loss, and what was predicted for each sample as it was visited."""
        num = len(self.dataset.train_images)
        plan = EpochPlan.draw(
            num, recipe=self.recipe, seed=self.run.seed, epoch=epoch, device=torch.device("cpu")
        )
        visits = list(zip(*(t.tolist() for t in (plan.order, plan.top, plan.left, plan.flip)), strict=True))
        predicted = np.full(num, -1)
        total = 0.0
        self.network.train()
        for start in range(0, num, self.recipe.batch_size):
            batch = visits[start : start + self.recipe.batch_size]
            chosen = [i for i, *_ in batch]
            logits = self.network(self.normalized([self.augmented(*visit) for visit in batch]))
            loss = criterion(logits, torch.from_numpy(self.run.given_labels[chosen]))
            self.optimizer.zero_grad()
            penalty = sum(parameter.abs().sum() for parameter in self.network.parameters())
            (loss + self.recipe.l1 * penalty).backward()
            if self.recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
            self.optimizer.step()
            predicted[chosen] = logits.argmax(1).numpy()
            total += loss.item() * len(batch)
        return total / num, predicted

    def augmented(self, index: int, top: int, left: int, flip: bool) -> npt.NDArray[np.uint8]:
        image, p = self.dataset.train_images[index], self.recipe.crop_padding
        height, width = image.shape[1:]
        crop = np.pad(image, ((0, 0), (p, p), (p, p)))[:, top : top + height, left : left + width]
        return crop[:, :, ::-1] if flip else crop

    def normalized(self, images: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        mean, std = (np.reshape(v, (-1, 1, 1)) for v in (self.dataset.mean, self.dataset.std))
        return torch.from_numpy((np.stack(images) - mean) / std).to(torch.get_default_dtype())

    def training_fractions(self, predicted: npt.NDArray[np.int64]) -> dict[str, float | None]:
        clean, given = self.dataset.train_labels, self.run.given_labels
        right = given == clean

        def fraction(hits: npt.NDArray[np.bool_]) -> float | None:
            return float(hits.mean()) if len(hits) else None

        return {
            "clean": fraction(predicted == clean),
            "given": fraction(predicted == given),
            "right": fraction((predicted == clean)[right]),
            "recovered": fraction((predicted == clean)[~right]),
            "memorized": fraction((predicted == given)[~right]),
        }

    @torch.no_grad()
    def test_accuracy(self) -> float:
        self.network.eval()
        predicted = self.network(self.normalized(list(self.dataset.test_images))).argmax(1)
        return float((predicted.numpy() == self.dataset.test_labels).mean())

    def states(self) -> list[dict[str, Tensor]]:
        """Parameters, buffers and momentum by name."""
        parameters = dict(self.network.named_parameters())
        momentum = {name: self.optimizer.state[p]["momentum_buffer"] for name, p in parameters.items()}
        return [
            {name: p.detach() for name, p in parameters.items()},
            dict(self.network.named_buffers()),
            momentum,
        ]


@LOSSES
@COMPARED
@pytest.mark.parametrize("engine_type", [StackedTraining, ConcurrentTraining])
def test_a_run_is_a_plain_pytorch_loop(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    train: Train,
    same_state: Callable[..., None],
    same_history: Callable[..., None],
    loss: str,
    criterion: nn.Module,
) -> None:
    run = make_run(loss)
    plain = Plain(dataset, model, recipe, run, criterion)
    training = train([run])
    (state,) = training.checkpoints
    for ours, theirs in zip((state.parameters, state.buffers, state.momentum), plain.states(), strict=True):
        same_state(ours, theirs)
    same_history(training.histories[0], plain.history)


def test_the_plain_loop_has_epochs_that_differ(
    dataset: Dataset, model: Model, recipe: Recipe, make_run: Callable[..., Run]
) -> None:
    """Or else the comparisons above would compare little."""
    history = Plain(dataset, model, recipe, make_run("ce"), nn.CrossEntropyLoss()).history
    for name in type(history).model_fields:
        assert len(set(getattr(history, name))) > 1, name


@pytest.mark.parametrize("network", ["resnet"])
@pytest.mark.parametrize("seeds", [[0], [0, 0], [0, 1]], ids=str)
def test_in_single_precision_a_resnets_first_step_is_the_plain_loops(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    same_state: Callable[..., None],
    seeds: list[int],
) -> None:
    one_step = Recipe(**recipe.model_dump() | {"epochs": 1, "batch_size": 100})
    runs = [make_run("ce", seed=seed) for seed in seeds]
    training = StackedTraining(dataset, model, one_step, runs, torch.device("cpu"))
    while not training.finished:
        training.advance()
    for run, state in zip(runs, training.checkpoints, strict=True):
        plain = Plain(dataset, model, one_step, run, nn.CrossEntropyLoss())
        _, buffers, gradients = plain.states()
        same_state(state.buffers, buffers)
        assert state.history.train_loss == pytest.approx(plain.history.train_loss, rel=1e-4)
        # rounding puts a few of the many ReLUs on their other side
        ours, theirs = (
            torch.cat([value.flatten() for value in s.values()]) for s in (state.momentum, gradients)
        )
        assert (ours - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.parametrize("network", ["resnet"])
def test_batch_normalization_has_seen_every_batch_and_no_test_image(
    recipe: Recipe, dataset: Dataset, make_run: Callable[..., Run], train: Train
) -> None:
    steps = recipe.total_steps(len(dataset.train_labels))
    for training in (train([make_run("ce")]), train([make_run("ce"), make_run("mae", seed=1)])):
        for state in training.checkpoints:
            counts = [n.item() for name, n in state.buffers.items() if "num_batches_tracked" in name]
            assert counts == [steps] * 20


@ONLY_MLP
@pytest.mark.parametrize(
    "changes",
    [
        {"crop_padding": 0, "flip": False},
        {"crop_padding": 0},
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
@pytest.mark.parametrize("precision", ["double"], indirect=True)
def test_every_recipe_is_followed(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    same_history: Callable[..., None],
    changes: dict[str, Any],
) -> None:
    changed = Recipe(**recipe.model_dump() | changes)
    run = make_run("ce")
    training = StackedTraining(dataset, model, changed, [run], torch.device("cpu"))
    while not training.finished:
        training.advance()
    same_history(training.histories[0], Plain(dataset, model, changed, run, nn.CrossEntropyLoss()).history)


# -------------------------------------------------------------------------------------- the histories


@ONLY_MLP
def test_what_is_undefined_is_none(recipe: Recipe, make_run: Callable[..., Run], train: Train) -> None:
    none, some, every = train([make_run("ce", wrong=share) for share in (0, 0.4, 1)]).histories
    nothing = (None,) * recipe.epochs
    assert (none.recovered, none.memorized, every.right) == (nothing, nothing, nothing)
    assert none.right == none.clean == none.given
    assert (every.recovered, every.memorized) == (every.clean, every.given)
    assert None not in some.right + some.recovered + some.memorized


@ONLY_MLP
@pytest.mark.parametrize("precision", ["double"], indirect=True)
@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_histories_count_right_where_no_label_or_every_label_is_wrong(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    train: Train,
    same_history: Callable[..., None],
    wrong: float,
) -> None:
    run = make_run("ce", wrong=wrong)
    plain = Plain(dataset, model, recipe, run, nn.CrossEntropyLoss())
    same_history(train([run]).histories[0], plain.history)


@ONLY_MLP
@pytest.mark.parametrize("size", [1, 7, 59, 60, 61])
def test_test_accuracy_does_not_depend_on_how_many_images_are_evaluated_at_once(
    make_run: Callable[..., Run], train: Train, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    runs = [make_run("ce"), make_run("mae", seed=1)]
    expected = [history.test for history in train(runs).histories]
    monkeypatch.setattr(engine, "EVALUATION_BATCH", size)
    assert [history.test for history in train(runs).histories] == expected


@ONLY_MLP
def test_histories_grow_at_the_end_of_each_epoch_and_training_ends_after_the_last(
    dataset: Dataset, recipe: Recipe, make_run: Callable[..., Run], begin: Train
) -> None:
    training = begin([make_run("ce"), make_run("mae", seed=1)])
    steps_per_epoch = -(-len(dataset.train_labels) // recipe.batch_size)
    seconds = 0.0
    for step in range(recipe.epochs * steps_per_epoch):
        assert not training.finished
        assert training.step == step
        assert {len(history) for history in training.histories} == {step // steps_per_epoch}
        training.advance()
        assert training.seconds > seconds
        seconds = training.seconds
    assert training.finished
    assert {len(history) for history in training.histories} == {recipe.epochs}


# -------------------------------------------------------------------------------------- reproducibility


def test_the_global_random_states_are_never_touched(
    make_run: Callable[..., Run], train: Train, global_random_states: Callable[[], tuple[object, ...]]
) -> None:
    before = global_random_states()
    training = train([make_run("ce"), make_run("nce + mae", seed=1)])
    assert len(training.checkpoints) == 2
    assert global_random_states() == before


def test_the_same_seeds_give_the_same_numbers_whatever_the_global_random_states(
    make_run: Callable[..., Run], train: Train
) -> None:
    runs = [make_run("ce"), make_run("nce + mae", seed=1)]

    def trained(global_seed: int) -> Training:
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)
        random.seed(global_seed)
        return train(runs)

    first, second = trained(0), trained(1)
    assert first.histories == second.histories
    for one, other in zip(first.checkpoints, second.checkpoints, strict=True):
        assert all(torch.equal(value, other.parameters[name]) for name, value in one.parameters.items())


@ONLY_MLP
def test_another_seed_gives_other_numbers(make_run: Callable[..., Run], train: Train) -> None:
    first, second = train([make_run("ce", wrong=0, seed=0), make_run("ce", wrong=0, seed=1)]).histories
    assert first.train_loss != second.train_loss


@ONLY_MLP
def test_the_data_stay_as_they_were(dataset: Dataset, make_run: Callable[..., Run], train: Train) -> None:
    run = make_run("ce")
    given, fingerprint = run.given_labels.copy(), dataset.fingerprint
    train([run])
    copy = Dataset(**{name: value for name, value in vars(dataset).items() if name != "fingerprint"})
    assert copy.fingerprint == fingerprint
    assert np.array_equal(run.given_labels, given)


@ONLY_MLP
@pytest.mark.parametrize("precision", ["double"], indirect=True)
def test_each_run_of_a_stack_is_clipped_by_its_own_norm(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    same_history: Callable[..., None],
) -> None:
    clipped = Recipe(**recipe.model_dump() | {"clip_norm": 0.3, "epochs": 2})
    runs = [make_run("ce"), make_run("0.01*ce"), make_run("100*ce")]  # gradients of very different norms
    together = StackedTraining(dataset, model, clipped, runs, torch.device("cpu"))
    while not together.finished:
        together.advance()
    for run, history in zip(runs, together.histories, strict=True):
        criterion = losses.parse(str(run.loss))
        same_history(history, Plain(dataset, model, clipped, run, criterion).history)
