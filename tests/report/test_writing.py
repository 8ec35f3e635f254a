"""The report: a pure function of the records, whole, and the same bytes however often it is made."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from noiseproof.errors import NoiseproofError
from noiseproof.report import CLAIMS, from_records, published, table, write_report
from noiseproof.report.tables import to_csv, to_latex, to_markdown
from noiseproof.study import Archive, Record, load_study

MakeRecord = Callable[..., Record]

FIGURES = ("figure1", "figure2", "figure3", "figure4", "memorization_symmetric", "memorization_asymmetric")
FILES = {
    "claims.csv",
    "report.md",
    "index.html",
    *(f"{name}.{form}" for name in ("table1", "table2") for form in ("csv", "md", "tex")),
    *(f"{name}.{form}" for name in FIGURES for form in ("png", "svg")),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def reported(conducted: Path) -> Path:
    write_report(conducted)
    return conducted


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive with the plan of a study of which nothing is done yet."""
    archive = Archive(tmp_path / "out")
    archive.make()
    archive.describe(
        load_study("smoke", {"losses": ["ce", "mae"], "noises": ["symmetric:0.2"], "seeds": [0, 1]})
    )
    return archive


def test_exactly_these_files_are_written(reported: Path) -> None:
    assert set(contents(reported / "report")) == FILES
    assert all(contents(reported / "report").values())
    assert {path.name for path in reported.iterdir()} == {
        "study.json",
        "runs",
        "checkpoints",
        "locks",
        "report",
    }


def test_a_report_is_rebuilt_from_the_records_to_the_byte(reported: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(reported, elsewhere)
    shutil.rmtree(elsewhere / "report")
    report = write_report(elsewhere)
    assert contents(elsewhere / "report") == contents(reported / "report")
    # and nothing else is touched
    assert contents(elsewhere / "runs") == contents(reported / "runs")
    assert (elsewhere / "study.json").read_bytes() == (reported / "study.json").read_bytes()
    # what is returned is what was written
    assert report.folder == elsewhere / "report"
    assert report.page == elsewhere / "report" / "index.html"
    assert [made.name for made in report.tables] == ["table1", "table2"]
    assert [judged.claim for judged in report.claims] == CLAIMS


def test_an_old_report_is_replaced(archive: Archive, make_record: MakeRecord, no_figures: None) -> None:
    archive.add(make_record("ce", "symmetric:0.2", 0, test=[0.5]))
    write_report(archive.folder)
    before = contents(archive.folder / "report")
    archive.add(make_record("ce", "symmetric:0.2", 1, test=[0.7]))
    write_report(archive.folder)
    after = contents(archive.folder / "report")
    assert after.keys() == before.keys()
    assert after["table1.csv"] == b"loss,0.2,0.2_std\nCE,60.00,14.14\nMAE,,\n"
    assert before["table1.csv"] == b"loss,0.2,0.2_std\nCE,50.00,\nMAE,,\n"


def test_the_tables_are_those_of_the_records(reported: Path) -> None:
    archive = Archive(reported)
    results = from_records(archive.finished().values(), archive.plan())
    assert results.losses == ("CE", "NCE+MAE")
    for name, kind in (("table1", "symmetric"), ("table2", "asymmetric")):
        made = table(results, kind, name=name, study=published())
        for form, write in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex)):
            assert (reported / "report" / f"{name}.{form}").read_text() == write(made)


def test_claims_csv_has_a_line_for_each_claim_and_both_verdicts(reported: Path) -> None:
    text = (reported / "report" / "claims.csv").read_text()
    assert text.splitlines()[0] == "claim,ours,study,evidence"
    rows = list(csv.DictReader(text.splitlines()))
    archive = Archive(reported)
    results = from_records(archive.finished().values(), archive.plan())
    assert len(rows) == len(CLAIMS)
    for row, claim in zip(rows, CLAIMS, strict=True):
        ours, study = claim.judge(results), claim.judge(published())
        assert row["claim"] == f"{claim.statement} ({claim.section})"
        assert (row["ours"], row["study"]) == (ours.answer, study.answer)
        assert row["evidence"] == f"ours: {ours.evidence} | study: {study.evidence}"


def test_report_md_holds_tables_claims_figures_and_where_it_comes_from(reported: Path) -> None:
    text = (reported / "report" / "report.md").read_text()
    for name in ("table1", "table2"):
        assert (reported / "report" / f"{name}.md").read_text() in text
    assert sorted(re.findall(r"!\[.*?\]\((.+?)\)", text)) == sorted(f"{name}.png" for name in FIGURES)
    assert "No claim of the study can be asked of these results; `claims.csv` says why.\n" in text
    assert "that can be asked of both" not in text
    records = list(Archive(reported).finished().values())
    assert f"fingerprint {records[0].data.fingerprint[:12]}" in text
    assert '"hidden":[4]' in text
    assert "- training: 4 runs" in text


def test_the_claims_that_hold_both_here_and_in_the_study_are_counted(
    archive: Archive, make_record: MakeRecord, no_figures: None
) -> None:
    accuracies = {
        **{"ce": 0.8, "fl": 0.8, "nce": 0.5, "nfl": 0.5},
        **{"nfl+mae": 0.7, "nce+mae": 0.9, "nfl+rce": 0.6, "nce+rce": 0.6},
    }
    for loss, accuracy in accuracies.items():
        for noise in ("symmetric:0.2", "symmetric:0.4"):
            archive.add(make_record(loss, noise, test=[accuracy]))
    text = write_report(archive.folder).folder.joinpath("report.md").read_text()
    for claim in CLAIMS:
        row = re.search(rf"^\| {re.escape(claim.statement)} .*$", text, re.MULTILINE)
        assert row is not None
        assert row.group().endswith(f"| {claim.judge(published()).answer} |")
    # NCE and NFL are below CE and FL; the RCE pairs are not near the best, lose nothing, NFL+MAE is below CE
    assert "Of the 5 that can be asked of both, 1 hold both here and in the study's tables.\n" in text


