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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer steps of the optimiser, and fewer functions in the experiment."""
    monkeypatch.setattr("noiseproof.certificates.extremes.STEPS", 60)
    monkeypatch.setattr("noiseproof.certificates.experiment.RANDOM_FUNCTIONS", 200)


@NAMES
def test_what_is_promised_is_seen_in_the_experiment(name: str) -> None:
    found = certify(name, 5)
    step = 0.05
    if found.constant_sum:  # Lemma 1 holds for any set of functions
        assert found.symmetric.agrees_up_to > found.symmetric_rate - step - 1e-9
    assert found.asymmetric.agrees_up_to > found.asymmetric_rate - step - 1e-9


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_sum_is_promised_what_its_terms_are() -> None:
    assert certify("nce + agce(a=6, q=1.5)").symmetric_rate == pytest.approx(0.9)  # Lemma 3
    assert certify("nce + ce", 4).symmetric_rate == 0
    assert certify("mae + agce(a=6, q=1.5)", 4).asymmetric_rate == pytest.approx(0.5)


@pytest.mark.usefixtures("quick")
def test_forces_are_given_just_where_they_are_said_to_be() -> None:
    assert certify("ce", 1000).gradients.at(1 / 1000) == pytest.approx((1 - 1 / 1000, 1 / 1000))
    assert dict(certify("ce", 7).lines())["right label pulls"] == "0.857, 0.5, 0.05 at p_y = 0.14, 0.5, 0.95"


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
        ("mae", {"class_sum": None}, "sum over labels: claimed not constant, the search reached only 18"),
        ("mae", {"class_sum": 17.0}, "sum over labels: claimed 17.0, computed 18"),
        ("mae", {"upper": 1.0}, "upper bound: claimed 1.0, computed 2"),
        ("mae", {"upper": 3.0}, "upper bound: claimed 3.0, the search reached only 2"),
        ("mae", {"lower": -1.0}, "lower bound: claimed -1.0, the search reached only 0"),
        ("mae", {"asymmetry": 0.5}, "asymmetry: claimed 0.5, the search reached only 1"),
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


# ------------------------------------------------------------------------------ at its own scale


def probability(logits: Tensor, target: Tensor) -> Tensor:
    return logits.softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)


def scaled(loss: Callable[[Tensor, Tensor], Tensor], factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda logits, target: factor * loss(logits, target)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("factor", [1e-9, 1e6, 1e9], ids=str)
@pytest.mark.parametrize("text", ["nce + mae", "ce", "agce(a=6, q=1.5)"])
@pytest.mark.parametrize("as_function", [False, True], ids=["text", "function"])
def test_a_scaled_loss_is_certified_alike(text: str, factor: float, as_function: bool) -> None:
    terms = " + ".join(f"{factor}*{term}" for term in text.split(" + "))
    plain: Callable[[Tensor, Tensor], Tensor] = parse(text, reduction="none")
    of_scaled = certify(scaled(plain, factor) if as_function else terms, 4)
    found = certify(scaled(plain, 1) if as_function else text, 4)
    for name in ("lower", "upper", "least_sum", "greatest_sum"):
        ours, theirs = getattr(of_scaled, name), getattr(found, name)
        assert ours.unbounded == theirs.unbounded, name
        assert ours.unbounded or ours.value / factor == pytest.approx(theirs.value, rel=1e-5, abs=1e-6), name
    assert torch.tensor(of_scaled.gradients.right) / factor == pytest.approx(
        torch.tensor(found.gradients.right)
    )
    alike = ("kind", "constant_sum", "label_alone", "symmetric", "asymmetric", "least_at_label")
    assert [getattr(of_scaled, name) for name in alike] == [getattr(found, name) for name in alike]
    for name in ("asymmetry", "symmetric_rate", "asymmetric_rate"):
        assert getattr(of_scaled, name) == pytest.approx(getattr(found, name)), name


@pytest.mark.usefixtures("quick")
def test_what_is_small_beside_the_loss_is_shown_as_0() -> None:
    lines = dict(certify("1e-9*mae", 4).lines())
    assert lines["range"] == "0 to 2e-09"
    assert lines["sum over labels"].startswith("6e-09, whatever the logits")
    assert lines["right label pulls"].startswith("3.75e-10, 5e-10, 9.5e-11")
    assert refuted_claims(parse("1e-9*mae").properties(4), certify("1e-9*mae", 4)) == []
    halved = replace(parse("1e-9*mae").properties(4), upper=1e-9)
    assert refuted_claims(halved, certify("1e-9*mae", 4)) == ["upper bound: claimed 1e-09, computed 2e-09"]


@pytest.mark.usefixtures("quick")
def test_great_losses_that_cancel_in_the_sum_make_it_constant() -> None:
    def unhinged(logits: Tensor, target: Tensor) -> Tensor:
        return logits.mean(-1) - logits.gather(-1, target.unsqueeze(-1)).squeeze(-1)

    found = certify(unhinged, 4)
    assert found.upper.unbounded
    assert found.constant_sum
    assert not certify(lambda z, y: unhinged(z, y) + 0.05 * probability(z, y) ** 2, 4).constant_sum


# -------------------------------------------------------------------------- losses that are no good


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "wrong",
    [
        probability,  # though it adds up to 1
        lambda z, y: -F.cross_entropy(z, y, reduction="none"),
        lambda z, y: -parse("nce", reduction="none")(z, y),
    ],
    ids=["p_y", "-ce", "-nce"],
)
def test_a_loss_that_is_least_at_a_wrong_class_is_promised_nothing(
    wrong: Callable[[Tensor, Tensor], Tensor],
) -> None:
    found = certify(wrong, 4)
    assert not found.least_at_label
    assert (found.symmetric_rate, found.asymmetric_rate, found.asymmetry or 0.0) == (0, 0, 0)
    lines = dict(found.lines())
    assert lines["minimum"].startswith("at a wrong class")
    assert lines["symmetric noise"].startswith("no promise")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["nce", "ls", "nl", "backward(ce, noise='symmetric:0.4')"])
def test_the_losses_that_are_for_use_are_least_at_their_label(name: str) -> None:
    found = certify(name, 4)
    assert found.least_at_label
    assert "minimum" not in dict(found.lines())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "loss",
    [lambda z, y: (probability(z, y) - 0.5) ** 2, lambda z, y: (probability(z, y) - 0.99).abs()],
    ids=["least at 0.5", "rises from 0.99"],
)
def test_a_loss_that_does_not_fall_throughout_has_no_asymmetry(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    found = certify(loss, 4)
    assert found.label_alone
    assert (found.asymmetry, found.symmetric_rate, found.asymmetric_rate) == (0, 0, 0)


@pytest.mark.usefixtures("quick")
def test_a_constant_is_promised_nothing() -> None:
    found = certify(lambda z, y: 0 * probability(z, y) + 3, 4)
    assert (found.asymmetry, found.symmetric_rate, found.asymmetric_rate) == (0, 0, 0)
    assert (found.symmetric.agrees_up_to, found.asymmetric.agrees_up_to) == (0, 0)


def test_where_noisy_labels_tell_nothing_there_is_no_agreement() -> None:
    assert certify("nce + mae").symmetric.agrees_up_to == 0.85  # at 0.9 all functions have the same risk
    assert certify("mae", 2).symmetric.agrees_up_to == 0.45


# ------------------------------------------------------------------------------------ class weights


@pytest.mark.usefixtures("quick")
def test_class_weights_are_certified_with_the_loss() -> None:
    weight = torch.tensor([1.0, 1, 1, 1, 1, 3])
    found, plain = certify(parse("mae", weight=weight), 6), certify("mae", 6)
    assert found.upper.value == pytest.approx(6)
    assert found.upper.column == 5
    assert not found.constant_sum
    assert not found.label_alone  # it depends on which label it is, too
    assert found.asymmetry is None
    assert (found.symmetric_rate, found.asymmetric_rate) == (0, 0)
    assert found.kind == plain.kind
    assert plain.symmetric_rate == pytest.approx(5 / 6)


@pytest.mark.usefixtures("quick")
def test_equal_class_weights_are_a_scale() -> None:
    found = certify(parse("nce + agce(a=6, q=1.5)", weight=torch.full((4,), 2.0)), 4)
    plain = certify("nce + agce(a=6, q=1.5)", 4)
    assert found.upper.value == pytest.approx(2 * plain.upper.value)
    assert found.symmetric_rate == pytest.approx(plain.symmetric_rate) == pytest.approx(0.75)


@pytest.mark.usefixtures("quick")
def test_weights_of_a_sum_count_in_the_lemma_for_its_terms() -> None:
    found = certify(parse("nce + mae", weight=torch.tensor([1.0, 2, 2, 2])), 4)
    assert (found.constant_sum, found.symmetric_rate, found.asymmetric_rate) == (False, 0, 0)


@pytest.mark.usefixtures("quick")
def test_labels_that_do_not_count_have_no_loss() -> None:
    found = certify(parse("ce", weight=torch.tensor([0.0, 1, 1])), 3)
    assert certify(parse("ce", ignore_index=0), 3).gradients == found.gradients
    assert max(map(abs, found.gradients.right)) == 0  # of class 0
    assert found.upper.column != 0


@pytest.mark.usefixtures("quick")
def test_pytorchs_class_weights_are_ours() -> None:
    weight = torch.tensor([1.0, 2.0, 4.0])
    theirs = certify(torch.nn.CrossEntropyLoss(weight=weight), 3)
    ours = certify(parse("ce", weight=weight), 3)
    assert theirs.least_sum.value == pytest.approx(ours.least_sum.value)
    assert (theirs.symmetric, theirs.asymmetric) == (ours.symmetric, ours.asymmetric)


def test_a_weight_of_another_length_is_refused() -> None:
    with pytest.raises(NoiseproofError, match=r"weight must be \(10,\), a factor for each class, got \(3,\)"):
        certify(parse("ce", weight=torch.ones(3)))


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


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_a_loss_for_one_number_of_classes_is_asked_with_that(classes: int) -> None:
    mixing = torch.full((classes, classes), 0.1 / classes, dtype=torch.float64) + 0.9 * torch.eye(classes)

    def forward(logits: Tensor, target: Tensor) -> Tensor:
        return -(logits.softmax(-1) @ mixing).gather(-1, target.unsqueeze(-1)).squeeze(-1).log()

    assert certify(forward, classes).upper.value == pytest.approx(-math.log(0.1 / classes))


class Counting(torch.nn.Module):
    """A module with a parameter, which counts its calls and has a criterion that gives one number."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))
        self.register_buffer("priors", torch.ones(3))
        self.criterion = torch.nn.CrossEntropyLoss()
        self.calls = 0

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        value: Tensor = self.criterion(logits @ torch.diag(self.get_buffer("priors")), target)
        return self.factor * value


