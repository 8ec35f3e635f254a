"""A study for ``--data``: its own if it has one, else a network and a recipe that suit it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseproof.cli.options import STUDIES

if TYPE_CHECKING:
    from noiseproof.data import Dataset
    from noiseproof.study import Study


def study_on(data: str, data_dir: Path | None, changes: Mapping[str, Any]) -> tuple[Study, Dataset | None]:
    """Give the study with ``changes``, and the data where it had to be loaded for that.

    Raises `NoiseproofError`, which speaks of a training and of no study, for a fault in either.
    """
    from noiseproof import data as data_sets
    from noiseproof.study import load_study, study_for

    data_sets.check_name(data)
    where = f"training on {data!r}"
    if data in STUDIES:
        return load_study(data, changes, where=where), None
    dataset = data_sets.load(data, data_dir)
    return study_for(dataset, changes, where=where), dataset
