"""Conducting a study: every run once, nothing lost on the way, and nothing mixed that does not belong."""

from __future__ import annotations

import importlib
import itertools
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import noiseproof
from noiseproof import noise
from noiseproof.data import Dataset
from noiseproof.errors import NoiseproofError
from noiseproof.models import TrainedNetwork, load_network
from noiseproof.study import Archive, Outcome, Progress, Study, choose_device, conduct, load_study, trainer
from noiseproof.study.trainer import Engine
from noiseproof.training import ConcurrentTraining, OnTrial, StackedTraining, Way

Change = Callable[[Study, Mapping[str, object]], Study]
Contents = Callable[[Path], dict[str, bytes]]
Results = Callable[[Path], dict[str, dict[str, Any]]]
After = Callable[[int], Callable[[], bool]]

MODULE = importlib.import_module("noiseproof.study.conduct")  # the package's name is the function's
STEPS = 12  # of a run: 3 epochs of 4 batches
UNFINISHED = (("checkpoints", ".pt"), ("locks", ".lock"))  # what is there of a run without a record


class CrashError(Exception):
    """Stands for whatever ends a process without a word."""


def crash_after(steps: int) -> Callable[[Progress], None]:
    countdown = iter(range(steps - 1))

    def crash(_: Progress) -> None:
        if next(countdown, None) is None:
            raise CrashError

    return crash


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def advance(_: StackedTraining) -> None:
        raise AssertionError("a finished run was trained")

    monkeypatch.setattr(StackedTraining, "advance", advance)


def counted_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of runs in every step from now on."""
    steps: list[int] = []
    advance = StackedTraining.advance

    def counted(training: StackedTraining) -> None:
        steps.append(len(training.runs))
        advance(training)

    monkeypatch.setattr(StackedTraining, "advance", counted)
    return steps


def assert_close(found: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    """Equal but for rounding, which differs where runs were stacked with other runs: one image in a set."""
    assert found.keys() == expected.keys()
    for name in found:
        ours, theirs = found[name].pop("history"), expected[name].pop("history")
        for field, values in theirs.items():
            assert ours[field] == pytest.approx(values, rel=1e-4, abs=0.04), (name, field)
        for record in (found[name], expected[name]):
            del record["test_accuracy"], record["best"]  # which follow from the history
    assert found == expected


@pytest.fixture
def whole(
    study: Study, results: Results, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What the study gives when nothing comes between."""
    out = tmp_path_factory.mktemp("whole")
    assert conduct(study, out).ended == "finished"
    return results(out)


# --------------------------------------------------------------------------------------- what it does


def test_a_study_finishes_with_one_record_for_each_run(
    study: Study, tmp_path: Path, contents: Contents
) -> None:
    outcome = conduct(study, tmp_path / "new" / "out")
    assert outcome == Outcome("finished", 6, 6, outcome.training_seconds)
    assert outcome.training_seconds > 0
    names = [f"runs/{run.id}.json" for run in study.runs()]
    assert sorted(contents(tmp_path / "new" / "out")) == sorted([*names, "study.json"])
    archive = Archive(tmp_path / "new" / "out")
    assert [archive.finished()[run.id].config for run in study.runs()] == study.runs()
    assert archive.plan() == study


def test_the_result_is_the_last_epochs_accuracy_and_never_the_best_ones(
    study: Study, tmp_path: Path, changed: Change
) -> None:
    conduct(changed(study, {"recipe.epochs": 8}), tmp_path)
    records = Archive(tmp_path).finished().values()
    results = [(record.best, record.test_accuracy) for record in records]
    assert any(best is not None and last is not None and best.test_accuracy > last for best, last in results)
    for record in records:
        test = record.history.test
        assert record.best is not None
        assert len(test) == len(record.history.train_loss) == 8
        assert record.test_accuracy == test[-1]
        assert record.best.test_accuracy == max(value for value in test if value is not None)
        assert record.best.epoch == 1 + test.index(record.best.test_accuracy)


