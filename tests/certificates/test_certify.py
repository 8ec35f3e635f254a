"""What a certificate says: right for losses whose answers are known, and for a user's own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import noiseproof
from noiseproof.certificates import Certificate, certify, refuted_claims
from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE, Properties, parse

NAMES = pytest.mark.parametrize("name", CATALOGUE)


@NAMES
def test_what_is_promised_is_seen_in_the_experiment(name: str) -> None:
    found = certify(name, 5)
    step = 0.05
    if found.constant_sum:  # Lemma 1 holds for any set of functions
        assert found.symmetric.agrees_up_to > found.symmetric_rate - step - 1e-9
    assert found.asymmetric.agrees_up_to > found.asymmetric_rate - step - 1e-9


def test_an_unrobust_loss_is_moved_by_little_noise() -> None:
    for name in ("ce", "fl", "sce", "ls", "bitempered", "nl"):
        assert certify(name, 5).symmetric.agrees_up_to <= 0.1, name


def test_a_constant_sum_is_not_enough_against_asymmetric_noise() -> None:
    nce, mae = certify("nce"), certify("mae")
    assert nce.constant_sum
    assert (nce.asymmetric_rate, nce.asymmetric.agrees_up_to) == (0, 0)  # above 1/(K - 1), so no Lemma 2
    assert (mae.asymmetric_rate, mae.asymmetric.agrees_up_to) == (0.5, 0.45)  # at 0.5 labels tell nothing


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("mae", 1),
        ("agce(a=6, q=1.5)", 1),
        ("agce(a=0.6, q=0.6)", (0.6 / 1.6) ** 0.4),
        ("aul(a=6.3, q=1.5)", (5.3 / 6.3) ** 0.5),
        ("aul(a=3, q=0.1)", 1),
        ("ael(a=2.5)", math.exp(-0.4)),
        ("tce(t=6)", 1 / 6),
        ("gce(q=0.9)", 0),
        ("ce", 0),
    ],
)
def test_asymmetry_ratios_are_those_of_zhou_et_al(text: str, ratio: float) -> None:
    found = certify(text, 4)
    assert found.label_alone
    assert found.asymmetry == pytest.approx(ratio, abs=1e-4)
    assert found.asymmetric_rate == pytest.approx(ratio / (1 + ratio), abs=1e-4)
    assert found.symmetric_rate == pytest.approx(3 * ratio / (1 + 3 * ratio), abs=1e-3)


def test_forward_correction_is_tolerant_up_to_the_noise_that_it_corrects() -> None:
    assert certify("forward(ce, noise='symmetric:0.4')").symmetric_rate == pytest.approx(0.4, abs=1e-3)


def test_a_sum_is_promised_what_its_terms_are() -> None:
    assert certify("nce + agce(a=6, q=1.5)").symmetric_rate == pytest.approx(0.9)  # Lemma 3
    assert certify("nce + ce", 4).symmetric_rate == 0
    assert certify("mae + agce(a=6, q=1.5)", 4).asymmetric_rate == pytest.approx(0.5)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_forces_are_the_gradients(classes: int) -> None:
    ce, mae = certify("ce", classes).gradients, certify("mae", classes).gradients
    for p, right, wrong in zip(ce.p, ce.right, ce.wrong, strict=True):
        assert right == pytest.approx(1 - p)
        assert wrong == pytest.approx(p)
    for p, right, wrong in zip(mae.p, mae.right, mae.wrong, strict=True):
        assert right == pytest.approx(2 * p * (1 - p))
        assert wrong == pytest.approx(2 * p * (1 - p) / (classes - 1))


def test_an_infinite_range_and_an_interior_minimum_are_found() -> None:
    found = certify("ls(epsilon=0.3)", 3)
    assert found.upper.unbounded
    assert found.lower.value == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.1)), abs=1e-6)
    label = torch.tensor(found.lower.logits).softmax(0)[found.lower.column].item()
    assert label == pytest.approx(0.8, abs=1e-3)
    assert certify("bitempered(t1=1, t2=1.2)", 3).upper.unbounded  # only as the logarithm of the logits
    assert not certify("nce", 3).upper.unbounded


def test_the_extremes_are_where_they_are_said_to_be() -> None:
    found = certify("nce + 2*gce", 6)
    values = parse("nce + 2*gce").per_class
    for extreme in (found.lower, found.upper):
        at = torch.tensor([extreme.logits], dtype=torch.float64).log_softmax(-1)
        assert values(at)[0, extreme.column].item() == pytest.approx(extreme.value, abs=1e-12)


def test_it_is_the_same_each_time_and_touches_no_global_state() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert certify("ngce", 4) == certify("ngce", 4)
    assert torch.equal(before, torch.get_rng_state())


# ------------------------------------------------------------------------------------ claims refuted


@pytest.mark.parametrize(
    ("text", "false", "what"),
    [
        ("mae", {"kind": "active"}, "kind: claimed active, computed passive"),
        ("mae", {"class_sum": None}, "sum over labels: claimed not constant, computed 18"),
        ("mae", {"class_sum": 17.0}, "sum over labels: claimed 17.0, computed 18"),
        ("mae", {"upper": 1.0}, "upper bound: claimed 1.0, computed 2"),
        ("mae", {"upper": 3.0}, "upper bound: claimed 3.0, the search reached only 2"),
        ("mae", {"lower": -1.0}, "lower bound: claimed -1.0, the search reached only 0"),
        ("mae", {"asymmetry": 0.5}, "asymmetry: claimed 0.5, computed 1"),
        ("ce", {"class_sum": 9.0}, "sum over labels: claimed 9.0, computed"),
        ("ce", {"upper": 100.0}, "upper bound: claimed 100.0, computed inf"),
        ("gce", {"upper": math.inf}, "upper bound: claimed inf, the search reached only 1.42"),
        ("gce", {"asymmetry": 0.3}, "asymmetry: claimed 0.3, computed 0"),
        ("nce", {"asymmetry": 1.0}, "asymmetry: claimed 1.0, computed no function of p_y alone"),
    ],
)
def test_a_false_claim_is_refuted(text: str, false: dict[str, object], what: str) -> None:
    loss = parse(text)
    refuted = refuted_claims(replace(loss.properties(10), **false), certify(loss, 10))  # type: ignore[arg-type]
    assert len(refuted) == 1
    assert refuted[0].startswith(what)


def test_loose_bounds_are_a_fault_only_where_they_claim_to_be_tight() -> None:
    loose, found = Properties("passive", -1.0, 3.0, class_sum=18.0, asymmetry=0.5), certify("mae")
    assert len(refuted_claims(loose, found)) == 3
    assert refuted_claims(loose, found, tight=False) == []
    assert len(refuted_claims(replace(loose, upper=1.9), found, tight=False)) == 1


# -------------------------------------------------------------------------------------- a user's own


def half_mae(logits: Tensor, target: Tensor) -> Tensor:
    return 1 - logits.softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)


def half_mae_mean(logits: Tensor, target: Tensor) -> Tensor:
    return half_mae(logits, target).mean()


def half_mae_in_a_loop(logits: Tensor, target: Tensor) -> Tensor:
    return torch.stack([1 - row.softmax(0)[int(k)] for row, k in zip(logits, target, strict=True)]).mean()


@pytest.mark.parametrize("loss", [half_mae, half_mae_mean, half_mae_in_a_loop])
def test_a_function_is_certified_however_it_reduces(
    loss: Callable[[Tensor, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noiseproof.certificates.experiment.RANDOM_FUNCTIONS", 20)
    monkeypatch.setattr("noiseproof.certificates.extremes.STEPS", 5)
    found = certify(loss, 3)
    assert found.loss == loss.__name__
    assert found.kind is None
    assert found.constant_sum
    assert found.least_sum.value == pytest.approx(2)
    assert found.asymmetry == pytest.approx(1)
    assert found.symmetric_rate == pytest.approx(2 / 3)


def test_a_module_is_asked_for_each_sample_and_stays_as_it_was() -> None:
    module = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    found, ours = certify(module, 4), certify("ls(epsilon=0.1)", 4)
    assert module.reduction == "mean"
    assert found.lower.value == pytest.approx(ours.lower.value, abs=1e-6)
    assert found.gradients.right == pytest.approx(ours.gradients.right)
    assert found.symmetric == ours.symmetric


def test_certify_is_at_the_top_of_the_package() -> None:
    assert noiseproof.certify is certify


@pytest.mark.parametrize(
    ("loss", "classes", "message"),
    [
        ("ncee", 10, "did you mean 'nce'"),
        ("nce", 1, "num_classes must be a whole number from 2 to 1000, got 1"),
        ("nce", 2.5, "num_classes must be a whole number from 2 to 1000, got 2.5"),
        ("nce", True, "got True"),
        (7, 10, "a loss must be callable as loss\\(logits, target\\), got int"),
        (lambda logits, target: 3.0, 10, "a loss must return a tensor, got float"),
        (
            lambda logits, target: logits,
            10,
            r"one value a sample, \(3,\) for logits \(3, 10\), .*; got shape \(3, 10\)",
        ),
        (lambda logits, target: logits.sum(1) * torch.nan, 10, "the loss is nan at the logits"),
        ("nnce(p_min=0.2)", 10, "p_min .* must be below 1/K"),
    ],
)
def test_what_is_no_loss_is_refused(loss: object, classes: int, message: str) -> None:
    with pytest.raises(NoiseproofError, match=message):
        certify(loss, classes)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------- as output


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return certify("ce", 3)


def test_as_json_it_is_strict_and_complete(certificate: Certificate) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads(certificate.as_json(), parse_constant=refuse)
    assert data["sum_spread"] is None  # infinite
    assert data["constant_sum"] is False
    assert len(data["gradients"]["right"]) == len(data["gradients"]["p"]) == 200  # with 1/K
    assert data["upper"]["unbounded"] is True


def test_as_text_it_says_what_it_found(certificate: Certificate) -> None:
    assert str(certificate).splitlines()[0] == "ce, 3 classes"
    lines = dict(certificate.lines())
    assert lines["range"] == "0 to infinity"
    assert lines["sum over labels"] == "not constant: 3.296 to infinity"
    assert lines["symmetric noise"].startswith("no promise")
    assert lines["right label pulls"] == "0.667, 0.5, 0.05 at p_y = 0.33, 0.5, 0.95"


def test_cross_entropy_of_pytorch_is_cross_entropy(certificate: Certificate) -> None:
    theirs = certify(F.cross_entropy, 3)
    assert theirs.loss == "cross_entropy"
    assert dict(theirs.lines()) | {"kind": "", "worst logits": ""} == dict(certificate.lines()) | {
        "kind": "",
        "worst logits": "",
    }
