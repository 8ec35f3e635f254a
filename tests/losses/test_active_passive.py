"""Sums of losses, and the rules of the Active-Passive Loss (study eq. 10)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from noiseproof.errors import NoiseproofError
from noiseproof.losses import (
    CATALOGUE,
    ActivePassiveLoss,
    ForwardCorrection,
    Loss,
    MeanAbsoluteError,
    NormalizedLoss,
    WeightedSum,
    parse,
)
from noiseproof.losses.checks import Reduction

KNOWN = {name: cls().properties(10) for name, cls in CATALOGUE.items()}
ROBUST_ACTIVE = [name for name, known in KNOWN.items() if known.robust and known.kind == "active"]
ROBUST_PASSIVE = [name for name, known in KNOWN.items() if known.robust and known.kind == "passive"]
PAIRS = [(active, passive) for active in ROBUST_ACTIVE for passive in ROBUST_PASSIVE]
BAD_WEIGHTS = [0, 0.0, -1, -1e-9, float("nan"), float("inf"), True]


# -------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(("active", "passive"), PAIRS)
@pytest.mark.parametrize("reduction", get_args(Reduction))
def test_every_robust_pair_gives_alpha_active_plus_beta_passive(
    active: str, passive: str, reduction: Reduction, logits: Tensor, target: Tensor
) -> None:
    target[0] = -1
    loss_a = parse(active, reduction=reduction, ignore_index=-1)
    loss_p = parse(passive, reduction=reduction, ignore_index=-1)
    apl = ActivePassiveLoss(loss_a, loss_p, alpha=2, beta=0.3, reduction=reduction, ignore_index=-1)
    assert_close(apl(logits, target), 2 * loss_a(logits, target) + 0.3 * loss_p(logits, target))


@pytest.mark.parametrize(("active", "passive"), PAIRS)
def test_a_robust_pair_is_robust_and_passive(active: str, passive: str) -> None:
    known = ActivePassiveLoss(parse(active), parse(passive), alpha=2, beta=0.3).properties(10)
    sums = [KNOWN[active].class_sum, KNOWN[passive].class_sum]
    assert sums[0] is not None
    assert sums[1] is not None
    assert known.kind == "passive"
    assert known.class_sum == pytest.approx(2 * sums[0] + 0.3 * sums[1])


def test_the_studys_four_pairs_are_among_them() -> None:
    assert {("nce", "mae"), ("nce", "rce"), ("nfl", "mae"), ("nfl", "rce")} <= set(PAIRS)


def test_a_sum_may_have_any_terms(logits: Tensor, target: Tensor) -> None:
    names, weights = ["ce", "mae", "mae", "nfl"], [0.1, 1, 2, 3]
    total = WeightedSum([parse(name) for name in names], weights)
    expected = sum(w * parse(name)(logits, target) for w, name in zip(weights, names, strict=True))
    assert_close(total(logits, target), expected)


def test_only_the_sums_own_reduction_counts(logits: Tensor, target: Tensor) -> None:
    odd = [parse("nce", reduction="sum"), parse("mae", reduction="none")]
    plain = parse("nce + mae")
    assert torch.equal(ActivePassiveLoss(*odd)(logits, target), plain(logits, target))


# ----------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("active", "passive", "fault"),
    [
        ("ce", "mae", "must be robust and active, but ce is not robust: normalize it"),
        ("fl", "rce", r"must be robust and active, but fl\(gamma=0.5\) is not robust: normalize it"),
        ("mae", "nce", "must be robust and active, but mae is passive, not active"),
        ("mae", "rce", "must be robust and active, but mae is passive, not active"),
        ("nce", "nfl", r"must be robust and passive, but nfl\(gamma=0.5\) is active, not passive"),
        ("nce", "ce", "must be robust and passive, but ce is active, not passive"),
        ("nce", "ce + mae", r"must be robust and passive, but ce \+ mae is not robust: normalize it"),
    ],
)
def test_a_pair_that_is_no_robust_active_and_passive_is_refused(
    active: str, passive: str, fault: str, logits: Tensor, target: Tensor
) -> None:
    with pytest.raises(NoiseproofError, match=fault + r" \(strict=False allows any pair\)"):
        ActivePassiveLoss(parse(active), parse(passive))
    allowed = ActivePassiveLoss(parse(active), parse(passive), strict=False)
    assert_close(allowed(logits, target), parse(active)(logits, target) + parse(passive)(logits, target))


def test_a_normalized_or_summed_loss_has_a_role_too() -> None:
    apl = ActivePassiveLoss(NormalizedLoss(parse("fl(gamma=2)")), parse("mae + nrce"))
    assert apl.properties(10).robust


@pytest.mark.parametrize("weight", BAD_WEIGHTS)
@pytest.mark.parametrize("strict", [True, False])
def test_weights_are_finite_numbers_above_0(weight: float, strict: bool) -> None:
    nce, mae = parse("nce"), parse("mae")
    with pytest.raises(NoiseproofError, match=r"^the weight of nce must be a number > 0, got "):
        ActivePassiveLoss(nce, mae, alpha=weight, strict=strict)
    with pytest.raises(NoiseproofError, match=r"^the weight of mae must be a number > 0, got "):
        ActivePassiveLoss(nce, mae, beta=weight, strict=strict)
    with pytest.raises(NoiseproofError, match=r"^the weight of mae must be a number > 0, got "):
        WeightedSum([nce, mae], [1, weight])


def test_a_sum_needs_one_weight_per_term() -> None:
    nce = parse("nce")
    with pytest.raises(NoiseproofError, match="one weight per term, got 0 terms and 0 weights"):
        WeightedSum([], [])
    with pytest.raises(NoiseproofError, match="one weight per term, got 2 terms and 1 weights"):
        WeightedSum([nce, nce], [1])
    with pytest.raises(NoiseproofError, match="only a noiseproof Loss can be summed, got CrossEntropyLoss"):
        WeightedSum([torch.nn.CrossEntropyLoss()], [1])  # type: ignore[list-item]


WHOLES: list[Callable[[Any], Loss]] = [
    lambda part: WeightedSum([part], [1]),
    NormalizedLoss,
    lambda part: ForwardCorrection(part, "none"),
]


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ("nce", "the text 'nce'; losses.parse('nce') reads it"),
        (MeanAbsoluteError, "the class MeanAbsoluteError; MeanAbsoluteError() makes a loss"),
    ],
)
@pytest.mark.parametrize("whole", WHOLES)
def test_what_is_nearly_a_loss_is_named_with_what_makes_it_one(
    given: Any, instead: str, whole: Callable[[Any], Loss]
) -> None:
    message = f"^only a noiseproof Loss can be [a-z]+, got {re.escape(instead)}$"
    with pytest.raises(NoiseproofError, match=message):
        whole(given)


# ----------------------------------------------------------------------------------------- attributes


def test_an_apl_knows_its_parts() -> None:
    nfl, rce = parse("nfl"), parse("rce")
    apl = ActivePassiveLoss(nfl, rce, alpha=0.5, beta=3)
    assert apl.active is nfl
    assert apl.passive is rce
    assert (apl.alpha, apl.beta) == (0.5, 3)
    assert apl.weighted == [(0.5, nfl), (3, rce)]


def test_a_sum_is_a_module_of_modules() -> None:
    apl: Loss = parse("nce + mae")
    assert [type(m).__name__ for m in apl.modules() if isinstance(m, Loss)] == [
        "ActivePassiveLoss",
        "NormalizedCrossEntropy",
        "CrossEntropy",
        "MeanAbsoluteError",
    ]
    assert list(apl.parameters()) == []
    assert apl.state_dict() == {}