@pytest.mark.usefixtures("quick")
def test_a_module_is_certified_in_double_precision_and_stays_as_it_was() -> None:
    module = Counting()
    found = certify(module, 3)
    assert found.least_sum.value == pytest.approx(6 * math.log(3))
    assert (module.calls, module.factor.grad, module.factor.dtype) == (0, None, torch.float32)


class FixedMean(torch.nn.Module):
    """A module whose ``reduction`` can be read but not set."""

    @property
    def reduction(self) -> str:
        return "mean"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return half_mae_mean(logits, target)


@pytest.mark.usefixtures("quick")
def test_a_module_whose_reduction_is_fixed_is_asked_sample_by_sample() -> None:
    assert replace(certify(FixedMean(), 3), loss="half_mae") == certify(half_mae, 3)


def test_a_fault_in_a_users_loss_is_raised_as_it_is() -> None:
    def careless(logits: Tensor, target: Tensor) -> Tensor:
        return logits @ torch.ones(7, 1, dtype=logits.dtype)

    with pytest.raises(RuntimeError, match="cannot be multiplied") as raised:
        certify(careless, 4)
    assert raised.value.__suppress_context__


@pytest.mark.usefixtures("quick")
def test_certifying_needs_no_gradients_of_the_caller() -> None:
    expected = certify(half_mae, 3)
    with torch.no_grad():
        assert certify(half_mae, 3) == expected
    with torch.inference_mode():
        assert certify(half_mae, 3) == expected


