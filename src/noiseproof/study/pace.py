"""How fast a study goes: when it will be done, and whether its time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

SAVING = 5.0
"""Seconds kept free at the end of a time budget to save what is under way, unless that has taken longer."""


class Pace:
    """Counts training steps, each of a number of runs, against the clock.

    The time budget counts from the making of this object. ``seconds`` is the time spent in turns of training;
    preparing and saving are no part of it. ``latest_save``: what the latest saving took.
    """

    def __init__(self, time_budget: float | None) -> None:
        self.steps_left = 0
        self.steps_done = 0
        self.seconds = 0.0
        self.latest_save = 0.0
        self._slowest_save = 0.0
        self._slowest_turn = 0.0
        self._slowest_preparation = 0.0
        self._ends = None if time_budget is None else time.monotonic() + time_budget

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Time a turn of training: a step, or a few."""
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self.seconds += took
        self._slowest_turn = max(self._slowest_turn, took)

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Time what comes before the first turn of a training."""
        began = time.monotonic()
        yield
        self._slowest_preparation = max(self._slowest_preparation, time.monotonic() - began)

    def count(self, steps: int) -> None:
        """Count steps done, each of one run."""
        self.steps_done += steps
        self.steps_left -= steps

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Time the saving of what is under way."""
        began = time.monotonic()
        yield
        self.latest_save = time.monotonic() - began
        self._slowest_save = max(self._slowest_save, self.latest_save)

    @property
    def out_of_time(self) -> bool:
        """Whether another turn, as slow as the slowest so far, and saving would overrun the budget."""
        return self._overrun_by(self._slowest_turn)

    @property
    def too_late_to_prepare(self) -> bool:
        """The same of preparing another training first."""
        return self._overrun_by(self._slowest_preparation + self._slowest_turn)

    @property
    def budget_left(self) -> float:
        """Seconds of the budget that are left, without end where there is none."""
        return math.inf if self._ends is None else max(0.0, self._ends - time.monotonic())

    def _overrun_by(self, seconds: float) -> bool:
        """Tell whether so many seconds more, and saving then, would overrun the budget."""
        if self._ends is None:
            return False
        saving = max(min(SAVING, self.seconds / 10), self._slowest_save)
        return time.monotonic() + seconds + saving > self._ends

    @property
    def seconds_left(self) -> float | None:
        """Estimated training time to the end, None before the first step."""
        return self.seconds / self.steps_done * self.steps_left if self.steps_done else None

    @property
    def fraction(self) -> float:
        """The share of steps that are done, of those left at the start."""
        return self.steps_done / max(self.steps_done + self.steps_left, 1)
