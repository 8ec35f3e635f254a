"""How a network is trained: the study's recipe as typed data."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from noiseproof.errors import NoiseproofError
from noiseproof.schema import Schema


class Recipe(Schema):
    """SGD with momentum and a cosine schedule; the defaults are the study's section 3.

    ``learning_rate``: of the first epoch; annealed towards ``final_learning_rate`` epoch by epoch, as
    PyTorch's `CosineAnnealingLR` does. ``crop_padding``: pixels added on every side before a random crop back
    to size, 0 for no crop. ``flip``: flip half of the images horizontally. ``l1``: factor of the L1 norm of
    all parameters that is added to the loss, as ANL-CE and ANL-FL want (Ye et al., NeurIPS 2023).
    ``clip_norm``: the gradient of a run is scaled down to this norm if it is greater, as Ma et al. do at 5;
    null for no clipping. The last batch of an epoch may be smaller.
    """

    epochs: Annotated[int, Field(strict=True, ge=1)] = 50
    batch_size: Annotated[int, Field(strict=True, ge=1)] = 128
    learning_rate: Annotated[float, Field(strict=True, gt=0)] = 0.01
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(strict=True, ge=0)] = 1e-4
    crop_padding: Annotated[int, Field(strict=True, ge=0, le=1024)] = 4
    flip: Annotated[bool, Field(strict=True)] = True
    l1: Annotated[float, Field(strict=True, ge=0)] = 0.0
    clip_norm: Annotated[float, Field(strict=True, gt=0)] | None = None
    final_learning_rate: Annotated[float, Field(strict=True, ge=0)] = 0.0

    def check(self, image_shape: tuple[int, int, int]) -> None:
        """Raise `NoiseproofError` unless images of this shape can be augmented so."""
        height, width = image_shape[1:]
        if self.crop_padding >= min(height, width):
            remedy = "; features are not cropped, set crop_padding = 0" if (height, width) == (1, 1) else ""
            raise NoiseproofError(
                "recipe.crop_padding must be less than the height and width of the images, which are"
                f" {height}x{width}, or nothing of them may be left; got {self.crop_padding}{remedy}"
            )

    def learning_rate_at(self, epoch: int) -> float:
        """Give the learning rate of an epoch, 0-based.

        >>> Recipe(epochs=50).learning_rate_at(25)
        0.005
        """
        share = (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * share

    def last_batch(self, num_samples: int) -> int:
        """Count the samples in the last batch of an epoch.

        >>> Recipe(batch_size=128).last_batch(1437)
        29
        """
        return num_samples % self.batch_size or self.batch_size

    def steps_per_epoch(self, num_samples: int) -> int:
        """Count the batches of an epoch."""
        return math.ceil(num_samples / self.batch_size)

    def total_steps(self, num_samples: int) -> int:
        """Count the steps of a whole training."""
        return self.epochs * self.steps_per_epoch(num_samples)