TO_SINGLE = torch.eye(4)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "loss",
    [
        lambda z, y: half_mae(z @ TO_SINGLE, y),
        lambda z, y: half_mae(z.float(), y),
        lambda z, y: half_mae(z.float(), y).mean(),
    ],
    ids=["needs it", "gives it", "gives its mean"],
)
def test_a_loss_in_single_precision_is_judged_by_its_digits(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    found, exact = certify(loss, 4), certify(half_mae, 4)
    assert found.constant_sum
    assert found.label_alone
    assert found.asymmetry == pytest.approx(1, abs=1e-3)
    assert (found.symmetric, found.asymmetric) == (exact.symmetric, exact.asymmetric)


@pytest.mark.usefixtures("quick")
def test_a_loss_of_steps_has_no_forces() -> None:
    found = certify(lambda logits, target: logits.argmax(-1) != target, 4)
    assert found.constant_sum
    assert (found.lower.value, found.upper.value, found.least_sum.value) == (0, 1, 3)
    assert set(found.gradients.right) == {0}
    assert found.symmetric.agrees_up_to == 0.7


@pytest.mark.usefixtures("quick")
def test_logits_at_which_a_loss_is_no_number_are_told() -> None:
    def careless(logits: Tensor, target: Tensor) -> Tensor:
        log_p = logits.softmax(-1).log()  # minus infinity for p that vanishes
        return log_p.gather(-1, target.unsqueeze(-1)).squeeze(-1) / log_p.sum(-1)

    found = certify(careless, 4)
    assert found.not_a_number is not None
    at = torch.tensor([found.not_a_number], dtype=torch.float64).expand(4, -1)
    assert careless(at, torch.arange(4)).isnan().any()
    assert dict(found.lines())["not a number"].startswith("at the logits (")
    assert found.constant_sum
    assert certify("nce", 4).not_a_number is None


@pytest.mark.usefixtures("quick")
def test_functions_on_which_a_loss_is_no_number_are_left_out_of_the_experiment() -> None:
    def near_only(logits: Tensor, target: Tensor) -> Tensor:
        far = logits.detach().abs().amax(-1) > 20
        return half_mae(logits, target).masked_fill(far, torch.nan)

    assert certify(near_only, 4).symmetric.agrees_up_to == 0.7


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
        (torch.nn.CrossEntropyLoss, 10, r"must be made before it is certified: write CrossEntropyLoss\(\)"),
        (lambda logits, target: 3.0, 10, "a loss must return a tensor, got float"),
        (
            lambda logits, target: logits,
            10,
            r"one value a sample, \(3,\) for logits \(3, 10\), .*; got shape \(3, 10\)",
        ),
        (
            lambda logits, target: half_mae(logits.half(), target),
            10,
            "float32 or float64 .*, got torch.float16",
        ),
        (lambda logits, target: half_mae(logits, target) * torch.rand(()), 10, "the same each time"),
        (
            lambda logits, target: half_mae(logits, target) / len(target),
            10,
            "not depend on the other samples",
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
