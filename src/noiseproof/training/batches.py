"""What an epoch draws at random: the order of the samples, and each sample's crop and flip.

Everything is drawn from (seed, epoch) alone. So a run resumes anywhere without a stored random state,
and runs of the same seed see the same batches whatever their loss: comparisons are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseproof.training.augmentation import crop_and_flip
from noiseproof.training.recipe import Recipe


@dataclass(frozen=True)
class EpochPlan:
    """One epoch's draws, each ``(N,)`` in the order in which samples are visited."""

    order: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor
    recipe: Recipe

    @classmethod
    def draw(
        cls, num_samples: int, *, recipe: Recipe, seed: int, epoch: int, device: torch.device
    ) -> EpochPlan:
        """Draw the plan of an epoch, 0-based, from ``(seed, epoch)``."""
        # as a spawn key, no epoch of any seed shares a stream with another, or with the noise of the seed
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))
        order = rng.permutation(num_samples)
        top, left = rng.integers(0, 2 * recipe.crop_padding + 1, size=(2, num_samples))
        flip = rng.random(num_samples) < (0.5 if recipe.flip else 0.0)

        def on_device(drawn: NDArray[Any]) -> Tensor:
            return torch.from_numpy(drawn).to(device)

        return cls(on_device(order), on_device(top), on_device(left), on_device(flip), recipe)

    def batch(self, images: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Give ``(indices, augmented uint8 images)`` of the batch that starts at position ``start``."""
        span = slice(start, start + self.recipe.batch_size)
        indices = self.order[span]
        chosen = images[indices]
        if self.recipe.crop_padding or self.recipe.flip:
            chosen = crop_and_flip(
                chosen, self.top[span], self.left[span], self.flip[span], padding=self.recipe.crop_padding
            )
        return indices, chosen
