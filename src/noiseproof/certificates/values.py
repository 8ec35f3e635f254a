"""Any loss as one function: logits to the loss for every class as the label."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError
from noiseproof.losses import Loss
from noiseproof.losses.checks import check_weight_fits

AnyLoss = Callable[[Tensor, Tensor], Tensor]
"""``(logits, target) -> values`` with shapes ``(N, K), (N,) -> (N,)``, or a scalar for one sample."""

IN_DOUBLE, IN_SINGLE = 1e-9, 1e-4
"""Relative error that rounding explains, of values in double and in single precision."""

MOST_AT_ONCE = 2**24
"""Numbers in the logits that a user's loss is given in one call."""


@dataclass(frozen=True)
class Values:
    """The loss of each row's logits with each class as the label: shapes ``(M, K) -> (M, K)``.

    ``rounding``: the relative error that rounding explains.
    """

    of_labels: Callable[[Tensor], Tensor]
    rounding: float = IN_DOUBLE

    def __call__(self, logits: Tensor) -> Tensor:
        """Give the values."""
        return self.of_labels(logits)

    def times(self, factor: float) -> Values:
        """Give the values of ``factor`` times the loss."""
        return Values(lambda logits: factor * self.of_labels(logits), self.rounding)

    def size(self, num_classes: int) -> float:
        """Give about how far the values range, as a power of 2, which divides without rounding."""
        seen = self.of_labels(random_logits(num_classes)).detach().flatten()
        seen = seen[seen.isfinite()]
        if len(seen) == 0:
            return 1.0
        spread, greatest = (seen.max() - seen.min()).item(), seen.abs().max().item()
        size = spread if spread > self.rounding * greatest else greatest
        return math.ldexp(1.0, math.frexp(size)[1]) if size > 0 else 1.0


def in_double(loss: AnyLoss) -> AnyLoss:
    """Give a module's copy in double precision on the CPU, to be asked for each sample's loss.

    A copy, for a module may count its calls. Anything but a module is given as it is.
    """
    if not isinstance(loss, nn.Module):
        return loss
    copied = copy.deepcopy(loss).cpu().double()
    if isinstance(getattr(copied, "reduction", None), str):
        with suppress(AttributeError):  # one that can't be set is asked sample by sample
            copied.reduction = "none"  # type: ignore[assignment]
    return copied


def values_by_label(loss: AnyLoss, num_classes: int, *, within: Loss | None = None) -> Values:
    """Give the loss's values for every label, its class weights and ``ignore_index`` applied.

    ``within``: the sum that ``loss`` is a term of, whose weights then count instead. A loss that only gives
    one number for a batch is asked sample by sample. One that only works in single precision, or gives that,
    is asked so.

    Raises:
        NoiseproofError: there is not one weight a class; or what the loss returns is neither one value a
            sample nor one number, comes from the other samples too, or is another each time.
    """
    if not isinstance(loss, Loss):
        return _of_any(loss, num_classes)
    per_class, factors = loss.per_class, label_factors(within or loss, num_classes)
    if factors is None:
        return Values(lambda logits: per_class(logits.log_softmax(-1)))
    # where: a label that does not count gives 0 even where its loss is infinite
    return Values(lambda logits: factors * torch.where(factors == 0, 0.0, per_class(logits.log_softmax(-1))))


def label_factors(loss: Loss, num_classes: int) -> Tensor | None:
    """Give ``(K,)``, what each label counts by class weights and ``ignore_index``; None if all count 1."""
    ignored = 0 <= loss.ignore_index < num_classes
    if loss.weight is None and not ignored:
        return None
    factors = torch.ones(num_classes, dtype=torch.float64)
    if loss.weight is not None:
        check_weight_fits(loss.weight, torch.empty(1, num_classes))
        factors = loss.weight.detach().cpu().double().clone()
    if ignored:
        factors[loss.ignore_index] = 0.0
    return factors


