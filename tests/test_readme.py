"""The README is true: its file tree is the tree, its table of losses the catalogue, its costs measured."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from noiseproof.losses import CATALOGUE, parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

NOT_LISTED = {"__init__.py", "__main__.py", "py.typed"}


def listed_paths() -> set[str]:
    """Paths of the tree under "What is where", which indents by two for each folder."""
    (tree,) = re.findall(r"```\n(src/noiseproof/\n.*?)```", README, re.DOTALL)
    paths, folders = set(), [""]
    for line in tree.splitlines():
        entry = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        path = folders[depth] + entry
        folders[depth + 1 :] = [path]
        paths.add(path.rstrip("/"))
    return paths


def test_the_tree_lists_what_is_there() -> None:
    missing = {path for path in listed_paths() if not (ROOT / path).exists()}
    assert missing == set()


def test_what_is_there_is_in_the_tree() -> None:
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "src" / "noiseproof").rglob("*.py")
        if path.name not in NOT_LISTED
    }
    assert there - listed_paths() == set()


def test_the_table_of_losses_is_the_catalogue() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| .+? \| (.+?) \| (.+?) \|$", README, re.MULTILINE)
    shown = {text: tuple(rest) for text, *rest in rows}
    known = {}
    for cls in CATALOGUE.values():
        facts = cls().properties(num_classes=10)
        known[str(cls())] = (cls.title, facts.kind, "yes" if facts.robust else "no")
    assert shown == known


def test_the_losses_it_names_as_text_can_be_read() -> None:
    sentence = re.search(r"in `losses.parse` a loss is a text.+?`noiseproof losses`", README, re.DOTALL)
    assert sentence is not None
    texts = re.findall(r'`"(.+?)"`', sentence.group())
    assert len(texts) == 4
    for text in texts:
        parse(text)


def test_the_set_up_commands_are_found_by_ci() -> None:
    pattern = r"^pip install -e .+ && (noiseproof run|pytest)$"
    assert len(re.findall(pattern, README, re.MULTILINE)) == 2
    assert f"grep -E '{pattern}'" in (ROOT / ".ci" / "run").read_text()


def test_the_costs_it_shows_are_those_that_were_measured() -> None:
    with (ROOT / "benchmarks" / "losses_cpu.csv").open() as file:
        rows = {(r["samples"], r["classes"], r["loss"], r["implementation"]): r for r in csv.DictReader(file)}
    (section,) = re.findall(r"## What a loss costs\n(.*?)\n## ", README, re.DOTALL)
    header, _, *lines = [line for line in section.splitlines() if line.startswith("|")]
    sizes = [(n, k.replace(",", "")) for n, k in re.findall(r"N = (\d+), K = ([\d,]+)", header)]
    assert len(sizes) == 3
    assert len(lines) == 9
    for line in lines:
        loss, *cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for (samples, classes), cell in zip(sizes, cells, strict=True):
            ours, plain = (rows[samples, classes, loss, who] for who in ("noiseproof", "plain PyTorch"))
            shown = [float(figure) for figure in re.findall(r"[\d.]+", cell)]
            measured = [float(r[name]) for r in (ours, plain) for name in ("time_ratio", "memory_ratio")]
            assert shown == measured, (loss, samples, classes)
