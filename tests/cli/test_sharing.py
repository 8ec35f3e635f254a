"""Processes on one folder: every run once, and one that is killed leaves nothing undone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from noiseproof.study import conduct, load_study

Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]

THREE = """
import importlib, os, sys, time
from pathlib import Path
from noiseproof import data
from noiseproof.cli import main, progress
from noiseproof.report import writing
from noiseproof.training import StackedTraining, engine

here = Path.cwd()
trainer = importlib.import_module("noiseproof.study.trainer")
module = importlib.import_module("noiseproof.study.conduct")
module.LOOK_EVERY, progress.LINE_EVERY = 0.05, -1.0
engine.CACHED_WEIGHTS = 2 * 64 * 6  # two runs in a stack
writing.figures = lambda _: []
data.load("digits")

begin, advance = StackedTraining.__init__, StackedTraining.advance

def logged(training, *arguments):
    begin(training, *arguments)
    with (here / f"begun-{os.getpid()}").open("a") as file:
        file.writelines(f"{run.identity}\\n" for run in training.runs)
    while len(list(here.glob("begun-*"))) < 3:  # so that all have something to do
        time.sleep(0.01)

def dying(training):
    if training.step == 5:
        (here / "dying").write_text(str(os.getpid()))
        time.sleep(3600)
    advance(training)

StackedTraining.__init__ = logged
children = []
for name in ("first", "second", "third"):
    children.append(os.fork())
    if not children[-1]:
        log = os.open(here / name, os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1), os.dup2(log, 2)
        if name == "first":
            StackedTraining.advance, trainer.CHECKPOINT_EVERY = dying, -1.0
        main()
print([os.waitpid(child, 0)[1] for child in children])
"""
"""``noiseproof`` three times at once, in processes that need but one import; the first comes to a halt."""


@pytest.mark.slow
def test_three_processes_share_a_study_and_one_of_them_is_killed(
    start: Start,
    here: Path,
    tmp_path: Path,
    assert_same_histories: Callable[[Path, Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ("--set", "losses=['ce', 'nce', 'nce+mae']")
    parent = start("-c", THREE, "run", "tiny.toml", "--out", "shared", *options)

    def waiting() -> bool:
        logs = [path.read_text() for path in (here / "second", here / "third") if path.exists()]
        return all("waiting for 2 runs under way elsewhere" in log for log in logs) and len(logs) == 2

    for _ in range(6000):
        if waiting() and (here / "dying").exists():
            break
        assert parent.poll() is None, parent.communicate()
        time.sleep(0.02)
    assert len(list((here / "shared" / "checkpoints").glob("*.pt"))) == 2
    os.kill(int((here / "dying").read_text()), signal.SIGKILL)
    stdout, stderr = parent.communicate(timeout=120)
    assert (stdout, stderr) == (f"[{signal.SIGKILL:d}, 0, 0]\n", "")
    for survivor in ("second", "third"):
        assert "6 of 6 runs done" in (here / survivor).read_text()

    begun = Counter(run for path in here.glob("begun-*") for run in path.read_text().splitlines())
    assert sorted(begun.values()) == [1, 1, 1, 1, 2, 2]  # again only what was under way in the first
    with monkeypatch.context() as patch:
        patch.setattr("noiseproof.training.engine.CACHED_WEIGHTS", 2 * 64 * 6)
        conduct(
            load_study("tiny.toml", {"losses": ["ce", "nce", "nce+mae"]}), tmp_path / "alone", device="cpu"
        )
    assert_same_histories(here / "shared", tmp_path / "alone")
    for left in ("checkpoints", "locks"):
        assert list((here / "shared" / left).iterdir()) == []


def test_a_place_that_is_none_is_named_before_any_work(cli: Run, here: Path) -> None:
    ran = cli("run", "tiny.toml", "--on", "rya")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: --on must be a place to train, got 'rya'; did you mean 'ray'?\n"
    assert not (here / "out").exists()
