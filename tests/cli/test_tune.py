"""``noiseproof tune``, from the first trial to the report made again, and stopped on the way."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noiseproof.cli.progress import ProgressDisplay
from noiseproof.losses import parse
from noiseproof.study import load_study
from noiseproof.tuning import Search, find

Ran = subprocess.CompletedProcess[str]
Run = Callable[..., Ran]

TUNE = (
    "tune", "tiny.toml", "--loss", "alpha*nce + gce(q=q)", "--noise", "symmetric:0.4", "--batch", "2",
    "--seed", "5", "--range", "alpha=0.1:10:log",
    "--set", "recipe.epochs=1", "--set", "recipe.batch_size=512",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_tune_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is most of the work, and tested elsewhere."""
    monkeypatch.setattr("noiseproof.tuning.report.figures", lambda *_: [])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_search_from_the_first_trial_to_the_report_made_again(cli: Run, here: Path) -> None:
    ran = cli(*TUNE, "--trials", "3")
    assert (ran.returncode, ran.stderr) == (0, "")
    (out,) = (here / "out" / "tune").iterdir()
    search = Search.of(
        load_study("tiny.toml", {"recipe.epochs": 1, "recipe.batch_size": 512}),
        "alpha*nce + gce(q=q)", noise="symmetric:0.4", ranges={"alpha": "0.1:10:log"}, seed=5, batch=2,
    )  # fmt: skip
    assert out.name == f"tiny_symmetric-0.4_{search.hash}"
    findings = find(out)
    assert findings.search == search
    assert len(findings.trials) == 3
    for trial in findings.trials:
        mark = r" \(the defaults\)" if trial.number == 0 else ""
        row = rf"│ {trial.number} +│ +{100 * trial.score:.2f} │ {re.escape(trial.loss)}{mark} +│"
        assert re.search(row, ran.stdout)
    lines = ran.stdout.splitlines()
    assert str(parse(lines[-2].removeprefix("best: "))) == findings.best.loss
    assert re.fullmatch(
        rf"3 of 3 runs done, \d+ s of training; everything is in out/tune/{out.name}", lines[-1]
    )
    assert "It is no test accuracy" in ran.stdout

    before = contents(out)
    for path in (out / "report").iterdir():
        path.unlink()
    again = cli(*TUNE, "--trials", "3")
    assert (again.returncode, again.stderr) == (0, "")
    assert "3 of 3 runs done, 0 s of training" in again.stdout
    assert contents(out) == before


def test_report_leads_to_the_command_that_reports_on_a_search(cli: Run, here: Path) -> None:
    out = here / "out" / "tune" / "x"
    out.mkdir(parents=True)
    (out / "search.json").write_text("{}")
    ran = cli("report", "out/tune/x")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "error: 'out/tune/x' holds a search, not a study: the 'noiseproof tune' that made it, given again,"
        " writes and prints its report\n"
    )
    (out / "runs").mkdir()  # a study in the same folder is a study
    assert "holds no record of a finished run" in cli("report", "out/tune/x").stderr


def test_a_search_and_a_study_keep_out_of_each_others_folders(cli: Run, here: Path) -> None:
    commands = {"study": ("run", "tiny.toml"), "search": (*TUNE, "--trials", "2")}
    stopped = ("--time-budget", "0.001s", "--out")
    for kind, other in (("study", "search"), ("search", "study")):
        assert cli(*commands[kind], *stopped, kind).returncode == 0
        before = contents(here / kind)
        ran = cli(*commands[other], *stopped, kind)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr == f"error: '{kind}' holds a {kind}, not a {other}; choose another --out\n"
        assert contents(here / kind) == before


def test_data_of_ones_own_stands_in_place_of_a_study(cli: Run, here: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(here / "cells.npz", x=rng.random((60, 5)), y=np.arange(60) % 3)
    tune = ("tune", "--data", "npz:cells.npz", "--loss", "a*nce", "--epochs", "1")
    ran = cli(*tune, "--trials", "1")
    assert (ran.returncode, ran.stderr) == (0, "")
    (out,) = (here / "out" / "tune").iterdir()
    search = find(out).search
    assert out.name == f"npz-cells_none_{search.hash}"
    assert (search.data, search.model.name, search.noise) == ("npz:cells.npz", "mlp", "none")
    assert search.recipe.epochs == 1
    (trial,) = find(out).trials
    assert trial.run.data.train_size + trial.run.data.test_size == 48  # a fifth is the test set


def test_named_data_brings_the_study_that_train_uses(cli: Run, here: Path) -> None:
    tune = ("--loss", "a*nce", "--trials", "1", "--set", "model.hidden=[4]", "--set", "recipe.epochs=1")
    assert cli("tune", "--data", "digits", "--noise", "symmetric:0.4", *tune).returncode == 0
    (out,) = (here / "out" / "tune").iterdir()
    changes = {"model.hidden": [4], "recipe.epochs": 1}
    assert find(out).search == Search.of(load_study("digits", changes), "a*nce", noise="symmetric:0.4")


def test_ctrl_c_saves_and_the_same_command_goes_on(
    cli: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ProgressDisplay, "show", lambda *_: signal.raise_signal(signal.SIGINT))
        ran = cli(*TUNE, "--trials", "2", "--out", "o")
    assert (ran.returncode, ran.stderr) == (130, "")
    assert ran.stdout.splitlines()[-1] == "interrupted: the same command goes on from here"
    assert len(list((here / "o" / "checkpoints").iterdir())) == 2
    assert "2 of 2 runs done" in cli(*TUNE, "--trials", "2", "--out", "o").stdout
    assert list((here / "o" / "checkpoints").iterdir()) == []


def test_out_of_time_it_says_so_and_goes_on(cli: Run) -> None:
    ran = cli(*TUNE, "--trials", "2", "--time-budget", "0.001s")
    assert ran.returncode == 0
    assert ran.stdout.splitlines()[-1] == "out of time: the same command goes on from here"
    assert "2 of 2 runs done" in cli(*TUNE, "--trials", "2").stdout


@pytest.mark.slow
def test_killed_outright_it_loses_the_trials_under_way_at_most(
    cli: Run, start: Callable[..., subprocess.Popen[str]], here: Path
) -> None:
    process = start("-m", "noiseproof", *TUNE, "--trials", "100000", "--out", "o")
    for _ in range(3000):
        if len(list(here.glob("o/trials/*.json"))) >= 4:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=60)
    done = {path: path.read_bytes() for path in here.glob("o/trials/*.json")}
    assert len(done) >= 4
    total = str(len(done) + 2)
    ran = cli(*TUNE, "--trials", total, "--out", "o")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"{total} of {total} runs done" in ran.stdout
    assert {path: path.read_bytes() for path in done} == done


def test_without_optuna_it_says_what_to_install(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    ran = cli(*TUNE)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: tuning needs Optuna: pip install 'noiseproof[tune]'\n"
