"""How fast a study goes: when it will be done, and whether its time is up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SAVING = 5.0
"""Seconds kept free at the end of a time budget to save what is under way, unless that has taken longer."""


class Pace:
    """Counts training steps, each of a number of runs, against the clock.

    The time budget counts from the making of this object. ``seconds`` is the time spent in turns of training,
    ``slowest_save`` what the slowest saving took.
    """

    def __init__(self, time_budget: float | None) -> None:
        self.steps_left = 0
        self.steps_done = 0
        self.seconds = 0.0
        self.slowest_save = 0.0
        self._slowest = 0.0
        self._ends = None if time_budget is None else time.monotonic() + time_budget

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Time a turn of training: a step, or a few."""
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self.seconds += took
        self._slowest = max(self._slowest, took)

    def count(self, steps: int) -> None:
        """Count steps done, each of one run."""
        self.steps_done += steps
        self.steps_left -= steps

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Time the saving of what is under way."""
        began = time.monotonic()
        yield
        self.slowest_save = max(self.slowest_save, time.monotonic() - began)

    @property
    def out_of_time(self) -> bool:
        """Whether another turn, as slow as the slowest so far, and saving would overrun the budget."""
        if self._ends is None:
            return False
        saving = max(min(SAVING, self.seconds / 10), self.slowest_save)
        return time.monotonic() + self._slowest + saving > self._ends

    @property
    def seconds_left(self) -> float | None:
        """Estimated training time to the end, None before the first step."""
        return self.seconds / self.steps_done * self.steps_left if self.steps_done else None

    @property
    def fraction(self) -> float:
        """The share of steps that are done, of those left at the start."""
        return self.steps_done / max(self.steps_done + self.steps_left, 1)
