"""Forward and backward correction: the paper's formulas, what they promise, as text, and what is refused."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from noiseproof import noise
from noiseproof.errors import NoiseproofError
from noiseproof.losses import (
    ActivePassiveLoss,
    BackwardCorrection,
    CrossEntropy,
    ForwardCorrection,
    Loss,
    MeanAbsoluteError,
    NormalizedLoss,
    WeightedSum,
    parse,
)
from noiseproof.losses.correction import CorrectedLoss

Array = npt.NDArray[np.float64]

CORRECTIONS: list[type[CorrectedLoss]] = [ForwardCorrection, BackwardCorrection]
EACH_CORRECTION = pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda cls: cls.name)

ANY: Array = np.random.default_rng(0).dirichlet(np.ones(5), 5) / 2 + np.eye(5) / 2
SPARSE = noise.asymmetric(5, 0.3, {0: 1, 3: 4})
MATRICES = {
    "any": ANY,
    "symmetric": noise.symmetric(5, 0.4),
    "pairflip": noise.pairflip(5, 0.45),
    "sparse": SPARSE,
}
EACH_MATRIX = pytest.mark.parametrize("T", MATRICES.values(), ids=MATRICES)


def gradient(loss: Loss, logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(logits, target).sum(), logits)[0]


# ------------------------------------------------------------------------------------ the paper's formulas


def nce(p: Array) -> Array:
    values: Array = np.log(p) / np.log(p).sum(-1, keepdims=True)
    return values


INNER: dict[str, Callable[[Array], Array]] = {
    "ce": lambda p: -np.log(p),
    "mae": lambda p: 2 * (1 - p),
    "nce": nce,
    "gce(q=0.7)": lambda p: (1 - p**0.7) / 0.7,
    "nce + mae": lambda p: nce(p) + 2 * (1 - p),
    "2*ce + 0.5*gce(q=0.5)": lambda p: -2 * np.log(p) + (1 - p**0.5),
    "js(pi=0.5)": lambda p: (
        (-np.log((1 + p) / 2) + p * np.log(2 * p / (1 + p)) + (1 - p) * np.log(2)) / np.log(2)
    ),
}
"""Each loss for every class as the label, from the probabilities ``(N, K)``."""

EACH_INNER = pytest.mark.parametrize("inner", INNER)


def softmax(logits: Tensor) -> Array:
    e = np.exp(logits.double().numpy())
    p: Array = e / e.sum(-1, keepdims=True)
    return p


@EACH_MATRIX
@EACH_INNER
def test_forward_is_the_loss_of_the_predicted_noisy_label(
    inner: str, T: Array, logits: Tensor, target: Tensor
) -> None:
    noisy = np.stack([T.T @ p for p in softmax(logits)])
    expected = INNER[inner](noisy)[np.arange(len(target)), target]
    loss = ForwardCorrection(parse(inner), T, reduction="none")
    assert_close(loss(logits, target), torch.from_numpy(expected), rtol=1e-11, atol=1e-13)


@EACH_MATRIX
@EACH_INNER
def test_backward_weighs_the_losses_by_the_labels_row_of_the_inverse(
    inner: str, T: Array, logits: Tensor, target: Tensor
) -> None:
    values = INNER[inner](softmax(logits))
    expected = np.linalg.solve(T, values.T)[target, np.arange(len(target))]
    loss = BackwardCorrection(parse(inner), T, reduction="none")
    assert_close(loss(logits, target), torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_without_noise_it_is_the_loss_itself(loss: Loss, logits: Tensor, target: Tensor) -> None:
    value, slopes = loss(logits, target), gradient(loss, logits, target)
    for correction in CORRECTIONS:
        corrected = correction(loss, np.eye(5))
        assert_close(corrected(logits, target), value, rtol=1e-11, atol=1e-13)
        assert_close(gradient(corrected, logits, target), slopes, rtol=1e-9, atol=1e-12)


def test_the_mean_of_backward_over_the_noise_is_the_clean_loss(loss: Loss, logits: Tensor) -> None:
    corrected = BackwardCorrection(loss, ANY, reduction="none")
    of_noisy = torch.stack([corrected(logits, torch.full((16,), j)) for j in range(5)], -1)
    loss.reduction = "none"
    clean = torch.stack([loss(logits, torch.full((16,), i)) for i in range(5)], -1)
    assert_close(of_noisy @ torch.from_numpy(ANY).T, clean, rtol=1e-9, atol=1e-11)


def test_noise_that_is_none_is_the_identity(logits: Tensor, target: Tensor) -> None:
    for correction in CORRECTIONS:
        for text in ("none", "symmetric:0", "pairflip:0"):
            assert_close(correction(parse("nce"), text)(logits, target), parse("nce")(logits, target))


def test_every_way_to_ask_for_the_values_agrees(loss: Loss, logits: Tensor) -> None:
    log_p = logits.log_softmax(-1)
    for correction in CORRECTIONS:
        corrected = correction(loss, ANY, reduction="none")
        values = torch.stack([corrected(logits, torch.full((16,), k)) for k in range(5)], -1)
        terms = [corrected.class_terms(log_p, torch.full((16,), k)).sum(-1) for k in range(5)]
        assert_close(corrected.per_class(log_p), values, rtol=1e-10, atol=1e-12)
        assert_close(torch.stack(terms, -1), values, rtol=1e-10, atol=1e-12)


def test_forward_learns_the_clean_posterior() -> None:
    # where the noisy labels are distributed as T' p, the corrected risk is least at p itself (Theorem 2)
    p = torch.tensor([0.5, 0.1, 0.1, 0.1, 0.2], dtype=torch.float64)
    noisy = torch.from_numpy(ANY).T @ p
    loss = ForwardCorrection(CrossEntropy(), ANY, reduction="none")
    logits = p.log().requires_grad_()
    risk = torch.stack([noisy[k] * loss(logits, torch.tensor(k)) for k in range(5)]).sum()
    assert_close(torch.autograd.grad(risk, logits)[0], torch.zeros(5, dtype=torch.float64))


def test_forward_takes_probabilities_where_its_loss_does(logits: Tensor) -> None:
    q = logits.flip(0).softmax(-1)
    noisy = (logits.softmax(-1) @ torch.from_numpy(ANY)).log()
    for name in ("ce", "nce + mae", "js"):
        assert_close(ForwardCorrection(parse(name), ANY)(logits, q), parse(name)(noisy, q))
    for loss in (ForwardCorrection(parse("gce"), ANY), BackwardCorrection(parse("ce"), ANY)):
        with pytest.raises(NoiseproofError, match="defined for class indices only"):
            loss(logits, q)


# ------------------------------------------------------------------------------------ layouts and options


@EACH_CORRECTION
@pytest.mark.parametrize("shape", [(5,), (3, 5, 4), (3, 5, 4, 2)], ids=str)
def test_every_layout(correction: type[CorrectedLoss], logits: Tensor, target: Tensor) -> None:
    class_dim = min(1, logits.dim() - 1)
    rows = logits.movedim(class_dim, -1).reshape(-1, 5)
    for inner in ("ce", "nce + mae"):
        loss = correction(parse(inner), ANY, reduction="none")
        assert_close(loss(logits, target).flatten(), loss(rows, target.flatten()))


@EACH_CORRECTION
def test_labels_are_ignored_and_weighed(
    correction: type[CorrectedLoss], logits: Tensor, target: Tensor
) -> None:
    weight = torch.tensor([0.5, 1, 0, 2, 3], dtype=torch.float64)
    values = correction(parse("ce"), ANY, reduction="none")(logits, target)
    target[:4] = 9
    found = correction(parse("ce"), ANY, ignore_index=9, weight=weight)(logits, target)
    factor = weight[target[4:]]
    assert_close(found, (factor * values[4:]).sum() / factor.sum())


@EACH_CORRECTION
def test_the_inner_losss_own_reduction_is_not_used(
    correction: type[CorrectedLoss], logits: Tensor, target: Tensor
) -> None:
    inner = CrossEntropy(reduction="sum")
    expected = correction(CrossEntropy(), ANY)(logits, target)
    assert torch.equal(correction(inner, ANY)(logits, target), expected)


@EACH_CORRECTION
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_result_is_as_exact_as_its_dtype_allows(
    correction: type[CorrectedLoss], dtype: torch.dtype, logits: Tensor, target: Tensor
) -> None:
    logits = logits.to(dtype)
    for inner in INNER:
        loss = correction(parse(inner), ANY, reduction="none")
        value = loss(logits, target)
        assert value.dtype is dtype
        eps = max(torch.finfo(dtype).eps, 1e-5)
        assert_close(value.double(), loss(logits.double(), target), rtol=eps, atol=eps)


# ------------------------------------------------------------------------------------------- derivatives


@EACH_CORRECTION
@EACH_INNER
@pytest.mark.parametrize("shape", [(3, 5)], ids=str)
@pytest.mark.parametrize("T", [ANY, SPARSE], ids=["any", "sparse"])
def test_first_and_second_derivatives_are_those_of_the_values(
    correction: type[CorrectedLoss], inner: str, T: Array, logits: Tensor, target: Tensor
) -> None:
    loss = correction(parse(inner), T)
    logits = (logits / 3).requires_grad_()
    assert torch.autograd.gradcheck(loss, (logits, target))
    assert torch.autograd.gradgradcheck(loss, (logits, target))


@EACH_CORRECTION
def test_func_grad_and_vmap_give_per_sample_gradients(
    correction: type[CorrectedLoss], logits: Tensor, target: Tensor
) -> None:
    for inner in INNER:
        loss = correction(parse(inner), ANY)
        one_by_one = torch.stack([gradient(loss, z, y) for z, y in zip(logits, target, strict=True)])
        assert_close(torch.func.grad(loss)(logits, target), one_by_one / len(logits))
        assert_close(torch.func.vmap(torch.func.grad(loss))(logits, target), one_by_one)


@EACH_CORRECTION
def test_a_first_call_under_a_transform_spoils_no_later_one(
    correction: type[CorrectedLoss], logits: Tensor, target: Tensor
) -> None:
    expected = gradient(correction(parse("ce"), ANY), logits, target)
    loss = correction(parse("ce"), ANY)
    assert_close(torch.func.grad(loss)(logits, target), expected)
    assert_close(gradient(loss, logits, target), expected)


@EACH_CORRECTION
@pytest.mark.parametrize("inner", ["ce", "nce + mae", "gce"])
def test_a_first_call_in_inference_mode_spoils_no_later_one(
    correction: type[CorrectedLoss], inner: str, logits: Tensor, target: Tensor
) -> None:
    outers: list[Callable[[Loss], Loss]] = [lambda loss: loss, lambda loss: BackwardCorrection(loss, SPARSE)]
    if correction is ForwardCorrection:  # the other may be negative
        outers.append(NormalizedLoss)
    for outer in outers:
        expected = gradient(outer(correction(parse(inner), ANY)), logits, target)
        loss = outer(correction(parse(inner), ANY))
        with torch.inference_mode():
            loss(logits, target)
        assert_close(gradient(loss, logits, target), expected)


# ---------------------------------------------------------------------------------------------- extremes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("far", [50.0, 1e4])
def test_forward_with_a_matrix_that_has_zeros_is_finite_at_extreme_logits(
    dtype: torch.dtype, far: float
) -> None:
    rows = [[far, -far, -far], [far, far, -far], [far, far, far], [-far, -far, far], [-far, -far, 0.0]]
    logits = torch.tensor(rows, dtype=dtype, requires_grad=True)
    for T in (noise.asymmetric(3, 0.4, {0: 1}), np.eye(3), noise.pairflip(3, 0.3)):
        for inner in ("ce", "fl", "nce", "gce", "nfl + mae"):
            for label in range(3):
                loss = ForwardCorrection(parse(inner), T, reduction="none")
                values = loss(logits, torch.full((5,), label))
                (first,) = torch.autograd.grad(values.sum(), logits, create_graph=True)
                (second,) = torch.autograd.grad(first.double().square().sum(), logits)
                for result in (values, first, second):
                    assert result.isfinite().all(), (T, inner, label)


@EACH_CORRECTION
def test_an_impossible_class_that_no_label_comes_from_gives_no_nan(
    correction: type[CorrectedLoss], logits: Tensor
) -> None:
    # 0 is only ever mistaken for 1, so that its probability plays no part in label 2
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, 2.0, 3.0]])
    for T in (np.eye(5), SPARSE):
        value = correction(CrossEntropy(), T)(logits, torch.tensor([2]))
        assert_close(value, CrossEntropy()(logits, torch.tensor([2])))


# ------------------------------------------------------------------------------------------ the matrices


def test_a_matrix_is_made_for_each_number_of_classes(logits: Tensor, target: Tensor) -> None:
    loss = parse("forward(ce, noise='symmetric:0.3')")
    for num_classes in (5, 4, 5, 3):
        matrix = noise.symmetric(num_classes, 0.3)
        labels = target.clamp(max=num_classes - 1)
        expected = ForwardCorrection(CrossEntropy(), matrix)(logits[:, :num_classes], labels)
        assert_close(loss(logits[:, :num_classes], labels), expected)


@EACH_CORRECTION
def test_the_class_map_is_that_of_its_name(correction: type[CorrectedLoss]) -> None:
    loss = correction(CrossEntropy(), "asymmetric:0.3", classes="cifar10")
    expected = noise.asymmetric(10, 0.3, noise.class_map("cifar10"))
    assert np.array_equal(loss.transition_matrix(10), expected)


@EACH_CORRECTION
def test_a_matrix_may_be_given_in_any_form(
    correction: type[CorrectedLoss], logits: Tensor, target: Tensor
) -> None:
    expected = correction(CrossEntropy(), ANY)(logits, target)
    for T in (ANY.tolist(), torch.from_numpy(ANY), [tuple(row) for row in ANY]):
        assert torch.equal(correction(CrossEntropy(), T)(logits, target), expected)


@EACH_CORRECTION
def test_a_matrix_that_changes_later_changes_no_loss(
    correction: type[CorrectedLoss], logits: Tensor, target: Tensor
) -> None:
    T = ANY.copy()
    loss = correction(CrossEntropy(), T)
    T[:] = np.eye(5)
    assert torch.equal(loss(logits, target), correction(CrossEntropy(), ANY)(logits, target))


@EACH_CORRECTION
def test_copies_give_the_same(correction: type[CorrectedLoss], logits: Tensor, target: Tensor) -> None:
    loss = correction(parse("nce + mae"), ANY)
    expected = loss(logits, target)
    assert torch.equal(copy.deepcopy(loss)(logits, target), expected)
    assert torch.equal(pickle.loads(pickle.dumps(loss))(logits, target), expected)
    assert loss.state_dict() == {}


# -------------------------------------------------------------------------------------------- properties


def test_bounds_and_class_sum_hold(registered: Loss, logits: Tensor) -> None:
    for correction, matrix in itertools.product(CORRECTIONS, ("symmetric", "sparse")):
        corrected = correction(registered, MATRICES[matrix])
        known = corrected.properties(5)
        values = corrected.per_class(logits.log_softmax(-1))
        sums = values.sum(-1)
        if known.class_sum is None:
            assert sums.max() - sums.min() > 1e-9
        else:
            assert_close(sums, torch.full_like(sums, known.class_sum), rtol=1e-9, atol=1e-9)
        assert known.lower - 1e-9 <= values.min() <= values.max() <= known.upper + 1e-9


def test_backward_of_a_robust_loss_is_passive_and_of_bounded_size() -> None:
    known = BackwardCorrection(MeanAbsoluteError(), [[0.75, 0.25], [0.25, 0.75]]).properties(2)
    assert (known.kind, known.robust) == ("passive", True)
    assert_close([known.lower, known.upper], [-1.0, 3.0])
    assert BackwardCorrection(CrossEntropy(), np.eye(2)).properties(2).kind == "active"


# ------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("forward(ce, noise='symmetric:0.4')", "FORWARD(CE, symmetric:0.4)"),
        ("backward(ce, noise='pairflip:0.2')", "BACKWARD(CE, pairflip:0.2)"),
        ("forward(ce, noise='none')", "FORWARD(CE, none)"),
        (
            "backward(gce(q=0.5), noise='asymmetric:0.3', classes='cifar10')",
            "BACKWARD(GCE(q=0.5), asymmetric:0.3)",
        ),
        ("forward(nce + mae, noise='symmetric:0.4')", "FORWARD(NCE+MAE, symmetric:0.4)"),
        ("forward(2*ce, noise='symmetric:0.4')", "FORWARD(2*CE, symmetric:0.4)"),
        ("forward(ce, noise='symmetric:0.4', classes='digits')", "FORWARD(CE, symmetric:0.4)"),
        ("2*forward(ce, noise='symmetric:0.4') + mae", "2*FORWARD(CE, symmetric:0.4)+MAE"),
        (
            "normalized(forward(ce, noise='symmetric:0.4'))",
            "NORMALIZED(FORWARD(CE, symmetric:0.4))",
        ),
        (
            "forward(backward(normalized(sce(alpha=1, beta=1, A=-4)), noise='pairflip:0.1'),"
            " noise='symmetric:1e-05')",
            "FORWARD(BACKWARD(NORMALIZED(SCE(alpha=1)), pairflip:0.1), symmetric:1e-05)",
        ),
    ],
)
def test_a_text_reads_back(text: str, label: str) -> None:
    loss = parse(text)
    assert str(loss) == repr(loss) == text
    assert loss.label == label
    logits = torch.linspace(-2, 2, 30).reshape(3, 10).sin()
    target = torch.tensor([0, 3, 9])
    assert torch.equal(parse(str(loss))(logits, target), loss(logits, target))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("FORWARD(CE, noise=' Symmetric : 0.40 ')", "forward(ce, noise='symmetric:0.4')"),
        ('backward(ce,noise="none")', "backward(ce, noise='none')"),
        (
            "forward(ce, classes='cifar10', noise='asymmetric:0')",
            "forward(ce, noise='asymmetric:0', classes='cifar10')",
        ),
        ("forward(1*ce, noise='none')", "forward(1*ce, noise='none')"),
        ("forward((ce), noise='none')", "forward(ce, noise='none')"),
    ],
)
def test_a_text_is_written_back_in_one_form(text: str, written: str) -> None:
    assert str(parse(text)) == written
    assert str(parse(written)) == written


def test_a_matrix_is_named_by_its_size() -> None:
    loss = ForwardCorrection(CrossEntropy(), ANY)
    assert str(loss) == "forward(ce, noise=<5x5 matrix>)"
    assert loss.label == "FORWARD(CE, <5x5 matrix>)"


def test_options_reach_the_correction() -> None:
    loss = parse("forward(ce, noise='symmetric:0.4')", reduction="sum", ignore_index=7)
    assert (loss.reduction, loss.ignore_index) == ("sum", 7)


@pytest.mark.parametrize(
    "text",
    [
        "forward(ce, noise='asymmetric:0.3', classes='cifar100') + mae",
        "nce + backward(mae, noise='symmetric:0.9')",  # singular for 10 classes, not for 5
        "forward(nce, noise='asymmetric:0.3', classes='digits') + mae",
    ],
)
def test_a_sum_is_read_whatever_number_of_classes_its_noise_is_for(text: str) -> None:
    assert str(parse(text)) == text


def test_a_correction_for_another_number_of_classes_can_be_half_of_an_apl(
    logits: Tensor, target: Tensor
) -> None:
    loss = ActivePassiveLoss(ForwardCorrection(parse("nce"), ANY), MeanAbsoluteError())
    expected = ForwardCorrection(parse("nce"), ANY)(logits, target) + MeanAbsoluteError()(logits, target)
    assert_close(loss(logits, target), expected)


# ---------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("forward(ce)", "a correction needs its noise, such as noise='symmetric:0.4' at column 1"),
        ("mae + forward(ce)", "a correction needs its noise, such as noise='symmetric:0.4' at column 7"),
        (
            "forward(ce, noise=symmetric)",
            "noise must be in quotes, such as 'symmetric:0.4' at column 13",
        ),
        ("forward(ce, noise=symmetric:0.4)", "cannot be read here; expected a form such as"),
        ("forward(ce, noise=0.4)", "noise must be in quotes, such as 'symmetric:0.4' at column 13"),
        ("forward(ce, noise=b'none')", "noise must be in quotes, such as 'symmetric:0.4' at column 13"),
        ("forward(ce, noise=f'none')", "noise must be in quotes, such as 'symmetric:0.4' at column 13"),
        (
            "forward(ce, noise='asymmetric:0.4', classes=cifar10)",
            "classes must be in quotes, such as 'cifar10' at column 37",
        ),
        (
            "forward(ce, nose='none')",
            "expected noise='...', and classes='...' if asymmetric at column 13",
        ),
        (
            "forward(ce, noise='none', rate='0.4')",
            "expected noise='...', and classes='...' if asymmetric at column 27",
        ),
        ("forward(ce, **'none')", "expected noise='...', and classes='...' if asymmetric at column 13"),
        ("forward(ce, noise='none', noise='symmetric:0.4')", "'noise' is given twice at column 27"),
        (
            "ce + forward(ce, noise='symetric:0.4')",
            "noise 'symetric:0.4': unknown kind 'symetric'; did you mean 'symmetric'? at column 6",
        ),
        ("forward(ce, noise='')", "unknown kind ''"),
        ("forward(ce, noise='symmetric')", "expected a rate in [0, 1] after the colon"),
        ("forward(ce, noise='symmetric:1.5')", "a noise rate must be in [0, 1], got 1.5; the nearest"),
        (
            "forward(ce, noise='asymmetric:0.4')",
            "asymmetric noise needs its class map, such as classes='cifar10'; known are cifar10, cifar100,"
            " digits, mnist, fashion-mnist at column 1",
        ),
        (
            "forward(ce, noise='asymmetric:0.4', classes='cifar')",
            "no class map named 'cifar'; did you mean 'cifar10'? at column 1",
        ),
        ("forward(ce, noise='none', classes='cifar')", "no class map named 'cifar'"),
        ("forward(zz, noise='none')", "unknown loss 'zz' at column 9"),
        ("forward(2, noise='none')", "expected a loss, a weight * a loss, or a sum of these at column 9"),
        ("forwrd(ce, noise='none')", "did you mean 'forward'?"),
    ],
)
def test_what_is_no_correction_is_refused_in_one_line(text: str, fault: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        parse(text)
    message = str(refusal.value)
    assert message.startswith(f"loss {text!r}: ")
    assert fault in message
    assert "at column" in message
    assert message.isprintable()  # so it is one line


@pytest.mark.parametrize(
    "text",
    [
        "forward",
        "backward()",
        "forward(noise='none')",
        "forward(ce, 'symmetric:0.4')",
        "forward(ce, mae, noise='none')",
    ],
)
def test_a_misused_correction_is_not_called_unknown(text: str) -> None:
    with pytest.raises(NoiseproofError, match="at column 1") as refusal:
        parse(text)
    assert "unknown loss" not in str(refusal.value)


@EACH_CORRECTION
@pytest.mark.parametrize(
    ("T", "message"),
    [
        (np.ones((2, 3)) / 3, "a transition matrix must be (K, K) with K at least 2, got shape (2, 3)"),
        ([0.5, 0.5], "a transition matrix must be (K, K) with K at least 2, got shape (2,)"),
        ([[1.0]], "a transition matrix must be (K, K) with K at least 2, got shape (1, 1)"),
        (
            [[0.9, 0.2], [0.1, 0.8]],
            "row 0 of the transition matrix sums to 1.1, not 1; is it transposed?",
        ),
        ([[0.9, 0.1], [0.1, 0.8]], "row 1 of the transition matrix sums to 0.9, not 1"),
        (
            [[1.5, -0.5], [0, 1]],
            "a transition matrix must hold probabilities, got a negative or non-finite one",
        ),
        (
            [["a", "b"], ["c", "d"]],
            "a transition matrix must be a square array of numbers: could not convert",
        ),
        ("asymmetric:0.4", "asymmetric noise needs its class map, such as classes='cifar10'; known are"),
        ("symetric:0.4", "noise 'symetric:0.4': unknown kind 'symetric'; did you mean 'symmetric'?"),
    ],
    ids=str,
)
def test_what_is_no_noise_is_refused_when_the_loss_is_made(
    correction: type[CorrectedLoss], T: Any, message: str
) -> None:
    with pytest.raises(NoiseproofError, match="^" + re.escape(message)):
        correction(CrossEntropy(), T)


@EACH_CORRECTION
def test_a_matrix_for_another_number_of_classes_is_refused(correction: type[CorrectedLoss]) -> None:
    message = "^the transition matrix is for 5 classes, the logits have 3$"
    for inner in ("ce", "nce"):
        with pytest.raises(NoiseproofError, match=message):
            correction(parse(inner), ANY)(torch.zeros(2, 3), torch.tensor([0, 1]))


@EACH_CORRECTION
def test_a_class_map_for_more_classes_is_refused(correction: type[CorrectedLoss]) -> None:
    loss = correction(CrossEntropy(), "asymmetric:0.3", classes="cifar10")
    with pytest.raises(NoiseproofError, match=r"a class map must lead to another class of 0\.\.2"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_backward_refuses_a_singular_matrix_which_forward_takes() -> None:
    logits, target = torch.zeros(2, 4), torch.tensor([0, 1])
    uniform = np.full((4, 4), 0.25)
    message = "^backward correction needs an invertible transition matrix, but {} for 4 classes is"
    with pytest.raises(NoiseproofError, match=message.format("<4x4 matrix>")):
        BackwardCorrection(CrossEntropy(), uniform)(logits, target)
    with pytest.raises(NoiseproofError, match=message.format("symmetric:0.75")):
        parse("backward(ce, noise='symmetric:0.75')")(logits, target)
    assert_close(ForwardCorrection(CrossEntropy(), uniform)(logits, target).item(), float(np.log(4)))


@EACH_CORRECTION
def test_only_losses_are_corrected(correction: type[CorrectedLoss]) -> None:
    with pytest.raises(
        NoiseproofError, match="only a noiseproof Loss can be corrected, got CrossEntropyLoss"
    ):
        correction(torch.nn.CrossEntropyLoss(), "none")  # type: ignore[arg-type]


def test_a_correction_is_a_term_like_any_other(logits: Tensor, target: Tensor) -> None:
    forward = ForwardCorrection(CrossEntropy(), ANY)
    loss = WeightedSum([forward, MeanAbsoluteError()], [2, 0.5])
    expected = 2 * forward(logits, target) + 0.5 * MeanAbsoluteError()(logits, target)
    assert_close(loss(logits, target), expected)
