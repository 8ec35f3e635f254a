"""The examples run as they stand, and show what they are there to show."""

from __future__ import annotations

import os
import random
import re
import runpy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "trainers.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def as_if_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process for each would import PyTorch five times over; so what a script may change is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    environment, python_state, numpy_state = dict(os.environ), random.getstate(), np.random.get_state()
    # what other packages warn of is theirs to mend
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.usefixtures("as_if_alone")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_tolerant_loss_wins(
    path: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    assert_same_output: Callable[[str, str, float], None],
) -> None:
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    accuracy = dict(re.findall(r"^(ce|nce\+mae) +.*?([\d.]+)%", printed, re.MULTILINE))
    assert float(accuracy["ce"]) + 1 < float(accuracy["nce+mae"]) < 100, printed
    assert float(accuracy["nce+mae"]) > 90, printed
    assert list(tmp_path.iterdir()) == []
    for page in (ROOT / "docs" / "index.md", GUIDE):
        shown = re.search(rf'"examples/{path.name}"\n```\n\n```text\n(.*?)```', page.read_text(), re.DOTALL)
        if shown:
            assert_same_output(shown[1], printed, 0.2)  # a training magnifies how machines round


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_is_pointed_to(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 40
    for page in (ROOT / "README.md", GUIDE):
        assert f"examples/{path.name}" in page.read_text(), page
