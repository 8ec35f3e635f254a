"""The compiled kernel gives what the plain formulas give, in single precision, whatever is asked of it."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE, Loss, functional, kernel, parse
from noiseproof.losses.checks import Reduction
from noiseproof.losses.formula import FUNCTIONS, PARTS

pytestmark = pytest.mark.skipif(not kernel.is_there(), reason="no C compiler was there")

SIZES = [(1, 2), (5, 3), (16, 10), (35, 32), (18, 33), (35, 100), (3, 300), (3, 1030), (2, 5000)]
"""Below, at and above a group of the kernel's rows, and the classes of a vector register and of a chunk."""

Evaluate = Callable[[Loss, Tensor, Tensor], tuple[Tensor, Tensor]]
PeakBytes = Callable[[Callable[[], object]], int]


@pytest.fixture
def exactly(value_and_gradient: Evaluate) -> Evaluate:
    """As `value_and_gradient`, in double precision, which the kernel does not know."""

    def evaluate(loss: Loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = value_and_gradient(loss.double(), logits.double(), target)
        loss.float()
        return value.float(), gradient.float()

    return evaluate


def was_compiled(value: Tensor) -> bool:
    return type(value.grad_fn).__name__ == "_CompiledBackward"


@pytest.fixture
def data(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Logits in single precision and labels, of the size that the test names."""
    rows, classes = getattr(request, "param", (16, 10))
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, classes, generator=generator, dtype=torch.float32)
    return logits, torch.randint(classes, (rows,), generator=generator)


# --------------------------------------------------------------------------------------- the same


@pytest.mark.parametrize("data", SIZES, ids=str, indirect=True)
def test_values_and_gradients_are_exact_at_every_size(
    loss: Loss, data: tuple[Tensor, Tensor], value_and_gradient: Evaluate, exactly: Evaluate
) -> None:
    if "p_min" in loss.hyperparameters and data[0].shape[1] * loss.hyperparameters["p_min"] >= 1:
        pytest.skip("p_min leaves no room for so many classes")
    loss.reduction = "none"
    (value, gradient), (exact, exact_gradient) = (f(loss, *data) for f in (value_and_gradient, exactly))
    assert_close(value, exact, rtol=2e-6, atol=2e-6)
    assert_close(gradient, exact_gradient, rtol=1e-5, atol=2e-6 * max(1.0, exact.abs().max().item()))


@pytest.mark.parametrize("reduction", get_args(Reduction))
@pytest.mark.parametrize("ignored", [0, 3, 16])
@pytest.mark.parametrize("weighted", [False, True])
def test_ignored_labels_and_class_weights_count_as_elsewhere(
    loss: Loss,
    data: tuple[Tensor, Tensor],
    reduction: Reduction,
    ignored: int,
    weighted: bool,
    value_and_gradient: Evaluate,
    exactly: Evaluate,
) -> None:
    logits, target = data
    target[:ignored] = -100
    weight = torch.linspace(0, 2, 10) if weighted else None  # class 0 counts nothing
    loss.configure(reduction=reduction, weight=weight)
    found, expected = value_and_gradient(loss, logits, target), exactly(loss, logits, target)
    assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 30.0, 1e4])
def test_small_and_extreme_logits(
    loss: Loss, data: tuple[Tensor, Tensor], scale: float, value_and_gradient: Evaluate, exactly: Evaluate
) -> None:
    logits, target = data[0].clamp(-1, 1) * scale, data[1]
    (value, gradient), (exact, exact_gradient) = (
        f(loss, logits, target) for f in (value_and_gradient, exactly)
    )
    assert value.isfinite()
    assert_close(value, exact, rtol=2e-6, atol=2e-6)
    assert_close(gradient, exact_gradient, rtol=2e-6, atol=2e-6)


WAYS = [(16, 10), (16, 100), (16, 300)]
"""One for each way of doing rows."""


@pytest.mark.parametrize("data", WAYS, ids=str, indirect=True)
def test_classes_that_are_ruled_out_leave_the_gradient_defined(
    loss: Loss, data: tuple[Tensor, Tensor], value_and_gradient: Evaluate, exactly: Evaluate
) -> None:
    if "normalized(2*nce" in str(loss):
        pytest.skip("NCE is no number at a label that is ruled out, and so is the sum over all labels")
    logits, target = data
    kept = logits.shape[1] // 2
    logits[:, kept:] = -torch.inf
    loss.reduction = "none"
    (value, gradient), (exact, exact_gradient) = (
        f(loss, logits, target % kept) for f in (value_and_gradient, exactly)
    )
    assert exact_gradient.isfinite().all()
    assert_close(value, exact, rtol=2e-6, atol=2e-6)  # for label smoothing, infinite
    scale = exact[exact.isfinite()].abs().max().item() if exact.isfinite().any() else 1.0
    assert_close(gradient, exact_gradient, rtol=1e-5, atol=2e-6 * max(1.0, scale))


@pytest.mark.parametrize(
    "text", ["bitempered(t1=1, t2=1)", "bitempered(t1=0.5, t2=10)", "nfl(gamma=20)", "nnfl(gamma=2)"]
)
def test_of_classes_that_are_ruled_out_none_counts_anything(
    text: str, data: tuple[Tensor, Tensor], value_and_gradient: Evaluate, exactly: Evaluate
) -> None:
    logits, target = data
    logits[:, 5:] = -torch.inf
    loss = parse(text, reduction="none")
    found, exact = (f(loss, logits, target % 5) for f in (value_and_gradient, exactly))
    assert_close(found, exact, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("data", WAYS, ids=str, indirect=True)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_no_number_spreads_as_in_pytorch(
    bad: float, data: tuple[Tensor, Tensor], value_and_gradient: Evaluate
) -> None:
    logits, target = data
    for row, column in ((0, 0), (1, 9), (2, 4)):
        logits[row, column] = bad
    for name in CATALOGUE:
        loss = parse(name, reduction="none")
        value, gradient = value_and_gradient(loss, logits, target)
        assert value.isnan().tolist() == [True] * 3 + [False] * 13, name
        assert gradient[:3].isnan().all(), name
        assert gradient[3:].isfinite().all(), name


@pytest.mark.parametrize("data", WAYS, ids=str, indirect=True)
def test_a_class_that_is_ruled_out_has_no_part(
    data: tuple[Tensor, Tensor], value_and_gradient: Evaluate
) -> None:
    logits, target = data
    target = target.clamp(max=logits.shape[1] - 2)
    logits[:, -1] = -torch.inf
    names = (
        "ce",
        "mae",
        "rce",
        "gce",
        "sce",
        "fl",
        "aul",
        "agce",
        "ael",
        "tce",
        "js",
        "fl_eps",
        "bitempered",
    )
    for name in names:
        value, gradient = value_and_gradient(parse(name), logits, target)
        assert_close(value, parse(name)(logits[:, :-1], target))
        assert gradient.isfinite().all(), name
        assert not gradient[:, -1].any(), name


@pytest.mark.parametrize("data", WAYS, ids=str, indirect=True)
@pytest.mark.parametrize("text", ["ce_eps(m=2)", "fl_eps(m=2)", "ce_eps(m=2) + mae"])
def test_of_equal_classes_the_first_is_the_top_one(
    text: str, data: tuple[Tensor, Tensor], value_and_gradient: Evaluate, exactly: Evaluate
) -> None:
    logits, target = data
    logits[:, 2] = logits[:, 5] = logits.amax(1)
    for label in (2, 5, 1):
        loss = parse(text, reduction="none")
        expected = exactly(loss, logits, target.fill_(label))
        assert_close(value_and_gradient(loss, logits, target), expected, rtol=1e-5, atol=1e-6)


def test_every_thread_does_its_rows(
    data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, value_and_gradient: Evaluate
) -> None:
    alone = value_and_gradient(parse("nfl + mae"), *data)
    for threads in (2, 3, 16, 40):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        monkeypatch.setattr(kernel, "WORTH_A_THREAD", 1)
        together = value_and_gradient(parse("nfl + mae"), *data)
        assert torch.equal(together[1], alone[1])
        assert_close(together[0], alone[0])


FORK = """
import os, signal, torch
from noiseproof.losses import kernel, parse

kernel.WORTH_A_THREAD = 1
torch.set_num_threads(3)
logits, target = torch.linspace(-3, 3, 640).view(64, 10), torch.arange(64) % 10
expected = parse("nfl + mae")(logits, target)
child = os.fork()
if child == 0:
    signal.alarm(20)  # a thread that is waited for in vain
    same = [torch.allclose(parse("nfl + mae")(logits, target), expected) for _ in range(3)]
    os._exit(0 if all(same) else 1)
assert torch.allclose(parse("nfl + mae")(logits, target), expected)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_has_threads_of_its_own() -> None:
    ran = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert ran.stdout.strip() == "0", ran.stderr


def test_threads_of_python_may_evaluate_at_once(
    data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(kernel, "WORTH_A_THREAD", 1)
    expected = parse("nfl + mae", reduction="none")(*data)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: parse("nfl + mae", reduction="none")(*data), range(200)))
    assert all(torch.equal(values, expected) for values in found)


# ------------------------------------------------------------------------------------ what is compiled


def test_c_has_the_numbers_of_functions_and_parts_that_python_has() -> None:
    source = (kernel.SOURCE / "terms.h").read_text()
    for name, numbers in (("function", FUNCTIONS), ("part", PARTS)):
        (listed,) = re.findall(rf"enum {name} {{(.*?)}}", source, re.DOTALL)
        assert [word.strip().lower() for word in listed.split(",")] == list(numbers)
        assert list(numbers.values()) == list(range(len(numbers)))


def test_every_loss_and_pair_is_compiled(data: tuple[Tensor, Tensor]) -> None:
    logits, target = data
    study = ("ce", "fl", "mae", "rce", "nce", "nfl", "nmae", "nrce")
    pairs = [f"{a} + {b}" for a, b in itertools.combinations(study, 2)]
    for text in (
        *CATALOGUE,
        *pairs,
        "nce + 4*agce",
        "5*nfl + 5*nnfl",
        "0.01*ce_eps + 5*mae",
        "2*nfl(gamma=2) + 0.5*(rce(A=-9) + ce)",
        "normalized(gce)",
        "ls",
        "sce",
    ):
        assert was_compiled(parse(text)(logits.requires_grad_(), target)), text
    assert was_compiled(functional.normalized_focal_loss(logits, target, gamma=3.5))


def test_logits_that_lie_otherwise_in_memory_or_are_half_as_wide_are_compiled_too(
    data: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    value_and_gradient: Evaluate,
    exactly: Evaluate,
) -> None:
    logits, target = data
    loss = parse("nce + mae")
    negated = torch.complex(logits, -logits).conj().imag  # a view whose sign is not in its memory
    ran: list[torch.dtype] = []
    evaluate = kernel.Batch.evaluate

    def watched(batch: kernel.Batch, *args: Any) -> None:
        ran.append(args[1].dtype)
        evaluate(batch, *args)

    monkeypatch.setattr(kernel.Batch, "evaluate", watched)
    for other in (logits.t().contiguous().t(), logits[0], negated, logits.bfloat16(), logits.half()):
        label = target if other.dim() > 1 else target[0]
        found = value_and_gradient(loss, other, label)
        assert [tensor.dtype for tensor in found] == [other.dtype] * 2
        assert ran.pop() is torch.float32
        rounding = max(1e-6, torch.finfo(other.dtype).eps)
        expected = exactly(loss, other, label)
        assert_close([t.float() for t in found], list(expected), rtol=rounding, atol=rounding)
    assert not was_compiled(loss(logits.double().requires_grad_(), target))


def test_positions_of_an_image_are_rows(data: tuple[Tensor, Tensor]) -> None:
    logits, target = data[0].view(2, 2, 4, 10), data[1].view(2, 2, 4)
    images = logits.movedim(-1, 1).contiguous().requires_grad_()
    for reduction in get_args(Reduction):
        loss = parse("nfl + mae", reduction=reduction)
        value = loss(images, target)
        assert_close(value.flatten(), loss(*data).flatten())
        if reduction == "mean":
            assert was_compiled(value)
        (gradient,) = torch.autograd.grad(value.sum(), images)
        expected = torch.autograd.grad(loss(data[0].requires_grad_(), data[1]).sum(), data[0])[0]
        assert_close(gradient.movedim(1, -1).reshape(16, 10), expected)


def test_a_library_of_another_source_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.load(kernel.LIBRARY, kernel.SOURCE) is not None
    changed = shutil.copytree(kernel.SOURCE, tmp_path / "csrc")
    assert kernel.load(kernel.LIBRARY, changed) is not None
    (changed / "terms.h").write_bytes((changed / "terms.h").read_bytes() + b" ")
    assert kernel.load(kernel.LIBRARY, changed) is None
    assert kernel.load(tmp_path / "nowhere.so", kernel.SOURCE) is None
    (tmp_path / "text.so").write_text("no library")
    assert kernel.load(tmp_path / "text.so", kernel.SOURCE) is None


def test_without_the_library_all_is_as_before(
    loss: Loss, data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, value_and_gradient: Evaluate
) -> None:
    compiled = value_and_gradient(loss, *data)
    monkeypatch.setattr(kernel, "_library", None)
    assert_close(value_and_gradient(loss, *data), compiled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("data", [(4, 20_000)], ids=str, indirect=True)
def test_without_the_library_small_probabilities_keep_their_digits(
    loss: Loss,
    data: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    value_and_gradient: Evaluate,
    exactly: Evaluate,
) -> None:
    if loss.hyperparameters.get("p_min", 0) >= 1 / 20_000:
        pytest.skip("p_min leaves no room for so many classes")
    monkeypatch.setattr(kernel, "_library", None)
    (value, gradient), (exact, exact_gradient) = (f(loss, *data) for f in (value_and_gradient, exactly))
    assert_close(value, exact, rtol=1e-5, atol=1e-6)
    assert_close(gradient, exact_gradient, rtol=1e-4, atol=2e-5 * exact_gradient.abs().max().item())


@pytest.mark.parametrize("label", [10, -1, -101])
def test_a_label_out_of_range_is_named(label: int, data: tuple[Tensor, Tensor]) -> None:
    logits, target = data
    target[5] = label
    for loss in (parse("nce"), parse("nce", weight=torch.ones(10))):
        with pytest.raises(IndexError, match=f"target {label} is out of bounds for 10 classes"):
            loss(logits, target)


def test_labels_may_lie_anywhere(data: tuple[Tensor, Tensor]) -> None:
    logits, target = data
    expected = parse("nce")(logits, target)
    assert torch.equal(parse("nce")(logits, torch.stack([target, target], 1)[:, 1]), expected)
    assert torch.equal(parse("nce")(logits, target.to(torch.uint8)), expected)


def test_an_empty_batch_gives_0() -> None:
    logits = torch.zeros(0, 10, requires_grad=True)
    value = parse("nce")(logits, torch.zeros(0, dtype=torch.long))
    value.backward()
    assert value.item() == 0


# --------------------------------------------------------------------------------- graphs and memory


def test_no_gradient_is_made_where_none_is_asked_for(
    data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, target = data
    made: list[Any] = []
    evaluate = kernel.Batch.evaluate

    def watched(batch: kernel.Batch, *args: Any) -> None:
        made.append(args[3])
        evaluate(batch, *args)

    monkeypatch.setattr(kernel.Batch, "evaluate", watched)
    parse("nce")(logits, target)
    with torch.no_grad():
        parse("nce")(logits.requires_grad_(), target)
    assert made == [None, None]


def test_a_graph_can_be_kept_and_used_again(data: tuple[Tensor, Tensor]) -> None:
    logits, target = data
    for reduction in get_args(Reduction):
        value = parse("nfl + mae", reduction=reduction)(logits.requires_grad_(), target)
        upstream = 3 * torch.ones_like(value)
        first = torch.autograd.grad(value, logits, upstream, retain_graph=True)
        second = torch.autograd.grad(value, logits, upstream)
        assert torch.equal(first[0], second[0])


def test_logits_changed_after_the_loss_do_not_change_its_gradient(
    data: tuple[Tensor, Tensor], value_and_gradient: Evaluate
) -> None:
    logits, target = data
    expected = value_and_gradient(parse("ce", reduction="sum"), logits, target)[1] * 2
    layer = logits.clone().requires_grad_()
    activations = layer * 1
    value = parse("ce", reduction="sum")(activations, target)
    with torch.no_grad():
        activations.zero_()
    assert_close(torch.autograd.grad(value, layer)[0], expected)


def test_second_derivatives_and_many_gradients_are_those_of_double_precision(
    data: tuple[Tensor, Tensor],
) -> None:
    logits, target = data

    def hessian_of(logits: Tensor) -> Tensor:
        logits = logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(parse("nce + mae")(logits, target), logits, create_graph=True)
        return torch.autograd.grad(gradient[0, 0], logits)[0]

    assert_close(hessian_of(logits), hessian_of(logits.double()).float(), rtol=1e-4, atol=1e-6)
    values = parse("nce + mae", reduction="none")(logits.requires_grad_(), target)
    (many,) = torch.autograd.grad(values, logits, torch.eye(16), is_grads_batched=True, retain_graph=True)
    (alone,) = torch.autograd.grad(values, logits, torch.ones(16))
    assert_close(many.sum(0), alone)


def test_upstream_gradients_scale(data: tuple[Tensor, Tensor], value_and_gradient: Evaluate) -> None:
    logits, target = data
    gradient = value_and_gradient(parse("nce"), logits, target)[1] * 2
    scaled = (parse("nce")(logits.requires_grad_(), target) * 1024).backward
    scaled()
    assert logits.grad is not None
    assert_close(logits.grad, gradient * 1024)


@pytest.mark.parametrize("text", ["ce", "nce", "nfl + mae", "nfl + fl(gamma=2) + ngce"])
def test_memory_is_the_gradient_and_a_few_rows(text: str, peak_bytes: PeakBytes) -> None:
    logits = torch.zeros(64, 32_000, requires_grad=True)  # 8 MB
    target = torch.arange(64)

    def backward(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(logits, target), logits)

    size, row = logits.numel() * 4, logits.shape[1] * 4
    peak = peak_bytes(backward(parse(text)))
    assert size <= peak < size + 2 * 4 * row
    assert peak < peak_bytes(backward(F.cross_entropy)) / 2


# ------------------------------------------------------------------------------------------ in place


def through_a_layer(data: tuple[Tensor, Tensor], **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient over what the logits were computed from, and the logits as the loss leaves them."""
    inputs = data[0].clone().requires_grad_()
    logits = inputs * 2
    value = parse("nfl + mae", **options)(logits, data[1])
    cotangent = torch.linspace(0.5, 2, value.numel()).reshape(value.shape)
    return value.detach(), torch.autograd.grad(value, inputs, cotangent)[0], logits.detach()


@pytest.mark.parametrize("reduction", get_args(Reduction))
def test_in_place_the_logits_become_their_gradient(data: tuple[Tensor, Tensor], reduction: Reduction) -> None:
    value, gradient, logits = through_a_layer(data, reduction=reduction, in_place=True)
    expected_value, expected, kept = through_a_layer(data, reduction=reduction)
    assert torch.equal(value, expected_value)
    assert torch.equal(gradient, expected)
    assert torch.equal(kept, 2 * data[0])
    assert torch.equal(2 * logits, gradient)


def test_in_place_needs_no_memory_of_the_logits_size(peak_bytes: PeakBytes) -> None:
    inputs = torch.zeros(64, 32_000, requires_grad=True)
    loss = parse("nce + mae", in_place=True)

    def forward() -> Tensor:
        value: Tensor = loss(logits, torch.arange(64))
        return value

    logits = inputs * 1
    assert peak_bytes(forward) < logits.numel()


def test_in_place_whoever_else_needs_the_logits_finds_out(data: tuple[Tensor, Tensor]) -> None:
    logits = data[0].requires_grad_() * 2
    penalty = logits.square().sum()
    value = parse("nce", in_place=True)(logits, data[1])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (value + penalty).backward()


def test_in_place_there_is_a_single_gradient(data: tuple[Tensor, Tensor]) -> None:
    logits = data[0].requires_grad_() * 2
    value = parse("nce", in_place=True)(logits, data[1])
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="a single gradient: its logits are gone"):
        value.backward()


def test_in_place_spares_leaves_and_evaluation(data: tuple[Tensor, Tensor]) -> None:
    logits, target = data
    loss = parse("nce", in_place=True)
    before = logits.clone()
    loss(logits, target)  # no gradient is asked for
    assert torch.equal(logits, before)
    with pytest.raises(NoiseproofError, match="in_place needs logits that a network has computed"):
        loss(logits.requires_grad_(), target)
