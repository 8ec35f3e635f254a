"""The kernel for GPUs, run by Triton's interpreter on the CPU, and compiled for an H100 without one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from noiseproof.losses import Loss, parse
from noiseproof.losses.formula import FUNCTIONS, PARTS
from noiseproof.losses.triton_trial import triton_launches

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)

from triton.runtime import interpreter

PATCH_LANG_TENSOR = interpreter._patch_lang_tensor

TEXTS = ["ce", "fl", "mae", "nce", "nfl", "nfl(gamma=2)", "nfl(gamma=0.7)", "nmae", "nce + mae", "gce"]
TEXTS += ["0.5*nfl(gamma=1) + 2*rce", "normalized(gce)", "ls", "sce + nce", "fl(gamma=2) + ngce + nfl"]
TEXTS += [
    "aul",
    "aul(a=1.5, q=0.5)",
    "agce",
    "agce(a=6, q=1.5)",
    "ael",
    "tce(t=6)",
    "js",
    "js(pi=0.1)",
    "nnce",
]
TEXTS += [
    "nnfl(p_min=0.005)",
    "nnce(p_min=0.005)",
    "ce_eps(m=2)",
    "fl_eps",
    "0.01*ce_eps + 5*mae",
    "nce + nnce",
    "nl",
    "bitempered",
    "bitempered(t1=1, t2=1)",
    "bitempered(t1=0.5, t2=1)",
    "bitempered(t1=1, t2=1.5)",
    "bitempered(t1=0, t2=4)",
    "nl + 0.5*bitempered + nce",
]


@pytest.fixture
def triton_kernel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton compiles here, for a GPU")
    if importlib.metadata.version("triton").startswith("3.6."):
        monkeypatch.setattr(interpreter, "_patch_lang_tensor", with_numbers_of_one_element)
    return importlib.import_module("noiseproof.losses.triton_kernel")


def with_numbers_of_one_element(tensor: Any, scope: Any) -> None:
    """Let Triton 3.6, which PyTorch 2.11 wants, count to a number that it holds in an array of one element.

    Its interpreter leaves that to NumPy, which since 2.4 does so for arrays without dimensions alone.
    """
    PATCH_LANG_TENSOR(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda number: number.handle.data.item())


def evaluated(
    module: ModuleType,
    loss: Loss,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "none",
) -> Tensor:
    terms = loss.formula().terms(logits.shape[1])
    value: Tensor = module.on_device(
        logits, terms, target, ignore_index=-100, weight=weight, reduction=reduction, plain=None
    )
    return value


def value_and_gradient(value: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    cotangent = torch.linspace(0.5, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
    return value.detach(), torch.autograd.grad(value, logits, cotangent)[0]


def rows(count: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(count, classes, generator=generator, dtype=torch.float32)
    return logits.requires_grad_(), torch.randint(classes, (count,), generator=generator)


def test_it_has_the_numbers_of_functions_and_parts_that_python_has(triton_kernel: ModuleType) -> None:
    triton_terms = importlib.import_module("noiseproof.losses.triton_terms")
    for name, number in {**FUNCTIONS, **PARTS}.items():
        if name not in ("jensen_shannon", "sum"):  # the last ones are what is left
            assert getattr(triton_terms, name.upper()) == number, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_launch_can_be_tried(triton_kernel: ModuleType, dtype: torch.dtype) -> None:
    triton_launches.cache_clear()
    assert triton_launches(torch.device("cpu"), dtype)  # which warns if it fails
    triton_launches.cache_clear()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("count", "classes"), [(1, 2), (6, 10), (3, 100)])
def test_values_and_gradients_are_exact(
    triton_kernel: ModuleType, text: str, count: int, classes: int
) -> None:
    logits, target = rows(count, classes)
    loss = parse(text, reduction="none")
    found = value_and_gradient(evaluated(triton_kernel, loss, logits, target), logits)
    exact_logits = logits.detach().double().requires_grad_()
    value, gradient = value_and_gradient(loss(exact_logits, target), exact_logits)
    assert_close(found, (value.float(), gradient.float()), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("text", ["nce + mae", "nfl", "ce", "nl", "bitempered", "ce_eps(m=2)"])
def test_a_long_row_is_gone_through_block_by_block(
    triton_kernel: ModuleType, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, target = rows(3, 77)
    logits = (logits.detach() + 1000 * torch.arange(3).unsqueeze(1)).requires_grad_()
    loss = parse(text, reduction="none")
    at_once = value_and_gradient(evaluated(triton_kernel, loss, logits, target), logits)
    monkeypatch.setattr(triton_kernel, "LARGEST_BLOCK", 16)
    monkeypatch.setattr(triton_kernel, "LARGEST_GRADIENT_BLOCK", 8)
    by_blocks = value_and_gradient(evaluated(triton_kernel, loss, logits, target), logits)
    assert_close(by_blocks, at_once, rtol=1e-5, atol=1e-6)


RULED_OUT = ["ce", "nce + mae", "nfl", "nnfl + nnce", "gce", "nl", "bitempered", "bitempered(t1=0, t2=6)"]
RULED_OUT += ["bitempered(t1=1, t2=1)"]


@pytest.mark.filterwarnings(
    "ignore:invalid value:RuntimeWarning"
)  # of what is then left out, in numpy's hands
@pytest.mark.parametrize("text", RULED_OUT)
def test_classes_that_are_ruled_out_count_nothing(
    triton_kernel: ModuleType, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, target = rows(4, 40)
    logits = logits.detach()
    logits[:, :20] = -torch.inf
    logits.requires_grad_()
    target = target % 20 + 20
    monkeypatch.setattr(triton_kernel, "LARGEST_BLOCK", 16)  # so that a whole block is ruled out
    loss = parse(text, reduction="none")
    exact_logits = logits.detach().double().requires_grad_()
    value, gradient = value_and_gradient(loss(exact_logits, target), exact_logits)
    found = value_and_gradient(evaluated(triton_kernel, loss, logits, target), logits)
    assert_close(found, (value.float(), gradient.float()), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("text", ["nl", "bitempered", "nfl + mae", "js", "nnce"])
@pytest.mark.parametrize("scale", [8.0, 40.0])
def test_of_what_is_all_but_certain_the_digits_are_left(
    triton_kernel: ModuleType, text: str, scale: float
) -> None:
    logits = torch.zeros(4, 5)
    logits[0, 1] = logits[1, 3] = scale
    logits[2, [1, 3]] = scale  # two top classes
    logits[3] = torch.linspace(-scale, scale, 5)
    target = torch.tensor([1, 1, 1, 0])
    logits.requires_grad_()
    loss = parse(text, reduction="none")
    exact_logits = logits.detach().double().requires_grad_()
    value, gradient = value_and_gradient(loss(exact_logits, target), exact_logits)
    found = value_and_gradient(evaluated(triton_kernel, loss, logits, target), logits)
    assert_close(found, (value.float(), gradient.float()), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_ignored_labels_and_class_weights(triton_kernel: ModuleType, reduction: str, weighted: bool) -> None:
    logits, target = rows(8, 5)
    target[::3] = -100
    weight = torch.linspace(0, 2, 5) if weighted else None
    loss = parse("nfl + mae", reduction=reduction, weight=weight)  # type: ignore[arg-type]
    found = value_and_gradient(evaluated(triton_kernel, loss, logits, target, weight, reduction), logits)
    assert_close(found, value_and_gradient(loss(logits, target), logits), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # what is no number, in numpy's hands
def test_with_every_label_ignored_value_and_gradient_are_0(triton_kernel: ModuleType) -> None:
    logits, target = rows(4, 5)
    broken = logits.detach().fill_(torch.nan).requires_grad_()
    value = evaluated(triton_kernel, parse("nce"), broken, target.fill_(-100), reduction="mean")
    assert value.item() == 0
    assert not torch.autograd.grad(value, broken)[0].any()


def test_a_label_out_of_range_gives_no_number(triton_kernel: ModuleType) -> None:
    logits, target = rows(4, 5)
    target[1] = 5
    target[2] = -1
    values = evaluated(triton_kernel, parse("nce"), logits, target)
    assert values.isnan().tolist() == [False, True, True, False]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_single(triton_kernel: ModuleType, dtype: torch.dtype) -> None:
    logits, target = rows(6, 10)
    half = logits.detach().to(dtype).requires_grad_()
    loss = parse("nce + mae", reduction="none")
    value, gradient = value_and_gradient(evaluated(triton_kernel, loss, half, target), half)
    single = half.detach().float().requires_grad_()
    expected = value_and_gradient(loss(single, target), single)
    assert gradient.dtype is dtype
    assert_close((value, gradient.float()), expected, rtol=1e-2, atol=1e-3)


def test_second_derivatives_are_left_to_pytorch(triton_kernel: ModuleType) -> None:
    logits, target = rows(3, 4)
    loss = parse("nce", reduction="none")
    terms = loss.formula().terms(4)
    values = triton_kernel.on_device(
        logits,
        terms,
        target,
        ignore_index=-100,
        weight=None,
        reduction="none",
        plain=lambda logits: loss(logits, target),
    )
    (gradient,) = torch.autograd.grad(values.sum(), logits, create_graph=True)
    (second,) = torch.autograd.grad(gradient[0, 0], logits)
    assert second.any()


def test_in_place_the_logits_become_their_gradient(triton_kernel: ModuleType) -> None:
    inputs, target = rows(4, 10)
    terms = parse("nfl + mae").formula().terms(10)
    found = []
    for in_place in (False, True):
        logits = inputs * 2
        value = triton_kernel.on_device(
            logits,
            terms,
            target,
            ignore_index=-100,
            weight=None,
            reduction="mean",
            in_place=in_place,
            plain=None,
        )
        (gradient,) = torch.autograd.grad(value, inputs)
        found.append(gradient)
        assert torch.equal(2 * logits, gradient) == in_place
    assert torch.equal(*found)


COMPILE = """
import itertools
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from noiseproof.losses import parse
from noiseproof.losses import triton_kernel as kernel

