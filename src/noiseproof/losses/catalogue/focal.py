"""Focal loss (FL) and its normalized form (NFL)."""

from __future__ import annotations

import math
from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties, check_hyperparameter
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import Formula, Normalized, OnLabel, Plain, Term, at_label, minus_expm1
from noiseproof.losses.normalization import NormalizedLoss


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 0.5, **options: Unpack[Options]) -> Tensor:
    """Focal loss: ``FL = -sum_k q_k (1 - p_k)^gamma log p_k = -(1 - p_y)^gamma log p_y``, in [0, inf).

    Active, not robust. ``gamma >= 0``; 0 gives cross entropy. The focal factor is differentiated, as eq. 4
    says. Shapes, options and errors as for `noiseproof.losses.Loss`. Lin et al., ICCV 2017; study eq. 4.

    >>> import torch
    >>> round(focal_loss(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 0.9**0.5 * log 10
    2.1844
    """
    check_gamma("fl", gamma)
    return evaluate(focal(gamma), logits, target, **options)


def normalized_focal_loss(
    logits: Tensor, target: Tensor, *, gamma: float = 0.5, **options: Unpack[Options]
) -> Tensor:
    """Normalized focal loss: ``NFL = FL(p_y) / sum_k FL(p_k)``, in [0, 1]; active, robust.

    ``gamma >= 0``; 0 gives NCE. Shapes, options and errors as for
    `noiseproof.losses.Loss`. Ma et al., ICML 2020; study eq. 9. That equation's last form, a logarithm
    of ``(1 - p_y)^gamma p_y``, would take the focal factor inside the logarithm; its first form, the
    definition, is what is computed.

    >>> import torch
    >>> round(normalized_focal_loss(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 1/K
    0.1
    """
    check_gamma("nfl", gamma)
    return evaluate(_normalized_focal(gamma), logits, target, **options)


class FocalLoss(ClasswiseLoss):
    """Focal loss as a module; see `focal_loss`.

    >>> FocalLoss(gamma=2)
    fl(gamma=2)
    """

    name = "fl"
    title = "focal loss"
    equation = "-(1 - p_y)^gamma log p_y"
    source = "Lin et al., ICCV 2017; study eq. 4"

    def __init__(self, *, gamma: float = 0.5, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        check_gamma("fl", gamma)
        self.gamma = gamma

    def formula(self) -> OnLabel:
        """Give ``-(1 - p)^gamma log p``."""
        return focal(self.gamma)

    def properties(self, num_classes: int) -> Properties:
        """Active, unbounded, no constant sum."""
        return Properties("active", lower=0.0, upper=math.inf, class_sum=None, asymmetry=0.0)


class NormalizedFocalLoss(NormalizedLoss):
    """Normalized focal loss as a module; see `normalized_focal_loss`.

    >>> NormalizedFocalLoss()
    nfl(gamma=0.5)
    """

    name = "nfl"
    title = "normalized focal loss"
    equation = "FL(p_y) / sum_k FL(p_k)"
    source = "Ma et al., ICML 2020; study eq. 9"

    def __init__(self, *, gamma: float = 0.5, **options: Unpack[Options]) -> None:
        check_gamma("nfl", gamma)
        super().__init__(FocalLoss(gamma=gamma), **options)
        self.gamma = gamma

    def relative_values(self, log_p: Tensor) -> Tensor:
        """Give the focal losses, scaled so that no gamma makes them all underflow."""
        return _relative_focal_loss(log_p, self.gamma)

    def formula(self) -> Formula:
        """Give eq. 5 of the focal loss."""
        return _normalized_focal(self.gamma)


LARGEST_FUSED_GAMMA = 16.0
"""Up to here the largest ``(1 - p_k)^gamma`` of a row is far from underflow, so it needs no scaling."""


def focal(gamma: float) -> OnLabel:
    """Give ``-(1 - p)^gamma log p``."""
    against = partial(_focal_against, gamma=gamma)
    if gamma == 0:
        return OnLabel(torch.neg, slope=-1.0, against=against, known_as=(Term(1.0, "log"),))
    value, slope = partial(_focal_loss, gamma=gamma), partial(_focal_slope, gamma=gamma)
    return OnLabel(value, slope, against, known_as=(Term(1.0, "focal", gamma),))


def _normalized_focal(gamma: float) -> Formula:
    if gamma <= LARGEST_FUSED_GAMMA:
        return Normalized(focal(gamma))
    return Plain(
        partial(_normalized_focal_loss, gamma=gamma), partial(_normalized_focal_against, gamma=gamma)
    )


def _focal_loss(log_p: Tensor, gamma: float) -> Tensor:
    return -log_p * _one_minus_p(log_p) ** gamma


def _focal_against(log_p: Tensor, q: Tensor, gamma: float) -> Tensor:
    # a class of probability 0 on both sides adds 0, not NaN, to value and gradient
    return (q * _focal_loss(torch.where(q == 0, 0, log_p), gamma)).sum(-1)


def _focal_slope(log_p: Tensor, gamma: float) -> Tensor:
    # d/dl of -l (1 - e^l)^gamma
    u = _one_minus_p(log_p)
    return gamma * _finite(log_p) * log_p.exp() * u ** (gamma - 1) - u**gamma


def _relative_focal_loss(log_p: Tensor, gamma: float) -> Tensor:
    u = _one_minus_p(log_p)
    return -log_p * (u / u.detach().amax(-1, keepdim=True)) ** gamma


def _one_minus_p(log_p: Tensor) -> Tensor:
    # Clamped far below the smallest 1 - p that rounding leaves: for gamma < 1 the derivative of u**gamma
    # is infinite at u = 0, and infinity times the vanishing log p would be NaN.
    return minus_expm1(_finite(log_p)).clamp(min=torch.finfo(log_p.dtype).eps ** 2)


def _finite(log_p: Tensor) -> Tensor:
    # p log p is 0, not NaN, for a class that is ruled out
    return log_p.clamp(min=torch.finfo(log_p.dtype).min)


def _normalized_focal_loss(log_p: Tensor, target: Tensor, gamma: float) -> Tensor:
    values = _relative_focal_loss(log_p, gamma)
    return at_label(values, target) / values.sum(-1)


def _normalized_focal_against(log_p: Tensor, q: Tensor, gamma: float) -> Tensor:
    values = _relative_focal_loss(log_p, gamma)
    return torch.where(q == 0, 0, q * values).sum(-1) / values.sum(-1)


def check_gamma(loss: str, gamma: float) -> None:
    """Raise `NoiseproofError` unless gamma is a finite number >= 0."""
    check_hyperparameter(loss, "gamma", gamma, expected="a number >= 0", valid=gamma >= 0)
