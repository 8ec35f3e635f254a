"""Eq. 5: what dividing a loss by its sum over all labels gives, and what may be divided."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from noiseproof.certificates.extremes import extremes
from noiseproof.certificates.values import values_by_label
from noiseproof.errors import NoiseproofError
from noiseproof.losses import BackwardCorrection, Loss, NormalizedLoss, Properties, WeightedSum, parse
from noiseproof.losses.base import ClasswiseLoss
from noiseproof.losses.formula import OnLabel


class OnlyPerSample(Loss):
    """Another loss, of which only ``per_sample`` is known: what a user's first own loss looks like."""

    name = "own"
    title = "a user's own loss"
    source = "none"

    def __init__(self, inner: Loss) -> None:
        super().__init__()
        self.inner = inner

    def per_sample(self, log_p: Tensor, target: Tensor) -> Tensor:
        return self.inner.per_sample(log_p, target)

    def properties(self, num_classes: int) -> Properties:
        return self.inner.properties(num_classes)


@pytest.fixture
def log_p(logits: Tensor) -> Tensor:
    return logits.log_softmax(-1)


@pytest.mark.parametrize("shape", [(9, 2), (9, 10)], ids=str)
def test_closed_forms_equal_the_generic_form(
    normalized: NormalizedLoss, logits: Tensor, target: Tensor
) -> None:
    generic = NormalizedLoss(OnlyPerSample(normalized.loss), reduction="none")
    normalized.reduction = "none"
    assert_close(normalized(logits, target), generic(logits, target), rtol=1e-12, atol=0)


def test_per_class_is_per_sample_for_every_label(loss: Loss, log_p: Tensor) -> None:
    assert_close(loss.per_class(log_p), Loss.per_class(loss, log_p), rtol=1e-12, atol=1e-15)


def test_a_normalized_loss_sums_to_1_over_the_labels(normalized: Loss, logits: Tensor) -> None:
    normalized.reduction = "none"
    samples, classes = logits.shape
    over_labels = [normalized(logits, torch.full((samples,), k)) for k in range(classes)]
    assert_close(torch.stack(over_labels).sum(0), torch.ones(samples, dtype=torch.float64))


@pytest.mark.parametrize("text", ["ce", "mae", "0.1*ce + rce", "nce + mae", "2*nce", "nfl + nce"])
def test_any_loss_that_is_not_normalized_can_be(text: str, log_p: Tensor) -> None:
    inner = parse(text)
    values = NormalizedLoss(inner).per_class(log_p)
    assert_close(values.sum(-1), torch.ones(len(log_p), dtype=torch.float64))
    # eq. 5 divides every class of a sample by the same number
    ratio = inner.per_class(log_p) / values
    assert_close(ratio, ratio[:, :1].expand_as(ratio))


def test_a_weight_cancels(logits: Tensor, target: Tensor) -> None:
    weighted = NormalizedLoss(WeightedSum([parse("ce")], [7]))
    assert_close(weighted(logits, target), parse("nce")(logits, target))


def test_a_loss_is_normalized_only_once(normalized: Loss) -> None:
    with pytest.raises(NoiseproofError, match="is normalized already"):
        NormalizedLoss(normalized)
    with pytest.raises(NoiseproofError, match=r"normalized\(ce\) is normalized already"):
        NormalizedLoss(NormalizedLoss(parse("ce")))


def test_a_loss_without_values_per_class_is_refused() -> None:
    with pytest.raises(
        NoiseproofError, match=r"^only a noiseproof Loss can be normalized, got CrossEntropyLoss$"
    ):
        NormalizedLoss(torch.nn.CrossEntropyLoss())  # type: ignore[arg-type]


def test_a_loss_that_may_be_negative_is_refused() -> None:
    with pytest.raises(
        NoiseproofError,
        match=r"nowhere negative .* but backward\(.*\) may fall to -inf: its sum .* might vanish",
    ):
        parse("normalized(backward(ce, noise='symmetric:0.4'))")
    for classes in (2, 14, 101):  # of a matrix, at its own number of classes
        matrix = 0.5 * torch.eye(classes) + 0.5 / classes
        with pytest.raises(NoiseproofError, match="may fall to -"):
            NormalizedLoss(BackwardCorrection(parse("mae"), matrix))
    with pytest.raises(NoiseproofError, match=r"backward.* may fall to -inf"):
        parse("normalized(ce + backward(ce, noise='symmetric:0.4'))")
    assert str(parse("normalized(forward(ce, noise='symmetric:0.4'))")).startswith("normalized(forward(")


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize(
    "text",
    ["fl(gamma=2)", "tce(t=3)", "agce", "agce(a=6, q=1.5)", "aul(a=1.5, q=0.5)", "ael", "js", "gce(q=0.1)"],
)
def test_the_bounds_of_a_normalized_function_of_p_y_are_exact(text: str, classes: int) -> None:
    loss = parse(f"normalized({text})")
    known = loss.properties(classes)
    lower, upper = extremes(values_by_label(loss, classes), classes)
    assert lower.value == pytest.approx(known.lower, rel=1e-6, abs=1e-9)
    assert upper.value == pytest.approx(known.upper, rel=1e-6)


def test_of_an_odd_function_the_bounds_are_only_safe() -> None:
    class Odd(ClasswiseLoss):
        """It falls with p, concave at first and then convex."""

        name, title, equation, source = "odd", "odd", "odd", "none"

        def formula(self) -> OnLabel:
            return OnLabel(lambda log_p: 1 - (3 * log_p.exp() ** 2 - 2 * log_p.exp() ** 3))

        def properties(self, num_classes: int) -> Properties:
            return Properties("active", 0.0, 1.0, class_sum=None)

    known = NormalizedLoss(Odd()).properties(6)
    assert (known.lower, known.upper) == (0, 1)


def test_the_inner_reduction_is_not_used(logits: Tensor, target: Tensor) -> None:
    inner = parse("ce", reduction="sum")
    assert_close(NormalizedLoss(inner)(logits, target), parse("nce")(logits, target))


@pytest.mark.parametrize("gamma", [300.0, 2000.0])
def test_a_great_gamma_does_not_make_the_quotient_0_over_0(gamma: float) -> None:
    flat = torch.zeros(1, 2)
    assert parse(f"nfl(gamma={gamma})")(flat, torch.tensor([0])).item() == pytest.approx(0.5)
