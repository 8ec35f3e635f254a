"""The recipe: PyTorch's cosine schedule, counts of steps, and what is refused."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.optim.lr_scheduler import CosineAnnealingLR

from noiseproof.errors import NoiseproofError
from noiseproof.training import Recipe


@pytest.mark.parametrize("epochs", [1, 2, 3, 50, 120])
@pytest.mark.parametrize("learning_rate", [0.01, 3.0])
@pytest.mark.parametrize("final", [0.0, 0.001, 1.0])
def test_learning_rates_are_those_of_pytorchs_cosine_schedule(
    epochs: int, learning_rate: float, final: float
) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=learning_rate)
    schedule = CosineAnnealingLR(optimizer, T_max=epochs, eta_min=final)
    recipe = Recipe(epochs=epochs, learning_rate=learning_rate, final_learning_rate=final)
    for epoch in range(epochs):
        (expected,) = schedule.get_last_lr()
        assert recipe.learning_rate_at(epoch) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        schedule.step()


def test_the_first_epoch_has_the_full_rate_and_the_last_one_more_than_0() -> None:
    recipe = Recipe(epochs=50, learning_rate=0.01)
    rates = [recipe.learning_rate_at(epoch) for epoch in range(50)]
    assert rates[0] == 0.01
    assert rates[-1] > 0
    assert rates == sorted(set(rates), reverse=True)


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "steps"),
    [(1, 1, 1), (1, 128, 1), (127, 128, 1), (128, 128, 1), (129, 128, 2), (50_000, 128, 391), (200, 1, 200)],
)
def test_steps_are_counted_with_the_smaller_last_batch(num_samples: int, batch_size: int, steps: int) -> None:
    recipe = Recipe(epochs=7, batch_size=batch_size)
    assert recipe.steps_per_epoch(num_samples) == steps
    assert recipe.total_steps(num_samples) == 7 * steps


def test_the_defaults_are_the_studys() -> None:
    assert Recipe().model_dump() == {
        "epochs": 50,
        "batch_size": 128,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "crop_padding": 4,
        "flip": True,
        "l1": 0.0,
        "clip_norm": None,
        "final_learning_rate": 0.0,
    }


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("epochs", 0, "greater than or equal to 1"),
        ("epochs", -1, "greater than or equal to 1"),
        ("epochs", 2.5, "valid integer"),
        ("epochs", "many", "valid integer"),
        ("batch_size", 0, "greater than or equal to 1"),
        ("learning_rate", 0, "greater than 0"),
        ("learning_rate", -0.1, "greater than 0"),
        ("learning_rate", math.nan, "finite number"),
        ("learning_rate", math.inf, "finite number"),
        ("learning_rate", None, "valid number"),
        ("momentum", -0.1, "greater than or equal to 0"),
        ("momentum", 1, "less than 1"),
        ("momentum", math.nan, "finite number"),
        ("weight_decay", -1e-9, "greater than or equal to 0"),
        ("weight_decay", math.inf, "finite number"),
        ("crop_padding", -1, "greater than or equal to 0"),
        ("crop_padding", 1.5, "valid integer"),
        ("flip", "sometimes", "valid boolean"),
        ("final_learning_rate", -0.001, "greater than or equal to 0"),
    ],
    ids=str,
)
def test_an_invalid_value_is_refused_and_named(field: str, value: Any, expected: str) -> None:
    with pytest.raises(NoiseproofError, match=re.escape(f"here: field {field!r}: ") + ".*" + expected):
        Recipe.read({field: value}, where="here")
    with pytest.raises(ValidationError, match=field):
        Recipe(**{field: value})


def test_an_unknown_field_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(NoiseproofError, match=r"here: unknown field 'epoch'; did you mean 'epochs'\?"):
        Recipe.read({"epoch": 3}, where="here")


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().epochs = 3
