"""Which pages the site has: a folder in ``nav`` stands for its pages, and reports come from where they are.

MkDocs calls these functions; ``mkdocs.yml`` names this file.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent

REPORTS = sorted(ROOT.glob("results/*/report.md"))


def on_config(config: MkDocsConfig) -> None:
    """Put the pages of a folder in its place in ``nav``, the index first."""
    config.nav = [
        {title: pages(place) if place.endswith("/") else place}
        for entry in config.nav or []
        for title, place in entry.items()
    ]


def pages(folder: str) -> list[str]:
    """List the pages of a folder of the site, without those in folders below it."""
    here = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / folder).glob("*.md")]
    reports = [uri(path) for path in REPORTS if uri(path).startswith(folder)]
    return sorted(here, key=lambda path: (not path.endswith(("index.md", "README.md")), path)) + reports


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the reports with their figures and their pages to look at, which lie outside of docs/."""
    for report in REPORTS:
        folder = report.parent
        for path in (report, *sorted(folder.glob("*.png")), *folder.glob("index.html")):
            files.append(File.generated(config, uri(path), abs_src_path=str(path)))


def uri(path: Path) -> str:
    """Give the place of a report or a figure in the site."""
    return path.relative_to(ROOT).as_posix()
