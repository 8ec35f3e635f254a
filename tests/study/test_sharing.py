"""Several processes on one folder: who has which run, and what becomes of what a dead one leaves."""

from __future__ import annotations

import errno
import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.study import Archive, Outcome, Progress, RunConfiguration, Study, conduct
from noiseproof.study.archive import Identity
from noiseproof.study.locks import Locks, is_held
from noiseproof.training import History

Change = Callable[[Study, Mapping[str, object]], Study]
Contents = Callable[[Path], dict[str, bytes]]
Results = Callable[[Path], dict[str, dict[str, Any]]]
After = Callable[[int], Callable[[], bool]]

MODULE = importlib.import_module("noiseproof.study.conduct")  # the package's name is the function's


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "LOOK_EVERY", 0.001)


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[Locks]:
    """The locks of another process on the folder ``out``, or as good as: the kernel looks at open files."""
    with Locks(tmp_path / "out" / "locks") as locks:
        yield locks


def no_locks(*_: object) -> None:
    """What flock does on a file system that has none."""
    raise OSError(errno.ENOTSUP, "Operation not supported")


# ------------------------------------------------------------------------------------------- the locks


def test_a_run_is_had_by_one_at_a_time(tmp_path: Path) -> None:
    with Locks(tmp_path) as mine, Locks(tmp_path) as theirs:
        assert mine.take("a")
        assert not theirs.take("a")
        assert theirs.take("b")
        mine.give_back("a")
        assert theirs.take("a")
        assert not mine.take("a")
    assert not is_held(tmp_path / "a.lock")


def test_the_file_of_a_recorded_run_is_removed_and_that_of_any_other_stays(
    tmp_path: Path, contents: Contents
) -> None:
    with Locks(tmp_path) as locks:
        for run_id in "abc":
            locks.take(run_id)
        locks.give_back("a", recorded=True)
        locks.give_back("b")
    assert list(contents(tmp_path)) == ["b.lock", "c.lock"]


def test_those_at_work_are_seen_and_what_dead_ones_left_is_removed(
    tmp_path: Path, contents: Contents
) -> None:
    with Locks(tmp_path) as mine, Locks(tmp_path) as theirs:
        (tmp_path / "dead.process").write_text("dead")
        mine.announce("mine")
        assert list(mine.others()) == []
        theirs.announce("theirs")
        assert list(mine.others()) == ["theirs"]
        assert list(theirs.others()) == ["mine"]
    assert contents(tmp_path) == {}


