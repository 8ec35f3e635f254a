"""What TensorBoard shows of a run is its history, however often the run was stopped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from noiseproof.errors import NoiseproofError
from noiseproof.study import Archive, Study, conduct, load_study
from noiseproof.tracking import TensorBoard


@pytest.fixture
def study() -> Study:
    changes = {"losses": ["ce"], "noises": ["symmetric:0.4", "none"], "model": {"name": "mlp", "hidden": [4]}}
    return load_study("smoke", changes)


def shown(folder: Path, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """The points that TensorBoard shows of a run, ``(epoch, value)``, by what they are of."""
    events = EventAccumulator(str(folder / run_id))
    events.Reload()
    return {
        name: [(point.step, point.value) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_every_epoch_is_shown_once(study: Study, tmp_path: Path) -> None:
    def counting(steps: int) -> Iterator[bool]:
        return chain(repeat(False, steps), repeat(True))

    out, folder = tmp_path / "out", tmp_path / "board"
    for steps in (0, 30, 14):  # at once, after the second of five epochs, and after the third
        asked = counting(steps)
        stopped = conduct(study, out, interrupted=lambda: next(asked), on_epoch=TensorBoard(folder))  # noqa: B023
        assert stopped.ended == "interrupted"
    assert conduct(study, out, on_epoch=TensorBoard(folder)).ended == "finished"
    assert {path.name for path in folder.iterdir()} == {run.id for run in study.runs()}
    for name, record in Archive(out).finished().items():
        points = {
            field: [(epoch, value) for epoch, value in enumerate(values, 1) if value is not None]
            for field, values in record.history
        }
        found = shown(folder, name)
        assert found.keys() == {field for field, values in points.items() if values}
        for field, values in found.items():
            assert [epoch for epoch, _ in values] == [epoch for epoch, _ in points[field]]
            assert [value for _, value in values] == pytest.approx([value for _, value in points[field]])


def test_a_kill_that_saved_nothing_shows_no_epoch_twice(study: Study, tmp_path: Path) -> None:
    """Two trainings of a run, of which the first was never saved."""
    out, folder = tmp_path / "out", tmp_path / "board"
    for kept in (tmp_path / "lost", out):
        conduct(study, kept, on_epoch=TensorBoard(folder))
    for run in study.runs():
        assert [epoch for epoch, _ in shown(folder, run.id)["test"]] == [1, 2, 3, 4, 5]


def test_without_tensorboard_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(NoiseproofError, match=r"pip install 'noiseproof\[tensorboard\]'"):
        TensorBoard(tmp_path / "board")
    assert not (tmp_path / "board").exists()
