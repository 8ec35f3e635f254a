"""The compiled kernel, ``kernel.c``: a batch's loss and gradient in one call, each row while in the cache.

It is compiled when the package is installed. Without a C compiler it is not there, and PyTorch does the work.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noiseproof.losses.formula import FUNCTIONS, PARTS, Term
from noiseproof.losses.fused import differentiate, is_batched

SOURCE = Path(__file__).with_name("kernel.c")
LIBRARY = Path(__file__).with_name("libkernel.so")

MOST_TERMS = 16
"""As ``kernel.c`` has it."""

WORTH_A_THREAD = 1 << 15
"""Logits of a batch for each thread: measured on two cores, fewer are done before a thread is awake."""


class _Term(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.c_double),
        ("parameter", ctypes.c_double),
        ("function", ctypes.c_int32),
        ("part", ctypes.c_int32),
    )


def load(library: Path, source: Path) -> ctypes.CDLL | None:
    """Load the library, unless it is not there, for another machine, or compiled from another source."""
    try:
        loaded = ctypes.CDLL(str(library))
        same = loaded.noiseproof_source() & 0xFFFFFFFF == zlib.crc32(source.read_bytes())
    except (OSError, AttributeError):
        return None
    pointer, integer, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
    loaded.noiseproof_count.restype = number
    loaded.noiseproof_count.argtypes = (pointer, integer, integer, integer, pointer)
    loaded.noiseproof_rows.restype = number
    loaded.noiseproof_rows.argtypes = (
        *(pointer, pointer, integer, pointer, number),
        *(integer, integer, pointer, ctypes.c_int32, pointer, pointer, pointer, integer, ctypes.c_int32),
    )
    return loaded if same else None


_library = load(LIBRARY, SOURCE)


def is_there() -> bool:
    """Tell whether the kernel was compiled, from the source that is here."""
    return _library is not None


def can_run(logits: Tensor, terms: tuple[Term, ...]) -> bool:
    """Tell whether the kernel is there and takes these terms of these logits."""
    return (
        _library is not None
        and logits.dtype is torch.float32
        and logits.device.type == "cpu"
        and len(terms) <= MOST_TERMS
    )


def compiled(
    logits: Tensor,
    terms: tuple[Term, ...],
    batch: Batch,
    *,
    total: bool,
    in_place: bool,
    plain: Callable[[Tensor], Tensor],
) -> Tensor:
    """Evaluate a sum of terms; ``plain`` is the same in plain PyTorch, for second derivatives.

    ``total``: whether the values are added up. ``in_place``: whether the gradient takes the logits' memory.
    """
    if torch.is_grad_enabled() and logits.requires_grad:
        result: Tensor = _Compiled.apply(logits, terms, batch, total, in_place, plain)  # type: ignore[no-untyped-call]
        return result
    return _result(terms, batch, total, gradient=None)


class _Compiled(torch.autograd.Function):
    """Makes the gradient together with the value, so that backward has only to scale it."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        terms: tuple[Term, ...],
        batch: Batch,
        total: bool,
        in_place: bool,
        plain: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.terms, ctx.batch, ctx.total, ctx.plain = terms, batch, total, plain
        if in_place:
            ctx.gradient = batch.logits
            torch.autograd.graph.increment_version(logits)  # so that whoever else needs them finds out
        else:
            ctx.save_for_backward(logits)
            ctx.gradient = torch.empty_like(logits)
        return _result(terms, batch, total, ctx.gradient)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        nothing = (None,) * 5
        gradient, ctx.gradient = ctx.gradient, None
        further = torch.is_grad_enabled() or is_batched(upstream)
        if (further or gradient is None) and not ctx.saved_tensors:
            raise RuntimeError("a loss with in_place=True has a single gradient: its logits are gone")
        if further:
            # somebody wants to differentiate the gradient, or many gradients at once
            return differentiate(ctx.plain, ctx.saved_tensors[0], upstream), *nothing
        if gradient is None:  # given away by an earlier backward
            gradient = torch.empty_like(ctx.saved_tensors[0])
            ctx.batch.evaluate(ctx.terms, None, gradient)
        if not ctx.total:
            gradient.mul_(upstream.unsqueeze(1))
        elif upstream.item() != 1:
            gradient.mul_(upstream)
        return gradient, *nothing


def _result(terms: tuple[Term, ...], batch: Batch, total: bool, gradient: Tensor | None) -> Tensor:
    if total:
        return torch.scalar_tensor(batch.evaluate(terms, None, gradient), dtype=torch.float32)
    values = torch.empty(len(batch.target), dtype=torch.float32)
    batch.evaluate(terms, values, gradient)
    return values


@lru_cache(maxsize=256)
def _prepared(terms: tuple[Term, ...]) -> tuple[ctypes.Array[_Term], int]:
    """Give the terms as C has them, and the rows of scratch that they want."""
    known = (_Term * len(terms))(
        *(_Term(t.weight, t.parameter, FUNCTIONS[t.function], PARTS[t.part]) for t in terms)
    )
    # e^x, and the slopes of each term that is curved
    return known, 1 + sum(t.part != "label" and t.function in ("focal", "power") for t in terms)


class Batch:
    """Logits ``(N, C)`` in float32 and labels ``(N,)``, both contiguous on the CPU, and what each row counts.

    Raises:
        IndexError: a label is out of range.
    """

    def __init__(
        self, logits: Tensor, target: Tensor, *, ignore_index: int, weight: Tensor | None, mean: bool
    ) -> None:
        assert _library is not None
        self.logits, self.target, self.weight = logits.detach(), target, weight
        self.ignore_index = ignore_index
        rows, num_classes = logits.shape
        count = _library.noiseproof_count(
            target.data_ptr(), rows, num_classes, ignore_index, None if weight is None else weight.data_ptr()
        )
        if count < 0:
            label = int(target[int(-count) - 1])
            raise IndexError(f"target {label} is out of bounds for {num_classes} classes")
        self.scale = 1 / count if mean and count > 0 else 1.0

    def evaluate(self, terms: tuple[Term, ...], values: Tensor | None, gradient: Tensor | None) -> float:
        """Give the sum of all values; write them into ``values`` and their gradient into ``gradient``."""
        assert _library is not None
        known, scratch_rows = _prepared(terms)
        rows, num_classes = self.logits.shape

        threads = max(1, min(torch.get_num_threads(), rows, self.logits.numel() // WORTH_A_THREAD))
        scratch = torch.empty(threads * scratch_rows * num_classes, dtype=torch.float32)
        total: float = _library.noiseproof_rows(
            self.logits.data_ptr(),
            self.target.data_ptr(),
            self.ignore_index,
            None if self.weight is None else self.weight.data_ptr(),
            self.scale,
            rows,
            num_classes,
            known,
            len(terms),
            None if values is None else values.data_ptr(),
            None if gradient is None else gradient.data_ptr(),
            scratch.data_ptr(),
            scratch_rows * num_classes,
            threads,
        )
        return total
