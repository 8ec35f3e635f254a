"""What losses are given, checked at the edge: every error names the value and what was expected."""

from __future__ import annotations

from numbers import Integral
from typing import Literal, get_args

import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError, did_you_mean
from noiseproof.losses.fused import is_eager_on_cpu

Reduction = Literal["none", "mean", "sum"]
REDUCTIONS = get_args(Reduction)


def check_reduction(reduction: str) -> None:
    """Raise `NoiseproofError` unless ``reduction`` is one of none, mean, sum."""
    if reduction not in REDUCTIONS:
        raise NoiseproofError(f"unknown reduction {reduction!r}; {did_you_mean(str(reduction), REDUCTIONS)}")


def check_ignore_index(ignore_index: int) -> None:
    """Raise `NoiseproofError` unless ``ignore_index`` is a whole number."""
    if not isinstance(ignore_index, Integral) or isinstance(ignore_index, bool):
        raise NoiseproofError(f"ignore_index must be a whole number, such as -100, got {ignore_index!r}")


def check_tensors(logits: Tensor, target: Tensor) -> None:
    """Raise `NoiseproofError`, which says what to write instead, unless both are tensors."""
    if not (isinstance(logits, Tensor) and isinstance(target, Tensor)):
        name, given = ("target", target) if isinstance(logits, Tensor) else ("logits", logits)
        raise NoiseproofError(
            f"{name} must be a tensor, got {type(given).__name__}; write torch.as_tensor({name})"
        )


def check_weight(weight: Tensor) -> None:
    """Raise `NoiseproofError` unless ``weight`` is a vector of numbers >= 0, these where looking is free."""
    if not isinstance(weight, Tensor) or weight.dim() != 1 or not weight.is_floating_point():
        given = f"{weight.dtype} {_shape(weight.shape)}" if isinstance(weight, Tensor) else repr(weight)
        raise NoiseproofError(
            f"weight must be a floating-point tensor (C,) of one factor a class, got {given}"
        )
    if not is_eager_on_cpu(weight):
        return
    wrong = ~(weight.isfinite() & (weight >= 0))
    if wrong.any():
        k = int(wrong.nonzero()[0])
        raise NoiseproofError(f"weight must be finite and >= 0, got {weight[k].item():g} for class {k}")


def check_weight_fits(weight: Tensor, logits: Tensor) -> None:
    """Raise `NoiseproofError` unless ``weight`` has one factor for each class of ``logits``."""
    num_classes = logits.shape[1 if logits.dim() > 1 else 0]
    if weight.shape != (num_classes,):
        raise NoiseproofError(
            f"weight must be ({num_classes},), a factor for each class, got {_shape(weight.shape)}"
        )


def _check_logits(logits: Tensor) -> int:
    """Give the class dimension of valid logits."""
    if not logits.is_floating_point():
        raise NoiseproofError(f"logits must be floating point, got {logits.dtype}")
    dim = logits.dim()
    if dim == 0:
        raise NoiseproofError("logits must be (C,), (N, C) or (N, C, d1, ...), got a scalar")
    class_dim = 1 if dim > 1 else 0
    if logits.shape[class_dim] < 2:
        raise NoiseproofError(f"logits must have at least 2 classes, got shape {_shape(logits.shape)}")
    return class_dim


def check_labels(logits: Tensor, target: Tensor) -> None:
    """Raise `NoiseproofError` unless ``target`` holds class indices, one for each position of ``logits``."""
    class_dim = _check_logits(logits)
    if target.is_complex() or target.dtype is torch.bool:
        raise NoiseproofError(
            "target must hold class indices (an integer dtype), or probabilities (a floating-point one),"
            f" got {target.dtype}"
        )
    expected = logits.shape[:class_dim]
    if logits.dim() > 2:
        expected += logits.shape[2:]
    if target.shape != expected:
        raise NoiseproofError(
            f"target must be {_shape(expected)} for logits {_shape(logits.shape)}, got {_shape(target.shape)}"
        )


PROBABILITY_SLACK = 1e-2
"""How far from 1 a row of probabilities may sum, so that half precision passes."""


def check_probabilities(logits: Tensor, target: Tensor) -> None:
    """Raise `NoiseproofError` unless ``target`` holds probabilities of the shape of ``logits``."""
    class_dim = _check_logits(logits)
    if target.shape != logits.shape:
        labels = logits.shape[:class_dim] + logits.shape[class_dim + 1 :]
        hint = "; class indices must have an integer dtype" if target.shape == labels else ""
        raise NoiseproofError(
            f"a target of probabilities ({target.dtype}) must have the shape of the logits,"
            f" {_shape(logits.shape)}, got {_shape(target.shape)}{hint}"
        )
    if not is_eager_on_cpu(target) or target.numel() == 0:
        return
    if not bool((target.detach() >= 0).all()):
        raise NoiseproofError(f"a target of probabilities must be >= 0, got {target.detach().min():g}")
    total = target.detach().sum(class_dim, dtype=torch.float64)
    worst = total.flatten()[(total - 1).abs().argmax()].item()
    if not abs(worst - 1) <= PROBABILITY_SLACK:
        raise NoiseproofError(f"a target of probabilities must sum to 1 over the classes, got {worst:.6g}")


def _shape(shape: torch.Size) -> str:
    return str(tuple(shape))
