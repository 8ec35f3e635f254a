"""A study that takes no time: 60 tiny images of three classes, six runs of twelve steps each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseproof.data import DATASETS, Dataset
from noiseproof.study import Archive, Study

Contents = dict[str, bytes]
Results = dict[str, dict[str, Any]]


def tiny_dataset(seed: int = 0) -> Dataset:
    """Three classes, each with a bright row of its own among noise."""
    rng = np.random.default_rng(seed)
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


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Dataset]:
    """Makes a data set ``tiny`` known; calling it puts other images of the same name in its place."""

    def put(seed: int) -> Dataset:
        dataset = tiny_dataset(seed)
        monkeypatch.setitem(DATASETS, "tiny", lambda _: dataset)
        return dataset

    put(0)
    return put


@pytest.fixture
def study() -> Study:
    """Three losses, two noises, one seed: six runs of three epochs of four batches, in one stack."""
    return Study.read(
        {
            "title": "tiny",
            "data": "tiny",
            "model": {"name": "mlp", "hidden": [4]},
            "recipe": {"epochs": 3, "batch_size": 16, "learning_rate": 0.1, "crop_padding": 1, "flip": True},
            "losses": ["ce", "nce", "nce+mae"],
            "noises": ["symmetric:0.4", "asymmetric:0.4"],
            "seeds": [0],
        },
        where="tiny",
    )


@pytest.fixture
def small_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs in a stack in place of all six."""
    monkeypatch.setattr("noiseproof.training.engine.CACHED_WEIGHTS", 2 * 100)


@pytest.fixture
def changed() -> Callable[[Study, Mapping[str, object]], Study]:
    """``(study, {"recipe.epochs": 4}) -> study`` with that setting."""

    def change(study: Study, changes: Mapping[str, object]) -> Study:
        content = study.model_dump(mode="json")
        for place, value in changes.items():
            *tables, field = place.split(".")
            table = content
            for name in tables:
                table = table[name]
            table[field] = value
        return Study.read(content, where="changed")

    return change


@pytest.fixture
def after() -> Callable[[int], Callable[[], bool]]:
    """``after(n)`` interrupts a study after n steps."""

    def interruption(steps: int) -> Callable[[], bool]:
        asked = iter(range(steps))
        return lambda: next(asked, None) is None

    return interruption


@pytest.fixture
def contents() -> Callable[[Path], Contents]:
    """Every file under a folder, hidden ones too, by its path from there."""
    return lambda folder: {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def results() -> Callable[[Path], Results]:
    """What the records of a folder say, but for where they come from."""
    return lambda folder: {
        name: record.model_dump(exclude={"provenance"}) for name, record in Archive(folder).finished().items()
    }
