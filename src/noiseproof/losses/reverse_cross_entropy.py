"""Reverse cross entropy (RCE) and its normalized form (NRCE)."""

from __future__ import annotations

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties, check_hyperparameter
from noiseproof.losses.evaluation import Reduction, evaluate
from noiseproof.losses.formula import OnLabel
from noiseproof.losses.mean_absolute_error import NormalizedGap
from noiseproof.losses.normalization import NormalizedLoss


def reverse_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    A: float = -4.0,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> Tensor:
    """Reverse cross entropy: ``RCE = -sum_k p_k log q_k = -A (1 - p_y)``, in [0, -A]; passive, robust.

    ``A < 0`` stands for log 0: -4 here as in the study's text; some published code has
    ln 1e-4 = -9.21. Shapes, reduction, ``ignore_index`` and errors as for `noiseproof.losses.Loss`.
    Wang et al., ICCV 2019; study eq. 3.

    >>> import torch
    >>> round(reverse_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    3.6
    """
    _check_A(A)
    return evaluate(_reverse(A), logits, target, reduction=reduction, ignore_index=ignore_index)


def normalized_reverse_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    A: float = -4.0,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> Tensor:
    """Normalized RCE: ``NRCE = (1 - p_y) / (K - 1) = RCE / (-A (K - 1))``, in [0, 1/(K-1)]; passive, robust.

    ``A`` cancels; it is accepted so that RCE and NRCE are called alike. Shapes, reduction,
    ``ignore_index`` and errors as for `noiseproof.losses.Loss`. Ma et al., ICML 2020; study eq. 8, whose
    last form lacks the minus before A: with it, as the definition gives, the loss is positive.

    >>> import torch
    >>> round(normalized_reverse_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
    0.1
    """
    _check_A(A)
    return evaluate(NormalizedGap(), logits, target, reduction=reduction, ignore_index=ignore_index)


class ReverseCrossEntropy(ClasswiseLoss):
    """Reverse cross entropy as a module; see `reverse_cross_entropy`.

    >>> ReverseCrossEntropy()
    rce(A=-4)
    """

    name = "rce"
    title = "reverse cross entropy"
    source = "Wang et al., ICCV 2019; study eq. 3"

    def __init__(self, *, A: float = -4.0, reduction: Reduction = "mean", ignore_index: int = -100) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        _check_A(A)
        self.A = A

    def formula(self) -> OnLabel:
        """Give ``-A (1 - p)``."""
        return _reverse(self.A)

    def properties(self, num_classes: int) -> Properties:
        """Passive, in [0, -A], sums to -A (K - 1)."""
        return Properties("passive", lower=0.0, upper=-self.A, class_sum=-self.A * (num_classes - 1))


class NormalizedReverseCrossEntropy(NormalizedLoss):
    """Normalized reverse cross entropy as a module; see `normalized_reverse_cross_entropy`.

    >>> NormalizedReverseCrossEntropy()
    nrce(A=-4)
    """

    name = "nrce"
    title = "normalized reverse cross entropy"
    source = "Ma et al., ICML 2020; study eq. 8"

    def __init__(self, *, A: float = -4.0, reduction: Reduction = "mean", ignore_index: int = -100) -> None:
        super().__init__(ReverseCrossEntropy(A=A), reduction=reduction, ignore_index=ignore_index)

    def formula(self) -> NormalizedGap:
        """Give the closed form, at the label only."""
        return NormalizedGap()


def _reverse(A: float) -> OnLabel:
    return OnLabel(value=lambda log_p: A * torch.expm1(log_p), slope=lambda log_p: A * torch.exp(log_p))


def _check_A(A: float) -> None:
    check_hyperparameter("rce", "A", A, expected="a number < 0 (it stands for log 0)", valid=A < 0)
