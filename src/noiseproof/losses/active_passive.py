"""Sums of losses: any weighted sum, and the Active-Passive Loss (APL) that the study is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Unpack, cast

import torch
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError
from noiseproof.losses.base import (
    Kind,
    Loss,
    Properties,
    check_hyperparameter,
    check_is_loss,
    check_part,
    known_properties,
    number_text,
)
from noiseproof.losses.evaluation import Options
from noiseproof.losses.formula import Weighted


class WeightedSum(Loss):
    """A weighted sum of losses: ``L = sum_i w_i L_i``; the softmax is computed once for all of them.

    Args:
        terms: the losses, whose own ``reduction`` is not used.
        weights: one number > 0 for each term.
        options: reduction, ignore_index, weight; see `Loss`.

    >>> from noiseproof.losses import CrossEntropy, ReverseCrossEntropy
    >>> WeightedSum([CrossEntropy(), ReverseCrossEntropy()], weights=[0.1, 1])  # symmetric CE
    0.1*ce + rce(A=-4)
    """

    name = "sum"
    title = "weighted sum of losses"
    equation = "sum_i w_i L_i"
    source = "study eq. 10"

    def __init__(
        self,
        terms: Sequence[Loss],
        weights: Sequence[float],
        **options: Unpack[Options],
    ) -> None:
        super().__init__(**options)
        if not terms or len(terms) != len(weights):
            raise NoiseproofError(
                f"a sum needs one weight per term, got {len(terms)} terms and {len(weights)} weights"
            )
        for term, weight in zip(terms, weights, strict=True):
            check_is_loss(term, to_be="summed")
            check_part(term, self)
            check_hyperparameter(str(term), "the weight", weight, expected="a number > 0", valid=weight > 0)
        self.terms = nn.ModuleList(terms)
        self.weights = tuple(weights)

    @property
    def weighted(self) -> list[tuple[float, Loss]]:
        """The pairs ``(w_i, L_i)``."""
        return [(w, term) for w, term in zip(self.weights, self.terms, strict=True) if isinstance(term, Loss)]

    def formula(self) -> Weighted:
        """Give the sum of the terms' formulas."""
        # at every call, and `self.terms` would be looked for in three places first
        terms = cast(Iterable[Loss], self._modules["terms"])
        return Weighted(self.weights, tuple([term.formula() for term in terms]))

    def class_terms(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Sum the losses' terms, class by class."""
        return torch.stack([w * term.class_terms(log_p, target) for w, term in self.weighted]).sum(0)

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Sum the terms' values at the labels."""
        return torch.stack([w * term.per_sample(log_p, target) for w, term in self.weighted]).sum(0)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Sum the terms' values for every class."""
        return torch.stack([w * term.per_class(log_p) for w, term in self.weighted]).sum(0)

    def properties(self, num_classes: int) -> Properties:
        """Passive if a term is; class sums add up; bounds and asymmetry are promises, not exact."""
        known = [(w, term.properties(num_classes)) for w, term in self.weighted]
        ratios = [p.asymmetry for _, p in known if p.asymmetry is not None]
        class_sums = [w * p.class_sum for w, p in known if p.class_sum is not None]
        return Properties(
            kind="passive" if any(p.kind == "passive" for _, p in known) else "active",
            lower=sum(w * p.lower for w, p in known),
            upper=sum(w * p.upper for w, p in known),
            class_sum=sum(class_sums) if len(class_sums) == len(known) else None,
            # a quotient of sums is at least the least of the quotients
            asymmetry=min(ratios) if len(ratios) == len(known) else None,
        )

    @property
    def hyperparameters(self) -> dict[str, float]:
        """None of its own but the weights, which `weighted` holds."""
        return {}

    @property
    def label(self) -> str:
        """The name as tables print it, such as ``NFL+MAE``."""
        return "+".join(_weighted_text(w, term, term.label) for w, term in self.weighted)

    def __str__(self) -> str:
        """The sum as text, such as ``2*nfl(gamma=0.5) + mae``; ``1*nce`` if it is a sum of one."""
        if self.weights == (1,):
            return f"1*{self.weighted[0][1]}"
        return " + ".join(_weighted_text(w, term, str(term)) for w, term in self.weighted)


class ActivePassiveLoss(WeightedSum):
    """Active-Passive Loss: ``APL = alpha L_active + beta L_passive`` of two robust losses; robust.

    Args:
        active: a robust active loss, such as NCE or NFL.
        passive: a robust passive loss, such as MAE, RCE, NMAE or NRCE.
        alpha: weight of the active loss, > 0.
        beta: weight of the passive loss, > 0.
        strict: refuse a pair that is not robust, or not active + passive; False allows any two.
        options: reduction, ignore_index, weight; see `Loss`.

    Ma et al., ICML 2020; study eq. 10, Definitions 1-2, Lemma 3.

    >>> from noiseproof.losses import MeanAbsoluteError, NormalizedCrossEntropy
    >>> ActivePassiveLoss(NormalizedCrossEntropy(), MeanAbsoluteError(), alpha=1, beta=0.5)
    nce + 0.5*mae
    """

    name = "apl"
    title = "active passive loss"
    equation = "alpha L_active + beta L_passive"
    source = "Ma et al., ICML 2020; study eq. 10"

    def __init__(
        self,
        active: Loss,
        passive: Loss,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        strict: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__([active, passive], [alpha, beta], **options)
        if strict:
            _check_role(active, "active")
            _check_role(passive, "passive")

    @property
    def active(self) -> Loss:
        """The active loss."""
        return self.weighted[0][1]

    @property
    def passive(self) -> Loss:
        """The passive loss."""
        return self.weighted[1][1]

    @property
    def alpha(self) -> float:
        """Weight of the active loss."""
        return self.weights[0]

    @property
    def beta(self) -> float:
        """Weight of the passive loss."""
        return self.weights[1]


def fits_role(loss: Loss, role: Kind) -> bool:
    """Tell whether ``loss`` may be the active, or the passive, half of an APL."""
    known = known_properties(loss)
    return known is not None and known.kind == role and known.robust


def _check_role(loss: Loss, role: Kind) -> None:
    if fits_role(loss, role):
        return
    known = known_properties(loss)
    if known is None:
        raise NoiseproofError(
            f"nothing is known of {loss} for any number of classes that was tried;"
            " strict=False allows any pair"
        )
    fault = f"{known.kind}, not {role}" if known.kind != role else "not robust: normalize it"
    raise NoiseproofError(
        f"the {role} loss of an active passive loss must be robust and {role}, but {loss} is {fault}"
        " (strict=False allows any pair)"
    )


def _weighted_text(weight: float, loss: Loss, text: str) -> str:
    text = f"({text})" if isinstance(loss, WeightedSum) else text
    return text if weight == 1 else f"{number_text(weight)}*{text}"
