"""Curves as the points of an SVG: in epochs and percent, so that the page can read its values from them.

What is drawn is rounded to `DIGITS` digits, and epochs are left out if there are too many for a page that can
be mailed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noiseproof.noise import Noise
from noiseproof.report.results import Curve, Measure, Results, mean_curve

DIGITS = 2
"""Digits after the point of a percentage."""

MOST_POINTS = 20_000
"""Of all curves of a page together: about half a megabyte."""

FEWEST_POINTS = 20
"""Of one curve, however many curves there are."""

MOST_TICKS = 5
"""Of an axis."""

STEPS = (1, 2, 5, 10, 20, 25, 50, 100)
"""What the ticks of an axis in percent may stand apart."""


@dataclass(frozen=True)
class Line:
    """A loss in a panel: mean over the runs, and one standard deviation around it if there are two runs.

    ``loss`` is its place among the results' losses. ``points`` are ``epoch,percent``; ``band`` is the same
    points raised by the deviation, then, from the last to the first, lowered by it.
    """

    loss: int
    points: str
    band: str
    last: float


@dataclass(frozen=True)
class Panel:
    """The curves of one noise setting, whose place among the results' is ``noise``; both ranges and ticks."""

    noise: int
    title: str
    lines: tuple[Line, ...]
    epochs: tuple[int, int]
    percents: tuple[int, int]
    epoch_ticks: tuple[int, ...]
    percent_ticks: tuple[int, ...]


def panels(results: Results, measure: Measure) -> tuple[Panel, ...]:
    """Draw a panel for every noise setting of which a curve is known."""
    every = thinning(results)
    drawn = []
    for place, setting in enumerate(results.noises):
        curves = {i: _curves(results, loss, setting, measure) for i, loss in enumerate(results.losses)}
        lines = tuple(line(i, several, every) for i, several in curves.items() if several)
        if lines:
            drawn.append(_panel(place, str(setting), lines, max(results.epochs, 2)))
    return tuple(drawn)


def thinning(results: Results) -> int:
    """Say how many epochs one drawn point stands for: 1 if all are drawn."""
    lengths = [
        len(several[0])
        for cell in results.cells.values()
        for several in (cell.by_epoch("test"), cell.by_epoch("memorized"))
        if several
    ]
    points = max(FEWEST_POINTS, MOST_POINTS // max(len(lengths), 1))
    return math.ceil(max(lengths, default=1) / points)


def line(loss: int, curves: Sequence[Curve], every: int = 1) -> Line:
    """Draw the mean of runs, every so many epochs and the last.

    >>> line(0, [(10.0, 20.0, 30.0), (12.0, 24.0, 30.004)], every=2)
    Line(loss=0, points='1,11 3,30', band='1,12.41 3,30 3,30 1,9.59', last=30.0)
    """
    mean = [round(value, DIGITS) for value in mean_curve(curves)]
    epochs = [*range(0, len(mean) - 1, every), len(mean) - 1]
    band: list[str] = []
    if len(curves) > 1:
        # of the rounded mean and deviation, so that the page can read both from the band
        spread = np.std(curves, axis=0, ddof=1).round(DIGITS).tolist()
        band = [_point(i, mean[i] + spread[i]) for i in epochs]
        band += [_point(i, mean[i] - spread[i]) for i in reversed(epochs)]
    return Line(loss, " ".join(_point(i, mean[i]) for i in epochs), " ".join(band), mean[-1])


def ticks(low: float, high: float) -> tuple[int, ...]:
    """Give at most `MOST_TICKS` round numbers from at or below ``low`` to at or above ``high``.

    >>> ticks(12.3, 96.8), ticks(95.2, 96.9), ticks(50, 50)
    ((0, 25, 50, 75, 100), (95, 96, 97), (50, 51))
    """
    for step in STEPS:
        first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
        if last - first < MOST_TICKS:
            break
    return tuple(step * k for k in range(first, last + 1))


def _panel(place: int, title: str, lines: tuple[Line, ...], epochs: int) -> Panel:
    values = [float(point.split(",")[1]) for each in lines for point in each.points.split()]
    percent_ticks = ticks(min(values), max(values))
    step = next((s for s in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500) if epochs / s < MOST_TICKS), epochs)
    return Panel(
        noise=place,
        title=title,
        lines=lines,
        epochs=(1, epochs),
        percents=(percent_ticks[0], percent_ticks[-1]),
        epoch_ticks=(1, *(tick for tick in range(step, epochs + 1, step) if tick > 1)),
        percent_ticks=percent_ticks,
    )


def _curves(results: Results, loss: str, setting: Noise, measure: Measure) -> tuple[Curve, ...]:
    cell = results.cells.get((loss, setting))
    return () if cell is None else cell.by_epoch(measure)


def _point(place: int, percent: float) -> str:
    return f"{place + 1},{round(percent, DIGITS):g}"
