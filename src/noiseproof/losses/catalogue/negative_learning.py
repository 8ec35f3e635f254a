"""Negative learning (NL): say which class a sample is not."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from noiseproof.losses.base import FormulaLoss, Properties
from noiseproof.losses.evaluation import Options, evaluate
from noiseproof.losses.formula import Formula, Term


def negative_learning(logits: Tensor, target: Tensor, **options: Unpack[Options]) -> Tensor:
    """Negative learning: ``NL = -1/(K-1) sum_{k != y} log(1 - p_k)``, in [0, inf); passive, not robust.

    The expectation of ``-log(1 - p_k)`` over a complementary label k, uniform over the classes other than y;
    NLNL draws some at random in each step. Shapes, options and errors as for `noiseproof.losses.Loss`; class
    indices only. Kim et al., ICCV 2019: the first of their three stages; the later ones choose samples.

    >>> import torch
    >>> round(negative_learning(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # -log 0.9
    0.1054
    """
    return evaluate(_NEGATIVE_LEARNING, logits, target, **options)


class NegativeLearning(FormulaLoss):
    """Negative learning as a module; see `negative_learning`.

    >>> NegativeLearning()
    nl
    """

    name = "nl"
    title = "negative learning"
    equation = "-1/(K-1) sum_{k != y} log(1 - p_k)"
    source = "Kim et al., ICCV 2019"

    def formula(self) -> Formula:
        """Give the mean over the complementary labels."""
        return _NEGATIVE_LEARNING

    def per_class(self, log_p: Tensor) -> Tensor:
        """Give the loss for every class as the label."""
        values = -_log_one_minus(log_p)
        return (values.sum(-1, keepdim=True) - values) / (log_p.shape[-1] - 1)

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Give ``-log(1 - p_k) / (K - 1)`` for each complementary label."""
        values = -_log_one_minus(log_p) / (log_p.shape[-1] - 1)
        return values.scatter(-1, target.unsqueeze(-1), 0.0)

    def properties(self, num_classes: int) -> Properties:
        """Passive, unbounded; of two classes the same as cross entropy."""
        asymmetry = 0.0 if num_classes == 2 else None
        return Properties("passive", lower=0.0, upper=math.inf, class_sum=None, asymmetry=asymmetry)


class _OfComplementaryLabels(Formula):
    def terms(self, num_classes: int) -> tuple[Term, ...]:
        return (Term(1 / (num_classes - 1), "negative_learning"),)

    def __call__(self, log_p: Tensor, target: Tensor) -> Tensor:
        values = -_log_one_minus(log_p)
        # masked, not subtracted: the label's own value may dwarf the rest
        others = values.scatter(-1, target.unsqueeze(-1), 0.0)
        return others.sum(-1) / (log_p.shape[-1] - 1)


_NEGATIVE_LEARNING = _OfComplementaryLabels()


def _log_one_minus(log_p: Tensor) -> Tensor:
    """Give ``log(1 - p_k)``; of the top class from the other classes, since 1 - p would lose its digits."""
    top = log_p.argmax(-1, keepdim=True)
    of_top = log_p.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
    of_others = torch.log1p(-log_p.scatter(-1, top, -torch.inf).exp())
    return of_others.scatter(-1, top, of_top)
