"""Durations: as people write them, and nothing else."""

from __future__ import annotations

import pytest

from noiseproof.cli.durations import parse_duration
from noiseproof.errors import NoiseproofError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("9m", 540), ("90s", 90), ("90", 90), ("1h30m", 5400), ("1h", 3600), ("1h1m1s", 3661), ("1h5", 3605),
        ("0.5s", 0.5), ("1.5h", 5400), ("0h1s", 1), (" 2M ", 120), ("1H", 3600), ("100000s", 100000),
    ],
)  # fmt: skip
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", " ", "0", "0s", "0h0m", "-5", "-1m", "soon", "5x", "1m1h", "1s1m", "m", "h", "s", ".5s", "1.s",
     "1e3", "inf", "nan", "1 h", "1h 30m", "5 min", "1:30", "1,5h", "1h1h"],
)  # fmt: skip
def test_anything_else_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(NoiseproofError) as refusal:
        parse_duration(text)
    assert str(refusal.value) == f"a duration must be such as 9m, 90s or 1h30m, got {text!r}"
