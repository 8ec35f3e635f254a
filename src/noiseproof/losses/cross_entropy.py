"""Cross entropy (CE) and its normalized form (NCE)."""

from __future__ import annotations

import math

from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties
from noiseproof.losses.evaluation import Reduction, at_label, evaluate, on_label
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
    return evaluate(on_label(_cross_entropy), logits, target, reduction=reduction, ignore_index=ignore_index)


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
    return evaluate(_normalized_cross_entropy, logits, target, reduction=reduction, ignore_index=ignore_index)


class CrossEntropy(ClasswiseLoss):
    """Cross entropy as a module; see `cross_entropy`.

    >>> CrossEntropy()
    ce
    """

    name = "ce"
    title = "cross entropy"
    source = "study eq. 1"

    def of_log_p(self, log_p: Tensor) -> Tensor:
        """Give ``-log p``."""
        return _cross_entropy(log_p)

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

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the closed form, without the ``(..., C)`` values of the generic one."""
        return _normalized_cross_entropy(log_p, target)


def _cross_entropy(log_p: Tensor) -> Tensor:
    return -log_p


def _normalized_cross_entropy(log_p: Tensor, target: Tensor) -> Tensor:
    # the sum is at most -K log K < 0, so the quotient is always finite
    return at_label(log_p, target) / log_p.sum(-1)
