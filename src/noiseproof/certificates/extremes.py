"""The least and greatest value of a function of logits: by an optimiser, from candidates that are extreme."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from noiseproof.certificates.values import derivative

Objective = Callable[[Tensor], Tensor]
"""``(M, K) -> (M, J)``: J values for the logits of each row, that range over about 1."""

SCALES = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
FAR = (1e4, 1e6, 1e8)
"""Scales of logits that tell a bounded function, whose growth comes to an end, from an unbounded one."""

MOST_CLASSES_TRIED = 12
"""As the one that stands out; with more classes, these stand for the rest."""

STARTS = 48
STEPS = 250


@dataclass(frozen=True)
class Extreme:
    """An extreme value: where it was found, and whether it is only as far as the search went.

    ``logits``: ``(K,)``; ``column``: which of the J values; ``unbounded``: it still grew at the largest
    logits.
    """

    value: float
    logits: tuple[float, ...]
    column: int
    unbounded: bool


def extremes(objective: Objective, num_classes: int) -> tuple[Extreme, Extreme]:
    """Give the infimum and supremum, as far as can be found; values that are not numbers are passed over."""
    return _infimum(objective, num_classes), _supremum(objective, num_classes)


def _infimum(objective: Objective, num_classes: int) -> Extreme:
    found = _supremum(lambda logits: -objective(logits), num_classes)
    return Extreme(0.0 - found.value, found.logits, found.column, found.unbounded)


def _supremum(objective: Objective, num_classes: int) -> Extreme:
    shapes = patterns(num_classes)
    near = torch.cat([scale * shapes for scale in SCALES])
    climbed = _climb(objective, near)
    tried = torch.cat([near, climbed, *(scale * shapes for scale in FAR)])
    values = _numbers(objective, tried)
    row, column = divmod(int(values.argmax()), values.shape[1])
    best = values[row, column].item()
    reached = [_numbers(objective, scale * shapes).max().item() for scale in FAR]
    return Extreme(best, tuple(tried[row].tolist()), column, unbounded=_still_growing(reached, best))


def _still_growing(reached: list[float], best: float) -> bool:
    """Tell from the values at ever larger logits; even the logarithm of a logarithm's argument would show."""
    if math.isinf(best):
        return True
    earlier, later = reached[1] - reached[0], reached[2] - reached[1]
    return reached[2] >= best and later > 0.5 * earlier and later > 1e-6 * max(1.0, abs(best))


def patterns(num_classes: int) -> Tensor:
    """Give directions to look into: one class up or down, two up, half up, all in order, and random ones."""
    generator = torch.Generator().manual_seed(0)
    eye = torch.eye(num_classes, dtype=torch.float64)[:MOST_CLASSES_TRIED]
    pairs = eye + torch.roll(torch.eye(num_classes, dtype=torch.float64), 1, 0)[: len(eye)]
    half = (torch.arange(num_classes) < num_classes / 2).double().unsqueeze(0)
    order = torch.linspace(-1, 1, num_classes, dtype=torch.float64).unsqueeze(0)
    noise = torch.randn(8, num_classes, generator=generator, dtype=torch.float64)
    return torch.cat([eye, -eye, pairs, -pairs, eye + 0.5 * pairs, half, -half, order, -order, noise])


def _climb(objective: Objective, near: Tensor) -> Tensor:
    """Climb from the best candidates and from random ones, each towards the highest of its values."""
    generator = torch.Generator().manual_seed(1)
    best = _numbers(objective, near).max(1).values.argsort(descending=True)[: STARTS // 2]
    random = 2 * torch.randn(STARTS // 2, near.shape[1], generator=generator, dtype=torch.float64)
    at = torch.cat([near[best], random]).requires_grad_()
    optimizer = torch.optim.Adam([at], lr=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        height = objective(at).max(1).values
        at.grad = derivative(-height[height.isfinite()], at).nan_to_num(0.0, 0.0, 0.0)
        optimizer.step()
        schedule.step()
    return at.detach()


def not_a_number(objective: Objective, num_classes: int) -> tuple[float, ...] | None:
    """Give the first logits that were tried at which a value is not a number; None if there are none."""
    shapes = patterns(num_classes)
    tried = torch.cat([scale * shapes for scale in (*SCALES, *FAR)])
    with torch.no_grad():
        found = objective(tried).isnan().any(1).nonzero()
    return tuple(tried[int(found[0])].tolist()) if len(found) else None


def _numbers(objective: Objective, logits: Tensor) -> Tensor:
    with torch.no_grad():
        return objective(logits).nan_to_num(-torch.inf, torch.inf, -torch.inf)
