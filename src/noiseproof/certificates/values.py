"""Any loss as one function: logits to the loss for every class as the label."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from noiseproof.errors import NoiseproofError
from noiseproof.losses import Loss

AnyLoss = Callable[[Tensor, Tensor], Tensor]
"""``(logits, target) -> values`` with shapes ``(N, K), (N,) -> (N,)``, or a scalar for one sample."""

Values = Callable[[Tensor], Tensor]
"""``(M, K) -> (M, K)``: the loss of each row's logits with each class as the label."""


def values_by_label(loss: AnyLoss) -> Values:
    """Give the loss's values for every label.

    A module with a ``reduction`` is asked for each sample's loss; a loss that only gives one number for a
    batch is asked sample by sample.

    Raises:
        NoiseproofError: what the loss returns is neither one value a sample nor one number.
    """
    if isinstance(loss, Loss):
        per_class = loss.per_class
        return lambda logits: per_class(logits.log_softmax(-1))
    if isinstance(loss, nn.Module) and isinstance(getattr(loss, "reduction", None), str):
        loss = copy.deepcopy(loss)
        loss.reduction = "none"  # type: ignore[assignment]
    each = _per_sample(loss)

    def values(logits: Tensor) -> Tensor:
        rows, num_classes = logits.shape
        repeated = logits.repeat_interleave(num_classes, 0)
        labels = torch.arange(num_classes).repeat(rows)
        return each(repeated, labels).reshape(rows, num_classes)

    return values


def _per_sample(loss: AnyLoss) -> AnyLoss:
    probe = torch.tensor([[0.5, 0.0], [0.0, 1.5], [0.2, 0.1]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1])
    given = loss(probe, labels)
    if not isinstance(given, Tensor):
        raise NoiseproofError(f"a loss must return a tensor, got {type(given).__name__}")
    if given.shape == (3,):
        return loss
    if given.dim() == 0:
        return _one_by_one(loss, probe, labels)
    raise NoiseproofError(
        "a loss must return one value a sample, (3,) for logits (3, 2), or one number;"
        f" got shape {tuple(given.shape)}"
    )


def _one_by_one(loss: AnyLoss, probe: Tensor, labels: Tensor) -> AnyLoss:
    def of_one(logits: Tensor, label: Tensor) -> Tensor:
        return loss(logits.unsqueeze(0), label.unsqueeze(0))

    def in_turn(logits: Tensor, target: Tensor) -> Tensor:
        return torch.stack([of_one(row, label) for row, label in zip(logits, target, strict=True)])

    at_once: AnyLoss = torch.vmap(of_one)
    try:
        same = torch.allclose(at_once(probe, labels), in_turn(probe, labels))
    except RuntimeError:  # not every function can be vectorized
        same = False
    return at_once if same else in_turn
