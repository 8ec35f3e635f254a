"""How many runs at once: what is tried next, what is chosen, on made-up machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noiseproof.data import Dataset
from noiseproof.models import Model
from noiseproof.training import ConcurrentTraining, Recipe, Run, Way, plan
from noiseproof.training import concurrency as module
from noiseproof.training.concurrency import COMPILING_PAYS, GAIN, SHARE, Trial, best, measure, next_count

CPU = torch.device("cpu")
Speed = Callable[[int], float]
GIGABYTE = 10**9


def tried(speed: Speed, *, most: int = 64, memory: int = 80 * GIGABYTE, a_run: int = GIGABYTE) -> list[Trial]:
    """The trials on a GPU where each run needs ``a_run`` bytes beside two for all."""
    trials: list[Trial] = []
    while (count := next_count(trials, most=most, memory=memory)) is not None:
        held = 2 * a_run + count * a_run
        trials.append(Trial(count, speed(count) if held <= memory else 0.0, held))
    return trials


def counts(trials: list[Trial]) -> list[int]:
    return [trial.runs for trial in trials]


def test_it_doubles_until_all_run_at_once() -> None:
    trials = tried(lambda n: 1000.0 * n, most=20, memory=10**15)
    assert counts(trials) == [1, 2, 4, 8, 16, 20]
    assert best(trials).runs == 20


def test_it_stops_where_more_gain_little() -> None:
    trials = tried(lambda n: min(n, 3) * 1000.0)
    assert counts(trials) == [1, 2, 4, 8]
    assert best(trials).runs == 4


def test_a_gain_below_the_threshold_is_not_worth_more_runs() -> None:
    assert counts(tried(lambda n: 1000.0 + n)) == [1, 2]
    assert best([Trial(1, 1000.0, 1), Trial(2, 1000.0 * (GAIN - 0.001), 2)]).runs == 1
    assert best([Trial(1, 1000.0, 1), Trial(2, 1000.0 * (GAIN + 0.001), 2)]).runs == 2


def test_it_stops_where_memory_ends() -> None:
    trials = tried(lambda n: 1000.0 * n, memory=30 * GIGABYTE)
    assert max(trial.bytes_held for trial in trials) <= SHARE * 30 * GIGABYTE
    assert counts(trials) == [1, 2, 4, 8, 16, 23]  # 25.5 GB may be used
    assert best(trials).runs == 23


def test_a_run_that_does_not_fit_is_tried_alone_and_no_more() -> None:
    trials = tried(lambda n: 1000.0, memory=GIGABYTE)
    assert counts(trials) == [1]
    assert best(trials).runs == 1


def test_what_fails_is_not_chosen() -> None:
    trials = [Trial(1, 1000.0, GIGABYTE), Trial(2, 0.0, 0)]
    assert next_count(trials, most=64, memory=80 * GIGABYTE) is None
    assert best(trials).runs == 1


@given(
    gains=st.lists(st.floats(0.3, 2.0), min_size=8, max_size=8),
    most=st.integers(1, 64),
    memory=st.integers(1, 200 * GIGABYTE),
)
def test_on_any_machine_it_ends_with_something_that_fits_and_is_near_the_best(
    gains: list[float], most: int, memory: int
) -> None:
    def speed(count: int) -> float:
        value = 1000.0
        for gain in gains[: count.bit_length() - 1]:
            value *= gain
        return value

    trials = tried(speed, most=most, memory=memory)
    assert counts(trials) == sorted(set(counts(trials)))
    chosen = best(trials)
    assert 1 <= chosen.runs <= most
    assert chosen.images_per_second * GAIN >= max(trial.images_per_second for trial in trials)
    assert len(trials) == 1 or chosen.images_per_second > 0


# -------------------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize("network", ["mlp"])
@pytest.mark.parametrize(
    ("images_ahead", "compiled_speed", "chosen", "tried_compiled"),
    [
        (10**9, lambda n: 2000.0 * min(n, 4), (4, True), [4, 8, 2]),  # days ahead: compiling, twice as fast
        (10**9, lambda n: 2000.0 * min(n, 16), (16, True), [4, 8, 16]),  # and more at once gain yet more
        (10**9, lambda n: 4500.0 + n, (2, True), [4, 8, 2]),  # two fill the GPU already
        (10**9, lambda n: 1025.0 * n, (4, False), [4]),  # it is hardly faster
        (10**9, lambda n: 0.0, (4, False), [4]),  # there is no compiler
        (10**5, lambda n: 9000.0, (4, False), []),  # half a minute ahead: not tried
    ],
)
def test_compiling_is_tried_where_it_may_pay_and_then_other_numbers_of_runs(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    images_ahead: int,
    compiled_speed: Speed,
    chosen: tuple[int, bool],
    tried_compiled: list[int],
) -> None:
    asked: list[tuple[int, Way]] = []
    told: list[tuple[int, Way]] = []

    def try_out(count: int, way: Way) -> Trial:
        asked.append((count, way))
        assert told == asked  # before it begins
        return Trial(count, compiled_speed(count) if way.compiled else 1000.0 * min(count, 4), count)

    monkeypatch.setattr(module, "_free_memory", lambda _: 1000)
    runs = [make_run("ce", seed=seed) for seed in range(16)]
    found = plan(
        dataset,
        model,
        recipe,
        runs,
        CPU,
        images_ahead=images_ahead,
        on_trial=lambda count, way: told.append((count, way)),
        try_out=try_out,
    )
    assert (found.at_once, found.way.compiled) == chosen
    assert [count for count, way in asked if not way.compiled] == [1, 2, 4, 8]
    assert [count for count, way in asked if way.compiled] == tried_compiled


@pytest.mark.parametrize("network", ["mlp"])
@pytest.mark.parametrize(("seconds_ahead", "compiled"), [(COMPILING_PAYS, False), (COMPILING_PAYS + 1, True)])
def test_where_the_time_is_nearly_up_compiling_is_not_tried(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    seconds_ahead: float,
    compiled: bool,
) -> None:
    found = plan(
        dataset,
        model,
        recipe,
        [make_run("ce")],
        CPU,
        images_ahead=10**9,
        seconds_ahead=seconds_ahead,
        try_out=lambda count, way: Trial(count, 2000.0 if way.compiled else 1000.0, count),
    )
    assert found.way.compiled == compiled


@pytest.mark.parametrize("network", ["mlp"])
def test_a_trial_measures_and_leaves_the_runs_alone(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TRIAL", 0.05)
    runs = [make_run("ce"), make_run("mae", seed=1)]
    trial = measure(dataset, model, recipe, runs, CPU, Way())
    assert trial.runs == 2
    assert trial.images_per_second > 0


@pytest.mark.parametrize("network", ["mlp"])
def test_a_trial_captures_what_it_trains_and_no_more(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    captured: list[str] = []
    capture = ConcurrentTraining._captured

    def noted(training: ConcurrentTraining, function: Any, changes: Any) -> Any:
        captured.append(getattr(function, "func", function).__name__)
        return capture(training, function, changes)

    monkeypatch.setattr(module, "TRIAL", 0.0)  # over with the first step
    monkeypatch.setattr(ConcurrentTraining, "_captured", noted)
    assert measure(dataset, model, recipe, [make_run("ce")], CPU, Way()).images_per_second == 0.0
    assert captured == ["_train"]


@pytest.mark.parametrize("network", ["mlp"])
@pytest.mark.parametrize(
    ("error", "way", "raised"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), Way(), False),
        (RuntimeError("no working C++ compiler"), Way(compiled=True), False),
        (RuntimeError("a mistake of ours"), Way(), True),
    ],
)
def test_a_trial_that_fails_counts_as_no_speed_unless_it_is_a_mistake(
    dataset: Dataset,
    model: Model,
    recipe: Recipe,
    make_run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    error: RuntimeError,
    way: Way,
    raised: bool,
) -> None:
    def fail(_: ConcurrentTraining) -> None:
        raise error

    monkeypatch.setattr(ConcurrentTraining, "advance", fail)
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    if raised:
        with pytest.raises(RuntimeError, match="a mistake of ours"):
            measure(dataset, model, recipe, [make_run("ce")], CPU, way)
    else:
        assert measure(dataset, model, recipe, [make_run("ce")], CPU, way) == Trial(1, 0.0, 0)