def test_where_there_are_no_locks_a_warning_says_so_once(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.warns(
        UserWarning, match=r"has no locks \(Operation not supported\): let only one pro"
    ) as warned:
        assert conduct(study, tmp_path).runs_done == 6
    assert len(warned) == 1
    assert list((tmp_path / "locks").iterdir()) == []


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_without_locks_every_run_is_had_and_nobody_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(answer, "no locks here")

    with Locks(tmp_path) as mine, Locks(tmp_path) as theirs:
        theirs.announce("theirs")
        with monkeypatch.context() as patch:
            patch.setattr("fcntl.flock", refuse)
            for locks in (mine, theirs):
                assert locks.supported
                with pytest.warns(UserWarning, match="has no locks"):
                    assert locks.take("a")
                assert not locks.supported
            assert list(mine.others()) == []
            mine.give_back("a")
            assert mine.take("a")


def test_a_lock_that_fails_for_another_reason_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", broken)
    with Locks(tmp_path) as locks:
        with pytest.raises(OSError, match="Input/output error"):
            locks.take("a")
        assert locks.supported


# ------------------------------------------------------------------------------------- a shared study


def test_what_another_has_under_way_is_left_to_it_and_waited_for(
    study: Study, tmp_path: Path, results: Results, somebody: Locks
) -> None:
    out = tmp_path / "out"
    theirs = [run.id for run in study.runs()[:2]]
    conduct(study, tmp_path / "theirs", only=theirs)
    for run_id in theirs:
        assert somebody.take(run_id)
    told: list[Progress] = []

    def watch(progress: Progress) -> None:
        told.append(progress)
        assert not {run.id for run in progress.running} & set(theirs)
        if progress.elsewhere and somebody.take("once"):  # now they finish theirs
            for record in Archive(tmp_path / "theirs").finished().values():
                Archive(out).add(record)
                somebody.give_back(record.config.id, recorded=True)

    assert conduct(study, out, on_progress=watch).runs_done == 6
    assert [progress.elsewhere for progress in told if not progress.running] == [2]
    assert {progress.runs_done for progress in told if progress.elsewhere} == {4}
    assert results(out).keys() == {run.id for run in study.runs()}
    assert results(out).items() >= results(tmp_path / "theirs").items()


def test_what_a_dead_one_leaves_is_taken_over_from_its_last_checkpoint(
    study: Study, tmp_path: Path, results: Results, after: After, somebody: Locks
) -> None:
    out = tmp_path / "out"
    left = [run.id for run in study.runs()[2:4]]
    conduct(study, out, only=left, interrupted=after(7))
    kept = {path: path.read_bytes() for path in (out / "checkpoints").iterdir()}
    assert len(kept) == 2
    for run_id in left:
        assert somebody.take(run_id)
    steps: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.elsewhere and somebody.supported:
            assert {path: path.read_bytes() for path in kept} == kept  # not touched while they have it
            somebody.__exit__()
            somebody.supported = False
        elif progress.running and {run.id for run in progress.running} <= set(left):
            steps.append(1)

    conduct(study, tmp_path / "alone", only=left)
    assert conduct(study, out, on_progress=watch).ended == "finished"
    assert len(steps) == 12 - 7 + 1  # and one at the end
    assert results(out).items() >= results(tmp_path / "alone").items()
    assert list((out / "checkpoints").iterdir()) == list((out / "locks").iterdir()) == []


@pytest.mark.parametrize("budget", [None, 0.5])
def test_waiting_ends_when_asked_to_and_with_the_budget(
    study: Study, tmp_path: Path, budget: float | None, somebody: Locks
) -> None:
    for run in study.runs():
        somebody.take(run.id)
    told: list[Progress] = []
    asked = (lambda: len(told) == 3) if budget is None else lambda: False
    outcome = conduct(study, tmp_path / "out", time_budget=budget, interrupted=asked, on_progress=told.append)
    assert outcome == Outcome("interrupted" if budget is None else "out of time", 0, 6, 0.0)
    assert {progress.elsewhere for progress in told} == {6}


def test_a_lack_of_memory_that_another_meets_meanwhile_counts(
    study: Study, tmp_path: Path, somebody: Locks
) -> None:
    """An old record of one is tried again, a new one is not: else two would go on for ever."""
    out, run = tmp_path / "out", study.runs()[0]
    conduct(study, out, only=[run.id])
    archive = Archive(out)
    finished = archive.finished()[run.id]
    unfit = finished.model_copy(update={"status": "out of memory", "test_accuracy": None, "best": None})
    archive.add(unfit)
    somebody.take(run.id)

    def watch(_: Progress) -> None:
        if somebody.take("once"):
            archive.add(unfit)
            somebody.give_back(run.id)

    assert conduct(study, out, only=[run.id], on_progress=watch).ended == "finished"
    assert Archive(out).finished()[run.id].status == "out of memory"
    assert conduct(study, out, only=[run.id]).ended == "finished"
    assert Archive(out).finished()[run.id].status == "finished"


def test_a_process_of_another_configuration_at_work_is_refused(
    study: Study, tmp_path: Path, changed: Change, tiny_data: Callable[[int], Dataset], somebody: Locks
) -> None:
    theirs = changed(study, {"recipe.epochs": 4})
    somebody.announce(str(Identity(theirs.runs()[0], tiny_data(0).fingerprint)))
    with pytest.raises(
        NoiseproofError, match=r"is used by a process of another configuration \(recipe.epochs = 4"
    ):
        conduct(study, tmp_path / "out")
    assert conduct(changed(theirs, {"seeds": [5]}), tmp_path / "out").ended == "finished"


def test_what_dead_ones_left_half_written_is_removed_when_nobody_is_at_work(
    study: Study, tmp_path: Path, tiny_data: Callable[[int], Dataset], somebody: Locks
) -> None:
    out, run = tmp_path / "out", study.runs()[0]
    Archive(out).make()
    halves = [out / kind / f".x{kind}.0abc.tmp" for kind in ("", "runs", "checkpoints")]
    for half in halves:
        half.write_bytes(b"half")
    somebody.announce(str(Identity(run, tiny_data(0).fingerprint)))
    conduct(study, out, only=[run.id])
    assert [half.exists() for half in halves] == [True] * 3
    somebody.__exit__()
    conduct(study, out, only=[run.id])
    assert [half.exists() for half in halves] == [False] * 3


@pytest.mark.filterwarnings("ignore:the file system of")
def test_what_is_half_written_stays_where_locks_cannot_say_that_nobody_is_at_work(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Archive(tmp_path).make()
    half = tmp_path / "runs" / ".x.0abc.tmp"
    half.write_bytes(b"half")
    run = study.runs()[0].id
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", no_locks)
        conduct(study, tmp_path, only=[run])
    assert half.exists()
    conduct(study, tmp_path, only=[run])
    assert not half.exists()


def test_some_of_a_studys_runs_are_conducted_alone(study: Study, tmp_path: Path, results: Results) -> None:
    chosen = [run.id for run in study.runs()[1::2]]
    outcome = conduct(study, tmp_path, only=chosen)
    assert (outcome.ended, outcome.runs_done, outcome.runs_total) == ("finished", 3, 3)
    assert list(results(tmp_path)) == sorted(chosen)
    assert Archive(tmp_path).plan() == study
    for wrong, expected in (
        (["ce_symmetric-0.4_seed-1"], "did you mean 'ce_symmetric-0.4_seed-0'"),
        ([], "none"),
    ):
        with pytest.raises(NoiseproofError, match=expected):
            conduct(study, tmp_path, only=wrong)


# ---------------------------------------------------------------------------------------- every epoch


def test_every_epoch_of_every_run_is_told_of_once(
    study: Study, tmp_path: Path, after: After, small_stacks: None
) -> None:
    told: list[tuple[str, History]] = []

    def tell(config: RunConfiguration, history: History) -> None:
        told.append((config.id, history))

    for steps in itertools.chain([5, 9], itertools.repeat(100)):
        if conduct(study, tmp_path, interrupted=after(steps), on_epoch=tell).ended == "finished":
            break
    assert sorted((name, len(history)) for name, history in told) == sorted(
        (run.id, epoch) for run in study.runs() for epoch in (1, 2, 3)
    )
    records = Archive(tmp_path).finished()
    assert {name: history for name, history in told if len(history) == 3} == {
        name: record.history for name, record in records.items()
    }
