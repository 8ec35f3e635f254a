"""A study for data that comes without one: a network and a recipe that suit its images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from noiseproof.data import Dataset
from noiseproof.study.study import Study, changed

SMALL = 1024
"""Numbers in an image up to which a multilayer perceptron is enough: 32x32 in grey, 18x18 in colour."""

LARGEST_FOR_SMALL_STEM = 64
"""Height or width up to which ResNet-18 starts without halving the image twice."""


def study_for(dataset: Dataset, changes: Mapping[str, Any] | None = None, *, where: str = "") -> Study:
    """Make a study of one loss without noise on ``dataset``, with ``changes`` to its settings.

    Features and images of at most 1,024 numbers get the digits study's multilayer perceptron, and are neither
    cropped nor mirrored. Others get ResNet-18 and the recipe of the CIFAR-10 study. Raises `NoiseproofError`
    for a fault in a change, which begins with ``where``, by default the data's name.

    >>> from noiseproof.data import load
    >>> study_for(load("digits"), {"losses": ["nce+mae"]}).model.name
    'mlp'
    """
    _, height, width = dataset.image_shape
    is_small = (height, width) == (1, 1) or math.prod(dataset.image_shape) <= SMALL
    stem = "cifar" if max(height, width) <= LARGEST_FOR_SMALL_STEM else "imagenet"
    content = {
        "data": dataset.name,
        "losses": ["ce"],
        "noises": ["none"],
        "model": {"name": "mlp"} if is_small else {"name": "resnet18", "stem": stem},
        "recipe": {"crop_padding": 0, "flip": False} if is_small else {},
    }
    return changed(content, changes or {}, where=where or f"study of {dataset.name!r}")
