"""Cross entropy (CE) and its normalized form (NCE)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties
from noiseproof.losses.evaluation import Reduction, evaluate
from noiseproof.losses.formula import Normalized, OnLabel
from noiseproof.losses.normalization import NormalizedLoss


def cross_entropy(
    logits: Tensor, target: Tensor, *, reduction: Reduction = "mean", ignore_index: int = -100
) -> Tensor:
    """Cross entropy: ``CE = -log p_y``, in [0, inf); active, not robust.

    Shapes, reduction, ``ignore_index`` and errors as for `noiseproof.losses.Loss`. Study eq. 1. Same
    values as `torch.nn.functional.cross_entropy`, except that a mean over no label at all is 0, not NaN.

    >>> import torch
    >>> round(cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # log 10
    2.3026
    """
    return evaluate(_CROSS_ENTROPY, logits, target, reduction=reduction, ignore_index=ignore_index)


def normalized_cross_entropy(
    logits: Tensor, target: Tensor, *, reduction: Reduction = "mean", ignore_index: int = -100
) -> Tensor:
    """Normalized cross entropy: ``NCE = log p_y / sum_k log p_k``, in [0, 1]; active, robust.

    Shapes, reduction, ``ignore_index`` and errors as for `noiseproof.losses.Loss`. Ma et al., ICML 2020;
    study eq. 6, whose last form is a logarithm to the base ``prod_k p_k``: a quotient of logarithms, so
    their common base cancels.

    >>> import torch
    >>> round(normalized_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 1/K
    0.1
    """
    return evaluate(_NORMALIZED, logits, target, reduction=reduction, ignore_index=ignore_index)


class CrossEntropy(ClasswiseLoss):
    """Cross entropy as a module; see `cross_entropy`.

    >>> CrossEntropy()
    ce
    """

    name = "ce"
    title = "cross entropy"
    source = "study eq. 1"

    def formula(self) -> OnLabel:
        """Give ``-log p``."""
        return _CROSS_ENTROPY

    def properties(self, num_classes: int) -> Properties:
        """Active, unbounded, no constant sum."""
        return Properties("active", lower=0.0, upper=math.inf, class_sum=None)


class NormalizedCrossEntropy(NormalizedLoss):
    """Normalized cross entropy as a module; see `normalized_cross_entropy`.

    >>> NormalizedCrossEntropy()
    nce
    """

    name = "nce"
    title = "normalized cross entropy"
    source = "Ma et al., ICML 2020; study eq. 6"

    def __init__(self, *, reduction: Reduction = "mean", ignore_index: int = -100) -> None:
        super().__init__(CrossEntropy(), reduction=reduction, ignore_index=ignore_index)


_CROSS_ENTROPY = OnLabel(torch.neg, slope=-1.0)

# the sum is at least K log K > 0, so the quotient is always finite
_NORMALIZED = Normalized(_CROSS_ENTROPY)
