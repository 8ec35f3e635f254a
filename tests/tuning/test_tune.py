"""Conducting a search: scores from held-out noisy labels alone, nothing lost, and the same trials again."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from noiseproof import losses, noise
from noiseproof.data import DATASETS, Dataset, from_arrays, load
from noiseproof.errors import NoiseproofError
from noiseproof.study import Progress, Study, trainer
from noiseproof.study.labels import training_labels
from noiseproof.training import OnTrial, Run, StackedTraining, Way
from noiseproof.tuning import Search, tune
from noiseproof.tuning.folder import Folder
from noiseproof.tuning.holdout import hold_out

Found = Callable[[Path], dict[int, dict[str, Any]]]
Put = Callable[..., Dataset]

MODULE = importlib.import_module("noiseproof.tuning.tune")  # the package's name is the function's
STEPS = 3 * 3  # of a trial: 48 images that are not held out, in batches of 16


class CrashError(Exception):
    """Stands for whatever ends a process without a word."""


def after(steps: int) -> Callable[[], bool]:
    asked = iter(range(steps))
    return lambda: next(asked, None) is None


def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of runs in every step from now on."""
    steps: list[int] = []
    advance = StackedTraining.advance

    def counted(training: StackedTraining) -> None:
        steps.append(len(training.runs))
        advance(training)

    monkeypatch.setattr(StackedTraining, "advance", counted)
    return steps


@pytest.fixture(scope="module")
def whole(
    search: Search, dataset: Dataset, found: Found, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, dict[str, Any]]:
    """Eight trials in two batches with nothing in between."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "tiny", lambda _: dataset)
        assert tune(search, out, trials=8).ended == "finished"
    return found(out)


# ----------------------------------------------------------------------------------------- what it does


def test_what_is_tried_before_the_training_is_told(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, told = MODULE.choose_engine, list[Progress]()

    def tries(*arguments: Any, on_trial: OnTrial, **options: Any) -> Any:
        on_trial(2, Way(compiled=True))
        return engine(*arguments)

    monkeypatch.setattr(MODULE, "choose_engine", tries)
    assert tune(search, tmp_path, trials=2, on_progress=told.append).ended == "finished"
    assert told[0] == Progress(0, 2, 0.0, trying=2, compiled=True)
    assert not any(progress.trying for progress in told[1:])


def test_the_engine_is_chosen_for_all_trials_that_are_left(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the first batch alone, and without what its trials have behind them."""
    engine, asked = MODULE.choose_engine, list[int]()

    def noted(*arguments: Any, steps_ahead: int, **options: Any) -> Any:
        asked.append(steps_ahead)
        return engine(*arguments, **options)

    monkeypatch.setattr(MODULE, "choose_engine", noted)
    tune(search, tmp_path, trials=8, interrupted=after(STEPS + 2))
    tune(search, tmp_path, trials=8)
    assert asked == [8 * STEPS, 4 * STEPS - 4 * 2]


def test_a_search_leaves_its_trials_with_where_they_come_from(search: Search, tmp_path: Path) -> None:
    outcome = tune(search, tmp_path / "new" / "out", trials=6)
    assert (outcome.ended, outcome.runs_done, outcome.runs_total) == ("finished", 6, 6)
    folder = Folder(tmp_path / "new" / "out")
    trials = folder.finished()
    assert list(trials) == list(range(6))
    assert folder.search() == search
    assert list(folder.checkpoints.iterdir()) == []
    assert trials[0].values == search.defaults
    for trial in trials.values():
        assert trial.loss == str(search.template.fill(trial.values))
        assert trial.score == trial.run.history.test[-1]
        assert (trial.run.data.train_size, trial.run.data.test_size) == (48, 12)
        assert trial.run.noise.achieved_rate == pytest.approx(0.4, abs=0.1)
        assert trial.run.provenance.torch == torch.__version__


def test_a_trial_is_a_training_on_the_kept_noisy_labels_scored_by_the_held_out_ones(
    search: Search, dataset: Dataset, tmp_path: Path
) -> None:
    tune(search, tmp_path, trials=4)
    trials = Folder(tmp_path).finished()
    labels = training_labels(noise.parse("symmetric:0.4"), dataset, seed=0)
    part = hold_out(dataset, labels, fraction=0.2, seed=0)
    where = {image.tobytes(): i for i, image in enumerate(dataset.train_images)}
    kept = [where[image.tobytes()] for image in part.train_images]
    runs = [
        Run("", losses.parse(trial.loss, reduction="none"), labels.given[kept], seed=0)
        for trial in trials.values()
    ]
    training = StackedTraining(part, search.model, search.recipe, runs, torch.device("cpu"))
    while not training.finished:
        training.advance()
    assert [trial.run.history for trial in trials.values()] == training.histories
    assert len({history.test for history in training.histories}) > 1


