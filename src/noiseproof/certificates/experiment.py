"""An exact experiment: on a finite problem, does noise move the minimiser of the risk?

One point a class, equally likely, and a few thousand functions, each a table of logits; every risk is a
finite sum, so all minimisers of both are found by comparing the functions, and nothing is estimated. A
function on which the loss is not a number is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseproof import noise as label_noise
from noiseproof.certificates.values import Values

MatrixOfRate = Callable[[int, float], NDArray[np.float64]]

RATES = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Noise rates that are tried, from 0.05 to 0.95."""

RANDOM_FUNCTIONS = 1500
MOST_CLASSES = 10
"""Of the problem; a loss for more is asked on the first so many points, with all its labels."""

SURE = 30.0
"""Logit of a function that is practically certain: p = 1 - 1e-13 K."""


@dataclass(frozen=True)
class Experiment:
    """For each rate of `RATES`: whether every minimiser of the noisy risk is one of the clean risk too.

    A rate at which all functions have the same noisy risk shows no agreement: it prefers none.
    """

    agrees: tuple[bool, ...]

    @property
    def agrees_up_to(self) -> float:
        """The last rate before the first one that moves the minimiser; 0 if the first already does."""
        last = 0.0
        for rate, agrees in zip(RATES, self.agrees, strict=True):
            if not agrees:
                break
            last = rate
        return last


def symmetric_experiment(values: Values, num_classes: int) -> Experiment:
    """Under symmetric noise, where no function is perfect: Lemma 1 needs none to be.

    ``values`` range over about 1, here and below: the least risks are told apart by so much.
    """
    return _experiment(values, num_classes, label_noise.symmetric, _functions(num_classes, perfect=False))


def asymmetric_experiment(values: Values, num_classes: int) -> Experiment:
    """Under flips of each class into the next, with perfect functions among the others: Lemma 2 needs one."""
    return _experiment(values, num_classes, label_noise.pairflip, _functions(num_classes, perfect=True))


def _experiment(values: Values, num_classes: int, matrix: MatrixOfRate, functions: Tensor) -> Experiment:
    points = functions.shape[1]
    with torch.no_grad():
        # (functions, points, labels)
        losses = values(functions.reshape(-1, num_classes)).reshape(len(functions), points, num_classes)
    losses = losses[~losses.isnan().any(2).any(1)]
    clean = losses.diagonal(dim1=1, dim2=2).mean(1)
    agrees = []
    for rate in RATES:
        rows = torch.from_numpy(matrix(num_classes, rate))[:points]
        # where: a label that never is counts nothing, however great its loss
        noisy = torch.where(rows == 0, 0.0, losses * rows).sum(2).mean(1)
        size = max(1.0, abs(noisy.min().item())) if len(noisy) else 1.0
        chosen = _least(noisy, 0.01 * values.rounding * size)
        # what is off by less than that in the noisy risk may be off by more in the clean one
        agrees.append(bool(_least(clean, 10 * values.rounding * size)[chosen].all() and not chosen.all()))
    return Experiment(tuple(agrees))


def _least(risks: Tensor, slack: float) -> Tensor:
    """Tell which risks are the least one, but for rounding."""
    least = risks.amin() if len(risks) else risks.sum()
    return (risks <= least + slack) | (risks == least)


def _functions(num_classes: int, *, perfect: bool) -> Tensor:
    """Give tables of logits ``(functions, points, classes)``, more or less right and more or less sure.

    Without perfect ones, each function is wrong, or unsure, at some point.
    """
    generator = torch.Generator().manual_seed(0)
    points = min(num_classes, MOST_CLASSES)
    label = torch.eye(num_classes, dtype=torch.float64)[:points]
    following = torch.roll(torch.eye(num_classes, dtype=torch.float64), 1, 1)[:points]
    drawn = torch.randn(RANDOM_FUNCTIONS, points, num_classes, generator=generator, dtype=torch.float64)
    leaning = 3 * torch.rand(RANDOM_FUNCTIONS, 1, 1, generator=generator, dtype=torch.float64)
    sharpness = 10 ** (2 * torch.rand(RANDOM_FUNCTIONS, 1, 1, generator=generator, dtype=torch.float64) - 1)
    random = sharpness * (drawn + leaning * label)
    if not perfect:
        return random
    scales = torch.tensor([0.0, 1.0, 2.0, 4.0, 8.0, 15.0, SURE], dtype=torch.float64)
    sure = torch.stack([a * label + b * following for a in scales for b in scales])
    return torch.cat([sure, random])
