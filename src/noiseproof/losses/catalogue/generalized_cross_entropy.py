"""Generalized cross entropy (GCE) and its normalized form (NGCE)."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import ClasswiseLoss, Properties, check_hyperparameter
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import Normalized, OnLabel, Term, minus_expm1
from noiseproof.losses.normalization import NormalizedLoss


def generalized_cross_entropy(
    logits: Tensor, target: Tensor, *, q: float = 0.7, **options: Unpack[Options]
) -> Tensor:
    """Generalized cross entropy: ``GCE = (1 - p_y^q) / q``, in [0, 1/q]; active, not robust but for q = 1.

    ``0 < q <= 1``: towards 0 it becomes cross entropy, at 1 it is half of MAE. Shapes, options and errors as
    for `noiseproof.losses.Loss`; class indices only. Zhang and Sabuncu, NeurIPS 2018, where it is L_q.

    >>> import torch
    >>> round(generalized_cross_entropy(torch.zeros(1, 10), torch.tensor([3]), q=1).item(), 4)  # 1 - 1/10
    0.9
    """
    _check_q("gce", q)
    return evaluate(_generalized(q), logits, target, **options)


def normalized_generalized_cross_entropy(
    logits: Tensor, target: Tensor, *, q: float = 0.7, **options: Unpack[Options]
) -> Tensor:
    """Normalized GCE: ``NGCE = (1 - p_y^q) / (K - sum_k p_k^q)``, in [0, 1); active, robust.

    ``0 < q <= 1``; towards 0 it becomes NCE, at 1 it is NMAE. Shapes, options and errors as for
    `noiseproof.losses.Loss`; class indices only. Ma et al., ICML 2020 (eq. 5 of the study, of GCE).

    >>> import torch
    >>> round(normalized_generalized_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 1/K
    0.1
    """
    _check_q("ngce", q)
    return evaluate(Normalized(_generalized(q)), logits, target, **options)


class GeneralizedCrossEntropy(ClasswiseLoss):
    """Generalized cross entropy as a module; see `generalized_cross_entropy`.

    >>> GeneralizedCrossEntropy()
    gce(q=0.7)
    """

    name = "gce"
    title = "generalized cross entropy"
    equation = "(1 - p_y^q) / q"
    source = "Zhang and Sabuncu, NeurIPS 2018"

    def __init__(self, *, q: float = 0.7, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_q("gce", q)
        self.q = q

    def formula(self) -> OnLabel:
        """Give ``(1 - p^q) / q``."""
        return _generalized(self.q)

    def properties(self, num_classes: int) -> Properties:
        """Active, bounded; at q = 1 proportional to MAE."""
        linear = self.q == 1
        return Properties(
            "active",
            lower=0.0,
            upper=1 / self.q,
            class_sum=float(num_classes - 1) if linear else None,
            asymmetry=float(linear),
        )


class NormalizedGeneralizedCrossEntropy(NormalizedLoss):
    """Normalized generalized cross entropy as a module; see `normalized_generalized_cross_entropy`.

    >>> NormalizedGeneralizedCrossEntropy()
    ngce(q=0.7)
    """

    name = "ngce"
    title = "normalized generalized cross entropy"
    equation = "(1 - p_y^q) / (K - sum_k p_k^q)"
    source = "Ma et al., ICML 2020; study eq. 5"

    def __init__(self, *, q: float = 0.7, **options: Unpack[Options]) -> None:
        _check_q("ngce", q)
        super().__init__(GeneralizedCrossEntropy(q=q), **options)
        self.q = q

    def properties(self, num_classes: int) -> Properties:
        """Active, sums to 1; greatest at p_y = 0 with the other classes alike."""
        known = super().properties(num_classes)
        upper = 1 / (num_classes - (num_classes - 1) ** (1 - self.q))
        return Properties("active", 0.0, upper, class_sum=1.0, asymmetry=known.asymmetry)


def _generalized(q: float) -> OnLabel:
    # in log space: a power of p would underflow
    return OnLabel(
        value=lambda log_p: minus_expm1(q * log_p) / q,
        slope=lambda log_p: -torch.exp(q * log_p),
        known_as=(Term(1.0, "power", q),),
    )


def _check_q(loss: str, q: float) -> None:
    check_hyperparameter(loss, "q", q, expected="a number in (0, 1]", valid=0 < q <= 1)
