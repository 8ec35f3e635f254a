"""Histories as data: what they accept, how they grow."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from noiseproof.training import History

EPOCH = {name: 0.1 * i for i, name in enumerate(History.model_fields)}


def test_an_epoch_is_appended_to_every_field_and_the_old_history_stays() -> None:
    first = History().extended(**EPOCH)
    second = first.extended(**EPOCH | {"train_loss": None, "test": 0.9})
    assert [len(history) for history in (History(), first, second)] == [0, 1, 2]
    assert first.model_dump() == {name: (value,) for name, value in EPOCH.items()}
    assert second.train_loss == (EPOCH["train_loss"], None)
    assert second.test == (EPOCH["test"], 0.9)
    assert second.right == (EPOCH["right"],) * 2


@pytest.mark.parametrize("name", History.model_fields)
def test_no_field_may_be_left_out_of_an_epoch(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        History().extended(**{field: value for field, value in EPOCH.items() if field != name})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "much"], ids=str)
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="train_loss"):
        History().extended(**EPOCH | {"train_loss": value})


def test_a_history_reads_back_exactly_from_json() -> None:
    history = History().extended(**EPOCH).extended(**EPOCH | {"train_loss": None, "test": 1 / 3})
    assert History.model_validate_json(history.model_dump_json()) == history
