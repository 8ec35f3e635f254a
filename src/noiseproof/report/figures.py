"""Figures 1 to 4, test accuracy by epoch as the study draws it, and what the losses memorize meanwhile."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from noiseproof.noise import Noise
from noiseproof.report.results import Curve, Measure, Results, mean_curve

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's palette: distinct to colour-blind eyes too."""

DASHES = ("-", "--", "-.", ":")
"""By the order of the losses: curves are told apart in black and white too, and 32 of them in colour."""

FORMATS: tuple[Literal["png", "svg"], ...] = ("png", "svg")

FIRST_FIGURE = {"symmetric": 1, "asymmetric": 3}
"""Number of the first figure of a kind of noise."""

AXIS: dict[Measure, str] = {"test": "test accuracy (%)", "memorized": "wrong labels predicted as given (%)"}


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Draw ``(name, figure)``: single losses in Figures 1 and 3, sums in 2 and 4; then memorization."""
    single = [loss for loss in results.losses if "+" not in loss]
    sums = [loss for loss in results.losses if "+" in loss]
    for kind in sorted(results.kinds, key=lambda kind: FIRST_FIGURE.get(kind, len(FIRST_FIGURE) + 3)):
        if kind in FIRST_FIGURE:
            for number, group in enumerate((single, sums), start=FIRST_FIGURE[kind]):
                if group:
                    yield f"figure{number}", curves_by_setting(results, group, kind, "test")
        else:
            yield f"figure_{kind}", curves_by_setting(results, results.losses, kind, "test")
        if kind in FIRST_FIGURE or _memorize(results, kind):
            yield f"memorization_{kind}", curves_by_setting(results, results.losses, kind, "memorized")


def _memorize(results: Results, kind: str) -> bool:
    """Whether there are wrong labels of this kind, known as such."""
    return any(
        cell.by_epoch("memorized") for (_, setting), cell in results.cells.items() if setting.kind == kind
    )


def curves_by_setting(results: Results, losses: Sequence[str], kind: str, measure: Measure) -> Figure:
    """Draw curves by epoch, mean and standard deviation over seeds, a panel for each noise setting."""
    from matplotlib.figure import Figure

    settings = results.settings(kind)
    columns = min(2, len(settings))
    rows = math.ceil(len(settings) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.4 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel().tolist()
    handles: dict[str, Artist] = {}
    for panel, setting in zip(panels, settings, strict=False):
        for i, loss in enumerate(losses):
            cell = results.cells.get((loss, setting))
            drawn = () if cell is None else cell.by_epoch(measure)
            if drawn:
                colour = COLOURS[i % len(COLOURS)]
                dashes = DASHES[(i // 2 + i // len(COLOURS)) % len(DASHES)]
                handles[loss] = _draw(panel, drawn, colour, dashes)
        panel.set_title(_title(setting), fontsize=9)
        panel.set_xlim(1, max(results.epochs, 2))
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    for unused in panels[len(settings) :]:
        unused.set_axis_off()
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel(AXIS[measure], fontsize=9)
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=9
        )
    return figure


def _title(setting: Noise) -> str:
    return str(setting) if setting.variant or not setting.level else rf"$\eta$ = {setting.level}"


def render(figure: Figure, form: Literal["png", "svg"]) -> bytes:
    """Give a figure as the bytes of a file: the same bytes for the same results."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "noiseproof"}):
        figure.savefig(buffer, format=form, dpi=200, metadata={"Date": None} if form == "svg" else {})
    return buffer.getvalue()


def _draw(panel: Axes, curves: Sequence[Curve], colour: str, dashes: str) -> Artist:
    import numpy as np

    mean = np.asarray(mean_curve(curves), dtype=np.float64)
    epochs = np.arange(1, len(mean) + 1)
    (line,) = panel.plot(epochs, mean, color=colour, linestyle=dashes, linewidth=1.3)
    if len(curves) > 1:
        spread = np.std(curves, axis=0, ddof=1)
        panel.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    return line
