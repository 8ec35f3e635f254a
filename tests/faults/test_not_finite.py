"""Logits that are NaN or infinite: a loss is never finite and wrong, and one run's ruin is its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from noiseproof.losses import CATALOGUE, Loss, parse
from noiseproof.study import Archive, Study, conduct

LOSSES = [
    *CATALOGUE,
    "nce+mae",
    "2*nfl + 0.5*rce",
    "normalized(fl(gamma=2))",
    "forward(ce, noise='symmetric:0.4')",
]

ROW = [0.3, -1.2, 2.0, 0.5]

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": lambda rows: rows,
    "columns": lambda rows: rows.t().contiguous().t(),
    "pixels": lambda rows: rows.unsqueeze(-1).repeat(1, 1, 2),
}
"""Each takes another way through the code."""

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def evaluated(loss: Loss, rows: Tensor, label: int, layout: str) -> tuple[Tensor, Tensor]:
    """Values ``(N,)`` and gradients ``(N, C)`` of rows that all bear one label."""
    logits = LAYOUTS[layout](rows).requires_grad_()
    target = torch.full(logits.shape[:1] + logits.shape[2:], label)
    values = loss(logits, target)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    n, classes = rows.shape
    return values.reshape(n, -1)[:, 0].detach(), gradient.reshape(n, classes, -1)[..., 0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("text", LOSSES)
def test_nan_and_infinity_are_never_made_a_number_and_touch_no_other_row(
    text: str, dtype: torch.dtype, layout: str
) -> None:
    loss = parse(text, reduction="none")
    for bad in (math.nan, math.inf):
        for place in (0, 2):  # of the label, and of another class
            ruined = [*ROW]
            ruined[place] = bad
            values, gradients = evaluated(loss, torch.tensor([ROW, ruined, ROW], dtype=dtype), 0, layout)
            assert values.isnan().tolist() == [False, True, False]
            assert gradients[1].isnan().all()
            assert gradients[[0, 2]].isfinite().all()
            assert values[0] == values[2]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("text", LOSSES)
def test_a_class_ruled_out_gives_the_limit_or_nothing_finite(text: str, layout: str) -> None:
    """At -inf plain arithmetic may find no number, inf / inf; but a number must be the one approached."""
    loss = parse(text, reduction="none")
    for place in (0, 2):
        rows = torch.tensor([ROW] * 4, dtype=torch.float64)
        # the slowest approach is as 1 / z
        rows[:, place] = torch.tensor([-1e6, -1e9, -1e12, -math.inf])
        (a, b, c, found), _ = evaluated(loss, rows, 0, layout)
        if not found.isfinite():
            continue
        assert (b - c).abs() < 1e-3, "it does not converge"
        assert (found - c).abs() < 1e-4 + (a - b).abs()


def test_a_run_whose_loss_is_not_finite_is_recorded_as_diverged_and_stops_no_other(
    study: Study, tmp_path: Path, histories: Callable[[Path], dict[str, Any]]
) -> None:
    content = study.model_dump(mode="json")
    both = Study.read(content | {"losses": ["1e300*ce", "mae"]}, where="both")
    alone = Study.read(content | {"losses": ["mae"]}, where="alone")
    assert conduct(both, tmp_path / "both", device="cpu").ended == "finished"
    conduct(alone, tmp_path / "alone", device="cpu")
    statuses = {
        record.config.loss: record.status for record in Archive(tmp_path / "both").finished().values()
    }
    assert statuses == {"1e+300*ce": "diverged", "mae": "finished"}
    found, expected = (histories(tmp_path / name)["mae_symmetric-0.4_seed-0"] for name in ("both", "alone"))
    for field, values in expected.items():
        assert found[field] == pytest.approx(values, rel=1e-4, abs=0.05), field
