"""What data without a study of its own is trained with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.study import load_study, study_for


@pytest.fixture
def shaped(tiny_data: Callable[[int], Dataset]) -> Callable[..., Dataset]:
    """``shaped(3, 32, 32)`` is a data set of images of that shape."""
    return lambda *shape: dataclasses.replace(
        tiny_data(0), train_images=np.zeros((60, *shape), dtype=np.uint8)
    )


@pytest.mark.parametrize("shape", [(5, 1, 1), (5000, 1, 1), (1, 28, 28), (1, 32, 32), (3, 16, 16)])
def test_features_and_small_images_get_a_perceptron_and_stay_as_they_are(
    shaped: Callable[..., Dataset], shape: tuple[int, ...]
) -> None:
    study = study_for(shaped(*shape))
    assert study.model == load_study("digits").model
    assert (study.recipe.crop_padding, study.recipe.flip) == (0, False)
    assert study.data == "tiny"


@pytest.mark.parametrize(
    ("shape", "stem"),
    [((3, 32, 32), "cifar"), ((1, 33, 33), "cifar"), ((3, 64, 64), "cifar"), ((3, 65, 64), "imagenet")],
)
def test_others_get_a_resnet_and_the_cifar_recipe(
    shaped: Callable[..., Dataset], shape: tuple[int, ...], stem: str
) -> None:
    study = study_for(shaped(*shape))
    assert study.model.model_dump() == {"name": "resnet18", "width": 64, "stem": stem}
    assert study.recipe == load_study("cifar10").recipe


def test_changes_are_made_as_in_any_study(shaped: Callable[..., Dataset]) -> None:
    changes: dict[str, Any] = {"recipe.epochs": 3, "losses": ["mae"], "model.hidden": [7]}
    study = study_for(shaped(1, 4, 4), changes)
    assert (study.recipe.epochs, study.losses, study.recipe.flip) == (3, ("mae",), False)
    assert study.model.model_dump()["hidden"] == (7,)
    with pytest.raises(NoiseproofError, match=r"study of 'tiny'.*'recipe.epohcs'; did you mean 'epochs'"):
        study_for(shaped(1, 4, 4), {"recipe.epohcs": 3})
