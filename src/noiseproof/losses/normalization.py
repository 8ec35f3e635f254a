"""Normalization (study eq. 5): divide a loss by its sum over all classes, and it becomes robust."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.losses.base import Loss, Properties
from noiseproof.losses.evaluation import PerSample, Reduction
from noiseproof.losses.formula import Normalized, OnLabel, at_label


class NormalizedLoss(Loss):
    """Any loss, normalized: ``L_norm(f(x), y) = L(f(x), y) / sum_j L(f(x), j)``, in [0, 1]; robust.

    Args:
        loss: the `Loss` to normalize. Its values must be non-negative, and not all zero, for every
            class; its own ``reduction`` and ``ignore_index`` are not used.
        reduction: none, mean or sum.
        ignore_index: the label that marks a position without one.

    Ma et al., ICML 2020; study eq. 5. NCE, NFL, NMAE and NRCE are this, with cheaper closed forms.

    >>> import torch
    >>> from noiseproof.losses import CrossEntropy, NormalizedCrossEntropy
    >>> logits, target = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([1])
    >>> generic = NormalizedLoss(CrossEntropy())
    >>> generic
    normalized(ce)
    >>> torch.equal(generic(logits, target), NormalizedCrossEntropy()(logits, target))
    True
    """

    name = "normalized"
    title = "normalization of any loss"
    source = "Ma et al., ICML 2020; study eq. 5"

    def __init__(self, loss: Loss, *, reduction: Reduction = "mean", ignore_index: int = -100) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        _check_normalizable(loss)
        self.loss = loss

    def relative_values(self, log_p: Tensor) -> Tensor:
        """Give the loss of every class, up to a factor that a sample's classes share: it cancels."""
        return self.loss.per_class(log_p)

    def formula(self) -> PerSample:
        """Give eq. 5 on the row's statistics, where the loss's value for a class depends on its p alone."""
        inner = self.loss.formula()
        return Normalized(inner) if isinstance(inner, OnLabel) else self.per_sample

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give eq. 5 as it stands, from the loss of every class."""
        values = self.relative_values(log_p)
        return at_label(values, target) / values.sum(-1)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Give eq. 5 for every class as the label."""
        values = self.relative_values(log_p)
        return values / values.sum(-1, keepdim=True)

    def properties(self, num_classes: int) -> Properties:
        """Keep the kind; sum to 1; scale the bounds where the loss's own sum is a constant."""
        inner = self.loss.properties(num_classes)
        scale = inner.class_sum
        lower, upper = (0.0, 1.0) if scale is None else (inner.lower / scale, inner.upper / scale)
        return Properties(inner.kind, lower=lower, upper=upper, class_sum=1.0)

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The hyperparameters of the loss that is normalized."""
        return self.loss.hyperparameters

    @property
    def label(self) -> str:
        """The name as tables print it."""
        return super().label if type(self) is not NormalizedLoss else f"NORMALIZED({self.loss.label})"

    def __str__(self) -> str:
        """``normalized(ce)``; the named forms print as ``nce``."""
        return super().__str__() if type(self) is not NormalizedLoss else f"{self.name}({self.loss})"


def _check_normalizable(loss: Any) -> None:
    if not isinstance(loss, Loss):
        raise NoiseproofError(
            f"only a noiseproof.losses.Loss can be evaluated for every class, got {type(loss).__name__}; "
            "subclass Loss and give per_sample"
        )
    # NMAE's and NRCE's own sum is 1 already; normalizing twice would change nothing but the cost
    if isinstance(loss, NormalizedLoss):
        raise NoiseproofError(f"{loss} is normalized already")
