"""Targets of probabilities: what a loss is against them, which losses know them, and what is refused."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE, CrossEntropy, Loss, NormalizedLoss, WeightedSum, functional, parse
from noiseproof.losses.checks import Reduction

FunctionOf = Callable[[str], Callable[..., Tensor]]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
LAYOUTS = pytest.mark.parametrize("shape", [(5,), (16, 5), (3, 5, 4), (3, 5, 4, 2)], ids=str)

ACCEPTING = {
    *("ce", "fl", "mae", "rce", "nce", "nfl", "nmae", "nrce"),
    *("sce", "ls", "js", "ce_eps", "fl_eps", "bitempered"),
}
REFUSAL = (
    "this loss is defined for class indices only, got a target of probabilities; weigh its values"
    " for the classes instead, such as lam * loss(logits, a) + (1 - lam) * loss(logits, b)"
)
SOFT = [
    parse(text)
    for text in (
        *("ce", "fl", "fl(gamma=0)", "fl(gamma=2)", "mae", "rce", "rce(A=-9)"),
        *("nce", "nfl", "nfl(gamma=20)", "nmae", "nrce", "sce", "ls", "ls(epsilon=0)", "js", "js(pi=0.9)"),
        *("ce_eps", "ce_eps(m=1)", "fl_eps(m=1)", "bitempered", "bitempered(t1=1)", "bitempered(t2=1)"),
        *("nce + mae", "2*nfl + 0.5*rce", "normalized(ce + mae)", "normalized(sce)", "0.01*ce_eps + 5*mae"),
    )
]


def accepts(loss: Loss) -> bool:
    if isinstance(loss, WeightedSum):
        return all(accepts(term) for _, term in loss.weighted)
    if type(loss) is NormalizedLoss:
        return accepts(loss.loss)
    return loss.name in ACCEPTING


def one_hot(target: Tensor, logits: Tensor) -> Tensor:
    class_dim = min(1, logits.dim() - 1)
    return F.one_hot(target, logits.shape[class_dim]).movedim(-1, class_dim).to(logits.dtype)


def gradient(loss: Loss, logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(logits, target).sum(), logits)[0]


@pytest.fixture(params=SOFT, ids=str)
def soft(request: pytest.FixtureRequest) -> Loss:
    """Every loss that is defined against probabilities."""
    loss: Loss = copy.deepcopy(request.param)
    return loss


@pytest.fixture
def q(shape: tuple[int, ...]) -> Tensor:
    random = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return random.softmax(min(1, len(shape) - 1))


# ------------------------------------------------------------------------------- labels as probabilities


@pytest.mark.parametrize("shape", [(3, 5, 4)], ids=str)
def test_a_one_hot_target_gives_what_the_label_gives_or_is_refused(
    loss: Loss, logits: Tensor, target: Tensor
) -> None:
    loss.reduction = "none"
    if accepts(loss):
        found = loss(logits, one_hot(target, logits))
        assert_close(found, loss(logits, target), rtol=1e-12, atol=1e-13)
    else:
        with pytest.raises(NoiseproofError, match="^" + re.escape(REFUSAL) + "$"):
            loss(logits, one_hot(target, logits))


def test_the_losses_that_accept_probabilities_are_tried_below() -> None:
    assert {loss.name for loss in SOFT} >= ACCEPTING
    assert all(accepts(loss) for loss in SOFT)


def test_the_functions_accept_and_refuse_alike(logits: Tensor, q: Tensor, function_of: FunctionOf) -> None:
    for name, cls in CATALOGUE.items():
        function = function_of(name)
        if name in ACCEPTING:
            assert torch.equal(function(logits, q), cls()(logits, q)), name
        else:
            with pytest.raises(NoiseproofError, match="defined for class indices only"):
                function(logits, q)


def test_a_sum_with_a_term_of_labels_only_is_refused(logits: Tensor, q: Tensor) -> None:
    for text in ("nce + agce", "5*nce + 5*nnce", "ce_eps + gce", "normalized(tce)", "normalized(ce + nl)"):
        with pytest.raises(NoiseproofError, match="defined for class indices only"):
            parse(text)(logits, q)


@pytest.mark.parametrize("shape", [(3, 5, 4)], ids=str)
def test_a_one_hot_target_gives_the_labels_gradient(soft: Loss, logits: Tensor, target: Tensor) -> None:
    found = gradient(soft, logits, one_hot(target, logits))
    assert_close(found, gradient(soft, logits, target), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["rce", "nrce", "sce"])
def test_rces_log_0_may_be_below_any_logarithm_of_the_dtype(name: str) -> None:
    logits, target = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([1])
    for A in (-1, -50, -200, -1000):
        loss = parse(f"{name}(A={A})")
        assert_close(loss(logits, one_hot(target, logits)), loss(logits, target))


# ----------------------------------------------------------------------------------------- definitions


@LAYOUTS
def test_cross_entropy_is_torchs(logits: Tensor, q: Tensor) -> None:
    for reduction in REDUCTIONS:
        expected = F.cross_entropy(logits, q, reduction=reduction)
        assert_close(CrossEntropy(reduction=reduction)(logits, q), expected)


@LAYOUTS
def test_label_smoothing_is_torchs(logits: Tensor, q: Tensor) -> None:
    for epsilon, reduction in itertools.product((0.0, 0.1, 1.0), REDUCTIONS):
        found = functional.label_smoothing(logits, q, epsilon=epsilon, reduction=reduction)
        assert_close(found, F.cross_entropy(logits, q, reduction=reduction, label_smoothing=epsilon))


def test_focal_loss_weighs_each_classs_term(logits: Tensor, q: Tensor) -> None:
    p = logits.softmax(-1)
    expected = -(q * (1 - p) ** 2 * p.log()).sum(-1)
    assert_close(functional.focal_loss(logits, q, gamma=2, reduction="none"), expected)


def test_mean_absolute_error_is_the_distance_of_p_and_q(logits: Tensor, q: Tensor) -> None:
    expected = (logits.softmax(-1) - q).abs().sum(-1)
    assert_close(functional.mean_absolute_error(logits, q, reduction="none"), expected)


def test_reverse_cross_entropy_counts_log_q_below_A_as_A() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]], dtype=torch.float64)
    q = torch.tensor([[0.7, 0.3 - 1e-3, 1e-3, 0.0]], dtype=torch.float64)
    p = logits.softmax(-1)[0]
    expected = -(p[0] * math.log(0.7) + p[1] * math.log(0.3 - 1e-3) + (p[2] + p[3]) * -4)
    assert_close(functional.reverse_cross_entropy(logits, q, A=-4), expected)
    expected = -(p[0] * math.log(0.7) + p[1] * math.log(0.3 - 1e-3) + p[2] * math.log(1e-3) + p[3] * -9)
    assert_close(functional.reverse_cross_entropy(logits, q, A=-9), expected)


def test_symmetric_cross_entropy_is_both_directions(logits: Tensor, q: Tensor) -> None:
    ce, rce = functional.cross_entropy(logits, q), functional.reverse_cross_entropy(logits, q)
    found = functional.symmetric_cross_entropy(logits, q, alpha=6, beta=0.1)
    assert_close(found, 6 * ce + 0.1 * rce)


def test_jensen_shannon_is_two_divergences_from_the_mixture(logits: Tensor, q: Tensor) -> None:
    p, pi = logits.softmax(-1), 0.3
    m = pi * q + (1 - pi) * p
    divergences = pi * q * (q / m).log() + (1 - pi) * p * (p / m).log()
    expected = divergences.sum(-1) / (-(1 - pi) * math.log(1 - pi))
    assert_close(functional.jensen_shannon(logits, q, pi=pi, reduction="none"), expected)


def test_epsilon_softmax_moves_the_prediction_only(logits: Tensor, q: Tensor) -> None:
    p, m = logits.softmax(-1), 3
    moved = (p + m * F.one_hot(p.argmax(-1), p.shape[-1])) / (m + 1)
    found = functional.epsilon_softmax_cross_entropy(logits, q, m=m, reduction="none")
    assert_close(found, -(q * moved.log()).sum(-1))
    found = functional.epsilon_softmax_focal_loss(logits, q, m=m, gamma=2, reduction="none")
    assert_close(found, -(q * (1 - moved) ** 2 * moved.log()).sum(-1))


def test_the_bitempered_loss_is_0_where_the_prediction_is_the_target(q: Tensor) -> None:
    for t1 in (0.0, 0.5, 1.0):
        value = functional.bitempered_logistic_loss(q.log(), q, t1=t1, t2=1)
        assert_close(value, torch.zeros_like(value))


@pytest.mark.parametrize("pair", ["nce ce", "nfl fl", "nmae mae", "nrce rce"])
def test_a_normalized_form_divides_by_the_sum_over_one_hot_labels(
    pair: str, logits: Tensor, q: Tensor
) -> None:
    normalized, inner = (parse(name, reduction="none") for name in pair.split())
    eye = torch.eye(5, dtype=logits.dtype)
    total = torch.stack([inner(logits, label.expand_as(logits)) for label in eye]).sum(0)
    assert_close(normalized(logits, q), inner(logits, q) / total)
    assert_close(NormalizedLoss(inner, reduction="none")(logits, q), inner(logits, q) / total)


def test_nfl_of_a_large_gamma_divides_by_that_sum_too(logits: Tensor, q: Tensor) -> None:
    values = parse("fl(gamma=20)").per_class((logits / 3).log_softmax(-1))
    expected = (q * values).sum(-1) / values.sum(-1)
    assert_close(parse("nfl(gamma=20)", reduction="none")(logits / 3, q), expected)


def test_sums_add_up(logits: Tensor, q: Tensor) -> None:
    nfl, rce, ce_eps = (parse(name)(logits, q) for name in ("nfl", "rce", "ce_eps"))
    assert_close(parse("2*nfl + 0.5*rce")(logits, q), 2 * nfl + 0.5 * rce)
    assert_close(parse("0.5*rce + 3*ce_eps")(logits, q), 0.5 * rce + 3 * ce_eps)


# -------------------------------------------------------------------------------- layouts and reductions


@pytest.mark.parametrize("shape", [(3, 5, 4)], ids=str)
def test_positions_are_samples_and_reduce_as_labels_do(soft: Loss, logits: Tensor, q: Tensor) -> None:
    soft.reduction = "none"
    values = soft(logits, q)
    assert values.shape == (3, 4)
    assert_close(values[1, 2], soft(logits[1, :, 2], q[1, :, 2]))
    soft.reduction = "sum"
    assert_close(soft(logits, q), values.sum())
    soft.reduction = "mean"
    assert_close(soft(logits, q), values.mean())


def test_an_empty_batch_gives_0() -> None:
    for name in ACCEPTING:
        assert parse(name)(torch.zeros(0, 3), torch.zeros(0, 3)).item() == 0, name


def test_a_label_to_ignore_belongs_to_labels(logits: Tensor, q: Tensor) -> None:
    message = "^ignore_index belongs to class indices; got 2 with a target of probabilities$"
    for text in ACCEPTING:
        with pytest.raises(NoiseproofError, match=message):
            parse(text, ignore_index=2)(logits, q)
        # which names no class: PyTorch's losses take it too
        assert torch.equal(parse(text, ignore_index=-1)(logits, q), parse(text)(logits, q))


# ------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("shape", [(3, 4)], ids=str)
def test_first_and_second_derivatives_are_those_of_the_values(soft: Loss, logits: Tensor, q: Tensor) -> None:
    logits = (logits / 3).requires_grad_()
    assert torch.autograd.gradcheck(soft, (logits, q))
    assert torch.autograd.gradgradcheck(soft, (logits, q))


@pytest.mark.parametrize("shape", [(3, 4)], ids=str)
def test_a_target_can_be_learned(soft: Loss, logits: Tensor, q: Tensor) -> None:
    scores = q.log().requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: soft(logits / 3, scores.softmax(-1)), (scores,))


def test_func_grad_and_vmap_give_per_sample_gradients(soft: Loss, logits: Tensor, q: Tensor) -> None:
    one_by_one = torch.stack([gradient(soft, z, p) for z, p in zip(logits, q, strict=True)])
    assert_close(torch.func.vmap(torch.func.grad(soft))(logits, q), one_by_one)


# -------------------------------------------------------------------------------------------- extremes


def test_impossible_classes_that_the_target_excludes_give_no_nan(soft: Loss) -> None:
    logits = torch.tensor([[2.0, 1.0, -torch.inf], [0.0, -torch.inf, -torch.inf]])
    q = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]])
    assert not soft(logits, q).isnan()


def test_impossible_classes_leave_a_one_hot_targets_gradient_that_of_the_label(soft: Loss) -> None:
    logits, target = torch.tensor([[2.0, 1.0, -torch.inf]]), torch.tensor([1])
    expected = gradient(soft, logits, target)
    found = gradient(soft, logits, one_hot(target, logits))
    finite = expected.isfinite()  # some have no derivative there, against a label either
    assert_close(found[finite], expected[finite])


def test_values_and_gradients_are_finite_at_extreme_logits(soft: Loss) -> None:
    soft.reduction = "none"
    of = [[f, -f, -f] for f in (50.0, 1e4)] + [[f, f, -f] for f in (50.0, 1e4)]
    rows = [*of, [1e4, 1e4, 1e4], [-1e4, -1e4, 0.0], [16.6, 0.0, 0.0]]
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        logits = torch.tensor(rows, dtype=dtype, requires_grad=True)
        for q in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]):
            values = soft(logits, torch.tensor(q, dtype=dtype).expand_as(logits))
            (slopes,) = torch.autograd.grad(values.sum(), logits)
            assert values.isfinite().all(), (dtype, q, values)
            assert slopes.isfinite().all(), (dtype, q, slopes)


# --------------------------------------------------------------------------------------------- dtypes


def test_a_result_has_the_dtype_of_the_logits_and_is_as_exact_as_that_allows(
    soft: Loss, logits: Tensor, q: Tensor
) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        value = soft(logits.to(dtype), q.to(dtype))
        assert value.dtype is dtype
        eps = max(torch.finfo(dtype).eps, 1e-5)
        exact = soft(logits.to(dtype).double(), q.to(dtype).double())
        assert_close(value.double(), exact, rtol=eps, atol=1e-6)


def test_the_target_may_be_of_another_dtype(soft: Loss, logits: Tensor, q: Tensor) -> None:
    value = soft(logits.bfloat16(), q)
    assert value.dtype is torch.bfloat16
    assert_close(value, soft(logits.bfloat16(), q.float()))
    assert soft(logits, q.half()).dtype is torch.float64


def test_autocast_widens_as_for_torchs_cross_entropy(logits: Tensor, q: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for name in ACCEPTING:
            assert parse(name)(logits.bfloat16(), q.bfloat16()).dtype is torch.float32, name


def test_inputs_stay_as_they_were(logits: Tensor, q: Tensor) -> None:
    copies = logits.clone(), q.clone()
    for loss in SOFT:
        gradient(loss, logits, q)
        assert torch.equal(logits, copies[0]), loss
        assert torch.equal(q, copies[1]), loss


# -------------------------------------------------------------------------------------------- refused

HALVES = torch.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("logits", "q", "message"),
    [
        (
            torch.zeros(3, 2),
            HALVES,
            "a target of probabilities (torch.float32) must have the shape of the logits, (3, 2), got (2, 2)",
        ),
        (
            torch.zeros(2, 2, 4),
            HALVES.half(),
            "a target of probabilities (torch.float16) must have the shape of the logits, (2, 2, 4),"
            " got (2, 2)",
        ),
        (
            torch.zeros(2, 2),
            torch.zeros(2).double(),
            "a target of probabilities (torch.float64) must have the shape of the logits, (2, 2), got (2,);"
            " class indices must have an integer dtype",
        ),
        (
            torch.zeros(2, 2),
            torch.tensor([[0.5, 0.5], [1.25, -0.25]]),
            "a target of probabilities must be >= 0, got -0.25",
        ),
        (
            torch.zeros(2),
            torch.tensor([0.5, float("nan")]),
            "a target of probabilities must be >= 0, got nan",
        ),
        (
            torch.zeros(2, 2),
            torch.tensor([[0.5, 0.5], [0.5, 0.25]]),
            "a target of probabilities must sum to 1 over the classes, got 0.75",
        ),
        (
            torch.zeros(2, 2, 1),
            torch.tensor([[[0.5], [0.75]], [[1.0], [0.0]]]),
            "a target of probabilities must sum to 1 over the classes, got 1.25",
        ),
        (
            torch.zeros(2),
            torch.tensor([0.5, float("inf")]),
            "a target of probabilities must sum to 1 over the classes, got inf",
        ),
        (torch.zeros(2, 2).long(), HALVES, "logits must be floating point, got torch.int64"),
        (
            torch.zeros(2, 1),
            torch.ones(2, 1),
            "logits must have at least 2 classes, got shape (2, 1)",
        ),
    ],
    ids=lambda value: value[-30:] if isinstance(value, str) else "",
)
def test_what_is_no_distribution_for_each_sample_is_refused_and_named(
    logits: Tensor, q: Tensor, message: str
) -> None:
    for text in ("ce", "nce + mae", "gce"):
        with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
            parse(text)(logits, q)


def test_a_sum_may_be_off_1_by_what_half_precision_leaves() -> None:
    q = torch.full((1, 1000), 1e-3, dtype=torch.bfloat16)
    assert q.double().sum() != 1
    assert parse("ce")(torch.zeros(1, 1000), q).isfinite()


def test_class_weights_belong_to_labels(logits: Tensor, q: Tensor) -> None:
    message = "class weights belong to class indices; got them with a target of probabilities"
    for text in (*CATALOGUE, "nce + mae", "normalized(ce)"):
        with pytest.raises(NoiseproofError, match=message):
            parse(text, weight=torch.ones(5))(logits, q)
    with pytest.raises(NoiseproofError, match=message):
        functional.cross_entropy(logits, q, weight=torch.ones(5))
