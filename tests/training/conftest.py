"""Two small data sets, a network and a recipe for each, and what it takes to train runs on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from noiseproof import losses
from noiseproof.data import Dataset
from noiseproof.models import CNN4, MLP, Model, ResNet18
from noiseproof.training import History, Recipe, Run, StackedTraining, Training

# -------------------------------------------------------------------------------------------- the data


def synthetic(shape: tuple[int, int, int], *, num_train: int, num_test: int) -> Dataset:
    """Five classes: a coarse pattern for each, under so much noise that they take some epochs to learn."""
    rng = np.random.default_rng(0)
    channels, height, width = shape
    coarse = rng.integers(0, 256, size=(5, channels, 2, 2))
    patterns = np.kron(coarse, np.ones((height // 2, width // 2)))

    def draw(num: int) -> tuple[Any, Any]:
        labels = rng.integers(5, size=num)
        noise = rng.integers(0, 256, size=(num, *shape))
        return (0.7 * patterns[labels] + 0.3 * noise).astype(np.uint8), labels

    train_images, train_labels = draw(num_train)
    test_images, test_labels = draw(num_test)
    return Dataset(
        name="synthetic",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=tuple("abcde"),
        class_map={k: (k + 1) % 5 for k in range(5)},
        # far enough from the images' own that an error in either shows
        mean=tuple(100.0 + 15 * channel for channel in range(channels)),
        std=tuple(60.0 + 10 * channel for channel in range(channels)),
    )


GRAY = synthetic((1, 8, 8), num_train=200, num_test=60)
COLOR = synthetic((3, 16, 16), num_train=100, num_test=60)


# ------------------------------------------------------------------------- the networks and the recipes


@pytest.fixture(params=["mlp", "resnet"])
def network(request: pytest.FixtureRequest) -> str:
    """Which network is trained, on which data; a test that wants one of them parametrizes ``network``."""
    name: str = request.param
    return name


@pytest.fixture
def dataset(network: str) -> Dataset:
    return {"mlp": GRAY, "cnn": GRAY, "resnet": COLOR}[network]


@pytest.fixture
def model(network: str) -> Model:
    models: dict[str, Model] = {"mlp": MLP(hidden=(24, 16)), "cnn": CNN4(), "resnet": ResNet18(width=4)}
    return models[network]


@pytest.fixture
def recipe(network: str) -> Recipe:
    """Every setting weighs enough to be missed; the last batch of an epoch is smaller."""
    common: dict[str, Any] = {"momentum": 0.8, "weight_decay": 0.01, "flip": True}
    recipes = {
        "mlp": Recipe(epochs=4, batch_size=32, learning_rate=0.2, crop_padding=1, **common),
        "cnn": Recipe(epochs=1, batch_size=64, learning_rate=0.1, crop_padding=1, **common),
        "resnet": Recipe(epochs=3, batch_size=24, learning_rate=0.1, crop_padding=2, **common),
    }
    return recipes[network]


# ------------------------------------------------------------------------------------------ the training


@pytest.fixture
def make_run(dataset: Dataset) -> Callable[..., Run]:
    """``(loss, seed=0, wrong=0.4) -> Run``: a loss by text or module; a share of the labels is wrong."""

    def make(loss: str | nn.Module, *, seed: int = 0, wrong: float = 0.4) -> Run:
        module = losses.parse(loss, reduction="none") if isinstance(loss, str) else loss
        given = dataset.train_labels.copy()
        rng = np.random.default_rng(1000 + seed)
        chosen = rng.permutation(len(given))[: round(wrong * len(given))]
        given[chosen] = (given[chosen] + rng.integers(1, 5, size=len(chosen))) % 5
        return Run(identity=f"{module} {wrong} {seed}", loss=module, given_labels=given, seed=seed)

    return make


@pytest.fixture
def engine_type() -> type[Training]:
    """What trains; a test that wants another engine parametrizes ``engine_type``."""
    return StackedTraining


@pytest.fixture
def begin(
    dataset: Dataset, model: Model, recipe: Recipe, engine_type: type[Training]
) -> Callable[[Sequence[Run]], Training]:
    """``(runs) -> Training`` at its start."""
    return lambda runs: engine_type(dataset, model, recipe, runs, torch.device("cpu"))


@pytest.fixture
def train(begin: Callable[[Sequence[Run]], Training]) -> Callable[[Sequence[Run]], Training]:
    """``(runs) -> Training`` at its end."""

    def to_the_end(runs: Sequence[Run]) -> Training:
        training = begin(runs)
        while not training.finished:
            training.advance()
        return training

    return to_the_end


# ---------------------------------------------------------------------------------------- the comparison


@pytest.fixture
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """The floating point that everything is computed in: double tells rounding from a mistake.

    Batch normalization and ReLU amplify rounding a hundredfold a step, so a ResNet's runs are compared in
    double precision; a test parametrizes ``precision`` indirectly.
    """
    name: str = getattr(request, "param", "single")
    before = torch.get_default_dtype()
    torch.set_default_dtype({"single": torch.float32, "double": torch.float64}[name])
    yield name
    torch.set_default_dtype(before)


@pytest.fixture
def same_state(precision: str) -> Callable[[dict[str, Tensor], dict[str, Tensor]], None]:
    """``(state, expected)`` must agree up to rounding."""
    rtol, atol = {"single": (1e-3, 1e-4), "double": (1e-7, 1e-8)}[precision]

    def check(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
        assert state.keys() == expected.keys()
        assert_close(state, expected, rtol=rtol, atol=atol)

    return check


@pytest.fixture
def same_history(precision: str) -> Callable[[History, History], None]:
    """``(history, expected)`` must agree; in single precision a sample or two may fall on the other side."""
    rel, share = {"single": (1e-3, 0.1), "double": (1e-8, 1e-12)}[precision]

    def check(history: History, expected: History) -> None:
        for name in type(history).model_fields:
            values, others = getattr(history, name), getattr(expected, name)
            assert [value is None for value in values] == [value is None for value in others], name
            tolerance: dict[str, Any] = {"rel": rel} if name == "train_loss" else {"abs": share}
            known = [value for value in others if value is not None]
            assert [value for value in values if value is not None] == pytest.approx(known, **tolerance), name

    return check


@pytest.fixture
def global_random_states() -> Callable[[], tuple[object, ...]]:
    """``() -> states`` of PyTorch, NumPy and Python, comparable with ==."""

    def states() -> tuple[object, ...]:
        numpys = np.random.get_state(legacy=False)
        assert isinstance(numpys, dict)
        key = numpys["state"]["key"].tolist()
        return (
            torch.get_rng_state().tolist(),
            (numpys["bit_generator"], key, numpys["state"]["pos"], numpys["gauss"]),
            random.getstate(),
        )

    return states
