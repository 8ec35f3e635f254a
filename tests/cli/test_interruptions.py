"""Stopped politely or killed outright, a study goes on, and its numbers are those of one left alone."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noiseproof.study import Archive, Outcome, conduct, load_study

pytestmark = pytest.mark.usefixtures("no_figures")  # in this process

Process = subprocess.Popen[str]
Start = Callable[..., Process]
Run = Callable[..., subprocess.CompletedProcess[str]]
SameHistories = Callable[[Path, Path], None]

RUN = """
import importlib, itertools, signal, sys, time
from noiseproof.cli import main
from noiseproof.training import StackedTraining, engine

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background ignore it
quick_steps, checkpoint_every = map(float, sys.argv[1:3])
del sys.argv[1:3]
advance, steps = StackedTraining.advance, itertools.count()

def slow(training):
    if next(steps) >= quick_steps:
        time.sleep(0.5)
    advance(training)

StackedTraining.advance = slow
engine.CACHED_WEIGHTS = 2 * 64 * 6  # two runs in a stack
importlib.import_module("noiseproof.study.trainer").CHECKPOINT_EVERY = checkpoint_every
main()
"""
"""``noiseproof``, after some steps so slow that one can stop it, and with checkpoints as one likes."""

STEPS = 2 * 12  # of a run: 2 epochs of 12 batches


def wait_for(process: Process, there: Callable[[], bool]) -> None:
    for _ in range(3000):
        if there():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("it never came")


def steps(out: Path) -> dict[str, int]:
    """How far each run under way is, by its checkpoint."""
    return {name: checkpoint.step for name, checkpoint in Archive(out).under_way().items()}


@pytest.fixture
def undisturbed(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what the study gives when it is left alone, stacked in the same way."""
    with monkeypatch.context() as patch:
        patch.setattr("noiseproof.training.engine.CACHED_WEIGHTS", 2 * 64 * 6)
        assert conduct(load_study(str(here / "tiny.toml")), tmp_path / "alone", device="cpu").runs_done == 4
    return tmp_path / "alone"


@pytest.mark.parametrize(
    ("number", "quick_steps", "done"),
    [(signal.SIGINT, STEPS + 2, 2), (signal.SIGTERM, 0, 0)],
    ids=["ctrl-c in the second stack", "polite kill in the first"],
)
def test_stopped_politely_it_saves_and_goes_on(
    start: Start,
    cli: Run,
    here: Path,
    undisturbed: Path,
    assert_same_histories: SameHistories,
    number: signal.Signals,
    quick_steps: int,
    done: int,
) -> None:
    out = here / "out" / "tiny"
    process = start("-c", RUN, str(quick_steps), "30", "run", "tiny.toml")
    wait_for(process, lambda: (out / "study.json").exists() and len(list(out.glob("runs/*.json"))) == done)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    assert stdout.splitlines()[-1] == "interrupted: the same command goes on from here"
    assert f"{done} of 4 runs done" in stdout
    assert (out / "report" / "report.md").exists() == ("missing" in stdout) == (done > 0)
    assert len(steps(out)) == 2  # of those not done, the stack that was under way
    assert len(set(steps(out).values())) == 1
    assert "4 of 4 runs done" in cli("run", "tiny.toml").stdout
    assert_same_histories(out, undisturbed)
    assert list((out / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(start: Start, here: Path) -> None:
    process = start("-c", RUN.replace("0.5", "3600"), "0", "30", "run", "tiny.toml")  # an hour a step
    wait_for(process, (here / "out" / "tiny" / "study.json").exists)
    time.sleep(0.3)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_killed_again_and_again_it_ends_as_if_left_alone(
    start: Start, cli: Run, here: Path, undisturbed: Path, assert_same_histories: SameHistories
) -> None:
    out = here / "out" / "tiny"

    def midway_in_the_first_stack() -> bool:
        return bool(list(out.glob("checkpoints/*.pt")))

    def midway_in_the_second_stack() -> bool:
        return bool(list(out.glob("runs/*.json"))) and bool(list(out.glob("checkpoints/*.pt")))

    reached: list[int] = []
    for quick_steps, there in ((3, midway_in_the_first_stack), (STEPS, midway_in_the_second_stack)):
        process = start("-c", RUN, str(quick_steps), "0", "run", "tiny.toml")
        wait_for(process, there)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        # whatever it was doing, what is there is whole
        records = Archive(out).finished()
        assert all(record.config.id == name for name, record in records.items())
        assert len(list(out.glob("runs/*.json"))) == len(records)
        reached.append(sum(steps(out).values()) + STEPS * len(records))
    assert 0 < reached[0] < reached[1] < 4 * STEPS
    ran = cli("run", "tiny.toml")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert_same_histories(out, undisturbed)


def test_killed_before_any_checkpoint_it_starts_again(
    start: Start, cli: Run, here: Path, undisturbed: Path, assert_same_histories: SameHistories
) -> None:
    process = start("-c", RUN, "0", "30", "run", "tiny.toml")
    wait_for(process, (here / "out" / "tiny" / "study.json").exists)
    process.kill()
    process.communicate(timeout=60)
    assert cli("run", "tiny.toml").returncode == 0
    assert_same_histories(here / "out" / "tiny", undisturbed)


def test_handlers_of_signals_are_put_back(here: Path, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    during: list[Any] = []

    def fake(*_: Any, **options: Any) -> Outcome:
        during.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
        assert not options["interrupted"]()
        signal.raise_signal(signal.SIGINT)
        assert options["interrupted"]()
        during.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
        return Outcome("interrupted", 0, 4, 0.0)

    monkeypatch.setattr("noiseproof.study.conduct", fake)
    assert cli("run", "tiny.toml").returncode == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert before[0] not in during[:2]
    assert during[2:] == before  # the first one asks; a second is the system's again
