"""Mean absolute error (MAE) and its normalized form (NMAE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import (
    Linearized,
    OnLabel,
    PerSample,
    RowFormula,
    Term,
    at_label,
    minus_expm1,
    one_hot,
)
from noiseproof.losses.normalization import NormalizedLoss


def mean_absolute_error(logits: Tensor, target: Tensor, **options: Unpack[Options]) -> Tensor:
    """Mean absolute error: ``MAE = sum_k |p_k - q_k| = 2 (1 - p_y)``, in [0, 2]; passive, robust.

    Some published code has 1 - p_y instead: half of this. Shapes, reduction, ``ignore_index`` and errors
    as for `noiseproof.losses.Loss`. Ghosh et al., AAAI 2017; study eq. 2.

    >>> import torch
    >>> round(mean_absolute_error(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    1.8
    """
    return evaluate(_MEAN_ABSOLUTE_ERROR, logits, target, **options)


def normalized_mean_absolute_error(logits: Tensor, target: Tensor, **options: Unpack[Options]) -> Tensor:
    """Normalized MAE: ``NMAE = (1 - p_y) / (K - 1) = MAE / (2 (K - 1))``, in [0, 1/(K-1)]; passive, robust.

    Shapes, options and errors as for `noiseproof.losses.Loss`. Ma et al., ICML 2020;
    study eq. 7.

    >>> import torch
    >>> round(normalized_mean_absolute_error(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    0.1
    """
    return evaluate(_NORMALIZED, logits, target, **options)


class MeanAbsoluteError(ClasswiseLoss):
    """Mean absolute error as a module; see `mean_absolute_error`.

    >>> MeanAbsoluteError()
    mae
    """

    name = "mae"
    title = "mean absolute error"
    equation = "2 (1 - p_y)"
    source = "Ghosh et al., AAAI 2017; study eq. 2"

    def formula(self) -> OnLabel:
        """Give ``2 (1 - p)``."""
        return _MEAN_ABSOLUTE_ERROR

    def properties(self, num_classes: int) -> Properties:
        """Passive, in [0, 2], sums to 2 (K - 1)."""
        return Properties("passive", lower=0.0, upper=2.0, class_sum=2.0 * (num_classes - 1), asymmetry=1.0)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give ``|p_k - q_k|``."""
        return (log_p.exp() - one_hot(target, log_p)).abs()


class NormalizedMeanAbsoluteError(NormalizedLoss):
    """Normalized mean absolute error as a module; see `normalized_mean_absolute_error`.

    >>> NormalizedMeanAbsoluteError()
    nmae
    """

    name = "nmae"
    title = "normalized mean absolute error"
    equation = "(1 - p_y) / (K - 1)"
    source = "Ma et al., ICML 2020; study eq. 7"

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(MeanAbsoluteError(), **options)

    def formula(self) -> NormalizedGap:
        """Give the closed form, at the label only."""
        return _NORMALIZED


@dataclass(eq=False)
class NormalizedGap(RowFormula):
    """``(1 - p_y) / (K - 1)``: what every loss proportional to 1 - p_y normalizes to.

    ``against``: the loss against probabilities, so scaled that it is ``1 - p_y`` for a label.
    """

    against: PerSample

    def terms(self, num_classes: int) -> tuple[Term, ...]:
        """Give the scaled gap."""
        return (Term(1 / (num_classes - 1), "gap"),)

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Give value and slope at the label."""
        return Linearized(-torch.expm1(label) / (num_classes - 1), label.exp() / -(num_classes - 1))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the values."""
        return minus_expm1(at_label(log_p, target)) / (log_p.shape[-1] - 1)

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Give the loss against probabilities, over K - 1."""
        return self.against(log_p, q) / (log_p.shape[-1] - 1)


def _distance(log_p: Tensor, q: Tensor) -> Tensor:
    return (log_p.exp() - q).abs().sum(-1)


_MEAN_ABSOLUTE_ERROR = OnLabel(
    value=lambda log_p: 2 * minus_expm1(log_p),
    slope=lambda log_p: -2 * torch.exp(log_p),
    against=_distance,
    known_as=(Term(2.0, "gap"),),
)

_NORMALIZED = NormalizedGap(against=lambda log_p, q: _distance(log_p, q) / 2)