target = GPUTarget("cuda", 90, 32)
of_label = "aul + agce + ael + tce(t=6) + js + nnfl + fl_eps(m=2)"
of_row = "nl + bitempered + bitempered(t1=0.5, t2=1)"
texts = (("nce + mae", "fp32"), ("nfl(gamma=0.7) + ngce", "bf16"), (of_label, "fp32"), (of_row, "fp16"))
for text, dtype in texts:
    terms = parse(text).formula().terms(1000)
    constants = kernel._constants(terms)
    constants = {name: value for name, value in constants.items()}
    shared = {"logits": f"*{dtype}", "target": "*i64", "kept": "*fp32", "num_classes": "i32"}
    constant = {name: "constexpr" for name in (*constants, "BLOCK")}
    weights = tuple("fp32" for _ in terms)
    forward = {"class_weight": "*fp32", "values": "*fp32", "ignore_index": "i32", "weights": weights}
    top = {"TOWARDS_TOP": tuple(term.towards_top for term in terms), "FINDS_TOP": True, "HAS_WEIGHT": True}
    order = ("logits", "target", "class_weight", "values", "kept", "num_classes", "ignore_index", "weights")
    signature = {name: (shared | forward)[name] for name in order} | constant
    signature |= {name: "constexpr" for name in top}
    given = constants | {"BLOCK": 1024} | top
    print(len(compile(ASTSource(kernel._statistics, signature, given), target=target).asm["cubin"]) > 0)
    order = ("logits", "target", "kept", "upstream", "result", "num_classes", "upstream_stride")
    backward = {"upstream": "*fp32", "result": f"*{dtype}", "upstream_stride": "i32"}
    signature = {name: (shared | backward)[name] for name in order} | constant
    given = constants | {"BLOCK": 1024}
    print(len(compile(ASTSource(kernel._gradient, signature, given), target=target).asm["cubin"]) > 0)
"""


def test_it_compiles_for_an_h100(tmp_path: object) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    ran = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert ran.stdout.split() == ["True"] * 8, ran.stderr[-2000:]
