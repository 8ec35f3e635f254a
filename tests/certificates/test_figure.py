"""The picture of a loss's forces."""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseproof.certificates import certify
from noiseproof.certificates.figure import FORMATS, draw_gradients
from noiseproof.errors import NoiseproofError

SIGNATURES = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.slow
@pytest.mark.parametrize("ending", FORMATS)
def test_it_is_drawn_in_each_format_the_same_each_time(ending: str, tmp_path: Path) -> None:
    certificates = [certify("ce", 3), certify("mae", 3)]
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    draw_gradients(certificates, first)
    draw_gradients(certificates, second)
    assert first.read_bytes().startswith(SIGNATURES[ending])
    if ending != "svg":  # whose ids are random
        assert first.read_bytes() == second.read_bytes()


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        NoiseproofError, match=r"must end in .png, .svg or .pdf, got 'a.sgv'; did you mean 'svg'"
    ):
        draw_gradients([], tmp_path / "a.sgv")
