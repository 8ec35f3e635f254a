"""The pages of the losses are true: each loss has one, with the certificate that it gets today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from noiseproof.certificates import certify, refuted_claims
from noiseproof.losses import CATALOGUE

PAGES = Path(__file__).parent.parent / "docs" / "losses"


def without_rounding(certificate: str) -> str:
    """Leave out what rounding decides: where exactly an optimiser ends, and how near to 0 a spread is."""
    kept = [line for line in certificate.strip().splitlines() if not line.startswith("  worst logits")]
    return re.sub(r" \(spread [^)]*\)", "", "\n".join(kept))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_page_shows_the_certificate(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text()
    assert page.startswith(f"# {name}: {CATALOGUE[name].title}\n")
    (shown,) = re.findall(r"```\n(.*?)```", page, re.DOTALL)
    certificate = certify(name)
    assert without_rounding(shown) == without_rounding(str(certificate))
    assert refuted_claims(CATALOGUE[name]().properties(10), certificate) == []
    assert f"{CATALOGUE[name].equation}" in page
    assert CATALOGUE[name].source in page
    assert (PAGES / f"{name}.png").stat().st_size > 10_000


def test_the_readme_shows_one_too() -> None:
    readme = (PAGES.parent.parent / "README.md").read_text()
    (shown,) = re.findall(r"```console\n\$ noiseproof certify nce\+mae\n(.*?)  claims", readme, re.DOTALL)
    assert without_rounding(shown) == without_rounding(str(certify("nce+mae")))


def test_every_page_is_of_a_loss_and_in_the_index() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {*CATALOGUE, "README"}
    index = (PAGES / "README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]\(\1\.md\)", index, re.MULTILINE) == list(CATALOGUE)


def test_the_index_says_what_is_left_out() -> None:
    index = (PAGES / "README.md").read_text()
    for name in ("ELR", "SOP", "DMI", "peer loss", "GJS"):
        assert name in index
