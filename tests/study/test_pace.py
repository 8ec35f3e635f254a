"""The pace of a study, on a clock that the test sets."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from noiseproof.study.pace import SAVING, Pace


class Clock:
    """Shows ``now`` and goes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def step(self, pace: Pace, *, took: float, runs: int = 1) -> None:
        with pace.turn():
            self.now += took
        pace.count(runs)

    def prepare(self, pace: Pace, *, took: float) -> None:
        with pace.preparing():
            self.now += took

    def save(self, pace: Pace, *, took: float) -> None:
        with pace.saving():
            self.now += took


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("noiseproof.study.pace.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def test_nothing_is_known_before_the_first_step(clock: Clock) -> None:
    pace = Pace(None)
    assert (pace.fraction, pace.seconds_left, pace.seconds) == (0.0, None, 0.0)


def test_time_left_is_by_run_not_by_step(clock: Clock) -> None:
    pace = Pace(None)
    pace.steps_left = 4 * 10 + 2 * 10  # a stack of four runs, then one of two
    clock.step(pace, took=2.0, runs=4)
    assert pace.seconds_left == pytest.approx(0.5 * 56)
    assert pace.fraction == pytest.approx(4 / 60)
    clock.step(pace, took=4.0, runs=4)
    assert pace.seconds_left == pytest.approx(0.75 * 52)
    assert pace.seconds == 6.0


def test_the_fraction_ends_at_1(clock: Clock) -> None:
    pace = Pace(None)
    pace.steps_left = 3
    for _ in range(3):
        clock.step(pace, took=1.0)
    assert (pace.fraction, pace.seconds_left) == (1.0, 0.0)


def test_time_between_steps_is_not_training(clock: Clock) -> None:
    pace = Pace(None)
    clock.step(pace, took=1.0)
    clock.now += 100
    clock.step(pace, took=1.0)
    assert pace.seconds == 2.0


def test_without_a_budget_time_is_never_up(clock: Clock) -> None:
    pace = Pace(None)
    clock.step(pace, took=1e9)
    assert not pace.out_of_time


def test_the_budget_counts_from_the_start_and_not_from_the_first_step(clock: Clock) -> None:
    pace = Pace(10.0)
    assert not pace.out_of_time
    clock.now += 10.5  # loading the data
    assert pace.out_of_time


def test_what_is_left_of_the_budget(clock: Clock) -> None:
    pace = Pace(10.0)
    clock.now += 4.0
    assert pace.budget_left == 6.0
    clock.now += 60.0
    assert pace.budget_left == 0.0
    assert Pace(None).budget_left == math.inf


def test_a_step_that_would_overrun_is_not_begun(clock: Clock) -> None:
    pace = Pace(100.0)
    clock.step(pace, took=20.0)  # the slowest
    clock.step(pace, took=1.0)
    clock.now = 1000.0 + 100 - 20 - 2.1 - 0.1  # a tenth of the training time is kept for saving
    assert not pace.out_of_time
    clock.now += 0.2
    assert pace.out_of_time


def test_saving_has_a_few_seconds_at_most(clock: Clock) -> None:
    pace = Pace(1000.0)
    for _ in range(90):
        clock.step(pace, took=10.0)
    clock.now = 1000.0 + 1000 - 10 - SAVING - 0.1
    assert not pace.out_of_time
    clock.now += 0.2
    assert pace.out_of_time


def test_saving_has_the_time_that_it_took_before(clock: Clock) -> None:
    pace = Pace(1000.0)
    clock.step(pace, took=10.0)
    clock.save(pace, took=3 * SAVING)
    clock.save(pace, took=SAVING)
    assert pace.seconds == 10.0
    clock.now = 1000.0 + 1000 - 10 - 3 * SAVING - 0.1
    assert not pace.out_of_time
    clock.now += 0.2
    assert pace.out_of_time


def test_preparing_is_no_training_and_no_turn_is_taken_to_be_as_slow(clock: Clock) -> None:
    pace = Pace(1000.0)
    pace.steps_left = 4
    clock.prepare(pace, took=90.0)
    clock.step(pace, took=1.0)
    assert (pace.seconds, pace.seconds_left) == (1.0, 3.0)
    clock.now = 1000.0 + 1000 - 1 - 0.1 - 0.05  # a tenth of the training time is kept for saving
    assert not pace.out_of_time
    clock.now += 0.1
    assert pace.out_of_time


def test_what_would_be_prepared_too_late_for_a_turn_is_not(clock: Clock) -> None:
    pace = Pace(1000.0)
    assert not pace.too_late_to_prepare  # nobody knows yet what it takes
    clock.prepare(pace, took=90.0)
    clock.step(pace, took=1.0)
    clock.prepare(pace, took=5.0)
    clock.now = 1000.0 + 1000 - 90 - 1 - 0.1 - 0.05
    assert not pace.too_late_to_prepare
    clock.now += 0.1
    assert pace.too_late_to_prepare
    assert not pace.out_of_time
    assert not Pace(None).too_late_to_prepare


@pytest.mark.parametrize("took", [0.01, 0.5, 3.0])
def test_a_study_stops_within_its_budget_and_uses_most_of_it(clock: Clock, took: float) -> None:
    pace = Pace(60.0)
    while not pace.out_of_time:
        clock.step(pace, took=took)
    assert 60 - 2 * took - SAVING <= clock.now - 1000 <= 60
