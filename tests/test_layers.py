"""Imports run one way: a package may use those that stand before it, never those after."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import noiseproof

PACKAGE = Path(noiseproof.__file__).parent

LAYERS = (
    {"errors"},
    {"files", "schema", "interruption", "import_path"},
    {"sealed"},
    {"noise"},
    {"losses", "data", "models"},
    {"training", "certificates"},
    {"study", "estimator"},
    {"report", "cluster", "tracking"},
    {"tuning"},
    {"cli"},
    {"__main__"},
)
"""From the ground up; packages of one layer do not use each other."""

RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports from the package, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("noiseproof."))
        elif isinstance(node, ast.ImportFrom) and node.module == "noiseproof":
            yield from (f"noiseproof.{alias.name}" for alias in node.names if alias.name in RANK)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("noiseproof."):
            yield str(node.module)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("noiseproof", *(part for part in parts if part != "__init__")))


def test_every_package_has_a_layer() -> None:
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert found == set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_package_uses_only_those_below_it(path: Path) -> None:
    own = module_name(path).split(".")[1]
    for name in imported(path):
        used = name.split(".")[1]
        assert used == own or RANK[used] < RANK[own], f"{module_name(path)} imports {name}"


def test_no_file_is_part_of_a_circle() -> None:
    uses = {module_name(path): set(imported(path)) for path in MODULES}
    files = set(uses)
    while files:
        free = {name for name in files if uses[name] & files <= {name}}
        assert free, f"these import each other: {sorted(files)}"
        files -= free


def test_relative_imports_are_not_used() -> None:
    for path in MODULES:
        levels = [
            node.level for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
        ]
        assert not any(levels), path
