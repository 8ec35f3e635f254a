"""A formula's value in one pass over the logits, its gradient in another, nothing of their size between.

The rows are taken in blocks that stay in a core's cache. Forward keeps a few numbers of each row, backward
makes the probabilities again from them: peak memory is the logits and their gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from noiseproof.losses.formula import OnLabel, RowFormula

BLOCK = 262_144
"""Elements of a block, 1 MB in float32: measured on two cores, smaller ones lose to the cost of each call."""

SMALLEST = 1 << 17
"""Elements of the smallest logits that are worth it for a formula with sums; below, autograd is quicker."""

SMALLEST_WITHOUT_SUMS = 1 << 23
"""The same for a formula of the label's probability alone, of which PyTorch makes fewer passes."""


@dataclass(frozen=True)
class Rows:
    """What a formula is evaluated on, besides the logits ``(N, C)``.

    ``target``: ``(N,)``, valid everywhere; ``factor``: ``(N,)``, what each row counts, 0 if its label is
    ignored; None if all count 1. ``scale``: factor of all values: 1, or 1/count for a mean. ``total``:
    whether the values are added up.
    """

    target: Tensor
    factor: Tensor | None
    scale: float
    total: bool


def is_eager_on_cpu(tensor: Tensor) -> bool:
    """Tell whether ``tensor`` can be looked at, and worked on in place, at no cost.

    Not on a device that would have to be waited for.
    """
    return tensor.device.type == "cpu" and is_eager(tensor)


def is_eager(*tensors: Tensor) -> bool:
    """Tell whether these are plain tensors: not traced or compiled, not transformed, without a dual."""
    return (
        not torch.compiler.is_compiling()
        and _PLAIN.issuperset(map(type, tensors))
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
        and torch._C._get_tracing_state() is None
        and torch._C._len_torch_dispatch_stack() == 0
    )


_PLAIN = {Tensor, torch.nn.Parameter}


def can_fuse(formula: RowFormula, logits: Tensor) -> bool:
    """Tell whether `fused` takes these logits: large, ``(N, C)``, eager, on the CPU.

    Elsewhere the plain formulas serve: a compiler fuses them itself, and a transform wants to see them.
    """
    if not is_eager_on_cpu(logits) or logits.dim() != 2:
        return False
    return logits.numel() >= (SMALLEST if formula.summed else SMALLEST_WITHOUT_SUMS)


def fused(formula: RowFormula, logits: Tensor, rows: Rows, plain: Callable[[Tensor], Tensor]) -> Tensor:
    """Evaluate ``formula``; ``plain`` is the same in plain PyTorch, for second derivatives."""
    result: Tensor = _Fused.apply(logits, formula, rows, plain)  # type: ignore[no-untyped-call]
    return result


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, formula: RowFormula, rows: Rows, plain: Callable[[Tensor], Tensor]
    ) -> Tensor:
        num_rows, num_classes = logits.shape
        dtype = torch.promote_types(logits.dtype, torch.float32)
        index = rows.target.unsqueeze(1)
        ctx.formula, ctx.rows, ctx.plain = formula, rows, plain
        highest, log_rest, label, *sums = torch.empty(3 + len(formula.summed), num_rows, 1, dtype=dtype)
        for block in _blocks(num_rows, num_classes):
            log_p = torch.log_softmax(logits[block], 1, dtype=dtype)
            # log-partition = highest + log_rest: added up, large logits would cost the second its digits
            highest[block] = logits[block].amax(1, True)
            log_rest[block] = log_p.amax(1, True).neg_()
            torch.gather(log_p, 1, index[block], out=label[block])
            for h, total in zip(formula.summed, sums, strict=True):
                torch.sum(h.value(log_p), 1, True, out=total[block])
        at = formula.linearized(label, sums, num_classes)
        ctx.save_for_backward(logits, highest, log_rest, at.of_label, *at.of_sums)
        values = at.value.squeeze(1)
        if rows.factor is not None:
            values = torch.where(rows.factor == 0, 0, values * rows.factor)
        if rows.total:
            values = values.sum()
        return values if rows.scale == 1 else values * rows.scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, highest, log_rest, of_label, *of_sums = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(gradient):
            # somebody wants to differentiate the gradient, or many gradients at once
            return differentiate(ctx.plain, logits, gradient), None, None, None
        num_rows, num_classes = logits.shape
        rows = ctx.rows
        factor = (gradient if rows.total else gradient.unsqueeze(1)) * rows.scale
        if rows.factor is not None:
            factor = factor * rows.factor.unsqueeze(1)
        of_label, *of_sums = (slope * factor for slope in (of_label, *of_sums))
        whole = Gradient(ctx.formula, of_label, of_sums, num_classes)
        index = rows.target.unsqueeze(1)
        result = torch.empty_like(logits)
        for block in _blocks(num_rows, num_classes):
            log_p = torch.sub(logits[block], highest[block]).sub_(log_rest[block])
            result[block] = whole.of_block(log_p, index[block], block)
        return result, None, None, None


class Gradient:
    """The gradient over the logits, from the slopes of each row: ``dL/dz_k = of_label (d_ky - p_k)
    + sum_h of_sum_h (h'(l_k) - p_k sum_j h'(l_j))``; where h' is a number, its part is alike in all classes.
    """

    def __init__(
        self, formula: RowFormula, of_label: Tensor, of_sums: Sequence[Tensor], num_classes: int
    ) -> None:
        self.of_label = of_label
        self.of_p = -of_label
        self.of_all: Tensor | None = None
        self.uneven: list[tuple[OnLabel, Tensor]] = []
        for h, of_sum in zip(formula.summed, of_sums, strict=True):
            if isinstance(h.slope, float):
                part = of_sum * h.slope
                self.of_p = torch.sub(self.of_p, part, alpha=num_classes)
                self.of_all = part if self.of_all is None else self.of_all + part
            else:
                self.uneven.append((h, of_sum))

    def of_block(self, log_p: Tensor, index: Tensor, block: slice) -> Tensor:
        """Give the gradient of the rows in ``block``, whose log-probabilities these are (and are used up)."""
        of_p, rest = self.of_p[block], None if self.of_all is None else self.of_all[block]
        for h, of_sum in self.uneven:
            slopes = h.slopes(log_p)
            of_p = torch.addcmul(of_p, of_sum[block], slopes.sum(1, True), value=-1)
            part = slopes * of_sum[block]
            rest = part if rest is None else part.add_(rest)
        p = log_p.exp_()
        out = p.mul_(of_p) if rest is None else torch.addcmul(rest, p, of_p, out=p)
        return out.scatter_add_(1, index, self.of_label[block])


def differentiate(plain: Callable[[Tensor], Tensor], logits: Tensor, upstream: Tensor) -> Tensor:
    """Give the gradient by autograd, itself differentiable where gradients are asked for."""
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        (of_logits,) = torch.autograd.grad(plain(logits), logits, upstream, create_graph=wanted)
    return of_logits


def is_batched(gradient: Tensor) -> bool:
    """Tell whether this is many gradients at once, which in-place operations don't take."""
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(gradient) or functorch.is_legacy_batchedtensor(gradient)


def _blocks(num_rows: int, num_classes: int) -> Iterator[slice]:
    step = max(1, BLOCK // num_classes)
    for start in range(0, max(num_rows, 1), step):
        yield slice(start, start + step)
