"""What the losses accept, what they refuse and how they say so, and what they leave untouched."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from noiseproof.errors import NoiseproofError
from noiseproof.losses import CATALOGUE, Loss, functional, parse

FunctionOf = Callable[[str], Callable[..., Tensor]]

LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (
            torch.zeros(4, 3),
            LABELS.float(),
            "a target of probabilities (torch.float32) must have the shape of the logits, (4, 3), got (4,);"
            " class indices must have an integer dtype",
        ),
        (
            torch.zeros(4, 3),
            LABELS.bool(),
            "target must hold class indices (an integer dtype), or probabilities (a floating-point one),"
            " got torch.bool",
        ),
        (
            torch.zeros(4, 3),
            LABELS.to(torch.complex64),
            "target must hold class indices (an integer dtype), or probabilities (a floating-point one),"
            " got torch.complex64",
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


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (
            [[0.0, 1.0, 2.0]],
            LABELS[:1],
            "logits must be a tensor, got list; write torch.as_tensor(logits)",
        ),
        (
            np.zeros((4, 3)),
            LABELS.numpy(),
            "logits must be a tensor, got ndarray; write torch.as_tensor(logits)",
        ),
        (torch.zeros(4, 3), [0, 1, 2, 0], "target must be a tensor, got list; write torch.as_tensor(target)"),
        (
            torch.zeros(4, 3),
            np.eye(3)[[0, 1, 2, 0]],
            "target must be a tensor, got ndarray; write torch.as_tensor(target)",
        ),
    ],
)
def test_what_is_no_tensor_is_named_with_what_makes_it_one(logits: Any, target: Any, message: str) -> None:
    for text in ("nce + mae", "bitempered", "normalized(fl)", "forward(ce, noise='symmetric:0.4')"):
        loss = parse(text)
        with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
            loss(logits, target)
        loss(torch.as_tensor(logits), torch.as_tensor(target))
    with pytest.raises(NoiseproofError, match="^" + re.escape(message) + "$"):
        functional.focal_loss(logits, target)


@pytest.mark.parametrize("ignored", ["3", 1.5, None, True])
def test_a_label_to_ignore_is_a_whole_number(ignored: Any) -> None:
    message = f"^ignore_index must be a whole number, such as -100, got {re.escape(repr(ignored))}$"
    for cls in CATALOGUE.values():
        with pytest.raises(NoiseproofError, match=message):
            cls(ignore_index=ignored)
    with pytest.raises(NoiseproofError, match=message):
        functional.focal_loss(torch.zeros(2, 3), torch.tensor([0, 1]), ignore_index=ignored)
    assert CATALOGUE["ce"](ignore_index=cast(int, np.int64(1)))(
        torch.zeros(2, 3), torch.tensor([0, 1])
    ).isfinite()


def test_a_hyperparameter_is_not_learned_and_no_tensor() -> None:
    gamma = torch.nn.Parameter(torch.tensor(1.0))
    message = r"^gamma of fl must be a number >= 0, got a Parameter \(\); it is not learned$"
    with pytest.raises(NoiseproofError, match=message):
        CATALOGUE["fl"](gamma=gamma)  # type: ignore[call-arg]


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_out_of_range_is_an_error(loss: Loss, label: int) -> None:
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        loss(torch.zeros(2, 3), torch.tensor([0, label]))


def test_a_bad_reduction_is_refused_when_the_loss_is_made() -> None:
    for cls in CATALOGUE.values():
        with pytest.raises(NoiseproofError, match="unknown reduction 'men'; did you mean 'mean'"):
            cls(reduction="men")  # type: ignore[arg-type]


NO_NUMBER = (float("nan"), float("inf"), True)
OUT_OF_RANGE: dict[str, dict[str, tuple[float, ...]]] = {
    "gamma": {"fl nfl nnfl fl_eps": (-1, -1e-9)},
    "A": {"rce nrce sce": (0, 4, -float("inf"))},
    "q": {"gce ngce": (0, -1, 1.01), "aul agce": (0, -1)},
    "alpha": {"sce": (0, -1)},
    "beta": {"sce": (0, -1)},
    "epsilon": {"ls": (-0.1, 1.1)},
    "pi": {"js": (0, 1, 2)},
    "t": {"tce": (0, -1, 1.5, 1001)},
    "a": {"aul": (1, 0.5), "agce ael": (0, -1)},
    "p_min": {"nnce nnfl": (0, -1, 0.5)},
    "m": {"ce_eps fl_eps": (-1, -1e-9)},
    "t1": {"bitempered": (-0.1, 1.1)},
    "t2": {"bitempered": (0.9, 0)},
}


def test_the_ranges_cover_every_hyperparameter() -> None:
    listed = {
        (name, loss) for name, by_loss in OUT_OF_RANGE.items() for key in by_loss for loss in key.split()
    }
    assert listed == {(name, loss) for loss, cls in CATALOGUE.items() for name in cls().hyperparameters}


@pytest.mark.parametrize(
    ("name", "loss_name", "bad"),
    [
        (name, loss, value)
        for name, by_loss in OUT_OF_RANGE.items()
        for key, values in by_loss.items()
        for loss in key.split()
        for value in (*values, *NO_NUMBER)
    ],
)
def test_a_hyperparameter_out_of_range_is_refused(
    name: str, loss_name: str, bad: float, function_of: FunctionOf
) -> None:
    hyperparameters: dict[str, Any] = {name: bad}
    function = function_of(loss_name)
    message = rf"^{name} of \w+ must be a (whole )?number .*, got {re.escape(repr(bad))}$"
    with pytest.raises(NoiseproofError, match=message):
        CATALOGUE[loss_name](**hyperparameters)
    with pytest.raises(NoiseproofError, match=message):
        function(torch.zeros(2, 3), LABELS[:2], **hyperparameters)


def test_powers_that_would_overflow_are_refused() -> None:
    for name in ("aul", "agce"):
        with pytest.raises(NoiseproofError, match=rf"of {name} must keep \(a \+ 1\)\^q <= 1e\+30"):
            CATALOGUE[name](a=1e10, q=4)  # type: ignore[call-arg]


def test_p_min_must_leave_room_for_the_classes() -> None:
    loss = parse("nnce(p_min=0.1)")
    loss(torch.zeros(2, 9), LABELS[:2])
    with pytest.raises(NoiseproofError, match=r"p_min .* must be below 1/K, got 0.1 for 10 classes"):
        loss(torch.zeros(2, 10), LABELS[:2])


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