def test_records_of_different_studies_are_refused(archive: Archive, make_record: MakeRecord) -> None:
    archive.add(make_record("ce", "symmetric:0.2", test=[0.5, 0.6]))
    archive.add(make_record("mae", "symmetric:0.2", test=[0.5, 0.6, 0.7]))
    message = (
        r"^the records are of different studies \(recipe\.epochs = 3 against 2\); expected those of one$"
    )
    with pytest.raises(NoiseproofError, match=message):
        write_report(archive.folder)
    assert not (archive.folder / "report").exists()


def test_a_seed_without_a_wrong_label_is_in_no_mean_of_what_was_memorized(
    archive: Archive, make_record: MakeRecord
) -> None:
    for loss in ("ce", "mae"):
        archive.add(make_record(loss, "instance:0.01", 0, memorized=[None, None]))
        archive.add(make_record(loss, "instance:0.01", 1, memorized=[0.25, 0.5]))
    page = write_report(archive.folder).page.read_text()
    assert "MAE 50.00 %" in page
    assert (archive.folder / "report" / "memorization_instance.png").exists()


def test_every_origin_is_listed_once(archive: Archive, make_record: MakeRecord, no_figures: None) -> None:
    archive.add(make_record("ce", "symmetric:0.2", 0, seconds=1.25))
    archive.add(make_record("ce", "symmetric:0.2", 1, torch="2.13.0", threads=8, commit="abc+", seconds=2.5))
    archive.add(make_record("mae", "symmetric:0.2", 0, seconds=3.25))
    write_report(archive.folder)
    text = (archive.folder / "report" / "report.md").read_text()
    assert "- device: cpu, 1 thread; cpu, 8 threads\n" in text
    assert "- code: noiseproof 1.2.3, commit unknown; noiseproof 1.2.3, commit abc+\n" in text
    assert text.count("torch 2.12.0") == text.count("torch 2.13.0") == 1
    assert "- seeds: 0; 1\n" in text
    assert "- training: 3 runs, 7 s in all\n" in text


def test_an_unfinished_study_has_a_report_that_says_what_is_missing(
    archive: Archive, make_record: MakeRecord, no_figures: None
) -> None:
    archive.add(make_record("ce", "symmetric:0.2", 0, test=[0.5]))
    write_report(archive.folder)
    assert (archive.folder / "report" / "table1.csv").read_text() == "loss,0.2,0.2_std\nCE,50.00,\nMAE,,\n"
    text = (archive.folder / "report" / "table1.md").read_text()
    assert "| MAE | missing |" in text
    assert "Missing: 3 of 4 runs." in text


def test_another_kind_of_noise_has_a_table_of_its_own(tmp_path: Path, make_record: MakeRecord) -> None:
    archive = Archive(tmp_path)
    archive.make()
    archive.add(make_record("ce", "pairflip:0.2"))
    archive.add(make_record("ce", "none"))
    report = write_report(tmp_path)
    assert {made.name for made in report.tables} == {"table_pairflip", "table_none"}
    assert (tmp_path / "report" / "table_none.csv").read_text() == "loss,none,none_std\nCE,60.00,\n"


def test_a_folder_without_plan_is_reported_as_far_as_it_goes(
    tmp_path: Path, make_record: MakeRecord, no_figures: None
) -> None:
    archive = Archive(tmp_path)
    archive.make()
    archive.add(make_record("ce", "symmetric:0.2"))
    assert write_report(tmp_path).tables[0].losses == ("CE",)
    assert "- training: 1 run, " in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_records_is_named_and_nothing_is_written(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "empty"
    if made:
        Archive(folder).make()
    fault = "holds no record" if made else "is no folder"
    with pytest.raises(NoiseproofError, match=f"^{re.escape(repr(str(folder)))} {fault}"):
        write_report(folder)
    assert not (folder / "report").exists()
    assert folder.exists() == made


def test_a_damaged_record_is_named_and_missing(
    archive: Archive, make_record: MakeRecord, no_figures: None
) -> None:
    archive.add(make_record("ce", "symmetric:0.2"))
    archive.add(make_record("mae", "symmetric:0.2"))
    path = archive.runs / "mae_symmetric-0.2_seed-0.json"
    path.write_text(path.read_text()[:100])
    with pytest.warns(UserWarning, match=re.escape(f"record {str(path)!r} is damaged")):
        report = write_report(archive.folder)
    assert "Missing: 3 of 4 runs." in report.tables[0].notes


def test_a_damaged_plan_is_an_error_that_says_what_to_do(archive: Archive, make_record: MakeRecord) -> None:
    archive.add(make_record("ce", "symmetric:0.2"))
    (archive.folder / "study.json").write_text("{")
    with pytest.raises(NoiseproofError, match=r"study\.json' is damaged \(.*\); delete it$"):
        write_report(archive.folder)


def test_a_report_that_cannot_be_written_is_named(archive: Archive, make_record: MakeRecord) -> None:
    archive.add(make_record("ce", "symmetric:0.2"))
    (archive.folder / "report").write_text("in the way")
    with pytest.raises(NoiseproofError, match=r"^folder '.*report' cannot be written to: "):
        write_report(archive.folder)


def test_a_full_disk_leaves_no_half_file(
    archive: Archive, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add(make_record("ce", "symmetric:0.2"))

    def full(_: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(archive.folder)
    assert list((archive.folder / "report").iterdir()) == []
