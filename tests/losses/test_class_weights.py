"""Class weights: a factor for each label's class, as torch's own, for every loss and by every path."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.testing import assert_close

from noiseproof.errors import NoiseproofError
from noiseproof.losses import (
    CATALOGUE,
    ActivePassiveLoss,
    CrossEntropy,
    ForwardCorrection,
    Loss,
    MeanAbsoluteError,
    NormalizedCrossEntropy,
    NormalizedFocalLoss,
    NormalizedLoss,
    WeightedSum,
    base,
    evaluation,
    functional,
    fused,
    parse,
    preset,
)
from noiseproof.losses.checks import Reduction

REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
WEIGHT = torch.tensor([0.5, 1.0, 0.0, 2.0, 3.5], dtype=torch.float64)

Evaluate = Callable[[Loss, Tensor, Tensor], tuple[Tensor, Tensor]]
FunctionOf = Callable[[str], Callable[..., Tensor]]


@pytest.fixture
def fused_in_blocks(monkeypatch: pytest.MonkeyPatch, value_and_gradient: Evaluate) -> Evaluate:
    """Evaluate in one fused pass, as large logits are, in blocks of three rows."""

    def evaluate(loss: Loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        with monkeypatch.context() as patch:
            patch.setattr(fused, "SMALLEST", 0)
            patch.setattr(fused, "SMALLEST_WITHOUT_SUMS", 0)
            patch.setattr(fused, "BLOCK", 3 * 5)
            return value_and_gradient(loss, logits, target)

    return evaluate


# ---------------------------------------------------------------------------------------------- torch's


@pytest.mark.parametrize("shape", [(5,), (16, 5), (3, 5, 4), (3, 5, 4, 2)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignore_index", [-100, 1])
def test_cross_entropy_is_torchs(
    logits: Tensor, target: Tensor, reduction: Reduction, ignore_index: int
) -> None:
    if target.dim() > 0:
        target[0] = ignore_index
    weight = WEIGHT + 0.25  # torch's mean over weights of 0 is NaN
    expected = torch_cross_entropy(
        logits, target, weight=weight, reduction=reduction, ignore_index=ignore_index
    )
    loss = CrossEntropy(weight=weight, reduction=reduction, ignore_index=ignore_index)
    assert_close(loss(logits, target), expected)
    found = functional.cross_entropy(
        logits, target, weight=weight, reduction=reduction, ignore_index=ignore_index
    )
    assert torch.equal(found, loss(logits, target))


def test_label_smoothing_weighs_the_labels_loss_not_each_classs_term(logits: Tensor, target: Tensor) -> None:
    # unlike torch, whose label_smoothing weighs the terms: the weight is the label's, for every loss
    values = functional.label_smoothing(logits, target, reduction="none")
    found = functional.label_smoothing(logits, target, weight=WEIGHT, reduction="none")
    assert_close(found, WEIGHT[target] * values)


# ------------------------------------------------------------------------------------- over the registry


def test_each_label_counts_by_its_class(loss: Loss, logits: Tensor, target: Tensor) -> None:
    target[::3] = loss.ignore_index
    factor = torch.where(target == loss.ignore_index, 0, WEIGHT[target.clamp(min=0)])
    loss.reduction = "none"
    expected = factor * loss(logits, target)
    loss.weight = WEIGHT
    values = loss(logits, target)
    assert_close(values, expected)
    loss.reduction = "sum"
    assert_close(loss(logits, target), values.sum())
    loss.reduction = "mean"
    assert_close(loss(logits, target), values.sum() / factor.sum())


def test_weights_of_1_change_nothing(logits: Tensor, target: Tensor, value_and_gradient: Evaluate) -> None:
    target[0] = -100
    for name in CATALOGUE:
        expected = value_and_gradient(parse(name), logits, target)
        found = value_and_gradient(parse(name, weight=torch.ones(5)), logits, target)
        assert_close(found, expected, msg=name)


@pytest.mark.parametrize("shape", [(3, 5, 4, 2)], ids=str)
def test_positions_of_an_image_are_samples(logits: Tensor, target: Tensor) -> None:
    rows = logits.permute(0, 2, 3, 1).reshape(-1, 5)
    for name in CATALOGUE:
        loss = parse(name, weight=WEIGHT)
        assert_close(loss(logits, target), loss(rows, target.flatten()), msg=name)


def test_function_equals_class(logits: Tensor, target: Tensor, function_of: FunctionOf) -> None:
    for name, cls in CATALOGUE.items():
        loss = cls(weight=WEIGHT)
        assert torch.equal(function_of(name)(logits, target, weight=WEIGHT), loss(logits, target)), name


# ------------------------------------------------------------------------------------------------ fused


def test_the_fused_pass_gives_what_the_plain_formulas_give(
    loss: Loss, logits: Tensor, target: Tensor, fused_in_blocks: Evaluate, value_and_gradient: Evaluate
) -> None:
    loss.weight = WEIGHT
    for ignored in (0, 5):
        target[:ignored] = loss.ignore_index
        for loss.reduction in REDUCTIONS:
            found, expected = fused_in_blocks(loss, logits, target), value_and_gradient(loss, logits, target)
            assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_the_fused_cross_entropy_is_torchs(
    logits: Tensor, target: Tensor, fused_in_blocks: Evaluate, value_and_gradient: Evaluate
) -> None:
    weight = WEIGHT + 0.25
    target[::4] = -100
    for reduction in REDUCTIONS:
        torchs = torch.nn.CrossEntropyLoss(weight=weight, reduction=reduction)
        found = fused_in_blocks(CrossEntropy(weight=weight, reduction=reduction), logits, target)
        assert_close(found, value_and_gradient(torchs, logits, target))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_weights_of_any_dtype_fit_logits_of_any(
    logits: Tensor,
    target: Tensor,
    dtype: torch.dtype,
    fused_in_blocks: Evaluate,
    value_and_gradient: Evaluate,
) -> None:
    for text in ("ce", "nce + mae"):
        exact, _ = value_and_gradient(parse(text, weight=WEIGHT), logits.to(dtype).double(), target)
        for weight in (WEIGHT, WEIGHT.float(), WEIGHT.half(), WEIGHT.bfloat16()):
            for evaluate in (value_and_gradient, fused_in_blocks):
                value, gradient = evaluate(parse(text, weight=weight), logits.to(dtype), target)
                assert value.dtype is gradient.dtype is dtype
                assert_close(value.double(), exact, rtol=max(torch.finfo(dtype).eps, 1e-5), atol=1e-6)


# ------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("shape", [(4, 5)], ids=str)
@pytest.mark.parametrize("text", ["ce", "nce + mae", "2*nfl + rce", "nl"])
def test_first_and_second_derivatives(text: str, logits: Tensor, target: Tensor) -> None:
    loss = parse(text, weight=WEIGHT)
    logits = (logits / 3).requires_grad_()
    assert torch.autograd.gradcheck(loss, (logits, target))
    assert torch.autograd.gradgradcheck(loss, (logits, target))


def test_func_grad_and_vmap_give_per_sample_gradients(
    logits: Tensor, target: Tensor, value_and_gradient: Evaluate
) -> None:
    loss = parse("nfl + mae", weight=WEIGHT, reduction="sum")
    one_by_one = [value_and_gradient(loss, z, y)[1] / 0.5 for z, y in zip(logits, target, strict=True)]
    assert_close(torch.func.vmap(torch.func.grad(loss))(logits, target), torch.stack(one_by_one))


# ------------------------------------------------------------------------------------------ weights of 0


def test_a_weight_of_0_gives_0_where_the_value_is_infinite(
    loss: Loss, logits: Tensor, target: Tensor, fused_in_blocks: Evaluate
) -> None:
    loss.weight = WEIGHT
    target[0] = 2
    expected = loss(logits, target)
    logits[0, 2] = -torch.inf
    assert_close(loss(logits, target), expected)
    assert_close(fused_in_blocks(loss, logits, target)[0], expected)


def test_a_weight_of_0_gives_no_gradient_where_cross_entropy_is_infinite(
    logits: Tensor, target: Tensor, fused_in_blocks: Evaluate, value_and_gradient: Evaluate
) -> None:
    target[0] = 2
    logits[0, 2] = -torch.inf
    for evaluate in (value_and_gradient, fused_in_blocks):
        _, gradient = evaluate(CrossEntropy(weight=WEIGHT), logits, target)
        assert torch.equal(gradient[0], torch.zeros_like(gradient[0]))


def test_with_no_weight_at_all_loss_and_gradient_are_0(
    logits: Tensor, target: Tensor, fused_in_blocks: Evaluate, value_and_gradient: Evaluate
) -> None:
    for name, evaluate in itertools.product(CATALOGUE, (value_and_gradient, fused_in_blocks)):
        value, gradient = evaluate(parse(name, weight=torch.zeros(5)), logits, target)
        assert torch.equal(value, torch.zeros_like(value)), name
        assert torch.equal(gradient, torch.zeros_like(gradient)), name


def test_labels_of_weight_0_and_ignored_ones_alone_give_0(logits: Tensor, target: Tensor) -> None:
    target[:8], target[8:] = 2, -100
    assert parse("ce", weight=WEIGHT)(logits, target).item() == 0


def test_an_empty_batch_gives_0() -> None:
    for name in CATALOGUE:
        assert parse(name, weight=WEIGHT)(torch.zeros(0, 5), torch.zeros(0).long()).item() == 0, name


# ---------------------------------------------------------------------------------------- how it is given


def test_every_form_of_a_loss_takes_weights(logits: Tensor, target: Tensor) -> None:
    forms = [
        parse("2*ce", weight=WEIGHT),
        parse("nce + mae", weight=WEIGHT),
        parse("ce + mae", weight=WEIGHT),
        parse("normalized(ce)", weight=WEIGHT),
        parse("forward(ce, noise='symmetric:0.2')", weight=WEIGHT),
        parse("backward(ce, noise='symmetric:0.2')", weight=WEIGHT),
        WeightedSum([CrossEntropy()], [2], weight=WEIGHT),
        ActivePassiveLoss(NormalizedCrossEntropy(), MeanAbsoluteError(), weight=WEIGHT),
        NormalizedLoss(CrossEntropy(), weight=WEIGHT),
        ForwardCorrection(CrossEntropy(), "symmetric:0.2", weight=WEIGHT),
        preset("nce+agce", "cifar10", weight=WEIGHT),
    ]
    for loss in forms:
        found = loss(logits, target)
        loss.reduction, loss.weight = "none", None
        factor = WEIGHT[target]
        assert_close(found, (factor * loss(logits, target)).sum() / factor.sum(), msg=str(loss))


WHOLES: list[Callable[..., Loss]] = [
    lambda part, **options: WeightedSum([part], [1], **options),
    NormalizedLoss,
    lambda part, **options: ForwardCorrection(part, "none", **options),
]


@pytest.mark.parametrize("whole", WHOLES)
@pytest.mark.parametrize("option", [{"weight": WEIGHT}, {"ignore_index": 3}, {"in_place": True}], ids=list)
def test_an_option_of_a_part_that_the_whole_has_not_is_refused(
    whole: Callable[..., Loss], option: dict[str, Any]
) -> None:
    (name,) = option
    with pytest.raises(NoiseproofError, match=f"^give {name} to the whole loss, not to ce within it$"):
        whole(CrossEntropy(**option))
    assert repr(whole(CrossEntropy(**option), **option)) == repr(whole(CrossEntropy()))


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("label_smoothing", "label smoothing is a loss here, 'ls(epsilon=0.1)'"),
        ("wieght", "did you mean 'weight'?"),
        ("gama", "did you mean 'gamma'?"),
    ],
)
def test_an_option_that_there_is_not_is_refused(option: str, instead: str) -> None:
    with pytest.raises(NoiseproofError, match=re.escape(f"nfl has no option {option!r}; {instead}")):
        NormalizedFocalLoss(**{option: 0.1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("label_smoothing", "label smoothing is a loss here, 'ls(epsilon=0.1)'"),
        ("wieght", "did you mean 'weight'?"),
        ("size_avg", "expected one of 'reduction', 'ignore_index', 'weight', 'in_place'"),
        ("alpha", "expected one of 'reduction', 'ignore_index', 'weight', 'in_place'"),
    ],
)
def test_an_option_that_a_text_has_not_is_refused(option: str, instead: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        parse("nce+mae", **{option: 0.1})  # type: ignore[arg-type]
    assert str(refusal.value) == f"loss 'nce+mae' has no option {option!r}; {instead}"


def test_weights_are_no_hyperparameter_and_not_written() -> None:
    loss = parse("2*nfl(gamma=0.5) + mae", weight=WEIGHT)
    assert str(loss) == "2*nfl(gamma=0.5) + mae"
    assert parse("fl", weight=WEIGHT).hyperparameters == {"gamma": 0.5}


# -------------------------------------------------------------------------------------------- as a module


def test_weights_are_a_buffer_that_moves_and_is_saved() -> None:
    for text in ("ce", "nce + mae", "normalized(ce)", "forward(ce, noise='symmetric:0.2')"):
        loss = parse(text, weight=WEIGHT)
        assert loss.weight is not None
        assert torch.equal(loss.state_dict()["weight"], WEIGHT)
        loss.to(torch.float32)
        assert loss.weight.dtype is torch.float32
        assert not list(loss.parameters())


def test_without_weights_nothing_is_saved() -> None:
    for name in CATALOGUE:
        assert parse(name).weight is None
        assert parse(name).state_dict() == {}


def test_weights_are_saved_once() -> None:
    for text in ("ce", "nce + mae", "normalized(ce + mae)", "forward(ce, noise='symmetric:0.2')"):
        assert list(parse(text, weight=WEIGHT).state_dict()) == ["weight"], text


def test_saved_weights_are_loaded(logits: Tensor, target: Tensor) -> None:
    loss, other = (CrossEntropy(weight=weight) for weight in (WEIGHT, torch.ones_like(WEIGHT)))
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(logits, target), loss(logits, target))


def test_a_deep_copy_has_weights_of_its_own(logits: Tensor, target: Tensor) -> None:
    loss = parse("nce + mae", weight=WEIGHT.clone())
    expected = loss(logits, target)
    copied = copy.deepcopy(loss)
    assert loss.weight is not None
    loss.weight.zero_()
    assert torch.equal(copied(logits, target), expected)


# ---------------------------------------------------------------------------------------------- refused

NO_WEIGHTS: list[tuple[Any, str]] = [
    (torch.tensor([1.0, -0.5, 1.0]), "weight must be finite and >= 0, got -0.5 for class 1"),
    (torch.tensor([1.0, 1.0, float("nan")]), "weight must be finite and >= 0, got nan for class 2"),
    (torch.tensor([float("inf"), 1.0, 1.0]), "weight must be finite and >= 0, got inf for class 0"),
    (
        torch.tensor([1, 1, 1]),
        "weight must be a floating-point tensor (C,) of one factor a class, got torch.int64 (3,)",
    ),
    (
        torch.ones(1, 3),
        "weight must be a floating-point tensor (C,) of one factor a class, got torch.float32 (1, 3)",
    ),
    (
        torch.tensor(1.0),
        "weight must be a floating-point tensor (C,) of one factor a class, got torch.float32 ()",
    ),
    (
        [1.0, 1.0, 1.0],
        "weight must be a floating-point tensor (C,) of one factor a class, got [1.0, 1.0, 1.0]",
    ),
]
EACH_OF_THEM = pytest.mark.parametrize(
    ("weight", "message"),
    NO_WEIGHTS,
    ids=["negative", "nan", "inf", "integers", "two dimensions", "no dimension", "a list"],
)


@EACH_OF_THEM
def test_bad_weights_are_refused_when_the_loss_is_made(weight: Any, message: str) -> None:
    pattern = "^" + re.escape(message) + "$"
    for cls in CATALOGUE.values():
        with pytest.raises(NoiseproofError, match=pattern):
            cls(weight=weight)
    with pytest.raises(NoiseproofError, match=pattern):
        WeightedSum([CrossEntropy()], [1], weight=weight)
    with pytest.raises(NoiseproofError, match=re.escape(message)):
        parse("nce + mae", weight=weight)


@EACH_OF_THEM
def test_bad_weights_are_refused_where_they_replace_good_ones(weight: Any, message: str) -> None:
    logits, target = torch.zeros(2, 3), torch.tensor([0, 1])
    for text in ("ce", "nce + mae"):
        loss = parse(text, weight=torch.ones(3))
        expected = loss(logits, target)
        with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
            loss.weight = weight
        assert torch.equal(loss(logits, target), expected)


def test_weights_that_replace_others_are_a_buffer_that_must_fit(logits: Tensor, target: Tensor) -> None:
    loss = parse("nce + mae", weight=torch.ones(5))
    loss.weight = WEIGHT
    assert list(loss.state_dict()) == ["weight"]
    assert torch.equal(loss(logits, target), parse("nce + mae", weight=WEIGHT)(logits, target))
    loss.weight = WEIGHT[:4]
    with pytest.raises(
        NoiseproofError, match=r"^weight must be \(5,\), a factor for each class, got \(4,\)$"
    ):
        loss(logits, target)
    loss.weight = None
    assert torch.equal(loss(logits, target), parse("nce + mae")(logits, target))


def test_a_module_looks_at_the_values_of_its_weights_but_once(
    logits: Tensor, target: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    monkeypatch.setattr(base, "check_weight", seen.append)
    monkeypatch.setattr(evaluation, "check_weight", seen.append)
    loss = parse("nce", weight=WEIGHT)
    for _ in range(3):
        loss(logits, target)
    assert len(seen) == 1
    for _ in range(3):
        functional.normalized_cross_entropy(logits, target, weight=WEIGHT)
    assert len(seen) == 4


@EACH_OF_THEM
def test_bad_weights_are_refused_by_the_functions(weight: Any, message: str, function_of: FunctionOf) -> None:
    logits, target = torch.zeros(2, 3), torch.tensor([0, 1])
    for cls in CATALOGUE.values():
        with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
            function_of(cls.name)(logits, target, weight=weight)


@pytest.mark.parametrize("shape", [(5,), (16, 5), (3, 5, 4)], ids=str)
def test_weights_for_another_number_of_classes_are_refused(logits: Tensor, target: Tensor) -> None:
    message = r"^weight must be \(5,\), a factor for each class, got \(4,\)$"
    for name in CATALOGUE:
        with pytest.raises(NoiseproofError, match=message):
            parse(name, weight=torch.ones(4))(logits, target)
    with pytest.raises(NoiseproofError, match=message):
        functional.cross_entropy(logits, target, weight=torch.ones(4))
