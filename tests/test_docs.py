"""What the pages say is true: their Python runs, their commands exist, their figures are those of results."""

from __future__ import annotations

import csv
import doctest
import re
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import typer
from typer.testing import CliRunner

from noiseproof import data, noise
from noiseproof.certificates.gradients import gradients
from noiseproof.certificates.values import values_by_label
from noiseproof.cli.app import app
from noiseproof.losses import parse, presets
from noiseproof.models import Model
from noiseproof.report import published
from noiseproof.study import Record, Study, built_in_studies
from noiseproof.study.record import read_record
from noiseproof.training import Recipe

ROOT = Path(__file__).parent.parent

DOCS = sorted((ROOT / "docs").rglob("*.md"))

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]


def blocks(language: str, pages: list[Path] = PAGES) -> list[Any]:
    """Each block of a language, named by its page and line."""
    found = []
    for page in pages:
        text = page.read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: match.start()].count("\n") + 1
            found.append(pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.mark.parametrize("block", blocks("python"))
def test_the_python_runs(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 10, generator=generator, requires_grad=True)
    with torch.random.fork_rng():
        exec(block, {"logits": logits, "target": torch.arange(8)})
    capsys.readouterr()


@pytest.mark.parametrize(
    "page", [page for page in DOCS if "```pycon" in page.read_text()], ids=lambda page: page.name
)
def test_what_is_typed_at_a_prompt_gives_what_is_shown(page: Path) -> None:
    session = "\n".join(re.findall(r"^```pycon\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
    test = doctest.DocTestParser().get_doctest(session, {}, page.name, str(page), 0)
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def commands(block: str) -> list[list[str]]:
    """The arguments of every ``noiseproof`` in a block of shell, or of a session at a prompt."""
    lines = [shlex.split(line.removeprefix("$ "), comments=True) for line in block.splitlines()]
    return [line[line.index("noiseproof") + 1 :] for line in lines if "noiseproof" in line]


@pytest.mark.parametrize("block", [*blocks("sh"), *blocks("console")])
def test_the_commands_exist(block: str) -> None:
    group = typer.main.get_command(app)
    for name, *arguments in (line or ["run"] for line in commands(block.partition("\n\n")[0])):
        with group.make_context("noiseproof", [name, *arguments]) as context:
            command = group.get_command(context, name)  # type: ignore[attr-defined]
            assert command is not None, name
            command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("block", blocks("console", DOCS))
def test_a_command_prints_what_is_shown(
    block: str, assert_same_output: Callable[[str, str, float], None]
) -> None:
    first, _, shown = block.partition("\n")
    (arguments,) = commands(first)
    ran = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert ran.exit_code == 0
    assert_same_output(shown, ran.stdout, 0.001)


def test_the_fields_of_a_study_are_listed_with_their_defaults() -> None:
    text = (ROOT / "docs" / "studies.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|.*\|$", text, re.MULTILINE)
    listed = {name: default.strip() for name, default in rows}
    for schema in (Study, Recipe):
        for name, field in schema.model_fields.items():
            shown = listed.pop(name)
            if schema is Recipe:
                assert shown == str(field.default).lower(), name


@pytest.mark.parametrize(
    ("page", "header", "names"),
    [
        ("studies.md", "study", built_in_studies()),
        ("studies.md", "name", [cls.model_fields["name"].default for cls in get_args(get_args(Model)[0])]),
        ("studies.md", "part", [*Record.model_fields, "checksum"]),
        ("noise.md", "text", noise.KINDS),
        ("data.md", "text", data.DATASETS),
    ],
)
def test_all_that_has_a_name_is_listed(page: str, header: str, names: Collection[str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    table = re.search(rf"^\| {header} \|.*\n\|[- |]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table is not None
    first_cells = [row.split("|")[1] for row in table[1].splitlines()]
    assert sorted(re.findall(r"`([\w-]+)", " ".join(first_cells))) == sorted(names)


def test_the_presets_are_listed() -> None:
    text = (ROOT / "docs" / "presets.md").read_text()
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (\S+) \| `(.+?)` \| (\S*) ?\| (.+) \|$", text, re.MULTILINE)
    assert rows == [
        (p.method, p.dataset, p.noise or "any", p.loss, str(p.l1 or ""), p.paper) for p in presets()
    ]
    sources = re.findall(r"^- (.+?): (.+)$", text, re.MULTILINE)
    assert sources == list(dict.fromkeys((p.paper, p.code) for p in presets()))


def accuracies(path: Path) -> dict[tuple[str, str], str]:
    """Accuracies of a table by loss and rate."""
    with path.open() as file:
        return {(row["loss"], rate): row[rate] for row in csv.DictReader(file) for rate in row}


AS_MA_ET_AL_HAVE_IT = {"NCE+MAE": "NCE+0.5*MAE", "NCE+RCE": "NCE+RCE(A=-9.210340371976182)"}


def test_the_accuracies_that_advise_on_losses_are_those_of_the_results() -> None:
    ours = ROOT / "results" / "digits"
    text = (ROOT / "docs" / "choosing.md").read_text()
    kinds, source, seen = iter(("symmetric", "asymmetric")), "", 0
    for row in re.findall(r"^" + 6 * r"\|([^|\n]*)" + r"\|$", text, re.MULTILINE):
        first, rate, *cells = (cell.strip() for cell in row)
        if rate == "rate":
            kind, names = next(kinds), cells
        elif rate != "---":
            source = first or source
            table = accuracies(ours / f"table{1 if kind == 'symmetric' else 2}.csv")
            for name, cell in zip(names, cells, strict=True):
                if source == "digits, ours":
                    expected = table[name, rate]
                elif source == "CIFAR-10, published":
                    expected = f"{published().accuracy(name, kind, float(rate)):.2f}"
                elif (name, kind) == ("NCE", "asymmetric"):
                    expected = ""  # they have no whole row of it
                else:
                    theirs = published("ma2020_cifar10")
                    known_as = AS_MA_ET_AL_HAVE_IT.get(name, name)
                    expected = f"{theirs.accuracy(known_as, kind, float(rate)):.2f}"
                assert cell == expected, row
            seen += 1
    assert seen == 24
    (falls,) = re.findall(r"falls by ([\d.]+) points from its peak to the end, at 0.6 by (\d+\.\d+)", text)
    claims = (ours / "claims.csv").read_text()
    (measured,) = set(re.findall(r"fall by rate: CE ([\d., ]+);", claims))
    assert (falls[1], falls[0]) == tuple(measured.split(", ")[2:])


def test_the_accuracies_with_human_labels_are_those_of_the_records() -> None:
    ours = ROOT / "results" / "cifar10n_cnn4"
    records = [read_record(path) for path in sorted((ours / "runs").glob("*.json"))]
    known = {(record.config.noise, parse(record.config.loss).label): record for record in records}
    assert len(known) == 15
    text = (ROOT / "docs" / "choosing.md").read_text()
    header, *rows = (
        [cell.strip(" `") for cell in row]
        for row in re.findall(r"^" + 7 * r"\|([^|\n]*)" + r"\|$", text, re.MULTILINE)
        if "---" not in row[0]
    )
    assert len(rows) == 3
    gains = []
    for setting, wrong, *cells in rows:
        for loss, cell in zip(header[2:], cells, strict=True):
            record = known[setting, loss]
            assert record.test_accuracy is not None
            assert record.noise.achieved_rate is not None
            assert cell == f"{100 * record.test_accuracy:.2f}", (setting, loss)
            assert wrong == f"{100 * record.noise.achieved_rate:.0f} %"
        if setting.startswith("human"):
            gains += [float(cell) - float(cells[0]) for cell in cells[1:]]
    assert f"by {min(gains):.1f} to {max(gains):.1f} points" in text
    for loss, shown in (("NCE+MAE", "28 %, of as many by chance 12 %"), ("CE", "61 % and 47 %")):
        memorized = [known[n, loss].history.memorized[-1] for n in ("human:worst", "symmetric:0.4")]
        assert re.findall(r"(\d+) %", shown) == [f"{100 * (m or 0):.0f}" for m in memorized]
        assert shown in text.replace("\n", " ")


def test_the_pulls_that_advise_on_losses_are_those_of_the_certificates() -> None:
    text = (ROOT / "docs" / "choosing.md").read_text()
    rows = re.findall(r"^\| `(.+?)` \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    assert len(rows) == 7
    for loss, *shown in rows:
        pulls = [
            gradients(values_by_label(parse(loss), classes), classes).at(1 / classes)[0]
            for classes in (10, 100)
        ]
        assert [float(value) for value in shown] == [float(f"{pull:.3g}") for pull in pulls], loss
