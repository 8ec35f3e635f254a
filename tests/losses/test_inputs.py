"""What the losses accept, what they refuse and how they say so, and what they leave untouched."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE, Loss

LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (
            torch.zeros(4, 3),
            LABELS.float(),
            "target must hold class indices (an integer dtype), got torch.float32",
        ),
        (
            torch.zeros(4, 3),
            LABELS.bool(),
            "target must hold class indices (an integer dtype), got torch.bool",
        ),
        (
            torch.zeros(4, 3),
            LABELS.to(torch.complex64),
            "target must hold class indices (an integer dtype), got torch.complex64",
        ),
        (torch.zeros(4, 3).long(), LABELS, "logits must be floating point, got torch.int64"),
        (
            torch.zeros(4, 3, dtype=torch.complex64),
            LABELS,
            "logits must be floating point, got torch.complex64",
        ),
        (torch.zeros(4, 3), LABELS[:, None], "target must be (4,) for logits (4, 3), got (4, 1)"),
        (torch.zeros(4, 3), LABELS[:3], "target must be (4,) for logits (4, 3), got (3,)"),
        (torch.zeros(4, 3), LABELS[0], "target must be (4,) for logits (4, 3), got ()"),
        (torch.zeros(3), LABELS[:1], "target must be () for logits (3,), got (1,)"),
        (torch.zeros(4, 3, 2), LABELS, "target must be (4, 2) for logits (4, 3, 2), got (4,)"),
        (torch.tensor(0.0), LABELS[0], "logits must be (C,), (N, C) or (N, C, d1, ...), got a scalar"),
        (torch.zeros(4, 1), LABELS * 0, "logits must have at least 2 classes, got shape (4, 1)"),
        (torch.zeros(4, 0), LABELS, "logits must have at least 2 classes, got shape (4, 0)"),
    ],
    ids=str,
)
def test_a_misfit_is_refused_and_named(loss: Loss, logits: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
        loss(logits, target)


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_out_of_range_is_an_error(loss: Loss, label: int) -> None:
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        loss(torch.zeros(2, 3), torch.tensor([0, label]))


def test_a_bad_reduction_is_refused_when_the_loss_is_made() -> None:
    for cls in CATALOGUE.values():
        with pytest.raises(NoiseproofError, match="unknown reduction 'men'; did you mean 'mean'"):
            cls(reduction="men")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "bad"),
    [("gamma", value) for value in (-1, -1e-9, float("nan"), float("inf"), True)]
    + [("A", value) for value in (0, 4, float("nan"), -float("inf"), True)],
)
def test_a_hyperparameter_out_of_range_is_refused(name: str, bad: float) -> None:
    takers = [cls for cls in CATALOGUE.values() if name in cls().hyperparameters]
    assert len(takers) == 2
    hyperparameters: dict[str, Any] = {name: bad}
    for cls in takers:
        with pytest.raises(NoiseproofError, match=rf"^{name} of \w+ must be a number .*, got {bad}$"):
            cls(**hyperparameters)


def test_an_empty_batch_gives_0(loss: Loss) -> None:
    assert loss(torch.zeros(0, 3), LABELS[:0]).item() == 0


def test_inputs_stay_as_they_were(loss: Loss, logits: Tensor, target: Tensor) -> None:
    target[0] = loss.ignore_index
    copies = logits.clone(), target.clone()
    loss(logits.requires_grad_(), target).backward()
    assert torch.equal(logits, copies[0])
    assert torch.equal(target, copies[1])


def test_no_global_randomness_is_used(loss: Loss, logits: Tensor, target: Tensor) -> None:
    def draws_after(step: Callable[[], object]) -> tuple[float, float, float]:
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        step()
        return torch.rand(()).item(), random.random(), np.random.rand()

    assert draws_after(lambda: loss(logits.requires_grad_(), target).backward()) == draws_after(lambda: None)


def test_a_graph_is_made_just_where_one_is_asked_for(loss: Loss, logits: Tensor, target: Tensor) -> None:
    without = loss(logits, target)
    with torch.no_grad():
        under_no_grad = loss(logits.requires_grad_(), target)
    with_graph = loss(logits, target)
    assert [v.requires_grad for v in (without, under_no_grad, with_graph)] == [False, False, True]
    assert torch.equal(without, under_no_grad)
    assert torch.equal(without, with_graph.detach())
