"""What each loss claims about itself (`Loss.properties`), checked by computation."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from noiseproof.certificates import certify, refuted_claims
from noiseproof.losses import CATALOGUE, Loss
from noiseproof.losses.evaluation import Options

CLASSES = pytest.mark.parametrize("classes", [2, 3, 10])


def values_on_every_label(loss: Loss, classes: int) -> Tensor:
    """The loss at random logits and at ever more extreme ones: (samples, classes)."""
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(200, classes, generator=generator, dtype=torch.float64)
    one_hot = torch.eye(classes, dtype=torch.float64)
    samples = [scale * random for scale in (0.1, 1, 10, 100)]
    samples += [scale * one_hot for scale in (0, 1, -1, 1e8, -1e8)]
    return loss.per_class(torch.cat(samples).log_softmax(-1))


@CLASSES
def test_bounds_hold(loss: Loss, classes: int) -> None:
    known = loss.properties(classes)
    values = values_on_every_label(loss, classes)
    assert values.min().item() >= known.lower - 1e-12
    assert values.max().item() <= known.upper + 1e-12


@pytest.fixture
def quick_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps of the optimiser, and hardly any experiment: it has no part in the claims."""
    monkeypatch.setattr("noiseproof.certificates.extremes.STEPS", 120)
    monkeypatch.setattr("noiseproof.certificates.experiment.RANDOM_FUNCTIONS", 4)


@pytest.mark.usefixtures("quick_search")
def test_no_claim_is_refuted_by_its_certificate(registered: Loss) -> None:
    # an optimiser looks for the extremes, so bounds are the infimum and the supremum
    assert refuted_claims(registered.properties(3), certify(registered, 3)) == []


@pytest.mark.usefixtures("quick_search")
def test_no_claim_of_a_sum_or_normalization_is_refuted(composed: Loss) -> None:
    assert refuted_claims(composed.properties(4), certify(composed, 4), tight=False) == []


@CLASSES
def test_the_sum_over_labels_is_constant_just_where_that_is_claimed(loss: Loss, classes: int) -> None:
    known = loss.properties(classes)
    sums = values_on_every_label(loss, classes).sum(-1)
    spread = (sums.max() - sums.min()).item()
    if known.class_sum is None:
        assert spread > 1e-3
    else:
        assert spread < 1e-9
        assert sums[0].item() == pytest.approx(known.class_sum, rel=1e-12)
    assert known.robust == (spread < 1e-9)


@pytest.mark.parametrize("shape", [(50, 2), (50, 10)], ids=str)
def test_kind_follows_definitions_1_and_2(
    loss: Loss, logits: Tensor, target: Tensor, reference: Callable[..., Tensor]
) -> None:
    terms = reference(loss, logits, target)
    of_other_classes = terms.scatter(-1, target[:, None], 0.0)
    passive = (of_other_classes != 0).any(-1)
    if loss.properties(logits.shape[1]).kind == "active":
        assert not passive.any()
    else:  # a normalized negative loss has no term where the other classes are below p_min
        assert passive.double().mean() > 0.5


@pytest.mark.parametrize("shape", [(50, 2), (50, 10)], ids=str)
def test_the_terms_are_the_definitions(
    loss: Loss, logits: Tensor, target: Tensor, reference: Callable[..., Tensor]
) -> None:
    terms = loss.class_terms(logits.log_softmax(-1), target)
    assert_close(terms, reference(loss, logits, target), rtol=1e-9, atol=1e-12)


def test_the_study_calls_these_active_and_these_robust() -> None:
    known = {name: cls().properties(10) for name, cls in CATALOGUE.items()}
    study = ["ce", "fl", "mae", "rce", "nce", "nfl", "nmae", "nrce"]
    assert [name for name in study if known[name].kind == "active"] == ["ce", "fl", "nce", "nfl"]
    assert [name for name in study if not known[name].robust] == ["ce", "fl"]


def test_every_loss_says_what_it_is() -> None:
    classes = CATALOGUE.values()
    assert [cls.name for cls in classes] == list(CATALOGUE)
    assert len({cls.title for cls in classes}) == len(CATALOGUE)
    assert all("eq. " in cls.source or " 20" in cls.source for cls in classes)
    assert all(cls.equation for cls in classes)


def test_every_argument_is_named_and_every_hyperparameter_an_attribute() -> None:
    for cls in CATALOGUE.values():
        parameters = inspect.signature(cls).parameters.values()
        own = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in Options.__annotations__]
        options = [p.kind for p in parameters if p not in own]
        assert options in ([inspect.Parameter.VAR_KEYWORD], [inspect.Parameter.KEYWORD_ONLY] * 4), cls.name
        assert cls().hyperparameters == {p.name: p.default for p in own}
