"""While a study runs: a live line."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from noiseproof.study import Progress

LINE_EVERY = 10.0
"""Seconds between lines where the output is no terminal."""


class ProgressDisplay:
    """Shows runs done, the accuracy of those under way, and the time left, on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.fields[runs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.fields[now]}"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=1.0, runs="", now="")
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Show the state of the study; called after every step."""
        runs, now = f"{progress.runs_done}/{progress.runs_total} runs", _now(progress)
        self._bar.update(self._task, completed=progress.fraction, runs=runs, now=now)
        waited = time.monotonic() - self._last_line > LINE_EVERY
        # of what comes before the training there is little, and it may take a minute
        if not self._console.is_terminal and (waited or progress.trying or progress.preparing):
            self._last_line = time.monotonic()
            self._console.print(
                f"{runs}, {100 * progress.fraction:.0f} %, {now}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def _now(progress: Progress) -> str:
    if progress.running:
        first = progress.running[0]
        more = f" and {len(progress.running) - 1} more" if len(progress.running) > 1 else ""
        parts = [f"{first.loss}, {first.noise}{more}", f"epoch {progress.epoch}"]
    elif progress.trying:
        parts = [f"finding the quickest way: {progress.trying} run{'s' * (progress.trying != 1)} at once"]
        if progress.compiled:
            parts.append("compiled, which takes a minute")
    elif progress.preparing:
        parts = [f"preparing {progress.preparing} run{'s' * (progress.preparing != 1)}"]
    else:
        parts = [f"waiting for {progress.elsewhere} run{'s' * (progress.elsewhere != 1)} under way elsewhere"]
    if progress.accuracy is not None:
        parts.append(f"{100 * progress.accuracy:.1f} % correct")
    if progress.seconds_left is not None:
        parts.append(f"{_clock(progress.seconds_left)} left")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
