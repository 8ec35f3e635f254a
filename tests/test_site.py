"""The site builds strictly, asks no other server for anything, and shows all that is public."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def documented() -> set[str]:
    """Every object that the API pages show."""
    pages = (ROOT / "docs" / "api").glob("*.md")
    return {name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)}


def exported(name: str) -> set[str]:
    """Every object that a package, and what it exports, exports."""
    found = {name}
    package = importlib.import_module(name)
    for member in package.__all__:
        here = f"{name}.{member}"
        is_package = hasattr(getattr(package, member), "__all__")
        found |= exported(here) if is_package else {here}
    return found - {"noiseproof.__version__"}


def test_the_api_pages_show_all_that_is_public_and_nothing_else() -> None:
    others = {"noiseproof.errors.NoiseproofError", "noiseproof.losses.evaluation.Options"}
    assert documented() == exported("noiseproof") | others


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path: path.read_text() for path in tmp_path.rglob("*.html")}
    loaded = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=\"?(?:https?:)?//"
        r"|<link[^>]+rel=\"?(?:stylesheet|preload|preconnect|icon)[^>]+href=\"?(?:https?:)?//"
    )
    for path, html in pages.items():
        assert loaded.search(html) is None, path
    for path in tmp_path.rglob("*.css"):
        assert re.search(r"url\(['\"]?(https?:)?//|@import", path.read_text()) is None, path
    api = "".join(html for path, html in pages.items() if path.is_relative_to(tmp_path / "api"))
    assert "<blockquote>" not in api  # a doctest that was read as a quotation
    for name in documented():
        assert f'id="{name}"' in api or f">{name}<" in api, name
    assert (tmp_path / "results" / "digits" / "report" / "index.html") in pages