def test_the_test_set_changes_nothing(
    search: Search, dataset: Dataset, put: Put, found: Found, tmp_path: Path
) -> None:
    tune(search, tmp_path / "a", trials=8)
    rng = np.random.default_rng(0)
    put(
        dataset,
        test_images=rng.integers(0, 256, size=(7, 1, 4, 4), dtype=np.uint8),
        test_labels=rng.permutation(dataset.test_labels)[:7],
    )
    tune(search, tmp_path / "b", trials=8)
    assert found(tmp_path / "a") == found(tmp_path / "b")
    # and the folder knows it for the same data
    assert tune(search, tmp_path / "a", trials=8).ended == "finished"


def test_the_held_out_labels_change_the_scores(
    search: Search, dataset: Dataset, found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(search, tmp_path / "a", trials=4)

    def shuffled(*arguments: Any, **options: Any) -> Dataset:
        part = hold_out(*arguments, **options)
        return replace(part, test_labels=(part.test_labels + 1) % 3)

    monkeypatch.setattr(MODULE, "hold_out", shuffled)
    tune(search, tmp_path / "b", trials=4)
    a, b = found(tmp_path / "a"), found(tmp_path / "b")
    ours, theirs = ([trials[n]["run"]["history"] for n in range(4)] for trials in (a, b))
    assert [history.pop("test") for history in ours] != [history.pop("test") for history in theirs]
    assert ours == theirs


def test_labels_that_nobody_knows_to_be_right_will_do(
    search: Search, dataset: Dataset, put: Put, tmp_path: Path
) -> None:
    put(dataset, labels_are_clean=False)
    given = search.model_copy(update={"noise": "given"})
    assert tune(given, tmp_path, trials=1).ended == "finished"
    trial = Folder(tmp_path).finished()[0]
    assert trial.run.noise.achieved_rate is None
    assert set(trial.run.history.memorized) == {None}


def test_data_of_ones_own_is_searched_as_it_is_given(study: Study, dataset: Dataset, tmp_path: Path) -> None:
    given = (dataset.train_labels + (np.arange(60) % 5 == 0)) % 3
    mine = from_arrays(
        "mine",
        (dataset.train_images[:, 0], given),
        (dataset.test_images[:, 0], dataset.test_labels),
        labels_are_clean=False,
    )
    own = study.model_copy(update={"data": "arrays:mine", "noises": ("given",)})
    tune(Search.of(own, "a*nce"), tmp_path, trials=1, dataset=mine)
    run = Folder(tmp_path).finished()[0].run
    assert (run.config.data, run.config.noise) == ("arrays:mine", "given")


def test_what_can_not_be_trained_is_refused_at_once(study: Study, tmp_path: Path) -> None:
    recipe = study.recipe.model_copy(update={"crop_padding": 4})
    with pytest.raises(NoiseproofError, match=r"recipe\.crop_padding must be less"):
        tune(Search.of(study.model_copy(update={"recipe": recipe}), "a*nce"), tmp_path / "out", trials=1)
    assert not (tmp_path / "out").exists()


def test_progress_counts_trials(search: Search, tmp_path: Path) -> None:
    told: list[Progress] = []
    tune(search, tmp_path, trials=8, on_progress=told.append)
    assert len(told) == 2 * (STEPS + 1)
    assert {(len(progress.running), progress.runs_total) for progress in told} == {(4, 8)}
    assert [progress.runs_done for progress in told] == [0] * STEPS + [4] * (STEPS + 1) + [8]
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == pytest.approx(1 / (2 * STEPS))
    assert (fractions[-1], told[-1].seconds_left) == (1.0, 0)


# ---------------------------------------------------------------------------- stopped, and gone on with


def test_more_trials_later_are_those_that_would_have_been(
    search: Search, found: Found, whole: dict[int, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune(search, tmp_path, trials=4)
    steps = trained(monkeypatch)
    assert tune(search, tmp_path, trials=8).runs_done == 8
    assert steps == [4] * STEPS
    assert found(tmp_path) == whole
    outcome = tune(search, tmp_path, trials=3)
    assert (outcome.runs_done, outcome.runs_total, outcome.training_seconds) == (3, 3, 0.0)
    assert len(steps) == STEPS


def test_a_batch_that_was_cut_short_is_filled_up(
    search: Search, found: Found, whole: dict[int, Any], tmp_path: Path
) -> None:
    tune(search, tmp_path, trials=5)
    tune(search, tmp_path, trials=8)
    # the second batch is proposed from the first alone, however it was cut
    assert [t["values"] for t in found(tmp_path).values()] == [t["values"] for t in whole.values()]


@pytest.mark.parametrize("steps", [0, 2, STEPS + 4])
def test_interrupted_it_saves_and_goes_on(
    search: Search,
    found: Found,
    whole: dict[int, Any],
    tmp_path: Path,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome = tune(search, tmp_path, trials=8, interrupted=after(steps))
    assert (outcome.ended, outcome.runs_done) == ("interrupted", 4 * (steps // STEPS))
    assert len(list(Folder(tmp_path).checkpoints.iterdir())) == 4
    done = trained(monkeypatch)
    assert tune(search, tmp_path, trials=8).ended == "finished"
    assert len(done) == 2 * STEPS - steps
    assert found(tmp_path) == whole


def test_out_of_time_saves_and_goes_on(
    search: Search, found: Found, whole: dict[int, Any], tmp_path: Path
) -> None:
    assert tune(search, tmp_path, trials=8, time_budget=1e-6).ended == "out of time"
    assert tune(search, tmp_path, trials=8).ended == "finished"
    assert found(tmp_path) == whole


def test_a_crash_loses_the_trials_under_way_at_most(
    search: Search,
    found: Found,
    whole: dict[int, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(progress: Progress) -> None:
        if progress.runs_done and progress.epoch == 2:
            raise CrashError

    with pytest.raises(CrashError):
        tune(search, tmp_path, trials=8, on_progress=crash)
    assert list(found(tmp_path)) == [0, 1, 2, 3]
    steps = trained(monkeypatch)
    tune(search, tmp_path, trials=8)
    assert len(steps) == STEPS
    assert found(tmp_path) == whole


def test_checkpoints_are_written_on_the_way(
    search: Search,
    found: Found,
    whole: dict[int, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 0.0)

    def crash(progress: Progress) -> None:
        if progress.epoch == 2:
            raise CrashError

    with pytest.raises(CrashError):
        tune(search, tmp_path, trials=8, on_progress=crash)
    steps = trained(monkeypatch)
    tune(search, tmp_path, trials=8)
    assert STEPS < len(steps) < 2 * STEPS
    assert found(tmp_path) == whole


def test_damaged_files_are_named_and_done_again(
    search: Search, found: Found, whole: dict[int, Any], tmp_path: Path
) -> None:
    tune(search, tmp_path, trials=8, interrupted=after(STEPS + 4))
    for path in Folder(tmp_path).checkpoints.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="checkpoint .* is damaged; its trial starts afresh"):
        tune(search, tmp_path, trials=8)
    assert found(tmp_path) == whole
    trials = Folder(tmp_path).trials
    (trials / "0001.json").write_text((trials / "0001.json").read_text()[:50])
    (trials / "0002.json").write_text((trials / "0003.json").read_text())
    with pytest.warns(UserWarning, match=r"trial .*000[12].json' is damaged.*; it counts as not done"):
        tune(search, tmp_path, trials=8)
    assert [t["values"] for t in found(tmp_path).values()] == [t["values"] for t in whole.values()]


# ------------------------------------------------------------------------------------------ out of memory


def test_a_batch_that_does_not_fit_is_split(
    search: Search, found: Found, whole: dict[int, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = trained(monkeypatch)
    counted = StackedTraining.advance

    def limited(training: StackedTraining) -> None:
        if len(training.runs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        counted(training)

    monkeypatch.setattr(StackedTraining, "advance", limited)
    assert tune(search, tmp_path, trials=4).ended == "finished"
    assert steps == [2] * 2 * STEPS
    assert [t["values"] for t in found(tmp_path).values()] == [whole[n]["values"] for n in range(4)]


def test_a_trial_that_does_not_fit_alone_is_an_error(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: StackedTraining) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(StackedTraining, "advance", full)
    with pytest.raises(NoiseproofError, match="a trial does not fit the memory of cpu, even alone"):
        tune(search, tmp_path, trials=4)


# ------------------------------------------------------------------------------------------------ refused


def test_a_folder_of_another_search_is_refused(
    search: Search, dataset: Dataset, put: Put, found: Found, tmp_path: Path
) -> None:
    tune(search, tmp_path, trials=1)
    before = found(tmp_path)
    with pytest.raises(NoiseproofError, match=r"holds another search \(seed = 0 against 1\); choose another"):
        tune(search.model_copy(update={"seed": 1}), tmp_path, trials=1)
    put(dataset, train_images=255 - dataset.train_images)
    with pytest.raises(NoiseproofError, match=r"holds another search \(data \w{12} against \w{12}\)"):
        tune(search, tmp_path, trials=1)
    assert found(tmp_path) == before


def test_trials_of_nobody_knows_what_are_refused(search: Search, tmp_path: Path) -> None:
    tune(search, tmp_path, trials=1)
    (tmp_path / "search.json").unlink()
    with pytest.raises(NoiseproofError, match="holds trials, and nothing says of what"):
        tune(search, tmp_path, trials=1)


def test_a_folder_in_use_is_refused_and_one_whose_user_died_is_not(search: Search, tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / "search.lock"),
        pytest.raises(NoiseproofError, match="another process is tuning"),
    ):
        tune(search, tmp_path, trials=1)
    (tmp_path / "search.lock").touch()
    assert tune(search, tmp_path, trials=1).ended == "finished"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"trials": 0}, "the number of trials must be at least 1, got 0"),
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
        ({"dataset": load("digits")}, "the search is of 'tiny', the dataset is 'digits'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    search: Search, tmp_path: Path, options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(NoiseproofError, match=fault):
        tune(search, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
