"""``noiseproof compare``: which results are nearest to the published study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noiseproof.errors import NoiseproofError


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more folders, each what an --out was.")],
) -> None:
    """Rank results by how near they come to the published study, on the cells that all of them have."""
    from noiseproof.cli.display import show_nearest
    from noiseproof.report import load_results, nearest, published, published_beside

    candidates = {str(folder): load_results(folder) for folder in folders}
    studies = {study.citation: study for study in map(published_beside, candidates.values()) if study}
    if len(studies) > 1:
        raise NoiseproofError(f"these are results of different studies: {'; '.join(studies)}")
    show_nearest(nearest(candidates, next(iter(studies.values()), published())))
