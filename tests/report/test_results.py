"""Results: what records and published tables say, in one form."""

from __future__ import annotations

import csv
import json
import shutil
import statistics
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

import pytest

from noiseproof.errors import NoiseproofError
from noiseproof.losses import parse
from noiseproof.noise import Noise
from noiseproof.noise import parse as parse_noise
from noiseproof.report import (
    Cell,
    MissingResultError,
    from_records,
    published,
    published_beside,
    write_report,
)
from noiseproof.report.comparison import bare_name
from noiseproof.report.results import SOURCES
from noiseproof.study import Archive, Record, load_study

MakeRecord = Callable[..., Record]


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_the_published_numbers_are_those_of_the_files(kind: str) -> None:
    text = (resources.files("noiseproof.report") / "published" / "study" / f"{kind}.csv").read_text()
    header, *rows = csv.reader(text.splitlines())
    assert [float(rate) for rate in header[1:]] == published().rates(kind)
    assert tuple(row[0] for row in rows) == published().losses
    for loss, *values in rows:
        found = [f"{published().accuracy(loss, kind, float(rate)):.2f}" for rate in header[1:]]
        assert found == values


def test_the_published_results_are_one_run_each_without_curves() -> None:
    results = published()
    assert (results.data, results.epochs, results.runs_per_cell) == ("cifar10", 50, 1)
    assert len(results.cells) == 8 * 8
    assert all(len(cell.accuracies) == 1 and cell.std is None for cell in results.cells.values())
    with pytest.raises(MissingResultError, match=r"accuracy by epoch of CE under symmetric:0\.2"):
        results.curve("CE", "symmetric", 0.2)


# --------------------------------------------------------------------------------------- other sources


@pytest.fixture
def add_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``(name, tables, data=..., model=..., epochs=...)`` adds a made-up source to the study's."""
    shutil.copytree(Path(str(SOURCES)), tmp_path / "published")
    monkeypatch.setattr("noiseproof.report.results.SOURCES", tmp_path / "published")

    def add(name: str, tables: Mapping[str, str], **protocol: object) -> None:
        folder = tmp_path / "published" / name
        folder.mkdir()
        about = {"citation": f"{name}", "data": "cifar10", "model": "cnn8", "epochs": 3, "runs": 3}
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in (about | protocol).items())
        (folder / "source.toml").write_text("".join(lines))
        for kind, table in tables.items():
            (folder / f"{kind}.csv").write_text(table)

    return add


MADE_UP = "loss,0.2,0.2_std,0.4,0.4_std\nce,50.5,1.25,40,\nMAE*0.5 + nce,,,41.5,0.5\n"


def test_means_deviations_and_gaps_of_a_source_are_read(add_source: Callable[..., None]) -> None:
    add_source("made_up", {"symmetric": MADE_UP})
    results = published("made_up")
    protocol = results.data, results.model, results.epochs, results.runs_per_cell, results.citation
    assert protocol == ("cifar10", "cnn8", 3, 3, "made_up")
    found = {(loss, noise.rate): (cell.mean, cell.std) for (loss, noise), cell in results.cells.items()}
    assert found == {("CE", 0.2): (50.5, 1.25), ("CE", 0.4): (40, None), ("NCE+0.5*MAE", 0.4): (41.5, 0.5)}
    assert results.kinds == ["symmetric"]


def test_results_stand_beside_what_was_published_of_their_data_and_network(
    add_source: Callable[..., None], make_record: MakeRecord
) -> None:
    add_source("a_short", {"symmetric": MADE_UP}, epochs=3)
    add_source("b_long", {"symmetric": MADE_UP}, epochs=9)
    add_source("c_other", {"symmetric": MADE_UP}, data="digits", model="mlp")

    def beside(data: str, model: str, epochs: int) -> str | None:
        record = make_record("ce", "symmetric:0.2", test=[0.5] * epochs, data=data, model={"name": model})
        found = published_beside(from_records([record]))
        return found.citation if found else None

    study = published().citation
    assert beside("cifar10", "cnn8", 3) == "a_short"
    assert beside("cifar10", "cnn8", 9) == "b_long"
    assert beside("cifar10", "cnn8", 5) == "a_short"
    assert beside("digits", "mlp", 3) == "c_other"
    assert beside("cifar10", "resnet18", 50) == beside("cifar10", "resnet18", 3) == study
    assert beside("cifar10", "mlp", 50) is beside("digits", "resnet18", 50) is None


