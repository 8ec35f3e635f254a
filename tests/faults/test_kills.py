"""Killed at random moments, again and again, a study ends as if it had been left alone."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noiseproof.study import Archive

pytestmark = pytest.mark.usefixtures("study_file")

STEPS = 24
"""Of a run."""


def progress(out: Path) -> dict[str, int]:
    """Steps of each run that are safe; whatever is there must be whole, or a warning fails the test."""
    archive = Archive(out)
    finished = dict.fromkeys(archive.finished(), STEPS)
    return {name: checkpoint.step for name, checkpoint in archive.under_way().items()} | finished


def records(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("runs/*.json")}


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_as_if_left_alone(
    process: Callable[..., Any],
    histories: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
    kills: int,
) -> None:
    moments = random.Random(kills)
    done = process("run", "tiny.toml", "--out", "alone")
    assert (done.code, done.err) == (0, "")
    undisturbed = histories(tmp_path / "alone")
    assert len(undisturbed) == 2
    killed = studies = 0
    while killed < kills:
        studies += 1
        out = tmp_path / str(studies)
        code = -signal.SIGKILL
        before: dict[str, int] = {}
        kept: dict[str, bytes] = {}
        while code == -signal.SIGKILL:
            # once there were kills enough, it is left alone
            moment = moments.uniform(0, 0.4) if killed < kills else None
            ended = process("run", "tiny.toml", "--out", str(out), kill_after=moment)
            code = ended.code
            killed += code == -signal.SIGKILL
            now = progress(out)
            assert all(now[name] >= steps for name, steps in before.items()), (before, now)
            assert {name: records(out)[name] for name in kept} == kept
            before, kept = now, records(out)
        assert (code, ended.err) == (0, "")
        assert histories(out) == undisturbed
        assert list((out / "checkpoints").glob("*.pt")) == []
        assert json.loads((out / "study.json").read_text())["title"] == "tiny"
        assert "2 of 2 runs done" in ended.out
    print(f"{killed} kills in {studies} studies")


@pytest.mark.slow
def test_three_at_once_of_which_one_is_killed_end_as_one_left_alone(
    process: Callable[..., Any], histories: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    moments = random.Random(3)
    assert process("run", "tiny.toml", "--out", "alone").code == 0
    undisturbed = histories(tmp_path / "alone")
    killed = 0
    for study in range(15):
        out = tmp_path / str(study)
        moment = moments.uniform(0, 0.5)
        ended = process("run", "tiny.toml", "--out", str(out), kill_after=moment, at_once=3)
        killed += ended.code == -signal.SIGKILL
        assert ended.code in (0, -signal.SIGKILL), ended.err
        assert ended.others == [0, 0], ended.err
        assert histories(out) == undisturbed
        assert list(out.rglob("*.pt")) == []
    assert killed
    print(f"{killed} of 15 times killed beside two others")
