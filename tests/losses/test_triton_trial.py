"""Whether Triton can launch is tried once; where it can't, losses are evaluated all the same."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from noiseproof.losses import evaluation, parse
from noiseproof.losses.triton_trial import triton_launches

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)

CPU = torch.device("cpu")


@pytest.fixture
def triton_kernel() -> ModuleType:
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton compiles here, for a GPU")
    return importlib.import_module("noiseproof.losses.triton_kernel")


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    triton_launches.cache_clear()
    yield
    triton_launches.cache_clear()


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU has no kernel of its own, and counts as what Triton's is for."""
    monkeypatch.setattr(evaluation, "can_run", lambda *_: False)
    monkeypatch.setattr(evaluation, "TRITON_DEVICE", "cpu")


def without_a_compiler(*_: Any, **__: Any) -> Any:
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable")


def value_and_gradient(text: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    value = parse(text)(logits, torch.arange(6))
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.usefixtures("as_on_a_gpu")
def test_where_a_launch_works_the_kernel_is_chosen(
    triton_kernel: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[int] = []

    def statistics(logits: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        launched.append(len(logits))
        return torch.ones(len(logits)), torch.ones(len(logits))

    monkeypatch.setattr(triton_kernel, "statistics", statistics)
    monkeypatch.setattr(triton_kernel, "gradient", lambda *_: None)
    assert value_and_gradient("mae")[0] == 1.0
    value_and_gradient("nce")
    assert launched == [1, 6, 6]  # the trial is of one row, and comes once


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("fails", ["statistics", "gradient"])
def test_where_it_fails_the_loss_is_evaluated_without_and_one_warning_says_why(
    triton_kernel: ModuleType, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "TRITON_IS_THERE", False)
        expected = value_and_gradient("nce + mae")
    monkeypatch.setattr(triton_kernel, "statistics", lambda *_, **__: (torch.ones(1), torch.ones(1)))
    monkeypatch.setattr(triton_kernel, "gradient", lambda *_: None)
    monkeypatch.setattr(triton_kernel, fails, without_a_compiler)
    cause = r"torch\.float32 on cpu \(RuntimeError: Failed to find C compiler\. Please specify via CC"
    with pytest.warns(UserWarning, match=cause):
        found = value_and_gradient("nce + mae")
    value_and_gradient("gce")  # a second warning would be an error
    assert_close(found, expected)


def test_triton_itself_may_be_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "noiseproof.losses.triton_kernel", None)  # what an import then fails at
    with pytest.warns(UserWarning, match="ModuleNotFoundError"):
        assert not triton_launches(CPU, torch.float32)


def test_each_precision_is_tried_of_its_own(
    triton_kernel: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older GPU's assembler knows float32 and float16, but not bfloat16."""

    def statistics(logits: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if logits.dtype is torch.bfloat16:
            raise RuntimeError("ptxas fatal: feature '.bf16' requires .target sm_80 or higher")
        return torch.ones(1), torch.ones(1)

    monkeypatch.setattr(triton_kernel, "statistics", statistics)
    monkeypatch.setattr(triton_kernel, "gradient", lambda *_: None)
    assert triton_launches(CPU, torch.float32)
    with pytest.warns(UserWarning, match="sm_80"):
        assert not triton_launches(CPU, torch.bfloat16)
    assert triton_launches(CPU, torch.float16)


def test_a_lack_of_memory_says_nothing_of_triton(
    triton_kernel: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(triton_kernel, "statistics", full)
        with pytest.raises(torch.OutOfMemoryError):
            triton_launches(CPU, torch.float32)
    monkeypatch.setattr(triton_kernel, "statistics", lambda *_, **__: (torch.ones(1), torch.ones(1)))
    monkeypatch.setattr(triton_kernel, "gradient", lambda *_: None)
    assert triton_launches(CPU, torch.float32)


@pytest.mark.cuda
@pytest.mark.filterwarnings("default")
def test_on_a_gpu_the_kernel_launches_and_nothing_is_waited_for() -> None:
    torch.zeros(1, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Triton cannot launch")
            assert triton_launches(torch.device("cuda", torch.cuda.current_device()), torch.float32)
    finally:
        torch.cuda.set_sync_debug_mode("default")
