"""Mean absolute error (MAE) and its normalized form (NMAE)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties
from noiseproof.losses.evaluation import Reduction, evaluate
from noiseproof.losses.formula import Linearized, OnLabel, RowFormula, at_label
from noiseproof.losses.normalization import NormalizedLoss


def mean_absolute_error(
    logits: Tensor, target: Tensor, *, reduction: Reduction = "mean", ignore_index: int = -100
) -> Tensor:
    """Mean absolute error: ``MAE = sum_k |p_k - q_k| = 2 (1 - p_y)``, in [0, 2]; passive, robust.

    Some published code has 1 - p_y instead: half of this. Shapes, reduction, ``ignore_index`` and errors
    as for `noiseproof.losses.Loss`. Ghosh et al., AAAI 2017; study eq. 2.

    >>> import torch
    >>> round(mean_absolute_error(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    1.8
    """
    return evaluate(_MEAN_ABSOLUTE_ERROR, logits, target, reduction=reduction, ignore_index=ignore_index)


def normalized_mean_absolute_error(
    logits: Tensor, target: Tensor, *, reduction: Reduction = "mean", ignore_index: int = -100
) -> Tensor:
    """Normalized MAE: ``NMAE = (1 - p_y) / (K - 1) = MAE / (2 (K - 1))``, in [0, 1/(K-1)]; passive, robust.

    Shapes, reduction, ``ignore_index`` and errors as for `noiseproof.losses.Loss`. Ma et al., ICML 2020;
    study eq. 7.

    >>> import torch
    >>> round(normalized_mean_absolute_error(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    0.1
    """
    return evaluate(NormalizedGap(), logits, target, reduction=reduction, ignore_index=ignore_index)


class MeanAbsoluteError(ClasswiseLoss):
    """Mean absolute error as a module; see `mean_absolute_error`.

    >>> MeanAbsoluteError()
    mae
    """

    name = "mae"
    title = "mean absolute error"
    source = "Ghosh et al., AAAI 2017; study eq. 2"

    def formula(self) -> OnLabel:
        """Give ``2 (1 - p)``."""
        return _MEAN_ABSOLUTE_ERROR

    def properties(self, num_classes: int) -> Properties:
        """Passive, in [0, 2], sums to 2 (K - 1)."""
        return Properties("passive", lower=0.0, upper=2.0, class_sum=2.0 * (num_classes - 1))


class NormalizedMeanAbsoluteError(NormalizedLoss):
    """Normalized mean absolute error as a module; see `normalized_mean_absolute_error`.

    >>> NormalizedMeanAbsoluteError()
    nmae
    """

    name = "nmae"
    title = "normalized mean absolute error"
    source = "Ma et al., ICML 2020; study eq. 7"

    def __init__(self, *, reduction: Reduction = "mean", ignore_index: int = -100) -> None:
        super().__init__(MeanAbsoluteError(), reduction=reduction, ignore_index=ignore_index)

    def formula(self) -> NormalizedGap:
        """Give the closed form, at the label only."""
        return NormalizedGap()


class NormalizedGap(RowFormula):
    """``(1 - p_y) / (K - 1)``: what every loss proportional to 1 - p_y normalizes to."""

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Give value and slope at the label."""
        return Linearized(-torch.expm1(label) / (num_classes - 1), label.exp() / -(num_classes - 1))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the values."""
        return -torch.expm1(at_label(log_p, target)) / (log_p.shape[-1] - 1)


_MEAN_ABSOLUTE_ERROR = OnLabel(
    value=lambda log_p: -2 * torch.expm1(log_p), slope=lambda log_p: -2 * torch.exp(log_p)
)