def test_a_record_says_which_data_and_how_much_noise(
    study: Study, tmp_path: Path, tiny_data: Callable[[int], Dataset]
) -> None:
    dataset = tiny_data(0)
    conduct(study, tmp_path)
    for record in Archive(tmp_path).finished().values():
        assert record.data.model_dump() == {
            "name": "tiny",
            "fingerprint": dataset.fingerprint,
            "canonical": False,
            "train_size": 60,
            "test_size": 30,
            "class_names": ("a", "b", "c"),
            "class_map": {0: 1},
        }
        matrix = noise.parse(record.config.noise).transition_matrix(3, dataset.class_map)
        given = noise.corrupt(dataset.train_labels, matrix, seed=record.config.seed)
        counts: npt.NDArray[np.int64] = np.zeros((3, 3), dtype=np.int64)
        np.add.at(counts, (dataset.train_labels, given), 1)
        assert record.noise.counts == tuple(map(tuple, counts.tolist()))
        assert record.noise.achieved_rate is not None
        assert record.noise.achieved_rate == pytest.approx(1 - np.trace(counts) / 60)
        asked = 0.4 if record.config.noise.startswith("symmetric") else 0.4 / 3
        assert record.noise.requested_rate == pytest.approx(asked)
        assert abs(record.noise.achieved_rate - asked) <= 3 * 0.5 / 60


def test_a_record_says_where_it_comes_from(study: Study, tmp_path: Path) -> None:
    began = datetime.now(UTC)
    outcome = conduct(study, tmp_path)
    records = Archive(tmp_path).finished().values()
    for record in records:
        origin = record.provenance
        assert origin.noiseproof == noiseproof.__version__
        assert origin.torch == torch.__version__
        assert origin.numpy == np.__version__
        assert origin.threads == torch.get_num_threads()
        assert origin.commit is None or re.fullmatch(r"[0-9a-f]{40}\+?", origin.commit)
        finished = datetime.fromisoformat(origin.finished)
        assert began - timedelta(seconds=1) <= finished <= datetime.now(UTC)
    # each run has its share of the time, so the shares make up the whole
    assert sum(record.provenance.seconds for record in records) == pytest.approx(
        outcome.training_seconds, rel=0.2, abs=0.01
    )


