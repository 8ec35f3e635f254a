"""Figures: a panel for each rate, a line for each loss, and the same bytes for the same results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from noiseproof.noise import Noise
from noiseproof.report import Cell, Results, figures
from noiseproof.report.figures import render

LOSSES = ("CE", "FL", "NCE", "NFL", "NFL+MAE", "NFL+RCE", "NCE+MAE", "NCE+RCE")
RATES = {"symmetric": (0.2, 0.4, 0.6, 0.8), "asymmetric": (0.1, 0.2, 0.3, 0.4)}
NAMES = ["figure1", "figure2", "memorization_symmetric", "figure3", "figure4", "memorization_asymmetric"]

SHOWN = {
    "figure1": ("symmetric", LOSSES[:4]),
    "figure2": ("symmetric", LOSSES[4:]),
    "figure3": ("asymmetric", LOSSES[:4]),
    "figure4": ("asymmetric", LOSSES[4:]),
    "memorization_symmetric": ("symmetric", LOSSES),
    "memorization_asymmetric": ("asymmetric", LOSSES),
}


def number(loss: str, noise: Noise, seed: int) -> float:
    """A value that no other loss, noise or seed has."""
    rates = RATES.get(noise.kind, ())
    return 10.0 * LOSSES.index(loss) + (rates.index(noise.rate) if noise.rate in rates else 5) + seed / 10


def results_of(
    losses: Sequence[str] = LOSSES, seeds: int = 1, *, noises: Sequence[Noise] | None = None
) -> Results:
    settings = (
        [Noise(kind, rate) for kind, rates in RATES.items() for rate in rates] if noises is None else noises
    )

    def curves(loss: str, noise: Noise, offset: float) -> tuple[tuple[float, ...], ...]:
        return tuple(
            tuple(number(loss, noise, seed) + offset + epoch for epoch in range(3)) for seed in range(seeds)
        )

    cells = {
        (loss, noise): Cell(
            accuracies=(1.0,) * seeds, curves=curves(loss, noise, 0), memorized=curves(loss, noise, 1000)
        )
        for loss in losses
        for noise in settings
    }
    return Results("digits", 3, tuple(losses), tuple(settings), seeds, cells)


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    return dict(figures(results_of(seeds=2)))


def test_the_studys_four_figures_and_what_is_memorized() -> None:
    assert [name for name, _ in figures(results_of())] == NAMES


@pytest.mark.parametrize("name", SHOWN)
def test_a_panel_for_each_rate_and_a_line_for_each_loss(drawn: dict[str, Figure], name: str) -> None:
    kind, losses = SHOWN[name]
    figure = drawn[name]
    titles = [axes.get_title() for axes in panels(figure)]
    assert titles == [rf"$\eta$ = {rate:g}" for rate in RATES[kind]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(losses)
    offset = 1000 if name.startswith("memorization") else 0
    for axes, rate in zip(panels(figure), RATES[kind], strict=True):
        assert len(axes.lines) == len(losses)
        for line, loss in zip(axes.lines, losses, strict=True):
            middle = number(loss, Noise(kind, rate), 0) + 0.05 + offset  # the mean of two seeds
            assert np.asarray(line.get_xdata()).tolist() == [1, 2, 3]
            assert np.asarray(line.get_ydata()) == pytest.approx([middle, middle + 1, middle + 2])


@pytest.mark.parametrize("name", SHOWN)
def test_a_loss_looks_the_same_in_every_panel_and_like_no_other(drawn: dict[str, Figure], name: str) -> None:
    looks = [
        [(line.get_color(), line.get_linestyle()) for line in axes.lines] for axes in panels(drawn[name])
    ]
    assert looks[1:] == looks[:-1]
    assert len(set(looks[0])) == len(looks[0])
    (legend,) = drawn[name].legends
    assert [line.get_color() for line in legend.get_lines()] == [colour for colour, _ in looks[0]]


def test_thirty_two_losses_look_different() -> None:
    losses = [f"loss {i}" for i in range(32)]
    setting = Noise("symmetric", 0.2)
    cells = {(loss, setting): Cell((1.0,), ((1.0, 2.0),)) for loss in losses}
    drawn = dict(figures(Results("digits", 2, tuple(losses), (setting,), 1, cells)))
    (axes,) = panels(drawn["figure1"])
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 32


def test_the_axes_say_what_they_show(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        (across, up) = (figure.get_supxlabel(), figure.get_supylabel())
        assert across == "epoch"
        expected = "wrong labels predicted" if name.startswith("memorization") else "test accuracy (%)"
        assert up.startswith(expected)


@pytest.mark.parametrize(("seeds", "bands"), [(1, 0), (2, 4), (3, 4)])
def test_several_seeds_have_a_band_of_one_deviation(seeds: int, bands: int) -> None:
    figure = dict(figures(results_of(seeds=seeds)))["figure1"]
    axes = panels(figure)[0]
    assert len(axes.collections) == bands
    for band, loss in zip(axes.collections, LOSSES, strict=False):
        values = [number(loss, Noise("symmetric", 0.2), seed) for seed in range(seeds)]
        edges = np.concatenate([np.asarray(path.vertices)[:, 1] for path in band.get_paths()])
        assert min(edges) == pytest.approx(np.mean(values) - np.std(values, ddof=1))
        assert max(edges) == pytest.approx(np.mean(values) + np.std(values, ddof=1) + 2)


@pytest.mark.parametrize(
    ("losses", "noises", "names"),
    [
        (("CE",), (Noise("symmetric", 0.2),), ["figure1", "memorization_symmetric"]),
        (("NCE+MAE",), (Noise("asymmetric", 0.2),), ["figure4", "memorization_asymmetric"]),
        (
            LOSSES,
            (Noise("pairflip", 0.2), Noise("human", variant="worst")),
            ["figure_pairflip", "memorization_pairflip", "figure_human", "memorization_human"],
        ),
    ],
)
def test_a_figure_without_anything_to_show_is_not_drawn(
    losses: tuple[str, ...], noises: tuple[Noise, ...], names: list[str]
) -> None:
    assert [name for name, _ in figures(results_of(losses, noises=noises))] == names


@pytest.mark.parametrize(("rates", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (5, 3, 2)])
def test_panels_that_are_left_over_are_empty(rates: int, rows: int, columns: int) -> None:
    noises = [Noise("symmetric", rate / 10) for rate in range(1, rates + 1)]
    figure = dict(figures(results_of(("CE",), noises=noises)))["figure1"]
    assert len(figure.axes) == rows * columns
    assert len(panels(figure)) == rates


def test_a_missing_cell_leaves_its_line_out_and_the_others_as_they_were() -> None:
    results = results_of()
    del results.cells["FL", Noise("symmetric", 0.4)]
    axes = panels(dict(figures(results))["figure1"])
    assert [len(each.lines) for each in axes] == [4, 3, 4, 4]
    looks = [[line.get_color() for line in each.lines] for each in axes]
    assert looks[1] == [looks[0][i] for i in (0, 2, 3)]


def test_results_without_curves_give_figures_without_lines() -> None:
    results = results_of()
    for key in results.cells:
        results.cells[key] = Cell(accuracies=(50.0,))
    drawn = [figure for _, figure in figures(results)]
    assert len(drawn) == len(NAMES)
    assert all(not axes.lines for figure in drawn for axes in figure.axes)
    assert render(drawn[0], "svg")


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml")])
def test_the_same_results_give_the_same_bytes(form: Literal["png", "svg"], magic: bytes) -> None:
    def rendered() -> list[bytes]:
        results = results_of(("NFL", "NFL+MAE"), seeds=2, noises=[Noise("symmetric", 0.2)])
        return [render(figure, form) for _, figure in figures(results)][:2]

    once, again = rendered(), rendered()
    assert once == again
    assert len(set(once)) == 2
    assert all(raw.startswith(magic) and len(raw) > 5000 for raw in once)


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    render(next(figures(results_of(LOSSES[:1])))[1], "svg")
    assert dict(matplotlib.rcParams) == before
