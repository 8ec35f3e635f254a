"""Records made by hand, and results in which one can change a single number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from noiseproof.study import Record, conduct, load_study

MakeRecord = Callable[..., Record]


@pytest.fixture
def make_record() -> MakeRecord:
    """A record of ``(loss, noise, seed)`` with the test accuracies of its epochs, as fractions."""

    def make(
        loss: str,
        noise: str,
        seed: int = 0,
        *,
        test: Sequence[float] = (0.5, 0.6),
        memorized: Sequence[float | None] | None = None,
        status: str = "finished",
        data: str = "digits",
        model: Mapping[str, object] | None = None,
        about_data: dict[str, Any] | None = None,
        about_noise: dict[str, Any] | None = None,
        **provenance: object,
    ) -> Record:
        config: dict[str, Any] = {
            "data": data,
            "model": model or {"name": "mlp", "hidden": [8]},
            "recipe": {"epochs": len(test)},
            "loss": loss,
            "noise": noise,
            "seed": seed,
        }
        facts = {
            "noiseproof": "1.2.3",
            "commit": None,
            "python": "3.11.0",
            "torch": "2.12.0",
            "numpy": "2.1.0",
            "platform": "Linux x86_64",
            "device": "cpu",
            "threads": 1,
            "seconds": 1.5,
            "finished": "2026-01-01T00:00:00+00:00",
        }
        best = {"epoch": 1 + list(test).index(max(test)), "test_accuracy": max(test)}
        unfit = status == "out of memory"
        return Record.read(
            {
                "status": status,
                "config": config,
                "test_accuracy": None if unfit else test[-1],
                "best": None if unfit else best,
                "data": {
                    "name": data,
                    "fingerprint": "f" * 64,
                    "canonical": True,
                    "train_size": 4,
                    "test_size": 2,
                }
                | (about_data or {}),
                "noise": {"requested_rate": 0.5, "achieved_rate": 0.5, "counts": [[1, 1], [1, 1]]}
                | (about_noise or {}),
                "history": {
                    "train_loss": [1.0] * len(test),
                    "clean": [0.5] * len(test),
                    "given": [0.5] * len(test),
                    "right": [0.5] * len(test),
                    "recovered": [0.5] * len(test),
                    "memorized": [0.25] * len(test) if memorized is None else list(memorized),
                    "test": list(test),
                },
                "provenance": facts | provenance,
            },
            where="by hand",
        )

    return make


@pytest.fixture(scope="module")
def conducted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of four runs, conducted but not reported."""
    out = tmp_path_factory.mktemp("conducted")
    study = load_study("smoke", {"losses": ["ce", "nce+mae"], "model.hidden": [4], "recipe.epochs": 2})
    assert conduct(study, out, device="cpu").ended == "finished"
    return out