def random_logits(num_classes: int) -> Tensor:
    """Give 16 rows of ordinary logits, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, num_classes, generator=generator, dtype=torch.float64)


def derivative(values: Tensor, at: Tensor) -> Tensor:
    """Give the derivative of the sum of ``values``; 0 where they are steps, whose slope is 0."""
    if not values.requires_grad:
        return torch.zeros_like(at)
    (found,) = torch.autograd.grad(
        values.sum(), at, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return found


def _of_any(loss: AnyLoss, num_classes: int) -> Values:
    samples = 3 if num_classes != 3 else 4  # so that samples are not taken for classes
    probe, labels = random_logits(num_classes)[:samples], torch.arange(samples) % num_classes
    loss, given = _answering(loss, probe, labels)
    single = given.dtype is torch.float32
    tolerance = IN_SINGLE if single else 1e-6
    if given.shape == (samples,):
        each = loss
        _check_alone(each, given, probe, labels, tolerance)
    elif given.dim() == 0:
        each = _one_by_one(loss, probe, labels)
    else:
        raise NoiseproofError(
            f"a loss must return one value a sample, ({samples},) for logits ({samples}, {num_classes}),"
            f" or one number; got shape {tuple(given.shape)}"
        )

    def of_rows(logits: Tensor) -> Tensor:
        repeated = logits.repeat_interleave(num_classes, 0)
        target = torch.arange(num_classes).repeat(len(logits))
        return each(repeated, target).double().reshape(len(logits), num_classes)

    most = max(1, MOST_AT_ONCE // num_classes**2)

    def values(logits: Tensor) -> Tensor:
        return torch.cat([of_rows(rows) for rows in torch.split(logits, most)])

    return Values(values, IN_SINGLE if single else IN_DOUBLE)


def _answering(loss: AnyLoss, probe: Tensor, labels: Tensor) -> tuple[AnyLoss, Tensor]:
    """Give the loss as it can be asked, and its answer; one that can't take double precision gets single."""

    def in_single(logits: Tensor, target: Tensor) -> Tensor:
        return loss(logits.float(), target)

    try:
        given = loss(probe, labels)
    except RuntimeError as error:
        try:
            in_single(probe, labels)
        except Exception:
            raise error from None  # precision was not the fault
        return _answering(in_single, probe, labels)
    if not isinstance(given, Tensor):
        raise NoiseproofError(f"a loss must return a tensor, got {type(given).__name__}")
    if given.dtype in (torch.float16, torch.bfloat16) or given.is_complex():
        raise NoiseproofError(f"a loss must return float32 or float64 to be certified, got {given.dtype}")
    if not torch.equal(given.nan_to_num(), loss(probe, labels).nan_to_num()):
        raise NoiseproofError("a loss must return the same each time it is asked, got another value")
    return loss, given


def _check_alone(loss: AnyLoss, given: Tensor, probe: Tensor, labels: Tensor, tolerance: float) -> None:
    alone = torch.cat([loss(row[None], label[None]) for row, label in zip(probe, labels, strict=True)])
    scale = given.double().nan_to_num(0, 0, 0).abs().max().item()
    if not torch.allclose(given, alone, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        raise NoiseproofError(
            "a loss's value for a sample must not depend on the other samples,"
            f" got {given[0].item():.6g} among {len(given)} and {alone[0].item():.6g} alone"
        )


def _one_by_one(loss: AnyLoss, probe: Tensor, labels: Tensor) -> AnyLoss:
    def of_one(logits: Tensor, label: Tensor) -> Tensor:
        return loss(logits.unsqueeze(0), label.unsqueeze(0))

    def in_turn(logits: Tensor, target: Tensor) -> Tensor:
        return torch.stack([of_one(row, label) for row, label in zip(logits, target, strict=True)])

    at_once: AnyLoss = torch.vmap(of_one)
    try:
        same = torch.allclose(at_once(probe, labels), in_turn(probe, labels), equal_nan=True)
    except (RuntimeError, ValueError):  # not every function can be vectorized
        same = False
    return at_once if same else in_turn
