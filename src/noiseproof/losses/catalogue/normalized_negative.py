"""Normalized negative losses: NNCE and NNFL, the passive halves of ANL-CE and ANL-FL."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.losses.base import FormulaLoss, Properties, check_hyperparameter
from noiseproof.losses.catalogue.focal import check_gamma, focal
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import Linearized, Normalized, OnLabel, RowFormula, Term


def normalized_negative_cross_entropy(
    logits: Tensor, target: Tensor, *, p_min: float = 1e-7, **options: Unpack[Options]
) -> Tensor:
    """Normalized negative CE: ``NNCE = 1 - (A + log p_y) / sum_k (A + log p_k)``, in [0, 1]; passive, robust.

    ``A = -log p_min``, ``0 < p_min < 1/K``; lesser probabilities count as p_min. With NCE it makes ANL-CE:
    ``5*nce + 5*nnce`` on CIFAR-10, whose authors add 5e-5 times the L1 norm of the weights. Shapes, options
    and errors as for `noiseproof.losses.Loss`; class indices only. Ye et al., NeurIPS 2023.

    >>> import torch
    >>> round(normalized_negative_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 1 - 1/K
    0.9
    """
    _check_p_min("nnce", p_min)
    return evaluate(_negative(0.0, p_min), logits, target, **options)


def normalized_negative_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 0.5,
    p_min: float = 1e-7,
    **options: Unpack[Options],
) -> Tensor:
    """Normalized negative FL: ``NNFL = 1 - (A - FL(p_y)) / sum_k (A - FL(p_k))``, in [0, 1]; passive, robust.

    ``A = FL(p_min)``, ``gamma >= 0``, ``0 < p_min < 1/K``; lesser probabilities count as p_min. With NFL it
    makes ANL-FL. The focal factor is differentiated, as everywhere here; the authors' code holds it constant.
    Shapes, options and errors as for `noiseproof.losses.Loss`; class indices only. Ye et al., NeurIPS 2023.

    >>> import torch
    >>> round(normalized_negative_focal_loss(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 1 - 1/K
    0.9
    """
    check_gamma("nnfl", gamma)
    _check_p_min("nnfl", p_min)
    return evaluate(_negative(gamma, p_min), logits, target, **options)


class NormalizedNegativeLoss(FormulaLoss):
    """A loss below A, turned over and normalized: ``1 - (A - L(p_y)) / sum_k (A - L(p_k))``."""

    def __init__(self, *, p_min: float = 1e-7, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_p_min(self.name, p_min)
        self.p_min = p_min

    @abstractmethod
    def formula(self) -> NegativeNormalized:
        """Give the normalized negative of a loss on the label."""

    def per_class(self, log_p: Tensor) -> Tensor:
        """Evaluate the formula for every class as the label."""
        return 1 - self._shares(log_p)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give each other class's share of the sum, which add up to what the label's lacks to 1."""
        return self._shares(log_p).scatter(-1, target.unsqueeze(-1), 0.0)

    def _shares(self, log_p: Tensor) -> Tensor:
        rest = self.formula().upside_down(log_p.shape[-1]).value(log_p)
        return rest / rest.sum(-1, keepdim=True)

    def properties(self, num_classes: int) -> Properties:
        """Passive, in [0, 1], sums to K - 1."""
        return Properties("passive", lower=0.0, upper=1.0, class_sum=float(num_classes - 1))


class NormalizedNegativeCrossEntropy(NormalizedNegativeLoss):
    """Normalized negative cross entropy as a module; see `normalized_negative_cross_entropy`.

    >>> NormalizedNegativeCrossEntropy()
    nnce(p_min=1e-07)
    """

    name = "nnce"
    title = "normalized negative cross entropy"
    equation = "1 - (A + log p_y) / sum_k (A + log p_k), A = -log p_min"
    source = "Ye et al., NeurIPS 2023"

    def formula(self) -> NegativeNormalized:
        """Give the normalized negative of cross entropy."""
        return _negative(0.0, self.p_min)


class NormalizedNegativeFocalLoss(NormalizedNegativeLoss):
    """Normalized negative focal loss as a module; see `normalized_negative_focal_loss`.

    >>> NormalizedNegativeFocalLoss()
    nnfl(gamma=0.5, p_min=1e-07)
    """

    name = "nnfl"
    title = "normalized negative focal loss"
    equation = "1 - (A - FL(p_y)) / sum_k (A - FL(p_k)), A = FL(p_min)"
    source = "Ye et al., NeurIPS 2023"

    def __init__(self, *, gamma: float = 0.5, p_min: float = 1e-7, **options: Unpack[Options]) -> None:
        super().__init__(p_min=p_min, **options)
        check_gamma("nnfl", gamma)
        self.gamma = gamma

    def formula(self) -> NegativeNormalized:
        """Give the normalized negative of the focal loss."""
        return _negative(self.gamma, self.p_min)


@dataclass(eq=False)
class NegativeNormalized(RowFormula):
    """``1 - h(l_y) / sum_k h(l_k)`` of ``h = A - L``, L at no less than ``log_p_min``."""

    negative: OnLabel
    log_p_min: float

    @property
    def summed(self) -> tuple[OnLabel, ...]:  # type: ignore[override]
        """The one sum that normalizes."""
        return (self.negative,)

    def upside_down(self, num_classes: int) -> OnLabel:
        """Give h; raises `NoiseproofError` if it could be 0 for every class at once."""
        if self.log_p_min + math.log(num_classes) >= 0:
            raise NoiseproofError(
                f"p_min of a normalized negative loss must be below 1/K, got {math.exp(self.log_p_min):g}"
                f" for {num_classes} classes"
            )
        return self.negative

    def terms(self, num_classes: int) -> tuple[Term, ...]:
        """Give 1 less the share of h."""
        (known,) = self.upside_down(num_classes).known_as
        return Term(1.0, "one"), Term(-1.0, known.function, known.first, known.second, "share")

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Turn the normalized form around."""
        at = Normalized(self.upside_down(num_classes)).linearized(label, sums, num_classes)
        return Linearized(1 - at.value, -at.of_label, tuple(-slope for slope in at.of_sums))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the values."""
        return 1 - Normalized(self.upside_down(log_p.shape[-1]))(log_p, target)


def _negative(gamma: float, p_min: float) -> NegativeNormalized:
    """Give the normalized negative of the focal loss, which is cross entropy for gamma = 0."""
    loss, least = focal(gamma), math.log(p_min)
    upper: float = -((1 - p_min) ** gamma) * least

    def value(log_p: Tensor) -> Tensor:
        return upper - loss.value(log_p.clamp(min=least))

    def slope(log_p: Tensor) -> Tensor:
        return torch.where(log_p > least, -loss.slopes(log_p), 0)

    known_as = (Term(1.0, "negative", gamma, upper),)
    return NegativeNormalized(OnLabel(value, slope, known_as=known_as), least)


def _check_p_min(loss: str, p_min: float) -> None:
    check_hyperparameter(loss, "p_min", p_min, expected="a number in (0, 0.5)", valid=0 < p_min < 0.5)
