"""Our cells beside the study's."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noiseproof.noise import Noise
from noiseproof.report import Results, compare, load_results, nearest, published, write_report
from noiseproof.report.comparison import bare_name, to_csv, to_markdown
from noiseproof.report.results import Cell
from noiseproof.study import Archive, Record

MakeRecord = Callable[..., Record]
Facts = dict[str, Any]
SYMMETRIC = Noise("symmetric", 0.4)


def moved(by: float, *, only: str | None = None, rename: dict[str, str] | None = None) -> Results:
    """The study's own results, every accuracy raised by so much."""
    study, names = published(), rename or {}
    cells = {
        (names.get(loss, loss), noise): Cell(accuracies=(cell.mean + by,))
        for (loss, noise), cell in study.cells.items()
        if only is None or loss == only
    }
    return dataclasses.replace(study, cells=cells)


def test_the_study_beside_itself_differs_in_nothing() -> None:
    comparison = compare(published(), published())
    assert comparison.num_cells == 64
    assert len(comparison.columns) == 8
    assert comparison.mean_absolute_difference == 0
    assert comparison.mean_rank_correlation == pytest.approx(1)


def test_differences_are_ours_less_the_studys() -> None:
    comparison = compare(moved(-1.5), published())
    assert comparison.mean_absolute_difference == pytest.approx(1.5)
    assert [c.mean_difference for c in comparison.columns] == pytest.approx([-1.5] * 8)
    assert comparison.mean_rank_correlation == pytest.approx(1)


def test_the_opposite_order_has_rank_correlation_minus_1() -> None:
    study = published()
    cells = {key: Cell(accuracies=(100 - cell.mean,)) for key, cell in study.cells.items()}
    assert compare(dataclasses.replace(study, cells=cells), study).mean_rank_correlation == pytest.approx(-1)


def test_ties_share_their_rank() -> None:
    study = published()
    values = {"CE": 1.0, "FL": 1.0, "NCE": 2.0}
    ours = dataclasses.replace(
        study, cells={(loss, SYMMETRIC): Cell(accuracies=(value,)) for loss, value in values.items()}
    )
    theirs = dataclasses.replace(
        study,
        cells={(loss, SYMMETRIC): Cell(accuracies=(v,)) for loss, v in zip(values, (1, 2, 3), strict=True)},
    )
    (column,) = compare(ours, theirs).columns
    assert column.rank_correlation == pytest.approx(3**0.5 / 2)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_losses_have_no_rank_correlation(count: int) -> None:
    study = published()
    cells = {(loss, SYMMETRIC): Cell(accuracies=(50.0,)) for loss in study.losses[:count]}
    comparison = compare(dataclasses.replace(study, cells=cells), study)
    assert comparison.num_cells == count
    assert comparison.mean_rank_correlation is None
    assert "rank correlation over the losses, mean of the columns: not known" in to_markdown(comparison)


def test_what_only_one_has_is_left_out() -> None:
    comparison = compare(moved(0, only="CE", rename={"CE": "GCE"}), published())
    assert comparison.num_cells == 0
    assert comparison.columns == ()
    assert math.isnan(comparison.mean_absolute_difference)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("CE", "CE"),
        ("NFL+MAE", "NFL+MAE"),
        ("NCE+0.5*MAE", "NCE+MAE"),
        ("2*NFL(gamma=2)+0.5*RCE(A=-9.21)", "NFL+RCE"),
        ("1e-05*NCE+RCE", "NCE+RCE"),
        ("RCE(A=-9.210340371976182)", "RCE"),
    ],
)
def test_losses_are_matched_without_weights_and_hyperparameters(label: str, name: str) -> None:
    assert bare_name(label) == name
    ours = moved(1, only="CE", rename={"CE": label})
    if name != "CE":
        assert compare(ours, published()).num_cells == (8 if name in published().losses else 0)


def test_two_losses_of_one_name_are_not_compared() -> None:
    one, other = (moved(1, only="NCE+RCE", rename={"NCE+RCE": f"NCE+RCE(A={A})"}) for A in (-4, -9))
    both = dataclasses.replace(one, cells=one.cells | other.cells)
    assert compare(both, published()).num_cells == 0


def test_the_nearest_comes_first_on_the_cells_that_all_have() -> None:
    far = moved(30, only="CE")
    near = moved(2)  # has all the cells, only CE's count
    ranked = nearest({"far": far, "near": near}, published())
    assert [name for name, _ in ranked] == ["near", "far"]
    assert [comparison.num_cells for _, comparison in ranked] == [8, 8]
    assert ranked[0][1].mean_absolute_difference == pytest.approx(2)
    assert nearest({}, published()) == []


def test_every_cell_is_in_the_csv(tmp_path: Path) -> None:
    rows = list(csv.DictReader(to_csv(compare(moved(1), published())).splitlines()))
    assert len(rows) == 64
    assert rows[0] == {
        "loss": "CE",
        "noise": "symmetric:0.2",
        "ours": f"{published().accuracy('CE', 'symmetric', 0.2) + 1:.4f}",
        "study": f"{published().accuracy('CE', 'symmetric', 0.2):.4f}",
        "difference": "+1.0000",
    }


def test_a_report_on_cifar10_has_the_comparison(tmp_path: Path, make_record: MakeRecord) -> None:
    facts: Facts = {"test": [0.5], "data": "cifar10", "model": {"name": "resnet18"}}
    records = [make_record(loss, "symmetric:0.4", **facts) for loss in ("ce", "nce", "fl")]
    archive = Archive(tmp_path)
    archive.make()
    for record in records:
        archive.add(record)
    write_report(tmp_path)
    study = [published().accuracy(loss, "symmetric", 0.4) for loss in ("CE", "NCE", "FL")]
    expected = sum(abs(50 - value) for value in study) / 3
    report = (tmp_path / "report" / "report.md").read_text()
    assert f"Cells that are in both: 3. Mean absolute difference: {expected:.2f} points" in report
    assert len((tmp_path / "report" / "comparison.csv").read_text().splitlines()) == 4
    assert load_results(tmp_path).accuracy("CE", "symmetric", 0.4) == 50


def test_a_report_on_other_data_has_none(tmp_path: Path, make_record: MakeRecord) -> None:
    archive = Archive(tmp_path)
    archive.make()
    archive.add(make_record("ce", "symmetric:0.4"))
    write_report(tmp_path)
    assert "Beside what was published" not in (tmp_path / "report" / "report.md").read_text()
    assert not (tmp_path / "report" / "comparison.csv").exists()
