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
    """What one epoch of N samples draws: ``(N,)`` each, place by place in the order of the visits.

    ``order``: the index of the sample that is visited, int64, each of 0 to N - 1 once. ``top``, ``left``:
    where its crop begins in the image padded by p = ``recipe.crop_padding`` pixels on every side, int64 from
    0 to 2p. ``flip``: whether it is mirrored, bool, half of them on average, none unless ``recipe.flip``.
    ``recipe`` also says how many samples make a batch.

    >>> plan = EpochPlan.draw(5, recipe=Recipe(), seed=0, epoch=0, device=torch.device("cpu"))
    >>> sorted(plan.order.tolist())
    [0, 1, 2, 3, 4]
    >>> bool((plan.top <= 8).all()), plan.flip.dtype
    (True, torch.bool)
    """

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
        """Give the batch that starts at place ``start``: indices ``(B,)`` and augmented images.

        ``images``: all N, ``(N, C, H, W)``; what comes out is ``(B, C, H, W)`` of the same dtype. B is
        ``recipe.batch_size``, or what is left of the epoch.
        """
        span = slice(start, start + self.recipe.batch_size)
        indices = self.order[span]
        chosen = images[indices]
        if self.recipe.crop_padding or self.recipe.flip:
            chosen = crop_and_flip(
                chosen, self.top[span], self.left[span], self.flip[span], padding=self.recipe.crop_padding
            )
        return indices, chosen
