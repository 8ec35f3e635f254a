"""Curves: what the page can read from the points is what the results say, to a hundredth of a point."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noiseproof.noise import Noise
from noiseproof.report import Cell, Results
from noiseproof.report.page.curves import (
    FEWEST_POINTS,
    MOST_POINTS,
    MOST_TICKS,
    line,
    panels,
    thinning,
    ticks,
)

PERCENT = st.floats(min_value=0, max_value=100)


def read(points: str) -> list[tuple[int, float]]:
    pairs = [point.split(",") for point in points.split()]
    return [(int(epoch), float(percent)) for epoch, percent in pairs]


def results(num_losses: int, epochs: int, *, memorized: bool = True) -> Results:
    losses = tuple(f"L{i}" for i in range(num_losses))
    curve = tuple(100 * epoch / epochs for epoch in range(epochs))
    cell = Cell((curve[-1],), (curve,), (curve,) if memorized else ((),))
    setting = Noise("symmetric", 0.2)
    return Results("digits", epochs, losses, (setting,), 1, {(loss, setting): cell for loss in losses})


@given(
    st.integers(1, 12).flatmap(
        lambda epochs: st.lists(st.tuples(*[PERCENT] * epochs), min_size=1, max_size=3)
    ),
    st.integers(1, 5),
)
@settings(deadline=None, max_examples=60)
def test_mean_and_deviation_can_be_read_off(curves: list[tuple[float, ...]], every: int) -> None:
    drawn = line(0, curves, every)
    points = read(drawn.points)
    epochs = [epoch for epoch, _ in points]
    length = len(curves[0])
    assert epochs == sorted({*range(1, length + 1, every), length})
    band = read(drawn.band)
    assert [epoch for epoch, _ in band] == ([*epochs, *reversed(epochs)] if len(curves) > 1 else [])
    for place, (epoch, percent) in enumerate(points):
        values = [curve[epoch - 1] for curve in curves]
        assert percent == pytest.approx(statistics.fmean(values), abs=0.0051)
        if band:
            upper, lower = band[place][1] - percent, percent - band[-1 - place][1]
            assert upper == pytest.approx(lower, abs=1e-9)
            assert upper == pytest.approx(statistics.stdev(values), abs=0.0051)
    assert drawn.last == points[-1][1]


@given(PERCENT, PERCENT)
@settings(deadline=None)
def test_ticks_are_few_and_enclose_what_is_drawn(one: float, other: float) -> None:
    low, high = sorted((one, other))
    found = ticks(low, high)
    assert 2 <= len(found) <= MOST_TICKS
    assert found[0] <= low <= high <= found[-1]
    assert len({b - a for a, b in pairwise(found)}) == 1


def test_a_panel_for_every_setting_of_which_a_curve_is_known() -> None:
    (panel,) = panels(results(2, 4), "memorized")
    assert (panel.noise, panel.title, [each.loss for each in panel.lines]) == (0, "symmetric:0.2", [0, 1])
    assert (panel.epochs, panel.epoch_ticks) == ((1, 4), (1, 2, 3, 4))
    assert panels(results(2, 4, memorized=False), "memorized") == ()
    assert len(panels(results(2, 4, memorized=False), "test")) == 1


def test_one_epoch_has_an_axis_all_the_same() -> None:
    (panel,) = panels(results(1, 1), "test")
    assert panel.epochs == (1, 2)
    assert panel.percents[0] < panel.percents[1]


@pytest.mark.parametrize(("num_losses", "epochs"), [(2, 150), (60, 150), (60, 1000), (1200, 500)])
def test_a_page_has_no_more_points_than_can_be_mailed(num_losses: int, epochs: int) -> None:
    made = results(num_losses, epochs)
    every = thinning(made)
    drawn = len(read(line(0, made.cells["L0", made.noises[0]].curves, every).points))
    assert drawn <= max(MOST_POINTS / (2 * num_losses), FEWEST_POINTS) + 2
    assert every == 1 or drawn >= FEWEST_POINTS / 2  # no thinner than need be
    assert (every == 1) == (2 * num_losses * epochs <= MOST_POINTS)
