"""A loss of one's own, ``my_losses:squared``, in every command that takes a loss."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from noiseproof.study import Archive
from noiseproof.tuning import write_report

Run = Callable[..., subprocess.CompletedProcess[str]]

LOSSES = """
import torch.nn.functional as F


def squared(logits, target, k=2):
    p = logits.softmax(-1)
    return ((p - F.one_hot(target, p.shape[-1])).abs() ** k).sum(-1)


def mean(logits, target):
    return squared(logits, target).mean()
"""


@pytest.fixture(autouse=True)
def losses_file(here: Path) -> Iterator[Path]:
    path = here / "my_losses.py"
    path.write_text(LOSSES)
    yield path
    sys.modules.pop("my_losses", None)


def test_train_notes_its_code(cli: Run, here: Path, losses_file: Path) -> None:
    arguments = ("train", "--loss", "nce + 0.5*my_losses:squared(k=3)", "--epochs", "1")
    ran = cli(*arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    (first,) = (here / "out" / "train").iterdir()
    assert first.name.startswith("nce+0.5-squared-k-3_none_seed-0_")
    (record,) = Archive(first).finished().values()
    assert record.config.loss == "nce + 0.5*my_losses:squared(k=3)"
    assert record.config.code.keys() == {"my_losses"}
    losses_file.write_text(LOSSES + "# changed\n")
    assert cli(*arguments).returncode == 0
    assert len(list((here / "out" / "train").iterdir())) == 2  # other code is another configuration


def test_run_and_report(cli: Run, here: Path, losses_file: Path, no_figures: None) -> None:
    text = (
        (here / "tiny.toml")
        .read_text()
        .replace('"nce+mae"', '"my_losses:squared", "mae + my_losses:squared(k=3)"')
    )
    (here / "tiny.toml").write_text(text)
    assert cli("run", "tiny.toml", "--out", "out").returncode == 0
    plan = json.loads((here / "out" / "study.json").read_text())
    records = [json.loads(path.read_text()) for path in (here / "out" / "runs").iterdir()]
    assert {record["config"]["loss"] for record in records} == set(plan["losses"])
    for record in records:
        assert record["config"].get("code") == (None if record["config"]["loss"] == "ce" else plan["code"])
    # a report needs the records alone
    losses_file.unlink()
    del sys.modules["my_losses"]
    shutil.rmtree(here / "out" / "report")
    ran = cli("report", "out")
    assert (ran.returncode, ran.stderr) == (0, "")
    table = (here / "out" / "report" / "table1.md").read_text()
    assert "| squared |" in table
    assert "| MAE+squared(k=3) |" in table


def test_what_is_changed_is_not_taken_for_the_same(
    cli: Run, here: Path, losses_file: Path, no_figures: None
) -> None:
    text = (here / "tiny.toml").read_text().replace('"nce+mae"', '"my_losses:squared"')
    (here / "tiny.toml").write_text(text)
    assert cli("run", "tiny.toml", "--out", "out").returncode == 0
    losses_file.write_text(LOSSES + "# changed\n")
    ran = cli("run", "tiny.toml", "--out", "out")
    assert ran.returncode == 2
    assert "holds runs of another configuration (code.my_losses = '" in ran.stderr


@pytest.mark.parametrize(
    ("loss", "fault"),
    [
        ("my_losses:squard", "'my_losses' has no 'squard', for 'my_losses:squard'; did you mean 'squared'?"),
        ("my_losses:mean", "my_losses:mean must give one value a sample"),
    ],
)
def test_a_mistake_is_found_before_any_work(cli: Run, here: Path, loss: str, fault: str) -> None:
    (here / "tiny.toml").write_text((here / "tiny.toml").read_text().replace("nce+mae", f"ce + {loss}"))
    for arguments in (("train", "--loss", loss), ("run", "tiny.toml"), ("certify", loss)):
        ran = cli(*arguments)
        assert ran.returncode == 2
        assert fault in ran.stderr
        assert ran.stderr.count("\n") == 1
    assert not (here / "out").exists()


def test_certify_computes_what_it_does_not_tell(cli: Run) -> None:
    ran = cli("certify", "my_losses:squared(k=1)", "--classes", "3")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = dict(line.strip().split("  ", 1) for line in ran.stdout.splitlines()[1:] if line)
    assert ran.stdout.startswith("my_losses:squared(k=1), 3 classes\n")
    assert lines["sum over labels"].strip().startswith("4, whatever the logits")
    assert lines["kind"].strip() == "not known, no terms are given"
    assert lines["claims"].strip() == "none made"


def test_tune_searches_its_numbers(
    cli: Run, here: Path, losses_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noiseproof.tuning.report.figures", lambda *_: [])
    arguments = (
        "tune", "tiny.toml", "--loss", "a*nce + my_losses:squared(k=k)", "--noise", "symmetric:0.4",
        "--set", "recipe.epochs=1", "--trials", "3", "--batch", "2", "--out", "out",
    )  # fmt: skip
    ran = cli(*arguments)
    assert ran.returncode == 2
    assert "'k' is k of my_losses:squared, a loss of your own; give its range, LOW:HIGH" in ran.stderr
    ran = cli(*arguments, "--range", "k=1:4")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "(the defaults)" not in ran.stdout  # they are not known
    search = json.loads((here / "out" / "search.json").read_text())
    trials = [json.loads(path.read_text()) for path in sorted((here / "out" / "trials").iterdir())]
    assert [trial["run"]["config"]["code"] for trial in trials] == 3 * [search["code"]]
    assert trials[0]["values"]["a"] == 1
    assert all(trial["values"]["k"] in (1, 2, 3, 4) for trial in trials)  # whole, as its default is
    losses_file.unlink()
    del sys.modules["my_losses"]
    assert write_report(here / "out").search.loss == "a*nce + my_losses:squared(k=k)"
