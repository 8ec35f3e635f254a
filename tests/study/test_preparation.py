"""Before any training: which device and which engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from noiseproof.data import Dataset
from noiseproof.study import Study, choose_device
from noiseproof.study.group import PendingRun
from noiseproof.study.preparation import choose_engine
from noiseproof.training import OnTrial, Plan, StackedTraining, Way


def test_auto_is_a_device_that_is_there() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")


def test_the_device_decides_on_the_engine(
    study: Study, tiny_data: Callable[[int], Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, asked = tiny_data(0), list[tuple[int, float]]()

    def found(*arguments: object, images_ahead: int, seconds_ahead: float, on_trial: OnTrial) -> Plan:
        on_trial(6, Way(compiled=True))
        asked.append((images_ahead, seconds_ahead))
        return Plan(at_once=3, way=Way(compute=torch.bfloat16))

    monkeypatch.setattr("noiseproof.study.preparation.plan", found)
    runs = [PendingRun(config, dataset).spec for config in study.runs()]
    cpu = choose_engine(study, dataset, runs, torch.device("cpu"))
    assert isinstance(cpu.begin(runs), StackedTraining)
    assert (cpu.precision, asked) == ("float32", [])
    tried: list[tuple[int, Way]] = []
    gpu = choose_engine(
        study,
        dataset,
        runs,
        torch.device("cuda"),
        steps_ahead=50,
        seconds_ahead=540.0,
        on_trial=lambda *trial: tried.append(trial),
    )
    assert tried == [(6, Way(compiled=True))]
    assert (gpu.at_once, gpu.precision) == (3, "bfloat16")
    assert asked == [(50 * 16, 540.0)]  # images in a batch
