"""What a search has found, drawn: scores as they came, by each number, by pairs, and what they depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, combinations
from typing import TYPE_CHECKING

from noiseproof.report.figures import COLOURS
from noiseproof.tuning.proposals import importances
from noiseproof.tuning.search import Search
from noiseproof.tuning.trial import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

SCORE = "held-out noisy labels (%)"
MOST_PAIRS = 6
"""Panels of pairs, those of the names that matter most first."""


def figures(search: Search, trials: Sequence[Trial]) -> Iterator[tuple[str, Figure]]:
    """Draw ``(name, figure)``: ``history``, ``slices``; for several names ``importances``, ``pairs`` too."""
    yield "history", _history(trials)
    yield "slices", _slices(search, trials)
    shares = importances(search, trials)
    if shares:
        yield "importances", _importances(shares)
        yield "pairs", _pairs(search, trials, list(shares))


def _history(trials: Sequence[Trial]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, (panel,) = _panels(1, width=5.4)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    numbers = [trial.number for trial in trials]
    panel.plot(numbers, _percent(trials), "o", color=COLOURS[1], markersize=4, label="a trial")
    best = list(accumulate(_percent(trials), max))
    panel.step(numbers, best, where="post", color=COLOURS[0], linewidth=1.3, label="the best so far")
    panel.set_xlabel("trial", fontsize=9)
    panel.set_ylabel(SCORE, fontsize=9)
    panel.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _slices(search: Search, trials: Sequence[Trial]) -> Figure:
    figure, panels = _panels(len(search.ranges))
    for panel, name in zip(panels, search.ranges, strict=True):
        drawn = panel.scatter(
            [trial.values[name] for trial in trials],
            _percent(trials),
            c=[trial.number for trial in trials],
            cmap="viridis",
            s=18,
        )
        _scale(panel, search, name)
    panels[0].set_ylabel(SCORE, fontsize=9)
    _colour_bar(figure, panels, drawn, "trial")
    return figure


def _importances(shares: Mapping[str, float]) -> Figure:
    figure, (panel,) = _panels(1, width=5.4, height=1.0 + 0.3 * len(shares))
    names = list(shares)[::-1]
    panel.barh(names, [100 * shares[name] for name in names], color=COLOURS[1])
    panel.set_xlabel("what the score depends on (%)", fontsize=9)
    return figure


def _pairs(search: Search, trials: Sequence[Trial], names: Sequence[str]) -> Figure:
    chosen = list(combinations(names, 2))[:MOST_PAIRS]
    figure, panels = _panels(len(chosen))
    ascending = sorted(trials, key=lambda trial: trial.score)  # the best ones on top
    for panel, (across, up) in zip(panels, chosen, strict=True):
        drawn = panel.scatter(
            [trial.values[across] for trial in ascending],
            [trial.values[up] for trial in ascending],
            c=_percent(ascending),
            cmap="viridis",
            s=26,
        )
        _scale(panel, search, across)
        panel.set_yscale("log" if search.ranges[up].log else "linear")
        panel.set_ylabel(up, fontsize=9)
    _colour_bar(figure, panels, drawn, SCORE)
    return figure


def _panels(number: int, *, width: float = 3.0, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * number + 0.6, height), layout="constrained")
    panels: list[Axes] = figure.subplots(1, number, squeeze=False).ravel().tolist()
    for panel in panels:
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _colour_bar(figure: Figure, panels: list[Axes], drawn: PathCollection, label: str) -> None:
    bar = figure.colorbar(drawn, ax=panels)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _scale(panel: Axes, search: Search, name: str) -> None:
    panel.set_xscale("log" if search.ranges[name].log else "linear")
    panel.set_xlabel(name, fontsize=9)


def _percent(trials: Sequence[Trial]) -> list[float]:
    return [100 * trial.score for trial in trials]
