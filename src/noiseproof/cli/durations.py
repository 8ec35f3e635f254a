"""Durations as people write them: ``9m``, ``90s``, ``1h30m``."""

from __future__ import annotations

import re

from noiseproof.errors import NoiseproofError


def parse_duration(text: str) -> float:
    """Read a duration in seconds; raises `NoiseproofError` for anything else.

    >>> parse_duration("1h30m"), parse_duration("90s"), parse_duration("45")
    (5400.0, 90.0, 45.0)
    """
    number = r"(\d+(?:\.\d+)?)"
    match = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", text.strip().lower())
    seconds = (
        sum(float(v or 0) * unit for v, unit in zip(match.groups(), (3600, 60, 1), strict=True))
        if match
        else 0.0
    )
    if not seconds > 0:
        raise NoiseproofError(f"a duration must be such as 9m, 90s or 1h30m, got {text!r}")
    return seconds