def test_a_report_and_its_comparison_use_the_source_that_belongs_to_them(
    add_source: Callable[..., None], make_record: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noiseproof.report.writing.figures", lambda _: [])
    add_source("made_up", {"symmetric": MADE_UP}, epochs=1)
    archive = Archive(tmp_path / "out")
    archive.make()
    for loss in ("ce", "nce + 0.5*mae"):
        archive.add(make_record(loss, "symmetric:0.4", test=[0.3], data="cifar10", model={"name": "cnn8"}))
    (made,) = write_report(archive.folder).tables
    assert [entry.study for (entry,) in made.entries] == [40, 41.5]
    text = (archive.folder / "report" / "report.md").read_text()
    assert "Cells that are in both: 2. Mean absolute difference: 10.75 points" in text
    assert "Published: made_up." in text


@pytest.mark.parametrize("name", ["ma2020_cifar10", "ma2020_cifar100"])
def test_what_ma_et_al_printed_is_of_the_study_that_bears_its_name(name: str) -> None:
    plan, results = load_study(name), published(name)
    protocol = results.data, results.model, results.epochs, results.runs_per_cell
    assert protocol == (plan.data, plan.model.name, plan.recipe.epochs, len(plan.seeds))
    assert {str(noise) for noise in results.noises} <= {*plan.noises, "none"}
    # by their labels, with weights and hyperparameters, but for those that the notebook does not say
    ours = {parse(loss).label for loss in plan.losses}
    apart = ours - {loss for loss, noise in results.cells if noise.kind == "symmetric"}
    assert {bare_name(label) for label in apart} <= {"NFL", "NFL+MAE", "NFL+RCE"}
    assert {bare_name(label) for label in ours} <= {bare_name(label) for label in results.losses}
    assert all(0 < cell.mean < 100 and cell.std is not None for cell in results.cells.values())


@pytest.mark.parametrize(
    ("source", "loss", "noise", "printed"),
    [
        ("ma2020_cifar10", "ce", "symmetric:0.2", "75.90±0.28"),
        ("ma2020_cifar10", "nfl + rce(A=-9.210340371976182)", "symmetric:0.8", "55.06±1.08"),
        ("ma2020_cifar10", "nce + rce(A=-9.210340371976182)", "symmetric:0.2", "89.22±0.27"),
        ("ma2020_cifar10", "nce + 0.5*mae", "none", "88.83±0.34"),
        ("ma2020_cifar10", "sce(alpha=0.1, beta=5, A=-9.210340371976182)", "asymmetric:0.4", "78.20±0.03"),
        ("ma2020_cifar100", "10*nce + 0.5*mae", "symmetric:0.6", "48.06±0.34"),
        ("ma2020_cifar100", "ngce(q=0.3)", "symmetric:0.4", "34.32±0.14"),
    ],
)
def test_cells_are_those_that_ma_et_al_printed(source: str, loss: str, noise: str, printed: str) -> None:
    cell = published(source).cells[parse(loss).label, parse_noise(noise)]
    assert f"{cell.mean:.2f}±{cell.std:.2f}" == printed


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(NoiseproofError, match=r"^unknown source 'studdy'; did you mean 'study'\?$"):
        published("studdy")


def test_every_source_has_a_line_in_source_md() -> None:
    text = (SOURCES / "SOURCE.md").read_text()
    for folder in SOURCES.iterdir():
        assert not folder.is_dir() or f"| `{folder.name}` |" in text


# ------------------------------------------------------------------------------------------- records


def test_a_cell_has_the_mean_and_the_sample_deviation_over_seeds(make_record: MakeRecord) -> None:
    records = [make_record("ce", "symmetric:0.2", seed, test=[0.1, 0.7 + seed / 10]) for seed in range(3)]
    cell = from_records(records).cell("CE", "symmetric", 0.2)
    assert cell.accuracies == pytest.approx((70, 80, 90))
    assert cell.mean == pytest.approx(80)
    assert cell.std == pytest.approx(10)  # not 8.165, which is the population's
    assert cell.curves == tuple(pytest.approx((10, value)) for value in (70, 80, 90))
    assert cell.diverged == 0


def test_one_run_has_no_deviation() -> None:
    assert Cell(accuracies=(50.0,)).std is None
    assert Cell(accuracies=(50.0, 50.0)).std == 0


def test_accuracies_are_the_last_epochs(make_record: MakeRecord) -> None:
    results = from_records([make_record("ce", "symmetric:0.2", test=[0.9, 0.2])])
    assert results.accuracy("CE", "symmetric", 0.2) == 20


def test_a_curve_is_the_mean_over_seeds(make_record: MakeRecord) -> None:
    records = [make_record("ce", "symmetric:0.2", seed, test=[0.2 + seed / 5, 0.6]) for seed in range(2)]
    assert from_records(records).curve("CE", "symmetric", 0.2) == pytest.approx((30, 60))


def test_memorization_leaves_out_epochs_where_it_is_undefined(make_record: MakeRecord) -> None:
    results = from_records([make_record("ce", "none", memorized=[None, None])])
    assert results.cell("CE", "none", 0).memorized == ((),)


def test_divergence_is_counted(make_record: MakeRecord) -> None:
    records = [
        make_record("ce", "symmetric:0.2", seed, status="diverged" if seed else "finished")
        for seed in range(3)
    ]
    assert from_records(records).cell("CE", "symmetric", 0.2).diverged == 2


def test_runs_out_of_memory_are_counted_and_averaged_in_nothing(make_record: MakeRecord) -> None:
    records = [
        make_record("ce", "symmetric:0.2", 0, test=[0.4, 0.5]),
        make_record("ce", "symmetric:0.2", 1, test=[0.1, 0.1], status="out of memory"),
        make_record("mae", "symmetric:0.2", 0, status="out of memory"),
        make_record("mae", "symmetric:0.2", 1, status="out of memory"),
    ]
    results = from_records(records)
    assert results.cell("CE", "symmetric", 0.2).accuracies == (50.0,)
    assert len(results.cell("CE", "symmetric", 0.2).curves) == 1
    assert results.losses == ("CE", "MAE")
    with pytest.raises(MissingResultError):
        results.accuracy("MAE", "symmetric", 0.2)
    noise = Noise("symmetric", 0.2)
    assert results.out_of_memory == {("CE", noise): 1, ("MAE", noise): 2}


def test_rows_and_columns_are_as_planned_and_rates_ascend(make_record: MakeRecord) -> None:
    plan = load_study(
        "smoke",
        {
            "losses": ["nfl(gamma=2)", "ce"],
            "noises": ["asymmetric:0.3", "symmetric:0.8", "symmetric:0.2", "none"],
            "seeds": [0, 1],
        },
    )
    results = from_records([make_record("ce", "symmetric:0.2", 1)], plan)
    assert results.losses == ("NFL(gamma=2)", "CE")
    assert results.kinds == ["asymmetric", "symmetric", "none"]
    assert results.rates("symmetric") == [0.2, 0.8]
    assert (results.runs_per_cell, results.epochs, results.data) == (2, 5, "digits")
    assert list(results.cells) == [("CE", Noise("symmetric", 0.2))]


def test_what_was_not_planned_is_there_too(make_record: MakeRecord) -> None:
    plan = load_study("smoke", {"losses": ["ce"], "noises": ["symmetric:0.2"]})
    results = from_records([make_record("mae", "asymmetric:0.1", 7)], plan)
    assert results.losses == ("CE", "MAE")
    assert set(results.noises) == {Noise("symmetric", 0.2), Noise("asymmetric", 0.1)}
    assert results.runs_per_cell == 2


def test_spellings_of_one_setting_are_one_row_and_one_column(make_record: MakeRecord) -> None:
    records = [
        make_record("nce+mae", "symmetric:0.4", 0, test=[0.5]),
        make_record("MAE + nce", "symmetric:0.40", 1, test=[0.7]),
    ]
    results = from_records(records)
    assert results.losses == ("NCE+MAE",)
    assert results.noises == (Noise("symmetric", 0.4),)
    assert results.accuracy("NCE+MAE", "symmetric", 0.4) == pytest.approx(60)


@pytest.mark.parametrize(
    ("loss", "kind", "rate", "missing"),
    [
        ("MAE", "symmetric", 0.2, "MAE under symmetric:0.2"),
        ("CE", "asymmetric", 0.2, "CE under asymmetric:0.2"),
        ("CE", "symmetric", 0.3, "CE under symmetric:0.3"),
    ],
)
def test_a_missing_result_is_named(
    make_record: MakeRecord, loss: str, kind: str, rate: float, missing: str
) -> None:
    results = from_records([make_record("ce", "symmetric:0.2")])
    for ask in (results.cell, results.accuracy, results.curve):
        with pytest.raises(MissingResultError, match=f"^{missing}$"):
            ask(loss, kind, rate)


def test_no_records_and_no_plan_are_no_results() -> None:
    with pytest.raises(MissingResultError, match="no finished run"):
        from_records([])


def test_records_of_a_real_study_agree_with_arithmetic_on_their_json(make_record: MakeRecord) -> None:
    accuracies = [0.9138888888888889, 0.9055555555555556, 0.8972222222222223]
    records = [make_record("fl", "pairflip:0.3", seed, test=[a]) for seed, a in enumerate(accuracies)]
    cell = from_records(records).cell("FL", "pairflip", 0.3)
    assert cell.mean == pytest.approx(100 * statistics.fmean(accuracies))
    assert cell.std == pytest.approx(100 * statistics.stdev(accuracies))
