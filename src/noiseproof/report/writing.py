"""Write a report: tables, figures, claims and a page into ``report/``, from what a folder's records say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from noiseproof.errors import NoiseproofError
from noiseproof.files import csv_text, make_folder, write_atomically
from noiseproof.report.claims import NOT_ASKED, Judged, judge, none_can_be_asked
from noiseproof.report.comparison import Comparison, compare
from noiseproof.report.comparison import to_csv as comparison_csv
from noiseproof.report.comparison import to_markdown as comparison_markdown
from noiseproof.report.figures import FORMATS, figures, render
from noiseproof.report.page import render_page
from noiseproof.report.provenance import origin
from noiseproof.report.results import Results, from_records, published, published_beside
from noiseproof.report.tables import Table, table, to_csv, to_latex, to_markdown
from noiseproof.study import Archive, Record, Study

TABLE_NAMES = {"symmetric": "table1", "asymmetric": "table2"}
"""File names of the study's tables; another kind of noise gives ``table_<kind>``."""


@dataclass(frozen=True)
class Report:
    """What was written: the folder, its page, its tables, and each claim with our and the study's verdict."""

    folder: Path
    page: Path
    tables: tuple[Table, ...]
    claims: tuple[Judged, ...]


def write_report(folder: Path | str) -> Report:
    """Rebuild ``folder/report/`` from the records in ``folder/runs/``.

    A damaged record is named in a warning and counts as missing. Raises `NoiseproofError` if there are no
    records, they are of different studies, or the folder can't be written to.
    """
    folder = Path(folder)
    records, plan = _read(folder)
    results = from_records(records, plan)
    study, matching = published(), published_beside(results)
    target = make_folder(folder / "report")
    built = tuple(
        table(results, kind, name=TABLE_NAMES.get(kind, f"table_{kind}"), study=matching)
        for kind in results.kinds
    )
    judged = judge(results, study)
    for each in built:
        write_atomically(target / f"{each.name}.csv", to_csv(each))
        write_atomically(target / f"{each.name}.md", to_markdown(each))
        write_atomically(target / f"{each.name}.tex", to_latex(each))
    write_atomically(target / "claims.csv", _claims_csv(judged))
    names = []
    for name, figure in figures(results):
        names.append(name)
        for form in FORMATS:
            write_atomically(target / f"{name}.{form}", render(figure, form))
    beside = compare(results, matching) if matching else None
    if beside is not None and not beside.num_cells:
        beside = None
    if beside is not None:
        write_atomically(target / "comparison.csv", comparison_csv(beside))
    write_atomically(target / "report.md", _markdown(results, records, built, judged, beside, names))
    title = plan.title if plan else ""
    page = target / "index.html"
    write_atomically(page, render_page(results, records, built, judged, title=title, beside=beside))
    return Report(target, page, built, judged)


def load_results(folder: Path | str) -> Results:
    """Collect what the records in ``folder/runs/`` say; errors as for `write_report`."""
    return from_records(*_read(Path(folder)))


def _read(folder: Path) -> tuple[list[Record], Study | None]:
    archive = Archive(folder)
    records = list(archive.finished().values())
    if not records:
        fault = "holds no record of a finished run" if folder.is_dir() else "is no folder, or not there"
        raise NoiseproofError(f"{str(folder)!r} {fault}")
    return records, archive.plan()


def _claims_csv(judged: Iterable[Judged]) -> str:
    return csv_text(
        ["claim", "ours", "study", "evidence"],
        (
            [
                f"{claim.statement} ({claim.section})",
                ours.answer,
                study.answer,
                f"ours: {ours.evidence} | study: {study.evidence}",
            ]
            for claim, ours, study in judged
        ),
    )


def _markdown(
    results: Results,
    records: list[Record],
    built: Iterable[Table],
    judged: Sequence[Judged],
    beside: Comparison | None,
    figure_names: Iterable[str],
) -> str:
    parts = [f"# {results.data}: losses under label noise\n"]
    parts += [to_markdown(each) for each in built]
    parts.append("## Claims of the study\n")
    if not judged:
        parts.append(f"{NOT_ASKED}\n")
    elif none_can_be_asked(judged):
        parts.append("No claim of the study can be asked of these results; `claims.csv` says why.\n")
    else:
        parts.append("| claim | ours | study |\n| --- | --- | --- |")
        parts += [
            f"| {claim.statement} ({claim.section}) | {ours.answer} | {study.answer} |"
            for claim, ours, study in judged
        ]
        parts.append("\nThe figures behind each verdict are in `claims.csv`.\n")
    answers = [(ours.answer, study.answer) for _, ours, study in judged]
    asked = [both for both in answers if "not enough data" not in both]
    if asked:
        agreed = asked.count(("holds", "holds"))
        parts.append(
            f"Of the {len(asked)} that can be asked of both, {agreed} hold both here and in the study's"
            " tables.\n"
        )
    if beside is not None:
        parts.append(comparison_markdown(beside))
    parts += [f"![{name}]({name}.png)\n" for name in figure_names]
    parts.append("## Provenance\n")
    parts.append("\n".join(f"- {name}: {value}" for name, value in origin(records).items()) + "\n")
    return "\n".join(parts)
