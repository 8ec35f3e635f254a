"""Write a report: tables, figures and claims into ``report/``, from what a folder's records say."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from noiseproof.errors import NoiseproofError
from noiseproof.files import make_folder, write_atomically
from noiseproof.report.claims import CLAIMS, Claim, Verdict
from noiseproof.report.figures import FORMATS, figures, render
from noiseproof.report.results import Results, from_records, published
from noiseproof.report.tables import Table, table, to_csv, to_latex, to_markdown
from noiseproof.study import Archive, Record

TABLE_NAMES = {"symmetric": "table1", "asymmetric": "table2"}
"""File names of the study's tables; another kind of noise gives ``table_<kind>``."""


@dataclass(frozen=True)
class Report:
    """What was written: the folder, its tables, and each claim with our and the study's verdict."""

    folder: Path
    tables: tuple[Table, ...]
    claims: tuple[tuple[Claim, Verdict, Verdict], ...]


def write_report(folder: Path) -> Report:
    """Rebuild ``folder/report/`` from the records in ``folder/runs/``.

    A damaged record is named in a warning and counts as missing. Raises `NoiseproofError` if there are no
    records, or the folder can't be written to.
    """
    archive = Archive(folder)
    records = list(archive.finished().values())
    if not records:
        raise NoiseproofError(f"{str(folder)!r} holds no record of a finished run")
    results, study = from_records(records, archive.plan()), published()
    target = make_folder(folder / "report")
    built = tuple(
        table(results, kind, name=TABLE_NAMES.get(kind, f"table_{kind}"), study=study)
        for kind in results.kinds
    )
    judged = tuple((claim, claim.judge(results), claim.judge(study)) for claim in CLAIMS)
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
    write_atomically(target / "report.md", _markdown(results, records, built, judged, names))
    return Report(target, built, judged)


def _claims_csv(judged: Iterable[tuple[Claim, Verdict, Verdict]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["claim", "ours", "study", "evidence"])
    for claim, ours, study in judged:
        evidence = f"ours: {ours.evidence} | study: {study.evidence}"
        writer.writerow([f"{claim.statement} ({claim.section})", ours.answer, study.answer, evidence])
    return buffer.getvalue()


def _markdown(
    results: Results,
    records: list[Record],
    built: Iterable[Table],
    judged: Iterable[tuple[Claim, Verdict, Verdict]],
    figure_names: Iterable[str],
) -> str:
    parts = [f"# {results.data}: losses under label noise\n"]
    parts += [to_markdown(each) for each in built]
    parts.append("## Claims of the study\n")
    parts.append("| claim | ours | study |\n| --- | --- | --- |")
    parts.append(
        "\n".join(
            f"| {claim.statement} ({claim.section}) | {ours.answer} | {study.answer} |"
            for claim, ours, study in judged
        )
        + "\n\nThe figures behind each verdict are in `claims.csv`.\n"
    )
    parts += [f"![{name}]({name}.png)\n" for name in figure_names]
    parts.append("## Provenance\n")
    parts.append(_provenance(records))
    return "\n".join(parts)


def _provenance(records: list[Record]) -> str:
    """List every distinct value of what the records say of their origin."""
    facts = {
        "data": [f"{r.data.name}, fingerprint {r.data.fingerprint[:12]}" for r in records],
        "files": ["canonical" if r.data.canonical else "not the canonical ones" for r in records],
        "network": [r.config.model.model_dump_json() for r in records],
        "recipe": [r.config.recipe.model_dump_json() for r in records],
        "device": [f"{r.provenance.device}, {r.provenance.threads} threads" for r in records],
        "precision": [r.provenance.precision for r in records],
        "code": [
            f"noiseproof {r.provenance.noiseproof}, commit {r.provenance.commit or 'unknown'}"
            for r in records
        ],
        "libraries": [
            f"Python {r.provenance.python}, torch {r.provenance.torch}, numpy {r.provenance.numpy}"
            for r in records
        ],
        "seeds": [str(r.config.seed) for r in records],
    }
    lines = [f"- {name}: {'; '.join(dict.fromkeys(values))}" for name, values in facts.items()]
    seconds = sum(r.provenance.seconds for r in records)
    return "\n".join([*lines, f"- training: {len(records)} runs, {seconds:.0f} s in all"]) + "\n"
