"""The compiled kernel, ``csrc``: loss and gradient of a batch in one call, each row while it is in the cache.

It is compiled when the package is installed. Without a C compiler it is not there, and PyTorch does the work.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noiseproof.losses.checks import Reduction
from noiseproof.losses.formula import FUNCTIONS, PARTS, Term
from noiseproof.losses.fused import differentiate, is_batched

SOURCE = Path(__file__).with_name("csrc")
LIBRARY = Path(__file__).with_name("libkernel.so")

MOST_TERMS = 16
"""As ``terms.h`` has it."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
"""Of logits for which the kernel is used; it is given them in float32."""

WORTH_A_THREAD = 1 << 15
"""Logits of a batch for each thread: measured on two cores, fewer are done before a thread is awake."""

REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
"""Numbers by which ``kernel.c`` goes."""


class _Term(ctypes.Structure):
    _fields_ = (
        ("weight", ctypes.c_double),
        ("first", ctypes.c_double),
        ("second", ctypes.c_double),
        ("towards_top", ctypes.c_double),
        ("function", ctypes.c_int32),
        ("part", ctypes.c_int32),
    )


def checksum(source: Path) -> int:
    """Give the checksum of all source files together, as ``hatch_build.py`` does."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(source.iterdir())))


def load(library: Path, source: Path) -> ctypes.CDLL | None:
    """Load the library, unless it is not there, for another machine, or compiled from another source."""
    try:
        loaded = ctypes.CDLL(str(library))
        same = loaded.noiseproof_source() & 0xFFFFFFFF == checksum(source)
    except (OSError, AttributeError):
        return None
    pointer, long, short = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    loaded.noiseproof_rows.restype = long
    loaded.noiseproof_rows.argtypes = (
        *(pointer, pointer, pointer, long, long, long),
        *(pointer, short, short, pointer, pointer, short),
    )
    return loaded if same else None


_library = load(LIBRARY, SOURCE)


def is_there() -> bool:
    """Tell whether the kernel was compiled, from the source that is here."""
    return _library is not None


def can_run(logits: Tensor, terms: tuple[Term, ...]) -> bool:
    """Tell whether the kernel is there and takes these terms of these logits."""
    return _library is not None and logits.dtype in DTYPES and logits.is_cpu and len(terms) <= MOST_TERMS


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes with logits ``(N, C)``, which like all of it are contiguous on the CPU.

    ``target``: labels ``(N,)``, in int64; ``weight``: factor of each class ``(C,)``, in float32.
    """

    target: Tensor
    ignore_index: int
    weight: Tensor | None
    reduction: Reduction

    def evaluate(
        self, terms: tuple[Term, ...], logits: Tensor, result: Tensor, gradient: Tensor | None
    ) -> None:
        """Write the values, or their sum or mean, into ``result``, and their gradient into ``gradient``.

        Raises:
            IndexError: a label is out of range.
        """
        assert _library is not None
        rows, num_classes = logits.shape
        fault = _library.noiseproof_rows(
            logits.data_ptr(),
            self.target.data_ptr(),
            None if self.weight is None else self.weight.data_ptr(),
            self.ignore_index,
            rows,
            num_classes,
            _as_in_c(terms),
            len(terms),
            REDUCTIONS[self.reduction],
            result.data_ptr(),
            None if gradient is None else gradient.data_ptr(),
            min(torch.get_num_threads(), rows, rows * num_classes // WORTH_A_THREAD),
        )
        if fault >= 0:
            label = int(self.target[fault])
            raise IndexError(f"target {label} is out of bounds for {num_classes} classes")
        if fault < -1:
            raise MemoryError(f"no memory for rows of {num_classes} classes")


def compiled(
    logits: Tensor, terms: tuple[Term, ...], batch: Batch, in_place: bool, plain: Callable[[Tensor], Tensor]
) -> Tensor:
    """Evaluate a sum of terms; ``plain`` is the same in plain PyTorch, for second derivatives.

    ``in_place``: whether the gradient takes the logits' memory.
    """
    if logits.requires_grad and torch.is_grad_enabled():
        result: Tensor = _Compiled.apply(logits, terms, batch, in_place, plain)  # type: ignore[no-untyped-call]
    else:
        result = _result_of(batch)
        batch.evaluate(terms, logits, result, None)
    return result


class _Compiled(torch.autograd.Function):
    """Makes the gradient together with the value, so that backward has only to scale it."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        terms: tuple[Term, ...],
        batch: Batch,
        in_place: bool,
        plain: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.terms, ctx.batch, ctx.plain, ctx.in_place = terms, batch, plain, in_place
        result = _result_of(batch)
        if in_place:
            gradient = logits.detach()
            torch.autograd.graph.increment_version(logits)  # so that whoever else needs them finds out
        else:
            ctx.save_for_backward(logits)
            gradient = torch.empty_like(logits)
        batch.evaluate(terms, logits, result, gradient)
        ctx.gradient = gradient
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient, ctx.gradient = ctx.gradient, None
        further = torch.is_grad_enabled() or is_batched(upstream)
        if (further or gradient is None) and ctx.in_place:
            raise RuntimeError("a loss with in_place=True has a single gradient: its logits are gone")
        if further:
            # somebody wants to differentiate the gradient, or many gradients at once
            return differentiate(ctx.plain, ctx.saved_tensors[0], upstream), None, None, None, None
        if gradient is None:  # given away by an earlier backward
            (logits,) = ctx.saved_tensors
            gradient = torch.empty_like(logits)
            ctx.batch.evaluate(ctx.terms, logits, _result_of(ctx.batch), gradient)
        if upstream.dim():
            gradient.mul_(upstream.unsqueeze(1))
        elif upstream.item() != 1:
            gradient.mul_(upstream)
        return gradient, None, None, None, None


def _result_of(batch: Batch) -> Tensor:
    if batch.reduction == "none":
        return torch.empty(batch.target.shape, dtype=torch.float32)
    return torch.empty((), dtype=torch.float32)


@lru_cache(maxsize=256)
def _as_in_c(terms: tuple[Term, ...]) -> ctypes.Array[_Term]:
    return (_Term * len(terms))(
        *(
            _Term(t.weight, t.first, t.second, t.towards_top, FUNCTIONS[t.function], PARTS[t.part])
            for t in terms
        )
    )