def test_progress_is_told_after_every_step(study: Study, tmp_path: Path, small_stacks: None) -> None:
    told: list[Progress] = []
    conduct(study, tmp_path, on_progress=told.append)
    assert len(told) == 3 * (STEPS + 1)
    assert {len(progress.running) for progress in told} == {2}
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == pytest.approx(1 / 36)
    assert fractions[-1] == 1.0
    assert [progress.runs_done for progress in told if progress.fraction == 1.0] == [4, 6]
    assert {progress.runs_total for progress in told} == {6}
    assert [progress.epoch for progress in told[:STEPS]] == [step // 4 for step in range(1, STEPS + 1)]
    for progress in told:
        assert (progress.accuracy is None) == (progress.epoch == 0)
        assert progress.accuracy is None or 0 <= progress.accuracy <= 1
        assert progress.seconds_left is not None
    assert told[-1].seconds_left == 0


def test_a_run_that_diverges_is_recorded_as_such(study: Study, tmp_path: Path, changed: Change) -> None:
    conduct(changed(study, {"recipe.learning_rate": 1e30, "losses": ["ce"]}), tmp_path)
    records = list(Archive(tmp_path).finished().values())
    assert [record.status for record in records] == ["diverged"] * 2
    for record in records:
        assert None in record.history.train_loss
        assert record.test_accuracy == record.history.test[-1]


# ------------------------------------------------------------------------------------------- repeated


def test_a_finished_study_is_left_as_it_is(
    study: Study, tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    conduct(study, tmp_path)
    before = contents(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*")}
    no_training(monkeypatch)
    assert conduct(study, tmp_path) == Outcome("finished", 6, 6, 0.0)
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*")} == times


@pytest.mark.parametrize("more", [{"seeds": [0, 1]}, {"losses": ["mae", "ce", "nce", "nce+mae"]}])
def test_what_is_added_later_is_all_that_is_trained(
    study: Study,
    tmp_path: Path,
    changed: Change,
    contents: Contents,
    results: Results,
    more: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    larger = changed(study, more)
    conduct(study, tmp_path / "out")
    before = contents(tmp_path / "out" / "runs")
    steps = counted_steps(monkeypatch)
    outcome = conduct(larger, tmp_path / "out")
    assert (outcome.runs_done, outcome.runs_total) == (len(larger.runs()),) * 2
    assert sum(steps) == STEPS * (len(larger.runs()) - 6)
    assert contents(tmp_path / "out" / "runs").items() > before.items()
    conduct(larger, tmp_path / "at once")
    assert_close(results(tmp_path / "out"), results(tmp_path / "at once"))


def test_what_is_left_out_later_stays(
    study: Study, tmp_path: Path, changed: Change, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    conduct(study, tmp_path)
    before = contents(tmp_path / "runs")
    no_training(monkeypatch)
    assert conduct(changed(study, {"losses": ["nce"]}), tmp_path) == Outcome("finished", 2, 2, 0.0)
    assert contents(tmp_path / "runs") == before


def test_the_same_loss_in_other_words_is_the_same_run(
    study: Study, tmp_path: Path, changed: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    conduct(study, tmp_path)
    no_training(monkeypatch)
    words = {"losses": [" CE", "NCE", "MAE + nce"], "noises": ["Symmetric : 0.40", "asymmetric:4e-1"]}
    assert conduct(changed(study, words), tmp_path).runs_done == 6


# ------------------------------------------------------------------------------------------- resumed


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 8, 11])
def test_an_interrupted_study_goes_on_as_if_nothing_had_been(
    study: Study, tmp_path: Path, after: After, results: Results, whole: dict[str, Any], steps: int
) -> None:
    outcome = conduct(study, tmp_path, interrupted=after(steps))
    assert (outcome.ended, outcome.runs_done) == ("interrupted", 0)
    assert {step.step for step in Archive(tmp_path).under_way().values()} == {steps}
    assert results(tmp_path) == {}
    assert conduct(study, tmp_path).ended == "finished"
    assert results(tmp_path) == whole
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("steps", [5, 12, 17, 30])
def test_a_study_of_several_stacks_does_too(
    study: Study,
    tmp_path: Path,
    after: After,
    results: Results,
    contents: Contents,
    small_stacks: None,
    whole: dict[str, Any],  # of small stacks as well
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome = conduct(study, tmp_path, interrupted=after(steps))
    assert outcome.runs_done == len(results(tmp_path)) == 2 * (steps // STEPS)
    before = contents(tmp_path / "runs")
    done = counted_steps(monkeypatch)
    conduct(study, tmp_path)
    assert len(done) == 3 * STEPS - steps
    assert results(tmp_path) == whole
    assert contents(tmp_path / "runs").items() >= before.items()


def test_stopping_after_every_single_step_changes_nothing(
    study: Study, tmp_path: Path, after: After, results: Results, whole: dict[str, Any]
) -> None:
    outcomes = [conduct(study, tmp_path, interrupted=after(1)).ended for _ in range(STEPS)]
    assert outcomes == ["interrupted"] * (STEPS - 1) + ["finished"]
    assert results(tmp_path) == whole


def test_training_time_goes_on_counting(study: Study, tmp_path: Path, after: After) -> None:
    seconds = [0.0]
    for _ in range(3):
        conduct(study, tmp_path, interrupted=after(2))
        seconds.append(max(checkpoint.seconds for checkpoint in Archive(tmp_path).under_way().values()))
    assert all(a < b for a, b in itertools.pairwise(seconds))
    conduct(study, tmp_path)
    records = Archive(tmp_path).finished().values()
    assert all(record.provenance.seconds >= round(seconds[-1], 3) for record in records)


@pytest.mark.parametrize("steps", [3, 4, 9])
def test_a_crash_costs_what_came_after_the_last_checkpoint(
    study: Study,
    tmp_path: Path,
    results: Results,
    whole: dict[str, Any],
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", -1.0)
    with pytest.raises(CrashError):
        conduct(study, tmp_path, on_progress=crash_after(steps))
    done = counted_steps(monkeypatch)
    conduct(study, tmp_path)
    assert len(done) == STEPS - (steps - 1)  # the crash came before the step's own checkpoint
    assert results(tmp_path) == whole


def test_checkpoints_are_half_a_minute_apart(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=7.0)  # seven seconds a step
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    saved_at: list[int] = []
    checkpoints = tmp_path / "checkpoints"

    def look(_: Progress) -> None:
        found = {checkpoint.step for checkpoint in Archive(tmp_path).under_way().values()}
        saved_at.extend(found - set(saved_at))

    conduct(study, tmp_path, on_progress=look)
    assert len(saved_at) >= 2
    assert all(4 <= b - a <= 6 for a, b in itertools.pairwise([0, *saved_at]))
    assert list(checkpoints.iterdir()) == []


def test_what_is_costly_to_save_is_saved_less_often(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slow saving does not count for ever."""
    now, savings = 0.0, itertools.chain([4.0], itertools.repeat(0.1))
    saved_at: list[float] = []
    advance, save = StackedTraining.advance, Archive.save

    def slowly(training: StackedTraining) -> None:
        nonlocal now
        now += 20.0
        advance(training)

    def saving(archive: Archive, *arguments: Any) -> None:
        nonlocal now
        now += next(savings)
        saved_at.append(now)
        save(archive, *arguments)

    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(trainer, "time", clock)
    monkeypatch.setattr("noiseproof.study.pace.time", clock)
    monkeypatch.setattr(StackedTraining, "advance", slowly)
    monkeypatch.setattr(Archive, "save", saving)
    longer = study.model_copy(update={"recipe": study.recipe.model_copy(update={"epochs": 5})})
    conduct(longer, tmp_path)
    assert saved_at == pytest.approx([44.0, 264.1, 304.2, 344.3, 384.4])  # after 30 s, 200 s, 30 s, 30 s


def test_a_crash_while_saving_leaves_some_runs_ahead_of_others(
    study: Study,
    tmp_path: Path,
    after: After,
    results: Results,
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conduct(study, tmp_path, interrupted=after(2))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail_when(lambda target: target.suffix == ".pt", allowed=2))
        with pytest.raises(OSError, match="No space left"):
            conduct(study, tmp_path, interrupted=after(5))
    steps = [checkpoint.step for checkpoint in Archive(tmp_path).under_way().values()]
    assert sorted(steps) == [2, 2, 2, 2, 7, 7]
    conduct(study, tmp_path)
    assert_close(results(tmp_path), whole)


# ------------------------------------------------------------------------------------ out of memory


def little_memory(
    monkeypatch: pytest.MonkeyPatch, fits: Callable[[StackedTraining], bool], made: list[int] | None = None
) -> None:
    """From now on a step fails where ``fits`` says no; ``made`` is told of each training's number of runs."""
    advance, begin = StackedTraining.advance, StackedTraining.__init__

    def limited(training: StackedTraining) -> None:
        if not fits(training):
            raise torch.OutOfMemoryError("CUDA out of memory")
        advance(training)

    def counted(training: StackedTraining, *arguments: Any) -> None:
        begin(training, *arguments)
        if made is not None:
            made.append(len(training.runs))

    monkeypatch.setattr(StackedTraining, "advance", limited)
    monkeypatch.setattr(StackedTraining, "__init__", counted)


def test_runs_that_do_not_fit_together_are_split_until_they_do(
    study: Study,
    tmp_path: Path,
    results: Results,
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    little_memory(monkeypatch, lambda training: len(training.runs) <= 2, made)
    assert conduct(study, tmp_path).runs_done == 6
    assert made == [6, 3, 1, 2, 3, 1, 2]
    assert_close(results(tmp_path), whole)


def test_after_a_lack_of_memory_training_goes_on_from_the_last_checkpoints(
    study: Study,
    tmp_path: Path,
    results: Results,
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", -1.0)
    little_memory(monkeypatch, lambda training: len(training.runs) <= 3 or training.step < 7)
    steps = counted_steps(monkeypatch)
    told: list[Progress] = []
    assert conduct(study, tmp_path, on_progress=told.append).ended == "finished"
    assert steps == [6] * (7 + 1) + [3] * 2 * (STEPS - 7)
    assert told[-1].fraction == 1.0
    assert_close(results(tmp_path), whole)


def test_a_run_that_does_not_fit_alone_is_recorded_and_the_others_go_on(
    study: Study,
    tmp_path: Path,
    results: Results,
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    too_large = study.runs()[3].id

    def fits(training: StackedTraining) -> bool:
        return training.step < 5 or all(str(run.loss) != "nce" for run in training.runs)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "CHECKPOINT_EVERY", -1.0)
        little_memory(patch, fits)
        outcome = conduct(study, tmp_path)
    assert (outcome.ended, outcome.runs_done) == ("finished", 6)
    records = Archive(tmp_path).finished()
    unfit = {name: record for name, record in records.items() if record.status != "finished"}
    assert len(unfit) == 2
    assert too_large in unfit
    for record in unfit.values():
        assert (record.status, record.test_accuracy, record.best) == ("out of memory", None, None)
        assert len(record.history) == 1  # it stopped after five steps, four an epoch
    assert list((tmp_path / "checkpoints").iterdir()) == []

    assert conduct(study, tmp_path).ended == "finished"  # where there is memory
    assert_close(results(tmp_path), whole)


def test_a_run_under_way_again_keeps_its_checkpoint(
    study: Study, tmp_path: Path, after: After, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        little_memory(patch, lambda _: False)
        conduct(study, tmp_path)
    assert {record.status for record in Archive(tmp_path).finished().values()} == {"out of memory"}
    conduct(study, tmp_path, interrupted=after(5))
    steps = counted_steps(monkeypatch)
    conduct(study, tmp_path)
    assert len(steps) == STEPS - 5
    assert {record.status for record in Archive(tmp_path).finished().values()} == {"finished"}


# --------------------------------------------------------------------------------- the GPU's own engine


@pytest.fixture
def as_on_a_gpu() -> Iterator[pytest.MonkeyPatch]:
    """The engine for GPUs, on the CPU, four runs at once, and a few steps in each turn; until undone."""
    monkeypatch = pytest.MonkeyPatch()
    advance = ConcurrentTraining.advance

    def few(training: ConcurrentTraining) -> None:
        training._steps_a_turn = 3
        advance(training)

    def chosen(study: Study, dataset: Dataset, _: object, device: torch.device, **__: object) -> Any:
        return Engine(
            lambda runs: ConcurrentTraining(dataset, study.model, study.recipe, runs, device), at_once=4
        )

    monkeypatch.setattr(ConcurrentTraining, "advance", few)
    monkeypatch.setattr(MODULE, "choose_engine", chosen)
    yield monkeypatch
    monkeypatch.undo()


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_study_on_a_gpus_engine_has_the_same_results(
    study: Study, tmp_path: Path, results: Results, whole: dict[str, Any]
) -> None:
    told: list[Progress] = []
    assert conduct(study, tmp_path, on_progress=told.append).ended == "finished"
    assert_close(results(tmp_path), whole)
    assert len(told) == 2 * (1 + 3 * 2 + 1)  # prepared; turns of 3 and 1 steps, an epoch has 4; kept
    assert told[0] == Progress(0, 6, 0.0, preparing=3)
    assert [progress.fraction for progress in told][1:3] == [
        pytest.approx(3 * 3 / 72),
        pytest.approx(3 * 4 / 72),
    ]


def test_preparing_on_a_gpu_counts_against_the_budget_but_is_no_training(
    study: Study, tmp_path: Path, as_on_a_gpu: pytest.MonkeyPatch
) -> None:
    now = 0.0
    prepare, advance = ConcurrentTraining.prepare, ConcurrentTraining.advance

    def slow(training: ConcurrentTraining) -> None:
        nonlocal now
        now += 60.0
        prepare(training)

    def second(training: ConcurrentTraining) -> None:
        nonlocal now
        now += 1.0
        advance(training)

    as_on_a_gpu.setattr("noiseproof.study.pace.time", SimpleNamespace(monotonic=lambda: now))
    as_on_a_gpu.setattr(ConcurrentTraining, "prepare", slow)
    as_on_a_gpu.setattr(ConcurrentTraining, "advance", second)
    # a group of three runs takes 60 s to prepare, and 6 turns: there is no time to prepare the second
    outcome = conduct(study, tmp_path, time_budget=120.0)
    assert (outcome.ended, outcome.runs_done, outcome.training_seconds) == ("out of time", 3, 6.0)
    assert now == 66.0
    outcome = conduct(study, tmp_path, time_budget=70.0)
    assert (outcome.ended, outcome.runs_done, outcome.training_seconds) == ("finished", 6, 6.0)


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_a_study_goes_from_a_gpu_to_the_cpu(
    study: Study,
    tmp_path: Path,
    after: After,
    results: Results,
    whole: dict[str, Any],
    steps: int,
    as_on_a_gpu: pytest.MonkeyPatch,
) -> None:
    assert conduct(study, tmp_path, interrupted=after(steps)).ended == "interrupted"
    as_on_a_gpu.undo()
    assert conduct(study, tmp_path).ended == "finished"
    assert_close(results(tmp_path), whole)


def test_the_engine_is_chosen_for_the_steps_that_are_left(
    study: Study, tmp_path: Path, after: After, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, asked = MODULE.choose_engine, list[tuple[int, float]]()

    def noted(*arguments: Any, steps_ahead: int, seconds_ahead: float, **options: Any) -> Any:
        asked.append((steps_ahead, seconds_ahead))
        return engine(*arguments, **options)

    monkeypatch.setattr(MODULE, "choose_engine", noted)
    conduct(study, tmp_path, interrupted=after(5))
    conduct(study, tmp_path, time_budget=1000.0)
    assert asked == [(6 * STEPS, math.inf), (6 * (STEPS - 5), pytest.approx(1000.0, abs=999.0))]


def test_trials_before_the_training_are_told_of(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, told = MODULE.choose_engine, list[Progress]()

    def tries(*arguments: Any, on_trial: OnTrial, **options: Any) -> Any:
        on_trial(1, Way())
        on_trial(2, Way(compiled=True))
        return engine(*arguments)

    monkeypatch.setattr(MODULE, "choose_engine", tries)
    outcome = conduct(study, tmp_path, on_progress=told.append, interrupted=lambda: bool(told[2:]))
    assert outcome.ended == "interrupted"
    assert told[:2] == [Progress(0, 6, 0.0, trying=1), Progress(0, 6, 0.0, trying=2, compiled=True)]
    assert told[2].running


@pytest.mark.cuda
@pytest.mark.filterwarnings("default")
def test_a_study_goes_between_a_gpu_and_the_cpu(
    study: Study, tmp_path: Path, after: After, results: Results, whole: dict[str, Any]
) -> None:
    assert conduct(study, tmp_path, device="cpu", interrupted=after(5)).ended == "interrupted"
    assert conduct(study, tmp_path, device="cuda", interrupted=after(1)).ended == "interrupted"
    assert {checkpoint.step for checkpoint in Archive(tmp_path).under_way().values()} == {6}
    assert conduct(study, tmp_path, device="cpu").ended == "finished"
    for name, record in results(tmp_path).items():
        assert record["status"] == "finished"
        assert record["history"]["test"] == pytest.approx(whole[name]["history"]["test"], abs=0.2)


@pytest.mark.cuda
@pytest.mark.filterwarnings("default")
def test_a_study_finishes_on_a_gpu(study: Study, tmp_path: Path) -> None:
    assert conduct(study, tmp_path, device="cuda").ended == "finished"
    for record in Archive(tmp_path).finished().values():
        assert record.status == "finished"
        assert record.provenance.precision == "bfloat16"
        assert record.provenance.device == torch.cuda.get_device_name()


# ------------------------------------------------------------------------------------------- in time


def test_a_budget_that_is_spent_at_once_saves_everything(
    study: Study, tmp_path: Path, results: Results, contents: Contents, whole: dict[str, Any]
) -> None:
    outcome = conduct(study, tmp_path, time_budget=0.001)
    assert outcome == Outcome("out of time", 0, 6, 0.0)
    names = [f"{kind}/{run.id}{suffix}" for run in study.runs() for kind, suffix in UNFINISHED]
    assert sorted(contents(tmp_path)) == sorted([*names, "study.json"])
    assert conduct(study, tmp_path, time_budget=3600.0).ended == "finished"
    assert results(tmp_path) == whole


def test_a_budget_that_is_spent_midway_saves_everything(
    study: Study,
    tmp_path: Path,
    results: Results,
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count()  # a second passes whenever the time is asked
    with monkeypatch.context() as patch:
        patch.setattr("noiseproof.study.pace.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
        outcome = conduct(study, tmp_path, time_budget=25.0)
    assert (outcome.ended, outcome.runs_done) == ("out of time", 0)
    (step,) = {checkpoint.step for checkpoint in Archive(tmp_path).under_way().values()}
    assert 5 <= step < STEPS
    assert outcome.training_seconds == step  # by that clock
    conduct(study, tmp_path)
    assert results(tmp_path) == whole


def test_a_budget_does_not_matter_where_nothing_is_left_to_do(study: Study, tmp_path: Path) -> None:
    conduct(study, tmp_path)
    assert conduct(study, tmp_path, time_budget=0.001) == Outcome("finished", 6, 6, 0.0)


# ------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("stopped", [False, True], ids=["records", "checkpoints"])
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"recipe.epochs": 4}, "recipe.epochs = 3 against 4"),
        ({"recipe.learning_rate": 0.2}, "recipe.learning_rate = 0.1 against 0.2"),
        ({"recipe.flip": False}, "recipe.flip = True against False"),
        ({"model.hidden": [5]}, "model.hidden = (4,) against (5,)"),
        ({"model": {"name": "resnet18"}}, "model.name = 'mlp' against 'resnet18'"),
        ({"data": "digits"}, "data = 'tiny' against 'digits'"),
        ({"recipe.epochs": 4, "losses": ["mae"], "seeds": [5]}, "recipe.epochs = 3 against 4"),
    ],
    ids=str,
)
def test_a_folder_of_other_runs_is_refused_and_the_difference_named(
    study: Study,
    tmp_path: Path,
    changed: Change,
    after: After,
    contents: Contents,
    change: dict[str, object],
    difference: str,
    stopped: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    conduct(study, tmp_path, interrupted=after(2 if stopped else 100))
    before = contents(tmp_path)
    no_training(monkeypatch)
    with pytest.raises(NoiseproofError) as refusal:
        conduct(changed(study, change), tmp_path)
    message = str(refusal.value)
    assert message.startswith(f"{str(tmp_path)!r} holds runs of another configuration (")
    assert difference in message
    assert message.endswith("; choose another --out")
    assert message.isprintable()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("stopped", [False, True], ids=["records", "checkpoints"])
def test_a_folder_of_runs_on_other_images_is_refused(
    study: Study,
    tmp_path: Path,
    after: After,
    contents: Contents,
    tiny_data: Callable[[int], Dataset],
    stopped: bool,
) -> None:
    conduct(study, tmp_path, interrupted=after(2 if stopped else 100))
    before = contents(tmp_path)
    theirs, ours = tiny_data(0).fingerprint[:12], tiny_data(1).fingerprint[:12]
    assert theirs != ours
    with pytest.raises(NoiseproofError, match=rf"configuration \(data {theirs} against {ours}\)"):
        conduct(study, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("device", ["cuda:99", "cdua", "", "meta", "cpu0"])
def test_a_device_that_is_not_there_is_named_before_anything_is_made(
    study: Study, tmp_path: Path, device: str
) -> None:
    for attempt in (lambda: choose_device(device), lambda: conduct(study, tmp_path / "out", device=device)):
        with pytest.raises(NoiseproofError) as refusal:
            attempt()
        message = str(refusal.value)
        assert message.startswith(f"device {device!r} cannot be used (")
        assert message.endswith("; expected auto, cpu, cuda or cuda:N")
        assert message.isprintable()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", [(), ("out",), ("out", "deeper")])
def test_a_folder_that_cannot_be_made_is_named(study: Study, tmp_path: Path, below: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("no folder")
    out = (tmp_path / "file").joinpath(*below)
    with pytest.raises(NoiseproofError, match=f"^folder {str(out)!r} cannot be written to: "):
        conduct(study, out)


def test_data_that_cannot_be_had_leaves_no_record(tmp_path: Path, contents: Contents) -> None:
    with pytest.raises(NoiseproofError, match="take no --data-dir"):
        conduct(load_study("smoke"), tmp_path / "out", data_dir=tmp_path)
    with pytest.raises(NoiseproofError, match="does not exist"):
        conduct(load_study("cifar10"), tmp_path / "out", data_dir=tmp_path / "nowhere")
    assert contents(tmp_path) == {}


# ------------------------------------------------------------------------------------- whole or absent


def fail_when(matters: Callable[[Path], bool], *, allowed: int) -> Callable[[Path, Path], Path]:
    """A `Path.replace` that finds the disk full from some file on."""
    replace, count = Path.replace, itertools.count()

    def fail(self: Path, target: Path) -> Path:
        if matters(Path(target)) and next(count) >= allowed:
            raise OSError(28, "No space left on device", str(target))
        return replace(self, target)

    return fail


def fail_fsync(allowed: int) -> Callable[[int], None]:
    fsync, count = os.fsync, itertools.count()

    def fail(descriptor: int) -> None:
        if next(count) >= allowed:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    return fail


@pytest.mark.parametrize("records", [0, 1, 5])
@pytest.mark.parametrize("fails", ["rename", "flush"])
def test_a_full_disk_leaves_whole_records_alone(
    study: Study,
    tmp_path: Path,
    contents: Contents,
    results: Results,
    whole: dict[str, Any],
    fails: str,
    records: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        if fails == "rename":
            in_runs = fail_when(lambda target: target.parent.name == "runs", allowed=records)
            patch.setattr(Path, "replace", in_runs)
        else:
            patch.setattr(os, "fsync", fail_fsync(allowed=1 + records))  # study.json is the first
        with pytest.raises(OSError, match="No space left"):
            conduct(study, tmp_path)
    written = {name for name in contents(tmp_path) if not name.startswith("locks/")}
    assert len(written) == 1 + records
    assert written < {"study.json", *(f"runs/{run.id}.json" for run in study.runs())}
    assert len(results(tmp_path)) == records
    conduct(study, tmp_path)
    assert_close(results(tmp_path), whole)


def test_a_full_disk_leaves_the_last_checkpoints_whole(
    study: Study,
    tmp_path: Path,
    contents: Contents,
    results: Results,
    whole: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_fsync(allowed=1 + 3 * 6))  # study.json, then six at every step
        with pytest.raises(OSError, match="No space left"):
            conduct(study, tmp_path)
    assert {checkpoint.step for checkpoint in Archive(tmp_path).under_way().values()} == {3}
    assert len(contents(tmp_path)) == 1 + 6 + 6  # study.json, checkpoints, locks
    conduct(study, tmp_path)
    assert results(tmp_path) == whole


def test_what_a_killed_process_left_half_written_is_not_read(
    study: Study, tmp_path: Path, results: Results, whole: dict[str, Any]
) -> None:
    for kind, suffix in (("runs", ".json"), ("checkpoints", ".pt")):
        (tmp_path / kind).mkdir()
        for run in study.runs():
            (tmp_path / kind / f".{run.id}{suffix}.0abc_d1e.tmp").write_bytes(b"half")
    conduct(study, tmp_path)
    assert results(tmp_path) == whole


def test_missing_data_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(NoiseproofError, match="does not exist"):
        conduct(load_study("cifar10"), tmp_path / "out", data_dir=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_a_network_of_ones_own_that_was_changed_is_another_configuration(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: Callable[..., Study]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "nets_to_change.py"
    source.write_text(
        "from torch import nn\ndef make(): return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))\n"
    )
    ours = changed(
        study,
        {"model": {"name": "factory", "path": "nets_to_change:make"}, "losses": ["ce"], "recipe.epochs": 1},
    )
    assert conduct(ours, tmp_path / "out").ended == "finished"
    source.write_text(source.read_text().replace("nn.Linear", "nn.ReLU(), nn.Linear"))
    with pytest.raises(NoiseproofError, match=r"holds runs of another configuration \(model\.code = "):
        conduct(ours, tmp_path / "out")


# ------------------------------------------------------------------------------------------ networks kept


def accuracy_of(network: TrainedNetwork, dataset: Dataset) -> float:
    with torch.no_grad():
        predicted = network(torch.from_numpy(dataset.test_images)).argmax(1)
    return float((predicted == torch.from_numpy(dataset.test_labels)).double().mean())


def test_networks_are_kept_where_they_are_asked_for_and_are_those_that_were_trained(
    study: Study, tmp_path: Path, tiny_data: Callable[[int], Dataset]
) -> None:
    conduct(study, tmp_path)
    assert not (tmp_path / "networks").exists()
    assert conduct(study, tmp_path, keep_networks=True).runs_done == 6  # for no network was there
    archive, dataset = Archive(tmp_path), tiny_data(0)
    for run_id, record in archive.finished().items():
        network = load_network(archive.network(run_id))
        assert network.class_names == dataset.class_names
        assert accuracy_of(network, dataset) == pytest.approx(record.test_accuracy)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_gpus_engine_keeps_networks_too(
    study: Study, tmp_path: Path, tiny_data: Callable[[int], Dataset]
) -> None:
    conduct(study, tmp_path, keep_networks=True)
    archive = Archive(tmp_path)
    for run_id, record in archive.finished().items():
        accuracy = accuracy_of(load_network(archive.network(run_id)), tiny_data(0))
        assert accuracy == pytest.approx(record.test_accuracy)


def test_only_a_run_whose_network_is_gone_is_trained_again(
    study: Study, tmp_path: Path, results: Results, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    conduct(study, tmp_path, keep_networks=True)
    archive = Archive(tmp_path)
    gone = archive.network(study.runs()[2].id)
    gone.unlink()
    steps = counted_steps(monkeypatch)
    conduct(study, tmp_path, keep_networks=True)
    assert steps == [1] * STEPS
    assert gone.is_file()
    assert_close(results(tmp_path), whole)
    no_training(monkeypatch)
    conduct(study, tmp_path, keep_networks=True)


def test_a_crash_before_the_record_leaves_no_run_done(
    study: Study, tmp_path: Path, results: Results, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "add", crash)
        with pytest.raises(CrashError):
            conduct(study, tmp_path, keep_networks=True)
    assert Archive(tmp_path).finished() == {}
    conduct(study, tmp_path, keep_networks=True)
    assert results(tmp_path) == whole
