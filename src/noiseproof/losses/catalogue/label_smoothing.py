"""Label smoothing (LS): cross entropy against labels that are mixed with the uniform distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import FormulaLoss, Properties, check_hyperparameter
from noiseproof.losses.catalogue.cross_entropy import CROSS_ENTROPY
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import Linearized, RowFormula, Term, at_label, one_hot


def label_smoothing(
    logits: Tensor, target: Tensor, *, epsilon: float = 0.1, **options: Unpack[Options]
) -> Tensor:
    """Label smoothing: ``LS = -(1 - epsilon) log p_y - epsilon/K sum_k log p_k``, unbounded; not robust.

    ``0 <= epsilon <= 1``; 0 gives cross entropy. Passive for epsilon > 0. Shapes, options and errors as for
    `noiseproof.losses.Loss`. Szegedy et al., CVPR 2016; against label noise: Lukasik et al., ICML 2020. Same
    values as `torch.nn.functional.cross_entropy` with ``label_smoothing=epsilon``.

    >>> import torch
    >>> round(label_smoothing(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), epsilon=0.2).item(), 4)
    0.3269
    """
    _check_epsilon(epsilon)
    return evaluate(_smoothed_cross_entropy(epsilon), logits, target, **options)


class LabelSmoothing(FormulaLoss):
    """Label smoothing as a module; see `label_smoothing`.

    >>> LabelSmoothing()
    ls(epsilon=0.1)
    """

    name = "ls"
    title = "label smoothing"
    equation = "-(1 - epsilon) log p_y - epsilon/K sum_k log p_k"
    source = "Szegedy et al., CVPR 2016; Lukasik et al., ICML 2020"

    def __init__(self, *, epsilon: float = 0.1, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        _check_epsilon(epsilon)
        self.epsilon = epsilon

    def formula(self) -> RowFormula:
        """Give cross entropy against the smoothed label, on the row's statistics."""
        return _smoothed_cross_entropy(self.epsilon)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Evaluate the formula for every class as the label."""
        return -(1 - self.epsilon) * log_p - self.epsilon * log_p.mean(-1, keepdim=True)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give ``-q_k log p_k`` of the smoothed label."""
        q = one_hot(target, log_p)
        return -_smoothed(q, self.epsilon) * log_p

    def properties(self, num_classes: int) -> Properties:
        """Least where p is the smoothed label: the entropy of that."""
        others = self.epsilon / num_classes
        label = 1 - (num_classes - 1) * others
        entropy = -sum(q * math.log(q) for q in (label, *[others] * (num_classes - 1)) if q > 0)
        smoothed = self.epsilon > 0
        return Properties(
            kind="passive" if smoothed else "active",
            lower=entropy,
            upper=math.inf,
            class_sum=None,
            asymmetry=None if smoothed else 0.0,
        )


def _smoothed_cross_entropy(epsilon: float) -> RowFormula:
    # 0 times the sum would be no number where a class is ruled out
    return SmoothedCrossEntropy(epsilon) if epsilon > 0 else CROSS_ENTROPY


@dataclass(eq=False)
class SmoothedCrossEntropy(RowFormula):
    """``-(1 - epsilon) l_y - epsilon/K sum_k l_k``."""

    epsilon: float
    summed = (CROSS_ENTROPY,)

    def terms(self, num_classes: int) -> tuple[Term, ...]:
        """Give cross entropy at the label and summed."""
        return Term(1 - self.epsilon, "log"), Term(self.epsilon / num_classes, "log", part="sum")

    def linearized(self, label: Tensor, sums: Sequence[Tensor], num_classes: int) -> Linearized:
        """Give the value; it is linear, so its slopes are numbers."""
        (total,) = sums
        uniform = self.epsilon / num_classes
        value = uniform * total - (1 - self.epsilon) * label
        return Linearized(value, torch.full_like(label, self.epsilon - 1), (torch.full_like(label, uniform),))

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give the values."""
        return -(1 - self.epsilon) * at_label(log_p, target) - self.epsilon * log_p.mean(-1)

    def soft(self, log_p: Tensor, q: Tensor) -> Tensor:
        """Give cross entropy against ``(1 - epsilon) q + epsilon/K``."""
        return CROSS_ENTROPY.soft(log_p, _smoothed(q, self.epsilon))


def _smoothed(q: Tensor, epsilon: float) -> Tensor:
    return (1 - epsilon) * q + epsilon / q.shape[-1]


def _check_epsilon(epsilon: float) -> None:
    check_hyperparameter("ls", "epsilon", epsilon, expected="a number in [0, 1]", valid=0 <= epsilon <= 1)
