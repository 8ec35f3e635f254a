"""A search that takes no time: 60 tiny images of three classes, four trials at once of twelve steps each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseproof.data import DATASETS, Dataset
from noiseproof.study import Study
from noiseproof.tuning import Search
from noiseproof.tuning.folder import Folder

Found = dict[int, dict[str, Any]]


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Three classes, each with a bright row of its own among noise; no two images are alike."""
    rng = np.random.default_rng(0)
    labels = np.arange(90, dtype=np.int64) % 3
    images = rng.integers(0, 100, size=(90, 1, 4, 4), dtype=np.uint8)
    images[np.arange(90), 0, labels] += 100
    return Dataset(
        name="tiny",
        train_images=images[:60],
        train_labels=labels[:60],
        test_images=images[60:],
        test_labels=labels[60:],
        class_names=("a", "b", "c"),
        class_map={0: 1},
        mean=(70.0,),
        std=(50.0,),
        canonical=False,
    )


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dataset]:
    """``put(dataset, test_labels=...)`` makes it known as ``tiny``, with these changes."""

    def known(dataset: Dataset, **changes: Any) -> Dataset:
        changed = replace(dataset, **changes)
        monkeypatch.setitem(DATASETS, "tiny", lambda _: changed)
        return changed

    return known


@pytest.fixture(autouse=True)
def tiny(dataset: Dataset, put: Callable[..., Dataset]) -> Dataset:
    """The data set is known from the start."""
    return put(dataset)


@pytest.fixture(scope="session")
def study(dataset: Dataset) -> Study:
    """A study of the tiny data: three epochs of three batches on what is not held out."""
    content = {
        "data": "tiny",
        "model": {"name": "mlp", "hidden": [4]},
        "recipe": {"epochs": 3, "batch_size": 16, "learning_rate": 0.1, "crop_padding": 1},
        "losses": ["ce"],
        "noises": ["symmetric:0.4"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "tiny", lambda _: dataset)
        return Study.read(content, where="tiny")


@pytest.fixture(scope="session")
def search(study: Study, dataset: Dataset) -> Search:
    """Two names, four trials a batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "tiny", lambda _: dataset)
        return Search.of(study, "alpha*nce + gce(q=q)", batch=4)


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking through all of a test process for garbage takes longer than a search here."""
    monkeypatch.setattr("gc.collect", lambda: 0)


@pytest.fixture(scope="session")
def found() -> Callable[[Path], Found]:
    """What the trials of a folder say, but for where they come from."""
    return lambda folder: {
        number: trial.model_dump(exclude={"run": {"provenance"}})
        for number, trial in Folder(folder).finished().items()
    }
